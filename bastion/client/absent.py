"""Methods of Polars' frames that a remote frame does not have, with the reason and what to do instead.

The SDK and the kernel tell the same. Methods that would run Python beside the data are refused by `refuse_python`.
"""

_WRITE = "The server writes no files for anyone. Fetch the result, then write it."
_FETCH = "The rows are on the server. Fetch the result, then use the method of its table."
_ROWS = "Rows stay on the server. Aggregate, then fetch."
_COUNT = "The number of rows is not public. Write .select(pl.len()).fetch()"
_WHERE = "The server decides how and where a query runs. Write .fetch()."
_PYTHON = "It would run Python beside the data. Use expressions."

#: what a cell writes where a program would go on with a fetched table
ONWARD = (
    "Go on with the frame instead of its fetched table: after the aggregate everything is free. As a file: 'Copy as … CSV' below "
    "the table. As a table of Python: %%bastion --as NAME in an ordinary notebook."
)
#: reasons in cells, where a fetched table has few methods and no file can be written
IN_CELLS = {
    _WRITE: f"The server writes no files for anyone. {ONWARD}",
    _FETCH: f"The rows are on the server. {ONWARD}",
}

ABSENT: dict[str, str] = {
    **dict.fromkeys(
        (
            "sink_parquet", "sink_csv", "sink_ipc", "sink_ndjson", "sink_delta", "sink_iceberg", "write_csv", "write_parquet",
            "write_ipc", "write_json", "write_ndjson", "write_excel", "write_database",
        ),
        _WRITE,
    ),
    **dict.fromkeys(("to_pandas", "to_numpy", "to_arrow", "to_dict", "to_dicts", "to_series", "item"), _FETCH),
    **dict.fromkeys(("iter_rows", "rows", "row", "iter_slices", "partition_by", "get_column", "get_columns"), _ROWS),
    **dict.fromkeys(("inspect", "sink_batches", "map_batches", "pipe_with_schema", "apply_udf", "map_groups"), _PYTHON),
    **dict.fromkeys(("collect_async", "collect_batches", "execute", "remote", "profile", "show", "show_graph"), _WHERE),
    "glimpse": "The rows are on the server. Write .schema, .describe(), or .preview() for made-up rows.",
    "height": f"{_COUNT}.",
    "shape": f"{_COUNT}, and .width for the columns.",
    "estimated_size": f"{_COUNT}.",
    "is_empty": f"{_COUNT}.",
    "pipe": "A cell defines no functions. Write the steps one after the other.",
    "serialize": "A query is kept on the server: .save(\"name\"), and get_df(\"name\") gives it again.",
    "deserialize": "A query is kept on the server: .save(\"name\"), and get_df(\"name\") gives it again.",
    "from_lazyframe_resolver": "Frames come from the server: datasets() lists them, dataset(name) gives one.",
    "set_sorted": "What a query says of the order of rows is not believed. Write .sort(…).",
    "gather": "Rows are not addressed by their place, which is not public. Write .filter(…) or .sort(…).head(n).",
    "clear": "There is nothing to empty. Write .head(0), or .schema for names and types.",
    "match_to_schema": "Write .select(…) and .cast({…}).",
    "with_context": "Columns of frames of unequal height have no rows in common. Join, or hstack frames of equal height.",
    "composite_plan": "Write .explain() for the query as text, .plan_hash for what names it.",
}  # fmt: skip
