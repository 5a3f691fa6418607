"""A disk that fails at a chosen call."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from bastion_server.store.files import Files


class FaultyFiles(Files):
    """Counts the calls that change the disk; from call `fail_at` on (0-based) they raise, for `failures` calls.

    torn: a failing write first writes half of its data. Calls made are in `calls`.
    """

    def __init__(
        self, fail_at: int | None = None, code: int = errno.ENOSPC, *, torn: bool = False, failures: int = 1 << 30
    ) -> None:
        self.fail_at, self.code, self.torn, self.failures = fail_at, code, torn, failures
        self.calls: list[str] = []
        self.failed = 0

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> int:
        if self._step("write"):
            if self.torn:
                os.write(descriptor, memoryview(data)[: len(data) // 2])
            self._raise()
        return super().write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        if self._step("fsync"):
            self._raise()
        super().fsync(descriptor)

    def fdatasync(self, descriptor: int) -> None:
        if self._step("fdatasync"):
            self._raise()
        super().fdatasync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        if self._step("truncate"):
            self._raise()
        super().truncate(descriptor, size)

    def replace(self, source: Path, target: Path) -> None:
        if self._step("replace"):
            self._raise()
        super().replace(source, target)

    def unlink(self, path: Path) -> None:
        if self._step("unlink"):
            self._raise()
        super().unlink(path)

    def _step(self, name: str) -> bool:
        position = len(self.calls)
        self.calls.append(name)
        due = self.fail_at is not None and position >= self.fail_at and self.failed < self.failures
        self.failed += due
        return due

    def _raise(self) -> None:
        raise OSError(self.code, os.strerror(self.code))
