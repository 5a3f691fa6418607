"""One value beyond all others decides nothing but what is shown: no number of the judge's own overflows with an error."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Suppress, measure
from bastion_server.service.queries import columns
from bastion_server.workers.lease import Answer
from drive import World
from query import Q

import bastion.expressions as pl

N = 200
RNG = np.random.default_rng(2)
T, x = Q("t"), pl.col("x")
QUESTIONS = {
    "sum": x.sum(), "mean": x.mean(), "var": x.var(), "std": x.std(ddof=0), "median": x.median(), "min": x.min(),
    "max": x.max(), "quantile": x.quantile(0.3), "covariance": pl.cov("x", "y"), "correlation": pl.corr("x", "y"),
    "affine": (x * 2 + 1).sum(), "some": x.filter(pl.col("y") > 0.3).sum(), "condition": (x > 50).sum(),
    "absolute": x.abs().sum(), "filled": x.fill_null(0).mean(),
}  # fmt: skip
VALUES: list[tuple[Any, Any]] = [
    *((polars.Float64, v) for v in (None, 1e308, -1e308, 1.7e308, float("inf"), float("nan"), 5e-324, 1e154)),
    (polars.Float32, 3e38),
    *((polars.Int128, v) for v in (None, 2**120, -(2**127))),
]


@pytest.mark.parametrize(("dtype", "value"), VALUES)
def test_one_extreme_value_raises_nothing(dtype: Any, value: Any) -> None:
    values = RNG.uniform(0, 100, N).tolist() if dtype.is_float() else RNG.integers(0, 100, N).tolist()
    values[7] = value
    frame = polars.DataFrame({"id": np.arange(N), "g": np.arange(N) % 2, "y": RNG.uniform(0, 1, N)})
    frame = frame.with_columns(x=polars.Series(values, dtype=dtype))
    roles: Any = {"id": "identifier", "g": "quasi", "x": "measure", "y": "measure"}
    for remembers in (False, True):
        world = World(remembers=remembers).add("t", frame, Policy(Aggregation(10), Suppress(), unit="id"), roles, "id")
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            for expr in QUESTIONS.values():
                world.ask(T.select(expr).plan)
                world.ask(T.group_by("g").agg(expr.alias("r")).plan)


#: many values near the largest float, where differences and sums of two overflow
MANY = {
    "one": np.where(np.arange(N) == 7, 1.7e308, RNG.uniform(0, 100, N)),
    "some": np.where(np.arange(N) < 20, 1.7e308, RNG.uniform(0, 100, N)),
    "both ends": np.where(np.arange(N) % 3 == 0, 1e308, -1e308),
    "spread": np.where(np.arange(N) % 2 == 0, 1e306, -1e306) * RNG.uniform(0, 100, N),
}


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(
    "role", ["measure", "sensitive", measure(-1.7e308, 1.7e308)], ids=["measure", "sensitive", "declared"]
)
@pytest.mark.parametrize("name", MANY)
def test_many_extreme_values_warn_of_nothing(name: str, role: Any, rows: int) -> None:
    """Deviations from bounds, what lies between populations, and what column a sum is of: numbers of the judge's own."""
    frame = polars.DataFrame(
        {"id": np.arange(N) // rows, "g": np.arange(N) % 3, "y": RNG.uniform(0, 1, N), "x": MANY[name]}
    )
    roles: Any = {"id": "identifier", "g": "quasi", "x": role, "y": "quasi"}
    for policy in (Policy(Aggregation(10), Suppress(), unit="id"), Policy.strict(unit="id")):
        world = World(remembers=True).add("t", frame, policy, roles, "id")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for key in ("sum", "mean", "std", "affine", "some", "condition", "covariance"):
                expr = QUESTIONS[key].alias("r")
                for plan in (T.select(expr), T.group_by("g").agg(expr), T.filter(pl.col("g") != 0).select(expr)):
                    world.ask(plan.plan)
                each = T.group_by("id").agg(x=pl.col("x").mean(), y=pl.col("y").first())
                world.ask(each.select(expr).plan)


def test_the_server_reads_whole_numbers_of_128_bits() -> None:
    held = io.BytesIO()
    polars.DataFrame({"s": polars.Series([2**100, 3], dtype=polars.Int128), "n": [1, 2]}).write_ipc(held)
    found = columns(Answer(held.getvalue(), 2))
    assert found["s"] == [2**100, 3]
    assert found["n"].tolist() == [1, 2]
