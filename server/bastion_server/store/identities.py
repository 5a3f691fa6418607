"""Whose names these are: the key that each name had when its holder last came."""

from __future__ import annotations

from bastion_server.store.database import Database
from bastion_server.store.grants import Grants
from bastion_server.store.requests import Requests


class Identities:
    """Repository of names and their keys.

    INVARIANT: what an owner approved was approved to a person, which is a key; a name with another key is somebody else. Whatever
    way a key was taken away, while the server ran or not, whoever comes with the name next has none of it.
    """

    def __init__(self, database: Database, requests: Requests, grants: Grants) -> None:
        self._database, self._requests, self._grants = database, requests, grants
        self._keys: dict[str, bytes] = {
            row["name"]: row["verify_key"] for row in database.rows("SELECT name, verify_key FROM identities")
        }

    def names(self) -> tuple[str, ...]:
        """Return all names whose holders came, and that nobody took away."""
        return tuple(self._keys)

    def came(self, name: str, verify_key: bytes, now: float) -> None:
        """Note who has a name; if it is another than before, what the former one was allowed ends first."""
        if self._keys.get(name) == verify_key:
            return
        with self._database.transaction() as connection:
            if name in self._keys:
                self._end(name, now)
            connection.execute(
                "INSERT INTO identities VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                " verify_key = excluded.verify_key, since = excluded.since",
                (name, verify_key, now),
            )
        self._keys[name] = verify_key

    def gone(self, name: str, now: float) -> None:
        """Note that a name has no key any more: what its holder was allowed ends."""
        with self._database.transaction():
            self._end(name, now)
        self._keys.pop(name, None)

    def since(self, name: str) -> float:
        """Return since when its holder has had a name, in seconds since 1970; 0 where it is not known."""
        row = self._database.row("SELECT since FROM identities WHERE name = ?", (name,))
        return 0.0 if row is None else float(row["since"])

    def _end(self, name: str, now: float) -> None:
        self._grants.revoke_requester(name, now)
        self._requests.expire_of(name, now)
