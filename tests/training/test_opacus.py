"""The library that others use for the accounting of training has the same numbers."""

from __future__ import annotations

import importlib

import pytest
from bastion_policy.private.subsampled import Mechanism, epsilon_of_fit


def test_opacus_has_the_same_numbers():
    rdp = importlib.import_module("opacus.accountants.analysis.rdp")
    for rate, sigma in ((0.001, 0.7), (0.02, 1.1), (0.2, 4.0), (1.0, 3.0)):
        for order in (2, 5, 17, 64):
            theirs = float(rdp.compute_rdp(q=rate, noise_multiplier=sigma, steps=100, orders=[order])[0])
            assert Mechanism(rate, sigma, 100).divergence(order) == pytest.approx(theirs, rel=1e-5)


def test_prv_accounting_finds_that_less_was_spent():
    """The tight figure of the model card is below the one that is charged, and not by much."""
    prv = importlib.import_module("opacus.accountants").PRVAccountant()
    prv.history = [(1.1, 0.02, 500)]
    tight, charged = prv.get_epsilon(delta=1e-5), epsilon_of_fit(0.02, 1.1, 500, 1e-5)
    assert tight < charged < 1.25 * tight
