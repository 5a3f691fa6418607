"""People's rows before noise: which nodes may stand there, and the plan that carries each row's person along.

Every frame here is a table of rows each of which belongs to one person (privacy unit) and depends on that person's rows
and on public data alone. Adding or removing a person then adds or removes that person's rows and changes no other: the
node is stable with constant 1 in people. What a person's rows add up to is bounded later, once, right before the sums
(see cells.py), so how many rows a node makes of one does not matter.

INVARIANT: a node that is not in STABLE is refused before noise. A window over several people, a rank, a sample, the first
rows of a sorted table, a table joined with itself: their result for one person depends on who else is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from bastion_plan import nodes as n
from bastion_plan.bind import BoundPlan
from bastion_plan.dtypes import INT64, DType, Schema
from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Column, Expr, Literal, Over, Ternary, children
from bastion_plan.nodes import AnyNode, Node
from bastion_plan.schemas import fills, join_origins
from bastion_plan.typing import expr_dtype

from bastion_policy.boundary import call
from bastion_policy.facts import DatasetFacts
from bastion_policy.flow_trees import output_name
from bastion_policy.guard_plans import lenient, masked_scan
from bastion_policy.lineage import OWN
from bastion_policy.private.functions import (
    MAX_TEXT,
    Interval,
    castable,
    interval,
    problem_of,
    put_together,
    too_long,
    unlike,
)
from bastion_policy.private.steady import steady, unsigned
from bastion_policy.roles import RoleKind
from bastion_policy.verdict import Finding

#: whose row it is, and its place among the rows of that person
UNIT, PLACE = f"{OWN}u", f"{OWN}o"
#: node -> by how much the rows of one person can change the people in its result (1: only that person)
STABLE: Mapping[type[Node], int] = {
    n.Scan: 1,
    n.Filter: 1,
    n.Select: 1,
    n.WithColumns: 1,
    n.DropNulls: 1,
    n.FillNull: 1,
    n.Sort: 1,  # the order of rows reaches nothing here: what takes rows by their order is refused
    n.Reverse: 1,
    n.Join: 1,  # with public tables, or on the privacy unit; left and anti of people of one domain
    n.GroupBy: 1,  # with the privacy unit among the keys
}
_WHY = {
    n.Slice: "taking the first or last rows depends on who else is in the table",
    n.TopK: "top_k depends on who else is in the table",
    n.Unique: "unique rows depend on who else is in the table",
    n.Sample: "a sample depends on who else is in the table",
    n.WithRowIndex: "the number of a row depends on who else is in the table",
    n.Rolling: "rolling windows hold rows of several people",
    n.GroupByDynamic: "dynamic windows hold rows of several people",
    n.JoinAsof: "the nearest row may be another person's",
    n.Concat: "rows of several tables put together are not matched by person",
    n.Explode: "lists have no bounded length",
    n.Unnest: "nested columns have no bounds",
    n.Unpivot: "one row becomes many",
    n.Pivot: "it aggregates rows of several people",
}
#: tables of people in one query; places of joined rows stay whole numbers under 2**63
MAX_TABLES = 4
#: rows that joins of people's tables may make of one
MAX_GROWTH = 100
FIX_NODE = "Filter, select, with_columns and joins on the privacy unit may come before the statistics."
_BITS = {f"{sign}Int{bits}": bits for sign in ("", "U") for bits in (8, 16, 32, 64)}
_PER_UNIT = frozenset({"sum", "min", "max", "count", "len", "pl.len"})


class Refused(Exception):
    """The plan cannot be answered with noise. finding: why, from public facts."""

    def __init__(self, rule: str, reason: str, fix: str = "", columns: tuple[str, ...] = ()) -> None:
        self.finding = Finding(rule, reason, fix, columns)
        super().__init__(reason)


@dataclass(frozen=True)
class Held:
    """What is known of a column of people's rows, from public facts. plain: an unchanged copy of that column."""

    dtype: DType
    sources: frozenset[tuple[str, str]] = frozenset()
    bounds: Interval | None = None
    plain: tuple[str, str] | None = None
    domain: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Rows:
    """People's rows. plan: gives the columns, UNIT and PLACE. datasets: whose people they are.

    single: every person has one row at most: rows are people, or were grouped by person.
    """

    plan: AnyNode
    columns: Mapping[str, Held]
    datasets: tuple[str, ...]
    single: bool

    @property
    def schema(self) -> Schema:
        """Names and types of the columns, without the judge's own."""
        return {name: held.dtype for name, held in self.columns.items()}

    @property
    def intervals(self) -> dict[str, Interval | None]:
        """Bounds by name."""
        return {name: held.bounds for name, held in self.columns.items()}


@dataclass
class RowTyping:
    """Types and rewrites the private part of one bound plan. used: source columns the plan uses."""

    bound: BoundPlan
    facts: Mapping[str, DatasetFacts]
    max_rows: int
    used: set[tuple[str, str]] = field(default_factory=set)
    _scanned: set[str] = field(default_factory=set)

    def rows(self, node: Node) -> Rows:
        """Return the rows of a node.

        Raises:
            Refused: it may not stand before noise.
        """
        if type(node) not in STABLE:
            why = _WHY.get(type(node), "it is no row-by-row step")
            raise Refused("private-node", f"Before noise is added, {why}.", FIX_NODE)
        if any(name.startswith(OWN) for name in self.bound.schemas[node]):
            raise Refused("reserved-name", f"Column names must not start with {OWN!r}.", "Choose another name.")
        steps: dict[type[Node], Callable[[Any], Rows]] = {
            n.Scan: self._scan,
            n.Filter: self._filter,
            n.Select: self._select,
            n.WithColumns: self._with_columns,
            n.DropNulls: self._drop_nulls,
            n.FillNull: self._fill_null,
            n.Sort: self._sort,
            n.Reverse: lambda node: self.rows(node.input),
            n.Join: self._join,
            n.GroupBy: self._per_unit,
        }
        return steps[type(node)](node)

    # -- expressions

    def checked(self, expr: Expr, rows: Rows, what: str, *, identifiers: bool = False, place: str = PLACE) -> AnyExpr:
        """Return the expression as it may run on people's rows. place: a column of the frame that differs from row to row.

        Raises:
            Refused: a function that is not total, a hidden column, an identifier (unless it is taken as it is, where
                `identifiers` allows that).
        """
        self._check(expr, rows)
        if isinstance(_plain(expr), Literal):
            self._no_list(expr, rows)
        sources = self.sources(expr, rows)
        self.used |= sources
        for kind, rule, reason, fix in (
            (RoleKind.HIDDEN, "hidden-column", "is hidden by the owner and cannot be used", "Leave the column out."),
            (
                RoleKind.IDENTIFIER,
                "identifier",
                f"identifies people and cannot be used in {what}",
                "Count distinct people with n_unique() of the privacy unit, or join on it.",
            ),
        ):
            named = sorted((d, c) for d, c in sources if self.facts[d].column(c).role.kind is kind)
            passes = kind is RoleKind.IDENTIFIER and identifiers and isinstance(_plain(expr), Column)
            if named and not passes:
                words = ", ".join(repr(c) for _, c in named)
                raise Refused(rule, f"{words} {reason}.", fix, tuple(f"{d}.{c}" for d, c in named))
        return steady(lenient(expr), rows.schema, place)

    def sources(self, expr: Expr, rows: Rows) -> set[tuple[str, str]]:
        """Return the source columns of an expression."""
        if isinstance(expr, Column):
            held = rows.columns.get(expr.name)
            return set(held.sources) if held is not None else set()
        return {s for c in children(expr) for s in self.sources(c, rows)}

    def _check(self, expr: Expr, rows: Rows) -> None:
        match expr:
            case Column(name=name):
                if name not in rows.columns:
                    raise Refused("reserved-name", f"There is no column {name!r} here.")
            case Literal(value=value):
                _short(value)
            case Over():
                raise Refused("private-window", "over() gives each row a number about other people's rows.", FIX_NODE)
            case Call():
                dtypes = [self._dtype(a, rows) for a in expr.args]
                why = (
                    problem_of(expr) or unlike(list(zip(expr.args, dtypes, strict=True))) or put_together(expr, dtypes)
                )
                if why:
                    raise Refused("private-function", f"Before noise is added, {why}.", "Use simpler functions.")
                self._no_list(expr, rows)
            case Cast(input=inner, dtype=dtype) if not castable(self._dtype(inner, rows), dtype):
                source = self._dtype(inner, rows)
                reason = f"A cast of {source} to {dtype} may fail for some people's rows."
                raise Refused("private-function", reason, "Cast numbers to numbers or text, and dates to dates.")
            case Ternary(truthy=truthy, falsy=falsy):
                if why := unlike([(a, self._dtype(a, rows)) for a in (truthy, falsy)]):
                    raise Refused("private-function", f"Before noise is added, {why}.", "Cast both to one type.")
                self._no_list(expr, rows)
            case Cast() | Alias():
                pass
            case _:
                raise Refused("private-function", "The expression is of a kind that is unknown here.")
        for child in children(expr):
            self._check(child, rows)

    def _no_list(self, expr: Expr, rows: Rows) -> None:
        """INVARIANT: lists are stored ones. One that is written down or chosen by a condition is as long as who asks likes, once for each
        row that the condition holds for, and whether memory suffices would tell how many these are."""
        if self._dtype(expr, rows).is_nested:
            raise Refused("private-function", "Before noise is added, lists are not made, only taken as they are stored.",
                          "Upload the lists as a column of the table.")  # fmt: skip

    @staticmethod
    def _dtype(expr: Expr, rows: Rows) -> DType:
        try:
            return expr_dtype(expr, rows.schema)
        except BindError:
            raise Refused("private-function", "The type of an expression is not known here.") from None

    def held(self, expr: Expr, rows: Rows, dtype: DType) -> Held:
        """Return what is known of an expression's values."""
        inner = expr.input if isinstance(expr, Alias) else expr
        if isinstance(inner, Column):
            return rows.columns[inner.name]
        bounds = interval(inner, rows.intervals)
        if bounds is not None and bounds[0] > bounds[1]:
            bounds = None
        if bounds is not None and isinstance(inner, Cast):
            bounds = fitting(bounds, dtype)  # what does not fit is null
        return Held(dtype, frozenset(self.sources(inner, rows)), bounds)

    # -- nodes

    def _scan(self, node: n.Scan) -> Rows:
        facts = self.facts[node.dataset]
        if node.dataset in self._scanned:
            reason = f"{facts.name} appears twice: a table put together with itself is not answered with noise."
            raise Refused("private-node", reason, FIX_NODE)
        self._scanned.add(node.dataset)
        if len(self._scanned) > MAX_TABLES:
            raise Refused("private-node", f"At most {MAX_TABLES} tables of people are joined before noise.")
        schema = self.bound.schemas[node]
        mask = masked_scan(node, facts)
        exprs = mask.exprs if isinstance(mask, n.WithColumns) else ()
        numbered = n.WithRowIndex(node, PLACE)
        # the unit is taken before masking: it may be hidden itself
        unit = Column(PLACE) if facts.unit is None else Column(facts.unit)
        plan: AnyNode = n.WithColumns(numbered, (Alias(unit, UNIT),))
        if exprs:
            plan = n.WithColumns(plan, exprs)
        columns = {}
        for name, dtype in schema.items():
            column = facts.column(name)
            role, key = column.role, (node.dataset, name)
            domain = column.domain or ((False, True) if dtype.kind == "Boolean" else None)
            bounds = _declared(role.lower, role.upper, dtype)
            if bounds is None and domain and all(isinstance(v, int | float) for v in domain):
                bounds = (float(min(domain)), float(max(domain)))
            columns[name] = Held(dtype, frozenset({key}), bounds, key, domain)
        # INVARIANT: a table whose owner declares one row per person is refused at upload where it has more
        single = facts.unit is None or facts.policy.rows_per_unit == 1
        return Rows(plan, columns, (node.dataset,), single)

    def _filter(self, node: n.Filter) -> Rows:
        rows = self.rows(node.input)
        return replace(rows, plan=n.Filter(rows.plan, self.checked(node.predicate, rows, "a filter")))

    def _select(self, node: n.Select) -> Rows:
        rows = self.rows(node.input)
        exprs = tuple(self.checked(e, rows, "a computed column", identifiers=True) for e in node.exprs)
        plan = n.Select(rows.plan, (*exprs, Column(UNIT), Column(PLACE)))
        return replace(rows, plan=plan, columns=self._computed(node.exprs, rows, self.bound.schemas[node]))

    def _with_columns(self, node: n.WithColumns) -> Rows:
        rows, schema = self.rows(node.input), self.bound.schemas[node]
        exprs = tuple(self.checked(e, rows, "a computed column", identifiers=True) for e in node.exprs)
        columns = {**rows.columns, **self._computed(node.exprs, rows, schema)}
        return replace(rows, plan=n.WithColumns(rows.plan, exprs), columns=columns)

    def _computed(self, exprs: Sequence[AnyExpr], rows: Rows, schema: Schema) -> dict[str, Held]:
        return {(name := output_name(e)): self.held(e, rows, schema[name]) for e in exprs}

    def _sort(self, node: n.Sort) -> Rows:
        rows = self.rows(node.input)
        for expr in node.by:
            self.checked(expr, rows, "a sort")
        return rows

    def _drop_nulls(self, node: n.DropNulls) -> Rows:
        rows = self.rows(node.input)
        given = node.subset
        if given is None:
            visible = [c for c, h in rows.columns.items() if not self._hidden(h)]
            if node.nans:
                visible = [c for c in visible if rows.columns[c].dtype.is_float]
            given = tuple(Column(c) for c in visible)
        for expr in node.subset or ():
            self.checked(expr, rows, "a filter", identifiers=True)
        return replace(rows, plan=msgspec.structs.replace(node, input=rows.plan, subset=given)) if given else rows

    def _hidden(self, held: Held) -> bool:
        return any(self.facts[d].column(c).role.kind is RoleKind.HIDDEN for d, c in held.sources)

    def _fill_null(self, node: n.FillNull) -> Rows:
        rows = self.rows(node.input)
        if not isinstance(node.value, Literal):
            raise Refused(
                "private-node", "A filling taken from other rows shows them.", "Fill with a value: fill_null(0)."
            )
        _short(node.value.value)
        self._no_list(node.value, rows)
        function = "fill_nan" if node.nans else "fill_null"
        exprs = tuple(
            Alias(call(function, Column(name), node.value), name)
            for name, dtype in rows.schema.items()
            if (dtype.is_float if node.nans else fills(node.value, dtype))
        )
        if not exprs:
            return rows
        columns = {**rows.columns, **self._computed(exprs, rows, rows.schema)}
        return replace(rows, plan=n.WithColumns(rows.plan, exprs), columns=columns)

    # -- joins

    def _join(self, node: n.Join) -> Rows:
        left, right = (bool(n.scans(side)) for side in (node.left, node.right))
        if not left:
            raise Refused("private-join", "People's rows stand on the left of a join here.", "Turn the join around.")
        return self._join_people(node) if right else self._join_public(node)

    def _keys(
        self, exprs: Sequence[AnyExpr], rows: Rows, *, identifiers: bool = True, place: str = PLACE
    ) -> tuple[AnyExpr, ...]:
        what = "a join with a table of one's own"
        return tuple(self.checked(e, rows, what, identifiers=identifiers, place=place) for e in exprs)

    def _join_public(self, node: n.Join) -> Rows:
        """With the scientist's own table: labels and conditions, at most one row of it per row."""
        rows = self.rows(node.left)
        if node.how not in ("inner", "left", "semi", "anti"):
            raise Refused("private-join", f"A {node.how} join with another table is not answered with noise.",
                          "Use an inner, left, semi or anti join.")  # fmt: skip
        if node.how in ("inner", "left") and not _one_row_per_key(node):
            raise Refused("private-join", "A table joined in must have one row per key, written down in the query.",
                          "Use unique keys of text, whole numbers or dates.")  # fmt: skip
        for column in node.right.columns if isinstance(node.right, n.Inline) else ():
            _short(column.values)
            if column.dtype.is_nested:
                raise Refused("private-join", "A table joined in must not have lists.", "Leave the column out.")
        plan = msgspec.structs.replace(
            node,
            left=rows.plan,
            left_on=self._keys(node.left_on, rows, identifiers=False),
            validate="m:m",
            maintain_order="none",
        )
        return replace(rows, plan=plan, columns=self._joined(node, rows, {}))

    def _joined(self, node: n.Join, rows: Rows, right: Mapping[str, Held]) -> dict[str, Held]:
        if node.how == "left":
            # null where nothing was met: no plain copies any more
            right = {name: replace(held, plain=None) for name, held in right.items()}
        schemas = self.bound.schemas
        # INVARIANT: each is what the bound schema says it is, never what has a name like it: a key that is merged is no unit of the others
        origins = join_origins(node, schemas[node.left], schemas[node.right])
        dtypes = schemas[node]
        return {
            name: (rows.columns if first else right).get(was) or Held(dtypes[name])
            for name, (first, was) in origins.items()
        }

    def _join_people(self, node: n.Join) -> Rows:
        """Two tables of the same people, matched by the privacy unit: a person's rows meet that person's rows only."""
        left, right = self.rows(node.left), self.rows(node.right)
        if node.how not in ("inner", "left", "semi", "anti"):
            raise Refused("private-join", f"A {node.how} join of people's tables is not answered with noise.",
                          "Use an inner, left, semi or anti join on the privacy unit.")  # fmt: skip
        pairs = zip(node.left_on, node.right_on, strict=True)
        if not any(self._is_unit(a, left) and self._is_unit(b, right) for a, b in pairs):
            raise Refused("private-join", "Tables of people are joined on the privacy unit, so that nobody's rows "
                          "meet another's.", "Join on the columns that say whom the rows are about.")  # fmt: skip
        if node.how in ("left", "anti") and len({self.facts[d].domain for d in (*left.datasets, *right.datasets)}) > 1:
            # INVARIANT: people of several domains come and go apart. Where one of the table on the right is gone, another's row on the
            # left stays with nulls in it, or meets nobody any more: two rows have moved, and noise is made for one.
            join = "A left join" if node.how == "left" else "An anti join"
            raise Refused("private-join", f"{join} of tables of different units: one person's row would change by who else is in the "
                          "second table, and noise is made for rows that are there or not.",
                          "Use an inner join, or declare one unit_domain for both tables.")  # fmt: skip
        pairing = node.how in ("inner", "left")
        columns = self._joined(node, left, right.columns if pairing else {})
        grown = self.max_rows ** (len(left.datasets) + len(right.datasets) - 1)
        if pairing and grown > MAX_GROWTH:
            raise Refused("private-join", f"One row could become {grown}: of one person {self.max_rows} rows count.",
                          "Group one of the tables by the privacy unit first, or use a semi join.")  # fmt: skip
        own = f"{OWN}j"
        # INVARIANT: one row meets at most max_rows rows, whoever's they are: no join grows without bound
        met = n.Filter(
            n.WithColumns(right.plan, (Alias(position(PLACE, UNIT), own),)),
            call("le", Column(own), _whole(self.max_rows)),
        )
        visible = tuple(Column(c) for c in right.columns)
        number = own if pairing else PLACE
        side: AnyNode = n.Select(met if pairing else right.plan, (*visible, Column(number)))
        plan: AnyNode = msgspec.structs.replace(
            node,
            left=left.plan,
            right=side,
            left_on=self._keys(node.left_on, left),
            right_on=self._keys(node.right_on, right, place=number),
            validate="m:m",
            maintain_order="none",
        )
        if pairing:
            place = call(
                "add",
                call("mul", Cast(Column(PLACE), INT64), _whole(self.max_rows + 1)),
                call("fill_null", Cast(Column(own), INT64), _whole(0)),
            )
            # INVARIANT: the number stays in no plan: the next join's would be told apart from it by a suffix, and places would repeat
            plan = n.Select(plan, (*map(Column, columns), Column(UNIT), Alias(place, PLACE)))
        datasets = tuple(dict.fromkeys((*left.datasets, *right.datasets)))
        return Rows(plan, columns, datasets, left.single and (right.single or not pairing))

    def _is_unit(self, expr: Expr, rows: Rows) -> bool:
        held = rows.columns.get(expr.name) if isinstance(expr, Column) else None
        return held is not None and held.plain is not None and self.facts[held.plain[0]].unit == held.plain[1]

    # -- one row per person

    def is_per_unit(self, node: n.GroupBy, rows: Rows) -> bool:
        """Whether a group_by keeps each person's rows to themselves."""
        return any(self._is_unit(_plain(k), rows) for k in node.keys)

    def _per_unit(self, node: n.GroupBy) -> Rows:
        rows, schema = self.rows(node.input), self.bound.schemas[node]
        if not self.is_per_unit(node, rows):
            raise Refused("private-node", "An aggregate of an aggregate over several people is not answered with noise.",
                          "Group by the privacy unit first, or only once.")  # fmt: skip
        keys, columns = [], {}
        for key in node.keys:
            keys.append(self.checked(key, rows, "a group key", identifiers=True))
            columns[output_name(key)] = self.held(key, rows, schema[output_name(key)])
        aggs = []
        for agg in node.aggs:
            aggs.append(self._whole_aggregate(agg, rows))
            name = output_name(agg)
            columns[name] = Held(schema[name], frozenset(self.sources(agg, rows)))
        place = Alias(call("min", Column(PLACE)), PLACE)
        plan = n.GroupBy(rows.plan, (*keys, Column(UNIT)), (*aggs, place))
        alone = all(self._is_unit(_plain(k), rows) for k in node.keys)
        return replace(rows, plan=plan, columns=columns, single=rows.single or alone)

    def _whole_aggregate(self, agg: AnyExpr, rows: Rows) -> AnyExpr:
        """INVARIANT: sums of fractions depend in their last bits on the order of rows, so on how many others there are;
        before noise only whole numbers are added up."""
        inner = _plain(agg)
        if isinstance(inner, Call) and inner.function in _PER_UNIT:
            for arg in inner.args:
                self.checked(arg, rows, "a sum", identifiers=inner.function in ("count", "len"))
            kinds = [rows.columns[a.name].dtype for a in inner.args if isinstance(a, Column)]
            plain = len(kinds) == len(inner.args)
            if plain and (inner.function != "sum" or all(k.is_integer or k.kind == "Boolean" for k in kinds)):
                # minus nought and nought are equal, and which one is the smaller depends on the order of rows
                args = tuple(unsigned(a, k) for a, k in zip(inner.args, kinds, strict=True))
                return Alias(msgspec.structs.replace(inner, args=args), output_name(agg))
        raise Refused(
            "private-per-unit", "Of one person's rows, only counts, sums of whole numbers, min and max are taken.",
            "Use pl.len(), sum() of a whole-number column, min() or max() of a column.",
        )  # fmt: skip


def _plain(expr: Expr) -> Expr:
    return _plain(expr.input) if isinstance(expr, Alias) else expr


def _whole(value: int) -> Literal:
    return Literal(INT64, value)


def position(place: str, *within: str) -> AnyExpr:
    """The number of a row among those of the same `within`, from 1, by its place."""
    return Over(call("rank", Column(place), method="ordinal"), tuple(Column(w) for w in within))


def _declared(lower: float | None, upper: float | None, dtype: DType) -> Interval | None:
    return fitting((lower, upper), dtype) if lower is not None and upper is not None else None


def ends(dtype: DType) -> tuple[int, int] | None:
    """Return the lowest and the highest whole number of a type of at most 64 bits, None where it is none."""
    bits = _BITS.get(dtype.kind)
    if bits is None:
        return None
    return (0, 2**bits - 1) if dtype.kind.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def fitting(bounds: Interval, dtype: DType) -> Interval | None:
    """Return what of an interval a column of a type may hold; None: nothing."""
    whole = ends(dtype)
    if whole is None:
        return bounds
    low, high = max(bounds[0], float(whole[0])), min(bounds[1], float(whole[1]))
    return (low, high) if low <= high else None


def _short(value: Any) -> None:
    if too_long(value):
        reason = f"Before noise is added, texts in a query are of at most {MAX_TEXT} characters."
        raise Refused("private-function", reason, "Write a shorter one.")


def _one_row_per_key(node: n.Join) -> bool:
    """Whether the right side is a table in the query with different keys in every row."""
    if not isinstance(node.right, n.Inline):
        return False
    exact = {"String", "Boolean", "Date"}
    columns = {c.name: c for c in node.right.columns if c.dtype.is_integer or c.dtype.kind in exact}
    names = [e.name for e in node.right_on if isinstance(e, Column) and e.name in columns]
    if not names or len(names) != len(node.right_on):
        return False
    keys = list(zip(*(columns[c].values for c in names), strict=True))
    return len(set(keys)) == len(keys)
