"""Quotes of TDX and SGX: a platform of our own wrong in every way that there is a code for, and real quotes."""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import dcap_qvl
import pytest
from bastion_tee import dcap, dcap_collateral, dcap_reasons
from bastion_tee.codes import CHECKS
from bastion_tee.evidence import Evidence
from bastion_tee.pins import PINNED
from bastion_tee.policy import AttestationPolicy, PlatformPolicy
from bastion_tee.roots import Collateral, Roots
from bastion_tee.verdict import Claims, Failure, Refused
from bastion_tee.verify import verify
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from tee_intel import CPU_SVN, END, NOW, START, Intel, enclave, rfc, td
from tee_vectors import at, needs_vectors, vector

WORLD = Intel()
SVN2 = bytes([6, 1, 3]) + bytes(13)
#: TEE_TCB_SVN2 and MRSERVICETD of TDX 1.5; and what 1.5 with more has beside
TAIL15 = SVN2 + bytes(48)
TAIL15_MORE = TAIL15 + bytes(885 - 648)


def ask(
    quote: bytes,
    collateral: bytes,
    kind: str = "tdx",
    *,
    now: float = NOW,
    roots: Roots = WORLD.roots,
    own: bytes = b"",
    **asked: Any,
) -> tuple[Claims, list[Failure]]:
    evidence = Evidence(kind, quote, collateral=collateral)
    return dcap.check(evidence, PlatformPolicy(**asked), now, Collateral(dcap=own), roots)


def codes(*args: Any, **named: Any) -> list[str]:
    """The codes that a check gives, whichever way."""
    try:
        return [f.code for f in ask(*args, **named)[1]]
    except Refused as refused:
        return [refused.failure.code]


# -- what is right -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "version"),
    [
        ({}, 4),
        ({"version": 5, "body_type": 2}, 5),
        ({"version": 5, "body_type": 3, "tail": TAIL15}, 5),
        ({"version": 5, "body_type": 4, "tail": TAIL15_MORE}, 5),
    ],
    ids=["v4", "v5 of 1.0", "v5 of 1.5", "v5 of 1.5 with more"],
)
def test_a_trust_domain(more: dict[str, Any], version: int) -> None:
    data = bytes(range(64))
    claims, failures = ask(WORLD.quote(report_data=data, **more), WORLD.collateral())
    assert failures == []
    assert claims.platform == "tdx" and claims.measurement == claims.measurements["mrtd"] == "55" * 48
    assert [claims.measurements[f"rtmr{i}"] for i in range(4)] == [f"6{i}" * 48 for i in range(4)]
    names = ("mr_seam", "mr_config_id", "mr_owner", "mr_owner_config")
    assert [claims.measurements[name][:2] for name in names] == ["66", "70", "71", "72"]
    assert claims.report_data == data and not claims.debug
    # the module's version is byte 1, and the lower of the two statements' numbers counts
    assert claims.tcb == {"tee_tcb_svn": 0x0106, "pce_svn": 11, "evaluation": 17}
    assert claims.tcb_status == "UpToDate" and claims.advisories == () and claims.chip == "11" * 16
    assert (claims.not_before, claims.not_after) == (START, END)
    assert claims.flags["quote_version"] == version and claims.flags["fmspc"] == "b0c06f000000"
    assert (claims.flags["dynamic_platform"], claims.flags["smt"], claims.flags["cached_keys"]) == (False, False, True)
    assert ("tee_tcb_svn2" in claims.flags) == ("tail" in more)


def test_an_enclave() -> None:
    world = Intel(flags=None)
    claims, failures = ask(world.quote("sgx", svn=9, product=3), world.collateral("SGX"), "sgx")
    assert failures == []
    assert claims.measurement == "33" * 32 and claims.measurements == {"mrenclave": "33" * 32, "mrsigner": "44" * 32}
    assert claims.tcb == {"isv_svn": 9, "isv_prod_id": 3, "pce_svn": 11, "evaluation": 17}
    # of a platform of one package Intel says nothing, and then no flag is told
    assert not {"smt", "dynamic_platform", "cached_keys"} & set(claims.flags)


def test_the_whole_way_to_a_verdict() -> None:
    data = b"\x99" * 64
    evidence = Evidence("tdx", WORLD.quote(report_data=data), collateral=WORLD.collateral())
    text = "[tdx]\nmeasurements = ['{}']\nminimum_tcb = {{ tee_tcb_svn = {}, evaluation = 17 }}"
    for mrtd, svn, found in (
        ("55", 0x0106, ()),
        ("56", 0x0106, ("tee.policy.measurement",)),
        ("55", 0x0107, ("tee.policy.tcb",)),
    ):
        policy = AttestationPolicy.from_toml(text.format(mrtd * 48, svn))
        verdict = verify(evidence, policy, report_data=data, now=NOW, roots=WORLD.roots)
        assert verdict.codes == found and verdict.attested == (found == ())
    verdict = verify(evidence.encode(), policy, report_data=bytes(64), now=NOW, roots=WORLD.roots)
    assert verdict.codes == ("tee.policy.tcb", "tee.policy.report-data")


# -- what is wrong: each with its code ------------------------------------------------------------------------------------


def tcb(**other: Any) -> bytes:
    return WORLD.collateral(tcb_info=WORLD.tcb_info() | other)


def identity(**other: Any) -> bytes:
    return WORLD.collateral(qe_identity=WORLD.qe_identity() | other)


def levels(world: Intel, **other: Any) -> list[dict[str, Any]]:
    """The one level of states, otherwise in what is told."""
    level = world.tcb_info()["tcbLevels"][0]
    return [level | {"tcb": level["tcb"] | other}]


def modules(**other: Any) -> list[dict[str, Any]]:
    return [WORLD.tcb_info()["tdxModuleIdentities"][0] | other]


def other_algorithm() -> str:
    """The platform's certificate with SHA-384 in its outer algorithm."""
    der = WORLD.certificates["pck"].public_bytes(Encoding.DER)
    inner, _, outer = der.rpartition(bytes.fromhex("2a8648ce3d040302"))
    changed = x509.load_der_x509_certificate(inner + bytes.fromhex("2a8648ce3d040303") + outer)
    return changed.public_bytes(Encoding.PEM).decode()


def changed_root() -> str:
    """The root with one bit of its signature changed."""
    der = bytearray(WORLD.certificates["root"].public_bytes(Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_certificate(bytes(der)).public_bytes(Encoding.PEM).decode()


REVOKED = {name: Intel(revoked=(name,)) for name in ("ca", "pck", "tcb")}
STRANGER = Intel(tag="stranger ")
ATTRIBUTES = 1 << 28  # SEPT_VE_DISABLE alone
NO_END = WORLD.qe_identity()["issueDate"][:-1]

#: name -> quote, collateral, code
WRONG: dict[str, tuple[Callable[[], bytes], Callable[[], bytes], str]] = {
    "empty": (bytes, WORLD.collateral, "tee.dcap.quote"),
    "cut": (lambda: WORLD.quote()[:-500], WORLD.collateral, "tee.dcap.quote"),
    "huge": (lambda: WORLD.quote() + bytes(1 << 16), WORLD.collateral, "tee.dcap.quote"),
    "more after the end": (lambda: WORLD.quote() + b"\0\0x", WORLD.collateral, "tee.dcap.quote"),
    "more within the frame": (lambda: WORLD.quote(inside=b"\0x"), WORLD.collateral, "tee.dcap.quote"),
    "another frame": (lambda: WORLD.quote(frame=7), WORLD.collateral, "tee.dcap.quote"),
    "a certificate whose two algorithms differ": (
        lambda: WORLD.quote(chain=other_algorithm() + WORLD.chain("ca", "root")), WORLD.collateral, "tee.dcap.quote"),
    "a frame of Azure's": (lambda: b"HCLA" + WORLD.quote(), WORLD.collateral, "tee.dcap.hcl"),
    "version 6": (lambda: WORLD.quote(version=6), WORLD.collateral, "tee.dcap.quote"),
    "P-384": (lambda: WORLD.quote(key_type=3), WORLD.collateral, "tee.dcap.quote"),
    "own data of another length": (lambda: WORLD.quote(auth=b"x"), WORLD.collateral, "tee.dcap.quote"),
    "an enclave": (lambda: WORLD.quote("sgx"), WORLD.collateral, "tee.dcap.kind"),
    "no collateral": (WORLD.quote, bytes, "tee.dcap.collateral"),
    "huge collateral": (WORLD.quote, lambda: WORLD.collateral() + b" " * (1 << 19), "tee.dcap.collateral"),
    "no JSON": (WORLD.quote, lambda: b"{", "tee.dcap.collateral"),
    "no UTF-8": (WORLD.quote, lambda: b'"\xff"', "tee.dcap.collateral"),
    "more in the JSON": (WORLD.quote, lambda: WORLD.collateral(more="x"), "tee.dcap.collateral"),
    "a part missing": (WORLD.quote, lambda: WORLD.collateral(pck_crl=None), "tee.dcap.collateral"),
    "no hexadecimal": (WORLD.quote, lambda: WORLD.collateral(pck_crl="zz"), "tee.dcap.collateral"),
    "no signature": (WORLD.quote, lambda: WORLD.collateral(tcb_info_signature=""), "tee.dcap.collateral"),
    "signature of odd digits": (WORLD.quote, lambda: WORLD.collateral(tcb_info_signature="abc"), "tee.dcap.collateral"),
    "a chain of one": (
        WORLD.quote, lambda: WORLD.collateral(tcb_info_issuer_chain=WORLD.chain("root")), "tee.dcap.collateral"),
    "a chain of five": (
        lambda: WORLD.quote(chain=WORLD.chain("pck", "ca", "ca", "ca", "root")), WORLD.collateral, "tee.dcap.collateral"),
    "no certificate": (
        WORLD.quote, lambda: WORLD.collateral(tcb_info_issuer_chain="-----BEGIN x" * 2), "tee.dcap.collateral"),
    "no chain at all": (lambda: WORLD.quote(certification=3), WORLD.collateral, "tee.dcap.collateral"),
    "a date without a zone": (WORLD.quote, lambda: identity(issueDate=NO_END), "tee.dcap.collateral"),
    "an end without a zone": (WORLD.quote, lambda: identity(nextUpdate=rfc(END)[:-1]), "tee.dcap.collateral"),
    "of another kind": (WORLD.quote, lambda: WORLD.collateral("SGX"), "tee.dcap.collateral"),
    "TCB info of another kind": (
        WORLD.quote, lambda: WORLD.collateral(tcb_info=WORLD.tcb_info("SGX")), "tee.dcap.collateral"),
    "of another platform": (WORLD.quote, lambda: tcb(fmspc="00" * 6), "tee.dcap.collateral"),
    "FMSPC of no digits": (WORLD.quote, lambda: tcb(fmspc="zz" * 6), "tee.dcap.collateral"),
    "TCB info of no form": (WORLD.quote, lambda: tcb(tcbLevels=7), "tee.dcap.collateral"),
    "identity of no form": (WORLD.quote, lambda: identity(tcbLevels=7), "tee.dcap.collateral"),
    "a level of no form": (
        WORLD.quote, lambda: tcb(tcbLevels=levels(WORLD, tdxtcbcomponents=[])), "tee.dcap.collateral"),
    "no levels of the enclave": (WORLD.quote, lambda: identity(tcbLevels=[]), "tee.dcap.collateral"),
    "a state there is not": (WORLD.quote, Intel(status="TDRelaunchAdvised").collateral, "tee.dcap.collateral"),
    "no module": (WORLD.quote, lambda: tcb(tdxModule=None), "tee.dcap.collateral"),
    "a module of no form": (WORLD.quote, lambda: tcb(tdxModuleIdentities=modules(mrsigner="00")), "tee.dcap.collateral"),
    "another's list": (WORLD.quote, lambda: WORLD.collateral(pck_crl=STRANGER.crl("ca", ()).hex()), "tee.dcap.collateral"),
    "another's root": (STRANGER.quote, STRANGER.collateral, "tee.dcap.root"),
    "statements of another root": (
        WORLD.quote, lambda: WORLD.collateral(tcb_info_issuer_chain=STRANGER.chain("tcb", "root")), "tee.dcap.root"),
    "a chain without its root": (lambda: WORLD.quote(chain=WORLD.chain("pck", "ca")), WORLD.collateral, "tee.dcap.root"),
    "a changed root": (
        lambda: WORLD.quote(chain=WORLD.chain("pck", "ca") + changed_root()), WORLD.collateral, "tee.dcap.root"),
    "a changed root of a list": (
        WORLD.quote, lambda: WORLD.collateral(pck_crl_issuer_chain=WORLD.chain("ca") + changed_root()), "tee.dcap.root"),
    "signature of the quote": (lambda: WORLD.quote(wrong="quote"), WORLD.collateral, "tee.dcap.signature"),
    "signature of the enclave": (lambda: WORLD.quote(wrong="qe"), WORLD.collateral, "tee.dcap.signature"),
    "another attestation key": (lambda: WORLD.quote(wrong="attestation"), WORLD.collateral, "tee.dcap.signature"),
    "signature of TCB info": (
        WORLD.quote, lambda: WORLD.collateral(tcb_info_signature="11" * 64), "tee.dcap.signature"),
    "signature of the identity": (
        WORLD.quote, lambda: WORLD.collateral(qe_identity_signature="11" * 64), "tee.dcap.signature"),
    "a chain that does not hold": (
        lambda: WORLD.quote(chain=STRANGER.chain("pck", "ca") + WORLD.chain("root")), WORLD.collateral, "tee.dcap.signature"),
    "an authority that signs statements": (
        WORLD.quote, lambda: WORLD.collateral(tcb_info_issuer_chain=WORLD.chain("ca", "root")), "tee.dcap.signature"),
    "another's list of the root": (
        WORLD.quote, lambda: WORLD.collateral(root_ca_crl=STRANGER.crl("root", ()).hex()), "tee.dcap.signature"),
    "an authority revoked": (REVOKED["ca"].quote, REVOKED["ca"].collateral, "tee.dcap.revoked"),
    "a platform revoked": (REVOKED["pck"].quote, REVOKED["pck"].collateral, "tee.dcap.revoked"),
    "who signs statements revoked": (REVOKED["tcb"].quote, REVOKED["tcb"].collateral, "tee.dcap.revoked"),
    "state Revoked": (WORLD.quote, Intel(status="Revoked").collateral, "tee.dcap.revoked"),
    "enclave's state Revoked": (WORLD.quote, Intel(qe_status="Revoked").collateral, "tee.dcap.revoked"),
    "module's state Revoked": (WORLD.quote, Intel(module_status="Revoked").collateral, "tee.dcap.revoked"),
    "another vendor": (lambda: WORLD.quote(vendor=bytes(16)), WORLD.collateral, "tee.dcap.quoting-enclave"),
    "another's enclave": (lambda: WORLD.quote(qe={"signer": b"x" * 32}), WORLD.collateral, "tee.dcap.quoting-enclave"),
    "another product": (lambda: WORLD.quote(qe={"product": 1}), WORLD.collateral, "tee.dcap.quoting-enclave"),
    "enclave's MISCSELECT": (lambda: WORLD.quote(qe={"misc": 1}), WORLD.collateral, "tee.dcap.quoting-enclave"),
    "enclave's attributes": (
        lambda: WORLD.quote(qe={"attributes": b"\1" + bytes(15)}), WORLD.collateral, "tee.dcap.quoting-enclave"),
    "enclave in debug mode": (
        lambda: WORLD.quote(qe={"attributes": b"\x17" + bytes(15)}), WORLD.collateral, "tee.dcap.quoting-enclave"),
    "an old enclave": (lambda: WORLD.quote(qe={"svn": 3}), WORLD.collateral, "tee.dcap.no-level"),
    "another's module": (lambda: WORLD.quote(seam_signer=b"x" * 48), WORLD.collateral, "tee.dcap.module"),
    "module's attributes": (lambda: WORLD.quote(seam_attributes=b"x" * 8), WORLD.collateral, "tee.dcap.module"),
    "an old module": (lambda: WORLD.quote(svn=bytes([1, 1, 3]) + bytes(13)), WORLD.collateral, "tee.dcap.no-level"),
    "an unknown module": (lambda: WORLD.quote(svn=bytes([9, 9, 3]) + bytes(13)), WORLD.collateral, "tee.dcap.no-level"),
    "an old module now": (
        lambda: WORLD.quote(version=5, tail=bytes([1, 1, 3]) + bytes(13 + 48)), WORLD.collateral, "tee.dcap.no-level"),
    "an old platform": (lambda: WORLD.quote(svn=bytes([6, 1]) + bytes(14)), WORLD.collateral, "tee.dcap.no-level"),
    "an old processor": (
        WORLD.quote, lambda: tcb(tcbLevels=levels(WORLD, sgxtcbcomponents=[{"svn": n + 1} for n in CPU_SVN])),
        "tee.dcap.no-level"),
    "debug": (
        lambda: WORLD.quote(td_attributes=(ATTRIBUTES | 1).to_bytes(8, "little")), WORLD.collateral, "tee.policy.debug"),
    "service guest": (
        lambda: WORLD.quote(version=5, tail=SVN2 + b"x" * 48), WORLD.collateral, "tee.dcap.attributes"),
    **{
        name: (lambda a=bits: WORLD.quote(td_attributes=a.to_bytes(8, "little")), WORLD.collateral, "tee.dcap.attributes")
        for name, bits in {
            "profiling": ATTRIBUTES | 1 << 4, "a reserved bit": ATTRIBUTES | 1 << 40, "migration": ATTRIBUTES | 1 << 29,
            "service guests": ATTRIBUTES | 1 << 17, "no SEPT_VE_DISABLE": 0,
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_has_its_code(name: str) -> None:
    quote, collateral, code = WRONG[name]
    assert codes(quote(), collateral(), status=("UpToDate", "OutOfDate"), dynamic_platform=True, debug=True) == [code]


def test_that_collateral_is_missing_is_told() -> None:
    with pytest.raises(Refused) as caught:
        ask(WORLD.quote(), b"")
    assert caught.value.failure.detail == "missing"


def test_zeros_that_fill_a_quote_up() -> None:
    for kind in ("tdx", "sgx"):
        quote = WORLD.quote(kind, inside=bytes(99)) + bytes(999)
        assert codes(quote, WORLD.collateral(kind.upper()), kind) == []


def test_a_debug_enclave_is_refused_whatever_a_policy_says() -> None:
    quote = WORLD.quote("sgx", attributes=bytes([7]) + bytes(15))
    assert codes(quote, WORLD.collateral("SGX"), "sgx", debug=True) == ["tee.policy.debug"]


def test_a_quote_of_a_kind_that_has_another_version() -> None:
    """SGX has version 3, TDX 4 and 5; in version 5 the body says a kind of its own, and must be of the header's."""
    assert codes(WORLD.quote("sgx", version=4), WORLD.collateral("SGX"), "sgx") == ["tee.dcap.quote"]
    for kind, other in (("tdx", enclave()), ("sgx", td())):
        quote = WORLD.quote(kind, version=5, body_type=1 if kind == "tdx" else 2, body=other)
        for said in ("tdx", "sgx"):
            assert codes(quote, WORLD.collateral(kind.upper()), said) == ["tee.dcap.kind"]


def test_what_came_with_the_evidence_counts_only_where_the_client_has_nothing() -> None:
    good, bad = WORLD.collateral(), Intel(status="OutOfDate").collateral()
    assert codes(WORLD.quote(), b"", own=good) == codes(WORLD.quote(), bad, own=good) == []
    assert codes(WORLD.quote(), good, own=bad) == ["tee.dcap.status"]


def test_certificates_of_the_quote_count_before_those_of_the_collateral() -> None:
    with_chain = WORLD.collateral(pck_certificate_chain=WORLD.chain("pck", "ca", "root"))
    assert codes(WORLD.quote(certification=3), with_chain) == []
    other = WORLD.collateral(pck_certificate_chain=STRANGER.chain("pck", "ca", "root"))
    assert codes(WORLD.quote(), other) == []
    assert codes(WORLD.quote(certification=3), other) == ["tee.dcap.root"]


def test_what_collateral_is_fetched_by() -> None:
    assert dcap.origin(Evidence("tdx", WORLD.quote())) == ("B0C06F000000", "processor")
    for quote in (b"", WORLD.quote(certification=3), WORLD.quote(chain=WORLD.chain("ca"))):
        with pytest.raises(Refused) as caught:
            dcap.origin(Evidence("tdx", quote))
        assert caught.value.failure.code == "tee.dcap.quote"


# -- dates ----------------------------------------------------------------------------------------------------------------

PARTS = ("root", "ca", "pck", "tcb", "root-crl", "ca-crl", "tcb-info", "qe-identity")


@pytest.mark.parametrize("part", PARTS)
def test_every_part_must_hold_now(part: str) -> None:
    early, late = Intel(until={part: NOW - 10}), Intel(since={part: NOW + 10})
    for world, inside in ((early, NOW - 20), (late, NOW + 20)):
        assert codes(world.quote(), world.collateral(), roots=world.roots) == ["tee.dcap.dates"]
        claims, failures = ask(world.quote(), world.collateral(), now=inside, roots=world.roots)
        assert failures == []
        assert (claims.not_before, claims.not_after) in ((START, NOW - 10), (NOW + 10, END))


@pytest.mark.parametrize("now", [float("nan"), float("inf"), -float("inf"), -1.0, 0.0, 1e300, START - 0.5, END + 0.5])
def test_no_time_outside(now: float) -> None:
    assert codes(WORLD.quote(), WORLD.collateral(), now=now) == ["tee.dcap.dates"]


def test_the_end_is_outside() -> None:
    for now, found in ((START, []), (END - 1, []), (END, ["tee.dcap.dates"])):
        assert codes(WORLD.quote(), WORLD.collateral(), now=float(now)) == found


def test_a_list_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        next_update_utc = None

    monkeypatch.setattr(dcap_collateral.x509, "load_der_x509_crl", lambda data: Endless())
    assert codes(WORLD.quote(), WORLD.collateral()) == ["tee.dcap.collateral"]


# -- states ---------------------------------------------------------------------------------------------------------------


def test_states_that_are_not_asked_for() -> None:
    for world, found in (
        (Intel(status="SWHardeningNeeded"), "SWHardeningNeeded"),
        (Intel(status="ConfigurationNeeded"), "ConfigurationNeeded"),
        (Intel(status="OutOfDate"), "OutOfDate"),
        (Intel(qe_status="OutOfDate"), "OutOfDate"),
        (Intel(module_status="OutOfDate"), "OutOfDate"),
        (Intel(status="ConfigurationNeeded", qe_status="OutOfDate"), "OutOfDateConfigurationNeeded"),
    ):
        claims, failures = ask(WORLD.quote(), world.collateral())
        assert [(f.code, f.detail) for f in failures] == [("tee.dcap.status", found)]
        assert claims.tcb_status == found
        every = ("UpToDate", "OutOfDate", "ConfigurationNeeded", found)
        assert codes(WORLD.quote(), world.collateral(), status=every) == []


def test_advisories_are_told() -> None:
    claims, _ = ask(WORLD.quote(), Intel(status="OutOfDate").collateral())
    assert claims.advisories == ("INTEL-SA-00001",)


def test_up_to_date_itself_must_be_asked_for() -> None:
    assert codes(WORLD.quote(), WORLD.collateral(), status=("OutOfDate",)) == ["tee.dcap.status"]
    # a state that is none allows nothing, and is no error
    assert codes(WORLD.quote(), WORLD.collateral(), status=("Revoked", "Fine")) == ["tee.dcap.status"]


def test_every_part_is_in_a_state_that_is_asked_for() -> None:
    """Intel does not count an enclave that needs configuration against the platform; a policy that does not name the state does."""
    world = Intel(qe_status="ConfigurationNeeded")
    claims, failures = ask(WORLD.quote(), world.collateral())
    assert claims.tcb_status == "UpToDate"
    assert [(f.code, f.detail) for f in failures] == [("tee.dcap.status", "quoting enclave: ConfigurationNeeded")]
    assert codes(WORLD.quote(), world.collateral(), status=("UpToDate", "ConfigurationNeeded")) == []


def test_a_guest_that_was_started_on_an_old_module() -> None:
    """TDX 1.5: it was started on an old module that was renewed beneath it."""
    quote = WORLD.quote(version=5, svn=bytes([2, 1, 3]) + bytes(13), tail=TAIL15)
    claims, failures = ask(quote, WORLD.collateral(), status=("UpToDate", "OutOfDate"))
    assert [(f.code, f.detail) for f in failures] == [("tee.dcap.status", "TDRelaunchAdvised")]
    assert claims.tcb["tee_tcb_svn"] == 0x0102
    # a policy may let that state pass by its name: it says itself that the module was old, and that it is not now
    assert codes(quote, WORLD.collateral(), status=("UpToDate", "TDRelaunchAdvised")) == []
    configured = Intel(status="ConfigurationNeeded").collateral()
    both = "TDRelaunchAdvisedConfigurationNeeded"
    assert codes(quote, configured, status=("UpToDate", "TDRelaunchAdvised")) == ["tee.dcap.status"]
    assert codes(quote, configured, status=(both,)) == []
    assert AttestationPolicy.from_toml(f'[tdx]\nmeasurements = ["{"55" * 48}"]\nstatus = ["{both}"]').tdx is not None
    # which says nothing of one that is old still, nor of an old enclave
    still = WORLD.quote(svn=bytes([2, 1, 3]) + bytes(13))
    assert codes(still, WORLD.collateral(), status=("UpToDate", "TDRelaunchAdvised")) == ["tee.dcap.status"]
    aged = Intel(qe_status="OutOfDate").collateral()
    assert codes(quote, aged, status=("UpToDate", "TDRelaunchAdvised")) == ["tee.dcap.status"]
    # and a module that was revoked, however it came there
    revoked = Intel(old_module_status="Revoked").collateral()
    assert codes(quote, revoked) == ["tee.dcap.revoked"]
    later = WORLD.quote(version=5, tail=bytes([2, 1, 3]) + bytes(13 + 48))
    assert codes(later, revoked) == ["tee.dcap.revoked"]
    assert codes(later, WORLD.collateral()) == ["tee.dcap.status"]


def test_flags_of_the_platform() -> None:
    both = Intel(flags={"dynamic_platform": True, "cached_keys": False, "smt": True})
    quote, collateral = both.quote(), both.collateral()
    assert codes(quote, collateral) == ["tee.dcap.dynamic-platform"]
    assert codes(quote, collateral, smt=False) == ["tee.dcap.dynamic-platform", "tee.dcap.smt"]
    assert codes(quote, collateral, dynamic_platform=True, smt=False) == ["tee.dcap.smt"]
    assert codes(WORLD.quote(), WORLD.collateral(), smt=False) == []
    claims, failures = ask(quote, collateral, dynamic_platform=True)
    assert failures == [] and claims.flags["dynamic_platform"] is claims.flags["smt"] is True


# -- beside the library ----------------------------------------------------------------------------------------------------


def library(monkeypatch: pytest.MonkeyPatch, **other: Any) -> None:
    """Stand in for parts of dcap_qvl."""
    stand = ModuleType("dcap_qvl")
    stand.__dict__.update({name: getattr(dcap_qvl, name) for name in dcap_qvl.__all__} | other)
    monkeypatch.setitem(sys.modules, "dcap_qvl", stand)


def verifier(claims: Callable[[dict[str, Any]], None]) -> Any:
    """A stand-in whose claims are changed."""

    def make(root: bytes | None) -> Any:
        def verify_with_policy(*args: Any) -> Any:
            found = json.loads(dcap_qvl.QuoteVerifier(root).verify_with_policy(*args).to_json())
            claims(found)
            return SimpleNamespace(to_json=lambda: json.dumps(found))

        return SimpleNamespace(verify_with_policy=verify_with_policy)

    return make


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dcap_qvl", None)
    assert codes(WORLD.quote(), WORLD.collateral()) == ["tee.dcap.missing"]


def test_the_library_is_not_the_only_one_that_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that lets everything pass is not believed: root, states and flags are looked at again."""

    def change(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
        def at_end(found: dict[str, Any]) -> None:
            for name in path[:-1]:
                found = found[name]
            found[path[-1]] = value

        return at_end

    for path, value, code in (
        (("platform", "root_key_id"), [0] * 48, "tee.dcap.root"),
        (("tcb", "status"), "OutOfDate", "tee.dcap.status"),
        (("platform", "tcb_level", "tcbStatus"), "OutOfDate", "tee.dcap.status"),
        (("qe", "tcb_level", "tcbStatus"), "Revoked", "tee.dcap.status"),
        (("platform", "pck", "dynamic_platform"), "True", "tee.dcap.dynamic-platform"),
        (("platform", "pck", "dynamic_platform"), "Perhaps", "tee.dcap.dynamic-platform"),
    ):
        library(monkeypatch, QuoteVerifier=verifier(change(*path, value=value)))
        assert codes(WORLD.quote(), WORLD.collateral()) == [code]


@pytest.mark.parametrize("kind", ["tdx", "sgx"])
def test_debug_is_claimed_of_what_is_signed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a quote in debug mode let pass after all, its claims would say it, and `verify` refuse it."""

    def change(found: dict[str, Any]) -> None:
        (body,) = found["report"].values()
        body["td_attributes" if kind == "tdx" else "attributes"] = (
            "10" + "00" * 7 if kind == "tdx" else "07" + "00" * 15
        )

    library(monkeypatch, QuoteVerifier=verifier(change))
    claims, _ = ask(WORLD.quote(kind), WORLD.collateral(kind.upper()), kind)
    assert claims.debug


class PanicException(BaseException):
    """What pyo3 makes of a panic in Rust."""


def test_a_panic_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(*args: Any) -> None:
        raise PanicException

    library(monkeypatch, parse_quote=panic)
    assert codes(WORLD.quote(), WORLD.collateral()) == ["tee.dcap.unforeseen"]

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    library(monkeypatch, parse_quote=stop)
    with pytest.raises(KeyboardInterrupt):
        ask(WORLD.quote(), WORLD.collateral())


def test_reasons_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*args: Any) -> None:
        raise ValueError("The moon is in the wrong house")

    library(monkeypatch, QuoteVerifier=lambda root: SimpleNamespace(verify_with_policy=no))
    # refused once, and let pass when asked why
    assert codes(WORLD.quote(), WORLD.collateral()) == ["tee.dcap.unforeseen"]
    library(monkeypatch, QuoteVerifier=lambda root: SimpleNamespace(verify_with_policy=no), verify_with_root_ca=no)
    assert codes(WORLD.quote(), WORLD.collateral()) == ["tee.dcap.unforeseen"]


def test_every_reason_has_a_code_that_is_one() -> None:
    for words, code in dcap_reasons.REFUSALS:
        assert code in CHECKS and dcap_reasons.refusal(f"Verification failed: {words} 7") == code
        assert dcap_reasons.appraisal(words) is None
    for words, code in dcap_reasons.APPRAISALS:
        assert code in CHECKS and dcap_reasons.appraisal(f"Verification failed: {words}") == code


def test_every_code_of_this_platform_has_a_case() -> None:
    covered = {code for _, _, code in WRONG.values()}
    covered |= {"tee.dcap.dates", "tee.dcap.status", "tee.dcap.dynamic-platform", "tee.dcap.smt", "tee.dcap.missing"}
    assert {code for code in CHECKS if code.startswith("tee.dcap.")} - covered == {"tee.dcap.unforeseen"}


def test_intels_own_root_without_another() -> None:
    """Without a root of a test, a platform of ours ends at the pin, and behind it at the root within the library."""
    assert codes(WORLD.quote(), WORLD.collateral(), roots=PINNED) == ["tee.dcap.root"]
    assert codes(WORLD.quote(), WORLD.collateral(), roots=Roots(intel=WORLD.pin)) == ["tee.dcap.signature"]


# -- changed and random bytes --------------------------------------------------------------------------------------------


def same_or_refused(quote: bytes, collateral: bytes, kind: str, found: Claims, **named: Any) -> bool:
    """Whether changed evidence is refused. If it is not, it says what it said: what was changed means nothing."""
    try:
        claims, failures = ask(quote, collateral, kind, **named)
    except Refused:
        return True
    assert failures == [] and claims == found
    return False


def flips(quote: bytes, collateral: bytes, kind: str, bits: list[int], signed: int, **named: Any) -> None:
    """Flip each of some bits. INVARIANT: none of the signed ones passes."""
    found, _ = ask(quote, collateral, kind, **named)
    for bit in bits:
        changed = bytearray(quote)
        changed[bit // 8] ^= 1 << bit % 8
        refused = same_or_refused(bytes(changed), collateral, kind, found, **named)
        assert refused or bit >= 8 * signed, bit


@pytest.mark.parametrize(("kind", "signed"), [("tdx", 632), ("sgx", 432)])
def test_flipped_bits(kind: str, signed: int) -> None:
    quote = WORLD.quote(kind)
    bits = random.Random(6).sample(range(8 * len(quote)), 250)
    flips(quote, WORLD.collateral(kind.upper()), kind, bits, signed)


@given(st.binary(max_size=2000))
def test_random_quotes(data: bytes) -> None:
    assert len(codes(data, WORLD.collateral())) == 1
    assert len(codes(WORLD.quote()[:48] + data, WORLD.collateral())) == 1


@given(
    st.dictionaries(st.text(max_size=9), st.none() | st.text(max_size=20) | st.integers(), max_size=4),
    st.binary(max_size=99),
)
def test_random_collateral(table: dict[str, Any], data: bytes) -> None:
    for made in (json.dumps(table).encode(), data):
        assert len(codes(WORLD.quote(), made)) == 1


@given(st.data())
def test_random_parts_of_collateral(data: st.DataObject) -> None:
    """Signed by the right key, so that what lies behind the signatures is reached."""
    table = WORLD.tcb_info() if data.draw(st.booleans()) else WORLD.qe_identity()
    name = "tcb_info" if "fmspc" in table else "qe_identity"
    key = data.draw(st.sampled_from(sorted(table)))
    value = data.draw(
        st.none() | st.integers() | st.text(max_size=20) | st.lists(st.integers(), max_size=2) | st.just(rfc(NOW))
    )
    found = codes(WORLD.quote(), WORLD.collateral(**{name: table | {key: value}}))
    assert set(found) <= set(CHECKS) and len(found) <= 1


# -- real quotes ---------------------------------------------------------------------------------------------------------

TDX, JUNE = "tdx/dcap-qvl/tdx_quote", at("2025-06-25")


def real(path: str, collateral: str, kind: str = "tdx", **named: Any) -> list[str]:
    return codes(vector(path), vector(collateral), kind, roots=PINNED, **named)


@needs_vectors
def test_a_real_trust_domain() -> None:
    collateral = f"{TDX}_collateral.json"
    for when, found in (("2025-06-18", ["tee.dcap.dates"]), ("2025-06-25", []), ("2025-07-20", ["tee.dcap.dates"])):
        assert real(TDX, collateral, now=at(when), dynamic_platform=True) == found
    # its platform may be changed while it runs, which has to be allowed
    assert real(TDX, collateral, now=JUNE) == ["tee.dcap.dynamic-platform"]
    claims, _ = ask(vector(TDX), vector(collateral), now=JUNE, roots=PINNED)
    assert claims.tcb_status == "UpToDate" and claims.measurement.startswith("91eb2b44d141d4ec")
    text = f"[tdx]\ndynamic_platform = true\nmeasurements = ['{claims.measurement}']"
    evidence = Evidence("tdx", vector(TDX), collateral=vector(collateral))
    assert verify(evidence, AttestationPolicy.from_toml(text), report_data=claims.report_data, now=JUNE).attested


@needs_vectors
def test_real_quotes_that_must_be_refused() -> None:
    outdated, february = "tdx/dcap-qvl/tdx_quote_outdated", at("2026-02-25")
    every = ("UpToDate", "SWHardeningNeeded", "OutOfDate")
    found = real(outdated, f"{outdated}_collateral.json", now=february, dynamic_platform=True, status=every)
    assert found == ["tee.dcap.no-level"]
    automata, july = ("tdx/automata/quote_tdx.bin", "tdx/automata/collateral_2025-07.json"), at("2025-07-15")
    assert real(*automata, now=july, dynamic_platform=True) == ["tee.dcap.status"]
    assert real(*automata, now=july, dynamic_platform=True, status=every) == []
    for debug in (False, True):
        assert codes(vector("tdx/trustee/tdx_quote_4.dat"), b"", roots=PINNED, debug=debug) == ["tee.policy.debug"]


@needs_vectors
def test_a_real_enclave() -> None:
    files = ("sgx/dcap-qvl/sgx_quote", "sgx/dcap-qvl/sgx_quote_collateral.json", "sgx")
    assert real(*files, now=JUNE) == ["tee.dcap.status"]
    assert real(*files, now=JUNE, status=("ConfigurationAndSWHardeningNeeded",)) == []
    assert real(*files[:2], "tdx", now=JUNE) == ["tee.dcap.kind"]
    assert dcap.origin(Evidence("sgx", vector(files[0]))) == ("00A067110000", "processor")
    assert dcap.origin(Evidence("tdx", vector(TDX))) == ("B0C06F000000", "platform")


@needs_vectors
def test_flipped_bits_of_a_real_quote() -> None:
    quote = vector(TDX)
    bits = random.Random(7).sample(range(8 * 632), 120) + random.Random(7).sample(range(8 * 632, 8 * len(quote)), 120)
    flips(quote, vector(f"{TDX}_collateral.json"), "tdx", bits, 632, now=JUNE, roots=PINNED, dynamic_platform=True)


@needs_vectors
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_flipped_bit_of_what_is_signed_and_one_of_every_other_byte_of_a_real_quote() -> None:
    quote, draw = vector(TDX), random.Random(11)
    bits = [*range(8 * 632), *(8 * place + draw.randrange(8) for place in range(632, len(quote)))]
    flips(quote, vector(f"{TDX}_collateral.json"), "tdx", bits, 632, now=JUNE, roots=PINNED, dynamic_platform=True)


@needs_vectors
def test_the_time_that_a_real_quote_takes() -> None:
    quote, collateral, times = vector(TDX), vector(f"{TDX}_collateral.json"), []
    for _ in range(40):
        start = time.process_time()
        assert codes(quote, collateral, now=JUNE, roots=PINNED, dynamic_platform=True) == []
        times.append(time.process_time() - start)
    assert statistics.median(times) < 0.05  # of the processor; ten times the goal of 5 ms: the machine is shared
