"""What an owner needs to decide on a request: the query, its columns, figures, and what the requester asked before."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from bastion_policy.code import plan_code
from bastion_policy.plan_words import expressions_words
from bastion_policy.uses import PEOPLE, column_uses
from bastion_policy.verdict import Finding, Verdict
from bastion_policy.words import plan_words
from bastion_wire.messages import AuditRecord, PastEvent

from bastion_server.service.catalogue import Subject
from bastion_server.store import AccessRequest, Shown, Store

#: events of the past, and lines of expressions, that are shown
MAX_PAST, MAX_LINES = 40, 200
#: characters of a query in words that go into a record of the log
MAX_WORDS = 600
_KINDS = ("outcome", "grant_used", "request")
_FIGURES = ("cells", "hidden_cells", "merged_cells", "smallest_cell", "coverage")


def query_words(subject: Subject) -> str:
    """Return a query in plain words, short enough for the log."""
    words = plan_words(subject.bound.root, subject.names)
    return words if len(words) <= MAX_WORDS else words[: MAX_WORDS - 1] + "…"


def released_uses(subject: Subject) -> dict[str, tuple[str, ...]]:
    """Return what a release does with each column, by "dataset id.column"; hidden ones are masked, so nothing."""
    hidden = {f"{dataset}.{column}" for dataset, facts in subject.facts.items() for column in facts.hidden}
    return {label: uses for label, uses in column_uses(subject.bound, subject.facts).items() if label not in hidden}


def shown(
    subject: Subject, findings: tuple[Finding, ...], verdict: Verdict | None, approval: Mapping[str, float]
) -> Shown:
    """Return what owner and requester are shown of a request.

    verdict: measured, None where that failed. approval: what one would do, as far as that is known.
    """
    uses, roles = {}, {}
    for label, found in column_uses(subject.bound, subject.facts).items():
        dataset, _, column = label.partition(".")
        name = f"{subject.names[dataset]}.{column}" if column != PEOPLE else f"{subject.names[dataset]} (people)"
        uses[name] = found
        if column != PEOPLE:
            facts = subject.facts[dataset].column(column)
            roles[name] = f"{facts.role}{' (inferred)' if facts.inferred else ''}"
    if subject.joint:
        # INVARIANT: nobody may be shown what was measured of several owners' data, so it is not kept
        verdict, findings = None, tuple(f for f in findings if not f.private)
    figures = {} if subject.joint else _figures(subject, verdict, approval)
    return Shown(
        code=plan_code(subject.bound.root, subject.names),
        words=plan_words(subject.bound.root, subject.names),
        columns=tuple(roles),
        findings=tuple(f"{f.rule}: {f.reason}" for f in findings if not f.private),
        findings_private=(*(f"{f.rule}: {f.reason}" for f in findings if f.private), *_sentences(figures)),
        roles=roles,
        uses=uses,
        expressions=expressions_words(subject.bound.root)[:MAX_LINES],
        figures=figures,
    )


def as_of_now(shown: Shown, completed: float) -> Shown:
    """Return what is shown of a request whose approval would tell something else now. completed: see `QueryService.approval`."""
    figures = {name: figure for name, figure in shown.figures.items() if name != "completed"}
    figures |= {"completed": completed} if completed else {}
    words, others = set(_sentences(shown.figures)), shown.findings_private
    private = (*(line for line in others if line not in words), *_sentences(figures))
    return msgspec.structs.replace(shown, findings_private=private, figures=figures)


def follows(completed: float) -> str:
    """Return in words that something follows of people whom an approval does not show."""
    who = "1 person" if completed == 1 else f"{completed:.0f} people"
    return (
        f"it shows all of a group but {who}, and the requester has asked about that group: with a number"
        " they were told of it, what is not shown follows."
    )


def _figures(subject: Subject, verdict: Verdict | None, approval: Mapping[str, float]) -> dict[str, float]:
    found = {"people": max((p.units for p in subject.private.values()), default=0), **approval}
    if verdict is not None:
        facts: Mapping[str, float] = verdict.facts
        found |= {name: float(facts[name]) for name in _FIGURES if facts.get(name) is not None}
    return found


def _sentences(figures: Mapping[str, float]) -> list[str]:
    """Return the figures in words, for the owner."""
    said = []
    if "rows" in figures:
        said.append(f"The result has {figures['rows']:.0f} rows; the data is about {figures['people']:.0f} people.")
    if "cells" in figures:
        total = figures["cells"] + figures.get("hidden_cells", 0)
        said.append(
            f"Of {total:.0f} cells, {figures.get('hidden_cells', 0):.0f} fail the policy's rules"
            f"{_smallest(figures.get('smallest_cell', 0))}."
        )
    if count := figures.get("completed"):
        said.append(f"WARNING: {follows(count)}")
    return said


def _smallest(size: float) -> str:
    return f"; the smallest that passes is of {size:.0f} people or rows" if size else ""


def theirs(store: Store, filed: AccessRequest, owner: str) -> tuple[str, ...]:
    """Return the tables of a request that somebody owns, by id."""
    found = ((dataset, store.datasets.find(dataset)) for dataset in filed.versions)
    return tuple(dataset for dataset, table in found if table is not None and table.facts.owner == owner)


def past(store: Store, filed: AccessRequest, owner: str) -> tuple[PastEvent, ...]:
    """Return what the requester's audience asked of an owner's tables before, what came of it, and when; newest first."""
    people, mine = {filed.requester}, theirs(store, filed, owner)
    for dataset in mine:
        table = store.datasets.find(dataset)
        if table is not None:
            people |= set(store.audiences.with_(table.facts.domain, filed.requester))
    events: dict[tuple[float, str, str], PastEvent] = {}
    for dataset in mine:
        records = [
            r
            for who in sorted(people)
            for r in store.audit.show(dataset=dataset, who=who, kinds=_KINDS, limit=MAX_PAST)
        ]
        decisions = store.audit.show(dataset=dataset, kind="decision", limit=MAX_PAST)
        records += [r for r in decisions if r.details.get("requester") in people]
        for record in records:
            # a join is on record once for each of its tables
            if not _about(record, filed.id):
                events[record.time, record.who, record.summary] = _event(record)
    return tuple(sorted(events.values(), key=lambda e: e.time, reverse=True)[:MAX_PAST])


def _about(record: AuditRecord, request: str) -> bool:
    """Whether a record is of this very request."""
    return record.details.get("request") == request or record.summary.startswith(f"{request}:")


def _event(record: AuditRecord) -> PastEvent:
    words, what, _, rest = str(record.details.get("words", "")), *record.summary.partition(": ")
    match record.kind_of:
        case "request":
            what, text = ("asked", rest) if rest else (record.summary, "")
        case "decision":
            what, text = record.summary, ""
        case _:
            text = " ".join(part for part in (words, f"({rest})" if rest else "") if part)
    return PastEvent(record.time, record.who, what, text, record.plan_hash)
