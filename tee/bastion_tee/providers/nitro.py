"""/dev/nsm: documents of AWS Nitro enclaves, from the Nitro Security Module.

The structure is that of include/uapi/linux/nsm.h; requests and answers are CBOR, as Amazon's nsm-api writes them.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2

from bastion_tee import cbor
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
    refused,
)

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


#: ioctl(descriptor, number, structure), which changes the structure; raises OSError
Ioctl = Callable[[int, int, Any], object]


class NitroProvider:
    """Evidence of Nitro enclaves.

    Args:
        device: its path.
        pauses: seconds to wait before each further try where the module is busy.
        ioctl: fcntl's; another in tests.
        boot: where the kernel's boot id is.

    Raises:
        ServerError: server.evidence.missing, server.evidence.rights: the device cannot be opened.
    """

    name, platform = SOURCE, "nitro"

    def __init__(
        self,
        device: Path = DEVICE,
        *,
        pauses: tuple[float, ...] = PAUSES,
        sleep: Sleep = time.sleep,
        ioctl: Ioctl = fcntl.ioctl,
        boot: Path = BOOT_ID,
    ) -> None:
        self._device, self._pauses, self._sleep, self._ioctl, self._boot = device, pauses, sleep, ioctl, boot
        try:
            os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            raise refused(error, SOURCE) from None

    def evidence(self, report_data: bytes) -> Evidence:
        """Return evidence about 64 bytes, which are the document's `user_data`. See `base.Provider`."""
        check_asked(report_data, SOURCE)
        asked = cbor2.dumps({"Attestation": {"user_data": report_data, "nonce": None, "public_key": None}})
        answer = attempt(lambda: self._ask(asked), SOURCE, self._pauses, self._sleep)
        document = _document(answer)
        check_about(document, report_data, SOURCE)
        return Evidence("nitro", document, boot=boot_id(self._boot))

    def _ask(self, asked: bytes) -> bytes:
        descriptor = os.open(self._device, os.O_RDWR | os.O_CLOEXEC)
        try:
            request = (ctypes.c_uint8 * len(asked)).from_buffer_copy(asked)
            answer = (ctypes.c_uint8 * ANSWER)()
            message = Message(Part(ctypes.addressof(request), len(asked)), Part(ctypes.addressof(answer), ANSWER))
            self._ioctl(descriptor, RAW, message)
            return bytes(answer)[: message.answer.length]
        finally:
            os.close(descriptor)


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
