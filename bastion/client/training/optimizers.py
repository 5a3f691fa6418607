"""Optimisers and schedules by torch's names: what they come to in a fit's description. Numbers are checked by `fits.check_spec`."""

from __future__ import annotations

from bastion_plan.models.fits import Optimizer, Schedule


def SGD(  # noqa: N802 - torch's name
    lr: float = 0.1, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> Optimizer:
    """Steps down the gradient.

    Args:
        lr: how large they are. momentum: how much of the last one stays. weight_decay: how much weights shrink.
    """
    return Optimizer("sgd", float(lr), float(momentum), nesterov, weight_decay=float(weight_decay))


def Adam(  # noqa: N802 - torch's name
    lr: float = 0.001, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0
) -> Optimizer:
    """Steps of about the same size for each weight, whatever its gradient's size.

    Args:
        lr: how large they are. betas: how long gradients are remembered. weight_decay: added to the gradient.
    """
    return Optimizer(
        "adam", float(lr), betas=(float(betas[0]), float(betas[1])), eps=float(eps), weight_decay=float(weight_decay)
    )


def AdamW(  # noqa: N802 - torch's name
    lr: float = 0.001, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01
) -> Optimizer:
    """As Adam, with weights that shrink by themselves (weight_decay)."""
    return Optimizer(
        "adamw", float(lr), betas=(float(betas[0]), float(betas[1])), eps=float(eps), weight_decay=float(weight_decay)
    )


def StepLR(step_size: int, gamma: float = 0.1, warmup: int = 0) -> Schedule:  # noqa: N802 - torch's name
    """Every `step_size` steps the learning rate is multiplied by `gamma`. warmup: steps in which it rises first."""
    return Schedule("step", int(warmup), int(step_size), float(gamma))


def ExponentialLR(gamma: float, step_size: int = 1, warmup: int = 0) -> Schedule:  # noqa: N802 - torch's name
    """The learning rate falls by `gamma` in `step_size` steps, little by little."""
    return Schedule("exponential", int(warmup), int(step_size), float(gamma))


def LinearLR(floor: float = 0.0, warmup: int = 0) -> Schedule:  # noqa: N802 - torch's name
    """The learning rate falls to `floor` times itself, in a straight line, at the last step."""
    return Schedule("linear", int(warmup), floor=float(floor))


def CosineLR(floor: float = 0.0, warmup: int = 0) -> Schedule:  # noqa: N802 - as torch's names
    """The learning rate falls to `floor` times itself, along half a cosine, at the last step."""
    return Schedule("cosine", int(warmup), floor=float(floor))


#: by name, for cells and for BastionLab's modules
OPTIMIZERS = {one.__name__: one for one in (SGD, Adam, AdamW)}
SCHEDULES = {one.__name__: one for one in (StepLR, ExponentialLR, LinearLR, CosineLR)}
