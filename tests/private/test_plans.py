"""What may stand before noise, what is public of an answer, and what a query costs; from public facts alone."""

from __future__ import annotations

import polars as pl
import pytest
from bastion_plan.bind import bind
from bastion_plan.canonical import encode
from bastion_plan.nodes import Node
from bastion_policy.flow import static_verdict
from bastion_policy.model import Aggregation, Policy, Reject, Review
from bastion_policy.private.accounting import Account, Cost
from bastion_policy.private.rows import STABLE, Refused
from bastion_policy.private.verdicts import account_of
from bastion_policy.roles import measure, quasi
from noisy import Desk, Table
from query import Q, concat, inline

from bastion import pl as b

ROLES = {
    "pid": "identifier", "g": quasi("a", "b"), "town": "quasi", "x": measure(0, 100), "born": "quasi", "age": measure(0, 90),
    "secret": "hidden", "free": "sensitive",
}  # fmt: skip
FRAME = pl.DataFrame(
    {
        "pid": [1, 2, 3], "g": ["a", "b", None], "town": ["n", "s", "n"], "x": [1.0, 2.0, 3.0],
        "born": pl.Series(["2000-01-02", "2001-02-03", "1999-12-31"]).str.to_date(), "age": [20, 30, 40],
        "secret": ["s1", "s2", "s3"], "free": [1.5, 2.5, 3.5],
    }
)  # fmt: skip


def desk(max_rows: int = 2, epsilon: float = 1.0) -> Desk:
    policy = Policy.private(epsilon, unit="pid", max_rows=max_rows, roles=ROLES)
    visits = pl.DataFrame({"pid": [1, 1, 2], "cost": [5.0, 6.0, 7.0]})
    other = Policy.private(
        0.5, 1e-7, unit="pid", max_rows=max_rows, roles={"pid": "identifier", "cost": measure(0, 10)}
    )
    exact = Policy(Aggregation(10), Review(), unit="pid")
    return Desk({"t": Table(FRAME, policy, "pid"), "v": Table(visits, other, "pid"), "e": Table(visits, exact, "pid")})


LONG = "é" * 300


def why(query: Q, **changes: int) -> str:
    with pytest.raises(Refused) as refused:
        desk(**changes).priced(query)
    return f"{refused.value.finding.rule}: {refused.value.finding.reason}"


REFUSED = {
    "rows": (Q("t").filter(b.col("x") > 1), "row-level"),
    "hidden": (Q("t").select(b.col("secret").count()), "hidden-column"),
    "hidden condition": (Q("t").filter(b.col("secret") == "s1").select(b.len()), "hidden-column"),
    "identifier": (Q("t").filter(b.col("pid") == 1).select(b.len()), "identifier"),
    "renamed identifier": (Q("t").with_columns(b.col("pid").alias("z")).filter(b.col("z") > 1).select(b.len()), "identifier"),
    "identifier of one's own": (Q("t").join(inline({"pid": [1]}), on="pid", how="semi").select(b.len()), "identifier"),
    "identifier key": (Q("t").group_by("pid").agg(b.len()), "row-level"),
    "no bounds": (Q("t").select(b.col("free").sum()), "private-bounds"),
    "not unique": (
        Q("t").join(inline({"g": ["a", "a"], "w": [1, 2]}), on="g").select(b.len()), "private-join"
    ),
    "cross": (Q("t").join(inline({"w": [1, 2]}), how="cross").select(b.len()), "private-join"),
    "not on the unit": (Q("t").join(Q("v"), left_on="age", right_on="pid").select(b.len()), "private-join"),
    "full": (Q("t").join(Q("v"), on="pid", how="full").select(b.len()), "private-join"),
    "left of other people": (Q("t").join(Q("v"), on="pid", how="left").select(b.len()), "private-join: A left join of tables of different units: "),
    "anti of other people": (Q("t").join(Q("v"), on="pid", how="anti").select(b.len()), "private-join: An anti join of tables of different units: "),
    "self": (Q("t").join(Q("t"), on="pid").select(b.len()), "private-node"),
    "stacked": (concat(Q("t"), Q("t")).select(b.len()), "private-node"),
    "aggregate of an aggregate of rows": (
        Q("t").join(Q("v").select(b.col("cost").sum()), how="cross").select(b.len()), "private-"
    ),
    "window": (Q("t").with_columns(b.col("x").sum().over("pid").alias("w")).select(b.len()), "private-window"),
    "shift": (Q("t").with_columns(b.col("x").shift(1).alias("w")).select(b.len()), "private-function"),
    "index": (Q("t").with_row_index("i").select(b.col("i").clip(0, 5).sum()), "private-node"),
    "unique": (Q("t").unique("g").select(b.len()), "private-node"),
    "unpivoted": (Q("t").unpivot(["x"]).select(b.len()), "private-node"),
    "extreme": (Q("t").select(b.col("x").min()), "private-statistic"),
    "outermost quantile": (Q("t").select(b.col("x").quantile(0.001)), "private-statistic"),
    "fractions per person": (
        Q("t").group_by("pid").agg(b.col("x").sum()).select(b.col("x").clip(0, 5).sum()), "private-per-unit"
    ),
    "floating keys": (Q("t").group_by("x").agg(b.len()), "private-key"),
    "reserved": (Q("t").with_columns(b.col("x").alias("#~u")).select(b.len()), "reserved-name"),
    "reserved behind": (Q("t").select(b.len().alias("#~v0")), "reserved-name"),
    # one person's row shall not be a million times as long as others', nor take a million times as long
    "texts put together": (
        Q("t").with_columns((b.col("g") + b.col("g")).alias("w")).filter(b.col("w").str.len_bytes() >= 0).select(b.len()),
        "private-function: Before noise is added, texts are not put together",
    ),
    "long text": (
        Q("t").filter(b.when(b.col("x") > 1).then(b.lit(LONG)).otherwise(b.lit("")) != "a").select(b.len()),
        "private-function: Before noise is added, texts in a query are of at most 256 characters",
    ),
    "long text in a list": (Q("t").filter(b.col("g").is_in(["a", LONG])).select(b.len()), "private-function"),
    "long label": (
        Q("t").join(inline({"g": ["a"], "w": [LONG]}), on="g").filter(b.col("w") != "a").select(b.len()), "private-function"
    ),
    "long filling": (Q("t").with_columns(b.col("g").fill_null(LONG)).filter(b.col("g") != "a").select(b.len()), "private-function"),
    "pattern of a column": (
        Q("t").filter(b.col("g").str.strip_chars(b.col("town")) == "").select(b.len()), "private-function"
    ),
    "mixed": (Q("t").join(Q("e"), on="pid").select(b.len()), "mixed-zone"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    query, rule = REFUSED[name]
    assert why(query).startswith(rule)


WIDTHS = pl.DataFrame(
    {"pid": [1, 2, 3], "u": [5, 5, 5], "i": [1, 1, 1], "d": [4, 4, 4], "w": [2**62] * 3, "x": [0.5] * 3, "f": [0.5] * 3, "none": [0, 1, 2], "one": [0, 1, 2]},
    schema={"pid": pl.Int64, "u": pl.UInt8, "i": pl.Int64, "d": pl.UInt8, "w": pl.Int64, "x": pl.Float64, "f": pl.Float64, "none": pl.Int64, "one": pl.Int64},
)  # fmt: skip


def widths() -> Desk:
    """Columns whose bounds do not go with their types."""
    roles = {
        "pid": "identifier",
        "u": measure(-5, 5),
        "i": measure(0, 10),
        "d": quasi(-1, 4, 300),
        "w": measure(0, 9e18),
        "x": "quasi",
    }
    roles |= {"f": measure(0.2, 0.8), "none": measure(0.2, 0.8), "one": measure(0.5, 1.5)}
    return Desk.of(WIDTHS, Policy.private(1.0, 1e-6, unit="pid", roles=roles), "pid")


KEYS = {
    "declared": (b.col("u").alias("k"), [0, 1, 2, 3, 4, 5]),
    "computed": ((b.col("u") - 3).alias("k"), [0, 1, 2]),
    "cast": ((b.col("i") - 3).cast(b.UInt8).alias("k"), list(range(8))),
    "listed": (b.col("d").alias("k"), [4]),
}


@pytest.mark.parametrize("name", KEYS)
def test_public_keys_are_those_that_their_type_can_hold(name):
    """Others nobody has, and the engine fails on them, after payment."""
    key, domain = KEYS[name]
    found = widths().answer(Q("t").group_by(key).agg(b.len()))
    assert found["k"].to_list() == domain


def test_keys_of_which_their_type_holds_none_are_not_public():
    (cells,) = (
        widths().priced(Q("t").group_by((b.col("u").clip(0, 1) - 3).cast(b.UInt8).alias("k")).agg(b.len())).draft.cells
    )
    assert cells.threshold


BOUNDS = {
    "too small": (b.col("x").clip(0, 5e-324).sum(), "too close to each other"),
    "mean of too small": (b.col("x").clip(0, 5e-324).mean(), "too close to each other"),
    "too large": (b.col("x").clip(-1e200, 1e200).var(), "they are too large"),
    "overflowing": (b.col("x").clip(1e308, 1.7e308).mean(), "they are too large"),
    "overflowing both ways": (b.col("x").clip(-1.7e308, 1.7e308).median(), "they are too large"),
    "no whole number": (b.col("none").median(), "there is no whole number"),
    "one whole number": (b.col("one").median(), "all 1 tells nothing"),
    "one whole number between": (b.col("i").clip(1, 1.5).quantile(0.3), "all 1 tells nothing"),
    "cut to one whole number": (b.col("i").clip(0.2, 0.8).median(), "all 0 tells nothing"),
    "cast to one whole number": (b.col("f").cast(b.Int64).median(), "all 0 tells nothing"),
    "one number": (b.col("x").clip(3, 3).sum(), "all 3 tells nothing"),
    "past 64 bits": ((b.col("i") * 10**18).sum(), "Int64 does not hold them all"),
    "below nought": ((b.col("u") - 3).mean(), "UInt8 does not hold them all"),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_that_numbers_cannot_tell_are_refused(name):
    statistic, words = BOUNDS[name]
    with pytest.raises(Refused) as refused:
        widths().priced(Q("t").select(statistic))
    finding = refused.value.finding
    assert finding.rule == "private-bounds"
    assert words in finding.reason
    assert finding.fix


def test_whole_numbers_are_clipped_to_what_polars_makes_of_fractions():
    frame = pl.DataFrame({"pid": range(4000), "i": [-9, 0, 1, 9] * 1000})
    world = Desk.of(frame, Policy.private(90.0, unit="pid", roles={"pid": "identifier", "i": measure(-9, 9)}), "pid")
    for low, high in ((0.5, 1.5), (-1.5, 0.5), (-1.9, 2.5)):
        clipped = frame["i"].clip(low, high)
        ((mean, quantile),) = world.answer(
            Q("t").select(b.col("i").clip(low, high).mean(), b.col("i").clip(low, high).quantile(0.9).alias("q")), 90.0
        ).rows()
        assert (mean, quantile) == (pytest.approx(clipped.mean(), abs=0.02), clipped.quantile(0.9))


def test_sums_beyond_their_type_end_where_it_ends():
    """Numbers are never null: what is paid for is answered."""
    world = widths()
    found = {world.answer(Q("t").select(b.col("w").sum())).item() for _ in range(40)}
    assert all(isinstance(v, int) and abs(v) <= 2**63 for v in found)
    assert 2**63 - 1 in found
    assert -(2**63) in found


def test_a_histogram_has_as_many_bins_as_groups():
    """Its edges stand side by side in the plan: one within another were too deep to send, after payment."""
    priced = widths().priced(Q("t").select(b.col("x").hist([i / 700 for i in range(701)]).alias("n")))
    assert encode(priced.draft.cells[0].plan)
    assert widths().answer(Q("t").select(b.col("x").hist([i / 700 for i in range(701)]).alias("n"))).height == 700


def test_joins_that_would_grow_without_measure_are_refused():
    query = Q("t").join(Q("v"), on="pid").select(b.len())
    assert "could become" in why(query, max_rows=1_000)
    assert desk(30).priced(query)


def test_every_node_is_stable_or_refused_with_a_reason():
    """A new kind of node is refused until someone has thought about it."""
    from bastion_policy.private.rows import _WHY

    kinds = {kind for kind in Node.__subclasses__() if kind.__module__ == Node.__module__}
    assert STABLE.keys() | _WHY.keys() | {kind for kind in kinds if kind.__name__ == "Inline"} == kinds
    assert not STABLE.keys() & _WHY.keys()
    assert set(STABLE.values()) == {1}


PUBLIC_KEYS = [
    (b.col("g"), ["a", "b"]),
    ((b.col("x") > 2).alias("k"), [False, True]),
    (b.col("born").dt.month().alias("k"), list(range(1, 13))),
    (b.col("age").alias("k"), list(range(91))),
]


@pytest.mark.parametrize(("key", "domain"), PUBLIC_KEYS)
def test_keys_whose_values_are_public_are_all_shown(key, domain):
    world = desk()
    found = world.answer(Q("t").group_by(key).agg(b.len()))
    assert found.to_series(0).to_list() == domain
    assert world.priced(Q("t").group_by(key).agg(b.len())).cost.delta == 0


def test_keys_that_are_not_public_charge_delta():
    world = desk()
    priced = world.priced(Q("t").group_by("town", "g").agg(b.len()))
    assert priced.cost.delta > 0
    assert world.answer(Q("t").group_by("town", "g").agg(b.len())).height == 0, "three people are not enough"
    (cells,) = priced.draft.cells
    assert cells.threshold


def test_equal_parts_are_noised_and_paid_for_once():
    world = desk()
    query = Q("t").select(b.len(), b.len().alias("again"), b.col("x").mean(), b.col("x").count().alias("n"))
    (cells,) = world.priced(query).draft.cells
    assert len(cells.parts) == 3
    found = world.answer(query)
    assert found["len"].item() == found["again"].item()


X, Y = b.col("x"), b.col("y")
COUNTS = {
    "dropped": (X.drop_nulls().len(), 3), "all": (X.len(), 5), "rows": (b.len(), 5), "counted": (X.drop_nulls().count(), 2),
    "filtered": (X.filter(Y > 1).drop_nulls().len(), 2), "by another": (Y.filter(X.is_not_null()).drop_nulls().len(), 3),
    "sum": ((X + Y).drop_nulls().len(), 3), "numbers": (Y.drop_nulls().len(), 4), "nulls left": (Y.drop_nulls().null_count(), 0),
    "nulls": (Y.null_count(), 1), "people": (b.col("pid").drop_nulls().n_unique(), 5), "ids": (b.col("pid").drop_nulls().len(), 5),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_rows_are_counted_as_polars_counts_them(name):
    """But for NaN, which is a value to len() alone."""
    frame = pl.DataFrame({"pid": [1, 2, 3, 4, 5], "x": [1.0, None, 3.0, None, float("nan")], "y": [1, 2, 3, None, 5]})
    policy = Policy.private(1.0, unit="pid", roles={"pid": "identifier", "x": measure(0, 9), "y": measure(0, 9)})
    world, (counted, expected) = Desk.of(frame, policy, "pid"), COUNTS[name]
    priced = world.priced(Q("t").select(counted.alias("n")))
    (exact,) = world.measured(priced)
    assert exact.sums.item() == expected
    assert priced.draft.cells[0].l2(0) == 1


def test_two_tables_of_statistics_share_the_price():
    world = desk()
    both = Q("t").group_by("g").agg(b.len()).join(Q("v").select(b.col("cost").sum()), how="cross")
    priced = world.priced(both, 0.4)
    assert [c.table for c in priced.draft.cells] == ["#p0", "#p1"]
    assert priced.draft.datasets == ("t", "v")
    assert sum(n.rho for n in priced.noise) * 1e12 <= priced.cost.rho
    assert world.answer(both).shape == (2, 3)


def test_a_join_of_people_is_charged_to_both_under_the_strictest_cap():
    world = desk()
    priced = world.priced(Q("t").join(Q("v"), on="pid").select(b.col("cost").sum()))
    assert priced.draft.datasets == ("t", "v")
    assert priced.epsilon == pytest.approx(0.05), "a tenth of the smaller budget"
    assert account_of([t.policy for t in world.tables.values()]) == Account(0.5, 1e-7)


def test_the_verdict_before_anything_runs_says_the_same():
    world = desk()
    facts = world.facts
    good = static_verdict(bind(Q("t").select(b.len()).plan, facts), facts, "alice")
    assert good.outcome == "release"
    assert good.summary == "Released with noise, at a cost of epsilon 0.1 unless you choose another."
    bad = static_verdict(bind(Q("t").head(3).plan, facts), facts, "alice")
    assert bad.outcome == "refuse"
    assert bad.summary == "Refused because the result would hold single people's rows."


def test_a_price_has_a_smallest_and_a_largest():
    world = desk()
    query = Q("t").select(b.len())
    for epsilon in (0.0, -1.0, float("nan"), float("inf"), 1e-6):
        with pytest.raises(Refused) as refused:
            world.priced(query, epsilon)
        assert refused.value.finding.rule == "epsilon"
    assert world.priced(query, 50.0).cost == world.priced(query, 1.0).cost == Cost(Account(1.0, 1e-6).cap.rho)


def test_error_bars_are_public():
    """Two worlds with nothing in common but their facts get the same estimate."""
    query = (
        Q("t")
        .group_by("town")
        .agg(b.len(), b.col("x").mean(), b.col("x").median().alias("m"), b.col("x").std().alias("s"))
    )
    world, other = desk(), desk()
    other.tables["t"].frame = FRAME.clear()
    assert world.priced(query).bars == other.priced(query).bars
    assert [bar.column for bar in world.priced(query).bars] == ["len", "x", "m", "s"]


def test_a_policy_without_noise_is_not_priced():
    facts = Desk.of(FRAME, Policy(Aggregation(10), Reject(), unit="pid"), "pid").facts
    assert account_of([facts["t"].policy]) is None


@pytest.mark.parametrize("value", [-7.0, 300.0])
@pytest.mark.parametrize("where", ["inside", "within", "above", "in a filter"])
def test_a_strict_cast_of_noisy_numbers_gives_null_where_they_do_not_fit(where: str, value: float) -> None:
    """It is run when the answer is paid: a sum of a few people that noise takes below nought must not lose it."""
    total, query = b.col("x").sum(), Q("t").group_by("g")
    made = {
        "inside": query.agg(total.cast(b.UInt8)),
        "within": query.agg(total.cast(b.UInt8) + 1),
        "above": query.agg(total).with_columns(b.col("x").cast(b.UInt8)),
        "in a filter": query.agg(total).filter(b.col("x").cast(b.UInt8).is_null()),
    }[where]
    place = desk()
    priced = place.priced(made)
    (cells,) = priced.draft.cells
    numbers = {f"#~v{i}": [value, 9.0] for i in range(len(cells.parts))}
    found = place.last(priced, {cells.table: {cells.keys[0].column: ["a", "b"], **numbers}}).sort("g")
    assert found["x"].null_count() == (0 if where == "in a filter" else 1)
    assert found["g"].to_list() == (["a"] if where == "in a filter" else ["a", "b"])
    assert any("as with strict=False" in note for note in priced.draft.notes)


def test_what_is_written_down_fails_as_it_is_written() -> None:
    wrong = desk().priced(Q("t").select(b.len(), z=b.lit("no number").cast(b.Int64)))
    with pytest.raises(pl.exceptions.PolarsError):
        desk().last(wrong, {wrong.draft.cells[0].table: {"#~v0": [3]}})
    assert not any("strict" in note for note in wrong.draft.notes)
