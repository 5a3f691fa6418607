"""What a program hears of a fetched table whose numbers are not simply those of the rows it asked for."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from typing import Any

import fake_session
import polars as pl
import pytest
from bastion_policy.verdict import ReleaseNote

from bastion import GuardNote, Released

HEARD = pytest.mark.filterwarnings("error::bastion.client.base.GuardNote")


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table comes with rows of another group, and with one cell taken out."""
    note = ReleaseNote(merged=3, again=2, suppressed=1, notes=("Nothing is shown of fewer than 10 people.",))
    monkeypatch.setattr(fake_session, "ReleaseNote", lambda: note)


def rates(people: Any) -> Any:
    return people.group_by("class").agg(pl_mean())


def pl_mean() -> Any:
    from bastion import pl as lazy

    return lazy.col("age").mean()


@pytest.mark.usefixtures("noted")
def test_a_note_is_a_warning_at_the_line_that_fetches_every_time(people):
    for _ in range(2):  # at one line
        with pytest.warns(GuardNote) as heard:
            table = rates(people).fetch()
        (said,) = heard
        assert Path(said.filename) == Path(__file__)
        words = str(said.message)
        assert "2 rows" in words and "1 row holds groups of too few people" in words and "1 cell was taken out" in words
        assert "Nothing is shown of fewer than 10 people." in words
    assert isinstance(table, pl.DataFrame)


@HEARD
def test_a_table_of_its_own_rows_comes_without_a_word(people):
    assert rates(people).fetch().height == 3


@HEARD
@pytest.mark.usefixtures("noted")
def test_release_has_the_note_as_data(people):
    released = rates(people).release()
    assert isinstance(released, Released)
    assert (released.note.merged, released.note.again, released.frame.height) == (3, 2, 3)


@HEARD
def test_what_noise_costs_is_no_warning(people, monkeypatch):
    monkeypatch.setattr(fake_session, "ReleaseNote", lambda: ReleaseNote(noisy=True, cost=0.1, notes=("With noise.",)))
    rates(people).fetch()


@pytest.mark.usefixtures("noted")
def test_the_awaitable_flavour_warns_too_but_not_in_a_cell():
    from bastion.language import Environment, evaluate

    connection = fake_session.fake_connection(
        {"people": pl.DataFrame({"class": [1, 2], "age": [1.0, 2.0]})}, flavour="async"
    )

    async def fetched() -> Any:
        return await rates(await connection.dataset("people")).fetch()

    with pytest.warns(GuardNote):
        asyncio.run(fetched())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cell = 'dataset("people").group_by("class").agg(pl.col("age").mean()).fetch()'
        asyncio.run(evaluate(cell, Environment(connection)))


def test_the_guards_notes_are_shown_each_time_by_default():
    import subprocess
    import sys

    code = "import warnings\nfrom bastion.client.base import GuardNote\nfor _ in range(2): warnings.warn('once', GuardNote)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.count("GuardNote: once") == 2
