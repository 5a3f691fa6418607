"""Progress of the SDK in a terminal: one line on standard error, gone at the end; nothing where nobody sees it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pexpect
import polars as pl
import pytest
from bastion_server import start
from network import Network

from bastion import Connection, Identity
from bastion.policy import Policy

SCRIPT = """
import sys, bastion
with bastion.Connection(sys.argv[1], identity=sys.argv[2], server_key=sys.argv[3]) as connection:
    slow = connection.dataset("slow")
    open(sys.argv[4], "w").close()
    try:
        slow.join(slow, how="cross").join(slow, how="cross", suffix="_b").select(bastion.pl.col("x").sum()).fetch()
    except KeyboardInterrupt:
        print("stopped")
    print(connection.dataset("slow").select(bastion.pl.len()).fetch().item())
"""

#: a table goes to the server, and comes back; what is random cannot be made smaller on the way
TRANSFER = """
import sys, bastion, polars
from bastion.policy import Policy
table = polars.select(x=polars.int_range(1_500_000).hash())
with bastion.Connection(sys.argv[1], identity=sys.argv[2], server_key=sys.argv[3]) as connection:
    open(sys.argv[4], "w").close()
    sent = connection.client.polars.send_df(table, Policy.open(), name="moved", unit="row", replace=True)
    print("there")
    try:
        sent.select("x").fetch()
    except KeyboardInterrupt:
        print("stopped")
    print(sent.select(bastion.pl.len()).fetch().item())
"""
#: share, size of all, rate, what is left
MOVING = r" \d+% · [\d.]+ MB of 12\.\d MB · [\d.]+ [kM]B/s · [\d.]+ s left[^\r]* · Ctrl-C stops it"


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("terminal")
    olga = Identity.create("olga", folder / "keys")
    with (
        start(folder / "server", owners=[olga]) as server,
        Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner,
    ):
        owner.client.polars.send_df(pl.DataFrame({"x": range(5000)}), Policy.open(), name="slow", unit="row")
        yield [server.endpoint, str(folder / "keys" / "olga.key"), server.server_key], owner


def run(
    arguments: list[str], begun: Path, *, script: str = SCRIPT, until: str = "running", **more: str
) -> tuple[str, str]:
    """Run a script with a terminal as its standard error and stop its query; return its output and what the terminal got."""
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments, str(begun)],
        stdout=subprocess.PIPE, stderr=side, text=True, env={**os.environ, **more}, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    os.close(side)
    os.set_blocking(main, False)
    seen, end = b"", time.monotonic() + 120
    begins, stopped = 0.0, False
    while process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.02)
        with suppress(OSError):
            seen += os.read(main, 65536)
        if not begins and begun.exists():
            begins = time.monotonic()
        if not stopped and (
            re.search(until, seen.decode(errors="ignore")) or (more and begins and time.monotonic() > begins + 1.5)
        ):
            process.send_signal(2)
            stopped = True
    out, _ = process.communicate(timeout=60)
    with suppress(OSError):
        seen += os.read(main, 65536)
    os.close(main)
    return out, seen.decode()


def cancelled(owner: Connection) -> int:
    return [r.summary for r in owner.audit("slow", 50) if r.kind_of == "outcome"].count("cancelled")


def test_a_long_fetch_shows_a_line_and_control_c_stops_it(stage, tmp_path):
    arguments, owner = stage
    before = cancelled(owner)
    out, seen = run(arguments, tmp_path / "begun")
    assert out.split() == ["stopped", "5000"]
    assert "running beside the data · " in seen
    assert "Ctrl-C stops it" in seen
    assert seen.endswith("\r"), "the line is taken away"
    assert "\n" not in seen
    assert cancelled(owner) == before + 1, "the query was waited for"


def test_it_may_be_switched_off(stage, tmp_path):
    arguments, owner = stage
    before = cancelled(owner)
    out, seen = run(arguments, tmp_path / "begun", BASTION_PROGRESS="0")
    assert out.split() == ["stopped", "5000"]
    assert seen == ""
    assert cancelled(owner) == before + 1, "the query was waited for"


def test_a_table_on_its_way_says_how_far_it_is(stage, tmp_path):
    (endpoint, *others), _ = stage
    with Network(endpoint, rate=3e6) as network:
        out, seen = run([network.endpoint, *others], tmp_path / "begun", script=TRANSFER, until=f"receiving{MOVING}")
    assert out.split() == ["there", "stopped", "1500000"]
    assert re.search(f"sending{MOVING}", seen), seen[-400:]
    assert seen.endswith("\r"), "the line is taken away"


def test_an_upload_from_the_command_line_shows_a_bar(stage, tmp_path):
    (endpoint, key, server_key), _ = stage
    pl.select(x=pl.int_range(1_500_000).hash()).write_parquet(tmp_path / "large.parquet")
    where = ["--unit", "row", "--as", key, "--server-key", server_key]
    own = {"TERM": "xterm", "NO_COLOR": "1", "BASTION_PROFILE": str(tmp_path / "profile.toml")}
    with Network(endpoint, rate=3e6) as network:
        child = pexpect.spawn(
            str(Path(sys.executable).with_name("bastion")),
            ["upload", str(tmp_path / "large.parquet"), "--connect", network.endpoint, *where],
            env=os.environ | own, dimensions=(40, 150), encoding="utf-8", timeout=100,
        )  # fmt: skip
        child.expect(r"large\.parquet[^\r\n]* [1-9]\d*\.\d/12\.\d MB [\d.]+ [kM]B/s 0:00:0\d")
        child.expect("is there, version 1")
        child.expect(pexpect.EOF)
        child.close()
    assert child.exitstatus == 0
