"""Which key a connection takes for the endpoint it was given: that of this very endpoint, and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bastion import Connection, Identity, InputError, WireError
from bastion.client import known_servers
from bastion.client.endpoints import resolve, write_profile

ALICE = Identity.create("alice")
KEY, OTHER = Identity.create("server").curve_key, Identity.create("another").curve_key


@pytest.fixture(autouse=True)
def _own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASTION_KNOWN_SERVERS", str(tmp_path / "known_servers"))
    monkeypatch.setenv("BASTION_PROFILE", str(tmp_path / "profile.toml"))
    monkeypatch.setenv("BASTION_DIRECTORY", str(tmp_path / "server"))
    monkeypatch.setenv("BASTION_KEYS", str(tmp_path / "keys"))
    for name in ("BASTION_ENDPOINT", "BASTION_SERVER_KEY", "BASTION_IDENTITY"):
        monkeypatch.delenv(name, raising=False)


def found(endpoint: str, port: int | None = None) -> tuple[str, str]:
    target = resolve(endpoint, port, identity=ALICE, server_key=None)
    return target.endpoint, target.server_key


def unknown(endpoint: str, port: int | None = None) -> WireError:
    with pytest.raises(WireError) as caught:
        found(endpoint, port)
    assert caught.value.code == "wire.server-unknown"
    assert "server_key" in caught.value.next_step
    return caught.value


def test_the_profile_holds_the_key_of_its_own_endpoint() -> None:
    write_profile("tcp://127.0.0.1:4000", KEY, "alice.key")
    for given in (
        ("tcp://127.0.0.1:4000",),
        ("127.0.0.1:4000",),
        ("127.0.0.1", 4000),
        ("localhost", 4000),
        ("LOCALHOST:4000",),
    ):
        assert found(*given) == ("tcp://127.0.0.1:4000", KEY), given


def test_the_default_port_is_a_port_like_others() -> None:
    write_profile("tcp://localhost:50056", KEY, "alice.key")
    assert found("localhost") == ("tcp://localhost:50056", KEY)
    assert found("127.0.0.1") == ("tcp://localhost:50056", KEY)


def test_no_key_is_taken_for_another_endpoint() -> None:
    write_profile("tcp://127.0.0.1:4000", KEY, "alice.key")
    known_servers.remember("tcp://host:4001", KEY)
    assert "tcp://127.0.0.1:4000" in unknown("localhost", 4001).reason
    unknown("localhost")
    unknown("127.0.0.2:4000")
    unknown("localhost.example:4000")
    unknown("[::1]:4000")
    unknown("xlocalhost:4000")
    unknown("host", 4000)


def test_without_any_key_nothing_is_said_of_a_profile() -> None:
    assert unknown("localhost", 4000).reason == ""


def test_known_servers_go_before_the_profile() -> None:
    write_profile("tcp://127.0.0.1:4000", OTHER, "alice.key")
    known_servers.remember("tcp://localhost:4000", KEY)
    assert found("127.0.0.1:4000") == ("tcp://localhost:4000", KEY)
    assert resolve(None, None, identity=ALICE, server_key=None).server_key == OTHER


def test_the_environment_holds_the_key_of_its_own_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASTION_ENDPOINT", "tcp://127.0.0.1:4000")
    monkeypatch.setenv("BASTION_SERVER_KEY", KEY)
    assert found("localhost", 4000) == ("tcp://127.0.0.1:4000", KEY)
    unknown("localhost", 4001)


def test_a_server_on_this_machine_is_trusted_once_under_both_names() -> None:
    known_servers.remember("tcp://localhost:4000", KEY)
    assert known_servers.lookup("127.0.0.1:4000") == KEY
    with pytest.raises(WireError, match="ANOTHER KEY"):
        known_servers.remember("tcp://127.0.0.1:4000", OTHER)
    assert known_servers.forget("127.0.0.1:4000")
    assert known_servers.lookup("localhost:4000") is None
    assert known_servers.lookup("127.0.0.1:4000") is None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import bastion_server

    with bastion_server.start(tmp_path_factory.mktemp("server"), owners=[ALICE]) as handle:
        yield handle


def test_a_notebook_names_its_server_by_host_and_port(server: Any) -> None:
    write_profile(server.endpoint, server.server_key, "alice.key")
    port = int(server.endpoint.rpartition(":")[2])
    with Connection("localhost", port, identity=ALICE) as client:
        assert client.polars.list_dfs() == []
        assert client.client.polars.list_dfs() == []
    with Connection(server.endpoint, identity=ALICE) as client:
        assert client.roles == ("owner",)
    write_profile(server.endpoint, OTHER, "alice.key")
    with pytest.raises(WireError, match="server key"):
        Connection(server.endpoint, identity=ALICE)


def own_server(folder: Path, endpoint: str, mode: int = 0o600) -> Path:
    (folder / "server").mkdir(exist_ok=True)
    file = folder / "server" / "address.json"
    file.write_text(json.dumps({"endpoint": endpoint, "server_key": KEY}))
    file.chmod(mode)
    return file


def test_the_key_of_ones_own_server_is_known(tmp_path: Path) -> None:
    own_server(tmp_path, "tcp://127.0.0.1:4000")
    assert found("tcp://127.0.0.1:4000") == found("localhost", 4000) == ("tcp://127.0.0.1:4000", KEY)
    target = resolve(None, None, identity=ALICE, server_key=None)
    assert (target.endpoint, target.server_key) == ("tcp://127.0.0.1:4000", KEY)
    for other in ("tcp://127.0.0.1:4001", "tcp://host:4000"):
        unknown(other)
    write_profile("tcp://127.0.0.1:4000", OTHER, "alice.key")  # what a person wrote down comes first
    assert found("tcp://127.0.0.1:4000")[1] == OTHER


@pytest.mark.parametrize(("endpoint", "mode"), [("tcp://127.0.0.1:4000", 0o622), ("tcp://10.0.0.7:4000", 0o600)])
def test_a_file_that_others_may_write_or_of_another_machine_says_no_key(
    tmp_path: Path, endpoint: str, mode: int
) -> None:
    own_server(tmp_path, endpoint, mode)
    unknown(endpoint)


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"endpoint": 7, "server_key": []}', '{"endpoint": "tcp://127.0.0.1:4000"}']
)
def test_a_broken_file_of_the_own_server_is_no_server(tmp_path: Path, text: str) -> None:
    own_server(tmp_path, "").write_text(text)
    unknown("tcp://127.0.0.1:4000")


def test_an_identity_is_found_by_its_name(tmp_path: Path) -> None:
    made = Identity.create("olga", tmp_path / "keys")
    for given in ("olga", "olga.key", str(tmp_path / "keys" / "olga.key")):
        assert resolve("h:1", None, identity=given, server_key=KEY).identity.public == made.public
    with pytest.raises(InputError) as caught:
        resolve("h:1", None, identity="nobody", server_key=KEY)
    assert caught.value.code == "input.key-file"
