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
    """Return the populations stored from partition `after` on, and the number of partitions now."""
    facts = world.facts[table]
    domain, audience = facts.audience(requester)
    past = world.pasts.get((domain, audience))
    channel = past.channels.get("") if past is not None else None
    if channel is None:
        return [], 0
    items = world.rosters[domain].versions[(table, facts.version)]
    found = []
    for part in range(after, channel.parts.shape[0]):
        cells = channel.parts[part][channel.labels[items]]
        found += [cells == c for c in range(int(cells.max()) + 1) if (cells == c).any()]
    return found, int(channel.parts.shape[0])


def nearest(masks: list[Mask], to: Mask) -> list[Mask]:
    """Return the masks, those that differ least from one first."""
    return sorted(masks, key=lambda mask: int(np.count_nonzero(mask ^ to)))
