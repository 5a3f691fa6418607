"""A policy as it is being written: whether it can be, what it means, and what it would make of usual queries.

All of it is worked out here from public facts, as often as one likes; nothing is asked of the server. The server checks
again, and more: what the data itself has to say to bounds and units.
"""

# ruff: noqa: S608 - this SQL becomes a plan here, and its names are quoted
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bastion_plan.bind import bind
from bastion_plan.errors import BastionError, PolicyError
from bastion_plan.nodes import Scan
from bastion_policy.checks import check_declared, check_rules
from bastion_policy.code import plan_code
from bastion_policy.facts import DatasetFacts
from bastion_policy.flow import static_verdict
from bastion_policy.model import from_toml
from bastion_policy.roles import RoleKind
from bastion_policy.toml import with_line
from bastion_policy.words import policy_words

from bastion.sql import parse_sql

#: for whom the samples are judged: nobody that a rule names
SOMEBODY = "somebody"


@dataclass(frozen=True)
class Sample:
    """A usual query, and its static verdict under a policy. outcome: release, review, refuse, or "private" (with noise)."""

    what: str
    code: str
    outcome: str
    reason: str = ""
    fix: str = ""


@dataclass(frozen=True)
class PolicyCheck:
    """What is known of a policy text without asking anybody.

    error: why it cannot be this table's; its `details["line"]` is the line, where it has one. facts: of the table under it.
    words: what it means. warnings: what its owner should know. samples: usual queries under it.
    """

    error: PolicyError | None = None
    facts: DatasetFacts | None = None
    words: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()


def check_policy(text: str, facts: DatasetFacts) -> PolicyCheck:
    """Check a policy text for a table.

    Args:
        text: TOML.
        facts: of the table, as they are.
    """
    try:
        policy = from_toml(text)
        try:
            check_rules(policy)
            changed = facts.with_policy(policy)
            check_declared(policy, changed.columns)
        except PolicyError as error:
            raise with_line(error, text) from None
        reasons = policy.unsupported()
        if reasons:
            msg = "This release cannot enforce the policy."
            raise with_line(
                PolicyError(msg, reason=" ".join(reasons), code="policy.unsupported", details={"path": "safe_zone"}), text
            )  # fmt: skip
        if changed.unit != facts.unit:
            msg = "The privacy unit of a table cannot be changed."
            raise with_line(
                PolicyError(
                    msg, reason="What was released counted other people.", code="policy.unit",
                    next_step="Upload the table again under another name.", details={"path": "unit"},
                ),
                text,
            )  # fmt: skip
    except PolicyError as error:
        return PolicyCheck(error)
    return PolicyCheck(None, changed, tuple(policy_words(policy)), tuple(policy.warnings()), tuple(samples(changed)))


def samples(facts: DatasetFacts) -> Iterator[Sample]:
    """Yield usual queries on a table with their static verdicts: what would be released, reviewed, refused."""
    for what, query in _queries(facts):
        try:
            plan = parse_sql(query, {"t": Scan(facts.id)}, lambda node: bind(node, {facts.id: facts}).schema)
            bound = bind(plan, {facts.id: facts})
            verdict = static_verdict(bound, {facts.id: facts}, SOMEBODY)
        except BastionError:
            continue
        outcome = str(verdict.outcome)
        if outcome == "release" and facts.effective(SOMEBODY).zone == "private":
            outcome = "private"
        lead = next((f for f in verdict.findings if not f.private), None) if outcome in ("review", "refuse") else None
        yield Sample(
            what, plan_code(bound.root, {facts.id: facts.name}), outcome,
            lead.reason if lead is not None else "", lead.fix if lead is not None else "",
        )  # fmt: skip


def _queries(facts: DatasetFacts) -> Iterator[tuple[str, str]]:
    """Yield (what it is, its SQL) of usual queries, over whatever kinds of columns there are."""
    quasi = _of(facts, RoleKind.QUASI, RoleKind.PUBLIC)
    measures = _of(facts, RoleKind.MEASURE)
    sensitive = _of(facts, RoleKind.SENSITIVE)
    identifiers = _of(facts, RoleKind.IDENTIFIER)
    hidden = _of(facts, RoleKind.HIDDEN)
    numbers = [c for c in measures if _numeric(facts, c)]
    yield "how many rows there are", "SELECT COUNT(*) AS n FROM t"
    for key in quasi[:1]:
        yield f"counts by {key}", f"SELECT {_q(key)}, COUNT(*) AS n FROM t GROUP BY {_q(key)}"
    if len(quasi) > 1:
        keys = f"{_q(quasi[0])}, {_q(quasi[1])}"
        yield f"counts by {quasi[0]} and {quasi[1]}", f"SELECT {keys}, COUNT(*) AS n FROM t GROUP BY {keys}"
    for value in numbers[:1]:
        by = f"{_q(quasi[0])}, " if quasi else ""
        group = f" GROUP BY {_q(quasi[0])}" if quasi else ""
        suffix = f" by {quasi[0]}" if quasi else ""
        for function, word in (("AVG", "mean"), ("SUM", "sum"), ("MEDIAN", "median"), ("MAX", "largest")):
            yield f"the {word} {value}{suffix}", f"SELECT {by}{function}({_q(value)}) AS v FROM t{group}"
        yield f"counts of those with {value} above 0", f"SELECT COUNT(*) AS n FROM t WHERE {_q(value)} > 0"
        yield f"counts by each value of {value}", f"SELECT {_q(value)}, COUNT(*) AS n FROM t GROUP BY {_q(value)}"
    for key in sensitive[:1]:
        yield f"counts by {key}, which is sensitive", f"SELECT {_q(key)}, COUNT(*) AS n FROM t GROUP BY {_q(key)}"
    for key in identifiers[:1]:
        yield f"counts by {key}, which tells people apart", f"SELECT {_q(key)}, COUNT(*) AS n FROM t GROUP BY {_q(key)}"
    for name in hidden[:1]:
        yield f"how many values {name} has, which is hidden", f"SELECT COUNT(DISTINCT {_q(name)}) AS n FROM t"
    yield "the first five rows", "SELECT * FROM t LIMIT 5"


def _of(facts: DatasetFacts, *kinds: RoleKind) -> list[str]:
    return [c.name for c in facts.columns if c.role.kind in kinds]


def _numeric(facts: DatasetFacts, name: str) -> bool:
    dtype = facts.column(name).dtype
    return bool(dtype.is_integer or dtype.is_float)


def _q(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def differing(before: Iterable[Sample], after: Iterable[Sample]) -> list[str]:
    """Return what fares otherwise, one line per sample."""
    was = {sample.what: sample.outcome for sample in before}
    return [f"{s.what}: {was[s.what]} -> {s.outcome}" for s in after if s.what in was and was[s.what] != s.outcome]
