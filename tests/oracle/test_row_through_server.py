"""Random cases of the row oracle, asked of a real server by wire, and of the judge in one process: one verdict and one answer.

The other tests here drive the judge by themselves. What a server adds on the way (uploads, types of a file, workers, a history on
disk, a codec) must change nothing of what is told.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import polars
import pytest
import zmq
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.errors import BastionError
from bastion_plan.inlining import with_inputs
from bastion_plan.nodes import Node
from bastion_policy.model import Policy, Role
from bastion_server import start
from bastion_server.engine.probe import Fails, probe
from bastion_wire import messages as m
from drive import World
from msgspec import structs
from polars.exceptions import PanicException, PolarsError

from bastion import Connection, Identity

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "attacks" / "wire"))
from random_queries import OTHER_ROLES, Case, made
from wire_line import Line

#: seeds of cases of one question, and of some more, of which one at least is answered otherwise without a history
SINGLE, SEVERAL = range(8), (102, 107, 111, 125, 138, 146, 179, 186, 206, 210, 211, 215)
FAILED = "failed"


@dataclass(frozen=True)
class Told:
    """What one is told of a question: how it ended, by which rule, how much of it may be had, and what left."""

    outcome: str
    rule: str = ""
    safe: tuple[int, int] = (0, 0)
    table: polars.DataFrame | None = None

    @property
    def said(self) -> tuple[Any, ...]:
        """All but the numbers."""
        shape = () if self.table is None else (self.table.height, *self.table.schema.items())
        return self.outcome, self.rule, self.safe, shape


def case_of(seed: int) -> Case:
    return made(Random(f"through a server {seed}").randint, 1 if seed in SINGLE else 6)


def declared(policy: Policy, roles: dict[str, Role | str], unit: str | None) -> Policy:
    """The policy as an owner uploads it, with roles and unit."""
    own = {name: Role(role) if isinstance(role, str) else role for name, role in roles.items()}
    return structs.replace(policy, roles=own, unit=unit or "row")


class Desk:
    """A server with two tables for each case, an owner, and a scientist at the end of a wire."""

    def __init__(self, folder: Path) -> None:
        self.olga, self.alice = Identity.create("olga"), Identity.create("alice")
        self.server = start(folder, owners=[self.olga], users=[self.alice])
        self.owner = Connection(self.server.endpoint, identity=self.olga, server_key=self.server.server_key)
        self.context: zmq.Context[Any] = zmq.Context()
        self.line = Line(self.context, self.server.endpoint, self.server.server_key, self.alice)

    def close(self) -> None:
        self.line.close()
        self.context.destroy(linger=0)
        self.owner.close()
        self.server.stop()

    def uploaded(self, frame: polars.DataFrame, policy: Policy) -> str:
        return str(self.owner.client.polars.send_df(frame, policy).dataset_id)

    def ask(self, plan: Node) -> Told:
        body, table = self.line.query(plan)
        if isinstance(body, m.Failed):
            return Told(FAILED, body.code)
        if not isinstance(body, m.Denial):
            return Told("release", table=table)
        left = self.line.query(plan, "safe_part")[1] if body.has_safe_part else None
        return Told(body.outcome, body.rule, (body.safe_cells, body.total_cells), left)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    found = Desk(tmp_path_factory.mktemp("server"))
    yield found
    found.close()


def here(world: World, plan: Node) -> Told:
    """What the judge says in this process."""
    try:
        bound = bind(plan, world.facts)
        probe(bound.root, {name: frame.lazy() for name, frame in world.frames.items()})
        answer = world.ask(plan)
        left = answer.table
        if left is None and answer.verdict.safe_part is not None:
            left = world.ask(plan, safe_part=True).table
    except BastionError as error:
        return Told(FAILED, error.code)
    except Fails:
        return Told(FAILED, "plan.call")
    except (PolarsError, PanicException):
        return Told(FAILED, "server.query.failed")
    verdict = answer.verdict
    if verdict.release is not None:
        return Told("release", table=left)
    public = [f for f in verdict.findings if not f.private] or list(world.static(plan).findings)
    return Told(str(verdict.outcome), public[0].rule, (verdict.safe_cells, verdict.total_cells), left)


def of_tables(plan: Node, names: dict[str, str]) -> Node:
    """The plan over the tables of these ids."""
    if isinstance(plan, n.Scan):
        return n.Scan(names[plan.dataset])
    return with_inputs(plan, tuple(of_tables(below, names) for below in n.inputs(plan)))


def numbers(table: polars.DataFrame | None) -> list[tuple[Any, ...]]:
    """The rows, in an order that says nothing: groups have none."""
    return [] if table is None else sorted(table.rows(), key=lambda row: [_rank(v) for v in row])


def _rank(value: Any) -> tuple[str, Any]:
    # the last digits of a sum depend on the order of its terms
    return ("", f"{value:.6e}") if isinstance(value, float) else (type(value).__name__, repr(value))


def same(one: Any, two: Any) -> bool:
    if isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(one) and math.isnan(two))
    return bool(one == two)


def played(desk: Desk, seed: int, counts: Counter[str]) -> list[str]:
    """Play a case in both ways; return what differs."""
    case, found = case_of(seed), []
    policies = [declared(case.policy, case.roles, case.unit)]
    policies.append(declared(case.other_policy, OTHER_ROLES, "id" if case.unit else None))
    frames = [case.people, case.others]
    ids = [desk.uploaded(frame, policy) for frame, policy in zip(frames, policies, strict=True)]
    world = World(remembers=True)
    for name, frame, policy in zip(ids, frames, policies, strict=True):
        world.add(name, frame, policy, dict(policy.roles or {}), None if policy.unit == "row" else policy.unit)
    for query in case.queries:
        plan = of_tables(query.plan, dict(zip("ts", ids, strict=True)))
        mine, theirs = here(world, plan), desk.ask(plan)
        counts[mine.outcome] += 1
        counts["strict"] += case.policy.profile == "strict"
        counts["several rows"] += world.private[ids[0]].max_rows_per_unit > 1
        counts["safe parts"] += mine.outcome != "release" and mine.table is not None
        rows = [numbers(told.table) for told in (mine, theirs)]
        counts["numbers"] += sum(isinstance(v, int | float) for row in rows[0] for v in row)
        if mine.said != theirs.said:
            found.append(f"{seed}: {mine.said}\nby wire: {theirs.said}\n{query.plan}")
        elif not all(same(a, b) for one, two in zip(*rows, strict=True) for a, b in zip(one, two, strict=True)):
            found.append(f"{seed}: {rows[0]}\nby wire: {rows[1]}\n{query.plan}")
    return found


def test_a_server_says_what_the_judge_says(desk: Desk) -> None:
    counts: Counter[str] = Counter()
    found = [why for seed in (*SINGLE, *SEVERAL) for why in played(desk, seed, counts)]
    print(counts)
    assert not found, "\n\n".join(found)
    # of everything that there is to differ in, some was there
    least = {
        "release": 12,
        "review": 8,
        "refuse": 1,
        FAILED: 1,
        "strict": 10,
        "several rows": 10,
        "safe parts": 2,
        "numbers": 100,
    }
    assert not {name: counts[name] for name, few in least.items() if counts[name] < few}
