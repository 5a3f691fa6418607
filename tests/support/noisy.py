"""Answers with noise in one process: plans are priced, measured with Polars and drawn as the server does it.

And what an observer can prove of a mechanism from its draws: a lower confidence bound of epsilon.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
from bastion_plan.bind import bind
from bastion_policy.facts import ColumnFacts, DatasetFacts
from bastion_policy.flow import merged_policy
from bastion_policy.lineage import OWN
from bastion_policy.model import Policy, Role, RoleKind
from bastion_policy.private.plans import Cells
from bastion_policy.private.pricing import Noise, Priced
from bastion_policy.private.statistics import DENOMINATOR
from bastion_policy.private.verdicts import ask
from bastion_server.engine.dtypes import from_polars
from bastion_server.engine.lower import lower
from bastion_server.private.mechanisms import best, gaussian, quantile_scores
from bastion_server.private.release import Exact, _histograms, _rows, _values, noisy
from query import Q


@dataclass
class Table:
    """A table under a private policy. domain: whose people they are; "": people of its own."""

    frame: pl.DataFrame
    policy: Policy
    unit: str | None = None
    domain: str = ""

    def facts(self, name: str) -> DatasetFacts:
        roles: Mapping[str, Role] = self.policy.roles or {}
        columns = tuple(
            ColumnFacts(
                c, from_polars(d), roles.get(c, Role(RoleKind.QUASI)), domain=getattr(roles.get(c), "domain", None)
            )
            for c, d in self.frame.schema.items()
        )
        return DatasetFacts(name, name, 1, columns, self.policy, unit=self.unit, unit_domain=self.domain or name)


@dataclass
class Desk:
    """Some tables, and someone who asks about them."""

    tables: dict[str, Table] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: pl.DataFrame, policy: Policy, unit: str | None = None) -> Desk:
        return cls({"t": Table(frame, policy, unit)})

    @property
    def facts(self) -> dict[str, DatasetFacts]:
        return {name: table.facts(name) for name, table in self.tables.items()}

    def priced(self, query: Q, epsilon: float | None = None) -> Priced:
        bound = bind(query.plan, self.facts)
        policy = merged_policy(bound, self.facts)
        assert policy is not None
        return ask(bound, self.facts, policy, "alice", epsilon)

    def measured(self, priced: Priced) -> list[Exact]:
        """The exact sums, as a worker gives them."""
        sources = {name: table.frame.lazy() for name, table in self.tables.items()}
        return [
            Exact(lower(c.plan, sources).collect(), tuple(lower(plan, sources).collect() for _, plan in c.quantiles))
            for c in priced.draft.cells
        ]

    def last(self, priced: Priced, tables: Mapping[str, Mapping[str, Any]]) -> pl.DataFrame:
        return lower(priced.draft.last, {k: pl.DataFrame(dict(v)).lazy() for k, v in tables.items()}).collect()

    def answers(self, query: Q, times: int = 1, epsilon: float | None = None) -> list[pl.DataFrame]:
        """So many answers, each with noise of its own (the server draws once and gives that again)."""
        priced = self.priced(query, epsilon)
        exact = self.measured(priced)
        return [self.last(priced, drawn(priced, exact)) for _ in range(times)]

    def answer(self, query: Q, epsilon: float | None = None) -> pl.DataFrame:
        return self.answers(query, 1, epsilon)[0]

    def without(self, unit: Any, domain: str | None = None) -> Desk:
        """The world in which one person is not in any table of their domain.

        domain: None where all tables are of one. People of different domains are different people, so the others stay.
        """
        domains = {name: table.domain or name for name, table in self.tables.items()}
        assert domain in domains.values() if domain is not None else len(set(domains.values())) == 1
        left = {}
        for name, table in self.tables.items():
            keep = pl.int_range(pl.len()) != unit if table.unit is None else pl.col(table.unit) != unit
            if domain in (None, domains[name]):
                table = replace(table, frame=table.frame.filter(keep))
            left[name] = table
        return Desk(left)


def drawn(priced: Priced, exact: Sequence[Exact]) -> dict[str, dict[str, Any]]:
    return {c.table: noisy(c, n, e) for c, n, e in zip(priced.draft.cells, priced.noise, exact, strict=True)}


def draws(cells: Cells, noise: Noise, exact: Exact, column: str, times: int) -> np.ndarray:
    """A column of the first cell, drawn many times by the server's mechanism with the server's noise."""
    position = int(column[3:])
    key = cells.domain[0]
    if column.startswith(f"{OWN}v"):
        rows = dict(zip(_rows(cells, exact.sums), exact.sums[column].to_list(), strict=True))
        values = np.full(times, rows.get(key, 0), dtype=np.int64)
        return gaussian(values, noise.scales[position], cells.l2(position), noise.rho).astype(float)
    quantile = cells.quantiles[position][0]
    (counts,) = _histograms(cells, quantile, exact.bins[position], {key: 0})
    scores = quantile_scores(counts, quantile.numerator, DENOMINATOR)
    found = best([scores] * times, noise.choices[position], cells.linf(position), noise.rho_choice)
    return np.array(_values(quantile, found))


# -- what draws prove


def lower_bound(hits: int, times: int, alpha: float) -> float:
    """A probability below which the true one lies with probability alpha at most (Chernoff's bound, in KL form)."""
    return _kl_bound(hits / times, times, alpha, low=True)


def upper_bound(hits: int, times: int, alpha: float) -> float:
    """A probability above which the true one lies with probability alpha at most."""
    return _kl_bound(hits / times, times, alpha, low=False)


def _kl_bound(share: float, times: int, alpha: float, *, low: bool) -> float:
    limit = math.log(1 / alpha) / times
    inside, outside = share, 0.0 if low else 1.0
    for _ in range(60):
        middle = (inside + outside) / 2
        if _kl(share, middle) <= limit:
            inside = middle
        else:
            outside = middle
    return outside


def _kl(p: float, q: float) -> float:
    q = min(max(q, 1e-300), 1 - 1e-16)
    first = p * math.log(p / q) if p > 0 else 0.0
    return first + ((1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0.0)


@dataclass(frozen=True)
class Proven:
    """What two samples prove. epsilon: at least, for (epsilon, delta)-DP. mu: at least, for mu-Gaussian DP."""

    epsilon: float
    mu: float


def proven(here: np.ndarray, there: np.ndarray, delta: float, confidence: float = 0.9999) -> Proven:
    """Return what draws in two neighbouring worlds prove, with this confidence.

    The test "is the number above (or below) a threshold" is chosen on one half of the draws and judged on the other, so
    that choosing it does not make it look better than it is.
    """
    rules = [("above", t) for t in np.quantile(np.r_[here, there], np.linspace(0.02, 0.98, 49))]
    rules += [("below", t) for _, t in rules]
    half = len(here) // 2
    alpha = 1 - confidence

    def judged(rule: tuple[str, float], a: np.ndarray, b: np.ndarray) -> Proven:
        best = Proven(0.0, 0.0)
        for first, second in ((a, b), (b, a)):
            inside = [np.sum(x > rule[1]) if rule[0] == "above" else np.sum(x < rule[1]) for x in (first, second)]
            p = lower_bound(int(inside[0]), len(first), alpha / 2)
            q = upper_bound(int(inside[1]), len(second), alpha / 2)
            epsilon = math.log((p - delta) / q) if p > delta and q > 0 else 0.0
            mu = _quantile(p) - _quantile(q)
            best = Proven(max(best.epsilon, epsilon), max(best.mu, mu))
        return best

    by_epsilon = max(rules, key=lambda rule: judged(rule, here[:half], there[:half]).epsilon)
    by_mu = max(rules, key=lambda rule: judged(rule, here[:half], there[:half]).mu)
    return Proven(judged(by_epsilon, here[half:], there[half:]).epsilon, judged(by_mu, here[half:], there[half:]).mu)


def _quantile(p: float) -> float:
    return NormalDist().inv_cdf(min(max(p, 1e-12), 1 - 1e-12))
