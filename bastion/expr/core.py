"""The expression object: immutable, made of plan nodes, with Polars' operators; its methods come from the registry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, NoReturn

import polars as pl
from bastion_plan import dtypes as dt
from bastion_plan import expressions as px
from bastion_plan.dtypes import DType
from bastion_plan.errors import BindError, InputError, LanguageError, LimitError, did_you_mean

from bastion.expr.dtypes import to_dtype
from bastion.expr.literals import literal


class NoSuchMember(BindError, AttributeError):
    """A method or attribute that does not exist; both a `BindError` and an `AttributeError`."""

    default_code = "plan.bind.member"


class NotAValue(BindError, TypeError):
    """An expression used as if it were a value (in `if`, `and`, `or`, `not`, `len`, iteration)."""

    default_code = "plan.bind.truth"


class NoPython(LanguageError):
    """A Python function where the data is out of its reach."""

    default_code = "language.udf"


#: Polars' methods that run Python code on values, and what to write instead
PYTHON_METHODS = {
    "map_elements": "Use expressions: when/then/otherwise, replace, str.*, dt.*.",
    "map_batches": "Use expressions: arithmetic, rolling_*, cum_*, rank, over.",
    "map_groups": "Use .agg(…) with expressions.",
    "map_dict": "Use .replace({old: new}).",
    "map": "Use expressions: when/then/otherwise, replace, str.*, dt.*.",
    "apply": "Use expressions: when/then/otherwise, replace, str.*, dt.*.",
    "rolling_map": "Use rolling_mean, rolling_sum, rolling_min, rolling_max, rolling_std, rolling_median, rolling_quantile.",
    "fold": "Use sum_horizontal, min_horizontal, max_horizontal, all_horizontal, any_horizontal.",
    "reduce": "Use sum_horizontal, min_horizontal, max_horizontal, all_horizontal, any_horizontal.",
    "cum_fold": "Use cum_sum.",
    "cum_reduce": "Use cum_sum.",
}


def refuse_python(name: str) -> NoReturn:
    """Refuse a method that would run a Python function beside the data."""
    msg = f"{name} runs a Python function on the values, and no Python runs beside the data."
    raise NoPython(msg, next_step=PYTHON_METHODS.get(name, "Use expressions."), details={"name": name})


def no_member(owner: str, name: str, known: Iterable[str], *, note: str = "", step: str = "") -> NoSuchMember:
    """Return the error for an unknown member. note: why; step: what to write, else a did-you-mean from `known`."""
    msg = f"{owner} has no {name!r}."
    hint = step or did_you_mean(name, [k for k in known if not k.startswith("_")])
    return NoSuchMember(msg, reason=note, next_step=hint, details={"name": name})


class Expr:
    """An expression over columns, as in Polars. Immutable; holds a plan expression, never a value.

    >>> str((col("Age") + 1).mean())
    'col("Age").add(1).mean()'
    """

    __slots__ = ("_plan",)
    _plan: px.AnyExpr

    def __init__(self, plan: px.Expr) -> None:
        check_size(plan)
        object.__setattr__(self, "_plan", plan)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        msg = "An expression cannot be changed."
        raise InputError(msg, code="input.immutable", next_step="Every method returns a new expression.")

    __delattr__ = __setattr__  # type: ignore[assignment]

    @property
    def plan(self) -> px.AnyExpr:
        """The plan's expression."""
        return self._plan

    def __reduce__(self) -> NoReturn:
        msg = "Expressions are not pickled."
        raise TypeError(msg)

    def __bool__(self) -> NoReturn:
        msg = "An expression has no truth value, because its rows are on the server."
        raise NotAValue(
            msg,
            next_step="Use & for and, | for or, ~ for not, with each comparison in parentheses, (a > 1) & (b == 2), and "
            "pl.when(…).then(…).otherwise(…) for if.",
        )

    def __iter__(self) -> Iterator[Any]:
        msg = "An expression cannot be looped over, because its rows are on the server."
        raise NotAValue(msg, next_step="Select the columns you want and fetch the result.")

    def __len__(self) -> NoReturn:
        msg = "An expression has no length here, because its rows are on the server."
        raise NotAValue(msg, next_step="Use pl.len() or .len() inside select.")

    def __contains__(self, item: Any) -> NoReturn:
        msg = "`in` does not work on an expression, because its rows are on the server."
        raise NotAValue(msg, next_step="Use .is_in([…]), or .str.contains(…).")

    def __getattr__(self, name: str) -> NoReturn:
        if name in PYTHON_METHODS:
            refuse_python(name)
        raise no_member("An expression", name, dir(type(self)))

    def __repr__(self) -> str:
        return show(self._plan)

    # ---- operators ---------------------------------------------------------------------------------------------------

    def _binary(self, function: str, other: Any, *, swap: bool = False) -> Expr:
        mine, theirs = self._plan, as_plan(other)
        return Expr(px.Call(function, (theirs, mine) if swap else (mine, theirs)))

    def __add__(self, other: Any) -> Expr:
        return self._binary("add", other)

    def __radd__(self, other: Any) -> Expr:
        return self._binary("add", other, swap=True)

    def __sub__(self, other: Any) -> Expr:
        return self._binary("sub", other)

    def __rsub__(self, other: Any) -> Expr:
        return self._binary("sub", other, swap=True)

    def __mul__(self, other: Any) -> Expr:
        return self._binary("mul", other)

    def __rmul__(self, other: Any) -> Expr:
        return self._binary("mul", other, swap=True)

    def __truediv__(self, other: Any) -> Expr:
        return self._binary("truediv", other)

    def __rtruediv__(self, other: Any) -> Expr:
        return self._binary("truediv", other, swap=True)

    def __floordiv__(self, other: Any) -> Expr:
        return self._binary("floordiv", other)

    def __rfloordiv__(self, other: Any) -> Expr:
        return self._binary("floordiv", other, swap=True)

    def __mod__(self, other: Any) -> Expr:
        return self._binary("mod", other)

    def __rmod__(self, other: Any) -> Expr:
        return self._binary("mod", other, swap=True)

    def __pow__(self, other: Any) -> Expr:
        return self._binary("pow", other)

    def __rpow__(self, other: Any) -> Expr:
        return self._binary("pow", other, swap=True)

    def __and__(self, other: Any) -> Expr:
        return self._binary("and_", other)

    def __rand__(self, other: Any) -> Expr:
        return self._binary("and_", other, swap=True)

    def __or__(self, other: Any) -> Expr:
        return self._binary("or_", other)

    def __ror__(self, other: Any) -> Expr:
        return self._binary("or_", other, swap=True)

    def __xor__(self, other: Any) -> Expr:
        return self._binary("xor", other)

    def __rxor__(self, other: Any) -> Expr:
        return self._binary("xor", other, swap=True)

    def __eq__(self, other: Any) -> Expr:  # type: ignore[override]
        return self._binary("eq", other)

    def __ne__(self, other: Any) -> Expr:  # type: ignore[override]
        return self._binary("ne", other)

    def __lt__(self, other: Any) -> Expr:
        return self._binary("lt", other)

    def __le__(self, other: Any) -> Expr:
        return self._binary("le", other)

    def __gt__(self, other: Any) -> Expr:
        return self._binary("gt", other)

    def __ge__(self, other: Any) -> Expr:
        return self._binary("ge", other)

    def __neg__(self) -> Expr:
        return Expr(px.Call("neg", (self._plan,)))

    def __pos__(self) -> Expr:
        return self

    def __invert__(self) -> Expr:
        return Expr(px.Call("not_", (self._plan,)))

    def __abs__(self) -> Expr:
        return Expr(px.Call("abs", (self._plan,)))

    #: by identity: a selector may be a key of `cast({…})`
    __hash__ = object.__hash__


#: parts and levels of one expression; the server decodes no larger plan
MAX_PARTS, MAX_LEVELS = 10_000, 64


def check_size(plan: px.Expr) -> None:
    """Refuse an expression that grew too large (shared parts count each time).

    Raises:
        LimitError: over 10,000 parts or 64 levels.
    """
    stack, parts = [(plan, 1)], 0
    while stack:
        item, level = stack.pop()
        parts += 1
        if level > MAX_LEVELS:
            msg = f"The expression is nested deeper than {MAX_LEVELS} levels."
            raise LimitError(
                msg, code="plan.limit.depth", next_step="Use pl.sum_horizontal(…), or several with_columns."
            )
        if parts > MAX_PARTS:
            msg = f"The expression has more than {MAX_PARTS:,} parts."
            raise LimitError(msg, code="plan.limit.nodes", next_step="Compute parts of it with with_columns first.")
        stack.extend((child, level + 1) for child in px.children(item))


def column(name: Any, *more: Any) -> px.AnyExpr:
    """Return the plan's form of `pl.col(name, *more)`: one column, several, a pattern, all, or columns by type."""
    names = [*name, *more] if isinstance(name, list | tuple | set | frozenset) else [name, *more]
    if len(names) == 1 and not isinstance(name, list | tuple | set | frozenset) and isinstance(name, str):
        return one_column(name)
    if not names:
        msg = "col needs a column name or a data type."
        raise InputError(msg, code="input.column", next_step='Write pl.col("name").')
    if all(isinstance(n, str) for n in names):
        if any(_is_pattern(n) for n in names):
            parts = tuple(_as_selector(one_column(n)) for n in names)
            return px.Selector("union", of=parts) if len(parts) > 1 else parts[0]
        return px.Selector("by_name", tuple(names))
    if any(isinstance(n, str) for n in names):
        msg = "col takes names or data types, not both at once."
        raise InputError(msg, code="input.column", next_step="Use pl.selectors: cs.by_name(…) | cs.by_dtype(…).")
    return px.Selector("by_dtype", dtypes=tuple(selector_dtype(n) for n in names))


def selector_dtype(value: Any) -> DType:
    """Return the type a selector by dtype asks for. A class without parameters (pl.Datetime) matches all of its kind."""
    if isinstance(value, type) and issubclass(value, pl.DataType):
        return DType(value.__name__)
    return to_dtype(value)


def one_column(name: str) -> px.AnyExpr:
    """Return a column; `*` and `^…$` are selectors, as in Polars."""
    if name == "*":
        return px.Selector("all")
    if _is_pattern(name):
        return px.Selector("regex", (name,))
    return px.Column(name)


def _is_pattern(name: str) -> bool:
    return name == "*" or (len(name) > 1 and name.startswith("^") and name.endswith("$"))


def _as_selector(plan: px.Expr) -> px.Selector:
    return plan if isinstance(plan, px.Selector) else px.Selector("by_name", (plan.name,))  # type: ignore[attr-defined]


def as_plan(value: Any, *, string_is_column: bool = False) -> px.AnyExpr:
    """Return the plan's expression of an expression object, a real `pl.Expr`, or a Python value (a literal).

    Args:
        value: what the caller wrote.
        string_is_column: whether a bare string names a column.
    """
    if isinstance(value, Expr):
        return value._plan
    if isinstance(value, px.Expr):
        return value  # type: ignore[return-value]
    if isinstance(value, str) and string_is_column:
        return one_column(value)
    if isinstance(value, pl.Expr) or (type(value).__module__.startswith("polars.") and hasattr(value, "meta")):
        from bastion.expr.translate import translate

        return translate(value)
    if callable(value) and not isinstance(value, type):
        refuse_python("A function")
    return literal(value)


def plans(
    values: Iterable[Any], named: dict[str, Any] | None = None, *, string_is_column: bool = True
) -> tuple[px.AnyExpr, ...]:
    """Return plan expressions of `*exprs, **named_exprs` as Polars takes them: lists are flattened, keywords alias."""
    out: list[px.AnyExpr] = []
    for value in values:
        if isinstance(value, Iterable) and not isinstance(value, str | bytes | dict | Expr | pl.Series | pl.Expr):
            out.extend(as_plan(v, string_is_column=string_is_column) for v in value)
        else:
            out.append(as_plan(value, string_is_column=string_is_column))
    out.extend(px.Alias(as_plan(v, string_is_column=string_is_column), k) for k, v in (named or {}).items())
    return tuple(out)


def all_of(predicates: Iterable[Any], constraints: dict[str, Any] | None = None) -> px.AnyExpr:
    """Return the conjunction of predicates and `column=value` constraints, as `filter` takes them."""
    parts = list(plans(predicates))
    parts += [px.Call("eq", (px.Column(k), as_plan(v))) for k, v in (constraints or {}).items()]
    if not parts:
        return px.Literal(dt.BOOLEAN, True)
    whole = parts[0]
    for part in parts[1:]:
        whole = px.Call("and_", (whole, part))
    return whole


_UNITS = (
    ("w", 604_800_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("us", 1),
)


def duration_text(value: Any) -> Any:
    """Return a timedelta as Polars' duration text ("1d12h"); other values as they are."""
    if not isinstance(value, timedelta):
        return value
    micro = (value.days * 86_400 + value.seconds) * 10**6 + value.microseconds
    sign, micro = ("-", -micro) if micro < 0 else ("", micro)
    text = ""
    for unit, size in _UNITS:
        count, micro = divmod(micro, size)
        text += f"{count}{unit}" if count else ""
    return sign + (text or "0us")


_NAME = re.compile(r"[^\W\d]\w*\Z")


def show(plan: px.Expr) -> str:
    """Return a plan expression in Polars' spelling, for reprs and messages."""
    match plan:
        case px.Column(name=name):
            return f'col("{name}")'
        case px.Literal(dtype=dtype, value=value):
            return (
                repr(value) if dtype.kind in {"DynInt", "DynFloat", "String", "Boolean", "Null"} else f"lit({value!r})"
            )
        case px.Alias(input=inner, name=name):
            return f'{show(inner)}.alias("{name}")'
        case px.Cast(input=inner, dtype=dtype):
            return f"{show(inner)}.cast({dtype})"
        case px.Ternary(predicate=p, truthy=t, falsy=f):
            return f"when({show(p)}).then({show(t)}).otherwise({show(f)})"
        case px.Over(input=inner, partition_by=keys):
            return f"{show(inner)}.over({', '.join(map(show, keys))})"
        case px.NameChange(input=inner, kind=kind, values=values):
            return f"{show(inner)}.name.{kind}({', '.join(map(repr, values))})"
        case px.Selector(kind=kind, values=values, dtypes=dtypes, of=of):
            return f"cs.{kind}({', '.join([*map(repr, values), *map(str, dtypes), *map(show, of)])})"
        case px.Call(function=function, args=args, options=options):
            named = [f"{k}={v!r}" for k, v in options]
            if function.startswith("pl.") or not args:
                return f"{function.removeprefix('pl.')}({', '.join([*map(show, args), *named])})"
            return f"{show(args[0])}.{function}({', '.join([*map(show, args[1:]), *named])})"
    return repr(plan)
