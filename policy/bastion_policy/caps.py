"""What the owner lets one fit take: steps, and numbers that are trained. Epsilon and delta are a rule's (rules.py)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from bastion_plan.errors import InputError

from bastion_policy.rules import MAX_WHOLE, refuse


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Bounds of every fit on a table, with noise or without; None: the server's alone.

    max_steps: of one fit, those before a resume included. max_parameters: numbers that its model trains.

    >>> Training(max_steps=2_000, max_parameters=100_000)
    Training(max_steps=2000, max_parameters=100000)

    Raises:
        PolicyError: policy.training, no whole number from 1 on.
    """

    max_steps: int | None = None
    max_parameters: int | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value: Any = getattr(self, name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_WHOLE
            ):
                # a number may be too long to be written
                given = "." if isinstance(value, int) and value > MAX_WHOLE else f", not {value!r:.40}."
                raise refuse(
                    "training",
                    f"training.{name} must be a whole number from 1 to {MAX_WHOLE}{given}",
                    next_step=f"Write {name} = {_EXAMPLES[name]}, or leave it out for what the server allows.",
                    path=f"training.{name}",
                )

    def words(self) -> str:
        """Return it as a sentence, empty where nothing is bounded."""
        bounds = []
        if self.max_parameters is not None:
            bounds.append(f"trains at most {self.max_parameters:,} numbers")
        if self.max_steps is not None:
            bounds.append(f"takes at most {self.max_steps:,} step{'s' if self.max_steps > 1 else ''}")
        return f"A model {' and '.join(bounds)}." if bounds else ""


_EXAMPLES = {"max_steps": 2_000, "max_parameters": 100_000}


def tightest(some: Iterable[Training | None]) -> Training | None:
    """Return what holds where all of these hold."""
    found = [t for t in some if t is not None]
    fields = {
        name: min((v for t in found if (v := getattr(t, name)) is not None), default=None)
        for name in Training.__struct_fields__
    }
    return Training(**fields) if any(v is not None for v in fields.values()) else None


def check_caps(caps: Training | None, *, steps: int, parameters: int) -> None:
    """Check a fit against what the owners of its tables let one take. Looks at public facts only.

    Raises:
        InputError: fit.steps, model.size.
    """
    if caps is None:
        return
    if caps.max_steps is not None and steps > caps.max_steps:
        raise InputError(
            f"This fit has {steps:,} steps.", code="fit.steps",
            reason=f"The owner of this data lets a fit have {caps.max_steps:,}.",
            next_step="Use fewer epochs, or larger batches.",
        )  # fmt: skip
    if caps.max_parameters is not None and parameters > caps.max_parameters:
        raise InputError(
            f"The model has {parameters:,} numbers to train.", code="model.size",
            reason=f"The owner of this data lets a model train {caps.max_parameters:,}.",
            next_step="Make its layers smaller, or freeze some with requires_grad_(False).",
        )  # fmt: skip
