"""The BastionLab kernel: cells of the restricted language, on Jupyter's protocol. Never Python."""

from __future__ import annotations

import asyncio
import codeop
import logging
import os
import signal
import threading
import time
from contextlib import suppress
from typing import Any

import zmq
from bastion_plan.errors import InputError, LanguageError
from bastion_widgets.show import Replaceable
from ipykernel.kernelbase import Kernel

from bastion.client.connection import STOPPED
from bastion.language.commands import without_commands
from bastion_kernel import comms
from bastion_kernel.cells import VERSION, Outcome, Workbench
from bastion_kernel.printing import Printed

#: where a site has put its own copy of the documentation (`make docs`)
DOCS_VARIABLE = "BASTION_DOCS"
HELP_LINKS = (
    ("Polars expressions", "https://docs.pola.rs/api/python/stable/reference/expressions/index.html"),
    ("Polars user guide", "https://docs.pola.rs/user-guide/expressions/"),
)
ABORT_SECONDS = 0.1
STDIN_EVERY = 0.05  # seconds between looks for a passphrase that somebody types
CLOSING_SECONDS = 2.0  # a kernel that is asked to end does not wait longer for its server
MAX_TYPISTS = 64  # clients that ask whether a cell is whole
LISTENER_SECONDS = 2.0  # the first cell waits as long for somebody who hears its output


class BastionKernel(Kernel):
    """A kernel on ipykernel's base class, not on IPython.

    Cells run as tasks on the kernel's own event loop, and so does the connection to the server: pushes from the server
    and clicks on widgets are served while a query is pending.
    """

    implementation = "bastionlab"
    implementation_version = VERSION
    language_info = {  # noqa: RUF012 - ipykernel's own convention
        "name": "bastionlab",
        "version": VERSION,
        "mimetype": "text/x-python",
        "codemirror_mode": {"name": "python", "version": 3},
        "pygments_lexer": "python3",
        "file_extension": ".bastion",
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._execute_sleep = 0
        self._cell: asyncio.Task[Outcome] | None = None
        self._subscribed: threading.Event | None = getattr(self.parent, "subscribed", None)
        self._held: asyncio.Task[None] | None = None
        self._typists: set[str] = set()
        self._printed = Printed(self._stream)
        self.workbench = Workbench(self)
        comms.install(self)
        # widgets and libraries must never write to a log that a client reads
        logging.getLogger("Comm").setLevel(logging.CRITICAL)

    # ---- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start serving; SIGINT stops the running cell instead of the process."""
        super().start()
        if threading.current_thread() is threading.main_thread():
            asyncio.get_event_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        self.io_loop.add_callback(self.workbench.start.begin)

    def pre_handler_hook(self) -> None:
        """Nothing: ipykernel's hook would let SIGINT end a kernel that is awaiting."""

    def post_handler_hook(self) -> None:
        """Nothing, as above."""

    @property
    def kernel_info(self) -> dict[str, Any]:
        """As ipykernel's, without subshells: clicks would run on another thread."""
        return {**super().kernel_info, "supported_features": []}

    async def kernel_info_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """As ipykernel's; the banner waits a little for a connection that the kernel opens by itself."""
        await self.workbench.start.for_banner()
        await super().kernel_info_request(stream, ident, parent)

    @property
    def banner(self) -> str:  # type: ignore[override]
        """Where and as whom one is connected, whether the server is attested, and what the policies allow."""
        return self.workbench.banner()

    @property
    def help_links(self) -> list[dict[str, str]]:  # type: ignore[override]
        """What a front end's help menu offers."""
        own = os.environ.get(DOCS_VARIABLE, "")
        links = [("BastionLab", own)] if own.startswith(("https://", "http://")) else []
        return [{"text": text, "url": url} for text, url in (*links, *HELP_LINKS)]

    async def do_shutdown(self, restart: bool) -> dict[str, Any]:
        """Close the connection and the history. Comes on the control thread; both belong to the kernel's loop."""
        own = self.io_loop.asyncio_loop
        if own is asyncio.get_running_loop():
            await self.workbench.close()
        else:
            closing = asyncio.run_coroutine_threadsafe(self.workbench.close(), own)
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(closing), CLOSING_SECONDS)
        return {"status": "ok", "restart": restart}

    def _interrupt(self) -> None:
        if self._cell is not None and not self._cell.done():
            self._cell.cancel()

    async def interrupt_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Stop the running cell, and with it its query on the server. Comes on the control thread."""
        self.io_loop.add_callback(self._interrupt)
        if self.session:
            self.session.send(stream, "interrupt_reply", {"status": "ok"}, parent, ident=ident)

    # ---- cells ---------------------------------------------------------------------------------------------------

    async def execute_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """As ipykernel's, but not before a client listens to the output (at most LISTENER_SECONDS, once)."""
        await self._listener()
        await super().execute_request(stream, ident, parent)

    async def _listener(self) -> None:
        subscribed, self._subscribed = self._subscribed, None
        deadline = time.monotonic() + LISTENER_SECONDS
        while subscribed is not None and not subscribed.is_set() and time.monotonic() < deadline:
            await asyncio.sleep(0.005)

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: dict[str, str] | None = None,
        allow_stdin: bool = False,
        *,
        cell_meta: Any = None,
        cell_id: str | None = None,
    ) -> dict[str, Any]:
        """Run one cell."""
        if code.strip() in ("exit", "quit", "exit()", "quit()"):
            return self._ok([{"source": "ask_exit", "keepkernel": False}])
        self._cell = asyncio.ensure_future(self.workbench.run(code, silent=silent, console=self._in_console()))
        try:
            outcome = await self._cell
        except asyncio.CancelledError:
            outcome = Outcome(
                error=("Interrupted", "The cell was stopped.", ["The cell was stopped. [interrupted.cell]", STOPPED])
            )
        finally:
            self._cell = None
            self._printed.flush()
        if store_history and not silent:
            # the answer does not wait for the disk; what comes next finds the cell there
            asyncio.get_running_loop().call_soon(self.workbench.past.remember, self.execution_count, code)
        if outcome.error is not None:
            name, message, trace = outcome.error
            content = {"ename": name, "evalue": message, "traceback": trace}
            if not silent:
                self.send_response(self.iopub_socket, "error", content)
            return {"status": "error", "execution_count": self.execution_count, **content}
        if outcome.bundle is not None and not silent:
            data, metadata = outcome.bundle
            self.send_response(
                self.iopub_socket,
                "execute_result",
                {"execution_count": self.execution_count, "data": data, "metadata": metadata},
            )
            for below in outcome.below:
                self.show(below)
        reply = self._ok(outcome.payload)
        reply["user_expressions"] = {
            name: await self.workbench.expression(text) for name, text in (user_expressions or {}).items()
        }
        return reply

    def _in_console(self) -> bool:
        """Whether the cell comes from `jupyter console` (or looks as if: what is written for it reads well anywhere).

        It asks whether each line is whole, names its user, may be asked, and says nothing about its cells.
        """
        parent = self.get_parent("shell")
        header = parent.get("header", {})
        typed = header.get("session") in self._typists and bool(header.get("username"))
        return typed and parent["content"].get("allow_stdin", False) and not parent.get("metadata")

    def _ok(self, payload: list[dict[str, Any]]) -> dict[str, Any]:
        return {"status": "ok", "execution_count": self.execution_count, "payload": payload, "user_expressions": {}}

    async def passphrase(self, prompt: str) -> str:
        """Ask whoever runs the cell for a passphrase; the only thing that stdin is used for.

        Unlike ipykernel's `getpass` this does not block the kernel's loop, so an interrupt is heard.

        Raises:
            InputError: input.stdin, the front end cannot ask (nbconvert, a batch run).
        """
        parent = self.get_parent("shell")
        if self._cell is None or not parent.get("content", {}).get("allow_stdin", False):
            msg = "The key is sealed with a passphrase, and nobody can be asked for it here."
            step = "Run connect() in a notebook or a console; for unattended runs use a key without a passphrase."
            raise InputError(msg, code="input.stdin", next_step=step)
        with suppress(zmq.Again):
            while True:  # answers to what nobody asked
                self.stdin_socket.recv_multipart(zmq.NOBLOCK)
        self._printed.flush()
        ident = self._get_shell_context_var(self._shell_parent_ident)
        content = {"prompt": prompt, "password": True}
        self.session.send(self.stdin_socket, "input_request", content, parent, ident=ident)
        while True:
            with suppress(ValueError):  # not signed with this kernel's key
                _, reply = self.session.recv(self.stdin_socket)
                if reply is not None:
                    return str(reply["content"].get("value", ""))
            await asyncio.sleep(STDIN_EVERY)

    def print(self, text: str, name: str = "stdout") -> None:
        """Show text below the cell, together with what is printed around it."""
        self._printed.write(text, name, self.get_parent())

    def _stream(self, content: dict[str, Any], parent: Any) -> None:
        if self.session:
            self.session.send(self.iopub_socket, "stream", content, parent)

    def send_response(self, *args: Any, **kwargs: Any) -> Any:
        """As ipykernel's; what was printed before is shown before."""
        self._printed.flush()
        return super().send_response(*args, **kwargs)

    def show(self, data: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        """Show a MIME bundle below the cell."""
        content: dict[str, Any] = {"data": data, "metadata": metadata or {}}
        if isinstance(data, Replaceable):
            content["transient"] = {"display_id": data.display}
        self.send_response(self.iopub_socket, "display_data", content)

    def replace(self, data: dict[str, Any], display: str) -> None:
        """Show a MIME bundle in the place of one that stands below a cell, be it of long ago."""
        content = {"data": data, "metadata": {}, "transient": {"display_id": display}}
        self.send_response(self.iopub_socket, "update_display_data", content)

    def _abort_queues(self, subshell_id: str | None = None) -> None:
        """After an error, abort the cells that wait.

        ipykernel 7 stops aborting as soon as its own queue is empty, while a front end's next cells may still be on
        their way: hold on for a moment.
        """
        self._aborting = True

        async def hold() -> None:
            await asyncio.sleep(ABORT_SECONDS)
            self._aborting = False

        self._held = asyncio.ensure_future(hold())

    # ---- help while typing ---------------------------------------------------------------------------------------

    async def do_is_complete(self, code: str) -> dict[str, Any]:
        """Say whether a cell is complete; Python's compiler reads it, nothing is run."""
        if len(self._typists) < MAX_TYPISTS:
            self._typists.add(str(self.get_parent("shell").get("header", {}).get("session")))
        try:
            compiled = _compiled(code)
        except (SyntaxError, OverflowError, ValueError, MemoryError, RecursionError, LanguageError):
            return {"status": "invalid"}
        if compiled is None:
            last = code.splitlines()[-1] if code.splitlines() else ""
            indent = len(last) - len(last.lstrip()) + (4 if last.rstrip().endswith(":") else 0)
            return {"status": "incomplete", "indent": " " * indent}
        if "\n" in code and code.splitlines()[-1].startswith((" ", "\t")):
            return {
                "status": "incomplete",
                "indent": code.splitlines()[-1][: len(code.splitlines()[-1]) - len(code.splitlines()[-1].lstrip())],
            }
        return {"status": "complete"}

    async def do_complete(self, code: str, cursor_pos: int) -> dict[str, Any]:
        """Complete names and members from the language's own tables."""
        matches, start, end, kinds = self.workbench.complete(code, cursor_pos)
        return {
            "status": "ok",
            "matches": matches,
            "cursor_start": start,
            "cursor_end": end,
            "metadata": {
                "_jupyter_types_experimental": [
                    {"text": text, "type": kind, "start": start, "end": end}
                    for text, kind in zip(matches, kinds, strict=True)
                ]
            },
        }

    async def do_inspect(
        self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Explain the name under the cursor."""
        text = self.workbench.inspect(code, cursor_pos)
        data = {"text/plain": text} if text else {}
        return {"status": "ok", "found": bool(text), "data": data, "metadata": {}}

    async def do_history(
        self,
        hist_access_type: str,
        output: bool,
        raw: bool,
        session: int | None = None,
        start: int | None = None,
        stop: int | None = None,
        n: int | None = None,
        pattern: str | None = None,
        unique: bool = False,
    ) -> dict[str, Any]:
        """Return cells of this session and earlier ones; `output` brings none, since no result is ever kept."""
        past = self.workbench.past
        match hist_access_type:
            case "range":
                cells = past.range(session, start, stop)
            case "search":
                cells = past.search(pattern, n, unique=unique)
            case _:
                cells = past.tail(n)
        found = [(s, line, (text, None)) if output else (s, line, text) for s, line, text in cells]
        return {"status": "ok", "history": found}


def _compiled(code: str) -> Any:
    """Return None where a cell is not whole yet. Python's compiler reads it; nothing is run."""
    try:
        return codeop.compile_command(code, "<cell>", "exec")
    except SyntaxError:
        plain, commands = without_commands(code)
        if not commands:
            raise
        return codeop.compile_command(plain, "<cell>", "exec")
