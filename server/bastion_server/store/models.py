"""Models that scientists sent: graph in the catalogue, weights sealed, gone a day after their last use, or their request's end."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bastion_server.store.database import Database
from bastion_server.store.sealed import SealedRef

KEPT = 86_400.0  #: seconds that a model is kept after its last use


def model_name(graph_sha256: bytes, weights_sha256: bytes) -> str:
    """Return what names a model: SHA-256 over the digests of its graph and of its first weights."""
    parts = (b"bastionlab.model.1", graph_sha256, weights_sha256)
    return hashlib.sha256(b"".join(len(p).to_bytes(8, "big") + p for p in parts)).hexdigest()


@dataclass(frozen=True)
class KeptModel:
    """A model of one identity. sealed: its first weights, safetensors bytes that nobody has read yet."""

    name: str
    identity: str
    graph: bytes = field(repr=False)
    parameters: int
    sealed: SealedRef
    created: float


class Models:
    """Repository of models, by sender: whoever has another's model's name has nothing."""

    def __init__(self, database: Database, remove_file: Callable[[str], None]) -> None:
        self._database, self._remove_file = database, remove_file

    def put(self, model: KeptModel, now: float) -> bool:
        """Keep a model; False where this identity has it already (its use is noted, and the new file is not kept)."""
        ref = model.sealed
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO models VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    model.name, model.identity, model.graph, model.parameters, ref.name, ref.wrapped_key, ref.size, ref.sha256,
                    now, now,
                ),
            )  # fmt: skip
            if not cursor.rowcount:
                connection.execute(
                    "UPDATE models SET used = ?, created = ? WHERE name = ? AND identity = ?",
                    (now, now, model.name, model.identity),
                )
            return bool(cursor.rowcount)

    def get(self, name: str, identity: str, now: float, since: float = 0.0) -> KeptModel | None:
        """Return a model that an identity sent (after `since`), and note its use."""
        row = self._database.row(
            "SELECT * FROM models WHERE name = ? AND identity = ? AND created >= ?", (name, identity, since)
        )
        if row is None:
            return None
        with self._database.transaction() as connection:
            self._use(connection, name, identity, now)
        ref = SealedRef(row["file"], row["wrapped_key"], row["size"], row["sha256"])
        return KeptModel(row["name"], row["identity"], row["graph"], row["parameters"], ref, row["created"])

    @staticmethod
    def _use(connection: sqlite3.Connection, name: str, identity: str, now: float) -> None:
        connection.execute(
            "UPDATE models SET used = max(used, ?) WHERE name = ? AND identity = ?", (now, name, identity)
        )

    def room(self, identity: str) -> tuple[int, int]:
        """Return (models, bytes) that an identity takes up."""
        row = self._database.row(
            "SELECT count(*) AS n, coalesce(sum(size + length(graph)), 0) AS b FROM models WHERE identity = ?",
            (identity,),
        )
        assert row is not None
        return row["n"], row["b"]

    def prune(self, now: float, waited: Iterable[tuple[str, str]] = ()) -> int:
        """Forget models not used for a day, but for those that a fit waits for; return how many.

        waited: (identity, model) that a request for a fit stands for.
        """
        with self._database.transaction() as connection:
            for identity, name in waited:
                self._use(connection, name, identity, now)
            gone = connection.execute(
                "DELETE FROM models WHERE used < ? AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.model = models.name"
                " AND runs.requester = models.identity AND runs.state IN ('queued', 'running')) RETURNING file",
                (now - KEPT,),
            ).fetchall()
        for row in gone:
            with contextlib.suppress(OSError):  # swept away at the next start
                self._remove_file(row["file"])
        return len(gone)

    def files(self) -> set[str]:
        """Return the sealed files of all models."""
        return {row["file"] for row in self._database.rows("SELECT file FROM models")}
