"""Receiving a table: checked terms, bytes into memory, measured and made canonical in a worker, sealed to disk."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
from bastion_plan.errors import BastionError, InputError, Interrupted, NotAuthorised, PolicyError, ServerError
from bastion_policy.checks import check_data, check_people, check_rules
from bastion_policy.facts import DatasetFacts, column_facts
from bastion_policy.model import Policy, from_toml
from bastion_policy.toml import with_line
from bastion_policy.toml_lines import line_of
from bastion_tee.release import Release
from bastion_wire.identity import check_name
from bastion_wire.messages import AnyAnswer, UploadBegin

from bastion_server.channel.keys import Principal
from bastion_server.channel.sessions import Incoming
from bastion_server.service.audiences import settle
from bastion_server.service.catalogue import Catalogue, MemoryFiles
from bastion_server.service.journal import Journal, about
from bastion_server.service.opened import check_open, check_owner
from bastion_server.service.releases import Releases
from bastion_server.service.statements import check_signed
from bastion_server.store import DatasetRecord, Datasets, Held, Record, SealedRef, Store
from bastion_server.store.datasets import EVERYONE
from bastion_server.store.uses import rows_of
from bastion_server.workers import memfd
from bastion_server.workers.lease import Registration
from bastion_server.workers.pool import WorkerPool

MAX_NAME = 200
MAX_ALLOW = 1000  #: names of an access list
MAX_POLICY = 64 * 1024  #: bytes of a policy's text: it goes into the audit log
#: bytes of all uploads that are under way; they are held in memory
MAX_HELD = min(8 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)


class UploadService:
    """Accepts uploads. Implements the channel's `Uploads`."""

    def __init__(
        self,
        store: Store,
        pool: WorkerPool,
        files: MemoryFiles,
        catalogue: Catalogue,
        journal: Journal,
        known: Callable[[str], bool],
        changed: Callable[[DatasetRecord | None, DatasetRecord], Awaitable[None]],
        releases: Releases,
    ) -> None:
        """Take what it works with. changed: awaited with the record before (None for a new table) and the new one."""
        self.releases = releases
        self.store, self.pool, self.files, self.catalogue, self.journal = store, pool, files, catalogue, journal
        self.known, self.changed = known, changed
        self.held: dict[str, int] = {}  #: announced bytes under way, by owner
        self._keeping: set[asyncio.Task[DatasetRecord]] = set()

    async def finish(self) -> None:
        """Wait for tables that are being written to disk."""
        await asyncio.gather(*self._keeping, return_exceptions=True)

    def keep(self, work: Coroutine[Any, Any, DatasetRecord]) -> asyncio.Task[DatasetRecord]:
        """Start what is not stopped half-way."""
        task = asyncio.create_task(work)
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)
        task.add_done_callback(lambda t: t.cancelled() or t.exception())
        return task

    def _check_room(self, who: str, size: int) -> None:
        """INVARIANT: no owner takes more than half of the memory for uploads, so nobody keeps the others out."""
        if size > MAX_HELD // 2:
            msg = "The table is larger than this server takes in one piece."
            raise InputError(
                msg, code="input.upload.size", reason=f"At most {MAX_HELD >> 21} MiB.", next_step="Upload it in parts."
            )
        if self.held.get(who, 0) + size > MAX_HELD // 2 or sum(self.held.values()) + size > MAX_HELD:
            msg = "The server is receiving too much at once."
            raise InputError(msg, code="input.upload.room", next_step="Try again when other uploads are done.")

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
        check_dataset_name(body.name)
        old = self._old(body, principal)
        policy = read_policy(body, self.known, old)
        self._check_room(principal.name, body.size)
        terms = {
            "action": "upload", "name": body.name, "size": body.size, "sha256": body.sha256, "policy": body.policy,
            "hidden": list(body.hidden), "unit": body.unit, "replace": body.replace,
        }  # fmt: skip
        if body.sealed:
            terms["sealed"] = hashlib.sha256(body.sealed).digest()
        await asyncio.to_thread(check_signed, self.store, principal, body.signed, terms, now)
        self._check_room(principal.name, body.size)
        return Sink(self, body, principal, policy, old, self._release(body, principal, old, now))

    def _release(
        self, body: UploadBegin, principal: Principal, old: DatasetRecord | None, now: float
    ) -> Release | None:
        """Return the key that comes with a table.

        Raises:
            InputError: input.sealed.*. AttestationError: tee.release.*
        """
        if old is not None:
            check_open(self.store, (old,))
            check_owner(self.store, old, principal)
            if old.owner_sealed != bool(body.sealed):
                msg = f"The dataset {body.name!r} {'is' if old.owner_sealed else 'is not'} sealed, and its new rows are to be the other."
                raise InputError(
                    msg, code="input.sealed.kind", next_step="Upload them in the same way, or under another name."
                )
        if not body.sealed:
            return None
        release = self.releases.opened(body.sealed, principal, body.name, now)
        held = None if old is None else self.store.ring.held(old.facts.id)
        if held is not None and held.key != release.key:
            msg = "New rows of a sealed dataset come with its key."
            raise InputError(msg, code="input.sealed.key", next_step="Use the key that was kept when it was uploaded.")
        return release

    def _old(self, body: UploadBegin, principal: Principal) -> DatasetRecord | None:
        old = self.store.datasets.find(body.name, visible_to=principal.name)
        if old is None or old.facts.name != body.name or old.facts.owner != principal.name:
            return None
        if not (body.replace and old.kind == "table"):
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
        self,
        service: UploadService,
        body: UploadBegin,
        principal: Principal,
        policy: Policy,
        old: DatasetRecord | None,
        release: Release | None = None,
    ) -> None:
        self._service, self._body, self._principal = service, body, principal
        self._policy, self._old, self._key = policy, old, release
        self._fd = memfd.empty("upload")
        self._abandoned = False
        service.held[principal.name] = service.held.get(principal.name, 0) + body.size

    async def chunk(self, data: memoryview) -> None:
        """Take the next bytes."""
        view = data
        while view:
            view = view[os.write(self._fd, view) :]

    async def abort(self) -> None:
        """Throw away what came. Once its registration is being committed it stands."""
        self._abandoned = True
        self._release()

    async def end(self) -> AnyAnswer:
        """Measure, seal to disk, register; returns the card."""
        service, principal = self._service, self._principal
        memfd.seal(self._fd)
        os.lseek(self._fd, 0, os.SEEK_SET)
        unit = self._policy.unit
        async with await service.pool.acquire(principal.name, label=f"upload by {principal.name}") as lease:
            try:
                registration = await lease.register(self._fd, None if unit in (None, "row") else unit)
            except InputError as error:
                raise _unit_error(error, unit, self._body.policy) from None
        # shielded: threads work on the memory file, so it must not be closed when the peer goes away
        record = await asyncio.shield(service.keep(self._keep(registration)))
        self._release()
        return service.catalogue.card(record, principal)

    async def _keep(self, registration: Registration) -> DatasetRecord:
        file = registration.file
        try:
            facts = self._facts(registration)
            record = await asyncio.to_thread(self._register, facts, registration)
        except BaseException:
            os.close(file)
            raise
        self._service.files.put(facts.id, facts.version, file)
        await self._service.changed(self._old, record)
        return record

    def _facts(self, registration: Registration) -> DatasetFacts:
        policy, old = self._policy, self._old
        unit = None if policy.unit == "row" else policy.unit
        with lines(self._body.policy):
            if old is not None and unit != old.facts.unit:
                msg = "The privacy unit of a table cannot be changed."
                raise PolicyError(
                    msg, code="policy.unit", reason="What was released counted other people.",
                    next_step="Upload the table under another name.", details={"path": "unit"},
                )  # fmt: skip
            if old is not None:
                check_unit_domain(old.facts, policy)
            columns = column_facts(registration.schema, registration.facts, policy)
            check_data(policy, columns, registration.facts)
        self._check_kin(unit_domain(policy, self._principal.name))
        identifier = old.facts.id if old else Datasets.new_id()
        return DatasetFacts(
            id=identifier,
            name=self._body.name,
            version=old.facts.version + 1 if old else 1,
            columns=columns,
            policy=policy,
            policy_version=old.facts.policy_version + 1 if old else 1,
            owner=self._principal.name,
            unit=unit,
            unit_declared=policy.unit is not None,
            unit_domain=old.facts.unit_domain if old else unit_domain(policy, self._principal.name) or identifier,
        )

    def _check_kin(self, domain: str) -> None:
        """Refuse a sealed table of people who are in one that is not, and the other way round: they have one history.

        Raises:
            InputError: input.sealed.domain.
        """
        sealed = self._key is not None
        if domain and any(
            r.facts.domain == domain and r.kind == "table" and r.owner_sealed != sealed
            for r in self._service.store.datasets.list()
        ):
            raise InputError(
                "Tables of the same people (unit_domain) are all sealed, or none.", code="input.sealed.domain",
                reason="What was told of them is remembered together.", next_step="Upload this one in the same way as the others.",
            )  # fmt: skip

    def _register(self, facts: DatasetFacts, registration: Registration) -> DatasetRecord:
        """Seal to disk, write down, register; runs in a thread."""
        service, store, now = self._service, self._service.store, time.time()
        if self._key is not None and self._old is None:
            store.ring.take(facts.id, Held(self._key.key, self._key.owner, b"", facts.domain))
        since = store.ring.drops(facts.id)
        under = (facts.id,) if self._key is not None else ()
        sealed = seal(store, registration.file, registration.size, under, rows_of(facts.version))

        def change() -> tuple[DatasetRecord, list[Record]]:
            if self._abandoned:
                msg = "The upload was stopped."
                raise Interrupted(msg, code="interrupted.cancelled")
            if self._old is not None:
                # INVARIANT: the catalogue may have been changed meanwhile; what its owner decided is what was looked at
                now_old = store.datasets.get(facts.id)
                check_open(store, (now_old,))
                if now_old.allow != self._old.allow:
                    msg = "Who may use the dataset was changed while its new rows came."
                    raise InputError(msg, code="input.dataset.changed", next_step="Upload them again.")
            if self._key is not None and self._old is None:
                self._join(facts)
            with lines(self._body.policy):
                settle(store, facts, service.known, self._old.facts if self._old is not None else None)
            # INVARIANT: by default every identity with a key may see that the dataset exists and its columns; what may
            # leave is the policy's business. An owner narrows this with an access list.
            record = (
                store.datasets.replace(
                    facts, registration.facts, sealed, by=facts.owner, now=now, signed=self._body.signed
                )
                if self._old is not None
                else store.datasets.add(
                    facts, registration.facts, now=now, sealed=sealed, allow=(EVERYONE,), signed=self._body.signed,
                    owner_sealed=self._key is not None,
                )
            )
            details = {
                "rows": registration.facts.rows, "units": registration.facts.units, "policy": self._body.policy,
                "warnings": list(service.catalogue.warnings(record)),
            }  # fmt: skip
            return record, about(
                [facts.id], now=now, kind="upload", who=facts.owner, summary=f"{facts.name} version {facts.version}",
                red=bool(facts.policy.effective().open or facts.policy.weaken), details=details,
            )  # fmt: skip

        try:
            record = service.journal.change_blocking(change)
        except BaseException:
            store.sealed.remove(sealed.name)
            if self._key is not None and self._old is None:
                store.ring.forget(facts.id)
            raise
        if self._key is not None:
            held = Held(self._key.key, self._key.owner, record.decided, facts.domain)
            store.ring.take(facts.id, held, since)
        with suppress(ServerError):  # tried again at the next change, and at the start
            store.results.prune()
        return record

    def _join(self, facts: DatasetFacts) -> None:
        """Note a sealed table beside those of the same people.

        Raises:
            InputError: input.sealed.domain. ServerError: server.locked, server.catalogue.changed.
        """
        store = self._service.store
        try:
            store.witness.join(facts.domain, facts.id)
        except ServerError as error:
            kin = any(r.owner_sealed and r.facts.domain == facts.domain for r in store.datasets.list())
            if error.code != "server.locked" or kin:
                raise
            raise InputError(
                "What was told of these people is remembered under the key of a table that was deleted.", code="input.sealed.domain",
                reason="Nobody can open it any more, and it is not forgotten.", next_step="Name another unit_domain.",
            ) from None  # fmt: skip

    def _release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            held = self._service.held
            held[self._principal.name] -= self._body.size
            if not held[self._principal.name]:
                del held[self._principal.name]


@contextmanager
def lines(text: str | None) -> Iterator[None]:
    """Add to errors about a policy the line of its text that they are about."""
    try:
        yield
    except PolicyError as error:
        raise with_line(error, text or "") from None


def _unit_error(error: InputError, unit: str | None, text: str) -> BastionError:
    """Return what a table without its unit, or with people it does not name, means for the policy."""
    if error.code == "input.upload.unit":
        wrong = PolicyError(
            f"unit: the table has no column {unit!r}.", next_step=error.next_step, code="policy.column",
            details={"path": "unit"},
        )  # fmt: skip
    elif error.code == "input.upload.unit_null":
        wrong = PolicyError(
            f"unit: the column {unit!r} is null in some rows.", reason=error.reason, next_step=error.next_step,
            code="policy.unit.null", details={"path": "unit"},
        )  # fmt: skip
    else:
        return error
    return with_line(wrong, text)


def read_policy(body: UploadBegin, known: Callable[[str], bool], old: DatasetRecord | None = None) -> Policy:
    """Return the policy an upload names, with its hidden columns and unit.

    INVARIANT: new rows for a dataset, without a policy, keep the policy it has, its roles and hidden columns included;
    a forgotten option never opens what was closed.

    Args:
        known: whether a name has a key or an invitation.

    Raises:
        PolicyError: it means nothing, contradicts itself, or this release cannot enforce it.
    """
    check_policy_size(body.policy)
    if body.policy.strip():
        policy = from_toml(body.policy)
    else:
        policy = Policy.default() if old is None else kept_policy(old.facts)
    if body.hidden:
        policy = policy.with_hidden(body.hidden)
    with lines(body.policy):
        policy = with_unit(policy, body.unit)
        check_rules(policy)
        if body.policy.strip():
            check_people(policy, known)
        return enforceable(policy, body.policy)


def kept_policy(facts: DatasetFacts) -> Policy:
    """Return the policy of a dataset with its confirmed roles written out."""
    roles = {c.name: c.role for c in facts.columns if not c.inferred}
    roles |= dict(facts.policy.roles or {})
    unit = facts.policy.unit or (facts.unit or "row" if facts.unit_declared else None)
    return msgspec.structs.replace(facts.policy, roles=roles or None, unit=unit)


def check_dataset_name(name: str) -> None:
    """Check the name of a table or saved frame.

    Raises:
        InputError: input.dataset.name.
    """
    if not name or len(name) > MAX_NAME or not name.isprintable() or name != name.strip():
        msg = "This is not a name for a dataset."
        raise InputError(
            msg,
            code="input.dataset.name",
            reason=f"A name has 1 to {MAX_NAME} printable characters and no space around it.",
        )


def check_allow(names: tuple[str, ...]) -> None:
    """Check an access list: names of identities, or "*" for everyone with a key.

    Raises:
        InputError: input.allow.
    """
    if len(names) > MAX_ALLOW:
        msg = "The access list is too long."
        raise InputError(msg, code="input.allow", reason=f"At most {MAX_ALLOW} names.")
    for name in names:
        if name != EVERYONE:
            try:
                check_name(name)
            except InputError as error:
                msg = f"{name[:80]!r} in the access list cannot be the name of an identity."
                raise InputError(
                    msg,
                    code="input.allow",
                    reason=error.reason,
                    next_step='Use names as in `bastion keys list`, or "*".',
                ) from None


def check_policy_size(text: str) -> None:
    """Refuse a policy text that would not fit into the audit log.

    Raises:
        PolicyError: policy.size.
    """
    if len(text.encode()) > MAX_POLICY:
        msg = "The policy is too long."
        raise PolicyError(msg, code="policy.size", reason=f"At most {MAX_POLICY // 1024} KiB of text.")


def with_unit(policy: Policy, unit: str | None) -> Policy:
    """Return the policy with the unit named beside it.

    Raises:
        PolicyError: policy.unit, when the policy names another one.
    """

    if unit is None or unit == policy.unit:
        return policy
    if policy.unit is not None:
        msg = f"The policy says the privacy unit is {policy.unit!r}, the upload says {unit!r}."
        raise PolicyError(msg, code="policy.unit", next_step="Say it in one place.", details={"path": "unit"})
    return msgspec.structs.replace(policy, unit=unit)


def enforceable(policy: Policy, text: str | None = None) -> Policy:
    """Return the policy if this release can enforce it. text: that it was written as.

    Raises:
        PolicyError: policy.unsupported, with the rule concerned. Serving a table under a promise that is not kept is worse than not serving it.
    """
    reasons = policy.unsupported()
    if reasons:
        msg = "This server cannot enforce the policy."
        paths = ("safe_zone.differential_privacy", "review_zone.differential_privacy", "safe_zone")
        path = next((p for p in paths if line_of(text or "", p)), "safe_zone")
        fix = "Change the rule to that, for example differential_privacy = { epsilon = 1, delta = 1e-6 } alone."
        raise PolicyError(
            msg, code="policy.unsupported", reason=" ".join(reasons), next_step=fix, details={"path": path}
        )
    return policy


def seal(store: Store, fd: int, size: int, under: Iterable[str] = (), use: str = "dataset") -> SealedRef:
    """Write a memory file to the sealed directory. under: owner-sealed datasets of which it holds anything. use: what it is."""
    with (
        mmap.mmap(fd, size, prot=mmap.PROT_READ) as mapped,
        memoryview(mapped) as view,
        store.sealed.writer(under, use) as writer,
    ):
        for start in range(0, size, 8 << 20):
            with view[start : start + (8 << 20)] as part:
                writer.write(part)
        return writer.commit()


def unit_domain(policy: Policy, owner: str) -> str:
    """Return the name of the people that a policy declares, which no other owner's tables share; "" if it declares none."""
    return f"{owner}/{policy.unit_domain}" if policy.unit_domain is not None else ""


def check_unit_domain(facts: DatasetFacts, policy: Policy) -> None:
    """Check that a changed policy leaves a table with its people.

    Raises:
        PolicyError: policy.unit.domain: what was released would be forgotten.
    """
    if policy.unit_domain is not None and unit_domain(policy, facts.owner) != facts.unit_domain:
        msg = "The unit domain of a table cannot be changed."
        raise PolicyError(
            msg, code="policy.unit.domain", reason="What was released is remembered under the old one.",
            next_step="Upload the table under another name.", details={"path": "unit_domain"},
        )  # fmt: skip
