"""Small models of every kind: (module, one row of its input)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from bastion_plan.models.graph import decode, encode
from bastion_server.training.interpreter import Interpreter
from torch import Tensor, nn

from bastion.client.training.exporting import Exported


class Residual(nn.Module):
    """Two convolutions beside what they are given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.one, self.two = (nn.GroupNorm(4, channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.two(self.second(torch.relu(self.one(self.first(x))))))


class Squeezed(nn.Module):
    """What an EfficientNet is made of: expand, filter each channel by itself, weigh the channels, project, add."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(channels, wide, 1, bias=False), nn.GroupNorm(4, wide), nn.SiLU())
        self.each = nn.Sequential(
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False), nn.GroupNorm(4, wide), nn.SiLU()
        )
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, 4, 1), nn.SiLU(), nn.Conv2d(4, wide, 1), nn.Sigmoid()
        )
        self.project = nn.Sequential(nn.Conv2d(wide, channels, 1, bias=False), nn.GroupNorm(4, channels))

    def forward(self, x: Tensor) -> Tensor:
        wide = self.each(self.expand(x))
        return x + self.project(wide * self.weigh(wide))


class Recurrent(nn.Module):
    """A recurrent layer and what its last state says."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.out = layer, nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(x)[0][:, -1])


class Encoder(nn.Module):
    """A transformer's encoder over words."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.words, self.encoder = nn.Embedding(50, 16), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encoder(self.words(x)).mean(1))


def _lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(256, 10),
    )  # fmt: skip


def _words() -> Tensor:
    return torch.arange(9) * 5 % 50


def _floats(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.linspace(-1, 1, torch.Size(shape).numel()).reshape(shape).sin()


#: name -> (module, one row)
MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "linear regression": (lambda: nn.Linear(6, 1), _floats(6)),
    "logistic regression": (lambda: nn.Sequential(nn.Linear(6, 1), nn.Sigmoid()), _floats(6)),
    "mlp with dropout": (lambda: nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 2)), _floats(6)),
    "lenet": (_lenet, _floats(1, 28, 28)),
    "resnet": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Residual(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
        _floats(3, 8, 8),
    ),
    "efficientnet": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(4, 8), nn.SiLU(), Squeezed(8, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
        ),
        _floats(3, 8, 8),
    ),
    "gru": (lambda: Recurrent(nn.GRU(5, 8, batch_first=True)), _floats(7, 5)),
    "lstm": (lambda: Recurrent(nn.LSTM(5, 8, batch_first=True)), _floats(7, 5)),
    "encoder": (Encoder, _words),
    "bag of words": (lambda: nn.Sequential(nn.EmbeddingBag(50, 8, mode="mean", padding_idx=0), nn.Linear(8, 2)), _words),
}  # fmt: skip


def made(name: str) -> tuple[nn.Module, Tensor]:
    """Return a model, the same each time, and a row."""
    torch.manual_seed(3)
    module, row = MODELS[name]
    return module(), row()


def batch(row: Tensor, size: int) -> Tensor:
    """Return different rows of one kind."""
    if row.dtype == torch.int64:
        return torch.stack([(row + i) % 50 for i in range(size)])
    return torch.stack([row * (0.5 + i / size) + 0.1 * i for i in range(size)])


def without_randomness(module: nn.Module) -> Any:
    """Set dropout to nothing, so that training can be compared."""
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
        if isinstance(layer, nn.MultiheadAttention):
            layer.dropout = 0.0
    return module


def run(exported: Exported, rows: Tensor, *, training: bool) -> Tensor:
    """As the server does: each row by itself, or the batch."""
    graph = decode(encode(exported.graph))
    interpreter, weights = Interpreter(graph), [exported.weights[w.name] for w in graph.weights]
    if graph.mode == "batch":
        return interpreter.run([rows], weights, training=training)
    one = torch.vmap(lambda row: interpreter.run([row], weights, training=training), randomness="different")
    return one(rows.unsqueeze(1)).squeeze(1)
