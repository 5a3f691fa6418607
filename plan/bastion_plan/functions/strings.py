"""Text row by row: `str.*`, `cat.*` and `bin.*`."""

from __future__ import annotations

import re
from typing import Any

from bastion_plan.dtypes import BINARY, BOOLEAN, DATE, STRING, TIME, UINT32, DType, datetime, list_of
from bastion_plan.errors import BindError
from bastion_plan.functions.entries import elementwise, flag, reduce, value
from bastion_plan.functions.packing import unpack
from bastion_plan.functions.registry import register
from bastion_plan.functions.rules import always, same, struct_of
from bastion_plan.functions.spec import UNKNOWN, Arg, DTypeRule, Flow, Function, Given, Option

PART = "Row by row; a part of a text can be as telling as the whole."
TEXT = "Row by row; the text passes through almost unchanged."
REWRITTEN = "Row by row; a pattern that matches everything folds all texts together, one that matches nothing passes them through."
LENGTH = "Row by row; a count of characters or matches is a binning of its column."
MATCH = "Row by row; a pattern can name any single value, so the result acts as a predicate."
PARSED = "Row by row; the result says what the text says, and with strict a text that does not fit stops the query, which tells that it exists."

_PATTERN = value("pattern", "string")
_LITERAL = flag("literal", doc="the pattern is plain text, not a regular expression")
_STRICT = flag("strict", True, doc="a value that does not fit is an error, else it becomes null")
_EXACT = flag("exact", True, doc="the whole text must match the format")
_CACHE = flag("cache", True)
_FORMAT = Option("format", "str", None, nullable=True, doc="a chrono format such as '%Y-%m-%d'; None: guessed")
_CASELESS = flag("ascii_case_insensitive")
_LEFTMOST = flag("leftmost")
_AMBIGUOUS = Option("ambiguous", "str", "raise", choices=("raise", "earliest", "latest", "null"))
_LENGTH = value("length", "integer", string_is_column=True)
_COUNT = value("n", "integer", string_is_column=True)
_FILL = Option("fill_char", "str", " ")
_ENCODING = Option("encoding", "str", required=True, choices=("hex", "base64"))

_FLAG = always(BOOLEAN)
_NUMBER = always(UINT32)


def text(name: str, rule: DTypeRule, reason: str, doc: str, *more: Arg, **rest: Any) -> Function:
    """Return an entry of the `str` namespace."""
    return elementwise(f"str.{name}", "string", rule, doc, *more, reason=reason, **rest)


def _groups(given: Given) -> DType:
    """The named groups of a pattern, numbered where they have no name."""
    pattern = given.options["pattern"]
    names: list[str] = []
    escaped = in_class = False
    for i, char in enumerate(pattern):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
        elif char == "(":
            named = re.match(r"\(\?P?<([A-Za-z_][\w.\[\]]*)>", pattern[i:])
            if named:
                names.append(named[1])
            elif not pattern.startswith("(?", i):
                names.append(str(len(names) + 1))
    if not names:
        msg = "str.extract_groups needs a pattern with groups."
        raise BindError(msg, code="plan.bind.option", next_step="Put what you want in parentheses.")
    return struct_of(*((name, STRING) for name in names))


def _parts(names: int) -> DType:
    return struct_of(*((f"field_{i}", STRING) for i in range(names)))


def _has_offset(format_: str | None) -> bool:
    return bool(format_ and re.search(r"%(z|:z|::z|:::z|#z)|^%\+$", format_))


def _parsed_datetime(given: Given) -> DType:
    options = given.options
    unit = options["time_unit"]
    if unit is None:
        fraction = re.search(r"%\.?(9|6|3)f", options["format"] or "")
        unit = {"9": "ns", "6": "us", "3": "ms"}[fraction[1]] if fraction else "us"
    zone = options["time_zone"] or ("UTC" if _has_offset(options["format"]) else None)
    return datetime(unit, zone)


def _parsed(given: Given) -> DType:
    dtype = unpack(given.options["dtype"])
    if dtype.kind not in {"Date", "Datetime", "Time"}:
        msg = f"str.strptime makes dates and times, not {dtype}."
        raise BindError(msg, code="plan.bind.option", next_step="Use cast() for other types.")
    if dtype.kind == "Datetime" and dtype.zone is None and _has_offset(given.options["format"]):
        return datetime(dtype.unit or "us", "UTC")
    return dtype


def _many(result: DType) -> DTypeRule:
    def without_conflict(given: Given) -> DType:
        if given.options["overlapping"] and given.options["leftmost"]:
            msg = "overlapping and leftmost cannot both be asked for."
            raise BindError(msg, code="plan.bind.option", next_step="Leave one of them out.")
        return result

    return without_conflict


def _replaced(given: Given) -> DType:
    if given.options["n"] > 1 and (UNKNOWN in given.values[1:] or not given.options["literal"]):
        msg = "str.replace with n > 1 needs constants, and literal=True."
        raise BindError(msg, code="plan.bind.option", next_step="Use replace_all for patterns and columns.")
    return given.first


def _decimal(given: Given) -> DType:
    return DType("Decimal", precision=38, scale=given.options["scale"])


def _of_dtype(given: Given) -> DType:
    return unpack(given.options["dtype"])


register(
    [
        text(
            "contains",
            _FLAG,
            MATCH,
            "Whether a pattern occurs.",
            _PATTERN,
            options=(_LITERAL, _STRICT),
            sql=("regexp_like",),
        ),
        text(
            "contains_any",
            _FLAG,
            MATCH,
            "Whether any of several texts occurs.",
            value("patterns", "list of string", string_is_column=True),
            options=(_CASELESS,),
        ),
        text(
            "starts_with",
            _FLAG,
            MATCH,
            "Whether the text starts so.",
            value("prefix", "string"),
            sql=("starts_with",),
        ),
        text(
            "ends_with",
            _FLAG,
            MATCH,
            "Whether the text ends so.",
            value("suffix", "string"),
            sql=("ends_with",),
        ),
        text(
            "count_matches",
            _NUMBER,
            LENGTH,
            "How often a pattern occurs.",
            _PATTERN,
            options=(_LITERAL,),
        ),
        text(
            "find",
            _NUMBER,
            LENGTH,
            "Position of a pattern in bytes, null if there is none.",
            _PATTERN,
            options=(_LITERAL, _STRICT),
            nulls="null also where nothing is found",
        ),
        text(
            "find_many",
            _many(list_of(UINT32)),
            LENGTH,
            "Positions of several texts in bytes.",
            value("patterns", "list of string", string_is_column=True),
            options=(_CASELESS, flag("overlapping"), _LEFTMOST),
        ),
        text("len_bytes", _NUMBER, LENGTH, "Length in bytes.", sql=("octet_length",)),
        text(
            "len_chars",
            _NUMBER,
            LENGTH,
            "Length in characters.",
            aliases=("str.n_chars",),
            sql=("length", "char_length"),
        ),
        text("to_lowercase", same, TEXT, "In lower case.", sql=("lower",)),
        text("to_uppercase", same, TEXT, "In upper case.", sql=("upper",)),
        text("to_titlecase", same, TEXT, "With capital first letters.", sql=("initcap",)),
        text("reverse", same, TEXT, "From the last character to the first.", sql=("reverse",)),
        text(
            "normalize",
            same,
            TEXT,
            "In a Unicode normal form.",
            options=(Option("form", "str", "NFC", choices=("NFC", "NFKC", "NFD", "NFKD")),),
        ),
        text(
            "escape_regex",
            same,
            TEXT,
            "With the special characters of regular expressions escaped.",
        ),
        *(
            text(name, same, TEXT, doc, value("characters", "string", optional=True), sql=sql)
            for name, doc, sql in (
                ("strip_chars", "Without white space, or given characters, on both ends.", ("trim",)),
                (
                    "strip_chars_start",
                    "Without white space, or given characters, at the start.",
                    ("ltrim",),
                ),
                (
                    "strip_chars_end",
                    "Without white space, or given characters, at the end.",
                    ("rtrim",),
                ),
            )
        ),
        text(
            "strip_prefix",
            same,
            TEXT,
            "Without a given start.",
            value("prefix", "string"),
        ),
        text("strip_suffix", same, TEXT, "Without a given end.", value("suffix", "string")),
        text("head", same, PART, "First n characters.", _COUNT, sql=("left",)),
        text("tail", same, PART, "Last n characters.", _COUNT, sql=("right",)),
        text(
            "slice",
            same,
            PART,
            "Part from a character on.",
            value("offset", "integer", string_is_column=True),
            value("length", "integer", optional=True, string_is_column=True),
            sql=("substr", "substring"),
        ),
        text(
            "extract",
            same,
            PART,
            "What a group of a pattern matches.",
            _PATTERN,
            options=(Option("group_index", "int", 1, minimum=0),),
            nulls="null also where nothing matches",
        ),
        text(
            "extract_all",
            always(list_of(STRING)),
            PART,
            "All matches of a pattern.",
            _PATTERN,
        ),
        text(
            "extract_many",
            _many(list_of(STRING)),
            PART,
            "Which of several texts occur.",
            value("patterns", "list of string", string_is_column=True),
            options=(_CASELESS, flag("overlapping"), _LEFTMOST),
        ),
        text(
            "extract_groups",
            _groups,
            PART,
            "What each group of a pattern matches.",
            options=(Option("pattern", "str", required=True),),
        ),
        text(
            "replace",
            _replaced,
            REWRITTEN,
            "With the first n matches of a pattern replaced.",
            _PATTERN,
            value("value", "string"),
            options=(_LITERAL, Option("n", "int", 1, minimum=0)),
        ),
        text(
            "replace_all",
            same,
            REWRITTEN,
            "With all matches of a pattern replaced.",
            _PATTERN,
            value("value", "string"),
            options=(_LITERAL,),
            sql=("replace", "regexp_replace"),
        ),
        text(
            "replace_many",
            same,
            REWRITTEN,
            "With several texts replaced.",
            value("patterns", "list of string", string_is_column=True),
            value("replace_with", "list of string"),
            options=(_CASELESS, _LEFTMOST),
        ),
        text(
            "split",
            always(list_of(STRING)),
            PART,
            "Parts between separators.",
            value("by", "string"),
            options=(flag("inclusive"), flag("literal", True), _STRICT),
        ),
        text(
            "split_exact",
            lambda g: _parts(g.options["n"] + 1),
            PART,
            "The first n+1 parts between separators.",
            value("by", "string"),
            options=(Option("n", "int", required=True, minimum=0, maximum=1000), flag("inclusive")),
            nulls="a null gives a struct of nulls",
        ),
        text(
            "splitn",
            lambda g: _parts(g.options["n"]),
            PART,
            "At most n parts, the last with the rest.",
            value("by", "string"),
            options=(Option("n", "int", required=True, minimum=1, maximum=1000),),
            nulls="a null gives a struct of nulls",
        ),
        text(
            "pad_start",
            same,
            TEXT,
            "Filled up at the start.",
            _LENGTH,
            options=(_FILL,),
            sql=("lpad",),
        ),
        text(
            "pad_end",
            same,
            TEXT,
            "Filled up at the end.",
            _LENGTH,
            options=(_FILL,),
            sql=("rpad",),
        ),
        text("zfill", same, TEXT, "Filled up with zeros after the sign.", _LENGTH),
        text("encode", same, TEXT, "As hex or base64.", options=(_ENCODING,)),
        text(
            "decode",
            always(BINARY),
            PARSED,
            "From hex or base64.",
            options=(_ENCODING, _STRICT),
        ),
        text("to_date", always(DATE), PARSED, "As a date.", options=(_FORMAT, _STRICT, _EXACT, _CACHE)),
        text(
            "to_datetime",
            _parsed_datetime,
            PARSED,
            "As a date and time.",
            options=(
                _FORMAT,
                Option("time_unit", "str", None, nullable=True, choices=("ms", "us", "ns")),
                Option("time_zone", "str", None, nullable=True),
                _STRICT,
                _EXACT,
                _CACHE,
                _AMBIGUOUS,
            ),
        ),
        text("to_time", always(TIME), PARSED, "As a time of day.", options=(_FORMAT, _STRICT, _CACHE)),
        text(
            "strptime",
            _parsed,
            PARSED,
            "As a date, date and time, or time of day.",
            options=(Option("dtype", "dtype", required=True), _FORMAT, _STRICT, _EXACT, _CACHE, _AMBIGUOUS),
        ),
        text(
            "to_decimal",
            _decimal,
            PARSED,
            "As a decimal number.",
            options=(Option("scale", "int", required=True, minimum=0, maximum=38),),
        ),
        text(
            "to_integer",
            _of_dtype,
            PARSED,
            "As a whole number in some base.",
            value("base", "integer", optional=True, keyword=True, string_is_column=True),
            options=(
                Option(
                    "dtype",
                    "dtype",
                    "Int64",
                    choices=("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"),
                ),
                _STRICT,
            ),
        ),
        text(
            "json_decode",
            _of_dtype,
            PARSED,
            "From JSON, as a given type.",
            options=(Option("dtype", "dtype", required=True),),
        ),
        text(
            "json_path_match",
            always(STRING),
            PART,
            "What a JSON path finds.",
            value("json_path", "string"),
            nulls="null also where nothing is found",
        ),
        reduce(
            "str.join",
            "string",
            always(STRING),
            Flow.ROW,
            "All rows in one text.",
            "All texts joined.",
            options=(Option("delimiter", "str", ""), flag("ignore_nulls", True)),
            sql=("string_agg",),
        ),
    ]
)
