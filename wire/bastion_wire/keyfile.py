"""Files of keys: a line of comment and some fields, all text, as TOML; those that hold a secret are their owner's alone to read."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

from bastion_plan.errors import InputError

_MAX_FILE = 4096


def text_of(comment: str, **fields: str) -> str:
    """Return the text of a file of keys."""
    import tomli_w

    return f"# {comment}\n{tomli_w.dumps(fields)}"


def read(path: Path, *, secret: bool = False) -> str:
    """Return the text of a file of keys.

    Raises:
        InputError: input.key-file, it cannot be read; input.key-file-mode, a secret one that others may read; input.public-key,
            it is none.
    """
    try:
        with path.open("rb") as file:
            if secret and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                msg = "The secret key file can be read by other users of this machine."
                raise InputError(
                    msg, code="input.key-file-mode", next_step="Run chmod 600 on it; better, make a new key."
                )
            data = file.read(_MAX_FILE + 1)
    except OSError:
        msg = f"The key file {path.name!r} cannot be read."
        raise InputError(
            msg, code="input.key-file", next_step="Check the path, or run `bastion keys create NAME`."
        ) from None
    if len(data) > _MAX_FILE:
        raise bad("The file is too long.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise bad("The file is not text.") from None


def fields_of(text: str, *names: set[str]) -> dict[str, str]:
    """Return the fields of a text. names: which there are, in each of its forms.

    Raises:
        InputError: input.public-key, other fields, or not TOML.
    """
    try:
        fields = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        raise bad("The text is not TOML.") from None
    if fields.keys() not in names or not all(isinstance(value, str) for value in fields.values()):
        raise bad(f"The fields are {', '.join(sorted(names[0]))}, all text.")
    return fields


def bad(reason: str) -> InputError:
    """Return the error of a file, or a text, that is none of ours."""
    msg = "This is not a BastionLab key file."
    return InputError(msg, code="input.public-key", reason=reason)
