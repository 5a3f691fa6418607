"""Documents of Nitro enclaves: an Amazon of our own wrong in every way that there is a code for, and a real document."""

from __future__ import annotations

import base64
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from bastion_tee import nitro
from bastion_tee.codes import CHECKS
from bastion_tee.evidence import Evidence
from bastion_tee.pins import PINNED
from bastion_tee.policy import AttestationPolicy, PlatformPolicy
from bastion_tee.roots import Collateral, Roots
from bastion_tee.verdict import Claims, Failure, Refused
from bastion_tee.verify import verify
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from tee_nitro import END, NAMES, NOW, PCRS, PROTECTED, START, Nitro
from tee_vectors import at, needs_vectors, vector

WORLD = Nitro()
STRANGER = Nitro(tag="stranger.")


def ask(document: bytes, *, now: float = NOW, roots: Roots = WORLD.roots) -> tuple[Claims, list[Failure]]:
    return nitro.check(Evidence("nitro", document), PlatformPolicy(), now, Collateral(), roots)


def codes(*args: Any, **named: Any) -> list[str]:
    """The codes that a check gives, whichever way."""
    try:
        return [f.code for f in ask(*args, **named)[1]]
    except Refused as refused:
        return [refused.failure.code]


# -- what is right -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tagged", [False, True])
def test_a_document(tagged: bool) -> None:
    data = bytes(range(64))
    claims, failures = ask(WORLD.document(data, tagged=tagged))
    assert failures == []
    assert claims.platform == "nitro" and claims.report_data == data and not claims.debug
    assert claims.measurement == claims.measurements["pcr0"] == "01" * 48
    assert claims.measurements == {f"pcr{index}": value.hex() for index, value in PCRS.items()}
    assert claims.signed_at == NOW and (claims.not_before, claims.not_after) == (START, END)
    assert claims.flags == {"module_id": "i-0123456789abcdef0-enc0123456789abcdef"}


def test_what_need_not_be_there() -> None:
    claims, failures = ask(WORLD.document(None, public_key=..., nonce=...))
    assert failures == [] and claims.report_data == b""
    assert codes(WORLD.document(user_data=..., public_key=b"x" * 1024, nonce=b"x" * 512)) == []
    assert codes(WORLD.document(b"x" * 512, nonce=b"")) == []
    # an authority that says nothing of how long the chain may be
    open_ended = Nitro(other={"zone": {"length": None}})
    assert codes(open_ended.document()) == []
    # what is not critical need not be understood
    assert codes(Nitro(other={"zone": {"extra": False}}).document()) == []


def test_debug_is_a_measurement_of_nothing() -> None:
    for index in range(3):
        claims, _ = ask(WORLD.document(pcrs=PCRS | {index: bytes(48)}))
        assert claims.debug


def test_the_whole_way_to_a_verdict() -> None:
    data, text = b"\x99" * 64, "[nitro]\nmeasurements = ['{}']\nregisters = {{ pcr8 = ['{}'] }}"
    for document, policy, now, found in (
        (WORLD.document(data), text.format("01" * 48, "00" * 48), NOW, ()),
        (WORLD.document(data), text.format("02" * 48, "00" * 48), NOW, ("tee.policy.measurement",)),
        (WORLD.document(data), text.format("01" * 48, "aa" * 48), NOW, ("tee.policy.measurement",)),
        (WORLD.document(), text.format("01" * 48, "00" * 48), NOW, ("tee.policy.report-data",)),
        (WORLD.document(data), "max_age = 60\n" + text.format("01" * 48, "00" * 48), NOW + 61, ("tee.policy.age",)),
        (WORLD.document(data), text.format("01" * 48, "00" * 48), NOW - 400, ("tee.policy.future",)),
        (
            WORLD.document(data, pcrs=PCRS | {0: bytes(48)}),
            text.format("00" * 48, "00" * 48),
            NOW,
            ("tee.policy.debug",),
        ),
    ):
        asked = AttestationPolicy.from_toml(policy)
        verdict = verify(Evidence("nitro", document).encode(), asked, report_data=data, now=now, roots=WORLD.roots)
        assert verdict.codes == found and verdict.attested == (found == ())


# -- what is wrong: each with its code ------------------------------------------------------------------------------------


def other(name: str, **what: Any) -> Callable[[], bytes]:
    """A document where one certificate is otherwise."""
    return lambda: Nitro(other={name: what}).document()


def fields(**what: Any) -> Callable[[], bytes]:
    return lambda: WORLD.document(**what)


def frame(*parts: Any) -> Callable[[], bytes]:
    return lambda: WORLD.document(frame=list(parts))


PAYLOAD = cbor2.dumps(WORLD.fields())
CHAIN = [WORLD.certificates[name] for name in NAMES]
THEIRS = [STRANGER.certificates[name] for name in NAMES]


def ed25519() -> bytes:
    """A certificate with a key of another kind."""
    signer = Ed25519PrivateKey.generate()
    made = x509.load_der_x509_certificate(CHAIN[-1])
    builder = x509.CertificateBuilder(made.issuer, made.subject, signer.public_key(), 7)
    builder = builder.not_valid_before(made.not_valid_before_utc).not_valid_after(made.not_valid_after_utc)
    return builder.sign(signer, None).public_bytes(Encoding.DER)


def unused_bits(place: int) -> bytes:
    """A document where a certificate's signature, which ends in a zero bit, says that this bit is unused."""
    der = CHAIN[place]
    while der[-1] & 1:
        der = WORLD.certificate(NAMES[place], NAMES[max(place - 1, 0)])
    size = len(x509.load_der_x509_certificate(der).signature)
    assert der[-size - 1] == 0
    chain = [*CHAIN[:place], der[: -size - 1] + b"\1" + der[-size:], *CHAIN[place + 1 :]]
    return WORLD.document(certificate=chain[-1], cabundle=chain[:-1])


#: name -> document, code
WRONG: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (bytes, "tee.nitro.document"),
    "cut": (lambda: WORLD.document()[:-1], "tee.nitro.document"),
    "more after the end": (lambda: WORLD.document() + b"\0", "tee.nitro.document"),
    "huge": (lambda: WORLD.document() + bytes(1 << 15), "tee.nitro.document"),
    "another tag": (lambda: b"\xd1" + WORLD.document(), "tee.nitro.document"),
    "no list": (lambda: cbor2.dumps({}), "tee.nitro.document"),
    "three parts": (frame(PROTECTED, {}, PAYLOAD), "tee.nitro.document"),
    "five parts": (frame(PROTECTED, {}, PAYLOAD, bytes(96), b""), "tee.nitro.document"),
    "an unprotected header": (frame(PROTECTED, {4: b"x"}, PAYLOAD, bytes(96)), "tee.nitro.document"),
    "a detached payload": (frame(PROTECTED, {}, None, bytes(96)), "tee.nitro.document"),
    "an empty payload": (frame(PROTECTED, {}, b"", bytes(96)), "tee.nitro.document"),
    "a huge payload": (frame(PROTECTED, {}, bytes((1 << 14) + 1), bytes(96)), "tee.nitro.document"),
    "a header that is no text of bytes": (frame({1: -35}, {}, PAYLOAD, bytes(96)), "tee.nitro.document"),
    "no CBOR in the payload": (lambda: WORLD.document(payload=b"\xff"), "tee.nitro.document"),
    "a field twice": (
        lambda: WORLD.document(payload=b"\xaa" + PAYLOAD[1:] + cbor2.dumps("digest") + cbor2.dumps("SHA384")),
        "tee.nitro.document"),
    "a length that is left open": (lambda: WORLD.document(payload=b"\xbf" + PAYLOAD[1:] + b"\xff"), "tee.nitro.document"),
    "a register twice": (
        lambda: WORLD.document(payload=PAYLOAD.replace(b"\x03\x58\x30", b"\x02\x58\x30")), "tee.nitro.document"),
    "ES256": (lambda: WORLD.document(protected=bytes.fromhex("a10126")), "tee.nitro.algorithm"),
    "no algorithm": (lambda: WORLD.document(protected=b""), "tee.nitro.algorithm"),
    "more in the header": (lambda: WORLD.document(protected=cbor2.dumps({1: -35, 4: b"x"})), "tee.nitro.algorithm"),
    "the header otherwise written": (
        lambda: WORLD.document(protected=bytes.fromhex("a101390022")), "tee.nitro.algorithm"),
    "a short signature": (lambda: WORLD.document(signature=bytes(95)), "tee.nitro.algorithm"),
    "a long signature": (lambda: WORLD.document(signature=bytes(97)), "tee.nitro.algorithm"),
    "a payload that is a list": (lambda: WORLD.document(payload=cbor2.dumps([])), "tee.nitro.fields"),
    "a field more": (fields(more=1), "tee.nitro.fields"),
    "a field that is a number": (
        lambda: WORLD.document(payload=cbor2.dumps(WORLD.fields() | {7: 1})), "tee.nitro.fields"),
    **{f"without {name}": (fields(**{name: ...}), "tee.nitro.fields")
       for name in ("module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle")},
    "an empty name": (fields(module_id=""), "tee.nitro.fields"),
    "a name of bytes": (fields(module_id=b"x"), "tee.nitro.fields"),
    "SHA256": (fields(digest="SHA256"), "tee.nitro.fields"),
    "no time": (fields(timestamp=0), "tee.nitro.fields"),
    "a time before 1970": (fields(timestamp=-1), "tee.nitro.fields"),
    "a time that is true": (fields(timestamp=True), "tee.nitro.fields"),
    "no registers": (fields(pcrs={}), "tee.nitro.fields"),
    "registers in a list": (fields(pcrs=[bytes(48)]), "tee.nitro.fields"),
    "no PCR0": (fields(pcrs={i: v for i, v in PCRS.items() if i}), "tee.nitro.fields"),
    "a register that there is not": (fields(pcrs=PCRS | {32: bytes(48)}), "tee.nitro.fields"),
    "a register below": (fields(pcrs=PCRS | {-1: bytes(48)}), "tee.nitro.fields"),
    "a register with a name": (fields(pcrs=PCRS | {"3": bytes(48)}), "tee.nitro.fields"),
    "a register of other length": (fields(pcrs=PCRS | {3: bytes(47)}), "tee.nitro.fields"),
    "a register of text": (fields(pcrs=PCRS | {3: "x" * 48}), "tee.nitro.fields"),
    "no authorities": (fields(cabundle=[]), "tee.nitro.fields"),
    "authorities that are no list": (fields(cabundle=CHAIN[0]), "tee.nitro.fields"),
    "many authorities": (fields(cabundle=CHAIN[:1] * 9), "tee.nitro.fields"),
    "an empty authority": (fields(cabundle=[*CHAIN[:4], b""]), "tee.nitro.fields"),
    "a huge authority": (fields(cabundle=[*CHAIN[:4], bytes(1025)]), "tee.nitro.fields"),
    "an empty certificate": (fields(certificate=b""), "tee.nitro.fields"),
    "a huge certificate": (fields(certificate=bytes(1025)), "tee.nitro.fields"),
    "long user data": (fields(user_data=bytes(513)), "tee.nitro.fields"),
    "user data of text": (fields(user_data="x"), "tee.nitro.fields"),
    "a long nonce": (fields(nonce=bytes(513)), "tee.nitro.fields"),
    "an empty key": (fields(public_key=b""), "tee.nitro.fields"),
    "a long key": (fields(public_key=bytes(1025)), "tee.nitro.fields"),
    "no certificate": (fields(certificate=b"x"), "tee.nitro.certificate"),
    "bytes after a certificate": (fields(certificate=CHAIN[-1] + b"\0"), "tee.nitro.certificate"),
    "P-256": (
        lambda: Nitro(other={"enclave": {"curve": ec.SECP256R1}}).document(signature=bytes(96)), "tee.nitro.certificate"),
    "P-256 above": (other("zone", curve=ec.SECP256R1), "tee.nitro.certificate"),
    "SHA-256": (other("zone", digest=hashes.SHA256()), "tee.nitro.certificate"),
    **{f"an unused bit in the signature of the {name}": (
        lambda place=place: unused_bits(place), "tee.nitro.certificate") for place, name in enumerate(NAMES)},
    "a key of another kind": (lambda: WORLD.document(certificate=ed25519()), "tee.nitro.certificate"),
    "version 1": (
        lambda: WORLD.document(certificate=CHAIN[-1].replace(b"\xa0\3\2\1\2", b"\xa0\3\2\1\0", 1)), "tee.nitro.certificate"),
    "something critical": (other("zone", extra=True), "tee.nitro.certificate"),
    "no constraints": (other("zone", **{"no-constraints": True}), "tee.nitro.certificate"),
    "no usage": (other("zone", **{"no-usage": True}), "tee.nitro.certificate"),
    "no authority": (other("zone", ca=False, usage=(True, True)), "tee.nitro.certificate"),
    "an authority that may not": (other("zone", usage=(False, True)), "tee.nitro.certificate"),
    "too long a chain": (other("region", length=1), "tee.nitro.certificate"),
    "too long a chain at its end": (other("zone", length=0), "tee.nitro.certificate"),
    "an enclave that is an authority": (other("enclave", ca=True, usage=(True, True)), "tee.nitro.certificate"),
    "an enclave that may not sign": (other("enclave", usage=(False, False)), "tee.nitro.certificate"),
    "an authority's document": (
        lambda: WORLD.document(certificate=CHAIN[3], cabundle=CHAIN[:3], signer="instance"), "tee.nitro.certificate"),
    "another's root": (STRANGER.document, "tee.nitro.root"),
    "root last": (fields(cabundle=CHAIN[3::-1]), "tee.nitro.root"),
    "no root": (fields(cabundle=CHAIN[1:4]), "tee.nitro.root"),
    "a root that others signed": (other("root", signer="zone"), "tee.nitro.chain"),
    "another's certificate in between": (fields(cabundle=[*CHAIN[:2], THEIRS[2], CHAIN[3]]), "tee.nitro.chain"),
    "one left out": (fields(cabundle=[*CHAIN[:2], CHAIN[3]]), "tee.nitro.chain"),
    "another's enclave": (fields(certificate=THEIRS[-1]), "tee.nitro.chain"),
    "the right name with another's signature": (other("enclave", signer="zone"), "tee.nitro.chain"),
    "another's signature": (lambda: WORLD.document(signer="instance"), "tee.nitro.signature"),
    "a signature of zeros": (lambda: WORLD.document(signature=bytes(96)), "tee.nitro.signature"),
    "a signature beyond the curve": (lambda: WORLD.document(signature=b"\xff" * 96), "tee.nitro.signature"),
    "signed with another header": (
        lambda: cbor2.dumps([PROTECTED, *cbor2.loads(WORLD.document(protected=b""))[1:]]), "tee.nitro.signature"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_has_its_code(name: str) -> None:
    document, code = WRONG[name]
    assert codes(document()) == [code]


def test_every_code_of_this_platform_has_a_case() -> None:
    covered = {code for _, code in WRONG.values()} | {"tee.nitro.dates"}
    assert {code for code in CHECKS if code.startswith("tee.nitro.")} == covered


@pytest.mark.parametrize("name", NAMES)
def test_every_certificate_must_hold_now(name: str) -> None:
    for world, inside in ((Nitro(until={name: NOW - 10}), NOW - 20), (Nitro(since={name: NOW + 10}), NOW + 20)):
        document = world.document()
        assert codes(document) == ["tee.nitro.dates"] and codes(document, now=inside) == []


@pytest.mark.parametrize("now", [float("nan"), float("inf"), -float("inf"), 0.0, START - 1.0, END + 1.0])
def test_no_time_outside(now: float) -> None:
    # the claims are Amazon's all the same: they can be looked at
    claims, failures = ask(WORLD.document(), now=now)
    assert [f.code for f in failures] == ["tee.nitro.dates"] and claims.measurement == "01" * 48


# -- changed and random bytes --------------------------------------------------------------------------------------------


def flips(document: bytes, bits: list[int], **named: Any) -> None:
    """Flip each of some bits. INVARIANT: no other bytes pass."""
    assert codes(document, **named) == []
    for bit in bits:
        changed = bytearray(document)
        changed[bit // 8] ^= 1 << bit % 8
        assert codes(bytes(changed), **named) != [], bit


def test_flipped_bits() -> None:
    document = WORLD.document()
    flips(document, random.Random(8).sample(range(8 * len(document)), 200))


def test_flipped_bits_of_certificates_and_a_payload_that_is_signed_anew() -> None:
    """What a flipped bit of a certificate does is seen only where the document is signed over it."""
    for place, name in enumerate(NAMES):
        for bit in random.Random(place).sample(range(8 * len(CHAIN[place])), 60):
            changed = bytearray(CHAIN[place])
            changed[bit // 8] ^= 1 << bit % 8
            chain = [*CHAIN[:place], bytes(changed), *CHAIN[place + 1 :]]
            assert codes(WORLD.document(certificate=chain[-1], cabundle=chain[:-1])) != [], (name, bit)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_flipped_bit_of_every_certificate() -> None:
    """Also those of the outer algorithm and of unused bits: none passes."""
    for place, name in enumerate(NAMES):
        for bit in range(8 * len(CHAIN[place])):
            changed = bytearray(CHAIN[place])
            changed[bit // 8] ^= 1 << bit % 8
            chain = [*CHAIN[:place], bytes(changed), *CHAIN[place + 1 :]]
            assert codes(WORLD.document(certificate=chain[-1], cabundle=chain[:-1])) != [], (name, bit)


@given(st.binary(max_size=300), st.integers(0, 5000), st.integers(0, 300))
def test_random_documents(data: bytes, place: int, size: int) -> None:
    assert codes(data) == ["tee.nitro.document"]
    document = WORLD.document()
    changed = document[:place] + data + document[place + size :]
    assert changed == document or len(codes(changed)) == 1


@given(st.dictionaries(st.sampled_from(sorted(WORLD.fields())), st.none() | st.integers() | st.text() | st.binary() | st.lists(st.binary(max_size=9), max_size=3), min_size=1))  # fmt: skip
def test_random_fields_that_are_signed(what: dict[str, Any]) -> None:
    found = codes(WORLD.document(**what))
    assert set(found) <= set(CHECKS) and len(found) <= 1


@given(st.binary(min_size=1, max_size=900))
def test_random_certificates_that_are_signed(data: bytes) -> None:
    assert codes(WORLD.document(certificate=data)) == ["tee.nitro.certificate"]
    assert codes(WORLD.document(cabundle=[data, *CHAIN[1:4]])) == ["tee.nitro.certificate"]


def test_a_certificate_that_warns_is_refused_where_warnings_are_errors_and_no_worse_elsewhere() -> None:
    """A serial number below zero: of the form that the library will refuse some day."""
    der = CHAIN[-1].replace(b"\x02\x01\x07", b"\x02\x01\xf9", 1)
    with pytest.raises(Warning):
        x509.load_der_x509_certificate(der)
    assert codes(WORLD.document(certificate=der)) == ["tee.nitro.certificate"]


# -- a real document -----------------------------------------------------------------------------------------------------

WHEN = at("2023-09-18T15:03:30")


def real() -> bytes:
    return base64.b64decode(vector("nitro/valid-attestation-doc-base64"))


@needs_vectors
def test_a_real_document_in_debug_mode() -> None:
    claims, failures = ask(real(), now=WHEN, roots=PINNED)
    assert failures == [] and claims.debug and claims.measurement == "00" * 48
    assert claims.signed_at == WHEN + 0.86 and len(claims.report_data) == 91
    for text, found in (("", ("tee.policy.debug",)), ("debug = true\n", ())):
        policy = AttestationPolicy.from_toml(f"[nitro]\n{text}measurements = ['{'00' * 48}']")
        verdict = verify(Evidence("nitro", real()), policy, report_data=None, now=WHEN, roots=PINNED)
        assert verdict.codes == found
    assert codes(real(), now=at("2023-09-19"), roots=PINNED) == ["tee.nitro.dates"]
    assert codes(real(), now=WHEN) == ["tee.nitro.root"]


@needs_vectors
def test_flipped_bits_of_a_real_document() -> None:
    flips(real(), random.Random(9).sample(range(8 * len(real())), 200), now=WHEN, roots=PINNED)


@needs_vectors
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_flipped_bit_of_every_byte_of_a_real_document() -> None:
    draw = random.Random(10)
    flips(real(), [8 * place + draw.randrange(8) for place in range(len(real()))], now=WHEN, roots=PINNED)


@needs_vectors
def test_the_time_that_a_real_document_takes() -> None:
    document, times = real(), []
    for _ in range(20):
        start = time.process_time()
        assert codes(document, now=WHEN, roots=PINNED) == []
        times.append(time.process_time() - start)
    assert statistics.median(times) < 0.2  # six signatures on P-384; the machine is shared
