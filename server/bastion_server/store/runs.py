"""Fits: what was asked, how far it is, what it was charged, its sealed checkpoint and weights."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec
from bastion_plan.errors import NotFound, ServerError
from bastion_plan.models.fits import FitSpec, decode_spec, encode_spec, fit_hash

from bastion_server.store.binding import binding, parts
from bastion_server.store.database import Database
from bastion_server.store.keyring import KeyRing, changed
from bastion_server.store.keys import ServerKeys
from bastion_server.store.own_fits import OwnFits
from bastion_server.store.sealed import SealedRef

QUEUED, RUNNING, DONE, STOPPED, FAILED = "queued", "running", "done", "stopped", "failed"
ACTIVE = (QUEUED, RUNNING)
RESTARTED = ("train.restarted", "The server was restarted while this fit ran. Resume it from its last checkpoint.")
_ROW = "SELECT * FROM runs WHERE id = ?"


@dataclass(frozen=True)
class Run:
    """One fit. step: done, as told; paid: steps that were charged; credit: of these, steps that no worker was asked for.

    losses: per epoch (their mean so far, how many steps it is of). grant: that allows it, "" where it is private.
    """

    id: str
    state: str
    requester: str
    plan: bytes = field(repr=False)
    plan_hash: str
    fit_hash: str
    versions: dict[str, int]
    policy_versions: dict[str, int]
    model: str
    graph: bytes = field(repr=False)
    parameters: int
    spec: FitSpec
    sigma: float
    delta: float
    grant: str
    words: str
    created: float
    step: int = 0
    paid: int = 0
    credit: int = 0
    spent: float = 0.0
    tight: float = 0.0
    losses: tuple[tuple[float | None, int], ...] = ()
    code: str = ""
    problem: str = ""
    ended: float = 0.0

    @property
    def active(self) -> bool:
        """Whether it runs, or waits to."""
        return self.state in ACTIVE


@dataclass(frozen=True)
class RunFile:
    """A sealed file of a fit, as it was after a step."""

    sealed: SealedRef
    step: int


class Runs:
    """Repository of fits.

    INVARIANT: steps are counted as paid in the transaction that charges the ledger, and never less afterwards.

    INVARIANT: of a fit on sealed datasets, what it is and which steps of it are paid and not asked for are what this process wrote, whatever
    the catalogue says (server.catalogue.changed); after a restart there are no such steps. Losses and measurements are encrypted by the keys.
    """

    def __init__(self, database: Database, remove_file: Callable[[str], None], ring: KeyRing) -> None:
        self._database, self._remove_file, self._own = database, remove_file, OwnFits(database, ring)

    def add(
        self,
        *,
        requester: str,
        plan: bytes,
        plan_hash: str,
        versions: Mapping[str, int],
        policy_versions: Mapping[str, int],
        model: str,
        graph: bytes,
        parameters: int,
        spec: FitSpec,
        sigma: float,
        delta: float,
        grant: str,
        words: str,
        now: float,
    ) -> Run:
        """Write down a fit that is to run."""
        identifier = "f-" + secrets.token_hex(8)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO runs (id, state, requester, plan, plan_hash, fit_hash, binding, model, graph, parameters, spec,"
                " sigma, delta, grant_id, words, created) VALUES (?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    identifier, requester, plan, plan_hash, fit_hash(plan_hash, model, spec), binding(versions, policy_versions),
                    model, graph, parameters, encode_spec(spec), sigma, delta, grant, words, now,
                ),
            )  # fmt: skip
            connection.executemany("INSERT INTO run_datasets VALUES (?, ?)", [(identifier, name) for name in versions])
            return self._own.note(self.get(identifier))

    def get(self, run: str) -> Run:
        """Return one fit. Who may see it is the caller's to check.

        Raises:
            NotFound: missing.run. ServerError: server.catalogue.changed.
        """
        row = self._database.row(_ROW, (run,))
        if row is None:
            raise missing(run)
        return self._record(row)

    def same(self, requester: str, fit: str, bound: bytes) -> Run | None:
        """Return the fit of just this that runs, or waits to."""
        row = self._database.row(
            "SELECT * FROM runs WHERE requester = ? AND fit_hash = ? AND binding = ? AND state IN ('queued', 'running')",
            (requester, fit, bound),
        )
        return None if row is None else self._record(row)

    def of_grant(self, grant: str) -> Run | None:
        """Return the latest fit that a grant allowed."""
        if grant in self._own.granted:
            return self.get(self._own.granted[grant])
        row = self._database.row("SELECT * FROM runs WHERE grant_id = ? ORDER BY rowid DESC LIMIT 1", (grant,))
        return None if row is None else self._record(row)

    def list(self, *, requester: str, datasets: Iterable[str] = (), since: float = 0.0, limit: int = 500) -> list[Run]:
        """Return the fits of an identity, and those on datasets of its own; the latest ones, oldest first."""
        owned = tuple(datasets)
        rows = self._database.rows(
            "SELECT * FROM runs WHERE (requester = ? AND created >= ?) OR id IN (SELECT run FROM run_datasets WHERE dataset"  # noqa: S608
            f" IN ({', '.join('?' * len(owned))})) ORDER BY rowid DESC LIMIT ?",
            (requester, since, *owned, limit),
        )
        return [self._listed(row) for row in reversed(rows)]

    def count(self, requester: str) -> int:
        """Return how many fits of an identity there are."""
        row = self._database.row("SELECT count(*) AS n FROM runs WHERE requester = ?", (requester,))
        assert row is not None
        return int(row["n"])

    # -- what this process knows of fits on sealed datasets

    def _record(self, row: sqlite3.Row) -> Run:
        run = _run(row)
        if self._own.agrees(run) is False:
            with self._database.still():  # what is known may be a moment behind what was committed
                again = self._database.row(_ROW, (run.id,))
                if again is None:
                    raise missing(run.id)
                row, run = again, _run(again)
                if self._own.agrees(run) is False:
                    raise changed()
        if self._own.agrees(run) is None and self._own.sealed(run):
            run = replace(run, credit=0)
        return replace(run, losses=self._own.losses(run, row["losses"]))

    def _listed(self, row: sqlite3.Row) -> Run:
        try:
            return self._record(row)
        except ServerError as error:
            words = f"{error.message} {error.next_step}"
            return replace(_run(row), state=FAILED, code=error.code, problem=words)

    # -- how it goes

    def begin(self, run: str, step: int) -> None:
        """It runs, from a step on."""
        self._set(run, state=RUNNING, step=step, code="", problem="", ended=0.0)

    def pay(self, run: str, steps: int, domains: Iterable[str], spent: float) -> None:
        """Count steps as paid; called inside the transaction that charges them. spent: epsilon of all of them so far."""
        with self._database.transaction() as connection:
            before = self.get(run)
            connection.execute(
                "UPDATE runs SET paid = paid + ?, credit = 0, spent = ? WHERE id = ?", (steps, spent, run)
            )
            self._own.note(replace(before, paid=before.paid + steps, credit=0))
            connection.executemany(
                "INSERT INTO run_charges VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET steps = steps + excluded.steps",
                [(run, domain, steps) for domain in domains],
            )

    def charges(self, run: str) -> dict[str, int]:
        """Return the steps that were charged, by unit domain."""
        rows = self._database.rows("SELECT unit_domain, steps FROM run_charges WHERE run = ?", (run,))
        return {row["unit_domain"]: row["steps"] for row in rows}

    def advance(self, run: str, step: int, losses: Iterable[tuple[float | None, int]]) -> None:
        """Note how far it is; of a fit on a dataset whose key was taken back, not its losses."""
        try:
            told = {"losses": self._own.covered(self.get(run), losses)}
        except ServerError as error:
            if error.code != "server.locked":
                raise
            told = {}
        self._set(run, step=step, **told)

    def end(
        self,
        run: str,
        state: str,
        now: float,
        *,
        code: str = "",
        problem: str = "",
        credit: int = 0,
        tight: float = 0.0,
    ) -> Run:
        """It has ended, for now. credit: steps that were paid and that no worker was asked for."""
        with self._database.transaction():
            before = self.get(run)
            self._set(run, state=state, ended=now, code=code, problem=problem, credit=credit, tight=tight)
            self._own.note(replace(before, state=state, credit=credit))
        return self.get(run)

    def resume(self, run: str, spec: FitSpec, grant: str) -> Run | None:
        """Let it go on: `spec` is its own, with more steps, and a larger epsilon of all of them. None where it goes on already.

        INVARIANT: the steps that were paid and not asked for are taken out as it goes on, so nobody takes them twice.
        """
        with self._database.transaction():
            before = self.get(run)
            fixed = msgspec.structs.replace(spec, steps=before.spec.steps, epsilon=before.spec.epsilon)
            if fixed != before.spec:
                msg = "only steps and epsilon of a fit may grow"
                raise ValueError(msg)
            if before.active:
                return None
            fit = fit_hash(before.plan_hash, before.model, spec)
            after = replace(
                before,
                state=QUEUED,
                spec=spec,
                fit_hash=fit,
                grant=grant,
                code="",
                problem="",
                ended=0.0,
                tight=0.0,
                credit=0,
            )
            self._set(
                run, state=QUEUED, spec=encode_spec(spec), fit_hash=fit, grant_id=grant, code="", problem="", ended=0.0, tight=0.0, credit=0,
                losses=self._own.covered(after, before.losses),
            )  # fmt: skip
            return replace(self._own.note(after), credit=before.credit)

    def recover(self, now: float) -> int:
        """After a restart: what ran has stopped, and everything that was paid counts as used; return how many."""
        code, problem = RESTARTED
        with self._database.transaction() as connection:
            return connection.execute(
                "UPDATE runs SET state = 'stopped', code = ?, problem = ?, credit = 0, ended = ? WHERE state IN ('queued', 'running')",
                (code, problem, now),
            ).rowcount

    def _set(self, run: str, **values: object) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        with self._database.transaction() as connection:
            cursor = connection.execute(f"UPDATE runs SET {names} WHERE id = ?", (*values.values(), run))  # noqa: S608 - names of ours
            if not cursor.rowcount:
                raise missing(run)

    # -- files

    def keep(self, run: str, kind: str, ref: SealedRef, step: int, now: float) -> None:
        """Keep a sealed file of a fit in place of the one before."""
        with self._database.transaction() as connection:
            old = connection.execute("SELECT file FROM run_files WHERE run = ? AND kind = ?", (run, kind)).fetchone()
            connection.execute(
                "INSERT OR REPLACE INTO run_files VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (run, kind, step, ref.name, ref.wrapped_key, ref.size, ref.sha256, now),
            )
        self._remove([old] if old is not None else [])

    def file(self, run: str, kind: str) -> RunFile | None:
        """Return a sealed file of a fit, None where there is none."""
        row = self._database.row("SELECT * FROM run_files WHERE run = ? AND kind = ?", (run, kind))
        if row is None:
            return None
        return RunFile(SealedRef(row["file"], row["wrapped_key"], row["size"], row["sha256"]), row["step"])

    def files(self) -> set[str]:
        """Return the sealed files of all fits."""
        return {row["file"] for row in self._database.rows("SELECT file FROM run_files")}

    def held(self, requester: str) -> int:
        """Return how many bytes the files of somebody's fits have."""
        row = self._database.row(
            "SELECT coalesce(sum(size), 0) AS size FROM run_files JOIN runs ON runs.id = run_files.run WHERE requester = ?",
            (requester,),
        )
        assert row is not None
        return int(row["size"])

    def delete(self, run: str) -> None:
        """Forget a fit with its files; what it cost stays in the ledger."""
        with self._database.transaction() as connection:
            files = connection.execute("SELECT file FROM run_files WHERE run = ?", (run,)).fetchall()
            connection.execute("DELETE FROM runs WHERE id = ?", (run,))
            self._database.after_commit(lambda: self._own.forget(run))
        self._remove(files)

    def prune(self) -> int:
        """Forget what fits without noise learned whose approval has ended; return how many files."""
        with self._database.transaction() as connection:
            gone = connection.execute(
                "DELETE FROM run_files WHERE run IN (SELECT runs.id FROM runs JOIN grants ON grants.id = runs.grant_id"
                " WHERE grants.ended <> '' AND runs.state NOT IN ('queued', 'running')) RETURNING file"
            ).fetchall()
        self._remove(gone)
        return len(gone)

    def _remove(self, rows: Iterable[sqlite3.Row]) -> None:
        for row in rows:
            with contextlib.suppress(OSError):  # its key is gone with the row; swept away at the next start
                self._remove_file(row["file"])

    # -- who is for testing

    def split_key(self, domain: str, keys: ServerKeys) -> bytes:
        """Return the secret of a unit domain that says which of its people are for testing, made at its first use."""
        row = self._database.row("SELECT wrapped FROM split_keys WHERE unit_domain = ?", (domain,))
        if row is None:
            with self._database.transaction() as connection:
                connection.execute(
                    "INSERT INTO split_keys VALUES (?, ?) ON CONFLICT DO NOTHING",
                    (domain, keys.wrap(secrets.token_bytes(32))),
                )
            row = self._database.row("SELECT wrapped FROM split_keys WHERE unit_domain = ?", (domain,))
            assert row is not None
        return keys.unwrap(row["wrapped"])

    # -- measurements

    def metric(self, run: str, metric: str, part: str, bound: float, step: int, epsilon: float | None) -> bytes | None:
        """Return a measurement of these very weights that was paid. epsilon: at least; None for the best one."""
        row = self._database.row(
            "SELECT * FROM run_metrics WHERE run = ? AND metric = ? AND part = ? AND bound = ? AND step = ?"
            " AND (? IS NULL OR epsilon >= ?) ORDER BY epsilon DESC LIMIT 1",
            (run, metric, part, bound, step, epsilon, epsilon),
        )
        return None if row is None else self._own.measurement(self.get(run), row)

    def measured(
        self, run: str, metric: str, part: str, bound: float, step: int, epsilon: float, answer: bytes, now: float
    ) -> bytes:
        """Keep a measurement before it leaves; returns what is kept, an earlier one if there is one."""
        place = {"metric": metric, "part": part, "bound": float(bound), "step": step, "epsilon": float(epsilon)}
        of = self.get(run)
        answer = self._own.measured(of, place, answer)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO run_metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (run, metric, part, bound, step, epsilon, answer, now),
            )
        kept = self.metric(run, metric, part, bound, step, epsilon)
        assert kept is not None
        return kept

    def metrics(self, run: str) -> tuple[tuple[str, str, bytes], ...]:
        """Return (metric, part, answer) of all measurements of the latest weights, oldest first; none that do not open now."""
        rows = self._database.rows(
            "SELECT m.* FROM run_metrics m WHERE m.run = ? AND m.step = (SELECT max(step) FROM"
            " run_metrics WHERE run = m.run) ORDER BY m.created",
            (run,),
        )
        try:
            of = self.get(run) if rows else None
            return tuple((row["metric"], row["part"], self._own.measurement(of, row)) for row in rows if of is not None)
        except ServerError:
            return ()


def missing(run: str) -> NotFound:
    """Return the error of a fit that is not there, or not one's own."""
    return NotFound(f"There is no fit {run[:80]!r} that you may see.", code="missing.run")


def _run(row: sqlite3.Row) -> Run:
    bound = parts(row["binding"])
    return Run(
        id=row["id"], state=row["state"], requester=row["requester"], plan=row["plan"], plan_hash=row["plan_hash"],
        fit_hash=row["fit_hash"],
        versions={name: version for name, version, _ in bound},
        policy_versions={name: version for name, _, version in bound},
        model=row["model"], graph=row["graph"], parameters=row["parameters"], spec=decode_spec(row["spec"]), sigma=row["sigma"],
        delta=row["delta"], grant=row["grant_id"], words=row["words"], created=row["created"], step=row["step"],
        paid=row["paid"], credit=row["credit"], spent=row["spent"], tight=row["tight"],
        code=row["code"], problem=row["problem"], ended=row["ended"],
    )  # fmt: skip
