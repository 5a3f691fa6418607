"""Every command of `bastion`, each in a process of its own, against a server that `bastion serve` started."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_shell import BASTION, Shell
from warm_shell import Warm

from bastion import Connection, Identity

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    place = Shell(tmp_path_factory.mktemp("cli"))
    place.run("keys", "create", "olga", "--role", "owner")
    place.run("keys", "create", "alice", "--role", "user")
    process = subprocess.Popen(
        [BASTION, "serve", "--endpoint", "tcp://127.0.0.1:*"], env=place.environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "BastionLab server" in first, first
    place.run("upload", str(ROOT / "notebooks/data/titanic.csv"), "--hide", "Name", "--unit", "row", "--as", "olga")
    with Warm(place.environment, place.folder) as place.warm:
        yield place
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    process.stdout.close()
    assert process.wait(60) == 0


def test_datasets(shell):
    (row,) = shell.json("datasets", "--as", "alice")
    assert row["name"] == "titanic"
    assert {c["name"]: c["role"] for c in row["columns"]}["Name"] == "hidden"
    assert "hidden" in shell.run("datasets", "titanic", "--as", "alice")


def test_preview_of_a_dataset(shell):
    made = shell.run("datasets", "titanic", "--preview", "--rows", "2", "--as", "alice")
    assert all(line.startswith("FAKE") for line in made.strip().split("\n"))
    assert "Braund" not in made
    found = shell.json("datasets", "titanic", "--preview", "--as", "alice")
    assert found["fake"]
    assert len(found["rows"]) == 5
    assert all(row["FAKE"] and row["row"]["Name"] == "*" for row in found["rows"])
    assert "input.preview" in shell.run("datasets", "titanic", "--preview", "--rows", "0", "--as", "alice", code=1)
    assert "input.arguments" in shell.run("datasets", "--preview", code=1)


def test_names_that_would_mislead_are_shown_safely(shell, tmp_path):
    import polars as pl
    from hostile import check_text

    frame = pl.DataFrame({"a\x1b[2J\u202e[bold]": ["x\x1b[31m"] * 20, "b": range(20)})
    frame.write_parquet(tmp_path / "odd.parquet")
    said = shell.run("upload", str(tmp_path / "odd.parquet"), "--name", "misleading", "--as", "olga")
    for words in (("datasets",), ("datasets", "misleading"), ("datasets", "misleading", "--preview"), ("audit", "show", "misleading"),
                  ("audit", "exposure", "misleading")):  # fmt: skip
        said += shell.run(*words, "--as", "olga")
    check_text(said)
    assert "[bold]" in said, "it is no markup of ours"
    with Connection(**address(shell), identity=Identity.load(shell.folder / "keys" / "olga.key")) as connection:
        connection.client.polars.delete_df("misleading")


def address(shell) -> dict[str, str]:
    """Where the server listens."""
    found = json.loads((shell.folder / "server" / "address.json").read_text())
    return {"endpoint": found["endpoint"], "server_key": found["server_key"]}


def test_requests_approve_and_deny(shell):
    code = (
        "import sys; from bastion import Connection, Denied, Identity\n"
        "a = __import__('json').load(open(sys.argv[1]))\n"
        "with Connection(a['endpoint'], identity=Identity.load(sys.argv[2]), server_key=a['server_key']) as c:\n"
        "    for n in (3, 4):\n"
        "        try: c.client.polars.get_df('titanic').head(n).fetch()\n"
        "        except Denied as d: print(d.request(f'rows {n}').id)\n"
    )
    address, key = shell.folder / "server/address.json", shell.folder / "keys/alice.key"
    found = subprocess.run(
        [sys.executable, "-c", code, address, key], capture_output=True, text=True, timeout=60, check=True
    )
    one, two = found.stdout.split()
    listed = {r["id"]: r for r in shell.json("requests", "--state", "pending", "--as", "olga")}
    assert {one, two} <= set(listed)
    assert "head(3)" in listed[one]["code"]
    assert listed[one]["reason"] == "rows 3"
    assert shell.json("approve", one, "--as", "olga")["state"] == "approved"
    assert shell.json("deny", two, "--reason", "not today", "--as", "olga")["state"] == "denied"
    assert "not today" in shell.run("requests", "--as", "alice")
    assert "decided already" in shell.run("deny", two, "--reason", "again", "--as", "olga", code=1)


def test_show_run_and_read(shell):
    code = (
        "import sys; from bastion import Connection, Denied, Identity\n"
        "a = __import__('json').load(open(sys.argv[1]))\n"
        "with Connection(a['endpoint'], identity=Identity.load(sys.argv[2]), server_key=a['server_key']) as c:\n"
        "    for n in map(int, sys.argv[3:]):\n"
        "        try: print(c.client.polars.get_df('titanic').head(n).fetch().height)\n"
        "        except Denied as d: print(d.rule if d.filed else d.request(f'rows {n}').id)\n"
    )
    address, key = shell.folder / "server/address.json", shell.folder / "keys/alice.key"

    def ask(*numbers: str) -> list[str]:
        command = [sys.executable, "-c", code, address, key, *numbers]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()

    one, two = ask("6", "7")
    text = shell.run("requests", "show", one, "--as", "olga")
    for part in ("rows 6", "head(6)", "titanic.Age: measure", "row-level: ", "6 rows", "before, newest first"):
        assert part in text, part
    shown = shell.json("requests", "show", one, "--preview", "--as", "olga")
    assert shown["roles"]["titanic.Sex"].startswith("quasi")
    assert shown["figures"]["rows"] == 6
    assert len(shown["preview"]) == 6
    assert "figures" not in shell.run("requests", "show", one, "--as", "alice")
    for request in (one, two):
        found = shell.json("approve", request, "--run-only", "--as", "olga")
        assert (found["may_run"], found["may_read"]) == (True, False)
    assert ask("6", "7") == ["owner-grant", "owner-grant"]
    assert "has run, not to be read yet" in shell.run("requests", "--as", "olga")
    assert len(shell.json("requests", "show", one, "--preview", "--as", "olga")["preview"]) == 6
    assert shell.json("approve", one, "--reading", "--as", "olga")["may_read"]
    assert shell.json("deny", two, "--reading", "--reason", "too few", "--as", "olga")["ended"] == "revoked"
    assert ask("6")[0] == "6"
    assert "input.arguments" in shell.run("approve", one, "--reading", "--run-only", "--as", "olga", code=1)
    assert "missing.request" in shell.run("requests", "show", "r-00", "--as", "olga", code=1)


def test_audit(shell):
    kinds = [r["kind"] for r in shell.json("audit", "show", "--as", "olga")]
    assert "upload" in kinds
    assert shell.json("audit", "verify", "--as", "olga")["ok"]
    assert shell.json("audit", "verify", "--offline")["ok"]
    assert "auditors" in shell.run("audit", "show", "--as", "alice", code=1)


def test_audit_exposure(shell):
    code = (
        "import sys; from bastion import Connection, Identity; import polars as pl\n"
        "a = __import__('json').load(open(sys.argv[1]))\n"
        "with Connection(a['endpoint'], identity=Identity.load(sys.argv[2]), server_key=a['server_key']) as c:\n"
        "    c.dataset('titanic').group_by('Sex').agg(pl.col('Age').mean(), pl.len()).fetch()\n"
    )
    address, key = shell.folder / "server/address.json", shell.folder / "keys/alice.key"
    subprocess.run([sys.executable, "-c", code, address, key], timeout=60, check=True)
    found = shell.json("audit", "exposure", "titanic", "--as", "olga")
    rows = {(c["audience"], c["column"]): c for c in found["columns"]}
    assert rows["alice", "Age"]["uses"]["mean"] >= 1
    assert rows["alice", "Sex"]["uses"]["group key"] >= 1
    assert "Name" in found["untouched"]
    assert found["audiences"][0]["audience"] == "alice"
    text = shell.run("audit", "exposure", "titanic", "--as", "olga")
    assert "(people)" in text and "smallest cell" in text and "Nothing was released of" in text
    assert "wire.auth.owner" in shell.run("audit", "exposure", "titanic", "--as", "alice", code=1)


def test_invitation_enrols_once(shell):
    token = shell.run("invite", "bob").strip()
    assert "\n" not in token
    shell.run("keys", "create", "bob")
    assert "titanic" in shell.run("datasets", "--connect", token, "--as", "bob")
    assert "titanic" in shell.run("datasets", "--as", "bob")
    names = {row["name"]: row for row in shell.json("keys", "list")}
    assert names["bob"]["roles"] == ["user"]
    shell.run("keys", "revoke", "bob")
    time.sleep(0.6)  # the server looks at its keys four times a second
    assert "wire.auth" in shell.run("datasets", "--as", "bob", code=1)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("datasets", "titanicc", "--as", "alice"), "missing.dataset"),
        (("datasets", "--as", "nobody"), "missing.identity"),
        (("approve", "r-00", "--as", "olga"), "missing.request"),
        (("datasets", "--connect", "tcp://127.0.0.1:9", "--server-key", "0" * 40, "--as", "alice"), "wire."),
        (("keys", "create", "olga"), "input.identity-exists"),
        (("keys", "revoke", "zoe"), "missing.key"),
    ],
)
def test_errors_say_what_and_have_a_code(shell, words, code):
    assert code in shell.run(*words, code=1)


def test_broken_tables(shell, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text('a,b\n1,2\n3\n"x\n')
    assert "input.file" in shell.run("upload", str(bad), "--as", "olga", code=1)
    (tmp_path / "x.xlsx").write_text("x")
    assert "input.file" in shell.run("upload", str(tmp_path / "x.xlsx"), "--as", "olga", code=1)
    twice = tmp_path / "twice.csv"
    twice.write_text("a,a\n" + "1,2\n" * 20)
    # renaming the second would leave it open when --hide names the first
    assert "input.file.duplicate" in shell.run("upload", str(twice), "--hide", "a", "--as", "olga", code=1)
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("a,b\n1,2\n1,2,3\n")
    assert "input.file" in shell.run("upload", str(ragged), "--as", "olga", code=1)
    short = tmp_path / "short.csv"
    short.write_text('a,b,c\n"x\ny",2,3\n4,5\n6,7,\n')
    said = shell.run("upload", str(short), "--as", "olga", code=1)
    assert "input.file.short" in said and "line 4" in " ".join(said.split())
    nothing = tmp_path / "nothing.csv"
    nothing.write_text("")
    assert "input.file" in shell.run("upload", str(nothing), "--as", "olga", code=1)
    assert [d["name"] for d in shell.json("datasets", "--as", "olga")] == ["titanic"]


def test_odd_tables_go_through(shell, tmp_path):
    odd = tmp_path / "odd.csv"
    odd.write_text('"say ""a""","line\nbreak","ünï"\n', encoding="utf-8")
    card = shell.json("upload", str(odd), "--name", "odd", "--unit", "row", "--as", "olga")
    assert [c["name"] for c in card["columns"]] == ['say "a"', "line\nbreak", "ünï"]
    nulls = tmp_path / "nulls.csv"
    nulls.write_text("x,y\n" + ",\n" * 30)
    assert shell.json("upload", str(nulls), "--unit", "row", "--as", "olga")["name"] == "nulls"


def test_errors_are_json_where_json_was_asked(shell, tmp_path):
    for words in (
        ("datasets", "titanicc", "--as", "alice"),
        ("datasets", "--as", "nobody"),
        ("keys", "create", "zoe", "--out", str(Path(__file__))),
        ("policy", "check", str(ROOT / "notebooks/data/titanic.csv")),
    ):
        done = shell.warm.run((*words, "--json"))
        assert done.returncode in (1, 2), done.stderr
        if done.returncode == 1:
            assert set(json.loads(done.stdout)["error"]) == {"code", "message", "reason", "next_step"}


def test_files_that_cannot_be_used_get_a_sentence(shell, tmp_path):
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"x = '\xe9'")
    assert "input.file" in shell.run("policy", "check", str(latin), code=1)
    (tmp_path / "f").write_text("")
    done = shell.program("serve", BASTION_DIRECTORY=str(tmp_path / "f"))
    assert done.returncode == 1
    assert "server.store.directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_to_do_next_is_said_in_the_shells_words(shell, tmp_path):
    table = str(ROOT / "notebooks/data/titanic.csv")
    assert "--replace" in shell.run("upload", table, "--unit", "row", "--as", "olga", code=1)
    assert "--as NAME" in shell.run("datasets", code=1)
    away = shell.run("datasets", "--as", "elsewhere/olga.key", code=1)
    assert "missing.identity" in away and str(Path("elsewhere/olga.key")) in away and "Looked for /" in away
    away = "tcp://127.0.0.1:1"
    assert "--server-key KEY" in shell.run("datasets", "--as", "olga", "--connect", away, code=1)
    done = shell.program("datasets", "--as", "olga", BASTION_DIRECTORY=str(tmp_path))
    assert "bastion serve" in done.stderr and "input.endpoint" in done.stderr


def test_serving_twice_or_on_a_taken_port_says_so(shell, tmp_path):
    assert "server.store.locked" in shell.run("serve", "--endpoint", "tcp://127.0.0.1:*", code=1)
    taken = json.loads((shell.folder / "server/address.json").read_text())["endpoint"]
    assert "server.bind" in shell.run("serve", "--endpoint", taken, "--dir", str(tmp_path / "other"), code=1)


def test_the_demo_takes_nothing_away_that_is_not_its_own(shell, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "input.demo.directory" in shell.run("demo", "--directory", str(tmp_path), code=1)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize("sample", sorted((ROOT / "policy/samples").glob("*.toml")), ids=lambda p: p.stem)
def test_policy_check(shell, sample):
    found = shell.json("policy", "check", str(sample))
    assert found["words"]
    assert found["unsupported"] == []


def test_policy_check_of_nonsense(shell, tmp_path):
    bad = tmp_path / "p.toml"
    bad.write_text('unsafe = "review"\n[safe_zone]\naggregatoin = 10\n')
    said = shell.run("policy", "check", str(bad), code=1)
    assert "policy.toml.key" in said and "Line 3 of p.toml" in said and "'aggregation'" in said
    bad.write_text('unsafe = "review"\nreview_zone = false\n[safe_zone]\naggregation = 10\n')
    said = shell.run("policy", "check", str(bad), code=1)
    assert "policy.zone.review" in said and "Line 2 of p.toml" in said
    bad.write_text(
        'unsafe = "review"\n[safe_zone]\naggregation = 10\n[roles]\nAge = { role = "measure", lower = 0, upper = 70 }\n'
    )
    assert shell.json("policy", "check", str(bad))["words"]
    table = str(ROOT / "notebooks/data/titanic.csv")
    said = shell.run("upload", table, "--name", "bounded", "--policy", str(bad), "--as", "olga", code=1)
    empty = tmp_path / "empty.toml"
    empty.write_text("\n")
    for words in (
        ("upload", table, "--name", "unruled", "--policy", str(empty)),
        ("policy", "set", "titanic", str(empty)),
    ):
        refused = shell.run(*words, "--as", "olga", code=1)
        assert "policy.toml.missing" in refused and "Line 1 of empty.toml" in refused
    empty.write_text('unsafe = "review"\nprofile = "strict"\n[safe_zone]\naggregation = 10\n')
    refused = shell.run("upload", table, "--name", "unruled", "--policy", str(empty), "--as", "olga", code=1)
    assert '\n  [roles]\n  PassengerId = "identifier"\n' in refused  # as it is to be copied
    assert "policy.bounds" in said and "Line 5 of p.toml" in said and "go from 0.4167 to 80" in said


def test_version_and_kernel(shell, tmp_path):
    number = json.loads(shell.program("version", "--json").stdout)["bastionlab"]
    assert shell.run("--version").strip() == f"bastion, version {number}"
    folder = shell.json("kernel", "install", "--prefix", str(tmp_path))["folder"]
    assert json.loads((Path(folder) / "kernel.json").read_text())["interrupt_mode"] == "message"


COMMANDS = [
    ("demo",), ("serve",), ("keys", "create"), ("keys", "list"), ("keys", "revoke"), ("invite",), ("upload",), ("datasets",),
    ("requests",), ("requests", "show"), ("approve",), ("deny",), ("audit", "show"), ("audit", "verify"), ("audit", "exposure"), ("failures", "show"), ("failures", "clear"), ("policy", "check"), ("kernel", "install"),
    ("version",), ("policy",), ("attest",), ("failures",), ("notify",),
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_an_example(shell, words):
    assert "Example:" in shell.run(*words, "--help")


@pytest.mark.parametrize(
    "words", [(), ("policy",), ("attest",), ("failures",), ("requests",), ("audit",), ("keys",)], ids=str
)
def test_no_line_of_a_list_of_commands_is_cut(shell, words):
    assert "..." not in shell.run(*words, "--help").partition("Commands:")[2]
