"""What an owner does besides deciding: revoke an approval, try a policy on the past, read the log with filters."""

from __future__ import annotations

import threading
import time

import polars as pl
import pytest
from bastion_wire import messages as m

from bastion import BastionError, Denied
from bastion.policy import Aggregation, Policy, Reject


def denial(frame) -> Denied:
    with pytest.raises(Denied) as caught:
        frame.fetch()
    return caught.value


def approved(world, rows: int, **options):
    titanic = world.user.client.polars.get_df("titanic")
    denied = denial(titanic.head(rows))
    request = denied.request("to see them")
    world.owner.approve(request.id, **options)
    return denied, request


# ---- revoking ----------------------------------------------------------------------------------------------------------


def test_a_revoked_approval_gives_nothing_more_and_says_so_at_once(world):
    titanic = world.user.client.polars.get_df("titanic")
    denied, request = approved(world, 31, until=time.time() + 600)
    assert denied.wait(60).height == 31
    assert titanic.head(31).fetch().height == 31
    heard, seen = threading.Event(), []
    remove = world.user.on_decision(lambda r: r.id == request.id and (seen.append(r.info), heard.set()))
    ended = world.owner.revoke(request.id, "The study is over.")
    assert ended.info.ended == "revoked"
    assert heard.wait(60)
    remove()
    assert seen[-1].ended == "revoked"
    assert seen[-1].answer == "The study is over."
    assert denial(titanic.head(31)).outcome == "review"
    with pytest.raises(Denied) as caught:
        denied.wait(60)
    assert caught.value.message == "The owner took the approval back."
    assert "The study is over." in caught.value.reason
    (record,) = [r for r in world.owner.audit("titanic", kinds=["decision"]) if r.summary.startswith("revoke ")]
    assert record.who == "olga"
    assert request.id in record.summary
    with pytest.raises(BastionError) as caught:
        world.owner.revoke(request.id)
    assert caught.value.code == "input.grant.ended"
    again = titanic.head(31)
    assert denial(again).request("once more").state == "pending", "one may ask anew"
    world.owner.deny(world.owner.requests("pending")[-1], "no")


def test_only_an_owner_of_the_request_revokes_and_only_what_was_approved(world):
    denied, request = approved(world, 32, until=time.time() + 600)
    with pytest.raises(BastionError) as caught:
        world.other.revoke(request.id)
    assert caught.value.code == "missing.request"
    with pytest.raises(BastionError) as caught:
        world.user.revoke(request.id)
    assert caught.value.code in ("missing.request", "wire.auth.signature", "wire.auth.role")
    assert denied.wait(60).height == 32, "it still holds"
    pending = denial(world.user.client.polars.get_df("titanic").head(33)).request("more")
    with pytest.raises(BastionError) as caught:
        world.owner.revoke(pending.id)
    assert caught.value.code == "input.request.revoking"
    world.owner.deny(pending.id, "no")


def test_an_unsigned_or_reused_revocation_is_refused(world):
    _, request = approved(world, 34, until=time.time() + 600)
    body = m.Decide(request.id, "revoke", "", 0.0, False, False, b"")
    with pytest.raises(BastionError) as caught:
        world.owner._run(world.owner._ask(body))
    assert caught.value.code.startswith("wire.auth")
    assert world.owner.request(request.id).info.ended == ""
    world.owner.revoke(request.id)


def test_a_sealed_result_is_gone_with_its_approval(world):
    _, request = approved(world, 35, may_read=False)
    assert denial(world.user.client.polars.get_df("titanic").head(35)).rule == "owner-grant"
    assert world.owner.request(request.id).info.ran
    world.owner.revoke(request.id, "changed my mind")
    with pytest.raises(BastionError):
        world.owner.approve_reading(request.id)
    assert denial(world.user.client.polars.get_df("titanic").head(35)).outcome == "review"


# ---- trying a policy ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def past(world):
    """A table of its own, with a past: one answer, one denial, one request."""
    frame = pl.DataFrame({"sex": ["m", "f"] * 60, "age": [float(20 + i % 40) for i in range(120)], "pay": range(120)})
    policy = Policy(
        safe_zone=Aggregation(10), unsafe_handling=Policy.default().unsafe_handling, unit="row",
        roles={"sex": "quasi", "age": "measure", "pay": "measure"},
    )  # fmt: skip
    world.owner.client.polars.send_df(frame, policy, name="staff")
    staff = world.user.client.polars.get_df("staff")
    rates = staff.group_by("sex").agg(pl.col("age").mean().alias("mean"))
    assert rates.fetch().height == 2
    assert rates.fetch().height == 2
    denial(staff.head(3)).request("three rows")
    yield staff
    world.owner.deny(world.owner.requests("pending")[-1], "no")


def of(trial, words: str):
    return next(q for q in trial.queries if words in q.words or words in q.rule or q.ended.startswith(words))


def test_the_policy_as_it_is_changes_nothing(world, past):
    trial = world.owner.try_policy("staff")
    assert len(trial.queries) == 2
    assert trial.changed == ()
    released = of(trial, "released")
    assert (released.before, released.after, released.times, released.who) == ("release", "release", 2, "alice")
    requested = of(trial, "request pending")
    assert (requested.before, requested.after, requested.rule) == ("review", "review", "row-level")
    assert requested.request
    assert "None of the 2" in trial.sentence()


def test_a_tighter_policy_says_what_it_would_refuse_and_what_must_be_measured(world, past):
    trial = world.owner.try_policy("staff", Policy(safe_zone=Aggregation(100), unsafe_handling=Reject(), unit="row"))
    assert {q.after for q in trial.queries} == {"release", "refuse"}
    (less,) = trial.tighter
    assert less.rule == "row-level"
    released = of(trial, "released")
    assert "60 people, fewer than the 100" in released.measured
    trial = world.owner.try_policy("staff", roles={"age": "hidden"})
    assert of(trial, "released").after in ("review", "refuse")
    assert of(trial, "released").rule == "hidden-column"
    assert trial.table["why"].null_count() < 2


def test_a_trial_changes_nothing(world, past):
    before = world.owner.dataset("staff").dataset.facts
    size = len(world.owner.audit("staff", 1000))
    world.owner.try_policy("staff", Policy.open())
    world.owner.try_policy("staff", roles={"age": "hidden"})
    assert world.owner.dataset("staff").dataset.facts == before
    assert len(world.owner.audit("staff", 1000)) == size
    assert past.group_by("sex").agg(pl.col("age").mean().alias("mean")).fetch().height == 2


def test_an_open_policy_leaves_nothing_to_measure(world, past):
    trial = world.owner.try_policy("staff", Policy.open())
    assert {(q.after, q.measured) for q in trial.queries} == {("release", "")}
    (more,) = trial.looser
    assert more.before == "review"
    assert any("released to everyone" in w for w in trial.message.warnings)


def test_a_policy_that_cannot_be_has_its_line(world, past):
    with pytest.raises(BastionError) as caught:
        world.owner.try_policy("staff", 'unit = "row"\nunsafe = "review"\n\n[safe_zone]\naggregaton = 10\n')
    assert caught.value.details["line"] == 5
    assert "aggregation" in caught.value.next_step


@pytest.mark.parametrize("who", ["user", "other"])
def test_nobody_but_the_owner_tries_policies(world, past, who):
    with pytest.raises(BastionError) as caught:
        getattr(world, who).try_policy("staff")
    assert caught.value.code in ("wire.auth.owner", "missing.dataset")


def test_past_queries_survive_a_deleted_and_made_again_dataset_not_at_all(world):
    world.owner.client.polars.send_df(pl.DataFrame({"a": range(50)}), name="brief", unit="row")
    denial(world.user.client.polars.get_df("brief").head(1))
    assert len(world.owner.try_policy("brief").queries) == 1
    world.owner.delete("brief")
    world.owner.client.polars.send_df(pl.DataFrame({"a": range(50)}), name="brief", unit="row")
    assert world.owner.try_policy("brief").queries == ()
    world.owner.delete("brief")


# ---- the log -----------------------------------------------------------------------------------------------------------


def test_filters_of_the_log(world, past):
    begin = time.time()
    denial(world.other.client.polars.get_df("staff").head(2))
    denial(past.head(2))
    everything = world.owner.audit("staff", 1000)
    theirs = world.owner.audit("staff", 1000, who="bob")
    assert theirs
    assert {r.who for r in theirs} == {"bob"}
    outcomes = world.owner.audit("staff", 1000, kinds=("outcome",))
    assert {r.kind_of for r in outcomes} == {"outcome"}
    new = world.owner.audit("staff", 1000, since=begin)
    assert {r.who for r in new} == {"alice", "bob"}
    assert len(new) < len(everything)
    old = world.owner.audit("staff", 1000, until=begin)
    assert [r.index for r in old] + [r.index for r in new] == [r.index for r in everything]
    page = world.owner.audit("staff", 3)
    before = world.owner.audit("staff", 3, below=page[0].index)
    assert [r.index for r in before + page] == [r.index for r in everything[-6:]]
    assert world.owner.audit("staff", red=True) == []
    assert world.owner.audit("staff", since=time.time() + 3600) == []
    with pytest.raises(BastionError) as caught:
        world.owner.audit(kinds=["nonsense"])
    assert caught.value.code == "input.audit.kind"


def test_filters_open_nothing_to_others(world, past):
    with pytest.raises(BastionError) as caught:
        world.user.audit(who="bob")
    assert caught.value.code == "wire.auth.role"
