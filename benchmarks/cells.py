"""(j), (k) What a person at a cell waits for: completion, help, and the table on the screen.

Completion and help are asked of a real kernel, connected, in a session with datasets; from the message sent to its reply.
First paint is taken in JupyterLab in Chromium: from the command that runs a cell to the frame after the one in which its
table stands in the page; beside it a stock Python notebook that shows the same numbers by Polars.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from bastion_server import start
from jupyter_client.manager import start_new_kernel

from bastion import Connection, Identity
from bastion.client.endpoints import write_profile
from bastion_kernel.install import install
from benchmarks.timing import PAUSE, met, spread
from benchmarks.tiny import LINE, run_cell

ROOT = Path(__file__).parents[1]
CSV = ROOT / "notebooks" / "data" / "titanic.csv"
GOAL = 0.030
REQUESTS = 300
PAINTS = 30
DATASETS, COLUMNS = 20, 60
KEYSTROKE = 0.02  #: seconds between requests

SESSION = 'connect()\ntitanic = dataset("titanic")\nwide = dataset("wide-7")\n' + "".join(
    f'step_{n} = titanic.filter(pl.col("Age") > {n}).group_by("Sex").agg(pl.col("Fare").mean())\n' for n in range(20)
)
CHAIN = 'titanic.filter(pl.col("Age") > 10).with_columns(old=pl.col("Age") > 60).group_by("Sex", "Pclass").agg('
COMPLETIONS = (
    'dataset("wide', 'dataset("wide-3").select(pl.col("', "titanic.", "titanic.gro", 'titanic.select(pl.col("', 'wide.select(pl.col("column_3', "pl.", "step_",
    'titanic.sort("Age", desc', CHAIN + 'pl.col("Fare").', CHAIN + 'pl.col("', 'pl.col("Name").str.', "step_3.", 'sql("select Surv',
    "titanic.head(5).",
)  # fmt: skip
INSPECTIONS = (
    "titanic", "titanic.group_by", "titanic.select(", 'pl.col("Age").fill_null(0, strat', CHAIN, CHAIN + 'pl.col("Fare").mean',
    "step_7", "wide", "dataset", 'pl.col("Name").str.contains',
)  # fmt: skip

#: runs a cell of the notebook; ends in the second frame after its table is in the page, with the milliseconds
PAINT = """number => new Promise(done => {
    const content = window.jupyterapp.shell.currentWidget.content
    content.activeCellIndex = number
    const cell = content.widgets[number]
    cell.node.scrollIntoView({block: 'nearest'})
    const began = performance.now()
    const look = () => {
        if (!cell.node.querySelector('.jp-OutputArea-output table')) return
        watch.disconnect()
        requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)))
    }
    const watch = new MutationObserver(look)
    watch.observe(cell.node, {childList: true, subtree: true})
    window.jupyterapp.commands.execute('notebook:run-cell')
})"""


def measure_cells(requests: int = REQUESTS, paints: int = PAINTS) -> list[dict[str, str]]:
    """Return rows of the table. requests: of completion and of help each; paints: cells per notebook, 0 for no browser."""
    with tempfile.TemporaryDirectory() as name, _served(Path(name)) as environment:
        return _asked(environment, requests) + (_painted(Path(name), environment, paints) if paints else [])


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[dict[str, str]]:
    """A server with the Titanic table and wide ones; give the environment in which kernels find it."""
    keys, profile = folder / "keys", str(folder / "profile.toml")
    olga, alice = (Identity.create(name, keys) for name in ("olga", "alice"))
    install(prefix=str(folder / "kernel"))
    names = {"BASTION_PROFILE": profile, "JUPYTER_PATH": str(folder / "kernel" / "share" / "jupyter")}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        with start(folder / "server", owners=[olga], users=[alice]) as server:
            write_profile(server.endpoint, server.server_key, str(keys / "alice.key"))
            with Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner:
                send = owner.client.polars.send_df
                send(pl.read_csv(CSV), name="titanic", sanitized_columns=["Name"], unit="row")
                wide = pl.DataFrame({f"column_{n}": [n % 7] * 50 for n in range(COLUMNS)})
                for number in range(DATASETS):
                    send(wide, name=f"wide-{number}", unit="row")
            yield names
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _asked(environment: Mapping[str, str], requests: int) -> list[dict[str, str]]:
    manager, client = start_new_kernel(kernel_name="bastionlab", env={**os.environ, **environment})
    try:
        if (reply := run_cell(client, SESSION))["status"] != "ok":
            raise RuntimeError(reply)

        def ask(kind: str, code: str) -> float:
            begin = time.perf_counter()
            sent = getattr(client, kind)(code, len(code))
            while (answer := client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != sent:
                pass
            took = time.perf_counter() - begin
            content = answer["content"]
            if not (content.get("matches") or content.get("found")):
                msg = f"nothing was found for {code!r}"
                raise RuntimeError(msg)
            time.sleep(KEYSTROKE)
            return took

        first = [ask("complete", COMPLETIONS[0]), ask("inspect", INSPECTIONS[0])]
        found = {
            kind: [ask(kind, codes[n % len(codes)]) for n in range(requests)]
            for kind, codes in (("complete", COMPLETIONS), ("inspect", INSPECTIONS))
        }
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    words = {"complete": "completion (Tab)", "inspect": "help (Shift-Tab)"}
    return [
        {
            "what": f"(j) {words[kind]}, sent to reply, {requests} requests in a session with {DATASETS + 1} datasets",
            "measured": f"{spread(times)}; p50 {statistics.median(times) * 1e3:.1f} ms, p95 {_p95(times) * 1e3:.1f} ms; the first one {once * 1e3:.1f} ms",
            "goal": met(_p95(times), GOAL, "30 ms p95"),
        }
        for (kind, times), once in zip(found.items(), first, strict=True)
    ]  # fmt: skip


def _p95(times: list[float]) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * 0.95))]


def _painted(folder: Path, environment: Mapping[str, str], paints: int) -> list[dict[str, str]]:
    what = "(k) first paint of a table, cell sent to the frame after it stands in JupyterLab's page"
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    try:
        if importlib.util.find_spec("playwright") is None or importlib.util.find_spec("jupyterlab") is None:
            return [{"what": what, "measured": "not measured: JupyterLab or Playwright is not installed", "goal": ""}]
        from jupyter_lab import CHROMIUM, FLAGS, PYTHON, Window, lab
        from playwright.sync_api import sync_playwright
    finally:
        sys.path.pop(0)
    if not Path(CHROMIUM).exists():
        return [{"what": what, "measured": "not measured: there is no chromium", "goal": ""}]
    found: dict[str, list[float]] = {"stock": [], "ours": []}
    with lab(folder, dict(environment)) as jupyter, sync_playwright() as playwright:
        prepare = f"import polars as pl\ntitanic = pl.scan_csv({str(CSV)!r}).collect().lazy()"
        jupyter.notebook("ours", SESSION, *[LINE] * (paints + 1))
        jupyter.notebook("stock", prepare, *[LINE + ".collect()"] * (paints + 1), kernel=PYTHON)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        windows: dict[str, Any] = {
            name: Window(browser.new_context(), jupyter.address(name), height=900) for name in found
        }
        for window in windows.values():
            window.idle()
            window.run(0)
            window.page.evaluate(PAINT, 1)
        for number in range(2, paints + 2):
            for name, window in windows.items():
                window.page.bring_to_front()
                time.sleep(PAUSE)
                found[name].append(window.page.evaluate(PAINT, number) / 1e3)
        browser.close()
    return [
        {"what": f"{what}, stock Python notebook and Polars", "measured": spread(found["stock"]), "goal": ""},
        {"what": f"{what}, BastionLab, through everything", "measured": spread(found["ours"]), "goal": ""},
    ]
