"""The layers of each kind of chart, in Vega-Lite: what is told in colours, what is not told in stripes."""

from __future__ import annotations

from typing import Any

from bastion.render.charts import Picture
from bastion.render.charts_layout import Row, size, sizes
from bastion.render.charts_parts import (
    BEHIND,
    Spec,
    axis,
    color,
    either,
    hatch,
    numbers,
    shades,
    sides,
    text,
    tips,
    told,
)
from bastion.render.palettes import FEW, FEW_LINE, INK

MAX_TEXTS = 144
WHISKER, EDGE = either("#6b7683", "#a9b3c0"), either("#4a5562", "#c3ccd8")


def layers(picture: Picture, drawn: list[Row]) -> list[Spec]:
    """Return the layers of one panel."""
    make = {
        "hist": _hist, "bar": _bar, "box": _box, "line": _line, "points": _points, "bubbles": _bubbles, "heat": _heat, "pie": _pie,
    }[picture.kind]  # fmt: skip
    return make(picture, drawn)


def _few_mark(**more: Any) -> Spec:
    return {"type": "bar", "color": hatch(), "stroke": FEW_LINE, "strokeWidth": 0.8, **more}


def _hist(picture: Picture, drawn: list[Row]) -> list[Spec]:
    style = picture.style
    number = numbers(picture, style.ylabel) | {"field": "lo"}
    place = axis(picture, picture.x, "x", style.xlabel)
    ranged = picture.x.kind in ("bins", "times")
    end: Spec | None = {"field": "x2"} if ranged else None
    if picture.x.kind == "bins":
        place = place | {"bin": "binned"}
    ways = sides(picture, place, number, end, {"field": "up"})
    mark = {"type": "bar", "stroke": BEHIND, "strokeWidth": 0.8, "opacity": style.opacity or 0.95}
    plain = {"filter": "!datum.few && !datum.rest"}
    out: list[Spec] = [
        {"transform": [plain], "mark": mark, "encoding": ways | {"color": color(picture), "tooltip": tips(picture)}}
    ]
    if any(row["rest"] for row in drawn):
        rest = {"filter": "!datum.few && datum.rest"}
        out.append(
            {"transform": [rest], "mark": mark | {"color": FEW_LINE}, "encoding": ways | {"tooltip": tips(picture)}}
        )
    if picture.has_missing:
        out.append({"transform": told(False), "mark": _few_mark(), "encoding": ways | {"tooltip": tips(picture)}})
    return out


def _bar(picture: Picture, drawn: list[Row]) -> list[Spec]:
    style = picture.style
    place = axis(picture, picture.x, "x", style.xlabel)
    number = numbers(picture, style.ylabel)
    end: Spec | None = None
    if picture.x.kind in ("bins", "times"):
        end = {"field": "x2"}
        place |= {"bin": "binned"} if picture.x.kind == "bins" else {}
    else:
        place = place | {"scale": {"paddingInner": round(1 - min(style.bar_width, 1), 2), "paddingOuter": 0.15}}
    aside: Spec = {}
    if picture.hue and end is None:
        aside = {
            "yOffset" if picture.sideways else "xOffset": {
                "field": "h",
                "type": "nominal",
                "sort": [text(h) for h in picture.hues],
            }
        }
    mark = {"type": "bar", "cornerRadiusEnd": 2, "opacity": style.opacity or 0.95} | ({"stroke": BEHIND} if end else {})
    ways = sides(picture, place, number | {"field": "v", "stack": None}, end)
    few = sides(picture, place, number | {"field": "up", "stack": None}, end)
    # remainder rows are told, yet of no category of its own
    plain = {"filter": "!datum.few && !datum.rest"}
    out: list[Spec] = [
        {
            "transform": [plain],
            "mark": mark,
            "encoding": ways | aside | {"color": color(picture), "tooltip": tips(picture)},
        }
    ]
    if any(row["rest"] and not row["few"] for row in drawn):
        gray = {"type": "bar", "cornerRadiusEnd": 2, "color": FEW_LINE}
        out.append(
            {
                "transform": [{"filter": "datum.rest && !datum.few"}],
                "mark": gray,
                "encoding": ways | aside | {"tooltip": tips(picture)},
            }
        )
    if any(row["few"] for row in drawn):
        out.append(
            {"transform": told(False), "mark": _few_mark(), "encoding": few | aside | {"tooltip": tips(picture)}}
        )
    return out


def _box(picture: Picture, drawn: list[Row]) -> list[Spec]:
    style = picture.style
    number = numbers(picture, style.ylabel) | {"scale": {"zero": False}}
    place = axis(picture, picture.x, "x", style.xlabel)
    named = picture.x.kind == "category" and not (len(picture.rows) > 1 or len(picture.cols) > 1)
    aside: Spec = {}
    if picture.hue:
        aside = {
            "yOffset" if picture.sideways else "xOffset": {
                "field": "h",
                "type": "nominal",
                "sort": [text(h) for h in picture.hues],
            }
        }
    # a band is what a category has; the marks of its hues share most of it
    band = size(picture)[1 if picture.sideways else 0] / max(1, len(picture.x.places)) if named else 70.0
    box = max(8, min(46, int(min(46.0, 0.68 * band) * style.bar_width / 0.8 / max(1, len(picture.hues)))))
    shade = {"color": color(picture)}
    lines = [
        *tips(picture)[:-1],
        *({"field": f"q{i}", "type": "quantitative", "format": ",.4~g", "title": name}
          for i, name in reversed(list(enumerate(["5%", "25%", "median", "75%", "95%"])))),
    ]  # fmt: skip

    def part(mark: Spec, low: str, high: str | None, more: Spec | None = None) -> Spec:
        end = {"field": high} if high else None
        ways = sides(picture, place, number | {"field": low}, None, end)
        return {"transform": told(), "mark": mark, "encoding": ways | aside | {"tooltip": lines} | (more or {})}

    median = {
        "type": "tick",
        "thickness": style.median_width,
        "size": box,
        "color": style.median_color or INK,
        "opacity": 1,
    }
    out = [
        part({"type": "rule", "color": WHISKER, "strokeWidth": 1.2}, "q0", "q4"),
        part({"type": "tick", "size": box * 0.5, "color": WHISKER, "thickness": 1.2}, "q0", None),
        part({"type": "tick", "size": box * 0.5, "color": WHISKER, "thickness": 1.2}, "q4", None),
        part(
            {"type": "bar", "size": box, "stroke": EDGE, "strokeWidth": 0.8, "opacity": style.opacity or 1},
            "q1",
            "q3",
            shade,
        ),
        part(median, "q2", None),
    ]
    if any(row["few"] for row in drawn):
        ways = sides(picture, place, number | {"field": "lo"}, None, {"field": "up"})
        out.append(
            {
                "transform": told(False),
                "mark": _few_mark(size=box),
                "encoding": ways | aside | {"tooltip": tips(picture)},
            }
        )
    return out


def _line(picture: Picture, drawn: list[Row]) -> list[Spec]:
    style = picture.style
    place = axis(picture, picture.x, "x", style.xlabel, middle=True)
    number = numbers(picture, style.ylabel) | {"field": "v", "scale": {"zero": picture.total}}
    ways = {"x": place, "y": number}
    shade = {"color": color(picture)}
    out: list[Spec] = []
    if picture.has_missing and picture.x.kind in ("bins", "times"):
        bands = {"x": axis(picture, picture.x, "x", style.xlabel), "x2": {"field": "x2"}, "tooltip": tips(picture)}
        out.append(
            {
                "transform": [{"filter": "datum.band"}],
                "mark": {"type": "rect", "color": hatch(), "opacity": 0.55},
                "encoding": bands,
            }
        )
    # a missing point breaks the line: what lies between its neighbours is not told
    line = {
        "type": "line",
        "strokeWidth": style.line_width or 2.2,
        "opacity": style.opacity or 1,
        "interpolate": "linear",
    }
    out.append({"mark": line, "encoding": ways | shade})
    point = {"type": "point", "filled": True, "size": 46, "opacity": 1}
    out.append({"transform": told(), "mark": point, "encoding": ways | shade | {"tooltip": tips(picture)}})
    return out


def _points(picture: Picture, drawn: list[Row]) -> list[Spec]:
    x, y = axis(picture, picture.x, "x", picture.style.xlabel), axis(picture, picture.y, "y", picture.style.ylabel)
    mark = {"type": "circle", "size": 30, "opacity": picture.style.opacity or 0.6}
    return [{"mark": mark, "encoding": {"x": x, "y": y, "color": color(picture), "tooltip": tips(picture)[:-1]}}]


def _cells(picture: Picture) -> Spec:
    x, y = axis(picture, picture.x, "x", picture.style.xlabel), axis(picture, picture.y, "y", picture.style.ylabel)
    out = {"x": x, "y": y}
    for name, along in (("x", picture.x), ("y", picture.y)):
        if along.kind in ("bins", "times"):
            out[f"{name}2"] = {"field": f"{name}2"}
    return out


def _few_cells(picture: Picture, *, upwards: bool = False) -> list[Spec]:
    if not picture.has_missing:
        return []
    places = _cells(picture)
    if upwards and "sort" in places["y"]:
        places["y"]["sort"] = places["y"]["sort"][::-1]
    mark = {"type": "rect", "color": hatch(5), "opacity": 0.5, "stroke": BEHIND, "strokeWidth": 1}
    return [{"transform": told(False), "mark": mark, "encoding": places | {"tooltip": tips(picture)}}]


def _bubbles(picture: Picture, drawn: list[Row]) -> list[Spec]:
    style = picture.style
    x = axis(picture, picture.x, "x", style.xlabel, middle=picture.x.kind != "category")
    y = axis(picture, picture.y, "y", style.ylabel, middle=picture.y.kind != "category")
    if "sort" in y:
        y["sort"] = y["sort"][::-1]  # upwards, as numbers go
    size: Spec = {
        "field": "v", "type": "quantitative", "title": text(picture.value),
        "scale": {"range": [8, 420], "zero": True}, "legend": {"symbolType": "circle", "values": sizes(picture)} if style.legend else None,
    }  # fmt: skip
    mark = {"type": "circle", "opacity": style.opacity or 0.75, "stroke": BEHIND, "strokeWidth": 0.6}
    encoding = {"x": x, "y": y, "size": size, "color": color(picture), "tooltip": tips(picture)}
    few = [] if picture.hue else _few_cells(picture, upwards=True)
    return [*few, {"transform": told(), "mark": mark, "encoding": encoding}]


def _heat(picture: Picture, drawn: list[Row]) -> list[Spec]:
    mark = {"type": "rect", "stroke": BEHIND, "strokeWidth": 1}
    encoding = _cells(picture) | {"color": shades(picture), "tooltip": tips(picture)}
    out = [*_few_cells(picture), {"transform": told(), "mark": mark, "encoding": encoding}]
    if picture.x.kind == picture.y.kind == "category" and len(drawn) <= MAX_TEXTS and picture.style.labels:
        values = [r["v"] for r in drawn if r["v"] is not None]
        low, high = (-1.0, 1.0) if picture.diverging else (min(values, default=0.0), max(values, default=1.0))
        words = _cells(picture) | {"text": {"field": "vt", "type": "nominal"}, "color": _ink(picture, low, high)}
        out.append({"transform": told(), "mark": {"type": "text", "fontSize": 11}, "encoding": words})
    return out


def _ink(picture: Picture, low: float, high: float) -> Spec:
    """Return dark letters on pale cells and white ones on strong cells. The numbers in the test are told ones."""
    if picture.diverging:
        return {"condition": {"test": "abs(datum.v) > 0.6", "value": "white"}, "value": INK}
    limit = float(low + 0.6 * (high - low))
    return {"condition": {"test": f"datum.v > {limit!r}", "value": "white"}, "value": INK}


def _pie(picture: Picture, drawn: list[Row]) -> list[Spec]:
    style = picture.style
    radius = (130 if picture.rows or picture.cols else 240) / 2
    radius = (min(style.width, style.height) / 2 if style.width and style.height else radius) - 4
    colors = [FEW if h == "(other)" else style.colors.of(i) for i, h in enumerate(picture.hues)]
    shade = color(picture)
    if "field" in shade:
        shade = shade | {"scale": {"domain": [text(h) for h in picture.hues], "range": colors}}
    angle: Spec = {"field": "v", "type": "quantitative", "stack": True}
    by = {"field": "y", "type": "quantitative"}
    arc = {"type": "arc", "outerRadius": radius, "stroke": BEHIND, "strokeWidth": 1.5}
    lines = [*tips(picture), {"field": "pt", "type": "nominal", "title": "share"}]
    out = [
        {"transform": told(), "mark": arc, "encoding": {"theta": angle, "order": by, "color": shade, "tooltip": lines}}
    ]
    if style.labels:
        # small slices stay in the stack, or the words of the others would stand elsewhere
        share = {"condition": {"test": "datum.share >= 0.04", "field": "pt", "type": "nominal"}, "value": ""}
        ink = {"condition": {"test": "datum.rest", "value": INK}, "value": "white"}
        words = {"theta": angle, "order": by, "text": share, "detail": {"field": "h"}, "color": ink}
        mark = {"type": "text", "radius": radius * 0.68, "fontSize": 11, "fontWeight": 600}
        out.append({"transform": told(), "mark": mark, "encoding": words})
    return out
