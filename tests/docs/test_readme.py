"""What the README says can be done, can be done."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import polars
import pytest
from bastion_server import start

from bastion import Connection, Identity

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(p for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("policy/*.md")])


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_make_knows_every_command_that_pages_name():
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
        assert {a or b for a, b in named} <= known, page.name


def test_ci_runs_the_readmes_own_test_command():
    assert "make test" in (ROOT / ".ci/run").read_text()
    assert "make test " in README or "make test\n" in README


def test_the_owners_taste_and_the_scientists(tmp_path):
    """The two Python blocks, as they stand, against a real server."""
    owner_code, scientist_code = blocks("python")
    olga, alice = Identity.create("olga", tmp_path / "keys"), Identity.create("alice")
    (tmp_path / "titanic.csv").write_bytes((ROOT / "notebooks/data/titanic.csv").read_bytes())
    with start(tmp_path / "server", owners=[olga], users=[alice]) as server:
        ready = owner_code.replace("tcp://127.0.0.1:50056", server.endpoint)
        places = {"BASTION_KEYS": str(tmp_path / "keys"), "BASTION_DIRECTORY": str(tmp_path / "server")}
        subprocess.run([sys.executable, "-c", ready], check=True, timeout=60, cwd=tmp_path, env=os.environ | places)
        with Connection(server.endpoint, identity=alice, server_key=server.server_key) as connection:
            lines = [line.split("#")[0].strip() for line in scientist_code.splitlines()]
            rates = eval(lines[1], {"titanic": connection.dataset("titanic"), "pl": polars}).fetch()
            assert [f"{x:.6g}" for x in rates["Survived"]] == re.findall(r"0\.\d+", scientist_code)
