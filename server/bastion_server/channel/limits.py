"""How much one peer may ask of the server."""

from __future__ import annotations

import time
from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds per connection unless said otherwise; times in seconds, sizes in bytes."""

    sessions: int = 1024  #: of all identities
    sessions_per_identity: int = 32
    requests: int = 64  #: being answered at once
    request_bytes: int = 16 * MIB  #: of their headers together
    rate: float = 2000.0  #: requests per second of one identity, sustained
    burst: float = 4000.0
    handshake_rate: float = 20.0  #: per second of one identity, sustained
    handshake_burst: float = 400.0
    inline: int = 64 * 1024  #: a table up to this size comes with its answer
    chunks: int = 12  #: sent and not credited, over all streams
    stream_timeout: float = 30.0  #: without credit
    uploads: int = 2  #: at once
    upload_bytes: int = 1 << 40
    upload_timeout: float = 30.0  #: without a chunk
    unread: int = 14 * MIB  #: sent and not taken by the peer
    undelivered: int = 48 * MIB  #: received in parts of a message that does not end
    keepalive: float = 10.0  #: a running request is heard of at least this often
    poll: float = 0.25  #: how often the key directory is looked at
    handshake: float = 5.0
    heartbeat: float = 5.0
    heartbeat_timeout: float = 15.0


class Bucket:
    """A token bucket: `rate` per second, `burst` at most saved up."""

    __slots__ = ("_burst", "_rate", "_tokens", "_when")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst, self._tokens, self._when = rate, burst, burst, time.monotonic()

    def take(self) -> bool:
        """Use a token; False where none is left."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._when) * self._rate)
        self._when = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
