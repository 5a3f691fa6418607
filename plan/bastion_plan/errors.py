"""The one exception tree of the product.

Every error says what happened (`message`), why (`reason`) and what to do next (`next_step`), and has a stable `code`
that programs may test for. Codes are dotted, the first part names the branch:

    BastionError
    ├── PlanError            plan.*      a plan that cannot be built, decoded or bound
    │   ├── DecodeError      plan.decode.*   bytes that are not a canonical plan
    │   ├── LimitError       plan.limit.*    a plan over a size limit
    │   └── BindError        plan.bind.*     unknown dataset, column, function; type errors
    ├── LanguageError        language.*  a cell outside the restricted language (has a position)
    ├── PolicyError          policy.*    a policy that means nothing or contradicts itself
    ├── Denied               denied.*    the guard does not release this answer
    ├── WireError            wire.*      connection, keys, protocol
    │   └── NotAuthorised    wire.auth.*
    ├── ServerError          server.*    the server could not do its work (worker killed, store, audit)
    ├── NotFound             missing.*   no such dataset, request, key (or not one you may see)
    ├── InputError           input.*     data or arguments that cannot be used
    ├── AttestationError     tee.*       a server did not prove what it is, or a key was not released to it
    └── Interrupted          interrupted.*  stopped by the user

INVARIANT: an error that reaches a client is made of fixed sentences and of names the client itself sent or may see;
never of engine text, values, paths or keys.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar


class BastionError(Exception):
    """Base of every error of the product.

    Args:
        message: what happened, one sentence.
        reason: why, one or two sentences; may be empty.
        next_step: what the reader can do now; may be empty.
        code: stable code; defaults to the class's own.
        details: plain data (str, int, float, bool, None, lists, dicts) for programs.
    """

    default_code: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        next_step: str = "",
        code: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        self.message = message
        self.reason = reason
        self.next_step = next_step
        self.code = code or self.default_code
        self.details = details or {}
        super().__init__(message)

    def __str__(self) -> str:
        return " ".join(part for part in (self.message, self.reason, self.next_step) if part) + f" [{self.code}]"


class PlanError(BastionError):
    """A plan that cannot be built, decoded or bound."""

    default_code = "plan"


class DecodeError(PlanError):
    """Bytes that are not the canonical form of a plan."""

    default_code = "plan.decode"


class LimitError(PlanError):
    """A plan over one of the size limits."""

    default_code = "plan.limit"


class BindError(PlanError):
    """A name or type in a plan that does not fit the data it is about."""

    default_code = "plan.bind"


class LanguageError(BastionError):
    """A cell outside the restricted language. `details` holds `line`, `column`, `end_line`, `end_column` (1-based)."""

    default_code = "language"


class PolicyError(BastionError):
    """A policy that means nothing or contradicts itself."""

    default_code = "policy"


class WireError(BastionError):
    """Connection, keys or protocol."""

    default_code = "wire"


class NotAuthorised(WireError):
    """The server does not accept this identity for this action."""

    default_code = "wire.auth"


class ServerError(BastionError):
    """The server could not do its work."""

    default_code = "server"


class AttestationError(BastionError):
    """A server did not prove what it is, or a dataset's key was not released to it."""

    default_code = "tee"


class NotFound(BastionError):
    """No such thing, or not one this identity may see (the two are never told apart)."""

    default_code = "missing"


class InputError(BastionError):
    """Data or arguments that cannot be used."""

    default_code = "input"


class Interrupted(BastionError):
    """Stopped by the user."""

    default_code = "interrupted"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `Did you mean 'x'?` for the nearest known names, or an empty string.

    >>> did_you_mean("Pclas", ["Pclass", "Age"])
    "Did you mean 'Pclass'?"
    """
    near = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    return f"Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
