"""The audit file: a header, then one frame per record; how it is read, and what a torn end looks like.

header   "BSTAUD1\\n" || 24 random bytes
frame    length of the payload (4 bytes) || first 4 bytes of SHA-256(length) || payload || chain (32 bytes)
chain    SHA-256(chain before || payload); before the first frame: SHA-256(header)

The length has a check of its own, so that a changed length is told apart from a frame that was cut off.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAGIC = b"BSTAUD1\n"
HEADER = len(MAGIC) + 24
CHAIN = 32
MAX_PAYLOAD = 1 << 20
_PREFIX = struct.Struct(">I4s")
OVERHEAD = _PREFIX.size + CHAIN


@dataclass(frozen=True)
class Damage:
    """Why reading stopped at `offset`. torn: the file merely ends within its last frame, as after a crash."""

    offset: int
    index: int
    torn: bool
    text: str


@dataclass(frozen=True)
class Frame:
    """One record as stored. offset: of its first byte. chain: hash over everything up to here."""

    index: int
    offset: int
    payload: bytes
    chain: bytes


def new_header() -> bytes:
    """Return the header of a new file."""
    return MAGIC + os.urandom(24)


def frame(payload: bytes, chain: bytes) -> tuple[bytes, bytes]:
    """Return the bytes of a frame, and the chain after it."""
    after = hashlib.sha256(chain + payload).digest()
    return _prefix(len(payload)) + payload + after, after


def read(file: BinaryIO) -> Iterator[Frame | Damage]:
    """Yield all good frames, then, if there is anything else in the file, one Damage."""
    header = file.read(HEADER)
    if len(header) < HEADER or not header.startswith(MAGIC):
        torn = len(header) < HEADER and MAGIC.startswith(header[: len(MAGIC)])
        yield Damage(0, 0, torn, "its header is incomplete" if torn else "it is not an audit log")
        return
    chain = hashlib.sha256(header).digest()
    offset, index = HEADER, 0
    while prefix := file.read(_PREFIX.size):
        if len(prefix) == _PREFIX.size:
            length, _ = _PREFIX.unpack(prefix)
            if length > MAX_PAYLOAD or prefix != _prefix(length):
                yield _bad_prefix(prefix, file, offset, index)
                return
            body = file.read(length + CHAIN)
            if len(body) == length + CHAIN:
                payload, stored = body[:length], body[length:]
                after = hashlib.sha256(chain + payload).digest()
                if after != stored:
                    yield Damage(offset, index, False, f"record {index} does not continue the hash chain")
                    return
                yield Frame(index, offset, payload, after)
                chain, index, offset = after, index + 1, offset + _PREFIX.size + len(body)
                continue
        yield Damage(offset, index, True, f"record {index} was cut off while it was written")
        return


def chain_of_header(header: bytes) -> bytes:
    """Return the chain before the first frame."""
    return hashlib.sha256(header).digest()


def _prefix(length: int) -> bytes:
    packed = struct.pack(">I", length)
    return packed + hashlib.sha256(packed).digest()[:4]


def _bad_prefix(prefix: bytes, file: BinaryIO, offset: int, index: int) -> Damage:
    """Zeros up to the end are blocks that the file system had reserved and never wrote: also a torn end."""
    if not any(prefix):
        while block := file.read(1 << 20):
            if any(block):
                break
        else:
            return Damage(offset, index, True, f"record {index} was never written")
    return Damage(offset, index, False, f"the length of record {index} is damaged")
