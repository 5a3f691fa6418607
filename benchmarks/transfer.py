"""(d) fetch: a tiny result and a large one, under an open policy, so that the transfer is what is measured."""

from __future__ import annotations

import time
from typing import Any

import polars as pl

from bastion import Connection
from bastion.policy import Policy
from benchmarks.timing import interleaved, median, spread


def measure_transfer(owner: Connection, user: Connection) -> list[dict[str, str]]:
    """Return rows of the table."""
    n = 5_000_000
    data = pl.DataFrame({"a": pl.int_range(n, eager=True), "b": pl.int_range(n, eager=True).cast(pl.Float64)})
    owner.client.polars.send_df(data, name="open", policy=Policy.open(), unit="row", replace=True)
    frame = user.client.polars.get_df("open")
    size = data.estimated_size() / 1e6
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        got = frame.fetch()
        seconds.append(time.perf_counter() - begin)
        if got.height != n:
            raise RuntimeError("rows were lost")
    ping = interleaved(200, ping=user.ping)["ping"]
    tiny: Any = frame.select(pl.len())
    small = interleaved(60, fetch=tiny.fetch)["fetch"]
    return [
        {"what": f"(d) fetch of {size:.0f} MB", "measured": f"{size / median(seconds):.0f} MB/s", "goal": ""},
        {"what": "(d) fetch of a tiny result, open policy, audit synced", "measured": spread(small), "goal": f"<= 2 ms p50: {'met' if median(small) <= 0.002 else 'MISSED'}"},
        {"what": "(d) round trip of an empty message", "measured": spread(ping), "goal": ""},
    ]  # fmt: skip
