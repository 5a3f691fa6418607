"""Real evidence from public repositories, beside the project: `../shared/vectors`. Tests that need it skip where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

VECTORS = Path(__file__).parents[3] / "shared" / "vectors"
needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason=f"there is no {VECTORS}: real evidence is not shipped")
