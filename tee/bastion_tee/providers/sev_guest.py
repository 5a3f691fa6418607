"""/dev/sev-guest: reports of SEV-SNP guests where the kernel has no configfs-tsm (before 6.7).

The structures are those of include/uapi/linux/sev-guest.h; the answer is MSG_REPORT_RSP of AMD's SEV Secure Nested Paging Firmware
ABI (56860), and the certificates are the table of the GHCB specification (56421, 4.1.8.1).
"""

from __future__ import annotations

import ctypes
import errno
import struct
from pathlib import Path
from typing import Any

from bastion_tee.evidence import Evidence
from bastion_tee.providers.base import BOOT_ID, Ask, Device, boot_id, check_about, check_asked, failed

DEVICE = Path("/dev/sev-guest")
SOURCE = "sev-guest"
REPORT = 1184
#: the kernel takes no larger place for the certificates (SEV_FW_BLOB_MAX_SIZE)
CERTIFICATES = 16 << 10
_ENTRY = struct.Struct("<16sII")

#: _IOWR('S', 0 and 2, 32 bytes)
GET_REPORT, GET_EXT_REPORT = 0xC0205300, 0xC0205302
_TOO_SMALL = 1  # SNP_GUEST_VMM_ERR_INVALID_LEN


class Call(ctypes.Structure):
    """struct snp_guest_request_ioctl."""

    _fields_ = (
        ("version", ctypes.c_uint8), ("request", ctypes.c_uint64), ("answer", ctypes.c_uint64),
        ("firmware_error", ctypes.c_uint32), ("host_error", ctypes.c_uint32),
    )  # fmt: skip


class Request(ctypes.Structure):
    """struct snp_ext_report_req, which begins with a struct snp_report_req."""

    _fields_ = (
        ("report_data", ctypes.c_uint8 * 64), ("vmpl", ctypes.c_uint32), ("reserved", ctypes.c_uint8 * 28),
        ("certificates", ctypes.c_uint64), ("certificates_length", ctypes.c_uint32),
    )  # fmt: skip


class Answer(ctypes.Structure):
    """struct snp_report_resp: 4,000 bytes, which begin with the firmware's header."""

    _fields_ = (
        ("status", ctypes.c_uint32), ("size", ctypes.c_uint32), ("reserved", ctypes.c_uint8 * 24),
        ("report", ctypes.c_uint8 * (4000 - 32)),
    )  # fmt: skip


class SevGuestProvider:
    """Evidence of SEV-SNP through the guest driver's device.

    Args:
        device: its path. vmpl: privilege level to ask at.
        boot: where the kernel's boot id is.
        asking: as of `base.Device`.

    Raises:
        ServerError: server.evidence.missing, server.evidence.rights: the device cannot be opened.
    """

    name, platform = SOURCE, "sev-snp"

    def __init__(self, device: Path = DEVICE, *, vmpl: int = 0, boot: Path = BOOT_ID, **asking: Any) -> None:
        self._device, self._vmpl, self._boot = Device(device, SOURCE, **asking), vmpl, boot

    def evidence(self, report_data: bytes) -> Evidence:
        """Return evidence about 64 bytes. See `base.Provider`."""
        check_asked(report_data, SOURCE)
        report, table = self._device.ask(lambda ioctl: self._answer(ioctl, report_data))
        check_about(report, report_data, SOURCE)
        return Evidence("sev-snp", report, (table,) if table else (), boot=boot_id(self._boot))

    def _answer(self, ioctl: Ask, report_data: bytes) -> tuple[bytes, bytes]:
        """Ask for the report with the certificates; for the report alone where the host has more of them than fit."""
        place = (ctypes.c_uint8 * CERTIFICATES)()
        request, answer = Request(vmpl=self._vmpl), Answer()
        request.report_data[:] = report_data
        request.certificates, request.certificates_length = ctypes.addressof(place), CERTIFICATES
        call = Call(version=1, request=ctypes.addressof(request), answer=ctypes.addressof(answer))
        try:
            ioctl(GET_EXT_REPORT, call)
        except OSError as error:
            if error.errno != errno.EIO or call.host_error != _TOO_SMALL:
                raise
            call = Call(version=1, request=ctypes.addressof(request), answer=ctypes.addressof(answer))
            ioctl(GET_REPORT, call)
            return _report(answer), b""
        return _report(answer), _table(bytes(place))


def _report(answer: Answer) -> bytes:
    if answer.status:
        raise failed("failed", SOURCE, f"The firmware answered {answer.status:#x}.")
    if answer.size != REPORT:
        raise failed("format", SOURCE, f"The report has {answer.size} bytes.")
    return bytes(answer.report[:REPORT])


def _table(place: bytes) -> bytes:
    """Return the certificate table without the zeros behind it; b"" where the host gave none.

    Its entries, each a GUID, a place and a length, end with one of zeros. What they say is the host's word: a verifier checks it.
    """
    end = 0
    for _, offset, length in _ENTRY.iter_unpack(place[: len(place) // _ENTRY.size * _ENTRY.size]):
        if offset == length == 0:
            break
        end = max(end, offset + length)
    return place[:end]
