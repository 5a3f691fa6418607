"""A directory whose files are answered by Python: the kernel's FUSE protocol over /dev/fuse, without a library.

Only what a pseudo file system like configfs needs: directories that are made and removed, files whose bytes are made when they
are read and taken when they are written. Nothing is cached; every call of a program comes to `Tree` with the program's real
system call waiting, whichever process it is of. Needs /dev/fuse and the right to mount (`unavailable` says what is missing).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

_LIBC = ctypes.CDLL(None, use_errno=True)
_NOSUID_NODEV, _DETACH = 6, 2
_BUFFER = (1 << 17) + 4096
_DIRECT_IO = 1
_FORGET, _INTERRUPT, _DESTROY, _BATCH_FORGET = 2, 36, 38, 42
_SILENT = (_FORGET, _INTERRUPT, _BATCH_FORGET)
ROOT = 1


class Tree(Protocol):
    """What is behind the directory. Nodes are numbers, the root is 1. Every method may raise OSError with an errno."""

    def find(self, parent: int, name: str) -> int: ...
    def mode(self, node: int) -> int: ...
    def names(self, node: int) -> list[tuple[str, int]]: ...
    def make(self, parent: int, name: str) -> int: ...
    def remove(self, parent: int, name: str) -> None: ...
    def open(self, node: int, flags: int) -> int: ...
    def read(self, handle: int, offset: int, size: int) -> bytes: ...
    def write(self, handle: int, offset: int, data: bytes) -> int: ...
    def close(self, handle: int) -> None: ...


def unavailable() -> str | None:
    """Return why no directory can be mounted here, or None."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "there is no /dev/fuse that may be opened"
    try:
        with Mount(_Empty()):
            return None
    except OSError as error:
        return f"a directory cannot be mounted here: {error.strerror}"


class Mount:
    """A tree at `path`, while the context lasts."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.path = Path(tempfile.mkdtemp(prefix="bastion-tree-"))
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
        if _LIBC.mount(b"tree", os.fsencode(self.path), b"fuse.bastion", _NOSUID_NODEV, options.encode()) != 0:
            code = ctypes.get_errno()
            os.close(self._device)
            self.path.rmdir()
            raise OSError(code, os.strerror(code))
        self._thread = threading.Thread(target=self._serve, name="fuse", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _LIBC.umount2(os.fsencode(self.path), _DETACH)
        self._thread.join(10)
        self.path.rmdir()

    def _serve(self) -> None:
        try:
            while True:
                try:
                    request = os.read(self._device, _BUFFER)
                except OSError as error:
                    if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                        continue
                    return  # unmounted
                _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
                if opcode in _SILENT:
                    continue
                try:
                    code, answer = 0, self._answer(opcode, node, request[40:])
                except OSError as error:
                    code, answer = -(error.errno or errno.EIO), b""
                except Exception:  # noqa: BLE001 - a fault of the tree is an answer, too
                    code, answer = -errno.EIO, b""
                try:
                    os.write(self._device, struct.pack("<IiQ", 16 + len(answer), code, unique) + answer)
                except OSError as error:
                    if error.errno != errno.ENOENT:  # who asked was interrupted
                        return
                if opcode == _DESTROY:
                    return
        finally:
            os.close(self._device)

    def _answer(self, opcode: int, node: int, body: bytes) -> bytes:
        tree = self._tree
        match opcode:
            case 26:  # INIT
                return struct.pack("<IIIIHHIIHHI", 7, 31, 0, 0, 1, 1, 1 << 17, 1, 32, 0, 0) + bytes(28)
            case 1:  # LOOKUP
                return self._entry(tree.find(node, _name(body)))
            case 3 | 4:  # GETATTR, SETATTR (open truncates)
                return struct.pack("<QII", 0, 0, 0) + self._attributes(node)
            case 9:  # MKDIR
                return self._entry(tree.make(node, _name(body[8:])))
            case 11:  # RMDIR
                tree.remove(node, _name(body))
                return b""
            case 14:  # OPEN
                return struct.pack("<QIi", tree.open(node, struct.unpack_from("<I", body)[0]), _DIRECT_IO, 0)
            case 15:  # READ
                handle, offset, size = struct.unpack_from("<QQI", body)
                return tree.read(handle, offset, size)
            case 16:  # WRITE
                handle, offset, size = struct.unpack_from("<QQI", body)
                return struct.pack("<II", tree.write(handle, offset, body[40 : 40 + size]), 0)
            case 25:  # FLUSH: unlike RELEASE, close() waits for it
                tree.close(struct.unpack_from("<Q", body)[0])
                return b""
            case 27:  # OPENDIR
                return struct.pack("<QIi", 0, 0, 0)
            case 28:  # READDIR
                return self._listing(node, struct.unpack_from("<Q", body, 8)[0], struct.unpack_from("<I", body, 16)[0])
            case 17:  # STATFS
                return struct.pack("<QQQQQIIII", 0, 0, 0, 0, 0, 4096, 255, 4096, 0) + bytes(24)
            case 18 | 29 | 38:  # RELEASE, RELEASEDIR, DESTROY
                return b""
        raise OSError(errno.ENOSYS, "")

    def _attributes(self, node: int) -> bytes:
        mode = self._tree.mode(node)
        links = 2 if stat.S_ISDIR(mode) else 1
        return struct.pack("<6Q10I", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, links, os.getuid(), os.getgid(), 0, 4096, 0)

    def _entry(self, node: int) -> bytes:
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + self._attributes(node)

    def _listing(self, node: int, offset: int, size: int) -> bytes:
        found = b""
        for place, (name, child) in enumerate(self._tree.names(node)[offset:], offset + 1):
            kind = stat.S_IFMT(self._tree.mode(child)) >> 12
            entry = struct.pack("<QQII", child, place, len(name.encode()), kind) + name.encode()
            entry += bytes(-len(entry) % 8)
            if len(found) + len(entry) > size:
                break
            found += entry
        return found


def _name(body: bytes) -> str:
    return os.fsdecode(body.rstrip(b"\0"))


class _Empty:
    """An empty directory, to see whether one can be mounted."""

    def find(self, parent: int, name: str) -> int:
        raise OSError(errno.ENOENT, "")

    def mode(self, node: int) -> int:
        return stat.S_IFDIR | 0o755

    def names(self, node: int) -> list[tuple[str, int]]:
        return []

    def make(self, parent: int, name: str) -> int:
        raise OSError(errno.EPERM, "")

    def remove(self, parent: int, name: str) -> None:
        raise OSError(errno.EPERM, "")

    def open(self, node: int, flags: int) -> int:
        raise OSError(errno.EPERM, "")

    def read(self, handle: int, offset: int, size: int) -> bytes:
        raise OSError(errno.EPERM, "")

    def write(self, handle: int, offset: int, data: bytes) -> int:
        raise OSError(errno.EPERM, "")

    def close(self, handle: int) -> None:
        raise OSError(errno.EPERM, "")
