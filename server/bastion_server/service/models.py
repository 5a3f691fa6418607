"""Receiving a model: its graph is read and checked here, its weights are bytes that nobody reads outside a sandbox."""

from __future__ import annotations

import asyncio
import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass

from bastion_plan.errors import InputError, NotFound, ServerError
from bastion_plan.models.fits import MAX_STEPS, FitSpec
from bastion_plan.models.graph import Graph, decode
from bastion_wire.messages import AnyAnswer, Model, ModelBegin

from bastion_server.channel.sessions import Incoming
from bastion_server.store import Store
from bastion_server.store.models import KeptModel, model_name
from bastion_server.store.sealed import SealedWriter


@dataclass(frozen=True)
class TrainingSettings:
    """What an operator lets fits take. Sizes in bytes.

    max_parameters: numbers that are trained. model: largest model, its weights that are not trained included. room, models:
    of one identity's models together. memory: of one pass of a model. worker: of a training worker in all. fits: at once;
    queued: of one identity, the one that runs included; runs: of one identity that are remembered; disk: of their weights and checkpoints.
    steps: of one fit. grace: seconds that a step has to come to an end once its fit may not go on; then the worker is killed.
    """

    max_parameters: int = 50_000_000
    model: int = 512 << 20
    room: int = 2 << 30
    models: int = 200
    memory: int = 2 << 30
    worker: int = 4 << 30
    fits: int = 2
    queued: int = 8
    runs: int = 500
    disk: int = 20 << 30
    steps: int = MAX_STEPS
    grace: float = 15.0


def able() -> None:
    """Check that this server can train at all.

    Raises:
        ServerError: train.missing.
    """
    from bastion_server.training.lease import missing

    error = missing()
    if error is not None:
        raise error


def check_allowed(spec: FitSpec, settings: TrainingSettings) -> None:
    """Check that a fit is within what the operator lets one take, on a device that this server trains on.

    Raises:
        InputError: fit.steps, fit.device.
    """
    if spec.steps > settings.steps:
        raise InputError(
            f"This fit has {spec.steps:,} steps.", code="fit.steps", reason=f"This server lets a fit have {settings.steps:,}.",
            next_step="Use fewer epochs, or larger batches.",
        )  # fmt: skip
    if spec.device != "cpu":
        raise InputError(
            f"This server trains on its processors, not on {spec.device[:40]!r}.", code="fit.device",
            reason="A graphics processor is reached through its driver, which the walls around a training worker keep out.",
            next_step='Leave device out, or write device="cpu".',
        )  # fmt: skip


class ModelService:
    """Models by sender. Implements the channel's uploads of models."""

    def __init__(self, store: Store, settings: TrainingSettings) -> None:
        self.store, self.settings = store, settings
        self._coming: dict[str, list[int]] = {}  # announced sizes under way, by identity
        self._swept = 0.0
        self._reading = asyncio.Semaphore(1)

    async def begin(self, request: Incoming) -> ModelSink:
        """Check a model's graph and the room for its weights.

        Raises:
            PlanError: model.graph, model.mixes. InputError: model.size, model.room. ServerError: train.missing.
        """
        body, who = request.body, request.principal.name
        assert isinstance(body, ModelBegin)
        able()
        # INVARIANT: one at a time: hostile bytes may take fifty times their length while they are read
        async with self._reading:
            graph = await asyncio.to_thread(decode, body.graph)
        self._check_size(graph, body.size)
        await self.sweep()
        count, held = await asyncio.to_thread(self.store.models.room, who)
        coming = self._coming.setdefault(who, [])
        if held + sum(coming) + body.size > self.settings.room or count + len(coming) >= self.settings.models:
            raise InputError(
                "You have sent more models than this server keeps of one person.", code="model.room",
                reason=f"At most {self.settings.models} models of {self.settings.room >> 20} MiB together.",
                next_step="A model that is not used goes after a day; send smaller ones, or wait.",
            )  # fmt: skip
        writer = await asyncio.to_thread(self.store.sealed.writer)
        coming.append(body.size)
        return ModelSink(self, who, body, graph.parameters, writer)

    def _check_size(self, graph: Graph, size: int) -> None:
        """INVARIANT: how large a model is is told by its graph, so that no weights are taken that do not belong to it."""
        if graph.parameters > self.settings.max_parameters:
            raise InputError(
                f"The model has {graph.parameters:,} numbers to train.", code="model.size",
                reason=f"This server trains at most {self.settings.max_parameters:,}.",
                next_step="Make its layers smaller, or freeze some with requires_grad_(False).",
            )  # fmt: skip
        if not graph.parameters:
            raise InputError(
                "The model has nothing to train.", code="model.size", next_step="Leave requires_grad of a layer on."
            )
        widths = {"float64": 8, "int64": 8, "float32": 4, "int32": 4}
        needed = sum(w.count * widths.get(w.dtype, 1) for w in graph.weights)
        header = 4096 + 2048 * len(graph.weights)
        if not needed <= size <= needed + header or size > self.settings.model:
            raise InputError(
                "The announced weights are not as large as the model's graph says.", code="model.size",
                reason=f"They take {needed:,} bytes and a header; at most {self.settings.model >> 20} MiB are taken.",
                next_step="Send the model as bastion writes it.",
            )  # fmt: skip

    def find(self, name: str, who: str, now: float) -> KeptModel:
        """Return a model that this identity sent.

        Raises:
            NotFound: missing.model, whether it went or never came.
        """
        kept = self.store.models.get(name[:64], who, now, self.store.identities.since(who))
        if kept is None:
            raise NotFound(
                "There is no such model of yours on the server.", code="missing.model",
                reason="A model goes a day after its last use.", next_step="Send it again.",
            )  # fmt: skip
        return kept

    async def sweep(self) -> None:
        """Forget models that nobody used for a day, and what ended approvals gave, once in a while."""
        now = time.time()
        if now - self._swept > 60:
            self._swept = now
            with suppress(ServerError):
                await asyncio.to_thread(lambda: self.store.models.prune(now, self.store.requests.models(now)))
                await asyncio.to_thread(self.store.runs.prune)

    def gone(self, who: str, size: int) -> None:
        """An upload ended."""
        coming = self._coming[who]
        coming.remove(size)
        if not coming:
            del self._coming[who]


class ModelSink:
    """Where the weights of one model go: a sealed file, from the first byte on."""

    def __init__(
        self, service: ModelService, who: str, body: ModelBegin, parameters: int, writer: SealedWriter
    ) -> None:
        self._service, self._who, self._body, self._parameters, self._writer = service, who, body, parameters, writer
        self._open = True
        self._writing: asyncio.Future[None] | None = None

    async def chunk(self, data: memoryview) -> None:
        """Take the next bytes."""
        # shielded: a thread writes, so the file must not be closed when the peer goes away
        self._writing = asyncio.ensure_future(asyncio.to_thread(self._writer.write, bytes(data)))
        await asyncio.shield(self._writing)

    async def end(self) -> AnyAnswer:
        """Keep the model; returns its name."""
        try:
            self._keeping = asyncio.ensure_future(asyncio.to_thread(self._keep))
            name = await asyncio.shield(self._keeping)
        finally:
            self._close()
        return Model(name, self._parameters)

    async def abort(self) -> None:
        """Throw away what came."""
        self._close()
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        await asyncio.to_thread(self._writer.abort)

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._service.gone(self._who, self._body.size)

    def _keep(self) -> str:
        store, now = self._service.store, time.time()
        ref = self._writer.commit()
        # INVARIANT: the digest was compared with the announced one as the bytes came
        name = model_name(hashlib.sha256(self._body.graph).digest(), ref.sha256)
        model = KeptModel(name, self._who, self._body.graph, self._parameters, ref, now)
        try:
            new = store.models.put(model, now)
        except BaseException:
            store.sealed.remove(ref.name)
            raise
        if not new:
            store.sealed.remove(ref.name)
        return name
