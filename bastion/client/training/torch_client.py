"""`connection.client.torch`: BastionLab's names for learners and for datasets that are sent as tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import polars as pl
from bastion_plan.errors import InputError

from bastion.client.training.arguments import LEARNER_ARGUMENTS, only_older
from bastion.client.training.needs import needs_torch

if TYPE_CHECKING:
    from bastion.client.connection import Connection
    from bastion.client.training.datasets import RemoteDataset
    from bastion.client.training.learner import RemoteLearner

#: numbers of a row that become columns; more of them become one column of arrays
MAX_COLUMNS = 64


class TorchClient:
    """Learners, and datasets of tensors."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def RemoteLearner(  # noqa: N802 - BastionLab's name
        self,
        model: Any,
        dataset: Any,
        loss: str = "cross_entropy",
        optimizer: Any = None,
        *,
        scheduler: Any = None,
        max_batch_size: int = 64,
        max_grad_norm: float = 1.0,
        metric: str | None = None,
        rows_per_unit: int = 1,
        device: str = "cpu",
        loss_bound: float = 10.0,
        seed: int | None = None,
        model_name: str = "",
        **older: Any,
    ) -> RemoteLearner:
        """Return a learner: a model, the dataset it is to learn from, and how. `fit` trains, `test` measures, `get_model` takes home.

        Args:
            model: a torch module, or layers as cells write them (nn.Sequential(nn.Linear(6, 2))).
            dataset: frame.to_dataset(inputs=["a", "b"], label="y").split(test=0.2).train
            loss: cross_entropy, bce, l2 or l1. optimizer: Adam(lr=0.001), AdamW, SGD. scheduler: StepLR, CosineLR …
            max_batch_size: people in a step. max_grad_norm: to which each person's gradient is bounded.
            metric: that `test` measures. rows_per_unit: of one person, so many rows count. seed: of the first weights.

        Raises:
            InputError: fit.*; train.missing, torch is not installed here.
        """
        from bastion.client.training.learner import RemoteLearner

        only_older(older, "RemoteLearner", LEARNER_ARGUMENTS)
        return RemoteLearner(
            self._connection, model, dataset, loss, optimizer, scheduler=scheduler, max_batch_size=max_batch_size,
            max_grad_norm=max_grad_norm, metric=metric, rows_per_unit=rows_per_unit, device=device, loss_bound=loss_bound,
            seed=seed, model_name=model_name,
        )  # fmt: skip

    def send_dataset(
        self,
        dataset: Any,
        name: str | None = None,
        description: str = "",
        *,
        policy: Any = None,
        unit: str | None = None,
        train_dataset: Any = None,
        **_older: Any,
    ) -> Any:
        """Upload rows that torch has: a Dataset of (input, label), or such pairs. Return a `RemoteDataset`.

        Args:
            dataset: what gives (x, y) or ([x, …], y) for each row. name: what others call it. policy: as of `send_df`.
            unit: "row" where every row is someone of their own.

        Raises:
            InputError: input.table, nothing that can be made a table of.
        """
        del train_dataset
        needs_torch()
        frame, inputs, labels, shapes = table_of(dataset)

        async def work() -> RemoteDataset:
            sent = await self._connection._upload(frame, policy, (), name, unit, False, None)
            made: RemoteDataset = sent.to_dataset(inputs, labels, shape=shapes)
            made.name, made.description = name, description
            return made

        return self._connection._run(work())

    def list(self) -> Any:
        """Return the frames of all datasets one may see."""
        return self._connection.datasets()

    list_remote_datasets = list

    def delete(self, dataset: Any) -> Any:
        """Delete a dataset of one's own: a `RemoteDataset`, or its id or name."""
        from bastion.client.training.datasets import RemoteDataset, bare

        if isinstance(dataset, RemoteDataset):
            plan = bare(dataset.frame.plan)
            dataset = getattr(plan, "dataset", "")
        return self._connection.client.polars.delete_df(dataset)


def table_of(rows: Iterable[Any]) -> tuple[pl.DataFrame, list[list[str]], list[str], list[Any]]:
    """Return rows of tensors as a table, the columns of each input and of the labels, and the inputs' shapes."""
    import torch

    wrong = InputError("A dataset gives an input and a label for each row.", code="input.table", next_step="Give a torch Dataset of (x, y).")  # fmt: skip
    xs: list[list[Any]] = []
    ys: list[Any] = []
    length = len(rows) if hasattr(rows, "__len__") else None
    getter = getattr(rows, "__getitem__", None)
    for row in (getter(i) for i in range(length)) if length is not None and getter is not None else rows:
        if not isinstance(row, tuple | list) or len(row) != 2:
            raise wrong
        ins, label = row
        xs.append([torch.as_tensor(x) for x in (ins if isinstance(ins, list | tuple) else [ins])])
        ys.append(torch.as_tensor(label).flatten().tolist())
    if not xs or len({len(row) for row in xs}) > 1 or len({len(y) for y in ys}) > 1:
        raise wrong
    columns: dict[str, Any] = {}
    inputs: list[list[str]] = []
    shapes: list[Any] = []
    for place in range(len(xs[0])):
        found = torch.stack([row[place] for row in xs]).cpu()
        width = found[0].numel()
        values = found.reshape(len(xs), width).numpy()
        if found.dim() <= 2 and width <= MAX_COLUMNS:
            names = [f"input{place}_{i}" for i in range(width)]
            columns |= {name: values[:, i] for i, name in enumerate(names)}
            shapes.append(None)
        else:
            names = [f"input{place}"]
            columns[names[0]] = pl.Series(
                values, dtype=pl.Array(pl.Float32 if found.is_floating_point() else pl.Int64, width)
            )
            shapes.append(tuple(found.shape[1:]))
        inputs.append(names)
    labels = ["label"] if len(ys[0]) == 1 else [f"label{i}" for i in range(len(ys[0]))]
    columns |= {name: [y[i] for y in ys] for i, name in enumerate(labels)}
    return pl.DataFrame(columns), inputs, labels, shapes
