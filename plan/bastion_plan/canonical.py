"""Canonical bytes of a plan, and the strict way back.

`encode` gives the same bytes for the same plan on every machine; `plan_hash` is their SHA-256 and names the plan in
caches, approvals and the audit log. `decode` accepts exactly what `encode` produces and nothing else.

INVARIANT: for every accepted byte string b, encode(decode(b)) == b. msgspec alone accepts reordered and repeated keys,
long integer encodings, defaults written out and NaN payloads: so we encode again and compare.
"""

from __future__ import annotations

import hashlib

import msgspec

from bastion_plan.errors import BindError, DecodeError, LimitError, PlanError
from bastion_plan.nodes import AnyNode, Node
from bastion_plan.packed import check_packed
from bastion_plan.validate import CLIENT, Limits, validate

FORMAT_VERSION = 1
MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_LITERALS = CLIENT.bytes, CLIENT.depth, CLIENT.nodes, CLIENT.literals


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A versioned plan."""

    version: int
    root: AnyNode


class _Version(msgspec.Struct, frozen=True):
    """The part of an envelope that every version of the format has."""

    version: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)
_version_decoder = msgspec.msgpack.Decoder(_Version)


def encode(plan: Node) -> bytes:
    """Return the canonical bytes of a plan.

    Raises:
        PlanError: `plan.encode`, for a string that is not Unicode text or a plan nested beyond all limits.
    """
    try:
        return _encoder.encode(Envelope(FORMAT_VERSION, plan))  # type: ignore[arg-type]
    except (UnicodeEncodeError, RecursionError):
        msg = "The plan cannot be written down."
        raise PlanError(
            msg, code="plan.encode", reason="A string is not valid text, or it is nested too deeply."
        ) from None


def plan_hash(plan: Node | bytes) -> str:
    """Return the SHA-256 of the canonical bytes, in hex (64 characters)."""
    return hashlib.sha256(plan if isinstance(plan, bytes) else encode(plan)).hexdigest()


def decode(data: bytes, limits: Limits = CLIENT) -> Node:
    """Return the plan of canonical bytes.

    Args:
        data: what `encode` gave.
        limits: 1 MiB, depth 64, 10,000 nodes and expressions, 100,000 constants; `validate.INTERNAL` for plans that the
            server itself made.

    Raises:
        LimitError: over one of the limits.
        DecodeError: anything that `encode` would not have produced, or a call that the registry does not know.
    """
    if len(data) > limits.bytes:
        msg = f"The plan has {len(data)} bytes; at most {limits.bytes} are allowed."
        raise LimitError(msg, code="plan.limit.bytes", next_step="Join a saved frame instead of a large inline table.")
    # a node or expression is its map, tag, and per field a key and a container
    check_packed(data, 3 * limits.literals + 24 * limits.nodes)
    root = _build(data)
    try:
        validate(root, limits)
    except BindError as error:
        code = "plan.decode." + error.code.rpartition(".")[2]
        raise DecodeError(error.message, reason=error.reason, next_step=error.next_step, code=code) from None
    if encode(root) != data:
        msg = "The bytes are not the canonical form of the plan."
        raise DecodeError(msg, code="plan.decode.canonical", next_step="Send the bytes that encode() gives.")
    return root


def _build(data: bytes) -> Node:
    try:
        version = _version_decoder.decode(data).version
        if version == FORMAT_VERSION:
            return _decoder.decode(data).root
    except DecodeError:
        raise
    except PlanError as error:
        raise DecodeError(error.message, code="plan.decode.literal") from None
    except msgspec.ValidationError as error:
        msg = "The bytes are not a plan of this version."
        raise DecodeError(msg, reason=str(error), code="plan.decode.shape") from None
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        msg = "The bytes are not well-formed MessagePack."
        raise DecodeError(msg, code="plan.decode.msgpack") from None
    msg = f"The plan has format version {version}; this side speaks {FORMAT_VERSION}."
    raise DecodeError(msg, code="plan.decode.version", next_step="Use the same release on both ends.")
