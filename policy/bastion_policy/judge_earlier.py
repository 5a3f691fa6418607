"""Answers a question of a new version as a population of an earlier one, of which nobody is gone.

After a refresh rows hold something else, so populations are compared as rows were first (`judge_channels.FIRST`). One that differs
in fewer than k people from one that was released is answered as that one: its people, as they are in this version.

**Why this may be told.** It is what the earlier question, asked again word for word, is answered with where it chooses the same people,
and takes the same way: the people of the stored population, in their rows of this version, are compared with what an owner approved,
audited as new unknowns among what this version told and as the same unknowns among what all did (they are in that audit already),
kept with this version, judged by the rules about values, and compared with what was told of other versions: a number of which fewer
than k people's values have changed is withheld (`judge_corrections`). Whoever is in the population that was asked for, but not in
the stored one, adds nothing to the answer.

INVARIANT: the very same people and nearly the same read alike. What is looked at here, and what is entered, is the stored population
alone: whether it is whole, cleared and answered does not depend on who was asked for. It is kept without a plan, so that no
later question finds it to be its own.

INVARIANT: it is answered whole or not at all: where one of its people is gone, what is left would be a difference.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bastion_policy.history import NEAR, SAME, Sets
from bastion_policy.history.sets import Items, packs
from bastion_policy.judge_channels import FIRST

if TYPE_CHECKING:
    from bastion_policy.judge_history import Memory
    from bastion_policy.judge_snap import Standing

#: populations that one boundary may be answered as, besides its own
MOST_SNAPPED = 256


def as_earlier(memory: Memory, standing: Standing, channel: str = "") -> Standing:
    """Enter the populations of earlier versions that cells may be answered as; returns what the snap rule says then.

    What cannot be answered so stays withheld.
    """
    cells = np.flatnonzero(standing.earlier[0] >= 0)
    if not cells.size:
        return standing
    (o,) = memory.occurrences
    lens, held = memory.lens(o), memory.channel(o, FIRST + channel)
    places = {int(c): (int(standing.earlier[0, c]), int(standing.earlier[1, c])) for c in cells}
    here: dict[tuple[int, int], Items] = {}
    for place in dict.fromkeys(places.values()):
        rows = lens.rows[held.members(*place)]
        if (rows >= 0).all() and len(here) < MOST_SNAPPED:
            here[place] = np.sort(lens.items[rows])
    if not here:
        return standing
    numbers = np.repeat(np.arange(len(here)), [items.size for items in here.values()])
    stored = Sets.of(len(here), numbers, np.concatenate(list(here.values())), lens.roster.size)
    # as if the words that asked for them first did so again
    stands = memory.standing([stored], np.ones(len(here), bool), channel, whole=True).far
    cleared = stands & False
    for flags, some in packs(stored, stands):
        cleared |= memory.enter([some], stands & flags, channel)
    found = _found(memory, stored, channel)
    at = {place: found.get(number) for number, place in enumerate(here) if cleared[number]}
    near, part, number_of = standing.near.copy(), standing.part.copy(), standing.stored.copy()
    for cell, place in places.items():
        if (known := at.get(place)) is not None:
            near[cell], (part[cell], number_of[cell]) = True, known
    return replace(standing, near=near, blocked=standing.blocked & ~near, part=part, stored=number_of)


def _found(memory: Memory, stored: Sets, channel: str) -> dict[int, tuple[int, int]]:
    """Return where populations are in a channel: they, or, where few of their rows have changed, the same people's."""
    (o,) = memory.occurrences
    held, first = memory.channel(o, channel), memory.lens(o).roster.first
    most, unit = memory.scale(o, channel)
    found = held.distances(stored, memory.k, most, unit)
    places: dict[int, tuple[int, int]] = {}
    for number in np.flatnonzero(np.isin(found.state, (SAME, NEAR))).tolist():
        place = int(found.part[number]), int(found.stored[number])
        if np.array_equal(np.unique(first[held.members(*place)]), np.unique(first[stored.members(number)])):
            places[number] = place
    return places
