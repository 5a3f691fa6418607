"""From the code of an error back to its class."""

from __future__ import annotations

from bastion_plan import errors


def _tree(root: type[errors.BastionError]) -> dict[str, type[errors.BastionError]]:
    found = {root.default_code: root} if "default_code" in vars(root) else {}
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:  # a subclass elsewhere may be made differently
            found.update(_tree(child))
    return found


def from_code(code: str) -> type[errors.BastionError]:
    """Return the error class whose default code is the longest dotted prefix of `code`, else BastionError.

    >>> from_code("wire.auth.unknown-key").__name__
    'NotAuthorised'
    """
    known = _tree(errors.BastionError)
    while code:
        if code in known:
            return known[code]
        code = code.rpartition(".")[0]
    return errors.BastionError
