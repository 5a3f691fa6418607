"""Of which people an answered number may be: the populations that a world has stored, as masks over the rows of its table.

They are only proposals. A harness takes one for the population of a number when the number is that population's own in the
data, so a history that stored the wrong people would show as numbers that nothing explains.
"""

from __future__ import annotations

import numpy as np
from drive import World
from harness_algebra import Mask


def stored_populations(
    world: World, after: int = 0, table: str = "t", requester: str = "alice"
) -> tuple[list[Mask], int]:
    """Return the populations stored from partition `after` on, and the number of partitions now.

    Those of columns with missing values, a few, are returned each time.
    """
    facts = world.facts[table]
    domain, audience = facts.audience(requester)
    past = world.pasts.get((domain, audience))
    if past is None:
        return [], 0
    items = world.rosters[domain].versions[(table, facts.version)]
    found, count = [], 0
    for name, channel in past.channels.items():
        labels = channel.grown(world.rosters[domain].size).labels[items]
        for part in range(0 if name else after, channel.parts.shape[0]):
            cells = np.append(channel.parts[part], -1)[np.minimum(labels, channel.parts.shape[1])]
            found += [cells == c for c in range(int(cells.max()) + 1) if (cells == c).any()]
        count = count if name else int(channel.parts.shape[0])
    return found, count


def nearest(masks: list[Mask], to: Mask) -> list[Mask]:
    """Return the masks, those that differ least from one first."""
    return sorted(masks, key=lambda mask: int(np.count_nonzero(mask ^ to)))
