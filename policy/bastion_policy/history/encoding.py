"""Pasts and rosters as bytes for the store: versioned, checked when read."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from bastion_plan.errors import ServerError

from bastion_policy.audit import AuditRules, decode, encode
from bastion_policy.history.hidden import Hidden
from bastion_policy.history.near import Cells
from bastion_policy.history.past import Channel, Past
from bastion_policy.history.roster import Roster
from bastion_policy.history.sets import Items
from bastion_policy.history.vintages import Vintage

VERSION = 7
#: the version before, which can be read
BEFORE = 6
#: partitions that are written together
BLOCK = 32
#: arrays beyond this are not unpacked (2 GiB)
MOST = 1 << 31
#: bytes up to which arrays are compressed
PACKED = 1 << 16


def pack_past(past: Past) -> bytes:
    """Return a past as bytes. They hold who is in which population and the audit's secrets: they never leave the server."""
    # the same labels are those of several channels, and of their audits
    labels: dict[int, tuple[int, Items]] = {}
    channels = {name: _channel(channel, labels) for name, channel in past.channels.items()}
    wholes = [[*key, stands] for key, stands in past.wholes.items()]
    body = {"v": VERSION, "channels": channels, "wholes": wholes, "edges": past.edges, "voided": past.voided}
    body |= {"settled": sorted(past.settled), "picked": past.picked}
    body |= {"labels": [_array(found) for _, found in labels.values()]}
    return msgspec.msgpack.encode(body)


def unpack_past(text: bytes) -> Past:
    """Return the past that `pack_past` wrote.

    Raises:
        ServerError: server.history.bytes, damaged or of another version. Without its history nothing is released.
    """
    body = _body(text)
    try:
        labels = [_read(found) for found in body.get("labels", ())]
        channels = {name: _read_channel(found, labels) for name, found in body["channels"].items()}
        wholes = {(d, v, c): stands for d, v, c, stands in body["wholes"]}
        return Past(channels, wholes, tuple(body["edges"]), body["voided"], frozenset(body["settled"]), body["picked"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _damaged() from error


def pack_roster(roster: Roster) -> bytes:
    """Return a roster as bytes."""
    arrays = {name: _array(getattr(roster, name)) for name in ("keys", "order", "unit", "content", "table", "first")}
    versions = [[dataset, version, _array(items)] for (dataset, version), items in roster.versions.items()]
    vintages = [
        [dataset, version, _array(held.items)]
        + [{column: _array(found) for column, found in part.items()} for part in (held.marks, held.changed)]
        for (dataset, version), held in roster.vintages.items()
    ]
    body = {"v": VERSION, **arrays, "most": roster.most, "tables": roster.tables, "versions": versions}
    return msgspec.msgpack.encode(body | {"vintages": vintages})


def unpack_roster(text: bytes) -> Roster:
    """Return the roster that `pack_roster` wrote.

    Raises:
        ServerError: server.history.bytes.
    """
    body = _body(text)
    try:
        versions = {(d, v): _read(items) for d, v, items in body["versions"]}
        arrays = {name: _read(body[name]) for name in ("keys", "order", "unit", "content", "table", "first")}
        vintages = {
            (d, v): Vintage(_read(items), *({column: _read(found) for column, found in part.items()} for part in parts))
            for d, v, items, *parts in body["vintages"]
        }
        return Roster(most=body["most"], tables=tuple(body["tables"]), versions=versions, vintages=vintages, **arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged() from error


def _channel(channel: Channel, labels: dict[int, tuple[int, Items]]) -> dict[str, Any]:
    audit = channel.audit

    def number(of: Items) -> int:
        return labels.setdefault(id(of), (len(labels), of))[0]

    rules = (
        None
        if audit is None
        else [audit.rules.k, audit.rules.pairs, audit.rules.share, audit.rules.tau, audit.rules.people]
    )
    return {
        "labels": number(channel.labels),
        "sizes": _array(channel.sizes),
        "blocks": _blocks(channel.parts),
        "plans": channel.plans,
        "hidden": [_array(channel.hidden.items), _array(channel.hidden.starts)],
        "rules": rules,
        "audit": b"" if audit is None else encode(audit, labels=False),
        "atoms": None if audit is None else number(audit.atoms.labels),
    }


def _read_channel(found: dict[str, Any], kept: list[Items]) -> Channel:
    labels = kept[found["labels"]] if "blocks" in found else _read(found["labels"])
    sizes = _read(found["sizes"])
    parts = _read(found["parts"]) if "parts" in found else _read_blocks(found["blocks"], sizes.size)
    if sizes.sum() != labels.size or parts.shape[1:] != sizes.shape or (labels.size and labels.max() >= sizes.size):
        raise _damaged()
    (items, starts), plans = (_read(part) for part in found["hidden"]), tuple(found["plans"])
    hidden = Hidden.of(np.split(items, starts)[1:])
    if len(plans) != parts.shape[0]:
        raise _damaged()
    channel = Channel(labels, sizes, parts, plans, hidden, cells=Cells.of(parts, sizes))
    if found["rules"] is None:
        return channel
    k, pairs, share, tau, people = found["rules"]
    apart = found.get("atoms")
    rules = AuditRules(k, pairs, share, tau, people=people)
    return replace(channel, audit=decode(found["audit"], rules, None if apart is None else kept[apart]))


def _blocks(parts: np.ndarray[Any, Any]) -> list[list[Any]]:
    """Return partitions, some at a time: where an atom is in other cells than the one before it, and these cells.

    The parts that later questions made of an atom stand side by side, and are in the same cells of all earlier ones.
    """
    found = []
    for start in range(0, parts.shape[0], BLOCK):
        block = parts[start : start + BLOCK]
        new = np.ones(block.shape[1], bool)
        new[1:] = (block[:, 1:] != block[:, :-1]).any(axis=0)
        found.append([np.packbits(new).tobytes(), _array(block[:, new])])
    return found


def _read_blocks(blocks: list[list[Any]], atoms: int) -> Items:
    if not 0 <= len(blocks) * BLOCK * atoms <= MOST:
        raise _damaged()
    found: list[Any] = [np.zeros((0, atoms), np.int16)]
    for bits, cells in blocks:
        new, block = np.unpackbits(np.frombuffer(bits, np.uint8), count=atoms), _read(cells)
        starts = np.flatnonzero(new)
        if block.ndim != 2 or block.shape[0] > BLOCK or block.shape[1] != starts.size or (atoms and not new[:1].all()):
            raise _damaged()
        found.append(np.repeat(block, np.diff(np.append(starts, atoms)), axis=1))
    return np.concatenate(found)


def _array(values: np.ndarray[Any, Any]) -> list[Any]:
    """Return [how, dtype, dtype on disk, shape, bytes]: counted up from a first number, or as narrow as they fit.

    Small arrays are packed; large ones are not: their numbers look like chance, and the writing is waited for.
    """
    shape, dtype = list(values.shape), values.dtype.str
    flat = np.ascontiguousarray(values).reshape(-1)
    if flat.size > 1 and values.dtype.kind in "iu":
        for step in (0, 1):
            if int(flat[-1]) == int(flat[0]) + step * (flat.size - 1) and bool((np.diff(flat) == step).all()):
                return [f"step {step}", dtype, dtype, shape, flat[:1].tobytes()]
    narrow = flat
    if values.dtype in (np.int16, np.int32) and flat.size:
        low, high = int(flat.min()), int(flat.max())
        fits = [
            t for t in (np.uint8, np.int8, np.uint16, np.int16) if np.iinfo(t).min <= low <= high <= np.iinfo(t).max
        ]
        narrow = flat.astype(fits[0]) if fits else flat
    body = narrow.tobytes()
    how, body = ("packed", zlib.compress(body, 1)) if len(body) <= PACKED else ("plain", body)
    return [how, dtype, narrow.dtype.str, shape, body]


def _read(found: list[Any]) -> Any:
    how, dtype, narrow, shape, body = found
    count = int(np.prod(shape, dtype=np.int64))
    if not 0 <= count * np.dtype(narrow).itemsize <= MOST:
        raise _damaged()
    if how.startswith("step "):
        first = np.frombuffer(body, dtype)[0]
        values = first + np.arange(count, dtype=dtype) if how == "step 1" else np.full(count, first, dtype)
        return values.reshape(shape)
    if how == "packed":
        stream = zlib.decompressobj()
        try:
            body = stream.decompress(body, count * np.dtype(narrow).itemsize + 1)
        except zlib.error as error:
            raise _damaged() from error
    if len(body) != count * np.dtype(narrow).itemsize:
        raise _damaged()
    return np.frombuffer(body, narrow).reshape(shape).astype(dtype)


def _body(text: bytes) -> dict[str, Any]:
    try:
        body = msgspec.msgpack.decode(text)
    except msgspec.DecodeError as error:
        raise _damaged() from error
    if not isinstance(body, dict) or body.get("v") not in (BEFORE, VERSION):
        raise _damaged()
    return body


def _damaged() -> ServerError:
    return ServerError(
        "The history of a table cannot be read.",
        reason="Without it nobody can say what an answer would add to what was released before.",
        next_step="Restore the server's directory from a backup.",
        code="server.history.bytes",
    )
