"""How many bits covariances with known columns, and sums of known columns, have told of whom: see `products` and `chosen_sums`.

Numbers are kept per column that they tell of, in a channel of people beside those of its sums: a partition for each pair of
arguments that was told of, in the order of the telling. What a number costs a person is one over the people it is about; all
functions of a column have its one budget.

INVARIANT (strict): what is kept depends on who is in a cell, not on whether its number may leave or on who has a value.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from bastion_plan.dtypes import BOOLEAN

from bastion_policy.boundary import Guard, Statistic, Term
from bastion_policy.guard_cells import Flags, Floats
from bastion_policy.history import Channel
from bastion_policy.history.people import by_people
from bastion_policy.history.sets import Items, Sets
from bastion_policy.judge_history import Memory
from bastion_policy.judge_watch import Part
from bastion_policy.lineage import Source, World
from bastion_policy.products import BITS, PEOPLE_PER_BIT
from bastion_policy.roles import RoleKind

#: begins the channels of what covariances told of a column
BITS_OF = "~bits "
#: bytes of a number's name
NAME = 12
#: what may be told of one person, in numbers per person
MOST = 1 / (BITS * PEOPLE_PER_BIT)


@dataclass
class Budget:
    """Withholds covariances with known columns beyond the bits that may be told of a person.

    versions: of the tables in the question. plan: what decides who is in which cell. known: see `Watcher`. chosen: the secret
    columns by which the people of a statistic are chosen. bits: what a sum of known values over so many people tells at most;
    None: it is no such sum.
    """

    memory: Memory
    statistics: Sequence[Statistic]
    versions: bytes
    plan: bytes
    known: Callable[[Term], bool]
    world: World
    chosen: Callable[[Statistic], frozenset[Source]]
    bits: Callable[[Statistic, int], float | None]

    def spend(self, parts: Sequence[Part]) -> None:
        """Enter what is told, and withhold, in place, what must not be."""
        if not self.memory.audits:
            return
        for i, s in enumerate(self.statistics):
            products = s.guard is Guard.PRODUCTS
            if not products and (self.bits(s, 1) is None or self.memory.effective.profile == "strict"):
                # INVARIANT (strict): no measure chooses people there
                continue
            if products and self._bare(s):
                for part in parts:
                    if (part.judged.shown[i] & part.own).any():
                        part.judged.failed.append((i, "linear-audit"))
                    part.judged.shown[i] &= ~part.own
                continue
            told_of = self._told_of(s) if products else self.chosen(s)
            for source in sorted(told_of, key=lambda x: (x.occurrence, x.column)):
                for part in parts:
                    name = self._named(s) if products else self._named_sum(s)
                    sets, own = (
                        (part.asked, part.own) if products or not s.population else part.inner.get(i, (None, part.own))
                    )
                    # INVARIANT: who is in it is known, or it is not told
                    fits = (
                        self._enter(source, name, part, i, sets, own) if sets is not None else np.zeros(own.size, bool)
                    )
                    if (part.judged.shown[i] & own & ~fits).any():
                        part.judged.failed.append((i, "linear-audit"))
                    part.judged.shown[i] &= fits | ~own

    def _bare(self, s: Statistic) -> bool:
        """Whether a covariance weighs yes or no, or what is sensitive, by what is known: see `statistics`, which sees roles alone."""
        pairs = zip(s.terms, reversed(s.terms), strict=True)
        return any(
            self.known(other)
            and (
                term.value.bit is not None
                or term.dtype == BOOLEAN
                or any(self.world.role(x).kind is RoleKind.SENSITIVE for x in term.value.sources)
            )
            for term, other in pairs
        )

    def _told_of(self, s: Statistic) -> set[Source]:
        """Return the columns that a covariance tells of: beside those that are known."""
        pairs = zip(s.terms, reversed(s.terms), strict=True)
        return {source for term, other in pairs if self.known(other) for source in term.value.sources}

    def _named(self, s: Statistic) -> bytes:
        """Return what the number of a covariance is called, whichever argument is first.

        INVARIANT: what is no stored column goes by the plan that made it, and all by the versions of the tables: under one name it
        may be another column each time.
        """
        terms = sorted(
            t.value.plain.label if t.value.plain is not None else f"{self.plan.hex()} {t.expr!r}" for t in s.terms
        )
        return hashlib.sha256(self.versions + repr((s.function, terms)).encode()).digest()[:NAME]

    def _named_sum(self, s: Statistic) -> bytes:
        """Return what a sum is called; a mean, beside the number of people, is one."""
        of = repr((s.guard, [t.expr for t in s.terms], s.population))
        return hashlib.sha256(self.versions + self.plan + of.encode()).digest()[:NAME]

    def _enter(self, source: Source, plan: bytes, part: Part, i: int, sets: Sequence[Sets], own: Flags) -> Flags:
        """Return which cells' numbers fit into the budget of a column, and keep them.

        sets: who is in the cells, per table. own: those that stand.
        """
        memory, judged = self.memory, part.judged
        # people may be chosen by a table that is not in the answer (a semi join): the first one stands for it
        at = next((j for j, o in enumerate(memory.occurrences) if o.index == source.occurrence), 0)
        o, strict = memory.occurrences[at], memory.effective.profile == "strict"
        asked, roster = sets[at], memory.lens(o).roster
        if roster.most > 1 or roster.changed:
            asked, _ = by_people(roster, asked)
        domain, name = memory.history.domains[o.dataset], f"{BITS_OF}{source.column}"
        held = memory.history.pasts[domain].channel(name, int(roster.people.max(initial=-1)) + 1)
        load, again = _loads(held, plan)
        spent = load[held.labels]
        # INVARIANT (strict): who has a value decides what is shown, and nothing else
        paired = judged.paired.get(i, asked.sizes)
        fits, stored = np.zeros(asked.count, bool), np.zeros(asked.count, bool)
        bits = self.bits(self.statistics[i], int(asked.sizes.max(initial=1)))
        if bits is not None:
            plan += bytes([math.ceil(bits)])
        number = _numbers(plan)
        for cell in np.flatnonzero(own if strict else own & judged.shown[i]):
            members = asked.members(int(cell))
            if not members.size:
                continue
            cost = float(spent[members].max())
            if not any(_is_one(part, members, held) for part in again):
                cost += number / members.size
                stored[cell] = cost <= MOST
            fits[cell] = cost <= MOST and cost * members.size <= MOST * paired[cell]
            if stored[cell] and (strict or fits[cell]):
                # people with several rows may be in several cells
                spent[members] += number / members.size
        new = asked.where(stored if strict else stored & fits)
        if new.sizes.any():
            if not held.room(new):
                return fits & ~stored
            memory.put(o, name, held.released(new, plan))
        return fits


def _loads(held: Channel, plan: bytes) -> tuple[Floats, list[Items]]:
    """Return what was told of each atom, in numbers per person, and the partitions of one pair of arguments."""
    load, again = np.zeros(held.sizes.size), []
    for part, name in zip(held.parts, held.plans, strict=True):
        there = part >= 0
        people = np.bincount(part[there], held.sizes[there], 1)
        load[there] += _numbers(name) / people[part[there]]
        if name[:NAME] == plan:
            again.append(part)
    return load, again


def _numbers(name: bytes) -> float:
    """Return as how many covariances a partition counts: a sum says behind its name how many bits it has."""
    return name[NAME] / BITS if len(name) > NAME else 1.0


def _is_one(part: Items, members: Items, held: Channel) -> bool:
    """Whether a population is one of a partition."""
    cells = part[held.labels[members]]
    there = cells[0] >= 0 and bool((cells == cells[0]).all())
    return there and int(held.sizes[part == cells[0]].sum()) == members.size
