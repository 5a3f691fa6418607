"""What an owner decided about a dataset, as a digest that both ends work out alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec
from bastion_policy.facts import DatasetFacts


def decided(facts: DatasetFacts, allow: Iterable[str]) -> bytes:
    """Return the SHA-256 of a dataset's facts (columns, roles, policy, version) and of who may see it (32 bytes)."""
    return hashlib.sha256(msgspec.msgpack.encode((facts, sorted(allow)))).digest()
