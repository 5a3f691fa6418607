"""One JupyterLab for all files here; a server and a browser for each.

The notebooks of a file find its server in the profile that all kernels read (alice's); `connect(identity="olga")` is the
owner. Every window is looked at when its test ends: no script of others ran, and its console holds no error.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from jupyter_lab import CHROMIUM, FLAGS, TITANIC, Lab, Window, lab


@dataclass
class Stage:
    """A server with the Titanic table; connections of its owner and of a scientist, alice."""

    lab: Lab
    owner: Any
    user: Any
    server: Any
    folder: Path

    def send(self, frame: pl.DataFrame, *arguments: Any, **options: Any) -> None:
        self.owner.client.polars.send_df(frame, *arguments, unit="row", **options)


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if importlib.util.find_spec("jupyterlab") is None or importlib.util.find_spec("playwright") is None:
        pytest.skip("JupyterLab or Playwright is not installed: pip install '.[browser]'")
    if not Path(CHROMIUM).exists():
        pytest.skip("there is no Chromium: apt install chromium fonts-dejavu-core")
    from bastion_kernel.install import install

    folder = tmp_path_factory.mktemp("lab")
    install(prefix=str(folder / "kernel"))
    environment = {
        "BASTION_PROFILE": str(folder / "profile.toml"), "BASTION_KEYS": str(folder / "keys"),
        "JUPYTER_PATH": str(folder / "kernel" / "share" / "jupyter"),
    }  # fmt: skip
    with lab(folder, environment) as started:
        yield started


@pytest.fixture(scope="module")
def stage(jupyter: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    from bastion_server import start

    from bastion import Connection, Identity
    from bastion.client.endpoints import write_profile

    keys = jupyter.folder / "keys"
    olga, alice = (
        Identity.load(keys / f"{name}.key") if (keys / f"{name}.key").exists() else Identity.create(name, keys)
        for name in ("olga", "alice")
    )
    folder = tmp_path_factory.mktemp("server")
    with start(folder, owners=[olga], users=[alice]) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BASTION_PROFILE", str(jupyter.folder / "profile.toml"))
            write_profile(server.endpoint, server.server_key, str(keys / "alice.key"))
        with (
            Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner,
            Connection(server.endpoint, identity=alice, server_key=server.server_key) as user,
        ):
            made = Stage(jupyter, owner, user, server, folder)
            made.send(pl.read_csv(TITANIC), name="titanic", sanitized_columns=["Name"])
            yield made
            jupyter.end_kernels()


@pytest.fixture(scope="module")
def browser(jupyter: Lab) -> Iterator[Any]:
    """A browser of which all windows share what they loaded. Ends with its file: asyncio.run() cannot run beside it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium.new_context(device_scale_factor=float(os.environ.get("BASTION_SCREEN_SCALE", "1")))
        chromium.close()


@pytest.fixture
def windows(browser: Any) -> Iterator[Callable[..., Window]]:
    """Open windows on addresses; each must have said no error, and have run no script of others, when its test ends."""
    opened: list[Window] = []

    def opening(address: str, **options: Any) -> Window:
        opened.append(Window(browser, address, **options))
        return opened[-1]

    yield opening
    try:
        for window in opened:
            assert window.page.evaluate("window.evil") is None
            assert window.said == [], window.page.url
    finally:
        for window in opened:
            window.page.close()


@pytest.fixture
def opened(windows: Callable[..., Window], stage: Stage) -> Callable[..., Window]:
    """Write a notebook of cells, open it in a window, wait for its kernel."""

    def opening(name: str, *cells: str, **options: Any) -> Window:
        kernel = {"kernel": options.pop("kernel")} if "kernel" in options else {}
        if cells:
            stage.lab.notebook(name, *cells, **kernel)
        window = windows(stage.lab.address(name), **options)
        window.idle()
        return window

    return opening
