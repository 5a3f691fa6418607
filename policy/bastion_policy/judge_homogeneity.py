"""Homogeneity: which columns it holds for, and in which cells enough people differ from the commonest value."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.dtypes import UINT32
from bastion_plan.expressions import Alias, Column, Expr, Literal
from bastion_plan.nodes import AnyNode

from bastion_policy.boundary import Term, call
from bastion_policy.facts import PrivateFacts
from bastion_policy.guard_cells import INDEX, Flags, Floats, Measurer, Steps, X, where
from bastion_policy.guard_plans import lenient
from bastion_policy.lineage import Form, Source, World
from bastion_policy.model import Effective
from bastion_policy.roles import RoleKind
from bastion_policy.statistics import chooses, tallies

#: sensitive columns of these types are watched; numbers only where the rule is for all columns, or they have two values
CATEGORIES = frozenset({"Boolean", "String", "Categorical", "Enum"})


def watched(term: Term, effective: Effective, world: World, private: Mapping[str, PrivateFacts]) -> bool:
    """Whether the rule holds for an argument: Boolean and categorical sensitive columns, or all.

    A group key inside its own cell is no exception under "all": the cell's key says the value already, and the number that
    is withheld (its mean, its minimum) says nothing else. So nothing is lost, and the promise has no exception that a key
    of a slightly other form could be made to fit.
    """
    rule = effective.homogeneity
    if rule is None or term.value.form is Form.NULLS:
        return False  # which values are missing is public
    if rule.columns == "all":
        return bool(term.value.sources)
    for source in term.value.sources:
        sensitive = world.role(source).kind is RoleKind.SENSITIVE
        if sensitive and (term.dtype.kind == "Boolean" or _category(source, world, private)):
            return True
    return False


def _category(source: Source, world: World, private: Mapping[str, PrivateFacts]) -> bool:
    measured = private[source.dataset].columns.get(source.column)
    kind = world.facts[source.dataset].column(source.column).dtype.kind
    return kind in CATEGORIES or (measured is not None and measured.distinct <= 2)


def least_apart(term: Term, effective: Effective, world: World, private: Mapping[str, PrivateFacts]) -> int:
    """Return how many people must hold another value of an argument than the commonest one; 0: as many as may be.

    INVARIANT: a yes-or-no column that could choose people chooses k or more of them, on either side, whatever the rule says: by
    themselves its two sides are populations (the strict profile, which has one verdict per column, asks it here), and so are those
    of whom some row says yes, by a number per person that is made of it.
    """
    rule = effective.homogeneity
    least = rule.min_differing if rule is not None and watched(term, effective, world, private) else 0
    picks = effective.profile == "strict" and rule is not None and chooses(term.value, world)
    return max(least, effective.k) if picks or tallies(term.value, world) else least


def least_differing(source: Source, effective: Effective, world: World, private: Mapping[str, PrivateFacts]) -> int:
    """Return how many people must hold another value of a column than most; 0: the rule does not hold for it."""
    rule = effective.homogeneity
    if rule is None:
        return 0
    secret = world.role(source).kind is RoleKind.SENSITIVE and _category(source, world, private)
    return rule.min_differing if rule.columns == "all" or secret else 0


def threshold(term: Term, private: Mapping[str, PrivateFacts]) -> float | None:
    """Return a number between the two values of an argument that has two; None where there may be more."""
    if term.value.bit:
        return sum(term.value.bit) / 2
    if term.value.plain is not None:
        measured = private[term.value.plain.dataset].columns.get(term.value.plain.column)
        if measured is not None and measured.distinct <= 2 and measured.low is not None and term.dtype.is_numeric:
            return float(measured.low)
    return None


def differing(
    m: Measurer,
    expr: Expr,
    least: int,
    shown: Flags,
    condition: Expr | None = None,
    spread: Floats | None = None,
    counted: Floats | None = None,
) -> Steps:
    """Return in which of the cells `shown` at least so many people hold another value than the commonest one.

    condition: of the rows that count. spread, counted: sums of squared deviations from the mean in units of the largest
    that bounds allow, and rows with a value, where they are known.

    INVARIANT (proof by spread): let S be the sum of squared deviations from the mean of n rows, all within D of it, and
    s = S / D**2. For a value at distance t of the mean the squares about it come to S + n t**2; rows that hold it add
    nothing, others at most (D + t)**2. So at least (S + n t**2) / (D + t)**2 rows differ, which is smallest at
    t = S / (n D), where it is s / (1 + s / n). More than (m - 1) * M rows are of at least m people. Where that proves
    nothing, rows are counted per value, and only where that proves nothing, people.
    """
    most = m.most
    ok = np.zeros(m.size, bool)
    if spread is not None and counted is not None and most is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            ok = np.isfinite(spread) & (spread / (1 + spread / counted) > (least - 1) * most)
    rest = np.flatnonzero(shown & ~ok)
    value = Alias(lenient(where(condition, expr)), X)
    if rest.size and most is not None:
        plan, tables = m.cut.located(False, None if rest.size == m.size else rest)
        rows = n.GroupBy(
            n.WithColumns(plan, (value,)), (Column(INDEX), Column(X)), (Alias(call("count", Column(X)), f"{X}n"),)
        )
        both_counts = (Alias(call("sum", Column(f"{X}n")), f"{X}a"), Alias(call("max", Column(f"{X}n")), f"{X}b"))
        answer = yield from m.ask(n.GroupBy(rows, (Column(INDEX),), both_counts), tables, (INDEX, f"{X}a", f"{X}b"))
        ok |= m.spread(answer, f"{X}a") - m.spread(answer, f"{X}b") > (least - 1) * most
        # INVARIANT: where every row is another person's, rows are people
        rest = np.flatnonzero(shown & ~ok if m.lone is None else shown & ~ok & ~m.lone)
    if not rest.size or m.cut.rows_per_unit == 1:
        return ok | ~shown
    passed = np.ones(m.size, bool)
    for occurrence in m.cut.occurrences:
        plan, tables = m.cut.located(True, rest)
        unit = Column(occurrence.unit)
        valued: AnyNode = n.WithColumns(plan, (value,))
        valued = n.Filter(valued, call("and_", call("is_not_null", unit), call("is_not_null", Column(X))))
        passed &= (yield from _others(m, valued, unit, tables)) >= least
    ok[rest] = passed[rest]
    return ok | ~shown


def _others(m: Measurer, valued: AnyNode, unit: Column, tables: Mapping[str, object]) -> Steps:
    """Return per cell how many people hold another value than the one that most hold alone."""
    people = Alias(call("n_unique", unit), f"{X}p")
    values = (Alias(call("n_unique", Column(X)), f"{X}v"), Alias(call("first", Column(X)), X))
    each = n.Filter(n.GroupBy(valued, (Column(INDEX), unit), values), call("eq", Column(f"{X}v"), Literal(UINT32, 1)))
    alone = n.GroupBy(each, (Column(INDEX), Column(X)), (people,))
    most = n.GroupBy(alone, (Column(INDEX),), (Alias(call("max", Column(f"{X}p")), f"{X}p"),))
    common = yield from m.ask(most, tables, (INDEX, f"{X}p"))
    everybody = yield from m.ask(n.GroupBy(valued, (Column(INDEX),), (people,)), tables, (INDEX, f"{X}p"))
    return m.spread(everybody, f"{X}p") - m.spread(common, f"{X}p")
