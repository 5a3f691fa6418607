"""Random tables, policies and sequences of queries, drawn by hypothesis from the registry."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import polars
from bastion_plan.errors import BindError
from bastion_plan.expressions import Call
from bastion_plan.functions.registry import all_functions
from bastion_plan.functions.spec import Flow, Shape
from bastion_policy.model import (
    Aggregation,
    AtLeastNOf,
    Dominance,
    Homogeneity,
    LinearAudit,
    Policy,
    Reject,
    Review,
    Role,
    Rounding,
    Suppress,
    TrueRule,
    UserId,
    measure,
)
from bastion_server.engine.dtypes import from_polars
from generators import random_call
from hypothesis import strategies as st
from msgspec import structs
from query import Q, concat, inline

import bastion.expressions as pl
from bastion.expr.core import Expr

ROLES: dict[str, Role | str] = {
    "id": "identifier", "name": "hidden", "age": "quasi", "town": "quasi", "sex": "quasi", "flag": "quasi",
    "pay": measure(0, 100), "debt": Role("measure"), "visits": Role("measure"), "gain": measure(-50, 50),
    "sick": "sensitive", "job": "sensitive", "day": "quasi",
}  # fmt: skip
OTHER_ROLES: dict[str, Role | str] = {"id": "identifier", "score": measure(0, 50), "ward": "quasi"}
#: columns of which people with several rows have one number each, unless their role says that they vary
SECRET = ("pay", "debt", "visits", "gain", "sick", "job")
#: functions of the registry that the queries take at random
ROWWISE = tuple(f for f in all_functions() if f.flow is Flow.ELEMENTWISE and f.shape is Shape.SAME)
REDUCING = tuple(
    f for f in all_functions() if f.flow in (Flow.ROW, Flow.EXTREME, Flow.COUNT, Flow.SPREAD, Flow.ORDER, Flow.SUM)
)
ORDERED = tuple(f for f in all_functions() if f.flow in (Flow.WINDOW, Flow.FILTER))


def table(rows: int, seed: int, per_unit: int, skew: bool, *, panel: bool = False) -> polars.DataFrame:
    """People with numbers, categories, bits and nulls; `per_unit` rows per person on average.

    panel: each has one row in each of as many months, and most of what a person's rows hold is the same in all.
    """
    rng = np.random.default_rng(seed)
    towns = [0.5, 0.3, 0.1, 0.07, 0.03] if skew else [0.2] * 5

    def nulls(values: Any, share: float) -> list[Any]:
        return [None if rng.random() < share else x for x in np.asarray(values).tolist()]

    ids = rng.integers(0, max(1, rows // per_unit), rows) if per_unit > 1 else rng.permutation(rows)
    if panel:
        people = max(1, rows // per_unit)
        rows, ids = people * per_unit, np.tile(np.arange(people), per_unit)
    data = {
        "id": ids + 1000,
        "name": [f"n{i}" for i in range(rows)],
        "age": rng.integers(0, 30, rows),
        "town": nulls(rng.choice(list("abcde"), rows, p=towns), 0.02 if skew else 0.0),
        "sex": rng.choice(["f", "m"], rows),
        "flag": rng.random(rows) < (0.1 if skew else 0.5),
        "pay": rng.uniform(0, 100, rows).round(2),
        "debt": nulls(rng.exponential(50, rows).round(2) ** (1.0 if seed % 3 else 2.0), 0.1),
        "visits": rng.poisson(9, rows),
        "sick": nulls(rng.random(rows) < (0.1 if skew else 0.4), 0.05),
        "job": rng.choice(["x", "y", "z"], rows, p=[0.7, 0.2, 0.1]),
        "day": (np.datetime64("2024-01-01") + rng.integers(0, 300, rows)).astype("datetime64[D]"),
    }
    # most have gained nothing, and some have lost
    data["gain"] = np.where(rng.random(rows) < rng.choice([0.1, 0.6, 0.9]), 0.0, rng.uniform(-50, 50, rows).round(1))
    if panel:
        changed = rng.random(rows) < 0.1
        for name in ("age", "town", "sex", "pay", "debt", "gain", "sick", "job"):
            data[name] = [data[name][i if name in SECRET and changed[i] else i % people] for i in range(rows)]
        data["day"] = np.datetime64("2024-01-10") + 30 * (np.arange(rows) // people)
    return polars.DataFrame(
        data, schema_overrides={"sick": polars.Boolean, "debt": polars.Float64, "town": polars.String}
    )


def other_table(people: Sequence[int], seed: int) -> polars.DataFrame:
    """A second table of the same people, each at most once, some missing."""
    rng = np.random.default_rng(seed + 1)
    ids = sorted(set(people))
    keep = rng.random(len(ids)) < rng.choice([0.5, 0.9, 0.97, 1.0])
    ids = [i for i, k in zip(ids, keep, strict=True) if k] + [5000, 5001]
    return polars.DataFrame(
        {
            "id": ids,
            "score": rng.uniform(0, 50, len(ids)).round(1),
            "ward": rng.choice(["u", "v", "w"], len(ids), p=[0.6, 0.3, 0.1]),
        }
    )


@dataclass
class Case:
    """Two tables, their policies, and what one audience asks, in order."""

    people: polars.DataFrame
    others: polars.DataFrame
    unit: str | None
    policy: Policy
    other_policy: Policy
    queries: list[Q]
    roles: dict[str, Role | str] = field(default_factory=lambda: dict(ROLES))
    most: int = 6
    draws: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)


class Maker:
    """Draws queries. Plain ones are likely, odd ones happen. whole: draws a whole number in a range."""

    def __init__(self, whole: Callable[[int, int], int]) -> None:
        self.whole = whole
        self.filters = self.conditions(4)

    def pick(self, *options: Any) -> Any:
        chosen = options[self.whole(0, len(options) - 1)]
        return chosen() if callable(chosen) and not isinstance(chosen, type) else chosen

    # -- expressions

    def condition(self) -> Any:
        c = pl.col
        return self.pick(
            lambda: c("age") > self.whole(-1, 30),
            lambda: c("age") <= self.whole(-1, 30),
            lambda: c("pay") < self.whole(0, 100),
            lambda: c("town") == self.pick("a", "b", "c", "d", "e", "q"),
            lambda: c("sex") == self.pick("f", "m"),
            lambda: c("flag"),
            lambda: ~c("flag"),
            lambda: c("debt").is_null(),
            lambda: ~(c("age") == self.whole(0, 30)),
            lambda: (c("age") > self.whole(0, 30)) & (c("pay") > self.whole(0, 100)),
            lambda: (c("town") == "a") | (c("age") > self.whole(20, 30)),
            lambda: c("town").is_in(["a", "b"]),
            lambda: c("age").is_between(self.whole(0, 10), self.whole(5, 30)),
            lambda: c("visits") >= self.whole(0, 15),
            lambda: c("day").dt.month() < self.whole(1, 12),
            lambda: c("day").dt.month() == self.whole(1, 4),
            lambda: self.pick(c("sick"), c("id") == self.whole(1000, 1200), c("name") == "n3", c("job") == "x"),
            lambda: c("debt") > c("debt").mean(),
        )

    def conditions(self, count: int) -> list[Any]:
        return [self.condition() for _ in range(count)]

    def again(self) -> Any:
        """A condition that was likely used before, or its like."""
        return self.pick(*[lambda f=f: f for f in self.filters], self.condition, self.condition)

    def number(self) -> Any:
        c = pl.col
        x = c(self.pick("age", "pay", "debt", "visits", "pay"))
        return self.pick(
            x, x, x, x, x, x,
            lambda: x * self.pick(2, -1, 0.5) + self.whole(-3, 9),
            lambda: x + c(self.pick("pay", "visits")),
            lambda: x - c("pay"),
            lambda: self.pick(x.abs, x.log1p, x.sqrt, lambda: x.clip(0, 100), lambda: x.clip(10, 20)),
            lambda: x * c("pay"),
            lambda: (x / 10).floor(),
            lambda: x - x.mean(),
            lambda: x.fill_null(0),
            lambda: pl.when(self.condition()).then(x).otherwise(None),
            lambda: pl.when(self.condition()).then(1).otherwise(0),
            lambda: x.cast(polars.Float64),
            lambda: self.pick(c("day").dt.month(), c("town").str.len_chars(), c("age") & 3, c("name").str.len_chars()),
            lambda: self.pick(lambda: x.mean().over("town"), lambda: x.shift(1).over("id"), lambda: x.shift(1)),
            lambda: self.of_registry(ROWWISE),
        )  # fmt: skip

    def of_registry(self, functions: Sequence[Any]) -> Any:
        """A random call of a registered function over the columns."""
        function = functions[self.whole(0, len(functions) - 1)]
        schema = {n: from_polars(t) for n, t in table(1, 0, 1, False).schema.items() if n not in ("name", "id")}
        try:
            call: Call = random_call(random.Random(self.whole(0, 2**30)), function, schema, 5)
        except (BindError, AssertionError, IndexError, KeyError):
            return pl.col("pay")
        return Expr(call)

    def aggregate(self, i: int) -> Any:
        c = pl.col
        x: Callable[[], Any] = lambda: self.number().filter(self.again()) if self.whole(0, 3) == 0 else self.number()  # noqa: E731
        made = self.pick(
            pl.len, pl.len, lambda: x().sum(), lambda: x().sum(), lambda: x().mean(), lambda: x().mean(),
            lambda: x().std(), lambda: x().var(), lambda: x().median(), lambda: x().min(), lambda: x().max(),
            lambda: x().quantile(self.pick(0.1, 0.5, 0.9)), lambda: x().count(), lambda: x().null_count(),
            lambda: self.condition().sum(), lambda: self.again().mean(),
            lambda: pl.corr("pay", self.pick("debt", "age")), lambda: pl.cov("pay", "visits"),
            lambda: c(self.pick("town", "sex", "job")).min(), lambda: c("id").n_unique(),
            lambda: c(self.pick("town", "age", "job")).n_unique(), lambda: x().sum() / pl.len(),
            lambda: c("pay").sum() - c("debt").sum(), lambda: c("sick").sum(), lambda: c("sick").mean(),
            lambda: c("gain").sum(), lambda: self.statistic(c("gain") * self.pick(1, -2) + self.whole(0, 3)),
            lambda: c("flag").sum(), lambda: self.bit().filter(self.again()).sum(), lambda: self.statistic(self.bit()),
            lambda: self.pick(c("flag").any(), c("sick").any(), c("flag").all(), c("debt").has_nulls()),
            lambda: c("day").max(), lambda: c("town").filter(self.again()).count(),
            lambda: self.pick(x().first, lambda: x().head(3).sum(), lambda: x().sort().head(2).sum()),
            lambda: self.of_registry(REDUCING), lambda: self.of_registry(ORDERED).sum(),
        )  # fmt: skip
        return made.alias(f"a{i}")

    def bit(self) -> Any:
        """A yes-or-no column, in one of the ways that it may be written."""
        x = pl.col(self.pick("flag", "flag", "flag", "sick"))
        return self.pick(
            lambda: x, lambda: x, lambda: x.cast(polars.Int64), lambda: x.cast(polars.Float64) * self.pick(3, -0.5),
            lambda: x * 2 + 1, lambda: pl.when(x).then(1).otherwise(0), lambda: x.cast(polars.Int64).sqrt(),
            lambda: x.fill_null(False), lambda: x.sum().over("id"),
        )  # fmt: skip

    def statistic(self, x: Any) -> Any:
        return getattr(x, self.pick("sum", "sum", "mean", "mean", "var", "std", "min", "max", "count"))()

    def key(self) -> Any:
        c = pl.col
        return self.pick(
            "town", "town", "sex", "age", "flag", "town", "sex",
            lambda: (c("age") // 10).alias("decade"), lambda: c("day").dt.month().alias("month"),
            lambda: (c("age") > self.whole(0, 30)).alias("old"),
            lambda: self.pick("sick", "name", "job", "id", lambda: (c("pay") / 25).floor().alias("band")),
            lambda: pl.when(c("age") > 9).then(pl.lit("o")).otherwise(c("town")).alias("mixed"),
        )  # fmt: skip

    def keys(self) -> list[Any]:
        found: dict[str, Any] = {}
        for _ in range(self.pick(1, 1, 1, 2, 2, 3)):
            key = self.key()
            found.setdefault(key if isinstance(key, str) else key._plan.name, key)
        return list(found.values())

    # -- frames

    def private(self) -> Q:
        q = self.pick(*[Q("t")] * 14, lambda: Q("s").join(Q("t"), on="id"))
        for _ in range(self.pick(0, 0, 1, 1, 1, 2)):
            q = self.step(q)
        return q

    def step(self, q: Q) -> Q:
        labels = lambda: inline({"town": ["a", "b", "c"], "w": [1, 2, self.whole(2, 3)]})  # noqa: E731
        some = lambda: inline({"age": sorted({self.whole(0, 30) for _ in range(self.whole(1, 20))})})  # noqa: E731
        made: Q = self.pick(
            lambda: q.filter(self.again()), lambda: q.filter(self.again()), lambda: q.filter(self.again()),
            lambda: q.filter(self.again()), lambda: q.with_columns(z=self.number()), lambda: q.drop_nulls("debt"),
            lambda: q.sort("age"), lambda: q.join(labels(), on="town", how=self.pick("left", "inner")),
            lambda: concat(q.filter(self.again()), q.filter(self.again())),
            lambda: self.pick(lambda: q.head(7), lambda: q.top_k(5, "pay"), lambda: q.sample(9)),
            lambda: q.join(some(), on="age", how=self.pick("semi", "anti")),
            lambda: q.join(Q("s").select("id", "score", "ward"), on="id"),
            lambda: self.pick(
                q.join(Q("s"), on="id"), lambda: q.join(Q("s").filter(pl.col("ward") == self.pick("u", "v")), on="id"),
                lambda: q.join(Q("s").filter(pl.col("score") > self.whole(0, 50)), on="id")),
            lambda: q.with_columns(m=pl.col("pay").mean().over(self.pick("town", "sex", "age"))),
        )  # fmt: skip
        return made

    def of_others(self) -> Q:
        """A question about the second table alone."""
        q = self.pick(lambda: Q("s"), lambda: Q("s").filter(pl.col("ward") != "u"))
        aggs = [pl.len().alias("n"), self.statistic(pl.col("score")).alias("x")]
        return self.pick(lambda: q.group_by("ward").agg(aggs), lambda: q.select(aggs))

    def query(self) -> Q:
        q = self.private()
        joined = "score" in str(q.plan)
        aggs = [self.aggregate(i) for i in range(self.pick(1, 1, 2, 3))]
        if joined:
            aggs.append(self.pick(pl.col("score").sum(), pl.col("score").mean(), pl.len()).alias("b"))

        def per_unit() -> Q:
            each = q.group_by("id").agg(
                s=self.pick(pl.col("pay").sum(), pl.col("pay").mean()),
                m=pl.col("debt").max(),
                c=pl.len(),
                a=pl.col("age").min(),
            )
            if self.whole(0, 1):
                each = each.filter(pl.col("c") > self.whole(0, 4))
            return self.pick(
                lambda: each.select(pl.col("s").mean(), pl.col("m").mean(), n=pl.col("c").sum()),
                lambda: each.group_by("c").agg(pl.len(), pl.col("s").sum()),
                lambda: each.select(pl.len(), pl.col("s").std()),
            )

        def behind() -> Q:
            inner = q.group_by(self.keys()).agg(n=pl.len(), s=pl.col("pay").sum())
            return self.pick(
                lambda: inner.select(pl.col("n").sum(), pl.col("s").mean()),
                lambda: inner.filter(pl.col("n") > self.whole(0, 40)),
                lambda: inner.with_columns(r=pl.col("s") / pl.col("n")),
                lambda: inner.sort("s", descending=True),
            )

        return self.pick(
            lambda: q.select(aggs), lambda: q.select(aggs), *[lambda: q.group_by(self.keys()).agg(aggs)] * 4,
            lambda: q.select(self.pick(
                lambda: pl.col(self.pick("town", "age", "job", "sick")).value_counts(),
                lambda: pl.col(self.pick("town", "age", "job", "name")).unique(), lambda: pl.col("age").mode())),
            per_unit, behind, lambda: self.pick(q, lambda: q.select("age", "pay"), self.of_others),
        )  # fmt: skip


def policy(pick: Callable[..., Any], profile: str, reservable: Sequence[tuple[str, ...]]) -> Policy:
    """A guarded policy: k, further rules, an action, reserved tables."""
    k = pick(3, 5, 10, 5)

    def more(*rules: Any) -> Any:
        return AtLeastNOf(1 + len(rules), [Aggregation(k), *rules])

    rounding = lambda: more(Rounding(pick(2, 5, 10), pick(2, 3, 4)))  # noqa: E731
    if profile == "strict":
        zone = pick(Aggregation(k), Aggregation(k), Aggregation(k), lambda: more(Dominance(p=pick(0.2, 0.5))), rounding)
    else:
        zone = pick(
            Aggregation(k), Aggregation(k), Aggregation(k),
            lambda: more(Dominance(p=pick(0.2, 0.5))), lambda: more(Homogeneity(pick(2, 5), "all")),
            lambda: AtLeastNOf(1, [UserId("bob"), Aggregation(k)]), rounding, lambda: more(LinearAudit(pairs=True)),
            lambda: more(LinearAudit(tau=pick(0.5, 0.3, 0.1))),
        )  # fmt: skip
    weaken = pick((), (), (), ("dominance",), ("homogeneity",), ("saturation",), ("saturation", "dominance"))
    reserved = pick(*[()] * 9, *((one,) for one in reservable), tuple(reservable[:2]))
    return Policy(
        zone, pick(Review(), Suppress(), Review(), Reject()), weaken=() if profile == "strict" else weaken,
        review_zone=TrueRule(), profile=profile, reserved=reserved,
    )  # fmt: skip


def kinds_of(one: Policy, two: Policy) -> list[str]:
    """What the policies of a case are, for the tally."""
    found = ["two profiles" if one.profile != two.profile else f"the {one.profile} profile"]
    effective = one.effective("alice")
    found += ["rounding by a default policy"] if effective.rounding and one.profile == "default" else []
    audit = effective.linear_audit
    found += ["pairs in a default policy"] if audit and audit.pairs and one.profile == "default" else []
    found += ["a leverage cap"] if audit and audit.tau is not None else []
    return found + (["reserved tables"] if one.reserved else [])


def roles(varies: Sequence[str], pick: Callable[..., Any]) -> dict[str, Role | str]:
    """The roles, of which some are others than usual, and in which some columns vary from row to row of a person."""
    others = pick({}, {}, {}, {"flag": "sensitive"}, {"town": "public", "flag": "public"}, {"age": measure(0, 29)})
    found = {name: Role(role) if isinstance(role, str) else role for name, role in (ROLES | others).items()}
    return {name: structs.replace(role, varies=True) if name in varies else role for name, role in found.items()}


def made(draw: Callable[[int, int], int], most: int) -> Case:
    """A world with one row or several rows per person, and one to `most` queries. draw: a whole number in a range."""
    draws: list[int] = []

    def whole(low: int, high: int) -> int:
        draws.append(draw(low, high))
        return draws[-1]

    rows, seed = whole(30, 200), whole(0, 2**16)
    maker = Maker(whole)
    pick = maker.pick
    per_unit, skew = pick(1, 1, 2, 4), pick(False, True)
    panel = per_unit > 1 and pick(False, True)
    people = table(rows, seed, per_unit, skew, panel=panel)
    unit = "id" if per_unit > 1 else pick(None, "id")
    vary = pick((), SECRET, ("pay", "sick")) if per_unit > 1 else ()
    profile = pick("default", "strict", "default", "strict", "default")
    reservable = [("town",), ("sex",), ("town", "sex"), ("flag",)]
    first = policy(pick, profile, reservable)
    second = policy(pick, pick(profile, profile, "default"), [("ward",)])
    declared = roles(vary, pick)
    queries = [maker.query() for _ in range(whole(1, most))]
    if most > 1 and first.reserved and pick(True, False):
        queries.append(Q("t").group_by(list(first.reserved[-1])).agg(pl.len()))
    others = other_table(people["id"].to_list(), seed)
    kinds = kinds_of(first, second)
    return Case(people, others, unit, first, second, queries, declared, most=most, draws=draws, kinds=kinds)


def drawn(choose: Callable[[], int], most: int) -> Case:
    """The case of given choices."""
    return made(lambda low, high: min(high, max(low, choose())), most)


@st.composite
def cases(draw: st.DrawFn, most: int = 6) -> Case:
    """Worlds with one row or several rows per person, and one to `most` queries."""
    return made(lambda low, high: draw(_between(low, high)), most)


@lru_cache(maxsize=10_000)
def _between(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)
