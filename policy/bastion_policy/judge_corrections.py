"""What follows from numbers of a column and of its copies: other versions, other tables, a raw column and the corrected one.

**Versions and tables.** A sum of a group before and one after a person's value was corrected differ by what was corrected, and so do
the sums of its halves afterwards, or of a larger group less the rest. So what was told of a column, version by version, is audited
together with what is asked: one unknown per row for what it holds now, and one more for each other value that it held; where it held
none, none. No combination may give what fewer than k people held.

**Other columns** that hold the same in most rows (a raw one and the corrected one, one under two names): who was told of one is not
told of the other.

**What is kept.** Who is in the numbers of which column of which version, where there are several versions or copies. Before there were,
nobody kept of which columns numbers were told: all of them may have been. No combination of those alone is a difference of versions.

**What is supposed.** Values are told apart by 16 bits of a hash (`numbering.Marks`). Of versions of which only is kept what has changed
since, and of columns that may say the same in other words, first all is supposed to be the same, then all that has changed another.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from bastion_policy.audit import AuditRules, AuditState, Row
from bastion_policy.boundary import Guard, Statistic
from bastion_policy.flow_strict import secret
from bastion_policy.guard_cells import Flags
from bastion_policy.history import SAME, Sets
from bastion_policy.history.numbering import MISSING
from bastion_policy.history.sets import Ints, Items
from bastion_policy.history.vintages import Copy
from bastion_policy.judge_approved import Kind
from bastion_policy.judge_channels import APPROVED, BEFORE, OF_COLUMN, SHOWN_OF, plan_of
from bastion_policy.lineage import Occurrence, World

if TYPE_CHECKING:
    from bastion_policy.judge_history import Memory

#: numbers that are audited together; where more have rows in common, what is new beside them is not told
MOST_TOGETHER = 512
#: ways in which the columns of a formula may be called in another version that are looked at; beyond it nothing is told of it
MOST_COPIES = 64
#: the columns of a number, in a version of a table: (table id, version, columns)
Told = tuple[str, int, tuple[str, ...]]
#: what a number was told of: the unknown of each row (see `_unknown`), and the rows
_Number = tuple[Ints, Items]


def is_taken(memory: Memory, o: Occurrence, column: str, beside: Collection[str] = ()) -> bool:
    """Whether numbers were told of another column, here or in another table, that holds what this one does in most rows.

    beside: columns that are told of in the very same number.

    INVARIANT: of two such columns an audience is told of one alone. What is told of either is about those in whom they differ, and
    nobody compares who has a value in the one with who has one in the other, nor the rows that a person has.
    """
    lens = memory.lens(o)
    mine = (lens.dataset, lens.version)
    if not memory.snaps:
        return False
    copies = lens.roster.copies(mine, column)
    if any(copy.of == mine and copy.column in beside for copy in copies) or _unmarked_taken(memory, o, column):
        return True
    for copy in copies:
        if _is_it(memory, o, copy, column):
            continue
        # of a column with a copy in its own version it was kept from the start what was told of it
        kept = any(other.of == copy.of for other in lens.roster.copies(copy.of, copy.column))
        names = [(OF_COLUMN, plan_of(*copy.of, copy.column)), *([] if kept else [(BEFORE, plan_of(*copy.of, ""))])]
        names += [(SHOWN_OF, plan_of(*copy.of, copy.column, kind)) for kind in Kind]
        if any(key in memory.channel(o, name).plans for name, key in names):
            return True
    return False


def _unmarked_taken(memory: Memory, o: Occurrence, column: str) -> bool:
    """Whether a column that nobody can compare with others, of more than are told apart, and another one would both be told of.

    INVARIANT: what is not known is no licence: any two columns may hold the same, if one of them has no marks.
    """
    lens = memory.lens(o)
    marks, told = lens.roster.vintages[lens.dataset, lens.version].marks, set(memory.channel(o, OF_COLUMN).plans)
    without = [name for name, mark in marks.items() if not mark.size]
    others = marks.keys() if column in without else without
    return any(plan_of(lens.dataset, lens.version, name) in told for name in others if name != column)


def _is_it(memory: Memory, o: Occurrence, copy: Copy, column: str) -> bool:
    """Whether a copy is the column itself in another version or table: of the same name, or of a former one.

    INVARIANT: what is compared by name (who has a value, and whose row it is) is not compared of a column that was renamed: only
    where everybody has one, in one row, there is nothing to compare.
    """
    lens = memory.lens(o)
    if (
        copy.column == column
        or copy.of[0] != lens.dataset
        or copy.column in lens.roster.vintages[lens.dataset, lens.version].marks
    ):
        return copy.column == column
    here, there = (
        _marks(memory, o, (*of, (name,)))
        for of, name in (((lens.dataset, lens.version), column), (copy.of, copy.column))
    )
    return not lens.roster.several and not (here == MISSING).any() and not (there == MISSING).any()


def cleared(
    memory: Memory, o: Occurrence, sets: Sets, flags: Flags, columns: Sequence[str], secrets: Collection[str]
) -> Flags:
    """Return the populations of which a number may be told, after what was told of it in other versions and tables.

    columns: that it is made of, in order: of a formula of several a value changes where any of theirs does. secrets: of these, those
    that are secret.

    INVARIANT: of numbers of one column, told of several versions or tables, no combination is about fewer than k people.
    """
    lens = memory.lens(o)
    mine: Told = (lens.dataset, lens.version, tuple(columns))
    if not memory.snaps or not flags.any():
        return flags
    others = _versions(memory, o, columns, secrets)
    if others is None:
        return flags & False
    rows = {told: list(_populations(memory, o, told)) for told in (mine, *others)}
    first, ok = memory.as_first(o, sets).where(flags), flags.copy()
    for number in range(max((len(each) for other in others.values() for each in other), default=0)):
        differ = {
            told: np.asarray(np.logical_or.reduce([each[min(number, len(each) - 1)] for each in other]))
            for told, other in others.items()
            if rows[told]
        }
        if any(other.any() for other in differ.values()):
            differ = {mine: np.zeros(lens.roster.size, bool), **differ}
            unknown, whose = _unknown(memory, o, differ)
            told = [(unknown[told], items) for told in differ for items in rows[told]]
            ok &= _audited(memory, o, first, ok, told, unknown[mine], whose)
    return ok


def _versions(
    memory: Memory, o: Occurrence, columns: Sequence[str], secrets: Collection[str]
) -> dict[Told, list[list[Flags]]] | None:
    """Return what columns are in other versions and tables; and of each of them in which rows it holds another value.

    Of each as many times as there are ways to suppose what nobody knows. None: there are too many.

    INVARIANT: of a secret column only what is the column itself (another copy is `is_taken`); of the known columns of a formula
    whatever may be it in another version, for with a corrected one in its place the formula tells of the secret column. (Of two
    known columns of one version each is an equation of its own, for the linear audit.)
    """
    lens = memory.lens(o)
    found: dict[tuple[str, int], dict[str, dict[str, list[Flags]]]] = {}
    for column in columns:
        for copy in lens.roster.copies((lens.dataset, lens.version), column):
            known = column not in secrets and copy.of != (lens.dataset, lens.version)
            if known or _is_it(memory, o, copy, column):
                called = found.setdefault(copy.of, {}).setdefault(column, {})
                called.setdefault(copy.column, []).append(copy.agreement.other)
    versions: dict[Told, list[list[Flags]]] = {}
    for of, names in found.items():
        of_each: list[list[tuple[str, list[Flags]]]] = [
            list(names[column].items()) if column in names else [(column, [])] for column in columns
        ]
        if math.prod(map(len, of_each)) > MOST_COPIES:
            return None
        for some in product(*of_each):
            told: Told = (*of, tuple(name for name, _ in some))
            versions[told] = [others for _, others in some if others]
    return versions


def _audited(
    memory: Memory, o: Occurrence, asked: Sets, flags: Flags, told: list[_Number], mine: Ints, whose: Items
) -> Flags:
    """Return the flagged populations that are cleared. told: numbers. mine: what each row holds now. whose: see `_unknown`."""
    roster = memory.lens(o).roster
    cells, found = np.flatnonzero(flags & (asked.sizes > 0)), flags.copy()
    new, few = _new(asked, cells, told, mine, roster.people, memory.k)
    found[few] = False
    among, there = _touching(asked, new, told, roster.size)
    if not any((unknown != mine)[there].any() for unknown, _ in among):
        # nothing has changed in whatever they have in common with others
        return found
    # the largest first, so that what is refused is small
    new = new[np.argsort(-asked.sizes[new], kind="stable")]
    known = [unknown[items] for unknown, items in among]
    wanted = [mine[asked.members(int(cell))] for cell in new]
    people = np.concatenate([roster.people, roster.people[whose]])
    left = _bound_together([*known, *wanted], people, memory.k)
    known = [row for row, bound in zip(known, left, strict=False) if bound]
    new = new[left[len(among) :]]
    wanted = [row for row, bound in zip(wanted, left[len(among) :], strict=True) if bound]
    if len(known) + len(wanted) > MOST_TOGETHER:
        found[new] = False
        return found
    if not wanted:
        return found
    # the unknowns of these rows alone, numbered anew
    every = np.unique(np.concatenate([*known, *wanted]))
    every = every[every >= 0]
    owner = people[every]
    audit, most, k = memory.effective.linear_audit, int(np.bincount(owner).max(initial=1)), max(2, memory.k)
    # INVARIANT (tier bound): a support of more than (k - 1) * most unknowns is of at least k people
    rules = AuditRules((k - 1) * most + 1, pairs=audit is not None and audit.pairs, share=None, people=k)
    state = replace(AuditState.start(every.size, rules, memory.history.draw(32)), owner=owner).knowing(
        [_row(every, row) for row in known]
    )
    if state is None:
        found[new] = False
        return found
    released = state.releasable([_row(every, row) for row in wanted])
    found[new[list(released.refused)]] = False
    return found


def _bound_together(rows: list[Ints], people: Ints, k: int) -> Flags:
    """Return the numbers that may take part in a combination about fewer than k people. people: whose each unknown is.

    INVARIANT: a number with unknowns of k people that are in no other one takes part in none: they would stay in it.
    """
    often = np.zeros(people.size + 1, np.int64)
    for row in rows:
        often[row] += 1
    left = np.ones(len(rows), bool)
    while True:
        alone = [i for i in np.flatnonzero(left) if _people_alone(rows[i], often, people) >= k]
        if not alone:
            return left
        for i in alone:
            left[i] = False
            often[rows[i]] -= 1


def _people_alone(row: Ints, often: Ints, people: Ints) -> int:
    mine = row[(row >= 0) & (often[row] == 1)]
    return int(np.unique(people[mine]).size)


def _new(asked: Sets, cells: Ints, told: list[_Number], mine: Ints, people: Ints, k: int) -> tuple[Ints, list[int]]:
    """Return the cells that tell something new, and those in which fewer than k people hold another value than when they were told."""
    numbers: dict[bytes, list[Ints]] = {}
    for unknown, items in told:
        numbers.setdefault(hashlib.sha256(items.tobytes()).digest(), []).append(unknown)
    new, few = [], []
    for cell in cells.tolist():
        items = asked.members(cell)
        same = numbers.get(hashlib.sha256(items.tobytes()).digest(), [])
        differing = [np.unique(people[items[unknown[items] != mine[items]]]).size for unknown in same]
        if 0 in differing:
            continue
        if any(0 < d < k for d in differing):
            few.append(cell)
        else:
            new.append(cell)
    return np.array(new, np.int64), few


def _touching(asked: Sets, cells: Ints, told: list[_Number], size: int) -> tuple[list[_Number], Flags]:
    """Return the numbers that have rows in common with cells, or with others that do; and the rows of all of them."""
    there = np.zeros(size, bool)
    for cell in cells.tolist():
        there[asked.members(cell)] = True
    among: list[_Number] = []
    left = told
    while True:
        touching = [bool(there[items].any()) for _, items in left]
        if not any(touching):
            return among, there
        for number, touches in zip(left, touching, strict=True):
            if touches:
                among.append(number)
                there[number[1]] = True
        left = [number for number, touches in zip(left, touching, strict=True) if not touches]


def _row(every: Ints, unknowns: Ints) -> Row:
    return Row.of(np.searchsorted(every, np.sort(unknowns[unknowns >= 0])))


def _unknown(memory: Memory, o: Occurrence, others: dict[Told, Flags]) -> tuple[dict[Told, Ints], Items]:
    """Return, by copy, the unknown that each row holds in it, -1: no value; and of all unknowns but what rows hold now, the row.

    Equal values of a row are one unknown.
    """
    roster = memory.lens(o).roster
    marks = {told: _marks(memory, o, told) for told in others}
    at = {told: np.flatnonzero(other) for told, other in others.items()}
    codes = []
    for number, (told, rows) in enumerate(at.items()):
        code = marks[told][rows]
        codes.append((rows << 32) + np.where(code < 0, (1 << 31) + number, code))
    values, number_of = np.unique(np.concatenate(codes), return_inverse=True)
    found, start = {}, 0
    for told, rows in at.items():
        unknown = np.arange(roster.size, dtype=np.int64)
        unknown[rows] = roster.size + number_of[start : start + rows.size]
        unknown[marks[told] == MISSING] = -1
        start += rows.size
        found[told] = unknown
    return found, (values >> 32).astype(np.int32)


def _marks(memory: Memory, o: Occurrence, told: Told) -> Ints:
    """Return what each row, as it was first, held in the columns of a number; MISSING: in one nothing; -1: nobody knows."""
    roster = memory.lens(o).roster
    found, vintage = np.zeros(roster.size, np.int64), roster.vintages[told[:2]]
    missing, unknown = np.zeros(roster.size, bool), np.ones(roster.size, bool)
    unknown[vintage.items] = False
    for column in told[2]:
        marks = vintage.marks.get(column)
        if marks is None or not marks.size:
            unknown[:] = True
            continue
        found[vintage.items] = (found[vintage.items] * 65_599 + marks) & 0x7FFF_FFFF
        missing[vintage.items[marks == MISSING]] = True
    found[missing] = MISSING
    found[unknown] = -1
    return found


# ---- what was told of which column of which version --------------------------------------------------------------------


def tell(memory: Memory, o: Occurrence, sets: Sets, flags: Flags, columns: Sequence[str]) -> Flags:
    """Keep that numbers of columns are told of populations; returns those there was room for."""
    lens = memory.lens(o)
    several = len(lens.roster.vintages) > 1
    if not memory.snaps or not flags.any():
        return flags
    marks = lens.roster.vintages[lens.dataset, lens.version].marks
    if (
        not several
        and all(mark.size for mark in marks.values())
        and not any(lens.roster.copies((lens.dataset, lens.version), column) for column in columns)
    ):
        return flags
    begin(memory, o)
    key = plan_of(lens.dataset, lens.version, *columns)
    held, first = memory.channel(o, OF_COLUMN), memory.as_first(o, sets).where(flags)
    mine = held.asked_by({key})
    new = flags & (first.sizes > 0) & (mine.distances(first, 1, 1, lens.roster.unit).state != SAME)
    if new.any() and not held.room(first.where(new)):
        memory.beyond = True
        return np.asarray(flags & ~new)
    if new.any():
        memory.put(o, OF_COLUMN, held.released(first.where(new), key))
    return flags


def tell_approved(memory: Memory, s: Statistic, asked: Sequence[Sets], world: World) -> None:
    """Keep what an owner released of a statistic, whatever follows: a sum, or a mean, tells like one that passed."""
    if s.function not in ("sum", "mean") or s.guard not in (Guard.SUM, Guard.HELD):
        return
    for o, sets in zip(memory.occurrences, asked, strict=True):
        of = {x for x in s.sources if x.occurrence == o.index and not x.counted}
        for column in sorted(x.column for x in of if secret(frozenset({x}), world)):
            tell(memory, o, sets, sets.sizes > 0, (column,))


def begin(memory: Memory, o: Occurrence) -> None:
    """Set apart what was told before there were several versions, of nobody knows which columns."""
    past = memory.history.before[memory.history.domains[o.dataset]]
    roster = memory.lens(o).roster
    if len(roster.vintages) < 2 or BEFORE in memory.history.pasts[memory.history.domains[o.dataset]].channels:
        return
    held = memory.channel(o, BEFORE)
    versions = {(dataset, version) for dataset, version, _ in past.wholes}
    for then in (past.channel(name, roster.size) for name in ("", APPROVED)):
        for part in range(then.parts.shape[0]):
            first = memory.as_first(o, then.populations(part))
            for dataset, version in versions:
                held = held.released(first, plan_of(dataset, version, ""))
    memory.put(o, BEFORE, held)


def _populations(memory: Memory, o: Occurrence, told: Told) -> Iterator[Items]:
    """Yield who is in the numbers that were told of a column of a version, or may have been before there were several."""
    for name, key in ((OF_COLUMN, plan_of(*told[:2], *told[2])), (BEFORE, plan_of(*told[:2], ""))):
        held = memory.channel(o, name).asked_by({key})
        for part in range(held.parts.shape[0]):
            every = held.populations(part)
            yield from (every.members(int(cell)) for cell in np.flatnonzero(every.sizes))
