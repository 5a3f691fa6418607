"""One fit: a model, its rows, and the steps of its optimiser, with noise (`_private`) or without (`_exact`).

**A private step.** Who is in it is drawn from the operating system, each person by themselves (sampling.py). They are put at places
drawn at random, and the places are gone through in passes. Each pass runs all of its places, and does the same at an empty one as at a
person's: reads a row (any, and makes zeros of it), runs the model on it, and takes it 0 times.

**How many places** there are is told by the clock. INVARIANT: it is a function of the number of people *with noise*, which is a coordinate of
the step's own mechanism (noise.py, bastion_policy.private.padding), and of public numbers: sigma, and what the description says.
So are the passes that they are cut into. `_passes` is the one place that knows how many were drawn, and what is left of that is in slots,
not in loops: reading, running and adding up go over places. Given the noisy number, the number of places is what it is, and with one
person more or less the others' are distributed as they were. What a row gives may differ in the last bit with its place (vectors of a
processor have ends), and a model may be made to magnify that; so the mechanism's neighbours differ in that person's part alone.

The sums of passes are added up with compensation (Neumaier): they are off by a last bit of the result, however many passes. Noise is
added (noise.py), and all that follows (optimiser, weights, loss) is made of what is noised.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from bastion_plan.errors import InputError, PlanError, ServerError
from bastion_plan.models.fits import LOSSES, FitSpec, check_spec
from bastion_plan.models.graph import Graph
from bastion_policy.private import padding
from torch import Tensor

from bastion_server.training import losses, noise
from bastion_server.training.checkpoints import read_weights
from bastion_server.training.clipping import Clipper
from bastion_server.training.data import Rows
from bastion_server.training.dry_run import Measured, measure
from bastion_server.training.interpreter import Interpreter
from bastion_server.training.metrics import Counter
from bastion_server.training.operations import DTYPES
from bastion_server.training.optimizers import Update, rate_at
from bastion_server.training.sampling import Indices, places, poisson

#: passes of one step, at most: a step is the least that a worker does before it listens again
PASSES = 4096
#: steps of a fit from which on it is worth to record what a pass does
_MANY = 1000
_STEP, _ORDER = "#step", "#order"


@dataclass(frozen=True)
class Room:
    """Where the people of a step stand, from public numbers alone.

    width: places of a pass, at most. passes: of a step, at least. gamma: what a person adds to the number of people, in units of a gradient's
    largest norm. deviation: of the noise on that number.
    """

    width: int
    passes: int
    gamma: float = 0.0
    deviation: float = 0.0


class Fit:
    """A model that is trained."""

    def __init__(
        self,
        graph: Graph,
        spec: FitSpec,
        rows: str,
        weights: bytes,
        split_key: bytes,
        memory: int,
        *,
        checkpoint: bool = False,
        sigma: float = 0.0,
        most_rows: int = 0,
        order: int | None = None,
    ) -> None:
        """Check everything, and stand ready.

        Args:
            rows: path of the Arrow file. weights: safetensors, or a checkpoint. memory: bytes of one pass.
            sigma: of the noise of its steps, where there will be some. most_rows: that there may be, a public number; 0: as many as there are.
            order: for tests: what decides the order of rows (not private); None: drawn.

        Raises:
            PlanError, InputError: model.*, fit.*.
        """
        check_spec(spec, graph)
        if spec.device != "cpu":
            # a graphics processor is reached by opening files and by calls to a driver, which the walls of a worker refuse
            msg = f"This server trains on its processors, not on {spec.device!r}."
            raise InputError(msg, code="fit.device", next_step='Leave device out, or write device="cpu".')
        self.graph, self.spec, self.memory = graph, spec, memory
        if graph.parameters * 64 > memory:
            _too_large(f"{graph.parameters:,} trained numbers", memory)
        if sum(w.count for w in graph.weights) * 8 > memory:
            _too_large("its weights", memory)
        # statistics of a batch need more than one row
        self._rows = 1 if graph.mode == "sample" else 2
        self.measured = measure(graph, most=memory // 6, rows=self._rows)
        self.outputs = _outputs(graph, spec, self.measured)
        self.weights, state = read_weights(weights, graph, checkpoint=checkpoint)
        self.trained = [i for i, w in enumerate(graph.weights) if w.trained]
        if not self.trained:
            msg = "The model has no weights that are trained."
            raise PlanError(msg, code="model.weights", next_step="Leave requires_grad as it is for some of them.")
        self._sizes = [graph.weights[i].count for i in self.trained]
        self._shapes = [graph.weights[i].shape for i in self.trained]
        self.update = Update(spec.optimizer, [self.weights[i] for i in self.trained])
        self.done = 0
        self.order = int.from_bytes(os.urandom(7), "big") if order is None else order
        if checkpoint:
            self._go_on(state)
        self.loss = losses.BY_NAME[spec.loss]
        self.rows = Rows(rows, spec, graph, self.outputs, split_key, memory // 4, most_rows)
        self.people = self.rows.people(spec.part)
        self.all_rows = self.rows.rows_of(self.people)
        self.interpreter = Interpreter(graph)
        patience = 1 if spec.steps >= _MANY else None
        self.clipper = Clipper(graph, self.measured, self.loss, patience) if spec.private else None
        self.room = Room(self._most(None), 1) if self.clipper is None else self._room(self.clipper, sigma)
        self.sigma = sigma
        torch.manual_seed(int.from_bytes(os.urandom(8), "big", signed=True))

    # ------------------------------------------------------------------------------------------------------- steps

    def steps(self, count: int, sigma: float) -> float | None:
        """Do steps; return the mean of their losses, None where it is no number.

        Raises:
            ServerError: `train.noise`: a private fit without noise; `train.steps`: more than the fit has.
        """
        if self.spec.private and not (math.isfinite(sigma) and sigma > 0):
            # INVARIANT: a private fit does no step without noise, whoever asks
            msg = "A private fit was asked for a step without noise."
            raise ServerError(msg, code="train.noise")
        if self.clipper is not None and sigma != self.sigma:
            self.room, self.sigma = self._room(self.clipper, sigma), sigma
        if not 1 <= count <= self.spec.steps - self.done:
            msg = "A fit was asked for more steps than it has."
            raise ServerError(msg, code="train.steps")
        found = [self._private(sigma) if self.spec.private else self._exact() for _ in range(count)]
        mean = sum(found) / count
        return mean if math.isfinite(mean) else None

    def finite(self) -> bool:
        """Whether all weights are numbers."""
        return all(bool(torch.isfinite(w).all()) for w in self.weights if w.is_floating_point())

    def _rate(self) -> float:
        return rate_at(self.spec.schedule, self.spec.optimizer.lr, self.done, self.spec.steps)

    def _changed(self, gradients: list[Tensor]) -> None:
        rate = self._rate()
        self.done += 1
        self.update.step(gradients, self.done, rate)

    def _private(self, sigma: float) -> float:
        spec = self.spec
        total = self.summed(self.people[poisson(len(self.people), spec.rate)])
        found = torch.from_numpy(noise.noised(total.numpy(), spec.clip, sigma, self.room.gamma)).div_(spec.expected)
        parts = torch.split(found[:-1].float(), self._sizes)
        self._changed([p.view(s) for p, s in zip(parts, self._shapes, strict=True)])
        return float(found[-1]) / self._shown

    @property
    def _shown(self) -> float:
        """What a loss of 1 adds to the coordinate it is shown in."""
        return noise.BETA * self.spec.clip / self.spec.loss_bound

    def summed(self, people: Indices) -> Tensor:
        """Return the sum of people's bounded gradients and losses, without noise."""
        spec, clipper = self.spec, self.clipper
        assert clipper is not None
        total = _Sum(self.graph.parameters + 1)
        passes = self._passes(people)
        how = spec.clip, spec.clip * noise.margin(passes.size), spec.loss_bound, self._shown
        for some in passes:
            inputs, labels, there = self.rows.people_tensors(some)
            total.add(clipper.total(inputs, labels, there, self.weights, *how))
        return total.value()

    def _passes(self, people: Indices) -> Indices:
        """Put people at places drawn at random, -1 where there is nobody; in passes of one width.

        INVARIANT: how many places and passes there are is a function of how many people there are with noise, and of public numbers.
        """
        room = self.room
        told = len(people) + noise.empty_places(room.deviation)
        count = max(room.passes, -(-told // room.width))
        # in steps of a tenth: a pass is recorded for each width that comes up
        some = 1 << max(3, (room.width // 10).bit_length() - 1)
        width = min(room.width, max(1, -(-told // (count * some))) * some)
        slots = np.full(count * width, -1, dtype=np.int64)
        slots[places(len(people), len(slots))] = people
        return slots.reshape(count, width)

    def _exact(self) -> float:
        rows = self._next_rows()
        torch.manual_seed(_mixed(self.order, self.done))
        trained = [self.weights[i].requires_grad_() for i in self.trained]
        gradients, loss = [torch.zeros_like(w) for w in trained], 0.0
        try:
            for some in np.array_split(rows, -(-len(rows) // self.room.width)) if len(rows) else []:
                inputs, labels = self.rows.tensors(some)
                out = self._predicted(inputs, training=True)
                each = torch.vmap(self.loss)(out, labels)
                for total, part in zip(
                    gradients, torch.autograd.grad(each.sum(), trained, allow_unused=True), strict=True
                ):
                    if part is not None:
                        total.add_(part, alpha=1 / len(rows))
                loss += float(each.detach().sum()) / len(rows)
        finally:
            for w in trained:
                w.requires_grad_(False)
        self._changed(gradients)
        return loss

    def _next_rows(self) -> Indices:
        """Return the rows of the next batch: all of them once per epoch, in an order that the fit's own number decides."""
        count, size = len(self.all_rows), self.spec.batch
        # statistics of a batch need more than one row
        per_epoch = max(1, count // size if self.graph.mode == "batch" and count % size == 1 else -(-count // size))
        epoch, at = divmod(self.done, per_epoch)
        order = np.random.default_rng([self.order, epoch]).permutation(count)
        return self.all_rows[order[at * size : (at + 1) * size]]

    def _predicted(self, inputs: list[Tensor], *, training: bool) -> Tensor:
        """Return rows x prediction."""
        if self.graph.mode == "batch":
            return self.interpreter.run(inputs, self.weights, training=training)

        def one(*row: Tensor) -> Tensor:
            return self.interpreter.run([x.unsqueeze(0) for x in row], self.weights, training=training).squeeze(0)

        return torch.vmap(one, randomness="different")(*inputs)

    # ----------------------------------------------------------------------------------------------------- measures

    def evaluate(self, metric: str, part: str, bound: float, deviation: float = 0.0) -> tuple[Tensor, float]:
        """Return what a metric is made of, and how far one person moves it, as a norm.

        INVARIANT: as in a step, how many passes there are is a function of how many rows there are with noise, and of public numbers.

        Args:
            deviation: of the noise on the number of rows, which is paid together with the metric; 0: not private, or nobody sees a clock.
        """
        counter = Counter(metric, self.spec.loss, self.outputs, bound)
        most = self.spec.rows if self.spec.private else 0
        rows = self.rows.rows_of(self.rows.people(part))
        width = min(self.room.width if self.graph.mode == "batch" else 4 * self.room.width, 4096)
        if not self.spec.private:
            width = min(width, max(1, len(rows)))
        # places drawn at random in passes of one size, as in a step
        count = -(-(len(rows) + noise.empty_places(deviation)) // width)
        slots = np.full(count * width, -1, dtype=np.int64)
        slots[places(len(rows), len(slots))] = rows
        with torch.no_grad():
            for some in slots.reshape(-1, width):
                inputs, labels = self.rows.tensors(np.where(some >= 0, some, self.rows.whoever(width)))
                out = self._predicted(inputs, training=False)
                counter.add(out, labels, torch.from_numpy(some >= 0))
        return counter.counts, most * counter.row_norm

    # -------------------------------------------------------------------------------------------------- checkpoints

    def state(self, *, checkpoint: bool) -> dict[str, Tensor]:
        """Return the weights by name; or all that is needed to go on, under names of their own."""
        named = {w.name: t.detach() for w, t in zip(self.graph.weights, self.weights, strict=True)}
        if not checkpoint:
            return named
        kept = {f"w:{name}": t for name, t in named.items()}
        kept |= {f"o:{name}": t for name, t in self.update.put().items()}
        return kept | {_STEP: torch.tensor(self.done), _ORDER: torch.tensor(self.order)}

    def _go_on(self, state: Mapping[str, Tensor]) -> None:
        try:
            self.update.take({n[2:]: t for n, t in state.items() if n.startswith("o:")})
            self.done, self.order = int(state[_STEP]), int(state[_ORDER])
        except (KeyError, RuntimeError) as error:
            msg = "This checkpoint is of another fit."
            raise PlanError(msg, code="model.weights", next_step="Resume the run that it was made by.") from error

    @property
    def pass_memory(self) -> int:
        """Bytes that a pass of a step is planned to take, its weights included; of public facts alone."""
        return self.room.width * self._each(self.clipper) + 64 * self.graph.parameters

    def _room(self, clipper: Clipper, sigma: float) -> Room:
        """Return where the people of a step stand. INVARIANT: from public numbers alone.

        Raises:
            InputError: `fit.batch`: in too many passes.
        """
        spec = self.spec
        gamma = padding.share(sigma, spec.expected)
        deviation = padding.deviation(sigma, gamma, noise.MOVED)
        wanted = _places(spec.expected, deviation)
        # a pass has its part of the empty places, beside as many people as the description wants at once
        most = min(-(-_places(spec.batch) * wanted // _places(spec.expected)), self._most(clipper))
        passes = -(-wanted // most)
        if passes > PASSES:
            msg = f"A step would take {passes:,} passes of {most:,} people each; {PASSES:,} are allowed."
            reason = "The more noise, the more empty places hide how many people are in a step."
            fix = "Use a larger max_batch_size or eps, or a smaller batch_size."
            raise InputError(msg, code="fit.batch", reason=reason, next_step=fix)
        width = -(-wanted // passes)
        return Room(width, -(-_places(spec.expected) // width), gamma, deviation)

    def _each(self, clipper: Clipper | None) -> int:
        """Return how many bytes of a pass each person (or row, without noise) is planned to take."""
        given = sum(t.count * DTYPES[t.dtype].itemsize for t in self.graph.inputs)
        row = self.measured.bytes // self._rows + given + 64
        return 4 * row if clipper is None else self.spec.rows * 6 * row + clipper.memory(self.spec.rows)

    def _most(self, clipper: Clipper | None) -> int:
        """Return how many people (or rows, without noise) one pass can take."""
        each = self._each(clipper)
        most = (self.memory // 2) // each
        if most < 1 or (self.graph.mode == "batch" and most < self.spec.batch):
            _too_large(f"{each >> 20:,} MB for each row of a batch", self.memory)
        return most if clipper else min(most, self.spec.batch)


class _Sum:
    """A sum of float64 vectors, off by a last bit however many they are (Neumaier 1974)."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._high: Tensor | None = None
        self._low: Tensor | None = None

    def add(self, part: Tensor) -> None:
        high = self._high
        if high is None:
            self._high = part
            return
        total = high + part
        larger = high.abs() >= part.abs()
        lost = torch.where(larger, (high - total) + part, (part - total) + high)
        self._low = lost if self._low is None else self._low + lost
        self._high = total

    def value(self) -> Tensor:
        if self._high is None:
            return torch.zeros(self._length, dtype=torch.float64)
        return self._high if self._low is None else self._high + self._low


def _places(people: float, deviation: float = 0.0) -> int:
    """Return how many places so many expected people need, and the empty ones: three deviations of their number more, and some at least."""
    return max(16, math.ceil(people + padding.middle(deviation) + 3 * math.sqrt(people + deviation**2)))


def _mixed(order: int, step: int) -> int:
    return int(np.random.default_rng([order, step, 1]).integers(1 << 62))


def _too_large(what: str, memory: int) -> None:
    msg = f"The model is too large for this server: {what}, and one pass may take {memory >> 20:,} MB."
    raise PlanError(msg, code="model.memory", next_step="Make it smaller, or train with a smaller max_batch_size.")


def _outputs(graph: Graph, spec: FitSpec, measured: Measured) -> tuple[int, ...]:
    """Return the shape of one prediction."""
    found = measured.output[1:]
    kind = LOSSES[spec.loss]
    if measured.output[:1] != (1 if graph.mode == "sample" else 2,) or math.prod(found) < 1:
        _shape("The model does not give one prediction per row.")
    if kind == "class" and (len(found) != 1 or found[0] < 2):
        _shape(
            f"This loss takes one number per class, and the model gives {'x'.join(map(str, found)) or 'one number'}."
        )
    if kind != "class" and len(spec.labels) > 1 and len(spec.labels) != math.prod(found):
        what = f"The model gives {math.prod(found)} numbers per row, and {len(spec.labels)} labels are named."
        raise InputError(what, code="fit.columns", next_step="Name as many labels as the model gives.")
    return found


def _shape(message: str) -> None:
    raise PlanError(message, code="model.shapes", next_step="Look at the shape of the last layer's output.")
