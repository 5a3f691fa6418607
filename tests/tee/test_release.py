"""The box a dataset's key travels in: for one server, one dataset, one owner, some minutes."""

from __future__ import annotations

import msgspec
import pytest
from bastion_plan.errors import AttestationError
from bastion_tee.release import KEY, LASTS, Release, seal, unseal
from nacl.public import PrivateKey, PublicKey, SealedBox

SERVER, NOW, OWNER, SEEN = PrivateKey.generate(), 1_000_000.0, b"o" * 32, b"e" * 32
RIGHT = Release("d-1", b"k" * KEY, SEEN, NOW + LASTS, OWNER)


def opened(sealed: bytes, **changes: object) -> Release:
    asked = {"dataset": "d-1", "owner": OWNER, "made": lambda digest: digest == SEEN, "now": NOW} | changes
    return unseal(sealed, SERVER, **asked)  # type: ignore[arg-type]


def box(**changes: object) -> bytes:
    return seal(msgspec.structs.replace(RIGHT, **changes), bytes(SERVER.public_key))


def test_it_opens_for_the_server_it_was_made_for() -> None:
    assert opened(box()) == RIGHT
    assert "kkk" not in repr(RIGHT) and "kkk" not in str(RIGHT)


@pytest.mark.parametrize(
    ("sealed", "asked", "code"),
    [
        (seal(RIGHT, bytes(PrivateKey.generate().public_key)), {}, "sealed"),
        (b"", {}, "sealed"),
        (b"x" * 5000, {}, "sealed"),
        (SealedBox(PublicKey(bytes(SERVER.public_key))).encrypt(b"\xc1"), {}, "sealed"),
        (box(key=b"short"), {}, "sealed"),
        (box(), {"dataset": "d-2"}, "dataset"),
        (box(), {"owner": b"p" * 32}, "owner"),
        (box(), {"made": lambda _: False}, "evidence"),
        (box(), {"now": NOW + LASTS + 1}, "expired"),
        (box(expires=NOW + 3 * LASTS), {}, "expired"),
        (box(expires=float("nan")), {}, "expired"),
        (box(expires=float("inf")), {}, "expired"),
    ],
    ids=[
        "another-server",
        "empty",
        "too-long",
        "no-msgpack",
        "short-key",
        "dataset",
        "owner",
        "evidence",
        "late",
        "far",
        "nan",
        "inf",
    ],
)
def test_what_is_not_right_has_its_code(sealed: bytes, asked: dict[str, object], code: str) -> None:
    with pytest.raises(AttestationError) as caught:
        opened(sealed, **asked)
    assert caught.value.code == f"tee.release.{code}" and caught.value.next_step


def test_a_changed_byte_opens_nothing() -> None:
    sealed = box()
    for at in range(0, len(sealed), 7):
        with pytest.raises(AttestationError):
            opened(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
