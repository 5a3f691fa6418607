"""(h) The history after many releases: how long the snap rule takes, and what it holds in memory and on disk.

`python -m benchmarks history`. The releases are those of one person's session: a table of 100 cells under one filter after
the other. No two of them are alike, and all their cells differ by more than k people.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from bastion_policy.history import Channel, Past, Sets
from bastion_policy.history.encoding import pack_past, unpack_past
from bastion_policy.history.near import Cells
from bastion_policy.judge_history import CLOSE

from benchmarks.timing import median, met, spread

UNITS = 1_000_000
RELEASES = 1_000
CELLS = 100
#: values of the column that the releases are filtered by
FILTERS = 20
K = 10
RUNS = 7
GOAL = 0.050
#: seconds after which nothing is run again
PATIENCE = 3.0

Ints = npt.NDArray[np.int64]


def session(releases: int = RELEASES, cells: int = CELLS, filters: int = FILTERS, seed: int = 1) -> Channel:
    """Return the channel of a session: first everybody, then `cells` cells under a filter `releases` times.

    Its items stand for the people of one cell and one value of the filtered column: item = cell * filters + value.
    """
    rng = np.random.default_rng(seed)
    items = np.arange(cells * filters)
    channel = Channel.empty(items.size).released(Sets.one(items, items.size))
    seen: set[bytes] = set()
    while len(seen) < releases:
        chosen = rng.random(filters) < 0.5
        if chosen.sum() < 2 or chosen.tobytes() in seen:
            continue
        seen.add(chosen.tobytes())
        inside = items[chosen[items % filters]]
        plan = len(seen).to_bytes(12, "big")
        channel = channel.released(Sets.of(cells, inside // filters, inside, items.size), plan)
    return channel


def spread_over(channel: Channel, kind: Ints) -> Channel:
    """Return the channel of a session of people of whom `kind[i]` says which item of the session they are."""
    labels = channel.labels[kind]
    sizes = np.bincount(labels, minlength=channel.sizes.size).astype(channel.sizes.dtype)
    return replace(channel, labels=labels, sizes=sizes, cells=Cells.of(channel.parts, sizes))


def bytes_of(channel: Channel) -> int:
    """Return the bytes that the arrays of a channel hold."""
    return channel.labels.nbytes + channel.sizes.nbytes + channel.parts.nbytes


@dataclass(frozen=True)
class Question:
    """Cells that are asked: `cell[i]` of each unit, -1 for none; far: whether all of them are."""

    name: str
    cell: npt.NDArray[np.int32]
    far: bool = True


def questions(kind: Ints, cells: int, filters: int, seed: int = 2) -> list[Question]:
    """Return the same cells under a filter that was not asked, a key that was not asked, and cells that were asked but for few."""
    rng = np.random.default_rng(seed)
    cell, value = (kind // filters).astype(np.int32), kind % filters
    one = np.where(value == 3, cell, np.int32(-1))
    everybody = np.zeros(kind.size, np.int32)
    everybody[:3] = -1
    return [
        Question("another filter", one),
        Question("another key", rng.integers(0, cells, kind.size).astype(np.int32)),
        Question("everybody but a few", everybody, far=False),
    ]


def measure_history(units: int = UNITS, releases: int = RELEASES, filters: int = FILTERS) -> list[dict[str, str]]:
    """Return rows of the table. There are fewer cells where there are few people: none of them is small."""
    cells = min(CELLS, max(2, units // 5_000))
    kind = np.random.default_rng(3).integers(0, cells * filters, units)
    channel = spread_over(session(releases, cells, filters), kind)
    item, unit = np.arange(units, dtype=np.int32), np.arange(units, dtype=np.uint64)
    after = f"after {releases:,} releases of {cells} cells, {units:,} people, {channel.sizes.size:,} atoms"
    rows = []
    for question in questions(kind, cells, filters):
        inside = question.cell >= 0
        where, who, count = question.cell[inside], item[inside], int(question.cell.max()) + 1

        def compared(count: int = count, where: Any = where, who: Any = who) -> Any:
            return channel.distances(Sets.of(count, where, who, units), K, 1, unit)

        def kept(count: int = count, where: Any = where, who: Any = who) -> Any:
            asked = Sets.of(count, where, who, units)
            channel.distances(asked, K, 1, unit)
            channel.beside(asked, CLOSE * K)
            return channel.released(asked)

        found = compared()
        if bool((found.state == 0).all()) != question.far:
            raise RuntimeError(f"the snap rule says {found.state} of {question.name}")
        checks = times(compared)
        rows.append(
            {
                "what": f"(h) snap check of {count} cell(s), {question.name}, {after}",
                "measured": spread(checks),
                "goal": met(median(checks), GOAL, "50 ms"),
            }
        )
        if question.far:
            rows.append(
                {
                    "what": f"(h) the same, with what the differences need and the next history, {question.name}",
                    "measured": spread(times(kept)),
                    "goal": "",
                }
            )
    past = Past({"": channel})
    packed = pack_past(past)
    writing, reading = times(lambda: pack_past(past)), times(lambda: unpack_past(packed))
    rows.append(
        {
            "what": f"(h) memory of the history, {after}",
            "measured": f"{bytes_of(channel) / 1e6:.0f} MB in memory, {len(packed) / 1e6:.0f} MB on disk; "
            f"packed in {spread(writing)}, read in {spread(reading)}",
            "goal": "",
        }
    )
    return rows


def times(work: Callable[[], Any], runs: int = RUNS) -> list[float]:
    """Return the seconds of some runs, after one to warm up; where they take long, of fewer."""
    work()
    found: list[float] = []
    while len(found) < runs and sum(found) < PATIENCE:
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return found
