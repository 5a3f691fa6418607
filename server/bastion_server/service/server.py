"""The service: every message the protocol knows, and what it does."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

import msgspec
from bastion_plan.canonical import encode
from bastion_plan.errors import InputError, NotAuthorised, PolicyError
from bastion_plan.nodes import Node
from bastion_policy.checks import check_data, check_people, check_rules
from bastion_policy.facts import ColumnFacts, DatasetFacts
from bastion_policy.merge import merge
from bastion_policy.model import from_toml
from bastion_policy.roles import Role, RoleKind
from bastion_wire import messages as m

from bastion_server import __version__
from bastion_server.channel.keys import Principal
from bastion_server.channel.sessions import Incoming
from bastion_server.service.catalogue import Catalogue, MemoryFiles, Subject
from bastion_server.service.exposure import ExposureService
from bastion_server.service.journal import Journal, about
from bastion_server.service.queries import QueryService
from bastion_server.service.review import ReviewService
from bastion_server.service.statements import check_signed
from bastion_server.service.uploads import (
    MAX_HELD,
    Sink,
    UploadService,
    check_allow,
    check_dataset_name,
    check_policy_size,
    check_unit_domain,
    enforceable,
    lines,
)
from bastion_server.store import DatasetRecord, Datasets, Record, Store
from bastion_server.store.verify import verify
from bastion_server.workers.pool import WorkerPool


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
    ) -> None:
        """Take what it works with. known: whether a name has a key or an invitation."""
        self.store, self.pool, self.push, self.notices, self.known = store, pool, push, notices, known
        self.catalogue = Catalogue(store, known)
        self.files = MemoryFiles(store, memory)
        self.journal = Journal(store)
        self.review = ReviewService(store, self.catalogue, self.journal, push)
        self.queries = QueryService(store, pool, self.files, self.catalogue, self.journal, self.review)
        self.exposure = ExposureService(store)
        self.uploads = UploadService(store, pool, self.files, self.catalogue, self.journal, known)

    async def begin(self, request: Incoming) -> Sink:
        """Accept an upload, or raise."""
        return await self.uploads.begin(request)

    async def handle(self, request: Incoming) -> None:
        """Answer one request."""
        body, principal = request.body, request.principal
        who = principal.name
        match body:
            case m.Hello():
                await request.send(self._welcome(principal))
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
            case m.RequestAccess():
                await request.send(m.Request(await self.review.file(request, self.queries)))
            case m.ListRequests():
                await request.send(m.Requests(self.review.list(body, principal)))
            case m.GetRequest(request=ref):
                await request.send(m.Request(await self.review.whole(ref, who)))
            case m.Withdraw(request=ref):
                await request.send(m.Request(await self.review.withdraw(ref, who)))
            case m.Decide():
                decided = await self.review.decide(body, principal)
                await self.queries.approved.prune()
                await request.send(m.Request(decided))
            case m.AuditShow():
                await request.send(m.Records(await self._audit(body, principal)))
            case m.Exposure(dataset=ref):
                await request.send(await self.exposure.of(self._own(ref, principal)))
            case m.AuditVerify():
                await request.send(await self._verify(principal))
            case _:
                msg = f"The server does not answer {type(body).__name__} here."
                raise InputError(msg, code="wire.unexpected")

    async def close(self) -> None:
        """Finish what is being written to disk, then let go of the datasets in memory."""
        await self.uploads.finish()
        self.files.close()

    # ---- answers -----------------------------------------------------------------------------------------------------

    def _welcome(self, principal: Principal) -> m.Welcome:
        return m.Welcome(
            server="BastionLab",
            version=__version__,
            identity=principal.name,
            roles=principal.roles,
            verify_key=self.store.keys.verify_key,
            checkpoint=self.store.audit.checkpoint(time.time()),
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
        return self.catalogue.card(record, principal)

    async def _delete(self, body: m.Delete, principal: Principal) -> None:
        now = time.time()
        record = self.catalogue.find(body.dataset, principal.name)
        self._must_own(record, principal)

        def change() -> tuple[None, list[Record]]:
            if record.kind == "table":
                check_signed(self.store, principal, body.signed, {"action": "delete", "dataset": body.dataset}, now)
            self.store.datasets.delete(record.facts.id, now=now)
            summary = f"deleted {record.facts.name}"
            return None, about([record.facts.id], now=now, kind="policy", who=principal.name, summary=summary)

        await self.journal.change(change)
        self.files.forget(record.facts.id)
        await self.queries.approved.prune()

    async def _set_policy(self, body: m.SetPolicy, principal: Principal) -> m.Dataset:
        """Change policy, roles or access list. What is not named stays."""
        now = time.time()
        record = self.catalogue.find(body.dataset, principal.name)
        self._must_own(record, principal)
        if record.kind != "table":
            msg = "A saved frame has the policy of the tables it was made from."
            raise InputError(msg, code="input.policy.saved", next_step="Change the policy of those tables.")
        if body.policy is None and not body.roles and body.allow is None:
            msg = "There is nothing to change: no policy, no roles and no access list."
            raise InputError(msg, code="input.policy.nothing")
        check_policy_size((body.policy or "") + "".join(f"{k}{v}" for k, v in (body.roles or {}).items()))
        check_allow(body.allow or ())
        expected = {
            "action": "set_policy", "dataset": body.dataset, "policy": body.policy, "roles": body.roles,
            "allow": None if body.allow is None else list(body.allow),
        }  # fmt: skip
        policy = record.facts.policy if body.policy is None else from_toml(body.policy)
        if body.roles:
            policy = msgspec.structs.replace(policy, roles={**(policy.roles or {}), **body.roles})
        with lines(body.policy):
            check_rules(policy)
            if body.policy is not None:
                check_people(policy, self.known)
            check_unit_domain(record.facts, policy)
            facts = record.facts.with_policy(enforceable(policy, body.policy))
            if facts.unit != record.facts.unit:
                msg = "The privacy unit of a table cannot be changed."
                raise PolicyError(
                    msg, code="policy.unit", reason="What was released counted other people.",
                    next_step="Upload the table again under another name.", details={"path": "unit"},
                )  # fmt: skip
            if record.private is not None and (body.policy is not None or body.roles):
                check_data(policy, facts.columns, record.private)

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
            changed = record
            if body.policy is not None or body.roles:
                changed = self.store.datasets.set_facts(facts, by=principal.name, now=now, signed=body.signed)
            if body.allow is not None:
                changed = self.store.datasets.set_allow(facts.id, body.allow)
            return changed, records

        changed = await self.journal.change(change)
        return self.catalogue.card(changed, principal)

    async def _audit(self, body: m.AuditShow, principal: Principal) -> tuple[m.AuditRecord, ...]:
        limit = max(1, min(body.limit, 1000))
        everything = principal.has("auditor") or principal.has("admin")
        dataset = None
        if body.dataset is not None:
            dataset = body.dataset if everything else self._own(body.dataset, principal).facts.id
            found = self.store.datasets.find(dataset)
            dataset = found.facts.id if found is not None else dataset
        if everything:
            records = self.store.audit.show(dataset=dataset, limit=limit)
        elif principal.has("owner"):
            own = [r.facts.id for r in self.store.datasets.list() if r.facts.owner == principal.name]
            records = self.store.audit.show(datasets=own, dataset=dataset, limit=limit)
        else:
            raise _role("Owners and auditors read the audit log.")
        return tuple(records)

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

    @staticmethod
    def _must_own(record: DatasetRecord, principal: Principal) -> None:
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
