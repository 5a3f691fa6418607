"""Averaging: one question in many words, and many questions that differ by people the attacker knows.

Noise and rounding that are drawn anew for every wording would average out, and answers that follow the exact population would
give a person by the change between two wordings. So one population must have one answer, however it is asked, and so must all
populations within fewer than k people of one that was answered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars
from bastion_policy.model import Policy
from drive import World
from harness_trackers import Condition, K, SmallWorld, default, serve, small_world, strict
from query import Q

import bastion.expressions as pl

__all__ = ["Averaging", "average", "default", "strict"]

Wording = Callable[[Condition, Condition], Q]
T = Q("t")
_SALARY = pl.col("salary")


def _outputs(total: Any) -> dict[str, Any]:
    return {"n": pl.len(), "s": total}


#: the salaries of the people of `a`, in many words; `b` is any other condition
WORDINGS: dict[str, Wording] = {
    "plain": lambda a, b: T.filter(a.expr).select(**_outputs(_SALARY.sum())),
    "double negation": lambda a, b: T.filter(~~a.expr).select(**_outputs(_SALARY.sum())),
    "in two halves": lambda a, b: T.filter((a.expr & b.expr) | (a.expr & ~b.expr)).select(**_outputs(_SALARY.sum())),
    "absorbed": lambda a, b: T.filter(a.expr | (a.expr & b.expr)).select(**_outputs(_SALARY.sum())),
    "with a truth": lambda a, b: T.filter(a.expr & (b.expr | ~b.expr)).select(**_outputs(_SALARY.sum())),
    "twice": lambda a, b: T.filter(a.expr).filter(a.expr).select(**_outputs(_SALARY.sum())),
    "sorted": lambda a, b: T.sort("a").filter(a.expr).select(**_outputs(_SALARY.sum())),
    "renamed": lambda a, b: T.filter(a.expr).select(z=_SALARY).select(n=pl.len(), s=pl.col("z").sum()),
    "mean times number": lambda a, b: T.filter(a.expr).select(**_outputs(_SALARY.mean() * pl.len())),
    "negated": lambda a, b: T.filter(a.expr).select(**_outputs(-(-_SALARY).sum())),
    "shifted": lambda a, b: T.filter(a.expr).select(**_outputs((_SALARY + 1234.5).sum() - pl.len() * 1234.5)),
    "scaled": lambda a, b: T.filter(a.expr).select(**_outputs((_SALARY * 3).sum() / 3)),
    "shifted otherwise": lambda a, b: T.filter(a.expr).select(**_outputs((_SALARY + 77).sum() - pl.len() * 77)),
    "inner filter": lambda a, b: T.select(n=_SALARY.filter(a.expr).count(), s=_SALARY.filter(a.expr).sum()),
}


@dataclass
class Averaging:
    """What came back. same: different answers to the wordings of one set (withheld: no answer). near: answers about sets a few known people apart.

    error: of one answer; averaged: of the mean over all wordings, both as a share of the true sum. told: worlds in which the
    change between two near sets gave somebody's salary to the cent.
    """

    worlds: int = 0
    questions: int = 0
    same: list[int] = field(default_factory=list)
    near: list[int] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    averaged: list[float] = field(default_factory=list)
    told: int = 0
    withheld: int = 0


def average(seeds: range, policy: Policy) -> Averaging:
    """Return what many wordings of one question give, over many worlds."""
    result = Averaging()
    for seed in seeds:
        world = small_world(seed)
        rng = np.random.default_rng([seed, 5])
        served = serve(world, policy)
        result.worlds += 1
        asked = world.some(rng, 2 * K, world.height - 2 * K)
        other = world.some(rng, K, world.height - K)
        truth = float(world.frame["salary"].to_numpy()[asked.mask].sum())
        found = [_ask(served, wording(asked, other)) for wording in WORDINGS.values()]
        sums = [s for s, _ in found if s is not None]
        result.questions += len(found)
        result.same.append(len({s for s, _ in map(_key, found) if s is not None}))
        result.withheld += sum(s is None for s, _ in found)
        if sums:
            result.error.append(abs(sums[0] - truth) / truth)
            result.averaged.append(abs(float(np.mean(sums)) - truth) / truth)
        _near(world, served, asked, rng, result)
    return result


def _near(world: SmallWorld, served: World, asked: Condition, rng: np.random.Generator, result: Averaging) -> None:
    """Ask about the set with a few known people in or out of it, each told by all quasi columns."""
    answers = [_ask(served, WORDINGS["plain"](asked, asked))]
    salaries = set(np.round(world.frame["salary"].to_numpy(), 2).tolist())
    told = False
    for _ in range(6):
        person = SmallWorld(world.seed, world.frame, int(rng.integers(world.height)))
        one = person.is_target()
        near = asked & ~one if (asked.mask & one.mask).any() else asked | one
        if (near.mask ^ asked.mask).sum() >= K:
            continue
        answers.append(_ask(served, WORDINGS["plain"](near, near)))
        result.questions += 1
        first, last = answers[0][0], answers[-1][0]
        alone = one.size == 1 and first is not None and last is not None
        told |= alone and any(abs(abs(first - last) - s) < 0.006 for s in salaries)  # type: ignore[operator]
    result.near.append(len({_key(v) for v in answers}))
    result.told += told


def _ask(served: World, plan: Q) -> tuple[float | None, float | None]:
    answer = served.ask(plan.plan)
    table = answer.table
    if table is None and answer.verdict.safe_part is not None:
        table = served.ask(plan.plan, safe_part=True).table
    if table is None or not isinstance(table, polars.DataFrame) or not table.height or "s" not in table.columns:
        return None, None
    row = table.row(0, named=True)
    return (None if row["s"] is None else float(row["s"])), (None if row["n"] is None else float(row["n"]))


def _key(value: tuple[float | None, float | None]) -> tuple[Any, ...]:
    """Answers that differ only by the last bits of a sum are one answer."""
    return tuple(None if v is None else round(v, 3) for v in value)
