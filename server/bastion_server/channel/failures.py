"""The fixed sentences of the channel, and what is logged where a peer is told nothing."""

from __future__ import annotations

import logging
import secrets
import sys
import traceback
from pathlib import Path

from bastion_plan.errors import Interrupted, NotAuthorised, ServerError, WireError

log = logging.getLogger("bastion.channel")


def revoked() -> NotAuthorised:
    """The key was taken away."""
    msg = "The server does not accept this key any more."
    return NotAuthorised(msg, code="wire.auth.revoked", reason="It was revoked.", next_step="Ask the server's owner.")


def busy(message: str) -> WireError:
    """Too much at once."""
    return WireError(message, code="wire.busy", next_step="Wait for answers, then try again.")


def no_upload() -> WireError:
    """A chunk or end of no upload."""
    msg = "There is no such upload in this session."
    return WireError(msg, code="wire.upload-unknown", next_step="Begin again: a failed or idle upload is thrown away.")


def cancelled(*, question: bool = False) -> Interrupted:
    """Stopped by the peer. question: it was one about data."""
    reason = (
        "A question about people that is stopped while the data is being read counts as one that failed: how long it takes "
        "may depend on one person's row."
    )
    return Interrupted("The request was stopped.", code="interrupted.cancelled", reason=reason if question else "")


def incident(what: str) -> ServerError:
    """Log the current exception; return what the peer is told."""
    incident = log_incident(what)
    return ServerError(
        "The server could not do this.",
        code="server.internal",
        reason="Something unforeseen happened; the details are in the server's log.",
        next_step=f"Tell the server's owner the incident number {incident}.",
        details={"incident": incident},
    )


def log_incident(what: str) -> str:
    """Log where the current exception came from, by type and lines only: its text may hold values of the data."""
    incident = secrets.token_hex(4)
    kinds, places = [], []
    error = sys.exception()
    while error is not None:
        kinds.append(type(error).__name__)
        places += [
            f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)[-8:]
        ]
        error = error.__cause__ or error.__context__
    log.error("incident %s: %s; %s at %s", incident, what, " from ".join(kinds), " < ".join(reversed(places)))
    return incident
