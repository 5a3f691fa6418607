"""How `make lab` starts JupyterLab, as JupyterLab reads it."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_no_pop_up_asks_about_news(tmp_path: Path) -> None:
    labapp = pytest.importorskip("jupyterlab.labapp")
    from bastion_cli.demo import lab_options

    app = labapp.LabApp()
    app.parse_command_line(lab_options(tmp_path))
    assert app.news_url is None
    assert app.default_url.startswith("/lab/tree/")
