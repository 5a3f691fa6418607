"""Covariances and correlations: of how many people they are told, how coarsely, and how many of one column.

**Why.** A covariance with a column that is known is one sum of the other column with weights that everybody knows. With all
its digits it is an equation over whole numbers: where weights have five digits, eight of them have one solution for everybody's
small number in a group of 40, and one of them may be everybody's yes or no. The linear audit counts equations over the
rationals, of which there are far too few. So what is counted here are bits.

**How coarsely.** A correlation is told to `DECIMALS` decimals: one of 201 numbers. A covariance is that correlation times
the standard deviations, which have statistics of their own (var, std), to `DIGITS` digits: no more numbers than that where
those are known. Either is at most `BITS` bits. Where a policy rounds, the standard deviations are those of the rounded
variances, and other divisors (`ddof`) are those of the rounded count.

**Of how many people.** Of `LEAST` * k at least: then one number is at most 8 bits about 100 people or more, less than a tenth
of a bit each, and an exact yes or no of each of them would take ten such numbers at least, whichever they are.

**How many.** Only known weights add up to equations. A number with a known column about a population of n people costs each
of them `BITS` / n bits, whatever else it is about; all such numbers of one column that were told to an audience may
cost nobody more than 1 / `PEOPLE_PER_BIT` of a bit. So of one population of n people at most n / 128 numbers are told, n / 16
bits, and over everybody no more than a sixteenth of a bit per person: a sixteenth of what a yes or no of half the people
holds, and less than one of 1 % of them does (0.08 bits). What is told once is not counted again.
"""

from __future__ import annotations

from bastion_plan.dtypes import FLOAT64, INT64, NULL
from bastion_plan.expressions import AnyExpr, Cast, Literal, Ternary

from bastion_policy.boundary import Statistic, call
from bastion_policy.rounding import Pairs, spread, whole
from bastion_policy.rules import Rounding

#: times k people, of fewer of whom neither is told
LEAST = 10
#: decimals of a correlation, and significant digits of a covariance
DECIMALS, DIGITS = 2, 2
#: bits that one number tells at most: log2(201)
BITS = 8
#: people among whom one bit of such numbers must be
PEOPLE_PER_BIT = 16


def coarse(s: Statistic, pairs: Pairs, rule: Rounding | None) -> AnyExpr:
    """Return a covariance or correlation as it may be shown, in its own type. rule: how the policy rounds, if it does."""
    both, moments = pairs.products, list(pairs.variances)
    parts = moments
    if rule is not None:
        moments = [spread(v, pairs.count, d, 1, rule) for v, d in zip(moments, pairs.discrete, strict=True)]
        # INVARIANT: of whole numbers all parts are rounded, for a product of a few people's is nearly their number
        if all(pairs.discrete):
            parts, both = moments, spread(both, pairs.count, True, 1, rule)
    one, two = (call("sqrt", v) for v in parts)
    ends = (_f(-1.0), _f(1.0))
    found = call("clip", call("truediv", call("truediv", both, one), two), *ends)
    rounded = call("round", found, decimals=DECIMALS)
    # a zero has no sign; the engine leaves out adding one
    told: AnyExpr = Ternary(call("eq", rounded, _f(0.0)), _f(0.0), rounded)
    flat = [call("le", v, _f(0.0)) for v in parts]
    if s.function.removeprefix("pl.") == "cov":
        one, two = (call("sqrt", v) for v in moments)
        digits = DIGITS if rule is None else min(DIGITS, rule.digits)
        told = call("round_sig_figs", call("mul", call("mul", told, one), two), digits=digits)
        ddof = int(getattr(s.call, "option", lambda *_: 1)("ddof", 1))
        if ddof != 1:
            # INVARIANT: what differs by `ddof` is one rounded number; its digits are not found by scaling it
            count = Cast(pairs.count if rule is None else whole(pairs.count, rule.base), INT64, strict=False)
            free = call("sub", count, Literal(INT64, ddof))
            flat.append(call("le", free, Literal(INT64, 0)))
            told = call("truediv", call("mul", told, call("sub", count, Literal(INT64, 1))), free)
    for nothing in flat:
        told = Ternary(nothing, Literal(NULL), told)
    return Cast(told, s.dtype, strict=False)


def _f(number: float) -> Literal:
    return Literal(FLOAT64, number)
