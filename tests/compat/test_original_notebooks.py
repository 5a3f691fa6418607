"""BastionLab's own notebooks, where a folder of them is given: BASTIONLAB_NOTEBOOKS=folder pytest tests/compat

They are not kept here. Each runs from first cell to last in a process of its own, after `%load_ext bastion.compat`; cells that
install, download or start containers are left out. Data files lie in the same folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(os.environ["BASTIONLAB_NOTEBOOKS"]) if "BASTIONLAB_NOTEBOOKS" in os.environ else None
NOTEBOOKS = sorted(FOLDER.rglob("*.ipynb")) if FOLDER is not None else []

#: lines of a shell, for which there is nothing to do here
SHELL = re.compile(r"^\s*[!%].*$", re.MULTILINE)

RUNNER = """
import json, os, sys
import bastion.compat
bastion.compat.old_polars()
cells, failed, names = json.load(sys.stdin), [], {"__name__": "__main__"}
if not any("bastionlab_server.start" in cell for cell in cells):  # it says to start one elsewhere
    import bastionlab_server
    bastionlab_server.start()
for number, cell in enumerate(cells):
    try:
        exec(compile(cell, f"cell {number}", "exec"), names)
    except BaseException as error:
        failed.append(f"cell {number}: {type(error).__name__}: {str(error)[:300]}")
print("FAILED", json.dumps(failed), flush=True)
os._exit(0)
"""


def cells_of(path: Path) -> list[str]:
    """Return the code of a notebook, without lines of the shell."""
    book = json.loads(path.read_text(encoding="utf-8"))
    code = ("".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code")
    return [SHELL.sub("pass", text) for text in code]


def test_lines_of_a_shell_are_left_out(tmp_path: Path) -> None:
    book = {
        "cells": [
            {"cell_type": "code", "source": ["!pip install x\n", "y = 1\n"]},
            {"cell_type": "markdown", "source": []},
        ]
    }
    (tmp_path / "a.ipynb").write_text(json.dumps(book))
    assert cells_of(tmp_path / "a.ipynb") == ["pass\ny = 1\n"]


@pytest.mark.skipif(not NOTEBOOKS, reason="no BASTIONLAB_NOTEBOOKS: BastionLab's notebooks are not kept here")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    for file in path.parent.glob("*.csv"):
        shutil.copy(file, tmp_path)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("BASTION_")}
    apart = {"BASTION_PROFILE": str(tmp_path / "profile"), "BASTION_KNOWN_SERVERS": str(tmp_path / "known")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUNNER], input=json.dumps(cells_of(path)), cwd=tmp_path, env=clean | apart,
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    (line,) = [text for text in done.stdout.splitlines() if text.startswith("FAILED ")] or [done.stderr]
    assert json.loads(line.removeprefix("FAILED ")) == []
