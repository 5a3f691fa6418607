"""What is made of noisy whole numbers about a model: accuracy, F1, AUC, a confusion matrix, a mean loss or error, each with its bar.

A training worker counts, the server adds noise to the counts and sends them, or what is made of them here. One row adds, by metric:

- accuracy: 1 to [wrong, right];
- confusion, f1: 1 to one of classes x classes cells, label by prediction;
- auc: per class (one alone where there are two) 1 to one of 2 x BINS cells, [others, those of the class] by score;
- loss, mae: q to the first and ONE - q to the second number, where q is the loss or error, clipped to its bound, in ONE steps.

So a row moves accuracy, confusion and f1 by 1, auc by the root of its classes, loss and mae by ONE, as a norm.

How long it takes to count tells how many rows there are, so that is one number more that is noised and paid with the others (padding.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bastion_policy.private.padding import deviation, share
from bastion_policy.private.pricing import gaussian_scale

#: cells a score may fall in, and the steps of a loss or error between 0 and its bound
BINS = 64
ONE = 4096
#: half of a 95 % interval, in deviations
_Z = 1.959963984540054
MOST_CLASSES = 512


@dataclass(frozen=True)
class Value:
    """A metric. value: None where too few rows are there to say. error: how far noise moves it, 95 times of 100.

    matrix: of "confusion", labels by predictions, noisy and so perhaps below 0; `value` is then the accuracy. rows: noisy too.
    """

    value: float | None
    error: float
    rows: float
    matrix: tuple[tuple[int, ...], ...] = ()


def length_of(metric: str, classes: int) -> int:
    """Return how many whole numbers a metric is made of. classes: that a model tells apart, 2 for a single bit."""
    match metric:
        case "confusion" | "f1":
            return classes * classes
        case "auc":
            return 2 * BINS * (1 if classes == 2 else classes)
    return 2


def row_norm(metric: str, classes: int) -> float:
    """Return how far one row moves the numbers of a metric, as a norm."""
    match metric:
        case "auc":
            return math.sqrt(1 if classes == 2 else classes)
        case "loss" | "mae":
            return float(ONE)
    return 1.0


@dataclass(frozen=True)
class MetricNoise:
    """The noise of a metric. norm: by how much one person moves its numbers. scale: deviation of the noise of each. rho: that this costs.

    rows: deviation of the noise on how many rows there are, which costs the rest of what is paid.
    """

    norm: float
    scale: float
    rho: float
    rows: float


def noise_of(metric: str, classes: int, rho: float, rows: int, people: float) -> MetricNoise:
    """Return the noise with which a metric, and the number of rows that is told by the clock, cost rho together.

    Of the mechanism's sensitivity norm * sqrt(1 + gamma^2), a person's rows in the metric are norm, and their number is gamma * norm.

    Args:
        rows: of one person, that count. people: how many there are, as who asks has written it.
    """
    norm, sigma = row_norm(metric, classes) * rows, 1 / math.sqrt(2 * rho)
    gamma = share(sigma, people)
    # rounded up by what gaussian_scale rounds
    aside = rows * deviation(sigma, gamma) * (1 + 1e-9)
    return MetricNoise(norm, gaussian_scale(norm * math.hypot(1, gamma), rho), rho / (1 + gamma**2), aside)


def value_of(metric: str, noisy: Sequence[int], *, scale: float = 0.0, bound: float = 1.0) -> Value:
    """Return a metric of noisy numbers.

    Args:
        noisy: as the module says. scale: deviation of the noise of each; 0: there is none. bound: of a loss or error.
    """
    match metric:
        case "confusion":
            return _confusion(noisy, scale)
        case "f1":
            return _f1(noisy, scale)
        case "auc":
            return _auc(noisy, scale)
    unit = ONE if metric in ("loss", "mae") else 1
    # the number of interest: right ones of accuracy, q of loss and mae
    wanted, other = (noisy[0], noisy[1]) if unit == ONE else (noisy[1], noisy[0])
    value, error = _share(wanted, wanted + other, scale)
    times = bound if unit == ONE else 1.0
    if value is None:
        return Value(None, 0.0, (wanted + other) / unit)
    return Value(min(1.0, max(0.0, value)) * times, error * times, (wanted + other) / unit)


def _share(part: float, whole: float, scale: float) -> tuple[float | None, float]:
    """Return part / whole, where both are sums with noise and the rest is one too, and its error."""
    # the whole is a sum of two: below three deviations of its noise a share says nothing
    if whole <= 3 * scale * math.sqrt(2):
        return None, 0.0
    p = part / whole
    return p, _Z * scale * math.sqrt(p * p + (1 - p) ** 2) / whole


def _square(noisy: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    size = math.isqrt(len(noisy))
    return tuple(tuple(noisy[i * size : (i + 1) * size]) for i in range(size))


def _confusion(noisy: Sequence[int], scale: float) -> Value:
    cells = _square(noisy)
    size, total = len(cells), sum(noisy)
    right = sum(cells[i][i] for i in range(size))
    if total <= 3 * scale * size:
        return Value(None, 0.0, total, cells)
    p = right / total
    spread = math.sqrt(size * (1 - p) ** 2 + (size * size - size) * p * p)
    return Value(min(1.0, max(0.0, p)), _Z * scale * spread / total, total, cells)


def _f1(noisy: Sequence[int], scale: float) -> Value:
    """F1 of class 1 where there are two, else the mean over classes; F1 = 2 tp / (labels + predictions)."""
    cells = _square(noisy)
    size, total = len(cells), sum(noisy)
    classes = [1] if size == 2 else range(size)
    slopes = [[0.0] * size for _ in range(size)]
    found = 0.0
    for c in classes:
        both = sum(cells[c]) + sum(row[c] for row in cells)
        # labels and predictions of a class are sums of `size` cells each
        if both <= 3 * scale * math.sqrt(2 * size + 2):
            return Value(None, 0.0, total, cells)
        f = 2 * cells[c][c] / both
        found += f / len(classes)
        for i in range(size):
            slopes[c][i] -= f / both / len(classes)
            slopes[i][c] -= f / both / len(classes)
        slopes[c][c] += 2 / both / len(classes)
    error = _Z * scale * math.sqrt(sum(s * s for row in slopes for s in row))
    return Value(min(1.0, max(0.0, found)), error, total, cells)


def _auc(noisy: Sequence[int], scale: float) -> Value:
    """The chance that a row of the class has a higher score than another; a tie counts half. Several classes: the mean."""
    classes = len(noisy) // (2 * BINS)
    found, variance, bins, total = 0.0, 0.0, 0.0, sum(noisy) / classes
    for c in range(classes):
        others = noisy[2 * BINS * c : 2 * BINS * c + BINS]
        ones = noisy[2 * BINS * c + BINS : 2 * BINS * (c + 1)]
        n, p = sum(others), sum(ones)
        if min(n, p) <= 3 * scale * math.sqrt(BINS):
            return Value(None, 0.0, total)
        below, ranks = 0.0, []
        for count in others:
            ranks.append((below + count / 2) / n)
            below += count
        auc = sum(one * rank for one, rank in zip(ones, ranks, strict=True)) / p
        above, tops = 0.0, []
        for count in reversed(ones):
            tops.append((above + count / 2) / p)
            above += count
        tops.reverse()
        found += auc / classes
        # the slope by each count: how it ranks, beside the mean
        variance += sum(((r - auc) / p) ** 2 for r in ranks) + sum(((t - auc) / n) ** 2 for t in tops)
        # rows of one cell may stand either way
        bins += sum(max(0, a) * max(0, b) for a, b in zip(ones, others, strict=True)) / (2 * n * p) / classes
    error = _Z * scale * math.sqrt(variance) / classes + (bins if scale else 0.0)
    return Value(min(1.0, max(0.0, found)), error, total)
