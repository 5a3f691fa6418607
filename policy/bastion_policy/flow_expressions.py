"""In which form an expression over private rows carries the columns it derives from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from bastion_plan.dtypes import FLOAT64
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
from bastion_policy.flow_affine import MAX_STEPS, PLAIN_ARITHMETIC, ordinary
from bastion_policy.flow_chosen import chosen_in
from bastion_policy.flow_functions import AFFINE, CROSS_ROW, JOINS_TEXT, PER_UNIT_WINDOWS, TAKES_COLUMNS
from bastion_policy.flow_nulls import Nulls, keeps_values
from bastion_policy.flow_order import reads_order
from bastion_policy.flow_special import SPECIAL
from bastion_policy.flow_trees import columns_in, is_scalar, number, rewrite, written_down
from bastion_policy.flow_within import overflows
from bastion_policy.lineage import CONSTANT, Form, Frame, Source, Value, World

#: parts of one expression that are looked at
MAX_NODES = 1000
#: what is said of numbers that a window takes of one person's rows, to tell what to ask instead
WINDOW = "it is a window over one person's rows"


class ExpressionTyping(Nulls):
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
            found = replace(found, bit=(0.0, 1.0))
        chosen = chosen_in(expr, self.frame, self.world, found.sources)
        return found if chosen == found.chosen else replace(found, chosen=chosen)

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
        source = self.dtype(expr.input)
        target = expr.dtype
        read = inner.sources or (self.frame.private and not written_down(expr.input))
        if read and self.cast_fails(expr.input, source, target):
            self.cross_row.append("!cast")
        if inner.form in (Form.CONSTANT, Form.NULLS):
            whole = inner.low is not None and inner.low == math.floor(inner.low) and abs(inner.low) < 2**53
            if inner.sources or (target == FLOAT64 and inner.low is not None) or (target.kind == "Int64" and whole):
                return inner
            # what number a conversion gives is not known
            return replace(inner, low=None, high=None, steps=MAX_STEPS + 1)
        if inner.form is Form.COMBINATION:
            same = expr.dtype == FLOAT64 or expr.dtype == self.dtype(expr.input)
            return inner if same else inner.derived(Form.MIX, makes_nulls=True, reason="a cast of a sum of columns")
        if inner.form is not Form.COLUMN:
            # INVARIANT: what does not fit becomes null, and so does who is beyond a threshold that the asker chooses
            nulls = inner.makes_nulls or not keeps_values(source, target)
            return inner.derived(inner.form, makes_nulls=nulls, reason=inner.reason)
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
            if (
                keep
                or (text and keeps_values(source, target))
                or (times and (target.unit != "ns" or (source is not None and source.unit == "ns")))
            ):
                low, high = (inner.low, inner.high) if keep else (None, None)
                return replace(inner, low=low, high=high, plain=None, pristine=False)
            # floats are cut to whole numbers: bins
        # narrow types make nulls where a value does not fit: a condition in disguise
        return inner.derived(Form.BINNED, makes_nulls=True)

    def _ternary(self, expr: Ternary) -> Value:
        condition, truthy, falsy = (self.value(e) for e in (expr.predicate, expr.truthy, expr.falsy))
        sources = join_sources((condition, truthy, falsy))
        if not sources:
            return CONSTANT
        values = join_sources((truthy, falsy))
        branches = (expr.truthy, expr.falsy)
        kinds = {str(d) for d in map(self.dtype, branches) if d is not None and d.kind != "Null"}
        unlike = len(kinds) > 1 and any("Decimal" in kind for kind in kinds)
        if unlike or self.members_only(branches, [self.dtype(b) for b in branches]):
            self.cross_row.append("!when")
        makes_nulls = (
            truthy.makes_nulls or falsy.makes_nulls or any(map(self.blank, branches)) or self.narrows(branches)
        )
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
        sources = join_sources([value, *others, *(self.value(o) for o in expr.order_by)]) | self.order(expr)
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

    def order(self, expr: Expr) -> frozenset[Source]:
        """Return the measures that decide which rows an expression takes, by the order in which a sort put them.

        INVARIANT: the month that comes last in the order of pay tells of pay as the month with the most pay does.
        """
        return self.frame.ordered if self.frame.ordered and reads_order(expr) else frozenset()

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
                return Value(frozenset(sources.values()), Form.COLUMN, own_scale=True, listed=True, evenly=True)
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
        picky = slice(None) if self.fails(expr) else given
        unread = not self.frame.private or all(map(written_down, expr.args[picky]))
        if not unread or any(v.sources for v in values[picky]):
            # INVARIANT: no value of a row may decide whether the query fails, nor whether there is a row: a constant that stands in
            # a column fails where somebody is left. What is written down is tried by itself before data is read (engine/probe.py)
            self.cross_row.append(f"!{expr.function}")
            return self._mix(expr.args, "it fails at some values, which tells of single rows")
        if all(v.form is Form.CONSTANT for v in values):
            return self._constant(expr, values)
        special = SPECIAL.get(expr.function)
        found = special(self, expr, values) if special is not None else None
        made = self._other(expr, values) if found is None else found
        return replace(made, makes_nulls=True) if self.loses(expr) else made

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
        makes_nulls = any(v.makes_nulls for v in values) or self.makes_nulls(expr)
        if self._is_bits(expr):
            return Value(sources, Form.BITS, makes_nulls=makes_nulls)
        mixed = next((v for v in values if v.form is Form.MIX), None)
        columns = {(s.occurrence, s.column) for s in sources}
        if mixed is None and expr.function in AFFINE and any(v.form is Form.COLUMN for v in values):
            reason = "its constants are too large or too small for the column, or several columns are mixed"
            return Value(sources, Form.MIX, makes_nulls=True, reason=reason)
        if mixed is None and len(columns) <= 1:
            window = WINDOW if any(v.reason == WINDOW for v in values) else ""
            return Value(sources, Form.BINNED, makes_nulls=makes_nulls, reason=window)
        discrete = {Form.CONSTANT, Form.BITS, Form.BINNED, Form.NULLS}
        if mixed is None and expr.function in JOINS_TEXT:
            return Value(sources, Form.BINNED, makes_nulls=makes_nulls)
        if mixed is None and expr.function == "pl.coalesce" and all(v.form in discrete for v in values):
            return Value(sources, Form.BINNED, makes_nulls=makes_nulls)
        reason = mixed.reason if mixed is not None else "arithmetic over several columns is a choice of weights"
        return Value(sources, Form.MIX, makes_nulls=True, reason=reason)


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


def join_chosen(values: Iterable[Value]) -> frozenset[Source]:
    """Return what several values tell of besides their columns."""
    return frozenset().union(*(v.chosen for v in values))


def join_sources(values: Iterable[Value]) -> frozenset[Source]:
    """Return all source columns of several values."""
    return frozenset().union(*(v.sources for v in values))


#: statistics of a single value that are the value
_OF_ONE_ROW = frozenset(
    ["sum", "mean", "min", "max", "median", "quantile", "first", "last", "cum_sum", "cum_min", "cum_max"]
)
