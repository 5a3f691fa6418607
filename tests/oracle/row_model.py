"""What the oracle decides about: the limits of a plan, the choices that an answer has, what was found in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bastion_plan.expressions import Expr
from bastion_policy.model import Rounding
from row_frames import Frame, Leaf
from row_statistics import compute
from row_values import same

OTHER = "(other)"
MISSING = object()
Rows = Counter[int]
#: a column that is one number per person, and the rows of which something is told
Number = tuple[str, str, Rows]
#: a row of the audit: its system, and weights by row of a table
Vector = tuple[Any, dict[tuple[str, int], Any]]
COUNTING = ("pl.len", "len", "count", "null_count", "has_nulls", "n_unique", "approx_n_unique")
SUMMED = ("sum", "mean", "var", "std", "pl.cov", "pl.corr")
#: statistics that may be told of rows that are in more often than others
FREE = ("median", "quantile", "min", "max", "nan_min", "nan_max", "n_unique", "approx_n_unique", "has_nulls")
TIES = ("unique", "value_counts", "mode")


@dataclass
class Limits:
    """The strictest rules of all tables of a plan."""

    k: int
    p: float | None
    shares: tuple[tuple[int, float], ...]
    differing: int
    of_all: bool
    audited: bool
    history: bool
    budget: float | None
    closed: bool
    strict: bool = False
    rounding: Rounding | None = None


@dataclass(frozen=True)
class Told:
    """A statistic over the rows of a population. kind: of the choices. peers: populations that the answer has besides."""

    frame: Frame
    leaf: Leaf
    rows: Sequence[int]
    limits: Limits
    kind: str
    peers: Sequence[Sequence[int]] = ()

    @property
    def full(self) -> list[int]:
        """The rows in which no argument is missing."""
        return [i for i in self.rows if all(a.values[i] is not None for a in self.leaf.args)]

    @property
    def without(self) -> list[int]:
        """The others."""
        full = set(self.full)
        return [i for i in self.rows if i not in full]


@dataclass
class Choice:
    """One permitted answer. value, or `accept` where several are. population: rows it tells about, if as itself.

    numbers: columns it tells of that are one number per person. others: permitted answers that read the same.
    """

    value: Any
    kind: str  # own, stored, nobody, everybody
    population: tuple[int, ...] = ()
    accept: Callable[[Any], bool] | None = None
    vectors: list[Vector] = field(default_factory=list)
    output: int = -1
    numbers: list[Number] = field(default_factory=list)
    others: list[Choice] = field(default_factory=list)

    def fits(self, value: Any) -> bool:
        """Whether a released value is this answer."""
        return self.accept(value) if self.accept is not None else same(self.value, value)


@dataclass
class Finding:
    """A released value that the oracle does not allow. leak: it is what an unguarded engine would say."""

    rule: str
    where: str
    value: Any = None
    reasons: tuple[str, ...] = ()
    leak: bool = False


@dataclass
class Explained:
    """What became of an answer. cells: values that the oracle allows; shown, merged: of these, in the answer."""

    findings: list[Finding] = field(default_factory=list)
    allowed: int = 0
    shown: int = 0
    merged: int = 0
    promised: bool = True
    values: int = 0
    hidden: list[tuple[str, str]] = field(default_factory=list)


def countable(choice: Choice, kinds: Sequence[str] = ("own", "stored")) -> bool:
    """Whether a choice says something."""
    there = choice.value is not MISSING and (choice.value is not None or choice.accept is not None)
    return choice.kind in kinds and there


def flat(chosen: Iterable[Choice]) -> Iterable[Choice]:
    """Choices, those of compound outputs one by one."""
    for c in chosen:
        yield from getattr(c, "parts", (c,))


def nobody(leaf: Leaf) -> Choice:
    """The answer about nobody."""
    return Choice(compute(leaf.function, [[] for _ in leaf.args], 0, leaf.options), "nobody")


def occurs(part: Expr, whole: Expr) -> bool:
    from row_frames import descend

    return any(e == part for e in descend(whole))
