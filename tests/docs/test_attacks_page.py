"""docs/attacks.md is of the attacks that there are: none is missing from the page, and none on it is gone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LISTED = """
import json, sys
sys.path[:0] = ["tests/attacks/wire", "tests/support"]
import attack_suite
from attack_list import ATTACKS
from training_list import TRAINING
print(json.dumps([sorted(ATTACKS), [t.test.removeprefix("test_") for t in TRAINING]]))
"""


def test_the_page_has_every_attack_and_no_other() -> None:
    # in a process of its own: the attacks are registered where they are imported
    found = subprocess.run(
        [sys.executable, "-c", LISTED], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    attacks, training = json.loads(found.stdout.splitlines()[-1])
    page = (ROOT / "docs/attacks.md").read_text()
    names = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(names) == sorted([*attacks, *training])
    assert f"| **all** | {len(attacks)} |" in page
    assert "**OBTAINED**" not in page
    assert f"lists {len(attacks)} attacks" in (ROOT / "docs/guard.md").read_text()
