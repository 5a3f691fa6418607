"""Joins under the guard: whose rows come out, and what brought-in columns derive from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bastion_plan import nodes as n
from bastion_plan.dtypes import DType, Schema
from bastion_plan.errors import BindError
from bastion_plan.expressions import AnyExpr, Column, Expr
from bastion_plan.functions.rules import supertype
from bastion_plan.schemas import join_origins
from bastion_plan.typing import expr_dtype

from bastion_policy.flow_expressions import ExpressionTyping, join_sources
from bastion_policy.flow_unique import EXACT_KEYS, keeps_height
from bastion_policy.lineage import Form, Frame, Kind, Value, World, is_string
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
        return _both(node, how, left, right, left_on, right_on, schema, world)
    return _one(node, how, left, right, left_on, right_on, schema, world)


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
        Kind.PRIVATE,
        dict.fromkeys(schema, value),
        schema,
        (*left.occurrences, *right.occurrences),
        fanned=True,
        ordered=left.ordered | right.ordered,
    )


def _columns(node: n.Join | n.JoinAsof, left: Frame, right: Frame, schema: Schema) -> dict[str, Value]:
    """Match output columns to those of both sides.

    INVARIANT: the same arithmetic as the bound schema's, never by likeness of names: a column that is taken for another one has the
    other one's role and form.
    """
    origins = join_origins(node, left.schema, right.schema)
    if list(origins) != list(schema):
        value = Value(
            join_sources((*left.columns.values(), *right.columns.values())),
            Form.MIX,
            reason="its origin in the join is not clear",
        )
        return dict.fromkeys(schema, value)
    return {c: (left if first else right).columns[name] for c, (first, name) in origins.items()}


def _both(
    node: n.Join | n.JoinAsof,
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
            # INVARIANT: under the strict profile only the unit itself joins: whose rows find a partner is then a matter of
            # who is in both tables, and of no other column that single people differ in
            joins = owned and (_of_units(one, two, world) or not world.strict)
            findings += [f for f in found if not (f.rule == "identifier" and joins)]
    if any(v.plain is None for v in (*ones, *others)):
        # INVARIANT: a computed key chooses who finds a partner
        reason = "The keys of a join of two private tables must be stored columns."
        findings.append(Finding("join", reason, "Join on columns, and filter the result."))
    if how in ("semi", "anti"):
        if not all(_of_units(one, two, world) for one, two in zip(ones, others, strict=True)):
            # INVARIANT: whether one row of the table on the right has a key decides about any number of rows on the left, and nobody
            # counts whose row that is. By the unit it is the same people who are counted on the left.
            reason = f"A {how} join of two private tables tells which values single rows of the second one have."
            findings.append(Finding("join", reason, "Join on the privacy units of both tables, or use an inner join."))
        if right.narrowed or right.fanned or right.grouped:
            # INVARIANT: whose keys a chosen part of a table holds is data of the people in it
            reason = f"A {how} join with a chosen part of a private table picks people by that table's values."
            findings.append(Finding("join", reason, "Use the whole table on the right, and filter the left one."))
        if len({world.facts[o.dataset].domain for o in (*left.occurrences, *right.occurrences)}) > 1:
            # INVARIANT: who is in the second table is remembered as people of the first; people of other units are not compared with them
            reason = f"A {how} join of tables of different units tells who is in the second one, whose own answers nobody compares."
            findings.append(Finding("join", reason, "Use an inner join, or declare one unit_domain for both tables."))
        return replace(left, narrowed=True), findings
    if how != "inner":
        # INVARIANT: which rows find no partner is data of the other table, and the nulls would tell
        reason = f"A {how} join of two private tables shows who is missing in one of them."
        findings.append(Finding("join", reason, "Use an inner join."))
        return _opaque(left, right, schema), findings
    shared = {o.dataset for o in left.occurrences} & {o.dataset for o in right.occurrences}
    if shared and (left.narrowed or right.narrowed):
        # INVARIANT: else one cell holds numbers of two populations of the same people, and their difference
        reason = "A join of a table with a filtered part of itself puts two populations side by side."
        findings.append(Finding("join", reason, "Filter after the join."))
    left_once, right_once = _once(left, ones, world), _once(right, others, world)
    if not left_once and not right_once:
        # INVARIANT: one side's keys are unique, else the other side's rows are repeated as often as one likes
        reason = "Both sides of the join may hold a key several times, which repeats rows."
        findings.append(Finding("join", reason, FIX_UNIQUE))
    frame = Frame(
        Kind.PRIVATE,
        _columns(node, left, right, schema),
        schema,
        (*left.occurrences, *right.occurrences),
        fanned=True,
        grouped=left.grouped or right.grouped,
        narrowed=True,
        ordered=left.ordered | right.ordered,
    )
    return frame, findings


def _of_units(one: Value, two: Value, world: World) -> bool:
    """Whether two keys are the privacy units of their tables."""
    return all(v.plain is not None and world.is_unit(v.plain) for v in (one, two))


def of_whole_people(sides: Sequence[Frame], on: Sequence[Sequence[Expr]], world: World) -> tuple[bool, bool]:
    """Return of either side whether what chooses among its rows chooses whole people of the other one: one row each, by the unit."""
    if not all(f.private for f in sides):
        return False, False
    keys = [_values(f, exprs, world, []) for f, exprs in zip(sides, on, strict=True)]
    if not any(_of_units(one, two, world) for one, two in zip(*keys, strict=True)):
        return False, False
    left, right = (_once(f, values, world) for f, values in zip(sides, keys, strict=True))
    return left, right


def once(frame: Frame, keys: Sequence[Expr], world: World) -> bool:
    """Whether a private frame holds every combination of the values of some keys at most once."""
    return _once(frame, _values(frame, keys, world, []), world)


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
    node: n.Join | n.JoinAsof,
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
    swapped = not left.private
    values = _values(right, right_on, world, findings) if swapped else _values(left, left_on, world, findings)
    if how not in ("inner", "left", "semi", "anti") or swapped:
        if how == "asof":
            # INVARIANT: it fails where keys are not sorted, and an order that depends on a value would tell the value
            reason = "join_asof fails or not by the order of people's rows."
        elif swapped:
            # rows that find no partner are left out of the private table, whatever the join is called
            reason = "The private table stands on the right of the join."
        else:
            reason = f"A {how} join adds rows that are about nobody."
        fix = "Use an inner or left join on equal keys, with the private table on the left."
        findings.append(Finding("join", reason, fix))
        findings += [f for v in values for f in check_condition(v, world, "a join key")]
        return _opaque(left, right, schema), findings
    _check_types(left, right, left_on, right_on, findings)
    if how in ("semi", "anti"):
        for value in values:
            findings += check_condition(value, world, "a join key")
        return replace(left, narrowed=True), findings
    for value in values:
        findings += check_key(value, world)
    names = {e.name for e in right_on if isinstance(e, Column)}
    if right.unique is None or not right.unique <= names or not all(map(keeps_height, right_on)):
        # INVARIANT: labels must not repeat private rows: repetitions are weights
        reason = "The joined table may hold a key several times, which repeats people's rows."
        findings.append(Finding("join", reason, FIX_UNIQUE))
    fanned = left.fanned
    if right.kind is Kind.RELEASED:
        # INVARIANT: a remainder row may have the key of a shown cell: null, or "(other)" where keys are text. Joined to it,
        # a person's rows repeat, as often as the join does: a few people's would count as many.
        if isinstance(node, n.Join) and node.nulls_equal:
            reason = "Missing keys stand for what was put together as well, which repeats people's rows."
            findings.append(Finding("join", reason, "Join without nulls_equal."))
        fanned |= any(is_string(right.schema[name]) for name in names if name in right.schema)
    # the label of a row says as much as its key
    sources = join_sources(values)
    hidden = frozenset(s for s in sources if world.role(s).kind is RoleKind.HIDDEN)
    if hidden:
        findings.append(Finding("hidden-column", "A hidden column cannot be a join key.", "", labels(hidden)))
    label = Value(sources | join_sources(right.columns.values()), Form.BINNED, makes_nulls=True)
    brought = replace(right, columns=dict.fromkeys(right.columns, label))
    columns = _columns(node, left, brought, schema)
    frame = replace(left.with_columns(columns, schema), narrowed=left.narrowed or how == "inner")
    return replace(frame, fanned=fanned, per_unit=left.per_unit and fanned == left.fanned), findings


def _check_types(
    private: Frame, other: Frame, keys: Sequence[AnyExpr], other_on: Sequence[AnyExpr], findings: list[Finding]
) -> None:
    """Keys must be compared as they are written.

    INVARIANT: values that differ in the scientist's table differ in the join: no rounding to fewer digits, no not-a-numbers,
    no change of unit. Else a key that looks unique repeats people's rows.
    """
    for one, two in zip(keys, other_on, strict=True):
        try:
            types = expr_dtype(one, private.schema), expr_dtype(two, other.schema)
        except BindError:
            types = None
        if types is not None and _compared_exactly(*types):
            continue
        reason = "The join keys are fractions or of different types, which are rounded before they are compared."
        findings.append(Finding("join", reason, "Join on text or whole numbers: cast the key to Int64 or String."))
        return


def _compared_exactly(one: DType, two: DType) -> bool:
    if is_string(one) and is_string(two):
        return True
    if one.is_integer and two.is_integer:
        return supertype(one, two).is_integer
    return one == two and one.kind in EXACT_KEYS
