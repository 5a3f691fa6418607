"""What each vendor publishes, and where: AMD's key distribution service, and Intel's provisioning certification service.

Sources: AMD 57230 (addresses of VCEKs, chains and lists); Intel's API of the provisioning certification service, version 4.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.parse import unquote

from bastion_plan.errors import AttestationError
from cryptography import x509

from bastion_tee.collateral import Answer, Cache, Kind
from bastion_tee.evidence import Evidence
from bastion_tee.roots import Collateral
from bastion_tee.snp import hcl, tcb
from bastion_tee.snp.certificates import Certificate
from bastion_tee.snp.crl import RevocationList
from bastion_tee.snp.report import VLEK, Report
from bastion_tee.snp.sources import certificates
from bastion_tee.verdict import Refused

KDS = "https://kdsintf.amd.com"
PCS = "https://api.trustedservices.intel.com"
INTEL_ROOT_CRL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
DAY = 86_400.0


def _of_amd(read: Callable[[bytes], float]) -> Callable[[Answer], float]:
    def ends(answer: Answer) -> float:
        try:
            return read(answer.body)
        except Refused as error:
            raise ValueError from error

    return ends


def _certificates_end(body: bytes) -> float:
    return min((Certificate.read(der).not_after for der in certificates([body])), default=0.0)


#: a VCEK never changes: it is of one chip and its security versions
VCEK = Kind(365 * DAY, _of_amd(_certificates_end))
CHAIN = Kind(30 * DAY, _of_amd(_certificates_end))
AMD_CRL = Kind(DAY, _of_amd(lambda body: RevocationList.read(body).next_update))


def collateral_of(cache: Cache, evidence: Evidence, now: float) -> Collateral:
    """Return what a client needs beside evidence of any platform, from the cache or its vendor; Nitro needs nothing.

    Args:
        cache: where it is looked for first. evidence: as a server shows it; nothing of it is checked here. now: seconds since 1970.

    Raises:
        AttestationError: tee.collateral.*
    """
    match evidence.platform:
        case "sev-snp":
            return amd(cache, evidence, now)
        case "tdx" | "sgx":
            from bastion_tee import dcap

            try:
                fmspc, authority = dcap.origin(evidence)
            except Refused as refused:
                raise _unasked(refused.failure.sentence) from None
            return intel(cache, evidence.platform, fmspc, authority, now)
    return Collateral()


def amd(cache: Cache, evidence: Evidence, now: float) -> Collateral:
    """Return what a client needs beside evidence of SEV-SNP: VCEK (if it is not with the evidence), authorities, revocation list.

    A VLEK is given to clouds alone: it must be with the evidence.

    Raises:
        AttestationError: tee.collateral.*
    """
    try:
        report = Report.read(hcl.unwrap(evidence.report)[0])
        shown = [Certificate.read(der) for der in certificates(evidence.certificates)]
    except Refused as refused:
        raise _unasked(refused.failure.sentence) from None
    lines = _lines(report, shown)
    needed: list[bytes] = []
    if report.signer != VLEK and not any(one.name == "SEV-VCEK" for one in shown):
        if not any(report.chip_id):
            raise _unasked("The report hides which chip it is of.")
        line, vcek = _vcek(cache, lines, report, now)
        lines, needed = [line], [vcek]
    path = f"{KDS}/{'vlek' if report.signer == VLEK else 'vcek'}/v1/{lines[0]}"
    needed.append(cache.get(f"{path}/cert_chain", CHAIN, now).body)
    return Collateral(tuple(needed), (cache.get(f"{path}/crl", AMD_CRL, now).body,))


def vcek_url(report: Report, line: str) -> str:
    """Return where AMD publishes the VCEK of a report, were it of a processor line."""
    found = tcb.parts(report.tcbs["reported"], line)
    names = {"fmc": "fmcSPL", "boot_loader": "blSPL", "tee": "teeSPL", "snp": "snpSPL", "microcode": "ucodeSPL"}
    asked = "&".join(f"{names[part]}={value:02d}" for part, value in found.items())
    return f"{KDS}/vcek/v1/{line}/{report.chip_id[: tcb.CHIP[line]].hex()}?{asked}"


def _vcek(cache: Cache, lines: Sequence[str], report: Report, now: float) -> tuple[str, bytes]:
    """Return the VCEK, and the first line that has it."""
    for line in lines[:-1]:
        try:
            return line, cache.get(vcek_url(report, line), VCEK, now).body
        except AttestationError:
            continue
    return lines[-1], cache.get(vcek_url(report, lines[-1]), VCEK, now).body


def _lines(report: Report, shown: Sequence[Certificate]) -> list[str]:
    """Return which lines a report may be of: it says so from version 3 on, its certificate does, or only its chip's length."""
    if report.cpu is not None:
        named = [tcb.line_of(report.cpu)]
    else:
        leaves = [one for one in shown if one.name in ("SEV-VCEK", "SEV-VLEK")]
        named = [one.above.removeprefix("SEV-").removeprefix("VLEK-") for one in leaves]
    known = [line for line in named if line in tcb.LAYOUTS]
    if known:
        return known[:1]
    if report.cpu is not None or report.signer == VLEK:
        raise _unasked("It is not known which processor line the report is of.")
    return ["Milan", "Genoa"] if any(report.chip_id[tcb.CHIP["Turin"] :]) else ["Turin"]


def _unasked(reason: str) -> AttestationError:
    return AttestationError(
        "It cannot be told what to ask the vendor for.",
        code="tee.collateral.unnamed",
        reason=reason,
        next_step="Give the certificates with `--certificate`, or ask the server's operator.",
    )


def _dated(key: str) -> Callable[[Answer], float]:
    def ends(answer: Answer) -> float:
        statement, _ = _signed(answer, key)
        try:
            when = datetime.fromisoformat(json.loads(statement)["nextUpdate"])
            return when.timestamp() if when.tzinfo else 0.0
        except (KeyError, TypeError) as error:
            raise ValueError from error

    return ends


def _signed(answer: Answer, key: str) -> tuple[str, str]:
    """Return a statement of Intel's and its signature: the statement as it stands, since the signature is over its bytes."""
    try:
        text = answer.body.decode()
        start = f'{{"{key}":'
        if not text.startswith(start):
            raise ValueError
        _, end = json.JSONDecoder().raw_decode(text, len(start))
        signature = json.loads("{" + text[end:].removeprefix(","))["signature"]
        return text[len(start) : end], bytes.fromhex(signature).hex()
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError from error


def _list_ends(answer: Answer) -> float:
    found = x509.load_der_x509_crl(answer.body).next_update_utc
    return found.timestamp() if found is not None else 0.0


_TCB_CHAINS = ("tcb-info-issuer-chain", "sgx-tcb-info-issuer-chain")
_QE_CHAIN, _PCK_CHAIN = "sgx-enclave-identity-issuer-chain", "sgx-pck-crl-issuer-chain"
TCB_INFO = Kind(DAY, _dated("tcbInfo"), _TCB_CHAINS)
QE_IDENTITY = Kind(DAY, _dated("enclaveIdentity"), (_QE_CHAIN,))
PCK_CRL = Kind(DAY, _list_ends, (_PCK_CHAIN,))
ROOT_CRL = Kind(DAY, _list_ends)


def intel(cache: Cache, platform: str, fmspc: str, authority: str, now: float) -> Collateral:
    """Return what a client needs beside a quote of TDX or SGX, as dcap-qvl reads it.

    Args:
        cache: where it is looked for first.
        platform: "tdx" or "sgx". fmspc: of the quote's certificate, 12 hexadecimal digits.
        authority: that issued it: "platform" or "processor". now: seconds since 1970.

    Raises:
        AttestationError: tee.collateral.*
    """
    if platform not in ("tdx", "sgx") or authority not in ("platform", "processor") or not _is_fmspc(fmspc):
        raise _unasked("The quote's certificate names no platform.")
    base = f"{PCS}/{platform}/certification/v4"
    info = cache.get(f"{base}/tcb?fmspc={fmspc.upper()}", TCB_INFO, now)
    identity = cache.get(f"{base}/qe/identity?update=standard", QE_IDENTITY, now)
    pck = cache.get(f"{PCS}/sgx/certification/v4/pckcrl?ca={authority}&encoding=der", PCK_CRL, now)
    root = cache.get(INTEL_ROOT_CRL, ROOT_CRL, now)
    tcb_info, tcb_signature = _signed(info, "tcbInfo")
    qe_identity, qe_signature = _signed(identity, "enclaveIdentity")
    found = {
        "pck_crl_issuer_chain": _chain(pck, _PCK_CHAIN), "root_ca_crl": root.body.hex(), "pck_crl": pck.body.hex(),
        "tcb_info_issuer_chain": _chain(info, *_TCB_CHAINS), "tcb_info": tcb_info, "tcb_info_signature": tcb_signature,
        "qe_identity_issuer_chain": _chain(identity, _QE_CHAIN), "qe_identity": qe_identity, "qe_identity_signature": qe_signature,
    }  # fmt: skip
    return Collateral(dcap=json.dumps(found).encode())


def _is_fmspc(text: str) -> bool:
    return len(text) == 12 and all(digit in "0123456789abcdefABCDEF" for digit in text)


def _chain(answer: Answer, *names: str) -> str:
    """Return the chain of a header, which is PEM as part of an address; "" where there is none."""
    return next((unquote(answer.headers[name]) for name in names if name in answer.headers), "")
