"""A tree that behaves like the kernel's /sys/kernel/config/tsm/report, backed by a signer of the test's.

Plain files cannot: `generation` counts writes, `outblob` is made when it is read, a written `inblob` counts only when it is
closed and its error is told to nobody, `mkdir` fills a directory and `rmdir` removes a full one. So `Kernel` has the rules of
drivers/virt/coco/tsm.c and fs/configfs/file.c, and `fuse_tree` lets any process reach it by an ordinary path:

    with tsm_tree("sev_guest", sign) as tree:      # sign(report_data, privlevel) -> (outblob, auxblob)
        start(..., tsm_root=tree.path)             # a real server in a process of its own
        tree.kernel.sign = another                 # another measurement from now on

Where nothing can be mounted, the test is skipped and says why.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import fuse_tree
import pytest

#: what signs: (inblob, privlevel) -> (outblob, auxblob)
Sign = Callable[[bytes, int], tuple[bytes, bytes]]
#: what a test looks at, changes or refuses: (operation, name of the report, attribute); may raise OSError
Watch = Callable[[str, str, str], None]

_WRAP = 1 << 64
_INBLOB_MAX, _OUTBLOB_MAX = 64, 32 << 10
_BINARY = ("inblob", "outblob", "auxblob")
_MODES = {
    "generation": 0o400, "provider": 0o400, "privlevel": 0o200, "privlevel_floor": 0o400,
    "inblob": 0o200, "outblob": 0o400, "auxblob": 0o400,
}  # fmt: skip


@dataclass
class Report:
    """One directory below the root (`struct tsm_report_state`)."""

    name: str
    node: int
    attributes: dict[str, int]
    writes: int = 0
    reads: int = 0
    inblob: bytes = b""
    privlevel: int = 0
    blobs: tuple[bytes, bytes] | None = None
    dead: bool = False


@dataclass
class _Open:
    report: Report
    attribute: str
    buffer: bytes | None = None
    written: bool = False


@dataclass
class Kernel:
    """The rules of configfs-tsm. `provider`: its name; None: no driver is loaded. `watch` is called before each operation."""

    provider: str | None
    sign: Sign
    floor: int = 0
    watch: Watch = field(default=lambda operation, report, attribute: None)
    made: int = 0

    def __post_init__(self) -> None:
        self._reports: dict[str, Report] = {}
        self._nodes: dict[int, tuple[Report, str]] = {}
        self._open: dict[int, _Open] = {}
        self._last = fuse_tree.ROOT
        self._lock = threading.RLock()

    @property
    def reports(self) -> list[str]:
        """The names of the directories that are there."""
        return sorted(self._reports)

    def visible(self) -> tuple[str, ...]:
        """The attributes that a report has with this provider (`report_attr_visible`)."""
        if self.provider == "tdx_guest":
            return ("generation", "provider", "inblob", "outblob")
        return tuple(_MODES)

    # ---- directories -----------------------------------------------------------------------------------------------

    def find(self, parent: int, name: str) -> int:
        if parent == fuse_tree.ROOT:
            if name in self._reports:
                return self._reports[name].node
        elif name in self._nodes[parent][0].attributes:
            return self._nodes[parent][0].attributes[name]
        raise OSError(errno.ENOENT, name)

    def mode(self, node: int) -> int:
        if node == fuse_tree.ROOT:
            return stat.S_IFDIR | 0o755
        attribute = self._nodes[node][1]
        return stat.S_IFREG | _MODES[attribute] if attribute else stat.S_IFDIR | 0o755

    def names(self, node: int) -> list[tuple[str, int]]:
        if node == fuse_tree.ROOT:
            return [(report.name, report.node) for report in self._reports.values()]
        return list(self._nodes[node][0].attributes.items())

    def make(self, parent: int, name: str) -> int:
        self.watch("mkdir", name, "")
        if parent != fuse_tree.ROOT:
            raise OSError(errno.EPERM, name)
        if name in self._reports:
            raise OSError(errno.EEXIST, name)
        if self.provider is None:
            raise OSError(errno.ENXIO, name)
        with self._lock:
            report = Report(name, self._new(), {})
            self._nodes[report.node] = (report, "")
            for attribute in self.visible():
                report.attributes[attribute] = self._new()
                self._nodes[report.attributes[attribute]] = (report, attribute)
            self._reports[name] = report
            self.made += 1
        return report.node

    def remove(self, parent: int, name: str) -> None:
        self.watch("rmdir", name, "")
        if name not in self._reports:
            raise OSError(errno.ENOENT, name)
        self._reports.pop(name).dead = True  # files that are open answer ENOENT from now on

    def _new(self) -> int:
        self._last += 1
        return self._last

    # ---- files -----------------------------------------------------------------------------------------------------

    def open(self, node: int, flags: int) -> int:
        report, attribute = self._nodes[node]
        self.watch("open", report.name, attribute)
        self._alive(report)
        writes = flags & os.O_ACCMODE in (os.O_WRONLY, os.O_RDWR)
        reads = flags & os.O_ACCMODE in (os.O_RDONLY, os.O_RDWR)
        mode = _MODES[attribute]
        if (writes and not mode & 0o200) or (reads and not mode & 0o400):
            raise OSError(errno.EACCES, attribute)  # also to root
        with self._lock:
            handle = self._new()
            self._open[handle] = _Open(report, attribute)
        return handle

    def read(self, handle: int, offset: int, size: int) -> bytes:
        opened = self._open[handle]
        self.watch("read", opened.report.name, opened.attribute)
        if opened.buffer is None:  # made at the first read, kept for the descriptor
            self._alive(opened.report)
            opened.buffer = self._show(opened.report, opened.attribute)
        return opened.buffer[offset : offset + size]

    def write(self, handle: int, offset: int, data: bytes) -> int:
        opened = self._open[handle]
        self.watch("write", opened.report.name, opened.attribute)
        if opened.attribute in _BINARY:  # gathered; stored when it is closed
            if offset + len(data) > _INBLOB_MAX:
                raise OSError(errno.EFBIG, "")
            old = opened.buffer or b""
            opened.buffer = old[:offset].ljust(offset, b"\0") + data + old[offset + len(data) :]
            opened.written = True
            return len(data)
        self._alive(opened.report)
        self.store(opened.report.name, opened.attribute, data)
        return len(data)

    def close(self, handle: int) -> None:
        opened = self._open.get(handle)
        if opened is None or not opened.written:
            return
        opened.written = False
        with contextlib.suppress(OSError):  # "result of ->release() is ignored"
            self.watch("store", opened.report.name, opened.attribute)
            if not opened.report.dead:
                self.store(opened.report.name, opened.attribute, opened.buffer or b"")

    # ---- attributes (what another writer may do, too) --------------------------------------------------------------

    def store(self, name: str, attribute: str, data: bytes) -> None:
        """Write an attribute of a report, as a program that has the directory open would."""
        with self._lock:
            report = self._reports[name]
            value = 0
            if attribute == "privlevel":
                text = data.decode().strip()
                value = int(text) if text.isdigit() else -1
                if not self.floor <= value <= 3:
                    raise OSError(errno.EINVAL, attribute)
            if report.writes == (report.reads - 1) % _WRAP:  # as many writes as numbers, and never a read
                raise OSError(errno.EBUSY, attribute)
            report.writes = (report.writes + 1) % _WRAP
            if attribute == "privlevel":
                report.privlevel = value
            else:
                report.inblob = data

    def _show(self, report: Report, attribute: str) -> bytes:
        with self._lock:
            if attribute == "generation":
                return b"%d\n" % report.writes
            if self.provider is None:
                raise OSError(errno.ENXIO, attribute)
            if attribute == "provider":
                return self.provider.encode() + b"\n"
            if attribute == "privlevel_floor":
                return b"%d\n" % self.floor
            return self._blob(report, attribute)

    def _blob(self, report: Report, attribute: str) -> bytes:
        if not report.inblob:
            raise OSError(errno.EINVAL, attribute)
        if report.blobs is None or report.reads != report.writes:  # stale: made anew
            report.blobs = None
            if self.provider == "sev_guest" and (len(report.inblob) != _INBLOB_MAX or report.privlevel < self.floor):
                raise OSError(errno.EINVAL, attribute)
            report.blobs = self.sign(report.inblob, report.privlevel)
            report.reads = report.writes
        found = report.blobs[0 if attribute == "outblob" else 1]
        if len(found) > _OUTBLOB_MAX:
            raise OSError(errno.EFBIG, attribute)
        return found

    def _alive(self, report: Report) -> None:
        if report.dead:
            raise OSError(errno.ENOENT, report.name)


@dataclass(frozen=True)
class TsmTree:
    """kernel: what is behind. path: what a server is given as its root of configfs-tsm."""

    kernel: Kernel
    path: Path


@functools.cache
def unavailable() -> str | None:
    """Return why there can be no such tree here, or None."""
    return fuse_tree.unavailable()


@contextlib.contextmanager
def tsm_tree(provider: str | None, sign: Sign, *, floor: int = 0) -> Iterator[TsmTree]:
    """Mount a tree. Skips the test where nothing can be mounted."""
    reason = unavailable()
    if reason:
        pytest.skip(f"a tree like configfs-tsm needs FUSE, and {reason}")
    kernel = Kernel(provider, sign, floor)
    with fuse_tree.Mount(kernel) as mount:
        yield TsmTree(kernel, mount.path)
