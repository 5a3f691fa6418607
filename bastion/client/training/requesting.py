"""Fits that an owner has to approve: the same denial, request and waiting as for queries; what comes of it is a fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bastion_plan.canonical import decode, encode, plan_hash
from bastion_plan.errors import InputError
from bastion_plan.models.fits import FitSpec, fit_hash
from bastion_plan.nodes import Node
from bastion_wire import messages as m

from bastion.client.denied import AccessRequest, Denied, NotApproved

if TYPE_CHECKING:
    from bastion.client.connection import Connection
    from bastion.client.training.runs import RemoteRun


class FitDenied(Denied):
    """This fit does not run by itself. `denied.request("why")` asks the owner; `denied.wait()` gives the run."""

    def __init__(
        self,
        denial: m.Denial,
        plan: Node,
        connection: Connection,
        model: str,
        spec: FitSpec,
        began: Callable[[RemoteRun], None] | None = None,
    ) -> None:
        super().__init__(denial, plan, connection)
        self.model, self.spec, self._began = model, spec, began
        if isinstance(self._request, FitRequest):
            self._request._began = began

    async def _filed(self, reason: str) -> AccessRequest:
        return await _file(self._connection, self.plan, self.model, self.spec, reason, self._began)

    async def _safe_part(self) -> Any:
        msg = "A fit has no safe part."
        raise InputError(msg, code="fit.safe-part", next_step='Ask the owner: denied.request("why").')


class FitRequest(AccessRequest):
    """A request for a fit. Once it is approved, `wait()` and `fetch()` run it and give the run.

    It knows all that is needed for that, so that one which `requests()` lists after a restart goes on by itself. `began`: is told
    of the run.
    """

    def __init__(
        self,
        info: m.RequestInfo,
        connection: Connection,
        plan: Node | None = None,
        began: Callable[[RemoteRun], None] | None = None,
    ) -> None:
        super().__init__(info, connection, plan)
        self._began = began

    @property
    def model(self) -> str:
        """The model's name on the server."""
        return self.info.model

    @property
    def spec(self) -> FitSpec:
        """How it is trained."""
        assert self.info.spec is not None
        return self.info.spec

    def _query(self) -> Node:
        if self._plan is None:
            # what is run is what was approved: the owner's yes is to this hash
            if fit_hash(plan_hash(self.info.plan), self.model, self.spec) != self.info.plan_hash:
                msg = "What the server says of this request is not what was asked for."
                raise InputError(msg, code="fit.request", next_step="Fit again with the same model and settings.")
            self._plan = decode(self.info.plan)
        return self._plan

    async def _again(self, reason: str) -> AccessRequest:
        return await _file(self._connection, self._query(), self.model, self.spec, reason, self._began)

    async def _wait(self, timeout: float | None) -> Any:
        self.info = await self._connection._decision(self.info, timeout)
        if self.info.state != "approved" or self.info.ended == "revoked":
            raise NotApproved(self.info, self._query(), self._connection)
        return await self._fetch()

    async def _fetch(self) -> RemoteRun:
        return await self._result()

    async def _result(self, on_progress: Callable[[Any], None] | None = None) -> RemoteRun:
        from bastion.client.training.runs import begin, progress_of

        run = await begin(self._connection, self._query(), self.model, self.spec, self._began)
        return await run._watched(None if on_progress is None else lambda info: on_progress(progress_of(info)))


async def _file(
    connection: Connection,
    plan: Node,
    model: str,
    spec: FitSpec,
    reason: str,
    began: Callable[[RemoteRun], None] | None,
) -> FitRequest:
    """Ask the owner for a fit."""
    info = (await connection._ask(m.RequestFit(encode(plan), model, spec, reason))).info
    connection._states.setdefault(info.id, info)
    return FitRequest(info, connection, plan, began)


class RunDenied(Denied):
    """What a trained model says, or its weights, is not given."""

    def __init__(self, denial: m.Denial, run: RemoteRun) -> None:
        from bastion_plan.nodes import Inline

        super().__init__(denial, Inline(()), run._connection)
        self.run = run

    async def _file(self, reason: str) -> AccessRequest:
        del reason
        msg = "The owner decides on the whole fit."
        step = (
            "Ask with the fit: it says what would leave. An owner who approved that it runs may let you read it later."
        )
        raise InputError(msg, code="fit.request", next_step=step)

    async def _safe_part(self) -> Any:
        msg = "A model has no safe part."
        raise InputError(msg, code="fit.safe-part")
