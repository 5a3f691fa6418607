"""The cell language: Python's syntax, none of Python's reach. `evaluate` is the way in.

>>> import asyncio
>>> asyncio.run(evaluate("1 + 2", Environment())).value
3
"""

from __future__ import annotations

from bastion.language.environment import Environment
from bastion.language.evaluator import evaluate
from bastion.language.limits import Limits
from bastion.language.results import CellResult

__all__ = ["CellResult", "Environment", "Limits", "evaluate"]
