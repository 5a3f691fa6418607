"""What the server shows of itself: evidence about a client's nonce, its channel and its keys."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from typing import Protocol

from bastion_plan.errors import InputError
from bastion_tee.binding import NONCE, Binding, config_digest
from bastion_tee.evidence import Evidence
from bastion_wire.messages import PROTOCOL_VERSION, Shown
from nacl.public import PrivateKey

from bastion_server import __version__
from bastion_server.store import Store

#: pieces of evidence that a key may be released to, and for how many seconds
REMEMBERED, HOLDS = 1024, 3600.0


class Provider(Protocol):
    """Where evidence comes from (bastion_tee.providers)."""

    def evidence(self, report_data: bytes) -> Evidence:
        """Return evidence about 64 bytes; raises ServerError `server.evidence.*`."""


class Attestation:
    """Evidence for whoever asks.

    INVARIANT: the exchange key lives in this process' memory alone, made at its start: a dataset's key that is sealed to it is lost
    with the process, whoever has the disk.
    """

    def __init__(self, store: Store, provider: Provider | None) -> None:
        """Take where evidence comes from; None: there is none."""
        self._store, self._provider = store, provider
        self._exchange = PrivateKey.generate()
        self._lock = asyncio.Lock()
        self._made: OrderedDict[bytes, float] = OrderedDict()
        #: facts that evidence is about; "boot" is another at each start
        self.config = {"version": __version__, "protocol": str(PROTOCOL_VERSION), "boot": secrets.token_hex(16)}

    @property
    def possible(self) -> bool:
        """Whether there is evidence at all."""
        return self._provider is not None

    @property
    def exchange(self) -> PrivateKey:
        """The key that dataset keys are sealed to."""
        return self._exchange

    async def shown(self, nonce: bytes) -> Shown | None:
        """Return evidence about a client's nonce; None where there is none, or nobody asked.

        Raises:
            InputError: wire.nonce. ServerError: server.evidence.*
        """
        if not nonce or self._provider is None:
            return None
        if len(nonce) != NONCE:
            msg = f"A nonce has {NONCE} bytes."
            raise InputError(msg, code="wire.nonce", next_step="Draw fresh ones for each greeting.")
        keys = self._store.keys
        curve, exchange = keys.curve_public.decode(), bytes(self._exchange.public_key)
        binding = Binding(nonce, curve, exchange, keys.verify_key, config_digest(self.config))
        async with self._lock:  # a report of the platform is made one at a time
            evidence = await asyncio.to_thread(self._provider.evidence, binding.report_data())
        self._remember(evidence.digest, time.time())
        return Shown(evidence.encode(), nonce, curve, exchange, dict(self.config))

    def made(self, digest: bytes, now: float) -> bool:
        """Whether this process made the evidence of this digest, not long ago."""
        when = self._made.get(digest)
        return when is not None and now - when <= HOLDS

    def _remember(self, digest: bytes, now: float) -> None:
        self._made[digest] = now
        while len(self._made) > REMEMBERED:
            self._made.popitem(last=False)
