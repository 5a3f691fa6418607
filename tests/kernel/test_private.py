"""Cells about data that is answered with noise: what it would cost, what it cost, and what is left."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from widget_page import Page

from bastion.policy import Policy, measure, quasi

TITANIC = Path(__file__).parents[2] / "notebooks" / "data" / "titanic.csv"


@pytest.fixture(scope="module")
def voyage(stage):
    """Titanic under differential privacy."""
    roles = {
        "PassengerId": "identifier", "Pclass": quasi(1, 2, 3), "Sex": quasi("male", "female"),
        "Fare": measure(0, 300), "Survived": measure(0, 1),
    }  # fmt: skip
    frame = pl.read_csv(TITANIC).select(list(roles))
    stage.owner.client.polars.send_df(
        frame, Policy.private(epsilon=8.0, unit="PassengerId", roles=roles), name="voyage"
    )


def test_a_cell_is_answered_with_noise_and_says_what_is_left(kernel, voyage):
    assert kernel.run('voyage = dataset("voyage")').status == "ok"
    looked = kernel.run(
        'rates = voyage.group_by("Pclass").agg(pl.len(), pl.col("Survived").mean())\nrates.summarize(epsilon=4)'
    )
    text = looked.result["text/plain"]
    assert text.startswith("It would cost epsilon 4; nothing has been spent yet.")
    assert "len = len(): ± " in text
    assert "Budget of voyage: epsilon 8 left of 8" in text
    assert kernel.run("summarize(rates, 4)").result["text/plain"] == text
    shown = kernel.run("rates.collect(epsilon=4)")
    for form in ("text/plain", "text/html"):
        assert "This answer cost epsilon 4." in shown.result[form]
        assert "Budget of voyage: epsilon" in shown.result[form]
        assert "left of 8" in shown.result[form]
    assert "shape: (3, 3)" in shown.result["text/plain"]
    again = kernel.run("rates")
    assert "This answer cost nothing: it was answered before, with the same noise." in again.result["text/plain"]
    table = kernel.run("budget()").result["text/plain"]
    assert "voyage" in table
    assert kernel.run('[row["answers"] for row in budget().to_dicts()]').result["text/plain"] == "[1]"


def test_a_cell_that_cannot_be_paid_for_says_what_is_left(kernel, voyage):
    kernel.run('voyage = dataset("voyage")')
    for number in range(2):
        reply = kernel.run(f'voyage.filter(pl.col("Fare") > {number}).select(pl.len()).collect(epsilon=7.9)')
    shown = str(reply.shown) + str(reply.messages)
    assert "does not suffice: epsilon" in shown
    assert "this query would cost 7.9" in shown


def test_rows_are_refused_with_a_reason(kernel, voyage):
    reply = kernel.run('dataset("voyage").head(3)')
    assert "single people" in str(reply.messages) or "first or last rows" in str(reply.messages)


def test_a_fit_shows_how_far_it_is_and_is_stopped_by_an_interrupt(kernel, voyage):
    made = kernel.run(
        'voyage = dataset("voyage")\nds = voyage.to_dataset(inputs=["Fare"], label="Survived").scale_by_bounds().split(0.2)\n'
        "learner = RemoteLearner(nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 2)), ds.train, max_batch_size=100)\nlearner"
    )
    assert "RemoteLearner: loss cross_entropy" in made.result["text/plain"]
    cell = kernel.send("learner.fit(nb_epochs=5_000, eps=2.0, people=700)", stop_on_error=False)
    said, heard = "", 0
    while "steps/s" not in said:  # the line beside the button
        heard += 1
        kernel.hear(cell, "comm_msg", heard, timeout=90)
        said = str([m["content"] for m in kernel._early if m["msg_type"] == "comm_msg"])
    assert " of 5000 ·" in said
    assert "of 2 spent" in said
    kernel.manager.interrupt_kernel()
    (reply,) = kernel.collect([cell])
    assert reply.status == "error"
    assert "The fit was stopped at step" in reply.error
    assert "learner.resume" in reply.error
    assert kernel.run("learner.run.state").result["text/plain"] == "'stopped'"
    listed = kernel.run("runs()").result
    assert "stopped" in listed["text/plain"]
    assert "<table>" in listed["text/html"]


def test_a_fit_without_noise_is_asked_for_below_its_cell(kernel, stage):
    made = (
        'ds = dataset("titanic").fill_null(0).to_dataset(inputs=["Pclass", "Fare"], label="Survived")\n'
        "exact = RemoteLearner(nn.Linear(2, 2), ds)\nexact.fit(people=800, nb_epochs=1)"
    )
    page = Page(kernel)
    reply = page.run(made)
    assert reply.status == "error"
    assert "single rows" in str(reply.shown)
    page.root = reply.shown[1]["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert page.buttons() == {"Request access"}
    page.type("to compare")
    page.click("Request access")
    page.until(lambda: "Withdraw" in page.buttons())
    (asked,) = [r for r in stage.owner.requests("pending") if r.reason == "to compare"]
    assert "without noise" in asked.words
    stage.owner.approve(asked, "Fine.")
    page.until(lambda: ": done, " in page.html())
    assert kernel.run("exact.run.state").result["text/plain"] == "'done'"
    assert "the owner approved it" in kernel.run("exact.get_model()").result["text/plain"]
    # one that was filed before, in another kernel say, goes on below the list of requests
    kernel.run(made.replace("nb_epochs=1", "nb_epochs=2"))
    kernel.run('denied.request("filed before")')
    page = Page(kernel)
    page.run("requests()")
    assert "filed before" in str(page.states)
    (asked,) = [r for r in stage.owner.requests("pending") if r.reason == "filed before"]
    stage.owner.approve(asked)
    page.until(lambda: any(": done, " in str(s.get("value", "")) for s in page.states.values()))
