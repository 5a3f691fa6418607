"""A server that goes in the middle of a query, under a live kernel: a clear error at once, and the next cell goes on when it is back."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from kernel_client import SLOW, kernel_through
from network import Network


@pytest.fixture
def network(stage):
    with Network(stage.endpoint) as made:
        yield made


@pytest.fixture
def kernel(jupyter: Path, stage, network, tmp_path):
    with kernel_through(network.endpoint, stage, tmp_path / "profile.toml") as client:
        yield client


def test_the_server_goes_in_the_middle_of_a_query(kernel, network):
    cell = kernel.send("x = 41\n" + SLOW, stop_on_error=False)
    kernel.hear(cell, "update_display_data")  # it is under way
    network.cut()
    begin = time.monotonic()
    (reply,) = kernel.collect([cell], timeout=30)
    assert time.monotonic() - begin < 20
    assert reply.status == "error"
    assert "wire.lost" in reply.error
    assert "Traceback" not in reply.error
    lines = [c["data"]["text/plain"] for c in reply.of("display_data", "update_display_data")]
    assert lines[-1].startswith("took "), "the line of progress does not go on"
    assert kernel.run("x + 1").result["text/plain"] == "42", "names stay"
    network.mend()
    end = time.monotonic() + 40
    while (again := kernel.run('dataset("titanic").select(pl.len())')).status != "ok":
        assert time.monotonic() < end
        time.sleep(0.5)
    assert "891" in again.result["text/plain"]


def test_a_verdict_needs_no_server(kernel, network):
    kernel.run('t = dataset("titanic")')
    network.cut()
    time.sleep(0.5)
    reply = kernel.run("mean = t.select(pl.col('Age').mean())")
    assert reply.status == "ok"
    assert any("mean: ✓" in data["text/plain"] for data in reply.shown)
