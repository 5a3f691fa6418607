"""The quick tour in a real JupyterLab: Run All, the table, the denial, a click on "Request access", and the rows arriving.

And a long result: its pages, its CSV, and what is left of it without its kernel.

With BASTION_SCREENSHOTS=FOLDER the screens are kept there (docs/images is made this way).
"""

from __future__ import annotations

import threading

import nbformat
import polars as pl
import pytest
from jupyter_lab import EVIL, ROOT, seen
from nbconvert import HTMLExporter

#: cells of the tour up to the denial; the two after it ask and wait in code, which is done by clicks here
LAST = "tour-13"

pytestmark = pytest.mark.timeout(400)


def tour(work, *chosen: str):
    book = nbformat.read(ROOT / "notebooks" / "01-quick-tour.ipynb", as_version=4)
    ids = [cell.id for cell in book.cells]
    book.cells = book.cells[: ids.index(LAST) + 1]
    nbformat.write(book, work / "tour.ipynb")
    cells = {cell.id: cell for cell in book.cells}
    cells["tour-06"].source = 'titanic = dataset("titanic")\n' + cells["tour-06"].source
    book.cells = [cells[name] for name in ("tour-01", "tour-06", "tour-12", LAST)]
    nbformat.write(book, work / "short.ipynb")


def test_run_all_ask_and_get_the_rows(stage, opened):
    tour(stage.lab.work)
    window = opened("tour", width=1100, height=3800)
    window.run_all()
    last = window.cells.last
    ask = last.get_by_role("button", name="Request access")
    ask.wait_for(timeout=60_000)
    shown = window.page.locator(".jp-Notebook").inner_text()
    for rate in ("0.62963", "0.472826", "0.242363"):
        assert rate in shown
    assert "single people" in last.inner_text()
    assert "denied.row-level" in last.inner_text()
    assert stage.owner.requests("pending") == []

    last.locator("textarea").last.fill("I want to see how the columns look before I write the analysis.")
    ask.click()
    seen(last, "Waiting for the owner").wait_for(timeout=60_000)
    (request,) = stage.owner.requests("pending")
    assert request.reason.startswith("I want to see")
    thread = threading.Thread(target=stage.owner.approve, args=(request, "Fine for the tour."))
    thread.start()
    last.locator(".bastion table").filter(visible=True).wait_for(timeout=60_000)
    thread.join()
    rows = last.inner_text()
    assert "shape: (5, 12)" in rows
    assert "Fine for the tour." in rows
    assert "Braund" not in rows
    window.keep("approved.png", last)

    window.save_and_reload()
    last.locator(".widget-html").get_by_text("The owner approved").filter(visible=True).wait_for(timeout=60_000)
    assert window.cells.last.inner_text().count("shape: (5, 12)") == 1, "the widget shows it, the static view does not"
    # without its kernel the widget is gone; the reason, the owner's words and the approved table are part of the notebook
    window.expected.append("widget model not found")
    window.end_kernel()
    window.save_and_reload()
    gone = window.cells.last.locator(".jupyter-widgets:not(:has(*))")
    gone.get_by_text("Error displaying widget").wait_for(state="attached", timeout=60_000)
    assert gone.evaluate("node => getComputedStyle(node, '::after').content") in ("none", '""')
    assert gone.evaluate("node => getComputedStyle(node).fontSize") == "0px"
    kept = window.page.locator(".jp-Notebook").inner_text()
    for part in ("0.62963", "single people", "denied.row-level", "Fine for the tour.", "shape: (5, 12)"):
        assert part in kept
    shown = HTMLExporter().from_filename(str(stage.lab.work / "tour.ipynb"))[0]
    assert "shape: (5, 12)" in shown
    assert "Fine for the tour." in shown
    window.keep("reloaded.png", window.cells.last)


def test_a_long_result_pages_while_its_kernel_lives_and_stays_as_a_table_after(stage, opened):
    from bastion.policy import Policy

    name = EVIL + " "
    stage.send(pl.DataFrame({"n": range(891), name: [name + str(i) for i in range(891)]}), Policy.open(), name="long")
    window = opened(
        "long", "connect()", 'dataset("long").select(pl.all())', "1 + 1", width=1100, height=1200
    )  # fmt: skip
    window.run_all()
    page, cell = window.page, window.cell(1)
    static = cell.locator(".jp-OutputArea-child").nth(0).locator("table")
    paged = cell.locator(".jp-OutputArea-child").nth(1)
    paged.get_by_text("rows 1–20 of 891").wait_for(timeout=60_000)
    assert not static.is_visible()
    page.get_by_role("button", name="›").click()
    paged.get_by_text("rows 21–40 of 891").wait_for(timeout=60_000)
    paged.locator("select").nth(1).select_option(index=1)
    page.get_by_role("button", name="↑").click()
    paged.locator("tbody tr").first.get_by_text("890", exact=True).wait_for(timeout=60_000)
    page.get_by_role("button", name="CSV").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="result.csv").click()
    saved = pl.read_csv(download.value.path())
    assert saved.shape == (891, 2)
    assert saved["n"][0] == 890
    window.harmless()
    window.keep("pages.png", cell)

    window.save_and_reload()
    paged.get_by_text("rows 1–20 of 891").wait_for(timeout=60_000)
    window.expected.append("widget model not found")  # what ipywidgets says where a kernel's widgets are gone
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart().then(() => 1)")
    static.wait_for(timeout=60_000)
    assert not paged.get_by_text("rows 1–20 of 891").is_visible()
    page.reload()
    window.idle()
    static.wait_for(timeout=60_000)
    gone = paged.locator(".jp-OutputArea-output.jupyter-widgets")
    gone.wait_for(timeout=60_000)
    assert "Run the cell again" in gone.evaluate("node => getComputedStyle(node, '::after').content")
    assert "shape: (891, 2)" in cell.inner_text()
    window.harmless()
    window.keep("gone.png", cell)
    shown = HTMLExporter().from_filename(str(stage.lab.work / "long.ipynb"))[0]
    assert "shape: (891, 2)" in shown
    assert "widget-view" not in shown


@pytest.mark.slow
def test_a_reason_that_is_typed_asks_nobody(stage, opened):
    tour(stage.lab.work)
    window = opened("short", width=1000, height=910)
    window.run_all()
    window.page.locator(".jp-CodeCell textarea").last.wait_for(timeout=60_000)
    window.page.locator(".jp-CodeCell textarea").last.fill("To see how the columns look before I write the analysis.")
    window.page.locator(".jp-WindowedPanel-outer").evaluate("panel => { panel.scrollTop = 0 }")
    window.page.wait_for_timeout(500)
    window.keep("lab.png")
    assert stage.owner.requests("pending") == []


def test_the_safe_part_in_place_verdicts_and_the_pager(stage, opened):
    pay = pl.DataFrame({"g": ["x"] * 40 + ["y"] * 40 + ["z"] * 30, "v": [1000.0 + i % 7 for i in range(109)] + [9e6]})
    stage.send(pay, name="pay")
    window = opened(
        "part", "connect()", 'pay = dataset("pay")\nsums = pay.group_by("g").agg(pl.col("v").sum(), pl.len())\nrows = pay.head(3)',
        "sums", "pay.preview()", "pay.group_by?", 'pay.group_by("gg").agg(pl.len())', width=1000, height=1900,
    )  # fmt: skip
    for number in range(6):
        window.run(number)
    # before anything runs: what would become of it
    named = window.cell(1).locator(".jp-OutputArea").inner_text()
    assert "sums: ✓ Released automatically" in named
    assert "rows: ⚑ Needs the owner's review because head(3)" in named
    denied = window.cell(2)
    denied.get_by_role("button", name="Show the safe part (").click()
    seen(denied, "3 cells were taken out").wait_for(timeout=60_000)
    assert denied.get_by_role("cell", name="∅").filter(visible=True).count() == 3
    assert denied.get_by_role("button", name="Request access").is_visible()
    assert window.cell(3).get_by_text("FAKE", exact=True).count() >= 5
    assert "group_by(" in window.cell(4).locator(".jp-OutputArea").inner_text(), "the pager"
    assert "Did you mean 'g'?" in window.cell(5).locator(".jp-OutputArea").inner_text()
    window.harmless()
    window.keep("part.png")
    # a page that is loaded anew while a request waits: it still waits, and the decision comes in place
    denied.locator("textarea").last.fill("For the sums of all groups.")
    denied.get_by_role("button", name="Request access").click()
    seen(denied, "Waiting for the owner").wait_for(timeout=60_000)
    window.save_and_reload()
    window.cell(2).get_by_role("button", name="Withdraw").wait_for(timeout=60_000)
    assert seen(window.cell(2), "Waiting for the owner").count() == 1, "the widget says it, the static view does not"
    (request,) = [one for one in stage.owner.requests("pending") if one.reason == "For the sums of all groups."]
    deciding = threading.Thread(target=stage.owner.approve, args=(request, "Since you need all."))
    deciding.start()
    seen(window.cell(2), "shape: (3, 3)").wait_for(timeout=60_000)
    deciding.join()
    assert seen(window.cell(2), "Since you need all.").count() == 1
    assert seen(window.cell(2), "Waiting for the owner").count() == 0
    # and anew with the decision on it, which the saved page has not
    window.page.reload()
    window.idle()
    seen(window.cell(2), "shape: (3, 3)").wait_for(timeout=60_000)
    assert seen(window.cell(2), "Since you need all.").count() == 1
    assert seen(window.cell(2), "Waiting for the owner").count() == 0
    window.keep("waited.png")
