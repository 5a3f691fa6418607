"""In which form an expression over private rows carries the columns it derives from."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from bastion_plan.dtypes import FLOAT64, DType
from bastion_plan.errors import BindError
from bastion_plan.expressions import (
    Alias,
    Call,
    Cast,
    Column,
    Expr,
    Literal,
    Over,
    Ternary,
    children,
)
from bastion_plan.functions.registry import find
from bastion_plan.functions.spec import Flow as FunctionFlow
from bastion_plan.functions.spec import Shape
from bastion_plan.typing import expr_dtype

from bastion_policy.derived import parse_derived
from bastion_policy.flow_affine import MAX_STEPS, PLAIN_ARITHMETIC, affine, ordinary, scaled
from bastion_policy.flow_trees import columns_in, is_scalar, number, rewrite, written_down
from bastion_policy.flow_within import overflows
from bastion_policy.lineage import CONSTANT, INTEGERS, Form, Frame, Source, Value, World
from bastion_policy.roles import RoleKind

#: flow classes that read other rows of the frame
CROSS_ROW = frozenset({FunctionFlow.WINDOW, FunctionFlow.FILTER, FunctionFlow.TIED})
#: functions that may be taken of a pristine column.
#: INVARIANT: none of them packs more into a sum than its own size: one sum of square roots or logarithms, with all its digits,
#: has a single solution among the whole numbers that ten people may have, and names them all.
ALLOWED = frozenset({"abs", "str.len_chars", "str.len_bytes"})
DATE_PARTS = {
    "dt.year": (None, None),
    "dt.iso_year": (None, None),
    "dt.quarter": (1.0, 4.0),
    "dt.month": (1.0, 12.0),
    "dt.week": (1.0, 53.0),
    "dt.weekday": (1.0, 7.0),
    "dt.day": (1.0, 31.0),
    "dt.ordinal_day": (1.0, 366.0),
    "dt.hour": (0.0, 23.0),
    "dt.minute": (0.0, 59.0),
    "dt.second": (0.0, 59.0),
    "dt.date": (None, None),
    "dt.total_days": (None, None),
    "dt.total_hours": (None, None),
    "dt.total_minutes": (None, None),
    "dt.total_seconds": (None, None),
}
#: INVARIANT: of a value, which rows are null is public only where they are null in the table. All functions that are not
#: known to keep nulls where they are, and make no new ones, count as conditions in disguise.
NULL_KEEPING = frozenset(
    [
        "add",
        "sub",
        "mul",
        "truediv",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "xor",
        "eq_missing",
        "ne_missing",
        "and_",
        "or_",
        "not_",
        "neg",
        "is_in",
        "is_between",
        "is_close",
        "is_null",
        "is_not_null",
        "is_nan",
        "is_not_nan",
        "is_finite",
        "is_infinite",
        "fill_null",
        "fill_nan",
        "pl.coalesce",
        "pl.all_horizontal",
        "pl.any_horizontal",
        "abs",
        "sign",
        "sqrt",
        "cbrt",
        "exp",
        "log",
        "log10",
        "log1p",
        "sin",
        "cos",
        "tan",
        "floor",
        "ceil",
        "round",
        "truncate",
        "clip",
        "cut",
        "bin_intervals",
        "str.contains",
        "str.starts_with",
        "str.ends_with",
        "str.len_bytes",
        "str.len_chars",
        "str.to_lowercase",
        "str.to_uppercase",
        "str.to_titlecase",
        "str.reverse",
        "str.strip_chars",
        "str.strip_chars_start",
        "str.strip_chars_end",
        "str.strip_prefix",
        "str.strip_suffix",
        "str.head",
        "str.tail",
        "str.slice",
        "str.replace",
        "str.replace_all",
        "str.pad_start",
        "str.pad_end",
        "str.zfill",
        "dt.year",
        "dt.iso_year",
        "dt.quarter",
        "dt.month",
        "dt.week",
        "dt.weekday",
        "dt.day",
        "dt.ordinal_day",
        "dt.hour",
        "dt.minute",
        "dt.second",
        "dt.date",
        "dt.time",
        "dt.truncate",
        "dt.round",
        "dt.month_start",
        "dt.month_end",
        "dt.is_leap_year",
        "dt.total_days",
        "dt.total_hours",
        "dt.total_minutes",
        "dt.total_seconds",
        "dt.strftime",
        "dt.to_string",
        "cat.len_chars",
        "cat.starts_with",
        "cat.ends_with",
    ]
)


#: INVARIANT: the functions that private columns may be given to at all: none fails at any value, whatever its options.
#: An unlisted one may, and an error that depends on one row tells of that row.
TOTAL = frozenset(
    """
    add sub mul truediv floordiv truncdiv mod neg abs sign sqrt cbrt exp log log10 log1p sin cos tan sinh cosh tanh
    arcsin arccos arctan arctan2 degrees radians floor ceil round round_sig_figs truncate clip
    eq ne lt le gt ge eq_missing ne_missing and_ or_ xor not_ is_in is_between is_close is_null is_not_null is_nan
    is_not_nan is_finite is_infinite fill_null fill_nan cut bin_intervals replace
    pl.coalesce pl.all_horizontal pl.any_horizontal pl.sum_horizontal pl.mean_horizontal pl.min_horizontal
    pl.max_horizontal pl.concat_str pl.format pl.struct struct.field
    str.contains str.contains_any str.starts_with str.ends_with str.len_bytes str.len_chars str.to_lowercase
    str.to_uppercase str.to_titlecase str.reverse str.strip_chars str.strip_chars_start str.strip_chars_end
    str.strip_prefix str.strip_suffix str.head str.tail str.slice str.replace str.replace_all str.replace_many
    str.pad_start str.pad_end str.zfill str.extract str.count_matches str.find str.split str.split_exact str.splitn
    str.to_integer str.to_date str.to_datetime str.to_time str.strptime str.normalize
    cat.len_chars cat.len_bytes cat.starts_with cat.ends_with
    dt.year dt.iso_year dt.century dt.millennium dt.quarter dt.month dt.week dt.weekday dt.day dt.ordinal_day
    dt.days_in_month dt.hour dt.minute dt.second dt.millisecond dt.microsecond dt.nanosecond dt.date dt.time
    dt.truncate dt.round dt.month_start dt.month_end dt.is_leap_year dt.is_business_day
    dt.total_days dt.total_hours dt.total_minutes dt.total_seconds dt.total_milliseconds
    list.len list.contains list.sum list.mean list.min list.max list.median list.get list.first list.last list.n_unique
    list.count_matches list.unique list.sort list.any list.all list.std list.var list.join
    arr.len arr.contains arr.sum arr.mean arr.min arr.max arr.median arr.get arr.first arr.last arr.n_unique
    """.split()
)
#: of these, those that read the format off the rows where none is given
GUESSES = frozenset({"str.to_date", "str.to_datetime", "str.to_time", "str.strptime"})
#: INVARIANT: decimals overflow with an error, in arithmetic and where two of unlike digits are brought to one type. They are
#: compared with one another, or with plain numbers, and nothing else.
_OF_DECIMALS = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "eq_missing", "ne_missing", "is_between", "fill_null"})
_OF_DECIMAL = frozenset({"neg", "is_null", "is_not_null"})
#: how far a stored date may be moved: calendars end, and beyond their ends functions fail or give nothing
MOST_DAYS = 366 * 1000
#: what reads a text as a date: it gives none that calendars do not have
_DATED = frozenset({"str.to_date", "str.to_datetime", "str.strptime", "str.to_time"})
#: dates of a date that is in the calendar
_STILL_DATED = frozenset({"dt.date", "dt.time", "dt.truncate", "dt.round", "dt.month_start", "dt.month_end"})
#: functions that write dates as text, and the directives by which they do so at every date that the calendar has, from the year
#: -262143 to 262142 (tests/policy/test_dates_as_text.py tries them there).
#: INVARIANT: no other: one that a type has not, or that is not closed, fails; so a text that names none is looked for in vain.
FORMATS = frozenset({"dt.strftime", "dt.to_string"})
_NUMBERS = {"Date": "YyGgmdejqUWVuw", "Datetime": "YyGgmdejqUWVuwHIMS"}
_WORDS = {"Date": "aAbBhFD", "Datetime": "aAbBhFDTRp"}
#: characters of a format: every row's text is as long
MAX_FORMAT = 100
#: parts of one expression that are looked at
MAX_NODES = 1000
#: functions that take a column in every argument, and never fail; the arguments of others after the first are written down
TAKES_COLUMNS = frozenset(
    """
    add sub mul truediv floordiv truncdiv mod eq ne lt le gt ge eq_missing ne_missing and_ or_ xor is_between is_close
    fill_null fill_nan pl.coalesce pl.all_horizontal pl.any_horizontal pl.sum_horizontal pl.mean_horizontal
    pl.min_horizontal pl.max_horizontal pl.concat_str pl.format pl.struct
    """.split()
)


#: reductions of one unit's rows that give a column of the unit; other functions of a column are binnings
PER_UNIT = frozenset(
    [
        "sum",
        "mean",
        "min",
        "max",
        "median",
        "quantile",
        "std",
        "var",
        "first",
        "last",
        "len",
        "count",
        "n_unique",
        "null_count",
    ]
)
#: of these, those that are sums of rows, each with a weight of its own, or change with every row; others may be what one row holds
OF_ALL_ROWS = frozenset(["sum", "mean", "std", "var", "len", "count", "n_unique", "null_count"])
#: of these, those that lie between the smallest and the largest of them
WITHIN = frozenset(["mean", "min", "max", "median", "quantile", "first", "last"])
#: the same for windows over one unit's rows
PER_UNIT_WINDOWS = PER_UNIT | frozenset(
    [
        "shift",
        "diff",
        "cum_sum",
        "cum_min",
        "cum_max",
        "cum_count",
        "rank",
        "forward_fill",
        "backward_fill",
        "interpolate",
        "rolling_mean",
        "rolling_sum",
    ]
)


#: what is said of numbers that a window takes of one person's rows, to tell what to ask instead
WINDOW = "it is a window over one person's rows"


class ExpressionTyping:
    """Types expressions over one private frame."""

    def __init__(self, frame: Frame, world: World) -> None:
        self.frame = frame
        self.world = world
        self.unknown: list[str] = []  # functions that are not registered
        self.seen = 0
        self.cross_row: list[str] = []  # cross-row functions outside a partition by unit

    def value(self, expr: Expr) -> Value:
        """Return what is known of the values of a row expression."""
        found = self._value(expr)
        if found.form is Form.COLUMN and found.bit is None and self._is_bits(expr):
            return replace(found, bit=(0.0, 1.0))
        return found

    def _value(self, expr: Expr) -> Value:
        self.seen += 1
        if self.seen > MAX_NODES:
            self.cross_row.append("!long")
            return Value(join_sources(self.frame.columns.values()), Form.MIX, makes_nulls=True, reason="it is too long")
        match expr:
            case Column(name=name):
                return self.frame.columns.get(name, Value(form=Form.MIX, reason=f"{name} is not known"))
            case Literal():
                found = number(expr)
                return CONSTANT if found is None or not math.isfinite(found) else Value(low=found, high=found)
            case Alias(input=inner):
                return self.value(inner)
            case Cast():
                return self._cast(expr)
            case Ternary():
                return self._ternary(expr)
            case Over():
                return self._over(expr)
            case Call():
                return self._listed(expr) or self._call(expr)
            case _:
                return self._mix((expr,), "it is of an unknown kind")

    def _is_bits(self, expr: Expr) -> bool:
        try:
            return expr_dtype(expr, self.frame.schema).kind == "Boolean"
        except BindError:
            return False

    def _mix(self, exprs: Iterable[Expr], reason: str) -> Value:
        values = [self.value(e) for e in exprs]
        return Value(join_sources(values), Form.MIX, makes_nulls=True, reason=reason)

    def _cast(self, expr: Cast) -> Value:
        inner = self.value(expr.input)
        source = self._dtype(expr.input)
        target = expr.dtype
        read = inner.sources or (self.frame.private and not written_down(expr.input))
        if read and self._cast_fails(expr.input, source, target):
            self.cross_row.append("!cast")
        if inner.form in (Form.CONSTANT, Form.NULLS):
            whole = inner.low is not None and inner.low == math.floor(inner.low) and abs(inner.low) < 2**53
            if inner.sources or (target == FLOAT64 and inner.low is not None) or (target.kind == "Int64" and whole):
                return inner
            # what number a conversion gives is not known
            return replace(inner, low=None, high=None, steps=MAX_STEPS + 1)
        if inner.form is Form.COMBINATION:
            same = expr.dtype == FLOAT64 or expr.dtype == self._dtype(expr.input)
            return inner if same else inner.derived(Form.MIX, reason="a cast of a sum of columns")
        if inner.form is not Form.COLUMN:
            return inner.derived(inner.form, reason=inner.reason)
        if target.kind == "Boolean" and source is not None and source.is_numeric and source.kind != "Decimal":
            return inner.derived(Form.BITS)  # whether it is 0
        if source is not None and source.kind == "Boolean" and target.is_numeric:
            return replace(inner, low=0.0, high=1.0, plain=None)
        if source == target:
            return inner
        narrow = {"Int8", "Int16", "UInt8", "UInt16", "Float16"}
        # INVARIANT: floats of 32 bits overflow and underflow at thresholds that constants choose
        fits = target == FLOAT64 or (target.kind == "Float32" and source is not None and source.kind in narrow)
        if fits and source is not None and source.is_numeric:
            return replace(inner, plain=None)
        if inner.pristine and target.kind in {"Int64", "Int128", "String", "Categorical", "Date", "Datetime"}:
            whole = source is not None and source.is_integer and source.kind not in ("UInt64", "UInt128")
            keep = whole and target.is_integer and (source is None or source.kind != "Int128")
            text = target.kind in {"String", "Categorical"}
            # INVARIANT: nanoseconds have no dates before 1677 and after 2262: a cast to them leaves those people out
            times = target.is_temporal and source is not None and source.is_temporal
            if keep or text or (times and (target.unit != "ns" or (source is not None and source.unit == "ns"))):
                low, high = (inner.low, inner.high) if keep else (None, None)
                return replace(inner, low=low, high=high, plain=None, pristine=False)
            # floats are cut to whole numbers: bins
        # narrow types make nulls where a value does not fit: a condition in disguise
        return inner.derived(Form.BINNED, makes_nulls=True)

    def _cast_fails(self, inner: Expr, source: DType | None, target: DType) -> bool:
        """Whether a cast may give what fails later, or may itself."""
        if not _converts(source, target):
            return True
        if target.kind == "Decimal" or target.is_nested or target.zone is not None:
            # lists of another width, and times that a time zone does not have, fail
            return source != target
        if source is not None and source.is_temporal:
            return not target.is_numeric and not self.in_calendar(inner)
        return False

    def in_calendar(self, expr: Expr) -> bool:
        """Whether a date, time or duration is a stored one, or one near it, so that the calendar has it."""
        dtype = self._dtype(expr)
        match expr:
            case Alias(input=inner):
                return self.in_calendar(inner)
            case Column(name=name):
                value = self.frame.columns.get(name)
                return value is not None and (value.stored or value.dated)
            case Cast(input=inner, dtype=target):
                source = self._dtype(inner)
                return target.is_temporal and source is not None and source.is_temporal and self.in_calendar(inner)
            case Call(function="add" | "sub", args=(one, two)) if dtype is not None and dtype.kind != "Duration":
                return self._moved_in_calendar(one, two) or self._moved_in_calendar(two, one)
            case Call(function="sub", args=(one, two)):
                return self.in_calendar(one) and self.in_calendar(two)
            case Call(function=name, args=(inner, *more)) if not any(columns_in(a) for a in more):
                read = name in _STILL_DATED or (name in _DATED and isinstance(inner, Column))
                return read and self.in_calendar(inner)
            case _:
                return not columns_in(expr)

    def _moved_in_calendar(self, moved: Expr, by: Expr) -> bool:
        """Whether a stored date is moved by a constant that is not too long."""
        stored = (
            isinstance(moved, Column) and (value := self.frame.columns.get(moved.name)) is not None and value.stored
        )
        dtype = by.dtype if isinstance(by, Literal) else None
        if not stored or dtype is None or dtype.kind != "Duration" or not isinstance(by, Literal):
            return False
        per_day = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}.get(dtype.unit or "us", 1)
        return isinstance(by.value, int) and abs(by.value) <= MOST_DAYS * per_day

    def _is_number(self, expr: Expr) -> bool:
        dtype = self._dtype(expr)
        return dtype is not None and dtype.is_numeric

    def _dtype(self, expr: Expr) -> DType | None:
        try:
            return expr_dtype(expr, self.frame.schema)
        except BindError:
            return None

    def _ternary(self, expr: Ternary) -> Value:
        condition, truthy, falsy = (self.value(e) for e in (expr.predicate, expr.truthy, expr.falsy))
        sources = join_sources((condition, truthy, falsy))
        if not sources:
            return CONSTANT
        values = join_sources((truthy, falsy))
        branches = (expr.truthy, expr.falsy)
        kinds = {str(d) for d in map(self._dtype, branches) if d is not None and d.kind != "Null"}
        unlike = len(kinds) > 1 and any("Decimal" in kind for kind in kinds)
        if unlike or self._members_only(branches, [self._dtype(b) for b in branches]):
            self.cross_row.append("!when")
        makes_nulls = any(isinstance(e, Literal) and e.value is None for e in (expr.truthy, expr.falsy))
        if not values or len({(s.occurrence, s.column) for s in sources}) == 1:
            # INVARIANT: a literal in when/then keeps the class of its condition.
            return Value(sources, Form.BITS if self._is_bits(expr) else Form.BINNED, makes_nulls=makes_nulls)
        return Value(sources, Form.MIX, makes_nulls=True, reason="when/then picks whose values count")

    def _over(self, expr: Over) -> Value:
        keys = [self.value(k) for k in expr.partition_by]
        windowed = expr.input
        name = windowed.function if isinstance(windowed, Call) else ""
        args = windowed.args if isinstance(windowed, Call) and name in PER_UNIT_WINDOWS else (windowed,)
        alone = all(isinstance(a, Literal) for a in args[1:])
        value = self.value(args[0]) if args and alone else self._mix(args, "a window over several columns")
        if expr.mapping == "explode" and any(k.sources for k in keys):
            # as many numbers as there are people, in as many rows as they have
            self.cross_row.append("!over")
        if name in PER_UNIT_WINDOWS and any(overflows(name, a, self.frame, self.world) for a in args):
            self.cross_row.append(f"!{name}")
        units = [k for k in keys if k.plain is not None and self.world.is_unit(k.plain)]
        if units:
            # it reads that person's rows alone, whatever it is; only some of them make a column of the person
            self.cross_row = [f"={f}" if f == name else f for f in self.cross_row]
        else:
            self.cross_row.append("over")
        # which unit it is says nothing of the unit's values
        others = [k for k in keys if k not in units]
        sources = join_sources([value, *others, *(self.value(o) for o in expr.order_by)])
        split = any(k.form is not Form.CONSTANT for k in others)
        if value.several and self.frame.fanned:
            return Value(sources, Form.MIX, makes_nulls=True, reason="a window over several columns")
        if name in PER_UNIT_WINDOWS and value.form is Form.COLUMN and not value.makes_nulls and not split:
            # INVARIANT: partitioned by unit, every value depends on the unit's own rows alone, so it is a column of its own.
            bit = self.bit_of_unit(value, name)
            made = Value(sources, Form.COLUMN, makes_nulls=True, own_scale=value.own_scale, bit=bit)
            return replace(made, picked=self.several_rows, reason=WINDOW)
        if value.form in (Form.BITS, Form.BINNED, Form.NULLS):
            return Value(sources, Form.BINNED, makes_nulls=True)
        return Value(sources, Form.MIX, makes_nulls=True, reason="a window over several columns")

    @property
    def several_rows(self) -> bool:
        """Whether people may have several rows in the frame."""
        datasets = {o.dataset for o in self.frame.occurrences}
        return self.frame.fanned or any(self.world.rows_per_unit.get(d, 1) > 1 for d in datasets)

    def bit_of_unit(self, value: Value, function: str) -> tuple[float, ...] | None:
        """Return the two values of one unit's statistic of a bit: with one row per unit, that row's."""
        datasets = {o.dataset for o in self.frame.occurrences}
        most = [self.world.rows_per_unit.get(d) for d in datasets] if not self.frame.fanned else []
        return value.bit if most == [1] and function in _OF_ONE_ROW else None

    def _listed(self, expr: Call) -> Value | None:
        """Return a column for arithmetic that the owner listed (`derived=`)."""
        sources = self._plain_sources(expr)
        if not sources:
            return None
        (dataset,) = {s.dataset for s in sources.values()} if len({s.dataset for s in sources.values()}) == 1 else ("",)
        facts = self.world.facts.get(dataset)
        for name, text in ((facts.policy.derived or {}) if facts else {}).items():
            renamed = rewrite(expr, lambda e: Column(sources[e.name].column) if isinstance(e, Column) else e)
            if renamed == parse_derived(name, text):
                return Value(frozenset(sources.values()), Form.COLUMN, own_scale=True, listed=True)
        return None

    def _plain_sources(self, expr: Expr) -> dict[str, Source] | None:
        found = {}
        for name in columns_in(expr):
            value = self.frame.columns.get(name)
            if value is None or value.plain is None:
                return None
            found[name] = value.plain
        return found

    def _call(self, expr: Call) -> Value:
        function = find(expr.function)
        if function is None:
            self.unknown.append(expr.function)
            return self._mix(expr.args, "the function is not registered")
        if function.shape is not Shape.SAME or function.flow in CROSS_ROW:
            self.cross_row.append(expr.function)
            return self._mix(expr.args, "it reads other rows")
        if function.flow is not FunctionFlow.ELEMENTWISE:
            self.cross_row.append(expr.function)
            return self._mix(expr.args, "it reads other rows")
        values = [self.value(a) for a in expr.args]
        given = slice(0) if expr.function in TAKES_COLUMNS else slice(1, None)
        picky = slice(None) if self._fails(expr) else given
        unread = not self.frame.private or all(map(written_down, expr.args[picky]))
        if not unread or any(v.sources for v in values[picky]):
            # INVARIANT: no value of a row may decide whether the query fails, nor whether there is a row: a constant that stands in
            # a column fails where somebody is left. What is written down is tried by itself before data is read (engine/probe.py)
            self.cross_row.append(f"!{expr.function}")
            return self._mix(expr.args, "it fails at some values, which tells of single rows")
        if all(v.form is Form.CONSTANT for v in values):
            return self._constant(expr, values)
        special = _SPECIAL.get(expr.function)
        if special is not None:
            found = special(self, expr, values)
            if found is not None:
                return found
        return self._other(expr, values)

    def _fails(self, expr: Call) -> bool:
        """Whether the function may fail at some values."""
        if expr.function in GUESSES and expr.option("format", None) is None:
            return True
        if expr.function in FORMATS:
            return not (
                writes(self._dtype(expr.args[0]), expr.option("format", None)) and self.in_calendar(expr.args[0])
            )
        if expr.function not in TOTAL:
            return True
        kinds = [self._dtype(a) for a in expr.args]
        out = self._dtype(expr)
        if self._members_only(expr.args, kinds) or (
            out is not None and out.zone is not None and expr.function in _DATED
        ):
            return True
        if any(d is not None and d.inner is not None and "Decimal" in str(d) for d in kinds):
            return True
        if any(d is not None and d.kind == "Decimal" for d in kinds):
            plain = [
                isinstance(a, Literal) and d is not None and d.kind != "Decimal"
                for a, d in zip(expr.args, kinds, strict=True)
            ]
            alike = len({str(d) for d, is_plain in zip(kinds, plain, strict=True) if not is_plain}) == 1
            return not (expr.function in _OF_DECIMAL or (expr.function in _OF_DECIMALS and alike))
        # INVARIANT: beyond the calendar's end functions of dates fail, or give nothing, at the value of one row
        dated = [
            a for a, d in zip(expr.args, kinds, strict=True) if d is not None and d.kind in ("Date", "Datetime", "Time")
        ]
        if expr.function in ("add", "sub"):
            return bool(dated) and out is not None and out.kind != "Duration" and not self.in_calendar(expr)
        reads = expr.function.startswith("dt.") or expr.function in _JOINS_TEXT
        return reads and not all(map(self.in_calendar, dated))

    @staticmethod
    def _members_only(args: Sequence[Expr], kinds: Sequence[DType | None]) -> bool:
        """Whether a column meets values of an Enum that it is not of: what is no member fails."""
        enums = {d for d in kinds if d is not None and d.kind == "Enum"}
        return bool(enums) and any(
            bool(columns_in(a)) and d is not None and d.kind != "Null" and enums != {d}
            for a, d in zip(args, kinds, strict=True)
        )

    @staticmethod
    def _constant(expr: Call, values: Sequence[Value]) -> Value:
        found = number(expr)
        if found is not None:
            return Value(low=found, high=found)
        simple = expr.function in PLAIN_ARITHMETIC
        return Value(low=None, high=None, steps=sum(v.steps + 1 for v in values) if simple else MAX_STEPS + 1)

    def _other(self, expr: Call, values: Sequence[Value]) -> Value:
        """Any other row-by-row function."""
        sources = join_sources(values)
        makes_nulls = any(v.makes_nulls for v in values) or expr.function not in NULL_KEEPING
        if self._is_bits(expr):
            return Value(sources, Form.BITS, makes_nulls=makes_nulls)
        mixed = next((v for v in values if v.form is Form.MIX), None)
        columns = {(s.occurrence, s.column) for s in sources}
        if mixed is None and expr.function in _AFFINE and any(v.form is Form.COLUMN for v in values):
            reason = "its constants are too large or too small for the column, or several columns are mixed"
            return Value(sources, Form.MIX, makes_nulls=True, reason=reason)
        if mixed is None and len(columns) <= 1:
            window = WINDOW if any(v.reason == WINDOW for v in values) else ""
            return Value(sources, Form.BINNED, makes_nulls=makes_nulls, reason=window)
        discrete = {Form.CONSTANT, Form.BITS, Form.BINNED, Form.NULLS}
        if mixed is None and expr.function in _JOINS_TEXT:
            return Value(sources, Form.BINNED, makes_nulls=makes_nulls)
        if mixed is None and expr.function == "pl.coalesce" and all(v.form in discrete for v in values):
            return Value(sources, Form.BINNED, makes_nulls=makes_nulls)
        reason = mixed.reason if mixed is not None else "arithmetic over several columns is a choice of weights"
        return Value(sources, Form.MIX, makes_nulls=True, reason=reason)

    # -- functions with rules of their own

    def _fits(self, expr: Call, value: Value | None) -> Value | None:
        """Return the value, or None where whole numbers of this type could overflow.

        INVARIANT: an overflow wraps around, so an affine function would be one no more; the same holds for constants that
        drive floats to infinity or below their precision (see flow_affine).
        """
        if value is None or value.form not in (Form.COLUMN, Form.COMBINATION):
            return value
        limits = INTEGERS.get(dtype.kind if (dtype := self._dtype(expr)) is not None else "")
        if limits is None or not self.world.measured:
            return value
        fits = value.low is not None and value.high is not None and limits[0] <= value.low <= value.high <= limits[1]
        return value if fits else None

    def _add(self, expr: Call, values: Sequence[Value]) -> Value | None:
        return self._fits(expr, self._plus(expr, values))

    def _plus(self, expr: Call, values: Sequence[Value]) -> Value | None:
        one, two = values
        sign = -1.0 if expr.function == "sub" else 1.0
        if two.form is Form.CONSTANT:
            return affine(one, 1.0, two, sign, measured=self.world.measured)
        if one.form is Form.CONSTANT:
            return affine(two, sign, one, 1.0, measured=self.world.measured)
        linear = {Form.COLUMN, Form.COMBINATION}
        if one.form in linear and two.form in linear:
            known = None not in (one.low, one.high, two.low, two.high)
            low, high = (two.low, two.high) if sign > 0 else (two.high, two.low)
            first, last = (one.low + sign * low, one.high + sign * high) if known else (None, None)  # type: ignore[operator]
            return Value(
                one.sources | two.sources,
                Form.COMBINATION,
                first,
                last,
                makes_nulls=one.makes_nulls or two.makes_nulls,
                picked=one.picked or two.picked,
            )
        return None

    def _multiply(self, expr: Call, values: Sequence[Value]) -> Value | None:
        one, two = values
        if two.form is Form.CONSTANT:
            return self._fits(expr, scaled(one, two))
        if one.form is Form.CONSTANT:
            return self._fits(expr, scaled(two, one))
        return None

    def _divide(self, expr: Call, values: Sequence[Value]) -> Value | None:
        one, two = values
        if two.form is not Form.CONSTANT:
            return None
        if two.low is not None and two.low == two.high and two.low:
            return scaled(one, Value(low=1 / two.low, high=1 / two.low))
        return scaled(one, replace(two, low=None, high=None))

    def _negate(self, expr: Call, values: Sequence[Value]) -> Value | None:
        return self._fits(expr, scaled(values[0], Value(low=-1.0, high=-1.0)))

    def _allowed(self, expr: Call, values: Sequence[Value]) -> Value | None:
        value = values[0]
        if value.form is not Form.COLUMN or not value.pristine:
            return None
        low, high = value.low, value.high
        # INVARIANT: no bend within the values. Half of sum(abs(x)) - sum(x) is what is below 0, which may be one person's.
        match expr.function:
            case "abs":
                if (low is None or high is None) and self.world.measured:
                    return None
                if low is not None and high is not None:
                    if low < 0 < high:
                        return None
                    low, high = sorted((abs(low), abs(high)))
            case "str.len_chars" | "str.len_bytes":
                # INVARIANT: of a sensitive category it is a bin: a sum and a variance of few lengths count each category
                if any(self.world.role(s).kind is RoleKind.SENSITIVE for s in value.sources):
                    return None
                low, high = 0.0, None
            case _:
                # INVARIANT: of a date that is nobody's to know they are bins: sums and variances of parts count few of them
                if any(self.world.role(s).secret for s in value.sources):
                    return None
                low, high = DATE_PARTS[expr.function]
        return value.derived(Form.COLUMN, low=low, high=high, own_scale=True, bit=value.bit)

    def _clip(self, expr: Call, values: Sequence[Value]) -> Value | None:
        value = values[0]
        limits = [number(a) for a in expr.args[1:]]
        if value.plain is None or len(limits) != 2 or None in limits:
            return None
        role = self.world.role(value.plain)
        # INVARIANT: values outside are cut off by clip, so that the difference shows them; only where there are none it goes
        within = value.low is not None and value.high is not None and role.lower is not None and role.upper is not None
        within = within and role.lower <= value.low and value.high <= role.upper  # type: ignore[operator]
        if within and [role.lower, role.upper] == limits:
            return value.derived(Form.COLUMN, low=role.lower, high=role.upper, own_scale=True)
        return None

    def _is_null(self, expr: Call, values: Sequence[Value]) -> Value | None:
        value = values[0]
        if value.pristine and not value.makes_nulls:
            return value.derived(Form.NULLS, low=0.0, high=1.0)
        return None

    def _fill(self, expr: Call, values: Sequence[Value]) -> Value | None:
        value, *fills = values
        if value.form is not Form.COLUMN or value.makes_nulls or any(f.form is not Form.CONSTANT for f in fills):
            return None
        dtype = self._dtype(expr)
        added = dtype is not None and (dtype.is_numeric or dtype.is_temporal)
        # INVARIANT: fills are contributions that the scientist knows and takes off again: they would hide who dominates
        if added and any((s.dataset, s.column) in self.world.nullable for s in value.sources):
            return None
        # INVARIANT: nor do they widen the bounds: of a column without missing values a fill is nobody's value, and as far from
        # one beyond the bounds everybody is about as far as anybody
        # shown as a value that k people hold, the filled ones among them; numbers are shown on a grid, which a fill moves
        own = value.own_scale and not self._is_number(expr)
        kept = {"coarse": value.coarse, "per_row": value.per_row}
        return value.derived(Form.COLUMN, low=value.low, high=value.high, own_scale=own, bit=value.bit, **kept)


_TEXTS = frozenset({"String", "Categorical", "Enum"})


def _converts(source: DType | None, target: DType) -> bool:
    """Whether a cast gives a value or null for every value of a type.

    INVARIANT: others the engine refuses, however lenient a cast is, where there is a row, and not where there is none.
    """
    if source is None or source == target or source.kind == "Null":
        return source is not None
    if source.is_numeric or source.kind == "Boolean":
        return target.is_numeric or target.kind in ("Boolean", "String")  # numbers may be dates that calendars do not have
    if source.is_temporal:
        days = {"Date", "Datetime"}
        alike = source.kind == target.kind or {source.kind, target.kind} <= days or (source.kind, target.kind) == ("Datetime", "Time")
        return alike or target.is_numeric or (target.kind == "String" and source.kind != "Duration")
    if source.kind == "String":
        return target.is_numeric or target.kind in (*_TEXTS, "Binary")
    return target.kind in (_TEXTS if source.kind in _TEXTS else {"String"} if source.kind == "Binary" else ())


def writes(dtype: DType | None, pattern: object) -> bool:
    """Whether a format gives a text for every date of a type. None: the type's own."""
    if dtype is None or dtype.kind not in _NUMBERS or dtype.zone is not None:
        return False
    if pattern is None:
        return True
    one = f"%(%|[-_0]?[{_NUMBERS[dtype.kind]}]|[{_WORDS[dtype.kind]}])"
    return (
        isinstance(pattern, str)
        and len(pattern) <= MAX_FORMAT
        and re.fullmatch(f"({one}|[^%])*", pattern, re.DOTALL) is not None
    )


def scalar_bounds(expr: Expr, typing: ExpressionTyping) -> Value:
    """Return what is known of a released number that is brought back to the rows."""
    below = [scalar_bounds(c, typing) if is_scalar(c) else CONSTANT for c in children(expr)]
    steps = sum(v.steps for v in below) + 1
    if any(isinstance(c, Literal) and not ordinary(typing.value(c)) for c in children(expr)):
        return Value(steps=MAX_STEPS + 1)
    match expr:
        case Literal():
            return typing.value(expr)
        case Alias():
            return below[0]
        case Cast(dtype=dtype):
            return below[0] if dtype == FLOAT64 else Value(steps=MAX_STEPS + 1)
        case Call(function="mean" | "median" | "min" | "max" | "quantile", args=(inner, *_)):
            value = typing.value(inner)
            return Value(low=value.low, high=value.high, steps=1)
        case Call(function="std", args=(inner, *_)):
            value = typing.value(inner)
            known = value.low is not None and value.high is not None
            return Value(low=0.0, high=value.high - value.low, steps=1) if known else Value(steps=1)  # type: ignore[operator]
        case Call(function="sub" | "add" as function) if all(v.low is not None and v.high is not None for v in below):
            one, two = below
            low, high = (two.low, two.high) if function == "add" else (-two.high, -two.low)  # type: ignore[operator]
            return Value(low=one.low + low, high=one.high + high, steps=steps)  # type: ignore[operator]
        case Call(function=name) if name in PLAIN_ARITHMETIC:
            return Value(steps=steps)
        case Call(args=args) if args and not all(map(is_scalar, args)):
            return Value(steps=1)
        case _:
            return Value(steps=MAX_STEPS + 1)


def join_sources(values: Iterable[Value]) -> frozenset[Source]:
    """Return all source columns of several values."""
    return frozenset().union(*(v.sources for v in values))


def _outwards(bound: float | None, direction: int) -> float | None:
    if bound is None:
        return None
    return float(math.ceil(bound) if direction > 0 else math.floor(bound))


#: statistics of a single value that are the value
_OF_ONE_ROW = frozenset(
    ["sum", "mean", "min", "max", "median", "quantile", "first", "last", "cum_sum", "cum_min", "cum_max"]
)
_AFFINE = frozenset({"add", "sub", "mul", "truediv", "neg"})
_JOINS_TEXT = frozenset({"pl.concat_str", "pl.format"})
_Special = Callable[[ExpressionTyping, Call, Sequence[Value]], Value | None]
_SPECIAL: dict[str, _Special] = {
    "add": ExpressionTyping._add,
    "sub": ExpressionTyping._add,
    "mul": ExpressionTyping._multiply,
    "truediv": ExpressionTyping._divide,
    "neg": ExpressionTyping._negate,
    "clip": ExpressionTyping._clip,
    "is_null": ExpressionTyping._is_null,
    "is_not_null": ExpressionTyping._is_null,
    "fill_null": ExpressionTyping._fill,
    **dict.fromkeys(ALLOWED | DATE_PARTS.keys(), ExpressionTyping._allowed),
}
