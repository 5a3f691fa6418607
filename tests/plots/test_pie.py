"""plot.pie: shares."""

from __future__ import annotations

import pytest
from bastion_plan.errors import InputError
from charts import good


def test_shares(frame):
    chart = frame("default").plot.pie("Embarked", title="Ports")
    assert {c.hue: c.value for c in chart.picture.cells} == {"S": 644, "C": 168, "(other)": 79}
    assert chart.picture.hues == ("S", "C", "(other)")
    assert "S │████████████████████████████████████████ 644 (72%)" in repr(chart)
    good(chart)


def test_of_a_sum(frame):
    chart = frame("default").plot.pie("Pclass", "Fare")
    assert sum(c.value for c in chart.picture.cells) == pytest.approx(28693.9493, rel=1e-3)
    good(chart)


def test_means_are_no_shares(frame):
    with pytest.raises(InputError, match="add up"):
        frame("default").plot.pie("Pclass", "Fare", estimator="mean")


def test_declared_values_that_are_not_told_are_named(frame):
    chart = frame("strict").plot.pie("Embarked")
    assert any(note.startswith("Not drawn") and "Q" in note for note in chart.notes)
    good(chart)
