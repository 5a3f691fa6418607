"""Grants answer for exactly what was approved; signed statements count once; histories only grow."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

import pytest
from bastion_plan.errors import InputError, NotAuthorised, NotFound
from bastion_server.store import Grant, Store
from bastion_server.store.binding import binding, parts
from hypothesis import given
from hypothesis import strategies as st
from store_facts import PRIVATE, facts, seal


def approved(store: Store, until: float = 0.0, **terms: Any) -> Grant:
    if store.datasets.find("d-1") is None:
        store.datasets.add(facts(), PRIVATE, sealed=seal(store.sealed, b"x"), now=1000.0)
    request, _ = store.requests.file(
        plan_hash="h", plan=b"plan", versions={"d-1": 1}, policy_versions={"d-1": 1}, requester="alice",
        owners=("olga",), reason="", now=1000.0,
    )  # fmt: skip
    grant = store.requests.decide(request.id, owner="olga", approve=True, until=until, now=1001.0, **terms).grant
    assert grant is not None
    return grant


def find(store: Store, now: float = 1002.0, **changes: Any) -> Grant | None:
    terms: dict[str, Any] = {
        "plan_hash": "h", "versions": {"d-1": 1}, "requester": "alice", "policy_versions": {"d-1": 1}, "now": now
    }  # fmt: skip
    return store.grants.find_grant(**terms | changes)


def test_a_grant_answers_for_nothing_else(store: Store) -> None:
    grant = approved(store)
    assert find(store) == grant
    for change in (
        {"plan_hash": "h2"},
        {"requester": "bob"},
        {"requester": "ALICE"},
        {"versions": {"d-1": 2}},
        {"policy_versions": {"d-1": 2}},
        {"versions": {"d-2": 1}, "policy_versions": {"d-2": 1}},
        {"versions": {"d-1": 1, "d-2": 1}, "policy_versions": {"d-1": 1, "d-2": 1}},
        {"versions": {}, "policy_versions": {}},
    ):
        assert find(store, **change) is None, change


def test_for_once_is_once(store: Store) -> None:
    grant = approved(store)
    assert (grant.single_use, grant.until) == (True, 1001.0 + 7 * 86400)
    assert store.grants.use(grant.id, 1002.0).ended == "used"
    assert find(store) is None
    with pytest.raises(InputError) as caught:
        store.grants.use(grant.id, 1003.0)
    assert caught.value.code == "input.grant.ended"


def test_until_a_date_is_as_often_as_one_likes_until_then(store: Store) -> None:
    grant = approved(store, until=2000.0)
    for uses in range(1, 4):
        assert store.grants.use(grant.id, 1999.0).uses == uses
    assert find(store, now=1999.9) is not None
    assert find(store, now=2000.0) is None
    assert find(store, now=1500.0) is None, "a clock set back revives nothing"
    with pytest.raises(InputError):
        store.grants.use(grant.id, 1500.0)
    ended = store.grants.of_request(grant.request)
    assert ended is not None
    assert ended.ended == "expired"


def test_using_past_the_date_ends_it_for_good(store: Store) -> None:
    grant = approved(store, until=2000.0)
    for now in (2000.0, 1500.0):
        with pytest.raises(InputError):
            store.grants.use(grant.id, now)


def test_revocation(store: Store) -> None:
    grant = approved(store, until=2000.0)
    assert store.grants.revoke(grant.id, 1002.0)
    assert not store.grants.revoke(grant.id, 1003.0)
    assert find(store) is None
    second = approved(store)
    assert store.grants.revoke_requester("bob", 1004.0) == 0
    assert store.grants.revoke_requester("alice", 1004.0) == 1
    with pytest.raises(InputError):
        store.grants.use(second.id, 1005.0)


def test_the_table_refuses_to_change_or_revive_a_grant(store: Store) -> None:
    approved(store, may_read=False)
    with store.database.transaction() as connection:
        for column in ("requester", "plan_hash", "binding", "may_run", "may_read", "single_use", "until", "created"):
            with pytest.raises(sqlite3.IntegrityError, match="bound"):
                connection.execute(f"UPDATE grants SET {column} = {column}")
        connection.execute("UPDATE grants SET ended = 'used'")
        with pytest.raises(sqlite3.IntegrityError, match="stays ended"):
            connection.execute("UPDATE grants SET ended = ''")


def test_a_single_use_cannot_be_raced(store: Store) -> None:
    grant = approved(store)
    outcomes: list[str] = []
    barrier = threading.Barrier(12)

    def use() -> None:
        barrier.wait()
        try:
            outcomes.append(store.grants.use(grant.id, 1002.0).ended)
        except InputError:
            outcomes.append("refused")

    threads = [threading.Thread(target=use) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 11 + ["used"]


versions = st.dictionaries(st.text(max_size=5), st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=4)


@given(versions, versions)
def test_bindings_are_equal_exactly_when_what_they_bind_is(one: Any, two: Any) -> None:
    def bind(both: Any) -> bytes:
        return binding({k: v[0] for k, v in both.items()}, {k: v[1] for k, v in both.items()})

    assert (bind(one) == bind(two)) == (one == two)
    assert bind(dict(reversed(one.items()))) == bind(one)
    assert {name: (v, p) for name, v, p in parts(bind(one))} == one


def test_signed_statements_count_once(store: Store) -> None:
    store.statements.use("olga", b"n" * 16, 1000.0)
    with pytest.raises(NotAuthorised) as caught:
        store.statements.use("olga", b"n" * 16, 0.0)
    assert caught.value.code == "wire.auth.replay"
    store.statements.use("oscar", b"n" * 16, 1000.0)
    # what the statement orders failed: then it was not used either

    def order() -> None:
        with store.transaction():
            store.statements.use("olga", b"m" * 16, 1000.0)
            store.datasets.delete("none", now=1000.0)

    with pytest.raises(NotFound):
        order()
    store.statements.use("olga", b"m" * 16, 1000.0)


def test_reading_may_be_allowed_later(store: Store) -> None:
    grant = approved(store, may_read=False)
    assert (grant.may_run, grant.may_read) == (True, False)
    later = store.grants.decide_reading(grant.id, owner="olga", allow=True, now=1002.0, answer="go on", signed=b"s")
    assert later.may_read
    assert later == find(store) == store.grants.of_request(grant.request)
    assert [(r.owner, r.allow, r.answer) for r in store.grants.readings(grant.id)] == [("olga", True, "go on")]
    with pytest.raises(InputError) as caught:
        store.grants.decide_reading(grant.id, owner="olga", allow=False, now=1003.0)
    assert caught.value.code == "input.request.decided"
    assert store.grants.use(grant.id, 1004.0).ended == "used"


def test_reading_may_be_denied_for_good(store: Store) -> None:
    grant = approved(store, may_read=False, until=2000.0)
    ended = store.grants.decide_reading(grant.id, owner="olga", allow=False, now=1002.0)
    assert (ended.may_read, ended.ended) == (False, "revoked")
    assert find(store) is None
    with pytest.raises(InputError) as caught:
        store.grants.decide_reading(grant.id, owner="olga", allow=True, now=1003.0)
    assert caught.value.code == "input.grant.ended"


def test_who_allowed_reading_at_once_has_no_later_word(store: Store) -> None:
    grant = approved(store)
    with pytest.raises(InputError) as caught:
        store.grants.decide_reading(grant.id, owner="olga", allow=False, now=1002.0)
    assert caught.value.code == "input.request.decided"
    assert find(store) == grant


def test_every_owner_who_left_it_open_must_allow_reading(store: Store) -> None:
    for dataset, owner in (("d-1", "olga"), ("d-2", "oscar")):
        store.datasets.add(facts(dataset, owner=owner), PRIVATE, sealed=seal(store.sealed, b"x"), now=1000.0)
    request, _ = store.requests.file(
        plan_hash="h", plan=b"plan", versions={"d-1": 1, "d-2": 1}, policy_versions={"d-1": 1, "d-2": 1},
        requester="alice", owners=("olga", "oscar"), reason="", now=1000.0,
    )  # fmt: skip
    store.requests.decide(request.id, owner="olga", approve=True, may_read=False, now=1001.0)
    grant = store.requests.decide(request.id, owner="oscar", approve=True, may_read=False, now=1001.0).grant
    assert grant is not None
    assert not store.grants.decide_reading(grant.id, owner="olga", allow=True, now=1002.0).may_read
    assert store.grants.decide_reading(grant.id, owner="oscar", allow=True, now=1003.0).may_read


def test_an_approval_past_its_date_cannot_be_read_later(store: Store) -> None:
    grant = approved(store, may_read=False, until=2000.0)
    for now in (2000.0, 1500.0):
        with pytest.raises(InputError) as caught:
            store.grants.decide_reading(grant.id, owner="olga", allow=True, now=now)
        assert caught.value.code == "input.grant.ended"


def test_a_word_on_reading_stays_as_it_is(store: Store) -> None:
    grant = approved(store, may_read=False)
    store.grants.decide_reading(grant.id, owner="olga", allow=True, now=1002.0)
    with store.database.transaction() as connection:
        for statement in ("UPDATE grant_readings SET allow = 1", "DELETE FROM grant_readings"):
            with pytest.raises(sqlite3.IntegrityError, match="once"):
                connection.execute(statement)
