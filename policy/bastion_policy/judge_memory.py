"""What one boundary may know of the history of its tables: channels, edges, what was asked before, and who is in a cell."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.dtypes import UINT8, UINT16, UINT32
from bastion_plan.expressions import Alias, AnyExpr, Cast, Column, Expr
from bastion_plan.nodes import AnyNode

from bastion_policy.audit import AuditRules
from bastion_policy.audit.rows import counted
from bastion_policy.boundary import call
from bastion_policy.guard_cells import INDEX, Floats, Indexes, Measurer, Steps
from bastion_policy.guard_codes import Codes
from bastion_policy.guard_plans import lenient
from bastion_policy.history import Channel, History, Lens, Sets
from bastion_policy.history.past import Hashes, Past
from bastion_policy.history.sets import Items
from bastion_policy.judge_channels import FIRST, WEIGHED
from bastion_policy.lineage import OWN, Occurrence
from bastion_policy.model import Effective

#: answers at a threshold that predicates on one measure may have: each tells at most one bit about one person's value to who
#: knows all others on that side of it
EDGE_BUDGET = 8
#: plans that are known to be answered as themselves
MOST_SETTLED = 4096


@dataclass
class MemoryBase:
    """The history of the tables whose rows a boundary counts: what is kept, and who is in a cell."""

    history: History
    occurrences: tuple[Occurrence, ...]
    effective: Effective

    def __post_init__(self) -> None:
        known = bool(self.occurrences) and bool(self.history.lenses)
        if known and not all(o.dataset in self.history.lenses for o in self.occurrences):
            # INVARIANT: one table without a history is no reason to forget that of the others
            msg = "a table of the query has no history"
            raise LookupError(msg)
        #: whether populations are compared at all
        self.snaps = known and "history" not in self.effective.weakened
        self.audits = known and self.effective.linear_audit is not None
        self.on = self.snaps or self.audits
        self.k = self.effective.k
        #: whether something was refused because the history could not hold it, not because of what it tells
        self.beyond = False
        #: whether who is asked about was chosen by what somebody may search for, so that it matters where a threshold lies
        self.searched = False
        #: by unit domain, what was stored before the question
        self.before: dict[str, Past] = dict(self.history.pasts)

    def lens(self, occurrence: Occurrence) -> Lens:
        """Return the view of the table that an occurrence scans."""
        return self.history.lenses[occurrence.dataset]

    def alone(self, occurrence: Occurrence) -> Self:
        """Return the memory of one of the tables."""
        return replace(self, occurrences=(occurrence,))

    @property
    def refusal(self) -> str:
        """The rule by which what is not cleared is refused."""
        return "audit-capacity" if self.beyond else "linear-audit"

    # -- what is asked again

    def _asked_again(self, plan: bytes) -> bytes:
        versions = [(o.dataset, self.lens(o).version) for o in self.occurrences]
        return hashlib.sha256(plan + repr((versions, self.effective)).encode()).digest()[:16]

    def settled(self, plan: bytes) -> bool:
        """Whether all of a plan was answered as itself before, on the same versions and under the same rules.

        INVARIANT: then every number of it was released, so nothing needs to be compared; this is known without data.
        """
        key = self._asked_again(plan) if self.on else b""
        return self.on and all(
            key in self.history.pasts[self.history.domains[o.dataset]].settled for o in self.occurrences
        )

    def settle(self, plan: bytes) -> None:
        """Remember that all of a plan is answered as itself."""
        for domain in {self.history.domains[o.dataset] for o in self.occurrences} if self.on else ():
            past = self.history.pasts[domain]
            if len(past.settled) < MOST_SETTLED:
                self.history.pasts[domain] = replace(past, settled=past.settled | {self._asked_again(plan)})

    # -- edges

    def exhausted(self, measures: Collection[str]) -> bool:
        """Whether predicates on a measure lay at thresholds too often: what they tell now is for the owner to decide."""
        if not self.snaps or not measures:
            return False
        pasts = [self.history.pasts[self.history.domains[o.dataset]] for o in self.occurrences]
        return any(_spent(past.edges, measure) >= EDGE_BUDGET for past in pasts for measure in measures)

    def edge(self, asked: Collection[bytes], before: Mapping[str, Past], measures: Collection[str]) -> bool:
        """Count what chose people by measures and lay at a threshold; returns whether that is too much for one query.

        asked: what tells such populations apart; the same one counts once, for each of the measures. before: the pasts before
        the query, to which all goes back where it is too much, but for what was counted.
        """
        over, marks = False, [_mark(measure) + a for a in dict.fromkeys(asked) for measure in measures]
        for domain in {self.history.domains[o.dataset] for o in self.occurrences} if self.snaps else ():
            past = self.history.pasts[domain]
            edges = (*past.edges, *(a for a in marks if a not in past.edges))
            over |= any(_spent(edges, m) > max(EDGE_BUDGET, _spent(past.edges, m)) for m in measures)
            self.history.pasts[domain] = replace(past, edges=edges)
        if over:
            counted = {domain: past.edges for domain, past in self.history.pasts.items()}
            self.history.pasts.update({d: replace(past, edges=counted[d]) for d, past in before.items()})
        return over

    # -- who is in a cell

    def columns(self, name: str, condition: Expr | None = None) -> dict[str, AnyExpr]:
        """Return the guard columns that list the rows of a cell (those that meet a condition), one per occurrence."""
        if not self.on:
            return {}
        found: dict[str, AnyExpr] = {}
        for o in self.occurrences:
            row: AnyExpr = Column(o.row)
            if condition is not None:
                row = call("filter", row, lenient(condition))
            found[f"{name}_{o.index}"] = call("implode", row)
        return found

    def members(self, m: Measurer, name: str) -> Steps:
        """Return the items of every cell, per occurrence, as listed under `name`."""
        found: list[Sets] = []
        for o in self.occurrences:
            column = f"{name}_{o.index}"
            plan = n.Explode(n.Select(n.Scan(m.cut.name), (Column(INDEX), Column(column))), (Column(column),))
            for _ in range(m.cut.nested.get(o.index, 0)):
                plan = n.Explode(plan, (Column(column),))
            listed = n.Filter(plan, call("is_not_null", Column(column)))
            answer = yield from m.ask(listed, returns=(INDEX, column))
            found.append(self._sets(o, m.size, answer[INDEX], answer[column]))
        return found

    def cells(self, m: Measurer, found: Codes | None = None, *, every: bool = False, key: str | None = None) -> Steps:
        """Return the items of every cell, per occurrence.

        The rows are found by the keys of the kept cells, which costs less than listing them in the same pass, and by numbers of
        their keys, where there are any, which costs less again. every: each row of the only table is in the frame, in its order.
        key: the stored column that is the only key then, if it is one.
        """
        if found is not None:
            return (yield from self._coded(m, found, every=every, key=key))
        listed: list[Sets] = []
        plan, tables = m.cut.located(False, rows=True)
        # as narrow as they fit: there are as many as rows
        index = Cast(Column(INDEX), UINT8 if m.size <= 1 << 8 else UINT16 if m.size <= 1 << 16 else UINT32)
        for o in self.occurrences:
            answer = yield from m.ask(self._rows(m, o, plan, index), tables, returns=(INDEX, o.row))
            listed.append(self._sets(o, m.size, answer[INDEX], answer[o.row]))
        return listed

    def _coded(self, m: Measurer, codes: Codes, *, every: bool, key: str | None) -> Steps:
        found: list[Sets] = []
        for o in self.occurrences:
            if every and len(self.occurrences) == 1:
                sets = self._in_order(o, m.size, (yield from self._cell_of_each(m, o, codes, key)))
            else:
                rows = self._rows(m, o, m.cut.keyed(False, rows=True), codes.expr)
                answer = yield from m.ask(rows, returns=(INDEX, o.row))
                sets = self._sets(o, m.size, codes.cells(answer[INDEX]), answer[o.row])
            found.append(sets)
        return found

    def _cell_of_each(self, m: Measurer, o: Occurrence, codes: Codes, key: str | None) -> Steps:
        """Return the cell of each row of a table, all of which are in the frame; nobody may write into it.

        INVARIANT: a version never changes, and cells are numbered in the order of their keys: by a stored column alone it is the same
        cell whoever asks, so it is held like a column. As many cells are there as were measured now.
        """
        lens, columns = self.lens(o), self.history.columns
        name = (lens.dataset, lens.version, f"{OWN}cell {key}")
        held = columns.get(name) if key is not None else None
        if held is not None and held.size == lens.items.size and int(held.max(initial=-1)) + 1 == m.size:
            return held
        answer = yield from m.ask(n.Select(m.cut.keyed(False), (Alias(codes.expr, INDEX),)), returns=(INDEX,))
        cells = codes.cells(answer[INDEX])
        if key is not None:
            columns.put(name, cells)
        return cells

    @staticmethod
    def _rows(m: Measurer, o: Occurrence, plan: AnyNode, cell: AnyExpr) -> AnyNode:
        """Return the rows of a table in a frame, with what tells which cell each is in."""
        listed: AnyNode = n.Select(plan, (Alias(cell, INDEX), Column(o.row)))
        for _ in range(m.cut.nested.get(o.index, 0)):
            listed = n.Explode(listed, (Column(o.row),))
        return n.Filter(listed, call("is_not_null", Column(o.row)))

    def _in_order(self, o: Occurrence, count: int, cell: Items) -> Sets:
        """Return the sets of all rows of a table. cell: of each."""
        lens = self.lens(o)
        if lens.items.size != cell.size:
            msg = "a row of a table is missing"
            raise LookupError(msg)
        if lens.in_order and cell.size == lens.roster.size:
            return Sets(count, cell, np.ones(count, bool))
        return Sets.of(count, cell, lens.items, lens.roster.size)

    def _sets(self, o: Occurrence, count: int, cell: Any, row: Any) -> Sets:
        lens = self.lens(o)
        rows = np.asarray(row)
        return Sets.of(count, np.asarray(cell), rows if lens.in_order else lens.items[rows], lens.roster.size)

    def people_in(self, o: Occurrence, sets: Sets) -> Floats:
        """Return how many people there are in each cell; of cells that share no item.

        INVARIANT: units that the roster takes for one person are one: there are never more people than the engine would count.
        """
        assert sets.place is not None
        roster = self.lens(o).roster
        again = roster.repeated(sets.place)
        if again is not None and bool(sets.kept.all()):
            # as many as there are items, less those of people who were counted
            found = sets.sizes - np.bincount(again[again >= 0], minlength=sets.count)
        else:
            found = counted(sets.place, roster.people[: sets.place.size], sets.count)
        return found.astype(np.float64)

    # -- channels

    def scale(self, o: Occurrence, channel: str) -> tuple[int, Hashes]:
        """Return (items per person at most, whose each item is) of a channel."""
        roster = self.lens(o).roster
        if not channel.startswith(WEIGHED):
            return roster.most, roster.unit
        return 1, np.arange(int(roster.people.max()) + 1, dtype=np.uint64)

    def _owner(self, o: Occurrence, channel: str) -> Indexes | None:
        """Return whose each item of a channel is; None: each is another one's."""
        return None if channel.startswith(WEIGHED) else self.lens(o).roster.owner

    def _rules(self, most: int, k: int | None = None) -> AuditRules:
        """Return the audit's rules in items.

        INVARIANT (tier bound): a support of more than (k - 1) * M items is of at least k people.
        """
        k = self.k if k is None else k
        audit = self.effective.linear_audit
        assert audit is not None
        share = self.effective.saturation.share if self.effective.saturation is not None else None
        return AuditRules(max(2, (k - 1) * most + 1), audit.pairs, share, audit.tau, people=max(2, k))

    def channel(self, o: Occurrence, channel: str) -> Channel:
        """Return a channel of a table's domain."""
        past = self.history.pasts[self.history.domains[o.dataset]]
        return past.channel(channel, self.scale(o, channel)[1].size)

    def put(self, o: Occurrence, name: str, channel: Channel) -> None:
        """Replace a channel of a table's domain."""
        domain = self.history.domains[o.dataset]
        self.history.pasts[domain] = self.history.pasts[domain].with_channel(name, channel)

    def _begin(self, o: Occurrence, channel: str) -> None:
        """Begin to compare rows whatever has become of their content: all that is stored is of rows as they were first."""
        past = self.history.pasts[self.history.domains[o.dataset]]
        if FIRST + channel not in past.channels:
            self.put(o, FIRST + channel, self.channel(o, channel))

    def as_first(self, o: Occurrence, sets: Sets) -> Sets:
        """Return populations as rows that keep their number when their content changes."""
        roster = self.lens(o).roster
        if not roster.changed:
            return sets
        cells, items = sets.memberships
        return Sets.of(sets.count, cells, roster.first[items], roster.size)


def _mark(measure: str) -> bytes:
    """Return how what is counted for a measure begins."""
    return hashlib.sha256(measure.encode()).digest()[:8]


def _spent(edges: Collection[bytes], measure: str) -> int:
    return sum(edge.startswith(_mark(measure)) for edge in edges)
