"""How `make lab` starts JupyterLab, as JupyterLab reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_no_pop_up_asks_about_news(tmp_path: Path) -> None:
    labapp = pytest.importorskip("jupyterlab.labapp")
    from bastion_cli.demo import lab_options, quiet

    app = labapp.LabApp()
    app.parse_command_line(lab_options(tmp_path, quiet(tmp_path)))
    assert app.news_url is None
    overrides = json.loads((Path(app.app_settings_dir) / "overrides.json").read_text())
    assert overrides["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
    assert app.default_url.startswith("/lab/tree/")


def test_what_is_not_installed_is_said_with_the_command_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    from bastion_cli.demo import training_lines

    assert training_lines() == []
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    said = "\n".join(training_lines())
    assert "make train" in said and "pip install '.[train]'" in said
    assert "\ntrain:" in (Path(__file__).parents[2] / "Makefile").read_text()
