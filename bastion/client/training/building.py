"""Layers of the cell language as torch modules. A static table: nothing of a cell's text is ever looked up by name in torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bastion_plan.errors import InputError
from bastion_plan.models.layers import LAYERS, Layer

from bastion.client.training.needs import needs_torch

if TYPE_CHECKING:
    import torch

#: numbers that a model of a cell may hold
MAX_PARAMETERS = 100_000_000


def build(layer: Layer, seed: int | None = None) -> torch.nn.Module:
    """Return the torch module of a tree of layers, with fresh weights.

    Args:
        layer: what a cell wrote. seed: the same one gives the same first weights.

    Raises:
        InputError: train.missing; model.size, more numbers than a model may hold.
    """
    needs_torch()
    import torch

    if not isinstance(layer, Layer):
        msg = f"A {type(layer).__name__} is no model."
        raise InputError(msg, code="model.layer", next_step="Write nn.Sequential(nn.Linear(6, 2)), for example.")
    count = sum(_numbers(one) for one in layer.walk())
    if count > MAX_PARAMETERS:
        msg = f"The model would hold {count:,} numbers; {MAX_PARAMETERS:,} are allowed."
        raise InputError(msg, code="model.size", next_step="Make its widest layers smaller.")
    with torch.random.fork_rng(devices=[]):
        if seed is None:
            torch.seed()
        else:
            torch.manual_seed(seed)
        return _Builder().made(layer)


def _numbers(layer: Layer) -> int:
    """Return about how many numbers a layer holds, before it is made."""
    v: dict[str, Any] = dict(layer.values)
    match layer.kind:
        case "Linear":
            return int(v["out_features"] * (v["in_features"] + 1))
        case "Conv1d" | "Conv2d":
            size = v["kernel_size"]
            each = math.prod(size) if isinstance(size, tuple) else size ** (2 if layer.kind == "Conv2d" else 1)
            return int(v["out_channels"] * (v["in_channels"] // v["groups"] * each + 1))
        case "Embedding" | "EmbeddingBag":
            return int(v["num_embeddings"] * v["embedding_dim"])
        case "PositionalEmbedding":
            return int(v["length"] * v["embedding_dim"])
        case "LSTM" | "GRU":
            gates, ways = (4 if layer.kind == "LSTM" else 3), (2 if v["bidirectional"] else 1)
            wide = (
                v["input_size"] + (v["num_layers"] - 1) * ways * v["hidden_size"] + v["num_layers"] * v["hidden_size"]
            )
            return int(gates * ways * v["hidden_size"] * wide)
        case "SelfAttention":
            return int(4 * v["embed_dim"] ** 2)
        case "TransformerEncoderLayer":
            return int(4 * v["d_model"] ** 2 + 2 * v["d_model"] * v["dim_feedforward"])
        case "LayerNorm":
            shape = v["normalized_shape"]
            return int(2 * (math.prod(shape) if isinstance(shape, tuple) else shape))
    return 0


class _Builder:
    """Makes modules, each from its values."""

    def __init__(self) -> None:
        from torch import nn

        own = _own_modules()
        plain = (
            "Identity", "Linear", "Flatten", "ReLU", "LeakyReLU", "GELU", "SiLU", "Tanh", "Sigmoid", "Softmax", "Dropout",
            "Conv1d", "Conv2d", "MaxPool1d", "MaxPool2d", "AvgPool1d", "AvgPool2d", "AdaptiveAvgPool1d", "AdaptiveAvgPool2d",
            "GroupNorm", "LayerNorm", "Embedding", "EmbeddingBag",
        )  # fmt: skip
        self.table: dict[str, Callable[..., Any]] = {name: getattr(nn, name) for name in plain}
        self.table |= own
        self.table["Unflatten"] = lambda dim, sizes: nn.Unflatten(dim, (sizes,) if isinstance(sizes, int) else sizes)
        self.table["TransformerEncoderLayer"] = lambda **v: nn.TransformerEncoderLayer(**v, batch_first=True)

    def made(self, layer: Layer) -> Any:
        """Return a layer's module."""
        if LAYERS[layer.kind].holds:
            from torch import nn

            inside = [self.made(one) for one in layer.layers]
            return nn.Sequential(*inside) if layer.kind == "Sequential" else self.table["Residual"](*inside)
        return self.table[layer.kind](**dict(layer.values))


def _own_modules() -> dict[str, Callable[..., Any]]:
    """Return the modules that torch has none of by itself."""
    import torch
    from torch import nn

    class Residual(nn.Sequential):
        """x + f(x)."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + super().forward(x)

    class Mean(nn.Module):
        """The mean over a dimension."""

        def __init__(self, dim: int) -> None:
            super().__init__()
            self.dim = dim

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(self.dim)

    class PositionalEmbedding(nn.Module):
        """x plus trained numbers for each place."""

        def __init__(self, length: int, embedding_dim: int) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(length, embedding_dim) * 0.02)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.weight

    class Last(nn.Module):
        """The last state of a recurrent layer: of both directions, side by side."""

        def __init__(self, layer: Callable[..., Any], **values: Any) -> None:
            super().__init__()
            self.layer = layer(**values, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            every, _ = self.layer(x)
            if not self.layer.bidirectional:
                return every[:, -1]
            wide = self.layer.hidden_size
            return torch.cat([every[:, -1, :wide], every[:, 0, wide:]], 1)

    class SelfAttention(nn.Module):
        """Attention of a series to itself."""

        def __init__(self, embed_dim: int, num_heads: int, dropout: float) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(embed_dim, num_heads, dropout=dropout, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found, _ = self.attention(x, x, x, need_weights=False)
            return found

    return {
        "Residual": Residual,
        "Mean": Mean,
        "PositionalEmbedding": PositionalEmbedding,
        "LSTM": lambda **v: Last(nn.LSTM, **v),
        "GRU": lambda **v: Last(nn.GRU, **v),
        "SelfAttention": SelfAttention,
    }
