"""Aggregates over all columns leave hidden columns out, which nobody may compute with."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl
import pytest
from bastion_policy.roles import to_role

DF = pl.DataFrame({"name": ["a", None], "age": [1.0, None]})


@pytest.fixture
def frame() -> Any:
    from fake_session import fake_connection

    connection = fake_connection({"people": DF})
    (card,) = connection._datasets.values()
    columns = tuple(
        msgspec.structs.replace(c, role=to_role("hidden")) if c.name == "name" else c for c in card.facts.columns
    )
    facts = msgspec.structs.replace(card.facts, columns=columns)
    connection._session.datasets[facts.id] = msgspec.structs.replace(card, facts=facts)
    yield connection.client.polars.get_df("people")
    connection.close()


@pytest.mark.parametrize("name", ["null_count", "count", "n_unique", "min", "approx_n_unique"])
def test_hidden_columns_are_left_out(frame: Any, name: str) -> None:
    assert getattr(frame, name)().columns == ["age"]
    assert frame.null_count().verdict.outcome != "refuse"


def test_a_column_under_another_name_is_judged_by_the_guard(frame: Any) -> None:
    assert frame.rename({"name": "n"}).null_count().verdict.outcome == "refuse"
