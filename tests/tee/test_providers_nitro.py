"""/dev/nsm, with a function that does what the kernel's ioctl does: reads and writes at the addresses it is given."""

from __future__ import annotations

import ctypes
import errno
import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import pytest
from bastion_plan.errors import ServerError
from bastion_tee.evidence import Evidence
from bastion_tee.policy import AttestationPolicy
from bastion_tee.providers import nitro
from bastion_tee.providers.detect import detect
from bastion_tee.providers.nitro import ANSWER, RAW, Message, NitroProvider
from bastion_tee.verify import verify
from tee_nitro import NOW, Nitro

WORLD = Nitro()
ASKED = bytes(range(64))


def attestation(asked: dict[str, Any]) -> object:
    """The module's answer: a document about what was asked for."""
    return {"Attestation": {"document": WORLD.document(**asked)}}


class Module:
    """The kernel's side, and the module behind it. `fails`: errors to raise before anything else, one a call."""

    def __init__(self, answer: Callable[[dict[str, Any]], object] = attestation, *fails: int) -> None:
        self.answer, self.fails, self.calls = answer, list(fails), 0

    def __call__(self, descriptor: int, number: int, message: Message) -> object:
        assert descriptor > 2 and number == RAW and ctypes.sizeof(message) == 32
        self.calls += 1
        if self.fails:
            raise OSError(self.fails.pop(0), "")
        assert message.request.length <= 0x1000 and message.answer.length == ANSWER
        request = cbor2.loads(ctypes.string_at(message.request.address, message.request.length))
        assert list(request) == ["Attestation"] and set(request["Attestation"]) == {"user_data", "nonce", "public_key"}
        found = self.answer(request["Attestation"])
        raw = found if isinstance(found, bytes) else cbor2.dumps(found)
        if len(raw) > message.answer.length:
            raise OSError(errno.EMSGSIZE, "")
        ctypes.memmove(message.answer.address, raw, len(raw))
        message.answer.length = len(raw)
        return 0


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "nsm"
    path.touch()
    return path


def ask(device: Path, module: Module, slept: list[float] | None = None) -> Evidence:
    sleep = (slept if slept is not None else []).append
    return NitroProvider(device, pauses=(0.5, 1.0), sleep=sleep, ioctl=module).evidence(ASKED)


def code(device: Path, module: Module) -> tuple[str, str]:
    with pytest.raises(ServerError) as caught:
        ask(device, module)
    assert caught.value.details == {"provider": "nsm"}
    return caught.value.code, caught.value.reason


def test_evidence_that_a_client_takes(device: Path):
    provider = NitroProvider(device, ioctl=Module())
    assert (provider.name, provider.platform) == ("nsm", "nitro")
    evidence = provider.evidence(ASKED)
    assert evidence.platform == "nitro" and evidence.certificates == () and evidence.boot != ""
    policy = AttestationPolicy.from_toml(f"[nitro]\nmeasurements = ['{'01' * 48}']")
    assert verify(evidence.encode(), policy, report_data=ASKED, now=NOW, roots=WORLD.roots).attested


def test_the_number_is_the_kernels():
    """_IOWR(0x0A, 0, struct nsm_raw): read and write, 32 bytes."""
    assert 3 << 30 | ctypes.sizeof(Message) << 16 | 0x0A << 8 == RAW


def test_it_is_what_a_machine_has(device: Path, tmp_path: Path):
    found = detect(tmp_path / "report", tmp_path / "sev-guest", device)
    assert isinstance(found.provider, NitroProvider)


def test_64_bytes_are_asked_for(device: Path):
    with pytest.raises(ServerError, match="64 bytes") as caught:
        NitroProvider(device, ioctl=Module()).evidence(bytes(63))
    assert caught.value.code == "server.evidence.asked"


def test_no_device(tmp_path: Path):
    with pytest.raises(ServerError) as caught:
        NitroProvider(tmp_path / "nsm")
    assert caught.value.code == "server.evidence.missing"


def test_a_device_that_is_gone(device: Path):
    provider = NitroProvider(device, ioctl=Module())
    device.unlink()
    with pytest.raises(ServerError) as caught:
        provider.evidence(ASKED)
    assert caught.value.code == "server.evidence.missing"


def test_the_kernels_own_ioctl_on_what_is_no_module(device: Path):
    assert nitro.NitroProvider(device)._device._ioctl is fcntl.ioctl
    with pytest.raises(ServerError, match="gave no evidence") as caught:
        NitroProvider(device).evidence(ASKED)
    assert caught.value.reason == "The kernel answered ENOTTY."


def test_a_module_that_is_busy_is_asked_again(device: Path):
    slept: list[float] = []
    module = Module(attestation, errno.EBUSY, errno.ETIMEDOUT)
    assert ask(device, module, slept).platform == "nitro" and slept == [0.5, 1.0] and module.calls == 3
    assert code(device, Module(attestation, *[errno.EBUSY] * 3))[0] == "server.evidence.busy"


def test_who_may_not_ask(device: Path):
    assert code(device, Module(attestation, errno.EPERM)) == ("server.evidence.rights", "The kernel answered EPERM.")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"Error": "InvalidArgument"}, ("server.evidence.failed", "The module answered InvalidArgument.")),
        ({"Error": "<b>"}, ("server.evidence.format", "The answer is of another kind.")),
        ({"Error": 7}, ("server.evidence.format", "The answer is of another kind.")),
        ({"GetRandom": {"random": b"x"}}, ("server.evidence.format", "The answer is of another kind.")),
        ({"Attestation": {"document": "x"}}, ("server.evidence.format", "The answer is of another kind.")),
        ([], ("server.evidence.format", "The answer is of another kind.")),
        (b"", ("server.evidence.format", "The answer cannot be read.")),
        (b"\xff", ("server.evidence.format", "The answer cannot be read.")),
        (bytes(ANSWER + 1), ("server.evidence.failed", "The kernel answered EMSGSIZE.")),
        ({"Attestation": {"document": WORLD.document()}}, ("server.evidence.other", "")),
    ],
)
def test_answers_that_are_no_evidence(device: Path, answer: object, found: tuple[str, str]):
    assert code(device, Module(lambda asked: answer)) == found
