"""Strings of others in a real JupyterLab: names, values, policies, reasons, answers, errors. No script of them runs.

They stand in the scientist's cells, in the owner's panel, in a notebook with magics, in saved pages and in exports; one of
a megabyte neither.
"""

from __future__ import annotations

import polars as pl
import pytest
from bastion_plan.errors import BastionError
from jupyter_lab import PYTHON, seen

pytestmark = pytest.mark.timeout(400)
EVIL = (
    "<img src=x onerror='window.evil=1'><script>window.evil=1</script></style></pre></textarea>"
    "\u202e\u2066\x1b[31m\x9b1m\"');window.evil=1;//"
)
NAME = "<img src=x onerror='window.evil=1'>"
HUGE = EVIL + "<b onclick='window.evil=1'>1 MB</b>" * 30_000
CELLS = [
    "connect()", "datasets()", f"odd = dataset({NAME!r})", "odd", "odd.preview()",
    "odd.explain()", "rows = odd.head(3)", "rows", "free = dataset('free')", "free.select(pl.all())",
    "free.group_by(pl.all()).agg(pl.len())", f"odd.select(pl.col({EVIL!r} + 'x'))", f"dataset({EVIL!r})",
    "dataset('huge').select(pl.all())", "requests()",
]  # fmt: skip
DENIED, REQUESTS = 7, 14


@pytest.fixture(scope="module")
def odd(stage):
    from bastion.policy import Policy

    table = pl.DataFrame({EVIL: [EVIL + str(i) for i in range(40)], "n": range(40)})
    hidden = table.with_columns(pl.lit(EVIL).alias(f"hidden {EVIL}"))
    stage.send(hidden, name=NAME, sanitized_columns=[f"hidden {EVIL}"])
    stage.send(table, Policy.open(), name="free")
    stage.send(pl.DataFrame({"huge": [HUGE, EVIL]}), Policy.open(), name="huge")
    return stage


def test_no_string_of_others_runs(odd, opened):
    owner = opened("panel", 'connect(identity="olga")', "owner_panel()", width=1100, height=3000)
    owner.run_all()
    panel = owner.page.locator(".bastion-owner")
    panel.get_by_text("Nothing waits for you").wait_for(timeout=90_000)
    window = opened("odd", *CELLS, width=1100, height=6400)
    for number in range(len(CELLS) - 1):  # errors do not stop it this way
        window.run(number)
    denied = window.cell(DENIED)
    denied.get_by_role("button", name="Request access").wait_for(timeout=60_000)
    window.harmless()
    for details in window.page.locator("details.copy").all():
        details.locator("summary").click()
    denied.locator("textarea").last.fill(EVIL)
    denied.get_by_role("button", name="Request access").click()
    seen(denied, "Waiting for the owner").wait_for(timeout=60_000)
    (request,) = odd.owner.requests("pending")
    listed = window.run(REQUESTS)
    listed.get_by_text("Waiting for the owner").wait_for(timeout=60_000)

    # the justification, the names of the columns and the rows of the preview, where the owner decides
    panel.get_by_role("option").first.click()
    panel.get_by_text("RULES IT FAILS").or_(panel.get_by_text("Rules it fails")).first.wait_for(timeout=60_000)
    panel.get_by_role("button", name="Show the first rows").click()
    panel.get_by_text("Preview for the owner.").wait_for(timeout=60_000)
    panel.get_by_role("button", name="Suggest lines").click()
    panel.get_by_text("Refuse at once").wait_for(timeout=60_000)
    assert NAME in panel.inner_text()
    owner.harmless()
    owner.keep("owner-hostile.png", panel)
    panel.get_by_role("tab", name="Datasets").click()
    panel.get_by_role("option").filter(has_text="onerror").first.click()
    panel.get_by_label("policy", exact=True).wait_for(timeout=60_000)
    panel.get_by_role("tab", name="Activity").click()
    panel.locator(".bo-log tbody tr").first.wait_for(timeout=60_000)
    owner.harmless()

    odd.owner.deny(request, EVIL)
    seen(denied, "The owner said no").wait_for(timeout=60_000)
    listed.get_by_text("The owner said no").first.wait_for(timeout=60_000)
    window.harmless()
    window.keep("hostile.png")
    for saved in (window, owner):
        saved.save_and_reload()
        saved.page.locator(".jp-OutputArea-output").first.wait_for(timeout=60_000)
        saved.harmless()
    from nbconvert import HTMLExporter

    for name in ("odd", "panel"):
        shown = HTMLExporter().from_filename(str(odd.lab.work / f"{name}.ipynb"))[0]
        assert "<img src=x" not in shown.split("<body", 1)[1].replace("&lt;img src=x", "")


def test_a_megabyte_of_words(odd, opened):
    """A justification and an answer that nobody can read: refused, and what may be as long stays text."""
    window = opened("words", "connect()", f"dataset({NAME!r}).tail(3)", width=1100, height=2000)
    window.run(0)
    cell = window.run(1)
    cell.get_by_role("button", name="Request access").wait_for(timeout=60_000)
    cell.locator("textarea").last.fill(HUGE)
    cell.get_by_role("button", name="Request access").click()
    cell.get_by_text("a reason of 1 to 2000 characters").wait_for(timeout=60_000)
    window.harmless()
    cell.locator("textarea").last.fill(HUGE[:2000])
    cell.get_by_role("button", name="Request access").click()
    seen(cell, "Waiting for the owner").wait_for(timeout=60_000)
    request = next(r for r in odd.owner.requests("pending") if len(r.reason) > 1000)
    with pytest.raises(BastionError):
        odd.owner.deny(request, HUGE)
    odd.owner.deny(request, HUGE[:2000])
    seen(cell, "The owner said no").wait_for(timeout=60_000)
    window.harmless()
    window.keep("megabyte.png")


def test_the_same_in_a_notebook_with_magics(odd, opened):
    window = opened(
        "odd-magics", "%load_ext bastion_magics\n%bastion connect", "%bastion datasets", f'%bastion policy "{NAME}"',
        f'%bastion preview "{NAME}"', "%%bastion --as free\ndataset('free').select(pl.all())",
        f"%%bastion\ndataset({NAME!r}).head(3)", f"%%bastion\ndataset({EVIL!r})", "%bastion requests",
        kernel=PYTHON, width=1100, height=4200,
    )  # fmt: skip
    for number in range(8):
        window.run(number)
    window.harmless()
    assert NAME in window.cell(2).inner_text()
    window.keep("hostile-magics.png")
