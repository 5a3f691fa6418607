"""The rules of a zone as plain data, and their three-valued evaluation."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from bastion_plan.errors import PolicyError

#: the names that keys (identities) may have
KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
MAX_DEPTH = 16
MAX_RULES = 256
#: largest number of rows, and of groups, of one unit that count under DifferentialPrivacy
MAX_CONTRIBUTION = 1_000
#: largest whole number in a policy
MAX_WHOLE = 2**31 - 1


def refuse(code: str, message: str, reason: str = "", next_step: str = "", *, path: str = "") -> PolicyError:
    """Return a PolicyError with code `policy.<code>`; path: of the key of the policy that it is about."""
    details = {"path": path} if path else {}
    return PolicyError(message, reason=reason, next_step=next_step, code=f"policy.{code}", details=details)


def _whole(owner: str, name: str, value: Any, minimum: int, example: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= MAX_WHOLE:
        large = isinstance(value, int) and value > MAX_WHOLE
        raise refuse(
            "rule.number",
            f"{owner}: {name} must be a whole number of at least {minimum}"
            + (f" and at most {MAX_WHOLE}." if large else f", not {value!r}."),
            next_step=f"Write {owner}({example}).",
        )


def finite(value: object) -> bool:
    """Whether a value is a number that floats can hold."""
    try:
        return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False


def _number(
    owner: str, name: str, value: Any, low: float, high: float, example: str, *, open_low: bool = False
) -> float:
    if not finite(value) or not low <= value <= high or (open_low and value == low):
        bracket = "above" if open_low else "from"
        upper = "" if math.isinf(high) else f" and at most {high:g}"
        raise refuse(
            "rule.number",
            f"{owner}: {name} must be a number {bracket} {low:g}{upper}, not {_short(value)}.",
            next_step=f"Write {owner}({example}).",
        )
    return float(value)


def _short(value: object) -> str:
    return repr(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "one so large"


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="rule"):
    """Base of all rules. A rule is true or false of one query, once everything it needs has been measured."""


class Aggregation(Rule, frozen=True, tag="aggregation"):
    """Every released number is about at least `min_agg_size` distinct units.

    Alone it means the whole default profile (dominance and homogeneity included): see Policy.effective.
    """

    min_agg_size: int

    def __post_init__(self) -> None:
        _whole("Aggregation", "min_agg_size", self.min_agg_size, 1, "min_agg_size=10")


class Dominance(Rule, frozen=True, tag="dominance"):
    """No single unit makes up a released sum: either `p`, or `n` together with `share`.

    p: (total - largest - second largest) / largest must be at least p (0 < p <= 1): the p% rule.
    n, share: the n largest contributions together are at most `share` (0 < share < 1) of the total.
    """

    p: float | None = None
    n: int | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if self.p is not None and self.n is None and self.share is None:
            msgspec.structs.force_setattr(self, "p", _number("Dominance", "p", self.p, 0, 1, "p=0.1", open_low=True))
        elif self.p is None and self.n is not None and self.share is not None:
            _whole("Dominance", "n", self.n, 1, "n=2, share=0.9")
            share = _number("Dominance", "share", self.share, 0, 1, "n=2, share=0.9", open_low=True)
            msgspec.structs.force_setattr(self, "share", share)
        else:
            raise refuse(
                "rule.dominance",
                "Dominance takes either p, or n together with share.",
                next_step="Write Dominance(p=0.1) or Dominance(n=2, share=0.9).",
            )


class Homogeneity(Rule, frozen=True, tag="homogeneity"):
    """A cell in which fewer than `min_differing` units differ from the rest is not released.

    columns: "sensitive" (Boolean and categorical columns of role sensitive) or "all".
    """

    min_differing: int = 3
    columns: str = "sensitive"

    def __post_init__(self) -> None:
        _whole("Homogeneity", "min_differing", self.min_differing, 1, "min_differing=3")
        if self.columns not in ("sensitive", "all"):
            msg = f'Homogeneity: columns must be "sensitive" or "all", not {self.columns!r}.'
            raise refuse("rule.choice", msg, next_step='Write Homogeneity(columns="sensitive").')


class LinearAudit(Rule, frozen=True, tag="linear_audit"):
    """No rational combination of all released numbers isolates a unit; `pairs`: nor two units.

    tau: a cap (0 < tau <= 1) on every unit's leverage: then each combination touches at least 1 / tau units. None: no cap.
    """

    pairs: bool = False
    tau: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.pairs, bool):
            msg = f"LinearAudit: pairs must be true or false, not {self.pairs!r}."
            raise refuse("rule.choice", msg, next_step="Write LinearAudit(pairs=True).")
        if self.tau is not None:
            tau = _number("LinearAudit", "tau", self.tau, 0, 1, "tau=0.5", open_low=True)
            msgspec.structs.force_setattr(self, "tau", tau)


class Saturation(Rule, frozen=True, tag="saturation"):
    """The rank of what was released of a column stays under `share` (0 < share <= 1) of its atoms."""

    share: float = 0.33

    def __post_init__(self) -> None:
        share = _number("Saturation", "share", self.share, 0, 1, "share=0.33", open_low=True)
        msgspec.structs.force_setattr(self, "share", share)


class Rounding(Rule, frozen=True, tag="rounding"):
    """Counts and whole sums to multiples of `base`, other numbers to `digits` significant digits."""

    base: int = 5
    digits: int = 3

    def __post_init__(self) -> None:
        _whole("Rounding", "base", self.base, 2, "base=5")
        _whole("Rounding", "digits", self.digits, 1, "digits=3")


class UserId(Rule, frozen=True, tag="user_id"):
    """The query comes from the identity whose key is named `id`."""

    id: str

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not KEY_NAME.fullmatch(self.id):
            raise refuse(
                "rule.user",
                f"UserId: {self.id!r} is not a name that a key can have.",
                "A key name has 1 to 64 letters a-z, digits or . _ @ - and begins with a letter or a digit.",
                "List the names with `bastion keys list`.",
            )


class TrueRule(Rule, frozen=True, tag="true"):
    """Always true."""


class FalseRule(Rule, frozen=True, tag="false"):
    """Never true."""


class DifferentialPrivacy(Rule, frozen=True, tag="differential_privacy"):
    """Answers carry noise; all of them together spend at most (epsilon, delta) per unit domain.

    max_rows: rows of one unit that count in one cell, the first ones. max_groups: cells of one table in which a unit
    counts. Whole numbers from 1 to 1,000; where every row is a unit they do not matter.
    """

    epsilon: float
    delta: float = 1e-6
    max_rows: int = 1
    max_groups: int = 1

    def __post_init__(self) -> None:
        for name in ("max_rows", "max_groups"):
            example = f"epsilon=1, {name}=1"
            _whole("DifferentialPrivacy", name, getattr(self, name), 1, example)
            if getattr(self, name) > MAX_CONTRIBUTION:
                msg = f"DifferentialPrivacy: {name} must be at most {MAX_CONTRIBUTION}."
                raise refuse("rule.number", msg, "Noise grows with it.", f"Write DifferentialPrivacy({example}).")
        epsilon = _number("DifferentialPrivacy", "epsilon", self.epsilon, 0, math.inf, "epsilon=1", open_low=True)
        delta = _number("DifferentialPrivacy", "delta", self.delta, 0, 1, "epsilon=1, delta=1e-6")
        if delta == 1:
            msg = "DifferentialPrivacy: delta must be below 1, and is best below one in the number of people."
            fix = "Write DifferentialPrivacy(epsilon=1, delta=1e-6)."
            raise refuse("rule.number", msg, "With delta 1 everything may be told.", fix)
        msgspec.structs.force_setattr(self, "epsilon", epsilon)
        msgspec.structs.force_setattr(self, "delta", delta)


class AtLeastNOf(Rule, frozen=True, tag="at_least_n_of"):
    """At least `n` of the rules `of` are true: n=1 is "or", n=len(of) is "and"."""

    n: int
    of: tuple[AnyRule, ...]

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, int) or not 1 <= self.n <= MAX_WHOLE:
            msg = f"AtLeastNOf: n must be a whole number of at least 1, not {_short(self.n)}."
            raise refuse("rule.number", msg, next_step="Say how many of the rules must be true.")
        if not isinstance(self.of, list | tuple) or not all(isinstance(rule, Rule) for rule in self.of):
            msg = "AtLeastNOf: the second argument must be a list of rules."
            raise refuse("rule.of", msg, next_step='Write AtLeastNOf(1, [UserId("alice"), Aggregation(10)]).')
        msgspec.structs.force_setattr(self, "of", tuple(self.of))
        if self.n > len(self.of):
            raise refuse(
                "rule.n",
                f"AtLeastNOf: {self.n} of {len(self.of)} rules can never be true.",
                next_step=f"Use an n from 1 to {len(self.of)}, or FalseRule() if nothing shall pass."
                if self.of
                else "Name the rules, or use FalseRule() if nothing shall pass.",
            )


AnyRule = (
    Aggregation
    | Dominance
    | Homogeneity
    | LinearAudit
    | Saturation
    | Rounding
    | UserId
    | AtLeastNOf
    | TrueRule
    | FalseRule
    | DifferentialPrivacy
)


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of one query.

    requester: name of the key that asks.
    measured: rule -> whether it holds; a rule that is not in it, or is None there, counts as `otherwise`.
    otherwise: None (not measured yet), or False for a query that is row-level and so meets no measured rule.
    """

    requester: str
    measured: Mapping[Rule, bool | None] = field(default_factory=dict)
    otherwise: bool | None = None


def evaluate(rule: Rule, context: Context) -> bool | None:
    """Return whether `rule` holds: True, False, or None where that hangs on something not measured yet."""
    match rule:
        case TrueRule():
            return True
        case FalseRule():
            return False
        case UserId(id=name):
            return name == context.requester
        case AtLeastNOf(n=n, of=of):
            known = [evaluate(r, context) for r in of]
            if known.count(True) >= n:
                return True
            return None if len(known) - known.count(False) >= n else False
        case _:
            found = context.measured.get(rule)
            return context.otherwise if found is None else found


def simplify(rule: Rule, requester: str) -> Rule:
    """Return the rule as it stands for one requester: UserId, TrueRule and FalseRule are folded away where they can be.

    The result is TrueRule, FalseRule, or holds measured rules and AtLeastNOf only.
    """
    match rule:
        case UserId(id=name):
            return TrueRule() if name == requester else FalseRule()
        case AtLeastNOf(n=n, of=of):
            parts = [simplify(r, requester) for r in of]
            need = n - sum(isinstance(p, TrueRule) for p in parts)
            open_parts = tuple(p for p in parts if not isinstance(p, TrueRule | FalseRule))
            if need <= 0:
                return TrueRule()
            if need > len(open_parts):
                return FalseRule()
            if len(open_parts) == 1:
                return open_parts[0]
            return AtLeastNOf(need, open_parts)  # type: ignore[arg-type]
        case _:
            return rule


def strictest_noise(rules: Iterable[Rule]) -> DifferentialPrivacy | None:
    """Return the rule that holds where all DifferentialPrivacy among `rules` hold, None if there is none."""
    found = [r for r in rules if isinstance(r, DifferentialPrivacy)]
    if not found:
        return None
    return DifferentialPrivacy(
        min(r.epsilon for r in found),
        min(r.delta for r in found),
        min(r.max_rows for r in found),
        min(r.max_groups for r in found),
    )


def leaves(rule: Rule) -> Iterator[Rule]:
    """Iterate over the rules that are not AtLeastNOf, left to right."""
    if isinstance(rule, AtLeastNOf):
        for part in rule.of:
            yield from leaves(part)
    else:
        yield rule


def depth(rule: Rule) -> int:
    """Return how deeply AtLeastNOf is nested (1 for a plain rule)."""
    return 1 + max(map(depth, rule.of)) if isinstance(rule, AtLeastNOf) else 1
