"""What a value in a plan derives from: source columns, scan occurrences, and in which form it carries them."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from bastion_plan.dtypes import DType, Schema
from bastion_plan.expressions import AnyExpr
from bastion_plan.nodes import AnyNode

from bastion_policy.facts import DatasetFacts
from bastion_policy.model import Role, Rounding
from bastion_policy.roles import RoleKind
from bastion_policy.rules import leaves

#: INVARIANT: names of the judge's own columns start with this, and no user's plan or table may have such a name; else a
#: plan could overwrite the unit column that is carried along.
OWN = "#~"
#: stands where a source column's name stands, of a number that is of none: how many rows a person has
ROWS_OF_PERSON = f"{OWN}rows"
#: stands where the name of a constant stands, of one that is null, or may be null in some rows
UNSURE = ""


#: the least and the greatest value of whole numbers; of wide ones a power of two before, where floats are too coarse to tell
INTEGERS = (
    {f"Int{b}": (-(2.0 ** (b - 1)), 2.0 ** (b - 1) - 1) for b in (8, 16, 32)}
    | {f"UInt{b}": (0.0, 2.0**b - 1) for b in (8, 16, 32)}
    | {"Int64": (-(2.0**62), 2.0**62), "UInt64": (0.0, 2.0**63), "Int128": (-(2.0**120), 2.0**120)}
)


class Flow(StrEnum):
    """What a column of a frame holds."""

    PUBLIC = "public"  # nobody's data: literals, the scientist's own table
    RELEASED = "released"  # cells behind a boundary
    AGGREGATE = "aggregate"  # numbers that a boundary has yet to judge
    ROW = "row"  # a value per private row


class Form(StrEnum):
    """In which form a private value carries its source columns."""

    CONSTANT = "constant"  # the same for all rows: a literal, a released number
    COLUMN = "column"  # a column, an affine function of one, or one of the allowed functions of one
    COMBINATION = "combination"  # a linear combination of several such
    NULLS = "nulls"  # whether a stored value is missing
    BITS = "bits"  # one bit per row: a condition
    BINNED = "binned"  # any other function: every output value must be held by k units
    MIX = "mix"  # arithmetic over several columns: weights that the scientist chose


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One scan of a dataset in a plan; the two sides of a self-join are two."""

    index: int
    dataset: str

    @property
    def unit(self) -> str:
        """The name under which the unit is carried along."""
        return f"{OWN}u{self.index}"

    @property
    def weight(self) -> str:
        """The name under which the number of source rows is carried along after a pre-aggregation."""
        return f"{OWN}n{self.index}"

    @property
    def row(self) -> str:
        """The name under which the number of the source row is carried along (after a pre-aggregation, a list of them)."""
        return f"{OWN}r{self.index}"

    @property
    def turn(self) -> str:
        """The name under which the column that an unpivot made the row of is carried along with the row's number."""
        return f"{OWN}v{self.index}"


@dataclass(frozen=True, slots=True)
class Source:
    """A column of a scan occurrence."""

    occurrence: int
    dataset: str
    column: str

    @property
    def counted(self) -> bool:
        """Whether it is no column of the table, but how many rows of it a person has.

        INVARIANT: that is a number of the person like any other, so it has a source, by which all rules about arguments hold of
        it: dominance, repeated rows, intervals, covariances. Which rows there are is no value of theirs: nothing of it is missing,
        populations that it is told of are those of the rows themselves, and rows are compared as rows, each of which adds one.
        """
        return self.column == ROWS_OF_PERSON

    @property
    def label(self) -> str:
        """`dataset.column`; `dataset.` of numbers of rows."""
        return f"{self.dataset}.{'' if self.counted else self.column}"


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of the values of a column or expression.

    sources: the columns it derives from. low, high: bounds, where known.
    plain: the source column of which it is an unchanged copy.
    pristine: a plain column, or one value per unit made by a pre-aggregation: the only thing that non-linear functions
        may be taken of. (abs(x - c) for many c would give single values back.)
    listed: arithmetic that the owner allows by name.
    bit: the values for false and for true of a Boolean column, or of an affine function of one; () where they are not known.
    line: (x, a, b) of a column that is a * x + b with constants.
    own_scale: not shifted or stretched: order statistics are only given of such, because the same grid laid over a shifted
        column has other cells, and the overlap of two cells of k units may hold a single one.
    makes_nulls: null where the source is not.
    steps: affine steps taken so far; few, so that no chain of them leaves the range of floats.
    dated: of a date that the calendar has, of a column that is none as it stands: by how many days it may lie off a stored one.
    blank: constants that may be null, and all of it where one is.
    evenly: each row of a table that it is made of adds to it as much as any other would, whatever the others are and however many:
        what one row holds, sums and counts of a person's rows. A mean weighs its rows by their number.
    picked: a number of a person that one of their rows may give: the same number may come of other rows, where they have
        several.
    within: of a number per person, the column between whose smallest and largest value of that person it lies.
    coarse: its bounds are wider than its column's, so that the rules about values do not look at them.
    per_row: (x, a, b) of a sum of a person's rows that hold a * x + b each.
    chosen: of a number of a person's rows, what a condition on it tells of besides: what decided which rows there are, and how
        many there are (see `flow_chosen`).
    reason: why it is a MIX, or where it comes from.
    """

    sources: frozenset[Source] = frozenset()
    form: Form = Form.CONSTANT
    low: float | None = None
    high: float | None = None
    plain: Source | None = None
    pristine: bool = False
    own_scale: bool = False
    makes_nulls: bool = False
    steps: int = 0
    listed: bool = False
    line: tuple[Source, float, float] | None = None
    bit: tuple[float, ...] | None = None
    dated: int | None = None
    blank: frozenset[str] = frozenset()
    evenly: bool = False
    picked: bool = False
    within: Source | None = None
    coarse: bool = False
    per_row: tuple[Source, float, float] | None = None
    chosen: frozenset[Source] = frozenset()
    reason: str = ""

    @property
    def stored(self) -> bool:
        """Whether it is a column as it stands: stored, one value per unit, or arithmetic that the owner listed."""
        return self.form is Form.COLUMN and (self.pristine or self.listed)

    @property
    def several(self) -> bool:
        """Whether it holds values of several columns of one table, other than by a formula that the owner listed."""
        tables = {s.dataset for s in self.sources}
        return not self.listed and len({(s.dataset, s.column) for s in self.sources}) > len(tables)

    def derived(self, form: Form, **changes: object) -> Value:
        """Return a value of the same sources in another form."""
        fresh = Value(self.sources, form, makes_nulls=self.makes_nulls, evenly=self.evenly, picked=self.picked)
        if self.coarse or self.per_row is not None:
            fresh = replace(fresh, coarse=True)  # what a person's rows come to at least and at most is not known of it
        return replace(fresh, **changes)  # type: ignore[arg-type]


CONSTANT = Value()


class Kind(StrEnum):
    """Whose rows a frame holds."""

    PRIVATE = "private"
    RELEASED = "released"
    PUBLIC = "public"


@dataclass(frozen=True)
class Computed:
    """What is known of the computed columns of a frame; see `flow_inline`.

    exprs: of a column, the expression that computed it, over copies. copies: of a column, the name of its copy, where it
    has not changed since.
    """

    exprs: Mapping[str, AnyExpr] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """The flow type of a node's result.

    occurrences: whose rows they are. fanned: a unit's rows may repeat or come from several branches, so that bounds on
    rows per unit are void. per_unit: at most one row per unit. unique: columns that identify a row of a frame that is not
    private. narrowed: rows were left out by predicates. ordered: measures whose values the rows are in the order of. chosen: secret
    columns by which rows were left out or repeated. computed: what its columns were computed by; forgotten wherever the columns change.
    """

    kind: Kind
    columns: dict[str, Value]
    schema: Schema
    occurrences: tuple[Occurrence, ...] = ()
    fanned: bool = False
    per_unit: bool = False
    grouped: bool = False
    unique: frozenset[str] | None = None
    narrowed: bool = False
    ordered: frozenset[Source] = frozenset()
    chosen: frozenset[Source] = frozenset()
    computed: Computed = Computed()

    @property
    def private(self) -> bool:
        """Whether rows belong to units."""
        return self.kind is Kind.PRIVATE

    def flow(self, name: str) -> Flow:
        """Return the flow class of a column."""
        if self.kind is Kind.PRIVATE:
            return Flow.ROW
        return Flow.RELEASED if self.kind is Kind.RELEASED else Flow.PUBLIC

    def with_columns(self, columns: Mapping[str, Value], schema: Schema, **changes: object) -> Frame:
        """Return the frame with other columns."""
        made = {"computed": Computed(), **changes}
        return replace(self, columns=dict(columns), schema=schema, **made)  # type: ignore[arg-type]


@dataclass(frozen=True)
class World:
    """What typing may look at: the public facts and, in the judge, observed bounds.

    observed: (low, high) of numeric columns. rows_per_unit: at most, by dataset. measured: whether these two
    are known; on the client they are not, and typing then assumes the best. nullable: columns with missing values.
    nans: columns with values that are not a number.
    strict: see `decided`. rounded: numbers are rounded, so rows must not be repeated.
    """

    facts: Mapping[str, DatasetFacts]
    observed: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    rows_per_unit: Mapping[str, int] = field(default_factory=dict)
    measured: bool = False
    nullable: frozenset[tuple[str, str]] = frozenset()
    nans: frozenset[tuple[str, str]] = frozenset()
    strict: bool = False
    rounded: bool = False

    def decided(self, datasets: Iterable[str]) -> World:
        """Return the world in which a plan over these datasets is typed.

        INVARIANT: under the strict profile no decision about a plan depends on what columns hold: bounds are the declared
        ones, and which columns have missing values, or NaN, is not known.
        """
        policies = [self.facts[d].policy for d in datasets if d in self.facts]
        if any(p.profile == "strict" for p in policies):
            return replace(self, strict=True, rounded=True, measured=False, nullable=frozenset(), nans=frozenset())
        return replace(self, rounded=any(isinstance(r, Rounding) for p in policies for r in leaves(p.safe_zone)))

    def role(self, source: Source) -> Role:
        """Return the role of a source column.

        How many rows a person has may choose people in the default profile; under the strict one it is of no declared column,
        so it chooses nobody.
        """
        if source.counted:
            return Role(RoleKind.MEASURE if self.strict else RoleKind.QUASI)
        return self.facts[source.dataset].column(source.column).role

    def bounds(self, source: Source) -> tuple[float | None, float | None]:
        """Return the bounds by which plans are judged: declared ones, else (not in a strict world) coarse ones around `widest`.

        INVARIANT: whether a question is taken at all costs nothing and is asked as often as one likes, so it must not depend on
        the largest value, which is one person's, but on the power of ten that it lies below, for either sign.
        """
        role = self.role(source)
        if self.strict:
            return role.lower, role.upper
        low, high = self.widest(source)
        if low is None or high is None or (role.lower, role.upper) == (low, high):
            return low, high
        size = max(abs(low), abs(high))
        power = math.log10(size) if size and math.isfinite(size) else -math.inf
        # the largest float is beyond the largest power of ten
        top = size if power == -math.inf else 10.0 ** math.ceil(power) if power <= 308 else sys.float_info.max
        declared = self.facts[source.dataset].column(source.column).dtype
        edges = INTEGERS.get(declared.kind, (-math.inf, math.inf))
        return max(-top, edges[0]), min(top, edges[1])

    def widest(self, source: Source) -> tuple[float | None, float | None]:
        """Return declared bounds, else observed ones.

        INVARIANT: no value lies outside; where the data breaks the owner's bounds, the wider ones count.
        """
        role, observed = self.role(source), self.observed.get((source.dataset, source.column))
        if role.lower is None or role.upper is None:
            return observed or (None, None)
        low, high = observed or (role.lower, role.upper)
        return min(role.lower, low), max(role.upper, high)

    def is_unit(self, source: Source) -> bool:
        """Whether the source column holds the privacy unit."""
        return self.facts[source.dataset].unit == source.column


@dataclass(eq=False)
class Typed:
    """A node of the plan with its flow type. Identity counts: equal nodes at two places are two occurrences.

    boundary: set where private rows become cells (see `boundary.Boundary`).
    occurrence: of a Scan.
    """

    node: AnyNode
    frame: Frame
    inputs: tuple[Typed, ...] = ()
    boundary: object | None = None
    occurrence: Occurrence | None = None


def is_string(dtype: DType) -> bool:
    """Whether values are text or categories."""
    return dtype.kind in {"String", "Categorical", "Enum"}
