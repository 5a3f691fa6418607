"""Who is in a population, and as which populations it may be answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bastion_plan.bind import BoundPlan
from bastion_plan.nodes import scans
from bastion_policy.model import Rounding
from row_audit import PEOPLE, Systems
from row_frames import Dataset, Foreign, Frame, Reader, Reading
from row_model import Choice, Limits, Rows


class Populations:
    """People, rows and populations of the owner's tables, and what was told of them."""

    def __init__(
        self, datasets: Mapping[str, Dataset], requester: str, foreign: Foreign | None = None, *, history: bool = True
    ) -> None:
        self.datasets, self.requester, self.foreign, self.remembers = datasets, requester, foreign, history
        self.stored: dict[str, list[Rows]] = {name: [] for name in datasets}
        #: cells whose keys were shown
        self.answered: dict[str, list[Rows]] = {name: [] for name in datasets}
        self.unions: dict[str, list[Rows]] = {name: [] for name in datasets}
        #: by column of people with several rows, the rows of which it was told
        self.numbered: dict[tuple[str, str], list[Rows]] = {}
        units = {name: [d.unit(i) for i in range(len(d.rows))] for name, d in datasets.items()}
        #: the first row of each row's person
        self.firsts = {name: [found.index(unit) for unit in found] for name, found in units.items()}
        #: tables of several rows of one
        self.several = {name for name, found in self.firsts.items() if found != list(range(len(found)))}
        audits = {name: d.facts.effective(requester).linear_audit for name, d in datasets.items()}
        pairs = frozenset(name for name, audit in audits.items() if audit is not None and audit.pairs)
        caps = {name: audit.tau for name, audit in audits.items() if audit is not None and audit.tau is not None}
        self.systems = Systems(units, self._from_the_start, pairs, caps)
        #: the same, in which a sum tells of its population as a count does: columns without missing values have one history
        self.histories = Systems(units, self._from_the_start, pairs, caps)
        #: reserved tables that are in the history, and their cells that are told of from the start
        self.kept: dict[tuple[str, tuple[str, ...]], list[Rows]] = {}
        #: the frames and keys that were asked for
        self.asked: list[tuple[Any, ...]] = []

    def read(self, bound: BoundPlan) -> Reading:
        """Evaluate a plan without releasing anything; raises Unknown where the oracle has no definition."""
        found = [self.datasets[d].facts.effective(self.requester) for d in scans(bound.root)]
        strict, rounds = any(e.profile == "strict" for e in found), any(e.rounding is not None for e in found)
        self.reader = Reader(self.datasets, bound, self._window, self.foreign, strict=strict, rounds=rounds)
        return self.reader.read(bound.root)

    def limits(self, frame: Frame) -> Limits:
        found = [self.datasets[d].facts.effective(self.requester) for d in set(frame.occurrences.values())]
        rounds = [e.rounding for e in found if e.rounding is not None]
        return Limits(
            k=max(e.k for e in found),
            p=max((e.p for e in found if e.p is not None), default=None),
            shares=tuple(s for e in found for s in e.shares),
            differing=max((e.homogeneity.min_differing for e in found if e.homogeneity), default=0),
            of_all=any(e.homogeneity is not None and e.homogeneity.columns == "all" for e in found),
            audited=self.remembers and any(e.linear_audit is not None for e in found),
            history=self.remembers and any("history" not in e.weakened for e in found),
            budget=min(
                (e.saturation.share for e in found if self.remembers and e.saturation is not None), default=None
            ),
            closed=any(e.zone in ("closed", "private") for e in found),
            strict=any(e.profile == "strict" for e in found),
            rounding=Rounding(max(r.base for r in rounds), min(r.digits for r in rounds)) if rounds else None,
        )

    def base(self, frame: Frame, rows: Iterable[int]) -> dict[str, Rows]:
        """How often each row of each dataset is in a population."""
        found: dict[str, Rows] = {d: Counter() for d in frame.occurrences.values()}
        for i in rows:
            for occurrence, row in frame.rows[i].origin:
                found[frame.occurrences[occurrence]][row] += 1
        return found

    def _each(self, frame: Frame, rows: Iterable[int]) -> list[tuple[str, Rows]]:
        """The rows that each of several scan occurrences brings."""
        rows = list(rows)
        return [
            (d, Counter(row for i in rows for o, row in frame.rows[i].origin if o == occurrence))
            for occurrence, d in frame.occurrences.items()
            if len(frame.occurrences) > 1
        ]

    def units(self, dataset: str, rows: Iterable[int]) -> int:
        return len({self.datasets[dataset].unit(r) for r in rows})

    def people(self, frame: Frame, rows: Iterable[int], datasets: Iterable[str] = ()) -> int:
        """The fewest units that one of the scan occurrences brings (of those that bring any)."""
        by: dict[int, set[Any]] = {}
        for i in rows:
            for occurrence, row in frame.rows[i].origin:
                dataset = frame.occurrences[occurrence]
                if not datasets or dataset in datasets:
                    by.setdefault(occurrence, set()).add(self.datasets[dataset].unit(row))
        return min((len(u) for u in by.values()), default=0)

    def everybody(self, frame: Frame, rows: Iterable[int]) -> int:
        """The fewest units of one dataset, over all its occurrences."""
        return min((self.units(d, base) for d, base in self.base(frame, rows).items() if base), default=0)

    def apart(self, dataset: str, one: Rows, two: Rows) -> int:
        """Number of units whose rows differ."""
        return self.units(dataset, {r for r, _ in one.items() ^ two.items()})

    def whole(self, dataset: str, times: int = 1) -> Rows:
        return Counter(dict.fromkeys(range(len(self.datasets[dataset].rows)), times))

    def first(self, dataset: str, row: int) -> int:
        """The first row of a row's person."""
        return self.firsts[dataset][row]

    def _from_the_start(self, system: Any, dataset: str) -> Mapping[int, int]:
        """The rows of a table that count as told of: those with a value in the columns of a system."""
        of_people = isinstance(system, tuple) and system[-1] == PEOPLE
        while isinstance(system, tuple):
            system = system[0]
        columns = [c for d, c in system if d == dataset] if isinstance(system, frozenset) else []
        rows = self.datasets[dataset].rows
        known = [i for i, row in enumerate(rows) if all(row[c] is not None for c in columns)]
        return Counter(self.first(dataset, i) if of_people else i for i in known)

    def reserve(self, frame: Frame, limits: Limits) -> None:
        """Enter the reserved tables: their cells of enough people count as told from the start, as far as the audit lets them.

        (docs/policies.md, `reserved`.) Where it does not let all, any may stand for what lies near, as what was asked for may.
        """
        for dataset in sorted(set(frame.occurrences.values())) if limits.history else ():
            facts, rows = self.datasets[dataset].facts, self.datasets[dataset].rows
            for keys in facts.policy.reserved:
                if (dataset, keys) in self.kept:
                    continue
                cells: dict[tuple[Any, ...], Rows] = {}
                for i, row in enumerate(rows):
                    cells.setdefault(tuple(row[c] for c in keys), Counter())[i] = 1
                told = [self.whole(dataset), *self.stored[dataset]]
                far = [
                    base
                    for base in cells.values()
                    if self.units(dataset, base) >= limits.k
                    and not any(0 < self.apart(dataset, base, s) < limits.k for s in told)
                ]
                trial = self.histories.copy()
                ones = [Choice(None, "own", vectors=[("ones", {(dataset, i): 1 for i in base})]) for base in far]
                # of an earlier table that is in it in part it is not known what this one stands beside
                whole = all(found for (d, _), found in self.kept.items() if d == dataset)
                if not limits.audited or (whole and all(trial.could([one], limits.k) for one in ones)):
                    self.kept[dataset, keys], self.histories = far, trial
                    self.stored[dataset] += [base for base in far if base not in self.stored[dataset]]
                else:
                    # which of them are left out is not said
                    self.kept[dataset, keys] = []
                    self.unions[dataset] += far

    def target(self, frame: Frame, rows: Sequence[int], limits: Limits, peers: Sequence[Sequence[int]]) -> list[Any]:
        """As which populations a population may be answered: "own", "nobody", or positions of a stored one's rows."""
        if self.people(frame, rows) < limits.k:
            return ["nobody"]
        own, found = True, []
        for dataset, base in self.base(frame, rows).items():
            times = sum(d == dataset for d in frame.occurrences.values())
            near = [self.whole(dataset, t) for t in range(1, times + 1)]
            if not limits.history and len(set(frame.occurrences.values())) > 1:
                near = [self.base(frame, range(len(frame.rows)))[dataset]]
            near += self.stored[dataset] if limits.history else []
            for s in near:
                # rows that a join repeats are compared as if each were in once
                plain = [Counter(dict.fromkeys(x, 1)) if limits.history and times == 1 else x for x in (base, s)]
                distance = self.apart(dataset, *plain)
                if distance == 0:
                    continue
                if distance < limits.k:
                    own = False
                    positions = self.rows_for(frame, dataset, s)
                    if positions is not None:
                        found.append(positions)
            parts = [rows for d, rows in self._each(frame, rows) if d == dataset]
            if len(parts) > 1 and all(self.apart(dataset, part, self.whole(dataset)) < limits.k for part in parts):
                # every part leaves out a few people only: each is the whole table
                found.append(self.rows_for(frame, dataset, self.whole(dataset, times)) or [])
            for s in self.unions[dataset] if limits.history else []:
                # what an answer told of in all was not told of by itself: it may stand for what lies near
                if 0 < self.apart(dataset, base, s) < limits.k and (positions := self.rows_for(frame, dataset, s)):
                    found.append(positions)
        for peer in peers:
            base, other = self.base(frame, rows), self.base(frame, peer)
            if any(0 < self.apart(d, base[d], other[d]) < limits.k for d in base):
                found.append(list(peer))
        return (["own"] if own else []) + found

    def rows_for(self, frame: Frame, dataset: str, wanted: Rows) -> list[int] | None:
        """Positions (ghosts included) that make up a population of the dataset, if the frame has them."""
        occurrences = [o for o, d in frame.occurrences.items() if d == dataset]
        if len(occurrences) != 1:
            return self._several(frame, dataset, wanted)
        left, found = Counter(wanted), []
        candidates = sorted(range(len(frame.rows)), key=lambda i: (-len(frame.rows[i].origin), not frame.rows[i].alive))
        for i in candidates:
            mine = Counter(r for o, r in frame.rows[i].origin if o == occurrences[0])
            if mine and all(left[r] >= c for r, c in mine.items()):
                left -= mine
                found.append(i)
        return None if +left else sorted(found)

    def _several(self, frame: Frame, dataset: str, wanted: Rows) -> list[int] | None:
        left, found = Counter(wanted), []
        for i in sorted(range(len(frame.rows)), key=lambda i: not frame.rows[i].alive):
            mine = Counter(r for o, r in frame.rows[i].origin if frame.occurrences[o] == dataset)
            if mine and all(left[r] >= c for r, c in mine.items()):
                left -= mine
                found.append(i)
        return None if +left else sorted(found)

    def _leaves_few(self, frame: Frame, rows: Sequence[int], limits: Limits) -> bool:
        """Whether what a condition leaves out is about fewer than k units of one of several scan occurrences.

        Then the cell may be told instead: every occurrence is counted by itself.
        """
        each = [
            self.units(d, (row for i in rows for o, row in frame.rows[i].origin if o == occurrence))
            for occurrence, d in frame.occurrences.items()
        ]
        return len(each) > 1 and min(each) < limits.k

    def _by_unit_rows(self, dataset: str, rows: Rows) -> list[int]:
        """How many rows each unit has."""
        found: Counter[Any] = Counter()
        for row, times in rows.items():
            found[self.datasets[dataset].unit(row)] += times
        return list(found.values()) or [1]

    def _told_apart(self, frame: Frame, rows: Sequence[int], before: Mapping[str, Sequence[Rows]]) -> bool:
        """Whether the people of one of several tables are the very same as in an earlier answer to another question.

        The very same and nearly the same read alike, and of several tables there is no one population that could be told.
        """
        return any(base in before.get(d, ()) for d, base in self.base(frame, rows).items())
