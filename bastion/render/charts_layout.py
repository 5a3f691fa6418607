"""What is drawn, as plain rows with the same keys for every chart: places, heights, stacks. All drawing reads these.

Keys: x, x2, xm (place, end and middle; a category is its text), xt (its words), the same for y, v (number or None), vt (its
words), lo, up (from where to where a bar goes), band (a stripe of a line), h, r, c (hue, row, column), few (nothing is told), rest (small groups).
No key comes from data: a column's name never becomes the name of a field.
"""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import datetime
from typing import Any

from bastion.render.charts import Axis, Cell, Picture, label, number, span

Row = dict[str, Any]
WIDTH, HEIGHT, PANEL = 440, 260, (190, 140)


def size(picture: Picture) -> tuple[int, int]:
    """Return (width, height) of one panel, in pixels."""
    panels = len(picture.rows) > 1 or len(picture.cols) > 1
    width, height = PANEL if panels else (WIDTH, HEIGHT)
    if picture.kind == "pie":
        width = height = 130 if panels else 240
    if picture.kind in ("bar", "box", "hist") and picture.x.kind == "category" and not panels:
        width = min(640, max(240, 70 * len(picture.x.places)))
    if picture.kind == "heat" and picture.x.kind == picture.y.kind == "category":
        width, height = min(560, max(160, 56 * len(picture.x.places))), min(460, max(110, 40 * len(picture.y.places)))
    if picture.sideways and picture.x.kind == "category" and not panels:
        width, height = WIDTH, min(460, max(120, 44 * len(picture.x.places)))
    return picture.style.width or width, picture.style.height or height


def period(start: str, every: str) -> str:
    """Return a calendar period in words.

    >>> period("2020-03-01T00:00:00", "1mo")
    'Mar 2020'
    """
    at, unit = datetime.fromisoformat(start), every.lstrip("0123456789")
    if unit == "y":
        return f"{at:%Y}"
    if unit in ("mo", "q"):
        return f"{at:%b %Y}"
    return f"{at:%d %b %Y %H:%M}" if unit in ("h", "m") else f"{at:%d %b %Y}"


def rows(picture: Picture) -> list[Row]:
    """Return the rows of a chart."""
    out = [_row(picture, cell) for cell in picture.cells]
    match picture.kind:
        case "hist":
            _stack(picture, out)
        case "bar":
            _bars(picture, out)
        case "line":
            _bands(out)
        case "box":
            _boxes(out)
        case "pie":
            _slices(picture, out)
    return out


def value_words(picture: Picture, cell: Cell) -> str:
    """Return what is told of a cell."""
    if cell.taken:
        return "taken out by the guard"
    if cell.few or (cell.value is None and not cell.five):
        return picture.missing
    return number(cell.value) if cell.value is not None else ", ".join(number(v) for v in cell.five if v is not None)


def _row(picture: Picture, cell: Cell) -> Row:
    x, x2, xm, xt = _place(picture.x, cell.x)
    y, y2, ym, yt = _place(picture.y, cell.y)
    row = {"x": x, "x2": x2, "xm": xm, "xt": xt, "y": y, "y2": y2, "ym": ym, "yt": yt}
    row |= {"v": cell.value, "vt": value_words(picture, cell), "h": label(cell.hue), "few": cell.few, "rest": cell.rest}
    row |= {"r": label(cell.row), "c": label(cell.col), "lo": 0.0, "up": cell.value, "five": cell.five}
    return row


def place_words(axis: Axis, place: Any) -> str:
    """Return a place of an axis in words."""
    return _place(axis, place)[3]


def _place(axis: Axis, place: Any) -> tuple[Any, Any, Any, str]:
    match axis.kind:
        case "bins" if place is not None:
            low, high = place
            last = axis.open and bool(axis.places) and place == axis.places[-1]
            first = axis.open and bool(axis.places) and place == axis.places[0] and low != 0
            return low, high, (low + high) / 2, span(low, high, first=first, last=last)
        case "times" if place is not None:
            low, high = (datetime.fromisoformat(p) for p in place)
            return place[0], place[1], (low + (high - low) / 2).isoformat(), period(place[0], axis.step)
        case "number":
            return place, place, place, number(place)
    text = label(place) if place is not None else ""
    return text, text, text, text


def _stack(picture: Picture, out: list[Row]) -> None:
    """Put the hues of a histogram on top of one another; a piece that is not told is a mark, as high as
    the fewest people that something is told about."""
    tops: dict[Any, float] = defaultdict(float)
    order = {name: i for i, name in enumerate(picture.hues)}
    for row in sorted(out, key=lambda r: (r["few"], order.get(r["h"], 0))):
        where = (row["x"], row["r"], row["c"])
        height = picture.least if row["few"] or row["v"] is None else row["v"]
        row["lo"], row["up"] = tops[where], tops[where] + height
        tops[where] += height


def _bars(picture: Picture, out: list[Row]) -> None:
    told = [r["v"] for r in out if r["v"] is not None]
    top = max([*told, 0.0])
    for row in out:
        if row["few"] or row["v"] is None:
            row["few"] = True
            row["up"] = min(picture.least, top) if picture.total and picture.least else 0.5 * top


def _bands(out: list[Row]) -> None:
    """Mark where no line of a panel has a number, once: a stripe goes from there to the next step."""
    told = {(r["x"], r["r"], r["c"]) for r in out if not r["few"]}
    seen = set()
    for row in out:
        where = (row["x"], row["r"], row["c"])
        row["band"] = where not in told and where not in seen
        seen.add(where)


def _boxes(out: list[Row]) -> None:
    tops = [v for r in out for v in r["five"] if v is not None]
    low, high = (min(tops), max(tops)) if tops else (0.0, 1.0)
    for row in out:
        five = (*row["five"], *[None] * 5)[:5]
        row |= dict(zip(("q0", "q1", "q2", "q3", "q4"), five, strict=True))
        row["few"] = any(v is None for v in five)
        row["lo"], row["up"] = low, high
        if not row["few"]:
            row["vt"] = number(five[2])


def sizes(picture: Picture) -> list[float]:
    """Return a few round numbers up to the largest, for a legend of sizes."""
    top = max([c.value or 0.0 for c in picture.cells], default=0.0) or 1.0
    power = 10.0 ** math.floor(math.log10(top))
    largest = math.floor(top / power) * power
    return sorted({float(f"{largest * share:.1g}") for share in (0.1, 0.5, 1.0)})


def _slices(picture: Picture, out: list[Row]) -> None:
    order = {label(h): i for i, h in enumerate(picture.hues)}
    sums: dict[Any, float] = defaultdict(float)
    for row in out:
        sums[row["r"], row["c"]] += row["v"] or 0.0
    for row in out:
        row["y"] = order.get(row["h"], len(order))
        whole = sums[row["r"], row["c"]]
        share = (row["v"] or 0.0) / whole if whole else 0.0
        row["share"] = share
        row["pt"] = f"{100 * share:.0f}%" if share >= 0.005 else ""
