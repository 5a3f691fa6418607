"""What a front end says of a session at its start: where one is, as whom, whether attested, and what the policies allow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bastion_plan.errors import BastionError
from bastion_policy.actions import Log, Reject, Review, Suppress
from bastion_policy.policy import Policy
from bastion_policy.rules import FalseRule

from bastion.client.endpoints import read_profile
from bastion.render.safe_text import safe_text

if TYPE_CHECKING:
    from bastion.client.connection import Connection

MAX_DATASETS = 6
MAX_NAME = 40
MAX_NOTICE = 300

_REST = {
    Log: "the rest is released and marked in the audit log",
    Review: "the rest waits for the owner's decision",
    Suppress: "the rest is cut down to its safe part",
    Reject: "the rest is refused",
}


def policy_line(policy: Policy, requester: str) -> str:
    """Return what a policy allows a requester, in half a line."""
    effective = policy.effective(requester)
    if effective.open:
        return "everything is released, single rows included"
    rest = "the rest is refused" if isinstance(policy.review_zone, FalseRule) else _REST[type(policy.unsafe_handling)]
    match effective.zone:
        case "closed":
            first = "nothing is released at once"
        case "private":
            noise = effective.privacy
            first = f"answers with noise{f', epsilon {noise.epsilon:g} in all' if noise else ''}"
        case _:
            strict = " (strict)" if policy.profile == "strict" else ""
            first = f"answers about {effective.k} people or more{strict}"
    return f"{first}; {rest}"


def connection_lines(connection: Connection, datasets: str = "datasets()") -> list[str]:
    """Return where one is, as whom, whether the server is attested, and the datasets with their policies; made safe.

    datasets: what lists them all, as one writes it here.
    """
    welcome = connection.welcome
    attested = connection.attestation.sentence
    cards = sorted((d.facts for d in connection._datasets.values()), key=lambda facts: facts.name)
    count = len(cards)
    lines = [
        f"Connected to {connection.endpoint} as {connection.identity} ({', '.join(welcome.roles)}).",
        f"Encrypted with CURVE; {attested}.",
        *(["The connection is lost just now, and is opened anew by itself."] if connection.state == "lost" else []),
        f"{count} dataset{'s' if count != 1 else ''} to explore: {datasets}",
    ]
    for facts in cards[:MAX_DATASETS]:
        name, owner = safe_text(facts.name, MAX_NAME), safe_text(facts.owner, MAX_NAME)
        lines.append(f"· {name}{f' of {owner}' if owner else ''}: {policy_line(facts.policy, connection.identity)}")
    if count > MAX_DATASETS:
        lines.append(f"· and {count - MAX_DATASETS} more")
    lines += [f"Warning: {safe_text(notice, MAX_NOTICE)}" for notice in welcome.notices]
    return [safe_text(line) for line in lines]


def how_to_connect() -> list[str]:
    """Return what to write while there is no connection."""
    try:
        endpoint = os.environ.get("BASTION_ENDPOINT") or read_profile().get("endpoint")
    except BastionError:
        endpoint = None
    lines = ["Not connected yet."]
    if isinstance(endpoint, str) and endpoint and not endpoint.startswith("bastion1."):
        lines.append(f"· connect() goes to {safe_text(endpoint, 200)}")
    lines += [
        '· connect("bastion1.…", identity="you") takes an invitation, with the key of `bastion keys create you`',
        '· connect("tcp://host:port") goes to a server whose key you have',
    ]
    return lines
