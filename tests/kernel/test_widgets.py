"""The access request in a cell's output: clicks reach the kernel, the decision comes by push, the rows arrive in place."""

from __future__ import annotations

import time

import pytest
from kernel_client import Client

DENIED = 'dataset("titanic").head({})'


class Page:
    """What a front end knows: the state of every widget, by comm id."""

    def __init__(self, kernel: Client) -> None:
        self.kernel = kernel
        self.states: dict[str, dict] = {}

    def take(self, messages: list[dict]) -> None:
        for message in messages:
            content = message["content"]
            data = content.get("data") or {}
            if message["msg_type"] == "comm_open":
                self.states[content["comm_id"]] = dict(data["state"])
            elif message["msg_type"] == "comm_msg" and data.get("method") == "update":
                self.states.setdefault(content["comm_id"], {}).update(data["state"])

    def run(self, code: str):
        reply = self.kernel.run(code)
        self.take(reply.messages)
        return reply

    def until(self, condition, seconds: float = 60.0):
        """Read IOPub without sending anything until the widgets say so; return how many messages that took."""
        end = time.monotonic() + seconds
        count = 0
        while not condition():
            self.take([self.kernel.client.get_iopub_msg(timeout=max(0.01, end - time.monotonic()))])
            count += 1
        return count

    def find(self, **wanted) -> str:
        (found,) = [k for k, s in self.states.items() if all(s.get(n) == v for n, v in wanted.items())]
        return found

    def comm(self, key: str, data: dict) -> str:
        message = self.kernel.client.session.msg("comm_msg", {"comm_id": key, "data": data})
        self.kernel.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def click(self, description: str) -> None:
        (button,) = [k for k, s in self.states.items() if s.get("description", "").startswith(description)]
        self.comm(button, {"method": "custom", "content": {"event": "click"}})

    def type(self, text: str) -> None:
        self.comm(
            self.find(_model_name="TextareaModel"), {"method": "update", "state": {"value": text}, "buffer_paths": []}
        )

    def html(self) -> str:
        return "".join(s.get("value", "") for s in self.states.values() if s.get("_model_name") == "HTMLModel")

    def buttons(self) -> set[str]:
        """Return the buttons that are on the page now."""

        def below(key: str) -> list[str]:
            children = self.states.get(key, {}).get("children", [])
            return [key, *(k for child in children for k in below(child.removeprefix("IPY_MODEL_")))]

        return {
            self.states[k]["description"].partition(" (")[0]
            for k in below(self.root)
            if self.states[k].get("_model_name") == "ButtonModel"
        }

    def denied(self, rows: int) -> None:
        reply = self.run(DENIED.format(rows))
        self.root = reply.shown[1]["application/vnd.jupyter.widget-view+json"]["model_id"]


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
