"""Tokenizers in cells: made, read from a file beside the notebook and nowhere else, completed, explained and bounded."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from bastion_plan.errors import BastionError

from bastion.language import Environment, Limits
from bastion.language.completion import complete, inspect_at

SOUND = {
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "WhitespaceSplit"},
    "model": {"type": "WordLevel", "vocab": {"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3}, "unk_token": "[UNK]"},
}


@pytest.fixture
def env(tmp_path, monkeypatch):
    """A session in a notebook's folder, with a tokenizer file below it and one beside it."""
    from fake_session import fake_connection

    here = tmp_path / "notebooks"
    (here / "data").mkdir(parents=True)
    for place in (here / "data" / "tokenizer.json", tmp_path / "elsewhere.json"):
        place.write_text(json.dumps(SOUND))
    monkeypatch.chdir(here)
    texts = pl.DataFrame({"text": ["Good and quick", None, "it is BAD"], "bad": [0, 0, 1]})
    return Environment(fake_connection({"texts": texts}, flavour="async"))


def failing(run, cell):
    with pytest.raises(BastionError) as error:
        run(cell)
    return error.value


def test_a_file_beside_the_notebook_makes_numbers_of_words(run):
    made = run('words = RemoteTokenizer.from_file("data/tokenizer.json")\nwords')
    assert repr(made.value) == "RemoteTokenizer: 4 words"
    assert run('[words.size, words.padding, words.numbers("Good or BAD", 4)]').value == [4, 0, [2, 1, 3, 0]]
    assert run('RemoteTokenizer({"good": 2}).numbers("good", 2)').value == [2, 0]
    assert run("RemoteTokenizer.hashed(50).size").value == 51
    assert run("nn.EmbeddingBag(words.size, 8, padding_idx=words.padding)").kind == "value"


def test_texts_of_a_frame_become_columns_that_a_model_takes(run):
    run('words = RemoteTokenizer.from_file("data/tokenizer.json")\ncut = words.encode(dataset("texts"), "text", 2)')
    found = run('cut.select(words.columns("text", 2)).fetch()').value
    assert found.rows() == [(2, 1), (0, 0), (1, 1)]
    assert run('cut.to_dataset(words.columns("text", 2), "bad").inputs').value == [["text:0", "text:1"]]
    error = failing(run, 'words.encode(dataset("texts").fetch(), "text")')
    assert error.code == "train.tokenizer"
    assert "numbers" in error.next_step


ELSEWHERE = [
    "../elsewhere.json", "{tmp}/elsewhere.json", "link.json", "data/../../elsewhere.json", "../nothing.json", "/nothing.json", ".hidden/tokenizer.json",
    "data/tokenizer.txt", "data", "", 3, "a\0b.json",
]  # fmt: skip


@pytest.mark.parametrize("path", ELSEWHERE)
def test_no_other_file_is_opened_and_nobody_learns_whether_there_is_one(run, tmp_path, path):
    Path("link.json").symlink_to(tmp_path / "elsewhere.json")
    Path(".hidden").mkdir()
    for place in (".hidden/tokenizer.json", "data/tokenizer.txt"):
        Path(place).write_text(json.dumps(SOUND))
    given = path.format(tmp=tmp_path) if isinstance(path, str) else path
    error = failing(run, f"RemoteTokenizer.from_file({given!r})")
    assert error.code == "train.tokenizer"
    assert error.message == "A cell reads tokenizer files (.json) of the notebook's own folder alone."


def test_what_is_no_tokenizer_file_reads_like_one_that_is_not_there(run):
    Path("other.json").write_text(json.dumps({"password": "secret"}))
    Path("words.json").mkdir()
    said = {str(failing(run, f'RemoteTokenizer.from_file("{name}.json")')) for name in ("other", "words", "nothing")}
    assert len(said) == 1
    assert "no tokenizer file" in said.pop()


def test_what_a_tokenizer_holds_is_counted_as_other_values_are(env, run):
    env.kept._limits = Limits(kept=10)
    run('RemoteTokenizer.from_file("data/tokenizer.json").size')
    run('first = RemoteTokenizer.from_file("data/tokenizer.json")')
    assert failing(run, 'second = [RemoteTokenizer.from_file("data/tokenizer.json")]*2').code == "language.memory"
    many = {**SOUND, "model": {**SOUND["model"], "vocab": {f"w{n}": n for n in range(5_000)}}}
    Path("many.json").write_text(json.dumps(many))
    env.limits = Limits(work=20_000)
    run('RemoteTokenizer.from_file("many.json").size')
    assert failing(run, 'for i in range(9):\n    RemoteTokenizer.from_file("many.json")').code == "language.limit"


def test_its_words_are_not_handed_out(run):
    for member in ("vocabulary", "unknown", "weight"):
        assert failing(run, f'RemoteTokenizer({{"good": 2}}).{member}').code == "language.member"


def test_completion_and_inspection_read_the_table(env, run):
    run('words = RemoteTokenizer.from_file("data/tokenizer.json")')
    members = ["columns", "encode", "numbers", "padding", "size"]
    for text, expected in {
        "RemoteTok": ["RemoteTokenizer"], "RemoteTokenizer.": ["from_file", "hashed"], "words.": members,
        'RemoteTokenizer.from_file("x").': members, 'words.encode(dataset("texts"), "text").sel': ["select"],
        "words.encode(": ["frame=", "column=", "max_length="],
    }.items():  # fmt: skip
        assert complete(env, text, len(text)).matches[: len(expected)] == expected, text
    for text, said in {
        "RemoteTokenizer(": "word -> number", "RemoteTokenizer.from_file(": "in the notebook's folder", "words.encode(": "tokenizer.encode(frame, column",
    }.items():  # fmt: skip
        assert said in inspect_at(env, text, len(text)), text
