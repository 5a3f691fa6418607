from __future__ import annotations

from typing import Any

import polars as real
import pytest
from bastion_wire import messages as m
from polars.testing import assert_frame_equal

from bastion import Denied, InputError, NotFound, pl


def test_lists_and_gets_datasets_by_name_and_id(connection: Any) -> None:
    frames = connection.client.polars.list_dfs()
    assert [f.name for f in frames] == ["people", "cities"]
    assert connection.client.polars.get_df("ds-people").columns == connection.dataset("people").columns


def test_an_unknown_dataset_says_what_is_near(connection: Any) -> None:
    with pytest.raises(NotFound, match="Did you mean 'people'"):
        connection.dataset("poeple")


def test_group_rates_equal_polars(people: Any) -> None:
    ours = people.group_by("class").agg(pl.col("alive").mean(), pl.len()).sort("class").fetch()
    local = people.connection._session.tables["ds-people"]
    theirs = local.group_by("class").agg(real.col("alive").mean(), real.len()).sort("class")
    assert_frame_equal(ours, theirs)


def test_the_same_query_with_real_expressions(people: Any) -> None:
    ours = people.group_by("class").agg(pl.col("age").mean().alias("m")).sort("class")
    theirs = people.group_by("class").agg(real.col("age").mean().alias("m")).sort("class")
    assert ours.plan == theirs.plan


def test_upload_sends_signed_terms_and_progress(connection: Any) -> None:
    heard: list[m.Progress] = []
    from bastion_policy.model import Policy

    frame = connection.client.polars.send_df(
        real.DataFrame({"a": [1, 2]}),
        policy=Policy.default(),
        sanitized_columns=["a"],
        name="mine",
        unit="row",
        on_progress=heard.append,
    )
    begin = next(b for b in connection._session.sent if isinstance(b, m.UploadBegin))
    assert (begin.name, begin.hidden, begin.unit) == ("mine", ("a",), "row")
    assert heard and heard[-1].done == begin.size
    assert frame.name == "mine"
    from bastion_wire.identity import verify_statement

    statement = verify_statement(connection._identity.verify_key, begin.signed, audience=connection.server_key)
    assert statement["action"] == "upload"
    assert statement["sha256"] == begin.sha256


@pytest.mark.parametrize("bad", [[1, 2], {"a": [1]}, real.DataFrame(), "titanic.csv"])
def test_what_is_no_table_is_refused(connection: Any, bad: Any) -> None:
    with pytest.raises(InputError):
        connection.client.polars.send_df(bad)


def test_denied_holds_the_reason_and_files_nothing(people: Any) -> None:
    with pytest.raises(Denied, match="It shows single rows") as caught:
        people.head(3).fetch()
    denied = caught.value
    assert (denied.outcome, denied.rule, denied.fix) == ("review", "row-level", "Aggregate.")
    assert denied.code == "denied.row-level"
    assert people.connection._session.requests == {}
    assert denied.safe_part().height == 0
    with pytest.raises(InputError, match="Nothing has been filed"):
        denied.wait()
    with pytest.raises(InputError, match="needs a reason"):
        denied.request("  ")


def test_request_wait_and_approval_by_push(people: Any) -> None:
    with pytest.raises(Denied) as caught:
        people.head(3).fetch()
    request = caught.value.request("for the report")
    assert request.state == "pending"
    connection = people.connection
    decisions: list[Any] = []
    connection.on_decision(decisions.append)
    connection._loop.call_soon_threadsafe(
        connection._loop.call_later, 0.05, connection._session.decide, request.id, "approve"
    )
    table = caught.value.wait(5)
    assert table.height == 3
    assert decisions[0].state == "approved"
    assert request.state == "approved"
    asked = [b for b in connection._session.sent if isinstance(b, m.GetRequest)]
    assert len(asked) == 1, "the decision comes by push, not by asking again"


def test_catching_up_after_a_loss_is_no_look(people: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads what is asked then: an owner was not shown what follows from an approval."""
    with pytest.raises(Denied) as caught:
        people.head(3).fetch()
    request = caught.value.request("for the report")
    connection = people.connection
    session, asked = connection._session, connection._session.ask

    async def ask(body: Any, on_progress: Any = None) -> Any:
        answer = await asked(body, on_progress)
        return m.Requests(()) if isinstance(body, m.ListRequests) else answer

    monkeypatch.setattr(session, "ask", ask)
    connection._run(connection._catch_up())
    assert [b for b in session.sent if isinstance(b, m.GetRequest)] == [m.GetRequest(request.id, look=False)]


def test_a_denial_by_the_owner_ends_the_wait(people: Any) -> None:
    with pytest.raises(Denied) as caught:
        people.head(2).fetch()
    request = caught.value.request("why not")
    people.connection.deny(request, "too personal")
    with pytest.raises(Denied, match="too personal") as second:
        request.wait(5)
    assert second.value.code == "denied.owner.denied"


def test_waiting_ends_with_the_timeout(people: Any) -> None:
    from bastion_plan.errors import Interrupted

    with pytest.raises(Denied) as caught:
        people.head(2).fetch()
    caught.value.request("soon")
    with pytest.raises(Interrupted, match="no decision yet"):
        caught.value.wait(0.05)


def test_fetch_with_wait_files_only_with_a_reason(people: Any) -> None:
    with pytest.raises(Denied):
        people.head(1).fetch(wait=0.1)
    assert people.connection._session.requests == {}
    connection = people.connection
    connection._session.decide_later = True
    connection._loop.call_soon_threadsafe(
        connection._loop.call_later, 0.1, lambda: connection._session.decide("rq-1", "approve")
    )
    assert people.head(1).fetch(wait=5, reason="a look").height == 1


def test_decisions_are_signed(people: Any) -> None:
    from bastion_wire.identity import verify_statement

    with pytest.raises(Denied) as caught:
        people.head(2).fetch()
    request = caught.value.request("please")
    connection = people.connection
    assert connection.approve(request.id, "fine").state == "approved"
    decide = next(b for b in connection._session.sent if isinstance(b, m.Decide))
    statement = verify_statement(connection._identity.verify_key, decide.signed, audience=connection.server_key)
    assert statement["request"] == request.id
    assert statement["plan_hash"] == request.info.plan_hash
    assert statement["decision"] == "approve"


def test_save_and_delete(people: Any) -> None:
    kept = people.group_by("class").agg(pl.len()).save("by class")
    assert kept.name == "by class"
    assert people.connection.dataset("by class").columns == ["class", "len"]
    kept.delete()
    with pytest.raises(NotFound):
        people.connection.dataset("by class")


def test_collect_gives_a_chainable_handle(people: Any) -> None:
    handle = people.group_by("class").agg(pl.len()).collect()
    assert handle.id == handle.plan_hash
    assert handle.sort("class").fetch()["len"].to_list() == [2, 2, 2]


def test_a_closed_connection_says_so(connection: Any) -> None:
    from bastion import WireError

    connection.close()
    with pytest.raises(WireError, match="closed"):
        connection.datasets()


def test_audit(connection: Any) -> None:
    assert connection.audit()[0].who == "alice"
    assert connection.verify_audit().ok
