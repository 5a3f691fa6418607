"""Access requests: their states, what they are bound to, how many one may file."""

from __future__ import annotations

import sqlite3
import threading
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from bastion_plan.errors import InputError, NotFound
from bastion_server.store import AccessRequest, Limits, Shown, Store
from bastion_server.store.requests import STATES
from store_facts import PRIVATE, facts, seal

DAY = 86400.0


@pytest.fixture
def filed(store: Store) -> AccessRequest:
    for identifier, name, owner in (("d-1", "patients", "olga"), ("d-2", "staff", "oscar")):
        store.datasets.add(facts(identifier, name, owner=owner), PRIVATE, sealed=seal(store.sealed, b"x"), now=1000.0)
    request, new = file(store)
    assert new
    return request


def file(store: Store, **changes: Any) -> tuple[AccessRequest, bool]:
    terms: dict[str, Any] = {
        "plan_hash": "h", "plan": b"plan", "versions": {"d-1": 1}, "policy_versions": {"d-1": 1},
        "requester": "alice", "owners": ("olga",), "reason": "my study", "now": 1000.0,
    }  # fmt: skip
    return store.requests.file(**terms | changes)


def code(caught: pytest.ExceptionInfo[Any]) -> str:
    return str(caught.value.code)


def test_what_was_filed_comes_back(store: Store, filed: AccessRequest) -> None:
    shown = Shown("code", "words", ("patients.age",), ("why",), ("9 people",))
    request, _ = file(store, plan_hash="other", shown=shown)
    got = store.requests.get(request.id)
    assert got == request
    assert (got.state, got.plan, got.versions, got.policy_versions) == ("pending", b"plan", {"d-1": 1}, {"d-1": 1})
    assert got.shown == shown
    assert got.expires == 1000.0 + 14 * DAY
    assert store.requests.find("other", {"d-1": 1}, "alice", {"d-1": 1}) == got
    assert store.requests.find("other", {"d-1": 2}, "alice", {"d-1": 1}) is None


def test_filing_again_is_idempotent(store: Store, filed: AccessRequest) -> None:
    assert file(store, reason="again", now=1001.0) == (filed, False)
    different: list[dict[str, Any]] = [
        {"plan_hash": "h2"}, {"requester": "bob"}, {"versions": {"d-1": 2}}, {"policy_versions": {"d-1": 2}},
        {"versions": {"d-1": 1, "d-2": 1}, "policy_versions": {"d-1": 1, "d-2": 1}},
    ]  # fmt: skip
    ids = {filed.id}
    for change in different:
        request, new = file(store, **change)
        assert new
        ids.add(request.id)
    assert len(ids) == 6


def test_when_one_may_ask_anew(store: Store, filed: AccessRequest) -> None:
    store.requests.withdraw(filed.id, requester="alice", now=1001.0)
    second, new = file(store, now=1002.0)
    assert new
    store.requests.decide(second.id, owner="olga", approve=True, now=1003.0)
    again, new = file(store, now=1004.0)
    assert (again.id, again.state, new) == (second.id, "approved", False)
    assert again.grant is not None
    store.grants.use(again.grant.id, 1005.0)
    third, new = file(store, now=1006.0)
    assert new
    store.requests.decide(third.id, owner="olga", approve=False, now=1007.0, answer="no")
    denied, new = file(store, now=1008.0)
    assert (denied.id, denied.state, denied.answer, new) == (third.id, "denied", "no", False)


@pytest.mark.parametrize("act", ["approve", "deny", "withdraw"])
def test_only_pending_requests_move(store: Store, filed: AccessRequest, act: str) -> None:
    def do(what: str, now: float) -> AccessRequest:
        if what == "withdraw":
            return store.requests.withdraw(filed.id, requester="alice", now=now)
        return store.requests.decide(filed.id, owner="olga", approve=what == "approve", now=now)

    state = do(act, 1001.0).state
    assert state == {"approve": "approved", "deny": "denied", "withdraw": "withdrawn"}[act]
    for other in ("approve", "deny", "withdraw"):
        with pytest.raises(InputError) as caught:
            do(other, 1002.0)
        assert code(caught) == "input.request.decided"
    assert store.requests.expire(1e12) == 0
    assert store.requests.get(filed.id).state == state
    assert store.database.row("SELECT count(*) FROM grants")[0] == (act == "approve")  # type: ignore[index]


@pytest.mark.parametrize(("before", "after"), list(product(STATES, STATES)))
def test_the_table_itself_refuses_other_transitions(
    store: Store, filed: AccessRequest, before: str, after: str
) -> None:
    with store.database.transaction() as connection:
        if before != "pending":
            connection.execute("UPDATE requests SET state = ?", (before,))
            with pytest.raises(sqlite3.IntegrityError, match="stays as it is"):
                connection.execute("UPDATE requests SET state = ?", (after,))
        for column in ("requester", "plan_hash", "binding", "plan", "created"):
            with pytest.raises(sqlite3.IntegrityError, match="bound"):
                connection.execute(f"UPDATE requests SET {column} = {column}")
        with pytest.raises(sqlite3.IntegrityError, match="starts pending" if after != "pending" else "UNIQUE"):
            connection.execute(
                "INSERT INTO requests (id, state, requester, plan_hash, binding, plan, reason, shown, created, expires)"
                " SELECT id, ?, requester, plan_hash, binding, plan, reason, shown, created, expires FROM requests",
                (after,),
            )


def test_requests_expire_for_good(store: Store, filed: AccessRequest) -> None:
    assert store.requests.expire(filed.expires - 1) == 0
    with pytest.raises(InputError):
        store.requests.decide(filed.id, owner="olga", approve=True, now=filed.expires)
    assert store.requests.get(filed.id).state == "expired"
    with pytest.raises(InputError):  # the clock set back does not revive it
        store.requests.decide(filed.id, owner="olga", approve=True, now=1001.0)
    assert file(store, now=1002.0)[1]


def test_a_request_about_changed_data_cannot_be_approved(store: Store, filed: AccessRequest) -> None:
    store.datasets.set_facts(facts(policy_version=2), by="olga", now=1001.0)
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            store.requests.decide(filed.id, owner="olga", approve=True, now=1002.0)
        assert code(caught) == "input.request.outdated"
    assert store.requests.get(filed.id).state == "expired"
    assert list(store.requests.ended) == [filed.id]
    other, _ = file(store, policy_versions={"d-1": 2})
    store.datasets.delete("d-1", now=1003.0)
    with pytest.raises(InputError) as caught:
        store.requests.decide(other.id, owner="olga", approve=True, now=1004.0)
    assert code(caught) == "input.request.outdated"


def test_others_cannot_decide_or_withdraw(store: Store, filed: AccessRequest) -> None:
    for owner in ("alice", "oscar", ""):
        with pytest.raises(NotFound):
            store.requests.decide(filed.id, owner=owner, approve=True, now=1001.0)
    for who in ("olga", "bob"):
        with pytest.raises(NotFound):
            store.requests.withdraw(filed.id, requester=who, now=1001.0)
    with pytest.raises(NotFound):
        store.requests.get("r-none")


def test_a_join_needs_all_owners_and_takes_the_strictest_terms(store: Store, filed: AccessRequest) -> None:
    both: dict[str, Any] = {"versions": {"d-1": 1, "d-2": 1}, "policy_versions": {"d-1": 1, "d-2": 1}}
    request, _ = file(store, **both, owners=("olga", "oscar"))
    half = store.requests.decide(request.id, owner="olga", approve=True, until=5000.0, now=1001.0, signed=b"s")
    assert (half.state, half.grant) == ("pending", None)
    assert [o.decision for o in half.owners] == ["approve", ""]
    with pytest.raises(InputError):
        store.requests.decide(request.id, owner="olga", approve=True, now=1002.0)
    assert [g.requests for g in store.requests.groups("oscar")] == [(half,)]
    assert all(r.id != request.id for g in store.requests.groups("olga") for r in g.requests)
    done = store.requests.decide(request.id, owner="oscar", approve=True, until=4000.0, may_read=False, now=1003.0)
    assert done.state == "approved"
    assert done.grant is not None
    assert (done.grant.until, done.grant.may_run, done.grant.may_read, done.grant.single_use) == (
        4000.0,
        True,
        False,
        False,
    )

    other, _ = file(store, **both, owners=("olga", "oscar"), plan_hash="h2")
    store.requests.decide(other.id, owner="olga", approve=True, now=1004.0)
    assert store.requests.decide(other.id, owner="oscar", approve=False, now=1005.0).state == "denied"

    nothing, _ = file(store, **both, owners=("olga", "oscar"), plan_hash="h3")
    store.requests.decide(nothing.id, owner="olga", approve=True, until=1004.5, now=1004.0)
    left = store.requests.decide(nothing.id, owner="oscar", approve=True, now=1005.0)
    assert (left.state, left.grant) == ("expired", None)


def test_decisions_that_mean_nothing(store: Store, filed: AccessRequest) -> None:
    for until in (1000.0, 5.0, -1.0, float("nan")):
        with pytest.raises(InputError) as caught:
            store.requests.decide(filed.id, owner="olga", approve=True, until=until, now=1001.0)
        assert code(caught) == "input.request.until"
    for may_read in (False, True):  # reading what did not run means nothing
        with pytest.raises(InputError):
            store.requests.decide(filed.id, owner="olga", approve=True, may_run=False, may_read=may_read, now=1001.0)
    with pytest.raises(ValueError, match="owner"):
        file(store, plan_hash="h2", owners=())
    with pytest.raises(ValueError, match="same datasets"):
        file(store, policy_versions={"d-2": 1})
    assert [r.id for r in store.requests.list()] == [filed.id]


def test_floods_are_refused(tmp_path: Path) -> None:
    store = Store.open(tmp_path, 1000.0, limits=Limits(pending=3, filed=5, window=100.0))
    try:
        ids = [file(store, plan_hash=f"h{i}")[0].id for i in range(3)]
        with pytest.raises(InputError) as caught:
            file(store, plan_hash="h3")
        assert code(caught) == "input.request.too-many"
        assert file(store, plan_hash="h3", requester="bob")[1]
        assert file(store, plan_hash="h2") == (store.requests.get(ids[2]), False)
        for i in (0, 1):  # withdrawing and filing again counts too
            store.requests.withdraw(ids[i], requester="alice", now=1001.0)
            file(store, plan_hash=f"h{i}", now=1001.0)
        store.requests.withdraw(ids[2], requester="alice", now=1002.0)
        for now in (1002.0, 0.0, 1099.0):  # nor does setting the clock back help
            with pytest.raises(InputError):
                file(store, plan_hash="h9", now=now)
        assert file(store, plan_hash="h9", now=1101.5)[1]
    finally:
        store.close()


def test_listing_and_grouping(store: Store, filed: AccessRequest) -> None:
    bob, _ = file(store, requester="bob", now=1001.0)
    more, _ = file(store, plan_hash="h2", now=1002.0)
    oscars, _ = file(
        store, plan_hash="h3", versions={"d-2": 1}, policy_versions={"d-2": 1}, owners=("oscar",), now=1003.0
    )
    ids = [r.id for r in store.requests.list()]
    assert ids == [oscars.id, more.id, bob.id, filed.id]
    assert [r.id for r in store.requests.list(requester="alice")] == [oscars.id, more.id, filed.id]
    assert [r.id for r in store.requests.list(owner="olga")] == [more.id, bob.id, filed.id]
    assert [r.id for r in store.requests.list(dataset="d-2")] == [oscars.id]
    assert [r.id for r in store.requests.list(limit=2)] == ids[:2]
    groups = store.requests.groups("olga")
    assert [(g.requester, g.datasets, [r.id for r in g.requests]) for g in groups] == [
        ("alice", ("d-1",), [filed.id, more.id]),
        ("bob", ("d-1",), [bob.id]),
    ]
    store.requests.decide(bob.id, owner="olga", approve=False, now=1004.0)
    assert [r.id for r in store.requests.list(states=("denied", "approved"))] == [bob.id]


def test_requests_survive_a_restart(tmp_path: Path) -> None:
    store = Store.open(tmp_path, 1000.0)
    request, _ = file(store)
    store.close()
    store = Store.open(tmp_path, 1001.0)
    assert store.requests.get(request.id) == request
    store.close()
    store = Store.open(tmp_path, request.expires + 1)
    assert store.requests.get(request.id).state == "expired"
    store.close()


def test_concurrent_filing_gives_one_request(store: Store) -> None:
    results = run_together(12, lambda _: file(store))
    assert len({request.id for request, _ in results}) == 1
    assert sum(new for _, new in results) == 1


def test_concurrent_decisions_give_one_outcome(store: Store, filed: AccessRequest) -> None:
    def decide(number: int) -> str:
        try:
            if number % 3 == 2:
                return store.requests.withdraw(filed.id, requester="alice", now=1001.0).state
            return store.requests.decide(filed.id, owner="olga", approve=number % 3 == 0, now=1001.0).state
        except InputError as error:
            return error.code

    results = run_together(12, decide)
    assert sorted(set(results) - {"input.request.decided"}) == [store.requests.get(filed.id).state]
    assert results.count("input.request.decided") == 11


def run_together(count: int, work: Any) -> list[Any]:
    barrier, results = threading.Barrier(count), []

    def run(number: int) -> None:
        barrier.wait()
        results.append(work(number))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_change_of_the_data_ends_what_was_asked_and_approved_of_it(store: Store, filed: AccessRequest) -> None:
    approved, _ = file(store, plan_hash="b" * 64, plan=b"b")
    decided = store.requests.decide(approved.id, owner="olga", approve=True, now=1001.0)
    assert store.requests.expire_outdated(1002.0) == 0
    store.datasets.set_facts(facts(policy_version=2), by="olga", now=1003.0)
    assert store.requests.expire_outdated(1004.0) == 1
    assert store.requests.get(filed.id).state == "expired"
    after = store.requests.get(approved.id)
    assert after.state == "approved"
    assert after.grant is not None
    assert after.grant.ended == "expired"
    assert decided.grant is not None
    assert not decided.grant.ended
    assert (list(store.requests.ended), list(store.grants.ended)) == ([filed.id], [approved.id])
    assert store.requests.expire_outdated(1005.0) == 0


def test_what_expired_is_remembered_until_it_is_told(store: Store, filed: AccessRequest) -> None:
    assert not store.requests.due(filed.expires - 1)
    assert store.requests.due(filed.expires)
    assert not store.requests.ended

    def fails() -> None:
        with store.transaction():
            store.requests.expire(filed.expires)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert not store.requests.ended, "what was taken back is not told"
    store.requests.expire(filed.expires)
    assert list(store.requests.ended) == [filed.id]
    assert not store.requests.due(filed.expires)
    approved, _ = file(store, plan_hash="b" * 64, plan=b"b")
    store.requests.decide(approved.id, owner="olga", approve=True, now=1001.0, until=2000.0)
    assert store.requests.due(2000.0)
    store.grants.expire(2000.0)
    assert list(store.grants.ended) == [approved.id]
