"""Plays a case: asks the judge its queries, one after another, and has the oracle explain the answers."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars
from bastion_plan.bind import bind
from bastion_plan.errors import BastionError
from bastion_plan.expressions import Alias, Call, Column
from bastion_plan.nodes import Node, Sample, Scan, Select, Slice, Sort, TopK
from bastion_policy.model import Reject
from bastion_server.engine.expressions import lower_expr
from bastion_server.engine.lower import lower
from drive import Answer, World
from polars.exceptions import PolarsError
from random_queries import OTHER_ROLES, Case, drawn
from row_frames import Behind, Boundary, Dataset, Frame, Unknown, descend
from row_oracle import Finding, Oracle
from row_statistics import statistic
from row_values import same

#: cells of which a share means something
ENOUGH = 15


#: worlds by how many rows a person has
ONE, SEVERAL = "one row per person", "several rows per person"


@dataclass
class Tally:
    """What a run has seen."""

    counts: Counter[str] = field(default_factory=Counter)
    asked: set[Any] = field(default_factory=set)
    unknown: Counter[str] = field(default_factory=Counter)
    hidden: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[World, Node, str]]] = field(default_factory=dict)

    def start(self) -> None:
        """Begin anew."""
        for part in (self.counts, self.asked, self.unknown, self.hidden, self.examples):
            part.clear()

    def share(self, of: str) -> float:
        """Of the cells that the oracle allows in some worlds, those that are shown or inside the remainder row."""
        released = self.counts[f"cells shown, {of}"] + self.counts[f"cells merged, {of}"]
        return released / max(1, self.counts[f"cells allowed, {of}"])

    def report(self) -> str:
        lines = [f"{k}: {n}" for k, n in sorted(self.counts.items())]
        lines += [f"share of allowed cells released, {of}: {self.share(of):.1%}" for of in (ONE, SEVERAL)]
        return "\n".join(lines)


TALLY = Tally()


class Undefined(Exception):
    """An answer was given of which the oracle has no definition: what follows cannot be judged."""


def world_of(case: Case, *, remembers: bool = True) -> World:
    world = World(remembers=remembers).add("t", case.people, case.policy, dict(case.roles), case.unit)
    return world.add("s", case.others, case.other_policy, dict(OTHER_ROLES), "id" if case.unit else None)


def oracle_of(world: World) -> Oracle:
    datasets = {name: Dataset(world.facts[name], frame.to_dicts()) for name, frame in world.frames.items()}
    return Oracle(datasets, "alice", foreign, history=world.remembers)


def foreign(expr: Any, values: Any, schema: Any) -> Any:
    """An elementwise call of one row, for functions that the oracle does not define itself."""
    from bastion_server.engine.dtypes import to_polars

    used = {e.name for e in descend(expr) if isinstance(e, Column)} or set(list(schema)[:1])
    row = polars.DataFrame({n: [values.get(n)] for n in used}, schema={n: to_polars(schema[n]) for n in used})
    found = row.select(lower_expr(expr).alias("x"))["x"].to_list()
    if len(found) != 1:
        raise Unknown("not elementwise")
    return tuple(found[0]) if isinstance(found[0], list) else found[0]


def ask(world: World, plan: Node) -> polars.DataFrame | None:
    """The answer, else its safe part."""
    answer: Answer = world.ask(plan)
    if answer.table is None and answer.verdict.safe_part is not None:
        answer = world.ask(plan, safe_part=True)
    return answer.table


def twin(world: World) -> World:
    """The same world with the same past, for a question that shall not be remembered."""
    other = copy.copy(world)
    for name, value in vars(world).items():
        if name not in ("frames", "facts", "private"):
            setattr(other, name, copy.deepcopy(value))
    return other


def direct(world: World, node: Node) -> polars.DataFrame:
    return lower(node, {k: f.lazy() for k, f in world.frames.items()}).collect()


def check_itself(oracle: Oracle, boundary: Boundary, world: World) -> None:
    """The oracle's unguarded answer is what Polars computes."""
    if boundary.tied or boundary.forbidden or "window" in boundary.cautious:
        return
    found = direct(world, boundary.node).to_dicts()
    rows = {tuple(r[k] for k in boundary.keys): r for r in found}
    assert boundary.keys == () or rows.keys() == boundary.cells.keys(), boundary.node
    for key, cell in boundary.cells.items():
        for name, expr in boundary.outputs:
            if any(leaf.forbidden or "window" in leaf.cautious for leaf in boundary.leaves.values()):
                continue
            try:
                leaves = {c: statistic(leaf, cell) for c, leaf in boundary.leaves.items()}
                value = oracle.reader.arithmetic(expr, leaves)
            except Unknown:
                continue
            said = rows[key][name]
            vague = "approx" in str(expr) or (said is None and value != value) or (value is None and said != said)
            vague |= value == 0 and said == dt.timedelta()
            # a correlation of columns that hardly vary, and ranks among what is no number, are decided by the last digit
            vague |= "pl.corr" in str(expr) and (value != value or said != said)
            vague |= "quantile" in str(expr) and value != value
            assert same(value, said) or vague, (key, name, value, said, expr)


def play(case: Case, *, remembers: bool = True) -> list[Finding]:
    """Ask all queries of a case; return what the oracle does not allow."""
    world = world_of(case, remembers=remembers)
    oracle = oracle_of(world)
    TALLY.counts["cases"] += 1
    for name in case.kinds:
        TALLY.counts[f"cases with {name}"] += 1
    for query in case.queries:
        try:
            found = one(world, oracle, query.plan)
        except Undefined:
            return []
        if found:
            return found
    return []


def one(world: World, oracle: Oracle, plan: Node) -> list[Finding]:
    """Ask one query and explain its answer."""
    counts = TALLY.counts
    try:
        bound = bind(plan, world.facts)
    except BastionError:
        counts["queries that do not bind"] += 1
        return []
    try:
        reading = oracle.read(bound)
        if isinstance(reading, Boundary):
            check_itself(oracle, reading, world)
    except Unknown as reason:
        counts["queries the oracle does not define"] += 1
        TALLY.unknown[str(reason)] += 1
        return []
    except PolarsError:
        counts["queries that fail"] += 1
        return []
    if isinstance(reading, Frame):
        counts["queries for rows"] += 1
        return rows(world, oracle, plan)
    counts["queries judged"] += 1
    boundary = reading.inner if isinstance(reading, Behind) else reading
    inner = ask(
        twin(world) if isinstance(reading, Behind) else world, boundary.node if isinstance(reading, Behind) else plan
    )
    table = [] if inner is None else inner.to_dicts()
    told = any(row[name] is not None for row in table for name, _ in boundary.outputs)
    strict = oracle.limits(boundary.frame).strict
    counts[f"questions {'answered' if told else 'denied'}, {'strict' if strict else 'default'} profile"] += 1
    try:
        explained = oracle.explain(boundary, table)
    except Unknown as reason:
        counts["answers the oracle does not define"] += 1
        TALLY.unknown[str(reason)] += 1
        raise Undefined from None
    if isinstance(reading, Behind):
        explained.findings += behind(world, bound.root, boundary.node, inner, plan)
    counts["values released"] += explained.values
    asked = (world.frames["t"].hash_rows().sum(), plan)
    if asked in TALLY.asked:
        counts["queries asked again"] += 1
    elif explained.promised and not any(isinstance(f.policy.unsafe_handling, Reject) for f in world.facts.values()):
        # hypothesis plays a case again with a change here and there: the same question in the same world counts once
        TALLY.asked.add(asked)
        of = SEVERAL if world.private["t"].max_rows_per_unit > 1 else ONE
        counts[f"cells allowed, {of}"] += explained.allowed
        counts[f"cells shown, {of}"] += explained.shown
        counts[f"cells merged, {of}"] += explained.merged
        for what, where in explained.hidden:
            TALLY.hidden[what] += 1
            TALLY.examples.setdefault(what, []).append((world, boundary.node, where))
    else:
        counts["queries that docs send to review"] += 1
    return explained.findings


def rows(world: World, oracle: Oracle, plan: Node) -> list[Finding]:
    """Single rows never leave; what is offered in their place is a summary, judged as the aggregation it is."""
    summary = ask(world, plan)
    if summary is None:
        return []
    exprs: list[Any] = []
    for name in summary.columns:
        column, _, function = name.rpartition("_")
        if name != "len" and function not in ("mean", "count"):
            return [Finding("rows", "single rows", summary.height, leak=True)]
        exprs.append(Alias(Call(function, (Column(column),)) if column else Call("pl.len"), name))
    while isinstance(plan, Slice | TopK | Sample | Sort):  # the summary is of all rows
        plan = plan.input
    try:
        reading = oracle.read(bind(Select(plan, tuple(exprs)), world.facts))
        assert isinstance(reading, Boundary)
        return oracle.explain(reading, summary.to_dicts()).findings
    except Unknown as reason:
        TALLY.unknown[str(reason)] += 1
        raise Undefined from None


def behind(world: World, root: Node, inner: Node, table: polars.DataFrame | None, plan: Node) -> list[Finding]:
    """What comes after a boundary is a function of its cells."""
    answer = ask(world, plan)
    if answer is None:
        return []
    if table is None:
        return [Finding("behind", "an answer without its cells", answer.to_dicts(), leak=True)]
    sources = {k: f.lazy() for k, f in world.frames.items()} | {"#cells": table.lazy()}
    expected = lower(instead(root, inner), sources).collect()
    one, two = (sorted(map(repr, t.to_dicts())) for t in (rounded(answer), rounded(expected)))
    return [] if one == two else [Finding("behind", "not a function of the cells", answer.to_dicts(), (str(two),))]


def rounded(table: polars.DataFrame) -> polars.DataFrame:
    return table.with_columns(polars.selectors.float().round(6))


def instead(node: Node, inner: Node) -> Node:
    """The plan with its boundary's answer in place of the boundary."""
    import msgspec

    if node == inner:
        return Scan("#cells")
    return msgspec.structs.replace(node, input=instead(node.input, inner))  # type: ignore[attr-defined]


def written(case: Case) -> str:
    """What is needed to play a case again, at the same commit: the choices it was drawn by."""
    return base64.urlsafe_b64encode(zlib.compress(json.dumps([case.most, *case.draws]).encode())).decode()


def read(text: str) -> Case:
    """The case of a text that `written` made."""
    most, *choices = json.loads(zlib.decompress(base64.urlsafe_b64decode(text)))
    return drawn(iter(choices).__next__, most)


def describe(case: Case, findings: Sequence[Finding]) -> str:
    """A case and what was found in it, for people."""
    from bastion_policy.code import plan_code

    lines = [f"rows={case.people.height} unit={case.unit}", f"policy={case.policy}", f"other={case.other_policy}"]
    lines += [plan_code(q.plan) for q in case.queries]
    lines += [str(f) for f in findings]
    return "\n".join([*lines, f"again: python tests/oracle/shards.py --again {written(case)}"])
