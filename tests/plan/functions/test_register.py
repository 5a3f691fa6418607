"""The register itself: what every entry must have, and that an entry without it cannot be registered."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

import polars
import pytest
from bastion_plan.errors import BindError
from bastion_plan.functions.accepts import WORDS, fits, words
from bastion_plan.functions.calls import check_option
from bastion_plan.functions.refused import REFUSED
from bastion_plan.functions.registry import all_functions, find, get, register
from bastion_plan.functions.rules import same
from bastion_plan.functions.spec import REDUCING, Arg, Flow, Function, Shape

FUNCTIONS = list(all_functions())
NAMESPACES = {"", "str", "dt", "list", "arr", "cat", "bin", "struct", "pl"}
GOOD = Function("new_one", (Arg("input"),), same, Flow.ELEMENTWISE, "Row by row.", "A doc line.")


def test_there_are_at_least_160_distinct_functions() -> None:
    names = {f.name for f in FUNCTIONS}
    assert len(names) == len(FUNCTIONS) >= 160
    assert not {a for f in FUNCTIONS for a in f.aliases} & names


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_an_entry_is_complete_and_consistent(function: Function) -> None:
    assert function.flow in set(Flow)
    assert function.flow_reason[:1].isupper() and function.flow_reason.endswith(".")
    assert (function.doc[:1].isupper() and function.doc.endswith(".")) or function.doc.startswith(("-", "`", "e "))
    assert function.nulls
    assert function.namespace in NAMESPACES
    assert function.method == (function.namespace != "pl")
    if function.method:
        assert function.args[0].name == "input"
        assert function.args[0].string_is_column
    names = [a.name for a in function.args] + [o.name for o in function.options]
    assert len(set(names)) == len(names)
    assert {w for a in function.args for w in words(a.accepts)} <= WORDS
    optional = [a.optional for a in function.args]
    assert optional == sorted(optional) or function.name == "replace_strict"
    assert function.polars_json
    assert function.name not in REFUSED
    if function.flow in REDUCING:
        assert function.shape is Shape.ONE
    if function.flow is Flow.ELEMENTWISE:
        assert function.shape is Shape.SAME
    for option in function.options:
        if not option.required:
            check_option(function, option, option.default)


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        ({"flow": None}, "a flow class"),
        ({"flow": "elementwise"}, "a flow class"),
        ({"flow_reason": ""}, "a flow reason"),
        ({"flow_reason": " "}, "a flow reason"),
        ({"flow_reason": "no full sentence"}, "a flow reason"),
        ({"doc": ""}, "a doc line"),
        ({"nulls": ""}, "what happens to nulls"),
        ({"args": (Arg("input", variadic=True), Arg("other"))}, "variadic"),
        ({"args": (Arg("input", "numbers of any kind"),)}, "argument classes"),
        ({"flow": Flow.SUM}, "one result row"),
        ({"shape": Shape.ANY}, "as many rows"),
        ({"name": "mean"}, "registered twice"),
        ({"name": "avg"}, "registered twice"),
    ],
)
def test_an_incomplete_entry_cannot_be_registered(change: dict[str, object], lacks: str) -> None:
    entry = dataclasses.replace(GOOD, **change)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match=lacks):
        register([entry])
    assert find("new_one") is None


def test_flow_and_reason_have_no_default() -> None:
    required = {f.name for f in dataclasses.fields(Function) if f.default is dataclasses.MISSING}
    assert {"flow", "flow_reason", "doc", "result"} <= required


def test_unknown_names_are_told_with_a_neighbour_or_a_reason() -> None:
    with pytest.raises(BindError, match="Did you mean 'median'") as unknown:
        get("mediann")
    assert unknown.value.code == "plan.bind.function"
    with pytest.raises(BindError, match="runs a Python function"):
        get("map_elements")


def test_aliases_are_found_but_are_not_canonical() -> None:
    assert find("avg") is get("mean")
    assert find("pl.arange") is get("pl.int_range")
    with pytest.raises(BindError):
        get("avg")


def test_what_carries_single_rows_is_never_called_an_aggregate() -> None:
    """The guard's page names these: everything that reduces and is not on its list of statistics is row-level."""
    rows = [
        "first",
        "last",
        "get",
        "item",
        "implode",
        "str.join",
        "product",
        "arg_min",
        "arg_max",
        "min_by",
        "max_by",
        "skew",
        "kurtosis",
        "entropy",
        "dot",
    ]
    assert {get(name).flow for name in rows} == {Flow.ROW}
    across = [
        "shift",
        "diff",
        "cum_sum",
        "rank",
        "rolling_mean",
        "interpolate",
        "sample",
        "shuffle",
        "qcut",
        "is_unique",
    ]
    assert {get(name).flow for name in across} == {Flow.WINDOW}
    assert {get(name).flow for name in ("mode", "unique", "value_counts")} == {Flow.TIED}


def test_the_classes_in_words_are_disjoint_where_they_should_be() -> None:
    from bastion_plan.dtypes import INT64, STRING, list_of

    assert fits("list of integer or string", list_of(INT64))
    assert fits("list of integer or string", STRING)
    assert not fits("list of integer or string", list_of(STRING))
    assert not fits("numeric", STRING)
    with pytest.raises(KeyError):
        fits("numbrs", INT64)


def test_a_reason_speaks_of_one_flow_class_and_is_no_form_letter() -> None:
    by_reason: dict[str, set[Flow]] = {}
    for function in FUNCTIONS:
        by_reason.setdefault(function.flow_reason, set()).add(function.flow)
    assert {reason for reason, flows in by_reason.items() if len(flows) > 1} == set()
    assert all("\n" not in reason and 20 <= len(reason) <= 220 for reason in by_reason)
    row_by_row = [r for r, flows in by_reason.items() if flows == {Flow.ELEMENTWISE}]
    assert all(r.startswith("Row by row") for r in row_by_row)
    assert not any(r.startswith("Row by row") for r in by_reason if r not in row_by_row)
    # a family of more than a tenth of the register would say nothing about its members, but for elements of lists
    families = Counter(f.flow_reason for f in FUNCTIONS)
    large = {reason for reason, size in families.items() if size > len(FUNCTIONS) // 10}
    assert large == {"Row by row: it reads the elements of its own row only."}


#: pairs of inputs with one result, by function: where there is one, "one to one" would be a lie
FOLDED = {
    "abs": ([1.0], [-1.0]),
    "floor": ([1.2], [1.7]),
    "sin": ([0.0], [math.pi * 0]),
    "str.to_uppercase": (["a"], ["A"]),
    "dt.month_end": ([date(2020, 1, 1)], [date(2020, 1, 2)]),
    "dt.year": ([date(2020, 1, 1)], [date(2020, 1, 2)]),
    "str.len_chars": (["a"], ["b"]),
    "is_null": ([1], [2]),
}


@pytest.mark.parametrize("name", FOLDED)
def test_what_folds_values_together_does_not_claim_to_be_one_to_one(name: str) -> None:
    one, two = (polars.Series("x", values) for values in FOLDED[name])
    method = pl_method(name)
    assert polars.select(method(polars.lit(one))).equals(polars.select(method(polars.lit(two))))
    assert "one to one" not in get(name).flow_reason


_ZONED = [datetime(2020, 1, d, 12, tzinfo=UTC) for d in range(1, 5)]
#: inputs and options of what is not a function of one number
DISTINCT: dict[str, tuple[Any, dict[str, Any]]] = {
    "bin.encode": ([b"a", b"b", b"ab"], {"encoding": "hex"}),
    "dt.convert_time_zone": (_ZONED, {"time_zone": "Asia/Tokyo"}),
    "reinterpret": ([-2, -1, 1, 2], {"signed": False}),
    "cat.physical": (polars.Series(["x", "y", "z"], dtype=polars.Categorical), {}),
    "pl.from_epoch": ([1, 2, 3], {}),
    "arccosh": ([1.0, 1.5, 2.0], {}),
}


@pytest.mark.parametrize("function", [f for f in FUNCTIONS if "and one to one:" in f.flow_reason], ids=lambda f: f.name)
def test_what_claims_to_be_one_to_one_keeps_values_apart(function: Function) -> None:
    values, options = DISTINCT.get(function.name, ([0.1, 0.25, 0.5, 0.9], {}))
    made = polars.select(pl_method(function.name)(polars.lit(polars.Series("x", values)), **options)).to_series()
    assert made.null_count() == 0
    assert made.n_unique() == len(values)


def pl_method(name: str) -> Any:
    """The function of Polars itself, of one column."""
    space, _, short = name.rpartition(".")
    if space == "pl":
        return getattr(polars, short)
    if name == "cat.physical":
        return lambda e: e.to_physical()
    return lambda e, **options: getattr(getattr(e, space) if space else e, short)(**options)
