"""Who is in which audience: kept for ever once it has a history, atomic with it, built for stores that have none yet."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from bastion_plan.errors import PolicyError, ServerError
from bastion_policy.model import Policy
from bastion_server.store import Store
from bastion_server.store.audiences import Group, groups
from store_facts import PRIVATE, facts, seal

DOMAIN = "olga/people"


def policy(**audiences: tuple[str, ...]) -> Policy:
    return msgspec.structs.replace(Policy.default(), audiences=audiences or None)


def add(store: Store, name: str, given: Policy, domain: str = DOMAIN) -> None:
    one = facts(f"d-{name}", name, policy=given, unit_domain=domain)
    store.datasets.add(one, PRIVATE, now=1.0, sealed=seal(store.sealed, b"rows"))


def change(store: Store, name: str, given: Policy) -> None:
    store.datasets.set_facts(store.datasets.get(name).facts.with_policy(given), by="olga", now=2.0)


def tell(store: Store, who: str, audience: str | None = None, domain: str = DOMAIN) -> None:
    key = store.audiences.of(domain, who) if audience is None else audience
    number, _ = store.histories.get(domain, key)
    store.histories.put(domain, key, b"history", expected=number, now=1.0, who=who)


def of(store: Store, *people: str) -> list[str]:
    return [store.audiences.of(DOMAIN, who) for who in people]


def test_audiences_of_one_name_or_with_a_common_member_are_one() -> None:
    found = groups([policy(a=("x", "y")), policy(b=("y", "z"), c=("u",)), policy(c=("v",)), policy()])
    assert found == (Group(("a", "b"), frozenset("xyz")), Group(("c",), frozenset("uv")))


def test_each_identity_is_its_own_audience_until_a_policy_says_otherwise(store: Store) -> None:
    assert of(store, "alice", "bob") == ["alice", "bob"]
    store.audiences.place(DOMAIN, groups([policy(team=("alice", "bob"))]))
    assert of(store, "alice", "bob", "carol") == ["@team", "@team", "carol"]
    assert store.audiences.of("olga/others", "alice") == "alice"
    assert store.audiences.with_(DOMAIN, "bob") == ("alice", "bob")
    store.audiences.place(DOMAIN, groups([policy(rest=("bob", "carol"))]))
    assert of(store, "alice", "bob", "carol") == ["alice", "@rest", "@rest"], "nobody was told anything"


def test_who_has_a_history_stays_and_others_join_them(store: Store) -> None:
    tell(store, "alice")
    assert store.audiences.asked(DOMAIN) == {"alice": "alice"}
    store.audiences.place(DOMAIN, groups([policy(team=("alice", "bob"))]))
    assert of(store, "alice", "bob") == ["alice", "alice"]
    store.audiences.place(DOMAIN, ())
    assert of(store, "alice", "bob") == ["alice", "alice"]
    store.audiences.place(DOMAIN, groups([policy(crew=("bob", "carol"))]))
    assert of(store, "alice", "bob", "carol") == ["alice", "alice", "alice"]


def test_another_audience_of_a_name_that_has_a_history_is_another_one(store: Store) -> None:
    store.audiences.place(DOMAIN, groups([policy(team=("alice", "bob"))]))
    tell(store, "alice")
    store.audiences.place(DOMAIN, groups([policy(crew=("alice", "bob"), team=("carol", "dan"))]))
    assert of(store, "alice", "carol", "dan") == ["@team", "@team#2", "@team#2"]


def test_a_history_is_kept_only_as_that_of_the_audience_of_that_moment(store: Store) -> None:
    before = store.audiences.of(DOMAIN, "alice")
    store.audiences.place(DOMAIN, groups([policy(team=("alice", "bob"))]))
    with pytest.raises(ServerError) as stale:
        tell(store, "alice", before)
    assert stale.value.code == "server.history.stale"
    assert store.histories.audiences(DOMAIN) == ()
    with pytest.raises(ServerError):
        tell(store, "carol", "@team")
    tell(store, "bob")
    assert store.histories.audiences(DOMAIN) == ("@team",)


def test_the_database_itself_moves_nobody_who_has_a_history(store: Store) -> None:
    store.audiences.place(DOMAIN, groups([policy(team=("alice", "bob"))]))
    tell(store, "alice")
    for statement in ("UPDATE audiences SET audience = 'bob' WHERE identity = 'bob'", "DELETE FROM audiences"):
        with pytest.raises(sqlite3.IntegrityError), store.database.transaction() as connection:
            connection.execute(statement)
    assert of(store, "alice", "bob") == ["@team", "@team"]


def test_it_survives_a_restart_and_goes_with_a_deleted_table_of_its_own_people(tmp_path: Path) -> None:
    store = Store.open(tmp_path, 1000.0)
    for name in ("own", "shared"):
        add(store, name, policy(team=("alice", "bob")), "d-own" if name == "own" else DOMAIN)
    for domain in ("d-own", DOMAIN):
        store.audiences.place(domain, groups([policy(team=("alice", "bob"))]))
        tell(store, "alice", domain=domain)
    store.datasets.delete("d-own", now=2.0)
    store.datasets.delete("d-shared", now=2.0)
    store.close()
    store = Store.open(tmp_path, 2000.0)
    assert store.audiences.of("d-own", "bob") == "bob"
    assert of(store, "alice", "bob") == ["@team", "@team"], "other tables of these people may come"
    store.close()


# -- stores of an earlier release


def earlier(folder: Path, make: Callable[[Store], None]) -> Store:
    """Return a store, opened, that a release without the table made."""
    store = Store.open(folder, 1000.0)
    make(store)
    with store.database.transaction() as connection:
        fits = ("run_datasets", "run_charges", "run_files", "run_metrics", "runs", "models", "split_keys", "ledger_steps", "witnesses")
        for table in ("audiences", "grant_revocations", "asked", "identities", *fits):  # this one, and those of later releases
            connection.execute(f"DROP TABLE {table}")
        connection.execute("ALTER TABLE datasets DROP COLUMN owner_sealed")
        connection.execute("ALTER TABLE requests DROP COLUMN model")
        connection.execute("PRAGMA user_version=6")
    store.close()
    return Store.open(folder, 2000.0)


def keep(store: Store, *keys: str) -> None:
    """Keep histories as an earlier release did: by the name that the policy of then gave."""
    for key in keys:
        if key[:1] == "@":
            with store.database.transaction() as connection:
                connection.execute("INSERT OR REPLACE INTO audiences VALUES (?, ?, ?)", (DOMAIN, f"of {key}", key))
        store.histories.put(DOMAIN, key, b"history", expected=0, now=1.0, who=f"of {key}" if key[:1] == "@" else key)


def test_an_earlier_store_forgets_nothing(tmp_path: Path) -> None:
    def make(store: Store) -> None:
        add(store, "people", policy(team=("alice", "bob"), rest=("dan", "erna")))
        add(store, "again", policy(quiet=("fritz", "gerd")))
        keep(store, "@team", "carol", "dan")
        change(store, "people", policy(team=("alice", "bob", "hans"), rest=("dan", "erna")))

    store = earlier(tmp_path, make)
    people = ("alice", "bob", "hans", "carol", "dan", "erna", "fritz", "gerd", "ida")
    expected = ["@team", "@team", "@team", "carol", "dan", "dan", "@quiet", "@quiet", "ida"]
    assert of(store, *people) == expected
    assert store.histories.get(DOMAIN, "@team") == (1, b"history")
    store.close()
    store = Store.open(tmp_path, 3000.0)
    assert of(store, *people) == expected
    store.close()


def test_who_left_an_audience_in_an_earlier_store_still_shares_its_history(tmp_path: Path) -> None:
    def make(store: Store) -> None:
        add(store, "people", policy(team=("alice", "bob")))
        keep(store, "@team")
        change(store, "people", policy())

    store = earlier(tmp_path, make)
    assert of(store, "alice", "bob") == ["@team", "@team"]
    store.close()


def test_who_has_two_histories_in_an_earlier_store_is_told_nothing_more(tmp_path: Path) -> None:
    def make(store: Store) -> None:
        add(store, "people", policy())
        keep(store, "alice")
        change(store, "people", policy(team=("alice", "bob")))
        keep(store, "@team")

    store = earlier(tmp_path, make)
    with pytest.raises(PolicyError) as caught:
        store.audiences.check_one(DOMAIN, "alice")
    assert caught.value.code == "policy.audience"
    assert "two histories" in caught.value.message
    assert "another unit domain" in caught.value.next_step
    store.audiences.check_one(DOMAIN, "bob")
    assert of(store, "bob") == ["@team"], "he has one"
    assert store.audiences.of("olga/others", "alice") == "alice"
    store.audiences.place(DOMAIN, ())
    with pytest.raises(PolicyError):
        store.audiences.check_one(DOMAIN, "alice")
    store.close()
