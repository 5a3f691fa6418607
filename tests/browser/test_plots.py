"""Plots in a real JupyterLab: drawn by its Vega, with hostile names as plain text and no error in the page's console.

With BASTION_SCREENSHOTS=FOLDER the screen is kept there.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
import polars as pl
import pytest
from jupyter_lab import CHROMIUM, ROOT, idle, keep, lab

EVIL = '<img src=x onerror="window.evil=1">'
CELLS = [
    "connect()",
    'dataset("titanic").plot.hist("Age", bins=[0, 10, 20, 30, 40, 50, 60, 70, 80], hue="Sex", title="Ages on board")',
    'dataset("titanic").plot.bar("Pclass", "Survived", hue="Sex", title="Who survived?", ylabel="share that survived")',
    'dataset("titanic").plot.box("Pclass", "Age", hue="Sex")',
    'dataset("titanic").plot.line("Age", "Fare")',
    'dataset("titanic").plot.facet(col="Sex").hist("Age")',
    'dataset("titanic").plot.heatmap("Pclass", "SibSp")',
    'dataset("titanic").plot.scatter("Age", "SibSp")',
    'dataset("titanic").plot.pie("Pclass")',
    f'dataset("evil").plot.bar({EVIL!r}, "n", hue="image", title={EVIL!r})',
]

pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: pip install '.[lab]'")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
pytestmark = [
    pytest.mark.skipif(
        not Path(CHROMIUM).exists(), reason="there is no Chromium: apt install chromium fonts-dejavu-core"
    ),
    pytest.mark.timeout(180),
]


def test_plots_are_drawn(tmp_path):
    from bastion_server import start

    from bastion import Connection, Identity
    from bastion.client.endpoints import write_profile
    from bastion_kernel.install import install

    install(prefix=str(tmp_path / "kernel"))
    (tmp_path / "work").mkdir()
    kernel = {"name": "bastionlab", "display_name": "BastionLab", "language": "bastionlab"}
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(c) for c in CELLS], metadata={"kernelspec": kernel}
    )
    nbformat.write(book, tmp_path / "work" / "plots.ipynb")
    olga, alice = (Identity.create(name, tmp_path / "keys") for name in ("olga", "alice"))
    with start(tmp_path / "server", owners=[olga], users=[alice]) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BASTION_PROFILE", str(tmp_path / "profile.toml"))
            write_profile(server.endpoint, server.server_key, str(tmp_path / "keys" / "alice.key"))
        with Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner:
            send = owner.client.polars.send_df
            send(
                pl.read_csv(ROOT / "notebooks" / "data" / "titanic.csv"),
                name="titanic",
                sanitized_columns=["Name"],
                unit="row",
            )
            evil = {EVIL: [EVIL, "b"] * 40, "image": ["https://evil.example/x.png"] * 80, "n": [1.0, 2.0] * 40}
            send(pl.DataFrame(evil), name="evil", unit="row")
            environment = {
                "BASTION_PROFILE": str(tmp_path / "profile.toml"), "JUPYTER_PATH": str(tmp_path / "kernel" / "share" / "jupyter"),
            }  # fmt: skip
            with lab(tmp_path, environment) as address, playwright.sync_playwright() as p:
                browser = p.chromium.launch(
                    executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
                )
                page = browser.new_page(viewport={"width": 1100, "height": 5200})
                said: list[str] = []
                asked: list[str] = []
                page.on("pageerror", lambda error: said.append(str(error)))
                page.on("console", lambda line: said.append(line.text) if "vega" in line.text.lower() else None)
                page.on("request", lambda request: asked.append(request.url))
                page.goto(address.format("plots"))
                idle(page)
                page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
                drawn = page.locator(".vega-embed canvas, .vega-embed svg.marks")
                drawn.first.wait_for(timeout=60_000)
                idle(page)
                page.wait_for_timeout(1500)
                keep(page, "plots.png")
                assert drawn.count() == len(CELLS) - 1, said
                sizes = [box for box in (drawn.nth(i).bounding_box() for i in range(len(CELLS) - 1)) if box]
                assert all(box["width"] > 150 and box["height"] > 100 for box in sizes)
                last = drawn.nth(len(CELLS) - 2)
                last.hover(position={"x": 150, "y": 200})
                page.wait_for_timeout(400)
                assert page.evaluate("window.evil") is None
                assert page.locator("img[src*='evil']").count() == 0
                assert not any("evil.example" in url for url in asked)
                assert not [line for line in said if "WARN" in line or "rror" in line], said
                keep(page, "plots.png")
                browser.close()
