"""Tokenizer files that cut words into pieces: read by the library `tokenizers` where it is installed, WordPiece files also without it."""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from bastion_plan.errors import InputError

from bastion.render.safe_text import safe_text

LIBRARY = "tokenizers"
LONGEST_WORD = 1_000
#: what gives the numbers of a text, so many at most
Ids = Callable[[str, int], list[int]]
_CJK = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class NotRead(Exception):
    """The file holds something that is not read without the library."""


def reader(text: str, found: dict[str, Any]) -> tuple[Ids, int, int]:
    """Return what gives the numbers of a text, how many numbers there are, and that of padding.

    Args:
        text: of the tokenizer file. found: the same, parsed.

    Raises:
        InputError: train.tokenizer: the library cannot read it; or it is not installed, and this file needs it.
    """
    if importlib.util.find_spec(LIBRARY) is not None:
        return _of_library(text, found)
    try:
        own = WordPieces(found)
    except (NotRead, KeyError, TypeError, ValueError, AttributeError) as error:
        kind = safe_text(str((found.get("model") or {}).get("type")), 30)
        msg = f"This {kind} tokenizer is read by the package {LIBRARY}, which is not installed here."
        reason = f"Without it: {safe_text(str(error), 100)}." if isinstance(error, NotRead) else ""
        step = "In a clone of BastionLab: pip install '.[tokenizers]'. Or use RemoteTokenizer.hashed(5000), which needs no file."
        raise InputError(msg, code="train.tokenizer", reason=reason, next_step=step) from None
    return own.ids, own.size, own.padding


def _of_library(text: str, found: dict[str, Any]) -> tuple[Ids, int, int]:
    from tokenizers import Tokenizer  # type: ignore[import-not-found,unused-ignore]

    try:
        made = Tokenizer.from_str(text)
    except Exception:  # noqa: BLE001 - the library raises bare exceptions
        msg = "This is no tokenizer file that the package tokenizers reads."
        raise InputError(msg, code="train.tokenizer", next_step="Give a tokenizer.json.") from None
    vocabulary = made.get_vocab(with_added_tokens=True)
    made.no_padding()

    def ids(text: str, most: int) -> list[int]:
        if made.truncation is None or made.truncation["max_length"] != most:
            made.enable_truncation(most)
        return list(made.encode(text).ids)

    return ids, max(vocabulary.values(), default=0) + 1, _padding(found, vocabulary)


def _padding(found: dict[str, Any], vocabulary: dict[str, int]) -> int:
    given = found.get("padding") or {}
    names = (given.get("pad_token"), "[PAD]", "<pad>")
    return next((vocabulary[n] for n in names if n in vocabulary), int(given.get("pad_id", 0)))


class WordPieces:
    """A WordPiece file as BERT's: cleaned, cut at white space and signs, then into the longest pieces that are known.

    What is read of it is what the library does (Hugging Face tokenizers); anything else raises `NotRead`.
    """

    def __init__(self, found: dict[str, Any]) -> None:
        model = found["model"]
        if model.get("type") != "WordPiece":
            raise NotRead("only WordLevel and WordPiece files are read")
        self.vocabulary: dict[str, int] = {str(k): int(v) for k, v in model["vocab"].items()}
        self._unknown = self.vocabulary[str(model.get("unk_token", "[UNK]"))]
        self._prefix = str(model.get("continuing_subword_prefix", "##"))
        self._longest = int(model.get("max_input_chars_per_word", 100))
        if self._longest > LONGEST_WORD:  # the time a word takes grows with the square of its length
            raise NotRead(f"words of up to {self._longest} characters are cut")
        added = found.get("added_tokens") or []
        for one in added:
            if one.get("normalized") or one.get("single_word") or one.get("lstrip") or one.get("rstrip"):
                raise NotRead(f"the added token {one.get('content')!r} is found in a way of its own")
        self._added = {str(one["content"]): int(one["id"]) for one in added}
        by_length = sorted(self._added, key=len, reverse=True)
        self._marks = re.compile("(" + "|".join(map(re.escape, by_length)) + ")") if by_length else None
        self._steps = list(_normalizers(found.get("normalizer")))
        self._cut = _cutter((found.get("pre_tokenizer") or {}).get("type"))
        self._before, self._after = _around(found.get("post_processor"))
        self.size = max([*self.vocabulary.values(), *self._added.values()]) + 1
        self.padding = _padding(found, self.vocabulary | self._added)

    def ids(self, text: str, most: int) -> list[int]:
        """Return the numbers of a text's pieces, with those that the file puts around them."""
        room = most - len(self._before) - len(self._after)
        if room < 0:
            return [*self._before, *self._after][:most]
        found: list[int] = []
        for i, part in enumerate(self._marks.split(text) if self._marks else [text]):
            if len(found) >= room:
                break
            if i % 2:
                found.append(self._added[part])
                continue
            for step in self._steps:
                part = step(part)
            for word in self._cut(part):
                found += self._pieces(word)
        return [*self._before, *found[:room], *self._after]

    def _pieces(self, word: str) -> list[int]:
        if len(word) > self._longest:
            return [self._unknown]
        pieces, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                number = self.vocabulary.get((self._prefix if start else "") + word[start:end])
                if number is not None:
                    pieces.append(number)
                    start = end
                    break
            else:
                return [self._unknown]
        return pieces


def _normalizers(made: dict[str, Any] | None) -> Iterator[Callable[[str], str]]:
    if made is None:
        return
    kind = made.get("type")
    if kind == "Sequence":
        for one in made["normalizers"]:
            yield from _normalizers(one)
    elif kind == "Lowercase":
        yield _lower
    elif kind == "StripAccents":
        yield _without_marks
    elif kind in ("NFC", "NFD", "NFKC", "NFKD"):
        yield lambda text: unicodedata.normalize(kind, text)
    elif kind == "BertNormalizer":
        if made.get("clean_text", True):
            yield _clean
        if made.get("handle_chinese_chars", True):
            yield _apart
        strip = made.get("strip_accents")
        if strip or (strip is None and made.get("lowercase", True)):
            yield lambda text: _without_marks(unicodedata.normalize("NFD", text))
        if made.get("lowercase", True):
            yield _lower
    else:
        raise NotRead(f"texts are prepared by {kind}")


def _cutter(kind: str | None) -> Callable[[str], list[str]]:
    if kind == "WhitespaceSplit":
        return str.split
    if kind == "BertPreTokenizer":
        return lambda text: "".join(f" {c} " if _sign(c) else c for c in text).split()
    raise NotRead(f"words are found by {kind}")


def _around(made: dict[str, Any] | None) -> tuple[list[int], list[int]]:
    """Return the numbers that are put before and after a text."""
    if made is None:
        return [], []
    if made.get("type") == "BertProcessing":
        return [int(made["cls"][1])], [int(made["sep"][1])]
    if made.get("type") != "TemplateProcessing":
        raise NotRead(f"texts are closed by {made.get('type')}")
    before: list[int] = []
    after: list[int] = []
    place = before
    for part in made["single"]:
        if "Sequence" in part:
            place = after
        else:
            place += [int(i) for i in made["special_tokens"][part["SpecialToken"]["id"]]["ids"]]
    return before, after


def _lower(text: str) -> str:
    # letter by letter: what a sigma becomes does not depend on where it stands
    return "".join(c.lower() for c in text)


def _without_marks(text: str) -> str:
    return "".join(c for c in text if unicodedata.category(c) != "Mn")


def _clean(text: str) -> str:
    kept = (c for c in text if c in "\t\n\r" or not (c == "\ufffd" or unicodedata.category(c)[0] == "C"))
    return "".join(" " if c.isspace() else c for c in kept)


def _apart(text: str) -> str:
    return "".join(f" {c} " if any(a <= ord(c) <= b for a, b in _CJK) else c for c in text)


def _sign(c: str) -> bool:
    return ("!" <= c <= "~" and not c.isalnum()) or unicodedata.category(c)[0] == "P"
