"""A client of the BastionLab kernel for tests: sends cells, collects what they give."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

from bastion import Connection, Identity
from bastion.client.endpoints import write_profile

#: joins of "slow" with itself that take minutes, so that there is something to stop
SLOW = 'slow = dataset("slow")\nslow.join(slow, how="cross").join(slow, how="cross", suffix="_b").select(pl.col("x").sum())'

#: messages that put something below a cell
OUTPUTS = ("display_data", "update_display_data", "execute_result", "stream", "error")


@dataclass
class Stage:
    """One server; alice's profile is in the environment of kernels that tests start."""

    endpoint: str
    server_key: str
    profile: Path
    owner: Connection
    olga: Identity


@dataclass
class Reply:
    """What a cell gave: the reply's content and the messages on IOPub."""

    content: dict[str, Any]
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def status(self) -> str:
        return str(self.content["status"])

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [m["content"] for m in self.messages if m["msg_type"] in kinds]

    def stream(self, name: str) -> str:
        return "".join(c["text"] for c in self.of("stream") if c["name"] == name)

    @property
    def result(self) -> dict[str, Any]:
        (found,) = self.of("execute_result")
        return dict(found["data"])

    @property
    def shown(self) -> list[dict[str, Any]]:
        return [c["data"] for c in self.of("display_data")]

    @property
    def error(self) -> str:
        (found,) = self.of("error")
        return "\n".join(found["traceback"])


class Client:
    """A client that sends cells and collects what they give."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager, self.client = manager, client
        self._early: list[dict[str, Any]] = []

    def send(self, code: str, **options: Any) -> str:
        return str(self.client.execute(code, **options))

    def hear(self, cell: str, kind: str, count: int = 1, timeout: float = 60.0) -> None:
        """Wait until a cell has given so many messages of a kind on IOPub; `collect` returns them as well."""
        end = time.monotonic() + timeout
        while sum(m["msg_type"] == kind and m["parent_header"].get("msg_id") == cell for m in self._early) < count:
            self._early.append(self.client.get_iopub_msg(timeout=max(0.01, end - time.monotonic())))

    def collect(self, ids: list[str], timeout: float = 60.0) -> list[Reply]:
        """Wait until all cells have their reply and are idle."""
        replies: dict[str, dict[str, Any]] = {}
        outputs: dict[str, list[dict[str, Any]]] = {i: [] for i in ids}
        idle: set[str] = set()
        end = time.monotonic() + timeout
        # what is published is read at once: of thousands of messages that wait for a reader some are dropped
        while len(idle) < len(ids):
            left = max(0.01, end - time.monotonic())
            message = self._early.pop(0) if self._early else self.client.get_iopub_msg(timeout=left)
            parent = message["parent_header"].get("msg_id")
            if parent not in outputs:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                idle.add(parent)
            elif message["msg_type"] == "clear_output":
                # what stands below the cell goes when the next output comes, as in a front end; widgets stay known
                outputs[parent] = [m for m in outputs[parent] if m["msg_type"] not in OUTPUTS]
            elif message["msg_type"] not in ("status", "execute_input"):
                outputs[parent].append(message)
        while len(replies) < len(ids):
            message = self.client.get_shell_msg(timeout=max(0.01, end - time.monotonic()))
            if message["parent_header"].get("msg_id") in outputs:
                replies[message["parent_header"]["msg_id"]] = message["content"]
        return [Reply(replies[i], outputs[i]) for i in ids]

    def run(self, code: str, timeout: float = 60.0, **options: Any) -> Reply:
        options.setdefault("stop_on_error", False)
        return self.collect([self.send(code, **options)], timeout)[0]


def open_kernel() -> Client:
    manager, client = start_new_kernel(kernel_name="bastionlab", startup_timeout=60)
    return Client(manager, client)


@contextlib.contextmanager
def kernel_through(endpoint: str, stage: Stage, profile: Path) -> Iterator[Client]:
    """A kernel with alice connected, by another way to the stage's server. profile: where its profile is written."""
    before, os.environ["BASTION_PROFILE"] = os.environ["BASTION_PROFILE"], str(profile)
    write_profile(endpoint, stage.server_key, str(stage.profile.parent / "keys" / "alice.key"))
    client = open_kernel()
    os.environ["BASTION_PROFILE"] = before
    assert client.run("connect()").status == "ok"
    yield client
    close_kernel(client)


def close_kernel(client: Client) -> None:
    client.client.stop_channels()
    client.manager.shutdown_kernel(now=True)
