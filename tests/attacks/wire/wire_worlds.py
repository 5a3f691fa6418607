"""The tables that are attacked, twice: equal but for what is secret about one person.

An attack that is right must be right in both worlds; who guesses is not. The attacker knows the person's public traits
(`AGE`, `SEX`, `TOWN`, `ID`), and everybody else's rows where an attack says so.
"""

from __future__ import annotations

import numpy as np
import polars
from bastion_policy.model import Role, RoleKind

N = 600
TARGET = 137
AGE, ID, SEX, TOWN, PLACE, CLINIC = 97, 1000 + TARGET, "f", "a", TARGET % 10, 3
LOW, HIGH = 81_000.0, 82_000.0  #: the target's salary lies between them in the first world only

#: secrets of the target in the two worlds
SECRETS: tuple[dict[str, object], dict[str, object]] = (
    {
        "salary": 81_234.56, "debt": 98_765.43, "rent": 98_765.43, "hiv": True, "disease": "rare", "bonus": 7777.77,
        "died": 2020.0, "gain": -4321.5, "code": "x", "name": "person 137", "clinic": True, "spend": 951.23, "job": "astronaut",
    },
    {
        "salary": 74_321.12, "debt": 43_210.98, "rent": 43_210.98, "hiv": False, "disease": "d1", "bonus": 1234.56,
        "died": 1999.0, "gain": -1234.5, "code": "5", "name": "somebody else 9", "clinic": False, "spend": 412.77, "job": "clerk",
    },
)  # fmt: skip

_BOUNDS = {
    "salary": (0, 120_000), "debt": (0, 100_000), "rent": (0, 100_000), "bonus": (0, 10_000), "died": (1900, 2030),
    "gain": (-5000, 5000), "points": (0, 1000), "score": (0, 930), "spend": (0, 1000), "pay": (0, 120_000), "steps": (0, 120_000),
    "fee": (0, 120_000), "loan": (0, 1000), "dose": (0, 120_000), "wage": (0, 120_000), "rate": (0, 100), "tip": (0, 100),
}  # fmt: skip
#: measures of which a row of a person tells nothing of their other rows
_VARYING = frozenset({"wage", "rate", "tip"})
#: of the target in the two worlds: of each pair of days, which has the higher rate; and how long the list of diagnoses is
RATES, DIAGNOSES = (2930, 1234), (11, 5)


def role_of(column: str) -> Role:
    """Return the declared role of a column of any of the tables."""
    if column in _BOUNDS:
        lower, upper = _BOUNDS[column]
        return Role(RoleKind.MEASURE, float(lower), float(upper), varies=column in _VARYING)
    if column in ("id", "card"):
        return Role(RoleKind.IDENTIFIER)
    if column == "name":
        return Role(RoleKind.HIDDEN)
    if column in ("hiv", "disease", "code", "grade", "diagnoses"):
        return Role(RoleKind.SENSITIVE)
    return Role(RoleKind.QUASI)


def people(world: int) -> polars.DataFrame:
    """Return one row per person."""
    secret, rng = SECRETS[world], np.random.default_rng(7)

    def with_target(values: np.ndarray, column: str) -> list[object]:
        found: list[object] = values.tolist()
        found[TARGET] = secret[column]
        return found

    age = rng.integers(20, 80, N)
    age[TARGET] = AGE
    sex = np.array(["m", "f"])[np.arange(N) % 2]
    town = rng.choice(["a", "b", "c", "d"], N)
    town[TARGET] = TOWN
    clinic = rng.choice([1, 2, 4, 5, 6, 7, 8], N)
    members = [TARGET, *range(200, 214)]
    clinic[members] = CLINIC
    hiv = rng.random(N) < 0.3
    hiv[members] = bool(secret["clinic"])
    grade = np.array(["hi", "mid", "lo"])[(np.arange(N) * 7) % 3]
    grade[members] = "hi" if secret["clinic"] else "lo"
    floor = [7] * 6 + [8] * 6 + [None if i % 20 == TARGET % 20 else 1 for i in range(12, N)]
    tags = [[int(i), int(i) + 1] for i in rng.integers(0, 9, N)]
    columns: dict[str, object] = {
        "id": np.arange(1000, 1000 + N),
        "name": with_target(np.array([f"person {i}" for i in range(N)]), "name"),
        "age": age,
        "sex": sex,
        "town": town,
        "place": np.arange(N) % 10,
        "clinic": clinic,
        "floor": floor,
        "ward": [str(f) if f else "(other)" for f in floor],
        "job": with_target(rng.choice(["clerk", "cook", "nurse"], N), "job"),
        "tags": tags,
        "marks": tags,
        "share": np.where(age == AGE, 1.0, 0.0).astype(np.float32),
        "a8": age.astype(np.int8),
        "p8": rng.integers(0, 9, N).astype(np.int8),
        "salary": with_target(np.round(rng.normal(50_000, 9_000, N).clip(10_000, 73_000), 2), "salary"),
        "debt": with_target(np.round(rng.exponential(100, N), 2), "debt"),
        "rent": with_target(np.round(rng.uniform(50, 70, N), 2), "rent"),
        "points": rng.integers(0, 1000, N),
        "score": rng.uniform(0, 930, N),
        "bonus": with_target(np.zeros(N), "bonus"),
        "died": [secret["died"] if i == TARGET else None for i in range(N)],
        "gain": with_target(np.round(rng.uniform(0, 100, N), 2), "gain"),
        "hiv": with_target(hiv, "hiv"),
        "disease": with_target(np.array([f"d{i}" for i in rng.integers(0, 3, N)]), "disease"),
        "grade": grade,
        "code": with_target(rng.integers(0, 9, N).astype(str), "code"),
        # one in twenty has none
        "loan": [None if i % 20 == TARGET % 20 else int(v) for i, v in enumerate(rng.integers(100, 900, N))],
        "dose": [float(secret["salary"]) if i == TARGET else np.nan for i in range(N)],  # type: ignore[arg-type]
    }
    return polars.DataFrame(columns, strict=False)


def visits(world: int) -> polars.DataFrame:
    """Return three rows per person."""
    rows = people(world).select("id", "age", "sex", "town", "salary", "hiv")
    return polars.concat([rows.with_columns(day=polars.lit(i)) for i in range(3)])


def shifts(world: int) -> polars.DataFrame:
    """Return 24 days per person. rate: of the target the higher one of two days is the secret; tip: none on the first of them."""
    rng, rows = np.random.default_rng(6), people(world).select("id", "age", wage="salary")
    rate = np.round(rng.uniform(10, 90, (N, 24)), 2)
    for i in range(12):
        rate[TARGET, 2 * i : 2 * i + 2] = (60, 40) if RATES[world] >> i & 1 else (40, 60)
    tip = [None if i % 2 == 0 else 1.0 for i in range(24)]
    return polars.concat(
        rows.with_columns(day=polars.lit(i), rate=rate[:, i], tip=polars.lit(tip[i], polars.Float64)) for i in range(24)
    )


def wages(world: int) -> polars.DataFrame:
    """Return three days per person."""
    return shifts(world).filter(polars.col("day") < 3)


def lists(world: int) -> polars.DataFrame:
    """Return one row per person, with a list of diagnoses."""
    lengths = np.random.default_rng(8).integers(1, 16, N)
    lengths[TARGET] = DIAGNOSES[world]
    return people(world).select("id", "age").with_columns(diagnoses=polars.Series([["d"] * int(k) for k in lengths]))


def payments(world: int) -> polars.DataFrame:
    """Return 12 to 20 rows per person, whose town is a market of its own for the target."""
    rng = np.random.default_rng(3)
    rows = []
    for i, count in enumerate(rng.integers(12, 21, 80)):
        each = np.round(rng.uniform(0, 40, count), 2).tolist() if i else [float(SECRETS[world]["spend"])] * 15  # type: ignore[arg-type]
        rows += [(1000 + i, "x" if i == 0 else "abc"[i % 3], value) for value in each]
    return polars.DataFrame(rows, schema=["card", "town", "spend"], orient="row")


def fees(world: int) -> polars.DataFrame:
    """Return one row per person: a fee as high as the salary, and none for a third of the people, who are known."""
    member = np.arange(N) % 3 != (TARGET + 1) % 3
    rows = people(world).select("id", "age", "sex", fee="salary").with_columns(member=member)
    return rows.with_columns(fee=polars.when("member").then("fee").otherwise(0.0))


def months(world: int) -> polars.DataFrame:
    """Return six months per person. pay: another every second month; steps: 100 more each month; fee: always the same."""
    rng, rows = np.random.default_rng(5), fees(world)
    bonus = np.round(rng.uniform(0, 9_000, (N, 3)), 2)
    bonus[:, 0] = 0
    salary = people(world)["salary"]
    return polars.concat(
        rows.with_columns(month=polars.lit(i), pay=salary + bonus[:, i // 2], steps=salary + 100.0 * i)
        for i in range(6)
    )


def others(world: int) -> polars.DataFrame:
    """Return a second table of all people but the target."""
    return people(world).filter(polars.col("age") != AGE).select("id", "sex")


def kin(world: int) -> polars.DataFrame:
    """Return a second table of all people."""
    return people(world).select("id", "points")


def unnamed(world: int) -> polars.DataFrame:
    """Return one row per person, without the hidden column: a hidden column in a join would be refused by itself."""
    return people(world).drop("name")


#: how each table is made, and the column of whom its rows are about
TABLES = {
    "people": (unnamed, "id"),
    "named": (people, "id"),
    "visits": (visits, "id"),
    "shifts": (shifts, "id"),
    "wages": (wages, "id"),
    "lists": (lists, "id"),
    "payments": (payments, "card"),
    "fees": (fees, "id"),
    "months": (months, "id"),
    "others": (others, "id"),
    "kin": (kin, "id"),
}
EVERYBODY_ELSE = people(0).filter(polars.col("age") != AGE)
