"""What a client asks of a server's evidence, as TOML.

    unattested = false            # whether a simulation may be used at all
    max_age = 3600                # seconds since evidence was signed, where it says when (Nitro)

    [sev-snp]                     # a platform without a section is not allowed
    measurements = ["<96 hexadecimal digits>"]
    minimum_tcb = { boot_loader = 4, tee = 0, snp = 22, microcode = 213 }
    revocation = "required"       # default "if-given"

    [tdx]
    measurements = ["<MRTD>"]
    registers = { rtmr1 = ["<96 digits>"], rtmr2 = ["..."] }
    status = ["UpToDate"]         # the default

A policy names servers by what runs there, never by their address or key: any server that runs it is as good.
"""

from __future__ import annotations

import tomllib
from typing import Any, Literal

import msgspec
from bastion_plan.errors import PolicyError

Kind = Literal["sev-snp", "tdx", "sgx", "nitro", "simulated"]

#: digits of a measurement, and names of registers and of parts with a security version, by platform
DIGITS = {"sev-snp": 96, "tdx": 96, "sgx": 64, "nitro": 96, "simulated": 96}
REGISTERS: dict[str, tuple[str, ...]] = {
    "sev-snp": ("host_data", "id_key_digest", "author_key_digest", "family_id", "image_id"),
    "tdx": ("rtmr0", "rtmr1", "rtmr2", "rtmr3", "mr_seam", "mr_config_id", "mr_owner", "mr_owner_config"),
    "sgx": ("mrsigner",),
    "nitro": tuple(f"pcr{i}" for i in range(32)),
    "simulated": (),
}
PARTS: dict[str, tuple[str, ...]] = {
    "sev-snp": ("fmc", "boot_loader", "tee", "snp", "microcode"),
    "tdx": ("tee_tcb_svn", "pce_svn", "evaluation"), "sgx": ("isv_svn", "isv_prod_id", "pce_svn", "evaluation"), "nitro": (), "simulated": (),
}  # fmt: skip
PRODUCTS = ("Milan", "Genoa", "Turin")
#: Intel's words for the state of a platform
STATES = (
    "UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "OutOfDate",
    "OutOfDateConfigurationNeeded", "TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded",
)  # fmt: skip
#: keys of a section that only some platforms have
_ONLY = {
    "products": ("sev-snp",), "vmpl": ("sev-snp",), "migration": ("sev-snp",), "revocation": ("sev-snp",),
    "status": ("tdx", "sgx"), "dynamic_platform": ("tdx", "sgx"), "smt": ("sev-snp", "tdx", "sgx"),
}  # fmt: skip


class PlatformPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is asked of evidence of one platform.

    Attributes:
        measurements: those of what may run, in hexadecimal. None listed: nothing is allowed.
        registers: allowed values of further measurements by name (`REGISTERS`), in hexadecimal.
        minimum_tcb: least security versions by name (`PARTS`).
        debug: whether a guest may be one that the host can read. Never by default.
        products: AMD's processor lines. vmpl: highest privilege level number allowed (0 is the most privileged).
        migration: whether a migration agent may be. smt: whether shared hyperthreads may be.
        revocation: "required": without AMD's revocation list nothing is allowed.
        status: Intel's states that are allowed. dynamic_platform: whether the platform may be changed while it runs.
    """

    measurements: tuple[str, ...] = ()
    registers: dict[str, tuple[str, ...]] = {}
    minimum_tcb: dict[str, int] = {}
    debug: bool = False
    products: tuple[str, ...] = PRODUCTS
    vmpl: int = 0
    migration: bool = False
    smt: bool = True
    revocation: Literal["if-given", "required"] = "if-given"
    status: tuple[str, ...] = ("UpToDate",)
    dynamic_platform: bool = False


class AttestationPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a client asks of servers. A platform that is None is not allowed. See the module for the text.

    Attributes:
        unattested: whether a simulation, which proves nothing, may be used.
        max_age: seconds since evidence was signed, where it says when.

    >>> policy = AttestationPolicy.from_toml('[sev-snp]\\nmeasurements = ["' + "ab" * 48 + '"]')
    >>> policy.allowed("sev-snp").debug, policy.allowed("tdx")
    (False, None)
    """

    unattested: bool = False
    max_age: float = 3600.0
    sev_snp: PlatformPolicy | None = None
    tdx: PlatformPolicy | None = None
    sgx: PlatformPolicy | None = None
    nitro: PlatformPolicy | None = None

    def allowed(self, platform: str) -> PlatformPolicy | None:
        """Return what is asked of a platform; None where it is not allowed."""
        found: PlatformPolicy | None = getattr(self, platform.replace("-", "_"), None)
        return found

    def to_toml(self) -> str:
        """Return the text of the policy."""
        import tomli_w

        plain: dict[str, Any] = msgspec.to_builtins(self)
        if "sev_snp" in plain:
            plain["sev-snp"] = plain.pop("sev_snp")
        return tomli_w.dumps(plain)

    @classmethod
    def from_toml(cls, text: str) -> AttestationPolicy:
        """Return the policy of a text.

        Raises:
            PolicyError: policy.attestation, with what is wrong and where.
        """
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise _wrong(f"It is not TOML: {error}.") from None
        if "sev_snp" in table:
            raise _wrong("Write [sev-snp], not sev_snp.")
        if "sev-snp" in table:
            table["sev_snp"] = table.pop("sev-snp")
        try:
            policy = msgspec.convert(table, cls)
        except msgspec.ValidationError as error:
            raise _wrong(f"{str(error).replace('sev_snp', 'sev-snp')}.") from None
        if not 0 < policy.max_age < float("inf"):
            raise _wrong("max_age: seconds, more than 0.")
        for platform in ("sev-snp", "tdx", "sgx", "nitro"):
            section = policy.allowed(platform)
            if section is not None:
                _check(platform, section)
        return policy


def _check(platform: str, section: PlatformPolicy) -> None:
    """Refuse what could never be met, or would be looked at by nobody."""
    plain = msgspec.to_builtins(section)
    for key, platforms in _ONLY.items():
        if key in plain and platform not in platforms:
            raise _wrong(f"{platform}.{key}: only {' and '.join(platforms)} have that.")
    for name in section.registers:
        if name not in REGISTERS[platform]:
            raise _wrong(f"{platform}.registers.{name}: there are {', '.join(REGISTERS[platform])}.")
    for name, least in section.minimum_tcb.items():
        if name not in PARTS[platform]:
            raise _wrong(f"{platform}.minimum_tcb.{name}: there are {', '.join(PARTS[platform]) or 'none'}.")
        if least < 0:
            raise _wrong(f"{platform}.minimum_tcb.{name}: 0 or more.")
    for value in section.measurements:
        if len(value) != DIGITS[platform] or not _is_hex(value):
            raise _wrong(f"{platform}.measurements: {DIGITS[platform]} hexadecimal digits each.")
    for name, values in section.registers.items():
        if not values or not all(value and _is_hex(value) for value in values):
            raise _wrong(f"{platform}.registers.{name}: a list of hexadecimal values.")
    for product in section.products:
        if product not in PRODUCTS:
            raise _wrong(f"{platform}.products: there are {', '.join(PRODUCTS)}.")
    if not 0 <= section.vmpl <= 3:
        raise _wrong(f"{platform}.vmpl: 0 to 3.")
    for state in section.status:
        if state not in STATES:
            raise _wrong(f"{platform}.status: {state!r} cannot be allowed; there are {', '.join(STATES)}.")


def _is_hex(value: str) -> bool:
    return len(value) % 2 == 0 and all(c in "0123456789abcdefABCDEF" for c in value)


def _wrong(reason: str) -> PolicyError:
    msg = "The attestation policy cannot be used."
    return PolicyError(
        msg, code="policy.attestation", reason=reason, next_step="`bastion attest policy` writes one to begin with."
    )
