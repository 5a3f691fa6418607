"""Live validation in cells: the verdict is there before anything runs and without running; the result takes its place."""

from __future__ import annotations

import time

from kernel_client import SLOW, Client
from widget_page import Page

VIEW = "application/vnd.jupyter.widget-view+json"


def test_a_query_that_is_given_a_name_shows_its_verdict_and_runs_nothing(kernel, stage):
    before = len(stage.owner.audit("titanic", 1000))
    reply = kernel.run(
        't = dataset("titanic")\nrates = t.group_by("Sex").agg(pl.col("Age").mean())\nrows = t.head(3)\nnames = t.group_by("Name").len()'
    )
    (line,) = reply.shown
    text = line["text/plain"]
    assert "rates: ✓ Released automatically" in text
    assert "rows: ⚑" in text
    assert "single people's rows" in text
    assert "names: ✗" in text
    assert "t: " not in text, "a dataset is no query"
    assert len(stage.owner.audit("titanic", 1000)) == before, "nothing was run"
    assert not kernel.run("again = rates\nx = 1 + 1").of("execute_result", "error")
    assert not kernel.run("y = 2").shown


def test_the_line_is_that_of_explain(kernel):
    shown = kernel.run('q = dataset("titanic").head(4)').shown[0]["text/plain"]
    explained = kernel.run("print(q.explain())").stream("stdout")
    assert shown.split(": ⚑ ")[1].split(".")[0] in explained


def test_an_explanation_reads_as_lines_and_is_a_text(kernel):
    shown = kernel.run('q = dataset("titanic").select(pl.col("Age").mean())\nq.explain()').result["text/plain"]
    assert shown.splitlines()[0].startswith("SELECT")
    assert any(line.startswith("VERDICT") for line in shown.splitlines())
    assert "\\n" not in shown
    page = kernel.run("q.explain()").result["text/html"]
    assert page.startswith("<pre"), "its long lines break between words"
    assert "word-break:normal" in page
    assert kernel.run('"VERDICT" in q.explain()').result["text/plain"] == "True"
    assert kernel.run('q.explain().split("VERDICT")[0][:6]').result["text/plain"] == "'SELECT'"
    assert kernel.run('f"{q.explain()}"[:6] + "!"').result["text/plain"] == "'SELECT!'"


def test_the_verdict_stands_while_a_query_runs_and_its_result_takes_the_place(kernel):
    cell = kernel.send('dataset("titanic").select(pl.len())')
    kernel.hear(cell, "display_data")
    early = [m for m in kernel._early if m["msg_type"] == "display_data"]
    assert "✓ Released automatically" in early[0]["content"]["data"]["text/plain"]
    (reply,) = kernel.collect([cell])
    assert reply.shown == [], "a front end shows the result in its place"
    assert "891" in reply.result["text/plain"]


def test_what_a_cell_printed_stays_when_the_result_comes(kernel):
    reply = kernel.run('print("before")\ndataset("titanic").select(pl.len())')
    assert reply.stream("stdout") == "before\n"
    assert "891" in reply.result["text/plain"]


def test_a_silent_cell_shows_no_verdict(kernel):
    reply = kernel.run('silent = dataset("titanic").head(2)', silent=True, store_history=False)
    assert reply.shown == []


def test_a_button_stops_a_long_query(kernel, stage):
    page = Page(kernel)
    cell = kernel.send(SLOW, stop_on_error=False)
    page.until(lambda: any(s.get("description") == "Stop" for s in page.states.values()), 30)
    page.click("Stop")
    reply = finish(kernel, cell)
    assert reply["status"] == "error"
    assert "stopped" in reply["evalue"]
    assert kernel.run('dataset("titanic").select(pl.len())').status == "ok"


def finish(kernel: Client, cell: str) -> dict:
    end = time.monotonic() + 30
    while True:
        message = kernel.client.get_shell_msg(timeout=max(0.01, end - time.monotonic()))
        if message["parent_header"].get("msg_id") == cell:
            return message["content"]


def test_a_line_of_progress_says_what_is_left_when_it_is_over(kernel):
    cell = kernel.send(SLOW, stop_on_error=False)
    kernel.hear(cell, "comm_open")
    time.sleep(0.6)
    kernel.manager.interrupt_kernel()
    (reply,) = kernel.collect([cell])
    views = [u["data"] for u in reply.of("display_data", "update_display_data")]
    assert any(VIEW in view for view in views)
    assert VIEW not in views[-1], "what is saved needs no kernel"
    assert views[-1]["text/plain"].startswith("took ")
    closed = {m["content"]["comm_id"] for m in reply.messages if m["msg_type"] == "comm_close"}
    opened = {m["content"]["comm_id"] for m in reply.messages if m["msg_type"] == "comm_open"}
    assert opened <= closed
