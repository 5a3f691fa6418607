"""Access requests from filing to the result, and what an approval cannot be used for."""

from __future__ import annotations

import threading
import time

import polars as pl
import pytest
from bastion_plan.canonical import encode
from bastion_wire import messages as m

from bastion import BastionError, Denied


def denial(frame) -> Denied:
    with pytest.raises(Denied) as caught:
        frame.fetch()
    return caught.value


def test_request_approve_push_result_with_hidden_names_masked(world):
    titanic = world.user.client.polars.get_df("titanic")
    heard = threading.Event()
    seen = []
    remove = world.owner.on_request(lambda r: (seen.append(r.info), heard.set()))
    denied = denial(titanic.head(5))
    request = denied.request("to see the columns")
    assert request.state == "pending"
    assert heard.wait(60)
    remove()
    info = seen[0]
    assert info.requester == "alice"
    assert info.reason == "to see the columns"
    assert "head(5)" in info.code or "slice" in info.code
    assert info.words
    world.owner.approve(info.id, "fine")
    rows = denied.wait(60)
    assert rows.height == 5
    assert rows["Name"].unique().to_list() == ["*"]
    assert rows["Age"].null_count() < 5


def test_an_approval_for_once_is_used_up(world):
    titanic = world.user.client.polars.get_df("titanic")
    denied = denial(titanic.head(6))
    request = denied.request("once")
    world.owner.approve(request.id)
    assert denied.wait(60).height == 6
    assert denial(titanic.head(6)).outcome == "review"


def test_an_approval_gives_one_table_however_often_it_is_fetched(world):
    """A sample without a seed would show other people at each run."""
    titanic = world.user.client.polars.get_df("titanic")
    sample = titanic.sample(20)
    denied = denial(sample)
    request = denied.request("twenty of them")
    sealed = world.folder / "sealed"
    before = set(sealed.iterdir())
    world.owner.approve(request.id, until=time.time() + 600)
    first = denied.wait(60)
    new = set(sealed.iterdir()) - before  # the result, and the history that it entered
    assert new
    assert not any(b"ARROW1" in path.read_bytes() for path in new)
    assert first.height == 20
    for _ in range(3):
        assert sample.fetch().equals(first)
    world.owner.set_policy("titanic", roles={"Fare": "quasi"})
    assert len(new - set(sealed.iterdir())) == 1, "the result is gone"
    assert denial(world.user.client.polars.get_df("titanic").sample(20)).outcome == "review"


def test_an_approval_is_for_one_plan_and_one_requester(world):
    titanic = world.user.client.polars.get_df("titanic")
    denied = denial(titanic.head(7))
    request = denied.request("seven")
    world.owner.approve(request.id)
    assert denial(titanic.head(8)).outcome == "review"
    theirs = world.other.client.polars.get_df("titanic")
    assert denial(theirs.head(7)).outcome == "review"
    with pytest.raises(BastionError):
        world.other.request(request.id)
    assert denied.wait(60).height == 7


def test_a_new_policy_ends_an_approval(world):
    titanic = world.user.client.polars.get_df("titanic")
    denied = denial(titanic.head(9))
    request = denied.request("nine")
    world.owner.approve(request.id)
    world.owner.set_policy("titanic", roles={"Cabin": "quasi"})
    fresh = world.user.client.polars.get_df("titanic")
    assert denial(fresh.head(9)).outcome == "review"


def test_a_denial_brings_the_owners_words(world):
    titanic = world.user.client.polars.get_df("titanic")
    denied = denial(titanic.head(11))
    request = denied.request("eleven")
    world.owner.deny(request.id, "Ask for the mean instead.")
    with pytest.raises(Denied, match="Ask for the mean instead"):
        denied.wait(60)


def test_a_decision_needs_the_owners_signature(world):
    titanic = world.user.client.polars.get_df("titanic")
    request = denial(titanic.head(12)).request("twelve")
    body = m.Decide(request.id, "approve", signed=b"\0" * 80)
    with pytest.raises(BastionError) as caught:
        world.owner._run(world.owner._ask(body))
    assert caught.value.code == "wire.auth.signature"
    signed = world.user._sign({"action": "decide"})
    with pytest.raises(BastionError) as caught:
        world.user._run(world.user._ask(m.Decide(request.id, "approve", signed=signed)))
    assert caught.value.code.startswith(("wire.auth", "missing", "input"))
    assert world.user.request(request.id).state == "pending"


def test_a_signed_decision_cannot_be_replayed(world):
    titanic = world.user.client.polars.get_df("titanic")
    request = denial(titanic.head(13)).request("thirteen")
    info = world.owner.request(request.id).info
    statement = {"action": "decide", "request": info.id, "decision": "deny", "plan_hash": info.plan_hash, "reason": "no",
                 "until": 0.0, "may_run": False, "may_read": False}  # fmt: skip
    body = m.Decide(info.id, "deny", "no", 0.0, False, False, world.owner._sign(statement))
    assert world.owner._run(world.owner._ask(body)).info.state == "denied"
    with pytest.raises(BastionError) as caught:
        world.owner._run(world.owner._ask(body))
    assert caught.value.code in ("wire.auth.replay", "input.request.decided")


def test_what_needs_no_approval_is_not_filed(world):
    titanic = world.user.client.polars.get_df("titanic")
    plan = titanic.select(pl.len()).plan
    with pytest.raises(BastionError) as caught:
        world.user._run(world.user._ask(m.RequestAccess(encode(plan), "because")))
    assert caught.value.code == "input.request.not-needed"


def test_whether_one_is_needed_is_remembered_like_an_answer(world):
    """Else one could ask of one plan after the other whether it would be released, and nothing would be kept of it."""
    titanic = world.other.client.polars.get_df("titanic")
    asked = titanic.filter(pl.col("Sex") == "female", pl.col("Pclass") == 2).select(pl.len())
    with pytest.raises(BastionError) as caught:
        world.other._run(world.other._ask(m.RequestAccess(encode(asked.plan), "because")))
    assert caught.value.code == "input.request.not-needed"
    nearly = titanic.filter(pl.col("Sex") == "female", pl.col("Pclass") == 2, pl.col("Age") != 30).select(pl.len())
    assert nearly.fetch().item() == asked.fetch().item() == 76


def test_withdraw(world):
    titanic = world.user.client.polars.get_df("titanic")
    request = denial(titanic.head(14)).request("fourteen")
    assert request.withdraw().state == "withdrawn"
    with pytest.raises(BastionError):
        world.owner.approve(request.id)


def test_the_owner_previews(world):
    titanic = world.user.client.polars.get_df("titanic")
    request = denial(titanic.head(40)).request("forty")
    shown = world.owner.request(request.id).preview()
    assert 0 < shown.height <= 20
    assert shown["Name"].unique().to_list() == ["*"]


def test_an_approval_ends_with_its_date_even_if_it_ran(world):
    titanic = world.user.client.polars.get_df("titanic")
    for seconds in (1.5, 6, 24):  # a busy machine needs longer to come before the date
        denied = denial(titanic.head(41))
        request = denied.request("until soon")
        end = time.time() + seconds
        world.owner.approve(request.id, until=end)
        try:
            assert denied.wait(60).height == 41
            assert titanic.head(41).fetch().height == 41
        except Denied:
            assert time.time() > end
        else:
            break
    else:
        pytest.fail("the approval was never of use")
    time.sleep(max(0.0, end - time.time()) + 0.1)
    assert denial(titanic.head(41)).rule == "row-level"
    info = world.owner.request(request.id).info
    assert (info.state, info.ended) == ("approved", "expired")


def test_an_approval_is_for_one_version(world):
    frame = pl.DataFrame({"a": [float(i) for i in range(60)]})
    world.owner.client.polars.send_df(frame, name="versions", unit="row")
    rows = world.user.dataset("versions").head(4)
    denied = denial(rows)
    request = denied.request("four")
    world.owner.approve(request.id, until=time.time() + 600)
    assert denied.wait(60).height == 4
    world.owner.client.polars.send_df(frame.reverse(), name="versions", unit="row", replace=True)
    fresh = world.user.dataset("versions").head(4)
    assert denial(fresh).rule == "row-level"
    assert denial(rows).rule == "row-level"


def test_a_request_decided_after_new_rows_came_is_outdated(world):
    frame = pl.DataFrame({"a": [float(i) for i in range(60)]})
    world.owner.client.polars.send_df(frame, name="moving", unit="row")
    request = denial(world.user.dataset("moving").head(4)).request("four")
    world.owner.client.polars.send_df(frame.reverse(), name="moving", unit="row", replace=True)
    with pytest.raises(BastionError) as caught:
        world.owner.approve(request.id)
    assert caught.value.code == "input.request.outdated"
    assert world.user.request(request.id).state == "expired"


def test_naming_the_request_does_not_open_another_plan_or_user(world):
    titanic = world.user.client.polars.get_df("titanic")
    request = denial(titanic.head(42)).request("mine")
    world.owner.approve(request.id)
    mine, other = titanic.head(42).plan, titanic.head(43).plan
    for connection, plan in ((world.user, other), (world.other, mine), (world.other, other)):
        with pytest.raises(Denied) as caught:
            connection._run(connection._run_plan(plan, "run", request=request.id))
        assert caught.value.rule == "row-level"
    assert titanic.head(42).fetch().height == 42


def test_a_decision_is_signed_for_one_request_plan_and_term(world):
    titanic = world.user.client.polars.get_df("titanic")
    one, two = (world.owner.request(denial(titanic.head(n)).request("why").id).info for n in (44, 45))

    def decide(info, **signed):
        terms = {"action": "decide", "request": info.id, "decision": "approve", "plan_hash": info.plan_hash, "reason": "",
                 "until": 0.0, "may_run": True, "may_read": True}  # fmt: skip
        body = m.Decide(info.id, "approve", "", 0.0, True, True, world.owner._sign(terms | signed))
        with pytest.raises(BastionError) as caught:
            world.owner._run(world.owner._ask(body))
        return caught.value.code

    other = {"request": two.id, "plan_hash": two.plan_hash}
    later = {"until": time.time() + 86400 * 365}
    for signed in (
        other,
        {"plan_hash": two.plan_hash},
        {"request": two.id},
        later,
        {"may_read": False},
        {"decision": "deny"},
    ):
        assert decide(one, **signed) == "wire.auth.statement"
    assert [world.user.request(i.id).state for i in (one, two)] == ["pending", "pending"]


def test_a_statement_of_another_day_or_server_does_not_count(world, monkeypatch):
    titanic = world.user.client.polars.get_df("titanic")
    info = world.owner.request(denial(titanic.head(46)).request("why").id).info
    terms = {"action": "decide", "request": info.id, "decision": "approve", "plan_hash": info.plan_hash, "reason": "",
             "until": 0.0, "may_run": True, "may_read": True}  # fmt: skip
    foreign = world.olga.sign_statement(terms, audience="0" * 40)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 86400)
    stale = world.owner._sign(terms)
    monkeypatch.undo()
    for signed, code in ((foreign, "wire.auth.audience"), (stale, "wire.auth.stale")):
        with pytest.raises(BastionError) as caught:
            world.owner._run(world.owner._ask(m.Decide(info.id, "approve", "", 0.0, True, True, signed)))
        assert caught.value.code == code
    assert world.user.request(info.id).state == "pending"
