"""The kernel in Notebook 7, in jupyter console on a terminal, and under nbconvert. (JupyterLab: tests/browser.)"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import pexpect
import pytest
from jupyter_lab import CHROMIUM, FLAGS, OURS, seen
from kernel_client import SLOW
from nbconvert.exporters import HTMLExporter, ScriptExporter
from nbconvert.preprocessors import ExecutePreprocessor
from tornado.websocket import websocket_connect

TOKEN = "t0ken"
AFTER_ERRORS = 1.0  # seconds; the kernel aborts cells that come within 0.1 s of an error as those of a Run All
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[ -/]*[0-~])")


# ---- Notebook 7 --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def notebook(jupyter: Path, stage: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Jupyter Notebook 7's address."""
    folder = tmp_path_factory.mktemp("notebooks")
    flags = [
        "--no-browser",
        "--JupyterNotebookApp.expose_app_in_browser=True",
        "--allow-root",
        f"--IdentityProvider.token={TOKEN}",
        "--ServerApp.ip=127.0.0.1",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "notebook", *flags, "--ServerApp.port=0", f"--ServerApp.root_dir={folder}"],
            stdout=log, stderr=log, cwd=folder,
        )  # fmt: skip
    info = Path(os.environ["JUPYTER_RUNTIME_DIR"]) / f"jpserver-{process.pid}.json"
    try:
        yield answering(info, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def answering(info: Path, process: subprocess.Popen[bytes]) -> str:
    """Return the server's address once it answers."""
    end = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < end:
        with suppress(OSError, ValueError):
            address = str(json.loads(info.read_text())["url"]).rstrip("/")
            fetch(f"{address}/api/status")
            return address
        time.sleep(0.05)
    pytest.fail("Notebook 7 did not start.")


def fetch(url: str, *, body: Any = None, method: str | None = None) -> bytes:
    request = urllib.request.Request(
        url, None if body is None else json.dumps(body).encode(), {"Authorization": f"token {TOKEN}"}, method=method
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def test_notebook_7_offers_the_kernel(notebook):
    spec = json.loads(fetch(f"{notebook}/api/kernelspecs"))["kernelspecs"]["bastionlab"]
    assert spec["spec"]["display_name"] == "BastionLab"
    assert sorted(spec["resources"]) == ["logo-32x32", "logo-64x64", "logo-svg"]
    host = notebook.partition("/")[0] + "//" + notebook.split("/")[2]
    assert fetch(host + spec["resources"]["logo-64x64"])[1:4] == b"PNG"
    assert b"notebookPage" in fetch(f"{notebook}/tree")  # the page of Notebook 7, not JupyterLab's


def test_notebook_7_runs_cells(notebook):
    body = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook", "kernel": {"name": "bastionlab"}}
    session = json.loads(fetch(f"{notebook}/api/sessions", body=body))
    kernel = session["kernel"]["id"]
    seen = asyncio.run(_cells(f"{notebook}/api/kernels/{kernel}/channels".replace("http", "ws", 1)))
    assert seen["info"]["language_info"]["name"] == "bastionlab"
    assert "as alice" in str(seen["connect()"])
    assert "891" in str(seen['dataset("titanic").select(pl.len())'])
    stopped = next(m["content"] for m in seen[SLOW] if m["msg_type"] == "error")
    assert stopped["ename"] == "Interrupted"
    fetch(f"{notebook}/api/sessions/{session['id']}", method="DELETE")


@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="there is no Chromium: apt install chromium fonts-dejavu-core")
def test_notebook_7_in_a_browser(notebook, stage):
    from playwright.sync_api import sync_playwright

    cells = ["connect()", 'dataset("titanic").head(5)', 'dataset("titanic").plot.bar("Pclass")', "import os"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells], metadata={"kernelspec": OURS})
    content = {"type": "notebook", "content": json.loads(nbformat.writes(book))}
    fetch(f"{notebook}/api/contents/b.ipynb", body=content, method="PUT")
    errors: list[str] = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = chromium.new_page(viewport={"width": 1280, "height": 1900})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{notebook}/notebooks/b.ipynb?token={TOKEN}")
        kernel = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
        page.wait_for_function(f"{kernel} === 'idle'", timeout=90_000)
        errors.clear()  # while it loads, Notebook 7.6 has one of its own about a plugin's settings
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.get_by_text("is not part of the language").wait_for(timeout=60_000)
        for shows in ("Connected to ", "answers about 10 people or more", "The owner has to look at this first."):
            assert page.get_by_text(shows).count() == 1, shows
        page.get_by_role("button", name="Show the safe part").wait_for(timeout=30_000)
        page.locator(".vega-embed svg, .vega-embed canvas").first.wait_for(timeout=30_000)
        page.get_by_role("button", name="Show the safe part").click()
        seen(page, "891").first.wait_for(timeout=30_000)
        if shots := os.environ.get("BASTION_SCREENSHOTS"):
            page.screenshot(path=f"{shots}/notebook7.png")
        chromium.close()
    assert errors == []


async def _cells(url: str) -> dict[str, Any]:
    """Ask who is there, run cells and interrupt the last one, as the page does: all over one websocket."""
    socket = await websocket_connect(f"{url}?session_id=s&token={TOKEN}")
    seen: dict[str, Any] = {}

    async def send(kind: str, content: dict[str, Any], channel: str = "shell") -> str:
        header = {"msg_id": os.urandom(8).hex(), "msg_type": kind, "session": "s", "username": "", "version": "5.3"}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": channel}
        await socket.write_message(json.dumps(message))
        return str(header["msg_id"])

    async def until(asked: str, last: Any, log: list[Any]) -> dict[str, Any]:
        while True:
            message = json.loads(await asyncio.wait_for(socket.read_message(), 60))  # type: ignore[arg-type]
            if message["parent_header"].get("msg_id") == asked:
                log.append(message)
                if last(message):
                    return dict(message["content"])

    seen["info"] = await until(
        await send("kernel_info_request", {}), lambda m: m["msg_type"] == "kernel_info_reply", []
    )
    for code in ("connect()", 'dataset("titanic").select(pl.len())', SLOW):
        seen[code] = []
        cell = {"code": code, "silent": False, "store_history": True, "allow_stdin": True, "stop_on_error": True}
        asked = await send("execute_request", cell)
        if code == SLOW:
            await until(asked, lambda m: m["msg_type"] == "update_display_data", seen[code])
            await send("interrupt_request", {}, "control")
        await until(asked, lambda m: m["content"].get("execution_state") == "idle", seen[code])
    socket.close()
    return seen


# ---- jupyter console ---------------------------------------------------------------------------------------------------


@pytest.fixture
def console(jupyter: Path, stage: Any) -> Iterator[Any]:
    """jupyter console on a terminal of 200 columns."""
    child = pexpect.spawn(
        sys.executable,
        ["-m", "jupyter_console", "--kernel", "bastionlab", "--ZMQTerminalInteractiveShell.highlighting_style=bw"],
        env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "PAGER": "cat"},
        dimensions=(60, 200), encoding="utf-8", timeout=60,
    )  # fmt: skip
    yield child
    child.close(force=True)


def test_on_a_terminal(console):
    def cell(code: str, shows: str) -> str:
        console.send(code + "\r")
        console.expect(shows)
        before = console.before
        console.expect(r"In \[")
        return _ESCAPES.sub("", before + console.after)

    console.expect("BastionLab [0-9.]+")
    console.expect("Not connected yet")
    console.expect(r"In \[")
    cell("connect()", "as alice")
    cell('dataset("titanic").select(pl.len())', "891")
    cell('dataset("titanic").head(2)', "denied.row-level")
    cell("import os", r"\[language")
    time.sleep(AFTER_ERRORS)
    cell("dataset?", "A dataset by its name")
    console.send("whoami_typed_wro\t")  # completes nothing, and does no harm
    console.send("\x15")
    console.send("%who\t")
    console.expect("whoami")
    console.send("\r")
    console.expect("alice")
    console.expect(r"In \[")
    console.send(SLOW.replace("\n", "; ") + "\r")
    console.expect("Released automatically")  # it runs now, and would for minutes
    # its progress is one line that is written over itself, and is gone in the end
    console.expect(r"\rrunning beside the data · [0-9.]+ s · Ctrl-C stops it")
    first = console.after
    console.expect(r"\rrunning beside the data · [0-9.]+ s · Ctrl-C stops it")
    assert "\n" not in console.before
    assert console.after != first
    console.sendintr()
    console.expect(r"\r +\r")
    console.expect("The cell was stopped")
    assert "took" not in console.before
    console.expect(r"In \[")
    time.sleep(AFTER_ERRORS)
    console.send("exit\r")
    console.expect(pexpect.EOF)


# ---- nbconvert ---------------------------------------------------------------------------------------------------------


def test_nbconvert(jupyter, stage):
    cells = [
        "connect()",
        'titanic = dataset("titanic")\ntitanic.group_by("Pclass").agg(pl.len()).sort("Pclass")',
        "titanic.head(5)",
        'titanic.plot.hist("Age")',
        "import os",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    ExecutePreprocessor(kernel_name="bastionlab", timeout=60, allow_errors=True).preprocess(book, {})
    assert book.metadata.language_info.name == "bastionlab"
    page, _ = HTMLExporter().from_notebook_node(book)
    for part in ("as alice", "491", "single people", "denied.request(", "not part of the language"):
        assert part in page, part
    assert "Traceback" not in page
    assert "Braund" not in page
    script, resources = ScriptExporter().from_notebook_node(book)
    assert resources["output_extension"] == ".bastion"
    assert 'titanic = dataset("titanic")' in script
