"""What the owner writes, in one place: policies, rules, actions, roles; their TOML; their merging."""

from bastion_policy.actions import Action, AnyAction, Log, Reject, Review, Suppress
from bastion_policy.caps import Training
from bastion_policy.merge import merge
from bastion_policy.policy import DEFAULT_K, Effective, Policy
from bastion_policy.roles import Role, RoleKind, measure, public, quasi, to_role, to_roles
from bastion_policy.rules import (
    Aggregation,
    AnyRule,
    AtLeastNOf,
    Context,
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
    evaluate,
    leaves,
    simplify,
)
from bastion_policy.toml import from_toml, to_toml

__all__ = [
    "DEFAULT_K",
    "Action",
    "Aggregation",
    "AnyAction",
    "AnyRule",
    "AtLeastNOf",
    "Context",
    "DifferentialPrivacy",
    "Dominance",
    "Effective",
    "FalseRule",
    "Homogeneity",
    "LinearAudit",
    "Log",
    "Policy",
    "Reject",
    "Review",
    "Role",
    "RoleKind",
    "Rounding",
    "Rule",
    "Saturation",
    "Suppress",
    "Training",
    "TrueRule",
    "UserId",
    "evaluate",
    "from_toml",
    "leaves",
    "measure",
    "merge",
    "public",
    "quasi",
    "simplify",
    "to_role",
    "to_roles",
    "to_toml",
]
