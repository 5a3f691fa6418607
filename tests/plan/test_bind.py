"""Binding: what is refused, under which code, with which hint; saved frames; what the bound plan promises."""

from __future__ import annotations

import contextlib
import time
from types import SimpleNamespace
from typing import Any

import pytest
from bastion_plan import dtypes as dt
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.canonical import decode, encode
from bastion_plan.dtypes import DType
from bastion_plan.errors import BindError, LimitError, PlanError
from bastion_plan.expressions import Call, Cast, Literal, Over
from hypothesis import HealthCheck, given, settings
from plan_strategies import SEEDS, T, c, f, lit, named, names, plans_strategy, sel

SCHEMA = {
    "k": dt.INT64, "g": dt.STRING, "x": dt.FLOAT64, "b": dt.BOOLEAN, "ts": dt.datetime("us"), "d": dt.DATE,
    "l": dt.list_of(dt.INT8), "st": DType("Struct", fields=(("k", dt.INT8), ("p", dt.STRING))),
}  # fmt: skip
OTHER = {"k": dt.INT64, "m": dt.STRING, "x_right": dt.INT8, "x": dt.INT16}
U = n.Scan("u")


def table(schema: dict[str, DType]) -> SimpleNamespace:
    return SimpleNamespace(schema=schema, plan=None)


def saved(plan: n.Node) -> SimpleNamespace:
    return SimpleNamespace(schema={}, plan=plan)


CATALOGUE: dict[str, Any] = {"t": table(SCHEMA), "u": table(OTHER), "titanic": table({"Pclass": dt.INT64})}

REFUSED: dict[str, tuple[n.Node, str]] = {
    "unknown dataset": (n.Scan("nope"), "plan.bind.dataset"),
    "the judge's table": (n.Scan("#cells"), "plan.bind.dataset"),
    "unknown column": (n.Select(T, (c("kk"),)), "plan.bind.column"),
    "unknown column in a filter": (n.Filter(T, f("gt", c("age"), 1)), "plan.bind.column"),
    "unknown function": (n.Select(T, (Call("maen", (c("k"),)),)), "plan.bind.function"),
    "an alias of a function": (n.Select(T, (Call("average", (c("k"),)),)), "plan.bind.function"),
    "wrong type": (n.Select(T, (Call("str.len_chars", (c("k"),)),)), "plan.bind.types"),
    "no common type": (n.Select(T, (f("add", c("k"), c("l")),)), "plan.bind.types"),
    "number as predicate": (n.Filter(T, c("k")), "plan.bind.types"),
    "null as predicate": (n.Filter(T, lit(None)), "plan.bind.types"),
    "several predicates": (n.Filter(T, f("gt", sel("by_name", "k", "x"), 1)), "plan.bind.selector"),
    "no predicate": (n.Filter(T, f("gt", sel("by_class", "decimal"), 1)), "plan.bind.selector"),
    "two columns of one name": (n.Select(T, (c("k"), named("k", c("x")))), "plan.bind.duplicate"),
    "two new columns of one name": (n.WithColumns(T, (c("k"), named("k", c("x")))), "plan.bind.duplicate"),
    "aggregate named as a key": (n.GroupBy(T, (c("g"),), (f("first", c("g")),)), "plan.bind.duplicate"),
    "one key twice": (n.GroupBy(T, (c("g"), c("g"))), "plan.bind.duplicate"),
    "no key": (n.GroupBy(T, (), (f("pl.len"),)), "plan.bind.keys"),
    "over without keys": (n.Select(T, (Over(f("sum", c("k"))),)), "plan.bind.over"),
    "a cast to nothing": (n.Select(T, (Cast(c("k"), dt.DType("Decimal")),)), "plan.decode.dtype"),
    "a constant of another type": (n.Filter(T, Literal(dt.BOOLEAN, 1)), "plan.decode.literal"),
    "key count": (n.Join(T, U, "inner", names(["k", "g"]), names(["k"])), "plan.bind.keys"),
    "no join key": (n.Join(T, U), "plan.bind.keys"),
    "cross with keys": (n.Join(T, U, "cross", names(["k"]), names(["k"])), "plan.bind.keys"),
    "join key types": (n.Join(T, U, "inner", names(["g"]), names(["k"])), "plan.bind.types"),
    "float and integer keys": (n.Join(T, U, "inner", names(["x"]), names(["k"])), "plan.bind.types"),
    "renamed join key": (n.Join(T, U, "inner", (named("q", c("k")),), names(["k"])), "plan.bind.keys"),
    "join key twice": (n.Join(T, U, "inner", names(["k", "k"]), names(["k", "x"])), "plan.bind.keys"),
    "unknown join": (n.Join(T, U, "outer", names(["k"]), names(["k"])), "plan.bind.option"),
    "unknown validate": (n.Join(T, U, "inner", names(["k"]), names(["k"]), validate="1:2"), "plan.bind.option"),
    "unknown order": (n.Join(T, U, "inner", names(["k"]), names(["k"]), maintain_order="up"), "plan.bind.option"),
    "suffix clash": (n.Join(T, n.Select(U, names(["k", "x", "x_right"])), "inner", names(["k"]), names(["k"])), "plan.bind.duplicate"),
    "empty suffix": (n.Join(T, U, "inner", names(["k"]), names(["k"]), suffix=""), "plan.bind.duplicate"),
    "asof by unequal": (n.JoinAsof(T, U, c("k"), c("k"), ("g",)), "plan.bind.keys"),
    "asof by unknown": (n.JoinAsof(T, U, c("k"), c("k"), ("gg",), ("m",)), "plan.bind.column"),
    "asof key": (n.JoinAsof(T, U, c("g"), c("m")), "plan.bind.types"),
    "asof strategy": (n.JoinAsof(T, U, c("k"), c("k"), strategy="closest"), "plan.bind.option"),
    "asof tolerance": (n.JoinAsof(T, T, c("ts"), c("ts"), tolerance="2 days"), "plan.bind.duration"),
    "asof tolerance of another type": (n.JoinAsof(T, U, c("k"), c("k"), tolerance="2d"), "plan.bind.duration"),
    "asof tolerance negative": (n.JoinAsof(T, U, c("k"), c("k"), tolerance=-1), "plan.bind.duration"),
    "sort by nothing": (n.Sort(T, ()), "plan.bind.keys"),
    "sort flags": (n.Sort(T, names(["k", "g"]), (True, False, True)), "plan.bind.keys"),
    "top_k flags": (n.TopK(T, 2, names(["k"]), (True, False)), "plan.bind.keys"),
    "top_k of less than none": (n.TopK(T, -1, names(["k"])), "plan.bind.size"),
    "negative length": (n.Slice(T, 0, -1), "plan.bind.size"),
    "huge length": (n.Slice(T, 0, 2**40), "plan.bind.size"),
    "huge offset": (n.Slice(T, -(2**40)), "plan.bind.size"),
    "unknown keep": (n.Unique(T, None, "some"), "plan.bind.option"),
    "drop nulls of an expression": (n.DropNulls(T, (f("add", c("k"), 1),)), "plan.bind.selector"),
    "drop nans of text": (n.DropNulls(T, names(["x", "g"]), nans=True), "plan.bind.types"),
    "drop nans of lists": (n.DropNulls(T, names(["l"]), nans=True), "plan.bind.types"),
    "fill with nothing": (n.FillNull(T), "plan.bind.option"),
    "fill with both": (n.FillNull(T, lit(1), "zero"), "plan.bind.option"),
    "unknown strategy": (n.FillNull(T, strategy="median"), "plan.bind.option"),
    "limit without direction": (n.FillNull(T, strategy="min", limit=2), "plan.bind.option"),
    "negative limit": (n.FillNull(T, strategy="forward", limit=-2), "plan.bind.size"),
    "row number twice": (n.WithRowIndex(T, "k"), "plan.bind.duplicate"),
    "negative row number": (n.WithRowIndex(T, "i", -1), "plan.bind.size"),
    "sample of nothing": (n.Sample(T), "plan.bind.option"),
    "sample of both": (n.Sample(T, 1, 0.5), "plan.bind.option"),
    "negative sample": (n.Sample(T, -1), "plan.bind.size"),
    "sample of more than all": (n.Sample(T, fraction=1.5), "plan.bind.size"),
    "sample of nan": (n.Sample(T, fraction=float("nan")), "plan.bind.size"),
    "negative seed": (n.Sample(T, 1, seed=-1), "plan.bind.size"),
    "explode a number": (n.Explode(T, names(["k"])), "plan.bind.types"),
    "explode nothing": (n.Explode(T, (sel("by_class", "decimal"),)), "plan.bind.selector"),
    "unnest a number": (n.Unnest(T, names(["k"])), "plan.bind.types"),
    "unnest onto a column": (n.Unnest(T, names(["st"])), "plan.bind.duplicate"),
    "unpivot onto a column": (n.Unpivot(T, names(["k"]), names(["g"]), "g"), "plan.bind.duplicate"),
    "unpivot without a common type": (n.Unpivot(T, names(["k", "l"])), "plan.bind.types"),
    "pivot on nothing": (n.Pivot(T, "zz", (1,), ("g",), ("x",)), "plan.bind.column"),
    "pivot neither": (n.Pivot(T, "k", (1,)), "plan.bind.option"),
    "pivot aggregate": (n.Pivot(T, "k", (1,), ("g",), ("x",), "mode"), "plan.bind.option"),
    "pivot value twice": (n.Pivot(T, "k", (1, 1), ("g",), ("x",)), "plan.bind.duplicate"),
    "pivot values of another type": (n.Pivot(T, "k", ("a",), ("g",), ("x",)), "plan.bind.types"),
    "pivot on a date": (n.Pivot(T, "ts", (1,), ("g",), ("x",)), "plan.bind.types"),
    "concat of nothing": (n.Concat(()), "plan.bind.concat"),
    "concat how": (n.Concat((T, T), "align"), "plan.bind.option"),
    "concat of other columns": (n.Concat((T, U)), "plan.bind.concat"),
    "concat of other types": (n.Concat((n.Select(T, names(["x"])), n.Select(U, names(["x"])))), "plan.bind.concat"),
    "concat of clashing names": (n.Concat((T, U), "horizontal"), "plan.bind.duplicate"),
    "duration": (n.GroupByDynamic(T, c("ts"), "1 day"), "plan.bind.duration"),
    "empty duration": (n.GroupByDynamic(T, c("ts"), ""), "plan.bind.duration"),
    "unit left out": (n.GroupByDynamic(T, c("ts"), "15"), "plan.bind.duration"),
    "negative every": (n.GroupByDynamic(T, c("ts"), "-1d"), "plan.bind.duration"),
    "zero every": (n.GroupByDynamic(T, c("ts"), "0d0h"), "plan.bind.duration"),
    "huge every": (n.GroupByDynamic(T, c("ts"), "99999999999999999999d"), "plan.bind.duration"),
    "whole numbers over time": (n.GroupByDynamic(T, c("ts"), "5i"), "plan.bind.duration"),
    "time over whole numbers": (n.Rolling(T, c("k"), "5d"), "plan.bind.duration"),
    "index type": (n.Rolling(T, c("x"), "5i"), "plan.bind.types"),
    "closed": (n.Rolling(T, c("k"), "5i", closed="open"), "plan.bind.option"),
    "label": (n.GroupByDynamic(T, c("ts"), "1d", label="middle"), "plan.bind.option"),
    "start_by": (n.GroupByDynamic(T, c("ts"), "1d", start_by="easter"), "plan.bind.option"),
    "index named as a key": (n.Rolling(T, c("k"), "1i", group_by=names(["k"])), "plan.bind.duplicate"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_under_its_code(name: str) -> None:
    plan, code = REFUSED[name]
    with pytest.raises(PlanError) as caught:
        bind(plan, CATALOGUE)
    assert caught.value.code == code
    assert caught.value.message.endswith((".", "?"))


@pytest.mark.parametrize(
    ("plan", "hint"),
    [
        (n.Scan("titanics"), "titanic"),
        (n.Select(n.Scan("titanic"), (c("Pclas"),)), "Pclass"),
        (n.Select(T, (Call("maen", (c("k"),)),)), "mean"),
        (n.Join(T, U, "iner", names(["k"]), names(["k"])), "inner"),
        (n.FillNull(T, strategy="forwards"), "forward"),
        (n.Select(T, (sel("by_class", "numerc"),)), "numeric"),
    ],
)
def test_did_you_mean(plan: n.Node, hint: str) -> None:
    with pytest.raises(BindError) as caught:
        bind(plan, CATALOGUE)
    assert f"Did you mean {hint!r}" in caught.value.next_step or hint in caught.value.next_step


# -- saved frames -----------------------------------------------------------------------------------------------------


def test_saved_frames_are_inlined_down_to_uploaded_tables() -> None:
    young = saved(n.Filter(T, f("lt", c("k"), 30)))
    means = saved(n.GroupBy(n.Scan("young"), names(["g"]), (f("mean", c("x")),)))
    bound = bind(n.Slice(n.Scan("means"), 0, 3), CATALOGUE | {"young": young, "means": means})
    assert bound.root == n.Slice(n.GroupBy(n.Filter(T, f("lt", c("k"), 30)), names(["g"]), bound.root.input.aggs), 0, 3)  # type: ignore[attr-defined]
    assert bound.schema == {"g": dt.STRING, "x": dt.FLOAT64}


def test_a_saved_frame_that_rests_on_itself() -> None:
    for catalogue in (
        {"a": saved(n.Reverse(n.Scan("a")))},
        {"a": saved(n.Scan("b")), "b": saved(n.Concat((n.Scan("a"), T)))},
    ):
        with pytest.raises(BindError) as caught:
            bind(n.Scan("a"), CATALOGUE | catalogue)
        assert caught.value.code == "plan.bind.cycle"


def test_a_saved_frame_may_be_used_twice() -> None:
    both = n.Concat((n.Scan("a"), n.Scan("a")))
    assert bind(both, CATALOGUE | {"a": saved(T)}).root == n.Concat((T, T))


def test_saved_frames_that_double_at_every_level() -> None:
    catalogue = dict(CATALOGUE)
    for i in range(40):
        below = n.Scan(f"f{i - 1}") if i else T
        catalogue[f"f{i}"] = saved(n.Concat((below, below)))
    start = time.process_time()
    with pytest.raises(LimitError):
        bind(n.Scan("f39"), catalogue)
    assert time.process_time() - start < 5


def test_a_large_saved_frame_used_often() -> None:
    large = saved(n.Select(T, tuple(named(f"c{i}", c("k")) for i in range(3000))))
    with pytest.raises(LimitError):
        bind(n.Concat((n.Scan("large"),) * 2000), CATALOGUE | {"large": large})


def test_a_long_chain_of_saved_frames() -> None:
    catalogue = CATALOGUE | {f"f{i}": saved(n.Reverse(n.Scan(f"f{i - 1}") if i else T)) for i in range(200)}
    assert bind(n.Scan("f20"), catalogue).schema == SCHEMA
    with pytest.raises(LimitError) as caught:
        bind(n.Scan("f199"), catalogue)
    assert caught.value.code == "plan.limit.depth"


def test_a_saved_frame_over_data_one_may_not_see_names_only_the_frame() -> None:
    for inner in ("salaries", "#cells"):
        with pytest.raises(BindError) as caught:
            bind(n.Scan("mine"), CATALOGUE | {"mine": saved(n.Scan(inner))})
        assert caught.value.code == "plan.bind.dataset"
        assert inner not in str(caught.value)


def test_a_dataset_one_may_not_see_is_like_none() -> None:
    with pytest.raises(BindError) as hidden:
        bind(n.Scan("salaries"), CATALOGUE)
    with pytest.raises(BindError) as missing:
        bind(n.Scan("celeries"), CATALOGUE)
    assert str(hidden.value).replace("salaries", "X") == str(missing.value).replace("celeries", "X")


# -- what a bound plan promises ---------------------------------------------------------------------------------------


def test_what_was_left_out_is_written_out() -> None:
    bound = bind(n.Unpivot(n.Select(T, names(["k", "x", "g"])), None, names(["g"])), CATALOGUE)
    assert isinstance(bound.root, n.Unpivot)
    assert bound.root.on == names(["k", "x"])
    wide = bind(n.Pivot(n.Select(T, names(["k", "x", "g", "b"])), "k", (1,), ("g",)), CATALOGUE)
    assert isinstance(wide.root, n.Pivot)
    assert wide.root.values == ("x", "b")


def test_schemas_of_all_nodes() -> None:
    plan = n.Join(n.Filter(T, c("b")), n.Select(U, names(["k", "m"])), "left", names(["k"]), names(["k"]))
    bound = bind(plan, CATALOGUE)
    assert list(bound.schemas) == [T, n.Filter(T, c("b")), U, n.Select(U, names(["k", "m"])), plan]
    assert list(bound.schemas[plan]) == [*SCHEMA, "m"]


def test_binding_a_bound_plan_changes_nothing() -> None:
    plan = n.Sort(
        n.GroupBy(T, (sel("by_name", "g"),), (f("mean", sel("by_class", "numeric")),)), (sel("all"),), (True,)
    )
    once = bind(plan, CATALOGUE)
    again = bind(once.root, CATALOGUE)
    assert again.root == once.root
    assert encode(again.root) == encode(once.root)


def test_wide_schemas_under_many_nodes() -> None:
    wide = table({f"c{i}": dt.INT8 for i in range(4000)})
    many = n.Concat(tuple(n.WithRowIndex(n.Scan("wide"), f"i{i}") for i in range(400)), "diagonal")
    with pytest.raises(LimitError) as caught:
        bind(many, {"wide": wide})
    assert caught.value.code == "plan.limit.columns"


@settings(
    max_examples=25 * SEEDS, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
@given(plans_strategy())
def test_any_plan_binds_or_is_refused_with_a_plan_error(plan: n.Node) -> None:
    catalogue = {"t": table(SCHEMA), "u": table(OTHER), "日本": table({"k": dt.INT8, "g": dt.STRING})}
    with contextlib.suppress(PlanError):
        bound = bind(decode(encode(plan)), catalogue)
        assert bound.schemas[bound.root] == bound.schema
        assert bind(bound.root, catalogue).schema == bound.schema
