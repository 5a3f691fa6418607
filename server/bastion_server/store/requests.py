"""Access requests: filed by scientists, decided by owners, bound to exactly what was asked."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from bastion_plan.errors import InputError, NotFound, ServerError
from bastion_plan.models.fits import FitSpec

from bastion_server.store.binding import binding, parts
from bastion_server.store.database import Database
from bastion_server.store.grants import Grant, Grants
from bastion_server.store.keyring import COVERED, KeyRing

PENDING, APPROVED, DENIED, EXPIRED, WITHDRAWN = "pending", "approved", "denied", "expired", "withdrawn"
MAX_ENDED = 10_000  #: expired requests that are remembered until somebody tells of them
STATES = (PENDING, APPROVED, DENIED, EXPIRED, WITHDRAWN)


@dataclass(frozen=True)
class Limits:
    """How much one requester may ask, and how long things last. Times in seconds.

    pending: open requests at a time. filed, window: requests filed per window. lifetime: of an undecided request.
    grant: of an approval for once without a date.
    """

    pending: int = 20
    filed: int = 60
    window: float = 3600.0
    lifetime: float = 14 * 86400.0
    grant: float = 7 * 86400.0


class Shown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What owner and requester are shown of a request.

    roles, uses: of the columns, by "dataset.column". expressions: in plain words, one by one.
    findings_private, figures (cells, people): owner only. model, spec: of a request for a fit.
    """

    code: str = ""
    words: str = ""
    columns: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    findings_private: tuple[str, ...] = ()
    roles: dict[str, str] = {}
    uses: dict[str, tuple[str, ...]] = {}
    expressions: tuple[str, ...] = ()
    figures: dict[str, float] = {}
    model: str = ""
    spec: FitSpec | None = None


class OwnerDecision(msgspec.Struct, frozen=True):
    """How one owner decided. decision: "", "approve" or "deny". signed: the owner's signed statement."""

    owner: str
    decision: str = ""
    decided_at: float = 0.0
    answer: str = ""
    signed: bytes = b""


@dataclass(frozen=True)
class AccessRequest:
    """One request. `owners` must all approve; one denial decides. grant: id, once approved.

    problem: why nothing is shown of one about sealed datasets (server.locked, server.catalogue.changed), else None.
    """

    id: str
    state: str
    requester: str
    plan_hash: str
    plan: bytes = field(repr=False)
    versions: dict[str, int]
    policy_versions: dict[str, int]
    reason: str
    shown: Shown
    created: float
    expires: float
    owners: tuple[OwnerDecision, ...]
    decided_by: str = ""
    decided_at: float = 0.0
    answer: str = ""
    grant: Grant | None = None
    problem: ServerError | None = None


@dataclass(frozen=True)
class RequestGroup:
    """Open requests of one requester about the same datasets, oldest first."""

    requester: str
    datasets: tuple[str, ...]
    requests: tuple[AccessRequest, ...]


class Requests:
    """Repository of requests.

    pending -> approved | denied | expired | withdrawn, and nothing else: each transition is one conditional update, and
    a trigger of the table refuses any other.

    INVARIANT: what is shown of a request about sealed datasets is encrypted by their keys, as of this very request: its plan, hash, datasets,
    requester and reason. Where a row says other, nothing is shown and nothing can be approved.
    """

    def __init__(self, database: Database, grants: Grants, ring: KeyRing, limits: Limits | None = None) -> None:
        self._database = database
        self._grants = grants
        self._ring = ring
        self.limits = limits or Limits()
        #: ids of requests that expired since they were last taken out, in whatever way it was noticed
        self.ended: deque[str] = deque(maxlen=MAX_ENDED)

    def file(
        self,
        *,
        plan_hash: str,
        plan: bytes,
        versions: Mapping[str, int],
        policy_versions: Mapping[str, int],
        requester: str,
        owners: Iterable[str],
        reason: str,
        now: float,
        shown: Shown | None = None,
    ) -> tuple[AccessRequest, bool]:
        """File a request; return it and whether it is new.

        Filing the same again (plan, versions, policy versions, requester) returns the earlier request while it is open,
        denied, or approved with its grant in force; a withdrawn, expired or used-up one may be asked anew.

        Raises:
            InputError: input.request.too-many (open at a time, or filed within the window).
        """
        bound = binding(versions, policy_versions)
        with self._database.transaction() as connection:
            self._expire(connection, now)
            for row in connection.execute(
                "SELECT id, state FROM requests WHERE requester = ? AND plan_hash = ? AND binding = ? ORDER BY rowid DESC",
                (requester, plan_hash, bound),
            ).fetchall():
                grant = self._grants.of_request(row["id"])
                in_force = grant is not None and not grant.ended and grant.until > now
                if row["state"] in (PENDING, DENIED) or (row["state"] == APPROVED and in_force):
                    return self.get(row["id"]), False
            self._check_rate(connection, requester, now)
            identifier = "r-" + secrets.token_hex(8)
            use = ""
            if self._ring.of(versions):
                use = _use(identifier, requester, plan_hash, bound, plan, reason, float(now))
            shown = shown or Shown()
            connection.execute(
                "INSERT INTO requests (id, state, requester, plan_hash, binding, plan, reason, shown, created, expires, model)"
                " VALUES (?, 'pending', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    identifier,
                    requester,
                    plan_hash,
                    bound,
                    plan,
                    reason,
                    self._ring.cover(msgspec.msgpack.encode(shown), versions, use),
                    now,
                    now + self.limits.lifetime,
                    shown.model,
                ),
            )
            names = sorted(set(owners))
            if not names:
                msg = "a request needs an owner to decide it"
                raise ValueError(msg)
            connection.executemany(
                "INSERT INTO request_owners (request, owner) VALUES (?, ?)", [(identifier, name) for name in names]
            )
            connection.executemany(
                "INSERT INTO request_datasets VALUES (?, ?, ?, ?)", [(identifier, *part) for part in parts(bound)]
            )
            return self.get(identifier), True

    def decide(
        self,
        request: str,
        *,
        owner: str,
        approve: bool,
        now: float,
        answer: str = "",
        until: float = 0.0,
        may_run: bool = True,
        may_read: bool = True,
        signed: bytes = b"",
    ) -> AccessRequest:
        """Record one owner's decision; with the last approval the grant is made in the same transaction.

        until: seconds since 1970; 0 for once, within `limits.grant`. With several owners the strictest of all applies.

        Raises:
            NotFound: missing.request (also for one this owner has no say in).
            InputError: input.request.decided (no longer pending, or this owner decided already),
                input.request.outdated (data or policy changed since; it is then expired), input.request.until.
        """
        if approve and until != 0 and not until > now:
            msg = "The date until which the approval holds is past."
            raise InputError(msg, code="input.request.until", next_step="Give a later date.")
        if approve and not may_run:
            msg = "What may not run cannot be read."
            raise InputError(
                msg,
                code="input.request.nothing",
                next_step="Approve the run, with or without reading, or deny the request.",
            )
        with self._database.transaction() as connection:
            self._expire(connection, now)
            found = connection.execute(
                "SELECT r.state, o.decision FROM requests r JOIN request_owners o ON o.request = r.id"
                " WHERE r.id = ? AND o.owner = ?",
                (request, owner),
            ).fetchone()
            if found is None:
                raise _missing(request)
            current = self._still_current(connection, request)
            if found["state"] == PENDING and not current:
                self._move(connection, request, EXPIRED, by="", now=now, answer="")
            elif found["state"] == PENDING and not found["decision"]:
                connection.execute(
                    "UPDATE request_owners SET decision = ?, decided_at = ?, answer = ?, may_run = ?, may_read = ?,"
                    " single_use = ?, until = ?, signed = ? WHERE request = ? AND owner = ? AND decision = ''",
                    (
                        "approve" if approve else "deny",
                        now,
                        answer,
                        may_run,
                        may_read,
                        until == 0,
                        until or now + self.limits.grant,
                        signed,
                        request,
                        owner,
                    ),
                )
                self._conclude(connection, request, owner, now, answer)
                return self.get(request)
        # raised outside the transaction, so that an expiry seen here stays recorded
        if found["state"] in (PENDING, EXPIRED) and not current:
            msg = "The data or its policy changed after this request was filed."
            raise InputError(
                msg, code="input.request.outdated", next_step="The scientist can ask again about the data as it is now."
            )
        msg = "This request has been decided already."
        raise InputError(msg, code="input.request.decided", details={"state": self.get(request).state})

    def withdraw(self, request: str, *, requester: str, now: float) -> AccessRequest:
        """Take back one's own open request.

        Raises:
            NotFound: missing.request (also for another's).
            InputError: input.request.decided.
        """
        with self._database.transaction() as connection:
            self._expire(connection, now)
            row = connection.execute("SELECT requester FROM requests WHERE id = ?", (request,)).fetchone()
            if row is None or row["requester"] != requester:
                raise _missing(request)
            moved = self._move(connection, request, WITHDRAWN, by=requester, now=now, answer="")
            after = self.get(request)
        if not moved:
            msg = "This request has been decided already."
            raise InputError(msg, code="input.request.decided", details={"state": after.state})
        return after

    def expire(self, now: float) -> int:
        """End open requests past their lifetime, for good; return how many."""
        with self._database.transaction() as connection:
            return self._expire(connection, now)

    def expire_outdated(self, now: float) -> int:
        """End open requests, and approvals, about data or policies that changed since; return how many requests."""
        with self._database.transaction() as connection:
            self._grants.expire_outdated(now)
            rows = connection.execute(
                "UPDATE requests SET state = 'expired', decided_at = ? WHERE state = 'pending' AND EXISTS (SELECT 1 FROM"
                " request_datasets b LEFT JOIN datasets d ON d.id = b.dataset AND d.deleted IS NULL WHERE b.request ="
                " requests.id AND (d.id IS NULL OR d.version <> b.version OR d.policy_version <> b.policy_version))"
                " RETURNING id",
                (now,),
            ).fetchall()
            self._remember(row["id"] for row in rows)
            return len(rows)

    def expire_of(self, requester: str, now: float) -> None:
        """End the open requests of an identity whose key was revoked."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "UPDATE requests SET state = 'expired', decided_at = ? WHERE state = 'pending' AND requester = ? RETURNING id",
                (now, requester),
            ).fetchall()
            self._remember(row["id"] for row in rows)

    def due(self, now: float) -> bool:
        """Whether there is an open request, or an approval in force, that is past its date."""
        row = self._database.row(
            "SELECT 1 FROM requests WHERE state = 'pending' AND expires <= ?"
            " UNION ALL SELECT 1 FROM grants WHERE ended = '' AND until <= ? LIMIT 1",
            (now, now),
        )
        return row is not None

    def get(self, request: str) -> AccessRequest:
        """Return one request. Who may see it is the caller's to check.

        Raises:
            NotFound: missing.request.
        """
        row = self._database.row("SELECT * FROM requests WHERE id = ?", (request,))
        if row is None:
            raise _missing(request)
        return self._record(row)

    def find(
        self, plan_hash: str, versions: Mapping[str, int], requester: str, policy_versions: Mapping[str, int]
    ) -> AccessRequest | None:
        """Return the latest request for exactly this, in whatever state, or None."""
        row = self._database.row(
            "SELECT * FROM requests WHERE requester = ? AND plan_hash = ? AND binding = ? ORDER BY rowid DESC LIMIT 1",
            (requester, plan_hash, binding(versions, policy_versions)),
        )
        return None if row is None else self._record(row)

    def list(
        self,
        *,
        requester: str | None = None,
        owner: str | None = None,
        dataset: str | None = None,
        states: Iterable[str] = (),
        since: float = 0.0,
        limit: int = 500,
    ) -> list[AccessRequest]:
        """Return requests, newest first; every argument given narrows the list."""
        wanted = tuple(states)
        conditions, values = ["created >= ?"], list[str | int | float]([since])
        if requester is not None:
            conditions.append("requester = ?")
            values.append(requester)
        if owner is not None:
            conditions.append("id IN (SELECT request FROM request_owners WHERE owner = ?)")
            values.append(owner)
        if dataset is not None:
            conditions.append("id IN (SELECT request FROM request_datasets WHERE dataset = ?)")
            values.append(dataset)
        if wanted:
            conditions.append(f"state IN ({', '.join('?' * len(wanted))})")
            values.extend(wanted)
        rows = self._database.rows(
            f"SELECT * FROM requests WHERE {' AND '.join(conditions)} ORDER BY rowid DESC LIMIT ?",  # noqa: S608 - only placeholders
            (*values, limit),
        )
        return [self._record(row) for row in rows]

    def models(self, now: float) -> set[tuple[str, str]]:
        """Return (requester, model) of the fits that are asked for, or approved and not taken home yet."""
        rows = self._database.rows(
            "SELECT requester, model FROM requests WHERE model <> '' AND (state = 'pending' OR (state = 'approved' AND EXISTS"
            " (SELECT 1 FROM grants g WHERE g.request = requests.id AND g.ended = '' AND g.until > ?)))",
            (now,),
        )
        return {(row["requester"], row["model"]) for row in rows}

    def groups(self, owner: str) -> Sequence[RequestGroup]:
        """Return the open requests an owner has yet to decide, one group per requester and set of datasets."""
        grouped: dict[tuple[str, tuple[str, ...]], list[AccessRequest]] = {}
        for request in reversed(self.list(owner=owner, states=(PENDING,))):
            if any(o.owner == owner and not o.decision for o in request.owners):
                grouped.setdefault((request.requester, tuple(sorted(request.versions))), []).append(request)
        return [RequestGroup(who, datasets, tuple(found)) for (who, datasets), found in grouped.items()]

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _check_rate(self, connection: sqlite3.Connection, requester: str, now: float) -> None:
        (open_now,) = connection.execute(
            "SELECT count(*) FROM requests WHERE requester = ? AND state = 'pending'", (requester,)
        ).fetchone()
        # those dated after `now` count too: setting the clock back gives nobody a new allowance
        (lately,) = connection.execute(
            "SELECT count(*) FROM requests WHERE requester = ? AND created > ?", (requester, now - self.limits.window)
        ).fetchone()
        if open_now >= self.limits.pending or lately >= self.limits.filed:
            msg = "You have filed too many access requests."
            raise InputError(
                msg,
                code="input.request.too-many",
                reason=f"At most {self.limits.pending} may be open, and {self.limits.filed} filed within"
                f" {self.limits.window / 60:.0f} minutes.",
                next_step="Wait for the owner's decisions, or withdraw some.",
            )

    @staticmethod
    def _still_current(connection: sqlite3.Connection, request: str) -> bool:
        (changed,) = connection.execute(
            "SELECT count(*) FROM request_datasets b LEFT JOIN datasets d ON d.id = b.dataset AND d.deleted IS NULL"
            " WHERE b.request = ? AND (d.id IS NULL OR d.version <> b.version OR d.policy_version <> b.policy_version)",
            (request,),
        ).fetchone()
        return not changed

    def _conclude(self, connection: sqlite3.Connection, request: str, owner: str, now: float, answer: str) -> None:
        decisions = connection.execute("SELECT * FROM request_owners WHERE request = ?", (request,)).fetchall()
        if any(d["decision"] == "deny" for d in decisions):
            self._move(connection, request, DENIED, by=owner, now=now, answer=answer)
        elif all(d["decision"] == "approve" for d in decisions):
            until = min(d["until"] for d in decisions)
            may_run, may_read = (all(d[name] for d in decisions) for name in ("may_run", "may_read"))
            if until <= now:  # the owners' terms leave nothing in common
                self._move(connection, request, EXPIRED, by=owner, now=now, answer=answer)
                return
            self._move(connection, request, APPROVED, by=owner, now=now, answer=answer)
            connection.execute(
                "INSERT INTO grants (id, request, requester, plan_hash, binding, may_run, may_read, single_use, until,"
                " created) SELECT ?, id, requester, plan_hash, binding, ?, ?, ?, ?, ? FROM requests WHERE id = ?",
                (
                    "g-" + secrets.token_hex(8),
                    may_run,
                    may_read,
                    any(d["single_use"] for d in decisions),
                    until,
                    now,
                    request,
                ),
            )
            self._grants.note(request)

    def _move(
        self, connection: sqlite3.Connection, request: str, state: str, *, by: str, now: float, answer: str
    ) -> bool:
        cursor = connection.execute(
            "UPDATE requests SET state = ?, decided_by = ?, decided_at = ?, answer = ? WHERE id = ? AND state = 'pending'",
            (state, by, now, answer, request),
        )
        if state == EXPIRED and cursor.rowcount:
            self._remember((request,))
        return cursor.rowcount == 1

    def _expire(self, connection: sqlite3.Connection, now: float) -> int:
        rows = connection.execute(
            "UPDATE requests SET state = 'expired', decided_at = ? WHERE state = 'pending' AND expires <= ? RETURNING id",
            (now, now),
        ).fetchall()
        self._remember(row["id"] for row in rows)
        return len(rows)

    def _remember(self, expired: Iterable[str]) -> None:
        found = tuple(expired)
        if found:
            self._database.after_commit(lambda: self.ended.extend(found))

    def _record(self, row: sqlite3.Row) -> AccessRequest:
        bound = parts(row["binding"])
        owners = self._database.rows("SELECT * FROM request_owners WHERE request = ? ORDER BY owner", (row["id"],))
        shown, problem = self._shown(row, [name for name, *_ in bound])
        return AccessRequest(
            id=row["id"],
            state=row["state"],
            requester=row["requester"],
            plan_hash=row["plan_hash"],
            plan=row["plan"],
            versions={name: version for name, version, _ in bound},
            policy_versions={name: version for name, _, version in bound},
            reason=row["reason"],
            shown=shown,
            created=row["created"],
            expires=row["expires"],
            owners=tuple(
                OwnerDecision(o["owner"], o["decision"], o["decided_at"], o["answer"], o["signed"]) for o in owners
            ),
            decided_by=row["decided_by"],
            decided_at=row["decided_at"],
            answer=row["answer"],
            grant=self._grants.of_request(row["id"]) if row["state"] == APPROVED else None,
            problem=problem,
        )

    def _shown(self, row: sqlite3.Row, datasets: Sequence[str]) -> tuple[Shown, ServerError | None]:
        if not self._ring.of(datasets) and not row["shown"].startswith(COVERED):
            return msgspec.msgpack.decode(row["shown"], type=Shown), None
        use = _use(*(row[name] for name in ("id", "requester", "plan_hash", "binding", "plan", "reason", "created")))
        try:
            return msgspec.msgpack.decode(self._ring.uncover(row["shown"], datasets, use), type=Shown), None
        except ServerError as error:
            return Shown(words=f"{error.message} {error.next_step}"), error


def _use(*parts: object) -> str:
    return f"request {hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()}"


def _missing(request: str) -> NotFound:
    msg = f"There is no access request {request!r} that you may see."
    return NotFound(msg, code="missing.request")
