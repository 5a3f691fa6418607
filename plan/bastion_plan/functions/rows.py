"""Functions that choose, repeat or reorder rows inside an expression, and what shows distinct values."""

from __future__ import annotations

from typing import Any

from bastion_plan.dtypes import BOOLEAN, FLOAT64, UINT32, DType
from bastion_plan.functions.entries import choose, column, elementwise, flag, reduce, value
from bastion_plan.functions.registry import register
from bastion_plan.functions.rules import always, by_kind, inner, listed, same, settle, struct_of, summed, supertype
from bastion_plan.functions.spec import UNKNOWN, Arg, DTypeRule, Flow, Function, Given, Option, Shape

POSITION = "Chooses rows by position: two cuts one row apart differ by that row."
HELD = "A value is shown only if enough units hold it."
SINGLE = "Carries the value of a single row."
EDGES = "Shows the rows at the edge of the order, one by one."
INFLATED = "Makes more rows than there are units, so row counts stop saying how many people are behind them."

_N = value("n", "integer", optional=True, scalar=True)
_K = value("k", "integer", optional=True, string_is_column=True, scalar=True)
_SEED = Option("seed", "int", None, nullable=True, minimum=0, doc="the same seed gives the same rows")


def _counted(given: Given) -> DType:
    share = given.options["normalize"]
    name = given.options["name"] or ("proportion" if share else "count")
    return struct_of((given.names[0], given.first), (name, FLOAT64 if share else UINT32))


def _appended(given: Given) -> DType:
    known = given.values or (UNKNOWN, UNKNOWN)
    return supertype(given.dtypes[0], given.dtypes[1], known[0], known[1])


def _row(
    name: str,
    accepts: str,
    reason: str,
    doc: str,
    *more: Arg,
    shape: Shape = Shape.ANY,
    result: DTypeRule = same,
    **rest: Any,
) -> Function:
    return Function(name, (column(accepts), *more), result, Flow.ROW, reason, doc, shape=shape, **rest)


register(
    [
        choose(
            "filter",
            "any",
            "A predicate inside an aggregate: it defines the population of what is computed.",
            "Values for which all predicates are true.",
            value("predicates", "boolean", variadic=True, string_is_column=True),
            nulls="a null predicate drops the row",
        ),
        choose(
            "drop_nulls",
            "any",
            "Chooses rows by whether the value is there: a predicate.",
            "Values that are not null.",
            nulls="nulls are dropped",
        ),
        choose(
            "drop_nans",
            "number",
            "Chooses rows by whether the value is NaN: a predicate.",
            "Values that are not NaN.",
        ),
        choose("head", "any", POSITION, "First n values.", _N),
        choose("tail", "any", POSITION, "Last n values.", _N),
        choose("limit", "any", POSITION, "First n values.", _N),
        choose(
            "slice",
            "any",
            POSITION,
            "Values from a position on.",
            value("offset", "integer", scalar=True),
            value("length", "integer", optional=True, scalar=True),
        ),
        choose(
            "gather_every",
            "any",
            POSITION,
            "Every n-th value.",
            options=(Option("n", "int", required=True, minimum=1), Option("offset", "int", 0, minimum=0)),
        ),
        _row(
            "gather",
            "any",
            SINGLE,
            "Values at positions.",
            value("indices", "integer or list of integer", string_is_column=True, list_is_column=True),
            options=(flag("null_on_oob"),),
        ),
        _row(
            "get",
            "any",
            SINGLE,
            "Value at a position.",
            value("index", "integer", string_is_column=True, scalar=True),
            options=(flag("null_on_oob"),),
            shape=Shape.ONE,
        ),
        _row(
            "item",
            "any",
            SINGLE,
            "The only value.",
            options=(flag("allow_empty"),),
            shape=Shape.ONE,
        ),
        _row(
            "min_by",
            "any",
            SINGLE,
            "Value in the row where another column is smallest.",
            value("by", "comparable", string_is_column=True),
            shape=Shape.ONE,
            sql=("min_by", "arg_min"),
        ),
        _row(
            "max_by",
            "any",
            SINGLE,
            "Value in the row where another column is largest.",
            value("by", "comparable", string_is_column=True),
            shape=Shape.ONE,
            sql=("max_by", "arg_max"),
        ),
        _row("top_k", "comparable", EDGES, "The k largest values.", _K),
        _row("bottom_k", "comparable", EDGES, "The k smallest values.", _K),
        _row(
            "top_k_by",
            "any",
            EDGES,
            "Values in the k rows where another column is largest.",
            value("by", "comparable", string_is_column=True),
            _K,
            options=(flag("reverse"),),
        ),
        _row(
            "bottom_k_by",
            "any",
            EDGES,
            "Values in the k rows where another column is smallest.",
            value("by", "comparable", string_is_column=True),
            _K,
            options=(flag("reverse"),),
        ),
        _row(
            "arg_unique",
            "any",
            "Positions of single rows.",
            "Positions of the first of each distinct value.",
            result=always(UINT32),
            nulls="null counts as one value",
        ),
        _row(
            "arg_true",
            "boolean",
            "Positions of single rows.",
            "Positions of true values.",
            result=always(UINT32),
        ),
        _row(
            "explode",
            "list or array",
            INFLATED,
            "One row per element.",
            result=inner,
            options=(flag("empty_as_null"), flag("keep_nulls", True)),
        ),
        _row(
            "append",
            "any",
            INFLATED,
            "The rows of another column behind those of this.",
            value("other", string_is_column=True),
            result=_appended,
        ),
        _row(
            "extend_constant",
            "any",
            INFLATED + " Made-up rows also pad small populations.",
            "A constant n times behind the values.",
            value("value", scalar=True),
            value("n", "integer", string_is_column=True, scalar=True),
        ),
        _row(
            "search_sorted",
            "comparable",
            "The rank of a chosen value among the rows, found by comparing with them one by one.",
            "Position at which a value would be inserted.",
            value("element", "any", list_is_column=True, scalar=True),
            result=always(UINT32),
            options=(Option("side", "str", "any", choices=("any", "left", "right")), flag("descending")),
        ),
        _row(
            "index_of",
            "flat",
            "The position of a single row.",
            "Position of the first value equal to another.",
            value("element", "flat", scalar=True),
            result=always(UINT32),
            shape=Shape.ONE,
        ),
        _row(
            "is_sorted",
            "comparable",
            "One bit that depends on every single row.",
            "Whether the values are in order.",
            result=always(BOOLEAN),
            shape=Shape.ONE,
            options=(flag("descending"), flag("nulls_last")),
        ),
        _row(
            "dot",
            "number",
            "A sum weighted by another column: weights of zeros and a one give a single row.",
            "Sum of the products of two columns.",
            value("other", "number", string_is_column=True),
            result=lambda g: summed(Given((_appended(g),))),
            shape=Shape.ONE,
            nulls="pairs with a null are skipped",
        ),
        *(
            _row(
                f"bitwise_{name}",
                "integer or boolean",
                "Packs single bits of rows into one number.",
                doc,
                shape=Shape.ONE,
                nulls="nulls are skipped",
            )
            for name, doc in (
                ("and", "Bitwise and of all values."),
                ("or", "Bitwise or of all values."),
                ("xor", "Bitwise exclusive or of all values."),
            )
        ),
        Function(
            "sample",
            (
                column(),
                value("n", "integer", optional=True, string_is_column=True, scalar=True),
                value("fraction", "number", optional=True, keyword=True, string_is_column=True, scalar=True),
            ),
            same,
            Flow.WINDOW,
            "A new random draw at each query averages any protection away; a chosen seed names single rows.",
            "Random values.",
            options=(flag("with_replacement"), Option("shuffle", "bool", None, nullable=True), _SEED),
            shape=Shape.ANY,
        ),
        Function(
            "unique",
            (column(),),
            same,
            Flow.TIED,
            HELD,
            "Distinct values.",
            options=(flag("maintain_order"),),
            shape=Shape.ANY,
            nulls="null counts as one value",
            sql=("distinct",),
        ),
        Function(
            "unique_counts",
            (column(),),
            always(UINT32),
            Flow.TIED,
            "Numbers of holders of each value; shown only if they are enough.",
            "How often each distinct value occurs, in order of appearance.",
            shape=Shape.ANY,
            nulls="null counts as one value",
        ),
        Function(
            "value_counts",
            (column(),),
            _counted,
            Flow.TIED,
            HELD,
            "Distinct values and how often each occurs.",
            options=(flag("sort"), flag("parallel"), Option("name", "str", None, nullable=True), flag("normalize")),
            shape=Shape.ANY,
            nulls="null counts as one value",
        ),
        Function(
            "mode",
            (column(),),
            same,
            Flow.TIED,
            HELD,
            "The most frequent values.",
            options=(flag("maintain_order"),),
            shape=Shape.ANY,
            nulls="null counts as one value",
            sql=("mode",),
        ),
        reduce(
            "approx_quantile",
            "number",
            same,
            Flow.ORDER,
            "The value of one row near a rank; released only as an interval that holds enough units.",
            "Value near a quantile, found in little memory.",
            options=(
                Option("quantile", "float", required=True, minimum=0, maximum=1),
                Option("error", "float", 0.001, minimum=0.0001, maximum=0.5),
            ),
        ),
        reduce(
            "is_empty",
            "any",
            always(BOOLEAN),
            Flow.EXTREME,
            "One bit that a single row can turn.",
            "Whether there are no values.",
            options=(flag("ignore_nulls"),),
        ),
        elementwise(
            "repeat_by",
            "any",
            listed,
            "The value n times, as a list.",
            value("by", "integer", string_is_column=True),
            reason="Row by row, but exploded it makes more rows than there are units.",
        ),
    ]
)

_PHYSICAL = by_kind(
    same, Date=DType("Int32"), Time=DType("Int64"), Datetime=DType("Int64"), Duration=DType("Int64"), Categorical=UINT32,
    Decimal=DType("Int128"), Enum=lambda g: DType("UInt8" if len(g.first.categories) <= 255 else "UInt16" if len(g.first.categories) <= 65535 else "UInt32"),
)  # fmt: skip


def _reinterpreted(given: Given) -> DType:
    bits = given.first.kind.removeprefix("U").removeprefix("Int")
    return DType(("Int" if given.options["signed"] else "UInt") + bits)


register(
    [
        elementwise(
            "hash",
            "any",
            always(DType("UInt64")),
            "A 64-bit hash.",
            reason="Row by row and one to one in practice: a hash names its value to anyone who can guess it.",
            options=(Option("seed", "int", 0, minimum=0),),
            nulls="null has a hash too",
        ),
        elementwise(
            "to_physical",
            "flat",
            _PHYSICAL,
            "The number a date, time or category is stored as.",
            reason="Row by row and one to one: knowing the result is knowing the value.",
        ),
        elementwise(
            "reinterpret",
            "integer",
            _reinterpreted,
            "The same bits read as signed or unsigned.",
            reason="Row by row and one to one: knowing the result is knowing the value.",
            options=(Option("signed", "bool", required=True),),
        ),
        *(
            Function(
                f"{side}_bound",
                (column("number"),),
                lambda g: settle(g.first),
                Flow.GENERATOR,
                "A constant of the type; no row is read.",
                f"{what} value of the type.",
                shape=Shape.ONE,
                nulls="never null",
            )
            for side, what in (("lower", "Smallest"), ("upper", "Largest"))
        ),
    ]
)
