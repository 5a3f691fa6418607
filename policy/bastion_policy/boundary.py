"""Boundaries: where private rows become cells, and the statistics that are computed there."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from bastion_plan.dtypes import DType
from bastion_plan.expressions import AnyExpr, Call, Expr

from bastion_policy.lineage import OWN, Source, Value
from bastion_policy.verdict import Finding

#: says of a cell whether it is the remainder row
REST = f"{OWN}rest"


class Guard(StrEnum):
    """What a statistic must pass besides the rules of its population."""

    NOTHING = "nothing"  # the population says it all
    SUM = "sum"  # dominance
    SQUARES = "squares"  # dominance of the deviations' squares as well
    PRODUCTS = "products"  # leverage in both arguments
    HELD = "held"  # every value of the argument is held by k units
    INTERVAL = "interval"  # an order statistic: shown as an interval of a public grid
    TIED = "tied"  # the value shown is held by k units


@dataclass(frozen=True)
class Term:
    """One argument whose contributions are looked at: an expression over the private frame."""

    expr: Expr
    value: Value
    dtype: DType


@dataclass(frozen=True)
class Statistic:
    """One number per cell.

    call: what is computed. population: conditions of its own (inner filters), all of which must hold.
    without: position of the same statistic without these conditions, a statistic of its own.
    terms: arguments that are guarded separately. share: for quantiles, between 0 and 1.
    """

    call: AnyExpr
    function: str
    guard: Guard
    dtype: DType
    terms: tuple[Term, ...] = ()
    population: tuple[Expr, ...] = ()
    without: int | None = None
    share: float = 0.0

    @property
    def sources(self) -> frozenset[Source]:
        """Source columns of the arguments."""
        return frozenset().union(*(t.value.sources for t in self.terms))


@dataclass
class Output:
    """A column of the released table: arithmetic over statistics. findings: why it may not leave (then it is null)."""

    name: str
    dtype: DType
    expr: AnyExpr
    statistics: tuple[int, ...] = ()
    findings: list[Finding] = field(default_factory=list)


@dataclass
class Boundary:
    """The cells of one node.

    keys: what the cells are grouped by, one column each (none: one cell for all rows).
    window: the cells are brought back to private rows, so cells that are merged keep their keys.
    marked: a column `REST` says which row is the remainder row, for steps behind that leave it out.
    """

    keys: tuple[tuple[str, AnyExpr, Value, DType], ...]
    statistics: list[Statistic]
    outputs: list[Output]
    window: bool = False
    marked: bool = False

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The judge's names of the keys."""
        return tuple(f"{OWN}k{i}" for i in range(len(self.keys)))


def call(function: str, *args: Expr, **options: object) -> AnyExpr:
    """Return a call in the judge's own plans."""
    return Call(function, args, tuple(sorted(options.items())))  # type: ignore[arg-type]
