"""What is known of a released table besides its note: the smallest group, attestation, which empty cells the guard made.

All of it follows from public facts, the plan and the note, which the scientist has: nothing here is asked of the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from bastion_plan import nodes as n
from bastion_plan.bind import BoundPlan, bind
from bastion_plan.errors import BastionError
from bastion_plan.expressions import Ternary, children
from bastion_plan.nodes import Node
from bastion_policy.boundary import Boundary
from bastion_policy.facts import DatasetFacts
from bastion_policy.flow import merged_policy
from bastion_policy.flow_nodes import FlowTyping
from bastion_policy.lineage import Typed, World
from bastion_policy.verdict import ReleaseNote

#: what the guard writes into the text keys of the row that holds groups of too few people
REMAINDER = "(other)"
#: nodes above the last aggregation that neither make empty cells nor change them; those of _CUTS may leave rows out
_ORDERS = n.Sort | n.Reverse
_CUTS = n.Slice | n.TopK | n.Filter


@dataclass(frozen=True)
class Marks:
    """Which cells of a released table are the guard's doing; what each view of the table marks.

    withheld: columns in which an empty cell is one that was taken out. keys: columns of the group keys.
    others: whether a row without any key is the one of groups put together.
    """

    withheld: frozenset[str] = frozenset()
    keys: tuple[str, ...] = ()
    others: bool = False

    def remainder(self, row: Mapping[str, Any]) -> bool:
        """Whether a row holds groups of too few people, put together."""
        values = [row[key] for key in self.keys if key in row]
        if not values or len(values) < len(self.keys):
            return False
        if any(isinstance(v, str) for v in values):
            return all(v in (None, REMAINDER) for v in values) and REMAINDER in values
        return self.others and all(v is None for v in values)


@dataclass(frozen=True)
class ReleaseFacts:
    """What stands in a footer besides the note.

    smallest: the fewest people that a number may be about, None where no such number holds for all of the table (an open
    dataset, an approval, an answer with noise). attested: whether the server proved what it runs.
    """

    smallest: int | None = None
    attested: bool = False
    marks: Marks = field(default_factory=Marks)


def release_facts(
    frame: pl.DataFrame,
    note: ReleaseNote,
    plan: Node,
    facts: Mapping[str, DatasetFacts],
    identity: str,
    *,
    attested: bool,
) -> ReleaseFacts:
    """Return what is known of a table that was just released; what cannot be known is left out, never guessed."""
    if note.approved or note.logged_unsafe or note.noisy:
        return ReleaseFacts(None, attested)
    try:
        bound = bind(plan, facts)
        policy = merged_policy(bound, facts)
        if policy is None:
            return ReleaseFacts(None, attested)
        effective = policy.effective(identity)
        if effective.zone not in ("guarded", "closed"):
            return ReleaseFacts(None, attested)
        return ReleaseFacts(effective.k, attested, _marks(frame, note, bound, facts))
    except BastionError:  # the facts have become others meanwhile: then nothing is said
        return ReleaseFacts(None, attested)


def _marks(frame: pl.DataFrame, note: ReleaseNote, bound: BoundPlan, facts: Mapping[str, DatasetFacts]) -> Marks:
    typed, cut = _last_aggregation(FlowTyping(bound, World(facts)).root())
    if typed is None or not isinstance(typed.boundary, Boundary) or typed.boundary.window:
        return Marks()
    boundary = typed.boundary
    keys = tuple(name for name, *_ in boundary.keys if name in frame.columns)
    if len(keys) < len(boundary.keys):
        return Marks()
    withheld = _withheld(frame, note, boundary, cut=cut)
    if note.merged <= (note.again or 0):
        return Marks(withheld)  # no groups were put together: a text "(other)" is the data's own
    # people without a value are a group as well, and where keys are no text it looks the same
    others = note.again is not None and not cut and _rows_without_key(frame, keys) == 1
    return Marks(withheld, keys, others)


def _withheld(frame: pl.DataFrame, note: ReleaseNote, boundary: Boundary, *, cut: bool) -> frozenset[str]:
    """Return the columns whose empty cells are the guard's. Under a policy that does not tell how many, none are marked."""
    if note.suppressed is None:
        return frozenset()
    shown = {o.name: o for o in boundary.outputs if o.name in frame.columns}
    never = {name for name, o in shown.items() if o.findings}
    measured = [name for name, o in shown.items() if not o.findings and o.statistics]
    if any(_makes_nulls(shown[name].expr) for name in measured):
        measured = []
    empty = sum(frame[name].null_count() for name in measured)
    # an empty cell may also be what an expression gives: so only where the number of both is one and the same
    fits = 0 < empty <= note.suppressed if cut else 0 < empty == note.suppressed
    return frozenset(never | {name for name in measured if fits})


def _last_aggregation(typed: Typed) -> tuple[Typed | None, bool]:
    """Return the aggregation that the table's rows are of, and whether rows of it may have been left out since."""
    cut = False
    while not isinstance(typed.boundary, Boundary):
        if isinstance(typed.node, _CUTS):
            cut = True
        elif not isinstance(typed.node, _ORDERS):
            return None, cut
        if not typed.inputs:
            return None, cut
        typed = typed.inputs[0]
    return typed, cut


def _rows_without_key(frame: pl.DataFrame, keys: tuple[str, ...]) -> int:
    if not keys:
        return 0
    return frame.filter(pl.all_horizontal(pl.col(key).is_null() for key in keys)).height


def _makes_nulls(expr: Any) -> bool:
    """Whether an expression may give an empty cell by itself."""
    return isinstance(expr, Ternary) or any(_makes_nulls(below) for below in children(expr))
