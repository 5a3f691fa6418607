"""The strict profile's verdict on values: one per population and column, whatever statistic asked for it.

INVARIANT: the verdict is the same function of a population and a column whether its sum, its mean, its variance, its
median or its covariance with another column is asked, alone or together; what fails any rule shows no statistic of that
column in that population. So no choice of statistics tells which rule failed, or that one would have.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
from bastion_plan.dtypes import BOOLEAN, UINT32
from bastion_plan.expressions import AnyExpr, Call, Column, Expr, Literal

from bastion_policy.boundary import Guard, Statistic, Term, call
from bastion_policy.guard_cells import ROWS, Flags, Floats, Measurer, Steps, both, floats, where
from bastion_policy.guard_plans import as_float, lenient
from bastion_policy.judge_homogeneity import differing, least_apart
from bastion_policy.judge_rules import Rules
from bastion_policy.lineage import OWN, World
from bastion_policy.model import Effective
from bastion_policy.products import coarse
from bastion_policy.rounding import Kept, Pairs, rounded
from bastion_policy.verdict import Finding, Measured, Verdict

#: guards of statistics that speak of a column's values
JUDGED = frozenset({Guard.SUM, Guard.SQUARES, Guard.PRODUCTS, Guard.INTERVAL, Guard.TIED})
#: rules that look at values, or at what was released before
MEASURED = frozenset(
    {
        "audit-capacity",
        "dominance",
        "held-values",
        "history",
        "homogeneity",
        "leverage",
        "linear-audit",
        "min-agg-size",
        "missing-values",
        "copied-column",
        "same-people",
        "tied-values",
        "uneven-means",
        "uneven-rows",
    }
)
SUPPRESSED = Finding(
    "suppressed", "Some numbers are withheld, by one of the rules about values.", "Use larger groups, or other columns."
)
#: mark of the guard columns of a condition's other side
OTHER = "o"


def is_number(term: Term) -> bool:
    """Whether sums of the argument mean something."""
    return term.dtype.is_numeric or term.dtype.kind == "Boolean"


def other_side(s: Statistic) -> AnyExpr:
    """Return the condition that the rows outside a statistic's own population meet."""
    condition = both(s.population)
    assert condition is not None
    return call("not_", call("fill_null", condition, Literal(BOOLEAN, False)))


def sides(s: Statistic) -> list[tuple[str, Expr | None]]:
    """Return the conditions whose rows are judged: a statistic's own, and the other side of it.

    INVARIANT: a condition inside a statistic is judged on both its sides or neither: the other side is the cell less it.
    """
    return [("", both(s.population)), *([(OTHER, other_side(s))] if s.population else [])]


def discrete(term: Term, world: World) -> bool:
    """Whether an argument is of whole numbers, or was before a cast or a statistic per person made fractions of them.

    INVARIANT: three digits of a small number of people are all its digits; a cast must not make such of a count.
    """
    kinds = [term.dtype]
    if not term.value.listed:
        kinds += [UINT32 if s.counted else world.facts[s.dataset].column(s.column).dtype for s in term.value.sources]
    whole = [k.is_integer or k.kind == "Boolean" for k in kinds]
    return whole[0] or (len(whole) > 1 and all(whole[1:]))


def guard_columns(statistics: Sequence[Statistic], effective: Effective, world: World) -> dict[str, AnyExpr]:
    """Return what is measured in the same pass: counts, sums and variances of arguments, also for rounding."""
    extra: dict[str, AnyExpr] = {}
    for i, s in enumerate(statistics):
        if s.guard is Guard.PRODUCTS:
            known = both([call("is_not_null", lenient(t.expr)) for t in s.terms])
            one, two = (as_float(lenient(where(known, t.expr)), t.dtype) for t in s.terms)
            extra |= {
                f"{OWN}dn{i}": call("count", one),
                f"{OWN}dc{i}": call("pl.cov", one, two),
                f"{OWN}dx{i}": call("var", one),
                f"{OWN}dy{i}": call("var", two),
            }
        strict = effective.profile == "strict" and s.guard in JUDGED
        shown = effective.rounding is not None and s.guard in (Guard.SUM, Guard.SQUARES)
        for j, term in enumerate(s.terms):
            for side, condition in sides(s) if strict else sides(s)[:1]:
                if not (strict or shown):
                    continue
                expr = lenient(where(condition, term.expr))
                extra[f"{OWN}c{i}_{j}{side}"] = call("count", expr)
                if is_number(term):
                    number = as_float(expr, term.dtype)
                    extra[f"{OWN}g{i}_{j}{side}"] = call("sum", number)
                    if strict or s.guard is Guard.SQUARES:
                        options = {"ddof": _ddof(s)} if _ddof(s) != 1 else {}
                        extra[f"{OWN}v{i}_{j}{side}"] = call("var", number, **options)
    return extra


@dataclass
class ColumnVerdicts:
    """Judges columns in the populations of one cut, each once."""

    rules: Rules
    known: dict[Hashable, Flags] = field(default_factory=dict)

    def passes(self, m: Measurer, table: Measured, i: int, s: Statistic, own: Flags, without: Flags | None) -> Steps:
        """Return in which cells every column that a statistic speaks of passes all rules.

        own: cells whose population is large enough. without: where the cell is answered instead of the condition, so that
        there is no other side.
        """
        ok = np.ones(m.size, bool)
        for j, term in enumerate(s.terms):
            for side, condition in sides(s):
                judged = own if not side or without is None else own & ~without
                key = (term.value.plain or term.expr, s.population, side, judged.tobytes())
                if key not in self.known:
                    self.known[key] = yield from self._judge(m, table, f"{i}_{j}{side}", s, term, condition, judged)
                ok &= self.known[key]
        return ok

    def _judge(
        self,
        m: Measurer,
        table: Measured,
        name: str,
        s: Statistic,
        term: Term,
        condition: Expr | None,
        own: Flags,
    ) -> Steps:
        rules = self.rules
        counted = floats(table[f"{OWN}c{name}"])
        present = both([*([condition] if condition is not None else []), call("is_not_null", lenient(term.expr))])
        shown = own & (yield from m.at_least(rules.effective.k, counted, own, present))
        spread: Floats | None = None
        low, high = term.value.low, term.value.high
        if is_number(term):
            total = floats(table[f"{OWN}g{name}"])
            with np.errstate(over="ignore", invalid="ignore"):
                squares = floats(table[f"{OWN}v{name}"]) * (counted - _ddof(s))
            passed = yield from rules._sum_rule(m, term, total, counted, shown, condition)
            shown = shown & passed
            spread = _relative(squares, total, counted, low, high)
            passed = yield from self._spread(m, term, spread, shown, condition)
            shown = shown & passed
        rule = rules.effective.homogeneity
        least = least_apart(term, rules.effective, rules.world, rules.private)
        if least := max(least, rule.min_differing if rule is not None else 0):
            passed = yield from differing(m, term.expr, least, shown, condition, spread, counted)
            shown = shown & passed
        return shown | ~own

    def _spread(self, m: Measurer, term: Term, spread: Floats, shown: Flags, condition: Expr | None) -> Steps:
        """Dominance of the squares of deviations from the mean, which a variance sums."""
        rules = self.rules
        if not rules._dominance_on():
            return np.ones(m.size, bool)
        ok = rules._proven(spread, 1.0, m.most)
        return (yield from rules._exact(m, shown, [(rules._squares(term, condition), ok)]))


def _relative(squares: Floats, total: Floats, counted: Floats, low: float | None, high: float | None) -> Floats:
    """Return sums of squared deviations from the mean in units of the largest that bounds allow; NaN where none are known.

    A little less than it is, so that rounding errors prove nothing.
    """
    if low is None or high is None:
        return np.full(squares.shape, np.nan)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = total / counted
        reach = np.maximum(mean - low, high - mean)
        found = squares / reach**2 * (1 - 1e-6)
        inside = (low <= mean) & (mean <= high) & (reach > 0)
    return np.where(inside, found, np.nan)


def _ddof(s: Statistic) -> int:
    """Return the delta degrees of freedom of a variance; 1 for what is none."""
    return int(s.call.option("ddof", 1)) if s.guard is Guard.SQUARES and isinstance(s.call, Call) else 1


def as_shown(i: int, s: Statistic, value: AnyExpr, kept: frozenset[str], effective: Effective, world: World) -> AnyExpr:
    """Return a statistic of a kept table as it may be shown: rounded, where the policy rounds, and covariances always."""
    if s.guard is Guard.PRODUCTS:
        n, both, one, two = (Column(f"{OWN}d{c}{i}") for c in "ncxy")
        fine, other = (discrete(t, world) for t in s.terms)
        return coarse(s, Pairs(n, both, (one, two), (fine, other)), effective.rounding)
    if effective.rounding is None:
        return value

    def column(name: str) -> AnyExpr | None:
        return Column(f"{OWN}{name}") if f"{OWN}{name}" in kept else None

    rows = column(f"p{i}") or Column(ROWS)
    parts = Kept(
        rows,
        column(f"c{i}_0") or rows,
        column(f"g{i}_0"),
        column(f"v{i}_0"),
        bool(s.terms) and all(discrete(t, world) for t in s.terms),
    )
    return rounded(s, value, parts, effective.rounding)


def discreet(verdict: Verdict, effective: Effective) -> Verdict:
    """Return a verdict as the strict profile tells it: one code for all rules about values, no numbers of cells.

    Details stay in the private findings and the facts, for the owner's log.
    """
    if effective.profile != "strict" or effective.open:
        return verdict
    told = tuple(f for f in verdict.findings if f.rule not in MEASURED)
    kept = tuple(msgspec.structs.replace(f, private=True) for f in verdict.findings if f.rule in MEASURED)
    if kept:
        told = (*told, SUPPRESSED)
    public = tuple(f for f in told if not f.private)
    note = msgspec.structs.replace(verdict.note, findings=public, suppressed=None)
    return replace(verdict, findings=(*told, *kept), note=note, safe_cells=0, total_cells=0)
