"""Owner-sealed datasets: a key comes from its owner, to this attested process alone, and can be taken back."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable

from bastion_plan.errors import AttestationError, InputError, NotAuthorised, ServerError
from bastion_tee.codes import CHECKS
from bastion_tee.release import Release, unseal
from bastion_wire import messages as m

from bastion_server.channel.keys import Principal
from bastion_server.service.attestation import Attestation
from bastion_server.service.catalogue import Catalogue, MemoryFiles
from bastion_server.service.journal import Journal, about
from bastion_server.service.statements import check_signed
from bastion_server.store import DatasetRecord, Held, Store
from bastion_server.store.keyring import locked
from bastion_server.store.uses import rows_of


class Releases:
    """Takes keys of datasets, and lets them go."""

    def __init__(
        self,
        store: Store,
        attestation: Attestation,
        catalogue: Catalogue,
        files: MemoryFiles,
        journal: Journal,
        changed: Callable[[DatasetRecord, DatasetRecord], Awaitable[None]],
    ) -> None:
        """Take what it works with. changed: told when a dataset was opened or closed."""
        self._store, self._attestation, self._catalogue = store, attestation, catalogue
        self._files, self._journal, self._changed = files, journal, changed

    def opened(self, sealed: bytes, principal: Principal, dataset: str, now: float) -> Release:
        """Return a release that was made for this process.

        Raises:
            InputError: input.sealed.unattested. AttestationError: tee.release.*
        """
        if not self._attestation.possible:
            msg = "This server cannot prove what it is, so no key can be released to it."
            raise InputError(
                msg, code="input.sealed.unattested", next_step="Upload without sealed=True, or use an attested server."
            )
        return unseal(
            sealed, self._attestation.exchange, dataset=dataset, owner=principal.verify_key,
            made=lambda digest: self._attestation.made(digest, now), now=now,
        )  # fmt: skip

    async def release(self, body: m.ReleaseKey, principal: Principal) -> DatasetRecord:
        """Hold the key of a dataset from now on.

        Raises:
            AttestationError: tee.release.*. InputError: input.sealed.not, input.sealed.key. NotAuthorised.
            ServerError: server.catalogue.changed.
        """
        record, now = self._own(body.dataset, principal), time.time()
        identifier, name = record.facts.id, record.facts.name
        terms = {"action": "release_key", "dataset": body.dataset, "sealed": hashlib.sha256(body.sealed).digest()}
        await asyncio.to_thread(check_signed, self._store, principal, body.signed, terms, now)
        release = self.opened(body.sealed, principal, identifier, now)
        # INVARIANT: the catalogue lies on a disk that is not trusted; a key opens rows only under what its owner decided on
        if release.decided != record.decided:
            check = CHECKS["tee.release.decided"]
            raise AttestationError(check.sentence, code="tee.release.decided", next_step=check.next_step)
        held = Held(release.key, release.owner, release.decided, record.facts.domain)
        since = self._store.ring.drops(identifier)
        await asyncio.to_thread(self._try, record, held)
        await self._journal.write(
            about([identifier], now=now, kind="policy", who=principal.name, summary=f"released the key of {name}")
        )
        # INVARIANT: a release that was under way when the key was taken back brings nothing back
        if not self._store.ring.take(identifier, held, since):
            raise locked(name)
        try:
            await asyncio.to_thread(self._store.witness.check, held.domain, identifier)
            record = self._store.datasets.get(identifier)
        except ServerError:
            self._store.ring.drop(identifier)
            words = f"gave up the key of {name}: the catalogue is not what this server wrote"
            await self._journal.write(
                about([identifier], now=now, kind="policy", who=principal.name, summary=words, red=True)
            )
            raise
        await self._changed(record, record)
        return record

    async def revoke(self, body: m.RevokeKey, principal: Principal) -> DatasetRecord:
        """Forget the key of a dataset, and its rows."""
        now, held = time.time(), self._store.ring.held(body.dataset)
        try:
            record = self._own(body.dataset, principal)
            identifier, name = record.facts.id, record.facts.name
        except ServerError:
            # whoever writes to the catalogue does not keep a key here
            if held is None or held.owner != principal.verify_key:
                raise
            identifier = name = body.dataset
        terms = {"action": "revoke_key", "dataset": body.dataset}
        await asyncio.to_thread(check_signed, self._store, principal, body.signed, terms, now)
        # first of all: what is written of it must not keep it open
        self._store.ring.drop(identifier)
        self._files.forget(identifier)
        words = f"took back the key of {name}"
        await self._journal.write(
            about([identifier], now=now, kind="policy", who=principal.name, summary=words, red=True)
        )
        record = self._store.datasets.get(identifier)
        await self._changed(record, record)
        return record

    def _own(self, ref: str, principal: Principal) -> DatasetRecord:
        record = self._catalogue.find(ref, principal.name)
        if record.facts.owner != principal.name:
            raise NotAuthorised(
                f"The dataset {record.facts.name!r} is not yours.", code="wire.auth.owner", next_step="Ask its owner."
            )
        if not record.owner_sealed:
            raise InputError(
                f"The dataset {record.facts.name!r} is not sealed: the server has its key.", code="input.sealed.not",
                next_step="Upload it with sealed=True under another name.",
            )  # fmt: skip
        return record

    def _try(self, record: DatasetRecord, held: Held) -> None:
        """Open the file with the key, to tell a wrong one at once."""
        assert record.sealed is not None
        try:
            ring, use = self._store.ring.trying(record.facts.id, held), rows_of(record.facts.version)
            ring.unwrap(record.sealed.wrapped_key, (record.facts.id,), use)
        except ServerError as error:
            if error.code != "server.keys.unwrap":
                raise
            msg = f"This is not the key of {record.facts.name!r}."
            raise InputError(
                msg, code="input.sealed.key", next_step="Use the key that was kept when this version was uploaded."
            ) from None
