"""What a front end says of a connection that was lost: one plain line, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bastion_plan.errors import AttestationError, BastionError

from bastion.render.safe_text import safe_text

if TYPE_CHECKING:
    from bastion.client.connection import Connection

LOST = "The connection to the server was lost. It is opened anew by itself, and what you wait for goes on then."
BACK = "The connection to the server is back."
MEANWHILE = "The connection to the server was lost for a while, and is back."
ENDED = "The server's owner has revoked your key: the connection has ended."
ANEW = "The server was started anew, and has proved again that it runs what your attestation policy allows."
LOCKED = "Sealed tables are locked: they open once their owners have released the keys to it (connection.release_key(dataset))."
REFUSED = "The server did not prove again that it is what your attestation policy allows"

#: errors that say it themselves, and what they say
_SAYS = {
    "wire.lost": "lost",
    "wire.unreachable": "lost",
    "wire.auth.revoked": "ended",
    "wire.auth.unknown-key": "ended",
}


def started_anew(connection: Connection) -> str:
    """Return what there is to say of an attested server that was followed to its next start."""
    sealed = any(card.sealed for card in connection._datasets.values())
    return f"{ANEW} {LOCKED}" if sealed else ANEW


def refused_again(error: BastionError | None) -> str:
    """Return what there is to say of a server that did not prove itself again."""
    why = safe_text(f" ({error.code}). {error.next_step}", 500) if error is not None else "."
    return f"{REFUSED}{why}"


class ConnectionNews:
    """What there is to say of one connection. `heard` is called by it; whoever can show a line calls `take`.

    connection: the one to listen to; None to have nothing to say.
    """

    def __init__(self, connection: Connection | None = None) -> None:
        self._now = self._said = "back"
        self._dropped = self._anew = False
        self._connection, self._restarts = connection, 0
        if connection is not None:
            self._restarts = connection.restarts
            connection.on_state(self.heard)

    def heard(self, state: str) -> None:
        """Take a state: "lost", "back", "refused" or "ended"."""
        self._now = state
        self._dropped |= state == "lost"
        if self._connection is not None and self._connection.restarts > self._restarts:
            self._restarts, self._anew = self._connection.restarts, True

    def told(self, error: BaseException) -> bool:
        """Take note of an error that is shown; return whether it says already what there is to say."""
        said = _SAYS.get(error.code) if isinstance(error, BastionError) else None
        if isinstance(error, AttestationError) and self._now == "refused":
            said = "refused"
        if said is None or not (self._dropped or self._now == said):
            return False
        self._said, self._dropped = said, False
        return True

    def take(self) -> str:
        """Return the line to show now, empty where there is nothing new; it counts as said."""
        now, said, dropped = self._now, self._said, self._dropped
        anew = self._anew
        self._said, self._dropped, self._anew = now, False, False
        if now == "refused" and now != said and self._connection is not None:
            return refused_again(self._connection.refusal)
        if now != "back":
            return "" if now == said else {"lost": LOST, "ended": ENDED}[now]
        if anew and self._connection is not None:
            return started_anew(self._connection)
        if said != "back":
            return BACK
        return MEANWHILE if dropped else ""
