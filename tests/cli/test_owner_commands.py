"""What owners do on the command line besides deciding: policies, roles, access, revoking, the log, budgets, notices."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from bastion_cli import client
from bastion_cli.main import main
from bastion_cli.output import SafeConsole
from bastion_server import start
from click.testing import CliRunner

from bastion import Connection, Denied, Identity
from bastion.client.endpoints import write_profile
from bastion.render import bundle

TIGHT = 'unit = "row"\nunsafe = "reject"\n\n[safe_zone]\naggregation = 30\n\n[roles]\nname = "hidden"\n'


@dataclass
class Desk:
    """A server, its folder, and the connections of alice and olga."""

    folder: Path
    user: Connection
    owner: Connection

    def run(self, *words: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, words, env={"COLUMNS": "300", "NO_COLOR": "1"})
        assert done.exit_code == code, done.output
        return done.output

    def json(self, *words: str):
        return json.loads(self.run(*words, "--json"))

    def denied(self, rows: int) -> Denied:
        with pytest.raises(Denied) as caught:
            self.user.dataset("staff").head(rows).fetch()
        return caught.value


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    olga, alice = (Identity.create(name, folder / "keys") for name in ("olga", "alice"))
    with pytest.MonkeyPatch.context() as patch, start(folder / "server", owners=[olga], users=[alice]) as server:
        for name, value in {
            "BASTION_DIRECTORY": folder / "server", "BASTION_KEYS": folder / "keys", "BASTION_PROFILE": folder / "profile.toml",
        }.items():  # fmt: skip
            patch.setenv(name, str(value))
        write_profile(server.endpoint, server.server_key, str(folder / "keys" / "olga.key"))
        frame = pl.DataFrame(
            {"sex": ["m", "f"] * 60, "age": [20.0 + i % 40 for i in range(120)], "name": [f"n{i}" for i in range(120)]}
        )
        with (
            Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner,
            Connection(server.endpoint, identity=alice, server_key=server.server_key) as user,
        ):
            owner.client.polars.send_df(frame, name="staff", unit="row", sanitized_columns=["name"])
            yield Desk(folder, user, owner)


def test_an_upload_without_a_unit_says_so_in_red(desk, tmp_path):
    pl.DataFrame({"a": range(50)}).write_parquet(tmp_path / "rows.parquet")
    screen = SafeConsole(highlight=False, record=True, force_terminal=True, color_system="standard", width=300)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NO_COLOR", raising=False)
        patch.setattr(client, "console", screen)
        desk.run("upload", str(tmp_path / "rows.parquet"), "--name", "rows")
    warning = "No privacy unit is declared: every row counts as a person of its own."
    assert f"\x1b[31mlook at this:\x1b[0m {warning}" in screen.export_text(styles=True)
    page = bundle(desk.owner.dataset("rows"))["text/html"]
    assert f'<div class="red">· look at this: {warning}</div>' in page


def test_a_policy_is_shown_edited_tried_and_set(desk, tmp_path):
    desk.user.dataset("staff").group_by("sex").agg(pl.col("age").mean()).fetch()
    desk.denied(3)
    text = desk.run("policy", "show", "staff", "--toml")
    assert "aggregation = 10" in text
    assert "inferred at upload" in text
    assert "at least 10 people" in desk.run("policy", "show", "staff")
    file = tmp_path / "policy.toml"
    file.write_text(TIGHT)
    tried = desk.json("policy", "try", "staff", str(file))
    assert "1 would get less than now" in tried["says"]
    assert {q["after"] for q in tried["queries"]} == {"release", "refuse"}
    assert {s["what"]: s["outcome"] for s in tried["samples"]}["the first five rows"] == "refuse"
    said = desk.run("policy", "try", "staff", str(file))
    assert "waits for you" in said
    assert "refused" in said
    assert "hidden-column" in json.dumps(desk.json("policy", "try", "staff", "--role", "age=hidden"))
    assert "aggregation = 10" in desk.run("policy", "show", "staff", "--toml"), "nothing has changed"
    file.write_text("unsafe = 7\n")
    assert "line 1" in desk.run("policy", "set", "staff", str(file), code=1).lower()
    file.write_text(text.replace("aggregation = 10", "aggregation = 12"))
    assert desk.json("policy", "set", "staff", str(file))["policy_version"] == 2
    assert "aggregation = 12" in desk.run("policy", "show", "staff", "--toml")


def test_roles_and_access(desk):
    desk.run("roles", "staff", "age=quasi")
    assert {c["name"]: c["role"] for c in desk.json("roles", "staff")["columns"]}["age"] == "quasi"
    confirmed = desk.json("roles", "staff", "--confirm", "age=measure")
    assert not any(c["inferred"] for c in confirmed["columns"])
    assert "COLUMN=ROLE" in desk.run("roles", "staff", "age", code=1)
    assert "everyone" in desk.run("allow", "staff")
    assert "look at this: The access list names 'bbo'" in desk.run("allow", "staff", "bbo")
    assert desk.json("allow", "staff", "bob")["allow"] == ["bob"]
    assert "lower = 0, upper = 100" in desk.run("roles", "staff", "pay=measure(0)", code=1)
    assert "policy.bounds" in desk.run("roles", "staff", "age=measure(0,9)", code=1)
    assert "two numbers" in desk.run("roles", "staff", "age=measure(a,9)", code=1)
    with pytest.raises(Exception, match="no dataset"):
        desk.user.dataset("staff")
    assert desk.json("allow", "staff", "--everyone")["allow"] == ["*"]
    desk.run("allow", "staff", "bob", "--nobody", code=1)


def test_bounds_are_given_kept_and_said_to_be_gone(desk):
    def role(*words: str) -> str:
        return {c["name"]: c["role"] for c in desk.json("roles", "staff", *words)["columns"]}["age"]

    assert role("age=measure(0, 150)") == role("age=measure") == role() == "measure(0, 150)"
    (said,) = [w for w in desk.json("roles", "staff", "age=sensitive")["warnings"] if "age" in w]
    assert said == "age was measure(0, 150): what was declared with that role is gone."
    assert role("age=measure") == "measure"


def test_who_may_not_decide_or_delete_is_told_whose_it_is(desk):
    request = desk.denied(6).request("six rows").id
    assert "You (alice) filed this request; olga decides." in desk.run("approve", request, "--as", "alice", code=1)
    assert "--as olga" in desk.run("deny", request, "--reason", "no", "--as", "alice", code=1)
    assert "missing.request" in desk.run("approve", "r-0000000000000000", "--as", "alice", code=1)
    said = desk.run("delete", "staff", "--as", "alice", code=1)
    assert "not yours" in said and "for good" not in said


def test_an_approval_is_revoked_and_a_decision_becomes_a_line(desk, tmp_path):
    request = desk.denied(5).request("five rows").id
    lines = desk.json("policy", "suggest", request)["lines"]
    number = next(n for n, line in enumerate(lines, 1) if "Refuse at once" in line["words"])
    file = tmp_path / "new.toml"
    found = desk.json("policy", "suggest", request, "--try", str(number), "--write", str(file))
    assert 'unsafe = "reject"' in file.read_text()
    assert "would get less than now" in found["trial"]["says"]
    assert '+ unsafe = "reject"' in desk.run("policy", "suggest", request)
    desk.run("policy", "suggest", request, "--try", "99", code=1)
    desk.run("approve", request, "--days", "3")
    assert desk.user.dataset("staff").head(5).fetch().height == 5
    assert desk.json("revoke", request, "--reason", "enough")["ended"] == "revoked"
    desk.denied(5)
    assert "input.grant.ended" in desk.run("revoke", request, code=1)
    assert "enough" in desk.run("requests", "show", request)


def test_what_follows_since_a_request_was_filed_is_said_before_it_is_approved(desk):
    staff, men = desk.user.dataset("staff"), pl.col("sex") == "m"
    with pytest.raises(Denied) as caught:
        staff.filter(men).select("age").fetch()
    request = caught.value.request("all of them").id
    others = (pl.col("sex") == "f") & (pl.col("age") == 21)
    staff.filter((men & (pl.col("age") < 40)) | others).select(pl.len()).fetch()
    said = desk.run("approve", request, code=1)
    assert "it shows all of a group but" in said
    assert "approve it once more" in said
    assert "input.request.changed" in said
    assert "WARNING: it shows all of a group but" in desk.run("requests", "show", request)
    assert desk.json("approve", request)["state"] == "approved"


def test_the_log_with_filters_and_budgets(desk):
    decisions = desk.json("audit", "show", "--kind", "decision")
    assert {r["kind"] for r in decisions} == {"decision"}
    assert all(r["who"] == "alice" for r in desk.json("audit", "show", "staff", "--who", "alice"))
    assert desk.json("audit", "show", "--since", "2999-01-01") == []
    assert desk.json("audit", "show", "--until", "2001-01-01") == []
    assert "input.audit.kind" in desk.run("audit", "show", "--kind", "nonsense", code=1)
    assert "no budgets" in desk.run("budget")


def test_a_dataset_is_deleted_by_name_after_a_question(desk):
    with _owner(desk) as owner:
        owner.client.polars.send_df(pl.DataFrame({"a": range(30)}), name="brief", unit="row")
    assert "for good" in desk.run("delete", "brief", code=1)
    assert desk.json("delete", "brief", "--yes") == {"deleted": "brief"}
    assert "missing.dataset" in desk.run("delete", "brief", "--yes", code=1)


def test_notices_are_shown_and_tried(desk):
    assert "no notify.toml" in desk.run("notify", "show")
    assert "input.notify" in desk.run("notify", "test", code=1)
    path, box = desk.folder / "server" / "notify.toml", desk.folder / "box"
    command = desk.folder / "mailer"
    command.write_text(f"#!/bin/sh\ncat > {box}\n")
    command.chmod(0o700)
    path.write_text(f'[mail]\ncommand = ["{command}"]\nto = {{ olga = "olga@example.org" }}\n')
    try:
        assert "olga@example.org" in desk.run("notify", "show")
        assert desk.json("notify", "test") == {"mail": "sent"}
        until(box.exists)
        assert "somebody asks about a-test" in box.read_text()
    finally:
        path.unlink()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def _owner(desk: Desk) -> Connection:
    found = json.loads((desk.folder / "server" / "address.json").read_text())
    key = Identity.load(desk.folder / "keys" / "olga.key")
    return Connection(found["endpoint"], identity=key, server_key=found["server_key"])
