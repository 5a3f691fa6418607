"""Facts of small invented datasets, for tests of the store."""

from __future__ import annotations

from pathlib import Path

from bastion_plan.dtypes import INT64, STRING
from bastion_policy.facts import ColumnFacts, ColumnMeasures, DatasetFacts, PrivateFacts
from bastion_policy.model import Policy
from bastion_policy.roles import measure, quasi
from bastion_server.store import KeyRing, SealedFiles, SealedRef, load_or_create

COLUMNS = (ColumnFacts("age", INT64, measure(0, 120)), ColumnFacts("ward", STRING, quasi(), domain=("a", "b")))
PRIVATE = PrivateFacts(100, 90, 3, {"age": ColumnMeasures(1, 50, 0.0, 99.0), "ward": ColumnMeasures(0, 2)})


def facts(identifier: str = "d-1", name: str = "patients", **changes: object) -> DatasetFacts:
    """Return facts of a table of two columns."""
    values: dict[str, object] = {
        "id": identifier,
        "name": name,
        "version": 1,
        "columns": COLUMNS,
        "policy": Policy.default(),
        "owner": "olga",
        "unit_domain": identifier,
    }
    return DatasetFacts(**values | changes)  # type: ignore[arg-type]


def seal(sealed: SealedFiles, data: bytes) -> SealedRef:
    """Write a sealed file."""
    with sealed.writer() as writer:
        writer.write(data)
        return writer.commit()


def sealed_in(directory: Path) -> SealedFiles:
    """Return sealed files in a directory of their own."""
    directory.mkdir(parents=True, exist_ok=True)
    return SealedFiles(directory / "sealed", KeyRing(load_or_create(directory)))
