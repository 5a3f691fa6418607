"""`import bastion.compat`: BastionLab's own spellings against a real server, one test for each."""

from __future__ import annotations

import importlib
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bastion_plan.errors import BastionError, Interrupted, NotAuthorised
from polars.testing import assert_frame_equal

import bastion.compat
from bastion.client.base import OldSpelling

TITANIC = Path(__file__).resolve().parents[2] / "notebooks" / "data" / "titanic.csv"
RATES = [0.62963, 0.472826, 0.242363]
METALS = pl.DataFrame({"Element": ["Copper", "Silver", "Silver", "Gold"], "K": [1357.77, 1234.93, 1234.93, 1337.33]})
SYMBOLS = pl.DataFrame({"Element": ["Magnesium", "Silver", "Gold"], "Symbol": ["Mg", "Ag", "Au"]})

pytestmark = pytest.mark.filterwarnings(f"ignore::{OldSpelling.__module__}.OldSpelling")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory of a notebook, with nothing saved by anyone."""
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("BASTION_ENDPOINT", "BASTION_SERVER_KEY", "BASTION_IDENTITY"):
            patch.delenv(name, raising=False)
        patch.setenv("BASTION_PROFILE", str(folder / "profile.toml"))
        patch.setenv("BASTION_KNOWN_SERVERS", str(folder / "known_servers"))
        yield folder


@pytest.fixture(scope="module")
def port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(place: Path, port: int) -> Iterator[Any]:
    import bastionlab_server
    from bastionlab import Identity

    (place / "keys" / "users").mkdir(parents=True)
    Identity.create("data_scientist")
    (place / "data_scientist.pub").rename(place / "keys" / "users" / "data_scientist.pub")
    started = bastionlab_server.start(port=port)
    yield started
    bastionlab_server.stop(started)


@pytest.fixture
def connection(server: Any, port: int) -> Iterator[Any]:
    from bastionlab import Connection

    made = Connection("localhost", port)
    yield made
    made.close()


@pytest.fixture
def scientist(server: Any, port: int) -> Iterator[Any]:
    from bastionlab import Connection

    made = Connection("localhost", port, identity="data_scientist")
    yield made
    made.close()


def policy(safe: Any = None, unsafe: Any = None, *, savable: bool = True) -> Any:
    from bastionlab.polars.policy import Aggregation, Log, Policy

    return Policy(safe_zone=safe or Aggregation(min_agg_size=10), unsafe_handling=unsafe or Log(), savable=savable)


def send(connection: Any, df: pl.DataFrame | None = None, *args: Any, **options: Any) -> Any:
    return connection.client.polars.send_df(pl.read_csv(TITANIC) if df is None else df, *args, **options)


def open_frame(connection: Any, df: pl.DataFrame) -> Any:
    from bastionlab.polars.policy import Log, TrueRule

    return send(connection, df, policy(TrueRule(), Log()))


def rates(frame: Any) -> Any:
    return (
        frame.select([pl.col("Pclass"), pl.col("Survived")])
        .groupby(pl.col("Pclass"))
        .agg(pl.col("Survived").mean())
        .sort("Survived", reverse=True)
        .collect()
    )


# ---- modules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("bastionlab", "Connection Identity SigningKey PublicKey polars"),
        ("bastionlab.client", "Connection Client"),
        ("bastionlab.keys", "Identity SigningKey PublicKey"),
        ("bastionlab.polars", "RemoteLazyFrame FetchableLazyFrame BastionLabPolars policy"),
        ("bastionlab.polars.remote_polars", "RemoteLazyFrame FetchableLazyFrame"),
        (
            "bastionlab.polars.policy",
            "Policy Aggregation AtLeastNof UserId TrueRule FalseRule Rule Log Review Reject DEFAULT_POLICY",
        ),
        ("bastionlab.torch", "RemoteDataset RemoteLearner RemoteTensor"),
        ("bastionlab.torch.optimizer_config", "Adam SGD"),
        ("bastionlab.converter", "RemoteArray"),
        ("bastionlab.tokenizers", "RemoteTokenizer"),
        ("bastionlab_server", "start stop BastionLabServer"),
    ],
)
def test_modules(module: str, names: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in names.split() if not hasattr(found, name)] == []


def test_parts_that_are_not_here_say_so() -> None:
    with pytest.raises(ModuleNotFoundError, match="layers of torch are"):
        importlib.import_module("bastionlab.linfa")
    with pytest.raises(ModuleNotFoundError, match="not here"):
        importlib.import_module("bastionlab.nonsense")


def test_without_the_import_there_is_no_bastionlab() -> None:
    import subprocess

    script = "import bastion, importlib.util as u; print(u.find_spec('bastionlab'), u.find_spec('bastionlab_server'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "None"]


# ---- connections and servers -----------------------------------------------------------------------------------------


def test_start_and_stop(server: Any, port: int, capsys: pytest.CaptureFixture[str]) -> None:
    import bastionlab_server

    assert bastionlab_server.start(port=port) is server
    assert server.getProcess().running
    assert bastionlab_server.stop(None) is False
    assert "already stopped" in capsys.readouterr().out


def test_the_default_port_and_an_unknown_server(place: Path) -> None:
    from bastionlab import Connection, Identity

    me = Identity.generate()
    with pytest.raises(BastionError) as caught:
        Connection("localhost", identity=me)
    assert caught.value.code == "wire.server-unknown"
    with pytest.raises(BastionError) as caught:
        Connection("localhost", identity=me, server_key="yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", timeout=0.3)
    assert "50056" in str(caught.value)


def test_connection_as_a_context_gives_the_client(server: Any, port: int) -> None:
    from bastionlab import Connection

    with Connection("127.0.0.1", port) as client:
        assert client.polars.list_dfs() is not None
        assert client.upload_df(METALS).columns == ["Element", "K"]


def test_an_identity_that_is_not_known(server: Any, port: int) -> None:
    from bastionlab import Connection, Identity

    with pytest.raises(NotAuthorised):
        Connection("localhost", port, identity=Identity.create("fake_scientist"))


def test_arrays_tensors_and_datasets_as_they_were(connection: Any) -> None:
    from bastionlab.polars import train_test_split
    from bastionlab.torch import RemoteDataset

    frame = send(connection)
    x, y = frame.select(["Age", "Fare"]).to_array(), frame.select("Survived").to_array()
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.2, shuffle=True, random_state=1)
    assert (train_x.to_tensor().to("float32").dtype, test_x.shape, test_y.shape) == ("float32", (None, 2), (None, 1))
    made = RemoteDataset(inputs=[train_x.to_tensor()], labels=train_y.to_tensor(), name="titanic")
    assert (made.name, made.inputs, made.labels) == ("titanic", [["Age", "Fare"]], ["Survived"])
    for name in ("tokenizers", "_converter", "linfa"):
        with pytest.raises(BastionError, match="training"):
            getattr(connection.client, name)


# ---- identities ------------------------------------------------------------------------------------------------------


def test_identity_by_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bastionlab import Identity, PublicKey, SigningKey

    monkeypatch.chdir(tmp_path)
    made = Identity.create("./data_owner.pem")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data_owner.key", "data_owner.pub"]
    assert Identity.create("./data_owner.pem").curve_key == made.curve_key
    assert SigningKey.from_pem("data_owner.pem").curve_key == made.curve_key == Identity.load("data_owner").curve_key
    assert PublicKey.from_pem("data_owner.pub") == made.pubkey
    made.pubkey.save_pem("copy.pub")
    assert PublicKey.from_pem("copy.pub").pem == made.pubkey.pem
    assert SigningKey.generate().save_pem(tmp_path / "x" / "any.pem").name == "bastionlab-identity"


def test_user_id_is_the_hash_of_the_public_key(connection: Any, scientist: Any) -> None:
    from bastionlab import Identity
    from bastionlab.polars.policy import Aggregation, AtLeastNof, Reject, UserId

    user_id = Identity.load("data_scientist").pubkey.hash.hex()
    frame = send(connection, None, policy(AtLeastNof(n=1, of=[UserId(user_id), Aggregation(20)]), Reject()))
    assert scientist.client.polars.get_df(frame.identifier).head(3).collect().fetch().height == 3
    assert frame.head(3).collect().fetch() is None


# ---- policies --------------------------------------------------------------------------------------------------------


def test_policies() -> None:
    from bastionlab.polars import policy as p

    assert p.Aggregation(10) == p.Aggregation(min_agg_size=10) == p.Aggregation(min_aggregation_size=10)
    assert p.Rule(min_aggregation_size=10) == p.Aggregation(10)
    assert p.Policy(p.Aggregation(10), p.Review()) == p.DEFAULT_POLICY == p.Policy(p.Aggregation(10), "review")
    assert p.Policy(p.TrueRule(), p.Log(), savable=False).savable is False
    with pytest.raises(BastionError):
        p.Aggregation()


# ---- frames ----------------------------------------------------------------------------------------------------------


def test_printing(connection: Any) -> None:
    frame = open_frame(connection, METALS)
    assert re.fullmatch(r"FetchableLazyFrame\(identifier=d-\w+\)", repr(frame))
    first = frame.head(2)
    assert str(first) == repr(first) == "RemoteLazyFrame"
    assert str(first.collect()).startswith("FetchableLazyFrame(identifier=")


def test_list_and_get(connection: Any) -> None:
    frame = open_frame(connection, METALS)
    assert frame.identifier in [f.identifier for f in connection.client.polars.list_dfs()]
    assert connection.client.polars.get_df(frame.identifier).columns == METALS.columns
    collected = frame.head(1).collect()
    assert connection.client.polars.get_df(collected.identifier).fetch().height == 1


def test_the_same_table_twice(connection: Any) -> None:
    assert open_frame(connection, METALS).identifier != open_frame(connection, METALS).identifier


def test_rates(connection: Any) -> None:
    table = rates(send(connection, None, policy=policy(), sanitized_columns=["Name"])).fetch()
    assert table["Survived"].round(6).to_list() == RATES


def test_vstack(connection: Any) -> None:
    one, two = open_frame(connection, METALS), open_frame(connection, METALS.head(1))
    assert_frame_equal(one.vstack(two).collect().fetch(), METALS.vstack(METALS.head(1)), check_row_order=False)


@pytest.mark.parametrize("how", ["inner", "left", "outer", "semi", "anti"])
def test_join(connection: Any, how: str) -> None:
    metals, symbols = open_frame(connection, METALS), open_frame(connection, SYMBOLS)
    want = METALS.join(
        SYMBOLS, on="Element", how={"outer": "full"}.get(how, how), coalesce=True if how == "outer" else None
    )  # type: ignore[arg-type]
    for got in (
        metals.join(symbols, on="Element", how=how),
        metals.join(symbols, "Element", "Element", None, how, "_right", True, False),
        metals.join(symbols, left_on="Element", right_on="Element", how=how, allow_parallel=True, force_parallel=False),
    ):
        assert_frame_equal(got.collect().fetch(), want, check_row_order=False)


def test_join_cross(connection: Any) -> None:
    metals, symbols = open_frame(connection, METALS), open_frame(connection, SYMBOLS)
    assert metals.join(symbols, how="cross").collect().fetch().height == 12


def test_join_asof(connection: Any) -> None:
    left, right = pl.DataFrame({"t": [1, 5, 10], "p": [1, 2, 3]}), pl.DataFrame({"t": [2, 6], "q": [1, 2]})
    mine, other = open_frame(connection, left), open_frame(connection, right)
    assert_frame_equal(mine.join_asof(other, "t", "t").collect().fetch(), left.join_asof(right, on="t"))
    got = mine.join_asof(other, on="t", strategy="forward", tolerance=2, allow_parallel=True).collect().fetch()
    assert_frame_equal(got, left.join_asof(right, on="t", strategy="forward", tolerance=2))


def test_with_row_count(connection: Any) -> None:
    counted = open_frame(connection, METALS).with_row_count()
    assert counted.columns == ["index", *METALS.columns]
    assert str(counted).startswith("FetchableLazyFrame")
    long = counted.melt(id_vars="index", value_vars=["K"], variable_name="Column", value_name="Value")
    assert long.collect().fetch().columns == ["index", "Column", "Value"]


@pytest.mark.parametrize("name", ["zscore", "minmax", "mean", "max_abs", "median_quantile"])
def test_scalers(connection: Any, name: str) -> None:
    frame = open_frame(connection, METALS)
    assert getattr(frame, f"{name}_scale")(["K"]).collect().fetch()["K"].is_finite().all()


def test_sql(connection: Any) -> None:
    from bastionlab.polars import RemoteLazyFrame

    frame = send(connection, None, policy(savable=False))
    oldest = RemoteLazyFrame.sql("SELECT Max(Age) AS Oldest, Avg(Age) AS Average FROM {}", frame).collect()
    assert str(oldest).startswith("FetchableLazyFrame")
    assert oldest.fetch()["Average"].round(3).item() == 29.699
    metals, symbols = open_frame(connection, METALS), open_frame(connection, SYMBOLS)
    joined = RemoteLazyFrame.sql(
        "SELECT * FROM {} inner join {} ON {}.Element = {}.Element", metals, symbols, metals, symbols
    )
    assert joined.collect().fetch().height == 3


def test_describe(connection: Any) -> None:
    table = send(connection, None, policy()).describe()
    assert table.columns[0] == "describe"
    assert {"count", "null_count", "mean", "std", "min", "max"} <= set(table["describe"])


def test_hidden_columns_are_null(connection: Any, capsys: pytest.CaptureFixture[str]) -> None:
    frame = send(connection, None, policy=policy(), sanitized_columns=["Name", "Fare"])
    table = frame.head(5).collect().fetch()
    assert table["Name"].to_list() == [None] * 5 == table["Fare"].to_list()
    assert table.schema["Fare"] == pl.Float64
    assert table["Sex"].null_count() == 0
    warning = capsys.readouterr().out
    assert warning.startswith("\x1b[33mWarning: non privacy-preserving query.\nReason: ")
    assert "This incident will be reported to the data owner.\x1b[37m" in warning


def test_unique_leaves_hidden_columns_out(connection: Any) -> None:
    from bastionlab.polars.policy import Log, TrueRule

    df = pl.DataFrame({"Name": ["a", "b", "c"], "Sex": ["m", "m", "f"]})
    frame = send(connection, df, policy(TrueRule(), Log()), ["Name"])
    assert sorted(frame.unique().select(pl.col("Sex")).collect().fetch()["Sex"]) == ["f", "m"]


def test_what_is_computed_of_hidden_columns_is_null(connection: Any) -> None:
    from bastionlab.polars.policy import Reject

    frame = send(connection, None, policy(unsafe=Reject()), ["Name", "Ticket"])
    missing = frame.select(
        pl.col(x).is_null().sum() * 100 / pl.col(x).count() for x in ["Name", "Age", "Pclass", "Ticket"]
    )
    (row,) = missing.collect().fetch().rows()
    assert row[0] is None is row[3]
    assert row[1] == pytest.approx(177 * 100 / 714)
    longest = frame.groupby("Pclass").agg([pl.col("Name").str.len_chars().max(), pl.col("Survived").mean()])
    table = longest.sort("Pclass").collect().fetch()
    assert table["Name"].to_list() == [None] * 3
    assert table["Survived"].round(6).to_list() == RATES


# ---- expressions that meant something else ---------------------------------------------------------------------------


def test_then_takes_text(connection: Any) -> None:
    frame = open_frame(connection, SYMBOLS)
    expr = pl.when(pl.col("Symbol") == "Ag").then("silver").when(pl.col("Symbol") == "Au").then(pl.col("Element"))
    got = frame.select(expr.otherwise("other")).collect().fetch()
    assert got.to_series().to_list() == ["other", "silver", "Gold"]


@pytest.mark.filterwarnings("ignore:Comparisons with None")
def test_comparison_with_none(connection: Any) -> None:
    frame = open_frame(connection, pl.DataFrame({"x": [1, None, 3]}))
    assert frame.filter(pl.col("x") != None).collect().fetch()["x"].to_list() == [1, 3]  # noqa: E711
    assert frame.filter(pl.col("x") == None).collect().fetch()["x"].to_list() == [None]  # noqa: E711


# ---- plots ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("old_names")
@pytest.mark.parametrize(
    "draw",
    [
        lambda f: f.histplot("Age"),
        lambda f: f.histplot(x="Age", bins=15, color="red"),
        lambda f: f.histplot(x="Age", y="Pclass", bins=15),
        lambda f: f.barplot(x="Sex", y="Age", hue="Pclass", estimator="mean"),
        lambda f: f.barplot("Survived", estimator="count"),
        lambda f: f.boxplot(x="Pclass", y="Age", colors="standard", vertical=False),
        lambda f: f.lineplot(x="Age", y="Fare", hue="Sex"),
        lambda f: f.scatterplot("Age", "Fare", hue="Sex"),
        lambda f: f.groupby("Pclass").agg(pl.count()).pieplot("count", title="classes", labels="Pclass"),
        lambda f: f.facet(col="Sex", row="Pclass").histplot(x="Age", bins=10),
        lambda f: f.facet(col="Pclass").barplot(x="Sex", y="Age"),
    ],
)
def test_plots(connection: Any, draw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)  # a program that does not use pyplot
    chart = draw(open_frame(connection, pl.read_csv(TITANIC)))
    assert type(chart).__name__ == "Chart"


# ---- waiting for the owner -------------------------------------------------------------------------------------------


def reviewed(connection: Any, scientist: Any) -> Any:
    from bastionlab.polars.policy import Review

    frame = send(connection, None, policy(unsafe=Review()))
    return scientist.client.polars.get_df(frame.identifier)


@pytest.mark.parametrize("decision", ["approve", "deny"])
def test_fetch_files_and_waits(
    connection: Any, scientist: Any, capsys: pytest.CaptureFixture[str], decision: str
) -> None:
    frame = reviewed(connection, scientist)

    threads: list[threading.Thread] = []

    def decide(request: Any) -> None:
        if request.info.state == "pending" and not threads:  # it is told of the decision and of the run, too
            threads.append(threading.Thread(target=getattr(connection, decision), args=(request, "because")))
            threads[0].start()

    connection.on_request(decide)
    table = frame.head(4).collect().fetch(timeout=60)
    threads[0].join(10)
    said = capsys.readouterr().out
    assert "necessitate data owner's approval" in said
    assert "until 60 seconds elapse" in said
    if decision == "approve":
        assert table.height == 4
        assert "\x1b[32mThe query has been accepted by the data owner.\x1b[37m" in said
    else:
        assert table is None
        assert "\x1b[31mThe query has been rejected by the data owner.\nThe owner's answer: because\x1b[37m" in said


def test_fetch_waits_no_longer_than_it_is_told(connection: Any, scientist: Any) -> None:
    frame = reviewed(connection, scientist).tail(3).collect()
    with pytest.raises(Interrupted):
        frame.fetch(timeout=0.2)
    (filed,) = [r for r in scientist.requests("pending") if "tail(3)" in r.code]
    with pytest.raises(Interrupted):
        frame.fetch(timeout=0.2)
    assert [r.id for r in scientist.requests("pending") if "tail(3)" in r.code] == [filed.id]


def test_a_rejected_query_prints_and_gives_none(connection: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from bastionlab.polars.policy import Reject

    frame = send(connection, None, policy(unsafe=Reject()))
    assert frame.select(pl.col("Age")).collect().fetch() is None
    assert "\x1b[31mThe query has been rejected by the data owner.\nReason:" in capsys.readouterr().out


def test_todays_fetch_is_there_too(connection: Any, scientist: Any) -> None:
    with pytest.raises(BastionError, match="look at this first"):
        reviewed(connection, scientist).head(2).fetch(wait=False)


# ---- saving ----------------------------------------------------------------------------------------------------------


def test_save_get_delete(connection: Any) -> None:
    collected = rates(send(connection, None, policy()))
    before = collected.identifier
    collected.save()
    assert collected.identifier != before
    again = connection.client.polars.get_df(collected.identifier)
    assert again.fetch()["Survived"].round(6).to_list() == RATES
    collected.delete()
    with pytest.raises(BastionError):
        connection.client.polars.get_df(again.identifier)
    kept = rates(send(connection, None, policy()))
    assert connection.client.polars.persist_df(kept.identifier).identifier == kept.identifier


def test_not_savable(connection: Any) -> None:
    with pytest.raises(BastionError) as caught:
        rates(send(connection, None, policy(savable=False))).save()
    assert caught.value.code == "policy.not-savable"


def test_delete_a_dataset(connection: Any) -> None:
    frame = open_frame(connection, METALS)
    frame.delete()
    assert frame.identifier not in [f.identifier for f in connection.client.polars.list_dfs()]


def test_a_saved_frame_outlives_the_server(place: Path, port: int, server: Any) -> None:
    import bastionlab_server
    from bastionlab import Connection

    connection = Connection("localhost", port)
    collected = rates(send(connection, None, policy()))
    collected.save()
    connection.close()
    server.handle.stop()
    again = bastionlab_server.start(port=port)
    server.handle = again.handle
    with Connection("localhost", port) as client:
        assert client.polars.get_df(collected.identifier).fetch()["Survived"].round(6).to_list() == RATES


# ---- Polars' lost names ----------------------------------------------------------------------------------------------


@pytest.fixture
def old_names() -> Iterator[None]:
    back = bastion.compat.old_polars()
    yield
    back()


@pytest.mark.usefixtures("old_names")
@pytest.mark.parametrize(
    ("older", "today"),
    [
        (lambda: pl.count(), lambda: pl.len().alias("count")),
        (lambda: pl.count("x"), lambda: pl.col("x").count()),
        (lambda: pl.col("x").sum().suffix("_sum"), lambda: pl.col("x").sum().name.suffix("_sum")),
        (lambda: pl.col("x").sum().prefix("s_"), lambda: pl.col("x").sum().name.prefix("s_")),
        (lambda: pl.col("x").sum().alias("y").keep_name(), lambda: pl.col("x").sum().alias("y").name.keep()),
        (lambda: (pl.col("x") > 1).is_not(), lambda: ~(pl.col("x") > 1)),
        (lambda: pl.col("x").cumsum(), lambda: pl.col("x").cum_sum()),
        (lambda: pl.col("l").arr.lengths(), lambda: pl.col("l").list.len()),
        (lambda: pl.col("l").list.lengths(), lambda: pl.col("l").list.len()),
        (lambda: pl.col("s").str.strip(), lambda: pl.col("s").str.strip_chars()),
        (lambda: pl.col("s").str.lengths(), lambda: pl.col("s").str.len_bytes()),
        (lambda: pl.col("d").str.strptime(pl.Date, fmt="%Y-%m-%d"), lambda: pl.col("d").str.to_date("%Y-%m-%d")),
        (lambda: pl.duration(hours="x").dt.hours(), lambda: pl.duration(hours="x").dt.total_hours()),
    ],
)  # fmt: skip
def test_old_polars(connection: Any, older: Any, today: Any) -> None:
    df = pl.DataFrame({"x": [1, 2], "s": [" a", "b "], "l": [[1], [2, 3]], "d": ["2020-01-01", "2020-02-01"]})
    assert_frame_equal(open_frame(connection, df).select(older()).collect().fetch(), df.select(today()))


def test_old_polars_can_be_taken_off() -> None:
    bastion.compat.old_polars()()
    assert not hasattr(pl.Expr, "suffix")
    with pytest.raises(TypeError):
        pl.count()
    back = bastion.compat.old_polars()
    bastion.compat.old_polars()
    back()
    assert not hasattr(pl.Expr, "suffix")
