"""Texts as numbers of their words: the vocabulary of a local file, which is public.

An owner makes the numbers before the upload. Beside the data expressions can make them where data is not answered with noise:
before noise nothing may take longer because of one text, so texts are not cut there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from bastion_plan.errors import InputError

from bastion.client.training.datasets import zone_of
from bastion.client.training.exprs import pl_col
from bastion.render.safe_text import safe_text

if TYPE_CHECKING:
    from bastion.client.training.wordpieces import Ids

#: how texts are cut, by the name that tokenizer files have for it
_CUTS = {"WhitespaceSplit": r"\S+", "Whitespace": r"\w+|[^\w\s]+"}
#: values that a query may hold, of 100,000
MAX_VALUES = 90_000
MAX_FILE = 64 << 20


class RemoteTokenizer:
    """Makes numbers of words, or of their pieces, place by place.

    Numbers are those of the vocabulary. A word that is not in it is `unknown`, and where a text has ended is `padding`.

    Args:
        vocabulary: word -> number. unknown, padding: numbers. lower: whether texts are put into small letters first.
        cut: the pattern of a word.
    """

    def __init__(
        self, vocabulary: dict[str, int], *, unknown: int = 1, padding: int = 0, lower: bool = True, cut: str = r"\S+"
    ) -> None:
        good = bool(vocabulary) and all(
            isinstance(w, str) and isinstance(n, int) and n >= 0 for w, n in vocabulary.items()
        )
        if not good:
            msg = "A vocabulary is a dict of words and their numbers."
            raise InputError(msg, code="train.tokenizer", next_step='Write RemoteTokenizer({"good": 2, "bad": 3}).')
        if not all(isinstance(n, int) and n >= 0 for n in (unknown, padding)):
            msg = "The numbers of unknown words and of padding are whole numbers from 0 on."
            raise InputError(msg, code="train.tokenizer", next_step="Leave them out for 1 and 0.")
        self.vocabulary, self.unknown, self.padding = dict(vocabulary), unknown, padding
        self._lower, self._cut = lower, cut

    @classmethod
    def from_file(cls, path: str | Path) -> RemoteTokenizer:
        """Read a tokenizer file (tokenizer.json), of whole words (WordLevel) or of pieces (WordPiece, BPE, Unigram).

        Pieces are for one's own tables, before the upload: no expression of the server cuts words into pieces. They are cut by
        the package `tokenizers` (pip install '.[tokenizers]' in a clone); WordPiece files as BERT's are read without it, too.

        Raises:
            InputError: train.tokenizer: no such file; one that needs the package, which is not installed.
        """
        try:
            # a pipe or a device may never end
            plain = Path(path).is_file() and Path(path).stat().st_size <= MAX_FILE
            text = Path(path).read_text(encoding="utf-8") if plain else ""
            found = json.loads(text)
            whole = _whole_words(found)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            msg = "This is no tokenizer file."
            raise InputError(msg, code="train.tokenizer", next_step="Give a tokenizer.json.") from None
        if whole is not None:
            return cls(**whole)
        from bastion.client.training.wordpieces import reader

        return _Pieces(str(found["model"]["type"]), *reader(text, found))

    @classmethod
    def hashed(cls, buckets: int = 5_000, *, lower: bool = True) -> RemoteTokenizer:
        """Return a tokenizer without a vocabulary: words are put into so many buckets, by a hash; 0 where a text has ended."""
        if not isinstance(buckets, int) or not 1 <= buckets <= 1_000_000:
            msg = "The number of buckets is a whole number from 1 to 1,000,000."
            raise InputError(msg, code="train.tokenizer", next_step="Write RemoteTokenizer.hashed(5000).")
        return _Hashed(buckets, lower=lower)

    @property
    def size(self) -> int:
        """How many numbers there are: what nn.Embedding needs."""
        return max([*self.vocabulary.values(), self.unknown, self.padding]) + 1

    @property
    def weight(self) -> int:
        """How many words or pieces it holds in memory."""
        return len(self.vocabulary)

    def columns(self, column: str, max_length: int) -> list[str]:
        """Return the names of the columns that `encode` makes: what `to_dataset(inputs=…)` takes."""
        _check_length(max_length)
        return [f"{column}:{place}" for place in range(max_length)]

    def encode(self, frame: Any, column: str, max_length: int = 32, name: str = "tokens") -> Any:
        """Return a table with the word numbers of its texts.

        Args:
            frame: one's own `polars.DataFrame`, which gets one column `name` of arrays; or a frame of the server, which gets
                a column for each place (see `columns`). column: of texts. max_length: words of a text that count.

        Raises:
            InputError: train.tokenizer: too many words and places together; data that is answered with noise.
        """
        _check_length(max_length)
        if isinstance(frame, pl.DataFrame):
            rows = self._rows(frame[column], max_length)
            return frame.with_columns(pl.Series(name, rows, dtype=pl.Array(pl.Int64, max_length)))
        self._check_expressions()
        if zone_of(frame) == "private":
            msg = "Texts of data that is answered with noise are not cut into words beside the data."
            reason = "How long that takes would depend on a single person's text."
            step = 'Ask the owner for a column of token numbers: tokenizer.encode(table, "text") makes one before the upload.'
            raise InputError(msg, code="train.tokenizer", reason=reason, next_step=step)
        values = 2 * len(self.vocabulary) * max_length
        if values > MAX_VALUES:
            msg = f"{len(self.vocabulary):,} words at {max_length} places are more than one query may hold."
            step = f"Keep {MAX_VALUES // 2 // max_length:,} words, or use RemoteTokenizer.hashed(5000)."
            raise InputError(msg, code="train.tokenizer", next_step=step)
        text: Any = pl_col(column)
        words = (text.str.to_lowercase() if self._lower else text).str.extract_all(self._cut)
        made = [
            self._numbers(words.list.get(place, null_on_oob=True)).fill_null(self.padding).cast(pl.Int64).alias(name)
            for place, name in enumerate(self.columns(column, max_length))
        ]
        return frame.with_columns(made)

    def numbers(self, text: str | None, max_length: int = 32) -> list[int]:
        """Return the numbers of the words of one text of one's own; `padding` where it is shorter than `max_length` words."""
        _check_length(max_length)
        return self._rows(pl.Series([text], dtype=pl.String), max_length)[0]

    def _rows(self, texts: pl.Series, max_length: int) -> list[list[int]]:
        """Return the numbers of each text, cut by the engine that cuts texts on a server."""
        lower = texts.str.to_lowercase() if self._lower else texts
        known: dict[str, int] = {}
        rows = []
        for words in lower.str.extract_all(self._cut).to_list():
            row = [known[w] if w in known else known.setdefault(w, self._number(w)) for w in (words or [])[:max_length]]
            rows.append(row + [self.padding] * (max_length - len(row)))
        return rows

    def _check_expressions(self) -> None:
        """Check that expressions can do what this does."""

    def _number(self, word: str) -> int:
        return self.vocabulary.get(word, self.unknown)

    def _numbers(self, word: Any) -> Any:
        known = self.vocabulary
        numbers = word.replace_strict(list(known), list(known.values()), default=self.unknown)
        from bastion.expr.toplevel import when

        return when(word.is_null()).then(None).otherwise(numbers)

    def __repr__(self) -> str:
        return f"RemoteTokenizer: {len(self.vocabulary):,} words"


class _Hashed(RemoteTokenizer):
    """Words by their hash."""

    def __init__(self, buckets: int, *, lower: bool) -> None:
        self.vocabulary, self.unknown, self.padding, self.buckets = {}, 1, 0, buckets
        self._lower, self._cut = lower, r"\S+"

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self.buckets + 1

    def _number(self, word: str) -> int:
        return int(pl.Series([word]).hash(1).item()) % self.buckets + 1

    def _numbers(self, word: Any) -> Any:
        from bastion.expr.toplevel import when

        return when(word.is_null()).then(None).otherwise(word.hash(1) % self.buckets + 1)

    def __repr__(self) -> str:
        return f"RemoteTokenizer: words in {self.buckets:,} buckets"


class _Pieces(RemoteTokenizer):
    """Pieces of words, by a file."""

    def __init__(self, kind: str, ids: Ids, size: int, padding: int) -> None:
        self._kind, self._ids, self._size, self.padding = kind, ids, size, padding

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self._size

    @property
    def weight(self) -> int:
        """How many pieces it holds in memory."""
        return self._size

    def _rows(self, texts: pl.Series, max_length: int) -> list[list[int]]:
        rows = [self._ids(text or "", max_length) for text in texts]
        return [row + [self.padding] * (max_length - len(row)) for row in rows]

    def _check_expressions(self) -> None:
        msg = f"A {safe_text(self._kind, 30)} tokenizer cuts words into pieces, which no expression of the server does."
        step = (
            'Ask the owner for a column of token numbers: tokenizer.encode(table, "text") makes one before the upload. Or use a '
            "tokenizer of whole words, or RemoteTokenizer.hashed(5000)."
        )
        raise InputError(msg, code="train.tokenizer", next_step=step)

    def __repr__(self) -> str:
        return f"RemoteTokenizer: {self._size:,} pieces of words ({safe_text(self._kind, 30)})"


def _check_length(max_length: int) -> None:
    if isinstance(max_length, bool) or not isinstance(max_length, int) or not 1 <= max_length <= 1_024:
        msg = "The length of a text is a whole number from 1 to 1,024."
        raise InputError(msg, code="train.tokenizer", next_step="Write max_length=32.")


def _whole_words(found: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a file of whole words comes to, None where it does more than expressions can do."""
    model = found["model"]
    cut = (found.get("pre_tokenizer") or {}).get("type", "WhitespaceSplit")
    normal = found.get("normalizer") or {}
    kinds = {normal.get("type"), *(one.get("type") for one in normal.get("normalizers", ()))} - {None, "Sequence"}
    if model["type"] != "WordLevel" or cut not in _CUTS or kinds - {"Lowercase"} or found.get("post_processor"):
        return None
    words = dict(model["vocab"])
    return {
        "vocabulary": words, "unknown": words.get(model.get("unk_token") or "[UNK]", 1),
        "padding": words.get((found.get("padding") or {}).get("pad_token") or "[PAD]", 0), "lower": "Lowercase" in kinds,
        "cut": _CUTS[cut],
    }  # fmt: skip
