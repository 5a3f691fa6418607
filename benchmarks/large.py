"""(b), (c): guarded queries over a large table against plain Polars on the same file."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from bastion import Connection
from bastion.policy import Aggregation, Policy, Review, measure
from benchmarks.timing import median, spread

ROWS = 10_000_000
RUNS = 7


def table(rows_per_unit: int, rows: int = ROWS) -> pl.DataFrame:
    """Return 7 columns: unit, four keys, two values; seeded."""
    n = pl.int_range(rows, dtype=pl.Int64, eager=True).alias("n").to_frame()
    mixed = pl.col("n").hash(7)
    return n.select(
        (pl.col("n") // rows_per_unit).alias("unit"),
        (mixed % 100).cast(pl.Int32).alias("k"),
        (mixed // 128 % 20).cast(pl.Int32).alias("g"),
        (mixed // 4096 % 2).cast(pl.Boolean).alias("flag"),
        (mixed // 8192 % 7).cast(pl.Int32).alias("h"),
        (mixed // 65536 % 100_000).cast(pl.Float64).alias("x"),
        (mixed // 16 % 1000).cast(pl.Int64).alias("y"),
    )


def labels() -> pl.DataFrame:
    """Return 100 x 5."""
    return pl.DataFrame({"k": pl.Series(range(100), dtype=pl.Int32), "a": [i % 5 for i in range(100)], "b": [i % 3 for i in range(100)],
                         "c": [float(i) for i in range(100)], "d": [f"label {i % 5}" for i in range(100)]})  # fmt: skip


def policy(unit: str) -> Policy:
    """Return the default profile with declared roles."""
    roles = {
        "unit": "identifier",
        "k": "quasi",
        "g": "quasi",
        "flag": "quasi",
        "h": "quasi",
        "x": measure(0, 100_000, varies=True),
        "y": measure(0, 1000, varies=True),
    }
    return Policy(safe_zone=Aggregation(10), unsafe_handling=Review(), unit=unit, roles=roles)


def group_mean(frame: Any) -> Any:
    """(b) the query."""
    return frame.group_by("g").agg(pl.col("x").mean())


def join_sum(frame: Any, other: Any) -> Any:
    """(c) the query."""
    return frame.join(other, on="k").group_by("d").agg(pl.col("x").mean(), pl.len())


def side_by_side(path: Path, other: Path, kind: str, ours: Callable[[], Any]) -> tuple[list[float], list[float]]:
    """Return (plain, guarded) seconds; in turns of one run each, plain Polars in a warm process of its own."""
    context = multiprocessing.get_context("spawn")
    results, go = context.Queue(), context.Queue()
    process = context.Process(target=_plain_turns, args=(str(path), str(other), kind, go, results))
    process.start()
    try:
        results.get(timeout=120)
        ours()
        left, right = [], []
        for _ in range(RUNS):
            go.put(True)
            left.append(results.get(timeout=120))
            begin = time.perf_counter()
            ours()
            right.append(time.perf_counter() - begin)
        go.put(False)
    finally:
        process.join(30)
        if process.is_alive():
            process.terminate()
    return left, right


def _plain_turns(path: str, other: str, kind: str, go: Any, results: Any) -> None:
    frame, right = pl.scan_ipc(path), pl.scan_ipc(other)
    query = group_mean(frame) if kind == "group" else join_sum(frame, right)
    query.collect()
    results.put(0.0)
    while go.get(timeout=300):
        begin = time.perf_counter()
        query.collect()
        results.put(time.perf_counter() - begin)


def measure_large(owner: Connection, user: Connection, size: int = ROWS) -> list[dict[str, str]]:
    """Return rows of the table. size: rows of the tables."""
    rows: list[dict[str, str]] = []
    shape = f"{size / 1e6:g}M rows"
    with tempfile.TemporaryDirectory() as folder:
        right_path = Path(folder) / "labels.arrow"
        labels().write_ipc(right_path)
        for per_unit in (1, 10):
            data = table(per_unit, size)
            path = Path(folder) / f"rows{per_unit}.arrow"
            data.write_ipc(path, compression="uncompressed")
            marks: list[tuple[float, int]] = []
            begin = time.perf_counter()
            owner.client.polars.send_df(
                data, name=f"rows{per_unit}", policy=policy("unit"), replace=True,
                on_progress=lambda p, marks=marks: marks.append((time.perf_counter(), p.done)) if p.stage == "sending" else None,
            )  # fmt: skip
            seconds = time.perf_counter() - begin
            if per_unit == 1:
                sent = marks[-1][1] / 1e6
                wire = (marks[-1][1] - marks[0][1]) / 1e6 / (marks[-1][0] - marks[0][0])
                rows += [
                    {"what": f"(d) upload of {sent:.0f} MB, first to last byte taken by the server", "measured": f"{wire:.0f} MB/s", "goal": f">= 300 MB/s: {'met' if wire >= 300 else 'MISSED'}"},
                    {"what": "(d) the same until registered (encode, hash, send, measure, encrypt, fsync)", "measured": f"{sent / seconds:.0f} MB/s", "goal": ""},
                ]  # fmt: skip
            del data
            ours = user.client.polars.get_df(f"rows{per_unit}")
            other = user.frame(labels())
            # the first question of a table numbers its people; a later new one is compared with what was released
            fresh = []
            for key in ("g", "h", "flag"):
                begin = time.perf_counter()
                ours.group_by(key).agg(pl.col("x").mean()).fetch()
                fresh.append(time.perf_counter() - begin)
            rows.append(
                {
                    "what": f"(b) a group-by mean that was not asked before, {shape}, {per_unit} row(s) per unit: first of the table / next two",
                    "measured": f"{fresh[0]:.1f} s / {fresh[1]:.1f} s, {fresh[2]:.1f} s",
                    "goal": "",
                }
            )
            left, right = side_by_side(path, right_path, "group", lambda ours=ours: group_mean(ours).fetch())
            ratio, goal = median(right) / median(left), 1.3 if per_unit == 1 else 2.0
            rows.append(
                {
                    "what": f"(b) group-by mean asked again, {shape}, {per_unit} row(s) per unit: plain / guarded",
                    "measured": f"{spread(left)} / {spread(right)} = {ratio:.2f}x",
                    "goal": f"<= {goal}x: {'met' if ratio <= goal else 'MISSED'}",
                }
            )
            if per_unit == 1:
                left, right = side_by_side(
                    path, right_path, "join", lambda ours=ours, other=other: join_sum(ours, other).fetch()
                )
                ratio = median(right) / median(left)
                rows.append(
                    {
                        "what": f"(c) {size / 1e6:g}M x 7 join 100 x 5 (the scientist's own table) + aggregate: plain / guarded",
                        "measured": f"{spread(left)} / {spread(right)} = {ratio:.2f}x",
                        "goal": f"<= 1.3x: {'met' if ratio <= 1.3 else 'MISSED'}",
                    }
                )
            path.unlink()
    return rows
