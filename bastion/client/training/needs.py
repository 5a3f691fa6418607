"""Whether the extra `train` is there, and what is said where it is not."""

from __future__ import annotations

import importlib.util

from bastion_plan.errors import InputError

PARTS = ("torch", "safetensors")


def needs_torch() -> None:
    """Refuse where models cannot be made.

    Raises:
        InputError: train.missing.
    """
    gone = [name for name in PARTS if importlib.util.find_spec(name) is None]
    if gone:
        msg = f"Models need {' and '.join(gone)}, which {'is' if len(gone) == 1 else 'are'} not installed here."
        raise InputError(msg, code="train.missing", next_step="In a clone of BastionLab: pip install '.[train]'")
