"""What a caller may say of the looks of a plot, under today's names and those of seaborn and matplotlib."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bastion_plan.errors import InputError

from bastion.client.base import NOTES
from bastion.render import palettes
from bastion.render.charts import Chart, Style, has_matplotlib
from bastion.render.palettes import Colors

if TYPE_CHECKING:
    from bastion.client.connection import Connection


@dataclass(frozen=True)
class Options:
    """The looks of one plot. row, col: columns that make panels. ax: matplotlib axes. left_out: words that mean nothing here.
    sideways: values go to the right. names: of a pie's slices, in the order of the rows.
    """

    style: Style = field(default_factory=Style)
    row: str | None = None
    col: str | None = None
    ax: Any = None
    left_out: tuple[str, ...] = ()
    sideways: bool = False
    names: tuple[str, ...] | None = None

    async def finished(self, work: Coroutine[Any, Any, Chart], connection: Connection) -> Any:
        """Draw, and return the chart; or the axes that were given, drawn into."""
        chart = await work
        if self.ax is not None:
            return chart.draw(self.ax)
        if self.left_out:
            _say(f"These words mean nothing to this plot and were left out: {', '.join(self.left_out)}.")
        if connection._loop is None and has_matplotlib():
            await asyncio.to_thread(chart.png)  # the kernel's loop goes on meanwhile
        return chart


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    msg = "Titles and labels are texts."
    raise InputError(msg, code="plot.option", next_step='Write title="Passengers by age", for example.')


def _pixels(value: Any) -> int:
    if isinstance(value, int | float) and not isinstance(value, bool) and 40 <= value <= 4000:
        return int(value)
    msg = "A chart is 40 to 4000 pixels wide and high."
    raise InputError(msg, code="plot.option", next_step="Write size=(440, 260), for example.")


def _share(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    msg = "An opacity or a width of bars is a number from 0 to 1."
    raise InputError(msg, code="plot.option", next_step="Write alpha=0.7, for example.")


def _points(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 40:
        return float(value)
    msg = "The width of a line is a number from 0 to 40."
    raise InputError(msg, code="plot.option", next_step="Write linewidth=2, for example.")


#: word -> (field of Style, how it is read)
_STYLE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "title": ("title", _text), "xlabel": ("xlabel", _text), "ylabel": ("ylabel", _text),
    "legend": ("legend", bool), "key": ("legend", bool), "pie_labels": ("labels", bool), "annot": ("labels", bool),
    "labels": ("labels", bool), "alpha": ("opacity", _share), "opacity": ("opacity", _share),
    "linewidth": ("line_width", _points), "lw": ("line_width", _points), "widths": ("bar_width", _share),
    "median_color": ("median_color", palettes.color), "median_linewidth": ("median_width", _points),
    "key_title": ("key_title", _text), "legend_title": ("key_title", _text),
}  # fmt: skip


def options(looks: Mapping[str, Any], *, row: str | None = None, col: str | None = None) -> Options:
    """Return the looks that a caller's words mean.

    Raises:
        InputError: plot.option, plot.color, plot.palette: a word that is known, with a value that is not.
    """
    style: dict[str, Any] = {}
    colors: dict[str, Any] = {}
    left_out: list[str] = []
    ax, sideways, names = None, False, None
    for word, value in looks.items():
        if word in _STYLE and not (word in ("title", "key_title") and value is None):
            name, read = _STYLE[word]
            style[name] = read(value)
        elif word == "color" and value is not None:
            colors["one"] = palettes.color(value)
        elif word in ("palette", "colors") and value is not None:
            colors["many"] = palettes.palette(value)
        elif word in ("cmap", "scheme") and value is not None:
            colors["scale"] = palettes.scale(value)
        elif word in ("size", "figsize") and isinstance(value, tuple | list) and len(value) == 2:
            per = 70 if word == "figsize" else 1  # matplotlib's inches
            style["width"], style["height"] = (_pixels(v * per) for v in value)
        elif word == "ax":
            ax = value
        elif word in ("vertical", "orient"):
            sideways = value in ("h", "y", "horizontal") if word == "orient" else value is False
        elif word == "names" and isinstance(value, list | tuple):
            names = tuple(_text(v) for v in value)
        elif value is not None and not (word == "median_linestyle" and value == "-"):
            left_out.append(word)
    if colors:
        style["colors"] = Colors(**colors)
    return Options(Style(**style), row, col, ax, tuple(left_out), sideways, names)


def _say(text: str) -> None:
    notes = NOTES.get()
    if notes is not None:
        notes.append(text)
        return
    import warnings

    warnings.warn(text, UserWarning, stacklevel=2)
