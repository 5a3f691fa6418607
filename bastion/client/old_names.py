"""Spellings of BastionLab and of older Polars: they work, and say what new code writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bastion.client.base import FrameBase, old_spelling

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame
    from bastion.client.grouping import DynamicGroupBy, RemoteGroupBy, RollingGroupBy


class OldNames(FrameBase):
    """groupby, with_column, with_row_count, take_every …"""

    def groupby(self, by: Any, *more_by: Any, maintain_order: bool = False) -> RemoteGroupBy:
        """An older name of `group_by`."""
        old_spelling("groupby", "group_by")
        return self.group_by(by, *more_by, maintain_order=maintain_order)  # type: ignore[attr-defined,no-any-return]

    def groupby_dynamic(self, index_column: Any, *, by: Any = None, **options: Any) -> DynamicGroupBy:
        """An older name of `group_by_dynamic`."""
        old_spelling("groupby_dynamic", "group_by_dynamic")
        options.setdefault("group_by", by)
        return self.group_by_dynamic(index_column, **options)  # type: ignore[attr-defined,no-any-return]

    def groupby_rolling(self, index_column: Any, *, by: Any = None, **options: Any) -> RollingGroupBy:
        """An older name of `rolling`."""
        old_spelling("groupby_rolling", "rolling")
        options.setdefault("group_by", by)
        return self.rolling(index_column, **options)  # type: ignore[attr-defined,no-any-return]

    def with_column(self, column: Any) -> RemoteLazyFrame:
        """An older name of `with_columns`."""
        old_spelling("with_column", "with_columns")
        return self.with_columns(column)  # type: ignore[attr-defined,no-any-return]

    def with_row_count(self, name: str = "row_nr", offset: int = 0) -> RemoteLazyFrame:
        """An older name of `with_row_index`."""
        old_spelling("with_row_count", "with_row_index")
        return self.with_row_index(name, offset)  # type: ignore[attr-defined,no-any-return]

    def shift_and_fill(self, periods: int, fill_value: Any) -> RemoteLazyFrame:
        """An older name of `shift` with a `fill_value`."""
        old_spelling("shift_and_fill", "shift(n, fill_value=…)")
        return self.shift(periods, fill_value=fill_value)  # type: ignore[attr-defined,no-any-return]

    def take_every(self, n: int) -> RemoteLazyFrame:
        """An older name of `gather_every`."""
        old_spelling("take_every", "gather_every")
        return self.gather_every(n)  # type: ignore[attr-defined,no-any-return]

    def distinct(self, subset: Any = None, *, keep: str = "any", maintain_order: bool = False) -> RemoteLazyFrame:
        """An older name of `unique`."""
        old_spelling("distinct", "unique")
        return self.unique(subset, keep=keep, maintain_order=maintain_order)  # type: ignore[attr-defined,no-any-return]

    def lazy(self) -> RemoteLazyFrame:
        """Return the frame itself: it is lazy already."""
        return self._then(self.plan)

    def cache(self) -> RemoteLazyFrame:
        """Return the frame itself: the server caches by plan."""
        return self._then(self.plan)

    def clone(self) -> RemoteLazyFrame:
        """Return the frame itself: frames never change."""
        return self._then(self.plan)

    def apply_udf(self, *_args: Any, **_options: Any) -> Any:
        """Refused: it would run Python beside the data."""
        from bastion.expr.core import refuse_python

        refuse_python("apply_udf")
