"""Was the target in the table? A logistic regression on a fixed panel of answers, in worlds with and without the target.

Two attackers. The *stranger* knows the target's record and how such tables usually look: the other people are drawn anew in
every world. The *insider* knows everybody else's record as well: the other people are always the same, and only the answers'
own randomness is left. What is reported is the area under the receiver's curve on worlds the classifier has not seen: 0.5 is
guessing, 1.0 is certainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars
from bastion_plan.errors import BastionError
from bastion_policy.model import Aggregation, Policy, Role, Suppress
from bastion_policy.roles import measure
from drive import World
from query import Q

import bastion.expressions as pl

PEOPLE = 60
TOWNS, JOBS = ("a", "b", "c", "d"), ("x", "y", "z")
ROLES: dict[str, Role | str] = {
    "id": "identifier", "age": "quasi", "town": "quasi", "job": "quasi", "salary": measure(0, 200_000), "ill": "sensitive"
}  # fmt: skip
#: the target is odd in nothing but taken together, and earns well
TARGET = {"id": 999, "age": 61, "town": "d", "job": "z", "salary": 96_000.0, "ill": True}


def table(draw: int, member: bool) -> polars.DataFrame:
    """Return `PEOPLE` people; with the target in the place of one of them."""
    rng = np.random.default_rng([21, draw])
    frame: dict[str, Any] = {
        "id": np.arange(PEOPLE),
        "age": rng.integers(20, 70, PEOPLE),
        "town": rng.choice(TOWNS, PEOPLE),
        "job": rng.choice(JOBS, PEOPLE),
        "salary": np.round(rng.normal(50_000, 12_000, PEOPLE), 2),
        "ill": rng.random(PEOPLE) < 0.3,
    }
    made = polars.DataFrame(frame)
    if not member:
        return made
    return polars.concat([made.head(PEOPLE - 1), polars.DataFrame([TARGET], schema=made.schema)])


def panel() -> list[tuple[Q, tuple[str, ...], tuple[Any, ...]]]:
    """Return the questions: plan, key columns, and the keys whose rows are looked at (none: the only row)."""
    t, salary, ill = Q("t"), pl.col("salary"), pl.col("ill")
    mine = (pl.col("town") == "d") & (pl.col("job") == "z")
    exact = mine & (pl.col("age") == 61)
    outputs = {"n": pl.len(), "s": salary.sum(), "i": ill.sum()}
    return [
        (t.select(**outputs), (), ((),)),
        (t.group_by("town").agg(**outputs), ("town",), tuple((v,) for v in TOWNS)),
        (t.group_by("job").agg(**outputs), ("job",), tuple((v,) for v in JOBS)),
        (t.filter(mine).select(**outputs), (), ((),)),
        (t.filter(exact).select(**outputs), (), ((),)),
        (t.filter(~exact).select(**outputs), (), ((),)),
        (t.filter(pl.col("age") > 55).select(**outputs), (), ((),)),
        (t.filter(mine | (pl.col("age") > 55)).select(**outputs), (), ((),)),
    ]


def answers(frame: polars.DataFrame, policy: Policy) -> np.ndarray:
    """Return the panel's answers as numbers, with one more per number that says whether it was shown."""
    world = World(remembers=True).add("t", frame, policy, ROLES, unit="id" if policy.unit == "id" else None)
    found: list[float] = []
    for plan, keys, rows in panel():
        shown: dict[Any, dict[str, Any]] = {}
        try:
            answer = world.ask(plan.plan)
            got = answer.table
            if got is None and answer.verdict.safe_part is not None:
                got = world.ask(plan.plan, safe_part=True).table
        except BastionError:
            got = None
        for row in () if got is None else got.iter_rows(named=True):
            shown[tuple(row[k] for k in keys)] = row
        for key in rows:
            for output in ("n", "s", "i"):
                value = shown.get(key, {}).get(output)
                found += [0.0 if value is None else float(value), float(value is not None)]
    return np.array(found)


# -- a classifier ------------------------------------------------------------------------------------------------------


def logistic(features: np.ndarray, labels: np.ndarray, ridge: float = 1.0, steps: int = 30) -> np.ndarray:
    """Return the weights (the last is the intercept) of a ridge logistic regression, by Newton's method."""
    design = np.column_stack([features, np.ones(len(features))])
    weights = np.zeros(design.shape[1])
    penalty = np.full(design.shape[1], ridge)
    penalty[-1] = 1e-6
    for _ in range(steps):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        slope = design.T @ (labels - chance) - penalty * weights
        curve = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def area(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the area under the receiver's curve: how often a member scores above one who is not, ties half."""
    inside, outside = scores[labels == 1], scores[labels == 0]
    above = (inside[:, None] > outside).mean()
    return float(above + (inside[:, None] == outside).mean() / 2)


@dataclass(frozen=True)
class Membership:
    """Areas under the curve on unseen worlds."""

    stranger: float
    insider: float
    worlds: int


def membership(policy: Policy, worlds: int, insiders: int = 8) -> Membership:
    """Return how well the two attackers tell; `worlds`: of each kind, half of them to learn from."""
    return Membership(_told(policy, [*range(worlds)]), _told(policy, [7] * insiders), worlds)


def _told(policy: Policy, draws: Sequence[int]) -> float:
    rows = np.stack([answers(table(d, member), policy) for d in draws for member in (False, True)])
    labels = np.tile([0.0, 1.0], len(draws))
    half = 2 * (len(draws) // 2)
    mean, spread = rows[:half].mean(axis=0), rows[:half].std(axis=0)
    scaled = (rows - mean) / np.where(spread > 1e-12, spread, 1.0)
    weights = logistic(scaled[:half], labels[:half])
    scores = np.column_stack([scaled[half:], np.ones(len(scaled) - half)]) @ weights
    return area(np.round(scores, 9), labels[half:])


def default(weaken: tuple[str, ...] = ()) -> Policy:
    """The default profile with a threshold of 5."""
    return Policy(Aggregation(5), Suppress(), weaken=weaken)


def strict() -> Policy:
    """The strict profile with a threshold of 5."""
    return Policy(Aggregation(5), Suppress(), unit="id", profile="strict")
