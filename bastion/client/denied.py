"""What a scientist gets when the guard does not release an answer: the reason, the safe part, and a draft request."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from bastion_plan.errors import BastionError, InputError
from bastion_plan.nodes import Node
from bastion_wire.messages import Denial, PastEvent, RequestInfo

from bastion.client.room import HISTORY, room, told
from bastion.render.safe_text import safe_text

if TYPE_CHECKING:
    from bastion.client.connection import Connection

#: what would pass of data whose owner lets nothing go by itself, by outcome
_CLOSED = {
    "review": "Nothing passes whole by itself, aggregates neither: the owner decides on each query that you ask about.",
    "refuse": "Nothing does as a whole, aggregates neither: only the owner can change what you may see of it.",
}


class Denied(BastionError):
    """The guard does not release this answer. Nothing has been filed.

    outcome: "review" (the owner may be asked) or "refuse".
    rule: stable code of the leading rule. reason: why. fix: what would pass.
    safe_cells of total_cells may be had at once through `safe_part()`.
    """

    default_code: ClassVar[str] = "denied"

    def __init__(self, denial: Denial, plan: Node, connection: Connection) -> None:
        self.denial = denial
        self.plan = plan
        self._connection = connection
        self._request: AccessRequest | None = (
            request_of(denial.request, connection, plan) if denial.request is not None else None
        )
        asked = denial.outcome == "review"
        steps = [self.fix]
        if self.has_safe_part:
            part = f" ({denial.safe_cells} of {denial.total_cells} cells)" if denial.total_cells else ""
            steps.append(f"What may leave now{part}: denied.safe_part().")
        if self._request is not None and self._request.sealed:
            steps.append("denied.wait() waits until the owner lets you read it.")
        elif self._request is not None and self._request.state == "pending":
            steps.append("A request for it is pending: denied.wait() waits for the decision.")
        elif self._request is not None and self._request.state == "approved":
            steps.append('The approval of it is used up or past: denied.request("why") asks again.')
        elif asked:
            steps.append('To ask the owner: denied.request("why you need it").')
        super().__init__(
            "The owner has to look at this first." if asked else "This is not released under the owner's policy.",
            reason=denial.reason,
            next_step=" ".join(s for s in steps if s),
            code=f"denied.{denial.rule}" if denial.rule else "denied",
            details={
                "outcome": denial.outcome, "rule": denial.rule, "fix": self.fix, "plan_hash": denial.plan_hash,
                "safe_cells": denial.safe_cells, "total_cells": denial.total_cells,
            },
        )  # fmt: skip

    @property
    def outcome(self) -> str:
        """ "review" or "refuse"."""
        return self.denial.outcome

    @property
    def rule(self) -> str:
        """The rule's stable code."""
        return self.denial.rule

    @property
    def fix(self) -> str:
        """One sentence: what would pass."""
        return self.denial.fix or (_CLOSED.get(self.outcome, "") if self.rule == "closed-zone" else "")

    @property
    def plan_hash(self) -> str:
        """The hash that names the query everywhere."""
        return self.denial.plan_hash

    @property
    def has_safe_part(self) -> bool:
        """Whether something may leave now; none of all cells is nothing."""
        return self.denial.has_safe_part and not self.denial.total_cells > self.denial.safe_cells == 0

    @property
    def earlier(self) -> tuple[PastEvent, ...]:
        """Where history stands in the way: what one was told of the same columns before, newest first (one's own only)."""
        return self.denial.earlier

    @property
    def room(self) -> str:
        """Where history stands in the way: how many answers one has had, and what limits further ones."""
        if self.rule not in HISTORY:
            return ""
        datasets = [column.partition(".")[0] for column in self.denial.columns]
        limits = room(datasets, self._connection.facts, self._connection.identity)
        return " ".join(filter(None, (told(self.denial.answers), limits)))

    @property
    def filed(self) -> AccessRequest | None:
        """The access request for this query, if there is one."""
        return self._request

    def safe_part(self) -> Any:
        """Return what may leave now, as a `polars.DataFrame`.

        Raises:
            Denied: nothing of it may.
        """
        return self._connection._run(self._safe_part())

    async def _safe_part(self) -> Any:
        return (await self._connection._run_plan(self.plan, "safe_part")).frame

    def request(self, reason: str) -> Any:
        """File an access request with the owner; return the `AccessRequest`. Only this files anything.

        Args:
            reason: why you need it; the owner reads it.

        Raises:
            InputError: an empty reason.
        """
        return self._connection._run(self._file(reason))

    async def _file(self, reason: str) -> AccessRequest:
        if not isinstance(reason, str) or not reason.strip():
            msg = "A request needs a reason."
            raise InputError(msg, code="input.reason", next_step="Say in a sentence what you need it for.")
        if self.outcome == "refuse":
            raise self
        self._request = await self._filed(reason.strip())
        return self._request

    async def _filed(self, reason: str) -> AccessRequest:
        return await self._connection._file_request(self.plan, reason)

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for the owner's decision; return the table when it is approved.

        Args:
            timeout: seconds; None to wait without end.

        Raises:
            Denied: the owner said no. InputError: nothing has been filed. Interrupted: the time is over.
        """
        return self._connection._run(self._wait(timeout))

    async def _wait(self, timeout: float | None) -> Any:
        if self._request is None:
            msg = "Nothing has been filed yet, so there is no decision to wait for."
            raise InputError(msg, code="input.not-filed", next_step='First denied.request("why you need it").')
        return await self._request._wait(timeout)


class NotApproved(Denied):
    """The owner decided against it, or the request expired or was withdrawn."""

    def __init__(self, info: RequestInfo, plan: Node, connection: Connection) -> None:
        words = {
            "denied": "The owner said no.",
            "expired": "The request expired.",
            "withdrawn": "The request was withdrawn.",
        }
        self.info = info
        denial = Denial(
            "refuse",
            "owner",
            info.answer,
            "",
            info.plan_hash,
            connection._no_verdict(),
            request=info,
            columns=info.columns,
        )
        super().__init__(denial, plan, connection)
        self.message = words.get(info.state, "The owner did not approve it.")
        if info.state == "approved":
            self.message = "The owner let it run, and does not let you read the result."
            if info.ended == "expired":
                self.message = "The approval is past its date, or the data or its policy changed."
            elif info.ended == "revoked" and info.may_read:
                self.message = "The owner took the approval back."
        self.reason = f"The owner's answer: {info.answer}" if info.answer else ""
        self.next_step = ""
        self.code = f"denied.owner.{info.state}"


class AccessRequest:
    """An access request that has been filed."""

    def __init__(self, info: RequestInfo, connection: Connection, plan: Node | None = None) -> None:
        self.info = info
        self._connection = connection
        self._plan = plan

    @property
    def id(self) -> str:
        """Its id."""
        return self.info.id

    @property
    def info_now(self) -> RequestInfo:
        """All that was last heard of it, as the server's message has it."""
        return self._connection._known_state(self.info)

    @property
    def state(self) -> str:
        """pending, approved, denied, expired or withdrawn, as last heard."""
        return self.info_now.state

    @property
    def requester(self) -> str:
        """Who asks."""
        return self.info.requester

    @property
    def reason(self) -> str:
        """Why."""
        return self.info.reason

    @property
    def code(self) -> str:
        """The query as Polars code."""
        return self.info.code

    @property
    def words(self) -> str:
        """The query in plain words."""
        return self.info.words

    @property
    def answer(self) -> str:
        """The owner's words, once decided."""
        return self._connection._known_state(self.info).answer

    @property
    def columns(self) -> dict[str, str]:
        """The source columns of the query: "dataset.column" -> role, and what the query does with it."""
        info = self.info
        return {name: f"{role}: {', '.join(info.uses.get(name, ()))}" for name, role in info.roles.items()}

    @property
    def expressions(self) -> tuple[str, ...]:
        """The query's expressions in plain words, one by one."""
        return self.info.expressions

    @property
    def findings(self) -> tuple[str, ...]:
        """The rules it fails, with the reason; for an owner with the figures."""
        return (*self.info.findings, *self.info.findings_private)

    @property
    def figures(self) -> dict[str, float]:
        """Owner: people, rows, cells and what else is known of the result in numbers."""
        return dict(self.info.figures)

    @property
    def past(self) -> tuple[PastEvent, ...]:
        """Owner: what the requester asked of this data before and what came of it, newest first."""
        return self.info.past

    @property
    def may_run(self) -> bool:
        """Whether the owner approved that it runs."""
        return self.state == "approved" and self._connection._known_state(self.info).may_run

    @property
    def may_read(self) -> bool:
        """Whether the owner approved that its result is read."""
        return self.state == "approved" and self._connection._known_state(self.info).may_read

    @property
    def sealed(self) -> bool:
        """Whether it may run (or has run) while its result may not be read yet."""
        info = self._connection._known_state(self.info)
        return info.state == "approved" and not info.may_read and not info.ended

    def _now(self, info: RequestInfo) -> AccessRequest:
        """Return this request as it stands now."""
        made = copy.copy(self)
        made.info = info
        return made

    def refresh(self) -> Any:
        """Ask the server for its state; return this request."""
        return self._connection._run(self._refresh())

    async def _refresh(self) -> AccessRequest:
        self.info = await self._connection._get_request(self.id)
        return self

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for the decision; return the table when it is approved (see `Denied.wait`)."""
        return self._connection._run(self._wait(timeout))

    async def _wait(self, timeout: float | None) -> Any:
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        self.info = await self._connection._decision(self.info, timeout)
        plan = self._query()
        if self.sealed:
            try:  # it runs now, and its result stays sealed
                return (await self._connection._run_plan(plan, "run", request=self.id)).frame
            except Denied as denied:
                if denied.rule != "owner-grant":
                    raise
            left = None if deadline is None else max(0.0, deadline - loop.time())
            self.info = await self._connection._reading(self.info, left)
        if self.info.state != "approved" or not self.info.may_read or self.info.ended == "revoked":
            raise NotApproved(self.info, plan, self._connection)
        return (await self._connection._run_plan(plan, "run", request=self.id)).frame

    def fetch(self) -> Any:
        """Return the approved table as a `polars.DataFrame`."""
        return self._connection._run(self._fetch())

    async def _fetch(self) -> Any:
        return (await self._result()).frame

    async def _result(self, on_progress: Callable[[Any], None] | None = None) -> Any:
        """Return all that the approval gives: the released table with what comes with it."""
        return await self._connection._run_plan(self._query(), "run", request=self.id, on_progress=on_progress)

    def _query(self) -> Node:
        if self._plan is None:
            from bastion_plan.canonical import decode, plan_hash

            self._plan = decode(self.info.plan)
            if plan_hash(self.info.plan) != self.info.plan_hash:
                self._plan = None
                msg = "This request is for a fit: there are no rows of it to look at."
                step = "Once it is approved, who asked runs it: request.wait()."
                raise InputError(msg, code="fit.request", next_step=step)
        return self._plan

    async def _again(self, reason: str) -> AccessRequest:
        """Ask the same once more."""
        return await self._connection._file_request(self._query(), reason)

    def withdraw(self) -> Any:
        """Take the request back."""
        return self._connection._run(self._connection._withdraw(self.id))

    def approve(self, reason: str = "", *, until: float = 0.0, may_run: bool = True, may_read: bool = True) -> Any:
        """Owner: approve it (see `Connection.approve`)."""
        return self._connection.approve(self, reason, until=until, may_run=may_run, may_read=may_read)

    def deny(self, reason: str) -> Any:
        """Owner: deny it, with a reason that the requester reads."""
        return self._connection.deny(self, reason)

    def approve_reading(self, reason: str = "") -> Any:
        """Owner: let the result be read of what was approved to run only (see `Connection.approve_reading`)."""
        return self._connection.approve_reading(self, reason)

    def deny_reading(self, reason: str) -> Any:
        """Owner: never let the result be read of what was approved to run only; it is thrown away."""
        return self._connection.deny_reading(self, reason)

    def preview(self) -> Any:
        """Owner: the first rows of what would be shown, once approved the sealed result, as a `polars.DataFrame`."""
        return self._connection._run(self._fetch())

    def __repr__(self) -> str:
        return safe_text(f"AccessRequest({self.id!r}, {self.state}, {self.requester}: {self.reason!r})")


def request_of(info: RequestInfo, connection: Connection, plan: Node | None = None) -> AccessRequest:
    """Return a request that was filed, as what it is: for a query, or for a fit of one's own."""
    if info.spec is None or info.requester != connection.identity:
        return AccessRequest(info, connection, plan)
    from bastion.client.training.requesting import FitRequest

    return FitRequest(info, connection, plan)
