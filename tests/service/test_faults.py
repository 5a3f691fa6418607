"""Cancellation, disconnects, a full disk, races and signals against a real server."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest
from bastion_plan.canonical import encode
from bastion_server import start
from bastion_wire import messages as m

from bastion import BastionError, Connection, Denied, Identity
from bastion.policy import Policy


def descriptors(pid: int) -> dict[str, int]:
    """Return how many descriptors a process holds: memory files, those of them that only pass through, all."""
    links = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            continue
    return {
        "memory": sum("memfd:" in link for link in links),
        "passing": sum("memfd:upload" in link or "memfd:answer" in link for link in links),
        # the catalogue's readers are one per thread of a bounded pool, opened when a thread first reads
        "all": sum("catalogue.db" not in link for link in links),
    }


def settled(pid: int, what: str, most: int) -> int:
    """Wait until a count falls to `most`, or give up; return it."""
    deadline = time.monotonic() + 30
    while (count := descriptors(pid)[what]) > most and time.monotonic() < deadline:
        time.sleep(0.1)
    return count


def patiently(ask):
    """Ask; while what was stopped is still being ended, do what the server says: wait, then try again."""
    deadline = time.monotonic() + 20  # an upload that no chunk comes for is kept for longer
    while True:
        try:
            return ask()
        except BastionError as error:
            if error.code != "wire.busy" or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_200_cancelled_queries_leave_nothing(world):
    frame = world.user.client.polars.get_df("titanic")
    bodies = [
        m.Query(encode(frame.filter(pl.col("Age") > n).group_by("Sex").agg(pl.col("Fare").mean()).plan))
        for n in range(20)
    ]
    pid = world.server.pid

    async def one(session, number):
        task = asyncio.ensure_future(session.query(bodies[number % 20], None))
        await asyncio.sleep((number % 10) * 0.004)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def storm():
        for first in range(0, 200, 20):
            await asyncio.gather(*(one(world.user._open_session, n) for n in range(first, first + 20)))

    world.user._run(storm())  # the first opens what threads keep: a reading connection each
    assert patiently(frame.select(pl.len()).fetch).item() == 891
    time.sleep(1)
    before = descriptors(pid)
    world.user._run(storm())
    assert patiently(frame.select(pl.len()).fetch).item() == 891
    assert settled(pid, "memory", before["memory"]) <= before["memory"]
    # workers being made anew hold a few; 200 queries that each leaked one would show
    assert settled(pid, "all", before["all"] + 12) <= before["all"] + 12
    assert world.owner.verify_audit().ok


def begin_for(connection, data: bytes, name: str) -> m.UploadBegin:
    terms = {"name": name, "size": len(data), "sha256": hashlib.sha256(data).digest(), "policy": "", "hidden": (),
             "unit": None, "replace": False}  # fmt: skip
    return m.UploadBegin(**terms, signed=connection._sign({"action": "upload", **terms, "hidden": []}))


def test_200_uploads_that_stop_midway_leave_nothing(world):
    pid = world.server.pid
    before = descriptors(pid)
    data = bytes(3 << 20)

    async def one(number):
        begin = begin_for(connection, data, f"half {number}")
        task = asyncio.ensure_future(connection._open_session.upload(begin, memoryview(data), None))
        await asyncio.sleep((number % 20) * 0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def storm():
        for number in range(20):
            await one(number)

    for _ in range(10):
        connection = world.connect(world.olga)
        connection._run(storm())
        # announced, nothing sent, gone
        patiently(lambda c=connection: c._run(c._ask(begin_for(c, data, "cut off"))))
        connection.close()
    assert settled(pid, "passing", 0) == 0
    assert settled(pid, "memory", before["memory"]) <= before["memory"]
    names = {card.facts.name for card in world.owner.cards()}
    assert not any(name.startswith(("half", "cut")) for name in names)
    sent = world.owner.client.polars.send_df(pl.DataFrame({"a": range(50)}), name="after the storm", unit="row")
    assert sent.dataset.facts.version == 1


def test_nothing_is_answered_or_changed_once_the_log_cannot_be_written(tmp_path, titanic):
    olga, alice = Identity.create("olga"), Identity.create("alice")
    with start(tmp_path / "s", owners=[olga], users=[alice]) as server:
        owner = Connection(server.endpoint, identity=olga, server_key=server.server_key)
        user = Connection(server.endpoint, identity=alice, server_key=server.server_key)
        owner.client.polars.send_df(titanic, name="titanic", unit="row")
        frame = user.client.polars.get_df("titanic")
        with pytest.raises(Denied) as caught:
            frame.head(5).fetch()
        request = caught.value.request("before the disk is full")
        # the log may grow by a few bytes only: a record is cut off in the middle
        full = (server.directory / "audit.log").stat().st_size + 10
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (full, full))
        for attempt in (
            lambda: frame.select(pl.len()).fetch(),
            lambda: frame.head(6).fetch(),
            lambda: owner.approve(request.id),
            lambda: owner.set_policy("titanic", policy=Policy.open()),
            lambda: owner.set_policy("titanic", allow=["bob"]),
            lambda: owner.client.polars.delete_df("titanic"),
            lambda: owner.client.polars.send_df(pl.DataFrame({"a": [1]}), name="small", unit="row"),
        ):
            with pytest.raises(BastionError) as failed:
                attempt()
            assert failed.value.code.startswith("server."), failed.value.code
            assert str(tmp_path) not in str(failed.value)
        user.close()
        owner.close()
        server.kill()
    with start(tmp_path / "s") as server:
        with Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner:
            card = owner.dataset("titanic").dataset
            assert card.facts.policy_version == 1
            assert card.allow == ("*",)
            assert owner.request(request.id).state == "pending"
            assert owner.verify_audit().ok
            assert {c.facts.name for c in owner.cards()} == {"titanic"}
        with Connection(server.endpoint, identity=alice, server_key=server.server_key) as user:
            assert user.client.polars.get_df("titanic").select(pl.len()).fetch().item() == 891


def test_an_approval_for_once_is_not_spent_twice_at_the_same_time(world):
    second = world.connect(world.alice)
    for rows in (21, 22, 23):
        frames = [c.client.polars.get_df("titanic").head(rows) for c in (world.user, second)]
        with pytest.raises(Denied) as caught:
            frames[0].fetch()
        world.owner.approve(caught.value.request("once").id)

        def fetch(frame):
            try:
                return frame.fetch().height
            except BastionError as error:
                return error.code

        with ThreadPoolExecutor(2) as threads:
            got = list(threads.map(fetch, frames))
        assert got.count(rows) == 1, got
    second.close()


def test_a_race_between_answers_and_a_closing_policy(world):
    """Rows never arrive after the owner's change to a closed policy was acknowledged."""
    world.owner.client.polars.send_df(pl.DataFrame({"a": range(400)}), name="closing", policy=Policy.open(), unit="row")
    plan = encode(world.user.client.polars.get_df("closing").head(7).plan)
    closed_at = []
    arrived = []
    failures = set()

    def ask():
        connection = world.connect(world.alice)
        while not closed_at or time.monotonic() < closed_at[0] + 0.5:
            begun = time.monotonic()
            try:
                answer = connection._run(connection._open_session.query(m.Query(plan), None))
            except BastionError as error:
                failures.add(error.code)
                continue
            if isinstance(answer, tuple):
                arrived.append(begun)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while not arrived and time.monotonic() < deadline:
        time.sleep(0.05)
    world.owner.set_policy("closing", policy=Policy.default())
    closed_at.append(time.monotonic())
    for thread in threads:
        thread.join(60)
    assert failures <= {"input.dataset.changed"}
    assert arrived, "there were answers before"
    assert all(begun < closed_at[0] for begun in arrived)


def test_sigterm_while_queries_run_and_a_dead_port(tmp_path, titanic):
    olga = Identity.create("olga")
    server = start(tmp_path / "s", owners=[olga])
    connection = Connection(server.endpoint, identity=olga, server_key=server.server_key)
    connection.client.polars.send_df(titanic, name="titanic", unit="row")
    body = m.Query(encode(connection.client.polars.get_df("titanic").group_by("Sex").agg(pl.len()).plan))
    outcomes = []

    def ask():
        try:
            while True:
                outcomes.append(connection._run(connection._open_session.query(body, None)))
        except BastionError as error:
            outcomes.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.4)
    os.kill(server.pid, signal.SIGTERM)
    assert server._process.wait(60) == 0
    thread.join(60)
    assert isinstance(outcomes[-1], BastionError)
    connection.close()
    server.stop()
    words = (tmp_path / "s" / "server.log").read_text()
    assert "Traceback" not in words
    with (
        start(tmp_path / "s") as again,
        Connection(again.endpoint, identity=olga, server_key=again.server_key) as owner,
    ):
        assert owner.verify_audit().ok


def test_the_server_ends_with_who_started_it(tmp_path):
    code = (
        "import os, sys; from bastion_server import start\n"
        "h = start(sys.argv[1]); print(h.pid, flush=True); os._exit(1)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s")], capture_output=True, text=True, timeout=60, check=False
    )
    pid = int(found.stdout)
    deadline = time.monotonic() + 60
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{pid}")


def test_a_start_that_fails_says_why(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BastionError) as caught:
        start(tmp_path / "file")
    assert caught.value.code == "server.store.directory"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BastionError, match=r"server\.bind") as caught:
            start(tmp_path / "s", f"tcp://127.0.0.1:{taken.getsockname()[1]}")
        assert caught.value.code == "server.start"
        with pytest.raises(BastionError, match=r"server\.bind"):
            start(tmp_path / "s", bootstrap=f"tcp://127.0.0.1:{taken.getsockname()[1]}")
    with pytest.raises(BastionError) as caught:
        start(tmp_path / "s", "127.0.0.1")
    assert caught.value.code == "input.endpoint"
