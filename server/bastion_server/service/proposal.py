"""A policy that an owner proposes for a table of theirs: what it would make of the table's facts, or why it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from bastion_plan.errors import InputError, PolicyError
from bastion_policy.checks import check_data, check_people, check_rules
from bastion_policy.facts import DatasetFacts
from bastion_policy.model import from_toml

from bastion_server.service.uploads import check_policy_size, check_unit_domain, enforceable, lines
from bastion_server.store import DatasetRecord


def proposed(
    record: DatasetRecord, text: str | None, roles: Mapping[str, str] | None, known: Callable[[str], bool]
) -> DatasetFacts:
    """Return the facts of a table under another policy text, other roles, or both; what is None stays.

    known: whether a name has a key or an invitation.

    Raises:
        InputError: input.policy.saved. PolicyError: it means nothing, does not fit the table, or cannot be enforced; with
            the line of the text that it is about.
    """
    if record.kind != "table":
        msg = "A saved frame has the policy of the tables it was made from."
        raise InputError(msg, code="input.policy.saved", next_step="Change the policy of those tables.")
    check_policy_size((text or "") + "".join(f"{k}{v}" for k, v in (roles or {}).items()))
    policy = record.facts.policy if text is None else from_toml(text)
    if roles:
        policy = msgspec.structs.replace(policy, roles={**(policy.roles or {}), **roles})
    with lines(text):
        check_rules(policy)
        if text is not None:
            check_people(policy, known)
        check_unit_domain(record.facts, policy)
        facts = record.facts.with_policy(enforceable(policy, text))
        if facts.unit != record.facts.unit:
            msg = "The privacy unit of a table cannot be changed."
            raise PolicyError(
                msg, code="policy.unit", reason="What was released counted other people.",
                next_step="Upload the table again under another name.", details={"path": "unit"},
            )  # fmt: skip
        if record.private is not None and (text is not None or roles):
            check_data(policy, facts.columns, record.private)
    return facts
