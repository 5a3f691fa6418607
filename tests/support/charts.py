"""What a chart must be: valid Vega-Lite v5 whose foreign strings are plain text, a picture, and text that fits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bastion.render.charts import Chart

EVIL = '<img src=x onerror="window.evil=1">\x1b[31m\u202e'
#: where Vega takes a string for more than text
DANGEROUS = {"href", "url", "format", "expr", "signal", "calculate", "labelExpr", "loader", "image"}


@cache
def validator() -> Any:
    """Return a validator by the schema of Vega-Lite v5, which altair ships."""
    altair = pytest.importorskip("altair")
    import jsonschema

    path = Path(altair.__file__).parent / "vegalite" / "v5" / "schema" / "vega-lite-schema.json"
    return jsonschema.Draft7Validator(json.loads(path.read_text(encoding="utf-8")))


def good(chart: Chart) -> dict[str, Any]:
    """Check a chart in all its forms; return its spec."""
    spec = json.loads(json.dumps(chart.spec, allow_nan=False))
    errors = sorted(validator().iter_errors(spec), key=lambda e: len(e.path))
    assert not errors, f"{list(errors[0].path)}: {errors[0].message[:300]}"
    assert not any(key in DANGEROUS for key in keys(spec) if key not in ("format", "expr"))
    for key, value in pairs(spec):
        assert key != "expr" or OF_A_PAGE.fullmatch(value), value
        assert key not in ("filter", "test") or value in TESTS or value.startswith("datum.v > "), value
        assert key != "format" or value == ",.4~g"
    assert repr(chart).strip()
    pytest.importorskip("matplotlib")
    assert chart.png().startswith(b"\x89PNG")
    return dict(spec)


#: the only expressions: a colour for a light page and one for a dark page, and the page's own
OF_A_PAGE = re.compile(r"background|luminance\(background\) < 0\.4 \? '#[0-9a-f]{6}' : '#[0-9a-f]{6}'")
TESTS = {
    "!datum.few", "datum.few", "!datum.few && !datum.rest", "datum.rest && !datum.few", "!datum.few && datum.rest", "datum.band",
    "datum.rest", "datum.share >= 0.04", "abs(datum.v) > 0.6",
}  # fmt: skip


def keys(value: Any) -> Iterator[str]:
    """Return all keys of a spec but those of its rows."""
    for key, _ in pairs(value):
        yield key


def pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Return all (key, value) of a spec but those of its rows."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            if key != "values":
                yield from pairs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pairs(inner)


def told(chart: Chart) -> dict[Any, float | None]:
    """Return what is drawn: place (and hue, row, column) -> number; None where nothing is told."""
    return {_where(c): c.value for c in chart.picture.cells}


def _where(cell: Any) -> Any:
    parts = [cell.x, cell.y, cell.hue, cell.row, cell.col]
    kept = tuple(p for p in parts if p not in (None, ""))
    return kept[0] if len(kept) == 1 else kept
