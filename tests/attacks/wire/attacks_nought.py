"""Attacks on the one person who has something where everybody else has nothing, in columns with values on both sides of 0.

In wards 3 and 4 nobody has gained or lost anything but the one who is sought; elsewhere nearly everybody has. Seen from the lower
bound all have a good deal, so that nobody seems to stand out. The people are those of `attacks_versions`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from attack_list import BIT, attack
from attacks_versions import (
    MOST,
    NEAR,
    PAYS,
    SIZE,
    SOUGHT,
    THIRD,
    WARD,
    given,
    paid,
    pay,
    pays,
    roles_of,
    table,
    total,
    ward,
)
from bastion_policy.model import Role, RoleKind
from query import Q
from wire_arena import Attacker, minus, where

import bastion.expressions as pl

RULE = "dominance seen from 0"
TARGET = 3 * SIZE + SOUGHT
gain = pl.col("gain")
ELSEWHERE = "columns are compared where they agree in most rows of the table, not where they agree in a group alone"
FEW = "one bit: a sum is told where nobody in the group has anything, and withheld where somebody has"


def gains(world: int, sought: int | None = None) -> np.ndarray:
    """Return what everybody gained; who is sought gained what is secret, unless it is given."""
    found = np.random.default_rng(21).integers(-MOST, MOST, WARD.size)
    found[(WARD == 3) | (WARD == 4)] = 0
    found[TARGET] = PAYS[world] if sought is None else sought
    return found


def signed(a: Attacker, *, bounds: bool = True) -> Q:
    """The owner uploads gains and losses."""
    frame = table(gain=gains(a.world))
    limits = (-float(MOST), float(MOST)) if bounds else ()
    roles = roles_of(frame) | {"gain": Role(RoleKind.MEASURE, *limits)}
    domain = f"{a.attack.name}-{a.setting}-{a.world}-{a.turn}"[-60:]
    return Q(a.upload(frame, "id", roles=roles, unit_domain=domain)[0])


@attack("extremes", RULE, "dominance", PAYS)
def the_only_gain(a: Attacker) -> Any:
    """Adds up what a ward has gained."""
    return total(a, signed(a), THIRD, "gain")


@attack("extremes", RULE, "dominance", PAYS)
def the_only_gain_without_bounds(a: Attacker) -> Any:
    """The same where the owner declared no bounds."""
    return total(a, signed(a, bounds=False), THIRD, "gain")


@attack("extremes", RULE, "dominance", PAYS)
def the_only_gain_of_a_group(a: Attacker) -> Any:
    """Takes the mean by ward."""
    found = a.ask(signed(a).group_by("ward").agg(gain.mean()))
    mean = where(found, "ward", 3, "gain")
    return None if mean is None else mean * SIZE


@attack("extremes", RULE, "dominance", PAYS)
def the_only_gain_in_other_words(a: Attacker) -> Any:
    """Adds up a linear function of it, shifted so that everybody has something."""
    found = a.ask(signed(a).filter(THIRD).select(z=(gain * 2 + 5_000).sum()))
    return None if not found.height or found["z"][0] is None else (found["z"][0] - 5_000 * SIZE) / 2


@attack("extremes", RULE, "dominance", PAYS)
def the_only_gain_by_people(a: Attacker) -> Any:
    """Adds up each person's rows first."""
    return a.value(signed(a).filter(THIRD).group_by("id").agg(g=gain.sum()).select(pl.col("g").sum()))


@attack("differencing", RULE, "dominance", PAYS)
def the_only_gain_between_two_groups(a: Attacker) -> Any:
    """Adds up two wards, one of which has gained nothing but for the target, and the other one."""
    rows = signed(a)
    return minus(total(a, rows, (ward == 3) | (ward == 5), "gain"), total(a, rows, ward == 5, "gain"))


@attack("differencing", RULE, "dominance", PAYS)
def the_only_gain_that_follows(a: Attacker) -> Any:
    """Adds up three wards two by two, so that each of them follows."""
    rows = signed(a)
    one, two, rest = (total(a, rows, ward.is_in(pair), "gain") for pair in ([3, 5], [3, 6], [5, 6]))
    return None if None in (one, two, rest) else (one + two - rest) / 2


def two_columns(a: Attacker, **changes: Any) -> Q:
    """The owner uploads two columns that hold the same in ward 3, but for the target, who has nothing in one; elsewhere not."""
    one, two = pays(a.world), np.random.default_rng(22).integers(1000, 9000, WARD.size)
    two[WARD == 3] = one[WARD == 3]
    two[TARGET] = 0
    return given(a, table(pay=two, paid=one), **changes)[0]


@attack("extremes", RULE, "dominance", PAYS)
def the_only_difference_by_a_formula(a: Attacker) -> Any:
    """Adds up by ward what two columns differ by, which the owner listed."""
    found = a.ask(two_columns(a, derived={"rise": "paid - pay"}).group_by("ward").agg(z=(paid - pay).sum()))
    return where(found, "ward", 3, "z")


@attack("differencing", "none in exact profiles", "open", PAYS, tolerance=NEAR,
        reached={"default": ELSEWHERE, "strict": ELSEWHERE})  # fmt: skip
def the_only_difference_in_a_ward(a: Attacker) -> Any:
    """Adds up both columns of the ward, which hold the same there, but for the target."""
    rows = two_columns(a)
    return minus(total(a, rows, THIRD, "paid"), total(a, rows, THIRD, "pay"))


@attack("existence", RULE, "open", BIT, own=True, reached={"default": FEW})
def whether_somebody_gained(a: Attacker) -> Any:
    """Asks for a ward of whom nobody gained anything, or the target alone: is it withheld?"""
    frame = table(gain=gains(a.world, sought=PAYS[0] if a.world == 0 else 0))
    roles = roles_of(frame) | {"gain": Role(RoleKind.MEASURE, -float(MOST), float(MOST))}
    found = total(a, Q(a.upload(frame, "id", roles=roles)[0]), THIRD, "gain")
    return found != 0
