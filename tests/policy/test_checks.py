"""Policies that contradict themselves or their data are refused, each with its key and what to do."""

import pytest
from bastion_plan.dtypes import FLOAT64, INT64, STRING
from bastion_plan.errors import PolicyError
from bastion_policy.checks import alike, check_data, check_people, check_rules, strangers
from bastion_policy.facts import ColumnFacts, ColumnMeasures, DatasetFacts, PrivateFacts, column_facts
from bastion_policy.model import (
    Aggregation,
    AtLeastNOf,
    DifferentialPrivacy,
    Dominance,
    FalseRule,
    Log,
    Policy,
    Reject,
    Review,
    Role,
    Suppress,
    Training,
    TrueRule,
    UserId,
    measure,
)

K = Aggregation(10)
CAROL, BOB = UserId("carol"), UserId("bob")

GOOD = [
    Policy.default(), Policy.open(), Policy.strict(unit="a"), Policy.private(epsilon=1.0),
    Policy(FalseRule(), Review()), Policy(FalseRule(), Reject(), review_zone=FalseRule()),
    Policy(AtLeastNOf(1, [CAROL, K]), Review(), review_zone=K),
    Policy(AtLeastNOf(2, [CAROL, K]), Review()),
    Policy(AtLeastNOf(1, [AtLeastNOf(2, [CAROL, K]), AtLeastNOf(2, [BOB, Aggregation(5)])]), Review()),
    Policy(AtLeastNOf(2, [K, Dominance(p=0.2)]), Review()),
    Policy(AtLeastNOf(2, [K, TrueRule()]), Review()),
    Policy(AtLeastNOf(1, [CAROL, DifferentialPrivacy(1.0)]), Reject(), review_zone=FalseRule()),
    Policy(K, Review(), unit="row", rows_per_unit=1),
    Policy(K, Review(), roles={"w": measure(0, 300)}, derived={"double": "w * 2"}),
    Policy(K, Review(), roles={"w": "quasi", "v": "measure"}, reserved=[["w"], ["w", "v"]]),
    Policy(AtLeastNOf(1, [CAROL, K]), Suppress(), unit="a", profile="strict", reserved=[["w"]]),
]  # fmt: skip


@pytest.mark.parametrize("policy", GOOD)
def test_policies_that_can_be_kept(policy):
    check_rules(policy)


BAD = [
    (Policy(AtLeastNOf(2, [CAROL, BOB]), Review()), "policy.zone.impossible", "safe_zone"),
    (Policy(AtLeastNOf(2, [K, FalseRule()]), Review()), "policy.zone.impossible", "safe_zone"),
    (Policy(AtLeastNOf(1, [K, AtLeastNOf(3, [CAROL, BOB, K])]), Review()), "policy.zone.impossible", "safe_zone.of[1]"),
    (Policy(K, Review(), review_zone=AtLeastNOf(2, [CAROL, BOB])), "policy.zone.impossible", "review_zone"),
    (Policy(AtLeastNOf(1, [K, TrueRule()]), Review()), "policy.zone.always", "safe_zone"),
    (Policy(K, Review(), review_zone=AtLeastNOf(1, [CAROL, TrueRule()])), "policy.zone.always", "review_zone"),
    (Policy(AtLeastNOf(1, [DifferentialPrivacy(1.0), K]), Review()), "policy.zone.exact", "safe_zone"),
    (Policy(K, Review(), review_zone=FalseRule()), "policy.zone.review", "review_zone"),
    (Policy(K, Suppress(), review_zone=FalseRule()), "policy.zone.review", "review_zone"),
    (Policy(K, Log(), review_zone=FalseRule()), "policy.zone.review", "review_zone"),
    (Policy(K, Review(), roles={"w": "hidden"}, derived={"d": "w * 2"}), "policy.derived.hidden", "derived.d"),
    (Policy(K, Review(), unit="row", rows_per_unit=2), "policy.unit.rows", "rows_per_unit"),
    (Policy(TrueRule(), Log(), unit="a", profile="strict"), "policy.zone.strict", "safe_zone"),
    (Policy(K, Review(), roles={"w": "sensitive"}, reserved=[["a"], ["a", "w"]]), "policy.reserved", "reserved[1]"),
    (Policy(K, Review(), roles={"w": "hidden"}, reserved=[["w"]]), "policy.reserved", "reserved[0]"),
    (Policy(K, Review(), roles={"w": "measure"}, reserved=[["w"]], profile="strict"), "policy.reserved", "reserved[0]"),
    (Policy(DifferentialPrivacy(1.0), Review(), reserved=[["a"]]), "policy.reserved", "reserved"),
]


@pytest.mark.parametrize(("policy", "code", "path"), BAD)
def test_rules_that_contradict_each_other(policy, code, path):
    with pytest.raises(PolicyError) as caught:
        check_rules(policy)
    assert (caught.value.code, caught.value.details) == (code, {"path": path})
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: Aggregation(0), "policy.rule.number"),
        (lambda: Aggregation(-3), "policy.rule.number"),
        (lambda: DifferentialPrivacy(0), "policy.rule.number"),
        (lambda: DifferentialPrivacy(-1.0), "policy.rule.number"),
        (lambda: DifferentialPrivacy(float("inf")), "policy.rule.number"),
        (lambda: DifferentialPrivacy(float("nan")), "policy.rule.number"),
        (lambda: DifferentialPrivacy(1.0, -1e-9), "policy.rule.number"),
        (lambda: DifferentialPrivacy(1.0, 1.0), "policy.rule.number"),
        (lambda: DifferentialPrivacy(1.0, 2.0), "policy.rule.number"),
        (lambda: Policy(K, Review(), rows_per_unit=0), "policy.unit.rows"),
        (lambda: Policy(K, Review(), rows_per_unit=True), "policy.unit.rows"),
        (lambda: Training(max_steps=0), "policy.training"),
        (lambda: Training(max_parameters=1e5), "policy.training"),
        (lambda: Training(max_steps=True), "policy.training"),
        (lambda: Policy(K, Review(), training={"max_steps": 5}), "policy.training"),
        (lambda: Policy(K, Review(), audiences={"a": ["bob"], "b": ["bob"]}), "policy.audience"),
        (lambda: Policy(K, Review(), audiences={"a": []}), "policy.audience"),
    ],
)
def test_numbers_that_mean_nothing(make, code):
    with pytest.raises(PolicyError) as caught:
        make()
    assert caught.value.code == code


SCHEMA = {"id": INT64, "age": FLOAT64, "name": STRING, "empty": FLOAT64}
PRIVATE = PrivateFacts(
    40, 20, 3,
    {"id": ColumnMeasures(0, 20, 1.0, 20.0), "age": ColumnMeasures(1, 30, 0.5, 80.0), "name": ColumnMeasures(0, 40),
     "empty": ColumnMeasures(40, 0)},
)  # fmt: skip


def data_error(policy: Policy) -> PolicyError | None:
    try:
        check_data(policy, column_facts(SCHEMA, PRIVATE, policy), PRIVATE)
    except PolicyError as error:
        return error
    return None


@pytest.mark.parametrize("bounds", [(0, 100), (0.5, 80)])
def test_bounds_that_the_data_keeps(bounds):
    policy = Policy(K, Review(), unit="id", rows_per_unit=3, roles={"age": measure(*bounds), "empty": measure(1, 2)})
    assert data_error(policy) is None


@pytest.mark.parametrize("bounds", [(1, 100), (0, 79.5), (-5, -1), (100, 200)])
def test_bounds_that_the_data_violates(bounds):
    error = data_error(Policy(K, Review(), unit="id", roles={"age": measure(*bounds)}))
    assert error is not None
    assert (error.code, error.details) == ("policy.bounds", {"path": "roles.age"})
    assert "0.5 to 80" in error.reason
    assert "age" in error.message
    # what is advised passes
    low, high = min(0.5, bounds[0]), max(80.0, bounds[1])
    assert f"{low:.15g} to {high:.15g}" in error.next_step
    assert data_error(Policy(K, Review(), unit="id", roles={"age": measure(low, high)})) is None


def test_a_unit_that_is_not_unique():
    error = data_error(Policy(K, Review(), unit="id", rows_per_unit=1))
    assert error is not None
    assert (error.code, error.details) == ("policy.unit.unique", {"path": "rows_per_unit"})
    assert "3 rows" in error.message
    error = data_error(Policy(K, Review(), unit="id", rows_per_unit=2))
    assert error is not None
    assert error.code == "policy.unit.rows"
    assert data_error(Policy(K, Review(), unit="id", rows_per_unit=3)) is None


def test_people_who_are_not_there():
    policy = Policy(AtLeastNOf(1, [UserId("zoe"), K]), Review(), audiences={"ward": ["alice", "bbo"]})
    with pytest.raises(PolicyError, match="bbo") as caught:
        check_people(policy, {"alice", "bob"}.__contains__)
    assert (caught.value.code, caught.value.details) == ("policy.audience.unknown", {"path": "audiences.ward"})
    check_people(policy, {"alice", "bbo"}.__contains__)
    (sentence,) = strangers(policy, {"alice"}.__contains__)
    assert "'zoe'" in sentence
    assert strangers(policy, {"zoe"}.__contains__) == ()


def test_owners_are_told_which_columns_count_as_alike_in_the_rows_of_a_person():
    def facts(policy: Policy, **roles: Role) -> DatasetFacts:
        columns = (
            ColumnFacts("id", INT64, Role("identifier")),
            *(ColumnFacts(c, FLOAT64, r) for c, r in roles.items()),
        )
        return DatasetFacts("t", "t", 1, columns, policy, unit="id")

    several, one = PrivateFacts(30, 10, 3, {}), PrivateFacts(30, 30, 1, {})
    roles = {"pay": measure(0, 100), "bmi": Role("sensitive"), "day": Role("quasi")}
    (text,) = alike(facts(Policy.default(), **roles), several)
    assert "up to 3 rows" in text
    assert "'pay' and 'bmi' counts as alike" in text
    assert text.endswith('pay = { role = "measure", lower = 0, upper = 100, varies = true }.')
    assert not alike(facts(Policy.default(), **roles), one)
    assert not alike(facts(Policy.private(epsilon=1.0, unit="id"), **roles), several)
    assert not alike(facts(Policy.default(), pay=measure(0, 100, varies=True)), several)
