"""A long released table, to be paged, sorted and saved in the cell's output; all of it is local, on rows that were let go.

A result is shown in two outputs. The first is the static table (HTML and text), as for any result. The second is this
widget. A front end prefers a widget's MIME type over HTML within one output, and once the kernel is gone it has nothing
but "model not found" to show for it: so the table must not stand in the widget's own output. While the widget
answers, a style in its HTML hides the static table; when it is gone so is the style, and the static table is back.
"""

from __future__ import annotations

import base64
import secrets
from collections import deque
from typing import Any

import ipywidgets as w
import polars as pl
from bastion_policy.verdict import ReleaseNote

from bastion.client.connection import Released
from bastion.render import bundle, tables
from bastion.render.copies import as_csv
from bastion.render.released import facts_lines
from bastion.render.safe_text import safe_text

PAGE_SIZES = (10, 20, 50, 100)
CSV_BYTES = 4 << 20
MAX_WIDGETS = 16
MAX_BYTES = 256 << 20
#: A front end marks views that no kernel answers (after a restart, or restored from a notebook's saved widget state).
#: While the widget answers, the static table is hidden; when it does not, the widget is.
ALIVE = f"""<style>
body:not(:has(.TWIN-pages.jupyter-widgets-disconnected)) .bastion.TWIN :is(table,.foot){{display:none}}
.TWIN-pages.jupyter-widgets-disconnected::before,.TWIN-pages.jupyter-widgets-disconnected>*{{display:none!important}}
.TWIN-pages.jupyter-widgets-disconnected::after{{{tables.AGAIN}}}
</style>"""
UNSORTED = "(as released)"
_SORTABLE = (pl.Boolean, pl.String, pl.Categorical, pl.Enum, pl.Binary)


class ResultWidget(w.VBox):
    """Pages of a released table, by rows and (where it is wide) by columns.

    Attributes:
        twin: the CSS class of the static table that this widget hides while it lives.

    Args:
        table: what was released.
        note: what the guard did to it; taken from `table` where that is a `Released`.
    """

    def __init__(self, table: Released | pl.DataFrame, note: ReleaseNote | None = None) -> None:
        self._frame = table.frame if isinstance(table, Released) else table
        self._table = table
        self._note = table.note if isinstance(table, Released) else note
        self._marks = table.about.marks if isinstance(table, Released) and table.about is not None else None
        self._facts = facts_lines(table) if isinstance(table, Released) else []
        self._order: pl.Series | None = None  # row numbers in the sorted order, u32
        self._start = self._left = 0
        self._down = False
        self._saved = ""
        self._busy = False
        self.twin = f"bastion-{secrets.token_hex(6)}"
        names = _labels(self._frame.columns)
        sortable = [i for i, dtype in enumerate(self._frame.dtypes) if _can_sort(dtype)]
        # every widget, layout and style is a message: those that can be shared are
        narrow, box = w.Layout(width="auto"), w.Layout(width="130px")
        plain = w.ButtonStyle()
        pages = self._pages(tables.MAX_ROWS)
        self._previous = w.Button(description="‹", tooltip="Previous page", layout=narrow, style=plain, disabled=True)
        self._next = w.Button(description="›", tooltip="Next page", layout=narrow, style=plain, disabled=pages == 1)
        self._page = w.BoundedIntText(
            value=1, min=1, max=pages, description="page", layout=box, style={"description_width": "initial"}
        )
        labelled = self._page.style
        self._size = w.Dropdown(
            options=[(str(n), n) for n in PAGE_SIZES], value=tables.MAX_ROWS, description="rows", layout=box, style=labelled
        )  # fmt: skip
        self._by = w.Dropdown(
            options=[(UNSORTED, -1), *((names[i], i) for i in sortable)], value=-1, description="sort by",
            layout=w.Layout(width="240px"), style=labelled,
        )  # fmt: skip
        self._turn = w.Button(description="↑", tooltip="Smallest or largest first", layout=narrow, style=plain)
        self._save = w.Button(description="CSV", tooltip="Save all rows as a CSV file", layout=narrow, style=plain)
        controls: list[w.Widget] = [
            self._previous, self._next, self._page, self._size, self._by, self._turn, self._save
        ]  # fmt: skip
        if self._frame.width > tables.MAX_COLUMNS:
            starts = range(0, self._frame.width, tables.MAX_COLUMNS)
            last = self._frame.width
            windows = [(f"{s + 1}–{min(s + tables.MAX_COLUMNS, last)} of {last}", s) for s in starts]
            self._columns = w.Dropdown(
                options=windows, description="columns", layout=w.Layout(width="200px"), style=labelled
            )
            self._columns.observe(lambda change: self._go(left=change["new"]), "value")
            controls.append(self._columns)
        self._view = w.HTML(value=self._html(tables.MAX_ROWS), layout=narrow)
        bar = w.HBox(controls, layout=w.Layout(flex_flow="row wrap", width="auto"))
        super().__init__([bar, self._view], layout=narrow, _dom_classes=(f"{self.twin}-pages",))
        self._parts: list[w.Widget] = [
            *{id(part): part for c in (*controls, self._view, bar, self) for part in (c.layout, getattr(c, "style", None))
              if part is not None}.values(),
            *controls, self._view, bar,
        ]  # fmt: skip
        self._previous.on_click(lambda _: self._go(self._start - self._size.value))
        self._next.on_click(lambda _: self._go(self._start + self._size.value))
        self._page.observe(lambda change: self._go((change["new"] - 1) * self._size.value), "value")
        self._size.observe(lambda _: self._go(self._start), "value")
        self._by.observe(lambda _: self._sort(), "value")
        self._turn.on_click(lambda _: self._turned())
        self._save.on_click(lambda _: self._offer())

    @property
    def frame(self) -> pl.DataFrame:
        """The whole table, as it was released."""
        return self._frame

    def static(self) -> dict[str, str]:
        """Return the first output: the static table, as HTML and as text."""
        return bundle(self._table, self._note, twin=self.twin)

    def view(self) -> dict[str, Any]:
        """Return the second output: the widget. Its HTML and text add nothing to the first, and are there to say so."""
        found: dict[str, Any] = super()._repr_mimebundle_() or {}
        return {**found, "text/html": "", "text/plain": ""}

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Return both as one output, for those who display the widget by themselves."""
        return {**self.view(), **bundle(self._frame, self._note)}

    def close(self) -> None:
        """Close it with all its parts, and let go of the rows. The static table in its place shows again."""
        parts, self._parts = getattr(self, "_parts", []), []
        super().close()
        for part in parts:
            part.close()
        self._frame, self._order = self._frame.clear(), None
        self._table = self._frame

    # ---- what the controls do ------------------------------------------------------------------------------------

    def _go(self, start: int | None = None, *, left: int | None = None) -> None:
        """Show the page that holds row `start`, and the columns from `left` on."""
        if self._busy:
            return
        size = self._size.value
        pages = self._pages(size)
        page = min(max(0, self._start if start is None else start) // size, pages - 1)
        self._start = page * size
        self._left = self._left if left is None else left
        self._busy = True  # the page number below is ours, not a wish of the reader
        try:
            self._page.max = pages
            self._page.value = page + 1
            self._previous.disabled, self._next.disabled = page == 0, page == pages - 1
            self._view.value = self._html(size)
        finally:
            self._busy = False

    def _pages(self, size: int) -> int:
        return max(1, -(-self._frame.height // size))

    def _html(self, size: int) -> str:
        height = self._frame.height
        end = min(self._start + size, height)
        if self._order is None:
            rows = self._frame.slice(self._start, size)
        else:
            rows = self._frame[self._order.slice(self._start, size)]
        columns = self._frame.columns[self._left : self._left + tables.MAX_COLUMNS]
        view = rows.select(columns)
        place = f"rows {self._start + 1 if end else 0:_}–{end:_} of {height:_}"
        return (
            f"{tables.STYLE}{ALIVE.replace('TWIN', self.twin)}"
            f'<div class="bastion"><div class="shape">{place}</div><table>{tables.head_html(view)}'
            f"<tbody>{tables.rows_html(view, self._marks)}</tbody></table>"
            f"{tables.foot_html(self._note, *self._facts, marks=self._marks)}{self._saved}</div>"
        )

    def _sort(self) -> None:
        by = self._by.value
        if by < 0:
            self._order = None
        else:
            values = pl.DataFrame({"by": self._frame.to_series(by)})
            order = pl.arg_sort_by("by", descending=self._down, nulls_last=True, maintain_order=True)
            self._order = values.select(order).to_series()
        self._saved = ""
        self._go(0)

    def _turned(self) -> None:
        self._down = not self._down
        self._turn.description = "↓" if self._down else "↑"
        self._sort()

    def _offer(self) -> None:
        """Put a link with the whole table, in the order shown, below it."""
        if self._frame.estimated_size() > 4 * CSV_BYTES:
            data = b""
        else:
            data = as_csv(self._frame if self._order is None else self._frame[self._order])
        if not data or len(data) > CSV_BYTES:
            self._saved = (
                f'<div class="foot">Longer than {CSV_BYTES >> 20} MB as CSV: that is too much for a link.</div>'
            )
        else:
            link = f"data:text/csv;charset=utf-8;base64,{base64.b64encode(data).decode()}"
            size = f"{len(data) / 1000:,.1f} kB"
            self._saved = f'<div class="foot"><a download="result.csv" href="{link}">result.csv</a> ({size})</div>'
        self._go()


class Shelf:
    """The result widgets that still answer: the newest MAX_WIDGETS, with at most MAX_BYTES of tables.

    Those that fall off are closed; the newest always stays.
    """

    def __init__(self, widgets: int = MAX_WIDGETS, size: int = MAX_BYTES) -> None:
        self._most, self._size = widgets, size
        self._kept: deque[ResultWidget] = deque()

    def add(self, table: Released | pl.DataFrame, note: ReleaseNote | None = None) -> ResultWidget:
        """Make a widget and keep it."""
        widget = ResultWidget(table, note)
        self._kept.append(widget)
        held = sum(kept.frame.estimated_size() for kept in self._kept)
        while len(self._kept) > 1 and (len(self._kept) > self._most or held > self._size):
            oldest = self._kept.popleft()
            held -= oldest.frame.estimated_size()
            oldest.close()
        return widget

    def outputs(self, table: Released | pl.DataFrame, note: ReleaseNote | None = None) -> list[dict[str, Any]]:
        """Return the two outputs that show a table: static, and the widget."""
        widget = self.add(table, note)
        return [widget.static(), widget.view()]

    def __len__(self) -> int:
        return len(self._kept)


def _can_sort(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype.is_temporal() or dtype in _SORTABLE


def _labels(columns: list[str]) -> list[str]:
    """Return a distinct, short label for each column: a menu finds its entries by their text."""
    taken, labels = {UNSORTED}, []
    for position, name in enumerate(columns, 1):
        clipped = " ".join(safe_text(name, tables.MAX_CELL).split()) or "(no name)"
        label = clipped if clipped not in taken else f"{clipped} (column {position})"
        taken.add(label)
        labels.append(label)
    return labels
