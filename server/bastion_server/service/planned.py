"""What a fit would take of a training worker, found out on nobody's rows before anything is paid."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from bastion_plan.errors import ServerError

from bastion_server.service.fits import Terms
from bastion_server.service.running import nobody

if TYPE_CHECKING:
    from bastion_server.service.training import TrainingService

#: seconds to wait for a worker, which may be in the making
PATIENCE = 60.0


async def memory_of(training: TrainingService, terms: Terms, who: str) -> int:
    """Return the bytes that a pass of a step is planned to take; 0 where all workers are at fits.

    The model is loaded as a fit would load it, on a table without rows: so what is wrong with model or description is told here,
    for nothing.

    Raises:
        PlanError, InputError: model.*, fit.*.
    """
    if training.full:  # it is an estimate: nobody waits for a fit to end
        return 0
    try:
        lease = await training.pool.acquire(who, label=f"estimate by {who}", timeout=PATIENCE)
    except ServerError as error:
        if error.code != "server.worker.busy":
            raise
        return 0
    async with lease:
        rows = nobody(terms)
        try:
            weights = await asyncio.to_thread(training.store.sealed.load_into_memfd, terms.model.sealed, "weights")
            try:
                memory = training.settings.memory
                loaded = await lease.load(
                    terms.model.graph, terms.spec, bytes(32), rows, weights, memory=memory, sigma=terms.sigma, most_rows=terms.most_rows
                )  # fmt: skip
            finally:
                os.close(weights)
        finally:
            os.close(rows)
        return loaded.memory
