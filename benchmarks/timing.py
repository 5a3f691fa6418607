"""Medians of interleaved runs: both sides feel the same machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

PAUSE = 0.1  #: seconds between runs, as between a person's cells: single-use workers are made anew meanwhile


def interleaved(runs: int, **sides: Callable[[], Any]) -> dict[str, list[float]]:
    """Return seconds per run and side; one warm-up each, then in turns, with a pause before each run."""
    for side in sides.values():
        side()
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            time.sleep(PAUSE)
            begin = time.perf_counter()
            side()
            found[name].append(time.perf_counter() - begin)
    return found


def median(values: list[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def spread(values: list[float]) -> str:
    """Return median (least to most) in milliseconds."""
    return f"{median(values) * 1e3:.1f} ms ({min(values) * 1e3:.1f} to {max(values) * 1e3:.1f})"


def met(value: float, goal: float, words: str) -> str:
    """Return the goal, and whether a value is within it."""
    return f"<= {words}: {'met' if value <= goal else 'MISSED'}"


def ratio(these: list[float], those: list[float]) -> float:
    """Return how many times as long the median of these is as that of those."""
    return median(these) / median(those)
