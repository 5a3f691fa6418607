"""How a model is to be trained, as it travels: columns, loss, optimiser, batches, privacy; with the checks that need no data."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import NoReturn

import msgspec

from bastion_plan.errors import InputError
from bastion_plan.models.graph import Graph

#: loss -> what labels are: "class" (whole numbers), "number" (floats of the prediction's shape), "bit" (0 or 1, against logits)
LOSSES: Mapping[str, str] = {"cross_entropy": "class", "l2": "number", "l1": "number", "bce": "bit"}
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "step", "exponential", "linear", "cosine")
#: metric -> the losses it goes with
METRICS: Mapping[str, tuple[str, ...]] = {
    "loss": tuple(LOSSES),
    "accuracy": ("cross_entropy", "bce"),
    "f1": ("cross_entropy", "bce"),
    "auc": ("bce", "cross_entropy"),
    "confusion": ("cross_entropy", "bce"),
    "mae": ("l2", "l1"),
}
PARTS = ("train", "test")
MAX_STEPS = 1_000_000
MAX_COLUMNS = 4_096
MAX_BATCH = 65_536
MAX_ROWS = 1_000
_Name = str


class Optimizer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is made of a gradient. momentum, nesterov: of sgd. betas, eps: of adam and adamw."""

    kind: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.0
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the learning rate goes, in steps of the optimiser.

    warmup: steps in which it rises from nothing. period: of "step" and "exponential": steps after which it is multiplied by
    gamma (once at a time, or little by little). "linear" and "cosine" fall to `floor` times lr at the last step.
    """

    kind: str = "constant"
    warmup: int = 0
    period: int = 0
    gamma: float = 0.1
    floor: float = 0.0


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which people are for testing: a keyed hash of each decides. test: their share. seed: another one splits otherwise."""

    test: float = 0.0
    seed: int = 0


class FitSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a model is to be trained.

    inputs: per input of the graph the columns it is made of, side by side; one alone may be a list or an array.
    labels: one column, or for losses of numbers as many as the model predicts.
    private: with noise, each person's gradient bounded by `clip`; else plain training, which an owner has to approve.
    epsilon: of this fit alone, with the account's delta (private). rate: probability with which a person is in a batch
    (private). expected: people per step, by which the noisy sum is divided; the client's guess, from a noisy count (private).
    batch: people per step where it is not private, and at most so many at once in memory in any case.
    steps: of the optimiser. epoch: steps that are shown as an epoch. rows: of one person, that count.
    loss_bound: to which a person's loss is clipped where it is shown.
    """

    inputs: tuple[tuple[_Name, ...], ...]
    labels: tuple[_Name, ...]
    loss: str
    steps: int
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    split: Split = Split()
    part: str = "train"
    private: bool = True
    epsilon: float = 0.0
    rate: float = 0.0
    expected: float = 0.0
    clip: float = 1.0
    batch: int = 64
    epoch: int = 0
    rows: int = 1
    loss_bound: float = 10.0
    device: str = "cpu"

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns it uses, each once."""
        return tuple(dict.fromkeys((*(c for some in self.inputs for c in some), *self.labels)))


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(FitSpec)


def encode_spec(spec: FitSpec) -> bytes:
    """Return the bytes of a fit's description."""
    return _encoder.encode(spec)


def decode_spec(data: bytes) -> FitSpec:
    """Read bytes that `encode_spec` made."""
    return _decoder.decode(data)


def fit_hash(plan_hash: str, model: str, spec: FitSpec) -> str:
    """Return what names a fit: SHA-256 over the plan of its rows, its model (graph and first weights) and its description."""
    parts = (b"bastionlab.fit.1", plan_hash.encode(), model.encode(), encode_spec(spec))
    return hashlib.sha256(b"".join(len(p).to_bytes(8, "big") + p for p in parts)).hexdigest()


def check_spec(spec: FitSpec, graph: Graph) -> None:
    """Check everything that can be told from the description and the graph alone.

    INVARIANT: whatever a client wrote, what passes has finite numbers within bounds: no learning rate, norm or probability
    that is not a positive number, no loop that does not end.

    Raises:
        InputError: `fit.columns`, `fit.loss`, `fit.optimizer`, `fit.schedule`, `fit.split`, `fit.batch`, `fit.steps`, `fit.privacy`, `fit.device`;
            with what to write instead.
    """
    _columns(spec, graph)
    if spec.loss not in LOSSES:
        _refuse("loss", f"There is no loss {_short(spec.loss)}.", f"Use one of {', '.join(LOSSES)}.")
    _optimizer(spec.optimizer)
    _schedule(spec.schedule)
    if not (_finite(spec.split.test) and 0 <= spec.split.test < 1) or abs(spec.split.seed) >= 1 << 62:
        _refuse("split", "The share for testing is a number from 0 to below 1.", "Write split(test=0.2, seed=1).")
    if spec.part not in PARTS or (spec.part == "test" and not spec.split.test):
        _refuse("split", f"There is no part {_short(spec.part)} of this dataset.", "Use split(test=0.2).train.")
    if not 1 <= spec.batch <= MAX_BATCH:
        _refuse("batch", f"A batch has 1 to {MAX_BATCH:,} rows.", "Write max_batch_size=64.")
    if not 1 <= spec.rows <= MAX_ROWS:
        _refuse("batch", f"Of one person 1 to {MAX_ROWS:,} rows count.", "Write rows_per_unit=1.")
    if not 1 <= spec.steps <= MAX_STEPS or not 0 <= spec.epoch <= MAX_STEPS:
        _refuse("steps", f"A fit has 1 to {MAX_STEPS:,} steps.", "Use fewer epochs, or larger batches.")
    if not (_finite(spec.loss_bound) and 0 < spec.loss_bound <= 1e6):
        _refuse("loss", "The bound of a loss that is shown is a number above 0.", "Leave loss_bound out.")
    if spec.device not in ("cpu", "cuda"):
        _refuse("device", f"There is no device {_short(spec.device)}.", 'Use "cpu" or "cuda".')
    if spec.private:
        if graph.mode != "sample":
            _refuse("privacy", "Training with noise needs the graph of one row.", 'Export it with mode="sample".')
        if not (_finite(spec.epsilon) and 0 < spec.epsilon <= 1e4):
            _refuse("privacy", "Training with noise needs an epsilon above 0.", "Write fit(nb_epochs=5, eps=1.0).")
        if not (_finite(spec.rate) and 0 < spec.rate <= 1):
            _refuse(
                "privacy", "The probability of a person to be in a batch is above 0 and at most 1.", "Leave it out."
            )
        if not (_finite(spec.expected) and 0 < spec.expected <= 1e9):
            _refuse("privacy", "The expected number of people per step is above 0.", "Leave it out.")
        if not (_finite(spec.clip) and 1e-6 <= spec.clip <= 1e6):
            _refuse(
                "privacy", "The largest norm of a person's gradient is a number above 0.", "Write max_grad_norm=1.0."
            )


def _columns(spec: FitSpec, graph: Graph) -> None:
    if len(spec.inputs) != len(graph.inputs):
        what = f"The model takes {len(graph.inputs)} inputs, and columns are named for {len(spec.inputs)}."
        _refuse("columns", what, "Name columns for each input.")
    if not spec.labels or not all(spec.inputs) or len(spec.columns) > MAX_COLUMNS:
        _refuse("columns", f"A fit needs 1 to {MAX_COLUMNS:,} columns, a label among them.", 'Write label="y".')
    for columns, tensor in zip(spec.inputs, graph.inputs, strict=True):
        if len(columns) > 1 and tensor.shape != (len(columns),):
            shape = "x".join(map(str, tensor.shape)) or "a single number"
            what = f"The model's input is {shape}, and {len(columns)} columns are named for it."
            _refuse("columns", what, "Name as many columns as the first layer takes.")
    if LOSSES.get(spec.loss) == "class" and len(spec.labels) != 1:
        _refuse("columns", "This loss takes one label column.", 'Write label="y".')


def _optimizer(made: Optimizer) -> None:
    if made.kind not in OPTIMIZERS:
        _refuse("optimizer", f"There is no optimiser {_short(made.kind)}.", f"Use one of {', '.join(OPTIMIZERS)}.")
    if not (_finite(made.lr) and 0 < made.lr <= 1e4):
        _refuse("optimizer", "A learning rate is a number above 0.", "Write lr=0.1.")
    fine = (
        0 <= made.momentum < 1
        and all(0 <= b < 1 for b in made.betas)
        and 0 < made.eps <= 1
        and 0 <= made.weight_decay <= 1e3
    )
    if not (fine and all(map(_finite, (made.momentum, *made.betas, made.eps, made.weight_decay)))):
        _refuse(
            "optimizer",
            "momentum and betas lie from 0 to below 1, eps above 0, weight_decay from 0 on.",
            "Leave them out.",
        )


def _schedule(made: Schedule) -> None:
    if made.kind not in SCHEDULES:
        _refuse("schedule", f"There is no schedule {_short(made.kind)}.", f"Use one of {', '.join(SCHEDULES)}.")
    if not 0 <= made.warmup <= MAX_STEPS or (
        made.kind in ("step", "exponential") and not 1 <= made.period <= MAX_STEPS
    ):
        _refuse("schedule", f"Its steps are whole numbers up to {MAX_STEPS:,}.", "Write StepLR(100, gamma=0.5).")
    if not (_finite(made.gamma) and 0 < made.gamma <= 1 and _finite(made.floor) and 0 <= made.floor <= 1):
        _refuse("schedule", "gamma is above 0 and at most 1, floor from 0 to 1.", "Leave them out.")


def _finite(value: float) -> bool:
    return math.isfinite(value)


def _short(value: str) -> str:
    return repr(value[:40])


def _refuse(what: str, message: str, next_step: str) -> NoReturn:
    raise InputError(message, code=f"fit.{what}", next_step=next_step)
