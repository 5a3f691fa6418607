"""The store: one directory with the catalogue, sealed datasets, requests, grants, the server's keys and the audit log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bastion_plan.errors import ServerError
from nacl.public import PrivateKey

from bastion_server.store.asked import Asked, AskedPlans
from bastion_server.store.audiences import Audiences
from bastion_server.store.audit import AuditLog, Record
from bastion_server.store.database import Database
from bastion_server.store.datasets import DatasetRecord, Datasets, PolicyChange
from bastion_server.store.files import DISK, Files
from bastion_server.store.grants import Grant, Grants, Reading
from bastion_server.store.histories import Histories
from bastion_server.store.identities import Identities
from bastion_server.store.keyring import Held, KeyRing
from bastion_server.store.keys import ServerKeys, load_or_create
from bastion_server.store.ledger import Charge, Ledger, NoisyAnswer, Overspent, Standing
from bastion_server.store.lock import DirectoryLock
from bastion_server.store.models import Models
from bastion_server.store.requests import AccessRequest, Limits, RequestGroup, Requests, Shown
from bastion_server.store.results import KeptResult, Results
from bastion_server.store.runs import Runs
from bastion_server.store.sealed import SealedFiles, SealedReader, SealedRef, SealedWriter
from bastion_server.store.statements import Statements
from bastion_server.store.verify import verify
from bastion_server.store.vouching import Vouching
from bastion_server.store.witness import Witness

__all__ = [
    "AccessRequest",
    "Asked",
    "AskedPlans",
    "Audiences",
    "AuditLog",
    "Charge",
    "DatasetRecord",
    "Datasets",
    "Grant",
    "Grants",
    "Held",
    "Histories",
    "KeptResult",
    "KeyRing",
    "Ledger",
    "Limits",
    "Models",
    "NoisyAnswer",
    "Overspent",
    "PolicyChange",
    "Reading",
    "Record",
    "RequestGroup",
    "Requests",
    "Results",
    "Runs",
    "SealedFiles",
    "SealedReader",
    "SealedRef",
    "SealedWriter",
    "ServerKeys",
    "Shown",
    "Standing",
    "Statements",
    "Store",
    "load_or_create",
    "verify",
]


@dataclass(frozen=True)
class Store:
    """Everything a server keeps, open. Its parts may be used from any thread."""

    directory: Path
    keys: ServerKeys
    ring: KeyRing
    sealed: SealedFiles
    database: Database
    datasets: Datasets
    grants: Grants
    requests: Requests
    results: Results
    histories: Histories
    audiences: Audiences
    statements: Statements
    ledger: Ledger
    asked: AskedPlans
    models: Models
    runs: Runs
    identities: Identities
    audit: AuditLog
    witness: Witness
    _lock: DirectoryLock

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        now: float,
        *,
        limits: Limits | None = None,
        files: Files = DISK,
        fresh_channel: bool = False,
    ) -> Store:
        """Open the store in `directory`, made if it is not there; leftovers of a crash are cleared away.

        Args:
            directory: readable by the server's user only (mode 0700).
            now: seconds since 1970.
            limits: of access requests.
            files: the disk; another in tests.
            fresh_channel: take a CURVE key of this process' memory alone, for evidence about a key that nobody finds on the disk.

        Raises:
            ServerError: server.store.locked, server.store.newer, server.store.damaged, server.store.catalogue-missing,
                server.keys.*, server.audit.damaged, server.audit.rollback, server.audit.rewritten …
        """
        path = Path(directory)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = DirectoryLock(path, files=files)
        database: Database | None = None
        try:
            catalogue = path / "catalogue.db"
            used = catalogue.exists() or (path / "audit.log").exists()
            keys = load_or_create(path, may_create=not used, files=files)
            if fresh_channel:
                keys = replace(keys, curve=PrivateKey.generate())
            ring = KeyRing(keys)
            sealed = SealedFiles(path / "sealed", ring, files=files)
            if not catalogue.exists() and sealed.names():
                # INVARIANT: what nothing refers to is swept away; a lost catalogue must not look like that
                msg = "The store has sealed datasets but no catalogue."
                raise ServerError(
                    msg, code="server.store.catalogue-missing", next_step="Restore catalogue.db from a backup."
                )
            audit = AuditLog(path, keys, now, may_create=not catalogue.exists(), files=files)
            try:
                database = Database(catalogue)
                datasets = Datasets(database, sealed.remove, ring)
                grants = Grants(database, Vouching(ring))
                requests = Requests(database, grants, ring, limits)
                requests.expire(now)
                grants.expire(now)
                results = Results(database, sealed.remove)
                results.prune()
                witness = Witness(database, ring)
                histories = Histories(database, sealed, ring, witness)
                histories.prune()
                audiences = Audiences(database, witness)
                audiences.build(datasets)
                models, runs = Models(database, sealed.remove), Runs(database, sealed.remove, ring)
                runs.recover(now)
                models.prune(now)
                runs.prune()
                sealed.sweep(datasets.files() | results.files() | histories.files() | models.files() | runs.files())
            except BaseException:
                audit.close()
                raise
        except BaseException as error:
            if database is not None:
                database.close()
            lock.release()
            if isinstance(error, OSError):
                msg = "The store's directory cannot be read or written."
                raise ServerError(msg, code="server.store.io") from error
            raise
        return cls(
            path,
            keys,
            ring,
            sealed,
            database,
            datasets,
            grants,
            requests,
            results,
            histories,
            audiences,
            Statements(database),
            Ledger(database, ring, witness),
            AskedPlans(database),
            models,
            runs,
            Identities(database, requests, grants),
            audit,
            witness,
            lock,
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several changes of the catalogue atomic: all writes of this thread inside belong together."""
        with self.database.transaction():
            yield

    def close(self, now: float | None = None) -> None:
        """Finish what is pending and let go of the directory; with `now`, sign a last checkpoint. May be called again."""
        self.audit.close(now)
        self.database.close()
        self._lock.release()
