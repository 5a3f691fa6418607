"""Datasets whose key stays with their owner: kept in a file of one's own, released to an attested server, taken back.

One file for each dataset, `ID.datakey` (mode 0600), TOML: its key, and what one decided about it when one last looked.

INVARIANT: a key leaves this machine only inside a box for a server that has just proved what it is, and that server uses it only under
the policy, roles and access list that are written here: not under what the server's disk says one decided.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bastion_plan.errors import AttestationError, InputError, ServerError
from bastion_wire import keyfile
from bastion_wire import messages as m
from bastion_wire.deciding import decided
from bastion_wire.files import replace, write_new

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bastion_wire.identity import Identity

    from bastion.client.frames import RemoteLazyFrame
    from bastion.client.transport import Session

KEY = 32


@dataclass(frozen=True)
class DatasetKey:
    """The key of one dataset. name: of the dataset. decided: digest of what one decided about it."""

    key: bytes = field(repr=False)
    name: str
    dataset: str = ""
    decided: bytes = b""


def sealed_directory() -> Path:
    """Return where the keys of one's sealed datasets are (BASTION_SEALED, else beside one's identities)."""
    from bastion.client.endpoints import keys_directory

    given = os.environ.get("BASTION_SEALED")
    return Path(given) if given else keys_directory() / "sealed"


def _path(dataset: str) -> Path:
    if not dataset.isascii() or not dataset.replace("-", "").isalnum():
        msg = "This is no id of a dataset."
        raise InputError(msg, code="input.sealed.file")
    return sealed_directory() / f"{dataset}.datakey"


def read_key(dataset: str) -> DatasetKey:
    """Return the key of a dataset, by its id.

    Raises:
        InputError: input.sealed.file, it is not here or cannot be read; input.key-file-mode, others may read it.
    """
    path = _path(dataset)
    try:
        fields = keyfile.fields_of(keyfile.read(path, secret=True), {"name", "key", "decided"})
        found = DatasetKey(bytes.fromhex(fields["key"]), fields["name"], dataset, bytes.fromhex(fields["decided"]))
        if len(found.key) != KEY or len(found.decided) != KEY:
            raise ValueError
    except (InputError, ValueError) as error:
        if isinstance(error, InputError) and error.code == "input.key-file-mode":
            raise
        msg = "The key of this dataset is not here."
        raise InputError(
            msg, code="input.sealed.file", reason=f"It would be in {path.name}, in the directory of your sealed datasets.",
            next_step="Use the machine that it was uploaded from, or copy the file; a key that is lost cannot be got back.",
        ) from None  # fmt: skip
    return found


def write_key(kept: DatasetKey) -> Path:
    """Write a key, or what was decided since; return the file's path.

    Raises:
        InputError: input.sealed.file, it cannot be written.
    """
    note = "The key of a sealed dataset: SECRET. Whoever has it can release the data; without it nobody can."
    text = keyfile.text_of(note, name=kept.name, key=kept.key.hex(), decided=kept.decided.hex())
    path = _path(kept.dataset)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists():
            replace(path, text.encode(), mode=0o600)
        else:
            write_new(path, text.encode(), mode=0o600)
    except OSError as error:
        msg = "The key of the dataset cannot be written."
        raise InputError(
            msg, code="input.sealed.file", reason=f"{error.strerror or type(error).__name__}.",
            next_step="Name another directory in BASTION_SEALED.",
        ) from None  # fmt: skip
    return path


class SealedMethods:
    """The owner's part of a connection that is about sealed datasets."""

    if TYPE_CHECKING:
        _identity: Identity | None
        _open_session: Session

        def _run(self, work: Coroutine[Any, Any, Any]) -> Any: ...
        async def _signed(self, statement: Mapping[str, Any]) -> bytes: ...

        _datasets: dict[str, m.Dataset]

        def _know(self, datasets: dict[str, m.Dataset]) -> None: ...
        async def _ask(self, body: m.Body, on_progress: Any = None) -> Any: ...
        async def _key_of(self, dataset: RemoteLazyFrame | str) -> str: ...

    def release_key(self, dataset: RemoteLazyFrame | str) -> Any:
        """Owner: let this server have the key of a sealed dataset (signed with one's own key).

        The server is asked for new evidence first. It holds the key in memory until it stops or `revoke_key`.

        Raises:
            AttestationError: the server did not prove what the policy asks, or its catalogue says other than one decided.
            InputError: input.sealed.file, the key is not on this machine.
        """
        return self._run(self._release_key(dataset))

    def revoke_key(self, dataset: RemoteLazyFrame | str) -> Any:
        """Owner: take the key of a sealed dataset back (signed with one's own key): nothing of it can be used until `release_key`."""
        return self._run(self._revoke_key(dataset))

    async def _release_key(self, dataset: RemoteLazyFrame | str) -> m.Dataset:
        key = await self._key_of(dataset)
        kept = read_key(key)
        sealed = await self._box(kept, key)
        terms = {"action": "release_key", "dataset": key, "sealed": hashlib.sha256(sealed).digest()}
        card: m.Dataset = await self._ask(m.ReleaseKey(key, sealed, await self._signed(terms)))
        self._know({**self._datasets, key: card})
        return card

    async def _revoke_key(self, dataset: RemoteLazyFrame | str) -> m.Dataset:
        try:
            key = await self._key_of(dataset)
        except ServerError:
            # a catalogue that was changed does not tell the id; one's own is known from before
            own = [key for key, card in self._datasets.items() if card.mine and card.facts.name == dataset]
            if len(own) != 1:
                raise
            key = own[0]
        card: m.Dataset = await self._ask(
            m.RevokeKey(key, await self._signed({"action": "revoke_key", "dataset": key}))
        )
        self._know({**self._datasets, key: card})
        return card

    async def _sealed(self, name: str, *, replace: bool) -> tuple[DatasetKey, bytes]:
        """Return a key for a table that is uploaded, and the box it travels in. New rows of a dataset keep its key."""
        old = next((d.facts.id for d in self._datasets.values() if d.mine and d.facts.name == name), None)
        key = read_key(old).key if replace and old is not None else secrets.token_bytes(KEY)
        kept = DatasetKey(key, name)
        return kept, await self._box(kept, name)

    async def _box(self, kept: DatasetKey, dataset: str) -> bytes:
        """Return a release of a key to this server, after it has proved what it is just now."""
        from bastion_tee.release import LASTS, Release, seal

        assert self._identity is not None
        attestation = await self._open_session.attest()
        if not (attestation.shown and attestation.verdict is not None and attestation.verdict.status != "refused"):
            raise AttestationError(
                "The key is released only to a server that has proved what it is.", code="tee.release.unattested",
                reason=f"This one is {attestation.sentence}.",
                next_step="Connect with attestation=… to an attested server. Nothing was sent.",
            )  # fmt: skip
        release = Release(
            dataset, kept.key, attestation.verdict.digest, time.time() + LASTS, self._identity.verify_key, kept.decided
        )
        return seal(release, attestation.exchange_key)

    def _keep(self, kept: DatasetKey, card: m.Dataset) -> None:
        """Write down the key of a table that was uploaded, or what was decided about it since."""
        write_key(DatasetKey(kept.key, card.facts.name, card.facts.id, decided(card.facts, card.allow)))
