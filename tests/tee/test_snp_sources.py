"""DER, PEM and a host's table of certificates."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from bastion_tee.snp.sources import MAX_BYTES, MAX_CERTIFICATES, certificates, pem, table
from bastion_tee.verdict import Refused
from tee_snp import pem as written
from tee_snp import table as made
from tee_snp import tlv

ONE, TWO, THREE = (tlv(0x30, bytes([i]) * 71) for i in (1, 2, 3))


def refused(call, *of) -> None:
    with pytest.raises(Refused) as caught:
        call(*of)
    assert caught.value.failure.code == "tee.snp.certificates"


def test_every_source():
    host = made(("vcek", ONE), ("other", b"no certificate"), ("ask", written(TWO)), ("ark", THREE))
    assert certificates([ONE, written(TWO, THREE)]) == [ONE, TWO, THREE]
    assert certificates([host]) == [ONE, TWO, THREE]
    assert certificates([host + bytes(4096)]) == [ONE, TWO, THREE]
    assert certificates([b"".join(b"\n" + written(one) + b" \n" for one in (ONE, TWO)).lstrip()]) == [ONE, TWO]
    assert certificates([made(("vlek", ONE), little=True), TWO]) == [ONE, TWO]


def test_no_certificates():
    assert certificates([]) == certificates([b""]) == certificates([bytes(24)]) == certificates([bytes(4096)]) == []
    assert certificates([made(("vcek", b""))]) == []


@pytest.mark.parametrize("change", [
    lambda text: text + b"more\n", lambda text: b"more\n" + text, lambda text: text.replace(b"-----END CERTIFICATE-----\n", b""),
    lambda text: text.replace(b"CERTIFICATE", b"X509 CRL"), lambda text: text.replace(b"-----BEGIN", b"----BEGIN"),
    lambda text: text + b"-----END CERTIFICATE-----\n", lambda text: text[:40] + b"!" + text[41:], lambda text: text[:40] + text[41:],
    lambda text: b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", lambda text: b"",
    lambda text: text.replace(b"=", b""), lambda text: text[: text.index(b"=")] + b"==" + text[text.index(b"=") :],
    lambda text: text[:60] + b"\n-----BEGIN CERTIFICATE-----\n" + text[60:],
])  # fmt: skip
def test_what_is_no_pem(change):
    text = written(ONE)
    assert b"=" in text
    changed = change(text)
    assert changed != text
    refused(pem, changed, "CERTIFICATE")


def test_one_text_for_one_certificate():
    """The bits that base64 does not use are zero."""
    text = written(ONE)
    at = text.index(b"=") - 1
    for other in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        changed = text[:at] + bytes([other]) + text[at + 1 :]
        with suppress(Refused):
            assert changed == text or pem(changed, "CERTIFICATE") != [ONE]


def test_windows_lines():
    assert pem(written(ONE, TWO).replace(b"\n", b"\r\n"), "CERTIFICATE") == [ONE, TWO]


@pytest.mark.parametrize("cut", [1, 16, 23, 24, 40, 47])
def test_a_table_without_an_end(cut):
    refused(table, made(("vcek", ONE), ("ask", TWO))[:cut])


def test_tables_that_point_nowhere():
    good = made(("vcek", ONE))
    for offset, length in (
        (0, 10),
        (47, 10),
        (48, len(ONE) + 1),
        (len(good), 1),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (48, 0xFFFFFFFF),
    ):
        refused(table, good[:16] + struct.pack("<II", offset, length) + good[24:])


def test_bounds():
    refused(certificates, [tlv(0x30, bytes(MAX_BYTES))])
    refused(certificates, [ONE] * (MAX_CERTIFICATES + 1))
    refused(table, made(*[("vcek", ONE)] * 40))
    assert len(certificates([ONE] * MAX_CERTIFICATES)) == MAX_CERTIFICATES
