"""What a draft costs, the noise that buys, and the error bars; from public facts only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import msgspec

from bastion_policy.policy import MAX_EPSILON
from bastion_policy.private.accounting import MIN_RHO, Account, Cost
from bastion_policy.private.plans import Cells, Draft
from bastion_policy.private.rows import Refused
from bastion_policy.private.statistics import DENOMINATOR, Shown

#: 95 % of a normal variable lie within so many deviations
NORMAL_95 = 1.959964
#: of the owner's epsilon, the smallest share that an answer may cost
SMALLEST = 200
#: of a person's table: for how many people bars that shrink with their number are given
PEOPLE_SHOWN = 1_000


class ErrorBar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How far the noise moves a number, 95 times of 100.

    column: of the result. statistic: what it is. error: half the width of the bar. people: for a cell of so many
    people; 0: whatever their number. words: the same in a sentence.
    """

    column: str
    statistic: str
    error: float
    people: int
    words: str


@dataclass(frozen=True)
class Noise:
    """The noise of one table of cells.

    scales: deviation of the discrete Gaussian per vector, in its steps. choices: scale of the scores' Gumbel noise per
    quantile. least: a key is named where the noisy number of people is at least this; None: all keys are public.
    rho: what each vector may cost, and each quantile in one cell.
    """

    scales: tuple[float, ...]
    choices: tuple[float, ...]
    least: int | None
    rho: float
    rho_choice: float


@dataclass(frozen=True)
class Priced:
    """A draft with its price. epsilon: of this answer alone. cost: what the ledger is charged, in every unit domain."""

    draft: Draft
    epsilon: float
    cost: Cost
    noise: tuple[Noise, ...]
    bars: tuple[ErrorBar, ...]


def priced(draft: Draft, account: Account, epsilon: float | None) -> Priced:
    """Return a draft with its price.

    Args:
        draft: what is asked for.
        account: the owner's cap, the strictest of all tables concerned.
        epsilon: of this answer; None for the default share.

    Raises:
        Refused: an epsilon that is not a positive number, or too small to tell anything.
    """
    wanted = account.default if epsilon is None else epsilon
    if not (math.isfinite(wanted) and 0 < wanted <= MAX_EPSILON):
        raise Refused("epsilon", "The epsilon of an answer is a number above 0.", f"Use {account.default:.3g}, say.")
    wanted = min(wanted, account.epsilon)
    if wanted < account.epsilon / SMALLEST:
        # bounds how many answers there can be, and with them what is kept of them
        raise Refused(
            "epsilon", "With so small an epsilon the answer would be noise alone.",
            f"Use at least {account.epsilon / SMALLEST:.3g}.",
        )  # fmt: skip
    cost = account.price(wanted)
    each = cost.rho_value / max(1, draft.weights)
    if each < MIN_RHO:
        raise Refused(
            "epsilon", "With so small an epsilon the answer would be noise alone.",
            f"Use at least {account.epsilon / 100:.3g}.",
        )  # fmt: skip
    hidden = sum(c.threshold for c in draft.cells)
    cost = Cost(cost.rho, cost.delta if hidden else 0)
    noise = tuple(_noise(c, each, cost.delta_value / hidden if hidden else 0.0) for c in draft.cells)
    bars = [bar for c, made in zip(draft.cells, noise, strict=True) for bar in _bars(c, made)]
    return Priced(draft, wanted, cost, noise, tuple(bars))


def gaussian_scale(sensitivity: float, rho: float) -> float:
    """Return the deviation with which a vector of this L2 sensitivity costs at most rho: D^2 / (2 sigma^2)."""
    return sensitivity / math.sqrt(2 * rho) * (1 + 1e-9)


def gumbel_scale(sensitivity: int, rho: float) -> float:
    """Return the scale of noise with which a choice by scores of this sensitivity costs at most rho.

    The exponential mechanism is (2 D / scale)-bounded-range, which is ((2 D / scale)^2 / 8)-zCDP (Cesar and Rogers 2021,
    "Bounding, concentrating, and truncating").
    """
    return sensitivity / math.sqrt(2 * rho) * (1 + 1e-9)


def key_threshold(scale: float, groups: int, delta: float) -> int:
    """Return the noisy number of people from which a key is named.

    INVARIANT: a key that only one person has is named with probability delta / groups at most, so a person, who has at
    most `groups` keys, is given away by one with probability delta at most. A discrete Gaussian exceeds t with
    probability exp(-t^2 / (2 sigma^2)) at most (Canonne, Kamath, Steinke 2020, proposition 25: it is sub-Gaussian).
    """
    return 1 + math.ceil(scale * math.sqrt(2 * math.log(groups / delta)))


def _noise(cells: Cells, rho: float, delta: float) -> Noise:
    scales = tuple(gaussian_scale(cells.l2(i), rho) for i in range(len(cells.parts)))
    # a person is in `groups` cells at most, in each of which a quantile is chosen: each may cost its part of rho
    choice = rho / cells.caps.groups
    choices = tuple(gumbel_scale(cells.linf(i), choice) for i in range(len(cells.quantiles)))
    least = key_threshold(scales[cells.people], cells.caps.groups, delta) if cells.threshold else None
    return Noise(scales, choices, least, rho, choice)


# -- error bars


def _bars(cells: Cells, noise: Noise) -> list[ErrorBar]:
    return [_bar(name, shown, cells, noise) for name, shown in cells.shown]


def _bar(name: str, shown: Shown, cells: Cells, noise: Noise) -> ErrorBar:
    about = f"{shown.function}({shown.about})"

    def width(position: int) -> float:
        return NORMAL_95 * noise.scales[shown.of[position]] * cells.parts[shown.of[position]].step

    def per_people(total: float, unit: str = "") -> ErrorBar:
        words = f"about ± {total:.4g} / (people in the group){unit}, for example ± {total / PEOPLE_SHOWN:.3g} for 1,000"
        return ErrorBar(name, about, total / PEOPLE_SHOWN, PEOPLE_SHOWN, words)

    match shown.function:
        case "median" | "quantile":
            grid = len(cells.quantiles[shown.of[0]][0].grid)
            ranks = noise.choices[shown.of[0]] * (math.log(grid) + math.log(20)) / DENOMINATOR
            words = f"a value that at most ± {ranks:.4g} rows lie between it and the {shown.function}"
            return ErrorBar(name, about, ranks, 0, words)
        case "mean":
            # error of a quotient: (sum's error + |mean - centre| * count's error) / people, |mean - centre| <= reach
            return per_people(math.hypot(width(0), shown.reach * width(1)))
        case "var":
            return per_people(_variance_width(shown, width))
        case "std":
            total = _variance_width(shown, width)
            words = f"the square root of a variance that is right within about ± {total:.4g} / (people in the group)"
            return ErrorBar(name, about, math.sqrt(total / PEOPLE_SHOWN), PEOPLE_SHOWN, words)
        case _:
            return ErrorBar(name, about, width(0), 0, f"± {width(0):.4g}")


def _variance_width(shown: Shown, width: object) -> float:
    assert callable(width)
    reach = shown.reach
    squares, summed, counted = (float(width(i)) for i in range(3))
    return math.sqrt(squares**2 + (2 * reach * summed) ** 2 + (reach * reach * counted) ** 2)


def share_of(value: float) -> Fraction:
    """Return a quantile's share as a fraction of DENOMINATOR."""
    return Fraction(round(value * DENOMINATOR), DENOMINATOR)
