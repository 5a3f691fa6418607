"""The gradient of each person, bounded and added up, by one pass forward and one back.

**Independence.** The graph is of one row, and `vmap` runs it for each: a row's loss cannot depend on another row, whatever the model.

**Book-keeping** (Bu et al. 2023, "Differentially private optimization on large model at small cost"). A zero is added to what each
layer with weights returns; one backward pass gives the gradients by these zeros, and what a layer was given and these give each
row's gradient by its weights without it being made: of a layer y = W a with gradients g, it is the sum of g a^T over positions.
Other weights (scales of normalisations, tables of positions) are given to each row as its own copy, whose gradient is the row's.

**People.** What is bounded is a person's gradient: of all their rows in the batch together, whose positions are put one behind the other.

**Rounding.** What rows are made of (a, g) are float32 numbers; a person's contribution is *defined* as what follows from them in exact
arithmetic, and all that follows is computed in float64, where a product of two float32 numbers is exact:

- norms: a sum of n float64 terms is off by at most n u / (1 - n u) of the sum of their sizes, u = 2**-53 (Higham 2002, 4.2). The squared norm of a
  layer's gradient is the sum over positions s, t of (a_s . a_t)(g_s . g_t), whose terms are together at most B^2,
  B = sum_s |a_s| |g_s|. So norm^2 <= computed + e B^2 with e = (in + out + S^2 + 8) * 2**-52, which is what is used: huge values that
  cancel in the gradient cannot make it look smaller than it is;
- the sum over people: each entry is off by at most e' = (terms + 4) u of the sum of the sizes of its terms, so the sum is off by at
  most e' sum_i c_i B_i as a norm. Each person's share of it, e' c_i B_i, is held to `margin` by making c_i smaller where it has to be:
  by the person's own rows alone, which nobody else's part feels. The error of n people is then n margins, whoever they are.

Not covered here: a and g of a row may differ in their last bits with where it stands in the batch, as matrix products are cut into
tiles. So the same number of rows is always given, those that are not there included, at places drawn at random (loop.py).

INVARIANT: a person's contribution to what leaves here has a norm of at most `bound`, whatever their rows are and whatever the weights:
also where it overflows or is not a number, for then it is none at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from bastion_plan.models.graph import Graph, Node, Ref
from torch import Tensor
from torch.nn import functional as nnf

from bastion_server.training.dry_run import Measured
from bastion_server.training.interpreter import Around, Interpreter, call

#: the loss of one row: (prediction, label) -> a number
Loss = Callable[[Tensor, Tensor], Tensor]
_UNIT = 2.0**-52
#: terms that are added up by one product
_TOGETHER = 512


@dataclass(frozen=True)
class Use:
    """Where a weight is used: in which operation, as which argument."""

    node: int
    op: str
    place: int


#: (operation, argument) whose gradients are kept by book: weights, then biases
_WEIGHTS = {("linear", 1), ("conv1d", 1), ("conv2d", 1), ("embedding", 0)}
_BIASES = {("linear", 2), ("conv1d", 2), ("conv2d", 2)}


def uses(graph: Graph) -> dict[int, list[Use]]:
    """Return where each trained weight is used, by its number among the weights."""
    first, found = len(graph.inputs), dict[int, list[Use]]()
    for number, node in enumerate(graph.nodes):
        for place, argument in enumerate(node.args):
            for item in argument if isinstance(argument, tuple) else (argument,):
                if isinstance(item, Ref) and first <= item.of < graph.first_node:
                    weight = item.of - first
                    if graph.weights[weight].trained:
                        at = place if item is argument else -1
                        found.setdefault(weight, []).append(Use(number, node.op, at))
    return found


@dataclass(frozen=True)
class Clipped:
    """Bounded gradients, added up. sums: by trained weight, float64. left_out: people whose gradient was no number.

    error: by how much the sums may be off in all, as a norm: what two neighbours' sums may differ by beside the bound is twice that.
    losses: per person the mean of their rows', in float64; not finite where it is not, and 0 for who is not there.
    """

    sums: list[Tensor]
    error: float
    left_out: int
    clipped: int
    losses: Tensor


class Clipper:
    """Computes bounded sums of gradients for one graph and one loss."""

    def __init__(self, graph: Graph, measured: Measured, loss: Loss) -> None:
        self.graph, self.loss, self.interpreter = graph, loss, Interpreter(graph)
        self.trained = [i for i, w in enumerate(graph.weights) if w.trained]
        every = uses(graph)
        self.kept: dict[int, list[Use]] = {}
        for weight, some in every.items():
            kinds = {(u.op, u.place) for u in some}
            alike = len({u.op for u in some}) == 1 and (kinds <= _WEIGHTS or kinds <= _BIASES)
            # a filter that is used twice has two kinds of positions
            if alike and not (len(some) > 1 and some[0].op.startswith("conv") and kinds <= _WEIGHTS):
                self.kept[weight] = some
        self.copied = [w for w in self.trained if w in every and w not in self.kept]
        self.tapped = sorted({u.node for some in self.kept.values() for u in some})
        shapes = [measured.shapes[n] for n in self.tapped]
        self.tap_shapes = [shape for shape in shapes if shape is not None]
        assert len(self.tap_shapes) == len(self.tapped)

    def sums(
        self,
        inputs: Sequence[Tensor],
        labels: Tensor,
        there: Tensor,
        weights: Sequence[Tensor],
        bound: float,
        margin: float = math.inf,
    ) -> Clipped:
        """Return the sum of people's gradients, each of norm `bound` at most.

        Args:
            inputs: per input people x rows x shape. labels: people x rows x shape. there: people x rows, whether there is a row.
            weights: all of the graph's. bound: the largest norm. margin: by how much one person may make the sums be off.
        """
        people, rows = there.shape
        flat = [x.reshape(people * rows, 1, *x.shape[2:]) for x in inputs]
        taps = [torch.zeros(people * rows, *shape, requires_grad=True) for shape in self.tap_shapes]
        copies = [weights[w].expand(people * rows, *weights[w].shape).detach().requires_grad_() for w in self.copied]

        def one(
            xs: list[Tensor], label: Tensor, real: Tensor, tap: list[Tensor], own: list[Tensor]
        ) -> tuple[Tensor, list[Tensor]]:
            given: dict[int, Tensor] = {}

            def around(number: int, node: Node, args: list[Any]) -> Any:
                at = self.tapped.index(number)
                # INVARIANT: what is kept of words is what was looked up: a number beyond the table is its nearest line here as there
                given[at] = args[1].clamp(0, len(args[0]) - 1) if node.op == "embedding" else args[0]
                return call(node.op, args, training=True) + tap[at]

            mine = [w.detach() for w in weights]
            for number, copy in zip(self.copied, own, strict=True):
                mine[number] = copy
            inside: dict[int, Around] = dict.fromkeys(self.tapped, around)
            out = self.interpreter.run(xs, mine, training=True, around=inside)
            found = self.loss(out.squeeze(0), label)
            return torch.where(real, found, torch.zeros_like(found)), [given[i] for i in range(len(self.tapped))]

        run = torch.vmap(one, in_dims=(0, 0, 0, 0, 0), randomness="different")
        losses, given = run(flat, labels.reshape(people * rows, *labels.shape[2:]), there.reshape(-1), taps, copies)
        wanted = [*taps, *copies]
        grads = torch.autograd.grad(losses.sum(), wanted, allow_unused=True) if wanted else ()
        back = [g if g is not None else torch.zeros_like(t) for g, t in zip(grads, wanted, strict=True)]
        with torch.no_grad():
            real = there.reshape(-1)
            if rows > 1:
                # INVARIANT: a row that is not there adds nothing, also where 0 times what it gives is not a number;
                # of people of one row `_added` sees to it
                back, given = (
                    [torch.where(_like(real, x), x, torch.zeros_like(x)) for x in some] for some in (back, given)
                )
            each = torch.where(real, losses, torch.zeros_like(losses)).detach().double().reshape(people, rows).sum(1)
            each = each / there.sum(1).clamp(min=1)
            return self._added(self._parts(given, back, people, rows), bound, margin, each, there.any(1))

    def _parts(self, given: list[Tensor], back: list[Tensor], people: int, rows: int) -> list[_Part]:
        parts: list[_Part] = []
        own = dict(zip(self.copied, back[len(self.tapped) :], strict=True))
        for weight in self.trained:
            shape = self.graph.weights[weight].shape
            some = self.kept.get(weight)
            if weight in own:
                parts.append(_Whole(own[weight].reshape(people, rows, -1).double().sum(1), shape))
            elif some is None:
                parts.append(_Whole(torch.zeros(people, math.prod(shape), dtype=torch.float64), shape))
            else:
                at = [self.tapped.index(u.node) for u in some]
                nodes = [self.graph.nodes[u.node] for u in some]
                parts.append(_part(some[0], nodes, [given[i] for i in at], [back[i] for i in at], people, shape))
        return parts

    def _added(self, parts: list[_Part], bound: float, margin: float, losses: Tensor, there: Tensor) -> Clipped:
        sizes = [p.sizes() for p in parts]
        squared = torch.stack([squared for squared, _ in sizes]).sum(0) * (1 + 2 * len(parts) * _UNIT)
        off = torch.stack([off.square() for _, off in sizes]).sum(0).sqrt() * (1 + 64 * _UNIT)
        fine = torch.isfinite(squared) & torch.isfinite(off)
        norms = torch.where(fine, squared, torch.ones_like(squared)).sqrt()
        # INVARIANT: rounded so that the product stays below
        factor = (bound / norms.clamp(min=bound)) * (1 - 8 * _UNIT)
        # INVARIANT: what a person adds to the error depends on their rows alone, and is within the margin
        if margin < math.inf:
            factor = torch.minimum(factor, margin / off.clamp(min=1e-300))
        # INVARIANT: who is not there, or is no number, adds nothing: 0 times what they give, or 0 in its place
        factor = torch.where(fine & there, factor, torch.zeros_like(factor))
        # INVARIANT: whether anybody overflows decides nothing of what is done, or the clock would tell
        sums = [part.weighted(factor, fine) for part in parts]
        error = float(torch.where(fine, factor * off, torch.zeros_like(off)).sum())
        left_out, clipped = int((~fine & there).sum()), int((fine & there & (norms > bound)).sum())
        return Clipped(sums, error, left_out, clipped, losses)


def _kept(each: Tensor, fine: Tensor | None) -> Tensor:
    """Return people's numbers, 0 for those that are no numbers. fine: who has numbers; None: all."""
    return each if fine is None else each.masked_fill_(_like(~fine, each), 0)


def _like(flags: Tensor, tensor: Tensor) -> Tensor:
    return flags.reshape(-1, *[1] * (tensor.dim() - 1))


def _unit(terms: int) -> float:
    """By how much a sum of so many terms may be off, in units of the sum of their sizes."""
    return (terms + 4) * _UNIT


class _Part(Protocol):
    """Each person's gradient by one weight."""

    def sizes(self) -> tuple[Tensor, Tensor]:
        """Return, per person, the squared norm, or a little more, and by how much one time it may make the sum's norm be off.

        Not finite where the gradient is not.
        """

    def weighted(self, factor: Tensor, fine: Tensor | None) -> Tensor:
        """Return the sum over people, each times a factor. fine: as in `_kept`."""


@dataclass(frozen=True)
class _Whole:
    """Gradients that are there as numbers: people x count, float64."""

    each: Tensor
    shape: tuple[int, ...]

    def sizes(self) -> tuple[Tensor, Tensor]:
        squared = torch.linalg.vecdot(self.each, self.each) * (1 + (self.each.shape[1] + 2) * _UNIT)
        return squared, _unit(self.each.shape[0]) * squared.sqrt()

    def weighted(self, factor: Tensor, fine: Tensor | None) -> Tensor:
        return (factor @ _kept(self.each, fine)).reshape(self.shape)


@dataclass(frozen=True)
class _Positions:
    """Gradients of a linear layer: g a^T, added up over positions. given: people x positions x in, back: people x positions x out."""

    given: Tensor
    back: Tensor
    shape: tuple[int, ...]

    def sizes(self) -> tuple[Tensor, Tensor]:
        positions, (out, into) = self.given.shape[1], self.shape
        e = (into + out + positions**2 + 8) * _UNIT
        terms = self.back.shape[0] * positions
        unit = _unit(terms if terms <= 2 * _TOGETHER else _TOGETHER + -(-terms // _TOGETHER))
        # of each position, the squared norm of its part
        apart = torch.linalg.vecdot(self.given, self.given) * torch.linalg.vecdot(self.back, self.back)
        if positions == 1:
            found = apart.squeeze(1)
            return found * (1 + e), unit * found.sqrt()
        if positions * (into + out) <= into * out:
            found = ((self.given @ self.given.mT) * (self.back @ self.back.mT)).sum((1, 2))
        else:
            found = (self.back.mT @ self.given).square().sum((1, 2))
            e += (into * out + positions) * _UNIT
        bound = apart.sqrt().sum(1)
        return found.clamp(min=0) + e * bound.square(), unit * bound

    def weighted(self, factor: Tensor, fine: Tensor | None) -> Tensor:
        back = (_kept(self.back, fine) * factor[:, None, None]).reshape(-1, self.back.shape[2])
        given = _kept(self.given, fine).reshape(-1, self.given.shape[2])
        if len(back) <= 2 * _TOGETHER:
            return back.mT @ given
        # sums of sums: an entry goes through fewer additions
        total = torch.zeros(self.shape, dtype=torch.float64)
        for g, a in zip(torch.split(back, _TOGETHER), torch.split(given, _TOGETHER), strict=True):
            total += g.mT @ a
        return total


@dataclass(frozen=True)
class _Words:
    """Gradients of a table of vectors. index: people x positions, back: people x positions x size."""

    index: Tensor
    back: Tensor
    shape: tuple[int, ...]

    def sizes(self) -> tuple[Tensor, Tensor]:
        same = self.index[:, :, None] == self.index[:, None, :]
        gram = self.back @ self.back.mT
        found = torch.where(same, gram, torch.zeros_like(gram)).sum((1, 2))
        e = (self.shape[1] + self.index.shape[1] ** 2 + 8) * _UNIT
        bound = self.back.norm(dim=2).sum(1)
        return found.clamp(min=0) + e * bound.square(), _unit(self.back.shape[0] * self.back.shape[1]) * bound

    def weighted(self, factor: Tensor, fine: Tensor | None) -> Tensor:
        back = _kept(self.back, fine) * factor[:, None, None]
        total = torch.zeros(self.shape, dtype=torch.float64)
        return total.index_add_(0, self.index.reshape(-1), back.reshape(-1, back.shape[2]))


def _part(
    use: Use, nodes: list[Node], given: list[Tensor], back: list[Tensor], people: int, shape: tuple[int, ...]
) -> _Part:
    """Return people's gradients by one weight that is used in some operations of one kind."""
    if (use.op, use.place) in _BIASES:
        dim = -1 if use.op == "linear" else 2
        each = [g.double().movedim(dim, -1).reshape(people, -1, shape[0]).sum(1) for g in back]
        return _Whole(torch.stack(each).sum(0), shape)
    if use.op == "linear":
        a = torch.cat([x.double().reshape(people, -1, shape[1]) for x in given], 1)
        g = torch.cat([x.double().reshape(people, -1, shape[0]) for x in back], 1)
        return _Positions(a, g, shape)
    if use.op == "embedding":
        index = torch.cat([x.reshape(people, -1) for x in given], 1)
        g = torch.cat([x.double().reshape(people, -1, shape[1]) for x in back], 1)
        padding = nodes[0].args[2]
        if padding >= 0:
            g = torch.where((index == padding)[:, :, None], torch.zeros_like(g), g)
        return _Words(index, g, shape)
    return _Whole(_filters(nodes[0], given[0], back[0], people, shape), shape)


def _filters(node: Node, given: Tensor, back: Tensor, people: int, shape: tuple[int, ...]) -> Tensor:
    """Return people's gradients by the filters of a convolution, people x count. given, back: rows x 1 x channels x places."""
    stride, padding, dilation, groups = node.args[3:7]
    x, g = given.squeeze(1), back.squeeze(1)
    if node.op == "conv1d":
        x, g = x.unsqueeze(2), g.unsqueeze(2)
        stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)
    kernel = shape[2:] if node.op == "conv2d" else (1, *shape[2:])
    patches = nnf.unfold(x, kernel, dilation=_two(dilation), padding=_two(padding), stride=_two(stride))
    rows, out = x.shape[0] // people, shape[0]
    patches = patches.reshape(people, rows, groups, -1, patches.shape[2])
    g = g.reshape(people, rows, groups, out // groups, -1)
    each = torch.einsum("prgol,prgil->pgoi", g, patches)
    return each.reshape(people, -1).double()


def _two(numbers: Sequence[int]) -> tuple[int, int]:
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
