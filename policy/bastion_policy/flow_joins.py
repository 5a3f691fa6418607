"""Joins under the guard: whose rows come out, and what brought-in columns derive from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bastion_plan import nodes as n
from bastion_plan.dtypes import Schema
from bastion_plan.expressions import AnyExpr, Column, Expr

from bastion_policy.flow_expressions import ExpressionTyping, join_sources
from bastion_policy.lineage import Form, Frame, Kind, Value, World
from bastion_policy.roles import RoleKind
from bastion_policy.statistics import check_condition, check_key, labels
from bastion_policy.verdict import Finding

FIX_UNIQUE = "Group the other table by the join key first, so that each key stands once."


def join_frames(
    node: n.Join | n.JoinAsof, left: Frame, right: Frame, schema: Schema, world: World
) -> tuple[Frame, list[Finding]]:
    """Return the flow type of a join with at least one private side, and what is wrong with it."""
    how = node.how if isinstance(node, n.Join) else "asof"
    if how == "cross":
        reason = "A cross join repeats every row, so that single rows can be counted as often as one likes."
        return _opaque(left, right, schema), [Finding("fan-out", reason, "Join on a key.")]
    left_on = node.left_on if isinstance(node, n.Join) else (node.left_on, *map(Column, node.by_left))
    right_on = node.right_on if isinstance(node, n.Join) else (node.right_on, *map(Column, node.by_right))
    if left.private and right.private:
        return _both(how, left, right, left_on, right_on, schema, world)
    return _one(how, left, right, left_on, right_on, schema, world)


def _values(frame: Frame, exprs: Sequence[Expr], world: World, findings: list[Finding]) -> list[Value]:
    if not frame.private:
        return [Value() for _ in exprs]
    typing = ExpressionTyping(frame, world)
    values = [typing.value(e) for e in exprs]
    if typing.unknown or typing.cross_row:
        findings.append(Finding("order-dependent", "A join key must be computed row by row."))
    return values


def _opaque(left: Frame, right: Frame, schema: Schema) -> Frame:
    sources = join_sources((*left.columns.values(), *right.columns.values()))
    value = Value(sources, Form.MIX, reason="it comes from a join that is not guarded")
    return Frame(
        Kind.PRIVATE, dict.fromkeys(schema, value), schema, (*left.occurrences, *right.occurrences), fanned=True
    )


def _columns(left: Frame, right: Frame, schema: Schema) -> dict[str, Value]:
    """Match output columns to those of both sides: left ones first, the others in order."""
    taken = {c: v for c, v in left.columns.items() if c in schema}
    rest = [c for c in schema if c not in taken]
    found = dict(taken)
    for name in rest:
        origin = next((c for c in right.columns if c == name or (name.startswith(c) and c in left.columns)), None)
        everything = Value(join_sources(right.columns.values()), Form.MIX, reason="its origin in the join is not clear")
        found[name] = right.columns[origin] if origin is not None else everything
    return {c: found[c] for c in schema}


def _both(
    how: str,
    left: Frame,
    right: Frame,
    left_on: Sequence[AnyExpr],
    right_on: Sequence[AnyExpr],
    schema: Schema,
    world: World,
) -> tuple[Frame, list[Finding]]:
    findings: list[Finding] = []
    ones, others = _values(left, left_on, world, findings), _values(right, right_on, world, findings)
    for one, two in zip(ones, others, strict=True):
        owned = one.plain is not None and two.plain is not None
        for value in (one, two):
            found = check_condition(value, world, "a join key")
            findings += [f for f in found if not (f.rule == "identifier" and owned)]
    if how in ("semi", "anti"):
        return replace(left, narrowed=True), findings
    if how == "asof":
        findings.append(Finding("row-level", "join_asof of two private tables pairs single rows.", FIX_UNIQUE))
        return _opaque(left, right, schema), findings
    left_once, right_once = _once(left, ones, world), _once(right, others, world)
    if not left_once and not right_once:
        # INVARIANT: one side's keys are unique, else the other side's rows are repeated as often as one likes
        reason = "Both sides of the join may hold a key several times, which repeats rows."
        findings.append(Finding("join", reason, FIX_UNIQUE))
    frame = Frame(
        Kind.PRIVATE,
        _columns(left, right, schema),
        schema,
        (*left.occurrences, *right.occurrences),
        fanned=True,
        grouped=left.grouped or right.grouped,
        narrowed=True,
    )
    return frame, findings


def _once(frame: Frame, keys: Sequence[Value], world: World) -> bool:
    """Whether a frame holds every combination of these keys at most once."""
    for key in keys:
        if key.plain is None or not world.is_unit(key.plain):
            continue
        if frame.per_unit or (
            not frame.fanned and not frame.grouped and world.rows_per_unit.get(key.plain.dataset, 1) == 1
        ):
            return True
    return False


def _one(
    how: str,
    left: Frame,
    right: Frame,
    left_on: Sequence[AnyExpr],
    right_on: Sequence[AnyExpr],
    schema: Schema,
    world: World,
) -> tuple[Frame, list[Finding]]:
    """A private frame with a table that is nobody's: released cells or the scientist's own."""
    findings: list[Finding] = []
    private, other = (left, right) if left.private else (right, left)
    keys, other_on = (left_on, right_on) if left.private else (right_on, left_on)
    values = _values(private, keys, world, findings)
    swapped = not left.private
    if how not in ("inner", "left", "semi", "anti", "asof") or (swapped and how != "inner"):
        reason = f"A {how} join adds rows that are about nobody."
        findings.append(Finding("join", reason, "Use an inner or left join, with the private table on the left."))
    if how in ("semi", "anti"):
        for value in values:
            findings += check_condition(value, world, "a join key")
        return replace(left, narrowed=True), findings
    for value in values:
        checked = check_key(value, world) if how != "asof" else check_condition(value, world, "a join key")
        findings += checked
    if how != "asof":
        names = {e.name for e in other_on if isinstance(e, Column)}
        if other.unique is None or not other.unique <= names:
            # INVARIANT: labels must not repeat private rows: repetitions are weights
            reason = "The joined table may hold a key several times, which repeats people's rows."
            findings.append(Finding("join", reason, FIX_UNIQUE))
    # the label of a row says as much as its key
    sources = join_sources(values)
    hidden = frozenset(s for s in sources if world.role(s).kind is RoleKind.HIDDEN)
    if hidden:
        findings.append(Finding("hidden-column", "A hidden column cannot be a join key.", "", labels(hidden)))
    label = Value(sources | join_sources(other.columns.values()), Form.BINNED, makes_nulls=True)
    brought = replace(other, columns=dict.fromkeys(other.columns, label))
    columns = _columns(left if left.private else brought, brought if left.private else right, schema)
    return replace(private.with_columns(columns, schema), narrowed=private.narrowed or how == "inner"), findings
