"""Revocation lists: AMD's, of this root, and of now."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from bastion_tee.snp.certificates import Certificate
from bastion_tee.snp.crl import MAX_BYTES, RevocationList, revoked
from tee_snp import ASK, END, MILAN, NOW, PSS_SHORT, START, Amd, extension, number, pem, tlv

CHAIN = [Certificate.read(der) for der in MILAN.certificates]
LATE = datetime(2026, 1, 1, tzinfo=UTC)
EXTENSIONS = extension("2.5.29.20", number(7)) + extension("2.5.29.35", tlv(0x30))


def codes(*lists: bytes, now: float = NOW, required: bool = False) -> list[str]:
    return [failure.code for failure in revoked(lists, CHAIN[2], CHAIN, now, required)[0]]


def test_a_list():
    found = RevocationList.read(MILAN.crl(5, 6, extensions=EXTENSIONS, entry=extension("2.5.29.21", b"\x0a\x01\x01")))
    assert (found.serials, found.issued, found.next_update) == ({5, 6}, START.timestamp(), END.timestamp())
    assert RevocationList.read(MILAN.crl()).serials == frozenset()


def test_nothing_revoked():
    for made in (MILAN.crl(), MILAN.crl(5), pem(MILAN.crl(5), label="X509 CRL"), MILAN.crl(extensions=EXTENSIONS)):
        assert codes(made) == codes(made, required=True) == []
    failures, current = revoked([MILAN.crl(), MILAN.crl(until=LATE)], CHAIN[2], CHAIN, START.timestamp(), True)
    assert not failures and current is not None and current.next_update == END.timestamp()


def test_no_list():
    assert codes() == []
    assert codes(required=True) == ["tee.policy.revocation-missing"]
    # a client keeps the lists of all lines; another line's is none
    assert codes(Amd("Genoa").crl(0x10001)) == []
    assert codes(Amd("Genoa").crl(), required=True) == ["tee.policy.revocation-missing"]


@pytest.mark.parametrize("serial", [0x10000, 0x10001])
def test_revoked(serial):
    assert codes(MILAN.crl(1, serial)) == ["tee.snp.revoked"]
    assert codes(MILAN.crl(serial, entry=extension("2.5.29.21", b"\x0a\x01\x01"))) == ["tee.snp.revoked"]
    # an old list is none to go by, but what it names stays revoked
    assert codes(MILAN.crl(serial, until=LATE), MILAN.crl()) == ["tee.snp.revoked"]
    assert codes(MILAN.crl(serial, until=LATE)) == ["tee.snp.revoked", "tee.snp.crl"]


def test_dates():
    assert codes(MILAN.crl(until=LATE)) == ["tee.snp.crl"]
    assert (
        codes(MILAN.crl(), now=START.timestamp() - 1) == codes(MILAN.crl(), now=END.timestamp() + 1) == ["tee.snp.crl"]
    )
    assert codes(MILAN.crl(), now=START.timestamp()) == codes(MILAN.crl(), now=END.timestamp()) == []
    assert codes(MILAN.crl(), now=float("nan")) == ["tee.snp.crl"]


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


WRONG = {
    "another signer": MILAN.crl(signer=ASK), "a changed signature": flipped(MILAN.crl(), -1), "two algorithms": MILAN.crl(algorithm=PSS_SHORT),
    "version 1": MILAN.crl(version=0), "no end of its time": MILAN.crl(until=None), "bytes behind it": MILAN.crl() + b"\0",
    "a difference to another list": MILAN.crl(extensions=extension("2.5.29.27", number(1), critical=True)),
    "another issuer's entry": MILAN.crl(5, entry=extension("2.5.29.29", tlv(0x30), critical=True)),
    "bytes behind its fields": MILAN.crl(extensions=EXTENSIONS, after=b"\x05\0"), "no list": b"", "a certificate": MILAN.certificates[2],
    "PEM of something else": pem(MILAN.crl()), "too large": bytes(MAX_BYTES + 1),
}  # fmt: skip


@pytest.mark.parametrize("form", WRONG)
def test_what_is_no_list(form):
    """Not the right one beside it, either: who gave the client both is not to be guessed."""
    assert "tee.snp.crl" in codes(WRONG[form])
    assert codes(WRONG[form], MILAN.crl()) == ["tee.snp.crl"]
