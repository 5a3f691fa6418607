"""Key files under a passphrase."""

from __future__ import annotations

import stat

import pytest
from bastion_plan.errors import InputError
from bastion_wire.identity import Identity

PASSPHRASE = "seven green kettles"


def code_of(work) -> str:
    with pytest.raises(InputError) as caught:
        work()
    assert PASSPHRASE not in str(caught.value) + str(caught.value.details) + repr(caught.value.__context__)
    return caught.value.code


def test_only_the_passphrase_opens_it(tmp_path):
    made = Identity.create("alice", tmp_path, passphrase=PASSPHRASE)
    path = tmp_path / "alice.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = Identity.load(path, passphrase=PASSPHRASE)
    assert (found.name, found.curve_key, found.verify_key) == ("alice", made.curve_key, made.verify_key)
    assert found.curve_secret == made.curve_secret
    assert found.sign(b"x") == made.sign(b"x")
    for secret in (bytes(made._signing).hex(), made.curve_secret, PASSPHRASE):
        assert secret not in path.read_text()
    assert code_of(lambda: Identity.load(path)) == "input.passphrase"
    assert code_of(lambda: Identity.load(path, passphrase=PASSPHRASE + " ")) == "input.passphrase-wrong"


def test_a_changed_file_is_not_opened(tmp_path):
    Identity.create("alice", tmp_path, passphrase=PASSPHRASE)
    path = tmp_path / "alice.key"
    text = path.read_text()
    path.write_text(_flip(text))
    assert code_of(lambda: Identity.load(path, passphrase=PASSPHRASE)) == "input.passphrase-wrong"
    path.write_text(text.replace('salt = "', 'salt = "00'))
    assert code_of(lambda: Identity.load(path, passphrase=PASSPHRASE)) == "input.public-key"
    path.write_text(text.replace('sealed = "', 'sealed = "zz'))
    assert code_of(lambda: Identity.load(path, passphrase=PASSPHRASE)) == "input.public-key"


def _flip(text: str) -> str:
    head, begin, tail = text.partition('sealed = "')
    return head + begin + f"{int(tail[0], 16) ^ 1:x}" + tail[1:]


def test_a_key_is_sealed_anew_and_opened_for_good(tmp_path):
    made = Identity.create("alice", tmp_path)
    path = tmp_path / "alice.key"
    before = path.read_text()
    assert code_of(lambda: made.reseal(path, "short")) == "input.passphrase-weak"
    assert path.read_text() == before
    made.reseal(path, PASSPHRASE)
    assert code_of(lambda: Identity.load(path)) == "input.passphrase"
    Identity.load(path, passphrase=PASSPHRASE).reseal(path, None)
    assert path.read_text() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alice.key", "alice.pub"]
