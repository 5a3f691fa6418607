"""The only things a cell can call: safe functions, members from the tables, data types."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from bastion_plan.errors import InputError, LanguageError, did_you_mean


class SafeFunction:
    """A function of the language. metered: it takes the cell's `Meter` as first argument."""

    __slots__ = ("call", "doc", "members", "metered", "name")

    def __init__(
        self,
        name: str,
        call: Callable[..., Any],
        *,
        metered: bool = False,
        members: Mapping[str, SafeFunction] | None = None,
        doc: str | None = None,
    ) -> None:
        self.name, self.call, self.metered = name, call, metered
        self.members = dict(members or {})
        self.doc = doc or inspect.getdoc(call) or ""

    @property
    def signature(self) -> str:
        """The parameters, in parentheses."""
        return signature_text(self.call, skip=1 if self.metered else 0)

    def __repr__(self) -> str:
        return f"{self.name}{self.signature}"


class Member:
    """A method of an object, taken from the tables and not called yet."""

    __slots__ = ("call", "name", "owner")

    def __init__(self, owner: str, name: str, call: Callable[..., Any]) -> None:
        self.owner, self.name, self.call = owner, name, call

    @property
    def doc(self) -> str:
        """Its docstring."""
        return inspect.getdoc(self.call) or ""

    @property
    def signature(self) -> str:
        """The parameters, in parentheses."""
        return signature_text(self.call)

    def __repr__(self) -> str:
        return f"{self.owner}.{self.name}{self.signature}"


class Module:
    """A namespace of functions and types (`pl`, `cs`, `datetime`): a table, not a Python module."""

    __slots__ = ("absent", "doc", "entries", "name")

    def __init__(
        self, name: str, entries: Mapping[str, Any], *, doc: str = "", absent: Callable[[str], Any] | None = None
    ) -> None:
        self.name, self.entries, self.doc, self.absent = name, dict(entries), doc, absent

    def read(self, name: str) -> Any:
        """Return an entry.

        Raises:
            BindError: there is none of that name.
        """
        if name in self.entries:
            return self.entries[name]
        if self.absent is not None:
            self.absent(name)
        self._missing(name)
        return None

    def _missing(self, name: str) -> NoReturn:
        msg = f"{self.name} has no {name!r}."
        raise InputError(
            msg, code="plan.bind.member", next_step=did_you_mean(name, self.entries), details={"name": name}
        )

    def __repr__(self) -> str:
        return f"{self.name}: {self.doc}" if self.doc else self.name


def signature_text(call: Callable[..., Any], *, skip: int = 0) -> str:
    """Return the parameters of a callable without annotations, in parentheses."""
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        return "(…)"
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()][skip:]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


def not_callable(value: Any) -> LanguageError:
    """Return the error for something called that cannot be."""
    from bastion.client.habits import PLOT_CALL
    from bastion.client.plotting import Plots

    if isinstance(value, Plots):
        return LanguageError("A plot says which one it is.", code="language.call", next_step=PLOT_CALL)
    msg = f"A {kind_name(value)} cannot be called."
    return LanguageError(
        msg, code="language.call", next_step="Only functions of the language and methods of frames and expressions can."
    )


def kind_name(value: Any) -> str:
    """Return what a value is, in a word for a message."""
    from bastion.client.frames import RemoteLazyFrame
    from bastion.expr.core import Expr

    if isinstance(value, RemoteLazyFrame):
        return "frame"
    if isinstance(value, Expr):
        return "column expression"
    if isinstance(value, SafeFunction | Member):
        return "function"
    if isinstance(value, Module):
        return "namespace"
    if isinstance(value, type):
        return "data type"
    if isinstance(value, str):
        return "text"
    own = {
        "RemoteDataset": "dataset", "RemoteTensor": "tensor", "RemoteArray": "array", "RemoteTokenizer": "tokenizer",
        "_Hashed": "tokenizer", "_Pieces": "tokenizer", "RemoteLearner": "learner", "RemoteRun": "fit",
        "Layer": "layer", "Measured": "measured number", "TrainedModel": "trained model", "ModelCard": "model card",
        "Optimizer": "optimiser", "Schedule": "schedule", "FitEstimate": "estimate",
    }  # fmt: skip
    names = own | {"NoneType": "None", "int": "whole number", "float": "number", "bool": "True or False"}
    return names.get(type(value).__name__, type(value).__name__)
