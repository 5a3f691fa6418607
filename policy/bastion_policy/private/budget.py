"""The budget of a unit domain, as everyone who may see its datasets sees it."""

from __future__ import annotations

import msgspec

from bastion_policy.private.accounting import NOTHING, Account, Cost


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What may be spent on one population of people, over all askers, versions and derived tables.

    datasets: names of those about these people that one may see.
    epsilon, delta: the owner's hard cap. spent: the epsilon that all answers so far come to, together.
    left: the epsilon of the largest single answer that still fits. answers: how many were paid for.
    void: why the stated epsilon no longer holds (an exact answer left), empty while it does.
    """

    datasets: tuple[str, ...]
    epsilon: float
    delta: float
    spent: float = 0.0
    left: float = 0.0
    answers: int = 0
    void: str = ""

    @property
    def sentence(self) -> str:
        """In one sentence."""
        names = " and ".join(self.datasets) or "this data"
        words = f"Budget of {names}: epsilon {shown(self.left)} left of {shown(self.epsilon)} (delta {self.delta:g})"
        if self.void:
            return f"{words}, but the stated epsilon no longer holds: {self.void}"
        return f"{words}."


def budget_of(
    account: Account, spent: Cost = NOTHING, datasets: tuple[str, ...] = (), answers: int = 0, void: str = ""
) -> Budget:
    """Return the budget that a ledger's sum comes to."""
    return Budget(
        datasets, account.epsilon, account.delta, account.epsilon_of(spent), account.left(spent), answers, void
    )


def shown(epsilon: float) -> str:
    """Return an epsilon in three digits."""
    return f"{epsilon:.3g}"
