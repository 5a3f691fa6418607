"""The documentation is a site: it builds without a warning, and its pages lead to each other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the site needs `pip install '.[docs]'`")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    quiet = {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, env=os.environ | quiet, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_and_notebook_is_there(site):
    for page in ROOT.glob("docs/*.md"):
        assert (site / f"{page.stem}.html").exists(), page.name
    for notebook in ROOT.glob("notebooks/*.ipynb"):
        assert (site / "tutorials" / f"{notebook.stem}.html").exists(), notebook.name


def test_the_reference_is_made_from_the_code(site):
    assert "server_key" in (site / "reference/python.html").read_text(encoding="utf-8")
    assert "min_agg_size" in (site / "reference/policy.html").read_text(encoding="utf-8")
    assert "audit exposure" in (site / "reference/cli.html").read_text(encoding="utf-8").replace("-", " ")


def test_links_within_the_site_lead_somewhere(site):
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue
        for target in re.findall(r'href="([^"#:?]+)(?:#[^"]*)?"', page.read_text(encoding="utf-8")):
            path = (page.parent / unescape(target)).resolve()
            path = path / "index.html" if path.is_dir() else path
            assert path.is_file(), f"{page.relative_to(site)}: {target}"


def test_every_page_is_in_the_navigation(site):
    start = (site / "index.html").read_text(encoding="utf-8")
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/*/*.md"), *ROOT.glob("notebooks/*.ipynb")]
    for page in pages:
        place = Path("tutorials", page.name) if page.suffix == ".ipynb" else page.relative_to(ROOT / "docs")
        assert f'href="{place.with_suffix(".html").as_posix()}"' in start, place
