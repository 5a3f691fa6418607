"""What people read: code that runs in Polars as the plan does, plain words for plans and policies."""

from __future__ import annotations

import ast
import datetime
import importlib.util
import re
from pathlib import Path
from random import Random

import bastion_plan.functions  # noqa: F401  (registers every function)
import polars as pl
import pytest
from bastion_plan import dtypes as dt
from bastion_plan import nodes as n
from bastion_plan.expressions import Alias, Call, Cast, Column, Literal, NameChange, Over, Selector, Ternary
from bastion_policy.code import dataset_code
from bastion_policy.model import (
    Aggregation,
    AtLeastNOf,
    Dominance,
    FalseRule,
    Homogeneity,
    Log,
    Policy,
    Reject,
    Review,
    Rounding,
    Suppress,
    Training,
    UserId,
)
from bastion_policy.words import AUDITED, expr_code, expr_words, plan_code, plan_words, policy_words, rule_words
from bastion_server.engine.expressions import lower_expr
from bastion_server.engine.lower import lower
from generators import FUNCTIONS, random_call, random_expression
from hypothesis import given
from hypothesis import strategies as st
from plan_strategies import c, f, lit, named, names, rows_of, through
from plan_strategies import random_frame as node_frame
from policy_strategies import policies, rules
from random_values import COLUMNS, random_frame, random_value

CELL = {
    "pl": pl,
    "date": datetime.date,
    "datetime": datetime.datetime,
    "timedelta": datetime.timedelta,
    "float": float,
    "__builtins__": {},
}
TITANIC = Path(__file__).parents[2] / "notebooks" / "data" / "titanic.csv"
NODE_TESTS = Path(__file__).parents[1] / "engine" / "nodes"
T = n.Scan("t1")
NAMES = {"t1": "titanic", "t2": "ports"}


def run(code, **frames):
    return eval(code, CELL | frames)


def outcome(frame, make):
    """The result of an expression; where Polars refuses it, that it does."""
    try:
        return frame.select(make().alias("out"))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OverflowError):
        return "refused"


def assert_same_expression(expr, seed):
    """Code and plan are the same expression to Polars, or at least do the same to a random frame."""
    written, lowered = run(expr_code(expr)), lower_expr(expr)
    if written.meta.eq(lowered):
        return
    frame = random_frame(Random(seed), rows=7)
    want, got = outcome(frame, lambda: lowered), outcome(frame, lambda: written)
    if isinstance(want, str) or isinstance(got, str):
        assert want == got, expr_code(expr)
    else:
        assert got.schema == want.schema, expr_code(expr)
        assert got.equals(want, null_equal=True), expr_code(expr)


# -- code of expressions


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_the_code_of_every_function_runs_as_the_plan_does(function):
    for seed in range(4):
        assert_same_expression(random_call(Random(f"{function.name}/{seed}"), function), seed)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::RuntimeWarning")
@given(st.integers(0, 10**6))
def test_nested_expressions(seed):
    assert_same_expression(random_expression(Random(seed), COLUMNS), seed)


@pytest.mark.parametrize("dtype", list(dict.fromkeys(COLUMNS.values())), ids=str)
def test_literals_keep_type_and_value(dtype):
    for seed in range(15):
        expr = Literal(dtype, random_value(Random(seed), dtype))
        want = pl.select(lower_expr(expr).alias("out"))
        got = pl.select(run(expr_code(expr)).alias("out"))
        assert got.schema == want.schema, expr_code(expr)
        assert got.equals(want, null_equal=True), expr_code(expr)


@pytest.mark.parametrize(
    ("expr", "code"),
    [
        (f("gt", c("a"), 1), 'pl.col("a") > 1'),
        (f("gt", lit(1), c("a")), 'pl.lit(1) > pl.col("a")'),
        (f("eq", c("s"), "x"), 'pl.col("s") == "x"'),
        (f("mul", f("add", c("a"), 1), 2), '(pl.col("a") + 1) * 2'),
        (f("add", c("a"), f("mul", c("b"), 2)), 'pl.col("a") + pl.col("b") * 2'),
        (f("sub", c("a"), f("sub", c("b"), 1)), 'pl.col("a") - (pl.col("b") - 1)'),
        (f("pow", f("pow", c("a"), 2), 3), '(pl.col("a") ** 2) ** 3'),
        (f("neg", f("pow", c("a"), 2)), '-pl.col("a") ** 2'),
        (f("pow", f("neg", c("a")), 2), '(-pl.col("a")) ** 2'),
        (f("and_", f("gt", c("a"), 1), f("lt", c("b"), 2)), '(pl.col("a") > 1) & (pl.col("b") < 2)'),
        (f("eq", f("eq", c("a"), 1), lit(True)), '(pl.col("a") == 1) == True'),
        (f("not_", f("is_null", c("a"))), '~pl.col("a").is_null()'),
        (f("mean", f("add", c("a"), 1)), '(pl.col("a") + 1).mean()'),
        (f("str.contains", c("s"), "^x"), 'pl.col("s").str.contains("^x")'),
        (named("n", f("pl.len")), 'pl.len().alias("n")'),
        (Cast(c("a"), dt.datetime("ms"), strict=False), 'pl.col("a").cast(pl.Datetime("ms"), strict=False)'),
        (Over(f("sum", c("a")), (c("g"), c("h"))), 'pl.col("a").sum().over("g", "h")'),
        (NameChange(c("a"), "suffix", ("_x",)), 'pl.col("a").name.suffix("_x")'),
        (
            Ternary(f("gt", c("a"), 1), lit("hi"), Ternary(f("lt", c("a"), 0), c("s"), Literal(dt.NULL))),
            'pl.when(pl.col("a") > 1).then(pl.lit("hi")).when(pl.col("a") < 0).then(pl.col("s")).otherwise(None)',
        ),
        (Selector("by_class", ("numeric",)), "pl.selectors.numeric()"),
    ],
)
def test_the_code_is_what_a_person_would_write(expr, code):
    assert expr_code(expr) == code
    frame = pl.DataFrame({"a": [1, 2], "b": [3, 4], "s": ["x", "y"], "g": [1, 1], "h": [2, 2]})
    assert frame.select(run(code)).equals(frame.select(lower_expr(expr)), null_equal=True)


# -- code of plans


def node_cases():
    for path in sorted(NODE_TESTS.glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"cases_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, case in getattr(module, "CASES", {}).items():
            yield pytest.param(case, id=f"{path.stem[5:]}: {name}")


CASES = list(node_cases())


def kinds(plan):
    yield type(plan)
    for part in n.inputs(plan):
        yield from kinds(part)


def test_every_kind_of_node_is_tried():
    tried = {kind for case in CASES for kind in kinds(case.values[0].plan)}
    assert set(n.AnyNode.__args__) - tried <= {
        n.Sample,
        n.Inline,
    }  # Polars' lazy frames cannot sample; inline tables: below


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("case", [c for c in CASES if n.Sample not in set(kinds(c.values[0].plan))])
def test_the_code_of_every_node_runs_as_the_plan_does(case):
    for seed, size in enumerate((0, 7, 30)):
        frames = {"t": node_frame(seed, size), "u": node_frame(seed + 50, size)}
        lazy = {name: frame.lazy() for name, frame in frames.items()}
        bound, _ = through(case.plan, frames)
        want = case.polars(lazy["t"], lazy["u"]).collect()
        for plan in (case.plan, bound.root):  # as written, and as the owner is shown it: selectors resolved
            got = run(plan_code(plan), **lazy).collect()
            assert got.schema == want.schema
            assert rows_of(got, ordered=case.ordered) == rows_of(want, ordered=case.ordered)


@pytest.mark.parametrize("dtype", list(dict.fromkeys(COLUMNS.values())), ids=str)
def test_the_code_of_an_inline_table(dtype):
    for size in (0, 1, 6):
        values = tuple(random_value(Random(f"{dtype}/{i}"), dtype) for i in range(size - 1)) + (None,) * (size > 0)
        plan = n.Inline((n.InlineColumn("a b", dtype, values), n.InlineColumn("n", dt.INT64, tuple(range(size)))))
        got = run(plan_code(plan)).collect()
        want = lower(plan, {}).collect()
        assert got.schema == want.schema, plan_code(plan)
        assert got.equals(want, null_equal=True), plan_code(plan)


def test_the_code_of_a_sample():
    assert plan_code(n.Sample(T, n=3, seed=1), NAMES) == "titanic.sample(n=3, seed=1)"


SURVIVAL = n.GroupBy(T, (c("Pclass"),), (f("mean", c("Survived")),))


def test_survival_by_class():
    code = plan_code(SURVIVAL, NAMES)
    assert code == 'titanic.group_by("Pclass").agg(pl.col("Survived").mean())'
    answer = run(code, titanic=pl.scan_csv(TITANIC)).sort("Pclass").collect()
    assert [round(v, 6) for v in answer["Survived"]] == [0.62963, 0.472826, 0.242363]


def test_long_code_is_broken_into_lines():
    plan = n.Sort(n.Filter(SURVIVAL, f("gt", c("Survived"), 0.3)), (c("Pclass"),), (True,))
    code = plan_code(plan, NAMES, width=60)
    assert code.splitlines()[0] == "("
    assert max(map(len, code.splitlines())) <= 60
    assert run(code, titanic=pl.scan_csv(TITANIC)).collect()["Pclass"].to_list() == [2, 1]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("titanic", "titanic"),
        ("two words", 'dataset("two words")'),
        ("pl", 'dataset("pl")'),
        ("lambda", 'dataset("lambda")'),
        ('x")', "dataset('x\")')"),
    ],
)
def test_names_of_datasets(name, code):
    assert dataset_code("t1", {"t1": name}) == code


@given(st.text(min_size=1, max_size=12))
def test_no_name_poses_as_code(name):
    plan = n.Select(
        n.Filter(n.Scan("t1"), Call("eq", (Column(name), Literal(dt.STRING, name)))),
        (Alias(Column(name), name), Cast(Column("a"), dt.DType(name)), NameChange(Column("a"), name, (name,))),
    )
    code = plan_code(plan, {"t1": name})
    assert all(line.isprintable() for line in code.splitlines())
    assert code.count("\n") in (0, 4)  # only our own line breaks
    assert plan_words(plan, {"t1": name}).isprintable()
    try:
        tree = ast.parse(code, mode="eval")
    except SyntaxError:
        assert not (name.isascii() and name.isidentifier())  # a type or method that there is not stays in quotes
        return
    called = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert called <= {"pl", "dataset", name}


# -- plain words

JOINED = n.Join(T, n.Filter(n.Scan("t2"), f("eq", c("country"), "FR")), "left", (c("port"),), (c("port"),))


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (T, "All rows of titanic."),
        (SURVIVAL, "From titanic: mean of Survived for each Pclass."),
        (
            n.Slice(n.Sort(n.Filter(SURVIVAL, f("gt", c("Survived"), 0.3)), (c("Pclass"),)), 0, 5),
            "From titanic: mean of Survived for each Pclass, then rows where Survived > 0.3, then sorted by Pclass, "
            "then the first 5 rows.",
        ),
        (n.Select(T, (named("n", f("pl.len")),)), "From titanic: number of rows as n."),
        (n.Select(T, (f("quantile", c("Age"), quantile=0.5), f("std", c("Age")))), "From titanic: quantile 0.5 of Age and standard deviation of Age."),
        (JOINED, 'From titanic: joined with (ports: rows where country = "FR") on port (kept whole).'),
        (n.Filter(T, f("and_", f("is_in", c("Sex"), lit("a")), f("not_", f("is_null", c("my age"))))), 'From titanic: rows where (Sex is one of "a") and (not ("my age" is null)).'),
        (n.Slice(T, -3), "From titanic: the last 3 rows."),
        (n.Sample(T, fraction=0.1), "From titanic: a random 10 % of the rows."),
    ],
)  # fmt: skip
def test_plans_in_words(plan, words):
    assert plan_words(plan, NAMES) == words


@pytest.mark.parametrize("case", CASES)
def test_every_plan_has_words(case):
    words = plan_words(case.plan)
    assert words.endswith(".")
    assert words.isprintable()


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_every_function_has_words(function):
    call = random_call(Random(function.name), function)
    words = expr_words(call)
    assert words.isprintable()
    for column in re.findall(r'pl\.col\("(\w+)"\)', expr_code(call)):
        assert column in words


def test_words_name_the_columns_of_a_comparison():
    assert expr_words(f("gt", f("add", c("Age"), 1), f("mean", c("Age")))) == "(Age + 1) > (mean of Age)"
    assert expr_words(Over(f("sum", c("Fare")), (c("Pclass"),))) == "sum of Fare within each Pclass"
    assert names(["a"]) == (c("a"),)


# -- policies


def said(policy, requester=None):
    return " ".join(policy_words(policy, requester))


def test_the_default_policy_in_words():
    words = said(Policy.default())
    assert "Answers about at least 10 people are released at once" in words
    assert "10 % of the largest" in words
    assert "2 largest parts together make up more than 90 %" in words
    assert "waits for the owner's decision" in words


def test_the_default_policy_claims_its_audit_unless_weakened():
    assert AUDITED in policy_words(Policy.default())
    assert AUDITED not in policy_words(Policy.open())
    assert AUDITED not in policy_words(Policy(Aggregation(10), Review(), weaken=("history",)))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy.open(), "Everything is released at once"),
        (Policy(FalseRule(), Reject()), "Nothing is released without a decision. Anything else is refused."),
        (Policy(Aggregation(5), Log()), "released all the same, and marked in the audit log"),
        (Policy(Aggregation(5), Suppress()), "cut down to its safe part"),
        (Policy(Aggregation(5), Review(), review_zone=Aggregation(3)), "if it is about at least 3 people"),
        (Policy(Aggregation(5), Review(), review_zone=FalseRule()), "Anything else is refused."),
        (Policy(Aggregation(5), Review(), savable=False), "may not be saved"),
        (Policy(Aggregation(5), Review(), unit="pid"), "told apart by pid"),
        (Policy(Aggregation(5), Review(), unit="row"), "Every row is one person."),
        (Policy(Aggregation(5), Review(), roles={"Name": "hidden"}), "never shown: Name."),
        (Policy(Aggregation(5), Review(), weaken=("dominance",)), "Dominance is off"),
        (Policy(Aggregation(5), Review(), derived={"bmi": "w / h ** 2"}), "bmi = w / h ** 2"),
        (Policy(Aggregation(5), Review(), audiences={"t": ("a", "b")}), "a and b count as one"),
        (Policy(AtLeastNOf(2, [Aggregation(5), Dominance(p=0.5)]), Review()), "50 % of the largest"),
        (Policy(AtLeastNOf(2, [Aggregation(5), Homogeneity(columns="all")]), Review()), "in any column"),
        (Policy.strict(unit="pid"), "Only quasi and public columns may choose people"),
        (Policy.strict(unit="pid"), "rounded to multiples of 5, other numbers to 3 significant digits"),
        (Policy(AtLeastNOf(2, [Aggregation(5), Rounding(10, 2)]), Review()), "multiples of 10, other numbers to 2"),
        (Policy.private(1.0), "epsilon 1"),
    ],
)
def test_policies_in_words(policy, expected):
    assert expected in said(policy)


def test_words_are_for_a_requester():
    policy = Policy(AtLeastNOf(1, [UserId("alice"), Aggregation(20)]), Reject())
    assert "Everything is released" in said(policy, "alice")
    assert "20 people" not in said(policy, "alice")
    assert "20 people" in said(policy, "bob")
    assert "For alice: everything is released" in said(policy)


@given(policies(), st.sampled_from([None, "alice", "eve"]))
def test_every_policy_has_words(policy, requester):
    lines = policy_words(policy, requester)
    assert lines
    assert all(line[0].isupper() or line[0] in "abcde" for line in lines)
    assert (AUDITED in lines) == (policy.effective(requester or "").zone == "guarded")
    assert set(policy.unsupported()) <= set(lines)


@given(rules)
def test_every_rule_has_words(rule):
    assert rule_words(rule).strip()


@pytest.mark.parametrize(("rows", "said"), [(1, "more than 1 row."), (3, "more than 3 rows.")])
def test_how_many_rows_a_person_has(rows, said):
    assert said in policy_words(Policy(Aggregation(5), Review(), unit="id", rows_per_unit=rows))[0]


def test_what_a_fit_may_take():
    caps = Training(max_steps=2_000, max_parameters=100_000)
    policy = Policy.private(epsilon=1, unit="id", training=caps)
    said = "A model trains at most 100,000 numbers and takes at most 2,000 steps."
    assert said in policy_words(policy) and said in policy_words(policy, "alice")
    assert Training(max_steps=1).words() == "A model takes at most 1 step."
    assert Policy.private(epsilon=1, unit="id", training=Training()) == Policy.private(epsilon=1, unit="id")
