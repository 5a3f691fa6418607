"""A name that another person has now: what its former holder was allowed has ended, whichever way the key went."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bastion_server import start
from bastion_server.channel.keys import KeyDirectory

from bastion import Connection, Denied, Identity


@dataclass
class Asked:
    """A server with an approval in force and an open request, both alice's. server: entered; ends it."""

    folder: Path
    connect: Callable[[Identity], Connection]
    olga: Identity
    stop: Callable[[], None]
    approved: str
    waiting: str

    def states(self) -> dict[str, tuple[str, str]]:
        """How both stand, for their owner."""
        with self.connect(self.olga) as owner:
            return {r.info.id: (r.info.state, r.info.ended) for r in owner.requests()}


def denial(connection: Connection, rows: int) -> Denied:
    with pytest.raises(Denied) as caught:
        connection.client.polars.get_df("t").head(rows).fetch()
    return caught.value


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    olga, alice = (Identity.create(name) for name in ("olga", "alice"))
    running: list[Any] = [start(tmp_path, owners=[olga], users=[alice])]

    def connect(who: Identity) -> Connection:
        if not running:
            running.append(start(tmp_path))
        return Connection(running[0].endpoint, identity=who, server_key=running[0].server_key)

    def stop() -> None:
        running.pop().stop()

    try:
        with connect(olga) as owner, connect(alice) as user:
            owner.client.polars.send_df(pl.DataFrame({"pay": range(100)}), name="t", unit="row")
            approved, waiting = denial(user, 5).request("five"), denial(user, 6).request("six")
            owner.approve(approved.id, until=time.time() + 3600)
            # the control: its own holder has it, more than once
            for _ in range(2):
                assert user.client.polars.get_df("t").head(5).fetch().height == 5
        yield Asked(tmp_path, connect, olga, stop, approved.id, waiting.id)
    finally:
        if running:
            stop()


@pytest.mark.parametrize("running", [True, False], ids=["while the server runs", "while it is down"])
def test_whoever_has_the_name_next_has_no_approval_of_it(asked: Asked, running: bool) -> None:
    if not running:
        asked.stop()
    another, keys = Identity.create("alice"), KeyDirectory(asked.folder / "keys")
    keys.revoke("alice")
    keys.add(another.public)
    with asked.connect(another) as user:
        assert denial(user, 5).outcome == "review"
        assert user.requests() == []
    assert asked.states() == {asked.approved: ("approved", "revoked"), asked.waiting: ("expired", "")}


def test_a_name_without_a_key_has_no_approval_either(asked: Asked) -> None:
    KeyDirectory(asked.folder / "keys").revoke("alice")
    until = time.monotonic() + 30
    while asked.states() != {asked.approved: ("approved", "revoked"), asked.waiting: ("expired", "")}:
        assert time.monotonic() < until
        time.sleep(0.1)
