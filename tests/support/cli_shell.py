"""The program `bastion` in a place of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from warm_shell import Warm

BASTION = str(Path(sys.executable).with_name("bastion"))


@dataclass
class Shell:
    """A place with its own keys, profile and server directory."""

    folder: Path
    warm: Warm | None = None

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "BASTION_DIRECTORY": str(self.folder / "server"), "BASTION_KEYS": str(self.folder / "keys"),
            "BASTION_PROFILE": str(self.folder / "profile.toml"), "COLUMNS": "200", "NO_COLOR": "1",
        }  # fmt: skip
        return {k: v for k, v in os.environ.items() if not k.startswith("BASTION_")} | own

    def run(self, *words: str, code: int = 0) -> str:
        done = self.program(*words) if self.warm is None else self.warm.run(words)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    def program(self, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run the program as it is installed."""
        return subprocess.run(
            [BASTION, *words], env=self.environment | changes, capture_output=True, text=True, timeout=60, check=False
        )

    def json(self, *words: str) -> object:
        return json.loads(self.run(*words, "--json"))
