"""Leaves of a plan: the frames handed in by name, and nothing else."""

from __future__ import annotations

import polars as pl
import pytest
from bastion_plan import nodes as n
from bastion_plan.errors import ServerError
from bastion_plan.expressions import Selector
from bastion_server.engine.lower import lower
from plan_strategies import T, c, f, random_frame, rows_of, through


def test_a_scan_is_the_frame_handed_in() -> None:
    frame = random_frame(1, 20)
    bound, lazy = through(T, {"t": frame})
    assert bound.root == T
    assert rows_of(lazy.collect(), ordered=True) == rows_of(frame, ordered=True)


def test_tables_of_the_judge_are_sources_like_others() -> None:
    cells = pl.LazyFrame({"g": ["a", "b"]})
    data = pl.LazyFrame({"g": ["a", "c", "a"], "v": [1, 2, 3]})
    plan = n.Join(n.Scan("t"), n.Scan("#cells"), "semi", (c("g"),), (c("g"),))
    assert lower(plan, {"t": data, "#cells": cells}).collect().to_dict(as_series=False) == {
        "g": ["a", "a"],
        "v": [1, 3],
    }


def test_a_name_that_was_not_handed_in_is_an_error_without_the_name() -> None:
    with pytest.raises(ServerError) as caught:
        lower(n.Scan("/etc/passwd"), {"t": pl.LazyFrame()})
    assert caught.value.code == "server.engine.source"
    assert "passwd" not in str(caught.value)


def test_columns_by_pattern_are_not_taken_from_an_unbound_plan() -> None:
    with pytest.raises(ServerError) as caught:
        lower(n.Explode(n.Scan("t"), (Selector("all"),)), {"t": pl.LazyFrame({"l": [[1]]})})
    assert caught.value.code == "server.engine.node"


def test_no_file_no_python_in_the_lowered_plan() -> None:
    frames = {"t": random_frame(1, 5), "u": random_frame(2, 5)}
    plan = n.Filter(n.Join(T, n.Scan("u"), "inner", (c("k"),), (c("k"),)), f("gt", c("i"), 1))
    _, lazy = through(plan, frames)
    text = lazy.explain(optimized=False)
    assert "SCAN" not in text
    assert "PYTHON" not in text.upper()
