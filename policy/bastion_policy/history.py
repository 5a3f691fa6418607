"""Stored populations: what was answered before, to which close populations are snapped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class EmptySet:
    """The population of nobody: what lies within k units of it is answered as nothing."""


@dataclass(frozen=True, slots=True)
class WholeTable:
    """Everybody: what leaves out fewer than k units is answered as the whole table."""


StoredPopulation = EmptySet | WholeTable


class History(Protocol):
    """The populations released to one audience about one unit domain, earliest first."""

    def populations(self) -> Iterable[StoredPopulation]:
        """Return the stored populations, earliest first.

        INVARIANT: the empty set and the whole table are always the first two. The judge asks them in this order, and
        the first that lies within k units decides.
        """
        ...


@dataclass(frozen=True, slots=True)
class FirstHistory:
    """The history every audience starts with."""

    def populations(self) -> Iterable[StoredPopulation]:
        """Return the empty set and the whole table."""
        return (EmptySet(), WholeTable())
