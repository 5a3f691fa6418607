"""What a policy would make of past queries: for the owner to read, as a table and as plain data."""

from __future__ import annotations

from typing import Any

import polars as pl
from bastion_wire.messages import Tried, TriedQuery

from bastion.client.exposure import moment
from bastion.render.safe_text import safe_text

#: outcomes in words, from the widest to the narrowest
OUTCOMES = {
    "release": "released, if its numbers pass",
    "private": "answered with noise",
    "review": "waits for you",
    "refuse": "refused",
    "": "does not fit any more",
}
_WIDTH = list(OUTCOMES)
_SCHEMA = {
    "asked": pl.Datetime("us", "UTC"), "who": pl.String, "query": pl.String, "times": pl.Int64, "became": pl.String,
    "now": pl.String, "then": pl.String, "why": pl.String, "measured": pl.String, "request": pl.String, "plan": pl.String,
}  # fmt: skip


class Trial:
    """A dry run of a policy on past queries. Nothing was changed, run or measured for it.

    Static rules decide for certain (single rows, hidden columns, functions); rules about numbers (group sizes, dominance,
    what was told before) only when a query runs: `measured` says what is open.

    message: the answer as it came.
    """

    def __init__(self, message: Tried) -> None:
        self.message = message

    @property
    def queries(self) -> tuple[TriedQuery, ...]:
        """All queries, newest first."""
        return self.message.queries

    @property
    def changed(self) -> tuple[TriedQuery, ...]:
        """Queries that would fare otherwise than under the policy as it is."""
        return tuple(q for q in self.queries if q.before != q.after)

    @property
    def tighter(self) -> tuple[TriedQuery, ...]:
        """Queries that would get less than now."""
        return tuple(q for q in self.changed if _WIDTH.index(_known(q.after)) > _WIDTH.index(_known(q.before)))

    @property
    def looser(self) -> tuple[TriedQuery, ...]:
        """Queries that would get more than now."""
        return tuple(q for q in self.changed if _WIDTH.index(_known(q.after)) < _WIDTH.index(_known(q.before)))

    @property
    def table(self) -> pl.DataFrame:
        """One row per query: when and by whom it was asked, what became of it, and its static verdict now and then."""
        rows = [
            {
                "asked": moment(q.last), "who": q.who, "query": q.words, "times": q.times, "became": q.ended or None,
                "now": OUTCOMES[_known(q.before)], "then": OUTCOMES[_known(q.after)], "why": q.reason or None,
                "measured": q.measured or None, "request": q.request or None, "plan": q.plan_hash,
            }
            for q in self.queries
        ]  # fmt: skip
        return pl.DataFrame(rows, schema=_SCHEMA)

    def sentence(self) -> str:
        """Return what changes, in a sentence."""
        if not self.queries:
            return "Nothing was asked of it yet, so there is nothing to try the policy on."
        less, more = len(self.tighter), len(self.looser)
        if not less and not more:
            return (
                f"None of the {len(self.queries)} past queries would fare otherwise, before their numbers are measured."
            )
        return f"Of {len(self.queries)} past queries {less} would get less than now and {more} would get more."

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        rows = [{name: getattr(q, name) for name in q.__struct_fields__} for q in self.queries]
        return {
            "dataset": self.message.dataset, "name": self.message.name, "says": self.sentence(), "queries": rows,
            "words": list(self.message.words), "warnings": list(self.message.warnings),
        }  # fmt: skip

    def __repr__(self) -> str:
        lines = [f"A policy tried on {self.message.name}. {self.sentence()}"]
        lines += [
            f"  {q.who}: {q.words}\n    {OUTCOMES[_known(q.before)]} -> {OUTCOMES[_known(q.after)]}. {q.reason} {q.measured}".rstrip()
            for q in (self.changed or self.queries)[:20]
        ]
        return safe_text("\n".join(lines), lines=True)


def _known(outcome: str) -> str:
    return outcome if outcome in OUTCOMES else ""
