"""Fits: begun, queued, stopped, resumed, shown; their weights taken home; forgotten."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import os
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
from bastion_plan.errors import InputError, NotFound, ServerError
from bastion_plan.models.fits import FitSpec
from bastion_policy.caps import Training
from bastion_policy.private.budget import shown
from bastion_policy.private.fits import SPENT, sees, unaffordable, unapproved
from bastion_policy.private.subsampled import Mechanism, epsilon_of_fit
from bastion_policy.verdict import Finding, Outcome, StaticVerdict
from bastion_wire import messages as m

from bastion_server.channel.sessions import Incoming
from bastion_server.service.fit_requests import file_fit
from bastion_server.service.fits import Fits, Terms, outcome_of, steps_within
from bastion_server.service.journal import Journal, about
from bastion_server.service.measuring import MeasuringService
from bastion_server.service.models import ModelService, TrainingSettings, able, check_allowed
from bastion_server.service.planned import memory_of
from bastion_server.service.running import FAILED_PROBLEM, Running, rows_file
from bastion_server.store import Grant, Store
from bastion_server.store.binding import binding
from bastion_server.store.runs import Run, RunFile, missing
from bastion_server.store.uses import of_run

if TYPE_CHECKING:
    from bastion_server.service.queries import QueryService
    from bastion_server.training.lease import TrainingPool

#: seconds that fits have to come to a safe point when the server stops
STOPPING = 6.0
#: bytes of a list of fits
LISTED = m.MAX_HEADER * 3 // 4


class TrainingService:
    """Everything about fits. A fit is a task of the service: it goes on whatever becomes of the session that began it."""

    def __init__(
        self,
        store: Store,
        queries: QueryService,
        journal: Journal,
        push: Callable[[str, m.Push], int],
        known: Callable[[str], bool] = lambda name: True,
        settings: TrainingSettings | None = None,
        on_engine_text: Callable[[str, str], None] | None = None,
    ) -> None:
        """Take what it works with. known: whether a name has a key. on_engine_text: see WorkerPool."""
        self.settings = settings or TrainingSettings()
        self.store, self.queries, self.journal, self.push, self.known = store, queries, journal, push, known
        self.models = ModelService(store, self.settings)
        self.fits = Fits(store, queries, self.models)
        self.measuring = MeasuringService(self)
        self._on_text = on_engine_text
        self._pool: TrainingPool | None = None
        self._slots = asyncio.Semaphore(self.settings.fits)
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}
        self._live: dict[str, Running] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._beginning: weakref.WeakValueDictionary[tuple[str, str, bytes], asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )
        #: exact fits of which it is on record that something left
        self._told: set[str] = set()
        self._resuming: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._closing = False

    @property
    def pool(self) -> TrainingPool:
        """The training workers, none of which is started before the first fit."""
        if self._pool is None:
            from bastion_server.training.lease import LIMITS, TrainingPool

            limits = msgspec.structs.replace(LIMITS, memory=self.settings.worker)
            self._pool = TrainingPool(limits, concurrency=self.settings.fits, on_engine_text=self._on_text)
        return self._pool

    @property
    def full(self) -> bool:
        """Whether as many fits run as may."""
        return self._slots.locked()

    async def handle(self, request: Incoming) -> None:
        """Answer one request about fits."""
        body, who = request.body, request.principal.name
        match body:
            case m.Fit():
                await self._fit(request, body)
            case m.ListRuns():
                await request.send(await self._list(who))
            case m.GetRun(run=ref):
                run = self._find(ref, who)
                await self.leaves(run)
                await request.send(m.Run(self.info(run, who)))
            case m.StopRun(run=ref):
                await request.send(m.Run(self.info(await self._stop(ref, who), who)))
            case m.ResumeRun():
                await self._resume(request, body)
            case m.GetWeights(run=ref):
                await self._weights(request, self._mine(ref, who))
            case m.RequestFit():
                await request.send(m.Request(await file_fit(self, request, body)))
            case m.TestRun(run=ref):
                await self.measuring.handle(request, self._mine(ref, who))
            case m.DeleteRun(run=ref):
                await self._delete(self._mine(ref, who))
                await request.send(m.Done())
            case _:
                msg = f"The server does not answer {type(body).__name__} here."
                raise InputError(msg, code="wire.unexpected")

    async def close(self) -> None:
        """Stop all fits at a safe point, as far as that does not take long, and end the workers."""
        self._closing = True
        for running in self._live.values():
            running.stop(
                "train.restarted", "The server was stopped while this fit ran. Resume it from its last checkpoint."
            )
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOPPING)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._pool is not None:
            await self._pool.close()

    # -- who may see what

    async def _list(self, who: str) -> m.Runs:
        """Return as many fits as fit into a message, the latest ones, oldest first."""
        found: list[m.RunInfo] = []
        size = 0
        for run in reversed(self._seen(who)):
            await self.leaves(run)
            info = self.info(run, who)
            size += len(msgspec.msgpack.encode(info))
            if size > LISTED:
                break
            found.append(info)
        return m.Runs(tuple(reversed(found)))

    def _seen(self, who: str) -> list[Run]:
        own = [r.facts.id for r in self.store.datasets.list() if r.facts.owner == who]
        return self.store.runs.list(requester=who, datasets=own, since=self.store.identities.since(who))

    def is_mine(self, run: Run, who: str) -> bool:
        """Whether who has the name now began a fit, not one who had it before."""
        return run.requester == who and run.created >= self.store.identities.since(who)

    def _owns(self, run: Run, who: str) -> bool:
        records = [self.store.datasets.find(name) for name in run.versions]
        return any(r is not None and r.facts.owner == who for r in records)

    def _find(self, ref: str, who: str) -> Run:
        """Return a fit that one began, or that is on one's data. INVARIANT: others' are answered as what does not exist."""
        run = self._get(ref)
        if run is None or not (self.is_mine(run, who) or self._owns(run, who)):
            raise missing(ref)
        return run

    def _mine(self, ref: str, who: str) -> Run:
        run = self._get(ref)
        if run is None or not self.is_mine(run, who):
            raise missing(ref)
        return run

    def _get(self, ref: str) -> Run | None:
        try:
            return self.store.runs.get(ref)
        except NotFound:
            return None

    def grant(self, run: Run) -> Grant | None:
        """Return the grant that a fit runs by."""
        row = self.store.database.row("SELECT request FROM grants WHERE id = ?", (run.grant,)) if run.grant else None
        return self.store.grants.of_request(row["request"]) if row is not None else None

    def holds(self, run: Run) -> bool:
        """Whether the approval of a fit still holds; one for a single use has it as long as it was not withdrawn."""
        grant = self.grant(run)
        return grant is not None and grant.may_run and grant.ended == "" and grant.until > time.time()

    def readable(self, run: Run, *, now: bool = False) -> bool:
        """Whether what a fit learned may be read. now: whether more of it may be taken."""
        if run.spec.private:
            return True
        grant = self.grant(run)
        if grant is None or not grant.may_read:
            return False
        return self.holds(run) if now else grant.ended in ("", "used")

    async def leaves(self, run: Run) -> None:
        """Before losses, metrics or weights without noise leave: where these people were promised noise, their budget says so."""
        if run.spec.private or run.id in self._told or not self.readable(run):
            return
        records = [self.store.datasets.find(name) for name in run.versions]
        reason = f"what a model learned without noise left by approval on {time.strftime('%Y-%m-%d', time.gmtime())}."
        for domain in {r.facts.domain for r in records if r is not None}:
            await asyncio.to_thread(self.store.ledger.void, domain, reason, time.time())
        self._told.add(run.id)

    def info(self, run: Run, who: str, rate: float | None = None) -> m.RunInfo:
        """Return a fit as `who` may see it. INVARIANT: losses and metrics are for whom `sees` says."""
        live = self._live.get(run.id)
        if live is not None and run.active:  # what is on the disk is a little behind
            run = replace(live.run, state=run.state)
        read, spec = self._sees(run, who), run.spec
        if not read and run.state == "failed":  # how an exact fit fails may tell of a row, as what it learned does
            run = replace(run, code="train.failed", problem=FAILED_PROBLEM)
        return m.RunInfo(
            id=run.id, state=run.state, requester=run.requester, datasets=tuple(self._name(d) for d in run.versions),
            model=run.model, plan_hash=run.plan_hash, spec=spec, created=run.created, step=run.step, steps=spec.steps,
            rate=rate if rate is not None else live.rate if live is not None else 0.0, epsilon=spec.epsilon, spent=run.spent,
            tight=run.tight, delta=run.delta, noise=run.sigma, parameters=run.parameters,
            losses=tuple(loss for loss, _ in run.losses) if read else (),
            metrics=self._metrics(run) if read else {}, ended=run.ended, code=run.code, problem=run.problem, words=run.words,
            approved=bool(run.grant), mine=self.is_mine(run, who),
        )  # fmt: skip

    def _sees(self, run: Run, who: str) -> bool:
        """Whether losses and metrics of a fit are for somebody."""
        records = [self.store.datasets.find(name) for name in run.versions]
        return sees(
            private=run.spec.private, mine=self.is_mine(run, who), readable=self.readable(run),
            visible=all(r is not None and r.visible_to(who) for r in records),
            owned=all(r is not None and r.facts.owner == who for r in records),
        )  # fmt: skip

    def _metrics(self, run: Run) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, part, answer in self.store.runs.metrics(run.id):
            key = name if part == "test" else f"{name} ({part})"
            found[key] = msgspec.to_builtins(msgspec.msgpack.decode(answer, type=m.Metric))
        return found

    def _name(self, dataset: str) -> str:
        record = self.store.datasets.find(dataset)
        return record.facts.name if record is not None else dataset

    def tell(self, run: Run, rate: float) -> None:
        """Tell who began a fit how far it is."""
        if self.is_mine(run, run.requester):
            self.push(run.requester, m.Push("run", run=self.info(run, run.requester, rate)))

    # -- beginning

    async def _fit(self, request: Incoming, body: m.Fit) -> None:
        who = request.principal.name
        if body.mode not in ("run", "summarize"):
            msg = f"There is no mode {body.mode[:40]!r} of a fit."
            raise InputError(msg, code="input.mode", next_step='Use "run" or "summarize".')
        able()
        check_allowed(body.spec, self.settings)
        terms = await self.fits.terms(body.plan, body.model, body.spec, who)
        if body.mode == "summarize":
            memory = await memory_of(self, terms, who) if terms.outcome != "refuse" else 0
            caps = terms.caps or Training()
            await request.send(msgspec.structs.replace(
                self.summary(terms, who), memory=memory, max_steps=caps.max_steps or 0, max_parameters=caps.max_parameters or 0
            ))  # fmt: skip
            return
        self._check_able()
        key = (who, terms.fit, binding(terms.subject.versions, terms.subject.policy_versions))
        lock = self._beginning.setdefault(key, asyncio.Lock())
        async with lock:
            run = await asyncio.to_thread(self.store.runs.same, *key)
            if run is None:
                finding = self._stands_against(terms, None)
                if finding is not None:
                    await self.deny(request, terms, finding)
                    return
                run = await self._begin(terms, body, who)
        await request.send(m.Run(self.info(run, who)))

    async def _begin(self, terms: Terms, body: m.Fit, who: str) -> Run:
        self._check_room(who)
        grant = terms.grant
        if grant is not None and not terms.spec.private:
            earlier = await asyncio.to_thread(self.store.runs.of_grant, grant.id)
            if earlier is not None and earlier.state == "done":
                return earlier  # INVARIANT: an approval gives one trained model
        words = fit_words(terms)
        run = await asyncio.to_thread(
            lambda: self.store.runs.add(
                requester=who, plan=body.plan, plan_hash=terms.subject.plan_hash, versions=terms.subject.versions,
                policy_versions=terms.subject.policy_versions, model=terms.model.name, graph=terms.model.graph,
                parameters=terms.graph.parameters, spec=terms.spec, sigma=terms.sigma, delta=terms.delta,
                grant=grant.id if grant is not None else "", words=words, now=time.time(),
            )
        )  # fmt: skip
        self._start(run, terms)
        return run

    def _start(self, run: Run, terms: Terms) -> None:
        running = self._live[run.id] = Running(self, run, terms)
        task = self._tasks[run.id] = asyncio.create_task(running.work(), name=f"fit-{run.id}")

        def ended(_: object) -> None:
            self._live.pop(run.id, None)
            self._tasks.pop(run.id, None)

        task.add_done_callback(ended)

    def _check_able(self) -> None:
        able()
        if self._closing:
            raise ServerError(
                "The server is shutting down.", code="server.worker.closed", next_step="Try again when it is back."
            )

    def _check_room(self, who: str) -> None:
        waiting = sum(r.who == who for r in self._live.values())
        if waiting >= self.settings.queued:
            raise InputError(
                f"{waiting} fits of yours run or wait already.",
                code="fit.queue",
                next_step="Wait for one, or stop one.",
            )
        if self.store.runs.held(who) >= self.settings.disk:
            raise InputError(
                f"Your fits hold {self.settings.disk >> 20:,} MB of weights and checkpoints on the server, as much as one person's may.",
                code="fit.room", next_step="Delete some that you do not need: runs()[0].delete().",
            )  # fmt: skip
        if self.store.runs.count(who) >= self.settings.runs:
            raise InputError(
                f"The server remembers {self.settings.runs} fits of one person at most.", code="fit.room",
                next_step="Delete some that you do not need: runs()[0].delete().",
            )  # fmt: skip

    def _stands_against(self, terms: Terms, run: Run | None) -> Finding | None:
        """Return why a fit may not begin, or go on."""
        if not terms.spec.private or terms.account is None or terms.rows is None:
            return unapproved(terms.finding, terms.grant.may_run if terms.grant is not None else None)
        steps = terms.spec.steps - (run.step + run.credit if run is not None else 0)
        mechanism = Mechanism(terms.spec.rate, terms.sigma, max(1, steps))
        domains = self.fits.domains(terms.subject, terms.rows)
        if self.fits.affordable(self.fits.charges_of(domains, mechanism)):
            return None
        names = sorted(r.facts.name for r in terms.subject.records.values() if r.facts.domain in domains)
        accounts = self.fits.accounts(domains)
        left = min(a.left(self.store.ledger.standing(d).spent) for d, a in accounts.items())
        return unaffordable(names, left, terms.account, terms.spec.epsilon)

    async def deny(self, request: Incoming, terms: Terms, finding: Finding) -> None:
        """Answer with a Denial; nothing was spent, nothing has been filed."""
        who, subject = request.principal.name, terms.subject
        outcome = Outcome.REFUSE if finding.rule == SPENT else outcome_of(terms)
        summary = f"denied: {finding.rule} ({outcome})"
        await self.journal.write(about(
            subject.records, now=time.time(), kind="outcome", who=who, summary=summary, plan_hash=terms.fit,
            details={"findings": [f"{finding.rule}: {finding.reason}"], "words": fit_words(terms)},
        ))  # fmt: skip
        filed = self.store.requests.find(terms.fit, subject.versions, who, subject.policy_versions)
        columns = terms.rows.columns if terms.rows is not None else ()
        await request.send(m.Denial(
            outcome=str(outcome), rule=finding.rule, reason=finding.reason, fix=finding.fix, plan_hash=terms.fit,
            verdict=StaticVerdict(outcome, finding.reason, (finding,), columns), columns=columns,
            request=None if filed is None else self.queries.review.info(filed, who),
            checkpoint=self.store.audit.checkpoint(time.time()),
        ))  # fmt: skip

    def summary(self, terms: Terms, who: str) -> m.FitSummary:
        """Return what a fit would cost, from public facts alone; nothing is spent."""
        steps, parameters = terms.spec.steps, terms.graph.parameters
        if terms.account is None or terms.rows is None:
            found = terms.finding or Finding("", "An owner has approved it.")
            return m.FitSummary(
                "review" if terms.grant is not None else terms.outcome, found.reason, found.fix, steps=steps,
                parameters=parameters, affordable=terms.grant is not None,
            )  # fmt: skip
        domains = self.fits.domains(terms.subject, terms.rows)
        charges = self.fits.charges_of(domains, terms.mechanism)
        share = max(c.cost.at(c.order).rho / c.cap.rho for c in charges.values())
        return m.FitSummary(
            "private", epsilon=epsilon_of_fit(terms.spec.rate, terms.sigma, steps, terms.delta), delta=terms.delta,
            noise=terms.sigma, share=share, steps=steps, parameters=parameters,
            budget=self.queries.private._of_domains(set(domains), who), affordable=self.fits.affordable(charges),
            notes=terms.rows.notes,
        )  # fmt: skip

    # -- turns

    @asynccontextmanager
    async def turn(self, who: str) -> AsyncIterator[None]:
        """Wait until this identity's other fits, and enough of all others', are over."""
        lock, users = self._turns.get(who, (asyncio.Lock(), 0))
        self._turns[who] = (lock, users + 1)
        try:
            async with lock, self._slots:
                yield
        finally:
            _, users = self._turns.pop(who)
            if users > 1:
                self._turns[who] = (lock, users - 1)

    async def rows(self, terms: Terms, who: str, label: str) -> int:
        """Return the descriptor of a sealed memory file with the rows of a fit; the caller closes it."""
        return await rows_file(self, terms, who, label)

    def split_key(self, terms: Terms) -> bytes:
        """Return the key that decides who is for testing: the same for all fits on the same people, told to nobody."""
        domains = self.fits.domains(terms.subject, terms.rows) if terms.rows is not None else ()
        keys = b"".join(self.store.runs.split_key(domain, self.store.keys) for domain in domains)
        return hashlib.sha256(b"bastionlab.split.1" + keys).digest()

    # -- stopping, resuming, forgetting

    async def _stop(self, ref: str, who: str) -> Run:
        run = self._find(ref, who)
        live, task = self._live.get(run.id), self._tasks.get(run.id)
        if live is None or task is None:
            return run
        mine = self.is_mine(run, who)
        live.stop("train.stopped", "It was stopped by hand." if mine else "It was stopped by the owner of the data.")
        if run.state == "queued":
            task.cancel()
        await asyncio.wait([task], timeout=20)
        return self.store.runs.get(run.id)

    async def _resume(self, request: Incoming, body: m.ResumeRun) -> None:
        run = self._mine(body.run, request.principal.name)
        lock = self._resuming.setdefault(run.id, asyncio.Lock())
        async with lock:
            await self._resumed(request, body, request.principal.name)

    async def _resumed(self, request: Incoming, body: m.ResumeRun, who: str) -> None:
        run = self._mine(body.run, who)
        if run.active:
            await request.send(m.Run(self.info(run, who)))
            return
        self._check_able()
        most = self.settings.steps
        if not 1 <= body.steps <= most or run.step + body.steps > most:
            raise InputError(f"A fit has 1 to {most:,} steps.", code="fit.steps", next_step="Ask for fewer steps.")
        # INVARIANT: a fit goes on with its own model, rows and description; all that can be said is how far, and for how much
        file = self.store.runs.file(run.id, "checkpoint")
        start = file.step if file is not None else 0
        if file is None:
            self.models.find(run.model, who, time.time())
        epsilon = body.epsilon or run.spec.epsilon
        spec = msgspec.structs.replace(run.spec, steps=start + body.steps, epsilon=epsilon if run.spec.private else 0.0)
        terms = await self.fits.terms(run.plan, run.model, spec, who, run)
        if file is None:
            terms = replace(terms, model=self.models.find(run.model, who, time.time()))
        if (terms.subject.versions, terms.subject.policy_versions) != (run.versions, run.policy_versions):
            raise InputError(
                "The data of this fit, or its policy, has changed since.", code="input.dataset.changed",
                next_step="Begin a new fit.",
            )  # fmt: skip
        if spec.private:
            self._check_epsilon(run, spec, body)
        finding = self._stands_against(terms, replace(run, step=start))
        if finding is not None:
            await self.deny(request, terms, finding)
            return
        self._check_room(who)
        if run.id in self._tasks:
            await asyncio.wait([self._tasks[run.id]])
        grant = terms.grant
        taken = await asyncio.to_thread(self.store.runs.resume, run.id, spec, grant.id if grant is not None else "")
        if taken is not None:
            self._start(replace(taken, step=start), terms)
        run = self.store.runs.get(run.id)
        await request.send(m.Run(self.info(run, who)))

    def _check_epsilon(self, run: Run, spec: FitSpec, body: m.ResumeRun) -> None:
        if spec.epsilon < run.spec.epsilon:
            raise InputError(
                "The epsilon of a fit is of all its steps, those before included.", code="fit.resume",
                next_step=f"Ask for eps={shown(run.spec.epsilon)} or more.",
            )  # fmt: skip
        new = max(0, body.steps - run.credit)
        possible = steps_within(spec.epsilon, spec, run, new)
        if possible < new:
            needed = epsilon_of_fit(spec.rate, run.sigma, run.paid + new, run.delta)
            raise InputError(
                f"With eps={shown(spec.epsilon)} in all, {possible + run.credit:,} more steps are possible.", code="fit.resume",
                reason="A fit goes on with the noise that it began with.",
                next_step=f"Ask for fewer steps, or for eps={needed * 1.001:.3g} in all.",
            )  # fmt: skip

    async def _delete(self, run: Run) -> None:
        live, task = self._live.get(run.id), self._tasks.get(run.id)
        if live is not None and task is not None:
            live.kill()
            task.cancel()
            await asyncio.wait([task])

        def change() -> tuple[None, list[Any]]:
            self.store.runs.delete(run.id)
            summary = f"forgot fit {run.id}; what it cost stays spent"
            return None, about(
                run.versions, now=time.time(), kind="note", who=run.requester, summary=summary, plan_hash=run.plan_hash
            )

        await self.journal.change(change)

    # -- weights

    async def _weights(self, request: Incoming, run: Run) -> None:
        """Hand out trained weights. INVARIANT: of a fit whose steps were paid, or that is approved to be read as of now."""
        who = request.principal.name
        if run.active:
            raise InputError(
                "This fit still runs: its weights can be had when it has ended.", code="train.running",
                next_step="Wait, or stop it.",
            )  # fmt: skip
        kept = self.store.runs.file(run.id, "weights")
        if kept is None:
            raise InputError(
                "There are no trained weights of this fit.", code="train.nothing", reason=run.problem,
                next_step="Resume it, or fit again.",
            )  # fmt: skip
        records = {name: self.store.datasets.find(name) for name in run.versions}
        if any(r is None or not r.visible_to(who) for r in records.values()):
            raise InputError(
                "The data of this fit was deleted, or is no longer open to you.", code="input.dataset.changed",
                next_step="Ask its owner.",
            )  # fmt: skip
        if run.spec.private:
            await self._hand_out(request, run, kept, f"paid, epsilon {shown(run.spent)}", "outcome")
            return
        grant = self.grant(run)
        if grant is None:
            await self.sealed(request, run)
            return
        async with self.queries.review.using(grant):
            if not self.readable(run, now=True):
                await self.sealed(request, run)
                return
            await self.leaves(run)
            await self._hand_out(request, run, kept, "by approval", "grant_used")
            used = await asyncio.shield(asyncio.to_thread(self.store.grants.use, grant.id, time.time()))
        if used.ended:
            filed = self.store.requests.get(grant.request)
            self.queries.review.changed(filed, f"{who} has taken the weights: the approval is used")

    async def _hand_out(self, request: Incoming, run: Run, kept: RunFile, how: str, kind: str) -> None:
        who = request.principal.name
        await self.journal.write(
            about(
                run.versions, now=time.time(), kind=kind, who=who, summary=f"weights of fit {run.id} taken ({how})",
                plan_hash=run.plan_hash, details={"run": run.id, "numbers": run.parameters, "words": run.words},
            )
        )  # fmt: skip
        use = of_run(run, "weights")
        fd = await asyncio.to_thread(self.store.sealed.load_into_memfd, kept.sealed, "weights", run.versions, use)
        try:
            size = os.fstat(fd).st_size
            with mmap.mmap(fd, size, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
                await request.stream(m.Weights(self.info(run, who), size), view)
        finally:
            os.close(fd)

    async def sealed(self, request: Incoming, run: Run) -> None:
        """Say that weights wait for the owner, or that the approval has ended."""
        grant = self.grant(run)
        waits = grant is not None and not grant.ended and not grant.may_read
        finding = (
            Finding("owner-grant", "It was trained, and the owner has yet to let you read what it learned.", "Wait: it is kept sealed for you.")
            if waits
            else Finding("owner-grant", "The approval of this fit has ended.", "Ask the owner again, and fit again.")
        )  # fmt: skip
        outcome = Outcome.REVIEW
        await self.journal.write(about(
            run.versions, now=time.time(), kind="outcome", who=run.requester, plan_hash=run.plan_hash,
            summary=f"denied: {finding.rule} ({outcome}), weights of fit {run.id}",
        ))  # fmt: skip
        await request.send(m.Denial(
            outcome=str(outcome), rule=finding.rule, reason=finding.reason, fix=finding.fix, plan_hash=run.fit_hash,
            verdict=StaticVerdict(outcome, finding.reason, (finding,)), checkpoint=self.store.audit.checkpoint(time.time()),
        ))  # fmt: skip


def fit_words(terms: Terms) -> str:
    """Return a fit in a sentence, for lists and the log."""
    spec = terms.spec
    optimizer = f"{spec.optimizer.kind} with a learning rate of {spec.optimizer.lr:g}"
    how = f"epsilon {shown(spec.epsilon)}" if spec.private else "without noise"
    label = ", ".join(name[:80] for name in spec.labels[:3])
    return f"{terms.graph.parameters:,} numbers to tell {label}, {spec.steps:,} steps of {optimizer}, {how}"
