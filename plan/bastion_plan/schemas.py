"""Column names and types of every node, by Polars 2.1's rules, from those of its inputs (which are already bound)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from bastion_plan import dtypes as dt
from bastion_plan import nodes as n
from bastion_plan.dtypes import DType, Schema
from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, AnyExpr, Call, Column, Expr, Literal
from bastion_plan.functions.rules import supertype
from bastion_plan.selectors import is_pattern, unknown_column
from bastion_plan.typing import aggregated, describe, expr_dtype
from bastion_plan.validate import is_written_as

#: most columns a frame may have
MAX_COLUMNS = 4_096


def checked(columns: Iterable[tuple[str, DType]], where: str) -> Schema:
    """Return a schema of these columns.

    INVARIANT: no column has a name that the engine would read as a pattern over other columns ("*", "^…$"): a plan could
    else make the engine read columns that the judge never saw.

    Raises:
        BindError: two columns of one name, a name that is a pattern, too many columns.
    """
    schema: Schema = {}
    for name, dtype in columns:
        if name in schema:
            msg = f"{where} makes two columns named {name!r}."
            raise BindError(
                msg, code="plan.bind.duplicate", next_step="Give one of them another name, with alias() or a suffix."
            )
        if is_pattern(name):
            msg = f"A column cannot be named {name!r}: that is a pattern."
            raise BindError(msg, code="plan.bind.name")
        schema[name] = dtype
    if len(schema) > MAX_COLUMNS:
        msg = f"{where} makes {len(schema)} columns; at most {MAX_COLUMNS} are allowed."
        raise BindError(msg, code="plan.bind.size")
    return schema


def select_schema(exprs: Sequence[Expr], schema: Schema, where: str = "select") -> Schema:
    """Return the schema of expanded expressions over a frame."""
    return checked(((d.name, d.dtype) for d in (describe(e, schema) for e in exprs)), where)


def with_columns_schema(exprs: Sequence[Expr], schema: Schema) -> Schema:
    """Return the schema after adding or replacing columns."""
    return checked((schema | select_schema(exprs, schema, "with_columns")).items(), "with_columns")


def agg_schema(keys: Schema, aggs: Sequence[Expr], schema: Schema, where: str) -> Schema:
    """Return keys and aggregates; what an aggregate does not reduce becomes a list."""
    made = (aggregated(e, schema) for e in aggs)
    return checked([*keys.items(), *((d.name, d.dtype) for d in made)], where)


def widest(types: Iterable[DType]) -> DType:
    """Return the common type of columns stacked into one: as `supertype`, and String for strings with anything flat but durations.

    INVARIANT: the engine writes no durations as text. It fails where there is a row, and not where there is none.
    """
    found: DType | None = None
    for dtype in types:
        if found is None or found == dtype:
            found = dtype
            continue
        kinds = {found.kind, dtype.kind}
        if "String" in kinds and not (found.is_nested or dtype.is_nested or kinds & {"Binary", "Duration"}):
            found = dt.STRING
        else:
            found = supertype(found, dtype)
    return dt.NULL if found is None else found


# --- joins ---


def join_origins(node: n.Join | n.JoinAsof, left: Schema, right: Schema) -> dict[str, tuple[bool, str]]:
    """Return of every output column of a join (whether it is the left side's, its name there).

    Which keys are merged depends on `how` and `coalesce`, clashes get the suffix. Semi and anti joins have the left side's alone.

    INVARIANT: no column gets the name that one of either side had before the join, were it a key that is merged: Polars 2.1 then takes
    the left side's column for the right side's where it reads few of them, under its role and form.

    Raises:
        BindError: plan.bind.duplicate, a column's name with the suffix is another column's.
    """
    if isinstance(node, n.Join) and node.how in {"semi", "anti"}:
        return {name: (True, name) for name in left}
    gone_left, gone = _merged(node)
    found = {name: (True, name) for name in left if name not in gone_left}
    first = frozenset(found)
    for name in right:
        if name in gone:
            continue
        made = f"{name}{node.suffix}" if name in first else name
        if made in found or (made != name and (made in left or made in right)):
            msg = f"A join gives column {name!r} of the right side the name {made!r}, which another column has."
            fix = 'Rename one of them before the join, or give the join another suffix: join(…, suffix="_2").'
            raise BindError(msg, code="plan.bind.duplicate", next_step=fix)
        found[made] = (False, name)
    return found


def _merged(node: n.Join | n.JoinAsof) -> tuple[frozenset[str], frozenset[str]]:
    """Return the left and right columns that a join leaves out, which are keys that stand on the other side."""
    if isinstance(node, n.JoinAsof):
        # the right `by` columns go, the right key only where it has the same name
        one, two = node.left_on, node.right_on
        same = node.coalesce and isinstance(one, Column) and isinstance(two, Column) and one.name == two.name
        return frozenset(), frozenset({*node.by_right, *({two.name} if same and isinstance(two, Column) else ())})
    plain = all(isinstance(e, Column) for e in (*node.left_on, *node.right_on))
    merged = plain and node.how != "cross" and (node.coalesce if node.coalesce is not None else node.how != "full")
    keys = node.left_on if node.how == "right" else node.right_on
    names = frozenset(e.name for e in keys if isinstance(e, Column)) if merged else frozenset[str]()
    return (names, frozenset()) if node.how == "right" else (frozenset(), names)


def join_schema(node: n.Join | n.JoinAsof, left: Schema, right: Schema) -> Schema:
    """Return the columns of a join: see `join_origins`. Merged keys of a full join are of the type that holds both."""
    origins = join_origins(node, left, right)
    schema = checked(((name, (left if first else right)[was]) for name, (first, was) in origins.items()), "join")
    if isinstance(node, n.Join) and node.how == "full" and _merged(node)[1]:
        for one, two in zip(node.left_on, node.right_on, strict=True):
            assert isinstance(one, Column)
            assert isinstance(two, Column)
            schema[one.name] = supertype(left[one.name], right[two.name])
    return schema


# --- shapes ---


def concat_schema(how: str, schemas: Sequence[Schema]) -> Schema:
    """Return the columns of frames put below or beside each other."""
    if how == "horizontal":
        return checked([item for s in schemas for item in s.items()], "concat")
    if how in {"vertical", "vertical_relaxed"}:
        for other in schemas[1:]:
            if list(other) != list(schemas[0]):
                msg = "The frames of a vertical concat do not have the same columns in the same order."
                raise BindError(msg, code="plan.bind.concat", next_step='Select them, or use how="diagonal".')
    names = list(dict.fromkeys(name for s in schemas for name in s))
    result: Schema = {}
    for name in names:
        types = [s[name] for s in schemas if name in s]
        if not how.endswith("_relaxed") and len(set(types)) > 1:
            msg = f"The frames of the concat have column {name!r} as {types[0]} and as another type."
            raise BindError(msg, code="plan.bind.concat", next_step=f'Cast it, or use how="{how}_relaxed".')
        result[name] = widest(types)
    return result


def explode_schema(columns: Sequence[str], schema: Schema) -> Schema:
    """Return the schema with lists and arrays as their elements."""
    if not columns:
        msg = "There are no columns to explode."
        raise BindError(msg, code="plan.bind.selector")
    result = dict(schema)
    for name in columns:
        dtype = schema[name]
        if dtype.kind not in {"List", "Array"} or dtype.inner is None:
            msg = f"Column {name!r} is {dtype}; only lists and arrays can be exploded."
            raise BindError(msg, code="plan.bind.types")
        result[name] = dtype.inner
    return result


def unnest_schema(columns: Sequence[str], schema: Schema) -> Schema:
    """Return the schema with the fields of struct columns in their place."""
    made: list[tuple[str, DType]] = []
    for name, dtype in schema.items():
        if name not in columns:
            made.append((name, dtype))
        elif dtype.kind == "Struct":
            made.extend(dtype.fields)
        else:
            msg = f"Column {name!r} is {dtype}; only structs can be unnested."
            raise BindError(msg, code="plan.bind.types")
    return checked(made, "unnest")


def unpivot_schema(node: n.Unpivot, on: Sequence[str], index: Sequence[str], schema: Schema) -> Schema:
    """Return index columns, the variable's name, the value."""
    kept = [(name, schema[name]) for name in index]
    value = widest(schema[name] for name in on)
    return checked([*kept, (node.variable_name, dt.STRING), (node.value_name, value)], "unpivot")


def pivot_schema(node: n.Pivot, schema: Schema) -> Schema:
    """Return index columns and one column per value of `on` (per value column, where there are several)."""
    on = schema[node.on]
    if not (on.is_integer or on.kind in {"Boolean", "String", "Categorical", "Enum"}) or on.kind == "Int128":
        msg = f"Column {node.on!r} is {on}; its values cannot name columns."
        raise BindError(msg, code="plan.bind.types", next_step="Cast it to String first.")
    if not all(is_written_as(on, v) for v in node.on_columns):
        msg = f"The on_columns of the pivot are not values of {node.on!r}, which is {on}."
        raise BindError(msg, code="plan.bind.types")
    names = [_pivot_name(v, on) for v in node.on_columns]
    made: list[tuple[str, DType]] = [(name, schema[name]) for name in node.index]
    for value in node.values:
        prefix = f"{value}{node.separator}" if len(node.values) > 1 else ""
        aggregated = dt.UINT32 if node.aggregate == "len" else expr_dtype(_aggregate(node.aggregate, value), schema)
        made.extend((prefix + name, aggregated) for name in names)
    return checked(made, "pivot")


def _aggregate(function: str, column: str) -> Expr:
    # item: the only value of its group
    return Call("first" if function == "item" else function, (Column(column),))


def _pivot_name(value: Any, dtype: DType) -> str:
    if value is None:
        return "null"
    if dtype.kind == "Boolean":
        return "true" if value else "false"
    return str(value)


def require(name: str, schema: Schema) -> DType:
    """Return the type of a column that must be there."""
    if name not in schema:
        raise unknown_column(name, schema)
    return schema[name]


# --- keys and fills ---


def check_key_types(left: DType, right: DType) -> None:
    """Refuse join keys that cannot be compared."""
    if left == right or (left.is_integer and right.is_integer):
        return
    if left.kind == right.kind and left.kind not in {"List", "Array", "Struct", "Datetime", "Enum", "Decimal"}:
        return
    msg = f"The join keys are {left} and {right}, which cannot be compared."
    raise BindError(msg, code="plan.bind.types", next_step="Cast one of them to the type of the other.")


def check_join_keys(how: str, left_on: Sequence[Expr], right_on: Sequence[Expr], left: Schema, right: Schema) -> None:
    """Refuse keys that are missing, of different number, renamed, repeated, or of types that cannot be compared."""
    if how == "cross":
        if left_on or right_on:
            msg = "A cross join takes no keys."
            raise BindError(msg, code="plan.bind.keys")
        return
    if len(left_on) != len(right_on) or not left_on:
        msg = f"The join has {len(left_on)} left and {len(right_on)} right keys."
        raise BindError(msg, code="plan.bind.keys", next_step="Give equally many keys, at least one.")
    for side in (left_on, right_on):
        if any(isinstance(e, Alias) for e in side):
            msg = "A join key cannot be renamed."
            raise BindError(msg, code="plan.bind.keys", next_step="Use with_columns() before the join.")
        if len(set(side)) != len(side):
            msg = "A join key is given twice."
            raise BindError(msg, code="plan.bind.keys")
    for a, b in zip(left_on, right_on, strict=True):
        check_key_types(expr_dtype(a, left), expr_dtype(b, right))


_PLAIN = {"DynInt", "DynFloat", "Boolean", "String"}


def fill_schema(node: n.FillNull, value: Expr, schema: Schema) -> Schema:
    """Return the schema after filling; a plain number, Boolean or string fills only the columns whose type it fits."""
    if node.nans:
        return schema
    result = {}
    for name, dtype in schema.items():
        result[name] = _filled(name, value, schema) if fills(value, dtype) else dtype
    return result


def _filled(name: str, value: Expr, schema: Schema) -> DType:
    dtype = schema[name]
    literal = value.dtype.kind if isinstance(value, Literal) else ""
    if dtype.kind == "Categorical" and literal == "String":
        return dtype
    if dtype.kind == "Decimal" and literal == "DynInt":
        return DType("Decimal", precision=38, scale=dtype.scale)
    return expr_dtype(Call("fill_null", (Column(name), cast(AnyExpr, value))), schema)


def fills(value: Expr, dtype: DType) -> bool:
    """Return whether `fill_null(value)` of a frame touches a column of this type."""
    if not isinstance(value, Literal) or value.dtype.kind not in _PLAIN:
        return True
    if dtype.kind == "Null":
        return True
    match value.dtype.kind:
        case "DynInt" | "DynFloat":
            return dtype.is_numeric
        case "String":
            return dtype.kind in {"String", "Categorical"}
        case kind:
            return dtype.kind == kind
