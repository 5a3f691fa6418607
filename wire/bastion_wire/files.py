"""Small files written whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_new(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file that must not exist yet; it appears complete, synced, with `mode`, or not at all.

    Raises:
        FileExistsError: there is one already. Of several writers exactly one succeeds.
    """
    temporary = _temporary(path, data, mode)
    try:
        os.link(temporary, path)
        _sync_directory(path.parent)
    finally:
        os.unlink(temporary)


def replace(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file, over an older one if there is one; readers see the old or the new content, never a mixture."""
    temporary = _temporary(path, data, mode)
    try:
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_directory(path.parent)


def _temporary(path: Path, data: bytes, mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    return temporary


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
