"""The order of people's rows: never made where nobody reads it, decided by stored columns where somebody does."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import polars
import pytest
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.expressions import Column
from bastion_policy import judge_leaving
from bastion_policy.flow_nodes import FlowTyping
from bastion_policy.guard_plans import Rewriter
from bastion_policy.lineage import OWN
from bastion_policy.lineage import World as Known
from bastion_policy.model import Aggregation, Policy, Review, Role, RoleKind
from bastion_policy.verdict import Outcome
from bastion_server.engine.lower import lower
from drive import World
from query import Q, concat, inline

import bastion.expressions as pl
from bastion.expr.core import as_plan

RNG = np.random.default_rng(3)
N, TARGET = 600, 7
#: two rows per person
FRAME = polars.DataFrame(
    {
        "id": np.arange(N) // 2,
        "g": np.arange(N) % 20,
        "day": RNG.permutation(N),
        "x": RNG.uniform(0, 1000, N),
        "y": RNG.uniform(0, 1, N),
        "salary": np.round(RNG.uniform(1e4, 9e4, N), 2),
        "hiv": RNG.random(N) < 0.3,
        "name": [f"p{i}" for i in range(N)],
    }
)
ROLES: dict[str, Role | str] = {
    "id": "identifier", "g": "quasi", "day": "quasi", "x": Role(RoleKind.MEASURE, 0, 1000), "y": Role(RoleKind.MEASURE, 0, 1),
    "salary": Role(RoleKind.MEASURE, 0, 90_000), "hiv": "sensitive", "name": "hidden",
}  # fmt: skip
PROFILES = {
    "default": Policy(Aggregation(10), Review(), unit="id"),
    "strict": Policy(Aggregation(10), Review(), unit="id", profile="strict"),
}
WORLDS = {name: World().add("t", FRAME, policy, ROLES, unit="id") for name, policy in PROFILES.items()}
EVERY = pytest.mark.parametrize("profile", PROFILES)
T = Q("t")
x, y, day, hiv = (pl.col(c) for c in ("x", "y", "day", "hiv"))
target = pl.col("id") == TARGET
cov = pl.cov("x", "y")
TOO_BIG = (pl.col("salary") / 5e4 * 5).cast(pl.Decimal(38, 37))


def answered(plan: Q, profile: str = "default") -> Any:
    return WORLDS[profile].ask(plan.plan).released


def first_ones(yes: Any) -> Q:
    """The rows, those first of which something holds."""
    return T.sort(yes, descending=True)


def read(node: n.Node) -> Any:
    """Yield all nodes of a plan."""
    yield node
    for below in n.inputs(node):
        yield from read(below)


# -- orders that nobody reads

BLIND = {
    "a person's value": lambda by: T.sort(by).select(cov),
    "in groups": lambda by: T.sort(by).group_by(pl.col("g") // 10).agg(cov, pl.len()),
    "some of them": lambda by: T.sort(by).select(x.filter(y > 0.5).sum()),
    "filtered": lambda by: T.sort(by).filter(y > 0.5).select(x.mean()),
    "computed": lambda by: T.sort(by).with_columns(z=x * 2).select(pl.col("z").std()),
    "reversed": lambda by: T.sort(by).of(n.Reverse).select(cov),
    "per person": lambda by: T.sort(by).group_by("id").agg(z=x.sum()).select(pl.col("z").mean()),
    "beside": lambda by: T.sort(by).with_columns(m=x.mean()).filter(x > pl.col("m")).select(pl.len()),
    "before a join": lambda by: T.sort(by).join(inline({"g": [1, 2, 3]}), on="g", how="semi").select(x.sum()),
}  # fmt: skip


@pytest.mark.parametrize("name", BLIND)
def test_an_order_that_nobody_reads_is_not_made(name: str) -> None:
    """Whatever its keys are: they are in no plan that runs."""
    keys: tuple[Any, ...] = (target & (pl.col("salary") > 5e4), hiv, "x")
    for key in keys:
        answer = WORLDS["default"].ask(BLIND[name](key).plan)
        assert answer.table is not None, answer.verdict.findings
        for measure in answer.measures:
            sorts = [node for node in read(measure.plan) if isinstance(node, n.Sort)]
            assert all(isinstance(e, Column) and e.name.startswith(OWN) for s in sorts for e in s.by)
            assert not any(isinstance(node, n.Reverse) for node in read(measure.plan))


@EVERY
def test_a_sort_by_a_hidden_column_is_refused(profile: str) -> None:
    assert WORLDS[profile].ask(T.sort("name").select(pl.len()).plan).verdict.outcome is Outcome.REFUSE


def test_a_key_that_overflows_is_not_evaluated() -> None:
    """It fails in the engine; before data is read it is refused, and it would not have been computed either."""
    answer = WORLDS["default"].ask(T.sort(TOO_BIG + TOO_BIG).select(pl.len()).plan)
    assert answer.verdict.outcome is Outcome.RELEASE or not answer.measures
    with pytest.raises(polars.exceptions.PolarsError):
        lower(T.sort(TOO_BIG + TOO_BIG).plan, {"t": FRAME.lazy()}).collect()


def raw(*plans: Q) -> list[Any]:
    """The same number as several plans give it, to the last bit."""
    return [answered(plan).row(0)[-1] for plan in plans]


LAST_BITS = {
    "covariance": lambda q: q.select(cov),
    "correlation": lambda q: q.select(pl.corr("x", "y")),
    "of those beyond a threshold": lambda q: q.filter(y > 0.3).select(cov),
    "in a group": lambda q: q.group_by(pl.col("g") >= 0).agg(cov),
}


@pytest.mark.parametrize("digits", [12, 17])
@pytest.mark.parametrize("name", LAST_BITS)
def test_the_last_bits_do_not_tell_who_comes_first(name: str, digits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as they are answered nor before the last digits are left out."""
    monkeypatch.setattr(judge_leaving, "DIGITS", digits)
    plan = LAST_BITS[name]
    orders = [T, *(first_ones((pl.col("day") == d) & (pl.col("salary") > 0)) for d in range(100, 130)), T.sort("x")]
    assert len(set(raw(*map(plan, orders)))) == 1
    # each of them reads the rows in another order
    direct = {lower(plan(q).plan, {"t": FRAME.lazy()}).collect().row(0)[-1] for q in orders}
    assert len(direct) > 1


def labelled(key: Any, order: str, how: str = "inner") -> Q:
    labels = inline({"k": [True, False], "label": [1, 2]})
    return Q(n.Join(T.plan, labels.plan, how, (as_plan(key),), (Column("k"),), maintain_order=order))


@pytest.mark.parametrize("how", ["inner", "left"])
def test_labels_do_not_tell_whose_row_comes_first(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_leaving, "DIGITS", 17)
    plans = [labelled(day == d, order, how) for d in range(5) for order in ("none", "left", "right", "right_left")]
    assert len(set(raw(*(p.select(cov) for p in plans)))) == 1


def test_a_stack_does_not_tell_who_is_in_which_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows, in two parts that a condition makes."""
    monkeypatch.setattr(judge_leaving, "DIGITS", 17)
    some, part = T.filter(y < 0.6), [(pl.col("g") < 10) | ((y < 0.02) & (x > edge)) for edge in range(0, 900, 100)]
    plans = [concat(some.filter(p), some.filter(~p)).select(cov) for p in part]
    assert len(set(raw(*plans))) == 1
    assert len({lower(q.plan, {"t": FRAME.lazy()}).collect().item() for q in plans}) > 1


def test_fractions_are_answered_without_their_last_digits() -> None:
    found = answered(T.group_by(pl.col("g") // 5).agg(s=x.sum(), m=x.mean(), v=x.var(), n=pl.len()))
    aggs = (polars.col("x").sum().alias("s"), polars.col("x").mean().alias("m"), polars.col("x").var().alias("v"))
    direct = FRAME.group_by(polars.col("g") // 5).agg(*aggs, polars.len().alias("n")).sort("g")
    for name in "smv":
        assert found[name].to_list() == pytest.approx(direct[name].to_list(), rel=1e-11)
        assert all(float(f"{v:.12g}") == pytest.approx(v, rel=1e-15) for v in found[name])
    assert found["n"].to_list() == direct["n"].to_list()


# -- orders that are read

READ = {
    "first row of each person": lambda q: q.group_by("id").agg(z=x.first()).select(pl.col("z").sum()),
    "last row of each person": lambda q: q.filter(y > 0).group_by("id").agg(z=x.last()).select(pl.col("z").sum()),
    "running sum": lambda q: q.with_columns(z=x.cum_sum().over("id")).select(pl.col("z").sum()),
    "shifted": lambda q: q.with_columns(z=x.shift(1).over("id")).group_by("g").agg(pl.col("z").mean()),
    "two steps": lambda q: q.with_columns(z=x.shift(1).over("id")).sort("y").select(pl.col("z").mean()),
}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("by", ["day", "x", ("id", "day")])
def test_an_order_that_is_read_is_that_of_polars(name: str, by: Any) -> None:
    plan, facts = READ[name](T.sort(*(by if isinstance(by, tuple) else (by,)))).plan, WORLDS["default"].facts
    rows = FlowTyping(bind(plan, facts), Known(facts, measured=True)).root().inputs[0]
    assert isinstance(plan, n.Select | n.GroupBy)
    found, direct = (lower(q, {"t": FRAME.lazy()}).collect()["z"] for q in (Rewriter(facts).build(rows), plan.input))
    assert found.null_count() == direct.null_count()
    assert found.drop_nulls().sort().to_list() == pytest.approx(direct.drop_nulls().sort().to_list(), rel=1e-9)


KEYS = {
    "sensitive": ("hiv", "sensitive"),
    "an identifier": (target, "identifier"),
    "a condition": (day == 5, "order-dependent"),
    "a condition on a person": ((pl.col("g") == 3) & (pl.col("salary") > 5e4), "order-dependent"),
    "a computed number": (x * y, "order-dependent"),
}


@EVERY
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", READ)
def test_an_order_that_is_read_goes_by_stored_columns(name: str, key: str, profile: str) -> None:
    """Else who is first among a person's rows, and so whose number counts, would be a condition on one of them."""
    by, rule = KEYS[key]
    answer = WORLDS[profile].ask(READ[name](T.sort(by)).plan)
    assert answer.table is None
    assert rule in {f.rule for f in answer.verdict.findings}


def test_under_the_strict_profile_measures_order_nothing() -> None:
    plan = READ["first row of each person"]
    assert "strict-role" in {f.rule for f in WORLDS["strict"].ask(plan(T.sort("x")).plan).verdict.findings}
    assert "strict-role" not in {f.rule for f in WORLDS["strict"].ask(plan(T.sort("day")).plan).verdict.findings}


@EVERY
@pytest.mark.parametrize("key", KEYS)
def test_the_order_inside_a_window_goes_by_stored_columns(key: str, profile: str) -> None:
    by, rule = KEYS[key]
    plan = T.with_columns(z=x.cum_sum().over("id", order_by=by)).select(pl.col("z").sum())
    assert rule in {f.rule for f in WORLDS[profile].ask(plan.plan).verdict.findings}
    plain = T.with_columns(z=x.cum_sum().over("id", order_by="day")).select(pl.col("z").sum())
    assert {f.rule for f in WORLDS["default"].ask(plain.plan).verdict.findings} == {"argument"}, "the order may be read"


@pytest.mark.parametrize("name", READ)
def test_after_an_order_was_read_rows_are_as_they_were(name: str) -> None:
    """So the last bits of what is computed then do not tell of it."""
    facts = WORLDS["default"].facts
    frames = []
    for by in ("day", "x", "y"):
        typing = FlowTyping(bind(READ[name](T.sort(by)).plan, facts), Known(facts, measured=True))
        rows = typing.root().inputs[0]
        plan = Rewriter(facts).build(rows)
        assert any(isinstance(node, n.Sort) for node in read(plan))
        frames.append(lower(plan, {"t": FRAME.lazy()}).collect())
    kept = [c for c in ("id", "x", "y") if c in frames[0].columns]
    assert all(a.select(kept).equals(b.select(kept)) for a, b in itertools.pairwise(frames))


@EVERY
@pytest.mark.parametrize("by", ["x", "hiv", "day"])
def test_rows_are_not_picked_by_their_number(by: str, profile: str) -> None:
    for rows in (pl.int_range(0, N) < 300, pl.int_range(pl.len()) < 300):
        plan = T.sort(by).filter(rows).select(pl.len())
        assert "order-dependent" in {f.rule for f in WORLDS[profile].ask(plan.plan).verdict.findings}


# -- failures among one person's rows

WRONG = pl.date(2020, pl.when(hiv & target).then(13).otherwise(1), 1)
FAILING = {
    "a thirteenth month": WRONG.max(),
    "of some rows": WRONG.filter(y > 0).max(),
    "unlike lengths": (x.filter(~hiv) + y).sum(),
    "one of none": x.filter(hiv).item(),
    "a condition of another length": x.filter(y.filter(hiv) > 0).sum(),
    "an order of another length": x.sort_by(y.filter(hiv)).first(),
    "a sum that overflows": TOO_BIG.sum(),
}


@EVERY
@pytest.mark.parametrize("name", FAILING)
def test_no_aggregate_of_a_person_fails_at_some_values(name: str, profile: str) -> None:
    plan = T.group_by("id").agg(z=FAILING[name]).select(pl.len())
    answer = WORLDS[profile].ask(plan.plan)
    assert answer.verdict.outcome is Outcome.REVIEW
    assert not answer.measures
    assert any("fails at some values" in f.reason for f in answer.verdict.findings)


FINE = [
    x.sum(), x.filter(hiv).sum(), (x * y).max(), x.filter(hiv).mean() * 2, x.diff().mean(), x.drop_nulls().first(), pl.len(),
    x.sort_by(y).first(), pl.corr("x", "y"), (x > 500).any(), pl.when(hiv).then(x).otherwise(y).sum(), x.quantile(0.5),
]  # fmt: skip


@pytest.mark.parametrize("agg", FINE, ids=str)
def test_other_aggregates_of_a_person_are_answered(agg: Any) -> None:
    assert answered(T.group_by("id").agg(z=agg).select(pl.len())).item() == N // 2
