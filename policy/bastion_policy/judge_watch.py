"""What follows from the numbers that were told of one column: it must pass the rules about values, too.

A cell that one person makes up most of passes the rule about people, and its count is released; its sum is withheld. The
sum of the whole less the sums of all other cells would give it, one by one passing every rule. So which sums of a column were
told is kept, per column, with a linear audit of its own. It watches the cells that were withheld; and it names the populations
whose numbers follow by now although nobody asked for them, to be judged like any cell, and withheld like one: the last
number from which they would follow is not told.

**What is found.** The populations that are rows of the audit's echelon form. That form is canonical, so every class of people
that no answer tells apart and whose number follows is among them; of larger populations that follow not all need to be.

**What is not watched.** Tables of more than `MOST_ITEMS` rows, columns of which more was told than the audit can hold, frames
in which rows are repeated by a join or hidden in a pre-aggregation, and the strict profile, where a decision must not
depend on which values were withheld.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from bastion_plan.expressions import Alias, Call, Cast, Expr, Literal

from bastion_policy.audit import AuditRules, Clearance, Row
from bastion_policy.boundary import Guard, Statistic
from bastion_policy.guard_cells import Flags
from bastion_policy.history import SAME, Channel, Sets, audited
from bastion_policy.history.past import Hashes
from bastion_policy.history.sets import Items
from bastion_policy.judge_history import Memory
from bastion_policy.lineage import Occurrence

#: sums of larger tables are not watched
MOST_ITEMS = 1 << 20
#: told partitions of one column, beyond which no more are kept
MOST_TOLD = 1024
#: populations that follow and are judged at once
MOST_IMPLIED = 64
#: begins the channels of what was told of a column
TOLD = "~told "
#: statistics that add up
ADDED = {Guard.SUM: "sum", Guard.SQUARES: "squares", Guard.PRODUCTS: "products"}


@dataclass(frozen=True, eq=False)
class Told:
    """Some cells with a number of one column. shown: may leave, cleared in place where it must not; withheld: fails a rule."""

    sets: Sets
    shown: Flags
    withheld: Flags


def system(s: Statistic) -> str | None:
    """Return which numbers add up with those of a statistic: of one column, whatever it was multiplied by; None: none do."""
    if s.guard not in ADDED or not s.terms or s.function in ("count", "null_count"):
        return None
    return " ".join([ADDED[s.guard], *(repr(_base(t.expr)) for t in s.terms)])


def _base(expr: Expr) -> Expr:
    """Return an expression without the constants that it is added to or multiplied by."""
    match expr:
        case Alias(input=inner) | Cast(input=inner) | Call(function="neg", args=(inner,)):
            return _base(inner)
        case Call(function="add" | "sub" | "mul" | "truediv", args=(inner, Literal())):
            return _base(inner)
        case Call(function="add" | "sub" | "mul", args=(Literal(), inner)):
            return _base(inner)
        case _:
            return expr


def watched(memory: Memory, s: Statistic) -> Occurrence | None:
    """Return the table whose rows the numbers of a statistic add up over; None: it is not watched."""
    if not memory.audits or memory.effective.profile == "strict" or system(s) is None:
        return None
    of = {x.occurrence for x in s.sources}
    found = [o for o in memory.occurrences if o.index in of]
    if len(of) != 1 or len(found) != 1 or memory.lens(found[0]).roster.size > MOST_ITEMS:
        return None
    return found[0]


def watch(memory: Memory, o: Occurrence, name: str, parts: Sequence[Told], failing: Sequence[Items] = ()) -> bool:
    """Take in what is told of a column, and what is withheld; returns whether more had to be withheld, in place.

    failing: populations that nobody asked for, which fail the rules about values.

    INVARIANT: of what is told, no combination is a cell that was withheld, unless it followed before.
    """
    channel = TOLD + name
    held = memory.channel(o, channel)
    withheld = [Row.of(part.sets.members(int(c))) for part in parts for c in np.flatnonzero(part.withheld)]
    withheld += [Row.of(items) for items in failing]
    order = sorted(_cells(parts), key=lambda found: -found[2].units.size)
    rows = [row for _, _, row in order]
    lens = memory.lens(o)
    rules = AuditRules(max(2, (memory.k - 1) * lens.most + 1), share=None, people=max(2, memory.k))
    state = audited(held, rules, memory.history.draw(32), lens.roster.owner)
    if state is None or len(rows) > rules.capacity.batch:
        return False
    refused: list[int] = []
    if withheld or held.hidden:
        found = state.releasable(rows, withheld)
        if any(v.clearance is Clearance.BEYOND_CAPACITY for v in found.refused.values()):
            return False
        refused, following = list(found.refused), state.commit(found)
    else:
        known = state.knowing(rows)
        if known is None:
            return False
        following = known
    for i in refused:
        part, cell, _ = order[i]
        part.shown[cell] = False
    for part in parts:
        held = _stored(held, part.sets.where(part.shown), lens.roster.unit)
    hidden = tuple(row.units.astype(np.int32) for row in withheld)
    memory.put(o, channel, replace(held, hidden=held.hidden + hidden, audit=following))
    return bool(refused)


def implied(memory: Memory, o: Occurrence, name: str) -> list[Items]:
    """Return populations whose numbers follow from what was told, though they were neither told nor judged."""
    held = memory.channel(o, TOLD + name)
    if held.audit is None or held.parts.shape[0] >= MOST_TOLD:
        return []
    space, labels = held.audit.space, held.audit.atoms.labels
    first = space.rows[0]
    alike = np.logical_and.reduce([(r == first).all(axis=1) for r in space.rows[1:]])
    ones = np.flatnonzero(alike & ((first == 0) | (first == 1)).all(axis=1))
    known = {items.tobytes() for items in held.hidden}
    found = [np.flatnonzero((first[i] == 1)[labels]).astype(np.int32) for i in ones]
    fresh = held.distances(_together(found, labels.size), 1, 1, memory.lens(o).roster.unit).state != SAME
    left = [items for items, new in zip(found, fresh, strict=True) if new and items.tobytes() not in known]
    return sorted(left, key=lambda items: items.size)[:MOST_IMPLIED]


def passed(memory: Memory, o: Occurrence, name: str, populations: Sequence[Items]) -> None:
    """Remember populations that follow and pass as told."""
    held = memory.channel(o, TOLD + name)
    memory.put(o, TOLD + name, _stored(held, _together(populations, held.labels.size), memory.lens(o).roster.unit))


def _together(populations: Sequence[Items], size: int) -> Sets:
    numbers = np.repeat(np.arange(len(populations)), [items.size for items in populations])
    return Sets.of(len(populations), numbers, np.concatenate([*populations, np.zeros(0, np.int32)]), size)


def _stored(held: Channel, asked: Sets, unit: Hashes) -> Channel:
    """Return the channel with what is new of some populations."""
    new = asked.where((asked.sizes > 0) & (held.distances(asked, 1, 1, unit).state != SAME))
    if not new.sizes.any() or held.parts.shape[0] >= MOST_TOLD or not held.room(new):
        return held
    return held.released(new)


def _cells(parts: Sequence[Told]) -> Iterator[tuple[Told, int, Row]]:
    for part in parts:
        for cell in np.flatnonzero(part.shown):
            yield part, int(cell), Row(part.sets.members(int(cell)).astype(np.int64))
