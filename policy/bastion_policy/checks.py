"""Whether a policy can be kept: rules that contradict each other, and promises that the data breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from bastion_plan.expressions import Expr

from bastion_policy.actions import Reject, Suppress, action_name
from bastion_policy.derived import columns_of
from bastion_policy.facts import ColumnFacts, DatasetFacts, PrivateFacts
from bastion_policy.policy import Policy
from bastion_policy.roles import RoleKind
from bastion_policy.rules import (
    AtLeastNOf,
    Context,
    DifferentialPrivacy,
    FalseRule,
    Rule,
    TrueRule,
    UserId,
    evaluate,
    leaves,
    refuse,
    simplify,
)
from bastion_policy.toml import roles_text


def check_rules(policy: Policy) -> None:
    """Check that the rules of a policy go together. `details["path"]` of an error names the key it is about.

    Raises:
        PolicyError: policy.zone.impossible (rules that nobody's query can meet), policy.zone.always (rules that every query
            meets), policy.zone.exact (noise that is never needed), policy.zone.review (an action for a review zone that
            lets nothing through), policy.zone.safe (a safe part of nothing), policy.zone.strict (the strict profile around nothing),
            policy.reserved (tables that can never be answered), policy.derived (arithmetic over a hidden column), policy.unit.rows.
    """
    for name in ("safe_zone", "review_zone"):
        zone = getattr(policy, name)
        users = {rule.id for rule in leaves(zone) if isinstance(rule, UserId)}
        _check_zone(zone, name, ("", *sorted(users)))
    noise: dict[Rule, bool | None] = {r: False for r in leaves(policy.safe_zone) if isinstance(r, DifferentialPrivacy)}
    if noise and evaluate(policy.safe_zone, Context("", noise, otherwise=True)):
        raise refuse(
            "zone.exact",
            "safe_zone: exact answers are released too, so the noise of DifferentialPrivacy protects nobody.",
            "One exact answer voids what epsilon promises.",
            "Make all of the rules necessary, or leave DifferentialPrivacy out.",
            path="safe_zone",
        )
    if isinstance(policy.review_zone, FalseRule) and not isinstance(policy.unsafe_handling, Reject):
        action = action_name(policy.unsafe_handling)
        raise refuse(
            "zone.review",
            f'review_zone: nothing is in it, so unsafe = "{action}" never happens.',
            "What is in neither zone is refused.",
            'Write unsafe = "reject", or leave review_zone out.',
            path="review_zone",
        )
    if isinstance(policy.safe_zone, FalseRule) and isinstance(policy.unsafe_handling, Suppress):
        raise refuse(
            "zone.safe",
            'safe_zone: nothing is in it, so unsafe = "suppress" has no safe part to show.',
            next_step='Write unsafe = "review" or "reject", or put a rule into the safe zone: aggregation = 10.',
            path="safe_zone",
        )
    if isinstance(policy.safe_zone, TrueRule) and policy.profile == "strict":
        raise refuse(
            "zone.strict",
            "safe_zone: everything is in it, single rows included, so the strict profile protects nobody.",
            next_step="Write aggregation = 10 below [safe_zone], or leave profile out.",
            path="safe_zone",
        )
    _check_reserved(policy)
    hidden = [name for name, role in (policy.roles or {}).items() if role.kind is RoleKind.HIDDEN]
    _check_derived(policy.derived_exprs(), hidden)
    if policy.unit == "row" and policy.rows_per_unit not in (None, 1):
        raise refuse(
            "unit.rows",
            f"rows_per_unit: every row is someone of their own, so nobody has {policy.rows_per_unit} rows.",
            next_step="Name the column of the unit, or leave rows_per_unit out.",
            path="rows_per_unit",
        )


def _check_zone(rule: Rule, path: str, users: Iterable[str]) -> None:
    if not isinstance(rule, AtLeastNOf):
        return
    outcomes = {simplify(rule, user) for user in users}
    if outcomes == {FalseRule()}:
        raise refuse(
            "zone.impossible",
            f"{path}: no query can meet {rule.n} of these {len(rule.of)} rules.",
            "A query has one requester, and some of these rules are never true.",
            "Lower at_least, or write false if nothing shall pass.",
            path=path,
        )
    if outcomes == {TrueRule()}:
        raise refuse(
            "zone.always",
            f"{path}: every query meets {rule.n} of these {len(rule.of)} rules, so the others ask nothing.",
            next_step="Take true out of the list, or write true if everything shall pass.",
            path=path,
        )
    for number, part in enumerate(rule.of):
        _check_zone(part, f"{path}.of[{number}]", users)


def _check_reserved(policy: Policy) -> None:
    """Check that what is reserved can be answered.

    INVARIANT: reserved populations are compared with those that are asked: secret values must not choose them.
    """
    if policy.reserved and any(isinstance(rule, DifferentialPrivacy) for rule in leaves(policy.safe_zone)):
        raise refuse(
            "reserved",
            "reserved: answers with noise are paid for one by one, so no table can be kept answerable.",
            next_step="Leave reserved out.",
            path="reserved",
        )
    closed = {RoleKind.HIDDEN, RoleKind.SENSITIVE} | ({RoleKind.MEASURE} if policy.profile == "strict" else set())
    for number, keys in enumerate(policy.reserved):
        for name in keys:
            role = (policy.roles or {}).get(name)
            if role is not None and role.kind in closed:
                raise refuse(
                    "reserved",
                    f"reserved[{number}]: no table by {name!r} is ever answered, which is {role.kind.value} here.",
                    next_step="Take it out of the list, or give the column the role quasi or public.",
                    path=f"reserved[{number}]",
                )


def _check_derived(derived: Mapping[str, Expr], hidden: Iterable[str]) -> None:
    closed = set(hidden)
    for name, expr in derived.items():
        for column in columns_of(expr):
            if column in closed:
                raise refuse(
                    "derived.hidden",
                    f"derived.{name}: it is computed from {column!r}, which is hidden.",
                    "A hidden column is never used.",
                    "Give the column another role, or leave the arithmetic out.",
                    path=f"derived.{name}",
                )


def check_data(policy: Policy, columns: Iterable[ColumnFacts], private: PrivateFacts) -> None:
    """Check what the owner declares against what was measured of the table. Errors are for the owner's eyes only.

    Raises:
        PolicyError: policy.role.undeclared (see check_declared), policy.bounds (values outside the bounds of a measure), policy.unit.unique, policy.unit.rows (one unit
            has more rows than declared).
    """
    columns = tuple(columns)
    check_declared(policy, columns)
    most, declared = private.max_rows_per_unit, policy.rows_per_unit
    if declared is not None and most > declared:
        what = "is declared unique, and" if declared == 1 else f"is declared to have at most {declared} rows each, and"
        raise refuse(
            "unit.unique" if declared == 1 else "unit.rows",
            f"rows_per_unit: the privacy unit {policy.unit!r} {what} one of its values has {most} rows.",
            "What one person can change about an answer is worked out from this.",
            f"Write rows_per_unit = {most}, leave it out, or correct the table.",
            path="rows_per_unit",
        )
    if any(isinstance(rule, DifferentialPrivacy) for rule in leaves(policy.safe_zone)):
        # bounds that noise is made for clip the data; widening them to the data's extremes would tell these
        return
    for column in columns:
        role, measured = column.role, private.columns.get(column.name)
        if (
            role.lower is None
            or role.upper is None
            or measured is None
            or measured.low is None
            or measured.high is None
        ):
            continue
        if measured.low < role.lower or measured.high > role.upper:
            wide = min(measured.low, role.lower), max(measured.high, role.upper)
            raise refuse(
                "bounds",
                f"roles.{column.name}: the data does not keep to the bounds {role.lower:.15g} to {role.upper:.15g}.",
                f"Its values go from {measured.low:.15g} to {measured.high:.15g}.",
                f"Widen the bounds to {wide[0]:.15g} to {wide[1]:.15g} or beyond, or clip the column before the upload.",
                path=f"roles.{column.name}",
            )


def check_declared(policy: Policy, columns: Iterable[ColumnFacts]) -> None:
    """Check that under the strict profile every column but the unit has a role that the owner declared.

    INVARIANT: what may choose people is the owner's word, never a guess from the data.

    Raises:
        PolicyError: policy.role.undeclared, with the inferred roles to copy.
    """
    guessed = {column.name: column.role for column in columns if column.inferred}
    if policy.profile != "strict" or not guessed:
        return
    few = ", ".join(map(repr, list(guessed)[:20])) + (f" and {len(guessed) - 20} more" if len(guessed) > 20 else "")
    raise refuse(
        "role.undeclared",
        f"roles: the strict profile needs a declared role for every column, and these have none: {few}.",
        "Quasi and public columns may choose people; a guess from the data must not decide that.",
        f"Check these suggestions and add them to the policy:\n{roles_text(guessed)}",
        path="roles",
    )


def check_people(policy: Policy, known: Callable[[str], bool]) -> None:
    """Check that every member of an audience has a key or an invitation.

    INVARIANT: a misspelt member would count as someone else, and what the real one was told would be forgotten.

    Raises:
        PolicyError: policy.audience.unknown.
    """
    for name, members in (policy.audiences or {}).items():
        for member in members:
            if not known(member):
                raise refuse(
                    "audience.unknown",
                    f"audiences.{name}: nobody called {member!r} has a key or an invitation here.",
                    "A name that is spelt otherwise than the key's would be counted as somebody else.",
                    f"Correct the name, or invite them first (bastion invite {member}); the audience can be set later.",
                    path=f"audiences.{name}",
                )


def too_few(policy: Policy, private: PrivateFacts | None) -> tuple[str, ...]:
    """Return a sentence for the owner where a table has fewer people than its numbers must be about: it may grow."""
    effective = policy.effective()
    if private is None or effective.zone != "guarded" or private.units >= effective.k:
        return ()
    return (
        f"Numbers must be about at least {effective.k} people, and the table has {private.units}: nothing of it is released "
        "automatically before it has more.",
    )


def alike(facts: DatasetFacts, private: PrivateFacts | None) -> tuple[str, ...]:
    """Return a sentence for the owner where people have several rows: which columns count as alike in the rows of one."""
    policy = facts.policy
    if private is None or private.max_rows_per_unit == 1 or policy.effective().zone != "guarded":
        return ()
    columns = [c for c in facts.columns if c.role.steady]
    if not columns:
        return ()
    first = next((c for c in columns if c.role.kind is RoleKind.MEASURE), columns[0])
    line = roles_text({first.name: msgspec.structs.replace(first.role, varies=True)}).splitlines()[1]
    return (
        f"People have up to {private.max_rows_per_unit} rows, and what those of one person hold in {_listed(columns)} counts as "
        "alike, so numbers of nearly the same people are withheld, whichever of their rows they are of. Of a column in which a "
        f"row tells nothing of the person's other rows, say so: {line}.",
    )


def _listed(columns: Sequence[ColumnFacts]) -> str:
    names = [repr(c.name) for c in columns[:5]] + ([f"{len(columns) - 5} more"] if len(columns) > 5 else [])
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def strangers(policy: Policy, known: Callable[[str], bool]) -> tuple[str, ...]:
    """Return a sentence for each key that a rule names and that nobody has yet: it may come later."""
    named = {r.id for zone in (policy.safe_zone, policy.review_zone) for r in leaves(zone) if isinstance(r, UserId)}
    return tuple(
        f"A rule names {name!r}, and nobody has a key of that name: whoever gets it later is meant by the rule."
        for name in sorted(named)
        if not known(name)
    )
