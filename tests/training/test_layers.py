"""Layers as cells write them, and the same modules as torch has them: one graph."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
from bastion_plan.errors import InputError
from bastion_plan.models.graph import encode
from bastion_plan.models.layers import LAYERS, Layer, absent, maker
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from models import Recurrent

from bastion.client.training.building import build
from bastion.client.training.exporting import export


class _Cells:
    """`nn` as in a cell."""

    def __getattr__(self, name: str):
        return maker(LAYERS[name])


c = _Cells()


class _Added(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class _Encoded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 16, padding_idx=0)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, 0.1, batch_first=True)
        self.out = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(self.words(x)).mean(1))


WORDS = torch.arange(9) * 5 % 50
SAME = {
    "mlp": (
        c.Sequential(c.Linear(6, 32), c.ReLU(), c.Dropout(0.1), c.Linear(32, 2)),
        lambda: nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 2)),
        torch.ones(6),
    ),
    "picture": (
        c.Sequential(
            c.Unflatten(1, (1, 8, 8)), c.Conv2d(1, 4, 3, padding=1), c.GroupNorm(2, 4), c.SiLU(), c.MaxPool2d(2),
            c.Residual(c.Conv2d(4, 4, (3, 3), padding=(1, 1)), c.Tanh()), c.AdaptiveAvgPool2d(1), c.Flatten(), c.Linear(4, 3, bias=False),
        ),
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.SiLU(), nn.MaxPool2d(2),
            _Added(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Tanh())), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3, bias=False),
        ),
        torch.ones(64),
    ),
    "series": (c.Sequential(c.GRU(5, 8), c.Linear(8, 2)), lambda: Recurrent(nn.GRU(5, 8, batch_first=True)), torch.ones(7, 5)),
    "words": (
        c.Sequential(c.Embedding(50, 16, padding_idx=0), c.TransformerEncoderLayer(16, 2, 32), c.Mean(1), c.Linear(16, 2)), _Encoded, WORDS,
    ),
    "bag": (
        c.Sequential(c.EmbeddingBag(50, 8, padding_idx=0), c.Linear(8, 2)),
        lambda: nn.Sequential(nn.EmbeddingBag(50, 8, mode="mean", padding_idx=0), nn.Linear(8, 2)), WORDS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_a_cell_and_torch_give_one_graph(name: str) -> None:
    layers, module, row = SAME[name]
    ours, theirs = export(build(layers, 1), [row]).graph, export(module(), [row]).graph
    assert ours.nodes == theirs.nodes
    assert [(w.shape, w.trained) for w in ours.weights] == [(w.shape, w.trained) for w in theirs.weights]


def _states(layer: nn.RNNBase, x: Tensor) -> Tensor:
    """What a recurrent layer ends with, as torch says it itself: of both directions where there are two."""
    _, state = layer(x)
    state = state[0] if isinstance(state, tuple) else state
    return torch.cat(list(state[-2:] if layer.bidirectional else state[-1:]), 1)


#: a cell's layer, torch's own, and what torch's gives for some rows
OURS = {
    "attention": (c.SelfAttention(8, 2), lambda: nn.MultiheadAttention(8, 2, batch_first=True), lambda a, x: a(x, x, x)[0]),
    "gru": (c.GRU(8, 5), lambda: nn.GRU(8, 5, batch_first=True), _states),
    "gru, both ways": (c.GRU(8, 5, 2, True), lambda: nn.GRU(8, 5, 2, batch_first=True, bidirectional=True), _states),
    "lstm": (c.LSTM(8, 5), lambda: nn.LSTM(8, 5, batch_first=True), _states),
    "lstm, both ways": (c.LSTM(8, 5, 2, True), lambda: nn.LSTM(8, 5, 2, batch_first=True, bidirectional=True), _states),
    "places": (c.PositionalEmbedding(7, 8), lambda: nn.Embedding(7, 8), lambda e, x: x + e(torch.arange(7))),
}  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_a_layer_made_here_gives_what_torch_gives(name: str) -> None:
    layer, module, asked = OURS[name]
    ours, theirs = build(layer, 1).eval(), module().eval()
    for there, here in zip(theirs.parameters(), ours.parameters(), strict=True):
        there.data = here.data
    x = torch.randn(3, 7, 8)
    assert torch.allclose(ours(x), asked(theirs, x), atol=1e-6)


#: values for the layers that need some, and a row of what comes in
EXAMPLES = {
    "Sequential": ((c.ReLU(),), (4,)), "Residual": ((c.Tanh(),), (4,)), "Linear": ((4, 2), (4,)), "Unflatten": ((1, (2, 2)), (4,)),
    "Mean": ((1,), (3, 4)), "Conv1d": ((2, 4, 3), (2, 8)), "Conv2d": ((2, 4, 3), (2, 8, 8)), "MaxPool1d": ((2,), (2, 8)),
    "MaxPool2d": ((2,), (2, 8, 8)), "AvgPool1d": ((2,), (2, 8)), "AvgPool2d": ((2,), (2, 8, 8)), "AdaptiveAvgPool1d": ((1,), (2, 8)),
    "AdaptiveAvgPool2d": (((1, 1),), (2, 8, 8)), "GroupNorm": ((2, 4), (4, 8)), "LayerNorm": ((8,), (3, 8)), "Embedding": ((9, 4), None),
    "EmbeddingBag": ((9, 4), None), "PositionalEmbedding": ((3, 4), (3, 4)), "LSTM": ((4, 5), (3, 4)), "GRU": ((4, 5, 1, True), (3, 4)),
    "SelfAttention": ((4, 2), (3, 4)), "TransformerEncoderLayer": ((4, 2, 8), (3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_of_the_table_can_be_made_and_travels(name: str) -> None:
    values, shape = EXAMPLES.get(name, ((), (3, 4)))
    row = torch.tensor([1, 2, 3]) if shape is None else torch.linspace(-1, 1, math.prod(shape)).reshape(shape)
    module = build(maker(LAYERS[name])(*values), 1)
    graph = export(nn.Sequential(module, nn.Softplus()), [row]).graph
    assert len(encode(graph)) > 10
    assert LAYERS[name].doc.endswith(".")


def test_the_seed_says_the_first_weights_and_leaves_the_rest_alone() -> None:
    before = torch.random.get_rng_state()
    one, two, other = (build(c.Linear(4, 2), seed) for seed in (1, 1, 2))
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, other.weight)
    assert not torch.equal(build(c.Linear(4, 2)).weight, build(c.Linear(4, 2)).weight)
    assert torch.equal(before, torch.random.get_rng_state())


REFUSED = {
    "too wide": (lambda: c.Linear(6, 10**9), "out_features", "a whole number from 1 to 65,536"),
    "no number": (lambda: c.Linear("6", 2), "in_features", "'6'"),
    "a truth for a number": (lambda: c.Linear(True, 2), "in_features", "True"),
    "not a number": (lambda: c.Dropout(math.nan), "p", "from 0 to 0.99"),
    "unknown": (lambda: c.Linear(6, 2, biass=False), "biass", "Did you mean bias?"),
    "missing": (lambda: c.Linear(6), "out_features", "needs 'out_features'"),
    "too many": (lambda: c.ReLU(1), None, "takes 0 values"),
    "twice": (lambda: c.Linear(6, 2, in_features=3), "in_features", "twice"),
    "groups": (lambda: c.GroupNorm(3, 8), "num_groups", "does not divide"),
    "no layer": (lambda: c.Sequential(c.ReLU(), 3), None, "number 2 is none"),
    "nothing": (lambda: c.Sequential(), None, "at least one layer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_error_names_the_layer_and_the_parameter(name: str) -> None:
    make, parameter, words = REFUSED[name]
    with pytest.raises(InputError) as refused:
        make()
    assert refused.value.code == "model.layer"
    assert refused.value.details.get("parameter") == parameter
    assert words in f"{refused.value.message} {refused.value.next_step}"


def test_what_is_not_there_says_what_is() -> None:
    for name, words in {"BatchNorm1d": "GroupNorm", "Linaer": "nn.Linear", "MSELoss": 'loss="l2"'}.items():
        with pytest.raises(InputError, match=name) as refused:
            absent(name)
        assert words in refused.value.next_step


def test_trees_are_data_and_bounded() -> None:
    tree = c.Sequential(c.Linear(6, 2), c.LeakyReLU())
    assert repr(tree) == "nn.Sequential(\n    nn.Linear(6, 2),\n    nn.LeakyReLU(),\n)"
    assert hash(tree) == hash(c.Sequential(c.Linear(6, 2), c.LeakyReLU()))
    with pytest.raises(InputError, match="100,000,000"):
        build(c.Sequential(*[c.Linear(20_000, 20_000)] * 2))
    with pytest.raises(InputError, match="too many layers"):
        c.Sequential(*[c.ReLU()] * 1_001)
    deep: Layer = c.ReLU()
    for _ in range(29):
        deep = c.Sequential(deep)
    with pytest.raises(InputError, match="too many layers"):
        c.Sequential(deep)


def test_where_torch_is_missing_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from bastion.client.training import needs

    monkeypatch.setattr(needs, "PARTS", ("torch", "no_such_part"))
    with pytest.raises(InputError, match="no_such_part") as refused:
        build(c.Linear(2, 2))
    assert refused.value.code == "train.missing"
    assert "pip install '.[train]'" in refused.value.next_step
