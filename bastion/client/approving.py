"""What an owner signs is what they were shown: the hash is worked out here, from the plan that came with the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bastion_plan.canonical import plan_hash
from bastion_plan.errors import BastionError, InputError
from bastion_plan.models.fits import fit_hash

if TYPE_CHECKING:
    from bastion_wire.messages import RequestInfo


def check_shown(info: RequestInfo) -> None:
    """Check that a request's plan, or plan, model and description of a fit, has the hash that an approval is about.

    Raises:
        InputError: input.request.hash.
    """
    try:
        made = plan_hash(info.plan)
        if info.spec is not None:
            made = fit_hash(made, info.model, info.spec)
    except BastionError:
        made = ""
    if made != info.plan_hash:
        raise InputError(
            "What this request shows is not what an approval of it would be about.", code="input.request.hash",
            reason="The hash that would be signed is of another query.",
            next_step="Don't approve it. Tell the server's operator, and ask the scientist to file it again.",
        )  # fmt: skip
