"""People's gradients, bounded and added up, against gradients that are made one by one."""

from __future__ import annotations

import copy
import math
import sys
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from bastion_server.training.clipping import Clipped, Clipper
from bastion_server.training.dry_run import measure
from bastion_server.training.interpreter import call
from bastion_server.training.parts import together
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


@pytest.mark.parametrize(("into", "out"), [(4, 3), (64, 48)], ids=["gradients are made", "gradients are not made"])
def test_values_that_cancel_do_not_make_a_gradient_look_small(into: int, out: int) -> None:
    """Two positions with huge values that leave nothing of each other but a rest that is not small."""
    module = nn.Linear(into, out, bias=False)
    row = torch.zeros(2, into)
    row[0, 0], row[1, 0], row[1, 1] = 1e5, -1e5, 1.0
    # made of products in single precision, the square of the norm would be 0
    assert float(((row @ row.T) * (torch.ones(2, out) @ torch.ones(out, 2))).sum()) == 0

    def difference(out: Tensor, label: Tensor) -> Tensor:
        return (out[0] + out[1]).sum() * label.sum()

    exported = export(module, [row])
    clipper = Clipper(exported.graph, measure(exported.graph, most=1 << 30), difference)
    weights = [exported.weights[w.name] for w in exported.graph.weights]
    given = [row[None, None]], torch.ones(1, 1, 1), torch.ones(1, 1, dtype=torch.bool), weights
    found = clipper.sums(*given, 0.5)
    assert float(found.sums[0].norm()) <= 0.5
    # where a person's numbers cancel so far that their sum is not exact enough, they count for less
    margin = 1e-12 if into > 4 else 1e-16
    held = clipper.sums(*given, 0.5, margin)
    assert found.error > margin >= held.error > 0
    assert 0 < float(held.sums[0].norm()) < 0.5
    # the gradient is (0, 1, 0, ...) for each output: its norm is known, to nine digits
    free = clipper.sums(*given, 1e9)
    assert float(free.sums[0].norm()) == pytest.approx(out**0.5)
    assert float(found.sums[0].norm()) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("bound", [1e3, 0.01], ids=["none is clipped", "all are clipped"])
@pytest.mark.parametrize("name", ["lenet", "wide", "filters"])
def test_sums_in_single_precision_are_within_what_they_say(name: str, bound: float) -> None:
    """Against the same in double precision, of people of one row; one of whom is beyond what single precision is for."""
    module, row = {
        "lenet": lambda: made("lenet"),
        "wide": lambda: (nn.Linear(40, 20), torch.linspace(-1, 1, 40)),
        "filters": lambda: (
            nn.Sequential(nn.Conv2d(16, 32, 3), nn.Flatten()),
            torch.linspace(-1, 1, 256).reshape(16, 4, 4),
        ),
    }[name]()
    clipper, weights = prepared(module, row)
    people, width = 300, module(row[None]).shape[1]
    labels = torch.linspace(-1, 1, people * width).reshape(people, 1, width)
    there = torch.ones(people, 1, dtype=torch.bool)
    there[::7] = False
    given = [batch(row, people)[:, None]], labels, there, weights, bound
    margin = bound * 2.0**-8 / people
    assert together(people, bound, margin) > 0 == together(people, bound, margin / 1000)
    one, two = (clipper.sums(*given, m) for m in (margin, margin / 1000))
    off = math.hypot(*(float((a - b).norm()) for a, b in zip(one.sums, two.sums, strict=True)))
    assert 0 < off <= one.error + two.error
    assert two.error < one.error <= people * margin and one.clipped == two.clipped
    assert all(s.dtype == torch.float64 for s in one.sums)
    labels[3] = 1e20
    assert clipper.sums(*given, margin).left_out == 1
    labels[3], there[3] = 1.0, False
    without = clipper.sums(*given, margin)
    labels[3], there[3] = 1e20, True
    for a, b in zip(clipper.sums(*given, margin).sums, without.sums, strict=True):
        assert torch.equal(a, b)


def test_single_precision_is_for_steps_of_few_places_and_bounds_of_usual_size() -> None:
    margin = 2.0**-8
    assert [together(n, 1.0, margin / n) for n in (10, 104, 320, 900, 4000)] == [256, 256, 128, 32, 0]
    assert [together(50, bound, bound * margin / 50) > 0 for bound in (1e-6, 1e-3, 1e3, 1e6)] == [
        False,
        True,
        True,
        False,
    ]
    # a pass of a step of many others
    assert together(50, 1.0, margin / 20_000) == 0 == together(50, 1.0, math.inf)


class Convolutions(nn.Module):
    """Every way to go over an image: a filter that is used twice, groups, frozen filters, steps, gaps and edges."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2))
        self.groups = nn.Conv2d(8, 12, 3, groups=4, padding=1)
        self.each = nn.Conv2d(12, 12, 3, groups=12, stride=2, bias=False)
        self.more = nn.Conv2d(12, 24, 2, groups=12)
        self.frozen = nn.Conv2d(24, 6, 1).requires_grad_(requires_grad=False)
        self.twice = nn.Conv1d(6, 6, 3, padding=1)
        self.line = nn.Conv1d(6, 4, 2, stride=2, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.each(torch.tanh(self.groups(self.first(x)))))
        x = self.frozen(nn.functional.max_pool2d(self.more(x), 2, 1))
        return self.line(torch.tanh(self.twice(self.twice(x.flatten(2))))).flatten(1)


def test_every_way_of_a_convolution_gives_its_gradients() -> None:
    torch.manual_seed(1)
    module, row = Convolutions(), torch.linspace(-1, 1, 2 * 14 * 12).reshape(2, 14, 12).sin()
    rows, labels, there = data(row, module(row[None]).shape[1])
    clipped, names = ours(module, row, 0.1, rows, labels, there)
    each = one_by_one(module, rows, labels, there)
    norms = [torch.sqrt(sum(g.square().sum() for n, g in one.items() if n in names)) for one in each]
    assert not {"frozen.weight", "frozen.bias"} & {*names}
    for weight, total in zip(names, clipped.sums, strict=True):
        expected = sum(one[weight] * min(1.0, 0.1 / float(n)) for one, n in zip(each, norms, strict=True))
        assert torch.allclose(total, expected, rtol=1e-4, atol=1e-6), weight


#: operations that look at how an image lies in memory, or could
IMAGES: dict[str, tuple[object, ...]] = {
    "conv2d": (torch.ones(3, 4, 2, 2), None, (1,), (0,), (1,), 1),
    "conv_transpose2d": (torch.ones(4, 2, 2, 2), None, (1,), (0,), (0,), 1, (1,)),
    "group_norm": (2, torch.ones(4), None, 1e-5),
    "max_pool2d": ((2,), (), (0,), (1,), False),
    "avg_pool2d": ((2,), (), (0,), False, True, None),
    "adaptive_avg_pool2d": ((1, 1),),
    "upsample_nearest2d": (None, (2.0, 2.0)),
    "pad": ((1, 1, 1, 1), 0.0),
    "prelu": (torch.ones(4) / 2,),
    "softmax": (1,),
    "view": ((1, -1),),
    "flatten": (2, -1),
    "mean": ((2, 3), False),
}
LINES: dict[str, tuple[object, ...]] = {
    "conv1d": (torch.ones(3, 4, 2), None, (1,), (0,), (1,), 1),
    "max_pool1d": ((2,), (), (0,), (1,), False),
    "avg_pool1d": ((2,), (), (0,), False, True),
    "adaptive_avg_pool1d": ((2,),),
    "group_norm": (2, None, None, 1e-5),
}


@pytest.mark.parametrize(("name", "some"), [*((n, IMAGES) for n in IMAGES), *((n, LINES) for n in LINES)])
def test_an_operation_takes_what_has_its_channels_last(name: str, some: dict[str, tuple[object, ...]]) -> None:
    """As a convolution gives it; torch says where it falls back to one row after the other, which is an error here."""
    rows = torch.linspace(-1, 1, 5 * 4 * 36).sin()
    rows = rows.reshape(5, 1, 4, 36) if some is LINES else rows.reshape(5, 1, 4, 6, 6)
    args, found = some[name], []
    for x in (rows, rows.movedim(2, -1).contiguous().movedim(-1, 2)):
        x = x.detach().requires_grad_()
        out = torch.vmap(lambda row: call(name, [row, *args], training=True))(x)
        found.append((out, torch.autograd.grad((out * out).sum(), x)[0]))
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


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


@pytest.mark.parametrize("patience", [None, 0], ids=["run", "recorded"])
def test_the_vector_of_a_step_is_the_sums_and_what_is_shown_of_losses(patience: int | None) -> None:
    """A loss within its bound, one that is no number as the largest, none of who is not there."""
    module, row = made("mlp with dropout")
    exported = export(without_randomness(module), [row])
    clipper = Clipper(exported.graph, measure(exported.graph, most=1 << 30), loss, patience)
    weights = [exported.weights[w.name] for w in exported.graph.weights]
    rows, labels, there = data(row, 2)
    labels[0], labels[1], labels[2] = float("nan"), 1e3, float("inf")
    there[2] = False
    sums = clipper.sums([rows], labels, there, weights, 0.3, 1e-9)
    total = clipper.total([rows], labels, there, weights, 0.3, 1e-9, 5.0, 0.02)
    assert torch.equal(total[:-1], torch.cat([s.reshape(-1) for s in sums.sums]))
    assert float(total[-1]) == pytest.approx(0.02 * (5 + 5 + float(sums.losses[3])))
    assert 0 < float(sums.losses[3]) < 5 and total.dtype == torch.float64


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
