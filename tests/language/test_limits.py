"""What one cell may put below itself, and what the names of a session may hold together."""

from __future__ import annotations

import pytest
from bastion_plan.errors import LanguageError

from bastion.language import Limits
from bastion.language.keeping import Kept, weigh
from bastion.language.outputs import OutputMeter

TEXT = "'x' * 1000000"


def test_printing_too_much_is_cut_and_the_cell_goes_on(run, env):
    result = run("for i in range(300):\n    print('x' * 999)\ny = 1\ny")
    assert result.value == 1
    assert len(result.printed) == env.limits.printed
    assert result.notes == (
        "The output of the cell is too long: 100,000 characters of print left out. [language.output]",
    )
    assert run("print('again')").printed == "again\n"
    assert run("print('again')").notes == ()


def test_displaying_too_much_is_cut(run, env):
    result = run("for i in range(1000):\n    display(i)\nprint('end')")
    assert result.displayed == tuple(range(env.limits.displays))
    assert result.printed == "end\n"
    assert "800 displayed values left out" in result.notes[0]


def test_what_was_cut_of_a_cell_that_fails_is_said_too(run, env):
    with pytest.raises(LanguageError):
        run("print('x' * 900000)\nx = 1 / 0")
    assert "700,001 characters of print" in env.output.take()
    assert env.output.take() == ""


def test_displayed_values_have_a_size_together():
    meter = OutputMeter(Limits(shown=10))
    assert [meter.display() and meter.size(n) for n in (4, 5, 2, 1)] == [True, True, False, False]
    assert "2 displayed values" in meter.take()


def test_names_hold_only_so_much_together(run, env):
    cells = [f"n{number} = {TEXT}" for number in range(100)]
    with pytest.raises(LanguageError) as caught:
        run(*cells)
    assert caught.value.code == "language.memory"
    assert "del n" in caught.value.next_step
    assert caught.value.details["line"] == 1
    kept = sum(weigh(v) for v in env.names.values())
    assert kept <= env.limits.kept < kept + 2 * weigh("x" * 1000000)
    last = max(int(name[1:]) for name in env.names)
    assert run(f"del n0\nmore = {TEXT}\nlen(more)").value == 1_000_000
    assert f"n{last + 1}" not in env.names


def test_a_loop_cannot_fill_the_memory_either(run, env):
    env.limits = Limits(kept=100_000)
    env.kept = Kept(env.limits)
    with pytest.raises(LanguageError) as caught:
        run("a = b = []\nfor i in range(9000):\n    a = [list(range(900)) for j in range(150)]\n    b = a")
    assert caught.value.code == "language.memory"


def test_a_name_that_is_given_anew_counts_once(run):
    for _ in range(100):
        run(f"same = {TEXT}")
    run("for i in range(30):\n    xs = list(range(20000))")
