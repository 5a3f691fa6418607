"""Training needs torch, the extra `train`: without it these tests are left out, and the header says so."""

from __future__ import annotations

from importlib.util import find_spec

HERE = find_spec("torch") is not None
collect_ignore_glob = [] if HERE else ["test_*.py"]


def pytest_report_header() -> str:
    """Say what is left out."""
    return "" if HERE else "SKIPPED: tests/training, since there is no torch (pip install -e '.[train]')"
