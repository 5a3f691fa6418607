"""What the groups of frame methods rely on."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from bastion_plan.dtypes import Schema
from bastion_plan.nodes import Node

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame


class FrameBase:
    """The face of a frame towards its own methods."""

    @property
    @abstractmethod
    def plan(self) -> Node:
        """The plan's root node."""

    @property
    @abstractmethod
    def plan_schema(self) -> Schema:
        """Column names and types, as the plan has them."""

    @abstractmethod
    def _then(self, plan: Node) -> RemoteLazyFrame:
        """Return the frame of a further step, validated at once."""

    @abstractmethod
    def _other(self, other: Any) -> Node:
        """Return the plan of another frame."""


class OldSpelling(DeprecationWarning):
    """An older name of a method or parameter was used; it works."""


#: where notes about what was written go, if not into Python's warnings (a cell collects them)
NOTES: ContextVar[list[str] | None] = ContextVar("NOTES", default=None)


def old_spelling(old: str, new: str) -> None:
    """Note that an older spelling was used."""
    _note(f"{old} is an older spelling of {new}; it works, new code writes {new}.", OldSpelling)


class ConstantCondition(UserWarning):
    """A filter was given True or False instead of a condition on columns; it works."""


def constant_conditions(verb: str, predicates: Iterable[Any]) -> None:
    """Note that a plain True or False stands among the conditions of a filter, as where "Sex" == "male" lacks its pl.col."""
    for value in predicates:
        if isinstance(value, bool):
            text = f"A condition of .{verb}() is {value} for every row, whatever is in it."
            _note(f'{text} A comparison with a column is written pl.col("Sex") == "male".', ConstantCondition)


class GuardNote(UserWarning):
    """What is fetched holds numbers that are not simply those of the rows asked for: groups put together, a group answered
    before, cells taken out. `frame.release()` has the same as data.
    """


# each of them, not only the first of a line: the next table may hold the same sentence
warnings.simplefilter("always", GuardNote, append=True)


def _note(text: str, category: type[Warning]) -> None:
    notes = NOTES.get()
    if notes is not None:
        notes.append(text)
        return
    warnings.warn(text, category, stacklevel=4)
