"""Texts as numbers of words: of an owner's table before the upload, and by expressions where that may be."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import polars as pl
import pytest
import tokenizers
from bastion_plan.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from fake_session import fake_connection

from bastion.client.training import wordpieces
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


def test_what_no_expression_can_do_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no tokenizer file"):
        RemoteTokenizer.from_file(tmp_path / "nothing.json")
    with pytest.raises(InputError, match="reads") as error:
        RemoteTokenizer.from_file(written(tmp_path, model={"type": "Magic", "vocab": {}}))
    assert error.value.code == "train.tokenizer"
    connection = fake_connection({"texts": pl.DataFrame({"text": TEXTS})})
    with pytest.raises(InputError, match="more than one query may hold"):
        RemoteTokenizer({f"w{i}": i for i in range(9_000)}).encode(connection.dataset("texts"), "text", 32)
    with pytest.raises(InputError, match="WordPiece tokenizer cuts words into pieces") as error:
        RemoteTokenizer.from_file(trained(tmp_path, "WordPiece")).encode(connection.dataset("texts"), "text", 4)
    assert "before the upload" in error.value.next_step
    connection.close()
    for kind in ("BPE", "Unigram"):
        path = trained(tmp_path, kind)
        with monkeypatch.context() as patch:
            patch.setattr(wordpieces, "LIBRARY", "no_such_package")
            with pytest.raises(InputError, match="not installed here") as error:
                RemoteTokenizer.from_file(path)
        assert error.value.next_step.startswith("In a clone of BastionLab: pip install '.[tokenizers]'")


@pytest.mark.timeout(30)
def test_what_would_not_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "deep.json").write_text("[" * 200_000)
    for name in ("pipe.json", "deep.json"):
        with pytest.raises(InputError, match="no tokenizer file"):
            RemoteTokenizer.from_file(tmp_path / name)
    monkeypatch.setattr(wordpieces, "LIBRARY", "no_such_package")
    path = trained(tmp_path, "WordPiece")
    made = json.loads(path.read_text())
    made["model"]["max_input_chars_per_word"] = 10**9
    path.write_text(json.dumps(made))
    with pytest.raises(InputError) as error:
        RemoteTokenizer.from_file(path)
    assert "words of up to 1000000000 characters" in error.value.reason
    for length in (0, 10**12, True, "4"):
        for work in (RemoteTokenizer.hashed(9).numbers, RemoteTokenizer.hashed(9).columns):
            with pytest.raises(InputError, match="from 1 to 1,024"):
                work("text", length)
    for wrong in ({"unknown": "1"}, {"padding": -1}):
        with pytest.raises(InputError, match="whole numbers from 0 on"):
            RemoteTokenizer({"good": 2}, **wrong)


def trained(folder: Path, kind: str) -> Path:
    """A tokenizer file as people have them, made by the library."""
    made = tokenizers.Tokenizer(getattr(tokenizers.models, kind)())
    before, normal, after = tokenizers.pre_tokenizers, tokenizers.normalizers, tokenizers.processors
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    if kind == "WordPiece":
        made.model.unk_token = "[UNK]"
        made.normalizer, made.pre_tokenizer = normal.BertNormalizer(), before.BertPreTokenizer()
        trainer = tokenizers.trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    elif kind == "BPE":
        made.pre_tokenizer = before.ByteLevel(add_prefix_space=False)
        trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    else:
        made.pre_tokenizer = before.Metaspace()
        trainer = tokenizers.trainers.UnigramTrainer(
            vocab_size=80, special_tokens=special, unk_token="[UNK]", show_progress=False
        )  # fmt: skip
    made.train_from_iterator(WORDS, trainer)
    ends = [(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    if kind == "WordPiece":
        made.post_processor = after.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    path = folder / f"{kind}.json"
    made.save(str(path))
    return path


WORDS = [
    "the quick brown fox jumps over the lazy dog",
    "a quicker fox, a lazier dog!",
    "jumping and jumped: over foxes",
    "déjà vu 中国",
] * 5
HARD = [
    "The quickest FOX", "", None, "jump-ing... (foxes)!", "Déjà vu, ÅNGSTRÖM", "中国 fox中国", "tab\tnew\nline\u00a0space\u200b", "x" * 120,
    "[SEP] in a text[CLS]", "\x00a\ufffdb", "ΑΣ ΣΑΣ", "costs $5 + 3^2", "e\u0301 \u0327", "many words " * 20, "🦊 fox🦊",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["WordPiece", "BPE", "Unigram"])
def test_files_of_pieces_are_read_as_their_library_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = trained(tmp_path, kind)
    library = tokenizers.Tokenizer.from_file(str(path))
    library.enable_padding(length=12, pad_id=library.token_to_id("[PAD]"))
    library.enable_truncation(12)
    truth = [library.encode(text or "").ids for text in HARD]
    readers = [RemoteTokenizer.from_file(path)]
    if kind == "WordPiece":  # read without the library, too
        monkeypatch.setattr(wordpieces, "LIBRARY", "no_such_package")
        readers.append(RemoteTokenizer.from_file(path))
        assert isinstance(readers[1]._ids.__self__, wordpieces.WordPieces)
    for reader in readers:
        found = reader.encode(pl.DataFrame({"text": HARD}), "text", 12)["tokens"]
        assert found.dtype == pl.Array(pl.Int64, 12)
        assert [list(row) for row in found] == truth
        assert reader.size == library.get_vocab_size()
        assert f"{reader.size} pieces of words ({kind})" in repr(reader)
