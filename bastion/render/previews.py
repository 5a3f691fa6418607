"""Made-up rows, so marked that no part of them is taken for data: a mark in every row, in every column, and around."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bastion.render import tables
from bastion.render.safe_text import safe_html, safe_text

if TYPE_CHECKING:
    from bastion.client.preview import FakeFrame

FAKE = "FAKE"
HIDDEN = "*"
#: characters of a block of columns in text; the next ones stand below, with the mark at their left again
WIDTH = 100
MAX_CELL = 32
#: columns that are shown; a line says how many are not
MAX_COLUMNS = 60

STYLE = (
    tables.STYLE
    + """<style>
.bastion.fake td,.bastion.fake th{background:repeating-linear-gradient(135deg,rgba(197,48,48,.10) 0 6px,transparent 6px 14px)}
.bastion.fake td,.bastion.fake .shape{font-style:italic}
.bastion.fake .mark{position:sticky;left:0;background:#c53030;color:#fff;font-weight:700;font-style:normal;text-align:left}
</style>"""
)


def says(fake: FakeFrame) -> str:
    """Return the sentence that stands above."""
    rows = "1 made-up row" if fake.height == 1 else f"{fake.height} made-up rows"
    return f"{FAKE}: {rows} in the shape of {safe_text(fake.name)}, from its public facts alone. None of it is data."


def preview_html(fake: FakeFrame) -> str:
    """Return made-up rows as HTML. The mark stands in the first cell of every row and in the head of every column."""
    cells = _cells(fake)
    names = "".join(f"<th>{safe_html(name, tables.MAX_CELL)}</th>" for name, _, _ in cells)
    kinds = "".join(f"<th>{FAKE} {safe_html(kind)}</th>" for _, kind, _ in cells)
    mark = f'<td class="mark">{FAKE}</td>'
    rows = "".join(
        f"<tr>{mark}{''.join(f'<td>{safe_html(values[i], tables.MAX_CELL)}</td>' for _, _, values in cells)}</tr>"
        for i in range(fake.height)
    )
    rest = "".join(f'<div class="foot">{safe_html(line)}</div>' for line in _rest(fake))
    head = f'<th class="mark">{FAKE}</th>'
    return (
        f'{STYLE}<div class="bastion fake"><div class="box bad"><div class="shape"><b>{safe_html(says(fake))}</b></div>'
        f"<table><thead><tr>{head}{names}</tr><tr>{head}{kinds}</tr></thead><tbody>{rows}</tbody></table>"
        f"{rest}</div></div>"
    )


def preview_text(fake: FakeFrame) -> str:
    """Return made-up rows as text. Every line of it begins with the mark, and every column's type has it, too."""
    lines = [says(fake)]
    for block in _blocks(_cells(fake)):
        widths = [max(len(line) for line in column) for column in block]
        for number in range(fake.height + 2):
            cells = "  ".join(column[number].ljust(width) for column, width in zip(block, widths, strict=True))
            lines.append(f"{FAKE} │ {cells}".rstrip())
            if number == 1:
                lines.append(f"{FAKE} ┼ {'  '.join('─' * width for width in widths)}")
    return "\n".join([*lines, *_rest(fake)])


def _rest(fake: FakeFrame) -> list[str]:
    """Return what says that columns are left out."""
    more = len(fake.columns) - MAX_COLUMNS
    return [f"{FAKE} … and {more} more column{'' if more == 1 else 's'}"] if more > 0 else []


def _cells(fake: FakeFrame) -> list[tuple[str, str, list[str]]]:
    """Return (name, type, values) of each column, as strings."""
    frame = fake.to_polars().select(fake.columns[:MAX_COLUMNS])
    hidden = set(fake.hidden)
    return [
        (
            series.name,
            tables.dtype_name(series.dtype),
            [HIDDEN if series.name in hidden else tables.value_text(value) for value in series.to_list()],
        )
        for series in frame.iter_columns()
    ]


def _blocks(cells: list[tuple[str, str, list[str]]]) -> list[list[list[str]]]:
    """Return columns as lines of text (name, type, values), in blocks that fit beside each other."""
    blocks: list[list[list[str]]] = [[]]
    used = 0
    for name, kind, values in cells:
        column = [safe_text(name, MAX_CELL), f"{FAKE} {safe_text(kind, MAX_CELL)}"]
        column += [safe_text(value, MAX_CELL) for value in values]
        width = max(map(len, column)) + 2
        if used + width > WIDTH and blocks[-1]:
            blocks.append([])
            used = 0
        blocks[-1].append(column)
        used += width
    return blocks
