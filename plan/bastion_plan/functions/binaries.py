"""The names of categories and bytes, row by row: `cat.*` and `bin.*`."""

from __future__ import annotations

from typing import Any

from bastion_plan.dtypes import BINARY, BOOLEAN, FLOAT64, STRING, UINT8, UINT32, DType
from bastion_plan.functions.entries import elementwise, flag, value
from bastion_plan.functions.registry import register
from bastion_plan.functions.rules import always, same
from bastion_plan.functions.spec import Arg, DTypeRule, Function, Option

LENGTH = "Row by row; a length is a binning of its column."
MATCH = "Row by row; a prefix or suffix can name any single value, so the result acts as a predicate."
PART = "Row by row; a part of a value can be as telling as the whole."
TEXT = "Row by row and one to one: knowing the result is knowing the value."
PARSED = "Row by row and one to one; with strict a value that does not fit stops the query, which tells that it exists."

_FLAG = always(BOOLEAN)
_NUMBER = always(UINT32)
_ENCODING = Option("encoding", "str", required=True, choices=("hex", "base64"))
_STRICT = flag("strict", True, doc="a value that does not fit is an error, else it becomes null")


def _category(name: str, rule: DTypeRule, reason: str, doc: str, **rest: Any) -> Function:
    return elementwise(f"cat.{name}", "categorical", rule, doc, reason=reason, **rest)


register(
    [
        _category("len_bytes", _NUMBER, LENGTH, "Length of the category's name in bytes."),
        _category("len_chars", _NUMBER, LENGTH, "Length of the category's name in characters."),
        _category(
            "starts_with",
            _FLAG,
            MATCH,
            "Whether the category's name starts so.",
            options=(Option("prefix", "str", required=True),),
        ),
        _category(
            "ends_with",
            _FLAG,
            MATCH,
            "Whether the category's name ends so.",
            options=(Option("suffix", "str", required=True),),
        ),
        _category(
            "slice",
            always(STRING),
            PART,
            "Part of the category's name.",
            options=(Option("offset", "int", required=True), Option("length", "int", None, nullable=True, minimum=0)),
        ),
        _category(
            "physical",
            lambda g: (
                DType("UInt32")
                if g.first.kind == "Categorical"
                else UINT8
                if len(g.first.categories) <= 255
                else DType("UInt16")
            ),
            "Row by row and one to one: knowing the number is knowing the category.",
            "The number a category is stored as.",
        ),
    ]
)


def _bytes(name: str, rule: DTypeRule, reason: str, doc: str, *more: Arg, **rest: Any) -> Function:
    return elementwise(f"bin.{name}", "binary", rule, doc, *more, reason=reason, **rest)


register(
    [
        _bytes(
            "contains", _FLAG, MATCH, "Whether some bytes occur.", value("literal", "binary", string_is_column=False)
        ),
        _bytes(
            "starts_with",
            _FLAG,
            MATCH,
            "Whether the bytes start so.",
            value("prefix", "binary", string_is_column=False),
        ),
        _bytes(
            "ends_with", _FLAG, MATCH, "Whether the bytes end so.", value("suffix", "binary", string_is_column=False)
        ),
        _bytes(
            "size",
            lambda g: UINT32 if g.options["unit"] == "b" else FLOAT64,
            LENGTH,
            "Number of bytes.",
            options=(Option("unit", "str", "b", choices=("b", "kb", "mb", "gb", "tb")),),
        ),
        _bytes("head", same, PART, "First n bytes.", value("n", "integer", optional=True, string_is_column=True)),
        _bytes("tail", same, PART, "Last n bytes.", value("n", "integer", optional=True, string_is_column=True)),
        _bytes(
            "slice",
            same,
            PART,
            "Part from a byte on.",
            value("offset", "integer", string_is_column=True),
            value("length", "integer", optional=True, string_is_column=True),
        ),
        _bytes(
            "get",
            always(UINT8),
            PART,
            "The byte at a position.",
            value("index", "integer", string_is_column=True),
            options=(flag("null_on_oob"),),
        ),
        _bytes("encode", always(STRING), TEXT, "As hex or base64.", options=(_ENCODING,)),
        _bytes("decode", always(BINARY), PARSED, "From hex or base64.", options=(_ENCODING, _STRICT)),
    ]
)
