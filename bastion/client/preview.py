"""A preview that is safe: how a dataset's rows look, in rows that are made up from public facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from bastion_plan.errors import InputError
from bastion_policy.facts import ColumnFacts, DatasetFacts

from bastion.client.fakes import fake_series
from bastion.expr.dtypes import polars_schema

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame

MAX_ROWS = 100


class FakeFrame:
    """A few rows of MADE-UP data with a dataset's columns and types, to write code with. Never data, nor made from data.

    The same facts give the same rows, every time and for everybody. Values lie in the bounds and domains that the owner
    declared; hidden columns have none.

    Args:
        facts: what everybody who sees the dataset may know of it. rows: how many, from 1 to 100.

    Raises:
        InputError: input.preview, another number of rows.
    """

    def __init__(self, facts: DatasetFacts, rows: int = 5) -> None:
        if not isinstance(rows, int) or isinstance(rows, bool) or not 1 <= rows <= MAX_ROWS:
            msg = f"A preview has from 1 to {MAX_ROWS} rows."
            raise InputError(msg, code="input.preview", next_step="Write preview(5), for example.")
        self._facts = facts
        self._frame = pl.DataFrame([fake_series(c, rows, unit=c.name == facts.unit) for c in facts.columns])

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self._facts.name

    @property
    def facts(self) -> tuple[ColumnFacts, ...]:
        """The public facts it is made from, by column."""
        return self._facts.columns

    @property
    def hidden(self) -> tuple[str, ...]:
        """Names of the columns that are hidden: `*` where rows are shown, null in `to_polars()`."""
        return self._facts.hidden

    @property
    def columns(self) -> list[str]:
        """The column names."""
        return self._frame.columns

    @property
    def schema(self) -> pl.Schema:
        """Column names and types, those of the dataset."""
        return polars_schema(self._facts.schema)

    @property
    def height(self) -> int:
        """How many rows there are of it. That says nothing of the dataset."""
        return self._frame.height

    def to_polars(self) -> pl.DataFrame:
        """Return the made-up rows as a `polars.DataFrame` with the dataset's schema. It bears no mark: do not show it."""
        return self._frame.clone()

    def __repr__(self) -> str:
        from bastion.render.previews import preview_text

        return preview_text(self)

    def _repr_html_(self) -> str:
        from bastion.render.previews import preview_html

        return preview_html(self)


def preview_of(frame: RemoteLazyFrame, rows: int) -> FakeFrame:
    """Return the preview of a dataset's frame, by the newest card that is here; nothing is asked of the server.

    Raises:
        InputError: input.not-a-dataset for a query, input.preview for a wrong number of rows.
    """
    card = frame._dataset
    if card is None:
        msg = "A preview is of a dataset, and this frame is a query."
        raise InputError(msg, code="input.not-a-dataset", next_step='Write dataset("name").preview().')
    return FakeFrame(frame._connection._datasets.get(card.facts.id, card).facts, rows)
