"""What follows from the numbers that were told of one column: it must pass the rules about values, too.

A cell that one person makes up most of passes the rule about people, and its count is released; its sum is withheld. The
sum of the whole less the sums of all other cells would give it, one by one passing every rule. So which sums of a column were
told is kept, per column, with a linear audit of its own. It watches the cells that were withheld; and it names the populations
whose numbers follow by now although nobody asked for them, to be judged like any cell, and withheld like one: the last
number from which they would follow is not told.

**Weights.** A covariance is a sum of one column weighted by the other, which may be known: with as many of them as there
are people in a group, their values follow. So a covariance counts, in the audit of either column, as the sum and as
the sum weighted by the other column; where that leaves a combination about fewer than k people, it is withheld.

**What is found.** The populations that are rows of the audit's echelon form. That form is canonical, so every class of people
that no answer tells apart and whose number follows is among them; of larger populations that follow not all need to be.

**What is not watched.** Tables of more than `MOST_ITEMS` rows, columns of which more than `MOST_RANK` independent numbers
were told, frames in which rows are repeated by a join or hidden in a pre-aggregation, and the strict profile, where a
decision must not depend on which values were withheld. There a covariance is told of groups of `MANY` times k rows and more only (strict:
rounded instead).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from bastion_plan.expressions import Alias, Call, Cast, Expr, Literal

from bastion_policy.audit import AuditRules, AuditState, Capacity, Clearance, Row
from bastion_policy.boundary import Guard, Statistic, Term
from bastion_policy.guard_cells import Flags, Indexes, Steps
from bastion_policy.history import SAME, Channel, Sets, audited
from bastion_policy.history.past import Hashes
from bastion_policy.history.sets import Items
from bastion_policy.judge_history import MOST_DIFFERING, Memory
from bastion_policy.judge_values import Judged
from bastion_policy.lineage import Occurrence

#: sums of larger tables are not watched
MOST_ITEMS = 1 << 20
#: told partitions of one column, beyond which no more are kept
MOST_TOLD = 1024
#: independent numbers told of one column, beyond which it is not watched
MOST_RANK = 300
#: populations that follow and are judged at once
MOST_IMPLIED = 64
#: begins the channels of what was told of a column
TOLD = "~told "
#: a covariance that is not audited is about k times as many rows at least
MANY = 100
#: statistics that add up
ADDED = {Guard.SUM: "sum", Guard.SQUARES: "squares"}


@dataclass(frozen=True, eq=False)
class Part:
    """Cells that were judged, and who is in them.

    asked: populations per occurrence. own: those that stand. failed: per statistic, which fail a rule about values. inner:
    per statistic, populations that conditions inside it pick; None: they are not known, and such statistics are left out.
    """

    judged: Judged
    asked: Sequence[Sets]
    own: Flags
    failed: Mapping[int, Flags] = field(default_factory=dict)
    inner: Mapping[int, tuple[Sequence[Sets], Flags]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Told:
    """Some cells with a number of one column. shown: may leave, cleared in place where it must not; withheld: fails a rule."""

    sets: Sets
    shown: Flags
    withheld: Flags


@dataclass
class Watcher:
    """Watches what is told by one boundary.

    repeated: whether a row may be in a cell more than once, or in a list. values: measures an expression, one number per row
    of the only private table. listed: judges populations that are given by their rows.
    """

    memory: Memory
    statistics: Sequence[Statistic]
    name: str
    repeated: bool
    values: Callable[[Term], Steps]
    listed: Callable[[str, Sequence[Indexes]], Steps]

    def tell(self, parts: Sequence[Part]) -> Steps:
        """Enter what is told, and withhold, in place, what must not be."""
        if not self.memory.audits or self.memory.effective.profile == "strict":
            return
        for i, s in enumerate(self.statistics):
            if s.guard is not Guard.PRODUCTS and system(s) is None:
                continue
            o = self._table(s)
            told = [(found, part) for part in parts if (found := self._part(o, i, s, part)) is not None]
            shown = [one.shown.copy() for one, _ in told]
            if s.guard is Guard.PRODUCTS:
                yield from self._weighted(o, s, [one for one, _ in told])
            elif o is not None:
                yield from self._summed(o, i, s, [one for one, _ in told])
            for (one, part), as_it_was in zip(told, shown, strict=True):
                part.judged.shown[i] &= one.shown | ~as_it_was
                if (as_it_was & ~one.shown).any():
                    part.judged.failed.append((i, "linear-audit"))

    def _table(self, s: Statistic) -> Occurrence | None:
        """Return the table whose rows the numbers of a statistic add up over; None: it is not watched."""
        of = {x.occurrence for x in s.sources}
        found = [o for o in self.memory.occurrences if o.index in of]
        if self.repeated or len(of) != 1 or len(found) != 1:
            return None
        return found[0] if self.memory.lens(found[0]).roster.size <= MOST_ITEMS else None

    def _part(self, o: Occurrence | None, i: int, s: Statistic, part: Part) -> Told | None:
        asked, own = part.asked, part.own
        if s.population:
            if i not in part.inner:
                return None
            asked, own = part.inner[i]
        none = np.zeros(own.size, bool)
        mine = own & ~part.judged.without.get(i, none)
        failed = part.failed.get(i, none) & mine & ~part.judged.few.get(i, none)
        at = self.memory.occurrences.index(o) if o is not None else 0
        return Told(asked[at], part.judged.shown[i] & mine, failed)

    def _summed(self, o: Occurrence, i: int, s: Statistic, told: Sequence[Told]) -> Steps:
        """Enter sums, once more where something follows from them that fails the rules about values."""
        memory, name = self.memory, system(s) or ""
        alone = i if s.without is None else s.without
        shown = [one.shown.copy() for one in told]
        before = memory.channel(o, TOLD + name)
        watch(memory, o, name, told)
        found = implied(memory, o, name) if len(memory.occurrences) == 1 else []
        here = [(items, at) for items in found if ((at := memory.lens(o).rows[items]) >= 0).all()]
        if not here or sum(at.size for _, at in here) > MOST_DIFFERING:
            return
        _, following = yield from self.listed(f"{self.name}p{i}_", [at for _, at in here])
        few = following.few.get(alone, np.zeros(following.height, bool))
        fits = (following.shown[alone] | few)[: len(here)]
        if fits.all():
            passed(memory, o, name, [items for items, _ in here])
            return
        memory.put(o, TOLD + name, before)
        for one, as_it_was in zip(told, shown, strict=True):
            one.shown[:] = as_it_was
        watch(memory, o, name, told, [items for (items, _), ok in zip(here, fits, strict=True) if not ok])

    def _weighted(self, o: Occurrence | None, s: Statistic, told: Sequence[Told]) -> Steps:
        """Enter covariances in the systems of both columns; what either does not clear is withheld."""
        memory = self.memory
        one, two = (_base(t.expr) for t in s.terms)
        values = []
        if o is not None and one != two:
            for term in s.terms:
                values.append((yield from self.values(term)))
        names = [f"sum {expr!r}" for expr in (one, two)] if values else []
        states = [_state(memory, o, name, pairs=True)[1] for name in names] if o is not None else []
        if o is None or not states or None in states:
            for part in told:
                part.shown[:] &= part.sets.sizes >= MANY * memory.k
            return
        lens, known = memory.lens(o), [s for s in states if s is not None]
        channels = [memory.channel(o, TOLD + name) for name in names]
        for part, cell, row in sorted(_cells(told), key=lambda found: -found[2].units.size):
            rows = lens.rows[row.units]
            x, y = (v[rows] for v in values)
            there = np.isfinite(x) & np.isfinite(y)
            units = row.units[there]
            verdicts = [
                state.consider([Row.of(units), Row.of(units, weights[there])])
                for state, weights in zip(known, (y, x), strict=True)
            ]
            beyond = any(v.clearance is Clearance.BEYOND_CAPACITY for v in verdicts)
            if all(v.cleared for v in verdicts):
                known = [state.commit(v) for state, v in zip(known, verdicts, strict=True)]
                channels = [_stored(c, Sets.one(units, lens.roster.size), lens.roster.unit) for c in channels]
            elif not beyond or units.size < MANY * memory.k:
                part.shown[cell] = False
        for name, channel, state in zip(names, channels, known, strict=True):
            memory.put(o, TOLD + name, replace(channel, audit=state))


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
    lens, (_, state) = memory.lens(o), _state(memory, o, name)
    if state is None or len(rows) > MOST_RANK:
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
    space, atoms = held.audit.space, held.audit.atoms
    first = space.rows[0]
    alike = np.logical_and.reduce([(r == first).all(axis=1) for r in space.rows[1:]])
    ones = first[alike & ((first == 0) | (first == 1)).all(axis=1)] == 1
    # what was told is made of whole atoms: one item of each stands for it
    someone = np.zeros(atoms.sizes.size, np.int64)
    someone[atoms.labels] = np.arange(atoms.labels.size)
    told = held.parts[:, held.labels[someone]]
    known = {np.packbits(part == cell).tobytes() for part in told for cell in range(int(part.max(initial=-1)) + 1)}
    known |= {np.packbits(vector == 1).tobytes() for vector in held.audit.concealed}
    fresh = [mask for mask in ones & (atoms.sizes > 0) if np.packbits(mask).tobytes() not in known]
    fresh = sorted(fresh, key=lambda mask: int(atoms.sizes[mask].sum()))[:MOST_IMPLIED]
    return [np.flatnonzero(mask[atoms.labels]).astype(np.int32) for mask in fresh]


def passed(memory: Memory, o: Occurrence, name: str, populations: Sequence[Items]) -> None:
    """Remember populations that follow and pass as told."""
    held = memory.channel(o, TOLD + name)
    memory.put(o, TOLD + name, _stored(held, _together(populations, held.labels.size), memory.lens(o).roster.unit))


def _state(memory: Memory, o: Occurrence, name: str, *, pairs: bool = False) -> tuple[Channel, AuditState | None]:
    """Return what was told of a column, and its audit; None: it cannot be held."""
    held, lens = memory.channel(o, TOLD + name), memory.lens(o)
    most = max(2, (memory.k - 1) * lens.most + 1)
    rules = AuditRules(most, pairs=pairs, share=None, people=max(2, memory.k), capacity=Capacity(rank=MOST_RANK))
    return held, audited(held, rules, memory.history.draw(32), lens.roster.owner)


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
