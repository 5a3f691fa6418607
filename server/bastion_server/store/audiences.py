"""In which audience each identity is, per unit domain: what one of an audience was told, all of it were."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bastion_plan.errors import PolicyError, ServerError
from bastion_policy.model import Policy

from bastion_server.store.database import Database
from bastion_server.store.datasets import Datasets
from bastion_server.store.keyring import changed
from bastion_server.store.witness import Known, Witness

#: begins the audience of who has two histories in one unit domain, from an earlier release: nothing more is released to it
APART = "!"


@dataclass(frozen=True, slots=True)
class Group:
    """Identities that policies count as one. names: of the audiences that they are listed in."""

    names: tuple[str, ...]
    members: frozenset[str]


def groups(policies: Iterable[Policy]) -> tuple[Group, ...]:
    """Return who counts as one in a unit domain whose tables have these policies.

    Audiences of one name, or with a member in common, are one: alice, who is in "team" by one table's policy, is in it for
    all tables of these people.
    """
    joined: list[Group] = []
    for policy in policies:
        for name, members in (policy.audiences or {}).items():
            near = [g for g in joined if name in g.names or g.members & set(members)]
            names = sorted({name}.union(*(g.names for g in near)))
            one = Group(tuple(names), frozenset(members).union(*(g.members for g in near)))
            joined = [*(g for g in joined if g not in near), one]
    return tuple(sorted(joined, key=lambda g: g.names))


class Audiences:
    """Repository of who is in which audience.

    An audience is kept under one key for ever: the name it began with, marked with "@", or the identity that asked before
    anybody joined it. An identity that is in none is its own.

    INVARIANT: an identity whose audience has a history never changes audiences, so nothing that it was told is forgotten; of sealed
    tables' people the rows count only as far as they are known (witness.py).

    All of it may raise ServerError: server.catalogue.changed, server.locked.
    """

    def __init__(self, database: Database, witness: Witness) -> None:
        self._database, self._witness = database, witness

    def of(self, unit_domain: str, identity: str) -> str:
        """Return the key of an identity's audience: of its history."""

        def read() -> str | None:
            row = self._database.row(
                "SELECT audience FROM audiences WHERE unit_domain = ? AND identity = ?", (unit_domain, identity)
            )
            return None if row is None else row["audience"]

        found = self._witness.checked(unit_domain, read, lambda known, row: known.audiences.get(identity) == row)
        return identity if found is None else found

    def check_one(self, unit_domain: str, identity: str) -> None:
        """Check that an identity has one history, against which its next question can be judged.

        Raises:
            PolicyError: policy.audience, there are two of them.
        """
        if self.of(unit_domain, identity).startswith(APART):
            msg = f"What {identity!r} was told about these people is on record in two histories."
            raise PolicyError(
                msg,
                code="policy.audience",
                reason="The audiences of a policy changed under an earlier release of the server, which began a second one.",
                next_step="Ask the owner to upload the table under another name and in another unit domain.",
            )

    def members(self, unit_domain: str, audience: str) -> tuple[str, ...]:
        """Return the identities of an audience, in order."""
        statement = "SELECT identity FROM audiences WHERE unit_domain = ? AND audience = ? ORDER BY identity"

        def same(known: Known, found: tuple[str, ...]) -> bool:
            return set(found) == {who for who, key in known.audiences.items() if key == audience}

        return self._witness.checked(
            unit_domain, lambda: tuple(row["identity"] for row in self._database.rows(statement, (unit_domain, audience))), same
        )  # fmt: skip

    def with_(self, unit_domain: str, identity: str) -> tuple[str, ...]:
        """Return an identity and all who count as one with it, in order."""
        return tuple(sorted({identity, *self.members(unit_domain, self.of(unit_domain, identity))}))

    def asked(self, unit_domain: str) -> dict[str, str]:
        """Return the audience of every identity that shares a history: it stays."""

        def read() -> dict[str, str]:
            rows = self._database.rows(_ASKED, (unit_domain, APART))
            return {row["identity"]: row["audience"] for row in rows}

        def same(known: Known, found: dict[str, str]) -> bool:
            return found == {
                who: key for who, key in known.audiences.items() if key[:1] == APART or key in known.histories
            }

        return self._witness.checked(unit_domain, read, same)

    def place(self, unit_domain: str, found: Iterable[Group]) -> None:
        """Write down who counts as one. Who has no history is where `found` says, in an audience that has one if any.

        Whether `found` contradicts a history is the caller's to check; nobody who has one is moved.
        """
        with self._database.transaction() as connection:
            stay = self.asked(unit_domain)
            here = self._witness.checked(unit_domain, lambda: self._here(unit_domain), _same_here)
            gone = [identity for identity in here if identity not in stay]
            connection.executemany(
                "DELETE FROM audiences WHERE unit_domain = ? AND identity = ?", [(unit_domain, who) for who in gone]
            )
            self._witness.change(unit_domain, lambda known: known.placed(dict.fromkeys(gone)))
            for group in found:
                free = sorted(group.members - stay.keys())
                keys = sorted({stay[m] for m in group.members if m in stay})
                key = keys[0] if keys else self._fresh(unit_domain, group)
                _insert(connection, unit_domain, dict.fromkeys(free, key), self._witness)

    def _here(self, unit_domain: str) -> dict[str, str]:
        return {row["identity"]: row["audience"] for row in self._database.rows(_HERE, (unit_domain,))}

    def _fresh(self, unit_domain: str, group: Group) -> str:
        """Return a key that no audience of the domain has."""
        taken = {row["audience"] for row in self._database.rows(_TAKEN, (unit_domain, unit_domain))}
        name = f"@{group.names[0]}"
        return next(key for n in range(1, len(taken) + 2) if (key := name if n == 1 else f"{name}#{n}") not in taken)

    def build(self, datasets: Datasets) -> None:
        """Fill an empty table from the histories and policies that there are: those of an earlier release had none.

        There a history was kept under an audience's name in the policy of then: all who were ever listed under that name
        share it. Who would share two of them has been told more than either knows: INVARIANT: nothing more is released to
        them (`APART`), as nothing can be judged against both. Nobody else is moved.
        """
        with self._database.transaction() as connection:
            if self._database.row("SELECT 1 FROM audiences LIMIT 1") is not None:
                return
            domains: dict[str, list[Policy]] = {}
            listed: dict[tuple[str, str], set[str]] = {}
            for dataset in [row["id"] for row in self._database.rows("SELECT id FROM datasets WHERE kind = 'table'")]:
                for change in datasets.history(dataset):
                    for name, members in (change.facts.policy.audiences or {}).items():
                        listed.setdefault((change.facts.domain, f"@{name}"), set()).update(members)
            for record in datasets.list():
                if record.kind == "table":
                    domains.setdefault(record.facts.domain, []).append(record.facts.policy)
            shared: dict[str, dict[str, str]] = {}
            for row in self._database.rows("SELECT unit_domain, audience FROM histories WHERE audience <> ''"):
                domain, key = row["unit_domain"], row["audience"]
                keys = shared.setdefault(domain, {})
                for identity in listed.get((domain, key), ()) if key[:1] == "@" else (key,):
                    keys[identity] = key if identity not in keys else f"{APART}{identity}"
            for domain, keys in shared.items():
                _insert(connection, domain, keys, self._witness)
            for domain, policies in domains.items():
                self.place(domain, groups(policies))


def enter(connection: sqlite3.Connection, unit_domain: str, audience: str, identity: str, witness: Witness) -> None:
    """Write down, in the transaction that keeps a history, whose it is.

    INVARIANT: a history is only ever kept as that of the audience which the identity is in at that moment: what was judged
    while the owner changed who counts as one is not released.

    Raises:
        ServerError: server.history.stale, server.catalogue.changed.
    """
    known = witness.of(unit_domain)
    row = connection.execute(
        "SELECT audience FROM audiences WHERE unit_domain = ? AND identity = ?", (unit_domain, identity)
    ).fetchone()
    if known is not None and known.audiences.get(identity) != (None if row is None else row["audience"]):
        raise changed()
    if row is None and audience == identity:
        _insert(connection, unit_domain, {identity: audience}, witness)
    elif row is None or row["audience"] != audience:
        msg = "Who counts as one with you was changed while the query ran."
        raise ServerError(msg, code="server.history.stale", next_step="Ask again.")


def _same_here(known: Known, found: dict[str, str]) -> bool:
    return found == known.audiences


def _insert(connection: sqlite3.Connection, unit_domain: str, keys: Mapping[str, str], witness: Witness) -> None:
    connection.executemany(
        "INSERT INTO audiences VALUES (?, ?, ?)",
        [(unit_domain, identity, key) for identity, key in sorted(keys.items())],
    )
    witness.change(unit_domain, lambda known: known.placed(keys))


_HERE = "SELECT identity, audience FROM audiences WHERE unit_domain = ? ORDER BY identity"
_ASKED = (
    "SELECT identity, audience FROM audiences a WHERE unit_domain = ? AND (substr(audience, 1, 1) = ? OR EXISTS "
    "(SELECT 1 FROM histories h WHERE h.unit_domain = a.unit_domain AND h.audience = a.audience)) ORDER BY identity"
)
_TAKEN = (
    "SELECT audience FROM audiences WHERE unit_domain = ? UNION SELECT audience FROM histories WHERE unit_domain = ?"
)
