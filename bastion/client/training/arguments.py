"""Arguments of fits by the names that others have for them, and those that nobody has."""

from __future__ import annotations

from typing import Any

from bastion_plan.errors import InputError, did_you_mean

from bastion.render.safe_text import safe_text

#: what torch's users call it
ACCUMULATE = ("accumulate_grad_batches", "gradient_accumulation_steps", "accumulation_steps")
FIT_ARGUMENTS = (
    "nb_epochs", "eps", "batch_size", "accumulate", "people", "private", "max_grad_norm", "lr", "wait", "on_progress",
)  # fmt: skip
LEARNER_ARGUMENTS = (
    "model", "dataset", "loss", "optimizer", "scheduler", "max_batch_size", "max_grad_norm", "metric", "rows_per_unit", "device",
    "loss_bound", "seed", "model_name",
)  # fmt: skip
#: BastionLab's, about how it was asked for progress and batches and how it named models: nothing is asked for here
OLDER = (
    "metric_eps_per_batch", "timeout", "poll_delay", "batch_size", "expand", "progress", "model_description",
)  # fmt: skip
_ELSEWHERE = {
    "epochs": "Write nb_epochs=5.", "max_epochs": "Write nb_epochs=5.", "epsilon": "Write eps=1.0.",
    "lr": "It is the optimiser's: optimizer=Adam(lr=0.01).", "target_epsilon": "Write eps=1.0.", "delta": "Delta is the owner's, in the table's policy.",
    "learning_rate": "Write lr=0.01.", "optimizer": "It is the learner's: RemoteLearner(model, ds.train, optimizer=Adam(lr=0.01)).",
    "noise_multiplier": "Noise is made for eps=, and the estimate says how much it is.",
    "device": 'It is the learner\'s: RemoteLearner(model, ds.train, device="cpu").',
}  # fmt: skip


def accumulated(given: int, other: dict[str, Any], method: str) -> int:
    """Return over how many batches gradients are accumulated, by whichever name it was said."""
    found = [given] if given != 1 else []
    found += [other.pop(name) for name in ACCUMULATE if name in other]
    only_older(other, method, FIT_ARGUMENTS)
    if any(one != found[0] for one in found):
        raise InputError(
            "Two numbers of batches to accumulate are given.", code="fit.batch", next_step="Write accumulate=4."
        )
    return found[0] if found else 1


def only_older(other: dict[str, Any], method: str, known: tuple[str, ...]) -> None:
    """Refuse arguments that nobody knows; those of BastionLab's that have nothing to say here do nothing."""
    for name in other:
        if name not in OLDER:
            msg = f"{method} takes no {safe_text(name, 40)!r}."
            step = did_you_mean(name, known) or f"It takes {', '.join(known)}."
            raise InputError(msg, code="fit.arguments", next_step=_ELSEWHERE.get(name, step))
