"""One live server for all wire attacks of a run; each attack has identities of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import attack_suite  # noqa: F401 - registers the attacks
from attack_list import ATTACKS
from wire_arena import HARMLESS, Arena


@pytest.fixture(scope="module")
def arena(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    # with those who play: the server looks through all keys when somebody connects
    played = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    with Arena(tmp_path_factory.mktemp("arena"), [name for name in ATTACKS if name in played | {HARMLESS}]) as found:
        yield found
