"""The quick tour in the kernel, from first cell to last, and the kernel in a terminal."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

TOUR = Path(__file__).parents[2] / "notebooks" / "01-quick-tour.ipynb"


def text(cell) -> str:
    """Return all a cell shows, as text."""
    out = []
    for output in cell.outputs:
        if output.output_type == "stream":
            out.append(output.text)
        elif output.output_type == "error":
            out.append("\n".join(output.traceback))
        else:
            out.append(output.data.get("text/plain", ""))
    return "\n".join(out)


@pytest.mark.usefixtures("jupyter")
def test_the_quick_tour(stage):
    book = nbformat.read(TOUR, as_version=4)
    threads = []

    def approve(request):
        # callbacks run on the connection's loop and must not wait for it
        if request.state == "pending" and "analysis" in request.reason:
            threads.append(threading.Thread(target=stage.owner.approve, args=(request, "Fine for the tour.")))
            threads[-1].start()

    remove = stage.owner.on_request(approve)
    try:
        NotebookClient(book, kernel_name="bastionlab", timeout=60).execute()
    finally:
        remove()
        for thread in threads:
            thread.join(5)
    cells = {cell.id: text(cell) for cell in book.cells if cell.cell_type == "code"}
    assert "as alice" in cells["tour-01"]
    assert "titanic" in cells["tour-03"]
    assert "Survived" in cells["tour-04"]
    assert [n for n in ("0.62963", "0.472826", "0.242363") if n in cells["tour-06"]] == [
        "0.62963",
        "0.472826",
        "0.242363",
    ]
    assert "0.968085" in cells["tour-07"]
    assert "644" in cells["tour-08"]
    # which of the two depends on what alice asked in tests before
    assert "too few people" in cells["tour-10"] or "answered before" in cells["tour-10"]
    assert "29.69" in cells["tour-11"]
    assert "head(5)" in cells["tour-13"]
    assert "denied.safe_part()" in cells["tour-13"]
    assert "891" in cells["tour-13b"]
    assert "pending" in cells["tour-15"]
    assert "shape: (5, 12)" in cells["tour-17"]
    assert "┆ *" in cells["tour-17"]
    assert "Braund" not in str(book)
    assert "approved" in cells["tour-19"]
    assert "Fine for the tour." in cells["tour-19"]


@pytest.mark.usefixtures("jupyter", "stage")
def test_in_a_terminal():
    cells = 'connect()\ndataset("titanic").select(pl.len())\ndataset("titanic").head(2)\nimport os\nexit\n'
    done = subprocess.run(
        [sys.executable, "-m", "jupyter_console", "--kernel", "bastionlab", "--simple-prompt"],
        input=cells, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert "as alice" in done.stdout
    assert "891" in done.stdout
    assert "denied.request(" in done.stdout
    assert "not part of the language" in done.stdout + done.stderr
    # at its end the console may close sockets that pyzmq still polls, which pyzmq logs
    told = done.stdout + ("" if "non-socket" in done.stderr else done.stderr)
    assert "Traceback" not in told
