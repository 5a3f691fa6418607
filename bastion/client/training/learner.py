"""RemoteLearner: a model, the data it is to learn from, and how. The model travels as a graph; training happens beside the data."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from bastion_plan.canonical import encode
from bastion_plan.errors import InputError, NotFound, PlanError
from bastion_plan.models import graph as graphs
from bastion_plan.models.fits import LOSSES, MAX_BATCH, METRICS, FitSpec, Optimizer, Schedule, check_spec
from bastion_plan.models.layers import Layer
from bastion_wire import messages as m

from bastion.client.base import NOTES
from bastion.client.denied import Denied
from bastion.client.spending import checked_epsilon
from bastion.client.terminal import followed
from bastion.client.training.arguments import accumulated, only_older
from bastion.client.training.datasets import RemoteDataset, examples, same_rows, scans
from bastion.client.training.exprs import pl_col
from bastion.client.training.needs import needs_torch
from bastion.client.training.optimizers import Adam
from bastion.client.training.requesting import FitDenied
from bastion.client.training.runs import FitEstimate, Measured, RemoteRun, begin
from bastion.render.safe_text import safe_text

if TYPE_CHECKING:
    from bastion.client.connection import Connection
    from bastion.client.training.exporting import Exported

#: of the budget's epsilon, what it costs to ask once how many people there are
COUNTING = 0.01
#: other names of losses
_OLD_LOSSES = {
    "mse": "l2",
    "l2_loss": "l2",
    "l1_loss": "l1",
    "mae": "l1",
    "bce_with_logits": "bce",
    "nll": "cross_entropy",
}


def usual_metric(loss: str) -> str:
    """Return the metric that one asks for first."""
    return {"class": "accuracy", "bit": "accuracy", "number": "mae"}[LOSSES[loss]]


class RemoteLearner:
    """A model that learns beside the data.

    >>> learner = client.torch.RemoteLearner(model, ds.train, loss="cross_entropy", optimizer=Adam(lr=0.01))  # doctest: +SKIP
    >>> learner.fit(nb_epochs=5, eps=1.0)                                                                 # doctest: +SKIP

    Args:
        connection: to the server that has the data.
        model: a torch module, or layers as cells write them. It stays as it is; a copy learns.
        dataset: what it learns from: `frame.to_dataset(…).split(…).train`.
        loss: cross_entropy (labels are numbers of classes), bce (0 or 1, the model gives one number before the sigmoid),
            l2 or l1 (numbers).
        optimizer: Adam(lr=…), AdamW(…), SGD(…). scheduler: StepLR(…), CosineLR(…) …
        max_batch_size: people in a step. max_grad_norm: to which each person's gradient is bounded, where there is noise.
        metric: that `test` measures. rows_per_unit: of one person, so many rows count. seed: of the first weights of layers.
        device: "cpu"; servers train on no other (`fit.device`). loss_bound: to which a person's loss is clipped where it is shown.

    Raises:
        InputError: fit.*; train.missing.
    """

    def __init__(
        self,
        connection: Connection,
        model: Any,
        dataset: RemoteDataset,
        loss: str = "cross_entropy",
        optimizer: Optimizer | None = None,
        *,
        scheduler: Schedule | None = None,
        max_batch_size: int = 64,
        max_grad_norm: float = 1.0,
        metric: str | None = None,
        rows_per_unit: int = 1,
        device: str = "cpu",
        loss_bound: float = 10.0,
        seed: int | None = None,
        model_name: str = "",
    ) -> None:
        needs_torch()
        self._connection = connection
        if not isinstance(dataset, RemoteDataset):
            msg = "A learner learns from a dataset."
            step = 'Make one: ds = frame.to_dataset(inputs=["a", "b"], label="y").split(test=0.2).'
            raise InputError(msg, code="fit.columns", next_step=step)
        loss = _OLD_LOSSES.get(loss, loss) if isinstance(loss, str) else loss
        if loss not in LOSSES:
            msg = f"There is no loss {safe_text(loss, 40)!r}."
            raise InputError(msg, code="fit.loss", next_step=f"Use one of {', '.join(LOSSES)}.")
        self._metric = _checked_metric(metric or usual_metric(loss), loss)
        for value, kind, code, words in (
            (optimizer, Optimizer, "fit.optimizer", "An optimiser is Adam(lr=0.001), AdamW(…) or SGD(…)."),
            (
                scheduler,
                Schedule,
                "fit.schedule",
                "A schedule is StepLR(…), ExponentialLR(…), LinearLR(…) or CosineLR(…).",
            ),
        ):
            if value is not None and not isinstance(value, kind):
                raise InputError(words, code=code)
        self.model, self.dataset, self.loss, self.model_name = model, dataset, loss, model_name
        self._settings: dict[str, Any] = {
            "optimizer": optimizer or Adam(), "schedule": scheduler or Schedule(), "clip": max_grad_norm, "batch": max_batch_size,
            "rows": rows_per_unit, "device": device, "loss_bound": loss_bound,
        }  # fmt: skip
        self._seed = seed
        self._module: Any = None
        self._exported: dict[bool, Exported] = {}
        self._sent: dict[bool, str] = {}
        self._counted: float | None = None
        #: the last fit
        self.run: RemoteRun | None = None

    # ---- the model ---------------------------------------------------------------------------------------------------

    def export(self) -> Exported:
        """Return the model as it travels: its graph, its weights, and a `report` in a line. Nothing is sent.

        Raises:
            PlanError: model.*, with the layer.
        """
        return self._graph(self.dataset.private)

    def _graph(self, private: bool) -> Exported:
        if private not in self._exported:
            from bastion.client.training.exporting import export

            module, rows = self._made(), self.dataset._rows
            import torch

            embeds = any(isinstance(one, torch.nn.Embedding | torch.nn.EmbeddingBag) for one in module.modules())
            given = examples(rows, whole=embeds)
            try:
                found = export(module, given)
            except PlanError as error:
                if error.code != "model.mixes" or private:
                    raise
                found = export(module, given, mode="batch")
            self._exported[private] = found
        return self._exported[private]

    def _made(self) -> Any:
        if self._module is None:
            import torch

            if isinstance(self.model, Layer):
                from bastion.client.training.building import build

                self._module = build(self.model, self._seed)
            elif isinstance(self.model, torch.nn.Module):
                self._module = self.model
            else:
                msg = f"A {type(self.model).__name__} is no model."
                raise InputError(
                    msg, code="fit.model", next_step="Give a torch.nn.Module, or nn.Sequential(nn.Linear(6, 2))."
                )
        return self._module

    async def _upload(self, private: bool) -> str:
        """Send the model, once; return its name on the server."""
        if private not in self._sent:
            exported = await asyncio.to_thread(self._graph, private)
            data = await asyncio.to_thread(_bytes, exported)
            begun = m.ModelBegin(graphs.encode(exported.graph), len(data), hashlib.sha256(data).digest())
            connection = self._connection
            async with followed(connection._progress, wanted=not connection._eager) as tell:
                answer = await connection._open_session.upload(begun, memoryview(data), tell)
            self._sent[private] = answer.model
        return self._sent[private]

    async def _with_model(self, private: bool, work: Callable[[str], Any]) -> Any:
        """Do something with the model on the server; one that is gone by now is sent anew."""
        model = await self._upload(private)
        try:
            return await work(model)
        except NotFound as error:
            if error.code != "missing.model":
                raise
            self._sent.pop(private, None)
            return await work(await self._upload(private))

    # ---- the description ---------------------------------------------------------------------------------------------

    async def _people(self, given: float | None) -> float:
        """Return about how many people are trained on: given by hand, or asked for once (and given again free)."""
        share = 1 - self.dataset._rows.split.test
        if given is not None:
            if (
                isinstance(given, bool)
                or not isinstance(given, int | float)
                or not (math.isfinite(given) and given >= 1)
            ):
                msg = "The number of people is a number from 1 on."
                raise InputError(msg, code="fit.people", next_step="Write fit(…, people=5000), or leave it out.")
            return float(given)
        if self._counted is None:
            self._counted = await self._count()
        return max(1.0, self._counted * share)

    async def _count(self) -> float:
        frame, connection = self.dataset.frame, self._connection
        # the same question for all datasets that are prepared of the same rows: it is paid once
        frame = frame._then(same_rows(frame.plan)) if same_rows(frame.plan) != frame.plan else frame
        facts = [connection.facts[key] for key in scans(frame.plan) if key in connection.facts]
        unit = facts[0].unit if facts else None
        unknown = "How many people there are has to be known, to say how many steps an epoch has."
        by_hand = "Say about how many there are: fit(…, people=5000)."
        if unit is not None and unit not in frame.plan_schema:
            raise InputError(
                unknown, code="fit.people", reason=f"The frame has no column {unit!r} any more.", next_step=by_hand
            )
        from bastion.expr.toplevel import functions

        count = functions()["len"]() if unit is None else pl_col(unit).n_unique()
        epsilon = 0.0
        if self.dataset.private:
            budgets = (await connection._ask(m.GetBudget())).budgets
            caps = [b.epsilon for b in budgets if any(f.name in b.datasets for f in facts)]
            epsilon = COUNTING * min(caps, default=0.0)
        try:
            found = (await connection._run_plan(frame.select(count.alias("people")).plan, epsilon=epsilon)).frame
        except Denied as denied:
            raise InputError(unknown, code="fit.people", reason=denied.reason, next_step=by_hand) from None
        value = found.item()
        if value is None or value < 1:
            raise InputError(unknown, code="fit.people", reason="Too few people are told about.", next_step=by_hand)
        return float(value)

    async def _spec(
        self,
        epochs: float,
        eps: float | None,
        batch: int | None,
        people: float | None,
        private: bool | None,
        accumulate: int = 1,
    ) -> tuple[FitSpec, float]:
        """Return the description of a fit, and about how many people it is on."""
        if isinstance(epochs, bool) or not isinstance(epochs, int | float) or not 0 < epochs <= 1e6:
            msg = "The number of epochs is a number above 0."
            raise InputError(msg, code="fit.steps", next_step="Write fit(nb_epochs=5, eps=1.0).")
        noisy = self.dataset.private if private is None else private
        epsilon = checked_epsilon(eps)
        if noisy and not epsilon:
            msg = "Training on this data is paid from its privacy budget."
            step = "Say what it may cost: fit(nb_epochs=5, eps=1.0). learner.summarize(…) tells what that comes to."
            raise InputError(msg, code="fit.privacy", next_step=step)
        if not noisy and epsilon:
            _note("eps does nothing here: this data is not answered with noise, so its owner decides on the fit.")
        rows, settings = self.dataset._rows, self._settings
        size = batch if batch is not None else settings["batch"]
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            msg = "A batch has at least one person."
            raise InputError(msg, code="fit.batch", next_step="Write batch_size=64.")
        if isinstance(accumulate, bool) or not isinstance(accumulate, int) or not 1 <= accumulate <= MAX_BATCH:
            msg = "Gradients are accumulated over one batch at least."
            raise InputError(msg, code="fit.batch", next_step="Write accumulate=4: a step of four batches.")
        # INVARIANT: what is accumulated is one batch to the accounting: drawn once, noised once, paid once
        whole = size * accumulate
        there = await self._people(people)
        rate = min(1.0, whole / there)
        epoch = max(1, round(1 / rate))
        steps = max(1, math.ceil(epochs * epoch - 1e-9))
        given = {**settings, "batch": min(size, settings["batch"]) if noisy else whole}
        spec = FitSpec(
            tuple(one.columns for one in rows.inputs), rows.labels, self.loss, steps, split=rows.split, part=rows.part, private=noisy,
            epsilon=epsilon if noisy else 0.0, rate=rate if noisy else 0.0, expected=rate * there if noisy else 0.0,
            epoch=min(epoch, steps), **given,
        )  # fmt: skip
        exported = await asyncio.to_thread(self._graph, noisy)
        if accumulate > 1 and exported.graph.mode == "batch":
            msg = "A layer of this model looks at a whole batch (BatchNorm), so a batch is not the sum of smaller ones."
            raise InputError(msg, code="fit.batch", next_step=f"Write batch_size={whole}, or use GroupNorm.")
        check_spec(spec, exported.graph)
        return spec, there

    # ---- what one does with it ---------------------------------------------------------------------------------------

    def summarize(
        self,
        nb_epochs: float = 1,
        eps: float | None = None,
        *,
        batch_size: int | None = None,
        accumulate: int = 1,
        people: float | None = None,
        private: bool | None = None,
        **other: Any,
    ) -> Any:
        """Return what a fit would cost (a `FitEstimate`), and whether that is left. The fit itself spends nothing yet.

        Args: as of `fit`.
        """
        accumulate = accumulated(accumulate, other, "summarize")

        async def work() -> FitEstimate:
            spec, there = await self._spec(nb_epochs, eps, batch_size, people, private, accumulate)
            plan = encode(self.dataset.frame.plan)
            ask = self._connection._ask
            answer = await self._with_model(spec.private, lambda model: ask(m.Fit(plan, model, spec, "summarize")))
            if isinstance(answer, m.Denial):
                raise FitDenied(
                    answer, self.dataset.frame.plan, self._connection, self._sent[spec.private], spec, self._began
                )
            return FitEstimate(answer, there, nb_epochs, self._graph(spec.private).report)

        return self._connection._run(work())

    def fit(
        self,
        nb_epochs: float = 1,
        eps: float | None = None,
        batch_size: int | None = None,
        *,
        accumulate: int = 1,
        people: float | None = None,
        private: bool | None = None,
        max_grad_norm: float | None = None,
        lr: float | None = None,
        wait: bool = True,
        on_progress: Callable[[m.RunInfo], Any] | None = None,
        **other: Any,
    ) -> Any:
        """Train, and show how far it is; return the run. An interrupt stops it after the step it is at, all accounted for.

        Args:
            nb_epochs: how often everybody is seen, about. eps: what it may cost, on data that is answered with noise.
            batch_size: people in a step; None for max_batch_size. accumulate: batches whose gradients make one step (also
                accumulate_grad_batches, gradient_accumulation_steps): it is of so many times more people, and they are drawn,
                noised and paid once. people: how many there are, about; None to ask for a count, which costs a hundredth of
                the owner's epsilon, once. private: False to train without noise, which an owner has to approve.
            max_grad_norm, lr: in place of those of the learner.
            wait: False to come back at once; the fit goes on. on_progress: called with each state.

        Raises:
            Denied: an owner has to approve it: `denied.request("why")`, `denied.wait()` gives the run.
            Interrupted: it was stopped. InputError: fit.*. ServerError: it failed.
        """
        accumulate = accumulated(accumulate, other, "fit")
        if max_grad_norm is not None:
            self._settings["clip"] = max_grad_norm
        if lr is not None:
            self._settings["optimizer"] = msgspec.structs.replace(self._settings["optimizer"], lr=float(lr))

        async def work() -> RemoteRun:
            spec, _ = await self._spec(nb_epochs, eps, batch_size, people, private, accumulate)
            plan = self.dataset.frame.plan
            run = await self._with_model(
                spec.private, lambda model: begin(self._connection, plan, model, spec, self._began)
            )
            return run if not wait else await run._watched(on_progress)

        return self._interruptible(work())

    def resume(
        self,
        nb_epochs: float = 1,
        eps: float | None = None,
        *,
        wait: bool = True,
        on_progress: Callable[[m.RunInfo], Any] | None = None,
    ) -> Any:
        """Go on from where the last fit stands, for further epochs; return the run.

        Args:
            nb_epochs: further ones. eps: of all steps together, those before included; None for that of the fit, where it was
                stopped before its end.
        """
        before = self._fitted()

        async def work() -> RemoteRun:
            info = before.info
            epsilon = checked_epsilon(eps) if info.spec.private else 0.0
            steps = max(1, math.ceil(nb_epochs * max(1, info.spec.epoch)))
            answer = await self._connection._ask(m.ResumeRun(info.id, steps, epsilon))
            if isinstance(answer, m.Denial):
                spec = msgspec.structs.replace(
                    info.spec, steps=info.step + steps, epsilon=epsilon if info.spec.private else 0.0
                )
                raise FitDenied(answer, self.dataset.frame.plan, self._connection, info.model, spec, self._began)
            self._connection._book.heard(answer.info, anew=True)
            self.run = RemoteRun(answer.info, self._connection)
            return self.run if not wait else await self.run._watched(on_progress)

        return self._interruptible(work())

    def _began(self, run: RemoteRun) -> None:
        self.run = run

    def _interruptible(self, work: Any) -> Any:
        """Run, and after a Ctrl-C say how far it came."""
        connection = self._connection
        if connection._eager:
            return work
        before = self.run
        try:
            return connection._run(work)
        except KeyboardInterrupt:
            run = self.run
            if run is None or run is before:
                raise
            connection._run(run._stopped())
            raise run.interrupted() from None

    def test(
        self,
        dataset: RemoteDataset | None = None,
        metric: str | None = None,
        eps: float | None = None,
        *,
        part: str | None = None,
        **other: Any,
    ) -> Any:
        """Measure the trained model; return a `Measured`.

        Args:
            dataset: `ds.test` of the dataset it was trained on; None for its part for testing, where there is one.
            metric: accuracy, f1, auc, confusion, mae or loss. eps: what it may cost; None for the default share.

        Raises:
            InputError: fit.dataset, another dataset; fit.metric; fit.arguments. Denied: the owner decides.
        """
        only_older(other, "test", ("metric", "eps", "part"))
        run = self._fitted()
        name = _checked_metric(metric or self._metric, self.loss)
        own = self.dataset._rows
        if dataset is not None:
            rows = dataset._rows
            if (rows.frame.plan, rows.inputs, rows.labels, rows.split) != (
                own.frame.plan,
                own.inputs,
                own.labels,
                own.split,
            ):
                msg = "A model is measured on the dataset that it was trained on, or on its other part."
                raise InputError(msg, code="fit.dataset", next_step="Write learner.test(ds.test).")
        where = part or (dataset.part if dataset is not None else "test" if own.split.test else "train")
        return self._connection._run(self._measured(run, name, eps, where))

    async def _measured(self, run: RemoteRun, name: str, eps: float | None, part: str) -> Measured:
        return await run._tested(name, eps, part, 0.0)

    def get_model(self) -> Any:
        """Return the trained model: a copy of the module, with a `model_card` (in cells the card, and `predict`).

        Raises:
            InputError: fit.model, nothing was trained yet. Denied: the weights may not leave.
        """
        run = self._fitted()

        async def work() -> Any:
            return await run._model(await asyncio.to_thread(self._made))

        return self._connection._run(work())

    @property
    def model_card(self) -> Any:
        """The card of the last fit."""
        from bastion.client.training.models import ModelCard

        return ModelCard(self._fitted().info, self._connection.facts)

    def plot(self) -> Any:
        """Return the loss of the last fit as a chart."""
        return self._fitted().plot()

    def _fitted(self) -> RemoteRun:
        if self.run is None:
            msg = "Nothing was trained yet."
            raise InputError(msg, code="fit.model", next_step="First learner.fit(nb_epochs=5, eps=1.0).")
        return self.run

    def __repr__(self) -> str:
        what = f"\nlast: {self.run!r}" if self.run is not None else ""
        return safe_text(
            f"RemoteLearner: loss {self.loss}, {self._settings['optimizer'].kind}; {self.dataset!r}{what}", lines=True
        )


def _checked_metric(metric: str, loss: str) -> str:
    if metric not in METRICS or loss not in METRICS[metric]:
        fitting = [name for name, losses in METRICS.items() if loss in losses]
        msg = f"There is no metric {safe_text(metric, 40)!r} of a model with loss {loss}."
        raise InputError(msg, code="fit.metric", next_step=f"Use one of {', '.join(fitting)}.")
    return metric


def _bytes(exported: Exported) -> bytes:
    """Return the weights of a model as safetensors; weights that share memory each by themselves."""
    from safetensors.torch import save

    found: bytes = save({name: tensor.detach().clone().contiguous() for name, tensor in exported.weights.items()})
    return found


def _note(text: str) -> None:
    import warnings

    notes = NOTES.get()
    if notes is not None:
        notes.append(text)
    else:
        warnings.warn(text, UserWarning, stacklevel=6)
