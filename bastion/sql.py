"""SQL queries to plans: SELECT, WHERE, GROUP BY, HAVING, QUALIFY, ORDER BY, LIMIT, joins, UNION, WITH, DISTINCT."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlglot
from bastion_plan import expressions as px
from bastion_plan import nodes as n
from bastion_plan.dtypes import Schema
from bastion_plan.errors import InputError, did_you_mean
from bastion_plan.nodes import Node
from bastion_plan.typing import expr_name
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import SqlglotError

from bastion.sql_clauses import conjuncts, renamed
from bastion.sql_expressions import Scope, convert, is_aggregate, place, refuse
from bastion.sql_subqueries import Values, among, existing, names_value, with_windows

MAX_QUERY = 100_000
#: what gives a plan's schema
SchemaOf = Callable[[Node], Schema]


class BastionSql(DuckDB):
    """DuckDB's SQL, but where nothing is said nulls count as larger than every value, as in PostgreSQL and Polars."""

    NULL_ORDERING = "nulls_are_large"


@dataclass(frozen=True)
class Relation:
    """A table inside a query: its plan, and how its columns are called. names: (table, column) -> name in the frame."""

    plan: Node
    schema: Schema
    names: dict[tuple[str, str], str]

    def scope(self, more: Mapping[tuple[str, str], str] | None = None) -> Scope:
        """Return what an expression over it may name. more: names besides."""
        return Scope({**self.names, **(more or {})}, schema=self.schema)


def table_names(query: str) -> list[str]:
    """Return the tables a query reads, in order, without those it defines by WITH.

    Raises:
        InputError: not SQL.
    """
    tree = _parse(query)
    own = {cte.alias for cte in tree.find_all(exp.CTE)}
    return list(dict.fromkeys(t.name for t in tree.find_all(exp.Table) if t.name not in own))


def parse_sql(query: str, tables: Mapping[str, Node], schema_of: SchemaOf) -> Node:
    """Return the plan of a query.

    Args:
        query: one SELECT, with or without UNION and WITH.
        tables: plans by the names the query uses.
        schema_of: gives the schema of a plan (a bind).

    Raises:
        InputError: not SQL, or something of it that is not part of the language, by name and position.
        BindError: unknown tables and columns, types that do not fit.
    """
    return Reader(dict(tables), schema_of).query(_parse(query)).plan


def _parse(query: str) -> exp.Expression:
    if not isinstance(query, str) or not query.strip():
        msg = "There is no SQL query."
        raise InputError(msg, code="input.sql", next_step='Write sql("select … from name").')
    if len(query) > MAX_QUERY:
        msg = "The SQL query is too long."
        raise InputError(msg, code="input.sql")
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        trees = [t for t in sqlglot.parse(query, dialect=BastionSql) if t is not None]
    except (SqlglotError, RecursionError) as error:
        details = getattr(error, "errors", None) or [{}]
        where = details[0]
        at = f" at line {where['line']}, column {where['col']}" if where.get("line") else ""
        near = f" near {where['highlight']!r}" if where.get("highlight") else ""
        msg = f"This is not complete or not correct SQL{at}{near}."
        raise InputError(
            msg, code="input.sql-syntax", details={"line": where.get("line"), "column": where.get("col")}
        ) from None
    if len(trees) != 1:
        msg = "One query at a time."
        raise InputError(msg, code="input.sql", next_step="Leave out what follows the semicolon.")
    return trees[0]


class Reader:
    """Turns a parsed query into a plan. tables: plans by name."""

    def __init__(self, tables: dict[str, Node], schema_of: SchemaOf) -> None:
        self.tables, self.schema_of = tables, schema_of

    def relation(self, plan: Node, alias: str) -> Relation:
        schema = self.schema_of(plan)
        return Relation(plan, schema, {(alias, c): c for c in schema})

    # ---- queries -----------------------------------------------------------------------------------------------------

    def query(self, node: exp.Expression) -> Relation:
        outer = self.tables
        with_ = node.args.get("with_") or node.args.get("with")
        if with_ is not None:
            if with_.args.get("recursive"):
                refuse(with_, "WITH RECURSIVE")
            self.tables = dict(outer)
            for cte in with_.expressions:
                found = self.query(cte.this)
                self.tables[cte.alias] = renamed(found.plan, found.schema, cte.args.get("alias"))
        try:
            return self._query(node)
        finally:
            self.tables = outer

    def _query(self, node: exp.Expression) -> Relation:
        if isinstance(node, exp.Select):
            return self.select(node)
        if isinstance(node, exp.Union):
            return self.union(node)
        if isinstance(node, exp.Intersect | exp.Except):
            return self.common(node)
        if isinstance(node, exp.Subquery | exp.Paren):
            inner = self.query(node.this)
            return self.tail(inner, node, inner.scope())
        return refuse(node, node.key.upper(), "Write a SELECT.")

    def _sides(self, node: exp.SetOperation) -> tuple[Relation, Node]:
        """Return the two sides of a UNION, INTERSECT or EXCEPT, the right one with the names of the left one."""
        left, right = self.query(node.this), self.query(node.expression)
        names = list(left.schema)
        if len(names) != len(right.schema):
            sizes = f"{len(names)} and {len(right.schema)} columns"
            msg = f"The two sides of {node.key.upper()} have {sizes}{place(node)}."
            raise InputError(msg, code="input.sql")
        renamed = tuple(
            px.Column(own) if own == name else px.Alias(px.Column(own), name)
            for own, name in zip(right.schema, names, strict=True)
        )
        return left, n.Select(right.plan, renamed)  # type: ignore[arg-type]

    def common(self, node: exp.SetOperation) -> Relation:
        """Distinct rows of the left side that the right side has too (INTERSECT), or has not (EXCEPT)."""
        left, right = self._sides(node)
        if not node.args.get("distinct"):
            refuse(node, f"{node.key.upper()} ALL", "Leave ALL out: rows come once.")
        how = "semi" if isinstance(node, exp.Intersect) else "anti"
        keys = tuple(px.Column(name) for name in left.schema)
        plan = n.Join(n.Unique(left.plan), right, how, keys, keys, nulls_equal=True)  # type: ignore[arg-type]
        found = self.relation(plan, "")
        return self.tail(found, node, found.scope())

    def union(self, node: exp.Union) -> Relation:
        left, right = self._sides(node)
        plan: Node = n.Concat((left.plan, right), "vertical_relaxed")  # type: ignore[arg-type]
        if node.args.get("distinct"):
            plan = n.Unique(plan)  # type: ignore[arg-type]
        both = self.relation(plan, "")
        return self.tail(both, node, both.scope())

    # ---- FROM and JOIN -----------------------------------------------------------------------------------------------

    def source(self, node: exp.Expression) -> Relation:
        if isinstance(node, exp.Table):
            if node.args.get("db") or not isinstance(node.this, exp.Identifier):
                refuse(node, f"the table {node.sql()}", "Name a dataset.")
            if node.name not in self.tables:
                msg = f"There is no table {node.name!r}{place(node)}."
                raise InputError(msg, code="missing.table", next_step=did_you_mean(node.name, self.tables))
            self._no_extras(node, {"this", "alias"})
            plan = self.tables[node.name]
            return self.relation(renamed(plan, self.schema_of(plan), node.args.get("alias")), node.alias or node.name)
        if isinstance(node, exp.Subquery):
            inner = self.query(node.this)
            return self.relation(renamed(inner.plan, inner.schema, node.args.get("alias")), node.alias)
        return refuse(node, node.key.upper())

    @staticmethod
    def _no_extras(node: exp.Expression, allowed: set[str]) -> None:
        for key, value in node.args.items():
            if value and key not in allowed:
                refuse(node, f"{key.rstrip('_').replace('_', ' ').upper()} of {node.key.upper()}")

    def joined(self, left: Relation, join: exp.Join, waiting: list[exp.Expression]) -> Relation:
        """Return a join. waiting: conditions of WHERE; those by which `FROM a, b` is joined are taken out of it."""
        right = self.source(join.this)
        if join.args.get("method") == "NATURAL":
            self._natural(left, right, join)
        how = self._how(join)
        if how == "cross" and not join.args.get("kind"):
            pairs = [part for part in waiting if self._pair(part.unnest(), left, right)]
            if pairs:
                join.set("on", exp.and_(*(part.copy() for part in pairs)) if len(pairs) > 1 else pairs[0].copy())
                waiting[:] = [part for part in waiting if part not in pairs]
                how = "inner"
        clashes = {c: f"{c}:{table}" for (table, c), actual in right.names.items() if c in left.schema}
        plan: Node = right.plan
        if clashes and how not in {"semi", "anti"}:
            plan = n.Select(
                plan,  # type: ignore[arg-type]
                tuple(px.Alias(px.Column(c), clashes[c]) if c in clashes else px.Column(c) for c in right.schema),
            )
            right = Relation(
                plan, self.schema_of(plan), {(t, c): clashes.get(c, a) for (t, c), a in right.names.items()}
            )
        elif clashes:
            right = Relation(plan, right.schema, right.names)
        on_left, on_right, rest = self._conditions(left, right, join, how)
        node = n.Join(
            left.plan, right.plan, how, on_left, on_right, coalesce=None if how in {"cross", "semi", "anti"} else False
        )  # type: ignore[arg-type]
        names = dict(left.names) if how in {"semi", "anti"} else {**left.names, **right.names}
        if join.args.get("using"):
            names |= {("", c.name): c.name for c in join.args["using"]}
        result: Node = node
        if rest:
            whole = rest[0]
            for part in rest[1:]:
                whole = px.Call("and_", (whole, part))
            result = n.Filter(node, whole)
        return Relation(result, self.schema_of(result), names)

    @staticmethod
    def _natural(left: Relation, right: Relation, join: exp.Join) -> None:
        """Join by the columns that both sides have."""
        mine = {column for _, column in left.names}
        both = list(dict.fromkeys(column for _, column in right.names if column in mine))
        if not both:
            refuse(join, "a NATURAL JOIN of tables that share no column")
        join.set("method", None)
        join.set("using", [exp.to_identifier(name, quoted=True) for name in both])

    @staticmethod
    def _how(join: exp.Join) -> str:
        if join.args.get("method"):
            refuse(
                join,
                f"a {join.args['method']} JOIN",
                "Use join_asof of frames." if join.args["method"] == "ASOF" else "",
            )
        kind, side = str(join.args.get("kind") or "").upper(), str(join.args.get("side") or "").upper()
        if kind in {"SEMI", "ANTI"}:
            return kind.lower()
        if kind == "CROSS" or (not join.args.get("on") and not join.args.get("using")):
            return "cross"
        if side in {"LEFT", "RIGHT", "FULL"}:
            return side.lower()
        return "inner"

    def _conditions(
        self, left: Relation, right: Relation, join: exp.Join, how: str
    ) -> tuple[tuple[px.AnyExpr, ...], tuple[px.AnyExpr, ...], list[px.AnyExpr]]:
        using = join.args.get("using")
        if using:
            names = [c.name for c in using]
            mine = tuple(left.scope().find(exp.column(c)) for c in names)
            return mine, tuple(right.scope().find(exp.column(c)) for c in names), []
        condition = join.args.get("on")
        if condition is None:
            return (), (), []
        on_left, on_right, rest = [], [], []
        for part in condition.flatten() if isinstance(condition, exp.And) else [condition]:
            pair = self._pair(part.unnest(), left, right)
            if pair is not None:
                on_left.append(pair[0])
                on_right.append(pair[1])
            elif how == "inner":
                rest.append(convert(part, Scope({**left.names, **right.names}, schema={**left.schema, **right.schema})))
            else:
                refuse(
                    part,
                    "a join condition other than equality of the two tables' columns",
                    "Filter before or after the join.",
                )
        if not on_left:
            refuse(join, "a join without an equality between the two tables")
        return tuple(on_left), tuple(on_right), rest

    @staticmethod
    def _pair(part: exp.Expression, left: Relation, right: Relation) -> tuple[px.AnyExpr, px.AnyExpr] | None:
        if not isinstance(part, exp.EQ):
            return None
        for a, b in ((part.this, part.expression), (part.expression, part.this)):
            if _belongs(a, left) and _belongs(b, right):
                return convert(a, left.scope()), convert(b, right.scope())
        return None

    # ---- SELECT ------------------------------------------------------------------------------------------------------

    def select(self, node: exp.Select) -> Relation:
        self._no_extras(
            node,
            {
                "expressions",
                "from_",
                "from",
                "joins",
                "where",
                "group",
                "having",
                "order",
                "limit",
                "offset",
                "distinct",
                "with_",
                "with",
                "kind",
                "operation_modifiers",
                "qualify",
                "windows",
            },
        )
        node = with_windows(node.copy())
        values = Values(self, node)
        from_ = node.args.get("from_") or node.args.get("from")
        if from_ is None:
            refuse(node, "a SELECT without FROM", "Name a dataset.")
        relation = self.source(from_.this)
        where = node.args.get("where")
        conditions = conjuncts(where.this) if where is not None else []
        waiting = [*conditions]
        for join in node.args.get("joins") or ():
            relation = self.joined(relation, join, waiting)
        whole = where.this if where is not None and len(waiting) == len(conditions) else None
        relation = self.chosen(relation, waiting, values, whole)
        scope = relation.scope(values.names)
        plan = relation.plan
        items = self.items(node, relation, scope)
        group = node.args.get("group")
        grouped = group is not None or node.args.get("having") is not None or any(is_aggregate(e) for _, e in items)
        if grouped:
            for clause, said in (("qualify", "QUALIFY"), ("distinct", "DISTINCT ON")):
                if (one := node.args.get(clause)) is not None and (clause == "qualify" or one.args.get("on")):
                    refuse(one, f"{said} together with GROUP BY", "Group in a subquery.")
            return self.aggregated(node, Relation(plan, relation.schema, relation.names), items, scope, values)
        order = self.order(node, items, scope)
        return self.projected(node, values.beside(plan, values.after), items, order, scope)

    def chosen(
        self,
        relation: Relation,
        conditions: list[exp.Expression],
        values: Values | None = None,
        whole: exp.Expression | None = None,
    ) -> Relation:
        """Return the rows for which all conditions hold. values: numbers of subqueries in them. whole: the conditions as one."""
        waiting = [*conditions]
        for part in conditions:
            found = among(self, relation, part) or existing(self, relation, part)
            if found is not None:
                relation = found
                waiting = [other for other in waiting if other is not part]
        if not waiting:
            return relation
        plan, scope = relation.plan, relation.scope(values.names if values is not None else None)
        within = values.within(plan) if values is not None else {}
        joined = {k: v for k, v in values.before.items() if px.Column(k) not in within} if values is not None else {}
        if values is not None:
            plan = values.beside(plan, joined)
        one = whole is not None and len(waiting) == len(conditions)
        predicate = convert(whole, scope) if one and whole is not None else _all(waiting, scope)
        if is_aggregate(predicate):
            refuse(waiting[0], "an aggregate in WHERE", "Put it into HAVING.")
        plan = n.Filter(plan, _exchanged(predicate, within))  # type: ignore[arg-type]
        if joined:
            plan = n.Select(plan, tuple(px.Column(name) for name in relation.schema))  # type: ignore[arg-type]
        return Relation(plan, relation.schema, relation.names)

    def items(self, node: exp.Select, relation: Relation, scope: Scope) -> list[tuple[str, px.AnyExpr]]:
        """Return output names and expressions; stars written out, names made unique as Polars' SQL does."""
        found: list[tuple[str | None, px.AnyExpr]] = []
        for item in node.expressions:
            star = item if isinstance(item, exp.Star) else item.this if isinstance(item, exp.Column) else None
            if isinstance(star, exp.Star):
                table = item.table if isinstance(item, exp.Column) else ""
                found += self._star(item, star, table, relation)
            elif isinstance(item, exp.Alias):
                expr = convert(item.this, scope)
                scope.aliases[item.alias] = expr
                found.append((item.alias, expr))
            else:
                expr = convert(item, scope)
                own = item.name if isinstance(item, exp.Column) else None
                found.append((own or expr_name(expr, relation.schema), expr))
        out: dict[str, px.AnyExpr] = {}
        for name, expr in found:
            unique, count = name or "literal", 0
            while unique in out:
                count += 1
                unique = f"{name}:{count}"
            out[unique] = expr
        return list(out.items())

    def _star(
        self, item: exp.Expression, star: exp.Star, table: str, relation: Relation
    ) -> list[tuple[str | None, px.AnyExpr]]:
        left_out = {e.name for e in star.args.get("except_") or star.args.get("except") or ()}
        replaced = {e.alias: e.this for e in star.args.get("replace") or ()}
        if star.args.get("rename"):
            refuse(item, "RENAME of *")
        if table and all(t != table for t, _ in relation.names):
            msg = f"There is no table {table!r}{place(item)}."
            raise InputError(msg, code="missing.table")
        out: list[tuple[str | None, px.AnyExpr]] = []
        for (owner, name), actual in relation.names.items():
            if (
                (table and owner != table)
                or name in left_out
                or (owner == "" and (relation.names.keys() - {("", name)}) and _doubled(relation, name))
            ):
                continue
            expr = convert(replaced[name], relation.scope()) if name in replaced else px.Column(actual)
            out.append((name if table else actual, expr))
        return out

    def order(
        self, node: exp.Expression, items: list[tuple[str, px.AnyExpr]], scope: Scope
    ) -> list[tuple[px.AnyExpr, bool, bool]]:
        """Return sort keys (over output columns by `Column` where they are outputs), descending, nulls last."""
        out = []
        order = node.args.get("order")
        for key in order.expressions if order is not None else ():
            if not isinstance(key, exp.Ordered):
                refuse(key, "this order")
            every = isinstance(key.this, exp.Var) and key.this.name.upper() == "ALL"
            descending = bool(key.args.get("desc"))
            nulls_last = not key.args.get("nulls_first")
            shown = (
                [px.Alias(px.Column(name), "out") for name, _ in items]
                if every
                else [self._output(key.this, items, scope)]
            )
            out += [(one, descending, nulls_last) for one in shown]
        return out

    @staticmethod
    def _output(node: exp.Expression, items: list[tuple[str, px.AnyExpr]], scope: Scope) -> px.AnyExpr:
        node = node.unnest()
        names = dict(items)
        if isinstance(node, exp.Literal) and not node.is_string:
            position = int(node.this) if node.this.isdigit() else 0
            if not 1 <= position <= len(items):
                refuse(node, f"the position {node.this}")
            return px.Alias(px.Column(items[position - 1][0]), "out")
        if isinstance(node, exp.Column) and not node.table and node.name in names:
            return px.Alias(px.Column(node.name), "out")
        expr = convert(node, scope)
        for name, item in items:
            if item == expr:
                return px.Alias(px.Column(name), "out")
        return expr

    def projected(
        self,
        node: exp.Select,
        plan: Node,
        items: list[tuple[str, px.AnyExpr]],
        order: list[tuple[px.AnyExpr, bool, bool]],
        scope: Scope,
    ) -> Relation:
        exprs = [_named(name, e) for name, e in items]
        keys: list[px.AnyExpr] = []
        hidden: list[px.AnyExpr] = []
        for index, (key, _, _) in enumerate(order):
            if isinstance(key, px.Alias) and key.name == "out":
                keys.append(key.input)
            else:
                hidden.append(px.Alias(key, f"order:{index}"))
                keys.append(px.Column(f"order:{index}"))
        distinct, qualify = node.args.get("distinct"), node.args.get("qualify")
        first = distinct.args["on"].expressions if distinct is not None and distinct.args.get("on") else []
        if distinct is not None and hidden and not first:
            refuse(node.args["order"], "ORDER BY of something that SELECT DISTINCT does not show")
        hidden += [px.Alias(convert(one, scope), f"first:{index}") for index, one in enumerate(first)]
        if qualify is not None:
            hidden.append(px.Alias(convert(qualify.this, scope), "qualify:"))
        if not _same_columns(exprs, self.schema_of(plan)) or hidden:
            plan = n.Select(plan, (*exprs, *hidden))  # type: ignore[arg-type]
        if qualify is not None:
            plan = n.Filter(plan, px.Column("qualify:"))  # type: ignore[arg-type]
            if distinct is not None and not first:  # distinct rows are of what is shown
                plan, hidden = n.Select(plan, tuple(px.Column(name) for name, _ in items)), []  # type: ignore[arg-type]
        one_of_each = tuple(px.Column(f"first:{index}") for index in range(len(first)))
        return self.finished(node, plan, items, keys, order, bool(hidden), one_of_each)

    def finished(
        self,
        node: exp.Expression,
        plan: Node,
        items: list[tuple[str, px.AnyExpr]],
        keys: list[px.AnyExpr],
        order: list[tuple[px.AnyExpr, bool, bool]],
        cut: bool,
        one_of_each: tuple[px.AnyExpr, ...] = (),
    ) -> Relation:
        if node.args.get("distinct") is not None and not one_of_each:
            plan = n.Unique(plan)  # type: ignore[arg-type]
        if keys:
            plan = n.Sort(plan, tuple(keys), tuple(d for _, d, _ in order), tuple(last for _, _, last in order))  # type: ignore[arg-type]
        if one_of_each:
            plan = n.Unique(plan, one_of_each, "first", maintain_order=True)  # type: ignore[arg-type]
        plan = self.sliced(plan, node)
        if cut:
            plan = n.Select(plan, tuple(px.Column(name) for name, _ in items))  # type: ignore[arg-type]
        return self.relation(plan, "")

    def tail(self, relation: Relation, node: exp.Expression, scope: Scope) -> Relation:
        """Return a relation with the ORDER BY and LIMIT of a union or a parenthesis."""
        items: list[tuple[str, px.AnyExpr]] = [(c, px.Column(c)) for c in relation.schema]
        order = self.order(node, items, scope)
        keys = [k.input if isinstance(k, px.Alias) and k.name == "out" else k for k, _, _ in order]
        if not keys and not node.args.get("limit") and not node.args.get("offset"):
            return relation
        plan = relation.plan
        if keys:
            plan = n.Sort(plan, tuple(keys), tuple(d for _, d, _ in order), tuple(last for _, _, last in order))  # type: ignore[arg-type]
        return self.relation(self.sliced(plan, node), "")

    @staticmethod
    def sliced(plan: Node, node: exp.Expression) -> Node:
        limit, offset = node.args.get("limit"), node.args.get("offset")
        if limit is None and offset is None:
            return plan
        if isinstance(limit, exp.Fetch):
            options = limit.args.get("limit_options")
            if options is not None and (options.args.get("percent") or options.args.get("with_ties")):
                refuse(limit, "FETCH with PERCENT or WITH TIES")
            count = _whole(limit.args["count"])
        else:
            count = _whole(limit.expression) if limit is not None else None
        return n.Slice(plan, _whole(offset.expression) if offset is not None else 0, count)  # type: ignore[arg-type]

    # ---- GROUP BY ----------------------------------------------------------------------------------------------------

    def aggregated(
        self, node: exp.Select, source: Relation, items: list[tuple[str, px.AnyExpr]], scope: Scope, values: Values
    ) -> Relation:
        group = node.args.get("group")
        keys = self._keys(group, items, scope) if group is not None else []
        having = node.args.get("having")
        order = self.order(node, items, scope)
        outputs: list[tuple[str, px.AnyExpr]] = []
        aggs: dict[str, px.AnyExpr] = {}
        by_expr = {expr: name for name, expr in keys}
        by_expr |= {px.Column(name): name for name in values.names.values()}  # they stand beside the groups
        for name, expr in items:
            outputs.append((name, self._after(expr, by_expr, aggs, name, node)))
        condition = None
        if having is not None:
            condition = self._after(convert(having.this, scope), by_expr, aggs, "having", node)
        sort_keys: list[px.AnyExpr] = []
        hidden: list[px.AnyExpr] = []
        for index, (key, _, _) in enumerate(order):
            if isinstance(key, px.Alias) and key.name == "out":
                sort_keys.append(key.input)
            else:
                hidden.append(px.Alias(self._after(key, by_expr, aggs, f"order {index}", node), f"order:{index}"))
                sort_keys.append(px.Column(f"order:{index}"))
        made = tuple(_named(name, e) for name, e in aggs.items())
        plan: Node
        if keys:
            plan = n.GroupBy(source.plan, tuple(_named(name, e) for name, e in keys), made)  # type: ignore[arg-type]
        else:
            plan = n.Select(source.plan, made or (px.Call("pl.len"),))  # type: ignore[arg-type]
        plan = values.beside(plan, values.after)
        if condition is not None:
            plan = n.Filter(plan, condition)  # type: ignore[arg-type]
        exprs = [_named(name, e) for name, e in outputs]
        if hidden or not _same_columns(exprs, self.schema_of(plan)):
            plan = n.Select(plan, (*exprs, *hidden))  # type: ignore[arg-type]
        return self.finished(node, plan, items, sort_keys, order, bool(hidden))

    def _keys(
        self, group: exp.Group, items: list[tuple[str, px.AnyExpr]], scope: Scope
    ) -> list[tuple[str, px.AnyExpr]]:
        self._no_extras(group, {"expressions", "all"})
        if group.args.get("all"):
            return [(name, e) for name, e in items if not is_aggregate(e)]
        names = dict(items)
        keys: list[tuple[str, px.AnyExpr]] = []
        for index, key in enumerate(group.expressions):
            if (
                isinstance(key, exp.Literal)
                and not key.is_string
                and key.this.isdigit()
                and 1 <= int(key.this) <= len(items)
            ):
                keys.append(items[int(key.this) - 1])
                continue
            try:
                expr = convert(key, scope)
            except InputError:
                raise
            shown = next((name for name, e in items if e == expr), None)
            if (
                isinstance(key, exp.Column)
                and not key.table
                and key.name in names
                and ("", key.name) not in scope.names
            ):
                known = any(c == key.name for _, c in scope.names)
                if not known:
                    expr, shown = names[key.name], key.name
            plain = expr.name if isinstance(expr, px.Column) else None
            keys.append((shown or plain or f"key:{index}", expr))
        return keys

    def _after(
        self, expr: px.AnyExpr, keys: dict[px.AnyExpr, str], aggs: dict[str, px.AnyExpr], name: str, node: exp.Select
    ) -> px.AnyExpr:
        """Return what an item is after the grouping: keys and aggregates by their columns, the rest computed from these."""
        if expr in keys:
            return px.Column(keys[expr])
        if is_aggregate(expr) and not names_value(expr):
            known = next((k for k, e in aggs.items() if e == expr), None)
            if known is None:
                known = name if name not in aggs and name not in keys.values() else f"agg:{len(aggs)}"
                aggs[known] = expr
            return px.Column(known)
        if isinstance(expr, px.Literal):
            return expr
        if isinstance(expr, px.Column):
            msg = f"The column {expr.name!r} is neither in GROUP BY nor inside an aggregate{place(node)}."
            raise InputError(msg, code="input.sql-group", next_step="Add it to GROUP BY, or aggregate it.")
        return _mapped(expr, lambda child: self._after(child, keys, aggs, name, node))


def _mapped(expr: px.AnyExpr, change: Callable[[px.AnyExpr], px.AnyExpr]) -> px.AnyExpr:
    """Return an expression with its direct sub-expressions changed."""
    match expr:
        case px.Call(function=function, args=args, options=options):
            return px.Call(function, tuple(change(a) for a in args), options)
        case px.Ternary(predicate=p, truthy=t, falsy=f):
            return px.Ternary(change(p), change(t), change(f))
        case px.Cast(input=inner, dtype=dtype, strict=strict, wrap_numerical=wrap):
            return px.Cast(change(inner), dtype, strict, wrap)
        case px.Alias(input=inner, name=name):
            return px.Alias(change(inner), name)
        case _:
            return expr


def _exchanged(expr: px.AnyExpr, others: dict[px.AnyExpr, px.AnyExpr]) -> px.AnyExpr:
    """Return an expression with some of its parts exchanged."""
    if not others:
        return expr
    return others.get(expr) or _mapped(expr, lambda child: _exchanged(child, others))


def _named(name: str, expr: px.AnyExpr) -> px.AnyExpr:
    return expr if isinstance(expr, px.Column) and expr.name == name else px.Alias(expr, name)


def _all(parts: list[exp.Expression], scope: Scope) -> px.AnyExpr:
    whole = convert(parts[0], scope)
    for part in parts[1:]:
        whole = px.Call("and_", (whole, convert(part, scope)))
    return whole


def _same_columns(exprs: list[px.AnyExpr], schema: Schema) -> bool:
    """Whether a projection changes nothing."""
    return [e.name if isinstance(e, px.Column) else None for e in exprs] == list(schema)


def _belongs(node: exp.Expression, relation: Relation) -> bool:
    """Whether all columns of an expression are of one relation, and there are any."""
    columns = list(node.find_all(exp.Column))
    return bool(columns) and all(
        any(c == column.name and (not column.table or t == column.table) for t, c in relation.names)
        for column in columns
    )


def _doubled(relation: Relation, name: str) -> bool:
    """Whether a column of USING is shown under a table's name already."""
    return any(c == name and t for t, c in relation.names)


def _whole(node: exp.Expression) -> int:
    if isinstance(node, exp.Literal) and not node.is_string and str(node.this).isdigit():
        return int(node.this)
    return refuse(node, "LIMIT or OFFSET by something other than a whole number")


__all__ = ["parse_sql", "table_names"]
