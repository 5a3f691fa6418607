"""The register itself: every function a plan may use, once.

>>> get("mean").flow
<Flow.SUM: 'sum'>
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bastion_plan.errors import BindError, did_you_mean
from bastion_plan.functions.spec import Function

_FUNCTIONS: dict[str, Function] = {}
_ALIASES: dict[str, str] = {}


def register(functions: Iterable[Function]) -> None:
    """Add entries. A second entry of one name, or one without a flow reason and a doc line, is a programming error."""
    for function in functions:
        if function.name in _FUNCTIONS or function.name in _ALIASES:
            msg = f"{function.name} is registered twice"
            raise AssertionError(msg)
        if not function.flow_reason or not function.doc:
            msg = f"{function.name} needs a flow reason and a doc line"
            raise AssertionError(msg)
        _FUNCTIONS[function.name] = function
        for alias in function.aliases:
            _ALIASES[alias] = function.name


def get(name: str) -> Function:
    """Return the entry of a canonical name (aliases do not count: plans hold canonical names only)."""
    try:
        return _FUNCTIONS[name]
    except KeyError:
        msg = f"There is no function {name!r}."
        raise BindError(msg, code="plan.bind.function", next_step=did_you_mean(name, _FUNCTIONS)) from None


def find(name: str) -> Function | None:
    """Return the entry of a name or alias, or None."""
    return _FUNCTIONS.get(_ALIASES.get(name, name))


def all_functions() -> Iterator[Function]:
    """Iterate over all entries, in order of registration."""
    return iter(_FUNCTIONS.values())
