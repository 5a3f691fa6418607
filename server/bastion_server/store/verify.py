"""Checking an audit log from outside: a server that is not running, a copy, or the log one serves from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
from bastion_plan.errors import ServerError
from bastion_wire.messages import Checkpoint

from bastion_server.store import frames
from bastion_server.store.audit import KINDS, Record
from bastion_server.store.checkpoints import disagreements, parse
from bastion_server.store.merkle import MerkleTree, leaf_hash


def verify(
    path: Path,
    verify_key: bytes,
    *,
    checkpoints: Path | None = None,
    witnessed: Iterable[Checkpoint] = (),
    size: int | None = None,
) -> tuple[str, ...]:
    """Read a whole log and return what is wrong with it, in words; nothing if all is well.

    Args:
        path: of the log (`audit.log`).
        verify_key: Ed25519 key of the server that signed its checkpoints.
        checkpoints: file of checkpoints; by default the one beside the log, where there is one.
        witnessed: further checkpoints, such as those that came with answers and were kept by clients.
        size: look at that many records only; for a log that is being written to.
    """
    problems: list[str] = []
    tree = MerkleTree()
    try:
        with path.open("rb") as file:
            for item in frames.read(file):
                if size is not None and len(tree) >= size:
                    break
                if isinstance(item, frames.Damage):
                    problems.append(item.text)
                    break
                tree.append(leaf_hash(item.payload))
                problems.extend(_content(item))
    except OSError:
        return ("the log cannot be read",)
    heads = list(witnessed)
    beside = checkpoints or path.with_name("audit.checkpoints")
    if checkpoints is not None or beside.exists():
        try:
            data = beside.read_bytes()
            heads += parse(data[: data.rfind(b"\n") + 1])
        except OSError:
            problems.append("the checkpoints file cannot be read")
        except ServerError as error:
            problems.append(error.message)
    if size is not None:
        heads = [head for head in heads if head.size <= size]
    problems.extend(disagreements(heads, tree, verify_key))
    return tuple(problems)


def _content(frame: frames.Frame) -> Iterable[str]:
    try:
        record = msgspec.msgpack.decode(frame.payload, type=Record)
    except msgspec.MsgspecError:
        yield f"record {frame.index} is not an audit record"
        return
    if record.kind not in KINDS:
        yield f"record {frame.index} is of an unknown kind"
