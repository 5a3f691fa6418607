"""What the catalogue must still say of the people of sealed tables: one number for all such rows, under their owners' keys.

The catalogue is a file, and whoever has the machine can write to it. Of a unit domain with sealed tables the rows that answers depend on (who
belongs to which audience, which file each history is, what was spent) are added up to one number: a sum of keyed hashes, one of each
row. It is kept beside the rows, encrypted by the keys of all tables of the domain, and written in the transaction that changes them.

INVARIANT: from the first use after its keys came, a domain is also held in this process' memory, until the process ends. A row that says other
than memory knows answers nothing (`server.catalogue.changed`); rows that this process has not seen yet count only as a whole, as the
sealed number says. So what was told is not forgotten and no budget begins anew, unless the number itself is of an earlier day: a whole older
copy of the disk, before any key was released.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec
from bastion_plan.errors import ServerError
from bastion_policy.private.accounting import NOTHING, Cost
from bastion_policy.private.subsampled import Mechanism

from bastion_server.store.database import Database
from bastion_server.store.keyring import KeyRing, changed

_T = TypeVar("_T")
_WHOLE = 1 << 256
_HISTORY = "SELECT audience, seq, file, wrapped_key, size, sha256 FROM histories WHERE unit_domain = ?"
_LINES = "SELECT seq, rho, delta, epsilon, plan_hash, requester, created FROM ledger WHERE unit_domain = ?"
_STEPS = "SELECT seq, rate, sigma, steps FROM ledger_steps WHERE unit_domain = ?"
_VOIDS = "SELECT seq, reason, created FROM ledger_void WHERE unit_domain = ? ORDER BY seq"
Row = tuple[Any, ...]


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is sealed of a domain. number: of changes. members: its datasets. secret: key of the hashes. total: of all rows."""

    number: int
    members: tuple[str, ...]
    secret: bytes
    total: bytes


@dataclass(frozen=True)
class Known:
    """A unit domain as this process knows it.

    histories: row of each by audience. spent: without what steps of training come to, and the steps. ledger: sum of its rows' hashes;
    total: of all rows. void: the first reason.
    """

    members: frozenset[str]
    secret: bytes = field(repr=False)
    number: int = 0
    total: int = 0
    audiences: Mapping[str, str] = field(default_factory=dict)
    histories: Mapping[str, Row] = field(default_factory=dict)
    spent: Cost = NOTHING
    ledger: int = 0
    void: str = ""

    def _hash(self, table: str, row: Row) -> int:
        text = msgspec.msgpack.encode((table, *row))
        return int.from_bytes(hashlib.blake2b(text, key=self.secret, digest_size=32).digest(), "big")

    def _moved(self, by: int, **changes: Any) -> Known:
        return replace(self, total=(self.total + by) % _WHOLE, **changes)

    def placed(self, keys: Mapping[str, str | None]) -> Known:
        """Return it with identities in these audiences; None: in none."""
        audiences, by = dict(self.audiences), 0
        for identity, audience in keys.items():
            before = audiences.pop(identity, None)
            if before is not None:
                by -= self._hash("audiences", (identity, before))
            if audience is not None:
                audiences[identity] = audience
                by += self._hash("audiences", (identity, audience))
        return self._moved(by, audiences=audiences)

    def told(self, row: Row) -> Known:
        """Return it with this history in place of its audience's."""
        before = self.histories.get(row[0])
        by = self._hash("histories", row) - (self._hash("histories", before) if before is not None else 0)
        return self._moved(by, histories={**self.histories, row[0]: row})

    def paid(self, lines: Iterable[Row], steps: Iterable[Row]) -> Known:
        """Return it with more lines of the ledger, and the steps that some of them are of."""
        of, spent = {seq: made for seq, *made in steps}, [self.spent]
        by = sum(self._hash("ledger_steps", (seq, *made)) for seq, made in of.items())
        for row in lines:
            by += self._hash("ledger", row)
            made = of.get(row[0])
            spent.append(Cost(row[1], row[2]) if made is None else Cost(0, row[2], (Mechanism(*made),)))
        return self._moved(by, ledger=(self.ledger + by) % _WHOLE, spent=sum(spent[1:], spent[0]))

    def voided(self, row: Row) -> Known:
        """Return it with one more reason why a stated epsilon no longer holds."""
        return self._moved(self._hash("ledger_void", row), void=self.void or row[1])

    def joined(self, dataset: str) -> Known:
        """Return it with one more table."""
        return replace(self, members=self.members | {dataset})

    def left(self, dataset: str) -> Known:
        """Return it without a table."""
        return replace(self, members=self.members - {dataset})


class Witness:
    """Knows unit domains with sealed tables. Any thread may use it. Of other domains it knows nothing, and costs nothing."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database, self._ring = database, ring
        self._known: dict[str, Known] = {}

    def of(self, domain: str) -> Known | None:
        """Return what is known of a unit domain; None where none of its tables is sealed, as far as a key was released.

        Raises:
            ServerError: server.locked, the key of another table of these people is not here; server.catalogue.changed.
        """
        if not self._ring.sealed(domain):
            return None
        found = self._database.within().get(domain) or self._known.get(domain)
        if found is not None:
            return found
        with self._database.still():
            if domain not in self._known:
                self._known[domain] = self._load(domain)
            return self._known[domain]

    def checked(self, domain: str, read: Callable[[], _T], agree: Callable[[Known, _T], bool]) -> _T:
        """Return what `read` reads of a unit domain, where that agrees with what is known.

        Raises:
            ServerError: server.catalogue.changed, server.locked.
        """
        known, found = self.of(domain), read()
        if known is None or agree(known, found):
            return found
        with self._database.still():  # what is known may be a moment behind what was committed
            known, found = self.of(domain), read()
            if known is None or agree(known, found):
                return found
        raise changed()

    def change(self, domain: str, made: Callable[[Known], Known]) -> None:
        """Note, in the transaction that changes rows of a unit domain, what they are from now on.

        Raises:
            ServerError: server.locked: nothing of a sealed domain changes without its keys.
        """
        known = self.of(domain)
        if known is not None:
            self._write(domain, made(known))

    def join(self, domain: str, dataset: str) -> None:
        """Note a new sealed table, in the transaction that adds it. The first of its people: what is there of them is known from now on.

        Raises:
            ServerError: server.locked, server.catalogue.changed.
        """
        others = self._database.row(
            "SELECT 1 FROM datasets WHERE unit_domain = ? AND owner_sealed AND deleted IS NULL AND id <> ?", (domain, dataset)
        )  # fmt: skip
        # INVARIANT: a mark that was taken away makes nobody the first, where a key of these people was ever here
        known = set(self._ring.of_domain(domain)) - {dataset}
        if others is None and not known and domain not in self._known and self._row(domain) is None:
            self._write(domain, self._read(domain, Known(frozenset({dataset}), secrets.token_bytes(32))))
        else:
            self.change(domain, lambda known: known.joined(dataset))

    def leave(self, domain: str, dataset: str) -> None:
        """Note that a sealed table is gone, in the transaction that deletes it.

        With the last one nobody can open what is remembered of its people; where that is something, and they have a name (a unit domain),
        it stays, so that no table of theirs begins anew.
        """
        known = self.of(domain)
        if known is None:
            return
        known = known.left(dataset)
        if known.members:
            self._write(domain, known)
            return
        with self._database.transaction() as connection:
            if domain == dataset or not (known.histories or known.ledger):
                connection.execute("DELETE FROM witnesses WHERE unit_domain = ?", (domain,))
            self._database.after_commit(lambda: self._forget(domain))

    def check(self, domain: str, dataset: str) -> None:
        """Compare all rows of a unit domain with what is known, as far as all its keys are here.

        Raises:
            ServerError: server.catalogue.changed, also where the dataset is none of its tables.
        """
        with self._database.still():
            try:
                known = self.of(domain)
            except ServerError as error:
                if error.code != "server.locked":
                    raise
                return
            if known is None or dataset not in known.members or self._read(domain, known).total != known.total:
                raise changed()

    def _forget(self, domain: str) -> None:
        self._known.pop(domain, None)

    def _row(self, domain: str) -> Any:
        return self._database.row("SELECT sealed FROM witnesses WHERE unit_domain = ?", (domain,))

    def _load(self, domain: str) -> Known:
        row = self._row(domain)
        if row is None:
            raise changed()
        text = self._ring.uncover(row["sealed"], self._ring.of_domain(domain), _use(domain))
        kept = msgspec.msgpack.decode(text, type=_Kept)
        known = self._read(domain, Known(frozenset(kept.members), kept.secret, kept.number))
        if known.total != int.from_bytes(kept.total, "big"):
            raise changed()
        return known

    def _read(self, domain: str, like: Known) -> Known:
        """Return a domain as its rows are now."""

        def rows(statement: str) -> list[Row]:
            return [tuple(row) for row in self._database.rows(statement, (domain,))]

        found = Known(like.members, like.secret, like.number)
        found = found.placed(
            {row[0]: row[1] for row in rows("SELECT identity, audience FROM audiences WHERE unit_domain = ?")}
        )
        histories = {row[0]: row for row in rows(_HISTORY)}
        found = found._moved(sum(found._hash("histories", row) for row in histories.values()), histories=histories)
        found = found.paid(rows(_LINES), rows(_STEPS))
        for row in rows(_VOIDS):
            found = found.voided(row)
        return found

    def _write(self, domain: str, known: Known) -> None:
        known = replace(known, number=known.number + 1)
        kept = _Kept(known.number, tuple(sorted(known.members)), known.secret, known.total.to_bytes(32, "big"))
        with self._database.transaction() as connection:
            sealed = self._ring.cover(msgspec.msgpack.encode(kept), self._ring.writing(domain), _use(domain))
            connection.execute("INSERT OR REPLACE INTO witnesses VALUES (?, ?)", (domain, sealed))
            self._database.within()[domain] = known
            self._database.after_commit(lambda: self._known.__setitem__(domain, known))


def _use(domain: str) -> str:
    return f"witness {domain}"
