"""Pasts and rosters as bytes for the store: versioned, checked when read."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
import numpy as np
from bastion_plan.errors import ServerError

from bastion_policy.audit import AuditRules, decode, encode
from bastion_policy.history.past import Channel, Past
from bastion_policy.history.roster import Roster

VERSION = 1
#: arrays beyond this are not unpacked (2 GiB)
MOST = 1 << 31


def pack_past(past: Past) -> bytes:
    """Return a past as bytes. They hold who is in which population and the audit's secrets: they never leave the server."""
    channels = {name: _channel(channel) for name, channel in past.channels.items()}
    wholes = [[*key, stands] for key, stands in past.wholes.items()]
    body = {"v": VERSION, "channels": channels, "wholes": wholes, "edges": past.edges, "voided": past.voided}
    body["settled"] = sorted(past.settled)
    return msgspec.msgpack.encode(body)


def unpack_past(text: bytes) -> Past:
    """Return the past that `pack_past` wrote.

    Raises:
        ServerError: server.history.bytes, damaged or of another version. Without its history nothing is released.
    """
    body = _body(text)
    try:
        channels = {name: _read_channel(found) for name, found in body["channels"].items()}
        wholes = {(d, v, c): stands for d, v, c, stands in body["wholes"]}
        return Past(channels, wholes, tuple(body["edges"]), body["voided"], frozenset(body["settled"]))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _damaged() from error


def pack_roster(roster: Roster) -> bytes:
    """Return a roster as bytes."""
    arrays = {name: _array(getattr(roster, name)) for name in ("keys", "order", "unit", "content", "table")}
    versions = [[dataset, version, _array(items)] for (dataset, version), items in roster.versions.items()]
    steady = [[dataset, version, columns] for (dataset, version), columns in roster.steady.items()]
    return msgspec.msgpack.encode(
        {"v": VERSION, **arrays, "most": roster.most, "steady": steady, "tables": roster.tables, "versions": versions}
    )


def unpack_roster(text: bytes) -> Roster:
    """Return the roster that `pack_roster` wrote.

    Raises:
        ServerError: server.history.bytes.
    """
    body = _body(text)
    try:
        versions = {(d, v): _read(items) for d, v, items in body["versions"]}
        arrays = {name: _read(body[name]) for name in ("keys", "order", "unit", "content", "table")}
        steady = {(d, v): tuple(columns) for d, v, columns in body["steady"]}
        return Roster(most=body["most"], tables=tuple(body["tables"]), versions=versions, steady=steady, **arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged() from error


def _channel(channel: Channel) -> dict[str, Any]:
    audit = channel.audit
    rules = (
        None
        if audit is None
        else [audit.rules.k, audit.rules.pairs, audit.rules.share, audit.rules.tau, audit.rules.people]
    )
    return {
        "labels": _array(channel.labels),
        "sizes": _array(channel.sizes),
        "parts": _array(channel.parts),
        "plans": channel.plans,
        "hidden": [_array(items) for items in channel.hidden],
        "rules": rules,
        "audit": b"" if audit is None else encode(audit),
    }


def _read_channel(found: dict[str, Any]) -> Channel:
    labels, sizes, parts = (_read(found[name]) for name in ("labels", "sizes", "parts"))
    if sizes.sum() != labels.size or parts.shape[1:] != sizes.shape or (labels.size and labels.max() >= sizes.size):
        raise _damaged()
    hidden, plans = tuple(_read(items) for items in found["hidden"]), tuple(found["plans"])
    if len(plans) != parts.shape[0]:
        raise _damaged()
    if found["rules"] is None:
        return Channel(labels, sizes, parts, plans, hidden)
    k, pairs, share, tau, people = found["rules"]
    return Channel(
        labels, sizes, parts, plans, hidden, decode(found["audit"], AuditRules(k, pairs, share, tau, people=people))
    )


def _array(values: np.ndarray) -> list[Any]:
    narrow = values
    if values.dtype == np.int32 and (not values.size or (values.max() < 2**15 and values.min() >= -(2**15))):
        narrow = values.astype(np.int16)
    packed = zlib.compress(np.ascontiguousarray(narrow).tobytes(), 1)
    return [narrow.dtype.str, values.dtype.str, list(values.shape), packed]


def _read(found: list[Any]) -> Any:
    narrow, dtype, shape, packed = found
    count = int(np.prod(shape, dtype=np.int64))
    size = count * np.dtype(narrow).itemsize
    if not 0 <= size <= MOST:
        raise _damaged()
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(packed, size + 1)
    except zlib.error as error:
        raise _damaged() from error
    if len(body) != size:
        raise _damaged()
    return np.frombuffer(body, narrow).reshape(shape).astype(dtype)


def _body(text: bytes) -> dict[str, Any]:
    try:
        body = msgspec.msgpack.decode(text)
    except msgspec.DecodeError as error:
        raise _damaged() from error
    if not isinstance(body, dict) or body.get("v") != VERSION:
        raise _damaged()
    return body


def _damaged() -> ServerError:
    return ServerError(
        "The history of a table cannot be read.",
        reason="Without it nobody can say what an answer would add to what was released before.",
        next_step="Restore the server's directory from a backup.",
        code="server.history.bytes",
    )
