"""Asking an owner for a fit without noise: bound to its rows, model and description, which are shown line by line."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from bastion_plan.errors import BastionError, InputError
from bastion_plan.models.fits import Optimizer, Schedule
from bastion_policy.code import plan_code
from bastion_policy.verdict import Finding
from bastion_policy.words import plan_words
from bastion_wire.messages import Push, RequestFit, RequestInfo

from bastion_server.channel.sessions import Incoming
from bastion_server.service import dossier
from bastion_server.service.fits import Terms
from bastion_server.service.journal import about
from bastion_server.service.latency import paced
from bastion_server.service.models import check_allowed
from bastion_server.service.notify import Notice
from bastion_server.service.review import MAX_REASON
from bastion_server.store import AccessRequest, Record, Shown

if TYPE_CHECKING:
    from bastion_server.service.training import TrainingService

#: operations of a model, and columns, that are named
_NAMED = 40


async def file_fit(training: TrainingService, request: Incoming, body: RequestFit) -> RequestInfo:
    """File an access request for a fit.

    Raises:
        InputError: input.reason, input.request.not-needed, input.request.refused, fit.*.
    """
    who, reason = request.principal.name, body.reason.strip()
    if not reason or len(reason) > MAX_REASON:
        msg = f"A request needs a reason of 1 to {MAX_REASON} characters."
        raise InputError(msg, code="input.reason", next_step="Say in a sentence what you need it for.")
    check_allowed(body.spec, training.settings)
    terms = await training.fits.terms(body.plan, body.model, body.spec, who)
    subject, review, store, journal = terms.subject, training.queries.review, training.store, training.journal
    if terms.outcome == "private":
        msg = "This fit needs nobody's approval: it is paid from the privacy budget."
        raise InputError(msg, code="input.request.not-needed", next_step="Run it.")
    known = store.requests.find(terms.fit, subject.versions, who, subject.policy_versions)
    if known is not None and (known.state in ("pending", "denied") or _in_force(known)):
        return review.info(known, who)
    if terms.outcome == "refuse":
        found = terms.finding or Finding("policy", "The policy does not allow it.")
        raise InputError(
            "The policy does not let the owner be asked for this.", code="input.request.refused", reason=found.reason,
            next_step=found.fix,
        )  # fmt: skip
    review._check_open(who)

    def record(kind: str, summary: str) -> list[Record]:
        now, joint = time.time(), subject.joint
        return about(subject.records, now=now, kind=kind, who=who, summary=summary, plan_hash=terms.fit, joint=joint)

    await journal.write(record("intent", "request for a fit"))

    # what is measured for the owner takes its time, and how long must not tell the requester of it
    async def measured(_: Incoming) -> Shown:
        figures = dict[str, float]()
        with suppress(BastionError):  # the owner may decide without measured figures
            figures = await training.queries.approval(subject, who)
        return await asyncio.to_thread(fit_shown, terms, figures)

    shown = await paced(request, subject.facts, time.monotonic(), measured)

    def change() -> tuple[tuple[AccessRequest, bool], list[Record]]:
        filed, new = store.requests.file(
            plan_hash=terms.fit, plan=body.plan, versions=subject.versions, policy_versions=subject.policy_versions,
            requester=who, owners=subject.owners, reason=reason, now=time.time(), shown=shown,
        )  # fmt: skip
        return (filed, new), record("request", f"{filed.id}: {reason}") if new else []

    filed, new = await journal.change(change)
    if new:
        names = tuple(subject.names[key] for key in subject.records)
        review.notifier.tell(Notice(filed.id, who, subject.owners, names, filed.created))
        for owner in subject.owners:
            past = await asyncio.to_thread(dossier.past, store, filed, owner)
            review.push(owner, Push("request", review.info(filed, owner, past), text=f"{who} asks to train: {reason}"))
    return review.info(filed, who)


def fit_shown(terms: Terms, figures: dict[str, float]) -> Shown:
    """Return what an owner is shown of a fit: the model and how it is trained, then the rows."""
    subject, spec = terms.subject, terms.spec
    shown = dossier.shown(subject, (terms.finding,) if terms.finding is not None else (), None, figures)
    lines = lines_of(terms)
    uses = {label: (*found, "training") for label, found in shown.uses.items()}
    words = (
        f"Train a model of {terms.graph.parameters:,} numbers without noise, to tell {', '.join(spec.labels[:5])}, on: "
        f"{plan_words(subject.bound.root, subject.names)}"
    )
    code = plan_code(subject.bound.root, subject.names) + "\n# then trained without noise:\n"
    code += "\n".join(f"# {line}" for line in lines)
    return msgspec.structs.replace(
        shown, code=code, words=words, uses=uses, expressions=(*lines, *shown.expressions)[: dossier.MAX_LINES],
        model=terms.model.name, spec=spec,
    )  # fmt: skip


def lines_of(terms: Terms) -> tuple[str, ...]:
    """Return a fit line by line."""
    graph, spec, made = terms.graph, terms.spec, terms.spec.optimizer
    counts = Counter(node.op for node in graph.nodes)
    ops = ", ".join(f"{name} {count}" for name, count in counts.most_common(_NAMED))
    frozen = sum(w.count for w in graph.weights if not w.trained)
    schedule = f"{spec.schedule.kind}{_changed(spec.schedule)}"
    optimizer = f"optimiser: {made.kind}, learning rate {made.lr:g}{_changed(made, 'lr')}; schedule: {schedule}"
    epochs = f"{spec.steps:,} steps"
    if spec.epoch:
        epochs += f", {spec.steps / spec.epoch:.3g} epochs of {spec.epoch:,}"
    inputs = [f"input {i + 1}: {_some(columns)}" for i, columns in enumerate(spec.inputs)]
    split = (
        f"{spec.split.test:.0%} of the people are kept for testing, the model sees the {spec.part} rows"
        if spec.split.test
        else "all rows"
    )
    leaving = (
        f"what leaves: {terms.graph.parameters:,} trained numbers, the loss of each epoch, and metrics on these rows, all of them "
        "exact; a model can be made so that they hold single rows' values"
    )
    return (
        f"model: {len(graph.nodes):,} operations ({ops}); {graph.parameters:,} numbers are trained"
        + (f", {frozen:,} are not" if frozen else "")
        + f"; a graph of {len(terms.model.graph):,} bytes, {terms.model.sealed.size:,} bytes of first weights",
        f"named {terms.model.name}",
        *inputs,
        f"label: {_some(spec.labels)}; loss: {spec.loss}",
        optimizer,
        f"{epochs}, batches of {spec.batch:,} people; {split}",
        "rows: each is taken for one person's"
        if terms.rows is not None and not terms.rows.by_person
        else "rows: by person",
        leaving,
    )


def _changed(made: Optimizer | Schedule, *shown: str) -> str:
    """Return what else is not as it is by itself."""
    usual = type(made)()
    names = [name for name in made.__struct_fields__ if name not in ("kind", *shown)]
    parts = [f", {name} {getattr(made, name)}" for name in names if getattr(made, name) != getattr(usual, name)]
    return "".join(parts)


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMED
    return ", ".join(name[:80] for name in names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _in_force(filed: AccessRequest) -> bool:
    grant = filed.grant
    return grant is not None and not grant.ended and grant.until > time.time()
