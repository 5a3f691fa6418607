"""Numbers per person in which missing values count as something: a sum of nothing is 0.

Who has a value is looked for in what is added up: where a person's number is missing, they are not counted. A sum of a person's
rows is 0 where all of them are missing, so that people without a value count like those with one, and a sum of three people may
be told as one of fifteen. So a statistic of such a number is withheld where the column has missing values, unless they were left out
below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bastion_plan import nodes as n
from bastion_plan.expressions import Alias, Call, Column, Expr, Over, children

from bastion_policy.boundary import Boundary
from bastion_policy.facts import PrivateFacts
from bastion_policy.flow_expressions import ExpressionTyping
from bastion_policy.lineage import Source, Typed, World

#: functions of a person's rows that give a number where all of them are missing
FILLS = frozenset({"sum", "product", "any", "all", "rolling_sum"})


def filled(below: Typed, boundary: Boundary, world: World, private: Mapping[str, PrivateFacts]) -> frozenset[int]:
    """Return the statistics of a boundary that count missing values as something. below: the rows that it counts."""
    found = set(_filled(below, world))
    for expr in (t.expr for s in boundary.statistics for t in s.terms):
        found |= _in_windows(expr, below, world)
    of = {(s.dataset, s.column) for s in found if not s.counted and private[s.dataset].columns[s.column].nulls}
    return frozenset(
        i for i, s in enumerate(boundary.statistics) if any((x.dataset, x.column) in of for x in s.sources)
    )


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
