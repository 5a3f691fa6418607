"""Affine functions of private columns, kept within what floating-point numbers can hold."""

from __future__ import annotations

from dataclasses import replace

from bastion_policy.lineage import Form, Value


def affine(value: Value, factor: float, shift: Value, sign: float, *, measured: bool) -> Value | None:
    """Return factor * value + sign * shift."""
    if value.form in (Form.NULLS, Form.BITS, Form.BINNED):
        return value.derived(Form.BINNED)
    steps = value.steps + shift.steps + 1
    if value.form not in (Form.COLUMN, Form.COMBINATION) or not ordinary(shift) or steps > MAX_STEPS:
        return None
    known = value.low is not None and value.high is not None and shift.low is not None and shift.high is not None
    if not known:
        # INVARIANT: a shift far beyond the column's range rounds it, which is a binning; so it must be known not to be
        return None if measured and value.form is Form.COLUMN else _linear(value, steps, bit=_moved(value, None, None))
    assert value.low is not None and value.high is not None and shift.low is not None and shift.high is not None
    # INVARIANT: only the first shift is measured by the size of the values; shifts must not make room for larger shifts
    size = value.high - value.low if value.steps else max(value.high - value.low, abs(value.low), abs(value.high))
    if not max(abs(shift.low), abs(shift.high)) <= 1e3 * size or size > LARGEST:
        return None
    ends = sorted((factor * value.low, factor * value.high))
    moves = sorted((sign * shift.low, sign * shift.high))
    exact = sign * shift.low if shift.low == shift.high else None
    return _linear(value, steps, ends[0] + moves[0], ends[1] + moves[1], bit=_moved(value, factor, exact))


def scaled(value: Value, by: Value) -> Value | None:
    """Return value * by."""
    if value.form in (Form.NULLS, Form.BITS, Form.BINNED):
        return value.derived(Form.BINNED)
    steps = value.steps + by.steps + 1
    if value.form not in (Form.COLUMN, Form.COMBINATION) or not ordinary(by) or steps > MAX_STEPS:
        return None
    bit = _moved(value, by.low if by.low == by.high else None, 0.0)
    if value.low is None or value.high is None or by.low is None or by.low != by.high:
        return _linear(value, steps, bit=bit)
    low, high = sorted((by.low * value.low, by.low * value.high))
    if max(abs(low), abs(high)) > LARGEST:
        return None
    return _linear(value, steps, low, high, bit=bit)


def _linear(
    value: Value,
    steps: int,
    low: float | None = None,
    high: float | None = None,
    bit: tuple[float, ...] | None = None,
) -> Value:
    made = Value(value.sources, value.form, low, high, makes_nulls=value.makes_nulls, steps=steps, bit=bit)
    return replace(made, evenly=value.evenly, picked=value.picked)


def _moved(value: Value, factor: float | None, shift: float | None) -> tuple[float, ...] | None:
    """Return the two values of a bit after an affine step; () where the step is not known."""
    if value.bit is None or factor is None or shift is None:
        return None if value.bit is None else ()
    return tuple(factor * x + shift for x in value.bit)


#: far from where floats overflow
LARGEST = 1e150
#: affine steps that may be stacked; with constants between 1e-9 and 1e9 the range of floats is never left
MAX_STEPS = 12
PLAIN_ARITHMETIC = frozenset({"add", "sub", "mul", "truediv", "neg", "abs", "sqrt"})


def ordinary(constant: Value) -> bool:
    """Whether a constant is neither so large nor so small that floats lose the other operand."""
    if constant.low is None or constant.low != constant.high:
        return True
    size = abs(constant.low)
    return size == 0 or 1e-9 <= size <= 1e9
