"""The owner's forms by the keyboard alone, in a real JupyterLab: a role with its bounds, and the day an approval ends."""

from __future__ import annotations

import contextlib

import polars as pl
import pytest
from bastion_plan.errors import ServerError

from bastion.client.denied import Denied

pytestmark = pytest.mark.timeout(240)


def test_bounds_of_a_measure_and_the_day_an_approval_ends(stage, opened):
    with contextlib.suppress(Denied):
        try:
            stage.user.dataset("titanic").tail(9).fetch()
        except Denied as denied:
            denied.request("Nine of them.")
            raise
    owner = opened("forms", 'connect(identity="olga")', "owner_panel()", height=3000)
    owner.run_all()
    panel = owner.page.locator(".bastion-owner")
    panel.get_by_role("option").filter(has_text="Nine of them.").click(timeout=90_000)
    day = panel.get_by_label("last day of the approval")
    day.wait_for(timeout=30_000)
    assert day.get_attribute("type") == "date"
    day.focus()
    owner.page.keyboard.type("01022003")
    assert day.input_value() == "2003-01-02"
    panel.get_by_role("button", name="Approve until").press("Enter")
    panel.get_by_text("until a day from today on").wait_for(timeout=10_000)
    day.fill(day.get_attribute("min"))
    panel.get_by_role("button", name="Approve until").press("Enter")
    panel.get_by_text("holds until").wait_for(timeout=30_000)

    panel.get_by_role("tab", name="Datasets").click()
    panel.get_by_role("option").filter(has_text="titanic").click()
    kind = panel.get_by_label("role of Age", exact=True)
    kind.wait_for(timeout=30_000)
    kind.select_option("quasi")
    panel.get_by_label("values that may be named of Age").wait_for(timeout=10_000)
    kind.select_option("measure")
    panel.get_by_label("lowest value of Age").focus()
    for key in ("0", "Tab", "8", "0", "Tab", "Tab", "Enter"):
        owner.page.keyboard.press(key)
    panel.get_by_text("Age is measure(0, 80) now.").wait_for(timeout=30_000)
    owner.page.wait_for_function("document.activeElement.getAttribute('aria-label') === 'role of Age'")
    # as wide as the panel is in a window of 1180 pixels beside the list of files
    owner.page.set_viewport_size({"width": 860, "height": 3000})
    table = panel.locator(".bo-scroll").filter(has=owner.page.get_by_label("role of Age", exact=True))
    owner.page.wait_for_function("t => t.scrollWidth <= t.clientWidth", arg=table.element_handle(), timeout=10_000)
    owner.keep("owner-forms.png", panel)
    owner.harmless()


@pytest.mark.timeout(400)
def test_failed_queries_are_cleared_after_a_question(stage, opened):
    from bastion_server import start

    titanic = stage.user.dataset("titanic")
    titanic.select(pl.len()).fetch()  # the rows are numbered once, before what is counted
    stage.server.stop()
    # hardly a query comes to its end: one does where it ends before anybody looks at the clock
    with start(stage.folder, stage.server.endpoint, seconds=1e-9):
        with pytest.raises(ServerError) as failed:
            all(titanic.fill_null(value).select(pl.len()).fetch().height for value in range(1000))
        assert failed.value.code == "server.query.failed"
        owner = opened("failed", 'connect(identity="olga")', "owner_panel()", height=3000)
        owner.run_all()
        panel = owner.page.locator(".bastion-owner")
        panel.get_by_role("tab", name="Datasets").click(timeout=90_000)
        panel.get_by_role("option").filter(has_text="titanic").click()
        panel.get_by_text("alice: 1 (1 of them within a day)").wait_for(timeout=30_000)
        panel.get_by_role("button", name="Clear", exact=True).click()
        panel.get_by_text("may have told one bit about one person").wait_for(timeout=10_000)
        panel.get_by_role("button", name="Yes, clear").click()
        panel.get_by_text("1 failed query of alice counts no longer.").wait_for(timeout=30_000)
        assert panel.get_by_text("Failed queries that count").count() == 0
        owner.harmless()
