from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

SUPPORT = str(Path(__file__).resolve().parents[1] / "support")
if SUPPORT not in sys.path:
    sys.path.insert(0, SUPPORT)


@pytest.fixture
def env() -> Any:
    """An environment with a connection over two small tables."""
    from fake_session import fake_connection

    from bastion.language import Environment

    tables = {
        "titanic": pl.DataFrame(
            {"Pclass": [1, 1, 2, 3, 3, 3], "Survived": [1, 0, 1, 0, 0, 1], "Age": [38.0, None, 27.0, 22.0, 4.0, None]}
        ),
        "ports": pl.DataFrame({"Pclass": [1, 2], "port": ["Southampton", "Cherbourg"]}),
    }
    return Environment(fake_connection(tables, flavour="async"))


@pytest.fixture
def run(env: Any) -> Callable[..., Any]:
    """Run cells one after another; return the last result."""
    from bastion.language import evaluate

    def work(*cells: str) -> Any:
        async def all_of_them() -> Any:
            result = None
            for cell in cells:
                result = await evaluate(cell, env)
            return result

        return asyncio.run(all_of_them())

    return work
