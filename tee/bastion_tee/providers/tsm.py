"""Linux's configfs-tsm (kernel 6.7): one interface to the reports of SEV-SNP and TDX guests.

The kernel's page is Documentation/ABI/testing/configfs-tsm-report. What matters of it here:

* A report is a directory that its user makes. Several writers of one directory disturb each other, so every call makes its own.
* `inblob` counts when it is closed, and close() says nothing of an error. Only `generation`, which counts what was written,
  tells: it must have grown by our own writes and no others, before and after the blobs are read.
* `outblob` is made when it is read and may take seconds (TDX asks a service of the host).
* A directory stays until it is removed. Those of processes that died are removed at the start of the next.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from bastion_tee.evidence import Evidence
from bastion_tee.providers.base import (
    BOOT_ID,
    PAUSES,
    Sleep,
    attempt,
    boot_id,
    check_about,
    check_asked,
    failed,
)

ROOT = Path("/sys/kernel/config/tsm/report")
#: provider of the kernel -> platform
PLATFORMS = {"sev_guest": "sev-snp", "tdx_guest": "tdx"}
SOURCE = "configfs-tsm"
_MADE = re.compile(r"bastion-(\d+)-(\d+)-(\d+)-[0-9a-f]{16}")
#: the kernel gives no blob that is larger
_BLOB = 32 << 10
_ATTRIBUTE = 4096
_T = TypeVar("_T")


class TsmProvider:
    """Evidence of SEV-SNP or TDX through configfs-tsm.

    Args:
        root: where configfs-tsm is; another in tests, and in containers that have it elsewhere.
        privlevel: privilege level (VMPL) to ask at; None: the kernel's own, or the least that it allows.
        pauses: seconds to wait before each further try where the kernel is busy or another writer was there.
        boot: where the kernel's boot id is.

    Raises:
        ServerError: server.evidence.missing, server.evidence.rights, server.evidence.unknown ...
    """

    name = SOURCE

    def __init__(
        self,
        root: Path = ROOT,
        *,
        privlevel: int | None = None,
        pauses: tuple[float, ...] = PAUSES,
        sleep: Sleep = time.sleep,
        boot: Path = BOOT_ID,
    ) -> None:
        self._root, self._privlevel, self._pauses, self._sleep, self._boot = root, privlevel, pauses, sleep, boot
        self._tidy()
        self.platform = self._try(self._look)

    def evidence(self, report_data: bytes) -> Evidence:
        """Return evidence about 64 bytes. See `base.Provider`."""
        check_asked(report_data, SOURCE)
        found = self._try(lambda: self._report(report_data))
        check_about(found.report, report_data, SOURCE)
        return found

    # ---- one try ---------------------------------------------------------------------------------------------------

    def _look(self) -> str:
        with self._directory() as report:
            return _platform(report)

    def _report(self, report_data: bytes) -> Evidence:
        with self._directory() as report:
            platform = _platform(report)
            level = self._level(report)
            before, writes = _number(report / "generation"), 1
            if level is not None:
                _write(report / "privlevel", b"%d" % level)
                writes += 1
            _write(report / "inblob", report_data)
            # INVARIANT: what is read is the report of our own 64 bytes: before and after, the generation has grown by our own
            # writes alone, so none of them was lost (close() does not tell) and nobody else's came between
            ours = (before + writes) % (1 << 64)
            _check_generation(report, ours)
            outblob = _read(report / "outblob", _BLOB)
            auxblob = _read(report / "auxblob", _BLOB) if (report / "auxblob").exists() else b""
            _check_generation(report, ours)
        if not outblob:
            raise failed("format", SOURCE, "The report is empty.")
        return Evidence(platform, outblob, (auxblob,) if auxblob else (), boot=boot_id(self._boot))

    def _level(self, report: Path) -> int | None:
        """The privilege level to write: a guest that does not run at 0 is refused the kernel's default, which is 0."""
        if self._privlevel is not None:
            return self._privlevel
        floor = report / "privlevel_floor"
        return (_number(floor) or None) if floor.exists() else None

    @contextlib.contextmanager
    def _directory(self) -> Iterator[Path]:
        """Make a report and remove it."""
        report = self._root / f"{_own()}-{secrets.token_hex(8)}"
        try:
            report.mkdir()
        except OSError as error:
            if error.errno == errno.ENXIO:
                reason = "No driver of a guest is loaded (sev-guest, tdx-guest)."
                raise failed("missing", SOURCE, reason) from None
            if error.errno == errno.ENOENT:
                raise failed("missing", SOURCE, "configfs-tsm is not there.") from None
            raise
        try:
            yield report
        except FileNotFoundError:  # removed, while it was ours
            raise failed("raced", SOURCE) from None
        finally:
            with contextlib.suppress(OSError):  # what stays is removed at the next start
                report.rmdir()

    # ---- around it -------------------------------------------------------------------------------------------------

    def _try(self, once: Callable[[], _T]) -> _T:
        return attempt(once, SOURCE, self._pauses, self._sleep)

    def _tidy(self) -> None:
        """Remove the reports of servers that died without doing so. Others' reports, and living servers', stay."""
        with contextlib.suppress(OSError):
            for report in sorted(self._root.iterdir()):
                made = _MADE.fullmatch(report.name)
                if made and int(made[1]) == _namespace() and _started(int(made[2])) != int(made[3]):
                    with contextlib.suppress(OSError):
                        report.rmdir()


def _platform(report: Path) -> str:
    name = _read(report / "provider", _ATTRIBUTE).decode("ascii", "replace").strip()
    if name not in PLATFORMS:
        raise failed("unknown", SOURCE, f"The kernel calls it {name[:40]!r}.")
    return PLATFORMS[name]


def _check_generation(report: Path, ours: int) -> None:
    if _number(report / "generation") != ours:
        raise failed("raced", SOURCE)


def _read(path: Path, limit: int) -> bytes:
    """Read an attribute whole. A blob comes in one piece, but nothing promises that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = b""
        while piece := os.read(descriptor, limit + 1):
            found += piece
            if len(found) > limit:
                raise failed("format", SOURCE, f"{path.name} has more than {limit} bytes.")
        return found
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes) -> None:
    """Write an attribute in one piece, as configfs asks; never make a file, and never cut one off."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.EIO, "")
    finally:
        os.close(descriptor)


def _number(path: Path) -> int:
    text = _read(path, _ATTRIBUTE).strip()
    if not text.isdigit() or len(text) > 20:
        raise failed("format", SOURCE, f"{path.name} is no number.")
    return int(text)


def _own() -> str:
    """What this process's reports are called: names that no other process of this machine has, now or later."""
    return f"bastion-{_namespace()}-{os.getpid()}-{_started(os.getpid())}"


def _namespace() -> int:
    """Which process numbers are meant: a container has its own."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _started(pid: int) -> int:
    """When a process began, in ticks since the boot; 0: there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
