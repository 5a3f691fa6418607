"""Frame methods that lead to models: to_dataset, to_array, to_tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bastion.client.base import FrameBase

if TYPE_CHECKING:
    from bastion.client.training.datasets import RemoteDataset
    from bastion.client.training.tensors import RemoteArray, RemoteTensor


class Learning(FrameBase):
    """to_dataset, to_array, to_tensor."""

    def to_dataset(
        self, inputs: Any = None, label: Any = None, *, labels: Any = None, shape: Any = None, dtype: Any = None
    ) -> RemoteDataset:
        """Return columns as what a model is trained on. The rows stay on the server.

        Args:
            inputs: names of columns of numbers, side by side; lists of names for a model of several inputs; or one column
                of lists or arrays. None for all columns of numbers but labels, identifiers and the privacy unit.
            label: the column to predict (or several, of numbers). labels: the same.
            shape: of one row of a column of lists, as (1, 28, 28). dtype: of the inputs; None for what the model takes.

        Raises:
            InputError: fit.columns, fit.dtype, fit.shape: with the column.
        """
        from bastion.client.training.datasets import make_dataset

        return make_dataset(self, inputs, label if label is not None else labels, shape, dtype)  # type: ignore[arg-type]

    def to_array(self) -> RemoteArray:
        """Return all columns as one array of numbers; it stays on the server.

        Raises:
            InputError: fit.dtype, a column that holds no numbers.
        """
        from bastion.client.training.tensors import RemoteArray, tensor_of

        return tensor_of(self, RemoteArray)  # type: ignore[arg-type,no-any-return]

    def to_tensor(self) -> RemoteTensor:
        """Return all columns as one tensor; it stays on the server. Errors as of `to_array`."""
        from bastion.client.training.tensors import tensor_of

        return tensor_of(self)  # type: ignore[arg-type,no-any-return]
