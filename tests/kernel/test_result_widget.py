"""A long result in a cell's output: static table first, a widget below that pages, sorts and saves what was released."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import ipywidgets
import polars as pl
import pytest
from bastion_policy.verdict import ReleaseNote
from bastion_widgets import ResultWidget, Shelf
from bastion_widgets import result as module
from kernel_client import Client

from bastion.render import tables
from bastion.render.bundles import clipped_table

VIEW = "application/vnd.jupyter.widget-view+json"
LONG = 'dataset("slow").select(pl.col("x"))'
EVIL = "<script>alert(1)</script>\"'&"


# ---- without a kernel --------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    before = set(ipywidgets.widgets.widget._instances)
    yield
    for widget in [w for key, w in ipywidgets.widgets.widget._instances.items() if key not in before]:
        widget.close()


def numbers(widget: ResultWidget) -> list[str]:
    """Return the first column of the page that is shown."""
    return re.findall(r"<tr><td[^>]*>([^<]*)</td>", widget._view.value)


def test_only_what_the_static_table_cuts_short_has_a_widget():
    assert clipped_table(pl.DataFrame({"a": range(tables.MAX_ROWS)})) is None
    assert clipped_table(pl.DataFrame({"a": range(tables.MAX_ROWS + 1)})) is not None
    assert clipped_table(pl.Series("a", range(100))) is not None
    assert clipped_table(pl.DataFrame({f"c{i}": [1] for i in range(tables.MAX_COLUMNS + 1)})) is not None
    assert clipped_table("text") is None


def test_pages_end_where_the_rows_end():
    widget = ResultWidget(pl.DataFrame({"a": range(45)}))
    assert numbers(widget) == [str(i) for i in range(20)]
    assert widget._previous.disabled
    widget._next.click()
    widget._next.click()
    assert numbers(widget) == [str(i) for i in range(40, 45)]
    assert widget._next.disabled
    assert "rows 41–45 of 45" in widget._view.value
    widget._next.click()
    assert widget._page.value == 3
    widget._page.value = 2
    assert numbers(widget)[0] == "20"
    widget._page.value = 99
    assert numbers(widget)[0] == "40"


def test_another_page_size_keeps_the_row_on_the_page():
    widget = ResultWidget(pl.DataFrame({"a": range(450)}))
    widget._page.value = 4
    widget._size.value = 50
    assert "60" in numbers(widget)
    assert widget._page.max == 9
    assert widget._page.value == 2
    widget._size.value = 10
    assert numbers(widget)[0] == "50"


def test_sorting_both_ways_puts_nulls_last_and_undoes():
    widget = ResultWidget(pl.DataFrame({"a": [*range(30), None], "b": [i % 3 for i in range(31)]}))
    widget._by.value = 0
    widget._turn.click()
    assert numbers(widget)[:2] == ["29", "28"]
    widget._next.click()
    assert numbers(widget)[-1] == "null"
    widget._by.value = 1
    assert numbers(widget)[:3] == ["2", "5", "8"]
    widget._by.value = -1
    assert numbers(widget)[:3] == ["0", "1", "2"]


def test_wide_tables_go_by_columns():
    widget = ResultWidget(pl.DataFrame({f"c{i}": [i] for i in range(70)}))
    assert ">c29<" in widget._view.value
    assert ">c30<" not in widget._view.value
    widget._columns.value = 60
    assert ">c69<" in widget._view.value
    assert ">c29<" not in widget._view.value


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2], None], [{"x": 1}, None], [b"\x00\xff", None], [Decimal("1.50"), None], [date(2026, 1, 2), None],
        [float("nan"), 1.0], [None, None], [EVIL, "a,b\n\"c\""],
    ],
)  # fmt: skip
def test_every_type_pages_sorts_and_saves(values):
    widget = ResultWidget(pl.DataFrame({"v": values * 20, "n": range(40)}))
    widget._next.click()
    for by in [i for _, i in widget._by.options]:
        widget._by.value = by
        widget._turn.click()
    widget._by.value = -1
    widget._save.click()
    data = base64.b64decode(re.search(r"base64,([^\"]*)", widget._view.value)[1])
    assert pl.read_csv(io.BytesIO(data))["n"].to_list() == list(range(40))


def test_strings_are_escaped_everywhere_and_menus_are_distinct():
    frame = pl.DataFrame(
        {EVIL: [EVIL] * 30, "^a.*$": range(30), "": range(30), " ": range(30), "(as released)": range(30)}
    )
    widget = ResultWidget(frame, ReleaseNote(notes=(EVIL,)))
    widget._by.value = 1
    widget._turn.click()
    widget._save.click()
    for page in (widget._view.value, widget.static()["text/html"]):
        assert "<script" not in page
        assert "&lt;script&gt;" in page
    labels = [label for label, _ in widget._by.options]
    assert len(set(labels)) == len(labels) == 6
    assert numbers(widget)[0].startswith("&lt;script")


def test_the_csv_is_the_table_in_the_order_shown_and_has_a_limit(monkeypatch):
    frame = pl.DataFrame({"a": ["ö", 'x"y', "z,\n"] * 10, "b": range(30)})
    widget = ResultWidget(frame)
    widget._by.value = 1
    widget._turn.click()
    widget._save.click()
    data = base64.b64decode(re.search(r"base64,([^\"]*)", widget._view.value)[1])
    assert pl.read_csv(io.BytesIO(data)).equals(frame.reverse())
    widget._by.value = -1
    assert "base64" not in widget._view.value
    monkeypatch.setattr(module, "CSV_BYTES", 10)
    widget._save.click()
    assert "too much for a link" in widget._view.value
    assert "base64" not in widget._view.value


def test_what_the_guard_did_stands_below_every_page():
    widget = ResultWidget(pl.DataFrame({"a": range(50)}), ReleaseNote(merged=2, suppressed=1))
    for _ in range(3):
        assert "2 rows show the numbers of" in widget._view.value
        assert "1 cell was taken out" in widget._view.value
        widget._next.click()


def test_the_widget_hides_the_static_table_while_it_lives():
    first, second = Shelf().outputs(pl.DataFrame({"a": range(50)}))
    twin = re.search(r'class="bastion (bastion-\w+)"', first["text/html"])[1]
    (view,) = [
        w for w in ipywidgets.widgets.widget._instances.values()
        if isinstance(w, ResultWidget) and w.model_id == second[VIEW]["model_id"]
    ]  # fmt: skip
    assert f".bastion.{twin} :is(table,.foot){{display:none}}" in view._view.value
    assert f"{twin}-pages" in view._dom_classes
    assert VIEW not in first
    assert second["text/html"] == second["text/plain"] == ""


def test_the_widget_alone_carries_all_three_views():
    data = ResultWidget(pl.DataFrame({"a": range(50)}))._repr_mimebundle_()
    assert data[VIEW]["model_id"]
    assert "<table>" in data["text/html"]
    assert "shape: (50, 1)" in data["text/plain"]


def test_the_newest_widgets_stay_and_the_rest_is_closed_with_all_its_parts():
    before = len(ipywidgets.widgets.widget._instances)
    shelf = Shelf(widgets=3)
    made = [shelf.add(pl.DataFrame({"a": range(50)})) for _ in range(2)]
    each = (len(ipywidgets.widgets.widget._instances) - before) // 2
    made += [shelf.add(pl.DataFrame({"a": range(50)})) for _ in range(8)]
    assert len(shelf) == 3
    assert len(ipywidgets.widgets.widget._instances) - before == 3 * each
    assert [w.comm is None for w in made] == [True] * 7 + [False] * 3
    assert made[0].frame.is_empty()


def test_large_tables_push_others_off_the_shelf_but_not_themselves():
    shelf = Shelf(size=10_000)
    small, large = shelf.add(pl.DataFrame({"a": range(50)})), shelf.add(pl.DataFrame({"a": range(5000)}))
    assert small.comm is None
    assert large.frame.height == 5000
    assert len(shelf) == 1


# ---- in the kernel -----------------------------------------------------------------------------------------------------


class Front:
    """What a front end knows of the widgets: the state of each, by comm id."""

    def __init__(self, kernel: Client) -> None:
        self.kernel, self.states, self.closed = kernel, {}, set()

    def run(self, code: str):
        reply = self.kernel.run(code)
        assert reply.status == "ok", reply.content
        self.take(reply.messages)
        return reply

    def take(self, messages: list[dict]) -> None:
        for message in messages:
            content = message["content"]
            data = content.get("data") or {}
            match message["msg_type"]:
                case "comm_open":
                    self.states[content["comm_id"]] = dict(data["state"])
                case "comm_msg" if data.get("method") == "update":
                    self.states.setdefault(content["comm_id"], {}).update(data["state"])
                case "comm_close":
                    self.closed.add(content["comm_id"])

    def below(self, key: str) -> list[str]:
        children = self.states[key].get("children", [])
        return [key, *(k for child in children for k in self.below(child.removeprefix("IPY_MODEL_")))]

    def part(self, root: str, **wanted) -> str:
        (found,) = [k for k in self.below(root) if all(self.states[k].get(n) == v for n, v in wanted.items())]
        return found

    def html(self, root: str) -> str:
        return self.states[self.part(root, _model_name="HTMLModel")]["value"]

    def send(self, key: str, data: dict) -> None:
        message = self.kernel.client.session.msg("comm_msg", {"comm_id": key, "data": data})
        self.kernel.client.shell_channel.send(message)

    def click(self, root: str, description: str) -> None:
        key = self.part(root, description=description, _model_name="ButtonModel")
        self.send(key, {"method": "custom", "content": {"event": "click"}})

    def set(self, root: str, description: str, **state) -> None:
        self.send(self.part(root, description=description), {"method": "update", "state": state, "buffer_paths": []})

    def until(self, condition, seconds: float = 60.0) -> None:
        start = time.monotonic()
        while not condition():
            left = start + seconds - time.monotonic()
            self.take([self.kernel.client.get_iopub_msg(timeout=max(0.01, left))])


def test_a_click_on_next_brings_the_next_page(kernel):
    front = Front(kernel)
    reply = front.run(LONG)
    assert "shape: (5_000, 1)" in reply.result["text/html"]
    assert "shape: (5_000, 1)" in reply.result["text/plain"]
    assert VIEW not in reply.result
    (view,) = reply.shown
    root = view[VIEW]["model_id"]
    assert view["text/html"] == view["text/plain"] == ""
    assert [m["msg_type"] for m in reply.messages if m["msg_type"] in ("execute_result", "display_data")] == [
        "execute_result", "display_data",
    ]  # fmt: skip
    assert "rows 1–20 of 5_000" in front.html(root)
    front.click(root, "›")
    front.until(lambda: "rows 21–40 of 5_000" in front.html(root))
    front.set(root, "rows", index=3)
    front.until(lambda: "rows 1–100 of 5_000" in front.html(root))
    front.set(root, "page", value=50)
    front.until(lambda: "rows 4_901–5_000 of 5_000" in front.html(root))
    front.set(root, "sort by", index=1)
    front.click(root, "↑")
    front.until(lambda: "<tr><td>4999</td></tr><tr><td>4998</td></tr>" in front.html(root))
    front.click(root, "CSV")
    front.until(lambda: 'download="result.csv"' in front.html(root))


def test_values_and_displays_have_it_too_and_short_results_do_not(kernel):
    front = Front(kernel)
    assert VIEW in front.run(f"rows = {LONG}.fetch()\nrows").shown[0]
    shown = front.run("display(rows)").shown
    assert "shape: (5_000, 1)" in shown[0]["text/plain"]
    assert VIEW in shown[1]
    short = front.run("rows.head(20)")
    assert short.shown == []
    assert short.of("comm_open") == []


def test_a_silent_cell_and_an_expression_make_no_widget(kernel):
    front = Front(kernel)
    front.run(f"rows = {LONG}.fetch()")
    assert kernel.run("rows", silent=True).of("comm_open", "display_data") == []
    reply = kernel.run("1", user_expressions={"r": "rows"})
    assert "shape: (5_000, 1)" in reply.content["user_expressions"]["r"]["data"]["text/plain"]
    assert reply.of("comm_open") == []


def test_the_page_turns_while_a_query_is_pending(kernel):
    front = Front(kernel)
    root = front.run(LONG).shown[0][VIEW]["model_id"]
    kernel.run('dataset("titanic").head(14)')
    kernel.run('filed = denied.request("first")')
    waiting = kernel.send("denied.wait()", stop_on_error=False)
    front.click(root, "›")
    front.until(lambda: "rows 21–40" in front.html(root))  # while nothing decides what the cell waits for
    kernel.manager.interrupt_kernel()
    (reply,) = kernel.collect([waiting])
    assert reply.status == "error"
    kernel.run("filed.withdraw()")


def test_old_widgets_are_closed_and_stop_answering(kernel):
    front = Front(kernel)
    roots = [front.run(LONG).shown[0][VIEW]["model_id"] for _ in range(module.MAX_WIDGETS + 2)]
    assert set(front.below(roots[0])) <= front.closed
    assert roots[-1] not in front.closed
    kernel.client.comm_info("jupyter.widget")
    reply = kernel.client.get_shell_msg(timeout=60)
    while reply["msg_type"] != "comm_info_reply":
        reply = kernel.client.get_shell_msg(timeout=60)
    alive = set(reply["content"]["comms"])
    assert roots[-1] in alive
    assert not alive & set(front.below(roots[0]))
