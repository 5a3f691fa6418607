"""What `bastion serve` is told about fits reaches the server, in its units (that it holds there: service/test_training.py)."""

from __future__ import annotations

import sys

import bastion_server.process
import pytest
from bastion_cli.main import main
from bastion_plan.errors import ServerError
from bastion_server.service.models import TrainingSettings
from click.testing import CliRunner

GIVEN = {
    "--max-parameters": ("1000", {"max_parameters": 1000}),
    "--training-steps": ("7", {"steps": 7}),
    "--training-memory": ("1.5", {"worker": 3 << 29}),
    "--training-disk": ("0.5", {"disk": 1 << 29}),
    "--training-grace": ("0.25", {"grace": 0.25}),
}


@pytest.mark.parametrize("name", GIVEN)
def test_bounds_of_fits_reach_the_server(name, tmp_path, monkeypatch):
    text, expected = GIVEN[name]
    heard = {}

    async def serve(folder, endpoint, **options):
        heard.update(options)

    monkeypatch.setattr(bastion_server.process, "serve", serve)
    done = CliRunner().invoke(main, ["serve", "--dir", str(tmp_path), name, text])
    assert done.exit_code == 0, done.output
    assert heard["training"] == expected
    assert all(type(v) is type(getattr(TrainingSettings(), k)) for k, v in heard["training"].items())


@pytest.mark.parametrize(
    "given",
    [("--training-steps", "0"), *((name, text) for name in ("--answer", "--memory", "--training-disk") for text in ("inf", "nan", "-1"))],
)  # fmt: skip
def test_a_bound_that_is_none_is_refused(given, tmp_path):
    done = CliRunner().invoke(main, ["serve", "--dir", str(tmp_path), *given])
    assert done.exit_code == 2
    assert given[0] in done.output


def test_where_queries_cannot_be_confined_no_server_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    done = CliRunner().invoke(main, ["serve", "--dir", str(tmp_path / "a")])
    assert done.exit_code == 1
    assert "runs on Linux only" in done.output and "[server.platform]" in done.output
    with pytest.raises(ServerError) as error:
        bastion_server.process.start(tmp_path / "b")
    assert error.value.code == "server.platform"
    assert not list(tmp_path.iterdir())
