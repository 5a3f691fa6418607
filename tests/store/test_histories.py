"""Histories: replaced in one step, only by the next one, sealed, gone with their table."""

from __future__ import annotations

from pathlib import Path

import pytest
from bastion_plan.errors import ServerError
from bastion_server.store import Store


def test_a_history_is_followed_only_by_one_that_was_made_of_it(store: Store) -> None:
    assert store.histories.get("patients", "alice") == (0, b"")
    assert store.histories.put("patients", "alice", b"one", expected=0, now=1000.0) == 1
    with pytest.raises(ServerError) as stale:
        store.histories.put("patients", "alice", b"other", expected=0, now=1000.0)
    assert stale.value.code == "server.history.stale"
    assert store.histories.get("patients", "alice") == (1, b"one")
    assert store.histories.put("patients", "bob", b"his", expected=0, now=1000.0) == 1
    assert store.histories.put("patients", "alice", b"two", expected=1, now=999.0) == 2
    assert store.histories.get("patients", "alice") == (2, b"two")
    assert store.histories.audiences("patients") == ("alice", "bob")
    assert len(store.sealed.names()) == 2, "what was replaced is gone"


def test_a_history_survives_a_restart_and_is_sealed(tmp_path: Path) -> None:
    store = Store.open(tmp_path, 1000.0)
    text = b"who is in which population" * 50_000
    store.histories.put("patients", "alice", text, expected=0, now=1000.0)
    store.close()
    everything = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"which population" not in everything
    store = Store.open(tmp_path, 2000.0)
    assert store.histories.get("patients", "alice") == (1, text)
    (path,) = [p for p in (tmp_path / "sealed").iterdir() if p.stat().st_size > len(text)]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ServerError):
        store.histories.get("patients", "alice")
    store.close()
