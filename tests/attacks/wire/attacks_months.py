"""Attacks on tables of several months per person: two populations have no row in common, and differ by one person's value."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
from attack_list import attack
from bastion_policy.model import Role, RoleKind
from query import Q
from wire_arena import Attacker, minus, values
from wire_terms import age, known, mine, target
from wire_worlds import AGE, SECRETS

import bastion.expressions as pl

RULE, OFF = "people of several rows", "history"
month, member = pl.col("month"), pl.col("member")
#: the smallest group that is answered, where rounding leaves most digits
FEW = (age == 79) | (age == AGE) | ((age == 78) & mine)


def left_over(a: Attacker, column: str, first: Q, second: Q) -> Any:
    """Return the sum of a column in the first rows less that in the second ones."""
    return minus(*(a.value(rows.select(pl.col(column).sum())) for rows in (first, second)))


@attack("differencing", RULE, OFF, tolerance=0.003)
def month_after_without_the_target(a: Attacker) -> Any:
    """Adds up one month of a pay that changes every second month, and the next month of everybody but the target."""
    rows = a.table("months").filter(mine)
    return left_over(a, "pay", rows.filter(month == 0), rows.filter(month == 1, ~target))


@attack("differencing", RULE, OFF, tolerance=0.03)
def month_after_without_the_target_of_a_few(a: Attacker) -> Any:
    """The same in the smallest group that is answered, where rounding leaves most digits."""
    rows = a.table("months").filter(FEW)
    return left_over(a, "pay", rows.filter(month == 0), rows.filter(month == 1, ~target))


@attack("differencing", RULE, OFF, tolerance=0.003)
def month_before_with_the_target(a: Attacker) -> Any:
    """The same in the other order, the target in the second question."""
    rows = a.table("months").filter(mine)
    found = left_over(a, "pay", rows.filter(month == 1, ~target), rows.filter(month == 0))
    return None if found is None else -found


@attack("differencing", RULE, OFF, tolerance=0.003)
def months_with_a_known_rise(a: Attacker) -> Any:
    """The same of a number that rises by 100 a month for everybody."""
    rows = a.table("months").filter(mine)
    count = a.others.filter(known).height
    found = left_over(a, "steps", rows.filter(month == 2), rows.filter(month == 3, ~target))
    return None if found is None else found + 100 * count - 200


@attack("differencing", RULE, OFF, tolerance=0.003)
def months_put_together_per_person(a: Attacker) -> Any:
    """Means of each person's two months, and of one of them without the target."""
    rows = a.table("months").filter(mine)
    two = rows.filter(month < 2).group_by("id").agg(pay=pl.col("pay").mean())
    one = rows.filter(month == 0, ~target).group_by("id").agg(pay=pl.col("pay").mean())
    return left_over(a, "pay", two, one)


@attack("differencing", RULE, OFF, tolerance=0.003)
def months_and_known_zeros(a: Attacker) -> Any:
    """One month of everybody, the next of those who pay a fee at all, without the target."""
    rows = a.table("months").filter(mine)
    return left_over(a, "fee", rows.filter(month == 0), rows.filter(month == 1, member, ~target))


@attack("differencing", RULE, OFF, tolerance=0.003)
def months_and_known_zeros_elsewhere(a: Attacker) -> Any:
    """One month of those who pay a fee at all, the next of everybody but the target: neither lies in the other."""
    rows = a.table("months").filter(mine)
    return left_over(a, "fee", rows.filter(month == 0, member), rows.filter(month == 1, ~target))


@attack("differencing", "differences", OFF, tolerance=0.003)
def known_zeros(a: Attacker) -> Any:
    """Everybody, and those who pay a fee at all without the target; one row per person."""
    rows = a.table("fees").filter(mine)
    return left_over(a, "fee", rows, rows.filter(member, ~target))


@attack("differencing", "differences", OFF, tolerance=0.003)
def known_zeros_elsewhere(a: Attacker) -> Any:
    """Those who pay a fee at all, and everybody but the target: neither lies in the other."""
    rows = a.table("fees").filter(mine)
    return left_over(a, "fee", rows.filter(member), rows.filter(~target))


@attack("existence", "population of k", "k", (81.0, 74.0))
def keys_of_a_remainder_that_moved(a: Attacker) -> Any:
    """Counts people by pay in two months: in the second the target is one of the few who are put together."""
    few = [11_000.0] * 6 + [21_000.0] * 6
    first, second = ([1_000.0] * 40 + [pay, *few] for pay in (1_000.0, a.secret["salary"]))
    frame = polars.DataFrame({"id": [*range(53)] * 2, "month": [0] * 53 + [1] * 53, "pay": first + second})
    rows, key = Q(a.upload(frame)[0]), (pl.col("pay") / 1000).floor().alias("key")
    found = [values(a.ask(rows.filter(month == i).group_by(key).agg(pl.len())), "key") for i in (0, 1)]
    new = set(found[1]) - {*found[0], None, 1.0, 11.0, 21.0}
    return new.pop() if len(new) == 1 else None


# -- numbers per person

VARIED = {
    "id": Role(RoleKind.IDENTIFIER), "month": Role(RoleKind.QUASI), "pay": Role(RoleKind.MEASURE, 0.0, 100_000.0, varies=True),
}  # fmt: skip
PEOPLE, SOUGHT = 240, 17
LOST = (SECRETS[0]["rent"], SECRETS[1]["rent"])
pay, each = pl.col("pay"), pl.col("each")


def panel(a: Attacker, first: np.ndarray, second: np.ndarray) -> Q:
    """Upload two months of the same people, the pay of which varies; who is NaN in a month has no row there."""
    both = np.concatenate([first, second])
    frame = polars.DataFrame({"id": [*range(PEOPLE)] * 2, "month": [0] * PEOPLE + [1] * PEOPLE, "pay": both})
    return Q(a.upload(frame.filter(polars.col("pay").is_not_nan()), roles=VARIED)[0])


@attack("differencing", RULE, OFF, tolerance=0.003)
def means_of_months_and_all_their_rows(a: Attacker) -> Any:
    """Adds up the means of each person's rows, and the rows: twice the means less the rows is who lacks a month."""
    first, second = np.random.default_rng(11).integers(10_000, 90_000, (2, PEOPLE)).astype(float)
    first[SOUGHT], second[SOUGHT] = np.nan, a.secret["salary"]
    rows = panel(a, first, second)
    means = a.value(rows.group_by("id").agg(each=pay.mean()).select(each.sum()))
    return minus(None if means is None else 2 * means, a.value(rows.select(pay.sum())))


@attack("differencing", RULE, tolerance=0.03, truth=LOST)
def spreads_of_months_and_what_all_gained(a: Attacker) -> Any:
    """Adds up the spreads of each person's two rows, and each month: half of what they differ by is what the only one lost who did."""
    rng = np.random.default_rng(12)
    first = rng.integers(10_000, 90_000, PEOPLE).astype(float)
    second = first + rng.integers(50, 5_000, PEOPLE)
    second[SOUGHT] = first[SOUGHT] - a.secret["rent"] / 100
    rows = panel(a, first, second)
    apart = a.value(rows.group_by("id").agg(each=pay.std()).select(each.sum()))
    gained = minus(*(a.value(rows.filter(month == i).select(pay.sum())) for i in (1, 0)))
    return None if apart is None or gained is None else (apart * 2**0.5 - gained) / 2 * 100


@attack("differencing", RULE, OFF, tolerance=0.003)
def means_of_lists_and_all_their_elements(a: Attacker) -> Any:
    """Unpacks lists of three, of which one has two: thrice their means less the elements is half of what is in that one."""
    pays = np.random.default_rng(13).integers(10_000, 90_000, (PEOPLE, 3)).astype(float).tolist()
    pays[SOUGHT] = [a.secret["salary"], a.secret["salary"]]
    frame = polars.DataFrame({"id": range(PEOPLE), "month": 0, "pay": pays})
    made = Q(a.upload(frame, roles=VARIED | {"pay": Role(RoleKind.SENSITIVE)})[0]).explode("pay")
    means = a.value(made.group_by("id").agg(each=pay.mean()).select(each.sum()))
    return minus(None if means is None else 3 * means, a.value(made.select(pay.sum())))
