"""The magics in a real IPython kernel, on a real server."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import polars as pl
import pytest
from bastion_server import start
from nbclient import NotebookClient
from network import Network

from bastion import Connection, Identity
from bastion.client.endpoints import write_profile
from bastion.policy import Policy, measure, quasi

TITANIC = Path(__file__).parents[2] / "notebooks" / "data" / "titanic.csv"
RATES = 'titanic = dataset("titanic")\ntitanic.group_by("Pclass").agg(pl.col("Survived").mean()).sort("Pclass")'


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    folder = tmp_path_factory.mktemp("magics")
    olga, alice = (Identity.create(name, folder / "keys") for name in ("olga", "alice"))
    names = {"BASTION_PROFILE": str(folder / "profile.toml"), "IPYTHONDIR": str(folder / "ipython")}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    with start(folder / "server", owners=[olga], users=[alice]) as server:
        write_profile(server.endpoint, server.server_key, str(folder / "keys" / "alice.key"))
        with Connection(server.endpoint, identity=olga, server_key=server.server_key) as connection:
            frame = pl.read_csv(TITANIC)
            connection.client.polars.send_df(frame, name="titanic", sanitized_columns=["Name"], unit="row")
            yield connection
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def run(*cells: str, timeout: float = 60) -> list[list[dict]]:
    """Run cells in an IPython kernel, each within some seconds; return their outputs."""
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(c) for c in ("%load_ext bastion_magics", "%bastion connect", *cells)]
    NotebookClient(book, kernel_name="python3", allow_errors=True, timeout=timeout).execute()
    assert not any(o.output_type == "error" for c in book.cells[:2] for o in c.outputs), book.cells[1].outputs
    return [list(c.outputs) for c in book.cells[2:]]


def shown(outputs: list[dict]) -> str:
    return "\n".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs)


def error(outputs: list[dict]) -> list[str]:
    (found,) = [o for o in outputs if o["output_type"] == "error"]
    return list(found["traceback"])


@pytest.mark.usefixtures("owner")
def test_a_cell_puts_its_table_into_a_variable():
    magic, python, used, unload = run(
        f"%%bastion --as rates\n{RATES}", "type(rates).__module__, rates.shape",
        "round(rates['Survived'].to_list()[0], 5)", "%unload_ext bastion_magics",
    )  # fmt: skip
    assert "0.62963" in shown(magic)
    assert "polars" in shown(python)
    assert "(3, 2)" in shown(python)
    assert shown(used) == "0.62963"
    assert unload == []


@pytest.mark.usefixtures("owner")
def test_a_cell_of_sql():
    table, used, of_frame, wrong, absent, denied, two = run(
        "%%bastion --sql --as rates\nselect Pclass, avg(Survived) as rate\nfrom titanic group by Pclass order by Pclass",
        "rates.columns, [round(r, 5) for r in rates['rate'].to_list()]",
        '%%bastion\nadults = dataset("titanic").filter(pl.col("Age") >= 18)\nadults.select(pl.len())',
        "%%bastion --sql\nselect Pclass from\nwhere",
        "%%bastion --sql\nselect count(*)\nfrom titanik",
        "%%bastion --as rows --sql\nselect * from titanic limit 3",
        "%%bastion --sql\nselect count(*) as people from adults",
    )
    assert "0.62963" in shown(table)
    assert shown(used) == "(['Pclass', 'rate'], [0.62963, 0.47283, 0.24236])"
    assert "601" in shown(of_frame)
    assert "line 3" in error(wrong)[0], "counted from the notebook's own first line"
    assert error(wrong)[0].count("line") == 1
    assert "titanic" in error(absent)[0]
    assert "denied.row-level" in error(denied)[0]
    assert "single people" in shown(denied)
    assert "601" in shown(two)


@pytest.mark.usefixtures("owner")
def test_commands():
    outputs = run("%bastion", "%bastion whoami", "%bastion datasets", "%bastion policy titanic", "%bastion requests",
                  "%bastion budget", "%bastion preview titanic 2", "%bastion runs", "%bastion help")  # fmt: skip
    usage, who, datasets, policy, requests, budget, preview, runs, usage_again = map(shown, outputs)
    assert "%%bastion [--as NAME]" in usage
    assert usage_again == usage
    assert "alice (user)" in who
    assert "titanic" in datasets
    assert "at least 10 people" in policy
    assert "There are no access requests." in requests
    assert runs == "Nothing was trained yet."
    assert budget == "No policy adds noise to the answers, so there are no budgets.", "Titanic is answered exactly"
    assert all(line.startswith("FAKE") for line in preview.split("\n"))


def test_python_cells_show_how_far_a_table_is_on_its_way(owner, tmp_path):
    key = Path(os.environ["BASTION_PROFILE"]).parent / "keys" / "olga.key"
    with Network(owner.endpoint, rate=3e6) as network:
        _, sent, quiet = run(
            "import polars as pl\nfrom bastion import Connection\n"
            f"mine = Connection({network.endpoint!r}, identity={str(key)!r}, server_key={owner.server_key!r})",
            "large = pl.select(x=pl.int_range(1_000_000).hash())\n"
            "mine.client.polars.send_df(large, name='on_its_way', unit='row').columns",
            "mine.dataset('on_its_way').select(pl.len()).fetch().item(), mine.delete('on_its_way'), mine.close()",
        )
    assert "1000000" in shown(quiet)
    (line, columns) = (o["data"]["text/plain"] for o in sent)
    assert re.fullmatch(r"took \d+\.\d s", line), "of a line that was written over itself, the last is kept"
    assert columns == "['x']"


def test_the_budget_of_answers_with_noise(owner):
    roles = {"id": "identifier", "x": measure(0, 1)}
    table = pl.DataFrame({"id": range(100), "x": [i % 2 for i in range(100)]})
    noisy = owner.client.polars.send_df(table, Policy.private(epsilon=8.0, unit="id", roles=roles), name="noisy")
    _, budget = run('%%bastion\ndataset("noisy").select(pl.len()).collect(epsilon=2)', "%bastion budget")
    assert "noisy" in shown(budget)
    assert [word for word in ("epsilon", "spent", "left") if word in shown(budget)] == ["epsilon", "spent", "left"]
    noisy.delete()


@pytest.mark.usefixtures("owner")
def test_errors_are_one_line_without_a_traceback():
    cells = (
        "%%bastion\nx = 1\nimport os",
        "%%bastion\n!ls",
        "%%bastion --as class\n1",
        "%%bastion --as x\n1",
        "%bastion nothing",
        "%bastion policy",
        "%bastion policy titanik",
        "%bastion preview titanic many",
        "%bastion exposure",
        "%bastion audit",
        "%%bastion --what\n1",
        "%%bastion --sql --as 1\nselect 1",
    )
    lines = [error(o) for o in run(*cells)]
    assert all(len(line) == 1 and "Traceback" not in line[0] and "bastion_magics" not in line[0] for line in lines)
    assert "line 3" in lines[0][0]
    assert "[language.import]" in lines[0][0]
    assert "[language.shell]" in lines[1][0]
    assert "name of a variable" in lines[2][0]
    assert "gives no table" in lines[3][0]
    assert "titanic" in lines[6][0]


def test_a_denial_shows_its_reason_and_files_nothing(owner):
    asked, named, filed, variable = run(
        '%%bastion\ndataset("titanic").head(5)', '%%bastion --as rows\ndataset("titanic").head(5)',
        '%%bastion\ndenied.request("to see it")', "'rows' in globals()",
    )  # fmt: skip
    assert "single people" in shown(asked)
    assert not any(o["output_type"] == "error" for o in asked)
    assert any("application/vnd.jupyter.widget-view+json" in o.get("data", {}) for o in asked)
    assert "denied.row-level" in error(named)[0]
    assert "pending" in shown(filed)
    assert shown(variable) == "False"
    (request,) = owner.requests("pending")
    owner.deny(request, "no")


@pytest.mark.usefixtures("owner")
def test_python_values_and_cells_keep_apart():
    secret, reached, back = run("secret = 42", "%%bastion\nsecret", "%%bastion\nmine = 1\nmine")
    assert secret == []
    assert "secret" in error(reached)[0]
    assert shown(back) == "1"
    (absent,) = run("'mine' in globals()")
    assert shown(absent) == "False"


def test_clicks_work_beside_a_blocking_notebook(owner):
    """The widget lives in the notebook's thread and the connection in its own: a click must find its way, and back."""
    ask = '%%bastion\ndataset("titanic").head(6)'
    click = (
        "import ipywidgets, time\n"
        "def known():\n"
        "    return list(ipywidgets.Widget._instances.values() if hasattr(ipywidgets.Widget, '_instances') else ipywidgets.Widget.widgets.values())\n"
        "def page():\n"
        "    return ' '.join(w.value for w in known() if isinstance(w, ipywidgets.HTML))\n"
        "[area] = [w for w in known() if isinstance(w, ipywidgets.Textarea)]\n"
        "[button] = [w for w in known() if isinstance(w, ipywidgets.Button) and w.description == 'Request access']\n"
        "area.value = 'from a notebook'\n"
        "button.click()\n"
        "end = time.monotonic() + 40\n"
        "while time.monotonic() < end and 'Waiting' not in page():\n"
        "    time.sleep(0.05)\n"
        "page()"
    )
    _, state = run(ask, click)
    assert "Waiting for the owner" in shown(state)
    (request,) = owner.requests("pending")
    assert request.reason == "from a notebook"
    owner.deny(request, "no")


def test_a_long_result_has_pages_below_its_static_table(owner):
    owner.client.polars.send_df(pl.DataFrame({"x": range(50)}), Policy.open(), name="long", unit="row")
    click = (
        "import ipywidgets\n"
        "found = list(ipywidgets.Widget._instances.values() if hasattr(ipywidgets.Widget, '_instances') else ipywidgets.Widget.widgets.values())\n"
        "[button] = [w for w in found if isinstance(w, ipywidgets.Button) and w.description == '›']\n"
        "[page] = [w for w in found if isinstance(w, ipywidgets.HTML)]\n"
        "button.click()\n"
        "page.value"
    )
    short, long, paged = run(
        f"%%bastion\n{RATES}", '%%bastion --as table\ndataset("long").select(pl.all())', click
    )  # fmt: skip
    assert len(short) == 1
    static, view = (output["data"] for output in long)
    assert "shape: (50, 1)" in static["text/html"]
    assert "shape: (50, 1)" in static["text/plain"]
    assert set(view) == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    assert "rows 21–40 of 50" in shown(paged)


SLOW = '%%bastion\nslow = dataset("slow")\nslow.join(slow, how="cross").join(slow, how="cross", suffix="_b").select(pl.col("x").sum())'


@pytest.mark.usefixtures("owner")
def test_verdicts_and_results_in_their_place():
    named, asked, listed = run(
        '%%bastion\nrows = dataset("titanic").head(3)',
        '%%bastion\ndataset("titanic").select(pl.len())',
        "%bastion requests",
    )
    assert "rows: ⚑" in shown(named)
    assert len(asked) == 1, "the verdict made room for the result"
    assert "891" in shown(asked)
    assert "smallest group allowed" in shown(asked)
    assert "request" in shown(listed)


def test_a_long_cell_shows_its_progress_and_can_be_stopped(owner):
    owner.client.polars.send_df(pl.DataFrame({"x": range(5000)}), Policy.open(), name="slow", unit="row")
    watch = (
        "import threading, _thread, time\n"
        "threading.Timer(2.5, _thread.interrupt_main).start()"
    )  # fmt: skip
    _, stopped, after = run(watch, SLOW, '%%bastion\ndataset("titanic").select(pl.len())')
    assert "interrupted.cell" in "".join(error(stopped))
    assert "counts as one that failed" in "".join(error(stopped))
    (line,) = [o for o in stopped if o["output_type"] == "display_data"]
    assert line["data"]["text/plain"].startswith("took ")
    assert "application/vnd.jupyter.widget-view+json" not in line["data"]
    assert "891" in shown(after)


def test_the_owners_panel_and_log(owner, tmp_path, monkeypatch):
    """`owner_panel()` is a name of cells; who owns nothing is told so."""
    (refused,) = run("%%bastion\nowner_panel()")
    assert "for owners" in "\n".join(error(refused))
    monkeypatch.setenv("BASTION_PROFILE", str(tmp_path / "profile.toml"))
    keys = Path(os.environ["IPYTHONDIR"]).parent / "keys"
    write_profile(owner.endpoint, owner.server_key, str(keys / "olga.key"))
    outputs, log, other = run("%%bastion\nowner_panel()", "%bastion audit titanic", "%bastion audit")
    assert "upload" in shown(log)
    assert "record" in shown(other)
    assert "Owner's panel of olga" in shown(outputs)
    assert any("application/vnd.jupyter.widget-view+json" in o.get("data", {}) for o in outputs)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_model_is_trained_in_cells_of_magics(owner):
    roles = {"PassengerId": "identifier", "Pclass": quasi(1, 2, 3), "Fare": measure(0, 600), "Survived": "sensitive"}
    policy = Policy.private(epsilon=8, delta=1e-5, unit="PassengerId", roles=roles)
    owner.client.polars.send_df(pl.read_csv(TITANIC).select(list(roles)), policy, name="crossing")
    fit, test, model, runs, wrong, python = run(
        "%%bastion\nds = dataset('crossing').to_dataset(inputs=['Pclass', 'Fare'], label='Survived').scale_by_bounds().split(test=0.2, seed=1)\n"
        "learner = RemoteLearner(nn.Linear(2, 2), ds.train, optimizer=optim.Adam(lr=0.1), max_batch_size=200, seed=1)\n"
        "learner.fit(nb_epochs=2, eps=2.0, people=700)",
        "%%bastion\nlearner.test(ds.test, eps=1.0)", "%%bastion\nlearner.get_model()", "%bastion runs",
        "%%bastion\nRemoteLearner(nn.Linear(2, 0), ds)", "'torch' in __import__('sys').modules", timeout=300,
    )  # fmt: skip
    assert ": done, " in shown(fit) and "epsilon 2 of 2" in shown(fit)
    assert shown(test).startswith("accuracy 0.")
    assert "differential privacy of a person" in shown(model)
    assert "crossing" in shown(runs) and "adam, lr 0.1" in shown(runs)
    assert "out_features" in "\n".join(error(wrong))
    assert shown(python) == "True"  # a model is made here, from the layers of the cell


@pytest.mark.usefixtures("owner")
def test_connecting_again_keeps_the_frames_that_are_held():
    held, again, rates = run(
        '%%bastion\nrates = dataset("titanic").group_by("Pclass").agg(pl.col("Survived").mean()).sort("Pclass")',
        "%bastion connect", "%%bastion\nrates",
    )  # fmt: skip
    assert "rates:" in shown(held)
    assert "Connected to" in shown(again)
    assert "0.62963" in shown(rates)


@pytest.mark.usefixtures("owner")
def test_a_last_line_that_gives_a_name_is_the_table_of_as():
    magic, python, none = run(
        '%%bastion --as rates\nrates = dataset("titanic").group_by("Pclass").agg(pl.col("Survived").mean()).sort("Pclass")',
        "rates.shape", '%%bastion --as other\ntitanic = dataset("titanic")',
    )  # fmt: skip
    assert "0.62963" in shown(magic)
    assert "(3, 2)" in shown(python)
    assert "gives no table" in error(none)[0]
