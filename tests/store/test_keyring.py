"""Keys that owners keep: what opens with them, as what, and what is never written without them."""

from __future__ import annotations

from pathlib import Path

import pytest
from bastion_plan.errors import ServerError
from bastion_server.store import Held, KeyRing, load_or_create
from hypothesis import given
from hypothesis import strategies as st

FILE_KEY = b"f" * 32


def held(key: bytes = b"k" * 32, domain: str = "staff") -> Held:
    return Held(key, b"o" * 32, b"d" * 32, domain)


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    made = KeyRing(load_or_create(tmp_path))
    made.take("d-1", held())
    made.take("d-2", held(b"l" * 32))
    return made


def code(work: object) -> str:
    with pytest.raises(ServerError) as caught:
        work()  # type: ignore[operator]
    return caught.value.code


def test_a_key_without_owners_is_the_servers(ring: KeyRing) -> None:
    assert ring.unwrap(ring.wrap(FILE_KEY)) == FILE_KEY
    assert len(ring.wrap(FILE_KEY)) == 80 != len(ring.wrap(FILE_KEY, ["d-1"]))


def test_all_owners_keys_are_needed(ring: KeyRing) -> None:
    wrapped = ring.wrap(FILE_KEY, ["d-2", "d-1"], "approved g-1")
    assert ring.unwrap(wrapped, ["d-1", "d-2", "d-3"], "approved g-1") == FILE_KEY
    assert code(lambda: ring.unwrap(wrapped, ["d-1"], "approved g-1")) == "server.keys.unwrap"
    assert code(lambda: ring.unwrap(wrapped, ["d-1", "d-2"], "approved g-2")) == "server.keys.unwrap"
    assert code(lambda: ring.unwrap(wrapped, (), "approved g-1")) == "server.keys.unwrap"
    ring.drop("d-2")
    assert code(lambda: ring.unwrap(wrapped, ["d-1", "d-2"], "approved g-1")) == "server.locked"
    ring.take("d-2", held(b"m" * 32))
    assert code(lambda: ring.unwrap(wrapped, ["d-1", "d-2"], "approved g-1")) == "server.keys.unwrap"


def test_nothing_is_written_without_a_key_that_was_taken_back(ring: KeyRing) -> None:
    ring.drop("d-1")
    assert ring.of(["d-1", "d-2", "d-3"]) == ring.of_domain("staff") == ring.writing("staff") == ("d-1", "d-2")
    assert code(lambda: ring.wrap(FILE_KEY, ring.of(["d-1"]))) == "server.locked"
    assert code(lambda: ring.hide("d-1", 1, b"facts")) == "server.locked"
    assert ring.show("d-1", 1, b"x") is None


def test_a_release_that_was_under_way_brings_nothing_back(ring: KeyRing) -> None:
    since = ring.drops("d-1")
    ring.drop("d-1")
    assert not ring.take("d-1", held(), since) and ring.held("d-1") is None
    assert ring.take("d-1", held(), ring.drops("d-1")) and ring.held("d-1") == held()


def test_a_retired_key_opens_and_writes_no_more(ring: KeyRing) -> None:
    wrapped = ring.wrap(FILE_KEY, ring.writing("staff"), "history")
    ring.retire("d-1")
    assert ring.writing("staff") == ("d-2",)
    assert ring.unwrap(wrapped, ring.of_domain("staff"), "history") == FILE_KEY
    ring.forget("d-1")
    assert ring.of(["d-1"]) == () and code(lambda: ring.unwrap(wrapped, ["d-1", "d-2"], "history")) == "server.locked"


def test_a_key_is_tried_beside_the_ring(ring: KeyRing) -> None:
    wrapped = ring.wrap(FILE_KEY, ["d-1"], "dataset 1")
    assert ring.trying("d-1", held()).unwrap(wrapped, ["d-1"], "dataset 1") == FILE_KEY
    assert (
        code(lambda: ring.trying("d-1", held(b"x" * 32)).unwrap(wrapped, ["d-1"], "dataset 1")) == "server.keys.unwrap"
    )
    assert code(lambda: ring.unwrap(wrapped, ["d-1"], "dataset 2")) == "server.keys.unwrap"
    assert ring.held("d-1") == held()


def test_facts_are_of_one_version_of_one_dataset(ring: KeyRing) -> None:
    hidden = ring.hide("d-1", 3, b"facts")
    assert ring.show("d-1", 3, hidden) == b"facts" and b"facts" not in hidden
    assert (
        code(lambda: ring.show("d-1", 4, hidden))
        == code(lambda: ring.show("d-2", 3, hidden))
        == "server.catalogue.changed"
    )


@given(st.binary(max_size=300))
def test_no_bytes_open_or_crash(ring_bytes: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        ring = KeyRing(load_or_create(Path(folder)))
        ring.take("d-1", held())
        assert code(lambda: ring.unwrap(ring_bytes, ["d-1"])) in ("server.keys.unwrap", "server.locked")


def test_no_key_is_in_a_repr() -> None:
    assert "kkk" not in repr(held())
