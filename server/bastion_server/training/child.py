"""The training worker: one fit's model and rows, behind the walls of every worker (bastion_server.workers.sandbox)."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import os
from typing import Any, ClassVar

import polars as pl
import torch
from bastion_plan.errors import BastionError, ServerError
from bastion_plan.models.fits import FitSpec
from bastion_plan.models.graph import Graph, Node, Ref, Tensor, decode

from bastion_server.training import drawing
from bastion_server.training.checkpoints import to_bytes
from bastion_server.training.loop import Fit
from bastion_server.training.messages import (
    Evaluate,
    Evaluated,
    Load,
    Loaded,
    Save,
    Stepped,
    Steps,
    Tight,
    ToTrainer,
    Worked,
    Wrong,
)
from bastion_server.workers import memfd
from bastion_server.workers.child import Child, Refusal
from bastion_server.workers.messages import Done, Message, ToChild

#: what a refusal of ours may be of: words of these are of the model and the description, never of a row
_SAID = ("model.", "fit.", "train.")
#: of glibc's mallopt; and bytes, up to which memory comes from what the process holds
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _PIECE = -1, -3, 32 << 20


class TrainingChild(Child):
    """Serves one fit."""

    requests: ClassVar[Any] = ToTrainer | ToChild
    fit: Fit | None = None

    def warm(self, spare: int) -> None:
        """Make one step of a model about nothing.

        INVARIANT: it reads constants only; no rows are given to a worker before it is lent.
        """
        torch.set_num_threads(self.limits.threads or len(os.sched_getaffinity(0)))
        prepare()
        with open(spare, "wb", buffering=0, closefd=False) as file:
            table().write_ipc(file, compression="uncompressed")
        path = f"/proc/self/fd/{spare}"
        for private in (True, False):
            rehearse(path, private=private)
        os.close(spare)
        gc.collect()
        gc.freeze()

    def handle(self, message: Message, body: bytes, fds: list[int]) -> tuple[Message, bytes]:
        """Do what one message asks for and return (answer, body)."""
        try:
            return self._answer(message, body, fds)
        except BastionError as error:
            if not error.code.startswith(_SAID):
                raise
            return Wrong(error.code, error.message[:1000], error.reason[:1000], error.next_step[:1000]), b""

    def _answer(self, message: Message, body: bytes, fds: list[int]) -> tuple[Message, bytes]:
        match message:
            case Load():
                return self._load(message, fds), b""
            case Steps(count=count, sigma=sigma):
                fit = self._fit()
                loss = fit.steps(count, sigma)
                return Stepped(fit.done, loss, fit.finite()), b""
            case Evaluate(metric=metric, part=part, bound=bound, deviation=deviation):
                fit = self._fit()
                if fit.spec.private and not (math.isfinite(deviation) and deviation > 0):
                    # INVARIANT: how long it takes to count is never told without noise, whoever asks
                    msg = "A private fit was to be measured without noise on how many rows there are."
                    raise ServerError(msg, code="train.noise")
                counts, sensitivity = fit.evaluate(metric, part, bound, deviation)
                return Evaluated(tuple(counts.tolist()), sensitivity), b""
            case Save(checkpoint=checkpoint):
                return self._save(fds[0], checkpoint), b""
            case Tight(rate=rate, sigma=sigma, steps=steps, delta=delta):
                return Worked(tight(rate, sigma, steps, delta)), b""
        return super().handle(message, body, fds)

    def _fit(self) -> Fit:
        if self.fit is None:
            raise Refusal("refused", "no model")
        return self.fit

    def _load(self, message: Load, fds: list[int]) -> Loaded:
        rows, weights = fds
        self.files.append(rows)
        try:
            data = bytes(memfd.read(weights, os.fstat(weights).st_size))
        finally:
            os.close(weights)
        self.fit = None  # the one before takes no room beside it
        self.fit = fit = Fit(
            decode(message.graph),
            message.spec,
            f"/proc/self/fd/{rows}",
            data,
            message.split_key,
            message.memory,
            checkpoint=message.checkpoint,
            sigma=message.sigma,
            most_rows=message.most_rows,
        )
        return Loaded(len(fit.people), len(fit.all_rows), fit.done, fit.pass_memory)

    def _save(self, fd: int, checkpoint: bool) -> Done:
        try:
            data = to_bytes(self._fit().state(checkpoint=checkpoint))
            if len(data) > self.limits.answer:
                raise Refusal("answer")
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            return Done(size=len(data))
        finally:
            os.close(fd)


def prepare() -> None:
    """Set torch up: no code made at run time (the walls allow none), and tiny numbers are nothing (they are slow to compute with).

    Memory that a step frees stays with the process for the next one: to give it back and to get it again costs a page fault for each 4 kB.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _PIECE)
        libc.mallopt(_M_TRIM_THRESHOLD, 8 * _PIECE)
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    torch.set_flush_denormal(True)


def tight(rate: float, sigma: float, steps: int, delta: float) -> float:
    """Return the epsilon of steps by PRV accounting (Gopi, Lee, Wutschitz 2021, as in Opacus), rounded upwards."""
    from opacus.accountants import PRVAccountant  # type: ignore[import-untyped]

    accountant = PRVAccountant()
    accountant.history = [(sigma, rate, steps)]
    found = float(accountant.get_epsilon(delta))
    return found if math.isfinite(found) else math.inf


# ------------------------------------------------------------------------------------------------------------ rehearsal


def table() -> pl.DataFrame:
    """Return rows about nothing."""
    return pl.DataFrame(
        {"#~u": [1, 1, 2, 3], "#~o": [0, 1, 2, 3], "x": [0.0, 1.0, 2.0, 3.0], "z": [[1, 2]] * 4, "y": [0, 1, 1, 0]}
    )


def _graph() -> Graph:
    """A model that has a bit of everything."""
    return Graph(
        "sample",
        (Tensor("x", (1,), trained=False), Tensor("z", (2,), "int64", trained=False)),
        (Tensor("e", (4, 4)), Tensor("w", (2, 1, 3)), Tensor("v", (2, 17)), Tensor("b", (2,))),
        (
            Node("embedding", (Ref(2), Ref(1), -1)),
            Node("view", (Ref(6), (1, 1, 8))),
            Node("conv1d", (Ref(7), Ref(3), None, (1,), (1,), (1,), 1)),
            Node("relu", (Ref(8),)),
            Node("view", (Ref(9), (1, 16))),
            Node("dropout", (Ref(10), 0.1)),
            Node("cat", ((Ref(11), Ref(0)), 1)),
            Node("layer_norm", (Ref(12), (17,), None, None, 1e-5)),
            Node("linear", (Ref(13), Ref(4), Ref(5))),
        ),
        14,
    )


def rehearse(path: str, *, private: bool) -> None:
    """Do what a fit does, once."""
    drawing.words(drawing.FEW)
    graph = _graph()
    weights = to_bytes({w.name: torch.full(w.shape, 0.1) for w in graph.weights})
    spec = FitSpec(
        (("x",), ("z",)), ("y",), "cross_entropy", 2, private=private, epsilon=1, rate=0.9, expected=3, batch=4, rows=2
    )
    fit = Fit(graph, spec, path, weights, bytes(32), 1 << 28)
    if fit.clipper is not None:
        fit.clipper.patience = 0
    fit.steps(1, 1.0)
    for metric in ("accuracy", "auc", "loss"):
        fit.evaluate(metric, "train", 10.0)
    Fit(graph, spec, path, to_bytes(fit.state(checkpoint=True)), bytes(32), 1 << 28, checkpoint=True)
    with contextlib.suppress(BastionError):
        fit.evaluate("none", "train", 1.0)
