"""A module, the graph that is sent of it, and what the server's interpreter makes of the graph: the same numbers."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch
from bastion_plan.errors import PlanError
from bastion_plan.models.graph import graph_hash
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from models import MODELS, batch, made, run, without_randomness

from bastion.client.training.exporting import export

ROWS = 5


@pytest.mark.parametrize("training", [False, True], ids=["evaluated", "training"])
@pytest.mark.parametrize("mode", ["sample", "batch"])
@pytest.mark.parametrize("name", MODELS)
def test_a_graph_gives_what_the_module_does(name: str, mode: str, training: bool) -> None:
    module, row = made(name)
    module = without_randomness(module) if training else module
    rows = batch(row, ROWS)
    found = run(export(module, [row], mode=mode), rows, training=training)
    with torch.no_grad():
        expected = copy.deepcopy(module).train(training)(rows)
    assert torch.allclose(found, expected, atol=1e-5), (found - expected).abs().max()
    assert found.shape == expected.shape


def test_dropout_drops_in_training_alone_and_in_each_row_otherwise() -> None:
    row = torch.ones(400)
    exported = export(nn.Sequential(nn.Linear(400, 400), nn.Dropout(0.5)), [row])
    rows = torch.ones(2, 400)
    one, two = run(exported, rows, training=True) == 0
    assert 100 < int(one.sum()) < 300
    assert not torch.equal(one, two)
    assert not (run(exported, rows, training=False) == 0).any()


def test_statistics_of_a_batch_are_kept_where_a_model_may_have_them() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    row = torch.linspace(-1, 1, 6)
    exported = export(module, [row], mode="batch")
    rows = batch(row, 8)
    again = copy.deepcopy(module).train()
    assert torch.allclose(run(exported, rows, training=True), again(rows), atol=1e-5)
    mean = exported.weights["1.running_mean"]
    assert torch.allclose(mean, again[1].running_mean, atol=1e-5)
    assert [w.name for w in exported.graph.weights if not w.trained] == ["1.running_mean", "1.running_var"]


def test_what_is_sent_is_said_and_named() -> None:
    module, row = made("mlp with dropout")
    exported = export(module, [row])
    assert exported.report.startswith("290 trained numbers, 0.0 MB of weights, 4 operations (linear 2, ")
    assert [w.name for w in exported.graph.weights] == ["0.weight", "0.bias", "3.weight", "3.bias"]
    assert graph_hash(exported.graph) == graph_hash(export(module, [row]).graph)


class Branches(nn.Module):
    """What it does depends on what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Halves(nn.Module):
    """Goes on for as long as what it is given is large."""

    def forward(self, x: Tensor) -> Tensor:
        while x.abs().max() > 1:
            x = x / 2
        return x


class Scales(nn.Module):
    """Takes a number out of what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.sum().item()


class Adds(nn.Module):
    """As many times as it is told by what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(int(x[0, 0].item())):
            x = x + 1
        return x


class Block(nn.Module):
    """A layer of layers, of which one cannot travel."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.first, self.gate, self.last = nn.Linear(3, 3), gate, nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.gate(self.first(x)))
        return out


class Twice(nn.Module):
    """More than a prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(x), x


class Inverse(nn.Module):
    """Something that no graph may hold, inside a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.inv(x)


REFUSED = {
    "a batch's statistics": (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), (4,), "model.mixes", "Layer '1' (BatchNorm1d)"),
    "a branch on values": (Branches(), (3,), "model.export", "The model (Branches) cannot be written down as a graph: what it does depends on values"),
    "if": (Block(Branches()), (3,), "model.export", "Layer 'gate' (Branches) cannot be written down as a graph: what it does depends on values"),
    "while": (nn.Sequential(nn.Linear(3, 3), Block(Halves())), (3,), "model.export", "Layer '1.gate' (Halves) cannot be written down"),
    ".item()": (Block(Scales()), (3,), "model.op", "Layer 'gate' (Scales) uses 'item"),
    "a loop over data": (Block(Adds()), (3,), "model.export", "Layer 'gate' (Adds) cannot be written down"),
    "a width that does not fit": (nn.Sequential(nn.Linear(7, 4), nn.ReLU(), nn.Linear(5, 2)), (7,), "model.export", "Layer '2' (Linear) cannot take what it is given, which is 4 for each row"),
    "a picture of another size": (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(9, 2)), (1, 6, 6), "model.export", "Layer '2' (Linear)"),
    "two results": (Twice(), (3,), "model.export", "returns 2 tensors"),
    "an operation": (nn.Sequential(nn.Identity(), Inverse()), (3, 3), "model.op", "Layer '1' (Inverse) uses 'linalg_inv"),
    "half precision": (nn.Linear(3, 1).half(), (3,), None, ""),
}  # fmt: skip


#: what is said to do instead
INSTEAD = {
    "if": "torch.where",
    "while": "torch.where",
    "a loop over data": "torch.where",
    ".item()": "Keep it a tensor",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_travel_says_which_layer_and_what_instead(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    module, shape, code, words = REFUSED[name]
    if code is None:
        # it is sent in single precision
        assert {w.dtype for w in export(module, [torch.ones(shape)]).graph.weights} == {"float32"}
        return
    with pytest.raises(PlanError) as refused:
        export(module, [torch.ones(shape)])
    assert refused.value.code == code
    assert words in str(refused.value)
    assert refused.value.next_step and INSTEAD.get(name, "") in refused.value.next_step
    # nothing of torch's own graph beside it
    assert capfd.readouterr() == ("", "")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_what_a_model_writes_itself_is_not_kept_from_anybody(capfd: pytest.CaptureFixture[str]) -> None:
    class Says(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            print("here", file=sys.stderr)
            return super().forward(x)

    export(Says(3, 1), [torch.ones(3)])
    assert "here" in capfd.readouterr().err
