"""The way of a query that is answered with noise: price, pay, measure, draw, keep, answer.

What fails, and what that tells. Everything up to the payment is a function of public facts and of the ledger. A query
that can be refused is refused there, and pays nothing; so is one that fails on tables of nobody (rehearsal.py). From the
payment on the answer must not depend on the data but through the noise:

- A measurement that fails (memory, time, an engine's error) is answered as if it had found nobody: a table of the same
  kind, with the same noise, at the same price. Nothing says so to the asker, and the log has as many records as otherwise,
  for its size goes with every answer: the outcome that the owner finds in it is red, and says so.
  Plans that may be measured are such that no value of a row makes them fail (functions.TOTAL, no growing joins), so this
  is what is left of a risk, not a way of working: how often it happened is the owner's to watch.
- Rows are declared keys, or keys that pass a noisy threshold, in the order of the keys; numbers are never null.
- What the asker computes from noisy cells runs in a worker that has no data at all.
- When the answer leaves is kept to steps, and so is a stop: what was begun goes on to its end, and is kept (latency.py).

INVARIANT: payment is on the disk before anything is measured, and is never given back: not after a crash, not after an
error, not where the asker went away.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from bastion_plan.errors import BastionError, InputError, ServerError
from bastion_policy.flow import merged_policy
from bastion_policy.lineage import OWN
from bastion_policy.private.budget import Budget, budget_of, shown
from bastion_policy.private.cells import BIN, COUNT
from bastion_policy.private.plans import Cells
from bastion_policy.private.pricing import Priced
from bastion_policy.private.rows import Refused
from bastion_policy.private.verdicts import account_of, ask
from bastion_policy.uses import column_uses
from bastion_policy.verdict import Finding, Outcome, ReleaseNote, StaticVerdict, Verdict
from bastion_wire.messages import Budgets, Query, Summary

from bastion_server.channel.failures import log_incident
from bastion_server.channel.sessions import Incoming
from bastion_server.private.rehearsal import rehearse, rehearse_last
from bastion_server.service.catalogue import Subject
from bastion_server.service.latency import until_step
from bastion_server.service.result import Result
from bastion_server.store import Charge, NoisyAnswer, Overspent
from bastion_server.store.binding import binding
from bastion_server.workers.lease import Lease

if TYPE_CHECKING:
    from bastion_server.private.release import Columns, Exact
    from bastion_server.service.queries import QueryService

SMALL = 8192  #: bytes
SPENT = "guard.budget.spent"
_Tables = dict[str, dict[str, list[Any]]]


class PrivateService:
    """Answers with noise, and the budgets that pay for them."""

    def __init__(self, queries: QueryService) -> None:
        self._queries = queries
        self._ledger = queries.store.ledger
        #: unit domains of which it is on record that something left without noise
        self._told: set[str] = set()
        #: how the measurement of an answer failed that no outcome in the log speaks of yet
        self._unsaid: dict[tuple[str, bytes], str] = {}
        self._locks: weakref.WeakValueDictionary[tuple[str, bytes], asyncio.Lock] = weakref.WeakValueDictionary()

    def price(self, subject: Subject, who: str, epsilon: float = 0.0) -> Priced | None:
        """Return how a query is answered with noise; None where it is not the private zone's, or not answered so.

        Raises:
            Refused: an epsilon that means nothing.
        """
        policy = merged_policy(subject.bound, subject.facts)
        if policy is None or policy.effective(who).zone != "private":
            return None
        try:
            return ask(subject.bound, subject.facts, policy, who, epsilon or None)
        except Refused as refused:
            if refused.finding.rule == "epsilon":
                raise
            return None  # the ordinary way says why, and what may be done about it

    async def answer(self, request: Incoming, subject: Subject, static: StaticVerdict, started: float) -> bool:
        """Answer a query of the private zone; False, and nothing done, where it is not one."""
        body = request.body
        assert isinstance(body, Query)
        epsilon = body.epsilon
        try:
            # small plans are priced at once; large ones off the event loop
            who = request.principal.name
            priced = (
                self.price(subject, who, epsilon)
                if len(body.plan) <= SMALL
                else await asyncio.to_thread(self.price, subject, who, epsilon)
            )
        except Refused as refused:
            await self._deny(request, subject, static, refused.finding)
            return True
        if priced is None:
            return False
        await self._answer(request, subject, static, priced, started, chosen=bool(epsilon))
        return True

    async def _answer(
        self,
        request: Incoming,
        subject: Subject,
        static: StaticVerdict,
        priced: Priced,
        started: float,
        *,
        chosen: bool,
    ) -> None:
        who, queries = request.principal.name, self._queries
        bound_to = binding(subject.versions, subject.policy_versions)
        wanted = priced.epsilon if chosen else None
        key = (subject.plan_hash, bound_to)
        lock = self._locks.setdefault(key, asyncio.Lock())
        result = None
        async with lock:
            kept = await asyncio.to_thread(self._ledger.answer, *key, wanted)
            paid = 0.0
            if kept is None:
                try:
                    kept = await self._draw(subject, who, priced, key)
                    paid = priced.epsilon
                    result = await self._last(subject, who, priced, kept)
                except Overspent as over:
                    finding = self._overspent(subject, priced, over)
                    await self._deny(request, subject, static, finding)
                    return
                finally:
                    # INVARIANT: that it is kept is not seen before it leaves
                    await until_step(request)
        result = result or await self._last(subject, who, priced, kept)
        with result:
            await until_step(request)
            note: ReleaseNote = msgspec.json.decode(kept.note, type=ReleaseNote)
            budgets = self._budgets(subject, who)
            result.note = msgspec.structs.replace(note, cost=paid, budget=budgets)
            how = "released with noise" if paid else "released again, with the noise drawn before"
            # INVARIANT: one record, failed or not: who asked is told how many there are
            failed = self._unsaid.pop(key, "")
            # how it failed is for who owns all of the data, as in `QueryService._outcome`
            failed = "" if subject.joint else failed
            await queries.journal.write(
                queries._records(
                    subject, "outcome", who, how + failed, now=time.time(), red=bool(failed),
                    details={
                        "epsilon": paid, "of": kept.epsilon, "left": [b.left for b in budgets],
                        "columns": _named(subject, priced.draft.columns),
                        "uses": await asyncio.to_thread(column_uses, subject.bound, subject.facts),
                    },
                )
            )  # fmt: skip
            await queries._unchanged(subject, who)
            await queries._send(request, subject, result, time.monotonic() - started)

    # -- paying

    def _accounts(self, datasets: Iterable[str], subject: Subject) -> dict[str, Any]:
        """Return the account of every unit domain that an answer is about: the strictest of all its live tables."""
        domains = dict.fromkeys(subject.records[d].facts.domain for d in datasets)
        live: dict[str, list[Any]] = {domain: [] for domain in domains}
        for record in self._queries.store.datasets.list():
            if record.facts.domain in live and record.facts.plan is None:
                live[record.facts.domain].append(record.facts.policy)
        found = {domain: account_of(policies) for domain, policies in live.items()}
        return {domain: account for domain, account in found.items() if account is not None}

    def _charges(self, subject: Subject, priced: Priced) -> dict[str, Charge]:
        accounts = self._accounts(priced.draft.datasets, subject)
        return {domain: Charge(priced.cost, account.cap, account.order) for domain, account in accounts.items()}

    def _overspent(self, subject: Subject, priced: Priced, over: Overspent) -> Finding:
        account = self._accounts(priced.draft.datasets, subject)[over.domain]
        names = [r.facts.name for r in subject.records.values() if r.facts.domain == over.domain]
        left = account.left(over.spent)
        reason = (
            f"The privacy budget of {' and '.join(sorted(names))} does not suffice: epsilon {shown(left)} is left of "
            f"{shown(account.epsilon)}, and this query would cost {shown(priced.epsilon)}."
        )
        fix = (
            f"Ask it at a smaller cost, with fetch(epsilon={left * 0.9:.2g}), or ask again what was answered before."
            if left > account.epsilon / 100
            else "What was answered before can be asked again for nothing; for more, ask the owner."
        )
        return Finding(SPENT, reason, fix)

    # -- drawing

    async def _draw(self, subject: Subject, who: str, priced: Priced, key: tuple[str, bytes]) -> NoisyAnswer:
        """Pay, measure, draw the noise, keep it.

        Raises:
            Overspent: nothing was paid, nothing measured. InputError: plan.call, plan.engine: the same.
        """
        queries, now = self._queries, time.time()
        records = queries._records(
            subject, "intent", who, f"query with noise, epsilon {shown(priced.epsilon)}", now=now
        )
        await queries.journal.write(records)
        label = f"noisy {subject.plan_hash[:12]} by {who}"
        plans = (p for c in priced.draft.cells for p in (c.plan, *(q for _, q in c.quantiles)))
        # INVARIANT: the time and memory that people's rows are read in are not the asker's to use up: a trial has a worker of its own
        async with await queries.pool.acquire(who, label=label) as trial:
            await rehearse(trial, plans, subject.facts)
            await rehearse_last(trial, priced.draft)
        # a worker first: that none is free says nothing of the data, and costs nothing
        async with queries.lease(subject, who, label) as lease:
            await asyncio.to_thread(
                self._ledger.spend, self._charges(subject, priced), epsilon=priced.epsilon, plan_hash=subject.plan_hash,
                requester=who, now=now,
            )  # fmt: skip
            exact, failed = await self._measured(lease, priced)
        if failed:
            self._unsaid[key] = failed
        tables = await asyncio.to_thread(_drawn, priced, exact)
        notes = (f"Noise was added, epsilon {shown(priced.epsilon)}.", *_bars(priced), *priced.draft.notes)
        answer = NoisyAnswer(
            msgspec.msgpack.encode(tables), 0, msgspec.json.encode(ReleaseNote(noisy=True, notes=notes)), priced.epsilon
        )
        return await asyncio.to_thread(self._ledger.keep, *key, answer, now)

    async def _measured(self, lease: Lease, priced: Priced) -> tuple[list[Exact], str]:
        """Run the exact sums beside the data; also return how that failed, for the owner. INVARIANT: it never shows in the answer."""
        from bastion_server.private.release import Exact, read

        found: list[Exact] = []
        try:
            for cells in priced.draft.cells:
                sums = await asyncio.to_thread(read, await lease.run(cells.plan, None, _columns(cells)))
                bins = [
                    await asyncio.to_thread(read, await lease.run(plan, None, _bin_columns(cells)))
                    for _, plan in cells.quantiles
                ]
                found.append(Exact(sums, tuple(bins)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not be told
            log_incident("a measurement failed behind its payment")
            code = error.code if isinstance(error, BastionError) else "server.internal"
            nobody = [Exact(None, (None,) * len(c.quantiles)) for c in priced.draft.cells]
            return nobody, f"; failed: {code}; answered with noise as if nobody were in the table"
        return found, ""

    async def _last(self, subject: Subject, who: str, priced: Priced, kept: NoisyAnswer) -> Result:
        """Run what the asker makes of the noisy cells, in a worker without data."""
        kept_tables = msgspec.msgpack.decode(kept.data, type=_Tables)
        tables = {name: _numbers(columns) for name, columns in kept_tables.items()}
        async with await self._queries.pool.acquire(who, label=f"noisy {subject.plan_hash[:12]} by {who}") as lease:
            answer, fd = await lease.run_to_file(priced.draft.last, None, None, tables)
            return Result(answer, fd)

    # -- before and after spending

    async def summarize(self, request: Incoming, subject: Subject, static: StaticVerdict, epsilon: float) -> Summary:
        """Return what a query would cost and how exact it would be; nothing is spent, no data is touched.

        Raises:
            InputError: input.epsilon.
        """
        who = request.principal.name
        try:
            priced = self.price(subject, who, epsilon)
        except Refused as refused:
            found = refused.finding
            raise InputError(found.reason, code="input.epsilon", next_step=found.fix) from None
        if priced is None:
            return Summary(subject.plan_hash, static, noisy=False)
        bound_to = binding(subject.versions, subject.policy_versions)
        wanted = priced.epsilon if epsilon else None
        # one that is being drawn is kept for others once it leaves
        lock = self._locks.get((subject.plan_hash, bound_to))
        kept = None
        if lock is None or not lock.locked():
            kept = await asyncio.to_thread(self._ledger.answer, subject.plan_hash, bound_to, wanted)
        return Summary(
            subject.plan_hash,
            static,
            noisy=True,
            epsilon=priced.epsilon,
            cost=0.0 if kept is not None else priced.epsilon,
            bars=priced.bars,
            budget=self._budgets(subject, who),
            affordable=kept is not None or self._affordable(subject, priced),
            notes=priced.draft.notes,
        )

    def _affordable(self, subject: Subject, priced: Priced) -> bool:
        charges = self._charges(subject, priced)
        return all(c.after(self._ledger.standing(d).spent) for d, c in charges.items())

    def _budgets(self, subject: Subject, who: str) -> tuple[Budget, ...]:
        return self._of_domains({r.facts.domain for r in subject.records.values()}, who)

    def _of_domains(self, wanted: set[str] | None, who: str) -> tuple[Budget, ...]:
        policies: dict[str, list[Any]] = {}
        names: dict[str, list[str]] = {}
        for record in self._queries.store.datasets.list():
            domain = record.facts.domain
            if record.facts.plan is not None or (wanted is not None and domain not in wanted):
                continue
            policies.setdefault(domain, []).append(record.facts.policy)
            if record.visible_to(who):
                names.setdefault(domain, []).append(record.facts.name)
        found = []
        for domain in sorted(names):
            account = account_of(policies[domain])
            if account is not None:
                try:
                    stands = self._ledger.standing(domain)
                except ServerError as error:
                    if wanted is not None or error.code not in ("server.locked", "server.catalogue.changed"):
                        raise
                    continue  # in a list of all: those that nothing can be asked of now are left out
                seen = tuple(sorted(names[domain]))
                found.append(budget_of(account, stands.spent, seen, stands.answers, stands.void))
        return tuple(found)

    def budgets(self, who: str) -> Budgets:
        """Return the budgets of all tables one may see that are answered with noise."""
        return Budgets(self._of_domains(None, who))

    async def exact(self, subject: Subject, note: ReleaseNote) -> None:
        """Something leaves without noise: where tables of these people promise noise, now or later, their budget says so.

        Called before the answer leaves. Written once per unit domain. An owner's own look at a table is no release.
        """
        domains = {record.facts.domain for record in subject.records.values()} - self._told
        if note.noisy or not domains:
            return
        how = "an answer approved by the owner" if note.approved else "an exact answer"
        how = "an unsafe answer that is only logged" if note.logged_unsafe else how
        day = time.strftime("%Y-%m-%d", time.gmtime())
        for domain in domains:
            await asyncio.to_thread(self._ledger.void, domain, f"{how} left without noise on {day}.", time.time())
            self._told.add(domain)

    async def _deny(self, request: Incoming, subject: Subject, static: StaticVerdict, finding: Finding) -> None:
        verdict = Verdict(Outcome.REFUSE, findings=(finding,))
        await self._queries._deny(request, subject, verdict, static)


def _drawn(priced: Priced, exact: list[Exact]) -> _Tables:
    from bastion_server.private.release import noisy

    pairs = zip(priced.draft.cells, priced.noise, exact, strict=True)
    return {cells.table: _plain(noisy(cells, noise, found)) for cells, noise, found in pairs}


def _plain(columns: Columns) -> dict[str, list[Any]]:
    return {name: values.tolist() if hasattr(values, "tolist") else list(values) for name, values in columns.items()}


def _numbers(columns: dict[str, list[Any]]) -> dict[str, Any]:
    """Return columns as a worker takes them: numbers of no cell are numbers still."""
    none = {f"{OWN}v": np.int64, f"{OWN}q": np.float64}
    kinds = {name: none.get(name[: len(OWN) + 1]) for name in columns}
    return {name: values or (np.zeros(0, kinds[name]) if kinds[name] else values) for name, values in columns.items()}


def _columns(cells: Cells) -> tuple[str, ...]:
    return (*(k.column for k in cells.keys), *(f"#~v{i}" for i in range(len(cells.parts))))


def _bin_columns(cells: Cells) -> tuple[str, ...]:
    return (*(k.column for k in cells.keys), BIN, COUNT)


def _named(subject: Subject, columns: tuple[str, ...]) -> list[str]:
    """Return `dataset.column` by name instead of id, for the owner's log."""
    parts = (label.partition(".") for label in columns)
    return [f"{subject.names.get(dataset, dataset)}.{column}" for dataset, _, column in parts]


def _bars(priced: Priced) -> list[str]:
    return [f"{bar.column}: {bar.words} (95 %)." for bar in priced.bars[:8]]
