"""The safe preview: made-up rows from public facts alone, of every type, the same every time, and marked everywhere."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from bastion_plan import dtypes as dt
from bastion_plan.dtypes import DType
from bastion_plan.errors import InputError
from bastion_policy.facts import ColumnFacts, DatasetFacts, PrivateFacts, column_facts
from bastion_policy.model import Policy, Role
from bastion_policy.roles import RoleKind, infer_role, measure, quasi
from fake_session import fake_connection
from hostile import check_html, check_text, encodable
from hypothesis import given
from hypothesis import strategies as st

from bastion.client.fakes import integer_range
from bastion.client.preview import FakeFrame
from bastion.expr.dtypes import polars_schema
from bastion.render import bundle
from bastion.render.previews import preview_html, preview_text

ENUM = DType("Enum", categories=("low", "high"))
STRUCT = DType(
    "Struct", fields=(("x", dt.INT64), ("when", dt.datetime("ms", "Europe/Berlin")), ("l", dt.list_of(dt.DATE)))
)
ALL = [
    *(DType(kind) for kind in sorted(dt.SIMPLE)), dt.datetime("ms"), dt.datetime("us", "UTC"), dt.datetime("ns", "Asia/Kathmandu"),
    dt.duration("ms"), dt.duration("ns"), DType("Decimal", precision=5, scale=2), DType("Decimal", precision=38, scale=0),
    DType("Decimal", precision=2, scale=2), DType("Decimal", precision=38, scale=38), ENUM, DType("Enum"), dt.list_of(dt.STRING),
    dt.list_of(dt.list_of(dt.INT8)), dt.list_of(STRUCT), DType("Array", inner=dt.FLOAT32, width=3), DType("Array", inner=dt.DATE, width=2),
    DType("Array", inner=dt.TIME, width=0), DType("Array", inner=DType("Array", inner=dt.INT64, width=2), width=2),
    DType("Array", inner=dt.INT64, width=10**6), STRUCT, DType("Struct", fields=(("b", dt.BINARY), ("e", ENUM))),
]  # fmt: skip
ROLES = [Role(kind) for kind in RoleKind]


def facts(*columns: ColumnFacts, unit: str | None = None, name: str = "t", id_: str = "ds-1") -> DatasetFacts:
    return DatasetFacts(id_, name, 1, columns, Policy.default(), owner="olga", unit=unit)


def image(fake: FakeFrame) -> tuple[str, str, bytes]:
    """Everything that a preview shows or gives, as bytes."""
    buffer = io.BytesIO()
    fake.to_polars().write_ipc(buffer)
    return preview_html(fake), preview_text(fake), buffer.getvalue()


# ---- what it is made of ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_every_type_has_the_datasets_schema(dtype: DType):
    columns = [ColumnFacts(role.kind.value, dtype, role) for role in ROLES] + [
        ColumnFacts("unit", dtype, Role(RoleKind.IDENTIFIER))
    ]
    fake = FakeFrame(facts(*columns, unit="unit"), 7)
    table = fake.to_polars()
    assert table.schema == polars_schema({c.name: c.dtype for c in columns}) == fake.schema
    assert table.height == fake.height == 7
    assert table["hidden"].null_count() == 7
    check_html(preview_html(fake))
    check_text(preview_text(fake))
    assert image(fake) == image(FakeFrame(facts(*columns, unit="unit"), 7))


@pytest.mark.parametrize(
    "dtype", [d for d in ALL if d.kind not in ("Boolean", "Enum", "Null") and not d.is_nested], ids=str
)
def test_the_unit_is_another_one_in_every_row(dtype: DType):
    unit = FakeFrame(facts(ColumnFacts("id", dtype, Role(RoleKind.IDENTIFIER)), unit="id"), 5).to_polars()["id"]
    if dtype.kind != "Decimal" or (dtype.precision or 0) - (dtype.scale or 0) > 1:
        assert unit.n_unique() == 5
        if dtype.is_numeric:
            assert [int(v) for v in unit] == [1, 2, 3, 4, 5]


def test_a_unit_that_is_hidden_is_hidden():
    column = ColumnFacts("id", dt.INT64, Role(RoleKind.HIDDEN))
    fake = FakeFrame(facts(column, unit="id"))
    assert fake.to_polars()["id"].null_count() == 5
    assert "\nFAKE │ *" in preview_text(fake)
    assert preview_html(fake).count("<td>*</td>") == 5


@given(st.sampled_from([d for d in ALL if d.is_integer]), st.integers(-(10**12), 10**12), st.integers(1, 10**12))
def test_whole_numbers_lie_within_bounds(dtype: DType, low: int, width: int):
    values = FakeFrame(facts(ColumnFacts("a", dtype, measure(low, low + width))), 20).to_polars()["a"].to_list()
    least, most = integer_range(dtype)
    if max(low, least) <= min(low + width, most):
        assert all(max(low, least) <= v <= min(low + width, most) for v in values)


@given(st.sampled_from(["Float64", "Float32"]), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_numbers_lie_within_bounds(kind: str, low: float, width: float):
    values = FakeFrame(facts(ColumnFacts("a", DType(kind), measure(low, low + width))), 20).to_polars()["a"].to_list()
    slack = 1e-6 * max(1.0, abs(low), width) if kind == "Float32" else 0.0
    assert all(low - slack <= v <= low + width + slack for v in values)


@pytest.mark.parametrize(("low", "high"), [(-1.7e308, 1.7e308), (0.0, 5e-324), (1e308, 1.7e308), (-1e-300, 1e-300)])
def test_bounds_at_the_ends_of_numbers(low: float, high: float):
    for dtype in (dt.FLOAT64, dt.INT64, DType("Decimal", precision=5, scale=2)):
        values = FakeFrame(facts(ColumnFacts("a", dtype, measure(low, high))), 20).to_polars()["a"].to_list()
        assert dtype.kind != "Float64" or all(low <= v <= high for v in values)


def test_declared_values_are_used():
    columns = (
        ColumnFacts("s", dt.STRING, quasi("x", "y"), domain=("x", "y")),
        ColumnFacts("e", ENUM, quasi("low"), domain=("low",)),
        ColumnFacts("d", dt.DATE, quasi("2020-02-29"), domain=("2020-02-29",)),
        ColumnFacts("i", dt.INT8, quasi(1, 1000), domain=(1, 1000)),
        ColumnFacts("b", dt.BOOLEAN, quasi(True), domain=(True,)),
        ColumnFacts("m", DType("Decimal", precision=5, scale=2), measure(0, 10)),
    )
    table = FakeFrame(facts(*columns), 50).to_polars()
    assert set(table["s"]) == {"x", "y"}
    assert set(table["e"]) == {"low"}
    assert set(table["d"].cast(pl.String)) == {"2020-02-29"}
    assert set(table["i"]) == {1}, "a value that the type cannot hold is left out"
    assert set(table["b"]) == {True}
    assert all(Decimal(0) <= v <= Decimal(10) for v in table["m"])


def test_facts_that_do_not_fit_still_give_a_preview():
    columns = (
        ColumnFacts("d", dt.DATE, quasi("no day"), domain=("no day",)),
        ColumnFacts("i", dt.INT8, measure(1000, 2000)),
        ColumnFacts("s", dt.STRING, quasi(7), domain=(7,)),
    )
    assert FakeFrame(facts(*columns)).to_polars().null_count().row(0) == (0, 0, 0)


# ---- never made from data --------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 9), min_size=30, max_size=40), st.lists(st.integers(0, 9), min_size=30, max_size=40))
def test_same_facts_other_data_same_bytes(one: list[int], other: list[int]):
    shown = []
    for number, values in enumerate((one, other)):
        table = pl.DataFrame({"Age": values, "Sex": [str(v % 2) for v in values], "Fare": [v / 7 for v in values]})
        with_data = fake_connection({"people": table})
        fake = with_data.dataset("people").preview(5)
        shown.append(image(fake))
        with_data.close()
        assert number == 0 or shown[0] == shown[1]


def test_neither_the_dataset_nor_its_version_changes_a_column():
    column = ColumnFacts("Age", dt.FLOAT64, measure(0, 100))
    other = ColumnFacts("x", dt.STRING, Role(RoleKind.QUASI))
    one = FakeFrame(facts(column)).to_polars()["Age"]
    assert one.equals(FakeFrame(facts(other, column, name="u", id_="ds-2")).to_polars()["Age"])
    assert one.equals(FakeFrame(facts(column), 50).to_polars()["Age"].head(5)), "more rows go on where fewer end"


def test_measured_facts_do_not_go_in():
    """What was measured at upload decides inferred roles, which are public; nothing more of it is there to be used."""
    schema = {"a": dt.INT64, "b": dt.FLOAT64}
    policy = Policy.default()
    roles = infer_role(dt.INT64, 0, 100, 1000)
    assert roles.kind is RoleKind.MEASURE
    one, two = (
        facts(*column_facts(schema, PrivateFacts(rows, rows, 1), policy)) for rows in (10, 10_000)
    )  # no measures: sensitive both
    assert image(FakeFrame(one)) == image(FakeFrame(two))


def test_it_is_the_same_in_every_process():
    code = (
        "from bastion_plan import dtypes as dt; from bastion_policy.facts import *; from bastion_policy.model import *\n"
        "from bastion_policy.roles import quasi, measure; from bastion.client.preview import FakeFrame\n"
        "c = (ColumnFacts('s', dt.STRING, quasi('x', 'y'), domain=('x', 'y')), ColumnFacts('a', dt.FLOAT64, measure(0, 9)))\n"
        "print(FakeFrame(DatasetFacts('i', 't', 1, c, Policy.default())))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(told) == 1


def test_nothing_is_asked_of_the_server():
    connection = fake_connection({"t": pl.DataFrame({"a": [1, 2]})}, flavour="sync")
    frame = connection.dataset("t")
    before = list(connection._session.sent)
    fake = frame.preview(3)
    image(fake)
    repr(fake)
    bundle(fake)
    assert connection._session.sent == before
    connection.close()
    assert image(frame.preview(3)) == image(fake), "not even a connection is needed"


def test_only_datasets_have_one_and_only_of_some_rows():
    connection = fake_connection({"t": pl.DataFrame({"a": [1, 2]})}, flavour="sync")
    frame = connection.dataset("t")
    with pytest.raises(InputError, match="is a query"):
        frame.select("a").preview()
    for rows in (0, -1, 101, 2.5, True, "5"):
        with pytest.raises(InputError, match="from 1 to 100"):
            frame.preview(rows)
    connection.close()


# ---- the mark --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 100), st.integers(1, 40), encodable(3))
def test_every_line_and_every_column_bears_the_mark(rows: int, columns: int, name: str):
    made = [ColumnFacts(f"{name}{i}", dt.STRING, Role(RoleKind.QUASI)) for i in range(columns)]
    fake = FakeFrame(facts(*made, name=name), rows)
    text, page = preview_text(fake), preview_html(fake)
    check_text(text)
    check_html(page)
    lines = text.split("\n")
    assert all(line.startswith("FAKE") for line in lines)
    assert text.count("FAKE str") == columns
    assert page.count("<tr>") == page.count('class="mark">FAKE<') == rows + 2
    assert page.count("<th>FAKE str</th>") == columns


def test_wide_previews_stand_in_blocks_that_are_marked_each():
    fake = FakeFrame(
        facts(*(ColumnFacts(f"a_rather_long_name_{i}", dt.FLOAT64, Role(RoleKind.MEASURE)) for i in range(30))), 2
    )
    lines = preview_text(fake).split("\n")
    assert max(map(len, lines[1:])) < 120
    assert sum(line.startswith("FAKE │ a_rather") for line in lines) > 3


def test_very_wide_previews_say_what_they_leave_out():
    fake = FakeFrame(facts(*(ColumnFacts(f"c{i}", dt.FLOAT64, Role(RoleKind.MEASURE)) for i in range(500))), 100)
    assert fake.to_polars().width == 500
    for view in (preview_text(fake), preview_html(fake)):
        assert len(view) < 400_000
        assert "FAKE … and 440 more columns" in view


def test_a_preview_is_no_table_of_ours():
    """Nothing that takes a table takes a preview by accident."""
    fake: Any = FakeFrame(facts(ColumnFacts("a", dt.INT64, Role(RoleKind.QUASI))))
    assert not isinstance(fake, pl.DataFrame)
    shown = bundle(fake)
    assert "FAKE" in shown["text/plain"]
    assert "None of it is data" in shown["text/html"]
    assert fake._repr_html_() == shown["text/html"]
    assert repr(fake) == shown["text/plain"]
