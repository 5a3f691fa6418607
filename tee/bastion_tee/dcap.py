"""Intel TDX and SGX: quotes of versions 3, 4 and 5, checked by `dcap_qvl` under a strict policy, and beside it.

`dcap_qvl` proves that the quote comes from an enclave of Intel's on a platform that Intel certified, and finds the state of that
platform. What must hold is asked of it (`QuotePolicy.strict`; its plain `verify` lets any state but Revoked pass), and then looked at
here again: the root, the dates and the state of every part. A guest in debug mode is refused whatever a policy says: `dcap_qvl` has no way to
let one pass, and there is no need for one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec

from bastion_tee import dcap_collateral, dcap_reasons
from bastion_tee.evidence import Evidence
from bastion_tee.policy import STATES, PlatformPolicy
from bastion_tee.roots import Collateral, Roots
from bastion_tee.snp import hcl
from bastion_tee.verdict import Claims, Failure, Refused

#: bytes of a quote: real ones have 4,600 to 8,000
MAX_QUOTE = 1 << 16
_TEE = {0x00: "sgx", 0x81: "tdx"}
#: bytes of a report by its class in `dcap_qvl`
_BODY = {"PySgxEnclaveReport": 384, "PyTdReport10": 584, "PyTdReport15": 648, "PyTdReport15Ex": 885}
#: of TDX: names of measurements -> of fields of the report
_TDX = {
    "mrtd": "mr_td", "rtmr0": "rt_mr0", "rtmr1": "rt_mr1", "rtmr2": "rt_mr2", "rtmr3": "rt_mr3", "mr_seam": "mr_seam",
    "mr_config_id": "mr_config_id", "mr_owner": "mr_owner", "mr_owner_config": "mr_owner_config",
}  # fmt: skip
_SGX = {"mrenclave": "mr_enclave", "mrsigner": "mr_signer"}
#: states that say: the guest was started on an old TDX module, which was renewed beneath it since; and what they mean of each part
_RELAUNCH: dict[str, dict[str, set[str]]] = {
    "TDRelaunchAdvised": {"platform": {"OutOfDate"}},
    "TDRelaunchAdvisedConfigurationNeeded": {
        "platform": {"OutOfDate", "OutOfDateConfigurationNeeded"}, "now": {"ConfigurationNeeded"},
    },
}  # fmt: skip
#: seconds: an old platform is let pass only where a policy names that state, and then for any age
_ANY_AGE = 1 << 62


def check(
    evidence: Evidence, asked: PlatformPolicy, now: float, collateral: Collateral, roots: Roots
) -> tuple[Claims, list[Failure]]:
    """Check a TDX or SGX quote: what it says, and which checks of Intel's part failed.

    Collateral that the client has counts; only where it has none does what came with the evidence.

    Raises:
        Refused: tee.dcap.*, tee.policy.debug: nothing of the quote is to be believed.
    """
    library, quote = _library(), evidence.report
    parsed = _parse(library, quote)
    # version 5 says twice what it is of: before the report, and with the report
    body = "sgx" if hasattr(parsed.report, "mr_enclave") else "tdx"
    if (_TEE.get(parsed.header.tee_type), body) != (evidence.platform, evidence.platform):
        raise Refused("tee.dcap.kind", body)
    _check_whole(parsed, quote)
    # it is not known yet who says so, but none that says so could pass
    if _debug(evidence.platform, parsed.report):
        raise Refused("tee.policy.debug")
    read = dcap_collateral.read(collateral.dcap or evidence.collateral, _guard(parsed.cert_chain_pem_bytes))
    # INVARIANT: every chain ends in the pinned key; which root `dcap_qvl` holds is not what is trusted
    if read.roots != {roots.intel}:
        raise Refused("tee.dcap.root")
    # INVARIANT: all of it holds now; what has expired may have been revoked since. The dates of the certificates are looked at before
    # their signatures are, which is as good: a date that was changed breaks the signature. Nor may `now` be no number
    if not read.window.not_before <= now < read.window.not_after:
        raise Refused("tee.dcap.dates", _span(read.window))
    found, failures = _verify(library, quote, read.json, asked, int(now), roots.intel_der)
    if hashlib.sha384(read.root_point).digest() != bytes(found["platform"]["root_key_id"]):
        raise Refused("tee.dcap.root", "another than the chain shows")
    for failure in _appraise(found, asked):
        failures[failure.code] = failure
    return _claims(evidence.platform, found, read.window), list(failures.values())


def origin(evidence: Evidence) -> tuple[str, str]:
    """Return what a quote's collateral is fetched by: the platform's FMSPC, and who certified it ("platform" or "processor").

    Nothing of it is checked: it says what to ask Intel for (`vendors.intel`).

    Raises:
        Refused: tee.dcap.missing, tee.dcap.quote.
    """
    parsed = _parse(_library(), evidence.report)
    try:
        return _guard(parsed.fmspc), _guard(parsed.ca)
    except ValueError:
        raise Refused("tee.dcap.quote", "no certificates of the platform") from None


def _library() -> ModuleType:
    try:
        import dcap_qvl  # type: ignore[import-untyped]
    except ImportError:
        raise Refused("tee.dcap.missing") from None
    module: ModuleType = dcap_qvl
    return module


def _guard(call: Callable[[], Any]) -> Any:
    """Return what a call gives. Raises ValueError as it comes; Refused for a panic in Rust, which is no `Exception`."""
    try:
        return call()
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise Refused("tee.dcap.unforeseen", "dcap-qvl stopped") from None
        raise


def _parse(library: ModuleType, quote: bytes) -> Any:
    if quote.startswith(hcl.MAGIC):
        raise Refused("tee.dcap.hcl")
    if len(quote) > MAX_QUOTE:
        raise Refused("tee.dcap.quote", f"{len(quote)} bytes")
    try:
        return _guard(lambda: library.parse_quote(quote))
    except ValueError:
        raise Refused("tee.dcap.quote") from None


def _debug(kind: str, report: Any) -> bool:
    """Return whether the host may read the guest: bit 0 of a TD's attributes, bit 1 of an enclave's."""
    return bool(report.td_attributes[0] & 0x01 if kind == "tdx" else report.attributes[0] & 0x02)


def _check_whole(parsed: Any, quote: bytes) -> None:
    """Refuse what is neither signed nor looked at by `dcap_qvl`: another kind of frame, and bytes after the certificates.

    Platforms fill quotes up with zeros, and nothing else has a place there.
    """
    version = parsed.header.version
    signed = 48 + (6 if version == 5 else 0) + _BODY[type(parsed.report).__name__]
    # a length, a signature and its key; from version 4 on the enclave's report and what follows come in a frame of kind 6
    at = signed + 4 + 128
    if version != 3:
        if quote[at : at + 2] != b"\x06\x00":
            raise Refused("tee.dcap.quote", "another kind of certification")
        at += 6
    at += 384 + 64
    at += 2 + int.from_bytes(quote[at : at + 2], "little")
    at += 6 + int.from_bytes(quote[at + 2 : at + 6], "little")
    if quote.count(0, at) != len(quote[at:]):
        raise Refused("tee.dcap.quote", "bytes after the end")


def _verify(
    library: ModuleType, quote: bytes, collateral: str, asked: PlatformPolicy, now: int, root: bytes
) -> tuple[dict[str, Any], dict[str, Failure]]:
    """Return what `dcap_qvl` makes of a quote, and what of the policy it does not meet."""
    try:
        given = library.QuoteCollateralV3.from_json(collateral)
    except ValueError:
        raise Refused("tee.dcap.collateral", "unreadable") from None
    verifier = library.QuoteVerifier(root or None)

    def ask(policy: Any) -> dict[str, Any]:
        found = _guard(lambda: verifier.verify_with_policy(quote, given, now, policy))
        claims: dict[str, Any] = msgspec.json.decode(found.to_json())
        return claims

    try:
        return ask(_strict(library, asked, now)), {}
    except ValueError as error:
        code = dcap_reasons.appraisal(str(error))
    try:
        if code is not None:
            return ask(library.QuotePolicy.claims_only(now)), {code: Failure(code)}
        # the same again, for the whole of the reason: with a policy only its first line is told
        if root:
            library.verify_with_root_ca(quote, given, root, now)
        else:
            library.verify(quote, given, now)
    except ValueError as error:
        # with RUST_BACKTRACE set, names of functions follow
        raise Refused(dcap_reasons.refusal(str(error).partition("Stack backtrace")[0])) from None
    raise Refused("tee.dcap.unforeseen")


def _strict(library: ModuleType, asked: PlatformPolicy, now: int) -> Any:
    """Return the policy of `dcap_qvl` for what is asked: UpToDate and nothing else, unless it is named."""
    policy = library.QuotePolicy.strict(now).allow_dynamic_platform(asked.dynamic_platform).allow_smt(asked.smt)
    # Intel's registration service holds keys of platforms of several packages: it says nothing about the guest
    policy = policy.allow_cached_keys(True)
    for state in set(asked.status) & set(STATES):
        policy = policy.allow_status(state)
        if state.startswith("OutOfDate"):
            policy = policy.platform_grace_period(_ANY_AGE).qe_grace_period(_ANY_AGE)
        elif state in _RELAUNCH:
            policy = policy.platform_grace_period(_ANY_AGE)
    return policy


def _appraise(found: dict[str, Any], asked: PlatformPolicy) -> list[Failure]:
    """The policy once more, on what was found. Every part's state must be an allowed one, not only what Intel merges them to."""
    platform, failures = found["platform"], []
    parts = {
        "platform": platform["tcb_level"]["tcbStatus"],
        "now": (platform["current_tcb_level"] or platform["tcb_level"])["tcbStatus"],
        "quoting enclave": found["qe"]["tcb_level"]["tcbStatus"],
    }
    merged, allowed = found["tcb"]["status"], {"UpToDate", *asked.status}
    meant = _RELAUNCH.get(merged, {})
    worse = [f"{name}: {state}" for name, state in parts.items() if state not in allowed | meant.get(name, set())]
    if merged not in asked.status or worse:
        failures.append(Failure("tee.dcap.status", "; ".join(worse) if merged in asked.status else merged))
    flags = platform["pck"]
    if not asked.dynamic_platform and flags["dynamic_platform"] not in ("False", "Undefined"):
        failures.append(Failure("tee.dcap.dynamic-platform"))
    if not asked.smt and flags["smt_enabled"] not in ("False", "Undefined"):
        failures.append(Failure("tee.dcap.smt"))
    return failures


def _claims(kind: str, found: dict[str, Any], window: dcap_collateral.Window) -> Claims:
    """Return what the quote says, as far as it is signed."""
    platform = found["platform"]
    pck, body = platform["pck"], _flat(found["report"])
    flags: dict[str, bool | int | str] = {
        "quote_version": found["header"]["version"],
        "fmspc": bytes(pck["fmspc"]).hex(),
        "tcb_date": platform["tcb_level"]["tcbDate"],
        "quoting_enclave_status": found["qe"]["tcb_level"]["tcbStatus"],
    }
    for name, field in (
        ("dynamic_platform", "dynamic_platform"),
        ("smt", "smt_enabled"),
        ("cached_keys", "cached_keys"),
    ):
        # Intel says nothing of platforms of one package: then neither do we
        if pck[field] != "Undefined":
            flags[name] = pck[field] == "True"
    tcb = {"evaluation": found["tcb"]["eval_data_number"], "pce_svn": pck["pce_svn"]}
    if kind == "tdx":
        names, measurement = _TDX, body["mr_td"]
        # byte 1 is the module's version, byte 0 its security version: 0x0105 is the fifth of the first
        tcb["tee_tcb_svn"] = int.from_bytes(bytes.fromhex(body["tee_tcb_svn"])[:2], "little")
        flags |= {name: body[name] for name in ("tee_tcb_svn", "tee_tcb_svn2", "td_attributes", "xfam") if name in body}
        # all of TUD, bits 0 to 7: profiling shows as much as debugging does
        debug = bytes.fromhex(body["td_attributes"])[0] != 0
    else:
        names, measurement = _SGX, body["mr_enclave"]
        tcb |= {"isv_svn": body["isv_svn"], "isv_prod_id": body["isv_prod_id"]}
        flags["attributes"] = body["attributes"]
        debug = bool(bytes.fromhex(body["attributes"])[0] & 0x02)
    return Claims(
        platform=kind,
        measurement=measurement,
        measurements={name: body[field] for name, field in names.items()},
        report_data=bytes.fromhex(body["report_data"]),
        debug=debug,
        tcb=tcb,
        tcb_status=found["tcb"]["status"],
        advisories=tuple(found["tcb"]["advisory_ids"]),
        chip=bytes(pck["ppid"]).hex(),
        flags=flags,
        not_before=max(window.not_before, float(found["latest_issue_date"])),
        not_after=min(window.not_after, float(found["earliest_expiration_date"])),
    )


def _flat(report: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a report: later ones hold earlier ones as their `base`."""
    (body,) = report.values()
    while "base" in body:
        body = {**body.pop("base"), **body}
    return body  # type: ignore[no-any-return]


def _span(window: dcap_collateral.Window) -> str:
    return f"it holds from {dcap_collateral.utc(window.not_before)} to {dcap_collateral.utc(window.not_after)}"
