"""Values that count as one are shown in one form, whoever comes first: of 0 and -0, and of two NaN, the engine shows the first."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Review
from drive import World
from query import Q

import bastion.expressions as pl

T, z, w = Q("t"), pl.col("z"), pl.col("w")
ROLES = {"id": "identifier", "z": "quasi", "f": "quasi", "g": "quasi", "w": "measure", "word": "quasi"}
#: the first of all, whose value is the only one of its form
FORMS: dict[str, tuple[float, float]] = {"zero": (-0.0, 0.0), "nan": tuple(np.array([0x7FF8000000000ABC, 0x7FF8000000000000], np.uint64).view(float))}  # type: ignore[dict-item]  # fmt: skip
QUESTIONS: dict[str, Q] = {
    "a key": T.group_by("z").agg(pl.len()),
    "a short key": T.group_by("f").agg(pl.len()),
    "two keys": T.group_by("z", "g").agg(pl.len(), w.mean()),
    "a key of cells": T.group_by("z", "g").agg(pl.len()).group_by("z").agg(pl.col("len").sum()),
    "a key of few": T.filter(z.is_nan() | (z < 1)).group_by("z", (w > 195).alias("much")).agg(pl.len()),
    "unique": T.select("z").unique(),
    "unique of a column": T.select(z.unique()),
    "modes": T.select(z.mode()),
    "counts": T.select(z.value_counts()),
    "rounded": T.group_by(z.round(0).alias("q")).agg(pl.len()),
    "rounded up": T.group_by(z.ceil().alias("q")).agg(pl.len()),
    "rounded down": T.group_by(z.floor().alias("q")).agg(pl.len()),
    "negated": T.group_by((-z).alias("q")).agg(pl.len()),
    "the sign": T.group_by(z.sign().alias("q")).agg(pl.len()),
    "the smallest": T.select(z.min()),
    "the smallest of some": T.filter(z < 1).select(x=z.max(), y=z.median(), s=z.sum(), m=z.mean(), z=z.min()),
}  # fmt: skip


def frame(first: float, others: float) -> polars.DataFrame:
    """Two hundred people of two rows each."""
    many = np.array([first, *[others] * 199, *[1.5] * 200])
    return polars.DataFrame(
        {
            "id": np.repeat(np.arange(200), 2),
            "z": many,
            "f": many.astype(np.float32),
            "g": np.arange(400) // 200,
            "w": np.arange(400) * 0.5,
        }
    )


def told(frame: polars.DataFrame, plan: Q, profile: str = "default") -> bytes | str:
    """What leaves, to the last bit."""
    roles = {c: r for c, r in ROLES.items() if c in frame.columns}
    policy = Policy(Aggregation(10), Review(), profile=profile)  # type: ignore[arg-type]
    answer = World(remembers=True).add("t", frame, policy, roles, "id").ask(plan.plan)
    if answer.table is None:
        return repr(answer.verdict.findings)
    out = io.BytesIO()
    answer.table.write_ipc(out)
    return out.getvalue()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_of_values_that_count_as_one_the_first_is_not_told(question: str, form: str) -> None:
    one, other = FORMS[form]
    found = [told(frame(*pair), QUESTIONS[question]) for pair in ((one, other), (other, one), (other, other))]
    assert found[0] == found[1] == found[2]
    if form == "zero":
        assert isinstance(found[0], bytes)


def test_a_key_computed_of_a_measure_has_no_sign_of_zero() -> None:
    """Everybody is in one cell, whose key said on which side of a number the first one lies."""
    found = set()
    for edge in (-1.0, 60.0, 300.0):
        q = T.group_by(((w - edge) / 1e9).truncate().alias("q")).agg(pl.len())
        found.add(told(frame(0.0, 0.0), q))
    assert len(found) == 1
    (only,) = found
    assert isinstance(only, bytes)
    (key,) = polars.read_ipc(io.BytesIO(only))["q"].to_list()
    assert not np.signbit(key)


@pytest.mark.parametrize("kind", ["Categorical", "Decimal", "Datetime", "Enum"])
def test_the_order_of_rows_is_not_in_keys_of_other_types(kind: str) -> None:
    words = [str(i % 4) for i in range(400)]
    columns: dict[str, Any] = {
        "Categorical": polars.Series(words, dtype=polars.Categorical),
        "Decimal": polars.Series(words).cast(polars.Decimal(10, 2)),
        "Datetime": polars.Series([int(x) * 10**12 for x in words]).cast(polars.Datetime("us", "Asia/Tokyo")),
        "Enum": polars.Series(words, dtype=polars.Enum(["3", "2", "1", "0", "rare"])),
    }
    rows = polars.DataFrame({"id": np.arange(400), "word": columns[kind]})
    back = rows.reverse().with_columns(word=polars.col("word").reverse().reverse())
    for plan in (T.group_by("word").agg(pl.len()), T.select("word").unique(), T.select(pl.col("word").value_counts())):
        assert told(rows, plan) == told(back, plan)
