"""Random small worlds and the classic ways to one person in them: trackers, 3-covers, margins less the cells that are shown.

A world is a table of people with four quasi columns and a salary. The target differs from everybody else in the quasi columns
taken together, and an attacker knows all of these columns. An attack is a list of questions; what comes back is combined by
least squares over all numbers at once, so an attack that is answered in parts still gets what its parts give.

Two attackers read the answers. The *literal* one takes each number for what was asked. The *informed* one knows of which
people each number really is (answers may be those of a stored population); it is told so here by looking for the number in
the data, which no real attacker can do, and every real one is weaker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars
from bastion_policy.model import Aggregation, Policy, Role, RoleKind, Suppress
from drive import World
from harness_algebra import Mask, leaks, solve
from harness_populations import nearest, stored_populations
from query import Q

import bastion.expressions as pl

K = 5
COLUMNS = ("a", "b", "c", "d")
ROLES: dict[str, Role | str] = {"id": "identifier", **dict.fromkeys(COLUMNS, "quasi"), "salary": Role(RoleKind.MEASURE)}


@dataclass(frozen=True)
class Condition:
    """A predicate as the attacker writes it, and the people it selects."""

    expr: Any
    mask: Mask

    def __and__(self, other: Condition) -> Condition:
        return Condition(self.expr & other.expr, self.mask & other.mask)

    def __or__(self, other: Condition) -> Condition:
        return Condition(self.expr | other.expr, self.mask | other.mask)

    def __invert__(self) -> Condition:
        return Condition(~self.expr, ~self.mask)

    @property
    def size(self) -> int:
        return int(self.mask.sum())


@dataclass
class SmallWorld:
    """One table and its target. small: the people of the target's cell of a two-way table of a and b."""

    seed: int
    frame: polars.DataFrame
    target: int

    @property
    def salary(self) -> float:
        return float(self.frame["salary"][self.target])

    @property
    def height(self) -> int:
        return self.frame.height

    def where(self, column: str, value: int) -> Condition:
        return Condition(pl.col(column) == value, (self.frame[column] == value).to_numpy())

    def is_target(self) -> Condition:
        """The target by all quasi columns."""
        found = self.where("a", self.frame["a"][self.target])
        for column in COLUMNS[1:]:
            found &= self.where(column, self.frame[column][self.target])
        return found

    def some(self, rng: np.random.Generator, least: int, most: int) -> Condition:
        """A predicate over quasi columns that selects between `least` and `most` people."""
        for _ in range(400):
            column = str(rng.choice(COLUMNS))
            found = self.where(column, int(rng.choice(self.frame[column].to_numpy())))
            for _ in range(int(rng.integers(0, 3))):
                column = str(rng.choice(COLUMNS))
                more = self.where(column, int(rng.choice(self.frame[column].to_numpy())))
                found = found | more if rng.random() < 0.6 else found & more
            if rng.random() < 0.3:
                found = ~found
            if least <= found.size <= most:
                return found
        return Condition(pl.col("a") == 0, (self.frame["a"] == 0).to_numpy())


def small_world(seed: int) -> SmallWorld:
    """Return a world of 40 to 120 people."""
    rng = np.random.default_rng([seed, 1])
    height = int(rng.integers(40, 121))
    while True:
        table = {c: rng.integers(0, int(rng.integers(2, 6)), height) for c in COLUMNS}
        whole = np.stack([table[c] for c in COLUMNS], axis=1)
        target = int(rng.integers(height))
        if (whole == whole[target]).all(axis=1).sum() == 1:
            break
        # the target is the only one of its kind: an odd value in one column
        table[str(rng.choice(COLUMNS))][target] = 7
        break
    salary = np.round(rng.uniform(20_000, 80_000, height), 2)
    frame = polars.DataFrame({"id": np.arange(height) + 1000, **table, "salary": salary})
    return SmallWorld(seed, frame, target)


# -- what an attacker learns -------------------------------------------------------------------------------------------


@dataclass
class Attacker:
    """Asks, and keeps every number it is given."""

    world: SmallWorld
    served: World
    literal: list[Mask] = field(default_factory=list)
    informed: list[Mask] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    counts: list[Mask] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    known: dict[bytes, Mask] = field(default_factory=dict)
    asked: int = 0
    rounded: bool = False

    def __post_init__(self) -> None:
        self._know(np.ones(self.world.height, bool))

    def _know(self, mask: Mask) -> None:
        self.known.setdefault(np.packbits(mask).tobytes(), mask)

    def ask(self, condition: Condition | None, mean: bool = False) -> None:
        """Ask for the number and the salaries of the people of a condition."""
        self.asked += 1
        plan = Q("t") if condition is None else Q("t").filter(condition.expr)
        mask = np.ones(self.world.height, bool) if condition is None else condition.mask
        value = pl.col("salary").mean() * pl.len() if mean else pl.col("salary").sum()
        table = _shown(self.served, plan.select(pl.len().alias("n"), value.alias("s")))
        for row in table.iter_rows(named=True):
            self._hear(row, mask, [mask])

    def table(self, *keys: str, within: Condition | None = None) -> None:
        """Ask for the number and the salaries by keys."""
        self.asked += 1
        plan = Q("t") if within is None else Q("t").filter(within.expr)
        inside = np.ones(self.world.height, bool) if within is None else within.mask
        table = _shown(self.served, plan.group_by(*keys).agg(pl.len().alias("n"), pl.col("salary").sum().alias("s")))
        columns = [self.world.frame[k].to_numpy() for k in keys]
        cells: dict[tuple[Any, ...], Mask] = {}
        for i in np.flatnonzero(inside):
            cells.setdefault(tuple(int(c[i]) for c in columns), np.zeros(self.world.height, bool))[i] = True
        rows = [(tuple(row[k] for k in keys), row) for row in table.iter_rows(named=True)]
        missing = sorted((m for key, m in cells.items() if key not in dict(rows)), key=lambda m: int(m.sum()))
        for key, row in rows:
            if key in cells:
                self._hear(row, cells[key], [cells[key]])
            elif missing:
                unions = [np.logical_or.reduce(missing[:most]) for most in range(len(missing), 0, -1)]
                self._hear(row, unions[0], unions)

    def _hear(self, row: dict[str, Any], literal: Mask, candidates: Sequence[Mask]) -> None:
        size, total = row["n"], row["s"]
        if size is None and total is None:
            return
        salaries = self.world.frame["salary"].to_numpy()

        def fits(mask: Mask) -> bool:
            # rounded answers: counts to 5, sums to three digits, and once more where a mean is multiplied
            right = size is None or abs(int(mask.sum()) - size) <= (5 if self.rounded else 0)
            close = 0.15 if self.rounded else 1e-9
            return right and (
                total is None or math.isclose(float(salaries[mask].sum()), total, rel_tol=close, abs_tol=1e-6)
            )

        order = [self._stored(m) for m in candidates] if self.rounded else list(candidates)
        # what is answered as itself, or as one that was seen before; else as one that is stored, the nearest first
        found = next((m for m in (*order, *self.known.values()) if fits(m)), None)
        if found is None:
            found = next((m for m in nearest(stored_populations(self.served)[0], literal) if fits(m)), None)
        if found is None:
            self.unexplained.append(f"{row}")
            found = literal
        self._know(found)
        if size is not None:
            self.counts.append(found)
            self.sizes.append(float(size))
        if total is not None:
            self.literal.append(literal)
            self.informed.append(found)
            self.values.append(float(total))

    def _stored(self, mask: Mask) -> Mask:
        """Return the population that this one is answered as by the snap rule (rounded numbers do not tell)."""
        stored = nearest(stored_populations(self.served)[0], mask)
        return stored[0] if stored else mask

    # -- what follows

    def people(self) -> tuple[int, ...]:
        """Everybody whose salary follows for the informed attacker."""
        return leaks(self.informed, self.world.height, K).people

    def gets(self, wanted: Mask | None = None) -> bool:
        """Whether the target's salary (or the sum over `wanted`) is obtained by either attacker."""
        mask = np.zeros(self.world.height, bool) if wanted is None else wanted
        if wanted is None:
            mask[self.world.target] = True
        truth = float(self.world.frame["salary"].to_numpy()[mask].sum())
        for rows in (self.literal, self.informed):
            value = solve(rows, self.values, mask)
            # salaries are known to the cent: what rounds to the right cent is the value
            if value is not None and abs(value - truth) < 0.006:
                return True
        return False


def _shown(served: World, plan: Q) -> polars.DataFrame:
    answer = served.ask(plan.plan)
    if answer.table is None and answer.verdict.safe_part is not None:
        answer = served.ask(plan.plan, safe_part=True)
    return answer.table if answer.table is not None else polars.DataFrame()


def serve(world: SmallWorld, policy: Policy) -> World:
    """Return the world as it is served under a policy."""
    return World(remembers=True).add("t", world.frame, policy, ROLES, unit="id" if policy.unit == "id" else None)


def default(weaken: tuple[str, ...] = ()) -> Policy:
    """The default profile with a threshold of K, so that small worlds have something to tell."""
    return Policy(Aggregation(K), Suppress(), weaken=weaken)


def strict() -> Policy:
    """The strict profile with a threshold of K."""
    return Policy(Aggregation(K), Suppress(), unit="id", profile="strict")


# -- the attacks -------------------------------------------------------------------------------------------------------

Attack = Callable[[SmallWorld, Attacker, np.random.Generator], Mask | None]


def individual_tracker(world: SmallWorld, attacker: Attacker, rng: np.random.Generator) -> Mask | None:
    """q(A) - q(A and not t), for some A around the target."""
    for _ in range(3):
        around = world.some(rng, 2 * K, world.height - 2 * K) | world.is_target()
        attacker.ask(around)
        attacker.ask(around & ~world.is_target(), mean=bool(rng.random() < 0.5))
    return None


def general_tracker(world: SmallWorld, attacker: Attacker, rng: np.random.Generator) -> Mask | None:
    """q(t or T) + q(t or not T) - q(T) - q(not T), for a T of neither few nor nearly all."""
    for _ in range(2):
        tracker = world.some(rng, 2 * K, world.height - 2 * K)
        for asked in (tracker, ~tracker, tracker | world.is_target(), ~tracker | world.is_target()):
            attacker.ask(asked)
    return None


def double_tracker(world: SmallWorld, attacker: Attacker, rng: np.random.Generator) -> Mask | None:
    """q(U) + q(t or T) - q(T) - q(U without (t and T)), for T within U."""
    for _ in range(2):
        inner = world.some(rng, K, world.height // 2)
        outer = inner | world.some(rng, 2 * K, world.height - 2 * K)
        for asked in (
            outer,
            inner | world.is_target(),
            inner,
            outer & ~(world.is_target() & inner),
            outer & ~world.is_target(),
        ):
            attacker.ask(asked)
    return None


def additive(world: SmallWorld, attacker: Attacker, rng: np.random.Generator) -> Mask | None:
    """q(A or t) - q(A or B) + q(B): no two of the three are close."""
    for _ in range(3):
        one = world.some(rng, 2 * K, world.height - 2 * K) & ~world.is_target()
        two = world.some(rng, 2 * K, world.height - 2 * K) & ~world.is_target() & ~one
        if two.size >= K and one.size >= K:
            for asked in (one | world.is_target(), one | two, two):
                attacker.ask(asked)
    return None


def three_cover(world: SmallWorld, attacker: Attacker, rng: np.random.Generator) -> Mask | None:
    """Three sets that cover everybody twice but for the target, who is in one of them: their sum less twice the whole."""
    for _ in range(3):
        parts = rng.integers(0, 3, 3)
        column = str(rng.choice(COLUMNS))
        values = sorted(world.frame[column].unique().to_list())
        groups = [values[i::3] for i in range(3)]
        if any(not g for g in groups):
            continue
        covers = []
        for g in groups:
            found = ~_any(world, column, g)
            covers.append(found)
        at = int(parts[0])
        covers[at] = (
            covers[at] & ~world.is_target() if covers[at].mask[world.target] else covers[at] | world.is_target()
        )
        for asked in (*covers, None):
            attacker.ask(asked)
    return None


def _any(world: SmallWorld, column: str, values: Sequence[int]) -> Condition:
    found = world.where(column, values[0])
    for value in values[1:]:
        found = found | world.where(column, value)
    return found


def margins(world: SmallWorld, attacker: Attacker, rng: np.random.Generator) -> Mask | None:
    """Two-way tables with their margins, and both again without others: a hidden cell is a margin less the shown cells."""
    first, second, third = (str(c) for c in rng.permutation(COLUMNS)[:3])
    attacker.table(first, second)
    attacker.table(first)
    attacker.table(second)
    attacker.ask(None)
    value = world.frame[third][world.target]
    attacker.table(first, second, within=~world.where(third, value))
    attacker.table(first, within=world.where(third, value))
    attacker.table(second, within=~world.where(third, value))
    for value in world.frame[first].unique().sort().to_list():
        attacker.table(second, within=world.where(first, value))
    wanted = _small_cell(world, first, second)
    return wanted if wanted is not None and not attacker.gets() else None


def _small_cell(world: SmallWorld, first: str, second: str) -> Mask | None:
    cells = (
        world.frame.with_columns(i=polars.int_range(polars.len())).group_by(first, second, maintain_order=True).agg("i")
    )
    small = [m for m in cells["i"].to_list() if len(m) < K]
    if not small:
        return None
    mask = np.zeros(world.height, bool)
    mask[min(small, key=len)] = True
    return mask


def everything(world: SmallWorld, attacker: Attacker, rng: np.random.Generator) -> Mask | None:
    """A longer session that mixes all of them, with random sets beside."""
    for attack in rng.permutation(
        np.array([individual_tracker, general_tracker, double_tracker, additive, three_cover])
    ):
        attack(world, attacker, rng)
        attacker.ask(world.some(rng, K, world.height))
    attacker.table(*(str(c) for c in rng.permutation(COLUMNS)[:2]))
    return None


ATTACKS: dict[str, Attack] = {
    f.__name__: f
    for f in (individual_tracker, general_tracker, double_tracker, additive, three_cover, margins, everything)
}


@dataclass
class Tally:
    """What many worlds came to. got: worlds in which the target's value (or the small cell) was obtained. people: worlds
    in which anybody's value follows for the informed attacker. numbers: released numbers. unexplained: of unknown origin."""

    worlds: int = 0
    got: list[int] = field(default_factory=list)
    people: list[int] = field(default_factory=list)
    numbers: int = 0
    asked: int = 0
    unexplained: list[str] = field(default_factory=list)


def run(name: str, seeds: Sequence[int], policy: Policy) -> Tally:
    """Return what an attack gets in many worlds under a policy."""
    tally = Tally()
    for seed in seeds:
        world = small_world(seed)
        attacker = Attacker(world, serve(world, policy), rounded=policy.profile == "strict")
        wanted = ATTACKS[name](world, attacker, np.random.default_rng([seed, 2]))
        tally.worlds += 1
        tally.numbers += len(attacker.values)
        tally.asked += attacker.asked
        if attacker.gets() or (wanted is not None and attacker.gets(wanted)):
            tally.got.append(seed)
        if attacker.people():
            tally.people.append(seed)
        tally.unexplained += [f"{name} {seed} {u}" for u in attacker.unexplained]
    return tally
