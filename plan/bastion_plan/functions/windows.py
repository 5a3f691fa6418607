"""Functions whose every result reads other rows: order, ranks, running values, duplicates."""

from __future__ import annotations

from bastion_plan.dtypes import BOOLEAN, FLOAT64, UINT32, DType
from bastion_plan.errors import BindError
from bastion_plan.functions.accepts import fits
from bastion_plan.functions.entries import flag, value, window
from bastion_plan.functions.registry import register
from bastion_plan.functions.rules import always, by_kind, difference, float_of, same, struct_of, summed
from bastion_plan.functions.spec import Given, Option, Shape

DIFFERS = "Each result is made of two or three neighbouring rows, chosen by the order of rows; one of them known, it gives the other."
NEIGHBOUR = "Each result holds a value of another row, chosen by the order of rows."
RUNNING = "Each result is an aggregate of all rows before it; two neighbours differ by exactly one row."
RANKS = "Each result depends on all other values: their order gives them away step by step."
TWINS = "Tells of each row whether another has the same value, which singles out the rare ones."

_FLAGS = (flag("descending"), flag("nulls_last"))
_SEED = Option("seed", "int", None, nullable=True, minimum=0, doc="the same seed gives the same rows")
_RANKING = ("average", "min", "max", "dense", "ordinal", "random")
_N = value("n", "integer", optional=True, string_is_column=True, scalar=True)

_PRODUCTS = by_kind(always(DType("Int64")), Int128=same, UInt64=same, Float32=same, Float64=same)


def _ranked(given: Given) -> DType:
    return FLOAT64 if given.options["method"] == "average" else UINT32


def _filled(given: Given) -> DType:
    if given.options["limit"] is not None and given.options["strategy"] not in {"forward", "backward"}:
        msg = "fill_null takes a limit only with the strategies forward and backward."
        raise BindError(msg, code="plan.bind.option", next_step="Leave the limit out.")
    strategy, dtype = given.options["strategy"], given.first
    wanted = {
        "mean": "number",
        "zero": "number",
        "one": "number",
        "min": "number or temporal",
        "max": "number or temporal",
    }
    if not fits(wanted.get(strategy, "flat"), dtype):
        msg = f"The strategy {strategy} cannot fill {dtype}."
        raise BindError(msg, code="plan.bind.types", next_step="Give fill_null a value instead.")
    return given.first


def _reversed(given: Given) -> DType:
    if given.first.kind == "Array" and given.first.inner and not given.first.inner.is_numeric:
        msg = f"reverse cannot turn {given.first} around."
        raise BindError(msg, code="plan.bind.types", next_step="Turn the arrays into lists first, with arr.to_list().")
    return given.first


def _interpolated(given: Given) -> DType:
    return given.first if given.options["method"] == "nearest" else float_of(given)


register(
    [
        window(
            "shift",
            "any",
            same,
            NEIGHBOUR,
            "Values moved down by n rows.",
            _N,
            value("fill_value", optional=True, keyword=True, scalar=True),
            nulls="the gap is null, or fill_value",
            sql=("lag",),
        ),
        window(
            "diff",
            "numeric or temporal",
            difference,
            DIFFERS,
            "Value minus the one n rows before.",
            _N,
            nulls="null on either side gives null",
        ),
        window(
            "pct_change",
            "number",
            float_of,
            DIFFERS,
            "Relative change since n rows before.",
            _N,
            nulls="nulls are filled forward first",
        ),
        window(
            "forward_fill",
            "any",
            same,
            NEIGHBOUR,
            "Nulls replaced by the last value before them.",
            options=(Option("limit", "int", None, nullable=True, minimum=0),),
            nulls="nulls are replaced",
        ),
        window(
            "backward_fill",
            "any",
            same,
            NEIGHBOUR,
            "Nulls replaced by the next value after them.",
            options=(Option("limit", "int", None, nullable=True, minimum=0),),
            nulls="nulls are replaced",
        ),
        window(
            "fill_null_strategy",
            "any",
            _filled,
            "Fills gaps from neighbours or from an aggregate of the column, so a row can show another row's value.",
            "`fill_null(strategy=…)`: nulls replaced by neighbours or an aggregate.",
            options=(
                Option(
                    "strategy",
                    "str",
                    required=True,
                    choices=("forward", "backward", "min", "max", "mean", "zero", "one"),
                ),
                Option("limit", "int", None, nullable=True, minimum=0),
            ),
            nulls="nulls are replaced",
        ),
        window(
            "interpolate",
            "number",
            _interpolated,
            DIFFERS,
            "Nulls replaced by values between their neighbours.",
            options=(Option("method", "str", "linear", choices=("linear", "nearest")),),
            nulls="nulls are replaced",
        ),
        window(
            "interpolate_by",
            "wide number",
            float_of,
            DIFFERS,
            "Nulls replaced by values between their neighbours, spaced by another column.",
            value("by", "wide number or date or datetime", string_is_column=True),
            nulls="nulls are replaced",
        ),
        window(
            "reverse",
            "any",
            _reversed,
            "The order of rows is that of the frame, so positions speak of single rows.",
            "Values in the opposite order.",
        ),
        window(
            "sort",
            "any",
            same,
            RANKS,
            "Values in order.",
            options=_FLAGS,
            nulls="nulls come first unless nulls_last",
        ),
        window(
            "sort_by",
            "any",
            same,
            RANKS,
            "Values in the order of other columns.",
            value("by", variadic=True, string_is_column=True),
            options=(
                Option("descending", "bools", (False,)),
                Option("nulls_last", "bools", (False,)),
                flag("maintain_order"),
            ),
            nulls="nulls come first unless nulls_last",
        ),
        window(
            "shuffle",
            "any",
            same,
            "A random order, or one the asker chose by a seed: positions speak of single rows.",
            "Values in random order.",
            options=(_SEED,),
        ),
        window(
            "rank",
            "flat",
            _ranked,
            RANKS,
            "Rank of each value, from 1.",
            options=(Option("method", "str", "average", choices=_RANKING), flag("descending"), _SEED),
            sql=("rank",),
        ),
        window(
            "arg_sort",
            "any",
            always(UINT32),
            RANKS,
            "Positions that would sort the values.",
            options=_FLAGS,
            nulls="nulls come first unless nulls_last",
        ),
        window(
            "rle_id",
            "any",
            always(UINT32),
            "A running number of runs: neighbours are compared.",
            "Running number of each run of equal values.",
            nulls="nulls are equal to each other",
        ),
        window(
            "rle",
            "any",
            lambda g: struct_of(("len", UINT32), ("value", g.first)),
            "Shows the values row by row with their run lengths.",
            "Runs of equal values with their lengths.",
            shape=Shape.ANY,
            nulls="nulls are equal to each other",
        ),
        window(
            "peak_min",
            "number",
            always(BOOLEAN),
            DIFFERS,
            "Whether the value is smaller than both neighbours.",
        ),
        window(
            "peak_max",
            "number",
            always(BOOLEAN),
            DIFFERS,
            "Whether the value is larger than both neighbours.",
        ),
        *(
            window(name, "any", always(BOOLEAN), TWINS, doc, nulls="null counts as one value")
            for name, doc in (
                ("is_duplicated", "Whether the value occurs more than once."),
                ("is_unique", "Whether the value occurs exactly once."),
                ("is_first_distinct", "Whether the value occurs here first."),
                ("is_last_distinct", "Whether the value occurs here last."),
            )
        ),
        window(
            "cum_sum",
            "numeric or boolean or duration",
            summed,
            RUNNING,
            "Running sum.",
            options=(flag("reverse"),),
            nulls="nulls are skipped and stay null",
        ),
        window(
            "cum_prod",
            "number or boolean",
            _PRODUCTS,
            RUNNING,
            "Running product.",
            options=(flag("reverse"),),
            nulls="nulls are skipped and stay null",
        ),
        window(
            "cum_min",
            "number or boolean or temporal",
            same,
            RUNNING,
            "Smallest value so far.",
            options=(flag("reverse"),),
            nulls="nulls are skipped and stay null",
        ),
        window(
            "cum_max",
            "number or boolean or temporal",
            same,
            RUNNING,
            "Largest value so far.",
            options=(flag("reverse"),),
            nulls="nulls are skipped and stay null",
        ),
        window(
            "cum_count",
            "any",
            always(UINT32),
            RUNNING,
            "Number of non-null values so far.",
            options=(flag("reverse"),),
            nulls="nulls do not count",
        ),
    ]
)
