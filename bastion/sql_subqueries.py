"""Subqueries inside conditions and expressions as joins: EXISTS, and numbers of their own; and windows by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bastion_plan import expressions as px
from bastion_plan import nodes as n
from bastion_plan.errors import BindError
from bastion_plan.nodes import Node
from sqlglot import exp

from bastion.sql_clauses import conjuncts
from bastion.sql_expressions import convert, refuse

if TYPE_CHECKING:
    from bastion.sql import Reader, Relation

_KEYED = "One of its conditions has to say that a column of its table equals one of the query around it, joined by AND."
#: how the columns of numbers of subqueries begin
VALUE = "subquery:"


def with_windows(node: exp.Select) -> exp.Select:
    """Return a query whose windows say in place what WINDOW defines by name.

    Raises:
        InputError: a name that is not defined.
    """
    known: dict[str, exp.Window] = {}
    for window in node.args.get("windows") or ():
        _insert(window, known)
        known[window.this.name] = window
    for window in [*node.find_all(exp.Window)]:
        if window.parent_select is node and window.arg_key != "windows":
            _insert(window, known)
    node.set("windows", None)
    return node


def _insert(window: exp.Window, known: dict[str, exp.Window]) -> None:
    alias = window.args.get("alias")
    if alias is None:
        return
    if alias.name not in known:
        refuse(alias, f"the window {alias.name}, which is not defined,", "Write WINDOW name AS (PARTITION BY …).")
    for key in ("partition_by", "order", "spec"):
        given = known[alias.name].args.get(key)
        if given and not window.args.get(key):
            window.set(key, [part.copy() for part in given] if isinstance(given, list) else given.copy())
    window.set("alias", None)


def among(reader: Reader, relation: Relation, part: exp.Expression) -> Relation | None:
    """Return the rows for which value [NOT] IN (SELECT …) holds; None of another condition.

    As in SQL, NOT IN keeps no row whose value is missing, and none where the subquery gives a missing value; of a subquery without
    rows it is true of all. Each of the three is an anti join.

    Raises:
        InputError: a subquery of several columns.
    """
    from bastion.sql import Relation as Joined

    inside, negated = part.unnest(), False
    while isinstance(inside, exp.Not):
        inside, negated = inside.this.unnest(), not negated
    if not isinstance(inside, exp.In) or not inside.args.get("query"):
        return None
    try:
        inner = reader.query(inside.args["query"])
    except BindError as error:
        if any(
            _has(column, relation)
            for column in inside.args["query"].find_all(exp.Column)
            if column.name == error.details.get("column")
        ):
            step = "Write EXISTS (SELECT … WHERE theirs.k = ours.k AND …)."
            refuse(inside, "IN over a subquery that names columns of the query around it", step)
        raise
    if len(inner.schema) != 1:
        refuse(inside, "IN over a subquery of several columns", "Let it give one column; for several write EXISTS.")
    key, theirs = convert(inside.this, relation.scope()), px.Column(next(iter(inner.schema)))
    if not negated:
        plan: Node = n.Join(relation.plan, inner.plan, "semi", (key,), (theirs,))  # type: ignore[arg-type]
        return Joined(plan, relation.schema, relation.names)
    plan = n.Join(relation.plan, inner.plan, "anti", (key,), (theirs,))  # type: ignore[arg-type]
    missing, any_row = (
        px.Call("is_null", (key,)),
        px.Call("or_", (px.Call("is_null", (theirs,)), px.Call("is_not_null", (theirs,)))),
    )
    every = px.Call("or_", (missing, px.Call("is_not_null", (key,))))
    plan = n.Join(plan, inner.plan, "anti", (every,), (px.Call("is_null", (theirs,)),))  # type: ignore[arg-type]
    plan = n.Join(plan, inner.plan, "anti", (missing,), (any_row,))  # type: ignore[arg-type]
    return Joined(plan, relation.schema, relation.names)


def existing(reader: Reader, relation: Relation, part: exp.Expression) -> Relation | None:
    """Return the rows for which [NOT] EXISTS (SELECT … WHERE theirs = ours) holds; None of another condition.

    A row whose key is missing has no partner: EXISTS leaves it out, NOT EXISTS keeps it. So do semi and anti joins.

    Raises:
        InputError: a subquery that does not compare with the query around it, or does more than choose rows.
    """
    from bastion.sql import Relation as Joined

    part = part.unnest()
    negated = isinstance(part, exp.Not)
    inside = part.this.unnest() if negated else part
    if not isinstance(inside, exp.Exists):
        return None
    query = inside.this.unnest()
    plain = {"expressions", "from_", "from", "joins", "where", "kind", "operation_modifiers"}
    extra = [key for key, value in query.args.items() if value and key not in plain]
    if not isinstance(query, exp.Select) or extra or any(item.find(exp.AggFunc) for item in query.expressions):
        refuse(inside, "EXISTS over more than SELECT … FROM … WHERE")
    source = query.args.get("from_") or query.args.get("from")
    where = query.args.get("where")
    waiting = conjuncts(where.this) if where is not None else []
    theirs = reader.source(source.this) if source is not None else refuse(inside, "EXISTS without FROM")
    keys = [(condition, pair) for condition in waiting if (pair := _key(condition, theirs, relation)) is not None]
    waiting = [condition for condition in waiting if all(condition is not key for key, _ in keys)]
    for join in query.args.get("joins") or ():
        theirs = reader.joined(theirs, join, waiting)
    if not keys:
        refuse(inside, "EXISTS over a subquery that has nothing to do with the query around it", _KEYED)
    for condition in waiting:
        if not all(_has(column, theirs) for column in condition.find_all(exp.Column)):
            refuse(condition, "a condition of EXISTS on the query around it that is no equality", _KEYED)
    theirs = reader.chosen(theirs, waiting)
    on_theirs = tuple(convert(mine, theirs.scope()) for _, (mine, _) in keys)
    on_ours = tuple(convert(other, relation.scope()) for _, (_, other) in keys)
    plan = n.Join(relation.plan, theirs.plan, "anti" if negated else "semi", on_ours, on_theirs)  # type: ignore[arg-type]
    return Joined(plan, relation.schema, relation.names)


def _key(part: exp.Expression, theirs: Relation, ours: Relation) -> tuple[exp.Expression, exp.Expression] | None:
    """Return the two sides of an equality between the tables: of the subquery, of the query around it."""
    part = part.unnest()
    if not isinstance(part, exp.EQ):
        return None
    for mine, other in ((part.this, part.expression), (part.expression, part.this)):
        inner, outer = [*mine.find_all(exp.Column)], [*other.find_all(exp.Column)]
        # a name that both have is the subquery's
        if inner and outer and all(_has(c, theirs) for c in inner) and not any(_has(c, theirs) for c in outer):
            return (mine, other) if all(_has(c, ours) for c in outer) else None
    return None


def _has(column: exp.Column, relation: Relation) -> bool:
    return any(c == column.name and (not column.table or t == column.table) for t, c in relation.names)


def names_value(expr: px.AnyExpr) -> bool:
    """Whether a number of a subquery stands in an expression: it comes beside the groups, after their aggregates."""
    stack: list[px.Expr] = [expr]
    while stack:
        item = stack.pop()
        if isinstance(item, px.Column) and item.name.startswith(VALUE):
            return True
        stack.extend(px.children(item))
    return False


class Values:
    """Subqueries that stand for one number each: aggregates of whole tables, put beside every row.

    before: those of WHERE; after: those of what is selected, which come after a grouping.
    """

    def __init__(self, reader: Reader, node: exp.Select) -> None:
        self.reader = reader
        self.names: dict[tuple[str, str], str] = {}
        self.before: dict[str, Node] = {}
        self.after: dict[str, Node] = {}
        for found in [*node.find_all(exp.Subquery)]:
            if found.parent_select is node and not isinstance(found.parent, exp.From | exp.Join | exp.In | exp.Exists):
                if isinstance(found.parent, exp.Any | exp.All):
                    refuse(found.parent, f"{found.parent.key.upper()} of a subquery")
                clause = found.find_ancestor(exp.Where, exp.Select)
                self._take(found, self.before if isinstance(clause, exp.Where) else self.after)

    def _take(self, node: exp.Subquery, to: dict[str, Node]) -> None:
        query = node.this
        if isinstance(node.find_ancestor(exp.AggFunc, exp.Select), exp.AggFunc):
            refuse(node, "a subquery as a value inside an aggregate", "Compute with it in a subquery of FROM first.")
        once = isinstance(query, exp.Select) and not any(
            query.args.get(key) for key in ("group", "having", "limit", "offset", "qualify", "distinct")
        )
        alone = once and len(query.expressions) == 1 and query.expressions[0].find(exp.AggFunc) is not None
        if not alone or query.expressions[0].find(exp.Window) is not None:
            step = "Let it give one aggregate, without GROUP BY."
            refuse(node, "a subquery as a value that may give other than one", step)
        try:
            found = self.reader.query(query)
        except BindError as error:
            if error.code == "plan.bind.column" and error.details.get("column") in self._around(node):
                refuse(node, "a subquery as a value that names columns of the query around it")
            raise
        name = f"{VALUE}{len(self.names)}"
        to[name] = found.plan
        self.names[("", name)] = name
        node.replace(exp.column(exp.to_identifier(name, quoted=True)))

    def _around(self, node: exp.Subquery) -> set[str]:
        """Return names that a subquery may mean columns of the query around it by."""
        return {column.name for column in node.find_all(exp.Column) if column.table}

    def beside(self, plan: Node, values: dict[str, Node]) -> Node:
        """Return a plan with the numbers beside each row."""
        for name, value in values.items():
            (column,) = self.reader.schema_of(value)
            plan = n.Join(plan, n.Select(value, (px.Alias(px.Column(column), name),)), "cross")  # type: ignore[arg-type]
        return plan

    def within(self, plan: Node) -> dict[px.AnyExpr, px.AnyExpr]:
        """Return the numbers of WHERE that are of all rows of `plan`: they need no join, and are judged as such aggregates are."""
        found: dict[px.AnyExpr, px.AnyExpr] = {}
        for name, value in self.before.items():
            if isinstance(value, n.Select) and value.input == plan and len(value.exprs) == 1:
                expr = value.exprs[0]
                found[px.Column(name)] = expr.input if isinstance(expr, px.Alias) else expr  # type: ignore[assignment]
        return found
