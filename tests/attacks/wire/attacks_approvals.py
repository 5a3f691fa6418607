"""Attacks on what owners approved: for another plan, user, version, policy, date or right, or next to what is asked."""

from __future__ import annotations

import time
from typing import Any

from attack_list import attack
from bastion_plan.canonical import encode
from bastion_wire import messages as m
from wire_arena import Attacker, minus, values, where
from wire_terms import OFF, RULE, mine, new_salary, salary, target
from wire_worlds import AGE, TARGET, unnamed


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
