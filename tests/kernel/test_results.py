"""What stands with a released table: cells that were taken out are marked, and the facts of the release are told."""

from __future__ import annotations

import html
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from bastion_policy.verdict import ReleaseNote
from kernel_client import Stage

from bastion import Connection
from bastion.client.connection import Released
from bastion.client.release_facts import Marks, ReleaseFacts
from bastion.render import bundle
from bastion.render.copies import MAX_COPY, as_code, as_csv

GROUPS = 'dataset("ship").group_by("SibSp").agg(pl.col("Age").mean(), pl.col("Fare").mean()).sort("SibSp")'
TITANIC = Path(__file__).parents[2] / "notebooks" / "data" / "titanic.csv"
STRICT = """profile = "strict"
unit = "row"
unsafe = "suppress"
[safe_zone]
aggregation = 10
[roles]
g = "quasi"
v = "measure"
"""


@pytest.fixture(scope="module")
def alice(stage: Stage):
    with Connection() as connection:
        yield connection


@pytest.fixture(scope="module", autouse=True)
def _ship(stage: Stage) -> None:
    """Passengers of a ship of its own: what other tests had approved of the Titanic is no part of what is asked here."""
    table = pl.read_csv(TITANIC).with_columns(pl.col("PassengerId") + 10_000, (pl.col("Fare") * 1.25).alias("Fare"))
    stage.owner.client.polars.send_df(table, name="ship", sanitized_columns=["Name"], unit="PassengerId")


def released(connection: Connection, frame) -> Released:
    return frame.release()


def test_cells_taken_out_and_groups_put_together_are_marked_and_explained_once(kernel):
    shown = kernel.run(GROUPS).result
    page, text = shown["text/html"], shown["text/plain"]
    assert page.count('title="Taken out by the guard"') == 1
    assert page.count("stands in its place") == 1
    assert page.count('<tr class="o"') == 1, "one row holds groups put together"
    (row,) = [line for line in text.splitlines() if "∅" in line and "│" in line]
    assert "null" in row, "the key stays as it is: only what was taken out is marked"
    assert len({len(line) for line in text.splitlines() if line[:1] in "│┌╞└"}) == 1, "the box stays straight"


def test_the_footer_tells_the_facts_of_the_release(kernel):
    shown = kernel.run('dataset("ship").select(pl.len())').result
    for view in (shown["text/plain"], shown["text/html"]):
        assert "smallest group allowed: 10 people" in view
        assert "server UNATTESTED" in view
        assert re.search(r"audit log: [\d_]+ records, head [0-9a-f]{12}", view)
        assert "on the server" in view


def test_a_cell_says_whether_the_server_is_attested(kernel):
    for code in ("attestation()", "connection.attestation"):
        shown = kernel.run(code).result
        assert "UNATTESTED: whoever runs the server's machine could read the data" in shown["text/plain"]
        assert '<div class="box ">' in shown["text/html"] and "◐" in shown["text/html"]


def test_a_policy_that_does_not_tell_how_many_marks_nothing(stage: Stage, alice: Connection):
    table = pl.DataFrame({"g": ["a"] * 30 + ["b"] * 30 + ["c"] * 3, "v": [None] * 30 + [1.0, 2.0, 3.0] * 11})
    stage.owner.client.polars.send_df(table, STRICT, name="discreet")
    frame = alice.dataset("discreet")
    answer = released(alice, frame.group_by("g").agg(pl.col("v").mean()).sort("g"))
    assert answer.note.suppressed is None
    assert answer.frame["v"].null_count(), "something is withheld, and is no cell of its own to tell from others"
    assert answer.about is not None
    assert not answer.about.marks.withheld
    assert "∅" not in bundle(answer)["text/html"]


def test_empty_cells_that_an_expression_makes_are_not_taken_for_the_guards(alice: Connection):
    frame = alice.dataset("titanic")
    mean = pl.col("Age").mean()
    answer = released(
        alice, frame.group_by("Sex", maintain_order=True).agg(pl.when(mean > 28.5).then(mean).alias("old")).sort("Sex")
    )
    assert answer.about is not None
    assert not answer.about.marks.withheld


def test_what_an_owner_approved_names_no_smallest_group(stage: Stage, alice: Connection):
    frame = alice.dataset("titanic").select("Pclass", "Cabin").head(3)
    filed = alice._run(alice._file_request(frame.plan, "to see"))
    stage.owner.approve(filed.id)
    filed.fetch()
    assert alice.last is not None
    assert alice.last.about == ReleaseFacts(None, attested=False)
    view = bundle(alice.last)
    assert "Approved by the owner" in view["text/plain"]
    assert "∅" not in view["text/html"]
    assert "null" in view["text/html"], "an empty cell of the data is the data's own"


def test_a_text_of_the_data_that_reads_like_the_remainder_is_not_marked():
    frame = pl.DataFrame({"g": ["(other)", "a"], "n": [20, 30]})
    note = ReleaseNote(suppressed=0, again=0)
    answer = Released(frame, note, "hash", 0.0, None, None, ReleaseFacts(10))  # type: ignore[arg-type]
    assert '<tr class="o"' not in bundle(answer)["text/html"]


def test_only_rows_without_any_key_of_their_own_are_the_remainder():
    marks = Marks(keys=("a", "b"), others=True)
    assert marks.remainder({"a": "(other)", "b": None, "n": 1})
    assert marks.remainder({"a": None, "b": None})
    assert not marks.remainder({"a": "(other)", "b": 1})
    assert not marks.remainder({"a": "x", "b": None})
    assert not marks.remainder({"a": None})


ALL = pl.DataFrame(
    {
        "i": [1, None], "f": [1.5, float("nan")], "g": [float("inf"), None], "s": ["x\"'<\u202e&", "y,\nz"],
        "d": [date(2020, 1, 1), None], "t": [datetime(2020, 1, 1, tzinfo=UTC), None], "u": [timedelta(1, 2, 3), None],
        "l": [[1, 2], []], "st": [{"x": 1}, {"x": 2}], "dec": [Decimal("1.20"), None], "b": [b"x\x00", None],
        "c": pl.Series(["a", "b"], dtype=pl.Categorical), "n": [None, None], "ld": [[date(2020, 1, 1)], []],
        "e": pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"])),
    }
)  # fmt: skip


def test_the_code_to_copy_builds_the_very_table():
    *lines, last = _statements(as_code(ALL))
    names: dict[str, object] = {}
    exec("\n".join(lines), names)
    made = eval(last, names)
    assert made.schema == ALL.schema
    assert made.equals(ALL, null_equal=True)


def test_copies_are_below_the_table_escaped_and_not_too_long():
    page = bundle(Released(ALL, ReleaseNote(), "hash", 0.0, None))["text/html"]  # type: ignore[arg-type]
    assert page.count("<pre>") == 2
    assert "<\u202e" not in page
    assert "\u202e" not in page
    rates = pl.DataFrame({"Pclass": [1, 2], "rate": [0.5, None]})
    page = bundle(Released(rates, ReleaseNote(), "hash", 0.0, None))["text/html"]  # type: ignore[arg-type]
    code, table = (html.unescape(part) for part in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL))
    assert eval(code.removeprefix("import polars as pl"), {"pl": pl}).equals(rates)
    assert table == "Pclass,rate\n1,0.5\n2,\n"
    long = pl.DataFrame({"x": range(MAX_COPY)})
    assert "<details" not in bundle(Released(long, ReleaseNote(), "hash", 0.0, None))["text/html"]  # type: ignore[arg-type]
    assert as_csv(pl.DataFrame({"a": [[1]]})) == b"a\n[1]\n"


def _statements(code: str) -> list[str]:
    head, _, body = code.partition("\n\n")
    return [*head.splitlines(), body]
