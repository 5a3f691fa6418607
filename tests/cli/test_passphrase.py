"""Keys under a passphrase, from the command line."""

from __future__ import annotations

import pytest
from bastion_cli.main import main
from bastion_plan.errors import InputError
from click.testing import CliRunner, Result

from bastion import Identity

FIRST, SECOND = "seven green kettles", "eight blue pans"


@pytest.fixture
def keys(tmp_path, monkeypatch):
    monkeypatch.setenv("BASTION_KEYS", str(tmp_path))
    return tmp_path


def run(*words: str, typed: tuple[str, ...] = ()) -> Result:
    result = CliRunner().invoke(main, ["keys", *words], input="".join(f"{line}\n" for line in typed))
    assert not any(line in result.output for line in typed)
    return result


def test_a_key_is_made_sealed_changed_and_opened(keys):
    made = run("create", "alice", "--passphrase", typed=(FIRST, FIRST))
    assert made.exit_code == 0, made.output
    path = keys / "alice.key"
    with pytest.raises(InputError):
        Identity.load(path)
    assert Identity.load(path, passphrase=FIRST).name == "alice"
    assert run("passphrase", "alice", typed=(FIRST, SECOND, SECOND)).exit_code == 0
    assert Identity.load(path, passphrase=SECOND).name == "alice"
    wrong = run("passphrase", "alice", "--remove", typed=(FIRST,))
    assert wrong.exit_code != 0
    assert "input.passphrase-wrong" in wrong.output
    assert run("passphrase", str(path), "--remove", typed=(SECOND,)).exit_code == 0
    assert Identity.load(path).name == "alice"


def test_a_weak_one_makes_no_key(keys):
    result = run("create", "bob", "--passphrase", typed=("kettles", "kettles"))
    assert "input.passphrase-weak" in result.output
    assert not list(keys.iterdir())
