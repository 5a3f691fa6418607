"""Time of the linear audit: one more query at a given rank over a given number of atoms.

`python -m benchmarks.audit`: fills a state with random populations up to the rank, then asks one row and ten disjoint rows.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from bastion_policy.audit import AuditRules, AuditState, Row, decode, encode, partition

POINTS = ((300, 10_000, 0.1), (1_000, 30_000, 2.0))  # rank, atoms, seconds allowed


def filled(rank: int, atoms: int, pairs: bool) -> AuditState:
    """Return a state of random populations; units = atoms: the worst case, where every atom is one unit."""
    rng = np.random.default_rng(rank)
    state = AuditState.start(atoms, AuditRules(k=10, pairs=pairs, share=None), b"benchmark of the audit")
    while state.rank < rank:
        rows = [Row.of(rng.random(atoms) < 0.5) for _ in range(min(250, rank - state.rank))]
        state = state.commit(state.consider(rows))
    return state


def measure(rank: int, atoms: int, pairs: bool, runs: int = 5) -> dict[str, float]:
    """Return seconds (medians) of a query of one row, of a group_by of ten cells, and of storing and loading."""
    state = filled(rank - 10, atoms, pairs)
    rng = np.random.default_rng(7)
    found: dict[str, list[float]] = {"one row": [], "ten cells": []}
    for _ in range(runs):
        queries = {
            "one row": [Row.of(rng.random(atoms) < 0.3)],
            "ten cells": partition(np.arange(atoms), rng.integers(-1, 10, atoms)),
        }
        for name, rows in queries.items():
            begin = time.perf_counter()
            verdict = state.consider(rows)
            found[name].append(time.perf_counter() - begin)
            if not verdict.cleared:
                raise SystemExit(f"not cleared: {verdict.rule}")
    begin = time.perf_counter()
    text = encode(state)
    stored = time.perf_counter()
    decode(text, state.rules)
    loaded = time.perf_counter()
    result = {name: float(np.median(times)) for name, times in found.items()}
    return result | {
        "store": stored - begin,
        "load": loaded - stored,
        "MB": state.size / 1e6,
        "bytes MB": len(text) / 1e6,
    }


def main() -> None:
    """Print one line per point."""
    for rank, atoms, goal in POINTS:
        for pairs in (False, True):
            result = measure(rank, atoms, pairs)
            line = ", ".join(f"{name} {value:.3f}" for name, value in result.items())
            sys.stdout.write(f"rank {rank}, {atoms} atoms, pairs {pairs}: {line} (goal {goal} s)\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
