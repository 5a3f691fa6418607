"""Who is in a step, where they stand in it, and who is for testing: drawn from cryptographic random numbers, and by keyed hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from bastion_server.training import drawing

Indices = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

_CHUNK = 1 << 22


def poisson(count: int, rate: float) -> Indices:
    """Return who of `count` people is in a step: each by themselves with probability `rate`, rounded down to 1/2**64."""
    if rate >= 1:
        return np.arange(count)
    # exact: a float64 times a power of two
    threshold = np.uint64(int(rate * 2.0**64))
    found = [np.flatnonzero(drawing.words(min(_CHUNK, count - i)) < threshold) + i for i in range(0, count, _CHUNK)]
    return np.concatenate(found) if found else np.arange(0)


def places(count: int, slots: int) -> Indices:
    """Return different slots for `count` people, drawn at random; count <= slots."""
    return np.argsort(drawing.words(slots), kind="stable")[:count]


def for_testing(units: Iterable[str | None], key: bytes, share: float, seed: int) -> Flags:
    """Return who is for testing: the keyed hash of whose rows they are is below the share.

    It depends on who it is, the share and the seed alone, not on what else is in the table: a person stays on one side when
    rows come and go, and nobody without the key can tell which.
    """
    threshold = int(share * 2.0**64)
    start = seed.to_bytes(8, "big", signed=True)
    made = (hashlib.blake2b(start + (b"-" if u is None else b"+" + u.encode()), digest_size=8, key=key) for u in units)
    return np.fromiter((int.from_bytes(h.digest(), "big") < threshold for h in made), dtype=np.bool_)
