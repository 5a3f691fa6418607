"""A million approved rows: they stream, the cell shows a capped preview with pages, and time and memory stay in bounds.

And a table that is long on its way: how far it is, and a button that stops it.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import polars as pl
from kernel_client import close_kernel, kernel_through, open_kernel
from network import Network
from widget_page import Page

from bastion.policy import Policy

ROWS = 1_000_000
MEGABYTE = 1 << 20


def peak(pid: int) -> int:
    """Return the most memory a process has had, in bytes."""
    (line,) = [x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_a_million_rows_stream_into_a_capped_preview(jupyter, stage):
    table = pl.DataFrame({"n": range(ROWS), "x": [i * 0.5 for i in range(ROWS)], "k": [i % 7 for i in range(ROWS)]})
    data = table.estimated_size()
    stage.owner.client.polars.send_df(table, name="million", unit="row")
    kernel = open_kernel()
    try:
        assert kernel.run("connect()").status == "ok"
        page = Page(kernel)
        reply = page.run('dataset("million").select(pl.all())')
        page.root = reply.shown[1]["application/vnd.jupyter.widget-view+json"]["model_id"]
        page.type("all of them")
        page.click("Request access")
        page.until(lambda: "Withdraw" in page.buttons())
        pid = kernel.manager.provisioner.pid
        before = peak(pid)
        (request,) = stage.owner.requests("pending")
        begin = time.monotonic()
        stage.owner.approve(request)
        seen: list[dict] = []
        while "shape: (1_000_000, 3)" not in page.html():
            message = kernel.client.get_iopub_msg(timeout=max(0.01, begin + 120 - time.monotonic()))
            seen.append(message)
            page.take([message])
        page.until(lambda: "rows 1–20 of 1_000_000" in page.html())
        took, grown = time.monotonic() - begin, peak(pid) - before
        told = sum(len(json.dumps(m["content"], default=str)) for m in seen)
        print(
            f"{ROWS} rows, {data / MEGABYTE:.0f} MB: {took:.1f} s, {grown / MEGABYTE:.0f} MB more, {told / 1000:.0f} kB told"
        )
        assert took < 60
        assert grown < 5 * data, "the chunks, the table, and room to spare; not a copy for every view"
        assert told < 400_000, "the front end gets a preview"
        assert kernel.run("released.shape").result["text/plain"] == "(1000000, 3)"
        page.click("›")
        page.until(lambda: "rows 21–40 of 1_000_000" in page.html())
    finally:
        close_kernel(kernel)


def test_a_table_on_its_way_says_how_far_it_is_and_a_button_stops_it(jupyter, stage, tmp_path):
    table = pl.select(x=pl.int_range(2_000_000).hash())
    stage.owner.client.polars.send_df(table, Policy.open(), name="heavy", unit="row")
    far = re.compile(r"receiving \d+% · [\d.]+ MB of 16\.\d MB · [\d.]+ [kM]B/s · [\d.]+ s left")
    with (
        Network(stage.endpoint, rate=2e6) as network,
        kernel_through(network.endpoint, stage, tmp_path / "profile.toml") as kernel,
    ):
        page = Page(kernel)
        cell = kernel.send('dataset("heavy").select("x")', stop_on_error=False)
        page.until(lambda: far.search(" ".join(str(s.get("value", "")) for s in page.states.values())))
        page.click("Stop")
        while (reply := kernel.client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != cell:
            pass
        assert reply["content"]["ename"] == "Interrupted"
        assert kernel.run("1 + 1").result["text/plain"] == "2"
