"""Strict CBOR: what was written in one way alone, and nothing else."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from bastion_tee.cbor import MAX_DEPTH, SIGN1, Malformed, read
from hypothesis import given
from hypothesis import strategies as st

KEYS = st.integers(-(2**64), 2**64 - 1) | st.text(max_size=30)
LEAVES = KEYS | st.binary(max_size=300) | st.none() | st.booleans()


def below(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return LEAVES | st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5)


@given(below(below(below(LEAVES))))
def test_what_a_general_writer_wrote(value: Any) -> None:
    assert read(cbor2.dumps(value)) == value


@given(st.binary(max_size=60))
def test_what_is_read_is_written_back_the_same(data: bytes) -> None:
    """Two different byte strings never mean the same, so that none can stand in for what was signed."""
    try:
        found = read(data)
    except Malformed:
        return
    assert cbor2.dumps(found) == data and cbor2.loads(data) == found


@given(below(below(LEAVES)), st.integers(0, 1 << 30), st.integers(1, 255))
def test_a_changed_byte_is_another_value_or_none(value: Any, place: int, change: int) -> None:
    data = bytearray(cbor2.dumps(value))
    data[place % len(data)] ^= change
    try:
        found = read(bytes(data))
    except Malformed:
        return
    assert cbor2.dumps(found) == bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        "",  # nothing
        "0000",  # two values
        "1817",  # 23 in two bytes
        "190017",  # in three
        "1a0000ffff",
        "1b00000000ffffffff",
        "1c", "1f", "5f4101ff", "9f01ff", "bf0102ff", "ff",  # reserved, and without a length
        "1c" + "ff" * 16, "1d" + "ff" * 32, "1f" + "ff" * 128, "5f" + "ff" * 128,  # heads longer than any
        "c0", "e0",  # a tag and a simple value with nothing behind
        "a201010102",  # a key twice
        "a2616101616102",
        "a1f501", "a1f601", "a1410101", "a1810101",  # keys of other kinds
        "c001", "d2", "d81801",  # tags
        "f4f4", "f7", "f0", "f814", "f90014", "f93c00", "fb3ff0000000000000",  # undefined, simple, numbers with a point
        "61ff",  # no UTF-8
        "420001ff", "4300",  # longer or shorter than said
        "9b7fffffffffffffff", "bb7fffffffffffffff", "5b7fffffffffffffff", "1b00",  # longer than anything
        "81" * (MAX_DEPTH + 1) + "00",
        "a100" * (MAX_DEPTH + 1) + "00",
    ],
)  # fmt: skip
def test_what_is_refused(data: str) -> None:
    with pytest.raises(Malformed):
        read(bytes.fromhex(data))


def test_the_tag_that_may_be_there() -> None:
    assert read(b"\xd2\x01", SIGN1) == read(b"\x01", SIGN1) == 1
    for data in (b"\xd2\xd2\x01", b"\xd1\x01", b"\xd2"):
        with pytest.raises(Malformed):
            read(data, SIGN1)


def test_lists_as_long_as_simple_values_are_numbered() -> None:
    for size in (20, 21, 22, 23, 24, 255, 256, 70000):
        for value in ([0] * size, dict.fromkeys(range(size)), b"x" * size, "x" * size):
            assert read(cbor2.dumps(value)) == value


def test_depth_that_has_room() -> None:
    assert read(bytes.fromhex("81" * MAX_DEPTH + "00")) == [[[[0]]]]
    assert [read(bytes.fromhex(one)) for one in ("f4", "f5", "f6", "20", "3bffffffffffffffff")] == [
        False, True, None, -1, -(2**64),
    ]  # fmt: skip
