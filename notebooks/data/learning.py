"""The tables that the notebooks about training use: invented people, the same in every run, and scikit-learn's open data (see samples.py)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl

from bastion.policy import Aggregation, Policy, Review, Training, measure, quasi
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


#: what the ten figures of a nucleus may come to, as an owner would declare it: each has a mean, a deviation and a worst value
NUCLEUS = {
    "radius": 40, "texture": 60, "perimeter": 300, "area": 5_000, "smoothness": 0.3, "compactness": 1.5, "concavity": 1.5,
    "concave points": 0.4, "symmetry": 0.8, "fractal dimension": 0.3,
}  # fmt: skip
BIOPSIES = {
    named: most for pattern in ("mean {}", "{} error", "worst {}") for name, most in NUCLEUS.items() for named in [pattern.format(name)]
}  # fmt: skip


def digits() -> pl.DataFrame:
    """Return scikit-learn's 1,797 handwritten digits: 8 by 8 pixels from -1 to 1, and which it is; each has a writer of its own."""
    from sklearn.datasets import load_digits

    pixels, digit = load_digits(return_X_y=True)
    scaled = pl.Series((pixels / 8 - 1).astype("f4"), dtype=pl.Array(pl.Float32, 64))
    return pl.DataFrame({"writer": np.arange(1, len(digit) + 1), "pixels": scaled, "digit": digit})


def breast_cancer() -> pl.DataFrame:
    """Return scikit-learn's 569 biopsies: thirty figures of the nuclei of cells, and whether the tumour is benign."""
    from sklearn.datasets import load_breast_cancer

    figures, benign = load_breast_cancer(return_X_y=True)
    table = pl.DataFrame(figures, schema=list(BIOPSIES))
    return table.with_columns(patient=np.arange(1, len(benign) + 1), benign=pl.Series(benign == 1))


def messages() -> pl.DataFrame:
    """Return one message of each customer, as text and as numbers of its words, and whether it is a complaint."""
    return tokenizer().encode(feedback(2_400, 13), "text", max_length=8)  # type: ignore[no-any-return]


def feedback(customers: int = 1_200, seed: int = 31) -> pl.DataFrame:
    """Return one message of each customer as text, and whether it is a complaint."""
    rng = np.random.default_rng(seed)
    complaint = rng.random(customers) < 0.45
    texts = []
    for bad in complaint:
        words = (COMPLAINTS if bad else THANKS)[rng.integers(8)]
        subject = SUBJECTS[rng.integers(len(SUBJECTS))]
        texts.append(f"{subject} {words}" if rng.random() < 0.5 else f"{words} {subject}")
    return pl.DataFrame({"customer": np.arange(1, customers + 1), "text": texts, "complaint": complaint})


def tokenizer() -> RemoteTokenizer:
    """Return what makes numbers of words: tokenizer.json, which is public."""
    return RemoteTokenizer.from_file(Path(__file__).parent / "tokenizer.json")


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


def open_data() -> dict[str, pl.DataFrame]:
    """Return what comes with scikit-learn, where that is installed."""
    return {} if find_spec("sklearn") is None else {"digits": digits(), "breast_cancer": breast_cancer()}


def tables() -> dict[str, pl.DataFrame]:
    """Return the tables, by name."""
    return {"messages": messages(), "feedback": feedback(), "loans": loans(), **open_data()}


def policies() -> dict[str, Policy]:
    """Return their policies: answers with noise, and a budget of epsilon 8 for each; feedback has the default one."""
    return {
        "messages": Policy.private(
            epsilon=8, delta=1e-6, unit="customer", roles={"customer": "identifier", "text": "hidden", "tokens": "sensitive", "complaint": "sensitive"}
        ),
        "feedback": Policy(Aggregation(10), Review(), unit="customer"),
        "loans": Policy.private(
            epsilon=8, delta=1e-6, unit="customer", training=Training(max_steps=2_000, max_parameters=10_000),
            roles={
                "customer": "identifier", "age": measure(0, 100), "income": measure(0, 120_000), "amount": measure(0, 60_000),
                "late_payments": measure(0, 10), "purpose": quasi(*PURPOSES), "paid": "sensitive",
            },
        ),
        "digits": Policy.private(
            epsilon=8, delta=1e-5, unit="writer", roles={"writer": "identifier", "pixels": "sensitive", "digit": "sensitive"}
        ),
        "breast_cancer": Policy.private(
            epsilon=8, delta=1e-5, unit="patient",
            roles={"patient": "identifier", "benign": "sensitive", **{name: measure(0, most) for name, most in BIOPSIES.items()}},
        ),
    }  # fmt: skip
