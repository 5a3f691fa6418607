"""Fits as they are seen from here: what was last heard of each, how far it is, and what one can do with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from bastion_plan.canonical import encode
from bastion_plan.errors import BastionError, InputError, Interrupted, ServerError
from bastion_plan.nodes import Node
from bastion_wire import messages as m

from bastion.client.terminal import followed
from bastion.client.training.requesting import FitDenied, RunDenied
from bastion.render.progress import FitProgress
from bastion.render.runs import measured_text, run_text, runs_text, summary_text

if TYPE_CHECKING:
    from bastion.client.connection import Connection
    from bastion.render.charts import Chart

#: states in which something is still to come
ACTIVE = ("queued", "running")
#: seconds that stopping may take before whoever interrupted is told what is known
STOPPING = 5.0
Heard = Callable[[m.RunInfo], Any]


class RunBook:
    """What a connection last heard of its fits. Pushes bring it; nothing is asked while the connection stands."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.known: dict[str, m.RunInfo] = {}
        self._listeners: dict[str, list[Heard]] = {}
        self._waiting: dict[str, list[asyncio.Future[m.RunInfo]]] = {}

    def heard(self, info: m.RunInfo, *, anew: bool = False) -> m.RunInfo:
        """Take what came; return what is known now. An older message does not take the place of a newer one.

        anew: a fit that had ended goes on, from a checkpoint.
        """
        known = self.known.get(info.id)
        if known is not None and known.spec == info.spec and not anew:
            ended = known.state not in ACTIVE and info.state in ACTIVE
            if ended or info.step < known.step:
                return known
        self.known[info.id] = info
        for listener in list(self._listeners.get(info.id, ())):
            with suppress(Exception):  # of a callback: its trouble is its own
                listener(info)
        if info.state not in ACTIVE:
            for future in self._waiting.pop(info.id, []):
                if not future.done():
                    future.set_result(info)
        return info

    def give_up(self, error: BastionError) -> None:
        """Nothing more will be heard."""
        for futures in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)
                    future.exception()
        self._waiting.clear()

    async def catch_up(self) -> None:
        """The connection is back: ask once for each fit that somebody waits for or listens to."""
        for run in {*self._waiting, *self._listeners}:
            with suppress(BastionError):
                self.heard((await self._connection._ask(m.GetRun(run))).info)

    def listen(self, run: str, listener: Heard) -> Callable[[], None]:
        """Call `listener(info)` whenever something is heard of a fit; return what takes it off again."""
        listeners = self._listeners.setdefault(run, [])
        listeners.append(listener)

        def remove() -> None:
            if listener in listeners:
                listeners.remove(listener)
            if not listeners and self._listeners.get(run) is listeners:
                del self._listeners[run]

        return remove

    async def end_of(self, info: m.RunInfo, tell: Heard | None = None) -> m.RunInfo:
        """Wait until a fit has ended. tell: called with each state meanwhile."""
        remove = self.listen(info.id, tell or (lambda _: None))
        try:
            info = self.heard(info)
            if info.state not in ACTIVE:
                return info
            future: asyncio.Future[m.RunInfo] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(info.id, []).append(future)
            return await future
        finally:
            remove()


class RemoteRun:
    """A fit: how far it is, what it cost, what was measured. It goes on without anybody who watches."""

    def __init__(self, info: m.RunInfo, connection: Connection) -> None:
        self._info, self._connection = info, connection
        self._connection._book.heard(info)

    @property
    def info(self) -> m.RunInfo:
        """All that was last heard of it, as the server's message has it."""
        return self._connection._book.known.get(self._info.id, self._info)

    @property
    def id(self) -> str:
        """Its id: `connection.run(id)` finds it again."""
        return self._info.id

    @property
    def state(self) -> str:
        """queued, running, done, stopped or failed."""
        return self.info.state

    @property
    def active(self) -> bool:
        """Whether it runs, or waits to."""
        return self.state in ACTIVE

    @property
    def step(self) -> int:
        """Steps done."""
        return self.info.step

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.info.steps

    @property
    def epsilon(self) -> float:
        """What was asked for; 0 without noise."""
        return self.info.epsilon

    @property
    def spent(self) -> float:
        """The epsilon that the steps so far come to, alone."""
        return self.info.spent

    @property
    def losses(self) -> list[float | None]:
        """The loss of each epoch, with noise where the data is private."""
        return list(self.info.losses)

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured and paid for: `Measured` numbers by name."""
        return {name: Measured(msgspec.convert(one, m.Metric)) for name, one in self.info.metrics.items()}

    def wait(self, on_progress: Heard | None = None) -> Any:
        """Wait until it has ended; return it. Stopping to wait does not stop it.

        Args:
            on_progress: called with each state; without it a terminal or a notebook shows them in a line.
        """
        return self._connection._run(self._followed(on_progress))

    async def _followed(self, on_progress: Heard | None = None) -> RemoteRun:
        connection = self._connection

        def told(tell: Callable[[m.Progress], None] | None) -> Heard:
            def heard(info: m.RunInfo) -> None:
                if on_progress is not None:
                    on_progress(info)
                elif tell is not None:
                    tell(progress_of(info))

            return heard

        async with followed(connection._progress, wanted=on_progress is None and not connection._eager) as tell:
            await connection._book.end_of(self.info, told(tell))
        return self

    async def _watched(self, on_progress: Heard | None) -> RemoteRun:
        """Wait for its end; an interrupt stops it, and says how far it came.

        Raises:
            Interrupted: interrupted.fit. ServerError: it failed.
        """
        try:
            await self._followed(on_progress)
        except asyncio.CancelledError:
            stopping = asyncio.ensure_future(self._stopped())
            with suppress(BastionError, TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(asyncio.shield(stopping), STOPPING)
            if not self._connection._eager:  # whoever waits is gone; `RemoteLearner` says how far it came
                raise
            raise self.interrupted() from None
        if self.state == "failed":
            info = self.info
            msg = info.problem or "The fit failed."
            step = f"What it did until step {info.step:,} is kept and paid; connection.run({info.id!r}) has it."
            raise ServerError(msg, code=info.code or "server.fit", next_step=step)
        return self

    def interrupted(self) -> Interrupted:
        """Return the error that says how far it came."""
        info = self.info
        spent = f" Epsilon {info.spent:.3g} of {info.epsilon:.3g} is spent." if info.spec.private else ""
        msg = f"The fit was stopped at step {info.step:,} of {info.steps:,}.{spent}"
        return Interrupted(msg, code="interrupted.fit", next_step="To go on from there: learner.resume(nb_epochs=…).")

    def stop(self) -> Any:
        """Stop it after the step it is at; what was done is kept and paid. Return it."""
        return self._connection._run(self._stopped())

    async def _stopped(self) -> RemoteRun:
        info = self._connection._book.heard((await self._connection._ask(m.StopRun(self.id))).info)
        if info.state in ACTIVE:
            await self._connection._book.end_of(info)
        return self

    def refresh(self) -> Any:
        """Ask the server how far it is; return it."""

        async def work() -> RemoteRun:
            self._connection._book.heard((await self._connection._ask(m.GetRun(self.id))).info)
            return self

        return self._connection._run(work())

    def delete(self) -> Any:
        """Forget it and its checkpoints; what it cost stays spent."""

        async def work() -> None:
            await self._connection._ask(m.DeleteRun(self.id))
            self._connection._book.known.pop(self.id, None)

        return self._connection._run(work())

    def plot(self) -> Chart:
        """Return its loss by epoch as a chart. It costs nothing further.

        Raises:
            InputError: fit.losses, there is none yet.
        """
        from bastion.render.runs import loss_chart

        return loss_chart(self.info)

    def test(
        self, metric: str | None = None, *, eps: float | None = None, part: str = "test", bound: float = 0.0
    ) -> Any:
        """Measure it on a part of its rows, with noise and paid where the data is private. Return a `Measured`.

        Args:
            metric: accuracy, f1, auc, confusion, mae or loss; None for the usual one of its loss. eps: what it may cost.
            part: "test" or "train". bound: to which a row's loss or error is clipped.

        Raises:
            Denied: the owner decides.
        """
        return self._connection._run(self._tested(metric, eps, part, bound))

    async def _tested(self, metric: str | None, eps: float | None, part: str, bound: float) -> Measured:
        from bastion.client.spending import checked_epsilon
        from bastion.client.training.learner import usual_metric

        name = metric or usual_metric(self.info.spec.loss)
        answer = await self._connection._ask(m.TestRun(self.id, name, part, checked_epsilon(eps), float(bound)))
        if isinstance(answer, m.Denial):
            raise RunDenied(answer, self)
        return Measured(answer)

    def get_model(self, model: Any = None) -> Any:
        """Return the trained model (see `RemoteLearner.get_model`).

        Args:
            model: what it was made of: the same module, or the same layers.
        """
        return self._connection._run(self._model(model))

    async def _model(self, model: Any) -> Any:
        from bastion.client.training.models import ModelCard, trained

        connection = self._connection
        if model is None:
            msg = "Weights alone are no model."
            raise InputError(msg, code="fit.model", next_step="Give the module that was trained: run.get_model(model).")
        async with followed(connection._progress, wanted=not connection._eager) as tell:
            answer = await connection._open_session.weights(self.id, tell)
        if isinstance(answer, m.Denial):
            raise RunDenied(answer, self)
        weights, data = answer
        info = connection._book.heard(weights.info)
        card = ModelCard(info, {key: d.facts for key, d in connection._cards().items()})
        return await asyncio.to_thread(trained, model, data, card, cells=connection._eager)

    def __repr__(self) -> str:
        return run_text(self.info)


class RunList(list[RemoteRun]):
    """Fits, as a table with their settings and their cost."""

    def __repr__(self) -> str:
        return runs_text([run.info for run in self])


class Measured:
    """A measured number: `float(measured)`; with noise and how much of it, where the data is private."""

    def __init__(self, metric: m.Metric) -> None:
        self.metric = metric

    @property
    def name(self) -> str:
        """What was measured."""
        return self.metric.name

    @property
    def value(self) -> float | None:
        """The number."""
        return self.metric.value

    @property
    def error(self) -> float:
        """95 times of 100 the noise is smaller than this; 0 where it is not known."""
        return self.metric.error

    @property
    def epsilon(self) -> float:
        """What it cost."""
        return self.metric.epsilon

    @property
    def matrix(self) -> list[list[float]]:
        """Of a confusion: rows are what it is, columns what the model says."""
        return [list(row) for row in self.metric.matrix]

    def __float__(self) -> float:
        return float("nan") if self.metric.value is None else self.metric.value

    def __repr__(self) -> str:
        return measured_text(self.metric)


class FitEstimate:
    """What a fit would cost. Nothing has been spent for it."""

    def __init__(self, summary: m.FitSummary, people: float, epochs: float, report: str = "") -> None:
        self.summary, self.people, self.epochs = summary, people, epochs
        #: what is sent of the model, in a line (`Exported.report`)
        self.report = report

    @property
    def outcome(self) -> str:
        """ "private" (paid from the budget), "review" (an owner has to approve it) or "refuse"."""
        return self.summary.outcome

    @property
    def epsilon(self) -> float:
        """What it would cost."""
        return self.summary.epsilon

    @property
    def steps(self) -> int:
        """How many steps."""
        return self.summary.steps

    @property
    def noise(self) -> float:
        """Deviation of the noise, in units of the bound of a person's gradient."""
        return self.summary.noise

    @property
    def affordable(self) -> bool:
        """Whether that is left of the budget."""
        return self.summary.affordable

    def __repr__(self) -> str:
        return summary_text(self.summary, self.people, self.epochs, self.report)


class TrainingMethods:
    """What a connection can do with fits: `runs`, `run`."""

    if TYPE_CHECKING:
        _book: RunBook

        def _run(self, work: Any) -> Any: ...
        async def _ask(self, body: m.Body, on_progress: Any = None) -> Any: ...

    def runs(self) -> Any:
        """Return one's own fits, and for owners those on their data; oldest first."""

        async def work() -> RunList:
            infos: Iterable[m.RunInfo] = (await self._ask(m.ListRuns())).runs
            return RunList(RemoteRun(info, self) for info in infos)  # type: ignore[arg-type]

        return self._run(work())

    def run(self, run_id: str) -> Any:
        """Return a fit by its id, to watch it again or to take its model."""
        if not isinstance(run_id, str):
            msg = "A fit is named by its id."
            raise InputError(msg, code="input.arguments", next_step="connection.runs() lists them.")

        async def work() -> RemoteRun:
            return RemoteRun((await self._ask(m.GetRun(run_id))).info, self)  # type: ignore[arg-type]

        return self._run(work())


def progress_of(info: m.RunInfo) -> FitProgress:
    """Return how far a fit is, as who shows progress takes it."""
    return FitProgress("training", info.step, info.steps, run=info)


async def begin(
    connection: Connection, plan: Node, model: str, spec: Any, began: Callable[[RemoteRun], None] | None = None
) -> RemoteRun:
    """Start a fit; return it as soon as it has begun. began: is told of it, also where an owner has to approve it first.

    Raises:
        FitDenied: an owner has to approve it, or it is refused.
    """
    answer = await connection._ask(m.Fit(encode(plan), model, spec))
    if isinstance(answer, m.Denial):
        if answer.request is not None:
            connection._heard(answer.request)
        raise FitDenied(answer, plan, connection, model, spec, began)
    run = RemoteRun(answer.info, connection)
    if began is not None:
        began(run)
    return run
