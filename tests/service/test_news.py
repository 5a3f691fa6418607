"""News of datasets and of requests that end: who is told, when, and what a client makes of it."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager

import polars as pl
import pytest
from bastion_plan.canonical import encode
from bastion_plan.nodes import Scan, Slice
from bastion_policy.model import Policy as Rules
from bastion_server.service.news import News
from bastion_server.store.requests import Limits
from bastion_wire import messages as m
from in_process import Asked, with_service

from bastion import AsyncConnection, BastionError, BindError, Denied
from bastion.client.denied import NotApproved
from bastion.policy import Policy


@contextmanager
def heard(connection):
    """Collect the pushes between two questions' answers: pushes come in order, and those of before are none of it."""
    connection.ping()
    topics = []
    remove = connection.on_push(lambda push: topics.append(push))
    yield topics
    connection.ping()
    remove()


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)


def topics(pushes):
    return [push.topic for push in pushes]


def test_those_who_may_see_a_dataset_are_told_and_nobody_else(world):
    send, change = world.owner.client.polars.send_df, world.owner.set_policy
    frame = pl.DataFrame({"x": range(50)})

    def told(action):
        with heard(world.user) as alice, heard(world.other) as bob, heard(world.owner) as olga:
            action()
        assert all(push == m.Push("datasets") for push in (*alice, *bob, *olga)), "a push names no dataset"
        return len(alice), len(bob), len(olga)

    assert told(lambda: send(frame, name="news", unit="row")) == (1, 1, 1)
    assert told(lambda: send(frame, name="news", replace=True)) == (1, 1, 1)
    assert told(lambda: change("news", Policy.open())) == (1, 1, 1)
    # bob could see it before, so he may know that it is gone for him; of what comes later he hears nothing
    assert told(lambda: change("news", allow=["alice"])) == (1, 1, 1)
    assert told(lambda: change("news", Policy.default())) == (1, 0, 1)
    assert told(lambda: change("news", roles={"x": "measure"})) == (1, 0, 1)
    assert told(lambda: send(frame, name="news", replace=True)) == (1, 0, 1)
    assert told(lambda: change("news", allow=[])) == (1, 0, 1)
    assert told(lambda: change("news", Policy.open())) == (0, 0, 1)
    assert told(lambda: world.owner.client.polars.delete_df("news")) == (0, 0, 1)


def test_a_change_that_is_refused_tells_nobody(world):
    with heard(world.user) as alice, heard(world.owner) as olga:
        with pytest.raises(BastionError):
            world.owner.set_policy("titanic", "nonsense = 1")
        with pytest.raises(BastionError):
            world.user.set_policy("titanic", Policy.open())
    assert alice == olga == []


def test_a_saved_frame_is_news_to_who_saved_it(world):
    titanic = world.user.dataset("titanic")
    with heard(world.user) as alice, heard(world.owner) as olga, heard(world.other) as bob:
        kept = titanic.group_by("Sex").agg(pl.col("Survived").mean()).save("news of mine")
        kept.delete()
    assert topics(alice) == ["datasets", "datasets"]
    assert olga == bob == []


def test_news_go_to_sessions_of_those_who_see_it():
    class Record:
        def visible_to(self, name):
            return name in ("olga", "alice")

    sent = []
    news = News(lambda name, push: sent.append((name, push)) or 1, lambda: ["bob", "alice", "olga", "alice"])
    news.datasets(None, Record())
    assert sent == [("alice", m.Push("datasets")), ("olga", m.Push("datasets"))]
    news.datasets(None, None)
    assert len(sent) == 2


# ---- what a client makes of it -----------------------------------------------------------------------------------------


@pytest.fixture
def table(world):
    frame = pl.DataFrame({"g": ["a", "b"] * 50, "x": [float(n) for n in range(100)]})
    made = world.owner.client.polars.send_df(frame, name="changing", unit="row")
    yield made
    world.owner.set_policy("changing", allow=["*"])
    world.owner.client.polars.delete_df("changing")


def test_a_held_frame_has_the_new_verdict(world, table):
    changing = world.user.dataset("changing")
    rows, means = changing.select("x"), changing.group_by("g").agg(pl.col("x").mean())
    assert (rows.verdict.outcome, means.verdict.outcome) == ("review", "release")
    asked = world.user.edition
    world.owner.set_policy("changing", Policy.open())
    until(lambda: world.user.edition != asked)
    assert rows.verdict.outcome == "release"
    assert rows.verdict == rows.collect().verdict
    assert changing.policy == Policy.open()
    assert changing.dataset.facts.policy_version == 2
    assert rows.fetch().height == 100
    world.owner.set_policy("changing", Policy.default(), roles={"x": "hidden"})
    until(lambda: world.user.facts[table.id].policy_version == 3)
    assert means.verdict.outcome != "release"
    assert means.verdict == means.collect().verdict
    assert "changing" in repr(changing)
    assert "hidden" in repr(changing)


def test_nothing_is_asked_without_news(world, table):
    frame = world.user.dataset("changing").select(pl.col("x").mean())
    before = world.user._session._next
    for _ in range(3):
        assert frame.verdict.outcome == "release"
        assert frame.columns == ["x"]
    assert world.user._session._next == before


def test_a_frame_of_a_dataset_that_went_says_so(world, table):
    changing = world.user.dataset("changing")
    frame = changing.select(pl.col("x").mean())
    world.owner.set_policy("changing", allow=[])
    until(lambda: table.id not in world.user.facts)
    with pytest.raises(BindError):
        _ = frame.verdict
    assert "cannot be run" in repr(frame)
    assert changing.name == "changing", "the card as it was"
    world.owner.set_policy("changing", allow=["*"])
    until(lambda: table.id in world.user.facts)
    assert frame.verdict.outcome == "release"


def test_new_columns_are_known(world, table):
    changing = world.user.dataset("changing")
    world.owner.client.polars.send_df(
        pl.DataFrame({"g": ["a"] * 40, "new": [n % 7 for n in range(40)]}), name="changing", replace=True
    )
    until(lambda: "new" in changing.columns)
    assert changing.select(pl.col("new").mean()).verdict.outcome == "release"


def test_a_listener_finds_the_new_facts(world, table):
    """Told with the facts of before, it would never see the second version. (The table's first news may come late.)"""
    until(lambda: table.id in world.user.facts)
    seen = []
    remove = world.user.on_datasets(lambda: seen.append(world.user.facts[table.id].policy_version))
    world.owner.set_policy("changing", Policy.open())
    until(lambda: 2 in seen)
    remove()
    assert seen == sorted(seen)


def test_the_kernels_flavour_asks_by_itself(world, table):
    async def work():
        async with await AsyncConnection.open(
            world.server.endpoint, identity=world.alice, server_key=world.server.server_key
        ) as connection:
            rows = (await connection.dataset("changing")).select("x")
            assert rows.verdict.outcome == "review"
            news = asyncio.Event()
            connection.on_datasets(news.set)
            await asyncio.to_thread(world.owner.set_policy, "changing", Policy.open())
            await asyncio.wait_for(news.wait(), 30)
            await connection.fresh()
            assert rows.verdict.outcome == "release"

    asyncio.run(work())


# ---- requests that end -------------------------------------------------------------------------------------------------


def test_a_request_ends_with_the_policy_it_was_about(world, table):
    with pytest.raises(Denied) as caught:
        world.user.dataset("changing").head(5).fetch()
    denied = caught.value
    request = denied.request("to see them")
    states = []
    remove = world.user.on_decision(lambda r: r.id == request.id and states.append(r.state))
    threading.Timer(0.3, lambda: world.owner.set_policy("changing", roles={"x": "measure"})).start()
    with pytest.raises(NotApproved) as ended:
        denied.wait(30)
    remove()
    assert ended.value.code == "denied.owner.expired"
    assert states == ["expired"]
    assert request.state == "expired"
    with pytest.raises(BastionError) as late:
        world.owner.approve(request.id)
    assert late.value.code == "input.request.outdated"


def test_leave_to_read_ends_with_the_policy_it_was_about(world, table):
    with pytest.raises(Denied) as caught:
        world.user.dataset("changing").head(6).fetch()
    denied = caught.value
    request = denied.request("to see them")
    world.owner.approve(request.id, may_read=False)
    timer = threading.Timer(1.0, lambda: world.owner.set_policy("changing", roles={"x": "measure"}))
    timer.start()
    with pytest.raises(NotApproved, match="past its date, or the data") as ended:
        denied.wait(30)
    timer.join()
    assert ended.value.info.ended == "expired"


def test_a_request_ends_at_its_time_and_both_sides_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("bastion_server.service.server.EXPIRY_EVERY", 0.05)
    sent = []

    async def use(service, dataset):
        service.review.push = lambda name, push: sent.append((name, push)) or 1
        service.store.requests.limits = Limits(lifetime=0.5)
        asked = Asked(m.RequestAccess(encode(Slice(Scan(dataset), 0, 5)), "why"), "alice")
        await service.handle(asked)
        (filed,) = asked.answers
        assert filed.info.state == "pending"
        assert 0 < filed.info.expires - filed.info.created <= 0.5
        watching = asyncio.create_task(service.watch())
        for _ in range(200):
            if any(push.topic == "decision" for _, push in sent):
                break
            await asyncio.sleep(0.05)
        watching.cancel()
        await asyncio.sleep(0.2)

    asyncio.run(with_service(tmp_path, use, policy=Rules.default()))
    assert [(name, push.topic, push.request.state) for name, push in sent] == [
        ("olga", "request", "pending"), ("alice", "decision", "expired"), ("olga", "request", "expired"),
    ]  # fmt: skip
    assert not sent[1][1].request.figures, "figures are the owner's"
    assert sent[1][1].request.expires == 0.0
