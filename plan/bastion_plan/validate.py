"""What must hold of a plan whatever data it is about: sizes, constants of the type they claim, known calls.

Decoding asks this of every plan that comes from outside; binding asks it again, so that a plan built in this process is
held to the same.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bastion_plan import nodes as n
from bastion_plan.dtypes import DYNAMIC, DType
from bastion_plan.errors import BindError, DecodeError, LimitError
from bastion_plan.expressions import Call, Cast, Expr, Literal, Selector, children
from bastion_plan.functions.calls import check_call
from bastion_plan.typing import check_dtype


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest plan that is accepted: bytes, levels and number of nodes and expressions, constants."""

    bytes: int = 1 << 20
    depth: int = 64
    nodes: int = 10_000
    literals: int = 100_000


#: what a client may send
CLIENT = Limits()
#: for plans that the server itself made of a client's (guards added, saved frames inlined)
INTERNAL = Limits(bytes=1 << 26, depth=192, nodes=1_000_000, literals=10_000_000)

MAX_DTYPE_DEPTH = 16
MAX_CONSTANT_DEPTH = 16

_DATETIME_ZONE = re.compile(r"[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+){0,3}")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,38}")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,37})(\.[0-9]{1,38})?")
_PARAMETERS = {
    "Datetime": {"unit", "zone"},
    "Duration": {"unit"},
    "List": {"inner"},
    "Array": {"inner", "width"},
    "Struct": {"fields"},
    "Enum": {"categories"},
    "Decimal": {"precision", "scale"},
}
_EMPTY = DType("")


def validate(plan: n.Node, limits: Limits = CLIENT) -> None:
    """Refuse a plan that is too large or that no data could make meaningful.

    Raises:
        LimitError: `plan.limit.depth`, `plan.limit.nodes`, `plan.limit.literals`.
        DecodeError: `plan.decode.literal`, `plan.decode.dtype`, `plan.decode.selector`, `plan.decode.table`.
        BindError: what `check_call` says of a call.
    """
    # by hand and not by recursion, so that depth cannot hurt
    stack: list[tuple[Any, int]] = [(plan, 1)]
    nodes = constants = 0
    while stack:
        item, depth = stack.pop()
        nodes += 1
        if depth > limits.depth:
            msg = f"The plan is nested deeper than {limits.depth} levels."
            raise LimitError(msg, code="plan.limit.depth", next_step="Save a part of it as a frame, with collect().")
        if nodes > limits.nodes:
            msg = f"The plan has more than {limits.nodes} nodes and expressions."
            raise LimitError(msg, code="plan.limit.nodes", next_step="Save a part of it as a frame, with collect().")
        constants += _constants(item)
        if constants > limits.literals:
            msg = f"The plan holds more than {limits.literals} constants."
            raise LimitError(msg, code="plan.limit.literals", next_step="Upload the values as a dataset of their own.")
        _check(item)
        stack.extend((child, depth + 1) for child in _children(item))


def _children(item: n.Node | Expr) -> Iterable[n.Node | Expr]:
    for name in item.__struct_fields__:
        value = getattr(item, name)
        if isinstance(value, n.Node | Expr):
            yield value
        elif isinstance(value, tuple):
            yield from (v for v in value if isinstance(v, n.Node | Expr))


def _constants(item: n.Node | Expr) -> int:
    match item:
        case Literal(value=value):
            return _leaves(value)
        case Call(options=options):
            return sum(_leaves(value) for _, value in options)
        case Selector(values=values):
            return len(values)
        case n.Inline(columns=columns):
            return sum(_leaves(c.values) for c in columns)
        case n.Pivot(on_columns=values):
            return _leaves(values)
        case _:
            return 1


def own_size(node: n.Node) -> int:
    """Return the number of expressions and constants of a node itself, its inputs left out, and one for the node."""
    count, stack = 0, [node]
    while stack:
        item: n.Node | Expr = stack.pop()
        count += 1 + _constants(item)
        stack.extend(child for child in _children(item) if isinstance(child, Expr))  # type: ignore[misc]
    return count


def expr_size(expr: Expr, known: dict[int, tuple[Expr, int]]) -> int:
    """Return the number of expressions and constants of an expression; `known` remembers shared parts by identity."""
    found = known.get(id(expr))
    if found is None:
        size = 1 + _constants(expr) + sum(expr_size(child, known) for child in children(expr))
        # the expression is kept, so that its identity stays its own
        found = known[id(expr)] = (expr, size)
    return found[1]


def _leaves(value: Any) -> int:
    count, stack = 0, [(value, 0)]
    while stack:
        item, depth = stack.pop()
        if depth > MAX_CONSTANT_DEPTH:
            msg = f"A constant is nested deeper than {MAX_CONSTANT_DEPTH} levels."
            raise LimitError(msg, code="plan.limit.depth")
        count += 1
        if isinstance(item, tuple):
            stack.extend((v, depth + 1) for v in item)
    return count


def _check(item: n.Node | Expr) -> None:
    match item:
        case Literal(dtype=dtype, value=value):
            check_constant(dtype, value, dynamic=True)
        case Call():
            check_call(item)
        case Cast(dtype=dtype):
            check_canonical_dtype(dtype)
        case Selector(dtypes=dtypes):
            for dtype in dtypes:
                if dtype != DType(dtype.kind):
                    check_canonical_dtype(dtype)
            if any(isinstance(v, bool) for v in item.values):
                msg = "A selector takes names and whole numbers only."
                raise DecodeError(msg, code="plan.decode.selector")
        case n.Inline(columns=columns):
            if len({len(c.values) for c in columns}) > 1:
                msg = "The columns of an inline table have different lengths."
                raise DecodeError(msg, code="plan.decode.table")
            for column in columns:
                check_canonical_dtype(column.dtype)
                for value in column.values:
                    check_constant(column.dtype, value)
        case n.Pivot(on_columns=values):
            if any(isinstance(v, tuple | bytes) for v in values):
                msg = "The columns of a pivot are named by plain values."
                raise DecodeError(msg, code="plan.decode.literal")
        case _:
            pass


# --- types ---


def check_canonical_dtype(dtype: DType, depth: int = 0) -> None:
    """Refuse a type that is incomplete, that carries parameters of another type, or that is nested too deeply.

    Raises:
        DecodeError: `plan.decode.dtype`.
        LimitError: `plan.limit.depth`.
    """
    if depth > MAX_DTYPE_DEPTH:
        msg = f"A data type is nested deeper than {MAX_DTYPE_DEPTH} levels."
        raise LimitError(msg, code="plan.limit.depth")
    own = _PARAMETERS.get(dtype.kind, set())
    stray = [
        f for f in DType.__struct_fields__ if f != "kind" and f not in own and getattr(dtype, f) != getattr(_EMPTY, f)
    ]
    if stray or (dtype.zone is not None and not _DATETIME_ZONE.fullmatch(dtype.zone)):
        msg = f"{dtype.kind} is not written as a data type of plans."
        raise DecodeError(msg, code="plan.decode.dtype")
    for inner in (*((dtype.inner,) if dtype.inner else ()), *(t for _, t in dtype.fields)):
        check_canonical_dtype(inner, depth + 1)
    if depth == 0:
        try:
            check_dtype(dtype)
        except BindError as error:
            raise DecodeError(error.message, next_step=error.next_step, code="plan.decode.dtype") from None


# --- constants ---


def check_constant(dtype: DType, value: Any, *, dynamic: bool = False) -> None:
    """Refuse a constant that is not written as its type wants (see `Literal`).

    Args:
        dtype: the claimed type.
        value: the constant; None fits every type but the dynamic numbers.
        dynamic: whether DynInt and DynFloat are types here.

    Raises:
        DecodeError: `plan.decode.literal`, `plan.decode.dtype`.
    """
    if dtype.kind in DYNAMIC and dtype == DType(dtype.kind):
        fits = dynamic and type(value) is (int if dtype.kind == "DynInt" else float)
    else:
        check_canonical_dtype(dtype)
        fits = is_written_as(dtype, value)
    if not fits:
        msg = f"A constant of type {dtype} is not written as one."
        raise DecodeError(msg, code="plan.decode.literal", next_step="Build literals with lit().")


def is_written_as(dtype: DType, value: Any) -> bool:
    """Return whether a constant is null or written as its type wants; the type itself is not checked."""
    if value is None:
        return True
    kind = dtype.kind
    if kind in _RANGES:
        low, high = _RANGES[kind]
        return type(value) is int and low <= value <= high
    if kind in {"List", "Array"}:
        if type(value) is not tuple or dtype.inner is None or (kind == "Array" and len(value) != dtype.width):
            return False
        inner = dtype.inner
        return all(is_written_as(inner, v) for v in value)
    if kind == "Struct":
        return (
            type(value) is tuple
            and len(value) == len(dtype.fields)
            and all(is_written_as(t, v) for (_, t), v in zip(dtype.fields, value, strict=True))
        )
    test = _TESTS.get(kind)
    return test is not None and test(dtype, value)


def _fits_float32(dtype: DType, value: Any) -> bool:
    if type(value) is not float:
        return False
    try:
        struct.pack(">f", value)
    except OverflowError:
        return False
    return True


def _fits_int128(dtype: DType, value: Any) -> bool:
    return type(value) is str and bool(_INTEGER.fullmatch(value)) and -(2**127) <= int(value) < 2**127


def _fits_decimal(dtype: DType, value: Any) -> bool:
    if type(value) is not str or not _DECIMAL.fullmatch(value):
        return False
    whole, _, fraction = value.removeprefix("-").partition(".")
    scale, precision = dtype.scale or 0, dtype.precision or 38
    return len(fraction) <= scale and len(whole.lstrip("0")) + scale <= precision


_RANGES: dict[str, tuple[int, int]] = {
    **{f"Int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"UInt{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
    "Date": (-(2**31), 2**31 - 1),
    "Datetime": (-(2**63), 2**63 - 1),
    "Duration": (-(2**63), 2**63 - 1),
    "Time": (0, 86_400 * 10**9 - 1),
}
_TESTS: dict[str, Callable[[DType, Any], bool]] = {
    "Boolean": lambda t, v: type(v) is bool,
    "Float64": lambda t, v: type(v) is float,
    "Float32": _fits_float32,
    "String": lambda t, v: type(v) is str,
    "Categorical": lambda t, v: type(v) is str,
    "Enum": lambda t, v: type(v) is str and v in t.categories,
    "Binary": lambda t, v: type(v) is bytes,
    "Int128": _fits_int128,
    "Decimal": _fits_decimal,
}
