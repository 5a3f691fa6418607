"""Canonical bytes of a plan, and the strict way back.

`encode` gives the same bytes for the same plan on every machine; `plan_hash` is their SHA-256 and names the plan in
caches, approvals and the audit log. `decode` accepts exactly what `encode` produces and nothing else.

INVARIANT: for every accepted byte string b, encode(decode(b)) == b. msgspec alone accepts reordered and repeated keys,
long integer encodings, defaults written out and NaN payloads: so we encode again and compare.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack  # type: ignore[import-untyped]
import msgspec

from bastion_plan.errors import DecodeError, LimitError
from bastion_plan.nodes import AnyNode, Node

FORMAT_VERSION = 1
MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_NODES = 10_000
MAX_LITERALS = 100_000


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A versioned plan."""

    version: int
    root: AnyNode


_encoder = msgspec.msgpack.Encoder()


def encode(plan: Node) -> bytes:
    """Return the canonical bytes of a plan."""
    return _encoder.encode(Envelope(FORMAT_VERSION, plan))  # type: ignore[arg-type]


def plan_hash(plan: Node | bytes) -> str:
    """Return the SHA-256 of the canonical bytes, in hex (64 characters)."""
    return hashlib.sha256(plan if isinstance(plan, bytes) else encode(plan)).hexdigest()


def decode(data: bytes) -> Node:
    """Return the plan of canonical bytes.

    Raises:
        LimitError: over 1 MiB, depth 64, 10,000 nodes or 100,000 literal values.
        DecodeError: anything that `encode` would not have produced.
    """
    if len(data) > MAX_BYTES:
        msg = f"The plan has {len(data)} bytes; at most {MAX_BYTES} are allowed."
        raise LimitError(msg, code="plan.limit.bytes", next_step="Join a saved frame instead of a large inline table.")
    tree = _unpack(data)
    try:
        envelope = msgspec.convert(tree, Envelope)
    except msgspec.ValidationError as error:
        msg = "The bytes are not a plan of this version."
        raise DecodeError(msg, reason=str(error), code="plan.decode.shape") from None
    except RecursionError:
        msg = "The plan is nested too deeply."
        raise LimitError(msg, code="plan.limit.depth") from None
    if envelope.version != FORMAT_VERSION:
        msg = f"The plan has format version {envelope.version}; this side speaks {FORMAT_VERSION}."
        raise DecodeError(msg, code="plan.decode.version", next_step="Use the same release on both ends.")
    if encode(envelope.root) != data:
        msg = "The bytes are not the canonical form of the plan."
        raise DecodeError(msg, code="plan.decode.canonical", next_step="Send the bytes that encode() gives.")
    return envelope.root


def _unpack(data: bytes) -> Any:
    try:
        unpacker = msgpack.Unpacker(
            max_buffer_size=MAX_BYTES,
            max_array_len=MAX_LITERALS,
            max_map_len=64,
            max_str_len=MAX_BYTES,
            max_bin_len=MAX_BYTES,
            max_ext_len=0,
            strict_map_key=True,
            use_list=False,
        )
        unpacker.feed(data)
        tree = unpacker.unpack()
        end = unpacker.tell()
    except (msgpack.exceptions.UnpackException, ValueError, TypeError, UnicodeDecodeError, RecursionError):
        msg = "The bytes are not well-formed MessagePack within the limits."
        raise DecodeError(msg, code="plan.decode.msgpack") from None
    if end != len(data):
        msg = "There are bytes after the plan."
        raise DecodeError(msg, code="plan.decode.trailing")
    _check_limits(tree)
    return tree


def _check_limits(tree: Any) -> None:
    """Walk without recursion, so that depth cannot hurt."""
    stack: list[tuple[Any, int]] = [(tree, 0)]
    nodes = leaves = 0
    while stack:
        item, depth = stack.pop()
        # every node or expression adds at most two levels of maps and arrays
        if depth > 3 * MAX_DEPTH:
            msg = f"The plan is nested deeper than {MAX_DEPTH} levels."
            raise LimitError(msg, code="plan.limit.depth")
        if isinstance(item, dict):
            nodes += "node" in item or "expr" in item
            stack.extend((v, depth + 1) for v in item.values())
        elif isinstance(item, list | tuple):
            stack.extend((v, depth + 1) for v in item)
        else:
            leaves += 1
        if nodes > MAX_NODES:
            msg = f"The plan has more than {MAX_NODES} nodes and expressions."
            raise LimitError(msg, code="plan.limit.nodes")
        if leaves > MAX_LITERALS + 8 * MAX_NODES:
            msg = f"The plan holds more than {MAX_LITERALS} literal values."
            raise LimitError(msg, code="plan.limit.literals", next_step="Upload the values as a dataset of their own.")
