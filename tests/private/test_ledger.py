"""The ledger: spent before, never below nothing, never paid back, whatever runs at the same time or dies in between."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bastion_policy.private.accounting import Account, Cost
from bastion_policy.private.subsampled import Mechanism, calibrate
from bastion_server.store.database import Database
from bastion_server.store.ledger import Charge, Ledger, NoisyAnswer, Overspent

CAP = Cost(1_000, 100)


def spend(ledger: Ledger, cost: Cost, *domains: str, who: str = "alice") -> bool:
    charges = {domain: Charge(cost, CAP) for domain in domains or ("people",)}
    try:
        ledger.spend(charges, epsilon=0.1, plan_hash="hash", requester=who, now=1.0)
    except Overspent:
        return False
    return True


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Database(tmp_path / "catalogue.db"))


def test_what_fits_is_written_down_and_what_does_not_changes_nothing(ledger):
    assert spend(ledger, Cost(600))
    assert not spend(ledger, Cost(401))
    assert ledger.standing("people").spent == Cost(600)
    assert spend(ledger, Cost(400), who="bob"), "one budget, whoever asks"
    assert not spend(ledger, Cost(1))
    assert [e.requester for e in ledger.entries("people")] == ["alice", "bob"]


def test_delta_runs_out_too(ledger):
    assert spend(ledger, Cost(1, 60))
    assert not spend(ledger, Cost(1, 41))
    assert spend(ledger, Cost(1, 40))


def test_a_join_is_charged_to_everybody_or_to_nobody(ledger):
    assert spend(ledger, Cost(700), "doctors")
    assert not spend(ledger, Cost(400), "patients", "doctors")
    assert ledger.standing("patients").spent == Cost(0), "nothing of half a payment stays"
    assert spend(ledger, Cost(300), "patients", "doctors")
    assert (ledger.standing("patients").spent, ledger.standing("doctors").spent) == (Cost(300), Cost(1_000))


def test_threads_never_spend_the_same_rest_twice(ledger):
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda _: spend(ledger, Cost(7)), range(400)))
    assert sum(done) == 1_000 // 7
    assert ledger.standing("people").spent == Cost(7 * (1_000 // 7))
    assert [e.seq for e in ledger.entries("people")] == list(range(1, 1 + sum(done)))


SPENDER = """
    import sys
    from pathlib import Path
    from bastion_server.store.database import Database
    from bastion_server.store.ledger import Charge, Ledger, Overspent
    from bastion_policy.private.accounting import Cost
    ledger, done = Ledger(Database(Path(sys.argv[1]))), 0
    for _ in range(250):
        try:
            charges = {"people": Charge(Cost(3), Cost(1000))}
            ledger.spend(charges, epsilon=0.1, plan_hash="hash", requester=sys.argv[2], now=1.0)
            done += 1
        except Overspent:
            pass
    print(done)
"""


def test_processes_never_spend_the_same_rest_twice(tmp_path):
    path = tmp_path / "catalogue.db"
    Database(path).close()
    command = [sys.executable, "-c", textwrap.dedent(SPENDER), str(path)]
    workers = [subprocess.Popen([*command, who], stdout=subprocess.PIPE) for who in ("alice", "bob")]
    done = [int(worker.communicate(timeout=100)[0]) for worker in workers]
    assert sum(done) == 1_000 // 3
    assert Ledger(Database(path)).standing("people").spent == Cost(3 * (1_000 // 3))


def test_what_was_spent_stays_spent_when_the_server_dies_right_after(tmp_path):
    """As a power cut between payment and answer: the process kills itself before it could do anything else."""
    code = """
        import os, signal, sys
        from bastion_server.store.database import Database
        from bastion_server.store.ledger import Charge, Ledger
        from bastion_policy.private.accounting import Cost
        ledger = Ledger(Database(__import__("pathlib").Path(sys.argv[1])))
        charges = {"people": Charge(Cost(900), Cost(1000))}
        ledger.spend(charges, epsilon=0.5, plan_hash="hash", requester="alice", now=1.0)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / "catalogue.db"
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(path)], check=False, timeout=100)
    assert ended.returncode == -signal.SIGKILL
    ledger = Ledger(Database(path))
    assert ledger.standing("people").spent == Cost(900)
    assert ledger.answer("hash", b"v1", None) is None, "and there is no answer to show for it"
    assert not spend(ledger, Cost(101))


def test_nothing_is_paid_back(tmp_path, ledger):
    assert spend(ledger, Cost(10))
    ledger.void("people", "an exact answer left.", 1.0)
    with sqlite3.connect(tmp_path / "catalogue.db") as other:
        for change in ("DELETE FROM ledger", "UPDATE ledger SET rho = 0", "DELETE FROM ledger_void"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                other.execute(change)
    assert ledger.standing("people").spent == Cost(10)


def test_an_answer_is_given_again_for_its_versions_only(ledger):
    first = NoisyAnswer(b"noise", 0, b"{}", 0.1)
    assert ledger.keep("hash", b"v1", first, 1.0) == first
    assert ledger.keep("hash", b"v1", NoisyAnswer(b"other", 0, b"{}", 0.1), 2.0) == first, "the first noise stays"
    assert ledger.answer("hash", b"v1", 0.1) == first
    assert ledger.answer("hash", b"v2", 0.1) is None
    assert ledger.answer("other", b"v1", 0.1) is None
    assert ledger.answer("hash", b"v1", 0.2) is None, "a better answer has to be paid for"
    better = ledger.keep("hash", b"v1", NoisyAnswer(b"less noise", 0, b"{}", 0.5), 3.0)
    assert ledger.answer("hash", b"v1", 0.1) == better
    assert ledger.answer("hash", b"v1", None) == better


def test_a_void_stays(ledger):
    assert ledger.standing("people").void == ""
    ledger.void("people", "an exact answer left.", 1.0)
    ledger.void("people", "another one left.", 2.0)
    assert ledger.standing("people").void == "an exact answer left."
    assert ledger.standing("others").void == ""


def test_caps_of_real_accounts_fit_into_the_tables_integers(ledger):
    account = Account(500.0, 0.5)
    price = account.price(5.0)
    ledger.spend({"people": Charge(price, account.cap)}, epsilon=5.0, plan_hash="h", requester="a", now=1.0)
    assert ledger.standing("people").spent == price


def test_steps_of_training_are_paid_beside_queries_at_the_accounts_order(ledger):
    account = Account(3.0, 1e-5)
    sigma = calibrate(2.0, account.reading, 0.05, 200)
    spent = Cost(0, 0, (Mechanism(0.05, sigma, 50),))

    def pay(cost: Cost, kind: str) -> bool:
        try:
            charge = Charge(cost, account.cap, account.order)
            ledger.spend({"people": charge}, epsilon=2.0, plan_hash=kind, requester="alice", now=1.0)
        except Overspent:
            return False
        return True

    assert pay(account.price(0.5), "query")
    assert all(pay(spent, "fit") for _ in range(4)), "in instalments"
    standing = ledger.standing("people")
    assert standing.spent == Cost(account.price(0.5).rho, account.price(0.5).delta, (Mechanism(0.05, sigma, 200),))
    assert standing.answers == 2, "a query and a fit, however many instalments it was paid in"
    assert account.epsilon_of(standing.spent) <= 3.0
    assert sum(e.cost.rho for e in ledger.entries("people")) == account.price(0.5).rho
    while pay(spent, "more"):
        pass
    assert account.epsilon_of(ledger.standing("people").spent) <= 3.0
    assert not pay(account.price(2.0), "query")


def test_steps_of_training_are_never_taken_back(tmp_path, ledger):
    account, cost = Account(1.0, 1e-6), Cost(0, 0, (Mechanism(0.01, 2.0, 5),))
    ledger.spend({"people": Charge(cost, account.cap, account.order)}, epsilon=1, plan_hash="f", requester="a", now=1.0)
    with sqlite3.connect(tmp_path / "catalogue.db") as other:
        for change in ("DELETE FROM ledger_steps", "UPDATE ledger_steps SET steps = 1"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                other.execute(change)
    assert ledger.standing("people").spent.steps == (Mechanism(0.01, 2.0, 5),)
