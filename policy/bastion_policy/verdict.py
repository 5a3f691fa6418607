"""Decisions as data: what the judge says, statically and after measuring."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec
from bastion_plan.nodes import Node

from bastion_policy.private.budget import Budget


class Outcome(StrEnum):
    """What happens to a query."""

    RELEASE = "release"  # as it is, or with its unsafe cells merged or taken out (Suppress, safe part)
    REVIEW = "review"  # the owner decides
    REFUSE = "refuse"  # never, under this policy


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One reason. Made of public facts only: safe to show to the scientist unless `private` is set.

    rule: stable code ("row-level", "hidden-column", "min-agg-size", "dominance", "unknown-function", …).
    reason: one sentence, why. fix: one sentence, what would pass. columns: source columns concerned.
    private: for owner and audit only (cells and counts).
    """

    rule: str
    reason: str
    fix: str = ""
    columns: tuple[str, ...] = ()
    private: bool = False


class StaticVerdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The verdict before data is touched; the same on client and server.

    RELEASE means: released automatically as far as measured rules allow. summary: one plain sentence.
    """

    outcome: Outcome
    summary: str
    findings: tuple[Finding, ...] = ()
    columns: tuple[str, ...] = ()  # source columns used, "dataset.column"


class ReleaseNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What comes with a released table and may be shown.

    suppressed: number of cells taken out, None where the policy does not let it be told.
    merged: number of rows answered with a stored population or folded into the remainder row.
    again: how many of these show the numbers of a stored population (the whole table is one), None where it is not told.
        The very same people and nearly the same count alike.
    noisy: noise was added. cost: the epsilon that this answer was charged, 0 where it is one given before. budget: what is
    left of the budgets concerned.
    """

    findings: tuple[Finding, ...] = ()
    suppressed: int | None = None
    merged: int = 0
    again: int | None = None
    partial: bool = False
    approved: bool = False
    logged_unsafe: bool = False
    notes: tuple[str, ...] = ()
    noisy: bool = False
    cost: float = 0.0
    budget: tuple[Budget, ...] = ()


@dataclass(frozen=True)
class Measure:
    """A step of the judge: run `plan` beside the data.

    The result is kept in the worker as table `keep` (a later plan reads it by Scan(keep); names start with '#').
    returns: the columns that come back to the judge (guard columns; never released values); None: all.
    tables: further tables of the judge's own, by '#name': column name -> values.
    """

    plan: Node
    keep: str
    returns: tuple[str, ...] | None = ()
    tables: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)


#: what a Measure step gives back: column name -> values. Numeric columns without nulls come as numpy arrays, others as
#: lists; "__height" -> int is always there.
Measured = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """The verdict after measuring.

    release: the plan whose result may leave (reads the judge's '#' tables), None where nothing may leave.
    safe_part: the plan of what may leave now although the whole needs review; None if there is none.
    safe_cells, total_cells: n of m, for the offer (0, 0 where they may not be told).
    note: goes with a release (of `release`, or of `safe_part` when that is run).
    findings: why not, public and private.
    facts: for audit and exposure (units, smallest cell, columns, statistics), owner's eyes only.
    populations: history entries of this release, to be stored by the server (canonical plans of the populations).
    """

    outcome: Outcome
    findings: tuple[Finding, ...] = ()
    release: Node | None = None
    safe_part: Node | None = None
    safe_cells: int = 0
    total_cells: int = 0
    note: ReleaseNote = field(default_factory=ReleaseNote)
    facts: dict[str, Any] = field(default_factory=dict)
    populations: tuple[bytes, ...] = ()


#: The judge is a generator: it yields Measure steps, is sent what they returned, and returns the Verdict. It touches no
#: engine, so any engine can drive it.
Judgement = Generator[Measure, Measured, Verdict]
