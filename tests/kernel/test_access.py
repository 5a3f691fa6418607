"""The moment of a denial at length: nothing is polled, several requests at once, restarts, two kernels, endings, hostile words."""

from __future__ import annotations

import re
import time

import polars as pl
import pytest
from bastion_widgets import AccessRequestWidget, Shelf
from kernel_client import Client, Stage, close_kernel, open_kernel
from widget_page import Page

from bastion import Connection
from bastion.client.denied import Denied
from bastion.client.link import Link

VIEW = "application/vnd.jupyter.widget-view+json"
EVIL = "<img src=x onerror=alert(1)><script>alert(1)</script>\x1b[31mred\u202e\"'"


def pending(stage: Stage) -> list:
    return list(stage.owner.requests("pending"))


@pytest.fixture(autouse=True)
def _nothing_stays_pending(stage):
    yield
    for request in pending(stage):
        stage.owner.deny(request, "The test is over.")


@pytest.fixture
def second(jupyter, stage):
    client = open_kernel()
    assert client.run("connect()").status == "ok"
    yield client
    close_kernel(client)


def ask(page: Page, rows: int, reason: str = "to see") -> None:
    page.denied(rows)
    page.type(reason)
    page.click("Request access")
    page.until(lambda: "Withdraw" in page.buttons())


def resume(client: Client) -> Page:
    """Return the page of a cell that lists the pending requests."""
    page = Page(client)
    reply = page.run('requests("pending")')
    (view,) = [m["content"]["data"] for m in reply.messages if VIEW in m["content"].get("data", {})]
    page.root = view[VIEW]["model_id"]
    return page


def test_a_denial_is_a_few_messages(kernel):
    page = Page(kernel)
    page.denied(100)
    assert len(page.states) <= 12
    assert page.buttons() == {"Request access", "Show the safe part"}


def test_nothing_is_asked_while_one_waits(stage, monkeypatch):
    sent: list[int] = []
    send, send_now = Link.send, Link.send_now
    monkeypatch.setattr(Link, "send", lambda self, *frames: (sent.append(len(frames)), send(self, *frames))[1])
    monkeypatch.setattr(Link, "send_now", lambda self, *frames: (sent.append(len(frames)), send_now(self, *frames))[1])
    with Connection() as connection:
        with pytest.raises(Denied) as denied:
            connection.dataset("titanic").head(101).fetch()
        widget = AccessRequestWidget(denied.value, shelf=Shelf())
        widget._made["reason"].value = "to see"
        widget._made["ask"].click()
        wait(lambda: widget.state == "pending")
        assert sent, "what is asked is counted"
        sent.clear()
        time.sleep(6.5)  # longer than any heartbeat or retry of the client
        assert sent == []
        stage.owner.approve(pending(stage)[0], "Fine.")
        wait(lambda: "<table>" in widget._made["result"].value)
        assert len(sent) <= 3, "the result, and nothing else"
        widget.close()


def wait(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_several_requests_at_once_each_have_their_answer(kernel, stage):
    pages = [Page(kernel) for _ in range(3)]
    for page in pages:
        page.states = pages[0].states  # of one notebook
    for i, page in enumerate(pages):
        page.denied(110 + i)
        page.comm(
            one(page, _model_name="TextareaModel"),
            {"method": "update", "state": {"value": f"number {i}"}, "buffer_paths": []},
        )
        page.comm(one(page, description="Request access"), {"method": "custom", "content": {"event": "click"}})
        page.until(lambda page=page: "Waiting for the owner" in html(page))
    filed = {r.reason: r for r in pending(stage)}
    assert set(filed) == {"number 0", "number 1", "number 2"}
    stage.owner.deny(filed["number 1"], "Not this one.")
    stage.owner.approve(filed["number 2"])
    pages[0].until(lambda: "Not this one." in html(pages[1]) and "<table>" in html(pages[2]))
    assert "Waiting for the owner" in html(pages[0])
    assert [r.reason for r in pending(stage)] == ["number 0"]


def below(page: Page) -> list[dict]:
    """Return the states of all widgets below a page's root."""

    def walk(key: str) -> list[str]:
        children = page.states.get(key, {}).get("children", [])
        return [key, *(k for child in children for k in walk(child.removeprefix("IPY_MODEL_")))]

    return [{"key": key, **page.states[key]} for key in walk(page.root) if key in page.states]


def one(page: Page, **wanted: str) -> str:
    (found,) = [s["key"] for s in below(page) if all(s.get(k) == v for k, v in wanted.items())]
    return found


def html(page: Page) -> str:
    return "".join(str(s.get("value", "")) for s in below(page))


def test_requests_go_on_after_a_restart_of_the_kernel(jupyter, stage):
    first = open_kernel()
    assert first.run("connect()").status == "ok"
    ask(Page(first), 120, "before the restart")
    close_kernel(first)
    again = open_kernel()
    try:
        assert again.run("connect()").status == "ok"
        page = resume(again)
        assert "before the restart" in page.html()
        assert "Waiting for the owner" in page.html()
        assert "Open until" in page.html()
        assert page.buttons() == {"Withdraw"}
        stage.owner.approve(pending(stage)[0], "Go on.")
        page.until(lambda: "<table>" in page.html())
        assert "Go on." in page.html()
        page.until(lambda: "has been handed out" in page.html())
        # the static list above says the same, also once it is saved
        page.until(lambda: any("approved, used" in t["text/plain"] for t in page.replaced.values()))
        (table,) = page.replaced.values()
        assert "pending" not in table["text/html"] + table["text/plain"]
        assert "Go on." in table["text/html"]
        assert again.run("released.shape").result["text/plain"] == "(120, 12)"
    finally:
        close_kernel(again)


def test_a_request_taken_up_again_may_be_withdrawn_and_asked_anew(kernel, stage):
    page = Page(kernel)
    page.run('dataset("titanic").head(121)')
    kernel.run('denied.request("first")')
    page = resume(kernel)
    page.click("Withdraw")
    page.until(lambda: "took the request back" in page.html())
    assert pending(stage) == []
    page.until(lambda: "Ask again" in page.buttons())
    page.click("Ask again")
    page.until(lambda: page.buttons() == {"Request access"})
    page.click("Request access")
    page.until(lambda: "needs a reason" in page.html())
    page.type("second thoughts")
    page.click("Request access")
    page.until(lambda: "Withdraw" in page.buttons())
    assert [r.reason for r in pending(stage)] == ["second thoughts"]


def test_two_kernels_of_one_identity_hear_the_same_and_a_result_for_once_is_given_once(kernel, second, stage):
    one = Page(kernel)
    ask(one, 122, "once")
    other = resume(second)
    stage.owner.approve(pending(stage)[0])
    pages = (one, other)
    for page in pages:
        page.until(lambda page=page: "has been handed out" in page.html() and "Ask again" in page.buttons())
        assert "Show the result" not in page.buttons()
        assert "went wrong" not in page.html()
    # that it was handed out may be known before the table is drawn
    end = time.monotonic() + 60
    while not any("<table>" in page.html() for page in pages):
        assert time.monotonic() < end
        for page in pages:
            page.hear(0.1)
    assert sum("<table>" in page.html() for page in pages) == 1


def test_a_request_that_ends_with_its_data_says_so_and_may_be_asked_again(kernel, stage):
    send = stage.owner.client.polars.send_df
    send(pl.DataFrame({"a": range(50)}), name="passing", unit="row")
    page = Page(kernel)
    page.denied(5, "passing")
    page.type("in time?")
    page.click("Request access")
    page.until(lambda: "Withdraw" in page.buttons())
    stage.owner.set_policy("passing", 'unsafe = "review"\n[safe_zone]\naggregation = 20\n')
    page.until(lambda: "ended undecided" in page.html() and "Ask again" in page.buttons())
    assert "Withdraw" not in page.buttons()


def test_an_approval_that_holds_shows_until_when_and_gives_it_again(kernel, stage):
    page = Page(kernel)
    ask(page, 123)
    stage.owner.approve(pending(stage)[0], until=time.time() + 3600)
    page.until(lambda: "<table>" in page.html())
    page.until(lambda: "Show it again" in page.buttons())
    assert "It holds until" in page.html()
    kernel.run("released = None")
    page.click("Show it again")
    page.until(lambda: kernel.run("released").of("execute_result"), 20)


def test_the_safe_part_says_how_much_it_is_and_marks_the_rest(kernel, stage):
    pay = pl.DataFrame({"g": ["x"] * 40 + ["y"] * 40 + ["z"] * 30, "v": [1000.0 + i % 7 for i in range(109)] + [9e6]})
    stage.owner.client.polars.send_df(pay, name="pay", unit="row")
    page = Page(kernel)
    reply = page.run('dataset("pay").group_by("g").agg(pl.col("v").sum(), pl.len())')
    assert "The safe part (3 of 6 cells) may be shown now" in reply.shown[0]["text/plain"]
    page.root = reply.shown[1][VIEW]["model_id"]
    page.static = reply.of("display_data")[0]["transient"]["display_id"]
    page.click("Show the safe part (3 of 6 cells)")
    page.until(lambda: "shape: (3, 3)" in page.kept())
    for view in (page.html(), page.kept()):
        assert view.count("∅</td>") == 3
        assert "3 cells were taken out" in view
    assert "Request access" in page.buttons(), "the whole may still be asked for"
    assert pending(stage) == []


def test_ones_own_earlier_question_is_named_where_it_stands_in_the_way(kernel, stage):
    ages = pl.DataFrame({"Age": [(i * 37 % 800) / 10 for i in range(500)]})
    stage.owner.client.polars.send_df(ages, name="ages", unit="row")
    kernel.run('ages = dataset("ages")')
    assert kernel.run('ages.group_by(pl.col("Age").cut(list(range(0, 90, 10)))).agg(pl.len())').of("execute_result")
    for key in ('(pl.col("Age") // 10) * 10', '(pl.col("Age") / 7).floor()', '(pl.col("Age") / 9).floor()'):
        reply = kernel.run(f"ages.group_by({key}).agg(pl.len())")
        if reply.shown and "What you were told of the same columns before:" in reply.shown[0]["text/plain"]:
            break
    else:
        pytest.fail("history did not stand in the way")
    for view in (reply.shown[0]["text/plain"], reply.shown[0]["text/html"]):
        assert "number of rows" in view
        assert "Room: You have had " in view


def test_what_became_of_it_is_kept_with_the_reason(kernel, stage):
    page = Page(kernel)
    ask(page, 18)
    page.until(lambda: "Waiting for the owner" in page.kept())
    assert "single people" in page.kept(), "the reason stays"
    assert "until you ask" not in page.kept()
    stage.owner.approve(pending(stage)[0], EVIL)
    page.until(lambda: "shape: (18, 12)" in page.kept() and "has been handed out" in page.kept())
    clean(page.kept())
    text = page.replaced[page.static]["text/plain"]
    assert "shape: (18, 12)" in text
    assert "\u202e" not in text
    # the widget shows the same: while it answers, only one of them is seen
    (hidden,) = re.findall(r'<div class="(bastion-[0-9a-f]+)"><div><b>', page.kept())
    assert f".{hidden}{{display:none}}" in page.html()
    assert f"{hidden}-live" in page.states[page.root]["_dom_classes"]
    # what was read comes first, asking anew below it
    children = [k.removeprefix("IPY_MODEL_") for k in page.states[page.root]["children"]]
    assert [page.states[k]["_model_name"] for k in children] == ["HTMLModel", "HTMLModel", "HBoxModel"]
    assert page.buttons() == {"Ask again"}


def test_the_owners_no_is_kept_too(kernel, stage):
    page = Page(kernel)
    ask(page, 19)
    stage.owner.deny(pending(stage)[0], "Means are enough.")
    page.until(lambda: "Means are enough." in page.kept())
    assert "said no" in page.kept()
    assert "<table>" not in page.kept()


def test_an_approval_taken_back_says_so(kernel, stage):
    page = Page(kernel)
    ask(page, 124)
    (request,) = pending(stage)
    stage.owner.approve(request, may_read=False)
    page.until(lambda: "kept sealed" in page.html())
    stage.owner.deny_reading(request.id, EVIL)
    page.until(lambda: "does not let you read" in page.html() or "took the approval back" in page.html())
    clean(page.html())


def test_the_owners_words_are_shown_as_words(kernel, stage):
    page = Page(kernel)
    ask(page, 125, EVIL)
    (request,) = pending(stage)
    stage.owner.deny(request, EVIL)
    page.until(lambda: "said no" in page.html())
    clean(page.html())
    listed = kernel.run("requests()")
    for data in [c["data"] for c in listed.of("execute_result", "display_data")]:
        clean(data.get("text/html", ""))
        assert "\x1b" not in data["text/plain"]
        assert "\u202e" not in data["text/plain"]


def clean(page: str) -> None:
    assert "<img" not in page
    assert "<script" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
