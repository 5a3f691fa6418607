"""What a sealed file is, as far as its key is bound to that: a catalogue that was changed cannot have one taken for another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bastion_server.store.runs import Run


def rows_of(version: int) -> str:
    """Rows of one version of a dataset: an earlier version opens under no later policy."""
    return f"dataset {version}"


def approved_by(grant: str) -> str:
    """What one approval gave."""
    return f"approved {grant}"


def of_run(run: Run, kind: str) -> str:
    """A file of a fit (kind "checkpoint" or "weights"), for who began it, with noise or without."""
    return f"{kind} {run.id} {run.requester} {'noisy' if run.spec.private else f'exact {run.grant}'}"
