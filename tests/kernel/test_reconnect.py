"""A connection that is lost under a live kernel: one plain line says so, one that it is back, and what waits goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from kernel_client import Client, Stage, kernel_through
from network import Network
from widget_page import Page

from bastion.client.news import BACK, LOST, MEANWHILE
from bastion.policy import Policy

WAIT = 'dataset("titanic").head(41).fetch(wait=60, reason="to look at them")'


@pytest.fixture(scope="module")
def network(stage: Stage) -> Iterator[Network]:
    with Network(stage.endpoint) as made:
        yield made


@pytest.fixture(scope="module")
def kernel(jupyter: Path, stage: Stage, network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A kernel with alice connected, through a network that can be cut."""
    profile = tmp_path_factory.mktemp("profile") / "profile.toml"
    with kernel_through(network.endpoint, stage, profile) as client:
        yield client


def pending(stage: Stage, count: int) -> list:
    end = time.monotonic() + 30
    while len(found := stage.owner.requests("pending")) < count:
        assert time.monotonic() < end
        time.sleep(0.02)
    return list(found)


def test_a_loss_is_said_once_and_the_return_once(kernel, network):
    network.cut()
    time.sleep(0.5)
    first, second = kernel.run("1 + 1"), kernel.run("1 + 2")
    assert (first.result["text/plain"], second.result["text/plain"]) == ("2", "3")
    assert first.stream("stderr") == LOST + "\n"
    assert second.stream("stderr") == ""
    network.mend()
    third, fourth = kernel.run('dataset("titanic").columns'), kernel.run("1 + 3")
    assert third.status == "ok"
    assert third.stream("stderr") == BACK + "\n"
    assert fourth.stream("stderr") == ""


def test_a_short_loss_between_cells_is_one_line(kernel, network):
    network.cut()
    time.sleep(0.3)
    network.mend()
    time.sleep(4)  # it comes back by itself
    assert kernel.run("1 + 1").stream("stderr") == MEANWHILE + "\n"
    assert kernel.run("1 + 1").stream("stderr") == ""


def test_an_error_that_says_it_is_not_said_again(kernel, network):
    network.cut()
    time.sleep(0.3)
    reply = kernel.run("datasets()")
    assert reply.status == "error"
    assert "wire.unreachable" in reply.error
    assert "Traceback" not in reply.error
    assert reply.stream("stderr") == ""
    assert kernel.run("1 + 1").stream("stderr") == ""
    network.mend()
    reply = kernel.run("connection.ping() > 0")
    assert reply.stream("stderr") == BACK + "\n"


def test_a_cell_that_waits_goes_on(kernel, stage, network):
    cell = kernel.send(WAIT)
    (request,) = pending(stage, 1)
    time.sleep(0.3)
    network.cut()
    kernel.hear(cell, "stream")
    stage.owner.approve(request, "fine")
    network.mend()
    (reply,) = kernel.collect([cell])
    assert reply.status == "ok"
    assert "shape: (41, 12)" in reply.result["text/plain"]
    assert reply.stream("stderr") == f"{LOST}\n{BACK}\n"


def test_a_widget_that_waits_goes_on(kernel, stage, network):
    page = Page(kernel)
    page.denied(6)
    page.type("to look at them")
    page.click("Request access")
    (request,) = pending(stage, 1)
    page.until(lambda: "Waiting" in page.html())
    network.cut()
    time.sleep(0.3)
    stage.owner.approve(request, "fine")
    network.mend()
    page.until(lambda: "shape: (6, 12)" in page.html())
    assert "Waiting" not in page.html()
    listed = kernel.run("[r.state for r in requests()][-1]")
    assert listed.result["text/plain"].strip("'") == "approved"


def test_a_policy_that_changed_shows_in_the_next_cell(kernel, stage):
    made = stage.owner.client.polars.send_df(pl.DataFrame({"x": range(50)}), name="shifting", unit="row")
    kernel.run('kept = dataset("shifting").select("x")')
    before = kernel.run("kept.explain()").result["text/plain"]
    stage.owner.set_policy("shifting", Policy.open())
    end = time.monotonic() + 30
    while (after := kernel.run("kept.explain()").result["text/plain"]) == before:
        assert time.monotonic() < end
    assert "review" in before.lower()
    assert "review" not in after.lower()
    made.delete()


def test_a_widget_hears_that_its_request_ended(kernel, stage):
    made = stage.owner.client.polars.send_df(pl.DataFrame({"x": range(50)}), name="ending", unit="row")
    page = Page(kernel)
    page.denied(6, "ending")
    page.type("to look at them")
    page.click("Request access")
    pending(stage, 1)
    page.until(lambda: "Waiting" in page.html())
    threading.Timer(0.1, lambda: stage.owner.set_policy("ending", roles={"x": "measure"})).start()
    page.until(lambda: "ended undecided" in page.html())
    assert "Waiting" not in page.html()
    made.delete()
