"""Where the bars, bins and panels of a plot lie: chosen from public facts and the caller's words, never from data.

The guard remembers which groups of people it told about, and where conditions on values lay. So that one plot after the other
asks for the very same groups, a column has the same edges in all plots of a connection, until others are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import polars as pl
from bastion_plan import expressions as px
from bastion_plan import nodes as n
from bastion_plan.errors import BindError, InputError, did_you_mean
from bastion_policy.facts import ColumnFacts
from bastion_policy.roles import RoleKind

from bastion.expr.core import Expr
from bastion.render.charts import label, number, span
from bastion.render.charts_layout import period

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame

OTHER = "(other)"  #: what the guard calls small groups put together, where keys are texts
BINS, MAX_BINS = 10, 200
#: more declared values than these are bins and not categories of their own
MAX_CATEGORIES = 24
EVERY = "1mo"
_EVERY = {"day": "1d", "week": "1w", "month": "1mo", "quarter": "1q", "year": "1y", "hour": "1h", "minute": "1m"}

#: connection -> (dataset, column) -> the bins that were asked for last
_REMEMBERED: WeakKeyDictionary[Any, dict[tuple[str, str], Key]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Wish:
    """What the caller says of an axis of numbers or dates. bins: how many, or edges. every: of dates ("1d", "1mo", "1y").
    down: what is said of the other axis, if it is something else.
    """

    bins: int | tuple[float, ...] | None = None
    range: tuple[float, float] | None = None
    width: float | None = None
    every: str | None = None
    discrete: bool = False
    down: Wish | None = None


@dataclass(frozen=True)
class Key:
    """A column along which rows are put into groups.

    kind: "category", "bins" (between `edges`; the first and the last one are open), "steps" (of `width`, from 0 on), "times".
    known: values that the owner declared, as texts. text: its values are texts. cast: they have to be made some.
    """

    column: str
    kind: str = "category"
    edges: tuple[float, ...] = ()
    width: float = 0.0
    every: str = ""
    known: tuple[str, ...] = ()
    text: bool = True
    cast: bool = False

    def expr(self, name: str) -> Any:
        """Return the group key: a text, because small groups put together have the key "(other)" only there."""
        column = Expr(px.Column(self.column))
        match self.kind:
            case "bins":
                names = [str(i) for i in range(len(self.edges) - 1)]
                column = column.cut(list(self.edges[1:-1]), labels=names, left_closed=True)
            case "steps":
                column = (column // self.width) * self.width
            case "times":
                column = column.dt.truncate(self.every)
        if self.kind != "category" or not self.text or self.cast:
            column = column.cast(pl.String)
        return column.alias(name)

    def place(self, value: str) -> Any:
        """Return where a key of the answer lies: a text, or (from, to)."""
        match self.kind:
            case "bins":
                index = int(value)
                return self.edges[index], self.edges[index + 1]
            case "steps":
                return float(value), float(value) + self.width
            case "times":
                return self._period(datetime.fromisoformat(value))
        return self.name(value)

    def _period(self, start: datetime) -> tuple[str, str]:
        end = pl.Series([start]).dt.offset_by(self.every)[0]
        return start.isoformat(), end.isoformat()

    def name(self, value: str) -> str:
        """Return a category as it is shown: 1.0 as 1."""
        if not self.text:
            try:
                return number(float(value)) if value not in ("true", "false") else value
            except ValueError:
                return value
        return value

    def words(self, place: Any) -> str:
        """Return a place in words."""
        if isinstance(place, str):
            return place
        if self.kind == "times":
            return period(place[0], self.every)
        return span(place[0], place[1], first=self.is_first(place), last=self.is_last(place))

    def is_first(self, place: Any) -> bool:
        """Whether a bin has no lower end."""
        return self.kind == "bins" and place[0] == self.edges[0] and self.edges[0] != 0

    def is_last(self, place: Any) -> bool:
        """Whether a bin has no upper end."""
        return self.kind == "bins" and place[1] == self.edges[-1]

    def places(self, seen: set[Any]) -> tuple[Any, ...]:
        """Return all places in order: those that are public, and those in between or beside that an answer has."""
        match self.kind:
            case "bins":
                return tuple(zip(self.edges, self.edges[1:], strict=False))
            case "steps" if seen:
                first, last = round(min(seen)[0] / self.width), round(max(seen)[0] / self.width)
                steps = (
                    range(first, last + 1)
                    if last - first <= MAX_BINS
                    else sorted({round(p[0] / self.width) for p in seen})
                )
                return tuple((i * self.width, (i + 1) * self.width) for i in steps)
            case "times" if seen:
                return self._periods(seen)
        return tuple(sorted(seen | {self.name(v) for v in self.known}, key=self._order))

    def _periods(self, seen: set[Any]) -> tuple[Any, ...]:
        out, last = [min(seen)], max(seen)
        while out[-1] < last and len(out) < MAX_BINS:
            out.append(self._period(datetime.fromisoformat(out[-1][1])))
        return tuple(out) if out[-1] == last else tuple(sorted(seen))

    def _order(self, value: str) -> tuple[int, float, str]:
        known = [self.name(v) for v in self.known]
        if value in known:
            return 0, known.index(value), ""
        try:
            return 1, float(value.replace(",", "")), ""
        except ValueError:
            return 2, 0.0, value


def key_of(frame: RemoteLazyFrame, column: Any, wish: Wish, *, panels: bool = False) -> Key:
    """Return how rows are put into groups along a column.

    Args:
        panels: whether it means colours or panels and not an axis: then `wish` is about another column.

    Raises:
        BindError: no such column. InputError: plot.bins, its bins cannot be chosen; plot.column, another type.
    """
    if not isinstance(column, str):
        msg = "A plot takes the names of columns."
        next_step = 'Put what you compute into a column first: frame.with_columns((…).alias("name")).'
        raise InputError(msg, code="plot.column", next_step=next_step)
    schema = frame.plan_schema
    if column not in schema:
        msg = f"There is no column {label(column)!r}."
        raise BindError(msg, code="plan.bind.column", next_step=did_you_mean(column, schema))
    dtype = schema[column]
    if dtype.kind in ("Date", "Datetime"):
        return Key(column, "times", every=_every(wish.every))
    if dtype.kind in ("String", "Categorical", "Enum", "Boolean"):
        facts = source(frame, column)[1]
        known = (facts.domain or ()) if facts is not None else ()
        text = dtype.kind != "Boolean"
        return Key(
            column,
            known=tuple(v if isinstance(v, str) else str(v).lower() for v in known),
            text=text,
            cast=dtype.kind == "Enum",
        )
    if dtype.is_numeric:
        return _numbers(frame, column, Wish() if panels else wish, whole=dtype.is_integer)
    msg = f"{label(column)!r} is {dtype}: nothing can be drawn along it."
    raise InputError(msg, code="plot.column", next_step="Use a column of numbers, dates, texts or True and False.")


def _numbers(frame: RemoteLazyFrame, column: str, wish: Wish, *, whole: bool) -> Key:
    dataset, facts = source(frame, column)
    kept = _REMEMBERED.setdefault(frame.connection, {})
    where = (dataset, facts.name if facts is not None else column)
    lower = upper = None
    known: tuple[str, ...] = ()
    if facts is not None:
        values = [float(v) for v in facts.domain or () if isinstance(v, int | float)]
        known = tuple(str(v) for v in facts.domain or ())
        lower, upper = (min(values), max(values)) if values else (facts.role.lower, facts.role.upper)
    if wish.discrete:
        return Key(column, known=known, text=False)
    if (asked := _asked(column, wish, lower, upper)) is not None:
        kept[where] = asked
        return asked
    if where in kept:
        return _named(kept[where], column)
    if known and len(known) <= MAX_CATEGORIES:
        return Key(column, known=known, text=False)
    if lower is not None and upper is not None:
        return Key(column, "bins", edges=nice_edges(lower, upper, wish.bins if isinstance(wish.bins, int) else BINS))
    if whole and (facts is None or facts.role.kind in (RoleKind.QUASI, RoleKind.PUBLIC)):
        return Key(column, text=False)
    if facts is not None and facts.role.kind is RoleKind.HIDDEN:
        msg = f"{label(column)!r} is hidden: the owner lets nothing be said of it."
        raise InputError(
            msg, code="plot.column", next_step="Use another column; the dataset's card names the hidden ones."
        )
    msg = f"Bins of {label(column)!r} cannot be chosen: the owner declared no bounds of it, and they are never taken from the data."
    raise InputError(
        msg,
        code="plot.bins",
        next_step="Write width=10, range=(0, 100) or bins=[0, 10, 20, 50]; later plots remember it.",
    )


def _named(key: Key, column: str) -> Key:
    return key if key.column == column else Key(column, key.kind, key.edges, key.width)


def _asked(column: str, wish: Wish, lower: float | None, upper: float | None) -> Key | None:
    """Return what the caller asks for; None where bounds decide, or nothing is said."""
    if wish.bins is not None and not isinstance(wish.bins, int):
        return Key(column, "bins", edges=_edges(wish.bins))
    if wish.range is not None:
        lower, upper = _two(wish.range)
    if wish.width is not None:
        width = _positive(wish.width)
        if lower is None or upper is None:
            return Key(column, "steps", width=width)
        if (upper - lower) / width > MAX_BINS:
            msg = f"That would be more than {MAX_BINS} bins."
            raise InputError(msg, code="plot.bins", next_step="Give a larger width.")
        return Key(column, "bins", edges=_grid(lower, upper, width))
    if wish.range is not None or (wish.bins is not None and lower is not None and upper is not None):
        return Key(column, "bins", edges=nice_edges(lower, upper, BINS if wish.bins is None else wish.bins))  # type: ignore[arg-type]
    return None


def nice_edges(lower: float, upper: float, count: int) -> tuple[float, ...]:
    """Return edges of about `count` bins, on round numbers: steps of 1, 2 or 5 times a power of ten.

    >>> nice_edges(0, 100, 10)
    (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0)

    Raises:
        InputError: plot.bins, a count that is no number from 1 to 200.
    """
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_BINS:
        msg = f"The number of bins is from 1 to {MAX_BINS}."
        raise InputError(msg, code="plot.bins", next_step="Write bins=10, for example.")
    raw = (upper - lower) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((m * power for m in (1, 2, 5, 10)), key=lambda s: abs(math.log(s / raw)))
    return _grid(lower, upper, step)


def _grid(lower: float, upper: float, step: float) -> tuple[float, ...]:
    first, last = math.floor(lower / step + 1e-9), math.ceil(upper / step - 1e-9)
    return tuple(round(i * step, 12) for i in range(first, max(last, first + 1) + 1))


def _edges(values: Sequence[float]) -> tuple[float, ...]:
    edges = tuple(
        float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
    )
    if (
        len(edges) != len(tuple(values))
        or len(edges) < 2
        or len(edges) > MAX_BINS + 1
        or list(edges) != sorted(set(edges))
    ):
        msg = "Edges of bins are finite numbers, from low to high."
        raise InputError(msg, code="plot.bins", next_step="Write bins=[0, 10, 20, 50], for example.")
    return edges


def _two(value: Any) -> tuple[float, float]:
    if isinstance(value, tuple | list) and len(value) == 2 and value[0] < value[1]:
        return float(value[0]), float(value[1])
    msg = "A range is two numbers, the lower one first."
    raise InputError(msg, code="plot.bins", next_step="Write range=(0, 100).")


def _positive(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0:
        return float(value)
    msg = "The width of bins is a number above 0."
    raise InputError(msg, code="plot.bins", next_step="Write width=10, for example.")


def _every(value: str | None) -> str:
    every = _EVERY.get(value or "", value or EVERY)
    if not isinstance(every, str) or every.lstrip("0123456789") not in ("y", "q", "mo", "w", "d", "h", "m"):
        msg = "That is no length of time."
        raise InputError(msg, code="plot.every", next_step='Write every="1mo" (or "1d", "1w", "1q", "1y", "1h").')
    return every if every[0].isdigit() else "1" + every


def source(frame: RemoteLazyFrame, column: str) -> tuple[str, ColumnFacts | None]:
    """Return (dataset, public facts) of the column that a frame's column is, unchanged; facts None where it was computed."""
    node: Any = frame.plan
    facts = frame.connection.facts
    while not isinstance(node, n.Scan):
        if isinstance(node, n.Select | n.WithColumns):
            named = {_output(e): e for e in node.exprs}
            if column in named:
                inner = named[column]
                while isinstance(inner, px.Alias):
                    inner = inner.input
                if not isinstance(inner, px.Column):
                    return "", None
                column = inner.name
        elif isinstance(node, n.GroupBy):
            return "", None
        below = n.inputs(node)
        if not below:
            return "", None
        node = below[0]
    found = facts.get(node.dataset)
    if found is None:
        return "", None
    if found.plan is not None or column not in found.schema:
        return node.dataset, None
    return node.dataset, found.column(column)


def _output(expr: Any) -> str:
    while isinstance(expr, px.Alias):
        return expr.name
    return expr.name if isinstance(expr, px.Column) else ""


def is_grouped(plan: Any) -> bool:
    """Whether the rows of a plan are groups already, so that they are drawn as they are."""
    node = plan
    while True:
        if isinstance(node, n.GroupBy | n.GroupByDynamic | n.Rolling | n.Pivot):
            return True
        below = n.inputs(node)
        if len(below) != 1:
            return False
        node = below[0]
