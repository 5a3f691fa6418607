"""Whether a query is answered with noise, and at what price: the same function on client and server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bastion_plan.bind import BoundPlan

from bastion_policy.facts import DatasetFacts
from bastion_policy.policy import Policy, noise_alone
from bastion_policy.private.accounting import Account
from bastion_policy.private.budget import shown
from bastion_policy.private.plans import draft
from bastion_policy.private.pricing import Priced, priced
from bastion_policy.private.rows import Refused
from bastion_policy.rules import DifferentialPrivacy, leaves, simplify, strictest_noise


def ask(
    bound: BoundPlan,
    facts: Mapping[str, DatasetFacts],
    policy: Policy,
    requester: str,
    epsilon: float | None = None,
) -> Priced:
    """Return how a query of the private zone is answered, and what it costs. Looks at public facts only.

    Args:
        bound: a bound plan. facts: public facts by dataset id. policy: merged over all of them.
        requester: name of the key that asks. epsilon: of the answer; None for the default share of the budget.

    Raises:
        Refused: it is not answered with noise, and why.
    """
    zone = simplify(policy.safe_zone, requester)
    rule = strictest_noise(leaves(zone))
    if rule is None or not noise_alone(zone):
        raise Refused(
            "mixed-zone",
            "One of the tables wants noise and another an exact rule of the same answer, which cannot both be.",
            "Ask each table by itself.",
        )
    return priced(draft(bound, facts, rule), Account(rule.epsilon, rule.delta), epsilon)


def account_of(policies: Iterable[Policy]) -> Account | None:
    """Return the account of a unit domain: the strictest of all policies of its tables, None where none asks for noise."""
    rule = strictest_noise(_noise(policies))
    return None if rule is None else Account(rule.epsilon, rule.delta)


def _noise(policies: Iterable[Policy]) -> list[DifferentialPrivacy]:
    return [r for p in policies for r in leaves(p.safe_zone) if isinstance(r, DifferentialPrivacy)]


def sentence(answer: Priced) -> str:
    """Return in one sentence what a query costs."""
    return f"Released with noise, at a cost of epsilon {shown(answer.epsilon)} unless you choose another."
