"""The line of a query that a cell gave a name: soft on the way to an aggregate, said once, and never a tick for what may be nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from bastion_policy.model import Aggregation, Log, Policy, Reject, Suppress
from bastion_policy.verdict import Outcome

from bastion.render.verdicts import assigned, verdict_of

Run = Callable[..., Any]
PIPELINE = """t = dataset("titanic")
adults = t.filter(pl.col("Age") > 17)
named = adults.with_columns(old=pl.col("Age") > 60)
rates = named.group_by("Pclass").agg(pl.col("Survived").mean())
sorted_rates = rates.sort("Pclass")
first = t.head(3)"""


def under(env: Any, handling: Any) -> None:
    """Put another policy on the tables."""
    datasets = env.connection._session.datasets
    for key, card in datasets.items():
        facts = msgspec.structs.replace(card.facts, policy=Policy(Aggregation(10), handling))
        datasets[key] = env.connection._datasets[key] = msgspec.structs.replace(card, facts=facts)


def lines(run: Run, env: Any, cell: str = PIPELINE) -> dict[str, str]:
    before = dict(env.names)
    result = run(cell)
    return dict(line.split(": ", 1) for line in assigned(before, env.names, result.value))


def test_a_step_on_the_way_is_said_softly_and_once(run: Run, env: Any) -> None:
    said = lines(run, env)
    assert said["adults"] == "rows as they stand are for the owner to decide; aggregates pass"
    assert said["rates"].startswith("✓ Released automatically")
    assert said["first"].startswith("⚑ Needs the owner's review because head(3)"), "no aggregate of it passes"
    assert said.keys() == {"adults", "rates", "first"}, "what is said is not said again of what goes on from it"
    assert lines(run, env, "more = named.filter(pl.col('Pclass') == 1)").keys() == {"more"}, "but in another cell"
    assert env.names["adults"].verdict.outcome is Outcome.REVIEW, "the verdict is as it was"


@pytest.mark.parametrize(
    ("handling", "adults", "first"),
    [
        (Reject(), "rows as they stand are not released; aggregates pass", "✗ Refused because"),
        (Suppress(), "rows as they stand have at most a safe part to show; aggregates pass", "◐ Only the safe part is"),
        (Log(), "✓ Released, and logged as unsafe because", "✓ Released, and logged as unsafe because"),
    ],
)
def test_the_line_says_what_the_owner_does_with_rows(
    run: Run, env: Any, handling: Any, adults: str, first: str
) -> None:
    under(env, handling)
    said = lines(run, env)
    assert said["adults"].startswith(adults)
    assert said["first"].startswith(first)


def test_a_safe_part_that_there_may_not_be_has_no_tick(run: Run, env: Any) -> None:
    under(env, Suppress())
    run('t = dataset("titanic")', "first = t.head(3)")
    frame = env.names["first"]
    assert verdict_of(frame).startswith("◐ Only the safe part is released, if there is one, because head(3)")
    assert "Aggregate first" in verdict_of(frame)
    assert "if there is one" in repr(frame)
    assert "if there is one" in frame.explain()


def test_a_frame_that_is_displayed_says_how_to_run_it(run: Run) -> None:
    (shown,) = run('t = dataset("titanic")', "display(t.select(pl.len()))").displayed
    assert "not run yet: .fetch() brings the result" in repr(shown)
