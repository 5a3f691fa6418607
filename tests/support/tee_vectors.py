"""Where real evidence of public repositories lies, for tests; they skip where it is not."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "tee"

needs_vectors = pytest.mark.skipif(
    not VECTORS.is_dir(),
    reason=f"there is no {VECTORS}: others' evidence is not shipped; synthetic chains try every code without it",
)


def vector(path: str) -> bytes:
    """Return a file of real evidence."""
    return (VECTORS / path).read_bytes()


def at(when: str) -> float:
    """Return seconds since 1970 of a time in UTC: "2025-06-25", "2023-09-18T15:03:30"."""
    return datetime.fromisoformat(when + ("+00:00" if "T" in when else "T00:00:00+00:00")).timestamp()
