"""Completion of `%bastion` lines and `%%bastion` cells, in IPython itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from fake_session import fake_connection
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

import bastion_magics
from bastion.language import evaluate
from bastion_magics.completing import matches


@pytest.fixture
def shell(tmp_path, monkeypatch) -> Iterator[Any]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    made = InteractiveShell()
    made.history_manager.enabled = False
    bastion_magics.load_ipython_extension(made)
    env = made.magics_manager.registry["BastionMagics"].session.environment
    env.connection = fake_connection({"people": pl.DataFrame({"age": [1.0], "town": ["x"]})}, flavour="async")
    asyncio.run(evaluate('people = dataset("people")', env))
    made.user_ns["descriptive"] = 1
    yield made
    env.connection = None
    bastion_magics.unload_ipython_extension(made)
    made.history_manager.end_session()


def completions(shell: Any, text: str) -> dict[str, str]:
    """Text after completion of the whole cell -> kind, as ipykernel asks for it."""
    with provisionalcompleter():
        return {text[: c.start] + c.text: c.type for c in shell.Completer.completions(text, len(text))}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%bastion da", ["%bastion datasets"]),
        ("%bastion pol", ["%bastion policy"]),
        ("%bastion policy pe", ["%bastion policy people"]),
        ("%bastion preview ", ["%bastion preview people"]),
        ("%bastion requests app", ["%bastion requests approved"]),
        ("x = 1\n%bastion whoa", ["x = 1\n%bastion whoami"]),
        ("%%bastion --", ["%%bastion --as", "%%bastion --sql"]),
        ("%%bastion --sql -", ["%%bastion --sql --as"]),
        ("%%bastion --as --", ["%%bastion --as --"]),
        ("%%bastion --as x --", ["%%bastion --as x --sql"]),
        ("%%bastion --sql\nselect to", ["%%bastion --sql\nselect town"]),
        ("%%bastion --sql --as x\nselect age\nfrom peo", ["%%bastion --sql --as x\nselect age\nfrom people"]),
        ("%%bastion\npeople.group_by_d", ["%%bastion\npeople.group_by_dynamic"]),
        ('%%bastion --as x\npeople.sort("age", desc', ['%%bastion --as x\npeople.sort("age", descending=']),
        ('%%bastion\nx = 1\npeople.select(pl.col("t', ['%%bastion\nx = 1\npeople.select(pl.col("town']),
        ("%%bastion\nf = people.head(5)\npeo", ["%%bastion\nf = people.head(5)\npeople"]),
    ],
)
def test_what_is_offered(shell, text, expected):
    assert list(completions(shell, text)) == expected


def test_kinds_are_told(shell):
    assert completions(shell, '%%bastion\npeople.select("a') == {'%%bastion\npeople.select("age': "Float64"}
    assert completions(shell, "%bastion policy ") == {"%bastion policy people": "dataset"}


def test_pythons_names_are_not_offered_in_our_cells(shell):
    assert list(completions(shell, "%%bastion\ndescr")) == ["%%bastion\ndescr"]
    assert list(completions(shell, "%bastion nothing")) == ["%bastion nothing"]


def test_other_cells_are_left_alone(shell):
    assert "descriptive" in completions(shell, "descr")
    assert completions(shell, "descr")
    for text in ("people.", "%timeit people", "x = 5 %bastion da", "%%bash\nls"):
        line = text.count("\n")
        env = shell.magics_manager.registry["BastionMagics"].session.environment
        assert matches(env, text, line, len(text.split("\n")[line]))["completions"] == []


def test_nothing_is_asked_of_the_server(shell):
    env = shell.magics_manager.registry["BastionMagics"].session.environment
    before = len(env.connection._session.sent)
    completions(shell, "%%bastion\npeople.fetch().to_d")
    completions(shell, "%bastion policy p")
    assert len(env.connection._session.sent) == before


def test_without_a_connection_commands_are_offered(shell):
    env = shell.magics_manager.registry["BastionMagics"].session.environment
    env.connection = None
    assert list(completions(shell, "%bastion da")) == ["%bastion datasets"]
    assert list(completions(shell, "%bastion policy pe")) == ["%bastion policy pe"]


def test_unloading_takes_it_away(shell):
    before = len(shell.Completer.custom_matchers)
    shell.magics_manager.registry["BastionMagics"].session.environment.connection = None
    bastion_magics.unload_ipython_extension(shell)
    assert len(shell.Completer.custom_matchers) == before - 1
    assert "%bastion datasets" not in completions(shell, "%bastion da")
