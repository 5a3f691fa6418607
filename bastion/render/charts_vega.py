"""A chart as a Vega-Lite v5 dict, with its data inline.

INVARIANT: foreign strings stand only where Vega takes plain text: values of rows, lists of a scale's or an order's values,
titles. None is an expression, a format, an address, the name of a field, or the title "image" of a tooltip, of which
vega-tooltip makes a picture from the value.
"""

from __future__ import annotations

import textwrap

from bastion.render.charts import MAX_LINES, MAX_TITLE, Picture
from bastion.render.charts_layout import Row, rows, size
from bastion.render.charts_marks import layers
from bastion.render.charts_parts import Spec, either, text
from bastion.render.palettes import INK, PALE
from bastion.render.safe_text import safe_text

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
_FIELDS = ("x", "x2", "xm", "xt", "y", "y2", "ym", "yt", "v", "vt", "lo", "up", "h", "r", "c", "few", "rest", "band", "q0", "q1", "q2", "q3", "q4", "share", "pt")  # fmt: skip


def spec(picture: Picture) -> Spec:
    """Return the Vega-Lite v5 spec of a chart."""
    drawn = rows(picture)
    width, height = size(picture)
    panel: Spec = {"width": width, "height": height, "layer": layers(picture, drawn)}
    out: Spec = {"$schema": SCHEMA, "data": {"values": [_data(row) for row in drawn]}}
    facet: Spec = {}
    if picture.row:
        facet["row"] = _panel_field("r", picture.row, picture.rows)
    if picture.col:
        facet["column"] = _panel_field("c", picture.col, picture.cols)
    out |= {"facet": facet, "spec": panel} if facet else panel
    across = width * max(1, len(picture.cols)) if facet else width
    if (title := _title(picture, across)) is not None:
        out["title"] = title
    out["config"] = _config()
    # no link to an editor: it would send the table to somebody else
    out["usermeta"] = {
        "embedOptions": {
            "renderer": "svg",
            "actions": {"export": True, "source": False, "compiled": False, "editor": False},
        }
    }
    return out


def wrapped(picture: Picture, across: int) -> list[str]:
    """Return the lines below the title: what is not drawn, and what the guard did."""
    notes = list(picture.notes)
    if picture.has_missing:
        notes.insert(0, f"{'a gap, or ' * (picture.kind == 'line')}▨: {picture.stripes}")
    limit = max(60, int(across / 5.2))
    return [line for note in notes for line in textwrap.wrap(safe_text(note, 400), limit)][:12]


def heading(picture: Picture, across: int) -> list[str]:
    """Return the title in lines that are as wide as the chart, none where there is no title. across: pixels."""
    own = picture.style.title
    text = safe_text(picture.title[:1].upper() + picture.title[1:] if own is None else own, MAX_TITLE)
    return textwrap.wrap(text, max(38, int(across / 7.6)))[:MAX_LINES]


def _title(picture: Picture, across: int) -> Spec | None:
    title, lines = heading(picture, across), wrapped(picture, across)
    if not title and not lines:
        return None
    text = title if len(title) > 1 else "".join(title)
    return {"text": text, "subtitle": lines} if lines else {"text": text}


def _data(row: Row) -> Row:
    return {key: row[key] for key in _FIELDS if row.get(key) is not None and row[key] != ""}


def _panel_field(field: str, title: str, order: tuple[str, ...]) -> Spec:
    return {"field": field, "type": "nominal", "title": text(title), "sort": [text(v) for v in order]}


def _config() -> Spec:
    """Return colours for a light page and a dark one. The background is Vega's own: of the theme that JupyterLab draws in."""
    ink, muted, line, grid = (
        either(INK, "#f2f4f7"),
        either("#5b6673", "#c3cad4"),
        either("#c4cad2", "#7d8794"),
        either(PALE, "#4a4f57"),
    )
    axis = {"domainColor": line, "tickColor": line, "gridColor": grid, "labelColor": muted, "titleColor": ink}
    axis |= {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": 500, "titlePadding": 8, "labelLimit": 160}
    plain = {"labelColor": muted, "titleColor": ink, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": 500}
    return {
        "font": FONT, "padding": 10, "view": {"stroke": None},
        "axis": axis, "legend": plain | {"symbolType": "square"}, "header": plain,
        "title": {
            "anchor": "start", "color": ink, "fontSize": 14, "fontWeight": 600, "offset": 12, "subtitleColor": muted,
            "subtitleFontSize": 10.5, "subtitlePadding": 4,
        },
    }  # fmt: skip
