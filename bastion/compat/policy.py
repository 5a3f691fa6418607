"""What `bastionlab.polars.policy` gives: rules, actions and policies with BastionLab's names and arguments."""

from __future__ import annotations

from bastion.policy import (
    DEFAULT_POLICY,
    AtLeastNOf,
    AtLeastNof,
    FalseRule,
    Log,
    Policy,
    Reject,
    Review,
    Rule,
    TrueRule,
    UserId,
)
from bastion.policy import Aggregation as _Aggregation

__all__ = [
    "DEFAULT_POLICY",
    "Aggregation",
    "AtLeastNOf",
    "AtLeastNof",
    "FalseRule",
    "Log",
    "Policy",
    "Reject",
    "Review",
    "Rule",
    "TrueRule",
    "UserId",
]


def Aggregation(  # noqa: N802 - the name that older code calls
    min_agg_size: int | None = None, *, min_aggregation_size: int | None = None
) -> _Aggregation:
    """At least so many rows behind every number; `min_aggregation_size` is its older name."""
    given = min_agg_size if min_agg_size is not None else min_aggregation_size
    return _Aggregation(given)  # type: ignore[arg-type]
