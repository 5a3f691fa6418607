"""What VS Code's Jupyter extension sends to a kernel, in its order: each message is answered, busy and idle around it.

VS Code speaks to the sockets itself: it asks who is there before anything has been run, on shell and on control, asks
for widgets before there are any, completes and explains while a cell runs, and interrupts by a message.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from kernel_client import SLOW

#: options of VS Code's execute_request
CELL = {"silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": True, "stop_on_error": False}
#: what it says of a cell with it
OF_CELL = {"cellId": "vscode-notebook-cell:tour.ipynb#W0sZmlsZQ%3D%3D"}


class Code:
    """The extension's side of a kernel."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client
        client.session.username = "vscode"
        self.seen: list[dict[str, Any]] = []

    def ask(self, kind: str, content: dict[str, Any], channel: str = "shell", **metadata: Any) -> dict[str, Any]:
        """Send a request; return its reply."""
        return self.reply(self.send(kind, content, channel, **metadata), channel)

    def send(self, kind: str, content: dict[str, Any], channel: str = "shell", **metadata: Any) -> str:
        message = self.client.session.msg(f"{kind}_request", content, metadata=metadata or None)
        getattr(self.client, f"{channel}_channel").send(message)
        return str(message["header"]["msg_id"])

    def reply(self, asked: str, channel: str = "shell", timeout: float = 60.0) -> dict[str, Any]:
        end = time.monotonic() + timeout
        while True:
            message = getattr(self.client, f"{channel}_channel").get_msg(timeout=max(0.01, end - time.monotonic()))
            if message["parent_header"].get("msg_id") == asked:
                return dict(message["content"])

    def about(self, asked: str, timeout: float = 60.0) -> list[dict[str, Any]]:
        """Return what is published of a request, until the kernel is idle again."""
        return self.until(asked, lambda m: m["content"].get("execution_state") == "idle", timeout)

    def until(self, asked: str, last: Any, timeout: float = 60.0) -> list[dict[str, Any]]:
        end = time.monotonic() + timeout
        while True:
            found = [m for m in self.seen if m["parent_header"].get("msg_id") == asked]
            if found and last(found[-1]):
                return found
            self.seen.append(self.client.get_iopub_msg(timeout=max(0.01, end - time.monotonic())))

    def first(self) -> dict[str, Any]:
        """Ask who is there until its idle state was heard once, as the extension does: a subscription takes a moment."""
        end = time.monotonic() + 60.0
        while True:
            asked = self.send("kernel_info", {})
            info = self.reply(asked)
            try:
                if self.about(asked, timeout=1.0):
                    return info
            except queue.Empty:
                assert time.monotonic() < end, "nothing is published"

    def states(self, asked: str) -> list[str]:
        return [m["content"]["execution_state"] for m in self.about(asked) if m["msg_type"] == "status"]

    def cell(self, code: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        asked = self.send("execute", {**CELL, "code": code}, **OF_CELL)
        return self.reply(asked), self.about(asked)


@pytest.fixture(scope="module")
def vscode(jupyter: Any, stage: Any) -> Iterator[Code]:
    manager = KernelManager(kernel_name="bastionlab")
    # no cells of other files' kernels are in its history
    manager.start_kernel(env={**os.environ, "BASTION_HISTORY": str(jupyter / "vscode.sqlite")})
    client = manager.blocking_client()
    client.start_channels()
    try:
        yield Code(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_on_connect(vscode):
    info = vscode.first()
    assert info["status"] == "ok"
    assert info["language_info"]["name"] == "bastionlab"
    assert info["language_info"]["codemirror_mode"]["name"] == "python"
    asked = vscode.send("kernel_info", {})
    assert vscode.states(asked) == ["busy", "idle"]
    assert vscode.reply(asked)["banner"].startswith("BastionLab")
    assert vscode.ask("kernel_info", {}, "control")["implementation"] == "bastionlab"
    # again, as it does when the first answer is late
    asked = [vscode.send("kernel_info", {}) for _ in range(3)]
    assert [vscode.reply(a)["status"] for a in asked] == ["ok"] * 3
    assert vscode.ask("comm_info", {"target_name": "jupyter.widget"}) == {"status": "ok", "comms": {}}
    assert vscode.ask("comm_info", {"target_name": "jupyter.widget.control"})["comms"] == {}


def test_a_cell(vscode):
    reply, seen = vscode.cell("connect()")
    assert reply["status"] == "ok"
    assert reply["execution_count"] == 1
    assert [m["msg_type"] for m in seen][:2] == ["status", "execute_input"]
    assert "execute_result" in [m["msg_type"] for m in seen]
    reply, seen = vscode.cell('titanic = dataset("titanic")\nimport os')
    assert reply["status"] == "error"
    (error,) = [m["content"] for m in seen if m["msg_type"] == "error"]
    assert error["traceback"][0] == "2 │ import os"
    reply, _ = vscode.cell('titanic = dataset("titanic")')
    assert reply["execution_count"] == 3


def test_while_typing(vscode):
    code = 'titanic.select("A'
    found = vscode.ask("complete", {"code": code, "cursor_pos": len(code)})
    assert found["status"] == "ok"
    assert found["matches"] == ["Age"]
    assert (found["cursor_start"], found["cursor_end"]) == (len(code) - 1, len(code))
    assert found["metadata"]["_jupyter_types_experimental"] == [
        {"text": "Age", "type": "Float64", "start": len(code) - 1, "end": len(code)}
    ]
    # places are counted in characters, also behind those that UTF-16 counts twice
    code = 'x = "🙂"\ntitanic.sel'
    found = vscode.ask("complete", {"code": code, "cursor_pos": len(code)})
    assert found["matches"] == ["select"]
    assert code[found["cursor_start"] : found["cursor_end"]] == "sel"
    for place in (0, 3, 1000, -1):
        assert vscode.ask("complete", {"code": "titanic.", "cursor_pos": place})["status"] == "ok"
    code = "titanic.group_by"
    for detail in (0, 1):
        found = vscode.ask("inspect", {"code": code, "cursor_pos": len(code), "detail_level": detail})
        assert found["found"] is True
        assert "group_by(" in found["data"]["text/plain"]
    found = vscode.ask("inspect", {"code": "no_such_name", "cursor_pos": 4, "detail_level": 0})
    assert (found["status"], found["found"], found["data"]) == ("ok", False, {})


def test_the_input_of_the_interactive_window(vscode):
    whole = ["1 + 1", "for x in [1]:\n    print(x)\n\n", "%whoami", "titanic?", "", "y = 1\n%whoami", "?pl.col\n1"]
    assert [vscode.ask("is_complete", {"code": c})["status"] for c in whole] == ["complete"] * len(whole)
    found = vscode.ask("is_complete", {"code": "for x in [1]:"})
    assert found == {"status": "incomplete", "indent": "    "}
    for part in ("titanic.select(", 'x = """\n%nothing'):
        assert vscode.ask("is_complete", {"code": part})["status"] == "incomplete"
    assert vscode.ask("is_complete", {"code": "x = )"})["status"] == "invalid"
    past = vscode.ask(
        "history", {"hist_access_type": "tail", "output": False, "raw": True, "n": 2, "session": 0, "start": 0}
    )
    assert [entry[2] for entry in past["history"]][-1] == 'titanic = dataset("titanic")'
    like = {"hist_access_type": "search", "output": False, "raw": True, "pattern": "conn*", "unique": True, "n": 5}
    assert [entry[2] for entry in vscode.ask("history", like)["history"]] == ["connect()"]


def test_widgets_come_back_after_a_reload(vscode):
    _, seen = vscode.cell("titanic.head(3)")
    opened = {m["content"]["comm_id"] for m in seen if m["msg_type"] == "comm_open"}
    assert opened
    known = vscode.ask("comm_info", {"target_name": "jupyter.widget"})["comms"]
    assert opened <= known.keys()
    control = {"comm_id": "c" * 32, "target_name": "jupyter.widget.control", "data": {}, "target_module": None}
    session = vscode.client.session
    vscode.client.shell_channel.send(session.msg("comm_open", control, metadata={"version": "1.0.0"}))
    asked = session.msg("comm_msg", {"comm_id": "c" * 32, "data": {"method": "request_states"}})
    vscode.client.shell_channel.send(asked)
    (states,) = [m for m in vscode.about(asked["header"]["msg_id"]) if m["msg_type"] == "comm_msg"]
    assert states["content"]["data"]["method"] == "update_states"
    assert opened <= states["content"]["data"]["states"].keys()


def test_interrupt_by_message_while_it_explains(vscode):
    asked = vscode.send("execute", {**CELL, "code": SLOW}, **OF_CELL)
    vscode.until(asked, lambda m: m["msg_type"] == "update_display_data")  # the query runs, and would for minutes
    assert vscode.ask("kernel_info", {}, "control")["status"] == "ok"
    assert vscode.ask("interrupt", {}, "control")["status"] == "ok"
    reply = vscode.reply(asked)
    assert (reply["status"], reply["ename"]) == ("error", "Interrupted")
    assert vscode.states(asked)[-1] == "idle"
    assert vscode.cell("2 + 2")[0]["status"] == "ok"


def test_what_it_may_ask_and_nobody_here_knows_does_no_harm(vscode):
    for kind, channel in (("debug", "control"), ("create_subshell", "control"), ("nonsense", "shell")):
        vscode.send(kind, {"type": "request", "command": "debugInfo", "seq": 1, "arguments": {}}, channel)
    vscode.client.session.send(vscode.client.stdin_channel.socket, "input_reply", {"value": "nobody asked"})
    assert vscode.cell("40 + 2")[1][-2]["content"]["data"]["text/plain"] == "42"


def test_restart(vscode):
    assert vscode.ask("shutdown", {"restart": True}, "control") == {"status": "ok", "restart": True}
