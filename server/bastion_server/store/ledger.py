"""What noisy answers have cost each unit domain, and the answers themselves, to be given again.

One ledger per unit domain, for all audiences, versions and derived tables: whoever asks, it is the same people's budget.
Costs are whole numbers (bastion_policy.private.accounting), so a cap is met exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bastion_policy.private.accounting import NOTHING, Cost

from bastion_server.store.database import Database


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer that was paid for."""

    seq: int
    cost: Cost
    epsilon: float
    plan_hash: str
    requester: str
    created: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a unit domain stands. void: why the stated epsilon no longer holds, empty while it does."""

    spent: Cost = NOTHING
    answers: int = 0
    void: str = ""


@dataclass(frozen=True, slots=True)
class Charge:
    """What an answer costs a unit domain, and all that may ever be spent there."""

    cost: Cost
    cap: Cost


@dataclass(frozen=True, slots=True)
class NoisyAnswer:
    """A noisy answer as it was given: bytes of an Arrow IPC file, its height, and the release note as bytes."""

    data: bytes
    height: int
    note: bytes
    epsilon: float


class Overspent(Exception):
    """A unit domain has too little left; nothing was spent anywhere."""

    def __init__(self, domain: str, spent: Cost) -> None:
        self.domain, self.spent = domain, spent
        super().__init__("the budget is spent")


class Ledger:
    """Repository of spending. Append-only: nothing is ever paid back, whatever became of the answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def standing(self, domain: str) -> Standing:
        """Return what was spent in a unit domain so far."""
        row = self._database.row(
            "SELECT coalesce(sum(rho), 0) AS rho, coalesce(sum(delta), 0) AS delta, count(*) AS answers FROM ledger "
            "WHERE unit_domain = ?",
            (domain,),
        )
        assert row is not None
        void = self._database.row(
            "SELECT reason FROM ledger_void WHERE unit_domain = ? ORDER BY seq LIMIT 1", (domain,)
        )
        return Standing(Cost(row["rho"], row["delta"]), row["answers"], "" if void is None else void["reason"])

    def entries(self, domain: str) -> tuple[Entry, ...]:
        """Return all spending in a unit domain, in order."""
        rows = self._database.rows("SELECT * FROM ledger WHERE unit_domain = ? ORDER BY seq", (domain,))
        return tuple(
            Entry(r["seq"], Cost(r["rho"], r["delta"]), r["epsilon"], r["plan_hash"], r["requester"], r["created"])
            for r in rows
        )

    def spend(
        self, charges: Mapping[str, Charge], *, epsilon: float, plan_hash: str, requester: str, now: float
    ) -> None:
        """Pay for one answer in every unit domain it is about, or in none.

        INVARIANT: it is on the disk when this returns, and only then may the answer be computed; sum and insertion are one
        write transaction, so two queries (of threads or of processes) never both see the same rest. What is left is never
        below nothing.

        Raises:
            Overspent: it does not fit.
            ServerError: the disk could not be written; nothing was spent, and nothing may be answered.
        """
        with self._database.transaction() as connection:
            for domain, charge in charges.items():
                rho, delta, seq = connection.execute(
                    "SELECT coalesce(sum(rho), 0), coalesce(sum(delta), 0), coalesce(max(seq), 0) FROM ledger "
                    "WHERE unit_domain = ?",
                    (domain,),
                ).fetchone()
                spent = Cost(rho, delta)
                if not (spent + charge.cost).fits(charge.cap):
                    raise Overspent(domain, spent)
                connection.execute(
                    "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (domain, seq + 1, charge.cost.rho, charge.cost.delta, epsilon, plan_hash, requester, now),
                )

    def void(self, domain: str, reason: str, now: float) -> None:
        """Write down, once, that the stated epsilon of a unit domain no longer holds: something left without noise."""
        if self.standing(domain).void:
            return
        with self._database.transaction() as connection:
            (seq,) = connection.execute(
                "SELECT coalesce(max(seq), 0) FROM ledger_void WHERE unit_domain = ?", (domain,)
            ).fetchone()
            connection.execute("INSERT INTO ledger_void VALUES (?, ?, ?, ?)", (domain, seq + 1, reason, now))

    # -- noise is drawn once

    def answer(self, plan_hash: str, binding: bytes, epsilon: float | None) -> NoisyAnswer | None:
        """Return the stored answer to a plan about these versions; None where it has not been given.

        epsilon: that is wanted, or more; None for the answer with the least noise.
        """
        row = self._database.row(
            "SELECT * FROM noisy_answers WHERE plan_hash = ? AND binding = ? AND (? IS NULL OR epsilon >= ?) "
            "ORDER BY epsilon DESC LIMIT 1",
            (plan_hash, binding, epsilon, epsilon),
        )
        return None if row is None else NoisyAnswer(row["data"], row["height"], row["note"], row["epsilon"])

    def keep(self, plan_hash: str, binding: bytes, answer: NoisyAnswer, now: float) -> NoisyAnswer:
        """Keep an answer before it leaves; returns what is kept, which is an earlier one if there is one."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO noisy_answers VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (plan_hash, binding, answer.epsilon, answer.data, answer.height, answer.note, now),
            )
        kept = self.answer(plan_hash, binding, answer.epsilon)
        assert kept is not None
        return kept
