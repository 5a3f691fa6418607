"""The reader of DER: one way to write a thing, and no other."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from bastion_tee.snp.der import BIT_STRING, INTEGER, OCTET_STRING, SEQUENCE, DerError, Reader, extensions
from hypothesis import example, given
from hypothesis import strategies as st
from tee_snp import extension, moment, number, oid, tlv


@given(st.lists(st.binary(max_size=300), max_size=4))
@example([b"x" * 0x7F, b"x" * 0x80, b"x" * 0xFF, b"x" * 0x100])
@example([b"x" * 0x10000])
def test_elements(parts):
    reader = Reader(b"".join(tlv(OCTET_STRING, part) for part in parts))
    assert [reader.content(OCTET_STRING) for _ in parts] == parts
    reader.end()
    assert reader.tag == 0


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x04", b"\x04\x01", b"\x30\x00", b"\x04\x80", b"\x04\x80\0\0", b"\x04\x81", b"\x04\x81\x01x", b"\x04\x81\x7f" + b"x" * 127,
        b"\x04\x82\x00\x80" + b"x" * 128, b"\x04\x82\x01", b"\x04\x84\x00\x00\x00\x01x", b"\x04\x84\x01\x00\x00\x00", b"\x04\xff",
    ],
)  # fmt: skip
def test_what_is_no_element(data):
    with pytest.raises(DerError):
        Reader(data).element(OCTET_STRING)


def test_what_is_left_over():
    reader = Reader(b"\x04\x00\x00")
    assert reader.whole(OCTET_STRING) == b"\x04\x00"
    with pytest.raises(DerError):
        reader.end()


@given(st.integers(0, 2**160))
@example(0)
@example(127)
@example(128)
@example(255)
def test_integers(value):
    assert Reader(number(value)).integer() == value


@pytest.mark.parametrize("content", [b"", b"\x80", b"\xff", b"\x00\x00", b"\x00\x7f"])
def test_what_is_no_integer(content):
    with pytest.raises(DerError):
        Reader(tlv(INTEGER, content)).integer()


def test_booleans():
    assert Reader(b"\x01\x01\xff").true()
    assert not Reader(b"\x01\x01\x00").true()
    assert not Reader(b"\x04\x00").true()
    assert not Reader(b"").true()
    for wrong in (b"\x01\x01\x01", b"\x01\x00", b"\x01\x02\xff\xff"):
        with pytest.raises(DerError):
            Reader(wrong).true()


def test_bit_strings():
    assert Reader(tlv(BIT_STRING, b"\0abc")).bits() == b"abc"
    for wrong in (b"", b"\1abc", b"\7a", b"\x80a"):
        with pytest.raises(DerError):
            Reader(tlv(BIT_STRING, wrong)).bits()


@pytest.mark.parametrize("name", ["1.3.6.1.4.1.3704.1.3.8", "2.5.29.19", "0.9.2342", "1.39.127.128.16384", "2.999.1"])
def test_object_identifiers(name):
    first, second, *_ = map(int, name.split("."))
    if first == 2 and second > 39:
        encoded = b"\x06\x03\x88\x37\x01"
    else:
        encoded = oid(name)
    assert Reader(encoded).oid() == name


@pytest.mark.parametrize("content", [b"", b"\x2a\x80\x01", b"\x2a\x86", b"\x80\x01", b"\x2a" + b"\xff" * 6 + b"\x7f"])
def test_what_is_no_object_identifier(content):
    with pytest.raises(DerError):
        Reader(tlv(0x06, content)).oid()


@given(st.datetimes(datetime(1950, 1, 1), datetime(2200, 1, 1)))
def test_times(when):
    when = when.replace(microsecond=0, tzinfo=UTC)
    assert Reader(moment(when)).time() == when.timestamp()


@pytest.mark.parametrize(
    "text",
    [
        b"", b"Z", b"251301000000Z", b"250001000000Z", b"250229000000Z", b"240230000000Z", b"250431000000Z", b"250100000000Z",
        b"250101240000Z", b"250101006000Z", b"250101000060Z", b"2501010000Z", b"250101000000", b"250101000000+0100", b"25010100000xZ",
        b"20250101000000Z", b"+50101000000Z",
    ],
)  # fmt: skip
def test_what_is_no_time(text):
    with pytest.raises(DerError):
        Reader(tlv(0x17, text)).time()


@pytest.mark.parametrize(
    "text", [b"250101000000Z", b"19491231235959Z", b"21000229000000Z", b"2025010100000Z", b"20250101000000.5Z"]
)
def test_what_is_no_long_time(text):
    with pytest.raises(DerError):
        Reader(tlv(0x18, text)).time()


def test_leap_years():
    assert Reader(tlv(0x17, b"240229000000Z")).time() == datetime(2024, 2, 29, tzinfo=UTC).timestamp()
    assert Reader(tlv(0x18, b"20000229000000Z")).time() == datetime(2000, 2, 29, tzinfo=UTC).timestamp()


def test_extensions():
    two = extension("2.5.29.15", b"a", critical=True) + extension("2.5.29.19", b"b")
    assert extensions(Reader(two)) == {"2.5.29.15": (True, b"a"), "2.5.29.19": (False, b"b")}
    for wrong in (
        two + extension("2.5.29.15", b"c"),
        tlv(SEQUENCE, oid("2.5.29.15")),
        tlv(SEQUENCE, oid("2.5.29.15"), tlv(4, b""), b"x"),
    ):
        with pytest.raises(DerError):
            extensions(Reader(wrong))
