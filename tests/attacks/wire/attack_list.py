"""The attacks as data: what each does, whose rule holds it, how that rule is switched off, and what it is after."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

from wire_worlds import SECRETS

if TYPE_CHECKING:
    from wire_arena import Attacker

PROFILES = ("default", "strict", "private")

#: families in the order of the design's list
FAMILIES = (
    "rows", "one person", "inflation", "extremes", "sandwich", "encoding", "hidden columns", "differencing", "trackers",
    "existence", "approvals", "audiences", "versions", "saved filters", "second datasets",
)  # fmt: skip

#: how rules are switched off; the tables, the people and the server stay the same
SWITCHES = {
    "open": "Policy.open()",
    "names": "Policy.open(), the hidden column declared quasi",
    "k": "Aggregation(1), all other rules weakened",
    "dominance": 'weaken "dominance"',
    "homogeneity": 'weaken "homogeneity"',
    "leverage": "a server without leverage, and the default profile",
    "squares": "a server without dominance of squares, and the default profile",
    "history": 'weaken "history", "linear_audit", "saturation"',
    "unit": 'unit="row" instead of the person',
    "alone": "each identity an audience of its own",
    "shared": "the access list is everybody's, nothing is deleted",
    "strangers": "no unit domain declared",
    "self": "asked by the identity that was given the right",
    "approved": "the owner approves this as well",
}


@dataclass(frozen=True)
class Attack:
    """One attack.

    run: plays it; returns what the attacker takes for the secret, None where there is nothing to go by.
    truth: the secret in each of the two worlds. tolerance: how near, relatively, counts as having it.
    off: key of SWITCHES. own: whether it needs tables of its own (it changes them, or spends their budget).
    reached: by profile, where exact answers do not stop it: how far it gets, in words.
    """

    name: str
    family: str
    rule: str
    off: str
    run: Callable[[Attacker], Any]
    truth: tuple[Any, Any]
    tolerance: float = 1e-6
    own: bool = False
    reached: Mapping[str, str] = field(default_factory=dict)
    bastionlab: str = "not known"

    @property
    def what(self) -> str:
        """What it does, in a sentence."""
        return " ".join((self.run.__doc__ or "").split())


ATTACKS: dict[str, Attack] = {}


def attack(
    family: str,
    rule: str,
    off: str = "open",
    truth: str | tuple[Any, Any] = "salary",
    **options: Any,
) -> Callable[[Callable[[Attacker], Any]], Callable[[Attacker], Any]]:
    """Register a function as an attack. truth: a column of the worlds' secrets, or the two values."""
    assert family in FAMILIES
    assert off in SWITCHES
    secret = (SECRETS[0][truth], SECRETS[1][truth]) if isinstance(truth, str) else truth

    def note(run: Callable[[Attacker], Any]) -> Callable[[Attacker], Any]:
        name = run.__name__
        assert name not in ATTACKS, name
        assert run.__doc__, name
        ATTACKS[name] = Attack(name, family, rule, off, run, secret, **options)
        return run

    return note


#: of what tells on which side of two thresholds the target's salary is: it lies between them in the first world only
BIT = (True, False)


def right(attack: Attack, world: int, found: Any) -> bool:
    """Whether what an attacker found is the secret of a world."""
    truth = attack.truth[world]
    if found is None:
        return False
    if isinstance(truth, bool) or isinstance(found, bool):
        return isinstance(found, bool) and found is truth
    if isinstance(truth, str) or isinstance(found, str):
        return bool(found == truth)
    return abs(float(found) - float(truth)) <= attack.tolerance * abs(float(truth))


def by_family() -> Iterator[Attack]:
    """Yield all attacks, family by family, by name."""
    order = {family: i for i, family in enumerate(FAMILIES)}
    yield from sorted(ATTACKS.values(), key=lambda a: (order[a.family], a.name))


SHARE, SEED = 1 / 10, "bastionlab"

#: kinds of attacks on the design's list that the ranking left to `make test-all`
NAMED = frozenset({
    "value_counts_of_an_identifier", "joined_text", "sort_and_limit", "filter_inside_an_aggregate", "candidates_asof",
    "labels_by_join", "sum_with_a_constant_added", "powers_of_two_times_a_bit", "weights_by_replacement",
    "covariance_with_known_points", "hidden_as_join_key", "general_tracker", "three_cover", "equal_or_nearly_equal", "suppressed_keys",
})  # fmt: skip


def sample() -> frozenset[str]:
    """Return the names of the attacks that `make test` plays: of each rule in each family a share, at least one, and those of NAMED.

    Names are ranked by a hash, so that the sample is the same in every run, and a further attack moves no other.
    """
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in ATTACKS.values():
        strata[each.family, each.rule].append(each.name)

    def rank(name: str) -> bytes:
        return hashlib.sha256(f"{SEED} {name}".encode()).digest()

    share = (n for names in strata.values() for n in sorted(names, key=rank)[: ceil(SHARE * len(names))])
    return NAMED.union(share)
