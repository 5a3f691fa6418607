"""Rolling and exponentially weighted aggregates: a window of other rows for each result.

Weights are left out: the engine stops at the first null of a weighted window, which would tell that there is one.
"""

from __future__ import annotations

from collections.abc import Iterable

from bastion_plan.dtypes import FLOAT64, UINT32, DType
from bastion_plan.functions.entries import flag, value, window
from bastion_plan.functions.registry import register
from bastion_plan.functions.rules import float_of, float_of_both, same, summed
from bastion_plan.functions.spec import DTypeRule, Flow, Function, Given, Option

MOVING = "Each result is an aggregate of few neighbouring rows, below any threshold when the window is short."
RUNNING = "Each result is a weighted sum of all rows before it; two neighbours differ by exactly one row."

_SEED = Option("seed", "int", None, nullable=True, minimum=0, doc="the same seed gives the same rows")
_MOVING_RANKS = ("average", "min", "max", "dense", "random")
_SAMPLES = Option(
    "min_samples",
    "int",
    None,
    nullable=True,
    minimum=0,
    maximum=2**31,
    doc="values needed for a result; None: the window",
)
_WINDOW = Option("window_size", "int", required=True, minimum=1, maximum=2**31, doc="rows")
_CENTER = flag("center")
_CLOSED = Option("closed", "str", "right", choices=("left", "right", "both", "none"))
_DURATION = Option("window_size", "str", required=True, doc="a duration such as '2d'")
_QUANTILE = Option("quantile", "float", required=True, minimum=0, maximum=1)
_INTERPOLATION = Option(
    "interpolation", "str", "nearest", choices=("nearest", "higher", "lower", "midpoint", "linear", "equiprobable")
)
_DDOF = Option("ddof", "int", 1, minimum=0, maximum=255, doc="divisor n - ddof")


def _ranked(given: Given) -> DType:
    return FLOAT64 if given.options["method"] == "average" else UINT32


_NUMBER = "number or boolean"


def _rolling(name: str, doc: str, rule: DTypeRule, *options: Option, accepts: str = _NUMBER) -> Iterable[Function]:
    """The function over a number of rows and its twin over a range of another column."""
    of_rows = (*options, _WINDOW, _SAMPLES, _CENTER)
    least = Option("min_samples", "int", 0 if name == "sum" else 1, minimum=0, maximum=2**31)
    yield window(
        f"rolling_{name}",
        accepts,
        rule,
        MOVING,
        f"{doc} of the last rows.",
        options=of_rows,
        nulls="nulls do not count towards min_samples",
    )
    yield window(
        f"rolling_{name}_by",
        accepts,
        rule,
        MOVING,
        f"{doc} of the rows in a range of another column.",
        value("by", "integer or temporal", string_is_column=True),
        options=(*options, _DURATION, least, _CLOSED),
        nulls="nulls do not count towards min_samples",
    )


register(
    [
        *_rolling("sum", "Sum", summed),
        *_rolling("mean", "Mean", float_of),
        *_rolling("min", "Smallest value", same, accepts="number"),
        *_rolling("max", "Largest value", same, accepts="number"),
        *_rolling("median", "Median", float_of, accepts="number"),
        *_rolling("quantile", "Quantile", float_of, _QUANTILE, _INTERPOLATION, accepts="number"),
        *_rolling("std", "Standard deviation", float_of, _DDOF),
        *_rolling("var", "Variance", float_of, _DDOF),
        window(
            "rolling_skew",
            "number",
            float_of,
            MOVING,
            "Skewness of the last rows.",
            options=(_WINDOW, flag("bias", True), _SAMPLES, _CENTER),
        ),
        window(
            "rolling_kurtosis",
            "number",
            float_of,
            MOVING,
            "Kurtosis of the last rows.",
            options=(_WINDOW, flag("fisher", True), flag("bias", True), _SAMPLES, _CENTER),
        ),
        window(
            "rolling_rank",
            "number",
            _ranked,
            MOVING,
            "Rank of each value among the last rows.",
            options=(_WINDOW, Option("method", "str", "average", choices=_MOVING_RANKS), _SEED, _SAMPLES, _CENTER),
        ),
        window(
            "rolling_rank_by",
            "number",
            _ranked,
            MOVING,
            "Rank of each value among the rows in a range of another column.",
            value("by", "integer or temporal", string_is_column=True),
            options=(
                _DURATION,
                Option("method", "str", "average", choices=_MOVING_RANKS),
                _SEED,
                Option("min_samples", "int", 1, minimum=0, maximum=2**31),
                Option("closed", "str", "right", choices=("right", "both")),
            ),
        ),
        *(
            Function(
                f"pl.rolling_{name}",
                (
                    value("a", "number", string_is_column=True, each_row=True),
                    value("b", "number", string_is_column=True, each_row=True),
                ),
                float_of_both,
                Flow.WINDOW,
                MOVING,
                doc,
                method=False,
                options=(_WINDOW, Option("min_samples", "int", None, nullable=True, minimum=0, maximum=2**31), *more),
            )
            for name, doc, more in (
                ("corr", "Correlation of two columns over the last rows.", ()),
                ("cov", "Covariance of two columns over the last rows.", (_DDOF,)),
            )
        ),
    ]
)

_DECAY = tuple(
    Option(name, "float", None, nullable=True, minimum=0, doc="decay; exactly one of com, span, half_life, alpha")
    for name in ("com", "span", "half_life", "alpha")
)
_LEAST = Option("min_samples", "int", 1, minimum=0, maximum=2**31)
_HALF_LIFE = Option("half_life", "str", required=True, doc="a duration such as '2d'")

register(
    [
        window(
            "ewm_mean",
            _NUMBER,
            float_of,
            RUNNING,
            "Exponentially weighted mean.",
            options=(*_DECAY, flag("adjust", True), _LEAST, flag("ignore_nulls")),
        ),
        window(
            "ewm_sum",
            _NUMBER,
            float_of,
            RUNNING,
            "Exponentially weighted sum.",
            options=(*_DECAY, _LEAST, flag("ignore_nulls")),
        ),
        window(
            "ewm_std",
            _NUMBER,
            float_of,
            RUNNING,
            "Exponentially weighted standard deviation.",
            options=(*_DECAY, flag("adjust", True), flag("bias"), _LEAST, flag("ignore_nulls")),
        ),
        window(
            "ewm_var",
            _NUMBER,
            float_of,
            RUNNING,
            "Exponentially weighted variance.",
            options=(*_DECAY, flag("adjust", True), flag("bias"), _LEAST, flag("ignore_nulls")),
        ),
        window(
            "ewm_mean_by",
            "wide number",
            float_of,
            RUNNING,
            "Exponentially weighted mean over the distances of another column.",
            value("by", "date or datetime", string_is_column=True),
            options=(_HALF_LIFE,),
        ),
        window(
            "ewm_sum_by",
            "wide number",
            float_of,
            RUNNING,
            "Exponentially weighted sum over the distances of another column.",
            value("by", "date or datetime", string_is_column=True),
            options=(_HALF_LIFE,),
        ),
    ]
)
