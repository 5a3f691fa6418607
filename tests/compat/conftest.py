from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

SUPPORT = str(Path(__file__).resolve().parents[1] / "support")
if SUPPORT not in sys.path:
    sys.path.insert(0, SUPPORT)

PEOPLE = pl.DataFrame(
    {
        "id": [1, 2, 3, 4, 5, 6],
        "age": [22.0, 38.0, None, 35.0, 54.0, -2.0],
        "class": [3, 1, 3, 1, 2, 2],
        "sex": ["male", "female", "m", None, "M", "female"],
    }
)
CITIES = pl.DataFrame({"class": [1, 2, 4], "city": ["Bern", "Oslo", "Rome"]})


@pytest.fixture
def connection() -> Iterator[Any]:
    """The SDK over the engine, without a guard: what a spelling computes."""
    from fake_session import fake_connection

    made = fake_connection({"people": PEOPLE, "cities": CITIES})
    yield made
    made.close()


@pytest.fixture
def people(connection: Any) -> Any:
    return connection.client.polars.get_df("people")


@pytest.fixture
def cities(connection: Any) -> Any:
    return connection.client.polars.get_df("cities")
