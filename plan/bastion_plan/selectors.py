"""Selectors to columns, and one expression over many columns to many expressions, as Polars expands them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import msgspec
import re2  # type: ignore[import-untyped]

from bastion_plan import dtypes as dt
from bastion_plan.dtypes import DType, Schema
from bastion_plan.errors import BindError, LimitError, did_you_mean
from bastion_plan.expressions import (
    Alias,
    AnyExpr,
    Call,
    Cast,
    Column,
    Expr,
    Literal,
    NameChange,
    Over,
    Selector,
    Ternary,
)
from bastion_plan.functions.registry import get
from bastion_plan.typing import describe, expr_name, root_name
from bastion_plan.validate import expr_size

#: longest column pattern, in characters
MAX_PATTERN = 256
#: most expressions and constants of a plan whose selectors are expanded
MAX_EXPANSION = 150_000
#: where whole numbers end
MOST = 2**127

_CLASSES: dict[str, Callable[[DType], bool]] = {
    "numeric": lambda t: t.is_numeric,
    "integer": lambda t: t.is_integer,
    "signed_integer": lambda t: t.kind in dt.SIGNED,
    "unsigned_integer": lambda t: t.is_integer and t.kind not in dt.SIGNED,
    "float": lambda t: t.is_float,
    "temporal": lambda t: t.is_temporal,
    "nested": lambda t: t.is_nested,
} | {
    kind.lower(): (lambda t, kind=kind: t.kind == kind)
    for kind in (
        *("String", "Boolean", "Binary", "Date", "Time", "Datetime", "Duration", "Decimal"),
        *("Categorical", "Enum", "List", "Array", "Struct"),
    )
}
_SET_KINDS = {"union", "intersection", "difference", "symmetric_difference", "complement"}
#: kinds that never pick a grouping key inside the aggregation of that key
_SKIP_KEYS = {"all", "by_dtype", "by_class", "regex", "starts_with", "ends_with", "contains", "exclude"}


def is_pattern(name: str) -> bool:
    """Whether Polars reads a column name as a regular expression or as "all columns"."""
    return name == "*" or (name.startswith("^") and name.endswith("$"))


@lru_cache(maxsize=256)
def _compile(pattern: str) -> Any:
    # RE2 matches in linear time and bounded memory whatever the pattern: a scientist's pattern runs on the server
    if len(pattern) > MAX_PATTERN:
        msg = f"A column pattern has {len(pattern)} characters; at most {MAX_PATTERN} are allowed."
        raise BindError(msg, code="plan.bind.pattern")
    options = re2.Options()
    options.max_mem = 1 << 20
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        msg = f"The column pattern {pattern!r} is not a regular expression that may be used here."
        raise BindError(
            msg,
            code="plan.bind.pattern",
            reason="Look-around, back-references and very large repetitions are not supported.",
        ) from None


def unknown_column(name: str, schema: Iterable[str]) -> BindError:
    """Return the error for a column that is not there."""
    known = list(schema)
    hint = did_you_mean(name, known)
    if not hint and known:
        shown = ", ".join(repr(c) for c in known[:12])
        hint = f"There are: {shown}{', …' if len(known) > 12 else ''}."
    return BindError(f"There is no column {name!r}.", code="plan.bind.column", next_step=hint, details={"column": name})


def _no_text(name: str, schema: Iterable[str]) -> BindError:
    """Return the error for a column that is not there, of when(): most often it was meant as a text."""
    error = unknown_column(name, schema)
    literal = f"A text in then() and otherwise() names a column; for the text itself write pl.lit({name!r})."
    error.next_step = f"{error.next_step} {literal}".strip()
    return error


def select_columns(selector: Selector, schema: Schema, skip: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return the names a selector picks from `schema`, in Polars' order.

    skip: names that type and name patterns leave out (grouping keys, inside their own aggregation).
    """
    kind, values = selector.kind, selector.values
    names = list(schema)
    if kind in _SET_KINDS:
        return _set_operation(selector, schema, skip)
    if kind == "by_name":
        picked: list[str] = []
        for value in _strings(values, kind):
            if value in schema:
                picked.append(value)
            elif is_pattern(value):
                # as in Polars, a pattern among names makes the whole selection one of schema order
                matched = {*picked, *_match(value, names), *_plain_names(values, schema)}
                return tuple(
                    name
                    for name in names
                    if name in matched
                    or any(is_pattern(v) and name in _match(v, names) for v in _strings(values, kind))
                )
            else:
                raise unknown_column(value, names)
        return tuple(dict.fromkeys(picked))
    if kind in {"first", "last", "by_index"}:
        return _by_index(kind, values, names)
    if kind not in _SKIP_KEYS:
        msg = f"There is no selector {kind!r}."
        raise BindError(msg, code="plan.bind.selector", next_step=did_you_mean(kind, _SKIP_KEYS | _SET_KINDS))
    keep = _predicate(selector, schema)
    return tuple(name for name in names if name in keep and name not in skip)


def _plain_names(values: Sequence[str | int], schema: Schema) -> list[str]:
    plain = [v for v in _strings(values, "by_name") if not (is_pattern(v) and v not in schema)]
    for value in plain:
        if value not in schema:
            raise unknown_column(value, schema)
    return plain


def _match(pattern: str, names: Iterable[str]) -> set[str]:
    if pattern == "*":
        return set(names)
    compiled = _compile(pattern)
    return {name for name in names if compiled.search(name)}


def _strings(values: Sequence[str | int], kind: str) -> list[str]:
    texts = [v for v in values if isinstance(v, str)]
    if len(texts) != len(values):
        msg = f"The selector {kind!r} takes names, not numbers."
        raise BindError(msg, code="plan.bind.selector")
    return texts


def _predicate(selector: Selector, schema: Schema) -> set[str]:
    kind = selector.kind
    if kind == "by_dtype":
        return {name for name, t in schema.items() if any(_dtype_fits(want, t) for want in selector.dtypes)}
    values = _strings(selector.values, kind)
    match kind:
        case "all":
            return set(schema)
        case "exclude":
            gone = {name for name, t in schema.items() if any(_dtype_fits(want, t) for want in selector.dtypes)}
            for value in values:
                gone |= {value} if value in schema or not is_pattern(value) else _match(value, schema)
            return set(schema) - gone
        case "by_class":
            for value in values:
                if value not in _CLASSES:
                    msg = f"There is no class of columns {value!r}."
                    raise BindError(msg, code="plan.bind.selector", next_step=did_you_mean(value, _CLASSES))
            return {name for name, t in schema.items() if any(_CLASSES[v](t) for v in values)}
        case "regex":
            patterns = [_compile(v) for v in values]
            return {name for name in schema if any(p.search(name) for p in patterns)}
        case "starts_with":
            return {name for name in schema if name.startswith(tuple(values))}
        case "ends_with":
            return {name for name in schema if name.endswith(tuple(values))}
        case _:
            return {name for name in schema if any(v in name for v in values)}


def _dtype_fits(want: DType, have: DType) -> bool:
    """Whether `have` is `want`, where parameters that `want` leaves out fit anything."""
    if want.kind != have.kind:
        return False
    return want == have or want == DType(want.kind)


def _by_index(kind: str, values: Sequence[str | int], names: list[str]) -> tuple[str, ...]:
    indices: Sequence[str | int] = {"first": (0,), "last": (-1,)}.get(kind, values)
    picked = []
    for index in indices:
        if isinstance(index, bool) or not isinstance(index, int):
            msg = "The selector 'by_index' takes whole numbers."
            raise BindError(msg, code="plan.bind.selector")
        if not -len(names) <= index < len(names):
            msg = f"There is no column number {index}: the frame has {len(names)} columns."
            raise BindError(msg, code="plan.bind.column")
        picked.append(names[index])
    if len(set(picked)) != len(picked):
        msg = "A selection by index names a column twice."
        raise BindError(msg, code="plan.bind.duplicate")
    return tuple(picked)


def _set_operation(selector: Selector, schema: Schema, skip: frozenset[str]) -> tuple[str, ...]:
    kind = selector.kind
    sets = [frozenset(select_columns(s, schema, skip)) for s in selector.of]
    if (kind == "complement" and len(sets) != 1) or not sets:
        msg = f"The selector {kind!r} has {len(sets)} operands."
        raise BindError(msg, code="plan.bind.selector")
    result = set(sets[0])
    if kind == "complement":
        result = set(schema) - result - skip
    for other in sets[1:]:
        match kind:
            case "union":
                result |= other
            case "intersection":
                result &= other
            case "difference":
                result -= other
            case _:
                result ^= other
    return tuple(name for name in schema if name in result)


@dataclass
class Budget:
    """How much the selectors of one plan may grow it, counted while they are expanded."""

    left: int = MAX_EXPANSION
    sizes: dict[int, tuple[Expr, int]] = field(default_factory=dict)

    def check(self, made: Sequence[Expr], *, spend: bool) -> None:
        """Refuse expressions over the budget; `spend`: they stay in the plan.

        Raises:
            LimitError: `plan.limit.expansion`.
        """
        size = sum(expr_size(e, self.sizes) for e in made)
        self.check_number(size)
        if spend:
            self.left -= size

    def check_number(self, size: int) -> None:
        """Refuse a number of expressions over the budget."""
        if size > self.left:
            msg = f"The selectors of the plan make it larger than {MAX_EXPANSION} expressions and constants."
            raise LimitError(msg, code="plan.limit.expansion", next_step="Select the columns you need first.")


@dataclass
class Expander:
    """Expands expressions over one schema. `budget` is shared by the whole plan."""

    schema: Schema
    skip: frozenset[str] = frozenset()
    budget: Budget = field(default_factory=Budget)

    def expand(self, expr: Expr, *, spend: bool = True) -> list[Expr]:
        """Return one expression per column, without selectors and with plain aliases for name changes."""
        made = self._expand(expr)
        # INVARIANT: checked at every level before the next one is built or typed: one broadcast can multiply a large
        # expression by the number of columns
        self.budget.check(made, spend=spend)
        return made

    def expand_all(self, exprs: Iterable[Expr], *, spend: bool = True) -> tuple[Expr, ...]:
        """Expand several expressions, in order."""
        made: list[Expr] = []
        for expr in exprs:
            made += self.expand(expr, spend=spend)
            self.budget.check_number(len(made))
        return tuple(made)

    def _expand(self, expr: Expr) -> list[Any]:
        match expr:
            case Column(name=name):
                if name in self.schema:
                    return [expr]
                if is_pattern(name):
                    picked = _match(name, self.schema)
                    return [Column(c) for c in self.schema if c in picked and c not in self.skip]
                raise unknown_column(name, self.schema)
            case Selector():
                return [Column(name) for name in select_columns(expr, self.schema, self.skip)]
            case Literal():
                return [expr]
            case Alias(input=inner, name=name):
                return [Alias(cast(AnyExpr, e), name) for e in self.expand(inner, spend=False)]
            case NameChange(input=inner):
                return [self._renamed(msgspec.structs.replace(expr, input=e)) for e in self.expand(inner, spend=False)]
            case Cast(input=inner):
                return [msgspec.structs.replace(expr, input=e) for e in self.expand(inner, spend=False)]
            case Ternary():
                for branch in (expr.truthy, expr.falsy):
                    if isinstance(branch, Column) and branch.name not in self.schema and not is_pattern(branch.name):
                        raise _no_text(branch.name, self.schema)
                rows = self._zip([expr.predicate, expr.truthy, expr.falsy])
                return [Ternary(p, t, f) for p, t, f in rows]  # type: ignore[arg-type]
            case Over():
                size = len(expr.partition_by)
                rows = self._zip([expr.input, *expr.partition_by, *expr.order_by])
                return [
                    msgspec.structs.replace(
                        expr, input=r[0], partition_by=tuple(r[1 : 1 + size]), order_by=tuple(r[1 + size :])
                    )
                    for r in rows
                ]
            case Call():
                return self._call(expr)
            case _:
                msg = "The plan holds an expression that is not known."
                raise BindError(msg, code="plan.bind.expression")

    def _renamed(self, change: NameChange) -> Expr:
        name = expr_name(change, self.schema)
        if change.kind == "keep" and root_name(change.input) is None:
            msg = "`name.keep` needs an expression that reads a column."
            raise BindError(msg, code="plan.bind.name", next_step="Give the result a name with alias().")
        inner = change.input
        return Alias(inner.input if isinstance(inner, Alias) else inner, name)

    def _call(self, call: Call) -> list[Expr]:
        function = get(call.function)
        if function.args and function.args[-1].variadic and len(function.args) == 1:
            return [msgspec.structs.replace(call, args=self.expand_all(call.args, spend=False))]
        if not call.args:
            return [call]
        made = (msgspec.structs.replace(call, args=tuple(row)) for row in self._zip(call.args))
        change = {"not_": self._turned, "truediv": self._narrowed}.get(call.function)
        return [change(one) if change else one for one in made]

    def _narrowed(self, call: Call) -> Expr:
        """Return a quotient of a constant by Float32 as one of a constant of that type: it has the same bits.

        INVARIANT: types are the engine's. Polars 2.1 takes such a quotient for Float64 and makes Float32, and fails where a null of it
        is filled one step later, so that a failure would tell of one.
        """
        if len(call.args) != 2:
            return call
        given, divisor = call.args
        if describe(divisor, self.schema).dtype != dt.FLOAT32 or describe(given, self.schema).dtype != dt.FLOAT64:
            return call
        bare = given
        while isinstance(bare, Alias) or (isinstance(bare, Call) and bare.function == "neg" and bare.args):
            bare = bare.input if isinstance(bare, Alias) else bare.args[0]
        written = isinstance(bare, Literal) and bare.dtype == dt.DYN_FLOAT
        if not written and describe(call, self.schema).dtype != dt.FLOAT32:
            return call
        narrow: Expr = Cast(given, dt.FLOAT32)
        if isinstance(given, Literal) and isinstance(given.value, float):
            narrow = Literal(dt.FLOAT32, given.value)
        return msgspec.structs.replace(call, args=(narrow, call.args[1]))

    def _turned(self, call: Call) -> Expr:
        """Return `~` of whole numbers as the subtraction that it is.

        INVARIANT: what judges and runs a bound plan meets no bits here: the guard takes such numbers apart as it does others.
        """
        if len(call.args) != 1:
            return call
        inner = bare = call.args[0]
        found = describe(inner, self.schema)
        while isinstance(bare, Alias):
            bare = bare.input
        if isinstance(bare, Literal) and bare.dtype.kind == "DynInt" and -MOST <= ~bare.value < MOST:
            turned = Literal(bare.dtype, ~bare.value)
            return turned if bare is inner else Alias(turned, found.name)
        if not found.dtype.is_integer:
            return call
        bits = found.dtype.kind.removeprefix("UInt")
        ones = Literal(found.dtype, 2 ** int(bits) - 1) if bits.isdigit() else Literal(dt.DYN_INT, -1)
        return Alias(Call("sub", (ones, inner)), found.name)

    def _zip(self, exprs: Sequence[Expr]) -> list[list[Expr]]:
        """Expand side by side: all of one length, or of length one."""
        columns = [self.expand(e, spend=False) for e in exprs]
        lengths = {len(c) for c in columns} - {1}
        if len(lengths) > 1:
            sizes = " and ".join(str(s) for s in sorted(lengths))
            msg = f"Selectors of {sizes} columns meet in one expression."
            raise BindError(msg, code="plan.bind.selector", reason="They must pick equally many columns, or one.")
        size = lengths.pop() if lengths else 1
        self.budget.check_number(size * len(exprs))
        return [[c[0] if len(c) == 1 else c[i] for c in columns] for i in range(size)]
