"""What a front end says of a connection that was lost: one plain line, once."""

from __future__ import annotations

from bastion_plan.errors import BastionError

from bastion.client.connection import Connection

LOST = "The connection to the server was lost. It is opened anew by itself, and what you wait for goes on then."
BACK = "The connection to the server is back."
MEANWHILE = "The connection to the server was lost for a while, and is back."
ENDED = "The server's owner has revoked your key: the connection has ended."

#: errors that say it themselves, and what they say
_SAYS = {
    "wire.lost": "lost",
    "wire.unreachable": "lost",
    "wire.auth.revoked": "ended",
    "wire.auth.unknown-key": "ended",
}


class ConnectionNews:
    """What there is to say of one connection. `heard` is called by it; whoever can show a line calls `take`.

    connection: the one to listen to; None to have nothing to say.
    """

    def __init__(self, connection: Connection | None = None) -> None:
        self._now = self._said = "back"
        self._dropped = False
        if connection is not None:
            connection.on_state(self.heard)

    def heard(self, state: str) -> None:
        """Take a state: "lost", "back" or "ended"."""
        self._now = state
        self._dropped |= state == "lost"

    def told(self, error: BaseException) -> bool:
        """Take note of an error that is shown; return whether it says already what there is to say."""
        said = _SAYS.get(error.code) if isinstance(error, BastionError) else None
        if said is None or not (self._dropped or self._now == said):
            return False
        self._said, self._dropped = said, False
        return True

    def take(self) -> str:
        """Return the line to show now, empty where there is nothing new; it counts as said."""
        now, said, dropped = self._now, self._said, self._dropped
        self._said, self._dropped = now, False
        if now != "back":
            return "" if now == said else {"lost": LOST, "ended": ENDED}[now]
        if said != "back":
            return BACK
        return MEANWHILE if dropped else ""
