"""What every source of evidence has in common: the protocol, its errors, and the boot id."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bastion_plan.errors import ServerError

from bastion_tee.evidence import Evidence

#: bytes that evidence is asked to be about (`binding.Binding.report_data`)
REPORT_DATA = 64
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

#: answers of a kernel that has something else to do just now
PASSING = frozenset({errno.EBUSY, errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT})
#: seconds to wait before each further try: 6.3 in all
PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)

Sleep = Callable[[float], None]
#: ioctl(descriptor, number, structure), which changes the structure; raises OSError
Ioctl = Callable[[int, int, Any], object]
#: the same, of a device that is open
Ask = Callable[[int, Any], object]
_T = TypeVar("_T")


class Provider(Protocol):
    """A source of evidence. May be used by several threads at once; may block for seconds, so not on an event loop.

    Attributes:
        name: of the source: "configfs-tsm", "sev-guest", "nsm", "simulated".
        platform: of what it gives, one of `verdict.PLATFORMS`.
    """

    @property
    def name(self) -> str:
        """Name of the source."""
        ...

    @property
    def platform(self) -> str:
        """Platform of its evidence."""
        ...

    def evidence(self, report_data: bytes) -> Evidence:
        """Return evidence about 64 bytes.

        Raises:
            ServerError: server.evidence.* (see `failed`).
        """
        ...


_SENTENCES = {
    "none": ("This machine has no source of evidence.", "Start the server in a confidential virtual machine, or without attestation."),
    "missing": ("The source of evidence is gone.", "Look whether the guest driver is still loaded."),
    "rights": ("The server may not ask for evidence.", "Run it as root, or give its user the right to the source (tee/deploy/bastionlab.service)."),
    "busy": ("The platform was too busy to give evidence.", "Try again in a moment."),
    "raced": ("Something else wrote to the report while it was made.", "Find out what else on this machine asks for reports."),
    "unknown": ("The platform is one that this version does not know.", "Update BastionLab."),
    "failed": ("The platform gave no evidence.", "Look at the kernel's log. A guest whose key to the firmware is gone must be restarted."),
    "format": ("What the platform gave is no evidence.", "Look at the kernel's log."),
    "other": ("The evidence is about something else than what was asked for.", "Find out what else on this machine asks for reports."),
    "asked": ("Evidence is about 64 bytes.", "Give 64 bytes."),
}  # fmt: skip


def failed(kind: str, source: str, reason: str = "") -> ServerError:
    """Return the error of a kind, with the code server.evidence.KIND.

    Args:
        kind: none, missing, rights, busy, raced, unknown, failed, format, other, asked.
        source: name of the provider.
        reason: why, in words of ours: names and numbers of errors, never bytes of a report.
    """
    sentence, step = _SENTENCES[kind]
    return ServerError(
        sentence, code=f"server.evidence.{kind}", reason=reason, next_step=step, details={"provider": source}
    )


def refused(error: OSError, source: str) -> ServerError:
    """Return what an error of the operating system comes to."""
    name = errno.errorcode.get(error.errno or 0, "an error without a number")
    if error.errno in PASSING:
        kind = "busy"
    elif error.errno in (errno.EACCES, errno.EPERM):
        kind = "rights"
    elif error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        kind = "missing"
    else:
        kind = "failed"
    return failed(kind, source, f"The kernel answered {name}.")


def attempt(once: Callable[[], _T], source: str, pauses: tuple[float, ...], sleep: Sleep) -> _T:
    """Do something; again after each pause, where the kernel was busy or somebody else came between.

    Raises:
        ServerError: of the last try, or of the first that another would not help.
    """
    try:
        return once()
    except OSError as error:
        problem = refused(error, source)
    except ServerError as error:
        problem = error
    if not pauses or problem.code not in ("server.evidence.busy", "server.evidence.raced"):
        raise problem from None
    sleep(pauses[0])
    return attempt(once, source, pauses[1:], sleep)


class Device:
    """A device of the kernel that is asked by ioctl; opened for each question, so that a driver that was loaded anew is found.

    Args:
        path: of the device. source: name of the provider.
        pauses: seconds to wait before each further try where the kernel is busy.
        ioctl: fcntl's; another in tests.

    Raises:
        ServerError: server.evidence.missing, server.evidence.rights: the device cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        source: str,
        *,
        pauses: tuple[float, ...] = PAUSES,
        sleep: Sleep = time.sleep,
        ioctl: Ioctl = fcntl.ioctl,
    ) -> None:
        self._path, self._source, self._pauses, self._sleep, self._ioctl = path, source, pauses, sleep, ioctl
        try:
            os.close(self._open())
        except OSError as error:
            raise refused(error, source) from None

    def ask(self, question: Callable[[Ask], _T]) -> _T:
        """Return what a question comes to, which is called with the open device's ioctl, and again as `attempt` says.

        Raises:
            ServerError: as `attempt`.
        """
        return attempt(lambda: self._once(question), self._source, self._pauses, self._sleep)

    def _once(self, question: Callable[[Ask], _T]) -> _T:
        descriptor = self._open()
        try:
            return question(partial(self._ioctl, descriptor))
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CLOEXEC)


def check_asked(report_data: bytes, source: str) -> None:
    """Refuse report data of another length: a platform would fill it up or cut it off."""
    if len(report_data) != REPORT_DATA:
        raise failed("asked", source, f"{len(report_data)} bytes were given.")


def check_about(report: bytes, report_data: bytes, source: str) -> None:
    """Refuse a report that does not hold what was asked for.

    A client would refuse it, too (`tee.policy.report-data`); here it says which machine is to be mended.
    """
    if report_data not in report:
        raise failed("other", source)


def boot_id(path: Path = BOOT_ID) -> str:
    """Return the kernel's boot id, or "" where it has none to read."""
    try:
        return path.read_text("ascii").strip()[:64]
    except (OSError, UnicodeDecodeError):
        return ""
