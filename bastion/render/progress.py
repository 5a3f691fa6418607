"""How far a query or an upload is, in one line: the stage, the share, the rate, what is left."""

from __future__ import annotations

import time
from collections.abc import Callable

from bastion_wire.messages import Progress, RunInfo

from bastion.render.safe_text import safe_text


class FitProgress(Progress, frozen=True, tag="fit_progress"):
    """How far a fit is, for who shows progress. It never travels."""

    run: RunInfo | None = None


STAGES = {
    "queued": "waiting for its turn",
    "judging": "checking what may leave",
    "running": "running beside the data",
    "sending": "sending",
    "receiving": "receiving",
}
#: stages that count bytes
BYTES = frozenset({"sending", "receiving"})
_SETTLED = 0.3  #: seconds of a stage after which a rate means something


class ProgressText:
    """Follows the messages of one piece of work, and says how far it is.

    clock: seconds, growing; for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.started = clock()
        self._heard: Progress | None = None
        self._begun: tuple[str, float, int] = ("", self.started, 0)  # stage, when it began, what was done then

    def heard(self, progress: Progress) -> None:
        """Take a message."""
        if progress.stage != self._begun[0] or progress.done < self._begun[2]:
            self._begun = (progress.stage, self._clock(), progress.done)
        self._heard = progress

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return self._clock() - self.started

    @property
    def rate(self) -> float:
        """What is done a second, of the stage that it is in; 0 while too little is known."""
        if self._heard is None:
            return 0.0
        took = self._clock() - self._begun[1]
        return (self._heard.done - self._begun[2]) / took if took >= _SETTLED else 0.0

    @property
    def share(self) -> float | None:
        """How much of the stage is done, between 0 and 1; None where nobody knows."""
        heard = self._heard
        return min(1.0, heard.done / heard.total) if heard is not None and heard.total else None

    def line(self, instead: str = "") -> str:
        """Return the line. instead: of the stage, where it is known better what is waited for."""
        heard = self._heard
        if instead or heard is None:
            return " · ".join([instead or "working", _seconds(self.seconds)])
        if isinstance(heard, FitProgress) and heard.run is not None:
            from bastion.render.runs import progress_line

            return " · ".join([*progress_line(heard.run), _seconds(self.seconds)])
        parts = [STAGES.get(heard.stage, "working")]
        if self.share is not None:
            parts[0] += f" {self.share:.0%}"
            if heard.stage in BYTES:
                parts.append(f"{size(heard.done)} of {size(heard.total)}")
            else:
                parts.append(f"{heard.done} of {heard.total}")
            if self.rate > 0 and heard.stage in BYTES:
                parts.append(f"{size(self.rate)}/s")
            if self.rate > 0 and heard.done < heard.total:
                parts.append(f"{_seconds((heard.total - heard.done) / self.rate)} left")
        return " · ".join([*parts, _seconds(self.seconds)])


def size(count: float) -> str:
    """Return a number of bytes as people read it ("3.2 MB")."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def with_hint(line: str, width: int) -> str:
    """Return a line of progress for a terminal so many characters wide; what it is cut by is never how to stop the work."""
    hint = " · Ctrl-C stops it"
    return safe_text(line, max(1, width - len(hint))) + hint
