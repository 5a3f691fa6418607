"""`%bastion` and `%%bastion`: thin, over the language's own evaluator and the cards that the kernel shows too."""

from __future__ import annotations

import ast
import contextlib
import keyword
import shlex
from collections.abc import Iterator
from typing import Any

import polars as pl
from bastion_plan.errors import BastionError, InputError
from bastion_widgets.show import Replaceable, Screen
from IPython.core.magic import Magics, line_cell_magic, magics_class
from IPython.display import publish_display_data

from bastion.client.connection import Released
from bastion.client.denied import Denied, NotApproved
from bastion.client.frames import RemoteLazyFrame
from bastion.render.banners import connection_lines
from bastion.render.bundles import both
from bastion.render.cards import audit_list, connection_card, dataset_list, request_list
from bastion.render.safe_text import safe_text
from bastion.render.verdicts import assigned, quiet, verdict_of
from bastion_magics.session import Session
from bastion_magics.status import StatusLine

COMMANDS = {
    "connect": "%bastion connect [TOKEN|ENDPOINT [IDENTITY]]: connect; alone, as the saved profile says",
    "whoami": "%bastion whoami: as whom one is connected, and where",
    "datasets": "%bastion datasets: what there is to explore",
    "policy": "%bastion policy NAME: a dataset's columns, and its policy in words",
    "preview": "%bastion preview NAME [ROWS]: made-up rows in the shape of a dataset, to write code with",
    "budget": "%bastion budget: what is left of the privacy budgets",
    "requests": "%bastion requests [STATE]: access requests and their states",
    "runs": "%bastion runs: what was trained, with its settings and its cost",
    "exposure": "%bastion exposure NAME: for owners, what has been released of a dataset so far",
    "help": "%bastion help: this list",
    "audit": "%bastion audit [DATASET]: for owners, the last records of the audit log",
}
CELLS = {
    "--as": "%%bastion [--as NAME]: a cell of the restricted language; its table goes into NAME",
    "--sql": "%%bastion --sql [--as NAME]: a cell of SQL, over datasets and frames of earlier cells",
}
USAGE = "\n".join([*COMMANDS.values(), *CELLS.values()])


class BastionCellError(Exception):
    """An error as the notebook shows it: our own sentences, no traceback of the library."""

    def __init__(self, error: BastionError) -> None:
        self.code = error.code
        self.lines = _lines(error)
        super().__init__(self.lines[0])

    def _render_traceback_(self) -> list[str]:
        return self.lines


def _lines(error: BastionError) -> list[str]:
    if isinstance(error, Denied):
        # the denial itself is shown above
        return [safe_text(f"The cell stopped: {error.message} [{error.code}]")]
    # the first line of the notebook's cell is %%bastion itself
    place = f"line {error.details['line'] + 1}: " if isinstance(error.details.get("line"), int) else ""
    sentence = " ".join(part for part in (place + error.message, error.reason, error.next_step) if part)
    return [safe_text(f"{sentence} [{error.code}]")]


@contextlib.contextmanager
def _clearly() -> Iterator[None]:
    """Turn errors into what `_render_traceback_` shows; an unexpected one is named by its class alone."""
    try:
        yield
    except BastionError as error:
        raise BastionCellError(error) from None
    except BastionCellError:
        raise
    except Exception as error:  # noqa: BLE001 - its words may hold anything
        msg = f"Something went wrong ({type(error).__name__}). The next cell works."
        raise BastionCellError(BastionError(msg, code="internal.magics")) from None


@magics_class
class BastionMagics(Magics):
    """The magics; one session per notebook."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.session = Session()
        self.session.environment.outside = lambda name: name in shell.user_ns
        # a terminal would print the new view as well as the old one
        replace = self._replace if getattr(shell, "kernel", None) is not None else None
        self.screen = Screen(self.session.environment, self._arrived, replace)

    @line_cell_magic
    def bastion(self, line: str, cell: str | None = None) -> None:
        """Run a command (%bastion), a cell of the restricted language (%%bastion [--as NAME]), or of SQL (--sql)."""
        with _clearly(), self._status():
            try:
                if cell is None:
                    self._command(line)
                else:
                    try:
                        self._cell(line, cell)
                    finally:
                        self.screen.refresh()
            except BaseException as error:
                self.session.say_news(error)
                raise
            self.session.say_news()

    @contextlib.contextmanager
    def _status(self) -> Iterator[None]:
        """Show how far the command or the cell is, while it runs."""
        notebook = getattr(self.shell, "kernel", None) is not None
        self.session.status = status = StatusLine(notebook, self.session.waits)
        try:
            yield
        finally:
            self.session.status = None
            status.close()

    # ---- commands ------------------------------------------------------------------------------------------------

    def _command(self, line: str) -> None:
        name, *arguments = _words(line) or [""]
        env = self.session.environment
        match name:
            case "" | "help":
                print(USAGE)
            case "connect":
                card = connection_lines(self.session.run(env.connect(*arguments[:2])), "%bastion datasets")
                self._publish(both(*connection_card(card)))
            case "whoami":
                print(env.whoami())
            case "datasets":
                frames = self.session.run(env.datasets())
                self._publish(both(*dataset_list([f.dataset for f in frames if f.dataset is not None])))
            case "policy" if arguments:
                frame = self.session.run(env.dataset(arguments[0]))
                self._show(frame.dataset)
            case "preview" if arguments:
                frame = self.session.run(env.dataset(arguments[0]))
                self._show(frame.preview(*map(_number, arguments[1:2])))
            case "requests":
                found = self.session.run(env.requests(*arguments))
                self._show(found) if found else self._publish(both(*request_list(found)))
            case "budget":
                self._show(self.session.run(env.budget()))
            case "runs":
                self._show(self.session.run(env.runs()))
            case "exposure" if arguments:
                self._show(self.session.run(env.require_connection().exposure(arguments[0])))
            case "audit":
                records = self.session.run(env.require_connection().audit(*arguments[:1]))
                self._publish(both(*audit_list(records)))
            case _:
                msg = "Which dataset?" if name in COMMANDS else f"%bastion {line.strip()} is not a command."
                raise InputError(msg, code="input.magic", next_step=COMMANDS.get(name, "Write %bastion to list them."))

    # ---- cells ---------------------------------------------------------------------------------------------------

    def _cell(self, line: str, cell: str) -> None:
        name, sql = _options(line)
        before = dict(self.session.environment.names)
        try:
            result = self.session.query(cell) if sql else self.session.evaluate(cell)
            value = result.value
            if name is not None and value is None:
                value = _given_last(cell, self.session.environment.names)
            if result.printed:
                self._others()
                print(result.printed, end="")
            if lines := assigned(before, self.session.environment.names, value):
                self._publish(quiet("\n".join(lines)))
            for shown in result.displayed:
                for data in self.screen.displayed(shown):
                    self._publish(data)
            for note in result.notes:
                self._others()
                print(note)
            if isinstance(value, RemoteLazyFrame):
                value = self._release(value, wanted=name is not None)
        except Denied as denied:
            self._denied(denied)
            raise
        table = value.frame if isinstance(value, Released) else value
        if name is not None:
            if not isinstance(table, pl.DataFrame):
                msg = f"The cell's last line gives no table, so {name} stays as it is."
                raise InputError(msg, code="input.magic", next_step="End the cell with a frame or a fetched table.")
            self.shell.user_ns[name] = table
        if result.kind == "text":
            self._others()
            print(value)
        elif value is not None:
            self._show(value)

    def _show(self, value: Any) -> None:
        for data in self.screen.outputs(value):
            self._publish(data)

    def _release(self, frame: RemoteLazyFrame, *, wanted: bool) -> Released | None:
        """Run a frame. Without a variable that waits for it, a denial is an answer and not a failure of the cell."""
        if self.session.status is not None and (line := verdict_of(frame)):
            self.session.status.verdict(line)
        try:
            return self.session.run(frame.release())
        except NotApproved:
            raise
        except Denied as denied:
            if wanted:
                raise
            self._denied(denied)
            return None

    def _denied(self, denied: Denied) -> None:
        for data in self.screen.denial(denied):
            self._publish(data)

    def _arrived(self, released: Released) -> None:
        self.shell.user_ns["released"] = released.frame

    def _publish(self, data: dict[str, Any]) -> None:
        self._others()
        transient = {"display_id": data.display} if isinstance(data, Replaceable) else None
        publish_display_data(data, transient=transient)

    @staticmethod
    def _replace(data: dict[str, Any], display: str) -> None:
        publish_display_data(data, transient={"display_id": display}, update=True)

    def _others(self) -> None:
        """Something is shown: it takes the place of the line that says how far the cell is, and stays."""
        if self.session.status is not None:
            self.session.status.replaced()


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        msg = "A quotation mark is missing."
        raise InputError(msg, code="input.magic") from None


def _given_last(cell: str, names: dict[str, Any]) -> Any:
    """Return the query or the table that a cell's last line gives a name; None where it does something else."""
    try:
        last = ast.parse(cell).body[-1]
    except (SyntaxError, ValueError, IndexError, RecursionError, MemoryError):  # lines that begin with %
        return None
    target = last.targets[-1] if isinstance(last, ast.Assign) else None
    value = names.get(target.id) if isinstance(target, ast.Name) else None
    query = isinstance(value, RemoteLazyFrame) and value.dataset is None
    return value if query or isinstance(value, pl.DataFrame) else None


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 6:
        msg = f"{text!r} is not a number of rows."
        raise InputError(msg, code="input.magic", next_step=COMMANDS["preview"])
    return int(text)


def _options(line: str) -> tuple[str | None, bool]:
    """Return NAME of `--as NAME`, and whether there is `--sql`."""
    name, sql, words = None, False, _words(line)
    while words:
        match words:
            case ["--sql", *words]:
                sql = True
            case ["--as", name, *words] if name.isidentifier() and not keyword.iskeyword(name):
                pass
            case ["--as", name, *_]:
                msg = f"{name!r} cannot be the name of a variable."
                raise InputError(msg, code="input.magic", next_step="Write %%bastion --as rates.")
            case _:
                msg = f"%%bastion does not know {line.strip()!r}."
                step = "Write %%bastion --as rates, %%bastion --sql, or %%bastion alone."
                raise InputError(msg, code="input.magic", next_step=step)
    return name, sql
