"""News of datasets: told to the sessions of those who may see them, and to nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bastion_wire.messages import Push

from bastion_server.store import DatasetRecord


class News:
    """Says that something about the datasets changed. Whoever hears it asks for the list, and gets what is theirs to see.

    INVARIANT: the push names no dataset, and goes to those only who may see the dataset or could see it before: others
    learn neither that it exists nor that it changed.
    """

    def __init__(self, push: Callable[[str, Push], int], present: Callable[[], Iterable[str]]) -> None:
        """Take how identities are reached. present: names of those who have a session now."""
        self._push, self._present = push, present

    def datasets(self, *records: DatasetRecord | None) -> None:
        """Tell of a change. records: the dataset before and after it, as far as there was one. On the loop's thread."""
        for name in sorted(set(self._present())):
            if any(record is not None and record.visible_to(name) for record in records):
                self._push(name, Push("datasets"))
