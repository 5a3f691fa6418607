"""What to write instead of those parts of SQL that the language has not."""

from __future__ import annotations

from sqlglot import exp

_GROUPINGS = "Write one query for each grouping, and put them together: … GROUP BY k UNION ALL SELECT NULL AS k, …"
_MANY = "Write IN (SELECT …) for = ANY; or compare with one number: (SELECT MIN(…) FROM …) or (SELECT MAX(…) FROM …)."
_STEPS: dict[type[exp.Expression], str] = {
    exp.Rollup: _GROUPINGS,
    exp.Cube: _GROUPINGS,
    exp.GroupingSets: _GROUPINGS,
    exp.Group: _GROUPINGS,
    exp.Any: _MANY,
    exp.All: _MANY,
    exp.With: "Write the steps one by one, as frames: step = sql('…'), then sql('SELECT … FROM step', step=step).",
    exp.Values: "Name the values: k IN (1, 2).",
    exp.Table: "Choose, pivot and sample with the methods of frames.",
    exp.Join: "Filter a CROSS JOIN, or use join_where of frames.",
}
#: names of nodes that are not how SQL writes them
NAMES = {"GROUPINGSETS": "GROUPING SETS", "ALL": "ALL of a subquery", "ANY": "ANY of a subquery"}
_ROLLING = {exp.Sum: "sum", exp.Avg: "mean", exp.Min: "min", exp.Max: "max"}
_RUNNING = {exp.Sum: "cum_sum", exp.Count: "cum_count", exp.Min: "cum_min", exp.Max: "cum_max"}


def instead(node: exp.Expression) -> str:
    """Return what to write instead of a part of a query; empty where nothing is known."""
    if isinstance(node, exp.In):
        return _in(node)
    return _STEPS.get(type(node), "")


def _in(node: exp.In) -> str:
    if isinstance(node.find_ancestor(exp.Having, exp.Select), exp.Having):
        return "Group in a subquery of FROM, and put the condition into WHERE."
    return (
        "Let it be one of the conditions that AND joins in WHERE; or LEFT JOIN (SELECT k, COUNT(*) AS n FROM … GROUP BY k), "
        "and ask whether n IS NOT NULL."
    )


def window(node: exp.Window) -> str:
    """Return the expression of frames that a window with an order or a frame is, as far as there is one."""
    keys, order = node.args.get("partition_by") or [], node.args.get("order")
    by = [key.this for key in order.expressions] if order is not None else []
    inner, spec = node.this, node.args.get("spec")
    own = inner.this if isinstance(inner, exp.AggFunc) else None
    plain = all(isinstance(part, exp.Column) for part in (*keys, *by)) and isinstance(own, exp.Column) and len(by) == 1
    made = _made(inner, spec) if plain and not by[0].parent.args.get("desc") else ""
    if not made:
        return "Leave ORDER BY and the frame out; or write it as an expression of a frame, such as pl.col(…).cum_sum().over(…, order_by=…)."
    keyed = "".join(f"{key.name!r}, " for key in keys)
    return f"Write it as an expression of a frame: pl.col({own.name!r}).{made}.over({keyed}order_by={by[0].name!r})."


def _made(inner: exp.Expression, spec: exp.WindowSpec | None) -> str:
    start = spec.args.get("start") if spec is not None else "UNBOUNDED"
    ends_here = spec is None or spec.args.get("end") in (None, "CURRENT ROW")
    before = spec is None or spec.args.get("start_side") == "PRECEDING"
    if not ends_here or not before:
        return ""
    if start == "UNBOUNDED":
        return f"{_RUNNING[type(inner)]}()" if type(inner) in _RUNNING else ""
    rows = spec is not None and spec.args.get("kind") == "ROWS" and isinstance(start, exp.Literal) and start.is_int
    if not rows or type(inner) not in _ROLLING:
        return ""
    return f"rolling_{_ROLLING[type(inner)]}({int(start.this) + 1}, min_samples=1)"
