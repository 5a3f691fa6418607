"""A released table as text to copy: Polars code that builds it, and CSV. One click marks all of it, without any script."""

from __future__ import annotations

import polars as pl

from bastion.render.safe_text import safe_html

#: bytes of text up to which a copy is part of the static output; a saved notebook carries it
MAX_COPY = 16_000
#: what CSV has no form for is written as text
_TEXT = (pl.List, pl.Array, pl.Struct, pl.Object, pl.Binary, pl.Duration)

#: what values of some types are written with
_IMPORTS = {
    "datetime.": "import datetime",
    "zoneinfo.": "import zoneinfo",
    "Decimal(": "from decimal import Decimal",
    "nan": "from math import nan",
    "inf": "from math import inf",
}

STYLE = """<style>
.bastion details.copy{font-size:11px;color:var(--jp-ui-font-color2,#666);margin-top:2px}
.bastion details.copy summary{cursor:pointer}
.bastion details.copy pre{user-select:all;-webkit-user-select:all;white-space:pre-wrap;overflow-wrap:anywhere;max-height:12em;overflow:auto;margin:2px 0 6px;padding:4px 8px;font-size:11px;background:var(--jp-layout-color2,#f4f4f4);color:var(--jp-ui-font-color1,#222)}
</style>"""


def as_csv(frame: pl.DataFrame) -> bytes:
    """Return `frame` as CSV, UTF-8; what CSV cannot hold (lists, structs, bytes, durations) is written as text."""
    texts = [
        pl.Series(s.name, [None if v is None else str(v) for v in s.to_list()], pl.String)
        for s in frame if isinstance(s.dtype, _TEXT)
    ]  # fmt: skip
    return frame.with_columns(texts).write_csv().encode()


def as_code(frame: pl.DataFrame) -> str:
    """Return Python code that builds `frame`: a `pl.DataFrame`, with the types of its columns.

    >>> print(as_code(pl.DataFrame({"Pclass": [1, 2], "len": [216, 184]})))
    import polars as pl
    <BLANKLINE>
    pl.DataFrame(
        [
            pl.Series('Pclass', [1, 2], dtype=pl.Int64),
            pl.Series('len', [216, 184], dtype=pl.Int64),
        ]
    )
    """
    body = frame.to_init_repr(max(1, frame.height)).rstrip()
    imports = [line for word, line in _IMPORTS.items() if word in body]
    return "\n".join([*imports, "import polars as pl", "", body])


def copy_html(frame: pl.DataFrame) -> str:
    """Return what a reader unfolds to copy the whole table, as code and as CSV; empty where that is too long."""
    if frame.is_empty() or not frame.width or frame.estimated_size() > 4 * MAX_COPY:
        return ""
    code, table = as_code(frame), as_csv(frame).decode()
    if len(code) + len(table) > MAX_COPY:
        return ""
    parts = (("Polars DataFrame", code), ("CSV", table))
    body = "".join(f"<div>{kind}</div><pre>{safe_html(text, lines=True)}</pre>" for kind, text in parts)
    return f'{STYLE}<details class="copy"><summary>Copy as Polars DataFrame or CSV</summary>{body}</details>'
