"""What decided which of a person's rows there are: numbers per person tell of it, whatever column they are of.

**Why.** How many rows a person has is known. How many are left after `pay < c`, or once a list stands one entry a row, is not: it is
a number of the pay, or of the list, under the name of no column. A condition on it and on a known column (`(n == 3) | (age < 30)`)
adds one person, or not, to as many others as one likes. And who chooses how many rows of each person are in, by columns that everybody
knows, has a known number in conditions that name a measure alone.

**How.** A frame carries the secret columns that left rows out or repeated them (`Frame.chosen`), and a number of a person's rows what
it tells of besides its columns (`Value.chosen`). Conditions and keys are on both. Arguments of statistics are of the columns alone: of
whom they are is judged by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bastion_plan import nodes as n
from bastion_plan.expressions import Call, Column, Expr, Over, children
from bastion_plan.functions.registry import find
from bastion_plan.functions.spec import Flow

from bastion_policy.lineage import ROWS_OF_PERSON, Form, Frame, Source, Value, World
from bastion_policy.roles import RoleKind

#: functions that say how many rows there are, whatever the column
_COUNTING = frozenset(
    "pl.len len count null_count has_nulls is_null is_not_null is_empty cum_count rank arg_min arg_max implode".split()
)
#: functions of many rows that lie among their values, however many rows there are
_AMONG = frozenset(
    "min max nan_min nan_max first last median quantile mean any all filter drop_nulls drop_nans sort sort_by reverse".split()
)


def choosing(values: Iterable[Value], world: World) -> frozenset[Source]:
    """Return the columns that are not everybody's to know of those by which rows are left out or repeated."""
    # which stored values are missing is no secret
    found = {s for v in values for s in (v.chosen if v.form is Form.NULLS else v.sources | v.chosen) if not s.counted}
    return frozenset(s for s in found if world.role(s).secret or world.role(s).kind is RoleKind.HIDDEN)


def public_nulls(value: Value, *, nans: bool = False) -> bool:
    """Whether who has no value in a column is known: where a stored one is missing, of rows that nothing secret chose."""
    return value.pristine and not (nans or value.makes_nulls) and all(s.counted for s in value.chosen)


def join_keys(node: n.Join | n.JoinAsof) -> tuple[Sequence[Expr], Sequence[Expr]]:
    """Return the keys of both sides."""
    if isinstance(node, n.Join):
        return node.left_on, node.right_on
    return (node.left_on, *map(Column, node.by_left)), (node.right_on, *map(Column, node.by_right))


def chosen_in(expr: Expr, frame: Frame, world: World, sources: frozenset[Source]) -> frozenset[Source]:
    """Return what else a row expression tells of: what decided which rows the numbers per person in it are taken of.

    sources: those of the expression.
    """
    found: frozenset[Source] = frozenset()
    for part in _parts(expr):
        if isinstance(part, Column) and part.name in frame.columns:
            found |= frame.columns[part.name].chosen
        elif isinstance(part, Over):
            found |= of_rows(part.input, frame, world, sources)
    return found


def of_rows(expr: Expr, frame: Frame, world: World, sources: frozenset[Source]) -> frozenset[Source]:
    """Return what an aggregate or window of a person's rows tells of besides its columns.

    INVARIANT: what decided which rows there are decides about every number of them, and how many there are decides about counts and,
    where they were chosen, about all that do not lie among the values: sums, spreads, what is null for want of a row before it.
    """
    found: frozenset[Source] = frozenset()
    several = frame.fanned or (
        not frame.per_unit and any(world.rows_per_unit.get(o.dataset, 1) > 1 for o in frame.occurrences)
    )
    if several:
        found |= frame.chosen
    weighed = several and not world.strict and (frame.narrowed or frame.fanned)
    weighed &= any(world.role(s).secret for s in sources)
    if ((several or world.strict) and _counts(expr)) or (weighed and _spreads(expr)):
        found |= {Source(o.index, o.dataset, ROWS_OF_PERSON) for o in frame.occurrences}
    return found


def _counts(expr: Expr) -> bool:
    """Whether the number of rows is in an expression, in words that say so."""
    return any(isinstance(part, Call) and part.function in _COUNTING for part in _parts(expr))


def _spreads(expr: Expr) -> bool:
    """Whether some function of many rows does not lie among their values."""
    for part in _parts(expr):
        function = find(part.function) if isinstance(part, Call) else None
        if function is not None and function.flow is not Flow.ELEMENTWISE and function.name not in _AMONG:
            return True
    return False


def _parts(expr: Expr) -> Iterator[Expr]:
    stack = [expr]
    while stack:
        item = stack.pop()
        yield item
        stack.extend(children(item))
