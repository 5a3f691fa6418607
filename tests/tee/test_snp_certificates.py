"""Certificates in the one form that AMD gives them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from bastion_tee.snp.certificates import ALGORITHMS, Certificate, signed_by
from bastion_tee.verdict import Refused
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from tee_snp import (
    ARK,
    ASK,
    AUTHORITY,
    LEAF,
    MILAN,
    PSS,
    PSS_SHORT,
    START,
    Amd,
    Cert,
    endorse,
    extension,
    moment,
    name,
    number,
    spki,
    text,
    tlv,
)

AMD = "1.3.6.1.4.1.3704.1."


def leaf(**of) -> Cert:
    made = Cert("SEV-VCEK", "SEV-Milan", LEAF, ASK, extensions=endorse("Milan", "VCEK", {"snp": 1}, bytes(64)))
    return replace(made, **of)


def authority(**of) -> Cert:
    return replace(Cert("SEV-Milan", "ARK-Milan", ASK, ARK, 0x10001, extensions=dict(AUTHORITY)), **of)


def code(call, *of) -> str:
    with pytest.raises(Refused) as caught:
        call(*of)
    return caught.value.failure.code


def test_a_certificate():
    end = datetime(2060, 1, 1, tzinfo=UTC)
    found = Certificate.read(leaf(serial=0, end=end).der())
    assert (found.name, found.above, found.serial, found.not_after) == ("SEV-VCEK", "SEV-Milan", 0, end.timestamp())
    assert found.ec_key().public_numbers() == LEAF.public_key().public_numbers()
    above = Certificate.read(authority().der())
    assert signed_by(above.rsa_key(), found.signed, found.signature)
    assert not signed_by(above.rsa_key(), found.signed + b"x", found.signature)


def test_only_48_bytes_of_salt():
    for salt in (0, 20, 32, 47, 49, 64):
        signature = ASK.sign(b"signed", padding.PSS(padding.MGF1(SHA384()), salt), SHA384())
        assert not signed_by(ASK.public_key(), b"signed", signature)
    for mask, digest in ((SHA256(), SHA384()), (SHA384(), SHA512())):
        assert not signed_by(
            ASK.public_key(), b"signed", ASK.sign(b"signed", padding.PSS(padding.MGF1(mask), 48), digest)
        )


def test_every_way_to_write_the_algorithm():
    assert {PSS, PSS_SHORT} < ALGORITHMS and len(ALGORITHMS) == 8
    for algorithm in ALGORITHMS:
        found = Certificate.read(leaf(algorithm=algorithm).der())
        assert found.name == "SEV-VCEK"
        made = x509.load_der_x509_certificate(leaf(algorithm=algorithm, serial=1).der())
        scheme = made.signature_algorithm_parameters
        assert isinstance(scheme, padding.PSS) and scheme._salt_length == 48
        assert isinstance(made.signature_hash_algorithm, SHA384)


FORMS = {
    "two algorithms": leaf(outer=PSS_SHORT), "two algorithms, the other way": leaf(algorithm=PSS_SHORT, outer=PSS),
    "20 bytes of salt": leaf(algorithm=PSS.replace(b"\xa2\x03\x02\x01\x30", b"\xa2\x03\x02\x01\x14")),
    "SHA-256": leaf(algorithm=PSS.replace(bytes.fromhex("86480165030402020500"), bytes.fromhex("86480165030402010500"))),
    "RSA without PSS": leaf(algorithm=bytes.fromhex("300d06092a864886f70d01010c0500")),
    "version 1": leaf(version=tlv(0xA0, b"\x02\x01\x00")), "an unknown critical extension": leaf(
        extensions={"x": extension("1.2.3", b"", critical=True)}
    ),
}  # fmt: skip
UNREADABLE = {
    "bytes behind it": leaf(tail=b"\x05\x00"), "bytes behind what is signed": leaf(after=b"\x05\x00"), "unused bits": leaf(unused=b"\1"),
    "a third date": leaf(after_dates=moment(START)),
    "bytes behind the extensions": leaf(after_extensions=b"\x05\x00"),
    "no version": leaf(version=b""), "two versions": leaf(version=tlv(0xA0, b"\x02\x01\x02" * 2)),
    "twice the same extension": leaf(extensions={"a": extension("1.2.3", b"a"), "b": extension("1.2.3", b"b")}),
    "two lines in a name": leaf(subject="SEV\nVCEK"), "a long name": leaf(subject="S" * 200),
    "a name that is not ASCII": leaf(subject="SEV-VCEK\N{COMBINING ACUTE ACCENT}"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_other_forms(form):
    assert code(Certificate.read, FORMS[form].der()) == "tee.snp.certificate"


@pytest.mark.parametrize("form", UNREADABLE)
def test_what_cannot_be_read(form):
    assert code(Certificate.read, UNREADABLE[form].der()) == "tee.snp.certificates"


def test_bytes_behind_a_certificate():
    assert code(Certificate.read, leaf().der() + b"\0") == "tee.snp.certificates"
    assert code(Certificate.read, leaf().der()[:-1]) == "tee.snp.certificates"


def test_names():
    """A name has one common name."""
    twice = leaf().der().replace(name("SEV-Milan"), tlv(0x30, name("SEV-Milan")[2:] * 2))
    assert code(Certificate.read, twice) == "tee.snp.certificates"


AUTHORITIES = {
    "no constraints": {"2.5.29.19": b""}, "no key usage": {"2.5.29.15": b""},
    "no authority": {"2.5.29.19": extension("2.5.29.19", tlv(0x30))},
    "no authority, in so many words": {"2.5.29.19": extension("2.5.29.19", tlv(0x30, b"\x01\x01\0"))},
    "no boolean": {"2.5.29.19": extension("2.5.29.19", tlv(0x30, b"\x01\x01\1"))},
    "no number": {"2.5.29.19": extension("2.5.29.19", tlv(0x30, b"\x01\x01\xff", b"\x04\0"))},
    "more than a number": {"2.5.29.19": extension("2.5.29.19", tlv(0x30, b"\x01\x01\xff", number(0), number(0)))},
    "only to sign lists": {"2.5.29.15": extension("2.5.29.15", b"\x03\x02\x01\x02")},
    "an empty usage": {"2.5.29.15": extension("2.5.29.15", b"\x03\x01\0")},
    "bytes behind the usage": {"2.5.29.15": extension("2.5.29.15", b"\x03\x02\x01\x06\0")},
}  # fmt: skip


@pytest.mark.parametrize("form", AUTHORITIES)
def test_what_may_not_sign(form):
    made = authority(extensions={k: v for k, v in (AUTHORITY | AUTHORITIES[form]).items() if v})
    assert code(Certificate.read(made.der()).rsa_key) == "tee.snp.certificate"


def test_a_number_of_certificates_below():
    made = authority(
        extensions=AUTHORITY
        | {"2.5.29.19": extension("2.5.29.19", tlv(0x30, b"\x01\x01\xff", number(0)), critical=True)}
    )
    assert Certificate.read(made.der()).rsa_key().key_size == 4096


def test_keys():
    small = rsa.generate_private_key(65537, 2048)
    other = ec.derive_private_key(7, ec.SECP256R1())
    good = spki(LEAF)
    for of in (
        {"key": small},
        {"key": ASK},
        {"key": other},
        {"spki": good[:-1] + bytes([good[-1] ^ 1])},
        {"spki": good[:-97] + b"\x02" + good[-96:]},
    ):
        assert code(Certificate.read(leaf(**of).der()).ec_key) == "tee.snp.certificate"
    three = spki(ASK)[:-1] + b"\x03"
    short = spki(ASK)[:33] + bytes(511) + spki(ASK)[-6:]  # its number is not in the shortest form
    for of in ({"key": small}, {"key": LEAF}, {"spki": three}, {"spki": short}):
        assert code(Certificate.read(authority(**of).der()).rsa_key) == "tee.snp.certificate"
    constrained = leaf(extensions=leaf().extensions | {"2.5.29.19": extension("2.5.29.19", tlv(0x30))})
    assert code(Certificate.read(constrained.der()).ec_key) == "tee.snp.certificate"


def says(line: str = "Milan", **of):
    made = leaf()
    made.extensions |= of
    return Certificate.read(
        replace(made, extensions={k: v for k, v in made.extensions.items() if v}).der()
    ).endorsement(line)


def test_what_a_certificate_says():
    found = says()
    assert (found.product, found.spl, found.hwid, found.provider) == ("Milan-B0", {"snp": 1}, bytes(64), None)
    provider = extension(AMD + "5", text("CN=cc-us-east-2.amazonaws.com"))
    found = says(**{AMD + "4": b"", AMD + "5": provider, AMD + "3.8": extension(AMD + "3.8", number(219))})
    assert (found.hwid, found.provider, found.spl["microcode"]) == (None, "CN=cc-us-east-2.amazonaws.com", 219)


def test_a_chip_may_stand_in_an_octet_string():
    for line, size in (("Milan", 64), ("Turin", 8)):
        for value in (b"\4" * size, tlv(4, b"\4" * size)):
            assert says(line, **{AMD + "4": extension(AMD + "4", value)}).hwid == b"\4" * size


WRONG = {
    "a chip of another length": {AMD + "4": extension(AMD + "4", bytes(8))},
    "a chip of another length in an octet string": {AMD + "4": extension(AMD + "4", tlv(4, bytes(63)))},
    "no product": {AMD + "2": b""}, "a product that is no text": {AMD + "2": extension(AMD + "2", number(1))},
    "bytes behind a product": {AMD + "2": extension(AMD + "2", text("Milan") + b"\0")},
    "a product in two lines": {AMD + "2": extension(AMD + "2", text("Milan\n"))},
    "a product that is not ASCII": {AMD + "2": extension(AMD + "2", tlv(0x0C, b"\xc3\xa4"))},
    "a version above 255": {AMD + "3.3": extension(AMD + "3.3", number(256))},
    "a negative version": {AMD + "3.3": extension(AMD + "3.3", b"\x02\x01\xff")},
    "bytes behind a version": {AMD + "3.3": extension(AMD + "3.3", number(1) + b"\0")},
    "a provider that is no text": {AMD + "5": extension(AMD + "5", b"\x04\0")},
}  # fmt: skip


@pytest.mark.parametrize("form", WRONG)
def test_what_it_may_not_say(form):
    assert code(lambda: says(**WRONG[form])) == "tee.snp.certificate"


def test_all_lines():
    for line in ("Milan", "Genoa", "Turin"):
        for kind in ("VCEK", "VLEK"):
            found = [Certificate.read(der) for der in Amd(line, kind).certificates]
            assert [one.name for one in found] == [f"SEV-{kind}", found[0].above, f"ARK-{line}"]
    assert Certificate.read(MILAN.certificates[0]).endorsement("Milan").spl["microcode"] == 219
