"""A plan as Polars code: what an owner reads before approving, what a scientist can paste."""

from __future__ import annotations

from collections.abc import Mapping
from keyword import iskeyword

from bastion_plan import nodes
from bastion_plan.expressions import Expr, Literal
from bastion_plan.nodes import Node

from bastion_policy.code_expressions import argument, constant, dtype_code, expr_code, flags, into, many, scalar, text

__all__ = ["dataset_code", "expr_code", "plan_code"]

WIDTH = 100
#: names that mean something else in a cell
_RESERVED = frozenset(("pl", "dataset", "date", "datetime", "timedelta", "float"))


def _fields(node: Node, *names: str) -> list[str]:
    """Return keyword arguments for plain fields that differ from their defaults."""
    fields, defaults = node.__struct_fields__, node.__struct_defaults__
    default = dict(zip(fields[::-1], defaults[::-1], strict=False))
    return flags({name: (getattr(node, name), default.get(name)) for name in names})


def _flag(name: str, value: tuple[bool, ...]) -> list[str]:
    if value == (False,):
        return []
    return [f"{name}={constant(value[0] if len(value) == 1 else value)}"]


def plan_code(plan: Node, names: Mapping[str, str] | None = None, width: int = WIDTH) -> str:
    """Return a plan as Polars code on lazy frames, e.g. `titanic.group_by("Pclass").agg(pl.len())`.

    names: dataset id -> name; a dataset without one is shown by its id. width: longer text is broken into one method
    per line, in parentheses.
    """
    root, steps = _chain(plan, names or {})
    line = root + "".join(steps)
    if len(line) <= width or len(steps) < 2:
        return line
    return "(\n    " + "\n    ".join([root, *steps]) + "\n)"


def dataset_code(dataset: str, names: Mapping[str, str]) -> str:
    """Return how a dataset is written: by its name where that is a Python name, else `dataset("name")`."""
    name = names.get(dataset, dataset)
    plain = name.isascii() and name.isidentifier() and not iskeyword(name) and name not in _RESERVED
    return name if plain else f"dataset({text(name)})"


def _chain(plan: Node, names: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the start of the chain and its methods, in order."""
    steps: list[str] = []
    node = plan
    while True:
        match node:
            case nodes.Scan(dataset=dataset):
                return dataset_code(dataset, names), steps[::-1]
            case nodes.Inline():
                return _inline(node), steps[::-1]
            case nodes.Concat(inputs=several):
                frames = ", ".join(plan_code(n, names, 10**9) for n in several)
                return f"pl.concat([{frames}]{''.join(f', {o}' for o in _fields(node, 'how'))})", steps[::-1]
            case nodes.Join(left=left) | nodes.JoinAsof(left=left):
                steps.append(_join(node, plan_code(node.right, names, 10**9)))
                node = left
            case _:
                steps.extend(reversed(_step(node)))
                node = nodes.inputs(node)[0]


def _inline(node: nodes.Inline) -> str:
    plain = [_plain_values(c) for c in node.columns]
    if all(values is not None for values in plain):
        data = ", ".join(f"{text(c.name)}: [{values}]" for c, values in zip(node.columns, plain, strict=True))
        schema = ", ".join(f"{text(c.name)}: {dtype_code(c.dtype)}" for c in node.columns)
        return f"pl.LazyFrame({{{data}}}, schema={{{schema}}})"
    return f"pl.LazyFrame([{', '.join(map(_series, node.columns))}])"


def _plain_values(column: nodes.InlineColumn) -> str | None:
    """Return the values separated by commas; None where Python has no value for one of them that Polars keeps exactly."""
    dtype = column.dtype
    if dtype.is_temporal or dtype.kind in ("Int128", "Decimal") or dtype.is_nested:
        found = [scalar(dtype, v) if v is not None else "None" for v in column.values]
        return None if None in found else ", ".join(v for v in found if v is not None)
    return ", ".join(map(constant, column.values))


def _series(column: nodes.InlineColumn) -> str:
    """Return a column as a series that keeps every value exactly: of its physical type, else of typed constants."""
    name, dtype, values = text(column.name), column.dtype, column.values
    if not values:
        return f"pl.Series({name}, [], dtype={dtype_code(dtype)})"
    if dtype.kind == "Int128":
        return f"pl.Series({name}, {constant(tuple(v if v is None else int(v) for v in values))}, dtype=pl.Int128)"
    if dtype.kind == "Decimal":
        return f"pl.Series({name}, {constant(values)}, dtype=pl.String).cast({dtype_code(dtype)})"
    if dtype.is_temporal and dtype.zone is None:
        physical = "pl.Int32" if dtype.kind == "Date" else "pl.Int64"
        return f"pl.Series({name}, {constant(values)}, dtype={physical}).cast({dtype_code(dtype)})"
    typed = ", ".join(f"pl.select({expr_code(Literal(dtype, v))}).to_series()" for v in values)
    return f"pl.concat([{typed}]).alias({name})"


def _join(node: nodes.Join | nodes.JoinAsof, right: str) -> str:
    if isinstance(node, nodes.JoinAsof):
        args = [right]
        if node.left_on == node.right_on:
            args.append(f"on={into(node.left_on)}")
        else:
            args += [f"left_on={into(node.left_on)}", f"right_on={into(node.right_on)}"]
        options = ("by_left", "by_right", "strategy", "suffix", "tolerance", "allow_exact_matches", "coalesce")
        return f".join_asof({', '.join(args + _fields(node, *options))})"
    args = [right]
    if node.left_on and node.left_on == node.right_on:
        args.append(f"on={many(node.left_on)}")
    elif node.left_on:
        args += [f"left_on={many(node.left_on)}", f"right_on={many(node.right_on)}"]
    args += _fields(node, "how", "suffix", "validate", "nulls_equal", "coalesce", "maintain_order")
    return f".join({', '.join(args)})"


def _step(node: Node) -> list[str]:
    """Return the methods of a node with one input, in order."""
    call = _arguments(node)
    return [f".{name}({', '.join(args)})" for name, args in call]


def _arguments(node: Node) -> list[tuple[str, list[str]]]:
    match node:
        case nodes.Filter(predicate=predicate):
            return [("filter", [into(predicate)])]
        case nodes.Select(exprs=exprs):
            return [("select", [into(e) for e in exprs])]
        case nodes.WithColumns(exprs=exprs):
            return [("with_columns", [into(e) for e in exprs])]
        case nodes.GroupBy(keys=keys, aggs=aggs):
            start = [into(k) for k in keys] + _fields(node, "maintain_order")
            return [("group_by", start), ("agg", [into(a) for a in aggs])]
        case nodes.GroupByDynamic() | nodes.Rolling():
            return _windows(node)
        case nodes.Sort(by=by):
            order = _flag("descending", node.descending) + _flag("nulls_last", node.nulls_last)
            return [("sort", [into(b) for b in by] + order + _fields(node, "maintain_order"))]
        case nodes.Slice(offset=offset, length=length):
            return [_slice(offset, length)]
        case nodes.TopK(k=k, by=by, reverse=reverse, bottom=bottom):
            return [("bottom_k" if bottom else "top_k", [str(k), f"by={many(by)}", *_flag("reverse", reverse)])]
        case nodes.Unique(subset=subset):
            return [("unique", _subset(subset) + _fields(node, "keep", "maintain_order"))]
        case nodes.DropNulls(subset=subset, nans=nans):
            return [("drop_nans" if nans else "drop_nulls", _subset(subset))]
        case nodes.FillNull(value=value, nans=nans):
            given = [] if value is None else [argument(value, string_is_column=False)]
            return [("fill_nan" if nans else "fill_null", given + _fields(node, "strategy", "limit"))]
        case nodes.Explode(columns=columns) | nodes.Unnest(columns=columns):
            return [(type(node).__name__.lower(), [into(c) for c in columns] or ["[]"])]
        case nodes.Unpivot(on=on, index=index):
            args = [] if on is None else [many(on) if len(on) == 1 else f"[{', '.join(map(into, on))}]"]
            args += [f"index={many(index)}"] if index else []
            return [("unpivot", args + _fields(node, "variable_name", "value_name"))]
        case nodes.Pivot():
            args = [text(node.on), f"on_columns={constant(node.on_columns)}"]
            args += [f"{n}={constant(v)}" for n, v in (("index", node.index), ("values", node.values)) if v]
            args.append(f"aggregate_function={text(node.aggregate)}")
            return [("pivot", args + _fields(node, "separator"))]
        case nodes.WithRowIndex():
            return [("with_row_index", _fields(node, "name", "offset"))]
        case nodes.Sample():
            return [("sample", _fields(node, "n", "fraction", "with_replacement", "shuffle", "seed"))]
        case nodes.Reverse():
            return [("reverse", [])]
        case _:
            msg = f"no code for {type(node).__name__}"
            raise AssertionError(msg)


def _windows(node: nodes.GroupByDynamic | nodes.Rolling) -> list[tuple[str, list[str]]]:
    if isinstance(node, nodes.Rolling):
        name, options = "rolling", ("offset", "closed")
        args = [into(node.index), f"period={text(node.period)}"]
    else:
        name, options = "group_by_dynamic", ("period", "offset", "include_boundaries", "closed", "label", "start_by")  # type: ignore[assignment]
        args = [into(node.index), f"every={text(node.every)}"]
    args += _fields(node, *options)
    if node.group_by:
        args.append(f"group_by={many(node.group_by)}")
    return [(name, args), ("agg", [into(a) for a in node.aggs])]


def _slice(offset: int, length: int | None) -> tuple[str, list[str]]:
    if offset == 0 and length is not None:
        return "head", [str(length)]
    if offset < 0 and length in (None, -offset):
        return "tail", [str(-offset)]
    return "slice", [str(offset)] + ([] if length is None else [str(length)])


def _subset(subset: tuple[Expr, ...] | None) -> list[str]:
    return [] if subset is None else [many(subset)]
