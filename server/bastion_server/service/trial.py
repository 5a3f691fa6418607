"""What a policy would make of past queries: a dry run over static verdicts. Nothing is measured, run or changed.

The static half of the judge needs no data, so it can be asked again of any plan. What depends on the data (how many people
a cell is about, who makes up a sum, what was told before) is said to be open; where the log holds how small the smallest
cell of an answer was, that is compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from bastion_plan.bind import bind
from bastion_plan.canonical import decode
from bastion_plan.errors import BastionError
from bastion_policy.facts import DatasetFacts
from bastion_policy.flow import static_verdict
from bastion_policy.verdict import Outcome, StaticVerdict
from bastion_policy.words import plan_words, policy_words
from bastion_wire.messages import Tried, TriedQuery, TryPolicy

from bastion_server.service.catalogue import Catalogue, Subject
from bastion_server.service.proposal import proposed
from bastion_server.store import DatasetRecord, Store

MAX_TRIED = 500
MAX_WORDS = 400
GONE = "It does not fit the data as it is now: a table, a column or the leave to see it is gone."
MEASURE = "Whether its groups are large enough, and what was told before, only measuring can tell."


@dataclass(frozen=True)
class _Past:
    """A query of the past. smallest: people in the smallest cell of its answer, 0 where that is not on record."""

    plan_hash: str
    requester: str
    plan: bytes
    last: float
    times: int = 0
    request: str = ""
    ended: str = ""
    smallest: int = 0


class TrialService:
    """Tries policies; one at a time, beside the event loop."""

    def __init__(self, store: Store, catalogue: Catalogue, known: Callable[[str], bool]) -> None:
        """Take the store. known: whether a name has a key or an invitation."""
        self._store, self._catalogue, self._known = store, catalogue, known
        self._turn = asyncio.Semaphore(1)

    async def of(self, record: DatasetRecord, body: TryPolicy) -> Tried:
        """Return what a policy would make of past queries. That the dataset is the asker's own is the caller's to check.

        Raises:
            PolicyError: the policy cannot be this table's, as in SetPolicy.
        """
        async with self._turn:
            return await asyncio.to_thread(self._of, record, body)

    def _of(self, record: DatasetRecord, body: TryPolicy) -> Tried:
        facts = proposed(record, body.policy, body.roles, self._known)
        limit = max(1, min(body.limit, MAX_TRIED))
        return Tried(
            dataset=facts.id,
            name=facts.name,
            queries=tuple(self._tried(past, facts) for past in self._past(facts.id, limit)),
            words=tuple(policy_words(facts.policy)),
            warnings=tuple(facts.policy.warnings()),
        )

    def _past(self, dataset: str, limit: int) -> list[_Past]:
        """Return queries and requests, newest first; a query that was requested too is there once."""
        found: dict[tuple[str, str], _Past] = {}
        for asked in self._store.asked.of(dataset, limit):
            ended, smallest = self._ended(dataset, asked.plan_hash, asked.requester)
            found[asked.plan_hash, asked.requester] = _Past(
                asked.plan_hash, asked.requester, asked.plan, asked.last, asked.times, "", ended, smallest
            )
        for filed in reversed(self._store.requests.list(dataset=dataset, limit=limit)):
            key = (filed.plan_hash, filed.requester)
            known = found.get(key)
            found[key] = _Past(
                *key, filed.plan, max(filed.created, known.last if known else 0.0), known.times if known else 0, filed.id,
                f"request {filed.state}", int(filed.shown.figures.get("smallest_cell", 0)),
            )  # fmt: skip
        return sorted(found.values(), key=lambda p: p.last, reverse=True)[:limit]

    def _ended(self, dataset: str, plan_hash: str, who: str) -> tuple[str, int]:
        """Return what the log says became of a query, and of how many people its smallest cell was."""
        for record in self._store.audit.show(
            dataset=dataset, plan_hash=plan_hash, who=who, kinds=("outcome", "grant_used"), limit=1
        ):
            smallest = record.details.get("smallest_cell")
            return record.summary, int(smallest) if isinstance(smallest, int | float) else 0
        return "", 0

    def _tried(self, past: _Past, new: DatasetFacts) -> TriedQuery:
        words, before, after = "", "", ""
        lead, measured = None, ""
        try:
            subject = self._catalogue.subject(decode(past.plan), past.plan_hash, past.requester)
            words = plan_words(subject.bound.root, subject.names)
            before = _outcome(subject, subject.facts, past.requester)[0]
            after, verdict = _outcome(subject, {**subject.facts, new.id: new}, past.requester)
            lead = next((f for f in verdict.findings if not f.private), None)
            if after == "release":
                lead = None
                # INVARIANT: as in a request, how small a cell of several owners' data was is for none of them
                measured = _measured(replace(past, smallest=0) if subject.joint else past, new)
        except BastionError:
            measured = GONE
        return TriedQuery(
            plan_hash=past.plan_hash,
            who=past.requester,
            words=words if len(words) <= MAX_WORDS else words[: MAX_WORDS - 1] + "…",
            ended=past.ended[:200],
            times=past.times,
            last=past.last,
            request=past.request,
            before=before,
            after=after,
            rule=lead.rule if lead is not None else "",
            reason=lead.reason if lead is not None else "",
            fix=lead.fix if lead is not None else "",
            measured=measured,
        )


def _outcome(subject: Subject, facts: dict[str, DatasetFacts], who: str) -> tuple[str, StaticVerdict]:
    """Return the static outcome of a query under given facts; the plan is bound anew, as roles may matter to it."""
    verdict = static_verdict(bind(subject.bound.root, facts), facts, who)
    zones = {f.effective(who).zone for f in facts.values()}
    noisy = verdict.outcome is Outcome.RELEASE and "private" in zones
    return ("private" if noisy else str(verdict.outcome)), verdict


def _measured(past: _Past, new: DatasetFacts) -> str:
    effective = new.effective(past.requester)
    if effective.open:
        return ""
    if past.smallest and past.smallest < effective.k:
        return (
            f"Its smallest group was of {past.smallest} people, fewer than the {effective.k} that would be needed: that group "
            "would be put together with others or withheld."
        )
    if past.smallest:
        return (
            f"Its smallest group was of {past.smallest} people, and {effective.k} would be needed. The other rules and what was "
            "told before are measured anew."
        )
    return MEASURE
