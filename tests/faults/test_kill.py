"""kill -9 of a writing server at random moments: what was acknowledged is there after a restart."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from bastion_server.store import Store, verify

ROUNDS = max(6, int(os.environ.get("BASTION_FUZZ_CASES", "6")) // 10)
WRITER = Path(__file__).parents[1] / "support" / "store_writer.py"


def run_and_kill(directory: Path, seed: int, delay: float) -> list[list[str]]:
    """Let a server write, kill it `delay` seconds after its first whole round; return what it acknowledged."""
    process = subprocess.Popen([sys.executable, str(WRITER), str(directory), str(seed)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        chunks: list[bytes] = []
        while not chunks or not (chunks[-1].startswith(b"used") or delay < 0.1):
            chunks.append(process.stdout.readline())
            assert chunks[0] == b"open\n"
        reader = threading.Thread(target=lambda: chunks.append(process.stdout.read()))  # type: ignore[union-attr]
        reader.start()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL, "it must not have ended by itself"
        reader.join(30)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    lines = b"".join(chunks[1:]).splitlines(keepends=True)
    return [line.decode().split() for line in lines if line.endswith(b"\n")]


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    rng = random.Random(20)
    told: list[list[str]] = []
    heads = []
    for seed in range(ROUNDS):
        told += run_and_kill(tmp_path, seed, rng.uniform(0.0, 0.4))
        store = Store.open(tmp_path, 2000.0 + seed)
        try:
            check(store, told)
            assert verify(store.audit.path, store.keys.verify_key, witnessed=heads) == ()
            heads.append(store.audit.checkpoint(2000.0 + seed))
        finally:
            store.close()
    kinds = {line[0] for line in told}
    assert kinds == {"audit", "dataset", "request", "approved", "used"}, "every kind of write was under way"


def check(store: Store, told: list[list[str]]) -> None:
    states = {request.id: request for request in store.requests.list(limit=100_000)}
    for kind, *words in told:
        if kind == "audit":
            found = store.audit.record(int(words[0]))
            assert found.who == words[1]
            assert found.summary.startswith(f"{words[1][1:]}-{words[2]}")
        elif kind == "dataset":
            sealed = store.datasets.get(words[0]).sealed
            assert sealed is not None
            with store.sealed.reader(sealed) as reader:
                assert hashlib.sha256(reader.read(0, sealed.size)).hexdigest() == words[1]
        elif kind == "request":
            assert words[0] in states
        else:
            grant = states[words[0]].grant
            assert grant is not None
            assert kind == "approved" or grant.ended == "used"
    # and nothing is half there: every file belongs to a dataset, every dataset has its file
    assert store.sealed.names() == store.datasets.files()
    assert not list(store.sealed.directory.glob("*.part"))
