"""Policies and roles in plain sentences, for owners and scientists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bastion_policy.actions import Action, Log, Reject, Review, Suppress
from bastion_policy.code import expr_code, plan_code
from bastion_policy.plan_words import expr_words, plan_words
from bastion_policy.policy import WEAKENABLE, Effective, Policy
from bastion_policy.roles import USES, RoleKind
from bastion_policy.rules import (
    Aggregation,
    AtLeastNOf,
    DifferentialPrivacy,
    Dominance,
    FalseRule,
    Homogeneity,
    LinearAudit,
    Rounding,
    Rule,
    Saturation,
    TrueRule,
    UserId,
    leaves,
)

if TYPE_CHECKING:
    from bastion_policy.facts import ColumnFacts

__all__ = ["expr_code", "expr_words", "plan_code", "plan_words", "policy_words", "role_table", "rule_words"]

AUDITED = (
    "Answers are judged together with all that was released to the same people before: populations that differ by fewer "
    "people than that get one answer, and no combination of answers tells about fewer."
)
STRICT = (
    "Only quasi and public columns may choose people, and statistics are of columns, of a * column + b, and of the "
    "arithmetic that is allowed; why a number is withheld is not told."
)


def policy_words(policy: Policy, requester: str | None = None) -> tuple[str, ...]:
    """Return what a policy means, one plain sentence each.

    requester: for whom; None: for the owner, with a sentence for every key the policy names.
    """
    words = [_unit(policy)]
    if requester is None:
        users = sorted({r.id for r in leaves(policy.safe_zone) if isinstance(r, UserId)})
        usual = policy.effective()
        words += _zone(usual, "")
        for user in users:
            special = policy.effective(user)
            if special != usual:
                words += _zone(special, f"For {user}: ", brief=True)
        effective = usual
    else:
        effective = policy.effective(requester)
        words += _zone(effective, "")
    if not effective.open:
        words.append(_outside(policy.unsafe_handling, policy.review_zone))
    words += [WEAKENABLE[name] for name in effective.weakened if effective.zone == "guarded"]
    words.append("Results may be saved on the server." if policy.savable else "Results may not be saved on the server.")
    hidden = [name for name, role in (policy.roles or {}).items() if role.kind is RoleKind.HIDDEN]
    if hidden:
        words.append(f"Never used and never shown: {_list(hidden)}.")
    if policy.derived:
        allowed = [f"{name} = {formula}" for name, formula in policy.derived.items()]
        words.append(f"Arithmetic over several columns that is allowed: {_list(allowed)}.")
    if policy.reserved:
        words.append(f"Always answered: {_list(['by ' + ' and '.join(keys) for keys in policy.reserved])}.")
    if policy.training is not None:
        words.append(policy.training.words())
    for members in (policy.audiences or {}).values():
        if requester is None and len(members) > 1:
            words.append(f"{_list(members)} count as one: what one of them was told, all of them know.")
    if effective.zone == "guarded" and effective.rounding is not None:
        base, digits = effective.rounding.base, effective.rounding.digits
        words.append(
            f"Counts and sums of whole numbers are rounded to multiples of {base}, other numbers to {digits} significant "
            "digits; a mean is the rounded sum divided by the rounded count."
        )
    if effective.zone == "guarded" and policy.profile == "strict":
        words.append(STRICT)
    if effective.zone == "guarded" and not {"history", "linear_audit"} & set(effective.weakened):
        words.append(AUDITED)
    return (*words, *policy.unsupported())


def _unit(policy: Policy) -> str:
    if policy.unit is None:
        return "Every row counts as a person of its own, for no privacy unit is declared."
    if policy.unit == "row":
        return "Every row is one person."
    words = f"People are told apart by {policy.unit}; every limit counts people, not rows."
    if policy.rows_per_unit is not None:
        words += f" Nobody has more than {policy.rows_per_unit} row{'s' if policy.rows_per_unit > 1 else ''}."
    return words


def _zone(effective: Effective, who: str, *, brief: bool = False) -> list[str]:
    """Return the sentences of a safe zone. brief: without what is the same for everybody."""
    match effective.zone:
        case "open":
            return [f"{who or ''}{'e' if who else 'E'}verything is released at once, single rows included."]
        case "closed":
            return [
                f"{who}nothing is released without a decision." if who else "Nothing is released without a decision."
            ]
        case "private":
            noise = effective.privacy
            spend = f", spending at most epsilon {noise.epsilon:g} and delta {noise.delta:g}" if noise else ""
            return [f"{who}{'answers' if who else 'Answers'} are released with noise only{spend}."]
    lead = f"{who}answers" if who else "Answers"
    words = [f"{lead} about at least {_people(effective.k)} are released at once; single rows never are."]
    if brief:
        return words
    words.append(
        f'Groups of fewer are put together in one row "(other)" of at least {_people(effective.k)}, or left out.'
    )
    if effective.p is not None:
        words.append(
            "A sum or mean is held back where one person makes up most of it: all but the two largest parts must come to "
            f"{_percent(effective.p)} of the largest."
        )
    for n, share in effective.shares:
        who_leads = "the largest part" if n == 1 else f"the {n} largest parts together"
        words.append(
            f"A sum or mean is held back where {who_leads} make{'s' if n == 1 else ''} up more than {_percent(share)}."
        )
    if effective.homogeneity is not None:
        words.append(f"{_same(effective.homogeneity)}.")
    return words


def _outside(action: Action, review_zone: Rule) -> str:
    what = {
        Log: "is released all the same, and marked in the audit log",
        Review: "waits for the owner's decision",
        Suppress: "is cut down to its safe part",
        Reject: "is refused",
    }[type(action)]
    if isinstance(action, Reject) or isinstance(review_zone, FalseRule):
        return "Anything else is refused."
    if isinstance(review_zone, TrueRule):
        return f"Anything else {what}."
    return f"Anything else {what} if {rule_words(review_zone)}; what is left is refused."


def rule_words(rule: Rule) -> str:
    """Return a rule as a condition, e.g. "it is about at least 10 people"."""
    match rule:
        case Aggregation(min_agg_size=k):
            return f"it is about at least {_people(k)}"
        case Dominance(p=p) if p is not None:
            return f"nobody makes up most of it (p = {p:g})"
        case Dominance(n=n, share=share):
            return f"its {n} largest parts make up at most {_percent(share or 0)}"
        case Homogeneity():
            return "it does not show that nearly everybody shares one value"
        case LinearAudit(pairs=pairs, tau=tau):
            cap = f", and nobody has a leverage over {tau:g}" if tau is not None else ""
            return f"no combination of answers isolates {'a person or two' if pairs else 'a person'}{cap}"
        case Saturation(share=share):
            return f"at most {_percent(share)} of what a column could tell has been told"
        case Rounding(base=base, digits=digits):
            return f"counts are rounded to multiples of {base} and numbers to {digits} digits"
        case UserId(id=name):
            return f"{name} asks"
        case DifferentialPrivacy(epsilon=epsilon, delta=delta):
            return f"it carries noise (epsilon {epsilon:g}, delta {delta:g})"
        case AtLeastNOf(n=n, of=of):
            parts = [f"({rule_words(r)})" if isinstance(r, AtLeastNOf) else rule_words(r) for r in of]
            if n == len(of):
                return " and ".join(parts)
            return " or ".join(parts) if n == 1 else f"at least {n} of these hold: {'; '.join(parts)}"
        case TrueRule():
            return "always"
        case _:
            return "never"


def _same(rule: Homogeneity) -> str:
    columns = "any column" if rule.columns == "all" else "a sensitive column"
    return f"A cell is held back where fewer than {_people(rule.min_differing)} differ from the rest in {columns}"


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"


def _percent(share: float) -> str:
    return f"{100 * share:.6g} %"


def _list(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def role_table(columns: Sequence[ColumnFacts]) -> str:
    """Return the roles of a table's columns as plain text, for the owner to confirm or change.

    Nothing in it was measured but the roles themselves: it holds no bounds, counts or values that the owner did not
    declare.
    """
    head = ("column", "type", "role", "", "may be used for")
    rows = [
        (c.name, str(c.dtype), str(c.role), "inferred" if c.inferred else "declared", USES[c.role.kind])
        for c in columns
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]
    if any(c.inferred for c in columns):
        lines.append("Roles marked inferred come from counting distinct values: confirm or change them in the policy.")
    if any(c.role.kind is RoleKind.MEASURE and not c.role.bounded for c in columns):
        lines.append("A measure without bounds is judged by its observed extremes: give bounds, measure(lower, upper).")
    return "\n".join(lines)
