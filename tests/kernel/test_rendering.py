"""Tables, errors and widgets as HTML: every string of a server or a table is escaped, sizes are capped."""

from __future__ import annotations

import re

import polars as pl
import pytest
from bastion_plan.errors import BastionError, LanguageError
from bastion_policy.verdict import Finding, ReleaseNote

from bastion.render import bundle, cards, denials, tables
from bastion_kernel.errors import describe

EVIL = "<script>alert(1)</script>\"'&"


def clean(page: str) -> bool:
    return "<script" not in page and "alert(1)</" not in page.replace("alert(1)&lt;/", "")


def test_table_strings_are_escaped():
    frame = pl.DataFrame({EVIL: [EVIL, None]})
    page = tables.table_html(frame, ReleaseNote(notes=(EVIL,)))
    assert clean(page)
    assert "&lt;script&gt;" in page


def test_errors_and_grids_are_escaped():
    assert clean(denials.error_html(BastionError(EVIL, reason=EVIL, next_step=EVIL, code="x.y")))
    assert clean(cards.grid_html([EVIL], [[EVIL]]))


def test_tables_are_capped_and_say_their_shape():
    frame = pl.DataFrame({f"c{i}": range(1000) for i in range(100)})
    page = tables.table_html(frame)
    assert "shape: (1_000, 100)" in page
    assert page.count("<tr>") < 30
    assert len(page) < 100_000
    assert "…" in page


def test_long_and_many_lined_cells_are_cut():
    page = tables.table_html(pl.DataFrame({"a": ["x" * 10_000, "one\ntwo"]}))
    assert re.search(r">x{59}…</td>", page)
    assert "x" * 501 not in page, "pointing at it shows more, and not all of a megabyte"
    assert "one⏎two" in page


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame(),
        pl.DataFrame({"a": []}),
        pl.DataFrame({"a": [None]}),
        pl.DataFrame({"a": [[1, 2]], "b": [{"x": 1}], "c": [float("nan")], "d": [b"\x00"]}),
        pl.DataFrame({"a": pl.Series([1], dtype=pl.Duration("us"))}),
    ],
)
def test_unusual_tables(frame):
    data = bundle(frame)
    assert "shape" in data["text/html"]
    assert data["text/plain"]


def test_what_the_guard_did_stands_below():
    note = ReleaseNote(merged=2, suppressed=1, approved=True, logged_unsafe=True)
    text = tables.text(pl.DataFrame({"a": [1]}), note)
    for words in (
        "Approved by the owner",
        "2 rows show the numbers of another group",
        "1 cell was taken out",
        "although unsafe",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("note", "said", "unsaid"),
    [
        (ReleaseNote(merged=5, again=5), ["5 rows show the numbers of a group answered before"], ["too few people"]),
        (ReleaseNote(merged=1, again=0), ["1 row holds groups of too few people, put together."], ["before", "show"]),
        (
            ReleaseNote(merged=3, again=1),
            ["1 row shows the numbers of a group answered before", "2 rows hold groups of too few people"],
            ["3 rows"],
        ),
        (ReleaseNote(merged=1), ["1 row shows the numbers of another group than theirs"], ["2 rows"]),
        (ReleaseNote(suppressed=2), ["2 cells were taken out."], ["earlier"]),
        (
            ReleaseNote((Finding("history", "Because."),), suppressed=2),
            ["2 cells were taken out because of earlier answers."],
            [],
        ),
        (
            ReleaseNote((Finding("history", "Because."), Finding("dominance", "Because.")), suppressed=2),
            ["2 cells were taken out, some because of earlier answers."],
            [],
        ),
        # the strict profile tells one code and no numbers of cells
        (ReleaseNote((Finding("suppressed", "Because."),), partial=True), ["This is the part that"], ["earlier"]),
        (ReleaseNote((Finding("history", "Because.", private=True),), suppressed=1), ["1 cell was"], ["earlier"]),
    ],
)
def test_what_became_of_rows_is_told_apart(note, said, unsaid):
    lines = " ".join(tables.footer(note))
    assert all(words in lines for words in said)
    assert not any(words in lines for words in unsaid)


def test_booleans_and_floats_look_like_polars():
    page = tables.table_html(pl.DataFrame({"b": [True, False], "f": [0.472826086, 0.5]}))
    assert "<td>true</td>" in page
    assert "<td>0.472826</td>" in page


def test_an_unexpected_error_is_named_by_its_class_alone():
    name, message, trace = describe(ValueError("secret /etc/passwd row 7"), "x")
    assert name == "ValueError"
    assert "secret" not in message + "".join(trace)


def test_an_error_without_a_usable_place_is_still_shown():
    for details in ({"line": 9, "column": 1}, {"line": "1"}, {"line": 1, "column": None}, {}):
        _, _, trace = describe(LanguageError("What.", code="language.x", details=details), "one line")
        assert trace[0] == "What."
        assert trace[-1] == "[language.x]"
