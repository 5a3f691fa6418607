"""Which registered function a node of Polars' serialised tree is: found by calling Polars and comparing.

For a node, candidates come from the registry by the tag under which Polars serialises them. Each candidate is called on
placeholder columns with options read out of the node; where the tree of that call fits the node, the placeholders stand
for the arguments. So a translation is right by construction: the function, called with these options, *is* this node.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgpack
import polars as pl
from bastion_plan.dtypes import DType
from bastion_plan.errors import BastionError
from bastion_plan.functions import registry
from bastion_plan.functions.calls import check_option
from bastion_plan.functions.packing import pack
from bastion_plan.functions.spec import Arg, Function, Option

from bastion.expr.dtypes import to_polars
from bastion.expr.serialised import read_dtype, series_of, whole

Tree = Any
#: what a match gives: the function, its arguments as trees (None: left out), its options
Match = tuple[Function, list[Tree | None], dict[str, Any]]

_PLACEHOLDER = "\x00arg"
_MAX_TRIES = 3_000
_MISSING = object()
#: nodes that are expressions of their own, not settings of a function
NODES = frozenset(
    [
        "Alias", "Column", "Selector", "BinaryExpr", "Cast", "Sort", "Gather", "SortBy", "Agg", "Ternary", "Function", "Explode",
        "Filter", "Over", "Rolling", "Slice", "KeepName", "RenameAlias", "Field", "AnonymousFunction", "AnonymousAgg", "Eval",
        "StructEval", "SubPlan", "DataTypeFunction",
    ]
)  # fmt: skip


def tree_of(expr: pl.Expr) -> Tree:
    """Return the tree Polars serialises an expression to. The binary form keeps NaN and infinities apart."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = expr.meta.serialize(format="binary")
    return msgpack.unpackb(data, strict_map_key=False, raw=False)


def recognise(node: Tree) -> Match | None:
    """Return the registered function a node is, with its arguments; None where it is none."""
    for function in _candidates(node):
        for present, count in _shapes(function, node):
            found = _try(function, node, present, count)
            if found is not None:
                return found
    return None


def _candidates(node: Tree) -> list[Function]:
    tags = set(_tags(node))
    return [f for tag in sorted(tags, key=len, reverse=True) for f in _by_tag().get(tag, ())]


def _tags(node: Tree) -> Iterator[str]:
    """Yield the tags a node may be registered under: "Agg/Mean", "Function/StringExpr/Contains", "Slice" …"""
    if isinstance(node, str):
        yield node
        return
    kind, content = next(iter(node.items()))
    yield kind
    if kind == "Agg":
        yield f"Agg/{next(iter(content))}"
    if kind == "Function":
        path = "Function"
        inner = content["function"]
        while True:
            name = inner if isinstance(inner, str) else next(iter(inner)) if isinstance(inner, dict) and inner else None
            if not isinstance(name, str):
                return
            path = f"{path}/{name}"
            yield path
            if not isinstance(inner, dict):
                return
            inner = inner[name]
            if isinstance(inner, dict) and ("function" in inner or "function_by" in inner):
                inner = inner.get("function", inner.get("function_by"))


@lru_cache(maxsize=1)
def _by_tag() -> dict[str, list[Function]]:
    table: dict[str, list[Function]] = {}
    for function in registry.all_functions():
        for tag in function.polars_json:
            table.setdefault(tag, []).append(function)
    for candidates in table.values():  # the same node: pl.concat_list takes what is no list, too
        candidates.sort(key=lambda function: function.name == "list.concat")
    return table


# ---- shapes of a call ------------------------------------------------------------------------------------------------


def _shapes(function: Function, node: Tree) -> Iterator[tuple[tuple[bool, ...], int]]:
    """Yield which arguments to give, and how many variadic ones."""
    args = function.args
    optional = [i for i, a in enumerate(args) if a.optional and not a.variadic]
    variadic = bool(args) and args[-1].variadic
    counts = range(min(_children(node), 200), -1, -1) if variadic else (0,)
    for count in counts:
        # left out before given: a null that is given although leaving it out means something else is told apart by that
        for chosen in itertools.product((False, True), repeat=len(optional)):
            given = dict(zip(optional, chosen, strict=True))
            yield tuple(given.get(i, True) for i in range(len(args))), count


def _children(node: Tree) -> int:
    """Return an upper bound of how many arguments the node holds."""
    if not isinstance(node, dict):
        return 0
    content = next(iter(node.values()))
    if isinstance(content, dict):
        lists = [len(v) for v in content.values() if isinstance(v, list)]
        return max([*lists, 2]) + 1
    return 2


def _call(
    function: Function, present: tuple[bool, ...], count: int, options: dict[str, Any], constant: bytes | None = None
) -> pl.Expr:
    """Return the Polars expression of the call on placeholder columns. constant: values of an argument that is no expression."""
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    index = 0
    for arg, given in zip(function.args, present, strict=True):
        if arg.variadic:
            positional += [_placeholder(index + i) for i in range(count)]
            continue
        if _is_constant(arg):
            positional.append(series_of(constant))
        elif given:
            if arg.optional or arg.keyword:
                keywords[arg.name] = _placeholder(index)
            else:
                positional.append(_placeholder(index))
        index += 1
    for name, constant in options.items():
        option = function.option(name)
        is_dtype = option is not None and option.kind == "dtype" and isinstance(constant, DType)
        keywords[name] = (
            to_polars(constant) if is_dtype else list(constant) if isinstance(constant, tuple) else constant
        )
    return _invoke(function, positional, keywords)


def _is_constant(arg: Arg) -> bool:
    return arg.constant and arg.list_is_column


def _placeholder(index: int) -> pl.Expr:
    return pl.col(f"{_PLACEHOLDER}{index}")


def _invoke(function: Function, positional: list[Any], keywords: dict[str, Any]) -> pl.Expr:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        match function.name:
            case "list.concat":
                return positional[0].list.concat(positional[1:])  # type: ignore[no-any-return]
            case "fill_null_strategy":
                return positional[0].fill_null(**keywords)  # type: ignore[no-any-return]
            case "pl.format":
                return pl.format(keywords["f_string"], *positional)
        if not function.method:
            return getattr(pl, function.short_name)(*positional, **keywords)  # type: ignore[no-any-return]
        owner = getattr(positional[0], function.namespace) if function.namespace else positional[0]
        return getattr(owner, function.short_name)(*positional[1:], **keywords)  # type: ignore[no-any-return]


# ---- fitting ---------------------------------------------------------------------------------------------------------


def _try(function: Function, node: Tree, present: tuple[bool, ...], count: int) -> Match | None:
    leaves = _leaves(node)
    constant: bytes | None = None
    if any(map(_is_constant, function.args)):
        constant = next((v for _, v in leaves if isinstance(v, bytes) and len(v) > 100), None)
        if constant is None:
            return None
    names = [o.name for o in function.options]
    choices = [_values_for(o, leaves) for o in function.options]
    order = itertools.islice(_best_first([len(c) for c in choices]), _MAX_TRIES)
    for picks in order:
        options = {n: c[i] for n, c, i in zip(names, choices, picks, strict=True) if c[i] is not _MISSING}
        tree = _pattern(function, present, count, _frozen(options), constant)
        if tree is None or "Column" in tree:
            continue
        bound: dict[int, Tree] = {}
        if _fits(tree, node, bound) or _fits(_unaliased(function, tree), node, bound := {}):
            return function, _arguments(function, present, count, bound, constant), _packed(function, options)
    return None


def _frozen(options: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((k, type(v).__name__, v) for k, v in options.items())  # type: ignore[misc]


@lru_cache(maxsize=8192)
def _pattern(
    function: Function, present: tuple[bool, ...], count: int, options: tuple[Any, ...], constant: bytes | None
) -> Tree | None:
    """Return the tree of the call; None where Polars refuses it."""
    try:
        return tree_of(_call(function, present, count, {k: v for k, _, v in options}, constant))
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            return None
        raise


def _unaliased(function: Function, tree: Tree) -> Tree:
    """Return the tree without the outer name that Polars gives some calls."""
    if function.output_name is not None and isinstance(tree, dict) and "Alias" in tree:
        return tree["Alias"][0]
    return tree


def _fits(pattern: Tree, node: Tree, bound: dict[int, Tree]) -> bool:
    """Whether a node is the pattern with trees in place of the placeholders; `bound` is filled with these."""
    stack = [(pattern, node)]
    while stack:
        want, have = stack.pop()
        if isinstance(want, dict) and len(want) == 1 and isinstance(want.get("Column"), str):
            name = want["Column"]
            if name.startswith(_PLACEHOLDER):
                index = int(name.removeprefix(_PLACEHOLDER))
                if bound.setdefault(index, have) != have or not _is_expression(have):
                    return False
                continue
        if isinstance(want, dict) and isinstance(have, dict):
            if want.keys() != have.keys():
                return False
            stack.extend((want[k], have[k]) for k in want)
        elif isinstance(want, list) and isinstance(have, list):
            if len(want) != len(have):
                return False
            stack.extend(zip(want, have, strict=True))
        elif type(want) is not type(have) or (want != have and not (want != want and have != have)):
            return False
    return True


def _is_expression(tree: Tree) -> bool:
    return tree in ("Len", "Element") or (
        isinstance(tree, dict) and len(tree) == 1 and next(iter(tree)) in {*NODES, "Literal"}
    )


def _arguments(
    function: Function, present: tuple[bool, ...], count: int, bound: dict[int, Tree], constant: bytes | None
) -> list[Tree | None]:
    out: list[Tree | None] = []
    index = 0
    for arg, given in zip(function.args, present, strict=True):
        if arg.variadic:
            out += [bound.get(index + i) for i in range(count)]
        elif _is_constant(arg):
            out.append({"Literal": {"Series": constant}})
            index += 1
        else:
            out.append(bound.get(index) if given else None)
            index += 1
    return out


def _packed(function: Function, options: dict[str, Any]) -> dict[str, Any]:
    return {k: pack(v) if isinstance(v, DType) else v for k, v in options.items()}


# ---- options out of a node -------------------------------------------------------------------------------------------


def _leaves(node: Tree) -> list[tuple[str, Any]]:
    """Return the settings in a node with the name they stand under: everything that is no expression of its own."""
    out: list[tuple[str, Any]] = []
    stack: list[tuple[str, Any, bool]] = [("", node, True)]
    while stack:
        name, item, top = stack.pop()
        if isinstance(item, dict):
            if not top and len(item) == 1 and next(iter(item)) in NODES and not _is_setting(item):
                continue
            out.append((name, item))
            stack.extend((str(k), v, False) for k, v in item.items())
        elif isinstance(item, list):
            out.append((name, item))
            stack.extend((name, v, False) for v in item[:64])
        else:
            out.append((name, item))
    return out


def _is_setting(item: dict[str, Any]) -> bool:
    """Whether a dict that looks like a node is a setting of a function (families share names with nodes)."""
    content = next(iter(item.values()))
    return next(iter(item)) in {"BinaryExpr", "Filter", "Slice", "Sort"} and not (
        isinstance(content, dict) and len(content) > 1
    )


def _values_for(option: Option, leaves: list[tuple[str, Any]]) -> list[Any]:
    """Return the values an option may have had, likeliest first; its default is tried before all others."""
    named, fitting = [], []
    for name, raw in leaves:
        for value in _readings(option, raw):
            (named if name == option.name or _SYNONYMS.get(name) == option.name else fitting).append(value)
    values = [*named, *fitting, *(option.choices if option.kind != "any" else ())]
    if not option.required:
        values.insert(0, _MISSING)
    if option.nullable and (option.required or option.default is not None):
        values.append(None)
    if option.kind == "any":
        values += [False, True]
    out: list[Any] = []
    for value in values:
        if not any(type(v) is type(value) and v == value for v in out):
            out.append(value)
    return out[:10] or [_MISSING]


_SYNONYMS = {"min_periods": "min_samples", "closed_window": "closed", "method": "interpolation"}


def _readings(option: Option, raw: Any) -> Iterator[Any]:
    """Yield the values of an option's kind that a setting may stand for."""
    for value in _raw_readings(option.kind, raw):
        try:
            check_option(_ANY, option, pack(value) if isinstance(value, DType) else value)
        except BastionError:
            continue
        yield value


_ANY = Function("option", (), lambda given: given.first, flow="", flow_reason="", doc="")  # type: ignore[arg-type]


def _raw_readings(kind: str, raw: Any) -> Iterator[Any]:
    match kind:
        case "bool":
            if isinstance(raw, bool):
                yield raw
                yield not raw
        case "int":
            if (
                isinstance(raw, int | bytes)
                and not isinstance(raw, bool)
                and (not isinstance(raw, bytes) or len(raw) == 16)
            ):
                yield whole(raw)
                if isinstance(raw, bytes):
                    return
        case "float" | "number":
            if isinstance(raw, float):
                yield raw
            elif isinstance(raw, int) and not isinstance(raw, bool):
                yield float(raw) if kind == "float" else raw
        case "str":
            if isinstance(raw, str):
                yield raw
                yield _snake(raw)
                if raw in _UNIT_WORDS:
                    yield _UNIT_WORDS[raw]
            elif isinstance(raw, dict) and "nsecs" in raw:
                yield _duration(raw)
            elif isinstance(raw, dict) and set(raw) == {"format", "insertions"}:
                yield _format(raw)
            elif isinstance(raw, dict) and set(raw) == {"inner"}:
                yield raw["inner"]
        case "strings" | "numbers" | "bools":
            yield from _sequences(kind, raw)
        case "dtype":
            try:
                yield read_dtype(raw)
            except (BastionError, KeyError, TypeError, IndexError):
                return
        case _:
            if isinstance(raw, str | bool | int | float):
                yield raw
            yield from _sequences("strings", raw)


def _sequences(kind: str, raw: Any) -> Iterator[Any]:
    wanted = {"strings": str, "numbers": int | float, "bools": bool}[kind]
    if isinstance(raw, bytes) and len(raw) > 100:
        try:
            raw = series_of(raw).to_list()
        except BastionError:
            return
    if isinstance(raw, bool) and kind == "bools":
        yield (raw,)
    if isinstance(raw, list) and all(isinstance(v, wanted) for v in raw):
        yield tuple(float(v) if kind == "numbers" else v for v in raw)


_UNIT_WORDS = {"Milliseconds": "ms", "Microseconds": "us", "Nanoseconds": "ns"}


def _snake(name: str) -> str:
    """Return a Rust name in Polars' Python spelling: "HalfToEven" is "half_to_even"."""
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _duration(raw: dict[str, Any]) -> str:
    sign = "-" if raw.get("negative") else ""
    if raw.get("parsed_int"):
        return f"{sign}{raw['nsecs']}i"
    parts = [(raw["months"], "mo"), (raw["weeks"], "w"), (raw["days"], "d")]
    text = "".join(f"{count}{unit}" for count, unit in parts if count)
    left = raw["nsecs"]
    for size, unit in (
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ):
        count, left = divmod(left, size)
        text += f"{count}{unit}" if count else ""
    return sign + (text or "0ns")


def _format(raw: dict[str, Any]) -> str:
    text, shift = raw["format"].encode(), 0
    for position in raw["insertions"]:
        text = text[: position + shift] + b"{}" + text[position + shift :]
        shift += 2
    return text.decode()


def _best_first(sizes: list[int]) -> Iterator[tuple[int, ...]]:
    """Yield index tuples in order of their sum: first all likeliest values, then one less likely, and so on."""
    if not sizes:
        yield ()
        return
    limit = sum(s - 1 for s in sizes)
    for total in range(limit + 1):
        yield from _with_sum(sizes, total)


def _with_sum(sizes: list[int], total: int) -> Iterator[tuple[int, ...]]:
    if len(sizes) == 1:
        if total < sizes[0]:
            yield (total,)
        return
    for first in range(min(total, sizes[0] - 1) + 1):
        for rest in _with_sum(sizes[1:], total - first):
            yield (first, *rest)


__all__ = ["NODES", "recognise", "tree_of"]
