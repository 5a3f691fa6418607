"""Frames with the arguments, the waiting and the printing of BastionLab's."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
from bastion_plan.errors import Interrupted
from bastion_plan.nodes import Node, inputs

from bastion.client import frames
from bastion.client.denied import Denied
from bastion.compat.meanings import old_meaning, without_hidden

_YELLOW, _GREEN, _RED, _PLAIN = "\x1b[33m", "\x1b[32m", "\x1b[31m", "\x1b[37m"
#: what the owner reads as the reason of a request that `fetch()` files
REASON = "Filed by fetch() in code written for BastionLab, which gives no reason."


class RemoteLazyFrame(frames.RemoteLazyFrame):
    """A frame whose rows are on the server."""

    def _then(self, plan: Node) -> Any:
        if inputs(plan)[:1] == (self.plan,):
            plan = without_hidden(old_meaning(plan, self.plan_schema), self.plan_schema, self._hidden())
        return super()._then(plan)

    def join(
        self,
        other: Any,
        left_on: Any = None,
        right_on: Any = None,
        on: Any = None,
        how: str = "inner",
        suffix: str = "_right",
        allow_parallel: bool = True,
        force_parallel: bool = False,
        **options: Any,
    ) -> Any:
        """Join another frame. how: inner, left, outer, semi, anti, cross."""
        del allow_parallel, force_parallel
        if how == "outer":
            options.setdefault("coalesce", True)  # as it did: one column of keys
        return super().join(other, on, how, left_on=left_on, right_on=right_on, suffix=suffix, **options)

    def join_asof(
        self,
        other: Any,
        left_on: Any = None,
        right_on: Any = None,
        on: Any = None,
        by_left: Any = None,
        by_right: Any = None,
        by: Any = None,
        strategy: str = "backward",
        suffix: str = "_right",
        tolerance: Any = None,
        allow_parallel: bool = True,
        force_parallel: bool = False,
        **options: Any,
    ) -> Any:
        """Join the nearest key of another sorted frame."""
        del allow_parallel, force_parallel
        return super().join_asof(
            other, left_on=left_on, right_on=right_on, on=on, by_left=by_left, by_right=by_right, by=by, strategy=strategy,
            suffix=suffix, tolerance=tolerance, **options,
        )  # fmt: skip

    def unique(self, subset: Any = None, **options: Any) -> Any:
        """Distinct rows. Hidden columns are no part of what makes rows distinct, because nobody may group by them."""
        if subset is None and (hidden := self._hidden()):
            subset = [name for name in self.columns if name not in hidden]
        return super().unique(subset, **options)

    def with_row_count(self, name: str = "index", offset: int = 0) -> Any:
        """A running number as first column, collected at once."""
        return self.with_row_index(name, offset).collect()

    def describe(self, *args: Any, **options: Any) -> Any:
        """Fetch count, null_count, mean, std, min, max and median of all columns; the quartiles come with them."""
        return super().describe(*args, **options).rename({"statistic": "describe"})

    def collect(self, **options: Any) -> Any:
        """Have the server check the query; return the frame that can be fetched."""
        made = super().collect(**options)
        self._connection.client.polars._collected[made.plan_hash] = made
        return made

    def fetch(self, timeout: float | None = None, **options: Any) -> pl.DataFrame | None:
        """Bring the result, as BastionLab did: wait for the owner where needed, print what happens, None where refused.

        Args:
            timeout: seconds to wait for the owner's decision; None to wait without end.
            options: as of `bastion.RemoteLazyFrame.fetch`; with `wait` or `reason` it behaves as that does.

        Raises:
            Interrupted: the time is over; the request stays filed.
        """
        if {"wait", "reason"} & options.keys():
            return super().fetch(**options)  # type: ignore[no-any-return]
        try:
            table = super().fetch(**options)
        except Denied as denied:
            return self._asked(denied, timeout)
        table = self._without_masks(table)
        note = self._connection.last.note if self._connection.last is not None else None
        if note is not None and note.logged_unsafe:
            why = " ".join(finding.reason for finding in note.findings) or "It is outside the safe zone."
            _say(
                _YELLOW,
                f"Warning: non privacy-preserving query.\nReason: {why}\n\nThis incident will be reported to the data owner.",
            )
        return table  # type: ignore[no-any-return]

    def _asked(self, denied: Denied, timeout: float | None) -> pl.DataFrame | None:
        """Ask the owner for what was denied, and wait."""
        if denied.outcome != "review":
            _say(
                _RED, "The query has been rejected by the data owner.", f"Reason: {denied.reason} {denied.fix}".rstrip()
            )
            return None
        if denied.filed is None or denied.filed.state not in ("pending", "approved"):
            denied.request(REASON)
        limit = "" if timeout is None else f" or until {math.ceil(timeout)} seconds elapse"
        _say(
            _YELLOW,
            "Warning: non privacy-preserving queries necessitate data owner's approval.\n"
            f"Reason: {denied.reason}\n\nA notification has been sent to the data owner. The request will be pending until the "
            f"data owner accepts or denies it{limit}.",
        )
        try:
            table = denied.wait(timeout)
        except Denied as refused:
            _say(_RED, "The query has been rejected by the data owner.", refused.reason)
            return None
        except Interrupted as late:
            late.next_step = "Fetch again later: the request stays filed."
            raise
        _say(_GREEN, "The query has been accepted by the data owner.")
        return self._without_masks(table)

    def _without_masks(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return a table in which what is hidden is null, as it was; the server gives a mask in its place."""
        schema = self.schema
        masked = [name for name in self._hidden() if name in table.columns]
        return table.with_columns(pl.lit(None, dtype=schema[name]).alias(name) for name in masked)

    def __str__(self) -> str:
        return "RemoteLazyFrame"

    __repr__ = __str__


class FetchableLazyFrame(RemoteLazyFrame, frames.FetchableLazyFrame):
    """A frame that the server has seen. `fetch()` brings the result."""

    #: the frame it was saved as
    _saved: frames.FetchableLazyFrame | None = None

    @property
    def identifier(self) -> str:  # type: ignore[override]
        """What names it on the server: of a query that was saved, the saved frame's id."""
        return self.id if self._saved is None else self._saved.id

    def save(self, name: str | None = None) -> Any:
        """Keep the query on the server; its `identifier` is the saved frame's from now on."""
        self._saved = super().save(name)
        return self._saved

    def delete(self) -> Any:
        """Delete the frame from the server, or what it was saved as."""
        if self._saved is None:
            return super().delete()
        saved, self._saved = self._saved, None
        return frames.FetchableLazyFrame.delete(saved)

    def __str__(self) -> str:
        return f"FetchableLazyFrame(identifier={self.identifier})"

    __repr__ = __str__


def _say(colour: str, text: str, more: str = "") -> None:
    from bastion.render.safe_text import safe_text

    plain = safe_text("\n".join(part for part in (text, more) if part), lines=True)
    print(f"{colour}{plain}{_PLAIN}")
