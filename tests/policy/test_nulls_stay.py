"""What the registry says of missing values decides whether they can hide others: who is said to stay missing does."""

from __future__ import annotations

import polars as pl
import pytest
from bastion_plan.functions.registry import get
from bastion_plan.functions.spec import Flow
from bastion_server.engine.lower import lower
from function_examples import FRAME, examples

GONE = FRAME.with_columns(pl.lit(None).cast(dtype).alias(name) for name, dtype in FRAME.schema.items())
STAYING = [
    (name, plan)
    for name, plan, _ in examples()
    if get(name).flow is Flow.ELEMENTWISE and get(name).null_stays and get(name).args
]


@pytest.mark.parametrize(("name", "plan"), STAYING, ids=[f"{name}-{i}" for i, (name, _) in enumerate(STAYING)])
def test_a_missing_value_stays_missing(name: str, plan: object) -> None:
    found = lower(plan, {"d": GONE.lazy()}).collect()["out"]  # type: ignore[arg-type]
    assert found.null_count() == found.len(), f"{name}: {get(name).nulls}"


def test_most_functions_are_tried() -> None:
    assert len({name for name, _ in STAYING}) > 100
