"""Attacks on what others have and do: unseen datasets, requests of others, handles kept after access has ended."""

from __future__ import annotations

from typing import Any

import polars
from attack_list import attack
from bastion_plan.canonical import encode
from bastion_wire import messages as m
from query import Q
from wire_arena import Attacker
from wire_terms import age, salary, target
from wire_worlds import unnamed

import bastion.expressions as pl

HERE = (True, False)
SUMS = tuple(float(unnamed(w)["salary"].sum()) for w in (0, 1))


@attack("existence", "access lists", "shared", HERE, own=True)
def schema_of_an_unseen_dataset(a: Attacker) -> Any:
    """Asks for a dataset that is not one's own to see, by name and by id."""
    column = "hiv" if a.world == 0 else "eyes"
    frame = polars.DataFrame({column: [0, 1] * 50, "id": range(100)})
    ref, name = a.upload(frame, unit="id")
    if a.setting != "shared":
        a.arena.owner.set_policy(name, allow=[])
    found = [a.say(m.GetDataset(ref)), a.say(m.GetDataset(name)), *a.say(m.ListDatasets()).datasets]
    columns = {c.name for d in found if isinstance(d, m.Dataset) and d.facts.id == ref for c in d.facts.columns}
    return "hiv" in columns if columns else None


@attack("existence", "access lists", "shared", HERE, own=True)
def columns_of_an_unseen_dataset(a: Attacker) -> Any:
    """Sends plans over a guessed column of an unseen dataset and compares the errors."""
    column = "hiv" if a.world == 0 else "eyes"
    ref, name = a.upload(polars.DataFrame({column: [0, 1] * 50, "id": range(100)}), unit="id")
    if a.setting != "shared":
        a.arena.owner.set_policy(name, allow=[])
    answers = [a.line().query(Q(ref).select(pl.col(c).sum()).plan)[0] for c in ("hiv", "neither")]
    codes = [x.code if isinstance(x, m.Failed) else "answered" for x in answers]
    a.told += codes
    return codes[0] != codes[1]


@attack("existence", "requests are their requester's", "self", HERE, own=True)
def requests_for_the_same_plan(a: Attacker) -> Any:
    """Asks what somebody else may have asked for, and looks whether the denial knows a request for it."""
    rows = a.T.filter(age > 30).head(3)
    if a.world == 0:
        a.say(m.RequestAccess(encode(rows.plan), "three of them"), who="a")
    body, _ = a.line(a.thief).query(rows.plan)
    a.told.append(f"{body.outcome}: {body.rule}" if isinstance(body, m.Denial) else type(body).__name__)
    return body.request is not None if isinstance(body, m.Denial) else None


@attack("existence", "requests are their requester's", "self", HERE, own=True)
def requests_of_others(a: Attacker) -> Any:
    """Lists and fetches requests, to see what others ask for."""
    which = a.T.filter(age > 30).head(4) if a.world == 0 else a.T.filter(age > 40).head(4)
    filed = a.say(m.RequestAccess(encode(which.plan), "four of them"), who="a")
    if not isinstance(filed, m.Request):
        return None
    seen = [i.code for i in a.say(m.ListRequests(), who=a.thief).requests]
    one = a.say(m.GetRequest(filed.info.id), who=a.thief)
    seen += [one.info.code] if isinstance(one, m.Request) else []
    return "30" in seen[-1] if seen else None


@attack("existence", "row-level", "open")
def preview_of_ones_own_request(a: Attacker) -> Any:
    """Asks for the preview that owners see of a request."""
    rows = a.T.filter(target).select("salary")
    filed = a.say(m.RequestAccess(encode(rows.plan), "one of them"))
    request = filed.info.id if isinstance(filed, m.Request) else None
    body, table = a.line().query(rows.plan, "run", request)
    a.told.append(f"{body.outcome}: {body.rule}" if isinstance(body, m.Denial) else type(body).__name__)
    return None if table is None or not table.height else table["salary"][0]


@attack("existence", "access lists", "shared", SUMS, own=True)
def stale_handle_after_access_ended(a: Attacker) -> Any:
    """Keeps the id of a dataset, and asks when one may not see it any more."""
    a.say(m.GetDataset(a.T.plan.dataset))
    if a.setting != "shared":
        a.arena.owner.set_policy(a.T.plan.dataset, allow=["olga"])
    return a.value(a.T.select(salary.sum()))


@attack("existence", "access lists", "shared", SUMS, own=True)
def stale_handle_of_a_saved_frame(a: Attacker) -> Any:
    """Saves a frame over a dataset, and asks it when one may not see the dataset any more."""
    saved = a.say(m.Save(encode(a.T.filter(age > 0).plan), f"kept-{a.setting}-{a.world}"))
    if a.setting != "shared":
        a.arena.owner.set_policy(a.T.plan.dataset, allow=["olga"])
    return a.value(Q(saved.facts.id).select(salary.sum())) if isinstance(saved, m.Dataset) else None


@attack("existence", "deleted is deleted", "shared", SUMS, own=True)
def stale_handle_of_a_deleted_dataset(a: Attacker) -> Any:
    """Keeps the id of a dataset that its owner deletes."""
    plan = a.T.select(salary.sum())
    if a.setting != "shared":
        a.arena.owner.client.polars.delete_df(a.T.plan.dataset)
    return a.value(plan)
