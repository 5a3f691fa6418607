"""The harnesses of averaging, membership and reconstruction against answers with noise, whose whole budget is spent.

Noise is drawn as the server draws it, with a fresh draw for every plan (the server gives a plan's noise again, which can only
help the defence). The budget is counted in rho of zero-concentrated differential privacy: so many questions get so much each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import harness_membership as member
import harness_reconstruction as bits
import numpy as np
import polars
from bastion_policy.model import Policy, Role
from bastion_policy.roles import measure, quasi
from noisy import Desk
from query import Q

import bastion.expressions as pl


def desk(frame: polars.DataFrame, roles: dict[str, Role | str], epsilon: float) -> Desk:
    """Return a table under `Policy.private`."""
    return Desk.of(frame, Policy.private(epsilon=epsilon, unit="id", roles=roles), "id")  # type: ignore[arg-type]


def share(asked: Desk, plan: Q, questions: int, epsilon: float) -> float:
    """Return the epsilon of one answer, of which so many spend the whole budget."""
    whole = asked.priced(plan, epsilon).cost.rho_value
    low, high = 0.0, epsilon
    for _ in range(40):
        middle = (low + high) / 2
        try:
            spent = asked.priced(plan, middle).cost.rho_value * questions
        except Exception:  # noqa: BLE001 - too little to tell anything: more is needed
            spent = 0.0
        low, high = (middle, high) if spent <= whole else (low, middle)
    return low


def rho(asked: Desk, plan: Q, epsilon: float) -> float:
    """Return the whole budget in rho."""
    return float(asked.priced(plan, epsilon).cost.rho_value)


# -- averaging ---------------------------------------------------------------------------------------------------------


def averaged_error(epsilon: float, wordings: int, times: int) -> float:
    """Return the root mean square error of a count as the mean of so many wordings that share the budget."""
    people = member.table(0, False)
    asked = desk(people, _ROLES, epsilon)
    plans = [_count(i) for i in range(wordings)]
    each = share(asked, plans[0], wordings, epsilon)
    truth = float((people["town"] == "a").sum())
    drawn = np.array([[float(t["n"][0]) for t in asked.answers(p, times, each)] for p in plans])
    return float(np.sqrt(((drawn.mean(axis=0) - truth) ** 2).mean()))


def _count(wording: int) -> Q:
    """The people of one town; the bound of the second condition, which all people meet, makes it another plan."""
    return Q("t").filter((pl.col("town") == "a") & (pl.col("age") < 200 + wording)).select(n=pl.col("ill").count() + 0)


# -- membership --------------------------------------------------------------------------------------------------------

_ROLES: dict[str, Role | str] = {
    "id": "identifier",
    "age": "quasi",
    "town": quasi(*member.TOWNS),
    "job": quasi(*member.JOBS),
    "salary": measure(0, 200_000),
    "ill": "sensitive",
}


@dataclass(frozen=True)
class Noisy:
    """Areas under the curve on unseen draws; most: no test can do better against this budget."""

    stranger: float
    insider: float
    most: float


def membership(epsilon: float, worlds: int, strangers: int | None = None) -> Noisy:
    """Return how well members are told after the panel has spent the budget.

    worlds: draws of noise that the insider sees. strangers: worlds of each kind that the stranger sees, a quarter of that
    unless said; half of them are learnt from.
    """
    panel = [(plan, keys, rows) for plan, keys, rows in member.panel()]
    first = desk(member.table(0, False), _ROLES, epsilon)
    budget = rho(first, panel[0][0], epsilon)
    each = [share(first, plan, len(panel), epsilon) for plan, _, _ in panel]

    def features(draw: int, is_member: bool, times: int) -> np.ndarray:
        asked = desk(member.table(draw, is_member), _ROLES, epsilon)
        found: list[list[float]] = [[] for _ in range(times)]
        for (plan, keys, rows), part in zip(panel, each, strict=True):
            for into, table in zip(found, asked.answers(plan, times, part), strict=True):
                shown = {tuple(row[k] for k in keys): row for row in table.iter_rows(named=True)}
                into += [float(shown[key][o]) for key in rows for o in ("n", "s", "i")]
        return np.array(found)

    def told(rows: np.ndarray, labels: np.ndarray) -> float:
        half = len(rows) // 2
        mean, spread = rows[:half].mean(axis=0), rows[:half].std(axis=0)
        scaled = (rows - mean) / np.where(spread > 1e-12, spread, 1.0)
        weights = member.logistic(scaled[:half], labels[:half], ridge=10.0)
        return member.area(np.column_stack([scaled[half:], np.ones(len(rows) - half)]) @ weights, labels[half:])

    def mixed(both: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        out, inside = both
        rows = np.stack([out, inside], axis=1).reshape(-1, out.shape[1])
        return rows, np.tile([0.0, 1.0], len(out))

    insider = told(*mixed([features(7, m, worlds) for m in (False, True)]))
    count = worlds // 4 if strangers is None else strangers
    apart_from = [np.concatenate([features(d, m, 1) for d in range(count)]) for m in (False, True)]
    # one person is replaced by the target: one leaves and one comes, each moves a normal variable by sqrt(2 rho) at most
    apart = 2 * math.sqrt(2 * budget)
    return Noisy(told(*mixed(apart_from)), insider, NormalDist().cdf(apart / math.sqrt(2)))


# -- reconstruction ----------------------------------------------------------------------------------------------------


def reconstruct(seed: int, epsilon: float, queries: int) -> float:
    """Return the share of bits that least squares get right after so many noisy sums have spent the budget."""
    world = bits.bits(seed, Policy.open())
    rng = np.random.default_rng([seed, 4])
    roles: dict[str, Any] = {
        "id": "identifier",
        **dict.fromkeys(bits.COLUMNS, "quasi"),
        "weight": measure(0, 200),
        "hiv": "sensitive",
    }
    asked = desk(world.frame, roles, epsilon)
    rows, sums, each = [], [], 0.0
    for _ in range(queries):
        condition = bits.random_half(world, rng)
        plan = Q("t").filter(condition.expr).select(h=pl.col("hiv").sum())
        each = each or share(asked, plan, queries, epsilon)
        rows.append(condition.mask)
        sums.append(float(asked.answer(plan, each)["h"][0]))
    return float((bits.by_least_squares(rows, sums) == world.secret).mean())
