"""The rows of a fit: an Arrow file read where it lies, whose rows they are, and tensors of those that are needed.

In a private fit every function here is total: what a row holds never decides whether something fails. A value that is missing, or
no number, counts as 0, and its row stays; a list is cut or filled up with zeros to the length the model takes; a label outside its
range counts as the nearest. In a fit without noise, which an owner has approved, these are errors that name the column.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
import polars as pl
import torch
from bastion_plan.errors import InputError, ServerError
from bastion_plan.models.fits import LOSSES, FitSpec
from bastion_plan.models.graph import Graph
from torch import Tensor

from bastion_server.training.noise import PEOPLE
from bastion_server.training.operations import DTYPES
from bastion_server.training.sampling import Indices, for_testing

#: bytes of a piece of the table, and people whose names are made texts of at once
_BLOCK, _TEXTS = 64 << 20, 1 << 18
UNIT, PLACE = "#~u", "#~o"
Array = np.ndarray[Any, np.dtype[Any]]


class Rows:
    """All rows of a fit, and which of them are whose."""

    def __init__(
        self,
        path: str,
        spec: FitSpec,
        graph: Graph,
        outputs: tuple[int, ...],
        split_key: bytes,
        memory: int,
        most: int = 0,
    ) -> None:
        """Read who is who; values are read when they are needed.

        Args:
            path: of an uncompressed Arrow IPC file. outputs: shape of one prediction. memory: bytes that all rows may be kept in, as tensors.
            most: rows that there may be, a public number; 0: as many as there are.

        Raises:
            InputError: `fit.columns`: a column is missing, or of no use; `fit.nulls`, `fit.labels` (not private).
            ServerError: too many people; for the owner's log alone.
        """
        self.spec = spec
        self.table = pl.scan_ipc(path, glob=False, hive_partitioning=False)
        self.inputs = [
            (columns, t.shape, DTYPES[t.dtype]) for columns, t in zip(spec.inputs, graph.inputs, strict=True)
        ]
        self.kind, self.outputs = LOSSES[spec.loss], outputs
        self.schema = self.table.collect_schema()
        self._check_types()
        self._units(split_key)
        row = sum(math.prod(shape) * dtype.itemsize for _, shape, dtype in self.inputs) + 8 * math.prod(outputs)
        #: rows that are read at once: Polars reads by copy, and a table may be larger than what a worker may use
        self.block = max(256, min(self.height, _BLOCK // (8 * row)))
        if not spec.private:
            for _, frame in self._blocks():
                self._check_values(frame)
        self._drawn = np.random.default_rng()
        self.kept: tuple[list[Tensor], Tensor] | None = None
        # INVARIANT: how rows are read, which takes one time or another, follows from public numbers where the fit is private
        if (most if most and spec.private else self.height) * row <= memory:
            inputs, labels = self.tensors(np.arange(self.height))
            # and a row of nobody, for where there is none
            self.kept = [_and_zeros(x) for x in inputs], _and_zeros(labels)

    def _blocks(self, wanted: Indices | None = None) -> Iterator[tuple[int, pl.DataFrame]]:
        """Read the table piece by piece: (number of its first row, rows). wanted: only pieces with one of these rows."""
        columns = self.table.select(self.spec.columns)
        some = range(-(-self.height // self.block)) if wanted is None else np.unique(wanted // self.block).tolist()
        for number in some:
            yield number * self.block, columns.slice(number * self.block, self.block).collect()

    # -------------------------------------------------------------------------------------------------- whose rows

    def _units(self, split_key: bytes) -> None:
        spec = self.spec
        who = self.table.select(u=UNIT, o=PLACE).collect().with_row_index("i")
        self.height = who.height
        who = who.sort("o", maintain_order=True)
        row = pl.col("i").head(spec.rows) if spec.private else pl.col("i")
        each = who.group_by("u", maintain_order=True).agg(row.alias("rows"))
        if each.height > PEOPLE:
            # it tells of the rows, so its code is none of those that are told
            raise ServerError(f"A fit is of {PEOPLE:,} people at most.", code="server.worker.refused")
        counts = each["rows"].list.len().to_numpy().astype(np.int64)
        self.flat = each["rows"].explode().to_numpy().astype(np.int64) if each.height else np.arange(0)
        # one more, to look at where nobody stands
        self.flat = np.append(self.flat, 0)
        # the last is nobody, who has no rows: number -1 names them
        self.starts, self.counts = np.append(np.cumsum(counts) - counts, 0), np.append(counts, 0)
        if spec.split.test > 0:
            self.testing = for_testing(_texts(each["u"]), split_key, spec.split.test, spec.split.seed)
        else:
            self.testing = np.zeros(each.height, dtype=np.bool_)

    def people(self, part: str) -> Indices:
        """Return who is in a part."""
        return np.flatnonzero(self.testing if part == "test" else ~self.testing)

    def rows_of(self, people: Indices) -> Indices:
        """Return the numbers of all rows of some people that count."""
        if not len(people):
            return np.arange(0)
        counts = self.counts[people]
        first = np.repeat(self.starts[people] - (np.cumsum(counts) - counts), counts)
        found: Indices = self.flat[first + np.arange(counts.sum())]
        return found

    # ------------------------------------------------------------------------------------------------------ values

    def people_tensors(self, people: Indices) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return (inputs, labels, there) of people x rows; people: their numbers, -1 for nobody.

        INVARIANT: as many rows are read, and as much is done with each, whoever is there: where nobody is, any row is read, and zeros
        are made of it.
        """
        at = np.arange(self.spec.rows)[None, :]
        there = at < self.counts[people][:, None]
        rows = np.where(
            there, self.flat[np.where(there, self.starts[people][:, None] + at, -1)], self.whoever(there.shape)
        )
        flags = torch.from_numpy(there)
        inputs, labels = self.tensors(rows.reshape(-1))
        bits = torch.from_numpy(-there.astype(np.int32)).reshape(-1, 1)

        def spread(values: Tensor) -> Tensor:
            flat = values.reshape(len(values), -1)
            if values.dtype == torch.float32:
                # all bits or none: several times as fast as to fill in
                flat.view(torch.int32).bitwise_and_(bits)
            else:
                flat.masked_fill_(bits == 0, 0)
            return flat.reshape(*there.shape, *values.shape[1:])

        return [spread(x) for x in inputs], spread(labels), flags

    def whoever(self, shape: int | tuple[int, ...]) -> Indices:
        """Return numbers of any rows: to be read where nobody is. Whose they are does not matter, as nothing is made of them."""
        return self._drawn.integers(0, max(1, self.height), shape)

    def tensors(self, rows: Indices) -> tuple[list[Tensor], Tensor]:
        """Return (inputs, labels) of some rows."""
        if self.kept is not None:
            index = torch.from_numpy(rows)
            return [x.index_select(0, index) for x in self.kept[0]], self.kept[1].index_select(0, index)
        whole: tuple[list[Tensor], Tensor] | None = None
        for start, frame in self._blocks(rows):
            at = np.flatnonzero((rows >= start) & (rows < start + frame.height))
            inputs, labels = self._made(frame[rows[at] - start])
            if len(at) == len(rows):
                return inputs, labels
            if whole is None:
                whole = (
                    [x.new_zeros(len(rows), *x.shape[1:]) for x in inputs],
                    labels.new_zeros(len(rows), *labels.shape[1:]),
                )
            for total, part in zip((*whole[0], whole[1]), (*inputs, labels), strict=True):
                total[torch.from_numpy(at)] = part
        return self._made(self._empty()) if whole is None else whole

    def _empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema={name: self.schema[name] for name in self.spec.columns})

    def _made(self, frame: pl.DataFrame) -> tuple[list[Tensor], Tensor]:
        inputs = [_tensor(frame, columns, shape, dtype) for columns, shape, dtype in self.inputs]
        labels = self.spec.labels
        if self.kind == "class":
            found = _tensor(frame, labels, (), torch.int64).clamp(0, self.outputs[0] - 1)
        else:
            found = _tensor(frame, labels, (math.prod(self.outputs),), torch.float32)
            if self.kind == "bit":
                found = found.clamp(0, 1)
        return inputs, found

    # ------------------------------------------------------------------------------------------------------ checks

    def _check_types(self) -> None:
        for name in self.spec.columns:
            if name not in self.schema:
                _refuse("columns", f"There is no column {name!r}.", "Name columns of the table.")
            dtype = self.schema[name]
            inner = dtype
            while isinstance(inner, pl.List | pl.Array):
                inner = inner.inner  # type: ignore[assignment]
            if not (inner.is_numeric() or inner == pl.Boolean):
                next_step = "Make numbers of it first: one column per value (one-hot), or numbers of tokens in a list."
                _refuse("columns", f"Column {name!r} holds {inner}, and a model takes numbers.", next_step)
            shape = next((t for columns, t, _ in self.inputs if name in columns and len(columns) == 1), None)
            alone = shape is not None or (
                name in self.spec.labels and len(self.spec.labels) == 1 and self.kind != "class"
            )
            if dtype.is_nested() and not alone:
                _refuse("columns", f"Column {name!r} is a list, and stands beside others.", "Name it alone.")
            if shape is not None and not dtype.is_nested() and math.prod(shape) != 1:
                wanted = "x".join(map(str, shape))
                _refuse("columns", f"The model takes {wanted} numbers, and {name!r} is one.", "Name more columns.")
        labels, said = self.spec.labels, math.prod(self.outputs)
        if self.kind != "class" and not self.schema[labels[0]].is_nested() and len(labels) != said:
            named = (
                f"{len(labels):,} columns are named as labels" if len(labels) > 1 else "one column is named as label"
            )
            next_step = "Name as many labels, or let the last layer give as many numbers."
            if self.kind == "bit" and len(labels) == 1:
                next_step = 'Let the last layer give one number; for one number per class use loss="cross_entropy".'
            _refuse("columns", f"The model predicts {said:,} numbers, and {named}.", next_step)

    def _check_values(self, frame: pl.DataFrame) -> None:
        """Refuse what has no number (a fit that an owner has approved)."""
        for name in self.spec.columns:
            column = frame[name]
            while column.dtype.is_nested() and not column.has_nulls():
                column = column.explode() if len(column) else column.clear()
                if not isinstance(column.dtype, pl.List | pl.Array):
                    break
            bad = column.has_nulls() or (column.dtype.is_float() and bool(column.is_nan().any()))
            if bad:
                next_step = "Fill them (fill_null, fill_nan) or drop their rows (drop_nulls) first."
                _refuse("nulls", f"Column {name!r} has missing values.", next_step)
        if self.kind == "number" or not frame.height:
            return
        top = self.outputs[0] - 1 if self.kind == "class" else 1
        for name in self.spec.labels:
            values = frame[name]
            if values.dtype.is_nested():
                continue
            values = values.cast(pl.Float64)
            if not bool((values.is_between(0, top) & (values.floor() == values)).all()):
                what = f"whole numbers from 0 to {top}" if self.kind == "class" else "0 or 1"
                _refuse("labels", f"Labels are {what}, and {name!r} has others.", "Encode the label first.")


def _refuse(what: str, message: str, next_step: str) -> NoReturn:
    raise InputError(message, code=f"fit.{what}", next_step=next_step)


def _and_zeros(values: Tensor) -> Tensor:
    return torch.cat([values, values.new_zeros(1, *values.shape[1:])])


def _texts(units: pl.Series) -> Iterator[str | None]:
    """Yield what names each unit, as text: piece by piece, as texts are larger than all the rest that is kept of people."""
    for start in range(0, len(units), _TEXTS):
        some = units.slice(start, _TEXTS)
        if units.dtype.is_nested() or units.dtype == pl.Binary:
            yield from map(repr, some.to_list())
        else:
            yield from some.cast(pl.String).to_list()


def _tensor(frame: pl.DataFrame, columns: Sequence[str], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return rows x shape of one column (a number or a list each), or of several side by side."""
    whole = not dtype.is_floating_point
    if len(columns) == 1:
        column = frame[columns[0]]
        length = math.prod(shape)
        found = _lists(column, length, whole) if column.dtype.is_nested() else _numbers(column, whole)
    else:
        found = np.stack([_numbers(frame[c], whole) for c in columns], axis=1)
    values = torch.from_numpy(np.require(found, requirements=("C", "W"))).reshape(frame.height, *shape)
    if dtype == torch.bool:
        return values != 0
    if dtype in (torch.uint8, torch.int32):
        limits = torch.iinfo(dtype)
        values = values.clamp(limits.min, limits.max)
    return values.to(dtype)


def _numbers(column: pl.Series, whole: bool) -> Array:
    """Return a column as int64 or float64/float32; what is missing, or does not fit, is 0."""
    if whole:
        return column.cast(pl.Int64, strict=False).fill_null(0).to_numpy()
    kind = column.dtype if column.dtype in (pl.Float32, pl.Float64) else pl.Float64
    return column.cast(kind, strict=False).fill_null(0).fill_nan(0).to_numpy()


def _lists(column: pl.Series, length: int, whole: bool) -> Array:
    """Return rows x length of a column of lists or arrays, cut or filled up with zeros."""
    while isinstance(column.dtype, pl.List | pl.Array):
        if isinstance(column.dtype, pl.Array):
            column = column.arr.to_list()
        if not column.dtype.inner.is_nested():  # type: ignore[attr-defined]
            break
        # one dimension less
        column = column.list.eval(pl.element().explode())
    # what a model does not take is not worked on: how long it takes would tell of long lists
    column = column.list.head(length)
    counts = column.list.len().fill_null(0).to_numpy().astype(np.int64)
    found = np.zeros((len(column), length), dtype=np.int64 if whole else np.float64)
    full = counts > 0
    if not full.any():
        return found
    values = _numbers(column.filter(pl.Series(full)).explode(), whole)
    counts = counts[full]
    rows = np.repeat(np.flatnonzero(full), counts)
    at = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
    found[rows, at] = values
    return found
