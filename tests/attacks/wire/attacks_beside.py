"""Attacks by tables beside the one that is asked: open ones, registers of everybody, one row per person, a copy.

What is remembered of a guarded table must hold whatever else takes part in a question. The people are those of
`attacks_versions`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
from attack_list import BIT, attack
from attacks_edges import BUDGET
from attacks_versions import (
    BED,
    BUT_ONE,
    NEAR,
    OFF,
    PAYS,
    ROWS,
    SIZE,
    SOUGHT,
    THIRD,
    WARD,
    again,
    bed,
    given,
    month,
    pay,
    pays,
    roles_of,
    table,
    total,
    ward,
)  # fmt: skip
from query import Q
from wire_arena import Attacker, minus

import bastion.expressions as pl

OPEN, RIGHT, VALUES = "open tables beside a guarded one", "the second table of a join", "values that are not missing"
TARGET = 3 * SIZE + SOUGHT
EVERYBODY = np.arange(WARD.size)


def opened(a: Attacker, unit: str = "id", domain: str | None = None, **columns: Any) -> Q:
    """Somebody uploads an open table."""
    frame = polars.DataFrame({"id": EVERYBODY, **columns})
    return Q(a.arena.upload("open", frame, unit, roles=roles_of(frame), unit_domain=domain)[0])


def guarded(a: Attacker) -> Q:
    """The owner uploads the table."""
    return given(a, table(pay=pays(a.world)))[0]


# -- joined with an open table


@attack("differencing", OPEN, OFF, PAYS, tolerance=NEAR, own=True)
def through_an_open_table(a: Attacker) -> Any:
    """Asks for a ward, and for the ward without the target through a join with an open table of everybody."""
    rows, other = guarded(a), opened(a, x=np.ones(WARD.size))
    return minus(total(a, rows, THIRD), total(a, rows.filter(BUT_ONE).join(other, on="id"), THIRD))


@attack("differencing", OPEN, OFF, PAYS, tolerance=NEAR, own=True)
def through_an_open_table_of_rows(a: Attacker) -> Any:
    """The same with an open table that is about rows, not people."""
    rows, other = guarded(a), opened(a, "row", x=np.ones(WARD.size))
    return minus(total(a, rows, THIRD), total(a, rows.filter(BUT_ONE).join(other, on="id"), THIRD))


@attack("differencing", OPEN, "open", PAYS, tolerance=NEAR, own=True)
def by_a_mark_in_an_open_table(a: Attacker) -> Any:
    """The same with everybody but the target marked in the open table, both questions through the join."""
    both = guarded(a).join(opened(a, mark=TARGET != EVERYBODY), on="id")
    return minus(total(a, both, THIRD), total(a, both, THIRD & pl.col("mark")))


@attack("differencing", OPEN, OFF, PAYS, tolerance=NEAR, own=True)
def through_an_open_table_of_these_people(a: Attacker) -> Any:
    """The same with an open table in the unit domain of the guarded one."""
    domain = f"o-{a.attack.name}-{a.setting}-{a.world}-{a.turn}"[-60:]
    frame = table(pay=pays(a.world))
    rows = Q(a.upload(frame, "id", roles=roles_of(frame), unit_domain=domain)[0])
    other = opened(a, domain=domain, x=np.ones(WARD.size))
    return minus(total(a, rows, THIRD), total(a, rows.filter(BUT_ONE).join(other, on="id"), THIRD))


@attack("differencing", OPEN, "open", PAYS, tolerance=NEAR, own=True)
def twice_in_an_open_table(a: Attacker) -> Any:
    """Asks for a ward, and for it through a join with an open table in which the target stands twice."""
    rows = guarded(a)
    frame = polars.DataFrame({"id": [*range(WARD.size), TARGET], "x": 1.0})
    other = Q(a.arena.upload("open", frame, "id", roles=roles_of(frame))[0])
    whole = total(a, rows, THIRD)
    return minus(total(a, rows.join(other, on="id"), THIRD), whole)


# -- who is in the second table of a join


def patients(a: Attacker) -> Q:
    """The owner uploads a table of half of the people; the target is one of them in one world."""
    here = np.random.default_rng(14).random(WARD.size) < 0.5
    here[TARGET] = a.world == 0
    return given(a, table(pay=pays(a.world)).filter(polars.Series(here)))[0]


def register(a: Attacker, number: int = 0) -> Q:
    """An owner uploads a register of everybody, whose people are not known to be the same."""
    frame = table().rename({"ward": "w", "bed": "b"})
    domain = f"r{number}-{a.attack.name}-{a.setting}-{a.world}-{a.turn}"[:60]
    return Q(a.upload(frame, "id", roles=roles_of(frame), unit_domain=domain)[0])


def present(a: Attacker, one: Any, two: Any, patients: Q, how: str = "semi") -> bool | None:
    """Return whether the target is a patient, by those of a ward in a register, and of a ward but the target in another."""
    w, b = pl.col("w"), pl.col("b")
    whole = a.value(one.filter(w == 3).join(patients, on="id", how=how).select(pl.len()))
    less = a.value(two.filter((w == 3) & (b != SOUGHT)).join(patients, on="id", how=how).select(pl.len()))
    found = minus(whole, less)
    return None if found is None else bool(found == (0 if how == "anti" else 1))


@attack("existence", RIGHT, "open", BIT, own=True)
def who_has_a_partner_in_two_registers(a: Attacker) -> Any:
    """Counts who of a ward of one register is a patient, and who of the ward without the target in another register."""
    return present(a, register(a), register(a, 1), patients(a))


@attack("existence", RIGHT, "open", BIT, own=True)
def who_has_no_partner_in_two_registers(a: Attacker) -> Any:
    """The same of those who are not patients."""
    return present(a, register(a), register(a, 1), patients(a), "anti")


@attack("existence", RIGHT, "open", BIT, own=True)
def who_has_a_partner_in_an_open_register(a: Attacker) -> Any:
    """The same by an open register."""
    one = opened(a, w=WARD, b=BED)
    return present(a, one, one, patients(a))


@attack("existence", RIGHT, "open", BIT, own=True)
def who_has_no_partner_in_an_open_register(a: Attacker) -> Any:
    """The same of those who are not patients."""
    one = opened(a, w=WARD, b=BED)
    return present(a, one, one, patients(a), "anti")


@attack("existence", RIGHT, "open", BIT, own=True)
def who_is_joined_in_an_open_register(a: Attacker) -> Any:
    """The same by an inner join."""
    one = opened(a, w=WARD, b=BED)
    return present(a, one, one, patients(a), "inner")


@attack("existence", RIGHT, "open", BIT, own=True)
def patients_themselves_and_by_a_register(a: Attacker) -> Any:
    """Counts a ward of patients, and who of a register's ward without the target is a patient."""
    rows, everybody = patients(a), register(a)
    whole = a.value(rows.filter(THIRD).select(pl.len()))
    some = everybody.filter((pl.col("w") == 3) & (pl.col("b") != SOUGHT))
    found = minus(whole, a.value(some.join(rows, on="id", how="semi").select(pl.len())))
    return None if found is None else bool(found == 1)


# -- several rows per person, and then one


@attack("versions", ROWS, OFF, PAYS, tolerance=NEAR, own=True)
def one_row_each_in_the_next_version(a: Attacker) -> Any:
    """Asks for a ward in one of two equal months, and for it without the target when only the other month is left."""
    both = polars.concat([table(pay=pays(a.world)).with_columns(month=polars.lit(i)) for i in range(2)])
    rows, name = given(a, both)
    whole = total(a, rows, THIRD & (month == 0))
    again(a, name, both.filter(polars.col("month") == 1))
    return minus(whole, total(a, rows, BUT_ONE & (month == 1)))


# -- a value that is missing


def a_dozen(a: Attacker, missing: Any) -> bool | None:
    """Add up ones and zeros of a dozen who all have one, or half of them; one value elsewhere is missing."""
    here = (WARD == 6) & (BED < 12)
    ones = np.where(here, (a.world == 0) | (BED % 2 == 0), np.random.default_rng(12).random(WARD.size) < 0.4)
    numbers = [missing if i == 50 * SIZE else kind(v) for kind in (type(missing or 0),) for i, v in enumerate(ones)]
    found = total(a, given(a, table(hiv=numbers))[0], (ward == 6) & (bed < 12), "hiv")
    return None if found is None else bool(found > 8)


@attack("one person", VALUES, "homogeneity", BIT)
def ones_and_zeros_with_a_missing_value(a: Attacker) -> Any:
    """Adds up a sensitive column of ones and zeros of a dozen who are all one; a value elsewhere is missing."""
    return a_dozen(a, None)


@attack("one person", VALUES, "homogeneity", BIT)
def ones_and_zeros_with_no_number(a: Attacker) -> Any:
    """The same where the value is not a number."""
    return a_dozen(a, float("nan"))


# -- a copy that is asked on


@attack("differencing", BUDGET, OFF, PAYS, tolerance=1e-3, own=True)
def bisection_in_two_tables(a: Attacker) -> Any:
    """Asks for nine people, and the target above a threshold, in one table until it says no more, and then in its copy."""
    low, high = 0, 16_384
    for _ in range(2):
        rows = guarded(a)
        while high - low > 8:
            middle = (low + high) // 2
            asked = rows.filter(((ward == 7) & (bed < 9)) | (THIRD & (bed == SOUGHT) & (pay >= middle)))
            told = len(a.told)
            found = a.value(asked.select(pl.len()))
            if found is None and a.told[told:] != ["answered"]:
                break
            low, high = (middle, high) if found else (low, middle)
    return (low + high) / 2 if high - low <= 8 else None
