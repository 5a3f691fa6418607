"""What was released before, per unit domain and audience: the snap rule and the linear audit of what is asked now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bastion_policy.history.columns import Columns
from bastion_policy.history.numbering import numbering_plan
from bastion_policy.history.past import FAR, FULL, NEAR, SAME, Channel, Distances, Past, audited
from bastion_policy.history.roster import Roster
from bastion_policy.history.sets import Sets

__all__ = [
    "FAR",
    "FULL",
    "NEAR",
    "SAME",
    "Channel",
    "Columns",
    "Distances",
    "History",
    "Lens",
    "Past",
    "Roster",
    "Sets",
    "audited",
    "cleared",
    "failures",
    "numbering_plan",
]


#: items from which a history counts as large
LARGE = 10_000
#: queries of an audience that may fail, in all and within a day, before those that may are for the owner: an error tells one bit to
#: who asks once, and more to who asks many that do not fail before it
MOST_FAILED, MOST_A_DAY = 8, 2
DAY = 24  #: hours
#: begins what is kept of them among the edges
_FAILED, PLAN = b"failed ", 12  # bytes of a plan's hash


@dataclass(eq=False)
class Lens:
    """One table's view of its domain's history."""

    roster: Roster
    dataset: str
    version: int

    def __post_init__(self) -> None:
        self.items = self.roster.versions[self.dataset, self.version]
        self.most = self.roster.most

    @property
    def in_order(self) -> bool:
        """Whether each row has its own number."""
        return self.roster.in_order(self.dataset, self.version)

    @property
    def everybody(self) -> Sets:
        """All rows of the table as one population."""
        if self.in_order and self.items.size == self.roster.size:
            return Sets.everybody(self.roster.size)
        return Sets.one(self.items, self.roster.size)

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """Per item as it was first, its row in this version; -1: it has none."""
        if self.in_order and self.items.size == self.roster.size and not self.roster.changed:
            return np.arange(self.items.size)
        rows = np.full(self.roster.size, -1, np.int64)
        rows[self.roster.first[self.items]] = np.arange(self.items.size)
        return rows


@dataclass(eq=False)
class History:
    """What one query may know of what was released before to the audience that asks, and what it adds to that.

    Without arguments: nothing is remembered (every query stands alone; tests of single rules).

    lenses: by dataset id. domains: the unit domain of each dataset. pasts: by unit domain. draw: secret random bytes. numbers:
    of the pasts, as their keeper counts them. columns: numbers that earlier questions measured. hour: it is now, since 1970.
    """

    lenses: Mapping[str, Lens] = field(default_factory=dict)
    domains: Mapping[str, str] = field(default_factory=dict)
    pasts: dict[str, Past] = field(default_factory=dict)
    draw: Callable[[int], bytes] = bytes
    numbers: dict[str, int] = field(default_factory=dict)
    columns: Columns = field(default_factory=Columns)
    hour: int = 0

    def __post_init__(self) -> None:
        self.before = dict(self.pasts)

    @property
    def large(self) -> bool:
        """Whether judging against it may take longer than a few milliseconds: an audit, or many people."""
        channels = (channel for past in self.pasts.values() for channel in past.channels.values())
        return any(c.audit is not None or c.labels.size > LARGE for c in channels)

    @property
    def changes(self) -> dict[str, Past]:
        """The pasts that this query changes, by unit domain."""
        return {domain: past for domain, past in self.pasts.items() if past is not self.before.get(domain)}

    def failed(self, plan: bytes) -> None:
        """Forget what the query would have added, but for thresholds, and count it as one: whether it fails tells as much.

        The same plan counts once.
        """
        self.pasts = {
            domain: self.before[domain] if past.edges == self.before[domain].edges
            else replace(self.before[domain], edges=past.edges)
            for domain, past in self.pasts.items()
        }  # fmt: skip
        mark, now = _FAILED + plan, self.hour.to_bytes(4)
        for domain, past in self.pasts.items():
            if len(_failures(past)) < MOST_FAILED and not any(edge.startswith(mark) for edge in past.edges):
                self.pasts[domain] = replace(past, edges=(*past.edges, mark + now))

    @property
    def failed_often(self) -> bool:
        """Whether so many queries have failed, in all or lately, that none may run that could."""
        counts = (failures(past, self.hour) for past in self.pasts.values())
        return any(found >= MOST_FAILED or lately >= MOST_A_DAY for found, lately in counts)


def failures(past: Past, hour: int) -> tuple[int, int]:
    """Return how many queries failed that count, in all and within a day. hour: it is now, since 1970."""
    found = _failures(past)
    # those of before hours were noted are long ago
    timed = [int.from_bytes(edge[-4:]) for edge in found if len(edge) == len(_FAILED) + PLAN + 4]
    return len(found), sum(hour - then < DAY for then in timed)


def cleared(past: Past) -> Past:
    """Return the past with no failure counted any more; what else lay at a threshold stays."""
    return replace(past, edges=tuple(edge for edge in past.edges if not edge.startswith(_FAILED)))


def _failures(past: Past) -> list[bytes]:
    return [edge for edge in past.edges if edge.startswith(_FAILED)]
