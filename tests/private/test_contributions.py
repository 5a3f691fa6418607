"""No person moves the exact sums by more than the noise is made for, whatever their rows; checked on random tables."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from bastion_plan.expressions import Over
from bastion_policy.model import Policy
from bastion_policy.private.cells import Caps
from bastion_policy.private.rows import Refused
from bastion_policy.roles import measure, quasi
from hypothesis import given
from hypothesis import strategies as st
from noisy import Desk, Table
from query import Q, inline

from bastion import pl as b

ODD = st.one_of(
    st.floats(-1e6, 1e6),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, -0.0, 1e16, 2.0**53 + 2, None]),
)
WHOLE = st.one_of(st.integers(-20, 20), st.sampled_from([2**63 - 1, -(2**63), 0, None]))
ROW = st.tuples(st.integers(0, 4), st.sampled_from(["a", "b", "c", "d", None]), ODD, WHOLE, st.booleans() | st.none())
ROLES = {
    "pid": "identifier", "g": quasi("a", "b", "c"), "x": measure(-100, 300), "i": measure(-5, 10), "yes": quasi(),
}  # fmt: skip
SCHEMA = {"pid": pl.Int64, "g": pl.String, "x": pl.Float64, "i": pl.Int64, "yes": pl.Boolean}


def labels() -> Q:
    return inline({"g": ["a", "b", "d"], "label": ["one", "two", "one"], "w": [1, 2, 3]})


QUERIES = {
    "all": lambda: Q("t").select(b.len(), b.col("x").sum().alias("s"), b.col("i").sum(), b.col("pid").n_unique()),
    "moments": lambda: Q("t").select(b.col("x").mean().alias("m"), b.col("x").var().alias("v"), b.col("i").std()),
    "groups": lambda: Q("t").group_by("g").agg(b.len(), b.col("x").sum(), b.col("yes").mean()),
    "open groups": lambda: Q("t").group_by("i", "g").agg(b.len(), b.col("x").mean()),
    "conditions": lambda: Q("t").filter(b.col("yes")).select(
        b.col("x").filter(b.col("i") > 0).sum(), b.col("x").count().alias("c"), b.col("x").null_count().alias("n"),
        b.col("x").drop_nulls().len().alias("d"),
    ),
    "arithmetic": lambda: Q("t").with_columns(((b.col("x") * 3 - b.col("i")) / 7).alias("y")).select(b.col("y").sum()),
    "asker's bounds": lambda: Q("t").select((b.col("x") * b.col("x")).clip(0, 50).sum()),
    "histogram": lambda: Q("t").select(b.col("x").hist([-50, 0, 10, 200])),
    "labels": lambda: Q("t").join(labels(), on="g").group_by("label").agg(b.len(), (b.col("w") * 1.0).clip(0, 3).sum()),
    "per person": lambda: Q("t").group_by("pid").agg(b.col("i").sum(), b.len().alias("n")).select(
        b.col("n").clip(0, 3).mean(), b.col("i").clip(0, 9).sum()
    ),
    "joined per person": lambda: Q("t").join(Q("u"), on="pid", how="left").group_by("pid").agg(b.col("y").count()).select(
        b.col("y").clip(0, 4).sum(), b.len()
    ),
    "one row per person": lambda: Q("t").group_by("pid").agg(b.len().alias("n"), b.col("g").max()).group_by("g").agg(
        b.len(), b.col("n").clip(0, 3).sum()
    ),
    "joined": lambda: Q("t").join(Q("u"), on="pid").group_by("g").agg(b.len(), b.col("y").sum()),
    "left joined": lambda: Q("t").join(Q("u"), on="pid", how="left").select(b.len(), b.col("y").sum()),
    "semi": lambda: Q("t").join(Q("u").filter(b.col("y") > 1), on="pid", how="semi").select(b.len()),
    "sorted": lambda: Q("t").sort("x").select(b.len(), b.col("x").sum()),
}  # fmt: skip


def world(rows: list[Any], others: list[Any], max_rows: int, max_groups: int) -> Desk:
    policy = Policy.private(1.0, 1e-6, unit="pid", max_rows=max_rows, max_groups=max_groups, roles=ROLES)
    other = Policy.private(
        1.0, 1e-6, unit="pid", max_rows=max_rows, max_groups=max_groups,
        roles={"pid": "identifier", "y": measure(0, 5)},
    )  # fmt: skip
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    second = pl.DataFrame(others, schema={"pid": pl.Int64, "y": pl.Float64}, orient="row")
    return Desk({"t": Table(frame, policy, "pid", "people"), "u": Table(second, other, "pid", "people")})


def vectors(desk: Desk, priced: Any) -> list[tuple[Any, dict[Any, np.ndarray]]]:
    """Per table of cells: exact sums by key."""
    found = []
    for cells, exact in zip(priced.draft.cells, desk.measured(priced), strict=True):
        keys = [k.column for k in cells.keys]
        columns = [f"#~v{i}" for i in range(len(cells.parts))]
        rows = exact.sums.select(*keys, *columns).rows()
        found.append((cells, {row[: len(keys)]: np.array(row[len(keys) :], dtype=object) for row in rows}))
    return found


@pytest.mark.parametrize("name", QUERIES)
@given(
    rows=st.lists(ROW, max_size=14), others=st.lists(st.tuples(st.integers(0, 4), st.floats(-3, 9)), max_size=8),
    max_rows=st.integers(1, 3), max_groups=st.integers(1, 3), gone=st.integers(0, 4),
)  # fmt: skip
def test_one_person_moves_no_sum_by_more_than_noise_is_made_for(name, rows, others, max_rows, max_groups, gone):
    here = world(rows, others, max_rows, max_groups)
    priced = here.priced(QUERIES[name](), 1.0)
    there = here.without(gone)
    for (cells, with_them), (_, without) in zip(vectors(here, priced), vectors(there, priced), strict=True):
        size = len(cells.parts)
        nothing = np.zeros(size, dtype=object)
        keys = with_them.keys() | without.keys()
        changes = np.array([with_them.get(k, nothing) - without.get(k, nothing) for k in keys], dtype=object)
        if not len(changes):
            continue
        for i, part in enumerate(cells.parts):
            moved = [int(v) for v in changes[:, i]]
            rows_counted = cells.caps.rows if part.per_row else 1
            assert max(map(abs, moved)) <= rows_counted * part.bound
            assert sum(v != 0 for v in moved) <= cells.caps.groups
            assert math.sqrt(sum(v * v for v in moved)) <= cells.l2(i)


PERSON = st.integers(0, 3)
SHAPES = {
    "three": "inner inner", "four": "inner inner inner", "left": "left left", "mixed": "inner semi left", "left last": "inner inner left",
}  # fmt: skip


def several(tables: list[list[tuple[int, str, int]]], max_rows: int, max_groups: int, domain: str = "people") -> Desk:
    """Tables a, b, c and d of the same people, each with a column to group by and one to add up. domain: "": of different people."""
    found = {}
    for name, rows in zip("abcd", tables, strict=True):
        roles = {"pid": "identifier", f"g{name}": quasi(), f"x{name}": measure(0, 9)}
        policy = Policy.private(1.0, 1e-6, unit="pid", max_rows=max_rows, max_groups=max_groups, roles=roles)
        schema = {"pid": pl.Int64, f"g{name}": pl.String, f"x{name}": pl.Int64}
        found[name] = Table(pl.DataFrame(rows, schema=schema, orient="row"), policy, "pid", domain)
    return Desk(found)


def joined(hows: str) -> Q:
    query = Q("a")
    for name, how in zip("bcd", hows.split(), strict=False):
        query = query.join(Q(name), on="pid", how=how)
    return query


@pytest.mark.parametrize("name", SHAPES)
@given(
    tables=st.lists(st.lists(st.tuples(PERSON, st.sampled_from("pqrs"), st.integers(0, 9)), max_size=7), min_size=4, max_size=4),
    max_rows=st.integers(1, 3), max_groups=st.integers(1, 3), gone=PERSON,
)  # fmt: skip
def test_one_person_in_several_joined_tables_moves_no_sum_by_more(name, tables, max_rows, max_groups, gone):
    hows = SHAPES[name].split()
    last = [n for n, how in zip("bcd", hows, strict=False) if how != "semi"][-1]
    here = several(tables, max_rows, max_groups)
    query = joined(SHAPES[name])
    for asked in (
        query.group_by(f"g{last}").agg(b.len(), b.col("pid").n_unique(), b.col("xa").sum()),
        query.select(b.len(), b.col("pid").n_unique(), b.col(f"x{last}").sum()),
    ):
        priced = here.priced(asked, 1.0)
        moves_no_more(here, here.without(gone), priced)


def moves_no_more(here: Desk, there: Desk, priced: Any) -> None:
    for (cells, with_them), (_, without) in zip(vectors(here, priced), vectors(there, priced), strict=True):
        nothing = np.zeros(len(cells.parts), dtype=object)
        keys = with_them.keys() | without.keys()
        moved = [with_them.get(k, nothing) - without.get(k, nothing) for k in keys]
        for i, part in enumerate(cells.parts):
            each = [abs(int(v[i])) for v in moved]
            assert max(each, default=0) <= part.bound * (cells.caps.rows if part.per_row else 1)
            assert sum(v != 0 for v in each) <= cells.caps.groups


@pytest.mark.parametrize("hows", ["inner", "semi", "inner inner", "inner semi", "semi inner"])
@given(
    tables=st.lists(st.lists(st.tuples(PERSON, st.sampled_from("pqrs"), st.integers(0, 9)), max_size=7), min_size=4, max_size=4),
    max_rows=st.integers(1, 2), max_groups=st.integers(1, 2), gone=PERSON, of=st.sampled_from("abc"), keyed=st.booleans(),
)  # fmt: skip
def test_a_person_of_one_domain_moves_no_sum_of_a_join_by_more(hows, tables, max_rows, max_groups, gone, of, keyed):
    """Tables of different people, one of whom is gone: the others' rows go as well, or stay as they are."""
    here = several(tables, max_rows, max_groups, domain="")
    query, last = Q("a"), "a"
    for name, how in zip("bcd", hows.split(), strict=False):
        on = {"left_on": ["pid", "ga"], "right_on": ["pid", f"g{name}"]} if keyed else {"on": "pid"}
        query = query.join(Q(name), how=how, **on)
        last = name if how == "inner" and not keyed else last
    shown = b.col(f"x{last}").sum()
    for asked in (
        query.group_by(f"g{last}").agg(b.len(), shown),
        query.select(b.len(), b.col("xa").sum().alias("s"), shown),
    ):
        moves_no_more(here, here.without(gone, of), here.priced(asked, 1.0))


@pytest.mark.parametrize(("how", "keyed"), [("left", False), ("anti", True)])
def test_a_join_that_changes_rows_takes_tables_of_one_domain(how, keyed):
    """Who is gone from the one table alone changes the row of somebody of the other: from one end of the bounds to the other end."""
    of_a = [(1, "p", 0), (1, "q", 9)] if keyed else [(1, "p", 9)]
    tables = [of_a, [(1, "p", 0)], [], []]
    on = {"left_on": ["pid", "ga"], "right_on": ["pid", "gb"]} if keyed else {"on": "pid"}
    query = Q("a").join(Q("b"), how=how, **on)
    shown = b.col("xa") if keyed else b.col("xb").fill_null(9)
    asked = query.select((shown * 2 - 9).clip(-9, 9).sum())
    with pytest.raises(Refused) as refused:
        several(tables, 1, 1, domain="").priced(asked)
    assert refused.value.finding.rule == "private-join"
    assert refused.value.finding.fix == "Use an inner join, or declare one unit_domain for both tables."
    # what it would be: with a table of its own people each, a person of the second moves twice what noise is made for
    here, priced = several(tables, 1, 1), several(tables, 1, 1).priced(asked)
    apart = Desk({**here.tables, "b": Table(here.tables["b"].frame.clear(), here.tables["b"].policy, "pid", "people")})
    (mine,), (theirs,) = (world.measured(priced) for world in (here, apart))
    assert abs(mine.sums.item() - theirs.sums.item()) == pytest.approx(2 * priced.draft.cells[0].l2(0))
    moves_no_more(here, here.without(1), priced)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_joined_rows_have_places_of_their_own(count):
    """Of a person, the first rows of the first groups count, in however many tables the rows stand."""
    rows = [(1, "p", 1), (1, "q", 1), (1, "r", 1), (2, "p", 2)]
    desk = several([rows] * 4, 2, 1)
    query = joined(" ".join(["inner"] * (count - 1)))
    priced = desk.priced(query.select(b.len(), b.col("pid").n_unique()))
    ((_, found),) = vectors(desk, priced)
    assert list(found[()]) == [3, 2], "two rows of the first person, one of the second"
    priced = desk.priced(query.group_by(f"g{'abcd'[count - 1]}").agg(b.len()))
    ((_, found),) = vectors(desk, priced)
    assert len([k for k, v in found.items() if v[0]]) == 1, "of each person, one group alone"


@given(
    rows=st.lists(ROW, max_size=14), max_rows=st.integers(1, 3), max_groups=st.integers(1, 2), gone=st.integers(0, 4),
    share=st.sampled_from([0.01, 0.25, 0.5, 0.9]),
)  # fmt: skip
def test_one_person_moves_no_score_of_a_quantile_by_more_than_noise_is_made_for(
    rows, max_rows, max_groups, gone, share
):
    from bastion_policy.private.statistics import DENOMINATOR
    from bastion_server.private.mechanisms import quantile_scores
    from bastion_server.private.release import _histograms

    here = world(rows, [], max_rows, max_groups)
    query = Q("t").group_by("g").agg(b.col("x").quantile(share), b.col("i").median())
    priced = here.priced(query, 1.0)
    (cells,) = priced.draft.cells
    place = {key: i for i, key in enumerate(cells.domain)}
    (first,), (second,) = here.measured(priced), here.without(gone).measured(priced)
    for i, (quantile, _) in enumerate(cells.quantiles):
        changed = 0
        counts = [_histograms(cells, quantile, exact.bins[i], place) for exact in (first, second)]
        for a, c in zip(*counts, strict=True):
            scores = [quantile_scores(x, quantile.numerator, DENOMINATOR) for x in (a, c)]
            assert np.max(np.abs(scores[0] - scores[1])) <= cells.linf(i)
            changed += not np.array_equal(a, c)
        assert changed <= cells.caps.groups


def test_of_many_rows_of_one_person_only_so_many_count():
    frame = pl.DataFrame({"pid": [1] * 1_000 + [2, 3], "x": [100.0] * 1_000 + [1.0, 2.0]})
    policy = Policy.private(1.0, unit="pid", max_rows=2, roles={"pid": "identifier", "x": measure(0, 50)})
    desk = Desk.of(frame, policy, "pid")
    priced = desk.priced(Q("t").select(b.len(), b.col("x").sum(), b.col("pid").n_unique().alias("people")))
    (exact,) = desk.measured(priced)
    steps = [part.step for part in priced.draft.cells[0].parts]
    found = [value * step for value, step in zip(exact.sums.row(0), steps, strict=True)]
    assert found == pytest.approx([4, 103, 3], abs=1e-6), "two rows of the first, clipped to 50"


def test_rows_that_count_are_a_persons_first_whoever_else_is_there():
    """Which rows count must not hang on other people: their rows may be many, and stand anywhere between."""
    own = [(7, float(v)) for v in (5, 1, 4, 2, 3)]
    policy = Policy.private(1.0, unit="pid", max_rows=2, roles={"pid": "identifier", "x": measure(0, 10)})
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rows = [(int(p), 0.0) for p in rng.integers(100, 130, 200)]
        for place, row in zip(sorted(rng.integers(0, 200, len(own))), own, strict=True):
            rows.insert(int(place) + own.index(row), row)
        desk = Desk.of(pl.DataFrame(rows, schema={"pid": pl.Int64, "x": pl.Float64}, orient="row"), policy, "pid")
        priced = desk.priced(Q("t").select(b.col("x").sum()))
        (exact,) = desk.measured(priced)
        assert exact.sums.item() * priced.draft.cells[0].parts[0].step == pytest.approx(6.0, abs=1e-6)


def test_a_person_takes_part_in_so_many_groups_only():
    frame = pl.DataFrame({"pid": [1] * 4 + [2], "g": ["a", "b", "c", "a", "c"]})
    for most in (1, 2, 3):
        policy = Policy.private(
            1.0, unit="pid", max_rows=5, max_groups=most, roles={"pid": "identifier", "g": quasi("a", "b", "c")}
        )
        desk = Desk.of(frame, policy, "pid")
        priced = desk.priced(Q("t").group_by("g").agg(b.len()))
        (exact,) = desk.measured(priced)
        found = dict(exact.sums.rows())
        assert found == {1: {"a": 2, "c": 1}, 2: {"a": 2, "b": 1, "c": 1}, 3: {"a": 2, "b": 1, "c": 2}}[most]


def test_who_is_declared_to_have_one_row_is_not_looked_for_twice():
    """The owner's word, which is checked at upload, saves the work of leaving out further rows, and the noise for them."""
    frame = pl.DataFrame({"pid": [1, 2, 3], "x": [1.0, 2.0, 3.0]})
    policy = Policy.private(1.0, unit="pid", max_rows=5, roles={"pid": "identifier", "x": measure(0, 5)})
    query = Q("t").select(b.col("x").sum())
    plain = Desk.of(frame, policy, "pid").priced(query)
    declared = Desk.of(frame, msgspec.structs.replace(policy, rows_per_unit=1), "pid").priced(query)
    assert plain.noise[0].scales[0] == pytest.approx(5 * declared.noise[0].scales[0])
    assert declared.draft.cells[0].caps == Caps(1, 1)


@given(
    rows=st.lists(st.tuples(st.integers(0, 3) | st.none(), st.sampled_from(["a", "b", "c"]), st.integers(0, 9)), max_size=40),
    max_rows=st.integers(1, 4), max_groups=st.integers(1, 3),
)  # fmt: skip
def test_the_rows_that_count_are_the_first_of_the_first_groups(rows, max_rows, max_groups):
    """What the caps keep of each person, computed row by row."""
    desk = world([(p, g, 0.0, i, None) for p, g, i in rows], [], max_rows, max_groups)
    for query, keyed in (
        (Q("t").group_by("g").agg(b.len(), b.col("i").sum()), True),
        (Q("t").select(b.len(), b.col("i").sum()), False),
    ):
        expected: dict[Any, list[int]] = {}
        taken: dict[Any, dict[Any, int]] = {}
        for person, group, value in rows:
            key = (group,) if keyed else ()
            groups = taken.setdefault(person, {})
            if key not in groups and len(groups) >= max_groups:
                continue
            groups[key] = groups.get(key, 0) + 1
            if groups[key] <= max_rows:
                sums = expected.setdefault(key, [0, 0])
                sums[0] += 1
                sums[1] += min(max(value, -5), 10)
        priced = desk.priced(query, 1.0)
        ((cells, found),) = vectors(desk, priced)
        order = [next(i for i, p in enumerate(cells.parts) if p.bound == bound and p.per_row) for bound in (1, 10)]
        counted = {key: [int(values[i]) for i in order] for key, values in found.items() if any(values)}
        assert counted == {key: sums for key, sums in expected.items() if any(sums)}


@pytest.mark.parametrize("max_groups", [1, 3])
def test_rows_are_ranked_within_one_column_and_groups_by_one_row_each(max_groups):
    """Ranks within several columns take most of the time where a person has several rows."""
    rows = [(1, "a", 0.0, 1, None)]
    desk = world(rows, [], 3, max_groups)
    priced = desk.priced(Q("t").group_by("g", "i").agg(b.len()), 1.0)
    stack: list[Any] = [priced.draft.cells[0].plan]
    windows = []
    while stack:
        item = stack.pop()
        if isinstance(item, Over) and getattr(item.input, "function", "") == "rank":
            windows.append(item)
        for name in getattr(item, "__struct_fields__", ()):
            value = getattr(item, name)
            stack += [v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, msgspec.Struct)]
    assert windows
    assert all(len(w.partition_by) == 1 and w.input.option("method", "") == "ordinal" for w in windows)
