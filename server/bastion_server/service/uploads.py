"""Receiving a table: checked terms, bytes into memory, measured and made canonical in a worker, sealed to disk."""

from __future__ import annotations

import asyncio
import mmap
import os
import time

import msgspec
from bastion_plan.errors import InputError, NotAuthorised, PolicyError
from bastion_policy.facts import DatasetFacts, column_facts
from bastion_policy.model import Policy, from_toml
from bastion_wire.messages import AnyAnswer, UploadBegin

from bastion_server.channel.keys import Principal
from bastion_server.channel.sessions import Incoming
from bastion_server.service.catalogue import Catalogue, MemoryFiles
from bastion_server.service.journal import Journal, about
from bastion_server.service.statements import check_signed
from bastion_server.store import DatasetRecord, Datasets, SealedRef, Store
from bastion_server.store.datasets import EVERYONE
from bastion_server.workers import memfd
from bastion_server.workers.lease import Registration
from bastion_server.workers.pool import WorkerPool

MAX_NAME = 200
MAX_HELD = 8 << 30  #: bytes of all uploads that are under way


class UploadService:
    """Accepts uploads. Implements the channel's `Uploads`."""

    def __init__(
        self, store: Store, pool: WorkerPool, files: MemoryFiles, catalogue: Catalogue, journal: Journal
    ) -> None:
        self.store, self.pool, self.files, self.catalogue, self.journal = store, pool, files, catalogue, journal
        self.held = 0

    async def begin(self, request: Incoming) -> Sink:
        """Check the terms of an upload.

        Raises:
            NotAuthorised: no owner, or not signed. PolicyError: a policy that means nothing or cannot be enforced.
            InputError: input.upload.*, input.dataset.*.
        """
        body = request.body
        assert isinstance(body, UploadBegin)
        principal, now = request.principal, time.time()
        if not principal.has("owner"):
            msg = "Only owners can upload tables."
            raise NotAuthorised(msg, code="wire.auth.role", next_step="Ask the server's admin for an owner's key.")
        if not body.name or len(body.name) > MAX_NAME or not body.name.isprintable() or body.name != body.name.strip():
            msg = "This is not a name for a dataset."
            raise InputError(
                msg,
                code="input.dataset.name",
                reason=f"A name has 1 to {MAX_NAME} printable characters and no space around it.",
            )
        policy = read_policy(body)
        terms = {
            "action": "upload", "name": body.name, "size": body.size, "sha256": body.sha256, "policy": body.policy,
            "hidden": list(body.hidden), "unit": body.unit, "replace": body.replace,
        }  # fmt: skip
        await asyncio.to_thread(check_signed, self.store, principal, body.signed, terms, now)
        old = self._old(body, principal)
        if self.held + body.size > MAX_HELD:
            msg = "The server is receiving too much at once."
            raise InputError(msg, code="input.upload.room", next_step="Try again when other uploads are done.")
        return Sink(self, body, principal, policy, old)

    def _old(self, body: UploadBegin, principal: Principal) -> DatasetRecord | None:
        old = self.store.datasets.find(body.name)
        if old is None or old.facts.name != body.name:
            return None
        if not (body.replace and old.facts.owner == principal.name and old.kind == "table"):
            msg = f"There is already a dataset called {body.name!r}."
            raise InputError(
                msg,
                code="input.dataset.name-taken",
                next_step="Choose another name; your own table is replaced with replace=True.",
            )
        return old


class Sink:
    """Where the bytes of one upload go: a memory file, until all have come."""

    def __init__(
        self, service: UploadService, body: UploadBegin, principal: Principal, policy: Policy, old: DatasetRecord | None
    ) -> None:
        self._service, self._body, self._principal = service, body, principal
        self._policy, self._old = policy, old
        self._fd = memfd.empty("upload")
        service.held += body.size

    async def chunk(self, data: memoryview) -> None:
        """Take the next bytes."""
        view = data
        while view:
            view = view[os.write(self._fd, view) :]

    async def abort(self) -> None:
        """Throw away what came."""
        self._release()

    async def end(self) -> AnyAnswer:
        """Measure, seal to disk, register; returns the card."""
        service, principal = self._service, self._principal
        memfd.seal(self._fd)
        os.lseek(self._fd, 0, os.SEEK_SET)
        unit = self._policy.unit
        async with await service.pool.acquire(principal.name, label=f"upload by {principal.name}") as lease:
            registration = await lease.register(self._fd, None if unit in (None, "row") else unit)
        keep = registration.file
        try:
            facts = self._facts(registration)
            sealed = await asyncio.to_thread(seal, service.store, registration.file, registration.size)
            record = await asyncio.to_thread(self._register, facts, registration, sealed)
            await service.journal.write(
                about(
                    [facts.id], now=time.time(), kind="upload", who=principal.name,
                    summary=f"{facts.name} version {facts.version}",
                    red=bool(facts.policy.effective().open or facts.policy.weaken),
                    details={"rows": registration.facts.rows, "units": registration.facts.units, "policy": self._body.policy,
                             "warnings": list(service.catalogue.warnings(record))},
                )
            )  # fmt: skip
            service.files.put(facts.id, facts.version, keep)
            keep = -1
        finally:
            if keep >= 0:
                os.close(keep)
        self._release()
        return service.catalogue.card(record, principal)

    def _facts(self, registration: Registration) -> DatasetFacts:
        policy, old = self._policy, self._old
        identifier = old.facts.id if old else Datasets.new_id()
        return DatasetFacts(
            id=identifier,
            name=self._body.name,
            version=old.facts.version + 1 if old else 1,
            columns=column_facts(registration.schema, registration.facts, policy),
            policy=policy,
            policy_version=old.facts.policy_version + 1 if old else 1,
            owner=self._principal.name,
            unit=None if policy.unit == "row" else policy.unit,
            unit_declared=policy.unit is not None,
            unit_domain=old.facts.unit_domain if old else identifier,
        )

    def _register(self, facts: DatasetFacts, registration: Registration, sealed: SealedRef) -> DatasetRecord:
        store, now = self._service.store, time.time()
        try:
            if self._old is not None:
                return store.datasets.replace(
                    facts, registration.facts, sealed, by=facts.owner, now=now, signed=self._body.signed
                )
            # INVARIANT: by default every identity with a key may see that the dataset exists and its columns; what may
            # leave is the policy's business. An owner narrows this with an access list.
            return store.datasets.add(
                facts, registration.facts, now=now, sealed=sealed, allow=(EVERYONE,), signed=self._body.signed
            )
        except BaseException:
            store.sealed.remove(sealed.name)
            raise

    def _release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._service.held -= self._body.size


def read_policy(body: UploadBegin) -> Policy:
    """Return the policy an upload names, with its hidden columns and unit.

    Raises:
        PolicyError: it means nothing, or this release cannot enforce it.
    """
    policy = from_toml(body.policy) if body.policy.strip() else Policy.default()
    if body.hidden:
        policy = policy.with_hidden(body.hidden)
    return enforceable(with_unit(policy, body.unit))


def with_unit(policy: Policy, unit: str | None) -> Policy:
    """Return the policy with the unit named beside it.

    Raises:
        PolicyError: policy.unit, when the policy names another one.
    """

    if unit is None or unit == policy.unit:
        return policy
    if policy.unit is not None:
        msg = f"The policy says the privacy unit is {policy.unit!r}, the upload says {unit!r}."
        raise PolicyError(msg, code="policy.unit", next_step="Say it in one place.")
    return msgspec.structs.replace(policy, unit=unit)


def enforceable(policy: Policy) -> Policy:
    """Return the policy if this release can enforce it.

    Raises:
        PolicyError: policy.unsupported. Serving a table under a promise that is not kept is worse than not serving it.
    """
    reasons = policy.unsupported()
    if reasons:
        msg = "This server cannot enforce the policy."
        raise PolicyError(
            msg, code="policy.unsupported", reason=" ".join(reasons), next_step="Use the default profile."
        )
    return policy


def seal(store: Store, fd: int, size: int) -> SealedRef:
    """Write a memory file to the sealed directory."""
    with (
        mmap.mmap(fd, size, prot=mmap.PROT_READ) as mapped,
        memoryview(mapped) as view,
        store.sealed.writer() as writer,
    ):
        for start in range(0, size, 8 << 20):
            with view[start : start + (8 << 20)] as part:
                writer.write(part)
        return writer.commit()
