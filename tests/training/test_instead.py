"""What is advised in place of an operation that no graph may hold is itself one that a graph holds."""

from __future__ import annotations

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
    "any": (lambda x: (x > 1).any(-1).float(), "mask.float().amax(-1)", lambda x: (x > 1).float().amax(-1)),
    "rand": (lambda x: x + torch.rand_like(x), "nn.Dropout", nn.Dropout(0.5)),
    "pad": (lambda x: nn.functional.pad(x, (1, 1)), "torch.constant_pad_nd", lambda x: torch.constant_pad_nd(x, (1, 1))),
    "std": (lambda x: x.std(-1), "var(-1, correction=1).sqrt()", lambda x: x.var(-1, correction=1).sqrt()),
    "arange": (lambda x: x + torch.arange(6), "torch.arange(0, 6, 1)", lambda x: x + torch.arange(0, 6, 1)),
    "and": (lambda x: ((x > 0) & (x < 1)).float(), "torch.logical_and", lambda x: torch.logical_and(x > 0, x < 1).float()),
    "xor": (lambda x: ((x > 0) ^ (x < 1)).float(), "torch.ne(a, b)", lambda x: torch.ne(x > 0, x < 1).float()),
    "normalize": (nn.functional.normalize, "x.norm(dim=-1", lambda x: x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)),
    "one picture's norm": (lambda x: nn.functional.instance_norm(x.reshape(1, 2, 3)), "nn.GroupNorm", lambda x: nn.functional.group_norm(x.reshape(1, 2, 3), 2)),
    "glu": (nn.functional.glu, "x.chunk(2, -1)", lambda x: x.chunk(2, -1)[0] * x.chunk(2, -1)[1].sigmoid()),
    "prod": (lambda x: x.prod(-1), "x.log().sum(-1).exp()", lambda x: x.log().sum(-1).exp()),
    "tan": (torch.tan, "x.sin() / x.cos()", lambda x: x.sin() / x.cos()),
    "logaddexp": (lambda x: torch.logaddexp(x, x), "logsumexp(0)", lambda x: torch.stack([x, x]).logsumexp(0)),
    "distances": (lambda x: torch.cdist(x.reshape(1, 2, 3), x.reshape(1, 2, 3)), "square().sum(-1).sqrt()", lambda x: (x.reshape(1, 2, 1, 3) - x.reshape(1, 1, 2, 3)).square().sum(-1).sqrt()),
}  # fmt: skip
#: these give the very same
SAME = ("any", "pad", "std", "arange", "and", "xor", "normalize", "one picture's norm", "glu", "prod", "tan", "logaddexp", "distances")  # fmt: skip


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
