"""What verification comes to: a verdict with claims, and one stable code for each check that failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bastion_tee.codes import CHECKS

Status = Literal["attested", "unattested", "refused"]

#: which platforms there are; "simulated" proves nothing
PLATFORMS = ("sev-snp", "tdx", "sgx", "nitro", "simulated")


@dataclass(frozen=True)
class Claims:
    """What evidence says, as far as its signature covers it.

    Attributes:
        platform: one of `PLATFORMS`.
        product: of the processor line: "Milan", "Genoa", "Turin" ... or "".
        measurement: what runs there, in hexadecimal: SNP's launch measurement, MRTD, MRENCLAVE, PCR0.
        measurements: all of them by name (`mrtd`, `rtmr0` ..., `mrsigner`, `pcr0` ...), in hexadecimal.
        report_data: the 64 bytes that the guest chose.
        debug: whether the host may read the guest's memory.
        tcb: security versions of the platform's parts by name. tcb_status: of TDX and SGX ("UpToDate" ...), else "".
        advisories: Intel's identifiers of what is known against this platform.
        vmpl: privilege level of who asked for the report (SNP), else None.
        chip: which processor, in hexadecimal, or "".
        flags: what else the platform says of itself by name (`smt`, `migration`, `dynamic_platform` ...).
        signed_at: when evidence was made, seconds since 1970, where it says so (Nitro).
        not_before, not_after: seconds since 1970 between which all certificates and collateral hold.
    """

    platform: str
    product: str = ""
    measurement: str = ""
    measurements: Mapping[str, str] = field(default_factory=dict)
    report_data: bytes = b""
    debug: bool = False
    tcb: Mapping[str, int] = field(default_factory=dict)
    tcb_status: str = ""
    advisories: tuple[str, ...] = ()
    vmpl: int | None = None
    chip: str = ""
    flags: Mapping[str, bool | int | str] = field(default_factory=dict)
    signed_at: float | None = None
    not_before: float = 0.0
    not_after: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the claims as plain data, bytes in hexadecimal."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return plain | {
            "measurements": dict(self.measurements), "tcb": dict(self.tcb), "flags": dict(self.flags),
            "advisories": list(self.advisories), "report_data": self.report_data.hex(),
        }  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """A check that failed. code: stable, one of `codes.CHECKS`. detail: names and numbers from the evidence, or ""."""

    code: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.code not in CHECKS:
            msg = f"{self.code} is no code of a check"
            raise ValueError(msg)

    @property
    def sentence(self) -> str:
        """What is wrong, in a sentence."""
        return CHECKS[self.code].sentence + (f" ({self.detail})" if self.detail else "")

    @property
    def next_step(self) -> str:
        """What can be done about it."""
        return CHECKS[self.code].next_step


@dataclass(frozen=True)
class Verdict:
    """What a client makes of evidence.

    Attributes:
        status: "attested": every check of the policy passed on real hardware. "unattested": evidence of a simulation, with its own
            signature right and the policy allowing it: it proves nothing. "refused": at least one check failed.
        claims: None where the evidence could not be read, or its signature is wrong: nothing of it is to be believed.
        failures: none of "attested"; else in the order of the checks.
        digest: SHA-256 of the evidence (32 bytes), to name it by.
        checked_at: the `now` of the check, seconds since 1970.
    """

    status: Status
    claims: Claims | None
    failures: tuple[Failure, ...] = ()
    digest: bytes = b""
    checked_at: float = 0.0

    def __post_init__(self) -> None:
        # INVARIANT: no verdict is "attested" that has a failure, no claims, or claims of a simulation
        attested = not self.failures and self.claims is not None and self.claims.platform != "simulated"
        if self.status == "attested" and not attested:
            msg = "a verdict with failures is no attestation"
            raise ValueError(msg)
        if self.status == "refused" and not self.failures:
            msg = "a refusal names what failed"
            raise ValueError(msg)

    @property
    def attested(self) -> bool:
        """Whether the server has proved what it is."""
        return self.status == "attested"

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of what failed."""
        return tuple(f.code for f in self.failures)


class Refused(Exception):
    """Raised within a verifier at a check after which no other can be made; becomes a `Failure`."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.failure = Failure(code, detail)
        super().__init__(code)
