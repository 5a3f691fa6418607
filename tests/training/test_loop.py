"""Steps: how far one person moves what is noised, whoever they are and whatever the model; checkpoints; fits that learn."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from bastion_plan.errors import BastionError
from bastion_plan.models.fits import Optimizer, Schedule, Split
from bastion_server.training import loop, noise
from bastion_server.training.checkpoints import to_bytes
from fitting import fit, mlp, spec, table
from models import without_randomness


class Cancelling(nn.Module):
    """Huge numbers that leave nothing of each other."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(torch.stack([x * 1e7, x - x * 1e7], 1)).sum(1)
        return out


class Magnified(nn.Module):
    """Takes the last bits of what it is given for the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer((x.exp() - x.exp().log().exp()) * 1e30)


MODELS = {
    "mlp": mlp,
    "cancelling": lambda: Cancelling(),
    "magnified": lambda: Magnified(),
    "flat": lambda: nn.Linear(4, 2),
}
HOSTILE = [0.0, 1.0, -1e4, 1e18, 1e30, 3e38, 1e300, float("inf"), float("-inf"), float("nan"), 1e-40]


@pytest.mark.parametrize("name", MODELS)
def test_one_person_moves_what_is_noised_by_the_sensitivity_at_most(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours: all rows of one person more. The others stand where they stood, as places are drawn at random."""
    monkeypatch.setattr(loop, "places", lambda count, slots: np.arange(count))
    module = MODELS[name]()
    without_randomness(module)
    made = fit(table(20, rows=2), spec(rows=2, expected=20.0, batch=2), module)
    assert made.room.passes > 1 and made.rows.kept is not None
    others, rows, moved = np.arange(12), made.rows.rows_of(np.array([19])), []
    for clip in (1e-3, 1.0):
        made.spec = msgspec.structs.replace(made.spec, clip=clip)
        for value in HOSTILE:
            made.rows.kept[0][0][torch.from_numpy(rows)] = torch.tensor([[value] * 4, [-value, value] * 2])
            whole = [noise.on_grid(made.summed(people).numpy(), clip) for people in (others, np.append(others, 19))]
            step = noise.grid(clip, len(whole[0]))
            apart = float(np.linalg.norm((whole[1] - whole[0]).astype(np.float64))) * step
            # and one person is one more in the number of people
            assert math.hypot(apart, 0.25 * clip) <= noise.sensitivity(clip, 0.25), (clip, value)
            moved.append(apart / (noise.MOVED * clip))
    assert max(moved) > 0.9


def test_of_a_person_with_many_rows_the_gradient_is_bounded_once() -> None:
    frame = table(3, rows=40).with_columns(y=1)
    made = fit(frame, spec(rows=40, clip=0.01))
    alone = made.summed(np.array([1])).numpy()
    assert np.linalg.norm(alone[:-1]) == pytest.approx(0.01, rel=1e-3)


def test_a_step_of_nobody_is_noise_and_a_table_of_nobody_too() -> None:
    made = fit(table(30), spec(rate=1e-12))
    before = [w.clone() for w in made.weights]
    assert made.steps(1, 1.0) is not None
    assert made.finite() and not torch.equal(before[0], made.weights[0])
    assert fit(table(1).clear(), spec()).steps(2, 1.0) is not None


def test_weights_that_are_no_numbers_are_said_and_nothing_breaks() -> None:
    module = mlp()
    with torch.no_grad():
        module[0].weight[0, 0] = float("nan")  # type: ignore[operator]
    made = fit(table(50), spec(), module)
    assert made.steps(1, 1.0) is not None
    assert not made.finite()
    exact = fit(table(50), spec(private=False), module)
    assert exact.steps(1, 0.0) is None
    with torch.no_grad():
        module[0].weight.fill_(1e-42)  # type: ignore[operator]
    assert fit(table(50), spec(), module).steps(1, 1.0) is not None


def test_where_a_person_stands_changes_at_most_last_bits() -> None:
    flat = fit(table(64), spec(expected=40.0), nn.Linear(4, 2))
    sums = [flat.summed(np.arange(50)) for _ in range(4)]
    assert max(float((s - sums[0]).norm()) for s in sums) < 1e-4


def test_the_loss_that_is_shown_is_the_clipped_mean() -> None:
    made = fit(table(400), spec(rate=1.0, expected=400.0, steps=3), nn.Linear(4, 2))
    with torch.no_grad():
        inputs, labels = made.rows.tensors(np.arange(400))
        expected = float(nn.functional.cross_entropy(made._predicted(inputs, training=False), labels))
    assert made.steps(1, 0.01) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("private", [True, False])
def test_a_fit_learns(private: bool) -> None:
    made = fit(
        table(600),
        spec(private=private, steps=80, rate=0.2, expected=120.0, batch=120, optimizer=Optimizer("adam", 0.05)),
    )
    made.steps(80, 1.0)
    (wrong, right), sensitivity = made.evaluate("accuracy", "train", 1.0)
    assert int(right) / int(wrong + right) > 0.85
    assert sensitivity == (1.0 if private else 0.0)


def test_a_model_of_batches_keeps_their_statistics() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    made = fit(table(129), spec(private=False, steps=40, batch=32), module, mode="batch")
    made.steps(40, 0.0)
    (wrong, right), _ = made.evaluate("accuracy", "train", 1.0)
    assert int(right) / int(wrong + right) > 0.9
    assert float(dict(zip([w.name for w in made.graph.weights], made.weights, strict=True))["1.running_var"].std()) > 0


CASES: dict[str, Any] = {
    "sgd": Optimizer("sgd", 0.1, momentum=0.9),
    "adamw": Optimizer("adamw", 0.01, weight_decay=0.01),
}


@pytest.mark.parametrize("name", CASES)
def test_from_a_checkpoint_an_exact_fit_goes_on_to_the_last_bit(name: str) -> None:
    made = spec(private=False, steps=10, batch=48, optimizer=CASES[name], schedule=Schedule("cosine"))
    whole = fit(table(), made, order=5)
    whole.steps(10, 0.0)
    first = fit(table(), made, order=5)
    first.steps(5, 0.0)
    state = to_bytes(first.state(checkpoint=True))
    second = fit(table(), made, weights=state, checkpoint=True)
    assert second.done == 5
    second.steps(5, 0.0)
    for a, b in zip(whole.weights, second.weights, strict=True):
        assert torch.equal(a, b)
    with pytest.raises(BastionError) as refused:
        second.steps(1, 0.0)
    assert refused.value.code == "train.steps"


@pytest.mark.parametrize("name", ["another model", "another optimiser", "plain weights"])
def test_a_checkpoint_of_another_fit_is_refused(name: str) -> None:
    made = fit(table(), spec())
    state = to_bytes(made.state(checkpoint=name != "plain weights"))
    other = spec(optimizer=Optimizer("adam", 0.1)) if name == "another optimiser" else spec()
    with pytest.raises(BastionError) as refused:
        fit(table(), other, mlp(wide=9) if name == "another model" else mlp(), weights=state, checkpoint=True)
    assert refused.value.code == "model.weights"


def test_a_small_memory_makes_small_passes_and_too_small_a_one_is_refused() -> None:
    wide = mlp(wide=2000)
    made = fit(table(), spec(expected=100.0, batch=100), wide, memory=8 << 20)
    assert made.room.passes > 3
    assert fit(table(), spec(expected=100.0, batch=200), wide).room.passes == 1
    same = [f.summed(np.arange(3)).numpy()[-1] for f in (made, fit(table(), spec(expected=100.0, batch=200), wide))]
    assert same[0] == pytest.approx(same[1], rel=0.2)
    # what a model is given counts too
    long = table().with_columns(x0=pl.Series([[0.0]] * 200))
    given = fit(long, spec(1, expected=40.0), nn.Linear(20_000, 2), memory=64 << 20, shape=20_000)
    assert given.room.width * 20_000 * 12 < 64 << 20
    with pytest.raises(BastionError) as refused:
        fit(table(), spec(), wide, memory=1 << 19)
    assert refused.value.code == "model.memory"


def test_batches_that_are_accumulated_are_one_step() -> None:
    same, some = nn.Linear(4, 2), np.arange(70)
    # of a bound for which sums are in single precision, and of one for which they are not
    for clip, near in ((1.0, 1e-5), (1e6, 1e-9)):
        whole, parts = (fit(table(), spec(rate=0.5, expected=100.0, batch=b, clip=clip), same) for b in (100, 10))
        assert whole.room.passes == 1 and parts.room.passes > 3
        assert (whole.room.gamma, whole.room.deviation) == (parts.room.gamma, parts.room.deviation)
        assert parts.summed(some).numpy() == pytest.approx(whole.summed(some).numpy(), rel=near, abs=near)


def test_the_part_for_testing_is_not_trained_on() -> None:
    made = fit(table(), spec(split=Split(0.25, 3), private=False))
    inside = {*made.all_rows.tolist()}
    (wrong, right), _ = made.evaluate("accuracy", "test", 1.0)
    assert len(inside) + int(wrong + right) == 200
    assert 20 < int(wrong + right) < 80
