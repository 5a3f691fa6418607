"""Values change between versions, tables hold a column differently, rows move: what was told is known for what it was then.

Every attack is two plain questions; the difference is one person's value, or what a dozen named people are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import polars
import pytest
from bastion_policy.history import Roster
from bastion_policy.history.encoding import pack_roster, unpack_roster
from bastion_policy.history.vintages import agreements
from bastion_policy.model import Aggregation, Policy, Suppress, measure
from drive import World
from query import Q

import bastion.expressions as pl

SIZE, GROUPS, SOUGHT = 40, 60, 12
GROUP, PLACE = np.arange(SIZE * GROUPS) // SIZE, np.arange(SIZE * GROUPS) % SIZE
RNG = np.random.default_rng(5)
USUAL = RNG.integers(2000, 9000, GROUP.size)
TRUE = float(USUAL[3 * SIZE + SOUGHT])
BETWEEN = (GROUP == 3) & (PLACE < SOUGHT)
ROLES: dict[str, Any] = {
    "id": "identifier", "points": measure(0, 10_000), "score": measure(0, 10_000), "hiv": "sensitive",
}  # fmt: skip
OFF = ("history", "linear_audit", "saturation")
SETTINGS = ["default", "strict", "off"]
T, U = Q("t"), Q("u")
ALL_OF_IT, LESS = pl.col("g") == 3, (pl.col("g") == 3) & (pl.col("a") > SOUGHT)
ALL_BUT_ONE = (pl.col("g") == 3) & (pl.col("a") != SOUGHT)


def table(**columns: Any) -> polars.DataFrame:
    return polars.DataFrame({"id": np.arange(GROUP.size), "g": GROUP, "a": PLACE, **columns}, strict=False)


def put(w: World, setting: str, name: str, frame: polars.DataFrame, version: int = 1, **roles: Any) -> World:
    policy = (
        Policy.strict("id")
        if setting == "strict"
        else Policy(Aggregation(10), Suppress(), weaken=OFF if setting == "off" else ())
    )
    w.add(name, frame, policy, {c: (ROLES | roles).get(c, "quasi") for c in frame.columns}, "id")
    w.facts[name] = msgspec.structs.replace(w.facts[name], version=version, unit_domain="people")
    return w


def told(w: World, q: Q) -> float | None:
    found = w.ask(q.plan).table
    value: Any = found["z"][0] if found is not None and found.height else None
    return value


def held(setting: str, one: float | None, two: float | None, true: float = TRUE) -> None:
    """Assert that two numbers differ by what is sought only where the rules are off."""
    if setting == "off":
        assert one is not None
        assert two is not None
        assert one - two == pytest.approx(true)
    else:
        assert one is None or two is None or abs(one - two - true) > max(10, 0.05 * abs(true))


def total(of: Q, who: Any, column: str = "points") -> Q:
    return of.filter(who).select(z=pl.col(column).sum())


# -- values of another time


#: what those between held before
EARLIER: dict[str, Any] = {
    "missing": [None if gone else int(v) for v, gone in zip(USUAL, BETWEEN, strict=True)],
    "nothing": np.where(BETWEEN, 0, USUAL),
    "all there is": np.where(BETWEEN, 10_000, USUAL),
}


@pytest.mark.parametrize("touched", [False, True], ids=["", "other columns change in all rows"])
@pytest.mark.parametrize("order", ["before and after", "after and before"])
@pytest.mark.parametrize("earlier", EARLIER)
@pytest.mark.parametrize("setting", SETTINGS)
def test_what_came_in_later_hides_nobody(setting: str, earlier: str, order: str, touched: bool) -> None:
    before, after = (
        table(points=EARLIER[earlier], seen=PLACE % 3),
        table(points=USUAL, seen=PLACE % (4 if touched else 3)),
    )
    if order != "before and after":
        before, after = after, before
    more = 10_000.0 * SOUGHT if earlier == "all there is" else 0.0
    whos = (ALL_OF_IT, LESS) if order == "before and after" else (LESS, ALL_OF_IT)
    w = put(World(remembers=True), setting, "t", before)
    one = told(w, total(T, whos[0]))
    two = told(put(w, setting, "t", after, 2), total(T, whos[1]))
    one, two = (one, two) if order == "before and after" else (two, one)
    held(setting, one, None if two is None else two + more)


@pytest.mark.parametrize("order", ["tu", "ut"])
@pytest.mark.parametrize("earlier", ["missing", "nothing"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_another_table_hides_nobody(setting: str, earlier: str, order: str) -> None:
    w = put(put(World(remembers=True), setting, "t", table(points=EARLIER[earlier])), setting, "u", table(points=USUAL))
    asked = {"t": total(T, ALL_OF_IT), "u": total(U, LESS)}
    found = {name: told(w, asked[name]) for name in order}
    held(setting, found["t"], found["u"])


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_all_of_them_were_is_not_told(setting: str) -> None:
    """A dozen between were all alike in the version before, and are not now."""
    hiv = RNG.random(GROUP.size) < 0.5
    alike = np.where((GROUP == 3) & (PLACE <= SOUGHT - 1), True, hiv)
    w = put(World(remembers=True), setting, "t", table(hiv=alike))
    one = told(w, total(T, ALL_OF_IT, "hiv"))
    two = told(put(w, setting, "t", table(hiv=hiv), 2), total(T, (pl.col("g") == 3) & (pl.col("a") >= SOUGHT), "hiv"))
    if setting == "off":
        assert one is not None
        assert two is not None
    else:
        assert None in (one, two), "the difference says what twelve people are"


def test_people_like_others_are_told_in_the_next_version() -> None:
    """Everybody's value changes, and all of them are asked about in other groups."""
    w = put(World(remembers=True), "default", "t", table(points=USUAL))
    assert told(w, T.select(z=pl.col("points").sum())) == USUAL.sum()
    assert w.ask(T.group_by("g").agg(pl.col("points").sum()).plan).table is not None
    put(w, "default", "t", table(points=RNG.integers(2000, 9000, GROUP.size)), 2)
    assert told(w, total(T, pl.col("a") < 20)) is not None
    assert told(w, total(T, (pl.col("g") == 5) & (pl.col("a") < 25))) is not None
    again = w.ask(T.group_by("g").agg(pl.col("points").sum()).plan).table
    assert again is not None
    assert again.height == GROUPS


# -- people known by another type


TYPES: dict[str, Callable[[polars.Series], polars.Series]] = {
    "Int32": lambda s: s.cast(polars.Int32),
    "UInt64": lambda s: s.cast(polars.UInt64),
    "Float64": lambda s: s.cast(polars.Float64),
    "Decimal": lambda s: s.cast(polars.Decimal(12, 2)),
    "String": lambda s: s.cast(polars.String),
    "text of floats": lambda s: s.cast(polars.Float64).cast(polars.String),
    "text of decimals": lambda s: s.cast(polars.Decimal(12, 2)).cast(polars.String),
    "with zeros": lambda s: s.cast(polars.String).str.zfill(6),
    "Categorical": lambda s: s.cast(polars.String).cast(polars.Categorical),
    "Enum": lambda s: s.cast(polars.String).cast(polars.Enum(sorted(s.cast(polars.String).unique()))),
}


@pytest.mark.parametrize("how", ["a version", "a table"])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("setting", ["default", "strict"])
def test_people_are_the_same_in_any_type(setting: str, kind: str, how: str) -> None:
    frame = table(points=USUAL)
    other = frame.with_columns(TYPES[kind](frame["id"]).alias("id"))
    w = put(World(remembers=True), setting, "t", frame)
    one = told(w, total(T, ALL_OF_IT))
    name, version = ("t", 2) if how == "a version" else ("u", 1)
    held(setting, one, told(put(w, setting, name, other, version), total(Q(name), ALL_BUT_ONE)))


def test_types_of_people_do_without_history() -> None:
    """The same questions give the value where there is none."""
    frame = table(points=USUAL)
    w = put(World(remembers=True), "off", "t", frame)
    one = told(w, total(T, ALL_OF_IT))
    other = frame.with_columns(polars.col("id").cast(polars.String))
    held("off", one, told(put(w, "off", "t", other, 2), total(T, ALL_BUT_ONE)))


# -- rows of a person in another order


def _month(m: int) -> polars.DataFrame:
    return table(month=np.full(GROUP.size, m), points=np.random.default_rng(m).integers(2000, 9000, GROUP.size))


TURNS: dict[str, tuple[list[int], list[int]]] = {
    "newest first": ([1, 0], [2, 1, 0]),
    "oldest dropped": ([1, 0], [0]),
    "one more at the end": ([1, 0], [1, 0, 2]),
    "turned round": ([0, 1, 2], [2, 1, 0]),
}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_person_s_rows_are_the_same_wherever_they_stand(setting: str, turn: str) -> None:
    before, after = (polars.concat([_month(m) for m in months]) for months in TURNS[turn])
    w = put(World(remembers=True), setting, "t", before, points=measure(0, 10_000, varies=True))
    one = told(w, total(T, (pl.col("month") == 0) & ALL_OF_IT))
    put(w, setting, "t", after, 2, points=measure(0, 10_000, varies=True))
    two = told(w, total(T, (pl.col("month") == 0) & ALL_BUT_ONE))
    held(setting, one, two, float(_month(0)["points"][3 * SIZE + SOUGHT]))


#: what else becomes of the table, where rows of a person move
ELSE: dict[str, Callable[[polars.DataFrame], polars.DataFrame]] = {
    "a column changes in all rows": lambda f: f.with_columns(seen=polars.col("seen") + 1),
    "a column is new": lambda f: f.with_columns(new=polars.int_range(polars.len())),
    "a column is gone": lambda f: f.drop("seen"),
}


@pytest.mark.parametrize("turn", ["newest first", "turned round", "oldest dropped"])
@pytest.mark.parametrize("how", [*ELSE, "another table"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_nor_does_it_matter_what_else_becomes_of_them(setting: str, how: str, turn: str) -> None:
    before, after = (
        polars.concat([_month(m) for m in months]).with_columns(seen=polars.col("a") % 7) for months in TURNS[turn]
    )
    w = put(World(remembers=True), setting, "t", before, points=measure(0, 10_000, varies=True))
    one = told(w, total(T, (pl.col("month") == 0) & ALL_OF_IT))
    name, version = ("u", 1) if how == "another table" else ("t", 2)
    put(w, setting, name, ELSE.get(how, lambda f: f)(after), version, points=measure(0, 10_000, varies=True))
    two = told(w, total(Q(name), (pl.col("month") == 0) & ALL_BUT_ONE))
    held(setting, one, two, float(_month(0)["points"][3 * SIZE + SOUGHT]))


# -- versions that are long gone


@pytest.mark.parametrize("between", [0, 2, 3, 6])
@pytest.mark.parametrize("came_in", [True, False])
@pytest.mark.parametrize("setting", SETTINGS)
def test_many_versions_later_it_is_still_known(setting: str, came_in: bool, between: int) -> None:
    """Those between had nothing; later they have something, or still nothing."""
    early = EARLIER["nothing"]
    w = put(World(remembers=True), setting, "t", table(points=early, seen=PLACE % 2))
    one = told(w, total(T, ALL_OF_IT))
    for version in range(between):
        put(w, setting, "t", table(points=early, seen=PLACE % (3 + version)), 2 + version)
        told(w, total(T, pl.col("g") == 20 + version))
    put(w, setting, "t", table(points=USUAL if came_in else early, seen=PLACE % 11), 2 + between)
    held(setting, one, told(w, total(T, LESS)))


@pytest.mark.parametrize("anew", [False, True], ids=["the same values", "other values each time"])
@pytest.mark.parametrize("setting", ["default", "strict"])
def test_many_versions_are_told(setting: str, anew: bool) -> None:
    w = put(World(remembers=True), setting, "t", table(points=USUAL, seen=PLACE % 2))
    assert told(w, T.select(z=pl.col("points").sum())) is not None
    for version in range(8):
        values = RNG.integers(2000, 9000, GROUP.size) if anew else USUAL
        put(w, setting, "t", table(points=values, seen=PLACE % (3 + version)), 2 + version)
        assert told(w, total(T, pl.col("g") == 20 + version)) is not None
        assert told(w, T.select(z=pl.col("points").sum())) is not None or anew
    assert told(w, total(T, (pl.col("g") == 3) & (pl.col("a") < 25))) is not None


def test_rosters_of_many_versions_are_read_as_they_were_written() -> None:
    roster, unit = Roster(), np.arange(1, 60, dtype=np.uint64)
    for version in range(1, 9):
        marks = {"x": (np.arange(59) % version).astype(np.uint16), "y": np.zeros(59, np.uint16)}
        roster = roster.entered(
            "t", version, unit[version:], unit[version:] + version, {c: m[version:] for c, m in marks.items()}
        )
    again = unpack_roster(pack_roster(roster))
    for version in range(1, 9):
        for column in ("x", "y", "z"):
            one, two = (agreements(r.vintages, ("t", 8), ("t", version), column, r.size) for r in (roster, again))
            assert len(one) == len(two)
            assert all((a.same == b.same).all() and (a.other == b.other).all() for a, b in zip(one, two, strict=True))
    here = roster.vintages["t", 8].items
    for known in agreements(roster.vintages, ("t", 8), ("t", 1), "y", roster.size):
        assert known.same[here].all(), "it never changed"


def test_places_of_a_person_s_rows_stay_apart() -> None:
    """Whatever rows come, go and move, no two of a version share an item, and unchanged ones keep theirs."""
    random = np.random.default_rng(1)
    roster, last = Roster(), {}
    for version in range(1, 30):
        unit = random.integers(1, 9, random.integers(1, 30)).astype(np.uint64)
        content = random.integers(1, 4, unit.size).astype(np.uint64)
        roster = roster.entered("t", version, unit, content)
        items = roster.versions["t", version].tolist()
        assert len(set(items)) == unit.size
        assert (roster.unit[items] == unit).all()
        now: dict[tuple[int, int], list[int]] = {}
        for u, c, item in zip(unit.tolist(), content.tolist(), items, strict=True):
            now.setdefault((u, c), []).append(item)
        for key, old in last.items():
            assert len(set(old) & set(now.get(key, []))) == min(len(old), len(now.get(key, [])))
        last = now


# -- a column that a table holds twice


RAW: dict[str, Any] = {
    "imputed": EARLIER["missing"],
    "corrected": EARLIER["nothing"],
}


@pytest.mark.parametrize("order", ["raw first", "raw last"])
@pytest.mark.parametrize("raw", RAW)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_second_column_of_the_same_hides_nobody(setting: str, raw: str, order: str) -> None:
    w = put(World(remembers=True), setting, "t", table(points=RAW[raw], score=USUAL))
    asked = [("points", ALL_OF_IT), ("score", LESS)]
    found = {name: told(w, total(T, who, name)) for name, who in (asked if order == "raw first" else asked[::-1])}
    held(setting, found["points"], found["score"])


def test_two_columns_of_their_own_are_told_side_by_side() -> None:
    """Many nothings, and yes and no, agree by chance."""
    some = RNG.random(GROUP.size) < 0.5
    other = np.where(RNG.random(GROUP.size) < 0.5, 0, RNG.integers(2000, 9000, GROUP.size))
    w = put(World(remembers=True), "default", "t", table(points=np.where(some, 0, USUAL), score=other))
    assert told(w, total(T, pl.col("g") < 20, "points")) is not None
    assert told(w, total(T, pl.col("g") < 10, "score")) is not None
    assert told(w, total(T, (pl.col("g") < 30) & (pl.col("a") < 30), "points")) is not None


# -- with a third group


OTHERS = (pl.col("g") == 7) & (pl.col("a") < 12)
REST = (pl.col("g") == 3) & (pl.col("a") > SOUGHT)


@pytest.mark.parametrize("how", ["a second column", "a second table", "a new version"])
@pytest.mark.parametrize("earlier", ["missing", "nothing"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_third_group_hides_nobody(setting: str, earlier: str, how: str) -> None:
    """All; all but those between and one, with others; the others."""
    w = World(remembers=True)
    if how == "a second column":
        put(w, setting, "t", table(points=EARLIER[earlier], score=USUAL))
        one = told(w, total(T, ALL_OF_IT))
        asked, column = T, "score"
    else:
        put(w, setting, "t", table(points=EARLIER[earlier]))
        one = told(w, total(T, ALL_OF_IT))
        name, version = ("u", 1) if how == "a second table" else ("t", 2)
        put(w, setting, name, table(points=USUAL), version)
        asked, column = Q(name), "points"
    two, three = told(w, total(asked, REST | OTHERS, column)), told(w, total(asked, OTHERS, column))
    held(setting, one, None if None in (two, three) else two - three)  # type: ignore[operator]


@pytest.mark.parametrize("setting", ["default", "strict"])
def test_nor_in_one_column_of_one_table(setting: str) -> None:
    w = put(World(remembers=True), setting, "t", table(points=EARLIER["nothing"]))
    one, two, three = (told(w, total(T, who)) for who in (ALL_OF_IT, REST | OTHERS, OTHERS))
    held(setting, one, None if None in (two, three) else two - three)  # type: ignore[operator]


# -- columns that were hidden, or are many


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_column_that_was_hidden_when_the_other_was_told(setting: str) -> None:
    frame = table(points=EARLIER["nothing"], score=USUAL)
    w = put(World(remembers=True), setting, "t", frame, score="hidden")
    one = told(w, total(T, ALL_OF_IT))
    put(w, setting, "t", frame)
    held(setting, one, told(w, total(T, LESS, "score")))


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_column_beside_many_others(setting: str) -> None:
    many = {f"m{i}": np.roll(USUAL, i + 1) for i in range(70)}
    roles = {name: measure(0, 10_000) for name in many}
    w = put(World(remembers=True), setting, "t", table(points=EARLIER["nothing"], **many, score=USUAL), **roles)
    one = told(w, total(T, ALL_OF_IT))
    held(setting, one, told(w, total(T, LESS, "score")))
