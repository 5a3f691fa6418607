"""The histories of the audiences, one query at a time: read, judged against, kept before the answer leaves."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.ma  # np.unique would import it, while the first question waits
from bastion_plan.nodes import Node
from bastion_policy.facts import DatasetFacts
from bastion_policy.history import Columns, History, Lens, Past, Roster, numbering_plan
from bastion_policy.history.encoding import pack_past, pack_roster, unpack_past, unpack_roster
from bastion_policy.history.numbering import CONTENT, UNIT, marks, returned
from bastion_policy.verdict import Measured

from bastion_server.service.catalogue import Subject
from bastion_server.store import Store
from bastion_server.store.histories import ROSTER

#: histories and rosters that are held in memory, besides those in use
HELD = 16
#: separates a unit domain, which may not hold it, and an audience
_BETWEEN = "\x00"

_T = TypeVar("_T")
Measurement = Callable[[Node, tuple[str, ...]], Awaitable[Measured]]


@dataclass(eq=False)
class Remembered(History):
    """The history of an audience. who: of it asks."""

    who: str = ""


class HistoryService:
    """Keeps what every audience was told.

    INVARIANT: queries of one audience about one unit domain are judged one after the other, each against all that was
    released before it, and what a release adds is on the disk before the answer leaves.
    """

    def __init__(self, store: Store, columns: Columns | None = None) -> None:
        self._store, self._columns = store, columns or Columns()
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._rosters: OrderedDict[str, tuple[int, Roster]] = OrderedDict()
        self._pasts: OrderedDict[str, tuple[int, Past]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, subject: Subject, who: str) -> AsyncIterator[None]:
        """Wait for the turn of a query of one audience."""
        async with AsyncExitStack() as stack:
            # INVARIANT: always in one order, so that two joins never wait for each other
            for key in sorted({self._key(facts, who) for facts in subject.facts.values()}):
                await stack.enter_async_context(self._lock(key))
            yield

    async def of(self, subject: Subject, who: str, measure: Measurement) -> Remembered:
        """Return what a query may know of the past; to be asked in its turn.

        measure: runs a plan beside the data and returns the named columns; used once per version of a table.

        Raises:
            ServerError: server.history.*, server.sealed.*: a history that cannot be read releases nothing.
            PolicyError: policy.audience, an earlier release began a second history for `who`: nothing is released.
        """
        domains, pasts, numbers = {}, {}, {}
        # INVARIANT: beside a guarded table an open one is guarded, too: a join with it is no way around the history
        guarded = any(not facts.effective(who).open for facts in subject.facts.values())
        tables = dict(sorted(subject.facts.items())) if guarded else {}
        rosters: dict[str, Roster] = {}
        for dataset, facts in tables.items():
            self._store.audiences.check_one(facts.domain, who)
            rosters[facts.domain] = await self._roster(facts, measure)
            domains[dataset] = key = self._key(facts, who)
            numbers[key], pasts[key] = await self._past(key)
        # INVARIANT: all tables of a domain are seen in one roster, in which each of them is
        lenses = {d: Lens(rosters[facts.domain], d, facts.version) for d, facts in tables.items()}
        return Remembered(lenses, domains, pasts, secrets.token_bytes, numbers, self._columns, hour(), who=who)

    async def keep(self, history: Remembered) -> None:
        """Keep what a release adds, in its turn, before it leaves; whoever is cancelled meanwhile waits until it is done.

        Raises:
            ServerError: it cannot be kept (server.history.stale: the owner changed meanwhile who counts as one with the
                asker); then nothing may leave.
        """
        await to_its_end(self._keep(history))

    async def _keep(self, history: Remembered) -> None:
        for key, past in history.changes.items():
            domain, audience = key.split(_BETWEEN, 1)
            number = history.numbers[key]

            def write(past: Past = past, domain: str = domain, audience: str = audience, number: int = number) -> int:
                text = pack_past(past)
                now, who = time.time(), history.who
                return self._store.histories.put(domain, audience, text, expected=number, now=now, who=who)

            try:
                number = await asyncio.to_thread(write)
            except BaseException:
                # what the disk holds now is read again
                self._pasts.pop(key, None)
                raise
            _held(self._pasts, key, (number, past))

    async def clear(self, domain: str, audience: str, change: Callable[[Past, Callable[[Past], None]], None]) -> None:
        """Change what is kept of an audience by its owner's decision, in a turn of its own.

        change: is given the past and what keeps another one, in a thread; it keeps it in the transaction of its own record.

        Raises:
            ServerError: as `of` and `keep`.
        """
        async with self._lock(key := _BETWEEN.join((domain, audience))):
            number, past = await self._past(key)

            def keep(cleared: Past) -> None:
                who = next(iter(self._store.audiences.members(domain, audience)), None)
                text, now = pack_past(cleared), time.time()
                self._store.histories.put(domain, audience, text, expected=number, now=now, who=who)

            try:
                await to_its_end(asyncio.to_thread(change, past, keep))
            finally:
                # what the disk holds now is read again
                self._pasts.pop(key, None)

    def _key(self, facts: DatasetFacts, who: str) -> str:
        # INVARIANT: the audience is the one on record for all tables of these people, never what one table's policy says
        # now: else a change of policy, or a second table, began an empty history for the same identity
        return _BETWEEN.join((facts.domain, self._store.audiences.of(facts.domain, who)))

    async def _roster(self, facts: DatasetFacts, measure: Measurement) -> Roster:
        domain = facts.domain
        async with self._lock(domain):
            number, roster = await self._read_roster(domain)
            if (facts.id, facts.version) in roster.versions:
                return roster
            measured = await measure(numbering_plan(facts), returned(facts))

            def enter() -> Roster:
                unit = np.asarray(measured[UNIT]) if facts.unit is not None else None
                found = roster.entered(
                    facts.id, facts.version, unit, np.asarray(measured[CONTENT]), marks(facts, measured), facts.hidden
                )
                return found.without({key for key in found.versions if key[0] != facts.id or key[1] >= facts.version})

            entered = await asyncio.to_thread(enter)

            def write() -> tuple[int, Roster]:
                text = pack_roster(entered)
                return self._store.histories.put(domain, ROSTER, text, expected=number, now=time.time()), entered

            try:
                found = await to_its_end(asyncio.to_thread(write))
            except BaseException:
                self._rosters.pop(domain, None)
                raise
            _held(self._rosters, domain, found)
            return found[1]

    async def _read_roster(self, domain: str) -> tuple[int, Roster]:
        if domain not in self._rosters:

            def read() -> tuple[int, Roster]:
                number, text = self._store.histories.get(domain, ROSTER)
                return number, unpack_roster(text) if text else Roster()

            _held(self._rosters, domain, await asyncio.to_thread(read))
        return self._rosters[domain]

    async def _past(self, key: str) -> tuple[int, Past]:
        if key not in self._pasts:
            domain, audience = key.split(_BETWEEN, 1)

            def read() -> tuple[int, Past]:
                number, text = self._store.histories.get(domain, audience)
                return number, unpack_past(text) if text else Past()

            _held(self._pasts, key, await asyncio.to_thread(read))
        return self._pasts[key]

    @asynccontextmanager
    async def _lock(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of a name; locks that nobody waits for are forgotten."""
        lock, waiting = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks.pop(key)
            if waiting > 1:
                self._locks[key] = (lock, waiting - 1)


async def to_its_end(work: Awaitable[_T]) -> _T:
    """Do something; whoever is cancelled meanwhile, or before it has begun, waits until it is done.

    INVARIANT: no turn ends while its history is being written, else the next one would be judged against an older one.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise


def hour() -> int:
    """Return the hours since 1970, by which failures are counted."""
    return int(time.time() // 3600)


def _held(memory: OrderedDict[str, _T], key: str, value: _T) -> None:
    """Hold a value in memory; the one that was not used for longest makes room."""
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > HELD:
        memory.popitem(last=False)
