"""One policy for what derives from several tables: the strictest of them all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from bastion_policy.actions import strictness
from bastion_policy.caps import tightest
from bastion_policy.policy import Policy
from bastion_policy.roles import Role, RoleKind
from bastion_policy.rules import (
    Aggregation,
    AtLeastNOf,
    Dominance,
    FalseRule,
    Homogeneity,
    LinearAudit,
    Rounding,
    Rule,
    Saturation,
    TrueRule,
    UserId,
    refuse,
    strictest_noise,
)

#: roles from the most permissive to the strictest
_STRICTER = (
    RoleKind.PUBLIC,
    RoleKind.QUASI,
    RoleKind.MEASURE,
    RoleKind.SENSITIVE,
    RoleKind.IDENTIFIER,
    RoleKind.HIDDEN,
)
_encode = msgspec.json.Encoder().encode


def merge(policies: Iterable[Policy]) -> Policy:
    """Return the policy of a result that derives from tables under `policies`.

    Both zones must hold in every table (so a review needs all owners), the strictest action counts, a result may be
    saved if every table allows it, the strict profile wins, and a rule stays switched off only where all switched it
    off. Where two tables give one column name different roles, the strictest counts; arithmetic is allowed where all
    allow it; audiences that share a member become one; the tighter bound of what a fit may take counts. `unit` and `unit_domain` are kept where all agree: the unit of a
    derived frame follows the lineage of its rows, not this field.

    INVARIANT: merge is commutative, associative and idempotent, and for no requester more permissive than any input.

    Raises:
        PolicyError: there is nothing to merge.
    """
    distinct = list(dict.fromkeys(policies))
    if not distinct:
        raise refuse("merge", "There is no policy to merge.")
    if len(distinct) == 1:
        return distinct[0]
    return Policy(
        safe_zone=conjunction([p.safe_zone for p in distinct]),  # type: ignore[arg-type]
        unsafe_handling=max((p.unsafe_handling for p in distinct), key=strictness),
        savable=all(p.savable for p in distinct),
        review_zone=conjunction([p.review_zone for p in distinct]),  # type: ignore[arg-type]
        unit=distinct[0].unit if len({p.unit for p in distinct}) == 1 else None,
        unit_domain=distinct[0].unit_domain if len({p.unit_domain for p in distinct}) == 1 else None,
        roles=_roles(p.roles or {} for p in distinct),
        derived=dict(sorted(set.intersection(*(set((p.derived or {}).items()) for p in distinct)))),
        audiences=_audiences(members for p in distinct for members in (p.audiences or {}).values()),
        profile="strict" if any(p.profile == "strict" for p in distinct) else "default",
        weaken=tuple(sorted(set.intersection(*(set(p.weaken) for p in distinct)))),
        reserved=tuple(sorted({margin for p in distinct for margin in p.reserved})),
        training=tightest(p.training for p in distinct),
    )


def conjunction(rules: Sequence[Rule]) -> Rule:
    """Return one rule that holds where all `rules` hold, in a normal form: equal sets of demands give equal rules."""
    parts = {part for rule in rules for part in _conjuncts(rule)}
    parts = set(_strictest(parts))
    if FalseRule() in parts or sum(isinstance(part, UserId) for part in parts) > 1:
        return FalseRule()
    ordered = sorted(parts, key=_encode)
    if not ordered:
        return TrueRule()
    return ordered[0] if len(ordered) == 1 else AtLeastNOf(len(ordered), tuple(ordered))  # type: ignore[arg-type]


def _conjuncts(rule: Rule) -> Iterator[Rule]:
    if isinstance(rule, AtLeastNOf) and rule.n == len(rule.of):
        for part in rule.of:
            yield from _conjuncts(part)
    elif not isinstance(rule, TrueRule):
        yield rule


def _strictest(parts: Iterable[Rule]) -> Iterator[Rule]:
    """Fold rules of one kind into the strictest; what cannot be compared stays."""
    parts = list(parts)
    sizes = [r.min_agg_size for r in parts if isinstance(r, Aggregation)]
    if sizes:
        yield Aggregation(max(sizes))
    margins = [r.p for r in parts if isinstance(r, Dominance) and r.p is not None]
    if margins:
        yield Dominance(p=max(margins))
    shares: dict[int, float] = {}
    for rule in parts:
        if isinstance(rule, Dominance) and rule.n is not None and rule.share is not None:
            shares[rule.n] = min(rule.share, shares.get(rule.n, rule.share))
    for n, share in shares.items():
        yield Dominance(n=n, share=share)
    same = [r for r in parts if isinstance(r, Homogeneity)]
    if same:
        yield Homogeneity(
            max(r.min_differing for r in same), "all" if any(r.columns == "all" for r in same) else "sensitive"
        )
    audits = [r for r in parts if isinstance(r, LinearAudit)]
    if audits:
        yield LinearAudit(any(r.pairs for r in audits), min((r.tau for r in audits if r.tau is not None), default=None))
    ranks = [r.share for r in parts if isinstance(r, Saturation)]
    if ranks:
        yield Saturation(min(ranks))
    rounded = [r for r in parts if isinstance(r, Rounding)]
    if rounded:
        yield Rounding(max(r.base for r in rounded), min(r.digits for r in rounded))
    noise = strictest_noise(parts)
    if noise is not None:
        yield noise
    yield from (r for r in parts if isinstance(r, AtLeastNOf | UserId | FalseRule))


def _role_order(role: Role) -> tuple[int, float, bytes]:
    """Order roles by strictness; wider bounds hide more of a person's part, a last tie is broken by name."""
    width = role.upper - role.lower if role.lower is not None and role.upper is not None else 0.0
    return (2 * _STRICTER.index(role.kind) + (role.domain is None), width, _encode(role))


def _roles(tables: Iterable[dict[str, Role]]) -> dict[str, Role]:
    merged: dict[str, Role] = {}
    for table in tables:
        for name, role in table.items():
            before = merged.get(name, role)
            merged[name] = msgspec.structs.replace(
                max(role, before, key=_role_order), varies=role.varies and before.varies
            )
    return dict(sorted(merged.items()))


def _audiences(groups: Iterable[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Join groups that share a member; each is named after its first member, by alphabet."""
    joined: list[set[str]] = []
    for group in groups:
        touching = [g for g in joined if g & set(group)]
        joined = [g for g in joined if not g & set(group)] + [set(group).union(*touching)]
    return {min(group): tuple(sorted(group)) for group in sorted(joined, key=min)}
