"""What has been released of a dataset: for its owner to read, as tables and as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
from bastion_wire.messages import AudienceExposure, Exposed

from bastion.render.safe_text import safe_text

_COLUMNS = {
    "audience": pl.String, "column": pl.String, "role": pl.String, "released": pl.String, "answers": pl.Int64,
    "cells": pl.Int64, "smallest_cell": pl.Int64, "coverage": pl.Float64, "approved": pl.Int64, "unsafe": pl.Int64,
    "last": pl.Datetime("us", "UTC"),
}  # fmt: skip
_AUDIENCES = {
    "audience": pl.String, "members": pl.List(pl.String), "answers": pl.Int64, "denied": pl.Int64, "approved": pl.Int64,
    "unsafe": pl.Int64, "coverage": pl.Float64, "rank": pl.Int64, "rank_limit": pl.Float64, "epsilon": pl.Float64,
    "last": pl.Datetime("us", "UTC"), "failed": pl.Int64, "failed_today": pl.Int64,
}  # fmt: skip


@dataclass(frozen=True)
class Exposure:
    """What has been released of one dataset, over all its versions. Only its owner can ask.

    message: the answer as it came.
    """

    message: Exposed

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.message.name

    @property
    def untouched(self) -> tuple[str, ...]:
        """Columns that nothing was released of."""
        return self.message.untouched

    @property
    def columns(self) -> pl.DataFrame:
        """One row per audience and column (null: numbers of people).

        released: statistics, keys, conditions and rows with the number of answers each. smallest_cell: people or rows in the
        smallest cell of an answer that the column went into. coverage: the largest share of all people that one of these
        answers was about. Null where it is not known.
        """
        rows = [
            {
                "audience": c.audience, "column": c.column or None, "role": c.role or None, "released": uses_text(c.uses),
                "answers": c.answers, "cells": c.cells, "smallest_cell": c.smallest_cell or None, "coverage": c.coverage,
                "approved": c.approved, "unsafe": c.unsafe, "last": moment(c.last),
            }
            for c in self.message.columns
        ]  # fmt: skip
        return pl.DataFrame(rows, schema=_COLUMNS)

    @property
    def audiences(self) -> pl.DataFrame:
        """One row per audience.

        coverage: share of all people who are in some released population. rank, rank_limit: independent released numbers of
        people, and at most. epsilon: what answers with noise come to. Null where it is not known. failed, failed_today: queries that
        failed or were stopped and count, in all and within a day (`connection.clear_failures`).
        """
        rows = [
            {
                "audience": a.audience, "members": list(a.members), "answers": a.answers, "denied": a.denied,
                "approved": a.approved, "unsafe": a.unsafe, "coverage": a.coverage, "rank": a.rank,
                "rank_limit": a.rank_limit, "epsilon": a.epsilon, "last": moment(a.last), "failed": a.failed,
                "failed_today": a.failed_today,
            }
            for a in self.message.audiences
        ]  # fmt: skip
        return pl.DataFrame(rows, schema=_AUDIENCES)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data; times as ISO 8601, None for what is not known."""
        plain = {name: getattr(self.message, name) for name in self.message.__struct_fields__}
        plain |= {"columns": [], "audiences": [], "untouched": list(self.message.untouched)}
        for kind in ("columns", "audiences"):
            for row in getattr(self.message, kind):
                fields = {name: getattr(row, name) for name in row.__struct_fields__}
                fields["last"] = when.isoformat() if (when := moment(row.last)) is not None else None
                if "members" in fields:
                    fields["members"] = list(fields["members"])
                else:
                    fields["smallest_cell"] = fields["smallest_cell"] or None
                plain[kind].append(fields)
        return plain

    def __repr__(self) -> str:
        m = self.message
        lines = [f"What has been released of {m.name} ({m.people} people)"]
        if m.epsilon is not None:
            lines.append(f"  budget: epsilon {m.spent or 0:.3g} of {m.epsilon:g} spent (delta {m.delta:g})")
        if m.void:
            lines.append(f"  the stated epsilon no longer holds: {m.void}")
        lines += [str(self.audiences), str(self.columns)] if m.audiences else ["  nothing yet"]
        return safe_text("\n".join(lines), lines=True)


#: what a count of failed queries means to who clears it
MEANS = "Each failed query that counts may have told one bit about one person, and once they are cleared as many more may follow."


def failures_of(exposed: Exposed, who: str) -> AudienceExposure:
    """Return the audience of an identity, or of that name; one without failures where nobody of it asked."""
    found = (a for a in exposed.audiences if who == a.audience or who in a.members)
    return next(found, AudienceExposure(who))


def failures_text(audience: AudienceExposure) -> str:
    """Return how many failed queries count, e.g. "3 (2 of them within a day)"."""
    return f"{audience.failed}" + (f" ({audience.failed_today} of them within a day)" if audience.failed_today else "")


def cleared_text(failed: int, who: str) -> str:
    """Return what is said when failed queries were cleared."""
    return (
        f"{failed} failed {'query' if failed == 1 else 'queries'} of {who} count{'s' if failed == 1 else ''} no longer."
    )


def uses_text(uses: dict[str, int]) -> str:
    """Return uses in a line, e.g. "mean 3, group key"."""
    return ", ".join(f"{use} {number}" if number > 1 else use for use, number in uses.items())


def moment(seconds: float) -> datetime | None:
    """Return a time in UTC, None for none."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
