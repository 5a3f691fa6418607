"""Sealed memory files: how datasets and large answers pass between processes without a copy."""

from __future__ import annotations

import fcntl
import mmap
import os

IMMUTABLE = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


def empty(name: str) -> int:
    """Return the descriptor of a new empty memory file that can be sealed later."""
    return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def seal(fd: int) -> None:
    """Make a memory file immutable for everyone who holds it.

    Raises:
        OSError: not a memory file, or someone has it mapped for writing.
    """
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, IMMUTABLE | fcntl.F_SEAL_SEAL)


def is_sealed(fd: int) -> bool:
    """Whether `fd` is a memory file nobody can write to or shrink."""
    try:
        return fcntl.fcntl(fd, fcntl.F_GET_SEALS) & IMMUTABLE == IMMUTABLE
    except OSError:
        return False


def sealed(data: bytes | memoryview, name: str = "table") -> int:
    """Return the descriptor of a new sealed memory file holding `data`."""
    fd = empty(name)
    try:
        view = memoryview(data).cast("B")
        while view:
            view = view[os.write(fd, view) :]
        seal(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def read(fd: int, size: int) -> memoryview:
    """Return the first `size` bytes of a sealed memory file, mapped, not copied; the view keeps the mapping alive.

    Raises:
        ValueError: the file is not sealed (the map could be pulled from under us), or shorter than `size`.
    """
    if not is_sealed(fd) or os.fstat(fd).st_size < size:
        msg = "not a sealed memory file of that size"
        raise ValueError(msg)
    return memoryview(mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)) if size else memoryview(b"")
