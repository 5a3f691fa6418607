"""(a) A tiny query through everything, cell sent to idle, against stock ipykernel running the same Polars line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_client.manager import start_new_kernel

from benchmarks.timing import interleaved, median, spread

LINE = 'titanic.group_by("Pclass").agg(pl.col("Survived").mean())'
RUNS = 60


def run_cell(client: Any, code: str) -> dict[str, Any]:
    """Send a cell, wait for the kernel to be idle again; return the reply's content."""
    identifier = client.execute(code)
    while True:
        message = client.get_iopub_msg(timeout=60)
        if (
            message["parent_header"].get("msg_id") == identifier
            and message["msg_type"] == "status"
            and message["content"]["execution_state"] == "idle"
        ):
            break
    return client.get_shell_msg(timeout=60)["content"]  # type: ignore[no-any-return]


def measure(profile: Path, csv: Path, fetch: Callable[[], float]) -> list[dict[str, str]]:
    """Return rows of the table. fetch: runs the query through the SDK and returns the server's own seconds."""
    environment = {**os.environ, "BASTION_PROFILE": str(profile)}
    stock_manager, stock = start_new_kernel(kernel_name="python3")
    ours_manager, ours = start_new_kernel(kernel_name="bastionlab", env=environment)
    try:
        run_cell(stock, f"import polars as pl\ntitanic = pl.scan_csv({str(csv)!r}).collect().lazy()")
        run_cell(ours, 'connect()\ntitanic = dataset("titanic")')

        def check(client: Any, code: str) -> None:
            reply = run_cell(client, code)
            if reply["status"] != "ok":
                raise RuntimeError(reply)

        found = interleaved(RUNS, stock=lambda: check(stock, LINE + ".collect()"), ours=lambda: check(ours, LINE))
    finally:
        for client, manager in ((stock, stock_manager), (ours, ours_manager)):
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    server = []
    sdk = interleaved(RUNS, fetch=lambda: server.append(fetch()))["fetch"]
    stock_median, ours_median = median(found["stock"]), median(found["ours"])
    return [
        {"what": "(a) cell sent to idle, stock ipykernel + Polars", "measured": spread(found["stock"]), "goal": ""},
        {"what": "(a) cell sent to idle, BastionLab, through everything", "measured": spread(found["ours"]),
         "goal": f"<= stock + 3 ms = {(stock_median + 0.003) * 1e3:.1f} ms: {'met' if ours_median <= stock_median + 0.003 else 'MISSED'}"},
        {"what": "(a) server's part, audit synced", "measured": spread(server), "goal": f"<= 10 ms: {'met' if median(server) <= 0.010 else 'MISSED'}"},
        {"what": "(d) fetch of a tiny result through the SDK, guard and audit included", "measured": spread(sdk), "goal": ""},
    ]  # fmt: skip
