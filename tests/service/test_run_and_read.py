"""Leave to run and leave to read are two: what ran stays sealed until its owner lets it be read."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import polars as pl
import pytest
from bastion_wire import messages as m

from bastion import BastionError, Connection, Denied, Identity
from bastion.policy import Aggregation, Policy, Review


def denial(frame) -> Denied:
    with pytest.raises(Denied) as caught:
        frame.fetch()
    return caught.value


def filed(world, frame, **terms):
    """File a request and approve the run alone."""
    denied = denial(frame)
    request = denied.request("to see it")
    world.owner.approve(request.id, may_read=False, **terms)
    return denied, request


def kept(world) -> set:
    """The sealed files of results."""
    with closing(sqlite3.connect(f"file:{world.folder / 'catalogue.db'}?mode=ro", uri=True)) as catalogue:
        return {world.folder / "sealed" / name for (name,) in catalogue.execute("SELECT file FROM results")}


def test_it_runs_stays_sealed_and_is_read_later(world):
    sample = world.user.dataset("titanic").sample(15)
    denied, request = filed(world, sample)
    before = kept(world)
    sealed = denial(sample)
    assert (sealed.outcome, sealed.rule) == ("review", "owner-grant")
    assert "denied.wait()" in sealed.next_step
    assert (sealed.filed.state, sealed.filed.may_run, sealed.filed.may_read) == ("approved", True, False)
    assert not sealed.has_safe_part
    new = kept(world) - before
    assert len(new) == 1
    assert b"ARROW1" not in next(iter(new)).read_bytes()
    # asking again runs nothing again
    denial(sample)
    assert kept(world) - before == new
    info = world.owner.request(request.id).info
    assert info.ran > 0
    # what the owner looks at is the very table
    looked = world.owner.request(request.id).preview()
    assert looked.height == 15
    assert looked["Name"].unique().to_list() == ["*"]
    world.owner.approve_reading(request.id, "have a look")
    assert world.user.request(request.id).may_read
    assert world.user.request(request.id).answer == "have a look"
    assert denied.wait(60).equals(looked)
    # it was for once
    assert denial(sample).rule == "row-level"
    assert not new & kept(world)


def test_the_owner_may_look_before_the_requester_comes(world):
    sample = world.user.dataset("titanic").sample(16)
    _, request = filed(world, sample)
    looked = world.owner.request(request.id).preview()
    assert looked.equals(world.owner.request(request.id).preview())
    world.owner.approve_reading(request.id)
    assert sample.fetch().equals(looked)


def test_one_wait_lasts_through_both_decisions(world):
    frame = world.user.dataset("titanic").head(17)
    denied = denial(frame)
    request = denied.request("both")
    told = threading.Event()
    remove = world.owner.on_push(lambda push: "has run" in push.text and told.set(), "request")
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(denied.wait, 60)
        world.owner.approve(request.id, may_read=False)
        while not told.wait(0.1):  # the owner hears that it has run
            assert not waiting.done(), waiting.exception()
        remove()
        assert not waiting.done()
        world.owner.approve_reading(request.id)
        assert waiting.result(60).height == 17


def test_the_owner_may_say_no_after_looking(world):
    frame = world.user.dataset("titanic").head(18)
    denied, request = filed(world, frame, until=time.time() + 600)
    before = kept(world)
    denial(frame)
    assert kept(world) - before
    ended = world.owner.deny_reading(request.id, "These are too few.")
    assert ended.info.ended == "revoked"
    assert kept(world) == before
    with pytest.raises(Denied, match="too few") as caught:
        denied.wait(60)
    assert "let it run" in caught.value.message
    assert denial(frame).rule == "row-level"
    with pytest.raises(BastionError) as refused:
        world.owner.approve_reading(request.id)
    assert refused.value.code == "input.grant.ended"


def test_reading_before_it_ran(world):
    frame = world.user.dataset("titanic").head(19)
    denied, request = filed(world, frame)
    world.owner.approve_reading(request.id)
    assert denied.wait(60).height == 19


def test_there_is_nothing_to_read_of_other_requests(world):
    frame = world.user.dataset("titanic").head(20)
    request = denial(frame).request("why")
    for decide in (world.owner.approve_reading, lambda r: world.owner.deny_reading(r, "no")):
        with pytest.raises(BastionError) as caught:
            decide(request.id)
        assert caught.value.code == "input.request.reading"
    world.owner.approve(request.id)
    with pytest.raises(BastionError) as caught:
        world.owner.approve_reading(request.id)
    assert caught.value.code == "input.request.decided"
    with pytest.raises(BastionError) as caught:
        world.owner.approve(denial(frame.head(3)).request("x").id, may_run=False, may_read=True)
    assert caught.value.code == "input.request.nothing"


def test_only_owners_decide_on_reading(world):
    frame = world.user.dataset("titanic").head(21)
    _, request = filed(world, frame)
    denial(frame)
    for connection in (world.user, world.other):
        with pytest.raises(BastionError) as caught:
            connection.approve_reading(request.id)
        assert caught.value.code == "missing.request"
    assert denial(frame).rule == "owner-grant"


def test_a_word_on_reading_is_signed_and_counts_once(world):
    frame = world.user.dataset("titanic").head(22)
    _, request = filed(world, frame)
    info = world.owner.request(request.id).info

    def statement(**changes):
        terms = {"action": "decide", "request": info.id, "decision": "read", "plan_hash": info.plan_hash, "reason": "",
                 "until": 0.0, "may_run": False, "may_read": True}  # fmt: skip
        return world.owner._sign(terms | changes)

    for changes in ({"decision": "approve"}, {"plan_hash": "0" * 64}, {"request": "r-0"}, {"may_read": False}):
        with pytest.raises(BastionError) as caught:
            world.owner._run(world.owner._ask(m.Decide(info.id, "read", "", 0.0, False, True, statement(**changes))))
        assert caught.value.code == "wire.auth.statement"
    assert denial(frame).rule == "owner-grant"
    body = m.Decide(info.id, "read", "", 0.0, False, True, statement())
    assert world.owner._run(world.owner._ask(body)).info.may_read
    with pytest.raises(BastionError) as caught:
        world.owner._run(world.owner._ask(body))
    assert caught.value.code in ("wire.auth.replay", "input.request.decided")


def test_new_rows_end_what_waits_to_be_read(world):
    rules = Policy(Aggregation(10), Review(), unit="row")
    frame = pl.DataFrame({"a": [float(i) for i in range(60)]})
    world.owner.client.polars.send_df(frame, name="again", policy=rules)
    rows = world.user.dataset("again").head(3)
    _, request = filed(world, rows)
    before = kept(world)
    denial(rows)
    (result,) = kept(world) - before
    world.owner.client.polars.send_df(frame.reverse(), name="again", policy=rules, replace=True)
    assert result not in kept(world)
    with pytest.raises(BastionError) as caught:
        world.owner.approve_reading(request.id)
    assert caught.value.code == "input.request.outdated"
    assert denial(world.user.dataset("again").head(3)).rule == "row-level"


def test_several_owners_must_all_let_it_be_read(world, tmp_path):
    from bastion_server import start

    olga, oscar, alice = (Identity.create(name) for name in ("olga", "oscar", "alice"))
    rules = Policy(Aggregation(10), Review(), unit="who", roles={"who": "identifier"})
    frame = pl.DataFrame({"who": range(60), "x": [float(i) for i in range(60)]})
    with start(tmp_path, owners=[olga, oscar], users=[alice]) as server:
        o, s, a = (
            Connection(server.endpoint, identity=who, server_key=server.server_key) for who in (olga, oscar, alice)
        )
        with o, s, a:
            o.client.polars.send_df(frame, name="left", policy=rules)
            s.client.polars.send_df(frame.rename({"x": "y"}), name="right", policy=rules)
            joined = a.dataset("left").join(a.dataset("right"), on="who").head(3)
            denied = denial(joined)
            request = denied.request("both")
            o.approve(request.id, may_read=False)
            s.approve(request.id, may_read=False)
            assert denial(joined).rule == "owner-grant"
            o.approve_reading(request.id)
            assert denial(joined).rule == "owner-grant"
            s.approve_reading(request.id)
            assert denied.wait(60).height == 3


def test_it_survives_a_restart(tmp_path, titanic):
    from bastion_server import start

    olga, alice = Identity.create("olga"), Identity.create("alice")

    def connect(server, who):
        return Connection(server.endpoint, identity=who, server_key=server.server_key)

    with (
        start(tmp_path, owners=[olga], users=[alice]) as server,
        connect(server, olga) as o,
        connect(server, alice) as a,
    ):
        o.client.polars.send_df(titanic, name="titanic", unit="row")
        sample = a.dataset("titanic").sample(12)
        request = denial(sample).request("why")
        o.approve(request.id, may_read=False)
        denial(sample)
        looked = o.request(request.id).preview()
    with (
        start(tmp_path, owners=[olga], users=[alice]) as server,
        connect(server, olga) as o,
        connect(server, alice) as a,
    ):
        sample = a.dataset("titanic").sample(12)
        assert denial(sample).rule == "owner-grant"
        o.approve_reading(request.id)
        assert sample.fetch().equals(looked)


def test_the_log_tells_running_from_reading(world):
    frame = world.user.dataset("titanic").head(23)
    denied, request = filed(world, frame)
    denial(frame)
    world.owner.approve_reading(request.id)
    denied.wait(60)
    said = [r.summary for r in world.owner.audit("titanic", 12)]
    ran, decided = said.index("ran by approval, kept sealed"), said.index(f"read {request.id} of alice")
    assert ran < decided < said.index("released by approval")
    approvals = [c for c in world.owner.exposure("titanic").message.columns if c.column == "Age"]
    assert approvals[0].approved >= 1
