"""Fixtures: an open store, and the folder of shared helpers on the path."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_SUPPORT = str(Path(__file__).parents[1] / "support")
if _SUPPORT not in sys.path:
    sys.path.insert(0, _SUPPORT)

from bastion_server.store import Store  # noqa: E402


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A fresh store, opened at time 1000."""
    opened = Store.open(tmp_path / "store", 1000.0)
    yield opened
    opened.close()
