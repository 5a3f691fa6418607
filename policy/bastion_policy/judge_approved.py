"""What an owner released, beside what was told: whoever was shown is taken out, and what is left is compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bastion_policy.approvals import Shows
from bastion_policy.guard_cells import Flags, Indexes
from bastion_policy.history import FAR, SAME, Channel, History, Past, Sets
from bastion_policy.history.near import Cells
from bastion_policy.history.sets import Items
from bastion_policy.judge_channels import (
    APPROVED,
    BEFORE,
    BLURRED,
    FIRST,
    OF_COLUMN,
    OF_PEOPLE,
    OF_VINTAGE,
    PICKED,
    SHOWN,
    SHOWN_OF,
    WEIGHED,
    plan_of,
)
from bastion_policy.lineage import Occurrence, Source

if TYPE_CHECKING:
    from bastion_policy.judge_memory import MemoryBase


def shown_any(memory: MemoryBase, o: Occurrence, channel: str) -> bool:
    """Whether an owner showed anything of a table's people."""
    past = memory.history.pasts[memory.history.domains[o.dataset]]
    return bool(past.picked) or SHOWN in past.channels or APPROVED + channel in past.channels


def near_shown(memory: MemoryBase, o: Occurrence, sets: Sets, flags: Flags, channel: str) -> Flags:
    """Return the cells that come near others once those are taken out of them whom an owner showed."""
    held, (most, unit), near = memory.channel(o, channel), memory.scale(o, channel), flags & False

    def compared(cells: Sets, held: Channel, k: int) -> Flags:
        few = _people_in(memory, o, cells, channel) < k
        # the very same as a stored one differs from it by nobody
        state = held.distances(cells.where(flags & (cells.sizes > 0)), k, most, unit).state
        return np.asarray(few | ((state != FAR) & (state != SAME)))

    rest = besides(memory, o, sets, channel)
    if rest is not None:
        # nobody at all may be left: of whom all is known nothing new is told
        near |= compared(rest, unknown(memory, o, held), memory.k) & (rest.sizes > 0)
    rest = _without_cells(memory, o, sets, channel)
    if rest is not None:
        left = _people_in(memory, o, rest, channel)
        near |= (left > 0) & (left < memory.k)
    picked = memory.history.pasts[memory.history.domains[o.dataset]].picked
    if picked:
        # INVARIANT: each number about somebody whom nobody can name may take one person out of a population
        near |= compared(sets, held, memory.k + picked) & among(memory, o, PICKED, sets, channel)
    return np.asarray(near & flags)


class Kind(StrEnum):
    """What was shown of a column."""

    VALUES = "="  # each person's value
    MADE = "~"  # something that is made of few people's values
    NUMBERS = "!"  # some number


def told(memory: MemoryBase, o: Occurrence, sets: Sets, shows: Shows) -> None:
    """Keep of which columns an owner released something."""
    for source in shows.maybe | shows.loose:
        if source.occurrence == o.index:
            _keep(memory, o, sets, Kind.NUMBERS, source.column)


def shown(memory: MemoryBase, o: Occurrence, sets: Sets, shows: Shows) -> None:
    """Keep whose values of which columns an owner showed, or something that is made of them."""
    for source in shows.maybe:
        if source.occurrence == o.index:
            _keep(memory, o, sets, Kind.VALUES if source in shows.sure else Kind.MADE, source.column)


def _keep(memory: MemoryBase, o: Occurrence, sets: Sets, kind: Kind, column: str) -> None:
    lens = memory.lens(o)
    held, first = memory.channel(o, SHOWN_OF), memory.as_first(o, sets)
    memory.put(o, SHOWN_OF, held.released(first, plan_of(lens.dataset, lens.version, column, kind)))


def near_known(memory: MemoryBase, o: Occurrence, sets: Sets, flags: Flags, column: str) -> Flags:
    """Return the populations that come near nobody or a stored one, once those are left out whose values of a column are known.

    INVARIANT: known is what a person holds now if it was shown, row by row: not who was in a list without the column, nor what was
    shown of another row or has changed since. Of whom something was shown that is made of their values, or another row's value,
    it may be known, and may not, of each by themselves: a population is cleared only if it is whichever of them are known.
    """
    near = flags & False
    past = memory.history.pasts[memory.history.domains[o.dataset]]
    if SHOWN_OF not in past.channels or not memory.snaps:
        return near
    roster = memory.lens(o).roster
    first, held = memory.as_first(o, sets).where(flags), memory.channel(o, FIRST if FIRST in past.channels else "")
    sure, most = (_known(memory, o, column, kinds) for kinds in ((Kind.VALUES,), (Kind.VALUES, Kind.MADE)))
    if roster.several:
        # a column may stay the same in a person's rows: who was shown in one may be known in all
        theirs = np.zeros(int(roster.people.max(initial=-1)) + 1, bool)
        theirs[roster.people[most]] = True
        most = theirs[roster.people]
    if not most.any():
        return near

    def left(known: Flags) -> tuple[Indexes, npt.NDArray[np.int8]]:
        """How many people are left of each population, and how what is left of it lies to what is left of the stored ones."""
        of, items = first.memberships
        of, items = of[~known[items]], items[~known[items]]
        rest = Sets.of(sets.count, of, items, held.labels.size)
        people = np.unique(of.astype(np.int64) * roster.unit.size + roster.people[items]) // roster.unit.size
        state = _without(held, known).distances(rest, memory.k, roster.most, roster.unit).state
        return np.bincount(people, minlength=sets.count), state

    (unknown, same), (fewest, state) = left(sure), left(most)
    of, items = first.memberships
    some = np.bincount(of[most[items]], minlength=sets.count) > 0
    # INVARIANT: whichever of those who may be known are, between the fewest and all unknown are left, of it and of differences
    return np.asarray(flags & (unknown > 0) & ((some & (fewest < memory.k)) | ((state != FAR) & (same != SAME))))


def _known(memory: MemoryBase, o: Occurrence, column: str, kinds: Sequence[Kind]) -> Flags:
    """Return the rows, as they were first, of which what was shown of a column is what it holds now."""
    lens = memory.lens(o)
    held = memory.channel(o, SHOWN_OF)
    every = np.ones(lens.roster.size, bool)
    supposed: dict[tuple[tuple[str, int], str], list[Flags]] = {((lens.dataset, lens.version), column): [every]}
    for copy in lens.roster.copies((lens.dataset, lens.version), column):
        supposed.setdefault((copy.of, copy.column), []).append(copy.agreement.same)
    # INVARIANT: what is supposed is no licence: known for sure is what is the same whatever is
    agreed = np.logical_and if kinds == (Kind.VALUES,) else np.logical_or
    labels = [(of, name, agreed.reduce(each)) for (of, name), each in supposed.items()]
    found = np.zeros(lens.roster.size, bool)
    for (dataset, version), name, same in labels:
        theirs = held.asked_by({plan_of(dataset, version, name, kind) for kind in kinds})
        found |= np.asarray((theirs.parts >= 0).any(axis=0))[theirs.labels] & same
    return found


def shown_of(memory: MemoryBase, sources: Iterable[Source]) -> bool:
    """Whether values of one of these columns, or something made of few of them, were shown to this audience, of anybody.

    INVARIANT: what an owner approved is known from then on, so such a column may weigh others as a known one does.
    """
    kinds = (Kind.VALUES, Kind.MADE)
    return any(
        SHOWN_OF in memory.history.pasts[memory.history.domains[o.dataset]].channels
        and bool(_known(memory, o, source.column, kinds).any())
        for source in sources
        for o in memory.occurrences
        if o.index == source.occurrence
    )


def among(memory: MemoryBase, o: Occurrence, name: str, sets: Sets, channel: str) -> Flags:
    """Return the cells that hold somebody who is in a channel of people."""
    of, items = sets.memberships
    among = np.zeros(sets.count, bool)
    among[of[_theirs(memory, o, name, items, channel)]] = True
    return among


def _people_in(memory: MemoryBase, o: Occurrence, sets: Sets, channel: str) -> Indexes:
    """Return how many people are in each population."""
    cells, items = sets.memberships
    if not channel.startswith(WEIGHED):
        people = memory.lens(o).roster.people
        size = int(people.max(initial=0)) + 1
        cells = np.unique(cells.astype(np.int64) * size + people[items]) // size
    return np.bincount(cells, minlength=sets.count)


def _people_of(memory: MemoryBase, o: Occurrence, name: str) -> Flags:
    """Return which people are in some population of a channel, whichever of their rows is."""
    return members(memory.history.pasts[memory.history.domains[o.dataset]], name, memory.lens(o).roster.people)


def members(past: Past, name: str, people: Indexes) -> Flags:
    """Return which people are in a channel. people: whose each item is."""
    found = np.zeros(int(people.max(initial=-1)) + 1, bool)
    if name in past.channels:
        held = past.channel(name, people.size)
        found[people[np.asarray((held.parts >= 0).any(axis=0))[held.labels]]] = True
    return found


def _theirs(memory: MemoryBase, o: Occurrence, name: str, items: Items, channel: str) -> Flags:
    """Return which items (of `channel`) are of people who are in the channel `name`."""
    return _people_of(memory, o, name)[items if channel.startswith(WEIGHED) else memory.lens(o).roster.people[items]]


def besides(memory: MemoryBase, o: Occurrence, sets: Sets, channel: str = "") -> Sets | None:
    """Return what is left of populations without the people whom an owner showed; None: nobody was shown.

    They are taken out by person, whichever of their rows was shown in whatever version, and those in cells of too few people as if
    each was: whoever has several such cells may have the differences.
    """
    past = memory.history.pasts[memory.history.domains[o.dataset]]
    if SHOWN not in past.channels:
        return None
    of, items = sets.memberships
    left = ~_theirs(memory, o, SHOWN, items, channel)
    return Sets.of(sets.count, of[left], items[left], memory.channel(o, channel).labels.size)


def unknown(memory: MemoryBase, o: Occurrence, held: Channel) -> Channel:
    """Return a channel of what is left of its populations without the people whom an owner showed."""
    shown = _people_of(memory, o, SHOWN)
    return _without(held, shown[memory.lens(o).roster.people[: held.labels.size]])


def _without(held: Channel, known: Flags) -> Channel:
    """Return a channel of what is left of its populations without some items."""
    labels = np.where(known, held.sizes.size, held.labels).astype(np.int32)
    sizes = np.bincount(labels, minlength=held.sizes.size + 1)
    parts = np.concatenate([held.parts, np.full((held.parts.shape[0], 1), -1, np.int32)], axis=1)
    return Channel(labels, sizes, parts, held.plans, cells=Cells.of(parts, sizes))


def _without_cells(memory: MemoryBase, o: Occurrence, sets: Sets, channel: str) -> Sets | None:
    """Return what is left of populations without the cells that an owner released and that lie inside; None: all of all.

    Of whom a cell was released with too few others, not each is known.
    """
    past = memory.history.pasts[memory.history.domains[o.dataset]]
    if channel.startswith(OF_PEOPLE) or APPROVED + channel not in past.channels:
        return None
    first, cells = memory.as_first(o, sets), memory.channel(o, APPROVED + channel)
    as_first = memory.lens(o).roster.first
    of, items = first.memberships
    left = np.ones(items.size, bool)
    for part in range(cells.parts.shape[0]):
        cell, held = cells.populations(part).memberships
        inside = np.full(as_first.size, -1, np.int64)
        inside[as_first[held]] = cell
        there = np.flatnonzero(inside[items] >= 0)
        if there.size:
            sizes = np.bincount(inside[inside >= 0])
            code = of[there].astype(np.int64) * sizes.size + inside[items[there]]
            whole = np.bincount(code, minlength=sets.count * sizes.size)[code] == sizes[inside[items[there]]]
            left[there[whole]] = False
    if left.all():
        return None
    touched = np.zeros(sets.count, bool)
    touched[of[~left]] = True
    kept = left & touched[of]
    return Sets.of(sets.count, of[kept], items[kept], memory.channel(o, channel).labels.size)


def completed(history: History, k: int) -> int:
    """Return of how many people something may follow that an approval does not show: for its owner, before they decide.

    history: as the approval leaves it. They are the rest, fewer than k, of populations that were asked about and of which all others
    are shown. What follows from several populations together is not looked at.
    """
    found = 0
    for domain, lens in {history.domains[dataset]: lens for dataset, lens in history.lenses.items()}.items():
        before, after, people = history.before[domain], history.pasts[domain], lens.roster.people
        shown, known = members(after, SHOWN, people), members(before, SHOWN, people)
        if not (shown & ~known).any():
            continue
        rest = np.zeros(shown.size, bool)
        for name, held in before.channels.items():
            if name.startswith((OF_PEOPLE, OF_VINTAGE, OF_COLUMN, FIRST, SHOWN, SHOWN_OF, PICKED, BLURRED, BEFORE)):
                continue
            for part in range(held.parts.shape[0]):
                told = held.populations(part)
                cells, items = told.memberships
                cell, person = np.divmod(np.unique(cells.astype(np.int64) * shown.size + people[items]), shown.size)
                left = np.bincount(cell[~shown[person]], minlength=told.count)
                newly = np.bincount(cell[(shown & ~known)[person]], minlength=told.count)
                near = (newly > 0) & (left < k)
                rest[person[near[cell] & ~shown[person]]] = True
        found += int(rest.sum())
    return found
