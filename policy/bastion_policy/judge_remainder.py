"""Cells of too few people, put together with as few others as needed; and cells that go with those that were taken out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bastion_policy.boundary import Guard
from bastion_policy.guard_cells import Cut, Flags, Floats, Indexes, Measurer, Steps
from bastion_policy.history import Sets
from bastion_policy.judge_cuts import Cuts
from bastion_policy.judge_rules import Judged

#: steps of adding a next cell to the remainder row that are counted exactly before it is given up
MAX_ADDED = 40
#: cells that are taken out besides those that fail, before all are
MAX_HIDDEN = 12


class Remainder(Cuts):
    """Finds the remainder row of a boundary's cells."""

    def _remainder(self, m: Measurer, rows: Floats, own: Flags, small: Flags, asked: Sequence[Sets] | None) -> Steps:
        """Return (a cut, "whole" or None; the cells in it). asked: who is in the cells, where there is a history.

        INVARIANT: what is hidden passes the population rule as one cell, or nothing of it is shown. Cells answered as the
        whole table are never added: whether 0 or 1 .. k - 1 units are outside such a cell must look the same.
        """
        members = np.flatnonzero(small)
        if not m.cut.keys or not members.size:
            return None, members
        candidates = np.flatnonzero(own)
        candidates = candidates[np.argsort(rows[candidates], kind="stable")]
        for added in range(min(candidates.size, MAX_ADDED) + 1):
            chosen = np.concatenate([members, candidates[:added]])
            cut = self._union(m.cut, f"{self.name}r", chosen)
            one = Measurer(cut, 1, self._only(m.cut, chosen))
            total = np.array([rows[chosen].sum()])
            enough = yield from one.at_least(self.k, total, np.ones(1, bool))
            if enough[0]:
                near, some = yield from self.whole.near_whole(one, total, np.ones(1, bool))
                if asked is not None and not near[0] and not some[0]:
                    together = [sets.union(chosen) for sets in asked]
                    if not self.memory.standing(together, np.ones(1, bool), plan=self.plan_digest).far[0]:
                        continue
                neither = some[0] or (near[0] and self.makes_rows)
                return (None, members) if neither else ("whole" if near[0] else cut, chosen)
        return None, members

    def _hide_more(self, cut: Cut, judged: Judged, own: Flags) -> Steps:
        """Where cells of a column were taken out, take out the next smallest until all that is hidden passes as one cell.

        INVARIANT: what is missing is the difference of a margin and the cells shown. Where the margin itself does not pass,
        there is nothing to subtract from, and a second cell is enough.
        """
        known: dict[bytes, Judged] = {}

        def passes(position: int, hidden: Flags) -> Steps:
            union = known.get(hidden.tobytes())
            if union is None:
                members = np.flatnonzero(hidden)
                together = self._union(cut, f"{self.name}h{len(known)}", members)
                _, union = yield from self._single(together, self._only(cut, members))
                known[hidden.tobytes()] = union
            return bool(union.shown[position][0])

        for position, (statistic, shown) in enumerate(zip(self.boundary.statistics, judged.shown, strict=True)):
            hidden = own & ~shown & ~judged.uneven.get(position, own & False)
            if statistic.guard in (Guard.INTERVAL, Guard.TIED) or not hidden.any():
                continue
            rest = np.flatnonzero(own & shown)
            rest = rest[np.argsort(judged.rows[rest], kind="stable")]
            alone = 1 if hidden.sum() == 1 else 0
            margin = yield from passes(position, own)
            for added in range(alone, rest.size + 1 if margin else alone):
                more = hidden.copy()
                more[rest[:added]] = True
                if added == alone + MAX_HIDDEN:
                    alone = rest.size
                    break
                if (yield from passes(position, more)):
                    alone = added
                    break
            shown[rest[:alone]] = False

    @staticmethod
    def _in_rest(m: Measurer, rest: Cut | str | None, members: Indexes) -> Flags:
        """Return which cells are in the remainder."""
        return np.isin(np.arange(m.size), members) if rest is not None else np.zeros(m.size, bool)
