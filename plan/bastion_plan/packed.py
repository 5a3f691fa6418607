"""A first look at MessagePack bytes, before anything is built from them: sizes, depth, and the shortest form.

INVARIANT: no container is built that claims more elements than there are bytes left. A decoder that believes the claimed
sizes can be made to reserve a gigabyte by a message of a few bytes.
"""

from __future__ import annotations

from bastion_plan.errors import DecodeError, LimitError

#: deepest nesting of containers; nodes and expressions take two levels each
MAX_CONTAINERS = 400

# header byte -> (bytes of its number, what follows)
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8}
_FIXED |= {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_ARRAYS = {0xDC: 2, 0xDD: 4}
_MAPS = {0xDE: 2, 0xDF: 4}


def check_packed(data: bytes, max_items: int) -> None:
    """Walk over one MessagePack value without building anything.

    Args:
        data: the bytes of exactly one value.
        max_items: most values in it, containers and keys included.

    Raises:
        DecodeError: truncated, trailing bytes, extension types, an impossible container.
        LimitError: nested too deeply, too many values.
    """
    size, at, items = len(data), 0, 0
    open_containers: list[int] = []
    outstanding = 1  # values still to come, over all open containers
    while outstanding:
        if at >= size:
            raise _malformed("They end too early.")
        head = data[at]
        at += 1
        outstanding -= 1
        items += 1
        if items > max_items:
            msg = "The plan holds too many values."
            raise LimitError(msg, code="plan.limit.items", next_step="Upload the values as a dataset of their own.")
        if open_containers:
            open_containers[-1] -= 1
        children = 0
        if head <= 0x7F or head >= 0xE0 or head in _FIXED:
            at += _FIXED.get(head, 0)
        elif 0xA0 <= head <= 0xBF:
            at += head & 0x1F
        elif head in _SIZED:
            width = _SIZED[head]
            at += width + int.from_bytes(data[at : at + width], "big")
        elif 0x90 <= head <= 0x9F:
            children = head & 0x0F
        elif 0x80 <= head <= 0x8F:
            children = 2 * (head & 0x0F)
        elif head in _ARRAYS or head in _MAPS:
            width = _ARRAYS.get(head) or _MAPS[head]
            children = int.from_bytes(data[at : at + width], "big") * (2 if head in _MAPS else 1)
            at += width
        else:
            raise _malformed("They hold a type that plans do not have.")
        outstanding += children
        if at + outstanding > size:
            raise _malformed("They end too early.")
        if children:
            open_containers.append(children)
            if len(open_containers) > MAX_CONTAINERS:
                msg = "The plan is nested too deeply."
                raise LimitError(msg, code="plan.limit.depth")
        while open_containers and open_containers[-1] == 0:
            open_containers.pop()
    if at != size:
        msg = "There are bytes after the plan."
        raise DecodeError(msg, code="plan.decode.trailing")


def _malformed(reason: str) -> DecodeError:
    return DecodeError("The bytes are not well-formed MessagePack.", reason=reason, code="plan.decode.msgpack")
