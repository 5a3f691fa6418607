"""Grants: what an approval allows, for whom, of what, how often and until when."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bastion_plan.errors import InputError

from bastion_server.store.binding import binding, parts
from bastion_server.store.database import Database
from bastion_server.store.vouching import Vouching


@dataclass(frozen=True)
class Grant:
    """An approval in force.

    may_run: the plan may run, once; what it gives is kept sealed. may_read: that may be fetched; where it was not approved
    with the run, every owner who left it open may allow it later. until: seconds since 1970, the first moment at which it no
    longer holds. single_use: ends when the result has been fetched. ended: "", "used", "expired", "revoked".
    """

    id: str
    request: str
    requester: str
    plan_hash: str
    versions: dict[str, int]
    policy_versions: dict[str, int]
    may_run: bool
    may_read: bool
    single_use: bool
    until: float
    created: float
    ended: str = ""
    uses: int = 0


@dataclass(frozen=True)
class Reading:
    """An owner's later word on reading what was run."""

    owner: str
    allow: bool
    decided_at: float
    answer: str


class Grants:
    """Repository of grants. They are made by `Requests.decide` only.

    INVARIANT: a grant answers for one plan, one requester, one set of dataset versions and policy versions. The
    binding is compared as bytes and the table refuses to change it.
    """

    def __init__(self, database: Database, vouching: Vouching) -> None:
        self._database = database
        self.vouching = vouching
        #: requests whose approval ran out since they were last taken out, in whatever way it was noticed
        self.ended: deque[str] = deque(maxlen=10_000)

    def find_grant(
        self,
        plan_hash: str,
        versions: Mapping[str, int],
        requester: str,
        policy_versions: Mapping[str, int],
        now: float,
    ) -> Grant | None:
        """Return the grant in force for exactly this, or None. With several, the one that lasts longest.

        A grant found to be past its date is ended for good, so that setting the clock back does not revive it.
        """
        rows = self._database.rows(
            f"{_SELECT} WHERE requester = ? AND plan_hash = ? AND binding = ? AND ended = ''"
            " ORDER BY single_use, until DESC, id",
            (requester, plan_hash, binding(versions, policy_versions)),
        )
        if any(row["until"] <= now for row in rows):
            self.expire(now)
        found = (self.vouching.of(_grant(row)) for row in rows if row["until"] > now)
        return next((grant for grant in found if not grant.ended), None)

    def use(self, grant: str, now: float) -> Grant:
        """Use a grant: counted, and ended if it was for once. Of two concurrent uses of the latter one succeeds.

        Raises:
            InputError: input.grant.ended, when it was used, revoked, or is past its date.
        """
        with self._database.transaction() as connection:
            self._expire(connection, now)
            connection.execute(
                "UPDATE grants SET uses = uses + 1, ended = CASE single_use WHEN 1 THEN 'used' ELSE '' END,"
                " ended_at = CASE single_use WHEN 1 THEN ? ELSE 0 END WHERE id = ? AND ended = '' AND until > ?",
                (now, grant, now),
            )
            changed = connection.execute("SELECT changes()").fetchone()[0]
            row = connection.execute(f"{_SELECT} WHERE id = ?", (grant,)).fetchone()
        # raised outside the transaction, so that an expiry seen here stays recorded
        if not changed:
            raise _ended()
        if row["ended"]:
            self.vouching.forget(row["request"])
        return _grant(row)

    def decide_reading(
        self, grant: str, *, owner: str, allow: bool, now: float, answer: str = "", signed: bytes = b""
    ) -> Grant:
        """Record an owner's word on reading what may only be run so far; a no ends the grant.

        Who is an owner of the request is the caller's to check.

        Raises:
            InputError: input.grant.ended; input.request.decided (this owner approved the reading, or has decided on it).
        """
        with self._database.transaction() as connection:
            self._expire(connection, now)
            row = connection.execute(f"{_SELECT} WHERE id = ?", (grant,)).fetchone()
            if not row["ended"]:
                open_still = connection.execute(
                    "SELECT 1 FROM request_owners o WHERE o.request = ? AND o.owner = ? AND o.may_read = 0 AND NOT EXISTS"
                    " (SELECT 1 FROM grant_readings r WHERE r.grant_id = ? AND r.owner = o.owner)",
                    (row["request"], owner, grant),
                ).fetchone()
                if open_still is None:
                    msg = "You have decided on reading this result already."
                    raise InputError(msg, code="input.request.decided")
                connection.execute(
                    "INSERT INTO grant_readings VALUES (?, ?, ?, ?, ?, ?)", (grant, owner, allow, now, answer, signed)
                )
                if not allow:
                    self.revoke(grant, now)
                row = connection.execute(f"{_SELECT} WHERE id = ?", (grant,)).fetchone()
                return _grant(row)
        # raised outside the transaction, so that an expiry seen here stays recorded
        raise _ended()

    def readings(self, grant: str) -> tuple[Reading, ...]:
        """Return the owners' later words on reading, in order."""
        rows = self._database.rows(
            "SELECT * FROM grant_readings WHERE grant_id = ? ORDER BY decided_at, owner", (grant,)
        )
        return tuple(Reading(r["owner"], bool(r["allow"]), r["decided_at"], r["answer"]) for r in rows)

    def revoke_by(self, grant: str, *, owner: str, now: float, answer: str = "", signed: bytes = b"") -> Grant:
        """End a grant in force by an owner's word, which is kept. Who is an owner of the request is the caller's to check.

        Raises:
            InputError: input.grant.ended.
        """
        with self._database.transaction() as connection:
            self._expire(connection, now)
            if self.revoke(grant, now):
                connection.execute(
                    "INSERT INTO grant_revocations VALUES (?, ?, ?, ?, ?)", (grant, owner, now, answer, signed)
                )
                return _grant(connection.execute(f"{_SELECT} WHERE id = ?", (grant,)).fetchone())
        # raised outside the transaction, so that an expiry seen here stays recorded
        raise _ended()

    def revocation(self, grant: str) -> Reading | None:
        """Return the owner's word that ended a grant, None where none did."""
        row = self._database.row("SELECT * FROM grant_revocations WHERE grant_id = ?", (grant,))
        return None if row is None else Reading(row["owner"], False, row["decided_at"], row["answer"])

    def revoke(self, grant: str, now: float) -> bool:
        """End a grant. Return whether it was in force."""
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "UPDATE grants SET ended = 'revoked', ended_at = ? WHERE id = ? AND ended = ''", (now, grant)
            )
            return cursor.rowcount == 1

    def revoke_requester(self, requester: str, now: float) -> int:
        """End all grants of an identity whose key was revoked; return how many."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "UPDATE grants SET ended = 'revoked', ended_at = ? WHERE requester = ? AND ended = '' RETURNING request",
                (now, requester),
            ).fetchall()
            self._remember(rows)
            return len(rows)

    def expire(self, now: float) -> int:
        """End all grants past their date; return how many."""
        with self._database.transaction() as connection:
            return self._expire(connection, now)

    def expire_outdated(self, now: float) -> int:
        """End all grants for data or policies that changed since; return how many."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "UPDATE grants SET ended = 'expired', ended_at = ? WHERE ended = '' AND EXISTS (SELECT 1 FROM"
                " request_datasets b LEFT JOIN datasets d ON d.id = b.dataset AND d.deleted IS NULL WHERE b.request ="
                " grants.request AND (d.id IS NULL OR d.version <> b.version OR d.policy_version <> b.policy_version))"
                " RETURNING request",
                (now,),
            ).fetchall()
            self._remember(rows)
            return len(rows)

    def _expire(self, connection: sqlite3.Connection, now: float) -> int:
        rows = connection.execute(
            "UPDATE grants SET ended = 'expired', ended_at = ? WHERE ended = '' AND until <= ? RETURNING request",
            (now, now),
        ).fetchall()
        self._remember(rows)
        return len(rows)

    def _remember(self, expired: Iterable[sqlite3.Row]) -> None:
        found = tuple(row["request"] for row in expired)
        if found:
            self._database.after_commit(lambda: self.ended.extend(found))

    def note(self, request: str) -> None:
        """Note the grant that a request was just given, for `vouching`. Call it in the transaction that made it."""
        row = self._database.row(f"{_SELECT} WHERE request = ?", (request,))
        if row is not None:
            self.vouching.made(_grant(row))

    def of_request(self, request: str) -> Grant | None:
        """Return the grant an approved request gave, ended or not."""
        row = self._database.row(f"{_SELECT} WHERE request = ?", (request,))
        return None if row is None else self.vouching.of(_grant(row))


# INVARIANT: it may be read once every owner has said so, with the approval or later
_SELECT = """
SELECT g.*, NOT EXISTS (
    SELECT 1 FROM request_owners o WHERE o.request = g.request AND o.may_read = 0 AND NOT EXISTS (
        SELECT 1 FROM grant_readings r WHERE r.grant_id = g.id AND r.owner = o.owner AND r.allow = 1
    )
) AS readable FROM grants g
"""


def _grant(row: sqlite3.Row) -> Grant:
    bound = parts(row["binding"])
    return Grant(
        id=row["id"],
        request=row["request"],
        requester=row["requester"],
        plan_hash=row["plan_hash"],
        versions={name: version for name, version, _ in bound},
        policy_versions={name: version for name, _, version in bound},
        may_run=bool(row["may_run"]),
        may_read=bool(row["readable"]),
        single_use=bool(row["single_use"]),
        until=row["until"],
        created=row["created"],
        ended=row["ended"],
        uses=row["uses"],
    )


def _ended() -> InputError:
    msg = "The owner's approval no longer holds."
    return InputError(
        msg,
        code="input.grant.ended",
        reason="It was used, revoked, or is past its date.",
        next_step="Ask the owner again.",
    )
