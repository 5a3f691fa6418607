"""Cells that one person dominates, by the difference of answers that pass: the total less everybody else.

The person's cell is withheld, since its sum would give the person to within a few percent. The total passes (there are enough
others), and so does everybody but the cell. Two attackers: the *curious* one asks for the cell first, is refused, and then
goes around it; the *quiet* one never asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars
from bastion_policy.model import Policy
from harness_trackers import COLUMNS, Attacker, Condition, SmallWorld, serve

Way = Callable[[SmallWorld, Attacker, Condition, str], None]


def outlier_world(seed: int) -> tuple[SmallWorld, Condition, str]:
    """Return a world, the condition of the target's cell and the column that defines it."""
    rng = np.random.default_rng([seed, 31])
    height = int(rng.integers(100, 180))
    table = {c: rng.integers(0, int(rng.integers(4, 8)), height) for c in COLUMNS}
    target = int(rng.integers(height))
    salary = np.round(rng.uniform(50, 150, height), 2)
    # one person makes up most of a cell of 20, and less than nine tenths of the whole
    salary[target] = np.round(salary.sum() * rng.uniform(2.0, 4.0), 2)
    frame = polars.DataFrame({"id": np.arange(height) + 1000, **table, "salary": salary})
    world = SmallWorld(seed, frame, target)
    column = str(rng.choice(COLUMNS))
    return world, world.where(column, int(frame[column][target])), column


def total_less_the_others(world: SmallWorld, attacker: Attacker, cell: Condition, column: str) -> None:
    """The whole, and everybody outside the cell."""
    attacker.ask(None)
    attacker.ask(~cell)


def others_first(world: SmallWorld, attacker: Attacker, cell: Condition, column: str) -> None:
    """Everybody outside the cell, and then the whole."""
    attacker.ask(~cell)
    attacker.ask(None)


def margin_less_the_table(world: SmallWorld, attacker: Attacker, cell: Condition, column: str) -> None:
    """The table of the cell's column, its total, and each other group by itself."""
    attacker.table(column)
    attacker.ask(None)
    for value in world.frame[column].unique().sort().to_list():
        if not (cell.mask & (world.frame[column] == value).to_numpy()).any():
            attacker.ask(world.where(column, value))


def groups_one_by_one(world: SmallWorld, attacker: Attacker, cell: Condition, column: str) -> None:
    """The total, and each other group by itself; nobody ever asks for the cell."""
    attacker.ask(None)
    for value in world.frame[column].unique().sort().to_list():
        if not (cell.mask & (world.frame[column] == value).to_numpy()).any():
            attacker.ask(world.where(column, value))


def by_means(world: SmallWorld, attacker: Attacker, cell: Condition, column: str) -> None:
    """The same as means and numbers of people."""
    attacker.ask(None, mean=True)
    attacker.ask(~cell, mean=True)


WAYS: dict[str, Way] = {
    w.__name__: w for w in (total_less_the_others, others_first, margin_less_the_table, groups_one_by_one, by_means)
}


@dataclass
class Outliers:
    """What many worlds came to. withheld: worlds in which the cell itself was withheld. got: in which it follows exactly."""

    worlds: int = 0
    withheld: list[int] = field(default_factory=list)
    got: list[int] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)


def run(name: str, seeds: Sequence[int], policy: Policy, *, curious: bool) -> Outliers:
    """Return in how many worlds a dominated cell follows from what is released."""
    result = Outliers()
    for seed in seeds:
        world, cell, column = outlier_world(seed)
        alone = Attacker(world, serve(world, policy))
        alone.ask(cell)
        result.worlds += 1
        if not alone.gets(cell.mask):
            result.withheld.append(seed)
        attacker = Attacker(world, serve(world, policy))
        if curious:
            attacker.ask(cell)
        WAYS[name](world, attacker, cell, column)
        result.unexplained += attacker.unexplained
        if attacker.gets(cell.mask):
            result.got.append(seed)
    return result
