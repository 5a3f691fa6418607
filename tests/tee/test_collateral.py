"""The cache of vendors' collateral: fresh, stale, damaged, and with no network."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from bastion_plan.errors import AttestationError
from bastion_tee.collateral import MAX_BYTES, Answer, Cache, Kind, fetch_https
from vendor_server import Vendor, vendor_server

URL = "https://vendor.example.com/a/list?of=this"
NOW = 1_800_000_000.0


def ends(answer: Answer) -> float:
    """What a test's server answers holds until the number that it is."""
    return float(answer.body)


KIND = Kind(fresh=100, ends=ends, headers=("x-chain",))
BODY = str(NOW + 1000).encode()


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with vendor_server() as running:
        running.put(URL, BODY, X_Chain="one", X_Other="two")
        yield running


@pytest.fixture
def cache(vendor: Vendor, tmp_path: Path) -> Cache:
    return Cache(tmp_path / "deep" / "cache", vendor.fetch)


def code(cache: Cache, now: float = NOW, url: str = URL) -> str:
    with pytest.raises(AttestationError) as caught:
        cache.get(url, KIND, now)
    assert "vendor.example.com" in str(caught.value) or url != URL
    return caught.value.code


def only(cache: Cache) -> Path:
    (found,) = cache.folder.iterdir()
    return found


def test_fetched_once_while_fresh(cache, vendor):
    for now in (NOW, NOW + 1, NOW + 99):
        assert cache.get(URL, KIND, now) == Answer(BODY, {"x-chain": "one"})
    assert vendor.asked == ["/a/list?of=this"]
    assert cache.get(URL, KIND, NOW + 100).body == BODY
    assert len(vendor.asked) == 2
    # what was fetched then counts from then
    cache.get(URL, KIND, NOW + 199)
    assert len(vendor.asked) == 2


def test_another_process_finds_it(cache, vendor):
    cache.get(URL, KIND, NOW)
    offline = Cache(cache.folder)
    assert offline.get(URL, KIND, NOW + 999) == Answer(BODY, {"x-chain": "one"})
    assert code(offline, NOW + 1001) == "tee.collateral.missing"
    assert code(Cache(cache.folder / "other")) == "tee.collateral.missing"


def test_a_server_that_fails(cache, vendor):
    """What still holds is as good as before; what does not is not used."""
    cache.get(URL, KIND, NOW)
    vendor.put(URL, b"", status=503)
    with pytest.raises(AttestationError, match="status 503"):
        cache.get(URL, KIND, NOW + 1001)
    assert cache.get(URL, KIND, NOW + 500).body == BODY
    assert code(cache, NOW + 1001) == "tee.collateral.fetch"
    assert code(cache, url="https://vendor.example.com/b") == "tee.collateral.fetch"


@pytest.mark.parametrize("body", [b"<html>", b"", str(NOW - 1).encode(), b"nan"])
def test_another_answer_than_what_was_asked_for(cache, vendor, body):
    """It is never kept, and what is kept stands in for it while it holds."""
    vendor.put(URL, body)
    assert code(cache) == "tee.collateral.answer"
    assert code(Cache(cache.folder)) == "tee.collateral.missing"
    vendor.put(URL, BODY)
    cache.get(URL, KIND, NOW)
    vendor.put(URL, body)
    assert cache.get(URL, KIND, NOW + 500).body == BODY
    assert code(cache, NOW + 1001) == "tee.collateral.answer"


def test_a_clock_that_was_put_back(cache, vendor):
    cache.get(URL, KIND, NOW)
    cache.get(URL, KIND, NOW - 50)
    assert len(vendor.asked) == 2
    assert Cache(cache.folder).get(URL, KIND, NOW - 5000).body == BODY


DAMAGE = {
    "empty": lambda data: b"", "cut": lambda data: data[:-1], "longer": lambda data: data + b"\0",
    "a bit": lambda data: data[:80] + bytes([data[80] ^ 1]) + data[81:], "its digest": lambda data: data[:30] + b"x" + data[31:],
    "another form": lambda data: b"B" + data[1:], "only zeroes": lambda data: bytes(len(data)),
}  # fmt: skip


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_files_are_misses(cache, vendor, how):
    cache.get(URL, KIND, NOW)
    path = only(cache)
    path.write_bytes(DAMAGE[how](path.read_bytes()))
    assert code(Cache(cache.folder)) == "tee.collateral.missing"
    assert cache.get(URL, KIND, NOW).body == BODY
    assert len(vendor.asked) == 2
    assert Cache(cache.folder).get(URL, KIND, NOW).body == BODY


def test_a_file_of_another_address(cache, vendor):
    """A file is of the address that it holds, whatever its name: nobody swaps two lists by renaming them."""
    vendor.put("https://vendor.example.com/b", BODY)
    cache.get(URL, KIND, NOW)
    one = only(cache)
    cache.get("https://vendor.example.com/b", KIND, NOW)
    (other,) = set(cache.folder.iterdir()) - {one}
    one.write_bytes(other.read_bytes())
    assert code(Cache(cache.folder)) == "tee.collateral.missing"


def test_a_file_that_is_right_but_of_something_else(cache, vendor):
    """Its digest is right, what it holds is not."""
    cache.get(URL, KIND, NOW)
    path = only(cache)
    form = path.read_bytes()[:24]
    for body in (b"\xc1", b"\x80", b"\x91" * 50_000, b"\xdb\xff\xff\xff\xff", b"\x81\xa3url\xa1\xff"):
        path.write_bytes(form + hashlib.sha256(body).digest() + body)
        assert code(Cache(cache.folder)) == "tee.collateral.missing"


def test_files_appear_whole(cache, vendor, monkeypatch):
    """Nothing else is ever in the folder, also when writing fails half-way."""
    cache.get(URL, KIND, NOW)
    assert [path.name for path in cache.folder.iterdir()] == [only(cache).name]
    assert cache.folder.stat().st_mode & 0o077 == 0

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert cache.get(URL, KIND, NOW + 500).body == BODY
    assert Cache(cache.folder).get(URL, KIND, NOW).body == BODY
    assert len(list(cache.folder.iterdir())) == 1


def test_a_folder_that_cannot_be(vendor, tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file", vendor.fetch)
    assert cache.get(URL, KIND, NOW).body == BODY
    assert cache.get(URL, KIND, NOW).body == BODY


def test_large_answers(cache, vendor):
    vendor.put(URL, b"1" * (MAX_BYTES + 1))
    assert code(cache) == "tee.collateral.fetch"
    assert code(Cache(cache.folder, lambda url: Answer(b"1" * (MAX_BYTES + 1)))) == "tee.collateral.answer"


def test_what_is_not_fetched(vendor):
    for url in (f"http://127.0.0.1:{vendor.port}/a", "file:///etc/hostname", "ftp://127.0.0.1/a", "data:,1", ""):
        with pytest.raises(OSError, match="only https"):
            fetch_https(url)
    assert vendor.asked == []


def test_redirects_and_broken_answers(cache, vendor):
    vendor.put("https://vendor.example.com/b", b"1" * 12)
    vendor.put(URL, b"", status=302, Location="/b")
    assert code(cache) == "tee.collateral.fetch"
    vendor.put(URL, b"short", Content_Length="5000")
    assert code(cache) == "tee.collateral.fetch"
    assert vendor.asked == ["/a/list?of=this"] * 2


def test_a_server_that_speaks_something_else(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example.com\r\n")

        thread = Thread(target=answer)
        thread.start()
        vendor = Vendor(listening.getsockname()[1])
        assert code(Cache(tmp_path, vendor.fetch)) == "tee.collateral.fetch"
        thread.join()


def test_nobody_there(tmp_path):
    with vendor_server() as vendor:
        pass
    assert code(Cache(tmp_path, vendor.fetch)) == "tee.collateral.fetch"
