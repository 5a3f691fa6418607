"""The measured judge: yields what to measure beside the data, and returns the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from bastion_plan import nodes as n
from bastion_plan.bind import BoundPlan
from bastion_plan.dtypes import FLOAT64, UINT32
from bastion_plan.errors import PolicyError
from bastion_plan.expressions import Alias, AnyExpr, Call, Column, Expr
from bastion_plan.inlining import with_inputs
from bastion_plan.nodes import AnyNode, Node, inputs

from bastion_policy.actions import Log, Reject, Review, Suppress
from bastion_policy.approvals import Shows, mixes, of_rows, plainly
from bastion_policy.boundary import Boundary, call
from bastion_policy.derived import columns_of
from bastion_policy.facts import DatasetFacts, PrivateFacts
from bastion_policy.flow import (
    boundaries,
    in_review_zone,
    merged_policy,
    noise_findings,
    nothing_left,
    release_findings,
    scanned,
)
from bastion_policy.flow_failures import may_fail
from bastion_policy.flow_nodes import ALWAYS_REFUSED, REFUSED, FlowTyping, used_columns
from bastion_policy.flow_strict import secret
from bastion_policy.flow_trees import output_name
from bastion_policy.guard_cells import Steps
from bastion_policy.guard_plans import masked
from bastion_policy.history import History
from bastion_policy.judge_approved import completed
from bastion_policy.judge_cells import BoundaryJudge
from bastion_policy.judge_leaving import REMAINDER, Cells
from bastion_policy.judge_memory import EDGE_BUDGET
from bastion_policy.judge_strict import discreet
from bastion_policy.lineage import Form, Source, Typed, Value, World
from bastion_policy.model import Effective, Policy
from bastion_policy.products import LEAST
from bastion_policy.repeatable import repeatable
from bastion_policy.verdict import Finding, Judgement, Outcome, ReleaseNote, Verdict


def approved_plan(bound: BoundPlan, facts: Mapping[str, DatasetFacts]) -> Node:
    """Return the plan that runs once an owner approved it: as it was asked, in one order, with hidden columns masked by lineage.

    Hidden columns are `*` in text and null elsewhere from the scan on, so whatever derives from them derives from that.
    """
    return masked(repeatable(bound).root, facts)


def judge(
    bound: BoundPlan,
    facts: Mapping[str, DatasetFacts],
    private: Mapping[str, PrivateFacts],
    requester: str,
    history: History,
) -> Judgement:
    """Judge a plan; a generator of Measure steps that returns the Verdict.

    Args:
        bound: a bound plan.
        facts, private: by dataset id, of every dataset that the plan scans.
        requester: name of the key that asks.
        history: populations released before to the requester's audience.

    Raises:
        PolicyError: a dataset without facts.
    """
    for name in scanned(bound):
        if name not in facts or name not in private:
            msg = "There are no facts about a table of the plan."
            raise PolicyError(msg, code="policy.facts")
    policy = merged_policy(bound, facts)
    if policy is None:
        return Verdict(Outcome.RELEASE, release=bound.root)
    verdict: Verdict = yield from _Judge(bound, facts, private, requester, history, policy).run()
    return discreet(verdict, policy.effective(requester))


def witness(
    bound: BoundPlan,
    facts: Mapping[str, DatasetFacts],
    private: Mapping[str, PrivateFacts],
    requester: str,
    history: History,
) -> Judgement:
    """Enter the populations of a plan that an owner releases unguarded into the history; returns an empty release.

    Its facts say of how many people something may follow from it and what was told before, who are not in it ("completed").

    INVARIANT: what was shown by approval, or by Log, counts as released: later answers are compared with it. Where the audit
    would not have cleared it, later answers near it are withheld, and the past is marked as voided.
    """
    policy, bound = merged_policy(bound, facts), repeatable(bound)
    if policy is not None and not policy.effective(requester).open:
        world = _world(facts, private)
        typing = FlowTyping(bound, world)
        typed = typing.root()
        nodes = boundaries(typed)
        picking = any(f.rule in _PICKS for f in typing.findings)
        loose = any(f.rule != "row-level" for f in typing.findings)
        if typed.frame.private:
            # single rows: everybody in them is one population
            nodes.append(Typed(typed.node, typed.frame, (typed,), Boundary((), [], [])))
        effective = policy.effective(requester)
        for number, node in enumerate(nodes):
            judge = BoundaryJudge(node, facts, private, effective, world, history, {}, f"#v{number}")
            if node is nodes[-1] and typed.frame.private:
                yield from judge.witness(of_rows(typed, bound.root, world))
                continue
            boundary = node.boundary
            assert isinstance(boundary, Boundary)
            picks = [o for o in boundary.outputs if picking or any(f.rule in _PICKS for f in o.findings)]
            # INVARIANT: of all values of a cell, any may be known; of a value that was picked nobody knows whose it is; and each
            # output by itself: beside a list of beds a number is a number
            lists = {o.name for o in picks if o.dtype.is_nested or o.dtype.kind == "String"}
            plain = not typed.frame.private and plainly(typed, node)
            whole = {name for name in lists if plain and _whole(node.node, name)}
            unruled = [_made_from(node, o.name, world) for o in boundary.outputs if loose or o.findings]
            unruled += [_made_from(node, name, world, every=True) for name in lists - whole]
            made = [_made_from(node, o.name, world, every=True) for o in boundary.outputs]
            shown = [_made_from(node, name, world, every=True) for name in whole]
            yield from judge.witness(
                Shows(
                    rows=bool(whole),
                    picks=len([o for o in picks if o.name not in whole]),
                    many=bool(lists - whole),
                    loose=frozenset().union(*unruled) - frozenset().union(*shown),
                    plainly=plain,
                    maybe=frozenset().union(*made),
                    mixed=any(mixes(below) for below in inputs(node.node)),
                )
            )
        if nodes:
            return Verdict(Outcome.RELEASE, facts={"completed": completed(history, effective.k)})
    return Verdict(Outcome.RELEASE)


def _whole(node: Node, name: str) -> bool:
    """Whether a column of lists holds all values of its cell."""
    plain = _made_of(node, name)
    if isinstance(plain, Call) and plain.function in ("implode", "str.join"):
        plain = plain.args[0]
    return isinstance(plain, Column)


def _made_of(node: Node, name: str) -> Expr | None:
    """Return the expression of an output; None: nobody knows."""
    exprs = getattr(node, "aggs", ()) or getattr(node, "exprs", ())
    found = next((e for e in exprs if output_name(e) == name), None)
    return found.input if isinstance(found, Alias) else found


def _made_from(node: Typed, name: str, world: World, *, every: bool = False) -> frozenset[Source]:
    """Return the secret columns that an output is made from; every: where it gives the value of one person, too."""
    made, columns = _made_of(node.node, name), node.inputs[0].frame.columns
    if not every and _is_value(made, columns):
        return frozenset()
    used = columns_of(made) if made is not None else columns
    sources = (x for column in used for x in columns[column].sources if not x.counted)
    return frozenset(x for x in sources if secret(frozenset({x}), world))


def _is_value(made: Expr | None, columns: Mapping[str, Value]) -> bool:
    """Whether an output is the value of one person: of a plain column, in whatever order and under whatever condition."""
    if not isinstance(made, Call) or made.function not in _SINGLE:
        return False
    while isinstance(made, Call) and made.function in _SINGLE | _CHOOSING:
        made = made.args[0]
    return isinstance(made, Column) and columns[made.name].plain is not None


#: functions that give one of the values, and those that give some of them
_SINGLE = frozenset({"first", "last", "get", "min", "max", "implode"})
_CHOOSING = frozenset("sort sort_by filter drop_nulls drop_nans head tail slice reverse limit".split())
#: findings about results that pick single rows
_PICKS = frozenset({"row-level", "order-dependent"})


class _Judge:
    def __init__(
        self,
        bound: BoundPlan,
        facts: Mapping[str, DatasetFacts],
        private: Mapping[str, PrivateFacts],
        requester: str,
        history: History,
        policy: Policy,
    ) -> None:
        self.bound, self.facts, self.private = bound, facts, private
        self.requester, self.history, self.policy = requester, history, policy
        self.effective = policy.effective(requester)
        self.world = _world(facts, private)
        self.notes: list[Cells] = []

    def run(self) -> Steps:
        typing = FlowTyping(self.bound, self.world)
        typed = typing.root()
        findings = release_findings(typed, typing)
        facts: dict[str, Any] = {"columns": list(used_columns(typing)), "statistics": _statistics(typed)}
        never = ALWAYS_REFUSED if self.effective.open else REFUSED
        refused = [f for f in findings if f.rule in never]
        # hidden columns in single cells of a table leave the other cells on offer; anywhere else nothing is
        if refused and (self.effective.open or typed.frame.private or any(f in typing.findings for f in refused)):
            return Verdict(Outcome.REFUSE, tuple(refused), facts=facts)
        if self.effective.open:
            return Verdict(Outcome.RELEASE, release=masked(self.bound.root, self.facts), facts=facts)
        closed = _closed(self.effective)
        if self.effective.zone == "private":
            # answered with noise, or for these reasons not at all; the exact rules say nothing of it
            return self._unsafe(noise_findings(self.bound, self.facts, self.policy, self.requester), None, facts)
        if self.history.failed_often and may_fail(self.bound.root):
            # INVARIANT: before anything is measured, for a safe part as well: whether that fails tells as much
            return self._unsafe([*closed, *findings, FAILED_OFTEN], None, facts)
        static = [f for f in typing.findings if f in findings]
        if typed.frame.private or static:
            safe = yield from self._summary() if typed.frame.private else _nothing()
            return self._unsafe([*closed, *findings], safe, facts)
        return (yield from self._release(typed, [*closed, *findings], facts))

    def _release(self, typed: Typed, findings: list[Finding], facts: dict[str, Any]) -> Steps:
        if nothing_left(typed):
            return self._unsafe(findings, None, facts)
        safe = yield from self._safe(typed)
        facts["smallest_cell"] = min((c.smallest for c in self.notes if c.smallest), default=0)
        facts["units"] = max((self.private[d].units for d in scanned(self.bound)), default=0)
        facts["cells"] = sum(c.total - c.hidden for c in self.notes)
        facts["hidden_cells"] = sum(c.hidden for c in self.notes)
        facts["merged_cells"] = sum(c.merged for c in self.notes)
        known = [c.coverage for c in self.notes if c.coverage is not None]
        if known:
            facts["coverage"] = max(known)
        failed: dict[str, set[str]] = {}
        for cells in self.notes:
            for rule, columns in cells.failed.items():
                failed.setdefault(rule, set()).update(columns)
        findings = [*findings, *(_measured_finding(rule, columns, self.effective) for rule, columns in failed.items())]
        if findings:
            return self._unsafe(findings, safe, facts)
        return Verdict(Outcome.RELEASE, release=safe, note=self._note(), facts=facts)

    def _safe(self, typed: Typed) -> Steps:
        """Measure every boundary, and keep what may leave as a table; returns the plan that reads it."""
        done: dict[int, Node] = {}
        self.notes = []
        nodes = boundaries(typed)
        many = any(len(past.edges) >= EDGE_BUDGET for past in self.history.pasts.values())
        judges = [self._boundary(*each, done) for each in enumerate(nodes)] if many else []
        if spent := [judge for judge in judges if judge.spent]:
            # INVARIANT: before anything is measured: else a question that fails could still be told from one that is denied
            names = {output.name for judge in spent for output in judge.boundary.outputs}
            self.notes = [Cells(typed.node, failed={"edge-budget": names})]
            return None
        for number, node in enumerate(nodes):
            cells = yield from self._boundary(number, node, done).run()
            self.notes.append(cells)
            done[id(node)] = cells.plan
        return _released(typed, done)

    def _boundary(self, number: int, node: Typed, done: Mapping[int, Node]) -> BoundaryJudge:
        return BoundaryJudge(
            node, self.facts, self.private, self.effective, self.world, self.history, done, f"#b{number}"
        )

    def _note(self) -> ReleaseNote:
        merged = sum(c.merged for c in self.notes)
        hidden = sum(c.hidden for c in self.notes)
        notes = []
        if any(c.left_out for c in self.notes):
            notes.append(
                f"Values and bins of fewer than {self.effective.k} people are put together, with as few of the smallest "
                "others as needed, and are left out or shown as null."
            )
        if merged > sum(c.left_out for c in self.notes):
            # how many is in `merged`; here, how to tell such a row from the others
            notes.append(
                f"What is put together has the key {REMAINDER}, or null where keys are not text; a row that all but a few "
                "people belong to shows the answer of the whole table."
            )
        if any(c.empty for c in self.notes):
            notes.append(f"Nothing is shown of populations of fewer than {self.effective.k} people, nobody included.")
        if any(c.coarse for c in self.notes):
            notes.append(
                "Correlations are rounded to two decimals, and covariances are such a correlation times the standard deviations."
            )
        again = None if self.effective.profile == "strict" else sum(c.again for c in self.notes)
        return ReleaseNote(suppressed=hidden, merged=merged, again=again, partial=bool(hidden), notes=tuple(notes))

    def _unsafe(self, findings: list[Finding], safe: AnyNode | None, facts: dict[str, Any]) -> Verdict:
        """Outside the safe zone: the owner's action, with the safe part on offer."""
        total = sum(c.total for c in self.notes)
        shown = total - sum(c.hidden for c in self.notes)
        offer: dict[str, Any] = (
            {"safe_part": safe, "safe_cells": shown, "total_cells": total} if safe is not None else {}
        )
        if self.effective.zone in ("closed", "private"):
            offer = {}
        note = msgspec.structs.replace(self._note(), findings=tuple(findings), partial=True)
        common: dict[str, Any] = {"findings": tuple(findings), "facts": facts, "note": note, **offer}
        if any(f.rule in REFUSED for f in findings) or not in_review_zone(self.policy, self.requester):
            return Verdict(Outcome.REFUSE, **common)
        match self.policy.unsafe_handling:
            case Log():
                plan = approved_plan(self.bound, self.facts)
                note = ReleaseNote(tuple(findings), logged_unsafe=True)
                return Verdict(Outcome.RELEASE, release=plan, findings=tuple(findings), note=note, facts=facts)
            case Review():
                return Verdict(Outcome.REVIEW, **common)
            case Suppress() if offer:
                return Verdict(Outcome.RELEASE, release=safe, **common)
            case Suppress() | Reject():
                return Verdict(Outcome.REFUSE, **common)

    # -- the safe part of a query about rows

    def _summary(self) -> Steps:
        """Return a plan of means and counts of the columns that were asked for, or None."""
        node: AnyNode = self.bound.root  # type: ignore[assignment]
        while isinstance(node, n.Slice | n.TopK | n.Sort | n.Sample | n.Reverse | n.WithRowIndex):
            node = node.input
        frame = FlowTyping(self.bound, self.world).type(node).frame
        exprs: list[AnyExpr] = []
        schema = {}
        for name, dtype in self.bound.schemas[node].items():
            value = frame.columns.get(name)
            roles = [self.world.role(s) for s in value.sources] if value is not None else []
            if value is None or value.form is not Form.COLUMN or not all(r.aggregates for r in roles):
                continue
            if any(self._has_copy(source) for source in value.sources):
                # of two copies one may be told of: which one is not for an offer to decide
                continue
            if dtype.is_numeric:
                exprs.append(Alias(call("mean", Column(name)), f"{name}_mean"))
                schema[f"{name}_mean"] = FLOAT64
            else:
                exprs.append(Alias(call("count", Column(name)), f"{name}_count"))
                schema[f"{name}_count"] = UINT32
        if not exprs or len(schema) != len(exprs):
            return None
        exprs.insert(0, Alias(Call("pl.len"), "len"))
        summary = n.Select(node, tuple(exprs))
        schemas = {**self.bound.schemas, summary: {"len": UINT32, **schema}}
        typing = FlowTyping(BoundPlan(summary, schemas[summary], schemas), self.world)
        summarised = typing.type(summary)
        if release_findings(summarised, typing):
            return None
        return (yield from self._safe(summarised))

    def _has_copy(self, source: Source) -> bool:
        lens = self.history.lenses.get(source.dataset)
        if lens is None:
            return False
        mine = (lens.dataset, lens.version)
        return any(copy.of == mine for copy in lens.roster.copies(mine, source.column))


def _nothing() -> Steps:
    yield from ()
    return None


def _world(facts: Mapping[str, DatasetFacts], private: Mapping[str, PrivateFacts]) -> World:
    observed = {
        (name, column): (found.low, found.high)
        for name, table in private.items()
        for column, found in table.columns.items()
        if found.low is not None and found.high is not None
    }
    rows = {name: max(1, table.max_rows_per_unit) for name, table in private.items()}
    measured = [(name, column, found) for name, table in private.items() for column, found in table.columns.items()]
    nullable = frozenset((name, column) for name, column, found in measured if found.nulls)
    nans = frozenset((name, column) for name, column, found in measured if found.has_nan)
    return World(facts, observed, rows, measured=True, nullable=nullable, nans=nans)


def _released(typed: Typed, done: Mapping[int, Node]) -> AnyNode:
    """Return the plan above the boundaries, over the cells that may leave."""
    if id(typed) in done:
        return done[id(typed)]  # type: ignore[return-value]
    return with_inputs(typed.node, tuple(_released(t, done) for t in typed.inputs))  # type: ignore[return-value]


def _statistics(typed: Typed) -> list[str]:
    found = []
    for node in boundaries(typed):
        assert isinstance(node.boundary, Boundary)
        found += [s.function for s in node.boundary.statistics]
    return sorted(set(found))


def _closed(effective: Effective) -> list[Finding]:
    if effective.zone == "closed":
        return [Finding("closed-zone", "The owner releases nothing of this data automatically to you.")]
    return []


FAILED_OFTEN = Finding(
    "edge-budget",
    "Queries failed, or were stopped, so often that another one could tell of single people's rows.",
    "Ask with columns as they are stored, comparisons and statistics alone, or wait a day. If that does not help, ask, by an "
    "access request where one may be filed: the owner, whose log has this in red, can clear the count. Say what the queries that failed were for.",
)
_SENTENCES = {
    "dominance": (
        "In some cells of {columns} one or two people make up most of the number.",
        "Use larger groups, or ask the owner to declare bounds of the column.",
    ),
    "leverage": (
        "In some cells of {columns} a single person decides much of the result, or there are fewer than {many} people.",
        "Use larger groups.",
    ),
    "homogeneity": (
        "In some cells of {columns} nearly everybody has the same value.",
        "Use larger groups.",
    ),
    "held-values": (
        "Some value of the expression in {columns} is held by fewer than {k} people.",
        "Use fewer, wider bins.",
    ),
    "tied-values": (
        "The value that {columns} would show is held by fewer than {k} people.",
        "Count the values by group instead.",
    ),
    "edge-budget": (
        "Conditions on values in {columns} lay at the edge of {k} people too often, which may single somebody out.",
        "Ask without conditions on measured values, or ask the owner.",
    ),
    "history": (
        "Some numbers of {columns} would differ by fewer than {k} people from what was answered to you before.",
        "Ask about a population that differs by more people, or use what was answered before.",
    ),
    "copied-column": (
        "{columns} is made of a column that holds the same as another one for most people, and you were told of that one: what is told "
        "of both is about those in whom they differ.",
        "Ask about one of the two columns, or ask the owner.",
    ),
    "same-people": (
        "Some numbers of {columns} would be about all but fewer than {k} of the people of an answer that you have, and what is in "
        "the rows of one person may be alike.",
        "Ask about the very same people, or about others, or ask the owner whether the column varies from row to row.",
    ),
    "linear-audit": (
        "Some numbers of {columns} would, together with earlier answers, tell about fewer than {k} people.",
        "Use larger groups, or the groups of earlier questions.",
    ),
    "audit-capacity": (
        "So much was answered about this data that nobody can check what numbers of {columns} would add to it.",
        "Use larger groups, or the groups of earlier questions, or ask the owner.",
    ),
    "min-agg-size": ("Some cells of {columns} are about fewer than {k} people.", "Use larger groups."),
    "missing-values": (
        "In {columns} people whose values are missing would count as if they had one.",
        "Leave them out first, with .drop_nulls() of that column.",
    ),
    "uneven-means": (
        "In some cells of {columns} people have unequal numbers of rows: a mean of each person's rows weighs a row more where there are "
        "fewer, and beside their sum it would tell of those who have fewer or more than the others.",
        "Take sum() and len() of each person's rows, whose quotient is the mean of all rows, or the median of the means, or choose "
        "equally many rows of each person.",
    ),
    "uneven-rows": (
        "In some cells of {columns} rows are repeated, by a join, unpivot or explode, some more often than others.",
        "Aggregate the table whose rows repeat by itself, or choose as many of the other rows of each person.",
    ),
}


def _measured_finding(rule: str, columns: set[str], effective: Effective) -> Finding:
    reason, fix = _SENTENCES[rule]
    named = ", ".join(repr(c) for c in sorted(columns))
    return Finding(
        rule, reason.format(columns=named, k=effective.k, many=LEAST * effective.k), fix, tuple(sorted(columns))
    )
