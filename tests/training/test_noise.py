"""The noise of a step: its law, its grid, and that there is no step without it; who is drawn, and who is for testing."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from bastion_plan.errors import BastionError
from bastion_server.training import drawing, noise, sampling
from fitting import fit, spec, table


def test_deviates_are_normal_in_the_middle_and_in_the_tails() -> None:
    found = noise.normals(400_001)
    assert len(found) == 400_001
    assert abs(found.mean()) < 5 / math.sqrt(len(found))
    assert abs(found.var() - 1) < 5 * math.sqrt(2 / len(found))
    assert abs((found**4).mean() - 3) < 5 * math.sqrt(96 / len(found))
    for limit in (1.0, 2.0, 3.0, 4.0):
        chance = math.erfc(limit / math.sqrt(2))
        some = float((np.abs(found) > limit).mean())
        assert abs(some - chance) < 5 * math.sqrt(chance / len(found)), limit
    # the two of a pair know nothing of each other
    half = len(found) // 2
    assert abs(np.corrcoef(found[:half], found[half : 2 * half])[0, 1]) < 5 / math.sqrt(half)


@pytest.mark.parametrize("alone", [False, True], ids=["of many", "alone"])
def test_the_radius_is_exact_at_both_ends(alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(high: int, low: int) -> float:
        raw = {16: [high, 0], 8: [low]}
        monkeypatch.setattr(drawing.os, "urandom", lambda size: np.array(raw[size], dtype="<u8").tobytes())
        return noise.normal() if alone else float(noise.normals(1)[0])

    assert drawn(0, 0) == pytest.approx(math.sqrt(2 * 129 * math.log(2)), rel=1e-12)
    assert drawn(2**64 - 1, 2**64 - 1) == pytest.approx(2.0**-64, rel=1e-12)
    assert drawn(2**63, 0) == pytest.approx(math.sqrt(2 * math.log(2)), rel=1e-12)
    # where the next bits begin to count, the two ways meet
    for high in (2**54, 2**64 - 2**54):
        one, two = drawn(high - 1, 2**63), drawn(high, 2**63)
        assert one == pytest.approx(two, rel=1e-9)
        assert one != 0


def test_one_deviate_alone_is_normal() -> None:
    found = np.array([noise.normal() for _ in range(40_000)])
    assert abs(found.mean()) < 5 / math.sqrt(len(found))
    assert abs(found.var() - 1) < 5 * math.sqrt(2 / len(found))
    assert abs((found**4).mean() - 3) < 5 * math.sqrt(96 / len(found))


def test_a_sum_of_nothing_has_no_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of -0 and -0 came -0: a bit of the sum beside what is noised."""
    monkeypatch.setattr(noise, "normals", lambda count: np.full(count, -1e-12))
    for sign in (1.0, -1.0):
        assert not np.signbit(noise.noised(np.full(8, sign * 1e-12), 1.0, 1.0, 0.25)).any()


def test_many_random_numbers_are_a_stream_under_a_key_of_the_system_s_for_one_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few, keys = drawing.FEW // 8, list[int]()
    asked = drawing.os.urandom
    monkeypatch.setattr(drawing.os, "urandom", lambda size: (keys.append(size), asked(size))[1])
    some = [drawing.words(n) for n in (few, few + 1, few + 1, 100_003)]
    assert keys == [drawing.FEW, 32, 32, 32] and [len(x) for x in some] == [few, few + 1, few + 1, 100_003]
    everything = np.concatenate(some)
    assert len(np.unique(everything)) == len(everything)
    bits = np.unpackbits(everything.view(np.uint8)).reshape(-1, 64).mean(0)
    assert np.abs(bits - 0.5).max() < 6 / math.sqrt(4 * len(everything))
    # what a key gives is what a key gives: AES-256 of 0, 1, 2, ... (the first two blocks of the key of zeros)
    monkeypatch.setattr(drawing.os, "urandom", bytes)
    first = "dc95c078a2408989ad48a21492842087" + "530f8afbc74536b9a963b4f1c4cb738b"
    assert drawing.words(few + 1)[:4].tobytes().hex() == first
    monkeypatch.undo()
    monkeypatch.setattr(drawing, "MOST", 1 << 16)
    assert len(np.unique(drawing.words(20_000))) == 20_000


def test_what_leaves_is_whole_steps_of_the_grid_with_the_deviation_that_was_asked_for() -> None:
    total = np.linspace(-3, 3, 50_000)
    found = noise.noised(total, 0.7, 1.5, 0.25)
    steps = found / noise.grid(0.7, len(total))
    assert np.abs(steps - np.rint(steps)).max() < 1e-6
    moved = found - total
    assert moved.std() == pytest.approx(1.5 * noise.sensitivity(0.7, 0.25), rel=0.02)
    assert 1.0 < noise.sensitivity(1.0, 0.0) < 1.025
    assert noise.sensitivity(0.7, 0.5) == pytest.approx(0.7 * math.hypot(noise.sensitivity(1.0, 0.0), 0.5))


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_no_step_is_done_without_noise(sigma: float) -> None:
    with pytest.raises(ValueError, match="no noise"):
        noise.noised(np.zeros(3), 1.0, sigma, 0.25)
    with pytest.raises(BastionError) as refused:
        fit(table(20), spec()).steps(1, sigma)
    assert refused.value.code == "train.noise"


def test_people_are_drawn_each_by_themselves() -> None:
    assert len(sampling.poisson(10, 1.0)) == 10
    assert len(sampling.poisson(0, 0.5)) == 0
    assert len(sampling.poisson(1000, 2.0**-80)) == 0
    sizes = np.array([len(sampling.poisson(500, 0.1)) for _ in range(400)])
    assert sizes.mean() == pytest.approx(50, abs=5 * math.sqrt(45 / 400))
    assert sizes.var() == pytest.approx(45, rel=0.5)
    drawn = sampling.places(3, 8)
    assert len(set(drawn.tolist())) == 3
    assert {int(p) for _ in range(200) for p in sampling.places(1, 4)} == {0, 1, 2, 3}


def test_who_is_for_testing_depends_on_who_it_is_and_on_the_key() -> None:
    people = [f"person {i}" for i in range(4000)]
    found = sampling.for_testing(people, bytes(32), 0.2, 1)
    assert found.mean() == pytest.approx(0.2, abs=0.03)
    # of fewer people the same are for testing
    assert (sampling.for_testing(people[::2], bytes(32), 0.2, 1) == found[::2]).all()
    assert (sampling.for_testing(people, bytes(32), 0.2, 1) == found).all()
    for other in (sampling.for_testing(people, b"k" * 32, 0.2, 1), sampling.for_testing(people, bytes(32), 0.2, -2)):
        assert 0.2 < (other != found).mean() < 0.45
    assert sampling.for_testing([None, "", "a"], bytes(32), 0.999999, 0).shape == (3,)
