"""Which of a boundary's populations were chosen by a measure and lie at a threshold: each tells one bit about one person."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.dtypes import BOOLEAN
from bastion_plan.expressions import Alias, Call, Column, Expr
from bastion_plan.nodes import AnyNode

from bastion_policy.boundary import Guard, Statistic, Term, call
from bastion_policy.chosen_sums import choosers, weighs
from bastion_policy.flow import boundaries
from bastion_policy.flow_trees import columns_in
from bastion_policy.guard_cells import ROWS, Flags, Measurer, Steps, X, both, floats
from bastion_policy.guard_plans import Rewriter, lenient
from bastion_policy.judge_approved import shown_of
from bastion_policy.judge_crossing import counts_people, fewest_crossing, inside_people
from bastion_policy.judge_edges import (
    Narrowing,
    conditions_below,
    drops_of_stored_nulls,
    keys_of_rows,
    mixed,
    mixes,
    thresholds,
    values_of,
    ways,
)
from bastion_policy.judge_lacking import few_lack, may_lack
from bastion_policy.judge_memory import EDGE_BUDGET
from bastion_policy.judge_people import compared
from bastion_policy.judge_remembered import Past, Remembered
from bastion_policy.judge_rules import Judged
from bastion_policy.judge_watch import Part
from bastion_policy.lineage import Form, Frame, Source
from bastion_policy.statistics import knowable
from bastion_policy.verdict import Measure


class Searched(Remembered):
    """Counts choices by a measure in a boundary's cells."""

    def _edges(self, m: Measurer, past: Past, parts: Sequence[Part]) -> Steps:
        """Return what tells apart the populations of the question that were chosen by a measure and lie at a threshold.

        INVARIANT: one cell is enough, whatever the others are: one that is not there, hidden or put together as well.
        """
        found: list[bytes] = []
        if not self.memory.snaps or not self.chosen_by:
            return found
        # INVARIANT: a threshold that another table's version or other cells give is another one under the same words
        wording = yield from self._wording()
        if self.narrowing or self.measured_keys:
            clear = past.own & ~past.standing.edge if past.standing is not None else past.own
            repeated = any(close.any() for part in parts for close in part.judged.close.values())
            keys = [(self.boundary.keys[i][1], self.frame) for i in self.measured_keys]
            repeated |= self._most_rows > 1 and self._stays([*conditions_below(self.below), *keys])
            some = repeated or mixes(self.below, self.world) or not clear.all()
            if some or (yield from self._missing(m)) or (yield from self._few_left_out(m)):
                # each part of a stack, each of a person's rows and each key has thresholds of its own
                count = max(1, ways(self.below, self.narrowing)) + max(0, len(self.measured_keys) - 1)
                if mixes(self.below, self.world):
                    found_in = conditions_below(self.below)
                    many = sum(thresholds([c], frame, self.world, self._most_rows) for c, frame in found_in)
                    count *= max(1, min(many, self._most_rows))
                found += [hashlib.sha256(wording + i.to_bytes(4)).digest()[:12] for i in range(count)]
        found += [] if found else (yield from self._crossed(m, wording))
        if not found and (yield from self._chosen_keys(m)):
            found.append(hashlib.sha256(wording + b"rows").digest()[:12])
        for i, s in enumerate(self.boundary.statistics):
            conditions = self._conditions(s)
            some = any((part.own & ~_clear(part.judged, i)).any() for part in parts)
            some |= self._most_rows > 1 and self._stays([(c, self.frame) for c in conditions])
            # INVARIANT: whether k of those whom a measure chose have a value is a threshold in that measure as well
            few = bool(conditions or self.narrowing or self.measured_keys) and any(
                _few(part.judged, i, s, part.own) for part in parts
            )
            if few or (conditions and (some or mixed(conditions, self.below, self.world))):
                several = mixed(conditions, self.below, self.world)
                count = max(1, thresholds(conditions, self.frame, self.world, self._most_rows)) if several else 1
                mark = wording + repr(conditions).encode()
                found += [hashlib.sha256(mark + i.to_bytes(4)).digest()[:12] for i in range(count)]
            if not found and (yield from self._few_lack(m, s)):
                found.append(
                    hashlib.sha256(wording + repr(("lacking", s.terms[0].expr, conditions)).encode()).digest()[:12]
                )
            # INVARIANT: which public intervals hold k of those whom a measure chose is a threshold of its own wherever somebody knows
            # who is in which interval
            if s.guard in (Guard.INTERVAL, Guard.TIED) and any(self._ranked_by_others(t, s) for t in s.terms):
                found.append(hashlib.sha256(wording + repr((s.terms[0].expr, conditions)).encode()).digest()[:12])
        return found

    def _crossed(self, m: Measurer, wording: bytes) -> Steps:
        """Return what tells apart the numbers of people of whom fewer than k have rows that a measure left out, and others."""
        found: list[bytes] = []
        several = [o for o in self.frame.occurrences if self.memory.lens(o).most > 1]
        if not several:
            return found
        chosen = self._chosen_steps
        nested = inside_people(self.below, chosen)
        counted = [self._conditions(s) for s in self.boundary.statistics if counts_people(s)]
        asked = [(chosen, c) for c in dict.fromkeys(counted) if chosen or c or self.measured_keys]
        asked += [(nested, ())] if nested else []
        keys = self._public_keys
        for steps, conditions in asked:
            every = Rewriter(self.facts, self.done, carry=True, without=steps)
            for o in several:
                fewest = yield from fewest_crossing(m, every, self.below, keys, o, conditions)
                if fewest < self.k:
                    found.append(hashlib.sha256(wording + repr(("crossing", conditions)).encode()).digest()[:12])
        return found

    def _chosen_keys(self, m: Measurer) -> Steps:
        """Whether some key is a number of those rows of a person that a measure chose: the last month, or how many there are.

        INVARIANT: what is the same in all rows of everybody is theirs whichever are left; what is not is a bin of the measure.
        """
        for key, value in keys_of_rows(self.boundary, self.world):
            read = [v for c in sorted(columns_in(key)) if (v := self.frame.columns[c]).chosen]
            told = frozenset().union(*(v.chosen for v in read))
            among = [v.within for v in read if v.within is not None]
            if not value.chosen <= told or len(among) < len(read):
                return True
            for source in among:
                if not (yield from self._same_in_all_rows(m, source)):
                    return True
        return False

    def _same_in_all_rows(self, m: Measurer, source: Source) -> Steps:
        """Whether everybody's rows of a table agree in a column."""
        unit = self.facts[source.dataset].unit
        assert unit is not None
        rows = n.Filter(n.Scan(source.dataset), call("is_not_null", Column(unit)))
        counted = n.GroupBy(rows, (Column(unit),), (Alias(call("n_unique", Column(source.column)), X),))
        answer = yield from m.ask(n.Select(counted, (Alias(call("max", Column(X)), X),)), returns=(X,))
        return bool(floats(answer[X])[0] <= 1)

    def _few_lack(self, m: Measurer, s: Statistic) -> Steps:
        """Whether fewer than k of those whom a measure chose have no value of an argument that others may lack."""
        conditions = self._conditions(s)
        if not (conditions or self._chosen_steps or self.measured_keys):
            return False
        every = Rewriter(self.facts, self.done, without=self._chosen_steps)
        for term in may_lack(s, self.world):
            for o in self.frame.occurrences:
                if (yield from few_lack(m, every, self.below, self._public_keys, o, term, s.population, self.k)):
                    return True
        return False

    def _known(self, term: Term) -> bool:
        """Whether somebody may know the values of an argument: they are of no measure, or were shown."""
        return knowable(term.value, self.world) or shown_of(self.memory, term.value.sources)

    def _choosers(self, s: Statistic) -> frozenset[Source]:
        """Return the secret columns by which the people of a statistic are chosen."""
        return choosers(self.below, self.boundary, s, self.world) if self.chosen_by else frozenset()

    def _ranked_by_others(self, term: Term, s: Statistic) -> bool:
        """Whether people whom a secret column chose are ranked by a column that somebody may know."""
        chosen = self._choosers(s)
        return bool(chosen) and weighs(term, chosen, self.world, self._known)

    def _wording(self) -> Steps:
        """Return what the words of the question mean this time: its plan, the tables' versions and the cells that it reads."""
        found = [self.versions, self.plan_digest]
        for i, node in enumerate(boundaries(self.typed)[:-1]):
            read = self.done[id(node)]
            answer = yield Measure(read, f"{self.name}i{i}")
            columns = [list(answer[c]) for c in sorted(answer) if c != "__height"]
            found.append(repr(sorted(map(repr, zip(*columns, strict=True)))).encode())
        return hashlib.sha256(b"".join(found)).digest()

    def _stays(self, conditions: Sequence[tuple[Expr, Frame]]) -> bool:
        """Whether a condition is about a column that may stay the same in a person's rows.

        INVARIANT: the same condition on other rows of the same people is then the same choice, far from thresholds of rows.
        """
        values = (values_of(c, frame, self.world) for c, frame in conditions)
        # which values are missing is public
        return any(v.form is not Form.NULLS and compared(v.sources, self.world) for v in values)

    @property
    def _most_rows(self) -> int:
        """How many rows of one person there may be in the frame, as far as it matters."""
        several = self.repeats is not None and bool(self.repeats.often)
        several |= any(self.memory.lens(o).most > 1 for o in self.frame.occurrences)
        return EDGE_BUDGET + 1 if several else 1

    def _missing(self, m: Measurer) -> Steps:
        """Whether there may be groups that nobody is in because of a measure: as many as fewer than k would be in.

        Which bins there could be of other keys than conditions is not known.
        """
        keys = self.boundary.keys
        if any(keys[i][3] != BOOLEAN for i in self.measured_keys):
            return True
        if not keys:
            return False
        one = (Alias(Call("pl.len"), X),)
        possible = yield from m.ask(n.Select(self._cells_without(self.narrowing), one))
        there: AnyNode = n.Scan(m.cut.name)
        if self.measured_keys:
            told = both([call("is_not_null", Column(self.boundary.key_columns[i])) for i in self.measured_keys])
            there = n.Filter(there, told)  # type: ignore[arg-type]
        answer = yield from m.ask(n.Select(there, one))
        return bool(floats(answer[X])[0] < floats(possible[X])[0] * 2 ** len(self.measured_keys))

    @property
    def _chosen_steps(self) -> Narrowing:
        """The steps that leave rows out by a measure, but for those without a stored value, which is public."""
        public = drops_of_stored_nulls(self.below)
        return {node: kept for node, kept in self.narrowing.items() if node not in public}

    @property
    def _public_keys(self) -> list[tuple[str, Expr]]:
        """The keys that no measure is in, by their columns in a cut."""
        return [(self.boundary.key_columns[i], self.boundary.keys[i][1]) for i in self._other_keys]

    @property
    def _other_keys(self) -> list[int]:
        """The positions of the keys that no measure is in."""
        return [i for i in range(len(self.boundary.keys)) if i not in self.measured_keys]

    def _cells_without(self, steps: Narrowing) -> AnyNode:
        """Return how many rows there would be without some steps, by the keys that no measure is in."""
        rows = Rewriter(self.facts, self.done, without=steps).build(self.below)
        exprs = tuple(Alias(lenient(self.boundary.keys[i][1]), f"{X}{i}") for i in self._other_keys)
        length = (Alias(Call("pl.len"), X),)
        return n.GroupBy(rows, exprs, length) if exprs else n.Select(rows, length)

    def _few_left_out(self, m: Measurer) -> Steps:
        """Whether a measure leaves out fewer than k of those who would be in some cell, or nobody.

        INVARIANT: how many there would be is known of a public group, so all but few is a threshold as few are. Who is
        chosen by a key is in another cell.
        """
        chosen = self._chosen_steps
        if not chosen:
            return False
        possible, left = self._cells_without(chosen), Alias(call("sum", Column(ROWS)), f"{X}n")
        keys = tuple(Alias(Column(self.boundary.key_columns[i]), f"{X}{i}") for i in self._other_keys)
        there: AnyNode = n.Scan(m.cut.name)
        there = n.GroupBy(there, keys, (left,)) if keys else n.Select(there, (left,))
        on = tuple(Column(key.name) for key in keys)
        beside: AnyNode = (
            n.Join(possible, there, "left", on, on, nulls_equal=True)
            if on
            else n.Concat((possible, there), "horizontal")
        )
        answer = yield from m.ask(n.Select(beside, (Column(X), Column(f"{X}n"))))
        return bool((floats(answer[X]) - np.nan_to_num(floats(answer[f"{X}n"])) < self.k).any())


def _few(judged: Judged, i: int, s: Statistic, own: Flags) -> bool:
    """Whether those in some cell who have a value are about as many as are told of, or as those of another number."""
    few = judged.few.get(i, own & False) | judged.edges.get(i, own & False)
    if s.guard in (Guard.INTERVAL, Guard.TIED):
        few = few | ~judged.shown[i]
    return bool((own & few).any())


def _clear(judged: Judged, i: int) -> Flags:
    """Return the cells in which what a statistic's conditions pick is answered as itself, far from any threshold."""
    clear = judged.shown[i].copy()
    for flags in (judged.without.get(i), judged.settled.get(i), judged.edges.get(i), judged.close.get(i)):
        clear &= ~flags if flags is not None else True
    return clear
