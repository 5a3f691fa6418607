"""Strings of others: nothing of them is obeyed, hidden or taken for markup, wherever they are shown."""

from __future__ import annotations

import html
import time
import unicodedata

import pytest
from hostile import check_text, texts
from hypothesis import given
from hypothesis import strategies as st

from bastion.render.safe_text import CUT, MARK, MAX_MARKS, safe_html, safe_text


@given(texts(), st.booleans(), st.none() | st.integers(1, 20))
def test_nothing_is_obeyed_or_hidden(text: str, lines: bool, limit: int | None):
    shown = safe_text(text, limit, lines=lines)
    check_text(shown, lines=lines)
    assert limit is None or len(shown) <= limit
    assert safe_text(shown, limit, lines=lines) == shown


@given(texts(), st.booleans())
def test_html_is_escaped(text: str, lines: bool):
    shown = safe_html(text, lines=lines)
    assert not set(shown) & set("<>\"'")
    assert html.unescape(shown) == safe_text(text, lines=lines)


@given(st.text(st.characters(categories=["L", "N", "P", "S"], max_codepoint=0x2FF)))
def test_ordinary_text_stays(text: str):
    assert safe_text(text) == text


@pytest.mark.parametrize("text", ["Größe (m²)", "שם", "नमस्ते", "می‌خواهم", "क्‍ष", "年齢", "👩‍🔬", "❤️", "naïve", "a b"])
def test_words_of_all_scripts_stay(text: str):
    assert safe_text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", f"{MARK}red{MARK}"),
        ("\x1b]8;;http://evil\x07click\x1b]8;;\x07", f"{MARK}click{MARK}"),
        ("\x9b2Jgone", f"{MARK}gone"),
        ("a\u202egnp.exe", f"a{MARK}gnp.exe"),
        ("Age\u200b", f"Age{MARK}"),
        ("A\u200dge", f"A{MARK}ge"),
        ("а\u200dб", f"а{MARK}б"),
        ("x\r\ny", "x⏎y"),
        ("x\ty", "x y"),
        ("\ud800", MARK),
        ("a\x00\x00\x00b", f"a{MARK}b"),
    ],
)
def test_what_is_taken_out_leaves_a_mark(text: str, shown: str):
    assert safe_text(text) == shown


def test_lines_are_kept_where_wanted():
    assert safe_text("a\r\nb\tc\u2028d\re", lines=True) == "a\nb\tc⏎d⏎e"


def test_long_text_is_cut_with_a_mark():
    assert safe_text("x" * 100, 10) == "x" * 9 + CUT
    assert safe_text("x" * 10, 10) == "x" * 10
    assert safe_text(12345, 3) == f"12{CUT}"


def test_marks_do_not_pile_up():
    shown = safe_text("e" + "\u0301" * 50)
    assert sum(unicodedata.combining(c) > 0 for c in shown) == MAX_MARKS


@pytest.mark.parametrize("piece", ["\x9d", "\x1b]", "\x1b[1;", "\u202e", "e\u0301\u0301", "\x1b"])
def test_takes_no_longer_than_the_text(piece: str):
    start = time.perf_counter()
    safe_text(piece * 100_000)
    assert time.perf_counter() - start < 5
    start = time.perf_counter()
    safe_text(piece * 1_000_000, 60)
    assert time.perf_counter() - start < 0.5
