"""The attestation card: green, amber or red, in plain words; the raw claims one click away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bastion.render.cards import grid_html
from bastion.render.safe_text import safe_html, safe_text
from bastion.render.tables import STYLE

if TYPE_CHECKING:
    from bastion.client.attestation import Attestation

MAX_VALUE = 200
#: light -> class of the box, sign in text
_LIGHTS = {"green": ("good", "●"), "amber": ("", "◐"), "red": ("bad", "○")}

#: what each of the three means for whoever sends data, or asks about it
MEANING = {
    "green": "Whoever runs the machine cannot read the data there, nor change what was measured. That the software itself is right is "
    "told by who measured it.",
    "amber": "The policies of the data hold; but whoever runs the machine could read the data.",
    "red": "Nothing may be sent to it.",
}


def claims_rows(attestation: Attestation) -> list[tuple[str, str]]:
    """Return the raw claims as (name, value), in the order of reading; empty where there are none."""
    verdict = attestation.verdict
    claims = verdict.claims if verdict is not None else None
    if verdict is None or claims is None:
        return []
    plain = claims.to_dict()
    rows: list[tuple[str, Any]] = [("platform", " ".join(p for p in (claims.platform, claims.product) if p))]
    for name, value in plain.items():
        if isinstance(value, Mapping):
            rows += [(f"{name}.{part}", found) for part, found in value.items() if not _empty(found)]
        elif name not in ("platform", "product") and not _empty(value):
            rows.append((name, value))
    rows += [("evidence", verdict.digest.hex()), ("checked at", verdict.checked_at)]
    return [(name, _value(name, value)) for name, value in rows]


def attestation_text(attestation: Attestation) -> str:
    """Return the card as text, with the claims."""
    lines = [f"{_LIGHTS[attestation.light][1]} {attestation.sentence}.", f"  {MEANING[attestation.light]}"]
    if attestation.verdict is not None:
        lines += [f"  {f.sentence} {f.next_step} [{f.code}]" for f in attestation.verdict.failures]
    rows = claims_rows(attestation)
    width = max((len(name) for name, _ in rows), default=0)
    lines += ["", *(f"  {name.ljust(width)}  {value}" for name, value in rows)] if rows else []
    return "\n".join(map(safe_text, lines))


def attestation_html(attestation: Attestation) -> str:
    """Return the card as HTML; the claims are folded away."""
    kind, sign = _LIGHTS[attestation.light]
    lines = [f"<b>{sign} {safe_html(attestation.sentence)}.</b>", safe_html(MEANING[attestation.light])]
    if attestation.verdict is not None:
        lines += [
            f'{safe_html(f.sentence)} {safe_html(f.next_step)} <span class="rule">{safe_html(f.code)}</span>'
            for f in attestation.verdict.failures
        ]
    rows = claims_rows(attestation)
    folded = f"<details><summary>raw claims</summary>{grid_html(('claim', 'value'), rows)}</details>" if rows else ""
    inner = "".join(f"<div>{line}</div>" for line in lines)
    return f'{STYLE}<div class="bastion"><div class="box {kind}">{inner}{folded}</div></div>'


def _empty(value: Any) -> bool:
    return value is None or value in ("", {}, []) or (isinstance(value, str) and not value.strip("0"))


def _value(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if name in ("not_before", "not_after", "signed_at", "checked at"):
        return _when(value)
    return safe_text(str(value), MAX_VALUE)


def _when(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds)) if seconds else "-"
    except (OverflowError, ValueError, OSError):
        return "-"
