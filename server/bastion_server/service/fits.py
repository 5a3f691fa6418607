"""What a fit comes to before it runs: its model, rows and checks, whether it is paid or approved, and its noise."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bastion_plan.errors import InputError
from bastion_plan.models.fits import FitSpec, check_spec, fit_hash
from bastion_plan.models.graph import Graph, decode
from bastion_policy.caps import Training, check_caps
from bastion_policy.flow import merged_policy
from bastion_policy.policy import Policy
from bastion_policy.private.accounting import Account, Cost
from bastion_policy.private.fits import ask_exact, ask_with_noise, sigma_of
from bastion_policy.private.sizes import Size, Walls, check_size, rung, together
from bastion_policy.private.subsampled import Mechanism, epsilon_of_fit
from bastion_policy.private.training import FitRows
from bastion_policy.private.verdicts import account_of
from bastion_policy.verdict import Finding, Outcome

from bastion_server.service.catalogue import Subject
from bastion_server.service.models import ModelService
from bastion_server.store import Charge, Grant, Store
from bastion_server.store.models import KeptModel
from bastion_server.store.runs import Run
from bastion_server.store.sealed import SealedRef

if TYPE_CHECKING:
    from bastion_server.service.queries import QueryService


@dataclass(frozen=True)
class Terms:
    """A fit that was read and checked. account: that pays, None for one without noise. finding: why it may not run as it is.

    outcome: "private", "review" or "refuse". grant: in force for an exact one. most_rows: that one with noise may have, a public number.
    caps: what the owners let it take.
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
    caps: Training | None = None

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
        # INVARIANT: the owners' bounds hold for every fit, one that goes on or is approved included; a fit that ended is only measured
        if run is None or spec.steps > run.spec.steps:
            check_caps(policy.training, steps=spec.steps, parameters=graph.parameters)
        terms = Terms(
            subject, kept, graph, spec, fit_hash(subject.plan_hash, kept.name, spec), None, "private" if spec.private else "review",
            caps=policy.training,
        )  # fmt: skip
        return self._private(terms, policy, who, run) if spec.private else self._exact(terms, policy, who)

    # -- with noise

    def _private(self, terms: Terms, policy: Policy, who: str, run: Run | None) -> Terms:
        subject, spec = terms.subject, terms.spec
        asked = ask_with_noise(subject.bound, subject.facts, policy, who, spec)
        if asked.rows is None or asked.account is None:
            return replace(terms, outcome=asked.outcome, finding=asked.finding)
        size = together(self._sizes(subject), asked.max_rows)
        check_size(subject.bound, spec, size, self._walls())
        sigma = run.sigma if run is not None else sigma_of(spec, asked.account)
        return replace(terms, rows=asked.rows, account=asked.account, sigma=sigma, most_rows=size.rows)

    def _sizes(self, subject: Subject) -> Iterator[Size]:
        """Iterate over how large tables are, in steps that are a secret of each table."""
        for name, record in subject.records.items():
            if record.private is not None and record.sealed is not None:
                key = self.store.runs.split_key(record.facts.domain, self.store.keys)
                drawn = hashlib.blake2b(b"bastionlab.size.1" + name.encode(), digest_size=8, key=key).digest()
                part = int.from_bytes(drawn, "big") / 2.0**64
                yield Size(rung(record.private.rows, part), rung(record.sealed.size, part))

    def _walls(self) -> Walls:
        limits = self.queries.pool.limits
        threads = limits.threads or len(os.sched_getaffinity(0))
        # the engine itself, and what estimates leave out
        return Walls(limits.answer, limits.memory * 3 // 4, limits.seconds / 2, threads)

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
        subject = terms.subject
        asked = ask_exact(subject.bound, subject.facts, policy, who, terms.spec)
        grant = self.store.grants.find_grant(terms.fit, subject.versions, who, subject.policy_versions, time.time())
        if grant is not None:
            return replace(terms, rows=asked.rows, grant=grant)
        return replace(terms, rows=asked.rows, outcome=asked.outcome, finding=asked.finding)


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


def _own_model(run: Run) -> KeptModel:
    """The model of a fit goes on with it: its graph is kept, its weights are in the checkpoint."""
    return KeptModel(run.model, run.requester, run.graph, run.parameters, SealedRef("", b"", 0, b""), 0.0)
