"""What metrics are made of, how far a row moves them, and what is made of them with noise, against plain computation."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from bastion_plan.errors import BastionError
from bastion_policy.private.metrics import length_of, row_norm, value_of
from bastion_server.training.metrics import Counter
from fitting import fit, spec, table

RNG = np.random.default_rng(4)


def scored(classes: int, rows: int = 3000) -> tuple[Tensor, Tensor]:
    labels = torch.from_numpy(RNG.integers(0, classes, rows))
    out = torch.from_numpy(RNG.normal(size=(rows, classes)).astype(np.float32))
    out[torch.arange(rows), labels] += 1.0
    return out, labels


def counted(metric: str, loss: str, out: Tensor, labels: Tensor, bound: float = 4.0) -> list[int]:
    counter = Counter(metric, loss, tuple(out.shape[1:]), bound)
    for some in torch.arange(len(out)).split(700):  # type: ignore[no-untyped-call]
        counter.add(out[some], labels[some], torch.ones(len(some), dtype=torch.bool))
    return counter.counts.tolist()


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    return float(np.mean(np.sign(scores[positive][:, None] - scores[~positive][None, :]) / 2 + 0.5))


@pytest.mark.parametrize("classes", [2, 5])
def test_without_noise_a_metric_is_what_it_is(classes: int) -> None:
    out, labels = scored(classes)
    said, n = out.argmax(1).numpy(), labels.numpy()
    exact = float((said == n).mean())
    assert value_of("accuracy", counted("accuracy", "cross_entropy", out, labels)).value == pytest.approx(exact)
    confusion = value_of("confusion", counted("confusion", "cross_entropy", out, labels))
    assert confusion.value == pytest.approx(exact) and confusion.rows == len(n)
    assert confusion.matrix[1][0] == int(((n == 1) & (said == 0)).sum())
    f1 = [2 * ((n == c) & (said == c)).sum() / ((n == c).sum() + (said == c).sum()) for c in range(classes)]
    assert value_of("f1", counted("f1", "cross_entropy", out, labels)).value == pytest.approx(
        f1[1] if classes == 2 else np.mean(f1)
    )
    p = torch.softmax(out, 1).numpy()
    expected = [auc(p[:, c], n == c) for c in range(classes)]
    found = value_of("auc", counted("auc", "cross_entropy", out, labels)).value
    assert found == pytest.approx(expected[1] if classes == 2 else np.mean(expected), abs=3e-3)
    loss = torch.nn.functional.cross_entropy(out, labels, reduction="none").clamp(0, 4.0).mean()
    found = value_of("loss", counted("loss", "cross_entropy", out, labels), bound=4.0).value
    assert found == pytest.approx(float(loss), abs=1e-3)


def test_bits_and_numbers() -> None:
    out, labels = scored(2)
    out, bits = (out[:, 1] - out[:, 0]).reshape(-1, 1), labels.float().reshape(-1, 1)
    assert value_of("accuracy", counted("accuracy", "bce", out, bits)).value == pytest.approx(
        float(((out > 0) == bits).float().mean())
    )
    assert value_of("auc", counted("auc", "bce", out, bits)).value == pytest.approx(
        auc(out[:, 0].numpy(), labels.numpy() == 1), abs=3e-3
    )
    errors = (out - bits).abs().clamp(0, 1.5).mean()
    assert value_of("mae", counted("mae", "l2", out, bits, 1.5), bound=1.5).value == pytest.approx(
        float(errors), abs=1e-3
    )


@pytest.mark.parametrize("metric", ["accuracy", "confusion", "f1", "auc", "loss"])
@pytest.mark.parametrize("classes", [2, 4])
def test_a_row_moves_a_metric_by_its_norm_at_most(metric: str, classes: int) -> None:
    odd = [0.0, 1.0, -1e30, float("inf"), float("-inf"), float("nan"), 3e38]
    for first in odd:
        for second in odd:
            out = torch.tensor([[first, second, *[0.0] * (classes - 2)]])
            for label in range(classes):
                counts = counted(metric, "cross_entropy", out, torch.tensor([label]))
                assert len(counts) == length_of(metric, classes)
                assert 0 < math.hypot(*counts) <= row_norm(metric, classes) + 1e-9


@pytest.mark.parametrize("metric", ["accuracy", "f1", "auc", "loss"])
def test_the_bar_holds_the_value_as_often_as_it_says(metric: str) -> None:
    out, labels = scored(3)
    exact = counted(metric, "cross_entropy", out, labels)
    scale = 10.0 * row_norm(metric, 3)
    truth = value_of(metric, exact, bound=4.0).value
    assert truth is not None
    inside, widths = 0, []
    for _ in range(300):
        noisy = [c + round(x) for c, x in zip(exact, RNG.normal(0, scale, len(exact)), strict=True)]
        found = value_of(metric, noisy, scale=scale, bound=4.0)
        assert found.value is not None
        widths.append(found.error)
        inside += abs(found.value - truth) <= found.error
    assert 0.9 < inside / 300 <= 1
    assert np.mean(widths) < 0.2
    # of too few rows nothing is said
    assert value_of(metric, [3] * len(exact), scale=1e4).value is None


def test_a_metric_that_does_not_go_with_the_model_is_refused() -> None:
    made = fit(table(20), spec())
    for metric in ("mae", "__class__", ""):
        with pytest.raises(BastionError) as refused:
            made.evaluate(metric, "train", 1.0)
        assert refused.value.code == "fit.metric"
    assert "accuracy" in refused.value.next_step


def test_a_person_counts_as_often_as_the_fit_says() -> None:
    made = fit(table(20, rows=5), spec(rows=3))
    counts, sensitivity = made.evaluate("accuracy", "train", 1.0)
    assert int(counts.sum()) == 60 and sensitivity == 3.0
