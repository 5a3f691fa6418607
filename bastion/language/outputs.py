"""How much one cell may put below itself, and the one line that says what was left out."""

from __future__ import annotations

from bastion.language.limits import Limits


class OutputMeter:
    """Counts what a cell prints and displays. What is over a limit is left out, and the cell goes on.

    Args:
        limits: `printed`, `displays` and `shown` are read.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._characters = self._displays = self._bytes = 0
        self._cut_characters = self._cut_displays = 0

    def text(self, text: str) -> str:
        """Return what may still be printed of a text."""
        kept = text[: max(0, self._limits.printed - self._characters)]
        self._characters += len(kept)
        self._cut_characters += len(text) - len(kept)
        return kept

    def display(self) -> bool:
        """Count one displayed value; return whether it may be shown."""
        self._displays += 1
        fits = self._displays <= self._limits.displays and self._bytes < self._limits.shown
        self._cut_displays += not fits
        return fits

    def size(self, size: int) -> bool:
        """Count the bytes that a displayed value takes; return whether they fit."""
        fits = self._bytes + size <= self._limits.shown
        self._bytes = self._bytes + size if fits else self._limits.shown
        self._cut_displays += not fits
        return fits

    def take(self) -> str:
        """Return the line that says what was left out, empty where nothing was; it counts as said."""
        cut = []
        if self._cut_characters:
            cut.append(f"{self._cut_characters:,} characters of print")
        if self._cut_displays:
            cut.append(f"{self._cut_displays:,} displayed value{'s' if self._cut_displays > 1 else ''}")
        self._cut_characters = self._cut_displays = 0
        if not cut:
            return ""
        return f"The output of the cell is too long: {' and '.join(cut)} left out. [language.output]"
