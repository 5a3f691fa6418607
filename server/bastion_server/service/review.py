"""Access requests: filed by scientists, decided by owners, pushed to both."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from bastion_plan.errors import BastionError, InputError, NotFound, ServerError
from bastion_policy.verdict import Outcome, StaticVerdict
from bastion_wire.messages import Decide, ListRequests, PastEvent, Push, RequestAccess, RequestInfo

from bastion_server.channel.keys import Principal
from bastion_server.channel.sessions import Incoming
from bastion_server.service import dossier
from bastion_server.service.catalogue import Catalogue, Subject
from bastion_server.service.journal import Journal, about
from bastion_server.service.latency import paced
from bastion_server.service.notify import Notice, Notifier
from bastion_server.service.opened import check_open
from bastion_server.service.statements import check_signed
from bastion_server.store import AccessRequest, Grant, Record, Shown, Store

if TYPE_CHECKING:
    from bastion_server.service.queries import QueryService

MAX_REASON = 2000
#: what an owner of some of a request's data is shown instead of figures
_JOINT = "Other owners' data is part of this: figures of the result are shown to nobody but who owns all of it."
#: seconds that an owner waits at most for what an approval would tell as of now
LOOK = 10.0


class ReviewService:
    """Everything about requests and decisions. `push(name, message)` reaches an identity's live sessions."""

    def __init__(self, store: Store, catalogue: Catalogue, journal: Journal, push: Callable[[str, Push], int]) -> None:
        self.store, self.catalogue, self.journal, self.push = store, catalogue, journal, push
        self.notifier = Notifier(None)
        self._using: dict[str, tuple[asyncio.Lock, int]] = {}  # by grant: its lock, and who holds or awaits it
        #: by open request, then by owner: of how many people they were shown that something follows, since it was filed; "": the last
        self._seen: dict[str, dict[str, float]] = {}

    def decides(self, request: str, who: str) -> bool:
        """Whether `who` is an owner who has a say in this request."""
        try:
            filed = self.store.requests.get(request)
        except NotFound:
            return False
        return any(owner.owner == who for owner in filed.owners)

    @asynccontextmanager
    async def using(self, grant: Grant) -> AsyncIterator[bool]:
        """Let one run at a time use a grant; False where an earlier run used it up meanwhile, or its date is past."""
        lock, users = self._using.get(grant.id, (asyncio.Lock(), 0))
        self._using[grant.id] = (lock, users + 1)
        try:
            async with lock:
                current = self.store.grants.of_request(grant.request)
                yield current is not None and not current.ended and current.until > time.time()
        finally:
            _, users = self._using.pop(grant.id)
            if users > 1:
                self._using[grant.id] = (lock, users - 1)

    async def file(self, request: Incoming, queries: QueryService) -> RequestInfo:
        """File an access request for a plan, with what its owners need to decide."""
        body, who = request.body, request.principal.name
        assert isinstance(body, RequestAccess)
        reason = body.reason.strip()
        if not reason or len(reason) > MAX_REASON:
            msg = f"A request needs a reason of 1 to {MAX_REASON} characters."
            raise InputError(msg, code="input.reason", next_step="Say in a sentence what you need it for.")
        subject, static = await queries.subject(body.plan, who)
        if not subject.records:
            msg = "This query reads no dataset, so there is nobody to ask."
            raise InputError(msg, code="input.request.nobody")
        known = self.store.requests.find(subject.plan_hash, subject.versions, who, subject.policy_versions)
        if known is not None and (known.state in ("pending", "denied") or _in_force(known)):
            return self.info(known, who)
        self._check_open(who)

        def record(kind: str, summary: str) -> list[Record]:
            now, plan = time.time(), subject.plan_hash
            joint = subject.joint
            return about(subject.records, now=now, kind=kind, who=who, summary=summary, plan_hash=plan, joint=joint)

        # INVARIANT: whether a query needs approval is an answer about the data, so it is on record before it is told
        intent = self.journal.begin(record("intent", "request"))
        try:
            # what was measured for the owner took its time, and how long must not tell the requester of it
            shown = await paced(
                request, subject.facts, time.monotonic(), lambda _: self._shown(subject, static, who, queries)
            )
        except BastionError as error:
            await self.journal.settle(intent)
            await self.journal.write(record("outcome", f"not filed: {error.code}"))
            raise
        await self.journal.settle(intent)

        def change() -> tuple[tuple[AccessRequest, bool], list[Record]]:
            filed, new = self.store.requests.file(
                plan_hash=subject.plan_hash, plan=body.plan, versions=subject.versions, policy_versions=subject.policy_versions,
                requester=who, owners=subject.owners, reason=reason, now=time.time(), shown=shown,
            )  # fmt: skip
            return (filed, new), record("request", f"{filed.id}: {reason}") if new else []

        filed, new = await self.journal.change(change)
        if new:
            names = tuple(subject.names[key] for key in subject.records)
            self.notifier.tell(Notice(filed.id, who, subject.owners, names, filed.created))
            for owner in subject.owners:
                past = await asyncio.to_thread(dossier.past, self.store, filed, owner)
                self.push(owner, Push("request", self.info(filed, owner, past), text=f"{who} asks: {reason}"))
        return self.info(filed, who)

    def _check_open(self, who: str) -> None:
        """Refuse early what `Requests.file` would refuse: each request costs a run of the judge."""
        limit = self.store.requests.limits.pending
        if len(self.store.requests.list(requester=who, states=("pending",), limit=limit)) >= limit:
            msg = "You have filed too many access requests."
            raise InputError(
                msg,
                code="input.request.too-many",
                reason=f"At most {limit} may be open.",
                next_step="Wait for the owner's decisions, or withdraw some.",
            )

    async def _shown(self, subject: Subject, static: StaticVerdict, who: str, queries: QueryService) -> Shown:
        findings, verdict, approval = static.findings, None, dict[str, float]()
        if static.outcome is not Outcome.REFUSE:
            try:
                verdict = await queries.considered(subject, who, f"request by {who}")
            except BastionError:
                verdict = None  # the owner may decide without measured figures
            if verdict is not None:
                if verdict.outcome is Outcome.RELEASE:
                    msg = "This query needs nobody's approval."
                    raise InputError(msg, code="input.request.not-needed", next_step="Run it.")
                static = type(static)(verdict.outcome, static.summary, verdict.findings or findings, static.columns)
                findings = static.findings
        if static.outcome is Outcome.REFUSE:
            msg = "The policy does not let the owner be asked for this."
            raise InputError(
                msg, code="input.request.refused", reason=findings[0].reason if findings else "",
                next_step=findings[0].fix if findings else "",
            )  # fmt: skip
        with suppress(BastionError):  # as above
            approval = await queries.approval(subject, who)
        return await asyncio.to_thread(dossier.shown, subject, findings, verdict, approval)

    async def _follows(self, filed: AccessRequest, who: str, queries: QueryService) -> float:
        """Return of how many people something would follow from an approval as of now; `who`, an owner, is shown that.

        INVARIANT: it is measured of all the data together, so where that has several owners nobody is shown it.

        Raises:
            BastionError: it cannot be measured now, and could be when the request was filed.
        """
        before = filed.shown.figures.get("completed", 0.0)
        if filed.state != "pending" or not _owns_all(filed, who):
            return before
        try:
            subject, _ = await queries.subject(filed.plan, filed.requester)
        except BastionError:
            return before  # the data has changed: nobody can approve it
        if (subject.versions, subject.policy_versions) != (filed.versions, filed.policy_versions):
            return before
        try:
            found = await queries.follows(subject, filed.requester)
        except BastionError:
            if "rows" in filed.shown.figures:
                raise
            return before  # as when it was filed: the owner decides without
        seen = self._seen.setdefault(filed.id, {})
        seen[who] = seen[""] = found
        return found

    async def _check_seen(self, filed: AccessRequest, who: str, queries: QueryService) -> None:
        """Check that an owner who approves was shown what follows from it as of now.

        INVARIANT: what the requester asks while the request waits counts: an owner decides about what holds now.

        Raises:
            InputError: input.request.changed.
        """
        seen = self._seen.get(filed.id, {}).get(who, filed.shown.figures.get("completed", 0.0))
        found = await self._follows(filed, who, queries)
        if found > seen:
            self.told(filed)
            msg = "More follows from this approval than you were shown: the requester has asked something since."
            raise InputError(
                msg, code="input.request.changed", reason=f"As of now {dossier.follows(found)}",
                next_step="Deny it, or approve it once more, now that you know.", details={"completed": found},
            )  # fmt: skip

    async def decide(self, body: Decide, principal: Principal, queries: QueryService) -> RequestInfo:
        """Record an owner's signed decision and tell the requester."""
        now = time.time()
        if body.decision not in ("approve", "deny", "read", "withhold", "revoke"):
            msg = f"There is no decision {body.decision!r}."
            raise InputError(
                msg, code="input.decision", next_step='Use "approve", "deny", "read", "withhold" or "revoke".'
            )
        filed = self.get(body.request, principal.name)
        expected = {
            "action": "decide", "request": body.request, "decision": body.decision, "plan_hash": filed.plan_hash,
            "reason": body.reason, "until": body.until, "may_run": body.may_run, "may_read": body.may_read,
        }  # fmt: skip
        approve = body.decision == "approve"
        if len(body.reason) > MAX_REASON:
            msg = f"A word to the requester has at most {MAX_REASON} characters."
            raise InputError(msg, code="input.reason")
        records = about(
            filed.versions, now=now, kind="decision", who=principal.name, plan_hash=filed.plan_hash,
            summary=f"{body.decision} {filed.id} of {filed.requester}" + (f": {body.reason}" if body.reason else ""),
            details={
                "request": filed.id, "requester": filed.requester, "until": body.until, "may_run": body.may_run,
                "may_read": body.may_read,
            },
        )  # fmt: skip
        reading, revoking = body.decision in ("read", "withhold"), body.decision == "revoke"
        if reading:
            self._check_reading(filed, principal.name)
        if revoking:
            self._check_revoking(filed, principal.name)
        if approve or body.decision == "read":
            self._check_shown(filed)
        if approve:
            await self._check_seen(filed, principal.name, queries)

        forget = partial(self.store.grants.vouching.forget, body.request)

        def change() -> tuple[AccessRequest | BastionError, list[Record]]:
            check_signed(self.store, principal, body.signed, expected, now)
            try:
                if body.decision == "read":
                    self.store.grants.vouching.heard(body.request, principal.verify_key, filed.versions, may_read=True)
                if reading:
                    assert filed.grant is not None
                    self.store.grants.decide_reading(
                        filed.grant.id, owner=principal.name, allow=body.decision == "read", now=now, answer=body.reason,
                        signed=body.signed,
                    )  # fmt: skip
                    if body.decision == "withhold":
                        forget()
                    return self.store.requests.get(body.request), records
                if revoking:
                    assert filed.grant is not None
                    self.store.grants.revoke_by(
                        filed.grant.id, owner=principal.name, now=now, answer=body.reason, signed=body.signed
                    )
                    forget()
                    return self.store.requests.get(body.request), records
                if approve:
                    self.store.grants.vouching.heard(
                        body.request, principal.verify_key, filed.versions, may_read=body.may_read
                    )
                decided = self.store.requests.decide(
                    body.request, owner=principal.name, approve=approve, now=now, answer=body.reason, until=body.until,
                    may_run=body.may_run, may_read=body.may_read, signed=body.signed,
                )  # fmt: skip
                if body.decision == "deny":
                    forget()
            except InputError as error:  # what it found out (expired, outdated) stays recorded
                return error, []
            return decided, records

        decided = await self.journal.change(change)
        if isinstance(decided, BastionError):
            if approve and any(o.owner == principal.name for o in filed.owners):
                forget()
            await self.tell_ended()
            raise decided
        if decided.state != "pending":
            self.changed(decided)
        return self.info(decided, principal.name)

    def _check_shown(self, filed: AccessRequest) -> None:
        """Check that an owner could be shown what they approve.

        Raises:
            ServerError: server.locked, server.catalogue.changed. AttestationError: tee.release.decided.
        """
        if filed.problem is not None:
            raise filed.problem
        found = (self.store.datasets.find(dataset) for dataset in filed.versions)
        check_open(self.store, (record for record in found if record is not None))

    @staticmethod
    def _check_owner(filed: AccessRequest, who: str) -> None:
        if all(owner.owner != who for owner in filed.owners):
            msg = f"There is no access request {filed.id!r} that you may decide."
            raise NotFound(msg, code="missing.request")

    def _check_reading(self, filed: AccessRequest, who: str) -> None:
        """Check that there is something whose reading may be decided, by its owner.

        Raises:
            NotFound: missing.request. InputError: input.request.reading, input.request.outdated.
        """
        self._check_owner(filed, who)
        if filed.grant is None:
            msg = f"This request is {filed.state}: nothing of it waits to be read."
            raise InputError(
                msg, code="input.request.reading", next_step="Approve it, with may_read=False to look first."
            )
        for dataset, version in filed.versions.items():
            record = self.store.datasets.find(dataset)
            now = None if record is None else (record.facts.version, record.facts.policy_version)
            if now != (version, filed.policy_versions[dataset]):
                msg = "The data or its policy changed after this request was filed."
                raise InputError(
                    msg,
                    code="input.request.outdated",
                    next_step="The scientist can ask again about the data as it is now.",
                )

    def _check_revoking(self, filed: AccessRequest, who: str) -> None:
        """Check that there is an approval to end, by an owner of it.

        Raises:
            NotFound: missing.request. InputError: input.request.revoking, input.grant.ended.
        """
        self._check_owner(filed, who)
        if filed.grant is None:
            msg = f"This request is {filed.state}: there is no approval to revoke."
            raise InputError(msg, code="input.request.revoking")

    async def withdraw(self, request: str, who: str) -> RequestInfo:
        """Take back one's own open request."""
        now = time.time()

        def change() -> tuple[AccessRequest, list[Record]]:
            taken = self.store.requests.withdraw(request, requester=who, now=now)
            summary, plan = f"withdrew {request}", taken.plan_hash
            return taken, about(taken.versions, now=now, kind="request", who=who, summary=summary, plan_hash=plan)

        taken = await self.journal.change(change)
        for owner in taken.owners:
            self.push(owner.owner, Push("request", self.info(taken, owner.owner)))
        return self.info(taken, who)

    def get(self, request: str, who: str) -> AccessRequest:
        """Return a request that `who` filed or decides.

        Raises:
            NotFound: missing.request, also for one of others.
        """
        try:
            filed = self.store.requests.get(request)
        except NotFound:
            filed = None
        if filed is None or not (self._theirs(filed, who) or any(o.owner == who for o in filed.owners)):
            msg = f"There is no access request {request!r} that you may see."
            raise NotFound(msg, code="missing.request")
        return filed

    def _theirs(self, filed: AccessRequest, who: str) -> bool:
        """Whether who has the name now filed a request, not one who had it before."""
        return filed.requester == who and filed.created >= self.store.identities.since(who)

    def list(self, body: ListRequests, principal: Principal) -> tuple[RequestInfo, ...]:
        """Return one's own requests and those one decides, oldest first."""
        who = principal.name
        self.store.requests.expire(time.time())
        mine = self.store.requests.list(requester=who, states=body.states, since=self.store.identities.since(who))
        found = {r.id: r for r in mine}
        if principal.has("owner"):
            found |= {r.id: r for r in self.store.requests.list(owner=who, states=body.states)}
        return tuple(self.info(r, who) for r in sorted(found.values(), key=lambda r: (r.created, r.id)))

    async def whole(self, request: str, who: str, queries: QueryService | None = None) -> RequestInfo:
        """Return a request with all that `who` may see of it. queries: they read it, and see what an approval would tell as of now."""
        filed = self.get(request, who)
        if queries is not None:
            with suppress(BastionError, TimeoutError):  # measured again before it is approved
                async with asyncio.timeout(LOOK):
                    await self._follows(filed, who, queries)
        past = await asyncio.to_thread(dossier.past, self.store, filed, who)
        return self.info(filed, who, past)

    def told(self, filed: AccessRequest, text: str = "") -> None:
        """Tell the owners of a request what became of it, in words if there are any."""
        for owner in {o.owner for o in filed.owners}:
            self.push(owner, Push("request", self.info(filed, owner), text=text))

    def changed(self, filed: AccessRequest, text: str = "") -> None:
        """Tell a requester and the owners how a request stands now: decided, ended, its approval used."""
        self._seen.pop(filed.id, None)
        self.push(filed.requester, Push("decision", self.info(filed, filed.requester)))
        self.told(filed, text)

    async def tell_ended(self, *, outdated: bool = False) -> None:
        """End requests and approvals that are past their date, and tell requesters and owners of all that ended so.

        outdated: also end those about data or policies that changed since, which nobody can decide or use any more.
        """
        store, now = self.store, time.time()
        with suppress(ServerError):  # tried again at the next look, and what is past its date is never used meanwhile
            if outdated:
                await asyncio.to_thread(store.requests.expire_outdated, now)
            if store.requests.due(now):
                await asyncio.to_thread(store.requests.expire, now)
                await asyncio.to_thread(store.grants.expire, now)
            ended = [*_taken(store.requests.ended), *_taken(store.grants.ended)]
            for filed in map(store.requests.get, dict.fromkeys(ended)):
                self.changed(filed)

    def info(self, filed: AccessRequest, who: str, past: tuple[PastEvent, ...] = ()) -> RequestInfo:
        """Return a request as `who` may see it.

        INVARIANT: figures, private findings and the past are for owners only; of the past, each sees that of their own tables. What
        was measured is of all the data together, so it is for who owns all of it: the owner of one of two tables did not become
        a reader of the other, and may be the very one who asks.
        """
        decides, owns = any(owner.owner == who for owner in filed.owners), _owns_all(filed, who)
        grant, shown = filed.grant, filed.shown
        if owns and filed.id in self._seen:
            shown = dossier.as_of_now(shown, self._seen[filed.id][""])
        private = shown.findings_private if owns else (_JOINT,) if decides else ()
        kept = None
        with suppress(ServerError):  # a catalogue that says other is told of where the result is asked for
            kept = self.store.results.get(grant.id) if grant is not None and not grant.ended else None
        answers = self._later_words(grant) if grant is not None else ()
        return RequestInfo(
            id=filed.id,
            state=filed.state,
            requester=filed.requester,
            reason=filed.reason,
            plan_hash=filed.plan_hash,
            datasets=tuple(self._name(d) for d in filed.versions),
            created=filed.created,
            code=filed.shown.code,
            words=filed.shown.words,
            columns=filed.shown.columns,
            findings=filed.shown.findings,
            findings_private=private,
            decided_by=filed.decided_by,
            decided_at=filed.decided_at,
            answer=answers[-1] if answers else filed.answer,
            until=grant.until if grant is not None else 0.0,
            history=self._history(filed, who) if decides else (),
            plan=filed.plan,
            expressions=filed.shown.expressions,
            roles=filed.shown.roles,
            uses=filed.shown.uses,
            figures=shown.figures if owns else {},
            past=past if decides else (),
            may_run=grant.may_run if grant is not None else True,
            may_read=grant.may_read if grant is not None else True,
            ran=kept.created if kept is not None else 0.0,
            ended=grant.ended if grant is not None else "",
            expires=filed.expires if filed.state == "pending" else 0.0,
            model=filed.shown.model,
            spec=filed.shown.spec,
        )

    def _later_words(self, grant: Grant) -> tuple[str, ...]:
        """Return what owners said after the approval: on reading, and in ending it."""
        ended = self.store.grants.revocation(grant.id)
        said = [*self.store.grants.readings(grant.id), *([ended] if ended is not None else [])]
        return tuple(word.answer for word in said if word.answer)

    def _name(self, dataset: str) -> str:
        record = self.store.datasets.find(dataset)
        return record.facts.name if record is not None else dataset

    def _history(self, filed: AccessRequest, owner: str) -> tuple[str, ...]:
        """Return what the requester asked of an owner's tables before, newest first."""
        earlier = [
            r
            for dataset in dossier.theirs(self.store, filed, owner)
            for r in self.store.requests.list(requester=filed.requester, dataset=dataset, limit=20)
            if r.id != filed.id
        ]
        return tuple(dict.fromkeys(f"{r.id}: {r.state}: {r.reason}" for r in earlier))


def _taken(names: deque[str]) -> list[str]:
    """Take all out of a queue that threads put into."""
    return [names.popleft() for _ in range(len(names))]


def _owns_all(filed: AccessRequest, who: str) -> bool:
    """Whether `who` owns all data of a request: only then are they shown what was measured of it."""
    return {owner.owner for owner in filed.owners} == {who}


def _in_force(filed: AccessRequest) -> bool:
    grant = filed.grant
    return grant is not None and not grant.ended and grant.until > time.time()
