"""`python -m bastion_server`: one server in this process. `bastion serve` is the friendly way to it."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from bastion_plan.errors import BastionError

from bastion_server.process import READY, serve


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM; with --parent also until standard input ends, so that no server outlives who started it."""
    parser = argparse.ArgumentParser(prog="python -m bastion_server")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--endpoint", default="tcp://127.0.0.1:*")
    parser.add_argument("--bootstrap")
    parser.add_argument("--memory", type=float, default=2 << 30)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--answer", type=float, default=1 << 30)
    parser.add_argument("--max-parameters", type=float)
    parser.add_argument("--training-memory", type=float)
    parser.add_argument("--training-steps", type=float)
    parser.add_argument("--training-disk", type=float)
    parser.add_argument("--training-grace", type=float)
    parser.add_argument("--attest")
    parser.add_argument("--tsm-root", type=Path)
    parser.add_argument("--parent", action="store_true")
    options = parser.parse_args(argv)
    sizes = {
        "max_parameters": options.max_parameters,
        "worker": options.training_memory,
        "steps": options.training_steps,
        "disk": options.training_disk,
    }
    training: dict[str, float] = {name: int(value) for name, value in sizes.items() if value is not None}
    if options.training_grace is not None:
        training["grace"] = options.training_grace

    def ready(facts: dict[str, Any]) -> None:
        sys.stdout.write(READY + json.dumps(facts) + "\n")
        sys.stdout.flush()

    async def run() -> None:
        stop = asyncio.Event()
        if options.parent:
            reader = asyncio.StreamReader()
            await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

            async def watch() -> None:
                await reader.read()
                stop.set()

            watching = asyncio.ensure_future(watch())
        try:
            await serve(
                options.directory, options.endpoint, bootstrap=options.bootstrap, memory=int(options.memory),
                seconds=options.seconds, answer=int(options.answer), training=training, attest=options.attest, tsm_root=options.tsm_root, ready=ready, stop=stop,
            )  # fmt: skip
        finally:
            if options.parent:
                watching.cancel()

    try:
        asyncio.run(run())
    except BastionError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:  # before the server listened for signals
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
