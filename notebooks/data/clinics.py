"""Invented patients of two clinics and a laboratory: tables to combine. `samples.py` uploads them."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

from bastion.policy import Aggregation, Policy, Review

#: ward, with its share of the patients and the usual days
WARDS = (("surgery", 0.34, 5), ("medicine", 0.3, 7), ("maternity", 0.2, 3), ("cardiology", 0.16, 6))
NORTH, SOUTH = 2_400, 1_800


def clinic(first: int, people: int, seed: int) -> pl.DataFrame:
    """Return the patients of a clinic in 2023, one row each; `first` is the number of the first one."""
    rng = np.random.default_rng(seed)
    ward = rng.choice(len(WARDS), people, p=[share for _, share, _ in WARDS])
    age = np.clip(rng.normal(58, 17, people).round(), 18, 95).astype(np.int64)
    age[ward == 2] = rng.integers(19, 44, int((ward == 2).sum()))
    return pl.DataFrame(
        {
            "patient": np.arange(first, first + people),
            "sex": np.where(ward == 2, "f", rng.choice(["f", "m"], people)),
            "age": age,
            "ward": [WARDS[w][0] for w in ward],
            "admitted": [date(2023, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 365, people)],
            "days": np.clip(rng.poisson([WARDS[w][2] for w in ward]), 1, 30).astype(np.int64),
            "returned": (rng.random(people) < 0.08 + 0.001 * age).astype(np.int64),
        }
    )


def north() -> pl.DataFrame:
    """Return the patients of the clinic in the north."""
    return clinic(1, NORTH, 11)


def south() -> pl.DataFrame:
    """Return the patients of the clinic in the south: other people, the same columns."""
    return clinic(NORTH + 1, SOUTH, 12)


def laboratory(seed: int = 13) -> pl.DataFrame:
    """Return the haemoglobin of seven in ten patients of both clinics."""
    rng = np.random.default_rng(seed)
    patients = np.arange(1, NORTH + SOUTH + 1)
    tested = np.sort(rng.choice(patients, int(0.7 * len(patients)), replace=False))
    return pl.DataFrame({"patient": tested, "haemoglobin": rng.normal(13.6, 1.4, len(tested)).round(1)})


def policy() -> Policy:
    """Return the policy of all three: they are about the same people, and what is told of one counts in the others."""
    return Policy(Aggregation(10), Review(), unit="patient", unit_domain="patients", rows_per_unit=1)


def tables() -> dict[str, pl.DataFrame]:
    """Return the tables by name."""
    return {"clinic_north": north(), "clinic_south": south(), "laboratory": laboratory()}
