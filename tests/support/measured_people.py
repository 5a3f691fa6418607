"""600 people with odd values in one of them, guarded and unguarded, as people and as rows."""

from __future__ import annotations

import numpy as np
import polars
from bastion_policy.model import Policy, Role, RoleKind
from drive import World
from query import Q

import bastion.expressions as pl

N, TARGET, SALARY = 600, 137, 81_234.56
MEASURE = Role(RoleKind.MEASURE)
ROLES: dict[str, Role | str] = {
    "id": "identifier", "age": "quasi", "sex": "quasi", "salary": MEASURE, "debt": Role(RoleKind.MEASURE, 0, 1000),
    "hiv": "sensitive", "died": MEASURE, "gain": MEASURE, "bonus": MEASURE, "code": "sensitive", "a8": "quasi",
    "p8": "quasi", "points": MEASURE, "score": Role(RoleKind.MEASURE, 0, 930),
}  # fmt: skip


def people() -> polars.DataFrame:
    rng = np.random.default_rng(7)
    age = rng.integers(20, 80, N)
    age[TARGET] = 97
    salary = np.round(rng.normal(50_000, 9_000, N), 2)
    salary[TARGET] = SALARY
    debt = np.round(rng.uniform(0, 1000, N), 2)
    debt[TARGET] = 98_765.43
    gain = np.round(rng.uniform(0, 100, N), 2)
    gain[TARGET] = -4321.5
    bonus = np.zeros(N)
    bonus[TARGET] = 7777.77
    hiv = rng.random(N) < 0.3
    hiv[TARGET] = True
    code = [str(i) for i in rng.integers(0, 9, N)]
    code[TARGET] = "x"
    return polars.DataFrame(
        {
            "id": np.arange(1000, 1000 + N),
            "age": age,
            "sex": rng.choice(["f", "m"], N),
            "salary": salary,
            "debt": debt,
            "hiv": hiv,
            "died": [2020.0 if i == TARGET else None for i in range(N)],
            "gain": gain,
            "bonus": bonus,
            "code": code,
            "a8": age.astype(np.int8),
            "p8": rng.integers(0, 9, N).astype(np.int8),
            "points": rng.integers(0, 1000, N),
            "score": rng.uniform(0, 930, N),
        }
    )


PEOPLE = people()
UNITS: dict[str, str | None] = {"rows": None, "people": "id"}
guarded = {k: World().add("t", PEOPLE, Policy.default(), ROLES, unit=u) for k, u in UNITS.items()}
unguarded = {k: World().add("t", PEOPLE, Policy.open(), ROLES, unit=u) for k, u in UNITS.items()}
T = Q("t")
age, salary, debt, gain, bonus = (pl.col(c) for c in ("age", "salary", "debt", "gain", "bonus"))
