"""The rows of a fit: whose they are, which may stand before noise, and that one person more changes nobody else's."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.dtypes import DType
from bastion_plan.errors import InputError
from bastion_plan.expressions import Column, Literal
from bastion_plan.models.fits import FitSpec, Optimizer
from bastion_policy.model import Aggregation, Policy, Review
from bastion_policy.private.rows import PLACE, UNIT, Refused
from bastion_policy.private.training import FitRows, exact_rows, rows_for
from bastion_policy.roles import measure
from bastion_server.engine.lower import lower
from noisy import Desk, Table
from query import Q

from bastion import pl as b

ROLES = {
    "pid": "identifier",
    "x": measure(0, 100),
    "y": "quasi",
    "s": "hidden",
    "name": "identifier",
    "town": "quasi",
    "pixels": "quasi",
}
FRAME = pl.DataFrame({
    "pid": [1, 1, 2, 3, 4], "x": [1.0, 2.0, None, float("nan"), 5.0], "y": [0, 1, 0, 1, None], "s": [1, 2, 3, 4, 5],
    "name": ["a", "a", "b", "c", "d"], "town": ["n", "n", "s", "n", "n"], "pixels": [[1.0, 2.0]] * 5,
    "day": pl.Series(["2000-01-02"] * 5).str.to_date(),
})  # fmt: skip


FLOATS = DType("List", inner=DType("Float64"))
LISTS = n.Inline((n.InlineColumn("k", DType("Int64"), (0, 1)), n.InlineColumn("v", FLOATS, ((1.0,) * 9, ()))))


def desk(max_rows: int = 2) -> Desk:
    noisy = Policy.private(1.0, unit="pid", max_rows=max_rows, roles=ROLES)
    exact = Policy(Aggregation(10), Review(), unit="pid", roles=ROLES)
    return Desk({"t": Table(FRAME, noisy, "pid"), "e": Table(FRAME, exact, "pid")})


def spec(inputs: tuple[str, ...] = ("x",), labels: tuple[str, ...] = ("y",), **changes: Any) -> FitSpec:
    settings: dict[str, Any] = {"loss": "l2", "steps": 1, "optimizer": Optimizer()}
    return FitSpec((inputs,), labels, **(settings | changes))


def rows(query: Q, made: FitSpec | None = None, max_rows: int = 2, world: Desk | None = None) -> FitRows:
    found = world or desk(max_rows)
    return rows_for(bind(query.plan, found.facts), found.facts, max_rows, made or spec())


def collected(found: FitRows, world: Desk) -> pl.DataFrame:
    return lower(found.plan, {name: table.frame.lazy() for name, table in world.tables.items()}).collect()


def test_rows_carry_whose_they_are_and_have_all_their_numbers() -> None:
    world = desk()
    found = rows(Q("t"), world=world)
    frame = collected(found, world)
    assert frame.columns == ["x", "y", UNIT, PLACE]
    assert frame.select("x", "y", UNIT).rows() == [(1.0, 0, 1), (2.0, 1, 1)]  # null, NaN and no label are left out
    assert found.datasets == ("t",) and set(found.columns) == {"t.x", "t.y"} and found.by_person


LEFT_OUT = "Rows with a missing value in {} are left out: fill_null() before if they are to count."
NANS = "Rows with a value that is no number (NaN) are left out."


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (Q("t"), (LEFT_OUT.format("'x' or 'y'"),)),
        (Q("t").with_columns(y=b.col("y").fill_null(0)), (LEFT_OUT.format("'x'"),)),
        (Q("t").filter(b.col("y") > 0).with_columns(x=(b.col("x").fill_null(1.0) - 50) / 50), (NANS,)),
        (Q("t").filter(b.col("x").is_not_null() & (b.col("town") == "n")).drop_nulls("y"), (NANS,)),
        (Q("t").with_columns(x=(b.col("town") == "n").cast(pl.Int64).fill_null(0)).drop_nulls("y"), ()),
        (Q("t").with_columns(x=b.when(b.col("x") > 3).then(1).otherwise(0)), (LEFT_OUT.format("'y'"),)),
        (Q("t").drop_nulls(["x", "y"]).with_columns(x=b.col("x").cast(pl.Int8, strict=False)), (LEFT_OUT.format("'x'"),)),
        (Q(n.FillNull(Q("t").plan, Literal(DType("DynInt"), 0))), (NANS,)),
    ],
)  # fmt: skip
def test_an_estimate_names_the_columns_that_may_have_missing_values(query: Q, said: tuple[str, ...]) -> None:
    assert rows(query, max_rows=1).notes[: len(said)] == said
    assert not any("left out" in note for note in rows(query, max_rows=1).notes[len(said) :])


def test_one_person_less_takes_that_person_s_rows_and_no_others() -> None:
    query = Q("t").filter(b.col("town") == "n").with_columns(z=b.col("x").fill_nan(0) * 2).select("z", "y")
    world = desk()
    found = rows(query, spec(("z",)), world=world)
    everybody = collected(found, world).drop(PLACE)
    for pid in (1, 2, 3, 4):
        fewer = collected(found, world.without(pid, "t")).drop(PLACE)
        assert fewer.equals(everybody.filter(pl.col(UNIT) != pid)), pid


@pytest.mark.parametrize(
    ("query", "made", "rule"),
    [
        (Q("t"), spec(("pid",)), "identifier"),
        (Q("t").with_columns(u=b.col("pid") % 2), spec(("u",)), "identifier"),
        (Q("t").with_columns(u=b.col("pid")), spec(("u",)), "identifier"),
        (Q("t"), spec(("s",)), "hidden-column"),
        (Q("t").with_columns(u=b.col("s") + 1), spec(("u",)), "hidden-column"),
        (Q("t").head(3), spec(), "private-node"),
        (Q("t").sort("x").with_row_index("i"), spec(("i",)), "private-node"),
        (Q("t").with_columns(m=b.col("x").mean().over("town")), spec(("m",)), "private-window"),
        (Q("t").with_columns(m=b.col("x").rank()), spec(("m",)), "private-function"),
        (Q("t").with_columns(m=b.col("x") - b.col("x").mean()), spec(("m",)), "private-function"),
        # lists are as long as who asks likes: none is made, written down or chosen
        *(
            (Q("t").with_columns(m=made), spec(("m",)), "private-function")
            for made in (
                b.lit([1.0, 2.0]),
                b.when(b.col("y") == 1).then(b.lit([1.0] * 9)).otherwise(b.col("pixels")),
                b.coalesce(b.col("pixels"), b.lit([1.0] * 9)),
                b.col("pixels").fill_null([1.0] * 9),
                b.col("pixels").list.concat(b.col("pixels")),
                b.concat_list("x", "x"),
                b.col("x").implode(),
                b.col("x").repeat_by(9),
            )
        ),
        (Q(n.Explode(Q("t").plan, (Column("pixels"),))), spec(), "private-node"),
        (
            Q(n.FillNull(Q("t").select("pixels").plan, Literal(FLOATS, (1.0,) * 9))),
            spec(("pixels",), ("pixels",)),
            "private-function",
        ),
        (Q(n.Join(Q("t").plan, LISTS, "left", (Column("y"),), (Column("k"),))), spec(("v",)), "private-join"),
        # another's row would stay, with another label
        (
            Q("t").join(Q("e"), on="pid", how="left").with_columns(y=b.col("y_right").fill_null(9)),
            spec(),
            "private-join",
        ),
    ],
)
def test_what_may_not_stand_before_noise(query: Q, made: FitSpec, rule: str) -> None:
    with pytest.raises(Refused) as refused:
        rows(query, made)
    assert refused.value.finding.rule == rule


@pytest.mark.parametrize(
    ("made", "code", "word"),
    [
        (spec(("nothing",)), "fit.columns", "nothing"),
        (spec(("town",)), "fit.dtype", "One-hot"),
        (spec(("day",)), "fit.dtype", "epoch"),
        (spec(labels=("town",)), "fit.dtype", "tokens"),
        (spec(("x", "pixels")), "fit.columns", "itself"),
        (spec(labels=("y", "pixels")), "fit.dtype", "several"),
        (spec(labels=("pixels",), loss="cross_entropy"), "fit.dtype", "several"),
        (spec(rows=3), "fit.rows", "rows_per_unit=2"),
    ],
)
def test_columns_are_made_of_numbers(made: FitSpec, code: str, word: str) -> None:
    with pytest.raises(InputError) as error:
        rows(Q("t"), made)
    assert error.value.code == code and word in f"{error.value.message} {error.value.next_step}"


def test_approved_rows_are_any_plan_by_person_where_that_can_be_told() -> None:
    world = desk()

    def approved(query: Q, made: FitSpec) -> FitRows:
        return exact_rows(bind(query.plan, world.facts), world.facts, made)

    whole = approved(Q("e"), spec())
    assert whole.by_person and collected(whole, world)[UNIT].to_list() == [
        1,
        1,
        2,
        3,
        4,
    ]  # missing numbers are the worker's to name
    first = approved(Q("e").sort("x").head(2), spec())
    assert not first.by_person and collected(first, world)[UNIT].to_list() == [0, 1]
    hidden = approved(Q("e"), spec(("s",)))
    assert collected(hidden, world)["s"].to_list() == [None] * 5
