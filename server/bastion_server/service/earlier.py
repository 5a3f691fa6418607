"""What a scientist was told before of the columns that a denial is about, where history stands in its way."""

from __future__ import annotations

from collections.abc import Sequence

from bastion_policy.verdict import Finding
from bastion_wire.messages import AuditRecord, PastEvent

from bastion_server.service.catalogue import Subject
from bastion_server.store import Store

#: rules that compare with what was answered before
HISTORY = frozenset({"history", "copied-column", "same-people", "linear-audit", "audit-capacity", "edge-budget"})
MAX_EARLIER = 3
_LOOKED_AT = 200
_KINDS = ("outcome", "grant_used")


def earlier(
    store: Store, subject: Subject, who: str, findings: Sequence[Finding], columns: Sequence[str]
) -> tuple[tuple[PastEvent, ...], int]:
    """Return the requester's last answers about the same columns, newest first, and how many there are of late.

    None where no rule about history is told.

    INVARIANT: nothing but what this very requester asked and was told, chosen by column names: others of the audience may
    have asked what stands in the way, and are never named; nor does the choice say which answer it is.

    Args:
        findings: what the denial tells. columns: source columns of the query, "dataset id.column".
    """
    strict = any(record.facts.policy.effective(who).profile == "strict" for record in subject.records.values())
    if strict or not any(f.rule in HISTORY for f in findings if not f.private):
        return (), 0
    asked = set(columns)
    found: dict[str, AuditRecord] = {}
    for dataset in subject.records:
        for record in store.audit.show(dataset=dataset, who=who, kinds=_KINDS, limit=_LOOKED_AT):
            known = set(record.details.get("columns", ()))
            answered = record.summary.startswith("released") and record.who == who
            if answered and record.plan_hash != subject.plan_hash and (not known or not asked or known & asked):
                latest = found.get(record.plan_hash)
                if latest is None or latest.time < record.time:
                    found[record.plan_hash] = record
    newest = sorted(found.values(), key=lambda r: r.time, reverse=True)[:MAX_EARLIER]
    told = tuple(PastEvent(r.time, who, "released", str(r.details.get("words", "")), r.plan_hash) for r in newest)
    return told, len(found)
