"""A JupyterLab of the tests, in folders of its own, and windows of a browser on its notebooks."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
ROOT = Path(__file__).parents[2]
TITANIC = ROOT / "notebooks" / "data" / "titanic.csv"
NOTIFY = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
OURS = {"name": "bastionlab", "display_name": "BastionLab", "language": "bastionlab"}
PYTHON = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
#: a string in a name, a value or a reason that would set window.evil if it were markup
EVIL = "<img src=x onerror='window.evil=1'>"

#: What stock JupyterLab writes to a page's console as an error, with an empty Python notebook too, and why.
NOISE = {
    "/api/workspaces/": "the workspace of a new folder is not there yet: it is looked for and then made",
    "/static/favicons/": "the icon of a tab is asked for while the page goes away",
    "ms to activate": "a plugin of JupyterLab was slow to load, on a machine with much to do",
    "ResizeObserver loop": "Chromium's note that a panel changed its size twice in one frame",
}


@dataclass
class Lab:
    """A running JupyterLab. root: its address; folder: the one below which all of its folders lie."""

    root: str
    folder: Path

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def notebook(self, name: str, *cells: str, kernel: dict[str, str] = OURS) -> str:
        """Write a notebook; return its name."""
        book = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": kernel}
        )
        nbformat.write(book, self.work / f"{name}.ipynb")
        return name

    def address(self, name: str) -> str:
        """Return the page of one notebook."""
        return f"{self.root}/doc/tree/{name}.ipynb?token=T&reset"

    def end_kernels(self) -> None:
        """Shut all kernels down, so that the next file's begin with its own server."""
        for session in json.loads(self._ask("GET", "/api/sessions")):
            with contextlib.suppress(OSError):
                self._ask("DELETE", f"/api/sessions/{session['id']}")

    def _ask(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(self.root + path, method=method, headers={"Authorization": "token T"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return bytes(answer.read())


@contextlib.contextmanager
def lab(folder: Path, environment: dict[str, str]) -> Iterator[Lab]:
    """Start JupyterLab with all its folders below `folder`."""
    settings = folder / "lab-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(NOTIFY))
    (folder / "work").mkdir(exist_ok=True)
    runtime = folder / "runtime"
    env = {
        **os.environ, **environment, "JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(runtime), "IPYTHONDIR": str(folder / "ipython"), "JUPYTERLAB_SETTINGS_DIR": str(folder / "lab-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"), "HOME": str(folder),
    }  # fmt: skip
    log = folder / "lab.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
             "--ServerApp.port=0", "--IdentityProvider.token=T", "--LabApp.expose_app_in_browser=True",
             "--LabApp.news_url=None", f"--ServerApp.root_dir={folder / 'work'}"],
            env=env, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not (found := list(runtime.glob("jpserver-*.json"))):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield Lab(f"http://127.0.0.1:{json.loads(found[0].read_text())['port']}", folder)
    finally:
        process.terminate()
        process.wait(20)


class Window:
    """A page of the browser, and the errors it said."""

    def __init__(self, browser: Any, address: str, *, width: int = 1180, height: int = 2600) -> None:
        self.page = browser.new_page()
        self.page.set_viewport_size({"width": width, "height": height})
        self.errors: list[str] = []
        self.expected: list[str] = []  # what a scene brings about itself, as ending a kernel does
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._heard)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def _heard(self, line: Any) -> None:
        # Vega tells of what it cannot draw as warnings
        if line.type == "error" or (line.type == "warning" and "vega" in line.text.lower()):
            self.errors.append(f"{line.text} ({line.location.get('url', '')})")

    @property
    def said(self) -> list[str]:
        """Errors in the page's console, without those of stock JupyterLab."""
        return [text for text in self.errors if not any(part in text for part in (*NOISE, *self.expected))]

    @property
    def cells(self) -> Any:
        return self.page.locator(".jp-Notebook .jp-CodeCell")

    def cell(self, number: int) -> Any:
        return self.cells.nth(number)

    def command(self, name: str, *, wait: bool = True) -> None:
        """Execute a command of JupyterLab. wait: for its end."""
        self.page.evaluate(
            "([name, wait]) => { const done = window.jupyterapp.commands.execute(name); return wait ? done.then(() => 1) : 1 }",
            [name, wait],
        )

    def idle(self) -> None:
        """Wait until the notebook's kernel is idle and no cell of it runs or waits."""
        self.page.wait_for_function(
            """() => {
                const shown = window.jupyterapp?.shell.currentWidget
                const kernel = shown?.sessionContext?.session?.kernel
                if (kernel?.status !== 'idle') return false
                return ![...document.querySelectorAll('.jp-InputPrompt')].some(prompt => prompt.innerText.includes('*'))
            }""",
            timeout=90_000,
        )

    def select(self, number: int) -> None:
        """Make a cell the active one, in command mode."""
        self.page.evaluate(
            """number => {
                const content = window.jupyterapp.shell.currentWidget.content
                content.deselectAll?.()
                content.activeCellIndex = number
                content.mode = 'command'
                content.activeCell.node.scrollIntoView({block: 'nearest'})
            }""",
            number,
        )

    def run_all(self) -> None:
        """Run All, as from the menu: it stops at the first error."""
        self.command("notebook:run-all-cells")
        self.idle()

    def run(self, number: int, *, wait: bool = True) -> Any:
        """Run one cell; return it."""
        self.select(number)
        self.command("notebook:run-cell", wait=wait)
        return self.cell(number)

    def under_way(self, cell: Any) -> None:
        """Wait until a cell tells of its progress: after half a second in words, after a second with a button."""
        progress = cell.locator(".jp-OutputArea button").or_(cell.get_by_text("interrupt the kernel to stop"))
        progress.first.wait_for(timeout=90_000)

    def stop(self) -> None:
        """Click the toolbar's stop button."""
        name = "[data-jp-item-name='interrupt']"
        self.page.locator(f"{name} button, {name} jp-button").first.click()

    def type(self, number: int, code: str) -> None:
        """Put code into a cell, and the cursor behind it."""
        self.select(number)
        editor = self.cell(number).locator(".cm-content")
        editor.click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(code)

    def theme(self, name: str) -> None:
        """Change JupyterLab's theme: Light or Dark."""
        change = "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: `JupyterLab ${name}`}).then(() => 1)"
        self.page.evaluate(change, name)
        light = str(name == "Light").lower()
        self.page.wait_for_function(f"document.body.dataset.jpThemeLight === '{light}'")

    def end_kernel(self) -> None:
        """Shut the notebook's kernel down; the page stays."""
        self.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown().then(() => 1)")

    def save_and_reload(self) -> None:
        """Save the notebook, and load the page anew."""
        self.command("docmanager:save")
        self.page.reload()
        self.idle()

    def harmless(self) -> None:
        """Assert that no string of others became markup, or stands there as it could mislead."""
        page = self.page
        assert page.evaluate("window.evil") is None
        assert page.locator(".jp-OutputArea img[src='x'], .jp-OutputArea script, [onerror], #evil").count() == 0
        text = page.locator("body").inner_text()
        for sign in ("\u202e", "\u2066", "\x1b", "\x9b"):
            assert sign not in text

    def keep(self, name: str, of: Any = None, *, below: float = 0) -> None:
        """Keep a screen in BASTION_SCREENSHOTS, if that is set.

        of: the part of the page, else all of it; below: pixels below that part.
        """
        box = of.bounding_box() if of is not None else None
        keep(self.page, name, {**box, "height": box["height"] + below} if box else None)


def seen(part: Any, text: str) -> Any:
    """Return where a text is to be seen; what a widget shows stands in a static view, too, that is hidden while it lives."""
    return part.get_by_text(text).filter(visible=True)


def keep(page: Any, name: str, box: dict[str, float] | None = None) -> None:
    folder = os.environ.get("BASTION_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.mouse.move(0, 0)
        page.screenshot(path=str(Path(folder) / name), clip=box)
