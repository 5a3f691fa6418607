"""The catalogue."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from bastion_plan.errors import InputError, NotFound, ServerError
from bastion_policy.model import Policy
from bastion_server.store import Store
from msgspec.structs import replace
from store_facts import PRIVATE, facts, seal


def add(store: Store, identifier: str = "d-1", name: str = "patients", **more: object) -> None:
    store.datasets.add(
        facts(identifier, name, **more), PRIVATE, sealed=seal(store.sealed, b"rows"), now=1000.0, allow=("alice",)
    )


def test_a_dataset_comes_back_as_it_was(store: Store) -> None:
    add(store)
    for ref in ("d-1", "patients"):
        record = store.datasets.get(ref)
        assert record.facts == facts()
        assert record.private == PRIVATE
        assert (record.kind, record.created, record.allow, record.plan) == ("table", 1000.0, ("alice",), None)
        assert record.sealed is not None
        assert record.sealed.size == 4
    store.datasets.add(facts("d-2", "mine", owner="alice"), None, plan=b"plan", now=1001.0)
    saved = store.datasets.get("mine")
    assert (saved.kind, saved.plan, saved.private, saved.sealed) == ("saved", b"plan", None, None)
    assert [r.facts.id for r in store.datasets.list()] == ["d-1", "d-2"]


def test_an_id_wins_over_a_name(store: Store) -> None:
    add(store)
    add(store, "d-2", "d-1")
    assert store.datasets.get("d-1").facts.name == "patients"


def test_who_may_see_what(store: Store) -> None:
    add(store)
    add(store, "d-2", "staff", owner="oscar")
    store.datasets.set_allow("d-2", ("*",))
    names = {who: [r.facts.name for r in store.datasets.list(who)] for who in ("olga", "oscar", "alice", "bob")}
    assert names == {
        "olga": ["patients", "staff"],
        "oscar": ["staff"],
        "alice": ["patients", "staff"],
        "bob": ["staff"],
    }
    for who, visible in names.items():
        for record in store.datasets.list():
            assert record.visible_to(who) == (record.facts.name in visible)
    store.datasets.set_allow("d-2", ())
    assert not store.datasets.get("d-2").visible_to("alice")


def test_a_name_is_taken_while_its_dataset_lives(store: Store) -> None:
    add(store)
    with pytest.raises(InputError) as caught:
        add(store, "d-2")
    assert caught.value.code == "input.dataset.name-taken"
    store.datasets.delete("d-1", now=1001.0)
    add(store, "d-2")
    assert store.datasets.get("patients").facts.id == "d-2"


def test_deleting_takes_rows_key_and_measures_and_keeps_history(store: Store) -> None:
    add(store)
    record = store.datasets.get("d-1")
    assert record.sealed is not None
    store.datasets.delete("d-1", now=1001.0)
    assert store.datasets.find("d-1") is None
    with pytest.raises(NotFound):
        store.datasets.delete("d-1", now=1002.0)
    assert not (store.sealed.directory / record.sealed.name).exists()
    row = store.database.row("SELECT private, file, wrapped_key FROM dataset_versions")
    assert row is not None
    assert tuple(row) == (None, None, None)
    assert [change.facts for change in store.datasets.history("d-1")] == [facts()]


def test_policies_change_one_version_at_a_time_and_stay_on_record(store: Store) -> None:
    add(store)
    strict = facts(policy=Policy.strict(unit="row"), policy_version=2)
    changed = store.datasets.set_facts(strict, by="olga", now=1001.0, signed=b"signature")
    assert changed.facts == strict
    assert changed.private == PRIVATE
    for wrong in (strict, facts(policy_version=4), facts(policy_version=3, version=2)):
        with pytest.raises(ServerError) as caught:
            store.datasets.set_facts(wrong, by="olga", now=1002.0)
        assert caught.value.code == "server.store.conflict"
    with pytest.raises(InputError):
        store.datasets.set_facts(facts(policy_version=3, owner="mallory"), by="mallory", now=1002.0)
    history = store.datasets.history("d-1")
    assert [(c.facts.policy_version, c.changed_at, c.signed) for c in history] == [
        (1, 1000.0, b""),
        (2, 1001.0, b"signature"),
    ]
    with store.database.transaction() as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("UPDATE policies SET facts = x'00'")


def test_replacing_rows_deletes_the_old_ones(store: Store) -> None:
    add(store)
    old = store.datasets.get("d-1").sealed
    new = seal(store.sealed, b"new rows")
    record = store.datasets.replace(facts(version=2, policy_version=2), PRIVATE, new, by="olga", now=1001.0)
    assert record.sealed == new
    assert record.allow == ("alice",)
    assert old is not None
    assert store.sealed.names() == {new.name}
    with pytest.raises(ServerError):
        store.datasets.replace(facts(version=2, policy_version=3), PRIVATE, new, by="olga", now=1002.0)
    assert store.datasets.files() == {new.name}


def test_a_failed_change_leaves_everything(store: Store) -> None:
    add(store)
    before = store.datasets.get("d-1")

    def delete_and_fail() -> None:
        with store.transaction():
            store.datasets.delete("d-1", now=1001.0)
            assert store.datasets.find("d-1") is None
            raise RuntimeError

    with pytest.raises(RuntimeError):
        delete_and_fail()
    assert store.datasets.get("d-1") == before
    assert before.sealed is not None
    assert before.sealed.name in store.sealed.names()


def test_of_many_concurrent_changes_one_wins(store: Store) -> None:
    add(store)
    won, lost = [], []
    barrier = threading.Barrier(8)

    def change(number: int) -> None:
        barrier.wait()
        try:
            store.datasets.set_facts(facts(policy_version=2, unit_domain=str(number)), by="olga", now=1001.0)
            won.append(number)
        except ServerError as error:
            lost.append(error.code)

    threads = [threading.Thread(target=change, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert lost == ["server.store.conflict"] * 7
    assert store.datasets.get("d-1").facts.unit_domain == str(won[0])


def test_facts_of_a_later_release_are_named_as_such(store: Store) -> None:
    add(store)
    with store.database.transaction() as connection:
        connection.execute("INSERT INTO policies VALUES ('d-1', 2, 1, x'81a178', 'o', 1, x'')")
        connection.execute("UPDATE datasets SET policy_version = 2")
    with pytest.raises(ServerError) as caught:
        store.datasets.get("d-1")
    assert caught.value.code == "server.store.facts"


def test_ids_differ(store: Store) -> None:
    assert len({store.datasets.new_id() for _ in range(1000)}) == 1000
    assert replace(facts(), id=store.datasets.new_id()).id.startswith("d-")
