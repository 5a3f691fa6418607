"""Two notebooks in a real JupyterLab: a scientist's query is denied, the owner's panel decides, the scientist's cell updates.

With BASTION_SCREENSHOTS=FOLDER the screens are kept there (docs/images is made this way).
"""

from __future__ import annotations

import contextlib

import polars as pl
import pytest
from jupyter_lab import EVIL, PYTHON, seen

from bastion.client.news import BACK, LOST
from bastion.policy import Policy, measure

pytestmark = pytest.mark.timeout(400)
#: the owner's notebook
PANEL = ('connect(identity="olga")', "owner_panel()")


def test_denied_asked_decided_in_the_panel_and_the_cells_update(stage, opened):
    owner = opened("owner", *PANEL)
    owner.run_all()
    panel = owner.page.locator(".bastion-owner")
    panel.get_by_text("Nothing waits for you").wait_for(timeout=90_000)
    scientist = opened(
        "scientist", "connect()", 'dataset("titanic").head(5)', 'dataset("titanic").tail(4)', height=1300
    )
    scientist.run(0)
    first, second = scientist.run(1), scientist.run(2)
    # the same identity in a second notebook, with Python and magics
    other = opened("other", "%load_ext bastion_magics\n%bastion connect", "%bastion requests", kernel=PYTHON)
    other.run(0)
    for cell, why in ((first, "To see the columns."), (second, "Also these.")):
        cell.get_by_role("button", name="Request access").wait_for(timeout=90_000)
        cell.locator("textarea").last.fill(why)
        cell.get_by_role("button", name="Request access").click()
        seen(cell, "Waiting for the owner").wait_for(timeout=60_000)
    elsewhere = other.run(1)
    elsewhere.get_by_text("Waiting for the owner").nth(1).wait_for(timeout=60_000)

    panel.get_by_role("option").nth(1).wait_for(timeout=60_000)
    panel.get_by_role("option").filter(has_text="To see the columns.").click()
    panel.get_by_text("head(5)").first.wait_for(timeout=60_000)
    shown = panel.inner_text()
    for part in ("IN PLAIN WORDS", "RULES IT FAILS", "row-level", "titanic.Age", "rows of the result"):
        assert part in shown
    panel.get_by_role("button", name="Show the first rows").click()
    panel.get_by_text("Preview for the owner.").wait_for(timeout=60_000)
    panel.get_by_label("A word to the requester").fill("Fine, for this once.")
    owner.keep("owner-requests.png", panel)
    panel.get_by_role("button", name="Approve once").click()
    seen(first, "shape: (5, 12)").wait_for(timeout=60_000)
    assert "Fine, for this once." in first.inner_text()
    assert "Braund" not in first.inner_text()

    panel.get_by_role("option").filter(has_text="Also these.").click()
    panel.get_by_text("tail(4)").first.wait_for(timeout=60_000)
    panel.get_by_role("button", name="Deny").click()
    panel.get_by_text("A denial needs a word").wait_for(timeout=60_000)
    panel.get_by_label("A word to the requester").fill(f"Ask for the mean instead. {EVIL}")
    panel.get_by_role("button", name="Deny").click()
    seen(second, "Ask for the mean instead.").wait_for(timeout=60_000)
    assert "shape:" not in second.inner_text()
    scientist.keep("decided.png")
    # the approval is used, and no more to revoke
    panel.get_by_text("Nothing waits for you").wait_for(timeout=60_000)
    # who looks on from another notebook is told as well
    for word in ("Fine, for this once.", "Ask for the mean instead."):
        elsewhere.get_by_text(word).last.wait_for(timeout=60_000)
    other.keep("two-notebooks.png", elsewhere)
    for window in (owner, scientist, other):
        window.harmless()


def test_the_other_tabs_and_what_is_typed_stays(stage, opened):
    user = stage.user
    stage.send(pl.DataFrame({EVIL: [EVIL] * 40, "n": range(40)}), name="odd")
    noisy = Policy.private(epsilon=8.0, unit="id", roles={"id": "identifier", "x": measure(0, 1)})
    stage.owner.client.polars.send_df(pl.DataFrame({"id": range(90), "x": [0, 1] * 45}), noisy, name="noisy")
    user.dataset("noisy").select(pl.len()).collect(epsilon=2).fetch()
    stage.send(pl.DataFrame({"age": [i // 2 for i in range(200)]}), name="ages")
    for years in (25, 20, 11):  # groups that cut across each other, so that the linear audit looks at them
        user.dataset("ages").group_by(pl.col("age") // years).agg(pl.len()).fetch()
    for frame in (
        user.dataset("titanic").group_by("Pclass", "Sex").agg(pl.col("Survived").mean()),
        user.dataset("titanic").group_by("Embarked").agg(pl.len(), pl.col("Fare").mean()),
        user.dataset("titanic").head(6),
    ):
        with contextlib.suppress(Exception):
            frame.fetch()
    owner = opened("owner", *PANEL, height=3600)
    owner.run_all()
    panel = owner.page.locator(".bastion-owner")
    panel.get_by_role("tab", name="Datasets").click()
    panel.get_by_role("option").filter(has_text="titanic").click()
    editor = panel.get_by_label("policy", exact=True)
    editor.wait_for(timeout=60_000)
    text = editor.input_value()
    editor.fill(text.replace("aggregation = 10", "agregation = 10"))
    panel.get_by_text("line ").first.wait_for(timeout=60_000)
    assert "agregation" in panel.locator(".bo-check").inner_text()
    editor.fill(text.replace('unsafe = "review"', 'unsafe = "reject"'))
    panel.get_by_text("This policy is valid.").wait_for(timeout=60_000)
    panel.get_by_role("button", name="Try on past queries").click()
    panel.locator(".bo-trial").wait_for(timeout=60_000)
    assert "would get less than now" in panel.locator(".bo-trial").inner_text()
    owner.keep("owner-datasets.png", panel)
    # a request that arrives meanwhile takes nothing away from who is typing
    editor.click()
    owner.page.keyboard.press("Control+End")
    before = len(stage.owner.requests("pending"))
    owner.page.keyboard.type("# mine")
    try:
        user.dataset("odd").select(pl.col(EVIL)).head(3).fetch()
    except Exception as denied:  # noqa: BLE001 - Denied
        denied.request(f"why not {EVIL}")
    panel.locator(".bo-count").get_by_text(str(before + 1), exact=True).wait_for(timeout=60_000)
    owner.page.keyboard.type(" too")
    assert editor.input_value().endswith("# mine too")
    panel.get_by_role("button", name="As it is on the server").click()

    panel.get_by_role("tab", name="Requests").click()
    panel.get_by_role("option").first.click()
    panel.get_by_text("odd.").first.wait_for(timeout=60_000)
    panel.get_by_role("button", name="Suggest lines").click()
    panel.get_by_text("Refuse at once").wait_for(timeout=60_000)
    owner.keep("owner-suggested.png", panel)

    panel.get_by_role("tab", name="Activity").click()
    panel.locator(".bo-log tbody tr").first.wait_for(timeout=60_000)
    panel.get_by_role("button", name="Verify the log").click()
    panel.get_by_text("The log is whole").wait_for(timeout=60_000)
    panel.get_by_label("kind").select_option("outcome")
    panel.get_by_role("button", name="Show", exact=True).click()
    owner.page.wait_for_timeout(800)
    owner.keep("owner-activity.png", panel)
    panel.get_by_role("tab", name="Exposure").click()
    panel.get_by_role("tabpanel", name="Exposure").locator("svg rect").first.wait_for(timeout=60_000)
    owner.keep("owner-exposure.png", panel)
    panel.get_by_role("tab", name="Budget").click()
    panel.get_by_text("Room in the audit").wait_for(timeout=60_000)
    budget = panel.get_by_role("tabpanel", name="Budget")
    budget.get_by_text("epsilon 2 of 8 spent in 1 answer (delta").wait_for(timeout=60_000)
    bar = budget.get_by_role("img", name="epsilon of noisy").locator("rect")
    spent, left = (bar.nth(part).bounding_box()["width"] for part in (0, 1))
    assert 2.5 < left / spent < 3.5
    room = budget.get_by_role("img", name="rank of").filter(has_text="ages: alice")
    room.get_by_text("14 of 46", exact=True).wait_for(timeout=60_000)
    told, left = (room.locator("rect").nth(part).bounding_box()["width"] for part in (0, 1))
    assert told / (told + left) == pytest.approx(14 / 46.2, abs=0.01)
    owner.keep("owner-budget.png", panel)

    panel.get_by_role("tab", name="Datasets").click()
    owner.page.locator(".bastion-owner input[type=file]").set_input_files(
        {"name": "new.csv", "mimeType": "text/csv", "buffer": b"town,age\n" + b"x,30\ny,40\n" * 30}
    )
    panel.get_by_role("button", name="Upload", exact=True).wait_for(timeout=60_000)
    panel.get_by_label("privacy unit").select_option("row")
    panel.get_by_role("button", name="Upload", exact=True).click()
    panel.get_by_text("new is there.").wait_for(timeout=60_000)
    owner.harmless()
    owner.save_and_reload()
    owner.page.locator(".bastion-owner").get_by_role("tab", name="Requests").wait_for(timeout=60_000)


def test_a_server_that_starts_anew_under_a_live_notebook(stage, opened):
    from bastion_server import start

    window = opened("restart", "connect()", 'dataset("titanic").head(3)', "1 + 1", "1 + 2", height=1300)
    window.run(0)
    denied = window.run(1)
    denied.locator("textarea").last.fill("To see three.")
    denied.get_by_role("button", name="Request access").click()
    seen(denied, "Waiting for the owner").wait_for(timeout=60_000)
    stage.server.stop()
    lost = window.run(2)
    lost.get_by_text(LOST).wait_for(timeout=60_000)
    assert "2" in lost.locator(".jp-OutputArea").inner_text()
    with start(stage.folder, stage.server.endpoint) as server:
        assert server.server_key == stage.server.server_key
        (request,) = [r for r in stage.owner.requests("pending") if r.reason == "To see three."]
        stage.owner.approve(request, "Three it is.")
        seen(denied, "shape: (3, 12)").wait_for(timeout=60_000)
        window.run(3).get_by_text(BACK).wait_for(timeout=60_000)
        window.keep("restarted.png")
