"""People's gradients, bounded and added up, against gradients that are made one by one."""

from __future__ import annotations

import copy
import sys
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from bastion_server.training.clipping import Clipped, Clipper
from bastion_server.training.dry_run import measure
from models import MODELS, batch, made, without_randomness

from bastion.client.training.exporting import export

PEOPLE, ROWS = 4, 2


def loss(out: Tensor, label: Tensor) -> Tensor:
    return (out - label).square().sum()


def data(row: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Four people of two rows, of whom one has one."""
    rows = batch(row, PEOPLE * ROWS).reshape(PEOPLE, ROWS, *row.shape)
    labels = torch.linspace(-1, 1, PEOPLE * ROWS * width).reshape(PEOPLE, ROWS, width)
    there = torch.ones(PEOPLE, ROWS, dtype=torch.bool)
    there[2, 1] = False
    return rows, labels, there


def ours(
    module: nn.Module, row: Tensor, bound: float, rows: Tensor, labels: Tensor, there: Tensor
) -> tuple[Clipped, list[str]]:
    clipper, weights = prepared(module, row)
    return clipper.sums([rows], labels, there, weights, bound), [w.name for w in clipper.graph.weights if w.trained]


@lru_cache(maxsize=1)
def prepared(module: nn.Module, row: Tensor) -> tuple[Clipper, list[Tensor]]:
    exported = export(module, [row])
    clipper = Clipper(exported.graph, measure(exported.graph, most=1 << 30), loss)
    return clipper, [exported.weights[w.name] for w in exported.graph.weights]


def one_by_one(module: nn.Module, rows: Tensor, labels: Tensor, there: Tensor) -> list[dict[str, Tensor]]:
    """Each person's gradient, by autograd in float64."""
    module = copy.deepcopy(module).double().train()
    found = []
    for person in range(rows.shape[0]):
        module.zero_grad()
        for i in range(rows.shape[1]):
            if there[person, i]:
                x = rows[person, i : i + 1]
                loss(module(x.double() if x.is_floating_point() else x)[0], labels[person, i].double()).backward()
        found.append(
            {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in module.named_parameters()}
        )
    return found


@pytest.mark.parametrize("bound", [1e9, 0.1], ids=["none is clipped", "all are clipped"])
@pytest.mark.parametrize("name", MODELS)
def test_the_sum_is_that_of_gradients_made_one_by_one(name: str, bound: float) -> None:
    module, row = made(name)
    module = without_randomness(module)
    width = module(row[None]).shape[1]
    rows, labels, there = data(row, width)
    clipped, names = ours(module, row, bound, rows, labels, there)
    each = one_by_one(module, rows, labels, there)
    norms = [torch.sqrt(sum(g.square().sum() for g in one.values())) for one in each]
    for weight, total in zip(names, clipped.sums, strict=True):
        expected = sum(one[weight] * min(1.0, bound / float(n)) for one, n in zip(each, norms, strict=True))
        assert torch.allclose(total, expected, rtol=1e-4, atol=1e-5 * float(sum(norms)) * min(1.0, bound)), weight
    assert clipped.clipped == (PEOPLE if bound < 1 else 0)
    assert clipped.left_out == 0
    assert clipped.error < 1e-9 * max(1.0, float(sum(norms)))


@pytest.mark.parametrize("name", MODELS)
def test_nobody_adds_more_than_the_bound(name: str) -> None:
    """With the rows of one person alone, however large: also where numbers are beyond what float32 holds."""
    module, row = made(name)
    module = without_randomness(module)
    width = module(row[None]).shape[1]
    rows, labels, there = data(row, width)
    for factor in (1.0, 1e4, 1e18, 1e38, float("inf"), float("nan")):
        changed = labels.clone()
        changed[1] = factor
        clipped, _ = ours(module, row, 0.5, rows[1:2], changed[1:2], there[1:2])
        norm = torch.sqrt(sum(s.square().sum() for s in clipped.sums))
        assert torch.isfinite(norm)
        assert float(norm) <= 0.5
        # and the others are as they would be without
        both, _ = ours(module, row, 0.5, rows[:2], changed[:2], there[:2])
        alone, _ = ours(module, row, 0.5, rows[:1], changed[:1], there[:1])
        apart = torch.sqrt(sum((a - b).square().sum() for a, b in zip(both.sums, alone.sums, strict=True)))
        assert float(apart) <= 0.5 + 1e-5


def test_values_that_cancel_do_not_make_a_gradient_look_small() -> None:
    """Two positions with huge values that leave nothing of each other but a rest that is not small."""
    module = nn.Linear(4, 3, bias=False)
    big = 1e6
    row = torch.tensor([[big, 0.0, 0.0, 0.0], [-big, 1.0, 0.0, 0.0]])
    # made of products in single precision, the square of the norm would be 0 for a gradient whose norm is 1.7
    assert float(((row @ row.T) * (torch.ones(2, 3) @ torch.ones(3, 2))).sum()) == 0

    def difference(out: Tensor, label: Tensor) -> Tensor:
        return (out[0] + out[1]).sum() * label.sum()

    exported = export(module, [row])
    clipper = Clipper(exported.graph, measure(exported.graph, most=1 << 30), difference)
    weights = [exported.weights[w.name] for w in exported.graph.weights]
    found = clipper.sums([row[None, None]], torch.ones(1, 1, 1), torch.ones(1, 1, dtype=torch.bool), weights, 0.5)
    assert float(found.sums[0].norm()) <= 0.5
    # where a person's numbers cancel so far that their sum is not exact enough, they count for less
    held = clipper.sums([row[None, None]], torch.ones(1, 1, 1), torch.ones(1, 1, dtype=torch.bool), weights, 0.5, 1e-12)
    assert found.error > 1e-12 >= held.error > 0
    assert 0 < float(held.sums[0].norm()) < 0.5
    # the gradient is (0, 1, 0, 0) three times: its norm is the root of three, found to nine digits
    free = clipper.sums([row[None, None]], torch.ones(1, 1, 1), torch.ones(1, 1, dtype=torch.bool), weights, 1e9)
    assert float(free.sums[0].norm()) == pytest.approx(3**0.5)
    assert float(found.sums[0].norm()) == pytest.approx(0.5, rel=0.02)


def test_rows_that_are_not_there_add_nothing_whatever_stands_in_them() -> None:
    module, row = made("mlp with dropout")
    module = without_randomness(module)
    rows, labels, there = data(row, 2)
    expected, _ = ours(module, row, 1.0, rows, labels, there)
    rows[2, 1], labels[2, 1] = float("nan"), float("inf")
    found, _ = ours(module, row, 1.0, rows, labels, there)
    for a, b in zip(found.sums, expected.sums, strict=True):
        assert torch.equal(a, b)
    assert found.left_out == 0


def test_a_model_that_needs_too_much_is_refused_before_it_is_run() -> None:
    from bastion_plan.errors import PlanError
    from bastion_plan.models.graph import Graph, Node, Ref
    from bastion_plan.models.graph import Tensor as Spec

    bomb = Graph(
        "sample",
        (Spec("x", (1,), trained=False),),
        (),
        (Node("full", ((1, 1 << 40), 1.0, None)), Node("sum", (Ref(1), None, False))),
        2,
    )
    with pytest.raises(PlanError) as refused:
        measure(bomb, most=1 << 30)
    assert refused.value.code == "model.memory"
    # also where it is inside of an operation
    long = Graph(
        "sample",
        (Spec("x", (1 << 17, 2), trained=False),),
        (),
        (Node("attention", (Ref(0),) * 3 + (None, 0.0, False, None, False)),),
        1,
    )
    with pytest.raises(PlanError) as refused:
        measure(long, most=1 << 30)
    assert refused.value.code == "model.memory"
    wrong = Graph(
        "sample", (Spec("x", (3,), trained=False),), (Spec("w", (2, 4)),), (Node("linear", (Ref(0), Ref(1), None)),), 2
    )
    with pytest.raises(PlanError) as refused:
        measure(wrong, most=1 << 30)
    assert refused.value.code == "model.shapes"
    assert "linear" in str(refused.value)


@pytest.mark.parametrize("word", [-1, 4, 2**40, -(2**62)])
def test_a_number_beyond_a_table_of_words_is_its_nearest_line_and_fails_nowhere(word):
    """Whether a step fails would tell of a row; and two names of one line must not look like two lines."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(4, 2), nn.Flatten())
    row = torch.tensor([word, word + (1 if word > 0 else -1)])
    nearest = torch.full((2,), 3 if word > 0 else 0)
    labels, there = torch.ones(1, 1, 4), torch.ones(1, 1, dtype=torch.bool)
    beyond, _ = ours(module, torch.zeros(2, dtype=torch.long), 0.1, row.reshape(1, 1, 2), labels, there)
    inside, _ = ours(module, torch.zeros(2, dtype=torch.long), 0.1, nearest.reshape(1, 1, 2), labels, there)
    assert torch.equal(beyond.sums[0], inside.sums[0])
    assert float(beyond.sums[0].norm()) <= 0.1
