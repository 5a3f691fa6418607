"""The queries that are kept to try policies on: how many, how large, and when they go."""

from __future__ import annotations

import pytest
from bastion_server.store import asked
from bastion_server.store.asked import AskedPlans
from bastion_server.store.database import Database


@pytest.fixture
def plans(tmp_path):
    database = Database(tmp_path / "catalogue.db")
    yield AskedPlans(database)
    database.close()


def test_a_query_is_there_once_with_how_often_and_when(plans):
    plans.note(["d-1", "d-2"], "h", b"plan", "alice", 1.0)
    plans.note(["d-1"], "h", b"plan", "alice", 2.0)
    plans.flush()
    plans.note(["d-1"], "h", b"plan", "alice", 3.0)
    plans.note(["d-1"], "h", b"plan", "bob", 4.0)
    found = plans.of("d-1", 10)
    assert [(a.requester, a.times, a.last) for a in found] == [("bob", 1, 4.0), ("alice", 3, 3.0)]
    assert [a.times for a in plans.of("d-2", 10)] == [1]
    assert len(plans.of("d-1", 1)) == 1


def test_the_oldest_are_forgotten_and_the_largest_never_kept(plans, monkeypatch):
    monkeypatch.setattr(asked, "MAX_KEPT", 5)
    for number in range(9):
        plans.note(["d-1"], f"h{number}", b"plan", "alice", float(number))
    plans.note(["d-1"], "large", b"x" * (asked.MAX_PLAN + 1), "alice", 99.0)
    assert [a.plan_hash for a in plans.of("d-1", 10)] == ["h8", "h7", "h6", "h5", "h4"]


def test_what_waits_is_bounded(plans, monkeypatch):
    monkeypatch.setattr(asked, "MAX_WAITING", 3)
    for number in range(9):
        plans.note(["d-1"], f"h{number}", b"plan", "alice", float(number))
    plans.note(["d-1"], "h0", b"plan", "alice", 9.0)
    assert [(a.plan_hash, a.times) for a in plans.of("d-1", 10)] == [("h0", 2), ("h2", 1), ("h1", 1)]


def test_they_go_with_the_dataset_written_or_not(plans):
    plans.note(["d-1", "d-2"], "h", b"plan", "alice", 1.0)
    plans.flush()
    plans.note(["d-1"], "h2", b"plan", "alice", 2.0)
    plans.forget("d-1")
    assert plans.of("d-1", 10) == []
    assert len(plans.of("d-2", 10)) == 1
