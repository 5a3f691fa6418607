"""What owners import to say what may leave of their tables."""

from bastion_policy.model import (
    Aggregation,
    AtLeastNOf,
    DifferentialPrivacy,
    Dominance,
    FalseRule,
    Homogeneity,
    LinearAudit,
    Log,
    Policy,
    Reject,
    Review,
    Rounding,
    Saturation,
    Suppress,
    TrueRule,
    UserId,
    measure,
)
from bastion_policy.toml import from_toml, to_toml

__all__ = [
    "Aggregation",
    "AtLeastNOf",
    "DifferentialPrivacy",
    "Dominance",
    "FalseRule",
    "Homogeneity",
    "LinearAudit",
    "Log",
    "Policy",
    "Reject",
    "Review",
    "Rounding",
    "Saturation",
    "Suppress",
    "TrueRule",
    "UserId",
    "from_toml",
    "measure",
    "to_toml",
]
