"""Every function of the register does on private rows what its flow class says, under every profile."""

from __future__ import annotations

import itertools

import polars
import pytest
from bastion_plan.bind import bind
from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, AnyExpr, Call, Column, Literal, Over
from bastion_plan.functions.registry import all_functions, get
from bastion_plan.functions.spec import Flow, Function, Shape
from bastion_plan.nodes import AnyNode, GroupBy, Scan, Select, WithColumns
from bastion_policy.flow import static_verdict
from bastion_policy.flow_functions import PER_UNIT_WINDOWS
from bastion_policy.model import Aggregation, Policy, Review
from bastion_policy.verdict import Outcome, StaticVerdict
from drive import World
from function_examples import FRAME, _calls

ROLES = dict.fromkeys(FRAME.columns, "quasi")
PROFILES = {
    "default": Policy(Aggregation(10), Review(), unit="who"),
    "strict": Policy(Aggregation(10), Review(), unit="who", profile="strict"),
    "private": Policy.private(epsilon=1.0, unit="who"),
}
WORLDS = {
    name: World().add(
        "d", FRAME.with_columns(who=polars.int_range(FRAME.height)), policy, {**ROLES, "who": "identifier"}, unit="who"
    )
    for name, policy in PROFILES.items()
}  # fmt: skip
D = Scan("d")
FUNCTIONS = list(all_functions())


def call_of(function: Function) -> Call | None:
    """The first example call of a function that binds as a column of a private frame."""
    for call in itertools.islice(_calls(function), 400):
        try:
            bind(Select(D, (Alias(call, "out"),)), WORLDS["default"].facts)
        except BindError:
            continue
        return call
    return None


CALLS = {f.name: call for f in FUNCTIONS if (call := call_of(f)) is not None}


def verdict(plan: AnyNode, profile: str) -> StaticVerdict | None:
    facts = WORLDS[profile].facts
    try:
        return static_verdict(bind(plan, facts), facts, "alice")
    except BindError:
        return None


def of_class(*flows: Flow) -> list[str]:
    return [name for name in CALLS if get(name).flow in flows]


def test_nearly_every_function_is_tried() -> None:
    assert len(CALLS) >= 0.92 * len(FUNCTIONS), {f.name for f in FUNCTIONS} - set(CALLS)
    assert {get(name).flow for name in CALLS} == set(Flow)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", [n for n in CALLS if get(n).shape is not Shape.ONE or get(n).flow is Flow.ROW])
def test_no_function_shows_rows(name: str, profile: str) -> None:
    """Whatever does not reduce, or carries single rows, is not released as a column of a private frame."""
    call = CALLS[name]
    found = verdict(Select(D, (Alias(call, "out"),)), profile)
    assert found is not None
    grouped = get(name).flow is Flow.TIED or name == "hist"  # a column of its own is a group_by in other words
    columns = any(isinstance(a, Column) for a in call.args)
    if grouped and profile != "private":
        return
    if get(name).flow is Flow.GENERATOR and not columns and found.outcome is Outcome.RELEASE:
        return
    assert found.outcome is not Outcome.RELEASE, found


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", of_class(Flow.ROW, Flow.WINDOW))
def test_what_reads_or_carries_single_rows_is_no_statistic(name: str, profile: str) -> None:
    """Nor inside an aggregate, nor as an argument of one."""
    call = CALLS[name]
    columns = [a for a in call.args if isinstance(a, Column)]
    for aggregate in (call, Call("sum", (call,)), Call("mean", (call,)), Call("count", (call,))):
        found = verdict(GroupBy(D, (Alias(Column("b"), "key"),), (Alias(aggregate, "out"),)), profile)
        if found is None or not columns:
            continue
        assert found.outcome is not Outcome.RELEASE, aggregate
        assert found.findings


def reads_people(name: str) -> bool:
    """Whether the example of a function reads a column of people; of literals there is nothing to refuse."""
    return any(isinstance(a, Column) for a in CALLS[name].args)


def counted(expr: AnyExpr) -> Select:
    """The number of values of a column made of `expr`."""
    return Select(WithColumns(D, (Alias(expr, "new"),)), (Alias(Call("count", (Column("new"),)), "n"),))


def summed_per_person(name: str) -> Select:
    """The sum of a column that a function makes within one person's rows."""
    per_person = Over(CALLS[name], (Column("who"),))
    return Select(WithColumns(D, (Alias(per_person, "new"),)), (Alias(Call("sum", (Column("new"),)), "n"),))


WINDOWS = [name for name in of_class(Flow.WINDOW) if reads_people(name)]
#: of those, what gives a number per row
PER_PERSON = [
    name for name in WINDOWS if get(name).shape is Shape.SAME and verdict(summed_per_person(name), "default") is not None
]


def test_the_lists_leave_out_little() -> None:
    assert len(WINDOWS) >= 0.9 * len(of_class(Flow.WINDOW)), set(of_class(Flow.WINDOW)) - set(WINDOWS)
    assert len(PER_PERSON) >= 0.5 * len(WINDOWS), set(WINDOWS) - set(PER_PERSON)
    assert set(PER_PERSON) >= set(PER_UNIT_WINDOWS) & set(WINDOWS)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", WINDOWS)
def test_order_dependent_columns_are_refused_with_the_reason(name: str, profile: str) -> None:
    """Across people; what comes of a window over another key is no column either."""
    call = CALLS[name]
    verdicts = [verdict(counted(expr), profile) for expr in (call, Over(call, (Column("b"),)))]
    tried = [found for found in verdicts if found is not None]
    assert tried, "neither form binds: nothing was tried"
    for found in tried:
        assert found.outcome is not Outcome.RELEASE
        told = {f.rule for f in found.findings}
        known = {"order-dependent", "row-level", "argument", "strict-argument"}
        assert any(rule in known or rule.startswith("private-") for rule in told), told


@pytest.mark.parametrize("name", PER_PERSON)
def test_order_dependent_columns_go_on_within_one_person(name: str) -> None:
    """Partitioned by the unit they read that person's rows alone: nothing says that they read others'."""
    found = verdict(summed_per_person(name), "default")
    assert found is not None
    assert not any("other people" in f.reason for f in found.findings)
    if found.findings:
        assert name not in PER_UNIT_WINDOWS
        assert all(f.rule in ("order-dependent", "argument", "row-level") for f in found.findings)


@pytest.mark.parametrize("name", of_class(Flow.COUNT, Flow.SUM, Flow.SPREAD, Flow.ORDER, Flow.EXTREME))
def test_what_reduces_is_judged_as_its_class_says(name: str) -> None:
    """Released statistics are those of the classes that have a guard; all others say why not."""
    found = verdict(Select(D, (Alias(CALLS[name], "out"),)), "default")
    assert found is not None
    guarded = {
        "count", "len", "pl.len", "null_count", "sum", "mean", "var", "std", "median", "quantile", "min", "max",
        "pl.cov", "pl.corr",
    }  # fmt: skip
    if found.outcome is Outcome.RELEASE:
        assert name in guarded
    else:
        assert found.findings
        assert all(f.reason.endswith(".") for f in found.findings)


@pytest.mark.parametrize("name", of_class(Flow.GENERATOR))
def test_generated_columns_are_no_weights(name: str) -> None:
    """A number per row that the scientist makes would weigh people."""
    call = CALLS[name]
    for plan in (
        Select(WithColumns(D, (Alias(call, "new"),)), (Alias(Call("sum", (Column("new"),)), "n"),)),
        Select(D, (Alias(Call("sum", (Call("mul", (Column("f"), call)),)), "n"),)),
    ):
        found = verdict(plan, "default")
        if found is None:
            continue
        constant = get(name).shape is Shape.ONE or all(isinstance(a, Literal) for a in call.args)
        assert found.outcome is not Outcome.RELEASE or constant
