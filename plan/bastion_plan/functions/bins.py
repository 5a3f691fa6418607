"""Bins and replacement: values mapped to fewer values."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

from bastion_plan.dtypes import CATEGORICAL, FLOAT64, NULL, UINT32, DType
from bastion_plan.errors import BindError
from bastion_plan.functions.entries import column, flag, value, window
from bastion_plan.functions.packing import unpack
from bastion_plan.functions.registry import register
from bastion_plan.functions.rules import mismatch, settle, struct_of, supertype
from bastion_plan.functions.spec import Flow, Function, Given, Option, Shape

BINNING = (
    "Row by row with cuts the asker chose: a binning of its column, and narrow bins are predicates on single values."
)
CUTS = "The cuts are values of the data, so the bins move with single rows."
MAPPING = "Row by row; a mapping can name any single value, and mapped to weights its sum can spell out a table."

_LABELS = Option("labels", "any", required=True, doc="one string per bin, or False for their numbers")
_INTERVALS = flag("include_intervals", doc="also give the bounds of each bin")


def _bin(given: Given) -> DType:
    labels = given.options["labels"]
    _check_labels(labels or None, _cuts(given))
    if labels is False:
        dtype = UINT32
    elif isinstance(labels, tuple) and all(isinstance(v, str) for v in labels) and len(set(labels)) == len(labels):
        dtype = DType("Enum", categories=labels)
    else:
        msg = "labels must be False or a list of different strings, one per bin."
        raise BindError(msg, code="plan.bind.option", next_step="Give one label more than there are cuts.")
    if not given.options["include_intervals"]:
        return dtype
    cuts = given.first
    if len(given.dtypes) > 1:
        other = given.dtypes[1].inner or NULL
        if cuts != other and not (cuts.is_numeric and other.is_numeric):
            raise mismatch(cuts, other)
        cuts = supertype(cuts, other)
    return struct_of(("bin", dtype), ("left", cuts), ("right", cuts))


def _shown(cut: float) -> str:
    """A break as Polars writes it: no exponent, no trailing zeros."""
    if cut in (float("inf"), float("-inf")) or cut != cut:
        return str(cut).replace("nan", "NaN")
    text = format(Decimal(repr(cut)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _cuts(given: Given) -> tuple[Any, ...]:
    """The cuts of a call: options, or the constant list of bin_intervals."""
    for name in ("quantiles", "ranks", "breaks"):
        if name in given.options:
            return tuple(given.options[name])
    cuts = given.values[1] if len(given.values) > 1 else ()
    return cuts if isinstance(cuts, tuple) else ()


def _check_labels(labels: Any, cuts: tuple[Any, ...]) -> None:
    if any(a is None or b is None or not a < b for a, b in pairwise(cuts)):
        msg = "The cuts must rise, without repetition."
        raise BindError(msg, code="plan.bind.option", next_step="Sort them.")
    if labels is not None and (len(labels) != len(cuts) + 1 or len(set(labels)) != len(labels)):
        msg = f"{len(cuts)} cuts make {len(cuts) + 1} bins, which need as many different labels."
        raise BindError(msg, code="plan.bind.option", next_step="Give one label per bin.")


def _cut(given: Given) -> DType:
    breaks, labels = given.options["breaks"], given.options["labels"]
    _check_labels(labels, breaks)
    if labels is None:
        edges = ["-inf", *map(_shown, breaks), "inf"]
        left, right = ("[", ")") if given.options["left_closed"] else ("(", "]")
        labels = tuple(f"{left}{a}, {b}{right}" for a, b in pairwise(edges))
    category = DType("Enum", categories=labels)
    return struct_of(("breakpoint", FLOAT64), ("category", category)) if given.options["include_breaks"] else category


def _qcut(given: Given) -> DType:
    _check_labels(given.options["labels"], given.options["quantiles"])
    return (
        struct_of(("breakpoint", FLOAT64), ("category", CATEGORICAL))
        if given.options["include_breaks"]
        else CATEGORICAL
    )


def _histogram(given: Given) -> DType:
    if given.options["bin_count"] is not None and len(given.dtypes) > 1:
        msg = "hist takes bins or bin_count, not both."
        raise BindError(msg, code="plan.bind.option", next_step="Leave one of them out.")
    fields: list[tuple[str, DType]] = []
    if given.options["include_breakpoint"]:
        fields.append(("breakpoint", FLOAT64))
    if given.options["include_category"]:
        fields.append(("category", CATEGORICAL))
    return struct_of(*fields, ("count", UINT32)) if fields else UINT32


def _element(given: Given, i: int) -> DType:
    dtype = given.dtypes[i]
    return dtype.inner or NULL if dtype.kind == "List" else settle(dtype, _value(given, i))


def _value(given: Given, i: int) -> Any:
    return given.values[i] if i < len(given.values) else None


def _replaced(given: Given) -> DType:
    if given.options["return_dtype"] is not None:
        return unpack(given.options["return_dtype"])
    new = _element(given, 2)
    if len(given.dtypes) < 4:
        return new
    return supertype(new, given.dtypes[3], None, _value(given, 3))


def _kept(given: Given) -> DType:
    """The type of the input; what comes and goes must be of that kind."""
    for i in (1, 2):
        element = _element(given, i)
        if "Null" not in (element.kind, given.first.kind) and element != given.first:
            alike = element.is_numeric and given.first.is_numeric
            textual = element.kind == "String" and given.first.kind in {"Categorical", "Enum"}
            if not (alike or textual):
                raise mismatch(given.first, element)
    return given.first


register(
    [
        Function(
            "bin_intervals",
            (column("numeric or string or temporal"), value("intervals", "list", constant=True, list_is_column=True)),
            _bin,
            Flow.ELEMENTWISE,
            BINNING,
            "Bins between given cuts.",
            options=(_LABELS, _INTERVALS, flag("right_closed")),
        ),
        window(
            "bin_quantiles",
            "numeric",
            _bin,
            CUTS,
            "Bins between quantiles of the data.",
            options=(
                Option("quantiles", "numbers", required=True, minimum=0, maximum=1),
                _LABELS,
                _INTERVALS,
                flag("right_closed"),
            ),
        ),
        window(
            "bin_ranks",
            "numeric",
            _bin,
            CUTS,
            "Bins of equal numbers of rows.",
            options=(Option("ranks", "numbers", required=True, minimum=0, maximum=1), _LABELS, _INTERVALS),
        ),
        Function(
            "cut",
            (column("number"),),
            _cut,
            Flow.ELEMENTWISE,
            BINNING,
            "Bins between given breaks, named by their bounds (old form of bin_intervals).",
            options=(
                Option("breaks", "numbers", required=True),
                Option("labels", "strings", None, nullable=True),
                flag("left_closed"),
                flag("include_breaks"),
            ),
        ),
        window(
            "qcut",
            "number",
            _qcut,
            CUTS,
            "Bins between quantiles, named by their bounds (old form of bin_quantiles).",
            options=(
                Option("quantiles", "numbers", required=True, minimum=0, maximum=1),
                Option("labels", "strings", None, nullable=True),
                flag("left_closed"),
                flag("allow_duplicates"),
                flag("include_breaks"),
            ),
        ),
        Function(
            "hist",
            (
                column("number"),
                value("bins", "list of numeric", optional=True, list_is_column=True, string_is_column=True),
            ),
            _histogram,
            Flow.ROW,
            "Counts per bin, but its edges are the smallest and largest value unless bins are given, and its bins are not guarded one by one.",
            "Numbers of values per bin.",
            options=(
                Option("bin_count", "int", None, nullable=True, minimum=0, maximum=100_000),
                flag("include_category"),
                flag("include_breakpoint"),
            ),
            shape=Shape.ANY,
            nulls="nulls are skipped",
        ),
        Function(
            "replace",
            (column("any"), value("old", "any"), value("new", "any")),
            _kept,
            Flow.ELEMENTWISE,
            MAPPING,
            "Some values replaced by others, in the same type.",
            nulls="null stays null unless it is replaced",
        ),
        Function(
            "replace_strict",
            (
                column("any"),
                value("old", "any"),
                value("new", "any"),
                value("default", "any", optional=True, keyword=True, string_is_column=False),
            ),
            _replaced,
            Flow.ELEMENTWISE,
            MAPPING + " Without a default a value that is not listed stops the query, which tells that it exists.",
            "Every value replaced by another, in a new type.",
            options=(Option("return_dtype", "dtype", None, nullable=True),),
            nulls="null stays null unless it is replaced",
        ),
    ]
)
