"""A strict reader of DER: what AMD's certificates and revocation lists are made of.

Why not `cryptography.x509`: every VCEK and VLEK has the serial number 0, for which it warns that it "will cause an exception in a
future release"; and the checks here need the bytes themselves (outer against inner algorithm, unused bits, what is left over).
The reader is given one place at a time, never follows what it reads, and refuses what DER does not allow: there is one way to
read a certificate, and it is this one.
"""

from __future__ import annotations

from calendar import timegm

SEQUENCE, SET, INTEGER, BOOLEAN, BIT_STRING, OCTET_STRING, OID = 0x30, 0x31, 0x02, 0x01, 0x03, 0x04, 0x06
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
STRINGS = (0x0C, 0x13, 0x16)  # UTF8String, PrintableString, IA5String


class DerError(ValueError):
    """Bytes that are no DER, or not of the form that is asked for."""


class Reader:
    """Reads elements one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def more(self) -> bool:
        """Whether there is something left."""
        return self._at < len(self._data)

    @property
    def tag(self) -> int:
        """The tag of what comes next; 0 at the end."""
        return self._data[self._at] if self.more else 0

    def element(self, *tags: int) -> tuple[bytes, bytes]:
        """Return the next element's content, and all of its bytes.

        Raises:
            DerError: no element, another tag, a length that is not the shortest way to write it, or more than there is.
        """
        data, start = self._data, self._at
        if len(data) - start < 2 or data[start] not in tags:
            raise DerError
        length, at = data[start + 1], start + 2
        if length & 0x80:
            size = length & 0x7F
            digits = data[at : at + size]
            # three bytes of length are 16 MiB: no input is that large
            if not 1 <= size <= 3 or len(digits) != size:
                raise DerError
            length, at = int.from_bytes(digits, "big"), at + size
            if length < 0x80 or digits[0] == 0:
                raise DerError
        if length > len(data) - at:
            raise DerError
        self._at = at + length
        return data[at : self._at], data[start : self._at]

    def content(self, *tags: int) -> bytes:
        """Return the next element's content."""
        return self.element(*tags)[0]

    def whole(self, *tags: int) -> bytes:
        """Return all bytes of the next element."""
        return self.element(*tags)[1]

    def inner(self, *tags: int) -> Reader:
        """Return a reader of the next element's content."""
        return Reader(self.content(*tags))

    def end(self) -> None:
        """Refuse what is left over."""
        if self.more:
            raise DerError

    def integer(self) -> int:
        """Return the next integer, 0 or more, in its shortest form."""
        digits = self.content(INTEGER)
        if not digits or digits[0] & 0x80 or (digits[0] == 0 and len(digits) > 1 and not digits[1] & 0x80):
            raise DerError
        return int.from_bytes(digits, "big")

    def true(self) -> bool:
        """Return whether TRUE is next; FALSE, which DER leaves out, is as good as nothing."""
        if self.tag != BOOLEAN:
            return False
        value = self.content(BOOLEAN)
        if value not in (b"\xff", b"\0"):
            raise DerError
        return value == b"\xff"

    def bits(self) -> bytes:
        """Return the next bit string, which must be of whole bytes."""
        content = self.content(BIT_STRING)
        if not content or content[0] != 0:
            raise DerError
        return content[1:]

    def oid(self) -> str:
        """Return the next object identifier with dots."""
        content = self.content(OID)
        if not content or content[-1] & 0x80:
            raise DerError
        arcs, value, begins = [], 0, True
        for byte in content:
            if (begins and byte == 0x80) or value >> 32:
                raise DerError
            value, begins = value << 7 | byte & 0x7F, not byte & 0x80
            if begins:
                arcs.append(value)
                value = 0
        first = min(arcs[0] // 40, 2)
        return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))

    def time(self) -> float:
        """Return the next time in seconds since 1970: UTCTime or GeneralizedTime, with seconds and in UTC (RFC 5280, 4.1.2.5)."""
        short = self.tag == UTC_TIME
        text = self.content(UTC_TIME, GENERALIZED_TIME)
        digits = text[:-1]
        if len(text) != (13 if short else 15) or text[-1:] != b"Z" or not digits.isdigit():
            raise DerError
        if short:
            digits = (b"19" if digits[:2] >= b"50" else b"20") + digits
        year, (month, day, hour, minute, second) = int(digits[:4]), (int(digits[i : i + 2]) for i in range(4, 14, 2))
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
        if (
            year < 1950
            or not 1 <= month <= 12
            or not 1 <= day <= days[month - 1]
            or hour > 23
            or minute > 59
            or second > 59
        ):
            raise DerError
        return float(timegm((year, month, day, hour, minute, second)))


def extensions(reader: Reader) -> dict[str, tuple[bool, bytes]]:
    """Return the extensions of a certificate or a list: whether each is critical, and its value, by object identifier."""
    found: dict[str, tuple[bool, bytes]] = {}
    while reader.more:
        one = reader.inner(SEQUENCE)
        name = one.oid()
        if name in found:  # two of one name could be read two ways
            raise DerError
        found[name] = (one.true(), one.content(OCTET_STRING))
        one.end()
    return found
