"""What is decided of a fit from public numbers: how large it may become, what stands against it, who sees what it learned."""

from __future__ import annotations

import itertools
from typing import Any

import polars as pl
import pytest
from bastion_plan.bind import BoundPlan, bind
from bastion_plan.errors import InputError
from bastion_plan.models.fits import FitSpec
from bastion_policy.model import Aggregation, Policy, Review
from bastion_policy.private.accounting import Account
from bastion_policy.private.fits import ask_exact, ask_with_noise, sees, unaffordable, unapproved
from bastion_policy.private.sizes import Size, Walls, check_size, needs_of, rung, together
from bastion_policy.roles import measure
from bastion_policy.verdict import Finding
from noisy import Desk, Table
from query import Q

from bastion import pl as b

ROLES = {
    "pid": "identifier",
    **{f"x{i}": measure(0, 1) for i in range(8)},
    "y": "quasi",
    "town": "quasi",
    "pixels": "quasi",
}
FRAME = pl.DataFrame(
    {"pid": [1, 2]} | {f"x{i}": [0.0, 1.0] for i in range(8)} | {"y": [0, 1], "town": ["n", "s"], "pixels": [[1.0]] * 2}
)
NOISY = Policy.private(1.0, unit="pid", max_rows=2, roles=ROLES)
WORLD = Desk({"t": Table(FRAME, NOISY, "pid")})
GB = 1 << 30
WALLS = Walls(GB, 3 * GB // 2, 30.0, 2)
MILLION = Size(1 << 20, 1 << 28)


def spec(inputs: tuple[str, ...]) -> FitSpec:
    return FitSpec((inputs,), ("y",), "l2", 1)


def bound(query: Q) -> BoundPlan:
    return bind(query.plan, WORLD.facts)


def test_how_large_a_table_is_comes_in_steps_that_are_its_own() -> None:
    for number, part in itertools.product((1, 2, 3, 1000, 1024, 1025, 10**9), (0.0, 0.3, 0.999999)):
        found = rung(number, part)
        assert number <= found <= 2 * number + 1
    assert rung(1 << 40, 0.0) == 1 << 40
    assert len({rung(number, 0.3) for number in range(1000, 4000)}) <= 6  # there are few of them
    # whoever knows a table but for one person does not know where the step lies
    edges = [next(n for n in range(1024, 2049) if rung(n, part) > rung(1024, part)) for part in (0.1, 0.4, 0.7)]
    assert len({*edges}) == 3
    assert together([Size(4, 100), Size(8, 50)], 3) == Size(24, 300) and together([], 3) == Size(1, 1)


def usual() -> Q:
    """What one does before training: clean, standardise, choose."""
    made = {f"z{i}": (b.col(f"x{i}").fill_null(0.0) - 0.5) / 0.1 for i in range(8)}
    north = Q("t").filter((b.col("town") == "n") & (b.col("y") >= 0)).with_columns(**made)
    return north.with_columns(n=b.col("town").str.to_lowercase().str.starts_with("n").cast(pl.Int8))


def wide(columns: int) -> Q:
    """Many columns on the way that the last one needs, of the few rows that a filter leaves."""
    few = Q("t").filter(b.col("y") == 1).with_columns(**{f"c{i}": b.col("x0") * i for i in range(columns)})
    return few.select("y", "pid", c=b.sum_horizontal(*(b.col(f"c{i}") for i in range(columns))))


def horizontal(columns: int) -> Q:
    """The same within one expression."""
    return Q("t").filter(b.col("y") == 1).with_columns(c=b.sum_horizontal(*(b.col("x0") * i for i in range(columns))))


def nodes(steps: int) -> Q:
    """Columns that are worked on again and again."""
    found = Q("t").filter(b.col("y") == 1).with_columns(**{f"c{i}": b.col("x0") for i in range(20)})
    for i in range(steps):
        found = found.with_columns(**{f"c{j}": b.col(f"c{j}").sin().cos().tan() * i for j in range(20)})
    return found.with_columns(c=b.sum_horizontal(*(b.col(f"c{i}") for i in range(20))))


def test_what_one_does_before_training_is_allowed_on_a_million_rows() -> None:
    check_size(bound(usual()), spec(tuple(f"z{i}" for i in range(8))), MILLION, WALLS)
    check_size(bound(Q("t")), spec(("pixels",)), MILLION, WALLS)
    # columns that nothing is made of are not read, and count for nothing
    few, all_of_them = (needs_of(bound(Q("t").filter(b.col("y") == 1)), MILLION, some, 2) for some in (("y",), ROLES))
    assert few.memory < all_of_them.memory


@pytest.mark.parametrize(("plan", "much"), [(wide, 400), (horizontal, 400), (nodes, 50)])
def test_a_plan_that_may_exhaust_the_engine_is_refused_before_it_is_known_how_many_rows_are_left(
    plan: Any, much: int
) -> None:
    check_size(bound(plan(10)), spec(("c",)), MILLION, WALLS)
    for size in (MILLION, Size(1 << 25, 1 << 28)):
        with pytest.raises(InputError) as refused:
            check_size(bound(plan(much)), spec(("c",)), size, WALLS)
        assert refused.value.code == "fit.size" and refused.value.next_step
    # of a small table as much may be made
    check_size(bound(plan(much)), spec(("c",)), Size(1 << 12, 1 << 20), WALLS)


def test_rows_that_a_worker_cannot_hold_are_refused() -> None:
    for columns, size in (
        (("x0",), Size(1 << 26, 1 << 28)),
        (("pixels",), Size(1 << 10, 2 * GB)),
        (tuple(ROLES)[1:9], Size(1 << 24, GB)),
    ):
        with pytest.raises(InputError) as refused:
            check_size(bound(Q("t")), spec(columns), size, WALLS)
        assert refused.value.code == "fit.size"


def test_an_estimate_is_above_what_the_engine_holds() -> None:
    rows = 1 << 16
    frame = pl.DataFrame({"pid": range(rows), "y": [1] * rows} | {f"x{i}": [0.5] * rows for i in range(8)})
    for columns in (10, 80):
        given = frame.lazy().with_columns(*((pl.col("x0") * i).alias(f"c{i}") for i in range(columns)))
        held = given.collect().estimated_size() - frame.estimated_size()
        assert needs_of(bound(wide(columns)), Size(rows, 1 << 20), ("c",), 2).memory >= held


def test_a_fit_is_paid_approved_or_refused() -> None:
    facts, plan = WORLD.facts, bound(Q("t"))
    asked = ask_with_noise(plan, facts, NOISY, "alice", spec(("x0",)))
    assert asked.outcome == "private" and asked.account is not None and asked.max_rows == 2 and asked.rows is not None
    asked = ask_with_noise(bound(Q("t").head(3)), facts, NOISY, "alice", spec(("x0",)))
    assert asked.outcome == "refuse" and asked.rows is None and asked.finding is not None
    guarded = Policy(Aggregation(10), Review(), unit="pid", roles=ROLES)
    asked = ask_with_noise(plan, facts, guarded, "alice", spec(("x0",)))
    assert asked.outcome == "refuse" and asked.finding is not None and asked.finding.rule == "training-no-budget"
    asked = ask_exact(plan, facts, guarded, "alice", spec(("x0",)))
    assert (asked.outcome, asked.account) == ("review", None) and asked.finding is not None
    asked = ask_exact(plan, facts, NOISY, "alice", spec(("x0",)))
    assert asked.outcome == "refuse" and asked.finding is not None and asked.finding.rule == "training-exact"


def test_an_approval_that_does_not_let_a_fit_run_does_not() -> None:
    why = Finding("training-exact", "why")
    assert unapproved(why, True) is None and unapproved(None, True) is None
    assert unapproved(why, None) is why
    for finding, may_run in ((None, False), (why, False), (None, None)):
        found = unapproved(finding, may_run)
        assert found is not None and found.rule == "owner-grant" and found.fix
    said = unaffordable(["t"], 0.3, Account(1.0, 1e-5), 0.5)
    assert said.rule == "guard.budget.spent" and "0.3" in said.reason


def test_who_sees_what_a_fit_learned() -> None:
    for private, mine, readable, visible, owned in itertools.product((True, False), repeat=5):
        found = sees(private=private, mine=mine, readable=readable, visible=visible, owned=owned)
        assert not found or (readable and visible)
        if readable and visible:
            assert found == (private or mine or owned)
