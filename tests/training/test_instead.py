"""What is advised in place of an operation that no graph may hold is itself one that a graph holds."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from bastion_plan.errors import PlanError
from torch import Tensor, nn

from bastion.client.training.exporting import export
from bastion.client.training.instead import INSTEAD, OTHERWISE, instead


class Made(nn.Module):
    """A model that is one function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


ROW = torch.linspace(0.1, 2, 6)
#: what cannot travel, and what is advised: (words of it, how it is written)
ADVISED: dict[str, tuple[Callable[[Tensor], Tensor], str, Callable[[Tensor], Tensor]]] = {
    "mask": (lambda x: x[x > 1], "torch.where", lambda x: torch.where(x > 1, x, 0.0)),
    "sort": (lambda x: x.sort(-1)[0], "amax, amin, softmax", lambda x: x.amax(-1) + x.amin(-1)),
    "mirrored": (lambda x: nn.functional.pad(x.reshape(1, 1, 6), (1, 1), mode="reflect"), "F.pad(x, (1, 1))", lambda x: nn.functional.pad(x, (1, 1))),
    "both": (lambda x: torch.std_mean(x, -1)[0], "x.std(-1)", lambda x: x.std(-1)),
    "alike": (lambda x: nn.functional.cosine_similarity(x, x + 1), "F.normalize(a, dim=-1)", lambda x: (nn.functional.normalize(x, dim=-1) * nn.functional.normalize(x + 1, dim=-1)).sum(-1)),
    "log2": (torch.log2, "x.log() / math.log(2)", lambda x: x.log() / math.log(2)),
    "log10": (torch.log10, "x.log() / math.log(10)", lambda x: x.log() / math.log(10)),
    "rand": (lambda x: x + torch.rand_like(x), "nn.Dropout", nn.Dropout(0.5)),
    "xor": (lambda x: ((x > 0) ^ (x < 1)).float(), "torch.ne(a, b)", lambda x: torch.ne(x > 0, x < 1).float()),
    "one picture's norm": (lambda x: nn.functional.instance_norm(x.reshape(1, 2, 3)), "nn.GroupNorm", lambda x: nn.functional.group_norm(x.reshape(1, 2, 3), 2)),
    "prod": (lambda x: x.prod(-1), "x.log().sum(-1).exp()", lambda x: x.log().sum(-1).exp()),
    "tan": (torch.tan, "x.sin() / x.cos()", lambda x: x.sin() / x.cos()),
    "distances": (lambda x: torch.cdist(x.reshape(1, 2, 3), x.reshape(1, 2, 3)), "square().sum(-1).sqrt()", lambda x: (x.reshape(1, 2, 1, 3) - x.reshape(1, 1, 2, 3)).square().sum(-1).sqrt()),
}  # fmt: skip
#: these give the very same
SAME = ("both", "alike", "log2", "log10", "xor", "one picture's norm", "prod", "tan", "distances")


@pytest.mark.parametrize("name", ADVISED)
def test_what_is_advised_instead_can_travel(name: str) -> None:
    wrong, words, right = ADVISED[name]
    with pytest.raises(PlanError) as refused:
        export(Made(wrong), [ROW])
    assert refused.value.code == "model.op"
    assert words in refused.value.next_step
    assert export(Made(right), [ROW]).graph.nodes
    if name in SAME:
        assert torch.allclose(wrong(ROW.unsqueeze(0)), right(ROW.unsqueeze(0)), atol=1e-5)


def test_nothing_is_advised_because_it_is_spelled_alike() -> None:
    assert instead("linalg_inv.default") == instead("sinh.default") == OTHERWISE
    assert "batch_norm" not in " ".join([*INSTEAD.values(), OTHERWISE])
    assert instead("_unique2.default").startswith("The shape of what it returns depends on the data")
