"""Functions of columns with rules of their own: what stays a column, within which bounds, and what does not.

Each gives the value of a call, or None where it is one of any other function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bastion_plan.expressions import Call

from bastion_policy.flow_affine import affine, scaled
from bastion_policy.flow_functions import ALLOWED, DATE_PARTS
from bastion_policy.flow_total import Total
from bastion_policy.flow_trees import number
from bastion_policy.lineage import INTEGERS, Form, Value
from bastion_policy.roles import RoleKind


def _fits(typing: Total, expr: Call, value: Value | None) -> Value | None:
    """Return the value, or None where whole numbers of this type could overflow.

    INVARIANT: an overflow wraps around, so an affine function would be one no more; the same holds for constants that
    drive floats to infinity or below their precision (see flow_affine).
    """
    if value is None or value.form not in (Form.COLUMN, Form.COMBINATION):
        return value
    limits = INTEGERS.get(dtype.kind if (dtype := typing.dtype(expr)) is not None else "")
    if limits is None or not typing.world.measured:
        return value
    fits = value.low is not None and value.high is not None and limits[0] <= value.low <= value.high <= limits[1]
    return value if fits else None


def _add(typing: Total, expr: Call, values: Sequence[Value]) -> Value | None:
    return _fits(typing, expr, _plus(typing, expr, values))


def _plus(typing: Total, expr: Call, values: Sequence[Value]) -> Value | None:
    one, two = values
    sign = -1.0 if expr.function == "sub" else 1.0
    if two.form is Form.CONSTANT:
        return affine(one, 1.0, two, sign, measured=typing.world.measured)
    if one.form is Form.CONSTANT:
        return affine(two, sign, one, 1.0, measured=typing.world.measured)
    linear = {Form.COLUMN, Form.COMBINATION}
    if one.form in linear and two.form in linear:
        known = None not in (one.low, one.high, two.low, two.high)
        low, high = (two.low, two.high) if sign > 0 else (two.high, two.low)
        first, last = (one.low + sign * low, one.high + sign * high) if known else (None, None)  # type: ignore[operator]
        return Value(
            one.sources | two.sources,
            Form.COMBINATION,
            first,
            last,
            makes_nulls=one.makes_nulls or two.makes_nulls,
            evenly=one.evenly and two.evenly,
            picked=one.picked or two.picked,
        )
    return None


def _multiply(typing: Total, expr: Call, values: Sequence[Value]) -> Value | None:
    one, two = values
    if two.form is Form.CONSTANT:
        return _fits(typing, expr, scaled(one, two))
    if one.form is Form.CONSTANT:
        return _fits(typing, expr, scaled(two, one))
    return None


def _divide(typing: Total, expr: Call, values: Sequence[Value]) -> Value | None:
    one, two = values
    if two.form is not Form.CONSTANT:
        return None
    if two.low is not None and two.low == two.high and two.low:
        return scaled(one, Value(low=1 / two.low, high=1 / two.low))
    return scaled(one, replace(two, low=None, high=None))


def _negate(typing: Total, expr: Call, values: Sequence[Value]) -> Value | None:
    return _fits(typing, expr, scaled(values[0], Value(low=-1.0, high=-1.0)))


def _allowed(typing: Total, expr: Call, values: Sequence[Value]) -> Value | None:
    value = values[0]
    if value.form is not Form.COLUMN or not value.pristine:
        return None
    low, high = value.low, value.high
    # INVARIANT: no bend within the values. Half of sum(abs(x)) - sum(x) is what is below 0, which may be one person's.
    match expr.function:
        case "abs":
            if (low is None or high is None) and typing.world.measured:
                return None
            if low is not None and high is not None:
                if low < 0 < high:
                    return None
                low, high = sorted((abs(low), abs(high)))
        case "str.len_chars" | "str.len_bytes":
            # INVARIANT: of a sensitive category it is a bin: a sum and a variance of few lengths count each category
            if any(typing.world.role(s).kind is RoleKind.SENSITIVE for s in value.sources):
                return None
            low, high = 0.0, None
        case _:
            # INVARIANT: of a date that is nobody's to know they are bins: sums and variances of parts count few of them
            if any(typing.world.role(s).secret for s in value.sources):
                return None
            low, high = DATE_PARTS[expr.function]
    return value.derived(Form.COLUMN, low=low, high=high, own_scale=True, bit=value.bit)


def _clip(typing: Total, expr: Call, values: Sequence[Value]) -> Value | None:
    value = values[0]
    limits = [number(a) for a in expr.args[1:]]
    if value.plain is None or len(limits) != 2 or None in limits:
        return None
    role = typing.world.role(value.plain)
    # INVARIANT: values outside are cut off by clip, so that the difference shows them; only where there are none it goes
    within = value.low is not None and value.high is not None and role.lower is not None and role.upper is not None
    within = within and role.lower <= value.low and value.high <= role.upper  # type: ignore[operator]
    if within and [role.lower, role.upper] == limits:
        return value.derived(Form.COLUMN, low=role.lower, high=role.upper, own_scale=True)
    return None


def _is_null(typing: Total, expr: Call, values: Sequence[Value]) -> Value | None:
    value = values[0]
    if value.pristine and not value.makes_nulls:
        return value.derived(Form.NULLS, low=0.0, high=1.0)
    return None


def _fill(typing: Total, expr: Call, values: Sequence[Value]) -> Value | None:
    value, *fills = values
    if value.form is not Form.COLUMN or value.makes_nulls or any(f.form is not Form.CONSTANT for f in fills):
        return None
    dtype = typing.dtype(expr)
    added = dtype is not None and (dtype.is_numeric or dtype.is_temporal)
    # INVARIANT: fills are contributions that the scientist knows and takes off again: they would hide who dominates
    if added and any((s.dataset, s.column) in typing.world.nullable for s in value.sources):
        return None
    # INVARIANT: nor do they widen the bounds: of a column without missing values a fill is nobody's value, and as far from
    # one beyond the bounds everybody is about as far as anybody
    # shown as a value that k people hold, the filled ones among them; numbers are shown on a grid, which a fill moves
    own = value.own_scale and not typing.is_number(expr)
    kept = {"coarse": value.coarse, "per_row": value.per_row}
    return value.derived(Form.COLUMN, low=value.low, high=value.high, own_scale=own, bit=value.bit, **kept)


Special = Callable[[Total, Call, Sequence[Value]], Value | None]
SPECIAL: dict[str, Special] = {
    "add": _add,
    "sub": _add,
    "mul": _multiply,
    "truediv": _divide,
    "neg": _negate,
    "clip": _clip,
    "is_null": _is_null,
    "is_not_null": _is_null,
    "fill_null": _fill,
    **dict.fromkeys(ALLOWED | DATE_PARTS.keys(), _allowed),
}
