"""An operator who writes to the catalogue of a server that holds the keys of sealed tables: each of these attacks once worked."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict

import msgspec
import numpy as np
import polars as pl
import pytest
import zmq
from bastion_plan.errors import InputError
from bastion_policy.history import Past
from bastion_policy.history.encoding import pack_past
from bastion_policy.model import Aggregation, Policy, Review
from bastion_server.store import Shown
from bastion_server.store.keyring import KeyRing
from bastion_server.store.keys import load_or_create
from bastion_server.store.sealed import SealedFiles
from bastion_wire import messages as m
from fit_line import FitLine, linear, rows, spec
from fit_line import people as pupils
from sealed_server import Sealed, code_of
from store_facts import PRIVATE

from bastion import Connection, Denied, Identity
from bastion.client.denied import AccessRequest
from bastion.policy import measure

pytestmark = pytest.mark.timeout(400)
CHANGED = "server.catalogue.changed"
NAMES = ("alice", "bob", "carol", "dan", "eve", "fay", "gus", "hal")
#: how many there are, and the age of one of them alone
COUNT, OLDEST = 200, 99
RESTARTED = {"staff", "noisy", "pupils"}


def people() -> pl.DataFrame:
    rng = np.random.default_rng(5)
    return pl.DataFrame(
        {
            "id": [f"p{i}" for i in range(COUNT)],
            "town": rng.choice(["a", "b"], COUNT),
            "age": [*(20 + np.arange(COUNT - 1) % 60), OLDEST],
            "pay": rng.integers(1_000, 9_000, COUNT).astype(float),
        }
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    folder = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BASTION_SEALED", str(folder / "keys"))
        found = Sealed(folder / "server", Identity.create("olga"), tuple(map(Identity.create, NAMES)))
        found.up()
        send = found.owner.client.polars.send_df
        send(people(), Policy(Aggregation(10), Review(), unit="id", unit_domain="staff"), name="staff", sealed=True)
        noisy = Policy.private(epsilon=2.0, delta=1e-6, unit="id", roles={"id": "identifier", "pay": measure(0, 9_000)})
        send(people(), noisy, name="noisy", sealed=True)
        names = {"id": "identifier", "name": "identifier", "y": "quasi"} | dict.fromkeys("abc", measure(-4, 4))
        send(pupils(), Policy.private(epsilon=8.0, delta=1e-6, unit="id", roles=names), name="pupils", sealed=True)
        yield found
        found.down()


def total(user: Connection, *, younger: bool = False) -> float:
    """The pay of those above 25, or of these but for the oldest: what lies between the two is one person's pay."""
    frame = user.client.polars.get_df("staff").filter(pl.col("age") > 25)
    if younger:
        frame = frame.filter(pl.col("age") < OLDEST)
    return float(frame.select(pl.col("pay").sum()).collect().fetch().item())


def domain(place: Sealed, name: str) -> str:
    card = next(d for d in place.owner._datasets.values() if d.facts.name == name)
    return card.facts.domain


def refused(user: Connection) -> None:
    """The second total is refused, however often it is asked: what was held in memory is read anew after a first refusal."""
    for _ in range(3):
        assert code_of(lambda: total(user, younger=True)) == CHANGED


# -- what was told


EDITS = {
    "another audience": "UPDATE audiences SET audience = 'nobody' WHERE identity = ?",
    "no audience": "DELETE FROM audiences WHERE identity = ?",
    "no history": "DELETE FROM histories WHERE audience = ?",
    "a history of another number": "UPDATE histories SET seq = seq + 1 WHERE audience = ?",
}


@pytest.mark.parametrize(("who", "edit"), [*zip(NAMES, EDITS, strict=False)])
def test_what_was_told_is_not_forgotten(place: Sealed, who: str, edit: str) -> None:
    user = place.user(who)
    told = total(user)
    with place.written("audiences", "histories"):
        assert place.write(EDITS[edit], (who,)) == 1
        refused(user)
    assert total(user, younger=True) == told, "as it was before: answered as who was answered"


def test_an_earlier_history_is_none(place: Sealed) -> None:
    """The row and the file of a day before."""
    user = place.user("eve")
    user.client.polars.get_df("staff").group_by("town").agg(pl.len()).collect().fetch()
    (earlier,) = place.rows("SELECT file, wrapped_key, size, sha256, seq FROM histories WHERE audience = 'eve'")
    file = place.folder / "sealed" / earlier[0]
    shutil.copy(file, place.folder.parent / "kept")
    total(user)
    with place.written("histories"):
        shutil.copy(place.folder.parent / "kept", file)
        put = "UPDATE histories SET file = ?, wrapped_key = ?, size = ?, sha256 = ?, seq = ? WHERE audience = 'eve'"
        assert place.write(put, earlier) == 1
        refused(user)


def test_a_history_of_the_operators_own_is_none(place: Sealed) -> None:
    """An empty one, sealed with the server's own key, which lies on the disk."""
    user = place.user("fay")
    total(user)
    with SealedFiles(place.folder / "sealed", KeyRing(load_or_create(place.folder))).writer((), "history") as writer:
        writer.write(pack_past(Past()))
        forged = writer.commit()
    with place.written("histories"):
        put = "UPDATE histories SET file = ?, wrapped_key = ?, size = ?, sha256 = ? WHERE audience = 'fay'"
        assert place.write(put, (forged.name, forged.wrapped_key, forged.size, forged.sha256)) == 1
        refused(user)


def test_what_was_changed_while_no_key_was_held_opens_nothing(place: Sealed) -> None:
    """Between a stop and a release: each table that the answers about people depend on, and the number that stands for them."""
    user = place.user("gus")
    told = total(user)
    edits = {
        "histories": "DELETE FROM histories WHERE audience = 'gus'",
        "audiences": "UPDATE audiences SET audience = 'nobody' WHERE identity = 'gus'",
        "ledger": "INSERT INTO ledger SELECT 'olga/staff', 1, 0, 0, 0, 'x', 'gus', 0",
        "ledger_void": "DELETE FROM ledger_void",
        "witnesses": "DELETE FROM witnesses",
    }
    place.down()
    try:
        for table, edit in edits.items():
            with place.written(table):
                if table == "witnesses":
                    place.write(edit)
                    place.up()
                    assert code_of(lambda: place.owner.release_key("staff")) == CHANGED
                    assert code_of(lambda: total(place.user("gus"))) == "server.locked"
                    place.down()
    finally:
        place.up()
    for table, edit in edits.items():
        with place.written(table):
            place.write(edit)
            if table != "ledger_void" or place.rows("SELECT 1 FROM ledger_void"):
                assert code_of(lambda: place.owner.release_key("staff")) == CHANGED, table
    assert any("gave up the key of staff" in r.summary and r.red for r in place.owner.audit(dataset="staff"))
    for name in RESTARTED:
        place.owner.release_key(name)
    assert total(place.user("gus"), younger=True) == told


def test_another_table_of_the_same_people_cannot_be_made_away_with(place: Sealed) -> None:
    policy = Policy(Aggregation(10), Review(), unit="id", unit_domain="staff")
    place.owner.client.polars.send_df(people(), policy, name="kin", sealed=True)
    total(place.user("hal"))
    with place.written("datasets"):
        assert place.write("UPDATE datasets SET deleted = 1 WHERE name = 'kin'") == 1
        assert code_of(lambda: total(place.user("hal"))) == CHANGED
    total(place.user("hal"))
    place.owner.revoke_key("kin")
    assert code_of(lambda: total(place.user("hal"))) == "server.locked"
    place.owner.release_key("kin")
    place.owner.delete("kin")
    total(place.user("hal"))
    # with the last of its people, what is remembered of them opens for nobody, and is not forgotten
    lonely = msgspec.structs.replace(policy, unit_domain="lonely")

    def send() -> object:
        return place.owner.client.polars.send_df(people(), lonely, name="late", sealed=True)

    for asks in (False, True):
        send()
        if asks:
            place.user("hal").client.polars.get_df("late").select(pl.col("pay").sum()).collect().fetch()
        place.owner.delete("late")
    assert code_of(send) == "input.sealed.domain"


# -- what decides while it is written down


def test_a_trigger_decides_nothing(place: Sealed) -> None:
    """It would write within the server's own transactions: another policy, another access list, another plan that is approved."""
    ((request, _),) = asked(place, "bob", "town")
    staff = id_of(place, "staff")
    triggers = (
        f"CREATE TRIGGER x AFTER INSERT ON dataset_allow WHEN NEW.dataset = '{staff}' BEGIN"
        " INSERT OR IGNORE INTO dataset_allow VALUES (NEW.dataset, 'mallory'); END",
        f"CREATE TRIGGER x AFTER UPDATE OF state ON requests WHEN NEW.id = '{request.id}' BEGIN"
        " UPDATE requests SET decided_by = 'mallory' WHERE id = NEW.id; END",
    )
    works = (lambda: place.owner.set_policy("staff", allow=["bob"]), lambda: place.owner.approve(request.id))
    for trigger, work in zip(triggers, works, strict=True):
        with closing(sqlite3.connect(place.catalogue, timeout=30)) as database:
            database.execute(trigger)
        try:
            assert code_of(work) == CHANGED
        finally:
            with closing(sqlite3.connect(place.catalogue, timeout=30)) as database:
                database.execute("DROP TRIGGER x")
    assert {who for (who,) in place.rows("SELECT identity FROM dataset_allow WHERE dataset = ?", (staff,))} == {"*"}
    place.owner.approve(request.id)
    assert request.wait(30).columns == ["town"]
    place.owner.set_policy("staff", allow=["*"])


# -- what was measured


FORGED = msgspec.msgpack.encode(asdict(PRIVATE))
FACTS = {
    "called unsealed": "UPDATE datasets SET owner_sealed = 0 WHERE id = ?1",
    "of the operator's own": "UPDATE dataset_versions SET private = ?2 WHERE dataset = ?1",
    "of the operator's own, called unsealed": "UPDATE dataset_versions SET private = ?2 WHERE dataset = ?1",
    "none": "UPDATE dataset_versions SET private = NULL WHERE dataset = ?1",
    "of another table": "UPDATE dataset_versions SET private = (SELECT private FROM dataset_versions WHERE dataset <> ?1) WHERE dataset = ?1",
    "of no table": "UPDATE datasets SET kind = 'saved' WHERE id = ?1",
    "of another version": "UPDATE datasets SET version = version + 1 WHERE id = ?1",
}


@pytest.mark.parametrize("edit", FACTS)
def test_measured_facts_are_those_that_were_measured(place: Sealed, edit: str) -> None:
    """Who is alike, how many people there are: the judge asks. That the table is sealed is told by its key, not by its mark."""
    user, staff = place.user("alice"), id_of(place, "staff")
    told = total(user)
    with place.written("datasets", "dataset_versions"):
        values = (staff, FORGED) if "?2" in FACTS[edit] else (staff,)
        assert place.write(FACTS[edit], values) == 1
        if "," in edit:
            place.write("UPDATE datasets SET owner_sealed = 0 WHERE id = ?", (staff,))
        if "version = version" in FACTS[edit]:
            place.write("UPDATE dataset_versions SET version = version + 1 WHERE dataset = ?", (staff,))
        assert code_of(lambda: total(user)) == CHANGED
    assert total(user) == told


def test_an_owner_takes_a_key_back_whatever_the_catalogue_says(place: Sealed) -> None:
    told = total(place.user("alice"))
    with place.written("datasets"):
        place.write("UPDATE datasets SET owner_sealed = 0 WHERE id = ?", (id_of(place, "staff"),))
        assert code_of(lambda: place.owner.revoke_key("staff")) == CHANGED
    assert code_of(lambda: total(place.user("alice"))) == "server.locked"
    place.owner.release_key("staff")
    assert total(place.user("alice")) == told


class Under(msgspec.Struct):
    under: tuple[str, ...]
    key: bytes


def test_a_deletion_that_fails_leaves_everything_under_the_keys_it_was_under(place: Sealed) -> None:
    policy = Policy(Aggregation(10), Review(), unit="id", unit_domain="pair")
    for name in ("one", "two"):
        place.owner.client.polars.send_df(people(), policy, name=name, sealed=True)
    frame = place.user("alice").client.polars.get_df("one").select(pl.col("pay").sum())
    told = frame.collect().fetch()
    both = {id_of(place, name) for name in ("one", "two")}
    found = "SELECT wrapped_key FROM histories WHERE unit_domain = 'olga/pair' ORDER BY audience"
    before = place.rows(found)
    assert [set(msgspec.msgpack.decode(key, type=Under).under) for (key,) in before] == [both] * 2

    def delete(signed: bytes) -> object:
        return place.owner._run(place.owner._ask(m.Delete(id_of(place, "one"), signed)))

    assert code_of(lambda: delete(b"not a signature")) == "wire.auth.signature"
    assert place.rows(found) == before
    assert frame.collect().fetch().equals(told)
    for (key,) in place.rows(found):
        assert set(msgspec.msgpack.decode(key, type=Under).under) == both
    place.owner.delete("one")
    after = place.rows(found)
    assert [set(msgspec.msgpack.decode(key, type=Under).under) for (key,) in after] == [{id_of(place, "two")}] * 2
    frame = place.user("alice").client.polars.get_df("two").select(pl.col("pay").sum())
    assert frame.collect().fetch().equals(told)
    place.owner.delete("two")


# -- budgets and answers with noise


def noisy_total(user: Connection, above: int, epsilon: float) -> float:
    frame = user.client.polars.get_df("noisy").filter(pl.col("pay") > above)
    return float(frame.select(pl.col("pay").sum()).collect().fetch(epsilon=epsilon).item())


def test_a_budget_that_was_spent_stays_spent(place: Sealed) -> None:
    user, people = place.user("alice"), domain(place, "noisy")
    noisy_total(user, 1, 1.5)
    assert code_of(lambda: noisy_total(user, 2, 1.5)) == "denied.guard.budget.spent"
    for edit in ("DELETE FROM ledger WHERE unit_domain = ?", "UPDATE ledger SET rho = 0 WHERE unit_domain = ?"):
        with place.written("ledger"):
            assert place.write(edit, (people,))
            assert code_of(lambda: noisy_total(user, 2, 1.5)) == CHANGED
    assert code_of(lambda: noisy_total(user, 2, 1.5)) == "denied.guard.budget.spent"
    assert "noisy" in place.user("alice").budget()["datasets"].to_list()


def test_answers_with_noise_are_read_by_nobody_else(place: Sealed) -> None:
    answer = noisy_total(place.user("alice"), 100, 0.1)
    found = place.rows("SELECT data, note FROM noisy_answers")
    assert found
    for data, note in found:
        assert data[:1] == note[:1] == b"\xc1" and b"Noise was added" not in note
        assert msgspec.msgpack.encode(answer) not in data
    assert noisy_total(place.user("alice"), 100, 0.1) == answer, "it is the same again, for who may ask"
    with place.written("noisy_answers"):  # as one that cost more, or about other versions
        assert place.write("UPDATE noisy_answers SET epsilon = 1.9 WHERE epsilon = 0.1")
        assert code_of(lambda: noisy_total(place.user("alice"), 100, 0.1)) == CHANGED


def test_a_fit_is_what_was_paid_for(place: Sealed) -> None:
    """Steps that count as paid, and less noise than was paid for."""
    context: zmq.Context[object] = zmq.Context()
    line = FitLine(context, place.server, next(who for who in place.people if who.name == "alice"))
    try:
        plan = rows(place.owner.client.polars.get_df("pupils").plan.dataset)
        run = line.done(plan, spec(), line.model(linear()))
        assert run.state == "done" and run.losses
        line.ask(m.TestRun(run.id, "accuracy", epsilon=0.5))
        ((losses, answer),) = place.rows("SELECT losses, answer FROM runs JOIN run_metrics ON run = id")
        assert losses[:1] == answer[:1] == b"\xc1" and b"accuracy" not in answer
        info = line.get(run.id)
        assert info.losses == run.losses and "accuracy" in info.metrics
        for edit in ("credit = 5000", "sigma = 0.001", "paid = 1", "delta = 0.5"):
            with place.written("runs"):
                assert place.write(f"UPDATE runs SET {edit}") == 1
                assert line.ask(m.ResumeRun(run.id, 5, 8.0)).code == CHANGED, edit
                (listed,) = line.ask(m.ListRuns()).runs
                assert (listed.state, listed.code, listed.losses) == ("failed", CHANGED, ())
    finally:
        line.socket.close()
        context.destroy(linger=0)


# -- what an owner is shown


def asked(place: Sealed, who: str, *words: str) -> list[tuple[AccessRequest, object]]:
    """File requests for single columns."""
    found = []
    for word in words:
        frame = place.user(who).client.polars.get_df("staff").select(word).head(3)
        with pytest.raises(Denied) as caught:
            frame.collect().fetch()
        found.append((caught.value.request("to look"), frame.collect()))
    return found


def test_an_owner_is_shown_what_they_sign(place: Sealed) -> None:
    """The scientist asks for something harmless, and the operator has the hash of something else signed."""
    (harmless, _), (wanted, frame) = asked(place, "bob", "town", "pay")
    shown = place.owner.request(harmless.id).info
    assert "town" in shown.code and shown.figures
    wanted.withdraw()
    edits = {
        "plan_hash = (SELECT plan_hash FROM requests WHERE id = ?2)": wanted.id,
        "plan_hash = (SELECT plan_hash FROM requests WHERE id = ?2), plan = (SELECT plan FROM requests WHERE id = ?2)": wanted.id,
        "reason = ?2": "an audit",
        "requester = ?2": "carol",
        "shown = ?2": msgspec.msgpack.encode(Shown(code=shown.code, words="The number of towns.")),
        "shown = (SELECT shown FROM requests WHERE id = ?2)": wanted.id,
    }
    for edit, value in edits.items():
        with place.written("requests"):
            assert place.write(f"UPDATE requests SET {edit} WHERE id = ?1", (harmless.id, value)) == 1
            now = place.owner.request(harmless.id).info
            assert "not what this server wrote" in now.words and not now.code and not now.figures, edit
            assert code_of(lambda: place.owner.approve(harmless.id)) in (CHANGED, "input.request.hash"), edit
            assert code_of(lambda: place.owner.approve(now_request(place, harmless.id))) in (
                CHANGED,
                "input.request.hash",
            )
    assert b"town" not in place.rows("SELECT shown FROM requests WHERE id = ?", (harmless.id,))[0][0]
    place.owner.approve(harmless.id)
    assert harmless.wait(30).columns == ["town"]
    with pytest.raises(Denied):
        frame.fetch()


def id_of(place: Sealed, name: str) -> str:
    return str(place.rows("SELECT id FROM datasets WHERE name = ? AND deleted IS NULL", (name,))[0][0])


def now_request(place: Sealed, request: str) -> AccessRequest:
    return place.owner.request(request)


def test_an_approval_gives_one_table_whatever_the_disk_forgets(place: Sealed) -> None:
    """A sample that is drawn anew for each fetch would be more than what was approved."""
    ((request, frame),) = asked(place, "hal", "town")
    place.owner.approve(request.id, until=time.time() + 3600)
    first = request.wait(30)
    with place.written("results"):
        assert place.write("DELETE FROM results") >= 1
        assert code_of(frame.fetch) == CHANGED
    assert frame.fetch().equals(first)
    place.owner.revoke(request.id)


def test_the_owners_client_works_the_hash_out_itself(place: Sealed) -> None:
    ((request, _),) = asked(place, "carol", "town")
    info = place.owner.request(request.id).info
    other = msgspec.structs.replace(info, plan_hash="0" * 64)
    with pytest.raises(InputError) as caught:
        place.owner.approve(AccessRequest(other, place.owner))
    assert caught.value.code == "input.request.hash"
    place.owner.deny(AccessRequest(info, place.owner), "no")


def test_a_request_that_cannot_be_opened_cannot_be_approved(place: Sealed) -> None:
    """The owner takes the key back; then the operator calls the table unsealed, and has something else shown until it is released."""
    (request, frame), (other, _) = asked(place, "dan", "pay", "town")
    info = place.owner.request(other.id).info
    place.owner.revoke_key("staff")
    assert "sealed" in place.owner.request(request.id).info.words
    assert code_of(lambda: place.owner.approve(request.id)) == "server.locked"
    place.down()
    shown = msgspec.msgpack.encode(Shown(code=info.code, words=info.words))
    with place.written("datasets", "dataset_versions"):
        place.write("UPDATE datasets SET owner_sealed = 0 WHERE name = 'staff'")
        forged = msgspec.msgpack.encode(asdict(PRIVATE))
        place.write("UPDATE dataset_versions SET private = ? WHERE dataset = ?", (forged, id_of(place, "staff")))
        place.write("UPDATE requests SET shown = ? WHERE id = ?", (shown, request.id))
        place.up()
        assert place.owner.request(request.id).info.code == info.code
        place.owner.approve(request.id, until=time.time() + 3600)
    for name in RESTARTED:
        place.owner.release_key(name)
    frame = place.user("dan").client.polars.get_df("staff").select("pay").head(3)
    assert code_of(lambda: frame.collect().fetch()).startswith("denied")


def test_tables_that_are_not_sealed_have_no_witness(place: Sealed) -> None:
    place.owner.client.polars.send_df(people(), Policy(Aggregation(10), Review(), unit="id"), name="plain")
    user = place.user("alice")
    user.client.polars.get_df("plain").select(pl.col("pay").sum()).collect().fetch()
    with closing(sqlite3.connect(place.catalogue)) as database:
        found = {name for (name,) in database.execute("SELECT unit_domain FROM witnesses")}
    assert found - {"olga/lonely", "olga/pair"} == {domain(place, name) for name in RESTARTED}
