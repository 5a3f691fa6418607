"""What is known of sealed tables' people, beside a catalogue that somebody writes to: no server, every row by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from bastion_plan.errors import ServerError
from bastion_policy.private.accounting import Cost
from bastion_policy.private.subsampled import Mechanism
from bastion_server.store import Charge, Held, SealedWriter, Store
from bastion_server.store.audiences import Group
from sealed_server import without_triggers
from store_facts import PRIVATE, facts, seal

CHANGED, LOCKED = "server.catalogue.changed", "server.locked"
CAP, PRICE = Cost(10**15, 10**15), Cost(10, 1)
TEAM = Group(("team",), frozenset({"alice", "bob"}))


def held(of: str = "people", key: bytes = b"k" * 32) -> Held:
    return Held(key, b"o" * 32, b"d" * 32, of)


def code(work: Callable[[], object]) -> str:
    with pytest.raises(ServerError) as caught:
        work()
    return caught.value.code


def add(store: Store, dataset: str, of: str = "people") -> None:
    """A sealed table, as an upload adds it."""
    store.ring.take(dataset, held(of))
    with store.transaction():
        store.witness.join(of, dataset)
        store.datasets.add(
            facts(dataset, dataset, unit_domain=of),
            PRIVATE,
            now=1.0,
            sealed=seal(store.sealed, b"rows"),
            owner_sealed=True,
        )


def tell(store: Store, who: str, text: bytes = b"told") -> None:
    key = store.audiences.of("people", who)
    number, _ = store.histories.get("people", key)
    store.histories.put("people", key, text, expected=number, now=2.0, who=who)


def pay(store: Store, cost: Cost = PRICE) -> None:
    store.ledger.spend({"people": Charge(cost, CAP, 2.0)}, epsilon=0.1, plan_hash="h", requester="alice", now=3)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(tmp_path / "store", 1000.0)) as made:
        add(made, "d-1")
        made.audiences.place("people", (TEAM,))
        tell(made, "alice")
        tell(made, "carol")
        made.histories.put("people", "", b"roster", expected=0, now=1.0)
        pay(made)
        pay(made, Cost(0, 5, (Mechanism(0.5, 2.0, 10), Mechanism(0.25, 2.0, 3))))
        made.ledger.void("people", "something left", 4)
        yield made


def again(store: Store) -> Store:
    """Start anew on the same disk; no key is held."""
    store.close()
    return Store.open(store.directory, 2000.0)


def write(store: Store, statement: str, *values: object) -> None:
    """What the operator writes."""
    with without_triggers(store.directory / "catalogue.db") as database:
        assert database.execute(statement, values).rowcount


def look(store: Store, *, files: bool = True) -> None:
    """Everything that is read of people. files: histories, too, which one reads in one's turn."""
    for who in ("alice", "bob", "carol", "dan"):
        store.audiences.of("people", who)
    store.audiences.members("people", "@team")
    store.audiences.asked("people")
    for audience in ("", *store.histories.audiences("people")) if files else ():
        store.histories.get("people", audience)
    store.ledger.standing("people")
    store.ledger.entries("people")


WRITES = {
    "a member moved": "UPDATE audiences SET audience = 'x' WHERE identity = 'bob'",
    "a member gone": "DELETE FROM audiences WHERE identity = 'alice'",
    "a member more": "INSERT INTO audiences VALUES ('people', 'dan', '@team')",
    "a history gone": "DELETE FROM histories WHERE audience = 'carol'",
    "a history more": "INSERT INTO histories SELECT unit_domain, 'dan', seq, file, wrapped_key, size, sha256, updated FROM histories LIMIT 1",
    "a history's number": "UPDATE histories SET seq = 7 WHERE audience = 'carol'",
    "a history's file": "UPDATE histories SET file = 'x.sealed' WHERE audience = ''",
    "a history's key": "UPDATE histories SET wrapped_key = zeroblob(80) WHERE audience = ''",
    "a payment gone": "DELETE FROM ledger WHERE seq = 1",
    "a payment less": "UPDATE ledger SET rho = 0 WHERE seq = 1",
    "a payment of another": "UPDATE ledger SET requester = 'bob' WHERE seq = 1",
    "delta less": "UPDATE ledger SET delta = 0 WHERE seq = 2",
    "steps less": "UPDATE ledger_steps SET steps = 1 WHERE sigma = 2.0 AND rate = 0.5",
    "steps with more noise": "UPDATE ledger_steps SET sigma = 3.0",
    "steps gone": "DELETE FROM ledger_steps WHERE rate = 0.25",
    "no word of what left": "DELETE FROM ledger_void",
}


def test_what_was_written_is_read_and_survives_a_restart(store: Store) -> None:
    look(store)
    spent = store.ledger.standing("people").spent
    store = again(store)
    assert store.witness.of("people") is None, "nothing is known without a key"
    store.ring.take("d-1", held())
    store.witness.check("people", "d-1")
    look(store)
    assert store.ledger.standing("people").spent == spent
    tell(store, "bob", b"more")
    assert store.histories.get("people", "@team") == (2, b"more")
    store.close()


@pytest.mark.parametrize("edit", WRITES)
def test_every_row_counts_while_the_key_is_held(store: Store, edit: str) -> None:
    write(store, WRITES[edit])
    assert code(lambda: look(store)) == CHANGED
    assert code(lambda: store.witness.check("people", "d-1")) == CHANGED


@pytest.mark.parametrize("edit", WRITES)
def test_every_row_counts_after_a_restart(store: Store, edit: str) -> None:
    store.close()
    write(store, WRITES[edit])
    store = Store.open(store.directory, 2000.0)
    store.ring.take("d-1", held())
    assert code(lambda: store.witness.check("people", "d-1")) == CHANGED
    assert code(lambda: store.audiences.of("people", "zoe")) == CHANGED, "as a whole: no row by itself is believed"
    store.close()


def test_nothing_is_written_over_rows_that_were_changed(store: Store) -> None:
    write(store, "DELETE FROM histories WHERE audience = 'carol'")
    assert code(lambda: store.histories.put("people", "carol", b"new", expected=0, now=5.0)) == CHANGED
    write(store, "DELETE FROM ledger WHERE seq = 1")
    assert code(lambda: pay(store)) == CHANGED
    write(store, "DELETE FROM audiences WHERE identity = 'bob'")
    assert code(lambda: store.audiences.place("people", (TEAM,))) == CHANGED


def test_the_number_itself_cannot_be_made(store: Store) -> None:
    """Gone, another domain's, of no key at all; and an older one is known to be older while the process lives."""
    add(store, "d-2", "others")
    (first,) = store.database.row("SELECT sealed FROM witnesses WHERE unit_domain = 'people'")
    pay(store)
    write(store, "UPDATE witnesses SET sealed = ? WHERE unit_domain = 'people'", first)
    store.witness.check("people", "d-1")
    other = "(SELECT sealed FROM witnesses WHERE unit_domain = 'others')"
    for value in (other, "x'c182a5756e64657290a36b6579c400'", "x'80'"):
        store.close()
        write(store, f"UPDATE witnesses SET sealed = {value} WHERE unit_domain = 'people'")
        store = Store.open(store.directory, 2000.0)
        store.ring.take("d-1", held())
        store.ring.take("d-2", held("others"))
        assert code(lambda store=store: store.audiences.of("people", "alice")) == CHANGED
    store.close()


def test_a_change_that_fails_changes_nothing(store: Store) -> None:
    before = store.witness.of("people")

    def fail() -> None:
        with store.transaction():
            store.audiences.place("people", (Group(("rest",), frozenset({"dan", "erna"})),))
            assert store.audiences.of("people", "dan") == "@rest"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.witness.of("people") == before
    assert store.audiences.of("people", "dan") == "dan"
    look(store)


def test_without_the_key_nothing_changes(store: Store) -> None:
    store.ring.drop("d-1")
    assert code(lambda: pay(store)) == code(lambda: tell(store, "alice")) == LOCKED
    assert store.audiences.of("people", "bob") == "@team", "what is known stays known"
    store.ring.take("d-1", held())
    store.witness.check("people", "d-1")
    pay(store)


def test_tables_of_the_same_people_are_known_together(store: Store) -> None:
    add(store, "d-2")
    known = store.witness.of("people")
    assert known is not None and known.members == {"d-1", "d-2"} and len(known.histories) == 3
    store = again(store)
    store.ring.take("d-1", held())
    store.witness.check("people", "d-1")  # nothing can be told yet
    assert code(lambda: store.audiences.of("people", "alice")) == LOCKED
    store.ring.take("d-2", held())
    look(store)
    assert code(lambda: store.witness.check("people", "d-3")) == CHANGED, "none of its tables"
    # one of them goes: what is remembered is under the other's key
    store.ring.retire("d-2")
    store.histories.reseal("people")
    with store.transaction():
        store.datasets.delete("d-2", now=5.0)
        store.witness.leave("people", "d-2")
    store.ring.forget("d-2")
    look(store)
    store = again(store)
    store.ring.take("d-1", held())
    look(store)
    with store.transaction():
        store.datasets.delete("d-1", now=6.0)
        store.witness.leave("people", "d-1")
    store.ring.forget("d-1")
    assert store.witness.of("people") is None
    assert code(lambda: add(store, "d-3")) == LOCKED, "what was told is under a key that is gone, and not forgotten"
    store.ring.forget("d-3")
    add(store, "d-4", "d-4")
    with store.transaction():
        store.datasets.delete("d-4", now=6.0)
        store.witness.leave("d-4", "d-4")
    assert [row[0] for row in store.database.rows("SELECT unit_domain FROM witnesses")] == ["people"]
    store.close()


def test_a_table_that_does_not_go_after_all_leaves_them_as_they_were(store: Store) -> None:
    add(store, "d-2")
    tell(store, "alice", b"of both")
    files = store.database.rows("SELECT audience, file FROM histories ORDER BY audience")

    def fail() -> None:
        store.ring.retire("d-2")
        with store.transaction():
            store.histories.reseal("people")
            store.datasets.delete("d-2", now=5.0)
            store.witness.leave("people", "d-2")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    store.ring.restore("d-2")
    assert store.database.rows("SELECT audience, file FROM histories ORDER BY audience") == files
    look(store)
    pay(store)
    store = again(store)
    store.ring.take("d-1", held())
    assert code(lambda: look(store)) == LOCKED
    store.ring.take("d-2", held())
    store.witness.check("people", "d-2")
    look(store)
    store.close()


def test_what_was_begun_before_a_table_went_is_not_written_under_its_key(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, "d-2")
    commit = SealedWriter.commit

    def and_then(writer: SealedWriter) -> object:
        store.ring.retire("d-2")
        return commit(writer)

    with monkeypatch.context() as patch:
        patch.setattr(SealedWriter, "commit", and_then)
        assert code(lambda: tell(store, "carol")) == "server.history.stale"
    tell(store, "carol")


def test_an_earlier_number_of_fewer_tables_opens_none_that_came_later(store: Store) -> None:
    (before,) = store.database.row("SELECT sealed FROM witnesses")
    add(store, "d-2")
    store.close()
    write(store, "UPDATE witnesses SET sealed = ?", before)
    store = Store.open(store.directory, 2000.0)
    store.ring.take("d-2", held())
    assert code(lambda: store.audiences.of("people", "alice")) == LOCKED
    store.ring.take("d-1", held())
    assert code(lambda: store.witness.check("people", "d-2")) == CHANGED
    store.close()


def test_what_was_there_before_the_first_sealed_table_is_known(tmp_path: Path) -> None:
    with closing(Store.open(tmp_path, 1000.0)) as store:
        store.histories.put("people", "alice", b"before", expected=0, now=1.0)
        pay(store)
        assert store.witness.of("people") is None
        add(store, "d-1")
        assert store.histories.get("people", "alice") == (1, b"before")
        write(store, "DELETE FROM ledger")
        assert code(lambda: store.ledger.standing("people")) == CHANGED


def test_threads_that_read_while_others_write_see_no_change(store: Store) -> None:
    """What is known may be a moment behind what was committed."""
    failed: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                look(store, files=False)
        except BaseException as error:  # noqa: BLE001 - it is looked at below
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(60):
        tell(store, f"user{number % 5}")
        pay(store)
    done.set()
    for thread in threads:
        thread.join()
    assert not failed


def test_other_people_cost_and_know_nothing(store: Store) -> None:
    store.histories.put("plain", "alice", b"told", expected=0, now=1.0)
    write(store, "DELETE FROM histories WHERE unit_domain = 'plain'")
    assert store.histories.get("plain", "alice") == (0, b"")
    assert store.witness.of("plain") is None
