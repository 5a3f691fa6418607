"""Drives the judge in one process: lowers its plans to Polars and keeps its tables, as a worker would."""

from __future__ import annotations

import random
import secrets
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from bastion_plan.bind import bind
from bastion_plan.nodes import Node, scans
from bastion_policy.facts import ColumnFacts, ColumnMeasures, DatasetFacts, PrivateFacts
from bastion_policy.flow import static_verdict
from bastion_policy.history import Columns, History, Lens, Past, Roster, numbering_plan
from bastion_policy.history.numbering import marks
from bastion_policy.judge import approved_plan, judge, witness
from bastion_policy.lineage import OWN
from bastion_policy.model import Policy, Role, RoleKind
from bastion_policy.roles import measure
from bastion_policy.verdict import Measure, Outcome, StaticVerdict, Verdict
from bastion_server.engine.dtypes import from_polars
from bastion_server.engine.lower import lower


@dataclass
class Answer:
    """What a requester gets: the verdict and the table that left, if any."""

    verdict: Verdict
    table: pl.DataFrame | None
    measures: list[Measure] = field(default_factory=list)

    @property
    def released(self) -> pl.DataFrame:
        assert self.verdict.outcome is Outcome.RELEASE, self.verdict.findings
        assert self.table is not None
        return self.table


class Held(Columns):
    """Columns of a world, none of which its copies share."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Held:
        return Held(self._capacity)


class World:
    """Some datasets with their policies.

    remembers: whether queries know of those before (of the same requester's audience), as on the server; without, each
    stands alone, for tests of single rules.
    """

    def __init__(self, *, remembers: bool = False) -> None:
        self.remembers = remembers
        self.frames: dict[str, pl.DataFrame] = {}
        self.facts: dict[str, DatasetFacts] = {}
        self.private: dict[str, PrivateFacts] = {}
        self.rosters: dict[str, Roster] = {}
        self.pasts: dict[tuple[str, str], Past] = {}
        self.columns = Held(1 << 26)
        #: of secret numbers, which a copy of a world draws alike
        self.draws = random.Random(secrets.randbits(128))

    def add(
        self,
        name: str,
        frame: pl.DataFrame,
        policy: Policy | None = None,
        roles: Mapping[str, Role | str] | None = None,
        unit: str | None = None,
    ) -> World:
        policy = policy or Policy.default()
        given = {c: Role(RoleKind(r)) if isinstance(r, str) else r for c, r in (roles or {}).items()}
        columns = tuple(
            ColumnFacts(c, from_polars(d), given.get(c) or infer(frame[c])) for c, d in frame.schema.items()
        )
        self.frames[name] = frame
        self.columns.forget(name)
        self.facts[name] = DatasetFacts(name, name, 1, columns, policy, unit=unit, unit_domain=name)
        most = 1 if unit is None or not frame.height else int(frame.group_by(unit).len()["len"].max())
        units = frame.height if unit is None else frame[unit].n_unique()
        self.private[name] = PrivateFacts(frame.height, units, most, {c: measured(frame[c]) for c in frame.columns})
        return self

    def with_policy(self, policy: Policy) -> World:
        """The same data under another policy, with no history."""
        other = World(remembers=self.remembers)
        for name, frame in self.frames.items():
            facts = self.facts[name]
            roles = {c.name: c.role for c in facts.columns}
            other.add(name, frame, policy, roles, facts.unit)
        return other

    def static(self, plan: Node, requester: str = "alice") -> StaticVerdict:
        return static_verdict(bind(plan, self.facts), self.facts, requester)

    def history(self, requester: str, datasets: Iterable[str]) -> History:
        """What was released to a requester's audience, as the server keeps it."""
        lenses, domains, pasts = {}, {}, {}
        for name in datasets:
            facts = self.facts[name]
            domain, audience = facts.audience(requester)
            roster = self.rosters.get(domain, Roster())
            if (name, facts.version) not in roster.versions:
                numbers = lower(numbering_plan(facts), {name: self.frames[name].lazy()}).collect()
                unit = numbers[f"{OWN}unit"].to_numpy() if facts.unit is not None else None
                found = marks(facts, {c: numbers[c].to_numpy() for c in numbers.columns})
                content = numbers[f"{OWN}content"].to_numpy()
                roster = roster.entered(name, facts.version, unit, content, found, facts.hidden)
                self.rosters[domain] = roster
        for name in datasets:
            domain, audience = self.facts[name].audience(requester)
            domains[name] = domain
            pasts[domain] = self.pasts.get((domain, audience), Past())
            lenses[name] = Lens(self.rosters[domain], name, self.facts[name].version)
        return History(lenses, domains, pasts, self.draws.randbytes, columns=self.columns)

    def keep(self, requester: str, history: History) -> None:
        """Remember what a release added."""
        for name, domain in history.domains.items():
            self.pasts[domain, self.facts[name].audience(requester)[1]] = history.pasts[domain]

    def ask(
        self, plan: Node, requester: str = "alice", *, safe_part: bool = False, history: bool | None = None
    ) -> Answer:
        """Ask; `history` False: the query stands alone (default: as the world is set)."""
        bound = bind(plan, self.facts)
        keeps = self.remembers if history is None else history
        past = self.history(requester, sorted(scans(bound.root))) if keeps else History()
        tables: dict[str, pl.DataFrame] = {}
        verdict, measures = self._played(judge(bound, self.facts, self.private, requester, past), tables)
        plan_out = verdict.safe_part if safe_part else verdict.release
        self.keep(requester, past)
        return Answer(verdict, None if plan_out is None else self._run(plan_out, tables, {}), measures)

    def _run(self, node: Node, tables: Mapping[str, pl.DataFrame], extra: Mapping[str, Any]) -> pl.DataFrame:
        sources = {k: f.lazy() for k, f in (self.frames | dict(tables)).items()}
        sources |= {k: pl.DataFrame(v, strict=False).lazy() for k, v in extra.items()}
        return lower(node, sources).collect()

    def _played(
        self, steps: Generator[Measure, Any, Any], tables: dict[str, pl.DataFrame]
    ) -> tuple[Any, list[Measure]]:
        """Answer what a judge measures; returns (what it says in the end, what it measured)."""
        measures: list[Measure] = []
        answer: dict[str, Any] | None = None
        try:
            while True:
                step = steps.send(answer)
                measures.append(step)
                assert step.keep.startswith("#")
                kept = self._run(step.plan, tables, step.tables)
                tables[step.keep] = kept
                names = kept.columns if step.returns is None else step.returns
                wide = (pl.Int128, pl.UInt128)
                answer = {
                    c: kept[c].to_list() if kept[c].null_count() or kept[c].dtype in wide else kept[c].to_numpy()
                    for c in names
                }
                answer["__height"] = kept.height
        except StopIteration as stop:
            return stop.value, measures

    def approve(self, plan: Node, requester: str = "alice") -> pl.DataFrame:
        """What the owner releases unguarded, remembered as the server does."""
        bound = bind(plan, self.facts)
        past = self.history(requester, sorted(scans(bound.root)))
        self._played(witness(bound, self.facts, self.private, requester, past), {})
        self.keep(requester, past)
        return self.approved(plan)

    def approved(self, plan: Node) -> pl.DataFrame:
        bound = bind(plan, self.facts)
        return lower(approved_plan(bound, self.facts), {k: f.lazy() for k, f in self.frames.items()}).collect()


def infer(column: pl.Series) -> Role:
    distinct = column.drop_nulls().n_unique()
    nearly_unique = distinct > 0.95 * max(1, column.len() - column.null_count()) and distinct > 20
    if nearly_unique and not column.dtype.is_float():
        return Role(RoleKind.IDENTIFIER)
    if column.dtype.is_float() or (column.dtype.is_numeric() and distinct > 50):
        return measure()
    return Role(RoleKind.QUASI)


def measured(column: pl.Series) -> ColumnMeasures:
    numeric = column.dtype.is_numeric() or column.dtype == pl.Boolean
    values = column.drop_nulls().cast(pl.Float64) if numeric else None
    finite = values.filter(values.is_finite()) if values is not None else None
    known = finite is not None and finite.len() > 0
    return ColumnMeasures(
        column.null_count(),
        column.drop_nulls().n_unique(),
        float(finite.min()) if known else None,  # type: ignore[union-attr, arg-type]
        float(finite.max()) if known else None,  # type: ignore[union-attr, arg-type]
        has_nan=bool(values is not None and values.is_nan().any()),
    )
