"""Real Polars expressions become plan expressions that lower to the very same expression again."""

from __future__ import annotations

import math
import os
import warnings
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import msgpack
import polars as real
import polars.selectors as cs
import pytest
from bastion_plan.errors import BastionError, InputError, LanguageError, LimitError
from bastion_plan.functions import registry

from bastion import pl
from bastion.expr.translate import translate

SEEDS = max(2, int(os.environ.get("BASTION_FUZZ_CASES", "6")))


def tree(expr: real.Expr) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return msgpack.unpackb(expr.meta.serialize(format="binary"), strict_map_key=False)


def lowered(plan: Any) -> real.Expr:
    from bastion_server.engine.expressions import lower_expr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lower_expr(plan)


A = real.col("a")
LITERALS = [
    None, True, 0, -1, 2**40, 2**63, -(2**80), 1.5, -0.0, math.inf, -math.inf, "x", "", "日本", b"ab", date(1, 1, 1),
    date(9999, 12, 31), datetime(2020, 1, 2, 3, 4, 5, 6), datetime(2020, 1, 1, tzinfo=UTC), time(23, 59, 59, 999999),
    timedelta(days=-1, microseconds=5), Decimal("-1.50"), [1, 2], ["a", None], [[1], []], [date(2020, 1, 1)], [1.5, math.inf],
    {"a": 1, "b": "x"}, [Decimal("1.5")], [[date(2020, 1, 1)], None, []],
]  # fmt: skip


@pytest.mark.parametrize("value", LITERALS, ids=repr)
def test_literals_equal_the_builders_and_keep_their_value(value: Any) -> None:
    plan = translate(real.lit(value))
    assert plan == pl.lit(value).plan
    assert real.select(lowered(plan)).equals(real.select(real.lit(value)), null_equal=True)


NANOSECOND = real.Series([1515180393098338421, None]).cast(real.Datetime("ns", "Europe/Berlin"))


@pytest.mark.parametrize(
    "values",
    [
        NANOSECOND,
        NANOSECOND.implode(),
        real.select(real.struct(a=NANOSECOND, b=1)).to_series(),
        real.Series([1, 2**62], dtype=real.Duration("ns")),
    ],
    ids=["datetime", "list", "struct", "duration"],
)
def test_lists_keep_their_nanoseconds(values: real.Series) -> None:
    found = real.select(lowered(translate(real.lit(values)))).to_series()
    assert found.dtype == real.List(values.dtype)
    assert found.explode().to_physical().to_list() == values.to_physical().to_list()


def test_a_slice_to_the_end_is_not_the_first_ten() -> None:
    frame = real.DataFrame({"a": range(30), "b": [list(range(30))] * 30})
    for expr in (real.col("a").slice(0), real.col("b").list.slice(0), real.col("a").slice(0, None)):
        assert frame.select(lowered(translate(expr))).equals(frame.select(expr))


@pytest.mark.parametrize(("value", "test"), [(math.nan, math.isnan), (math.inf, lambda v: v > 0 and math.isinf(v))])
def test_nan_and_infinity_are_told_apart(value: float, test: Any) -> None:
    assert test(translate(real.lit(value)).value)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [f.name for f in registry.all_functions()])
def test_every_function_survives_the_way_to_polars_and_back(name: str) -> None:
    """Draw calls of the function, lower them, translate the Polars expression: it is the same expression again."""
    from generators import random_call
    from random_values import COLUMNS

    function = registry.get(name)
    tried = 0
    for seed in range(SEEDS):
        call = random_call(Random(f"{name}/{seed}"), function, COLUMNS)
        if call is None:
            continue
        try:
            original = lowered(call)
            wanted = tree(original)
        except (TypeError, ValueError, BastionError, real.exceptions.PolarsError):
            continue
        tried += 1
        back = translate(original)
        assert tree(lowered(back)) == wanted or math.nan in _leaves(wanted), f"{call} -> {back}"
    assert tried, "no call could be drawn"


def _leaves(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return [leaf for v in item.values() for leaf in _leaves(v)]
    if isinstance(item, list):
        return [leaf for v in item for leaf in _leaves(v)]
    return [math.nan] if isinstance(item, float) and math.isnan(item) else []


EXPRESSIONS = [
    "X.col('a') + 1 - X.col('b') * 2 / 3 // 4 % 5",
    "-X.col('a') ** 2",
    "(X.col('a') > 1) & (X.col('b') <= 2) | ~(X.col('c') == 'x') ^ (X.col('d') != 3)",
    "1 + X.col('a')",
    "X.col('a', 'b').mean()",
    "X.col('^x.*$').sum()",
    "X.all().null_count()",
    "X.col('a').is_in([1, 2])",
    "X.col('a').is_in(['x', None])",
    "X.col('a').is_between(1, 2, closed='left')",
    "X.col('a').fill_null(0)",
    "X.col('a').fill_null(strategy='forward', limit=2)",
    "X.col('a').fill_null(strategy='mean')",
    "X.col('a').cast(X.Float64)",
    "X.col('a').cast(X.Datetime('us', 'UTC'), strict=False)",
    "X.col('a').cast(X.List(X.Int8))",
    "X.col('a').cast(X.Enum(['x', 'y']))",
    "X.col('a').cast(X.Decimal(10, 2))",
    "X.when(X.col('a') > 1).then(1).when(X.col('a') > 0).then(X.lit('x')).otherwise(None)",
    "X.when(X.col('a') > 1).then(X.col('b'))",
    "X.when(X.col('a') > 1, X.col('b') < 2).then(0).otherwise(1)",
    "X.col('a').sum().over('b')",
    "X.col('a').sum().over('b', 'c')",
    "X.col('a').first().over('b', order_by='c', descending=True)",
    "X.col('a').rank().over('b', mapping_strategy='join')",
    "X.col('a').sort_by('b', 'c', descending=[True, False])",
    "X.col('a').filter(X.col('b') > 1, X.col('c') < 2).mean()",
    "X.struct('a', b=X.col('c') + 1)",
    "X.concat_str('a', 'b', separator='-')",
    "X.max_horizontal('a', 'b')",
    "X.any_horizontal('a', 'b')",
    "X.coalesce('a', 'b', 0)",
    "X.len()",
    "X.corr('a', 'b')",
    "X.cov('a', 'b', ddof=0)",
    "X.col('a').rolling_mean(3, min_samples=1)",
    "X.col('a').rolling_sum_by('t', '1d')",
    "X.col('a').dt.truncate('1mo')",
    "X.col('a').dt.offset_by('-1y')",
    "X.col('a').dt.strftime('%Y')",
    "X.col('a').str.contains('x', literal=True)",
    "X.col('a').str.replace_all('a', 'b')",
    "X.col('a').str.split(',').list.len()",
    "X.col('a').str.to_date('%Y-%m-%d', strict=False)",
    "X.col('a').str.strip_chars().str.to_uppercase()",
    "X.col('a').list.get(0)",
    "X.col('a').struct.field('x')",
    "X.col('a').replace({1: 2, 3: 4})",
    "X.col('a').replace_strict({'x': 1}, default=0)",
    "X.col('a').replace_strict({'x': 1}, default=None)",
    "X.col('a').replace_strict({'x': 1})",
    "X.col('a').clip(0, 1)",
    "X.col('a').clip(upper_bound=5)",
    "X.col('a').round(2)",
    "X.col('a').quantile(0.25, 'linear')",
    "X.col('a').std(ddof=0)",
    "X.col('a').shift(1, fill_value=0)",
    "X.col('a').diff()",
    "X.col('a').cum_sum(reverse=True)",
    "X.col('a').value_counts(sort=True)",
    "X.col('a').sample(3, seed=1)",
    "X.col('a').interpolate()",
    "X.col('a').name.suffix('_x')",
    "X.col('a').name.to_uppercase()",
    "(X.col('a') * 2).name.keep()",
    "X.col('a').alias('b')",
    "X.int_range(0, 10)",
    "X.int_range(X.len())",
    "X.col('a').head(3)",
    "X.col('a').gather([0, 1])",
    "X.col('a').mode()",
    "X.col('a').skew()",
    "X.col('a').unique(maintain_order=True)",
    "X.col('a').arg_max()",
    "X.col('a').hist(bin_count=3)",
    "X.col('a').eq_missing(None)",
    "X.format('{} and {}', 'a', 'b')",
    "X.col('a').str.json_path_match('$.x')",
    "X.lit(1, dtype=X.Int8)",
    "X.lit(None, dtype=X.String)",
    "X.exclude('a', 'b')",
    "X.all().exclude('a')",
    "X.nth(0, 2)",
    "~X.col('a')",
    "~X.col('a', 'b')",
    "~X.all()",
    "~X.exclude('a') | X.col('b')",
    "X.all() - X.all().mean()",
    "X.date(X.col('y'), 1, 1)",
    "X.datetime('y', 'm', 'd')",
    "X.duration(days=X.col('a'))",
]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_the_same_text_gives_the_same_plan(text: str) -> None:
    ours = eval(text, {"X": pl})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = eval(text, {"X": real})
    plan = translate(theirs)
    if text in SAME_MEANING:
        assert tree(lowered(plan)) == tree(theirs), "the translation is the same expression in Polars, spelt otherwise"
    else:
        assert plan == ours.plan


#: the builder spells these shorter or longer; the plan means the same
SAME_MEANING = {
    "X.when(X.col('a') > 1, X.col('b') < 2).then(0).otherwise(1)",
    "X.col('a').filter(X.col('b') > 1, X.col('c') < 2).mean()",
    "X.col('a').shift(1, fill_value=0)",
    "X.int_range(0, 10)",
    "X.date(X.col('y'), 1, 1)",
}


SELECTORS = [
    "cs.numeric()", "cs.integer()", "cs.float()", "cs.string()", "cs.boolean()", "cs.date()", "cs.datetime()", "cs.duration()",
    "cs.time()", "cs.temporal()", "cs.categorical()", "cs.nested()", "cs.list()", "cs.struct()", "cs.binary()", "cs.all()",
    "cs.by_name('text', 'i8')", "cs.by_name('text', 'nope', require_all=False)", "cs.by_index(0, -1)", "cs.first()", "cs.last()",
    "cs.starts_with('i', 'u')", "cs.ends_with('s')", "cs.contains('a')", "cs.matches('^[a-c]')", "cs.by_dtype(real.Int64, real.String)",
    "cs.numeric() - cs.by_name('i8')", "cs.numeric() & cs.float()", "cs.numeric() | cs.string()", "cs.numeric() ^ cs.integer()",
    "~cs.string()", "cs.all() - cs.numeric()", "cs.exclude('i8')", "cs.numeric().exclude('i8')", "real.col(real.Int64, real.Date)",
    "real.col('^i.*$')", "real.exclude('text')", "cs.signed_integer()", "cs.unsigned_integer()", "cs.decimal()", "cs.enum()",
    "cs.duration('us')", "cs.datetime('us', time_zone=None)",
]  # fmt: skip


@pytest.mark.parametrize("text", SELECTORS)
def test_selectors_choose_the_same_columns(text: str) -> None:
    from bastion_plan.selectors import select_columns
    from random_values import COLUMNS, random_frame

    frame = random_frame(Random(1), COLUMNS, 2)
    theirs = eval(text, {"cs": cs, "real": real})
    plan = translate(theirs)
    assert list(select_columns(plan, COLUMNS)) == frame.select(theirs).columns  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [s for s in SELECTORS if "real." not in s and "signed" not in s and "('us'" not in s])
def test_our_selectors_choose_the_same_columns(text: str) -> None:
    from bastion_plan.selectors import select_columns
    from random_values import COLUMNS, random_frame

    frame = random_frame(Random(1), COLUMNS, 2)
    ours = eval(text, {"cs": pl.selectors, "real": pl})
    theirs = eval(text, {"cs": cs, "real": real})
    assert list(select_columns(ours.plan, COLUMNS)) == frame.select(theirs).columns


@pytest.mark.parametrize(
    "expr",
    [
        lambda: A.map_elements(lambda v: v, return_dtype=real.Int64),
        lambda: A.map_batches(lambda s: s),
        lambda: real.map_batches([A], abs),
        lambda: real.fold(0, lambda a, b: a + b, [A]),
        lambda: A.name.map(str.upper),
        lambda: A.rolling_map(lambda s: 1, 3),
        lambda: (A + 1).map_elements(abs, return_dtype=real.Int64).sum() * 2,
    ],
)
def test_python_functions_are_refused(expr: Any) -> None:
    with pytest.raises(LanguageError, match="Python"):
        translate(expr())


@pytest.mark.parametrize(
    ("expr", "word"),
    [
        (lambda: A.list.eval(real.element() * 2), "list.eval"),
        (lambda: A.rolling("t", period="1d"), "rolling"),
        (lambda: real.field("x"), "field"),
    ],
)
def test_what_has_no_place_in_a_plan_is_refused_by_name(expr: Any, word: str) -> None:
    with pytest.raises(InputError, match=word):
        translate(expr())


def test_too_deep_an_expression_is_refused() -> None:
    deep = A
    for _ in range(200):
        deep = deep + 1
    with pytest.raises(LimitError):
        translate(deep)


def test_translation_is_quick() -> None:
    import time as clock

    expr = real.when(A > 1).then(A.str.contains("x").sum().over("b")).otherwise(A.rolling_mean(3)).alias("x")
    translate(expr)
    times = []
    for _ in range(20):
        begin = clock.perf_counter()
        translate(expr)
        times.append(clock.perf_counter() - begin)
    assert min(times) < 0.05
