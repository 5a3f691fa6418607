"""Selectors and expressions over many columns: the same columns, names and types as Polars expands them to."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import polars as pl
import polars.selectors as cs
import pytest
from bastion_plan import dtypes as dt
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.dtypes import DType
from bastion_plan.errors import BindError, LimitError, PlanError
from bastion_plan.expressions import Alias, Call, Column, Literal, NameChange, Over, Selector, Ternary
from bastion_server.engine.dtypes import from_polars
from plan_strategies import T, c, f, lit, named, random_frame, sel, through

FRAME = random_frame(3, 12)
C = pl.col
MANY = pl.DataFrame(
    schema={
        "a": pl.Int64, "b": pl.Float32, "Ab": pl.UInt8, "s": pl.String, "date": pl.Date, "ts": pl.Datetime("us"),
        "tz": pl.Datetime("ms", "UTC"), "du": pl.Duration("ns"), "t": pl.Time, "dec": pl.Decimal(10, 2), "cat": pl.Categorical,
        "en": pl.Enum(["x"]), "l": pl.List(pl.Int8), "ar": pl.Array(pl.Int8, 2), "st": pl.Struct({"x": pl.Int8}), "bin": pl.Binary,
        "n": pl.Null, "bool": pl.Boolean, "i128": pl.Int128, "": pl.Int8,
    }
)  # fmt: skip


def union(*of: Selector) -> Selector:
    return Selector("union", of=of)


SELECTORS: dict[str, tuple[Any, Any]] = {
    "all": (sel("all"), pl.all()),
    "star": (c("*"), C("*")),
    "by name, in the order given": (sel("by_name", "s", "a"), C("s", "a")),
    "by name, repeated": (sel("by_name", "s", "s"), C("s", "s")),
    "by name with a pattern": (sel("by_name", "^(b|a)$", "s"), C("^(b|a)$", "s")),
    "pattern": (c("^.*b$"), C("^.*b$")),
    "pattern of nothing": (c("^zzz$"), C("^zzz$")),
    "exclude": (sel("exclude", "a", "missing", "^d.*$"), pl.exclude("a", "missing", "^d.*$")),
    "exclude types": (Selector("exclude", dtypes=(dt.STRING, DType("Datetime"))), pl.exclude(pl.String, pl.Datetime)),
    "by type": (Selector("by_dtype", dtypes=(dt.STRING, dt.INT64)), cs.by_dtype(pl.String, pl.Int64)),
    "by type of any unit": (Selector("by_dtype", dtypes=(DType("Datetime"),)), cs.by_dtype(pl.Datetime)),
    "by type of one unit": (Selector("by_dtype", dtypes=(dt.datetime("us"),)), cs.by_dtype(pl.Datetime("us"))),
    "by type list": (Selector("by_dtype", dtypes=(DType("List"),)), cs.by_dtype(pl.List)),
    "regex": (sel("regex", "^a|t$"), cs.matches("^a|t$")),
    "regex, unanchored": (sel("regex", "a"), cs.matches("a")),
    "regex, case folded": (sel("regex", "(?i)^a"), cs.matches("(?i)^a")),
    "regex, classes": (sel("regex", r"^[a-c]\w?$"), cs.matches(r"^[a-c]\w?$")),
    "starts with": (sel("starts_with", "a", "d"), cs.starts_with("a", "d")),
    "ends with": (sel("ends_with", "t", "b"), cs.ends_with("t", "b")),
    "contains": (sel("contains", "at", "."), cs.contains("at", ".")),
    "first": (sel("first"), cs.first()),
    "last": (sel("last"), cs.last()),
    "by index": (sel("by_index", 2, 0, -1), cs.by_index(2, 0, -1)),
    "union": (union(sel("by_name", "s"), sel("by_name", "a")), cs.by_name("s") | cs.by_name("a")),
    "intersection": (Selector("intersection", of=(sel("by_class", "numeric"), sel("contains", "a"))), cs.numeric() & cs.contains("a")),
    "difference": (Selector("difference", of=(sel("all"), sel("by_class", "temporal"))), cs.all() - cs.temporal()),
    "either": (Selector("symmetric_difference", of=(sel("contains", "a"), sel("contains", "t"))), cs.contains("a") ^ cs.contains("t")),
    "complement": (Selector("complement", of=(sel("by_name", "a", "s"),)), ~cs.by_name("a", "s")),
    **{
        kind: (sel("by_class", kind), getattr(cs, kind)())
        for kind in ["numeric", "integer", "signed_integer", "unsigned_integer", "float", "string", "boolean", "temporal", "date", "datetime", "duration", "time", "categorical", "nested", "list", "array", "struct", "binary", "decimal", "enum"]
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SELECTORS)
def test_columns_as_polars_picks_them(name: str) -> None:
    ours, polars = SELECTORS[name]
    bound, _ = through(n.Select(T, (ours,)), {"t": MANY})
    assert list(bound.schema) == MANY.lazy().select(polars).collect_schema().names()


EXPRESSIONS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "literal first": (f("add", 1, c("k")), lambda: 1 + C("k")),
    "alias then prefix": (NameChange(named("z", c("k")), "prefix", ("x_",)), lambda: C("k").alias("z").name.prefix("x_")),
    "prefix then alias": (named("q", NameChange(c("k"), "prefix", ("x_",))), lambda: C("k").name.prefix("x_").alias("q")),
    "prefix and suffix": (NameChange(NameChange(c("k"), "prefix", ("a",)), "suffix", ("b",)), lambda: C("k").name.prefix("a").name.suffix("b")),
    "keep": (NameChange(named("z", c("k")), "keep"), lambda: C("k").alias("z").name.keep()),
    "keep after a literal": (NameChange(named("z", f("add", 1, c("y"))), "keep"), lambda: (1 + C("y")).alias("z").name.keep()),
    "upper": (NameChange(sel("by_class", "float"), "to_uppercase"), lambda: cs.float().name.to_uppercase()),
    "lower": (NameChange(named("ÄB", c("k")), "to_lowercase"), lambda: C("k").alias("ÄB").name.to_lowercase()),
    "replace": (NameChange(c("i8"), "replace", ("i", "j.")), lambda: C("i8").name.replace("i", "j.", literal=True)),
    "inner alias": (f("add", named("z", c("k")), c("i")), lambda: C("k").alias("z") + C("i")),
    "inner prefix": (f("add", NameChange(c("k"), "prefix", ("z",)), c("i")), lambda: C("k").name.prefix("z") + C("i")),
    "conditional": (Ternary(f("gt", c("k"), 1), c("y"), c("i")), lambda: pl.when(C("k") > 1).then("y").otherwise("i")),
    "conditional literal": (Ternary(c("b"), lit(1), c("i")), lambda: pl.when("b").then(1).otherwise("i")),
    "len": (f("pl.len"), pl.len),
    "len plus": (f("add", f("pl.len"), 1), lambda: pl.len() + 1),
    "side by side": (f("add", sel("by_class", "float"), sel("by_class", "float")), lambda: cs.float() + cs.float()),
    "one against many": (f("sub", sel("by_class", "float"), c("k")), lambda: cs.float() - C("k")),
    "many in a conditional": (Ternary(c("b"), sel("by_class", "float"), lit(0.0)), lambda: pl.when("b").then(cs.float()).otherwise(0.0)),
    "many over one": (Over(f("sum", sel("by_class", "float")), (c("g"),)), lambda: cs.float().sum().over("g")),
    "none": (f("sum", sel("by_class", "decimal")), lambda: cs.decimal().sum()),
    "many in one": (f("pl.sum_horizontal", sel("by_name", "k", "i", "y")), lambda: pl.sum_horizontal("k", "i", "y")),
    "many in one struct": (f("pl.struct", sel("by_name", "k", "s")), lambda: pl.struct("k", "s")),
    "many in one text": (f("pl.concat_str", sel("by_name", "s", "g"), separator="-"), lambda: pl.concat_str("s", "g", separator="-")),
    "first of many": (f("pl.coalesce", sel("by_name", "k", "i")), lambda: pl.coalesce("k", "i")),
    "renamed fields": (f("pl.struct", NameChange(sel("by_name", "k", "s"), "suffix", ("2",))), lambda: pl.struct(C("k", "s").name.suffix("2"))),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_names_and_types_as_polars_gives_them(name: str) -> None:
    ours, polars = EXPRESSIONS[name]
    bound, _ = through(n.Select(T, (ours,)), {"t": FRAME})
    wanted = FRAME.lazy().select(polars()).collect_schema()
    assert bound.schema == {column: from_polars(t) for column, t in wanted.items()}


def test_bound_expressions_are_columns_and_aliases() -> None:
    plan = n.GroupBy(T, (c("g"), f("mod", c("i"), 2)), (sel("by_name", "k"), f("mean", sel("by_class", "float"))))
    bound, _ = through(plan, {"t": FRAME})
    assert isinstance(bound.root, n.GroupBy)
    made = (*bound.root.keys, *bound.root.aggs)
    assert all(isinstance(e, Column | Alias) for e in made)
    assert [e.name for e in made if isinstance(e, Column | Alias)] == list(bound.schema)
    assert "sel" not in str(bound.root)
    assert "NameChange" not in str(bound.root)


def bind_over(names: list[str], *exprs: Any) -> Any:
    facts = SimpleNamespace(schema=dict.fromkeys(names, dt.INT64), plan=None)
    return bind(n.Select(T, exprs), {"t": facts})


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*b", "a*a*a*a*a*a*a*a*b", "(.*)*(.*)*c", "^(([a-z])+.)+[A-Z]([a-z])+$"]
)
def test_patterns_take_linear_time(pattern: str) -> None:
    start = time.process_time()
    assert next(iter(bind_over(["a" * 5000, "x"], f("pl.len"), sel("regex", pattern)).schema)) == "len"
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "pattern", ["(", "a(?=b)", r"(a)\1", "a{5000}", "((a{90}){90}){90}", "x" * 300, "(?P<n", "[z-a]", "*"]
)
def test_patterns_that_are_refused(pattern: str) -> None:
    with pytest.raises(BindError) as caught:
        bind_over(["a"], sel("regex", pattern))
    assert caught.value.code == "plan.bind.pattern"


@pytest.mark.parametrize("bad", ["^sec.*$", "*", "^$"])
def test_no_column_can_be_named_like_a_pattern(bad: str) -> None:
    schema = {"k": dt.INT64, "secret": dt.INT64, "st": DType("Struct", fields=((bad, dt.INT64),))}
    catalogue = {
        "t": SimpleNamespace(schema=schema, plan=None),
        "bad": SimpleNamespace(schema={bad: dt.INT64}, plan=None),
    }
    half = bad[: len(bad) // 2]
    plans = [
        n.Scan("bad"),
        n.Select(T, (named(bad, c("k")),)),
        n.WithColumns(T, (named(bad, c("k")),)),
        n.GroupBy(T, (named(bad, c("k")),)),
        n.GroupBy(T, (c("k"),), (named(bad, f("pl.len")),)),
        n.Select(T, (NameChange(named(bad[1:], c("k")), "prefix", (bad[0],)),)),
        n.Select(T, (NameChange(named("k", c("k")), "replace", ("k", bad)),)),
        n.WithRowIndex(T, bad),
        n.Unpivot(T, (c("k"),), (), bad),
        n.Unpivot(T, (c("k"),), (), "v", bad),
        n.Pivot(n.Select(T, (c("k"), named("g", Literal(dt.STRING, "x")))), "g", (bad,), (), ("k",)),
        n.Unnest(T, (c("st"),)),
        n.Inline((n.InlineColumn(bad, dt.INT64, (1,)),)),
        n.Join(
            n.Select(T, (named(half, c("k")),)), n.Select(T, (named(half, c("k")),)), "cross", suffix=bad[len(half) :]
        ),
        n.Rolling(T, named(bad, c("k")), "2i"),
    ]
    for plan in plans:
        with pytest.raises(BindError) as caught:
            bind(plan, catalogue)
        assert caught.value.code == "plan.bind.name", plan


@pytest.mark.parametrize(
    "expr",
    [
        f("add", sel("all"), Literal(dt.list_of(dt.INT8), (1,) * 2000)),
        Over(Column("c0"), (*tuple(Column(f"c{i}") for i in range(1000)), sel("all"))),
        f("pl.struct", *[sel("all")] * 2000),
        NameChange(f("add", sel("all"), f("pl.sum_horizontal", *[c("c1")] * 5000)), "suffix", ("x",)),
    ],
)
def test_growth_is_bounded_before_it_happens(expr: Any) -> None:
    start = time.process_time()
    with pytest.raises(LimitError) as caught:
        bind_over([f"c{i}" for i in range(1000)], expr)
    assert caught.value.code == "plan.limit.expansion"
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("expr", "code"),
    [
        (f("add", sel("all"), sel("by_index", 0, 1)), "plan.bind.selector"),
        (sel("by_name", "a", "zz"), "plan.bind.column"),
        (sel("by_index", 7), "plan.bind.column"),
        (sel("by_index", 0, 0), "plan.bind.duplicate"),
        (sel("by_index", "a"), "plan.bind.selector"),
        (sel("by_name", 1), "plan.bind.selector"),
        (sel("no_such_kind"), "plan.bind.selector"),
        (sel("by_class", "numerics"), "plan.bind.selector"),
        (Selector("complement"), "plan.bind.selector"),
        (NameChange(lit(1), "keep"), "plan.bind.name"),
        (NameChange(c("a"), "prefix"), "plan.bind.name"),
        (NameChange(c("a"), "shout"), "plan.bind.name"),
        (named("z", sel("all")), "plan.bind.duplicate"),
        (Call("nope", (c("a"),)), "plan.bind.function"),
    ],
)
def test_expansions_that_are_refused(expr: Any, code: str) -> None:
    with pytest.raises(PlanError) as caught:
        bind_over(["a", "b", "c"], expr)
    assert caught.value.code == code
