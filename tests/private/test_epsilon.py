"""What an observer can prove of the mechanisms from their draws never exceeds what is stated, and would if they were broken.

Draws are real: OpenDP's generator takes no seed. Each bound holds with probability 0.9999, so a correct mechanism fails a
test less than once in 10,000 runs. Each test draws some 20,000 times, in a few seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import polars as pl
import pytest
from bastion_policy.model import Policy
from bastion_policy.private import cells as cells_module
from bastion_policy.private import plans, pricing, statistics
from bastion_policy.private.accounting import epsilon_of
from bastion_policy.private.pricing import Priced
from bastion_policy.roles import measure, quasi
from bastion_server.private.mechanisms import gaussian
from noisy import Desk, draws, lower_bound, proven
from query import Q

from bastion import pl as b

TIMES = 20_000
ROWS = 4
#: of the tests; an answer of this epsilon is noisy enough to be tested and exact enough to show a mistake
EPSILON, DELTA = 4.0, 1e-3


def desk() -> Desk:
    """People with one row each, and one (0) with many rows at the edge of the bounds."""
    ordinary = pl.DataFrame({"pid": range(1, 60), "x": [50.0] * 59, "g": ["a"] * 59})
    extreme = pl.DataFrame({"pid": [0] * 20, "x": [1e9] * 20, "g": ["a"] * 20})
    roles = {"pid": "identifier", "x": measure(0, 100), "g": quasi("a", "b")}
    policy = Policy.private(EPSILON, DELTA, unit="pid", max_rows=ROWS, max_groups=2, roles=roles)
    return Desk.of(pl.concat([ordinary, extreme]), policy, "pid")


def worlds(query: Q, column: str) -> tuple[Priced, np.ndarray, np.ndarray]:
    here = desk()
    there = here.without(0)
    priced = here.priced(query, EPSILON)
    (cells,), (noise,) = priced.draft.cells, priced.noise
    samples = []
    for world in (here, there):
        (exact,) = world.measured(priced)
        samples.append(draws(cells, noise, exact, column, TIMES))
    return priced, *samples


QUERIES: dict[str, tuple[Callable[[], Q], str]] = {
    "count": (lambda: Q("t").select(b.len()), "#~v0"),
    "people": (lambda: Q("t").select(b.col("pid").n_unique()), "#~v0"),
    "sum": (lambda: Q("t").select(b.col("x").sum()), "#~v0"),
    "mean": (lambda: Q("t").select(b.col("x").mean()), "#~v1"),
    "variance": (lambda: Q("t").select(b.col("x").var()), "#~v2"),
    "filtered": (lambda: Q("t").filter(b.col("x") > 90).select(b.col("x").clip(0, 10).sum()), "#~v0"),
    "declared groups": (lambda: Q("t").group_by("g").agg(b.len()), "#~v0"),
}


@lru_cache
def drawn_worlds(name: str) -> tuple[Priced, np.ndarray, np.ndarray]:
    make, column = QUERIES[name]
    return worlds(make(), column)


@pytest.mark.parametrize("name", QUERIES)
def test_draws_prove_no_more_than_what_is_stated(name):
    priced, here, there = drawn_worlds(name)
    found = proven(here, there, DELTA)
    rho = priced.noise[0].rho
    assert found.epsilon <= epsilon_of(rho, DELTA) <= EPSILON
    assert found.mu <= math.sqrt(2 * rho), "a Gaussian of cost rho is sqrt(2 rho)-GDP, no more"
    if name == "people":
        return  # one person counts once: far below what the caps of rows allow for
    assert here.mean() != there.mean(), "the person is in the answer, or nothing was tested"


@pytest.mark.parametrize("name", ["count", "sum", "mean", "declared groups"])
def test_the_estimate_is_tight_enough_to_mean_something(name):
    """The worlds differ by all that a person may contribute: nearly all of the stated cost can be proven."""
    priced, here, there = drawn_worlds(name)
    groups = priced.draft.cells[0].caps.groups  # the person is in one group of two that were paid for
    assert proven(here, there, DELTA).mu > 0.6 * math.sqrt(2 * priced.noise[0].rho / groups)


def forget_rows(part, rows, groups):
    return float(part.bound)


def forget_bound(part, rows, groups):
    return float(rows)


@pytest.mark.parametrize(
    ("name", "broken"), [("count", forget_rows), ("sum", forget_rows), ("sum", forget_bound), ("mean", forget_rows)]
)
def test_a_broken_sensitivity_is_caught(monkeypatch, name, broken):
    """The same estimate, of a server that believes a person to contribute one row, or one whole step."""
    for module in (statistics, plans):
        monkeypatch.setattr(module, "l2_sensitivity", broken)
    make, column = QUERIES[name]
    priced, here, there = worlds(make(), column)
    assert proven(here, there, DELTA).epsilon > epsilon_of(priced.noise[0].rho, DELTA)
    assert proven(here, there, DELTA).mu > math.sqrt(2 * priced.noise[0].rho)


def test_rows_that_are_not_bounded_are_caught(monkeypatch):
    """A server that forgets to leave out a person's further rows."""
    real = cells_module.bounded

    def unbounded(rows, keys, caps, parts):
        return real(rows, keys, cells_module.Caps(1_000, 1_000), parts)

    monkeypatch.setattr(cells_module, "bounded", unbounded)
    priced, here, there = worlds(*[QUERIES["count"][0](), "#~v0"])
    assert proven(here, there, DELTA).mu > math.sqrt(2 * priced.noise[0].rho)


# -- quantiles


def median_worlds(times: int = 3_000) -> tuple[Priced, np.ndarray, np.ndarray]:
    """A median that one person's rows move across the middle."""
    base = pl.DataFrame({"pid": range(1, 41), "x": [20] * 20 + [80] * 20})
    extreme = pl.DataFrame({"pid": [0] * 20, "x": [100] * 20})
    policy = Policy.private(
        EPSILON, DELTA, unit="pid", max_rows=ROWS, roles={"pid": "identifier", "x": measure(0, 100)}
    )
    here = Desk.of(pl.concat([base, extreme]), policy, "pid")
    priced = here.priced(Q("t").select(b.col("x").median()), EPSILON)
    (cells,), (noise,) = priced.draft.cells, priced.noise
    samples = []
    for world in (here, here.without(0)):
        (exact,) = world.measured(priced)
        samples.append(draws(cells, noise, exact, "#~q0", times))
    return priced, *samples


def test_a_median_proves_no_more_than_what_is_stated():
    priced, here, there = median_worlds()
    found = proven(here, there, DELTA)
    assert found.epsilon <= epsilon_of(priced.noise[0].rho_choice, DELTA)


def test_a_median_with_too_little_noise_is_caught(monkeypatch):
    """A server that takes a quantile's scores to move by one where they move by the rows of a person times thousands."""
    monkeypatch.setattr(plans.Cells, "linf", lambda self, position: 500)
    priced, here, there = median_worlds()
    assert proven(here, there, DELTA).epsilon > epsilon_of(priced.noise[0].rho_choice, DELTA)


# -- keys that are not declared


def key_worlds(delta: float) -> tuple[Priced, int]:
    """How often a key is named that one person alone has."""
    frame = pl.DataFrame({"pid": [*range(1, 30), 0], "g": [*["many"] * 29, "rare"]})
    policy = Policy.private(EPSILON, delta, unit="pid", max_rows=1, roles={"pid": "identifier", "g": "quasi"})
    world = Desk.of(frame, policy, "pid")
    priced = world.priced(Q("t").group_by("g").agg(b.len()), EPSILON)
    (exact,) = world.measured(priced)
    (cells,), (noise,) = priced.draft.cells, priced.noise
    (people,) = exact.sums.filter(pl.col("#~k0") == "rare")[f"#~v{cells.people}"]
    assert (people, noise.least is None) == (1, False)
    counts = gaussian(np.full(TIMES, people), noise.scales[cells.people], cells.l2(cells.people), noise.rho)
    return priced, int(np.sum(counts >= noise.least))


def test_a_key_of_one_person_is_named_no_more_often_than_delta():
    priced, named = key_worlds(delta=0.2)
    stated = priced.cost.delta_value
    assert 0 < stated <= 0.1
    assert lower_bound(named, TIMES, 1e-4) <= stated


def test_a_threshold_that_is_too_low_is_caught(monkeypatch):
    monkeypatch.setattr(pricing, "key_threshold", lambda scale, groups, delta: 1)
    priced, named = key_worlds(delta=0.2)
    assert lower_bound(named, TIMES, 1e-4) > priced.cost.delta_value
