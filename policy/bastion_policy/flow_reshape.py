"""Flow types of nodes that reshape, stack or fill private rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bastion_plan import nodes as n
from bastion_plan.dtypes import BOOLEAN, DYN_INT, INT64, STRING, DType, Schema
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Column, Literal
from bastion_plan.schemas import fills

from bastion_policy.flow_chosen import choosing
from bastion_policy.flow_expressions import join_chosen, join_sources
from bastion_policy.flow_trees import output_name
from bastion_policy.lineage import OWN, UNSURE, Form, Frame, Kind, Value, World
from bastion_policy.verdict import Finding

#: the new flow type, and what is wrong
Changed = tuple[Frame, list[Finding]]


def opaque(frame: Frame, schema: Schema, reason: str) -> Frame:
    """Return a frame of which no column may be used as an argument."""
    values = list(frame.columns.values())
    value = Value(join_sources(values), Form.MIX, chosen=frame.chosen | join_chosen(values), reason=reason)
    return replace(frame.with_columns(dict.fromkeys(schema, value), schema), fanned=True)


def fill_columns(node: n.FillNull, frame: Frame) -> tuple[AnyExpr, ...] | None:
    """Return what fill_null of a frame with constants computes, column by column; None if it fills with other values."""
    constants: dict[str, AnyExpr | None] = {}
    for name, dtype in frame.schema.items():
        if name.startswith(OWN):
            continue
        if isinstance(node.value, Literal) and node.strategy is None:
            if dtype.is_float if node.nans else fills(node.value, dtype):
                constants[name] = node.value
        elif node.strategy in ("zero", "one") and node.limit is None and not node.nans:
            constants[name] = _constant(int(node.strategy == "one"), dtype)
        else:
            return None
    function = "fill_nan" if node.nans else "fill_null"
    if None in constants.values():
        return None
    return tuple(Alias(Call(function, (Column(c), v)), c) for c, v in constants.items() if v is not None)


def _constant(value: int, dtype: DType) -> AnyExpr | None:
    """Return what the strategies zero and one fill a column of this type with."""
    if dtype.is_numeric:
        return Literal(DYN_INT, value)
    if dtype == BOOLEAN:
        return Literal(BOOLEAN, bool(value))
    if dtype == STRING and not value:
        return Literal(STRING, "")
    return Cast(Literal(INT64, value), dtype) if dtype.kind in ("Date", "Datetime", "Duration") else None


def fill_frame(frame: Frame, schema: Schema) -> Changed:
    """Return the flow type after fill_null with anything but a constant."""
    fix = "Fill one column with a number or an average: pl.col(...).fill_null(pl.col(...).mean())."
    finding = Finding("order-dependent", "This way of filling nulls reads other people's rows.", fix)
    return opaque(frame, schema, "it was filled from other rows"), [finding]


def reshape_frame(node: n.Unpivot | n.Explode | n.Unnest, frame: Frame, schema: Schema, world: World) -> Changed:
    """Return the flow type of nodes that turn columns into rows and back."""
    findings: list[Finding] = []
    columns: dict[str, Value] = {}
    match node:
        case n.Unpivot(on=on, index=index):
            index_names = [output_name(e) for e in index]
            names = [output_name(e) for e in on] if on is not None else [c for c in schema if c not in index_names]
            names = [c for c in names if c in frame.columns]
            parts = [frame.columns[c] for c in names]
            # INVARIANT: stored columns only: x beside -x cancels for everybody who is not filtered out
            value = _stacked(parts, same_column=False, reason="it mixes several columns")
            columns = {c: frame.columns[c] for c in index_names}
            # INVARIANT: which column a row came from differs from row to row: a constant it is not
            columns |= {node.variable_name: TAG, node.value_name: value}
            columns = {c: columns.get(c, value) for c in schema}
        case n.Explode(columns=exploded):
            columns = dict(frame.columns)
            # INVARIANT: how many rows a person has now is the length of their lists: a value of theirs, and no known number
            lists = choosing([columns[c] for c in map(output_name, exploded)], world)
            frame = replace(frame, chosen=frame.chosen | lists)
            for name in map(output_name, exploded):
                if columns[name].plain is None:
                    # INVARIANT: made-up lists would be weights: a row repeated a thousand times counts so often
                    fix = "Explode list columns of the table only."
                    reason = "explode of computed lists repeats rows as often as one likes."
                    findings.append(Finding("fan-out", reason, fix))
                columns[name] = columns[name].derived(Form.COLUMN, own_scale=True)
            if len(exploded) != 1:
                # INVARIANT: lists of unequal lengths fail, and no private value may decide whether a query fails
                findings.append(Finding("fan-out", "Several lists cannot be exploded side by side.", "Explode one."))
        case n.Unnest(columns=unnested):
            structs = {output_name(e) for e in unnested}
            parts = [frame.columns[c] for c in structs]
            stored = all(v.plain is not None for v in parts)
            # INVARIANT: a computed struct carries what it was made of, in whatever form
            form = Form.BINNED if stored else Form.MIX
            field = Value(
                join_sources(parts),
                form,
                makes_nulls=True,
                chosen=join_chosen(parts),
                reason="it comes from a computed struct",
            )
            columns = {c: frame.columns[c] if c in frame.columns and c not in structs else field for c in schema}
            return frame.with_columns(columns, schema), []
    return replace(frame.with_columns(columns, schema), fanned=True, per_unit=False), findings


def concat_frames(node: n.Concat, frames: Sequence[Frame], schema: Schema) -> Changed:
    """Return the flow type of rows below rows; each part keeps its occurrences."""
    findings: list[Finding] = []
    if node.how == "horizontal" or not all(t.private for t in frames):
        reason = "Private rows can only be put below other private rows."
        findings.append(Finding("fan-out", reason, "Use join, or vstack."))
    columns: dict[str, Value] = {}
    for name in schema:
        parts = [t.columns[name] for t in frames if name in t.columns]
        if len(parts) == len(frames) and all(not v.sources and v.form is Form.CONSTANT for v in parts):
            unsure = frozenset({UNSURE}) if any(v.blank for v in parts) else frozenset()
            columns[name] = replace(TAG, blank=unsure)
        else:
            whole = parts if len(parts) == len(frames) else []
            columns[name] = replace(
                _stacked(whole, same_column=True, reason="it is not one stored column in every part"),
                sources=join_sources(parts),
                chosen=join_chosen(parts),
            )
    frame = Frame(
        Kind.PRIVATE,
        columns,
        schema,
        tuple(o for t in frames for o in t.occurrences),
        fanned=True,
        narrowed=any(t.narrowed for t in frames),
        ordered=frozenset().union(*(t.ordered for t in frames)),
        chosen=frozenset().union(*(t.chosen for t in frames)),
    )
    return frame, findings


#: says from which part a row comes: a group key or a condition, but no number to compute with
TAG = Value(form=Form.BINNED)


def _stacked(parts: Sequence[Value], *, same_column: bool, reason: str) -> Value:
    """Return the value of columns put below each other.

    INVARIANT: each is a stored column as it is, so that one part can never be taken away from another: x below -x is a
    difference of two populations inside one cell.
    """
    sources = join_sources(parts)
    plain = [v.plain for v in parts if v.plain is not None and v.form is Form.COLUMN]
    alike = len({s.column for s in plain}) == 1 or not same_column
    if not parts or len(plain) != len(parts) or not alike:
        return Value(sources, Form.MIX, makes_nulls=True, chosen=join_chosen(parts), reason=reason)
    lows, highs = [v.low for v in parts if v.low is not None], [v.high for v in parts if v.high is not None]
    known = len(lows) == len(highs) == len(parts)
    low, high = (min(lows), max(highs)) if known else (None, None)
    evenly = all(v.evenly for v in parts)
    return Value(sources, Form.COLUMN, low, high, pristine=same_column, own_scale=same_column, evenly=evenly)
