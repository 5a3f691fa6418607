"""Methods of expressions: one per registry entry, plus the few whose Python spelling needs more than the entry says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import bastion_plan.functions  # noqa: F401  (fills the registry)
from bastion_plan import expressions as px
from bastion_plan.errors import InputError
from bastion_plan.functions import registry
from bastion_plan.functions.spec import Function

from bastion.expr.binding import build, signature
from bastion.expr.core import Expr, all_of, as_plan, no_member, plans
from bastion.expr.dtypes import to_dtype

#: namespace -> name of the attribute's class; filled from the registry by install()
NAMESPACES: dict[str, type[Namespace]] = {}


class Namespace:
    """A group of methods of an expression: `.str`, `.dt`, `.list` …"""

    __slots__ = ("_owner",)
    label = ""

    def __init__(self, owner: Expr) -> None:
        object.__setattr__(self, "_owner", owner)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        msg = "A namespace cannot be changed."
        raise InputError(msg, code="input.immutable")

    def __getattr__(self, name: str) -> NoReturn:
        raise no_member(f"The namespace .{self.label}", name, dir(type(self)))

    def __repr__(self) -> str:
        return f"{self._owner!r}.{self.label}"


def _method(function: Function, name: str, *, namespaced: bool) -> Callable[..., Expr]:
    if namespaced:

        def method(self: Any, *args: Any, **kwargs: Any) -> Expr:
            return build(function, (self._owner.plan,), args, kwargs)
    else:

        def method(self: Any, *args: Any, **kwargs: Any) -> Expr:
            return build(function, (self.plan,), args, kwargs)

    method.__name__ = name
    method.__qualname__ = f"Expr.{function.name}"
    method.__doc__ = f"{function.doc}\n\nNulls: {function.nulls}.\n\nGuard: {function.flow} - {function.flow_reason}"
    method.__signature__ = signature(function, bound=False)  # type: ignore[attr-defined]
    return method


def install() -> None:
    """Give `Expr` its methods and namespaces from the registry; methods written by hand below win."""
    for function in registry.all_functions():
        if not function.method:
            continue
        for spelling in (function.name, *function.aliases):
            namespace, _, name = spelling.rpartition(".")
            if namespace == "pl":
                continue
            if namespace:
                cls = NAMESPACES.get(namespace) or _namespace(namespace)
                if name not in vars(cls):
                    setattr(cls, name, _method(function, name, namespaced=True))
            elif name not in vars(Expr):
                setattr(Expr, name, _method(function, name, namespaced=False))
    for name, by_hand in SPECIAL.items():
        setattr(Expr, name, by_hand)
    for namespace, methods in SPECIAL_IN.items():
        cls = NAMESPACES.get(namespace) or _namespace(namespace)
        for name, by_hand in methods.items():
            setattr(cls, name, by_hand)


def _namespace(label: str) -> type[Namespace]:
    cls = type(
        f"{label.capitalize()}Namespace",
        (Namespace,),
        {"__slots__": (), "label": label, "__doc__": f"Methods of .{label}"},
    )
    NAMESPACES[label] = cls
    setattr(Expr, label, property(lambda self: cls(self), doc=f"The methods of .{label}"))
    return cls


# ---- by hand --------------------------------------------------------------------------------------------------------


def _alias(self: Expr, name: str) -> Expr:
    """Rename the output."""
    if not isinstance(name, str):
        msg = "alias needs a name."
        raise InputError(msg, code="input.arguments", next_step='Write .alias("name").')
    return Expr(px.Alias(self.plan, name))


def _cast(self: Expr, dtype: Any, *, strict: bool = True, wrap_numerical: bool = False) -> Expr:
    """Change the data type; strict: a value that does not fit is an error, else it becomes null."""
    return Expr(px.Cast(self.plan, to_dtype(dtype), bool(strict), bool(wrap_numerical)))


def _over(
    self: Expr,
    partition_by: Any = None,
    *more_exprs: Any,
    order_by: Any = None,
    descending: bool = False,
    nulls_last: bool = False,
    mapping_strategy: str = "group_to_rows",
) -> Expr:
    """Compute per group of `partition_by`, on every row of the group."""
    keys = plans([k for k in (partition_by, *more_exprs) if k is not None])
    order = plans([order_by]) if order_by is not None else ()
    if not keys and not order:
        msg = "over needs partition_by or order_by."
        raise InputError(msg, code="input.arguments", next_step='Write .over("column").')
    if mapping_strategy not in {"group_to_rows", "join", "explode"}:
        msg = "mapping_strategy has to be 'group_to_rows', 'join' or 'explode'."
        raise InputError(msg, code="input.option")
    return Expr(px.Over(self.plan, keys, order, bool(descending), bool(nulls_last), mapping_strategy))


def _filter(self: Expr, *predicates: Any, **constraints: Any) -> Expr:
    """Keep the values of rows for which all predicates are true."""
    return Expr(px.Call("filter", (self.plan, all_of(predicates, constraints))))


def _exclude(self: Expr, columns: Any, *more_columns: Any) -> Expr:
    """Leave columns out of a selection of several."""
    from bastion.expr.selectors import exclude_from

    return Expr(exclude_from(self.plan, columns, *more_columns))


def _sort_by(
    self: Expr,
    by: Any,
    *more_by: Any,
    descending: bool | list[bool] = False,
    nulls_last: bool | list[bool] = False,
    multithreaded: bool = True,
    maintain_order: bool = False,
) -> Expr:
    """Sort by other expressions."""
    del multithreaded
    keys = plans([by, *more_by])
    function = registry.get("sort_by")
    flags = {"descending": _flags(descending), "nulls_last": _flags(nulls_last), "maintain_order": maintain_order}
    known = {o.name: o for o in function.options}
    options = tuple(
        sorted(
            (k, v) for k, v in flags.items() if k in known and v != _flags(known[k].default) and v != known[k].default
        )
    )
    return Expr(px.Call("sort_by", (self.plan, *keys), options))


def _flags(value: Any) -> Any:
    if isinstance(value, bool):
        return (value,)
    return tuple(bool(v) for v in value) if isinstance(value, list | tuple) else value


def _replace(self: Expr, old: Any, new: Any = ..., **more: Any) -> Expr:
    """Replace values: a mapping {old: new}, or two lists."""
    function = registry.get("replace")
    old, new = _mapping(old, new)
    return build(function, (self.plan,), (old, new), more)


def _replace_strict(self: Expr, old: Any, new: Any = ..., *, default: Any = ..., return_dtype: Any = None) -> Expr:
    """Replace all values: a mapping {old: new}, or two lists; what is in neither becomes `default` or is an error."""
    function = registry.get("replace_strict")
    old, new = _mapping(old, new)
    more: dict[str, Any] = {} if return_dtype is None else {"return_dtype": return_dtype}
    if default is None:
        from bastion.expr.translate import explicit_null

        more["default"] = explicit_null([self.plan, as_plan(old), as_plan(new)], "replace_strict")
    elif default is not ...:
        more["default"] = default
    return build(function, (self.plan,), (old, new), more)


def _fill_null(
    self: Expr,
    value: Any = None,
    strategy: str | None = None,
    limit: int | None = None,
) -> Expr:
    """Replace nulls by a value or a strategy (forward, backward, min, max, mean, zero, one)."""
    if (value is None) == (strategy is None):
        msg = "fill_null takes either a value or a strategy."
        raise InputError(
            msg, code="input.arguments", next_step='Write .fill_null(0) or .fill_null(strategy="forward").'
        )
    if strategy is None:
        return build(registry.get("fill_null"), (self.plan,), (value,), {})
    if strategy in {"forward", "backward"}:
        return build(registry.get(f"{strategy}_fill"), (self.plan,), (), {} if limit is None else {"limit": limit})
    options = {"strategy": strategy} | ({} if limit is None else {"limit": limit})
    return build(registry.get("fill_null_strategy"), (self.plan,), (), options)


def _mapping(old: Any, new: Any) -> tuple[Any, Any]:
    if isinstance(old, Mapping):
        return list(old.keys()), list(old.values())
    if new is ...:
        msg = "replace needs a mapping, or old and new values."
        raise InputError(msg, code="input.arguments", next_step="Write .replace({'old': 'new'}).")
    old_values = list(old) if isinstance(old, list | tuple) else old if isinstance(old, Expr) else [old]
    new_values = list(new) if isinstance(new, list | tuple) else new if isinstance(new, Expr) else [new]
    return old_values, new_values


def _pipe(self: Expr, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call `function(self, …)` here, on the expression (never on values)."""
    return function(self, *args, **kwargs)


def _name_change(kind: str, doc: str) -> Callable[..., Expr]:
    def method(self: Any, *values: str) -> Expr:
        wanted = {"prefix": 1, "suffix": 1, "replace": 2}.get(kind, 0)
        if len(values) != wanted or not all(isinstance(v, str) for v in values):
            msg = f"name.{kind} takes {wanted or 'no'} string{'' if wanted == 1 else 's'}."
            raise InputError(msg, code="input.arguments")
        return Expr(px.NameChange(self._owner.plan, kind, values))

    method.__name__, method.__doc__ = kind, doc
    return method


def _name_map(self: Any, function: Any) -> NoReturn:
    """Refused: it would run Python."""
    from bastion.expr.core import refuse_python

    del self, function
    refuse_python("name.map")


SPECIAL: dict[str, Any] = {
    "alias": _alias,
    "cast": _cast,
    "over": _over,
    "filter": _filter,
    "where": _filter,
    "exclude": _exclude,
    "sort_by": _sort_by,
    "replace": _replace,
    "replace_strict": _replace_strict,
    "pipe": _pipe,
    "fill_null": _fill_null,
}
SPECIAL_IN: dict[str, dict[str, Any]] = {
    "name": {
        "keep": _name_change("keep", "Keep the name of the first column."),
        "prefix": _name_change("prefix", "Put a prefix before the name."),
        "suffix": _name_change("suffix", "Put a suffix after the name."),
        "to_lowercase": _name_change("to_lowercase", "The name in lower case."),
        "to_uppercase": _name_change("to_uppercase", "The name in upper case."),
        "replace": _name_change("replace", "Replace a pattern in the name."),
        "map": _name_map,
    }
}
for _table in (SPECIAL, *SPECIAL_IN.values()):
    for _spelling, _function in _table.items():
        if _function.__name__.startswith("_"):
            _function.__name__ = _spelling

install()
