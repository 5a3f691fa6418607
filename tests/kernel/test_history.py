"""Cells of earlier sessions: found again, kept in a file of the user's own, and nothing but cells."""

from __future__ import annotations

import os
import stat
from typing import Any

import pytest
from kernel_client import close_kernel, open_kernel

from bastion_kernel import history as module
from bastion_kernel.history import History, history_path


def texts(cells: list[Any]) -> list[str]:
    return [cell[2] for cell in cells]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "history.sqlite"


def test_sessions_are_told_apart(path):
    first = History(path)
    first.remember(1, "a = 1")
    first.remember(2, "b = 2")
    second = History(path)
    second.remember(1, "c = 3")
    first.remember(3, "d = 4")
    assert first.range(0, 0, None) == [(1, 1, "a = 1"), (1, 2, "b = 2"), (1, 3, "d = 4")]
    assert second.range(0, 1, 2) == [(2, 1, "c = 3")]
    assert texts(second.range(-1, 2, 4)) == ["b = 2", "d = 4"]
    assert texts(second.range(1, 1, 2)) == ["a = 1"]
    assert texts(second.tail(3)) == ["b = 2", "c = 3", "d = 4"]
    assert texts(second.tail(None)) == ["a = 1", "b = 2", "c = 3", "d = 4"]
    third = History(path)
    assert third.range(0, 0, None) == []
    assert texts(third.range(-1, 0, None)) == ["c = 3"]
    for past in (first, second, third):
        past.close()


def test_search(path):
    past = History(path)
    for line, code in enumerate(["pl.col('a')", "x", "pl.col('b')", "pl.col('a')"], 1):
        past.remember(line, code)
    assert texts(past.search("pl.*")) == ["pl.col('a')", "pl.col('b')", "pl.col('a')"]
    assert texts(past.search("pl.*", unique=True)) == ["pl.col('b')", "pl.col('a')"]
    assert texts(past.search("pl.*", 1)) == ["pl.col('a')"]
    assert texts(past.search("?")) == ["x"]
    past.close()


def test_only_the_user_may_read_it(path):
    History(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    History(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_stays_small(path, monkeypatch):
    monkeypatch.setattr(module, "MAX_CELLS", 50)
    monkeypatch.setattr(module, "MAX_CHARACTERS", 2_000)
    past = History(path)
    for line in range(1, 301):
        past.remember(line, f"x = {line}")
    assert texts(past.tail(None)) == [f"x = {n}" for n in range(251, 301)]
    for line in range(301, 401):
        past.remember(line, "y" * 1000)
    assert len(past.tail(None)) == 2
    past.remember(402, "z" * (module.MAX_CELL + 1))
    past.remember(403, "  ")
    assert len(past.tail(None)) == 2
    past.close()


def test_an_invitation_is_not_kept(path):
    past = History(path)
    past.remember(1, 'connect("bastion1.AbC-_9xyz")\n%connect bastion1.SECRET')
    assert texts(past.tail(1)) == ['connect("bastion1.…")\n%connect bastion1.…']
    past.close()
    assert b"AbC-_9xyz" not in path.read_bytes()
    assert b"SECRET" not in path.read_bytes()


def test_a_broken_file_is_put_aside(path):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database, and was one once" * 100)
    past = History(path)
    past.remember(1, "a = 1")
    past.close()
    again = History(path)
    assert texts(again.tail(1)) == ["a = 1"]
    again.close()
    assert path.with_name("history.sqlite.broken").exists()


def test_without_a_place_this_session_is_remembered(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "history.sqlite", None):
        past = History(place)
        past.remember(1, "a = 1")
        assert past.range(0, 0, None) == [(1, 1, "a = 1")]
        past.close()


def test_where_it_is(monkeypatch, tmp_path):
    for off in ("0", "off", " No ", ""):
        monkeypatch.setenv("BASTION_HISTORY", off)
        assert history_path() is None
    monkeypatch.setenv("BASTION_HISTORY", str(tmp_path / "h"))
    assert history_path() == tmp_path / "h"
    monkeypatch.delenv("BASTION_HISTORY")
    assert history_path().name == "history.sqlite"


def ask(kernel: Any, **what: Any) -> list[Any]:
    kernel.client.history(**what)
    content = kernel.client.get_shell_msg(timeout=20)["content"]
    assert content["status"] == "ok"
    return list(content["history"])


@pytest.mark.usefixtures("stage")
def test_a_later_kernel_finds_the_cells_of_an_earlier_one(jupyter, path, monkeypatch):
    monkeypatch.setenv("BASTION_HISTORY", str(path))
    first = open_kernel()
    try:
        first.run("marker_of_before = 41 + 1\nmarker_of_before")
        first.run("import os")
        first.run("hidden = 1", silent=True)
        first.run("passing = 1", store_history=False)
    finally:
        close_kernel(first)
    second = open_kernel()
    try:
        second.run("later = 2")
        assert [entry[2] for entry in ask(second, hist_access_type="tail", n=10)] == [
            "marker_of_before = 41 + 1\nmarker_of_before",
            "import os",
            "later = 2",
        ]
        found = ask(second, hist_access_type="search", pattern="*marker_of*", output=True)
        assert found == [[1, 1, ["marker_of_before = 41 + 1\nmarker_of_before", None]]]
        assert ask(second, hist_access_type="range", session=0, start=0, stop=10) == [[2, 1, "later = 2"]]
        shown = second.run("%history Marker_Of").result["text/plain"]
        assert shown == "marker_of_before = 41 + 1\nmarker_of_before"
        second.manager.restart_kernel(now=False)
        second.client.wait_for_ready(timeout=60)
        second.run("third = 3")
        assert [entry[0] for entry in ask(second, hist_access_type="tail", n=2)] == [2, 3]
    finally:
        close_kernel(second)
    assert b"42" not in path.read_bytes()
    assert os.stat(path).st_mode & 0o077 == 0
