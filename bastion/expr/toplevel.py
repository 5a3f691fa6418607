"""Top-level functions of the expression namespace: `col`, `lit`, `when` by hand, the rest from the registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from bastion_plan import dtypes as dt
from bastion_plan import expressions as px
from bastion_plan.errors import InputError
from bastion_plan.functions import registry
from bastion_plan.functions.spec import Function

import bastion.expr.methods  # noqa: F401  (gives Expr its methods)
from bastion.expr.binding import build, signature
from bastion.expr.core import Expr, all_of, as_plan, column, no_member, one_column, plans
from bastion.expr.literals import literal
from bastion.expr.selectors import Columns, exclude_from


def _column(name: Any, *more_names: Any) -> Expr:
    """Columns by name, pattern (`^…$`) or data type."""
    plan = column(name, *more_names)
    return Columns(plan) if isinstance(plan, px.Selector) else Expr(plan)


class _Col:
    """`pl.col(…)`, also as `pl.col.name`."""

    __slots__ = ()
    __name__ = "col"
    __doc__ = _column.__doc__

    def __call__(self, name: Any, *more_names: Any) -> Expr:
        return _column(name, *more_names)

    def __getattr__(self, name: str) -> Expr:
        if name.startswith("_"):
            raise AttributeError(name)
        return _column(name)

    def __repr__(self) -> str:
        return "pl.col"


col = _Col()


def lit(value: Any, dtype: Any = None, *, allow_object: bool = False) -> Expr:
    """A constant."""
    del allow_object
    if isinstance(value, Expr):
        return value
    return Expr(literal(value, dtype))


def all(*names: Any, ignore_nulls: bool = True) -> Expr:
    """All columns; with names: whether all values are true."""
    if not names:
        return Columns(px.Selector("all"))
    return _column(*names).all(ignore_nulls=ignore_nulls)  # type: ignore[attr-defined,no-any-return,misc]


def any(*names: Any, ignore_nulls: bool = True) -> Expr:
    """Whether any value is true."""
    return _column(*names).any(ignore_nulls=ignore_nulls)  # type: ignore[attr-defined,no-any-return,misc]


def exclude(columns: Any, *more_columns: Any) -> Expr:
    """All columns but these."""
    return Columns(exclude_from(px.Selector("all"), columns, *more_columns))


def nth(*indices: Any) -> Expr:
    """Columns by position."""
    items = [i for index in indices for i in (index if isinstance(index, list | tuple) else [index])]
    return Columns(px.Selector("by_index", tuple(items)))


def first(*columns: Any) -> Expr:
    """The first column; with names: the first value of each."""
    return _column(*columns).first() if columns else Columns(px.Selector("first"))  # type: ignore[attr-defined,no-any-return,misc]


def last(*columns: Any) -> Expr:
    """The last column; with names: the last value of each."""
    return _column(*columns).last() if columns else Columns(px.Selector("last"))  # type: ignore[attr-defined,no-any-return,misc]


def count(*columns: Any) -> Expr:
    """The number of rows; with names: the number of values that are not null."""
    if columns:
        return _column(*columns).count()  # type: ignore[attr-defined,no-any-return,misc]
    return build(registry.get("pl.len"), (), (), {})


def element() -> NoReturn:
    """Refused: there is no evaluation inside lists."""
    msg = "pl.element is not part of the language."
    raise InputError(msg, code="input.element", next_step="Use the methods of .list, or .explode().")


class When:
    """`pl.when(condition)`: say with `.then(value)` what holds where it is true."""

    __slots__ = ("_earlier", "_predicate")

    def __init__(self, predicate: px.AnyExpr, earlier: tuple[tuple[px.AnyExpr, px.AnyExpr], ...] = ()) -> None:
        self._predicate, self._earlier = predicate, earlier

    def then(self, statement: Any) -> Then:
        """Say what holds where the condition is true."""
        return Then((*self._earlier, (self._predicate, as_plan(statement, string_is_column=True))))

    def __getattr__(self, name: str) -> NoReturn:
        raise no_member("pl.when(…)", name, ["then"])

    def __repr__(self) -> str:
        return "when(…)"


class Then(Expr):
    """`pl.when(…).then(…)`: `.when(…)` goes on, `.otherwise(…)` ends; without an end the rest is null."""

    __slots__ = ("_branches",)
    _branches: tuple[tuple[px.AnyExpr, px.AnyExpr], ...]

    def __init__(self, branches: tuple[tuple[px.AnyExpr, px.AnyExpr], ...]) -> None:
        super().__init__(_chain(branches, px.Literal(dt.NULL)))
        object.__setattr__(self, "_branches", branches)

    def when(self, *predicates: Any, **constraints: Any) -> When:
        """Add a condition for the rows where the earlier ones are not true."""
        return When(all_of(predicates, constraints), self._branches)

    def otherwise(self, statement: Any) -> Expr:
        """Say what holds where no condition is true."""
        return Expr(_chain(self._branches, as_plan(statement, string_is_column=True)))


def _chain(branches: tuple[tuple[px.AnyExpr, px.AnyExpr], ...], end: px.AnyExpr) -> px.AnyExpr:
    for predicate, value in reversed(branches):
        end = px.Ternary(predicate, value, end)
    return end


def when(*predicates: Any, **constraints: Any) -> When:
    """Begin a when-then-otherwise."""
    if not predicates and not constraints:
        msg = "when needs a condition."
        raise InputError(msg, code="input.arguments", next_step='Write pl.when(pl.col("x") > 1).then(…).otherwise(…).')
    return When(all_of(predicates, constraints))


def struct(*exprs: Any, eager: bool = False, schema: Any = None, **named_exprs: Any) -> Expr:
    """Columns as one struct column."""
    del eager, schema
    return Expr(px.Call("pl.struct", plans(exprs, named_exprs)))


def _top(function: Function, name: str) -> Callable[..., Expr]:
    def call(*args: Any, **kwargs: Any) -> Expr:
        kwargs.pop("eager", None)
        return build(function, (), args, kwargs)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"{function.doc}\n\nNulls: {function.nulls}.\n\nGuard: {function.flow} - {function.flow_reason}"
    call.__signature__ = signature(function)  # type: ignore[attr-defined]
    return call


#: methods that Polars also offers as pl.NAME("column", …)
_SHORT = [
    "sum",
    "mean",
    "median",
    "min",
    "max",
    "std",
    "var",
    "n_unique",
    "quantile",
    "cum_sum",
    "approx_n_unique",
    "head",
    "tail",
    "implode",
    "product",
    "mode",
    "null_count",
]


def _short(name: str) -> Callable[..., Expr]:
    def call(*columns: Any, **kwargs: Any) -> Expr:
        if name in {"quantile", "head", "tail"} and len(columns) == 2:
            return getattr(_column(columns[0]), name)(columns[1], **kwargs)  # type: ignore[no-any-return]
        return getattr(_column(*columns), name)(**kwargs)  # type: ignore[no-any-return]

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f'{name} of columns: pl.{name}("x") is pl.col("x").{name}().'
    return call


def functions() -> dict[str, Callable[..., Any]]:
    """Return every top-level function by name: what `bastion.expressions` exposes."""
    out: dict[str, Callable[..., Any]] = {}
    for function in registry.all_functions():
        for spelling in (function.name, *function.aliases):
            if spelling.startswith("pl."):
                out[spelling.removeprefix("pl.")] = _top(function, spelling.removeprefix("pl."))
    methods = {f.name for f in registry.all_functions()}
    out |= {name: _short(name) for name in _SHORT if name in methods and name not in out}
    out |= {f.__name__: f for f in (lit, all, any, exclude, nth, first, last, count, when)} | {"col": col}
    if "pl.struct" in methods:
        out["struct"] = struct
    return out


__all__ = ["Then", "When", "col", "functions", "lit", "one_column", "when"]
