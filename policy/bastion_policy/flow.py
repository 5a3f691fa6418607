"""The static verdict: what can be said of a plan from public facts alone, before any data is touched."""

from __future__ import annotations

from collections.abc import Mapping

from bastion_plan import nodes as n
from bastion_plan.bind import BoundPlan
from bastion_plan.errors import PolicyError

from bastion_policy.actions import Log, Reject, Review, Suppress
from bastion_policy.boundary import Boundary
from bastion_policy.facts import DatasetFacts
from bastion_policy.flow_nodes import ALWAYS_REFUSED, REFUSED, FlowTyping, example, used_columns
from bastion_policy.lineage import Typed, World
from bastion_policy.merge import merge
from bastion_policy.model import Policy, TrueRule, evaluate
from bastion_policy.private.rows import Refused
from bastion_policy.private.verdicts import ask, sentence
from bastion_policy.rules import Context
from bastion_policy.verdict import Finding, Outcome, StaticVerdict


def merged_policy(bound: BoundPlan, facts: Mapping[str, DatasetFacts]) -> Policy | None:
    """Return the policy of a result: the strictest of all datasets that the plan scans; None if it scans none."""
    names = scanned(bound)
    return merge(facts[name].policy for name in names) if names else None


def scanned(bound: BoundPlan) -> tuple[str, ...]:
    """Return the ids of the datasets a plan scans, each once."""
    return tuple(sorted(n.scans(bound.root)))


def boundaries(typed: Typed) -> list[Typed]:
    """Return the boundary nodes of a typed plan, those whose results others need first.

    Windows share the frame that they widen, so every node is visited once: a walk of all paths would take 2 ** windows.
    """
    found: list[Typed] = []
    seen: set[int] = set()
    stack = [(typed, False)]
    while stack:
        node, done = stack.pop()
        if done:
            found.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            if isinstance(node.boundary, Boundary):
                stack.append((node, True))
            stack.extend((t, False) for t in reversed(node.inputs))
    return found


def allowed_outputs(bound: BoundPlan, facts: Mapping[str, DatasetFacts]) -> tuple[str, ...]:
    """Return the columns of a plan's last aggregation that may be released, as far as public facts tell.

    What `describe` asks before it sends a plan: of an identifier there is a count but no mean.
    """
    typed = FlowTyping(_with_facts(bound, facts), World(facts)).root()
    if not isinstance(typed.boundary, Boundary):
        return tuple(bound.schema) if not typed.frame.private else ()
    keys = tuple(name for name, *_ in typed.boundary.keys)
    return (*keys, *(o.name for o in typed.boundary.outputs if not o.findings))


def release_findings(typed: Typed, typing: FlowTyping) -> list[Finding]:
    """Return all reasons why the typed plan may not be released automatically."""
    found = list(typing.findings)
    for node in boundaries(typed):
        assert isinstance(node.boundary, Boundary)
        found += [f for o in node.boundary.outputs for f in o.findings if f not in found]
    if typed.frame.private and not any(f.rule in ("row-level", *REFUSED) for f in found):
        fix = f"Aggregate first, e.g. {example(typed.frame, typing.world)}."
        found.append(Finding("row-level", "The result would hold single people's rows.", fix))
    return found


def nothing_left(typed: Typed) -> bool:
    """Whether no column of any aggregation may be released, so that there is no safe part: keys beside nulls are none."""
    outputs = [o for node in boundaries(typed) if isinstance(node.boundary, Boundary) for o in node.boundary.outputs]
    return bool(outputs) and all(o.findings for o in outputs)


def in_review_zone(policy: Policy, requester: str) -> bool:
    """Whether the action counts for this requester; measured rules do not hold of what is unsafe."""
    return bool(evaluate(policy.review_zone, Context(requester, {TrueRule(): True}, otherwise=False)))


def unsafe_outcome(policy: Policy, requester: str, findings: list[Finding], *, nothing: bool = False) -> Outcome:
    """Return what happens to a query outside the safe zone (Suppress counts as a release of the safe part).

    nothing: there is no safe part.
    """
    if any(f.rule in REFUSED for f in findings) or not in_review_zone(policy, requester):
        return Outcome.REFUSE
    match policy.unsafe_handling:
        case Suppress() if nothing:
            return Outcome.REFUSE
        case Log() | Suppress():
            return Outcome.RELEASE
        case Review():
            return Outcome.REVIEW
        case Reject():
            return Outcome.REFUSE


def static_verdict(bound: BoundPlan, facts: Mapping[str, DatasetFacts], requester: str) -> StaticVerdict:
    """Return the verdict on a plan before data is touched; the same on client and server.

    Args:
        bound: a bound plan.
        facts: public facts by dataset id; every scanned dataset is in it.
        requester: name of the key that asks.

    Raises:
        PolicyError: a dataset without facts.
    """
    policy = merged_policy(_with_facts(bound, facts), facts)
    if policy is None:
        return StaticVerdict(Outcome.RELEASE, "Nobody's data is in it: released.")
    typing = FlowTyping(bound, World(facts))
    typed = typing.root()
    findings = release_findings(typed, typing)
    columns = used_columns(typing)
    effective = policy.effective(requester)
    if effective.open and not any(f.rule in ALWAYS_REFUSED for f in findings):
        return StaticVerdict(
            Outcome.RELEASE, "Released automatically: the owner put no guard on this data.", (), columns
        )
    if effective.zone == "private":
        return _with_noise(bound, facts, policy, requester)
    if effective.zone == "closed":
        reason = "The owner releases nothing of this data automatically to you."
        findings = [Finding("closed-zone", reason), *findings]
    if not findings:
        summary = f"Released automatically, as far as every number is about at least {effective.k} people."
        return StaticVerdict(Outcome.RELEASE, summary, (), columns)
    outcome = unsafe_outcome(policy, requester, findings, nothing=nothing_left(typed))
    return StaticVerdict(outcome, _summary(policy, outcome, findings), tuple(findings), columns)


def _with_noise(bound: BoundPlan, facts: Mapping[str, DatasetFacts], policy: Policy, requester: str) -> StaticVerdict:
    try:
        answer = ask(bound, facts, policy, requester)
    except Refused as refused:
        found = [refused.finding]
        outcome = unsafe_outcome(policy, requester, found)
        return StaticVerdict(outcome, _summary(policy, outcome, found), tuple(found), refused.finding.columns)
    return StaticVerdict(Outcome.RELEASE, sentence(answer), (), answer.draft.columns)


def noise_findings(
    bound: BoundPlan, facts: Mapping[str, DatasetFacts], policy: Policy, requester: str
) -> list[Finding]:
    """Return why a query of the private zone is not answered exactly: what keeps it from noise, or that it gets some."""
    try:
        ask(bound, facts, policy, requester)
    except Refused as refused:
        return [refused.finding]
    return [Finding("closed-zone", "This data is only released with noise.", "Run the query: it needs no approval.")]


def _summary(policy: Policy, outcome: Outcome, findings: list[Finding]) -> str:
    reason = next((f for f in findings if f.rule in REFUSED), findings[0]).reason
    because = reason[0].lower() + reason[1:] if reason[:2].istitle() and not reason.startswith("'") else reason
    match outcome:
        case Outcome.REFUSE:
            return f"Refused because {because}"
        case Outcome.REVIEW:
            return f"Needs the owner's review because {because}"
        case _ if isinstance(policy.unsafe_handling, Log):
            return f"Released, and logged as unsafe because {because}"
        case _:
            return f"Only the safe part is released because {because}"


def _with_facts(bound: BoundPlan, facts: Mapping[str, DatasetFacts]) -> BoundPlan:
    for name in scanned(bound):
        if name not in facts:
            msg = "There are no facts about a table of the plan."
            raise PolicyError(msg, code="policy.facts")
    return bound
