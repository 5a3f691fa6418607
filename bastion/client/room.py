"""How much more is told of the same people: what may be said of it, and what may not.

INVARIANT: these sentences follow from the policy as its reader is shown it (other people's names are left out of
audiences there), from the reader's own name and from how many of the reader's own queries were answered; never from
what an audience has used up. How many independent numbers were told, how many are left (a share of the groups that
answers tell apart), and how many choices lay at a threshold depend on single people: a counter that is seen to move, or
not to, tells of each query whether its groups overlap, or whether somebody lies between two bounds, without being
counted itself. And of an audience of several it would tell that the others ask. So no counter is shown, coarse or not;
of budgets of noise, which do not depend on the data, `budget()` shows what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bastion_policy.facts import DatasetFacts

#: independent numbers that are told of a column at most; choices by a measure at a threshold (tests compare with the judge's)
MOST_NUMBERS = 1024
MOST_EDGES = 8
#: rules that compare with what was told before
HISTORY = frozenset({"history", "copied-column", "same-people", "linear-audit", "audit-capacity", "edge-budget"})


def room(datasets: Iterable[str], facts: Mapping[str, DatasetFacts], identity: str) -> str:
    """Return what can be said of the room that is left in these datasets; empty where nothing limits it.

    Args:
        datasets: their ids. facts: as the server sent them. identity: one's own name.
    """
    concerned = [facts[key] for key in dict.fromkeys(datasets) if key in facts]
    ruled = [(one, one.policy.effective(identity)) for one in concerned]
    if any(effective.privacy is not None for _, effective in ruled):
        return "Answers with noise spend epsilon, for all who ask together: budget() says what is left."
    limited = [e for _, e in ruled if e.zone in ("guarded", "closed") and e.linear_audit is not None]
    if not limited:
        return ""
    share = min((e.saturation.share for e in limited if e.saturation is not None), default=None)
    most = f"Where answers have to be audited, at most {MOST_NUMBERS:,} independent numbers of a column are told"
    if share is not None:
        most += f", and no more than {share:.0%} of the number of groups that answers tell people apart into"
    if all(e.profile != "strict" for e in limited):
        most += f"; of choices by a measure that lie at a threshold, {MOST_EDGES}"
    sentences = [f"{most}.", "How much of that is left depends on single people, so it is not shown."]
    names = sorted({n for one, _ in ruled for n, who in (one.policy.audiences or {}).items() if identity in who})
    if names:
        listed = ", ".join(map(repr, names))
        sentences.append(f"What others of your audience {listed} were told takes of it, too.")
    return " ".join(sentences)


def told(count: int) -> str:
    """Return how many of one's own queries about the same columns were answered, in words; empty for none."""
    if not count:
        return ""
    return f"You have had {count} answer{'s' if count > 1 else ''} about these columns."
