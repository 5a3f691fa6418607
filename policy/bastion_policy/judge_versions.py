"""What was told of which version of which table of the people."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bastion_policy.guard_cells import Flags
from bastion_policy.history import SAME, Channel, Sets
from bastion_policy.history.hidden import Hidden
from bastion_policy.history.past import Past
from bastion_policy.history.sets import Items
from bastion_policy.judge_approved import besides, unknown
from bastion_policy.judge_channels import APPROVED, FIRST, OF_VINTAGE, vintage
from bastion_policy.judge_corrections import begin
from bastion_policy.lineage import Occurrence

if TYPE_CHECKING:
    from bastion_policy.judge_history import Memory


@dataclass(frozen=True, eq=False)
class Compared:
    """What was told of one version of one table, and populations of this one beside it.

    held: as it is stored. sets: the populations, as its items are numbered. at: the item of each row of this table. mine, theirs:
    (table id, version); theirs None: nobody knows. alone: the populations are what is left of cells besides what an owner released, and
    are to be judged by themselves, too.
    """

    held: Channel
    sets: Sets
    at: Items
    mine: tuple[str, int]
    theirs: tuple[str, int] | None
    alone: bool = False


def compared(memory: Memory, o: Occurrence, sets: Sets, *, now: bool) -> list[Compared]:
    """Return what was told of a table's people, version by version of each table. now: what this question told counts, too.

    Rows are compared as they were first, whatever has become of them.
    """
    lens = memory.lens(o)
    past = (memory.history.pasts if now else memory.before)[memory.history.domains[o.dataset]]
    mine = (lens.dataset, lens.version)
    held: list[tuple[Channel, tuple[str, int] | None]]
    if len(lens.roster.vintages) < 2:
        items, rest = lens.items, besides(memory, o, sets)
        held = [(past.channel(name, lens.roster.size), mine) for name in ("", APPROVED)]
    else:
        rest = None if (found := besides(memory, o, sets)) is None else memory.as_first(o, found)
        sets, items = memory.as_first(o, sets), lens.roster.first[lens.items]
        held = [(h.grown(lens.roster.size), vintage(name)) for name, h in _by_vintage(memory, o, past).items()]
    return [
        Compared(unknown(memory, o, h) if one is rest else h, one, items, mine, theirs, alone=one is rest)
        for h, theirs in held
        for one in (sets, rest)
        if one is not None and (h.parts.shape[0] or one is rest)
    ]


def told(memory: Memory, o: Occurrence, sets: Sets, flags: Flags) -> Flags:
    """Keep of which version numbers are told of populations, where there are several; returns those there was room for."""
    lens = memory.lens(o)
    if len(lens.roster.vintages) < 2 or not memory.snaps or not flags.any():
        return flags
    begin(memory, o)
    domain = memory.history.domains[o.dataset]
    for name, channel in _by_vintage(memory, o, memory.history.pasts[domain]).items():
        if name not in memory.history.pasts[domain].channels:
            memory.put(o, name, channel)
    name = f"{OF_VINTAGE}{lens.dataset} {lens.version}"
    held, first = memory.channel(o, name), memory.as_first(o, sets).where(flags)
    new = flags & (first.sizes > 0) & (held.distances(first, 1, 1, lens.roster.unit).state != SAME)
    if not new.any():
        return flags
    if not held.room(first.where(new)):
        memory.beyond = True
        return np.asarray(flags & ~new)
    memory.put(o, name, held.released(first.where(new)))
    return flags


def _by_vintage(memory: Memory, o: Occurrence, past: Past) -> dict[str, Channel]:
    """Return the channels of what was told of each version. Before there were several, all was told of the one."""
    found = {name: held for name, held in past.channels.items() if name.startswith(OF_VINTAGE)}
    if found:
        return found
    roster, past = memory.lens(o).roster, memory.history.before[memory.history.domains[o.dataset]]
    names = {f"{OF_VINTAGE}{dataset} {version}" for dataset, version, _ in past.wholes}
    held = replace(past.channel(FIRST if FIRST in past.channels else "", roster.size), audit=None, hidden=Hidden.of(()))
    approved = past.channel(APPROVED, roster.size)
    for part in range(approved.parts.shape[0]):
        cells, items = approved.populations(part).memberships
        held = held.released(Sets.of(int(cells.max(initial=-1)) + 1, cells, roster.first[items], roster.size))
    return {names.pop() if len(names) == 1 else OF_VINTAGE: held}


def may_have_changed(memory: Memory, o: Occurrence, sets: Sets, column: str) -> Flags:
    """Return the populations of the very people of a stored one, where nobody knows who of them has changed in a column."""
    lens = memory.lens(o)
    mine = lens.roster.vintages.get((lens.dataset, lens.version))
    marks = None if mine is None else mine.marks.get(column)
    if marks is None or not marks.size:
        # whoever has changed may have changed there
        return memory.of_changed(o, sets)
    return np.zeros(sets.count, bool)
