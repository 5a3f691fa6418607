"""Rows as tensors: whose they are, which count, what a missing value is, and tables larger than what a worker may keep."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from bastion_plan.errors import BastionError
from bastion_plan.models.graph import Graph
from bastion_plan.models.graph import Tensor as Spec
from bastion_server.training.data import Rows
from fitting import KEY, opened, spec, table


def rows(
    frame: pl.DataFrame, made: Any, shape: tuple[int, ...] = (4,), dtype: str = "float32", memory: int = 1 << 30
) -> Rows:
    graph = Graph("sample", (Spec("x", shape, dtype, trained=False),), (), (), 0)
    with opened(frame) as path:
        found = Rows(path, made, graph, (2,), KEY, memory)
        found.kept = found.kept or found.tensors(np.arange(frame.height))
        return found


def test_of_a_person_the_first_rows_count() -> None:
    frame = pl.DataFrame(
        {
            "#~u": ["b", "a", "b", "b", None, "a"],
            "#~o": [5, 4, 3, 2, 1, 0],
            "x0": [5.0, 4, 3, 2, 1, 0],
            "y": [0, 1, 0, 1, 0, 1],
        }
    )
    found = rows(frame, spec(1, rows=2), (1,))
    assert sorted(found.rows_of(np.array([p])).tolist() for p in range(3)) == [[3, 2], [4], [5, 1]]
    people = np.array([found.counts.tolist().index(1), -1, 0])
    inputs, labels, there = found.people_tensors(people)
    assert inputs[0].shape == (3, 2, 1) and labels.shape == (3, 2)
    assert there.tolist() == [[True, False], [False, False], [True, True]]
    assert not inputs[0][~there].any()
    # without noise all rows count
    assert len(rows(frame, spec(1, rows=2, private=False), (1,)).rows_of(np.arange(3))) == 6


def test_a_person_is_on_one_side_of_a_split() -> None:
    from bastion_plan.models.fits import Split

    found = rows(table(300, rows=3), spec(rows=3, split=Split(0.3, 7)))
    train, test = found.people("train"), found.people("test")
    assert len(train) + len(test) == 300 and 60 < len(test) < 120
    assert not {*found.rows_of(train).tolist()} & {*found.rows_of(test).tolist()}
    assert len(found.rows_of(test)) == 3 * len(test)


def test_a_missing_value_is_nothing_where_it_must_not_tell_and_an_error_elsewhere() -> None:
    frame = table(6).with_columns(
        x0=pl.Series([None, float("nan"), 1e300, -1e300, 1, 2]), x1=pl.Series([True, None, False, True, True, False]),
        x2=pl.Series([1, 2, None, 4, 5, 6], dtype=pl.UInt8), y=pl.Series([None, 7, -3, 1, 0, 1]),
    )  # fmt: skip
    found = rows(frame, spec())
    inputs, labels = found.tensors(np.arange(6))
    assert inputs[0].dtype == torch.float32
    assert inputs[0][:2, 0].tolist() == [0, 0] and inputs[0][:, 1].tolist() == [1, 0, 0, 1, 1, 0]
    assert labels.tolist() == [0, 1, 0, 1, 0, 1]
    for column, code in (("x0", "fit.nulls"), ("x1", "fit.nulls"), ("y", "fit.nulls")):
        with pytest.raises(BastionError) as refused:
            rows(table(6).with_columns(frame[column]), spec(private=False))
        assert refused.value.code == code and repr(column) in str(refused.value)
    with pytest.raises(BastionError) as refused:
        rows(table(6).with_columns(y=pl.lit(2)), spec(private=False))
    assert refused.value.code == "fit.labels"


def test_lists_and_arrays_are_cut_or_filled_up() -> None:
    lists = [[1, 2, 3, 4, 5], [], None, [7, None], [9], [1, 1, 1, 1]]
    made = spec(1)
    found = rows(table(6, 1).with_columns(x0=pl.Series(lists)), made, (4,), "int64")
    expected = [[1, 2, 3, 4], [0] * 4, [0] * 4, [7, 0, 0, 0], [9, 0, 0, 0], [1] * 4]
    assert found.tensors(np.arange(6))[0][0].tolist() == expected
    images = np.arange(24, dtype=np.float32).reshape(6, 2, 2)
    for series in (pl.Series(images.tolist()), pl.Series(images, dtype=pl.Array(pl.Float32, (2, 2)))):
        found = rows(table(6, 1).with_columns(x0=series), made, (1, 2, 2))
        assert torch.equal(found.tensors(np.arange(6))[0][0], torch.from_numpy(images).reshape(6, 1, 2, 2))


@pytest.mark.parametrize("column", [["a"] * 6, [[["a"]]] * 6, [{"a": 1}] * 6, [b"1"] * 6])
def test_a_column_that_is_no_number_is_refused_by_name(column: list[Any]) -> None:
    for private in (True, False):
        with pytest.raises(BastionError) as refused:
            rows(table(6).with_columns(x2=pl.Series(column)), spec(private=private))
        assert refused.value.code == "fit.columns" and "'x2'" in str(refused.value)


def test_a_table_that_is_not_kept_gives_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    from bastion_server.training import data

    monkeypatch.setattr(data, "_BLOCK", 1)
    frame = table(1500)
    graph = Graph("sample", (Spec("x", (4,), trained=False),), (), (), 0)
    wanted = np.array([1400, 3, 3, 700, 1499, 0])
    with opened(frame) as path:
        found = Rows(path, spec(), graph, (2,), KEY, 0)
        assert found.kept is None and found.block == 256
        inputs, labels = found.tensors(wanted)
        nobody, _ = found.tensors(np.arange(0))
    assert nobody[0].shape == (0, 4)
    assert torch.equal(inputs[0], torch.from_numpy(frame.select("^x.$").to_numpy()[wanted]).float())
    assert labels.tolist() == frame["y"].to_numpy()[wanted].tolist()
