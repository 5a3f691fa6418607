"""The safe preview in the kernel: marked, without the hidden names, and never taken for a result."""

from __future__ import annotations

import pytest


def test_a_preview_shows_made_up_rows(kernel):
    reply = kernel.run('dataset("titanic").preview(3)')
    page, text = reply.result["text/html"], reply.result["text/plain"]
    assert page.count('class="mark">FAKE<') == 5
    assert "None of it is data" in text
    assert "Braund" not in page + text, "a name of somebody in the table"
    name = text.split("\n")[1].index("Name")
    assert [line[name] for line in text.split("\n")[4:7]] == ["*", "*", "*"]
    assert kernel.run('dataset("titanic").preview(3)').result == reply.result


def test_printing_it_keeps_the_mark(kernel):
    reply = kernel.run('fake = dataset("titanic").preview(1)\nprint(fake)\nprint(fake.columns)')
    assert "FAKE │" in reply.stream("stdout")
    assert "Survived" in reply.stream("stdout")


@pytest.mark.parametrize("code", ["fake.to_polars()", "fake.facts", "fake._frame", "fake.sum()"])
def test_a_cell_gets_no_table_of_it(kernel, code):
    kernel.run('fake = dataset("titanic").preview(1)')
    assert kernel.run(code).status == "error"


def test_a_query_has_none(kernel):
    assert "is a query" in kernel.run('dataset("titanic").select("Age").preview()').error


def test_the_card_speaks_of_it(kernel):
    assert 'dataset("titanic").preview()' in kernel.run('dataset("titanic")').result["text/plain"]
