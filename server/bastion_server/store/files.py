"""The few calls through which the store reaches the disk, so that tests can make any one of them fail."""

from __future__ import annotations

import os
from pathlib import Path


class Files:
    """The operating system's file calls. Tests put a subclass in its place that raises ENOSPC or EIO at the n-th call."""

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """Open a file without passing it on to child programs; return its descriptor."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> int:
        """Write at the current position; return how many bytes were taken (maybe fewer than given)."""
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        """Bring data and metadata to the disk."""
        os.fsync(descriptor)

    def fdatasync(self, descriptor: int) -> None:
        """Bring data, and the metadata needed to read it, to the disk."""
        os.fdatasync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(descriptor, size)

    def replace(self, source: Path, target: Path) -> None:
        """Rename atomically."""
        os.replace(source, target)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        os.unlink(path)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    # ---- made of the above ------------------------------------------------------------------------------------------

    def write_all(self, descriptor: int, data: bytes | bytearray | memoryview) -> None:
        """Write everything, however many calls that takes."""
        view = memoryview(data)
        while view:
            view = view[self.write(descriptor, view) :]

    def sync_directory(self, directory: Path) -> None:
        """Make created, renamed and removed names durable."""
        descriptor = self.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.fsync(descriptor)
        finally:
            self.close(descriptor)

    def create_durably(self, path: Path, data: bytes, mode: int = 0o600) -> None:
        """Create `path` with `data`, wholly or not at all, replacing what was there."""
        partial = path.with_name(path.name + ".part")
        descriptor = self.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            os.fchmod(descriptor, mode)
            self.write_all(descriptor, data)
            self.fsync(descriptor)
        finally:
            self.close(descriptor)
        self.replace(partial, path)
        self.sync_directory(path.parent)


#: the real disk
DISK = Files()
