"""Runs commands of `bastion` in turn, each in a process of its own that has imported already what they need.

Reads orders from standard input, a JSON line each: its number, words, and the files for what the command says. Answers with the number
and the command's exit code. `Warm` is the other end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple


class Said(NamedTuple):
    """What a command gave."""

    returncode: int
    stdout: str
    stderr: str


class Warm:
    """The process that the commands are forked from. A context manager."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.number = 0
        self.files = folder / "stdout", folder / "stderr"
        self.process = subprocess.Popen(
            [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=60)

    def run(self, words: tuple[str, ...]) -> Said:
        """Run a command to its end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.number += 1
        order = {"number": self.number, "words": words, "files": [str(f) for f in self.files]}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        number = 0
        while number != self.number:  # a test that ran out of time has left the answer to its own
            number, code = json.loads(self.process.stdout.readline())
        return Said(code, *(f.read_text() for f in self.files))


def command(order: dict[str, Any]) -> None:
    """Become the command."""
    from bastion_cli.main import main

    for number, name in enumerate(order["files"], start=1):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["bastion", *order["words"]]
    main()


def serve() -> None:
    """Fork a command per order."""
    import bastion_cli.main  # noqa: F401
    import polars  # noqa: F401

    import bastion  # noqa: F401

    while line := sys.stdin.readline():
        if not (child := os.fork()):
            command(json.loads(line))
            return
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([json.loads(line)["number"], code]), flush=True)


if __name__ == "__main__":
    serve()
