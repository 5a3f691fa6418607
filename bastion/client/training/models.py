"""What comes home: a module with its trained weights, and a card that says what they were made of and what they cost."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl
from bastion_plan.errors import InputError
from bastion_plan.models.layers import Layer
from bastion_policy.facts import DatasetFacts
from bastion_wire import messages as m

from bastion.client.training.needs import needs_torch
from bastion.render.runs import card_lines, card_text

if TYPE_CHECKING:
    import torch


class ModelCard:
    """What a model was trained on and how, what it cost, what was measured. As text and as HTML."""

    def __init__(self, info: m.RunInfo, facts: Mapping[str, DatasetFacts]) -> None:
        self.info = info
        self._facts = {key: facts[key] for key in facts if key in info.datasets or facts[key].name in info.datasets}

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Its entries: what, and the words."""
        return card_lines(self.info, self._facts.values())

    def to_dict(self) -> dict[str, str]:
        """Return its entries as a dict."""
        return dict(self.lines)

    def __repr__(self) -> str:
        return card_text(self.lines)

    def _repr_html_(self) -> str:
        from bastion.render.runs import card_html

        return card_html(self.lines)


class TrainedModel:
    """A trained model in a cell: its card, and what it predicts for rows of one's own."""

    def __init__(self, module: torch.nn.Module, card: ModelCard) -> None:
        self.module, self.card = module, card

    @property
    def model_card(self) -> ModelCard:
        """Its card, by the name that it has on a module."""
        return self.card

    @property
    def parameters(self) -> int:
        """How many numbers were trained."""
        return self.card.info.parameters

    def predict(self, data: Any) -> pl.DataFrame:
        """Return what the model says of rows of one's own: a table with a column "prediction", and one per output.

        Args:
            data: a `polars.DataFrame` or a dict of lists, with the columns it was trained on, prepared in the same way.

        Raises:
            InputError: fit.columns, a column is not there or holds no numbers.
        """
        return predictions(self.module, data, self.card.info.spec)

    def __repr__(self) -> str:
        return repr(self.card)


def trained(model: Any, data: bytes, card: ModelCard, *, cells: bool) -> Any:
    """Return a copy of a module with trained weights.

    Args:
        model: the module, or layers. data: safetensors bytes. cells: whether for a cell, which has no use for a module.

    Raises:
        InputError: fit.model, these are the weights of another model.
    """
    needs_torch()
    import torch
    from safetensors.torch import load

    if isinstance(model, Layer):
        from bastion.client.training.building import build

        module = build(model)
    else:
        module = copy.deepcopy(model).cpu()
    weights = load(data)
    state = module.state_dict()
    if any(name not in state or state[name].shape != tensor.shape for name, tensor in weights.items()):
        msg = "These are the weights of another model."
        raise InputError(msg, code="fit.model", next_step="Give the module, or the layers, that were trained.")
    with torch.no_grad():
        module.load_state_dict({**state, **weights})
    module.eval()
    if cells:
        return TrainedModel(module, card)
    module.model_card = card
    return module


def predictions(module: Any, data: Any, spec: Any) -> pl.DataFrame:
    """Return what a module says of rows (see `TrainedModel.predict`)."""
    import numpy as np
    import torch

    frame = data if isinstance(data, pl.DataFrame) else pl.DataFrame(data)
    embeds = any(isinstance(one, torch.nn.Embedding | torch.nn.EmbeddingBag) for one in module.modules())
    given = []
    for columns in spec.inputs:
        for name in columns:
            if name not in frame.columns:
                msg = f"The table has no column {name!r}."
                step = f"The model takes: {', '.join(columns[:12])}."
                raise InputError(msg, code="fit.columns", next_step=step, details={"name": name})
        some = frame.select(columns)
        try:
            values = (
                np.array(some.to_series().to_list())
                if some.width == 1 and some.dtypes[0].is_nested()
                else some.to_numpy()
            )
            whole = embeds and np.issubdtype(values.dtype, np.integer)
            given.append(torch.tensor(values, dtype=torch.int64 if whole else torch.float32))
        except (TypeError, ValueError):
            msg = "The columns of the table hold something that is no number."
            raise InputError(msg, code="fit.columns", next_step="Prepare it as what was trained on.") from None
    with torch.no_grad():
        out = module(*given).flatten(1).double().numpy()
    match spec.loss:
        case "cross_entropy":
            shown = np.exp(out - out.max(1, keepdims=True))
            shown /= shown.sum(1, keepdims=True)
            first = out.argmax(1)
        case "bce":
            shown = 1 / (1 + np.exp(-out))
            first = (shown[:, 0] > 0.5).astype(int)
        case _:
            shown, first = out, out[:, 0]
    parts = {f"output_{i}": shown[:, i] for i in range(shown.shape[1])}
    return pl.DataFrame({"prediction": first, **parts})
