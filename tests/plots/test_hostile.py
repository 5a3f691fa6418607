"""Foreign strings in titles, labels, categories: plain text everywhere, never an address, an expression or a name of a field."""

from __future__ import annotations

import json

import polars as pl
import pytest
from charts import EVIL, good, pairs

from bastion.render.charts import Axis, Cell, Chart, Picture
from bastion.render.charts_parts import tip_title

KINDS = ("hist", "bar", "line", "heat", "bubbles", "pie", "box")
NASTY = [
    EVIL,
    "$x^{2$",
    "datum.v",
    "{'signal': 'x'}",
    "a.b[0]",
    "\u202eabc",
    "\x1b]0;x\x07",
    "x" * 5000,
    'a" + window.x + "',
    "a\\",
    "=1+1",
    "%s %n {0}",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("evil", NASTY, ids=range(len(NASTY)))
def test_every_chart_takes_every_string(kind, evil):
    axis = Axis(evil, "category", (evil, "b"))
    five = (1.0, 2.0, 3.0, 4.0, 5.0) if kind == "box" else ()
    cells = tuple(Cell(x=x, y=y, value=2.0, five=five, hue=evil) for x in (evil, "b") for y in (evil, "b"))
    picture = Picture(kind, cells, axis, axis, value=evil, title=evil, hue=evil, hues=(evil,), notes=(evil,), least=10)
    chart = Chart(picture, pl.DataFrame())
    spec = good(chart)
    text = json.dumps(spec, ensure_ascii=False) + repr(chart)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "x" * 200 not in text
    titles = [value for key, value in pairs(spec) if key == "title" and isinstance(value, str)]
    assert not any('"' in title or "\\" in title for title in titles), "Vega-Lite writes titles into expressions"
    fields = {value for key, value in pairs(spec) if key == "field"}
    assert fields <= {
        "x",
        "x2",
        "xm",
        "xt",
        "y",
        "y2",
        "ym",
        "yt",
        "v",
        "vt",
        "lo",
        "up",
        "h",
        "pt",
        "q0",
        "q1",
        "q2",
        "q3",
        "q4",
    }


@pytest.mark.parametrize("name", ["image", "Image ", "title", "TITLE"])
def test_no_tooltip_makes_a_picture_of_a_value(name):
    assert tip_title(name).strip().lower() not in ("image", "title")


def test_a_table_full_of_them(frame):
    table = frame("evil")
    chart = table.plot.bar(EVIL, "n", hue="image", title=EVIL)
    spec = good(chart)
    titles = {t["title"] for layer in spec["layer"] for t in layer["encoding"].get("tooltip", [])}
    assert "image" not in titles
    assert "window.evil" in json.dumps(spec), "it is there, as text"
    assert spec["usermeta"]["embedOptions"]["actions"]["editor"] is False, "no button sends the table to an editor"


def test_numbers_that_are_none():
    cells = (Cell(x="a", value=None, few=True), Cell(x="b", value=None, few=True))
    for kind in ("hist", "bar", "line"):
        good(Chart(Picture(kind, cells, Axis("x", "category", ("a", "b")), least=10), pl.DataFrame()))
    good(Chart(Picture("pie", (), least=10), pl.DataFrame()))
    good(Chart(Picture("heat", (), Axis("x", "category"), Axis("y", "category"), least=10), pl.DataFrame()))


def test_files(tmp_path):
    chart = Chart(Picture("bar", (Cell(x="a", value=1.0),), Axis("x", "category", ("a",)), value="n"), pl.DataFrame())
    for ending, head in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF"), (".json", b"{")):
        assert chart.save(tmp_path / f"c{ending}").read_bytes().startswith(head)
    from bastion_plan.errors import InputError

    with pytest.raises(InputError, match="written as"):
        chart.save(tmp_path / "c.html")
