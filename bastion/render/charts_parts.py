"""Parts of Vega-Lite specs: axes, colours, tooltips, stripes. Strings of others become plain text here (see charts_vega)."""

from __future__ import annotations

from typing import Any

from bastion.render.charts import Axis, Picture, axis_lines, label
from bastion.render.palettes import DIVERGING, SCALES

Spec = dict[str, Any]


#: stripes on any page: greys that let it through
STRIPE, BETWEEN = "rgba(134,145,160,0.45)", "rgba(134,145,160,0.07)"


def text(value: str) -> str:
    """Return a foreign string as plain text that fits an axis."""
    return label(value)


def told(kept: bool = True) -> list[Spec]:
    """Return the transform that keeps the rows that are told, or those that are not."""
    return [{"filter": "!datum.few" if kept else "datum.few"}]


def either(light: str, dark: str) -> Spec:
    """Return a colour for a light page and one for a dark page: JupyterLab draws with Vega's theme of its own one.

    The expression is made of our own words alone.
    """
    return {"expr": f"luminance(background) < 0.4 ? '{dark}' : '{light}'"}


#: what separates marks: the page behind them
BEHIND: Spec = {"expr": "background"}


def hatch(many: int = 9) -> Spec:
    """Return stripes: what is not told is never drawn in a plain colour."""
    stops = []
    for i in range(many):
        stops += [{"offset": i / many, "color": STRIPE}, {"offset": (i + 0.5) / many, "color": STRIPE}]
        stops += [{"offset": (i + 0.5) / many, "color": BETWEEN}, {"offset": (i + 1) / many, "color": BETWEEN}]
    return {"gradient": "linear", "x1": 0, "y1": 0, "x2": 1, "y2": 1, "stops": stops}


def axis(picture: Picture, axis: Axis, field: str, named: str | None, *, middle: bool = False) -> Spec:
    """Return the encoding of places. middle: at the middle of a bin and not from its one end to the other."""
    title = _lines(picture, named, axis.title)
    name = f"{field}m" if middle else field
    match axis.kind:
        case "bins":
            low, high = axis.places[0][0], axis.places[-1][1]
            values = sorted({v for place in axis.places for v in place})
            ticks: Spec = {"grid": False} | ({"values": values} if len(values) <= 13 else {})
            return {
                "field": name,
                "type": "quantitative",
                "title": title,
                "axis": ticks,
                "scale": {"domain": [low, high], "nice": False},
            }
        case "times":
            return {"field": name, "type": "temporal", "title": title, "axis": {"grid": False}}
        case "number":
            return {"field": name, "type": "quantitative", "title": title, "scale": {"zero": False}}
    order = [text(str(p)) for p in axis.places]
    angle = 0 if field == "y" or (len(order) <= 8 and max(map(len, order), default=0) <= 10) else -40
    return {
        "field": name,
        "type": "nominal",
        "title": title,
        "sort": order,
        "axis": {"labelAngle": angle, "grid": False},
    }


def numbers(picture: Picture, named: str | None) -> Spec:
    """Return the encoding of the numbers, without their field."""
    return {"type": "quantitative", "title": _lines(picture, named, picture.value), "axis": {"grid": True}}


def _lines(picture: Picture, named: str | None, otherwise: str) -> str | list[str]:
    lines = axis_lines(picture, named, otherwise)
    return lines if len(lines) > 1 else lines[0]


def color(picture: Picture) -> Spec:
    """Return the encoding of a hue, or the one colour."""
    colors = picture.style.colors
    if not picture.hue:
        return {"value": colors.first}
    scale = {"domain": [text(h) for h in picture.hues], "range": [colors.of(i) for i in range(len(picture.hues))]}
    legend: Any = {} if picture.style.legend else None
    title = text(picture.style.key_title if picture.style.key_title is not None else picture.hue)
    return {"field": "h", "type": "nominal", "title": title, "scale": scale, "legend": legend, "sort": scale["domain"]}


def shades(picture: Picture, *, legend: bool = True) -> Spec:
    """Return the encoding of numbers as colours."""
    colors = picture.style.colors.scale
    scale: Spec = {"range": list(colors or (DIVERGING if picture.diverging else SCALES["blues"])), "interpolate": "rgb"}
    if picture.diverging:
        scale |= {"domain": [-1, 1]}
    shown: Any = {"gradientLength": 140} if legend and picture.style.legend else None
    return {"field": "v", "type": "quantitative", "title": text(picture.value), "scale": scale, "legend": shown}


def tips(picture: Picture) -> list[Spec]:
    """Return the lines of a tooltip."""
    named = [
        ("xt", picture.x.title),
        ("yt", picture.y.title),
        ("h", picture.hue),
        ("r", picture.row),
        ("c", picture.col),
    ]
    lines = [(field, title) for field, title in named if title]
    lines.append(("vt", picture.value or "value"))
    return [{"field": field, "type": "nominal", "title": tip_title(title)} for field, title in lines]


def tip_title(title: str) -> str:
    """Return the title of a tooltip's line: vega-tooltip draws what is titled "image" as a picture from an address."""
    shown = text(title)
    return f"{shown} (column)" if shown.strip().lower() in ("image", "title") else shown


def sides(picture: Picture, x: Spec, y: Spec, x2: Spec | None = None, y2: Spec | None = None) -> Spec:
    """Return the encoding of both directions, turned where values go to the right."""
    ends = {k: v for k, v in (("x2", x2), ("y2", y2)) if v is not None}
    if not picture.sideways:
        return {"x": x, "y": y, **ends}
    turned = {"x": y, "y": x} | ({"y2": x2} if x2 else {}) | ({"x2": y2} if y2 else {})
    if "axis" in x and "labelAngle" in x["axis"]:
        turned["y"] = x | {"axis": x["axis"] | {"labelAngle": 0}}
    return turned
