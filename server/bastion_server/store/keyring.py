"""The keys of datasets that their owners keep: in this process' memory, for as long as the owner lets it have them.

A sealed file has a key of its own, wrapped for this server. The key of a file that holds anything of an owner-sealed dataset (its rows, what
was computed of them, what is remembered of answers) is wrapped by the keys of all those datasets as well.

INVARIANT: no such key is ever written anywhere. So whoever has the disk and the server's own keys, but not the owners', can open none of
these files; and a server that was started anew can open them only after each owner has released the key again.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
from bastion_plan.errors import ServerError
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from bastion_server.store.keys import ServerKeys

_PLAIN = 80  #: bytes of a file's key that is wrapped for the server alone
_FACTS = "facts"
HISTORY = "history"  #: files of histories
COVERED = b"\xc1"  #: begins what is covered: msgpack has no such byte, and JSON neither


@dataclass(frozen=True)
class Held:
    """A key that was released. owner: Ed25519 key of whose word counts. decided: digest of what that owner decided.

    domain: the unit domain of the dataset.
    """

    key: bytes = field(repr=False)
    owner: bytes
    decided: bytes
    domain: str


class _Wrapped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    under: tuple[str, ...]
    key: bytes


class KeyRing:
    """Wraps and unwraps keys of files. Any thread may use it."""

    def __init__(self, keys: ServerKeys) -> None:
        self._keys = keys
        self._held: dict[str, Held] = {}
        #: unit domains of all datasets whose key was ever held. INVARIANT: what is written of them after the key was taken back, by work
        #: that was under way, is not written without it: `wrap` refuses
        self._domains: dict[str, str] = {}
        self._retired: set[str] = set()
        self._drops: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, dataset: str, held: Held, since: int | None = None) -> bool:
        """Hold the key of a dataset. since: of `drops`; nothing is held, and False returned, if it was dropped again since then."""
        with self._lock:
            if since is not None and self._drops.get(dataset, 0) != since:
                return False
            self._held[dataset], self._domains[dataset] = held, held.domain
            return True

    def drops(self, dataset: str) -> int:
        """Return how often the key of a dataset was dropped."""
        return self._drops.get(dataset, 0)

    def drop(self, dataset: str) -> bool:
        """Hold the key of a dataset no longer; return whether it was held."""
        with self._lock:
            self._drops[dataset] = self._drops.get(dataset, 0) + 1
            return self._held.pop(dataset, None) is not None

    def forget(self, dataset: str) -> None:
        """Drop the key of a dataset that is gone, or never came to be."""
        self.drop(dataset)
        with self._lock:
            self._domains.pop(dataset, None)

    def trying(self, dataset: str, held: Held) -> KeyRing:
        """Return a ring of this server that holds one key alone: to try it."""
        ring = KeyRing(self._keys)
        ring.take(dataset, held)
        return ring

    def held(self, dataset: str) -> Held | None:
        """Return what is held of a dataset, or None."""
        return self._held.get(dataset)

    def of(self, datasets: Iterable[str]) -> tuple[str, ...]:
        """Return those of some datasets whose key is held, or was."""
        return tuple(sorted({dataset for dataset in datasets if dataset in self._domains}))

    def of_domain(self, domain: str) -> tuple[str, ...]:
        """Return the datasets of a unit domain whose key is held, or was."""
        return tuple(sorted(dataset for dataset, of in list(self._domains.items()) if of == domain))

    def sealed(self, domain: str) -> bool:
        """Whether the key of a dataset of a unit domain is held, or was."""
        return bool(self._domains) and domain in list(self._domains.values())

    def retire(self, dataset: str) -> None:
        """Write nothing more under the key of a dataset that is gone; what is under it still opens until `drop`."""
        with self._lock:
            self._retired.add(dataset)

    def restore(self, dataset: str) -> None:
        """Undo `retire`, where the dataset is not gone after all."""
        with self._lock:
            self._retired.discard(dataset)

    def writing(self, domain: str) -> tuple[str, ...]:
        """Return the datasets of a unit domain under whose keys its histories are written."""
        return tuple(dataset for dataset in self.of_domain(domain) if dataset not in self._retired)

    def wrap(self, key: bytes, under: Iterable[str] = (), use: str = "dataset") -> bytes:
        """Encrypt a file's key for this server, and by the keys of datasets. use: what the file is.

        Raises:
            ServerError: server.locked, the key of one of them is not held.
        """
        wrapped, names = self._keys.wrap(key), tuple(sorted(set(under)))
        for dataset in names:
            wrapped = bytes(self._box(dataset, use).encrypt(wrapped))
        return msgspec.msgpack.encode(_Wrapped(names, wrapped)) if names else wrapped

    def unwrap(self, wrapped: bytes, under: Iterable[str] = (), use: str = "dataset") -> bytes:
        """Return the key that `wrap` was given.

        INVARIANT: the catalogue, which may have been changed, says which file is whose. A file opens only for datasets that the caller
        names, whose owners' decisions it has looked at, and only as what it was written as.

        Raises:
            ServerError: server.locked; server.keys.unwrap.
        """
        # INVARIANT: whoever has the server's own keys can wrap for the server alone: where keys are held that opens nothing. Which file a
        # history is, is known (witness.py); those of before the first sealed table of their people are under no key
        needed = set() if use == HISTORY else set(self.of(under)) - self._retired
        if len(wrapped) == _PLAIN:
            return self._keys.unwrap(b"" if needed else wrapped)
        try:
            found = msgspec.msgpack.decode(wrapped, type=_Wrapped)
            inner = found.key
            if any(dataset not in self._held for dataset in found.under):
                raise locked()
            if not needed <= set(found.under) <= set(under):
                return self._keys.unwrap(b"")
            for dataset in reversed(found.under):
                inner = self._box(dataset, use).decrypt(inner)
        except (msgspec.MsgspecError, CryptoError, ValueError):
            return self._keys.unwrap(b"")
        return self._keys.unwrap(inner)

    def cover(self, text: bytes, datasets: Iterable[str], use: str) -> bytes:
        """Encrypt what a row holds by the keys of those datasets that are sealed; as it is where none is. use: what it is, and of what.

        Raises:
            ServerError: server.locked.
        """
        names = self.of(datasets)
        for dataset in names:
            text = bytes(self._box(dataset, use).encrypt(text))
        return COVERED + msgspec.msgpack.encode(_Wrapped(names, text)) if names else text

    def uncover(self, held: bytes, datasets: Iterable[str], use: str) -> bytes:
        """Return what `cover` was given. datasets: that it is of.

        Raises:
            ServerError: server.locked; server.catalogue.changed: it was not written so.
        """
        sealed = set(datasets)
        if not held.startswith(COVERED):
            if self.of(sealed):
                raise changed()
            return held
        try:
            found = msgspec.msgpack.decode(held[1:], type=_Wrapped)
            text = found.key
            if any(dataset not in self._held for dataset in found.under):
                raise locked()
            if not set(self.of(sealed)) - self._retired <= set(found.under) <= sealed:
                raise changed()
            for dataset in reversed(found.under):
                text = self._box(dataset, use).decrypt(text)
        except (msgspec.MsgspecError, CryptoError, ValueError):
            raise changed() from None
        return text

    def hide(self, dataset: str, version: int, facts: bytes) -> bytes:
        """Encrypt measured facts of a version of a dataset by its key.

        Raises:
            ServerError: server.locked.
        """
        return bytes(self._box(dataset, f"{_FACTS} {version}").encrypt(facts))

    def show(self, dataset: str, version: int, hidden: bytes) -> bytes | None:
        """Return facts that `hide` was given; None while the key is not held.

        Raises:
            ServerError: server.catalogue.changed: they are not of this version, or not under its key.
        """
        if self.held(dataset) is None:
            return None
        try:
            return self._box(dataset, f"{_FACTS} {version}").decrypt(hidden)
        except (CryptoError, ValueError):
            raise changed() from None

    def _box(self, dataset: str, use: str) -> SecretBox:
        held = self.held(dataset)
        if held is None:
            raise locked()
        purpose = f"bastionlab.sealed.1 {use} {dataset}".encode()
        return SecretBox(hashlib.blake2b(purpose, key=held.key, digest_size=SecretBox.KEY_SIZE).digest())


def locked(name: str = "") -> ServerError:
    """Return the error of a dataset whose key its owner has not released. name: that one may know."""
    what = f"The dataset {name!r}" if name else "A dataset of this query"
    return ServerError(
        f"{what} is sealed, and its owner has not released its key to this server.",
        code="server.locked", reason="The key is in nobody's hands but the owner's since the server was started, or the owner took it back.",
        next_step="Its owner opens it with connection.release_key(dataset).",
    )  # fmt: skip


def changed() -> ServerError:
    """Return the error of a catalogue that says other than this process knows, or than was sealed."""
    return ServerError(
        "The server's catalogue is not what this server wrote.", code="server.catalogue.changed",
        reason="Somebody wrote to the server's disk, or put an older copy of it in place.",
        next_step="Nothing is answered about these people. Tell the data's owner; the server's operator can say what was done to the disk.",
    )  # fmt: skip
