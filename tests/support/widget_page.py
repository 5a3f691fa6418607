"""What a front end knows of a kernel's widgets, for tests: their states, clicks and typing."""

from __future__ import annotations

import contextlib
import queue
import time

from kernel_client import Client


class Page:
    """What a front end knows: the state of every widget, by comm id."""

    def __init__(self, kernel: Client) -> None:
        self.kernel = kernel
        self.states: dict[str, dict] = {}
        #: what stands under the id of a display, once it has been replaced
        self.replaced: dict[str, dict] = {}

    def take(self, messages: list[dict]) -> None:
        for message in messages:
            content = message["content"]
            data = content.get("data") or {}
            if message["msg_type"] == "comm_open":
                self.states[content["comm_id"]] = dict(data["state"])
            elif message["msg_type"] == "comm_msg" and data.get("method") == "update":
                self.states.setdefault(content["comm_id"], {}).update(data["state"])
            elif message["msg_type"] == "update_display_data":
                self.replaced[content["transient"]["display_id"]] = data

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

    def hear(self, seconds: float) -> None:
        """Take the next message on IOPub, if one comes in this time."""
        with contextlib.suppress(queue.Empty):
            self.take([self.kernel.client.get_iopub_msg(timeout=seconds)])

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

    def denied(self, rows: int, dataset: str = "titanic") -> None:
        """Run a cell that asks for single rows, and is denied."""
        reply = self.run(f'dataset("{dataset}").head({rows})')
        self.root = reply.shown[1]["application/vnd.jupyter.widget-view+json"]["model_id"]
        self.static = reply.of("display_data")[0]["transient"]["display_id"]

    def kept(self) -> str:
        """Return what a saved notebook has of the denial now."""
        return self.replaced.get(self.static, {}).get("text/html", "")
