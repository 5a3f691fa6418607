"""Attacks across audiences, versions and datasets: what two identities, two uploads or two tables of the same people tell."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import polars
from attack_list import attack
from query import Q
from wire_arena import Attacker, minus, where
from wire_terms import OFF, RULE, mine, new_salary, salary, target
from wire_worlds import AGE, TOWN, unnamed

import bastion.expressions as pl
from bastion import BastionError

# -- audiences

FOR_EVER = "one audience for ever"


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


def counting_as_one(a: Attacker, table: str, audiences: dict[str, tuple[str, ...]] | None) -> None:
    """The owner changes who counts as one under a table's policy; what the server refuses stays as it was."""
    policy = a.arena.owner.dataset(table).dataset.facts.policy
    with suppress(BastionError):
        a.arena.owner.set_policy(table, msgspec.structs.replace(policy, audiences=audiences))


@attack("audiences", FOR_EVER, OFF, own=True)
def audience_named_in_between(a: Attacker) -> Any:
    """Asks for a group, is put into an audience, and asks for the group without the target."""
    ref, name = a.upload(unnamed(a.world))
    one = a.value(Q(ref).filter(mine).select(salary.sum()))
    counting_as_one(a, name, audience(a)["audiences"])
    return minus(one, a.value(Q(ref).filter(mine, ~target).select(salary.sum())))


@attack("audiences", FOR_EVER, OFF, own=True)
def audience_lost_in_between(a: Attacker) -> Any:
    """One of an audience asks for a group; the other for the group without the target, when the policy has no audience."""
    ref, name = a.upload(unnamed(a.world), **audience(a))
    one = a.value(Q(ref).filter(mine).select(salary.sum()))
    counting_as_one(a, name, None)
    return minus(one, a.value(Q(ref).filter(mine, ~target).select(salary.sum()), who="b"))


@attack("audiences", FOR_EVER, OFF, own=True)
def audience_renamed_in_between(a: Attacker) -> Any:
    """Asks for a group, and for the group without the target when the audience has another name."""
    ref, name = a.upload(unnamed(a.world), **audience(a))
    one = a.value(Q(ref).filter(mine).select(salary.sum()))
    counting_as_one(a, name, {"study": audience(a)["audiences"]["lab"]})
    return minus(one, a.value(Q(ref).filter(mine, ~target).select(salary.sum())))


@attack("audiences", FOR_EVER, OFF, own=True)
def audience_of_a_second_table(a: Attacker) -> Any:
    """Asks for a group, and for the group without the target of a table of these people whose policy has an audience."""
    one, two = (a.upload(unnamed(a.world), **same_people(a), **more)[0] for more in ({}, audience(a)))
    whole = a.value(Q(one).filter(mine).select(salary.sum()))
    return minus(whole, a.value(Q(two).filter(mine, ~target).select(salary.sum())))


# -- versions


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
