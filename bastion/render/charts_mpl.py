"""The marks of each kind of chart, in matplotlib: the same rows as in Vega-Lite, with hatching where nothing is told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bastion.render.charts import MAX_LABEL, Axis, Picture, label, number
from bastion.render.charts_layout import Row, sizes
from bastion.render.palettes import DIVERGING, FEW, FEW_LINE, INK, SCALES
from bastion.render.safe_text import safe_text

FEW_LOOK = {"facecolor": "#f7f8f9", "edgecolor": FEW_LINE, "hatch": "////", "linewidth": 0.6}
GONE = "#6b7683"


def hist(picture: Picture, mine: list[Row], ax: Any) -> Any:
    """Bars from edge to edge, hues on top of one another."""
    for row in mine:
        low, width, align = _extent(picture, row, "x")
        color = FEW_LINE if row["rest"] else _color(picture, row)
        look = FEW_LOOK if row["few"] else {"color": color, "edgecolor": "white", "linewidth": 0.6}
        if not row["few"]:
            look = look | {"alpha": picture.style.opacity or 0.95}
        _box(picture, ax, low, width, row["lo"], row["up"] - row["lo"], align, look)
    _places(picture, ax)
    return _hues(picture)


def bar(picture: Picture, mine: list[Row], ax: Any) -> Any:
    """Bars, hues side by side."""
    many = max(1, len(picture.hues)) if picture.x.kind == "category" else 1
    order = {name: i for i, name in enumerate(picture.hues)}
    for row in mine:
        low, width, align = _extent(picture, row, "x")
        if picture.x.kind == "category" and many > 1:
            width = width / many
            low += (order.get(row["h"], 0) - (many - 1) / 2) * width
        look: dict[str, Any] = {
            "color": FEW_LINE if row["rest"] else _color(picture, row),
            "alpha": picture.style.opacity or 0.95,
        }
        if align == "edge":
            look |= {"edgecolor": "white", "linewidth": 0.6}
        _box(
            picture, ax, low, width, 0.0, row["up"] if row["few"] else row["v"], align, FEW_LOOK if row["few"] else look
        )
    _places(picture, ax)
    return _hues(picture)


def box(picture: Picture, mine: list[Row], ax: Any) -> Any:
    """Boxes from quartile to quartile, a line at the median, whiskers."""
    many = max(1, len(picture.hues))
    order = {name: i for i, name in enumerate(picture.hues)}
    width = 0.62 * picture.style.bar_width / 0.8 / many
    for row in mine:
        middle = _index(picture.x, row["x"]) + (order.get(row["h"], 0) - (many - 1) / 2) * width * 1.15
        if row["few"]:
            _box(picture, ax, middle, width, row["lo"], row["up"] - row["lo"], "center", FEW_LOOK)
            continue
        q0, q1, q2, q3, q4 = (row[f"q{i}"] for i in range(5))
        line = ax.hlines if picture.sideways else ax.vlines
        across = ax.vlines if picture.sideways else ax.hlines
        line(middle, q0, q4, color=GONE, linewidth=1)
        for end in (q0, q4):
            across(end, middle - width / 4, middle + width / 4, color=GONE, linewidth=1)
        look = {"color": _color(picture, row), "edgecolor": "#4a5562", "linewidth": 0.7, "zorder": 3}
        _box(picture, ax, middle, width, q1, q3 - q1, "center", look)
        median = picture.style.median_color or INK
        across(q2, middle - width / 2, middle + width / 2, color=median, linewidth=picture.style.median_width, zorder=4)
    _places(picture, ax)
    return _hues(picture)


def line(picture: Picture, mine: list[Row], ax: Any) -> Any:
    """Lines through the middle of each step, broken where nothing is told."""
    for row in mine:
        if row["band"] and picture.x.kind in ("bins", "times"):
            ax.axvspan(_at(picture.x, row["x"]), _at(picture.x, row["x2"]), alpha=0.5, zorder=0, **FEW_LOOK)
    for place, name in enumerate(picture.hues or ("",)):
        own = [r for r in mine if not picture.hue or r["h"] == name]
        own.sort(key=lambda r: _index(picture.x, r["x"]) if picture.x.kind == "category" else r["xm"])
        across = [_middle(picture.x, r["xm"]) for r in own]
        values = [float("nan") if r["v"] is None else r["v"] for r in own]
        color = picture.style.colors.of(place) if picture.hue else picture.style.colors.first
        look = {
            "linewidth": picture.style.line_width or 1.8,
            "alpha": picture.style.opacity or 1,
            "marker": "o",
            "markersize": 4,
        }
        ax.plot(across, values, color=color, **look)
    _places(picture, ax)
    if picture.total:
        ax.set_ylim(bottom=0)
    return _hues(picture)


def points(picture: Picture, mine: list[Row], ax: Any) -> Any:
    """Rows."""
    colors = [_color(picture, r) for r in mine]
    ax.scatter(
        [r["xm"] for r in mine],
        [r["ym"] for r in mine],
        s=14,
        c=colors,
        alpha=picture.style.opacity or 0.6,
        linewidths=0,
    )
    return _hues(picture)


def bubbles(picture: Picture, mine: list[Row], ax: Any) -> Any:
    """Circles as large as cells hold rows."""
    if not picture.hue:
        _few_cells(picture, mine, ax)
    told = [r for r in mine if not r["few"]]
    top = max([c.value or 0.0 for c in picture.cells], default=0.0) or 1.0
    areas = [8 + 300 * r["v"] / top for r in told]
    across = [_middle(picture.x, r["xm"]) for r in told]
    down = [_middle(picture.y, r["ym"]) for r in told]
    colors = [_color(picture, r) for r in told]
    ax.scatter(
        across,
        down,
        s=areas,
        c=colors,
        alpha=picture.style.opacity or 0.75,
        edgecolors="white",
        linewidths=0.6,
        zorder=3,
    )
    _places(picture, ax)
    _places(picture, ax, "y")
    return _hues(picture) or {"sizes": [(number(s), 8 + 300 * s / top) for s in sizes(picture)]}


def heat(picture: Picture, mine: list[Row], ax: Any) -> Any:
    """Cells, the stronger the colour the larger the number."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    _few_cells(picture, mine, ax)
    values = [c.value for c in picture.cells if c.value is not None]
    low, high = (-1.0, 1.0) if picture.diverging else (min([*values, 0.0]), max(values, default=1.0) or 1.0)
    if values and not picture.diverging and min(values) > 0:
        low = min(values) if max(values) > min(values) else 0.0
    colors = picture.style.colors.scale or (DIVERGING if picture.diverging else SCALES["blues"])
    shades = ScalarMappable(Normalize(low, high), LinearSegmentedColormap.from_list("bastion", list(colors)))
    words = picture.x.kind == picture.y.kind == "category" and picture.style.labels and len(mine) <= 144
    for row in (r for r in mine if not r["few"]):
        _cell(picture, ax, row, {"facecolor": shades.to_rgba(row["v"]), "edgecolor": "white", "linewidth": 0.8})
        if words:
            red, green, blue, _ = shades.to_rgba(row["v"])
            ink = INK if 0.3 * red + 0.59 * green + 0.11 * blue > 0.55 else "white"
            ax.text(
                _index(picture.x, row["x"]),
                _index(picture.y, row["y"]),
                row["vt"],
                ha="center",
                va="center",
                color=ink,
                fontsize=9,
            )
    _places(picture, ax)
    _places(picture, ax, "y")
    if picture.y.kind == "category":
        ax.set_ylim(len(picture.y.places) - 0.5, -0.5)
    return {"shades": shades}


def pie(picture: Picture, mine: list[Row], ax: Any) -> Any:
    """Slices, clockwise from the top."""
    order = {name: i for i, name in enumerate(picture.hues)}
    told = sorted((r for r in mine if r["v"]), key=lambda r: order.get(r["h"], 0))
    if told:
        colors = [FEW if r["h"] == "(other)" else picture.style.colors.of(order.get(r["h"], 0)) for r in told]
        words = [r["pt"] if r["share"] >= 0.04 and picture.style.labels else "" for r in told]
        _, texts = ax.pie(
            [r["v"] for r in told], colors=colors, labels=words, labeldistance=0.66, startangle=90, counterclock=False,
            wedgeprops={"edgecolor": "white", "linewidth": 1.2}, textprops={"ha": "center", "va": "center", "fontsize": 10},
        )  # fmt: skip
        for text, row in zip(texts, told, strict=True):
            text.set_color(INK if row["h"] == "(other)" else "white")
            text.set_fontweight("bold")
    ax.set_aspect("equal")
    return _hues(picture)


def legend(picture: Picture, figure: Any, panels: Any, keys: dict[str, Any]) -> None:
    """Draw what colours and sizes mean, to the right."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if not picture.style.legend:
        return
    where = panels[0][-1]
    plain = {"frameon": False, "fontsize": 9, "title_fontsize": 9.5, "alignment": "left"}
    if "shades" in keys:
        axes = [ax for line in panels for ax in line]
        bar = (figure or where.figure).colorbar(keys["shades"], ax=axes, shrink=0.8, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label(safe_text(picture.value, MAX_LABEL), fontsize=9)
        return
    if "sizes" in keys:
        color = picture.style.colors.first
        marks = [
            Line2D([], [], marker="o", linestyle="", color=color, alpha=0.75, markersize=s**0.5, label=w)
            for w, s in keys["sizes"]
        ]
        title = picture.value
    else:
        marks = [Patch(color=color, label=safe_text(name, MAX_LABEL)) for name, color in keys["hues"]]
        title = picture.style.key_title if picture.style.key_title is not None else picture.hue
    title = safe_text(title, MAX_LABEL)
    if figure is None or len(panels[0]) == 1 == len(panels):
        where.legend(handles=marks, title=title, loc="upper left", bbox_to_anchor=(1.01, 1), labelspacing=0.9, **plain)
    else:
        figure.legend(handles=marks, title=title, loc="outside right upper", labelspacing=0.9, **plain)


# ---- places ----------------------------------------------------------------------------------------------------------


def _index(axis: Axis, name: str) -> int:
    names = [label(p) for p in axis.places]
    return names.index(name) if name in names else 0


def _at(axis: Axis, value: Any) -> Any:
    return datetime.fromisoformat(value) if axis.kind == "times" else value


def _middle(axis: Axis, value: Any) -> Any:
    return _index(axis, value) if axis.kind == "category" else _at(axis, value)


def _extent(picture: Picture, row: Row, name: str) -> tuple[Any, Any, str]:
    axis = picture.x if name == "x" else picture.y
    if axis.kind in ("bins", "times"):
        low, high = _at(axis, row[name]), _at(axis, row[f"{name}2"])
        return low, high - low, "edge"
    return _index(axis, row[name]), picture.style.bar_width, "center"


def _box(
    picture: Picture, ax: Any, low: Any, width: Any, bottom: float, height: float, align: str, look: dict[str, Any]
) -> None:
    if picture.sideways:
        ax.barh(low, height, width, left=bottom, align=align, **look)
    else:
        ax.bar(low, height, width, bottom=bottom, align=align, **look)


def _cell(picture: Picture, ax: Any, row: Row, look: dict[str, Any]) -> None:
    from matplotlib.dates import date2num
    from matplotlib.patches import Rectangle

    corners = []
    for name in ("x", "y"):
        low, width, align = _extent(picture, row, name)
        if isinstance(low, datetime):
            low, width = date2num(low), width.total_seconds() / 86400
        corners.append((low - 0.5, 1.0) if align == "center" else (low, width))
    (x, wide), (y, high) = corners
    ax.add_patch(Rectangle((x, y), wide, high, **look))


def _few_cells(picture: Picture, mine: list[Row], ax: Any) -> None:
    for row in mine:
        if row["few"]:
            _cell(picture, ax, row, FEW_LOOK | {"alpha": 0.7, "edgecolor": "#c3c9d1", "linewidth": 0.2})


def _places(picture: Picture, ax: Any, name: str = "x") -> None:
    """Set the ticks of an axis of places."""
    axis = picture.x if name == "x" else picture.y
    down = (name == "y") != picture.sideways
    own = ax.yaxis if down else ax.xaxis
    limits = ax.set_ylim if down else ax.set_xlim
    if axis.kind == "category":
        names = [label(p) for p in axis.places]
        own.set_ticks(range(len(names)), names)
        if len(names) == 1:
            limits(-1.2, 1.2)
        elif names:
            limits(-0.55, len(names) - 0.45)
        if down and picture.sideways:
            ax.invert_yaxis()
        if not down and (len(names) > 8 or max(map(len, names), default=0) > 10):
            ax.tick_params(axis="x", labelrotation=40)
            for text in ax.get_xticklabels():
                text.set_horizontalalignment("right")
    elif axis.kind == "bins" and axis.places:
        values = sorted({v for place in axis.places for v in place})
        if len(values) <= 13:
            own.set_ticks(values, [number(v) for v in values])
        limits(values[0], values[-1])
    elif axis.kind == "times":
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(maxticks=8)
        own.set_major_locator(locator)
        own.set_major_formatter(ConciseDateFormatter(locator))
        if picture.kind in ("heat", "bubbles") and axis.places:
            limits(_at(axis, axis.places[0][0]), _at(axis, axis.places[-1][1]))


def _color(picture: Picture, row: Row) -> str:
    if not picture.hue or row["h"] not in picture.hues:
        return picture.style.colors.first
    return picture.style.colors.of(picture.hues.index(row["h"]))


def _hues(picture: Picture) -> Any:
    if not picture.hue:
        return None
    colors = [
        FEW if n == "(other)" and picture.kind == "pie" else picture.style.colors.of(i)
        for i, n in enumerate(picture.hues)
    ]
    return {"hues": list(zip(picture.hues, colors, strict=True))}
