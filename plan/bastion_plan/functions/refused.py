"""What Polars 2.1 offers on expressions and plans do not have, each with the reason.

Together with the register this list is complete: the tests compare both with what the installed Polars offers.
"""

from __future__ import annotations

_PYTHON = "It runs a Python function of the caller inside the server, which could do anything with the rows."
_NODE = "It is not a function but a part of expressions of its own"
_ELEMENT = "It evaluates an expression over elements or groups of its own, for which plans have no scope."
_LOCAL = "It is about the expression object on the client, not about data."
_FRAME = "It is about whole frames; the frame has a verb for it."
_SHORT = "It is short for a method of a column"
_PLUGIN = "It is about extension or map types, which plans do not have."

_GROUPS: dict[str, tuple[str, ...]] = {
    _PYTHON: (
        "map_batches", "map_elements", "rolling_map", "pipe_with_dtype", "name.map", "name.map_fields",
        "pl.fold", "pl.cum_fold", "pl.reduce", "pl.cum_reduce", "pl.map_batches", "pl.map_groups", "pl.pipe_with_dtype",
        "pl.cum_sum_horizontal",  # Polars builds it on a Python fold
    ),
    "It is a Python convenience that calls a function on the client; call the function yourself.": ("pipe",),
    "It loads an expression in the engine's own serialised form, which changes with releases and can hold Python code.": (
        "deserialize", "meta.serialize",
    ),
    f"{_NODE}: Alias.": ("alias",),
    f"{_NODE}: Cast.": ("cast", "cat.to"),
    f"{_NODE}: Over.": ("over",),
    f"{_NODE}: Ternary.": ("pl.when",),
    f"{_NODE}: Column.": ("pl.col",),
    f"{_NODE}: Literal.": ("pl.lit",),
    f"{_NODE}: Selector.": ("exclude", "pl.exclude", "pl.nth"),
    f"{_NODE}: NameChange.": (
        "name.keep", "name.prefix", "name.suffix", "name.replace", "name.to_lowercase", "name.to_uppercase",
    ),
    "Use name.replace, which does the same.": ("name.strip_prefix", "name.strip_suffix"),
    "Use struct.rename_fields, which says the names.": ("name.prefix_fields", "name.suffix_fields"),
    _ELEMENT: (
        "cumulative_eval", "list.eval", "list.agg", "list.filter", "arr.eval", "arr.agg", "struct.eval", "pl.element",
        "pl.field",
    ),
    "Use the frame's rolling(), whose windows the guard can judge.": ("rolling",),
    "Use list.head or sample on the frame: a draw per row averages any protection away.": ("list.sample",),
    "A false promise of order makes the engine read wrong rows.": ("set_sorted",),
    "It writes values to the server's output.": ("inspect",),
    "Its number of rows or widths cannot be told from types alone; use arr and list functions.": ("reshape",),
    "Its result type hangs on how bytes are laid out; decode on the owner's side.": ("bin.reinterpret",),
    "The fields of a struct become several columns: use the frame's unnest(), or struct.field.": ("struct.unnest",),
    _PLUGIN: (
        "ext", "ext.storage", "ext.to", "map", "list.to_map", "map.contains_key", "map.entries", "map.get", "map.keys",
        "map.len", "map.values",
    ),
    "It is a namespace, not a function.": ("arr", "bin", "cat", "dt", "list", "meta", "name", "str", "struct"),
    _LOCAL: (
        "meta.as_expression", "meta.as_selector", "meta.eq", "meta.has_multiple_outputs", "meta.is_column",
        "meta.is_column_selection", "meta.is_known_length", "meta.is_length_preserving", "meta.is_literal",
        "meta.is_regex_projection", "meta.is_row_separable", "meta.is_scalar", "meta.ne", "meta.output_name", "meta.pop",
        "meta.root_names", "meta.show_graph", "meta.tree_format", "meta.undo_aliases", "pl.dtype_of", "pl.self_dtype",
        "pl.struct_with_fields", "pl.escape_regex",
    ),
    "It changes the random state of the whole server process; give a seed to the function instead.": ("pl.set_random_seed",),
    "SQL is translated on the client into a plan: use sql().": ("pl.sql_expr",),
    _FRAME: (
        "pl.align_frames", "pl.collect_all", "pl.collect_all_async", "pl.concat", "pl.explain_all", "pl.merge_sorted",
        "pl.select", "pl.union", "pl.row_index",
    ),
    f"{_SHORT}: pl.col(…) and the method.": (
        "pl.all", "pl.any", "pl.approx_n_unique", "pl.count", "pl.cum_count", "pl.cum_sum", "pl.first", "pl.head",
        "pl.implode", "pl.last", "pl.max", "pl.mean", "pl.median", "pl.min", "pl.n_unique", "pl.quantile", "pl.std",
        "pl.sum", "pl.tail", "pl.var",
    ),
    "Use pl.repeat.": ("pl.ones", "pl.zeros"),
    "Use pl.concat_list.": ("pl.list",),
    "Use pl.linear_space over groups, or pl.int_ranges.": ("pl.linear_spaces",),
}  # fmt: skip

#: name -> why plans do not have it
REFUSED: dict[str, str] = {name: reason for reason, names in _GROUPS.items() for name in names}
