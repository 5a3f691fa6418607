"""What a kernel says of itself at its start, and kernels that connect by themselves."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bastion_plan.errors import InputError
from bastion_server.channel.keys import KeyDirectory
from hostile import PIECES, check_html, check_text
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from kernel_client import Client, close_kernel

from bastion import Identity
from bastion.policy import Policy, measure
from bastion.render.banners import connection_lines, policy_line
from bastion.render.cards import connection_card
from bastion_kernel.install import connecting, install
from bastion_kernel.starting import BANNER_SECONDS


def info(client: Client) -> dict[str, Any]:
    asked = client.client.kernel_info()
    while True:
        message = client.client.get_shell_msg(timeout=60)
        if message["parent_header"].get("msg_id") == asked:
            return dict(message["content"])


@pytest.fixture
def kernel_of(jupyter: Path) -> Any:
    """Return a function that installs a kernel under a name of its own and starts it."""
    opened = []

    def start(name: str, environment: dict[str, str]) -> Client:
        install(prefix=str(jupyter), name=name, display_name=name.title(), environment=environment)
        manager = KernelManager(kernel_name=name)
        manager.start_kernel()
        client = manager.blocking_client()
        client.start_channels()  # and nothing is asked yet: what a test asks is the first thing that the kernel hears
        opened.append(Client(manager, client))
        return opened[-1]

    yield start
    for client in opened:
        close_kernel(client)


def test_the_banner_says_where_one_is(kernel, stage):
    banner = info(kernel)["banner"]
    assert banner.startswith("BastionLab ")
    assert f"Connected to {stage.endpoint} as alice (user)." in banner
    assert "UNATTESTED" in banner
    assert "2 datasets to explore" in banner
    assert "· titanic of olga: answers about 10 people or more; the rest waits for the owner's decision" in banner
    assert "· slow of olga: everything is released, single rows included" in banner
    shown = kernel.run("connection").result
    assert [line in shown["text/plain"] for line in banner.splitlines()[1:]] == [True] * 5
    assert "answers about 10 people" in shown["text/html"]


def test_kernel_info_is_whole(kernel):
    found = info(kernel)
    assert found["language_info"] == {
        "name": "bastionlab",
        "version": found["implementation_version"],
        "mimetype": "text/x-python",
        "codemirror_mode": {"name": "python", "version": 3},
        "pygments_lexer": "python3",
        "file_extension": ".bastion",
    }
    assert found["protocol_version"].startswith("5.")
    assert found["supported_features"] == []
    assert [set(link) for link in found["help_links"]] == [{"text", "url"}] * 2
    assert all(link["url"].startswith("https://docs.pola.rs/") for link in found["help_links"])


def test_the_launcher_has_its_pictures(jupyter):
    spec = KernelSpecManager().get_kernel_spec("bastionlab")
    assert spec.display_name == "BastionLab"
    assert spec.interrupt_mode == "message"
    resources = Path(spec.resource_dir)
    assert (resources / "logo-32x32.png").read_bytes()[16:24] == (32).to_bytes(4) * 2
    assert (resources / "logo-64x64.png").read_bytes()[16:24] == (64).to_bytes(4) * 2
    assert "<svg" in (resources / "logo-svg.svg").read_text()


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        (Policy.open(), "everything is released, single rows included"),
        (Policy.strict(unit="id"), "answers about 10 people or more (strict); "),
        (
            Policy.private(epsilon=8.0, unit="id", roles={"id": "identifier", "x": measure(0, 1)}),
            "answers with noise, epsilon 8 in all; ",
        ),
    ],
)
def test_a_policy_in_half_a_line(policy, line):
    assert policy_line(policy, "alice").startswith(line)


def test_strings_of_others_are_made_safe():
    evil = "".join(PIECES)
    facts = SimpleNamespace(name=evil * 3, owner=evil, policy=Policy.open())
    connection = SimpleNamespace(
        endpoint=f"tcp://{evil}:1", identity=evil, state="lost", facts={},
        welcome=SimpleNamespace(roles=(evil,), notices=(evil * 50,)), attestation=SimpleNamespace(sentence=evil),
        _datasets={str(n): SimpleNamespace(facts=facts) for n in range(9)},
    )  # fmt: skip
    lines = connection_lines(connection)
    for line in lines:
        check_text(line, lines=False)
    assert "and 3 more" in "\n".join(lines)
    assert max(map(len, lines[3:])) < 400
    page, text = connection_card(connection_lines(connection))
    check_html(page)
    check_text(text)


def test_before_a_connection_it_says_how(kernel_of, stage):
    client = kernel_of("waiting", {"BASTION_DOCS": "https://docs.example.org/"})
    found = info(client)
    assert "Not connected yet." in found["banner"]
    assert f"connect() goes to {stage.endpoint}" in found["banner"]
    assert 'connect("bastion1.…", identity="you")' in found["banner"]
    assert found["help_links"][0] == {"text": "BastionLab", "url": "https://docs.example.org/"}


def test_a_kernel_connects_by_itself(kernel_of, stage):
    client = kernel_of("profile", connecting("profile"))
    assert "as alice (user)" in info(client)["banner"]
    reply = client.run('dataset("titanic").select(pl.len())')
    assert "891" in reply.result["text/plain"]
    assert reply.stream("stderr") == ""
    client.manager.restart_kernel(now=False)
    client.client.wait_for_ready(timeout=60)
    assert "alice" in client.run("%whoami").result["text/plain"]


def test_a_kernel_connects_to_an_address(kernel_of, stage, jupyter):
    key = stage.profile.parent / "keys" / "alice.key"
    found = connecting(stage.endpoint, str(key), stage.server_key)
    empty = jupyter / "nothing.toml"
    empty.write_text("")
    client = kernel_of("address", {**found, "BASTION_PROFILE": str(empty)})
    assert "as alice (user)" in info(client)["banner"]
    assert "alice" in client.run("%whoami").result["text/plain"]


def test_connect_goes_where_the_environment_says(kernel_of, stage, jupyter):
    (jupyter / "none.toml").write_text("")
    key = stage.profile.parent / "keys" / "alice.key"
    places = {
        "BASTION_ENDPOINT": stage.endpoint, "BASTION_SERVER_KEY": stage.server_key, "BASTION_IDENTITY": str(key),
        "BASTION_PROFILE": str(jupyter / "none.toml"),
    }  # fmt: skip
    client = kernel_of("environment", places)
    assert f"connect() goes to {stage.endpoint}" in info(client)["banner"]
    assert "as alice (user)" in client.run("connect()").result["text/plain"]


def test_a_start_without_a_server_says_why_and_works(kernel_of, stage):
    nowhere = "tcp://127.0.0.1:9"
    client = kernel_of("nowhere", connecting(nowhere, server_key=stage.server_key))
    banner = info(client)["banner"]
    assert f"connects to {nowhere} by itself, and could not" in banner
    assert "[wire.unreachable]" in banner
    assert "Not connected yet." in banner
    silent = client.run("1", silent=True)
    assert silent.messages == []
    first = client.run("20 + 1")
    assert first.result["text/plain"] == "21"
    assert "[wire.unreachable]" in first.stream("stderr")
    assert client.run("22").stream("stderr") == ""
    profile = client.run(f'connect("{stage.endpoint}")')
    assert profile.status == "ok"
    assert "as alice (user)" in info(client)["banner"]


def test_a_server_that_says_nothing_keeps_nobody_waiting(kernel_of, stage):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        nowhere = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        client = kernel_of("mute", connecting(nowhere, server_key=stage.server_key))
        assert f"Connecting to {nowhere} …" in info(client)["banner"]
        asked = time.monotonic()
        info(client)
        assert time.monotonic() - asked < BANNER_SECONDS
        cell = client.send("1 + 1", stop_on_error=False)
        client.hear(cell, "execute_input")
        client.manager.interrupt_kernel()
        (reply,) = client.collect([cell])
        assert reply.content["ename"] == "Interrupted"


def test_what_cannot_be_connected_to_is_not_installed(tmp_path, stage, capsys):
    from bastion_kernel.install import main

    for wrong in ("bastion1.abc", "tcp://host", str(tmp_path / "none.toml"), "http://x:1"):
        with pytest.raises(InputError):
            connecting(wrong)
        assert main(["--prefix", str(tmp_path), "--connect", wrong]) == 1
        assert "bastion1.abc" not in capsys.readouterr().err
    with pytest.raises(InputError):
        connecting("profile", "nobody")
    with pytest.raises(InputError):
        connecting("profile", server_key=stage.server_key)
    with pytest.raises(InputError):
        connecting(None, "alice")
    with pytest.raises(InputError):
        install(prefix=str(tmp_path), name="../up")
    assert not (tmp_path / "share").exists()
    assert connecting("Example.org")["BASTION_CONNECT"] == "tcp://Example.org:50056"
    assert connecting("host:7")["BASTION_CONNECT"] == "tcp://host:7"


def test_the_command_installs_one(tmp_path, stage):
    from bastion_cli.main import main
    from click.testing import CliRunner

    runner = CliRunner()
    options = [
        "--prefix",
        str(tmp_path),
        "--connect",
        "profile",
        "--name",
        "hospital",
        "--display-name",
        "Hospital data",
    ]
    result = runner.invoke(main, ["kernel", "install", *options, "--json"])
    assert result.exit_code == 0, result.output
    spec = json.loads((Path(json.loads(result.output)["folder"]) / "kernel.json").read_text())
    # what it does: tests/browser/test_typing.py
    extension = tmp_path / "share" / "jupyter" / "labextensions" / "bastionlab"
    load = json.loads((extension / "package.json").read_text())["jupyterlab"]["_build"]["load"]
    assert (extension / load).is_file()
    assert spec["display_name"] == "Hospital data"
    assert spec["env"] == {"BASTION_CONNECT": "profile", "BASTION_PROFILE": str(stage.profile)}
    refused = runner.invoke(main, ["kernel", "install", "--prefix", str(tmp_path), "--connect", "bastion1.abc"])
    assert refused.exit_code != 0
    assert "invitation" in refused.output


def test_an_invitation_becomes_the_profile(kernel_of, stage, tmp_path):
    keys = KeyDirectory(stage.profile.parent / "server" / "keys")
    token = keys.invite("bob", stage.endpoint, stage.server_key).to_token()
    Identity.create("bob", tmp_path / "keys")
    profile = tmp_path / "config" / "profile.toml"
    places = {"BASTION_PROFILE": str(profile), "BASTION_KEYS": str(tmp_path / "keys")}
    client = kernel_of("newcomer", places)
    assert "as bob (user)" in client.run(f'connect("{token}", identity="bob")').result["text/plain"]
    assert token not in profile.read_text()
    client.manager.restart_kernel(now=False)
    client.client.wait_for_ready(timeout=60)
    assert "as bob (user)" in client.run("connect()").result["text/plain"]
    before = profile.read_text()
    other = keys.invite("carol", stage.endpoint, stage.server_key).to_token()
    Identity.create("carol", tmp_path / "keys")
    assert client.run(f'connect("{other}", identity="carol")').status == "ok"
    assert profile.read_text() == before
