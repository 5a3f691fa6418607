"""A table whose key its owner keeps, on a real server with simulated evidence: sealed, released, queried, taken back, survived."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import nacl.exceptions
import numpy as np
import polars as pl
import pytest
from bastion_plan.errors import AttestationError, BastionError, InputError
from bastion_policy.model import Aggregation, Policy, Review
from bastion_server import start
from bastion_server.process import Handle
from bastion_tee import AttestationPolicy
from bastion_tee.release import Release, seal
from bastion_wire import messages as m
from nacl.public import PrivateKey, SealedBox
from sealed_server import without_triggers

from bastion import Connection, Denied, Identity
from bastion.client.sealed import read_key

pytestmark = pytest.mark.timeout(300)
ALLOWED = AttestationPolicy(unattested=True)
#: a word that stands in the rows alone
MARK = "Zyxwhollyunseen"


def people(count: int = 200) -> pl.DataFrame:
    rng = np.random.default_rng(5)
    return pl.DataFrame(
        {
            "id": [f"{MARK}{i}" for i in range(count)],
            "town": rng.choice(["a", "b"], count),
            "pay": rng.integers(1_000, 9_000, count).astype(float),
        }
    )


def guarded() -> Policy:
    return Policy(Aggregation(10), Review(), unit="id", unit_domain="staff")


@dataclass
class Place:
    """One server that shows evidence, its owner and a scientist, who come anew after each start."""

    folder: Path
    olga: Identity
    alice: Identity
    server: Handle = field(init=False)
    owner: Connection = field(init=False)
    user: Connection = field(init=False)

    def up(self) -> None:
        self.server = start(self.folder, owners=[self.olga], users=[self.alice], attest="simulated")
        self.owner, self.user = self.connect(self.olga), self.connect(self.alice)

    def connect(self, who: Identity, attestation: AttestationPolicy | None = ALLOWED) -> Connection:
        return Connection(
            self.server.endpoint, identity=who, server_key=self.server.server_key, attestation=attestation
        )

    def down(self) -> None:
        self.owner.close()
        self.user.close()
        self.server.stop()

    def mean(self) -> pl.DataFrame:
        return (
            self.user.client.polars.get_df("staff")
            .group_by("town")
            .agg(pl.col("pay").mean())
            .sort("town")
            .collect()
            .fetch()
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("sealed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BASTION_SEALED", str(folder / "keys"))
        found = Place(folder / "server", Identity.create("olga"), Identity.create("alice"))
        found.up()
        found.owner.client.polars.send_df(people(), guarded(), name="staff", sealed=True)
        yield found
        found.down()


def code_of(work: object) -> str:
    with pytest.raises(BastionError) as caught:
        work()  # type: ignore[operator]
    return caught.value.code


def test_a_sealed_table_is_queried_as_another(place: Place) -> None:
    truth = people().group_by("town").agg(pl.col("pay").mean()).sort("town")
    assert place.mean()["pay"].to_list() == pytest.approx(truth["pay"].to_list())
    card = next(d for d in place.owner._datasets.values() if d.facts.name == "staff")
    assert card.sealed == "open"


def test_nothing_on_the_disk_opens_without_the_key(place: Place) -> None:
    """What the operator has: every file of the server, its own keys among them."""
    place.mean()
    folder = place.folder
    assert not [path for path in folder.rglob("*") if path.is_file() and MARK.encode() in path.read_bytes()]
    keys = json.loads((folder / "server.key").read_text())
    box = SealedBox(PrivateKey(base64.b64decode(keys["box"])))
    with sqlite3.connect(f"file:{folder / 'catalogue.db'}?mode=ro", uri=True) as database:
        wrapped = [
            key for (key,) in database.execute("SELECT wrapped_key FROM dataset_versions WHERE file IS NOT NULL")
        ]
        wrapped += [key for (key,) in database.execute("SELECT wrapped_key FROM histories")]
        (measured,) = database.execute("SELECT private FROM dataset_versions WHERE private IS NOT NULL").fetchone()
    assert len(wrapped) >= 2  # the table, and what is remembered of its answers
    for key in wrapped:
        with pytest.raises((nacl.exceptions.CryptoError, ValueError)):
            box.decrypt(key)
    assert b"pay" not in measured
    secret = next((folder.parent / "keys").glob("*.datakey")).read_text().split('key = "')[1][:64]
    held = [
        p
        for p in folder.rglob("*")
        if p.is_file() and (secret.encode() in (d := p.read_bytes()) or bytes.fromhex(secret) in d)
    ]
    assert not held


def test_it_survives_a_restart_only_through_a_new_release(place: Place) -> None:
    before = place.mean()
    place.down()
    place.up()
    assert place.user.client.polars.get_df("staff").columns == ["id", "town", "pay"]
    assert code_of(place.mean) == "server.locked"
    assert code_of(lambda: place.owner.set_policy("staff", Policy.open())) == "server.locked"
    card = place.owner.release_key("staff")
    assert card.sealed == "open"
    assert place.mean().equals(before)


def test_it_can_be_taken_back(place: Place) -> None:
    place.mean()
    assert place.owner.revoke_key("staff").sealed == "locked"
    assert code_of(place.mean) == "server.locked"
    place.owner.release_key("staff")
    place.mean()


def test_who_changes_the_catalogue_opens_nothing(place: Place) -> None:
    """The operator writes another policy, or another reader, into the server's database."""
    database = sqlite3.connect(place.folder / "catalogue.db")
    identifier = place.owner.client.polars.get_df("staff").plan.dataset
    try:
        with database:
            database.execute("INSERT INTO dataset_allow VALUES (?, 'mallory')", (identifier,))
        assert code_of(place.mean) == "tee.release.decided"
        place.owner.revoke_key("staff")
        assert code_of(lambda: place.owner.release_key("staff")) == "tee.release.decided"
    finally:
        with database:
            database.execute("DELETE FROM dataset_allow WHERE identity = 'mallory'")
        database.close()
    place.owner.release_key("staff")
    place.mean()


def test_a_changed_policy_is_remembered_by_its_owner(place: Place) -> None:
    place.owner.set_policy("staff", guarded(), allow=["alice"])
    place.mean()
    place.down()
    place.up()
    place.owner.release_key("staff")
    place.mean()
    place.owner.set_policy("staff", allow=["*"])


def test_what_was_approved_is_sealed_as_well(place: Place) -> None:
    frame = place.user.client.polars.get_df("staff").select("pay").head(3)
    with pytest.raises(Denied) as caught:
        frame.collect().fetch()
    request = caught.value.request("to look")
    place.owner.approve(request.id, until=time.time() + 3600)
    shown = request.wait(30)
    assert shown.height == 3
    with sqlite3.connect(f"file:{place.folder / 'catalogue.db'}?mode=ro", uri=True) as database:
        (wrapped,) = database.execute("SELECT wrapped_key FROM results").fetchone()
    keys = json.loads((place.folder / "server.key").read_text())
    with pytest.raises((nacl.exceptions.CryptoError, ValueError)):
        SealedBox(PrivateKey(base64.b64decode(keys["box"]))).decrypt(wrapped)
    again = place.user.client.polars.get_df("staff").select("pay").head(3)
    assert again.collect().fetch().equals(shown)
    place.down()
    place.up()
    again = place.user.client.polars.get_df("staff").select("pay").head(3)
    assert code_of(lambda: again.collect().fetch()) == "server.locked"
    place.owner.release_key("staff")
    # the server's disk says that it was approved, and this process has not heard so from the owner
    assert code_of(lambda: again.collect().fetch()).startswith("denied")


def test_approvals_that_the_disk_alone_knows_of_count_nothing(place: Place) -> None:
    """The operator gives alice's approval to mallory's reader, lets a run be read, and makes one for once last."""
    frame = place.user.client.polars.get_df("staff").select("town").head(2)

    def asked() -> str:
        with pytest.raises(Denied) as caught:
            frame.collect().fetch()
        return str(caught.value.request("to look").id)

    first = asked()
    place.owner.approve(first, may_read=False)
    assert code_of(lambda: frame.collect().fetch()).startswith("denied")
    with without_triggers(place.folder / "catalogue.db") as database:
        database.execute("UPDATE request_owners SET may_read = 1 WHERE request = ?", (first,))
    assert code_of(lambda: frame.collect().fetch()).startswith("denied")
    place.owner.revoke(first)
    second = asked()
    with closing(sqlite3.connect(place.folder / "catalogue.db")) as database, database:
        (binding, plan_hash) = database.execute(
            "SELECT binding, plan_hash FROM requests WHERE id = ?", (second,)
        ).fetchone()
        database.execute(
            "UPDATE request_owners SET decision = 'approve', may_run = 1, may_read = 1 WHERE request = ?", (second,)
        )
        database.execute("UPDATE requests SET state = 'approved' WHERE id = ?", (second,))
        database.execute(
            "INSERT INTO grants VALUES ('g-forged', ?, 'alice', ?, ?, 1, 1, 0, ?, ?, '', 0, 0)",
            (second, plan_hash, binding, time.time() + 9e4, time.time()),
        )
    assert code_of(lambda: frame.collect().fetch()).startswith("denied")


def test_an_approval_that_was_taken_back_stays_so_whatever_the_disk_says(place: Place) -> None:
    frame = place.user.client.polars.get_df("staff").select("pay").head(1)
    with pytest.raises(Denied) as caught:
        frame.collect().fetch()
    request = caught.value.request("to look")
    place.owner.approve(request.id, until=time.time() + 3600)
    assert request.wait(30).height == 1
    for decision in ("deny", "withhold", "revoke"):  # who may not decide ends nothing by it
        said = m.Decide(request.id, decision, "no", 0.0, False, False, b"no signature")
        assert code_of(lambda said=said: place.user._run(place.user._ask(said))).startswith(
            ("wire.auth", "input", "missing")
        )
    assert frame.collect().fetch().height == 1
    place.owner.revoke(request.id)
    with without_triggers(place.folder / "catalogue.db") as database:
        database.execute("UPDATE grants SET ended = '', ended_at = 0 WHERE request = ?", (request.id,))
    assert code_of(lambda: frame.collect().fetch()).startswith("denied")


def test_an_approved_result_goes_to_no_other_approval(place: Place) -> None:
    requests = []
    for words in ("pay", "town"):
        frame = place.user.client.polars.get_df("staff").select(words).head(2)
        with pytest.raises(Denied) as caught:
            frame.collect().fetch()
        requests.append((caught.value.request("to look"), frame))
        place.owner.approve(requests[-1][0].id, until=time.time() + 3600)
        assert requests[-1][0].wait(30).columns == [words]
    with closing(sqlite3.connect(place.folder / "catalogue.db")) as database, database:
        grants = [
            database.execute("SELECT id FROM grants WHERE request = ? AND ended = ''", (r.id,)).fetchone()[0]
            for r, _ in requests
        ]
        pay = database.execute(
            "SELECT file, wrapped_key, size, sha256 FROM results WHERE grant_id = ?", grants[:1]
        ).fetchone()
        database.execute(
            "UPDATE results SET file = ?, wrapped_key = ?, size = ?, sha256 = ? WHERE grant_id = ?", (*pay, grants[1])
        )
    assert code_of(lambda: requests[1][1].collect().fetch()).startswith("server.")
    for request, _ in requests:
        place.owner.revoke(request.id)


def test_earlier_rows_open_under_no_later_policy(place: Place) -> None:
    place.owner.client.polars.send_df(
        people(40), Policy(Aggregation(10), Review(), unit="id"), name="twice", sealed=True
    )
    identifier = place.owner.client.polars.get_df("twice").plan.dataset
    fields = "file, wrapped_key, size, sha256"
    with closing(sqlite3.connect(place.folder / "catalogue.db")) as database:
        first = database.execute(f"SELECT {fields} FROM dataset_versions WHERE dataset = ?", (identifier,)).fetchone()
    kept = (place.folder / "sealed" / first[0]).read_bytes()
    place.owner.client.polars.send_df(
        people(30), Policy(Aggregation(10), Review(), unit="id"), name="twice", sealed=True, replace=True
    )
    place.down()
    (place.folder / "sealed" / first[0]).write_bytes(kept)
    with closing(sqlite3.connect(place.folder / "catalogue.db")) as database, database:
        database.execute(
            "UPDATE dataset_versions SET file = ?, wrapped_key = ?, size = ?, sha256 = ? WHERE dataset = ? AND version = 2",
            (*first, identifier),
        )
    place.up()
    assert code_of(lambda: place.owner.release_key("twice")) == "input.sealed.key"
    place.owner.release_key("staff")


def test_a_catalogue_that_calls_the_file_another_datasets_opens_nothing(place: Place) -> None:
    """The operator has the sealed table's file served as a table with an open policy, or takes the mark away."""
    place.mean()
    sealed = place.owner.client.polars.get_df("staff").plan.dataset
    place.owner.client.polars.send_df(people(30), Policy.open(), name="bait", unit="id")
    bait = place.owner.client.polars.get_df("bait").plan.dataset
    with closing(sqlite3.connect(place.folder / "catalogue.db")) as database, database:
        file = database.execute(
            "SELECT file, wrapped_key, size, sha256 FROM dataset_versions WHERE dataset = ? AND file IS NOT NULL",
            (sealed,),
        ).fetchone()
        database.execute(
            "UPDATE dataset_versions SET file = ?, wrapped_key = ?, size = ?, sha256 = ? WHERE dataset = ?",
            (*file, bait),
        )
    place.down()  # what it held in memory of the bait is gone
    place.up()
    assert code_of(lambda: place.user.client.polars.get_df("bait").collect().fetch()).startswith("server.")
    place.owner.release_key("staff")
    assert code_of(lambda: place.user.client.polars.get_df("bait").collect().fetch()).startswith("server.")
    place.mean()
    with closing(sqlite3.connect(place.folder / "catalogue.db")) as database, database:
        database.execute("UPDATE datasets SET owner_sealed = 0 WHERE id = ?", (sealed,))
    assert code_of(place.mean).startswith("server.")
    with closing(sqlite3.connect(place.folder / "catalogue.db")) as database, database:
        database.execute("UPDATE datasets SET owner_sealed = 1 WHERE id = ?", (sealed,))
    place.mean()


def test_no_key_goes_to_a_server_that_proves_nothing(place: Place, tmp_path: Path) -> None:
    with start(tmp_path / "plain", owners=[place.olga]) as plain:
        bare = Connection(plain.endpoint, identity=place.olga, server_key=plain.server_key, attestation=ALLOWED)
        try:
            with pytest.raises(AttestationError) as caught:
                bare.client.polars.send_df(people(20), guarded(), name="staff", sealed=True)
            assert caught.value.code == "tee.release.unattested"
            assert not bare.client.polars.list_dfs()
        finally:
            bare.close()
    unpinned = place.connect(place.olga, None)
    try:
        assert code_of(lambda: unpinned.release_key("staff")) == "tee.release.unattested"
    finally:
        unpinned.close()


def test_a_key_that_is_not_here_cannot_be_released(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASTION_SEALED", str(tmp_path))
    with pytest.raises(InputError) as caught:
        place.owner.release_key("staff")
    assert caught.value.code == "input.sealed.file"
    assert not os.listdir(tmp_path)


def test_a_key_that_others_may_read_is_not_used(place: Place) -> None:
    path = next((place.folder.parent / "keys").glob("*.datakey"))
    assert path.stat().st_mode & 0o077 == 0
    path.chmod(0o644)
    try:
        assert code_of(lambda: read_key(path.stem)) == "input.key-file-mode"
    finally:
        path.chmod(0o600)
    assert read_key(path.stem).name


def test_tables_of_the_same_people_are_all_sealed_and_may_be_deleted(place: Place) -> None:
    with pytest.raises(InputError) as caught:
        place.owner.client.polars.send_df(people(), guarded(), name="other")
    assert caught.value.code == "input.sealed.domain"
    place.owner.client.polars.send_df(people(), guarded(), name="other", sealed=True)
    total = place.user.client.polars.get_df("other").select(pl.col("pay").sum()).collect().fetch()
    before = place.mean()
    place.owner.delete("other")
    assert place.mean().equals(before)
    place.down()
    place.up()
    place.owner.release_key("staff")  # what was told of both is remembered under this key alone
    assert place.mean().equals(before)
    assert total.height == 1


def test_two_owners_of_joined_tables_must_both_have_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASTION_SEALED", str(tmp_path / "keys"))
    olga, oscar, alice = (Identity.create(name) for name in ("olga", "oscar", "alice"))
    policy = Policy(Aggregation(10), Review(), unit="id", profile="default")

    def up() -> tuple[Handle, list[Connection]]:
        server = start(tmp_path / "server", owners=[olga, oscar], users=[alice], attest="simulated")
        return server, [
            Connection(server.endpoint, identity=who, server_key=server.server_key, attestation=ALLOWED)
            for who in (olga, oscar, alice)
        ]

    def down(server: Handle, connections: list[Connection]) -> None:
        for connection in connections:
            connection.close()
        server.stop()

    server, (one, other, user) = up()
    one.client.polars.send_df(people().drop("pay"), policy, name="towns", sealed=True)
    other.client.polars.send_df(people().drop("town"), policy, name="pays", sealed=True)

    def joined() -> pl.DataFrame:
        towns, pays = (user.client.polars.get_df(name) for name in ("towns", "pays"))
        frame = towns.join(pays, on="id").group_by("town").agg(pl.col("pay").sum()).sort("town")
        return frame.collect().fetch()

    truth = people().group_by("town").agg(pl.col("pay").sum()).sort("town")
    assert joined()["pay"].to_list() == pytest.approx(truth["pay"].to_list())
    down(server, [one, other, user])
    server, (one, other, user) = up()
    try:
        assert code_of(joined) == "server.locked"
        one.release_key("towns")
        assert code_of(joined) == "server.locked"
        assert code_of(lambda: one.release_key("pays")) != ""
        other.release_key("pays")
        assert joined()["pay"].to_list() == pytest.approx(truth["pay"].to_list())
        one.revoke_key("towns")
        assert code_of(joined) == "server.locked"
    finally:
        down(server, [one, other, user])


def test_new_rows_come_with_the_same_key(place: Place) -> None:
    place.owner.client.polars.send_df(people(40), guarded(), name="growing", sealed=True)
    place.owner.client.polars.send_df(people(60), guarded(), name="growing", sealed=True, replace=True)
    assert place.user.client.polars.get_df("growing").select(pl.len()).collect().fetch().item() == 60
    with pytest.raises(InputError) as caught:
        place.owner.client.polars.send_df(people(80), guarded(), name="growing", replace=True)
    assert caught.value.code == "input.sealed.kind"
    place.down()
    place.up()
    place.owner.release_key("growing")
    place.owner.release_key("staff")
    assert place.user.client.polars.get_df("growing").select(pl.len()).collect().fetch().item() == 60
    place.owner.delete("growing")


def test_a_release_is_for_one_server_one_dataset_and_a_while(place: Place) -> None:
    """The boxes themselves, by wire: each that is not right is refused with its code, and opens nothing."""
    place.mean()
    identifier = place.owner.client.polars.get_df("staff").plan.dataset
    kept = read_key(identifier)
    attestation = place.owner.attest()
    assert attestation.verdict is not None
    right = Release(
        identifier, kept.key, attestation.verdict.digest, time.time() + 60, place.olga.verify_key, kept.decided
    )

    def send(release: Release, key: bytes = attestation.exchange_key, sealed: bytes | None = None) -> str:
        box = seal(release, key) if sealed is None else sealed
        signed = place.owner._sign(
            {"action": "release_key", "dataset": identifier, "sealed": hashlib.sha256(box).digest()}
        )
        return code_of(lambda: place.owner._run(place.owner._ask(m.ReleaseKey(identifier, box, signed))))

    change = msgspec.structs.replace
    assert send(right, bytes(PrivateKey.generate().public_key)) == "tee.release.sealed"
    assert send(right, sealed=b"x" * 99) == "tee.release.sealed"
    assert send(right, sealed=b"x" * 9999) == "tee.release.sealed"
    assert send(change(right, key=b"short")) == "tee.release.sealed"
    assert send(change(right, dataset="d-other")) == "tee.release.dataset"
    assert send(change(right, owner=place.alice.verify_key)) == "tee.release.owner"
    assert send(change(right, evidence=b"e" * 32)) == "tee.release.evidence"
    assert send(change(right, expires=time.time() - 1)) == "tee.release.expired"
    assert send(change(right, expires=time.time() + 1e6)) == "tee.release.expired"
    assert send(change(right, decided=b"d" * 32)) == "tee.release.decided"
    assert send(change(right, key=b"k" * 32)) == "input.sealed.key"
    place.mean()  # what was open stayed open
    box = seal(right, attestation.exchange_key)
    terms = {"action": "release_key", "dataset": identifier, "sealed": hashlib.sha256(box).digest()}
    body = m.ReleaseKey(identifier, box, place.owner._sign(terms))
    place.owner._run(place.owner._ask(body))
    place.owner.revoke_key("staff")
    assert code_of(lambda: place.owner._run(place.owner._ask(body))) == "wire.auth.replay"
    foreign = m.ReleaseKey(identifier, box, place.user._sign(terms))
    assert code_of(lambda: place.user._run(place.user._ask(foreign))) == "wire.auth.owner"
    assert code_of(place.mean) == "server.locked"
    place.owner.release_key("staff")
    assert "key" not in repr(right)
