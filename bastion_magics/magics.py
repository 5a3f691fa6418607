"""`%bastion` and `%%bastion`: thin, over the language's own evaluator and the cards that the kernel shows too."""

from __future__ import annotations

import contextlib
import keyword
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl
from bastion_plan.errors import BastionError, InputError
from IPython.core.magic import Magics, line_cell_magic, magics_class
from IPython.display import publish_display_data

from bastion.client.connection import Released
from bastion.client.denied import Denied, NotApproved
from bastion.client.frames import RemoteLazyFrame
from bastion.render import bundle, clipped_table
from bastion.render.cards import audit_list, dataset_card, dataset_list, request_list
from bastion_magics.session import Session

if TYPE_CHECKING:
    from bastion_widgets import Shelf

COMMANDS = {
    "connect": "%bastion connect [TOKEN|ENDPOINT [IDENTITY]]: connect; alone, as the saved profile says",
    "whoami": "%bastion whoami: as whom one is connected, and where",
    "datasets": "%bastion datasets: what there is to explore",
    "policy": "%bastion policy NAME: a dataset's columns, and its policy in words",
    "budget": "%bastion budget: what is left of the privacy budgets",
    "requests": "%bastion requests [STATE]: access requests and their states",
    "audit": "%bastion audit [DATASET]: for owners, the last records of the audit log",
}
USAGE = "\n".join(
    [*COMMANDS.values(), "%%bastion [--as NAME]: a cell of the restricted language; its table goes into NAME"]
)


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
        return [f"The cell stopped: {error.message} [{error.code}]"]
    # the first line of the notebook's cell is %%bastion itself
    place = f"line {error.details['line'] + 1}: " if isinstance(error.details.get("line"), int) else ""
    sentence = " ".join(part for part in (place + error.message, error.reason, error.next_step) if part)
    return [f"{sentence} [{error.code}]"]


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
        self._shelf: Shelf | None = None

    @line_cell_magic
    def bastion(self, line: str, cell: str | None = None) -> None:
        """Run a command (%bastion), or a cell of the restricted language (%%bastion [--as NAME])."""
        with _clearly():
            if cell is None:
                self._command(line)
            else:
                self._cell(line, cell)

    # ---- commands ------------------------------------------------------------------------------------------------

    def _command(self, line: str) -> None:
        name, *arguments = _words(line) or [""]
        env = self.session.environment
        match name:
            case "":
                print(USAGE)
            case "connect":
                self._publish(bundle(self.session.run(env.connect(*arguments[:2]))))
            case "whoami":
                print(env.whoami())
            case "datasets":
                frames = self.session.run(env.datasets())
                self._publish(_both(*dataset_list([f.dataset for f in frames if f.dataset is not None])))
            case "policy" if arguments:
                frame = self.session.run(env.dataset(arguments[0]))
                if frame.dataset is not None:
                    self._publish(_both(*dataset_card(frame.dataset)))
            case "requests":
                self._publish(_both(*request_list(self.session.run(env.requests(*arguments)))))
            case "budget":
                self._publish(bundle(self.session.run(env.budget())))
            case "audit":
                records = self.session.run(env.require_connection().audit(*arguments[:1]))
                self._publish(_both(*audit_list(records)))
            case _:
                msg = f"%bastion {line.strip()} is not a command." if name != "policy" else "Which dataset?"
                raise InputError(msg, code="input.magic", next_step=COMMANDS.get(name, "Write %bastion to list them."))

    # ---- cells ---------------------------------------------------------------------------------------------------

    def _cell(self, line: str, cell: str) -> None:
        name = _variable(line)
        try:
            result = self.session.evaluate(cell)
            value = result.value
            if result.printed:
                print(result.printed, end="")
            for shown in result.displayed:
                if isinstance(shown, str):
                    self._publish({"text/plain": shown})
                else:
                    self._show(shown)
            for note in result.notes:
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
            print(value)
        elif value is not None:
            last = self.session.environment.connection.last if self.session.environment.connection else None
            self._show(last if last is not None and value is last.frame else value)

    def _show(self, value: Any) -> None:
        """Show a value; a table that its static view cuts short with a widget below, as in the kernel."""
        table = clipped_table(value)
        if table is None:
            self._publish(bundle(value))
            return
        if self._shelf is None:
            from bastion_widgets import Shelf

            self._shelf = Shelf()
        for data in self._shelf.outputs(table, value.note if isinstance(value, Released) else None):
            self._publish(data)

    def _release(self, frame: RemoteLazyFrame, *, wanted: bool) -> Released | None:
        """Run a frame. Without a variable that waits for it, a denial is an answer and not a failure of the cell."""
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
        from bastion_widgets import AccessRequestWidget

        if not isinstance(denied, NotApproved):
            self.session.environment.names["denied"] = denied
        self._publish(bundle(denied))
        if denied.outcome == "review" or denied.has_safe_part:
            widget = AccessRequestWidget(denied, on_result=self._arrived)
            self._publish(widget._repr_mimebundle_())

    def _arrived(self, released: Released) -> None:
        self.shell.user_ns["released"] = released.frame

    def _publish(self, data: dict[str, Any]) -> None:
        publish_display_data(data)


def _both(page: str, text: str) -> dict[str, str]:
    return {"text/html": page, "text/plain": text}


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        msg = "A quotation mark is missing."
        raise InputError(msg, code="input.magic") from None


def _variable(line: str) -> str | None:
    """Return NAME of `--as NAME`."""
    match _words(line):
        case []:
            return None
        case ["--as", name] if name.isidentifier() and not keyword.iskeyword(name):
            return name
        case ["--as", name]:
            msg = f"{name!r} cannot be the name of a variable."
        case _:
            msg = f"%%bastion does not know {line.strip()!r}."
    raise InputError(msg, code="input.magic", next_step="Write %%bastion --as rates, or %%bastion alone.")
