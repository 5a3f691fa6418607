"""Frame methods that change the shape: long to wide and back, lists and structs to rows and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from bastion_plan import nodes as n
from bastion_plan.errors import InputError

from bastion.client.base import FrameBase, old_spelling
from bastion.expr.core import Expr, plans
from bastion.expr.literals import literal

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame


class Reshape(FrameBase):
    """explode, unnest, unpivot, pivot."""

    def explode(self, columns: Any, *more_columns: Any, **_options: Any) -> RemoteLazyFrame:
        """One row per list element."""
        return self._then(n.Explode(self.plan, plans([columns, *more_columns])))

    def unnest(self, columns: Any, *more_columns: Any, **_options: Any) -> RemoteLazyFrame:
        """The fields of struct columns as columns."""
        return self._then(n.Unnest(self.plan, plans([columns, *more_columns])))

    def unpivot(
        self,
        on: Any = None,
        *,
        index: Any = None,
        variable_name: str | None = None,
        value_name: str | None = None,
        **_options: Any,
    ) -> RemoteLazyFrame:
        """Wide to long: the columns `on` become rows, `index` stays."""
        return self._then(
            n.Unpivot(
                self.plan,
                None if on is None else plans([on]),
                () if index is None else plans([index]),
                variable_name or "variable",
                value_name or "value",
            )
        )

    def melt(
        self,
        id_vars: Any = None,
        value_vars: Any = None,
        variable_name: str | None = None,
        value_name: str | None = None,
        **_options: Any,
    ) -> RemoteLazyFrame:
        """An older name of `unpivot`."""
        old_spelling("melt", "unpivot")
        return self.unpivot(value_vars, index=id_vars, variable_name=variable_name, value_name=value_name)

    def pivot(
        self,
        on: Any,
        on_columns: Any = None,
        *,
        index: Any = None,
        values: Any = None,
        aggregate_function: Any = None,
        separator: str = "_",
        columns: Any = None,
        **_options: Any,
    ) -> RemoteLazyFrame:
        """Long to wide: each of `on_columns`, the values of `on`, becomes a column.

        Args:
            on: the column whose values become columns.
            on_columns: those values; they have to be said, because which values there are is not public.
            index: columns that stay. values: columns to fill in.
            aggregate_function: min, max, first, last, sum, mean, median or len, where several values meet.
        """
        if columns is not None and on_columns is None:
            on_columns = columns
        name = on.plan.name if isinstance(on, Expr) and hasattr(on.plan, "name") else on
        if isinstance(name, list | tuple) and len(name) == 1:
            name = name[0]
        if not isinstance(name, str):
            msg = "pivot takes one column."
            raise InputError(msg, code="input.arguments", next_step='Write .pivot("column", on_columns=["a", "b"], …).')
        if on_columns is None:
            msg = "pivot needs on_columns, the values that become columns."
            raise InputError(
                msg, code="input.arguments", reason="Which values there are is in the data, not public.",
                next_step=f'Write .pivot({name!r}, on_columns=["a", "b"], …).',
            )  # fmt: skip
        if isinstance(on_columns, pl.DataFrame | pl.Series):
            on_columns = (on_columns.to_series() if isinstance(on_columns, pl.DataFrame) else on_columns).to_list()
        wanted = tuple(literal(v).value for v in on_columns)
        if aggregate_function is not None and not isinstance(aggregate_function, str):
            msg = "aggregate_function is a name here."
            raise InputError(msg, code="input.arguments", next_step='Write aggregate_function="mean".')
        return self._then(
            n.Pivot(
                self.plan,
                name,
                wanted,
                _names(self, index),
                _names(self, values),
                {"count": "len", None: "first"}.get(aggregate_function, aggregate_function or "first"),
                separator,
            )
        )


def _names(frame: Any, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    chosen = frame._chosen([value])
    return tuple(c for c in frame.plan_schema if c in chosen)
