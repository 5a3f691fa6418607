"""A chart as data: axes, cells and words, made from one released table. How it is drawn is said in the modules beside.

`charts_vega` makes a Vega-Lite v5 dict of it, `charts_png` a picture by matplotlib, `charts_text` letters. All three draw
the same rows (`charts_layout`).
"""

from __future__ import annotations

import importlib.util
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bastion_plan.errors import InputError

from bastion.render.palettes import Colors
from bastion.render.safe_text import safe_text

if TYPE_CHECKING:
    import polars as pl
    from bastion_policy.verdict import ReleaseNote

#: the MIME type that JupyterLab draws
VEGA = "application/vnd.vegalite.v5+json"
#: characters of a name, a value or a title that are drawn
MAX_LABEL, MAX_TITLE = 40, 160
#: of the title of an axis that the caller wrote; lines of it and of the chart's title
MAX_AXIS, MAX_LINES = 80, 4
_QUOTES = str.maketrans({'"': "”", "\\": "⧵", "`": "’"})


@dataclass(frozen=True)
class Axis:
    """One direction of a chart.

    kind: "bins" and "times" (places are (from, to) pairs: numbers, ISO dates), "category" (places are texts), "number"
    (places are numbers), "none".
    places: all of them in order, those without an answer included. open: the first and the last bin go on without end.
    step: how long the steps of times are ("1mo").
    """

    title: str = ""
    kind: str = "none"
    places: tuple[Any, ...] = ()
    open: bool = False
    step: str = ""


@dataclass(frozen=True)
class Cell:
    """One mark. x, y: its places. value: the number told, None where there is none. five: of a box, from low to high.

    few: it stands for too few people, or none: nothing is told of it; taken: because the guard took its
    number out. rest: it is what small groups came to together.
    """

    x: Any = None
    y: Any = None
    value: float | None = None
    five: tuple[float | None, ...] = ()
    hue: str = ""
    row: str = ""
    col: str = ""
    few: bool = False
    taken: bool = False
    rest: bool = False


@dataclass(frozen=True)
class Style:
    """What the caller may choose of the looks. Sizes are those of one panel, in pixels; 0 for the default."""

    title: str | None = None
    xlabel: str | None = None
    ylabel: str | None = None
    width: int = 0
    height: int = 0
    legend: bool = True
    labels: bool = True
    line_width: float = 0.0
    opacity: float = 0.0
    bar_width: float = 0.8
    median_color: str = ""
    median_width: float = 1.6
    key_title: str | None = None
    colors: Colors = field(default_factory=Colors)


@dataclass(frozen=True)
class Picture:
    """All that is drawn.

    kind: hist, bar, box, line, points, bubbles, heat, pie. value: the title of the numbers. total: they add up (counts,
    sums). hue, row, col: titles of what colours and panels mean; hues, rows, cols: their values, in order.
    least: the number of people that something is told about, 0 where everything is told. missing: what an absent cell is
    called (`untold` in place of the usual words). notes: sentences below the title. sideways: values go to the right. diverging: colours from -1 to 1.
    """

    kind: str
    cells: tuple[Cell, ...]
    x: Axis = field(default_factory=Axis)
    y: Axis = field(default_factory=Axis)
    value: str = ""
    total: bool = False
    title: str = ""
    hue: str = ""
    hues: tuple[str, ...] = ()
    row: str = ""
    rows: tuple[str, ...] = ()
    col: str = ""
    cols: tuple[str, ...] = ()
    least: int = 0
    notes: tuple[str, ...] = ()
    sideways: bool = False
    diverging: bool = False
    untold: str = ""
    style: Style = field(default_factory=Style)

    @property
    def missing(self) -> str:
        """What a cell without an answer is called."""
        return self.untold or (f"fewer than {self.least}, or none" if self.least else "not told")

    @property
    def stripes(self) -> str:
        """What stripes mean in this chart."""
        if not any(c.taken for c in self.cells):
            return self.missing
        absent = any(c.few and not c.taken for c in self.cells)
        return f"{self.missing}, or taken out" if absent else "taken out by the guard"

    @property
    def has_missing(self) -> bool:
        """Whether such cells are drawn."""
        return any(cell.few for cell in self.cells)


class Chart:
    """A plot of one released table. A notebook draws it; `save` writes it to a file.

    Args:
        picture: what is drawn. table: the released table it is made from. note: what the guard did to it. denied: the
            denial, where only the part that may leave is drawn.
    """

    def __init__(
        self, picture: Picture, table: pl.DataFrame, note: ReleaseNote | None = None, denied: Any = None
    ) -> None:
        self.picture = picture
        self._table = table
        self.note = note
        self.denied = denied
        self._png: bytes | None = None

    @property
    def table(self) -> pl.DataFrame:
        """The released table."""
        return self._table

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know: what is missing, and what the guard did."""
        return self.picture.notes

    @property
    def spec(self) -> dict[str, Any]:
        """The chart as a Vega-Lite v5 dict, with its data in it."""
        from bastion.render.charts_vega import spec

        return spec(self.picture)

    def png(self) -> bytes:
        """Return the chart as a PNG picture.

        Raises:
            InputError: plot.matplotlib, matplotlib is not installed.
        """
        if self._png is None:
            from bastion.render.charts_png import png

            needs_matplotlib()
            self._png = png(self.picture)
        return self._png

    def draw(self, ax: Any = None) -> Any:
        """Draw into matplotlib axes, the current ones by default; return them. Not for facets.

        Raises:
            InputError: plot.matplotlib, matplotlib is not installed; plot.facet, the chart has several panels.
        """
        from bastion.render.charts_png import draw

        needs_matplotlib()
        if len(self.picture.rows) > 1 or len(self.picture.cols) > 1:
            msg = "A chart with several panels is not drawn into one pair of axes."
            raise InputError(msg, code="plot.facet", next_step="Use chart.png() or chart.save(path).")
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.gca()
        draw(self.picture, ax)
        return ax

    def save(self, path: str | Path) -> Path:
        """Write the chart to a file: .json (Vega-Lite), .png, .svg or .pdf (by matplotlib). Return its path.

        Raises:
            InputError: plot.format, another ending; plot.matplotlib, matplotlib is not installed.
        """
        import json

        target = Path(path)
        match target.suffix.lower():
            case ".json":
                target.write_text(json.dumps(self.spec, ensure_ascii=False, indent=1), encoding="utf-8")
            case ".png" | ".svg" | ".pdf" as ending:
                from bastion.render.charts_png import png

                needs_matplotlib()
                target.write_bytes(png(self.picture, ending[1:]))
            case _:
                msg = "A chart is written as .json, .png, .svg or .pdf."
                raise InputError(msg, code="plot.format", next_step='Write chart.save("chart.png"), for example.')
        return target

    def mimebundle(self) -> dict[str, Any]:
        """Return what a notebook shows: Vega-Lite, a PNG where matplotlib is installed, and text."""
        data: dict[str, Any] = {VEGA: self.spec, "text/plain": repr(self)}
        if has_matplotlib():
            import base64

            data["image/png"] = base64.b64encode(self.png()).decode("ascii")
        return data

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return self.mimebundle()

    def __repr__(self) -> str:
        from bastion.render.charts_text import text

        return text(self.picture)


def has_matplotlib() -> bool:
    """Whether pictures can be made."""
    return importlib.util.find_spec("matplotlib") is not None


def needs_matplotlib() -> None:
    """Refuse where pictures cannot be made.

    Raises:
        InputError: plot.matplotlib.
    """
    if not has_matplotlib():
        msg = "Pictures need matplotlib, which is not installed."
        raise InputError(msg, code="plot.matplotlib", next_step="In a clone of BastionLab: pip install '.[plots]'")


def label(value: object, limit: int = MAX_LABEL) -> str:
    """Return a foreign string or a number as a chart shows it."""
    text = safe_text(number(value) if isinstance(value, float) else value, limit)
    # Vega-Lite writes titles between quotes into expressions, as they are: no quote nor escape may end them
    return text.translate(_QUOTES)


def axis_lines(picture: Picture, named: str | None, otherwise: str) -> list[str]:
    """Return the title of an axis in lines that fit beside it. named: what the caller wrote, None for `otherwise`."""
    if named is None:
        return [label(otherwise)]
    narrow = len(picture.rows) > 1 or len(picture.cols) > 1
    lines = textwrap.wrap(label(named, MAX_AXIS), MAX_LABEL // 2 if narrow else MAX_LABEL)
    return lines[:MAX_LINES] or [""]


def number(value: float | None) -> str:
    """Return a number in few digits.

    >>> number(1234567.0), number(0.123456), number(12.0)
    ('1,234,567', '0.1235', '12')
    """
    if value is None:
        return ""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100_000 else f"{value:.4g}"


def span(low: float, high: float, *, first: bool = False, last: bool = False) -> str:
    """Return the words for a bin; the first and the last one may have no end.

    >>> span(0, 10), span(70, 80, last=True)
    ('0 – 10', '70 or more')
    """
    if last:
        return f"{number(low)} or more"
    return f"below {number(high)}" if first else f"{number(low)} – {number(high)}"
