"""(i) Time of the linear audit: one more query at a given rank over a given number of atoms, and what is beyond its capacity.

`python -m benchmarks audit`. Every atom is one unit and every population holds about half of them: the worst case.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from bastion_policy.audit import AuditRules, AuditState, Capacity, Row, decode, encode, partition
from bastion_policy.audit.atoms import Atoms
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.timing import median, met, spread

#: rank, atoms, seconds allowed
POINTS = ((300, 10_000, 0.1), (1_000, 30_000, 2.0))
RUNS = 3
#: rank up to which a state is also read: all of it is eliminated anew, which takes minutes at the highest
READ = 300


def drawn(rank: int, atoms: int) -> AuditState:
    """Return a state at a rank, units = atoms, whose echelon form is drawn at random.

    The form of so many random populations looks like that, and takes as long to compute with; to eliminate 1,000 of them
    takes minutes.
    """
    rng = np.random.default_rng(rank)
    state = AuditState.start(atoms, AuditRules(k=10, share=None), b"benchmark of the audit")
    rows = []
    for prime in state.space.primes:
        residues = rng.integers(1, prime // 2, (rank, atoms)).astype(np.float32)
        residues[:, :rank] = np.eye(rank, dtype=np.float32)
        rows.append(residues)
    space = replace(
        state.space, pivots=np.arange(rank), rows=tuple(rows), hidden=(np.zeros((0, atoms), np.float32),) * 3
    )
    single = Atoms(np.arange(atoms, dtype=np.int32), np.ones(atoms, np.int64))
    released = tuple((rng.random(atoms) < 0.5).astype(np.uint8) for _ in range(rank))
    return replace(state, atoms=single, space=space, released=released)


def measure_audit(points: Sequence[tuple[int, int, float]] = POINTS, runs: int = RUNS) -> list[dict[str, str]]:
    """Return rows of the table; measured with one thread of BLAS, as in the server."""
    with threadpool_limits(1, user_api="blas"):
        return _measure_audit(points, runs)


def _measure_audit(points: Sequence[tuple[int, int, float]], runs: int) -> list[dict[str, str]]:
    found = []
    for rank, atoms, goal in points:
        state, rng = drawn(rank - 10, atoms), np.random.default_rng(7)
        at = f"at rank {rank:,} over {atoms:,} atoms"
        queries = {
            "one number": [Row.of(rng.random(atoms) < 0.3)],
            "a table of ten cells": partition(np.arange(atoms), rng.integers(-1, 10, atoms)),
        }
        for name, rows in queries.items():
            taken = []
            for _ in range(runs):
                begin = time.perf_counter()
                verdict = state.consider(rows)
                taken.append(time.perf_counter() - begin)
                if not verdict.cleared:
                    raise RuntimeError(f"not cleared: {verdict.rule}")
            words = f"{goal * 1e3:.0f} ms"
            found.append(
                {
                    "what": f"(i) audit of {name} {at}",
                    "measured": spread(taken),
                    "goal": met(median(taken), goal, words),
                }
            )
        begin = time.perf_counter()
        text = encode(state)
        words = f"{state.size / 1e6:.0f} MB in memory, {len(text) / 1e6:.1f} MB on disk"
        words += f"; written in {(time.perf_counter() - begin) * 1e3:.0f} ms"
        if rank <= READ:
            begin = time.perf_counter()
            decode(text, state.rules)
            words += f", read in {(time.perf_counter() - begin) * 1e3:.0f} ms"
        found.append({"what": f"(i) the audit's part of a history {at}", "measured": words, "goal": ""})
    return [*found, *beyond(state)]


def beyond(state: AuditState) -> list[dict[str, str]]:
    """Return rows that say what happens where a state has no room for one more number."""
    capacity = Capacity()
    atoms, rng = state.atoms.sizes.size, np.random.default_rng(8)
    said = f"capacity {capacity.rank:,} numbers, {capacity.atoms:,} atoms, {capacity.entries:,} numbers x atoms"
    people = 2 * capacity.atoms
    fresh = AuditState.start(people, AuditRules(k=10, share=None), b"benchmark of the audit")
    one = [Row.of(rng.random(atoms) < 0.3)]
    # so many halves of everybody tell nearly everybody apart
    many = [Row.of(rng.random(people) < 0.5) for _ in range(32)]
    asked = {
        "numbers": (_limited(state, replace(capacity, rank=state.rank)), one),
        "atoms": (fresh, many),
        "numbers x atoms": (_limited(state, replace(capacity, entries=state.rank * atoms)), one),
    }
    found = []
    for name, (full, rows) in asked.items():
        begin = time.perf_counter()
        verdict = full.consider(rows)
        took = time.perf_counter() - begin
        if verdict.cleared or "capacity" not in verdict.clearance.value:
            raise RuntimeError(f"{name}: {verdict.clearance.value}, {verdict.rule}")
        found.append(
            {
                "what": f"(i) {len(rows)} number(s) more, beyond the capacity in {name} ({said})",
                "measured": f"not cleared, {verdict.clearance.value} ({verdict.rule}), after {took * 1e3:.0f} ms",
                "goal": "a clear answer: met",
            }
        )
    return found


def _limited(state: AuditState, capacity: Capacity) -> AuditState:
    return replace(state, rules=replace(state.rules, capacity=capacity))
