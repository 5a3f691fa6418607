"""What a scientist meets while typing: the launcher's card, completion, help, and the toolbar's stop button."""

from __future__ import annotations

import time

import polars as pl
import pytest
from kernel_client import SLOW

pytestmark = pytest.mark.timeout(400)


def test_the_launchers_card_opens_a_notebook_with_the_kernel(stage, windows):
    window = windows(f"{stage.lab.root}/lab?token=T&reset", width=1100, height=800)
    card = window.page.locator(".jp-LauncherCard[title='BastionLab']").first
    card.wait_for(timeout=90_000)
    logo = card.locator("img")
    assert logo.evaluate("image => image.complete && image.naturalWidth > 0"), "its logo is loaded"
    assert "/kernelspecs/bastionlab/" in logo.get_attribute("src")
    window.keep("launcher.png", window.page.locator(".jp-Launcher-section").first)
    card.click()
    window.idle()
    window.type(0, "connect()")
    window.command("notebook:run-cell")
    assert "as alice" in window.cell(0).inner_text()
    kernel = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.name"
    assert window.page.evaluate(kernel) == "bastionlab"


def paleness(items, name: str) -> float:
    """Return the opacity of a completion's word, once it is drawn."""
    word = items.locator(".jp-Completer-match").get_by_text(name, exact=True)
    return float(word.evaluate("word => getComputedStyle(word).opacity"))


def test_what_the_policy_never_releases_is_drawn_paler(stage, opened):
    from bastion.policy import Aggregation, Policy, Reject

    never = Policy(Aggregation(10), unsafe_handling=Reject())
    stage.send(pl.DataFrame({"fare": [float(i) for i in range(100)]}), never, name="firm")
    window = opened("pale", 'connect()\nfirm = dataset("firm")', "", width=1000, height=900)
    window.run(0)
    window.type(1, 'firm.select(pl.col("fare").fi')
    window.page.keyboard.press("Tab")
    items = window.page.locator(".jp-Completer-item")
    items.filter(has_text="refused").wait_for(timeout=60_000)
    assert (paleness(items, "fill_null"), paleness(items, "first")) == (1, 0.45)
    window.keep("completion-refused.png", window.cell(1), below=250)


def records(stage, kind: str) -> list[str]:
    return [record.summary for record in stage.owner.audit("slow", 50) if record.kind_of == kind]


def until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_completion_help_and_stop(stage, opened):
    from bastion.policy import Policy

    stage.send(pl.DataFrame({"x": range(5000)}), Policy.open(), name="slow")
    window = opened("typing", 'connect()\ntitanic = dataset("titanic")', "", SLOW, "21 * 2", width=1000, height=900)
    page, keys = window.page, window.page.keyboard
    window.run(0)

    # Tab: the columns with their types; one is chosen
    window.type(1, 'titanic.select(pl.col("')
    keys.press("Tab")
    items = page.locator(".jp-Completer-item")
    items.filter(has_text="Survived").wait_for(timeout=60_000)
    offered = {
        item.locator(".jp-Completer-match").inner_text(): item.locator(".jp-Completer-typeExtended").inner_text()
        for item in items.all()
    }
    assert offered["Age"] == "float64"  # JupyterLab writes kinds in small letters
    assert offered["Name"] == "hidden"
    assert len(offered) == 12
    # what nobody may use is drawn paler
    assert (paleness(items, "Age"), paleness(items, "Name")) == (1, 0.45)
    window.keep("completion.png", window.cell(1), below=250)
    items.filter(has_text="Fare").click()
    items.first.wait_for(state="hidden", timeout=60_000)
    window.cell(1).locator(".cm-content").get_by_text("Fare").wait_for(timeout=60_000)
    keys.type('").mean')
    assert window.cell(1).locator(".cm-content").inner_text() == 'titanic.select(pl.col("Fare").mean'

    # Shift-Tab: what the function does, and what the guard makes of it
    keys.press("Shift+Tab")
    tooltip = page.locator(".jp-Tooltip")
    tooltip.get_by_text("mean").first.wait_for(timeout=60_000)
    assert "mean" in tooltip.inner_text()
    window.keep("tooltip.png", window.cell(1), below=130)
    keys.type("())")
    tooltip.wait_for(state="hidden", timeout=60_000)
    assert "Fare" in window.run(1).locator("table").inner_text()

    # the toolbar's stop button: the cell says so, the query's end is in the server's log, the next cell works
    slow = window.run(2, wait=False)
    window.under_way(slow)
    until(lambda: records(stage, "intent"))
    window.keep("running.png")
    window.stop()
    slow.get_by_text("The cell was stopped.").wait_for(timeout=60_000)
    until(lambda: records(stage, "outcome") == ["cancelled"])
    window.idle()
    page.wait_for_timeout(300)  # cells that come within 0.1 s of an error are those of a Run All, and are aborted
    window.run(3).locator(".jp-OutputArea").get_by_text("42").wait_for(timeout=60_000)
    window.keep("stopped.png")
