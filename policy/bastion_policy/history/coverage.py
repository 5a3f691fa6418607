"""How much of a table the populations that were released to one audience cover, for its owner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bastion_policy.audit import checks, distinct
from bastion_policy.history import Lens
from bastion_policy.history.past import Channel, Past
from bastion_policy.history.roster import Roster
from bastion_policy.history.sets import Sets


@dataclass(frozen=True, slots=True)
class Coverage:
    """Figures of one history.

    share: of the units of one version of a table, those who are in some released population besides a whole table (0 to 1).
    rank: independent released numbers of people, at most (exactly once the audit is needed). limit: the highest rank that
    may be released; None without an audit, or while all atoms are large and nothing needs auditing.
    """

    share: float
    rank: int
    limit: float | None = None


def coverage(past: Past, roster: Roster, dataset: str, version: int) -> Coverage | None:
    """Return the figures of a history, None where the version is not on the roster (nothing was asked of it yet)."""
    items = roster.versions.get((dataset, version))
    if items is None:
        return None
    channel = past.channel("", roster.size)
    released: npt.NDArray[np.bool_] = np.any(channel.parts[_narrower(channel, roster)] >= 0, axis=0)
    told = released[channel.labels[items]]
    # a person counts once, with any row in a released population
    unit = roster.unit[items]
    everybody = distinct(unit).size
    share = distinct(unit[told]).size / everybody if everybody else 0.0
    audit = channel.audit
    if audit is None:
        cells = int((channel.parts.max(axis=1) + 1).sum()) if channel.parts.size else 0
        return Coverage(share, min(cells, int((channel.sizes > 0).sum())))
    rules = audit.rules
    limit = checks.budget(audit.atoms.sizes, rules.k, rules.share) if rules.share is not None else None
    return Coverage(share, audit.rank, limit)


def covered(lens: Lens, told: Sets) -> float:
    """Return the share of the units of a table who are in some of the populations that are looked at."""
    items = lens.roster.versions[lens.dataset, lens.version]
    if told.disjoint and (lens.roster.most == 1 or int(told.sizes.sum()) == items.size):
        # everybody's only row, or all rows
        return min(1.0, int(told.sizes.sum()) / items.size) if items.size else 0.0
    inside, people = told.covered(lens.roster.size), lens.roster.people
    if not lens.in_order:
        inside, people = inside[items], people[items]
    mine = people[: items.size][inside[: items.size]]
    there = np.zeros(int(mine.max(initial=-1)) + 1, bool)
    there[mine] = True
    everybody = lens.roster.people_of(lens.dataset, lens.version)
    return np.count_nonzero(there) / everybody if everybody else 0.0


def _narrower(channel: Channel, roster: Roster) -> list[int]:
    """Return the stored partitions that are not one whole table: these count as released from the start."""
    found = []
    for number, row in enumerate(channel.parts):
        inside = row >= 0
        size = int(channel.sizes[inside].sum())
        tables = (items for items in roster.versions.values() if items.size == size)
        if row.max() > 0 or not any(inside[channel.labels[items]].all() for items in tables):
            found.append(number)
    return found
