"""How an access request stands, in a sentence: while it waits, once it is decided, and once an approval has ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bastion.client.denied import AccessRequest

STATES = {
    "pending": "Waiting for the owner. You can go on working; the result appears here.",
    "approved": "The owner approved.",
    "denied": "The owner said no.",
    "expired": "The request ended undecided: its time was over, or the data or its policy changed.",
    "withdrawn": "You took the request back.",
}
#: an approval that has ended
ENDED = {
    "used": "The owner approved. It was for once, and the result has been handed out.",
    "expired": "The approval has ended: it is past its date, or the data or its policy changed.",
    "revoked": "The owner took the approval back.",
}
SEALED = "The owner lets it run. The result is kept sealed, and appears here once you may read it."
WITHHELD = "The owner let it run, and does not let you read the result."


def state_text(request: AccessRequest) -> str:
    """Return how a request stands, for who filed it."""
    info = request.info_now
    if info.state == "approved":
        if info.ended in ENDED and not (info.ended == "revoked" and info.may_run and not info.may_read):
            return ENDED[info.ended]
        if not info.may_read:
            return WITHHELD if info.ended else SEALED
        return STATES["approved"] + (f" It holds until {moment(info.until)}." if info.until else "")
    if info.state == "pending" and info.expires:
        return f"{STATES['pending']} Open until {moment(info.expires)}."
    return STATES.get(info.state, info.state)


def may_be_asked_again(request: AccessRequest) -> bool:
    """Whether the same query may be put to the owner anew: an answer that was given stands."""
    info = request.info_now
    if info.state == "approved":
        return info.ended in ("used", "expired")
    return info.state in ("expired", "withdrawn")


def may_resume(request: AccessRequest) -> bool:
    """Whether something may still come of a request: a decision, or a result that is there to be fetched."""
    info = request.info_now
    return info.state == "pending" or (info.state == "approved" and not info.ended)


def moment(seconds: float) -> str:
    """Return a time in the reader's zone."""
    return time.strftime("%d %b %Y, %H:%M", time.localtime(seconds))
