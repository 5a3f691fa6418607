"""Released tables: Polars' look in HTML and in text, capped, with what the guard did to them in the footer."""

from __future__ import annotations

import html

import polars as pl
from bastion_policy.verdict import ReleaseNote

MAX_ROWS = 20
MAX_COLUMNS = 30
MAX_CELL = 60

#: rules that look at what was answered before
HISTORY = frozenset({"history", "linear-audit", "audit-capacity", "edge-budget"})
#: What the numbers of a row are of instead. The very same people as before and nearly the same must read alike.
EARLIER = "a group answered before, or of the whole table: the same people as theirs, or some more or fewer"
OTHERS = (
    "another group than theirs: groups of too few people put together, or the same or nearly the same people as in an "
    "earlier answer or the whole table"
)

STYLE = """<style>
.bastion{font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:var(--jp-ui-font-size1,13px);color:var(--jp-ui-font-color1,#222)}
.bastion table{border-collapse:collapse;margin:2px 0;font-size:12px;display:block;overflow-x:auto;max-width:100%}
.bastion th,.bastion td{padding:2px 10px;text-align:right;border:none;white-space:pre;line-height:1.35}
.bastion thead tr:first-child th{font-weight:600}
.bastion thead tr:last-child th{font-weight:400;color:var(--jp-ui-font-color2,#666);border-bottom:1px solid var(--jp-border-color1,#bbb)}
.bastion td.s,.bastion th.s{text-align:left}
.bastion td.n{color:var(--jp-ui-font-color3,#999)}
.bastion .shape,.bastion .foot{color:var(--jp-ui-font-color2,#666);font-size:11px;line-height:1.6}
.bastion .box{border-left:3px solid #b7791f;padding:4px 12px;margin:4px 0}
.bastion .box.bad{border-color:#c53030}.bastion .box.good{border-color:#2f855a}
.bastion .rule{font-family:var(--jp-code-font-family,monospace);font-size:11px;color:var(--jp-ui-font-color2,#666)}
.bastion .red{color:#c53030}
</style>"""

#: What JupyterLab shows for a widget whose kernel is gone is an error in an output without elements. A widget that
#: stands below a static table (TWIN) is not missed: say what to do instead.
AGAIN = (
    "font-size:11px;color:var(--jp-ui-font-color2,#666);content:'Run the cell again to page through the whole table.'"
)
DEAD = f"""<style>
.jp-OutputArea-child:has(.TWIN)+.jp-OutputArea-child>.jupyter-widgets:not(:has(*)){{font-size:0}}
.jp-OutputArea-child:has(.TWIN)+.jp-OutputArea-child>.jupyter-widgets:not(:has(*))::after{{{AGAIN}}}
</style>"""


def footer(note: ReleaseNote | None) -> list[str]:
    """Return what a reader should know of a released table, one sentence each."""
    if note is None:
        return []
    lines = []
    if note.approved:
        lines.append("Approved by the owner.")
    lines += _merged(note)
    if note.suppressed:
        cells = "1 cell was" if note.suppressed == 1 else f"{note.suppressed} cells were"
        lines.append(f"{cells} taken out{_because(note)}.")
    elif note.partial:
        lines.append("This is the part that may be shown; the rest was taken out.")
    if note.logged_unsafe:
        lines.append("Released although unsafe: the owner's policy logs it.")
    lines += [text for text in note.notes if text not in lines]
    if note.noisy:
        cost = f"epsilon {note.cost:.3g}" if note.cost else "nothing: it was answered before, with the same noise"
        lines.append(f"This answer cost {cost}.")
    lines += [budget.sentence for budget in note.budget]
    return lines


def _merged(note: ReleaseNote) -> list[str]:
    """Return what rows stand for that do not show their own people's numbers."""
    if not note.merged:
        return []
    if note.again is None:
        rows = "1 row shows" if note.merged == 1 else f"{note.merged} rows show"
        return [f"{rows} the numbers of {OTHERS}."]
    lines = []
    if note.again:
        rows = "1 row shows" if note.again == 1 else f"{note.again} rows show"
        lines.append(f"{rows} the numbers of {EARLIER}.")
    if rest := note.merged - note.again:
        rows = "1 row holds" if rest == 1 else f"{rest} rows hold"
        lines.append(f"{rows} groups of too few people, put together.")
    return lines


def _because(note: ReleaseNote) -> str:
    """Return whether cells are missing because of earlier answers, as far as the findings that are told say so."""
    rules = {finding.rule for finding in note.findings if not finding.private}
    if not rules & HISTORY:
        return ""
    return " because of earlier answers" if rules <= HISTORY else ", some because of earlier answers"


def text(frame: pl.DataFrame, note: ReleaseNote | None = None) -> str:
    """Return a table in Polars' box style, with the footer below."""
    with pl.Config(tbl_rows=MAX_ROWS, tbl_cols=MAX_COLUMNS, fmt_str_lengths=MAX_CELL, tbl_width_chars=160):
        body = str(frame)
    return "\n".join([body, *footer(note)])


def is_clipped(frame: pl.DataFrame) -> bool:
    """Return whether `table_html` leaves out rows or columns of `frame`."""
    return frame.height > MAX_ROWS or frame.width > MAX_COLUMNS


def table_html(frame: pl.DataFrame, note: ReleaseNote | None = None, *more: str, twin: str = "") -> str:
    """Return a table as scoped HTML, with `more` lines below it. Every string in it is escaped: none of it is ours.

    twin: a CSS class that a widget showing the same table may name, to hide this one while it lives.
    """
    columns = frame.columns
    wide = len(columns) > MAX_COLUMNS
    shown = [*columns[: MAX_COLUMNS // 2], *columns[-(MAX_COLUMNS // 2) :]] if wide else columns
    view = frame.select(shown)
    half = MAX_ROWS // 2
    if frame.height > MAX_ROWS:
        gap = "<tr>" + "<td>…</td>" * len(shown) + "</tr>"
        rows = rows_html(view.head(half)) + gap + rows_html(view.tail(half))
    else:
        rows = rows_html(view)
    name, style = "bastion", STYLE
    if twin:
        name, style = f"bastion {html.escape(twin)}", STYLE + DEAD.replace("TWIN", html.escape(twin))
    return (
        f'{style}<div class="{name}"><div class="shape">shape: ({frame.height:_}, {frame.width:_})</div>'
        f"<table>{head_html(view)}<tbody>{rows}</tbody></table>{foot_html(note, *more)}</div>"
    )


def head_html(view: pl.DataFrame) -> str:
    """Return the head of a table: a line of names, a line of types."""
    left = _left(view)
    names, kinds = [], []
    for name, dtype in view.schema.items():
        start = '<th class="s">' if name in left else "<th>"
        names.append(f"{start}{_cell(name)}</th>")
        kinds.append(f"{start}{html.escape(dtype_name(dtype))}</th>")
    return f"<thead><tr>{''.join(names)}</tr><tr>{''.join(kinds)}</tr></thead>"


def rows_html(view: pl.DataFrame) -> str:
    """Return all rows of `view` as HTML; the caller caps them."""
    left = _left(view)
    classes = ["s" if name in left else "" for name in view.columns]
    rows = []
    for row in view.iter_rows():
        cells = []
        for side, value in zip(classes, row, strict=True):
            kind = "n" if value is None else side
            cells.append(
                f'<td class="{kind}">{_cell(_value(value))}</td>' if kind else f"<td>{_cell(_value(value))}</td>"
            )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return "".join(rows)


def foot_html(note: ReleaseNote | None, *more: str) -> str:
    """Return the footer and `more` lines."""
    return "".join(f'<div class="foot">{html.escape(line)}</div>' for line in [*footer(note), *more])


def _left(view: pl.DataFrame) -> set[str]:
    return {name for name, dtype in view.schema.items() if dtype in (pl.String, pl.Categorical, pl.Enum)}


def dtype_name(dtype: pl.DataType) -> str:
    """Return Polars' short name of a type ("i64", "str", "list[f64]")."""
    header = str(pl.DataFrame(schema={"": dtype})).splitlines()
    return header[-3].strip("│ ") if len(header) > 4 else str(dtype)


def _value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:,.6g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _cell(value: str) -> str:
    clipped = value if len(value) <= MAX_CELL else value[: MAX_CELL - 1] + "…"
    return html.escape(clipped.replace("\n", "⏎").replace("\r", ""))
