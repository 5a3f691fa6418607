"""Order statistics and largest values: nobody and fewer than k people beyond a threshold are one outcome."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.judge_intervals import Histogram, Pieces
from bastion_policy.model import Aggregation, Policy, Role, RoleKind, Suppress
from bastion_policy.verdict import Outcome
from drive import World
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from query import Q

import bastion.expressions as pl

K = 5
T = Q("t")
PROFILES = ("default", "strict")
DAY = dt.date(2020, 1, 1)
SHARES = [i / 16 for i in range(17)] + [0.999, 0.001]


def world(frame: polars.DataFrame, profile: str, **roles: Any) -> World:
    zone = Aggregation(K)
    policy = Policy(zone, Suppress(), unit="id", profile="strict") if profile == "strict" else Policy(zone, Suppress())
    given = {"id": "identifier", "g": "quasi", "sex": "quasi"} | roles
    return World().add("t", frame, policy, given, unit="id")


def answers(there: World, *columns: str) -> list[polars.DataFrame]:
    """What is told of the ends and of many ranks, in all and by group."""
    made: dict[str, Any] = {}
    for c in columns:
        x = pl.col(c)
        made |= {f"{c} min": x.min(), f"{c} max": x.max(), f"{c} median": x.median()}
        if there.frames["t"][c].dtype.is_numeric():
            ways = ("nearest", "linear", "lower")
            made |= {f"{c} {s}": x.quantile(s, ways[i % 3]) for i, s in enumerate(SHARES)}
    found = [there.ask(plan.plan) for plan in (T.select(**made), T.group_by("g").agg(**made))]
    assert all(a.table is not None for a in found), [a.verdict.findings for a in found]
    return [a.table.sort(a.table.columns[0]) for a in found]  # type: ignore[union-attr]


#: by kind of number: values below the threshold, the cell just below it, and beyond it
BELOW = {"bounded": (0.0, 48.0, 49.5), "floats": (-30.0, 48.0, 49.5), "integers": (-30, 48, 49), "days": (0, 48, 49)}


@st.composite
def twins(draw: st.DrawFn) -> tuple[str, str, polars.DataFrame, polars.DataFrame]:
    """A profile, a kind, and two tables: with nobody and with 1 to k - 1 people beyond 50; a cell of k is before it."""
    kind, profile = draw(st.sampled_from(sorted(BELOW))), draw(st.sampled_from(PROFILES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, high, before = BELOW[kind]
    people, few, rows = draw(st.integers(12, 90)), draw(st.integers(1, K - 1)), draw(st.sampled_from([1, 1, 2, 3]))
    ids = np.concatenate(
        [np.repeat(np.arange(people), rng.integers(1, rows + 1, people)), people + np.arange(2 * K + few)]
    )
    whole = kind in ("integers", "days")
    values = rng.integers(low, high, ids.size) if whole else np.round(rng.uniform(low, high, ids.size), 1)
    groups = np.arange(ids.size) % 2 if rows == 1 else ids % 2
    # k people of either group, and the few of the first, are in the last cell before the threshold
    values[-2 * K - few :] = before
    groups[-2 * K - few :] = [0] * K + [1] * K + [0] * few
    other = values.copy()
    beyond = rng.integers(50, 99, few) if draw(st.booleans()) else np.full(few, rng.integers(50, 99))
    other[-few:] = beyond
    made = []
    for x in (values, other):
        column: Any = [DAY + dt.timedelta(int(i)) for i in x] if kind == "days" else x
        made.append(polars.DataFrame({"id": ids, "g": groups, "sex": ids % 2, "x": column}))
    return profile, kind, made[0], made[1]


@given(twins())
def test_nobody_and_fewer_than_k_beyond_a_threshold_are_one_outcome(twins: Any) -> None:
    profile, kind, none, few = twins
    role = Role(RoleKind.MEASURE, 0, 100) if kind == "bounded" else Role(RoleKind.MEASURE)
    one, two = (answers(world(frame, profile, x=role), "x") for frame in (none, few))
    for here, there in zip(one, two, strict=True):
        assert_frame_equal(here, there)


@given(st.integers(0, 2**32 - 1), st.sampled_from(PROFILES), st.sampled_from(["max", "min"]))
def test_nobody_and_fewer_than_k_who_hold_a_text_beyond_are_one_outcome(seed: int, profile: str, end: str) -> None:
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(80), rng.integers(1, 3, 80) if seed % 2 else 1)
    plain = np.array([f"d{i}" for i in range(3)])[rng.integers(0, 3, ids.size)].astype(object)
    plain[:24] = [f"d{i}" for i in range(3)] * 8
    few = plain.copy()
    few[rng.choice(40, rng.integers(1, K), replace=False) + 30] = "zrare" if end == "max" else "a rare one"
    found = []
    for values in (plain, few):
        frame = polars.DataFrame({"id": ids, "g": np.arange(ids.size) % 2, "x": values.tolist()})
        there = world(frame, profile, x="sensitive")
        extreme = getattr(pl.col("x"), end)()
        plans = T.select(extreme), T.group_by("g").agg(extreme), T.select(pl.col("x").filter(pl.col("g") == 1).max())
        found.append([there.ask(p.plan).table for p in plans])
    assert found[0][0] is not None
    assert found[0][0].item() == ("d2" if end == "max" else "d0")
    for here, there in zip(*found, strict=True):
        assert here is not None
        assert there is not None
        assert_frame_equal(here, there, check_row_order=False)


def test_a_text_that_nobody_shares_is_told_by_nothing() -> None:
    frame = polars.DataFrame({"id": range(60), "g": [0, 1] * 30, "x": [f"x{i}" for i in range(60)]})
    for profile in PROFILES:
        answer = world(frame, profile, x="quasi").ask(T.select(pl.col("x").max()).plan)
        assert answer.released.item() is None, profile


# -- pieces


def pieces(values: np.ndarray, units: np.ndarray, k: int, most: int | None) -> Pieces:  # type: ignore[type-arg]
    """Pieces of whole steps."""
    keys = np.unique(values)
    rows = np.array([(values == x).sum() for x in keys], float)
    people = np.array([np.unique(units[values == x]).size for x in keys], float)
    zeros = np.zeros(keys.size, np.int64)
    return Pieces(Histogram(zeros, zeros + 1, zeros, keys.astype(np.int64), rows, people, whole=True), k, most)


@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(1, 5), st.booleans())
def test_every_piece_shows_an_interval_of_k_people(seed: int, k: int, rows: int, bound: bool) -> None:
    rng = np.random.default_rng(seed)
    units = np.repeat(np.arange(rng.integers(1, 60)), 1)
    units = np.repeat(units, rng.integers(1, rows + 1, units.size))
    values = rng.integers(0, rng.integers(2, 100), units.size)
    most = int(np.bincount(units).max()) if bound else None
    found = pieces(values, units, k, most)
    for low, high, known in zip(found.low, found.high, found.known, strict=True):
        if known:
            assert np.unique(units[(values >= low) & (values < high)]).size >= k
    assert found.known.all() or found.start.size == 1


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.sampled_from([1, 5]), st.sampled_from([1, 3]))
def test_ranks_tell_numbers_to_multiples_of_k(seed: int, k: int, base: int, most: int) -> None:
    """Two tables whose pieces hold numbers that are rounded alike read alike at every rank."""
    rng = np.random.default_rng(seed)
    unit = k * most

    def told(counts: np.ndarray) -> list[Any]:  # type: ignore[type-arg]
        cells = np.arange(counts.size)
        histogram = Histogram(cells * 0, cells * 0 + 1, cells * 0, cells, counts, counts, whole=True)
        found = Pieces(histogram, k, most)
        assert found.start.size == counts.size
        return [found.told(s, 1, unit, base)[0][0] for s in np.linspace(0, 1, 301)]

    def multiple(counts: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        shown = (np.cumsum(counts) + base // 2) // base * base
        return np.floor(shown / unit + 0.5)

    one = rng.integers(unit, 6 * unit, rng.integers(1, 9)).astype(float)
    two = one.copy()
    for _ in range(40):
        moved = np.maximum(two + rng.integers(-2, 3, two.size), unit)
        if np.array_equal(multiple(moved), multiple(one)):
            two = moved
    assert told(one) == told(two)


def test_a_scan_of_ranks_with_and_without_a_group_does_not_tell_how_few_of_it_are_beyond() -> None:
    """Twenty of the others and `few` of a group are beyond 50: two exact scans would differ by `few`."""
    told = []
    for few in range(K):
        group = np.r_[np.full(40 - few, 20), np.full(few, 90)]
        others = np.r_[np.full(60, 20), np.full(20, 90)]
        frame = polars.DataFrame({"id": range(120), "g": [1] * 40 + [0] * 80, "x": np.r_[group, others]})
        there = world(frame, "default", x=Role(RoleKind.MEASURE, 0, 100))
        shares = [i / 60 for i in range(31, 60)]
        exprs = {f"{s}": pl.col("x").quantile(s) for s in shares}
        told.append([there.ask(q.select(**exprs).plan).released.rows() for q in (T, T.filter(pl.col("g") == 0))])
    assert told[0] == told[1] == told[2], "100 to 98 people are below, which is 100 to the nearest 5"
    assert told[3] == told[4]


# -- divisors


def spreads() -> World:
    rng = np.random.default_rng(3)
    n = 117
    frame = polars.DataFrame(
        {
            "id": range(n),
            "g": [0] * n,
            "x": rng.uniform(0, 100, n),
            "y": rng.uniform(0, 100, n),
            "i": rng.integers(0, 9, n),
        }
    )
    measure = Role(RoleKind.MEASURE, 0, 100)
    return world(frame, "strict", x=measure, y=measure, i=measure)


@pytest.mark.parametrize(
    "make",
    [
        lambda d: pl.col("x").var(ddof=d), lambda d: pl.col("x").std(ddof=d), lambda d: pl.cov("x", "y", ddof=d),
        lambda d: pl.col("i").var(ddof=d), lambda d: (pl.col("x") * 2 + 1).var(ddof=d), lambda d: pl.cov("i", "i", ddof=d),
        lambda d: pl.col("x").filter(pl.col("g") == 0).var(ddof=d),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ddof", [2, 116, 117, 200])
def test_a_divisor_does_not_tell_the_rounded_number(make: Any, ddof: int) -> None:
    there = spreads()
    verdict = there.static(T.select(v=make(ddof)).plan)
    assert [f.rule for f in verdict.findings] == ["argument"], "the plan alone decides"
    assert there.ask(T.select(v=make(ddof)).plan).verdict.outcome is not Outcome.RELEASE


def test_two_divisors_differ_by_the_rounded_number() -> None:
    there = spreads()
    for asked in (
        lambda d: pl.col("x").var(ddof=d),
        lambda d: pl.cov("x", "y", ddof=d),
        lambda d: pl.col("i").var(ddof=d),
    ):
        one, two = (there.ask(T.select(v=asked(d)).plan).released.item() for d in (1, 0))
        assert two / one == pytest.approx(114 / 115), "of 117 people, rounded to 115"


#: numbers per person that lie between values of theirs
OF_A_PERSON = {
    "max": pl.col("x").max(), "min": pl.col("x").min(), "mean": pl.col("x").mean(), "median": pl.col("x").median(),
    "first": pl.col("x").first(), "quantile": pl.col("x").quantile(0.5),
}  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", OF_A_PERSON)
def test_a_person_s_number_has_the_grid_of_its_bounded_column(name: str, profile: str) -> None:
    """Where everybody has one row it is the column: two grids over the same numbers would show overlaps of fewer than k."""
    x = np.random.default_rng(8).uniform(0, 100, 300)
    w = world(polars.DataFrame({"id": range(300), "g": 0, "x": x}), profile, x=Role(RoleKind.MEASURE, 0, 130))
    each = T.group_by("id").agg(q=OF_A_PERSON[name])
    for share in (0.0, 0.2, 0.5, 1.0):
        plain = w.ask(T.select(r=pl.col("x").quantile(share)).plan).released
        assert_frame_equal(w.ask(each.select(r=pl.col("q").quantile(share)).plan).released, plain)
        assert plain["r"].null_count() == 0


@pytest.mark.parametrize("profile", PROFILES)
def test_the_largest_numbers_of_few_people_read_like_nobody_s(profile: str) -> None:
    x = np.random.default_rng(8).uniform(0, 50, 600)
    few = np.where(np.arange(600) // 2 < K - 1, 120.0, x)
    told = []
    for values in (x, few):
        frame = polars.DataFrame({"id": np.arange(600) // 2, "g": 0, "x": values})
        w = world(frame, profile, x=Role(RoleKind.MEASURE, 0, 130))
        each = T.group_by("id").agg(q=pl.col("x").max())
        told.append(w.ask(each.select(a=pl.col("q").max(), b=pl.col("q").quantile(0.999)).plan).released)
    assert_frame_equal(*told)
    assert told[0]["a"].item() < 60


@pytest.mark.parametrize("name", ["sum", "std", "moved"])
def test_what_leaves_the_bounds_of_its_column_has_no_grid(name: str) -> None:
    frame = polars.DataFrame({"id": np.arange(600) // 2, "g": 0, "x": np.arange(600) % 97 + 0.5})
    w = world(frame, "default", x=Role(RoleKind.MEASURE, 0, 130))
    x, q = pl.col("x"), pl.col("q")
    made = {"sum": (x.sum(), q), "std": (x.std(), q), "moved": (x.max(), q + 1)}[name]
    assert w.ask(T.group_by("id").agg(q=made[0]).select(made[1].median()).plan).verdict.outcome is not Outcome.RELEASE
