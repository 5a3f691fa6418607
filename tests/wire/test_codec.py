"""Messages: round trips, limits, and nothing but WireError out of hostile bytes."""

from __future__ import annotations

import contextlib
import math
import tracemalloc

import msgpack
import pytest
from bastion_plan.errors import BastionError, NotAuthorised, NotFound, WireError
from bastion_plan.models.fits import FitSpec, Optimizer
from bastion_wire import messages as m
from bastion_wire.codec import decode_reply, decode_request, encode_reply, encode_request, failed, raise_failed
from hypothesis import given
from hypothesis import strategies as st

SPEC = FitSpec((("a", "b"), ("z",)), ("y",), "bce", 7, Optimizer("adam", 0.5), epsilon=1.5, rate=0.25, expected=4.5)
REQUESTS = [
    m.Hello("x"), m.Ping(), m.ListDatasets(), m.GetDataset("a"), m.Query(b"\0\1", "run", "r"), m.Cancel(3), m.Credit(3, 2),
    m.Save(b"p", "n"), m.Delete("d", b"s"), m.UploadBegin("n", 3, b"d" * 32, hidden=("a", "b")), m.UploadChunk("u", 4),
    m.UploadEnd("u"), m.SetPolicy("d", roles={"a": "b"}, allow=("x",)), m.RequestAccess(b"p", "why"), m.ListRequests(("pending",)),
    m.GetRequest("r"), m.Withdraw("r"), m.Decide("r", "approve", until=1.5), m.AuditShow(None, 7), m.AuditVerify(), m.Exposure("d"),
    m.ClearFailures("d", "w", 8, b"s"), m.GetBudget(), m.TryPolicy("d", "unit = \"a\"", {"a": "quasi"}, 20), m.ModelBegin(b"g", 3, b"d" * 32), m.Fit(b"p", "m", SPEC, "summarize"),
    m.RequestFit(b"p", "m", SPEC, "why"), m.ListRuns(), m.GetRun("f"), m.StopRun("f"), m.ResumeRun("f", 5, 1.5),
    m.TestRun("f", "auc", "train", 0.5, 2.5), m.GetWeights("f"), m.DeleteRun("f"), m.ReleaseKey("d", b"k", b"s"), m.RevokeKey("d"),
]  # fmt: skip


@pytest.mark.parametrize("body", REQUESTS, ids=lambda b: type(b).__name__)
def test_requests_round_trip_through_plain_msgpack(body: m.AnyRequest) -> None:
    data = encode_request(7, body)
    assert decode_request(data) == m.Envelope(1, 7, body)
    assert decode_request(msgpack.packb(msgpack.unpackb(data))) == m.Envelope(1, 7, body)


def test_every_request_kind_is_tried() -> None:
    assert {type(b) for b in REQUESTS} == set(m.AnyRequest.__args__)


@pytest.mark.parametrize(
    "body",
    [m.Failed("a.b", "c", details={"x": [1, None, 2.5]}), m.Done(), m.Chunk(3, True, b"x" * 32), m.Progress("running", 1, 2),
     m.Push("decision", m.RequestInfo("r", "approved", "a", "b", "h", ("d",), 1.0)), m.Credit(1, 2), m.UploadReady("u", 8)],
    ids=lambda b: type(b).__name__,
)  # fmt: skip
def test_answers_round_trip(body: m.AnyAnswer) -> None:
    assert decode_reply(encode_reply(9, body)) == m.Reply(1, 9, body)


def code_of(data: bytes) -> tuple[str, int]:
    with pytest.raises(WireError) as caught:
        decode_request(data)
    return caught.value.code, caught.value.request_id


def pack(**fields: object) -> bytes:
    return msgpack.packb({"v": 1, "id": 5, "body": {"kind": "ping"}} | fields)


@pytest.mark.parametrize(
    ("data", "code", "number"),
    [
        (b"", "wire.msgpack", 0),
        (b"\xc1", "wire.msgpack", 0),
        (pack() + b"\0", "wire.msgpack", 5),
        (msgpack.packb([1, 2]), "wire.fields", 0),
        (msgpack.packb({"id": 5}), "wire.fields", 5),
        (pack(v=2), "wire.version", 5),
        (pack(v=True), "wire.version", 5),
        (pack(v="1"), "wire.version", 5),
        (pack(id=-1), "wire.fields", 0),
        (pack(id=1 << 60), "wire.fields", 0),
        (pack(id="5"), "wire.fields", 0),
        (pack(extra=1), "wire.fields", 5),
        (pack(body={"kind": "ping", "extra": 1}), "wire.fields", 5),
        (pack(body={"kind": "nonsense"}), "wire.fields", 5),
        (pack(body={"kind": "done"}), "wire.fields", 5),  # an answer is no request
        (pack(body={}), "wire.fields", 5),
        (pack(body={"kind": "query", "plan": "text"}), "wire.fields", 5),
        (pack(body={"kind": "cancel", "target": 1.5}), "wire.fields", 5),
        (pack(body={"kind": "cancel", "target": "1"}), "wire.fields", 5),
        (pack(body={"kind": "decide", "request": "r", "decision": "d", "until": math.nan}), "wire.not-finite", 5),
        (pack(body={"kind": "query", "plan": b"", "epsilon": -math.inf}), "wire.not-finite", 5),
        (pack(body={"kind": "list_requests", "states": [1.0, math.inf]}), "wire.not-finite", 5),
        (pack(body={"kind": "get_dataset", "ref": msgpack.Timestamp(1)}), "wire.msgpack", 5),
        (pack(body={"kind": "get_dataset", "ref": msgpack.ExtType(4, b"")}), "wire.msgpack", 5),
        (b"\x83\xa1v\x01\xa2id\x07\xa2id\x07", "wire.msgpack", 7),  # a repeated key
        (b"\x82\xa1v\x01\xa1v\x01", "wire.msgpack", 0),  # a repeated key
        (b"\x81\x01\x02", "wire.msgpack", 0),  # a key that is no text
        (
            msgpack.packb({"v": 1, "id": 5, "body": {"kind": "get_dataset", "ref": "x" * (2 << 20)}}),
            "wire.too-large",
            0,
        ),
        (b"\x91" * 5000 + b"\x90", "wire.msgpack", 0),
        (b"\xdd\xff\xff\xff\xff", "wire.msgpack", 0),
        (b"\x81\xa3bad\xa2\xff\xfe", "wire.msgpack", 0),
    ],
)
def test_what_is_not_a_message_is_told_by_code(data: bytes, code: str, number: int) -> None:
    assert code_of(data) == (code, number)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (m.Query(b"", epsilon=math.nan), "wire.not-finite"),
        (m.Query(b"", epsilon=-math.inf), "wire.not-finite"),
        (m.Decide("r", "approve", until=math.inf), "wire.not-finite"),
        (m.AuditShow(None, 1 << 64), "wire.not-encodable"),
        (m.Cancel(-(1 << 63) - 1), "wire.not-encodable"),
        (m.GetDataset("\ud800"), "wire.not-encodable"),
        (m.GetDataset(object()), "wire.not-encodable"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_sent_is_told_before_it_is(body: m.AnyRequest, code: str) -> None:
    with pytest.raises(WireError) as caught:
        encode_request(1, body)
    error = caught.value
    assert error.code == code
    assert error.reason and error.next_step


def test_a_refusal_repeats_nothing_of_the_message() -> None:
    with pytest.raises(WireError) as caught:
        decode_request(pack(body={"kind": "ping", "secret-4711": 1}))
    assert "4711" not in str(caught.value) + repr(caught.value.details)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_bomb_of_containers_costs_little() -> None:
    bomb = b"\xdc\xff\xff" + (b"\xdc\xff\xff" + b"\x80" * 65535) * 31
    bomb += b"\x80" * ((2 << 20) - len(bomb))
    tracemalloc.start()
    assert code_of(bomb)[0] == "wire.msgpack"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


@given(st.binary(max_size=300))
def test_random_bytes_give_wire_errors_only(data: bytes) -> None:
    for decode in (decode_request, decode_reply):
        with contextlib.suppress(WireError):
            decode(data)


@given(
    st.sampled_from(REQUESTS),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 3),
)
def test_damaged_messages_give_wire_errors_only(body: m.AnyRequest, flips: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(encode_request(7, body))
    for where, value in flips:
        data[where % len(data)] = value
    try:
        envelope = decode_request(bytes(data[: len(data) - cut]))
    except WireError:
        return
    assert decode_request(encode_request(envelope.id, envelope.body)) == envelope


_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_KINDS = st.sampled_from([msgpack.unpackb(encode_request(1, b))["body"]["kind"] for b in REQUESTS])


@given(
    _KINDS,
    st.dictionaries(st.sampled_from(["plan", "name", "size", "target", "policy", "ref", "signed", "roles"]), _PLAIN),
)
def test_any_plain_data_in_a_body_gives_wire_errors_only(kind: str, fields: dict[str, object]) -> None:
    with contextlib.suppress(WireError):
        decode_request(msgpack.packb({"v": 1, "id": 1, "body": fields | {"kind": kind}}))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("wire.auth.unknown-key", NotAuthorised),
        ("missing.dataset", NotFound),
        ("wire.lost", WireError),
        ("wired", BastionError),
        ("", BastionError),
    ],
)
def test_a_failure_comes_back_as_its_class(code: str, kind: type[BastionError]) -> None:
    sent = NotFound("what", reason="why", next_step="next", code=code or None, details={"a": [1]})
    sent.code = code
    reply = decode_reply(encode_reply(1, failed(sent)))
    assert isinstance(reply.body, m.Failed)
    with pytest.raises(BastionError) as caught:
        raise_failed(reply.body)
    assert type(caught.value) is kind
    assert (caught.value.message, caught.value.reason, caught.value.next_step) == ("what", "why", "next")
    assert caught.value.details == {"a": [1]}


def test_details_that_are_not_plain_stay_behind() -> None:
    assert failed(NotFound("x", details={"a": object()})).details == {}
    loop: dict[str, object] = {}
    loop["a"] = loop
    assert failed(NotFound("x", details=loop)).details == {}


def test_an_answer_that_does_not_fit_is_refused() -> None:
    with pytest.raises(WireError, match=r"wire\.too-large"):
        encode_reply(1, m.Failed("x", "y" * (2 << 20)))
