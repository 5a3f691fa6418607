"""Numbers in which missing values count as something: a sum of nothing is 0, and who has no answer is no "no".

Who has a value is looked for in what is added up: where a person's number is missing, they are not counted. A sum of a person's
rows is 0 where all of them are missing, so that people without a value count like those with one, and a sum of three people may
be told as one of fifteen. So a statistic of such a number is withheld where the column has missing values, unless they were left out
below.

Where a column is watched for homogeneity, people without a value differ from nobody. An expression that gives them one (`fill_null`,
`eq_missing`, a condition of when) would hide among them that all the others are alike: withheld as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bastion_plan import nodes as n
from bastion_plan.expressions import Alias, Call, Column, Expr, Over, Ternary, children
from bastion_plan.functions.registry import get
from bastion_plan.functions.spec import Flow

from bastion_policy.boundary import Boundary
from bastion_policy.facts import PrivateFacts
from bastion_policy.flow_expressions import ExpressionTyping
from bastion_policy.judge_homogeneity import watched
from bastion_policy.lineage import Source, Typed, World
from bastion_policy.model import Effective

#: functions of a person's rows that give a number where all of them are missing
FILLS = frozenset({"sum", "product", "any", "all", "rolling_sum"})


def filled(
    below: Typed, boundary: Boundary, world: World, private: Mapping[str, PrivateFacts], effective: Effective
) -> frozenset[int]:
    """Return the statistics of a boundary that count missing values as something. below: the rows that it counts."""
    given = set(_given_below(below, world)) if effective.homogeneity is not None else set()
    held = {
        i
        for i, s in enumerate(boundary.statistics)
        for t in s.terms
        if effective.homogeneity is not None and watched(t, effective, world, private)
        for x in (given | set(_given(t.expr, below, world))) & t.value.sources - _present(below)
        if not x.counted and private[x.dataset].columns[x.column].nulls
    }
    found = set(_filled(below, world))
    for expr in (t.expr for s in boundary.statistics for t in s.terms):
        found |= _in_windows(expr, below, world)
    of = {(s.dataset, s.column) for s in found if not s.counted and private[s.dataset].columns[s.column].nulls}
    return frozenset(held) | frozenset(
        i for i, s in enumerate(boundary.statistics) if any((x.dataset, x.column) in of for x in s.sources)
    )


def _given_below(typed: Typed, world: World) -> Iterator[Source]:
    """Iterate over the columns whose missing values some step below gives a value."""
    for below in typed.inputs:
        yield from _given_below(below, world)
    if isinstance(typed.node, n.Select | n.WithColumns | n.GroupBy | n.GroupByDynamic | n.Rolling):
        aggregates = () if isinstance(typed.node, n.Select | n.WithColumns) else typed.node.aggs
        for expr in aggregates or getattr(typed.node, "exprs", ()):
            yield from set(_given(expr, typed.inputs[0], world)) - _present(typed.inputs[0])


def _given(expr: Expr, below: Typed, world: World) -> Iterator[Source]:
    """Iterate over the columns whose missing values an expression gives a value."""
    typing = ExpressionTyping(below.frame, world)
    match expr:
        case Call(function="is_null" | "is_not_null"):
            return  # which values are missing is public, and said as such
        case Call() if not _stays(expr):
            for arg in expr.args:
                if not (isinstance(arg, Call) and arg.function in ("is_null", "is_not_null")):
                    yield from typing.value(arg).sources
        case Ternary():
            tested: set[Source] = set()
            chosen: set[Source] = set()
            for part in _parts(expr.predicate):
                asked = isinstance(part, Call) and part.function in ("is_null", "is_not_null")
                (tested if asked else chosen).update(typing.value(part).sources)
            branches = typing.value(expr.truthy).sources | typing.value(expr.falsy).sources
            yield from chosen | (tested & branches)
        case _:
            pass
    for part in children(expr):
        yield from _given(part, below, world)


def _parts(predicate: Expr) -> Iterator[Expr]:
    """Iterate over what a predicate is put together of."""
    if isinstance(predicate, Call) and predicate.function in ("and_", "or_", "not_", "xor"):
        for arg in predicate.args:
            yield from _parts(arg)
    else:
        yield predicate


def _stays(call: Call) -> bool:
    """Whether a call gives nothing where something is missing."""
    if call.function == "is_in":
        return not call.option("nulls_equal", False)
    known = get(call.function)
    return known.flow is not Flow.ELEMENTWISE or known.null_stays


def left_out(below: Typed) -> frozenset[tuple[str, str]] | None:
    """Return the (dataset, column) by whose missing values rows are left out; None where any are for another reason."""
    if isinstance(below.node, n.Scan):
        return frozenset()
    if not isinstance(below.node, n.Filter | n.DropNulls | n.Select | n.WithColumns | n.GroupBy | n.Sort):
        return None
    found, (dropped, only) = left_out(below.inputs[0]), _dropped(below)
    return found | {(s.dataset, s.column) for s in dropped} if found is not None and only else None


def _filled(typed: Typed, world: World) -> Iterator[Source]:
    for below in typed.inputs:
        if below.frame.private:
            yield from _filled(below, world)
    if isinstance(typed.node, n.GroupBy | n.GroupByDynamic | n.Rolling) and typed.frame.private:
        for expr in typed.node.aggs:
            yield from _of(expr, typed.inputs[0], world)
    elif isinstance(typed.node, n.Select | n.WithColumns | n.Filter):
        exprs = (typed.node.predicate,) if isinstance(typed.node, n.Filter) else typed.node.exprs
        for expr in exprs:
            yield from _in_windows(expr, typed.inputs[0], world)


def _in_windows(expr: Expr, below: Typed, world: World) -> frozenset[Source]:
    if isinstance(expr, Over):
        return frozenset(_of(expr.input, below, world))
    return frozenset().union(*(_in_windows(e, below, world) for e in children(expr)))


def _of(expr: Expr, below: Typed, world: World) -> Iterator[Source]:
    """Iterate over the columns of which an expression fills missing values in."""
    if isinstance(expr, Call) and expr.function in FILLS:
        typing = ExpressionTyping(below.frame, world)
        sources = frozenset().union(*(typing.value(a).sources for a in expr.args))
        yield from sources - _present(below)
    for part in children(expr):
        yield from _of(part, below, world)


def _present(typed: Typed) -> frozenset[Source]:
    """Return the columns of which rows without a value were left out."""
    if not isinstance(typed.node, n.Filter | n.DropNulls | n.Select | n.WithColumns | n.Sort) or not typed.inputs:
        return frozenset()
    return _present(typed.inputs[0]) | _dropped(typed)[0]


def _dropped(typed: Typed) -> tuple[frozenset[Source], bool]:
    """Return (stored columns of which a step leaves out missing values, whether it leaves out nothing else)."""
    node = typed.node
    columns: list[Expr] = []
    if isinstance(node, n.DropNulls):
        if node.nans:
            return frozenset(), False
        columns = [Column(c) for c in typed.inputs[0].frame.columns] if node.subset is None else list(node.subset)
    elif isinstance(node, n.Filter):
        columns = list(_kept(node.predicate))
    frame = typed.inputs[0].frame
    found = [
        frame.columns[c.name].plain if isinstance(c, Column) and c.name in frame.columns else None for c in columns
    ]
    return frozenset(source for source in found if source is not None), None not in found


def _kept(predicate: Expr) -> Iterator[Expr]:
    """Iterate over what has to have a value, and any other conditions that must hold."""
    match predicate:
        case Alias(input=inner):
            yield from _kept(inner)
        case Call(function="and_", args=parts):
            for part in parts:
                yield from _kept(part)
        case Call(function="is_not_null", args=(inner,)):
            yield inner
        case _:
            yield predicate if not isinstance(predicate, Column) else Alias(predicate, predicate.name)
