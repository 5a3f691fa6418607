"""The server's own keys: made once, kept in one file that only the server's user can read."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from bastion_plan.errors import ServerError
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox
from nacl.signing import SigningKey
from zmq.utils import z85

from bastion_server.store.files import DISK, Files

FORMAT = "bastion-server-keys-1"
FILE_NAME = "server.key"


@dataclass(frozen=True)
class ServerKeys:
    """Key material of one server.

    curve: Curve25519 pair of the CURVE channel. signing: Ed25519 key of audit checkpoints. box: Curve25519 pair that
    wraps the keys of sealed files. Each has one use only.
    """

    curve: PrivateKey = field(repr=False)
    signing: SigningKey = field(repr=False)
    box: PrivateKey = field(repr=False)

    @property
    def curve_public(self) -> bytes:
        """The public CURVE key, 40 ASCII characters of Z85."""
        return z85.encode(bytes(self.curve.public_key))

    @property
    def curve_secret(self) -> bytes:
        """The secret CURVE key, 40 ASCII characters of Z85."""
        return z85.encode(bytes(self.curve))

    @property
    def verify_key(self) -> bytes:
        """The 32 bytes with which anyone checks the signatures of `sign`."""
        return bytes(self.signing.verify_key)

    def sign(self, text: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of `text`."""
        return self.signing.sign(text).signature

    def wrap(self, key: bytes) -> bytes:
        """Encrypt a file key so that only this server can open it."""
        return SealedBox(self.box.public_key).encrypt(key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Return the file key that `wrap` was given.

        Raises:
            ServerError: server.keys.unwrap, when it was wrapped for another server or was changed.
        """
        try:
            return SealedBox(self.box).decrypt(wrapped)
        except (CryptoError, ValueError, TypeError):
            msg = "A file key cannot be opened with this server's key."
            raise ServerError(
                msg,
                code="server.keys.unwrap",
                reason="It was wrapped for another server, or the catalogue was changed.",
                next_step="Restore the key file that belongs to this store.",
            ) from None


def load_or_create(directory: Path, *, may_create: bool = True, files: Files = DISK) -> ServerKeys:
    """Return the keys kept in `directory`, made on the first call (file mode 0600).

    Raises:
        ServerError: server.keys.missing (and `may_create` is false), server.keys.permissions (others can read the
            file), server.keys.damaged.
    """
    path = directory / FILE_NAME
    if not path.exists():
        if not may_create:
            msg = "The store has data but no key file."
            raise ServerError(
                msg,
                code="server.keys.missing",
                reason="Without its keys the server cannot open its datasets or continue its audit log.",
                next_step=f"Restore {FILE_NAME} from a backup, or start with an empty directory.",
            )
        keys = ServerKeys(PrivateKey.generate(), SigningKey.generate(), PrivateKey.generate())
        files.create_durably(path, _dump(keys))
        return keys
    if path.stat().st_mode & 0o077:
        msg = "Other users of this machine can read the server's key file."
        raise ServerError(
            msg,
            code="server.keys.permissions",
            reason=f"{FILE_NAME} must have mode 0600.",
            next_step=f"Run chmod 600 on {FILE_NAME}; if others may have read it, make new keys.",
        )
    return _parse(path.read_bytes())


def _dump(keys: ServerKeys) -> bytes:
    parts = {"curve": bytes(keys.curve), "signing": bytes(keys.signing), "box": bytes(keys.box)}
    text = {"format": FORMAT} | {name: base64.b64encode(key).decode() for name, key in parts.items()}
    return json.dumps(text | {"check": _check(parts)}, indent=1).encode()


def _parse(data: bytes) -> ServerKeys:
    try:
        text = json.loads(data)
        parts = {name: base64.b64decode(text[name], validate=True) for name in ("curve", "signing", "box")}
        if text["format"] != FORMAT or text["check"] != _check(parts):
            raise ValueError
        return ServerKeys(PrivateKey(parts["curve"]), SigningKey(parts["signing"]), PrivateKey(parts["box"]))
    except (ValueError, KeyError, TypeError, CryptoError):
        msg = "The server's key file is damaged."
        raise ServerError(msg, code="server.keys.damaged", next_step=f"Restore {FILE_NAME} from a backup.") from None


def _check(parts: dict[str, bytes]) -> str:
    return hashlib.sha256(b"".join(parts[name] for name in sorted(parts))).hexdigest()[:16]
