"""How long a text, or a list, may become in one row, from the plan alone.

One person's row must not decide whether a question runs out of memory, or how long it takes: both tell of that row. A chain of
replacements writes a terabyte where a pattern is met, and nothing elsewhere. So every text that a plan makes of private rows is bounded
before data is touched, as a multiple of what is stored of the row and a number of bytes besides.

Lengths are in bytes, as large as they may become by changes of letters (`weight`): lower and upper case and normal forms then add nothing,
however many of them follow each other. A list counts its texts and one for each element.

How long a text takes is bounded as well: patterns are linear in it, but as large as they are repeated, `(?:a?){50000}`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any

from bastion_plan import nodes as n
from bastion_plan.bind import BoundPlan
from bastion_plan.dtypes import DType, Schema
from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, Over, Ternary, children
from bastion_plan.functions.registry import find
from bastion_plan.functions.spec import Flow, Shape
from bastion_plan.nodes import Node
from bastion_plan.typing import expr_dtype

from bastion_policy.flow_patterns import shortest_match, steps_of
from bastion_policy.flow_trees import columns_in, number, output_name
from bastion_policy.verdict import Finding

#: a text may become so many times as long as the longest that is stored of the row, and so many bytes longer
MOST_TIMES, MOST_BYTES = 16, 1_000
#: states of all patterns of a plan: a letter of one row takes as many steps, of some nanoseconds
MOST_STEPS = 2_000
#: stands for the function where patterns are too large
PATTERN = "!pattern"
#: bytes that a change of letters makes of one byte, at most: one Arabic character of three is eighteen others of thirty-three
LETTERS = 11
#: of a number or a date that is written as text
_NUMBER = 64
#: of a format's directive: %F is the year -262143 and more
_DIRECTIVE = 7


@dataclass(frozen=True, slots=True)
class Length:
    """At most `times` as long as what is stored of the row, and `more` bytes."""

    times: float = 0.0
    more: float = 0.0

    @property
    def fits(self) -> bool:
        """Whether a row may have it."""
        return self.times <= MOST_TIMES and self.more <= MOST_BYTES

    def scaled(self, factor: float, more: float = 0.0) -> Length:
        """Return the length of a text that so much is made of."""
        return Length(_times(self.times, factor), _times(self.more, factor) + more)


STORED, ANY = Length(1.0), Length(inf, inf)


def _times(one: float, two: float) -> float:
    return one * two if one and two else 0.0


def longest(*several: Length | None) -> Length:
    """Return a length that none of several exceeds."""
    some = [s for s in several if s is not None]
    return Length(max((s.times for s in some), default=0.0), max((s.more for s in some), default=0.0))


def together(*several: Length | None) -> Length:
    """Return the length of all of them."""
    some = [s for s in several if s is not None]
    return Length(sum(s.times for s in some), sum(s.more for s in some))


_CHANGES: tuple[Callable[[str], str], ...] = (
    str.upper, str.lower, str.title,
    *(lambda s, form=form: unicodedata.normalize(form, s) for form in ("NFC", "NFD", "NFKC", "NFKD")),
)  # fmt: skip


@lru_cache(maxsize=4096)
def _letter(char: str) -> int:
    """Return the bytes that one character may become."""
    if char.isascii():
        return 1
    if unicodedata.category(char) in ("Cn", "Cs"):
        return LETTERS * 4
    most, seen, waiting = 0, {char}, [char]
    while waiting:
        text = waiting.pop()
        most = max(most, len(text.encode()))
        new = {change(text) for change in _CHANGES} - seen
        seen |= new
        waiting += new
    return most


def weight(value: Any) -> float:
    """Return the bytes that a text may become when its letters are changed; of a list, with one for each element."""
    if isinstance(value, tuple | list):
        return sum(weight(v) + 1 for v in value)
    if isinstance(value, str):
        return sum(map(_letter, value))
    return float(len(value)) if isinstance(value, bytes) else 0.0


#: functions that give one of the texts that they are given
GIVES_ONE = frozenset("fill_null fill_nan pl.coalesce pl.min_horizontal pl.max_horizontal clip replace".split())
#: functions that give a text, a list or a part of it that is no longer than the first
KEEPS = frozenset(
    """
    str.to_lowercase str.to_uppercase str.to_titlecase str.reverse str.normalize str.strip_chars str.strip_chars_start
    str.strip_chars_end str.strip_prefix str.strip_suffix str.head str.tail str.slice str.extract str.split_exact str.splitn
    struct.field list.get list.first list.last list.min list.max list.unique list.sort arr.get arr.first arr.last arr.min arr.max
    """.split()
)
#: functions that write texts of numbers
_WRITES = frozenset({"dt.strftime", "dt.to_string", "cut", "bin_intervals", "pl.concat_str", "pl.format", "pl.struct"})

#: conditions, and arithmetic of what is no text
_CONDITIONS = frozenset(
    """
    eq ne lt le gt ge eq_missing ne_missing is_in is_between is_null is_not_null not_ str.contains str.starts_with str.ends_with
    """.split()
)
_ARITHMETIC = frozenset(
    """
    sub mul truediv floordiv mod neg abs clip round floor ceil sqrt log and_ or_ xor sum mean min max median quantile std var len
    count n_unique null_count
    """.split()
)

#: functions of a pattern, and whether it is a plain text where nothing is said
_PATTERNS = {
    "str.contains": False,
    "str.count_matches": False,
    "str.find": False,
    "str.extract": False,
    "str.replace": False,
    "str.replace_all": False,
    "str.split": True,
}


def replaced(text: Length, least: int, by: float, copies: int = 0) -> Length:
    """Return the length after all matches of at least so many bytes are replaced by a text, with so many copies of the match."""
    if least:
        return text.scaled(max(1.0, copies + by / least))
    return text.scaled(max(1, copies) + by, by)  # a match before each byte and one behind


class Lengths:
    """The texts of one bound plan: of each node's columns, and which function makes a row too long."""

    def __init__(self, bound: BoundPlan) -> None:
        self.bound = bound
        self._columns: dict[int, dict[str, Length]] = {}
        self._grown: dict[int, str | None] = {}
        self._kept: list[Node] = []  # what is looked at by its id stays
        self.schema: Schema = {}
        self.names: Mapping[str, Length] = {}
        self.found: str | None = None
        self.steps = 0.0  # of all patterns of the plan

    def grown(self, node: Node) -> str | None:
        """Return the function by which a node of the plan may make a row too long, None if none does."""
        self.of(node)
        return self._grown[id(node)]

    def of(self, node: Node) -> dict[str, Length]:
        """Return the lengths of a node's columns that are text or nested."""
        if id(node) not in self._columns:
            below = [self.of(i) for i in n.inputs(node)]
            self._kept.append(node)
            self.schema, self.names, self.found = {}, {}, None
            for i, lengths in zip(n.inputs(node), below, strict=True):
                self.schema = {**self.bound.schemas[i], **self.schema}
                self.names = {
                    name: longest(lengths.get(name), self.names.get(name)) for name in {*lengths, *self.names}
                }
            made = self._node(node, below)
            joined = isinstance(node, n.Join | n.JoinAsof)
            told = not joined and not all(length.fits for length in self.names.values())
            if self.found is None and not told and not all(length.fits for length in made.values()):
                # a long text that is written down lands in some rows, or in those that are left
                self.found = "join" if joined else "lit"
            self._columns[id(node)], self._grown[id(node)] = made, self.found
        return self._columns[id(node)]

    def _node(self, node: Node, below: Sequence[dict[str, Length]]) -> dict[str, Length]:
        schema = self.bound.schemas[node]
        computed: dict[str, Length | None] = {}
        for name in node.__struct_fields__:
            value = getattr(node, name)
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, Expr):
                    length = self.length(item)
                    computed |= {output_name(item): length} if isinstance(item, Column | Alias) else {"": length}
        match node:
            case n.Scan():
                return {c: STORED for c, dtype in schema.items() if holds_text(dtype)}
            case n.Inline(columns=columns):
                return {
                    c.name: Length(0.0, max(map(weight, c.values), default=0.0)) for c in columns if holds_text(c.dtype)
                }
            case n.Select() | n.WithColumns() | n.GroupBy() | n.GroupByDynamic() | n.Rolling():
                known = {**self.names, **computed}
            case n.Join(suffix=suffix) | n.JoinAsof(suffix=suffix):
                sides = {c: [s for s in (c, c.removesuffix(suffix)) if s in self.names] for c in schema}
                known = {c: longest(*(self.names[s] for s in found)) for c, found in sides.items() if found}
            case n.FillNull():
                known = {c: longest(length, *computed.values()) for c, length in self.names.items()}
            case n.Unpivot(variable_name=variable):
                known = {**self.names, variable: Length(0.0, max(map(weight, self.schema), default=0.0))}
            case _:
                known = dict(self.names)
        every = longest(STORED, *self.names.values(), *computed.values())  # lists of one person's rows are stored, too
        return {c: known.get(c) or every for c, dtype in schema.items() if holds_text(dtype)}

    def length(self, expr: Expr) -> Length | None:
        """Return how long the values of an expression are, None of numbers, dates and conditions."""
        match expr:
            case Column(name=name):
                dtype = self.schema.get(name)
                return self.names.get(name, STORED) if dtype is None or holds_text(dtype) else None
            case Literal(dtype=dtype, value=value):
                return Length(0.0, weight(value)) if holds_text(dtype) else None
            case Alias(input=inner):
                return self.length(inner)
        parts = [self.length(c) for c in children(expr)]
        made, name = self._made(expr, parts)
        # of columns, functions that are not listed are refused already
        refused = isinstance(expr, Call) and not _listed(expr.function) and bool(columns_in(expr))
        if made is not None and not made.fits and not refused and self.found is None:
            self.found = name
        return made

    def _made(self, expr: Expr, parts: list[Length | None]) -> tuple[Length | None, str]:
        match expr:
            case Cast(dtype=dtype):
                return self._cast(expr, dtype, parts[0]), "cast"
            case Ternary():
                some = [p for p in parts[1:] if p is not None]
                return longest(*some) if some else None, "when"
            case Over():
                return parts[0], "over"
            case Call(function=name):
                return self._call(expr, parts), name.removeprefix("pl.")
        return longest(*parts) if any(p is not None for p in parts) else None, "cast"

    def _cast(self, expr: Cast, dtype: DType, inner: Length | None) -> Length | None:
        if not holds_text(dtype):
            return None
        if inner is None:
            return Length(0.0, _NUMBER)
        source = self._dtype(expr.input)
        return ANY if not dtype.is_nested and (source is None or source.is_nested) else inner

    def _dtype(self, expr: Expr) -> DType | None:
        try:
            return expr_dtype(expr, self.schema)
        except BindError:
            return None

    def _call(self, expr: Call, parts: list[Length | None]) -> Length | None:
        name = expr.function
        if name in _PATTERNS and not expr.option("literal", _PATTERNS[name]):
            self.steps += steps_of(_written(expr.args[1]))
            if self.steps > MOST_STEPS and self.found is None:
                self.found = PATTERN
        made = _MAKERS.get(name)
        if made is not None:
            return made(expr, parts)
        if name in ("cut", "bin_intervals"):
            dtype = self._dtype(expr)
            return Length(0.0, ANY.more if dtype is None else _of_members(dtype))
        known = [p for p in parts if p is not None]
        if name in _CONDITIONS or (name in _ARITHMETIC and not known):
            return None
        if name in KEEPS and name.startswith("str.") and parts[0] is not None:
            return parts[0]
        if name in GIVES_ONE and known:
            return longest(
                *(_of_element(a, p) if name == "replace" else p for a, p in zip(expr.args, parts, strict=True))
            )
        dtype = self._dtype(expr)
        if dtype is None or not holds_text(dtype):
            return None
        function = find(name)
        rows = function is not None and (function.shape is not Shape.SAME or function.flow is not Flow.ELEMENTWISE)
        if name in KEEPS or rows:  # statistics and windows choose among texts; what puts them together is refused
            return known[0] if known and not rows else longest(*known)
        return ANY


def holds_text(dtype: DType) -> bool:
    """Whether values of a type are of no fixed size."""
    return dtype.is_nested or dtype.kind in ("String", "Binary", "Categorical", "Enum", "Object")


def _listed(name: str) -> bool:
    return name in _MAKERS or name in GIVES_ONE or name in KEEPS or name in _WRITES


def _of_members(dtype: DType) -> float:
    if dtype.is_nested:
        return sum(_of_members(t) for _, t in dtype.fields)
    return max(map(weight, dtype.categories), default=float(2 * _NUMBER))


def _of_element(arg: Expr, length: Length | None) -> Length | None:
    """Return the length of the longest element of a list that is written down."""
    if isinstance(arg, Literal) and isinstance(arg.value, tuple):
        return Length(0.0, max(map(weight, arg.value), default=0.0))
    return length


def _constant(arg: Expr, length: Length | None) -> float:
    found = _of_element(arg, length) or Length()
    return inf if found.times else found.more


def too_long(name: str) -> Finding:
    """Return the finding for a function that may make a row too long, or take too long for it."""
    if name == PATTERN:
        reason = (
            f"Patterns of the plan come to more than {MOST_STEPS:,} steps for a single letter, so that how long the question takes would tell of "
            "single people's rows."
        )
        return Finding(
            "row-level", reason, "Write shorter patterns as plain text, repeat fewer times, or use literal=True."
        )
    reason = (
        f"{name}() may make a text more than {MOST_TIMES} times as long as what is stored, and {MOST_BYTES:,} bytes longer, so that whether "
        "the question fails, or how long it takes, would tell of single people's rows."
    )
    return Finding(
        "row-level", reason, "Replace by shorter texts, put fewer of them together, or pad to fewer characters."
    )


def _written(arg: Expr) -> object:
    return arg.value if isinstance(arg, Literal) else None


def _add(expr: Call, parts: list[Length | None]) -> Length | None:
    return together(*parts) if any(p is not None for p in parts) else None


def _concat_str(expr: Call, parts: list[Length | None]) -> Length:
    between = weight(expr.option("separator", "")) * max(0, len(parts) - 1)
    return together(*(p or Length(0.0, _NUMBER) for p in parts), Length(0.0, between))


def _format(expr: Call, parts: list[Length | None]) -> Length:
    return together(*(p or Length(0.0, _NUMBER) for p in parts), Length(0.0, weight(expr.option("f_string", ""))))


def _struct(expr: Call, parts: list[Length | None]) -> Length:
    return together(*parts)


def _date(expr: Call, parts: list[Length | None]) -> Length:
    return Length(0.0, _NUMBER + _DIRECTIVE * weight(expr.option("format", None)))


def _replace(expr: Call, parts: list[Length | None]) -> Length:
    text, literal = parts[0] or Length(), bool(expr.option("literal", False))
    by, value = _constant(expr.args[2], parts[2]), _written(expr.args[2])
    copies = value.count("$") if isinstance(value, str) and not literal else 0
    if not isinstance(value, str) and not literal:
        copies = int(min(by, MOST_BYTES))  # what is computed may name groups as often as it has letters
    count = expr.option("n", 1)
    if expr.function == "str.replace" and isinstance(count, int) and 0 <= count <= MOST_BYTES:
        return text.scaled(max(1, copies), _times(by, count))
    return replaced(text, shortest_match(_written(expr.args[1]), literal=literal), by, copies)


def _replace_many(expr: Call, parts: list[Length | None]) -> Length:
    patterns, values = _written(expr.args[1]), _written(expr.args[2])
    if not isinstance(patterns, tuple) or not all(isinstance(p, str) for p in patterns):
        return replaced(parts[0] or Length(), 0, _constant(expr.args[2], parts[2]))
    if isinstance(values, tuple) and len(values) == len(patterns):
        pairs = [(p, weight(v)) for p, v in zip(patterns, values, strict=True)]
    else:
        pairs = [(p, _constant(expr.args[2], parts[2])) for p in patterns]
    return longest(*(replaced(parts[0] or Length(), len(p.encode()), by) for p, by in pairs), parts[0])


def _pad(expr: Call, parts: list[Length | None]) -> Length:
    to = number(expr.args[1])
    fill = 1.0 if expr.function == "str.zfill" else weight(expr.option("fill_char", " "))
    return together(parts[0], Length(0.0, inf if to is None else max(0.0, to) * fill))


def _split(expr: Call, parts: list[Length | None]) -> Length:
    return (parts[0] or Length()).scaled(2, 1)


def _join(expr: Call, parts: list[Length | None]) -> Length:
    between = _constant(expr.args[1], parts[1]) if len(expr.args) > 1 else 0.0
    return (parts[0] or Length()).scaled(max(1.0, between))


_MAKERS: dict[str, Callable[[Call, list[Length | None]], Length | None]] = {
    "add": _add,
    "pl.concat_str": _concat_str,
    "pl.format": _format,
    "pl.struct": _struct,
    "dt.strftime": _date,
    "dt.to_string": _date,
    "str.replace": _replace,
    "str.replace_all": _replace,
    "str.replace_many": _replace_many,
    "str.pad_start": _pad,
    "str.pad_end": _pad,
    "str.zfill": _pad,
    "str.split": _split,
    "list.join": _join,
}
