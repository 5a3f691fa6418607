"""Where history stands in the way the scientist's own earlier query is named, and never that of another."""

from __future__ import annotations

import polars as pl
import pytest

from bastion import Connection
from bastion import pl as bpl
from bastion.client.denied import Denied
from bastion.render.denials import denial_html, denial_text

EDGES = list(range(0, 90, 10))


def by_cut(frame):
    return frame.group_by(bpl.col("Age").cut(EDGES)).agg(bpl.len())


def by_tens(frame):
    return frame.group_by((pl.col("Age") // 10) * 10).agg(pl.len())


def denied(frame) -> Denied:
    with pytest.raises(Denied) as caught:
        frame.fetch()
    return caught.value


def ask_until_denied(connection: Connection, name: str) -> Denied:
    frame = connection.dataset(name)
    by_cut(frame).fetch()
    for query in (by_tens(frame), frame.group_by((pl.col("Age") / 7).floor()).agg(pl.len())):
        try:
            query.fetch()
        except Denied as found:
            if found.earlier or found.rule in ("history", "linear-audit", "edge-budget"):
                return found
    pytest.fail("history did not stand in the way")


def test_ones_own_earlier_query_is_named(world):
    found = ask_until_denied(world.user, "titanic")
    assert found.earlier
    assert {event.who for event in found.earlier} == {"alice"}
    assert found.plan_hash not in {event.plan_hash for event in found.earlier}
    assert any("Age" in event.text for event in found.earlier)
    for view in (denial_text(found), denial_html(found)):
        assert "What you were told of the same columns before:" in view
        assert found.earlier[0].text[:20] in view


def test_what_limits_further_answers_is_said_and_no_counter_is_shown(world, titanic):
    world.owner.client.polars.send_df(titanic, name="room", unit="row")
    found = ask_until_denied(world.user, "room")
    assert found.denial.answers == len(found.earlier) > 0
    assert found.room.startswith(f"You have had {found.denial.answers} answer")
    for view in (denial_text(found), denial_html(found)):
        assert "Room: You have had" in view
        assert "is not shown" in view
    frame = world.user.dataset("room").select(pl.len())
    before = frame.explain()
    frame.fetch()
    assert frame.explain() == before, "what was asked meanwhile changes nothing"
    assert "at most 1,024 independent numbers of a column" in before
    assert "room:" not in world.user.dataset("room").head(3).explain(), "it is for the owner anyway"


def test_a_denial_that_is_not_of_history_says_nothing_of_it(world):
    found = denied(world.user.dataset("titanic").select("Fare").head(4))
    assert (found.denial.answers, found.room) == (0, "")


TEAM = 'unsafe = "review"\nunit = "row"\n[safe_zone]\naggregation = 10\n[audiences]\nteam = ["alice", "bob"]\n'


def test_what_others_of_the_audience_asked_is_never_named(world, titanic):
    world.owner.client.polars.send_df(titanic, TEAM, name="shared")
    by_cut(world.other.dataset("shared")).fetch()
    found = denied(by_tens(world.user.dataset("shared")))
    assert found.rule == "linear-audit", "what bob was told stands in alice's way"
    assert found.earlier == ()
    assert "bob" not in denial_text(found)
    assert found.denial.answers == 0, "only one's own answers are counted"
    assert "What others of your audience 'team' were told takes of it, too." in found.room
    again = denied(world.other.dataset("shared").group_by((bpl.col("Age") // 10) * 10).agg(bpl.len()))
    assert {event.who for event in again.earlier} == {"bob"}


def test_a_denial_for_another_reason_names_nothing(world):
    frame = world.user.dataset("titanic")
    frame.select(pl.col("Fare").mean()).fetch()
    found = denied(frame.select("Fare").head(3))
    assert found.rule == "row-level"
    assert found.earlier == ()


def test_other_columns_are_no_news(world, titanic):
    world.owner.client.polars.send_df(titanic, name="columns", unit="row")
    world.user.dataset("columns").select(pl.col("Fare").mean()).fetch()
    found = ask_until_denied(world.user, "columns")
    assert all("Fare" not in event.text for event in found.earlier)
