"""`python wire_without.py RULE -m bastion_server ...`: a server whose guard leaves one rule out.

What a policy weakens is more than one rule, so who holds an attack back would not be known. INVARIANT: the tables, the profile
and all other rules are those of the product.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bastion_policy.judge_rules import Rules


def leverage() -> None:
    """Nobody has anything of the squares of a covariance, whoever has; how many people it is of still counts."""
    judged = Rules._leverage

    def without(self: Rules, m: Any, *rest: Any) -> Iterator[Any]:
        def contributions(*_: Any, **__: Any) -> Iterator[Any]:
            yield from ()
            return [(np.ones(m.size), np.zeros(m.size), np.zeros(m.size))]

        m.contributions = contributions
        try:
            return (yield from judged(self, m, *rest))
        finally:
            del m.contributions

    Rules._leverage = without  # type: ignore[method-assign,assignment]


def squares() -> None:
    """Nobody makes up a spread, whoever does; sums are judged as ever."""

    def without(_: Rules, m: Any, *__: Any) -> Iterator[Any]:
        yield from ()
        return np.ones(m.size, bool)

    Rules._square_rule = without  # type: ignore[method-assign,assignment]


#: by the switch that takes it out
RULES: dict[str, Callable[[], None]] = {"leverage": leverage, "squares": squares}


def python(rule: str, folder: Path) -> str:
    """Write a program that stands for Python and leaves a rule out of the server it runs; return its path."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {rule} "$@"\n')
    path.chmod(0o700)
    return str(path)


if __name__ == "__main__":
    rule, flag, module, *rest = sys.argv[1:]
    assert flag == "-m", flag
    RULES[rule]()
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
