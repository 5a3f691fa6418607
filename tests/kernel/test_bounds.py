"""What a cell may do to the machine it runs on, and how its mistakes are told: place, reason, suggestion, code."""

from __future__ import annotations

import psutil
import pytest

LARGE = {
    "for i in range(20000):\n    pass": ("1 │ for i in range(20000):", "language.limit"),
    "x = 1\nx = [0] * 10**9": ("2 │ x = [0] * 10**9", "language.limit"),
    'x = "a" * 10**9': ("        ^^^^^^^^^^^", "language.limit"),
    "x = [0]\nfor i in range(60):\n    x = x + x": ("3 │     x = x + x", "language.limit"),
    "x = 2 ** 99999": ("1 │ x = 2 ** 99999", "language.limit"),
    "a = b = c = d = e = f = g = h = i = j = k = l = m = n = [0] * 190000": ("1 │ a = b = c", "language.memory"),
}


@pytest.mark.parametrize("code", LARGE, ids=range(len(LARGE)))
def test_a_cell_cannot_take_the_machine(kernel, code):
    shows, name = LARGE[code]
    process = psutil.Process(kernel.manager.provisioner.pid)
    before = process.memory_info().rss
    reply = kernel.run(code)
    assert reply.status == "error"
    assert shows in reply.error
    assert reply.error.endswith(f"[{name}]")
    assert process.memory_info().rss - before < 200 << 20
    kernel.run("del a, b, c, d, e, f, g, h" if name == "language.memory" else "x = 0")
    assert kernel.run("1 + 1").result["text/plain"] == "2"


def test_output_is_cut_and_the_cell_goes_on(kernel):
    reply = kernel.run('for i in range(9000):\n    print("x" * 99)\nfor i in range(300):\n    display(i)\n"done"')
    assert reply.result["text/plain"] == "'done'"
    assert len(reply.stream("stdout")) == 200_000
    shown = [data["text/plain"] for data in reply.shown if "interrupt" not in data["text/plain"]]
    assert shown == [str(i) for i in range(200)]
    line = "The output of the cell is too long: 700,000 characters of print and 100 displayed values left out."
    assert reply.stream("stderr") == f"{line} [language.output]\n"
    assert kernel.run('print("again")').stream("stdout") == "again\n"


def test_output_of_a_cell_that_fails_is_cut_too(kernel):
    reply = kernel.run('for i in range(9000):\n    print("x" * 99)\n1 / 0')
    assert reply.status == "error"
    assert reply.stream("stderr").endswith("700,000 characters of print left out. [language.output]\n")
    assert kernel.run("1").stream("stderr") == ""


def test_what_is_printed_in_a_loop_comes_in_few_messages_and_in_order(kernel):
    reply = kernel.run('for i in range(2000):\n    print("x" * 99)\n1 / 0')
    assert reply.stream("stdout") == ("x" * 99 + "\n") * 2000
    assert len(reply.of("stream")) < 60
    shown = kernel.run("print(1)\ndisplay(2)\nprint(3)\nprint(4)\n5").of("stream", "display_data", "execute_result")
    assert [c["text"] if "text" in c else c["data"]["text/plain"] for c in shown] == ["1\n", "2", "3\n4\n", "5"]


def test_large_values_that_are_displayed_are_cut_by_their_bytes(kernel):
    reply = kernel.run('for i in range(150):\n    display("y" * 190000)')
    assert 5_000_000 < sum(len(data["text/plain"]) for data in reply.shown) <= 10_000_000
    assert "displayed values left out" in reply.stream("stderr")


MISTAKES = {
    'titanic.selct("Age")': ("            ^^^^^", "Did you mean 'select'"),
    'x = (titanic\n  .filter(pl.col("Age") > 3)\n  .group_by("Pclas"))': ("3 │   .group_by(", "Did you mean 'Pclass'?"),
    'titanic.select(pl.col("Agee").mean())': ("                          ^^^^^^", "Did you mean 'Age'?"),
    'dataset("titanik")': ("            ^^^^^^^^^", "Did you mean 'titanic'?"),
    "datset": ("    ^^^^^^", "Did you mean 'dataset'"),
    "1 +* 2": ("       ^", "[language.syntax]"),
}


@pytest.mark.parametrize("code", MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_has_its_place_and_a_suggestion(kernel, code):
    kernel.run('titanic = dataset("titanic")')
    error = kernel.run(code).error
    place, hint = MISTAKES[code]
    assert place in error
    assert hint in error
    assert "Traceback" not in error


def test_the_pager(kernel):
    kernel.run('titanic = dataset("titanic")')
    for asked, shows in (("titanic.group_by?", "group_by("), ("?dataset", "dataset(name)"), ("titanic??", "members: ")):
        reply = kernel.run(asked)
        (page,) = reply.content["payload"]
        assert (page["source"], page["start"]) == ("page", 0)
        assert shows in page["data"]["text/plain"]
        assert reply.messages == []
    assert "Did you mean 'titanic'?" in kernel.run("titanik?").error
