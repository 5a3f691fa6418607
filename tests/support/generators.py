"""Random calls and expressions, well typed, for the tests that hold the product against real Polars.

A case is drawn from one seed, so that it is cheap and the same everywhere. `random_values` draws the frames for them.

    call_for(f, schema) strategy of calls of one registered function over the columns of a schema
    expressions(schema) strategy of nested expressions
    random_…            the same as plain functions of a `random.Random`
"""

from __future__ import annotations

from random import Random
from typing import Any

from bastion_plan import dtypes as t
from bastion_plan.dtypes import DType, Schema
from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, Over, Ternary
from bastion_plan.functions.accepts import fits
from bastion_plan.functions.calls import LEFT_OUT, make_call
from bastion_plan.functions.registry import all_functions, get
from bastion_plan.functions.spec import Arg, Function, Option, Shape
from bastion_plan.typing import describe
from hypothesis import strategies as st
from random_arguments import ARGUMENTS, DECAYS, INPUTS, OPTIONS
from random_values import COLUMNS, maybe, random_value


def random_options(rng: Random, function: Function) -> dict[str, Any]:
    """Return options, each left at its default half of the time."""
    chosen: dict[str, Any] = (
        dict(rng.choice(DECAYS)) if function.name in {"ewm_mean", "ewm_sum", "ewm_std", "ewm_var"} else {}
    )
    for option in function.options:
        if option.name in chosen or (chosen and option.name in {"com", "span", "half_life", "alpha"}):
            continue
        values = OPTIONS.get((function.name, option.name), OPTIONS.get(option.name)) or _option_values(option)
        if (
            option.required
            or option.name in {"seed", "roll", "null_on_oob"}
            or (option.name == "strict" and False in values)
            or rng.random() < 0.5
        ):
            chosen[option.name] = rng.choice(values)
    cuts = next((chosen[name] for name in ("breaks", "quantiles", "ranks") if name in chosen), None)
    if cuts is not None and function.option("labels") and rng.random() < 0.5:
        chosen["labels"] = ("low", "mid", "high", "top")[: len(cuts) + 1]
    return chosen


def _option_values(option: Option) -> list[Any]:
    if option.choices:
        return list(option.choices)
    return [True, False] if option.kind == "bool" else [option.default]


def _literal(rng: Random, dtype: DType) -> Literal:
    if dtype.kind in {"Int64", "Float64"} and rng.random() < 0.6:
        dtype = t.DYN_INT if dtype.kind == "Int64" else t.DYN_FLOAT
    return Literal(dtype, random_value(rng, dtype))


def _one_value(rng: Random, function: Function, arg: Arg, schema: Schema, first: DType | None) -> Expr:
    """An argument that is one value: a constant, or an aggregate of a column."""
    dtype = first if first is not None and fits(arg.accepts, first) else rng.choice([t.INT64, t.FLOAT64, t.STRING])
    if first is not None and first.inner is not None and arg.name == "element":
        dtype = first.inner
    if arg.optional and rng.random() < 0.4:
        return LEFT_OUT
    names = [n for n, d in schema.items() if d == dtype]
    if names and rng.random() < 0.3:
        return Call("first", (Column(rng.choice(names)),))
    return Literal(t.NULL) if dtype.kind == "Null" else _literal(rng, dtype)


def random_argument(rng: Random, function: Function, arg: Arg, schema: Schema, before: list[DType]) -> Expr:
    """Return an argument for a parameter: a column or literal that fits it, most often of the input's type."""
    listed = ARGUMENTS.get((function.name, arg.name), ARGUMENTS.get(arg.name) if arg.name != "input" else None)
    if listed:
        return rng.choice(listed)
    if function.name == "bin_intervals" and arg.name == "intervals":
        low, high = {"Date": (18200, 18500), "String": ("aa", "b")}.get(before[0].kind, (1, 5))
        return Literal(t.list_of(before[0] if before[0].kind in {"Date", "String"} else t.INT64), (low, high))
    first = before[0] if before else None
    if arg.scalar:
        return _one_value(rng, function, arg, schema, first)
    if arg.optional and rng.random() < 0.4:
        return LEFT_OUT
    if function.name in {"is_in"} and first is not None:
        return Literal(t.list_of(first), tuple(maybe(rng, first, 0.1) for _ in range(3)))
    if function.name in {"replace", "replace_strict"} and first is not None:
        return _mapping(rng, arg.name, first)
    names = [
        n
        for n, d in schema.items()
        if fits(arg.accepts, d) and (arg.name != "input" or d.kind != "Null" or rng.random() < 0.2)
    ]
    if arg.name == "input" and function.name in INPUTS:
        names = [n for n in INPUTS[function.name] if n in schema] or names
    if first is not None and rng.random() < 0.8:
        element = first.inner if arg.name in {"item", "element"} and first.inner else first
        names = [n for n in names if schema[n] == element] or names
        if rng.random() < 0.35 and fits(arg.accepts, element) and element.kind != "Null":
            return _literal(rng, element)
    if not names:
        return LEFT_OUT
    return Column(rng.choice(names))


def _mapping(rng: Random, name: str, dtype: DType) -> Expr:
    if name == "default":
        return Literal(t.STRING, "other") if dtype.kind == "String" else Literal(t.NULL)
    if name == "old":
        known = {random_value(Random(seed), dtype) for seed in range(9)}
        return Literal(t.list_of(dtype), tuple(sorted(known, key=repr))[:2])
    new = dtype if rng.random() < 0.7 else t.FLOAT64
    return Literal(t.list_of(new), (random_value(rng, new), random_value(rng, new))[: rng.randrange(1, 3)])


def random_call(rng: Random, function: Function, schema: Schema | None = None, attempts: int = 60) -> Call:
    """Return a well-typed call of a function over the columns of a schema.

    Raises:
        BindError: no attempt was well typed; the reason of the last one.
    """
    columns = COLUMNS if schema is None else schema
    last: BindError | None = None
    for _ in range(attempts):
        args: list[Expr] = []
        dtypes: list[DType] = []
        described = list(function.args)
        if described and described[-1].variadic:
            described += [described[-1]] * (1 if function.name.startswith("struct") else rng.randrange(0, 2))
        if function.name == "pl.format":
            described = described[:1]
        for arg in described:
            args.append(random_argument(rng, function, arg, columns, dtypes))
            dtypes.append(describe(args[-1], columns).dtype)
        try:
            call = make_call(function.name, args, random_options(rng, function))
            describe(call, columns)
        except BindError as error:
            last = error
        else:
            return call
    raise last or AssertionError(function.name)


@st.composite
def call_for(draw: st.DrawFn, function: Function, schema: Schema | None = None) -> Call:
    """Well-typed calls of one registered function over the columns of a schema."""
    return random_call(Random(draw(st.integers(0, 2**64 - 1))), function, schema)


def columns_of(expr: Expr) -> set[str]:
    """Return the names of the columns an expression reads."""
    from bastion_plan.expressions import children

    own = {expr.name} if isinstance(expr, Column) else set()
    return own.union(*(columns_of(child) for child in children(expr)))


# -- nested expressions -----------------------------------------------------------------------------------------------

#: functions whose results are the same however often and in whatever order they are computed, and that rarely fail
STEADY = (
    "add",
    "sub",
    "mul",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "and_",
    "or_",
    "not_",
    "neg",
    "abs",
    "sign",
    "sqrt",
    "exp",
    "floor",
    "ceil",
    "round",
    "is_null",
    "is_not_null",
    "fill_null",
    "is_in",
    "is_between",
    "clip",
    "sum",
    "mean",
    "min",
    "max",
    "count",
    "len",
    "n_unique",
    "null_count",
    "std",
    "var",
    "median",
    "cum_sum",
    "shift",
    "diff",
    "rank",
    "str.len_chars",
    "str.to_uppercase",
    "str.contains",
    "str.starts_with",
    "dt.year",
    "dt.month",
    "dt.weekday",
    "pl.coalesce",
    "pl.sum_horizontal",
    "pl.max_horizontal",
    "list.len",
    "list.sum",
)


def random_expression(rng: Random, schema: Schema, depth: int = 3) -> Expr:
    """Return a well-typed nested expression that gives one value per row, or one in all."""
    for _ in range(80):
        try:
            expr = _expression(rng, schema, depth)
            if describe(expr, schema).shape is not Shape.ANY:
                return expr
        except BindError:
            continue
    return Column(rng.choice(list(schema)))


def _expression(rng: Random, schema: Schema, depth: int) -> Expr:
    if depth == 0 or rng.random() < 0.15:
        return (
            Column(rng.choice(list(schema)))
            if rng.random() < 0.8
            else _literal(rng, rng.choice([t.INT64, t.FLOAT64, t.STRING, t.DATE]))
        )
    style = rng.random()
    if style < 0.08:
        return Alias(_expression(rng, schema, depth - 1), rng.choice(["renamed", "ü", "a b"]))
    if style < 0.16:
        return Cast(_expression(rng, schema, depth - 1), rng.choice([t.FLOAT64, t.INT64, t.STRING]), strict=False)
    if style < 0.26:
        return Ternary(
            _expression(rng, schema, depth - 1),
            _expression(rng, schema, depth - 1),
            _expression(rng, schema, depth - 1),
        )
    if style < 0.32:
        return Over(_expression(rng, schema, depth - 1), (Column(rng.choice(list(schema))),))
    function = get(rng.choice(STEADY))
    args = []
    for arg in (
        function.args if not (function.args and function.args[-1].variadic) else (*function.args, function.args[-1])
    ):
        for _ in range(12):
            candidate = _expression(rng, schema, depth - 1)
            if fits(arg.accepts, describe(candidate, schema).dtype):
                break
        listed = ARGUMENTS.get((function.name, arg.name)) if arg.name != "input" else None
        args.append(rng.choice(listed) if listed else candidate)
    return make_call(function.name, args)


@st.composite
def expressions(draw: st.DrawFn, schema: Schema | None = None, depth: int = 3) -> Expr:
    """Well-typed nested expressions over a schema."""
    return random_expression(Random(draw(st.integers(0, 2**64 - 1))), COLUMNS if schema is None else schema, depth)


FUNCTIONS = tuple(all_functions())
