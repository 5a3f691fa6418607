"""Plots in kernel cells: one bundle with Vega-Lite, a picture and text; completion knows the verbs."""

from __future__ import annotations

import pytest

VEGA = "application/vnd.vegalite.v5+json"


def test_a_cell_shows_a_histogram(kernel):
    reply = kernel.run('dataset("titanic").plot.hist("Age", width=10, title="Passengers by age")')
    data = reply.result
    assert data[VEGA]["title"]["text"] == "Passengers by age"
    # what others asked of the table before may take a bin more out of the remainder
    assert {row["v"] for row in data[VEGA]["data"]["values"]} >= {62, 102, 220, 167, 89, 48}
    assert "20 – 30 │████" in data["text/plain"]
    assert "26 rows in all" in data["text/plain"]


def test_the_picture_comes_with_it(kernel):
    pytest.importorskip("matplotlib")
    import base64

    data = kernel.run('dataset("titanic").histplot("Pclass")').result
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


def test_its_table_and_its_notes_are_values(kernel):
    kernel.run('chart = dataset("titanic").plot.bar("Pclass", "Survived", hue="Sex")')
    assert "mean of Survived" in kernel.run("chart.table").result["text/plain"]
    assert kernel.run("print(chart.notes)").stream("stdout").strip() == "()"
    assert kernel.run('chart.save("x.png")').status == "error"
    assert kernel.run("chart.draw()").status == "error"


def test_a_denied_plot_is_a_denial(kernel):
    reply = kernel.run('dataset("titanic").plot.hist("Name")')
    assert "hidden" in str(reply.shown)


def test_bins_that_nobody_can_know(kernel):
    reply = kernel.run('dataset("titanic").plot.hist("Fare")')
    assert reply.status == "error"
    assert "never taken from the data" in reply.error
    assert "width=10" in reply.error


def ask(kernel, kind, code):
    getattr(kernel.client, kind)(code, len(code))
    return dict(kernel.client.get_shell_msg(timeout=20)["content"])


def test_completion_and_inspection(kernel):
    assert {"hist", "facet", "corr"} <= set(ask(kernel, "complete", 'dataset("titanic").plot.')["matches"])
    assert "histplot" in ask(kernel, "complete", 'dataset("titanic").hist')["matches"]
    assert "facet" in ask(kernel, "complete", 'dataset("titanic").fac')["matches"]
    assert "Survived" in " ".join(ask(kernel, "complete", 'dataset("titanic").plot.bar("Pclass", "Sur')["matches"])
    assert "estimator" in ask(kernel, "inspect", 'dataset("titanic").plot.bar(')["data"]["text/plain"]
