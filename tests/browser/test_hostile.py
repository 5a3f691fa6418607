"""Strings of others in a real JupyterLab: names, values, policies, reasons, answers, errors. No script of them runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import polars as pl
import pytest
from jupyter_lab import CHROMIUM, idle, keep, lab

pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: pip install '.[lab]'")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")

pytestmark = [
    pytest.mark.skipif(
        not Path(CHROMIUM).exists(), reason="there is no Chromium: apt install chromium fonts-dejavu-core"
    ),
    pytest.mark.timeout(240),
]
EVIL = "<img src=x onerror='window.evil=1'><script>window.evil=1</script></style></pre></textarea>\u202e\x1b[31m"
NAME = "<img src=x onerror='window.evil=1'>"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, object]]:
    from bastion_server import start

    from bastion import Connection, Identity
    from bastion.client.endpoints import write_profile
    from bastion.policy import Policy
    from bastion_kernel.install import install

    folder = tmp_path_factory.mktemp("hostile")
    install(prefix=str(folder / "kernel"))
    (folder / "work").mkdir()
    cells = [
        "connect()", "datasets()", f"odd = dataset({NAME!r})", "odd", "odd.preview()",
        "odd.explain()", "rows = odd.head(3)", "rows", "free = dataset('free')", "free.select(pl.all())",
        "free.group_by(pl.all()).agg(pl.len())", f"odd.select(pl.col({EVIL!r} + 'x'))", f"dataset({EVIL!r})",
        "requests()",
    ]  # fmt: skip
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "bastionlab", "display_name": "BastionLab", "language": "bastionlab"}},
    )
    nbformat.write(book, folder / "work" / "odd.ipynb")
    olga, alice = (Identity.create(name, folder / "keys") for name in ("olga", "alice"))
    with start(folder / "server", owners=[olga], users=[alice]) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BASTION_PROFILE", str(folder / "profile.toml"))
            write_profile(server.endpoint, server.server_key, str(folder / "keys" / "alice.key"))
        with Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner:
            table = pl.DataFrame({EVIL: [EVIL + str(i) for i in range(40)], "n": range(40)})
            hidden = table.with_columns(pl.lit(EVIL).alias(f"hidden {EVIL}"))
            owner.client.polars.send_df(hidden, name=NAME, unit="row", sanitized_columns=[f"hidden {EVIL}"])
            owner.client.polars.send_df(table, Policy.open(), name="free", unit="row")
            yield folder, owner


@pytest.fixture(scope="module")
def address(stage) -> Iterator[str]:
    folder, _ = stage
    environment = {
        "BASTION_PROFILE": str(folder / "profile.toml"), "JUPYTER_PATH": str(folder / "kernel" / "share" / "jupyter"),
    }  # fmt: skip
    with lab(folder, environment) as found:
        yield found


def run_all(page, count: int) -> None:
    for _ in range(count):  # errors do not stop it this way
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')")
        idle(page)


def harmless(page) -> None:
    assert page.evaluate("window.evil") is None
    assert page.locator(".jp-OutputArea img").count() == 0
    assert page.locator(".jp-OutputArea script").count() == 0
    text = page.locator(".jp-Notebook").inner_text()
    assert "\u202e" not in text
    assert "\x1b" not in text


def test_no_string_of_others_runs(stage, address):
    folder, owner = stage
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        page = browser.new_page(viewport={"width": 1100, "height": 5200})
        page.goto(address.format("odd"))
        idle(page)
        run_all(page, 13)
        denied = page.locator(".jp-Notebook .jp-CodeCell").nth(7)
        denied.get_by_role("button", name="Request access").wait_for(timeout=30_000)
        harmless(page)
        for details in page.locator("details.copy").all():
            details.locator("summary").click()
        denied.locator("textarea").last.fill(EVIL)
        denied.get_by_role("button", name="Request access").click()
        denied.get_by_text("Waiting for the owner").wait_for(timeout=20_000)
        (request,) = owner.requests("pending")
        page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 13")
        run_all(page, 1)
        page.locator(".jp-Notebook .jp-CodeCell").nth(13).get_by_text("Waiting for the owner").wait_for(timeout=20_000)
        owner.deny(request, EVIL)
        denied.get_by_text("The owner said no").wait_for(timeout=20_000)
        page.wait_for_timeout(500)
        harmless(page)
        keep(page, "hostile.png")
        page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        page.reload()
        idle(page)
        page.wait_for_timeout(1000)
        harmless(page)
        browser.close()
    from nbconvert import HTMLExporter

    shown = HTMLExporter().from_filename(str(folder / "work" / "odd.ipynb"))[0]
    assert "<img src=x" not in shown.split("<body", 1)[1].replace("&lt;img src=x", "")
