"""Settings of all tests: where shared helpers lie, and how many random cases a run makes.

`BASTION_FUZZ_CASES` is the number of cases per property (default 25). The cases are the same in every run unless
`HYPOTHESIS_PROFILE=explore` asks for new ones.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent / "support"))

CASES = int(os.environ.get("BASTION_FUZZ_CASES", "25"))
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile(
    "ci", derandomize=True, max_examples=CASES, deadline=None, database=None, suppress_health_check=_SLOW
)
settings.register_profile("explore", max_examples=CASES, deadline=None, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
