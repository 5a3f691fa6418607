"""Calls in their one canonical form, and the check of a call against the register.

`make_call` is what builders and translators use; `check_call` is what the binder asks of every call it is sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bastion_plan.dtypes import NULL
from bastion_plan.errors import BindError, did_you_mean
from bastion_plan.expressions import AnyExpr, Call, Literal, freeze
from bastion_plan.functions.packing import unpack
from bastion_plan.functions.registry import get
from bastion_plan.functions.spec import Arg, Function, Option

LEFT_OUT = Literal(NULL)


def make_call(name: str, args: Sequence[AnyExpr], options: Mapping[str, Any] | None = None) -> Call:
    """Return the canonical call of a registered function.

    Options at their default and optional arguments left out at the end are dropped, whole numbers become floats where
    the option is one, and options are sorted.

    Raises:
        BindError: unknown function or option, a wrong number of arguments, an option of the wrong kind.
    """
    function = get(name)
    kept = list(args)
    while (
        len(kept) > 1
        and len(kept) <= len(function.args)
        and function.args[len(kept) - 1].optional
        and kept[-1] == LEFT_OUT
    ):
        kept.pop()
    packed = []
    for key, given in (options or {}).items():
        option = _known(function, key)
        constant = freeze(given)
        if option.kind == "float" and isinstance(constant, int) and not isinstance(constant, bool):
            constant = float(constant)
        if option.kind == "numbers" and isinstance(constant, tuple):
            constant = tuple(float(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in constant)
        if not _identical(constant, freeze(option.default)) or option.required:
            packed.append((key, constant))
    call = Call(name, tuple(kept), tuple(sorted(packed, key=lambda pair: pair[0])))
    check_call(call)
    return call


def parameters(function: Function, count: int) -> tuple[Arg, ...]:
    """Return the description of each of `count` arguments; a variadic one is repeated.

    Raises:
        BindError: the function does not take that many.
    """
    args = function.args
    if args and args[-1].variadic:
        fixed = args[:-1]
        least = len(fixed) + (0 if args[-1].optional else 1)
        described = (*fixed, *(args[-1],) * max(0, count - len(fixed)))
        fits = count >= least
    else:
        least = sum(not a.optional for a in args)
        described = args[:count]
        fits = least <= count <= len(args)
    if not fits:
        variadic = bool(args) and args[-1].variadic
        wanted = f"{least}" if least == len(args) and not variadic else f"at least {least}"
        msg = f"{function.name} takes {wanted} argument(s), the input included; {count} were given."
        raise BindError(msg, code="plan.bind.arguments", next_step=_usage(function))
    return described


def check_call(call: Call) -> Function:
    """Return the entry of a call whose number of arguments and options fit it.

    Raises:
        BindError: unknown function or option, a wrong number of arguments, a constant of the wrong kind, or options
            that are not in the canonical form.
    """
    function = get(call.function)
    for arg, given in zip(parameters(function, len(call.args)), call.args, strict=True):
        if arg.constant and not isinstance(given, Literal):
            msg = f"{function.name}: {arg.name} must be a constant."
            raise BindError(msg, code="plan.bind.constant", next_step=_usage(function))
    names = [name for name, _ in call.options]
    if names != sorted(set(names)):
        msg = f"The options of {function.name} are not in order, or repeated."
        raise BindError(msg, code="plan.bind.option", next_step="Sort them by name.")
    for name, constant in call.options:
        option = _known(function, name)
        check_option(function, option, constant)
        if not option.required and _identical(constant, freeze(option.default)):
            msg = f"{function.name}: the option {name} is at its default and must be left out."
            raise BindError(msg, code="plan.bind.option", next_step="Build calls with make_call().")
    for option in function.options:
        if option.required and option.name not in names:
            msg = f"{function.name} needs {option.name}."
            raise BindError(msg, code="plan.bind.option", next_step=_usage(function))
    return function


def _known(function: Function, name: str) -> Option:
    option = function.option(name)
    if option is None:
        msg = f"{function.name} has no option {name!r}."
        hint = did_you_mean(name, [o.name for o in function.options])
        raise BindError(msg, code="plan.bind.option", next_step=hint or _usage(function))
    return option


def check_option(function: Function, option: Option, constant: Any) -> None:
    """Raise BindError unless a constant is of the option's kind, among its choices and within its limits."""
    if constant is None and option.nullable:
        return
    if not _is_kind(option.kind, constant):
        msg = f"{function.name}: {option.name} must be {_KINDS[option.kind]}."
    elif option.choices and constant not in option.choices:
        msg = f"{function.name}: {option.name} must be one of {', '.join(map(repr, option.choices))}."
    elif option.minimum is not None and _outside(constant, lambda v: v < option.minimum):
        msg = f"{function.name}: {option.name} must be at least {option.minimum}."
    elif option.maximum is not None and _outside(constant, lambda v: v > option.maximum):
        msg = f"{function.name}: {option.name} must be at most {option.maximum}."
    else:
        return
    raise BindError(msg, code="plan.bind.option", next_step=_usage(function))


_KINDS = {
    "bool": "True or False",
    "int": "a whole number",
    "float": "a number",
    "number": "a number",
    "str": "a string",
    "strings": "a list of strings",
    "numbers": "a list of numbers",
    "bools": "a list of True and False",
    "dtype": "a data type",
    "any": "a constant",
}


def _is_kind(kind: str, constant: Any) -> bool:
    match kind:
        case "bool":
            return isinstance(constant, bool)
        case "int":
            return isinstance(constant, int) and not isinstance(constant, bool)
        case "float":
            return isinstance(constant, float)
        case "number":
            return isinstance(constant, int | float) and not isinstance(constant, bool)
        case "str":
            return isinstance(constant, str)
        case "strings":
            return isinstance(constant, tuple) and all(isinstance(v, str) for v in constant)
        case "numbers":
            return isinstance(constant, tuple) and all(_is_kind("number", v) for v in constant)
        case "bools":
            return isinstance(constant, tuple) and all(isinstance(v, bool) for v in constant)
        case "dtype":
            unpack(constant)
            return True
        case _:
            return True


def _outside(constant: Any, test: Any) -> bool:
    values = constant if isinstance(constant, tuple) else (constant,)
    return any(isinstance(v, int | float) and (math.isnan(v) or test(v)) for v in values)


def _identical(a: Any, b: Any) -> bool:
    """Equality that tells 1, 1.0 and True apart."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_identical, a, b))
    return type(a) is type(b) and bool(a == b)


def _usage(function: Function) -> str:
    shown = [("*" if a.variadic else "") + a.name + ("=…" if a.optional else "") for a in function.args]
    shown += [o.name if o.required else f"{o.name}={o.default!r}" for o in function.options]
    return f"Usage: {function.name}({', '.join(shown)})."
