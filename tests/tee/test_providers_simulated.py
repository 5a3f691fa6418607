"""The simulated source: its key, and a measurement that follows the code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bastion_plan.errors import ServerError
from bastion_tee.providers.simulated import PACKAGES, SimulatedProvider, code_measurement
from bastion_tee.roots import Roots
from bastion_tee.simulated import check

ASKED = bytes(range(64))


def test_each_has_a_key_of_its_own():
    one, two = SimulatedProvider(measurement=bytes(48)), SimulatedProvider(measurement=bytes(48))
    assert one.name == one.platform == "simulated"
    assert one.public_key != two.public_key
    assert check(one.evidence(ASKED), 0.0, Roots(simulated=one.public_key))[0].report_data == ASKED


def test_it_measures_the_installed_code():
    found = check(SimulatedProvider().evidence(ASKED), 0.0, Roots())[0]
    assert found.measurement == code_measurement().hex()
    assert "bastion_server" in PACKAGES  # what runs there


def test_only_64_bytes():
    with pytest.raises(ServerError) as caught:
        SimulatedProvider(measurement=bytes(48)).evidence(ASKED[:63])
    assert caught.value.code == "server.evidence.asked"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of its own, to change."""
    package = tmp_path / "measured_room"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("x = 1\n")
    (package / "inner" / "data.json").write_text("{}")
    monkeypatch.syspath_prepend(tmp_path)
    return package


def measured() -> bytes:
    return code_measurement(("measured_room",))


def test_every_file_counts(package: Path):
    before = measured()
    assert measured() == before and len(before) == 48
    (package / "inner" / "data.json").write_text("[]")
    second = measured()
    (package / "more.py").touch()
    third = measured()
    (package / "more.py").rename(package / "less.py")
    fourth = measured()
    assert len({before, second, third, fourth}) == 4


def test_what_comes_and_goes_does_not_count(package: Path):
    before = measured()
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "x.pyc").touch()
    (package / "empty").mkdir()
    assert measured() == before


def test_names_and_contents_are_kept_apart(package: Path):
    """Bytes cannot move from one file to the next, nor from a name to its content."""
    (package / "a.py").write_text("1")
    (package / "b.py").write_text("2")
    before = measured()
    (package / "a.py").write_text("1measured_room/b.py2")
    (package / "b.py").unlink()
    assert measured() != before


def test_a_package_that_is_not_there():
    assert code_measurement(("no_such_room",)) == code_measurement(()) != code_measurement(("bastion_tee",))
    assert "no_such_room" not in sys.modules


def test_a_module_is_no_package():
    assert code_measurement(("this",)) == code_measurement(())
    assert "this" not in sys.modules
