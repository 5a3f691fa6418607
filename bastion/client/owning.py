"""What owners do through a connection: decide, change policies, try them, read the log. Signed with the owner's own key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bastion_plan.errors import InputError, PolicyError
from bastion_policy.model import Policy
from bastion_policy.toml import from_toml, to_toml, without_line
from bastion_wire import messages as m

from bastion.client.approving import check_shown
from bastion.client.denied import AccessRequest
from bastion.client.exposure import Exposure, failures_of
from bastion.client.sealed import SealedMethods, read_key
from bastion.client.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bastion.client.frames import RemoteLazyFrame


class OwnerMethods(SealedMethods):
    """The owner's part of a connection. Each method is there once, as a coroutine; the public one runs it."""

    if TYPE_CHECKING:
        _datasets: dict[str, m.Dataset]

        def _run(self, work: Coroutine[Any, Any, Any]) -> Any: ...
        async def _signed(self, statement: Mapping[str, Any]) -> bytes: ...
        def _know(self, datasets: dict[str, m.Dataset]) -> None: ...
        def _heard(self, info: m.RequestInfo) -> None: ...
        async def _ask(self, body: m.Body, on_progress: Any = None) -> Any: ...
        async def _get(self, ref: str) -> Any: ...
        async def _delete(self, dataset: str) -> None: ...
        async def _get_request(self, request: str, *, look: bool = True) -> m.RequestInfo: ...

    # ---- decisions ---------------------------------------------------------------------------------------------------

    def approve(
        self,
        request: AccessRequest | str,
        reason: str = "",
        *,
        until: float = 0.0,
        may_run: bool = True,
        may_read: bool = True,
    ) -> Any:
        """Owner: approve a request (signed with one's own key).

        Args:
            request: the request or its id.
            reason: a word to the requester.
            until: seconds since 1970; 0 for once, within the server's default time.
            may_run, may_read: the two grants, to run the query and to read its result. With may_read=False the query runs
                and its result is kept sealed: look at it (`preview`), then `approve_reading` or `deny_reading`.
        """
        return self._run(self._decide(request, "approve", reason, until, may_run, may_read))

    def deny(self, request: AccessRequest | str, reason: str) -> Any:
        """Owner: deny a request, with a reason that the requester reads (signed with one's own key)."""
        return self._run(self._decide(request, "deny", reason, 0.0, False, False))

    def approve_reading(self, request: AccessRequest | str, reason: str = "") -> Any:
        """Owner: let the result be read of a request that was approved with may_read=False (signed with one's own key)."""
        return self._run(self._decide(request, "read", reason, 0.0, False, True))

    def deny_reading(self, request: AccessRequest | str, reason: str) -> Any:
        """Owner: end the approval of a request that was approved with may_read=False; its result is thrown away."""
        return self._run(self._decide(request, "withhold", reason, 0.0, False, False))

    def revoke(self, request: AccessRequest | str, reason: str = "") -> Any:
        """Owner: end an approval in force at once (signed with one's own key); what was handed out stays handed out.

        Args:
            request: the request that was approved, or its id.
            reason: a word to the requester.

        Raises:
            InputError: there is no approval of it, or it has ended.
        """
        return self._run(self._decide(request, "revoke", reason, 0.0, False, False))

    async def _decide(
        self, request: AccessRequest | str, decision: str, reason: str, until: float, may_run: bool, may_read: bool
    ) -> AccessRequest:
        info = request.info if isinstance(request, AccessRequest) else await self._get_request(request, look=False)
        if decision in ("approve", "read"):
            check_shown(info)
        statement = {
            "action": "decide", "request": info.id, "decision": decision, "plan_hash": info.plan_hash, "reason": reason,
            "until": float(until), "may_run": bool(may_run), "may_read": bool(may_read),
        }  # fmt: skip
        body = m.Decide(
            info.id, decision, reason, float(until), bool(may_run), bool(may_read), await self._signed(statement)
        )
        decided = (await self._ask(body)).info
        self._heard(decided)
        return AccessRequest(decided, self)  # type: ignore[arg-type]

    # ---- policies ----------------------------------------------------------------------------------------------------

    def set_policy(
        self,
        dataset: RemoteLazyFrame | str,
        policy: Any = None,
        *,
        roles: Mapping[str, str] | None = None,
        allow: Iterable[str] | None = None,
    ) -> Any:
        """Owner: change a dataset's policy, the roles of its columns, or who may use it (signed with one's own key)."""
        return self._run(self._set_policy(dataset, policy, roles, allow))

    async def _set_policy(
        self,
        dataset: RemoteLazyFrame | str,
        policy: Any = None,
        roles: Mapping[str, str] | None = None,
        allow: Iterable[str] | None = None,
    ) -> m.Dataset:
        key = await self._key_of(dataset)
        text = None if policy is None else policy_text(policy)
        people = None if allow is None else tuple(allow)
        statement = {
            "action": "set_policy", "dataset": key, "policy": text,
            "roles": None if roles is None else dict(roles), "allow": None if people is None else list(people),
        }  # fmt: skip
        body = m.SetPolicy(key, text, None if roles is None else dict(roles), people, await self._signed(statement))
        with line_of_text(policy):
            answer: m.Dataset = await self._ask(body)
        if answer.sealed:
            self._keep(read_key(answer.facts.id), answer)
        self._know({**self._datasets, answer.facts.id: answer})
        return answer

    def try_policy(
        self,
        dataset: RemoteLazyFrame | str,
        policy: Any = None,
        *,
        roles: Mapping[str, str] | None = None,
        limit: int = 100,
    ) -> Any:
        """Owner: say what a policy would make of the last queries and requests of a dataset. Nothing changes, nothing runs.

        Args:
            dataset: the dataset, its name or id.
            policy: a `Policy`, its TOML text, or None for the one it has.
            roles: roles of columns, as in `set_policy`.
            limit: how many queries at most.

        Returns:
            A `Trial`: `.table` has a row per query, `.changed` those that would fare otherwise.

        Raises:
            PolicyError: the policy cannot be this table's.
        """
        return self._run(self._try_policy(dataset, policy, roles, limit))

    async def _try_policy(
        self,
        dataset: RemoteLazyFrame | str,
        policy: Any = None,
        roles: Mapping[str, str] | None = None,
        limit: int = 100,
    ) -> Trial:
        key = await self._key_of(dataset)
        text = None if policy is None else policy_text(policy)
        with line_of_text(policy):
            return Trial(await self._ask(m.TryPolicy(key, text, None if roles is None else dict(roles), limit)))

    def delete(self, dataset: RemoteLazyFrame | str) -> Any:
        """Owner: delete a dataset of one's own, with its rows (signed with one's own key)."""

        async def work() -> None:
            await self._delete(await self._key_of(dataset))

        return self._run(work())

    async def _key_of(self, dataset: RemoteLazyFrame | str) -> str:
        """Return a dataset's id; what is signed names the dataset by it."""
        ref = dataset if isinstance(dataset, str) else dataset.dataset_id
        known = self._datasets.get(ref) or (await self._get(ref)).dataset
        return ref if known is None else str(known.facts.id)

    # ---- the log -----------------------------------------------------------------------------------------------------

    def audit(
        self,
        dataset: str | None = None,
        limit: int = 100,
        *,
        who: str | None = None,
        kinds: Iterable[str] = (),
        since: datetime | float | None = None,
        until: datetime | float | None = None,
        red: bool = False,
        below: int = 0,
    ) -> Any:
        """Owner and auditor: return the last records of the audit log that match everything given, newest last.

        Args:
            dataset: of one dataset, by name or id.
            limit: how many at most, up to 1000.
            who: of one identity.
            kinds: "intent", "outcome", "request", "decision", "grant_used", "policy", "upload", "key", "note", …
            since, until: from the one on and before the other; a datetime, or seconds since 1970.
            red: only those to look at.
            below: only records before this number, to page back.
        """
        return self._run(self._audit(dataset, limit, who, kinds, since, until, red, below))

    async def _audit(
        self,
        dataset: str | None = None,
        limit: int = 100,
        who: str | None = None,
        kinds: Iterable[str] = (),
        since: datetime | float | None = None,
        until: datetime | float | None = None,
        red: bool = False,
        below: int = 0,
    ) -> list[m.AuditRecord]:
        names = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        body = m.AuditShow(dataset, limit, who, names, _seconds(since), _seconds(until), bool(red), below)
        return list((await self._ask(body)).records)

    def exposure(self, dataset: RemoteLazyFrame | str) -> Any:
        """Owner: return what has been released of a dataset so far, per column and audience, as an `Exposure`."""
        return self._run(self._exposure(dataset))

    async def _exposure(self, dataset: RemoteLazyFrame | str) -> Exposure:
        ref = dataset if isinstance(dataset, str) else dataset.dataset_id
        return Exposure(await self._ask(m.Exposure(ref)))

    def clear_failures(self, dataset: RemoteLazyFrame | str, who: str, *, shown: int | None = None) -> Any:
        """Owner: count the failed and stopped queries of somebody no longer (signed with one's own key); returns how many there were.

        Each of them may have told one bit about one person, and as many more may follow: 2 a day, 8 in all, then queries that could
        fail are for the owner. It holds for all tables of the same people, and for all who count as one with `who`.

        Args:
            dataset: a dataset of one's own, its name or id.
            who: an identity, or an audience as `exposure` calls it. `exposure(dataset).audiences` has the counts.
            shown: how many one was shown; where more count by now none are cleared. None: as many as count now.

        Raises:
            NotFound: missing.audience, nobody of that name asked. InputError: input.failures.none; input.failures.changed, more
                have failed meanwhile. NotAuthorised: the dataset is another's.
        """
        return self._run(self._clear_failures(dataset, who, shown))

    async def _clear_failures(self, dataset: RemoteLazyFrame | str, who: str, shown: int | None = None) -> int:
        key = await self._key_of(dataset)
        if shown is None:
            shown = failures_of((await self._exposure(key)).message, who).failed
        statement = {"action": "clear_failures", "dataset": key, "who": who, "failed": shown}
        answer: m.Cleared = await self._ask(m.ClearFailures(key, who, shown, await self._signed(statement)))
        return answer.failed

    def verify_audit(self) -> Any:
        """Have the server check its audit log's chain now; returns `bastion_wire.messages.Verified`."""
        return self._run(self._ask(m.AuditVerify()))


def _seconds(moment: datetime | float | None) -> float:
    if moment is None:
        return 0.0
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)


def policy_text(policy: Any) -> str:
    """Return a policy as TOML text; empty for None, the default profile.

    Raises:
        InputError: no policy. PolicyError: policy.toml.missing, of a text with nothing in it, as an empty file has: whoever
            wrote it meant a policy, and would get the default one.
    """
    if policy is None:
        return ""
    if isinstance(policy, str):
        if not policy.strip():
            from_toml(policy)
        return policy
    if isinstance(policy, Policy):
        return to_toml(policy)
    msg = f"A {type(policy).__name__} is not a policy."
    raise InputError(
        msg, code="input.policy", next_step="Use bastion.policy: Policy.default(), Policy.strict(unit=…), Policy(…)."
    )


@contextmanager
def line_of_text(policy: Any) -> Iterator[None]:
    """Leave the line out of errors about a policy that was given as an object: its text was never seen."""
    try:
        yield
    except PolicyError as error:
        raise (error if isinstance(policy, str) else without_line(error)) from None
