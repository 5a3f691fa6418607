"""Strings as somebody sends them who wants to mislead a reader, a terminal or a browser; and what must never be shown."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser

from hypothesis import strategies as st

PIECES = [
    "\x1b[31m", "\x1b[2J", "\x1b]8;;http://x\x07", "\x1b]0;title\x1b\\", "\x1b", "\x9b1m", "\x9d", "\x07", "\x08", "\x00", "\x7f",
    "\x85", "\r", "\n", "\r\n", "\t", "\u2028", "\u2029", "\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067",
    "\u2068", "\u2069", "\u200e", "\u200f", "\u061c", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u3164",
    "\U000e0041", "\ufe0f", "\ud800", "\udfff", "\ue000", "\u0301", "<script>alert(1)</script>", "<img src=x onerror=y>", "</td></table>",
    '" onload="x', "'", "&", "&lt;", "$x^2$", "Age", "שלום", "नमस्ते", "می‌خواهم", "👩‍🔬",
]  # fmt: skip

#: controls (line feed and tab apart) and characters that turn the direction of text
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\u00ad\ud800-\udfff\U000e0000-\U000e007f]"
)


def texts(max_size: int = 6) -> st.SearchStrategy[str]:
    """Return hostile strings: known pieces and any characters, lone surrogates among them."""
    anything = st.text(st.characters(exclude_categories=()), max_size=8)
    return st.lists(st.sampled_from(PIECES) | anything, max_size=max_size).map("".join)


def encodable(max_size: int = 6) -> st.SearchStrategy[str]:
    """Return hostile strings that Polars can hold: without lone surrogates."""
    return texts(max_size).map(lambda text: text.encode("utf-8", "ignore").decode())


def check_text(text: str, *, lines: bool = True) -> None:
    """Assert that a text holds nothing that a terminal obeys or that misleads."""
    found = FORBIDDEN.search(text)
    assert found is None, f"U+{ord(found[0]):04X} is shown"
    if not lines:
        assert "\n" not in text and "\t" not in text
    assert not [c for c in text if unicodedata.category(c) in ("Cs", "Cn", "Co")]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(sorted(name for name, _ in attrs))))

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", ()))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def shape(page: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the tags of a page with the names of their attributes, in order."""
    parser = _Page()
    parser.feed(page)
    parser.close()
    return parser.tags


def check_html(page: str) -> None:
    """Assert that a page holds only tags of ours, no handlers, and safe text."""
    for tag, attributes in shape(page):
        assert tag in {
            "style",
            "div",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "b",
            "pre",
            "span",
            "details",
            "summary",
        }, tag
        assert set(attributes) <= {"class", "style", "title"}, (tag, attributes)
    check_text(page)
