"""Security versions of a platform's parts (TCB_VERSION): eight bytes, laid out in one way up to Genoa and in another from Turin on.

Sources: 56860, "TCB_VERSION"; for the certificates' extensions AMD's Versioned Chip Endorsement Key (VCEK) Certificate and KDS
Interface Specification (57230), tables of the extensions.
"""

from __future__ import annotations

from collections.abc import Mapping

_OLD = {"boot_loader": 0, "tee": 1, "snp": 6, "microcode": 7}
_TURIN = {"fmc": 0, "boot_loader": 1, "tee": 2, "snp": 3, "microcode": 7}
#: by processor line: part -> its byte
LAYOUTS: Mapping[str, Mapping[str, int]] = {"Milan": _OLD, "Genoa": _OLD, "Turin": _TURIN}
#: bytes of a chip's identity, by line; the rest of the report's 64 is zero
CHIP = {"Milan": 64, "Genoa": 64, "Turin": 8}

_OID = "1.3.6.1.4.1.3704.1.3."
#: part -> extension of the certificate; those of reserved parts have numbers for names
EXTENSIONS = {
    "boot_loader": _OID + "1", "tee": _OID + "2", "snp": _OID + "3", "4": _OID + "4", "5": _OID + "5", "6": _OID + "6",
    "7": _OID + "7", "microcode": _OID + "8", "fmc": _OID + "9",
}  # fmt: skip

#: what a certificate may call itself, by the line whose root signs it: Bergamo and Siena are of Genoa's
NAMES = {"Milan": "Milan", "Genoa": "Genoa", "Bergamo": "Genoa", "Siena": "Genoa", "Turin": "Turin"}


def parts(raw: bytes, line: str) -> dict[str, int]:
    """Return the security versions of eight bytes by part."""
    return {name: raw[at] for name, at in LAYOUTS[line].items()}


def padded(raw: bytes, line: str) -> bool:
    """Return whether the reserved bytes are zero."""
    return not any(byte for at, byte in enumerate(raw) if at not in LAYOUTS[line].values())


def certified(spl: Mapping[str, int], raw: bytes, line: str) -> bool:
    """Return whether a certificate's extensions say the same as eight bytes of a report.

    Every part of the line must be there and equal. What the certificate says beyond (reserved parts) must be 0, as it is in the
    report: nothing of what AMD certified is left unlooked at.
    """
    ours = parts(raw, line)
    return all(spl.get(name) == value for name, value in ours.items()) and not any(
        value for name, value in spl.items() if name not in ours
    )


def line_of(cpu: tuple[int, int, int]) -> str:
    """Return the processor line of family, model and stepping; "" for those that are not known."""
    family, model, _ = cpu
    if family == 0x19:
        return "Milan" if model <= 0x0F else "Genoa" if model <= 0x1F or 0xA0 <= model <= 0xAF else ""
    return "Turin" if family == 0x1A and model <= 0x1F else ""


def told(raw: bytes, line: str) -> str:
    """Return security versions for people."""
    return " ".join(f"{name}={value}" for name, value in parts(raw, line).items())
