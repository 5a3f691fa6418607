"""The clock jumps: nothing that ended comes back, nothing breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bastion_plan.errors import BastionError, InputError, NotAuthorised
from bastion_server.store import Record, Store, verify
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_facts import PRIVATE, facts, seal

DAY = 86400.0


@pytest.fixture
def ready(store: Store) -> Store:
    store.datasets.add(facts(), PRIVATE, sealed=seal(store.sealed, b"x"), now=1000.0)
    return store


def file(store: Store, now: float, plan_hash: str = "h") -> Any:
    return store.requests.file(
        plan_hash=plan_hash, plan=b"p", versions={"d-1": 1}, policy_versions={"d-1": 1}, requester="alice",
        owners=("olga",), reason="", now=now,
    )[0]  # fmt: skip


def test_a_jump_forward_and_back_revives_no_request_and_no_grant(ready: Store) -> None:
    pending, approved = file(ready, 1000.0), file(ready, 1000.0, "h2")
    ready.requests.decide(approved.id, owner="olga", approve=True, until=5000.0, now=1001.0)
    far = 1000.0 + 365 * DAY
    assert ready.requests.expire(far) == 1
    assert ready.grants.expire(far) == 1
    assert ready.requests.get(pending.id).state == "expired"
    assert ready.grants.find_grant("h2", {"d-1": 1}, "alice", {"d-1": 1}, 1002.0) is None
    with pytest.raises(InputError):
        ready.requests.decide(pending.id, owner="olga", approve=True, now=1002.0)


def test_a_restart_with_the_wrong_time_costs_only_what_that_time_ends(tmp_path: Path) -> None:
    for now in (1000.0, 1e11, -5.0, 0.0, 1001.0):
        store = Store.open(tmp_path, now)
        store.audit.append_blocking(Record(now, "start", "server", "started"))
        store.close(now)
    store = Store.open(tmp_path, 1002.0)
    assert [r.time for r in store.audit.show()] == [1000.0, 1e11, -5.0, 0.0, 1001.0]
    store.close()
    assert verify(tmp_path / "audit.log", store.keys.verify_key) == ()


def test_statements_cannot_be_replayed_at_any_time(store: Store) -> None:
    store.statements.use("olga", b"n", 1e11)
    for now in (0.0, 1000.0, 1e12):
        with pytest.raises(NotAuthorised):
            store.statements.use("olga", b"n", now)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["find", "use", "expire"]), st.floats(0, 1e7)), max_size=12))
def test_whatever_the_clock_does_an_ended_grant_stays_ended(ready: Store, steps: list[tuple[str, float]]) -> None:
    """Any sequence of calls at any times: once a moment at or past the date was seen, the grant answers no more."""
    name = f"h{len(ready.requests.list(limit=100_000))}"
    ready.requests.limits = type(ready.requests.limits)(pending=10**6, filed=10**6)
    request = file(ready, 1000.0, name)
    grant = ready.requests.decide(request.id, owner="olga", approve=True, until=5e6, now=1001.0).grant
    ended = False
    for step, now in steps:
        ended = ended or now >= 5e6
        if step == "find":
            found = ready.grants.find_grant(name, {"d-1": 1}, "alice", {"d-1": 1}, now)
            assert (found is None) == ended
        elif step == "use":
            try:
                ready.grants.use(grant.id, now)
                assert not ended
            except BastionError:
                assert ended
        else:
            ready.grants.expire(now)
