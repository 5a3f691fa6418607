"""What follows from the numbers that were told of one column: it must pass the rules about values, too.

A cell that one person makes up most of passes the rule about people, and its count is released; its sum is withheld. The
sum of the whole less the sums of all other cells would give it, one by one passing every rule. So which sums of a column were
told is kept, per column, with a linear audit of its own. It watches the cells that were withheld; and it names the populations
whose numbers follow by now although nobody asked for them, to be judged like any cell, and withheld like one: the last
number from which they would follow is not told.

**Which column.** Sums add up if they are of the same numbers, whatever they are called: a renamed column, or an expression that
is the column times a constant for the people of a cell. So anything but a plain column is measured row by row. What holds the same
for all people of a cell in a second column, or in another table of theirs, is told of that one, too.

**Weights.** A covariance is a sum of one column weighted by the other, which may be known: with as many of them as there
are people in a group, their values follow. So a covariance counts, in a second audit of either column, as the sum and as
the sum weighted by the other column; where that leaves a combination about fewer than k people, it is withheld.

**What is found.** Populations that are rows of the audit's echelon form; stored populations that lie in its row space; and what is
left of a told population when others that are told and lie in it apart are taken out. Not every population that follows
is among them.

**What is not watched.** Tables of more than `MOST_ITEMS` rows; of what follows from one answer the populations beyond
`MOST_DIFFERING` rows in all, the smallest being judged first, and those not all of whose rows are there any more; beyond `MOST_RANK` independent numbers of a column all but
the largest groups and what they are together; columns of the elements that an unpivot or explode made; and the strict
profile, where a decision must not depend on which values were withheld. A covariance that would have to be watched is withheld there
(strict: rounded instead). It has to be where the other column is quasi or public; weights that nobody knows, a measure's,
are not audited.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from bastion_plan.expressions import Alias, Call, Cast, Expr, Literal

from bastion_policy.audit import AuditRules, AuditState, Capacity, Clearance, Row
from bastion_policy.audit.atoms import Met
from bastion_policy.audit.space import touched
from bastion_policy.boundary import Guard, Statistic, Term
from bastion_policy.guard_cells import Flags, Floats, Indexes, Steps
from bastion_policy.history import SAME, Channel, Sets, audited
from bastion_policy.history.hidden import Hidden
from bastion_policy.history.past import Hashes
from bastion_policy.history.sets import Ints, Items, together
from bastion_policy.judge_history import Memory
from bastion_policy.judge_people import sound
from bastion_policy.judge_rules import Judged
from bastion_policy.lineage import Occurrence, Source

#: sums of larger tables are not watched
MOST_ITEMS = 1 << 20
#: told partitions of one column, beyond which no more are kept
MOST_TOLD = 1024
#: independent numbers told of one column, beyond which it is not watched
MOST_RANK = 300
#: populations that follow and are judged at once
MOST_IMPLIED = 512
#: rows of populations that follow, which are judged beside one answer
MOST_DIFFERING = 250_000
#: told populations that lie in no other, and stored ones, that are looked at
MOST_AROUND, MOST_STORED = 8, 2048
#: items among which one of each atom is sought first
SOME = 1 << 14
#: told populations that are taken out first
MOST_FIRST = 64
#: begins the channels of what was told of a column
TOLD = "~told "
#: begins the systems in which covariances count
WEIGHTS = "weights "
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

    several: tables of which rows are in lists, several of one person. repeats: whether a statistic of a table whose rows repeat
    is another number than the sum of its rows, each once (times their repetitions, which are as many for each).
    values: measures an expression or a stored column, one number per row of a table. known: whether somebody may know the values
    of an argument. listed: judges populations that are
    given by their rows; None: here that cannot be done.
    """

    memory: Memory
    statistics: Sequence[Statistic]
    name: str
    several: frozenset[int]
    repeats: Callable[[Occurrence, Statistic], bool]
    values: Callable[[Occurrence, Term | Source], Steps]
    known: Callable[[Term], bool]
    listed: Callable[[str, Sequence[Indexes]], Steps] | None

    def tell(self, parts: Sequence[Part]) -> Steps:
        """Enter what is told, and withhold, in place, what must not be."""
        if not self.memory.audits or self.memory.effective.profile == "strict":
            return
        for i, s in enumerate(self.statistics):
            if s.guard is not Guard.PRODUCTS and (s.guard not in ADDED or s.function in ("count", "null_count")):
                continue
            o = self._table(s) if s.terms else None
            told = [(found, part) for part in parts if (found := self._part(o, i, s, part)) is not None]
            shown = [part.judged.shown[i].copy() for _, part in told]
            if s.guard is Guard.PRODUCTS:
                yield from self._weighted(o, i, s, [one for one, _ in told])
            elif o is not None:
                for name, cells in (yield from self._systems(o, s, [one for one, _ in told])):
                    mine = [Told(t.sets, t.shown & c, t.withheld & c) for (t, _), c in zip(told, cells, strict=True)]
                    yield from self._summed(o, i, s, name, mine)
                    for (one, _), cell, found in zip(told, cells, mine, strict=True):
                        one.shown[:] &= found.shown | ~cell
            for (one, part), as_it_was in zip(told, shown, strict=True):
                _, own = part.inner.get(i, (None, part.own)) if s.population else (None, part.own)
                looked = (own | part.judged.elsewhere(i)) & ~part.judged.without.get(i, own & False)
                part.judged.shown[i] &= one.shown | ~looked
                if (as_it_was & looked & ~one.shown).any():
                    part.judged.failed.append((i, "linear-audit"))

    def _table(self, s: Statistic) -> Occurrence | None:
        """Return the table whose rows the numbers of a statistic add up over; None: it is not watched.

        Of a table that is below a statistic several times, stacked, the first occurrence stands for all.
        """
        of = {x.occurrence for x in s.sources}
        found = [o for o in self.memory.occurrences if o.index in of]
        if not found or len(found) != len(of) or len({o.dataset for o in found}) > 1:
            return None
        if self.memory.lens(found[0]).roster.size > MOST_ITEMS or any(o.index in self.several for o in found):
            return None
        return None if any(self.repeats(o, s) for o in found) else found[0]

    def _part(self, o: Occurrence | None, i: int, s: Statistic, part: Part) -> Told | None:
        asked, own = part.asked, part.own
        if s.population:
            if i not in part.inner:
                return None
            asked, own = part.inner[i]
        none = np.zeros(own.size, bool)
        own = own | part.judged.elsewhere(i)
        mine = own & ~part.judged.without.get(i, none)
        failed = part.failed.get(i, none) & mine & ~part.judged.few.get(i, none)
        shown, sets = part.judged.shown[i] & mine, asked[0]
        if o is not None:
            of = {x.occurrence for x in s.sources}
            stacked = [found for known, found in zip(self.memory.occurrences, asked, strict=True) if known.index in of]
            sets = together(stacked)
            # INVARIANT: a row that counts twice would need a weight; what holds one is not told
            shown &= sets.sizes == np.sum([one.sizes for one in stacked], axis=0)
        # INVARIANT: what is told is watched: another population, where its number is shown instead
        return Told(part.judged.speaks_of(i, sets), shown, failed)

    def _systems(self, o: Occurrence, s: Statistic, told: Sequence[Told]) -> Steps:
        """Return (name, flags of cells) of the systems that a statistic speaks of: its column's, and its expression's own."""
        kind, every = ADDED[s.guard], [np.ones(one.sets.count, bool) for one in told]
        terms = [t.value.plain for t in s.terms]
        if None not in terms:
            own = (" ".join([kind, *(f"{t.dataset}.{t.column}" for t in terms if t is not None)]), every)
            copies = self._copies(o, kind, terms[0], told, every) if len(terms) == 1 and terms[0] is not None else []
            return [own, *copies]
        if len(s.terms) > 1:
            return [(" ".join([kind, *(repr(_base(t.expr)) for t in s.terms)]), every)]
        (term,), systems = s.terms, []
        mine = yield from self.values(o, term)
        rows = self.memory.lens(o).rows
        for source in sorted((x for x in term.value.sources if not x.counted), key=lambda x: x.column):
            column = yield from self.values(o, source)
            whole = [_all(one.sets, _multiples(mine, column), rows) for one in told]
            if any(bool(w.any()) for w in whole):
                systems.append((f"{kind} {source.dataset}.{source.column}", whole))
                systems += self._copies(o, kind, source, told, whole)
        return [*systems, (f"{kind} {_shape(mine)}", every)]

    def _copies(
        self, o: Occurrence, kind: str, source: Source, told: Sequence[Told], flags: Sequence[Flags]
    ) -> list[tuple[str, list[Flags]]]:
        """Return the systems of the copies of a column, in this table and in others, for cells of whom all hold the same in both.

        INVARIANT: what is told of a copy tells of the column.
        """
        lens = self.memory.lens(o)
        roster, mine = lens.roster, (lens.dataset, lens.version)
        if source.dataset != o.dataset:
            return []
        last = {mine, *((name, max(v for n, v in roster.versions if n == name)) for name, _ in roster.versions)}
        systems = []
        for copy in roster.copies(mine, source.column):
            if copy.of in last:
                place = np.arange(roster.size)
                whole = [
                    f & _all(t.sets, copy.agreement.same[roster.first], place) for t, f in zip(told, flags, strict=True)
                ]
                if any(bool(w.any()) for w in whole):
                    systems.append((f"{kind} {copy.of[0]}.{copy.column}", whole))
        return systems

    def _summed(self, o: Occurrence, i: int, s: Statistic, name: str, told: Sequence[Told]) -> Steps:
        """Enter sums, once more where something follows from them that fails the rules about values."""
        memory = self.memory
        alone = i if s.without is None else s.without
        shown = [one.shown.copy() for one in told]
        before = memory.channel(o, TOLD + name)
        watch(memory, o, name, told)
        lens, here, left = memory.lens(o), [], MOST_DIFFERING
        following = implied(memory, o, name)
        for some in following:
            left -= some.size
            if left < 0:
                # the others are no smaller
                break
            items = some.items
            rows = lens.rows[items]
            if bool((rows >= 0).all()):
                here.append((items, rows))
        if len(following) > MOST_IMPLIED:
            # INVARIANT: more populations follow than are looked at: nothing of it is told
            memory.put(o, TOLD + name, before)
            for one in told:
                one.shown[:] = False
            return
        if here:
            if self.listed is None:
                fits = yield from self._fit(o, s, [rows for _, rows in here])
            else:
                _, judged = yield from self.listed(f"{self.name}p{i}_", [rows for _, rows in here])
                few = judged.few.get(alone, np.zeros(judged.height, bool))
                fits = (judged.shown[alone] | few)[: len(here)]
            if fits.all():
                passed(memory, o, name, [items for items, _ in here])
            else:
                memory.put(o, TOLD + name, before)
                for one, as_it_was in zip(told, shown, strict=True):
                    one.shown[:] = as_it_was
                failing = [items for (items, _), ok in zip(here, fits, strict=True) if not ok]
                watch(memory, o, name, told, failing)
        if memory.channel(o, TOLD + WEIGHTS + name).audit is not None:
            watch(memory, o, WEIGHTS + name, told)

    def _fit(self, o: Occurrence, s: Statistic, populations: Sequence[Indexes]) -> Steps:
        """Return which populations pass dominance, seen from the lower bound, from a known upper one and from 0."""
        if s.guard is not Guard.SUM or len(s.terms) != 1:
            return np.zeros(len(populations), bool)
        (term,), effective, lens = s.terms, self.memory.effective, self.memory.lens(o)
        values = yield from self.values(o, term)
        owner = lens.roster.unit[lens.items]
        known = values[np.isfinite(values)]
        low = term.value.low if term.value.low is not None else known.min(initial=np.inf)
        fits = []
        for rows in populations:
            there = rows[np.isfinite(values[rows])]
            _, whose = np.unique(owner[there], return_inverse=True)
            with np.errstate(over="ignore", invalid="ignore"):
                sides = [values[there] - low]
                sides += [term.value.high - values[there]] if term.value.high is not None else []
                sides += [values[there]] if low < 0 else []
                each = (np.abs(np.bincount(whose, side)).astype(np.float64) for side in sides)
                fits.append(all(sound(x, 0, effective) for x in each))
        return np.array(fits, bool)

    def _weighted(self, o: Occurrence | None, i: int, s: Statistic, told: Sequence[Told]) -> Steps:
        """Enter covariances in the systems of the columns that are weighted by a known one; what is not cleared is withheld.

        INVARIANT: where that cannot be audited, nothing is told: populations of thousands may differ in a few people.
        """
        memory, weighted = self.memory, []
        for term, other in zip(s.terms, reversed(s.terms), strict=True):
            if self.known(other):
                weighted.append((term, other))
        if weighted and o is None:
            for part in told:
                part.shown[:] = False
            return
        if o is None or not weighted:
            return
        lens, values = memory.lens(o), {}
        for term in s.terms:
            values[term.expr] = yield from self.values(o, term)
        for term, other in weighted:
            plain, mine, weights = term.value.plain, values[term.expr], values[other.expr]
            name = "sum " + (f"{plain.dataset}.{plain.column}" if plain is not None else _shape(mine))
            begun = memory.channel(o, TOLD + WEIGHTS + name).audit is not None
            _, state = _state(memory, o, WEIGHTS + name if begun else name, pairs=True)
            for part, cell, row in sorted(_cells(told), key=lambda found: -found[2].units.size):
                rows = lens.rows[row.units]
                there = np.isfinite(mine[rows]) & np.isfinite(weights[rows])
                units = row.units[there]
                asked = [Row.of(units), Row.of(units, weights[rows][there])]
                verdict = state.consider(asked) if state is not None else None
                if state is not None and verdict is not None and verdict.cleared:
                    state = state.commit(verdict)
                else:
                    part.shown[cell] = False
            if state is not None:
                channel = memory.channel(o, TOLD + WEIGHTS + name)
                memory.put(o, TOLD + WEIGHTS + name, replace(channel, audit=state))
        for term in s.terms if s.function.removeprefix("pl.") == "corr" else ():
            # beside the covariance it tells the variance
            plain = term.value.plain
            named = f"{plain.dataset}.{plain.column}" if plain is not None else _shape(values[term.expr])
            yield from self._summed(o, i, s, f"squares {named}", told)


def _multiples(values: Floats, column: Floats) -> Flags:
    """Return the rows in which an expression is the column times a constant plus another, the same two in all of them."""
    values, column = _halved(values), _halved(column)
    known = np.flatnonzero(np.isfinite(values) & np.isfinite(column))
    same: Flags = ~np.isfinite(values) & ~np.isfinite(column)
    if not known.size:
        return same
    order = known[np.argsort(column[known], kind="stable")]
    best: Flags = same.copy()
    # a line through most of the people: through the middle, or through the quartiles
    low, high = order[order.size // 4], order[(3 * order.size) // 4]
    lines = [(1.0, 0.0)]
    if column[low] != column[high]:
        with np.errstate(over="ignore", invalid="ignore"):
            factor = (values[high] - values[low]) / (column[high] - column[low])
            lines.append((float(factor), float(values[low] - factor * column[low])))
    for factor, shift in lines:
        if factor:
            with np.errstate(over="ignore", invalid="ignore"):
                near: Flags = np.isclose(values, factor * column + shift, rtol=1e-9, atol=1e-9)
            if near.sum() > (best & ~same).sum():
                best = np.logical_or(near, same)
    return best


def _shape(values: Floats) -> str:
    """Return a name for numbers, the same for all that are multiples of each other plus a constant."""
    values = _halved(values)
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 0.0)
    scaled = np.where(known, (values - low) / (high - low) if high > low else 0.0, -1.0)
    first = scaled[known][0] if known.any() else 0.0
    # turned round, so that a column and its negative have one name
    scaled = np.where(known & (first > 0.5), 1.0 - scaled, scaled)
    return hashlib.sha256(np.round(scaled, 6).tobytes()).hexdigest()[:24]


def _halved(values: Floats) -> Floats:
    """Return numbers whose differences floats can hold: as they are, or all divided by 4 where some are very large."""
    large = np.isfinite(values) & (np.abs(values) > 1e307)
    return values / 4 if large.any() else values


def _all(sets: Sets, same: Flags, rows: Ints) -> Flags:
    """Return the cells all of whose people are flagged. rows: of each item, -1 for none."""
    cells, items = sets.memberships
    there = rows[items]
    bad = (there < 0) | ~same[np.maximum(there, 0)]
    found: Flags = (np.bincount(cells, bad, sets.count) == 0) & (sets.sizes > 0)
    return found


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
    lens, (_, state) = memory.lens(o), _state(memory, o, name)
    if state is None:
        return False
    # of many the largest, and what all are together
    order, many = _largest(parts)
    largest = order[:-1] if many else order
    every = (
        np.logical_or.reduce([part.sets.where(part.shown).covered(lens.roster.size) for part in parts])
        if many
        else None
    )
    refused: list[int] = []
    # INVARIANT: where weighted sums were told, any sum may complete a combination about a few people
    if withheld or held.hidden or name.startswith(WEIGHTS):
        rows = [row for part, cell in largest for row in part.sets.rows([cell])]
        rows += [Row(np.flatnonzero(every))] if every is not None else []
        found = state.releasable(rows, withheld)
        if any(v.clearance is Clearance.BEYOND_CAPACITY for v in found.refused.values()):
            return False
        refused, following = list(found.refused), state.commit(found)
    else:
        known = _known(state, parts, largest, every)
        if known is None:
            return False
        following = known
    for i in refused:
        # what all are together is refused by its smallest part
        part, cell = order[-1 if many and i == len(rows) - 1 else i]
        part.shown[cell] = False
    for part in parts:
        held = _stored(held, part.sets.where(part.shown), lens.roster.unit)
    hidden = Hidden.of(row.units.astype(np.int32) for row in withheld)
    memory.put(o, channel, replace(held, hidden=held.hiding(hidden), audit=following))
    return bool(refused)


def _known(
    state: AuditState, parts: Sequence[Told], cells: Sequence[tuple[Told, int]], every: Flags | None
) -> AuditState | None:
    """Return the state in which some cells, and what all are together, are known; None: beyond capacity."""
    known: AuditState | None = state
    for part in parts:
        mine = np.array([cell for one, cell in cells if one is part], np.int64)
        if known is None or not mine.size:
            continue
        place, labels = part.sets.place, known.atoms.labels
        if place is not None and place.size <= labels.size:
            known = known.knowing_cells(part.sets.crossed(labels, known.atoms.sizes.size), mine)
        else:
            known = known.knowing(part.sets.rows(mine))
    if known is None or every is None:
        return known
    atoms = known.atoms
    if every.size == atoms.labels.size and bool(every.all()) and bool(atoms.sizes.all()):
        # everybody is all atoms, none of which is split by it
        number, one = np.arange(atoms.sizes.size), np.zeros(atoms.sizes.size, np.int64)
        return known.knowing_cells(Met(number, one, atoms.sizes, atoms.labels), one[:1])
    return known.knowing([Row(np.flatnonzero(every))])


@dataclass(frozen=True, eq=False)
class Following:
    """A population whose number follows from what was told, made of whole atoms. size: items in it."""

    atoms: Flags
    size: int
    labels: Items

    @property
    def items(self) -> Items:
        """Its items, ascending."""
        return np.flatnonzero(self.atoms[self.labels]).astype(np.int32)


def implied(memory: Memory, o: Occurrence, name: str) -> list[Following]:
    """Return populations whose numbers follow from what was told, though they were neither told nor judged; the smallest first."""
    held = memory.channel(o, TOLD + name)
    if held.audit is None or held.parts.shape[0] >= MOST_TOLD:
        return []
    space, atoms = held.audit.space, held.audit.atoms
    first = space.rows[0]
    alike = np.logical_and.reduce([(r == first).all(axis=1) for r in space.rows[1:]])
    ones = first[alike & ((first == 0) | (first == 1)).all(axis=1)] == 1
    # what was told is made of whole atoms: one item of each stands for it
    there = atoms.sizes > 0
    someone = _someone(atoms.labels, there)
    told = np.where(there, held.parts[:, held.labels[someone]], -1)
    sizes = [np.bincount(part + 1, atoms.sizes)[1:].astype(np.int64) for part in told]
    concealed = {np.packbits((vector == 1) & there).tobytes() for vector in held.audit.concealed}
    masks = [*(ones & there), *_left_over(told, sizes)]
    masks += _inside(memory.channel(o, ""), held.audit, someone)
    fresh: dict[bytes, Flags] = {}
    for mask in masks:
        key = np.packbits(mask & there).tobytes()
        if key not in concealed and not _is_told(mask & there, told, sizes, int(atoms.sizes[mask].sum())):
            fresh[key] = mask & there
    found = [Following(mask, int(atoms.sizes[mask].sum()), atoms.labels) for mask in fresh.values()]
    return sorted(found, key=lambda one: one.size)[: MOST_IMPLIED + 1]


def _someone(labels: Items, there: Flags) -> Ints:
    """Return an item of each atom, 0 where there is none. there: which atoms have any."""
    found, size = np.full(there.size, -1, np.int64), SOME
    while True:
        # most atoms have one among the first items
        some = labels[:size]
        found[some] = np.arange(some.size)
        if size >= labels.size or bool((found[there] >= 0).all()):
            return np.maximum(found, 0)
        size *= 8


def _is_told(mask: Flags, told: Items, sizes: Sequence[Ints], size: int) -> bool:
    """Return whether a population is nobody, or one that was told. size: items in it."""
    if not size:
        return True
    cells = told[:, int(np.argmax(mask))]
    same = (int(p) for p in np.flatnonzero(cells >= 0) if sizes[int(p)][cells[p]] == size)
    return any(bool(((told[p] == cells[p]) == mask).all()) for p in same)


def _left_over(told: Items, sizes: Sequence[Ints]) -> list[Flags]:
    """Return what is left of told populations when told ones inside them, apart from each other, are taken out.

    told: (partitions x atoms) the cell of each atom, -1 for none. sizes: items per cell, by partition.
    """
    part = np.repeat(np.arange(len(sizes)), [one.size for one in sizes])
    cell = np.concatenate([np.zeros(0, np.int64), *(np.arange(one.size) for one in sizes)])
    size = np.concatenate([np.zeros(0, np.int64), *sizes])
    largest = np.argsort(-size, kind="stable")[:MOST_RANK]
    masks = [told[part[at]] == cell[at] for at in largest if size[at]]
    first_of = {id(mask): int(np.argmax(mask)) for mask in masks}

    def lies(one: Flags, other: Flags) -> bool:
        return bool(other[first_of[id(one)]]) and not (one & ~other).any()

    found: list[Flags] = []
    outer: list[Flags] = []
    for mask in masks:
        if len(outer) < MOST_AROUND and not any(lies(mask, other) for other in outer):
            outer.append(mask)
    for whole in outer:
        inside = [mask for mask in masks if lies(mask, whole) and (whole & ~mask).any()]
        for first in inside[:MOST_FIRST]:
            left = whole & ~first
            for other in inside:
                if lies(other, left):
                    left = left & ~other
            if left.any():
                found.append(left)
    return found


def _inside(stored: Channel, audit: AuditState, someone: Ints) -> list[Flags]:
    """Return stored populations that lie in the row space of what was told."""
    atoms, cells = audit.atoms, stored.parts[:, stored.labels[someone]]
    there = atoms.sizes > 0
    start, people = stored.cells.start, stored.cells.size
    mine = np.zeros(people.size, np.int64)
    for number, part in enumerate(cells):
        # made of whole atoms, as far as one of each tells
        found = np.bincount(part + 1, atoms.sizes)[1:]
        mine[start[number] : start[number] + found.size] = found
    some = np.flatnonzero((people > 0) & (mine == people))
    if some.size > MOST_STORED:
        return []
    of = np.searchsorted(start, some, side="right") - 1
    whole = list(zip(of.tolist(), (some - start[of]).tolist(), strict=True))
    if not whole:
        return []
    masks = [(cells[number] == cell) & there for number, cell in whole]
    rest = audit.space.remainder(np.array(masks, np.float64))
    outside = touched(rest)
    return [mask for mask, out in zip(masks, outside, strict=True) if not out.any()]


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


def _largest(parts: Sequence[Told]) -> tuple[list[tuple[Told, int]], bool]:
    """Return the cells that are shown, the largest first; of many (which is told) the largest alone, and the smallest."""
    cells = [np.flatnonzero(part.shown) for part in parts]
    which = np.repeat(np.arange(len(parts)), [found.size for found in cells])
    every = np.concatenate([np.zeros(0, np.int64), *cells])
    sizes = np.concatenate([np.zeros(0, np.int64), *(p.sets.sizes[c] for p, c in zip(parts, cells, strict=True))])
    order = np.argsort(-sizes, kind="stable")
    many = order.size > MOST_RANK // 2
    if many:
        order = np.append(order[: MOST_RANK // 4], order[-1])
    return [(parts[which[at]], int(every[at])) for at in order], many


def _cells(parts: Sequence[Told]) -> Iterator[tuple[Told, int, Row]]:
    for part in parts:
        for cell in np.flatnonzero(part.shown):
            yield part, int(cell), Row(part.sets.members(int(cell)).astype(np.int64))
