"""One fit while it runs: rows and model into a training worker, steps that were paid before, checkpoints, an end.

What fails, and what that tells. What is wrong with a model or a description is told, and costs nothing. Everything else that
happens once the rows are read may depend on them, and whether it happened would tell of them without noise. So a private fit that
fails (memory, time, a worker that died) goes on as if nobody were in the table: the same steps, the same price, noise alone. Nothing
says so to who began it; the record of how the fit ended is red, and says so to the owner. As for queries (private.py), this is what is left
of a risk, not a way of working: what rows hold is not to make a fit fail in the first place (data.py, clipping.py), and how many there are
neither (fits.py).

INVARIANT: steps are on the ledger before a worker is asked for them, and nothing is paid back: not after a crash, not where the
fit is stopped. Losses, progress and weights leave by `info` and `GetWeights` alone.
"""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl
from bastion_plan.errors import AttestationError, BastionError, InputError, ServerError
from bastion_policy.private.rows import PLACE, UNIT
from bastion_policy.private.subsampled import Mechanism, epsilon_of_fit
from bastion_policy.verdict import ReleaseNote

from bastion_server.channel.failures import log_incident
from bastion_server.engine.dtypes import to_polars
from bastion_server.private.rehearsal import rehearse
from bastion_server.service.fits import Terms
from bastion_server.service.latency import leaves_after, timed
from bastion_server.service.queries import _DATA_DEPENDENT, QueryService, _measured
from bastion_server.service.uploads import seal
from bastion_server.store import Overspent
from bastion_server.store.runs import DONE, FAILED, RESTARTED, STOPPED, Run
from bastion_server.store.uses import of_run
from bastion_server.workers import memfd

if TYPE_CHECKING:
    from bastion_server.service.training import TrainingService
    from bastion_server.training.lease import TrainingLease
    from bastion_server.training.messages import Stepped
    from bastion_server.workers.lease import Lease

#: steps that are paid at once at least, where so many are left
INSTALMENT = 50
#: seconds that the steps of one message to the worker take, about; and between two pushes
CHUNK, PUSH = 0.5, 0.25
#: seconds after which a checkpoint is kept at the end of an epoch, and anywhere
EPOCH_CHECKPOINT, CHECKPOINT = 5.0, 30.0
#: seconds between two looks at whether a fit may go on while its worker is at a step
WATCH = 1.0
#: workers that a fit may use up
ATTEMPTS = 5
#: losses that are shown of one fit, and columns that the log names
MAX_LOSSES, MAX_COLUMNS = 1000, 200
FAILED_PROBLEM = (
    "The fit failed on the server. Why may depend on single people's rows, so only the owner's log says it. Use smaller "
    "batches or a smaller model, or resume it from its last checkpoint."
)


@dataclass
class Halted(Exception):
    """A fit ends before its last step, with what was done kept."""

    code: str
    problem: str


def open_words(error: BastionError) -> bool:
    """Whether an error of a worker speaks of the model and the description alone."""
    return error.code.partition(".")[0] in ("model", "fit", "train") or error.code == "server.worker.busy"


class Running:
    """One fit in progress. `stop` ends it at a safe point, `kill` at once."""

    def __init__(self, service: TrainingService, run: Run, terms: Terms) -> None:
        self._service, self._store = service, service.store
        self.run, self.terms = run, terms
        self.who = run.requester
        self.rate = 0.0
        self._ahead = run.credit  # steps that are paid and that no worker was asked for yet
        self._losses = list(run.losses)
        self._stop: Halted | None = None
        self._lease: TrainingLease | None = None
        self._asked = 0  # paid steps that a worker is at
        self._nobody = ""  # how it failed, where it goes on without anybody
        self._pushed = 0.0
        self._reason, self._tight = "", 0.0  # of a failure, for the log alone; epsilon by numerical composition
        self._domains = service.fits.domains(terms.subject, _rows(terms)) if run.spec.private else ()
        self.epoch = max(run.spec.epoch or run.spec.steps, -(-run.spec.steps // MAX_LOSSES))

    def stop(self, code: str, problem: str) -> None:
        """End after the steps it is at."""
        self._stop = self._stop or Halted(code, problem)

    def kill(self) -> None:
        """End now; nothing is kept."""
        self.stop("train.stopped", "The fit was stopped.")
        if self._lease is not None:
            self._lease.kill()

    async def work(self) -> None:
        """Run to an end, whatever it is; never raises but when cancelled."""
        state, code, problem, red = DONE, "", "", False
        try:
            await self._service.journal.write(self._records("intent", f"fit {self.run.id}: {self.run.words}"))
            await self._train()
        except Halted as halted:
            state, code, problem = STOPPED, halted.code, halted.problem
        except asyncio.CancelledError:
            told = self._stop or Halted(*RESTARTED)
            state, code, problem = STOPPED, told.code, told.problem
        except BastionError as error:
            state, code, problem, red = self._failed(error)
        except Exception:  # noqa: BLE001 - whatever it was, it must not be told
            log_incident("a fit failed")
            state, code, problem, red = FAILED, "train.failed", FAILED_PROBLEM, True
        with suppress(
            BastionError
        ):  # a store that cannot be written says so to those who ask; a restart marks it as stopped
            await asyncio.shield(asyncio.ensure_future(self._ended(state, code, problem, red)))

    def _failed(self, error: BastionError) -> tuple[str, str, str, bool]:
        if self._stop is not None and error.code.startswith("interrupted"):
            return STOPPED, self._stop.code, self._stop.problem, False
        if open_words(error):
            words = " ".join(w for w in (error.message, error.reason, error.next_step) if w)
            return FAILED, error.code, words, False
        self._reason = error.code
        return FAILED, "train.failed", FAILED_PROBLEM, True

    async def _ended(self, state: str, code: str, problem: str, red: bool) -> None:
        store, run = self._store, self.run.id
        await self._noted()
        self.run = await asyncio.to_thread(
            partial(
                store.runs.end,
                run,
                state,
                time.time(),
                code=code,
                problem=problem,
                credit=self._ahead,
                tight=self._tight,
            )
        )
        # how it failed is for who owns all of the data
        reason, nobody = (code, "") if self.terms.subject.joint else (self._reason or code, self._nobody)
        # INVARIANT: as many records, failed or not, and at the same times: how many there are is told
        words = f"fit {run} {state}" + (f": {reason}" if reason else "") + nobody
        details = {
            "run": run, "steps": self.run.step, "paid": self.run.paid, "epsilon": self.run.spent, "of": self.run.spec.epsilon,
            "columns": self._columns(),
        }  # fmt: skip
        await self._service.journal.write(
            self._records("outcome", words, red=red or bool(nobody), details=details)
        )
        self._push(last=True)

    # -- the way

    async def _train(self) -> None:
        async with self._service.turn(self.who):
            self._check()
            for attempt in range(ATTEMPTS):
                try:
                    await self._attempt()
                    return
                except BastionError as error:
                    last = attempt + 1 == ATTEMPTS
                    # a disk that cannot be written, say, tells of nobody: that is an ordinary failure
                    telling = self.run.spec.private and error.code in _DATA_DEPENDENT
                    if last or not telling or self._stop is not None:
                        raise
                    # INVARIANT: whether a private fit fails is no answer: it goes on, and looks the same
                    log_incident("a fit with noise failed, and goes on")
                    self._nobody = self._nobody or f"; failed: {error.code}; went on with noise as if nobody were there"
                # what was paid for steps that came to nothing pays for as many of nobody's: the price is the same as well
                self._ahead, self._asked = self._ahead + self._asked, 0

    async def _attempt(self) -> None:
        label = f"fit {self.run.id} by {self.who}"
        async with await self._service.pool.acquire(self.who, label=label) as lease:
            self._lease = lease
            await asyncio.to_thread(self._store.runs.begin, self.run.id, self.run.step)
            self.run = self._store.runs.get(self.run.id)
            if not self._nobody:
                self._push(last=True)
            started = time.monotonic()
            step = await self._loaded(lease)
            if timed_any(self.terms, self.who):  # how long rows take to be read depends on how many there are
                taken = time.monotonic() - started
                await asyncio.sleep(leaves_after(taken) - taken)
            if self._nobody and step < self.run.step:
                # without anybody's rows: steps that tell nothing, and that were paid when they were done before
                step = (await self._watched(lease.steps(self.run.step - step, self.run.sigma), lease)).step
            try:
                step, finite = await self._steps(lease, step)
            except Halted as halted:
                if halted.code != "train.locked":  # without the key nothing can be kept
                    await self._kept(lease, self.run.step)
                raise
            if not finite:
                raise InputError(
                    "The weights are no numbers any more.", code="train.diverged", reason="The learning rate is too high.",
                    next_step="Use a smaller learning rate, then fit again.",
                )  # fmt: skip
            await self._kept(lease, step)

    async def _loaded(self, lease: TrainingLease) -> int:
        """Bring rows and model into the worker; returns the step it is at."""
        run, store = self.run, self._store
        label = f"rows of fit {run.id} by {self.who}"
        rows = nobody(self.terms) if self._nobody else await self._service.rows(self.terms, self.who, label)
        try:
            file = store.runs.file(run.id, "checkpoint")
            ref = file.sealed if file is not None else self.terms.model.sealed
            use = of_run(run, "checkpoint")
            # what a scientist sent is under no owner's key
            under = run.versions if file is not None else ()
            weights = await asyncio.to_thread(store.sealed.load_into_memfd, ref, "weights", under, use)
            try:
                loaded = await lease.load(
                    run.graph, run.spec, self._service.split_key(self.terms), rows, weights,
                    memory=self._service.settings.memory, checkpoint=file is not None, sigma=run.sigma, most_rows=self.terms.most_rows,
                )  # fmt: skip
            finally:
                os.close(weights)
        finally:
            os.close(rows)
        return loaded.step

    async def _steps(self, lease: TrainingLease, step: int) -> tuple[int, bool]:
        run, spec = self.run, self.run.spec
        paced = timed_any(self.terms, self.who)
        # an estimate from public facts alone decides how many steps the first message asks for
        size, finite, saved = 1, True, float("-inf")
        began = time.monotonic()
        while step < spec.steps and finite:
            self._check()
            if spec.private and not self._ahead:
                await self._pay_most(min(spec.steps - step, max(INSTALMENT, round(self.rate))))
            count = min(size, spec.steps - step, self.epoch - step % self.epoch)
            if spec.private:
                count = min(count, self._ahead)
                self._ahead, self._asked = self._ahead - count, count
            started = time.monotonic()
            stepped = await self._watched(lease.steps(count, run.sigma), lease)
            self._asked = 0
            taken = time.monotonic() - started
            if paced:  # beside what empty places hide: a processor may take longer for some numbers
                told = leaves_after(taken)
                await asyncio.sleep(told - taken)
                taken = told
            size = max(1, min(2 * size, round(count * CHUNK / max(taken, 1e-3))))
            self.rate = count / max(taken, 1e-3)
            self._lost(step, count, stepped.loss)
            step, finite = stepped.step, stepped.finite
            self.run = replace(self.run, step=step, losses=tuple(self._losses))
            await self._service.leaves(self.run)
            self._push()
            now = time.monotonic()
            due = now - saved > EPOCH_CHECKPOINT if step % self.epoch == 0 else now - max(saved, began) > CHECKPOINT
            if finite and step < spec.steps and due:
                await self._save(lease, "checkpoint", step)
                await self._noted()
                saved = time.monotonic()
        return step, finite

    async def _watched(self, work: Coroutine[Any, Any, Stepped], lease: TrainingLease) -> Stepped:
        """Wait for steps, and end the worker where they do not come to an end and the fit may not go on."""
        task, late = asyncio.ensure_future(work), 0.0
        try:
            while not (await asyncio.wait([task], timeout=WATCH))[0]:
                try:
                    self._check()
                except Halted as halted:
                    self._stop = halted
                    late += WATCH
                    if late > self._service.settings.grace:
                        lease.kill()
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    async def _noted(self) -> None:
        """Write down how far it is."""
        await asyncio.to_thread(self._store.runs.advance, self.run.id, self.run.step, self._losses)

    def _lost(self, step: int, count: int, loss: float | None) -> None:
        """Add the mean loss of some steps to that of their epoch."""
        epoch = step // self.epoch
        del self._losses[epoch + 1 :]
        if epoch < len(self._losses) and step % self.epoch == 0:
            del self._losses[epoch]  # run once more after a resume
        if epoch >= len(self._losses):
            self._losses.append((loss, count))
            return
        before, of = self._losses[epoch]
        mean = None if loss is None or before is None else (before * of + loss * count) / (of + count)
        self._losses[epoch] = (mean, of + count)

    def _check(self) -> None:
        """Raise where it may not go on."""
        if self._stop is not None:
            raise self._stop
        if not (self._service.known(self.who) and self._service.is_mine(self.run, self.who)):
            raise Halted("train.stopped", "The key that started this fit was revoked.")
        try:
            self._service.queries.catalogue.check_unchanged(self.terms.subject, self.who)
        except InputError:
            raise Halted("train.changed", "The data of this fit, or its policy, was changed. Fit again.") from None
        except (ServerError, AttestationError):
            words = (
                "The owner took back the key of this fit's data. What was trained since its last checkpoint is gone."
            )
            raise Halted("train.locked", words) from None
        if self.run.grant and not self._service.holds(self.run):
            raise Halted("train.grant", "The owner's approval has ended. Ask again.")

    async def _pay_most(self, steps: int) -> None:
        """Charge so many steps, or half of them, and so on: what is left of a budget is used up."""
        while True:
            try:
                return await self._pay(steps)
            except Halted:
                if steps == 1:
                    raise
                steps //= 2

    async def _pay(self, steps: int) -> None:
        """Charge steps, before anybody is asked for them."""
        run, spec, store = self.run, self.run.spec, self._store
        mechanism = Mechanism(spec.rate, run.sigma, steps)

        def pay() -> None:
            with store.transaction():
                charges = self._service.fits.charges_of(self._domains, mechanism)
                paid = store.runs.get(run.id).paid + steps
                alone = epsilon_of_fit(spec.rate, run.sigma, paid, run.delta)
                share = alone - epsilon_of_fit(spec.rate, run.sigma, paid - steps, run.delta)
                store.ledger.spend(charges, epsilon=share, plan_hash=run.fit_hash, requester=self.who, now=time.time())
                store.runs.pay(run.id, steps, self._domains, alone)

        try:
            # shielded: what is on the ledger must be counted here, too
            await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(pay)))
        except Overspent:
            raise Halted(
                "train.budget", "The privacy budget of this data has run out. What was trained until then is kept."
            ) from None
        self._ahead += steps
        paid = store.runs.get(run.id)
        self.run = replace(self.run, paid=paid.paid, spent=paid.spent)

    # -- files

    async def _kept(self, lease: TrainingLease, step: int) -> None:
        """Keep where a fit ended: a checkpoint to go on from, and its weights."""
        if step == 0:
            return
        for kind in ("checkpoint", "weights"):
            await self._save(lease, kind, step)
        spec = self.run.spec
        if spec.private:
            with suppress(BastionError):  # a further word on what was spent, no more
                self._tight = await lease.tight(spec.rate, self.run.sigma, self.run.paid, self.run.delta)

    async def _save(self, lease: TrainingLease, kind: str, step: int) -> None:
        fd = await lease.save(kind == "checkpoint")

        def keep() -> None:
            under = self._store.ring.of(self.run.versions)
            ref = seal(self._store, fd, os.fstat(fd).st_size, under, of_run(self.run, kind))
            try:
                self._store.runs.keep(self.run.id, kind, ref, step, time.time())
            except BaseException:
                self._store.sealed.remove(ref.name)
                raise

        keeping = asyncio.ensure_future(asyncio.to_thread(keep))
        try:
            await asyncio.shield(keeping)
        finally:
            await asyncio.wait([keeping])
            os.close(fd)

    # -- telling

    def _push(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if last or now - self._pushed >= PUSH:
            self._pushed = now
            self._service.tell(self.run, self.rate)

    def _columns(self) -> list[str]:
        names = self.terms.subject.names
        parts = (label.partition(".") for label in _rows(self.terms).columns)
        return [f"{names.get(d, d)}.{c}" for d, _, c in parts][:MAX_COLUMNS]

    def _records(self, kind: str, summary: str, *, red: bool = False, details: dict[str, Any] | None = None) -> Any:
        return self._service.queries._records(
            self.terms.subject, kind, self.who, summary, now=time.time(), red=red, details=details
        )


def _rows(terms: Terms) -> Any:
    assert terms.rows is not None
    return terms.rows


def timed_any(terms: Terms, who: str) -> bool:
    """Whether the time that steps take is kept to steps."""
    return any(timed(facts, who) for facts in terms.subject.facts.values())


def nobody(terms: Terms) -> int:
    """Return the descriptor of a sealed memory file with the columns of a fit and nobody's rows; the caller closes it."""
    kinds = {name: to_polars(terms.subject.bound.schema[name]) for name in terms.spec.columns}
    buffer = io.BytesIO()
    pl.DataFrame(schema={**kinds, UNIT: pl.Int64(), PLACE: pl.Int64()}).write_ipc(buffer, compression="uncompressed")
    return memfd.sealed(buffer.getvalue(), "rows")


async def rows_by(lease: Lease, terms: Terms) -> int:
    """Return the descriptor of a sealed memory file with the rows of a fit with noise, read by a worker that has its tables."""
    answer, fd = await lease.run_to_file(_rows(terms).plan)
    return fd if fd >= 0 else memfd.sealed(answer, "rows")


async def rehearsed(queries: QueryService, terms: Terms, who: str, label: str) -> None:
    """Tell of a plan of rows that fails whatever the rows are: read later, it would be a fit of nobody that is paid for.

    In a worker of its own: what people's rows are read in is not the asker's to use up.

    Raises:
        InputError: fit.plan.
    """
    try:
        async with await queries.pool.acquire(who, label=label) as lease:
            await rehearse(lease, (_rows(terms).plan,), terms.subject.facts)
    except InputError as error:
        raise InputError(error.message, code="fit.plan", reason=error.reason, next_step=error.next_step) from None


async def rows_file(service: TrainingService, terms: Terms, who: str, label: str) -> int:
    """Return the descriptor of a sealed memory file with the rows of a fit; the caller closes it."""
    queries, plan = service.queries, _rows(terms).plan
    if terms.spec.private:
        await rehearsed(queries, terms, who, label)
        async with queries.lease(terms.subject, who, label) as lease:
            return await rows_by(lease, terms)
    # what an owner lets leave without noise enters the history of who gets it
    async with queries.histories.turn(terms.subject, who), queries.lease(terms.subject, who, label) as lease:
        history = await queries.histories.of(terms.subject, who, partial(_measured, lease))
        await queries._witness(lease, terms.subject, who, history)
        result = await queries._kept(history, lease, plan, ReleaseNote())
        if result.fd < 0:
            return memfd.sealed(result.answer, "rows")
        fd, result.fd = result.fd, -1
        return fd
