"""The register says what Polars 2.1 says: parameters, defaults, keywords, and what a bare string means."""

from __future__ import annotations

import inspect
import math
from typing import Any

import polars as pl
import pytest
from bastion_plan.functions.packing import unpack
from bastion_plan.functions.refused import REFUSED
from bastion_plan.functions.registry import find
from bastion_plan.functions.spec import Function
from direct import callee, polars_type
from generators import FUNCTIONS

#: entries that stand for one use of a Polars method which has more of them
OWN = {"fill_null_strategy"}

#: parameters of Polars that plans do not have, with the reason
LEFT_OUT: dict[tuple[str, str], str] = {
    ("fill_null", "strategy"): "fill_null_strategy", ("fill_null", "limit"): "fill_null_strategy",
    ("filter", "constraints"): "written as predicates", ("sort_by", "more_by"): "by is variadic", ("sort_by", "multithreaded"): "the server's business",
    ("pl.arg_sort_by", "more_exprs"): "exprs is variadic", ("pl.arg_sort_by", "multithreaded"): "the server's business",
    ("struct.with_fields", "named_exprs"): "written with alias()", ("pl.struct", "named_exprs"): "written with alias()",
    ("pl.struct", "schema"): "written with cast()", ("diff", "null_behavior"): "drop changes the number of rows", ("list.diff", "null_behavior"): "drop changes the lengths",
    ("reinterpret", "dtype"): "signed says it", ("dt.is_business_day", "holidays"): "no way yet to write lists of dates as options",
    ("dt.add_business_days", "holidays"): "no way yet to write lists of dates as options", ("pl.business_day_count", "holidays"): "no way yet to write lists of dates as options",
    ("arr.head", "as_array"): "the length would have to be constant", ("arr.tail", "as_array"): "the length would have to be constant", ("arr.slice", "as_array"): "the length would have to be constant",
    ("approx_quantile", "method"): "the server's business", ("approx_quantile", "error_tightness"): "the server's business",
    ("append", "upcast"): "always",
    ("pl.repeat", "dtype"): "written with cast()",
}  # fmt: skip
#: left out everywhere: variadic, lazy only, and weights, with which the engine stops at the first null
MORE = {"weights", "more_exprs", "more_names", "eager"}

#: options with other defaults than Polars', or none
OTHER_DEFAULTS = {("list.gather_every", "offset"), ("fill_null_strategy", "strategy"), ("pl.duration", "time_unit")}


def signature(function: Function) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(callee(function.name, pl.col("a"))).parameters)


@pytest.mark.parametrize("function", [f for f in FUNCTIONS if f.name not in OWN], ids=lambda f: f.name)
def test_parameters_and_defaults_are_those_of_polars(function: Function) -> None:
    theirs = signature(function)
    args = function.args[1:] if function.method else function.args
    for arg in args:
        assert arg.name in theirs, arg.name
        parameter = theirs[arg.name]
        assert arg.keyword == (parameter.kind is inspect.Parameter.KEYWORD_ONLY), arg.name
        if arg.optional:
            assert parameter.default is not inspect.Parameter.empty, arg.name
    for option in function.options:
        assert option.name in theirs, option.name
        default = theirs[option.name].default
        if option.required or (function.name, option.name) in OTHER_DEFAULTS:
            continue
        assert _same(option.kind, option.default, default), (option.name, option.default, default)
    named = {a.name for a in args} | {o.name for o in function.options}
    missing = {n for n in theirs if n not in named and n not in MORE and (function.name, n) not in LEFT_OUT}
    assert not missing


def _same(kind: str, ours: Any, theirs: Any) -> bool:
    if kind == "dtype" and ours is not None:
        return polars_type(unpack(ours)) == theirs
    if kind == "bools":
        return tuple(theirs) == ours if not isinstance(theirs, bool) else (theirs,) == ours
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs)
    return ours == theirs and isinstance(ours, bool) == isinstance(theirs, bool)


STRINGS = [
    (f, a)
    for f in FUNCTIONS
    for a in (f.args[1:] if f.method else f.args)
    if not a.constant and f.name not in {"pl.repeat", "str.to_integer", "tail"} | OWN
]


@pytest.mark.parametrize(("function", "arg"), STRINGS, ids=lambda x: x.name)
def test_a_bare_string_means_what_polars_takes_it_for(function: Function, arg: Any) -> None:
    """The same call with a string, a column of that name, and a literal: the string equals the one the register says."""

    def call(value: Any) -> pl.Expr | None:
        positional, keywords = [], {}
        for other in function.args[1:] if function.method else function.args:
            given = value if other is arg else pl.lit(1)
            if other is not arg and other.optional:
                continue
            (
                keywords.__setitem__(other.name, given)
                if other.keyword or (other.optional and not other.variadic)
                else positional.append(given)
            )
        for option in function.options:
            if option.required:
                keywords[option.name] = _required(function, option.name, option.kind, option.choices)
        try:
            if function.name in {"pl.format"}:
                return pl.format(keywords["f_string"], *positional)
            return callee(function.name, pl.col("a"))(*positional, **keywords)
        except (TypeError, ValueError, AttributeError):
            return None

    bare, column, literal = call("b"), call(pl.col("b")), call(pl.lit("b"))
    if bare is None:  # Polars takes no string here at all
        return
    expected = column if arg.string_is_column else literal
    assert bare.meta.serialize(format="json") == expected.meta.serialize(format="json")


def _required(function: Function, name: str, kind: str, choices: tuple[Any, ...]) -> Any:
    if choices:
        return choices[0]
    if function.name == "pl.format":
        return "{}"
    if name == "labels":
        return False
    return {"int": 1, "float": 0.5, "str": "1d", "strings": ["x"], "numbers": [0.5], "bool": True}[kind]


def test_nothing_that_polars_offers_is_forgotten() -> None:
    offered = {n for n in dir(pl.Expr) if not n.startswith("_")} - pl.Expr._accessors
    # other packages may add name spaces of their own (opendp does)
    for space in (x for x in pl.Expr._accessors if type(getattr(pl.col("a"), x)).__module__.startswith("polars.")):
        offered |= {f"{space}.{n}" for n in dir(getattr(pl.col("a"), space)) if not n.startswith("_")}
    import polars.functions

    offered |= {f"pl.{n}" for n in dir(polars.functions) if not n.startswith("_") and callable(getattr(pl, n, None))}
    known = {n for n in offered if find(n) is not None}
    assert not offered - known - set(REFUSED), "neither registered nor left out with a reason"
    assert not set(REFUSED) - offered - set(pl.Expr._accessors), "left out, but not there"
    assert not {f.name for f in FUNCTIONS} - offered - OWN, "registered, but not there"
    assert all(reason.endswith(".") for reason in REFUSED.values())
