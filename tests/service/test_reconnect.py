"""A connection that was lost and came back: nothing that was decided meanwhile is missed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from bastion_server import start
from network import Network

from bastion import BastionError, Connection, Denied, Identity, WireError
from bastion.client.denied import NotApproved
from bastion.policy import Policy

TITANIC = Path(__file__).parents[2] / "notebooks" / "data" / "titanic.csv"


@pytest.fixture
def network(world) -> Iterator[Network]:
    with Network(world.server.endpoint) as made:
        yield made


@pytest.fixture
def alice(world, network) -> Iterator[Connection]:
    with Connection(network.endpoint, identity=world.alice, server_key=world.server.server_key) as connection:
        yield connection


def denial(connection, rows) -> Denied:
    with pytest.raises(Denied) as caught:
        connection.dataset("titanic").head(rows).fetch()
    return caught.value


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)


def waiting(denied, seconds=60):
    """Wait for a decision in a thread; return the thread and what came of it."""
    found = []

    def work():
        try:
            found.append(denied.wait(seconds))
        except BastionError as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: denied.filed.id in {key.partition("/")[0] for key in denied._connection._waiting})
    return thread, found


def test_a_decision_while_the_network_was_gone_arrives(world, network, alice):
    approved, refused = denial(alice, 11), denial(alice, 12)
    for denied in (approved, refused):
        denied.request("to look at them")
    states, decisions = [], []
    alice.on_state(states.append)
    alice.on_decision(lambda request: decisions.append((request.id, request.state)))
    threads = [waiting(approved), waiting(refused)]
    network.cut()
    until(lambda: states == ["lost"])
    assert alice.state == "lost"
    world.owner.approve(approved.filed, "fine")
    world.owner.deny(refused.filed, "no")
    network.mend()
    for thread, _ in threads:
        thread.join(30)
    assert threads[0][1][0].height == 11
    assert isinstance(threads[1][1][0], NotApproved)
    assert "no" in threads[1][1][0].reason
    assert states == ["lost", "back"]
    # that the approval is used is told as well
    assert set(decisions) == {(approved.filed.id, "approved"), (refused.filed.id, "denied")}


def test_one_may_begin_to_wait_while_the_network_is_gone(world, network, alice):
    denied = denial(alice, 10)
    denied.request("to look at them")
    network.cut()
    until(lambda: alice.state == "lost")
    thread, found = waiting(denied)
    with pytest.raises(BastionError) as late:
        denied.wait(0.3)
    assert late.value.code == "interrupted.wait"
    world.owner.approve(denied.filed)
    network.mend()
    thread.join(30)
    assert found[0].height == 10


def test_a_request_that_nobody_decided_is_still_waited_for(world, network, alice):
    denied = denial(alice, 13)
    denied.request("to look at them")
    decisions = []
    alice.on_decision(lambda request: decisions.append(request.state))
    thread, found = waiting(denied)
    network.cut()
    until(lambda: alice.state == "lost")
    network.mend()
    until(lambda: alice.state == "back")
    alice.ping()
    assert not found
    assert not decisions, "nothing has changed, so nothing is told"
    world.owner.approve(denied.filed)
    thread.join(30)
    assert found[0].height == 13


def test_leave_to_read_while_the_network_was_gone_arrives(world, network, alice):
    denied = denial(alice, 14)
    denied.request("to look at them")
    world.owner.approve(denied.filed, may_read=False)
    thread, found = waiting(denied)
    until(lambda: any("/reading" in key for key in alice._waiting))
    network.cut()
    until(lambda: alice.state == "lost")
    world.owner.approve_reading(denied.filed)
    network.mend()
    thread.join(30)
    assert found[0].height == 14


def test_a_policy_that_changed_while_the_network_was_gone_is_known(world, network, alice):
    made = world.owner.client.polars.send_df(pl.DataFrame({"x": range(50)}), name="away", unit="row")
    rows = alice.dataset("away").select("x")
    assert rows.verdict.outcome == "review"
    network.cut()
    until(lambda: alice.state == "lost")
    world.owner.set_policy("away", Policy.open())
    assert rows.verdict.outcome == "review", "what cannot be asked stays as it was, without an error"
    network.mend()
    until(lambda: alice.state == "back")
    assert rows.verdict.outcome == "release"
    made.delete()


def test_an_owner_hears_of_requests_that_were_filed_while_away(world, network, alice):
    with Connection(network.endpoint, identity=world.olga, server_key=world.server.server_key) as owner:
        earlier = denial(alice, 15).request("before")
        owner.requests("pending")
        filed = []
        owner.on_request(lambda request: filed.append((request.id, request.state)))
        network.cut()
        until(lambda: owner.state == "lost")
        later = denial(world.user, 16).request("meanwhile")
        network.mend()
        until(lambda: filed)
        owner.ping()
        assert filed == [(later.id, "pending")]
        for request in (earlier.id, later.id):
            owner.deny(request, "The test is over.")


def test_without_requests_nothing_is_asked_but_the_facts_when_needed(network, alice):
    alice.ping()
    before = alice._session._next
    network.cut()
    until(lambda: alice.state == "lost")
    network.mend()
    until(lambda: alice.state == "back")
    time.sleep(0.2)
    assert alice._session._next == before + 1, "the greeting"


def test_what_runs_fails_at_once_and_the_next_works(network, alice):
    network.cut()
    until(lambda: alice.state == "lost")
    with pytest.raises(WireError) as caught:
        alice.ping()
    assert caught.value.code == "wire.unreachable"
    network.mend()
    alice.ping()
    assert alice.state == "back"


def test_a_restart_of_the_server(tmp_path):
    olga, alice = (Identity.create(name) for name in ("olga", "alice"))
    with start(tmp_path, owners=[olga], users=[alice]) as server:
        endpoint, key = server.endpoint, server.server_key
        with Connection(endpoint, identity=olga, server_key=key) as owner:
            owner.client.polars.send_df(pl.read_csv(TITANIC), name="titanic", unit="row")
        user = Connection(endpoint, identity=alice, server_key=key)
        denied = denial(user, 5)
        denied.request("to look at them")
        thread, found = waiting(denied)
    with start(tmp_path, endpoint), Connection(endpoint, identity=olga, server_key=key) as owner:
        owner.approve(denied.filed.id)
        thread.join(60)
        assert found[0].height == 5
        user.close()


def test_a_revoked_key_ends_what_waits(tmp_path):
    from bastion_server.channel.keys import KeyDirectory

    olga, alice = (Identity.create(name) for name in ("olga", "alice"))
    with start(tmp_path, owners=[olga], users=[alice]) as server:
        key = server.server_key
        with Connection(server.endpoint, identity=olga, server_key=key) as owner:
            owner.client.polars.send_df(pl.read_csv(TITANIC), name="titanic", unit="row")
        user = Connection(server.endpoint, identity=alice, server_key=key)
        states = []
        user.on_state(states.append)
        denied = denial(user, 5)
        denied.request("to look at them")
        thread, found = waiting(denied)
        KeyDirectory(tmp_path / "keys").revoke("alice")
        thread.join(30)
        assert found[0].code == "wire.auth.revoked"
        time.sleep(1.0)
        assert states == ["ended"]
        user.close()
