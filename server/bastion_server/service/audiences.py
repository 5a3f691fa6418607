"""What policies say of audiences against what was told already: judged before a policy takes effect."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

from bastion_plan.errors import PolicyError
from bastion_policy.facts import DatasetFacts
from bastion_policy.model import Policy

from bastion_server.store import Store
from bastion_server.store.audiences import APART, Group, groups

Known = Callable[[str], bool]

#: names that one sentence lists
_NAMED = 5
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def check(store: Store, facts: DatasetFacts, known: Known) -> tuple[Group, ...]:
    """Check the audiences of a table's coming policy against the histories there are; returns who counts as one.

    facts: of the table as they will be. known: whether a name has a key or an invitation. All tables of the unit domain
    count together.

    Raises:
        PolicyError: policy.audience: it puts together who was told different things, or apart who was told the same.
    """
    others = [
        r.facts.policy
        for r in store.datasets.list()
        if r.kind == "table" and r.facts.domain == facts.domain and r.facts.id != facts.id
    ]
    found, stay = groups([facts.policy, *others]), store.audiences.asked(facts.domain)
    for group in found:
        _check_together(group, stay, facts.policy)
    shared: dict[str, set[str]] = {}
    for identity, key in stay.items():
        # who has lost their key cannot be listed in a policy; should they come back they share what they shared
        if not key.startswith(APART) and known(identity):
            shared.setdefault(key, set()).add(identity)
    for key, members in sorted(shared.items()):
        if len(members) > 1 and not any(members <= group.members for group in found):
            raise _put_apart(key, members, found, facts.policy)
    return found


def settle(store: Store, facts: DatasetFacts, known: Known, before: DatasetFacts | None = None) -> None:
    """Write down who counts as one, in the transaction that gives a table its policy.

    before: the table's facts so far; what it says of audiences was judged then.

    INVARIANT: in one transaction with the policy, and judged against the histories of that moment (`audiences.enter` is the
    other half): no history begins beside the one that an identity has.

    Raises:
        PolicyError: policy.audience, as `check`.
    """
    if before is None or before.policy.audiences != facts.policy.audiences:
        store.audiences.place(facts.domain, check(store, facts, known))


def label(store: Store, facts: DatasetFacts, audience: str) -> str:
    """Return how an audience is called to the owner of a table: by its policy, else as it is kept."""
    for name, members in (facts.policy.audiences or {}).items():
        if {store.audiences.of(facts.domain, member) for member in members} == {audience}:
            return f"@{name}"
    return audience


def _check_together(group: Group, stay: dict[str, str], policy: Policy) -> None:
    asked: dict[str, str] = {}
    for identity in sorted(group.members & stay.keys()):
        asked.setdefault(stay[identity], identity)
    if len(asked) < 2:
        return
    name = _name(group, policy)
    raise PolicyError(
        f"audiences.{name}: {_listed(asked.values())} were told different things about these people, each alone.",
        code="policy.audience",
        reason="What was released to each would be forgotten by the other.",
        next_step="Keep them apart, or upload the table under another name and in another unit domain, where they count as "
        "one from the start.",
        details={"path": f"audiences.{name}"},
    )


def _put_apart(key: str, members: set[str], found: Iterable[Group], policy: Policy) -> PolicyError:
    near = next((g for g in found if g.members & members), None)
    name = _name(near, policy) if near is not None else key.lstrip("@").partition("#")[0]
    listed = ", ".join(json.dumps(member, ensure_ascii=False) for member in sorted(members))
    quoted = name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)
    return PolicyError(
        f"audiences: {_listed(members)} were told the same about these people, and the policy puts them apart.",
        code="policy.audience",
        reason="What one of an audience was told the others know; histories of their own would forget it.",
        next_step=f"Write audiences = {{ {quoted} = [{listed}] }}, with more members if you like. To take access away from "
        "somebody use the access list (allow).",
        details={"path": f"audiences.{name}" if name in (policy.audiences or {}) else "audiences"},
    )


def _name(group: Group, policy: Policy) -> str:
    """Return one of a group's names, one that the policy itself has if there is any."""
    return next((name for name in group.names if name in (policy.audiences or {})), group.names[0])


def _listed(names: Iterable[str]) -> str:
    some = sorted(names)
    said = [repr(name) for name in some[:_NAMED]]
    if len(some) > _NAMED:
        said.append(f"{len(some) - _NAMED} more")
    return " and ".join((", ".join(said[:-1]), said[-1]))
