"""Cells about data that is answered with noise: what it would cost, what it cost, and what is left."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

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
