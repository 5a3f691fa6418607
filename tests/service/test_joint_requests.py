"""Two owners' tables in one plan: neither is shown what was measured of the other's people, whoever asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import SimpleNamespace

import polars as pl
import pytest
from bastion_policy.model import to_roles
from bastion_policy.verdict import Finding
from bastion_server import start
from bastion_server.service.catalogue import Subject
from bastion_server.service.journal import about
from bastion_server.service.queries import _said

from bastion import Connection, Denied, Identity
from bastion.policy import Aggregation, Policy, Review

PEOPLE = pl.DataFrame(
    {"pid": [f"p{i:03}" for i in range(400)], "age": [20 + i % 40 for i in range(400)],
     "town": ["abcde"[i % 5] for i in range(400)], "pay": [20_000.0 + 97 * i for i in range(400)]}
)  # fmt: skip
ROLES = to_roles({"pid": "identifier", "age": "quasi", "town": "quasi", "pay": "measure"})
LABELS = pl.DataFrame({"age": [20 + i % 40 for i in range(16_000)]})
OF_LABELS = Policy(Aggregation(10), Review(), unit="row", roles=to_roles({"age": "quasi"}))
MEASURED = {"smallest_cell", "hidden_cells", "merged_cells", "cells", "coverage", "units"}


@dataclass
class Place:
    """olga's people, bob's labels by age; alice and bob ask of both, dora of one."""

    olga: Connection
    bob: Connection
    alice: Connection
    dora: Connection

    def joined(self, who: Connection, *conditions: pl.Expr):
        labels = who.dataset("labels").group_by("age").agg(pl.len().alias("n"))
        return who.dataset("people").filter(*conditions).join(labels, on="age", how="inner")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    names = [Identity.create(name) for name in ("olga", "bob", "alice", "dora")]
    folder = tmp_path_factory.mktemp("server")
    with start(folder, owners=names[:2], users=names[2:]) as server, ExitStack() as stack:
        olga, bob, alice, dora = (
            stack.enter_context(Connection(server.endpoint, identity=who, server_key=server.server_key))
            for who in names
        )
        olga.client.polars.send_df(
            PEOPLE, name="people", policy=Policy(Aggregation(10), Review(), unit="pid", roles=ROLES)
        )
        bob.client.polars.send_df(LABELS, name="labels", policy=OF_LABELS)
        yield Place(olga, bob, alice, dora)


def asked(frame, reason="please"):
    """File a request for what is denied."""
    with pytest.raises(Denied) as caught:
        frame.fetch()
    return caught.value.request(reason)


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_no_owner_of_one_table_sees_figures(place, who):
    person = getattr(place, who)
    for least in (0, 10_000_000):  # all of the rows, none of them
        request = asked(place.joined(person, pl.col("pay") >= least).select("town", "pay"))
        try:
            shown = [place.olga.request(request.id), place.bob.request(request.id)]
            listed = [i for o in (place.olga, place.bob) for i in o.requests() if i.id == request.id]
            for found in (*shown, *listed):
                assert found.figures == {}
                assert len(found.info.findings_private) == 1
                assert "owns all of it" in found.info.findings_private[0]
            assert person.request(request.id).figures == {}
        finally:
            request.withdraw()


def test_who_owns_all_sees_them(place):
    request = asked(place.alice.dataset("people").filter(pl.col("pay") > 30_000).select("town"), "alone")
    assert place.olga.request(request.id).figures["rows"] == PEOPLE.filter(pl.col("pay") > 30_000).height
    request.withdraw()


def test_several_tables_of_one_owner_are_hers(place):
    place.olga.client.polars.send_df(LABELS, name="of-olga", policy=OF_LABELS)
    labels = place.alice.dataset("of-olga").group_by("age").agg(pl.len().alias("n"))
    joined = place.alice.dataset("people").join(labels, on="age").select("town", "n")
    request = asked(joined)
    assert place.olga.request(request.id).figures["rows"] == 400
    request.withdraw()


def test_what_follows_is_not_told_and_approvals_still_work(place):
    place.joined(place.alice).select(pl.len()).fetch()
    frame = place.joined(place.alice, pl.col("town") != "a").select("town", "n")
    request = asked(frame, "all but some")
    for owner in (place.olga, place.bob):
        assert "completed" not in owner.request(request.id).figures
        owner.approve(request.id)
    assert frame.fetch().height == 320


def test_the_past_is_that_of_ones_own_tables(place):
    place.alice.dataset("people").group_by("town").agg(pl.len()).fetch()
    alone = asked(place.alice.dataset("people").select("pay"), "olga's alone")
    request = asked(place.joined(place.alice).select("pay", "n"), "both")
    of_olga, of_bob = place.olga.request(request.id).info, place.bob.request(request.id).info
    assert any("olga's alone" in line for line in of_olga.history)
    assert not any("olga's alone" in line for line in of_bob.history)
    assert any("olga's alone" in event.text for event in of_olga.past)
    assert not any("olga's alone" in event.text for event in of_bob.past)
    request.withdraw()
    alone.withdraw()


def test_the_logs_say_nothing_that_was_measured(place):
    place.joined(place.bob).group_by("town").agg(pl.len(), pl.col("pay").mean()).fetch()
    with pytest.raises(Denied):
        place.joined(place.bob, pl.col("pid") == "p122").select(pl.col("pay").mean()).fetch()
    for owner, table in ((place.olga, "people"), (place.bob, "labels")):
        records = [r for r in owner.audit(table) if r.kind_of == "outcome" and r.who == "bob"]
        released = [r for r in records if r.summary.startswith("released")]
        denied = [r for r in records if r.summary.startswith("denied")]
        assert released
        assert denied
        for record in (*released, *denied):
            assert record.details["joint"]
            assert not MEASURED & set(record.details)
            assert record.details["words"]
        assert released[-1].details["uses"]


def test_what_an_owner_is_told_of_what_was_released(place):
    place.joined(place.bob, pl.col("town") == "a").group_by("town").agg(pl.len()).fetch()
    found = place.bob.exposure("labels").message
    mine = next(a for a in found.audiences if a.audience == "bob")
    assert mine.answers >= 1
    assert (mine.coverage, mine.rank) == (None, None)
    for column in (c for c in found.columns if c.audience == "bob"):
        assert (column.smallest_cell, column.coverage) == (0, None)
    # where nobody else's data was part of what was asked, all is told
    place.dora.dataset("labels").filter(pl.col("age") > 30).select(pl.len()).fetch()
    found = place.bob.exposure("labels").message
    alone = next(a for a in found.audiences if a.audience == "dora")
    assert alone.coverage is not None
    assert 0.7 < alone.coverage < 0.8
    assert alone.rank
    assert next(c for c in found.columns if c.audience == "dora" and c.column == "age").coverage is not None


def test_a_trial_tells_no_sizes_of_joint_questions(place):
    place.joined(place.bob).group_by("town").agg(pl.len()).fetch()
    tried = place.bob.try_policy("labels", Policy(Aggregation(300), Review(), unit="row"))
    joint = [q for q in tried.message.queries if q.who == "bob"]
    assert joint
    assert not any("smallest group was" in q.measured for q in joint)


def test_findings_that_are_private_are_in_no_joint_record():
    record = SimpleNamespace(facts=SimpleNamespace(owner="olga"))
    other = SimpleNamespace(facts=SimpleNamespace(owner="bob"))
    verdict = SimpleNamespace(findings=(Finding("k-floor", "told"), Finding("share", "kept", private=True)))
    alone, both = (Subject(None, "", None, records, ()) for records in ({"a": record}, {"a": record, "b": other}))
    assert (alone.joint, both.joint) == (False, True)
    assert _said(alone, verdict) == ["k-floor: told", "share: kept"]
    assert _said(both, verdict) == ["k-floor: told"]


def test_a_joint_record_says_what_is_told_alone():
    details = {"smallest_cell": 56, "coverage": 0.14, "cells": 5, "words": "w", "uses": {}}
    common = {"now": 1.0, "kind": "outcome", "who": "alice", "summary": "released", "details": details}
    for record in about(["a", "b"], joint=True, **common):
        assert record.details == {"words": "w", "uses": {}, "joint": True}
    assert about(["a"], **common)[0].details == details
