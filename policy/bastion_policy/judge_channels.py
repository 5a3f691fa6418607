"""The names of the channels of a history: of what populations were told, and how they are compared."""

from __future__ import annotations

import hashlib

from bastion_policy.lineage import Source

#: the channel of what an owner released although the audit would not have cleared it
APPROVED = "~approved"
#: the channel of those whom an owner showed: single rows, what was picked of them, and cells of too few people
SHOWN = "~shown"
#: the channel of those of whom something of a column of a version was shown, as its "plan" says: see `judge_approved.Kind`
SHOWN_OF = "~shown of"
#: the channel of those among whom somebody was picked whom nobody can name: the first, the one with the largest value
PICKED = "~picked"
#: the channel, without populations, that stands where an owner released anything
RELEASED = "~released"
#: begins the channels of those of whom an owner released a number of a column, of which nobody can tell what of whom is in it
BLURRED = "~blurred "
#: the channel of populations of which numbers of a column of a version were told, as its "plan" says, where there are several or copies
OF_COLUMN = "~of"
#: the channel of those of which any number may have been told before there were several versions
BEFORE = "~before"
#: begins the channels in which a row is the same whatever has become of its content: what did not change is the same unknown
FIRST = "^"
#: begins the channels of what was told of one version of one table, of rows as they were first, where there are several; alone:
#: of nobody knows which
OF_VINTAGE = "@"
#: begin the channels of columns of people with several rows: all of them; the rows that stand for those that were told, as good as
#: each other; those that were told, partition by partition; and the people, with weights
OF_PEOPLE, PEOPLE, ROWS_TOLD, WEIGHED = "=", "=p ", "=r ", "=* "


def plan_of(dataset: str, version: int, *what: str) -> bytes:
    """Return what stands in place of a plan in a channel that is kept by columns: which ones, of which version of a table."""
    return hashlib.sha256("\0".join([dataset, str(version), *what]).encode()).digest()[:12]


def channel_of(sources: frozenset[Source]) -> str:
    """Return the name of the channel of some source columns, the same in all tables of the people."""
    return "+".join(sorted({s.column for s in sources}))


def vintage(name: str) -> tuple[str, int] | None:
    """Return which version of which table a channel is of."""
    dataset, _, version = name.removeprefix(OF_VINTAGE).rpartition(" ")
    return (dataset, int(version)) if dataset else None
