"""What owners import to say what may leave of their tables, with BastionLab's older spellings of it."""

from __future__ import annotations

from typing import Any

from bastion_plan.errors import PolicyError, did_you_mean
from bastion_policy import model
from bastion_policy.model import (
    Aggregation,
    AtLeastNOf,
    DifferentialPrivacy,
    Dominance,
    FalseRule,
    Homogeneity,
    LinearAudit,
    Log,
    Reject,
    Review,
    Role,
    Rounding,
    Saturation,
    Suppress,
    Training,
    TrueRule,
    UserId,
    measure,
    public,
    quasi,
)
from bastion_policy.toml import from_toml, to_toml

_ACTIONS = {"log": Log, "review": Review, "suppress": Suppress, "reject": Reject}


class Policy(model.Policy, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What may leave of one table; `unsafe_handling` may be an action's name.

    >>> Policy(Aggregation(10), "review") == Policy(Aggregation(10), Review())
    True
    """

    def __post_init__(self) -> None:
        action: Any = self.unsafe_handling
        if isinstance(action, str):
            made = _ACTIONS.get(action.strip().lower())
            if made is None:
                msg = f"There is no action {action[:40]!r}."
                raise PolicyError(
                    msg, code="policy.action",
                    next_step=did_you_mean(action, _ACTIONS) or 'Use "log", "review", "suppress" or "reject".',
                )  # fmt: skip
            self._set("unsafe_handling", made())
        super().__post_init__()

    def __eq__(self, other: object) -> bool:
        # a policy that was read from its text is of the base class, and the same policy
        if not isinstance(other, model.Policy):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__struct_fields__)

    __hash__ = model.Policy.__hash__


Policy.__doc__ = f"""{model.Policy.__doc__}
    `unsafe_handling` may also be the action's name: "log", "review", "suppress" or "reject".
    """


def Rule(*, min_aggregation_size: int) -> Aggregation:  # noqa: N802 - the name that older code calls
    """An older spelling of `Aggregation(min_agg_size)`.

    >>> Rule(min_aggregation_size=10)
    Aggregation(min_agg_size=10)
    """
    return Aggregation(min_aggregation_size)


#: an older spelling of AtLeastNOf
AtLeastNof = AtLeastNOf
#: the policy of a table that nobody wrote one for
DEFAULT_POLICY = Policy(safe_zone=Aggregation(10), unsafe_handling=Review())

__all__ = [
    "DEFAULT_POLICY",
    "Aggregation",
    "AtLeastNOf",
    "AtLeastNof",
    "DifferentialPrivacy",
    "Dominance",
    "FalseRule",
    "Homogeneity",
    "LinearAudit",
    "Log",
    "Policy",
    "Reject",
    "Review",
    "Role",
    "Rounding",
    "Rule",
    "Saturation",
    "Suppress",
    "Training",
    "TrueRule",
    "UserId",
    "from_toml",
    "measure",
    "public",
    "quasi",
    "to_toml",
]
