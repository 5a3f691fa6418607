"""The owner's panel in a real kernel: requests arrive by push, clicks decide, and nothing is sent while nothing happens."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Iterator

import polars as pl
import pytest
from kernel_client import Client, Stage, close_kernel, open_kernel
from widget_page import Page

from bastion import BastionError, Connection, Denied
from bastion.client.endpoints import write_profile
from bastion.policy import Policy, measure

MARKUP = "<img src=x onerror='window.evil=1'>\u202e\x1b[31m"


class Panel(Page):
    """The panel's model as a front end knows it."""

    def open(self) -> None:
        reply = self.run("owner_panel()")
        assert reply.status == "ok", reply.content
        view = next(d for d in [*reply.shown, *[c["data"] for c in reply.of("execute_result")]] if WIDGET in d)
        self.root = view[WIDGET]["model_id"]

    def __getitem__(self, name: str):
        return self.states[self.root].get(name)

    def send(self, do: str, **fields: object) -> None:
        self.comm(self.root, {"method": "custom", "content": {"do": do, **fields}})

    def send_with(self, do: str, buffers: list[bytes], **fields: object) -> None:
        data = {"method": "custom", "content": {"do": do, **fields}}
        session, channel = self.kernel.client.session, self.kernel.client.shell_channel
        message = session.msg("comm_msg", {"comm_id": self.root, "data": data})
        session.send(channel.socket, message, buffers=buffers)

    def row(self, request: str) -> dict:
        return next((r for r in self["requests"] if r["id"] == request), {})


WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def alice(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    key = stage.profile.parent / "keys" / "alice.key"
    with Connection(stage.endpoint, identity=str(key), server_key=stage.server_key) as connection:
        yield connection


@pytest.fixture(scope="module")
def olgas(jupyter, stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A kernel with olga, the owner, connected."""
    folder = tmp_path_factory.mktemp("olga")
    before = os.environ["BASTION_PROFILE"]
    os.environ["BASTION_PROFILE"] = str(folder / "profile.toml")
    write_profile(stage.endpoint, stage.server_key, str(stage.profile.parent / "keys" / "olga.key"))
    try:
        client = open_kernel()
    finally:
        os.environ["BASTION_PROFILE"] = before
    assert client.run("connect()").status == "ok"
    yield client
    close_kernel(client)


def asked(alice: Connection, rows: int, reason: str = "to see them") -> Denied:
    with pytest.raises(Denied) as caught:
        alice.dataset("titanic").head(rows).fetch()
    caught.value.request(reason)
    return caught.value


@pytest.fixture
def panel(olgas) -> Panel:
    page = Panel(olgas)
    page.open()
    return page


def test_a_request_arrives_and_is_approved(panel, alice):
    denied = asked(alice, 21)
    request = denied._request.id
    panel.until(lambda: panel.row(request).get("state") == "pending")
    panel.send("open_request", request=request)
    panel.until(lambda: panel["request"].get("id") == request)
    assert "head(21)" in panel["request"]["code"]
    panel.send("decide", request=request, how="approve", reason="Fine.")
    panel.until(lambda: panel.row(request)["state"] == "approved")
    assert denied.wait(60).height == 21
    panel.until(lambda: panel["request"]["answer"] == "Fine.")


def test_what_follows_since_a_request_was_filed_is_said_before_it_is_approved(panel, alice):
    titanic, queenstown = alice.dataset("titanic"), pl.col("Embarked") == "Q"
    with pytest.raises(Denied) as caught:
        titanic.filter(queenstown).select("Age").fetch()
    request = caught.value.request("all of them").id
    panel.until(lambda: panel.row(request).get("state") == "pending")
    panel.send("open_request", request=request)
    panel.until(lambda: panel["request"].get("id") == request)
    assert "WARNING" not in str(panel["request"])
    others = (pl.col("Embarked") == "C") & (pl.col("Pclass") == 2) & (pl.col("Sex") == "female")
    titanic.filter((queenstown & (pl.col("Sex") == "male")) | others).select(pl.len()).fetch()
    panel.send("decide", request=request, how="approve", reason="")
    panel.until(lambda: panel["said"].get("code") == "input.request.changed")
    assert "it shows all of a group but" in panel["said"]["text"]
    panel.until(lambda: "WARNING: it shows all of a group but" in str(panel["request"]))
    assert panel.row(request)["state"] == "pending"
    panel.send("decide", request=request, how="approve", reason="")
    panel.until(lambda: panel.row(request)["state"] == "approved")


def test_a_denial_needs_a_reason_and_reaches_the_requester(panel, alice):
    denied = asked(alice, 22)
    request = denied._request.id
    panel.until(lambda: panel.row(request).get("state") == "pending")
    panel.send("decide", request=request, how="deny", reason="  ")
    panel.until(lambda: "needs a word" in panel["said"].get("text", ""))
    assert panel["said"]["how"] == "error"
    panel.send("decide", request=request, how="deny", reason="Ask for the mean instead.")
    with pytest.raises(BastionError) as caught:
        denied.wait(60)
    assert "Ask for the mean instead." in str(caught.value.reason)
    panel.until(lambda: panel.row(request)["state"] == "denied")


def test_approve_for_days_then_revoke(panel, alice):
    denied = asked(alice, 23)
    request = denied._request.id
    panel.until(lambda: panel.row(request).get("state") == "pending")
    for until in (0, time.time() - 60, time.time() + 4000 * 86400, "2030-01-01"):
        panel.send("tab", tab="Requests")
        panel.send("decide", request=request, how="approve", until=until)
        panel.until(lambda: "today on" in panel["said"].get("text", ""))
        panel.send("open_request", request="r-none")
        panel.until(lambda: "today on" not in panel["said"].get("text", ""))
    until = time.time() + 2 * 86400
    panel.send("decide", request=request, how="approve", until=until, reason="two days")
    panel.until(lambda: panel.row(request)["state"] == "approved")
    assert denied.wait(60).height == 23
    titanic = alice.dataset("titanic")
    assert titanic.head(23).fetch().height == 23, "any number of times"
    panel.send("open_request", request=request)
    panel.until(lambda: panel["request"].get("id") == request and panel["request"]["can"] == ["revoke"])
    panel.send("decide", request=request, how="revoke", reason="That is enough.")
    panel.until(lambda: panel["request"]["ended"] == "revoked")
    assert panel.row(request)["live"] is False
    with pytest.raises(Denied):
        titanic.head(23).fetch()


def test_run_only_preview_and_reading(panel, alice, stage):
    denied = asked(alice, 24)
    request = denied._request.id
    panel.until(lambda: panel.row(request).get("state") == "pending")
    panel.send("open_request", request=request)
    panel.until(lambda: panel["request"].get("id") == request)
    panel.send("preview", request=request)
    panel.until(lambda: "preview" in panel["request"])
    shown = panel["request"]["preview"]
    assert len(shown["rows"]) == 20
    assert {row[shown["columns"].index("Name")] for row in shown["rows"]} == {"*"}, "hidden columns stay masked"
    panel.send("decide", request=request, how="approve", run_only=True)
    panel.until(lambda: panel["request"].get("can") == ["reading", "revoke"])
    with pytest.raises(Denied) as caught:
        alice.dataset("titanic").head(24).fetch()
    assert caught.value.rule == "owner-grant"
    panel.until(lambda: panel["request"]["ran"] > 0)
    panel.send("decide", request=request, how="read")
    assert denied.wait(60).height == 24


def test_all_there_is_to_know_of_a_request(panel, alice):
    denied = asked(alice, 25, "to know all")
    request = denied._request.id
    panel.until(lambda: panel.row(request).get("state") == "pending")
    panel.send("open_request", request=request)
    panel.until(lambda: panel["request"].get("id") == request)
    whole = panel["request"]
    assert "head(25)" in whole["code"]
    assert whole["words"]
    assert {c["name"] for c in whole["columns"]} >= {"titanic.Age", "titanic.Name"}
    assert any("row-level" in finding for finding in whole["findings"])
    assert {"name": "rows of the result", "value": "25"} in whole["figures"]
    assert whole["past"], "what alice asked before"
    assert whole["expires"] > whole["created"]
    panel.send("decide", request=request, how="deny", reason="no")
    panel.until(lambda: panel.row(request)["state"] == "denied")


def test_hostile_strings_come_safe_and_are_never_markup(panel, alice):
    denied = asked(alice, 26, MARKUP)
    request = denied._request.id
    panel.until(lambda: panel.row(request).get("state") == "pending")
    reason = panel.row(request)["reason"]
    assert "\x1b" not in reason
    assert "\u202e" not in reason
    assert "<img" in reason, "the page takes it as text"
    panel.send("decide", request=request, how="deny", reason=MARKUP)
    panel.until(lambda: panel.row(request)["state"] == "denied")


def test_the_page_never_takes_a_string_as_markup():
    from bastion_widgets.owner.panel import page

    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "DOMParser",
        "srcdoc",
    ):
        assert way not in page()


def test_a_blocking_connections_panel_hears_of_requests_and_sends_nothing_meanwhile(stage, alice, monkeypatch):
    from bastion_widgets import OwnerPanel

    with Connection(stage.endpoint, identity=stage.olga, server_key=stage.server_key) as owner:
        first = asked(alice, 29)._request.id
        panel = OwnerPanel(owner)
        # the push of the first request may come before the panel or after it
        until(lambda: (panel.datasets and panel.requests) or panel.said.get("how") == "error")
        assert panel.said.get("how") != "error"
        assert panel.session["light"] == "amber" and panel.session["attested"].startswith("UNATTESTED")
        sent = []
        ask = owner._open_session.ask
        monkeypatch.setattr(owner._open_session, "ask", lambda body, *rest: (sent.append(body), ask(body, *rest))[1])
        denied = asked(alice, 28)
        request = denied._request.id
        until(lambda: any(r["id"] == request and r["state"] == "pending" for r in panel.requests))
        assert sent == []
        panel._clicked(panel, {"do": "decide", "request": request, "how": "deny", "reason": "no"}, [])
        until(lambda: any(r["id"] == request and r["state"] == "denied" for r in panel.requests))
        assert [type(body).__name__ for body in sent] == ["GetRequest", "Decide"]
        owner.deny(first, "no")
        panel.close()


def until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def test_a_policy_is_checked_as_it_is_typed(panel):
    panel.until(lambda: any(d["name"] == "titanic" for d in panel["datasets"] or ()))
    titanic = next(d["id"] for d in panel["datasets"] if d["name"] == "titanic")
    panel.send("open_dataset", dataset=titanic)
    panel.until(lambda: panel["dataset"].get("id") == titanic and panel["check"].get("dataset") == titanic)
    text = panel["dataset"]["policy"]
    assert "aggregation = 10" in text
    assert panel["check"]["error"] == ""
    samples = {s["what"]: s["outcome"] for s in panel["check"]["samples"]}
    assert samples["the first five rows"] == "review"
    broken = text.replace("aggregation = 10", "agregation = 10")
    panel.send("check", dataset=titanic, text=broken)
    panel.until(lambda: panel["check"]["error"])
    assert panel["check"]["line"] == 1 + broken.split("\n").index("agregation = 10")
    panel.send("check", dataset=titanic, text=text.replace('unsafe = "review"', 'unsafe = "reject"'))
    panel.until(lambda: not panel["check"]["error"])
    rows = next(s for s in panel["check"]["samples"] if s["what"] == "the first five rows")
    assert rows["outcome"] == "refuse"
    assert rows["was"] == "waits for you"


def test_a_decision_as_a_line_is_tried_on_the_past_and_opened_in_the_editor(panel, alice):
    denied = asked(alice, 27)
    request = denied._request.id
    panel.until(lambda: panel.row(request).get("state") == "pending")
    panel.send("open_request", request=request)
    panel.until(lambda: panel["request"].get("id") == request)
    panel.send("suggest", request=request)
    panel.until(lambda: panel["request"].get("suggestions"))
    line = next(s for s in panel["request"]["suggestions"] if "Refuse at once" in s["words"])
    assert '+ unsafe = "reject"' in line["line"]
    panel.send("try_suggestion", request=request, number=line["number"])
    panel.until(lambda: any(s["trial"] for s in panel["request"]["suggestions"]))
    trial = next(s["trial"] for s in panel["request"]["suggestions"] if s["trial"])
    assert "would get less than now" in trial["says"]
    assert any(q["changed"] and q["after"] == "refused" for q in trial["queries"])
    panel.send("edit_suggestion", request=request, number=line["number"])
    panel.until(lambda: panel["tab"] == "Datasets" and 'unsafe = "reject"' in panel["dataset"].get("draft", ""))
    panel.send("decide", request=request, how="deny", reason="no")
    panel.until(lambda: panel.row(request)["state"] == "denied")


def test_roles_with_bounds_and_values_by_form(panel, stage):
    panel.until(lambda: any(d["name"] == "titanic" for d in panel["datasets"] or ()))
    titanic = next(d["id"] for d in panel["datasets"] if d["name"] == "titanic")
    panel.send("open_dataset", dataset=titanic)
    panel.until(lambda: panel["dataset"].get("id") == titanic)
    columns = [c["name"] for c in panel["dataset"]["roles"]]

    def role(name: str) -> dict:
        return panel["dataset"]["roles"][columns.index(name)]

    def declare(name: str, **fields: object) -> None:
        panel.send("set_role", dataset=titanic, column=str(columns.index(name)), **fields)

    before = {c: role(c)["says"] for c in columns}
    declare("Age", role="measure", lower="0", upper="80.5", varies=False)
    panel.until(lambda: role("Age")["says"] == "measure(0, 80.5)")
    assert (role("Age")["lower"], role("Age")["upper"], role("Age")["inferred"]) == ("0", "80.5", False)
    assert "lower = 0" in panel["dataset"]["policy"]
    declare("Pclass", role="quasi", domain="1\n2\n3\n\n3")
    panel.until(lambda: role("Pclass")["domain"] == ["1", "2", "3"])
    declare("Embarked", role="public", domain=f"S\n C \n{MARKUP}")
    panel.until(lambda: len(role("Embarked")["domain"]) == 3)
    shown = role("Embarked")["domain"]
    assert "\x1b" not in shown[2], "what is shown is safe"
    declare("Embarked", role="public", domain="\n".join(["Q", *shown]))
    panel.until(lambda: len(role("Embarked")["domain"]) == 4)
    with Connection(stage.endpoint, identity=stage.olga, server_key=stage.server_key) as owner:
        roles = {c.name: c.role for c in owner.dataset("titanic").dataset.facts.columns}
    assert roles["Embarked"].domain == ("Q", "S", "C", MARKUP), "and what was declared stays what it is"
    assert roles["Pclass"].domain == (1, 2, 3)
    for fields, why in (
        ({"role": "measure", "lower": "9", "upper": "1"}, "not below"),
        ({"role": "measure", "lower": "9", "upper": ""}, "two finite numbers"),
        ({"role": "measure", "lower": "nine", "upper": "10"}, "not a number"),
        ({"role": "quasi", "domain": "one"}, "not a value of type Int64"),
        ({"role": "sensitive", "domain": "1"}, "Only public and quasi"),
        ({"role": "king"}, "no such role"),
    ):
        declare("Pclass", **fields)
        panel.until(lambda why=why: why in panel["said"].get("text", ""))
    assert role("Pclass")["domain"] == ["1", "2", "3"]
    others = set(columns) - {"Age", "Pclass", "Embarked"}
    assert {c: role(c)["says"] for c in others} == {c: before[c] for c in others}, "hidden ones stay hidden"
    assert role("Name")["says"] == "hidden"
    for name in ("Age", "Pclass", "Embarked"):
        declare(name, role=before[name])
        panel.until(lambda name=name: role(name)["says"] == before[name])


def test_upload_roles_policy_access_and_deletion(panel, alice):
    data = b"town,age,pay\n" + b"".join(b"%s,%d,%d\n" % (t, a, a * 100) for a in range(20, 60) for t in (b"x", b"y"))
    half = len(data) // 2

    def part(seq: int, run: str) -> None:
        given = data[half:] if seq else data[:half]
        panel.send_with("upload_part", [given], name="staff.csv", seq=seq, size=len(data), run=run)

    def whole(given: bytes, name: str = "odd.csv") -> None:
        panel.send_with("upload_part", [given], name=name, seq=0, size=len(given), run=name)

    # a broken row is said by its line; semicolons are read, and what is odd is said before anything is sent
    whole(b"town,age\nx,1\ny\n")
    panel.until(lambda: "too few fields in line 3" in panel["said"].get("text", ""))
    whole(b"town;pay\n" + b"x;1,5\n" * 9 + b"y;none\n")
    panel.until(lambda: [c["name"] for c in panel["upload"].get("columns", ())] == ["town", "pay"])
    assert "most of its values are numbers" in panel["upload"]["doubts"][0]
    assert "choose it again" in panel["upload"]["doubts"][0]
    panel.send("upload_cancel")
    panel.until(lambda: not panel["upload"])
    whole(gzip.compress(data), "packed.csv.gz")
    panel.until(lambda: panel["upload"].get("rows") == 80)
    panel.send("upload_cancel")
    panel.until(lambda: not panel["upload"])
    # how far a file is, and no more of one that is not wanted any more
    part(0, "first")
    panel.until(lambda: "receiving 50% · " in panel["upload"].get("says", ""))
    panel.send("upload_cancel")
    part(1, "first")
    part(0, "second")
    part(1, "second")
    panel.until(lambda: panel["upload"].get("columns"))
    assert "did not come whole" not in panel["said"].get("text", "")
    assert panel["upload"]["rows"] == 80
    assert panel["upload"]["doubts"] == []
    # what is sent says so, with a button that stops it; the file is still there
    sending = {"name": "staff", "unit": "row", "hidden": [2], "policy": "", "replace": False}
    panel.send("upload_send", **sending)
    panel.send("upload_stop")
    panel.until(lambda: panel["said"].get("stop") == "upload_stop")
    panel.until(lambda: "was stopped" in panel["said"].get("text", ""))
    assert all(d["name"] != "staff" for d in panel["datasets"])
    panel.send("upload_send", **sending)
    panel.until(lambda: panel["dataset"].get("name") == "staff")
    staff = panel["dataset"]
    assert {r["name"]: r["role"] for r in staff["roles"]}["pay"] == "hidden"
    panel.send("set_role", dataset=staff["id"], column="1", role="measure")
    panel.until(lambda: any(r["name"] == "age" and not r["inferred"] for r in panel["dataset"].get("roles", ())))
    panel.send(
        "set_policy",
        dataset=staff["id"],
        text=panel["dataset"]["policy"].replace("aggregation = 10", "aggregation = 20"),
    )
    panel.until(lambda: "aggregation = 20" in panel["dataset"].get("policy", ""))
    panel.send("try", dataset=staff["id"], text=panel["dataset"]["policy"])
    panel.until(lambda: "Nothing was asked" in panel["trial"].get("says", ""))
    panel.send("set_policy", dataset=staff["id"], text="unsafe = 7\n")
    panel.until(lambda: panel["check"]["error"] and panel["check"]["line"] == 1)
    panel.until(lambda: panel["said"].get("how") == "error")
    panel.send("set_allow", dataset=staff["id"], names="bob, carol")
    panel.until(lambda: set(panel["dataset"].get("allow", ())) == {"bob", "carol"})
    with pytest.raises(BastionError):
        alice.dataset("staff")
    panel.send("delete", dataset=staff["id"], name="stafff")
    panel.until(lambda: "type its name" in panel["said"].get("text", ""))
    panel.send("delete", dataset=staff["id"], name="staff")
    panel.until(lambda: all(d["name"] != "staff" for d in panel["datasets"]))


def test_activity_filters_verification_and_figures(panel, alice):
    alice.dataset("titanic").group_by("Pclass").agg(pl.col("Survived").mean()).fetch()
    panel.send("tab", tab="Activity")
    panel.until(lambda: (panel["activity"] or {}).get("records"))
    panel.send("records", kind="outcome", who="alice")
    panel.until(lambda: panel["activity"]["filters"]["who"] == "alice")
    records = panel["activity"]["records"]
    assert {(r["kind"], r["who"]) for r in records} == {("outcome", "alice")}
    panel.send("verify")
    panel.until(lambda: (panel["verified"] or {}).get("ok"))
    panel.send("tab", tab="Exposure")
    panel.until(lambda: any(e["name"] == "titanic" and e["audiences"] for e in panel["exposure"] or ()))
    titanic = next(e for e in panel["exposure"] if e["name"] == "titanic")
    assert any(c["column"] == "Survived" for c in titanic["columns"])


def test_budgets_of_answers_with_noise_and_who_spent_them(panel, alice, stage):
    policy = Policy.private(epsilon=8.0, unit="id", roles={"id": "identifier", "x": measure(0, 1)})
    noisy = pl.DataFrame({"id": range(100), "x": [i % 2 for i in range(100)]})
    stage.owner.client.polars.send_df(noisy, policy, name="noisy")
    alice.dataset("noisy").select(pl.len()).collect(epsilon=2).fetch()
    panel.send("tab", tab="Budget")
    panel.until(lambda: panel["budgets"] and any(e["name"] == "noisy" for e in panel["exposure"]))
    (budget,) = panel["budgets"]
    assert (budget["datasets"], budget["epsilon"], budget["answers"]) == (["noisy"], 8.0, 1)
    assert budget["spent"] == pytest.approx(2.0)
    (who,) = next(e for e in panel["exposure"] if e["name"] == "noisy")["audiences"]
    assert (who["name"], who["epsilon"]) == ("alice", pytest.approx(2.0)), "who spent it"


def test_the_page_cannot_make_the_panel_do_anything_else(panel):
    for content in ({"do": "__init__"}, {"do": "open_request"}, {"do": "tab", "tab": 7, "x": 1}, {"do": 3}, {}, []):
        panel.comm(panel.root, {"method": "custom", "content": content})
    panel.send("decide", request="r-0000000000000000", how="approve")
    panel.until(lambda: "r-0000000000000000" in panel["said"].get("text", ""))


def test_a_scientist_gets_no_panel(kernel):
    reply = kernel.run("owner_panel()")
    assert reply.status == "error"
    assert "for owners" in reply.error


def test_what_a_saved_notebook_keeps_of_it(olgas):
    reply = Panel(olgas).run("owner_panel()")
    static = reply.result if reply.of("execute_result") else reply.shown[0]
    assert WIDGET not in static
    assert "Owner's panel of olga" in static["text/plain"]
