"""600 people of whom one is told apart by age, guarded and unguarded: what the attacks on the judge are after."""

from __future__ import annotations

import numpy as np
import polars
from bastion_policy.model import Policy, Role, RoleKind
from drive import World
from query import Q

import bastion.expressions as pl

N = 600
TARGET = 137
ROLES: dict[str, Role | str] = {
    "id": "identifier", "name": "hidden", "age": "quasi", "sex": "quasi", "town": "quasi", "salary": Role(RoleKind.MEASURE),
    "hiv": "sensitive", "debt": Role(RoleKind.MEASURE), "points": "quasi", "tags": "quasi",
}  # fmt: skip


def people() -> polars.DataFrame:
    rng = np.random.default_rng(7)
    age = rng.integers(20, 80, N)
    age[TARGET] = 97
    salary = np.round(rng.normal(50_000, 9_000, N), 2)
    salary[TARGET] = 81_234.56
    debt = np.round(rng.exponential(100, N), 2)
    debt[TARGET] = 98_765.43
    hiv = rng.random(N) < 0.3
    hiv[TARGET] = True
    return polars.DataFrame(
        {
            "id": np.arange(1000, 1000 + N),
            "name": [f"person {i}" for i in range(N)],
            "age": age,
            "sex": rng.choice(["f", "m"], N),
            "town": rng.choice(["a", "b", "c", "d"], N),
            "salary": salary,
            "hiv": hiv,
            "debt": debt,
            "points": rng.integers(0, 1000, N),
            "tags": [[int(i), int(i) + 1] for i in rng.integers(0, 9, N)],
        }
    )


PEOPLE = people()
SALARY = float(PEOPLE["salary"][TARGET])
DEBT = float(PEOPLE["debt"][TARGET])
NAME = PEOPLE["name"][TARGET]
ID = int(PEOPLE["id"][TARGET])
TOTAL = float(PEOPLE["salary"].sum())
guarded = World().add("t", PEOPLE, Policy.default(), ROLES)
unguarded = World().add("t", PEOPLE, Policy.open(), ROLES | {"name": "quasi"})
T = Q("t")
target = pl.col("age") == 97
salary, debt, age = pl.col("salary"), pl.col("debt"), pl.col("age")
