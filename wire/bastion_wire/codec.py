"""Bytes to messages and back: msgpack enforces the sizes, msgspec the types, and nothing but WireError comes out.

INVARIANT: hostile bytes cost at most a small multiple of their own length in memory (containers are counted while they
are unpacked), and no text of theirs is repeated in an error.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn, TypeVar

import msgpack  # type: ignore[import-untyped,unused-ignore]
import msgspec
from bastion_plan.errors import BastionError, WireError

from bastion_wire import errors
from bastion_wire.messages import (
    MAX_HEADER,
    PROTOCOL_VERSION,
    AnyAnswer,
    AnyRequest,
    Envelope,
    Failed,
    Reply,
)

MAX_ARRAY = 100_000
MAX_MAP = 10_000
MAX_CONTAINERS = 200_000  #: arrays and maps of one message together
MAX_ID = (1 << 53) - 1  #: every language's numbers hold this

_T = TypeVar("_T", Envelope, Reply)
_encoder = msgspec.msgpack.Encoder()


class MalformedError(WireError):
    """A message that cannot be understood. `request_id`: the id it carried, 0 where none could be read."""

    default_code = "wire.malformed"
    request_id: int = 0


def encode_request(request_id: int, body: AnyRequest) -> bytes:
    """Return the header frame of a request.

    Raises:
        WireError: wire.too-large, over `MAX_HEADER` bytes; wire.not-finite, a number is NaN or infinite; wire.not-encodable,
            a whole number of more than 64 bits, or text that is not Unicode.
    """
    try:
        data = _encoder.encode(Envelope(PROTOCOL_VERSION, request_id, body))
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        raise WireError(
            "The request cannot be sent as it is.",
            code="wire.not-encodable",
            reason="It holds a whole number of more than 64 bits, or text or an object that a message cannot carry.",
            next_step="Use smaller numbers and plain text.",
        ) from None
    if not _all_finite(msgspec.to_builtins(body, builtin_types=(bytes, bytearray, memoryview))):
        raise WireError(_NOT_FINITE, code="wire.not-finite", reason=_WHY_FINITE, next_step=_FINITE)
    return _bounded(data)


def encode_reply(request_id: int, body: AnyAnswer) -> bytes:
    """Return the header frame of an answer, or of a push (id 0).

    Raises:
        WireError: wire.too-large, over `MAX_HEADER` bytes.
    """
    return _bounded(_encoder.encode(Reply(PROTOCOL_VERSION, request_id, body)))


def decode_request(data: bytes | memoryview) -> Envelope:
    """Return the request of a header frame.

    Raises:
        MalformedError: wire.too-large, wire.msgpack, wire.version, wire.not-finite, wire.fields; never another exception.
    """
    return _decode(data, Envelope, strict=True)


def decode_reply(data: bytes | memoryview) -> Reply:
    """Return the answer or push of a header frame.

    Raises:
        MalformedError: wire.too-large, wire.msgpack, wire.version, wire.fields; never another exception.
    """
    return _decode(data, Reply, strict=False)


def failed(error: BastionError) -> Failed:
    """Return the message of an error. Details that are not plain data are left out."""
    try:
        msgpack.unpackb(_encoder.encode(error.details))
        details = error.details
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError, msgpack.exceptions.StackError):
        details = {}
    return Failed(error.code, error.message, error.reason, error.next_step, details)


def raise_failed(body: Failed) -> NoReturn:
    """Raise the typed error of a Failed message: the class whose code is the longest prefix of the message's code."""
    raise errors.from_code(body.code)(
        body.message, reason=body.reason, next_step=body.next_step, code=body.code, details=body.details
    )


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_HEADER:
        msg = f"The message has {len(data)} bytes; at most {MAX_HEADER} fit into one."
        raise WireError(msg, code="wire.too-large", next_step="Ask for less at once.")
    return data


def _all_finite(tree: Any) -> bool:
    match tree:
        case float():
            return math.isfinite(tree)
        case dict():
            return all(map(_all_finite, tree.values()))
        case list() | tuple():
            return all(map(_all_finite, tree))
        case _:
            return True


def _decode(data: bytes | memoryview, kind: type[_T], *, strict: bool) -> _T:
    tree, finite = _unpack(data, strict)
    request_id = _id_of(tree)
    if not isinstance(tree, dict) or "v" not in tree:
        raise _malformed("wire.fields", "The message is not a map with v, id and body.", request_id)
    version = tree["v"]
    if version is True or version != PROTOCOL_VERSION:
        msg = f"The message is not of protocol version {PROTOCOL_VERSION}, the one this side speaks."
        raise _malformed("wire.version", msg, request_id, "Use the same release on both ends.")
    if strict and not finite:
        raise _malformed("wire.not-finite", _NOT_FINITE, request_id, _FINITE, _WHY_FINITE)
    try:
        message = msgspec.convert(tree, kind, builtin_types=(bytes,))  # else text would pass as base64
    except msgspec.ValidationError:
        msg = "The message does not have the fields that its kind has in this version."
        raise _malformed("wire.fields", msg, request_id, "Use the same release on both ends.") from None
    except Exception:  # noqa: BLE001 - the last line against hostile bytes (RecursionError, a type's own checks)
        raise _malformed("wire.fields", "The message holds values that do not go together.", request_id) from None
    if not 0 <= message.id <= MAX_ID:
        raise _malformed("wire.fields", f"A request id is a whole number from 0 to {MAX_ID}.", 0)
    return message


def _unpack(data: bytes | memoryview, strict: bool) -> tuple[Any, bool]:
    """Return what is in a message, and whether all its numbers are finite."""
    size = memoryview(data).nbytes
    if size > MAX_HEADER:
        msg = f"The message has {size} bytes; at most {MAX_HEADER} are allowed."
        raise _malformed("wire.too-large", msg, 0, "Ask for less at once.")
    containers, finite = 0, True

    def check(values: Any) -> None:
        nonlocal containers, finite
        containers += 1
        if containers > MAX_CONTAINERS:
            raise ValueError
        if any(type(v) is float and not math.isfinite(v) for v in values):
            finite = False

    def array(items: Any) -> Any:
        check(items)
        return items

    def mapping(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError  # a repeated key: two readers might take different values
        check(result.values())
        return result

    try:
        tree = msgpack.unpackb(data, **_LIMITS, use_list=not strict, list_hook=array, object_pairs_hook=mapping)
    except Exception:  # noqa: BLE001 - msgpack raises some ten classes; a message is understood or it is not
        msg, fix = "The message is not well-formed MessagePack within the limits.", "Encode it as the protocol says."
        raise _malformed("wire.msgpack", msg, _id_in(data), fix) from None
    return tree, finite


def _id_in(data: bytes | memoryview) -> int:
    """Return the id at the front of a message that is not well-formed, so that whoever waits for the answer gets it."""
    reader = msgpack.Unpacker(**_LIMITS, max_buffer_size=MAX_HEADER)
    try:
        reader.feed(data)
        for _ in range(min(reader.read_map_header(), len(Envelope.__struct_fields__))):
            if reader.unpack() == "id":
                return _id_of({"id": reader.unpack()})
            reader.skip()
    except Exception:  # noqa: BLE001 - as above
        return 0
    return 0


def _no_extension(code: int, data: bytes) -> Any:
    raise ValueError


def _id_of(tree: Any) -> int:
    found = tree.get("id") if isinstance(tree, dict) else None
    return found if type(found) is int and 0 <= found <= MAX_ID else 0


#: what the unpacker allows
_LIMITS: dict[str, Any] = {
    "max_array_len": MAX_ARRAY, "max_map_len": MAX_MAP, "max_str_len": MAX_HEADER, "max_bin_len": MAX_HEADER,
    "max_ext_len": 0, "ext_hook": _no_extension, "strict_map_key": True,
}  # fmt: skip
_NOT_FINITE = "The message holds a number that is not finite."
_WHY_FINITE = "NaN and infinity mean nothing in any field of a request."
_FINITE = "Send finite numbers, and leave fields out that have no value."


def _malformed(code: str, message: str, request_id: int, next_step: str = "", reason: str = "") -> MalformedError:
    error = MalformedError(message, code=code, reason=reason, next_step=next_step)
    error.request_id = request_id
    return error
