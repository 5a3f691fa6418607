"""The only files that a cell opens by a path it wrote: tokenizer files in the notebook's folder.

A notebook comes from somebody else more often than not, so a cell may not be a way to look through its reader's disk.

INVARIANT: what is opened is a plain .json file, in the folder that the kernel works in or below it, in no hidden folder, wherever
links lead. A path that leads elsewhere is refused in the same words whether there is something or not; and a file that is no
tokenizer's in the same words as one that is not there.
"""

from __future__ import annotations

from pathlib import Path

from bastion_plan.errors import InputError

from bastion.client.training.tokenizers import RemoteTokenizer
from bastion.language.limits import Meter


def tokenizer_from_file(meter: Meter, path: str) -> RemoteTokenizer:
    """Read a tokenizer file (tokenizer.json) in the notebook's folder, or below it.

    Args:
        path: from that folder on, as "data/tokenizer.json".

    Raises:
        InputError: train.tokenizer: a path that leads elsewhere; no such file; one that is not read.
    """
    made = RemoteTokenizer.from_file(_beside(path))
    meter.spend(made.weight)
    return made


def _beside(path: str) -> Path:
    """Return where a file lies.

    Raises:
        InputError: train.tokenizer, not in the folder that the kernel works in.
    """
    try:
        here = Path.cwd().resolve()
        found = (here / path).resolve()
        parts = found.relative_to(here).parts
        if found.suffix == ".json" and not any(part.startswith(".") for part in parts):
            return found
    except (OSError, ValueError, TypeError, RuntimeError):  # no path at all, or one that goes round in circles
        pass
    msg = "A cell reads tokenizer files (.json) of the notebook's own folder alone."
    step = 'Put the file beside the notebook, and write RemoteTokenizer.from_file("tokenizer.json").'
    raise InputError(msg, code="train.tokenizer", next_step=step)
