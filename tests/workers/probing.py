"""A zygote whose children also run Python sent by a test, behind their walls. Never part of the product.

Run as a script in place of bastion_server.workers.zygote: `probing.py MODE FD LIMITS`. MODE says which walls this
machine is made to look like it has: "all", "no-landlock", "no-seccomp", "none".
"""

from __future__ import annotations

import json
import sys
from typing import Any, ClassVar

from bastion_server.workers import landlock, seccomp, zygote
from bastion_server.workers.child import Child
from bastion_server.workers.messages import Bind, Done, Message, Register, Run


class Probe(Message, frozen=True, tag="probe"):
    """Run Python in the child; what it leaves in `result` comes back as JSON."""

    source: str


class ProbingChild(Child):
    """A child that runs what a test sends."""

    requests: ClassVar[Any] = Bind | Run | Register | Probe

    def handle(self, message: Message, body: bytes, fds: list[int]) -> tuple[Message, bytes]:
        if isinstance(message, Probe):
            scope: dict[str, Any] = {"child": self, "fds": fds}
            exec(message.source, scope)
            return Done(), json.dumps(scope.get("result")).encode()
        return super().handle(message, body, fds)


def command(mode: str = "all") -> tuple[str, ...]:
    """How a pool starts this zygote."""
    return (sys.executable, "-I", __file__, mode)


def main() -> None:
    mode = sys.argv.pop(1)
    if mode in ("no-landlock", "none"):
        landlock.abi = lambda: 0
    if mode in ("no-seccomp", "none"):
        seccomp.architecture = lambda: None
    zygote.main(ProbingChild)


if __name__ == "__main__":
    main()
