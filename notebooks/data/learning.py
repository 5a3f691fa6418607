"""The tables that the notebooks about training use: the passengers of the Titanic, and invented people, the same in every run (see samples.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from bastion.policy import Policy, Training, measure, quasi
from bastion.training import RemoteTokenizer

PURPOSES = ("car", "home", "business", "other")
THANKS = ("thank you", "thanks", "great", "love it", "good and quick", "happy with it", "it was quick", "all good")
COMPLAINTS = (
    "broken",
    "it is late",
    "i want a refund",
    "bad",
    "never again",
    "wrong order",
    "very slow",
    "parts are missing",
)
SUBJECTS = ("my order", "the parcel", "a book", "the chair", "your shop", "the lamp")


def survivors() -> pl.DataFrame:
    """Return the passengers of the Titanic, in numbers and words that a model may learn from."""
    named = ("PassengerId", "Survived", "Pclass", "Sex", "Age", "SibSp", "Parch", "Fare")
    return pl.read_csv(Path(__file__).parent / "titanic.csv").select(named)


def messages(customers: int = 2_400, seed: int = 13) -> pl.DataFrame:
    """Return one message of each customer, and whether it is a complaint."""
    rng = np.random.default_rng(seed)
    complaint = rng.random(customers) < 0.45
    texts = []
    for bad in complaint:
        words = (COMPLAINTS if bad else THANKS)[rng.integers(8)]
        subject = SUBJECTS[rng.integers(len(SUBJECTS))]
        texts.append(f"{subject} {words}" if rng.random() < 0.5 else f"{words} {subject}")
    made = pl.DataFrame({"customer": np.arange(1, customers + 1), "text": texts, "complaint": complaint})
    return RemoteTokenizer(vocabulary()).encode(made, "text", max_length=8)  # type: ignore[no-any-return]


def vocabulary() -> dict[str, int]:
    """Return the words that have a number of their own; it is public."""
    known = sorted({word for some in (THANKS, COMPLAINTS, SUBJECTS) for text in some for word in text.split()})
    return {word: number for number, word in enumerate(known, 2)}


def loans(customers: int = 3_000, seed: int = 17) -> pl.DataFrame:
    """Return one loan of each customer, and whether it was paid back."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, customers)
    income = rng.gamma(4.0, 9_000, customers).clip(0, 120_000).round(-2)
    amount = rng.gamma(2.0, 6_000, customers).clip(500, 60_000).round(-2)
    late = rng.poisson(0.8, customers).clip(0, 10)
    purpose = rng.choice(PURPOSES, customers, p=[0.4, 0.25, 0.15, 0.2])
    score = 1.2 + income / 30_000 - amount / 12_000 - 1.1 * late + (age - 45) / 30 - 0.8 * (purpose == "business")
    paid = score + rng.logistic(0, 0.6, customers) > 0
    return pl.DataFrame(
        {
            "customer": np.arange(1, customers + 1), "age": age, "income": income, "amount": amount, "late_payments": late,
            "purpose": purpose, "paid": paid,
        }
    )  # fmt: skip


def tables() -> dict[str, pl.DataFrame]:
    """Return the tables, by name."""
    return {"survivors": survivors(), "messages": messages(), "loans": loans()}


def policies() -> dict[str, Policy]:
    """Return their policies: answers with noise, and a budget of epsilon 8 for each."""
    return {
        "survivors": Policy.private(
            epsilon=8, delta=1e-5, unit="PassengerId",
            roles={
                "PassengerId": "identifier", "Pclass": quasi(1, 2, 3), "Sex": quasi("female", "male"), "Age": measure(0, 80),
                "SibSp": measure(0, 10), "Parch": measure(0, 10), "Fare": measure(0, 600), "Survived": "sensitive",
            },
        ),
        "messages": Policy.private(
            epsilon=8, delta=1e-6, unit="customer", roles={"customer": "identifier", "text": "hidden", "tokens": "sensitive", "complaint": "sensitive"}
        ),
        "loans": Policy.private(
            epsilon=8, delta=1e-6, unit="customer", training=Training(max_steps=2_000, max_parameters=10_000),
            roles={
                "customer": "identifier", "age": measure(0, 100), "income": measure(0, 120_000), "amount": measure(0, 60_000),
                "late_payments": measure(0, 10), "purpose": quasi(*PURPOSES), "paid": "sensitive",
            },
        ),
    }  # fmt: skip
