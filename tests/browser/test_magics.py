"""An ordinary Python notebook with `%load_ext bastion_magics`: tables, a denial with its buttons, a plot, completion."""

from __future__ import annotations

import nbformat
import polars as pl
import pytest
from jupyter_lab import PYTHON, seen
from kernel_client import SLOW

pytestmark = pytest.mark.timeout(400)
CELLS = [
    "%load_ext bastion_magics\n%bastion connect",
    '%%bastion --as rates\ntitanic = dataset("titanic")\n'
    'titanic.group_by("Pclass").agg(pl.col("Survived").mean()).sort("Pclass")',
    'import polars\nprint(type(rates), rates["Survived"].max() < 0.63)',
    "%%bastion\ntitanic.head(5)",
    '%%bastion\ntitanic.plot.bar("Pclass", "Survived", title="Who survived?")',
    "%%bastion\n",
    "%%bastion\n" + SLOW,
    "6 * 7",
]


def test_cells_denials_plots_and_stopping(stage, opened):
    from bastion.policy import Policy

    stage.send(pl.DataFrame({"x": range(5000)}), Policy.open(), name="slow")
    window = opened("magics", *CELLS, kernel=PYTHON, width=1000, height=2100)
    page, keys = window.page, window.page.keyboard
    card = window.run(0).inner_text()
    assert "as alice" in card
    assert "to explore: %bastion datasets" in card
    assert "0.62963" in window.run(1).inner_text()
    assert "polars.dataframe.frame.DataFrame'> True" in window.run(2).inner_text()

    denied = window.run(3)
    denied.get_by_role("button", name="Request access").wait_for(timeout=60_000)
    assert "single people" in denied.inner_text()
    assert "Traceback" not in denied.inner_text()
    denied.locator("textarea").last.fill("To see the columns.")
    denied.get_by_role("button", name="Request access").click()
    seen(denied, "Waiting for the owner").wait_for(timeout=60_000)
    (request,) = stage.owner.requests("pending")
    stage.owner.approve(request, "Fine.")
    seen(denied, "shape: (5, 12)").wait_for(timeout=60_000)
    # the notebook's file has it, too: beside the reason, in an output that needs no kernel
    page.wait_for_timeout(300)
    window.command("docmanager:save")
    kept = nbformat.read(stage.lab.work / "magics.ipynb", as_version=4).cells[3].outputs[0].data["text/html"]
    for part in ("single people", "The owner approved.", "Fine.", "shape: (5, 12)"):
        assert part in kept

    chart = window.run(4).locator(".vega-embed canvas, .vega-embed svg.marks")
    chart.wait_for(timeout=60_000)
    assert chart.bounding_box()["width"] > 150

    window.type(5, '%%bastion\ntitanic.select(pl.col("')
    keys.press("Tab")
    items = page.locator(".jp-Completer-item")
    items.filter(has_text="Survived").wait_for(timeout=60_000)
    assert "float64" in items.filter(has_text="Fare").inner_text()
    items.filter(has_text="Fare").click()
    items.first.wait_for(state="hidden", timeout=60_000)
    keys.type('").mean())')
    assert "32.2" in window.run(5).locator("table").inner_text()
    window.keep("magics.png")

    slow = window.run(6, wait=False)
    window.under_way(slow)
    window.keep("magics-running.png", slow)
    window.stop()
    slow.get_by_text("interrupted.cell").wait_for(timeout=60_000)
    window.idle()
    window.run(7).locator(".jp-OutputArea").get_by_text("42").wait_for(timeout=60_000)
    window.keep("magics-stopped.png")
