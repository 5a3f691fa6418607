"""What a clock tells of a step, with the clock replaced by counting: how many places there are, and what is done in each."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import norm

sys.path.insert(0, str(Path(__file__).parent))
from bastion_plan.errors import BastionError
from bastion_policy.private import padding
from bastion_policy.private.subsampled import MOST_SIGMA
from bastion_server.training import noise, parts
from bastion_server.training.loop import Fit
from fitting import GB, KEY, fit, mlp, opened, sent, spec, table

DRAWS = 800


class Counting:
    """Counts places instead of computing anything."""

    def __init__(self, made: Fit) -> None:
        self.made, self.shapes = made, list[tuple[int, ...]]()
        self.nothing = torch.zeros(made.graph.parameters + 1, dtype=torch.float64)

    def total(self, inputs: Any, labels: Any, there: torch.Tensor, *rest: Any) -> torch.Tensor:
        self.shapes.append(tuple(there.shape))
        return self.nothing

    def steps(self, people: int) -> int:
        """Places of a step of so many people."""
        self.shapes.clear()
        self.made.summed(np.arange(people))
        # passes of a step are all alike
        assert len({*self.shapes}) == 1 and self.shapes[0][0] <= self.made.room.width
        return sum(width for width, _ in self.shapes)


def hostile(sigma: float, **changes: Any) -> tuple[Fit, Counting]:
    """The fit with which people were counted to one: everybody in each step, next to nobody expected."""
    made = fit(table(120), spec(**{"rate": 1.0, "expected": 0.01, "batch": 1} | changes), sigma=sigma)
    made.clipper = counting = Counting(made)  # type: ignore[assignment]
    return made, counting


def apart(few: np.ndarray, many: np.ndarray, deviation: float) -> float:
    """By how much counts tell n people from n + 1, beyond what noise of this deviation lets be told; 0 or less: not at all."""
    mu, found = 1 / deviation, -1.0
    for epsilon in (0.0, 0.2, 0.5, 1.0):
        e = math.exp(epsilon)
        delta = norm.cdf(mu / 2 - epsilon / mu) - e * norm.cdf(-mu / 2 - epsilon / mu)
        for edge in range(int(many.max()) + 2):
            p, q = float((few >= edge).mean()), float((many >= edge).mean())
            found = max(found, q - e * p - delta, (1 - p) - e * (1 - q) - delta)
    return found


def edge(steps: Any) -> int:
    """A number of people such that one more is some places more, where there is no noise."""
    return next(n for n in range(20, 110) if steps(n) != steps(n + 1))


def test_places_tell_of_people_with_the_noise_of_the_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made, counting = hostile(2.0)
    none = torch.zeros(made.room.width, 1, dtype=torch.bool)
    monkeypatch.setattr(made.rows, "people_tensors", lambda some: ([], none[: len(some)], none[: len(some)]))
    with monkeypatch.context() as quiet:
        quiet.setattr(noise, "normal", lambda: 0.0)
        n = edge(counting.steps)
        few, many = (np.array([counting.steps(people) for _ in range(20)]) for people in (n, n + 1))
        assert apart(few, many, made.room.deviation) > 0.5  # without noise one person is told for certain
    few, many = (np.array([counting.steps(people) for _ in range(DRAWS)]) for people in (n, n + 1))
    assert len({*few.tolist()}) > 1
    assert apart(few, many, made.room.deviation) < 4 / math.sqrt(DRAWS)
    # and the test would see noise that is half as large as promised
    small = np.array(
        [[math.ceil(people + z) for z in np.random.default_rng(1).normal(0, 1, 4000)] for people in (60, 61)]
    )
    assert apart(small[0], small[1], 1.0) < 4 / math.sqrt(4000) < apart(small[0], small[1], 2.0)


def test_a_measurement_s_passes_tell_of_rows_with_its_noise_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, passes, width = 4.0, [0], [0]
    made = fit(table(120), spec(rate=1.0, expected=0.01, batch=1))

    def counted(inputs: Any, *, training: bool) -> Any:
        passes[0], width[0] = passes[0] + 1, len(inputs[0])
        return torch.zeros(width[0], 2)

    monkeypatch.setattr(made, "_predicted", counted)

    def count(people: int) -> int:
        passes[0] = 0
        monkeypatch.setattr(made.rows, "people", lambda part: np.arange(people))
        counts, _ = made.evaluate("accuracy", "train", 1.0, whole)
        assert int(counts.sum()) == people and width[0] == 64
        return passes[0]

    with monkeypatch.context() as quiet:
        quiet.setattr(noise, "normal", lambda: 0.0)
        n = edge(count)
        few, many = (np.array([count(people) for _ in range(5)]) for people in (n, n + 1))
        assert apart(few, many, whole) > 0.5
    few, many = (np.array([count(people) for _ in range(DRAWS)]) for people in (n, n + 1))
    assert len({*few.tolist()}) > 1
    assert apart(few, many, whole) < 4 / math.sqrt(DRAWS)


@pytest.mark.parametrize("rows", [1, 3])
def test_in_a_pass_as_much_is_read_and_run_whoever_is_there(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, weights = sent(mlp())
    with opened(table(60, rows=2).with_columns(y=pl.lit(1))) as path:
        for most in (0, 1 << 40):  # rows that are kept, and rows that are read when they are needed
            how = spec(rows=rows, rate=1.0, expected=20.0)
            made = Fit(graph, how, path, weights, KEY, GB, sigma=1.0, most_rows=most)
            made.clipper = counting = Counting(made)  # type: ignore[assignment]
            assert (made.rows.kept is None) == bool(most)
            read, tensors = list[int](), made.rows.tensors
            monkeypatch.setattr(made.rows, "tensors", lambda rows, t=tensors, r=read: (r.append(len(rows)), t(rows))[1])
            for people in (0, 1, 2, 25, 60):
                read.clear()
                assert counting.steps(people) >= people
                assert {n for _, n in counting.shapes} == {rows}
                assert read == [width * rows for width, _ in counting.shapes]
            # and nothing is made of what is read where nobody is
            inputs, labels, there = made.rows.people_tensors(np.array([-1, 5, -1]))
            assert there.any(1).tolist() == [False, True, False]
            assert not inputs[0][~there].any() and not labels[~there].any()
            assert inputs[0][there].any() and labels[there].all()


def test_as_much_is_done_where_somebody_s_gradient_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    done, kept = list[tuple[int, ...]](), parts.kept
    monkeypatch.setattr(parts, "kept", lambda each: (done.append(tuple(each.shape)), kept(each))[1])
    made = fit(table(60), spec(rate=1.0, expected=60.0))
    found = []
    for value in (0.5, float("nan")):
        assert made.rows.kept is not None
        made.rows.kept[0][0][7] = value
        done.clear()
        made.summed(np.arange(60))
        found.append(list(done))
    assert found[0] == found[1] and found[0]


def test_whether_rows_are_kept_follows_from_public_numbers() -> None:
    """A table that a filter leaves little of is read as the whole one is."""
    graph, weights = sent(mlp())
    for people in (0, 1, 60):
        with opened(table(60).head(people)) as path:
            for most in (64, 1 << 40):
                found = Fit(graph, spec(), path, weights, KEY, GB, most_rows=most)
                assert (found.rows.kept is None) == (most > 64)
                assert found.steps(1, 1.0) is not None


def test_the_number_of_people_is_one_coordinate_of_the_mechanism() -> None:
    for sigma in (0.3, 1.0, 10.0):
        for expected in (0.01, 40.0, 1e4):
            gamma = padding.share(sigma, expected)
            assert padding.LEAST <= gamma <= padding.MOST
            people = padding.deviation(sigma, gamma, noise.MOVED)
            others = sigma * noise.sensitivity(1.0, gamma) / noise.MOVED
            # what one person moves, in deviations of both: that of the whole
            assert math.hypot(1 / people, 1 / others) == pytest.approx(1 / sigma)
            # the more people, the less of the noise goes to them
            assert padding.share(sigma, expected * 10) <= gamma
    found = np.array([noise.empty_places(5.0) for _ in range(4000)])
    assert found.mean() == pytest.approx(padding.FAR * 5, abs=0.5) and found.std() == pytest.approx(5, rel=0.1)
    assert found.min() > 0 and padding.count(5.0, -9.0) == 0 and noise.empty_places(0.0) == 0
    assert norm.cdf(-padding.FAR) < 1e-17


def test_steps_that_would_take_too_many_empty_places_are_refused_before_one_is_paid() -> None:
    with pytest.raises(BastionError) as refused:
        fit(table(20), spec(expected=1e6, batch=1), sigma=1.0)
    assert refused.value.code == "fit.batch"
    # by sigma alone as well, whatever memory allows in a pass
    with pytest.raises(BastionError) as refused:
        fit(table(20), spec(expected=0.01, batch=1), memory=1 << 19, sigma=MOST_SIGMA)
    assert refused.value.code == "fit.batch" and "noise" in refused.value.reason
    assert fit(table(20), spec(expected=0.01, batch=1), sigma=10.0).steps(1, 10.0) is not None
