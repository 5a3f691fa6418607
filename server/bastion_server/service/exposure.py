"""What has been released of a dataset: added up from the audit log, per column and audience, for its owner."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
from bastion_plan.errors import ServerError
from bastion_policy.facts import DatasetFacts
from bastion_policy.history import failures
from bastion_policy.history.coverage import Coverage, coverage
from bastion_policy.history.encoding import unpack_past, unpack_roster
from bastion_policy.private.accounting import NOTHING, Account, Cost
from bastion_policy.uses import CONDITION, PEOPLE
from bastion_wire.messages import AudienceExposure, ColumnExposure, Exposed

from bastion_server.service.audiences import label
from bastion_server.service.histories import hour
from bastion_server.service.journal import JOINT
from bastion_server.store import DatasetRecord, Store
from bastion_server.store.histories import ROSTER

#: an intent adds nothing, but says that other owners' data was part of what was asked, also where no outcome followed
_KINDS = ("intent", "outcome", "grant_used")
#: datasets whose sums are kept in memory
_KEPT = 64


@dataclass(slots=True)
class _Answer:
    """What one answer adds."""

    cells: int
    smallest: int
    approved: bool
    unsafe: bool
    coverage: float | None
    last: float


@dataclass(slots=True)
class _Sum:
    """What one identity was told, of one column or in all."""

    uses: dict[str, int] = field(default_factory=dict)
    answers: int = 0
    cells: int = 0
    smallest: int = 0
    approved: int = 0
    unsafe: int = 0
    denied: int = 0
    coverage: float | None = None
    last: float = 0.0

    def count(self, one: _Answer) -> None:
        """Add one answer."""
        self.answers += 1
        self.cells += one.cells
        if one.smallest and (one.smallest < self.smallest or not self.smallest):
            self.smallest = one.smallest
        self.approved += one.approved
        self.unsafe += one.unsafe
        if one.coverage is not None and (self.coverage is None or one.coverage > self.coverage):
            self.coverage = one.coverage
        if one.last > self.last:
            self.last = one.last

    def add(self, other: _Sum) -> None:
        for use, number in other.uses.items():
            self.uses[use] = self.uses.get(use, 0) + number
        self.answers += other.answers
        self.cells += other.cells
        self.smallest = min(filter(None, (self.smallest, other.smallest)), default=0)
        self.approved += other.approved
        self.unsafe += other.unsafe
        self.denied += other.denied
        self.coverage = _largest(self.coverage, other.coverage)
        self.last = max(self.last, other.last)


@dataclass
class _Sums:
    """Sums of one dataset by identity, up to record `next`. joint: who asked of it together with another owner's data."""

    next: int = 0
    joint: set[str] = field(default_factory=set)
    people: dict[str, _Sum] = field(default_factory=dict)
    columns: dict[tuple[str, str], _Sum] = field(default_factory=dict)


@dataclass(frozen=True)
class _History:
    """What an audience's history says. failed, today: queries that failed and count."""

    coverage: Coverage | None = None
    failed: int = 0
    today: int = 0


@dataclass(frozen=True)
class _Budget:
    """What a ledger says, None where the policy adds no noise."""

    epsilon: float | None = None
    delta: float | None = None
    spent: float | None = None
    void: str = ""
    by_audience: Mapping[str, float] = field(default_factory=dict)


class ExposureService:
    """Adds up the log as it grows; a dataset that was looked at before costs what is new of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, _Sums] = {}
        self._lock = threading.Lock()

    async def of(self, record: DatasetRecord) -> Exposed:
        """Return what has been released of a dataset. Who may know is the caller's to check.

        Raises:
            ServerError: the log or a history is damaged.
        """
        return await asyncio.to_thread(self._of, record)

    def _of(self, record: DatasetRecord) -> Exposed:
        facts, shared = record.facts, self._store.audiences
        with self._lock:
            sums = self._up_to_date(facts.id)
            joint = {
                shared.of(facts.domain, who)
                for dataset in {facts.id, *self._store.datasets.of_domain(facts.domain)}
                for who in self._up_to_date(dataset).joint
            }
            people: dict[str, _Sum] = {}
            members: dict[str, set[str]] = {}
            columns: dict[tuple[str, str], _Sum] = {}
            for who, one in sums.people.items():
                audience = shared.of(facts.domain, who)
                people.setdefault(audience, _Sum()).add(one)
                members.setdefault(audience, set()).add(who)
            for (who, column), one in sums.columns.items():
                columns.setdefault((shared.of(facts.domain, who), column), _Sum()).add(one)
        told = {column for (_, column), one in columns.items() if one.answers}
        known = {key: self._history(facts, key) for key in {*people, *self._told(facts)}}
        # who failed in another table of these people, or while a request was filed, is in no answer of this one
        for key in [key for key, found in known.items() if found.failed and key not in people]:
            people[key], members[key] = _Sum(), set()
        budget = self._budget(facts)
        labels = {key: label(self._store, facts, key) for key in people}
        return Exposed(
            dataset=facts.id,
            name=facts.name,
            version=facts.version,
            people=record.private.units if record.private is not None else 0,
            columns=tuple(_column(facts, labels[key], column, columns[key, column]) for key, column in sorted(columns)),
            audiences=tuple(
                _audience(
                    labels[key],
                    tuple(sorted({*members[key], *shared.members(facts.domain, key)})),
                    people[key],
                    known[key],
                    budget.by_audience.get(key),
                    joint=key in joint,
                )
                for key in sorted(people)
            ),
            untouched=tuple(c.name for c in facts.columns if c.name not in told),
            epsilon=budget.epsilon,
            delta=budget.delta,
            spent=budget.spent,
            void=budget.void,
        )

    def _budget(self, facts: DatasetFacts) -> _Budget:
        """Read the ledger of the unit domain: one for all tables of these people."""
        rule = facts.policy.effective().privacy
        if rule is None:
            return _Budget()
        account, ledger = Account(rule.epsilon, rule.delta), self._store.ledger
        costs: dict[str, Cost] = {}
        for entry in ledger.entries(facts.domain):
            audience = self._store.audiences.of(facts.domain, entry.requester)
            costs[audience] = costs.get(audience, NOTHING) + entry.cost
        standing = ledger.standing(facts.domain)
        by_audience = {audience: account.epsilon_of(cost) for audience, cost in costs.items()}
        return _Budget(rule.epsilon, rule.delta, account.epsilon_of(standing.spent), standing.void, by_audience)

    def _told(self, facts: DatasetFacts) -> tuple[str, ...]:
        """Return the audiences that have a history; none of a locked table, of which nothing can be read."""
        try:
            return self._store.histories.audiences(facts.domain)
        except ServerError as error:
            if error.code != "server.locked":
                raise
            return ()

    def _history(self, facts: DatasetFacts, audience: str) -> _History:
        histories = self._store.histories
        number, text = histories.get(facts.domain, audience)
        if not number:
            return _History()
        past = unpack_past(text)
        _, roster = histories.get(facts.domain, ROSTER)
        covered = coverage(past, unpack_roster(roster), facts.id, facts.version) if roster else None
        return _History(covered, *failures(past, hour()))

    def _up_to_date(self, dataset: str) -> _Sums:
        sums = self._kept.pop(dataset, None) or _Sums()
        audit = self._store.audit
        size = len(audit)
        numbers = audit.numbers(dataset=dataset, kinds=_KINDS, first=sums.next, below=size) if sums.next < size else []
        for _, payload in audit.payloads(numbers):
            _add(sums, _decoder.decode(payload), dataset)
        sums.next = size
        self._kept[dataset] = sums
        while len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return sums


class _Details(msgspec.Struct, gc=False):
    """What is added up of an answer's details. uses: None in records of an earlier release, which have columns only."""

    cells: int | None = 0
    smallest_cell: int | None = 0
    merged_cells: int | None = 0
    coverage: float | None = None
    uses: dict[str, tuple[str, ...]] | None = None
    columns: tuple[str, ...] = ()
    of: float | None = None
    joint: bool = False


class _Told(msgspec.Struct, gc=False):
    """What is added up of a record."""

    time: float
    kind: str
    who: str
    summary: str
    red: bool = False
    details: msgspec.Raw = msgspec.Raw(b"\x80")


_decoder = msgspec.msgpack.Decoder(_Told)
_MARK = JOINT.encode()
_details = msgspec.msgpack.Decoder(_Details, strict=False)


def _add(sums: _Sums, record: _Told, dataset: str) -> None:
    # most records are about one table: they are not read in full for this
    if _MARK in bytes(record.details) and _details.decode(record.details).joint:
        sums.joint.add(record.who)
    if record.kind == "intent":
        return
    whole = sums.people.get(record.who)
    if whole is None:
        whole = sums.people[record.who] = _Sum()
    if record.summary.startswith("denied"):
        whole.denied += 1
        return
    if not record.summary.startswith("released"):
        return
    details = _details.decode(record.details)
    approved = record.kind == "grant_used"
    answer = _Answer(
        details.cells or 0,
        details.smallest_cell or 0,
        approved,
        record.red and not approved and details.of is None,  # with noise, red says that nobody was found
        _covered(details),
        record.time,
    )
    whole.count(answer)
    for column, uses in _uses(details, dataset):
        found = sums.columns.get((record.who, column))
        if found is None:
            found = sums.columns[record.who, column] = _Sum()
        found.count(answer)
        for use in uses:
            found.uses[use] = found.uses.get(use, 0) + 1


def _uses(details: _Details, dataset: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield this dataset's columns in one answer, with their uses."""
    if details.uses is not None:
        for label, uses in details.uses.items():
            source, _, column = label.partition(".")
            if source == dataset:
                yield column, uses
        return
    for label in details.columns:
        source, _, column = label.partition(".")
        if source == dataset:
            yield column, (CONDITION,)


def _covered(details: _Details) -> float | None:
    """Return the share of all people that an answer was about, None if that is not on record."""
    if details.joint:
        return None  # of all owners' people together
    if details.coverage is not None:
        return details.coverage
    # a number of the whole table is in no cell of its own
    whole = details.cells and not details.smallest_cell and not details.merged_cells
    return 1.0 if whole else None


def _largest(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)


def _column(facts: DatasetFacts, audience: str, column: str, one: _Sum) -> ColumnExposure:
    role = facts.roles.get(column)
    return ColumnExposure(
        audience=audience,
        column=column,
        role=str(role) if role is not None and column != PEOPLE else "",
        uses=dict(sorted(one.uses.items())),
        answers=one.answers,
        cells=one.cells,
        smallest_cell=one.smallest,
        approved=one.approved,
        unsafe=one.unsafe,
        coverage=one.coverage,
        last=one.last,
    )


def _audience(
    name: str, members: tuple[str, ...], one: _Sum, history: _History, epsilon: float | None, *, joint: bool
) -> AudienceExposure:
    # INVARIANT: whom of one's own people a question reached that other owners' data was part of, tells of that data
    covered = None if joint else history.coverage
    return AudienceExposure(
        audience=name,
        members=members,
        answers=one.answers,
        approved=one.approved,
        unsafe=one.unsafe,
        denied=one.denied,
        coverage=_largest(one.coverage, covered.share if covered is not None else None),
        rank=covered.rank if covered is not None else None,
        rank_limit=covered.limit if covered is not None else None,
        epsilon=epsilon,
        last=one.last,
        failed=history.failed,
        failed_today=history.today,
    )
