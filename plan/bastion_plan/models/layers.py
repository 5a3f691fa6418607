"""The layers of the cell language: one table of names, parameters, ranges and a line each, and immutable trees made of them.

Cells write `nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))`. Names and parameters are torch's; where a cell
would need a class (a residual, the last state of a recurrent layer) there is a layer for it. What a tree becomes in torch is
said in bastion/client/training/building.py; completion, inspection, checks and docs read this table.
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from bastion_plan.errors import InputError

MAX_WIDTH = 65_536
MAX_LAYERS = 1_000
MAX_DEPTH = 30

#: kinds: int whole number, ints whole number or a tuple of them, float, bool, text (of some words), layers (other layers)
_TABLE = """
# blocks
Sequential(layers): One layer after another.
Residual(layers): What comes in plus what its layers make of it: x + f(x).
Identity(): Changes nothing.
# dense
Linear(in_features int 1..65536, out_features int 1..65536, bias bool = True): Each output is a weighted sum of all inputs.
Flatten(start_dim int 0..7 = 1, end_dim int -8..7 = -1): Puts dimensions into one.
Unflatten(dim int 1..7, sizes ints 1..65536): Makes one dimension into several: nn.Unflatten(1, (1, 28, 28)).
Mean(dim int 1..7): The mean over a dimension: over the words of a text with dim=1.
# each number
ReLU(): max(0, x).
LeakyReLU(negative_slope float 0..1 = 0.01): x, or a small part of it below 0.
GELU(): A smooth ReLU, as in transformers.
SiLU(): x times its sigmoid.
Tanh(): From -1 to 1.
Sigmoid(): From 0 to 1. With loss "bce" leave it out: that takes the numbers before it.
Softmax(dim int -8..7 = -1): Positive numbers that add up to 1. With loss "cross_entropy" leave it out.
Dropout(p float 0..0.99 = 0.5): While training, leaves each number out with probability p.
# pictures and signals: (channels, height, width), (channels, length)
Conv1d(in_channels int 1..65536, out_channels int 1..65536, kernel_size int 1..1024, stride int 1..1024 = 1, padding int 0..1024 = 0, dilation int 1..1024 = 1, groups int 1..65536 = 1, bias bool = True): The same weighted sum at each place of a signal.
Conv2d(in_channels int 1..65536, out_channels int 1..65536, kernel_size ints 1..1024, stride ints 1..1024 = 1, padding ints 0..1024 = 0, dilation ints 1..1024 = 1, groups int 1..65536 = 1, bias bool = True): The same weighted sum at each place of a picture.
MaxPool1d(kernel_size int 1..1024, stride int 1..1024 = None, padding int 0..1024 = 0): The largest of each stretch.
MaxPool2d(kernel_size ints 1..1024, stride ints 1..1024 = None, padding ints 0..1024 = 0): The largest of each square.
AvgPool1d(kernel_size int 1..1024, stride int 1..1024 = None, padding int 0..1024 = 0): The mean of each stretch.
AvgPool2d(kernel_size ints 1..1024, stride ints 1..1024 = None, padding ints 0..1024 = 0): The mean of each square.
AdaptiveAvgPool1d(output_size int 1..1024): Means, as many as are asked for.
AdaptiveAvgPool2d(output_size ints 1..1024): Means, as many as are asked for.
# one scale; each row by itself
GroupNorm(num_groups int 1..65536, num_channels int 1..65536, eps float 0..1 = 1e-05): Brings groups of channels to one scale, row by row; in the place of BatchNorm.
LayerNorm(normalized_shape ints 1..65536, eps float 0..1 = 1e-05): Brings each row to one scale.
# words and series: (length, features)
Embedding(num_embeddings int 1..1000000, embedding_dim int 1..65536, padding_idx int 0..999999 = None): A list of trained numbers for each whole number.
EmbeddingBag(num_embeddings int 1..1000000, embedding_dim int 1..65536, mode text mean|sum = "mean", padding_idx int 0..999999 = None): The mean (or sum) of the embeddings of a row's numbers: a text without order.
PositionalEmbedding(length int 1..65536, embedding_dim int 1..65536): Adds trained numbers for each place.
LSTM(input_size int 1..65536, hidden_size int 1..65536, num_layers int 1..16 = 1, bidirectional bool = False): Reads a series; gives its last state.
GRU(input_size int 1..65536, hidden_size int 1..65536, num_layers int 1..16 = 1, bidirectional bool = False): Reads a series; gives its last state.
SelfAttention(embed_dim int 1..65536, num_heads int 1..256, dropout float 0..0.99 = 0.0): Each place looks at all others.
TransformerEncoderLayer(d_model int 1..65536, nhead int 1..256, dim_feedforward int 1..65536 = 2048, dropout float 0..0.99 = 0.1, activation text relu|gelu = "relu", norm_first bool = False): Attention and two dense layers, with residuals and norms.
"""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. low, high: its range, of whole numbers and floats. words: of a text. default: `...` where it is needed."""

    name: str
    kind: str
    low: float = -math.inf
    high: float = math.inf
    words: tuple[str, ...] = ()
    default: Any = ...

    @property
    def needed(self) -> bool:
        """Whether it must be given."""
        return self.default is ...

    @property
    def range(self) -> str:
        """What it may be, in words."""
        match self.kind:
            case "bool":
                return "True or False"
            case "text":
                return " or ".join(repr(w) for w in self.words)
            case "float":
                return f"a number from {self.low:g} to {self.high:g}"
        several = ", or a tuple of such numbers" if self.kind == "ints" else ""
        return f"a whole number from {self.low:,.0f} to {self.high:,.0f}{several}"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of layer. holds: whether it is made of other layers."""

    name: str
    parameters: tuple[Parameter, ...]
    doc: str
    holds: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer with its values, as a cell wrote it: nothing but data."""

    kind: str
    values: tuple[tuple[str, Any], ...] = ()
    layers: tuple[Layer, ...] = ()

    def __repr__(self) -> str:
        return self._written("")

    def _written(self, indent: str) -> str:
        given = {p.name: p for p in LAYERS[self.kind].parameters}
        parts = [
            repr(value) if given[name].needed else f"{name}={value!r}"
            for name, value in self.values
            if given[name].needed or value != given[name].default
        ]
        if not self.layers:
            return f"nn.{self.kind}({', '.join(parts)})"
        inner = indent + "    "
        return f"nn.{self.kind}(\n" + "".join(f"{inner}{one._written(inner)},\n" for one in self.layers) + f"{indent})"

    def walk(self) -> Iterator[Layer]:
        """Yield it and all layers in it."""
        yield self
        for one in self.layers:
            yield from one.walk()

    @property
    def depth(self) -> int:
        """How deep layers lie in one another."""
        return 1 + max((one.depth for one in self.layers), default=0)

    def value(self, name: str) -> Any:
        """Return the value of a parameter, the default where none was given."""
        return dict(self.values)[name]


def _parameter(text: str) -> Parameter:
    words, given, default = (part.strip() for part in text.partition("="))
    name, kind, span = words.split(" ") if words.count(" ") == 2 else (*words.split(" "), "")
    value: Any = ...
    if given:
        named = {"None": None, "True": True, "False": False}
        if default in named:
            value = named[default]
        elif default.startswith('"'):
            value = default.strip('"')
        else:
            value = float(default) if kind == "float" else int(default)
    if kind == "text":
        return Parameter(name, kind, words=tuple(span.split("|")), default=value)
    low, _, high = span.partition("..")
    return Parameter(name, kind, float(low or "-inf"), float(high or "inf"), default=value)


def _read(line: str) -> Kind:
    found = re.fullmatch(r"(\w+)\((.*?)\): (.*)", line)
    assert found is not None, line
    name, inside, doc = found.groups()
    if inside == "layers":
        return Kind(name, (), doc, holds=True)
    return Kind(name, tuple(_parameter(part) for part in inside.split(", ") if part), doc)


#: all layers, by name
LAYERS: dict[str, Kind] = {
    kind.name: kind for kind in (_read(line) for line in _TABLE.strip().splitlines() if not line.startswith("#"))
}
#: layers that people look for, and what there is in their place
INSTEAD = {
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"), "It puts people's rows together. Use nn.GroupNorm or nn.LayerNorm."),
    "MultiheadAttention": "Use nn.SelfAttention, or nn.TransformerEncoderLayer.",
    "TransformerEncoder": "Write several nn.TransformerEncoderLayer in nn.Sequential.",
    "Module": "Classes cannot be written in cells; put layers together with nn.Sequential and nn.Residual.",
    "ModuleList": "Use nn.Sequential.",
    "RNN": "Use nn.GRU or nn.LSTM.",
    "CrossEntropyLoss": 'Losses are named: loss="cross_entropy".',
    "MSELoss": 'Losses are named: loss="l2".',
    "BCEWithLogitsLoss": 'Losses are named: loss="bce".',
}  # fmt: skip


def absent(name: str) -> NoReturn:
    """Refuse a layer that there is none of.

    Raises:
        InputError: model.layer.
    """
    near = difflib.get_close_matches(name, LAYERS, n=1)
    step = INSTEAD.get(name) or (f"Did you mean nn.{near[0]}?" if near else f"There are: {', '.join(LAYERS)}.")
    raise InputError(
        f"There is no layer nn.{name} in cells.", code="model.layer", next_step=step, details={"name": name}
    )


def signature(kind: Kind) -> inspect.Signature:
    """Return a layer's parameters as Python shows them."""
    if kind.holds:
        return inspect.Signature([inspect.Parameter("layers", inspect.Parameter.VAR_POSITIONAL)])
    place = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature(
        [
            inspect.Parameter(p.name, place, default=inspect.Parameter.empty if p.needed else p.default)
            for p in kind.parameters
        ]
    )


def maker(kind: Kind) -> Callable[..., Layer]:
    """Return the function that makes a layer; its signature and doc are those of the table."""

    def make(*args: Any, **kwargs: Any) -> Layer:
        return made(kind, args, kwargs)

    ranges = "".join(f"\n    {p.name}: {p.range}." for p in kind.parameters)
    make.__name__, make.__doc__ = kind.name, kind.doc + (f"\n\nArgs:{ranges}" if ranges else "")
    make.__signature__ = signature(kind)  # type: ignore[attr-defined]
    return make


def made(kind: Kind, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Layer:
    """Return a layer of checked values.

    Raises:
        InputError: model.layer, with the layer and the parameter.
    """
    if kind.holds:
        return _holding(kind, args, kwargs)
    names = [p.name for p in kind.parameters]
    if len(args) > len(names):
        _refuse(kind, None, f"takes {len(names)} values, and {len(args)} are given.")
    given = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            _refuse(kind, name, f"has no parameter {name!r}.", f"Did you mean {near[0]}?" if near else "")
        if name in given:
            _refuse(kind, name, f"is given {name!r} twice.")
        given[name] = value
    values = []
    for parameter in kind.parameters:
        if parameter.name not in given:
            if parameter.needed:
                _refuse(kind, parameter.name, f"needs {parameter.name!r}: {parameter.range}.")
            values.append((parameter.name, parameter.default))
            continue
        values.append((parameter.name, _checked(kind, parameter, given[parameter.name])))
    layer = Layer(kind.name, tuple(values))
    _together(kind, dict(values))
    return layer


def _holding(kind: Kind, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Layer:
    items = args[0] if len(args) == 1 and isinstance(args[0], list | tuple) else args
    if kwargs:
        _refuse(kind, next(iter(kwargs)), f"has no parameter {next(iter(kwargs))!r}.", "It takes layers alone.")
    if not items:
        _refuse(kind, None, "needs at least one layer.", f"Write nn.{kind.name}(nn.Linear(6, 2)), for example.")
    for place, item in enumerate(items, 1):
        if not isinstance(item, Layer):
            step = (
                "Write it with brackets: nn.ReLU()."
                if callable(getattr(item, "call", item))
                else "Give layers: nn.Linear(6, 2)."
            )
            _refuse(kind, None, f"holds layers alone, and number {place} is none.", step)
    layer = Layer(kind.name, (), tuple(items))
    count = sum(1 for _ in layer.walk())
    if count > MAX_LAYERS or layer.depth > MAX_DEPTH:
        _refuse(kind, None, f"holds too many layers ({MAX_LAYERS:,} in all, {MAX_DEPTH} in one another).")
    return layer


def _checked(kind: Kind, parameter: Parameter, value: Any) -> Any:
    name = parameter.name
    if value is None and parameter.default is None:
        return None
    inside = isinstance(value, int | float) and not isinstance(value, bool) and parameter.low <= value <= parameter.high
    match parameter.kind:
        case "bool":
            good = isinstance(value, bool)
        case "text":
            good = isinstance(value, str) and value in parameter.words
        case "float":
            good = inside
        case _:
            good = inside and isinstance(value, int)
    if parameter.kind == "ints" and isinstance(value, list | tuple):
        alone = Parameter(name, "int", parameter.low, parameter.high)
        good, value = 0 < len(value) <= 8, tuple(_checked(kind, alone, v) for v in value[:8])
    if not good:
        _refuse(kind, name, f"has {name!r} = {_short(value)}.", f"It is {parameter.range}.")
    return float(value) if parameter.kind == "float" else value


def _together(kind: Kind, values: dict[str, Any]) -> None:
    """Check what the values come to together."""
    for width, parts, names in (
        ("num_channels", "num_groups", ("GroupNorm",)),
        ("embed_dim", "num_heads", ("SelfAttention",)),
        ("d_model", "nhead", ("TransformerEncoderLayer",)),
        ("in_channels", "groups", ("Conv1d", "Conv2d")),
        ("out_channels", "groups", ("Conv1d", "Conv2d")),
    ):
        if kind.name in names and values[width] % values[parts]:
            _refuse(kind, parts, f"has {parts!r} = {values[parts]}, which does not divide {width} = {values[width]}.")
    if values.get("padding_idx") is not None and values["padding_idx"] >= values["num_embeddings"]:
        _refuse(kind, "padding_idx", f"has 'padding_idx' = {values['padding_idx']}, beyond its {values['num_embeddings']} numbers.")  # fmt: skip


def _short(value: Any) -> str:
    if isinstance(value, str | int | float | bool | tuple | list | None):
        text = repr(value)
        return text if len(text) <= 40 else text[:37] + "…"
    return f"a {type(value).__name__}"


def _refuse(kind: Kind, parameter: str | None, what: str, step: str = "") -> NoReturn:
    details = {"layer": kind.name} | ({"parameter": parameter} if parameter is not None else {})
    raise InputError(f"nn.{kind.name} {what}", code="model.layer", next_step=step, details=details)
