"""Reconstruction of a Boolean column from many overlapping sums: least squares, and a mixed-integer program.

Everybody differs in the quasi columns, which the attacker knows, and half of the people have the secret. The attacker asks how
many have it among many random halves of the table, and then guesses everybody's bit at once. Guessing without an answer is
right for half of the people.

The strict profile rounds, and does not tell whom an answer is about. The attacker is told: by the populations that the server
keeps, of which the one nearest to what was asked, and that rounds to what was answered, is taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars
from bastion_policy.model import Aggregation, Policy, Role, RoleKind, Suppress
from drive import World
from harness_algebra import Mask
from harness_populations import nearest, stored_populations
from harness_trackers import Condition
from query import Q
from scipy.optimize import Bounds, LinearConstraint, milp

import bastion.expressions as pl

PEOPLE = 80
#: strict answers: counts are rounded to multiples of 5, other sums to 3 digits
ROUNDED, DIGITS = 2.5, 0.005
COLUMNS = tuple("abcdefghij")


@dataclass
class Bits:
    """A table of people who all differ, with a Boolean secret; `served` answers under a policy."""

    frame: polars.DataFrame
    served: World
    rows: list[Mask] = field(default_factory=list)
    sums: list[float] = field(default_factory=list)
    asked: int = 0
    unexplained: int = 0
    strict: bool = False
    known: dict[bytes, Mask] = field(default_factory=dict)

    @property
    def secret(self) -> Mask:
        return self.frame["hiv"].to_numpy()

    def ask(self, condition: Condition) -> None:
        """Ask how many people of a condition have the secret; the weights tell whom an answer is about."""
        self.asked += 1
        outputs = {"n": pl.len(), "w": pl.col("weight").sum(), "h": pl.col("hiv").sum()}
        answer = self.served.ask(Q("t").filter(condition.expr).select(**outputs).plan)
        if answer.table is None or not answer.table.height:
            return
        row = answer.table.row(0, named=True)
        if row["h"] is None:
            return
        mask = self._about(row, condition.mask)
        if mask is None:
            self.unexplained += 1
            return
        self.known.setdefault(np.packbits(mask).tobytes(), mask)
        self.rows.append(mask)
        self.sums.append(float(row["h"]))

    def _about(self, row: dict[str, Any], own: Mask) -> Mask | None:
        weight, secret = self.frame["weight"].to_numpy(), self.secret

        off, digits = (ROUNDED, DIGITS) if self.strict else (0.0, 1e-9)

        def fits(mask: Mask) -> bool:
            right = row["n"] is None or abs(row["n"] - int(mask.sum())) <= off
            right &= row["w"] is None or math.isclose(row["w"], float(weight[mask].sum()), rel_tol=digits)
            return right and abs(int(secret[mask].sum()) - row["h"]) <= off

        others = nearest(stored_populations(self.served)[0], own) if self.strict else (own, *self.known.values())
        return next((m for m in others if fits(m)), None)


def bits(seed: int, policy: Policy) -> Bits:
    """Return a world of `PEOPLE` people under a policy."""
    rng = np.random.default_rng([seed, 3])
    while True:
        table = {c: rng.integers(0, 3, PEOPLE) for c in COLUMNS}
        if np.unique(np.stack(list(table.values())), axis=1).shape[1] == PEOPLE:
            break
    hiv = rng.permutation(np.arange(PEOPLE) % 2 == 0)
    weight = np.round(rng.uniform(50, 100, PEOPLE), 6)
    frame = polars.DataFrame({"id": np.arange(PEOPLE) + 100, **table, "weight": weight, "hiv": hiv})
    roles: dict[str, Role | str] = {"id": "identifier", **dict.fromkeys(COLUMNS, "quasi")}
    roles |= {"weight": Role(RoleKind.MEASURE), "hiv": "sensitive"}
    strict = policy.profile == "strict"
    unit = "id" if policy.unit == "id" else None
    world = Bits(frame, World(remembers=True).add("t", frame, policy, roles, unit), strict=strict)
    world.known[b""] = np.ones(PEOPLE, bool)
    return world


def random_half(world: Bits, rng: np.random.Generator) -> Condition:
    """Return a predicate over three or four quasi columns that about half of the people meet."""
    while True:
        found: Condition | None = None
        for column in rng.permutation(np.array(COLUMNS))[: int(rng.integers(3, 5))]:
            value = int(rng.integers(0, 3))
            part = Condition(pl.col(str(column)) == value, (world.frame[str(column)] == value).to_numpy())
            found = part if found is None else found | part if rng.random() < 0.7 else found & part
        assert found is not None
        if PEOPLE // 4 <= found.size <= 3 * PEOPLE // 4:
            return found


# -- guessing ----------------------------------------------------------------------------------------------------------


def by_least_squares(rows: Sequence[Mask], sums: Sequence[float]) -> Mask:
    """Return everybody's bit: the solution nearest to one half, rounded."""
    if not rows:
        return np.zeros(PEOPLE, bool)
    system = np.stack(rows).astype(np.float64)
    offset = np.linalg.lstsq(system, np.asarray(sums) - system.sum(axis=1) / 2, rcond=None)[0]
    return np.asarray(offset > 0)


def by_integers(rows: Sequence[Mask], sums: Sequence[float], patience: float = 5.0, off: float = 0.0) -> Mask:
    """Return a table of bits that agrees with every answer, the likeliest by least squares.

    patience: seconds to search. off: how far an answer may be from the sum that it rounds.
    """
    if not rows:
        return np.zeros(PEOPLE, bool)
    system, exact = np.stack(rows).astype(np.float64), np.asarray(sums)
    offset = np.linalg.lstsq(system, exact - system.sum(axis=1) / 2, rcond=None)[0]
    found = milp(
        -offset, integrality=np.ones(PEOPLE), bounds=Bounds(0, 1), constraints=LinearConstraint(system, exact - off, exact + off),
        options={"time_limit": patience, "mip_rel_gap": 0.02},
    )  # fmt: skip
    return np.asarray(found.x > 0.5) if found.x is not None else np.asarray(offset > 0)


@dataclass(frozen=True)
class Reconstruction:
    """One world's outcome. least_squares, integers: share of people whose bit is right."""

    asked: int
    answered: int
    rank: int
    least_squares: float
    integers: float
    unexplained: int


def reconstruct(seed: int, policy: Policy, queries: Sequence[int], patience: float = 5.0) -> list[Reconstruction]:
    """Return how well the secret is known after so many queries (ascending); `patience`: of the solver, in seconds (0: none)."""
    world = bits(seed, policy)
    rng = np.random.default_rng([seed, 4])
    found = []
    for goal in queries:
        while world.asked < goal:
            world.ask(random_half(world, rng))
        rank = int(np.linalg.matrix_rank(np.stack(world.rows).astype(float))) if world.rows else 0
        guess = by_least_squares(world.rows, world.sums)
        off = ROUNDED if world.strict else 0.0
        better = by_integers(world.rows, world.sums, patience, off) if patience else guess
        right = [float((g == world.secret).mean()) for g in (guess, better)]
        found.append(Reconstruction(world.asked, len(world.rows), rank, *right, world.unexplained))
    return found


def default(weaken: tuple[str, ...] = ()) -> Policy:
    """The default profile, whose unsafe cells are left out."""
    return Policy(Aggregation(10), Suppress(), weaken=weaken)


def strict() -> Policy:
    """The strict profile, whose unsafe cells are left out."""
    return Policy(Aggregation(10), Suppress(), unit="id", profile="strict")


def open_policy() -> Policy:
    """No guard."""
    return Policy.open()
