"""Foreign strings, made safe to show: the one way for a string that is not ours into a table, a card, a terminal.

Column names, values, reasons, answers come from other people. A terminal obeys control characters in them, and whoever
reads is misled by characters that turn the direction of the text or cannot be seen. What is taken out leaves a mark (�):
two names that differ only in such a character must not look the same.
"""

from __future__ import annotations

import html
import re
import unicodedata

MARK = "�"
CUT = "…"
NEWLINE = "⏎"
#: marks that may follow one letter; more of them are drawn over the lines above and below
MAX_MARKS = 4
#: characters of a name on a card, and of one line of an error, a denial or a card: more than any reason or answer may have
MAX_NAME, MAX_LINE = 200, 5_000

#: what a terminal takes for a command: CSI and OSC-like sequences (also unfinished ones) by ESC or by C1, else ESC and a character
_COMMANDS = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x00-\x1f\x7f-\x9f]*+(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]?"
)
_BREAKS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
#: of the class "printable", and yet not to be seen: fillers, joiners of marks, variation selectors, the empty Braille cell
_UNSEEN = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0e\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
#: joiners (U+200C, U+200D) and the emoji selector belong to a word only between letters of these scripts, or pictures
_JOINING = r"\u0620-\u065f\u066e-\u06d3\u0750-\u077f\u08a0-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u17d3"
_PICTURE = r"\u2600-\u27bf\U0001f000-\U0001faff"
_JOINED = re.compile(
    rf"(?<=[{_JOINING}])[\u200c\u200d](?=[{_JOINING}])|(?<=[{_PICTURE}\ufe0f])\u200d(?=[{_PICTURE}])|(?<=[{_PICTURE}])\ufe0f"
)


def safe_text(value: object, limit: int | None = None, *, lines: bool = False) -> str:
    """Return `str(value)` without what a terminal or a browser would obey, and without what cannot be seen.

    Taken out: control characters (C0, C1) and whole escape sequences, characters that turn the direction of text,
    invisible characters, lone surrogates, characters without a meaning, marks piled up on one letter.

    Args:
        value: anything; a string as it is.
        limit: at most so many characters, the last of them "…" where something was cut off; None for no limit.
        lines: keep line feeds and tabs. Else a line break is shown as "⏎", so that the text stays on its line.
    """
    text = value if isinstance(value, str) else str(value)
    if limit is not None and len(text) > 16 * limit + 8192:
        text = text[: 16 * limit + 8192]  # more is never shown
    if not (text.isascii() and text.isprintable()):
        text = _cleaned(text, lines=lines)
    if limit is not None and len(text) > limit:
        text = text[: max(0, limit - 1)] + CUT
    return text


def safe_html(value: object, limit: int | None = None, *, lines: bool = False) -> str:
    """Return `safe_text` escaped for HTML, also within a quoted attribute."""
    return html.escape(safe_text(value, limit, lines=lines))


def _cleaned(text: str, *, lines: bool) -> str:
    text = _COMMANDS.sub(MARK, text)
    text = _BREAKS.sub(lambda found: "\n" if found[0][0] == "\r" and len(found[0]) == 2 else NEWLINE, text)
    if not lines:
        text = text.replace("\n", NEWLINE).replace("\t", " ")
    kept = {found.start() for found in _JOINED.finditer(text)}
    out: list[str] = []
    marks = 0
    for place, character in enumerate(text):
        if character in "\n\t" or place in kept:
            shown = character
        elif not (character.isprintable() or unicodedata.category(character) == "Zs") or _UNSEEN.match(character):
            shown = MARK
        else:
            shown = character
        marks = marks + 1 if unicodedata.combining(character) or unicodedata.category(character) == "Me" else 0
        if marks > MAX_MARKS or (shown == MARK and out and out[-1] == MARK):
            continue
        out.append(shown)
    return "".join(out)
