"""What two populations differ by is judged like a cell: of people who are known to add nothing, one stands out."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Suppress, measure
from drive import World
from query import Q

import bastion.expressions as pl

N, TARGET = 1200, 33
RNG = np.random.default_rng(3)
JOB = (RNG.random(N) < 0.6) | (np.arange(N) == TARGET)
PAY = np.where(JOB, RNG.integers(100, 5000, N), 0)
FRAME = polars.DataFrame({"id": np.arange(N), "g": np.arange(N) % 30, "a": np.arange(N) // 30, "job": JOB, "pay": PAY})
ROLES: dict[str, Any] = {"id": "identifier", "g": "quasi", "a": "quasi", "job": "quasi", "pay": measure(0, 10_000)}
T, pay, job = Q("t"), pl.col("pay"), pl.col("job")
GROUP, OTHERS = pl.col("g") == TARGET % 30, ~(pl.col("a") == TARGET // 30)
#: a group of forty of whom some have no job: populations whose sums differ by the target's pay alone
PAIRS = {
    "one inside the other": (T.filter(GROUP), T.filter(GROUP, OTHERS, job)),
    "neither inside the other": (T.filter(GROUP, job), T.filter(GROUP, OTHERS)),
    "neither, the other way round": (T.filter(GROUP, OTHERS), T.filter(GROUP, job)),
}


@pytest.mark.parametrize("profile", ["default", "strict"])
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("statistic", ["sum", "mean"])
def test_known_zeros_do_not_hide_anybody(pair: str, profile: str, statistic: str) -> None:
    for weaken, obtained in (
        ((), False),
        (("dominance", "homogeneity", "history", "linear_audit", "saturation"), True),
    ):
        policy = Policy.strict("id") if profile == "strict" else Policy(Aggregation(10), Suppress(), weaken=weaken)
        if obtained and profile == "strict":
            continue
        w = World(remembers=True).add("t", FRAME, policy, ROLES, "id")
        sums = []
        for q in PAIRS[pair]:
            column = pay.sum() if statistic == "sum" else pay.mean()
            found = w.ask(q.select(z=column, n=pl.len()).plan).table
            value = found["z"][0] if found is not None else None
            sums.append(None if value is None else value * (found["n"][0] if statistic == "mean" else 1))
        one, two = sums
        if obtained:
            assert abs(one - two) == pytest.approx(float(PAY[TARGET]))
        else:
            assert None in (one, two)


def test_people_far_apart_are_still_told() -> None:
    w = World(remembers=True).add("t", FRAME, Policy.default(), ROLES, "id")
    assert w.ask(T.filter(job).select(pay.mean()).plan).released.item() == pytest.approx(PAY[JOB].mean())
    by = w.ask(T.group_by("g").agg(pay.mean()).plan).released
    assert by["pay"].null_count() == 0
    assert (
        w.ask(T.filter(pl.col("a") < 20).select(pay.sum()).plan).released.item() == PAY[np.arange(N) // 30 < 20].sum()
    )


@pytest.mark.parametrize("profile", ["default", "strict"])
def test_many_other_differences_hide_none(profile: str) -> None:
    """Three hundred groups that lose ten people each, and one that loses ten who have nothing and the target."""
    groups, size = 300, 40
    pay = RNG.integers(2000, 9000, groups * size)
    g, a = np.arange(pay.size) // size, np.arange(pay.size) % size
    pay[(g == 3) & (a >= 1) & (a < 15)] = 0
    frame = polars.DataFrame({"id": np.arange(pay.size), "g": g, "a": a, "pay": pay})
    roles: dict[str, Any] = {"id": "identifier", "g": "quasi", "a": "quasi", "pay": measure(0, 10_000)}
    policy = Policy.strict("id") if profile == "strict" else Policy(Aggregation(10), Suppress())
    w = World(remembers=True).add("t", frame, policy, roles, "id")
    kept = ((pl.col("g") == 3) & (pl.col("a") >= 15)) | ((pl.col("g") != 3) & (pl.col("a") >= 10))
    one, two = (w.ask(q.group_by("g").agg(pl.col("pay").sum()).plan).table for q in (T, T.filter(kept)))
    assert one is not None
    told = dict(two.rows()).get(3) if two is not None else None
    assert told is None or abs(dict(one.rows())[3] - told - pay[3 * size]) > 0.05 * pay[3 * size]
