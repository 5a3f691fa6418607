"""The audit against fractions on small worlds: cleared means nobody is isolable, refused means somebody would be.

BASTION_FUZZ_CASES worlds (300 in a normal run, `make fuzz-audit` for more). Each world has 2 to 8 units and up to 6
releases of one or more rows, some weighted, some next to hidden cells.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from bastion_policy.audit import AuditRules, AuditState, Clearance, Row

sys.path.insert(0, str(Path(__file__).parent))
import linear_oracle as oracle

CASES = int(os.environ.get("BASTION_FUZZ_CASES", "300"))
WEIGHTS = np.array([1.0, 2.0, -1.0, 0.5, 3.0, 0.1])


def random_row(rng: np.random.Generator, units: int, least: int = 0) -> Row:
    """A row, mostly of `least` units or more: smaller ones are refused before any algebra."""
    mask = rng.random(units) < rng.choice([0.4, 0.6, 0.8])
    if mask.sum() < least <= units and rng.random() < 0.9:
        mask[rng.permutation(units)[:least]] = True
    weights = rng.choice(WEIGHTS, int(mask.sum())) if rng.random() < 0.2 else None
    return Row.of(mask) if weights is None else Row.of(np.flatnonzero(mask), weights)


def over_units(row: Row, units: int) -> oracle.Vector:
    found = [0.0] * units
    for i, unit in enumerate(row.units.tolist()):
        found[unit] = 1.0 if row.weights is None else float(row.weights[i])
    return oracle.vector(found)


def over_budget(rows: list[oracle.Vector], hidden: list[oracle.Vector], units: int, rules: AuditRules) -> bool:
    counted = sum(min(len(a), max(rules.k, 4)) for a in oracle.atoms([*rows, *hidden], units))
    return oracle.rank(rows) > rules.share * counted


def play(seed: int, tally: Counter[str]) -> None:
    rng = np.random.default_rng(seed)
    units = int(rng.choice([2, 4, 5, 6, 7, 8, 8]))
    rules = AuditRules(
        k=int(rng.integers(2, 5)),
        pairs=bool(rng.random() < 0.5),
        share=0.33 if rng.random() < 0.2 else None,
        tau=0.5 if rng.random() < 0.2 else None,
    )
    state = AuditState.start(units, rules, rng.bytes(16))
    rows: list[oracle.Vector] = []
    hidden: list[oracle.Vector] = []
    for _ in range(int(rng.integers(1, 7))):
        batch = [random_row(rng, units, rules.k) for _ in range(int(rng.choice([1, 1, 2, 3])))]
        cells = [random_row(rng, units)] if rng.random() < 0.25 else []
        verdict = state.consider(batch, cells)
        new = [over_units(r, units) for r in batch]
        after = rows + new
        watched = [
            c for c in (over_units(r, units) for r in cells) if any(c) and not oracle.spans(rows, c)
        ]  # what is determined already cannot be protected
        assert len(verdict.exposed) == 0 or any(
            oracle.spans(rows, over_units(cells[i], units)) for i in verdict.exposed
        )
        found = False
        found |= any(0 < sum(map(bool, r)) < rules.k for r in new)
        fresh = oracle.rank(after) > oracle.rank(rows)
        if fresh:
            found |= bool(oracle.isolated_atoms(after, units, rules.k))
            found |= any(oracle.spans(after, c) for c in hidden + watched)
            found |= rules.pairs and bool(oracle.isolated_pairs(after, units, rules.k))
            found |= rules.share is not None and over_budget(after, hidden + watched, units, rules)
            found |= rules.tau is not None and max(oracle.leverages(after), default=0) > Fraction(rules.tau)
        small = oracle.smallest_support(after, rules.k)
        if verdict.cleared:
            assert not found, (seed, "a candidate is isolable")
            tally["cleared"] += 1
            tally["cleared, small support missed"] += small is not None and fresh
            state = state.commit(verdict)
            assert small is None or not state.complete, (seed, "said to be complete")
            rows, hidden = after, hidden + watched
            assert state.rank == oracle.rank(rows)
            if not hidden:
                assert sorted(state.atoms.sizes.tolist()) == sorted(len(a) for a in oracle.atoms(rows, units))
        else:
            assert verdict.clearance is Clearance.REFUSED
            assert verdict.rule != "doubt"
            assert found or (small is not None and fresh), (seed, verdict.rule, "refused without a reason")
            tally["refused"] += 1
            tally["refused, no candidate but a small support"] += not found
            tally[f"rule {verdict.rule}"] += 1


def test_cleared_and_refused_are_what_fractions_say() -> None:
    tally: Counter[str] = Counter()
    for seed in range(CASES):
        play(seed, tally)
    print(f"{CASES} worlds:", dict(sorted(tally.items())))
    assert tally["cleared"] > CASES // 3 and tally["rule pair"] and tally["refused"] > CASES // 3


@pytest.mark.parametrize("k", [2, 3])
def test_releasable_is_greedy_in_order(k: int) -> None:
    """Halving gives what taking row after row gives, wherever the search is complete."""
    same = different = 0
    for seed in range(max(20, CASES // 10)):
        rng = np.random.default_rng(10_000 + seed)
        units = int(rng.integers(4, 9))
        rows = [random_row(rng, units) for _ in range(5)]
        start = AuditState.start(units, AuditRules(k=k, share=None, pairs=True), rng.bytes(16))
        released = start.releasable(rows)
        state, taken = start, []
        for i, row in enumerate(rows):
            verdict = state.consider([row])
            if verdict.cleared:
                state = state.commit(verdict)
                taken.append(i)
        assert set(released.refused) | set(released.accepted) == set(range(5))
        vectors = [over_units(rows[i], units) for i in released.accepted]
        assert not oracle.isolated_atoms(vectors, units, k)
        same += tuple(taken) == released.accepted
        different += tuple(taken) != released.accepted
    assert different <= same // 20
