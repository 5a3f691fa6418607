"""A table that may leave the server."""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import polars as pl
from bastion_policy.verdict import ReleaseNote

from bastion_server.workers.lease import Answer


@dataclass
class Result:
    """A table that may leave: bytes of an Arrow IPC file, or a memory file."""

    answer: Answer
    fd: int = -1
    note: ReleaseNote = field(default_factory=ReleaseNote)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @contextmanager
    def opened(self) -> Iterator[memoryview]:
        """The bytes of the Arrow IPC file, without a copy."""
        if self.fd < 0:
            with memoryview(self.answer) as view:
                yield view
            return
        with mmap.mmap(self.fd, 0, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
            yield view

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """Column names and dtypes."""
        return pl.read_ipc_schema(f"/proc/self/fd/{self.fd}" if self.fd >= 0 else io.BytesIO(self.answer))
