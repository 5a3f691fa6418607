"""Released tables: Polars' look in HTML and in text, capped, with what the guard did to them in the footer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from bastion_policy.verdict import ReleaseNote

from bastion.render.safe_text import safe_html, safe_text

if TYPE_CHECKING:
    from bastion.client.release_facts import Marks

MAX_ROWS = 20
MAX_COLUMNS = 30
MAX_CELL = 60
#: of a longer text, what a reader sees who points at it
MAX_TITLE = 500
#: stands where a cell was taken out, in HTML and in text
TAKEN_OUT = "∅"

#: rules that look at what was answered before
HISTORY = frozenset({"history", "linear-audit", "audit-capacity", "edge-budget"})
#: What the numbers of a row are of instead. The very same people as before and nearly the same must read alike.
EARLIER = "a group answered before, or of the whole table: the same people as theirs, or some more or fewer"
OTHERS = (
    "another group than theirs: groups of too few people put together, or the same or nearly the same people as in an "
    "earlier answer or the whole table"
)

#: of a table that holds nothing but nulls
NOTHING = "No number of it may be shown. Larger groups may pass: group by fewer or by coarser columns, or filter less."

OTHER = "Groups of too few people, put together"

STYLE = """<style>
.bastion{font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:var(--jp-ui-font-size1,13px);color:var(--jp-ui-font-color1,#222)}
.bastion table{border-collapse:collapse;margin:2px 0;font-size:12px;display:block;overflow-x:auto;max-width:100%}
.bastion th,.bastion td{padding:2px 10px;text-align:right;border:none;white-space:pre;line-height:1.35}
.bastion thead tr:first-child th{font-weight:600}
.bastion thead tr:last-child:where(:not(:first-child)) th{font-weight:400;color:var(--jp-ui-font-color2,#666)}
.bastion thead tr:last-child th{border-bottom:1px solid var(--jp-border-color1,#bbb)}
.bastion td.s,.bastion th.s{text-align:left}
.bastion td.n{color:var(--jp-ui-font-color3,#999)}
.bastion td.x{color:#b7791f;cursor:help}
.bastion tr.o td{font-style:italic;color:var(--jp-ui-font-color2,#666)}
.bastion .shape,.bastion .foot{color:var(--jp-ui-font-color2,#666);font-size:11px;line-height:1.6}
.bastion .box{border-left:3px solid #b7791f;padding:4px 12px;margin:4px 0}
.bastion .box.bad{border-color:#c53030}.bastion .box.good{border-color:#2f855a}
.bastion .rule{font-family:var(--jp-code-font-family,monospace);font-size:11px;color:var(--jp-ui-font-color2,#666)}
.bastion .red{color:#c53030}
</style>"""

AGAIN = (
    "font-size:11px;color:var(--jp-ui-font-color2,#666);content:'Run the cell again to page through the whole table.'"
)


def where_dead(twin: str, instead: str) -> str:
    """Return a style for the widget below a static view, for when its kernel is gone.

    What JupyterLab shows for it then is an error, in an output without elements. twin: the static view's class; instead:
    the declarations of what stands there in its place.
    """
    dead = f".jp-OutputArea-child:has(.{twin})+.jp-OutputArea-child>.jupyter-widgets:not(:has(*))"
    return f"<style>\n{dead}{{font-size:0}}\n{dead}::after{{{instead}}}\n</style>"


def footer(note: ReleaseNote | None, marks: Marks | None = None, *, frame: pl.DataFrame | None = None) -> list[str]:
    """Return what a reader should know of a released table, one sentence each.

    Args:
        marks: which cells are marked in it. frame: the table, to say so where no number is left in it.
    """
    if note is None:
        return []
    lines = []
    if note.approved:
        lines.append("Approved by the owner.")
    lines += _merged(note)
    if note.suppressed:
        cells = "1 cell was" if note.suppressed == 1 else f"{note.suppressed} cells were"
        shown = f"; {TAKEN_OUT} stands in {'its' if note.suppressed == 1 else 'their'} place"
        lines.append(f"{cells} taken out{_because(note)}{shown if marks is not None and marks.withheld else ''}.")
    elif note.partial:
        lines.append("This is the part that may be shown; the rest was taken out.")
    if frame is not None and (note.suppressed or note.partial) and _nothing_left(frame, marks):
        lines.append(NOTHING)
    if note.logged_unsafe:
        lines.append("Released although unsafe: the owner's policy logs it.")
    lines += [text for text in note.notes if text not in lines]
    if note.noisy:
        cost = f"epsilon {note.cost:.3g}" if note.cost else "nothing: it was answered before, with the same noise"
        lines.append(f"This answer cost {cost}.")
    lines += [budget.sentence for budget in note.budget]
    return lines


def _nothing_left(frame: pl.DataFrame, marks: Marks | None) -> bool:
    """Whether a table holds group keys and nulls alone, as everybody sees who looks at it."""
    values = [name for name in frame.columns if marks is None or name not in marks.keys]
    return frame.height > 0 and bool(values) and all(frame[name].null_count() == frame.height for name in values)


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


def text(frame: pl.DataFrame, note: ReleaseNote | None = None, *, marks: Marks | None = None) -> str:
    """Return a table in Polars' box style, with the footer below. marks: cells that are the guard's doing."""
    with pl.Config(tbl_rows=MAX_ROWS, tbl_cols=MAX_COLUMNS, fmt_str_lengths=MAX_CELL, tbl_width_chars=160):
        body = str(frame)
        if marks is not None and marks.withheld:
            body = _marked(body, frame, marks)
    return "\n".join([safe_text(body, lines=True), *map(safe_text, footer(note, marks, frame=frame))])


def _marked(body: str, frame: pl.DataFrame, marks: Marks) -> str:
    """Return Polars' picture of a table with TAKEN_OUT in the place of cells that were taken out.

    Polars writes "null" into them; where its picture has not one line a row and one place a column, it stays so.
    """
    lines = body.splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith("╞")), None)
    if first is None or len(lines) - first - 2 != min(frame.height, MAX_ROWS + 1) or frame.width > MAX_COLUMNS:
        return body
    for i in range(first + 1, len(lines) - 1):
        cells = lines[i].strip("│").split("┆")
        if len(cells) != frame.width:
            return body
        cells = [
            cell.replace("null", TAKEN_OUT.ljust(4)) if name in marks.withheld and cell.strip() == "null" else cell
            for name, cell in zip(frame.columns, cells, strict=True)
        ]
        lines[i] = f"│{'┆'.join(cells)}│"
    return "\n".join(lines)


def is_clipped(frame: pl.DataFrame) -> bool:
    """Return whether `table_html` leaves out rows or columns of `frame`."""
    return frame.height > MAX_ROWS or frame.width > MAX_COLUMNS


def table_html(
    frame: pl.DataFrame,
    note: ReleaseNote | None = None,
    *more: str,
    twin: str = "",
    marks: Marks | None = None,
    below: str = "",
) -> str:
    """Return a table as scoped HTML, with `more` lines below it. Every string in it is made safe: none of it is ours.

    twin: a CSS class that a widget showing the same table may name, to hide this one while it lives. marks: cells that are
    the guard's doing. below: HTML below it all.
    """
    columns = frame.columns
    wide = len(columns) > MAX_COLUMNS
    shown = [*columns[: MAX_COLUMNS // 2], *columns[-(MAX_COLUMNS // 2) :]] if wide else columns
    view = frame.select(shown)
    half = MAX_ROWS // 2
    if frame.height > MAX_ROWS:
        gap = "<tr>" + "<td>…</td>" * len(shown) + "</tr>"
        rows = rows_html(view.head(half), marks) + gap + rows_html(view.tail(half), marks)
    else:
        rows = rows_html(view, marks)
    name, style = "bastion", STYLE
    if twin:
        name, style = f"bastion {safe_html(twin)}", STYLE + where_dead(safe_html(twin), AGAIN)
    return (
        f'{style}<div class="{name}"><div class="shape">shape: ({frame.height:_}, {frame.width:_})</div>'
        f"<table>{head_html(view)}<tbody>{rows}</tbody></table>{foot_html(note, *more, marks=marks, frame=frame)}{below}</div>"
    )


def head_html(view: pl.DataFrame) -> str:
    """Return the head of a table: a line of names, a line of types."""
    left = _left(view)
    names, kinds = [], []
    for name, dtype in view.schema.items():
        start = '<th class="s">' if name in left else "<th>"
        names.append(f"{start}{_cell(name)}</th>")
        kinds.append(f"{start}{safe_html(dtype_name(dtype))}</th>")
    return f"<thead><tr>{''.join(names)}</tr><tr>{''.join(kinds)}</tr></thead>"


def rows_html(view: pl.DataFrame, marks: Marks | None = None) -> str:
    """Return all rows of `view` as HTML; the caller caps them. marks: cells that are the guard's doing."""
    left = _left(view)
    classes = ["s" if name in left else "" for name in view.columns]
    withheld = [marks is not None and name in marks.withheld for name in view.columns]
    rows = []
    for row in view.iter_rows():
        cells = []
        for side, taken, value in zip(classes, withheld, row, strict=True):
            if value is None and taken:
                cells.append(f'<td class="{f"{side} x".strip()}" title="Taken out by the guard">{TAKEN_OUT}</td>')
                continue
            kind, shown = f"{side} n".strip() if value is None else side, value_text(value)
            whole = f' title="{safe_html(shown, MAX_TITLE)}"' if len(shown) > MAX_CELL else ""
            start = f'<td class="{kind}"{whole}>' if kind else f"<td{whole}>"
            cells.append(f"{start}{_cell(shown)}</td>")
        others = marks is not None and marks.keys and marks.remainder(dict(zip(view.columns, row, strict=True)))
        rows.append(f'<tr class="o" title="{OTHER}">{"".join(cells)}</tr>' if others else f"<tr>{''.join(cells)}</tr>")
    return "".join(rows)


def foot_html(
    note: ReleaseNote | None, *more: str, marks: Marks | None = None, frame: pl.DataFrame | None = None
) -> str:
    """Return the footer and `more` lines."""
    lines = [*footer(note, marks, frame=frame), *more]
    return "".join(f'<div class="foot">{safe_html(line)}</div>' for line in lines)


def _left(view: pl.DataFrame) -> set[str]:
    return {name for name, dtype in view.schema.items() if dtype in (pl.String, pl.Categorical, pl.Enum)}


def dtype_name(dtype: pl.DataType) -> str:
    """Return Polars' short name of a type ("i64", "str", "list[f64]")."""
    header = str(pl.DataFrame(schema={"": dtype})).splitlines()
    return header[-3].strip("│ ") if len(header) > 4 else str(dtype)


def value_text(value: object) -> str:
    """Return a value as a cell shows it, not made safe yet."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:,.6g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _cell(value: str) -> str:
    return safe_html(value, MAX_CELL)
