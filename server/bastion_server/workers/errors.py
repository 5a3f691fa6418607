"""The fixed errors a worker can end in: no engine text, no values."""

from __future__ import annotations

from bastion_plan.errors import BastionError, InputError, Interrupted, ServerError

#: reason -> (class, code, message, why, next step)
_ERRORS: dict[str, tuple[type[BastionError], str, str, str, str]] = {
    "memory": (
        ServerError,
        "server.worker.memory",
        "The query was stopped: it needed more memory than one query may use.",
        "Every query runs in a worker of its own with a fixed amount of memory.",
        "Filter or aggregate earlier, or select fewer columns.",
    ),
    "time": (
        ServerError,
        "server.worker.time",
        "The query was stopped: it ran longer than one query may.",
        "Every query has a fixed wall-clock limit.",
        "Filter or aggregate earlier, or ask the server's operator for a higher limit.",
    ),
    "crashed": (
        ServerError,
        "server.worker.crashed",
        "The worker that ran the query stopped unexpectedly.",
        "Each query runs in a process of its own; no other query was affected.",
        "Run the query again; if it happens again, tell the server's operator.",
    ),
    "refused": (
        ServerError,
        "server.worker.refused",
        "The engine could not run this query.",
        "The engine's own words may hold values of the data; only the owner's log has them.",
        "Check casts, types and functions in the query, or ask the dataset's owner.",
    ),
    "call": (
        InputError,
        "plan.call",
        "A function of the query fails as it is written.",
        "It was tried on no data: it fails whatever the rows are (a pattern that is none, a thirteenth month, bounds beyond a type), or at "
        "some value of the types that it brings together (a negative number beside an unsigned one, days beside nanoseconds).",
        "Correct what the query says: its patterns, formats, bounds and constants; cast to one type, with strict=False, first.",
    ),
    "answer": (
        ServerError,
        "server.worker.answer",
        "The query was stopped: its result is larger than one result may be.",
        "",
        "Aggregate further, or select fewer columns.",
    ),
    "stopped": (
        Interrupted,
        "interrupted.query",
        "The query was stopped.",
        "",
        "",
    ),
    "busy": (
        ServerError,
        "server.worker.busy",
        "The server is busy: no worker became free in time.",
        "A fixed number of queries run at the same time; others wait their turn.",
        "Try again in a moment.",
    ),
    "closed": (
        ServerError,
        "server.worker.closed",
        "The server is shutting down.",
        "",
        "Try again when it is back.",
    ),
    "unsealed": (
        ServerError,
        "server.worker.unsealed",
        "A dataset could not be given to a worker.",
        "Its memory file is not sealed against writing.",
        "Tell the server's operator.",
    ),
    "format": (
        InputError,
        "input.upload.format",
        "The uploaded bytes are not an Arrow IPC file or stream.",
        "Datasets are uploaded in the Arrow IPC format.",
        "Upload with the BastionLab client, or write the table with Polars' write_ipc.",
    ),
    "duplicate": (
        InputError,
        "input.upload.duplicate",
        "The uploaded table has two columns of the same name.",
        "",
        "Rename one of them before uploading.",
    ),
    "empty": (
        InputError,
        "input.upload.empty",
        "The uploaded table has no columns.",
        "",
        "Upload a table with at least one column.",
    ),
    "dtype": (
        InputError,
        "input.upload.dtype",
        "The uploaded table has a column of a type that cannot be used.",
        "",
        "Cast it to numbers, text, dates or lists of them before uploading.",
    ),
    "date": (
        InputError,
        "input.upload.date",
        "The uploaded table has a date outside the years 1 to 9999.",
        "Functions of dates fail far beyond the calendar, and whether they do would tell of single rows.",
        "Correct such dates, or replace them with null, before uploading.",
    ),
    "unit": (
        InputError,
        "input.upload.unit",
        "The column named as the privacy unit is not in the uploaded table.",
        "",
        "Name one of the table's columns.",
    ),
    "unit-null": (
        InputError,
        "input.upload.unit_null",
        "The privacy unit is missing (null) in some rows.",
        "Rows whose person is unknown cannot be protected as one person's.",
        "Fill or drop those rows before uploading.",
    ),
}

REASONS = frozenset(_ERRORS)


def worker_error(reason: str) -> BastionError:
    """Return the fixed error of a reason; an unknown reason is a crash."""
    kind, code, message, why, step = _ERRORS.get(reason, _ERRORS["crashed"])
    return kind(message, reason=why, next_step=step, code=code)


def query_failed() -> BastionError:
    """Return the one error of all queries about people that fail, whatever the reason."""
    return ServerError(
        "The query could not be answered.",
        reason="Why, and whether it failed or needed too much memory or time, may depend on single people's rows, so only "
        "the owner's log says it.",
        next_step="Filter or aggregate earlier, check casts and functions, or ask the dataset's owner.",
        code="server.query.failed",
    )
