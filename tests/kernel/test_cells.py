"""What cells give on a real server: results, cards, denials, notes, and nothing of Python."""

from __future__ import annotations

import re

import pytest

PYTHON = [
    "import os",
    "from subprocess import run",
    "def f():\n    return 1",
    "(lambda: 1)()",
    "class A:\n    pass",
    "!ls /",
    "%%bash\nls",
    'open("/etc/passwd")',
    'eval("1")',
    'exec("1")',
    '__import__("os")',
    "().__class__",
    "pl.col.__globals__",
    'getattr(pl, "col")',
    "with x: pass",
    "while True: pass",
    "try:\n    1\nexcept: pass",
    "await connect()",
    "global x",
    "(y := 1)",
    "input()",
    "globals()",
    "connection._session",
]
ABSENT = ['pl.read_csv("/etc/passwd")', 'pl.col("Age").map_elements(len)', 'pl.col("Age").pipe(len)', '"a".format(1)']


@pytest.mark.parametrize("code", PYTHON)
def test_python_is_refused_and_nothing_of_the_cell_runs(kernel, code):
    kernel.run("marker = 0")
    reply = kernel.run(f"marker = 1\nprint('ran')\n{code}" if not code.startswith("%%") else code)
    assert reply.status == "error"
    assert "Traceback" not in reply.error
    assert "File " not in reply.error
    assert re.search(r"\[language\.[a-z.-]+\]\Z", reply.error)
    assert not reply.stream("stdout")
    assert kernel.run("marker").result["text/plain"] == "0"


@pytest.mark.parametrize("code", ABSENT)
def test_members_that_are_not_of_the_language_are_refused(kernel, code):
    reply = kernel.run(code)
    assert reply.status == "error"
    assert re.search(r"\[(language|plan|input)\.[a-z.-]+\]\Z", reply.error)
    assert "Traceback" not in reply.error


def test_an_error_marks_its_place(kernel):
    reply = kernel.run("x = 1\nimport os")
    assert reply.error.splitlines()[:2] == ["2 │ import os", "    ^^^^^^^^^"]


def test_a_bare_dataset_shows_its_card_and_asks_nothing(kernel, stage):
    kernel.run("connection.ping()")
    before = len(stage.owner.audit("titanic", 1000))
    reply = kernel.run('titanic = dataset("titanic")\ntitanic')
    assert "Survived" in reply.result["text/html"]
    assert "Name" in reply.result["text/plain"]
    assert "hidden" in reply.result["text/plain"]
    for form in ("text/html", "text/plain"):
        assert "Answers about at least 10 people are released at once" in reply.result[form]
    assert len(stage.owner.audit("titanic", 1000)) == before


def test_a_frame_runs_and_shows_its_table(kernel):
    reply = kernel.run('dataset("titanic").group_by("Pclass").agg(pl.col("Survived").mean()).sort("Pclass")')
    assert reply.status == "ok"
    text, page = reply.result["text/plain"], reply.result["text/html"]
    assert [n for n in ("0.62963", "0.472826", "0.242363") if n in text and n in page] == [
        "0.62963",
        "0.472826",
        "0.242363",
    ]
    assert text.startswith("shape: (3, 2)")
    assert text.splitlines()[4].split() == ["│", "i64", "┆", "f64", "│"]
    names, dtypes = re.findall(r"<tr>(<th.*?)</tr>", page)
    assert [re.findall(r">([^<>]+)</th>", row) for row in (names, dtypes)] == [["Pclass", "Survived"], ["i64", "f64"]]


def test_a_fetched_table_says_what_the_guard_did(kernel):
    reply = kernel.run('dataset("titanic").group_by((pl.col("Age") // 10 * 10).alias("age")).agg(pl.len()).fetch()')
    assert reply.status == "ok"
    assert "too few people" in reply.result["text/plain"]
    assert "too few people" in reply.result["text/html"]


def test_a_denial_while_showing_is_an_answer(kernel):
    kernel.run('titanic = dataset("titanic")')
    reply = kernel.run("titanic.head(5)")
    assert reply.status == "ok"
    reason, widget = reply.shown
    assert "single people" in reason["text/plain"]
    assert "denied.request(" in reason["text/plain"]
    assert "denied.row-level" in reason["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in widget
    again = kernel.run("denied.outcome")
    assert again.result["text/plain"] == "'review'"
    assert kernel.run("requests('pending')").result["text/plain"] == "[]"


def test_a_denial_in_the_middle_stops_the_cell(kernel):
    kernel.run('titanic = dataset("titanic")')
    reply = kernel.run('rows = titanic.head(5).fetch()\nprint("after")')
    assert reply.status == "error"
    assert len(reply.shown) == 2
    assert "line 1" in reply.error
    assert not reply.stream("stdout")
    assert kernel.run("rows").status == "error"


def test_an_older_spelling_is_noted_on_stderr(kernel):
    reply = kernel.run('dataset("titanic").groupby("Pclass").agg(pl.len())')
    assert reply.status == "ok"
    assert "group_by" in reply.stream("stderr")


def test_print_and_display_keep_their_order(kernel):
    reply = kernel.run('print("one")\ndisplay("two")\nprint("three")')
    assert [m["msg_type"] for m in reply.messages] == ["stream", "display_data", "stream"]


def test_silent_says_nothing_and_counts_nothing(kernel):
    before = kernel.run("1").content["execution_count"]
    reply = kernel.run('quiet = 5\nprint("x")\ndisplay(2)\nquiet', silent=True)
    assert reply.status == "ok"
    assert reply.messages == []
    reply = kernel.run("import os", silent=True)
    assert reply.status == "error"
    assert reply.messages == []
    reply = kernel.run('dataset("titanic").head(5)', silent=True)
    assert reply.messages == []
    after = kernel.run("quiet")
    assert after.result["text/plain"] == "5"
    assert after.content["execution_count"] == before + 1


def test_user_expressions(kernel):
    reply = kernel.run("x = 2", user_expressions={"a": "x + 1", "b": "import os", "c": "x.foo"})
    answers = reply.content["user_expressions"]
    assert answers["a"]["data"]["text/plain"] == "3"
    assert [answers[n]["status"] for n in "bc"] == ["error", "error"]


def test_magics_and_questions(kernel):
    assert "alice" in kernel.run("%whoami").result["text/plain"]
    assert "[" in kernel.run("%history 3").result["text/plain"]
    assert kernel.run("%requests").status == "ok"
    (page,) = kernel.run("?pl.col").content["payload"]
    assert "pl.col" in page["data"]["text/plain"]
    (page,) = kernel.run("dataset??").content["payload"]
    assert "dataset(" in page["data"]["text/plain"]
    assert "group_by" in kernel.run("help(dataset('titanic'))").shown[0]["text/plain"] or kernel.run("help()").shown
    assert kernel.run("?nothing_here").status == "error"
    assert "There is no command" in kernel.run("%nothing").error


def test_exit_asks_the_front_end(kernel):
    assert kernel.run("exit").content["payload"] == [{"source": "ask_exit", "keepkernel": False}]
    assert kernel.run("quit()").content["payload"][0]["source"] == "ask_exit"


def test_a_server_that_is_not_there_is_one_clear_error(kernel):
    reply = kernel.run('connect("tcp://127.0.0.1:9", identity="nobody")')
    assert reply.status == "error"
    assert "Traceback" not in reply.error
    assert kernel.run("%whoami").status == "ok"
