"""What happens to a query outside the safe zone but inside the review zone."""

from __future__ import annotations

import msgspec


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="action"):
    """Base of the four actions."""


class Log(Action, frozen=True, tag="log"):
    """Release the answer all the same, and write a red flag into the audit log."""


class Review(Action, frozen=True, tag="review"):
    """Let the owner decide, once per query."""


class Suppress(Action, frozen=True, tag="suppress"):
    """Release the part of the answer that is safe; the rest never leaves."""


class Reject(Action, frozen=True, tag="reject"):
    """Refuse the answer."""


AnyAction = Log | Review | Suppress | Reject

#: every action, from the most permissive to the strictest
BY_STRICTNESS: tuple[type[Action], ...] = (Log, Review, Suppress, Reject)


def strictness(action: Action) -> int:
    """Return how strict an action is: 0 (Log) to 3 (Reject)."""
    return BY_STRICTNESS.index(type(action))


def action_name(action: Action) -> str:
    """Return the name TOML uses: "log", "review", "suppress" or "reject"."""
    return type(action).__name__.lower()
