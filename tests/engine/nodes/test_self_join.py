"""A table joined with itself, read from a file, its rows numbered on either side."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from bastion_plan import nodes as n
from bastion_plan.expressions import Column
from bastion_server.engine.lower import lower


def test_rows_of_one_file_are_numbered_under_two_names(tmp_path: Path) -> None:
    pl.DataFrame({"id": range(5)}).write_ipc(tmp_path / "t.arrow", compression="uncompressed")
    rows = n.Scan("t")
    one, two = n.WithRowIndex(rows, "one"), n.Select(n.WithRowIndex(rows, "two"), (Column("id"), Column("two")))
    plan = n.Join(one, two, "inner", (Column("id"),), (Column("id"),))
    found = lower(plan, {"t": pl.scan_ipc(tmp_path / "t.arrow")}).collect().sort("id")
    assert found["one"].to_list() == found["two"].to_list() == [0, 1, 2, 3, 4]
