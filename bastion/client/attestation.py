"""Whether a server has proved what it is: the policy one pins, the verdict of each greeting, and what follows of it.

A client pins a policy, not a server: any server that runs what the policy allows is as good. Without a policy nothing is compared:
the server is UNATTESTED, and every banner and result says so.

INVARIANT: with a policy nothing but the greeting is sent before the verdict; a server that is refused gets nothing more.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs
from bastion_plan.errors import AttestationError, InputError
from bastion_wire.files import replace
from bastion_wire.messages import Shown, Welcome

from bastion.client import known_servers

if TYPE_CHECKING:
    from bastion_tee import AttestationPolicy, Verdict
    from bastion_tee.roots import Collateral, Roots

#: seconds after which evidence is asked for anew
HOLDS = 3600.0
_MAX_FILE = 1 << 20

Light = Literal["green", "amber", "red"]


@dataclass(frozen=True)
class Attestation:
    """What is known of a server: `connection.attestation`.

    Attributes:
        verdict: of the evidence; None where the server showed none, or no policy was there to compare it with.
        policy: that was pinned, or None.
        shown: whether the server showed evidence.
        evidence: as it came, to look at with `bastion attest verify`.
        exchange_key: the server's key for dataset keys (X25519, 32 bytes), where it showed evidence.
        config: facts of the server that the evidence is about.
    """

    verdict: Verdict | None = None
    policy: AttestationPolicy | None = field(default=None, repr=False)
    shown: bool = False
    exchange_key: bytes = field(default=b"", repr=False)
    evidence: bytes = field(default=b"", repr=False)
    config: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def attested(self) -> bool:
        """Whether the server has proved what it is."""
        return self.verdict is not None and self.verdict.attested

    @property
    def light(self) -> Light:
        """green: attested. amber: not attested, and one allowed that. red: refused."""
        if self.verdict is not None and self.verdict.status == "refused":
            return "red"
        return "green" if self.attested else "amber"

    @property
    def sentence(self) -> str:
        """In plain words, what that means."""
        claims = self.verdict.claims if self.verdict is not None else None
        if self.attested and claims is not None:
            where = " ".join(part for part in (_PLATFORMS[claims.platform], claims.product) if part)
            return f"attested: it proved that it runs what your policy allows ({where})"
        if self.light == "red":
            return "refused: it did not prove that it is what your attestation policy allows"
        if claims is not None:  # a simulation
            return "UNATTESTED: it shows a simulation of evidence, which proves nothing"
        if self.shown:
            return "UNATTESTED: it shows evidence, and you have no attestation policy to compare it with"
        return "UNATTESTED: whoever runs the server's machine could read the data"

    def to_dict(self) -> dict[str, Any]:
        """Return what is known as plain data, the raw claims among it."""
        verdict = self.verdict
        return {
            "status": verdict.status if verdict is not None else "unattested", "light": self.light, "sentence": self.sentence,
            "codes": list(verdict.codes) if verdict is not None else [],
            "claims": verdict.claims.to_dict() if verdict is not None and verdict.claims is not None else None,
            "evidence": verdict.digest.hex() if verdict is not None else "",
            "checked_at": verdict.checked_at if verdict is not None else 0.0, "server": dict(self.config),
        }  # fmt: skip

    def __repr__(self) -> str:
        from bastion.render.attested import attestation_text

        return attestation_text(self)

    def _repr_html_(self) -> str:
        from bastion.render.attested import attestation_html

        return attestation_html(self)


_PLATFORMS = {
    "sev-snp": "AMD SEV-SNP",
    "tdx": "Intel TDX",
    "sgx": "Intel SGX",
    "nitro": "AWS Nitro",
    "simulated": "a simulation",
}


class Checker:
    """Compares what servers show with the policy of one connection.

    Args:
        policy: that is pinned; None for none.
        endpoint: of the server, to remember that it was attested.
        collateral: certificates and revocation lists that one has. roots: of the vendors; others in tests alone.
        look: as of `Pinned`.
    """

    def __init__(
        self,
        policy: AttestationPolicy | None,
        endpoint: str,
        *,
        collateral: Collateral | None = None,
        roots: Roots | None = None,
        look: bool = False,
    ) -> None:
        self.policy, self._endpoint, self._look = policy, endpoint, look
        self._collateral, self._roots = collateral, roots
        self._boot = ""
        self.now = Attestation(policy=policy)

    def nonce(self) -> bytes:
        """Return fresh bytes for a greeting."""
        return secrets.token_bytes(32)

    @property
    def due(self) -> bool:
        """Whether the last verdict is too old to rely on."""
        verdict = self.now.verdict
        return self.policy is not None and verdict is not None and not 0 <= time.time() - verdict.checked_at < HOLDS

    @property
    def proved(self) -> bool:
        """Whether the server has proved what it is, now or at some time at this address."""
        return self.now.attested or was_attested(self._endpoint)

    def moved(self, endpoint: str) -> None:
        """Take note that the server is at another address since it was started anew, where it has proved itself."""
        self._endpoint = endpoint
        if self.now.attested:
            remember_attested(endpoint)

    async def check(self, welcome: Welcome, nonce: bytes, server_key: str, *, again: bool = False) -> Attestation:
        """Return what a greeting comes to.

        again: over a connection that was greeted before: the server must not have been started anew meanwhile.

        Raises:
            AttestationError: tee.*, the first check that failed; nothing may be sent to this server.
        """
        self.now = await asyncio.to_thread(self._checked, welcome, nonce, server_key, again)
        if self.now.light == "red":
            raise refused(self.now)
        return self.now

    def _checked(self, welcome: Welcome, nonce: bytes, server_key: str, again: bool) -> Attestation:
        shown = welcome.shown
        if self.policy is None:
            if was_attested(self._endpoint) and not self._look:
                return self._failed("tee.channel.downgrade" if shown is None else "tee.channel.unpinned")
            if shown is None:
                return Attestation()
            return Attestation(shown=True, config=dict(shown.config), evidence=shown.evidence)
        if shown is None:
            if self.policy.unattested:
                return Attestation(policy=self.policy)
            return self._failed("tee.channel.downgrade" if was_attested(self._endpoint) else "tee.evidence.missing")
        if shown.nonce != nonce:
            return self._failed("tee.channel.nonce")
        if shown.curve_key != server_key:
            return self._failed("tee.channel.curve-key")
        boot = shown.config.get("boot", "")
        if again and boot != self._boot:
            return self._failed("tee.channel.stale")
        verdict = self._verdict(shown, nonce, server_key, welcome.verify_key)
        self._boot = boot
        if verdict.attested:
            remember_attested(self._endpoint)
        return Attestation(verdict, self.policy, True, shown.exchange_key, shown.evidence, dict(shown.config))

    def _verdict(self, shown: Shown, nonce: bytes, server_key: str, verify_key: bytes) -> Verdict:
        from bastion_tee.binding import Binding, config_digest
        from bastion_tee.verify import NO_COLLATERAL, PINNED, verify

        assert self.policy is not None
        # INVARIANT: nonce and key are those of this connection, as this end knows them, never those the server tells
        about = Binding(nonce, server_key, shown.exchange_key, verify_key, config_digest(shown.config))
        return verify(
            shown.evidence, self.policy, report_data=about.report_data(), now=time.time(),
            collateral=self._collateral or cached(shown.evidence, time.time()) or NO_COLLATERAL, roots=self._roots or PINNED,
        )  # fmt: skip

    def _failed(self, code: str) -> Attestation:
        from bastion_tee import Failure, Verdict

        return Attestation(Verdict("refused", None, (Failure(code),), b"", time.time()), self.policy)


def refused(attestation: Attestation) -> AttestationError:
    """Return the error of a server that is refused."""
    assert attestation.verdict is not None
    failures = attestation.verdict.failures
    return AttestationError(
        "The server did not prove that it is what your attestation policy allows.",
        code=failures[0].code, reason=" ".join(f.sentence for f in failures), next_step=failures[0].next_step,
        details={"codes": list(attestation.verdict.codes)},
    )  # fmt: skip


@dataclass(frozen=True)
class Pinned:
    """What one compares servers with.

    Attributes:
        policy: None for none.
        collateral: certificates and revocation lists that one has.
        roots: of the vendors, for tests; None: those that are pinned in the product. There is no other way to change them.
        look: connect to see what a server shows, without a policy, although it was attested before. For nothing but looking.
    """

    policy: AttestationPolicy | None = None
    collateral: Collateral | None = None
    roots: Roots | None = None
    look: bool = False


def pinned_of(given: Any) -> Pinned:
    """Return what one means by `attestation=…`: a policy, the path of its TOML, or None for BASTION_ATTESTATION, the profile's, or none.

    Raises:
        InputError: input.attestation, the file cannot be read. PolicyError: policy.attestation.
    """
    return given if isinstance(given, Pinned) else Pinned(_policy_of(given))


def _policy_of(given: Any) -> AttestationPolicy | None:
    from bastion_tee import AttestationPolicy

    if given is None:
        from bastion.client.endpoints import read_profile

        given = os.environ.get("BASTION_ATTESTATION") or read_profile().get("attestation")
    if given is None or isinstance(given, AttestationPolicy):
        return given
    if not isinstance(given, str | os.PathLike):
        msg = "This is no attestation policy."
        raise InputError(
            msg, code="input.attestation", next_step="Give an AttestationPolicy, or the path of its TOML file."
        )
    try:
        with Path(given).expanduser().open("rb") as opened:
            text = opened.read(_MAX_FILE).decode()
    except (OSError, UnicodeDecodeError):
        msg = "The attestation policy cannot be read."
        raise InputError(
            msg, code="input.attestation", next_step="`bastion attest policy` writes one; give the path of the file."
        ) from None
    return AttestationPolicy.from_toml(text)


# ---- what vendors publish about machines --------------------------------------------------------------------------------


def collateral_path() -> Path:
    """Return where certificates, revocation lists and Intel's collateral are kept (BASTION_COLLATERAL, else the user's cache)."""
    given = os.environ.get("BASTION_COLLATERAL")
    return Path(given) if given else Path(platformdirs.user_cache_dir("bastionlab")) / "collateral"


def cached(evidence: bytes, now: float) -> Collateral | None:
    """Return what was fetched for the machine of some evidence (`bastion attest collateral`), or None. Asks nobody."""
    if not collateral_path().is_dir():
        return None
    from bastion_tee import Evidence
    from bastion_tee.collateral import Cache
    from bastion_tee.vendors import collateral_of
    from bastion_tee.verdict import Refused

    try:
        return collateral_of(Cache(collateral_path()), Evidence.decode(evidence), now)
    except (AttestationError, Refused):
        return None


def fetch_collateral(evidence: bytes, now: float) -> Collateral:
    """Fetch from the vendor what is needed to check some evidence, and keep it.

    INVARIANT: only this asks anybody, and it tells the vendor which machine it is about: never done without being asked for.

    Raises:
        AttestationError: tee.collateral.*, tee.evidence.*
    """
    from bastion_tee import Evidence
    from bastion_tee.collateral import Cache, fetch_https
    from bastion_tee.vendors import collateral_of
    from bastion_tee.verdict import Refused

    try:
        read = Evidence.decode(evidence)
    except Refused as found:
        failure = found.failure
        raise AttestationError(failure.sentence, code=failure.code, next_step=failure.next_step) from None
    return collateral_of(Cache(collateral_path(), fetch_https), read, now)


# ---- servers that were attested before --------------------------------------------------------------------------------


def attested_path() -> Path:
    """Return where the addresses of servers are kept that were attested (BASTION_ATTESTED, else beside the profile)."""
    given = os.environ.get("BASTION_ATTESTED")
    return Path(given) if given else Path(platformdirs.user_config_dir("bastionlab")) / "attested_servers"


def was_attested(endpoint: str) -> bool:
    """Whether a server at this address was attested before: then it does not pass for one that never was."""
    return any(known_servers.same(line, endpoint) for line in _attested())


def remember_attested(endpoint: str) -> None:
    """Write down that a server at this address was attested. A file that cannot be written is no reason to fail."""
    if was_attested(endpoint):
        return
    file = attested_path()
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = "# Servers that have proved what they are: host:port\n" + "".join(
            f"{line}\n" for line in sorted({*_attested(), endpoint.rpartition("://")[2]})
        )
        replace(file, text.encode(), mode=0o600)
    except OSError:
        return


def _attested() -> list[str]:
    try:
        with attested_path().open("rb") as opened:
            lines = opened.read(_MAX_FILE).decode(errors="replace").splitlines()
    except OSError:
        return []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
