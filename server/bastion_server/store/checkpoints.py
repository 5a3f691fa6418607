"""Signed heads of the audit log, and the file that witnesses them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
from bastion_plan.errors import ServerError
from bastion_wire.messages import Checkpoint
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from bastion_server.store.files import DISK, Files
from bastion_server.store.keys import ServerKeys
from bastion_server.store.merkle import MerkleTree


def signed_checkpoint(keys: ServerKeys, size: int, root: bytes, now: float) -> Checkpoint:
    """Return the head of a log of `size` records with this Merkle root, signed."""
    unsigned = Checkpoint(size=size, root=root, time=now, signature=b"")
    return Checkpoint(size=size, root=root, time=now, signature=keys.sign(unsigned.signed_text))


def verify_checkpoint(checkpoint: Checkpoint, verify_key: bytes) -> bool:
    """Whether the server with this verify key signed the checkpoint."""
    try:
        VerifyKey(verify_key).verify(checkpoint.signed_text, checkpoint.signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True


class CheckpointFile:
    """Checkpoints, one JSON line each. Copy it elsewhere, and it witnesses that the log was never rewritten.

    Only the last line may be incomplete (a crash); it is then removed.
    """

    def __init__(self, path: Path, keys: ServerKeys, *, files: Files = DISK) -> None:
        self.path, self._files = path, files
        self._verify_key = keys.verify_key
        self._descriptor = -1
        whole = 0
        self._all: list[Checkpoint] = []
        if path.exists():
            data = path.read_bytes()
            whole = data.rfind(b"\n") + 1
            self._all = list(parse(data[:whole]))
        self._whole = whole

    @property
    def size(self) -> int:
        """The largest log that was witnessed, in records."""
        return max((c.size for c in self._all), default=0)

    def check(self, tree: MerkleTree) -> None:
        """Compare every checkpoint with the log, then open the file for more.

        Raises:
            ServerError: server.audit.rewritten.
        """
        problems = list(disagreements(self._all, tree, self._verify_key))
        if problems:
            msg = "The audit log is not the one its checkpoints were signed over."
            raise ServerError(
                msg,
                code="server.audit.rewritten",
                reason=problems[0],
                next_step="Keep both files as evidence. Restore them from a backup, or start with a new store.",
            )
        self._all = self._all[-1:]
        self._descriptor = self._files.open(self.path, os.O_WRONLY | os.O_CREAT)
        self._files.truncate(self._descriptor, self._whole)
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def append(self, checkpoint: Checkpoint) -> None:
        """Add a checkpoint, durably."""
        self._files.write_all(self._descriptor, msgspec.json.encode(checkpoint) + b"\n")
        self._files.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file. May be called again."""
        if self._descriptor >= 0:
            self._files.close(self._descriptor)
            self._descriptor = -1


def parse(data: bytes) -> Iterator[Checkpoint]:
    """Yield the checkpoints of whole lines.

    Raises:
        ServerError: server.audit.checkpoints, a line that is none.
    """
    for number, line in enumerate(data.splitlines(), 1):
        try:
            yield msgspec.json.decode(line, type=Checkpoint)
        except msgspec.MsgspecError:
            msg = f"Line {number} of the checkpoints file is damaged."
            raise ServerError(
                msg, code="server.audit.checkpoints", next_step="Restore the file from a backup."
            ) from None


def disagreements(checkpoints: list[Checkpoint], tree: MerkleTree, verify_key: bytes) -> Iterator[str]:
    """Yield, in words, each way in which signed heads do not fit a log; nothing if all fit."""
    for checkpoint in checkpoints:
        if not verify_checkpoint(checkpoint, verify_key):
            yield f"the checkpoint over {checkpoint.size} records is not signed by this server"
        elif checkpoint.size > len(tree):
            yield f"a checkpoint was signed over {checkpoint.size} records; the log holds {len(tree)}"
        elif tree.root(checkpoint.size) != checkpoint.root:
            yield f"the first {checkpoint.size} records are not those the checkpoint was signed over"
