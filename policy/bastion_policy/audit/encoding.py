"""States as bytes for the store: versioned, bounded, with the released rows; the echelon form is computed anew."""

from __future__ import annotations

import hashlib
import struct
import zlib

import numpy as np
from bastion_plan.errors import ServerError

from bastion_policy.audit.atoms import Atoms, Labels
from bastion_policy.audit.primes import draw
from bastion_policy.audit.space import CHUNK, Space
from bastion_policy.audit.state import AuditRules, AuditState, Capacity

VERSION = 2
#: the version without labels
APART = 3
_HEAD = struct.Struct("<4sHHQIII")  # magic, version, seed bytes, units, atoms, released rows, hidden cells
_MAGIC = b"BLAU"
_DIGEST = 32
_BITS, _NUMBERS = 0, 1


def most_bytes(capacity: Capacity) -> int:
    """Return the most bytes a state of this capacity takes (rows of weights: 8 bytes an atom; of ones: 1 bit)."""
    body = 4 * capacity.units + 8 * capacity.entries + capacity.rank + capacity.hidden
    return _HEAD.size + 0xFFFF + _DIGEST + body + body // 1000 + 64


def encode(state: AuditState, *, labels: bool = True) -> bytes:
    """Return the state without its rules. The bytes hold the secret seed: they never leave the server.

    labels: whether those of its atoms are among them; else they are kept elsewhere.
    """
    rows = (*state.released, *state.concealed)
    body = []
    for row in rows:
        if row.dtype == np.uint8:
            body += [bytes([_BITS]), np.packbits(row).tobytes()]
        else:
            body += [bytes([_NUMBERS]), row.astype("<f8").tobytes()]
    counts = (state.atoms.labels.size, state.atoms.sizes.size, len(state.released), len(state.concealed))
    head = _HEAD.pack(_MAGIC, VERSION if labels else APART, len(state.seed), *counts)
    # labels look like chance, and the writing is waited for: narrow, and not packed
    written = state.atoms.labels.astype(_narrow(state.atoms.sizes.size)).tobytes() if labels else b""
    text = b"".join([head, state.seed, written, zlib.compress(b"".join(body), 1)])
    return text + hashlib.sha256(text).digest()


def decode(text: bytes, rules: AuditRules, labels: Labels | None = None) -> AuditState:
    """Return the state that `encode` wrote, under `rules` (which may have changed since).

    labels: those of its atoms, where they are kept elsewhere.

    Raises:
        ServerError: bytes that are damaged, of another version, or beyond the capacity of `rules`. Without a state nothing is
            cleared.
    """
    capacity = rules.capacity
    if not _HEAD.size + _DIGEST <= len(text) <= most_bytes(capacity):
        raise _damaged("Its length is not possible.")
    if hashlib.sha256(text[:-_DIGEST]).digest() != text[-_DIGEST:]:
        raise _damaged("Its digest does not fit.")
    magic, version, length, units, count, released, hidden = _HEAD.unpack_from(text)
    if magic != _MAGIC or version not in ((1, VERSION) if labels is None else (APART,)):
        raise _damaged("It was written by another version.")
    over = released > capacity.rank or hidden > capacity.hidden or (released + hidden) * count > capacity.entries
    if over or units > capacity.units or count > capacity.atoms or length < 16:
        raise _damaged("It is beyond the capacity.")
    seed = text[_HEAD.size : _HEAD.size + length]
    most, at = (released + hidden) * (1 + 8 * count), _HEAD.size + length
    if version == 1:
        body = _inflated(text[at:-_DIGEST], 4 * units + most)
        written, body, narrow = body[: 4 * units], body[4 * units :], "<i4"
    else:
        narrow = _narrow(count)
        end = at + (units * np.dtype(narrow).itemsize if labels is None else 0)
        if end > len(text) - _DIGEST:
            raise _damaged("Its atoms are not complete.")
        written, body = text[at:end], _inflated(text[end:-_DIGEST], most)
    if labels is None:
        labels = np.frombuffer(written, narrow).astype(np.int32)
    if labels.size != units or (units and (labels.min() < 0 or labels.max() >= count)):
        raise _damaged("Its atoms are not complete.")
    sizes = np.bincount(labels, minlength=count).astype(np.int64)
    if not sizes.all() or (not units and count):
        raise _damaged("Its atoms are not complete.")
    rows = _rows(body, released + hidden, count)
    # INVARIANT: no row is lost on the way: those that were released are independent, and all enter again
    state = AuditState(rules, seed, Atoms(labels, sizes), Space.empty(draw(seed), count))
    for i in range(0, released, CHUNK):
        entered = state.entered(np.stack(rows[i : min(i + CHUNK, released)]).astype(np.float64))
        if isinstance(entered, tuple):
            raise _damaged("Its rows cannot be computed with.")
        state = entered
    if state.rank != released:
        raise _damaged("Its rows are not independent.")
    space = state.space
    for i in range(released, released + hidden, CHUNK):
        space = space.hiding(space.remainder(np.stack(rows[i : i + CHUNK]).astype(np.float64)))
    return AuditState(rules, seed, state.atoms, space, tuple(rows[:released]), tuple(rows[released:]))


def _narrow(atoms: int) -> str:
    """Return the type that numbers of so many atoms are written as."""
    return "<u1" if atoms <= 1 << 8 else "<u2" if atoms <= 1 << 16 else "<i4"


def _inflated(packed: bytes, most: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(packed, most + 1)
    except zlib.error as error:
        raise _damaged("It cannot be unpacked.") from error
    if len(body) > most or not stream.eof or stream.unused_data:
        raise _damaged("It cannot be unpacked.")
    return body


def _rows(body: bytes, count: int, atoms: int) -> list[np.ndarray]:
    rows: list[np.ndarray] = []
    at, bits = 0, (atoms + 7) // 8
    for _ in range(count):
        kind = body[at : at + 1]
        if kind == bytes([_BITS]) and len(body) >= at + 1 + bits:
            rows.append(np.unpackbits(np.frombuffer(body, np.uint8, bits, at + 1), count=atoms))
            at += 1 + bits
        elif kind == bytes([_NUMBERS]) and len(body) >= at + 1 + 8 * atoms:
            rows.append(np.frombuffer(body, "<f8", atoms, at + 1).astype(np.float64))
            at += 1 + 8 * atoms
        else:
            raise _damaged("Its rows are not complete.")
    if at != len(body) or not all(np.isfinite(r).all() for r in rows):
        raise _damaged("Its rows are not complete.")
    return rows


def _damaged(reason: str) -> ServerError:
    return ServerError("A stored audit cannot be used.", reason=reason, code="server.audit.bytes")
