"""A decision on one request as a line of the policy, so that the next such query need not be asked about."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bastion_plan.errors import PolicyError
from bastion_policy.actions import Reject, Review, Suppress
from bastion_policy.checks import check_rules
from bastion_policy.facts import DatasetFacts
from bastion_policy.model import Policy
from bastion_policy.roles import Role, RoleKind
from bastion_policy.rules import AtLeastNOf, Rule, TrueRule, UserId, leaves
from bastion_policy.toml import to_toml
from bastion_wire.messages import RequestInfo

_Maker = Callable[[], Policy]
#: uses of a column that choose people
_CHOOSING = ("group key", "condition")
MAX_COLUMNS = 3


@dataclass(frozen=True)
class PolicyLine:
    """One way to say a decision in the policy.

    dataset: its id. words: what it would mean. line: what changes in the policy's text. text: the whole text with it.
    warning: what to think of first, empty where it only narrows.
    """

    dataset: str
    words: str
    line: str
    text: str
    warning: str = ""


def suggest(info: RequestInfo, facts: DatasetFacts) -> tuple[PolicyLine, ...]:
    """Return ways to say a decision on a request in the policy of one of its tables, those that narrow first.

    Args:
        info: the request, whole.
        facts: of a table of one's own that it reads.
    """
    found = []
    before = to_toml(facts.policy)
    for words, policy, warning in (*_narrower(info, facts), *_wider(info, facts)):
        try:
            made = policy()
            check_rules(made)
            facts.with_policy(made)
        except PolicyError:
            continue
        text = to_toml(made)
        if text != before:
            found.append(PolicyLine(facts.id, words, _changed(before, text), text, warning))
    return tuple(found)


def _narrower(info: RequestInfo, facts: DatasetFacts) -> Iterator[tuple[str, _Maker, str]]:
    policy = facts.policy
    if isinstance(policy.unsafe_handling, Review):
        yield "Refuse at once what is not safe, and ask nobody.", _with(policy, unsafe_handling=Reject()), ""
        yield "Show the safe part at once, and leave the rest out.", _with(policy, unsafe_handling=Suppress()), ""
    for name in _columns(info, facts):
        if facts.column(name).role.kind is not RoleKind.HIDDEN and name != facts.unit:
            yield f"Hide {name} altogether: nobody may use it.", _role(facts, name, RoleKind.HIDDEN), ""


def _wider(info: RequestInfo, facts: DatasetFacts) -> Iterator[tuple[str, _Maker, str]]:
    policy, who = facts.policy, info.requester
    rules = {finding.partition(":")[0] for finding in info.findings}
    if "strict-role" in rules:
        for name in _columns(info, facts):
            uses = info.uses.get(f"{facts.name}.{name}", ())
            if facts.column(name).role.kind is RoleKind.MEASURE and any(use in _CHOOSING for use in uses):
                yield (
                    f"Let {name} choose people: make it a quasi column.", _role(facts, name, RoleKind.QUASI),
                    "Groups and conditions may then be made of its values.",
                )  # fmt: skip
    if not any(isinstance(rule, UserId) and rule.id == who for rule in leaves(policy.safe_zone)):
        zone = _any_of(policy.safe_zone, UserId(who))
        yield (
            f"Release to {who} whatever {who} asks.", _with(policy, safe_zone=zone),
            f"No rule holds for {who} any more: single rows of this table are released too.",
        )  # fmt: skip


def _with(policy: Policy, **changes: Any) -> _Maker:
    return lambda: Policy(**{**{f: getattr(policy, f) for f in policy.__struct_fields__}, **changes})


def _role(facts: DatasetFacts, name: str, kind: RoleKind) -> _Maker:
    return _with(facts.policy, roles={**(facts.policy.roles or {}), name: Role(kind)})


def _any_of(zone: Rule, rule: Rule) -> Rule:
    if isinstance(zone, AtLeastNOf) and zone.n == 1:
        return AtLeastNOf(1, (*zone.of, rule))  # type: ignore[arg-type]
    return zone if isinstance(zone, TrueRule) else AtLeastNOf(1, (zone, rule))  # type: ignore[arg-type]


def _columns(info: RequestInfo, facts: DatasetFacts) -> list[str]:
    """Return the request's columns of one table that its rules are about, at most a few."""
    known = facts.schema
    named = [label.removeprefix(facts.name + ".") for label in info.roles if label.startswith(facts.name + ".")]
    return [name for name in named if name in known][:MAX_COLUMNS]


def _changed(before: str, after: str) -> str:
    """Return the lines that a change adds (+) and takes away (-)."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return "\n".join(line for line in lines if line[:2] in ("+ ", "- ") and line[2:].strip())
