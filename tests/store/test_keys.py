"""The server's key file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bastion_plan.errors import ServerError
from bastion_server.store.keys import FILE_NAME, load_or_create
from nacl.signing import VerifyKey


def test_made_once_and_private(tmp_path: Path) -> None:
    keys = load_or_create(tmp_path)
    again = load_or_create(tmp_path, may_create=False)
    assert keys.curve_public == again.curve_public
    assert keys.curve_secret == again.curve_secret
    assert keys.verify_key == again.verify_key
    assert again.unwrap(keys.wrap(b"k" * 32)) == b"k" * 32
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == [FILE_NAME]
    assert len(keys.curve_public) == len(keys.curve_secret) == 40
    VerifyKey(keys.verify_key).verify(b"text", keys.sign(b"text"))


def test_three_different_keys_that_no_repr_shows(tmp_path: Path) -> None:
    keys = load_or_create(tmp_path)
    assert len({bytes(keys.curve), bytes(keys.signing), bytes(keys.box)}) == 3
    assert repr(keys) == "ServerKeys()"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_readable_key_file_is_refused(tmp_path: Path, mode: int) -> None:
    load_or_create(tmp_path)
    (tmp_path / FILE_NAME).chmod(mode)
    with pytest.raises(ServerError) as caught:
        load_or_create(tmp_path)
    assert caught.value.code == "server.keys.permissions"


def test_a_missing_key_file_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(ServerError) as caught:
        load_or_create(tmp_path, may_create=False)
    assert caught.value.code == "server.keys.missing"
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_key_file_is_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    path = tmp_path / FILE_NAME
    good = path.read_text()
    fields = json.loads(good)
    swapped = fields | {"curve": fields["box"], "box": fields["curve"]}
    for text in ("", "{}", "[]", good[:-20], json.dumps(swapped), json.dumps(fields | {"format": "other"})):
        path.write_text(text)
        with pytest.raises(ServerError) as caught:
            load_or_create(tmp_path)
        assert caught.value.code == "server.keys.damaged"


def test_a_changed_wrapped_key_does_not_open(tmp_path: Path) -> None:
    keys = load_or_create(tmp_path)
    wrapped = bytearray(keys.wrap(b"k" * 32))
    wrapped[-1] ^= 1
    for bad in (bytes(wrapped), b"", b"short"):
        with pytest.raises(ServerError) as caught:
            keys.unwrap(bad)
        assert caught.value.code == "server.keys.unwrap"
