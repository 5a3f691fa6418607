"""What a newcomer says over the one-time key of an invitation."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode

from bastion_plan.errors import NotAuthorised
from bastion_wire.identity import PublicIdentity, verify_statement
from bastion_wire.messages import Hello


def newcomer(hello: Hello, server_key: str) -> PublicIdentity:
    """Return the newcomer's public identity, after checking that it holds the signing key.

    Raises:
        NotAuthorised, InputError: the statement is not of this key, or names something else.
    """
    try:
        signed = urlsafe_b64decode((hello.enrol or "").encode("ascii"))
    except (ValueError, binascii.Error):
        signed = b""
    if hello.verify_key is None or len(hello.verify_key) != 32:
        signed = b""
    statement = verify_statement(hello.verify_key or bytes(32), signed, audience=server_key)
    if statement.get("action") != "enrol" or statement.get("name") != hello.name:
        raise NotAuthorised("The signed statement is not about this enrolment.", code="wire.auth.signature")
    return PublicIdentity(statement["name"], statement.get("curve_key", ""), hello.verify_key or b"")
