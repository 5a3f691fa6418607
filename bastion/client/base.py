"""What the groups of frame methods rely on."""

from __future__ import annotations

import warnings
from abc import abstractmethod
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


#: where notes about older spellings go, if not into Python's warnings (a cell collects them)
NOTES: ContextVar[list[str] | None] = ContextVar("NOTES", default=None)


def old_spelling(old: str, new: str) -> None:
    """Note that an older spelling was used."""
    text = f"{old} is an older spelling of {new}; it works, new code writes {new}."
    notes = NOTES.get()
    if notes is not None:
        notes.append(text)
        return
    warnings.warn(text, OldSpelling, stacklevel=4)
