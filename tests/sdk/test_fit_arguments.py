"""Arguments of fits by other names, and those that nobody has. No server is asked."""

from __future__ import annotations

from typing import Any

import pytest
from bastion_plan.errors import InputError

from bastion.client.training.arguments import FIT_ARGUMENTS, accumulated, only_older
from bastion.client.training.learner import RemoteLearner


@pytest.mark.parametrize("name", ["accumulate_grad_batches", "gradient_accumulation_steps", "accumulation_steps"])
def test_batches_are_accumulated_by_whichever_name(name: str) -> None:
    assert accumulated(1, {name: 4}, "fit") == accumulated(4, {}, "fit") == accumulated(4, {name: 4}, "fit") == 4
    assert accumulated(1, {"timeout": 60.0}, "fit") == 1
    with pytest.raises(InputError, match="Two numbers of batches"):
        accumulated(2, {name: 4}, "fit")


@pytest.mark.parametrize(
    ("other", "fix"),
    [
        ({"epochs": 5}, "nb_epochs=5"), ({"epsilon": 1.0}, "eps=1.0"), ({"batchsize": 5}, "'batch_size'"),
        ({"noise_multiplier": 1.0}, "eps="), ({"zzz": 0}, "It takes nb_epochs, eps,"),
    ],
)  # fmt: skip
def test_what_nobody_knows_is_refused_with_what_there_is(other: dict[str, Any], fix: str) -> None:
    with pytest.raises(InputError) as refused:
        accumulated(1, dict(other), "fit")
    assert refused.value.code == "fit.arguments" and fix in refused.value.next_step
    only_older({"poll_delay": 0.2}, "fit", FIT_ARGUMENTS)


def test_the_arguments_that_are_named_are_those_of_a_fit() -> None:
    from inspect import signature

    given = [name for name in signature(RemoteLearner.fit).parameters if name not in ("self", "other")]
    assert sorted(given) == sorted(FIT_ARGUMENTS)
