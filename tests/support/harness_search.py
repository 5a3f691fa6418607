"""A search for leaks: random plans from the registry, asked in worlds that differ in one person's secret and in everybody else's.

A released number that follows the target's secret however the others' secrets are redrawn determines it. So every plan is asked
in a grid of worlds, some values of the secret times some draws of all other secrets, and each *feature* of what comes back
(the outcome, an error, the shape, each value, differences and ratios of two values) is looked at by itself: if the features
of different secrets never overlap in the order of the secret (or are disjoint, where they have no order), the plan is a
candidate. Candidates are asked again in a fresh, larger grid; what passes that too is a finding.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import polars
from bastion_plan import nodes as n
from bastion_plan.dtypes import Schema
from bastion_plan.errors import BastionError
from bastion_plan.expressions import Alias, Call, Column, Expr, Over, Ternary, children
from bastion_plan.functions.registry import all_functions
from bastion_plan.nodes import Node
from bastion_policy.flow_trees import with_children
from bastion_policy.model import Aggregation, Policy, Role, Suppress
from bastion_policy.roles import measure
from bastion_server.engine.dtypes import from_polars
from drive import World
from generators import random_call, random_expression

import bastion.expressions as pl
from bastion.expr.core import as_plan

PEOPLE = 48
TARGET = 17
K = 5
ROLES: dict[str, Role | str] = {
    "id": "identifier", "age": "quasi", "town": "quasi", "size": "quasi", "flag": "sensitive", "x": measure(0, 100),
    "y": measure(), "day": "quasi",
}  # fmt: skip
#: values of the target's secret, by column
SECRETS: dict[str, tuple[Any, ...]] = {"x": (4.0, 35.0, 63.0, 94.0), "flag": (False, True)}
#: draws of everybody else's secrets per value of the target's; and when a candidate is asked again
DRAWS = {"x": 4, "flag": 8}
AGAIN = {"x": 12, "flag": 20}
MOST_FEATURES = 40


def people(secret: str, value: Any, draw: int) -> polars.DataFrame:
    """Return the table with the target's secret set and everybody else's drawn; the quasi columns are always the same."""
    rng = np.random.default_rng(11)
    age = rng.integers(20, 80, PEOPLE)
    age[TARGET] = 97
    fixed = {
        "id": np.arange(1000, 1000 + PEOPLE), "age": age, "town": rng.choice(["a", "b", "c"], PEOPLE),
        "size": rng.integers(0, 4, PEOPLE), "day": polars.Series(rng.integers(18_000, 18_040, PEOPLE), dtype=polars.Int32).cast(polars.Date),
    }  # fmt: skip
    others = np.random.default_rng([12, draw])
    table: dict[str, Any] = {
        **fixed,
        "flag": others.random(PEOPLE) < 0.5,
        "x": np.round(others.uniform(0, 100, PEOPLE), 3),
        "y": np.round(others.uniform(-50, 50, PEOPLE), 3),
    }
    table[secret][TARGET] = value
    return polars.DataFrame(table)


SCHEMA: Schema = {c: from_polars(t) for c, t in people("x", 1.0, 0).schema.items()}

# -- plans -------------------------------------------------------------------------------------------------------------

_AGGREGATES = (
    "sum",
    "mean",
    "count",
    "min",
    "max",
    "median",
    "var",
    "std",
    "n_unique",
    "any",
    "all",
    "first",
    "last",
    "product",
)
_FUNCTIONS = list(all_functions())


def _masks(rng: Random) -> Expr:
    """A predicate; most are about the target."""
    some = [
        pl.col("age") == 97, pl.col("age") >= 97, pl.col("age") > 79, pl.col("id") == 1000 + TARGET, pl.col("age") != 97,
        pl.col("age") < 97, pl.col("town") == "a", pl.col("size") > 1, pl.col("age") < rng.randrange(25, 80),
        pl.col("x") > rng.choice([10, 50, 80]), pl.col("flag"), pl.col("y") < 0, pl.col("day").is_null(), pl.col("size").is_in([1, 2]),
    ]  # fmt: skip
    found = rng.choice(some)
    while rng.random() < 0.45:
        more = rng.choice(some)
        found = found & more if rng.random() < 0.5 else found | more
    return as_plan(~found if rng.random() < 0.25 else found)


def _expression(rng: Random, depth: int) -> Expr:
    """An expression over the people's columns: any registered function, masks and secrets mixed in."""
    style = rng.random()
    if depth == 0 or style < 0.15:
        return Column(rng.choice(["x", "x", "flag", "y", "age", "size", "town", "id", "day"]))
    if style < 0.25:
        return _masks(rng)
    if style < 0.35:
        return Ternary(_masks(rng), _expression(rng, depth - 1), _expression(rng, depth - 1))
    if style < 0.42:
        return Call("filter", (_expression(rng, depth - 1), _masks(rng)))
    if style < 0.5:
        return Call(
            rng.choice(["mul", "add", "sub", "truediv"]), (_expression(rng, depth - 1), _expression(rng, depth - 1))
        )
    if style < 0.56:
        return Over(_expression(rng, depth - 1), (Column(rng.choice(["town", "size", "age", "id"])),))
    if style < 0.66:
        return random_expression(rng, SCHEMA, depth)
    if style < 0.78:
        return Call(rng.choice(_AGGREGATES), (_expression(rng, depth - 1),))
    call = random_call(rng, rng.choice(_FUNCTIONS), SCHEMA, attempts=4)
    inner = children(call)
    swapped = [_expression(rng, depth - 1) if isinstance(c, Column) and rng.random() < 0.4 else c for c in inner]
    return with_children(call, swapped) if any(a is not b for a, b in zip(inner, swapped, strict=True)) else call


def _output(rng: Random, name: str) -> Expr:
    expr = _expression(rng, rng.randrange(1, 4))
    if rng.random() < 0.75:
        expr = Call(rng.choice(_AGGREGATES[:8]), (expr,))
    return Alias(expr, name)


def random_plan(rng: Random) -> Node:
    """Return a plan over the people: filters and columns, cells, and steps behind them."""
    plan: Any = n.Scan("t")
    while rng.random() < 0.5:
        plan = n.Filter(plan, _masks(rng))
    if rng.random() < 0.25:
        plan = n.WithColumns(plan, (Alias(_expression(rng, 2), rng.choice(["z", "x", "age"])),))
    if rng.random() < 0.1:
        right = n.Select(n.Filter(n.Scan("t"), _masks(rng)), (Column("size"), Alias(Column("x"), "x2")))
        key = (Column("size"),)
        plan = n.Join(plan, right, rng.choice(["inner", "left", "semi", "anti"]), key, key)
    outputs = tuple(_output(rng, f"o{i}") for i in range(rng.choice([1, 1, 2, 3])))
    style = rng.random()
    if style < 0.5:
        plan = n.Select(plan, outputs)
    elif style < 0.85:
        keys = (
            (Column(rng.choice(["town", "size", "age", "day"])),)
            if rng.random() < 0.7
            else (Alias(_expression(rng, 2), "key"),)
        )
        plan = n.GroupBy(plan, keys, outputs)
    else:
        plan = n.WithColumns(plan, outputs)
        plan = n.Select(plan, tuple(_output(rng, f"p{i}") for i in range(2)))
    while rng.random() < 0.2:
        plan = rng.choice([n.Slice(plan, 0, 1), n.Sort(plan, (Column("o0"),)), n.Reverse(plan)])
    return plan  # type: ignore[no-any-return]


def random_session(rng: Random) -> list[Node]:
    """Return one plan, or some that differ in little: for what the answers give only together."""
    if rng.random() < 0.6:
        return [random_plan(rng)]
    outputs = (Alias(Call("sum", (Column(rng.choice(["x", "flag"])),)), "s"), Alias(Call("pl.len"), "n"))
    if rng.random() < 0.3:
        outputs = (*outputs, _output(rng, "o"))
    masks = [_masks(rng) for _ in range(2)]
    target = as_plan(pl.col("age") == 97)
    pool = [
        masks[0], masks[1], Call("or_", (masks[0], target)), Call("and_", (masks[0], Call("not_", (target,)))),
        Call("or_", (masks[0], masks[1])), Call("and_", (masks[0], masks[1])), Call("not_", (masks[0],)),
        Call("not_", (target,)), Call("and_", (Call("not_", (masks[0],)), Call("not_", (target,)))),
    ]  # fmt: skip
    plans: list[Node] = []
    for mask in rng.sample(pool, rng.randrange(2, 5)):
        filtered = n.Filter(n.Scan("t"), mask)
        keyed = rng.random() < 0.25
        plans.append(n.GroupBy(filtered, (Column("town"),), outputs) if keyed else n.Select(filtered, outputs))
    if rng.random() < 0.4:
        plans.append(n.Select(n.Scan("t"), outputs))
    return plans


# -- features ----------------------------------------------------------------------------------------------------------


def _features(worlds: World, plans: Sequence[Node]) -> dict[str, Any]:
    """Return all that an attacker sees of a session, by name."""
    found: dict[str, Any] = {}
    numbers: dict[str, float] = {}
    for p, plan in enumerate(plans):
        try:
            answer = worlds.ask(plan)
            table = answer.table
            if table is None and answer.verdict.safe_part is not None:
                table = worlds.ask(plan, safe_part=True).table
        except BastionError as error:
            found[f"{p} error"] = error.code
            continue
        except Exception as error:  # noqa: BLE001 - an engine's error: a scientist is told that it failed, not why
            found[f"{p} error"] = type(error).__name__
            continue
        found[f"{p} outcome"] = answer.verdict.outcome.value
        found[f"{p} shape"] = None if table is None else table.shape
        for name, column in () if table is None else zip(table.columns, table.get_columns(), strict=True):
            for i, value in enumerate(column.to_list()[:12]):
                if isinstance(value, bool | int | float) and math.isfinite(value):
                    numbers[f"{p} {name} {i}"] = float(value)
                else:
                    found[f"{p} {name} {i}"] = repr(value)
                found[f"{p} {name} {i} null"] = value is None
    found |= numbers
    few = list(numbers.items())[:MOST_FEATURES]
    for (one, a), (two, b) in itertools.combinations(few, 2):
        found[f"{one} - {two}"] = a - b
        if b:
            found[f"{one} / {two}"] = a / b
    for (one, a), (two, b), (three, c) in itertools.permutations(few[:6], 3):
        if one < two:
            found[f"{one} + {two} - {three}"] = a + b - c
    return found


def separates(groups: Sequence[Sequence[Any]]) -> bool:
    """Whether a feature tells the secrets apart: in order without overlap, or as disjoint sets of few values."""
    flat = [v for g in groups for v in g]
    if all(isinstance(v, float) for v in flat):
        edges = [(min(g), max(g)) for g in groups]
        # below that is the noise of floating-point sums
        gap = 1e-7 * max(1.0, *(abs(v) for v in flat))
        up = all(a[1] + gap < b[0] for a, b in itertools.pairwise(edges))
        down = all(a[0] > b[1] + gap for a, b in itertools.pairwise(edges))
        return up or down
    sets = [{repr(v) for v in g} for g in groups]
    if any(len(s) > 1 for s in sets):
        return False  # of many values, few draws are disjoint by chance
    return len(set.union(*sets)) == len(sets)


@dataclass(frozen=True)
class Finding:
    """A session whose answers determine the secret, and by which features."""

    seed: int
    secret: str
    features: tuple[str, ...]
    plans: tuple[Node, ...]


@dataclass
class Search:
    """What a search came to. answered: sessions of which some value was shown."""

    cases: int = 0
    answered: int = 0
    candidates: int = 0
    findings: list[Finding] = field(default_factory=list)


def _told(
    plans: Sequence[Node], policy: Policy, secret: str, draws: int, first: int, most: int | None = None
) -> tuple[str, ...]:
    """Return the features that determine the secret."""
    groups: list[list[dict[str, Any]]] = []
    for value in SECRETS[secret]:
        groups.append([])
        for draw in range(first, first + draws):
            world = World(remembers=True).add("t", people(secret, value, draw), policy, ROLES, unit=policy.unit)
            groups[-1].append(_features(world, plans))
            if most is not None and not any("shape" in f and v is not None for f, v in groups[0][0].items()):
                return ("",)  # nothing is shown, whatever the data
    names = set.intersection(*(set(f) for g in groups for f in g)) if groups else set()
    names |= {f for g in groups for found in g for f in found if f.endswith(("error", "outcome", "shape", "null"))}
    return tuple(sorted(f for f in names if separates([[found.get(f) for found in g] for g in groups])))


def binds(plans: Sequence[Node]) -> bool:
    """Whether the plans are well formed."""
    world = World().add("t", people("x", 1.0, 0), Policy.open(), ROLES)
    try:
        for plan in plans:
            world.static(plan)
    except (BastionError, RecursionError):
        return False
    return True


def search(seeds: Sequence[int], policy: Policy, note: Callable[[Finding], None] | None = None) -> Search:
    """Look for sessions that determine a secret; one session per seed."""
    result = Search()
    for seed in seeds:
        rng = Random(f"search {seed}")
        plans: list[Node] = []
        for _ in range(200):
            try:
                plans = random_session(rng)
            except (BastionError, TypeError, ValueError, AssertionError):
                continue
            if binds(plans):
                break
        secret = rng.choice(["x", "x", "flag"])
        result.cases += 1
        told = _told(plans, policy, secret, DRAWS[secret], 0, most=1)
        if told == ("",):
            continue
        result.answered += 1
        if not told:
            continue
        result.candidates += 1
        again = _told(plans, policy, secret, AGAIN[secret], 100)
        both = tuple(f for f in told if f in again)
        if both:
            finding = Finding(seed, secret, both, tuple(plans))
            result.findings.append(finding)
            if note is not None:
                note(finding)
    return result


def default(weaken: tuple[str, ...] = ()) -> Policy:
    """The default profile with a threshold of K, whose unsafe cells are left out."""
    return Policy(Aggregation(K), Suppress(), weaken=weaken)


def strict() -> Policy:
    """The strict profile with a threshold of K."""
    return Policy(Aggregation(K), Suppress(), unit="id", profile="strict")


def open_policy() -> Policy:
    """No guard."""
    return Policy.open()


CASES = int(os.environ.get("BASTION_FUZZ_CASES", "30"))
