"""What an approval gave is kept sealed, once, for as long as the approval holds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from bastion_server.store import KeptResult, Store
from store_facts import PRIVATE, facts, seal


def grant(store: Store, until: float = 0.0) -> str:
    if store.datasets.find("d-1") is None:
        store.datasets.add(facts(), PRIVATE, sealed=seal(store.sealed, b"x"), now=1000.0)
    request, _ = store.requests.file(
        plan_hash="h", plan=b"plan", versions={"d-1": 1}, policy_versions={"d-1": 1}, requester="alice",
        owners=("olga",), reason="", now=1000.0,
    )  # fmt: skip
    given = store.requests.decide(request.id, owner="olga", approve=True, until=until, now=1001.0).grant
    assert given is not None
    return given.id


def keep(store: Store, name: str) -> KeptResult:
    kept = KeptResult(seal(store.sealed, b"rows of the approved table"), 7)
    store.results.put(name, kept, 1002.0)
    return kept


def test_kept_sealed_and_found_again_after_a_restart(store: Store, tmp_path: Path) -> None:
    name = grant(store)
    assert store.results.get(name) is None
    kept = keep(store, name)
    store.close()
    with_key = (tmp_path / "store" / "sealed" / kept.sealed.name).read_bytes()
    assert b"approved table" not in with_key
    again = Store.open(tmp_path / "store", 2000.0)
    try:
        found = again.results.get(name)
        assert found == kept
        with again.sealed.reader(kept.sealed) as reader:
            assert reader.read(0, 100) == b"rows of the approved table"
    finally:
        again.close()


def test_one_result_per_grant(store: Store) -> None:
    name = grant(store)
    keep(store, name)
    with pytest.raises(sqlite3.IntegrityError):
        keep(store, name)


@pytest.mark.parametrize("how", ["used", "revoked", "expired", "deleted"])
def test_gone_when_the_approval_ends(store: Store, how: str) -> None:
    name = grant(store)
    kept = keep(store, name)
    assert store.results.prune() == 0
    match how:
        case "used":
            store.grants.use(name, 1003.0)
        case "revoked":
            store.grants.revoke(name, 1003.0)
        case "expired":
            store.grants.expire(1e9)
        case "deleted":
            store.datasets.delete("d-1", now=1003.0)
    assert store.results.prune() == 1
    assert store.results.get(name) is None
    assert kept.sealed.name not in store.sealed.names()


def test_what_ended_while_the_server_was_down_is_swept(store: Store, tmp_path: Path) -> None:
    name = grant(store, 5000.0)
    kept = keep(store, name)
    store.close()
    again = Store.open(tmp_path / "store", 6000.0)
    try:
        assert again.results.get(name) is None
        assert again.sealed.names() and kept.sealed.name not in again.sealed.names()
    finally:
        again.close()
