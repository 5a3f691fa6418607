"""Which source a machine has: the order, and plain reasons."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from bastion_plan.errors import ServerError
from bastion_tee.providers import detect as module
from bastion_tee.providers.detect import detect
from tee_tsm import tsm_tree


class Nsm:
    name, platform = "nsm", "nitro"

    def __init__(self, device: Path) -> None:
        self.device = device


@pytest.fixture
def nitro(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("bastion_tee.providers.nitro")
    fake.NitroProvider = Nsm  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, fake.__name__, fake)


def places(tmp_path: Path, *there: str) -> tuple[Path, Path, Path]:
    for name in there:
        (tmp_path / name).touch()
    return tmp_path / "report", tmp_path / "sev-guest", tmp_path / "nsm"


def test_nothing_here(tmp_path: Path):
    found = detect(*places(tmp_path))
    assert found.provider is None and list(found.reasons) == ["configfs-tsm", "sev-guest", "nsm"]
    assert "6.7" in found.reasons["configfs-tsm"] and str(tmp_path) in found.reasons["sev-guest"]
    with pytest.raises(ServerError) as caught:
        found.required()
    assert caught.value.code == "server.evidence.none" and "Nitro" in caught.value.reason


def test_a_simulation_is_never_found(tmp_path: Path):
    assert "simulated" not in str(detect(*places(tmp_path)).reasons)
    assert not hasattr(module, "SimulatedProvider")


def test_configfs_comes_first(tmp_path: Path):
    with tsm_tree("tdx_guest", lambda asked, level: (asked, b"")) as tree:
        found = detect(tree.path, *places(tmp_path, "sev-guest")[1:])
        assert found.reasons == {} and found.required().name == "configfs-tsm"
        assert found.required().platform == "tdx"


def test_then_the_device(tmp_path: Path):
    found = detect(*places(tmp_path, "sev-guest", "nsm"))
    assert found.required().name == "sev-guest" and list(found.reasons) == ["configfs-tsm"]


@pytest.mark.usefixtures("nitro")
def test_then_nitro(tmp_path: Path):
    found = detect(*places(tmp_path, "nsm"))
    assert found.required().name == "nsm" and list(found.reasons) == ["configfs-tsm", "sev-guest"]


def test_a_source_that_does_not_work_is_passed_over(tmp_path: Path):
    with tsm_tree(None, lambda asked, level: (asked, b"")) as tree:
        found = detect(tree.path, *places(tmp_path, "sev-guest")[1:])
        assert found.required().name == "sev-guest"
        assert found.reasons["configfs-tsm"].startswith("The source of evidence is gone. No driver of a guest")


def test_this_machine_as_it_is():
    """Whatever it is: no error, and a reason for every source that was not taken."""
    found = detect()
    assert found.provider is not None or len(found.reasons) == 3


def test_reasons_are_sentences(tmp_path: Path):
    check: Callable[[str], bool] = lambda text: text.endswith(".")  # noqa: E731
    assert all(check(reason) for reason in detect(*places(tmp_path)).reasons.values())
