"""A JupyterLab of the tests, in folders of its own, and what is waited for in its pages."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ROOT = Path(__file__).parents[2]
NOTIFY = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}


@contextlib.contextmanager
def lab(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Start JupyterLab with all its folders below `folder`; give the address of its notebooks."""
    settings = folder / "lab-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(NOTIFY))
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
        port = json.loads(found[0].read_text())["port"]
        yield f"http://127.0.0.1:{port}/doc/tree/{{}}.ipynb?token=T&reset"
    finally:
        process.terminate()
        process.wait(20)


def keep(page, name: str, box: dict[str, float] | None = None) -> None:
    folder = os.environ.get("BASTION_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / name), clip=box)


def idle(page) -> None:
    page.wait_for_function(
        "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'", timeout=60_000
    )
