"""BastionLab's names for data on its way to a model: arrays and tensors that stay on the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bastion_plan.errors import InputError

from bastion.client.training.datasets import (
    Input,
    RemoteDataset,
    Rows,
    Split,
    bare,
    dtype_name,
    input_of,
    make_dataset,
)
from bastion.render.safe_text import safe_text

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame

_POLARS = {
    "Float32": "float32", "Float64": "float64", "Boolean": "bool", "UInt8": "uint8", "Int32": "int32", "Int16": "int32",
    "Int8": "int32", "UInt16": "int32", "Int64": "int64", "UInt32": "int64", "UInt64": "int64",
}  # fmt: skip


class RemoteTensor:
    """Columns of a frame as one tensor. Its numbers stay on the server; dtype and shape are public, how many rows is not."""

    def __init__(self, frame: RemoteLazyFrame, one: Input, split: Split | None = None, part: str = "train") -> None:
        self._frame, self._input = frame, one
        self._split, self._part = split or Split(), part

    @property
    def frame(self) -> RemoteLazyFrame:
        """The frame whose columns these are."""
        return self._frame

    @property
    def columns(self) -> list[str]:
        """The columns that it is made of."""
        return list(self._input.columns)

    @property
    def dtype(self) -> str:
        """The name of its dtype ("float32"): that of `to`, else what the columns come to together."""
        if self._input.dtype:
            return self._input.dtype
        kinds = []
        for name in self._input.columns:
            dtype = self._frame.plan_schema[name]
            while dtype.inner is not None:
                dtype = dtype.inner
            kinds.append(_POLARS.get(dtype.kind, "float64"))
        order = ("bool", "uint8", "int32", "int64", "float32", "float64")
        return max(kinds, key=order.index)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Its shape; how many rows there are is not known here."""
        return (None, *self._input.shape)

    def to(self, dtype: Any) -> Any:
        """Return it in another dtype: "int64", torch.int64, pl.Int64 …

        Raises:
            InputError: fit.dtype.
        """
        return type(self)(self._frame, replace(self._input, dtype=dtype_name(dtype)), self._split, self._part)

    def to_tensor(self) -> RemoteTensor:
        """Return it as a tensor."""
        return RemoteTensor(self._frame, self._input, self._split, self._part)

    def __array__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Tell NumPy, and what takes its arrays, that there are no numbers here.

        Raises:
            InputError: fit.values.
        """
        msg = "The numbers of a tensor stay on the server."
        step = "Train on it: RemoteDataset(inputs=[x], labels=y). Numbers about groups: x.frame.select(pl.all().mean()).fetch()."
        raise InputError(msg, code="fit.values", next_step=step)

    def _parts(self, split: Split) -> tuple[Any, Any]:
        return tuple(type(self)(self._frame, self._input, split, part) for part in ("train", "test"))  # type: ignore[return-value]

    def __repr__(self) -> str:
        rows = f", the part {self._part!r}" if self._split.test else ""
        return safe_text(f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype}{rows}): stays on the server")


class RemoteArray(RemoteTensor):
    """Columns of a frame as one array; `to_tensor()` makes a tensor of it."""


def tensor_of(frame: RemoteLazyFrame, kind: type[RemoteTensor] = RemoteTensor) -> Any:
    """Return all columns of a frame as one tensor.

    Raises:
        InputError: fit.dtype, a column that holds no numbers.
    """
    return kind(frame, input_of(frame, frame.columns))


def joined(inputs: Sequence[Any], labels: Any) -> Rows:
    """Return what tensors of one frame come to as a dataset.

    Raises:
        InputError: fit.columns: no tensors, or not of one frame or one part.
    """
    tensors = [*inputs, labels]
    if not inputs or not all(isinstance(t, RemoteTensor) for t in tensors):
        msg = "A dataset is made of remote tensors."
        step = 'Write frame.to_dataset(inputs=["a", "b"], label="y"), or RemoteDataset(inputs=[x], labels=y).'
        raise InputError(msg, code="fit.columns", next_step=step)
    plans = {repr(bare(t._frame.plan)) for t in tensors}
    parts = {(t._split, t._part) for t in tensors}
    if len(plans) > 1 or len(parts) > 1:
        msg = "These tensors are not of the same rows."
        step = "Take them from one frame, after all its steps, and split them together: train_test_split(x, y)."
        raise InputError(msg, code="fit.columns", next_step=step)
    first = tensors[0]._frame
    frame = first if first.plan == bare(first.plan) else first._then(bare(first.plan))
    made = make_dataset(
        frame, [list(t._input.columns) for t in inputs], list(labels._input.columns), [t._input.shape for t in inputs]
    )
    kept = tuple(replace(one, dtype=t._input.dtype) for one, t in zip(made._rows.inputs, inputs, strict=True))
    return replace(made._rows, inputs=kept, split=first_split(tensors), part=tensors[0]._part)


def first_split(tensors: Sequence[RemoteTensor]) -> Split:
    """Return how tensors are split."""
    return tensors[0]._split


def train_test_split(
    *arrays: Any, test_size: float = 0.2, shuffle: bool = True, random_state: int | None = None, **_options: Any
) -> list[Any]:
    """Return the part for training and the part for testing of each tensor, array or dataset, one after the other.

    Which people are for testing is decided on the server by a keyed hash of each: one person is never in both parts.

    Args:
        test_size: the share of people for testing. random_state: another one splits otherwise.
        shuffle: as older code has it; there is no order of rows to keep.

    Raises:
        InputError: fit.split.
    """
    del shuffle
    if not arrays:
        msg = "There is nothing to split."
        raise InputError(msg, code="fit.split", next_step="Write train_test_split(x, y, test_size=0.2).")
    found: list[Any] = []
    for one in arrays:
        if isinstance(one, RemoteDataset):
            parts = one.split(test_size, random_state or 0)
            found += [parts.train, parts.test]
        elif isinstance(one, RemoteTensor):
            check = RemoteDataset._of(Rows(one.frame, (), ())).split(test_size, random_state or 0)
            found += one._parts(check._rows.split)
        else:
            msg = f"A {type(one).__name__} is no remote tensor."
            raise InputError(msg, code="fit.split", next_step="Make one: x = frame[[…]].to_tensor().")
    return found
