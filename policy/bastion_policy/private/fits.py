"""What is decided of a fit: with noise, by approval or not at all; what stands against it; who sees what it learned. Data in, decision out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bastion_plan.bind import BoundPlan
from bastion_plan.errors import InputError
from bastion_plan.models.fits import FitSpec

from bastion_policy.actions import Log, Review
from bastion_policy.facts import DatasetFacts
from bastion_policy.flow import in_review_zone
from bastion_policy.policy import Policy, noise_alone
from bastion_policy.private.accounting import Account, Cost
from bastion_policy.private.budget import shown
from bastion_policy.private.pricing import SMALLEST
from bastion_policy.private.rows import Refused
from bastion_policy.private.subsampled import MOST_SIGMA, Mechanism, calibrate
from bastion_policy.private.training import FitRows, exact_rows, rows_for
from bastion_policy.rules import DifferentialPrivacy, leaves, simplify, strictest_noise
from bastion_policy.verdict import Finding

EXACT, SPENT, GRANT = "training-exact", "guard.budget.spent", "owner-grant"
_FIX = 'Ask the owner for this very fit, with denied.request("why"): they see model, optimiser, batches and columns.'


@dataclass(frozen=True)
class AskedFit:
    """How a fit is answered. outcome: "private", "review" or "refuse". finding: why it may not run as it is.

    account: that pays, None for one without noise. max_rows: of one person, that count.
    """

    outcome: str
    rows: FitRows | None = None
    account: Account | None = None
    max_rows: int = 1
    finding: Finding | None = None


def ask_with_noise(
    bound: BoundPlan, facts: Mapping[str, DatasetFacts], policy: Policy, requester: str, spec: FitSpec
) -> AskedFit:
    """Return how a fit with noise is answered. Looks at public facts only.

    INVARIANT: a table that is not answered with noise has no budget, so nothing pays for a fit on it.

    Args:
        bound: a bound plan. facts: public facts by dataset id. policy: merged over all of them. spec: of the fit, checked.

    Raises:
        InputError: fit.columns, fit.dtype, fit.rows.
    """
    rule = noise_rule(policy, requester)
    if rule is None:
        reason = "This data has no privacy budget that training with noise could be paid from."
        if any(f.effective(requester).zone == "private" for f in facts.values()):
            reason = "One of the tables wants noise and another exact rules, which cannot both be."
        fix = "Train with private=False, which its owner has to approve."
        return AskedFit("refuse", finding=Finding("training-no-budget", reason, fix))
    try:
        rows = rows_for(bound, facts, rule.max_rows, spec)
    except Refused as refused:
        return AskedFit("refuse", finding=refused.finding)
    return AskedFit("private", rows, Account(rule.epsilon, rule.delta), rule.max_rows)


def ask_exact(
    bound: BoundPlan, facts: Mapping[str, DatasetFacts], policy: Policy, requester: str, spec: FitSpec
) -> AskedFit:
    """Return how a fit without noise is answered where no owner has approved it yet.

    INVARIANT: weights, losses and metrics without noise may hold single rows' values: an owner decides, whatever the zone.

    Raises:
        InputError: fit.columns, fit.dtype; input.request.nobody.
    """
    rows = exact_rows(bound, facts, spec)
    reason = "What a model learns without noise may hold single rows' values."
    if in_review_zone(policy, requester) and isinstance(policy.unsafe_handling, Review | Log):
        private = noise_rule(policy, requester) is not None
        fix = f"{_FIX} Or train with noise: private=True." if private else _FIX
        return AskedFit("review", rows, finding=Finding(EXACT, reason, fix))
    reason = f"{reason} The policy does not let the owner be asked."
    return AskedFit("refuse", rows, finding=Finding(EXACT, reason, "Train with noise where that is allowed."))


def noise_rule(policy: Policy, requester: str) -> DifferentialPrivacy | None:
    """Return the rule that tables are answered with noise by; None where they are not."""
    if policy.effective(requester).zone != "private":
        return None
    zone = simplify(policy.safe_zone, requester)
    rule = strictest_noise(leaves(zone))
    return rule if rule is not None and noise_alone(zone) else None


def sigma_of(spec: FitSpec, account: Account) -> float:
    """Return the noise with which a fit stays within its epsilon, and within the owner's cap where nothing else was asked.

    Raises:
        InputError: fit.privacy.
    """
    if spec.epsilon > account.epsilon * (1 + 1e-9):
        raise InputError(
            f"The owner allows epsilon {shown(account.epsilon)} for everything together; this fit asks for {shown(spec.epsilon)}.",
            code="fit.privacy", next_step=f"Write eps={shown(account.epsilon)} or less.",
        )  # fmt: skip
    if spec.epsilon < account.epsilon / SMALLEST:
        raise InputError(
            "With so small an epsilon the model would be noise alone.", code="fit.privacy",
            next_step=f"Use at least eps={account.epsilon / SMALLEST:.3g}.",
        )  # fmt: skip
    sigma = calibrate(spec.epsilon, account.reading, spec.rate, spec.steps)
    # the cap is on one order, at which a fit may come to more than at its own best one
    while sigma is not None and not account.allows(Cost(0, 0, (Mechanism(spec.rate, sigma, spec.steps),))):
        sigma = float(f"{sigma * 1.01:.6g}") if sigma < MOST_SIGMA else None
    if sigma is None:
        raise InputError(
            "No noise makes sense with so small an epsilon and so many steps.", code="fit.privacy",
            next_step="Use a larger eps, fewer epochs, or smaller batches.",
        )  # fmt: skip
    return sigma


def unapproved(finding: Finding | None, may_run: bool | None) -> Finding | None:
    """Return why a fit that no budget pays for may not run; None: it is approved.

    finding: why it may not run by itself. may_run: whether its grant lets it run; None: there is none.
    """
    if may_run:
        return None
    if may_run is None and finding is not None:
        return finding
    return Finding(GRANT, "There is no approval by which this fit may run.", _FIX)


def unaffordable(names: list[str], left: float, account: Account, epsilon: float) -> Finding:
    """Return why a budget does not suffice. names: of the tables. left: epsilon. epsilon: of the fit."""
    reason = (
        f"The privacy budget of {' and '.join(names)} does not suffice: epsilon {shown(left)} is left of "
        f"{shown(account.epsilon)}, and this fit would cost about {shown(epsilon)}."
    )
    return Finding(SPENT, reason, f"Fit with eps={left * 0.9:.2g} or less, or ask the owner for more.")


def sees(*, private: bool, mine: bool, readable: bool, visible: bool, owned: bool) -> bool:
    """Whether losses and metrics of a fit may be shown to somebody.

    INVARIANT: what was learned without noise is for whom it was approved to read, and for who owns *all* of its tables: the owner of one
    of two did not become a reader of the other. And nothing is for whom one of the tables is not open to any more.

    Args:
        mine: who asks began it. readable: an approval lets what it learned be read, or it needs none. visible: all of its tables are
            there, and open to who asks. owned: who asks owns all of them.
    """
    return readable and visible and (private or mine or owned)
