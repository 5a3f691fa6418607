"""A chart in letters: bars where there is one direction, else a table of what is drawn."""

from __future__ import annotations

import textwrap

import polars as pl

from bastion.render.charts import MAX_LABEL, MAX_TITLE, Picture, label
from bastion.render.charts_layout import Row, rows
from bastion.render.safe_text import safe_text

WIDTH, MAX_BARS, MAX_ROWS, MAX_COLUMNS = 40, 40, 20, 12
_EIGHTHS = " ▏▎▍▌▋▊▉█"
STRIPES = "░"


def text(picture: Picture) -> str:
    """Return a chart as text, its title above and what there is to say below."""
    drawn = rows(picture)
    title = safe_text(picture.title if picture.style.title is None else picture.style.title, MAX_TITLE)
    plain = picture.kind in ("hist", "bar", "pie", "line") and not (picture.row or picture.col)
    body = (_bars if plain and len(drawn) <= MAX_BARS else _table)(picture, drawn) if drawn else ["Nothing to draw."]
    notes = [line for note in picture.notes for line in textwrap.wrap(safe_text(note, 400), 100)]
    if picture.has_missing:
        notes.insert(0, f"{STRIPES * 3} {picture.stripes}")
    return "\n".join(line for line in [title, *body, *notes] if line)


def _place(row: Row, picture: Picture) -> str:
    hue = row["h"] if picture.hue or picture.kind == "pie" else ""
    return " · ".join(part for part in (row["xt"], hue) if part) or picture.value


def _bars(picture: Picture, drawn: list[Row]) -> list[str]:
    order = {place: i for i, place in enumerate(_starts(picture))}
    if picture.kind != "pie":
        drawn = sorted(drawn, key=lambda r: (order.get(r["x"], len(order)), r["h"]))
    names = [_place(row, picture) for row in drawn]
    wide = max(map(len, names), default=0)
    top = max([abs(row["v"]) for row in drawn if row["v"] is not None], default=0.0) or 1.0
    out = []
    for name, row in zip(names, drawn, strict=True):
        if row["v"] is None:
            out.append(f"{name:>{wide}} │{STRIPES * 3} {row['vt']}")
            continue
        share = f" ({row['pt']})" if row.get("pt") else ""
        bar = _bar(abs(row["v"]) / top)
        below = "▒" * max(1, len(bar)) if row["v"] < 0 else bar  # a bar below 0 looks different
        out.append(f"{name:>{wide}} │{below} {row['vt']}{share}")
    return out


def _starts(picture: Picture) -> list[object]:
    pairs = picture.x.kind in ("bins", "times")
    return [p[0] if pairs else label(p) for p in picture.x.places]


def _bar(share: float) -> str:
    eighths = round(share * WIDTH * 8)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def _grid(picture: Picture, drawn: list[Row]) -> list[str]:
    """Return a heatmap as a grid: a column for each place of x, a row for each place of y."""
    words = {(row["x"], row["y"]): STRIPES * 3 if row["v"] is None else row["vt"] for row in drawn}
    across, down = ([label(p) for p in axis.places] for axis in (picture.x, picture.y))
    wide = max(map(len, [*across, *words.values()]), default=0)
    left = max(map(len, down), default=0)
    lines = [f"{'':>{left}} │ " + "  ".join(f"{x:>{wide}}" for x in across)]
    return lines + [f"{y:>{left}} │ " + "  ".join(f"{words.get((x, y), ''):>{wide}}" for x in across) for y in down]


def _table(picture: Picture, drawn: list[Row]) -> list[str]:
    plain = picture.x.kind == picture.y.kind == "category" and len(picture.x.places) <= MAX_COLUMNS
    if picture.kind == "heat" and plain and not (picture.row or picture.col):
        return _grid(picture, drawn)
    named = [
        ("xt", picture.x.title),
        ("yt", picture.y.title),
        ("h", picture.hue),
        ("r", picture.row),
        ("c", picture.col),
    ]
    columns = {field: safe_text(title, MAX_LABEL) for field, title in named if title}
    if picture.kind != "points":
        columns["vt"] = safe_text(picture.value, MAX_LABEL) or "value"
    if picture.kind == "box":
        columns["vt"] = "median"
    taken: dict[str, list[str]] = {}
    for field, title in columns.items():
        name = title
        while name in taken:
            name += " "
        taken[name] = [row[field] for row in drawn]
    with pl.Config(tbl_rows=MAX_ROWS, tbl_cols=8, fmt_str_lengths=MAX_LABEL, tbl_hide_column_data_types=True):
        return safe_text(str(pl.DataFrame(taken)), lines=True).split("\n")
