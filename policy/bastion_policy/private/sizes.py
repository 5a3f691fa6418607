"""How large the rows of a fit may become, on their way and in a worker, from public numbers alone.

Whether a fit runs must not depend on whom its plan chooses: "more than so many people pass this filter" would be an answer without noise.
So what is looked at is how large its *tables* are, how many columns its plan makes on the way, and how much is computed for a row; and
what may be too much is refused before anything is read or paid, however few rows its filters leave.

How large a table is comes in steps of the root of two, and where the steps lie is a secret of the table (`part`), the same for as long as it
lives, its corrections included. A refusal tells whether a number lies above one such step. Where they lie nobody knows, so that one person decides it
happens once in as many tables as that person is a part of one; for steps at powers of two whoever knows a table but for one person
would need no luck. Noise that is paid would do no better here: the figure is asked for by anybody, for nothing.

The bounds are estimates from above of what the engine holds and does at a time: all columns of a node and of what it is given, what its largest
expressions hold on the way, lists and texts as large as their tables. Lists are never made before noise (rows.py), so they are stored ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
from bastion_plan import nodes as n
from bastion_plan.bind import BoundPlan
from bastion_plan.dtypes import DType, Schema
from bastion_plan.errors import InputError
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, Ternary, children
from bastion_plan.models.fits import FitSpec
from bastion_plan.nodes import Node

from bastion_policy.flow_sizes import GIVES_ONE, KEEPS

#: people of a fit, at most
MAX_PEOPLE = 1 << 25
#: bytes of a number, of one in 128 bits, and of the view of a text
_NUMBER, _WIDE, _VIEW = 8, 16, 16
#: numbers of a row that the judge's own columns, windows and tables of hashes take
_OWN = 12
#: texts may grow so many times when their letters change; a step for a text takes as long as so many for numbers
_GROWN, _TEXT_STEPS = 3, 16
#: steps of a row that an engine does in a second, at least
_RATE = 1e8


@dataclass(frozen=True)
class Size:
    """Of a table, or of tables put together. held: bytes that are stored."""

    rows: int
    held: int


@dataclass(frozen=True)
class Walls:
    """What the worker that makes the rows of a fit may use: bytes, of its answer and at a time; seconds; threads."""

    answer: int
    memory: int
    seconds: float
    threads: int


@dataclass(frozen=True)
class Needs:
    """What a plan may come to. memory: bytes at a time. steps: of all rows."""

    memory: int
    steps: int


def rung(number: int, part: float) -> int:
    """Return the step above a number: not below it, and less than twice it but for rounding up.

    part: from 0 to below 1, a secret of the table: where the steps lie.
    """
    return max(number, math.ceil(2 ** (math.ceil(2 * math.log2(max(1, number)) + part) / 2)))


def together(tables: Iterable[Size], max_rows: int) -> Size:
    """Return how large rows of tables that are joined by person may become. max_rows: of a person, that count."""
    some = list(tables)
    grown = int(max_rows ** max(0, len(some) - 1))
    return Size(grown * max((t.rows for t in some), default=1), grown * max((t.held for t in some), default=1))


def check_size(bound: BoundPlan, spec: FitSpec, size: Size, walls: Walls) -> None:
    """Check that the rows of a fit fit into workers, however many of them its plan leaves.

    INVARIANT: public numbers alone decide, and nothing was read or paid yet.

    Raises:
        InputError: fit.size.
    """
    schema = bound.schema
    last = sum(size.held if schema[name].is_nested else _NUMBER * size.rows for name in spec.columns) + 48 * size.rows
    if last > walls.answer or size.rows > MAX_PEOPLE:
        _refuse(
            "The rows of this fit are more than this server trains on.", last, walls.answer,
            "Use fewer columns, or ask the owner for a smaller table.",
        )  # fmt: skip
    needs = needs_of(bound, size, spec.columns, walls.threads)
    if needs.memory > walls.memory:
        _refuse(
            "What is computed on the way to the rows of this fit may take more memory than this server has for it.", needs.memory,
            walls.memory, "Compute fewer columns at a time, or upload them as columns of the table.",
        )  # fmt: skip
    if needs.steps > walls.seconds * _RATE:
        raise InputError(
            "What is computed on the way to the rows of this fit may take longer than this server allows.", code="fit.size",
            reason=f"It comes to {needs.steps / size.rows:,.0f} steps for each row of a table of this size; "
            f"{walls.seconds * _RATE / size.rows:,.0f} are allowed.",
            next_step="Compute less before training, or upload what is computed as columns of the table.",
        )  # fmt: skip


def _refuse(message: str, size: int, allowed: int, next_step: str) -> None:
    reason = f"They may come to {size >> 20:,} MB; {allowed >> 20:,} MB are allowed."
    raise InputError(message, code="fit.size", reason=reason, next_step=next_step)


def needs_of(bound: BoundPlan, size: Size, columns: Iterable[str], threads: int) -> Needs:
    """Return what a plan may come to on the way. columns: of the fit."""
    return _Widths(bound, size, {*columns, *_named(bound.root)}, threads).all()


class _Widths:
    """Adds up what the nodes of one plan hold. used: names of columns that anything is made of; others are never read."""

    def __init__(self, bound: BoundPlan, size: Size, used: set[str], threads: int) -> None:
        self.bound, self.size, self.used, self.threads = bound, size, used, threads
        self.stored = {name for node in _nodes(bound.root) if isinstance(node, n.Scan) for name in bound.schemas[node]}
        self.steps = 0

    def all(self) -> Needs:
        peak, _ = self._node(self.bound.root)
        return Needs(peak, self.steps)

    def _node(self, node: Node) -> tuple[int, int]:
        """Return (bytes at a time, bytes of what the node gives)."""
        below = [self._node(i) for i in n.inputs(node)]
        if isinstance(node, n.Inline):
            return 0, 0
        given: dict[str, DType] = {}
        for i in n.inputs(node):
            given |= self.bound.schemas[i]
        own = self._frame(self.bound.schemas[node])
        held = [self._held(e, given) for e in _expressions(node)]
        largest = max(held, default=0)
        on_the_way = min(sum(held), largest * max(1, self.threads))
        # copies of rows are steps as well
        self.steps += len(self.bound.schemas[node]) * self.size.rows if not isinstance(node, n.Scan) else 0
        here = own + sum(out for _, out in below) + on_the_way + _OWN * _NUMBER * self.size.rows
        return max(here, sum(peak for peak, _ in below)), own

    def _frame(self, schema: Schema) -> int:
        some = [t for name, t in schema.items() if name in self.used or name not in self.stored]
        nested = self.size.held if any(t.is_nested for t in some) else 0
        return nested + self.size.rows * sum(_cell(t) for t in some)

    def _held(self, expr: Expr, given: Mapping[str, DType]) -> int:
        """Return the bytes of everything that an expression makes on the way, its value included."""
        return self._made(expr, given)[0]

    def _made(self, expr: Expr, given: Mapping[str, DType]) -> tuple[int, int, bool]:
        """Return (bytes of what is made on the way, of one cell, whether it is text)."""
        match expr:
            case Column(name=name):
                dtype = given.get(name)
                return 0, _NUMBER if dtype is None else _cell(dtype), dtype is not None and _is_text(dtype)
            case Literal(value=value):
                return 0, _NUMBER, isinstance(value, str | bytes)
            case Alias(input=inner):
                return self._made(inner, given)
        parts = [self._made(c, given) for c in children(expr)]
        cell = max((cell for _, cell, _ in parts), default=_NUMBER)
        text = _gives_text(expr, [t for _, _, t in parts])
        self.steps += self.size.rows * (_TEXT_STEPS if text or any(t for _, _, t in parts) else 1)
        own = self.size.rows * max(cell, _VIEW if text else 0) + (_GROWN * self.size.held if text else 0)
        return own + sum(held for held, _, _ in parts), cell, text


def _gives_text(expr: Expr, parts: list[bool]) -> bool:
    match expr:
        case Cast(dtype=dtype):
            return _is_text(dtype)
        case Ternary():
            return any(parts[1:])
        case Call(function=name):
            return any(parts) and name in KEEPS | GIVES_ONE
    return any(parts)


def _is_text(dtype: DType) -> bool:
    return dtype.kind in ("String", "Binary", "Categorical", "Enum")


def _cell(dtype: DType) -> int:
    return _WIDE if _is_text(dtype) or dtype.kind in ("Int128", "UInt128", "Decimal") else _NUMBER


def _nodes(node: Node) -> list[Node]:
    return [node, *(below for i in n.inputs(node) for below in _nodes(i))]


def _expressions(node: Node) -> list[Expr]:
    """Return a node's own expressions."""
    found: list[Expr] = []
    for value in msgspec.structs.astuple(node):
        found += [v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, Expr)]
    return found


def _named(node: Node) -> set[str]:
    """Return the names of all columns that anything is made of."""
    found, waiting = set[str](), [e for below in _nodes(node) for e in _expressions(below)]
    while waiting:
        expr = waiting.pop()
        if isinstance(expr, Column):
            found.add(expr.name)
        waiting += children(expr)
    return found
