"""What is asked of AMD's and Intel's servers, and what verification makes of the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
import tee_intel
from bastion_plan.errors import AttestationError
from bastion_tee import AttestationPolicy, Evidence, vendors
from bastion_tee.collateral import Answer, Cache
from bastion_tee.policy import PlatformPolicy
from bastion_tee.roots import Collateral
from bastion_tee.snp.report import Report
from bastion_tee.verify import verify
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from tee_snp import CHIP, END, MEASUREMENT, NOW, PSS, SNP_ROOTS, START, TCB, Amd, moment, name, number, pem, tlv
from tee_vectors import VECTORS, needs_vectors
from vendor_server import Vendor, vendor_server

ALL = [Amd(line, kind) for line in TCB for kind in ("VCEK", "VLEK")]
POLICY = AttestationPolicy(sev_snp=PlatformPolicy(measurements=(MEASUREMENT.hex(),), revocation="required"))


def names(amd: Amd) -> str:
    return f"{amd.line}-{amd.kind}"


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with vendor_server() as running:
        yield running


@pytest.fixture
def cache(vendor: Vendor, tmp_path: Path) -> Cache:
    return Cache(tmp_path, vendor.fetch)


def publish(vendor: Vendor, amd: Amd, version: int = 3) -> Evidence:
    """Let a server have what AMD would publish for a report; return evidence with no more than a host must give."""
    leaf, authority, root = amd.certificates
    path = f"https://kdsintf.amd.com/{amd.kind.lower()}/v1/{amd.line}"
    vendor.put(f"{path}/cert_chain", pem(authority, root))
    vendor.put(f"{path}/crl", amd.crl(7))
    report = amd.report(version=version)
    if amd.kind == "VCEK":
        vendor.put(vendors.vcek_url(Report.read(report), amd.line), leaf)
    return Evidence("sev-snp", report, () if amd.kind == "VCEK" else (leaf,))


def code(call, *of) -> str:
    with pytest.raises(AttestationError) as caught:
        call(*of)
    return caught.value.code


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("amd", ALL, ids=names)
def test_amd(cache, vendor, amd, version):
    evidence = publish(vendor, amd, version)
    found = vendors.amd(cache, evidence, NOW)
    assert verify(evidence, POLICY, report_data=None, now=NOW, collateral=found, roots=SNP_ROOTS).attested
    vendor.answers.clear()
    again = vendors.amd(Cache(cache.folder), evidence, NOW)
    assert again == found


def test_addresses():
    """As AMD's own tools ask for them."""
    milan, turin = (Report.read(amd.report()) for amd in (ALL[0], ALL[4]))
    assert vendors.vcek_url(milan, "Milan") == (
        f"https://kdsintf.amd.com/vcek/v1/Milan/{CHIP.hex()}?blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219"
    )
    assert vendors.vcek_url(turin, "Turin") == (
        "https://kdsintf.amd.com/vcek/v1/Turin/0102030405060708?fmcSPL=01&blSPL=01&teeSPL=01&snpSPL=04&ucodeSPL=82"
    )


def test_what_is_with_the_evidence_is_not_asked_for(cache, vendor):
    for amd in (ALL[0], ALL[2]):
        for version in (2, 3):
            evidence = replace_certificates(publish(vendor, amd, version), amd.certificates[:1])
            vendor.asked.clear()
            cache.folder = cache.folder / "next"
            found = vendors.amd(cache, evidence, NOW)
            assert verify(evidence, POLICY, report_data=None, now=NOW, collateral=found, roots=SNP_ROOTS).attested
            assert vendor.asked == [f"/vcek/v1/{amd.line}/cert_chain", f"/vcek/v1/{amd.line}/crl"]


def replace_certificates(evidence: Evidence, certificates: tuple[bytes, ...]) -> Evidence:
    return Evidence(evidence.platform, evidence.report, certificates)


def test_a_report_that_does_not_say_its_line(cache, vendor):
    """Before version 3 only a certificate does: Milan is asked for, then Genoa."""
    vendors.amd(cache, publish(vendor, Amd("Genoa"), 2), NOW)
    assert [path.split("/")[3] for path in vendor.asked] == ["Milan", "Genoa", "Genoa", "Genoa"]


def test_what_cannot_be_asked_for(cache, vendor):
    milan, vlek = ALL[0], ALL[1]
    unnamed = "tee.collateral.unnamed"
    assert code(vendors.amd, cache, Evidence("sev-snp", b"short"), NOW) == unnamed
    assert code(vendors.amd, cache, Evidence("sev-snp", milan.report(), (b"0",)), NOW) == unnamed
    assert code(vendors.amd, cache, Evidence("sev-snp", milan.report(poke={0x1A0: bytes(64)})), NOW) == unnamed
    assert code(vendors.amd, cache, Evidence("sev-snp", milan.report(poke={0x188: b"\x17"})), NOW) == unnamed
    assert code(vendors.amd, cache, Evidence("sev-snp", vlek.report(version=2)), NOW) == unnamed
    assert vendor.asked == []


def test_answers_that_are_none(cache, vendor):
    amd = ALL[0]
    evidence = publish(vendor, amd)
    late = datetime(2026, 1, 1, tzinfo=UTC)
    path = "https://kdsintf.amd.com/vcek/v1/Milan"
    for url, bodies in {
        vendors.vcek_url(Report.read(evidence.report), "Milan"): [b"", b"<html>", b"\x30\x03abc"],
        f"{path}/cert_chain": [
            b"",
            b"-----BEGIN CERTIFICATE-----\n",
            pem(replace(amd, root=lambda c: vars(c).update(end=late)).certificates[2]),
        ],
        f"{path}/crl": [b"", amd.certificates[0], amd.crl(until=late)],
    }.items():
        for body in bodies:
            publish(vendor, amd)
            vendor.put(url, body)
            cache.folder = cache.folder / "next"
            assert code(vendors.amd, cache, evidence, NOW) == "tee.collateral.answer"


# Intel


def crl(until: datetime | None = END) -> bytes:
    key = ec.derive_private_key(5, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    made = x509.CertificateRevocationListBuilder(name, START.replace(tzinfo=None), (until or END).replace(tzinfo=None))
    return made.sign(key, SHA256()).public_bytes(Encoding.DER)


CRL = crl()
INFO = '{"id":"TDX","nextUpdate":"2026-07-01T00:00:00Z","tcbLevels":[ {"b" : 1} ]}'
IDENTITY = '{"id":"TD_QE","nextUpdate":"2026-07-02T00:00:00Z"}'


def body(key: str, statement: str, signature: str = "AB12") -> bytes:
    return f'{{"{key}":{statement},"signature":"{signature}"}}'.encode()


def intel_urls(platform: str = "tdx") -> tuple[str, str, str, str]:
    base = "https://api.trustedservices.intel.com"
    return (
        f"{base}/{platform}/certification/v4/tcb?fmspc=B0C06F000000", f"{base}/{platform}/certification/v4/qe/identity?update=standard",
        f"{base}/sgx/certification/v4/pckcrl?ca=platform&encoding=der", "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der",
    )  # fmt: skip


def publish_intel(vendor: Vendor, platform: str = "tdx", chain: str = "TCB_Info_Issuer_Chain") -> None:
    info, identity, pck, root = intel_urls(platform)
    vendor.put(info, body("tcbInfo", INFO), **{chain: quote("tcb\nchain")})
    vendor.put(identity, body("enclaveIdentity", IDENTITY), SGX_Enclave_Identity_Issuer_Chain=quote("qe\nchain"))
    vendor.put(pck, CRL, SGX_PCK_CRL_Issuer_Chain=quote("pck\nchain"))
    vendor.put(root, CRL)


@pytest.mark.parametrize(
    ("platform", "chain"), [("tdx", "TCB_Info_Issuer_Chain"), ("sgx", "SGX_TCB_Info_Issuer_Chain")]
)
def test_intel(cache, vendor, platform, chain):
    publish_intel(vendor, platform, chain)
    found = vendors.intel(cache, platform, "b0c06f000000", "platform", NOW)
    assert json.loads(found.dcap) == {
        "pck_crl_issuer_chain": "pck\nchain", "root_ca_crl": CRL.hex(), "pck_crl": CRL.hex(), "tcb_info_issuer_chain": "tcb\nchain",
        "tcb_info": INFO, "tcb_info_signature": "ab12", "qe_identity_issuer_chain": "qe\nchain", "qe_identity": IDENTITY,
        "qe_identity_signature": "ab12",
    }  # fmt: skip
    vendor.answers.clear()
    assert vendors.intel(Cache(cache.folder), platform, "B0C06F000000", "platform", NOW) == found


def test_a_day_later_intel_is_asked_again(cache, vendor):
    publish_intel(vendor)
    for now, asked in ((NOW, 4), (NOW + 3600, 4), (NOW + 86_400, 8)):
        vendors.intel(cache, "tdx", "B0C06F000000", "platform", now)
        assert len(vendor.asked) == asked


def test_what_intel_is_not_asked_for(cache, vendor):
    for platform, fmspc, authority in (
        ("nitro", "B0C06F000000", "platform"), ("tdx", "B0C06F", "platform"), ("tdx", "../../../../", "platform"),
        ("tdx", "B0C06F000000", "x&y=1"),
    ):  # fmt: skip
        assert code(vendors.intel, cache, platform, fmspc, authority, NOW) == "tee.collateral.unnamed"
    assert vendor.asked == []


WRONG = [
    b"", b"{}", b"[]", b"\xff", b'{"tcbInfo":', b'{"tcbInfo":{}}', b'{"tcbInfo":{},"signature":7}', b'{"tcbInfo":{},"signature":"xy"}',
    b'{"tcbInfo":' + b"[" * 100_000, body("tcbInfo", "7"), body("tcbInfo", "{}"), body("tcbInfo", '{"nextUpdate":7}'),
    body("tcbInfo", '{"nextUpdate":"soon"}'), body("tcbInfo", '{"nextUpdate":"2026-07-01T00:00:00"}'),
    body("tcbInfo", '{"nextUpdate":"2026-05-01T00:00:00Z"}'), body("enclaveIdentity", INFO), body("tcbInfo", INFO) + b"x",
]  # fmt: skip


@pytest.mark.parametrize("which", range(len(WRONG)))
def test_answers_of_intel_that_are_none(cache, vendor, which):
    publish_intel(vendor)
    vendor.put(intel_urls()[0], WRONG[which])
    assert code(vendors.intel, cache, "tdx", "B0C06F000000", "platform", NOW) == "tee.collateral.answer"


def test_lists_of_intel_that_are_none(cache, vendor):
    for url in intel_urls()[2:]:
        for wrong in (b"", b"<html>", crl(datetime(2026, 1, 1, tzinfo=UTC))):
            publish_intel(vendor)
            vendor.put(url, wrong)
            cache.folder = cache.folder / "next"
            assert code(vendors.intel, cache, "tdx", "B0C06F000000", "platform", NOW) == "tee.collateral.answer"


@needs_vectors
def test_a_real_statement_keeps_its_bytes(cache, vendor):
    """The signature is over them: what comes out is what a real collateral holds."""
    real = json.loads((VECTORS / "tdx/dcap-qvl/tdx_quote_collateral.json").read_text())
    now = datetime(2025, 7, 1, tzinfo=UTC).timestamp()
    info, identity, pck, root = intel_urls()
    vendor.put(
        info,
        body("tcbInfo", real["tcb_info"], real["tcb_info_signature"]),
        TCB_Info_Issuer_Chain=quote(real["tcb_info_issuer_chain"]),
    )
    vendor.put(
        identity, body("enclaveIdentity", real["qe_identity"], real["qe_identity_signature"]),
        SGX_Enclave_Identity_Issuer_Chain=quote(real["qe_identity_issuer_chain"]),
    )  # fmt: skip
    vendor.put(pck, bytes.fromhex(real["pck_crl"]), SGX_PCK_CRL_Issuer_Chain=quote(real["pck_crl_issuer_chain"]))
    vendor.put(root, bytes.fromhex(real["root_ca_crl"]))
    assert json.loads(vendors.intel(cache, "tdx", "b0c06f000000", "platform", now).dcap) == real


def test_a_list_without_an_end():
    """A list of Intel's must say when the next one comes."""
    signed = tlv(0x30, number(1), PSS, name("tests"), moment(START))
    assert vendors.ROOT_CRL.ends(Answer(tlv(0x30, signed, PSS, tlv(0x03, b"\0abc")))) == 0.0


# every platform


def test_collateral_of_every_platform(cache, vendor):
    amd = ALL[0]
    shown = publish(vendor, amd)
    assert vendors.collateral_of(cache, shown, NOW) == vendors.amd(cache, shown, NOW)
    publish_intel(vendor)
    vendor.put(intel_urls()[2].replace("platform", "processor"), CRL)
    quote = tee_intel.Intel().quote("tdx", report_data=bytes(64))
    found = vendors.collateral_of(cache, Evidence("tdx", quote), NOW)
    assert found == vendors.intel(cache, "tdx", tee_intel.FMSPC.hex(), "processor", NOW)
    assert vendors.collateral_of(cache, Evidence("nitro", b"any"), NOW) == Collateral()
    assert code(vendors.collateral_of, cache, Evidence("sgx", b"short"), NOW) == "tee.collateral.unnamed"
