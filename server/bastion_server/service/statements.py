"""Owner actions: signed, for this server, once."""

from __future__ import annotations

from typing import Any

from bastion_plan.errors import NotAuthorised
from bastion_wire.identity import verify_statement

from bastion_server.channel.keys import Principal
from bastion_server.store import Store


def check_signed(store: Store, principal: Principal, signed: bytes, expected: dict[str, Any], now: float) -> None:
    """Check that `principal` signed exactly `expected` for this server, recently, and that it was not used before.

    Raises:
        NotAuthorised: wire.auth.signature, .stale, .audience, .replay, .statement.
    """
    statement = verify_statement(principal.verify_key, signed, audience=store.keys.curve_public.decode(), now=now)
    nonce = statement.pop("nonce")
    statement.pop("time")
    if statement != expected:
        msg = "What was signed is not what was asked."
        raise NotAuthorised(msg, code="wire.auth.statement", next_step="Sign the very fields of the message.")
    store.statements.use(principal.name, nonce, now)
