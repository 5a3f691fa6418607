"""Attacks on what stands around the judge: existence, errors, timing, approvals, audiences, versions, saved frames."""

from __future__ import annotations

import statistics
import time
from typing import Any

import polars
from attack_list import BIT, attack
from bastion_plan import nodes as n
from bastion_plan.canonical import encode
from bastion_plan.dtypes import DType
from bastion_plan.expressions import Column
from bastion_wire import messages as m
from query import Q, inline
from wire_arena import Attacker, minus, values, where
from wire_worlds import AGE, HIGH, LOW, SEX, TARGET, TOWN, unnamed

import bastion.expressions as pl

salary, age, job = pl.col("salary"), pl.col("age"), pl.col("job")
target, mine = age == AGE, pl.col("sex") == SEX
RARE = "astronaut"
HERE = (True, False)
RULE, OFF = "populations near earlier ones", "history"
SUMS = tuple(float(unnamed(w)["salary"].sum()) for w in (0, 1))


# -- existence


@attack("existence", "held values", "open", HERE)
def rare_value_in_unique(a: Attacker) -> Any:
    """Looks for a rare value among the distinct ones."""
    found = values(a.ask(a.T.select(job.unique())), "job")
    return RARE in found if found else None


@attack("existence", "held values", "open", HERE)
def rare_value_in_unique_rows(a: Attacker) -> Any:
    """Looks for a rare value among distinct rows."""
    found = values(a.ask(a.T.select("job").unique()), "job")
    return RARE in found if found else None


@attack("existence", "held values", "open", HERE)
def rare_value_told_by_any(a: Attacker) -> Any:
    """Asks whether any of the distinct values is the rare one."""
    return a.value(a.T.select(b=(job.unique() == RARE).any()))


@attack("existence", "held values", "open", HERE)
def rare_value_in_value_counts(a: Attacker) -> Any:
    """Looks for a rare value among those counted."""
    found = values(a.ask(a.T.select(job.value_counts())), "job")
    return any(v["job"] == RARE for v in found) if found else None


@attack("existence", "held values", "open", HERE)
def smallest_share(a: Attacker) -> Any:
    """Takes the smallest share of all values."""
    found = values(a.ask(a.T.select(job.value_counts(normalize=True))), "job")
    return min(v["proportion"] for v in found) < 0.01 if found else None


@attack("existence", "held values", "open", HERE)
def number_of_distinct_values(a: Attacker) -> Any:
    """Counts the distinct values."""
    found = a.value(a.T.select(job.n_unique()))
    return None if found is None else found == 4


@attack("existence", "held values", "open", HERE)
def number_of_listed_values(a: Attacker) -> Any:
    """Counts the distinct values by listing them first."""
    found = a.value(a.T.select(job.unique().len()))
    return None if found is None else found == 4


@attack("existence", "population of k", "k", HERE)
def suppressed_keys(a: Attacker) -> Any:
    """Looks for a rare key of a table."""
    found = values(a.ask(a.T.group_by("job").agg(pl.len())), "job")
    return RARE in found if found else None


@attack("existence", "population of k", "k", HERE)
def keys_without_numbers(a: Attacker) -> Any:
    """Looks for a rare key of a table without statistics."""
    found = values(a.ask(a.T.group_by("job").agg()), "job")
    return RARE in found if found else None


@attack("existence", "population of k", "k", HERE)
def number_of_groups(a: Attacker) -> Any:
    """Counts the groups."""
    found = a.value(a.T.group_by("job").agg(pl.len()).select(pl.len()))
    return None if found is None else found == 4


@attack("existence", "population of k", "k", HERE)
def size_of_the_smallest_group(a: Attacker) -> Any:
    """Takes the smallest count of all groups."""
    found = a.value(a.T.group_by("job").agg(pl.len()).select(pl.col("len").min()))
    return None if found is None else found == 1


@attack("existence", "population of k", "k", HERE)
def own_values_semi_joined(a: Attacker) -> Any:
    """Keeps those of one's own values that occur."""
    found = a.ask(inline({"job": [RARE, "nobody"]}).join(a.T.group_by("job").agg(pl.len()), on="job", how="semi"))
    return RARE in values(found, "job") if found.width else None


@attack("existence", "population of k", "k", HERE)
def rare_column_of_a_pivot(a: Attacker) -> Any:
    """Compares a pivot's column of the rare value with one of no value."""
    found = a.ask(a.T.of(n.Pivot, "job", (RARE, "nobody"), ("sex",), ("salary",), "len").sort("sex"))
    return values(found, RARE) != values(found, "nobody") if found.width else None


@attack("existence", "population of k", "k", HERE)
def rare_value_as_filter(a: Attacker) -> Any:
    """Compares the answer for the rare value with the answer for a value nobody has."""
    one = a.ask(a.T.filter(job == RARE).select(pl.len(), salary.sum()))
    two = a.ask(a.T.filter(job == "nobody").select(pl.len(), salary.sum()))
    return not one.equals(two)


@attack("existence", "population of k", "k", HERE)
def offers_of_a_denial(a: Attacker) -> Any:
    """Compares how many cells of how many a denial offers."""

    def offer(value: str) -> Any:
        body, table = a.line().query(
            a.T.filter(job == value).group_by("sex").agg(salary.max(), pl.col("rent").sum()).plan
        )
        a.told.append(f"{body.outcome}: {body.rule}" if isinstance(body, m.Denial) else "answered or failed")
        if isinstance(body, m.Denial):
            return body.rule, body.safe_cells, body.total_cells, body.has_safe_part
        return None if table is None else (table.height, body.note.suppressed, body.note.merged)

    return offer(RARE) != offer("nobody")


@attack("existence", "population of k", "k", HERE)
def notes_of_a_release(a: Attacker) -> Any:
    """Compares what a release says about suppressed and merged rows."""

    def note(value: str) -> Any:
        body, _ = a.line().query(a.T.filter(job == value).group_by("town").agg(pl.len()).plan)
        a.told.append("answered" if isinstance(body, m.Table) else "denied or failed")
        return (body.note.suppressed, body.note.merged, body.height) if isinstance(body, m.Table) else None

    return note(RARE) != note("nobody")


@attack(
    "existence", "remainder rows", "k", HERE,
    reached=dict.fromkeys(("default", "strict"), "one bit: a remainder row tells that there is some small cell, not which"),
)  # fmt: skip
def remainder_row_is_there(a: Attacker) -> Any:
    """Looks whether a table has a remainder row: it has one only where some cell is small."""
    found = a.ask(a.T.group_by("job").agg(pl.len()))
    return None if not found.height else found.height == 4 or "(other)" in values(found, "job")


@attack("existence", "few values", "open", HERE)
def missing_values_counted(a: Attacker) -> Any:
    """Counts which values of a column are missing after a join with everybody else's."""
    rest = a.T.filter(~(target & (job == RARE))).group_by("id").agg(k=age.max())
    found = a.value(a.T.join(rest, on="id", how="left").filter(mine).select(pl.col("k").null_count()))
    return None if found is None else found == 1


# -- errors


def fails(a: Attacker, make: Any) -> bool:
    """Whether a query fails between two thresholds and not beyond."""
    return a.failed(make(LOW)) != a.failed(make(HIGH))


def plain(secret: Any, yes: Any, no: Any) -> Any:
    """Return a choice by the secret."""
    return pl.when(secret).then(yes).otherwise(no)


def beyond(edge: float) -> Any:
    """Return the condition that the target is above a threshold."""
    return target & (salary > edge)


@attack("existence", "functions that can fail", "open", BIT)
def failing_conversion(a: Attacker) -> Any:
    """Converts a text that is no number if the secret is above a threshold."""
    text = lambda c: plain(beyond(c), pl.lit("x"), pl.lit("1")).cast(pl.Int64)  # noqa: E731
    return fails(a, lambda c: a.T.with_columns(z=text(c)).group_by("z").agg(pl.len()))


@attack("existence", "functions that can fail", "open", BIT)
def failing_date(a: Attacker) -> Any:
    """Makes a thirteenth month of the secret."""
    return fails(a, lambda c: a.T.filter(pl.date(2020, plain(beyond(c), 13, 1), 1).is_not_null()).select(pl.len()))


@attack("existence", "functions that can fail", "open", BIT)
def failing_power(a: Attacker) -> Any:
    """Raises whole numbers to a negative power."""
    return fails(a, lambda c: a.T.filter((age ** plain(beyond(c), -1, 1)) > 0).select(pl.len()))


@attack("existence", "functions that can fail", "open", BIT)
def failing_pattern(a: Attacker) -> Any:
    """Makes a pattern of the secret that is not one."""
    pattern = lambda c: plain(beyond(c), pl.lit("("), pl.lit("f"))  # noqa: E731
    return fails(a, lambda c: a.T.filter(pl.col("sex").str.count_matches(pattern(c)) >= 0).select(pl.len()))


@attack("existence", "functions that can fail", "open", BIT)
def failing_mapping(a: Attacker) -> Any:
    """Maps a value that the mapping does not have."""
    return fails(a, lambda c: a.T.filter(plain(beyond(c), 2, 1).replace_strict({1: 1}) == 1).select(pl.len()))


@attack("existence", "functions that can fail", "open", BIT)
def failing_order(a: Attacker) -> Any:
    """Joins the nearest of rows that are out of order if the secret is above a threshold."""
    labels = n.Inline((n.InlineColumn("age", DType("Int64"), (0, 50)),))

    def make(edge: float) -> Q:
        rows = a.T.sort(plain(beyond(edge), -1, age))
        return Q(n.JoinAsof(rows.plan, labels, Column("age"), Column("age"))).select(pl.len())

    return fails(a, make)


@attack("existence", "functions that can fail", "open", BIT)
def failing_lists(a: Attacker) -> Any:
    """Unpacks two lists of unequal lengths."""
    marks = lambda c: plain(beyond(c), pl.concat_list(age), pl.col("marks"))  # noqa: E731
    return fails(a, lambda c: a.T.with_columns(marks=marks(c)).explode("tags", "marks").select(pl.len()))


@attack("existence", "functions that can fail", "open", BIT)
def timing_of_a_branch(a: Attacker) -> Any:
    """Does heavy work if the secret is above a threshold, and looks at the clock."""
    many = inline({"i": list(range(5000))})

    def work(edge: float) -> n.Node:
        rows = Q(n.Join(a.T.filter(beyond(edge)).plan, many.plan, "cross"))
        rows = Q(n.Join(rows.plan, inline({"j": list(range(5000))}).plan, "cross"))
        return rows.select(x=((pl.col("i") * pl.col("j")) % 7).sum()).plan

    # in turns, so that what else the machine does counts for both
    pairs = [(a.line().timed(work(LOW)), a.line().timed(work(HIGH))) for _ in range(5)]
    apart = statistics.median(one - two for one, two in pairs) > 0.1
    a.told.append(f"{'told apart' if apart else 'alike'} by time")
    return apart


# -- what others have and do


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


# -- approvals


@attack("approvals", "bound to the plan", "approved", own=True)
def approval_for_another_plan(a: Attacker) -> Any:
    """Has one row approved and asks for another."""
    a.approved(a.T.slice(0, 1), seconds=600)
    return where(a.again(a.T.slice(TARGET, 1)), "age", AGE, "salary")


@attack("approvals", "bound to the plan", "approved", own=True)
def approval_wrapped_into_another_plan(a: Attacker) -> Any:
    """Has the mean of a column of a row approved, and asks for more columns of it."""
    row = a.T.slice(TARGET, 1)
    a.approved(row.select("age", "town"), seconds=600)
    return where(a.again(row.select("age", "town", "salary")), "age", AGE, "salary")


@attack("approvals", "bound to the requester", "self", own=True)
def approval_of_another_user(a: Attacker) -> Any:
    """Asks for what was approved for somebody else."""
    row = a.T.slice(TARGET, 1)
    a.approve(row, seconds=600)
    return where(a.ask(row, who=a.thief), "age", AGE, "salary")


@attack("approvals", "bound to the version", "approved", (99_999.5, 88_888.5), own=True)
def approval_for_an_earlier_version(a: Attacker) -> Any:
    """Uses an approval after the table got new rows, the target's new salary among them."""
    row = a.T.slice(TARGET, 1)
    a.approved(row, seconds=600)
    a.replace(unnamed(a.world).with_columns(new_salary(a)))
    return where(a.again(row), "age", AGE, "salary")


@attack("approvals", "bound to the policy", "approved", own=True)
def approval_under_an_earlier_policy(a: Attacker) -> Any:
    """Uses an approval after the owner changed the policy."""
    row = a.T.slice(TARGET, 1)
    a.approve(row, seconds=600)
    if a.setting != "approved":
        a.arena.owner.set_policy(a.T.plan.dataset, roles={"town": "sensitive"})
    return where(a.ask(row), "age", AGE, "salary")


@attack("approvals", "bound to a date", "approved", own=True)
def approval_past_its_date(a: Attacker) -> Any:
    """Uses an approval when its time is over."""
    row = a.T.slice(TARGET, 1)
    held = 600 if a.setting == "approved" else 2
    if a.approve(row, held) and held < 600:
        time.sleep(held + 0.1)
    return where(a.ask(row), "age", AGE, "salary")


@attack("approvals", "separate grants", "approved", own=True)
def approval_to_run_but_not_to_read(a: Attacker) -> Any:
    """Reads what one may run only."""
    row = a.T.slice(TARGET, 1)
    a.approve(row, may_read=a.setting == "approved")
    return where(a.ask(row), "age", AGE, "salary")


@attack("approvals", "owners decide", "open")
def approval_by_oneself(a: Attacker) -> Any:
    """Decides one's own request, signed with one's own key."""
    row = a.T.slice(TARGET, 1)
    filed = a.say(m.RequestAccess(encode(row.plan), "one of them"))
    if isinstance(filed, m.Request):
        info = filed.info
        statement = {
            "action": "decide", "request": info.id, "decision": "approve", "plan_hash": info.plan_hash, "reason": "",
            "until": 0.0, "may_run": True, "may_read": True,
        }  # fmt: skip
        signed = a.identity().sign_statement(statement, audience=a.arena.server.server_key)
        a.say(m.Decide(info.id, "approve", signed=signed))
    return where(a.ask(row), "age", AGE, "salary")


@attack("approvals", "owners decide", "open")
def policy_changed_by_oneself(a: Attacker) -> Any:
    """Opens somebody else's table, signed with one's own key."""
    dataset = a.T.plan.dataset
    text = 'safe_zone = true\nunsafe = "log"\n'
    statement = {"action": "set_policy", "dataset": dataset, "policy": text, "roles": None, "allow": None}
    signed = a.identity().sign_statement(statement, audience=a.arena.server.server_key)
    a.say(m.SetPolicy(dataset, text, signed=signed))
    return where(a.ask(a.T.slice(TARGET, 1)), "age", AGE, "salary")


@attack("approvals", RULE, OFF, own=True)
def difference_from_an_approved_sum(a: Attacker) -> Any:
    """Has the sum over a group without the target approved, next to what needs approval, and asks for the group's."""
    rest = a.approved(a.T.filter(mine, ~target).select(salary.sum(), x=salary.skew()))
    return minus(a.value(a.T.filter(mine).select(salary.sum())), (values(rest, "salary") or [None])[0])


@attack("approvals", RULE, OFF, own=True)
def difference_from_approved_rows(a: Attacker) -> Any:
    """Has the rows of a group without the target approved, and asks for the group's sum."""
    rest = a.approved(a.T.filter(mine, ~target).group_by("id").agg(salary.sum()))
    found = a.value(a.T.filter(mine).select(salary.sum()))
    return minus(found, float(rest["salary"].sum())) if "salary" in rest.columns else None


# -- audiences


def audience(a: Attacker) -> dict[str, Any]:
    """Return the policy's audience of both identities, none where each is alone."""
    names = a.identity("a").name, a.identity("b").name
    return {} if a.setting == "alone" else {"audiences": {"lab": names}}


@attack("audiences", RULE, "alone", own=True)
def two_identities_of_one_audience(a: Attacker) -> Any:
    """One asks for a group, the other for the group without the target."""
    table = Q(a.upload(unnamed(a.world), **audience(a))[0])
    one = a.value(table.filter(mine).select(salary.sum()), who="a")
    return minus(one, a.value(table.filter(mine, ~target).select(salary.sum()), who="b"))


@attack("audiences", "linear audit", "alone", own=True)
def tracker_of_two_identities(a: Attacker) -> Any:
    """The three sums of an additive tracker are asked for by two."""
    table = Q(a.upload(unnamed(a.world), **audience(a))[0])
    one, two = pl.col("town") == "b", pl.col("town") == "c"
    sums = [
        a.value(table.filter(c).select(salary.sum()), who=w)
        for c, w in ((one | target, "a"), (two, "a"), (one | two, "b"))
    ]
    return None if None in sums else sums[0] + sums[1] - sums[2]


@attack("audiences", RULE, "alone", own=True)
def groups_of_two_identities(a: Attacker) -> Any:
    """One asks for a table by town, the other for the same table without the target."""
    table = Q(a.upload(unnamed(a.world), **audience(a))[0])
    one = where(a.ask(table.filter(mine).group_by("town").agg(salary.sum())), "town", TOWN, "salary")
    rest = table.filter(mine, ~target).group_by("town").agg(salary.sum())
    return minus(one, where(a.ask(rest, who="b"), "town", TOWN, "salary"))


# -- versions


def new_salary(a: Attacker) -> polars.Expr:
    """Return the column with the target's new salary."""
    value = 99_999.5 if a.world == 0 else 88_888.5
    return polars.when(polars.col("age") == AGE).then(value).otherwise(polars.col("salary")).alias("salary")


@attack("versions", RULE, OFF, own=True)
def one_left_between_versions(a: Attacker) -> Any:
    """Asks before and after the target leaves the table."""
    before = a.value(a.T.filter(mine).select(salary.sum()))
    a.replace(unnamed(a.world).filter(polars.col("age") != AGE))
    return minus(before, a.value(a.T.filter(mine).select(salary.sum())))


@attack("versions", RULE, OFF, own=True)
def everybody_before_and_after(a: Attacker) -> Any:
    """Asks for everybody before and after the target leaves the table."""
    before = a.value(a.T.select(salary.sum()))
    a.replace(unnamed(a.world).filter(polars.col("age") != AGE))
    return minus(before, a.value(a.T.select(salary.sum())))


@attack("versions", RULE, OFF, own=True)
def one_came_between_versions(a: Attacker) -> Any:
    """Asks before and after the target joins the table."""
    whole = unnamed(a.world)
    a.replace(whole.filter(polars.col("age") != AGE))
    before = a.value(a.T.filter(mine).select(salary.sum()))
    a.replace(whole)
    return minus(a.value(a.T.filter(mine).select(salary.sum())), before)


@attack("versions", RULE, OFF, (99_999.5, 88_888.5), own=True, tolerance=1e-3)
def one_value_changed_between_versions(a: Attacker) -> Any:
    """Asks before and after the target's salary changes, and knows the earlier one."""
    before = a.value(a.T.filter(mine).select(salary.sum()))
    a.replace(unnamed(a.world).with_columns(new_salary(a)))
    change = minus(a.value(a.T.filter(mine).select(salary.sum())), before)
    return None if change is None else float(a.secret["salary"]) + change  # type: ignore[arg-type]


@attack("versions", RULE, OFF, own=True)
def policy_changed_in_between(a: Attacker) -> Any:
    """Asks before and after the owner changes a role."""
    before = a.value(a.T.filter(mine).select(salary.sum()))
    a.arena.owner.set_policy(a.T.plan.dataset, roles={"town": "public"})
    return minus(before, a.value(a.T.filter(mine, ~target).select(salary.sum())))


# -- saved frames


def save(a: Attacker, plan: Q, suffix: str = "") -> Q | None:
    """Save a plan; return the frame, None where that is refused."""
    name = f"{a.attack.name}-{a.setting}-{a.world}-{a.turn}{suffix}"
    saved = a.say(m.Save(encode(plan.plan), name))
    return Q(saved.facts.id) if isinstance(saved, m.Dataset) else None


@attack("saved filters", "population of k", "k")
def saved_person(a: Attacker) -> Any:
    """Saves a filter to one person and sums the saved frame."""
    frame = save(a, a.T.filter(target))
    return None if frame is None else a.value(frame.select(salary.sum()))


@attack("saved filters", "row-level")
def saved_rows(a: Attacker) -> Any:
    """Saves a filter and fetches the saved frame."""
    frame = save(a, a.T.filter(target))
    return None if frame is None else where(a.ask(frame), "age", AGE, "salary")


@attack("saved filters", RULE, OFF)
def saved_filter(a: Attacker) -> Any:
    """Saves a group without the target, and subtracts its sum from the group's."""
    frame = save(a, a.T.filter(mine, ~target))
    rest = None if frame is None else a.value(frame.select(salary.sum()))
    return minus(a.value(a.T.filter(mine).select(salary.sum())), rest)


@attack("saved filters", RULE, OFF)
def two_saved_filters(a: Attacker) -> Any:
    """Saves both groups, and asks only the saved frames."""
    one, two = save(a, a.T.filter(mine), "-1"), save(a, a.T.filter(mine, ~target), "-2")
    if one is None or two is None:
        return None
    return minus(a.value(one.select(salary.sum())), a.value(two.select(salary.sum())))


@attack("saved filters", "the whole table", "k")
def saved_whole_minus_one(a: Attacker) -> Any:
    """Saves everybody but the target: the frame's own whole is not the table's."""
    frame = save(a, a.T.filter(~target))
    rest = None if frame is None else a.value(frame.select(salary.sum()))
    return minus(a.value(a.T.select(salary.sum())), rest)


@attack("saved filters", "keys beside the unit", "open")
def saved_groups_of_persons(a: Attacker) -> Any:
    """Saves a table of everybody's sums under another name, and takes its largest."""
    frame = save(a, a.T.group_by("id").agg(pay=salary.sum()))
    return None if frame is None else a.value(frame.select(pl.col("pay").max()))


@attack("saved filters", "hidden", "names", "name")
def saved_under_another_name(a: Attacker) -> Any:
    """Saves a frame whose hidden column has another name."""
    frame = save(a, a.table("named").select("age", other=pl.col("name")))
    return None if frame is None else where(a.ask(frame), "age", AGE, "other")


@attack("saved filters", "sensitive columns", "open", "hiv")
def saved_sensitive_column(a: Attacker) -> Any:
    """Saves a frame whose sensitive column has another name, and filters by it."""
    frame = save(a, a.T.select("age", flag=pl.col("hiv")))
    found = None if frame is None else a.value(frame.filter(target & pl.col("flag")).select(pl.len()))
    return None if found is None else found == 1


# -- second datasets


def same_people(a: Attacker) -> dict[str, str]:
    """Return what the owner writes for tables of the same people; nothing where that is switched off."""
    return {} if a.setting == "strangers" else {"unit_domain": f"{a.attack.name}-{a.setting}-{a.world}-{a.turn}"[-60:]}


def two_tables(a: Attacker) -> tuple[Q, Q]:
    """The owner has two tables of the same people; the target is in the first only."""
    people = unnamed(a.world)
    first = a.upload(people, **same_people(a))[0]
    return Q(first), Q(a.upload(people.filter(polars.col("age") != AGE), **same_people(a))[0])


@attack("second datasets", "one unit domain", "strangers", own=True)
def second_dataset_of_the_same_people(a: Attacker) -> Any:
    """Subtracts the sums of two tables of the same people, of which one lacks the target."""
    one, two = two_tables(a)
    return minus(a.value(one.filter(mine).select(salary.sum())), a.value(two.filter(mine).select(salary.sum())))


@attack("second datasets", "one unit domain", "strangers", own=True)
def whole_of_a_second_dataset(a: Attacker) -> Any:
    """The same for everybody: each table's whole is always answered."""
    one, two = two_tables(a)
    return minus(a.value(one.select(salary.sum())), a.value(two.select(salary.sum())))


@attack("second datasets", "one unit domain", "strangers", own=True)
def tracker_over_two_datasets(a: Attacker) -> Any:
    """An additive tracker of which one sum is asked of the second table."""
    one, two = two_tables(a)
    b, c = pl.col("town") == "b", pl.col("town") == "c"
    found = [
        a.value(one.filter(b | target).select(salary.sum())),
        a.value(two.filter(c).select(salary.sum())),
        a.value(two.filter(b | c).select(salary.sum())),
    ]
    return None if None in found else found[0] + found[1] - found[2]


@attack("second datasets", "one unit domain", "strangers", own=True)
def table_deleted_and_sent_again(a: Attacker) -> Any:
    """Asks before the owner deletes the table, and after it was uploaded anew without the target."""
    people = unnamed(a.world)
    first = a.upload(people, **same_people(a))[0]
    before = a.value(Q(first).filter(mine).select(salary.sum()))
    a.arena.owner.client.polars.delete_df(first)
    again = a.upload(people.filter(polars.col("age") != AGE), **same_people(a))[0]
    return minus(before, a.value(Q(again).filter(mine).select(salary.sum())))


@attack("second datasets", "joins of two people's tables", "open")
def second_dataset_joined(a: Attacker) -> Any:
    """Joins the second table, which lacks the target, and subtracts within one sex."""
    joined = a.T.join(a.table("others").select("id"), on="id").filter(mine)
    return minus(a.value(a.T.filter(mine).select(salary.sum())), a.value(joined.select(salary.sum())))


@attack("second datasets", "joins of two people's tables", "open")
def second_dataset_as_candidates(a: Attacker) -> Any:
    """Leaves out who is in the second table."""
    return a.value(a.T.join(a.table("others").select("id"), on="id", how="anti").select(salary.sum()))
