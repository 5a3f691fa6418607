"""`bastion attest`: what a server proves, evidence from a file, and the policy that is compared with it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
from bastion_plan.errors import AttestationError, InputError
from bastion_tee import AttestationPolicy, Evidence, Verdict
from bastion_tee.policy import DIGITS, PlatformPolicy
from bastion_tee.roots import Collateral
from bastion_tee.verify import NO_COLLATERAL, verify
from bastion_wire.files import write_new

from bastion.client.attestation import Attestation, Pinned, cached, collateral_path, fetch_collateral, pinned_of
from bastion.client.endpoints import profile_path, read_profile
from bastion.render.attested import attestation_text
from bastion_cli.context import client_options, find_identity, open_connection, server_of
from bastion_cli.output import console, json_option, reporting, say

_MAX_FILE = 4 << 20
policy_option = click.option(
    "--policy", "policy", type=click.Path(dir_okay=False, path_type=Path), help="Attestation policy, a TOML file."
)


@click.group()
def attest() -> None:
    """What a server proves of itself.

    \b
    Example:  bastion attest show
    """


@attest.command("show")
@client_options
@policy_option
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Write the evidence into a file.")
@json_option
@reporting
def attest_show(
    endpoint: str | None, who: str | None, server_key: str | None, policy: Path | None, save: Path | None, as_json: bool
) -> None:
    """Ask a server what it is, and compare that with your policy.

    \b
    Example:  bastion attest show --as olga --policy attestation.toml
    """
    from bastion import Connection

    where, key = server_of(endpoint, server_key)
    with Connection(where, identity=find_identity(who), server_key=key, attestation=policy) as connection:
        found = connection.attestation
    if save is not None:
        if not found.evidence:
            msg = "The server showed no evidence, so there is nothing to save."
            raise InputError(msg, code="input.attestation.none")
        _write(save, found.evidence)
    _show(found, as_json=as_json)


@attest.command("verify")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@policy_option
@click.option(
    "--platform",
    type=click.Choice(["sev-snp", "tdx", "sgx", "nitro"]),
    help="Of a file that is a bare report or quote.",
)
@click.option(
    "--certificates",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="AMD's certificates, PEM or DER; may be given again.",
)
@click.option(
    "--crl", type=click.Path(exists=True, dir_okay=False, path_type=Path), multiple=True, help="AMD's revocation lists."
)
@click.option(
    "--collateral", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Intel's collateral, JSON."
)
@click.option("--report-data", default=None, help="The 64 bytes that it must be about, in hexadecimal.")
@click.option(
    "--now", default=None, help="Date to check at: seconds since 1970, or like 2026-01-31T12:00:00Z. Default: now."
)
@json_option
@reporting
def attest_verify(
    file: Path, policy: Path | None, platform: str | None, certificates: tuple[Path, ...], crl: tuple[Path, ...],
    collateral: Path | None, report_data: str | None, now: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Check evidence in a file, offline. It is as `attest show --save` wrote it, or a bare report (of Nitro with --platform).

    Exit status 0 where your policy is met on real hardware, 1 where not.

    \b
    Example:  bastion attest verify report.bin --platform sev-snp --certificates vcek.pem --certificates ask_ark.pem
    """
    data = _read(file)
    platform = platform or _platform_of(data)
    evidence: Evidence | bytes = Evidence(platform, data) if platform is not None else data
    verdict = verify(
        evidence, pinned_of(policy).policy or AttestationPolicy(), report_data=_hex(report_data), now=_now(now),
        collateral=Collateral(tuple(map(_read, certificates)), tuple(map(_read, crl)), _read(collateral) if collateral else b""),
    )  # fmt: skip
    _show(Attestation(verdict, shown=True), as_json=as_json)
    if not verdict.attested:
        raise SystemExit(1)


@attest.command("policy")
@client_options
@click.option("--from-server", is_flag=True, help="Begin with what a server measures now: only if you trust it today.")
@click.option(
    "--pin",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Use this policy from now on, for every connection.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write into a file instead of the terminal."
)
@reporting
def attest_policy(
    endpoint: str | None, who: str | None, server_key: str | None, from_server: bool, pin: Path | None, out: Path | None
) -> None:
    """Write an attestation policy to begin with, or pin one.

    \b
    Example:  bastion attest policy --out attestation.toml
              bastion attest policy --pin attestation.toml
    """
    if pin is not None:
        pinned_of(pin)  # says what is wrong with it
        _pin(pin)
        console.print(f"Pinned {pin.name}: every connection that names no other policy is held to it.", markup=False)
        return
    text = _starter(_measured(endpoint, who, server_key)) if from_server else _starter(None)
    if out is None:
        click.echo(text, nl=False)
        return
    _write(out, text.encode())
    console.print(
        f"Wrote {out}. Fill in the measurements of the servers you trust; then: bastion attest policy --pin {out}",
        markup=False,
    )


@attest.command("collateral")
@client_options
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Evidence of `attest show --save`, instead of a server's.",
)
@json_option
@reporting
def attest_collateral(
    endpoint: str | None, who: str | None, server_key: str | None, file: Path | None, as_json: bool
) -> None:
    """Fetch what AMD or Intel publish about a server. It is kept for later connections.

    This tells the vendor which machine it is. Nothing else here ever asks anybody.

    \b
    Example:  bastion attest collateral --as olga
    """
    evidence = _read(file) if file is not None else _shown(endpoint, who, server_key)
    found = fetch_collateral(evidence, time.time())
    kept = {
        "certificates": len(found.certificates),
        "revocation lists": len(found.crls),
        "collateral": bool(found.dcap),
    }
    words = ", ".join(f"{name}: {'yes' if value is True else value or 'none'}" for name, value in kept.items())
    say(kept, f"Kept in {collateral_path()}: {words}.", as_json=as_json)


@attest.command("release")
@click.argument("dataset")
@client_options
@policy_option
@json_option
@reporting
def attest_release(
    dataset: str, endpoint: str | None, who: str | None, server_key: str | None, policy: Path | None, as_json: bool
) -> None:
    """Give a server the key of a sealed dataset of yours. It must have proved what it is.

    \b
    Example:  bastion attest release payments --as olga --policy attestation.toml
    """
    from bastion import Connection

    where, key = server_of(endpoint, server_key)
    with Connection(where, identity=find_identity(who), server_key=key, attestation=policy) as connection:
        card = connection.release_key(dataset)
        words = f"{card.facts.name} is open on this server, until it stops or you take the key back. The server is {connection.attestation.sentence}."
    say({"name": card.facts.name, "sealed": card.sealed}, words, as_json=as_json)


@attest.command("take-back")
@click.argument("dataset")
@client_options
@json_option
@reporting
def attest_take_back(
    dataset: str, endpoint: str | None, who: str | None, server_key: str | None, as_json: bool
) -> None:
    """Take the key of a sealed dataset back. Nothing of it can be used until it is released again.

    \b
    Example:  bastion attest take-back payments --as olga
    """
    with open_connection(endpoint, who, server_key) as connection:
        card = connection.revoke_key(dataset)
    say({"name": card.facts.name, "sealed": card.sealed}, f"{card.facts.name} is locked.", as_json=as_json)


def _shown(endpoint: str | None, who: str | None, server_key: str | None) -> bytes:
    """Return the evidence that a server shows, whatever a policy says of it."""
    from bastion import Connection

    where, key = server_of(endpoint, server_key)
    with Connection(where, identity=find_identity(who), server_key=key, attestation=Pinned(look=True)) as connection:
        evidence = connection.attestation.evidence
    if not evidence:
        msg = "The server shows no evidence."
        raise InputError(
            msg,
            code="input.attestation.none",
            next_step="Its operator starts it with --attest auto, on hardware that can.",
        )
    return evidence


def _measured(endpoint: str | None, who: str | None, server_key: str | None) -> Verdict:
    """Return what a server measures now."""
    now = time.time()
    evidence = _shown(endpoint, who, server_key)
    verdict = verify(
        evidence,
        AttestationPolicy(unattested=True),
        report_data=None,
        now=now,
        collateral=cached(evidence, now) or NO_COLLATERAL,
    )
    if verdict.claims is None:
        raise AttestationError(
            "The server's evidence cannot be believed.", code=verdict.codes[0],
            reason=" ".join(f.sentence for f in verdict.failures), next_step=verdict.failures[0].next_step,
        )  # fmt: skip
    return verdict


def _starter(verdict: Verdict | None) -> str:
    """Return the text of a policy: of one server's measurement, or one to fill in."""
    head = "# Attestation policy: what a server must prove before anything is sent to it.\n"
    claims = None if verdict is None else verdict.claims
    if claims is None:
        examples = "".join(
            f'#[{platform}]\n#measurements = ["<{DIGITS[platform]} hexadecimal digits>"]\n'
            for platform in ("sev-snp", "tdx", "nitro")
        )
        return (
            head
            + "# A platform without a section is not allowed. The measurement is told by who built the image.\nunattested = false\n\n"
            + examples
        )
    if claims.platform == "simulated":
        return head + "# That server shows a simulation, which proves nothing: for trials alone.\nunattested = true\n"
    section = PlatformPolicy(
        measurements=(claims.measurement,), minimum_tcb=dict(claims.tcb) if claims.platform == "sev-snp" else {}
    )
    policy = AttestationPolicy(**{claims.platform.replace("-", "_"): section})  # type: ignore[arg-type]
    return head + "# As one server measured when this was written: right only if that one was.\n" + policy.to_toml()


def _pin(path: Path) -> None:
    import tomli_w

    profile = {**read_profile(), "attestation": str(path.expanduser().absolute())}
    profile_path().parent.mkdir(parents=True, exist_ok=True)
    profile_path().write_text(tomli_w.dumps(profile), encoding="utf-8")


def _show(found: Attestation, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
        return
    console.print(attestation_text(found), markup=False, soft_wrap=True)


def _read(path: Path) -> bytes:
    with path.open("rb") as opened:
        data = opened.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE:
        msg = f"{path.name} is larger than any evidence."
        raise InputError(msg, code="input.file.large")
    return data


def _write(path: Path, data: bytes) -> None:
    try:
        write_new(path, data, mode=0o644)
    except FileExistsError:
        msg = f"There is already a file {path.name}."
        raise InputError(msg, code="input.file.exists", next_step="Name another one.") from None
    except OSError as error:
        msg = f"{path.name} cannot be written."
        raise InputError(msg, code="input.file", reason=f"{error.strerror or type(error).__name__}.") from None


def _platform_of(data: bytes) -> str | None:
    """Return whose bare report or quote a file is, where its beginning tells; None for evidence as `--save` writes it."""
    from bastion_tee.snp.hcl import MAGIC
    from bastion_tee.snp.report import LENGTH

    if len(data) == LENGTH or data.startswith(MAGIC):
        return "sev-snp"
    return {b"\3\0\2\0\0\0\0\0": "sgx", b"\4\0\2\0\x81\0\0\0": "tdx", b"\5\0\2\0\x81\0\0\0": "tdx"}.get(data[:8])


def _hex(given: str | None) -> bytes | None:
    if given is None:
        return None
    try:
        data = bytes.fromhex(given)
    except ValueError:
        data = b""
    if len(data) != 64:
        msg = "Report data are 64 bytes, in 128 hexadecimal digits."
        raise InputError(msg, code="input.attestation.report-data")
    return data


def _now(given: str | None) -> float:
    if given is None:
        return time.time()
    from datetime import UTC, datetime

    try:
        return float(given)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        msg = f"{given!r} is no date."
        raise InputError(msg, code="input.date", next_step="Write it like 2026-01-31T12:00:00Z.") from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


COMMANDS: tuple[Any, ...] = (attest,)
