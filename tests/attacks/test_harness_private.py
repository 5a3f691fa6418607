"""Averaging, membership and reconstruction against noise: what exact answers cannot promise, a spent budget does."""

from __future__ import annotations

import numpy as np
from harness_private import averaged_error, membership, reconstruct


def test_many_wordings_that_share_a_budget_average_to_no_more_than_one_answer() -> None:
    one, many = averaged_error(1.0, 1, 80), averaged_error(1.0, 9, 80)
    # 80 draws know a deviation to 8 %, and so a ratio to 11 %; averaging for free would divide it by 3
    assert many > 0.55 * one
    assert one > 1


def test_the_insider_is_left_guessing_within_the_bound() -> None:
    found = membership(1.0, 80)
    # 80 unseen draws know an area to about 0.06
    assert found.insider < found.most + 0.15
    assert found.insider < 0.75


def test_a_large_epsilon_tells_members() -> None:
    """The harness itself: with next to no noise, the insider knows."""
    assert membership(150.0, 40).insider > 0.9


def test_bits_are_guessed_hardly_better_than_by_chance() -> None:
    assert np.mean([reconstruct(seed, 1.0, 40) for seed in range(3)]) < 0.62
    # the harness itself: with next to no noise, least squares know nearly everybody
    assert np.mean([reconstruct(seed, 990.0, 60) for seed in range(2)]) > 0.85
