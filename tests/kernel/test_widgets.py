"""The access request in a cell's output: clicks reach the kernel, the decision comes by push, the rows arrive in place."""

from __future__ import annotations

import time

import pytest
from widget_page import Page


def pending(stage):
    return list(stage.owner.requests("pending"))


@pytest.fixture(autouse=True)
def _nothing_stays_pending(stage):
    yield
    for request in pending(stage):
        stage.owner.deny(request, "The test is over.")


def test_ask_approve_and_the_rows_come_by_push(kernel, stage):
    page = Page(kernel)
    page.denied(5)
    assert page.buttons() == {"Request access", "Show the safe part"}
    assert pending(stage) == []
    page.type("to see the columns")
    page.click("Request access")
    page.until(lambda: "Waiting for the owner" in page.html())
    (request,) = pending(stage)
    assert request.reason == "to see the columns"
    page.until(lambda: "Withdraw" in page.buttons())
    stage.owner.approve(request, "Fine, <once>.")
    page.until(lambda: "Braund" in page.html() or "<table>" in page.html())
    assert "Fine, &lt;once&gt;." in page.html()
    assert "*" in page.html()
    assert "Braund" not in page.html()
    assert kernel.run("released.shape").result["text/plain"] == "(5, 12)"


def test_what_was_used_up_may_be_asked_anew(kernel, stage):
    page = Page(kernel)
    page.denied(17)
    page.run('denied.request("once")')
    stage.owner.approve(pending(stage)[0])
    assert "shape: (17, 12)" in page.run("denied.wait()").result["text/plain"]
    again = Page(kernel)
    again.denied(17)
    assert "Request access" in again.buttons()
    assert "Show the result" not in again.buttons()
    assert "denied.request(" in kernel.run("denied").result["text/plain"]


def test_an_empty_reason_is_refused_in_place_and_files_nothing(kernel, stage):
    page = Page(kernel)
    page.denied(6)
    page.click("Request access")
    page.until(lambda: "needs a reason" in page.html())
    assert pending(stage) == []
    assert "Request access" in page.buttons()


def test_withdraw(kernel, stage):
    page = Page(kernel)
    page.denied(7)
    page.type("a mistake")
    page.click("Request access")
    page.until(lambda: "Withdraw" in page.buttons())
    page.click("Withdraw")
    page.until(lambda: "took the request back" in page.html())
    assert pending(stage) == []


def test_the_owners_no_and_reason_appear(kernel, stage):
    page = Page(kernel)
    page.denied(8)
    page.type("please")
    page.click("Request access")
    page.until(lambda: "Withdraw" in page.buttons())
    (request,) = pending(stage)
    stage.owner.deny(request, "Ask for means & counts.")
    page.until(lambda: "means &amp; counts" in page.html())
    assert "said no" in page.html()


def test_what_may_run_only_stays_sealed_until_it_may_be_read(kernel, stage):
    page = Page(kernel)
    page.denied(14)
    page.type("please")
    page.click("Request access")
    page.until(lambda: "Withdraw" in page.buttons())
    (request,) = pending(stage)
    stage.owner.approve(request, may_read=False)
    page.until(lambda: "kept sealed" in page.html())
    end = time.monotonic() + 60
    while not stage.owner.request(request.id).info.ran:
        assert time.monotonic() < end, "the cell lets it run"
        time.sleep(0.1)
    assert "<table>" not in page.html()
    assert "Show the result" not in page.buttons()
    stage.owner.approve_reading(request.id, "Fine.")
    page.until(lambda: "<table>" in page.html())
    assert kernel.run("released.shape").result["text/plain"] == "(14, 12)"


def test_the_safe_part_appears_and_files_nothing(kernel, stage):
    page = Page(kernel)
    page.denied(9)
    page.click("Show the safe part")
    page.until(lambda: "bastion" in page.html())
    assert pending(stage) == []


def test_a_request_filed_in_a_cell_shows_on_the_widget_and_waits_in_the_cell(kernel, stage):
    page = Page(kernel)
    page.denied(10)
    page.run('filed = denied.request("from a cell")')
    page.until(lambda: "Withdraw" in page.buttons())
    cell = kernel.send("denied.wait()")
    stage.owner.approve(pending(stage)[0])
    (reply,) = kernel.collect([cell])
    page.take(reply.messages)
    assert "shape: (10, 12)" in reply.result["text/plain"]


def test_clicks_are_served_while_a_query_is_pending(kernel, stage):
    page = Page(kernel)
    page.denied(11)
    page.run('denied.request("first")')
    waiting = kernel.send("denied.wait()", stop_on_error=False)
    page.click("Show the safe part")
    page.until(lambda: 'class="bastion"' in page.html())  # while nothing decides what the cell waits for
    stage.owner.deny(pending(stage)[0], "no")
    (reply,) = kernel.collect([waiting])
    assert reply.status == "error"
    assert "no" in reply.shown[0]["text/plain"]


def test_a_page_that_is_loaded_again_finds_its_widgets(kernel):
    page = Page(kernel)
    page.denied(12)
    fresh = Page(kernel)
    session = kernel.client.session
    message = session.msg("comm_open", {"comm_id": "reload-1", "target_name": "jupyter.widget.control", "data": {}})
    message["metadata"] = {"version": "1.0.0"}
    kernel.client.shell_channel.send(message)
    fresh.comm("reload-1", {"method": "request_states"})
    found: dict[str, dict] = {}
    end = time.monotonic() + 60
    while not found:
        answer = kernel.client.get_iopub_msg(timeout=max(0.01, end - time.monotonic()))
        if answer["msg_type"] == "comm_msg" and answer["content"]["data"].get("method") == "update_states":
            found = answer["content"]["data"]["states"]
    assert page.root in found


def test_comm_info_lists_widgets(kernel):
    Page(kernel).denied(13)
    kernel.client.comm_info("jupyter.widget")
    reply = kernel.client.get_shell_msg(timeout=60)
    while reply["msg_type"] != "comm_info_reply":
        reply = kernel.client.get_shell_msg(timeout=60)
    assert reply["content"]["comms"]
