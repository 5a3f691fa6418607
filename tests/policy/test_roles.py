"""Roles at upload: inferred from counts, declared by the owner, shown in a table."""

from pathlib import Path

import polars as pl
import pytest
from bastion_plan.dtypes import BINARY, BOOLEAN, DATE, FLOAT64, INT64, STRING, DType, duration, list_of
from bastion_plan.errors import BindError, PolicyError
from bastion_plan.expressions import Call, Column, Literal
from bastion_policy.derived import columns_of, parse_derived
from bastion_policy.facts import ColumnFacts, ColumnMeasures, DatasetFacts, PrivateFacts, column_facts
from bastion_policy.model import Aggregation, Log, Policy, Review, Role, RoleKind, TrueRule, measure, public, quasi
from bastion_policy.roles import infer_role
from bastion_policy.words import role_table
from hypothesis import given
from hypothesis import strategies as st

TITANIC = Path(__file__).parents[2] / "notebooks" / "data" / "titanic.csv"


@pytest.fixture(scope="module")
def titanic():
    frame = pl.read_csv(TITANIC)
    schema = {name: DType(str(t)) for name, t in frame.schema.items()}
    columns = {
        name: ColumnMeasures(frame[name].null_count(), frame[name].drop_nulls().n_unique()) for name in frame.columns
    }
    return schema, PrivateFacts(frame.height, frame.height, 1, columns)


def test_titanic_comes_out_sensibly(titanic):
    found = {c.name: c.role.kind.value for c in column_facts(*titanic, Policy.default())}
    assert found == {
        "PassengerId": "identifier",
        "Survived": "quasi",
        "Pclass": "quasi",
        "Name": "identifier",
        "Sex": "quasi",
        "Age": "measure",
        "SibSp": "quasi",
        "Parch": "quasi",
        "Ticket": "identifier",  # 681 of 891 are distinct
        "Fare": "measure",
        "Cabin": "identifier",  # 147 of 204 are distinct
        "Embarked": "quasi",
    }


def test_declared_roles_come_first_and_hidden_ones_last(titanic):
    policy = Policy(Aggregation(10), Review(), roles={"Sex": quasi("male", "female"), "Name": "quasi"})
    found = {c.name: c for c in column_facts(*titanic, policy, sanitized=["Name"])}
    assert found["Name"].role.kind is RoleKind.HIDDEN
    assert not found["Name"].inferred
    assert found["Sex"].domain == ("male", "female")
    assert found["Age"].inferred


def test_the_unit_is_an_identifier(titanic):
    found = {c.name: c for c in column_facts(*titanic, Policy(Aggregation(10), Review(), unit="Pclass"))}
    assert found["Pclass"].role.kind is RoleKind.IDENTIFIER
    assert not found["Pclass"].inferred


@pytest.mark.parametrize(
    ("dtype", "nulls", "distinct", "rows", "kind"),
    [
        (STRING, 0, 51, 100, "identifier"),
        (STRING, 0, 50, 100, "quasi"),
        (STRING, 80, 11, 100, "identifier"),  # of the 20 entries, not of the rows
        (STRING, 0, 1, 1, "quasi"),  # one value tells nobody apart
        (INT64, 0, 95, 100, "identifier"),
        (INT64, 0, 94, 100, "measure"),
        (INT64, 0, 21, 100, "measure"),
        (INT64, 0, 20, 100, "quasi"),
        (FLOAT64, 0, 100, 100, "measure"),
        (FLOAT64, 0, 2, 100, "measure"),
        (duration(), 0, 100, 100, "measure"),
        (BOOLEAN, 0, 2, 2, "quasi"),
        (DATE, 0, 100, 100, "quasi"),
        (DType("Datetime", unit="us"), 0, 100, 100, "quasi"),
        (DType("Enum", categories=("a", "b")), 0, 2, 100, "quasi"),
        (list_of(INT64), 0, 3, 100, "sensitive"),
        (BINARY, 0, 3, 100, "sensitive"),
        (STRING, 100, 0, 100, "quasi"),
        (INT64, 0, 0, 0, "quasi"),
        (DType("Null"), 5, 0, 5, "quasi"),
    ],
)
def test_thresholds(dtype, nulls, distinct, rows, kind):
    assert infer_role(dtype, nulls, distinct, rows).kind.value == kind


@given(st.sampled_from([STRING, INT64, FLOAT64, DATE]), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_no_bounds_are_invented(dtype, nulls, distinct, rows):
    role = infer_role(dtype, nulls, distinct, rows)
    assert (role.lower, role.upper, role.domain) == (None, None, None)


@pytest.mark.parametrize(
    ("roles", "code"),
    [
        ({"Sex": measure(0, 1)}, "policy.role.type"),
        ({"Pclass": public("1", "2")}, "policy.role.type"),
        ({"Sex": quasi(1)}, "policy.role.type"),
        ({"Survived": quasi(True)}, "policy.role.type"),
        ({"Pclass": quasi(1.5)}, "policy.role.type"),
        ({"Sexx": "quasi"}, "policy.column"),
    ],
)
def test_a_role_must_fit_its_column(titanic, roles, code):
    with pytest.raises(PolicyError) as error:
        column_facts(*titanic, Policy(Aggregation(10), Review(), roles=roles))
    assert error.value.code == code


def test_the_table_for_the_owner(titanic):
    table = role_table(column_facts(*titanic, Policy(TrueRule(), Log(), roles={"Age": measure(0, 100)})))
    rows = {line.split()[0]: line for line in table.splitlines()}
    assert "measure(0, 100)" in rows["Age"]
    assert "declared" in rows["Age"]
    assert "inferred" in rows["Fare"]
    assert "confirm" in table
    assert "512" not in table  # the highest fare is one person's


def dataset(**more):
    columns = (
        ColumnFacts("a", INT64, Role("quasi"), inferred=True),
        ColumnFacts("b", STRING, Role("hidden")),
    )
    return DatasetFacts("d1", "people", 1, columns, Policy.default(), **more)


def test_facts_of_a_dataset():
    facts = dataset()
    assert facts.schema == {"a": INT64, "b": STRING}
    assert facts.hidden == ("b",)
    assert facts.unconfirmed == ("a",)
    assert facts.roles["a"] == Role("quasi")
    assert facts.domain == "d1"
    assert dataset(unit_domain="patients").audience("alice") == ("patients", "alice")
    with pytest.raises(BindError):
        facts.column("c")


def test_a_changed_policy_confirms_roles():
    facts = dataset().with_policy(Policy(Aggregation(20), Log(), unit="row", roles={"a": measure(0, 9)}))
    assert facts.policy_version == 2
    assert facts.column("a").role == measure(0, 9)
    assert facts.unconfirmed == ()
    assert (facts.unit, facts.unit_declared) == (None, True)
    with pytest.raises(PolicyError):
        facts.with_policy(Policy(Aggregation(20), Log(), roles={"b": measure(0, 1)}))


def test_listed_arithmetic_becomes_a_plan_expression():
    found = parse_derived("bmi", "weight / height ** 2")
    assert found == Call("truediv", (Column("weight"), Call("pow", (Column("height"), Literal(DType("DynInt"), 2)))))
    assert columns_of(parse_derived("x", "col('body weight') - -2.5 * w")) == ("body weight", "w")


@pytest.mark.parametrize(
    "text",
    ["", "1 + 2", "a b", "a < b", "a if b else c", "f(a)", "col(a)", "a.b", "a[0]", "'a'", "True * a", "a @ b", "~a",
     "lambda: a", "__import__('os')", "(" * 300 + "a" + ")" * 300, "a" * 2000, f"a * {10**30}", "[a for a in b]", 3],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(PolicyError) as error:
        parse_derived("x", text)
    assert error.value.code == "policy.derived"


def test_a_column_that_varies_says_so():
    assert str(measure(0, 9, varies=True)) == "measure(0, 9), varies"
    assert str(Role("sensitive", varies=True)) == "sensitive, varies"
    with pytest.raises(PolicyError) as error:
        Role("measure", varies="yes")
    assert error.value.code == "policy.role.varies"
