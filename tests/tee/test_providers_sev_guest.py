"""/dev/sev-guest, with a function that does what the kernel's ioctl does: reads and writes at the addresses it is given."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bastion_plan.errors import ServerError
from bastion_tee.evidence import Evidence
from bastion_tee.providers import sev_guest
from bastion_tee.providers.sev_guest import GET_EXT_REPORT, GET_REPORT, Answer, Call, Request, SevGuestProvider

ASKED = bytes(range(64))
GUID = b"\x63\xda\x75\x8d" + bytes(12)


def report_of(asked: bytes, vmpl: int) -> bytes:
    return (bytes(80) + asked + bytes([vmpl])).ljust(1184, b"\xaa")


def table(*certificates: bytes) -> bytes:
    """A certificate table: entries, one of zeros, then the certificates."""
    place, entries, body = 24 * (len(certificates) + 1), b"", b""
    for certificate in certificates:
        entries += GUID + struct.pack("<II", place + len(body), len(certificate))
        body += certificate
    return entries + bytes(24) + body


class Device:
    """The kernel's side. `fails`: errors to raise before anything else, one a call."""

    def __init__(self, certificates: bytes = b"", *, fails: tuple[int, ...] = (), status: int = 0) -> None:
        self.certificates, self.fails, self.status = certificates, list(fails), status
        self.size, self.calls, self.make = 1184, list[int](), report_of

    def __call__(self, descriptor: int, number: int, call: Call) -> object:
        assert descriptor > 2 and isinstance(call, Call) and ctypes.sizeof(call) == 32 and call.version == 1
        self.calls.append(number)
        call.firmware_error, call.host_error = 0xFF, 0
        if self.fails:
            raise OSError(self.fails.pop(0), "")
        raw = ctypes.string_at(call.request, 112 if number == GET_EXT_REPORT else 96)
        asked, (vmpl,), rest = raw[:64], struct.unpack_from("<I", raw, 64), raw[68:96]
        assert rest == bytes(28)
        if number == GET_EXT_REPORT:
            address, length = struct.unpack_from("<QI", raw, 96)
            assert length % 4096 == 0 and length <= 16 << 10
            if len(self.certificates) > length:
                call.host_error, call.firmware_error = 1, 0
                raise OSError(errno.EIO, "")
            ctypes.memmove(address, self.certificates.ljust(length, b"\0"), length)
        head = struct.pack("<II24x", self.status, self.size)
        ctypes.memmove(call.answer, (head + self.make(asked, vmpl)).ljust(4000, b"\0"), 4000)
        call.firmware_error = 0
        return 0


def provider(tmp_path: Path, device: Callable[..., Any], **options: Any) -> tuple[SevGuestProvider, list[float]]:
    path, slept = tmp_path / "sev-guest", list[float]()
    path.touch()
    return SevGuestProvider(path, ioctl=device, sleep=slept.append, **options), slept


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(ServerError) as caught:
        call()
    assert caught.value.details == {"provider": "sev-guest"} and caught.value.next_step
    return caught.value.code


def test_the_kernels_structures():
    """Sizes and numbers of include/uapi/linux/sev-guest.h."""
    assert (ctypes.sizeof(Call), ctypes.sizeof(Request), ctypes.sizeof(Answer)) == (32, 112, 4000)
    assert (Request.certificates.offset, Call.request.offset, Call.host_error.offset) == (96, 8, 28)
    iowr = [3 << 30 | 32 << 16 | ord("S") << 8 | number for number in (0, 2)]
    assert iowr == [GET_REPORT, GET_EXT_REPORT]


def test_evidence_with_certificates(tmp_path: Path):
    certificates = table(b"vcek" * 400, b"ask" * 400, b"ark" * 400)
    (tmp_path / "boot").write_text("0b0e\n")
    device = Device(certificates)
    source, slept = provider(tmp_path, device, boot=tmp_path / "boot")
    assert (source.name, source.platform) == ("sev-guest", "sev-snp")
    assert source.evidence(ASKED) == Evidence("sev-snp", report_of(ASKED, 0), (certificates,), boot="0b0e")
    assert slept == [] and device.calls == [GET_EXT_REPORT]


def test_evidence_without_certificates(tmp_path: Path):
    assert provider(tmp_path, Device())[0].evidence(ASKED).certificates == ()


def test_a_table_that_fills_its_place(tmp_path: Path):
    """More entries than fit, none of zeros: all of the place is given on, for the verifier to judge."""
    device = Device((GUID + struct.pack("<II", 0, 16 << 10)) * 682)
    assert len(provider(tmp_path, device)[0].evidence(ASKED).certificates[0]) == 16 << 10


def test_a_table_that_points_behind_its_place(tmp_path: Path):
    device = Device(GUID + struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF))
    assert len(provider(tmp_path, device)[0].evidence(ASKED).certificates[0]) == 16 << 10


def test_more_certificates_than_fit(tmp_path: Path):
    device = Device(table(bytes(20000)))
    source, slept = provider(tmp_path, device)
    found = source.evidence(ASKED)
    assert found.report == report_of(ASKED, 0) and found.certificates == ()
    assert device.calls == [GET_EXT_REPORT, GET_REPORT] and slept == []


def test_the_privilege_level(tmp_path: Path):
    assert provider(tmp_path, Device(), vmpl=2)[0].evidence(ASKED).report[144] == 2


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT])
def test_a_busy_host_is_asked_again(tmp_path: Path, number: int):
    source, slept = provider(tmp_path, Device(fails=(number, number)))
    assert source.evidence(ASKED).report == report_of(ASKED, 0)
    assert slept == [0.1, 0.2]


def test_a_host_that_stays_busy(tmp_path: Path):
    source, slept = provider(tmp_path, Device(fails=(errno.EAGAIN,) * 100), pauses=(1.0, 2.0))
    assert code_of(lambda: source.evidence(ASKED)) == "server.evidence.busy"
    assert slept == [1.0, 2.0]


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.EIO, "failed"), (errno.ENOTTY, "failed"), (errno.EACCES, "rights"), (errno.ENODEV, "missing")],
)
def test_errors_have_their_own_codes(tmp_path: Path, number: int, code: str):
    source, slept = provider(tmp_path, Device(fails=(number,)))
    assert code_of(lambda: source.evidence(ASKED)) == f"server.evidence.{code}"
    assert slept == []


@pytest.mark.parametrize(("change", "value", "code"), [("status", 0x16, "failed"), ("size", 1183, "format")])
def test_answers_that_are_no_report(tmp_path: Path, change: str, value: int, code: str):
    device = Device()
    setattr(device, change, value)
    source, _ = provider(tmp_path, device)
    assert code_of(lambda: source.evidence(ASKED)) == f"server.evidence.{code}"


def test_a_report_about_something_else(tmp_path: Path):
    device = Device()
    device.make = lambda asked, vmpl: bytes(1184)
    source, _ = provider(tmp_path, device)
    assert code_of(lambda: source.evidence(ASKED)) == "server.evidence.other"


def test_only_64_bytes(tmp_path: Path):
    source, _ = provider(tmp_path, Device())
    assert code_of(lambda: source.evidence(ASKED[:63])) == "server.evidence.asked"


def test_no_device(tmp_path: Path):
    assert code_of(lambda: SevGuestProvider(tmp_path / "sev-guest")) == "server.evidence.missing"
    assert code_of(lambda: SevGuestProvider(tmp_path)) == "server.evidence.failed"  # a directory


def test_a_file_is_no_device(tmp_path: Path):
    """The real ioctl, on something that is no such device."""
    path = tmp_path / "sev-guest"
    path.touch()
    source = SevGuestProvider(path, ioctl=fcntl.ioctl)
    assert code_of(lambda: source.evidence(ASKED)) == "server.evidence.failed"


def test_pythons_ioctl_gives_back_what_the_kernel_wrote():
    """`fcntl.ioctl` on a structure changes it in place: the kernel's error words are read from there."""
    import os
    import termios

    left, right = os.openpty()
    try:
        size = (ctypes.c_uint16 * 4)()
        fcntl.ioctl(left, termios.TIOCSWINSZ, struct.pack("HHHH", 7, 9, 0, 0))
        fcntl.ioctl(right, termios.TIOCGWINSZ, size)
        assert list(size) == [7, 9, 0, 0]
    finally:
        os.close(left)
        os.close(right)


def test_the_table_stops_at_zeros():
    assert sev_guest._table(bytes(4096)) == b""
    assert sev_guest._table(table(b"x") + bytes(4000)) == table(b"x")
