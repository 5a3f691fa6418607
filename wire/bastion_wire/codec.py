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
        WireError: wire.too-large, over `MAX_HEADER` bytes.
    """
    return _bounded(_encoder.encode(Envelope(PROTOCOL_VERSION, request_id, body)))


def encode_reply(request_id: int, body: AnyAnswer) -> bytes:
    """Return the header frame of an answer, or of a push (id 0).

    Raises:
        WireError: wire.too-large, over `MAX_HEADER` bytes.
    """
    return _bounded(_encoder.encode(Reply(PROTOCOL_VERSION, request_id, body)))


def decode_request(data: bytes | memoryview) -> Envelope:
    """Return the request of a header frame.

    Raises:
        MalformedError: wire.too-large, wire.msgpack, wire.version, wire.fields; never another exception.
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


def _decode(data: bytes | memoryview, kind: type[_T], *, strict: bool) -> _T:
    tree = _unpack(data, strict)
    request_id = _id_of(tree)
    if not isinstance(tree, dict) or "v" not in tree:
        raise _malformed("wire.fields", "The message is not a map with v, id and body.", request_id)
    version = tree["v"]
    if version is True or version != PROTOCOL_VERSION:
        msg = f"The message is not of protocol version {PROTOCOL_VERSION}, the one this side speaks."
        raise _malformed("wire.version", msg, request_id, "Use the same release on both ends.")
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


def _unpack(data: bytes | memoryview, strict: bool) -> Any:
    size = memoryview(data).nbytes
    if size > MAX_HEADER:
        raise _malformed("wire.too-large", f"The message has {size} bytes; at most {MAX_HEADER} are allowed.", 0)
    containers = 0

    def count() -> None:
        nonlocal containers
        containers += 1
        if containers > MAX_CONTAINERS:
            raise ValueError

    def array(items: Any) -> Any:
        count()
        return items

    def mapping(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        count()
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError  # a repeated key: two readers might take different values
        if strict and any(type(v) is float and not math.isfinite(v) for v in result.values()):
            raise ValueError
        return result

    try:
        return msgpack.unpackb(
            data, max_array_len=MAX_ARRAY, max_map_len=MAX_MAP, max_str_len=MAX_HEADER, max_bin_len=MAX_HEADER,
            max_ext_len=0, ext_hook=_no_extension, strict_map_key=True, use_list=not strict,
            list_hook=array, object_pairs_hook=mapping,
        )  # fmt: skip
    except Exception:  # noqa: BLE001 - msgpack raises some ten classes; a message is understood or it is not
        raise _malformed("wire.msgpack", "The message is not well-formed MessagePack within the limits.", 0) from None


def _no_extension(code: int, data: bytes) -> Any:
    raise ValueError


def _id_of(tree: Any) -> int:
    found = tree.get("id") if isinstance(tree, dict) else None
    return found if type(found) is int and 0 <= found <= MAX_ID else 0


def _malformed(code: str, message: str, request_id: int, next_step: str = "") -> MalformedError:
    error = MalformedError(message, code=code, next_step=next_step)
    error.request_id = request_id
    return error
