"""Plans evaluated row by row: every row knows the rows of the owner's tables it is made of, every column what it derives from.

Rows that a filter or a join takes out stay in the frame as ghosts, so that the same expressions can be evaluated on
any other population of the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

import row_values as v
from bastion_plan import nodes as n
from bastion_plan.bind import BoundPlan
from bastion_plan.dtypes import Schema
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, Over, Ternary, children
from bastion_plan.functions.registry import get
from bastion_plan.functions.spec import REDUCING, Flow, Shape
from bastion_plan.typing import expr_dtype
from bastion_policy.facts import DatasetFacts
from bastion_policy.model import Role, RoleKind
from row_statistics import statistic
from row_values import Unknown

Source = tuple[int, str, str]  # scan occurrence, dataset, column
#: evaluates one elementwise call on one row: (call, values of the row, schema) -> value
Foreign = Callable[[Expr, Mapping[str, Any], Schema], Any]


class Form(IntEnum):
    """How a value carries its columns, from harmless to arbitrary."""

    CONSTANT = 0
    NULLS = 1  # whether a stored value is missing
    COLUMN = 2  # a column or an affine function of one
    FUNCTION = 3  # one of the allowed functions of one column
    COMBINATION = 4  # sums and differences of columns
    BITS = 5  # a condition
    BINNED = 6  # another function of one column, or a label
    MIX = 7  # arithmetic over several private columns


@dataclass(frozen=True)
class Lineage:
    """What a column derives from. plain: an unchanged copy. bounds: where the owner gave them.

    each: one number per person, made of a person's rows. picked: such a number, which one of several rows may give.
    summed: of a sum of a person's rows, the bounds of each row. averaged: a mean of a person's rows.
    """

    form: Form = Form.CONSTANT
    sources: frozenset[Source] = frozenset()
    plain: bool = False
    bounds: tuple[float, float] | None = None
    each: bool = False
    picked: bool = False
    summed: tuple[float, float] | None = None
    averaged: bool = False

    @property
    def columns(self) -> frozenset[tuple[str, str]]:
        """(dataset, column) of the sources."""
        return frozenset((d, c) for _, d, c in self.sources)

    @property
    def private(self) -> bool:
        """Whether values differ by row."""
        return self.form is not Form.CONSTANT


@dataclass
class Values:
    """A column over the rows of a frame. forbidden: why nothing of it may leave. cautious: why docs send it to review.

    memo: what was computed of it in its frame, by what it is.
    """

    values: list[Any]
    lineage: Lineage
    forbidden: frozenset[str] = frozenset()
    cautious: frozenset[str] = frozenset()
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, what: str, compute: Callable[[], Any]) -> Any:
        """What is the same whenever it is asked for."""
        if what not in self.memo:
            self.memo[what] = compute()
        return self.memo[what]


@dataclass
class Row:
    """values by column; origin: (occurrence, row of its dataset), with repetitions; alive: part of the frame."""

    values: dict[str, Any]
    origin: tuple[tuple[int, int], ...]
    alive: bool = True


@dataclass
class Dataset:
    """A table as the owner knows it."""

    facts: DatasetFacts
    rows: list[dict[str, Any]]

    def unit(self, row: int) -> Any:
        """Whom a row is about."""
        return row if self.facts.unit is None else self.rows[row][self.facts.unit]


@dataclass
class Frame:
    """A table on its way.

    private: rows belong to people. occurrences: dataset by scan occurrence. marks: what is forbidden, and what is sent to
    review, of computed columns, should they be used.
    """

    private: bool
    rows: list[Row]
    columns: dict[str, Lineage]
    schema: Schema
    occurrences: dict[int, str] = field(default_factory=dict)
    forbidden: frozenset[str] = frozenset()
    cautious: frozenset[str] = frozenset()
    marks: dict[str, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict)
    cache: dict[Expr, Values] = field(default_factory=dict)

    def but(self, **changes: Any) -> Frame:
        """A changed copy."""
        return replace(self, cache={}, **changes)

    @property
    def alive(self) -> list[int]:
        """Positions of the rows that are in the frame."""
        return [i for i, r in enumerate(self.rows) if r.alive]


@dataclass
class Leaf:
    """A statistic: a reducing call of private arguments under conditions of its own.

    parts: the columns of a combination, whose sums are guarded one by one.
    """

    call: Call
    function: str
    options: dict[str, Any]
    args: tuple[Values, ...]
    conditions: tuple[Values, ...]
    forbidden: frozenset[str]
    cautious: frozenset[str]
    parts: tuple[Values, ...] = ()


@dataclass
class Boundary:
    """Where rows become cells. cells: positions of the living rows by key. outputs: name and expression over leaves."""

    node: n.Node
    frame: Frame
    keys: tuple[str, ...]
    cells: dict[tuple[Any, ...], list[int]]
    outputs: list[tuple[str, Expr]]
    leaves: dict[Call, Leaf]
    forbidden: frozenset[str]
    cautious: frozenset[str]
    tied: bool = False


@dataclass
class Behind:
    """A plan whose last boundary is `inner`; what comes after is free."""

    node: n.Node
    inner: Boundary


Reading = Frame | Boundary | Behind
#: gives the released value per key of one aggregate over partitions (None: hidden)
Decide = Callable[[Boundary], dict[tuple[Any, ...], list[Any]]]

#: rows of several people, in an order: sent to review in any place
PEOPLE = "across people"
#: statistics that all rows of a person take part in, none of which is bent as a spread is
OF_ALL_ROWS = ("sum", "mean", "count", "len", "pl.len", "null_count", "n_unique")
ALLOWED_OF_ONE = ("abs", "str.len_chars", "str.len_bytes", "fill_null", "clip")
COMPARING = (
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "is_in",
    "is_between",
    "eq_missing",
    "ne_missing",
    "is_nan",
    "is_finite",
)
ADDING = ("sum", "mean", "var", "std", "pl.cov", "pl.corr")
ORDERED = ("median", "quantile", "min", "max", "nan_min", "nan_max")
LOGIC = ("and_", "or_", "xor", "not_")


def reducing(expr: Expr) -> bool:
    """Whether an expression is a call that makes one value (or a few) of a column."""
    return isinstance(expr, Call) and (
        (f := get(expr.function)).flow in REDUCING
        or f.flow is Flow.TIED
        or (f.flow is Flow.ROW and f.shape is not Shape.SAME)
    )


def scalar(expr: Expr) -> bool:
    """Whether an expression is arithmetic over aggregates and constants, with at least one aggregate."""

    def walk(e: Expr) -> tuple[bool, bool]:
        if reducing(e):
            return True, True
        if isinstance(e, Literal):
            return True, False
        if isinstance(e, Column | Over):
            return False, False
        found = [walk(c) for c in children(e)]
        return all(ok for ok, _ in found), any(has for _, has in found)

    return walk(expr) == (True, True)


def strip(expr: Expr) -> Expr:
    while isinstance(expr, Alias):
        expr = expr.input
    return expr


def apart(expr: Expr) -> Expr:
    """A column of an answer, where nulls of a when/then without otherwise are what they are: the rows less those with a value."""
    if isinstance(expr, Alias):
        return Alias(apart(expr.input), expr.name)
    if not isinstance(expr, Call):
        return expr
    if not reducing(expr):
        return Call(expr.function, tuple(map(apart, expr.args)), expr.options)
    arg = strip(expr.args[0]) if expr.function == "null_count" else None
    if isinstance(arg, Ternary) and isinstance(no := strip(arg.falsy), Literal) and no.value is None:
        return Call("sub", (Call("pl.len"), Call("count", expr.args)))
    return expr


def name_of(expr: Expr) -> str:
    assert isinstance(expr, Alias | Column), expr
    return expr.name


class Reader:
    """Reads one bound plan."""

    def __init__(
        self, datasets: Mapping[str, Dataset], bound: BoundPlan, decide: Decide, foreign: Foreign | None = None,
        *, strict: bool = False, rounds: bool = False,
    ) -> None:  # fmt: skip
        self.datasets, self.bound, self.decide, self.foreign = datasets, bound, decide, foreign
        self.strict, self.rounds = strict, rounds
        self.occurrence = 0
        self.sorted = any(isinstance(x, n.Sort) for x in bound.schemas)

    # -- roles

    def role(self, column: tuple[str, str]) -> Role:
        return self.datasets[column[0]].facts.column(column[1]).role

    def uses(self, lineage: Lineage, allowed: Iterable[RoleKind], what: str) -> frozenset[str]:
        ok = set(allowed)
        return frozenset(f"{what}: {c[1]}" for c in lineage.columns if self.role(c).kind not in ok)

    @property
    def choosing(self) -> set[RoleKind]:
        """The roles of columns that may choose rows."""
        return {RoleKind.PUBLIC, RoleKind.QUASI} | (set() if self.strict else {RoleKind.MEASURE})

    def as_predicate(self, lineage: Lineage) -> frozenset[str]:
        return self.uses(lineage, self.choosing, "predicate")

    def as_key(self, lineage: Lineage) -> frozenset[str]:
        # cells of a binned measure are what predicates could choose as well
        binned = lineage.form in (Form.BITS, Form.BINNED, Form.FUNCTION)
        return self.uses(lineage, self.choosing - (set() if binned else {RoleKind.MEASURE}), "key")

    # -- expressions

    def column(self, frame: Frame, expr: Expr, schema: Schema) -> Values:
        """Evaluate an expression with one value per row."""
        expr = strip(expr)
        if expr not in frame.cache:
            frame.cache[expr] = self._column(frame, expr, schema)
        return frame.cache[expr]

    def _column(self, frame: Frame, expr: Expr, schema: Schema) -> Values:
        match expr:
            case Column(name=name):
                lineage = frame.columns[name]
                hidden = frozenset(f"hidden: {c[1]}" for c in lineage.columns if self.role(c).kind is RoleKind.HIDDEN)
                forbidden, cautious = frame.marks.get(name, (frozenset[str](), frozenset[str]()))
                return Values([r.values.get(name) for r in frame.rows], lineage, hidden | forbidden, cautious)
            case Literal(dtype=dtype, value=value):
                return Values([v.literal(dtype, value)] * len(frame.rows), Lineage())
            case Cast(input=inner, dtype=dtype):
                below = self.column(frame, inner, schema)
                lineage = one_column(below.lineage, allowed=True)
                if dtype.is_numeric:
                    lineage = replace(lineage, bounds=below.lineage.bounds)
                return Values(
                    [v.cast(x, dtype) for x in below.values], lineage, below.forbidden, below.cautious | {"cast"}
                )
            case Ternary():
                return self._ternary(frame, expr, schema)
            case Over():
                return self._window(frame, expr.input, expr.partition_by, expr, schema)
            case Call():
                flow = get(expr.function).flow
                if scalar(expr):
                    return self._window(frame, expr, (), None, schema)
                if flow in (Flow.ELEMENTWISE, Flow.GENERATOR):
                    return self._elementwise(frame, expr, schema)
                return self._nothing(frame, expr, schema, f"{flow.value} function on rows: {expr.function}")
        raise Unknown(type(expr).__name__)

    def _nothing(self, frame: Frame, expr: Expr, schema: Schema, reason: str) -> Values:
        """Values of something that may never leave."""
        below = [self.column(frame, c, schema) for c in children(expr) if not reducing(c)]
        sources = frozenset[Source]().union(*(b.lineage.sources for b in below))
        return Values([None] * len(frame.rows), Lineage(Form.MIX, sources), frozenset({reason}), frozenset({PEOPLE}))

    def _ternary(self, frame: Frame, expr: Ternary, schema: Schema) -> Values:
        test, yes, no = (self.column(frame, e, schema) for e in (expr.predicate, expr.truthy, expr.falsy))
        values = [a if t else b for t, a, b in zip(test.values, yes.values, no.values, strict=True)]
        parts = (test, yes, no)
        sources = frozenset[Source]().union(*(p.lineage.sources for p in parts))
        single = not yes.lineage.private and not no.lineage.private
        form = Form.CONSTANT if not sources else Form.BINNED if single else Form.MIX
        numbers = [v.values[0] for v in (yes, no) if single and v.values and isinstance(v.values[0], int | float)]
        if single and test.lineage.plain and len(numbers) == 2:
            form = Form.COLUMN  # an affine function of a Boolean column
        if single and test.lineage.form in (Form.BITS, Form.NULLS) and {*yes.values[:1], *no.values[:1]} == {0, 1}:
            form = Form.BITS
        return Values(
            values,
            Lineage(form, sources),
            frozenset[str]().union(*(p.forbidden for p in parts)),
            frozenset({"when/then"}).union(*(p.cautious for p in parts)),
        )

    def _elementwise(self, frame: Frame, expr: Call, schema: Schema) -> Values:
        args = [self.column(frame, a, schema) for a in expr.args]
        options = dict(expr.options)
        lineage = combined(expr.function, args, bits=expr_dtype(expr, schema).kind == "Boolean")
        if expr.function == "sub" and expr.args[0] == expr.args[1]:
            lineage = Lineage()
        forbidden = frozenset[str]().union(*(a.forbidden for a in args))
        cautious = frozenset[str]().union(*(a.cautious for a in args))
        if not lineage.private and any(a.lineage.private for a in args):
            cautious |= {"a column less itself"}
        if lineage.form in (Form.BINNED, Form.FUNCTION, Form.MIX):
            cautious |= {f"{lineage.form.name.lower()}: {expr.function}"}
        if lineage.form is Form.BITS and len(lineage.columns) > 1:
            cautious |= {"condition over several columns"}
        if expr.function == "clip" and not at_bounds(args):
            lineage = one_column(lineage, allowed=False)
        if (
            expr.function == "fill_null"
            and lineage.form is Form.FUNCTION
            and not any(a.lineage.private for a in args[1:])
        ):
            # a fill is nobody's value: the bounds that the owner declared hold of what people have
            lineage = replace(lineage, bounds=args[0].lineage.bounds)
        if not frame.rows:
            return Values([], lineage, forbidden, cautious)
        try:
            values = [v.apply(expr.function, list(row), options) for row in zip(*(a.values for a in args), strict=True)]
        except (Unknown, TypeError, ValueError, OverflowError):
            if self.foreign is None:
                raise Unknown(expr.function) from None
            values = [self.foreign(expr, r.values, schema) for r in frame.rows]
            cautious |= {f"function: {expr.function}"}
        return Values(values, lineage, forbidden, cautious)

    def _window(self, frame: Frame, inner: Expr, keys: Sequence[Expr], over: Over | None, schema: Schema) -> Values:
        """An aggregate brought back to the rows."""
        if not frame.private:
            raise Unknown("window over a released frame")
        parts = [self.column(frame, k, schema) for k in keys]
        unit = len(frame.occurrences) == 1 and any(self.is_unit(p.lineage) for p in parts)
        cells = grouped(frame, parts, frame.alive)
        if unit:
            return self._within_units(frame, inner, cells, schema)
        if over is not None and (over.order_by or over.mapping != "group_to_rows"):
            return self._nothing(frame, inner, schema, "ordered window over people")
        if not scalar(inner):
            return self._nothing(frame, inner, schema, "window of rows over people")
        leaves = self.leaves(frame, (inner,), schema, nested=not keys)
        forbidden = frozenset[str]().union(*(p.forbidden | self.as_key(p.lineage) for p in parts))
        cautious = frozenset({"window"}).union(*(p.cautious for p in parts))
        for leaf in leaves.values():
            forbidden, cautious = forbidden | leaf.forbidden, cautious | leaf.cautious
        names = tuple(f"k{i}" for i in range(len(parts)))
        boundary = Boundary(
            n.Scan("#"), frame, names, cells, [("value", inner)], leaves, frame.forbidden | forbidden, cautious
        )
        shown = self.decide(boundary)
        by_row = {i: shown[key][0] for key, rows in cells.items() for i in rows if key in shown}
        sources = frozenset[Source]().union(*(p.lineage.sources for p in parts))
        label = Lineage(Form.BINNED, sources) if parts else Lineage()
        return Values([by_row.get(i) for i in range(len(frame.rows))], label, forbidden, cautious)

    def _within_units(
        self, frame: Frame, inner: Expr, cells: dict[tuple[Any, ...], list[int]], schema: Schema
    ) -> Values:
        """A window of one unit's own rows: stays private."""
        values: list[Any] = [None] * len(frame.rows)
        if scalar(inner):
            leaves = self.leaves(frame, (inner,), schema, nested=False)
            for rows in cells.values():
                found = self.arithmetic(inner, {c: statistic(leaf, rows) for c, leaf in leaves.items()})
                for i in rows:
                    values[i] = found
            below = [a for leaf in leaves.values() for a in leaf.args]
        elif isinstance(inner, Call) and inner.function == "shift" and shifts_by_one(inner) and not self.sorted:
            below = [self.column(frame, inner.args[0], schema)]
            for rows in cells.values():
                for before, i in zip([None, *rows], rows, strict=False):
                    values[i] = None if before is None else below[0].values[before]
        else:
            raise Unknown("window within units")
        lineage = widest([b.lineage for b in below])
        forbidden = frozenset[str]().union(*(b.forbidden for b in below))
        lineage = replace(lineage, plain=False, bounds=None, picked=self.several(frame))
        return Values(values, lineage, forbidden, frozenset({"within units"}))

    def several(self, frame: Frame) -> bool:
        """Whether people have several rows in one of a frame's tables."""
        tables = [self.datasets[d] for d in frame.occurrences.values()]
        return any(len({t.unit(i) for i in range(len(t.rows))}) < len(t.rows) for t in tables)

    def is_unit(self, lineage: Lineage) -> bool:
        return lineage.plain and any(self.datasets[d].facts.unit == c for d, c in lineage.columns)

    # -- statistics

    def leaves(self, frame: Frame, exprs: Iterable[Expr], schema: Schema, *, nested: bool) -> dict[Call, Leaf]:
        """The statistics of expressions. nested: aggregates inside arguments are of the whole frame."""
        found: dict[Call, Leaf] = {}

        def walk(expr: Expr) -> None:
            expr = strip(expr)
            if reducing(expr):
                assert isinstance(expr, Call)
                found[expr] = self._leaf(frame, expr, schema, nested)
            else:
                for c in children(expr):
                    walk(c)

        for e in exprs:
            walk(e)
        return found

    def _leaf(self, frame: Frame, call: Call, schema: Schema, nested: bool) -> Leaf:
        function = get(call.function)
        forbidden: set[str] = set()
        cautious: set[str] = set()
        conditions: list[Values] = []
        if call.function in ("any", "all", "has_nulls", "is_empty", "null_count", "approx_n_unique", "approx_quantile"):
            cautious.add(f"no guard: {call.function}")
        if call.function == "hist":
            raise Unknown("hist")
        if function.flow is Flow.ROW:
            forbidden.add(f"row-level: {call.function}")
        args: list[Values] = []
        parts: list[Values] = []
        name = call.function
        for arg in call.args:
            arg = strip(arg)
            rows = call.function not in ("null_count", "len", "has_nulls", "n_unique", "approx_n_unique")
            while True:
                if (
                    rows
                    and isinstance(arg, Ternary)
                    and isinstance(no := strip(arg.falsy), Literal)
                    and no.value is None
                ):
                    # a when-condition chooses rows, as a filter does
                    conditions.append(self.column(frame, arg.predicate, schema))
                    cautious.add("when/then")
                    arg = strip(arg.truthy)
                    continue
                if not (isinstance(arg, Call) and get(arg.function).flow is Flow.FILTER):
                    break
                if not nested and any(reducing(e) or isinstance(e, Over) for p in arg.args[1:] for e in descend(p)):
                    raise Unknown("aggregate inside the condition of an aggregate")
                if arg.function == "filter":
                    conditions += [self.column(frame, p, schema) for p in arg.args[1:]]
                elif arg.function == "drop_nulls" and name in ("len", "count"):
                    name = "count"  # as many rows are left as there are values
                elif arg.function == "drop_nulls" and self.strict and rows:
                    pass  # a statistic of values leaves out what is missing anyway: no condition on a secret column
                elif arg.function == "drop_nulls":
                    conditions.append(self.column(frame, Call("is_not_null", (arg.args[0],)), schema))
                else:
                    forbidden.add(f"row-level: {arg.function}")
                arg = strip(arg.args[0])
            if not nested and any(reducing(e) or isinstance(e, Over) for e in descend(arg)):
                raise Unknown("aggregate inside the argument of an aggregate")
            args.append(self.column(frame, arg, schema))
            if args[-1].lineage.form is Form.COMBINATION:
                parts += [self.column(frame, e, schema) for e in summands(arg)]
        for a in args:
            if a.lineage.form is Form.COMBINATION and (None in a.values or call.function not in ("sum", "mean")):
                cautious.add("a combination with nulls, or not of a sum")
            if call.function in ORDERED and a.lineage.private and not (a.lineage.plain or a.lineage.each):
                # of a column as it is stored: cells of two grids, of x and of 2 x, may overlap in a single person
                cautious.add("an order statistic of a changed column")
            if call.function == "n_unique" and not self.is_unit(a.lineage):
                cautious.add("n_unique of other columns")
            if call.function in ("pl.cov", "pl.corr"):
                cautious.add("covariances with known columns, and many of them")
            if a.lineage.picked and call.function in ADDING:
                forbidden.add("argument: a number that one of a person's rows may give")
        for condition in conditions:
            forbidden |= self.as_predicate(condition.lineage)
        for part in (*args, *conditions):
            forbidden |= part.forbidden
            cautious |= part.cautious
        if function.flow is Flow.TIED:
            forbidden |= frozenset[str]().union(*(self.as_key(a.lineage) for a in args))
        if function.flow is not Flow.COUNT:
            for a in args:
                forbidden |= self.uses(a.lineage, set(RoleKind) - {RoleKind.IDENTIFIER}, "statistic of")
        options = {o.name: o.default for o in function.options} | dict(call.options)
        if self.strict and function.flow is not Flow.TIED:
            from row_rounding import strict_argument

            forbidden |= strict_argument(call.function, args)
        if (self.strict or self.rounds) and call.function in ("var", "std", "pl.cov") and options["ddof"] not in (0, 1):
            forbidden.add("argument: another divisor")
        limits = frozenset(forbidden), frozenset(cautious)
        private = tuple(p for p in parts if p.lineage.private)
        return Leaf(call, name, options, tuple(args), tuple(conditions), *limits, private)

    def arithmetic(self, expr: Expr, values: Mapping[Call, Any]) -> Any:
        """Evaluate an expression over statistics."""
        expr = strip(expr)
        if isinstance(expr, Call) and expr in values:
            return values[expr]
        match expr:
            case Literal(dtype=dtype, value=value):
                return v.literal(dtype, value)
            case Cast(input=inner, dtype=dtype):
                return v.cast(self.arithmetic(inner, values), dtype)
            case Call(function=name, args=args, options=options):
                return v.apply(name, [self.arithmetic(a, values) for a in args], dict(options))
            case Ternary(predicate=p, truthy=t, falsy=f):
                return self.arithmetic(t if self.arithmetic(p, values) else f, values)
        raise Unknown(type(expr).__name__)

    # -- nodes

    def read(self, node: n.Node) -> Reading:
        """Evaluate a node of the bound plan."""
        if isinstance(node, n.Scan):
            return self._scan(node)
        if isinstance(node, n.Inline):
            columns = {c.name: [v.literal(c.dtype, x) for x in c.values] for c in node.columns}
            rows = [Row(dict(zip(columns, r, strict=True)), ()) for r in zip(*columns.values(), strict=True)]
            return Frame(False, rows, dict.fromkeys(columns, Lineage()), self.bound.schemas[node])
        below = [self.read(i) for i in n.inputs(node)]
        if any(not isinstance(b, Frame) for b in below):
            if len(below) > 1:
                raise Unknown("released frames in joins")
            inner = below[0].inner if isinstance(below[0], Behind) else below[0]
            assert isinstance(inner, Boundary)
            return Behind(node, inner)
        frames = [b for b in below if isinstance(b, Frame)]
        if not any(f.private for f in frames):
            raise Unknown("public frames alone")
        schema = self.bound.schemas[n.inputs(node)[0]]
        match node:
            case n.Filter(predicate=predicate):
                return self._filter(frames[0], predicate, schema)
            case n.DropNulls(subset=subset, nans=False):
                frame = frames[0]
                for c in subset or tuple(Column(name) for name in frame.columns):
                    frame = self._filter(frame, Call("is_not_null", (c,)), schema)
                return frame
            case n.WithColumns(exprs=exprs):
                return self._project(frames[0], exprs, schema, self.bound.schemas[node], keep=True)
            case n.Select(exprs=exprs):
                return self._select(node, frames[0], exprs, schema)
            case n.GroupBy():
                return self._group(node, frames[0], schema)
            case n.Join():
                return self._join(node, *frames)
            case n.Concat(how="vertical"):
                return self._concat(node, frames)
            case n.Sort(by=by):
                frame, forbidden = frames[0], frozenset[str]()
                for expr in by:
                    forbidden |= self.column(frame, expr, schema).forbidden
                return frame.but(forbidden=frame.forbidden | forbidden)
            case n.Slice() | n.TopK() | n.Sample():
                return frames[0].but(forbidden=frames[0].forbidden | {f"rows picked: {type(node).__name__}"})
        raise Unknown(type(node).__name__)

    def _scan(self, node: n.Scan) -> Frame:
        dataset, occurrence = self.datasets[node.dataset], self.occurrence
        self.occurrence += 1
        rows = [Row(dict(r), ((occurrence, i),)) for i, r in enumerate(dataset.rows)]
        columns = {}
        for c in dataset.facts.columns:
            bounds = None if c.role.lower is None or c.role.upper is None else (c.role.lower, c.role.upper)
            columns[c.name] = Lineage(Form.COLUMN, frozenset({(occurrence, node.dataset, c.name)}), True, bounds)
        return Frame(True, rows, columns, self.bound.schemas[node], {occurrence: node.dataset})

    def _filter(self, frame: Frame, predicate: Expr, schema: Schema) -> Frame:
        found = self.column(frame, predicate, schema)
        rows = [replace(r, alive=r.alive and x is True) for r, x in zip(frame.rows, found.values, strict=True)]
        return frame.but(
            rows=rows,
            forbidden=frame.forbidden | found.forbidden | self.as_predicate(found.lineage),
            cautious=frame.cautious | {c for c in found.cautious if c.startswith(("window", "function"))},
        )

    def _project(self, frame: Frame, exprs: Iterable[Expr], schema: Schema, out: Schema, *, keep: bool) -> Frame:
        made = {name_of(e): self.column(frame, e, schema) for e in exprs}
        rows = []
        for i, r in enumerate(frame.rows):
            fresh = {name: m.values[i] for name, m in made.items()}
            rows.append(replace(r, values=(r.values | fresh) if keep else fresh))
        columns = (frame.columns if keep else {}) | {name: m.lineage for name, m in made.items()}
        marks = (frame.marks if keep else {}) | {name: (m.forbidden, m.cautious) for name, m in made.items()}
        # whether the column is used or not
        named = {f for m in made.values() for f in m.forbidden if f.startswith("hidden")}
        cautious = {c for m in made.values() for c in m.cautious if c == PEOPLE}
        return frame.but(
            rows=rows, columns=columns, schema=out, marks=marks, cautious=frame.cautious | named | cautious
        )

    def _select(self, node: n.Select, frame: Frame, exprs: tuple[Expr, ...], schema: Schema) -> Reading:
        tied = [e for e in exprs if isinstance(c := strip(e), Call) and get(c.function).flow is Flow.TIED]
        if tied or (exprs and all(scalar(strip(e)) for e in exprs)):
            if tied and len(exprs) > 1:
                raise Unknown("tied values beside others")
            return self._boundary(node, frame, (), exprs, schema)
        return self._project(frame, exprs, schema, self.bound.schemas[node], keep=False)

    def _boundary(
        self, node: n.Node, frame: Frame, keys: tuple[Expr, ...], aggs: tuple[Expr, ...], schema: Schema
    ) -> Boundary:
        aggs = tuple(map(apart, aggs))
        parts = [self.column(frame, k, schema) for k in keys]
        forbidden, cautious = frame.forbidden, frame.cautious
        for p in parts:
            forbidden |= p.forbidden | self.as_key(p.lineage)
            cautious |= p.cautious - {f"binned: {c.function}" for k in keys for c in descend(k) if isinstance(c, Call)}
            if len(p.lineage.columns) > 1:
                cautious |= {"key of several columns"}
        leaves = self.leaves(frame, aggs, schema, nested=not keys)
        cells = grouped(frame, parts, frame.alive)
        outputs = [(name_of(e), strip(e)) for e in aggs]
        for _, e in outputs:
            if not scalar(e):
                cautious |= {"rows in a cell"}
        if not keys:
            cells = {(): frame.alive}
        names = tuple(name_of(k) for k in keys)
        tied = any(get(leaf.function).flow is Flow.TIED for leaf in leaves.values())
        return Boundary(node, frame, names, cells, outputs, leaves, forbidden, cautious, tied)

    def _group(self, node: n.GroupBy, frame: Frame, schema: Schema) -> Reading:
        parts = [self.column(frame, k, schema) for k in node.keys]
        if not any(self.is_unit(p.lineage) for p in parts) or len(frame.occurrences) > 1:
            return self._boundary(node, frame, node.keys, node.aggs, schema)
        leaves = self.leaves(frame, node.aggs, schema, nested=False)
        names = [name_of(k) for k in node.keys]
        columns: dict[str, Lineage] = dict(zip(names, (p.lineage for p in parts), strict=True))
        most = max((len(c) for c in grouped(frame, parts, range(len(frame.rows))).values()), default=1)
        for e in node.aggs:
            inside = [a.lineage for c in descend(e) if c in leaves for a in leaves[c].args]
            if sum(c in leaves for c in descend(e)) > 1:
                columns[name_of(e)] = Lineage(Form.MIX, widest(inside).sources)
            else:
                bounds = per_unit_bounds(leaves[strip(e)], most) if strip(e) in leaves else None
                picked = self.several(frame) and strip(e) in leaves and leaves[strip(e)].function not in OF_ALL_ROWS
                found_of = replace(widest(inside), plain=False, bounds=bounds, each=True, picked=picked)
                of_rows = row_bounds(leaves[strip(e)]) if strip(e) in leaves else None
                averaged = strip(e) in leaves and leaves[strip(e)].function == "mean"
                columns[name_of(e)] = replace(found_of, summed=of_rows, averaged=found_of.averaged or averaged)
        rows = []
        everything = grouped(frame, parts, range(len(frame.rows)))
        for key, members in everything.items():
            living = [i for i in members if frame.rows[i].alive]
            for chosen, alive in ((living, True), (members, False)):
                if not chosen or (not alive and len(living) == len(members)):
                    continue
                found = {c: statistic(leaf, chosen) for c, leaf in leaves.items()}
                values = dict(zip(names, key, strict=True))
                values |= {name_of(e): self.arithmetic(e, found) for e in node.aggs}
                rows.append(Row(values, tuple(o for i in chosen for o in frame.rows[i].origin), alive))
        forbidden = frame.forbidden.union(*(p.forbidden for p in parts))
        cautious = frame.cautious.union(*(leaf.cautious for leaf in leaves.values()))
        if len(parts) > 1:
            cautious |= {"a key beside the unit"}
        schemas = self.bound.schemas[node]
        # a unit's number of rows is no column of the owner's
        marks = {
            name: (frozenset[str](), frozenset({"rows of a unit"})) for name in columns if not columns[name].sources
        }
        for e in node.aggs:
            # what must not be told of one column is none of the others'
            odd = frozenset[str]().union(*(leaves[c].forbidden for c in descend(e) if c in leaves))
            marks[name_of(e)] = (odd, marks.get(name_of(e), (odd, frozenset[str]()))[1])
        return frame.but(
            rows=rows, columns=columns, schema=schemas, forbidden=forbidden, cautious=cautious, marks=marks
        )

    def _join(self, node: n.Join, left: Frame, right: Frame) -> Frame:
        if not left.private or node.nulls_equal or node.how not in ("inner", "left", "semi", "anti"):
            raise Unknown(f"join {node.how}")
        if right.private and node.how != "inner":
            raise Unknown(f"join {node.how} between private tables")
        ls, rs = self.bound.schemas[node.left], self.bound.schemas[node.right]
        left_on = [self.column(left, e, ls) for e in node.left_on]
        right_on = [self.column(right, e, rs) for e in node.right_on]
        forbidden, cautious = left.forbidden | right.forbidden, left.cautious | right.cautious
        matches: dict[tuple[Any, ...], list[int]] = {}
        for i in range(len(right.rows)):
            key = tuple(p.values[i] for p in right_on)
            if None not in key:
                matches.setdefault(key, []).append(i)
        for p in (*left_on, *(right_on if right.private else ())):
            owned = right.private and (not self.strict or self.is_unit(p.lineage))
            fine = self.choosing | ({RoleKind.IDENTIFIER} if owned else set())
            forbidden |= p.forbidden | self.uses(p.lineage, fine, "join key")
            cautious |= p.cautious
        if right.private and not any(self.is_unit(p.lineage) for p in right_on):
            cautious |= {"keys that may repeat"}
        if right.private and set(left.occurrences.values()) & set(right.occurrences.values()):
            cautious |= {"a table joined again"}
        # people with several rows there repeat theirs here: docs/guard.md, *Repeated rows*
        by_unit = right.private and all(self.is_unit(p.lineage) for p in (*left_on, *right_on))
        dropped = {e.name for e in node.right_on if isinstance(e, Column)}
        carried = {
            c: c if c not in left.columns else c + node.suffix
            for c in right.columns
            if not (c in dropped and node.how in ("inner", "left"))
        }
        rows: list[Row] = []
        used: set[int] = set()
        for i, row in enumerate(left.rows):
            found = matches.get(tuple(p.values[i] for p in left_on), [])
            living = [j for j in found if right.rows[j].alive]
            if node.how in ("semi", "anti"):
                rows.append(replace(row, alive=row.alive and bool(living) == (node.how == "semi")))
                continue
            if len(living) > 1 and row.alive and not by_unit:
                forbidden |= {"a join that multiplies rows"}
            for j in found:
                used.add(j)
                values = row.values | {new: right.rows[j].values[old] for old, new in carried.items()}
                rows.append(Row(values, row.origin + right.rows[j].origin, row.alive and right.rows[j].alive))
            if not found:
                values = row.values | dict.fromkeys(carried.values())
                rows.append(Row(values, row.origin, row.alive and node.how == "left"))
        if node.how in ("semi", "anti"):
            return left.but(rows=rows, forbidden=forbidden, cautious=cautious)
        if right.private:
            rows += [
                Row({new: r.values[old] for old, new in carried.items()}, r.origin, alive=False)
                for j, r in enumerate(right.rows)
                if j not in used
            ]
        label = Lineage(Form.BINNED, frozenset[Source]().union(*(p.lineage.sources for p in left_on)))
        columns = left.columns | {new: right.columns[old] if right.private else label for old, new in carried.items()}
        return left.but(
            rows=rows, columns=columns, schema=self.bound.schemas[node], forbidden=forbidden, cautious=cautious,
            occurrences=left.occurrences | right.occurrences,
            marks=left.marks | {carried[c]: m for c, m in right.marks.items() if c in carried},
        )  # fmt: skip

    def _concat(self, node: n.Concat, parts: list[Frame]) -> Frame:
        if not all(p.private for p in parts):
            raise Unknown("concat with public rows")
        columns, cautious = {}, frozenset({"concat"}).union(*(p.cautious for p in parts))
        # rounded numbers are not told of rows that are in more often
        repeated = frozenset({"repeated rows"} if self.rounds or self.strict else ())
        for name in parts[0].columns:
            lineages = [p.columns[name] for p in parts]
            sources = frozenset[Source]().union(*(x.sources for x in lineages))
            alike = len({x.columns for x in lineages}) == 1 and len({x.form for x in lineages}) == 1
            plain = alike and all(x.plain for x in lineages)
            columns[name] = Lineage(
                lineages[0].form if alike else Form.MIX, sources, plain, lineages[0].bounds if plain else None
            )
        return Frame(
            True,
            [r for p in parts for r in p.rows],
            columns,
            self.bound.schemas[node],
            {o: d for p in parts for o, d in p.occurrences.items()},
            repeated.union(*(p.forbidden for p in parts)),
            cautious,
            {
                name: (
                    f.union(*(p.marks[name][0] for p in parts if name in p.marks)),
                    f.union(*(p.marks[name][1] for p in parts if name in p.marks)),
                )
                for name in columns
                for f in (frozenset[str](),)
            },
        )


# -- lineage of values


def one_column(lineage: Lineage, *, allowed: bool) -> Lineage:
    """A function of one value: allowed only of a plain column."""
    if not lineage.private:
        return lineage
    if lineage.form is Form.MIX or len(lineage.columns) > 1:
        return Lineage(Form.MIX, lineage.sources)
    fine = allowed and (lineage.plain or lineage.form is Form.FUNCTION)
    form = Form.FUNCTION if fine else Form.BINNED
    return Lineage(form, lineage.sources, picked=lineage.picked, averaged=lineage.averaged)


def widest(lineages: Sequence[Lineage]) -> Lineage:
    """What several values together are, where one of them is passed on."""
    private = [x for x in lineages if x.private]
    if len(private) == 1:
        return private[0]
    sources = frozenset[Source]().union(*(x.sources for x in lineages))
    return Lineage(Form.MIX if private else Form.COLUMN, sources)


def shifted(x: Lineage, name: str, args: Sequence[Values]) -> Lineage:
    """An affine function: bounds move along."""
    if x.form not in (Form.COLUMN, Form.FUNCTION, Form.COMBINATION):
        return one_column(x, allowed=False)
    moved = None
    if x.bounds is not None and args[0].values:
        ends = [v.apply(name, [b if a.lineage.private else a.values[0] for a in args], {}) for b in x.bounds]
        moved = None if None in ends else (min(ends), max(ends))
    return replace(x, plain=False, bounds=moved, each=False, summed=None)


def combined(name: str, args: Sequence[Values], *, bits: bool) -> Lineage:
    """The lineage of an elementwise function's result. bits: it is Boolean."""
    private = [a.lineage for a in args if a.lineage.private]
    if not private:
        return Lineage()
    sources = frozenset[Source]().union(*(x.sources for x in private))
    columns = frozenset((d, c) for _, d, c in sources)
    if name in ("is_null", "is_not_null"):
        return Lineage(Form.NULLS if private[0].plain else Form.BITS, sources)
    if name in COMPARING or (name in LOGIC and all(x.form in (Form.BITS, Form.NULLS) for x in private)):
        return Lineage(Form.BITS, sources)
    if name in LOGIC and bits:
        return Lineage(Form.BITS, sources)
    first = args[0].lineage
    if len(private) == 1:
        if name in ("add", "sub", "mul", "neg") or (name == "truediv" and first.private):
            return shifted(private[0], name, args)
        if name in ALLOWED_OF_ONE or name.startswith("dt."):
            return one_column(private[0], allowed=first.private)
        return one_column(private[0], allowed=False)
    if name in ("add", "sub") and all(x.form in (Form.COLUMN, Form.FUNCTION, Form.COMBINATION) for x in private):
        picked, averaged = (any(getattr(x, of) for x in private) for of in ("picked", "averaged"))
        return Lineage(Form.COMBINATION, sources, picked=picked, averaged=averaged)
    return Lineage(Form.BINNED if len(columns) == 1 else Form.MIX, sources)


def per_unit_bounds(leaf: Leaf, most: int) -> tuple[float, float] | None:
    """Bounds of one unit's statistic, with at most so many rows per unit."""
    if not leaf.args:
        return (0, most)
    some = [x for x in leaf.args[0].values if isinstance(x, int | float)]
    low, high = leaf.args[0].lineage.bounds or ((min(some), max(some)) if some else (0, 0))
    match leaf.function:
        case "sum":
            return (min(0, low * most), max(0, high * most))
        case "mean" | "min" | "max" | "median" | "quantile":
            return (low, high)
        case "count" | "len":
            return (0, most)
    return None


def row_bounds(leaf: Leaf) -> tuple[float, float] | None:
    """Bounds of the rows that a sum is of."""
    if leaf.function != "sum" or leaf.conditions or leaf.args[0].lineage.form is not Form.COLUMN:
        return None
    some = [x for x in leaf.args[0].values if isinstance(x, int | float)]
    return leaf.args[0].lineage.bounds or ((min(some), max(some)) if some else None)


def shifts_by_one(call: Call) -> bool:
    """Whether a shift is the plain one."""
    by = [a.value for a in call.args[1:] if isinstance(a, Literal)]
    return by == [1] and len(call.args) == 2


def at_bounds(args: Sequence[Values]) -> bool:
    """Whether a clip is to the owner's bounds."""
    bounds = args[0].lineage.bounds
    given = [a.values[0] for a in args[1:] if a.values]
    return bounds is not None and all(g is None or g in bounds for g in given)


def descend(expr: Expr) -> Iterable[Expr]:
    """An expression and all below."""
    yield expr
    for c in children(expr):
        yield from descend(c)


def summands(expr: Expr) -> Iterable[Expr]:
    """What a sum or a difference adds up."""
    expr = strip(expr)
    if isinstance(expr, Call) and expr.function in ("add", "sub"):
        for arg in expr.args:
            yield from summands(arg)
    else:
        yield expr


def grouped(frame: Frame, parts: Sequence[Values], among: Iterable[int]) -> dict[tuple[Any, ...], list[int]]:
    """Positions by key, in order of appearance."""
    cells: dict[tuple[Any, ...], list[int]] = {}
    for i in among:
        cells.setdefault(tuple(p.values[i] for p in parts), []).append(i)
    return cells
