"""Secret keys under a passphrase: Argon2id makes a key of it, XSalsa20-Poly1305 seals with that (both libsodium's).

INVARIANT: neither the passphrase nor what is sealed appears in an error.
"""

from __future__ import annotations

from bastion_plan.errors import InputError
from nacl import pwhash, utils
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

SALT = pwhash.argon2id.SALTBYTES
#: libsodium's "moderate" cost: about half a second and 256 MiB for each guess
_OPS, _MEMORY = pwhash.argon2id.OPSLIMIT_MODERATE, pwhash.argon2id.MEMLIMIT_MODERATE
MIN_LENGTH = 8
_MAX_LENGTH = 1024


def seal(secret: bytes, passphrase: str) -> tuple[bytes, bytes]:
    """Return (salt, sealed bytes) of a secret.

    Raises:
        InputError: input.passphrase-weak, shorter than MIN_LENGTH characters or longer than 1,024.
    """
    if not MIN_LENGTH <= len(passphrase) <= _MAX_LENGTH:
        msg = f"A passphrase has at least {MIN_LENGTH} characters."
        raise InputError(msg, code="input.passphrase-weak", next_step="Take a few words that do not belong together.")
    salt = utils.random(SALT)
    return salt, bytes(SecretBox(_key(passphrase, salt)).encrypt(secret))


def unseal(salt: bytes, sealed: bytes, passphrase: str) -> bytes:
    """Return what was sealed.

    Raises:
        InputError: input.passphrase-wrong, another passphrase, or the file was changed.
    """
    try:
        return bytes(SecretBox(_key(passphrase[:_MAX_LENGTH], salt)).decrypt(sealed))
    except (CryptoError, ValueError):
        msg = "This is not the passphrase of the key file."
        raise InputError(
            msg,
            code="input.passphrase-wrong",
            next_step="Try again; a forgotten one cannot be got back: make a new key.",
        ) from None


def _key(passphrase: str, salt: bytes) -> bytes:
    return pwhash.argon2id.kdf(SecretBox.KEY_SIZE, passphrase.encode("utf-8", "surrogatepass"), salt, _OPS, _MEMORY)
