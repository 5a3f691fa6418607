"""The directory as a whole: one server at a time, nothing silently begun anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bastion_plan.errors import ServerError
from bastion_server.store import Record, Store
from store_facts import PRIVATE, facts, seal

OPEN_IT = """
import sys
from bastion_plan.errors import ServerError
from bastion_server.store import Store
try:
    Store.open(sys.argv[1], 1000.0).close()
except ServerError as error:
    print(error.code, error.reason)
else:
    print("opened")
"""


def open_elsewhere(directory: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", OPEN_IT, str(directory)], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def refusal(directory: Path) -> str:
    with pytest.raises(ServerError) as caught:
        Store.open(directory, 2000.0)
    return caught.value.code


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", 1000.0)
    assert open_elsewhere(store.directory) == f"server.store.locked Process {os.getpid()} holds the lock."
    assert refusal(store.directory) == "server.store.locked"
    assert refusal(tmp_path / "store" / ".." / "store") == "server.store.locked"
    # being refused did not break the lock
    assert open_elsewhere(store.directory).startswith("server.store.locked")
    store.close()
    store.close()
    assert open_elsewhere(store.directory) == "opened"
    Store.open(store.directory, 1001.0).close()


def test_a_child_of_a_fork_does_not_hold_the_lock(tmp_path: Path) -> None:
    script = """
import os, sys
from bastion_server.store import Store
store = Store.open(sys.argv[1], 1000.0)
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.close(write)
    os.read(read, 1)  # lives until the test is done
    os._exit(0)
print(child, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -9
    assert int(done.stdout) > 1
    Store.open(tmp_path, 1001.0).close()


def test_everything_is_for_the_servers_user_only(store: Store) -> None:
    seal(store.sealed, b"x")
    store.audit.append_blocking(Record(1.0, "start", "server", "started"))
    store.audit.show()
    store.datasets.list()
    for path in [store.directory, *store.directory.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_leftovers_of_a_crash_are_cleared(tmp_path: Path) -> None:
    store = Store.open(tmp_path, 1000.0)
    kept = seal(store.sealed, b"kept")
    store.datasets.add(facts(), PRIVATE, sealed=kept, now=1000.0)
    seal(store.sealed, b"never registered")
    store.sealed.writer().write(b"half done")
    store.close()
    assert len(list(store.sealed.directory.iterdir())) == 3
    store = Store.open(tmp_path, 1001.0)
    assert [p.name for p in store.sealed.directory.iterdir()] == [kept.name]
    store.close()


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ("server.key", "server.keys.missing"),
        ("catalogue.db", "server.store.catalogue-missing"),
        ("audit.log", "server.audit.missing"),
    ],
)
def test_what_is_missing_is_not_begun_anew(tmp_path: Path, missing: str, code: str) -> None:
    store = Store.open(tmp_path, 1000.0)
    ref = seal(store.sealed, b"rows")
    store.datasets.add(facts(), PRIVATE, sealed=ref, now=1000.0)
    store.close()
    (tmp_path / missing).rename(tmp_path / "aside")
    assert refusal(tmp_path) == code
    assert refusal(tmp_path) == code
    assert (store.sealed.directory / ref.name).exists()
    (tmp_path / missing).unlink(missing_ok=True)
    (tmp_path / "aside").rename(tmp_path / missing)
    store = Store.open(tmp_path, 1001.0)
    assert store.datasets.get("patients").sealed == ref
    store.close()


def test_a_refused_start_lets_go_of_everything(tmp_path: Path) -> None:
    Store.open(tmp_path, 1000.0).close()
    key = tmp_path / "server.key"
    key.chmod(0o644)
    assert refusal(tmp_path) == "server.keys.permissions"
    key.chmod(0o600)
    Store.open(tmp_path, 1001.0).close()
