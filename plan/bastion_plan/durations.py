"""Polars' duration strings ("1h30m", "-2d", "3i"), checked before the engine sees them."""

from __future__ import annotations

import re

from bastion_plan.errors import BindError

_PART = re.compile(r"([0-9]{1,12})(ns|us|ms|mo|s|m|h|d|w|q|y|i)")


def check_duration(text: str, what: str, *, positive: bool = False, index: str | None = None) -> None:
    """Refuse what Polars would not read as a duration.

    Args:
        text: the duration string.
        what: the option's name, for the message.
        positive: a sign or zero is refused.
        index: kind of the index column; an integer index takes "i" only, a time index everything else.

    Raises:
        BindError: `plan.bind.duration`.
    """
    body = text.removeprefix("-")
    parts = _PART.findall(body)
    units = {unit for _, unit in parts}
    reason = ""
    if not parts or "".join(a + b for a, b in parts) != body or len(text) > 100:
        reason = (
            "A duration is made of numbers with units: ns, us, ms, s, m, h, d, w, mo, q, y, or i for whole numbers."
        )
    elif "i" in units and len(units) > 1:
        reason = "The unit i cannot be mixed with units of time."
    elif positive and (text.startswith("-") or all(int(number) == 0 for number, _ in parts)):
        reason = "It must be positive."
    elif index is not None and ("i" in units) != index.startswith(("Int", "UInt")):
        wanted = "the unit i" if index.startswith(("Int", "UInt")) else "units of time"
        reason = f"The index is {index}, which takes {wanted}."
    if reason:
        msg = f"{what}={text[:100]!r} is not a duration that can be used here."
        raise BindError(msg, code="plan.bind.duration", reason=reason)
