"""The quick tour: a real server, an owner, a scientist's notebook in the BastionLab kernel, a denial and an approval."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
from bastion_plan.errors import InputError, NotFound, ServerError
from rich.syntax import Syntax

from bastion import Connection, Identity
from bastion.client.endpoints import write_profile
from bastion_cli.output import console, foreign

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = Path("notebooks/01-quick-tour.ipynb")
DATA = Path("notebooks/data/titanic.csv")
SAMPLES = Path("notebooks/data/samples.py")
OURS = {"server", "keys", "lab", "profile.toml", "olga.toml"}
ANSWER = "Fine for the tour. Please do not keep these rows."


def step(text: str) -> None:
    """Print a progress line."""
    console.print(f"[green]·[/] {text}")


def place() -> Path:
    """Return the folder with the notebooks: the working folder, or the source tree.

    Raises:
        NotFound: missing.demo, when neither has them.
    """
    for folder in (Path.cwd(), ROOT):
        if (folder / NOTEBOOK).exists() and (folder / DATA).exists():
            return folder
    msg = "The demo's notebook and table are not here."
    raise NotFound(
        msg,
        code="missing.demo",
        reason=f"Looked for {NOTEBOOK} and {DATA}.",
        next_step="Run it in a clone of the repository: make demo.",
    )


def clear(directory: Path) -> None:
    """Take away what the last run of the demo left, and nothing else.

    Raises:
        InputError: input.demo.directory, something else is there. ServerError: a server runs there.
    """
    from bastion_server.store.lock import DirectoryLock

    if not directory.exists():
        return
    left = {entry.name for entry in directory.iterdir()}
    if not left <= OURS:
        msg = f"{directory} holds something else than the demo."
        raise InputError(
            msg, code="input.demo.directory", next_step="Name another directory: bastion demo --directory NEW"
        )
    if (directory / "server").is_dir():
        DirectoryLock(directory / "server").release()
    shutil.rmtree(directory)


@contextlib.contextmanager
def stage(directory: Path, *, fresh: bool) -> Iterator[Any]:
    """Start the demo's server, with keys and the Titanic table; everything lives below `directory`."""
    from bastion_server import start

    folder, directory = place(), directory.resolve()
    if fresh:
        clear(directory)
    directory.mkdir(parents=True, exist_ok=True)
    keys = directory / "keys"
    if (keys / "olga.key").exists():
        olga, alice = (Identity.load(keys / f"{name}.key") for name in ("olga", "alice"))
        step("taking the keys of the owner (olga) and the scientist (alice) from the last run")
    else:
        olga, alice = (Identity.create(name, keys) for name in ("olga", "alice"))
        step("made fresh keys for the owner (olga) and the scientist (alice)")
    with start(directory / "server", owners=[olga], users=[alice]) as server:
        step(f"started a server process on {server.endpoint} (pid {server.pid}), encrypted with CURVE")
        for warning in server.warnings:
            console.print(f"  [red]warning:[/] {foreign(warning)}")
        profile = directory / "profile.toml"
        for name in ("BASTION_ENDPOINT", "BASTION_IDENTITY", "BASTION_SERVER_KEY"):
            os.environ.pop(name, None)
        os.environ["BASTION_PROFILE"] = str(directory / "olga.toml")
        write_profile(server.endpoint, server.server_key, str(keys / "olga.key"))
        os.environ |= {"BASTION_PROFILE": str(profile), "BASTION_KEYS": str(keys)}
        write_profile(server.endpoint, server.server_key, str(keys / "alice.key"))
        with Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner:
            if not any(card.facts.name == "titanic" for card in owner.cards()):
                frame = pl.read_csv(folder / DATA)
                owner.client.polars.send_df(frame, name="titanic", sanitized_columns=["Name"], unit="row")
                step("olga uploaded titanic (891 people, 12 columns) under the default policy, with Name hidden")
            yield server, owner, folder


def run(directory: Path) -> None:
    """Run the quick tour in the terminal."""
    started = time.monotonic()
    with stage(directory, fresh=True) as (_, owner, folder):
        approvals = Approver(owner)
        step("opening notebooks/01-quick-tour.ipynb as alice, in the BastionLab kernel")
        failed = execute(folder / NOTEBOOK, folder, before=approvals.expect)
        approvals.close()
        step(
            f"done in {time.monotonic() - started:.0f} s. The owner's audit log has {len(owner.audit('titanic', 1000))} records about titanic."
        )
    if failed:
        raise ServerError("A cell of the tour failed.", code="server.demo", next_step="The message is above.")
    console.print("\nNext: [bold]make lab[/] starts JupyterLab on the same server and notebook.")


def lab(directory: Path) -> None:
    """Start JupyterLab on the demo's server and notebook, until Ctrl-C."""
    import subprocess

    try:
        import jupyterlab  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(name="jupyterlab") from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: JupyterLab ends with it
    fresh = not (directory / "server" / "catalogue.db").exists()
    with stage(directory, fresh=fresh) as (_, _, folder):
        install_kernel()
        owner = directory.resolve() / "olga.toml"
        sent = subprocess.run(  # noqa: S603
            [sys.executable, str(folder / SAMPLES)], env={**os.environ, "BASTION_PROFILE": str(owner)}, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        if sent.returncode == 0:
            step("olga uploaded the invented tables of the other notebooks")
        else:
            console.print(f"  [red]look at this:[/] the tables of the other notebooks: {foreign(sent.stderr[-300:])}")
        step("starting JupyterLab; stop everything with Ctrl-C")
        bastion = Path(sys.executable).parent / "bastion"
        console.print(
            "  To be the owner, who decides on alice's requests, in another terminal:\n"
            f"    export BASTION_PROFILE={shlex.quote(str(owner))}\n"
            f"    {shlex.quote(str(bastion))} requests        then: … approve ID, or deny ID --reason \"…\"\n"
            '  or in a notebook of its own: connect(identity="olga"), then owner_panel()',
            markup=False, soft_wrap=True,
        )  # fmt: skip
        for line in training_lines():
            console.print(line, markup=False, soft_wrap=True)
        command = [sys.executable, "-m", "jupyterlab", *lab_options(folder, quiet(directory.resolve()))]
        if os.geteuid() == 0:
            command.append("--allow-root")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603
        try:
            watch_lab(process)
        except KeyboardInterrupt:
            step("stopping")
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:  # kernels that do not end on a busy machine
                process.kill()
                process.wait(15)


def training_lines() -> list[str]:
    """Return what is said where models cannot be trained; nothing where they can."""
    if all(importlib.util.find_spec(name) is not None for name in ("torch", "safetensors", "opacus")):
        return []
    return [
        "  06-conversion, 13-text and 17-credit train models, with torch, a large download that is not made unasked. In another",
        "  terminal, at any time:    make train        (without make: pip install '.[train]')",
    ]


def quiet(directory: Path) -> Path:
    """Write defaults of JupyterLab under which no pop-up asks about its news; return their folder."""
    settings = directory / "lab"
    settings.mkdir(exist_ok=True)
    quietly = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}
    (settings / "overrides.json").write_text(json.dumps(quietly), encoding="utf-8")
    return settings


def lab_options(folder: Path, settings: Path) -> list[str]:
    """Return how JupyterLab is started: on the demo's notebooks, with the defaults of `quiet`."""
    return [
        "--no-browser", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=8888", "--LabApp.news_url=None",
        f"--LabApp.app_settings_dir={settings}",
        f"--ServerApp.root_dir={folder / 'notebooks'}", f"--LabApp.default_url=/lab/tree/{NOTEBOOK.name}",
    ]  # fmt: skip


def watch_lab(process: Any) -> None:
    """Print JupyterLab's address once, and its warnings, until it ends."""
    told = False
    for line in process.stdout:
        found = re.search(r"(http://127\.0\.0\.1:\S+)", line)
        if found and not told and "token=" in line:
            console.print(f"[green]·[/] JupyterLab is at [bold]{found[1]}[/]", soft_wrap=True)
            told = True
        elif re.match(r"\[E ", line):
            console.print(line.rstrip(), markup=False)


def install_kernel() -> None:
    """Make the kernel known to this Python environment."""
    from bastion_kernel.install import install

    install()


class Approver:
    """The owner, at a second client: approves what comes in, as a person would, a moment later."""

    def __init__(self, owner: Connection) -> None:
        self._owner = owner
        self._came = threading.Event()
        self._request: Any = None
        self._remove = owner.on_request(self._heard)
        self._thread: threading.Thread | None = None

    def _heard(self, request: Any) -> None:
        if request.state == "pending":
            self._request = request
            self._came.set()

    def expect(self, source: str) -> None:
        """Before a cell that waits for the owner runs: be ready to answer."""
        if ".wait(" in source and self._thread is None:
            self._thread = threading.Thread(target=self._answer, daemon=True)
            self._thread.start()

    def _answer(self) -> None:
        if self._came.wait(30):
            request = self._request
            time.sleep(0.3)
            console.print(
                f"[green]·[/] [italic]olga, at her own client, reads:[/] {foreign(request.requester)} asks “{foreign(request.reason)}”"
            )
            console.print(f"    {request.code}", markup=False)
            self._owner.approve(request, ANSWER)
            console.print(f"[green]·[/] [italic]olga approves:[/] “{ANSWER}”")

    def close(self) -> None:
        """Stop listening."""
        self._remove()
        if self._thread is not None:
            self._thread.join(5)


def execute(notebook: Path, folder: Path, before: Any) -> bool:
    """Execute a notebook in the BastionLab kernel and print every cell with its answer; return whether a cell failed."""
    import nbformat
    from nbclient import NotebookClient

    install_kernel()
    book = nbformat.read(notebook, as_version=4)
    failed = False

    def starts(cell: Any, cell_index: int) -> None:
        if cell.cell_type == "markdown":
            console.print()
            console.print(cell.source.strip(), markup=False, style="dim")

    def begins(cell: Any, cell_index: int) -> None:
        console.print()
        console.print(Syntax(cell.source, "python", background_color="default", theme="ansi_light", word_wrap=True))
        before(cell.source)

    def ends(cell: Any, cell_index: int, execute_reply: Any) -> None:
        nonlocal failed
        for output in cell.outputs:
            console.print(plain(output), markup=False, soft_wrap=True)
            failed |= output.output_type == "error"

    client = NotebookClient(
        book, kernel_name="bastionlab", timeout=120, allow_errors=True, resources={"metadata": {"path": str(folder)}},
        on_cell_start=starts, on_cell_execute=begins, on_cell_executed=ends,
    )  # fmt: skip
    client.execute()
    return failed


def plain(output: Any) -> str:
    """Return the text form of an output."""
    match output.output_type:
        case "stream":
            return str(output.text).rstrip()
        case "error":
            return "\n".join(output.traceback)
        case _:
            return str(output.data.get("text/plain", "")).rstrip()
