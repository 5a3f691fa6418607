"""Fits and models as the store keeps them: what was paid stays paid, through restarts; what nobody may have any more is gone."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bastion_plan.errors import NotFound
from bastion_policy.private.accounting import Cost
from bastion_policy.private.subsampled import Mechanism
from bastion_server.store import Charge, Overspent, Shown, Store
from bastion_server.store.models import KEPT, KeptModel, model_name
from bastion_server.store.runs import Run
from fit_line import spec
from store_facts import PRIVATE, facts, seal

SPEC = spec()


def add(store: Store, **changes: Any) -> Run:
    values: dict[str, Any] = {
        "requester": "alice", "plan": b"plan", "plan_hash": "p", "versions": {"d-1": 1}, "policy_versions": {"d-1": 1},
        "model": "m", "graph": b"graph", "parameters": 8, "spec": SPEC, "sigma": 2.0, "delta": 1e-6, "grant": "", "words": "",
        "now": 1000.0,
    }  # fmt: skip
    return store.runs.add(**(values | changes))


def test_what_ran_has_stopped_after_a_restart_and_stays_paid(store: Store, tmp_path: Path) -> None:
    run = add(store)
    store.runs.begin(run.id, 0)
    store.runs.pay(run.id, 50, ("d-1",), 0.5)
    store.runs.keep(run.id, "checkpoint", seal(store.sealed, b"state"), 10, 1001.0)
    store.runs.advance(run.id, 17, [(0.5, 10), (None, 7)])
    store.close()
    again = Store.open(tmp_path / "store", 2000.0)
    try:
        found = again.runs.get(run.id)
        assert (found.state, found.code, found.paid, found.credit, found.step) == (
            "stopped",
            "train.restarted",
            50,
            0,
            17,
        )
        assert found.losses == ((0.5, 10), (None, 7)) and again.runs.charges(run.id) == {"d-1": 50}
        kept = again.runs.file(run.id, "checkpoint")
        assert kept is not None and kept.step == 10
        with again.sealed.reader(kept.sealed) as reader:
            assert reader.read(0, 10) == b"state"
    finally:
        again.close()


def test_paying_and_charging_are_one(store: Store) -> None:
    run, steps = add(store), Mechanism(0.1, 2.0, 50)
    charge = {"d-1": Charge(Cost(0, 0, (steps,)), Cost(10**9), 4.0)}

    def pay() -> None:
        with store.transaction():
            store.runs.pay(run.id, 50, ("d-1",), 0.5)
            store.ledger.spend(charge, epsilon=0.5, plan_hash="f", requester="alice", now=1.0)

    with pytest.raises(Overspent):
        pay()
    assert store.runs.get(run.id).paid == 0 and store.runs.charges(run.id) == {}
    assert store.ledger.standing("d-1").answers == 0


def test_a_thousand_tiny_fits_cost_as_much_as_one_of_as_many_steps(store: Store) -> None:
    one, cap = Mechanism(0.1, 2.0, 1), Cost(10**13)
    with store.transaction():
        for i in range(1000):
            charge = {"d-1": Charge(Cost(0, 0, (one,)), cap, 4.0)}
            store.ledger.spend(charge, epsilon=0.0, plan_hash=f"f{i}", requester="alice", now=1.0)
    spent = store.ledger.standing("d-1").spent
    assert spent.steps == (Mechanism(0.1, 2.0, 1000),)
    assert spent.at(4.0).rho >= Mechanism(0.1, 2.0, 1000).divergence(4.0) / 4.0 / 1e-12


def test_a_fit_is_bound_and_only_grows(store: Store) -> None:
    run = add(store)
    store.runs.pay(run.id, 50, ("d-1",), 0.5)
    with store.database.transaction() as connection:
        for change in (
            "paid = 10",
            "sigma = 0.1",
            "model = 'x'",
            "plan = x'00'",
            "requester = 'bob'",
            "binding = x'00'",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(f"UPDATE runs SET {change}")
    store.runs.end(run.id, "stopped", 2.0)
    more = store.runs.resume(run.id, msgspec.structs.replace(SPEC, steps=60, epsilon=3.0), "")
    assert (more.state, more.spec.steps, more.sigma, more.paid) == (
        "queued",
        60,
        2.0,
        50,
    ) and more.fit_hash != run.fit_hash
    for change in ({"clip": 2.0}, {"rate": 0.9}, {"loss": "l2"}, {"rows": 5}):
        with pytest.raises(ValueError, match="only steps"):
            store.runs.resume(run.id, msgspec.structs.replace(SPEC, **change), "")


def test_a_forgotten_fit_leaves_no_file_and_its_cost(store: Store) -> None:
    run = add(store)
    store.ledger.spend(
        {"d-1": Charge(Cost(5), Cost(10))}, epsilon=0.1, plan_hash=run.fit_hash, requester="alice", now=1.0
    )
    store.runs.keep(run.id, "weights", seal(store.sealed, b"old"), 10, 1.0)
    store.runs.keep(run.id, "weights", seal(store.sealed, b"new"), 20, 2.0)
    assert len(store.sealed.names()) == 1
    store.runs.measured(run.id, "accuracy", "test", 1.0, 20, 0.5, b"first", 1.0)
    assert store.runs.measured(run.id, "accuracy", "test", 1.0, 20, 0.5, b"second", 2.0) == b"first"
    assert store.runs.metric(run.id, "accuracy", "test", 1.0, 20, 0.6) is None
    assert store.runs.metric(run.id, "accuracy", "test", 1.0, 30, None) is None
    store.runs.delete(run.id)
    assert not store.sealed.names() and store.ledger.standing("d-1").spent.rho == 5
    with pytest.raises(NotFound):
        store.runs.get(run.id)


def test_what_an_ended_approval_gave_is_gone(store: Store) -> None:
    store.datasets.add(facts(), PRIVATE, sealed=seal(store.sealed, b"x"), now=1000.0)
    request, _ = store.requests.file(
        plan_hash="h", plan=b"plan", versions={"d-1": 1}, policy_versions={"d-1": 1}, requester="alice", owners=("olga",),
        reason="", now=1000.0,
    )  # fmt: skip
    grant = store.requests.decide(request.id, owner="olga", approve=True, now=1001.0).grant
    assert grant is not None
    exact, private = add(store, grant=grant.id), add(store)
    for run in (exact, private):
        store.runs.keep(run.id, "weights", seal(store.sealed, b"w"), 10, 1.0)
        store.runs.end(run.id, "done", 2.0)
    assert store.runs.prune() == 0
    store.grants.revoke(grant.id, 1002.0)
    assert store.runs.prune() == 1
    assert store.runs.file(exact.id, "weights") is None and store.runs.file(private.id, "weights") is not None


def test_models_are_their_sender_s_and_go_when_nobody_uses_them(store: Store) -> None:
    ref = seal(store.sealed, b"weights")
    model = KeptModel(model_name(b"g" * 32, ref.sha256), "alice", b"graph", 8, ref, 0.0)
    assert store.models.put(model, 1000.0) and not store.models.put(model, 1001.0)
    assert store.models.get(model.name, "bob", 1002.0) is None
    assert store.models.get(model.name, "alice", 1002.0, since=1002.0) is None  # another's who has the name now
    assert store.models.get(model.name, "alice", 2000.0) is not None
    assert store.models.room("alice") == (1, len(b"weights") + len(b"graph"))
    assert store.models.prune(1500.0 + KEPT) == 0
    run = add(store, model=model.name)
    assert store.models.prune(3000.0 + KEPT) == 0  # a fit waits for it
    store.runs.end(run.id, "done", 1.0)
    # and so does a request for one, until it is decided and taken home
    store.datasets.add(facts(), PRIVATE, sealed=seal(store.sealed, b"x"), now=1.0)
    asked, _ = store.requests.file(
        plan_hash="p", plan=b"plan", versions={"d-1": 1}, policy_versions={"d-1": 1}, requester="alice", owners=("olga",),
        reason="why", now=3000.0, shown=Shown(model=model.name, spec=SPEC),
    )  # fmt: skip
    later = 3000.0 + 3 * KEPT
    assert store.requests.models(later) == {("alice", model.name)}
    assert store.models.prune(later, store.requests.models(later)) == 0
    store.requests.withdraw(asked.id, requester="alice", now=3001.0)
    assert not store.requests.models(later)
    assert store.models.prune(later + 2 * KEPT) == 1 and len(store.sealed.names()) == 1
    assert model_name(b"a" * 32, b"b" * 32) != model_name(b"a" * 31, b"a" + b"b" * 32)


def test_who_is_for_testing_is_a_secret_of_the_people(store: Store) -> None:
    one = store.runs.split_key("d-1", store.keys)
    assert len(one) == 32 and store.runs.split_key("d-1", store.keys) == one
    assert store.runs.split_key("d-2", store.keys) != one
