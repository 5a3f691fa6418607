"""Texts as numbers of words: of an owner's table before the upload, and by expressions where that may be."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest
from bastion_plan.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from fake_session import fake_connection

from bastion.training import RemoteTokenizer

TEXTS = ["Good and quick", "it is BAD", "", None, "never   again again again again"]
FILE = {
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "WhitespaceSplit"},
    "model": {
        "type": "WordLevel",
        "vocab": {"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3, "is": 4},
        "unk_token": "[UNK]",
    },
}


def written(folder: Path, **changed: object) -> Path:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**FILE, **changed}))
    return path


def test_a_table_and_a_frame_get_the_same_numbers(tmp_path: Path) -> None:
    table = pl.DataFrame({"text": TEXTS})
    for tokenizer in (RemoteTokenizer.from_file(written(tmp_path)), RemoteTokenizer.hashed(50)):
        own = tokenizer.encode(table, "text", 4)["tokens"].to_list()
        connection = fake_connection({"texts": table})
        frame = tokenizer.encode(connection.dataset("texts"), "text", 4)
        there = frame.select(tokenizer.columns("text", 4)).fetch().rows()
        connection.close()
        assert [list(row) for row in there] == own
        assert max(n for row in own for n in row) < tokenizer.size
    assert RemoteTokenizer.from_file(written(tmp_path)).numbers("Good is best", 4) == [2, 4, 1, 0]


def test_what_no_expression_can_do_is_said(tmp_path: Path) -> None:
    refused = {
        "WordPiece tokenizer cuts words into pieces": {"model": {"type": "WordPiece", "vocab": {"a": 1}}},
        "prepares texts": {"pre_tokenizer": {"type": "ByteLevel"}},
    }
    for words, changed in refused.items():
        with pytest.raises(InputError, match=words) as error:
            RemoteTokenizer.from_file(written(tmp_path, **changed))
        assert error.value.code == "train.tokenizer"
        assert error.value.next_step
    with pytest.raises(InputError, match="no tokenizer file"):
        RemoteTokenizer.from_file(tmp_path / "nothing.json")
    connection = fake_connection({"texts": pl.DataFrame({"text": TEXTS})})
    with pytest.raises(InputError, match="more than one query may hold"):
        RemoteTokenizer({f"w{i}": i for i in range(9_000)}).encode(connection.dataset("texts"), "text", 32)
    connection.close()
