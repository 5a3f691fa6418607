"""A sealed key: the passphrase is typed at a prompt of the front end, and stays out of everything that is kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from bastion_wire.identity import Identity
from jupyter_client.manager import start_new_kernel
from kernel_client import Client, close_kernel, open_kernel

PASSPHRASE = "seven green kettles"
PROMPT = "Passphrase of alice: "


@pytest.fixture(scope="module")
def sealed(stage: Any) -> Iterator[Any]:
    """Seal alice's key; her profile points to it."""
    path = stage.profile.parent / "keys" / "alice.key"
    alice = Identity.load(path)
    alice.reseal(path, PASSPHRASE)
    yield path
    alice.reseal(path, None)


@pytest.fixture(scope="module")
def locked(jupyter: Any, sealed: Any) -> Iterator[Client]:
    client = open_kernel()
    yield client
    close_kernel(client)


def asked(client: Client) -> dict[str, Any]:
    message = client.client.get_stdin_msg(timeout=60)
    assert message["msg_type"] == "input_request"
    return dict(message["content"])


def test_it_is_asked_for_and_kept_nowhere(locked, jupyter):
    client = locked.client
    client.input("an answer that nobody asked for")
    cell = locked.send("connect()", allow_stdin=True)
    assert asked(locked) == {"prompt": PROMPT, "password": True}
    client.input(PASSPHRASE)
    (reply,) = locked.collect([cell])
    assert reply.status == "ok"
    assert "as alice" in reply.result["text/plain"]
    everything = str(reply.messages) + str(locked.run("%history").messages)
    client.history(hist_access_type="tail", n=1000)
    everything += str(client.get_shell_msg(timeout=60)["content"])
    assert PASSPHRASE not in everything
    with sqlite3.connect(jupyter / "history.sqlite") as past:
        kept = str(past.execute("SELECT code FROM cells").fetchall())
    past.close()
    assert "connect()" in kept
    assert PASSPHRASE.encode() not in (jupyter / "history.sqlite").read_bytes()
    assert "891" in locked.run('dataset("titanic").select(pl.len())').result["text/plain"]


def test_a_connection_that_is_there_is_kept_and_nothing_is_asked(locked):
    assert locked.run("connect()", allow_stdin=True).status == "ok"
    assert not locked.client.stdin_channel.msg_ready()
    assert locked.run("connection.close()").status == "ok"  # for those below


def test_a_wrong_one_is_an_error(locked):
    cell = locked.send("connect()", allow_stdin=True, stop_on_error=False)
    asked(locked)
    locked.client.input("seven green cattle")
    (reply,) = locked.collect([cell])
    assert "[input.passphrase-wrong]" in reply.error
    assert "cattle" not in str(reply.messages)


def test_an_interrupt_ends_the_prompt(locked):
    cell = locked.send("connect()", allow_stdin=True, stop_on_error=False)
    asked(locked)
    locked.manager.interrupt_kernel()
    (reply,) = locked.collect([cell])
    assert reply.content["ename"] == "Interrupted"
    assert locked.run("1 + 1").result["text/plain"] == "2"


def test_where_nobody_can_be_asked(locked):
    reply = locked.run("connect()", allow_stdin=False)
    assert "[input.stdin]" in reply.error
    assert not locked.client.stdin_channel.msg_ready()


@pytest.mark.parametrize("cell", [f'connect(passphrase="{PASSPHRASE}")', "input()", 'getpass("?")', "import getpass"])
def test_no_cell_says_it_or_asks_for_anything(locked, cell):
    reply = locked.run(cell, allow_stdin=True)
    assert reply.status == "error"
    assert not locked.client.stdin_channel.msg_ready()


def test_a_kernel_that_connects_by_itself_says_that_it_cannot(jupyter, sealed, monkeypatch):
    monkeypatch.setenv("BASTION_CONNECT", "profile")
    client = open_kernel()
    try:
        first = client.run("1", allow_stdin=True)
        assert "[input.stdin]" in first.stream("stderr")
        assert "Run connect()" in first.stream("stderr")
        cell = client.send("connect()", allow_stdin=True)
        asked(client)
        client.client.input(PASSPHRASE)
        assert client.collect([cell])[0].status == "ok"
    finally:
        close_kernel(client)


def test_a_program_gives_it(stage, sealed, monkeypatch):
    from bastion_plan.errors import InputError

    from bastion import Connection

    with pytest.raises(InputError) as caught:
        Connection(stage.endpoint, server_key=stage.server_key, identity=str(sealed))
    assert caught.value.code == "input.passphrase"
    with Connection(
        stage.endpoint, server_key=stage.server_key, identity=Identity.load(sealed, passphrase=PASSPHRASE)
    ) as connection:
        assert connection.identity == "alice"
    import getpass

    prompts = []

    def typed(prompt: str) -> str:
        prompts.append(prompt)
        return PASSPHRASE

    typed.__module__ = "ipykernel"  # as in a notebook, where ipykernel puts its own in place
    monkeypatch.setattr(getpass, "getpass", typed)
    with Connection() as connection:
        assert connection.identity == "alice"
    assert prompts == [PROMPT]


def test_in_a_python_notebook(jupyter, sealed):
    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=60)
    notebook = Client(manager, client)
    try:
        assert notebook.run("%load_ext bastion_magics\nimport bastion").status == "ok"
        for code in ("%bastion connect", "bastion.Connection().identity"):
            cell = notebook.send(code, allow_stdin=True)
            assert asked(notebook) == {"prompt": PROMPT, "password": True}
            client.input(PASSPHRASE)
            (reply,) = notebook.collect([cell])
            assert reply.status == "ok"
            assert "alice" in str(reply.messages)
            assert "[input.passphrase]" in notebook.run("bastion.Connection()", allow_stdin=False).error
    finally:
        close_kernel(notebook)
