"""What torch itself writes as other operations travels under every name that it has, and does what it does in torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bastion_plan.errors import PlanError
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - everybody's name of it

sys.path.insert(0, str(Path(__file__).parent))
from models import run

from bastion.client.training.exporting import export


class Made(nn.Module):
    """A model that is one function, of what a layer makes of a row."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.function = nn.Linear(6, 6), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.layer(x))


class Words(nn.Module):
    """Convolutions whose padding is a word."""

    def __init__(self, kernel: int, dilation: int, padding: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one = nn.Conv1d(1, 2, kernel, padding=padding, dilation=dilation)
        self.two = nn.Conv2d(2, 2, (1, kernel), padding=padding, dilation=(1, dilation))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.two(self.one(x.unsqueeze(1)).unsqueeze(2))
        return out


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.pad": lambda x: F.pad(x, (1, 2), value=0.5),
    "x.var(1)": lambda x: x.var(1),
    "x.std(1)": lambda x: x.std(1),
    "torch.arange(6)": lambda x: x * torch.arange(6),
    "torch.arange(2, 8)": lambda x: x * torch.arange(2, 8),
    "torch.linspace": lambda x: x * torch.linspace(0, 1, 6),
    "torch.eye": lambda x: x @ torch.eye(6),
    "a & b": lambda x: ((x > 0) & (x < 1)).float(),
    "a | b": lambda x: ((x > 0) | (x < -1)).float(),
    "~a": lambda x: (~(x > 0)).float(),
    "F.glu": F.glu,
    "F.selu": F.selu,
    "F.celu": F.celu,
    "F.threshold": lambda x: F.threshold(x, 0.1, 0.5),
    "F.normalize": F.normalize,
    "torch.einsum": lambda x: torch.einsum("bi,bj->bij", x, x),
    "x.clamp_min": lambda x: x.clamp_min(0.1),
    "torch.lerp": lambda x: torch.lerp(x, x * x, 0.25),
    "torch.addcmul": lambda x: torch.addcmul(x, x, x, value=0.5),
    "torch.baddbmm": lambda x: torch.baddbmm(x.unsqueeze(2), x.unsqueeze(2), x[:, :1].unsqueeze(2)),
    "torch.logaddexp": lambda x: torch.logaddexp(x, -x),
    "x.repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "x.tile": lambda x: x.tile(1, 2),
    "x.diff": lambda x: x.diff(dim=1),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x[:, :4].reshape(-1, 4, 1, 1), 2),
    "x[:, [0, 2]]": lambda x: x[:, [0, 2]],
    "x[:, [0, -1]]": lambda x: x[:, [0, -1]],
    "x[..., positions]": lambda x: x[..., torch.tensor([5, 1, 1])],
}
MODULES: dict[str, nn.Module] = {
    **{name: Made(function) for name, function in FUNCTIONS.items()},
    "padding=same": Words(3, 1, "same"),
    "padding=same, even": Words(4, 1, "same"),
    "padding=same, dilation": Words(4, 2, "same"),
    "padding=valid": Words(3, 1, "valid"),
}


@pytest.mark.parametrize("mode", ["sample", "batch"])
@pytest.mark.parametrize("name", MODULES)
def test_every_name_of_an_operation_travels(name: str, mode: str) -> None:
    module = MODULES[name]
    torch.manual_seed(1)
    rows = torch.randn(5, 6)
    found = run(export(module, [rows[0]], mode=mode), rows, training=True)
    with torch.no_grad():
        assert torch.allclose(found, module(rows), atol=1e-5)


@pytest.mark.parametrize("of", [Tensor.max, Tensor.min, Tensor.var, Tensor.std])
def test_what_is_of_all_numbers_is_of_those_of_a_row(of: Callable[[Tensor], Tensor]) -> None:
    module = Made(lambda x: x * of(x))
    torch.manual_seed(1)
    rows = torch.randn(5, 6)
    with torch.no_grad():
        expected = torch.cat([module(row.unsqueeze(0)) for row in rows])
    assert torch.allclose(run(export(module, [rows[0]]), rows, training=True), expected, atol=1e-5)


REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "whole numbers of bits": (lambda x: ((x > 0).long() & 3).float(), "'__and__"),
    "positions of each row": (lambda x: x[:, x.long()[0]], "'index.Tensor'"),
    "rows of a batch": (lambda x: x[[0]], "'index.Tensor'"),
    "an order, inside what else is taken apart": (lambda x: F.normalize(x) + x.topk(1)[0], "'topk"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_left_is_refused_by_the_name_that_the_model_gives_it(name: str) -> None:
    function, words = REFUSED[name]
    with pytest.raises(PlanError) as refused:
        export(Made(function), [torch.ones(6)])
    assert refused.value.code == "model.op"
    assert words in str(refused.value)
