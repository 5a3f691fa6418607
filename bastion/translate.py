"""Real Polars expressions to plan expressions: the public name of the translation."""

from __future__ import annotations

from bastion.expr.translate import translate

__all__ = ["translate"]
