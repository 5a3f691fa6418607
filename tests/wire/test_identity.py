"""Identities: names, files, signatures."""

from __future__ import annotations

import copy
import pickle
import stat
import time
from pathlib import Path

import pytest
from bastion_plan.errors import BastionError, InputError, NotAuthorised
from bastion_wire.identity import Identity, PublicIdentity, fingerprint, verify_statement
from hypothesis import given
from hypothesis import strategies as st


def test_files_are_written_once_with_their_modes_and_read_back(tmp_path: Path) -> None:
    made = Identity.create("alice", tmp_path / "new")
    secret, public = tmp_path / "new" / "alice.key", tmp_path / "new" / "alice.pub"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert sorted(p.name for p in secret.parent.iterdir()) == ["alice.key", "alice.pub"]
    loaded = Identity.load(secret)
    assert loaded.public == made.public == PublicIdentity.load(public)
    assert loaded.curve_secret == made.curve_secret
    assert verify_statement(made.verify_key, loaded.sign_statement({"a": 1}))["a"] == 1
    before = secret.read_bytes()
    with pytest.raises(InputError, match=r"input\.identity-exists"):
        Identity.create("alice", tmp_path / "new")
    assert secret.read_bytes() == before


def test_in_memory_without_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Identity.create("alice")
    assert list(tmp_path.iterdir()) == []


def test_a_secret_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Identity.create("alice", tmp_path)
    (tmp_path / "alice.key").chmod(0o640)
    with pytest.raises(InputError, match=r"input\.key-file-mode"):
        Identity.load(tmp_path / "alice.key")


@pytest.mark.parametrize("name", ["", ".", "..", "-a", "a/b", "a b", "a\n", "é", "invite:a", "a" * 65, "a\0", None, 3])
def test_names_that_could_be_something_else_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"input\.name"):
        Identity.create(name)


def test_secrets_show_nowhere() -> None:
    alice = Identity.create("alice")
    shown = repr(alice) + str(alice) + repr(alice.public) + f"{alice!s}" + repr([alice])
    for secret in (alice.curve_secret, bytes(alice._signing).hex(), str(bytes(alice._signing))):
        assert secret not in shown
    for copying in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copying(alice)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: b.decode("latin1")))
def test_any_text_is_a_bundle_or_an_input_error(text: str) -> None:
    with pytest.raises(InputError):
        PublicIdentity.from_text(text)


@pytest.mark.parametrize(
    "old_new",
    [
        ("name", "nome"),
        ('"alice"', '"../x"'),
        ("verify_key = ", 'more = "x"\nverify_key = '),
        ('curve_key = "', 'curve_key = "~'),
    ],
)
def test_a_damaged_bundle_is_refused(old_new: tuple[str, str]) -> None:
    text = Identity.create("alice").public.to_text()
    assert PublicIdentity.from_text(text).name == "alice"
    with pytest.raises(InputError):
        PublicIdentity.from_text(text.replace(*old_new, 1))


def test_fingerprints_are_six_words_and_tell_keys_apart() -> None:
    words = {Identity.create("a").public.fingerprint for _ in range(50)}
    assert len(words) == 50
    assert all(len(w.split("-")) == 6 and all(len(x) == 5 for x in w.split("-")) for w in words)
    assert fingerprint("0" * 40) == fingerprint("0" * 40)


def test_statements_are_bound_to_signer_content_audience_and_time() -> None:
    olga, mallory = Identity.create("olga"), Identity.create("mallory")
    signed = olga.sign_statement({"action": "decide", "list": (1, b"x"), "until": 2.5}, audience="S")
    found = verify_statement(olga.verify_key, signed, audience="S")
    assert found.pop("time") == pytest.approx(time.time(), abs=5)
    assert len(found.pop("nonce")) == 16
    assert found == {"action": "decide", "list": [1, b"x"], "until": 2.5}
    for key, data, audience, code in [
        (mallory.verify_key, signed, "S", "signature"),
        (olga.verify_key, signed[:-1] + bytes([signed[-1] ^ 1]), "S", "signature"),
        (olga.verify_key, b"\0" + signed[1:], "S", "signature"),
        (olga.verify_key, signed[:50], "S", "signature"),
        (olga.verify_key, b"", "S", "signature"),
        (b"short", signed, "S", "signature"),
        (olga.verify_key, signed, "T", "audience"),
        (olga.verify_key, signed, "", "audience"),
    ]:
        with pytest.raises(NotAuthorised) as caught:
            verify_statement(key, data, audience=audience)
        assert caught.value.code == f"wire.auth.{code}"
    now = time.time()
    for other in (now + 301, now - 301):
        with pytest.raises(NotAuthorised, match=r"wire\.auth\.stale"):
            verify_statement(olga.verify_key, signed, audience="S", now=other)
    assert verify_statement(olga.verify_key, signed, audience="S", now=now + 9e9, max_age=None)["action"] == "decide"


def test_two_signings_of_one_statement_differ_in_their_nonce() -> None:
    olga = Identity.create("olga")
    nonces = {verify_statement(olga.verify_key, olga.sign_statement({"a": 1}))["nonce"] for _ in range(20)}
    assert len(nonces) == 20


def test_a_time_that_is_not_a_number_is_never_fresh() -> None:
    olga = Identity.create("olga")
    with pytest.raises(NotAuthorised, match=r"wire\.auth\.stale"):
        verify_statement(olga.verify_key, olga.sign_statement({}, now=float("nan")))


@pytest.mark.parametrize("statement", [{"time": 1}, {"a": object()}, {"a": {1: 2}}, {"a": 1 << 70}])
def test_what_is_no_statement_is_refused(statement: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"input\.statement"):
        Identity.create("olga").sign_statement(statement)


@given(st.binary(max_size=200))
def test_any_bytes_are_no_statement(data: bytes) -> None:
    with pytest.raises(BastionError):
        verify_statement(bytes(range(32)), data)
