"""Interrupts, errors in Run All, stdin, pending queries, restart."""

from __future__ import annotations

import time

import pytest
from kernel_client import SLOW, close_kernel, open_kernel


def outcomes(stage, dataset, kind="outcome"):
    return [r.summary for r in stage.owner.audit(dataset, 50) if r.kind_of == kind]


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_interrupt_stops_the_query_on_the_server(kernel, stage):
    before = outcomes(stage, "slow").count("cancelled")
    begun = len(outcomes(stage, "slow", "intent"))
    cell = kernel.send(SLOW, stop_on_error=False)
    # it is under way, and would be for minutes
    assert until(lambda: len(outcomes(stage, "slow", "intent")) > begun)
    kernel.manager.interrupt_kernel()
    (reply,) = kernel.collect([cell], timeout=30)
    assert reply.status == "error"
    assert "stopped" in reply.error
    assert until(lambda: outcomes(stage, "slow").count("cancelled") == before + 1)
    assert kernel.run('dataset("titanic").select(pl.len())').status == "ok"


def test_progress_is_one_line_that_updates_after_half_a_second(kernel):
    cell = kernel.send(SLOW, stop_on_error=False)
    kernel.hear(cell, "update_display_data", 2)
    kernel.manager.interrupt_kernel()
    (reply,) = kernel.collect([cell])
    (line,) = reply.of("display_data")
    updates = reply.of("update_display_data")
    assert len(updates) >= 2
    assert {u["transient"]["display_id"] for u in updates} == {line["transient"]["display_id"]}
    assert "took" in updates[-1]["data"]["text/plain"]
    quick = kernel.run('dataset("titanic").select(pl.len())')
    assert not quick.of("display_data", "update_display_data")


def test_interrupt_stops_a_loop_that_never_waits(kernel):
    cell = kernel.send("for a in range(9000):\n    x = [b for b in range(300)]", stop_on_error=False)
    kernel.hear(cell, "execute_input")
    time.sleep(0.3)
    kernel.manager.interrupt_kernel()
    (reply,) = kernel.collect([cell])
    assert reply.status == "error"


def test_an_interrupt_with_nothing_running_changes_nothing(kernel):
    kernel.manager.interrupt_kernel()
    time.sleep(0.2)
    assert kernel.run("1 + 1").result["text/plain"] == "2"


def test_cells_after_an_error_are_aborted_every_time(kernel):
    for _ in range(8):
        ids = [kernel.send(c) for c in ("leaked = 0", "import os", "leaked = 1", 'print("ran")', "leaked = 2")]
        replies = kernel.collect(ids)
        assert [r.status for r in replies] == ["ok", "error", "aborted", "aborted", "aborted"]
        time.sleep(0.2)
        assert kernel.run("leaked").result["text/plain"] == "0"


def test_cells_after_an_error_run_where_the_front_end_wants_it(kernel):
    ids = [kernel.send(c, stop_on_error=False) for c in ("import os", "1")]
    assert [r.status for r in kernel.collect(ids)] == ["error", "ok"]


def test_stdin_is_never_asked_for(kernel):
    reply = kernel.run('input("your name")', allow_stdin=True)
    assert reply.status == "error"
    assert "input" in reply.error
    assert not kernel.client.stdin_channel.msg_ready()


def test_a_cell_sent_while_a_query_is_pending_waits_its_turn(kernel):
    first = kernel.send(SLOW, stop_on_error=False)
    second = kernel.send("21 * 2", stop_on_error=False)
    kernel.hear(first, "display_data")
    kernel.manager.interrupt_kernel()
    stopped, answered = kernel.collect([first, second])
    assert stopped.status == "error"
    assert answered.result["text/plain"] == "42"


@pytest.mark.usefixtures("jupyter", "stage")
def test_restart_forgets_and_works():
    client = open_kernel()
    try:
        client.run("connect()\nx = 1")
        client.manager.restart_kernel(now=False)
        client.client.wait_for_ready(timeout=30)
        assert "x" in client.run("x").error
        assert "no connection" in client.run("datasets()").error
        assert client.run("connect()").status == "ok"
    finally:
        close_kernel(client)


@pytest.mark.usefixtures("jupyter")
def test_starting_connects_to_nothing():
    client = open_kernel()
    try:
        assert "no connection" in client.run("%whoami").error
        assert "connect" in client.run("%whoami").error
    finally:
        close_kernel(client)
