"""The catalogue: datasets, their versions, their policies with history, who may see them."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import msgspec
from bastion_plan.errors import InputError, NotFound, ServerError
from bastion_policy.facts import DatasetFacts, PrivateFacts
from bastion_wire.deciding import decided

from bastion_server.store.database import Database
from bastion_server.store.keyring import KeyRing, changed
from bastion_server.store.sealed import SealedRef

EVERYONE = "*"  #: in an access list: every known identity

_facts_decoder = msgspec.msgpack.Decoder(DatasetFacts)
_private_decoder = msgspec.msgpack.Decoder(PrivateFacts)


@dataclass(frozen=True)
class DatasetRecord:
    """One live dataset, as the catalogue knows it now.

    facts: public facts, policy and roles. private: measured ones, None for a saved frame. kind: "table" or "saved".
    sealed: where its rows are, None for a saved frame. plan: canonical bytes of a saved frame's plan. allow: who may
    see it besides the owner. owner_sealed: whether the owner keeps its key; while that is not held here, `private` is None.
    """

    facts: DatasetFacts
    kind: str
    created: float
    private: PrivateFacts | None = None
    sealed: SealedRef | None = None
    plan: bytes | None = None
    allow: tuple[str, ...] = ()
    owner_sealed: bool = False

    @property
    def decided(self) -> bytes:
        """SHA-256 of what its owner decided, as both ends work it out."""
        return decided(self.facts, self.allow)

    def visible_to(self, identity: str) -> bool:
        """Whether this identity may know that the dataset exists."""
        return identity == self.facts.owner or identity in self.allow or EVERYONE in self.allow


@dataclass(frozen=True)
class PolicyChange:
    """One entry of a dataset's policy history. signed: the owner's statement, empty if there was none."""

    facts: DatasetFacts
    changed_by: str
    changed_at: float
    signed: bytes


class Datasets:
    """Repository of datasets."""

    def __init__(self, database: Database, remove_file: Callable[[str], None], ring: KeyRing) -> None:
        self._database = database
        self._remove_file = remove_file
        self._ring = ring

    @staticmethod
    def new_id() -> str:
        """Return an id for a dataset to be added."""
        return "d-" + secrets.token_hex(8)

    def add(
        self,
        facts: DatasetFacts,
        private: PrivateFacts | None,
        *,
        now: float,
        sealed: SealedRef | None = None,
        plan: bytes | None = None,
        allow: Iterable[str] = (),
        signed: bytes = b"",
        owner_sealed: bool = False,
    ) -> DatasetRecord:
        """Add a dataset: a table with `sealed`, or a saved frame with `plan`.

        Raises:
            InputError: input.dataset.name-taken, when a live dataset of this owner has the name.
        """
        kind = "table" if plan is None else "saved"
        with self._database.transaction() as connection:
            try:
                connection.execute(
                    "INSERT INTO datasets VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
                    (
                        facts.id,
                        facts.name,
                        facts.owner,
                        kind,
                        facts.unit_domain,
                        facts.version,
                        facts.policy_version,
                        now,
                        owner_sealed,
                    ),
                )
            except sqlite3.IntegrityError:
                msg = f"There is already a dataset called {facts.name!r}."
                raise InputError(
                    msg, code="input.dataset.name-taken", next_step="Choose another name, or replace that one."
                ) from None
            self._insert_version(connection, facts, private, sealed, plan, now, owner_sealed=owner_sealed)
            self._insert_policy(connection, facts, facts.owner, now, signed)
            self._write_allow(connection, facts.id, allow)
            return self.get(facts.id)

    def replace(
        self,
        facts: DatasetFacts,
        private: PrivateFacts,
        sealed: SealedRef,
        *,
        by: str,
        now: float,
        signed: bytes = b"",
    ) -> DatasetRecord:
        """Put new rows in place of a dataset's; its old file is deleted once that is durable.

        `facts.version` and `facts.policy_version` must each be the current one plus one.

        Raises:
            NotFound: missing.dataset.
            ServerError: server.store.conflict, when someone else changed the dataset meanwhile.
        """
        with self._database.transaction() as connection:
            old = self.get(facts.id)
            if facts.version != old.facts.version + 1:
                raise _conflict()
            self._check_next(old.facts, facts)
            connection.execute("UPDATE datasets SET version = ? WHERE id = ?", (facts.version, facts.id))
            self._forget_rows(connection, old)
            self._insert_version(connection, facts, private, sealed, None, now, owner_sealed=old.owner_sealed)
            self._insert_policy(connection, facts, by, now, signed)
            return self.get(facts.id)

    def set_facts(self, facts: DatasetFacts, *, by: str, now: float, signed: bytes = b"") -> DatasetRecord:
        """Change policy, roles or unit. `facts.policy_version` must be the current one plus one.

        Raises:
            NotFound: missing.dataset.
            ServerError: server.store.conflict, when someone else changed the dataset meanwhile.
        """
        with self._database.transaction() as connection:
            old = self.get(facts.id)
            if facts.version != old.facts.version:
                raise _conflict()
            self._check_next(old.facts, facts)
            self._insert_policy(connection, facts, by, now, signed)
            return self.get(facts.id)

    def set_allow(self, dataset: str, allow: Iterable[str]) -> DatasetRecord:
        """Replace the access list.

        Raises:
            NotFound: missing.dataset.
        """
        with self._database.transaction() as connection:
            self.get(dataset)
            connection.execute("DELETE FROM dataset_allow WHERE dataset = ?", (dataset,))
            self._write_allow(connection, dataset, allow)
            return self.get(dataset)

    def delete(self, dataset: str, *, now: float) -> None:
        """Delete a dataset: its rows are gone, its name is free, its policy history stays.

        Raises:
            NotFound: missing.dataset.
        """
        with self._database.transaction() as connection:
            old = self.get(dataset)
            connection.execute("UPDATE datasets SET deleted = ? WHERE id = ?", (now, dataset))
            connection.execute("DELETE FROM dataset_allow WHERE dataset = ?", (dataset,))
            self._forget_rows(connection, old)

    def find(self, ref: str, visible_to: str | None = None) -> DatasetRecord | None:
        """Return the live dataset with this id, else with this name, else None.

        visible_to: only what this identity may see; of several with the name its own comes first, then the oldest.
        """
        rows = self._database.rows(
            f"{_SELECT} WHERE d.deleted IS NULL AND (d.id = ? OR d.name = ?)"
            " ORDER BY d.id = ? DESC, d.owner IS ? DESC, d.created, d.id",
            (ref, ref, ref, visible_to),
        )
        records = map(self._record, rows)
        return next((r for r in records if visible_to is None or r.visible_to(visible_to)), None)

    def get(self, ref: str) -> DatasetRecord:
        """Return the live dataset with this id or name.

        Raises:
            NotFound: missing.dataset.
        """
        found = self.find(ref)
        if found is None:
            msg = f"There is no dataset {ref!r} that you may see."
            raise NotFound(msg, code="missing.dataset")
        return found

    def list(self, visible_to: str | None = None) -> list[DatasetRecord]:
        """Return the live datasets, oldest first; with `visible_to`, only those this identity may see."""
        if visible_to is None:
            rows = self._database.rows(f"{_SELECT} WHERE d.deleted IS NULL ORDER BY d.created, d.id")
        else:
            rows = self._database.rows(_SELECT + _VISIBLE, (visible_to, visible_to, EVERYONE))
        return [self._record(row) for row in rows]

    def of_domain(self, domain: str) -> tuple[str, ...]:
        """Return the ids of all tables of a unit domain, deleted ones too: what was told of their people is remembered."""
        rows = self._database.rows("SELECT id FROM datasets WHERE unit_domain = ? OR id = ? ORDER BY id", (domain, domain))
        return tuple(row["id"] for row in rows)

    def history(self, dataset: str) -> Sequence[PolicyChange]:
        """Return all policies a dataset (live or deleted, by id) ever had, oldest first."""
        rows = self._database.rows("SELECT * FROM policies WHERE dataset = ? ORDER BY policy_version", (dataset,))
        return [
            PolicyChange(_decode_facts(row["facts"]), row["changed_by"], row["changed_at"], row["signed"])
            for row in rows
        ]

    def files(self) -> set[str]:
        """Return the names of all sealed files the catalogue refers to."""
        return {row["file"] for row in self._database.rows("SELECT file FROM dataset_versions WHERE file IS NOT NULL")}

    # ---- inside -----------------------------------------------------------------------------------------------------

    @staticmethod
    def _check_next(old: DatasetFacts, new: DatasetFacts) -> None:
        if new.policy_version != old.policy_version + 1:
            raise _conflict()
        if (new.name, new.owner) != (old.name, old.owner):
            msg = "A dataset keeps its name and owner."
            raise InputError(msg, code="input.dataset.renamed")

    def _insert_version(
        self,
        connection: sqlite3.Connection,
        facts: DatasetFacts,
        private: PrivateFacts | None,
        sealed: SealedRef | None,
        plan: bytes | None,
        now: float,
        *,
        owner_sealed: bool,
    ) -> None:
        encoded = None if private is None else msgspec.msgpack.encode(asdict(private))
        if encoded is not None and (owner_sealed or self._ring.of((facts.id,))):
            encoded = self._ring.hide(facts.id, facts.version, encoded)
        place = (None,) * 4 if sealed is None else (sealed.name, sealed.wrapped_key, sealed.size, sealed.sha256)
        connection.execute(
            "INSERT INTO dataset_versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (facts.id, facts.version, encoded, plan, *place, now),
        )

    @staticmethod
    def _insert_policy(connection: sqlite3.Connection, facts: DatasetFacts, by: str, now: float, signed: bytes) -> None:
        connection.execute(
            "INSERT INTO policies VALUES (?, ?, ?, ?, ?, ?, ?)",
            (facts.id, facts.policy_version, facts.version, msgspec.msgpack.encode(facts), by, now, signed),
        )
        connection.execute(
            "UPDATE datasets SET policy_version = ?, unit_domain = ? WHERE id = ?",
            (facts.policy_version, facts.unit_domain, facts.id),
        )

    @staticmethod
    def _write_allow(connection: sqlite3.Connection, dataset: str, allow: Iterable[str]) -> None:
        connection.executemany(
            "INSERT INTO dataset_allow VALUES (?, ?)", [(dataset, name) for name in sorted(set(allow))]
        )

    def _forget_rows(self, connection: sqlite3.Connection, old: DatasetRecord) -> None:
        """Drop key, file and measured facts of the version that was current."""
        connection.execute(
            "UPDATE dataset_versions SET private = NULL, file = NULL, wrapped_key = NULL WHERE dataset = ? AND version = ?",
            (old.facts.id, old.facts.version),
        )
        if old.sealed is not None:
            name = old.sealed.name
            self._database.after_commit(lambda: self._remove(name))

    def _remove(self, name: str) -> None:
        # its key is gone from the catalogue; a file the disk would not delete now is swept away at the next start
        with contextlib.suppress(OSError):
            self._remove_file(name)

    def _record(self, row: sqlite3.Row) -> DatasetRecord:
        allow = self._database.rows(
            "SELECT identity FROM dataset_allow WHERE dataset = ? ORDER BY identity", (row["id"],)
        )
        sealed = None
        if row["file"] is not None:
            sealed = SealedRef(row["file"], row["wrapped_key"], row["size"], row["sha256"])
        facts, measured = _decode_facts(row["facts"]), row["private"]
        # INVARIANT: whether it is sealed is told by the keys that were released, not by the row's mark, which somebody may have taken
        # away; measured facts of such a dataset are those that its key opens, as of the version that its owner decided about
        known = bool(self._ring.of((row["id"],)))
        said = (row["id"], row["version"], row["kind"], bool(row["owner_sealed"]))
        if known and (measured is None or said != (facts.id, facts.version, "table", True)):
            raise changed()
        owner_sealed = known or bool(row["owner_sealed"])
        if measured is not None and owner_sealed:
            measured = self._ring.show(row["id"], row["version"], measured)
        private = None if measured is None else _decode_private(measured)
        return DatasetRecord(
            facts=facts,
            kind=row["kind"],
            created=row["created"],
            private=private,
            sealed=sealed,
            plan=row["plan"],
            allow=tuple(a["identity"] for a in allow),
            owner_sealed=owner_sealed,
        )


_SELECT = """
SELECT d.id, d.kind, d.created, d.owner_sealed, d.version, p.facts, v.private, v.plan, v.file, v.wrapped_key, v.size, v.sha256
FROM datasets d
JOIN policies p ON p.dataset = d.id AND p.policy_version = d.policy_version
JOIN dataset_versions v ON v.dataset = d.id AND v.version = d.version
"""
_VISIBLE = """
WHERE d.deleted IS NULL AND (
    d.owner = ? OR EXISTS (SELECT 1 FROM dataset_allow a WHERE a.dataset = d.id AND a.identity IN (?, ?))
)
ORDER BY d.created, d.id
"""


def _decode_private(data: bytes) -> PrivateFacts:
    try:
        return _private_decoder.decode(data)
    except msgspec.MsgspecError as error:
        msg = "What the catalogue says of a dataset is damaged."
        raise ServerError(
            msg, code="server.sealed.damaged", next_step="Restore catalogue.db from a backup, or delete the dataset."
        ) from error


def _decode_facts(data: bytes) -> DatasetFacts:
    try:
        return _facts_decoder.decode(data)
    except msgspec.MsgspecError as error:
        msg = "The catalogue holds facts this release cannot read."
        raise ServerError(msg, code="server.store.facts", next_step="Start the release that wrote them.") from error


def _conflict() -> ServerError:
    msg = "The dataset was changed by someone else meanwhile."
    return ServerError(msg, code="server.store.conflict", next_step="Look at it again, then repeat the change.")
