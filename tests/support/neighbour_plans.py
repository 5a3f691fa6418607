"""Random tables of people, plans over them and statistics: grown step by step, and only as far as the private profile takes them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.canonical import decode, encode
from bastion_plan.dtypes import BOOLEAN, DYN_FLOAT, DYN_INT, FLOAT64, INT64, STRING, DType
from bastion_plan.errors import BastionError
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Column, Expr, Literal, Ternary
from bastion_plan.functions.calls import make_call
from bastion_plan.functions.registry import find
from bastion_policy.model import Policy
from bastion_policy.private.functions import CASTS, TOTAL
from bastion_policy.private.rows import Refused, RowTyping
from bastion_policy.roles import measure, quasi
from noisy import Desk, Table

PEOPLE = 4
ODD = [
    math.nan,
    math.inf,
    -math.inf,
    1e308,
    -1e308,
    5e-324,
    -0.0,
    0.0,
    1e16,
    2.0**53 + 2,
    49.0,
    0.1,
    0.3,
    7.0,
    -5.0,
    0.3,
    49.0,
]
WHOLE = [0, 1, -1, 3, 7, 49, -5, 2**63 - 1, -(2**63), 2**53 + 1, 2**53]
WORDS = ["a", "b", "c", "d", "", "A", "ß", "1", "-2.5"]
TICKS = [0, 1, 10**15, -(2**63), 2**63 - 1]
#: names of computed columns, few, so that they meet each other and those that joins make
NAMES = ["x", "y", "i", "g", "b", "v", "w", "pid", "x_right", "v_right", "pid_right", "g_right", "i_right"]
#: the engine cuts a table into so many pieces; of one row more, some have one and some have several
PIECES = pl.thread_pool_size()
NUMBERS = frozenset({"x", "y", "f", "i", "j", "u"})
FUNCTIONS = sorted(TOTAL)
#: taken more often: what rows and their bits depend on
FAVOURITES = ["truediv", "floordiv", "mod", "mul", "add", "sub", "eq", "lt", "is_in", "fill_null", "and_", "floor"]
TYPES = [
    *(DType(k) for k in sorted(CASTS - {"Datetime", "Duration"})), DType("Datetime", unit="us"), DType("Duration", unit="ms"),
]  # fmt: skip
STEPS = ["filter", "with", "with", "pieced", "pieced", "select", "drop", "sort", "reverse", "fill", "inline", "people", "people", "people", "per", "per"]  # fmt: skip
ROLES = {
    "pid": "identifier", "g": quasi("a", "b", "c"), "x": measure(-100, 300), "i": measure(-5, 10), "y": measure(0, 50),
    "j": measure(-5, 5), "u": measure(0, 9), "f": measure(-2, 60),
}  # fmt: skip
STATISTICS = ["sum", "sum", "mean", "var", "std", "count", "null_count", "len", "n_unique", "median", "quantile"]
TABLES = "tuv"


def people_in(names: list[str]) -> list[str]:
    """Columns that may say whose a row is, by their names."""
    return [c for c in names if c.startswith("pid") or c.endswith("_right")] or names


class Maker:
    """Makes tables, plans and statistics, the same ones of one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.desk = self._desk()
        self.facts = self.desk.facts

    # -- tables

    def _some(self, values: list[Any], size: int, nulls: float = 0.15) -> list[Any]:
        return [None if self.rng.random() < nulls else self.rng.choice(values) for _ in range(size)]

    def _desk(self) -> Desk:
        rows, groups = self.rng.choice([(1, 1), (1, 1), (2, 1), (1, 2), (2, 2), (3, 2)])
        return Desk({name: self._table(rows, groups) for name in TABLES})

    def _table(self, rows: int, groups: int) -> Table:
        r = self.rng
        size, once = r.choice([0, 1, 2, 3, 5, 9, PIECES + 1, PIECES + 2]), r.random() < 0.4
        pids = r.sample(range(PEOPLE), min(size, PEOPLE)) if once else self._some(list(range(PEOPLE)), size, 0.1)

        def column(values: list[Any], dtype: Any) -> pl.Series:
            return pl.Series(self._some(values, len(pids)), dtype=dtype)

        columns = {
            "g": column(WORDS[:4], pl.String), "h": column(WORDS, pl.String), "x": column(ODD, pl.Float64), "y": column(ODD, pl.Float64),
            "f": column([1.5, 0.1, 49.0, math.nan, -0.0, 3.4e38], pl.Float32), "i": column(WHOLE, pl.Int64),
            "j": column([0, 1, -128, 127, 5], pl.Int8), "u": column([0, 1, 2**64 - 1, 2**53, 2**53 + 1], pl.UInt64),
            "b": column([True, False], pl.Boolean), "d": column([0, 1, 18_000, -(2**31), 2**31 - 1], pl.Int32).cast(pl.Date),
            "ts": column(TICKS, pl.Int64).cast(pl.Datetime("us")), "n": column(TICKS, pl.Int64).cast(pl.Duration("ns")),
            "c": column(["a", "b", "c"], pl.Categorical), "e": column(["a", "b"], pl.Enum(["a", "b"])),
        }  # fmt: skip
        kept = r.sample(list(columns), r.randint(2, 8))
        frame = pl.DataFrame({"pid": pl.Series(pids, dtype=pl.Int64), **{c: columns[c] for c in kept}})
        roles = {c: ROLES.get(c, "quasi") for c in frame.columns}
        policy = Policy.private(1.0, 1e-6, unit="pid", max_rows=rows, max_groups=groups, roles=roles)
        return Table(frame, msgspec.structs.replace(policy, rows_per_unit=1) if once else policy, "pid", "people")

    # -- expressions

    def literal(self) -> Literal:
        """Make a constant."""
        r = self.rng
        dtype, value = r.choice([
            (DYN_INT, r.choice([0, 1, 2, 3, 7, 49, -1])), (DYN_FLOAT, r.choice([0.0, 0.5, 0.1, 3.0, 7.0, 1e300, -1.0])),
            (STRING, r.choice(WORDS)), (BOOLEAN, r.random() < 0.5), (INT64, r.choice([0, 1, 97])), (FLOAT64, r.choice([0.0, 1.0, 49.0])),
            (DType("List", inner=INT64), tuple(r.sample([0, 1, 3, 7], 2))), (DType("List", inner=STRING), ("a", "c")),
        ])  # fmt: skip
        return Literal(dtype, value)

    def expr(self, names: list[str], depth: int = 3) -> AnyExpr:
        """Make an expression over columns."""
        r, dice = self.rng, self.rng.random()
        if depth <= 0 or dice < 0.22:
            return Column(r.choice(names)) if r.random() < 0.8 else self.literal()
        if dice < 0.3:
            return Cast(self.expr(names, depth - 1), r.choice(TYPES), strict=r.random() < 0.5)
        if dice < 0.36:
            return Ternary(*(self.expr(names, depth - 1) for _ in range(3)))
        if dice < 0.48:
            return self._pieced(names)
        return self._call(r.choice(FUNCTIONS if r.random() < 0.75 else FAVOURITES), names, depth)

    def _pieced(self, names: list[str]) -> AnyExpr:
        """Arithmetic whose bits would depend on the pieces that the engine cuts tables into."""
        r, numbers = self.rng, [c for c in names if c in NUMBERS] or names
        number, other = Column(r.choice(numbers)), Column(r.choice(numbers))
        constant = Literal(
            *r.choice([(DYN_FLOAT, 0.1), (DYN_FLOAT, 3.0), (DYN_INT, 49), (FLOAT64, 7.0), (DYN_FLOAT, 0.0)])
        )
        condition = Call(r.choice(["is_null", "is_not_null"]), (other,))
        divisor = r.choice([constant, constant, other, Ternary(condition, constant, Literal(FLOAT64, 0.1))])
        quotient = Call(r.choice(["truediv", "floordiv", "mod"]), (number, divisor))
        total = Call(r.choice(["add", "sub", "pl.sum_horizontal", "pl.mean_horizontal"]), (number, divisor))
        return r.choice([quotient, quotient, Call("truediv", (constant, total)), Cast(total, STRING, strict=False)])

    def _call(self, name: str, names: list[str], depth: int) -> AnyExpr:
        r, function = self.rng, find(name)
        assert function is not None
        args: list[AnyExpr] = []
        for arg in function.args:
            if arg.optional and r.random() < 0.3:
                break
            for _ in range(r.randint(1, 2) if arg.variadic else 1):
                constant = arg.constant or (args and r.random() < 0.35)
                args.append(self.literal() if constant else self.expr(names, depth - 1))
        options = {o.name: r.choice(o.choices) for o in function.options if o.choices and r.random() < 0.5}
        try:
            return make_call(name, args, options)
        except BastionError:
            return Call(name, tuple(args))

    # -- plans

    def plan(self) -> tuple[n.AnyNode, list[str]]:
        """Make a plan of people's rows; what does not bind or is refused is left out. Returns its columns, too."""
        left = self.rng.sample(TABLES, len(TABLES))
        plan: n.AnyNode = n.Scan(left.pop())
        names = list(self.facts[plan.dataset].schema)
        for _ in range(self.rng.randint(0, 6)):
            before = list(left)
            grown = self._grown(plan, names, left)
            if (taken := self._taken(grown)) is not None:
                plan, names = grown, taken
            else:
                left[:] = before
        return plan, names

    def _taken(self, plan: n.AnyNode) -> list[str] | None:
        """The names of columns, where people's rows may come to that."""
        try:
            bound = bind(decode(encode(plan)), self.facts)
            RowTyping(bound, self.facts, 3).rows(bound.root)
        except (BastionError, Refused, RecursionError):
            return None
        return list(bound.schema)

    def _grown(self, plan: n.AnyNode, names: list[str], left: list[str]) -> n.AnyNode:
        r = self.rng
        match r.choice(STEPS):
            case "filter":
                return n.Filter(plan, self.expr(names))
            case "with":
                made = (Alias(self.expr(names), r.choice([*NAMES, *names])) for _ in range(r.randint(1, 2)))
                return n.WithColumns(plan, tuple(made))
            case "pieced":
                return n.WithColumns(plan, (Alias(self._pieced(names), r.choice(["x", "y", "w"])),))
            case "select":
                kept = tuple(Column(c) for c in r.sample(names, r.randint(1, len(names))))
                some = [r.choice([Column(r.choice(names)), self.expr(names)]) for _ in range(r.randint(0, 2))]
                return n.Select(plan, (*kept, *(Alias(e, r.choice(NAMES)) for e in some)))
            case "drop":
                return n.DropNulls(plan, r.choice([None, (Column(r.choice(names)),)]), nans=r.random() < 0.3)
            case "sort":
                return n.Sort(plan, (self.expr(names),))
            case "reverse":
                return n.Reverse(plan)
            case "fill":
                return n.FillNull(plan, self.literal(), nans=r.random() < 0.2)
            case "inline":
                return self._labelled(plan, names)
            case "people" if left:
                return self._joined(plan, names, left)
            case "per":
                return self._per_person(plan, names)
        return plan

    def _labelled(self, plan: n.AnyNode, names: list[str]) -> n.AnyNode:
        """A join with a table of one's own."""
        r = self.rng
        dtype, values = r.choice([
            (INT64, (0, 1, 2)), (DType("Int8"), (0, 1, 2)), (DType("UInt64"), (0, 1, 2)), (STRING, ("a", "b", "c")), (BOOLEAN, (True, False)),
            (INT64, (2**53, 2**53 + 1, 1)), (DType("UInt64"), (2**53, 2**53 + 1, 1)), (INT64, (0, 1, None)), (STRING, ("a",)),
        ])  # fmt: skip
        labels = self.rng.choice([tuple(range(len(values))), tuple([0] * len(values))])
        key, label = r.choice(NAMES), r.choice(NAMES)
        right = n.Inline((n.InlineColumn(key, dtype, values), n.InlineColumn(label, INT64, labels)))
        how, suffix = r.choice(["inner", "left", "semi", "anti"]), r.choice(["_right", "_right", "t"])
        return n.Join(plan, right, how, (Column(r.choice(names)),), (Column(key),), nulls_equal=r.random() < 0.3,
                      coalesce=r.choice([None, None, True, False]), suffix=suffix)  # fmt: skip

    def _joined(self, plan: n.AnyNode, names: list[str], left: list[str]) -> n.AnyNode:
        """A join with another table of people, which had some steps of its own."""
        r = self.rng
        other: n.AnyNode = n.Scan(left.pop())
        there = list(self.facts[other.dataset].schema)
        for _ in range(r.randint(0, 2)):
            grown = self._grown(other, there, left if r.random() < 0.3 else [])
            if (taken := self._taken(grown)) is not None:
                other, there = grown, taken
        both = [c for c in there if c in names and c != "pid"]
        if both and "pid" in there and r.random() < 0.4:
            # a key that is called as a column that stands on both sides is going to be
            clash = f"{r.choice(both)}_right"
            kept = tuple(Column(c) for c in there if c not in ("pid", clash))
            renamed = n.Select(other, (*kept, Alias(Column("pid"), clash)))
            if (taken := self._taken(renamed)) is not None:
                other, there = renamed, taken
        left_on: list[AnyExpr] = [Column(r.choice(people_in(names)))]
        right_on: list[AnyExpr] = [Column(r.choice(people_in(there)))]
        if r.random() < 0.3:
            left_on.append(r.choice([Column(r.choice(names)), self.expr(names, 1)]))
            right_on.append(r.choice([Column(r.choice(there)), self.expr(there, 1)]))
        how = r.choice(["inner", "inner", "left", "semi", "anti"])
        return n.Join(plan, other, how, tuple(left_on), tuple(right_on), nulls_equal=r.random() < 0.2,
                      coalesce=r.choice([None, None, None, True, False]))  # fmt: skip

    def _per_person(self, plan: n.AnyNode, names: list[str]) -> n.AnyNode:
        r = self.rng
        keys: list[AnyExpr] = [Column(r.choice(people_in(names)))]
        if r.random() < 0.4:
            keys.append(Alias(self.expr(names), r.choice(NAMES)))
        whole = ["pl.len", "sum", "min", "max", "count"]
        aggs = [(f, (Column(r.choice(names)),)) for f in (r.choice(whole) for _ in range(r.randint(1, 3)))]
        made = (Call(f, () if f == "pl.len" else args) for f, args in aggs)
        return n.GroupBy(plan, tuple(keys), tuple(Alias(a, c) for a, c in zip(made, r.sample(NAMES, 3), strict=False)))

    # -- statistics

    def asked(self, plan: n.AnyNode, names: list[str]) -> n.AnyNode:
        """Make a table of statistics of a plan's rows."""
        r = self.rng
        made: list[Callable[[], AnyExpr]] = [lambda: self._statistic(names)] * 6 + [lambda: Call("pl.len")]
        wanted = tuple(Alias(r.choice(made)(), f"s{k}") for k in range(r.randint(1, 3)))
        if r.random() < 0.5:
            return n.Select(plan, wanted)
        keys = (self.expr(names, 1) if r.random() < 0.4 else Column(r.choice(names)) for _ in range(r.randint(1, 2)))
        return n.GroupBy(plan, tuple(Alias(k, f"k{i}") for i, k in enumerate(keys)), wanted)

    def _statistic(self, names: list[str]) -> Expr:
        r = self.rng
        arg: AnyExpr = self.expr(names, 2) if r.random() < 0.5 else Column(r.choice(names))
        if r.random() < 0.4:
            low = r.choice([0, -3, 5])
            arg = Call("clip", (arg, Literal(DYN_INT, low), Literal(DYN_INT, low + r.choice([1, 7]))))
        if r.random() < 0.3:
            arg = r.choice([Call("drop_nulls", (arg,)), *(Call("filter", (arg, self.expr(names, 2))) for _ in "12")])
        name = r.choice(STATISTICS)
        return make_call(name, [arg], {"quantile": r.choice([0.05, 0.5, 0.9])} if name == "quantile" else {})
