"""Sealed files: round trips, and that no changed byte, place or length goes unnoticed."""

from __future__ import annotations

import dataclasses
import fcntl
import mmap
import os
import random
from pathlib import Path

import pytest
from bastion_plan.errors import ServerError
from bastion_server.store.sealed import CHUNK, SealedFiles, SealedRef
from store_facts import seal, sealed_in

HEADER, TAG = 64, 16
STRIDE = CHUNK + TAG


@pytest.fixture
def sealed(tmp_path: Path) -> SealedFiles:
    return sealed_in(tmp_path)


def content(fd: int) -> bytes:
    try:
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def assert_damaged(sealed: SealedFiles, ref: SealedRef) -> None:
    with pytest.raises(ServerError) as caught:
        os.close(sealed.load_into_memfd(ref))
    assert caught.value.code == "server.sealed.damaged"


@pytest.mark.parametrize("size", [0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17])
def test_round_trip(sealed: SealedFiles, size: int) -> None:
    rng = random.Random(size)
    data = rng.randbytes(size)
    with sealed.writer() as writer:
        position = 0
        while position < size:
            step = rng.choice([1, 1000, CHUNK // 2, CHUNK, 2 * CHUNK + 5])
            writer.write(memoryview(data)[position : position + step])
            position += step
        ref = writer.commit()
    assert ref.size == size
    assert content(sealed.load_into_memfd(ref)) == data
    file = sealed.directory / ref.name
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_size == HEADER + size + max(1, -(-size // CHUNK)) * TAG
    if size >= 100:
        assert data[:50] not in file.read_bytes()


def test_ranges(sealed: SealedFiles) -> None:
    data = random.Random(1).randbytes(2 * CHUNK + 1000)
    ref = seal(sealed, data)
    with sealed.reader(ref) as reader:
        for offset, length in [(0, 10), (CHUNK - 5, 10), (CHUNK, CHUNK), (0, len(data)), (len(data) - 3, 10), (5, 0)]:
            assert reader.read(offset, length) == data[offset : offset + length]
        assert reader.read(len(data), 5) == b""
        assert reader.read(-1, 5) == b""


def test_every_byte_of_a_small_file_counts(sealed: SealedFiles) -> None:
    ref = seal(sealed, b"forty-two bytes of somebody's private life")
    path = sealed.directory / ref.name
    good = path.read_bytes()
    for position in range(len(good)):
        for bit in (0, 7):
            changed = bytearray(good)
            changed[position] ^= 1 << bit
            path.write_bytes(changed)
            assert_damaged(sealed, ref)
    for length in range(len(good)):
        path.write_bytes(good[:length])
        assert_damaged(sealed, ref)
        # not even if the length in the catalogue is changed with it
        for size in {max(0, length - HEADER - TAG), 0}:
            assert_damaged(sealed, dataclasses.replace(ref, size=size))
    for more in (b"\0", good[HEADER:], good):
        path.write_bytes(good + more)
        assert_damaged(sealed, ref)
        assert_damaged(sealed, dataclasses.replace(ref, size=ref.size + len(more)))
    path.write_bytes(good)
    assert len(content(sealed.load_into_memfd(ref))) == ref.size


def test_chunks_keep_their_place_and_number(sealed: SealedFiles) -> None:
    data = random.Random(2).randbytes(3 * CHUNK)
    ref = seal(sealed, data)
    path = sealed.directory / ref.name
    good = path.read_bytes()
    chunks = [good[HEADER + i * STRIDE : HEADER + (i + 1) * STRIDE] for i in range(3)]
    for order in ([1, 0, 2], [0, 0, 2], [0, 2, 1], [2, 1, 0]):
        path.write_bytes(good[:HEADER] + b"".join(chunks[i] for i in order))
        assert_damaged(sealed, ref)
    # cut at a chunk's end, the catalogue changed along
    path.write_bytes(good[:HEADER] + chunks[0] + chunks[1])
    assert_damaged(sealed, ref)
    assert_damaged(sealed, dataclasses.replace(ref, size=2 * CHUNK))
    path.write_bytes(good + chunks[2])
    assert_damaged(sealed, dataclasses.replace(ref, size=4 * CHUNK))


def test_the_end_is_checked_before_any_range_is_read(sealed: SealedFiles) -> None:
    ref = seal(sealed, bytes(2 * CHUNK))
    path = sealed.directory / ref.name
    path.write_bytes(path.read_bytes()[: HEADER + STRIDE])
    with pytest.raises(ServerError, match="damaged"):
        sealed.reader(dataclasses.replace(ref, size=CHUNK))


def test_chunks_and_headers_of_another_file_are_refused(sealed: SealedFiles) -> None:
    first, second = seal(sealed, b"a" * 1000), seal(sealed, b"a" * 1000)
    one, two = sealed.directory / first.name, sealed.directory / second.name
    ours, theirs = one.read_bytes(), two.read_bytes()
    assert ours[HEADER:] != theirs[HEADER:]
    for mixed in (ours[:HEADER] + theirs[HEADER:], theirs[:HEADER] + ours[HEADER:], theirs):
        one.write_bytes(mixed)
        assert_damaged(sealed, first)
    one.write_bytes(ours)
    assert_damaged(sealed, dataclasses.replace(first, wrapped_key=second.wrapped_key))
    assert_damaged(sealed, dataclasses.replace(first, name=second.name))


def test_another_server_cannot_open_it(sealed: SealedFiles, tmp_path: Path) -> None:
    ref = seal(sealed, b"x")
    other = sealed_in(tmp_path / "other")
    (other.directory / ref.name).write_bytes((sealed.directory / ref.name).read_bytes())
    with pytest.raises(ServerError) as caught:
        other.load_into_memfd(ref)
    assert caught.value.code == "server.keys.unwrap"


def test_the_memory_file_cannot_be_changed(sealed: SealedFiles) -> None:
    fd = sealed.load_into_memfd(seal(sealed, b"x" * 5000))
    try:
        for change in (
            lambda: os.pwrite(fd, b"y", 0),
            lambda: os.ftruncate(fd, 0),
            lambda: os.ftruncate(fd, 10_000),
            lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
            lambda: mmap.mmap(fd, 0),
        ):
            with pytest.raises(PermissionError):
                change()
        assert not os.get_inheritable(fd)
        assert os.lseek(fd, 0, os.SEEK_CUR) == 0
    finally:
        os.close(fd)


def test_nothing_is_left_of_an_aborted_file(sealed: SealedFiles) -> None:
    with sealed.writer() as writer:
        writer.write(bytes(3 * CHUNK))
    assert list(sealed.directory.iterdir()) == []
    with pytest.raises(ServerError):
        writer.write(b"more")
    with pytest.raises(ServerError):
        writer.commit()
    writer.abort()


def test_leftovers_are_swept_and_others_kept(sealed: SealedFiles) -> None:
    keep, orphan = seal(sealed, b"keep"), seal(sealed, b"orphan")
    unfinished = sealed.writer()
    unfinished.write(b"x")
    assert sealed.sweep({keep.name}) == 2
    assert sealed.names() == {keep.name}
    unfinished.abort()
    sealed.remove(keep.name)
    sealed.remove(keep.name)
    with pytest.raises(ServerError) as caught:
        sealed.reader(keep)
    assert caught.value.code == "server.sealed.missing"
    with pytest.raises(ServerError):
        sealed.reader(orphan)


@pytest.mark.parametrize("name", ["../server.key", "a/b.sealed", "server.key", "", "..", "/etc/passwd"])
def test_names_stay_in_the_directory(sealed: SealedFiles, name: str) -> None:
    with pytest.raises(ServerError):
        sealed.remove(name)
    with pytest.raises(ServerError):
        sealed.reader(dataclasses.replace(seal(sealed, b"x"), name=name))


def test_no_two_files_share_a_key_or_a_byte_stream(sealed: SealedFiles) -> None:
    refs = [seal(sealed, b"same") for _ in range(20)]
    bodies = {(sealed.directory / ref.name).read_bytes()[HEADER:] for ref in refs}
    assert len(bodies) == len({ref.wrapped_key for ref in refs}) == 20
    assert "wrapped_key" not in repr(refs[0])
