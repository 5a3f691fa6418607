"""A chart drawn by matplotlib: the picture for front ends without Vega, and for files. Imported only where it is needed."""

from __future__ import annotations

import io
import warnings
from datetime import datetime
from typing import Any

from bastion.render import charts_mpl as marks
from bastion.render.charts import MAX_LABEL, Picture, axis_lines
from bastion.render.charts_layout import Row, rows, size
from bastion.render.charts_vega import heading, wrapped
from bastion.render.palettes import INK, PALE
from bastion.render.safe_text import safe_text

DPI = 144
MUTED = "#5b6673"
#: text is text: no mathematics, which matplotlib would look for between dollar signs
STYLE = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 10, "axes.edgecolor": "#c4cad2",
    "axes.labelcolor": INK, "xtick.color": "#8d96a1", "ytick.color": "#8d96a1", "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED, "axes.spines.top": False, "axes.spines.right": False, "hatch.linewidth": 0.6,
    "text.parse_math": False, "axes.axisbelow": True, "svg.fonttype": "path", "axes.titlesize": 10,
}  # fmt: skip


def png(picture: Picture, kind: str = "png") -> bytes:
    """Return a chart as a picture: png, svg or pdf."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = size(picture)
    across, down = max(1, len(picture.cols)), max(1, len(picture.rows))
    lines = wrapped(picture, width * across)
    title = heading(picture, width * across)
    head = (8 + 18 * len(title) if title else 4) + 15 * len(lines)
    legend = 140 if _has_legend(picture) else 12
    full = (
        width * across + 76 + 18 * (across - 1) + legend,
        height * down + 70 + 26 * (down - 1) + head + (18 if picture.col else 0),
    )
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glyphs that no font has
        figure = Figure(figsize=(full[0] / 72, full[1] / 72), dpi=DPI, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        figure.get_layout_engine().set(rect=(0, 0, 1, 1 - head / full[1]), w_pad=0.12, h_pad=0.1)  # type: ignore[union-attr]
        panels = figure.subplots(
            down, across, squeeze=False, sharex=picture.kind != "pie", sharey=picture.kind != "pie"
        )
        drawn = rows(picture)
        keys: Any = None
        for i in range(down):
            for j in range(across):
                mine = [r for r in drawn if _in_panel(picture, r, i, j)]
                keys = panel(picture, mine, panels[i][j], inner=(i < down - 1, j > 0)) or keys
                _panel_title(picture, panels[i][j], i, j)
        if keys is not None:
            marks.legend(picture, figure, panels, keys)
        for k, line in enumerate(title):
            figure.text(10 / full[0], 1 - (18 + 18 * k) / full[1], line, fontsize=12.5, fontweight="bold", color=INK)
        for k, line in enumerate(lines):
            figure.text(
                10 / full[0], 1 - (head - 15 * (len(lines) - k) + 12) / full[1], line, fontsize=8.5, color=MUTED
            )
        out = io.BytesIO()
        figure.savefig(out, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return out.getvalue()


def draw(picture: Picture, ax: Any) -> None:
    """Draw a chart of one panel into axes of the caller's."""
    import matplotlib as mpl

    with mpl.rc_context({"text.parse_math": False, "hatch.linewidth": 0.6}):
        keys = panel(picture, rows(picture), ax, inner=(False, False))
        if keys is not None:
            marks.legend(picture, None, [[ax]], keys)
        if title := heading(picture, size(picture)[0]):
            ax.set_title("\n".join(title))


def panel(picture: Picture, mine: list[Row], ax: Any, *, inner: tuple[bool, bool]) -> Any:
    """Draw one panel; return what a legend tells, if anything."""
    keys = getattr(marks, picture.kind)(picture, mine, ax)
    if picture.kind == "pie":
        return keys
    across = "\n".join(axis_lines(picture, picture.style.xlabel, picture.x.title))
    value = picture.y.title if picture.kind in ("heat", "bubbles", "points") else picture.value
    down = "\n".join(axis_lines(picture, picture.style.ylabel, value))
    if picture.sideways:
        across, down = down, across
    if not inner[0]:
        ax.set_xlabel(across)
    if not inner[1]:
        ax.set_ylabel(down)
    ax.tick_params(length=2.5, width=0.6)
    for spine in ax.spines.values():
        spine.set_linewidth(0.7)
    if picture.kind in ("hist", "bar", "box", "line"):
        ax.grid(axis="x" if picture.sideways else "y", color=PALE, linewidth=0.8)
    return keys


def _has_legend(picture: Picture) -> bool:
    return picture.style.legend and bool(picture.hue or picture.kind in ("heat", "bubbles"))


def _in_panel(picture: Picture, row: Row, i: int, j: int) -> bool:
    right = not picture.rows or row["r"] == picture.rows[i]
    return right and (not picture.cols or row["c"] == picture.cols[j])


def _panel_title(picture: Picture, ax: Any, i: int, j: int) -> None:
    if picture.cols and i == 0:
        ax.set_title(safe_text(f"{picture.col}: {picture.cols[j]}", MAX_LABEL * 2), color=MUTED, fontsize=10)
    if picture.rows and j == len(picture.cols or "1") - 1:
        ax.annotate(
            safe_text(f"{picture.row}: {picture.rows[i]}", MAX_LABEL * 2), (1.02, 0.5), xycoords="axes fraction",
            rotation=-90, va="center", fontsize=10, color=MUTED,
        )  # fmt: skip


def when(value: str) -> datetime:
    """Return a time as matplotlib takes it."""
    return datetime.fromisoformat(value)
