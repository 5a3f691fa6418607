"""What noisy answers have cost each unit domain, and the answers themselves, to be given again.

One ledger per unit domain, for all audiences, versions and derived tables: whoever asks, it is the same people's budget.
Costs are whole numbers (bastion_policy.private.accounting), so a cap is met exactly.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
from bastion_policy.private.accounting import NOTHING, Cost
from bastion_policy.private.subsampled import Mechanism

from bastion_server.store.binding import parts
from bastion_server.store.database import Database
from bastion_server.store.keyring import KeyRing, changed
from bastion_server.store.witness import Known, Row, Witness


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
    """What an answer costs a unit domain, and all that may ever be spent there.

    order: of the account, at which steps of training are added up: they are in no budget without it.
    """

    cost: Cost
    cap: Cost
    order: float = 0.0

    def after(self, spent: Cost) -> bool:
        """Whether it fits beside what was spent."""
        whole = spent + self.cost
        return (whole.at(self.order) if whole.steps else whole).fits(self.cap)


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


#: what was spent but for steps of training, which are worked out anew at the order that the account has now
_SPENT = (
    "SELECT coalesce(sum(CASE WHEN steps IS NULL THEN rho ELSE 0 END), 0) AS rho, coalesce(sum(delta), 0) AS delta, "
    "count(CASE WHEN steps IS NULL THEN 1 END) + count(DISTINCT CASE WHEN steps > 0 THEN plan_hash END) AS answers "
    "FROM ledger LEFT JOIN ledger_steps USING (unit_domain, seq) WHERE unit_domain = ?"
)
_STEPS = "SELECT rate, sigma, sum(steps) AS steps FROM ledger_steps WHERE unit_domain = ? GROUP BY rate, sigma"


def _mechanisms(rows: Sequence[sqlite3.Row]) -> tuple[Mechanism, ...]:
    return tuple(Mechanism(row["rate"], row["sigma"], row["steps"]) for row in rows)


def _cost(row: sqlite3.Row) -> Cost:
    return Cost(row["rho"], row["delta"]) if row["steps"] is None else Cost(0, row["delta"], _mechanisms([row]))


class Ledger:
    """Repository of spending. Append-only: nothing is ever paid back, whatever became of the answer.

    INVARIANT: of sealed tables' people so much was spent as is known (witness.py), whatever the catalogue says; answers about them are
    encrypted by the tables' keys. All of it may raise ServerError: server.catalogue.changed, server.locked.
    """

    def __init__(self, database: Database, ring: KeyRing | None = None, witness: Witness | None = None) -> None:
        """Take the catalogue. ring, witness: of sealed tables; without them there are none."""
        self._database, self._ring, self._witness = database, ring, witness

    def standing(self, domain: str) -> Standing:
        """Return what was spent in a unit domain so far."""

        def read() -> Standing:
            row = self._database.row(_SPENT, (domain,))
            assert row is not None
            steps = self._database.rows(_STEPS, (domain,))
            void = self._database.row(
                "SELECT reason FROM ledger_void WHERE unit_domain = ? ORDER BY seq LIMIT 1", (domain,)
            )
            spent = Cost(row["rho"], row["delta"], _mechanisms(steps))
            return Standing(spent, row["answers"], "" if void is None else void["reason"])

        if self._witness is None:
            return read()
        return self._witness.checked(domain, read, lambda known, s: _same(known, s.spent) and known.void == s.void)

    def entries(self, domain: str) -> tuple[Entry, ...]:
        """Return all spending in a unit domain, in order."""
        statement = (
            "SELECT * FROM ledger LEFT JOIN ledger_steps USING (unit_domain, seq) WHERE unit_domain = ? ORDER BY seq"
        )

        def read() -> list[sqlite3.Row]:
            return self._database.rows(statement, (domain,))

        rows = read() if self._witness is None else self._witness.checked(domain, read, _same_lines)
        return tuple(
            Entry(r["seq"], _cost(r), r["epsilon"], r["plan_hash"], r["requester"], r["created"]) for r in rows
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
                rho, delta, _ = connection.execute(_SPENT, (domain,)).fetchone()
                steps = connection.execute(_STEPS, (domain,)).fetchall()
                spent = Cost(rho, delta, tuple(Mechanism(*row) for row in steps))
                known = None if self._witness is None else self._witness.of(domain)
                if known is not None and not _same(known, spent):
                    raise changed()
                if not charge.after(spent):
                    raise Overspent(domain, spent)
                lines, made = self._write(
                    connection, domain, charge, (float(epsilon), plan_hash, requester, float(now))
                )
                if self._witness is not None:
                    self._witness.change(domain, partial(Known.paid, lines=lines, steps=made))

    @staticmethod
    def _write(
        connection: sqlite3.Connection, domain: str, charge: Charge, rest: tuple[object, ...]
    ) -> tuple[list[Row], list[Row]]:
        """Write down what was paid; each kind of steps in a line of its own, as what it came to at the account's order."""
        (seq,) = connection.execute(
            "SELECT coalesce(max(seq), 0) FROM ledger WHERE unit_domain = ?", (domain,)
        ).fetchone()
        parts = [Cost(0, 0, (made,)) for made in charge.cost.steps]
        plain = Cost(charge.cost.rho, charge.cost.delta)
        if plain != NOTHING or not parts:
            parts.insert(0, plain)
        lines: list[Row] = []
        steps: list[Row] = []
        for number, part in enumerate(parts, seq + 1):
            told = part.at(charge.order) if part.steps else part
            lines.append((number, told.rho, told.delta, *rest))
            steps += [(number, float(made.rate), float(made.sigma), made.steps) for made in part.steps]
        connection.executemany("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [(domain, *row) for row in lines])
        connection.executemany("INSERT INTO ledger_steps VALUES (?, ?, ?, ?, ?)", [(domain, *row) for row in steps])
        return lines, steps

    def void(self, domain: str, reason: str, now: float) -> None:
        """Write down, once, that the stated epsilon of a unit domain no longer holds: something left without noise."""
        if self.standing(domain).void:
            return
        with self._database.transaction() as connection:
            (seq,) = connection.execute(
                "SELECT coalesce(max(seq), 0) FROM ledger_void WHERE unit_domain = ?", (domain,)
            ).fetchone()
            row = (seq + 1, reason, float(now))
            connection.execute("INSERT INTO ledger_void VALUES (?, ?, ?, ?)", (domain, *row))
            if self._witness is not None:
                self._witness.change(domain, lambda known: known.voided(row))

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
        if row is None:
            return None
        data, note = (
            row[name] if self._ring is None else self._ring.uncover(row[name], _named(binding), _use(name, row))
            for name in ("data", "note")
        )
        return NoisyAnswer(data, row["height"], note, row["epsilon"])

    def keep(self, plan_hash: str, binding: bytes, answer: NoisyAnswer, now: float) -> NoisyAnswer:
        """Keep an answer before it leaves; returns what is kept, which is an earlier one if there is one."""
        place = {"plan_hash": plan_hash, "binding": binding, "epsilon": float(answer.epsilon), "height": answer.height}
        data, note = (
            text if self._ring is None else self._ring.cover(text, _named(binding), _use(name, place))
            for name, text in (("data", answer.data), ("note", answer.note))
        )
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO noisy_answers VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (plan_hash, binding, answer.epsilon, data, answer.height, note, now),
            )
        kept = self.answer(plan_hash, binding, answer.epsilon)
        assert kept is not None
        return kept


def _same(known: Known, spent: Cost) -> bool:
    def kinds(cost: Cost) -> dict[tuple[float, float], int]:
        return {(made.rate, made.sigma): made.steps for made in cost.steps}

    there = known.spent
    return (there.rho, there.delta) == (spent.rho, spent.delta) and kinds(there) == kinds(spent)


def _same_lines(known: Known, rows: Sequence[sqlite3.Row]) -> bool:
    names = ("seq", "rho", "delta", "epsilon", "plan_hash", "requester", "created")
    lines = [tuple(row[name] for name in names) for row in rows]
    steps = [(row["seq"], row["rate"], row["sigma"], row["steps"]) for row in rows if row["steps"] is not None]
    return Known(known.members, known.secret).paid(lines, steps).ledger == known.ledger


def _named(bound: bytes) -> tuple[str, ...]:
    return tuple(dataset for dataset, *_ in parts(bound))


def _use(name: str, row: Mapping[str, object] | sqlite3.Row) -> str:
    """Return what an encrypted part of an answer is, and of which."""
    place = msgspec.msgpack.encode((row["plan_hash"], row["binding"], row["epsilon"], row["height"]))
    return f"noisy {name} {hashlib.sha256(place).hexdigest()}"
