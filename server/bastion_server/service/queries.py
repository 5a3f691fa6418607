"""The way of one query: bind, judge, run beside the data, write down, answer."""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import polars as pl
from bastion_plan.canonical import decode, plan_hash
from bastion_plan.errors import (
    AttestationError,
    BastionError,
    InputError,
    NotAuthorised,
    NotFound,
    PolicyError,
    ServerError,
    WireError,
)
from bastion_plan.nodes import Node, Slice
from bastion_policy.flow import static_verdict
from bastion_policy.flow_failures import may_fail
from bastion_policy.history import History
from bastion_policy.judge import FAILED_OFTEN, approved_plan, judge, witness
from bastion_policy.verdict import Finding, Judgement, Measured, Outcome, ReleaseNote, StaticVerdict, Verdict
from bastion_wire.messages import Denial, Explained, Query, Table

from bastion_server.channel.failures import log_incident
from bastion_server.channel.sessions import Incoming
from bastion_server.engine.dtypes import from_polars
from bastion_server.engine.probe import to_try
from bastion_server.service.approved import ApprovedResults
from bastion_server.service.catalogue import Catalogue, MemoryFiles, Subject
from bastion_server.service.dossier import query_words, released_uses
from bastion_server.service.earlier import earlier
from bastion_server.service.histories import HistoryService, Remembered, to_its_end
from bastion_server.service.journal import Journal, about
from bastion_server.service.latency import paced, until_step
from bastion_server.service.private import PrivateService
from bastion_server.service.result import Result
from bastion_server.service.review import ReviewService
from bastion_server.store import Grant, Store
from bastion_server.workers.errors import query_failed
from bastion_server.workers.lease import Answer, Lease
from bastion_server.workers.pool import WorkerPool

PREVIEW_ROWS = 20
RULE_FAILED = "rule-failed"
SMALL = 8192  #: bytes of a plan up to which it is read and typed on the event loop
_DATA_DEPENDENT = frozenset(f"server.worker.{how}" for how in ("memory", "time", "crashed", "refused", "answer"))
_AS_WRITTEN = "plan.call"  #: the code of a call that fails before any row is read
_OF_THE_SERVER = (ServerError, WireError, AttestationError, NotAuthorised, NotFound)
LARGE = 50_000  #: guard rows from which the judge's arithmetic leaves the event loop


class QueryService:
    """Runs plans."""

    def __init__(
        self,
        store: Store,
        pool: WorkerPool,
        files: MemoryFiles,
        catalogue: Catalogue,
        journal: Journal,
        review: ReviewService,
    ) -> None:
        self.store, self.pool, self.files = store, pool, files
        self.catalogue, self.journal, self.review = catalogue, journal, review
        self.approved = ApprovedResults(store)
        self.histories = HistoryService(store, files.columns)
        self.private = PrivateService(self)
        self._reading = asyncio.Semaphore(2)

    async def subject(self, plan: bytes, who: str) -> tuple[Subject, StaticVerdict]:
        """Decode and bind a plan, and type its flow; a large one off the event loop, two at a time.

        Raises:
            PlanError: the plan is malformed, too large, or does not fit what this identity may see.
        """

        def read() -> tuple[Subject, StaticVerdict]:
            subject = self.catalogue.subject(decode(plan), plan_hash(plan), who)
            try:
                return subject, static_verdict(subject.bound, subject.facts, who)
            except BastionError:
                raise
            except Exception:  # noqa: BLE001 - as in _advance
                (finding,) = _rule_failed().findings
                raise PolicyError(finding.reason, next_step=finding.fix, code=f"policy.{RULE_FAILED}") from None

        if len(plan) <= SMALL:
            return read()
        async with self._reading:
            return await asyncio.to_thread(read)

    async def handle(self, request: Incoming) -> None:
        """Answer a Query: Explained, Table with data, or Denial."""
        body = request.body
        assert isinstance(body, Query)
        started = time.monotonic()
        who = request.principal.name
        if body.mode == "run" and body.request is not None and self.review.decides(body.request, who):
            await self._preview(request, body.request)
            return
        subject, static = await self.subject(body.plan, who)
        match body.mode:
            case "explain":
                schema = tuple(subject.bound.schema.items())
                await request.send(Explained(subject.plan_hash, static, schema))
            case "summarize":
                await request.send(await self.private.summarize(request, subject, static, body.epsilon))
            case "run" | "safe_part":
                self.store.asked.note(subject.records, subject.plan_hash, body.plan, who, time.time())
                run = partial(
                    self._run, subject=subject, static=static, safe_part=body.mode == "safe_part", started=started
                )
                await paced(request, subject.facts, started, run)
            case _:
                msg = f"There is no query mode {body.mode!r}."
                raise InputError(msg, code="input.mode", next_step='Use "run", "safe_part", "explain" or "summarize".')

    # ---- the guarded way ---------------------------------------------------------------------------------------------

    async def _run(
        self, request: Incoming, subject: Subject, static: StaticVerdict, *, safe_part: bool, started: float
    ) -> None:
        who = request.principal.name
        grant = (
            None
            if safe_part
            else self.store.grants.find_grant(
                subject.plan_hash, subject.versions, who, subject.policy_versions, time.time()
            )
        )
        if grant is not None and await self._approved(request, subject, grant, started):
            return
        if await self.private.answer(request, subject, static, started):
            return
        # INVARIANT: the intent is on the disk before the answer leaves (settled below); its sync overlaps the run
        intent = self.journal.begin(
            self._records(subject, "intent", who, "safe part" if safe_part else "query", now=time.time())
        )
        result: Result | None = None
        async with (
            self._outcome(request, subject, who, intent),
            self.histories.turn(subject, who),
            self.lease(subject, who, f"query {subject.plan_hash[:12]} by {who}") as lease,
        ):
            history = await self.histories.of(subject, who, partial(_measured, lease))
            async with self._counted(subject, who, lease, history):
                verdict = await self.judge(lease, subject, who, history, request)
                plan = verdict.safe_part if safe_part and verdict.release is None else verdict.release
                if plan is not None:
                    request.progress("running")
                    result = await self._kept(history, lease, plan, verdict.note)
            if result is None:
                await self._remember(history, subject, verdict)
        if result is None:
            await self.journal.settle(intent)
            await self._deny(request, subject, verdict, static)
            return
        with result:
            await self.journal.settle(intent)
            await self._release(
                request, subject, result, verdict, started, summary="released" if not safe_part else "released in part"
            )

    @asynccontextmanager
    async def _outcome(
        self, request: Incoming, subject: Subject, who: str, intent: list[Future[int]]
    ) -> AsyncIterator[None]:
        """Write down a run that did not come to its end.

        How a query failed (memory, time) may depend on the data, so it is an answer: on record before it is told.
        """
        try:
            yield
        except asyncio.CancelledError:
            with suppress(ServerError):  # a poisoned log tells itself to those who still wait for an answer
                self.journal.begin(self._records(subject, "outcome", who, "cancelled", now=time.time()))
            raise
        except Exception as error:
            # how it failed is for who owns all of the data: of a joint query, what who asks is told is on record
            cause = None if subject.joint else error.__cause__
            told = cause if isinstance(cause, BastionError) else error
            code = told.code if isinstance(told, BastionError) else "server.internal"
            red = code in _DATA_DEPENDENT or code == "server.catalogue.changed"
            await self.journal.settle(intent)
            await until_step(request)
            await self.journal.write(
                self._records(subject, "outcome", who, f"failed: {code}", now=time.time(), red=red)
            )
            raise

    @asynccontextmanager
    async def _counted(self, subject: Subject, who: str, lease: Lease, history: Remembered) -> AsyncIterator[None]:
        """Count a failure of a judged query, and say of it that it is one; a query that was stopped is one.

        INVARIANT: one person's row may decide whether a query fails, and of what. So all failures read alike, each counts
        as an answer at a threshold does, and the budget of those ends them. What the judge itself raises is one of them, be it
        a mistake of ours: only what tells of the server (busy, locked, its disk) or of the connection is told as it is.
        INVARIANT: so may it decide how long a query takes. Who stops one, or goes away, once data was touched has seen that it
        took so long: that is a failure, too, on the disk before the turn ends, and so before the next question is judged.
        Where answers leave at steps, a stop does not come here: the work goes on to its end (latency.py).
        """
        before = lease.runs
        try:
            yield
        except asyncio.CancelledError:
            if history.lenses and lease.runs > before:
                try:
                    await to_its_end(self._count(subject, who, lease))
                except Exception:  # noqa: BLE001 - a history that cannot be kept ends the next question
                    log_incident("a cancelled query could not be counted")
            raise
        except Exception as error:
            code = getattr(error, "code", None)
            told = (isinstance(error, _OF_THE_SERVER) and code not in _DATA_DEPENDENT) or code == _AS_WRITTEN
            if not history.lenses or told:
                raise
            if code not in _DATA_DEPENDENT:
                log_incident("the judge failed")
            await to_its_end(self._count(subject, who, lease))
            raise query_failed() from error

    async def _count(self, subject: Subject, who: str, lease: Lease) -> None:
        """Keep that a query failed; it may have been kept already, as that of a release."""
        current = await self.histories.of(subject, who, partial(_measured, lease))
        current.failed(bytes.fromhex(subject.plan_hash)[:12])
        await self.histories.keep(current)

    @asynccontextmanager
    async def lease(self, subject: Subject, who: str, label: str) -> AsyncIterator[Lease]:
        """Borrow a worker with the subject's tables bound.

        INVARIANT: what fails by how the whole plan is written is found out before anything is measured for any part of it.

        Raises:
            InputError: plan.call.
        """
        try:
            descriptors = await self.files.descriptors(subject.records.values())
        except ServerError:
            self.catalogue.check_unchanged(subject, who)  # replaced or deleted just now
            raise
        try:
            async with await self.pool.acquire(who, label=label) as lease:
                if descriptors:
                    await lease.bind(descriptors, wait=False)
                if to_try(subject.bound.root):
                    guarded = any(not facts.effective(who).open for facts in subject.facts.values())
                    await lease.try_out(subject.bound.root, values=guarded)
                yield lease
        finally:
            for fd in descriptors.values():
                os.close(fd)

    async def considered(self, subject: Subject, who: str, label: str) -> Verdict:
        """Return the verdict that a query would get now; nothing is released.

        INVARIANT: who hears whether it would be is told as much as by a denial, so it is kept like one.
        """
        async with self.histories.turn(subject, who), self.lease(subject, who, label) as lease:
            history = await self.histories.of(subject, who, partial(_measured, lease))
            async with self._counted(subject, who, lease, history):
                verdict = await self.judge(lease, subject, who, history)
            await self._remember(history, subject, verdict)
            return verdict

    async def _remember(self, history: Remembered, subject: Subject, verdict: Verdict) -> None:
        """Keep what a verdict tells that releases nothing.

        INVARIANT: that rules about values withheld something of a population tells of it: it is kept like one that was told.
        """
        if any(f.rule == RULE_FAILED for f in verdict.findings):
            history.failed(bytes.fromhex(subject.plan_hash)[:12])
        await self.histories.keep(history)

    async def judge(
        self, lease: Lease, subject: Subject, who: str, history: History, request: Incoming | None = None
    ) -> Verdict:
        """Drive the judge: it asks for measurements, the worker makes them, nothing but guard columns comes back."""
        if request is not None:
            request.progress("judging")
        judgement = judge(subject.bound, subject.facts, subject.private, who, history)
        verdict = await self._driven(lease, judgement, large=history.large)
        if verdict.note.logged_unsafe:
            await self._witness(lease, subject, who, history)
        return verdict

    async def _driven(self, lease: Lease, judgement: Judgement, *, large: bool) -> Verdict:
        measured: Measured | None = None
        while True:
            step, verdict = await _advance(judgement, measured, large=large)
            if verdict is not None:
                return verdict
            answer = await lease.run(step.plan, step.keep, step.returns, step.tables)
            measured = columns(answer)

    async def _kept(self, history: Remembered, lease: Lease, plan: Node, note: ReleaseNote) -> Result:
        """Run what may leave, while what its release adds to the history is written.

        INVARIANT: both are done before anything leaves.
        """
        keeping = asyncio.ensure_future(self.histories.keep(history))
        try:
            result = await self._execute(lease, plan, note)
        except BaseException:
            with suppress(Exception, asyncio.CancelledError):
                await to_its_end(keeping)
            raise
        try:
            await to_its_end(keeping)
        except BaseException:
            result.__exit__()
            raise
        return result

    async def _execute(self, lease: Lease, plan: Node, note: ReleaseNote) -> Result:
        answer, fd = await lease.run_to_file(plan)
        return Result(answer, fd, note)

    # ---- the owner's way ---------------------------------------------------------------------------------------------

    async def _approved(self, request: Incoming, subject: Subject, grant: Grant, started: float) -> bool:
        """Run a plan an owner approved. Hidden columns stay masked. False, and nothing done, if the grant has ended.

        A grant for once ends when the answer has been handed over; a peer that goes away before that may ask again. A
        grant gives one table: the plan runs once, and what it gave is kept.
        """
        who = request.principal.name
        async with self.review.using(grant) as holds:
            if not holds:
                return False
            intent = self.journal.begin(
                self._records(subject, "intent", who, f"approved query (grant {grant.id})", now=time.time())
            )
            # INVARIANT: told by what holds now, not when the grant was found: an owner may have decided meanwhile
            current = self.store.grants.of_request(grant.request)
            may_read = current is not None and current.may_read
            ran = self.store.results.get(grant.id) is not None
            async with self._outcome(request, subject, who, intent):
                result = await self.approved.of(grant, self._run_approved(request, subject, grant.requester))
            if not may_read:
                with result:
                    await self.journal.settle(intent)
                await self._sealed(request, subject, grant, ran=ran)
                return True
            current = self.store.grants.of_request(grant.request)
            if current is not None and current.ended == "revoked":  # while it ran: nothing leaves by it any more
                with result:
                    await self.journal.settle(intent)
                return False
            with result:
                result.note = ReleaseNote(approved=True, notes=("Approved by the owner.",))
                await self.journal.settle(intent)
                verdict = Verdict(
                    Outcome.RELEASE, note=result.note, facts={"grant": grant.id, "rows": result.answer.height}
                )
                await self._release(
                    request, subject, result, verdict, started, summary="released by approval", kind="grant_used"
                )
            used = await asyncio.shield(asyncio.to_thread(self.store.grants.use, grant.id, time.time()))
            if used.ended:
                words = f"{who} has had the result: the approval is used"
                self.review.changed(self.store.requests.get(grant.request), words)
            await self.approved.prune()
        return True

    def _run_approved(self, request: Incoming, subject: Subject, who: str) -> Callable[[], Awaitable[Result]]:
        """Return what runs an approved plan of `who`, hidden columns masked; its populations enter their history."""

        async def run() -> Result:
            async with (
                self.histories.turn(subject, who),
                self.lease(subject, who, f"approved {subject.plan_hash[:12]} by {who}") as lease,
            ):
                request.progress("running")
                history = await self.histories.of(subject, who, partial(_measured, lease))
                await self._witness(lease, subject, who, history)
                return await self._kept(history, lease, approved_plan(subject.bound, subject.facts), ReleaseNote())

        return run

    async def _witness(self, lease: Lease, subject: Subject, who: str, history: History) -> Verdict:
        """Enter the populations of what an owner releases unguarded into the history of who gets it."""
        judgement = witness(subject.bound, subject.facts, subject.private, who, history)
        return await self._driven(lease, judgement, large=history.large)

    async def _sealed(self, request: Incoming, subject: Subject, grant: Grant, *, ran: bool) -> None:
        """Say that what may be run only has been run, and that its result waits for the owner. Nothing of it leaves."""
        who = request.principal.name
        await until_step(request)
        if not ran:
            await self.journal.write(
                self._records(
                    subject,
                    "outcome",
                    who,
                    "ran by approval, kept sealed",
                    now=time.time(),
                    details={"grant": grant.id},
                )
            )
            self.review.told(self.store.requests.get(grant.request), f"{who}'s query has run: its result waits for you")
        finding = Finding(
            "owner-grant",
            "It has been run, and the owner has yet to let you read the result.",
            "Wait: the result is kept sealed for you.",
        )
        verdict = Verdict(Outcome.REVIEW, findings=(finding,))
        await self._deny(request, subject, verdict, StaticVerdict(Outcome.REVIEW, finding.reason, (finding,)))

    async def approval(self, subject: Subject, who: str) -> dict[str, float]:
        """Return what an approval would do, for the owner's eyes; nothing is kept, but that it failed. Empty after too many failures.

        rows: that it would show. completed: people of whom something may follow from it and what was told before, who are not in it.

        INVARIANT: who files the request waits for this, and may stop it: that it fails, or takes long, is told as by a question,
        whatever rules the plan breaks. Of a joint plan nothing is measured: nobody may be shown it.
        """
        if subject.joint:
            return {}
        label = f"rows of a request by {who}"
        async with self.histories.turn(subject, who), self.lease(subject, who, label) as lease:
            history = await self.histories.of(subject, who, partial(_measured, lease))
            if history.failed_often and may_fail(subject.bound.root):
                return {}
            async with self._counted(subject, who, lease, history):
                answer = await lease.run(approved_plan(subject.bound, subject.facts), None, ())
                told = await self._would_tell(lease, subject, who)
        return {"rows": answer.height} | told

    async def follows(self, subject: Subject, who: str) -> float:
        """Return of how many people something would follow from an approval as of now; nothing is kept. See `approval`."""
        label = f"what follows from a request by {who}"
        async with self.histories.turn(subject, who), self.lease(subject, who, label) as lease:
            return (await self._would_tell(lease, subject, who)).get("completed", 0.0)

    async def _would_tell(self, lease: Lease, subject: Subject, who: str) -> dict[str, float]:
        history = await self.histories.of(subject, who, partial(_measured, lease))
        verdict = await self._witness(lease, subject, who, history)
        return {name: float(figure) for name, figure in verdict.facts.items() if figure}

    async def _preview(self, request: Incoming, request_id: str) -> None:
        """Show an owner the first rows of what a request is about; once it was approved, what is or will be handed out."""
        filed = self.store.requests.get(request_id)
        who = request.principal.name
        subject, _ = await self.subject(filed.plan, filed.requester)
        if any(record.facts.owner != who for record in subject.records.values()):
            msg = "A preview of joined data needs to be one's own data alone."
            raise NotFound(msg, code="missing.preview", next_step="Decide by the query and its columns.")
        await self.journal.write(
            self._records(subject, "note", who, f"preview of request {request_id}", now=time.time())
        )
        # an approved fit gives a model, and no table of its rows
        if filed.grant is not None and filed.plan_hash == subject.plan_hash:
            async with self.review.using(filed.grant) as holds:
                if holds:
                    with await self.approved.of(
                        filed.grant, self._run_approved(request, subject, filed.requester)
                    ) as result:
                        result.note = ReleaseNote(notes=("The sealed result, for the owner.",))
                        await self._send(request, subject, result, 0.0)
                    return
        async with self.lease(subject, who, f"preview {request_id} by {who}") as lease:
            plan = Slice(approved_plan(subject.bound, subject.facts), 0, PREVIEW_ROWS)  # type: ignore[arg-type]
            result = await self._execute(lease, plan, ReleaseNote(partial=True, notes=("Preview for the owner.",)))
        with result:
            await self._send(request, subject, result, 0.0)

    # ---- answers -----------------------------------------------------------------------------------------------------

    async def _release(
        self,
        request: Incoming,
        subject: Subject,
        result: Result,
        verdict: Verdict,
        started: float,
        *,
        summary: str,
        kind: str = "outcome",
    ) -> None:
        who, note = request.principal.name, verdict.note
        details: dict[str, Any] = {
            "columns": [f"{subject.names[d]}.{c}" for d, c in _columns(subject, verdict)],
            "findings": _said(subject, verdict),
            "uses": plain(await asyncio.to_thread(released_uses, subject)),
            "words": query_words(subject),
            **plain(verdict.facts),
        }
        await until_step(request)
        await self.journal.write(
            self._records(
                subject, kind, who, summary + (" although unsafe (Log)" if note.logged_unsafe else ""),
                now=time.time(), red=note.logged_unsafe, details=details,
            )
        )  # fmt: skip
        result.note = note
        await self.private.exact(subject, note)
        await self._unchanged(subject, who)
        await self._send(request, subject, result, time.monotonic() - started)

    async def _unchanged(self, subject: Subject, who: str) -> None:
        """Raise where the answer may not leave any more, and say in the log that it did not."""
        try:
            self.catalogue.check_unchanged(subject, who)
        except InputError as error:
            await self.journal.write(self._records(subject, "outcome", who, f"withheld: {error.code}", now=time.time()))
            raise

    async def _send(self, request: Incoming, subject: Subject, result: Result, elapsed: float) -> None:
        with result.opened() as data:
            table = Table(
                schema=tuple((name, from_polars(dtype)) for name, dtype in result.schema.items()),
                height=result.answer.height,
                size=len(data),
                plan_hash=subject.plan_hash,
                note=result.note,
                checkpoint=self.store.audit.checkpoint(time.time()),
                elapsed=elapsed,
            )
            await request.stream(table, data)

    async def _deny(self, request: Incoming, subject: Subject, verdict: Verdict, static: StaticVerdict) -> None:
        who = request.principal.name
        public = tuple(f for f in verdict.findings if not f.private) or static.findings
        lead = public[0] if public else Finding("policy", "The policy does not release this.")
        red = lead.rule == RULE_FAILED or FAILED_OFTEN in verdict.findings
        await until_step(request)
        await self.journal.write(
            self._records(
                subject, "outcome", who, f"denied: {lead.rule} ({verdict.outcome})", now=time.time(), red=red,
                details={
                    "findings": _said(subject, verdict), "words": query_words(subject),
                    **plain(verdict.facts),
                },
            )
        )  # fmt: skip
        filed = self.store.requests.find(subject.plan_hash, subject.versions, who, subject.policy_versions)
        told, answers = earlier(self.store, subject, who, public, static.columns)
        await self._unchanged(subject, who)
        await request.send(
            Denial(
                outcome=str(verdict.outcome),
                rule=lead.rule,
                reason=lead.reason,
                fix=lead.fix,
                plan_hash=subject.plan_hash,
                verdict=StaticVerdict(verdict.outcome, lead.reason, public, static.columns),
                safe_cells=verdict.safe_cells,
                total_cells=verdict.total_cells,
                has_safe_part=verdict.safe_part is not None,
                columns=static.columns,
                request=None if filed is None else self.review.info(filed, who),
                checkpoint=self.store.audit.checkpoint(time.time()),
                earlier=told,
                answers=answers,
            )
        )

    @staticmethod
    def _records(
        subject: Subject,
        kind: str,
        who: str,
        summary: str,
        *,
        now: float,
        red: bool = False,
        details: dict[str, Any] | None = None,
    ) -> Any:
        return about(
            subject.records,
            now=now,
            kind=kind,
            who=who,
            summary=summary,
            plan_hash=subject.plan_hash,
            red=red,
            details=details,
            joint=subject.joint,
        )


def _said(subject: Subject, verdict: Verdict) -> list[str]:
    """Return the findings that a record says; private ones are for who owns all of the data."""
    return [f"{f.rule}: {f.reason}" for f in verdict.findings if not (f.private and subject.joint)]


async def _measured(lease: Lease, plan: Node, returns: tuple[str, ...]) -> Measured:
    """Measure a plan of which some columns come back."""
    return columns(await lease.run(plan, None, returns))


async def _advance(judgement: Judgement, measured: Measured | None, *, large: bool) -> tuple[Any, Verdict | None]:
    """One step of the judge; large guard tables, and all beside a large history, are judged off the event loop."""

    def step() -> tuple[Any, Verdict | None]:
        try:
            return (next(judgement) if measured is None else judgement.send(measured)), None
        except StopIteration as stop:
            return None, stop.value
        except BastionError:
            raise
        except Exception:  # noqa: BLE001 - INVARIANT: a rule that cannot be evaluated releases nothing, whatever it died of
            return None, _rule_failed()

    if measured is not None and (large or measured["__height"] > LARGE):
        return await asyncio.to_thread(step)
    return step()


def _rule_failed() -> Verdict:
    """Refuse because of the current exception; it is in the server's log, without its text."""
    reason = "A rule of the policy could not be evaluated, so nothing is released."
    incident = log_incident("a rule failed")
    fix = f"Tell the server's owner the incident number {incident}."
    return Verdict(Outcome.REFUSE, (Finding(RULE_FAILED, reason, fix),), facts={"incident": incident})


def columns(answer: Answer) -> Measured:
    """Return guard columns as the judge reads them: numpy arrays where numeric and without nulls, else lists."""
    found: dict[str, Any] = {"__height": answer.height}
    if answer:
        # a measurement of all columns comes as a file
        read = pl.read_ipc if answer.startswith(b"ARROW1") else pl.read_ipc_stream
        for series in read(io.BytesIO(answer)):
            plain_numbers = series.dtype.is_numeric() and not series.dtype.is_decimal() and not series.null_count()
            # numpy has no whole numbers of 128 bits
            plain_numbers &= series.dtype not in (pl.Int128, pl.UInt128)
            found[series.name] = series.to_numpy() if plain_numbers else series.to_list()
    return found


def plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts as plain data for the audit log (numpy numbers become Python's)."""
    return {key: _plain(value) for key, value in facts.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    return value.item() if hasattr(value, "item") else value


def _columns(subject: Subject, verdict: Verdict) -> list[tuple[str, str]]:
    """Return (dataset id, column) of the source columns a verdict speaks of."""
    found = []
    for text in verdict.facts.get("columns", ()):
        dataset, _, column = str(text).partition(".")
        if dataset in subject.names:
            found.append((dataset, column))
    return found
