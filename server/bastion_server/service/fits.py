"""What a fit comes to before it runs: its model, rows and checks, whether it is paid or approved, and its noise."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bastion_plan.errors import InputError
from bastion_plan.models.fits import FitSpec, check_spec, fit_hash
from bastion_plan.models.graph import Graph, decode
from bastion_policy.actions import Log, Review
from bastion_policy.flow import in_review_zone, merged_policy
from bastion_policy.policy import Policy, noise_alone
from bastion_policy.private.accounting import Account, Cost
from bastion_policy.private.budget import shown
from bastion_policy.private.pricing import SMALLEST
from bastion_policy.private.rows import Refused
from bastion_policy.private.subsampled import MOST_SIGMA, Mechanism, calibrate, epsilon_of_fit
from bastion_policy.private.training import FitRows, exact_rows, rows_for
from bastion_policy.private.verdicts import account_of
from bastion_policy.rules import DifferentialPrivacy, leaves, simplify, strictest_noise
from bastion_policy.verdict import Finding, Outcome

from bastion_server.service.catalogue import Subject
from bastion_server.service.models import ModelService
from bastion_server.store import Charge, Grant, Store
from bastion_server.store.models import KeptModel
from bastion_server.store.runs import Run
from bastion_server.store.sealed import SealedRef

if TYPE_CHECKING:
    from bastion_server.service.queries import QueryService

#: bytes that the rows of a fit may come to, and rows
MAX_SIZE, MAX_PEOPLE = 1 << 30, 1 << 25
EXACT = "training-exact"
SPENT = "guard.budget.spent"
_FIX = 'Ask the owner for this very fit, with denied.request("why"): they see model, optimiser, batches and columns.'


@dataclass(frozen=True)
class Terms:
    """A fit that was read and checked. account: that pays, None for one without noise. finding: why it may not run as it is.

    outcome: "private", "review" or "refuse". grant: in force for an exact one. most_rows: that one with noise may have, a public number.
    """

    subject: Subject
    model: KeptModel
    graph: Graph
    spec: FitSpec
    fit: str
    rows: FitRows | None
    outcome: str
    account: Account | None = None
    sigma: float = 0.0
    finding: Finding | None = None
    grant: Grant | None = None
    most_rows: int = 0

    @property
    def delta(self) -> float:
        """The delta of the fit's own epsilon."""
        return self.account.reading if self.account is not None else 0.0

    @property
    def mechanism(self) -> Mechanism:
        """All of its steps."""
        return Mechanism(self.spec.rate, self.sigma, self.spec.steps)


class Fits:
    """Reads fits, and says what they come to."""

    def __init__(self, store: Store, queries: QueryService, models: ModelService) -> None:
        self.store, self.queries, self.models = store, queries, models
        self._reading = asyncio.Semaphore(2)

    async def terms(self, plan: bytes, model: str, spec: FitSpec, who: str, run: Run | None = None) -> Terms:
        """Return what a fit comes to. run: that it continues, whose model and noise it has.

        Raises:
            NotFound: missing.model. PlanError: the plan or the graph. InputError: fit.*, model.*.
        """
        kept = _own_model(run) if run is not None else self.models.find(model, who, time.time())
        subject, _ = await self.queries.subject(plan, who)
        # graphs are large and noise takes a search: two at a time, so that queries are not kept waiting
        async with self._reading:
            return await asyncio.to_thread(self._terms, subject, kept, spec, who, run)

    def _terms(self, subject: Subject, kept: KeptModel, spec: FitSpec, who: str, run: Run | None) -> Terms:
        graph = decode(kept.graph)
        check_spec(spec, graph)
        policy = merged_policy(subject.bound, subject.facts)
        if policy is None:
            raise InputError(
                "These rows are of no dataset, so there is nothing to train on here.", code="fit.columns",
                next_step="Train on a dataset of the server.",
            )  # fmt: skip
        fit = fit_hash(subject.plan_hash, kept.name, spec)
        if spec.private:
            return self._private(Terms(subject, kept, graph, spec, fit, None, "private"), policy, who, run)
        return self._exact(Terms(subject, kept, graph, spec, fit, None, "review"), policy, who)

    # -- with noise

    def _private(self, terms: Terms, policy: Policy, who: str, run: Run | None) -> Terms:
        """INVARIANT: a table that is not answered with noise has no budget, so nothing pays for a fit on it."""
        rule = _noise_rule(policy, who)
        if rule is None:
            reason = "This data has no privacy budget that training with noise could be paid from."
            if any(f.effective(who).zone == "private" for f in terms.subject.facts.values()):
                reason = "One of the tables wants noise and another exact rules, which cannot both be."
            finding = Finding("training-no-budget", reason, "Train with private=False, which its owner has to approve.")
            return replace(terms, outcome="refuse", finding=finding)
        try:
            rows = rows_for(terms.subject.bound, terms.subject.facts, rule.max_rows, terms.spec)
        except Refused as refused:
            return replace(terms, outcome="refuse", finding=refused.finding)
        most_rows = _check_size(terms, rule.max_rows)
        account = Account(rule.epsilon, rule.delta)
        sigma = run.sigma if run is not None else self._sigma(terms.spec, account)
        return replace(terms, rows=rows, account=account, sigma=sigma, most_rows=most_rows)

    @staticmethod
    def _sigma(spec: FitSpec, account: Account) -> float:
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

    def charges(self, subject: Subject, rows: FitRows, mechanism: Mechanism) -> dict[str, Charge]:
        """Return what steps are charged, by unit domain: to the strictest account of all its live tables."""
        return self.charges_of(self.domains(subject, rows), mechanism)

    @staticmethod
    def domains(subject: Subject, rows: FitRows) -> tuple[str, ...]:
        """Return whose people a fit is about."""
        return tuple(sorted({subject.records[d].facts.domain for d in rows.datasets}))

    def charges_of(self, domains: tuple[str, ...], mechanism: Mechanism) -> dict[str, Charge]:
        """Return what steps are charged. INVARIANT: read anew for every charge, as the owner may have changed the cap."""
        cost = Cost(0, 0, (mechanism,))
        accounts = self.accounts(domains)
        return {domain: Charge(cost, a.cap, a.order) for domain, a in accounts.items()}

    def accounts(self, domains: tuple[str, ...]) -> dict[str, Account]:
        """Return the account of each unit domain.

        Raises:
            InputError: input.dataset.changed: one has none any more.
        """
        live: dict[str, list[Policy]] = {domain: [] for domain in domains}
        for record in self.store.datasets.list():
            if record.facts.domain in live and record.facts.plan is None:
                live[record.facts.domain].append(record.facts.policy)
        found = {domain: account_of(policies) for domain, policies in live.items()}
        if not found or any(account is None for account in found.values()):
            raise InputError(
                "The data of this fit has no privacy budget any more.", code="input.dataset.changed",
                next_step="Look at the dataset's policy, then fit again.",
            )  # fmt: skip
        return {domain: account for domain, account in found.items() if account is not None}

    def affordable(self, charges: dict[str, Charge]) -> bool:
        """Whether charges fit beside what was spent, as things are."""
        return all(charge.after(self.store.ledger.standing(domain).spent) for domain, charge in charges.items())

    # -- without noise

    def _exact(self, terms: Terms, policy: Policy, who: str) -> Terms:
        """INVARIANT: weights, losses and metrics without noise may hold single rows' values: an owner decides, whatever the zone."""
        rows = exact_rows(terms.subject.bound, terms.subject.facts, terms.spec)
        subject = terms.subject
        grant = self.store.grants.find_grant(terms.fit, subject.versions, who, subject.policy_versions, time.time())
        if grant is not None:
            return replace(terms, rows=rows, grant=grant)
        may_ask = in_review_zone(policy, who) and isinstance(policy.unsafe_handling, Review | Log)
        reason = "What a model learns without noise may hold single rows' values."
        if may_ask:
            private = _noise_rule(policy, who) is not None
            fix = f"{_FIX} Or train with noise: private=True." if private else _FIX
            return replace(terms, rows=rows, finding=Finding(EXACT, reason, fix))
        finding = Finding(
            EXACT, f"{reason} The policy does not let the owner be asked.", "Train with noise where that is allowed."
        )
        return replace(terms, rows=rows, outcome="refuse", finding=finding)


def outcome_of(terms: Terms) -> Outcome:
    """Return what a Denial of a fit says."""
    return Outcome.REVIEW if terms.outcome == "review" else Outcome.REFUSE


def steps_within(epsilon: float, spec: FitSpec, run: Run, most: int) -> int:
    """Return how many more steps with a fit's own noise stay within an epsilon of all of them, `most` at most."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if epsilon_of_fit(spec.rate, run.sigma, run.paid + middle, run.delta) <= epsilon * (1 + 1e-9):
            low = middle
        else:
            high = middle - 1
    return low


def _check_size(terms: Terms, max_rows: int) -> int:
    """Check that the rows of a fit fit into a worker, however many of them its filters leave; return how many there may be.

    INVARIANT: whether a fit runs does not depend on whom its plan chooses. What is looked at is how large its tables are, to a
    power of two, so that no plan finds out more than that.

    Raises:
        InputError: fit.size.
    """
    subject, schema = terms.subject, terms.subject.bound.schema
    records = [r for r in subject.records.values() if r.private is not None and r.sealed is not None]
    grown = int(max_rows ** max(0, len(records) - 1))
    rows = grown * max((_power(r.private.rows) for r in records if r.private is not None), default=1)
    held = grown * max((_power(r.sealed.size) for r in records if r.sealed is not None), default=1)
    size = sum(held if schema[name].is_nested else 8 * rows for name in terms.spec.columns) + 48 * rows
    if size > MAX_SIZE or rows > MAX_PEOPLE:
        raise InputError(
            "The rows of this fit are more than this server trains on.", code="fit.size",
            reason=f"They may come to {size >> 20:,} MB; {MAX_SIZE >> 20:,} MB are allowed.",
            next_step="Use fewer columns, or ask the owner for a smaller table.",
        )  # fmt: skip
    return rows


def _power(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()


def _noise_rule(policy: Policy, who: str) -> DifferentialPrivacy | None:
    if policy.effective(who).zone != "private":
        return None
    zone = simplify(policy.safe_zone, who)
    rule = strictest_noise(leaves(zone))
    return rule if rule is not None and noise_alone(zone) else None


def _own_model(run: Run) -> KeptModel:
    """The model of a fit goes on with it: its graph is kept, its weights are in the checkpoint."""
    return KeptModel(run.model, run.requester, run.graph, run.parameters, SealedRef("", b"", 0, b""), 0.0)
