"""Who is at an end of the wire: a name, a CURVE key pair for the channel and an Ed25519 key for signed statements.

Two files on disk: `NAME.key` (secret, mode 0600, sealed with a passphrase where one was given) and `NAME.pub` (to hand
out). Both are TOML text.
INVARIANT: secret keys appear in no repr, no error and no pickle.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import msgpack  # type: ignore[import-untyped,unused-ignore]
from bastion_plan.errors import InputError, NotAuthorised
from nacl.exceptions import BadSignatureError
from nacl.public import PrivateKey
from nacl.signing import SigningKey, VerifyKey
from zmq.utils import z85

from bastion_wire import keyfile, sealing
from bastion_wire.files import replace, write_new

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_PURPOSE = "bastionlab.statement.1"
_RESERVED = frozenset({"purpose", "audience", "time", "nonce"})
_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aiou"


def check_name(name: str) -> str:
    """Return `name` if it may name an identity.

    Raises:
        InputError: input.name, other than 1 to 64 ASCII letters, digits or ._@- beginning with a letter or digit.
    """
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        msg = "This cannot be the name of an identity."
        raise InputError(
            msg,
            code="input.name",
            reason="A name has 1 to 64 letters a-z, digits or . _ @ -, and begins with a letter or a digit.",
        )
    return name


@dataclass(frozen=True, slots=True)
class PublicIdentity:
    """What others know of an identity: name, CURVE public key (40 Z85 characters), Ed25519 verify key (32 bytes)."""

    name: str
    curve_key: str
    verify_key: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        check_curve_key(self.curve_key)
        if not isinstance(self.verify_key, bytes) or len(self.verify_key) != 32:
            raise keyfile.bad("The verify key is not 32 bytes long.")

    @property
    def fingerprint(self) -> str:
        """The CURVE key as words to read aloud."""
        return fingerprint(self.curve_key)

    def to_text(self) -> str:
        """Return the text of `NAME.pub`."""
        note = "Public keys of a BastionLab identity. Not secret: give this file to whoever runs the server."
        return keyfile.text_of(note, name=self.name, curve_key=self.curve_key, verify_key=self.verify_key.hex())

    @classmethod
    def from_text(cls, text: str) -> PublicIdentity:
        """Return the identity of the text of a `NAME.pub` file.

        Raises:
            InputError: input.public-key, anything that `to_text` would not have written (comments apart).
        """
        fields = keyfile.fields_of(text, {"name", "curve_key", "verify_key"})
        try:
            verify_key = bytes.fromhex(fields["verify_key"])
        except ValueError:
            raise keyfile.bad("The verify key is not hexadecimal.") from None
        return cls(fields["name"], fields["curve_key"], verify_key)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PublicIdentity:
        """Read a `NAME.pub` file."""
        return cls.from_text(keyfile.read(Path(path)))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Identity:
    """An identity with its secrets. Make one with `create`, read one with `load`."""

    public: PublicIdentity
    curve_secret: str = field(repr=False)
    _signing: SigningKey = field(repr=False)

    @classmethod
    def create(
        cls, name: str, directory: str | os.PathLike[str] | None = None, *, passphrase: str | None = None
    ) -> Identity:
        """Make fresh keys; with a directory, write `NAME.key` (0600) and `NAME.pub` into it.

        passphrase: seals `NAME.key`; None leaves the keys as they are.

        Raises:
            InputError: input.name, or input.identity-exists where the directory already holds one of that name;
                input.passphrase-weak.
        """
        check_name(name)
        identity = cls._of(name, bytes(PrivateKey.generate()), bytes(SigningKey.generate()))
        if directory is not None:
            identity.save(directory, passphrase=passphrase)
        return identity

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, passphrase: str | None = None) -> Identity:
        """Read a `NAME.key` file. passphrase: of a sealed one; not looked at for others.

        Raises:
            InputError: input.key-file, not readable or not such a file; input.key-file-mode, readable by others;
                input.passphrase, a sealed one and no passphrase; input.passphrase-wrong.
        """
        path = Path(path)
        text = keyfile.read(path, secret=True)
        fields = keyfile.fields_of(text, {"name", "curve_secret", "signing_seed"}, {"name", "salt", "sealed"})
        try:
            if "sealed" in fields:
                both = _unsealed(fields, passphrase)
                curve, seed = both[:32], both[32:]
            else:
                curve, seed = bytes.fromhex(fields["curve_secret"]), bytes.fromhex(fields["signing_seed"])
        except ValueError:
            raise keyfile.bad("The keys are not hexadecimal.") from None
        if len(curve) != 32 or len(seed) != 32:
            raise keyfile.bad("The keys are not 32 bytes long.")
        return cls._of(check_name(fields["name"]), curve, seed)

    @classmethod
    def _of(cls, name: str, curve: bytes, seed: bytes) -> Identity:
        signing = SigningKey(seed)
        public = PublicIdentity(
            name, z85.encode(bytes(PrivateKey(curve).public_key)).decode(), bytes(signing.verify_key)
        )
        return cls(public, z85.encode(curve).decode(), signing)

    @property
    def name(self) -> str:
        """The name others see."""
        return self.public.name

    @property
    def curve_key(self) -> str:
        """The CURVE public key, 40 Z85 characters."""
        return self.public.curve_key

    @property
    def verify_key(self) -> bytes:
        """The Ed25519 verify key, 32 bytes."""
        return self.public.verify_key

    def save(self, directory: str | os.PathLike[str], *, passphrase: str | None = None) -> Path:
        """Write `NAME.key` (0600) and `NAME.pub` into a directory; return the path of the first.

        passphrase: seals `NAME.key`.

        Raises:
            InputError: input.identity-exists, nothing is ever overwritten; input.passphrase-weak.
        """
        directory = Path(directory)
        text = self._secret_text(passphrase)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = directory / f"{self.name}.key"
        try:
            write_new(path, text.encode(), mode=0o600)
            write_new(directory / f"{self.name}.pub", self.public.to_text().encode(), mode=0o644)
        except FileExistsError:
            msg = f"There is already an identity {self.name!r} in this directory."
            raise InputError(
                msg, code="input.identity-exists", next_step="Load it, or choose another name or directory."
            ) from None
        return path

    def reseal(self, path: str | os.PathLike[str], passphrase: str | None) -> None:
        """Write this identity's `NAME.key` anew, sealed with another passphrase; None leaves the keys as they are.

        Raises:
            InputError: input.passphrase-weak; input.key-file, the file cannot be written.
        """
        text = self._secret_text(passphrase)
        try:
            replace(Path(path), text.encode(), mode=0o600)
        except OSError:
            msg = f"The key file {Path(path).name!r} cannot be written."
            raise InputError(msg, code="input.key-file", next_step="Check the path.") from None

    def _secret_text(self, passphrase: str | None) -> str:
        curve, seed = z85.decode(self.curve_secret.encode()), bytes(self._signing)
        if passphrase is None:
            note = "SECRET keys of a BastionLab identity. Whoever has this file is you."
            return keyfile.text_of(note, name=self.name, curve_secret=curve.hex(), signing_seed=seed.hex())
        salt, sealed = sealing.seal(curve + seed, passphrase)
        note = "SECRET keys of a BastionLab identity, sealed with a passphrase."
        return keyfile.text_of(note, name=self.name, salt=salt.hex(), sealed=sealed.hex())

    def sign(self, data: bytes) -> bytes:
        """Return the Ed25519 signature (64 bytes) of `data`. The caller gives `data` a purpose of its own."""
        return bytes(self._signing.sign(data).signature)

    def sign_statement(self, statement: Mapping[str, Any], *, audience: str = "", now: float | None = None) -> bytes:
        """Return signature and canonical bytes of a statement, with purpose, time and a fresh nonce of 16 bytes.

        audience: whom it is for (a server's CURVE key); it then means nothing to anyone else.
        """
        if _RESERVED & statement.keys():
            msg = f"A statement has no fields of its own named {', '.join(sorted(_RESERVED))}."
            raise InputError(msg, code="input.statement")
        payload = canonical({
            **statement, "purpose": _PURPOSE, "audience": audience, "nonce": os.urandom(16),
            "time": time.time() if now is None else now,
        })  # fmt: skip
        return self.sign(_PURPOSE.encode() + b"\0" + payload) + payload

    def __repr__(self) -> str:
        return f"Identity({self.name!r}, {self.curve_key!r})"

    def __reduce__(self) -> NoReturn:
        msg = "An identity holds secret keys and is not pickled."
        raise TypeError(msg)


def verify_statement(
    verify_key: bytes, signed: bytes, *, audience: str = "", max_age: float | None = 300.0, now: float | None = None
) -> dict[str, Any]:
    """Return the fields of a signed statement, with "time" (seconds since 1970) and "nonce" (16 bytes).

    max_age: seconds that its time may differ from `now` either way; None to check the signature only (audit). Whether
    the nonce was seen before is the server's to remember, for `max_age` seconds.

    Raises:
        NotAuthorised: wire.auth.signature, wire.auth.stale, wire.auth.audience.
    """
    signature, payload = signed[:64], signed[64:]
    try:
        VerifyKey(verify_key).verify(_PURPOSE.encode() + b"\0" + payload, signature)
        statement = msgpack.unpackb(payload, strict_map_key=True)
    except (BadSignatureError, ValueError, TypeError, msgpack.exceptions.UnpackException):
        statement = None
    if (
        not isinstance(statement, dict)
        or statement.pop("purpose", None) != _PURPOSE
        or not isinstance(statement.get("time"), float)
        or not isinstance(statement.get("nonce"), bytes)
    ):
        msg = "The signature does not belong to this statement and identity."
        raise NotAuthorised(msg, code="wire.auth.signature", next_step="Sign with the key the server knows.")
    if statement.pop("audience", None) != audience:
        raise NotAuthorised("The statement was signed for another server.", code="wire.auth.audience")
    if max_age is not None and not abs((time.time() if now is None else now) - statement["time"]) <= max_age:
        raise NotAuthorised(
            "The signed statement is too old, or from the future.",
            code="wire.auth.stale",
            next_step="Check the clocks of both machines, then sign again.",
        )
    return statement


def canonical(value: Any) -> bytes:
    """Return MessagePack bytes that are the same for equal values: map keys sorted, shortest forms.

    Raises:
        InputError: input.statement, for what is not plain data.
    """
    try:
        return bytes(msgpack.packb(_sorted(value)))
    except (TypeError, ValueError, OverflowError, RecursionError):
        msg = "A statement is made of maps with text keys, lists, text, bytes, numbers, true, false and none."
        raise InputError(msg, code="input.statement") from None


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list | tuple) else value


def check_curve_key(key: str) -> str:
    """Return `key` if it is a CURVE key of 40 Z85 characters.

    Raises:
        InputError: input.public-key.
    """
    try:
        valid = isinstance(key, str) and len(key) == 40 and z85.encode(z85.decode(key.encode("ascii"))).decode() == key
    except (ValueError, KeyError, struct.error):
        valid = False
    if not valid:
        raise keyfile.bad("A CURVE key has 40 characters of the Z85 alphabet.")
    return key


def fingerprint(curve_key: str) -> str:
    """Return six pronounceable words (96 bits of the SHA-256 of the key; the proquint alphabet).

    >>> fingerprint("0" * 40).count("-")
    5
    """
    digest = hashlib.sha256(curve_key.encode()).digest()
    return "-".join(_word(int.from_bytes(digest[i : i + 2], "big")) for i in range(0, 12, 2))


def _word(bits: int) -> str:
    return (
        _CONSONANTS[bits >> 12] + _VOWELS[bits >> 10 & 3] + _CONSONANTS[bits >> 6 & 15] + _VOWELS[bits >> 4 & 3]
        + _CONSONANTS[bits & 15]
    )  # fmt: skip


def _unsealed(fields: dict[str, str], passphrase: str | None) -> bytes:
    """Return the secrets of a sealed file."""
    name, salt, sealed = check_name(fields["name"]), bytes.fromhex(fields["salt"]), bytes.fromhex(fields["sealed"])
    if len(salt) != sealing.SALT:
        raise keyfile.bad("The salt has another length.")
    if passphrase is None:
        msg = f"The key of {name} is sealed with a passphrase."
        raise InputError(
            msg,
            code="input.passphrase",
            next_step="Give it where you are asked, or Identity.load(PATH, passphrase=…) in a program.",
            details={"identity": name},
        )
    return sealing.unseal(salt, sealed, passphrase)
