"""Makes the tables of the notebooks: invented people, the same in every run, in the shape of well-known open data.

    .venv/bin/python notebooks/data/samples.py olga

uploads all of them as the owner olga (a name of `bastion keys create`) to the server of your profile, else to the one that
`bastion serve` runs on this machine; without a name, as the profile says. Each comes under the policy that its notebook names.
`make lab` does so for the demo's server. The tables are of nobody: whoever looks like somebody does so by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import clinics
import learning
import numpy as np
import polars as pl
from bastion_plan.errors import BastionError

from bastion.policy import Aggregation, Policy, Review, from_toml

if TYPE_CHECKING:
    from bastion import Connection

HERE = Path(__file__).parent

#: country, as reports spell it, with its share of the cases and its provinces
COUNTRIES = (
    ("US", 0.26, ("New York", "California", "Texas", "Florida")),
    ("Mainland China", 0.14, ("Hubei", "Guangdong", "Henan")),
    ("China", 0.04, ("Hubei",)),
    ("Italy", 0.14, ()),
    ("France", 0.10, ()),
    ("Germany", 0.10, ("Bavaria", "Hesse", "Saxony")),
    ("UK", 0.08, ()),
    ("United Kingdom", 0.05, ()),
    ("India", 0.09, ("Kerala", "Delhi")),
)
AGE_GROUPS = ("0 - 9", "10 - 19", "20 - 29", "30 - 39", "40 - 49", "50 - 59", "60 - 69", "70 - 79", "80+")
AGE_SHARES = (0.03, 0.06, 0.16, 0.17, 0.16, 0.17, 0.12, 0.08, 0.05)
#: category of a purchase, with its share and its usual amount
CATEGORIES = (
    ("gas_transport", 0.11, 63), ("grocery_pos", 0.10, 110), ("home", 0.10, 58), ("shopping_pos", 0.09, 75),
    ("kids_pets", 0.09, 57), ("shopping_net", 0.08, 85), ("entertainment", 0.08, 64), ("food_dining", 0.08, 51),
    ("personal_care", 0.07, 48), ("health_fitness", 0.07, 54), ("misc_pos", 0.06, 62), ("misc_net", 0.05, 80),
    ("travel", 0.02, 110),
)  # fmt: skip
STATES = (("TX", 0.3), ("NY", 0.22), ("PA", 0.2), ("CA", 0.16), ("OH", 0.12))


def covid(people: int = 6_000, seed: int = 2020) -> pl.DataFrame:
    """Return reported cases, one row per person, with the columns of the Johns Hopkins and CDC case tables.

    ObservationDate is text, month first, as reports had it; one country has two spellings; provinces and ages are
    missing here and there. `days_to_report` counts from the first symptom.
    """
    rng = np.random.default_rng(seed)
    country = rng.choice(len(COUNTRIES), people, p=_shares([c[1] for c in COUNTRIES]))
    province = [_pick(rng, COUNTRIES[c][2]) for c in country]
    age = rng.choice(len(AGE_GROUPS), people, p=_shares(AGE_SHARES))
    wave = rng.choice(4, people, p=[0.1, 0.35, 0.3, 0.25])  # months after March
    day = [date(2020, 3 + int(m), 1 + int(d)) for m, d in zip(wave, rng.integers(0, 30, people), strict=True)]
    symptoms = rng.random(people) < 0.55 + 0.04 * age
    hospital = rng.random(people) < np.where(symptoms, 0.04 + 0.045 * age, 0.02)
    died = rng.random(people) < np.where(hospital, 0.04 + 0.035 * age, 0.004)
    frame = pl.DataFrame(
        {
            "case_id": np.arange(1, people + 1),
            "ObservationDate": [d.strftime("%m/%d/%Y") for d in day],
            "Country/Region": [COUNTRIES[c][0] for c in country],
            "Province/State": province,
            "sex": rng.choice(["Female", "Male"], people, p=[0.52, 0.48]),
            "age_group": [AGE_GROUPS[a] for a in age],
            "symptom_status": np.where(symptoms, "Symptomatic", "Asymptomatic"),
            "hospitalised": hospital,
            "died": died,
            "days_to_report": np.clip(rng.gamma(3.0, 2.0, people).round(), 0, 30).astype(np.int64),
        }
    )
    return frame.with_columns(
        pl.when(pl.Series(rng.random(people) >= 0.04)).then("age_group").alias("age_group"),
        pl.when(pl.Series(rng.random(people) >= 0.08)).then("days_to_report").alias("days_to_report"),
    )


def fraud(customers: int = 1_500, seed: int = 2019) -> pl.DataFrame:
    """Return card transactions, some twelve per customer, with the columns of the Sparkov simulation of card fraud.

    The customer is `cc_num`. Fraud comes at night and with large amounts. `job` and `merchant` are missing here and there.
    """
    rng = np.random.default_rng(seed)
    counts = rng.integers(6, 19, customers)
    who = np.repeat(np.arange(customers), counts)
    rows = len(who)
    born = [date(1936, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 64 * 365, customers)]
    gender = rng.choice(["F", "M"], customers, p=[0.54, 0.46])
    state = rng.choice([s for s, _ in STATES], customers, p=_shares([s for _, s in STATES]))
    job = rng.choice(["Teacher", "Nurse", "Engineer", "Clerk", "Driver", "Cook"], customers)
    category = rng.choice(len(CATEGORIES), rows, p=_shares([c[1] for c in CATEGORIES]))
    night = rng.random(rows) < 0.25
    hour = np.where(night, rng.choice([22, 23, 0, 1, 2, 3], rows), rng.integers(4, 22, rows))
    is_fraud = rng.random(rows) < np.where(night, 0.10, 0.02)
    usual = np.array([c[2] for c in CATEGORIES])[category]
    amount = np.clip(rng.gamma(2.0, usual / 2.0) + is_fraud * rng.gamma(3.0, 100.0, rows), 1, 1500).round(2)
    when = [
        datetime(2020, 7, 1) + timedelta(days=int(d), hours=int(h), minutes=int(m))
        for d, h, m in zip(rng.integers(0, 182, rows), hour, rng.integers(0, 60, rows), strict=True)
    ]
    names = rng.integers(0, 400, (2, customers))
    frame = pl.DataFrame(
        {
            "trans_date_trans_time": when,
            "cc_num": 4_000_000_000_000_000 + who * 7_919,
            "merchant": [f"fraud_shop_{m}" for m in rng.integers(0, 60, rows)],
            "category": [CATEGORIES[c][0] for c in category],
            "amt": amount,
            "first": [f"First{n}" for n in names[0][who]],
            "last": [f"Last{n}" for n in names[1][who]],
            "gender": gender[who],
            "street": [f"{n} Main Street" for n in names[1][who]],
            "state": state[who],
            "job": job[who],
            "dob": [born[w] for w in who],
            "is_fraud": is_fraud.astype(np.int64),
        }
    )
    return frame.with_columns(pl.when(pl.Series(rng.random(rows) >= 0.05)).then("job").alias("job"))


def staff(seed: int = 7) -> pl.DataFrame:
    """Return the 240 people of a firm: a shop floor, an office, a board of six, and a laboratory that was ill all over."""
    rng = np.random.default_rng(seed)
    team = np.repeat(["shop", "office", "board", "lab"], [110, 94, 6, 30])
    people = len(team)
    salary = rng.normal(42_000, 6_000, people).round(-2)
    salary[np.flatnonzero(team == "office")[0]] = 50_000_000  # one person is paid ten times as much as all others there
    ill = np.where(team == "lab", True, rng.random(people) < 0.2)
    return pl.DataFrame(
        {
            "person": np.arange(people) + 1,
            "name": [f"Person {n}" for n in range(people)],
            "team": team,
            "sex": rng.choice(["f", "m"], people),
            "salary": salary.astype(np.int64),
            "ill": ill,
        }
    )


def _shares(weights: Sequence[float]) -> np.ndarray:
    """Return weights that add up to 1."""
    return np.asarray(weights) / sum(weights)


def _pick(rng: np.random.Generator, names: Sequence[str]) -> str | None:
    """Return one of the names; now and then, and where there is none, nothing."""
    return None if not names or rng.random() < 0.05 else str(rng.choice(names))


def titanic() -> pl.DataFrame:
    """Return the 891 passengers."""
    return pl.read_csv(HERE / "titanic.csv")


def cabins() -> pl.DataFrame:
    """Return where the passengers lived on board: a second table of the same people, with the letter of the deck."""
    ports = {"C": "Cherbourg", "Q": "Queenstown", "S": "Southampton"}
    return titanic().select(
        "PassengerId",
        pl.col("Cabin").str.slice(0, 1).alias("deck"),
        pl.col("Embarked").replace_strict(ports, default=None).alias("port"),
    )


COVID_POLICY = """
unit = "case_id"
rows_per_unit = 1
profile = "strict"
unsafe = "suppress"

[safe_zone]
aggregation = 10

[roles]
ObservationDate = "quasi"
"Country/Region" = "quasi"
"Province/State" = "quasi"
sex = "quasi"
age_group = "quasi"
symptom_status = "quasi"
hospitalised = "sensitive"
died = "sensitive"
days_to_report = { role = "measure", lower = 0, upper = 30 }
"""

FRAUD_POLICY = """
unit = "cc_num"
profile = "strict"
unsafe = "suppress"

[safe_zone]
aggregation = 10

[roles]
trans_date_trans_time = "quasi"
merchant = "quasi"
category = "quasi"
amt = { role = "measure", lower = 0, upper = 1500 }
first = "hidden"
last = "hidden"
gender = "quasi"
street = "hidden"
state = "quasi"
job = "quasi"
dob = "quasi"
is_fraud = "sensitive"
"""

VOYAGE_POLICY = """
unit = "PassengerId"
rows_per_unit = 1
profile = "strict"
unsafe = "suppress"

[safe_zone]
aggregation = 10

[roles]
Survived = { role = "quasi", domain = [0, 1] }
Pclass = { role = "quasi", domain = [1, 2, 3] }
Sex = { role = "quasi", domain = ["female", "male"] }
Age = "quasi"
SibSp = "quasi"
Parch = "quasi"
Fare = { role = "measure", lower = 0, upper = 600 }
Embarked = { role = "quasi", domain = ["C", "Q", "S"] }
Name = "hidden"
Ticket = "hidden"
Cabin = "hidden"
"""


def policies() -> dict[str, Policy]:
    """Return the policy of each table, by its name."""
    # the two tables of passengers are about the same people: what is told of one counts in the other
    people = Policy(Aggregation(10), Review(), unit="PassengerId", unit_domain="passengers", rows_per_unit=1)
    return {
        "passengers": people.with_hidden(["Name"]),
        "cabins": people,
        "covid": from_toml(COVID_POLICY),
        "fraud": from_toml(FRAUD_POLICY),
        "voyage": from_toml(VOYAGE_POLICY),
        **dict.fromkeys(clinics.tables(), clinics.policy()),
        **learning.policies(),
    }


def tables() -> dict[str, pl.DataFrame]:
    """Return the tables of the notebooks, by name."""
    return {
        "passengers": titanic(),
        "cabins": cabins(),
        "covid": covid(),
        "fraud": fraud(),
        "voyage": titanic(),
        **clinics.tables(),
        **learning.tables(),
    }


def send_all(owner: Connection) -> None:
    """Upload every table under its policy, as the owner; those that are there already stay as they are."""
    rules, there = policies(), {card.facts.name for card in owner.cards()}
    for name, frame in tables().items():
        if name in there:
            print(f"{name} is there already")
        else:
            owner.client.polars.send_df(frame, rules[name], name=name)
            print(f"{name}: {frame.height} rows")


if __name__ == "__main__":
    import sys

    from bastion import Connection

    try:
        with Connection(identity=sys.argv[1] if len(sys.argv) > 1 else None) as owner:
            send_all(owner)
    except BastionError as error:
        sys.exit(str(error))
