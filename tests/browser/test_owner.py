"""Two notebooks in a real JupyterLab: a scientist's query is denied, the owner's panel decides, the scientist's cell updates.

With BASTION_SCREENSHOTS=FOLDER the screens are kept there (docs/images is made this way).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import nbformat
import polars as pl
import pytest
from jupyter_lab import CHROMIUM, ROOT, idle, keep, lab

pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: pip install '.[lab]'")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")

pytestmark = [
    pytest.mark.skipif(
        not Path(CHROMIUM).exists(), reason="there is no Chromium: apt install chromium fonts-dejavu-core"
    ),
    pytest.mark.timeout(240),
]
EVIL = "<img src=x onerror='window.evil=1'>"
#: what JupyterLab itself says on a fresh start, and is not ours
NOISE = ("favicon", "ResizeObserver", "status of 404", "WebSocket", "net::ERR", "Failed to load resource")


def notebook(path: Path, *cells: str) -> None:
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "bastionlab", "display_name": "BastionLab", "language": "bastionlab"}},
    )
    nbformat.write(book, path)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, object]]:
    from bastion_server import start

    from bastion import Connection, Identity
    from bastion.client.endpoints import write_profile
    from bastion_kernel.install import install

    folder = tmp_path_factory.mktemp("owner")
    install(prefix=str(folder / "kernel"))
    work = folder / "work"
    work.mkdir()
    notebook(work / "scientist.ipynb", "connect()", 'dataset("titanic").head(5)', 'dataset("titanic").tail(4)')
    notebook(work / "owner.ipynb", 'connect(identity="olga")', "owner_panel()")
    olga, alice = (Identity.create(name, folder / "keys") for name in ("olga", "alice"))
    with start(folder / "server", owners=[olga], users=[alice]) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BASTION_PROFILE", str(folder / "profile.toml"))
            write_profile(server.endpoint, server.server_key, str(folder / "keys" / "alice.key"))
        with (
            Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner,
            Connection(server.endpoint, identity=alice, server_key=server.server_key) as user,
        ):
            frame = pl.read_csv(ROOT / "notebooks" / "data" / "titanic.csv")
            owner.client.polars.send_df(frame, name="titanic", sanitized_columns=["Name"], unit="row")
            evil = pl.DataFrame({EVIL: [EVIL] * 40, "n": range(40)})
            owner.client.polars.send_df(evil, name="odd", unit="row")
            yield folder, user


@pytest.fixture(scope="module")
def address(stage) -> Iterator[str]:
    folder, _ = stage
    environment = {
        "BASTION_PROFILE": str(folder / "profile.toml"), "BASTION_KEYS": str(folder / "keys"),
        "JUPYTER_PATH": str(folder / "kernel" / "share" / "jupyter"),
    }  # fmt: skip
    with lab(folder, environment) as found:
        yield found


class Window:
    """A page with a notebook, all of whose cells were run, and the errors it said."""

    def __init__(self, browser, address: str, name: str, height: int = 2600) -> None:
        self.page = browser.new_page(viewport={"width": 1180, "height": height})
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.goto(address.format(name))
        idle(self.page)
        self.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def cell(self, number: int):
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)

    @property
    def said(self) -> list[str]:
        return [text for text in self.errors if not any(noise in text for noise in NOISE)]


@contextlib.contextmanager
def chromium() -> Iterator[object]:
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


def test_denied_asked_decided_in_the_panel_and_the_cells_update(stage, address):
    with chromium() as browser:
        owner = Window(browser, address, "owner")
        panel = owner.page.locator(".bastion-owner")
        panel.get_by_text("Nothing waits for you").wait_for(timeout=90_000)
        scientist = Window(browser, address, "scientist")
        first, second = scientist.cell(1), scientist.cell(2)
        for cell, why in ((first, "To see the columns."), (second, "Also these.")):
            cell.get_by_role("button", name="Request access").wait_for(timeout=90_000)
            cell.locator("textarea").last.fill(why)
            cell.get_by_role("button", name="Request access").click()
            cell.get_by_text("Waiting for the owner").wait_for(timeout=30_000)

        panel.get_by_role("option").nth(1).wait_for(timeout=30_000)
        panel.get_by_role("option").filter(has_text="To see the columns.").click()
        panel.get_by_text("head(5)").first.wait_for(timeout=30_000)
        shown = panel.inner_text()
        for part in ("IN PLAIN WORDS", "RULES IT FAILS", "row-level", "titanic.Age", "rows of the result"):
            assert part in shown
        panel.get_by_role("button", name="Show the first rows").click()
        panel.get_by_text("Preview for the owner.").wait_for(timeout=30_000)
        panel.get_by_label("A word to the requester").fill("Fine, for this once.")
        keep(owner.page, "owner-requests.png", panel.bounding_box())
        panel.get_by_role("button", name="Approve once").click()
        first.get_by_text("shape: (5, 12)").wait_for(timeout=30_000)
        assert "Fine, for this once." in first.inner_text()
        assert "Braund" not in first.inner_text()

        panel.get_by_role("option").filter(has_text="Also these.").click()
        panel.get_by_text("tail(4)").first.wait_for(timeout=30_000)
        panel.get_by_role("button", name="Deny").click()
        panel.get_by_text("A denial needs a word").wait_for(timeout=10_000)
        panel.get_by_label("A word to the requester").fill(f"Ask for the mean instead. {EVIL}")
        panel.get_by_role("button", name="Deny").click()
        second.get_by_text("Ask for the mean instead.").wait_for(timeout=30_000)
        keep(scientist.page, "decided.png")
        panel.get_by_text("Nothing waits for you").wait_for(timeout=10_000)  # the approval is used, and no more to revoke
        for window in (owner, scientist):
            assert window.page.evaluate("window.evil") is None
            assert window.said == []


def test_the_other_tabs_and_what_is_typed_stays(stage, address):
    _, user = stage
    for frame in (
        user.dataset("titanic").group_by("Pclass", "Sex").agg(pl.col("Survived").mean()),
        user.dataset("titanic").group_by("Embarked").agg(pl.len(), pl.col("Fare").mean()),
    ):
        with contextlib.suppress(Exception):
            frame.fetch()
    with chromium() as browser:
        owner = Window(browser, address, "owner", 3600)
        panel = owner.page.locator(".bastion-owner")
        panel.get_by_role("tab", name="Datasets").click()
        panel.get_by_role("option").filter(has_text="titanic").click()
        editor = panel.get_by_label("policy", exact=True)
        editor.wait_for(timeout=30_000)
        text = editor.input_value()
        editor.fill(text.replace("aggregation = 10", "agregation = 10"))
        panel.get_by_text("line ").first.wait_for(timeout=30_000)
        assert "agregation" in panel.locator(".bo-check").inner_text()
        editor.fill(text.replace('unsafe = "review"', 'unsafe = "reject"'))
        panel.get_by_text("This policy can be.").wait_for(timeout=30_000)
        panel.get_by_role("button", name="Try on past queries").click()
        panel.locator(".bo-trial").wait_for(timeout=60_000)
        assert "would get less than now" in panel.locator(".bo-trial").inner_text()
        keep(owner.page, "owner-datasets.png", panel.bounding_box())
        # a request that arrives meanwhile takes nothing away from who is typing
        editor.click()
        owner.page.keyboard.press("Control+End")
        owner.page.keyboard.type("# mine")
        asked = user.dataset("odd").select(pl.col(EVIL)).head(3)
        try:
            asked.fetch()
        except Exception as denied:  # noqa: BLE001 - Denied
            denied.request(f"why not {EVIL}")
        panel.locator(".bo-count").get_by_text("1").wait_for(timeout=30_000)
        owner.page.keyboard.type(" too")
        assert editor.input_value().endswith("# mine too")
        panel.get_by_role("button", name="As it is on the server").click()

        panel.get_by_role("tab", name="Requests").click()
        panel.get_by_role("option").first.click()
        panel.get_by_text("odd.").first.wait_for(timeout=30_000)
        panel.get_by_role("button", name="Suggest lines").click()
        panel.get_by_text("Refuse at once").wait_for(timeout=30_000)
        keep(owner.page, "owner-hostile.png", panel.bounding_box())

        panel.get_by_role("tab", name="Activity").click()
        panel.locator(".bo-log tbody tr").first.wait_for(timeout=30_000)
        panel.get_by_role("button", name="Verify the log").click()
        panel.get_by_text("The log is whole").wait_for(timeout=30_000)
        panel.get_by_label("kind").select_option("outcome")
        panel.get_by_role("button", name="Show", exact=True).click()
        owner.page.wait_for_timeout(800)
        keep(owner.page, "owner-activity.png", panel.bounding_box())
        panel.get_by_role("tab", name="Exposure").click()
        panel.get_by_role("tabpanel", name="Exposure").locator("svg rect").first.wait_for(timeout=30_000)
        owner.page.wait_for_timeout(800)
        keep(owner.page, "owner-exposure.png", panel.bounding_box())
        panel.get_by_role("tab", name="Budget").click()
        panel.get_by_text("Room in the audit").wait_for(timeout=30_000)
        owner.page.wait_for_timeout(800)
        keep(owner.page, "owner-budget.png", panel.bounding_box())

        panel.get_by_role("tab", name="Datasets").click()
        owner.page.locator(".bastion-owner input[type=file]").set_input_files(
            {"name": "new.csv", "mimeType": "text/csv", "buffer": b"town,age\n" + b"x,30\ny,40\n" * 30}
        )
        panel.get_by_role("button", name="Upload", exact=True).wait_for(timeout=30_000)
        panel.get_by_label("privacy unit").select_option("row")
        panel.get_by_role("button", name="Upload", exact=True).click()
        panel.get_by_text("new is there.").wait_for(timeout=60_000)
        assert owner.page.evaluate("window.evil") is None
        assert owner.said == []
        owner.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        owner.page.reload()
        idle(owner.page)
        owner.page.locator(".bastion-owner").get_by_role("tab", name="Requests").wait_for(timeout=60_000)


if os.environ.get("BASTION_SCREENSHOTS"):
    Path(os.environ["BASTION_SCREENSHOTS"]).mkdir(parents=True, exist_ok=True)
