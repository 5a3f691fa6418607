"""SEV-SNP from evidence to verdict: what passes, and every code of what does not."""

from __future__ import annotations

import struct
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from bastion_tee import AttestationPolicy, Evidence, Verdict
from bastion_tee.codes import CHECKS
from bastion_tee.pins import PINNED
from bastion_tee.policy import PlatformPolicy
from bastion_tee.roots import Collateral, Roots
from bastion_tee.verify import verify
from cryptography.hazmat.primitives.asymmetric import ec
from tee_snp import (
    ARK,
    ARK_PIN,
    ASK,
    ASVK,
    AUTHORITY,
    CHIP,
    CPU,
    END,
    LEAF,
    MEASUREMENT,
    MILAN,
    NOW,
    SNP_ROOTS,
    START,
    TCB,
    Amd,
    Cert,
    extension,
    pem,
    sign,
    snp_evidence,
    snp_table,
)  # fmt: skip

DATA = b"d" * 64
GENOA, TURIN, VLEK = Amd("Genoa"), Amd("Turin"), Amd(kind="VLEK")
ALL = [Amd(line, kind) for line in TCB for kind in ("VCEK", "VLEK")]


def judged(
    evidence: Evidence | bytes,
    now: float = NOW,
    collateral: Collateral | None = None,
    roots: Roots = SNP_ROOTS,
    **asked,
) -> Verdict:
    policy = AttestationPolicy(sev_snp=PlatformPolicy(**{"measurements": (MEASUREMENT.hex(),)} | asked))
    return verify(evidence, policy, report_data=DATA, now=now, collateral=collateral or Collateral(), roots=roots)


def codes(evidence: Evidence | bytes, now: float = NOW, **of) -> tuple[str, ...]:
    return judged(evidence, now, **of).codes


@pytest.mark.parametrize("amd", ALL, ids=lambda amd: f"{amd.line}-{amd.kind}")
@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_every_line_and_kind_and_version(amd, version):
    verdict = judged(amd.evidence(DATA, version=version))
    assert verdict.attested, verdict.failures
    assert verdict.claims.product == amd.line
    assert verdict.claims.tcb == TCB[amd.line]
    assert verdict.claims.chip == (amd.chip.hex() if amd.kind == "VCEK" else "")
    assert verdict.claims.flags["signer"] == amd.kind
    assert verdict.claims.flags.get("provider") == (None if amd.kind == "VCEK" else "CN=cc-test-1.example.com")


def test_a_provider_that_masks_chips():
    """A cloud that signs by its VLEK may tell no chip, tell it all the same, and let chips sign nothing."""
    for poke in ({0x48: b"\6"}, {0x1A0: bytes(64)}, {0x1A0: CHIP}):
        assert judged(VLEK.evidence(DATA, poke=poke)).attested
    raw = bytearray(VLEK.report(DATA, poke={0x48: b"\6"}))
    raw[0x2A0:0x330] = bytes(144)
    assert codes(Evidence("sev-snp", bytes(raw), VLEK.certificates)) == ("tee.snp.signature",)


def test_claims():
    poke = {
        0x10: b"f" * 16,
        0x20: b"i" * 16,
        0xC0: b"h" * 32,
        0xE0: b"k" * 48,
        0x110: b"a" * 48,
        0x1F8: struct.pack("<QQ", 1, 3),
    }
    policy = 1 << 20 | 0x3011F
    claims = judged(MILAN.evidence(DATA, version=5, poke=poke | {8: struct.pack("<Q", policy), 0x40: b"\xa5"})).claims
    assert (claims.platform, claims.product, claims.measurement, claims.report_data) == (
        "sev-snp",
        "Milan",
        MEASUREMENT.hex(),
        DATA,
    )
    assert claims.measurements == {
        "measurement": MEASUREMENT.hex(), "host_data": (b"h" * 32).hex(), "family_id": (b"f" * 16).hex(),
        "image_id": (b"i" * 16).hex(), "id_key_digest": (b"k" * 48).hex(), "author_key_digest": (b"a" * 48).hex(),
    }  # fmt: skip
    assert (claims.debug, claims.vmpl, claims.chip, claims.signed_at) == (False, 0, CHIP.hex(), None)
    assert (claims.not_before, claims.not_after) == (START.timestamp(), END.timestamp())
    flags = {
        "smt": True, "ecc": True, "alias_check": True, "tio": True, "tsme": False, "smt_allowed": True, "single_socket": True,
        "migration": False, "abi": "1.31", "firmware": "1.55.43", "report_version": 5, "launch_mitigations": 1,
        "current_mitigations": 3, "cpu": "family 0x19 model 0x1 stepping 1",
        "reported_tcb": "boot_loader=4 tee=0 snp=24 microcode=219",
    }  # fmt: skip
    assert flags.items() <= claims.flags.items()
    assert "cpu" not in judged(MILAN.evidence(DATA, version=2)).claims.flags
    assert "launch_mitigations" not in judged(MILAN.evidence(DATA, version=3)).claims.flags
    assert verify(
        MILAN.evidence(DATA), AttestationPolicy(), report_data=None, now=NOW, roots=SNP_ROOTS
    ).claims.to_dict()


def test_where_certificates_come_from():
    """With the evidence or from the client, as DER, PEM or a host's table, in any order; beside others."""
    report = MILAN.report(DATA)
    leaf, authority, root = MILAN.certificates
    old = replace(MILAN, spl=TCB["Milan"] | {"snp": 20}).certificates[0]
    for sources, beside in [
        ((leaf, authority, root), ()), ((snp_table(),), ()), ((pem(leaf, authority, root),), ()), ((leaf,), (pem(authority, root),)),
        ((), (root, authority, leaf)), ((bytes(24),), (leaf, authority, root)), ((old, leaf), (authority, root)),
        ((old, *VLEK.certificates, *GENOA.certificates), (leaf, authority, root)), ((leaf, leaf, authority, root), (root,)),
    ]:  # fmt: skip
        verdict = judged(Evidence("sev-snp", report, sources), collateral=Collateral(certificates=beside))
        assert verdict.attested, verdict.failures


def test_a_renewed_authority():
    leaf, authority, root = MILAN.certificates
    other = replace(MILAN, authority=lambda cert: vars(cert).update(key=ASVK)).certificates[1]
    assert judged(Evidence("sev-snp", MILAN.report(DATA), (leaf, other, authority, root))).attested
    assert codes(Evidence("sev-snp", MILAN.report(DATA), (leaf, other, root))) == ("tee.snp.chain",)


# the chain


def changed(where: str, amd: Amd = MILAN, **of) -> Evidence:
    """Evidence of a chain with a certificate that is otherwise; `extensions` are added, those of nothing taken away."""

    def change(cert: Cert) -> None:
        more = of.get("extensions", {})
        vars(cert).update(of | {"extensions": {k: v for k, v in (cert.extensions | more).items() if v}})

    return replace(amd, **{where: change}).evidence(DATA)


BASE = "1.3.6.1.4.1.3704.1."
LONG_AGO, FAR = datetime(2024, 1, 1, tzinfo=UTC), datetime(2090, 1, 1, tzinfo=UTC)
CHAINS = {
    "no certificates": (Evidence("sev-snp", MILAN.report(DATA)), "tee.snp.certificates"),
    "no leaf": (Evidence("sev-snp", MILAN.report(DATA), MILAN.certificates[1:]), "tee.snp.certificates"),
    "no authority": (Evidence("sev-snp", MILAN.report(DATA), MILAN.certificates[::2]), "tee.snp.certificates"),
    "no root": (Evidence("sev-snp", MILAN.report(DATA), MILAN.certificates[:2]), "tee.snp.certificates"),
    "no certificate": (Evidence("sev-snp", MILAN.report(DATA), (*MILAN.certificates, b"0")), "tee.snp.certificates"),
    "too many": (Evidence("sev-snp", MILAN.report(DATA), MILAN.certificates * 6), "tee.snp.certificates"),
    "a VLEK for a VCEK": (Evidence("sev-snp", MILAN.report(DATA), VLEK.certificates), "tee.snp.certificates"),
    "a VCEK for a VLEK": (Evidence("sev-snp", VLEK.report(DATA), MILAN.certificates), "tee.snp.certificates"),
    "two algorithms": (changed("authority", outer=bytes(2)), "tee.snp.certificates"),
    "a root of its own": (changed("root", key=ASVK, signer=ASVK), "tee.snp.root"),
    "a root that does not sign itself": (changed("root", signer=ASK), "tee.snp.chain"),
    "a root with another issuer": (changed("root", issuer="ARK-Other"), "tee.snp.chain"),
    "an authority that the root has not signed": (changed("authority", signer=ASK), "tee.snp.chain"),
    "an authority of another issuer": (changed("authority", issuer="ARK-Genoa"), "tee.snp.chain"),
    "a leaf that the authority has not signed": (changed("leaf", signer=ASVK), "tee.snp.chain"),
    "a leaf that the root has signed": (changed("leaf", signer=ARK), "tee.snp.chain"),
    "a leaf of the other authority": (changed("leaf", issuer="SEV-VLEK-Milan"), "tee.snp.product"),
    "a VLEK of the VCEKs' authority": (changed("leaf", VLEK, issuer="SEV-Milan"), "tee.snp.product"),
    "a leaf of an unknown line": (changed("leaf", issuer="SEV-Venice"), "tee.snp.product"),
    "an authority that may not sign": (changed("authority", extensions={"2.5.29.19": b""}), "tee.snp.certificate"),
    "a root that may not sign": (changed("root", extensions={"2.5.29.15": b""}), "tee.snp.certificate"),
    "a leaf that may sign": (changed("leaf", extensions={"2.5.29.19": AUTHORITY["2.5.29.19"]}), "tee.snp.certificate"),
    "a leaf with a key of another kind": (changed("leaf", key=ASK), "tee.snp.certificate"),
    "a chip and a provider": (
        changed("leaf", extensions={BASE + "5": extension(BASE + "5", b"\x16\x01x")}), "tee.snp.certificate",
    ),
    "neither chip nor provider": (changed("leaf", extensions={BASE + "4": b""}), "tee.snp.certificate"),
    "a provider's without a name": (changed("leaf", VLEK, extensions={BASE + "5": b""}), "tee.snp.certificate"),
    "a product of another line": (
        changed("leaf", extensions={BASE + "2": extension(BASE + "2", b"\x16\x05Genoa")}), "tee.snp.product",
    ),
    "an unknown product": (changed("leaf", extensions={BASE + "2": extension(BASE + "2", b"\x16\x04Rome")}), "tee.snp.product"),
}  # fmt: skip


@pytest.mark.parametrize("case", CHAINS)
def test_chains_that_are_refused(case):
    evidence, code = CHAINS[case]
    verdict = judged(evidence)
    assert verdict.codes == (code,)
    assert verdict.claims is None


def test_roots():
    """Only the pinned root of the line; nobody's tests are trusted by a client."""
    assert codes(MILAN.evidence(DATA), roots=PINNED) == ("tee.snp.root",)
    assert codes(MILAN.evidence(DATA), roots=Roots()) == ("tee.snp.product",)
    assert codes(MILAN.evidence(DATA), roots=Roots(amd={"Genoa": ARK_PIN})) == ("tee.snp.product",)
    assert codes(MILAN.evidence(DATA), roots=Roots(amd={"Milan": ARK_PIN.upper()})) == ()
    venice = Amd("Milan", leaf=lambda cert: vars(cert).update(issuer="SEV-Venice"))
    assert codes(venice.evidence(DATA), roots=Roots(amd={"Venice": ARK_PIN})) == ("tee.snp.product",)


def test_products_of_the_same_root():
    for name in ("Genoa", "Genoa-B1", "Siena-B0", "Bergamo"):
        product = {BASE + "2": extension(BASE + "2", b"\x16" + bytes([len(name)]) + name.encode())}
        assert codes(changed("leaf", GENOA, extensions=product)) == ()


# the report


def test_the_signature():
    evidence = MILAN.evidence(DATA)
    raw = bytearray(evidence.report)
    other = sign(bytes(raw[:0x2A0]), key=ec.derive_private_key(9, LEAF.curve))
    for report in (
        other,
        bytes(raw[:0x2A0]) + bytes(0x200),
        bytes(raw[:0x2A0]) + raw[0x2E8:0x330] + raw[0x2A0:0x2E8] + bytes(368),
    ):
        assert codes(replace_report(evidence, report)) == ("tee.snp.signature",)


def replace_report(evidence: Evidence, report: bytes) -> Evidence:
    return Evidence(evidence.platform, report, evidence.certificates)


POKED = {
    "debug": (MILAN, {8: struct.pack("<Q", 0xB0000)}, {}, "tee.policy.debug"),
    "migration": (MILAN, {8: struct.pack("<Q", 0x70000)}, {}, "tee.snp.migration"),
    "an impossible policy": (MILAN, {8: struct.pack("<Q", 0x10000)}, {}, "tee.snp.policy-bits"),
    "a policy of later versions": (MILAN, {8: struct.pack("<Q", 0x2030000)}, {}, "tee.snp.policy-bits"),
    "hyperthreads": (MILAN, {}, {"smt": False}, "tee.snp.smt"),
    "hyperthreads where it may be moved to": (
        MILAN, {8: struct.pack("<Q", 0x70000), 0x40: b"\0"}, {"smt": False, "migration": True}, "tee.snp.smt",
    ),
    "another level": (MILAN, {0x30: b"\1"}, {}, "tee.snp.vmpl"),
    "a level above the policy's": (MILAN, {0x30: b"\3"}, {"vmpl": 2}, "tee.snp.vmpl"),
    "the host's own": (MILAN, {0x30: b"\xff" * 4}, {"vmpl": 3}, "tee.snp.vmpl"),
    "a line that is not asked for": (MILAN, {}, {"products": ("Turin", "Genoa")}, "tee.snp.product"),
    "another chip": (MILAN, {0x1A0: b"\xff"}, {}, "tee.snp.chip"),
    "another chip at its end": (MILAN, {0x1DF: b"\xff"}, {}, "tee.snp.chip"),
    "more than Turin's chip": (TURIN, {0x1DF: b"\xff"}, {}, "tee.snp.chip"),
    "a masked chip": (MILAN, {0x1A0: bytes(64)}, {}, "tee.snp.mask-chip"),
    "below the minimum": (MILAN, {}, {"minimum_tcb": {"snp": 25}}, "tee.policy.tcb"),
    "a part that the line has not": (MILAN, {}, {"minimum_tcb": {"fmc": 0}}, "tee.policy.tcb"),
    "another connection": (MILAN, {0x50: b"e"}, {}, "tee.policy.report-data"),
    "another program": (MILAN, {0x90: b"e"}, {}, "tee.policy.measurement"),
    "another host's data": (MILAN, {}, {"registers": {"host_data": ("11" * 32,)}}, "tee.policy.measurement"),
    **{f"other {name} versions": (amd, {at: amd.tcb(**{part: 9})}, {}, "tee.snp.tcb")
       for amd in (MILAN, GENOA, TURIN) for part in TCB[amd.line] for name, at in ((f"{amd.line}'s {part}", 0x180),)},
    **{f"{amd.line}'s padding at {at:#x}": (amd, {at + 4: b"\1"}, {}, "tee.snp.padding")
       for amd in (MILAN, GENOA, TURIN) for at in (0x38, 0x1E0, 0x1F0)},
}  # fmt: skip


@pytest.mark.parametrize("case", POKED)
def test_what_a_report_says(case):
    amd, poke, asked, code = POKED[case]
    verdict = judged(amd.evidence(DATA, poke=poke), **asked)
    assert verdict.codes == (code,)
    assert verdict.claims is not None


def test_padding_of_what_is_certified():
    """Bytes that the layout does not use are those of the certificate: zero."""
    assert codes(MILAN.evidence(DATA, poke={0x184: b"\1"})) == ("tee.snp.padding",)
    assert codes(replace(MILAN, spl=TCB["Milan"] | {"5": 1}).evidence(DATA)) == ("tee.snp.tcb",)


def test_what_a_policy_may_allow():
    debug = {8: struct.pack("<Q", 0xF0000)}
    assert codes(MILAN.evidence(DATA, poke=debug), debug=True, migration=True) == ()
    assert codes(MILAN.evidence(DATA, poke={0x30: b"\2"}), vmpl=2) == ()
    assert codes(MILAN.evidence(DATA, poke={0x40: b"\x24"}), smt=False) == ()
    assert codes(TURIN.evidence(DATA), minimum_tcb=TCB["Turin"]) == ()


def test_a_processor_of_another_line():
    for amd in (MILAN, GENOA, TURIN):
        for line, cpu in CPU.items():
            of = {"poke": {0x188: bytes(cpu)}}
            assert codes(amd.evidence(DATA, **of)) == (() if line == amd.line else ("tee.snp.product",))
    assert codes(MILAN.evidence(DATA, poke={0x188: b"\x17\x31\0"})) == ("tee.snp.product",)


def test_several_at_once():
    found = codes(MILAN.evidence(b"x" * 64, b"m" * 48, poke={8: struct.pack("<Q", 0xF0000), 0x30: b"\1"}))
    assert found == (
        "tee.snp.migration",
        "tee.snp.vmpl",
        "tee.policy.debug",
        "tee.policy.measurement",
        "tee.policy.report-data",
    )


# dates and revocation


@pytest.mark.parametrize("where", ["leaf", "authority", "root"])
def test_dates_of_all(where):
    for of in ({"start": FAR, "end": FAR}, {"start": LONG_AGO, "end": LONG_AGO}):
        verdict = judged(changed(where, **of))
        assert verdict.codes == ("tee.snp.dates",)
    late = changed(where, end=datetime(2030, 1, 1, tzinfo=UTC))
    assert judged(late).claims.not_after == datetime(2030, 1, 1, tzinfo=UTC).timestamp()
    early = changed(where, start=datetime(2026, 1, 1, tzinfo=UTC))
    assert judged(early).claims.not_before == datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def test_the_edges_of_dates():
    evidence = MILAN.evidence(DATA)
    for now, expected in ((START, ()), (END, ())):
        assert codes(evidence, now.timestamp()) == expected
    for now in (START.timestamp() - 1, END.timestamp() + 1, float("nan"), float("inf"), -float("inf")):
        assert set(codes(evidence, now)) == {"tee.snp.dates"}


def test_revocation():
    evidence = MILAN.evidence(DATA)
    late = datetime(2026, 12, 1, tzinfo=UTC)
    good, bad = MILAN.crl(until=late), MILAN.crl(0x10001)
    assert codes(evidence, revocation="required") == ("tee.policy.revocation-missing",)
    assert codes(evidence, revocation="required", collateral=Collateral(crls=(good,))) == ()
    assert codes(evidence, collateral=Collateral(crls=(bad,))) == ("tee.snp.revoked",)
    assert codes(evidence, END.timestamp() - 1, collateral=Collateral(crls=(good,))) == ("tee.snp.crl",)
    assert judged(evidence, collateral=Collateral(crls=(good,))).claims.not_after == late.timestamp()


def test_helpers_for_others():
    assert judged(snp_evidence(DATA)).attested
    assert judged(Evidence.decode(snp_evidence(DATA).encode())).attested
    assert judged(snp_evidence(DATA, b"m" * 48), measurements=((b"m" * 48).hex(),)).attested


def test_every_code_is_tried():
    """Those of the report's bytes, of Azure's frame and of revocation lists are in files of their own."""
    here = {code for _, code in CHAINS.values()} | {code for *_, code in POKED.values()}
    here |= {"tee.snp.signature", "tee.snp.dates", "tee.snp.revoked", "tee.snp.crl"}
    bytes_of_reports = {
        f"tee.snp.{name}"
        for name in ("length", "version", "algorithm", "padding", "signer", "mask-chip", "hcl", "runtime-data", "vtpm")
    }
    assert {code for code in CHECKS if code.startswith("tee.snp.")} == {
        c for c in here if c.startswith("tee.snp.")
    } | bytes_of_reports
