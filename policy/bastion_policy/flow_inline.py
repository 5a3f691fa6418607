"""Columns that were computed in a step of their own, as the expressions that computed them.

INVARIANT: nothing is judged more kindly than what a scientist may write himself. A step's expression is kept together with
copies of the columns it reads, as they were before the step; the copies go along through steps that keep, leave out or
reorder whole rows and nothing else. An aggregate of the column is then typed, judged and run as the aggregate of the
expression over the copies, as if it had been written inside the aggregate. Filters, keys and joins use the column itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bastion_plan import nodes as n
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Column, Expr, Literal, Ternary, children
from bastion_plan.functions.registry import find
from bastion_plan.functions.spec import Flow, Shape

from bastion_policy.flow_trees import columns_in, output_name, rewrite
from bastion_policy.lineage import OWN, Computed

#: the longest and deepest expression that is kept; chains of steps double it
MAX_SIZE, MAX_DEPTH = 64, 16
#: nodes that keep, leave out, reorder or aggregate whole rows, and read the copies only where they are meant to
THROUGH = (
    n.Filter, n.Select, n.WithColumns, n.FillNull, n.Sort, n.DropNulls, n.Reverse, n.GroupBy, n.GroupByDynamic, n.Pivot,
)  # fmt: skip
#: names of copies start with this
COPY = f"{OWN}i"


def inlined(expr: AnyExpr, computed: Computed) -> AnyExpr:
    """Return an expression with computed columns replaced by what computed them."""
    known = computed.exprs
    if known and columns_in(expr) & known.keys():
        return rewrite(expr, lambda e: known.get(e.name, e) if isinstance(e, Column) else e)
    return expr


def after(
    before: Computed, exprs: Sequence[AnyExpr], *, others: bool, taken: int, constants: Collection[str] = ()
) -> tuple[Computed, dict[str, str]]:
    """Return what is known after a step that computes columns, and the copies that the step takes, by column.

    others: whether the other columns stay (with_columns). taken: number of the next copy. constants: columns that hold one
    released number in all rows, which may fill nulls.
    """
    made: dict[str, AnyExpr] = {}
    copies = dict(before.copies)
    for expr in exprs:
        name, bare = output_name(expr), _bare(expr)
        if isinstance(bare, Column):
            made |= {name: before.exprs[bare.name]} if bare.name in before.exprs else {}
        elif (_row_by_row(bare) or _filled(bare, constants)) and columns_in(bare):
            for column in sorted(columns_in(bare) - before.exprs.keys() - copies.keys()):
                copies[column] = f"{COPY}{taken + len(copies) - len(before.copies)}"
            known: dict[str, AnyExpr] = {**{c: Column(k) for c, k in copies.items()}, **before.exprs}
            whole = rewrite(bare, lambda e, known=known: known[e.name] if isinstance(e, Column) else e)  # type: ignore[misc]
            made |= {name: whole} if _fits(whole) else {}
    changed = {output_name(e) for e in exprs}
    same = {e.name for e in exprs if isinstance(e, Column)}
    found = {c: e for c, e in before.exprs.items() if others and c not in changed} | made
    needed = copies_of(Computed(found))
    new = {c: k for c, k in copies.items() if c not in before.copies and k in needed}
    kept = {c: k for c, k in copies.items() if k in needed and (c in same or (others and c not in changed))}
    return Computed(found, kept), new


def copies_of(computed: Computed) -> frozenset[str]:
    """Return the names of the copies that computed columns read."""
    return frozenset(c for e in computed.exprs.values() for c in columns_in(e))


def _bare(expr: AnyExpr) -> AnyExpr:
    return _bare(expr.input) if isinstance(expr, Alias) else expr


def _row_by_row(expr: Expr) -> bool:
    """Whether every value is computed from the same row, of columns that a step may take a copy of."""
    match expr:
        case Column(name=name):
            return not name.startswith(OWN)
        case Literal():
            return True
        case Call(function=name, args=args):
            function = find(name)
            same = function is not None and function.shape is Shape.SAME and function.flow is Flow.ELEMENTWISE
            return same and bool(args) and all(map(_row_by_row, args))
        case Alias() | Cast() | Ternary():
            return all(map(_row_by_row, children(expr)))
        case _:
            return False


def _filled(expr: Expr, constants: Collection[str]) -> bool:
    """Whether nulls are filled with a released number."""
    match expr:
        case Call(function="fill_null", args=(inner, Column(name=name))):
            return name in constants and _row_by_row(inner) and bool(columns_in(inner))
        case _:
            return False


def _fits(expr: Expr) -> bool:
    """Whether an expression is short enough to be written out wherever its column is used."""
    size = 0
    stack: list[tuple[Expr, int]] = [(expr, 1)]
    while stack:
        item, depth = stack.pop()
        value = item.value if isinstance(item, Literal) else None
        size += max(1, len(value)) if isinstance(value, tuple | str | bytes) else 1
        if size > MAX_SIZE or depth > MAX_DEPTH:
            return False
        stack.extend((c, depth + 1) for c in children(item))
    return True
