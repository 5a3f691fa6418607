"""The line below a %%bastion cell that runs: its verdict, then how far it is; what the cell gives takes its place."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.display import clear_output, publish_display_data

from bastion.client.terminal import TerminalLine
from bastion.render.progress import ProgressText
from bastion.render.verdicts import quiet

if TYPE_CHECKING:
    from bastion_wire.messages import Progress

PATIENCE = 0.5
BUTTON_AFTER = 1.0
WAITS = "waiting for the owner's decision"
STOP = "interrupt the kernel to stop"


class StatusLine:
    """One cell's line. In a terminal it is written over itself on standard error.

    Args:
        notebook: whether a front end shows displays. waiting: says whether the cell waits for an owner's decision.
    """

    def __init__(self, notebook: bool, waiting: Callable[[], bool]) -> None:
        self._terminal = None if notebook else TerminalLine()
        self._waiting = waiting
        self._text = ProgressText()
        self._id: str | None = None
        self._ticked = False
        self._button: Any = None
        #: whether the cell has shown something else
        self.others = False

    def verdict(self, text: str) -> None:
        """Show the verdict on what is about to run."""
        if self._terminal is None:
            self._write(text)

    def heard(self, progress: Progress) -> None:
        """Take a progress message; from any thread."""
        self._text.heard(progress)

    def tick(self, stop: Callable[[], Any]) -> None:
        """Show how far the work is, if it takes long. stop: what the button does; a front end that sends clicks only when no
        cell runs has the interrupt instead.
        """
        if self._text.seconds < PATIENCE:
            return
        self._ticked = True
        line = self._text.line(WAITS if self._waiting() else "")
        if self._terminal is not None:
            self._terminal.write(f"{line} · Ctrl-C stops it")
        elif self._button is not None:
            self._button.line(f"{line} · {STOP}")
        elif self._text.seconds >= BUTTON_AFTER:
            from bastion_widgets.stopping import StopLine

            self._button = StopLine(f"{line} · {STOP}", stop)
            self._write(f"{line} · {STOP}", self._button.view())
        else:
            self._write(f"{line} · {STOP}")

    def replaced(self) -> None:
        """What the cell gives comes now, in the place of the line."""
        if self._terminal is not None:
            self._terminal.clear()
        elif self._id is not None and not self.others:
            clear_output(wait=True)
            self._id = None
        self.others = True
        self._stop_button()

    def close(self) -> None:
        """The cell has ended; a line of progress that still stands says how long it took."""
        if self._terminal is not None:
            self._terminal.clear()
        elif self._id is not None and self._ticked:
            self._write(f"took {self._text.seconds:.1f} s")
        self._stop_button()

    def _stop_button(self) -> None:
        if self._button is not None:
            self._button.close()
            self._button = None

    def _write(self, text: str, more: dict[str, Any] | None = None) -> None:
        update = self._id is not None
        self._id = self._id or uuid.uuid4().hex
        publish_display_data({**(more or {}), **quiet(text)}, transient={"display_id": self._id}, update=update)
