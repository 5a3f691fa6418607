"""What has been released of a dataset: added up per audience and column, for its owner alone."""

from __future__ import annotations

import json
import os
import time
from types import SimpleNamespace

import polars as pl
import pytest
from bastion_server.service.exposure import ExposureService
from bastion_server.store import AuditLog, Record, load_or_create

from bastion import BastionError, Denied
from bastion.policy import Aggregation, Policy, Review, measure, quasi

FRAME = pl.DataFrame(
    {"age": [20.0 + i % 40 for i in range(200)], "ward": [["a", "b", "c", "d"][i % 4] for i in range(200)],
     "pay": [float(i) for i in range(200)], "shoe": [36.0 + i % 9 for i in range(200)]}
)  # fmt: skip
ROLES = {"age": "measure", "ward": "quasi", "pay": "measure", "shoe": "measure"}


def uploaded(world, name, **policy):
    rules = Policy(Aggregation(10), Review(), unit="row", roles=ROLES, **policy)
    world.owner.client.polars.send_df(FRAME, name=name, policy=rules)
    return world.user.dataset(name), world.other.dataset(name)


def columns(exposure) -> dict[tuple[str, str], object]:
    return {(c.audience, c.column): c for c in exposure.message.columns}


def test_what_was_released_is_added_up(world):
    alice, bob = uploaded(world, "sums")
    empty = world.owner.exposure("sums").message
    assert (empty.columns, empty.audiences, empty.people) == ((), (), 200)
    assert empty.untouched == ("age", "ward", "pay", "shoe")
    began = time.time()
    alice.group_by("ward").agg(pl.col("pay").mean(), pl.len()).fetch()
    alice.group_by("ward").agg(pl.col("pay").mean(), total=pl.col("pay").sum()).fetch()
    bob.filter(pl.col("age") > 40).select(pl.col("pay").mean()).fetch()
    with pytest.raises(Denied):
        bob.head(3).fetch()
    found = world.owner.exposure("sums")
    by = columns(found)
    pay = by["alice", "pay"]
    assert pay.uses == {"mean": 2, "sum": 1}
    assert (pay.answers, pay.approved, pay.unsafe) == (2, 0, 0)
    assert pay.cells >= 4
    assert pay.smallest_cell == 50
    assert pay.role == "measure"
    assert began <= pay.last <= time.time()
    assert by["alice", "ward"].uses == {"group key": 2}
    assert by["alice", ""].uses == {"pl.len": 1}
    assert by["bob", "age"].uses == {"condition": 1}
    assert by["bob", "pay"].uses == {"mean": 1}
    assert ("bob", "ward") not in by
    assert found.untouched == ("shoe",)
    people = {a.audience: a for a in found.message.audiences}
    assert (people["alice"].answers, people["alice"].denied) == (2, 0)
    assert (people["bob"].answers, people["bob"].denied) == (1, 1)
    # everybody is in some ward; 95 are over 40
    assert people["alice"].coverage == 1.0
    assert people["bob"].coverage == pytest.approx(FRAME.filter(pl.col("age") > 40).height / 200)
    assert people["alice"].epsilon is None


def test_a_long_log_is_added_up_in_few_reads(tmp_path, monkeypatch):
    log = AuditLog(tmp_path, load_or_create(tmp_path), 1000.0)
    service = ExposureService(SimpleNamespace(audit=log))
    for i in range(4000):
        who, dataset = f"user{i % 3}", "ds-1" if i % 4 else "ds-2"
        uses = {f"{dataset}.age": ["mean", "count"], f"{dataset}.ward": ["group key"], "ds-9.age": ["sum"]}
        details = {"uses": uses, "cells": 6, "smallest_cell": 10 + i, "merged_cells": 1, "words": "x" * 300}
        summary = "released" if i % 5 else "denied: review"
        kind = "grant_used" if i % 7 == 0 else "outcome"
        last = log.append_nowait(
            Record(1000.0 + i, kind, who, summary, dataset=dataset, details=details if i % 5 else {})
        )
    last.result()
    reads = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: reads.append(args) or pread(*args))
    sums = service._up_to_date("ds-1")
    assert len(reads) <= 20  # the index and the records; one by one there would be 7,000
    told = [i for i in range(4000) if i % 4 and i % 5]
    for number in range(3):
        mine = [i for i in told if i % 3 == number]
        person, age = sums.people[f"user{number}"], sums.columns[f"user{number}", "age"]
        assert (person.answers, person.cells) == (len(mine), 6 * len(mine))
        assert person.denied == sum(i % 4 > 0 and i % 3 == number for i in range(0, 4000, 5))
        assert person.approved == sum(i % 7 == 0 for i in mine)
        assert age.uses == {"mean": len(mine), "count": len(mine)}
        assert (age.smallest, age.last) == (10 + mine[0], 1000.0 + mine[-1])
    assert {column for _, column in sums.columns} == {"age", "ward"}
    # what is new is added, and nothing is read again
    reads.clear()
    details = {"uses": {"ds-1.pay": ["sum"]}, "cells": 1, "smallest_cell": None}
    log.append_blocking(Record(9000.0, "outcome", "user0", "released", dataset="ds-1", details=details))
    assert service._up_to_date("ds-1").columns["user0", "pay"].answers == 1
    assert sum(size for _, size, _ in reads) < 10_000
    log.close()


def test_it_grows_with_the_log_and_over_versions(world):
    alice, _ = uploaded(world, "grows")
    for number in range(1, 4):
        alice.select(pl.col("pay").mean().alias(f"m{number}")).fetch()
        assert columns(world.owner.exposure("grows"))["alice", "pay"].answers == number
    rules = world.owner.dataset("grows").policy
    world.owner.client.polars.send_df(FRAME.head(120), name="grows", policy=rules, replace=True)
    world.user.dataset("grows").select(pl.col("shoe").mean()).fetch()
    found = world.owner.exposure("grows")
    assert found.message.version == 2
    assert found.message.people == 120
    assert columns(found)["alice", "pay"].answers == 3
    assert columns(found)["alice", "shoe"].answers == 1


def test_an_audience_is_counted_as_one(world):
    alice, bob = uploaded(world, "audience", audiences={"ward": ["alice", "bob"]})
    alice.select(pl.col("pay").mean()).fetch()
    bob.select(pl.col("pay").sum()).fetch()
    found = world.owner.exposure("audience")
    assert columns(found)["@ward", "pay"].uses == {"mean": 1, "sum": 1}
    (audience,) = found.message.audiences
    assert (audience.audience, audience.members, audience.answers) == ("@ward", ("alice", "bob"), 2)


def test_approved_rows_and_unsafe_answers_show(world):
    alice, _ = uploaded(world, "approved")
    with pytest.raises(Denied) as caught:
        alice.select("age", "ward").head(3).fetch()
    request = caught.value.request("to see them")
    world.owner.approve(request.id)
    assert caught.value.wait(60).height == 3
    row = columns(world.owner.exposure("approved"))["alice", "age"]
    assert (row.uses, row.approved, row.answers) == ({"single rows": 1}, 1, 1)
    logged = 'unsafe = "log"\nunit = "row"\n[safe_zone]\naggregation = 10\n'
    world.owner.set_policy("approved", logged)
    world.user.dataset("approved").select("pay").head(3).fetch()
    found = world.owner.exposure("approved")
    assert columns(found)["alice", "pay"].unsafe == 1
    (person,) = found.message.audiences
    assert (person.answers, person.approved, person.unsafe) == (2, 1, 1)


def test_the_safe_part_counts_and_previews_do_not(world):
    alice, _ = uploaded(world, "parts")
    with pytest.raises(Denied) as caught:
        alice.head(3).fetch()
    request = caught.value.request("why not")
    world.owner.request(request.id).preview()
    assert columns(world.owner.exposure("parts")) == {}
    assert caught.value.safe_part().height
    row = columns(world.owner.exposure("parts"))["alice", "pay"]
    assert row.answers == 1


def test_a_join_shows_in_both_tables(world):
    people = pl.DataFrame({"who": range(200), "x": [float(i % 17) for i in range(200)]})
    labels = pl.DataFrame({"who": range(200), "kind": ["u", "v"] * 100, "y": [float(i % 13) for i in range(200)]})
    rules = Policy(Aggregation(10), Review(), unit="who", roles={"who": "identifier"})
    for name, frame in (("left", people), ("right", labels)):
        world.owner.client.polars.send_df(frame, name=name, policy=rules)
    left, right = world.user.dataset("left"), world.user.dataset("right")
    left.join(right, on="who").group_by("kind").agg(pl.col("x").mean()).fetch()
    assert columns(world.owner.exposure("left"))["alice", "x"].uses == {"mean": 1}
    assert ("alice", "kind") not in columns(world.owner.exposure("left"))
    assert columns(world.owner.exposure("right"))["alice", "kind"].uses == {"group key": 1}


def test_noisy_answers_show_what_they_spent(world):
    rules = Policy.private(
        epsilon=2.0, delta=1e-6, unit="row", roles={"ward": quasi("a", "b", "c", "d"), "pay": measure(0, 200)}
    )
    world.owner.client.polars.send_df(FRAME, rules, name="noisy")
    empty = world.owner.exposure("noisy").message
    assert (empty.epsilon, empty.delta, empty.spent) == (2.0, 1e-6, 0.0)
    world.user.dataset("noisy").select(pl.col("pay").mean()).fetch(epsilon=0.5)
    world.other.dataset("noisy").select(pl.col("pay").sum()).fetch(epsilon=0.2)
    found = world.owner.exposure("noisy").message
    spent = {a.audience: a.epsilon for a in found.audiences}
    assert 0.2 <= spent["alice"] <= 0.5 * 1.01
    assert max(spent.values()) <= found.spent <= 2.0
    assert found.void == ""
    assert columns(world.owner.exposure("noisy"))["alice", "pay"].uses == {"mean": 1}
    assert "budget: epsilon" in repr(world.owner.exposure("noisy"))


def test_only_the_owner_may_look(world):
    alice, _ = uploaded(world, "mine")
    for connection in (world.user, world.other):
        with pytest.raises(BastionError) as caught:
            connection.exposure("mine")
        assert caught.value.code == "wire.auth.owner"
    world.owner.set_policy("mine", allow=["bob"])
    with pytest.raises(BastionError) as caught:
        alice.exposure()
    assert caught.value.code == "missing.dataset"
    with pytest.raises(BastionError) as caught:
        world.owner.exposure("nothing-there")
    assert caught.value.code == "missing.dataset"
    with pytest.raises(BastionError) as caught:
        world.owner.dataset("mine").select(pl.col("pay").mean()).exposure()


def test_as_tables_and_as_plain_data(world):
    alice, _ = uploaded(world, "tables")
    alice.group_by("ward").agg(pl.col("pay").mean(), pl.len()).fetch()
    found = world.owner.dataset("tables").exposure()
    table = found.columns
    assert table.columns[:4] == ["audience", "column", "role", "released"]
    assert table.filter(pl.col("column") == "ward")["released"].to_list() == ["group key"]
    assert table["column"].null_count() == 1
    assert found.audiences["coverage"].to_list() == [1.0]
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["name"] == "tables"
    assert plain["untouched"] == ["age", "shoe"]
    assert {c["column"] for c in plain["columns"]} == {"", "ward", "pay"}
    assert plain["audiences"][0]["members"] == ["alice"]
    assert "tables" in repr(found)


def test_it_survives_a_restart_and_a_lost_index(world, tmp_path, titanic):
    from bastion_server import start

    from bastion import Connection, Identity

    olga, alice = Identity.create("olga"), Identity.create("alice")

    def looked(server):
        with Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner:
            return owner.exposure("titanic").message

    with start(tmp_path, owners=[olga], users=[alice]) as server:
        with Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner:
            owner.client.polars.send_df(titanic, name="titanic", unit="row")
        with Connection(server.endpoint, identity=alice, server_key=server.server_key) as user:
            user.dataset("titanic").group_by("Pclass").agg(pl.col("Age").mean()).fetch()
        before = looked(server)
    (tmp_path / "audit.index").unlink()
    with start(tmp_path, owners=[olga], users=[alice]) as server:
        assert looked(server) == before
