"""A slow, independent judge: what the guard's promise allows of an answer, decided from contributors row by row.

It shares no code with the product's judge. A released table is *explained*: every value must be the statistic of a
population that may be released as itself, of a stored population that lies nearby, or of nobody. What has no
explanation is a finding. The populations that explain an answer enter the oracle's own history.

Where the promise leaves room the oracle decides for the data subjects:

- k and the shares are the strictest of all tables of a plan; every scan occurrence must bring k units or none.
- dominance holds for the deviations from the lower and from the declared upper bound, and for numbers of rows.
- a sensitive Boolean column is summed under dominance and homogeneity; a condition, and a Boolean column that could be one,
  needs k true and k false ones, else it is the condition of nobody or of everybody.
- a mean counts as the sum in the audit, a variance as the sum and the sum of squares.
- abs, date parts and text length are allowed of plain columns only, not of shifted ones.
- n_unique of anything but units needs k units per value.
- a covariance is of 10 k units, and is the correlation to two decimals times the standard deviations, to two digits.
- a measure is no key, an identifier no key of the scientist's own table.
- of two populations in one answer that lie within k units, at most one may be shown as itself.
- without a history, the whole of a joined table is all of the join: only a history knows what the table alone would tell.
- with a history, what is hidden is protected when its margin is asked for; without one, the cells that an answer leaves out
  must come to k units at once.
- where the audit lets a population not pass, one made of whole atoms may be told of instead: those inside it, those that
  touch it, or all but few of them. It is audited as any other.
- what an answer told of in all, and a cell whose key was shown, may stand for a population near it, as a stored one may.
- which values are missing is public, as the default profile says.
- whole tables are told of from the start, in the audit of every column.
- what lies between a population and one told of before passes the rules about values by itself, whatever that one was asked for.
- a measure or sensitive column of people with several rows, unless it varies, is one number per person: of populations that
  differ in fewer than k people one is told; of the very same people k have changed, or none; and the audit has one unknown
  per person, of whom there are as many as they have rows. What a condition picks is such a population.
- a number of a person that one of their rows may give is not added up where people have several rows.
- a sum of sums by person is seen from the bounds of each person's rows, and a filled sum from those who have a value alone.
- who meets a condition in a population that stands for a cell is a population like any other.
- of explanations that read the same those count that stand beside each other; sums of one column also by who has a value.
- of rows that a join repeats, what is told is of those that are in it equally often, as far as there is a history.
- an order statistic is of a column as it is stored, or of one number per person; a changed column would move the grid.

What is counted as allowed is less, where docs/guard.md withholds more: a sum tells of its population as a count does (columns
without missing values have one history), and so does whatever else was answered; a combination counts as one of k people where
it has a class of so many, or more rows than k - 1 people can have (the page of `policy/bastion_policy/audit`); of several tables a cell stands by itself or not at all, the very people of an
earlier answer included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bastion_plan.expressions import Call
from bastion_plan.nodes import GroupBy, Scan
from row_frames import Behind, Boundary, Reading
from row_model import OTHER, SUMMED, Choice, Explained, Finding, Limits, Rows, countable, flat, occurs
from row_statistics import selected
from row_tied import Tied


class Oracle(Tied):
    """Judges the answers to one audience, one after another."""

    def explain(self, boundary: Boundary, table: list[dict[str, Any]]) -> Explained:
        """Explain a released table (empty: nothing was released), and remember it."""
        limits = self.limits(boundary.frame)
        self.reserve(boundary.frame, limits)
        odd = any(leaf.cautious or leaf.forbidden for leaf in boundary.leaves.values())
        found = Explained(promised=not (boundary.cautious or odd))
        if boundary.tied:
            self._tied(boundary, table, limits, found)
            return found
        scenarios = [self._scenario(boundary, table, limits, split) for split in self._splits(boundary, table)]
        best = min(scenarios, key=lambda s: len(s[0]))
        before = {d: [self.whole(d), *rows] for d, rows in self.stored.items()}
        cells_of = getattr(boundary.node, "input", None), getattr(boundary.node, "keys", ())
        found.findings += best[0]
        found.findings += self._not_kept(boundary, table, limits)
        chosen: list[Choice] = self._cleared(boundary, best[1], limits)
        found.values = sum(1 for row in table for name, _ in boundary.outputs if row[name] is not None)
        self._near(boundary.frame, chosen, limits, found)
        self._remember(boundary, table, best[2], chosen, limits, found)
        if found.promised:
            self._count(boundary, table, best[2], limits, found, {} if cells_of in self.asked else before)
        self.asked.append(cells_of)
        return found

    def _not_kept(self, boundary: Boundary, table: list[dict[str, Any]], limits: Limits) -> list[Finding]:
        """Cells of a reserved table that are not answered, where none of its cells is too small."""
        node, frame = boundary.node, boundary.frame
        counts = len(boundary.outputs) == 1 and isinstance(e := boundary.outputs[0][1], Call) and e.function == "pl.len"
        if not isinstance(node, GroupBy) or not isinstance(node.input, Scan) or not counts or limits.closed:
            return []
        kept, told = self.kept.get((node.input.dataset, boundary.keys), []), set[Any]()
        for key, rows in boundary.cells.items():
            if self.base(frame, rows)[node.input.dataset] in kept:
                told |= {key} if self._outputs(boundary, boundary.outputs[0][1], rows, limits) else set()
        answered = {tuple(row[k] for k in boundary.keys) for row in table}
        missing = told - answered if len(told) == len(boundary.cells) else ()
        return [Finding("reserved", f"{key} is not answered") for key in missing]

    def _splits(self, boundary: Boundary, table: list[dict[str, Any]]) -> list[dict[int, tuple[Any, ...] | None]]:
        """Ways to read the rows of a table: key by position, None for the remainder row."""
        if not boundary.keys:
            return [dict.fromkeys(range(len(table)), ())]
        keys = [tuple(row[k] for k in boundary.keys) for row in table]
        unclear = [i for i, key in enumerate(keys) if all(x is None or x == OTHER for x in key)]
        plain: dict[int, tuple[Any, ...] | None] = {i: key for i, key in enumerate(keys) if i not in unclear}
        found = [plain | {i: keys[i] for i in unclear if i != rest} | {rest: None} for rest in unclear]
        return [*found, plain | {i: keys[i] for i in unclear}]

    def _scenario(
        self, boundary: Boundary, table: list[dict[str, Any]], limits: Limits, split: dict[int, tuple[Any, ...] | None]
    ) -> tuple[list[Finding], list[Choice], dict[int, tuple[Any, ...] | None]]:
        findings: list[Finding] = []
        chosen: list[Choice] = []
        shown = {key for key in split.values() if key is not None}
        if len(shown) < sum(key is not None for key in split.values()):
            findings.append(Finding("rows", "a key is shown twice"))
        rest = [i for key, rows in boundary.cells.items() if key not in shown for i in rows]
        later: list[tuple[Sequence[int], dict[str, Any], list[Finding], list[Choice]]] = []
        for at, key in split.items():
            if key is not None and key not in boundary.cells and boundary.keys:
                findings.append(Finding("key", f"{key} is nobody's key"))
                continue
            cell = rest if key is None else boundary.cells.get(key, [])
            values = {name: table[at][name] for name, _ in boundary.outputs}
            if boundary.keys and self.target(boundary.frame, cell, limits, ()) == ["nobody"]:
                n = self.people(boundary.frame, cell)
                findings.append(Finding("key of few", f"{key}: {n} units", values, leak=True))
                continue
            if boundary.keys and (boundary.forbidden or limits.closed):
                reasons = tuple(sorted(boundary.forbidden)) or ("closed",)
                findings.append(Finding("forbidden", str(key), values, reasons, leak=True))
                continue
            odd: list[Finding] = []
            fine: list[Choice] = []
            for number, (name, expr) in enumerate(boundary.outputs):
                if values[name] is None:
                    continue
                found = self._match(boundary, expr, cell, limits, values[name])
                if isinstance(found, Finding):
                    found.where = f"{key if key is not None else OTHER}.{name}"
                    odd.append(found)
                elif found is not None:
                    found.output = number
                    fine.append(found)
            if odd:
                later.append((cell, values, odd, fine))
            else:
                chosen += fine
        if boundary.keys and shown:
            covered = {i for c in flat(chosen) if c.kind == "stored" for i in c.population}
            for key in shown:
                found = self.target(boundary.frame, boundary.cells.get(key, []), limits, ())
                covered |= {i for t in found if not isinstance(t, str) and "own" not in found for i in t}
            left = [i for i in rest if i not in covered] if None not in split.values() else []
            n = self.everybody(boundary.frame, left)
            if (
                0 < n < limits.k
                and not self.remembers
                and "own" in self.target(boundary.frame, boundary.frame.alive, limits, ())
            ):
                findings.append(Finding("hidden rest", f"{n} units in {len(set(boundary.cells) - shown)} cells"))
        for cell, values, odd, fine in later:
            instead = self._of_atoms(boundary, cell, limits, values, chosen)
            chosen += fine if instead is None else instead
            findings += odd if instead is None else []
        return findings, chosen, split

    def _count(
        self, boundary: Boundary, table: list[dict[str, Any]], split: dict[int, tuple[Any, ...] | None],
        limits: Limits, found: Explained, before: Mapping[str, Sequence[Rows]],
    ) -> None:  # fmt: skip
        """Count the values that the oracle allows, and how many of them are in the answer.

        before: what was told of before the question.
        """
        shown, merged = self.release(boundary)
        away = {name: self._away(boundary, expr, shown, merged, limits) for name, expr in boundary.outputs}
        at = {key: i for i, key in split.items()}
        trial = self.histories.copy()
        several = len(boundary.frame.occurrences) > 1

        def entered(choice: Choice) -> Choice:
            more = self._ones(boundary.frame, choice.population), *self.of_people(choice)
            return replace(choice, vectors=[*choice.vectors, *more])

        for key, outputs in shown.items():
            # what is inside a cell is told with it: of several tables a cell stands by itself or not at all
            if several and (
                "own" not in self.target(boundary.frame, boundary.cells[key], limits, ())
                or (limits.history and self._told_apart(boundary.frame, boundary.cells[key], before))
            ):
                continue
            for (name, expr), options in zip(boundary.outputs, outputs, strict=True):
                cautious = any(boundary.leaves[c].cautious for c in boundary.leaves if occurs(c, expr))
                kinds = ("own",) if several else ("own", "stored")
                if cautious or key in away.get(name, ()) or not any(countable(o, kinds) for o in options or ()):
                    continue
                inside = [leaf for c, leaf in boundary.leaves.items() if occurs(c, expr)]
                cell = boundary.cells[key]
                if not all(
                    self._settled(boundary, leaf, selected(leaf, cell), limits)
                    for leaf in inside
                    if leaf.conditions or leaf.function in SUMMED
                ):
                    continue
                found.allowed += 1
                if key in at and table[at[key]][name] is not None:
                    found.shown += 1
                elif None in at and key not in at and table[at[None]][name] is not None:
                    found.merged += 1
                elif (limits.audited and not trial.could(map(entered, options or []), limits.k)) or not any(
                    self._within_budget(boundary.frame, o, limits) for o in options or ()
                ):
                    found.allowed -= 1
                else:
                    words = [f"{x.function} of {'/'.join(a.lineage.form.name for a in x.args)}" for x in inside]
                    where = " of a condition" if any(x.conditions for x in inside) else ""
                    found.hidden.append((" and ".join(words) + where, f"{key}.{name}"))


def judged(reading: Reading) -> Boundary | None:
    """The boundary whose cells leave, None for a plan of single rows."""
    if isinstance(reading, Behind):
        return reading.inner
    return reading if isinstance(reading, Boundary) else None


__all__ = ["Explained", "Finding", "Oracle", "judged"]
