"""Fits for tests: a small model, a table about nothing, and both as a worker takes them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
import torch
from bastion_plan.models.fits import FitSpec, Optimizer
from bastion_plan.models.graph import Graph
from bastion_server.training.checkpoints import to_bytes
from bastion_server.training.loop import Fit
from bastion_server.workers import memfd
from bastion_server.workers.child import write
from torch import nn

from bastion.client.training.exporting import export

torch.set_num_threads(1)
KEY = bytes(range(32))
GB = 1 << 30


def table(people: int = 200, features: int = 4, seed: int = 1, rows: int = 1) -> pl.DataFrame:
    """People of whom a line tells the label."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(people * rows, features))
    y = (x @ np.linspace(-1, 1, features) > 0).astype(np.int64)
    return pl.DataFrame(
        {"#~u": np.repeat(np.arange(people), rows), "#~o": np.arange(people * rows)}
        | {f"x{i}": x[:, i] for i in range(features)}
        | {"y": y}
    )


def arrow(frame: pl.DataFrame) -> bytes:
    """The table as a server gives it."""
    buffer = io.BytesIO()
    write(frame, buffer, stream=False)
    return buffer.getvalue()


def mlp(features: int = 4, classes: int = 2, wide: int = 8, seed: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(features, wide), nn.ReLU(), nn.Dropout(0.1), nn.Linear(wide, classes))


def sent(module: nn.Module, features: int = 4, mode: str = "sample") -> tuple[Graph, bytes]:
    """(graph, weights) of a module."""
    exported = export(module, [torch.ones(features)], mode=mode)
    return exported.graph, to_bytes({w.name: exported.weights[w.name].contiguous() for w in exported.graph.weights})


@lru_cache
def _usual(features: int, mode: str) -> tuple[Graph, bytes]:
    return sent(mlp(features), features, mode)


def spec(features: int = 4, **changed: Any) -> FitSpec:
    """A private fit by cross entropy."""
    settings: dict[str, Any] = {
        "inputs": (tuple(f"x{i}" for i in range(features)),), "labels": ("y",), "loss": "cross_entropy", "steps": 20,
        "optimizer": Optimizer(lr=0.5), "epsilon": 1.0, "rate": 0.2, "expected": 40.0, "batch": 64,
    }  # fmt: skip
    return FitSpec(**(settings | changed))


@contextmanager
def opened(frame: pl.DataFrame) -> Iterator[str]:
    """A path of the table."""
    fd = memfd.sealed(arrow(frame))
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def fit(
    frame: pl.DataFrame,
    made: FitSpec,
    module: nn.Module | None = None,
    *,
    memory: int = GB,
    mode: str = "sample",
    **more: Any,
) -> Fit:
    """A fit in this process, without walls."""
    width = more.pop("shape", len(made.inputs[0]))
    graph, weights = sent(module, width, mode) if module else _usual(width, mode)
    with opened(frame) as path:
        return Fit(graph, made, path, more.pop("weights", weights), KEY, memory, **more)
