"""Completion names last what a policy never releases, and says so; it is judged once for columns alike."""

from __future__ import annotations

import time

import polars as pl
import pytest
from bastion_policy.model import from_toml
from bastion_wire import messages as m
from fake_session import fake_connection
from msgspec import structs

from bastion.language import Environment
from bastion.language.completion import complete

REJECT = """unsafe = "reject"
unit = "id"
[safe_zone]
aggregation = 10
[roles]
id = "identifier"
name = "hidden"
age = { role = "measure", lower = 0, upper = 100 }
fare = { role = "measure", lower = 0, upper = 100 }
"""
TABLE = pl.DataFrame({"id": [1], "age": [1.0], "fare": [2.0], "name": ["x"]})


@pytest.fixture
def env() -> Environment:
    connection = fake_connection({"people": TABLE, "free": TABLE}, flavour="async")
    policy = from_toml(REJECT)
    for card in list(connection._datasets.values()):
        columns = tuple(structs.replace(c, role=policy.roles[c.name]) for c in card.facts.columns)
        if card.facts.name == "people":
            facts = structs.replace(card.facts, policy=policy, columns=columns, unit="id")
            connection._know({**connection._datasets, facts.id: m.Dataset(facts)})
    return Environment(connection)


def kinds(env: Environment, code: str) -> dict[str, str]:
    found = complete(env, code, len(code))
    return dict(zip(found.matches, found.kinds, strict=True))


def test_statistics_that_are_never_released_come_last(env):
    code = 'dataset("people").select(pl.col("age").'
    found = kinds(env, code)
    assert found["mean"] == "function"
    assert found["first"] == "refused"
    assert found["implode"] == "refused"
    refused = [name for name, kind in found.items() if kind == "refused"]
    assert list(found)[-len(refused) :] == refused
    assert "cum_sum" not in refused, "what comes after it may be a statistic"
    assert kinds(env, code + "fi")["first"] == "refused"


def test_it_agrees_with_the_verdict(env):
    from bastion_plan.nodes import Scan

    from bastion.client.frames import RemoteLazyFrame
    from bastion.expressions import col

    (facts,) = [c.facts for c in env.connection._datasets.values() if c.facts.name == "people"]
    frame = RemoteLazyFrame(env.connection, Scan(facts.id))
    found = kinds(env, 'dataset("people").select(pl.col("age").')
    for name in ("mean", "sum", "min", "first", "last", "count", "std", "mode"):
        verdict = frame.select(getattr(col("age"), name)()).verdict
        assert (found[name] == "refused") == (verdict.outcome == "refuse"), name


def test_nothing_is_dimmed_where_no_dataset_is_named_or_it_is_open(env):
    assert "refused" not in kinds(env, 'pl.col("age").').values()
    assert "refused" not in kinds(env, 'pl.col("nobody").').values()
    assert "refused" not in kinds(env, 'dataset("people").select(pl.col("age").mean().').values()


def test_hidden_columns_come_last(env):
    found = kinds(env, 'dataset("people").select("')
    assert list(found)[-1] == "name"
    assert found["name"] == "hidden"


def test_a_new_policy_is_judged_anew(env):
    code = 'dataset("people").select(pl.col("age").'
    assert kinds(env, code)["first"] == "refused"
    (card,) = [c for c in env.connection._datasets.values() if c.facts.name == "people"]
    from bastion.policy import Policy

    facts = structs.replace(card.facts, policy=Policy.open())
    env.connection._know({**env.connection._datasets, facts.id: m.Dataset(facts)})
    assert kinds(env, code)["first"] == "function"


def test_it_is_quick(env):
    for column in ("age", "fare", "id"):  # columns alike are judged once, each other one once
        kinds(env, f'dataset("people").select(pl.col("{column}").')
    times = []
    for _ in range(60):
        for column in ("age", "fare", "id"):
            begin = time.perf_counter()
            kinds(env, f'dataset("people").select(pl.col("{column}").m')
            times.append(time.perf_counter() - begin)
    assert sorted(times)[int(len(times) * 0.95)] < 0.030
