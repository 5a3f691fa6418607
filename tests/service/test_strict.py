"""A strict table on a real server: declared roles, rounded answers, one code, steps of time."""

from __future__ import annotations

import time

import polars as pl
import pytest
from bastion_plan.errors import BastionError
from bastion_policy.model import Policy, Role, RoleKind
from bastion_policy.toml import from_toml, to_toml
from bastion_server.service.latency import STEP, steps

from bastion import Denied

ROLES = {
    "PassengerId": "identifier", "Survived": "quasi", "Pclass": "quasi", "Name": "hidden", "Sex": "quasi",
    "Age": Role(RoleKind.MEASURE, 0, 100), "SibSp": "quasi", "Parch": "quasi", "Ticket": "identifier",
    "Fare": Role(RoleKind.MEASURE, 0, 600), "Cabin": "identifier", "Embarked": "quasi",
}  # fmt: skip


def policy(**changes: object) -> Policy:
    preset = Policy.strict(unit="PassengerId")
    given: dict = {"roles": ROLES, **changes}
    return Policy(preset.safe_zone, preset.unsafe_handling, unit="PassengerId", profile="strict", **given)


@pytest.fixture(scope="module")
def strict(world, titanic):
    world.owner.client.polars.send_df(titanic, name="strict", policy=policy())
    return world.user.client.polars.get_df("strict")


def test_undeclared_columns_are_refused_with_suggestions_to_copy(world, titanic):
    some = {c: r for c, r in ROLES.items() if c not in ("Age", "Sex", "Ticket")}
    with pytest.raises(BastionError) as caught:
        world.owner.client.polars.send_df(titanic, name="guessed", policy=policy(roles=some))
    error = caught.value
    assert error.code == "policy.role.undeclared"
    assert "'Sex', 'Age', 'Ticket'" in error.message
    assert "Fare" not in error.message
    assert "guessed" not in {card.facts.name for card in world.owner.cards()}
    # what is suggested can be copied as it stands
    lines = error.next_step.partition("[roles]\n")[2]
    head, _, tail = to_toml(policy(roles=some)).partition("[roles]\n")
    copied = from_toml(f"{head}[roles]\n{lines}\n{tail}")
    assert copied.roles is not None and set(copied.roles) == set(ROLES)
    card = world.owner.client.polars.send_df(titanic, name="confirmed", policy=copied).dataset
    assert card.facts.unconfirmed == ()


def test_a_table_cannot_become_strict_by_guesses(world, titanic):
    world.owner.client.polars.send_df(titanic, name="loose", unit="PassengerId")
    with pytest.raises(BastionError) as caught:
        world.owner.set_policy("loose", Policy.strict(unit="PassengerId"))
    assert caught.value.code == "policy.role.undeclared"
    world.owner.set_policy("loose", policy())
    assert world.owner.dataset("loose").dataset.facts.policy.profile == "strict"


def test_answers_are_rounded(strict, titanic):
    shown = strict.group_by("Pclass").agg(n=pl.len(), fare=pl.col("Fare").mean(), lived=pl.col("Survived").sum())
    table = shown.fetch().sort("Pclass")
    real = (
        titanic.group_by("Pclass")
        .agg(n=pl.len(), fare=pl.col("Fare").mean(), lived=pl.col("Survived").sum())
        .sort("Pclass")
    )
    assert all(v % 5 == 0 for v in [*table["n"], *table["lived"]])
    assert table["n"].to_list() == [(v + 2) // 5 * 5 for v in real["n"]]
    for a, b in zip(table["fare"], real["fare"], strict=True):
        assert a != b
        assert a == pytest.approx(b, rel=0.03)


def test_predicates_on_measures_are_refused_by_name(strict):
    with pytest.raises(Denied, match="'Age' is a measure") as caught:
        strict.filter(pl.col("Age") > 30).select(pl.len()).fetch()
    assert caught.value.rule == "strict-role"


def test_one_code_and_no_counts_for_what_is_withheld(world, strict):
    """Hardly anybody of the third class paid nothing or much: what failed is not told."""
    strict.filter(pl.col("Parch") >= 3).group_by("Pclass").agg(pl.col("Fare").sum(), pl.col("Age").mean()).fetch()
    note = world.user.last.note
    assert {f.rule for f in note.findings} <= {"suppressed"}
    assert note.suppressed is None


def test_answers_and_denials_leave_at_whole_steps(world, strict):
    allowed = [s for s, _ in zip(steps(), range(60), strict=False)]
    for plan in (strict.select(pl.len()), strict.group_by("Sex").agg(pl.col("Age").mean())):
        plan.fetch()
        assert min(abs(world.user.last.elapsed - s) for s in allowed) < 1e-9
    started = time.monotonic()
    with pytest.raises(Denied):
        strict.filter(pl.col("Age") > 30).select(pl.len()).fetch()
    assert time.monotonic() - started >= STEP


def test_progress_of_the_work_is_not_told(world, strict):
    stages = []
    world.user._run(world.user._run_plan(strict.select(pl.col("Fare").mean())._plan, on_progress=stages.append))
    assert {p.stage for p in stages} <= {"queued", "running"}
