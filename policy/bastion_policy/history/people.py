"""Populations of rows as those whose rows they are, where people have several rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bastion_policy.history.roster import Roster
from bastion_policy.history.sets import Ints, Sets


def by_people(roster: Roster, rows: Sets) -> tuple[Sets, list[Ints]]:
    """Return populations of rows as those of people, and per cell how many rows each of its people has in it."""
    owner = roster.people
    people = int(owner.max(initial=-1)) + 1
    cells, items = rows.memberships
    code, counts = np.unique(cells * people + owner[items], return_counts=True)
    bounds = np.searchsorted(code // max(people, 1), np.arange(1, rows.count))
    return Sets.of(rows.count, code // max(people, 1), code % max(people, 1), people), np.split(counts, bounds)


def ranked(roster: Roster, people: Sets, often: Sequence[Ints]) -> Sets:
    """Return populations with the first rows of their people instead of the rows that are in them, as many of each.

    Two populations with the same people, each as often, are the same then, whichever of their rows are in.
    """
    cells, persons = people.memberships
    counts = np.concatenate([np.zeros(0, np.int64), *often]).astype(np.int64)
    order, start = roster.of_people
    turn = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return Sets.of(people.count, np.repeat(cells, counts), order[np.repeat(start[persons], counts) + turn], roster.size)


def classes(people: Sets, often: Sequence[Ints]) -> Sets:
    """Return, as populations, the people of each cell that are in it equally often.

    INVARIANT: a sum with these weights is made of the sums of the classes, so what those do not tell it does not tell.
    """
    cells, persons = people.memberships
    kept = [often[cell] for cell in np.flatnonzero(people.sizes).tolist()]
    counts = np.concatenate([np.zeros(0, np.int64), *kept]).astype(np.int64)
    code, at = np.unique(cells * (int(counts.max(initial=0)) + 1) + counts, return_inverse=True)
    return Sets.of(code.size, at, persons, people.place.size if people.place is not None else 0)


def even(often: Sequence[Ints]) -> bool:
    """Whether in every cell all people are equally often."""
    return all(not counts.size or bool((counts == counts[0]).all()) for counts in often)
