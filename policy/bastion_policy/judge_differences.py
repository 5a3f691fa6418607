"""What two populations differ by: whoever has the numbers of both has that of their difference, which is judged like a cell.

Of two nested populations the number in between is one of a population. Of two that overlap it is what some people add less what
others add, each of whom may be known to add nothing, or as much as there is: so everybody counts from either end of the scale.

**Which pairs.** A cell and every stored population that lies inside it, around it, or within `CLOSE` * k rows of it, in whatever
question it was asked of: of the table alone, joined, person by person, or stacked. They are compared as rows were first, so that a
new version of the table is no way around.

**How.** Sums of the stored populations and of the cells, made once per question, prove most pairs: where the difference holds
more than twice what anybody can add, nobody makes up most of it. The others are looked at row by row.

INVARIANT: a pair that is neither proven nor looked at withholds the number.

INVARIANT: of rows that are gone, or not in the question, nobody knows what they held. Where they are of fewer than k people
they may have held nothing, or one of them all that can be: the difference passes either way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from bastion_plan.expressions import Expr

from bastion_policy.audit import distinct
from bastion_policy.audit.atoms import summed
from bastion_policy.boundary import Guard, Statistic, Term
from bastion_policy.facts import PrivateFacts
from bastion_policy.flow_strict import secret
from bastion_policy.guard_cells import Flags, Floats, Indexes, Steps
from bastion_policy.history import Channel, Sets
from bastion_policy.history.past import Beside
from bastion_policy.history.sets import Items, together
from bastion_policy.history.vintages import Agreement, agreements, different
from bastion_policy.judge_approved import near_known
from bastion_policy.judge_corrections import cleared, is_taken, tell
from bastion_policy.judge_history import CLOSE, MOST_LOOKED_AT, Memory
from bastion_policy.judge_homogeneity import least_apart, least_differing, watched
from bastion_policy.judge_people import sound
from bastion_policy.judge_rules import Judged
from bastion_policy.judge_versions import Compared, compared, may_have_changed, told
from bastion_policy.judge_watch import Part
from bastion_policy.lineage import Form, Occurrence, Source, World
from bastion_policy.model import Effective
from bastion_policy.statistics import declared

#: statistics whose differences are numbers of those in between
SUMMED = (Guard.SUM, Guard.SQUARES, Guard.PRODUCTS)
#: ways in which columns of several versions may be each other, beyond which a number is withheld
MOST_SUPPOSED = 64
#: values among which one amid them is sought
MOST_AMID = 1 << 14
#: what rounding may take off a sum that proves something, relative to the numbers it is the difference of
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Numbers:
    """What the items of a channel hold of an argument.

    value: NaN where it is missing, or not known. here: whose value (or that it is missing) is known. low, high: its bounds;
    high is None where nobody knows it. two: the two values that there are, if there are no more. least: how many people must
    hold another value than most of them. columns: the columns of the table that it is made of.
    """

    value: Floats
    here: Flags
    low: float
    high: float | None
    two: tuple[float, float] | None
    least: int
    columns: frozenset[str]

    @cached_property
    def top(self) -> float:
        """The most that one item may hold above the lower bound."""
        most = float(np.nanmax(self.value, initial=-np.inf))
        return max(0.0, (most if self.high is None else max(most, self.high)) - self.low)

    @property
    def reach(self) -> float:
        """The most by which one item may differ from 0, where values lie on both of its sides; else 0."""
        return max(-self.low, self.low + self.top) if self.low < 0 else 0.0

    @cached_property
    def middle(self) -> float:
        """A number amid the values, from which squares are measured: so that rounding takes little off them."""
        some = self.value[:: max(1, self.value.size // MOST_AMID)]
        known = some[np.isfinite(some)]
        return float(np.partition(known, known.size // 2)[known.size // 2]) if known.size else 0.0


@dataclass(frozen=True, eq=False)
class Judge:
    """Judges differences of one statistic. people: whose each item is. most: items of one person at most.

    agree: what held when the others were told what it holds now; None: all, since they were told of this very version. kin: whether they were told of the same table, so that rows which are not there have left it.
    """

    guard: Guard
    numbers: Sequence[Numbers]
    people: Indexes
    most: int
    effective: Effective
    agree: Agreement | None = None
    kin: bool = True

    @cached_property
    def here(self) -> Flags:
        """The items whose values are known now."""
        return np.asarray(np.logical_and.reduce([x.here for x in self.numbers]))

    @cached_property
    def then(self) -> Flags:
        """The items of which it is known what they held when the others were told."""
        return self.here if self.agree is None else self.here & self.agree.same

    @cached_property
    def nothing(self) -> Flags:
        """The items known to have held no value then: they added nothing."""
        known = None if self.agree is None else self.agree.nothing
        return np.zeros(self.here.size, bool) if known is None else known

    # -- by sums

    @cached_property
    def needed(self) -> float:
        """How many times what one person may add prove that nobody dominates; see `Rules._proven`."""
        p = self.effective.p
        return max([0.0 if p is None else 2 + p, *(n / share for n, share in self.effective.shares)])

    @cached_property
    def features(self) -> list[Floats | Flags | None]:
        """Return what is added up of each item, six per argument, as `proven` reads them.

        Flags are counted; None: it is not read for this statistic.
        """
        found: list[Floats | Flags | None] = []
        known = np.logical_and.reduce([self.then & ~np.isnan(x.value) for x in self.numbers])
        every = bool(known.all())
        for x in self.numbers:
            value = x.value if every else np.where(known, x.value, 0.0)
            apart = squares = ones = sizes = None
            with np.errstate(over="ignore", invalid="ignore"):
                if self.guard in (Guard.SQUARES, Guard.PRODUCTS) or (x.least and x.two is None):
                    apart = x.value - x.middle if every else np.where(known, x.value - x.middle, 0.0)
                    squares = apart * apart
                if x.least and x.two is not None:
                    ones = known & (value > x.two[0] / 2 + x.two[1] / 2)
                if x.reach and self.most == 1:
                    sizes = np.abs(value)
            found += [known, value, apart, squares, ones, sizes]
        return found

    def proven(self, sums: Floats, size: Floats) -> Flags:
        """Return the nested pairs that pass. sums: (features x pairs) of the differences. size: of what they are made of."""
        ok = np.ones(sums.shape[1], bool)
        for x, (count, total, apart, squares, ones, sizes), (_, whole, _, all_squares, _, all_sizes) in zip(
            self.numbers, np.split(sums, len(self.numbers)), np.split(size, len(self.numbers)), strict=True
        ):
            width = np.float64(x.top) * self.most
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                above = total - count * x.low - _ROUNDING * whole
                spread = squares - apart * apart / np.maximum(count, 1) - _ROUNDING * all_squares
                if self.guard in (Guard.SUM, Guard.SQUARES):
                    ok &= above >= self.needed * width
                    if x.high is not None:
                        ok &= count * (x.high - x.low) - above - _ROUNDING * whole >= self.needed * width
                    if x.reach:
                        # what people's rows come to is no less than what all of them do
                        far = sizes - _ROUNDING * all_sizes if self.most == 1 else np.abs(total) - _ROUNDING * whole
                        ok &= far >= self.needed * np.float64(x.reach) * self.most
                if self.guard is Guard.SQUARES:
                    ok &= spread >= self.needed * width * width
                if self.guard is Guard.PRODUCTS:
                    ok &= (spread >= self.effective.k * width * width) & (spread > 0)
                if x.least and x.two is not None:
                    ok &= (ones > (x.least - 1) * self.most) & (count - ones > (x.least - 1) * self.most)
                elif x.least:
                    # see the proof by spread in judge_homogeneity
                    ok &= (
                        spread / (width * width) / (1 + spread / (width * width) / np.maximum(count, 1))
                        > (x.least - 1) * self.most
                    )
                ok &= np.isfinite(above) & np.isfinite(spread)
        return ok

    @cached_property
    def lone(self) -> bool:
        """Whether nobody has several of the items whose values are known now."""
        return int(np.bincount(self.people[self.here]).max(initial=0)) <= 1

    @cached_property
    def forgotten(self) -> list[Floats | Flags | None]:
        """Return, per item: who is here of whom nobody knows what they held then, and who holds something else now."""
        changed = self.agree.other if self.agree is not None else self.here & False
        return [self.here & ~(self.then | self.nothing), self.here & changed]

    def hidden_by_changes(self, mine: Floats, rest: Floats) -> Flags:
        """Return the cells inside told populations of which `failing` finds nothing, since so much has changed.

        mine: of the cells, rest: of whom a told one has besides; both of `forgotten`.
        """
        k = self.effective.k
        return np.asarray((rest[0] >= k) & (mine[1] >= k)) if self.lone and self.kin else np.zeros(rest.shape[1], bool)

    # -- row by row

    def failing(self, mine: Items, theirs: Items) -> str | None:
        """Return the rule that the difference of two populations fails, of which `theirs` was told before."""
        more, less = (np.setdiff1d(*pair, assume_unique=True) for pair in ((mine, theirs), (theirs, mine)))
        unknown = np.concatenate([more[~self.here[more]], less[~(self.then | self.nothing)[less]]])
        left = distinct(self.people[unknown]).size
        # INVARIANT: k people who left are a group of their own; of fewer one may have held all that can be. What people held who
        # are still there was told, and is only forgotten; it is another number where k of those in both are known to have changed
        alone = left >= self.effective.k and self.kin
        if alone and self.here[unknown].any():
            both = np.intersect1d(mine, theirs, assume_unique=True)
            changed = both[self.here[both] & self.agree.other[both]] if self.agree is not None else both[:0]
            if distinct(self.people[changed]).size >= self.effective.k:
                return None
            alone = False
        if more.size and less.size and ((left and not alone) or self.effective.profile == "strict"):
            # INVARIANT: a third group may have been told as well, which takes those out who are on the one side: nobody on the other
            # one must be hidden by them. In the default profile what follows is watched, of what is known. What fewer than k people come
            # to is the audit's
            nobody = np.zeros(0, np.int32)
            for sides in ((more, nobody), (nobody, less)):
                many = distinct(self.people[np.concatenate(sides)]).size >= self.effective.k
                rule = self.failing(*sides) if many else None
                if rule is not None:
                    return rule
        known = np.concatenate([more[self.here[more]], less[self.then[less]]])
        side = np.arange(known.size) < np.count_nonzero(self.here[more])
        with np.errstate(over="ignore", invalid="ignore"):
            return self._failing(known, side, left, bool(left and not alone))

    def few(self, items: Items) -> str | None:
        """Return the rule that fewer than k people fail by themselves."""
        return "history" if 0 < distinct(self.people[items]).size < self.effective.k else None

    def untold(self, items: Items) -> bool:
        """Whether no number of a condition can have been told of a population: nearly all are alike in it.

        Those whom the condition picks are stored as well, and whoever is left beside them is not picked.
        """
        if not self.then[items].all():
            return False
        for x in self.numbers:
            known = items[~np.isnan(x.value[items])]
            people, at = np.unique(self.people[known], return_inverse=True)
            if x.least and self._alike(x, x.value[known], np.ones(known.size, bool), at, people.size, False, 0):
                return True
        return False

    def _failing(self, items: Items, side: Flags, left: int, gone: bool) -> str | None:
        """Return the rule that fails. left: people of whom it is not known what they held. gone: one may have held all there is."""
        known = np.logical_and.reduce([~np.isnan(x.value[items]) for x in self.numbers])
        people, at = np.unique(self.people[items[known]], return_inverse=True)
        if people.size + left < self.effective.k:
            # where so few have a value, the history of those who have one has decided, if it was the same people then
            return None if self.agree is None or not people.size else "history"
        overlap = bool(side.any() and not side.all())
        for x in self.numbers:
            value, mine = x.value[items[known]], side[known]
            if x.least and self._alike(x, value, mine, at, people.size, overlap, 0 if gone else left):
                return "homogeneity"
            if self.guard is Guard.HELD:
                continue
            if self.guard is Guard.PRODUCTS:
                if not self._level(value, at, people.size, x.top if gone else 0.0):
                    return "leverage"
            elif not all(
                self._sound(contribution, at, people.size, x.top if gone else 0.0)
                for contribution in self._sides(x, value, mine, overlap)
            ):
                return "dominance"
            elif x.reach:
                # whose rows are on both sides adds what they come to
                each = np.abs(np.bincount(at, np.where(mine, value, -value), people.size))
                if not self._sound(each, np.arange(people.size), people.size, x.reach if gone else 0.0):
                    return "dominance"
            if self.guard is Guard.SQUARES:
                squares, worst = (value - value.mean()) ** 2 if value.size else value, np.float64(x.top) ** 2
                if not self._sound(squares, at, people.size, worst if gone else 0.0):
                    return "dominance"
        return None

    @staticmethod
    def _sides(x: Numbers, value: Floats, mine: Flags, overlap: bool) -> list[Floats]:
        low = value - x.low
        if x.high is None:
            return [low]
        high = x.high - value
        crossed = [np.where(mine, low, high), np.where(mine, high, low)] if overlap else []
        return [low, high, *crossed]

    def _sound(self, contribution: Floats, at: Indexes, people: int, gone: float) -> bool:
        each = np.bincount(at, np.abs(contribution), people).astype(np.float64)
        return sound(each, 0, self.effective) and (not gone or sound(np.append(each, gone), 0, self.effective))

    def _level(self, value: Floats, at: Indexes, people: int, gone: float) -> bool:
        """Whether nobody has more than 1/k of the squares by which a covariance weighs them."""
        squares = (value - value.mean()) ** 2 if value.size else value
        each = np.bincount(at, squares, people).astype(np.float64)
        return all(
            bool(np.isfinite(some.sum()) and some.sum() > 0 and some.max() * self.effective.k <= some.sum())
            for some in ([each, np.append(each, np.float64(gone) ** 2)] if gone else [each])
        )

    @staticmethod
    def _alike(x: Numbers, value: Floats, mine: Flags, at: Indexes, people: int, overlap: bool, others: int) -> bool:
        """Whether fewer people differ from the others than have to, as they are or seen from opposite ends. others: who differ."""
        ends = x.two if x.two is not None else (x.low, x.high) if x.high is not None else None
        turned = [np.where(mine, value, ends[0] + ends[1] - value)] if overlap and ends is not None else []
        for seen in [value, *turned]:
            least, most = np.full(people, np.inf), np.full(people, -np.inf)
            np.minimum.at(least, at, seen)
            np.maximum.at(most, at, seen)
            _, counts = np.unique(least[least == most], return_counts=True)
            if people + others - int(counts.max(initial=0)) < x.least:
                return True
        return False


@dataclass(frozen=True, eq=False)
class Looked:
    """Some populations, of which numbers are told, beside those that were told before.

    held: where these are stored. sets: who is in the cells, as its items are numbered. alone: see `Compared`. approved: whether an
    owner released anything of these people, so that numbers may have been told which no rule would.
    """

    held: Channel
    sets: Sets
    alone: bool
    approved: bool

    def failing(self, judge: Judge, flags: Flags, within: int) -> dict[int, str]:
        """Return the rule that a flagged cell fails beside some stored population, by cell.

        within: items apart, up to which populations are compared that overlap.
        """
        found = self.held.beside(self.sets.where(flags), within)
        left, failed = MOST_LOOKED_AT, dict[int, str]()
        nobody = np.zeros(0, np.int32)
        for cell in np.flatnonzero(flags & (self.sets.sizes > 0)).tolist() if self.alone else ():
            rule = judge.failing(self.sets.members(cell), nobody) or judge.few(self.sets.members(cell))
            if rule is not None:
                failed[cell] = rule
        unproven = found.some(~self._proven(judge, found))
        for cell, part, stored, apart in unproven.nearest_first():
            if cell in failed:
                continue
            left -= apart
            if left < 0:
                failed[cell] = "audit-capacity"
                continue
            one, two = self.sets.members(cell), self.held.members(part, stored)
            if judge.guard is Guard.HELD and not self.approved and judge.untold(two):
                continue
            rule = judge.failing(one, two)
            if rule is not None:
                failed[cell] = rule
        return failed

    def _proven(self, judge: Judge, found: Beside) -> Flags:
        """Return the pairs of which sums prove that they pass: nested ones."""
        proven = np.zeros(found.cell.size, bool)
        at = np.flatnonzero(found.nested)
        if not at.size:
            return proven
        mine, theirs = self._added_up(judge.features, found, at)
        with np.errstate(over="ignore", invalid="ignore"):
            proven[at] = judge.proven((mine - theirs) * found.nested[at], np.abs(mine) + np.abs(theirs))
        if judge.agree is not None:
            mine, theirs = self._added_up(judge.forgotten, found, at)
            proven[at] |= (found.nested[at] < 0) & judge.hidden_by_changes(mine, theirs - mine)
        return proven

    def _added_up(self, features: Sequence[Floats | Flags | None], found: Beside, at: Indexes) -> tuple[Floats, Floats]:
        """Return (features x pairs) what comes together in the cells, and in the stored populations, of some pairs."""
        held, cells = self.held, self.sets
        theirs = np.zeros((len(features), at.size))
        if cells.disjoint:
            # one pass over the items: what comes together where cells and atoms meet
            met = cells.crossed(held.labels, held.sizes.size)
            both = _sums(features, met.at, met.atom.size, met.size)
            mine = np.array([np.bincount(met.cell + 1, f, cells.count + 1)[1:] for f in both])
            atoms = np.array([np.bincount(met.atom, f, held.sizes.size) for f in both])
        else:
            cell, item = cells.memberships
            mine = _sums([None if f is None else f[item] for f in features], cell, cells.count)
            atoms = _sums(features, held.labels, held.sizes.size)
        for part in distinct(found.part[at]).tolist():
            row, of = held.parts[part], found.part[at] == part
            inside, count = row >= 0, int(row.max(initial=-1)) + 1
            sums = np.array([np.bincount(row[inside], f[inside], count) for f in atoms])
            theirs[:, of] = sums[:, found.stored[at][of]]
        return mine[:, found.cell[at]], theirs


def _sums(
    features: Sequence[Floats | Flags | None], place: np.ndarray[Any, Any], count: int, sizes: Indexes | None = None
) -> Floats:
    """Return (features x places) what comes together in each place; where there are flags, how many are flagged.

    sizes: how many there are in each place, if that is known.
    """
    found = np.zeros((len(features), count))
    most, others = None, np.zeros(0, np.int64)
    if sizes is not None and sizes.size > 1 and 4 * int(sizes.max()) > 3 * place.size:
        # what is in one place is added up as a whole: one by one, each addition would wait for the one before
        most = int(sizes.argmax())
        others = np.flatnonzero(place != most)
    for row, feature in zip(found, features, strict=True):
        if feature is None:
            continue
        some: np.ndarray[Any, Any] = feature[: place.size]
        if some.dtype != np.bool_ and most is not None and some.size == place.size:
            row[:] = summed(place[others], some[others], count)
            with np.errstate(over="ignore", invalid="ignore"):
                row[most] = some.sum() - row.sum()
        elif some.dtype != np.bool_:
            row[:] = summed(place, some, count)
        elif sizes is not None and some.size == place.size and some.all():
            row[:] = sizes
        else:
            row[:] = summed(place[some], None, count)
    return found


@dataclass(eq=False)
class Differences:
    """Judges what the cells of one boundary differ by from all that was told.

    values: measures an argument or a stored column: (a number per row of a table, the rows of which it is known). nested: tables
    whose rows are in lists, several of one person. made: whether rows were made into several.
    """

    memory: Memory
    statistics: Sequence[Statistic]
    world: World
    private: Mapping[str, PrivateFacts]
    nested: Collection[int]
    values: Callable[[Occurrence, Term | Source], Steps]
    made: bool

    def __post_init__(self) -> None:
        self._known: dict[tuple[int, Expr | Source], tuple[Floats, Flags]] = {}
        # sum and mean of one column are judged by the same numbers
        self._judges: dict[tuple[int, Guard, tuple[Expr, ...], tuple[str, int] | None], list[Judge]] = {}

    def judge(self, parts: Sequence[Part]) -> Steps:
        """Withhold, in place, numbers whose difference from another one does not pass the rules about values."""
        if not self.memory.snaps:
            return
        for number, part in enumerate(parts):
            for i, s in enumerate(self.statistics):
                for asked, flags, _ in self._told(part, i, s, now=True) or [(part.asked, part.own, True)]:
                    for o, sets in self._tables(asked, s):
                        self._of_columns(part.judged, i, s, o, sets, flags)
                if not self._judged(s):
                    continue
                # what a condition inside a statistic picks is judged by the statistic without it
                alone = s if s.without is None else self.statistics[s.without]
                for asked, flags, now in self._told(part, i, s, now=number > 0):
                    for o, sets in self._tables(asked, s):
                        for beside in compared(self.memory, o, sets, now=now):
                            yield from self._judge(part.judged, i, alone, o, beside, flags)
            self._kept(part)

    def _of_columns(self, judged: Judged, i: int, s: Statistic, o: Occurrence, sets: Sets, flags: Flags) -> None:
        """Withhold numbers beside those of the column, or one like it, that give away what few of the people hold."""
        columns = self._secret(s, o)
        taken = {column: is_taken(self.memory, o, column, columns) for column in columns}
        every = tuple(sorted({x.column for x in s.sources if not x.counted and x.dataset == o.dataset}))
        # INVARIANT: a formula tells of the secret column in it, too, where another column of it has changed
        formula = [every] if columns and len(every) > 1 else []
        for numbers in (*((column,) for column in columns), *formula):
            asked = flags & judged.shown[i]
            if any(taken.get(column, False) for column in numbers) and asked.any():
                judged.shown[i][asked] = False
                judged.failed.append((i, "copied-column"))
                # whoever is told of the other column instead may be told of these
                judged.uneven[i] = judged.uneven.get(i, asked & False) | asked
                continue
            near = asked & False
            for column in numbers if len(numbers) == 1 else ():
                near |= asked & may_have_changed(self.memory, o, sets.where(asked), column)
                near |= asked & self.memory.blurred(o, sets, column)
                near |= near_known(self.memory, o, sets, asked & ~near, column)
            near |= asked & ~cleared(self.memory, o, sets, asked & ~near, numbers, columns)
            if near.any():
                judged.shown[i][near] = False
                judged.failed.append((i, "history"))
            # INVARIANT: at once, so that another column of the same question is compared with it
            beyond = asked & ~near & ~tell(self.memory, o, sets, asked & ~near, numbers)
            if beyond.any():
                judged.shown[i][beyond] = False
                judged.failed.append((i, "audit-capacity"))

    def _secret(self, s: Statistic, o: Occurrence) -> list[str]:
        of = (x for x in s.sources if not x.counted and x.dataset == o.dataset)
        return sorted({x.column for x in of if secret(frozenset({x}), self.world)})

    def _judged(self, s: Statistic) -> bool:
        """Whether the differences of a statistic are judged: of sums, and of conditions on columns that are watched."""
        if s.guard is Guard.HELD:
            # INVARIANT (strict): its conditions are on quasi columns, and on who has a value, which decides nothing
            effective = self.memory.effective
            judged = bool(s.terms) and effective.profile != "strict" and s.terms[0].value.form is not Form.NULLS
            return judged and watched(s.terms[0], effective, self.world, self.private)
        return s.guard in SUMMED and bool(s.terms) and s.function not in ("count", "null_count")

    def _told(self, part: Part, i: int, s: Statistic, *, now: bool) -> list[tuple[Sequence[Sets], Flags, bool]]:
        """Return (populations per table, cells, whether those of the same question count) of which a number is told."""
        if s.guard is Guard.HELD:
            asked, own = part.judged.among.get(i, (part.asked, part.own))
            return [(asked, own, now or bool(s.population))] if not s.population or i in part.judged.among else []
        inner = i in part.inner
        asked, own = part.inner.get(i, (part.asked, part.own))
        # numbers of people who say yes are populations of their own, which the snap rule keeps apart
        judged = s.without is not None if inner else not s.population
        told = [(asked, own, now or inner)] if judged else []
        if i in part.judged.told:
            told.append(([part.judged.speaks_of(i, asked[0])], part.judged.elsewhere(i), True))
        return told

    def _tables(self, asked: Sequence[Sets], s: Statistic) -> list[tuple[Occurrence, Sets]]:
        """Return who is in the cells, by table whose columns a statistic speaks of; a table that is stacked is one."""
        of = {x.dataset for x in s.sources if not x.counted}
        found: dict[str, tuple[Occurrence, list[Sets]]] = {}
        for o, sets in zip(self.memory.occurrences, asked, strict=False):
            if o.dataset in of:
                found.setdefault(o.dataset, (o, []))[1].append(sets)
        return [(o, together(sets)) for o, sets in found.values()]

    def _kept(self, part: Part) -> None:
        """Keep of which version of a table the numbers are, whatever population they are answered as."""
        for i, s in enumerate(self.statistics):
            if not self._judged(s):
                continue
            for asked, flags, _ in self._told(part, i, s, now=True):
                for o, sets in self._tables(asked, s):
                    shown = flags & part.judged.shown[i]
                    if (shown & ~told(self.memory, o, sets, shown)).any():
                        part.judged.shown[i][shown] = False
                        part.judged.failed.append((i, "audit-capacity"))

    def _judge(self, judged: Judged, i: int, s: Statistic, o: Occurrence, beside: Compared, flags: Flags) -> Steps:
        looked = Looked(beside.held, beside.sets, beside.alone, self.memory.approved(o))
        flags = flags & judged.shown[i]
        if not flags.any():
            return
        judges = yield from self.judges(o, s, beside)
        if len(judges) > MOST_SUPPOSED:
            judged.shown[i][flags] = False
            judged.failed.append((i, "audit-capacity"))
            return
        for judge in judges:
            failed = looked.failing(judge, flags & judged.shown[i], CLOSE * self.memory.k)
            if failed:
                judged.shown[i][list(failed)] = False
                judged.failed += [(i, rule) for rule in sorted(set(failed.values()))]

    def judges(self, o: Occurrence, s: Statistic, beside: Compared) -> Steps:
        """Return who judges a statistic beside what was told of a version of a table, by its arguments."""
        key = (o.index, s.guard, tuple(term.expr for term in s.terms), beside.theirs)
        if key not in self._judges:
            found: list[Judge] = []
            kin = beside.theirs is not None and beside.mine[0] == beside.theirs[0]
            roster = self.memory.lens(o).roster
            for numbers in (yield from self.arguments(o, s, beside.at)):
                found += [
                    Judge(s.guard, numbers, roster.people, roster.most, self.memory.effective, agree, kin)
                    for agree in self._agree(o, numbers, beside)
                ]
            self._judges[key] = found
        return self._judges[key]

    def _agree(self, o: Occurrence, numbers: Sequence[Numbers], beside: Compared) -> list[Agreement | None]:
        """Return what the columns may have held when the others were told; empty: nothing can have been told of these."""
        roster = self.memory.lens(o).roster
        columns = sorted(frozenset().union(*(x.columns for x in numbers)))
        found: list[Agreement] | None = None
        for column in columns:
            may_be = agreements(roster.vintages, beside.mine, beside.theirs, column, roster.size)
            found = list(different(may_be if found is None else [a & b for a in found for b in may_be]))
        if found is None:
            return [None]
        return [None if agree.same.all() else agree for agree in found]

    def arguments(self, o: Occurrence, s: Statistic, at: Items) -> Steps:
        """Return what the items hold: of all arguments together, or of one column after the other.

        INVARIANT: of a number per person who has several rows, and of rows that were made of one, the columns they are made of are
        judged, row by row.
        """
        several = self.made or (o.index in self.nested and self.memory.lens(o).roster.several)
        found: list[list[Numbers]] = []
        every: list[Numbers] = []
        for term in s.terms:
            if several:
                for source in sorted((x for x in term.value.sources if not x.counted), key=lambda x: x.column):
                    dtype = self.world.facts[source.dataset].column(source.column).dtype
                    if source.dataset != o.dataset:
                        continue
                    if dtype.is_numeric or dtype.is_temporal or dtype.kind == "Boolean":
                        found.append([(yield from self._column(o, source, at))])
                    else:
                        # of the elements of a list: what all of them come to
                        value, here = yield from self._items(o, term, at)
                        found.append([_numbers(value, here, None, None, 0, {source.column})])
            else:
                every.append((yield from self._argument(o, s, term, at)))
        return found if several else [every]

    def _argument(self, o: Occurrence, s: Statistic, term: Term, at: Items) -> Steps:
        effective, plain = self.memory.effective, term.value.plain
        if s.guard is Guard.HELD:
            plain = None
        value, here = yield from self._items(o, plain if plain is not None and plain.dataset == o.dataset else term, at)
        least = least_apart(term, effective, self.world, self.private)
        high = term.value.high
        if not declared(term.value, self.world):
            high = None
        elif high is None:
            # of a number made of a column with a bound that everybody knows: nobody who is at that bound has more
            high = float(np.nanmax(value, initial=-np.inf))
        columns = {x.column for x in term.value.sources if not x.counted and x.dataset == o.dataset}
        return _numbers(value, here, term.value.low, high, least, columns)

    def _column(self, o: Occurrence, source: Source, at: Items) -> Steps:
        value, here = yield from self._items(o, source, at)
        role = self.world.role(source)
        boolean = self.world.facts[source.dataset].column(source.column).dtype.kind == "Boolean"
        low, high = (0.0, 1.0) if boolean else (role.lower, role.upper)
        least = least_differing(source, self.memory.effective, self.world, self.private)
        return _numbers(value, here, low, high, least, {source.column})

    def _items(self, o: Occurrence, of: Term | Source, at: Items) -> Steps:
        key = (o.index, of.expr if isinstance(of, Term) else of)
        if key not in self._known:
            self._known[key] = yield from self.values(o, of)
        number, seen = self._known[key]
        lens = self.memory.lens(o)
        size = lens.roster.size
        in_order = lens.in_order if at is lens.items else bool((at == np.arange(at.size, dtype=at.dtype)).all())
        if at.size == number.size == size and in_order:
            return number, seen
        value, here = np.full(size, np.nan), np.zeros(size, bool)
        value[at], here[at] = number, seen
        return value, here


def _numbers(
    value: Floats, here: Flags, low: float | None, high: float | None, least: int, columns: Collection[str] = ()
) -> Numbers:
    """Return what items hold, with the bounds that there are. least: as in `Numbers`."""
    if low is None:
        low = float(np.nanmin(value, initial=np.inf))
    two = _two(value) if least else None
    if two is not None and two[0] == two[1]:
        # a count: what everybody has tells nothing of those in between
        least = 0
    return Numbers(value, here, low if np.isfinite(low) else 0.0, high, two, least, frozenset(columns))


def _two(value: Floats) -> tuple[float, float] | None:
    """Return the least and the largest of values of which there are no more than those; None: there are, or none."""
    known = value[~np.isnan(value)]
    ends = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    some = known[:MOST_AMID]
    if not known.size or ((some != ends[0]) & (some != ends[1])).any():
        return None
    return ends if bool(((known == ends[0]) | (known == ends[1])).all()) else None
