"""Numbers row by row: elementary functions, rounding, missing values, bits."""

from __future__ import annotations

from bastion_plan.dtypes import BOOLEAN, UINT32, DType
from bastion_plan.functions.entries import column, elementwise, value
from bastion_plan.functions.registry import register
from bastion_plan.functions.rules import always, float_of, mismatch, same, supertype, supertype_of_all
from bastion_plan.functions.spec import Flow, Function, Given, Option

MONOTONE = "Row by row and one to one: knowing the result is knowing the value."
FOLD = "Row by row; it folds values together, so it acts as a binning of its column."
COARSER = "Row by row; neighbouring values become one, so it is a binning of its column."


def _rounded(given: Given) -> DType:
    t = given.first
    if t.kind == "Decimal" and given.options.get("decimals", 0) < (t.scale or 0):
        return DType("Decimal", precision=min(38, (t.precision or 38) + 1), scale=t.scale)
    return t


def _clipped(given: Given) -> DType:
    for bound in given.dtypes[1:]:
        alike = bound.kind == given.first.kind or (bound.is_numeric and given.first.is_numeric) or bound.kind == "Null"
        if not alike:
            raise mismatch(given.first, bound)
    return given.first


def _math(
    name: str,
    doc: str,
    reason: str = MONOTONE,
    sql: tuple[str, ...] | None = None,
    accepts: str = "number",
    **rest: object,
) -> Function:
    return elementwise(name, accepts, float_of, doc, reason=reason, sql=(name,) if sql is None else sql, **rest)


register(
    [
        elementwise(
            "abs",
            "numeric or duration",
            same,
            "Absolute value.",
            reason=FOLD,
            sql=("abs",),
            aliases=("__abs__",),
        ),
        elementwise("sign", "numeric", same, "-1, 0 or 1 by the sign.", reason=FOLD, sql=("sign",)),
        _math("sqrt", "Square root; NaN for negative numbers."),
        _math("cbrt", "Cube root."),
        _math(
            "exp",
            "e to the power of the value.",
            "Row by row, and it blows one large value up over all others, so a sum of it can spell out its largest row.",
        ),
        Function(
            "log",
            (column("number"), value("base", "number", optional=True, string_is_column=True)),
            float_of,
            Flow.ELEMENTWISE,
            "Row by row; with a constant base it is one to one, with a column as base it mixes their values.",
            "Logarithm; base e unless given.",
            sql=("ln", "log"),
        ),
        _math("log10", "Logarithm to base 10.", sql=("log10",)),
        _math("log1p", "Natural logarithm of one plus the value.", sql=("log1p",)),
        _math("sin", "Sine of an angle in radians.", FOLD),
        _math("cos", "Cosine of an angle in radians.", FOLD),
        _math("tan", "Tangent of an angle in radians.", FOLD),
        _math("cot", "Cotangent of an angle in radians.", FOLD),
        _math("arcsin", "Angle in radians whose sine is the value.", sql=("asin",)),
        _math("arccos", "Angle in radians whose cosine is the value.", sql=("acos",)),
        _math("arctan", "Angle in radians whose tangent is the value.", sql=("atan",)),
        _math("sinh", "Hyperbolic sine."),
        _math("cosh", "Hyperbolic cosine.", FOLD),
        _math("tanh", "Hyperbolic tangent."),
        _math("arcsinh", "Inverse of the hyperbolic sine.", sql=("asinh",)),
        _math("arccosh", "Inverse of the hyperbolic cosine.", sql=("acosh",)),
        _math("arctanh", "Inverse of the hyperbolic tangent.", sql=("atanh",)),
        _math("degrees", "Radians as degrees.", "Row by row and affine: judged as its column."),
        _math("radians", "Degrees as radians.", "Row by row and affine: judged as its column."),
        _math("erf", "Error function."),
        _math("erfc", "One minus the error function."),
        elementwise(
            "floor",
            "numeric",
            _rounded,
            "Rounded down to a whole number.",
            reason=COARSER,
            sql=("floor",),
        ),
        elementwise(
            "ceil",
            "numeric",
            _rounded,
            "Rounded up to a whole number.",
            reason=COARSER,
            sql=("ceil", "ceiling"),
        ),
        elementwise(
            "round",
            "numeric",
            _rounded,
            "Rounded to a number of decimals.",
            reason=COARSER,
            options=(
                Option("decimals", "int", 0, minimum=0, maximum=38),
                Option("mode", "str", "half_to_even", choices=("half_to_even", "half_away_from_zero")),
            ),
            sql=("round",),
        ),
        elementwise(
            "round_sig_figs",
            "number",
            same,
            "Rounded to a number of significant digits.",
            reason=COARSER,
            options=(Option("digits", "int", required=True, minimum=1, maximum=300),),
        ),
        elementwise(
            "truncate",
            "numeric",
            same,
            "Cut off after a number of decimals, towards zero.",
            reason=COARSER,
            options=(Option("decimals", "int", 0, minimum=0, maximum=38),),
            sql=("trunc",),
        ),
        Function(
            "clip",
            (
                column("numeric or temporal"),
                value("lower_bound", "numeric or temporal", optional=True, string_is_column=True),
                value("upper_bound", "numeric or temporal", optional=True, string_is_column=True),
            ),
            _clipped,
            Flow.ELEMENTWISE,
            "Row by row; outside the owner's bounds a moving clip is a scan for single values.",
            "Limited to lie between two bounds.",
        ),
    ]
)

NULLITY = "Row by row; whether a value is missing is itself a fact of the row, and the result acts as a predicate."

register(
    [
        elementwise(
            "is_null",
            "any",
            always(BOOLEAN),
            "Whether the value is missing.",
            reason=NULLITY,
            nulls="null gives true",
            sql=("is null",),
        ),
        elementwise(
            "is_not_null",
            "any",
            always(BOOLEAN),
            "Whether the value is there.",
            reason=NULLITY,
            nulls="null gives false",
            sql=("is not null",),
        ),
        elementwise("is_nan", "number", always(BOOLEAN), "Whether the value is NaN.", reason=NULLITY),
        elementwise(
            "is_not_nan",
            "number",
            always(BOOLEAN),
            "Whether the value is not NaN.",
            reason=NULLITY,
        ),
        elementwise(
            "is_finite",
            "number",
            always(BOOLEAN),
            "Whether the value is neither NaN nor infinite.",
            reason=NULLITY,
        ),
        elementwise(
            "is_infinite",
            "number",
            always(BOOLEAN),
            "Whether the value is infinite.",
            reason=NULLITY,
        ),
        Function(
            "fill_nan",
            (column("float"), value("value", "number or null")),
            lambda g: supertype(g.dtypes[0], g.dtypes[1], None, g.values[1] if len(g.values) > 1 else None),
            Flow.ELEMENTWISE,
            "Row by row: its own value, or the given one.",
            "Another value instead of NaN.",
        ),
        Function(
            "fill_null",
            (column("any"), value("value")),
            supertype_of_all,
            Flow.ELEMENTWISE,
            "Row by row: its own value, or the given one; as an identity it passes rows through.",
            "Another value instead of null.",
            nulls="nulls are replaced",
            sql=("ifnull",),
        ),
        Function(
            "pl.coalesce",
            (value("exprs", variadic=True, string_is_column=True),),
            supertype_of_all,
            Flow.ELEMENTWISE,
            "Row by row: the first value that is there, passed through.",
            "The first value that is not null.",
            nulls="null only if all are null",
            method=False,
            sql=("coalesce",),
        ),
        *(
            elementwise(f"bitwise_{name}", "integer or boolean", always(UINT32), doc, reason=FOLD)
            for name, doc in (
                ("count_ones", "Number of one bits."),
                ("count_zeros", "Number of zero bits."),
                ("leading_ones", "Number of leading one bits."),
                ("leading_zeros", "Number of leading zero bits."),
                ("trailing_ones", "Number of trailing one bits."),
                ("trailing_zeros", "Number of trailing zero bits."),
            )
        ),
    ]
)
