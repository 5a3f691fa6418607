"""Generated policies, and a world in which rules are simply true or false."""

from __future__ import annotations

from dataclasses import dataclass

from bastion_policy.model import (
    Aggregation,
    AtLeastNOf,
    Context,
    DifferentialPrivacy,
    Dominance,
    FalseRule,
    Homogeneity,
    LinearAudit,
    Log,
    Policy,
    Reject,
    Review,
    Role,
    RoleKind,
    Rounding,
    Rule,
    Saturation,
    Suppress,
    Training,
    TrueRule,
    UserId,
    evaluate,
    measure,
    public,
    quasi,
)
from bastion_policy.rules import leaves
from hypothesis import strategies as st

USERS = ("alice", "bob", "carol")
names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6)
shares = st.sampled_from([0.05, 0.1, 0.2, 1 / 3, 0.5, 0.9])
sizes = st.integers(1, 30)
caps = st.none() | st.sampled_from([1, 500, 2_000_000])

leaf_rules = st.one_of(
    st.builds(Aggregation, sizes),
    st.builds(lambda p: Dominance(p=p), shares),
    st.builds(lambda n, s: Dominance(n=n, share=s), st.integers(1, 3), shares),
    st.builds(Homogeneity, st.integers(1, 5), st.sampled_from(["sensitive", "all"])),
    st.builds(LinearAudit, st.booleans()),
    st.builds(Saturation, shares),
    st.builds(Rounding, st.integers(2, 10), st.integers(1, 4)),
    st.builds(UserId, st.sampled_from(USERS)),
    st.just(TrueRule()),
    st.just(FalseRule()),
    st.builds(DifferentialPrivacy, st.sampled_from([0.1, 1.0, 3.0]), st.sampled_from([0.0, 1e-6])),
)


def _combine(inner: st.SearchStrategy[Rule]) -> st.SearchStrategy[Rule]:
    several = st.lists(inner, min_size=1, max_size=4)
    return several.flatmap(lambda of: st.builds(AtLeastNOf, st.integers(1, len(of)), st.just(of)))


rules = st.recursive(leaf_rules, _combine, max_leaves=6)
actions = st.sampled_from([Log(), Review(), Suppress(), Reject()])
scalars = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=5),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)
bounds = st.tuples(*[st.floats(-1e12, 1e12)] * 2).filter(lambda b: b[0] < b[1])
roles = st.one_of(
    st.sampled_from([Role(kind, varies=varies) for kind in RoleKind for varies in (False, True)]),
    st.builds(lambda b, varies: measure(*b, varies=varies), bounds, st.booleans()),
    st.builds(lambda d: public(*d), st.lists(scalars, min_size=1, max_size=3)),
    st.builds(lambda d: quasi(*d), st.lists(scalars, min_size=1, max_size=3)),
)


def _asks_how_many(zone: Rule) -> bool:
    """Whether the policy accepts the zone: no rule but an Aggregation or noise opens it."""
    for requester in ("", *USERS):
        small: dict[Rule, bool | None] = {
            r: False for r in leaves(zone) if isinstance(r, Aggregation | DifferentialPrivacy)
        }
        best = evaluate(zone, Context(requester, small, otherwise=True))
        if best and not evaluate(zone, Context(requester, otherwise=False)):
            return False
    return True


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A policy that the model accepts."""
    strict = draw(st.booleans())
    members = draw(st.lists(st.sampled_from(USERS), unique=True, max_size=3))
    cut = draw(st.integers(0, len(members)))
    groups = [tuple(g) for g in (members[:cut], members[cut:]) if g]
    return Policy(
        draw(rules.filter(_asks_how_many)),
        draw(actions),
        savable=draw(st.booleans()),
        review_zone=draw(rules),
        unit=draw(st.none() | st.sampled_from(["row", "patient"])),
        reserved=draw(st.sampled_from([(), (("sex",),), (("sex",), ("sex", "a b"))])),
        unit_domain=draw(st.none() | st.sampled_from(["people", "visits.2026"])),
        roles=draw(st.dictionaries(names, roles, max_size=3)),
        derived=draw(st.sampled_from([{}, {"bmi": "w / h ** 2"}, {"bmi": "w / h ** 2", "s": "col('a b') + w"}])),
        audiences={draw(names) + str(i): g for i, g in enumerate(groups)},
        profile="strict" if strict else "default",
        training=draw(st.none() | st.builds(Training, caps, caps)),
        weaken=() if strict else tuple(draw(st.lists(st.sampled_from(["dominance", "homogeneity"])))),
    )


@dataclass(frozen=True)
class Query:
    """What is true of one query. Everything is monotone: what meets a stricter rule meets the looser one."""

    requester: str
    people: int
    p: float
    share: float
    differing: int
    audited: int  # 0 not, 1 single people, 2 pairs
    rank: float
    base: int
    digits: int
    epsilon: float

    def holds(self, rule: Rule) -> bool:
        """Whether a measured rule holds."""
        match rule:
            case Aggregation(min_agg_size=k):
                return self.people >= k
            case Dominance(p=p) if p is not None:
                return self.p >= p
            case Dominance(share=share):
                return self.share <= (share or 0)
            case Homogeneity(min_differing=m, columns=columns):
                return self.differing >= m + (2 if columns == "all" else 0)
            case LinearAudit(pairs=pairs):
                return self.audited >= 1 + pairs
            case Saturation(share=share):
                return self.rank <= share
            case Rounding(base=base, digits=digits):
                return self.base >= base and self.digits <= digits
            case DifferentialPrivacy(epsilon=epsilon, delta=delta):
                return self.epsilon <= epsilon * (1 + (delta > 0))
        raise AssertionError(rule)

    def context(self, *zones: Rule) -> Context:
        """The context in which every rule of the zones is known."""
        known = {r: self.holds(r) for z in zones for r in leaves(z) if not isinstance(r, UserId | TrueRule | FalseRule)}
        return Context(self.requester, known)


queries = st.builds(
    Query,
    st.sampled_from([*USERS, "eve"]),
    st.integers(0, 35),
    st.sampled_from([0.0, 0.07, 0.15, 0.6, 2.0]),
    st.sampled_from([0.03, 0.3, 0.7, 0.95]),
    st.integers(0, 8),
    st.integers(0, 2),
    st.sampled_from([0.01, 0.15, 0.4, 1.0]),
    st.integers(1, 12),
    st.integers(1, 5),
    st.sampled_from([0.05, 0.5, 2.0, 10.0]),
)
