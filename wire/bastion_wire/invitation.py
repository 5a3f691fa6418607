"""The one-line token that lets a newcomer enrol: where the server is, its key, and a one-time CURVE key pair.

The server keeps only the public half of the one-time key (`keys/invites/NAME.invite`); the token holds both halves and
is as secret as a password until it is used or expires.
"""

from __future__ import annotations

import base64
import binascii
import time
from dataclasses import dataclass, field

import msgpack  # type: ignore[import-untyped,unused-ignore]
from bastion_plan.errors import BastionError, InputError
from nacl.public import PrivateKey
from zmq.utils import z85

from bastion_wire.identity import check_curve_key, check_name

_PREFIX = "bastion1."
_MAX_TOKEN = 1024


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation as the guest holds it.

    endpoint: "tcp://host:port". server_key: 40 Z85 characters. name: whom it is for. expires: seconds since 1970.
    secret: the one-time CURVE secret key, 40 Z85 characters (what `Session.open` takes as `enrol`).
    """

    endpoint: str
    server_key: str
    name: str
    expires: float
    secret: str = field(repr=False)

    @classmethod
    def create(cls, endpoint: str, server_key: str, name: str, *, lifetime: float = 7 * 86400.0) -> Invitation:
        """Make an invitation with a fresh one-time key. lifetime: seconds."""
        return cls(
            endpoint,
            check_curve_key(server_key),
            check_name(name),
            time.time() + lifetime,
            z85.encode(bytes(PrivateKey.generate())).decode(),
        )

    @property
    def curve_key(self) -> str:
        """The public half of the one-time key, 40 Z85 characters."""
        return public_half(self.secret)

    def to_token(self) -> str:
        """Return the token: one line of letters, digits, `.`, `-` and `_`."""
        packed = msgpack.packb(
            [self.endpoint, z85.decode(self.server_key), self.name, int(self.expires), z85.decode(self.secret)]
        )
        return _PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def from_token(cls, token: str) -> Invitation:
        """Return the invitation of a token.

        Raises:
            InputError: input.invite, not a token (a part of the line is missing, perhaps).
        """
        try:
            text = token.strip()
            if not text.startswith(_PREFIX) or len(text) > _MAX_TOKEN:
                raise ValueError
            body = text.removeprefix(_PREFIX)
            packed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
            endpoint, key, name, expires, secret = msgpack.unpackb(packed, use_list=False)
            types = (type(endpoint), type(key), type(name), type(expires), type(secret))
            if types != (str, bytes, str, int, bytes) or len(key) != 32 or len(secret) != 32 or len(endpoint) > 300:
                raise ValueError
            return cls(
                endpoint, z85.encode(key).decode(), check_name(name), float(expires), z85.encode(secret).decode()
            )
        except (ValueError, TypeError, binascii.Error, msgpack.exceptions.UnpackException, BastionError):
            msg = "This is not an invitation."
            raise InputError(
                msg,
                code="input.invite",
                reason=f"An invitation is one line that begins with {_PREFIX}",
                next_step="Copy the whole line again, or ask for a new one.",
            ) from None


def looks_like(text: str) -> bool:
    """Return whether a text is meant as a token (it may still be damaged)."""
    return text.strip().startswith(_PREFIX)


def decode(token: str) -> Invitation:
    """Return the invitation of a token; see `Invitation.from_token`."""
    return Invitation.from_token(token)


def public_half(secret: str) -> str:
    """Return the CURVE public key of a secret one, both 40 Z85 characters."""
    return z85.encode(bytes(PrivateKey(z85.decode(check_curve_key(secret))).public_key)).decode()
