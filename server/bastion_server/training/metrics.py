"""Counts what a metric is made of, as whole numbers (bastion_policy.private.metrics says which), row by row.

INVARIANT: a row adds a vector of norm `row_norm` at most, whatever it holds and whatever the model says of it, so a person adds
at most as many times that as rows of theirs count.
"""

from __future__ import annotations

import torch
from bastion_plan.errors import InputError
from bastion_plan.models.fits import LOSSES, METRICS
from bastion_policy.private.metrics import BINS, MOST_CLASSES, ONE, length_of, row_norm
from torch import Tensor

from bastion_server.training.losses import BY_NAME


class Counter:
    """Adds up rows for one metric."""

    def __init__(self, metric: str, loss: str, outputs: tuple[int, ...], bound: float) -> None:
        """Begin with nothing. outputs: shape of one prediction. bound: to which a loss or error is clipped.

        Raises:
            InputError: `fit.metric`: it is none, or does not go with the model.
        """
        self.metric, self.loss, self.bound = metric, loss, bound
        self.bits = LOSSES[loss] == "bit"
        self.classes = 2 if self.bits or LOSSES[loss] == "number" else outputs[0]
        several = self.bits and len(torch.Size(outputs)) and torch.Size(outputs).numel() > 1
        if loss not in METRICS.get(metric, ()) or not 0 < bound <= 1e6 or (several and metric not in ("loss", "mae")):
            msg = f"There is no metric {metric[:40]!r} of this model."
            fit = ", ".join(m for m, some in METRICS.items() if loss in some) if not several else "loss"
            raise InputError(msg, code="fit.metric", next_step=f"Use one of {fit}.")
        if self.classes > MOST_CLASSES and metric in ("confusion", "f1", "auc"):
            msg = f"A metric by classes is of {MOST_CLASSES} at most."
            raise InputError(msg, code="fit.metric", next_step="Use accuracy.")
        self.row_norm = row_norm(metric, self.classes)
        self.counts = torch.zeros(length_of(metric, self.classes), dtype=torch.int64)

    def add(self, out: Tensor, labels: Tensor, there: Tensor) -> None:
        """Add rows. out: rows x prediction. labels: rows x their shape. there: which of them count; all are worked on alike."""
        if self.metric in ("loss", "mae"):
            self._errors(out, labels, there)
            return
        if self.bits:
            out = out.reshape(-1)
            said, label = (out > 0).long(), (labels.reshape(-1) > 0.5).long()
        else:
            said, label = out.argmax(1), labels
        if self.metric == "accuracy":
            self._at((said == label).long(), there)
        elif self.metric == "auc":
            self._scores(out, label, there)
        else:
            self._at(label * self.classes + said, there)

    def _at(self, cells: Tensor, there: Tensor) -> None:
        # one cell more, for rows that do not count
        nowhere = len(self.counts)
        self.counts += torch.bincount(torch.where(there, cells, nowhere), minlength=nowhere + 1)[:nowhere]

    def _scores(self, out: Tensor, label: Tensor, there: Tensor) -> None:
        if self.bits:
            self._at(label * BINS + _bin(out), there)
        elif self.classes == 2:
            self._at(label * BINS + _bin(out[:, 1] - out[:, 0]), there)
        else:
            for c in range(self.classes):
                others = torch.cat([out[:, :c], out[:, c + 1 :]], 1)
                cell = _bin(out[:, c] - torch.logsumexp(others, 1))
                self._at((2 * c + (label == c).long()) * BINS + cell, there)

    def _errors(self, out: Tensor, labels: Tensor, there: Tensor) -> None:
        loss = "l1" if self.metric == "mae" else self.loss
        each = torch.vmap(BY_NAME[loss])(out, labels).double().nan_to_num(self.bound).clamp(0, self.bound)
        steps = (each / self.bound * ONE).round().long().clamp(0, ONE)
        self.counts += torch.stack([(steps * there).sum(), ((ONE - steps) * there).sum()])


def _bin(logits: Tensor) -> Tensor:
    """Return the cell of a score; a quarter of a logit wide in the middle, so that sure models are told apart too."""
    return (torch.sigmoid(logits.double() / 4) * BINS).nan_to_num(0.0).long().clamp(0, BINS - 1)
