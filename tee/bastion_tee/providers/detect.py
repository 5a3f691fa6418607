"""Which source of evidence a machine has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bastion_plan.errors import ServerError

from bastion_tee.providers import sev_guest, tsm
from bastion_tee.providers.base import Provider, failed
from bastion_tee.providers.sev_guest import SevGuestProvider
from bastion_tee.providers.tsm import TsmProvider


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        provider: the first source that works, or None.
        reasons: by source, in the order they were looked at, why it was not taken.
    """

    provider: Provider | None
    reasons: dict[str, str]

    def required(self) -> Provider:
        """Return the provider.

        Raises:
            ServerError: server.evidence.none, with the reasons.
        """
        if self.provider is None:
            raise failed("none", "", " ".join(f"{name}: {reason}" for name, reason in self.reasons.items()))
        return self.provider


def detect(tsm_root: Path = tsm.ROOT, device: Path = sev_guest.DEVICE, nsm: Path = Path("/dev/nsm")) -> Found:
    """Look for a source of evidence: configfs-tsm, then /dev/sev-guest, then Nitro's /dev/nsm.

    INVARIANT: a simulation is never found. It is there only for who asks for it by name (`SimulatedProvider`).

    Args:
        tsm_root, device, nsm: where they are; other places in tests.
    """
    reasons: dict[str, str] = {}
    looks: tuple[tuple[str, Path, str, Callable[[Path], Provider]], ...] = (
        (tsm.SOURCE, tsm_root, "It is there with kernel 6.7 or newer, configfs mounted and the module tsm loaded.", TsmProvider),
        (sev_guest.SOURCE, device, "It is there in SEV-SNP guests with the module sev-guest loaded.", SevGuestProvider),
        ("nsm", nsm, "It is there in Nitro enclaves.", _nitro),
    )  # fmt: skip
    for name, path, hint, make in looks:
        if not path.exists():
            reasons[name] = f"There is no {path}. {hint}"
            continue
        try:
            return Found(make(path), reasons)
        except ServerError as error:
            reasons[name] = f"{error.message} {error.reason}".strip()
    return Found(None, reasons)


def _nitro(device: Path) -> Provider:
    from bastion_tee.providers.nitro import NitroProvider

    return NitroProvider(device)
