"""Rows of a table that is larger than what a worker may keep are read piece by piece, however wide they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from bastion_server.workers.child import write

HERE = Path(__file__).parent
#: numbers of a row, and rows: 0.5 GB together
WIDE, ROWS = 1 << 15, 4096
READS = """
import sys
sys.path.insert(0, {here!r})
import numpy as np, torch
from bastion_server.training.data import Rows
from fitting import GB, KEY, sent, spec
torch.set_num_threads(1)
wide, rows = {wide}, {rows}
def most():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) >> 10
graph, _ = sent(torch.nn.Linear(wide, 2), wide)
before = most()
table = Rows({path!r}, spec(1, steps=6), graph, (2,), KEY, GB // 8)
assert table.kept is None
inputs, labels, there = table.people_tensors(np.linspace(0, rows - 1, 32).astype(int))
assert there.all() and inputs[0].shape == (32, 1, wide)
assert torch.equal(inputs[0][:, 0, 0], torch.from_numpy(np.linspace(0, rows - 1, 32).astype(int)).float())
print(most() - before)
"""


@pytest.mark.timeout(120)
def test_a_batch_takes_a_part_of_what_the_table_takes(tmp_path: Path) -> None:
    values = np.zeros((ROWS, WIDE), dtype=np.float32)
    values[:, 0] = np.arange(ROWS)
    place = np.arange(ROWS).astype(np.uint64)
    frame = pl.DataFrame({"#~u": np.arange(ROWS), "#~o": place, "x0": values, "y": np.arange(ROWS) % 2})
    path = tmp_path / "rows.arrow"
    with path.open("wb") as file:
        write(frame, file, stream=False)
    code = READS.format(here=str(HERE), wide=WIDE, rows=ROWS, path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    # all of it in one batch was read as a whole for the last of its rows: 1,100 MB and more
    assert int(done.stdout) < 450, done.stdout
