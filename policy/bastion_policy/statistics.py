"""Which statistics may be computed of which arguments, and what each must pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from bastion_plan.dtypes import FLOAT64, NULL, UINT32, DType
from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Column, Expr, Literal, Over, Ternary, children
from bastion_plan.functions.registry import find
from bastion_plan.functions.spec import Flow as FunctionFlow
from bastion_plan.functions.spec import Shape
from bastion_plan.typing import expr_dtype

from bastion_policy import flow_strict as strict
from bastion_policy.boundary import Guard, Output, Statistic, Term, call
from bastion_policy.flow_expressions import WINDOW, ExpressionTyping
from bastion_policy.flow_failures import adds_up, largest
from bastion_policy.flow_linear import MAX_PARTS, Linear, linear
from bastion_policy.flow_total import FORMATS
from bastion_policy.flow_trees import is_scalar, number, with_children
from bastion_policy.lineage import OWN, Form, Frame, Source, Value, World, is_string
from bastion_policy.roles import RoleKind
from bastion_policy.rounding import check_divisor
from bastion_policy.verdict import Finding

COUNTS = frozenset({"pl.len", "len", "count", "null_count"})
#: statistics that are given as intervals
_ORDERED = frozenset({"min", "max", "median", "quantile"})
#: statistics of yes-or-no columns that the number of those who say yes decides
_OF_BITS = frozenset({"sum", "mean", "var", "std", "min", "max", "median", "quantile"})
FIX_AGGREGATE = "Aggregate it, for example .group_by(...).agg(pl.col(...).mean())."
FIX_STATISTIC = "Use count, sum, mean, var, std, median, quantile, min or max."
FIX_ARGUMENT = "Use the column itself, or a * column + b; bin it, or ask the owner to list the formula (derived=)."


#: functions that read times from text, with a format for an example
_READING = {
    "str.to_date": '"%d/%m/%Y"',
    "str.to_datetime": '"%Y-%m-%d %H:%M:%S"',
    "str.to_time": '"%H:%M:%S"',
    "str.strptime": 'pl.Date, "%d/%m/%Y"',
}
_INSTEAD = {
    "hist": "Give the edges as numbers, alone in a select: .select(pl.col(...).hist([0, 10, 20])).",
    "value_counts": "Select it alone, .select(pl.col(...).value_counts()), or count by group: .group_by(...).agg(pl.len()).",
    "mode": "Select it alone, .select(pl.col(...).mode()), or count by group: .group_by(...).agg(pl.len()).",
    "unique": "Select the column alone: .select(pl.col(...).unique()).",
}


@dataclass
class StatisticsParser:
    """Splits aggregate expressions over one private frame into guarded statistics and free arithmetic over them."""

    frame: Frame
    world: World
    statistics: list[Statistic] = field(default_factory=list)

    def output(self, name: str, expr: Expr, dtype: DType) -> Output:
        """Return the column that `expr` gives, with what keeps it from leaving."""
        findings: list[Finding] = []
        post = self._scalar(expr, findings)
        return Output(name, dtype, post, tuple(sorted(self._used(post))), findings)

    def _used(self, expr: Expr) -> set[int]:
        if isinstance(expr, Column):
            return {int(expr.name.removeprefix(f"{OWN}s"))} if expr.name.startswith(f"{OWN}s") else set()
        return {i for c in children(expr) for i in self._used(c)}

    def _scalar(self, expr: Expr, findings: list[Finding]) -> AnyExpr:
        match expr:
            case Literal():
                return expr
            case Alias(input=inner):
                return self._scalar(inner, findings)
            case Call(function=name):
                function = find(name)
                if function is None:
                    findings.append(unknown(name))
                elif function.shape is Shape.ONE and function.flow is not FunctionFlow.ELEMENTWISE:
                    return self._statistic(expr, function.flow, findings)
                elif is_scalar(expr):
                    return with_children(expr, [self._scalar(a, findings) for a in expr.args])
                else:
                    findings.append(self._row_level(expr))
            case Cast() | Ternary() if is_scalar(expr):
                return with_children(expr, [self._scalar(c, findings) for c in children(expr)])
            case _:
                findings.append(self._row_level(expr))
        return expr  # type: ignore[return-value]

    def _row_level(self, expr: Expr) -> Finding:
        found = f"{expr.function}() " if isinstance(expr, Call) else "over() " if isinstance(expr, Over) else ""
        if isinstance(expr, Call) and expr.function in _INSTEAD:
            reason = f"{expr.function}() may show values or counts of single people."
            return Finding("row-level", reason, _INSTEAD[expr.function], self._labels(expr))
        what = found or (f"Column {expr.name!r} " if isinstance(expr, Column) else "The expression ")
        reason = f"{what}gives values of single people's rows, not a statistic over many."
        return Finding("row-level", reason, FIX_AGGREGATE, self._labels(expr))

    def _labels(self, *exprs: Expr) -> tuple[str, ...]:
        typing = ExpressionTyping(self.frame, self.world)
        return labels(frozenset().union(*(typing.value(e).sources for e in exprs)))

    # -- one statistic

    def _statistic(self, expr: Call, flow: FunctionFlow, findings: list[Finding]) -> AnyExpr:
        if (other := self._of_floats(expr)) is not None:
            made, dtype = self._statistic(other, flow, findings), self._dtype(expr)
            if dtype.kind == "Decimal":
                fits = call("le", call("abs", made), _f(largest(dtype)))
                made = Ternary(fits, made, Literal(NULL))
            return Cast(made, dtype, strict=False)
        if expr.args and expr.function in ("len", "null_count") and (kept := _dropping(expr.args[0])) is not None:
            # INVARIANT: rows without a value are not among those that are counted: there are as many as there are values
            count = self._statistic(Call("count", (kept,)), flow, findings)
            return count if expr.function == "len" else call("sub", count, count)
        if expr.args and expr.function in ("len", "null_count", "n_unique") and _choosing(expr.args[0]):
            # INVARIANT: when/then without otherwise leaves out no row: those that it does not take are null
            return self._of_chosen(expr, flow, findings)
        population: list[Expr] = []
        args = [_without_filters(a, population) for a in expr.args]
        if self.world.strict and (bare := strict.uncast(expr, self.frame, self._dtype)) != expr:
            return Cast(self._statistic(bare, flow, findings), self._dtype(expr), strict=False)
        typing = ExpressionTyping(self.frame, self.world)
        values = [typing.value(a) for a in args]
        conditions = [typing.value(p) for p in population]
        found: list[Finding] = []
        found += [unknown(name) for name in typing.unknown]
        found += [order_dependent(name) for name in dict.fromkeys(typing.cross_row)]
        for condition in conditions:
            found += check_condition(condition, self.world, "a condition")
        for value in values:
            found += check_argument(value, expr.function, self.world)
        if self.world.rounded:
            found += check_divisor(expr)
        if self.world.strict and not found:
            again = strict.counted(expr, values, self.world)
            if again is not None:
                return Cast(self._statistic(again, FunctionFlow.SUM, findings), self._dtype(expr), strict=False)
            found += strict.check_arguments(expr, args, values, self._dtype, typing.value)
        if not found:
            apart = self._apart(expr, flow, args, values, population, found)
            if apart is not None:
                findings += found
                return apart
        if population and expr.function == "sum" and self.world.rounded and not values[0].sources:
            # INVARIANT: a constant for each row that is picked: their number, which is rounded
            reason = "sum() of a constant that a condition picks tells how many rows it picks."
            found.append(Finding("argument", reason, "Add up the condition: (...).sum()."))
        if population and expr.function in ("pl.corr", "pl.cov"):
            reason = f"{expr.function}() of filtered columns tells by an error whether equally many rows are left."
            found.append(Finding("argument", reason, "Filter the table first.", self._labels(*args)))
        if args != list(expr.args) and expr.function in ("pl.corr", "pl.cov") and not found:
            reason = f"{expr.function}() of columns without their nulls may compare unlike rows."
            found.append(Finding("argument", reason, "Use the columns themselves.", self._labels(*args)))
        guard = None if found else self._guard(expr, flow, args, values, found)
        if guard is None:
            findings += found or [self._not_allowed(expr, values)]
            return expr
        terms = self._terms(expr, args, values, guard)
        share = {"min": 0.0, "max": 1.0, "median": 0.5}.get(expr.function)
        share = float(expr.option("quantile", 0.5)) if share is None else share
        if expr.function == "n_unique" and _dropping(expr.args[0]) is not None:
            args = [call("drop_nulls", *args)]  # nothing counts as a value of its own
        alone = Statistic(with_children(expr, args), expr.function, guard, self._dtype(expr), terms, share=share)
        position = self._position(alone)
        if population:
            position = self._position(replace(alone, call=expr, population=tuple(population), without=position))
        return Column(f"{OWN}s{position}")

    def _of_chosen(self, expr: Call, flow: FunctionFlow, findings: list[Finding]) -> AnyExpr:
        """Return the number of rows, or of nulls, of a when/then without otherwise."""
        if expr.function == "n_unique":
            reason = "n_unique() of when/then counts the rows that it does not take as a value of their own."
            findings.append(Finding("argument", reason, "Use .filter(...).n_unique().", self._labels(*expr.args)))
            return expr
        rows = self._statistic(Call("pl.len"), flow, findings)
        return rows if expr.function == "len" else call("sub", rows, self._statistic(call("count", *expr.args), flow, findings))  # type: ignore[arg-type]

    def _of_floats(self, expr: Call) -> Call | None:
        """Return the same statistic of a number with another type, which is cast afterwards; None: as it stands.

        INVARIANT: one column has one grid; a median of the column as floats is the column's median, as a float. And a sum that
        decimals may not hold is taken of floats: it has 12 digits, and does not fail whatever the values are.
        """
        if expr.function in _ORDERED and expr.args:
            return _changed(expr, self._as_stored)
        if expr.function == "sum":
            return _changed(expr, self._as_float)
        return None

    def _as_stored(self, arg: AnyExpr) -> AnyExpr | None:
        if not isinstance(arg, Cast) or arg.dtype != FLOAT64 or not self._dtype(arg.input).is_numeric:
            return None
        return arg.input

    def _as_float(self, arg: AnyExpr) -> AnyExpr | None:
        dtype = self._dtype(arg)
        if dtype.kind != "Decimal" or adds_up(dtype, ExpressionTyping(self.frame, self.world).value(arg), self.world):
            return None
        return Cast(arg, FLOAT64, strict=False)

    def _apart(
        self,
        expr: Call,
        flow: FunctionFlow,
        args: Sequence[Expr],
        values: Sequence[Value],
        population: Sequence[Expr],
        findings: list[Finding],
    ) -> AnyExpr | None:
        """Return a statistic of a linear function as arithmetic over statistics of its parts; None: take it as it is."""
        name = expr.function
        if args and (bit := self._of_bit(expr, args[0], values[0], population, findings)) is not None:
            return Cast(bit, self._dtype(expr), strict=False)
        if name not in ("sum", "mean", "var", "std", "pl.cov", "pl.corr", "count", "null_count") or not args:
            return None
        filled = self._filled(name, args, population, findings)
        if filled is not None:
            return Cast(filled, self._dtype(expr), strict=False)
        if name in COUNTS:
            return None
        if not all(self._dtype(a).is_numeric for a in args):
            return None  # dates and times have units of their own
        terms = [linear(a) for a in args]
        if all(t.trivial for t in terms):
            return None
        combined = values[0].form is Form.COMBINATION
        typing = ExpressionTyping(self.frame, self.world)
        parts = [typing.value(p) for t in terms for p, _ in t.parts]
        single = all(len(t.parts) == 1 for t in terms)
        forms = {v.form for v in parts}
        allowed = {Form.COLUMN, Form.BITS} if single else {Form.COLUMN, Form.CONSTANT}
        if not forms <= allowed or (not single and (not combined or name not in ("sum", "mean"))):
            return None
        if any(v.form is Form.MIX for v in values):
            return None  # its constants are out of all proportion
        if not single and not self._complete(parts):
            reason = "a sum of columns is only defined where all are known, which tells of single rows"
            columns = labels(frozenset().union(*(v.sources for v in parts)))
            fix = "Sum each column by itself: a.sum() + b.sum()."
            findings.append(Finding("argument", f"The argument could single people out: {reason}.", fix, columns))
            return expr

        def of(function: str, *inner: Expr) -> AnyExpr:
            filtered = tuple(call("filter", i, *population) if population else i for i in inner)
            again = Call(function, filtered, () if function == "count" else expr.options)  # type: ignore[arg-type]
            spec = find(function)
            assert spec is not None
            return Cast(self._statistic(again, spec.flow, findings), FLOAT64, strict=False)

        return Cast(self._together(name, terms, of), self._dtype(expr), strict=False)

    def _of_bit(
        self, expr: Call, arg: Expr, value: Value, population: Sequence[Expr], findings: list[Finding]
    ) -> AnyExpr | None:
        """Return a statistic of a yes-or-no column that could choose people as arithmetic over the mean of the condition it is.

        INVARIANT: how many are true is the size of a population, and so is how many are false: fewer than k of either are
        answered as none. Otherwise 0 and 1 .. k - 1 would look different, which a condition would not allow.
        """
        name = expr.function
        if self.world.strict or name not in _OF_BITS or not chooses(value, self.world):
            return None
        if name in ("sum", "mean", "var", "std") and not linear(arg).trivial:
            return None  # its parts are looked at, one by one
        if not value.bit or (value.makes_nulls and self._dtype(arg).kind != "Boolean"):
            reason = "The argument changes a yes-or-no column by what only the data tell."
            findings.append(Finding("argument", reason, "Use the column itself.", labels(value.sources)))
            return expr
        plain = self._dtype(arg).kind == "Boolean"
        if plain and name in ("sum", "mean"):
            return None
        if name in ("median", "quantile"):
            reason = f"{name}() of a yes-or-no column tells whether a few people say yes."
            findings.append(Finding("argument", reason, "Use its mean.", labels(value.sources)))
            return expr
        low, high = min(value.bit), max(value.bit)
        condition = arg if plain else call("gt", arg, _f((low + high) / 2))

        def of(function: str, inner: Expr) -> AnyExpr:
            spec = find(function)
            assert spec is not None
            again = call(function, call("filter", inner, *population) if population else inner)
            assert isinstance(again, Call)
            return Cast(self._statistic(again, spec.flow, findings), FLOAT64, strict=False)

        if name == "sum":
            total = call("mul", of("sum", condition), _f(high - low))
            return call("add", total, call("mul", of("count", arg), _f(low))) if low else total
        mean = of("mean", condition)
        match name:
            case "mean":
                return call("add", call("mul", mean, _f(high - low)), _f(low))
            case "min" | "max":
                edge = call("gt", mean, _f(0.0)) if name == "max" else call("ge", mean, _f(1.0))
                shown = Ternary(edge, _f(high), _f(low))
                return Ternary(call("is_not_null", mean), shown, Literal(NULL))
            case _:
                count = of("count", arg)
                freedom = call("sub", count, _f(float(expr.option("ddof", 1))))
                spread = call("mul", call("mul", mean, call("sub", _f(1.0), mean)), _f((high - low) ** 2))
                found = call("truediv", call("mul", spread, count), freedom)
                found = call("sqrt", found) if name == "std" else found
                return Ternary(call("gt", freedom, _f(0.0)), found, Literal(NULL))

    def _filled(
        self, name: str, args: Sequence[Expr], population: Sequence[Expr], findings: list[Finding]
    ) -> AnyExpr | None:
        """A statistic of x.fill_null(c): the sum is what is known, plus c for each missing one."""
        match args:
            case [Call(function="fill_null", args=(inner, fill))] if name in ("sum", "mean", "count", "null_count"):
                value = ExpressionTyping(self.frame, self.world).value(inner)
                counts, constant = name in COUNTS, self._constant(fill)
                known = constant is not None or (counts and isinstance(fill, Literal) and fill.value is not None)
                if value.form is not Form.COLUMN or not known or not (counts or self._dtype(inner).is_numeric):
                    return None
            case _:
                return None

        def of(function: str, argument: Expr = inner) -> AnyExpr:
            again = Call(function, (call("filter", argument, *population) if population else argument,))  # type: ignore[arg-type]
            spec = find(function)
            assert spec is not None
            return Cast(self._statistic(again, spec.flow, findings), FLOAT64, strict=False)

        missing, present = of("null_count"), of("count")
        everybody = call("add", present, missing)
        if name in COUNTS:
            return everybody if name == "count" else call("sub", everybody, everybody)
        by = of("mean", fill) if isinstance(constant, Column) else Cast(fill, FLOAT64)
        total = call("add", of("sum"), call("mul", missing, by))
        if name == "sum":
            return total
        # their number may be rounded to nothing
        return Ternary(call("gt", everybody, _f(0.0)), call("truediv", total, everybody), Literal(NULL))

    def _constant(self, fill: Expr) -> Expr | None:
        """Return what nulls are filled with if it is a number: a literal, or a released one that all rows hold."""
        if number(fill) is not None:
            return fill
        value = self.frame.columns.get(fill.name) if isinstance(fill, Column) else None
        released = value is not None and value.form is Form.CONSTANT and not value.sources
        return fill if released and self._dtype(fill).is_numeric else None

    def _together(self, name: str, terms: Sequence[Linear], of: Callable[..., AnyExpr]) -> AnyExpr:
        def times(value: AnyExpr, *factors: AnyExpr | None) -> AnyExpr:
            for factor in factors:
                value = value if factor is None else call("mul", value, Cast(factor, FLOAT64))
            return value

        factors = [t.parts[0][1] for t in terms]
        firsts = [t.parts[0][0] for t in terms]
        match name:
            case "pl.cov":
                return times(of(name, *firsts), *factors)
            case "pl.corr":
                return times(
                    of(name, *firsts), *(None if f is None else call("sign", Cast(f, FLOAT64)) for f in factors)
                )
            case "var":
                return times(of(name, *firsts), factors[0], factors[0])
            case "std":
                return times(of(name, *firsts), None if factors[0] is None else call("abs", Cast(factors[0], FLOAT64)))
        total: AnyExpr | None = None
        for part, factor in terms[0].parts:
            value = times(of(name, part), factor)
            total = value if total is None else call("add", total, value)
        assert total is not None
        if terms[0].shift is None:
            return total
        shift: AnyExpr = Cast(terms[0].shift, FLOAT64)
        return call("add", total, shift if name == "mean" else times(of("count", firsts[0]), shift))

    def _complete(self, parts: Sequence[Value]) -> bool:
        """Whether the parts have values in the same rows: no missing ones, of one table."""
        sources = frozenset().union(*(v.sources for v in parts))
        missing = any((s.dataset, s.column) in self.world.nullable for s in sources)
        one = len({s.occurrence for s in sources}) <= 1
        return not missing and one and not any(v.makes_nulls for v in parts) and len(parts) <= MAX_PARTS

    def _position(self, statistic: Statistic) -> int:
        if statistic not in self.statistics:
            self.statistics.append(statistic)
        return self.statistics.index(statistic)

    def _dtype(self, expr: Expr) -> DType:
        try:
            return expr_dtype(expr, self.frame.schema)
        except BindError:
            return UINT32

    def _guard(
        self, expr: Call, flow: FunctionFlow, args: Sequence[Expr], values: Sequence[Value], found: list[Finding]
    ) -> Guard | None:
        name = expr.function
        if name in COUNTS:
            return self._count_guard(values)
        if name == "n_unique":
            plain = values[0].plain
            # INVARIANT: an identifier that people may share says of two groups whether one person is in the other's, too
            return Guard.NOTHING if plain is not None and self.world.is_unit(plain) else None
        if (flow is FunctionFlow.SUM or name in ("var", "std", "pl.corr", "pl.cov")) and any(v.picked for v in values):
            # INVARIANT: populations are rows. The same number of a person may come of other rows, and two populations without a
            # row in common then differ by one person's number.
            return None
        form = values[0].form if values else Form.CONSTANT
        if flow is FunctionFlow.SUM or name in ("var", "std"):
            return self._sum_guard(name, form, values[0], args[0])
        if name in ("pl.corr", "pl.cov"):
            linear = all(v.form is Form.COLUMN for v in values) and expr.option("method", "pearson") == "pearson"
            # INVARIANT: of two functions of one column it would be a sum of another function, which nobody watches
            if not linear or frozenset.intersection(*(v.sources for v in values)):
                return None
            found += self._check_weights(expr, args, values)
            return None if found else Guard.PRODUCTS
        if name in ("median", "quantile", "min", "max"):
            return self._order_guard(name, args[0], values[0])
        return None

    def _check_weights(self, expr: Call, args: Sequence[Expr], values: Sequence[Value]) -> list[Finding]:
        """Check that a covariance does not weigh yes or no, or what is sensitive, by what somebody may know.

        INVARIANT: three such sums with weights of many digits have one solution for a group of 40.
        """
        owners = {self.world.facts[x.dataset].owner for v in values for x in v.sources}
        if len(owners) > 1:
            # INVARIANT: what somebody uploads they know, whatever role they gave it
            reason = f"{expr.function}() would weigh the columns of one owner by those of another, who knows them."
            fix = "Group by the other owner's column, or by bins of it, and take the mean."
            return [Finding("argument", reason, fix, labels(frozenset().union(*(v.sources for v in values))))]
        known = [knowable(v, self.world) for v in values]
        for arg, value, other in zip(args, values, reversed(known), strict=True):
            bit = value.bit is not None or self._dtype(arg).kind == "Boolean"
            if other and (bit or _of_role(value.sources, self.world, RoleKind.SENSITIVE)):
                what = "says yes or no" if bit else "is sensitive"
                reason = (
                    f"{names(value.sources)} {what}, and {expr.function}() would weigh it by a column that is known."
                )
                fix = "Group by the known column, or by bins of it, and take the mean."
                return [Finding("argument", reason, fix, labels(frozenset().union(*(v.sources for v in values))))]
        return []

    def _count_guard(self, values: Sequence[Value]) -> Guard | None:
        if not values or values[0].form is Form.CONSTANT:
            return Guard.SUM
        # which stored values are missing is public; which derived ones are is a condition in disguise
        plain_nulls = not values[0].makes_nulls and values[0].form in (Form.COLUMN, Form.NULLS)
        return Guard.SUM if plain_nulls else None

    def _sum_guard(self, name: str, form: Form, value: Value, arg: Expr) -> Guard | None:
        if form is Form.CONSTANT and not value.sources:
            # INVARIANT: nothing but the number of rows is data in it, which would be told by its share in what is rounded
            counted = name == "sum" and not isinstance(arg, Literal)
            return None if counted and self.world.rounded else Guard.SUM
        if form is Form.NULLS:
            if name not in ("sum", "mean"):
                return None  # whether some are missing, and others not, tells of a single one
            # under the strict profile, which values of secret columns are missing is secret, too
            return Guard.HELD if self.world.strict and strict.secret(value.sources, self.world) else Guard.NOTHING
        if form is Form.BITS and name in ("sum", "mean"):
            # INVARIANT: conditions on several columns pick a person, whose value a threshold then finds; and nulls that a
            # condition made are conditions themselves
            one = len({(s.occurrence, s.column) for s in value.sources}) == 1
            return Guard.HELD if one and not value.makes_nulls else None
        bit = not self.world.strict and self._dtype(arg).kind == "Boolean" and chooses(value, self.world)
        if bit and name in ("sum", "mean"):
            return Guard.HELD  # see _of_bit
        if form is Form.COLUMN:
            return Guard.SQUARES if name in ("var", "std") else Guard.SUM
        return None

    def _order_guard(self, name: str, arg: Expr, value: Value) -> Guard | None:
        dtype = self._dtype(arg)
        if value.form is not Form.COLUMN or not value.own_scale:
            return None
        if dtype.kind == "Boolean" and name not in ("min", "max"):
            return None  # of two values that many hold, which one is in the middle tells of a few
        if is_string(dtype) or dtype.kind == "Boolean":
            return Guard.TIED
        # INVARIANT: one grid per column; the overlap of cells of two grids (of x and of abs(x)) may hold a single person.
        # A person's number that lies between values of theirs, which lie between declared bounds, has the column's own grid.
        bounded = value.within is None and any(self.world.role(s).lower is not None for s in value.sources)
        if value.plain is None and (bounded or not self.frame.grouped or not value.pristine):
            return None
        if dtype.kind in ("Date", "Datetime") or dtype.is_numeric:
            return Guard.INTERVAL
        return None

    def _terms(self, expr: Call, args: Sequence[Expr], values: Sequence[Value], guard: Guard) -> tuple[Term, ...]:
        if guard is Guard.NOTHING or all(v.form is Form.CONSTANT for v in values):
            return ()
        if expr.function in COUNTS:
            return ()
        if self.world.strict:
            values = [strict.with_bounds(v, self.world) for v in values]
        else:
            values = [self._measured(a, v) for a, v in zip(args, values, strict=True)]
        return tuple(Term(a, v, self._dtype(a)) for a, v in zip(args, values, strict=True))

    def _measured(self, arg: Expr, value: Value) -> Value:
        """Return an argument with the bounds that the value rules look at: those that its column keeps, declared or not.

        None where they are to be measured: plans are judged by coarse ones, which would hide who dominates.
        """
        if value.form is not Form.COLUMN:
            return value
        line = strict.line_of(arg, self.frame)
        value = replace(value, line=line)
        if value.coarse:
            return replace(value, low=None, high=None)
        if all(self.world.bounds(s) == self.world.widest(s) for s in value.sources):
            return value
        low, high = self.world.widest(line[0]) if line is not None else (None, None)
        if line is None or low is None or high is None:
            return replace(value, low=None, high=None)
        ends = sorted((line[1] * low + line[2], line[1] * high + line[2]))
        return replace(value, low=ends[0], high=ends[1])

    def _not_allowed(self, expr: Call, values: Sequence[Value]) -> Finding:
        concerned = labels(frozenset().union(*(v.sources for v in values)))
        mixed = next((v for v in values if v.form is Form.MIX), None)
        if mixed is not None:
            reason = f"The argument of {expr.function}() could single people out: {mixed.reason}."
            return Finding("argument", reason, FIX_ARGUMENT, concerned)
        if any(v.reason == WINDOW for v in values):
            reason = (
                f"{expr.function}() of what a window takes from one person's rows (a difference, a running sum) could be compared "
                "with other rows of the same people."
            )
            fix = (
                'Make one number of each person\'s rows, .group_by("<unit>").agg(pl.col(...).max()), and take its median, '
                "or count rows by period: .group_by(pl.col(...).dt.month()).agg(pl.len())."
            )
            return Finding("argument", reason, fix, concerned)
        if values and values[0].form in (Form.BITS, Form.BINNED, Form.COMBINATION):
            reason = f"{expr.function}() of bins, conditions, windows, roots, logarithms or other readings of people's values could single people out."
            fix = (
                "Filter or group by the condition, use the column itself, or take the function of the released number."
            )
            return Finding("argument", reason, fix, concerned)
        if any(v.picked for v in values):
            reason = (
                f"{expr.function}() of a number that one row of a person may give (the first, the largest, a window), or of how far "
                "their rows lie apart, could be compared with other numbers of the same people."
            )
            fix = "Take sum(), mean() or len() of each person's rows, or a median or quantile of this number."
            return Finding("argument", reason, fix, concerned)
        if expr.function == "n_unique":
            reason = "n_unique() of a column that is not the privacy unit counts values that single people may hold."
            return Finding("row-level", reason, "Count the units, or group by the column.", concerned)
        if values and values[0].form is Form.COLUMN and expr.function in ("min", "max", "median", "quantile"):
            reason = f"{expr.function}() is given as an interval of a public grid, which a changed column would move."
            fix = f"Take {expr.function}() of the column itself and do the arithmetic afterwards."
            return Finding("argument", reason, fix, concerned)
        reason = f"{expr.function}() of this argument carries values of single rows; no guard is defined for it."
        return Finding("row-level", reason, FIX_STATISTIC, concerned)


def knowable(value: Value, world: World) -> bool:
    """Whether somebody may know the values of an argument: neither a measure nor sensitive, or not altogether.

    How many rows a person has is of no column, and known.
    """
    return not value.sources or any(s.counted or not world.role(s).secret for s in value.sources)


def _without_filters(expr: Expr, population: list[Expr]) -> AnyExpr:
    """Return an argument without its inner filters, which are added to `population`."""
    match expr:
        case Alias(input=inner):
            return _without_filters(inner, population)
        case Call(function="filter", args=(inner, *conditions)):
            # a constant is one value, however many rows there are
            population.extend(c for c in conditions if not (isinstance(c, Literal) and c.value is True))
            return _without_filters(inner, population)
        case Call(function="drop_nulls", args=(inner,)):
            return _without_filters(inner, population)
        case Ternary(predicate=condition, truthy=inner, falsy=Literal(value=None)) if not isinstance(inner, Literal):
            population.append(condition)
            return _without_filters(inner, population)
        case _:
            return expr  # type: ignore[return-value]


def _choosing(expr: Expr) -> bool:
    """Whether an argument is null where a condition does not hold."""
    match expr:
        case Alias(input=inner):
            return _choosing(inner)
        case Ternary(truthy=inner, falsy=Literal(value=None)):
            return not isinstance(inner, Literal)
        case _:
            return False


def _dropping(expr: Expr) -> AnyExpr | None:
    """Return an argument without the `drop_nulls` in it, None where there is none."""
    match expr:
        case Alias(input=inner):
            return _dropping(inner)
        case Call(function="drop_nulls", args=(inner,)):
            return _dropping(inner) or inner
        case Call(function="filter", args=(inner, *conditions)):
            found = _dropping(inner)
            return None if found is None else with_children(expr, [found, *conditions])
        case _:
            return None


def _changed(expr: Call, change: Callable[[AnyExpr], AnyExpr | None]) -> Call | None:
    """Return a statistic with what its argument is below its filters changed; None where it is not."""

    def of(arg: AnyExpr) -> AnyExpr | None:
        match arg:
            case Alias(input=inner):
                return of(inner)
            case Call(function="filter" | "drop_nulls", args=(inner, *conditions)):
                found = of(inner)
                return None if found is None else with_children(arg, [found, *conditions])
            case Ternary(predicate=condition, truthy=inner, falsy=Literal(value=None)) if not isinstance(
                inner, Literal
            ):
                found = of(inner)
                return None if found is None else with_children(arg, [condition, found, arg.falsy])
            case _:
                return change(arg)

    found = of(expr.args[0])
    if found is None:
        return None
    again = with_children(expr, [found, *expr.args[1:]])
    assert isinstance(again, Call)
    return again


def chooses(value: Value, world: World) -> bool:
    """Whether an argument is a yes-or-no column that predicates may use as well."""
    return value.form is Form.COLUMN and value.bit is not None and all(world.role(s).predicates for s in value.sources)


def tallies(value: Value, world: World) -> bool:
    """Whether an argument is a number per person that is made of a yes-or-no column that predicates may use as well."""
    if value.form is not Form.COLUMN or value.bit is not None:
        return False
    stored = (s for s in value.sources if not s.counted and world.role(s).predicates)
    return any(world.facts[s.dataset].column(s.column).dtype.kind == "Boolean" for s in stored)


def declared(value: Value, world: World) -> bool:
    """Whether the upper bound of an argument is known to everybody: it was declared, or the column says yes or no.

    The largest value of a table is a person's own; who does not know it has nothing to take a sum off from.
    """
    roles = [world.role(s) for s in value.sources]
    return value.bit is not None or bool(roles and all(r.upper is not None for r in roles))


def _f(number: float) -> Literal:
    return Literal(FLOAT64, number)


def labels(sources: frozenset[Source]) -> tuple[str, ...]:
    """Return `dataset.column` of each source, sorted."""
    return tuple(sorted({s.label for s in sources if not s.counted}))


def names(sources: frozenset[Source]) -> str:
    """Return the columns' names for a sentence."""
    found = [repr(c) for c in sorted({s.column for s in sources if not s.counted})]
    return ", ".join([*found, *(["the number of a person's rows"] if any(s.counted for s in sources) else [])])


def unknown(name: str) -> Finding:
    """Return the finding for a function that is not registered."""
    return Finding("unknown-function", f"The guard does not know the function {name}().")


def order_dependent(name: str) -> Finding:
    """Return the finding for a function that reads other people's rows."""
    if name == "!long":
        return Finding("argument", "An expression of the plan is too long to be judged.", "Split it over columns.")
    if name.startswith("!"):
        reason = f"{name[1:]}() fails at some values, so that an error would tell of single people's rows."
        if name[1:] in FORMATS:
            fix = (
                "Use directives like %Y, %m, %d, %b, %V or %q, of times also %H, %M and %S, on a date as it is stored."
            )
            return Finding("row-level", reason, fix)
        fix = "Use another function; cast decimals to Float64, and take dates as they are stored."
        if name[1:] in _READING:
            fix = f"Give the format of the text, such as .{name[1:]}({_READING[name[1:]]}): what does not fit it becomes null."
        return Finding("row-level", reason, fix)
    if name.startswith("="):
        reason = f"{name[1:]}() within one person's rows is no function that a guard is defined for."
        return Finding("order-dependent", reason, "Use shift, diff, cum_sum, rank or rolling_mean over the unit.")
    if name in _INSTEAD:
        return Finding("row-level", f"{name}() may show values or counts of single people.", _INSTEAD[name])
    reason = f"{name}() reads other people's rows, so its values depend on the order or choice of rows."
    fix = (
        "Aggregate first, then do it with the groups that are released. Where people have several rows it may stay within those "
        'of a person: .over("<unit>").'
    )
    return Finding("order-dependent", reason, fix)


def _of_role(sources: frozenset[Source], world: World, *kinds: RoleKind) -> frozenset[Source]:
    return frozenset(s for s in sources if world.role(s).kind in kinds)


def check_condition(value: Value, world: World, what: str) -> list[Finding]:
    """Check a predicate: quasi, measure and public columns only."""
    found = []
    value = replace(value, sources=value.sources | value.chosen)
    if hidden := _of_role(value.sources, world, RoleKind.HIDDEN):
        found.append(hidden_use(hidden, what))
    if ids := _of_role(value.sources, world, RoleKind.IDENTIFIER):
        reason = f"{names(ids)} identifies people; {what} on it would pick single people."
        fix = "Use identifiers only to count distinct units or to join the owner's tables."
        found.append(Finding("identifier", reason, fix, labels(ids)))
    if secret := _of_role(value.sources, world, RoleKind.SENSITIVE):
        reason = f"{names(secret)} is sensitive: it may be aggregated, but not used in {what}."
        found.append(Finding("sensitive", reason, "Use quasi or public columns to choose and group.", labels(secret)))
    if world.strict and (raw := _of_role(value.sources, world, RoleKind.MEASURE)):
        # INVARIANT: under the strict profile who is in a population depends on quasi and public columns only
        reason = f"{names(raw)} is a measure: under the strict profile it may be aggregated, but not used in {what}."
        found.append(Finding("strict-role", reason, "Use quasi or public columns to choose and group.", labels(raw)))
    return found


def check_key(value: Value, world: World) -> list[Finding]:
    """Check a group key: quasi and public columns, and binned measures."""
    found = check_condition(value, world, "a group key")
    raw = _of_role(value.sources, world, RoleKind.MEASURE)
    if raw and not world.strict and value.form not in (Form.BINNED, Form.BITS, Form.NULLS):
        reason = f"{names(raw)} is a measure: grouping by its exact values would show them."
        fix = "Group by bins of it, for example (pl.col(...) / 10).floor(), or ask the owner for the role quasi."
        found.append(Finding("measure-key", reason, fix, labels(raw)))
    return found


def check_argument(value: Value, function: str, world: World) -> list[Finding]:
    """Check the argument of a statistic against the roles of its columns."""
    if hidden := _of_role(value.sources, world, RoleKind.HIDDEN):
        return [hidden_use(hidden, "a statistic")]
    ids = _of_role(value.sources, world, RoleKind.IDENTIFIER)
    if not ids:
        return []
    if function in ("n_unique", "count", "len", "null_count") and value.plain is not None:
        return []
    if value.form is Form.NULLS:
        return []
    reason = f"{names(ids)} identifies people: it can be counted, but {function}() of it would show identities."
    return [
        Finding(
            "identifier", reason, "Leave it out, or use count() of it, or n_unique() of the privacy unit.", labels(ids)
        )
    ]


def hidden_use(sources: frozenset[Source], what: str) -> Finding:
    """Return the finding for a use of hidden columns; refused whatever the action."""
    reason = f"{names(sources)} is hidden by the owner and cannot be used in {what}."
    return Finding("hidden-column", reason, "Leave the column out.", labels(sources))
