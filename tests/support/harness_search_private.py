"""A search for what noise does not hide: the random plans of `harness_search`, asked of a private table with the noise taken out.

A noisy number tells two worlds apart by how far the number behind it moves, next to its noise. So each plan that is taken is
measured before noise in worlds that differ in one person: the target with one secret or another, far beyond the owner's bounds too, in
one row or in several, and the target gone. A finding is a plan of which
- a sum, or a score of a quantile, moves by more than is stated, in more cells, or fails in one world (`neighbours.check_cells`);
- all that moves, next to the noise that is drawn, loses more of the budget (rho of zero-concentrated differential privacy) than is paid;
- a key that one world lacks is held by anybody else, so that its threshold is not made for it;
- what the asker makes of the answer reads more than noisy cells.

Whether a plan is taken, and at what price, is decided from public facts alone, the same in all worlds.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
import polars
from bastion_plan import nodes as n
from bastion_plan.canonical import decode, encode
from bastion_plan.errors import BastionError
from bastion_plan.nodes import Node, scans
from bastion_policy.model import Policy
from bastion_policy.private.plans import Cells
from bastion_policy.private.pricing import Noise, Priced
from bastion_policy.private.rows import Refused
from bastion_policy.private.statistics import DENOMINATOR
from bastion_policy.roles import measure, quasi
from bastion_server.private.mechanisms import quantile_scores
from bastion_server.private.release import Exact, _histograms, _rows
from harness_search import ROLES, TARGET, binds, people, random_plan
from neighbours import Broken, check_cells, held, rehearsed
from noisy import Desk
from polars.exceptions import PanicException, PolarsError
from query import Q

PERSON = 1000 + TARGET
EPSILON = 1.0
#: what the target may have: between the owner's bounds, and far beyond either of them
VALUES = (("x", 94.0), ("x", 1e6), ("x", -1e6), ("flag", True))
DECLARED = ROLES | {"town": quasi("a", "b", "c"), "y": measure(-50, 50)}
#: rows per person, and the caps of rows and of groups
CAPS = ((1, 1, 1), (1, 2, 2), (2, 1, 1), (3, 2, 1), (3, 1, 2), (4, 2, 2))
ATTEMPTS = 400
#: of a loss, for floating-point sums of it
NEARLY = 1 + 1e-9


@dataclass(frozen=True)
class Finding:
    """A plan by which one person is told beyond the promise, and how."""

    seed: int
    why: str
    plan: Node


@dataclass
class Search:
    """What a search came to. plans: that bind. answered: those that are taken, and were measured in all worlds.

    nearest: the largest part of the price that one person used up.
    """

    plans: int = 0
    answered: int = 0
    nearest: float = 0.0
    findings: list[Finding] = field(default_factory=list)


def desk(column: str, value: float | bool, caps: tuple[int, int, int], draw: int = 0) -> Desk:
    """Return the people, who have several rows each, in which all but the age may be another one."""
    each, rows, groups = caps
    parts = []
    for i in range(each):
        part = people(column, value, draw + i)
        moved = part.select(polars.col("town", "size", "day").gather((np.arange(part.height) + i) % part.height))
        parts.append(part.with_columns(moved.get_columns()))
    policy = Policy.private(EPSILON, 1e-6, unit="id", max_rows=rows, max_groups=groups, roles=DECLARED)
    return Desk.of(polars.concat(parts), policy, "id")


def taken(rng: Random, asked: Desk, result: Search) -> tuple[Node, Priced] | None:
    """Draw plans until one is answered with noise."""
    for _ in range(ATTEMPTS):
        try:
            plan = decode(encode(random_plan(rng)))
        except (BastionError, TypeError, ValueError, AssertionError, RecursionError):
            continue
        if isinstance(plan, n.Node) and binds([plan]):
            result.plans += 1
            try:
                priced = asked.priced(Q(plan), EPSILON)
            except (BastionError, Refused, RecursionError):
                continue
            if rehearsed([p for c in priced.draft.cells for p in (c.plan, *(q for _, q in c.quantiles))], asked):
                return plan, priced
    return None


def lost(priced: Priced, one: Sequence[Exact], two: Sequence[Exact]) -> float:
    """Return the rho by which the noise of an answer tells two worlds apart."""
    return sum(_lost(c, m, a, b) for c, m, a, b in zip(priced.draft.cells, priced.noise, one, two, strict=True))


def _lost(cells: Cells, noise: Noise, one: Exact, two: Exact) -> float:
    vectors = [_vectors(cells, e) for e in (one, two)]
    nobody = np.zeros(len(cells.parts))
    every = vectors[0].keys() | vectors[1].keys()
    moved = np.array([vectors[0].get(k, nobody) - vectors[1].get(k, nobody) for k in every]).reshape(
        len(every), nobody.size
    )
    # of a Gaussian: the square of what moves, by twice the variance
    total = float((moved**2 / (2 * np.array(noise.scales) ** 2)).sum())
    place = {k: j for j, k in enumerate(sorted(every, key=repr) if cells.threshold else cells.domain)}
    for i, (quantile, _) in enumerate(cells.quantiles):
        for counts in zip(*(_histograms(cells, quantile, e.bins[i], place) for e in (one, two)), strict=True):
            first, second = (quantile_scores(c, quantile.numerator, DENOMINATOR) for c in counts)
            # of a choice by scores: bounded range 2 D / scale, of which rho is an eighth of the square
            total += float(np.max(np.abs(first - second)) / noise.choices[i]) ** 2 / 2
    if cells.threshold:
        alone = vectors[0].keys() ^ vectors[1].keys()
        held(len(alone) <= cells.caps.groups, f"{len(alone)} keys are of one world alone")
        for key in alone:
            held((vectors[0] | vectors[1])[key][cells.people] == 1, f"several people have {key}, which one world lacks")
    return total


def _vectors(cells: Cells, exact: Exact) -> dict[tuple[object, ...], np.ndarray]:
    assert exact.sums is not None
    if not cells.parts:
        return dict.fromkeys(_rows(cells, exact.sums), np.zeros(0))
    numbers = exact.sums.select(f"#~v{i}" for i in range(len(cells.parts))).cast(polars.Float64).fill_null(0).to_numpy()
    return dict(zip(_rows(cells, exact.sums), numbers, strict=True))


def play(priced: Priced, worlds: Sequence[Desk]) -> float:
    """Measure an answer in worlds, with the target and without; return the largest part of its price that is lost.

    Raises:
        Broken: one person decides more than the promise allows.
    """
    held(set(scans(priced.draft.last)) <= {c.table for c in priced.draft.cells}, "more is read than noisy cells")
    most = 0.0
    for here in worlds:
        there = here.without(PERSON)
        check_cells(priced, here, {PERSON: there})
        share = lost(priced, here.measured(priced), there.measured(priced)) / priced.cost.rho_value
        held(share <= NEARLY, f"one person loses {share:.3g} times what is paid")
        most = max(most, share)
    return most


def search(seeds: Sequence[int]) -> Search:
    """Look for plans that tell one person beyond their price; one plan that is taken per seed."""
    result = Search()
    for seed in seeds:
        rng = Random(f"private search {seed}")
        caps = CAPS[seed % len(CAPS)]
        worlds = [desk(column, value, caps, draw=seed) for column, value in VALUES]
        found = taken(rng, worlds[0], result)
        if found is None:
            continue
        plan, priced = found
        result.answered += 1
        try:
            result.nearest = max(result.nearest, play(priced, worlds))
        except (Broken, PolarsError, PanicException, BastionError) as error:
            result.findings.append(Finding(seed, str(error), plan))
    return result


CASES = int(os.environ.get("BASTION_FUZZ_CASES", "30"))
