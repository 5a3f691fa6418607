"""Policies as TOML: what is written reads back, and errors say where."""

import tomllib
from pathlib import Path

import pytest
from bastion_plan.errors import PolicyError
from bastion_policy.model import (
    Aggregation,
    AtLeastNOf,
    Dominance,
    Homogeneity,
    Log,
    Policy,
    Reject,
    Review,
    Role,
    RoleKind,
    Rounding,
    Suppress,
    TrueRule,
    UserId,
    from_toml,
    measure,
    quasi,
    to_toml,
)
from bastion_policy.words import policy_words
from hypothesis import given
from policy_strategies import policies

SAMPLES = sorted((Path(__file__).parents[2] / "policy" / "samples").glob("*.toml"))


@given(policies())
def test_round_trip(policy):
    text = to_toml(policy)
    assert from_toml(text) == policy
    assert to_toml(from_toml(text)) == text


@given(policies())
def test_values_keep_their_types(policy):
    for name, role in (policy.roles or {}).items():
        back = (from_toml(to_toml(policy)).roles or {})[name]
        assert [type(v) for v in back.domain or ()] == [type(v) for v in role.domain or ()]


def test_as_a_person_writes_it():
    text = """
        unit = "patient_id"
        savable = true
        unsafe = "review"
        [safe_zone]
        aggregation = 10
        [roles]
        age = "quasi"
        salary = { role = "measure", lower = 0, upper = 500000 }
    """
    assert from_toml(text) == Policy(
        Aggregation(10), Review(), unit="patient_id", roles={"age": "quasi", "salary": measure(0, 500_000)}
    )


@pytest.mark.parametrize(
    ("zone", "rule"),
    [
        ("safe_zone = true", TrueRule()),
        ("safe_zone = { aggregation = 3, homogeneity = true }", AtLeastNOf(2, [Aggregation(3), Homogeneity()])),
        ("safe_zone = { aggregation = { min_agg_size = 3 } }", Aggregation(3)),
        (
            "[safe_zone]\naggregation = 3\ndominance = { n = 1, share = 0.5 }\nrounding = { base = 10 }",
            AtLeastNOf(3, [Aggregation(3), Dominance(n=1, share=0.5), Rounding(base=10)]),
        ),
        (
            '[safe_zone]\nat_least = 1\nof = [{ user_id = "a" }, { aggregation = 4, dominance = 0.3 }, false]',
            AtLeastNOf(1, [UserId("a"), AtLeastNOf(2, [Aggregation(4), Dominance(p=0.3)]), from_toml("unsafe='log'\nsafe_zone=false").safe_zone]),
        ),
    ],
)  # fmt: skip
def test_rules(zone, rule):
    assert from_toml(f'unsafe = "suppress"\n{zone}') == Policy(rule, Suppress())


@pytest.mark.parametrize(
    ("text", "code", "where", "hint"),
    [
        ('unsafe = "review', "policy.toml", {"line": 1}, "quotes"),
        ("unsafe = 'log'\n\n[safe_zone\naggregation = 3", "policy.toml", {"line": 3}, "tables"),
        ("unsafe = 'log'\nunsafe = 'log'", "policy.toml", {"line": 2}, ""),
        ("", "policy.toml.missing", {"path": ""}, "aggregation = 10"),
        ("safe_zone = true", "policy.toml.missing", {"path": ""}, "review"),
        ("unsafe = 'reveiw'\nsafe_zone = true", "policy.action", {"path": "unsafe"}, "'review'"),
        ("unsafe = 3\nsafe_zone = true", "policy.action", {"path": "unsafe"}, "reject"),
        ("unsafe = 'log'\nsafe_zone = true\nsavabel = true", "policy.toml.key", {"path": "savabel", "line": 3}, "'savable'"),
        ("unsafe = 'log'\n[safe_zone]\nagregation = 1", "policy.toml.key", {"path": "safe_zone.agregation", "line": 3}, "'aggregation'"),
        ("unsafe = 'log'\nsafe_zone = 3", "policy.toml.type", {"path": "safe_zone"}, ""),
        ("unsafe = 'log'\n[safe_zone]", "policy.toml.type", {"path": "safe_zone"}, ""),
        ("unsafe = 'log'\nsafe_zone = { aggregation = true }", "policy.toml.type", {"path": "safe_zone.aggregation"}, ""),
        ("unsafe = 'log'\nsafe_zone = { aggregation = -1 }", "policy.rule.number", {"path": "safe_zone.aggregation"}, ""),
        ("unsafe = 'log'\nsafe_zone = { dominance = 1.5 }", "policy.rule.number", {"path": "safe_zone.dominance"}, ""),
        ("unsafe = 'log'\nsafe_zone = { dominance = {n = 2} }", "policy.rule.dominance", {"path": "safe_zone.dominance"}, "share = 0.9"),
        ("unsafe = 'log'\nsafe_zone = { differential_privacy = {} }", "policy.toml.missing", {"path": "safe_zone.differential_privacy"}, ""),
        (
            "unsafe = 'log'\n[safe_zone]\nat_least = 1\nof = [true, { user_id = 'a b' }]",
            "policy.rule.user", {"path": "safe_zone.of[1].user_id"}, "keys list",
        ),
        (
            "unsafe = 'log'\n[safe_zone]\nat_least = 3\nof = [true, { aggregation = 2 }]",
            "policy.rule.n", {"path": "safe_zone.at_least"}, "1 to 2",
        ),
        ("unsafe = 'log'\n[safe_zone]\nof = [true]", "policy.toml.type", {"path": "safe_zone"}, ""),
        ("unsafe = 'log'\nsafe_zone = true\nroles = 3", "policy.toml.type", {"path": "roles"}, ""),
        ("unsafe = 'log'\nsafe_zone = true\n[roles]\na = 'quasy'", "policy.role.kind", {"path": "roles.a"}, "'quasi'"),
        ("unsafe = 'log'\nsafe_zone = true\n[roles]\na = { lower = 1 }", "policy.toml.missing", {"path": "roles.a"}, ""),
        (
            "unsafe = 'log'\nsafe_zone = true\n[roles]\na = { role = 'measure', lower = 2, upper = 1 }",
            "policy.role.bounds", {"path": "roles.a"}, "lower < upper",
        ),
        ("unsafe = 'log'\nsafe_zone = true\n[derived]\na = 3", "policy.toml.type", {"path": "derived.a"}, ""),
        ("unsafe = 'log'\nsafe_zone = true\n[audiences]\na = 'b'", "policy.toml.type", {"path": "audiences.a"}, ""),
        ("unsafe = 'log'\nsafe_zone = true\nsavable = 'yes'", "policy.savable", {"line": 3}, ""),
    ],
)  # fmt: skip
def test_errors_say_where(text, code, where, hint):
    with pytest.raises(PolicyError) as error:
        from_toml(text)
    assert error.value.code == code
    assert where.items() <= error.value.details.items()
    assert hint in error.value.next_step + error.value.reason
    if where.get("path") and not code.endswith("key"):
        assert f": {where['path']}" in error.value.message
    assert error.value.message.startswith(f"Line {error.value.details['line']} of policy.toml")


def test_a_deeply_nested_text_is_refused():
    with pytest.raises(PolicyError):
        from_toml("unsafe = 'log'\nsafe_zone = " + "{ at_least = 1, of = [" * 300 + "true" + "]}" * 300)


def test_inferred_roles_are_written_for_the_owner_to_confirm():
    policy = Policy(Aggregation(10), Reject(), roles={"age": "quasi"})
    text = to_toml(policy, {"age": "hidden", "salary": "measure"})
    assert "confirm" in text
    assert from_toml(text).roles == {"age": Role(RoleKind.QUASI), "salary": measure()}


def test_names_are_quoted():
    policy = Policy(TrueRule(), Log(), roles={'a "b"\n.c': quasi("\x7f", "é\\"), "": "hidden", "[x]": "public"})
    assert from_toml(to_toml(policy)) == policy


def test_there_are_samples():
    assert len(SAMPLES) >= 4


@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.stem)
def test_samples(path):
    policy = from_toml(path.read_text())
    assert from_toml(to_toml(policy)) == policy
    assert policy.unsupported() == ()
    assert all(line.endswith(".") for line in policy_words(policy))
    assert tomllib.loads(path.read_text())["unsafe"] in to_toml(policy)


def test_the_page_for_owners():
    page = (Path(__file__).parents[2] / "docs" / "policies.md").read_text()
    names = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    assert from_toml(page.split("```toml\n")[1].split("```")[0]) == names["policy"]


@pytest.mark.parametrize(
    ("line", "code", "said", "fix"),
    [
        ("max_steps = 0", "policy.training", "training.max_steps must be a whole number from 1", "Write max_steps = 2000,"),
        ("max_steps = 1e3", "policy.training", "not 1000.0", "Write max_steps = 2000,"),
        ('max_parameters = "5"', "policy.training", "training.max_parameters must be", "Write max_parameters = 100000,"),
        ("max_step = 5", "policy.toml.key", "there is no key 'max_step' here", "max_steps"),
    ],
)  # fmt: skip
def test_what_a_fit_may_take_is_checked_where_it_stands(line, code, said, fix):
    text = f'unit = "id"\nunsafe = "review"\nsafe_zone = true\n\n[training]\n{line}\n'
    with pytest.raises(PolicyError) as caught:
        from_toml(text)
    error = caught.value
    assert (error.code, error.details["line"]) == (code, 6) and error.message.startswith("Line 6 of policy.toml: ")
    assert said in error.message and fix in error.next_step


def test_what_a_fit_may_take_must_be_a_table():
    with pytest.raises(
        PolicyError, match=r"Line 2 of policy.toml: training: this must be a table, written \[training\]"
    ):
        from_toml('unsafe = "review"\ntraining = 5\nsafe_zone = true\n')
