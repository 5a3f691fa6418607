"""What an expression is, without running it: its value where names and tables tell, else its kind.

A method is never called: what it gives is known by its name, from the tables below.
"""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
from bastion_plan.errors import BastionError
from bastion_plan.models.layers import Layer

from bastion.client.connection import Connection
from bastion.client.denied import AccessRequest, Denied
from bastion.client.exposure import Exposure
from bastion.client.frames import FetchableLazyFrame, RemoteLazyFrame
from bastion.client.grouping import DynamicGroupBy, RemoteGroupBy, RollingGroupBy
from bastion.client.plotting import PLOT_NAMES, PLOTS, PlotAccessor, Plots
from bastion.client.preview import FakeFrame
from bastion.client.spending import Estimate
from bastion.client.training.datasets import RemoteDataset
from bastion.client.training.learner import RemoteLearner
from bastion.client.training.models import ModelCard, TrainedModel
from bastion.client.training.runs import FitEstimate, Measured, RemoteRun
from bastion.client.training.tensors import RemoteArray, RemoteTensor
from bastion.client.training.tokenizers import RemoteTokenizer
from bastion.client.training.torch_client import TorchClient
from bastion.expr.core import Expr
from bastion.expr.methods import NAMESPACES, Namespace
from bastion.expr.toplevel import Then, When
from bastion.language.builtins import plain_methods
from bastion.language.callables import Member, SafeFunction
from bastion.language.environment import Environment
from bastion.language.inspection import members
from bastion.language.members import MEMBERS
from bastion.language.reading import read_member
from bastion.render.charts import Chart


@dataclass(frozen=True, slots=True)
class Kind:
    """A value that is not known, of a type that is. of: what a list holds."""

    type: type
    of: Kind | None = None


_FRAMES = Kind(list, Kind(FetchableLazyFrame))
_REQUESTS = Kind(list, Kind(AccessRequest))
_TEXTS = Kind(list, Kind(str))
_TABLE = Kind(pl.DataFrame)
#: function of the language -> what it gives
FUNCTIONS: dict[str, Kind] = {
    "dataset": Kind(FetchableLazyFrame), "datasets": _FRAMES, "sql": Kind(RemoteLazyFrame), "upload": Kind(FetchableLazyFrame),
    "concat": Kind(RemoteLazyFrame), "pl.concat": Kind(RemoteLazyFrame), "requests": _REQUESTS, "budget": _TABLE,
    "RemoteLearner": Kind(RemoteLearner), "RemoteDataset": Kind(RemoteDataset), "runs": Kind(list, Kind(RemoteRun)),
    "train_test_split": Kind(list, Kind(RemoteDataset)),
    **dict.fromkeys(["RemoteTokenizer", "RemoteTokenizer.from_file", "RemoteTokenizer.hashed"], Kind(RemoteTokenizer)),
    "connect": Kind(Connection), "summarize": Kind(Estimate), "pl.when": Kind(When), "str": Kind(str), "list": Kind(list),
    "dict": Kind(dict), "len": Kind(int), "int": Kind(int), "float": Kind(float), "round": Kind(float), "tuple": Kind(tuple),
}  # fmt: skip
_GROUPS = dict.fromkeys(["having"], Kind(RemoteGroupBy))
#: type -> member -> what it gives when it is called (or is, where it is no method)
METHODS: dict[type, dict[str, Kind | None]] = {
    RemoteLazyFrame: {
        "fetch": _TABLE, "describe": _TABLE, "safe_part": _TABLE, "explain": Kind(str), "plan_hash": Kind(str), "width": Kind(int),
        "columns": _TEXTS, "dtypes": Kind(list), "schema": Kind(dict), "collect_schema": Kind(dict), "preview": Kind(FakeFrame),
        "summarize": Kind(Estimate), "collect": Kind(FetchableLazyFrame), "save": Kind(FetchableLazyFrame), "delete": None,
        "group_by": Kind(RemoteGroupBy), "groupby": Kind(RemoteGroupBy), "group_by_dynamic": Kind(DynamicGroupBy),
        "groupby_dynamic": Kind(DynamicGroupBy), "rolling": Kind(RollingGroupBy), "groupby_rolling": Kind(RollingGroupBy),
        "exposure": Kind(Exposure), "id": Kind(str), "name": Kind(str), "identifier": Kind(str), "plot": Kind(PlotAccessor),
        "to_dataset": Kind(RemoteDataset), "to_array": Kind(RemoteArray), "to_tensor": Kind(RemoteTensor),
        **dict.fromkeys(PLOT_NAMES, Kind(Chart)), "facet": Kind(Plots),
    },
    RemoteDataset: {
        **dict.fromkeys(["split", "train", "test", "standardise", "scale_by_bounds", "one_hot"], Kind(RemoteDataset)),
        "inputs": Kind(list), "labels": _TEXTS, "columns": _TEXTS, "part": Kind(str),
    },
    RemoteTensor: {"to": Kind(RemoteTensor), "to_tensor": Kind(RemoteTensor), "columns": _TEXTS, "dtype": Kind(str)},
    RemoteTokenizer: {
        "encode": Kind(RemoteLazyFrame), "numbers": Kind(list), "columns": _TEXTS, "size": Kind(int), "padding": Kind(int),
    },
    RemoteLearner: {
        **dict.fromkeys(["fit", "resume", "run"], Kind(RemoteRun)), "summarize": Kind(FitEstimate), "test": Kind(Measured),
        "get_model": Kind(TrainedModel), "model_card": Kind(ModelCard), "plot": Kind(Chart), "loss": Kind(str), "model": Kind(Layer),
    },
    RemoteRun: {
        **dict.fromkeys(["wait", "stop", "refresh"], Kind(RemoteRun)), "test": Kind(Measured), "get_model": Kind(TrainedModel),
        "plot": Kind(Chart), "losses": Kind(list), "metrics": Kind(dict), "delete": None, "id": Kind(str), "state": Kind(str),
    },
    TrainedModel: {"card": Kind(ModelCard), "model_card": Kind(ModelCard), "predict": _TABLE},
    TorchClient: {"RemoteLearner": Kind(RemoteLearner), "list": _FRAMES, "delete": None},
    Connection: {
        "runs": Kind(list, Kind(RemoteRun)), "run": Kind(RemoteRun),
        "dataset": Kind(FetchableLazyFrame), "datasets": _FRAMES, "sql": Kind(RemoteLazyFrame), "frame": Kind(RemoteLazyFrame),
        "requests": _REQUESTS, "request": Kind(AccessRequest), "approve": Kind(AccessRequest), "deny": Kind(AccessRequest),
        "approve_reading": Kind(AccessRequest), "deny_reading": Kind(AccessRequest), "budget": _TABLE, "exposure": Kind(Exposure),
    },
    AccessRequest: {
        "fetch": _TABLE, "wait": _TABLE, "preview": _TABLE, "refresh": Kind(AccessRequest), "approve": Kind(AccessRequest),
        "deny": Kind(AccessRequest), "withdraw": Kind(AccessRequest), "reason": Kind(str), "state": Kind(str), "code": Kind(str),
    },
    Denied: {"safe_part": _TABLE, "wait": _TABLE, "request": Kind(AccessRequest), "reason": Kind(str), "filed": Kind(AccessRequest)},
    pl.DataFrame: {
        "head": _TABLE, "tail": _TABLE, "get_column": Kind(pl.Series), "columns": _TEXTS, "to_dicts": Kind(list, Kind(dict)),
        "rows": Kind(list, Kind(tuple)), "row": Kind(tuple), "schema": Kind(dict), "shape": Kind(tuple),
    },
    pl.Series: {"to_list": Kind(list), "name": Kind(str)},
    Exposure: {"columns": _TABLE, "audiences": _TABLE, "untouched": Kind(tuple)},
    Plots: {**dict.fromkeys([*PLOTS, *PLOT_NAMES], Kind(Chart)), "facet": Kind(Plots)},
    Chart: {"table": _TABLE, "notes": _TEXTS, "denied": Kind(Denied), "spec": Kind(dict)},
    FakeFrame: {"columns": _TEXTS, "schema": Kind(dict), "name": Kind(str)},
}  # fmt: skip
_SAMPLES: dict[type, Any] = {str: "", list: [], tuple: (), dict: {}}
_TEXT_LISTS = {"split", "splitlines", "rsplit"}


def infer(env: Environment, text: str) -> Any:
    """Return the value of an expression, or its `Kind`; None where neither is known. Nothing runs."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(f"({text}\n)", mode="eval")
        return _infer(env, tree.body)
    except (SyntaxError, ValueError, RecursionError, MemoryError, BastionError):
        return None


def _infer(env: Environment, node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return env.lookup(name)
        case ast.Attribute(value=inner, attr=name):
            owner = _infer(env, inner)
            return None if owner is None or name.startswith("_") else member(owner, name)
        case ast.Call(func=function):
            return _called(env, function)
        case ast.Subscript(value=inner, slice=place):
            return _element(_infer(env, inner), place)
        case ast.JoinedStr():
            return Kind(str)
        case ast.List() | ast.ListComp():
            return Kind(list)
        case ast.Dict() | ast.DictComp():
            return Kind(dict)
        case ast.BinOp(left=left, right=right) | ast.Compare(left=left, comparators=[right]):
            return Kind(Expr) if any(is_a(_infer_or_none(env, n), Expr) for n in (left, right)) else None
        case ast.UnaryOp(operand=operand):
            return Kind(Expr) if is_a(_infer(env, operand), Expr) else None
        case _:
            return None


def _infer_or_none(env: Environment, node: ast.expr) -> Any:
    try:
        return _infer(env, node)
    except BastionError:
        return None


def kind_of(value: Any) -> type:
    """Return the type of a value or of a `Kind`."""
    return value.type if isinstance(value, Kind) else type(value)


def is_a(value: Any, kind: type) -> bool:
    """Return whether a value, known or not, is of a type."""
    return value is not None and issubclass(kind_of(value), kind)


def member(owner: Any, name: str) -> Any:
    """Return a member of a value or of a `Kind`; None where it is not known.

    Raises:
        BastionError: a value that has none of that name.
    """
    if not isinstance(owner, Kind):
        return read_member(owner, name)
    if name not in _table(owner.type):
        return None
    method = getattr(owner.type, name, None)
    if inspect.isfunction(method) or (callable(method) and not isinstance(method, type)):
        return Member(owner.type.__name__, name, _unbound(method))
    if issubclass(owner.type, Expr) and name in NAMESPACES:
        return Kind(NAMESPACES[name])
    if owner.type in _SAMPLES:
        return read_member(_SAMPLES[owner.type], name)
    return _given(owner.type, name)


def _unbound(method: Any) -> Callable[..., Any]:
    """Return a method's face without `self`, for its signature and doc; it is never called."""

    def face(*args: Any, **kwargs: Any) -> None: ...

    face.__doc__ = inspect.getdoc(method)
    try:
        found = inspect.signature(method)
    except (TypeError, ValueError):
        return face
    face.__signature__ = found.replace(parameters=list(found.parameters.values())[1:])  # type: ignore[attr-defined]
    return face


def _called(env: Environment, function: ast.expr) -> Any:
    """Return what a call gives."""
    if isinstance(function, ast.Attribute):
        owner = _infer(env, function.value)
        if owner is None:
            return None
        kind = kind_of(owner)
        if kind is str and function.attr in _TEXT_LISTS:
            return _TEXTS
        found = _given(kind, function.attr)
        if found is not None or function.attr in _known(kind):
            return found
        if not (kind.__name__ == "Module" or isinstance(owner, SafeFunction)):
            return None
    callable_ = _infer(env, function)
    if isinstance(callable_, SafeFunction):
        if callable_.name in FUNCTIONS:
            return FUNCTIONS[callable_.name]
        if callable_.name.startswith("nn."):
            return Kind(Layer)
        return Kind(Expr) if callable_.name.startswith(("pl.", "cs.")) else None
    return Kind(callable_) if isinstance(callable_, type) else None


def _known(kind: type) -> dict[str, Kind | None]:
    return {name: found for base in kind.__mro__[::-1] for name, found in METHODS.get(base, {}).items()}


def _given(kind: type, name: str) -> Kind | None:
    """Return what a member of a type gives."""
    known = _known(kind)
    if name in known:
        return known[name]
    if name not in _table(kind):
        return None
    if issubclass(kind, RemoteLazyFrame):
        return Kind(RemoteLazyFrame)
    if issubclass(kind, RemoteGroupBy | DynamicGroupBy | RollingGroupBy):
        return _GROUPS.get(name, Kind(RemoteLazyFrame))
    if issubclass(kind, When):
        return Kind(Then)
    if issubclass(kind, Then) and name == "when":
        return Kind(When)
    if issubclass(kind, Expr | Namespace):
        return Kind(NAMESPACES[name]) if name in NAMESPACES and issubclass(kind, Expr) else Kind(Expr)
    return Kind(str) if kind is str else None


def _element(owner: Any, place: ast.expr) -> Any:
    if isinstance(owner, Kind):
        if owner.type is pl.DataFrame:
            return Kind(pl.Series)
        return owner if isinstance(place, ast.Slice) else owner.of
    if isinstance(owner, pl.DataFrame):
        return Kind(pl.Series) if isinstance(place, ast.Constant) and isinstance(place.value, str) else None
    if isinstance(place, ast.UnaryOp) and isinstance(place.op, ast.USub) and isinstance(place.operand, ast.Constant):
        key: Any = -place.operand.value if isinstance(place.operand.value, int) else None  # type: ignore[operator]
    else:
        key = place.value if isinstance(place, ast.Constant) else None
    if isinstance(owner, list | tuple):
        if isinstance(key, int) and not isinstance(key, bool) and -len(owner) <= key < len(owner):
            return owner[key]
        return owner if isinstance(place, ast.Slice) else None
    return owner.get(key) if isinstance(owner, dict) and isinstance(key, str | int) else None


def _table(kind: type) -> dict[str, Any]:
    if kind in _SAMPLES:
        return plain_methods(_SAMPLES[kind])
    for base in kind.__mro__:
        if base in MEMBERS:
            return MEMBERS[base]
    return {}


def members_of(value: Any) -> list[str]:
    """Return what may stand after the dot of a value or of a `Kind`, sorted."""
    return sorted(_table(value.type)) if isinstance(value, Kind) else members(value)
