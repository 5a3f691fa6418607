"""Which plans are answered with noise, what is measured for them, and what happens to the noisy cells.

Pure: a bound plan and public facts go in; out come plans of exact whole numbers per cell, the noise each needs, and the
plan of what the asker wrote above them. The server runs the first beside the data, draws the noise, and runs the last on
the noisy cells alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from math import prod
from typing import Any

import msgspec
from bastion_plan import nodes as n
from bastion_plan.bind import BoundPlan
from bastion_plan.dtypes import INT64, UINT32, DType
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Column, Expr, Literal, Ternary, children
from bastion_plan.inlining import with_inputs
from bastion_plan.nodes import AnyNode, Node
from bastion_plan.typing import expr_dtype

from bastion_policy.boundary import call
from bastion_policy.facts import DatasetFacts
from bastion_policy.flow_functions import CALENDAR
from bastion_policy.flow_trees import is_scalar, output_name, reduces, with_children, written_down
from bastion_policy.guard_plans import forgiving
from bastion_policy.lineage import OWN
from bastion_policy.private.cells import MAX_CELLS, Caps, Key, Part, bins, key_of, number_of, sums
from bastion_policy.private.rows import Held, Refused, Rows, RowTyping, ends
from bastion_policy.private.statistics import PEOPLE, Parser, Quantile, Shown, at_least, l2_sensitivity
from bastion_policy.rules import DifferentialPrivacy

#: whole numbers between the owner's bounds that are few enough to be keys of their own accord
FEW = 120
MAX_RELEASES = 16
#: candidates of a quantile over all its declared groups
MAX_BINS = 4_000_000


@dataclass(frozen=True)
class Cells:
    """One table of cells.

    table: under which the noisy cells stand in the last plan. plan: the exact sums. parts: of its columns `#~v0` ….
    quantiles: with the plan of each. caps: of a person. keys: none for one cell.
    threshold: keys are named only where noisily many people are (`#~v` of position `people`).
    shown: (output, statistic), for error bars.
    """

    table: str
    plan: AnyNode
    keys: tuple[Key, ...]
    parts: tuple[Part, ...]
    quantiles: tuple[tuple[Quantile, AnyNode], ...]
    caps: Caps
    threshold: bool
    people: int
    shown: tuple[tuple[str, Shown], ...]

    @property
    def domain(self) -> list[tuple[Any, ...]]:
        """All cells, where they are public, in the order of the declared values."""
        return list(product(*(k.domain or () for k in self.keys)))

    @property
    def weights(self) -> int:
        """How many vectors and quantiles share the cost."""
        return len(self.parts) + len(self.quantiles)

    def l2(self, position: int) -> float:
        """The L2 sensitivity of a vector."""
        return l2_sensitivity(self.parts[position], self.caps.rows, self.caps.groups)

    def linf(self, position: int) -> int:
        """By how much one person changes the scores of a quantile in one cell, at most."""
        return self.quantiles[position][0].sensitivity * self.caps.rows


@dataclass(frozen=True)
class Draft:
    """A plan that can be answered with noise, without a price yet.

    cells: what is measured. last: the plan over the noisy cells. datasets: whose people. columns: used, by dataset.
    """

    cells: tuple[Cells, ...]
    last: Node
    datasets: tuple[str, ...]
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def weights(self) -> int:
        """How many vectors and quantiles share the cost."""
        return sum(c.weights for c in self.cells)


def draft(bound: BoundPlan, facts: Mapping[str, DatasetFacts], rule: DifferentialPrivacy) -> Draft:
    """Return how a plan is answered with noise.

    Args:
        bound: a bound plan.
        facts: public facts by dataset id.
        rule: with the owner's caps of what one person may contribute.

    Raises:
        Refused: it is not, and why; from public facts alone.
    """
    return _Drafting(bound, facts, rule).run()


@dataclass
class _Drafting:
    bound: BoundPlan
    facts: Mapping[str, DatasetFacts]
    rule: DifferentialPrivacy
    cells: list[Cells] = field(default_factory=list)
    used: set[tuple[str, str]] = field(default_factory=set)
    datasets: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    _kinds: dict[int, bool] = field(default_factory=dict)

    def run(self) -> Draft:
        if self._people(self.bound.root):
            raise Refused(
                "row-level", "The result would hold single people's rows.",
                "Aggregate, for example .select(pl.len()) or .group_by(...).agg(pl.col(...).mean()).",
            )  # fmt: skip
        last = self._forgiving(self._build(self.bound.root))
        columns = tuple(sorted(f"{d}.{c}" for d, c in self.used))
        return Draft(tuple(self.cells), last, tuple(self.datasets), columns, tuple(self.notes))

    def _typing(self) -> RowTyping:
        return RowTyping(self.bound, self.facts, self.rule.max_rows)

    def _people(self, node: Node) -> bool:
        """Whether the node's result holds people's rows."""
        if id(node) not in self._kinds:
            below = [self._people(i) for i in n.inputs(node)]
            found = isinstance(node, n.Scan) or any(below)
            if found and any(below):
                found = not self._is_boundary(node)
            self._kinds[id(node)] = found
        return self._kinds[id(node)]

    def _is_boundary(self, node: Node) -> bool:
        match node:
            case n.Select(exprs=exprs):
                return bool(exprs) and (_histogram(node) is not None or (
                    all(map(is_scalar, exprs)) and any(map(reduces, exprs))
                ))  # fmt: skip
            case n.GroupBy():
                typing = self._typing()
                return not typing.is_per_unit(node, typing.rows(node.input))
            case _:
                return False

    def _build(self, node: Node) -> Node:
        """Return the plan above the cells."""
        if any(name.startswith(OWN) for name in self.bound.schemas[node]):
            raise Refused("reserved-name", f"Column names must not start with {OWN!r}.", "Choose another name.")
        below = n.inputs(node)
        if len(below) == 1 and self._people(below[0]) and not self._people(node):
            return self._boundary(node)
        return with_inputs(node, tuple(self._build(i) for i in below))

    def _forgiving(self, node: Node) -> Node:
        """Return the plan above the cells with conversions that give null where they would fail.

        They are paid when it is run, and noise takes a number of people below nought, or beyond a narrow type. What is written down
        fails as it is written: before anything is paid (`private/rehearsal.py` of the server).
        """
        changes: dict[str, Any] = {}
        for name in node.__struct_fields__:
            value = getattr(node, name)
            several = value if isinstance(value, tuple) else (value,)
            made = tuple(self._tried(e) if isinstance(e, Expr) else e for e in several)
            if made != several:
                changes[name] = made if isinstance(value, tuple) else made[0]
        node = with_inputs(node, tuple(map(self._forgiving, n.inputs(node))))
        return msgspec.structs.replace(node, **changes) if changes else node

    def _tried(self, expr: Expr) -> AnyExpr:
        if written_down(expr):
            return expr  # type: ignore[return-value]
        strict = with_children(expr, [self._tried(c) for c in children(expr)])
        made = forgiving(strict)
        if made != strict:
            self.notes.setdefault("Conversions give null where a number with noise does not fit, as with strict=False.")
        return made

    # -- one table of cells

    def _boundary(self, node: Node) -> AnyNode:
        if len(self.cells) >= MAX_RELEASES:
            raise Refused("private-node", f"One query has at most {MAX_RELEASES} tables of statistics.")
        typing = self._typing()
        rows = typing.rows(n.inputs(node)[0])
        histogram = _histogram(node) if isinstance(node, n.Select) else None
        if histogram is not None:
            plan = self._histogram(node, rows, typing, *histogram)
        else:
            keys = self._keys(node, rows, typing) if isinstance(node, n.GroupBy) else ()
            exprs = node.aggs if isinstance(node, n.GroupBy) else node.exprs  # type: ignore[attr-defined]
            plan = self._table(node, rows, typing, keys, exprs)
        self.used |= typing.used
        self.datasets.update(dict.fromkeys(rows.datasets))
        return plan

    def _caps(self, rows: Rows, keys: int) -> Caps:
        if rows.single:
            return Caps(1, 1)
        groups = self.rule.max_groups if keys else 1
        some = "1 row" if self.rule.max_rows == 1 else f"{self.rule.max_rows} rows"
        note = f"Of one person at most {some} count"
        if keys:
            note += f" in each of at most {groups} groups" if groups > 1 else " in one group"
        self.notes.setdefault(f"{note}, as the owner declared.")
        return Caps(self.rule.max_rows, groups)

    def _keys(self, node: n.GroupBy, rows: Rows, typing: RowTyping) -> tuple[Key, ...]:
        schema = self.bound.schemas[node]
        keys = []
        for position, expr in enumerate(node.keys):
            name = output_name(expr)
            checked = _plain(typing.checked(expr, rows, "a group key"))
            held = typing.held(expr, rows, schema[name])
            keys.append(key_of(name, position, checked, held, schema[name], _domain(expr, held, schema[name])))
        if all(k.domain is not None for k in keys) and prod(len(k.domain or ()) for k in keys) > MAX_CELLS:
            keys = [replace(k, domain=None) for k in keys]
        return tuple(keys)

    def _table(
        self, node: Node, rows: Rows, typing: RowTyping, keys: tuple[Key, ...], exprs: tuple[AnyExpr, ...]
    ) -> AnyNode:
        schema = self.bound.schemas[node]
        parser = Parser(rows, typing)
        outputs = [(output_name(e), parser.output(output_name(e), e)) for e in exprs]
        threshold = any(k.domain is None for k in keys)
        people = parser.vector(PEOPLE) if threshold or not (parser.parts or parser.quantiles) else 0
        caps = self._caps(rows, len(keys))
        cells = self._cells(rows, keys, caps, parser, threshold, people)
        if threshold:
            self.notes.setdefault("Groups that are not declared public are shown only where many people are in them.")
        elif keys:
            self.notes.setdefault("All declared groups are shown, those without anyone too; other rows are left out.")
        shown = [Alias(_from_stored(k), k.name) for k in keys]
        shown += [Alias(_typed(expr, schema[name]), name) for name, expr in outputs]
        return n.Select(n.Scan(cells.table), tuple(shown))

    def _cells(
        self, rows: Rows, keys: tuple[Key, ...], caps: Caps, parser: Parser, threshold: bool, people: int
    ) -> Cells:
        shown = 1 if threshold else prod(len(k.domain or ()) for k in keys)
        if any(shown * len(q.grid) > MAX_BINS for q in parser.quantiles):
            raise Refused("private-key", f"Quantiles of {shown} groups are too many.", "Ask for fewer groups at once.")
        parts = [(f"{OWN}v{i}", part) for i, part in enumerate(parser.parts)]
        quantiles = tuple(
            (q, bins(rows, keys, caps, q.value, q.dtype, q.bounds, q.grid, q.conditions)) for q in parser.quantiles
        )
        cells = Cells(
            f"#p{len(self.cells)}", sums(rows, keys, caps, parts), keys, tuple(parser.parts), quantiles, caps,
            threshold, people, tuple(parser.shown),
        )  # fmt: skip
        self.cells.append(cells)
        return cells

    def _histogram(
        self, node: Node, rows: Rows, typing: RowTyping, name: str, arg: AnyExpr, edges: tuple[float, ...]
    ) -> AnyNode:
        """Counts per bin: the bins are keys with a declared domain."""
        checked = number_of(typing.checked(arg, rows, "a statistic"), expr_dtype(arg, rows.schema))
        # side by side, for one within another would be too deep to write down
        above = (Cast(call("gt", checked, _float(edge)), INT64) for edge in edges[1:-1])
        bins_of = call("pl.sum_horizontal", Literal(INT64, 0), *above)
        inside = call("is_between", checked, _float(edges[0]), _float(edges[-1]))
        inside = call("and_", inside, call("is_not_null", checked))
        place = Ternary(call("fill_null", inside, Literal(DType("Boolean"), False)), bins_of, Literal(INT64, -1))
        domain = tuple(range(len(edges) - 1))
        key = key_of("bin", 0, place, Held(INT64), INT64, domain)
        parser = Parser(rows, typing)
        count = parser.output(name, Call("pl.len"))
        cells = self._cells(rows, (key,), self._caps(rows, 1), parser, threshold=False, people=0)
        return n.Select(n.Scan(cells.table), (Alias(Cast(at_least(count, 0), UINT32, strict=False), name),))


def _histogram(node: n.Select) -> tuple[str, AnyExpr, tuple[float, ...]] | None:
    """Return (name, argument, edges) of a histogram with edges written down."""
    if len(node.exprs) != 1:
        return None
    found = _plain(node.exprs[0])
    if not isinstance(found, Call) or found.function != "hist" or len(found.args) != 2 or found.options:
        return None
    bins = found.args[1]
    if not isinstance(bins, Literal) or not isinstance(bins.value, tuple) or len(bins.value) < 2:
        return None
    edges = tuple(float(v) for v in bins.value if isinstance(v, int | float))
    rising = all(a < b for a, b in pairwise(edges))
    return (output_name(node.exprs[0]), found.args[0], edges) if rising and len(edges) == len(bins.value) else None


def _domain(expr: Expr, held: Held, dtype: DType) -> tuple[Any, ...] | None:
    """Return all values a key may have, where they are public: declared, a condition's, a calendar's, few whole numbers."""
    inner = _plain(expr)
    if held.domain is not None:
        return held.domain
    if dtype.kind == "Boolean":
        return (False, True)
    if isinstance(inner, Call) and inner.function in CALENDAR:
        low, high = CALENDAR[inner.function]
        return tuple(range(low, high + 1))
    if dtype.is_integer and held.bounds is not None and held.bounds[1] - held.bounds[0] <= FEW:
        return tuple(range(round(held.bounds[0]), round(held.bounds[1]) + 1))
    return None


def _plain(expr: Expr) -> AnyExpr:
    return _plain(expr.input) if isinstance(expr, Alias) else expr  # type: ignore[return-value]


def _from_stored(key: Key) -> AnyExpr:
    return Cast(Column(key.column), key.dtype, strict=False)


def _typed(expr: AnyExpr, dtype: DType) -> AnyExpr:
    """Return a noisy number as the type that the asker expects; numbers that do not fit are cut off at its ends."""
    whole = ends(dtype)
    if whole is not None:
        rounded = call("round", expr) if dtype.kind != "Int64" else expr
        cut: AnyExpr = Cast(rounded, dtype, strict=False)
        for end, beyond in zip(whole, ("lt", "ge"), strict=True):
            cut = Ternary(call(beyond, rounded, _float(float(end))), Literal(dtype, end), cut)
        return cut
    return Cast(expr, dtype, strict=False)


def _float(value: float) -> Literal:
    return Literal(DType("Float64"), value)
