"""Attacks that ask for two populations in different forms: what lies between them is one person who stands out.

All are of wards of forty people each, of which everything but what is secret is known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
from attack_list import BIT, attack
from bastion_plan.canonical import encode
from bastion_policy.model import Role, RoleKind
from bastion_wire import messages as m
from query import Q
from wire_arena import Attacker, minus

import bastion.expressions as pl

WARDS, SIZE = 60, 40
WARD, BED = np.arange(WARDS * SIZE) // SIZE, np.arange(WARDS * SIZE) % SIZE
#: who is sought lies in this bed of the third ward; those in the beds before have no fee
SOUGHT = 14
FEES = (5682, 4959)
SICK = ("011010001001", "100100011010")
ROLES = {
    "id": Role(RoleKind.IDENTIFIER),
    "fee": Role(RoleKind.MEASURE, 0.0, 10_000.0),
    "bill": Role(RoleKind.MEASURE, 0.0, 10_000.0),
    "few": Role(RoleKind.MEASURE, 0.0, 10_000.0),
    "hiv": Role(RoleKind.SENSITIVE),
    "ill": Role(RoleKind.SENSITIVE),
}
fee, bill, hiv, ward, bed, month = (pl.col(c) for c in ("fee", "bill", "hiv", "ward", "bed", "month"))
THIRD, BODY = ward == 3, ward.is_in([10, 11, 12])
DIFFERENCES, OFF = "differences", "history"
NEAR = 0.003  #: how near numbers are that the strict profile rounds


def wards(world: int) -> polars.DataFrame:
    """Return one row per person; the values of one person in each of a few wards are secret.

    fee: nothing in the first beds of ward 3; bill: missing in most of ward 3 and the first beds of ward 4; few: missing of
    six people in ward 7 in the first world only; hiv, ill: all or none of ten in wards 6 and 7, and of 24 in ward 3.
    """
    rng, alike = np.random.default_rng(11), world == 0
    usual, yes = rng.integers(1000, 9000, WARD.size), rng.random(WARD.size) < 0.4
    usual[[3 * SIZE + SOUGHT, 3 * SIZE + 27, 4 * SIZE + 12, 9 * SIZE + 7]] = FEES[world]
    fees = np.where((WARD == 3) & (BED < SOUGHT), 0, usual)
    paid = ~(((WARD == 3) & (BED < 24)) | ((WARD == 4) & (BED < 12)))
    missing = 6 if alike else 0
    rare = ~(((WARD == 7) & (missing > BED)) | ((WARD == 20) & (BED < 20)))
    mixed = BED % 2 == 0
    hiv = np.where(
        (WARD == 6) & (BED < 10), mixed & (not alike), np.where((WARD == 7) & (BED < 10), mixed | alike, yes)
    )
    ill = np.where((WARD == 3) & (BED < 24), mixed | alike, yes)
    hiv[40 * SIZE : 40 * SIZE + len(SICK[0])] = [bit == "1" for bit in SICK[world]]
    return polars.DataFrame(
        {
            "id": np.arange(WARD.size), "ward": WARD, "bed": BED, "visits": BED % 9, "fee": fees,
            "bill": [int(v) if there else None for v, there in zip(usual, paid, strict=True)],
            "few": [int(v) if there else None for v, there in zip(usual, rare, strict=True)],
            "hiv": hiv, "ill": np.where(ill, "hiv", np.where(mixed, "flu", "cold")),
        }
    )  # fmt: skip


def given(a: Attacker, frame: polars.DataFrame | None = None) -> tuple[Q, str]:
    """The owner uploads the wards, or another table of the same people; returns it and its name."""
    frame = wards(a.world) if frame is None else frame
    roles = {c: ROLES.get(c, Role(RoleKind.QUASI)) for c in frame.columns}
    domain = f"{a.attack.name}-{a.setting}-{a.world}-{a.turn}"[-60:]
    ref, name = a.upload(frame, "id", roles=roles, unit_domain=domain)
    return Q(ref), name


def left_over(a: Attacker, first: Q, second: Q) -> Any:
    """Return the first number less the second one."""
    return minus(a.value(first), a.value(second))


#: who is asked for first, and second: they differ in those who have nothing and who is sought
NESTED = (THIRD, THIRD & (bed > SOUGHT))
APART = (BODY | (THIRD & bed.is_between(7, SOUGHT)), BODY | (THIRD & (bed < 7)))


def summed(rows: Q, who: Any) -> Q:
    """Return the sum of fees of those who meet a condition."""
    return rows.filter(who).select(fee.sum())


@attack("differencing", DIFFERENCES, OFF, FEES, tolerance=NEAR)
def seventeen_decoys(a: Attacker) -> Any:
    """Asks for seventeen populations nearer to the second than the first is, in between."""
    rows, _ = given(a)
    first = a.value(summed(rows, APART[0]))
    for i in range(17):
        out = (ward == 10 + i // 8) & bed.is_between(i % 8 * 5, i % 8 * 5 + 4)
        a.ask(summed(rows, (APART[1] & ~out) | ((ward == 20 + i) & (bed < 6))))
    return minus(first, a.value(summed(rows, APART[1])))


@attack("differencing", DIFFERENCES, OFF, FEES, tolerance=NEAR)
def the_second_person_by_person(a: Attacker) -> Any:
    """Asks for the second population as a sum of sums per person."""
    rows, _ = given(a)
    second = rows.filter(APART[1]).group_by("id").agg(z=fee.sum()).select(pl.col("z").sum())
    return left_over(a, summed(rows, APART[0]), second)


@attack("differencing", DIFFERENCES, OFF, FEES, tolerance=NEAR)
def the_second_through_a_join(a: Attacker) -> Any:
    """Asks for the second population joined with another table of the same people."""
    rows, _ = given(a)
    other, _ = given(a, wards(a.world).select("id", other="visits"))
    return left_over(a, summed(rows, APART[0]), summed(rows.join(other, on="id"), APART[1]))


@attack("differencing", DIFFERENCES, OFF, FEES, tolerance=NEAR, own=True)
def the_second_of_a_new_version(a: Attacker) -> Any:
    """Asks for the second population when another column of one person has changed."""
    rows, name = given(a)
    first = a.value(summed(rows, NESTED[0]))
    one = (polars.col("ward") == 3) & (polars.col("bed") == 2)
    changed = wards(a.world).with_columns(visits=polars.when(one).then(99).otherwise("visits"))
    a.arena.owner.client.polars.send_df(changed, name=name, replace=True)
    return minus(first, a.value(summed(rows, NESTED[1])))


@attack("differencing", "people of several rows", OFF, FEES, tolerance=NEAR, own=True)
def a_panel_that_grows(a: Attacker) -> Any:
    """Asks while there is one month, and of the next month of everybody but one when it is there."""
    frame = wards(a.world).select("id", "ward", "bed", "fee", month=polars.lit(0))
    rows, name = given(a, frame)
    first = a.value(summed(rows, (ward == 9) & (month == 0)))
    grown = polars.concat([frame, frame.with_columns(month=polars.lit(1))])
    a.arena.owner.client.polars.send_df(grown, name=name, replace=True)
    return minus(first, a.value(summed(rows, (ward == 9) & (month == 1) & (bed != 7))))


@attack("one person", "homogeneity", "homogeneity", BIT)
def all_no_in_one_group_all_yes_in_another(a: Attacker) -> Any:
    """Subtracts a group with ten who are all no from the group with ten others who are all yes."""
    rows, _ = given(a)
    body = (ward == 6) & (bed >= 10)
    ten = [body | ((ward == w) & (bed < 10)) for w in (6, 7)]
    one, two = (a.value(rows.filter(who).select(hiv.sum())) for who in ten)
    found = minus(two, one)
    return None if found is None else found == 10


@attack("one person", "homogeneity", OFF, BIT)
def a_condition_in_two_nested_groups(a: Attacker) -> Any:
    """Counts those with a disease in two wards, and without twenty-four people who may all have it."""
    rows, _ = given(a)
    both, sick = THIRD | (ward == 30), (pl.col("ill") == "hiv").sum()
    found = left_over(a, *(rows.filter(who).select(x=sick) for who in (both, both & ~(THIRD & (bed < 24)))))
    return None if found is None else found == 24


# -- missing values


@attack("differencing", "missing values", "open", FEES, tolerance=NEAR)
def sums_of_nothing_per_person(a: Attacker) -> Any:
    """Adds twelve people without a value to three with one, as sums per person; then twelve others, and the target."""
    rows, _ = given(a)

    def filled(who: Any) -> Q:
        return rows.filter(THIRD & who).group_by("id").agg(z=bill.sum()).select(pl.col("z").sum())

    return left_over(a, filled(bed.is_between(12, 27)), filled((bed < 12) | bed.is_between(24, 26)))


@attack("differencing", "missing values", OFF, FEES, tolerance=NEAR)
def values_missing_in_two_tables(a: Attacker) -> Any:
    """Asks the second population of another table of the same people: twelve of those between have no value in either."""
    rows, other = (given(a)[0] for _ in range(2))
    fourth = ward == 4
    return left_over(a, rows.filter(fourth).select(bill.sum()), other.filter(fourth, bed > 12).select(bill.sum()))


@attack("existence", "counts of missing values", "open", BIT)
def missing_values_counted_per_person(a: Attacker) -> Any:
    """Counts missing values person by person, and adds the counts up: six look like none where they are counted at once."""
    rows, _ = given(a)
    counts = rows.filter(ward == 7).group_by("id").agg(z=pl.col("few").null_count())
    return bool(a.value(counts.select(pl.col("z").sum())))


# -- joins, searches, requests


@attack("one person", "joins of private tables", "open", FEES)
def semi_join_on_a_measure(a: Attacker) -> Any:
    """Joins a table of ten rows for each possible fee of the target, to see which of them find somebody."""
    rows, _ = given(a)
    codes = np.repeat(np.arange(1000, 9000), 10)
    table = {
        "rid": np.arange(codes.size),
        "code": codes,
        "ward": np.full(codes.size, 3),
        "bed": np.full(codes.size, SOUGHT),
    }
    roles = {c: Role(RoleKind.IDENTIFIER if c == "rid" else RoleKind.QUASI) for c in table}
    own = Q(a.upload(polars.DataFrame(table), "rid", roles=roles)[0])
    met = own.join(rows, left_on=["code", "ward", "bed"], right_on=["fee", "ward", "bed"], how="semi")
    found = a.ask(met.group_by("code").agg(pl.len()))
    codes_found = [] if "code" not in found.columns else found["code"].drop_nulls().to_list()
    return codes_found[0] if len(codes_found) == 1 else None


@attack("differencing", "denial budget", OFF, FEES, tolerance=1e-3)
def a_search_by_two_groups_and_both(a: Attacker) -> Any:
    """Counts two groups above a threshold, and both with the target: the third follows unless the target is above."""
    rows, _ = given(a)
    groups = [bed.is_in([i, i + 1]) for i in range(0, SIZE, 2) if i != SOUGHT]
    groups += [ward.is_in([i, i + 1, i + 2]) for i in range(6, 24, 3)]
    low, high = 1000, 9000
    for one, two in zip(groups[:22:2], groups[1:22:2], strict=True):
        middle = (low + high) // 2
        whos = (one, two, one | two | (THIRD & (bed == SOUGHT)))
        found = [a.value(rows.filter(who).filter(fee > middle).select(pl.len())) for who in whos]
        if found[0] is None or found[1] is None:
            return None
        low, high = (low, middle) if found[2] == found[0] + found[1] else (middle, high)
    return (low + high) / 2


@attack("approvals", "kept like answers", OFF, SICK)
def requests_as_an_oracle(a: Attacker) -> Any:
    """Files requests about ten people each: they are not needed where three of the ten differ. Then swaps one of them."""
    rows, _ = given(a)

    def needed(people: list[int]) -> bool:
        who = None
        for w in sorted({p // SIZE for p in people}):
            here = (ward == w) & bed.is_in(sorted(p % SIZE for p in people if p // SIZE == w))
            who = here if who is None else who | here
        filed = a.say(m.RequestAccess(encode(rows.filter(who).select(hiv.sum()).plan), "for the study"))
        if isinstance(filed, m.Request):
            a.say(m.Withdraw(filed.info.id))
        return isinstance(filed, m.Request)

    tens = [list(range(i, i + 10)) for i in range(45 * SIZE, 55 * SIZE, 10)]
    more = less = None
    for ten in tens:
        less, more = (ten, more) if needed(ten) else (less, ten)
        if more and less:
            break
    if more is None or less is None:
        return None
    # between too few who differ and enough of them lies one person
    low, high = 0, 10
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(more[:middle] + less[middle:]) else (low, middle)
    base = more[:low] + less[high:]
    return "".join("0" if needed([*base, 40 * SIZE + i]) else "1" for i in range(len(SICK[0])))
