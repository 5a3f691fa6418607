"""A name that another person has now: what its former holder was allowed has ended, whichever way the key went."""

from __future__ import annotations

import time

import polars as pl
import pytest
from bastion_server import start
from bastion_server.channel.keys import KeyDirectory

from bastion import Connection, Denied, Identity


def denial(connection: Connection, rows: int) -> Denied:
    with pytest.raises(Denied) as caught:
        connection.client.polars.get_df("t").head(rows).fetch()
    return caught.value


@pytest.mark.parametrize("running", [True, False], ids=["while the server runs", "while it is down"])
def test_whoever_has_the_name_next_has_no_approval_of_it(tmp_path, running):
    olga, alice, another = (Identity.create(name) for name in ("olga", "alice", "alice"))
    later = time.time() + 3600
    with start(tmp_path, owners=[olga], users=[alice]) as server:
        connect = {"server_key": server.server_key}
        with (
            Connection(server.endpoint, identity=olga, **connect) as owner,
            Connection(server.endpoint, identity=alice, **connect) as user,
        ):
            owner.client.polars.send_df(pl.DataFrame({"pay": range(100)}), name="t", unit="row")
            approved, waiting = denial(user, 5).request("five"), denial(user, 6).request("six")
            owner.approve(approved.id, until=later)
            # the control: its own holder has it, more than once
            for _ in range(2):
                assert user.client.polars.get_df("t").head(5).fetch().height == 5
        keys = KeyDirectory(tmp_path / "keys")
        if running:
            keys.revoke("alice")
            keys.add(another.public)
    if not running:
        keys.revoke("alice")
        keys.add(another.public)
    with (
        start(tmp_path) as server,
        Connection(server.endpoint, identity=another, **connect) as user,
        Connection(server.endpoint, identity=olga, **connect) as owner,
    ):
        assert denial(user, 5).outcome == "review"
        assert user.requests() == []
        states = {r.id: (r.state, r.ended) for r in (r.info for r in owner.requests())}
        assert states == {approved.id: ("approved", "revoked"), waiting.id: ("expired", "")}


def test_a_name_without_a_key_has_no_approval_either(tmp_path):
    olga, alice = (Identity.create(name) for name in ("olga", "alice"))
    with start(tmp_path, owners=[olga], users=[alice]) as server:
        connect = {"server_key": server.server_key}
        with (
            Connection(server.endpoint, identity=olga, **connect) as owner,
            Connection(server.endpoint, identity=alice, **connect) as user,
        ):
            owner.client.polars.send_df(pl.DataFrame({"pay": range(100)}), name="t", unit="row")
            request = denial(user, 5).request("five")
            owner.approve(request.id, until=time.time() + 3600)
            KeyDirectory(tmp_path / "keys").revoke("alice")
            until = time.monotonic() + 30
            while owner.requests()[0].info.ended != "revoked":
                assert time.monotonic() < until
                time.sleep(0.1)
