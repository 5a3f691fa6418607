"""Measuring a trained model: counts beside the data, paid noise on them, and what is made of the noisy counts.

INVARIANT: payment is on the disk before anything is counted, and a count that fails is one of nobody: how it failed is in the owner's
log alone, in a record that is written anyway, for how many there are is told. Noise is drawn once for these weights, this metric, part
and bound: asked again, it is the same answer for nothing.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
import weakref
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from bastion_plan.errors import BastionError, InputError
from bastion_plan.models.fits import LOSSES, METRICS, PARTS, FitSpec
from bastion_policy.private.accounting import MIN_RHO, Account, Cost
from bastion_policy.private.budget import shown
from bastion_policy.private.fits import SPENT
from bastion_policy.private.metrics import BINS, MetricNoise, length_of, noise_of, value_of
from bastion_policy.private.pricing import SMALLEST
from bastion_policy.verdict import Finding
from bastion_wire import messages as m

from bastion_server.channel.failures import log_incident
from bastion_server.channel.sessions import Incoming
from bastion_server.service.fits import Terms
from bastion_server.service.journal import about
from bastion_server.service.latency import paced, until_step
from bastion_server.service.running import nobody, rehearsed, rows_by
from bastion_server.store import Charge, Overspent
from bastion_server.store.runs import Run, RunFile
from bastion_server.store.uses import of_run

if TYPE_CHECKING:
    from bastion_server.service.training import TrainingService
    from bastion_server.training.lease import TrainingLease

#: numbers of a metric at most: a confusion matrix of the most classes
_MOST = 512 * 512


class MeasuringService:
    """Answers TestRun."""

    def __init__(self, training: TrainingService) -> None:
        self._training, self._store = training, training.store
        self._locks: weakref.WeakValueDictionary[tuple[str, str, str, float], asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )

    async def handle(self, request: Incoming, run: Run) -> None:
        """Answer with a Metric, a FitSummary or a Denial."""
        body, who = request.body, request.principal.name
        assert isinstance(body, m.TestRun)
        weights, bound = self._check(body, run)
        terms = await self._training.fits.terms(run.plan, run.model, run.spec, who, run)
        if (terms.subject.versions, terms.subject.policy_versions) != (run.versions, run.policy_versions):
            raise InputError(
                "The data of this fit, or its policy, has changed since.", code="input.dataset.changed",
                next_step="Begin a new fit.",
            )  # fmt: skip
        if not run.spec.private and not self._training.readable(run, now=True):
            await self._training.sealed(request, run)
            return
        if terms.account is not None:
            self._epsilon(terms.account, body)
        if body.mode == "summarize":
            await request.send(self._summary(terms, body, who))
            return
        key = (run.id, body.metric, body.part, bound)
        lock = self._locks.setdefault(key, asyncio.Lock())

        async def work(timed: Incoming) -> None:
            async with lock:
                await self._answer(timed, run, terms, weights, body, bound)

        await paced(request, terms.subject.facts, time.monotonic(), work)

    def _check(self, body: m.TestRun, run: Run) -> tuple[RunFile, float]:
        """Return the weights that are measured, and the bound of a row's loss."""
        spec, bound = run.spec, body.bound or run.spec.loss_bound
        several = LOSSES[spec.loss] == "bit" and len(spec.labels) > 1
        if body.mode not in ("run", "summarize"):
            msg = f"There is no mode {body.mode[:40]!r} of a measurement."
            raise InputError(msg, code="input.mode", next_step='Use "run" or "summarize".')
        goes = [name for name, some in METRICS.items() if spec.loss in some and (not several or name == "loss")]
        if body.metric not in goes:
            labels = " and several labels" if several else ""
            msg = f"There is no metric {body.metric[:40]!r} of a model with the loss {spec.loss}{labels}."
            raise InputError(
                msg, code="fit.metric", next_step=f"Use {'one of ' if len(goes) > 1 else ''}{', '.join(goes)}."
            )
        if body.part not in PARTS or (body.part == "test" and not spec.split.test):
            msg = f"There is no part {body.part[:40]!r} of this fit's rows."
            raise InputError(msg, code="fit.split", next_step="Use split(test=0.2) before training, or part='train'.")
        if not (math.isfinite(bound) and 0 < bound <= 1e6):
            raise InputError("The bound of a loss is a number above 0.", code="fit.loss", next_step="Leave it out.")
        weights = self._store.runs.file(run.id, "weights")
        if run.active or weights is None:
            raise InputError(
                "There are no trained weights of this fit yet.", code="train.running" if run.active else "train.nothing",
                next_step="Wait until it has ended." if run.active else "Resume it, or fit again.",
            )  # fmt: skip
        return weights, bound

    def _epsilon(self, account: Account, body: m.TestRun) -> float:
        wanted = body.epsilon or account.default
        if not (math.isfinite(wanted) and account.epsilon / SMALLEST <= wanted <= account.epsilon * (1 + 1e-9)):
            raise InputError(
                f"A measurement costs from {account.epsilon / SMALLEST:.3g} to {account.epsilon:.3g}.", code="input.epsilon",
                next_step=f"Use {account.default:.3g}, say.",
            )  # fmt: skip
        if account.price(wanted).rho_value < MIN_RHO:
            raise InputError(
                "With so small an epsilon the measurement would be noise alone.", code="input.epsilon",
                next_step=f"Use {account.default:.3g}, say.",
            )  # fmt: skip
        return wanted

    def _charges(self, terms: Terms, epsilon: float) -> tuple[dict[str, Charge], float]:
        """Return what a measurement is charged, and its rho."""
        assert terms.account is not None and terms.rows is not None
        rho = terms.account.price(epsilon).rho
        accounts = self._training.fits.accounts(self._training.fits.domains(terms.subject, terms.rows))
        return {d: Charge(Cost(rho), a.cap, a.order) for d, a in accounts.items()}, Cost(rho).rho_value

    def _summary(self, terms: Terms, body: m.TestRun, who: str) -> m.FitSummary:
        if terms.account is None:
            return m.FitSummary("review", "It is measured without noise, as its owner has approved.", affordable=True)
        epsilon = self._epsilon(terms.account, body)
        charges, rho = self._charges(terms, epsilon)
        return m.FitSummary(
            "private", epsilon=epsilon, delta=terms.delta, share=max(c.cost.rho / c.cap.rho for c in charges.values()),
            noise=_noise(terms.spec, body.metric, 2, rho).scale, affordable=self._training.fits.affordable(charges),
            budget=self._training.queries.private._of_domains(set(charges), who),
        )  # fmt: skip

    async def _answer(
        self, request: Incoming, run: Run, terms: Terms, weights: RunFile, body: m.TestRun, bound: float
    ) -> None:
        store, who = self._store, request.principal.name
        wanted = (body.epsilon or None) if terms.account is not None else 0.0
        place = (run.id, body.metric, body.part, bound, weights.step)
        kept = await asyncio.to_thread(store.runs.metric, *place, wanted)
        failed = ""
        if kept is None:
            try:
                metric, failed = await self._measure(run, terms, weights, body, bound, who)
            except Overspent:
                await self._training.deny(request, terms, self._overspent(terms))
                return
            data = msgspec.msgpack.encode(metric)
            kept = await asyncio.to_thread(store.runs.measured, *place, metric.epsilon, data, time.time())
        metric = msgspec.msgpack.decode(kept, type=m.Metric)
        if terms.subject.joint:  # how it failed is for who owns all of the data
            failed = ""
        how = f"epsilon {shown(metric.epsilon)}" if metric.noisy else "by approval"
        if not metric.noisy:
            await self._training.leaves(run)
        await until_step(request)
        await self._training.journal.write(
            about(
                run.versions, now=time.time(), kind="outcome", who=who, plan_hash=run.plan_hash,
                summary=f"{body.metric} of fit {run.id} on {body.part} rows ({how}){failed}", red=bool(failed),
                details={"run": run.id, "of": metric.epsilon},
            )
        )  # fmt: skip
        self._training.queries.catalogue.check_unchanged(terms.subject, who)
        await request.send(metric)

    def _overspent(self, terms: Terms) -> Finding:
        assert terms.account is not None and terms.rows is not None
        accounts = self._training.fits.accounts(self._training.fits.domains(terms.subject, terms.rows))
        left = min(a.left(self._store.ledger.standing(d).spent) for d, a in accounts.items())
        reason = (
            f"The privacy budget does not suffice: epsilon {shown(left)} is left of {shown(terms.account.epsilon)}."
        )
        return Finding(SPENT, reason, "Measure at a smaller cost, or what was measured before, which costs nothing.")

    async def _measure(
        self, run: Run, terms: Terms, weights: RunFile, body: m.TestRun, bound: float, who: str
    ) -> tuple[m.Metric, str]:
        """Pay, count, draw; also return how the counting failed, for the owner.

        Raises:
            Overspent: nothing was paid, nothing counted. BastionError: the same, for one with noise.
        """
        training, store = self._training, self._store
        noisy = terms.account is not None
        epsilon = self._epsilon(terms.account, body) if terms.account is not None else 0.0
        now, label, failed = time.time(), f"{body.metric} of fit {run.id} by {who}", ""
        summary = f"{body.metric} of fit {run.id} on {body.part} rows" + (
            f", epsilon {shown(epsilon)}" if noisy else ""
        )
        await training.journal.write(
            about(run.versions, now=now, kind="intent", who=who, summary=summary, plan_hash=run.plan_hash)
        )
        async with training.turn(who), await training.pool.acquire(who, label=label) as lease:
            fd = await asyncio.to_thread(
                store.sealed.load_into_memfd, weights.sealed, "weights", run.versions, of_run(run, "weights")
            )
            try:
                if not noisy:
                    rows = await training.rows(terms, who, f"rows of {label}")
                    counts, rho = await self._counted(lease, run, terms, rows, fd, body, bound, 0.0), 0.0
                else:
                    charges, rho = self._charges(terms, epsilon)
                    # INVARIANT: from the payment on nothing fails, or is heard to. Before it: a worker that reads rows, for that none is
                    # free says nothing of them, and a count of nobody, for what fails there fails whoever is there
                    nobodys = await self._counted(lease, run, terms, nobody(terms), fd, body, bound, rho)
                    await rehearsed(training.queries, terms, who, f"rows of {label}")
                    async with training.queries.lease(terms.subject, who, f"rows of {label}") as reader:
                        await asyncio.to_thread(
                            store.ledger.spend, charges, epsilon=epsilon, plan_hash=run.fit_hash, requester=who, now=now
                        )
                        try:
                            rows = await rows_by(reader, terms)
                            await reader.close()  # others may have its place
                            counts = await self._counted(lease, run, terms, rows, fd, body, bound, rho)
                            np.array(counts, dtype=np.int64)  # what is counted is a number
                        except Exception as error:  # noqa: BLE001 - whatever it is, it must not be told
                            log_incident("a count failed behind its payment")
                            code = error.code if isinstance(error, BastionError) else "server.internal"
                            counts, failed = nobodys, f"; failed: {code}; answered with noise as if nobody were there"
            finally:
                os.close(fd)
        return await asyncio.to_thread(_drawn, counts, terms, body, bound, epsilon, rho), failed

    async def _counted(
        self,
        lease: TrainingLease,
        run: Run,
        terms: Terms,
        rows: int,
        weights: int,
        body: m.TestRun,
        bound: float,
        rho: float,
    ) -> tuple[int, ...]:
        """Return the counts of the people in a file of rows, which is closed."""
        training = self._training
        try:
            await lease.load(
                run.graph, run.spec, training.split_key(terms), rows, weights, memory=training.settings.memory, most_rows=terms.most_rows
            )  # fmt: skip
            return (await lease.evaluate(body.metric, body.part, bound, _aside(terms.spec, body.metric, rho))).counts
        finally:
            os.close(rows)


def _noise(spec: FitSpec, metric: str, classes: int, rho: float) -> MetricNoise:
    return noise_of(metric, classes, rho, spec.rows, spec.expected / spec.rate)


def _aside(spec: FitSpec, metric: str, rho: float) -> float:
    """Return the deviation of the noise on how many rows are counted, 0 where it is not private. INVARIANT: it is paid with the metric."""
    return _noise(spec, metric, 2, rho).rows if spec.private else 0.0


def _drawn(
    counts: tuple[int, ...], terms: Terms, body: m.TestRun, bound: float, epsilon: float, rho: float
) -> m.Metric:
    """INVARIANT: how far a person moves the counts is worked out here, from how many there are, not taken from a worker."""
    if not 0 < len(counts) <= _MOST:
        counts = (0,) * length_of(body.metric, 2)
    scale, told = 0.0, counts
    if terms.account is not None:
        from bastion_server.private.mechanisms import gaussian

        classes = max(1, len(counts) // (2 * BINS)) if body.metric == "auc" else 2
        noise = _noise(terms.spec, body.metric, 2 if classes == 1 else classes, rho)
        scale = noise.scale
        exact = np.array(counts, dtype=np.int64)
        told = tuple(int(v) for v in gaussian(exact, scale, noise.norm, noise.rho))
    found = value_of(body.metric, told, scale=scale, bound=bound)
    matrix = tuple(tuple(float(v) for v in row) for row in found.matrix)
    return m.Metric(
        body.metric, found.value, matrix if body.metric == "confusion" else (), found.error, epsilon, body.part,
        noisy=terms.account is not None,
    )  # fmt: skip
