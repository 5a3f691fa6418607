"""Plans in plain words: what an owner reads first when asked to approve one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bastion_plan import nodes
from bastion_plan.dtypes import SIMPLE
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, NameChange, Over, Selector, Ternary
from bastion_plan.functions.registry import find
from bastion_plan.functions.spec import Flow
from bastion_plan.nodes import Node

from bastion_policy.code_expressions import constant, dtype_code, expr_code, text

_SIGNS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "truediv": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "**",
    "eq": "=",
    "ne": "≠",
    "lt": "<",
    "le": "≤",
    "gt": ">",
    "ge": "≥",
    "and_": "and",
    "or_": "or",
    "xor": "xor",
}
#: of integers
_OF_BITS = {"and_": "bitwise and", "or_": "bitwise or", "xor": "bitwise xor"}
_SAID = {
    "count": "number of {0} that are not null",
    "len": "number of rows of {0}",
    "n_unique": "number of distinct {0}",
    "null_count": "number of nulls in {0}",
    "min": "smallest {0}",
    "max": "largest {0}",
    "var": "variance of {0}",
    "std": "standard deviation of {0}",
    "first": "first {0}",
    "last": "last {0}",
    "mode": "most frequent {0}",
    "unique": "distinct values of {0}",
    "filter": "{0} where {1}",
    "not_": "not ({0})",
    "neg": "-{0}",
    "is_null": "{0} is null",
    "is_not_null": "{0} is not null",
    "is_in": "{0} is one of {1}",
    "is_between": "{0} is between {1} and {2}",
    "fill_null": "{0} with nulls as {1}",
    "pl.len": "number of rows",
    "pl.corr": "correlation of {0} and {1}",
    "pl.cov": "covariance of {0} and {1}",
}
#: flow classes of functions that are said as "NAME of COLUMN"
_OF = {Flow.COUNT, Flow.SUM, Flow.SPREAD, Flow.ORDER, Flow.EXTREME, Flow.TIED, Flow.ROW}
_HOW = {
    "left": "kept whole",
    "right": "kept whole on the right",
    "full": "all rows of both",
    "semi": "only rows with a partner",
    "anti": "only rows without a partner",
    "cross": "every row with every row",
}


def plan_words(plan: Node, names: Mapping[str, str] | None = None) -> str:
    """Return one sentence of what a plan does, e.g. "From titanic: mean of Survived for each Pclass."

    names: dataset id -> name.
    """
    source, steps = _steps(plan, names or {})
    return f"From {source}: {', then '.join(steps)}." if steps else f"All rows of {source}."


def expressions_words(plan: Node) -> tuple[str, ...]:
    """Return every expression of a plan in words, one line each, those that are computed first first."""
    lines: dict[str, None] = {}
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(plan, False)]
    while stack:
        node, below = stack.pop()
        if below:
            lines |= dict.fromkeys(_expressions(node))
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((i, False) for i in reversed(nodes.inputs(node)))
    return tuple(lines)


def _expressions(node: Node) -> list[str]:
    match node:
        case nodes.Scan() | nodes.Inline() | nodes.Concat() | nodes.Join() | nodes.JoinAsof():
            return []
        case nodes.Select(exprs=exprs) | nodes.WithColumns(exprs=exprs):
            return [expr_words(e) for e in exprs]
        case nodes.GroupBy(keys=keys, aggs=aggs):
            return [f"{expr_words(e)} for each {_list(keys)}" for e in aggs]
        case _:
            return [_step(node)]


def expr_words(expr: Expr) -> str:
    """Return an expression in words, e.g. "mean of Survived"."""
    match expr:
        case Column(name=name):
            return _name(name)
        case Literal(value=value):
            return constant(value)
        case Alias(input=inner, name=name):
            said = expr_words(inner)
            # a name that is a type's is in quotes: "as" is said of a cast as well
            new = text(name) if name in SIMPLE else _name(name)
            return said if said == _name(name) else f"{said} as {new}"
        case NameChange(input=inner):
            return expr_words(inner)
        case Cast(input=inner, dtype=dtype):
            return f"{_operand(inner)} as {dtype.kind if dtype.kind in SIMPLE else dtype_code(dtype)}"
        case Over(input=inner, partition_by=keys, order_by=order):
            within = f" within each {_list(keys)}" if keys else ""
            said = expr_words(inner) if _phrase(inner) else _operand(inner)
            return f"{said}{within}{f' in order of {_list(order)}' if order else ''}"
        case Ternary(predicate=predicate, truthy=truthy, falsy=falsy):
            return f"({expr_words(truthy)} if {expr_words(predicate)}, else {expr_words(falsy)})"
        case Call():
            return _call(expr)
        case Selector(kind="all"):
            return "every column"
        case _:
            return f"the columns {expr_code(expr)}"


def _name(name: str) -> str:
    """Return a column's name; in quotes where it could be read as something else."""
    return name if name.isidentifier() and name.isascii() else text(name)


def _list(exprs: Sequence[Expr]) -> str:
    *first, last = [_item(e) for e in exprs] or ["nothing"]
    return f"{', '.join(first)} and {last}" if first else last


def _call(call: Call) -> str:
    name, args = call.function, call.args
    options = ", ".join(f"{key} {constant(value)}" for key, value in call.options)
    tail = f" ({options})" if options else ""
    if name in _SIGNS and len(args) == 2:
        bits = any(isinstance(a, Literal) and a.dtype.is_integer for a in args)
        return f" {(_OF_BITS if bits else _SIGNS).get(name, _SIGNS[name])} ".join(_operand(a) for a in args)
    said = _SAID.get(name)
    if said is not None and len(args) == said.count("{"):
        return said.format(*map(_operand if name != "not_" else expr_words, args)) + tail
    entry = find(name)
    plain = name.removeprefix("pl.").replace("_", " ").replace(".", " ").strip()
    if name == "quantile" and len(args) == 1:
        return f"quantile {constant(call.option('quantile'))} of {_operand(args[0])}"
    if entry is not None and entry.flow in _OF and len(args) == 1:
        return f"{plain} of {_operand(args[0])}{tail}"
    return f"{plain}({', '.join(map(expr_words, args))}){tail}"


def _item(expr: Expr) -> str:
    """Return one of several expressions; "and" between two values is no "and" between two expressions."""
    return _operand(expr) if isinstance(expr, Call) and expr.function == "and_" else expr_words(expr)


def _operand(expr: Expr) -> str:
    """Return what a larger expression is made of, in brackets unless it cannot be read as anything else.

    INVARIANT: two expressions that do different things never read alike: an owner approves the words.
    """
    said = expr_words(expr)
    match expr:
        case Column() | Literal() | Ternary() | Selector(kind="all"):
            return said
        case NameChange(input=inner):
            return _operand(inner)
        case _:
            return f"({said})"


def _phrase(expr: Expr) -> bool:
    """Whether an expression reads as one with what is said after it, as in "mean of pay within each ward"."""
    begins = _SAID.get(expr.function, "").lstrip("-").startswith("{") if isinstance(expr, Call) else True
    return isinstance(expr, Call) and expr.function not in _SIGNS and not begins


def _steps(plan: Node, names: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the table a chain begins with, and what is done, in order."""
    steps: list[str] = []
    node = plan
    while True:
        match node:
            case nodes.Scan(dataset=dataset):
                return _name(names.get(dataset, dataset)), steps[::-1]
            case nodes.Inline(columns=columns):
                return f"a table of the requester's own ({', '.join(_name(c.name) for c in columns)})", steps[::-1]
            case nodes.Concat(inputs=several, how=how):
                tables = "; ".join(_inner(n, names) for n in several)
                return f"the tables put together ({_name(how)}) of [{tables}]", steps[::-1]
            case nodes.Join(left=left) | nodes.JoinAsof(left=left):
                steps.append(_join(node, _inner(node.right, names)))
                node = left
            case _:
                steps.append(_step(node))
                node = nodes.inputs(node)[0]


def _inner(node: Node, names: Mapping[str, str]) -> str:
    source, steps = _steps(node, names)
    return f"({source}: {', then '.join(steps)})" if steps else source


def _join(node: nodes.Join | nodes.JoinAsof, right: str) -> str:
    if isinstance(node, nodes.JoinAsof):
        by = f", same {' and '.join(map(_name, node.by_left))}" if node.by_left else ""
        return f"joined with {right} on the nearest {expr_words(node.left_on)} ({_name(node.strategy)}{by})"
    on = _list(node.left_on)
    if node.left_on != node.right_on:
        on += f" = {_list(node.right_on)}"
    how = _HOW.get(node.how, "rows with a partner" if node.how == "inner" else _name(node.how))
    return f"joined with {right}{f' on {on}' if node.left_on else ''} ({how})"


def _step(node: Node) -> str:
    match node:
        case nodes.Filter(predicate=predicate):
            return f"rows where {expr_words(predicate)}"
        case nodes.Select(exprs=exprs):
            return _list(exprs)
        case nodes.WithColumns(exprs=exprs):
            return f"added {_list(exprs)}"
        case nodes.GroupBy(keys=keys, aggs=aggs):
            return f"{_list(aggs) if aggs else 'the groups'} for each {_list(keys)}"
        case nodes.GroupByDynamic(index=index, every=every, aggs=aggs, group_by=keys):
            return f"{_list(aggs)} for every {text(every)} of {expr_words(index)}{_each(keys)}"
        case nodes.Rolling(index=index, period=period, aggs=aggs, group_by=keys):
            return f"{_list(aggs)} over the last {text(period)} of {expr_words(index)} at every row{_each(keys)}"
        case nodes.Sort(by=by, descending=down):
            return f"sorted by {_list(by)}{', largest first' if any(down) else ''}"
        case nodes.Slice(offset=offset, length=length):
            return _slice(offset, length)
        case nodes.TopK(k=k, by=by, bottom=bottom):
            return f"the {k} rows with the {'smallest' if bottom else 'largest'} {_list(by)}"
        case nodes.Unique(subset=subset):
            return f"one row for each distinct {_list(subset) if subset else 'row'}"
        case nodes.DropNulls(subset=subset, nans=nans):
            return f"rows without {'NaN' if nans else 'nulls'}{f' in {_list(subset)}' if subset else ''}"
        case nodes.FillNull(value=value, strategy=strategy, nans=nans):
            new = expr_words(value) if value is not None else f"the strategy {text(strategy or '')}"
            return f"{'NaN' if nans else 'nulls'} replaced by {new}"
        case nodes.Explode(columns=columns):
            return f"one row per element of {_list(columns)}"
        case nodes.Unnest(columns=columns):
            return f"the fields of {_list(columns)} as columns"
        case nodes.Unpivot(on=on, index=index):
            return f"{_list(on) if on else 'every column'} from wide to long{_each(index)}"
        case nodes.Pivot(on=on, index=keys, values=values, aggregate=how):
            rows = f" for each {', '.join(map(_name, keys))}" if keys else ""
            return (
                f"{_name(how)} of {', '.join(map(_name, values)) or 'the values'} in one column per {_name(on)}{rows}"
            )
        case nodes.WithRowIndex(name=name):
            return f"rows numbered as {_name(name)}"
        case nodes.Sample(n=n, fraction=fraction):
            return f"{n} random rows" if n is not None else f"a random {100 * (fraction or 0):g} % of the rows"
        case nodes.Reverse():
            return "rows in the opposite order"
        case _:
            msg = f"no words for {type(node).__name__}"
            raise AssertionError(msg)


def _each(keys: Sequence[Expr]) -> str:
    return f" for each {_list(keys)}" if keys else ""


def _slice(offset: int, length: int | None) -> str:
    if offset == 0:
        return "all rows" if length is None else f"the first {length} rows"
    if offset < 0 and length in (None, -offset):
        return f"the last {-offset} rows"
    start = f"row {offset}" if offset > 0 else f"row {-offset} from the end"
    return f"rows from {start} on" if length is None else f"{length} rows from {start} on"
