"""The service: every message the protocol knows, and what it does."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from bastion_plan.canonical import encode
from bastion_plan.errors import InputError, NotAuthorised, PolicyError, ServerError
from bastion_plan.nodes import Node
from bastion_policy.facts import ColumnFacts, DatasetFacts
from bastion_policy.merge import merge
from bastion_policy.roles import Role, RoleKind
from bastion_wire import messages as m

from bastion_server import __version__
from bastion_server.channel.failures import log_incident
from bastion_server.channel.keys import Principal
from bastion_server.channel.sessions import Incoming
from bastion_server.service.activity import ActivityService
from bastion_server.service.attestation import Attestation, Provider
from bastion_server.service.audiences import settle
from bastion_server.service.catalogue import Catalogue, MemoryFiles, Subject
from bastion_server.service.exposure import ExposureService
from bastion_server.service.failed import FailedService
from bastion_server.service.journal import Journal, about
from bastion_server.service.models import ModelSink, TrainingSettings
from bastion_server.service.news import News
from bastion_server.service.notify import Config, Notifier
from bastion_server.service.opened import check_open, check_owner
from bastion_server.service.proposal import proposed
from bastion_server.service.queries import QueryService
from bastion_server.service.releases import Releases
from bastion_server.service.review import ReviewService
from bastion_server.service.statements import check_signed
from bastion_server.service.training import TrainingService
from bastion_server.service.trial import TrialService
from bastion_server.service.uploads import (
    MAX_HELD,
    Sink,
    UploadService,
    check_allow,
    check_dataset_name,
    lines,
)
from bastion_server.store import DatasetRecord, Datasets, Record, Store
from bastion_server.store.verify import verify
from bastion_server.workers.pool import WorkerPool

EXPIRY_EVERY = 1.0  #: seconds between two looks at the dates of requests and approvals


class Service:
    """Answers requests. The channel calls `handle` for each, `begin` for uploads."""

    def __init__(
        self,
        store: Store,
        pool: WorkerPool,
        push: Callable[[str, m.Push], int],
        *,
        memory: int = MAX_HELD,
        notices: tuple[str, ...] = (),
        known: Callable[[str], bool] = lambda name: True,
        present: Callable[[], Iterable[str]] = tuple,
        notify: Config | None = None,
        training: TrainingSettings | None = None,
        on_engine_text: Callable[[str, str], None] | None = None,
        evidence: Provider | None = None,
    ) -> None:
        """Take what it works with.

        push: sends a message to all live sessions of a name. known: whether a name has a key or an invitation. present:
        names of those who have a session now. notify: how owners hear of new requests while they are away. training: what
        fits may take. on_engine_text: told (label, the engine's own words) of training workers, for the owner's log only.
        evidence: where evidence comes from of what this server is.
        """
        self.store, self.pool, self.push, self.notices, self.known = store, pool, push, notices, known
        self.attestation = Attestation(store, evidence)
        self.catalogue = Catalogue(store, known)
        self.files = MemoryFiles(store, memory)
        self.journal = Journal(store)
        self.review = ReviewService(store, self.catalogue, self.journal, push)
        self.review.notifier = Notifier(notify)
        self.queries = QueryService(store, pool, self.files, self.catalogue, self.journal, self.review)
        self.training = TrainingService(store, self.queries, self.journal, push, known, training, on_engine_text)
        self.exposure = ExposureService(store)
        self.failed = FailedService(store, self.journal, self.queries.histories)
        self.activity = ActivityService(store, self.catalogue)
        self.trial = TrialService(store, self.catalogue, known)
        self.news = News(push, present)
        self.releases = Releases(store, self.attestation, self.catalogue, self.files, self.journal, self._changed)
        self.uploads = UploadService(
            store, pool, self.files, self.catalogue, self.journal, known, self._changed, self.releases
        )

    async def begin(self, request: Incoming) -> Sink | ModelSink:
        """Accept an upload, or raise."""
        if isinstance(request.body, m.ModelBegin):
            return await self.training.models.begin(request)
        return await self.uploads.begin(request)

    async def handle(self, request: Incoming) -> None:
        """Answer one request."""
        body, principal = request.body, request.principal
        who = principal.name
        self.store.identities.came(who, principal.verify_key, time.time())
        match body:
            case m.Hello():
                shown = await self.attestation.shown(body.nonce)
                await request.send(self._welcome(principal, shown))
            case m.Ping():
                await request.send(m.Done())
            case m.ListDatasets():
                visible = self.catalogue.visible(who).values()
                await request.send(m.Datasets(tuple(self.catalogue.card(r, principal) for r in visible)))
            case m.GetDataset(ref=ref):
                await request.send(self.catalogue.card(self.catalogue.find(ref, who), principal))
            case m.Query():
                await self.queries.handle(request)
            case m.GetBudget():
                await request.send(self.queries.private.budgets(who))
            case m.Save():
                await request.send(await self._save(body, principal))
            case m.Delete():
                await self._delete(body, principal)
                await request.send(m.Done())
            case m.SetPolicy():
                card = await self._set_policy(body, principal)
                await self.queries.approved.prune()
                await request.send(card)
            case m.ReleaseKey():
                await request.send(self.catalogue.card(await self.releases.release(body, principal), principal))
            case m.RevokeKey():
                await request.send(self.catalogue.card(await self.releases.revoke(body, principal), principal))
            case m.RequestAccess():
                await request.send(m.Request(await self.review.file(request, self.queries)))
            case m.ListRequests():
                await request.send(m.Requests(self.review.list(body, principal)))
            case m.GetRequest(request=ref, look=look):
                await request.send(m.Request(await self.review.whole(ref, who, self.queries if look else None)))
            case m.Withdraw(request=ref):
                await request.send(m.Request(await self.review.withdraw(ref, who)))
            case m.Decide():
                decided = await self.review.decide(body, principal, self.queries)
                await self.queries.approved.prune()
                await request.send(m.Request(decided))
            case m.AuditShow():
                await request.send(m.Records(await self.activity.show(body, principal)))
            case m.Exposure(dataset=ref):
                await request.send(await self.exposure.of(self._own(ref, principal)))
            case m.ClearFailures(dataset=ref):
                await request.send(await self.failed.clear(body, principal, self._own(ref, principal)))
            case m.TryPolicy(dataset=ref):
                await request.send(await self.trial.of(self._own(ref, principal), body))
            case m.AuditVerify():
                await request.send(await self._verify(principal))
            case (
                m.Fit() | m.RequestFit() | m.ListRuns() | m.GetRun() | m.StopRun() | m.ResumeRun() | m.TestRun() | m.GetWeights()
                | m.DeleteRun()
            ):  # fmt: skip
                await self.training.handle(request)
            case _:
                msg = f"The server does not answer {type(body).__name__} here."
                raise InputError(msg, code="wire.unexpected")

    async def close(self) -> None:
        """Finish what is being written to disk, then let go of the datasets in memory."""
        await self.training.close()
        await self.uploads.finish()
        await self.review.notifier.close()
        with suppress(ServerError):
            await asyncio.to_thread(self.store.asked.flush)
        self.files.close()

    async def watch(self) -> None:
        """End requests and approvals at their time, and tell of it, for ever."""
        while True:
            await asyncio.sleep(EXPIRY_EVERY)
            try:
                for name in self.store.identities.names():
                    if not await asyncio.to_thread(self.known, name):
                        await asyncio.to_thread(self.store.identities.gone, name, time.time())
                await self.review.tell_ended()
                await asyncio.to_thread(self.store.asked.flush)
                await self.training.models.sweep()
            except Exception:  # noqa: BLE001 - one look that failed must not be the last
                log_incident("what ended could not be told")

    async def _changed(self, before: DatasetRecord | None, after: DatasetRecord | None) -> None:
        """Tell of a dataset that changed (before: None for a new one, after: None for one that is gone)."""
        self.news.datasets(before, after)
        if before is not None and before.kind == "table":
            await self.review.tell_ended(outdated=True)

    # ---- answers -----------------------------------------------------------------------------------------------------

    def _welcome(self, principal: Principal, shown: m.Shown | None) -> m.Welcome:
        return m.Welcome(
            server="BastionLab",
            version=__version__,
            identity=principal.name,
            roles=principal.roles,
            verify_key=self.store.keys.verify_key,
            checkpoint=self.store.audit.checkpoint(time.time()),
            shown=shown,
            notices=self.notices,
        )

    async def _save(self, body: m.Save, principal: Principal) -> m.Dataset:
        """Keep a plan under a name. Nothing is computed and nothing leaves: it is judged when it is fetched."""
        who, now = principal.name, time.time()
        subject, _ = await self.queries.subject(body.plan, who)
        if not subject.records:
            msg = "There is no dataset in this query, so there is nothing to save."
            raise InputError(msg, code="input.save.nothing")
        policy = merge(record.facts.policy for record in subject.records.values())
        if not policy.savable:
            msg = "The owner's policy does not let results be saved."
            raise PolicyError(msg, code="policy.not-savable", next_step="Build the query anew where you need it.")
        # a name made up here is never one that someone else has: that would tell of frames one may not see
        name = body.name or f"saved-{subject.plan_hash[:8]}-{secrets.token_hex(3)}"
        check_dataset_name(name)
        facts = DatasetFacts(
            id=Datasets.new_id(), name=name, version=1, columns=_columns(subject, subject.bound.root), policy=policy,
            owner=who, plan=subject.bound.root,  # type: ignore[arg-type]
        )  # fmt: skip

        def change() -> tuple[DatasetRecord, list[Record]]:
            record = self.store.datasets.add(facts, None, now=now, plan=encode(subject.bound.root))
            summary, plan = f"saved {name}", subject.plan_hash
            return record, about(subject.records, now=now, kind="note", who=who, summary=summary, plan_hash=plan)

        record = await self.journal.change(change)
        await self._changed(None, record)
        return self.catalogue.card(record, principal)

    async def _delete(self, body: m.Delete, principal: Principal) -> None:
        now = time.time()
        record = self.catalogue.find(body.dataset, principal.name)
        self._must_own(record, principal)

        def change() -> tuple[None, list[Record]]:
            if record.kind == "table":
                check_signed(self.store, principal, body.signed, {"action": "delete", "dataset": body.dataset}, now)
            kin = self._kin(record)
            if kin:
                # what is remembered of these people is under the keys of all their tables
                check_open(self.store, (record, *kin))
                self.store.ring.retire(record.facts.id)
                self.store.histories.reseal(record.facts.domain)
            self.store.datasets.delete(record.facts.id, now=now)
            self.store.witness.leave(record.facts.domain, record.facts.id)
            self.store.asked.forget(record.facts.id)
            summary = f"deleted {record.facts.name}"
            return None, about([record.facts.id], now=now, kind="policy", who=principal.name, summary=summary)

        def work() -> None:
            # INVARIANT: nothing is written of these people between a deletion that failed and the return of the key to what they are
            # written under: it would not open with all their keys
            with self.store.database.still():
                try:
                    self.journal.change_blocking(change)
                except BaseException:
                    self.store.ring.restore(record.facts.id)
                    raise

        await asyncio.to_thread(work)
        self.store.ring.forget(record.facts.id)
        self.files.forget(record.facts.id)
        await self._changed(record, None)
        await self.queries.approved.prune()

    def _kin(self, record: DatasetRecord) -> list[DatasetRecord]:
        """Return the other sealed tables of a sealed one's people."""
        if not record.owner_sealed:
            return []
        others = self.store.datasets.list()
        return [
            r
            for r in others
            if r.owner_sealed and r.facts.domain == record.facts.domain and r.facts.id != record.facts.id
        ]

    async def _set_policy(self, body: m.SetPolicy, principal: Principal) -> m.Dataset:
        """Change policy, roles or access list. What is not named stays."""
        now = time.time()
        record = self.catalogue.find(body.dataset, principal.name)
        self._must_own(record, principal)
        check_open(self.store, (record,))
        if body.policy is None and not body.roles and body.allow is None:
            msg = "There is nothing to change: no policy, no roles and no access list."
            raise InputError(msg, code="input.policy.nothing")
        check_allow(body.allow or ())
        expected = {
            "action": "set_policy", "dataset": body.dataset, "policy": body.policy, "roles": body.roles,
            "allow": None if body.allow is None else list(body.allow),
        }  # fmt: skip
        facts = proposed(record, body.policy, body.roles, self.known)
        what = [
            n for n, v in (("policy", body.policy), ("roles", body.roles), ("access list", body.allow)) if v is not None
        ]
        records = about(
            [facts.id], now=now, kind="policy", who=principal.name, summary=f"changed {' and '.join(what)} of {facts.name}",
            red=bool(facts.policy.effective().open or facts.policy.weaken),
            details={"policy": body.policy or "", "roles": body.roles or {}, "allow": list(body.allow or ())},
        )  # fmt: skip

        def change() -> tuple[DatasetRecord, list[Record]]:
            check_signed(self.store, principal, body.signed, expected, now)
            check_open(self.store, (self.store.datasets.get(record.facts.id),))
            changed = record
            if body.policy is not None or body.roles:
                with lines(body.policy):
                    settle(self.store, facts, self.known, record.facts)
                changed = self.store.datasets.set_facts(facts, by=principal.name, now=now, signed=body.signed)
            if body.allow is not None:
                changed = self.store.datasets.set_allow(facts.id, body.allow)
            return changed, records

        changed = await self.journal.change(change)
        held = self.store.ring.held(facts.id)
        if held is not None:
            self.store.ring.take(facts.id, replace(held, decided=changed.decided))
        await self._changed(record, changed)
        return self.catalogue.card(changed, principal)

    async def _verify(self, principal: Principal) -> m.Verified:
        if not any(principal.has(role) for role in ("owner", "auditor", "admin")):
            raise _role("Owners and auditors verify the audit log.")
        checkpoint = self.store.audit.checkpoint(time.time())
        path = self.store.directory / "audit.log"
        problems = await asyncio.to_thread(
            verify, path, self.store.keys.verify_key, witnessed=(checkpoint,), size=checkpoint.size
        )
        return m.Verified(not problems, checkpoint.size, " ".join(problems), checkpoint)

    def _own(self, ref: str, principal: Principal) -> DatasetRecord:
        record = self.catalogue.find(ref, principal.name)
        self._must_own(record, principal)
        return record

    def _must_own(self, record: DatasetRecord, principal: Principal) -> None:
        check_owner(self.store, record, principal)
        if record.facts.owner != principal.name:
            msg = f"The dataset {record.facts.name!r} is not yours."
            raise NotAuthorised(msg, code="wire.auth.owner", next_step="Ask its owner.")


def _columns(subject: Subject, root: Node) -> tuple[ColumnFacts, ...]:
    """Return column facts of a saved frame, for its card. Judging reads the inlined plan, never these."""
    known = {c.name: c for record in subject.records.values() for c in record.facts.columns}
    return tuple(
        ColumnFacts(
            name, dtype, known[name].role if name in known and known[name].dtype == dtype else Role(RoleKind.QUASI)
        )
        for name, dtype in subject.bound.schemas[root].items()
    )


def _role(sentence: str) -> NotAuthorised:
    return NotAuthorised(sentence, code="wire.auth.role", next_step="Use an identity with that role.")
