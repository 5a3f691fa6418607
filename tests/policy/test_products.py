"""Covariances and correlations with known columns: told coarsely, of many people, and few of them."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import polars
import pytest
from bastion_plan.dtypes import FLOAT64, INT64
from bastion_plan.expressions import Alias, Call, Column
from bastion_plan.nodes import Scan, Select
from bastion_policy.boundary import Guard, Statistic, Term
from bastion_policy.history.encoding import pack_past, unpack_past
from bastion_policy.lineage import Form, Value
from bastion_policy.model import Aggregation, Policy, Review, Role, RoleKind, Suppress
from bastion_policy.products import coarse
from bastion_policy.rounding import Pairs, round_whole
from bastion_policy.rules import Rounding
from bastion_policy.verdict import Outcome
from bastion_server.engine.lower import lower
from drive import World
from hypothesis import given
from hypothesis import strategies as st
from query import Q

import bastion.expressions as pl

N, FEW, KNOWN = 700, 12, [f"w{j}" for j in range(8)]
RNG = np.random.default_rng(5)
PEOPLE = polars.DataFrame(
    {
        "id": np.arange(N), "g": np.arange(N) // FEW, "half": np.arange(N) % 2, "x": RNG.integers(0, 2, N),
        "y": np.round(RNG.uniform(0, 100, N), 2), "hiv": RNG.random(N) < 0.3, "kind": RNG.integers(0, 9, N),
        **{w: RNG.integers(1_000_000, 9_999_999, N) for w in KNOWN},
    }
)  # fmt: skip
ROLES: dict[str, Role | str] = {
    "id": "identifier", "x": Role(RoleKind.MEASURE, 0, 1), "y": Role(RoleKind.MEASURE, 0, 100), "hiv": "sensitive",
    "kind": "sensitive", **dict.fromkeys(["g", "half", *KNOWN], "quasi"),
}  # fmt: skip
POLICIES = {
    "default": Policy(Aggregation(10), Suppress(), unit="id"),
    "strict": Policy(Aggregation(10), Suppress(), unit="id", profile="strict"),
}
PROFILES = pytest.mark.parametrize("profile", POLICIES)
T, x, y = Q("t"), pl.col("x"), pl.col("y")


def world(profile: str = "default", frame: polars.DataFrame = PEOPLE, **roles: Role | str) -> World:
    return World(remembers=True).add("t", frame, POLICIES[profile], ROLES | roles, unit="id")


def told(w: World, plan: Q) -> Any:
    table = w.ask(plan.plan).table
    return None if table is None or not table.height else table.row(0)[0]


# -- the attack


@PROFILES
def test_few_weights_of_many_digits_name_nobody(profile: str) -> None:
    """Of the 4096 ways in which twelve people may say yes or no, one fits three covariances with all their digits."""
    w, group = world(profile), T.filter(pl.col("g") == 0)
    found = [told(w, group.select(pl.cov(x, pl.col(c)))) for c in KNOWN[:3]]
    ways = np.array(list(product([0, 1], repeat=FEW)))
    fit = np.ones(len(ways), bool)
    for c, shown in zip(KNOWN, found, strict=False):
        if shown is not None:
            weights = PEOPLE[c].to_numpy()[:FEW]
            every = (ways - ways.mean(axis=1, keepdims=True)) @ (weights - weights.mean()) / (FEW - 1)
            fit &= np.abs(every - shown) <= 0.5 + (1e-6 if profile == "default" else 0.2) * np.abs(every)
    assert fit.sum() > 1000


@pytest.mark.parametrize("named", ["w", "v{i}"])
def test_columns_of_one_name_are_not_one_column(named: str) -> None:
    """Known columns in the person's sum, all under one name: each of them is another number of the people."""
    w, group = world(), T.filter(pl.col("id") < 140)
    shown = 0
    for i, column in enumerate(KNOWN[:4]):
        name = named.format(i=i)
        rows = group.with_columns(pl.col(column).sum().over("id").alias(name), x.sum().over("id").alias("z"))
        shown += told(w, rows.select(pl.corr("z", name))) is not None
    assert shown <= 1


# -- of whom they are made


def outlying(profile: str, people: int) -> World:
    """`far` and `odd` are 1 for so many people and 0 for the others: each has (1 - people / N) / people of the squares."""
    ones = (PEOPLE["id"].to_numpy() * 37 % N < people).astype(float)
    frame = PEOPLE.with_columns(far=polars.Series(ones), odd=polars.Series(ones))
    return world(profile, frame, far=Role(RoleKind.MEASURE, 0, 1), odd="quasi")


@PROFILES
@pytest.mark.parametrize("function", [pl.cov, pl.corr])
@pytest.mark.parametrize("pair", [("far", "kind"), ("kind", "far"), ("y", "odd"), ("odd", "y"), ("far", "y")])
def test_nobody_has_more_than_a_kth_of_either_s_squares(profile: str, function: Any, pair: tuple[str, str]) -> None:
    assert told(outlying(profile, 9), T.select(function(*pair))) is None
    assert told(outlying(profile, 10), T.select(function(*pair))) is not None


# -- of how many people, how many numbers


@PROFILES
@pytest.mark.parametrize("pair", [("y", "w0"), ("x", "y")])
def test_neither_is_told_of_fewer_than_ten_times_k_people(profile: str, pair: tuple[str, str]) -> None:
    for people, there in ((99, False), (140, True)):
        plan = T.filter(pl.col("place") < people)
        w = world(profile, PEOPLE.with_columns(place=polars.col("id")), place="quasi")
        assert (told(w, plan.select(pl.cov(*pair))) is not None) is there
        assert (told(w, plan.select(pl.corr(*pair))) is not None) is (there and "w0" not in pair)


@PROFILES
@pytest.mark.parametrize("function", [pl.cov, pl.corr])
def test_no_more_numbers_are_told_than_there_are_people_for(profile: str, function: Any) -> None:
    w = world(profile)
    for _ in range(2):
        # asked again they are no others
        shown = [told(w, T.select(function(y, pl.col(c)))) is not None for c in KNOWN]
        assert shown == [i < N // 128 for i in range(len(KNOWN))]
    assert told(w, T.with_columns(z=y).select(function(pl.col("z"), pl.col("w7")))) is None
    assert told(w, T.select(function(x, pl.col("w7")))) is not None, "another column has its own"
    assert told(w, T.select(function(y, x))) is not None, "weights that nobody knows are no equation"


def test_in_one_question_they_count_as_in_several() -> None:
    table = world().ask(T.select(*(pl.cov(y, pl.col(c)).alias(c) for c in KNOWN)).plan).table
    assert table is not None
    assert [v is not None for v in table.row(0)] == [i < N // 128 for i in range(len(KNOWN))]


@PROFILES
def test_groups_have_people_of_their_own(profile: str) -> None:
    w = world(profile)
    for c in KNOWN[:3]:
        table = w.ask(T.group_by("half").agg(c=pl.corr("y", c)).plan).table
        assert table is not None
        assert [v is not None for v in table["c"]] == [KNOWN.index(c) < 350 // 128] * 2
    assert told(w, T.select(pl.corr("y", "w7"))) is not None, "a number of everybody costs less"
    assert told(w, T.select(pl.corr("y", "w6"))) is None


def test_people_with_several_rows_are_people() -> None:
    frame = polars.concat([PEOPLE.with_columns(day=polars.lit(d)) for d in range(4)])
    w = world(frame=frame.with_columns(y=polars.col("y") + polars.col("day")), day="quasi")
    shown = [told(w, T.filter(pl.col("day") == i % 4).select(pl.corr("y", c))) is not None for i, c in enumerate(KNOWN)]
    assert sum(shown) <= N // 128


def test_what_was_told_is_kept() -> None:
    w = world()
    for c in KNOWN:
        told(w, T.select(pl.cov(y, pl.col(c))))
    w.pasts = {key: unpack_past(pack_past(past)) for key, past in w.pasts.items()}
    assert told(w, T.select(pl.cov(y, pl.col("w7")))) is None
    assert told(w, T.select(pl.cov(y, pl.col("w0")))) is not None


def test_few_values_count_as_few_people() -> None:
    """Of 700 people 200 have a value: one number with a known column, where all would have five."""
    frame = PEOPLE.with_columns(y=polars.when(polars.col("id") % 7 < 2).then("y"))
    for profile in POLICIES:
        w = world(profile, frame)
        shown = [told(w, T.select(pl.cov(y, pl.col(c)))) is not None for c in KNOWN]
        assert shown == [i < 1 for i in range(len(KNOWN))], profile


# -- what is refused


@PROFILES
@pytest.mark.parametrize("one", [pl.col("hiv").cast(pl.Int64), pl.col("kind")])
def test_yes_or_no_and_what_is_sensitive_is_not_weighed_by_what_is_known(profile: str, one: Any) -> None:
    w = World().add("t", PEOPLE, Policy(Aggregation(10), Review(), unit="id", profile=profile), ROLES, unit="id")
    for function in (pl.cov, pl.corr):
        for pair in ((one, pl.col("w0")), (pl.col("w0"), one)):
            answer = w.ask(T.select(function(*pair)).plan)
            assert answer.verdict.outcome is Outcome.REVIEW
            assert not answer.measures
    assert w.ask(T.select(pl.corr(pl.col("kind"), y)).plan).verdict.outcome is Outcome.RELEASE


@PROFILES
def test_identifiers_that_people_may_share_are_not_counted(profile: str) -> None:
    """How many households two groups have together says whether one of each lives in one."""
    world = World().add(
        "t", PEOPLE.with_columns(home="id"), POLICIES[profile], ROLES | {"home": "identifier"}, unit="id"
    )
    assert told(world, T.select(pl.col("id").n_unique())) == N
    answer = world.ask(T.select(pl.col("home").n_unique()).plan)
    assert answer.verdict.outcome is not Outcome.RELEASE and not answer.measures
    assert "privacy unit" in answer.verdict.findings[0].reason


PER_PERSON = {
    "a sum": lambda q: q.group_by("id").agg(z=pl.col("value").sum()).select(pl.col("z").var()),
    "a mean": lambda q: q.group_by("id").agg(z=pl.col("value").mean()).select(pl.col("z").std()),
    "the larger": lambda q: q.group_by("id").agg(z=pl.col("value").max()).select(pl.col("z").sum()),
    "beside": lambda q: q.with_columns(z=pl.col("value").sum().over("id")).select(pl.col("z").var()),
    "a difference": lambda q: q.with_columns(z=pl.col("value").diff().over("id")).select(pl.col("z").var()),
}


@pytest.mark.parametrize("words", PER_PERSON)
def test_columns_below_each_other_are_not_added_up_by_person(words: str) -> None:
    """The variance of x + w is that of x, that of w and twice their covariance, with all its digits."""
    assert told(world(), PER_PERSON[words](T.unpivot(on=["x", "w0"], index=["id"]))) is None
    assert told(world(), T.unpivot(on=["x", "w0"], index=["id"]).select(pl.col("value").sum())) is not None


# -- how coarsely


def test_what_is_shown_is_rounded_and_says_so() -> None:
    w = world()
    answer = w.ask(
        T.select(a=pl.cov("y", "w0"), b=pl.corr("y", "w0"), c=pl.cov("y", "w0", ddof=0), d=pl.cov(y * 3, "w0")).plan
    )
    a, b, c, d = answer.released.row(0)
    exact = PEOPLE.select(polars.corr("y", "w0")).item()
    assert b == round(exact, 2)
    assert a == float(f"{b * PEOPLE['y'].std() * PEOPLE['w0'].std():.2g}")  # type: ignore[operator]
    assert (c, d) == (pytest.approx(a * (N - 1) / N), pytest.approx(3 * a))
    assert any("two decimals" in note for note in answer.verdict.note.notes)


def test_strict_makes_it_of_what_it_rounds() -> None:
    w = world("strict")
    a, b, one, two = w.ask(T.select(pl.cov("y", "x"), r=pl.corr("y", "x"), s=y.std(), t=x.std()).plan).released.row(0)
    assert b == round(PEOPLE.select(polars.corr("y", "x")).item(), 2)
    assert a == pytest.approx(float(f"{b * one * two:.2g}"))


def moments(pairs: np.ndarray[Any, Any]) -> dict[str, list[Any]]:
    parts = np.cov(*pairs.T, ddof=1)
    return {"n": [len(pairs)], "c": [parts[0, 1]], "a": [parts[0, 0]], "b": [parts[1, 1]]}


def shown_as(
    function: str,
    pairs: np.ndarray[Any, Any],
    rule: Rounding | None,
    *,
    discrete: bool = True,
    ddof: int = 1,
    cells: int = 1,
) -> Any:
    term = Term(Column("x"), Value(form=Form.COLUMN), INT64 if discrete else FLOAT64)
    options = (("ddof", ddof),) if function == "pl.cov" else ()
    s = Statistic(Call(function, (Column("x"), Column("y")), options), function, Guard.PRODUCTS, FLOAT64, (term, term))
    kept = Pairs(Column("n"), Column("c"), (Column("a"), Column("b")), (discrete, discrete))
    frame = polars.DataFrame({k: v * cells for k, v in moments(pairs).items()}, strict=False)
    return lower(Select(Scan("t"), (Alias(coarse(s, kept, rule), "x"),)), {"t": frame.lazy()}).collect()["x"][0]


@pytest.mark.parametrize("function", ["pl.corr", "pl.cov"])
def test_a_zero_has_no_sign_in_any_of_several_cells(function: str) -> None:
    """The engine adds nought to a single row, and leaves it out where there are more."""
    pairs = np.column_stack([np.arange(2_000) % 2, np.arange(2_000) // 2 % 2]).astype(float)
    pairs[0, 1] = 0.1
    both = [shown_as(function, pairs * [1, sign], None, discrete=False, cells=3) for sign in (1, -1)]
    assert both == [0.0, 0.0]
    assert all(math.copysign(1, v) == 1 for v in both)


VALUES = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=3, max_size=40)


@given(VALUES, st.sampled_from([0, 1]))
def test_there_are_201_numbers(values: list[tuple[float, float]], ddof: int) -> None:
    pairs = np.array(values)
    if (pairs.std(axis=0) < 1e-3).any():
        return
    r, c = (shown_as(f, pairs, None, discrete=False, ddof=ddof) for f in ("pl.corr", "pl.cov"))
    assert r * 100 == pytest.approx(round(r * 100), abs=1e-9) and abs(r) <= 1
    assert math.copysign(1, r) == 1 or r < 0
    assert abs(r - np.corrcoef(*pairs.T)[0, 1]) <= 0.0051
    scale = (len(pairs) - 1) / (len(pairs) - ddof)
    assert c / scale == pytest.approx(float(f"{r * math.prod(pairs.std(axis=0, ddof=1)):.2g}"), rel=0.06)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=12, max_size=60))
def test_correlations_of_bits_are_made_of_rounded_parts(values: list[tuple[bool, bool]]) -> None:
    pairs = np.array(values, float)
    made = [round_whole([round(moments(pairs)[v][0] * (len(pairs) - 1))], 5)[0] for v in "cab"]
    shown = shown_as("pl.corr", pairs, Rounding())
    if made[1] * made[2] == 0:
        assert shown is None
    else:
        assert shown == pytest.approx(np.clip(made[0] / math.sqrt(made[1] * made[2]), -1, 1), abs=0.0051)
