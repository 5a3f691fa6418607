"""Lists, arrays and structs row by row: `list.*`, `arr.*`, `struct.*`."""

from __future__ import annotations

from typing import Any

from bastion_plan.dtypes import BOOLEAN, NULL, STRING, UINT32, DType, list_of
from bastion_plan.errors import BindError, did_you_mean
from bastion_plan.functions.entries import elementwise, flag, value
from bastion_plan.functions.registry import register
from bastion_plan.functions.rules import (
    always,
    averaged,
    difference,
    each_element,
    float_of,
    inner,
    mismatch,
    on_elements,
    same,
    settle,
    struct_of,
    summed,
    supertype,
)
from bastion_plan.functions.spec import Arg, DTypeRule, Flow, Function, Given, Option, Shape

WITHIN = "Row by row: it reads the elements of its own row only."
PICKED = "Row by row: one element of its own row, as telling as the element."

_DDOF = Option("ddof", "int", 1, minimum=0, maximum=255, doc="divisor n - ddof")
_IGNORE = flag("ignore_nulls", True)
_OOB = flag("null_on_oob", doc="null instead of an error outside the list")
_INDEX = value("index", "integer", string_is_column=True)
_N = value("n", "integer", optional=True, string_is_column=True)
_SHIFT = value("n", "integer", optional=True, string_is_column=True)
_OFFSET = value("offset", "integer", string_is_column=True)
_LENGTH = value("length", "integer", optional=True, string_is_column=True)
_ITEM = value("item", "flat")
_NUMBERS = "numeric or boolean"


def _of(kind: str, classes: str) -> str:
    return " or ".join(f"{kind} of {word}" for word in classes.split(" or "))


def _element(given: Given) -> DType:
    return given.first.inner or NULL


def _as_list(given: Given) -> DType:
    return list_of(_element(given))


def _sought(rule: DType) -> DTypeRule:
    """The rule of a search for a value, which must be of the elements' kind."""

    def of_kind(given: Given) -> DType:
        element, item = _element(given), given.dtypes[1]
        dynamic = (item.kind == "DynInt" and element.is_numeric) or (item.kind == "DynFloat" and element.is_float)
        if not (element == item or dynamic or "Null" in (element.kind, item.kind)):
            raise mismatch(element, item)
        return rule

    return of_kind


def _dotted(given: Given) -> DType:
    if given.first.width != given.dtypes[1].width:
        raise mismatch(*given.dtypes)
    return on_elements(summed)(given)


def _both(kind: str, space: str) -> list[Function]:
    """What lists and arrays share."""

    def entry(
        name: str, accepts: str, rule: DTypeRule, doc: str, *more: Arg, reason: str = WITHIN, **rest: Any
    ) -> Function:
        return elementwise(f"{space}.{name}", _of(kind, accepts), rule, doc, *more, reason=reason, **rest)

    extremes = "numeric or boolean or temporal or string" if kind == "list" else "number"
    part = same if kind == "list" else _as_list
    return [
        entry("len", "any", always(UINT32), "Number of elements."),
        entry(
            "sum",
            "numeric or boolean or duration" if kind == "list" else "number or boolean",
            on_elements(summed),
            "Sum of the elements.",
        ),
        entry("mean", _NUMBERS + " or temporal", on_elements(averaged), "Mean of the elements."),
        entry("median", _NUMBERS + " or temporal", on_elements(averaged), "Median of the elements."),
        entry("std", _NUMBERS, on_elements(float_of), "Standard deviation of the elements.", options=(_DDOF,)),
        entry("var", _NUMBERS, on_elements(float_of), "Variance of the elements.", options=(_DDOF,)),
        entry("min", extremes, inner, "Smallest element.", reason=PICKED),
        entry("max", extremes, inner, "Largest element.", reason=PICKED),
        entry("arg_min", extremes, always(UINT32), "Position of the smallest element."),
        entry("arg_max", extremes, always(UINT32), "Position of the largest element."),
        entry("n_unique", "flat", always(UINT32), "Number of distinct elements."),
        entry("any", "boolean", always(BOOLEAN), "Whether any element is true.", options=(_IGNORE,)),
        entry("all", "boolean", always(BOOLEAN), "Whether all elements are true.", options=(_IGNORE,)),
        entry("first", "any", inner, "First element.", reason=PICKED),
        entry("last", "any", inner, "Last element.", reason=PICKED),
        entry("get", "any", inner, "Element at a position.", _INDEX, reason=PICKED, options=(_OOB,)),
        entry(
            "contains",
            "flat",
            _sought(BOOLEAN),
            "Whether a value is among the elements.",
            _ITEM,
            options=(flag("nulls_equal", True),),
        ),
        entry(
            "count_matches",
            "number or boolean or string or temporal",
            _sought(UINT32),
            "How often a value is among the elements.",
            value("element", "flat", constant=True),
        ),
        entry(
            "join",
            "string",
            always(STRING),
            "The elements as one text.",
            value("separator", "string"),
            options=(_IGNORE,),
        ),
        entry("head", "any", part, "First n elements.", _N),
        entry("tail", "any", part, "Last n elements.", _N),
        entry("slice", "any", part, "Elements from a position on.", _OFFSET, _LENGTH),
        entry("reverse", "any", same, "Elements in the opposite order."),
        entry("shift", "any", same, "Elements moved by n places.", _SHIFT),
        entry("sort", "flat", same, "Elements in order.", options=(flag("descending"), flag("nulls_last"))),
        entry("unique", "flat", part, "Distinct elements.", options=(flag("maintain_order"),)),
        Function(
            f"{space}.explode",
            (Arg("input", kind, string_is_column=True),),
            inner,
            Flow.ROW,
            "Makes more rows than there are units, so row counts stop saying how many people are behind them.",
            "One row per element.",
            options=(flag("empty_as_null"), flag("keep_nulls", True)),
            shape=Shape.ANY,
        ),
    ]


def _set_operation(given: Given) -> DType:
    element, other = _element(given), given.dtypes[1].inner or NULL
    if element != other:
        raise mismatch(element, other)
    return given.first


def _array(given: Given) -> DType:
    return DType("Array", inner=_element(given), width=given.options["width"])


def _named(given: Given) -> DType:
    names = given.options["fields"]
    if len(set(names)) != len(names) or (given.first.width is not None and len(names) != given.first.width):
        msg = "The fields of a struct must have different names, one per element."
        raise BindError(msg, code="plan.bind.option")
    return struct_of(*((name, _element(given)) for name in names))


def _concatenated(given: Given) -> DType:
    found = _element(given)
    for dtype in given.dtypes[1:]:
        found = supertype(found, dtype.inner if dtype.kind == "List" and dtype.inner else dtype)
    return list_of(found)


register(
    [
        *_both("list", "list"),
        *_both("array", "arr"),
        elementwise(
            "list.gather",
            "list",
            same,
            "Elements at positions.",
            value("indices", "integer or list of integer", string_is_column=True),
            reason=WITHIN,
            options=(_OOB,),
        ),
        elementwise(
            "list.gather_every",
            "list",
            same,
            "Every n-th element.",
            value("n", "integer", string_is_column=True),
            value("offset", "integer", optional=True, string_is_column=True),
            reason=WITHIN,
        ),
        elementwise("list.drop_nulls", "list", same, "Elements that are not null.", reason=WITHIN),
        elementwise(
            "list.diff",
            "list of numeric or list of duration",
            each_element(difference),
            "Differences of neighbouring elements.",
            reason=WITHIN,
            options=(Option("n", "int", 1),),
        ),
        elementwise("list.item", "list", inner, "The only element.", reason=PICKED, options=(flag("allow_empty"),)),
        elementwise(
            "list.to_array",
            "list",
            _array,
            "As an array of a fixed length.",
            reason=WITHIN,
            options=(Option("width", "int", required=True, minimum=0, maximum=100_000),),
        ),
        elementwise(
            "list.to_struct",
            "list",
            _named,
            "As a struct.",
            reason=WITHIN,
            options=(Option("fields", "strings", required=True),),
        ),
        *(
            elementwise(
                f"list.set_{name}",
                "list of number or list of string or list of temporal",
                _set_operation,
                doc,
                value("other", "list", string_is_column=True),
                reason=WITHIN,
            )
            for name, doc in (
                ("union", "Elements of either list."),
                ("intersection", "Elements of both lists."),
                ("difference", "Elements of the first list only."),
                ("symmetric_difference", "Elements of exactly one list."),
            )
        ),
        Function(
            "list.concat",
            (Arg("input", "list", string_is_column=True), value("other", "list", variadic=True, string_is_column=True)),
            _concatenated,
            Flow.ELEMENTWISE,
            WITHIN,
            "Several lists joined.",
            nulls="a null counts as no elements, or makes null",
        ),
        elementwise("arr.to_list", "array", _as_list, "As a list.", reason=WITHIN),
        elementwise(
            "arr.to_struct",
            "array",
            _named,
            "As a struct.",
            reason=WITHIN,
            options=(Option("fields", "strings", required=True),),
        ),
        elementwise(
            "arr.dot",
            "array of number",
            _dotted,
            "Sum of the products of two arrays.",
            value("other", "array of number", string_is_column=True),
            reason=WITHIN,
        ),
    ]
)


def _field(given: Given) -> DType:
    name = given.options["name"]
    fields = dict(given.first.fields)
    if name not in fields:
        msg = f"The struct has no field {name!r}."
        raise BindError(msg, code="plan.bind.field", next_step=did_you_mean(name, fields))
    return fields[name]


def _renamed(given: Given) -> DType:
    names = given.options["names"]
    if len(set(names)) != len(names) or len(names) != len(given.first.fields):
        msg = f"rename_fields needs {len(given.first.fields)} different names."
        raise BindError(msg, code="plan.bind.field")
    return struct_of(*zip(names, (t for _, t in given.first.fields), strict=True))


def _dropped(given: Given) -> DType:
    names = set(given.options["names"])
    missing = names - {name for name, _ in given.first.fields}
    if missing and given.options["strict"]:
        msg = f"The struct has no field {min(missing)!r}."
        raise BindError(msg, code="plan.bind.field", next_step=did_you_mean(min(missing), dict(given.first.fields)))
    return struct_of(*((name, t) for name, t in given.first.fields if name not in names))


def _extended(given: Given) -> DType:
    fields = dict(given.first.fields)
    if len(set(given.names[1:])) != len(given.names[1:]):
        msg = "The fields of a struct must have different names."
        raise BindError(msg, code="plan.bind.field", next_step="Give one of them another name with alias().")
    fields.update((name, settle(t)) for name, t in zip(given.names[1:], given.dtypes[1:], strict=True))
    return struct_of(*fields.items())


THROUGH = "Row by row: its own fields pass through."

register(
    [
        elementwise(
            "struct.field",
            "struct",
            _field,
            "One field.",
            reason=THROUGH,
            options=(Option("name", "str", required=True),),
        ),
        elementwise(
            "struct.rename_fields",
            "struct",
            _renamed,
            "With other field names.",
            reason=THROUGH,
            options=(Option("names", "strings", required=True),),
        ),
        elementwise(
            "struct.drop",
            "struct",
            _dropped,
            "Without some fields.",
            reason=THROUGH,
            options=(Option("names", "strings", required=True), flag("strict", True)),
        ),
        elementwise(
            "struct.with_fields",
            "struct",
            _extended,
            "With more fields, named as the expressions are.",
            value("exprs", variadic=True, string_is_column=True),
            reason=THROUGH,
        ),
        elementwise(
            "struct.json_encode",
            "struct",
            always(STRING),
            "As JSON text.",
            reason=THROUGH,
            nulls="fields that are null are written",
        ),
    ]
)
