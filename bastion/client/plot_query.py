"""One query of a plot: keys and numbers in, cells of a chart out. What the guard keeps back is marked, never guessed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import polars as pl
from bastion_plan.errors import InputError
from bastion_policy.actions import Log
from bastion_policy.flow import allowed_outputs, scanned
from bastion_policy.verdict import Outcome, ReleaseNote

from bastion.client.binning import OTHER, Key
from bastion.client.denied import Denied
from bastion.expr.core import Expr
from bastion.expressions import FUNCTIONS
from bastion.render import tables
from bastion.render.charts import Axis, Cell, label

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame

ESTIMATORS = ("mean", "median", "count", "min", "max", "std", "var", "sum", "n_unique")
FIVE = (0.05, 0.25, 0.5, 0.75, 0.95)
#: more cells than these are not looked for when an answer has none of them
MAX_CELLS = 5_000
#: the place of a number of all rows
ALL = "all rows"
#: rows that a page holds
MAX_POINTS = 3_000
_ROWS = re.compile(r"^(\d+) row(s?) show")
_SAID = "What is put together has the key (other)"


@dataclass(frozen=True)
class Answer:
    """Cells, the values of each key in order, and what there is to say."""

    cells: tuple[Cell, ...]
    places: Mapping[str, tuple[Any, ...]]
    table: pl.DataFrame
    note: ReleaseNote
    notes: tuple[str, ...]
    least: int
    denied: Denied | None = None
    untold: str = ""


def number_of(column: str | None, estimator: str) -> tuple[Expr, bool]:
    """Return the expression of an estimator, and whether its numbers add up.

    Raises:
        InputError: plot.estimator, an unknown one.
    """
    if estimator not in ESTIMATORS:
        msg = "There is no such estimator."
        raise InputError(msg, code="plot.estimator", next_step=f"Choose one of {', '.join(ESTIMATORS)}.")
    if column is None:
        return FUNCTIONS["len"](), True
    from bastion_plan import expressions as px

    return getattr(Expr(px.Column(column)), estimator)(), estimator in ("count", "sum")


def least_people(frame: RemoteLazyFrame) -> int:
    """Return the number of people that a number needs to be told; 0 where small ones are told too."""
    connection = frame.connection
    facts = [connection.facts[name] for name in scanned(frame.bound)]
    return max((f.effective(connection.identity).k for f in facts), default=0)


def tells_rows(frame: RemoteLazyFrame) -> bool:
    """Whether the rows of a frame are released one by one, and not a safe part of them."""
    connection = frame.connection
    facts = [connection.facts[name] for name in scanned(frame.bound)]
    free = all(isinstance(f.policy.unsafe_handling, Log) or f.effective(connection.identity).open for f in facts)
    return free and frame.verdict.outcome is Outcome.RELEASE


async def release(frame: RemoteLazyFrame) -> tuple[pl.DataFrame, ReleaseNote, Denied | None]:
    """Run a plot's query; where the whole may not leave, bring the part that may.

    Raises:
        Denied: nothing of it may. InputError: plot.axis, a column that no plot may be drawn along.
    """
    connection = frame.connection
    try:
        released = await frame._release()
    except Denied as denied:
        if not denied.has_safe_part:
            if denied.rule == "strict-role" and denied.outcome == "refuse":
                raise _wrong_axis(denied) from None
            raise
        released = await connection._run_plan(frame.plan, "safe_part")
        return released.frame, released.note, denied
    return released.frame, released.note, None


def _wrong_axis(denied: Denied) -> InputError:
    """Return, in a plot's words, that the strict profile never lets a column be an axis."""
    msg = f"Nothing can be drawn along this column. {denied.denial.reason}"
    next_step = "Draw along quasi or public columns, and this one as a number (y=…, estimator=…); or ask the owner to declare it quasi."
    return InputError(msg, code="plot.axis", next_step=next_step)


async def ask(
    frame: RemoteLazyFrame, keys: Mapping[str, Key], values: Mapping[str, Expr], *, counts: bool = False
) -> Answer:
    """Run one query and sort its rows into cells.

    Args:
        keys: by what they mean: x, y, hue, row, col. values: one number, or the five of a box, by name. counts: whether the value counts rows.

    Raises:
        Denied, InputError: as `release`.
    """
    least = least_people(frame)
    query = _query(frame, keys, values)
    table, note, denied = await release(query)
    reader = _Reader(keys, values, note, least, counts)
    cells, rest, without = reader.read(table)
    places = {name: key.places({getattr(c, name) for c in reader.plain(cells, name)}) for name, key in keys.items()}
    cells = [reader.worded(c) for c in [*cells, *reader.absent(cells, places)]]
    if len(keys) == 1 and "x" in keys and keys["x"].kind == "category" and len(values) == 1:
        cells += rest
        rest_note: list[str] = []
    else:
        rest_note = [_rest_words(cell, least, counts) for cell in rest]
    notes = [*_denied_words(denied), *rest_note, *without, *_notes(note, len(rest))]
    # what is put together with small groups, so that they do not follow, may be a large one
    untold = f"fewer than {least}, none, or put together with such" if rest and least else ""
    return Answer(tuple(cells), places, table, note, tuple(notes), least, denied, untold)


def _query(frame: RemoteLazyFrame, keys: Mapping[str, Key], values: Mapping[str, Expr]) -> RemoteLazyFrame:
    numbers = [expr.alias(name) for name, expr in values.items()]
    if not keys:
        return frame.select(*numbers)
    unique = dict(zip(keys.values(), _columns(keys, values).values(), strict=True))
    return frame.group_by(*(key.expr(name) for key, name in unique.items())).agg(*numbers)


def _columns(keys: Mapping[str, Key], values: Mapping[str, Expr]) -> dict[str, str]:
    """Return the column of the answer that each key is: it bears the key's own name, unless a number has that already."""
    return {name: f"{key.column} " if key.column in values else key.column for name, key in keys.items()}


class _Reader:
    """Reads the rows of an answer."""

    def __init__(
        self, keys: Mapping[str, Key], values: Mapping[str, Expr], note: ReleaseNote, least: int, counts: bool
    ) -> None:
        self.keys, self.values, self.note, self.least, self.counts = keys, values, note, least, counts
        self.columns = _columns(keys, values)
        self.name = next(iter(values))

    def read(self, table: pl.DataFrame) -> tuple[list[Cell], list[Cell], list[str]]:
        """Return the cells, the remainder, and sentences about rows that have no place."""
        cells, rest = [], []
        nowhere: dict[str, float] = {}
        for row in table.iter_rows(named=True):
            found = {name: row.get(column) for name, column in self.columns.items()}
            value, five = self._numbers(row)
            if self._is_rest(found):
                rest.append(Cell(x=OTHER, value=value, five=five, rest=True))
                continue
            empty = [self.keys[name].column for name, text in found.items() if text is None]
            if empty:
                nowhere[empty[0]] = nowhere.get(empty[0], 0.0) + (value or 0.0)
                continue
            placed = {name: self.keys[name].place(text) for name, text in found.items()} or {"x": ALL}
            few = value is None and not any(v is not None for v in five)
            cells.append(Cell(value=value, five=five, few=few, taken=few, **placed))
        return cells, rest, [self._without(column, total) for column, total in nowhere.items()]

    def _is_rest(self, found: Mapping[str, Any]) -> bool:
        """Whether a row is small groups put together; a category of one's own may bear that name, a bin cannot."""
        if any(v == OTHER and self.keys[name].kind != "category" for name, v in found.items()):
            return True
        return bool(found) and self.note.merged > 0 and all(v == OTHER for v in found.values())

    def _without(self, column: str, total: float) -> str:
        rows = f"{total:,.0f} rows" if self.counts and total else "rows"
        return f"Not drawn: {rows} without {label(column)}."

    def _numbers(self, row: Mapping[str, Any]) -> tuple[float | None, tuple[float | None, ...]]:
        if len(self.values) == 1:
            return _float(row.get(self.name)), ()
        return None, tuple(_float(row.get(name)) for name in self.values)

    def plain(self, cells: list[Cell], name: str) -> list[Cell]:
        return [c for c in cells if getattr(c, name) is not None]

    def absent(self, cells: list[Cell], places: Mapping[str, tuple[Any, ...]]) -> list[Cell]:
        """Return cells for what an answer has no row of: too few people, or none. Where all is told, there is nobody."""
        if not self.keys:
            return []
        size = 1
        for values in places.values():
            size *= max(1, len(values))
        if size > MAX_CELLS:
            return []
        names = list(places)
        here = {tuple(getattr(c, name) for name in names) for c in cells}
        out = []
        for combination in product(*places.values()):
            if combination not in here and self._possible(dict(zip(names, combination, strict=True))):
                out.append(Cell(few=self.least > 0, **dict(zip(names, combination, strict=True))))
        return [c for c in out if c.few]

    def _possible(self, where: dict[str, Any]) -> bool:
        """Whether a combination can be: one column that means two things has one value in both."""
        seen: dict[Key, Any] = {}
        return all(seen.setdefault(self.keys[name], value) == value for name, value in where.items())

    def worded(self, cell: Cell) -> Cell:
        """Return a cell with the words of its hue and panel instead of places."""
        from dataclasses import replace

        named = {
            name: label(self.keys[name].words(getattr(cell, name)))
            for name in ("hue", "row", "col")
            if name in self.keys
        }
        return replace(cell, **named)


def rows_of(
    table: pl.DataFrame, wanted: Mapping[str, str], note: ReleaseNote, denied: Denied | None, *, kind: str,
    names: tuple[str, ...] | None, least: int,
) -> tuple[Answer, dict[str, Axis]]:  # fmt: skip
    """Return the rows of a table as cells, and its axes: groups that were made before, or rows that may be seen.

    Args:
        wanted: columns by what they mean. kind: of the plot. names: of the places of x, in order, instead of its values.
    """
    notes = [*_denied_words(denied), *_notes(note)]
    if table.height > MAX_POINTS:
        notes.append(f"{MAX_POINTS:,} of {table.height:,} rows are drawn, chosen at random.")
        table = table.sample(MAX_POINTS, seed=0)
    axes, places = {}, {}
    for name in ("x", "y"):
        if name in wanted and wanted[name] in table.columns:
            numbers = kind == "points" or (kind == "line" and name == "x")
            axes[name], places[name] = _as_axis(wanted[name], table[wanted[name]], note, numbers=numbers)
    if names is not None:
        places["x"] = [label(n) for n in names[: table.height]] + [str(i + 1) for i in range(len(names), table.height)]
        axes["x"] = Axis(wanted["x"], "category", tuple(places["x"]))
    cells = []
    words = {name: wanted[name] for name in ("hue", "row", "col") if name in wanted}
    for i, row in enumerate(table.iter_rows(named=True)):
        value = _float(row.get(wanted.get("value", ""))) if kind != "points" else None
        where = {name: values[i] for name, values in places.items()}
        if kind in ("points", "line") and None in where.values():
            continue
        named = {name: label("null" if row.get(c) is None else row[c]) for name, c in words.items()}
        gone = kind != "points" and value is None
        cells.append(Cell(value=value, few=gone, taken=gone, **where, **named))
    return Answer(tuple(cells), {}, table, note, tuple(notes), least, denied), axes


def _as_axis(column: str, values: pl.Series, note: ReleaseNote, *, numbers: bool) -> tuple[Axis, list[Any]]:
    if numbers and values.dtype.is_numeric():
        return Axis(column, "number"), [_float(v) for v in values.to_list()]
    if numbers and values.dtype in (pl.Date, pl.Datetime):
        places: list[Any] = [None if v is None else (_iso(v), _iso(v)) for v in values.to_list()]
        return Axis(column, "times", tuple(sorted(p for p in places if p is not None)), step="1d"), places
    rest = OTHER if note.merged else "null"
    places = [rest if v is None else label(float(v) if values.dtype.is_numeric() else v) for v in values.to_list()]
    order = values.unique().sort().to_list() if values.dtype.is_numeric() else places
    seen = dict.fromkeys(
        label(float(v)) if isinstance(v, int | float) and not isinstance(v, bool) else v for v in order if v is not None
    )
    seen |= dict.fromkeys(places)
    return Axis(column, "category", tuple(seen)), places


def _iso(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else f"{value.isoformat()}T00:00:00"


def _pairs(names: list[str]) -> dict[str, tuple[str, str]]:
    """Return pairs of columns by the name of their number in the answer."""
    return {f"{label(a)}:{label(b)}": (a, b) for a, b in combinations(names, 2)}


async def corr_cells(frame: RemoteLazyFrame, columns: tuple[str, ...]) -> tuple[Answer, tuple[str, ...]]:
    """Return the correlations of columns, pair by pair, and the columns' names.

    Raises:
        InputError: plot.column, fewer than two columns of numbers. Denied: none of it may leave.
    """
    schema = frame.plan_schema
    facts = frame.connection.facts
    names = [c for c in columns or schema if c in schema and schema[c].is_numeric]
    if len(names) < 2 or len(names) < len(columns):
        msg = "A correlation is of two or more columns of numbers."
        raise InputError(msg, code="plot.column", next_step='Write plot.corr("Age", "Fare"), for example.')
    pairs = _pairs(names)
    exprs = [FUNCTIONS["corr"](a, b).alias(name) for name, (a, b) in pairs.items()]
    query = frame.select(*exprs)
    if not columns:  # of all columns, those that may be used
        allowed = set(allowed_outputs(query.bound, facts))
        used = {c for name in allowed & set(pairs) for c in pairs[name]}
        names = [c for c in names if c in used] if allowed else names
        pairs = _pairs(names)
        query = frame.select(*[FUNCTIONS["corr"](a, b).alias(name) for name, (a, b) in pairs.items()])
    table, note, denied = await release(query)
    row = table.row(0, named=True) if table.height else {}
    shown = [label(c) for c in names]
    cells = [Cell(x=c, y=c, value=1.0) for c in shown]
    for name, (a, b) in pairs.items():
        value = _float(row.get(name))
        for x, y in ((a, b), (b, a)):
            cells.append(Cell(x=label(x), y=label(y), value=value, few=value is None, taken=value is None))
    notes = (*_denied_words(denied), *_notes(note))
    return Answer(tuple(cells), {}, table, note, notes, least_people(frame), denied), tuple(shown)


def _float(value: Any) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(value)


def _rest_words(cell: Cell, least: int, counts: bool) -> str:
    small = f"groups of fewer than {least} people, and what was put together with them" if least else "small groups"
    return f"Not drawn: {small}{f', {cell.value:,.0f} rows in all' if counts and cell.value is not None else ''}."


def _denied_words(denied: Denied | None) -> list[str]:
    if denied is None:
        return []
    total = denied.denial.total_cells
    part = f"{denied.denial.safe_cells} of {total} numbers" if total else "The part that may be shown"
    return [f"{part} drawn; the rest needs the owner: {denied.denial.reason}"]


def _notes(note: ReleaseNote, rest: int = 0) -> list[str]:
    """Return the other sentences of a release. rest: rows of small groups put together that were spoken of already."""
    ours = [_SAID, "1 row holds groups of too few"]
    if note.again is None and note.merged == rest:
        ours.append("1 row shows the numbers of another group than theirs")
    lines = [line for line in tables.footer(note) if not line.startswith(tuple(ours))]
    # what is a row of a table is a bar, a point or a cell here
    lines = [_ROWS.sub(r"\1 mark\2 show", line) for line in lines]
    return [line for line in lines if "This is the part that may be shown" not in line]
