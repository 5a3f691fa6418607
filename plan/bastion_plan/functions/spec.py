"""What the registry says of a function: one entry, read by every other part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bastion_plan.dtypes import DType


class Flow(StrEnum):
    """How information of the rows moves through a function; the guard's view of it."""

    ELEMENTWISE = "elementwise"  # one row in, one row out, no other row seen
    COUNT = "count"  # number of rows, of non-nulls, of distinct units
    SUM = "sum"  # sum, mean: linear in the rows
    SPREAD = "spread"  # var, std, cov, corr: sums of squares and products
    ORDER = "order"  # median, quantile: an order statistic
    EXTREME = "extreme"  # min, max
    TIED = "tied"  # mode, unique, value_counts: a value held by many
    ROW = "row"  # first, last, implode, str.join …: carries single rows
    WINDOW = "window"  # reads other rows of the frame (shift, cum_sum, rolling …): order-dependent
    GENERATOR = "generator"  # makes values out of nothing (int_range, lit)
    FILTER = "filter"  # chooses rows inside an expression (filter, drop_nulls, head …)


#: flow classes whose functions reduce a column to one value
REDUCING = frozenset({Flow.COUNT, Flow.SUM, Flow.SPREAD, Flow.ORDER, Flow.EXTREME})


class Shape(StrEnum):
    """How many rows come out, for n rows in."""

    SAME = "same"  # n
    ONE = "one"  # 1
    ANY = "any"  # data-dependent


@dataclass(frozen=True, slots=True)
class Arg:
    """An expression argument; its name is Polars' parameter name (the first argument of a method is "input").

    accepts: a class of dtypes, in words a message can use ("numeric", "string or binary", "list of any", …, "any");
        see `bastion_plan.functions.accepts`.
    constant: must be a literal. optional: may be left out; a null literal in its place means the same.
    variadic: takes the rest of the arguments (only the last one may).
    string_is_column: whether a bare Python string means a column (Polars' rule for that argument) or a literal.
    keyword: Polars takes it by keyword only.
    scalar: one value for the whole column (a constant or an aggregate), not one per row.
    each_row: one value per row; a constant or an aggregate does not fit.
    list_is_column: a literal list means a column of values, not one list (Polars' rule for that argument).
    """

    name: str
    accepts: str = "any"
    constant: bool = False
    optional: bool = False
    variadic: bool = False
    string_is_column: bool = False
    keyword: bool = False
    list_is_column: bool = False
    scalar: bool = False
    each_row: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """A constant option: kind is "bool", "int", "float", "str", "number", "strings", "numbers", "bools", "dtype" or "any".

    choices: the allowed values, if they are few. A dtype is held in the packed form of `bastion_plan.functions.packing`.
    maximum: the largest allowed number, where a larger one could exhaust the server.
    """

    name: str
    kind: str
    default: Any = None
    nullable: bool = False
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    required: bool = False
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """What a result rule is given of one call.

    dtypes, names: of the arguments. values: constants of literal arguments, `UNKNOWN` for the others.
    options: all of them, defaults filled in.
    """

    dtypes: tuple[DType, ...]
    names: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def first(self) -> DType:
        """The dtype of the first argument (the input of a method)."""
        return self.dtypes[0]


class _Unknown:
    """The value of an argument that is not a literal."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()

#: result dtype of a call; raises BindError where the combination of dtypes means nothing
DTypeRule = Callable[[Given], DType]
#: what happens to nulls, unless an entry says something else
NULL_STAYS = "a null stays null"


@dataclass(frozen=True, slots=True)
class Function:
    """One registered function.

    name: Polars' name with its namespace ("mean", "str.contains", "dt.year"); top-level functions of `pl` that are not
    methods start with "pl." ("pl.len", "pl.concat_str").
    flow_reason: one line, why the flow class is what it is.
    nulls: one line, what happens to nulls.
    null_stays: whether the result of a row is null wherever a value of it is, in any argument. The default of `nulls` says so; an entry
        that has a line of its own says it beside.
    method: False for `pl.` functions.
    aliases: other spellings that the builder and the translators accept.
    sql: names under which the SQL front end offers it.
    output_name: the fixed name of the result; None: the name of the first argument.
    """

    name: str
    args: tuple[Arg, ...]
    result: DTypeRule
    flow: Flow
    flow_reason: str
    doc: str
    options: tuple[Option, ...] = ()
    shape: Shape = Shape.SAME
    nulls: str = NULL_STAYS
    null_stays: bool = False
    method: bool = True
    aliases: tuple[str, ...] = ()
    sql: tuple[str, ...] = ()
    output_name: str | None = None

    def __post_init__(self) -> None:
        if self.nulls == NULL_STAYS:
            object.__setattr__(self, "null_stays", True)

    @property
    def namespace(self) -> str:
        """The part before the dot: "str", "dt", "list", … or an empty string; "pl" for top-level functions."""
        return self.name.rpartition(".")[0]

    @property
    def short_name(self) -> str:
        """The part after the dot: what is called on the expression, the namespace or `pl`."""
        return self.name.rpartition(".")[2]

    @property
    def polars_json(self) -> tuple[str, ...]:
        """Paths under which `Expr.meta.serialize(format="json")` shows it, such as "Function/StringExpr/Contains"."""
        from bastion_plan.functions.polars_tags import TAGS

        return TAGS.get(self.name, ())

    def option(self, name: str) -> Option | None:
        """Return the option of that name, or None."""
        return next((o for o in self.options if o.name == name), None)

    def with_defaults(self, options: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        """Return all options, those left out at their default."""
        return {o.name: o.default for o in self.options} | dict(options)
