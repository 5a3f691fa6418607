"""Approved results: run once, then handed out from what was kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from bastion_plan.errors import ServerError

from bastion_server.service.result import Result
from bastion_server.store import Grant, KeptResult, SealedRef, Store
from bastion_server.store.uses import approved_by
from bastion_server.workers.lease import Answer


class ApprovedResults:
    """The kept results of a store, as tables that may leave."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, grant: Grant, run: Callable[[], Awaitable[Result]]) -> Result:
        """Return what the grant gave before, else what `run` gives now, which is kept before it leaves.

        Raises:
            ServerError: server.sealed.write, where it cannot be kept: what may have to be handed out again must not be
                drawn anew.
        """
        kept = await asyncio.to_thread(self._store.results.get, grant.id)
        if kept is not None:
            fd = await asyncio.to_thread(self._store.sealed.load_into_memfd, kept.sealed, "approved", grant.versions, approved_by(grant.id))
            return Result(Answer(b"", kept.height), fd)
        result = await run()
        try:
            await asyncio.to_thread(self._keep, grant, result)
        except BaseException:
            result.__exit__()
            raise
        return result

    async def prune(self) -> None:
        """Forget what is kept for grants that ended."""
        with suppress(ServerError):  # tried again at the next one, and at the start
            await asyncio.to_thread(self._store.results.prune)

    def _keep(self, grant: Grant, result: Result) -> None:
        under = self._store.ring.of(grant.versions)
        with result.opened() as data, self._store.sealed.writer(under, approved_by(grant.id)) as writer:
            for start in range(0, len(data), 8 << 20):
                with data[start : start + (8 << 20)] as part:
                    writer.write(part)
            ref = writer.commit()
        self._put(grant.id, KeptResult(ref, result.answer.height), ref, sealed=bool(under))

    def _put(self, grant: str, kept: KeptResult, ref: SealedRef, *, sealed: bool) -> None:
        try:
            self._store.results.put(grant, kept, time.time(), sealed=sealed)
        except BaseException:
            with suppress(OSError):
                self._store.sealed.remove(ref.name)
            raise
