"""Where certificates come from: DER, PEM, or the table that a host gives its guests.

The table (GHCB specification 56421, "SNP Extended Guest Request"; `auxblob` of configfs-tsm): entries of a GUID, an offset and a
length, an entry of zeroes, then the certificates.
"""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Iterable
from uuid import UUID

from bastion_tee.verdict import Refused

#: certificates in all, and bytes of one source: a table of a host is at most four pages
MAX_CERTIFICATES, MAX_BYTES, MAX_ENTRIES = 16, 1 << 16, 32
#: GUIDs of VCEK, VLEK, ASK (and ASVK), ARK; what else is in a table is none of ours
_GUIDS = (
    "63da758d-e664-4564-adc5-f4b93be8accd", "a8074bc2-a25a-483e-aae6-39c045a0b8a1",
    "4ab7b379-bbac-4fe4-a02f-05aef327c782", "c0b406a4-a803-4952-9743-3fb6014cd0ae",
)  # fmt: skip
#: as AMD's tools write them, and with their first parts little endian, as some hosts do: what a certificate is, it says itself
_KNOWN = {form for guid in _GUIDS for form in (UUID(guid).bytes, UUID(guid).bytes_le)}
_ENTRY = 24


def certificates(sources: Iterable[bytes]) -> list[bytes]:
    """Return the DER of certificates in the order of the sources.

    Raises:
        Refused: tee.snp.certificates.
    """
    found: list[bytes] = []
    for source in sources:
        if len(source) > MAX_BYTES:
            raise Refused("tee.snp.certificates", f"{len(source)} bytes")
        for one in [source] if source[:1] in (b"\x30", b"-") else table(source):
            found += pem(one, "CERTIFICATE") if one[:1] == b"-" else [one]
        if len(found) > MAX_CERTIFICATES:
            raise Refused("tee.snp.certificates", "too many")
    return found


def pem(text: bytes, label: str) -> list[bytes]:
    """Return the DER of PEM blocks. Nothing but empty lines may be between them.

    Raises:
        Refused: tee.snp.certificates.
    """
    found: list[bytes] = []
    lines: list[bytes] | None = None
    for line in text.splitlines():
        match line.strip(), lines:
            case b"", None:
                pass
            case begin, None if begin == f"-----BEGIN {label}-----".encode():
                lines = []
            case end, list() if end == f"-----END {label}-----".encode():
                found.append(_base64(b"".join(lines)))
                lines = None
            case part, list():
                lines.append(part)
            case _:
                raise Refused("tee.snp.certificates", "a line of PEM")
    if lines is not None or not found:
        raise Refused("tee.snp.certificates", "PEM that does not end")
    return found


def _base64(text: bytes) -> bytes:
    try:
        data = b64decode(text, validate=True)
    except Error:
        data = b""
    if not data or b64encode(data) != text:  # one text for one certificate
        raise Refused("tee.snp.certificates", "a line of PEM")
    return data


def table(blob: bytes) -> list[bytes]:
    """Return the certificates of a host's table; none of an empty one.

    Raises:
        Refused: tee.snp.certificates, where it has no end, or points to where it has nothing.
    """
    entries: list[tuple[int, int]] = []
    at = 0
    while blob:
        guid = blob[at : at + 16]
        if at >= MAX_ENTRIES * _ENTRY or len(blob) < at + _ENTRY:
            raise Refused("tee.snp.certificates", "a table without an end")
        offset, length = struct.unpack_from("<II", blob, at + 16)
        at += _ENTRY
        if not any(guid):
            break
        if guid in _KNOWN and length:
            entries.append((offset, length))
    for offset, length in entries:
        if offset < at or offset + length > len(blob):
            raise Refused("tee.snp.certificates", "a table that points nowhere")
    return [blob[offset : offset + length] for offset, length in entries]
