"""What an owner gets to decide on a request: rules, columns with roles, words, figures, and what was asked before."""

from __future__ import annotations

import asyncio
import threading
import time

import polars as pl
import pytest
from bastion_plan.canonical import encode
from bastion_plan.errors import InputError
from bastion_plan.expressions import Call
from bastion_plan.nodes import Scan, Select, Slice
from bastion_server.service import latency
from bastion_wire import messages as m
from in_process import Asked, with_service

from bastion import Denied
from bastion.policy import Aggregation, Policy, Review

FRAME = pl.DataFrame(
    {"age": [20.0 + i % 40 for i in range(200)], "ward": [["a", "b", "c", "d"][i % 4] for i in range(200)],
     "pay": [1e6 if i == 0 else float(i) for i in range(200)], "name": [f"n{i}" for i in range(200)]}
)  # fmt: skip
ROLES = {"age": "measure", "ward": "quasi", "pay": "measure"}


def uploaded(world, name, **policy):
    rules = Policy(Aggregation(10), Review(), unit="row", roles=ROLES, **policy)
    world.owner.client.polars.send_df(FRAME, name=name, policy=rules, sanitized_columns=["name"])
    return world.user.dataset(name)


def denial(frame) -> Denied:
    with pytest.raises(Denied) as caught:
        frame.fetch()
    return caught.value


def filed(world, frame, reason="why"):
    return denial(frame).request(reason)


def test_the_owner_sees_columns_with_roles_and_what_is_done_with_each(world):
    data = uploaded(world, "roles")
    request = filed(world, data.filter(pl.col("age") > 30).select("ward", raised=pl.col("pay") * 2).head(3))
    info = world.owner.request(request.id).info
    assert info.roles == {"roles.age": "measure", "roles.pay": "measure", "roles.ward": "quasi"}
    assert info.uses["roles.age"] == ("condition",)
    assert info.uses["roles.ward"] == ("single rows",)
    assert info.columns == ("roles.age", "roles.pay", "roles.ward")
    assert info.expressions == ("rows where age > 30", "ward", "pay * 2 as raised", "the first 3 rows")
    assert info.words.startswith("From roles: rows where age > 30")
    assert any(f.startswith("row-level: ") for f in info.findings)
    assert info.figures == {"people": 200, "rows": 3}
    assert any("3 rows" in line for line in info.findings_private)


def test_the_owner_is_warned_of_whom_an_approval_gives_away_more_than_it_shows(world):
    data = uploaded(world, "completed")
    ward = data.filter(pl.col("ward") == "b").select("age", "pay")
    info = world.owner.request(filed(world, ward.head(20)).id).info
    assert "completed" not in info.figures
    assert not any("WARNING" in line for line in info.findings_private)
    data.group_by("ward").agg(pl.col("age").mean()).fetch()
    request = filed(world, ward.head(48))
    info = world.owner.request(request.id).info
    assert info.figures["completed"] == 2
    assert any("all of a group but 2 people" in line for line in info.findings_private)
    mine = world.user.request(request.id).info
    assert not mine.findings_private
    assert not mine.figures


WARD_B = pl.col("ward") == "b"


def ward_b(data):
    return data.filter(WARD_B).select("age", "pay")


def ask_with_five_others(data):
    """Ask about some of the ward and five people of another one."""
    some, five = WARD_B & (pl.col("age") < 40), (pl.col("ward") == "a") & (pl.col("age") == 20)
    assert data.filter(some | five).select(pl.col("age").mean()).fetch().height == 1


def changed(approve) -> InputError:
    with pytest.raises(InputError) as caught:
        approve()
    assert caught.value.code == "input.request.changed"
    return caught.value


def test_what_is_asked_while_a_request_waits_is_said_before_it_is_approved(world):
    data = uploaded(world, "filed-first")
    request = filed(world, ward_b(data))
    assert "completed" not in world.owner.request(request.id).figures
    ask_with_five_others(data)
    told = threading.Event()
    remove = world.owner.on_request(lambda r: told.set() if r.figures.get("completed") else None)
    error = changed(lambda: world.owner.approve(request.id))
    assert "all of a group but 5 people" in error.reason
    assert error.details == {"completed": 5}
    assert "once more" in error.next_step
    assert told.wait(60)
    remove()
    assert world.user.request(request.id).state == "pending"
    # the list says it from then on
    (listed,) = [r for r in world.owner.requests() if r.id == request.id]
    assert any("WARNING" in line and "5 people" in line for line in listed.findings)
    assert world.owner.approve(request.id).state == "approved"
    assert ward_b(data).fetch().height == 50


def test_an_owner_who_has_read_it_is_not_told_again(world):
    data = uploaded(world, "read-since")
    request = filed(world, ward_b(data))
    ask_with_five_others(data)
    info = world.owner.request(request.id).info
    assert info.figures["completed"] == 5
    assert sum("WARNING" in line for line in info.findings_private) == 1
    mine = world.user.request(request.id).info
    assert not mine.figures
    assert not mine.findings_private
    assert world.owner.approve(request.id).state == "approved"


def test_a_request_may_be_denied_whatever_was_asked_since(world):
    data = uploaded(world, "denied-since")
    request = filed(world, ward_b(data))
    ask_with_five_others(data)
    assert world.owner.deny(request.id, "no").state == "denied"


def test_failing_cells_are_counted(world):
    data = uploaded(world, "cells")
    request = filed(world, data.group_by("ward").agg(pl.col("pay").sum()))
    info = world.owner.request(request.id).info
    assert any(f.startswith("dominance: ") for f in info.findings)
    assert info.figures["hidden_cells"] >= 1
    assert info.figures["cells"] + info.figures["hidden_cells"] == 4
    assert info.figures["rows"] == 4
    assert any("cells" in line and "fail" in line for line in info.findings_private)


def test_figures_and_the_past_are_for_the_owner(world):
    data = uploaded(world, "private")
    request = filed(world, data.group_by("ward").agg(pl.col("pay").sum()))
    mine = world.user.request(request.id).info
    assert (mine.figures, mine.past, mine.findings_private, mine.history) == ({}, (), (), ())
    assert mine.roles
    assert mine.expressions


def test_what_was_asked_before_and_what_came_of_it(world):
    data = uploaded(world, "past")
    began = time.time()
    data.group_by("ward").agg(pl.col("age").mean()).fetch()
    with pytest.raises(Denied):
        data.head(2).fetch()
    first = filed(world, data.head(3), "three of them")
    world.owner.deny(first.id, "no")
    second = filed(world, data.head(4), "four of them")
    world.owner.approve(second.id)
    second.wait(60)
    world.other.dataset("past").select(pl.col("age").mean()).fetch()
    third = filed(world, data.head(5), "five of them")
    past = world.owner.request(third.id).past
    assert [e.time for e in past] == sorted((e.time for e in past), reverse=True)
    assert all(began <= e.time <= time.time() for e in past)
    said = [(e.who, e.what) for e in past]
    assert ("alice", "released") in said
    assert ("alice", "denied") in said
    assert ("alice", "released by approval") in said
    assert sum(what == "asked" for _, what in said) == 2
    assert any(who == "olga" and what.startswith(f"deny {first.id}") for who, what in said)
    assert any(who == "olga" and what.startswith(f"approve {second.id}") for who, what in said)
    assert all(who != "bob" for who, _ in said)
    (released,) = [e for e in past if e.what == "released"]
    assert "mean of age" in released.text
    (denied, *_) = [e for e in past if e.what == "denied" and "first 2 rows" in e.text]
    assert "row-level" in denied.text
    assert any(e.text == "three of them" for e in past)
    # of this very request only what came before it
    assert not any(third.id in e.what or e.text == "five of them" for e in past)


def test_the_past_of_an_audience_is_one(world):
    data = uploaded(world, "company", audiences={"ward": ["alice", "bob"]})
    world.other.dataset("company").select(pl.col("age").mean()).fetch()
    request = filed(world, data.head(3))
    assert ("bob", "released") in [(e.who, e.what) for e in world.owner.request(request.id).past]


def test_the_push_carries_all_of_it(world):
    data = uploaded(world, "pushed")
    data.select(pl.col("age").mean()).fetch()
    heard, seen = threading.Event(), []
    remove = world.owner.on_request(lambda r: (seen.append(r.info), heard.set()))
    filed(world, data.head(3))
    assert heard.wait(60)
    remove()
    assert seen[0].past
    assert seen[0].figures["rows"] == 3
    assert seen[0].roles


def test_an_inner_filter_is_among_the_columns(world):
    data = uploaded(world, "inner")
    request = filed(world, data.select(pl.col("pay").filter(pl.col("age") < 30).sum()))
    assert "inner.age" in world.owner.request(request.id).info.columns


@pytest.mark.parametrize(("profile", "waits"), [("default", 0), ("strict", 1)])
def test_filing_about_a_strict_table_waits_for_a_step_of_time(tmp_path, monkeypatch, profile, waits):
    waited = []

    async def wait(paced):
        waited.append(paced)
        return 0.0

    async def use(service, dataset):
        monkeypatch.setattr(latency.Paced, "wait", wait)
        await service.handle(Asked(m.RequestAccess(encode(Slice(Scan(dataset), 0, 3)), "why"), "alice"))
        assert len(waited) == waits
        # and where it fails too
        with pytest.raises(InputError):
            await service.handle(
                Asked(m.RequestAccess(encode(Select(Scan(dataset), (Call("pl.len"),))), "why"), "alice")
            )
        assert len(waited) == 2 * waits

    roles = {"age": "quasi", "ward": "quasi", "pay": "measure", "name": "hidden"}
    rules = Policy(Aggregation(10), Review(), unit="row", roles=roles, profile=profile)
    asyncio.run(with_service(tmp_path, use, FRAME, rules))


def test_a_strict_table_is_no_different(world):
    roles = {"age": "quasi", "ward": "quasi", "pay": "measure", "name": "hidden"}
    rules = Policy(Aggregation(10), Review(), unit="row", roles=roles, profile="strict")
    world.owner.client.polars.send_df(FRAME, name="strict", policy=rules)
    data = world.user.dataset("strict")
    request = filed(world, data.select("ward").head(3))
    info = world.owner.request(request.id).info
    assert info.figures["rows"] == 3
    assert info.roles == {"strict.ward": "quasi"}
