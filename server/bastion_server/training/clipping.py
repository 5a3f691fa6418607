"""The gradient of each person, bounded and added up, by one pass forward and one back.

**Independence.** The graph is of one row, and `vmap` runs it for each: a row's loss cannot depend on another row, whatever the model.

**Book-keeping** (Bu et al. 2023, "Differentially private optimization on large model at small cost"). A zero is added to what each
layer with weights returns; one backward pass gives the gradients by these zeros, and what a layer was given and these give each
row's gradient by its weights without it being made: of a layer y = W a with gradients g, it is the sum of g a^T over positions.
Other weights (scales of normalisations, tables of positions) are given to each row as its own copy, whose gradient is the row's.

**People.** What is bounded is a person's gradient: of all their rows in the batch together, whose positions are put one behind the other.

**Rounding.** What rows are made of (a, g) are float32 numbers. A person's contribution is *defined* from float32 numbers in exact arithmetic:
from a and g of a layer, or from the gradient itself where it is made (filters, biases, scales, layers whose gradient is small, or not much
larger than a and g): a product of two matrices in float32, of that person's numbers alone. Norms are computed in float64, where a
product of two float32 numbers is exact, and sums over people in float64, or in float32 where that is exact enough:

- norms: a sum of n float64 terms is off by at most n u / (1 - n u) of the sum of their sizes, u = 2**-53 (Higham 2002, 4.2). Where the gradient
  is made, all terms are squares, and the norm is off by a part of itself. Where it is not, its squared norm is the sum over positions s, t of
  (a_s . a_t)(g_s . g_t), whose terms are together at most B^2, B = sum_s |a_s| |g_s|. So norm^2 <= computed + e B^2 with
  e = (in + out + S^2 + 16) * 2**-52, which is what is used: huge values that cancel in the gradient cannot make it look smaller than it is;
- the sum over people: each entry is off by at most e' = (terms + 4) u of the sum of the sizes of its terms, so the sum is off by at
  most e' sum_i c_i B_i as a norm (B the norm itself where the gradient is made). Each person's share of it, e' c_i B_i, is held to `margin`
  by making c_i smaller where it has to be: by the person's own rows alone, which nobody else's part feels. The error of n people
  is then n margins, whoever they are;
- the same in float32, v = 2**-24 in the place of u: of large gradients that are made, and of large layers of one position, whose B is the norm itself. c_i is
  rounded, c_i g is, products add up t people, and k of these are added up: t + k + 1 roundings at most on the way of a term, in whatever
  order, so e' = (t + k + 8) v. It is done where e' * bound <= margin with a t of 32 at least (parts.py: `together`), that is in steps of up to
  some 900 places: nobody's c_i is made smaller by it. The choice is of public numbers alone, as is the bound's being within 2**-16 and 2**16.
  Numbers below 2**-126 are 0 there. So who has a norm of 2**60 or more, or such an a or g, adds nothing, and of others is lost less than: 2**-66 with
  a c_i that is so small; 2**-66 sqrt(out) with c_i g, and 2**-66 sqrt(in) with a; 2**-126 sqrt(in * out) with each product and sum. Of all people of a step
  that is less than 2**-30, and a 2**-24 is what noise.py leaves beside the margins, of the smallest such bound. Nothing is too large: c_i <= 1 and c_i B_i <= bound.

Not covered here: a and g of a row may differ in their last bits with where it stands in the batch, as matrix products are cut into
tiles. So how many rows are given follows from a noisy number, those that are not there included, at places drawn at random (loop.py).

INVARIANT: products of float32 are made in float32: torch is left to its own `highest` precision of them.

INVARIANT: a person's contribution to what leaves here has a norm of at most `bound`, whatever their rows are and whatever the weights:
also where it overflows or is not a number, for then it is none at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from bastion_plan.models.graph import Graph, Node, Ref
from torch import Tensor
from torch.nn import functional as nnf

from bastion_server.training.columns import Way, convolved, filters, way_of
from bastion_server.training.dry_run import Measured
from bastion_server.training.interpreter import Around, Interpreter, call
from bastion_server.training.parts import Part, Positions, Single, Whole, Words, like, together
from bastion_server.training.recorded import Recorded

#: the loss of one row: (prediction, label) -> a number
Loss = Callable[[Tensor, Tensor], Tensor]
_UNIT = 2.0**-52
#: shapes that a fit has records of, and operations of a model that it makes records for, at most
_RECORDS, _LONGEST = 32, 4000
#: gradients with fewer numbers are put side by side
_SMALL = 4096
#: gradients of a linear layer of so many numbers are made whatever they are made of: what is gone through apart takes longer than they do
_FEW = 256


@dataclass(frozen=True)
class Use:
    """Where a weight is used: in which operation, as which argument."""

    node: int
    op: str
    place: int


#: (operation, argument) whose gradients are kept by book: weights with so many dimensions, and biases
_WEIGHTS = {("linear", 1): 2, ("conv1d", 1): 3, ("conv2d", 1): 4, ("embedding", 0): 2}
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
    """Computes bounded sums of gradients for one graph and one loss.

    patience: how many times a shape is run before it is recorded (recorded.py); None: nothing is, as it takes as long as some hundred runs.
    """

    def __init__(self, graph: Graph, measured: Measured, loss: Loss, patience: int | None = None) -> None:
        self.graph, self.loss, self.interpreter = graph, loss, Interpreter(graph)
        self.trained = [i for i, w in enumerate(graph.weights) if w.trained]
        self._measured, self.patience = measured, patience
        self._records, self._seen = dict[tuple[Any, ...], Recorded](), dict[tuple[Any, ...], int]()
        every = uses(graph)
        self.kept: dict[int, list[Use]] = {}
        for weight, some in every.items():
            kinds = {(u.op, u.place) for u in some}
            alike = len({u.op for u in some}) == 1 and (kinds <= _WEIGHTS.keys() or kinds <= _BIASES)
            # a filter that is used twice has two kinds of positions
            twice = len(some) > 1 and some[0].op.startswith("conv") and kinds <= _WEIGHTS.keys()
            if alike and not twice and all(self._usual(u.node) for u in some):
                self.kept[weight] = some
        # a convolution whose filters differ from row to row is none of ours: its bias is copied too
        for weight, some in list(self.kept.items()):
            if any(u.op.startswith("conv") and u.place == 2 and not self._shared(u.node) for u in some):
                del self.kept[weight]
        self.copied = [w for w in self.trained if w in every and w not in self.kept]
        self.tapped = sorted({u.node for some in self.kept.values() for u in some})
        self._place = {number: at for at, number in enumerate(self.tapped)}
        convolutions = {n for n, node in enumerate(graph.nodes) if node.op.startswith("conv") and self._usual(n)}
        #: convolutions by whose number how they go: those that are not kept by book too, if their filters are the same for all rows
        self._ways = {n: self._way(n) for n in sorted(convolutions) if self._same(n, 1)}

    # ---------------------------------------------------------------------------------------------------- the graph

    def _weight(self, number: int, place: int) -> int | None:
        """Return which weight an argument is, None where it is another value."""
        args = self.graph.nodes[number].args
        argument = args[place] if place < len(args) else None
        at = argument.of - len(self.graph.inputs) if isinstance(argument, Ref) else -1
        return at if 0 <= at < len(self.graph.weights) else None

    def _shared(self, number: int) -> bool:
        """Whether the filters of a convolution are a weight that rows have no copies of."""
        weight = self._weight(number, 1)
        return weight is not None and (weight in self.kept or not self.graph.weights[weight].trained)

    def _same(self, number: int, place: int) -> bool:
        """Whether an argument is a weight that rows do not have copies of."""
        weight = self._weight(number, place)
        return weight is not None and weight not in self.copied

    def _shape(self, argument: Any) -> tuple[int, ...]:
        first = len(self.graph.inputs)
        if not isinstance(argument, Ref):
            return ()
        if argument.of < first:
            return (1, *self.graph.inputs[argument.of].shape)
        if argument.of < self.graph.first_node:
            return self.graph.weights[argument.of - first].shape
        return self._measured.shapes[argument.of - self.graph.first_node] or ()

    def _usual(self, number: int) -> bool:
        """Whether an operation is given as many dimensions as such a layer is."""
        node = self.graph.nodes[number]
        place, wanted = next((p, d) for (op, p), d in _WEIGHTS.items() if op == node.op)
        x, weight = self._shape(node.args[0]), self._shape(node.args[place])
        if len(weight) != wanted or (node.op.startswith("conv") and len(x) != wanted):
            return False
        bias = node.args[2] if place == 1 else None
        return bias is None or self._shape(bias) == weight[:1]

    def _way(self, number: int) -> Way:
        node = self.graph.nodes[number]
        return way_of(node, self._shape(node.args[1]))

    def _tap(self, number: int, weights: Sequence[Tensor], rows: int) -> Tensor:
        """Return what is added to what an operation returns, to be told the gradient by it: nothing, or the layer's bias."""
        shape = self._measured.shapes[number]
        assert shape is not None
        if number in self._ways:
            # channels last
            shape = (shape[0], *((1,) if len(shape) == 3 else ()), *shape[2:], shape[1])
        bias = self._weight(number, 2) if self._same(number, 2) else None
        start = torch.zeros((), dtype=torch.float32) if bias is None else weights[bias].detach()
        return start.expand(rows, *shape).detach().requires_grad_()

    def _layer(self, number: int, node: Node, args: list[Any], tap: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run a layer; return what it gives and what of its input its gradient is made of."""
        if node.op == "embedding":
            # INVARIANT: what is kept of words is what was looked up: a number beyond the table is its nearest line here as there
            given = args[1].clamp(0, len(args[0]) - 1)
            return call(node.op, args, training=True) + tap, given
        x, weight, bias = args[:3]
        if way := self._ways.get(number):
            if node.op == "conv1d":
                x, weight = x.unsqueeze(2), weight.unsqueeze(2)
            found, given = convolved(x, weight, way, node.args[6])
        else:
            # all positions at once, however they lie: else torch makes a product of each, with a copy of the weights
            given, found = x, nnf.linear(x.reshape(-1, x.shape[-1]), weight).reshape(*x.shape[:-1], weight.shape[0])
        if tap is not None:
            found = found + tap
        if bias is not None and (tap is None or not self._same(number, 2)):
            found = found + bias
        if way:
            found = found.movedim(-1, 1)
            if node.op == "conv1d":
                found = found.squeeze(2)
        return found, given

    # ----------------------------------------------------------------------------------------------------- the sums

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
        tensors = [*inputs, labels, there, *weights]
        first, public = len(inputs), (tuple(there.shape), bound, margin)

        def all_of(*given: Tensor) -> list[Tensor]:
            return self._bounded(given[:first], given[first], given[first + 1], given[first + 2 :], bound, margin)

        found = self._run(public, all_of, tensors)
        sums, (error, left_out, clipped, losses) = found[:-4], found[-4:]
        return Clipped([s.double() for s in sums], float(error), int(left_out), int(clipped), losses)

    def total(
        self,
        inputs: Sequence[Tensor],
        labels: Tensor,
        there: Tensor,
        weights: Sequence[Tensor],
        bound: float,
        margin: float,
        loss_bound: float,
        shown: float,
    ) -> Tensor:
        """Return the same as one vector: the sum of people's gradients, weight after weight, and the sum of their losses times `shown`.

        Args:
            loss_bound: a person's loss, at most. shown: what a loss of 1 adds to the last coordinate. The others are as in `sums`.
        """
        tensors = [*inputs, labels, there, *weights]
        first, public = len(inputs), (tuple(there.shape), bound, margin, loss_bound, shown)

        def all_of(*given: Tensor) -> list[Tensor]:
            found = self._bounded(given[:first], given[first], given[first + 1], given[first + 2 :], bound, margin)
            # INVARIANT: a loss is within [0, loss_bound], a loss that is no number is the largest, and who is not there has none
            each = found[-1].nan_to_num(loss_bound).clamp(0, loss_bound)
            loss = (each * given[first + 1].any(1)).sum().reshape(1) * shown
            # what stands beside float64 becomes it
            return [torch.cat([*(s.reshape(-1) for s in found[:-4]), loss])]

        return self._run(public, all_of, tensors)[0]

    def _run(
        self, public: tuple[Any, ...], function: Callable[..., list[Tensor]], tensors: list[Tensor]
    ) -> list[Tensor]:
        """Run a function, from a record where there is one.

        INVARIANT: which records there are depends on what was public before: shapes, which follow from noisy numbers, and the bounds.
        """
        if public in self._records:
            return self._records[public](*tensors)
        if self.patience is not None and len(self._records) < _RECORDS and len(self.graph.nodes) <= _LONGEST:
            self._seen[public] = seen = self._seen.get(public, 0) + 1
            if seen > self.patience:
                try:
                    self._records[public] = record = Recorded(function, tensors)
                except Exception:  # noqa: BLE001 - whatever torch says of this model, it goes without
                    self.patience = None
                else:
                    return record(*tensors)
        return function(*tensors)

    def _bounded(
        self,
        inputs: Sequence[Tensor],
        labels: Tensor,
        there: Tensor,
        weights: Sequence[Tensor],
        bound: float,
        margin: float,
    ) -> list[Tensor]:
        """Return the sums; and the error, how many are left out and clipped, and the losses."""
        people, rows = there.shape
        flat = [x.reshape(people * rows, 1, *x.shape[2:]) for x in inputs]
        taps = [self._tap(number, weights, people * rows) for number in self.tapped]
        copies = [weights[w].expand(people * rows, *weights[w].shape).detach().requires_grad_() for w in self.copied]
        fixed = [w.detach() for w in weights]

        def one(
            xs: list[Tensor], label: Tensor, real: Tensor, tap: list[Tensor], own: list[Tensor]
        ) -> tuple[Tensor, list[Tensor]]:
            given: list[Any] = [None] * len(self.tapped)

            def around(number: int, node: Node, args: list[Any]) -> Any:
                at = self._place.get(number)
                found, seen = self._layer(number, node, args, None if at is None else tap[at])
                if at is not None:
                    given[at] = seen
                return found

            mine = list(fixed)
            for number, copy in zip(self.copied, own, strict=True):
                mine[number] = copy
            inside: dict[int, Around] = dict.fromkeys([*self.tapped, *self._ways], around)
            out = self.interpreter.run(xs, mine, training=True, around=inside)
            found = self.loss(out.squeeze(0), label)
            return torch.where(real, found, torch.zeros_like(found)), given

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
                    [torch.where(like(real, x), x, torch.zeros_like(x)) for x in some] for some in (back, given)
                )
            # the loss of a row that is not there is 0 already
            each = losses.detach().double()
            if rows > 1:
                each = each.reshape(people, rows).sum(1) / there.sum(1).clamp(min=1)
            some = together(people, bound, margin)
            parts = self._parts(given, back, people, some)
            return self._added(parts, bound, margin, each, there.any(1))

    def _parts(self, given: list[Tensor], back: list[Tensor], people: int, single: int) -> list[Part]:
        parts: list[Part] = []
        whole: list[tuple[int, Tensor, bool]] = []
        for weight, own in zip(self.copied, back[len(self.tapped) :], strict=True):
            whole.append((weight, _summed(own.reshape(people, -1, self.graph.weights[weight].count)), False))
        for weight, some in self.kept.items():
            shape, use = self.graph.weights[weight].shape, some[0]
            at = [self._place[u.node] for u in some]
            g = _joined([back[i] for i in at], people, back[at[0]].shape[-1])
            if (use.op, use.place) in _BIASES:
                whole.append((weight, _summed(g), False))
            elif use.op == "embedding":
                index = _joined([given[i] for i in at], people, 1).squeeze(2)
                padding = self.graph.nodes[use.node].args[2]
                if padding >= 0:
                    g = torch.where((index == padding)[:, :, None], torch.zeros_like(g), g)
                parts.append(Words(index, g.double(), weight, shape))
            else:
                a = _joined([given[i] for i in at], people, given[at[0]].shape[-1])
                if use.op != "linear":
                    whole.append((weight, filters(a, g, shape, self._groups(use.node)), True))
                elif _made(shape, g.shape[1]):
                    # of one position, number by number: products of matrices begin anew for each person
                    made = g.mT @ a if g.shape[1] > 1 else g.mT * a
                    whole.append((weight, made.flatten(1), False))
                elif single and g.shape[1] == 1:
                    parts.append(Single(a.squeeze(1), g.squeeze(1), weight, single))
                else:
                    parts.append(Positions(a.double(), g.double(), weight, shape))
        small = [w for w in whole if w[1].shape[1] < _SMALL]
        shapes = [t.shape for t in self.graph.weights]

        def side_by_side(some: list[tuple[int, Tensor, bool]], single: int) -> Whole:
            return Whole([x for _, x, _ in some], [(w, shapes[w], last) for w, _, last in some], single)

        # of few numbers, what single precision takes beside is as much as it saves
        parts += [side_by_side(small, 0)] if small else []
        return parts + [side_by_side([w], single) for w in whole if w[1].shape[1] >= _SMALL]

    def _added(self, parts: list[Part], bound: float, margin: float, losses: Tensor, there: Tensor) -> list[Tensor]:
        sizes = [p.sizes() for p in parts] or [(torch.zeros(len(there), dtype=torch.float64),) * 2]
        squared = torch.stack([squared for squared, _ in sizes]).sum(0) * (1 + 2 * len(sizes) * _UNIT)
        off = torch.stack([off for _, off in sizes]).norm(dim=0) * (1 + 64 * _UNIT)
        # both are 0 or more, where they are numbers
        fine = squared + off < math.inf
        norms = torch.where(fine, squared, torch.ones_like(squared)).sqrt()
        # INVARIANT: rounded so that the product stays below
        factor = bound * (1 - 8 * _UNIT) / norms.clamp(min=bound)
        # INVARIANT: what a person adds to the error depends on their rows alone, and is within the margin
        if margin < math.inf:
            factor = torch.minimum(factor, margin * (1 - 8 * _UNIT) / off.clamp(min=1e-300))
        # INVARIANT: who is not there, or is no number, adds nothing: 0 times what they give, or 0 in its place
        factor = factor.masked_fill(~(fine & there), 0)
        # INVARIANT: whether anybody overflows decides nothing of what is done, or the clock would tell
        found = {weight: total for part in parts for weight, total in part.weighted(factor)}
        sums = [
            found[w] if w in found else torch.zeros(self.graph.weights[w].shape, dtype=torch.float64)
            for w in self.trained
        ]
        error = torch.where(fine, factor * off, torch.zeros_like(off)).sum()
        return [*sums, error, (~fine & there).sum(), (fine & there & (norms > bound)).sum(), losses]

    def memory(self, rows: int) -> int:
        """Return how many bytes of a person's gradient, and of what its norm is made of, stand in memory at once."""
        weights = self.graph.weights
        found = sum(weights[w].count * (12 * rows + 16) for w in self.copied)
        for w, some in self.kept.items():
            shape, count = weights[w].shape, weights[w].count
            sizes = rows * sum(math.prod(self._measured.shapes[u.node] or ()) for u in some)
            if some[0].op == "embedding":
                found += 25 * (sizes // shape[1]) ** 2
            elif len(shape) == 1:
                found += 20 * count
            elif some[0].op == "linear":
                positions = sizes // shape[0]
                made = 24 * count if _made(shape, positions) else 24 * min(positions**2, count)
                found += made + 16 * positions * sum(shape)
            else:
                # a filter's lines, and its gradient
                found += 8 * sizes // shape[0] * (count // shape[0]) * self._groups(some[0].node) + 24 * count
        lines = [0]
        for number in self._ways.keys() - set(self.tapped):
            shape = self._shape(self.graph.nodes[number].args[1])
            places = math.prod(self._measured.shapes[number] or ()) // shape[0]
            lines.append(8 * rows * places * math.prod(shape[1:]) * self._groups(number))
        return found + max(lines)

    def _groups(self, number: int) -> int:
        return int(self.graph.nodes[number].args[6])


def _joined(some: list[Tensor], people: int, size: int) -> Tensor:
    """Return people x positions x size, of all uses of a weight."""
    found = [x.reshape(people, -1, size) for x in some]
    return found[0] if len(found) == 1 else torch.cat(found, 1)


def _summed(each: Tensor) -> Tensor:
    return each.squeeze(1) if each.shape[1] == 1 else each.sum(1)


def _made(shape: tuple[int, ...], positions: int) -> bool:
    """Whether a linear layer's gradients are made: where they are small, or little beside what they are made of."""
    if shape[0] * shape[1] <= _FEW:
        return True
    return positions > 1 and shape[0] * shape[1] <= 4 * positions * (shape[0] + shape[1])
