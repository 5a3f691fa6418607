"""/dev/nsm: documents of AWS Nitro enclaves, from the Nitro Security Module.

The structure is that of include/uapi/linux/nsm.h; requests and answers are CBOR, as Amazon's nsm-api writes them.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import cbor2

from bastion_tee import cbor
from bastion_tee.evidence import Evidence
from bastion_tee.providers.base import BOOT_ID, Ask, Device, boot_id, check_about, check_asked, failed

DEVICE = Path("/dev/nsm")
SOURCE = "nsm"
#: the kernel takes no larger place for an answer (NSM_RESPONSE_MAX_SIZE)
ANSWER = 0x3000

#: _IOWR(0x0A, 0, 32 bytes). The kernel lets only processes with CAP_SYS_ADMIN ask
RAW = 0xC0200A00


class Part(ctypes.Structure):
    """struct nsm_iovec: where bytes are, and how many."""

    _fields_ = (("address", ctypes.c_uint64), ("length", ctypes.c_uint64))


class Message(ctypes.Structure):
    """struct nsm_raw. The kernel writes the length of the answer."""

    _fields_ = (("request", Part), ("answer", Part))


class NitroProvider:
    """Evidence of Nitro enclaves.

    Args:
        device: its path.
        boot: where the kernel's boot id is.
        asking: as of `base.Device`.

    Raises:
        ServerError: server.evidence.missing, server.evidence.rights: the device cannot be opened.
    """

    name, platform = SOURCE, "nitro"

    def __init__(self, device: Path = DEVICE, *, boot: Path = BOOT_ID, **asking: Any) -> None:
        self._device, self._boot = Device(device, SOURCE, **asking), boot

    def evidence(self, report_data: bytes) -> Evidence:
        """Return evidence about 64 bytes, which are the document's `user_data`. See `base.Provider`."""
        check_asked(report_data, SOURCE)
        asked = cbor2.dumps({"Attestation": {"user_data": report_data, "nonce": None, "public_key": None}})
        document = _document(self._device.ask(lambda ioctl: _answer(ioctl, asked)))
        check_about(document, report_data, SOURCE)
        return Evidence("nitro", document, boot=boot_id(self._boot))


def _answer(ioctl: Ask, asked: bytes) -> bytes:
    request = (ctypes.c_uint8 * len(asked)).from_buffer_copy(asked)
    answer = (ctypes.c_uint8 * ANSWER)()
    message = Message(Part(ctypes.addressof(request), len(asked)), Part(ctypes.addressof(answer), ANSWER))
    ioctl(RAW, message)
    return bytes(answer)[: message.answer.length]


def _document(answer: bytes) -> bytes:
    """Return the document of an answer: `{"Attestation": {"document": ...}}`, or `{"Error": "InvalidArgument"}`."""
    try:
        found = cbor.read(answer)
    except cbor.Malformed:
        raise failed("format", SOURCE, "The answer cannot be read.") from None
    match found:
        case {"Attestation": {"document": bytes() as document}}:
            return document
        case {"Error": str() as name} if name.isalpha():
            raise failed("failed", SOURCE, f"The module answered {name[:40]}.")
    raise failed("format", SOURCE, "The answer is of another kind.")
