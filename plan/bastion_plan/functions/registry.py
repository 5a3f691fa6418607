"""The register itself: every function a plan may use, once.

>>> get("mean").flow
<Flow.SUM: 'sum'>
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bastion_plan.errors import BindError, did_you_mean
from bastion_plan.functions.accepts import WORDS, words
from bastion_plan.functions.refused import REFUSED
from bastion_plan.functions.spec import REDUCING, Flow, Function, Shape

_FUNCTIONS: dict[str, Function] = {}
_ALIASES: dict[str, str] = {}


def register(functions: Iterable[Function]) -> None:
    """Add entries. An entry without a flow class, its reason or a doc line, or of a name already taken, is refused.

    Raises:
        AssertionError: what the entry lacks (a programming error).
    """
    for function in functions:
        if function.name in _FUNCTIONS or function.name in _ALIASES:
            msg = f"{function.name} is registered twice"
            raise AssertionError(msg)
        _check(function)
        _FUNCTIONS[function.name] = function
        for alias in function.aliases:
            _ALIASES[alias] = function.name


def _check(function: Function) -> None:
    """Refuse an entry that the guard or a reader could not rely on."""
    problem = None
    if not isinstance(function.flow, Flow):
        problem = "a flow class"
    elif not function.flow_reason.strip() or not function.flow_reason.endswith("."):
        problem = "a flow reason, one sentence"
    elif not function.doc.strip() or not function.nulls.strip():
        problem = "a doc line and what happens to nulls"
    elif any(a.variadic for a in function.args[:-1]):
        problem = "its variadic argument last"
    elif function.flow in REDUCING and function.shape is not Shape.ONE:
        problem = "one result row, as its flow class reduces"
    elif function.flow is Flow.ELEMENTWISE and function.shape is not Shape.SAME:
        problem = "as many rows out as in, as it is elementwise"
    elif not {w for a in function.args for w in words(a.accepts)} <= WORDS:
        problem = "argument classes that accepts.py knows"
    if problem is not None:
        msg = f"{function.name} needs {problem}"
        raise AssertionError(msg)


def get(name: str) -> Function:
    """Return the entry of a canonical name (aliases do not count: plans hold canonical names only)."""
    try:
        return _FUNCTIONS[name]
    except KeyError:
        msg = f"There is no function {name!r}."
        raise BindError(
            msg,
            reason=REFUSED.get(name, ""),
            code="plan.bind.function",
            next_step=did_you_mean(name, _FUNCTIONS) if name not in REFUSED else "",
        ) from None


def find(name: str) -> Function | None:
    """Return the entry of a name or alias, or None."""
    return _FUNCTIONS.get(_ALIASES.get(name, name))


def all_functions() -> Iterator[Function]:
    """Iterate over all entries, in order of registration."""
    return iter(_FUNCTIONS.values())
