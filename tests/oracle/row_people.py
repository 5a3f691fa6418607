"""People with several rows: what one of a person's rows holds may tell of the others (docs/guard.md, *People*).

Every measure and every sensitive column counts as one number per person, of which their rows are copies, unless its owner
declares that it varies. Populations of such a column are compared by who is in, and how often: a person stands as the first of
their rows, as many times as they have rows in the population.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from bastion_policy.model import RoleKind
from row_audit import PEOPLE
from row_follows import classes_of, rank, worth
from row_frames import Form, Frame, Leaf
from row_model import COUNTING, SUMMED, Choice, Limits, Number, Rows, Told, Vector, flat
from row_rounding import Rounded

#: numbers of rows, and of missing values: which rows there are, and which values are missing, is public
OF_ROWS = tuple(name for name in COUNTING if "n_unique" not in name)
#: rows apart, as a multiple of k, below which two overlapping populations are judged by those in whom they differ
OVERLAPPING = 32


class People(Rounded):
    """What was told of columns of people with several rows, and what may be told besides."""

    def alike(self, dataset: str, column: str) -> bool:
        """Whether a person's rows count as copies of one number."""
        role = self.datasets[dataset].facts.column(column).role
        return dataset in self.several and role.kind in (RoleKind.MEASURE, RoleKind.SENSITIVE) and not role.varies

    def persons(self, dataset: str, rows: Rows) -> Rows:
        """The people of some rows, as the first of their rows, each as often as they have rows."""
        found: Rows = Counter()
        for row, times in rows.items():
            found[self.first(dataset, row)] += times
        return found

    def numbers(self, frame: Frame, leaf: Leaf, rows: Iterable[int]) -> list[Number]:
        """The columns that a statistic tells of and that are one number per person; with the rows in which they have a value."""
        if leaf.function in OF_ROWS:
            return []
        sources = {s for a in leaf.args if a.lineage.form is not Form.NULLS for s in a.lineage.sources}
        found: dict[tuple[str, str], Rows] = {(d, c): Counter() for _, d, c in sources if self.alike(d, c)}
        for i in rows if found else ():
            for occurrence, row in frame.rows[i].origin:
                for d, c in found:
                    if (occurrence, d, c) in sources and self.datasets[d].rows[row][c] is not None:
                        found[d, c][row] += 1
        return [(d, c, base) for (d, c), base in sorted(found.items()) if base]

    def weighed_alike(self, frame: Frame, leaf: Leaf, rows: Iterable[int]) -> bool:
        """Whether everybody has equally many rows with a value, where means of each person's rows are added up.

        Else rows of a column that varies have weights of their own (docs/guard.md, *People*).
        """
        averaged = [a.lineage for a in leaf.parts or leaf.args if a.lineage.averaged and leaf.function in SUMMED]
        for occurrence, d, c in {s for lineage in averaged for s in lineage.sources}:
            role = self.datasets[d].facts.column(c).role
            if d not in self.several or not role.secret or not role.varies:
                continue
            times: Counter[int] = Counter()
            for i in rows:
                for o, row in frame.rows[i].origin:
                    if o == occurrence and self.datasets[d].rows[row][c] is not None:
                        times[self.first(d, row)] += 1
            if len(set(times.values())) > 1:
                return False
        return True

    def _told_of(self, dataset: str, column: str) -> Iterator[Rows]:
        """The rows of which a column was told; the whole table counts as told from the start."""
        table = self.datasets[dataset].rows
        yield Counter(i for i, row in enumerate(table) if row[column] is not None)
        yield from self.numbered.get((dataset, column), ())

    def few_differ(self, number: Number, told: Rows, limits: Limits) -> bool:
        """Whether fewer than k people are in one population and not, or not as often, in the other; the same may be."""
        dataset, _, rows = number
        one, two = self.persons(dataset, rows), self.persons(dataset, told)
        return 0 < len({p for p, _ in one.items() ^ two.items()}) < limits.k

    def others_told(self, frame: Frame, leaf: Leaf, rows: Sequence[int], limits: Limits) -> bool:
        """Whether a statistic of some rows may stand beside what was told of its columns: rule `same-people`."""
        if not limits.history:
            return True
        return all(
            not self.few_differ(number, told, limits) and self._sound_beside(leaf, number, told, limits)
            for number in self.numbers(frame, leaf, rows)
            for told in self._told_of(number[0], number[1])
        )

    def _sound_beside(self, leaf: Leaf, number: Number, told: Rows, limits: Limits) -> bool:
        """Whether what two populations differ in is of k people at least, and of nobody in the main, person by person.

        Of the very same people in other rows it is what changed. Of others those count who are in more often in one of them.
        """
        (arg, *more), (dataset, column, rows) = leaf.args, number
        if more or leaf.function not in SUMMED or arg.lineage.form is not Form.COLUMN or arg.lineage.each:
            return True
        values = [row[column] for row in self.datasets[dataset].rows]
        observed = [x for x in values if x is not None]
        if told == rows or not self._numbers(observed) or all(isinstance(x, bool) for x in observed):
            return True
        apart = {r for r, _ in rows.items() ^ told.items()}
        nested = not (rows - told) or not (told - rows)
        if not nested and len(apart) >= OVERLAPPING * limits.k:
            return True
        one, two = self.persons(dataset, rows), self.persons(dataset, told)
        differ = {p for p, _ in one.items() ^ two.items()}
        role = self.datasets[dataset].facts.column(column).role
        low = min(observed) if role.lower is None else role.lower
        sides = [lambda x: x - low, lambda x: x] + ([lambda x: role.upper - x] if role.upper is not None else [])
        for side in sides:
            added: dict[int, float] = {}
            for population, sign in ((rows, 1), (told, -1)):
                for row, times in population.items():
                    person = self.first(dataset, row)
                    if person in differ or not differ:
                        added[person] = added.get(person, 0.0) + sign * times * side(values[row])
            parts = sorted((abs(x) for x in added.values()), reverse=True)
            if not parts or not parts[0]:
                continue  # nothing changed
            if not differ and sum(x > 1e-9 * parts[0] for x in parts) < limits.k:
                return False
            if not self._spread(parts, limits):
                return False
        return True

    def unknown_people(self, told: Told, vectors: Iterable[Vector]) -> list[Vector]:
        """The same sums with one unknown per person: of a column, or of a function of one, all that they are about."""
        columns = frozenset(c for a in told.leaf.args for c in a.lineage.columns)
        if len(told.leaf.args) != 1 or not columns or not all(self.alike(d, c) for d, c in columns):
            return []
        numbers = self.numbers(told.frame, told.leaf, told.full)
        people = {(d, p): times for d, _, rows in numbers for p, times in self.persons(d, rows).items()}
        # how many say yes is the sum of a function of the column
        of_yes = (columns, told.leaf.call.args[0])
        return [((of_yes if system == "ones" else system, PEOPLE), people) for system, _ in vectors]

    def of_people(self, choice: Choice) -> list[Vector]:
        """The rows that a number adds to the audit of its columns: one unknown per person, whatever is told of it."""
        return [
            ((frozenset({(d, c)}), PEOPLE), {(d, p): times for p, times in self.persons(d, rows).items()})
            for part in flat([choice])
            for d, c, rows in part.numbers
        ]

    def _within_budget(self, frame: Frame, choice: Choice, limits: Limits) -> bool:
        return super()._within_budget(frame, choice, limits) and all(
            self._people_within_budget(number, limits) for part in flat([choice]) for number in part.numbers
        )

    def _people_within_budget(self, number: Number, limits: Limits) -> bool:
        """Whether one more number of a column is within the share of its atoms, of people."""
        if limits.budget is None:
            return True
        dataset, column, rows = number
        known = [self.persons(dataset, told) for told in (*self._told_of(dataset, column), rows)]
        among = sorted(self.persons(dataset, self.whole(dataset)))
        classes = classes_of(known, among)
        most = sum(worth(len(people), limits.k, limits.budget) for people in classes.values())
        return rank([[key[i] for key in classes] for i in range(len(known))]) <= limits.budget * most
