"""The connection: every network method once, as a coroutine; a blocking face for programs, an awaitable one for the kernel."""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

import polars as pl
from bastion_plan.canonical import encode
from bastion_plan.errors import BastionError, InputError, Interrupted, PolicyError, WireError, did_you_mean
from bastion_plan.nodes import Inline, Node, Scan
from bastion_policy.facts import DatasetFacts
from bastion_policy.model import Policy
from bastion_policy.toml import to_toml, without_line
from bastion_policy.verdict import Outcome, ReleaseNote, StaticVerdict
from bastion_wire import messages as m
from bastion_wire.identity import Identity

from bastion.client import endpoints
from bastion.client.denied import AccessRequest, Denied
from bastion.client.exposure import Exposure
from bastion.client.frames import FetchableLazyFrame, RemoteLazyFrame, inline_table
from bastion.client.spending import Estimate, budget_table

if TYPE_CHECKING:
    from bastion.client.transport import Session

T = TypeVar("T")
ProgressCallback = Callable[[m.Progress], None]


@dataclass(frozen=True)
class Released:
    """A table that the guard let go, with what comes with it.

    frame: the table. note: what was merged, taken out, or logged. elapsed: seconds on the server.
    """

    frame: pl.DataFrame
    note: ReleaseNote
    plan_hash: str
    elapsed: float
    plan: Node
    checkpoint: m.Checkpoint | None = None


class Connection:
    """A session with a server, as one identity. Use it as a context manager.

    Args:
        endpoint: "tcp://host:port", a host name (with `port`), an invitation token, or None for the environment
            (BASTION_ENDPOINT) or the saved profile.
        port: of a host name.
        identity: an `Identity`, or the path of its `NAME.key` file; None for BASTION_IDENTITY or the saved profile.
        server_key: the server's CURVE key (40 characters); None for the one in the token or in known_servers.
        timeout: seconds to wait for the server.
        on_progress: called with every `Progress` message of long queries and uploads.

    Raises:
        WireError: the server cannot be reached, shows another key, or does not know this identity.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        port: int | None = None,
        *,
        identity: Identity | str | None = None,
        server_key: str | None = None,
        timeout: float = 10.0,
        on_progress: ProgressCallback | None = None,
    ) -> None:
        self._prepare(on_progress)
        self._loop: asyncio.AbstractEventLoop | None = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bastion-connection", daemon=True)
        self._thread.start()
        try:
            self._run(self._open(endpoint, port, identity, server_key, timeout))
        except BaseException:
            self._stop_loop()
            raise

    def _prepare(self, on_progress: ProgressCallback | None) -> None:
        self._session: Session | None = None
        self._identity: Identity | None = None
        self._server_key = ""
        self._endpoint = ""
        self._datasets: dict[str, m.Dataset] = {}
        self._stale = True
        self._states: dict[str, m.RequestInfo] = {}
        self._waiting: dict[str, list[asyncio.Future[m.RequestInfo]]] = {}
        self._callbacks: dict[str, list[Callable[[m.Push], Any]]] = {}
        self._progress = on_progress
        #: the last table that was released to this connection, with its note
        self.last: Released | None = None
        self.client = Client(self)

    # ---- running -----------------------------------------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, T]) -> Any:
        """Run a coroutine to its end on the connection's loop. (The kernel's flavour hands it back to be awaited.)"""
        loop = self._loop
        if loop is None or loop.is_closed():
            work.close()
            raise _closed()
        if threading.current_thread() is self._thread:
            work.close()
            msg = "A callback of this connection cannot wait for this connection."
            raise InputError(
                msg, code="input.callback", next_step="Start a thread, or use what the callback was given."
            )
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise
        except asyncio.CancelledError:
            msg = "The query was stopped."
            raise Interrupted(msg, code="interrupted.cancelled") from None

    def _stop_loop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)
            if not self._thread.is_alive():
                loop.close()

    def close(self) -> Any:
        """End the session. Pending waits end with an error."""
        if self._session is not None and self._loop is not None:
            self._run(self._close())
        self._stop_loop()
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- session -----------------------------------------------------------------------------------------------------

    async def _open(
        self,
        endpoint: str | None,
        port: int | None,
        identity: Identity | str | None,
        server_key: str | None,
        timeout: float,
    ) -> None:
        from bastion.client.transport import Session

        target = endpoints.resolve(endpoint, port, identity=identity, server_key=server_key)
        self._identity, self._server_key, self._endpoint = target.identity, target.server_key, target.endpoint
        self._session = await Session.open(
            target.endpoint, target.identity, target.server_key, enrol=target.enrol, timeout=timeout
        )
        own = weakref.ref(self)

        def pushed(push: m.Push) -> None:
            connection = own()
            if connection is not None:
                connection._pushed(push)

        self._session.on_push(pushed)
        await self._refresh()

    async def _close(self) -> None:
        session, self._session = self._session, None
        for futures in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(_closed())
        self._waiting.clear()
        if session is not None:
            await session.close()

    @property
    def _open_session(self) -> Session:
        if self._session is None:
            raise _closed()
        return self._session

    async def _ask(self, body: m.Body, on_progress: ProgressCallback | None = None) -> Any:
        return await self._open_session.ask(body, on_progress or self._progress)

    def _sign(self, statement: Mapping[str, Any]) -> bytes:
        if self._identity is None:
            raise _closed()
        return self._identity.sign_statement(statement, audience=self._server_key)

    # ---- pushes ------------------------------------------------------------------------------------------------------

    def _pushed(self, push: m.Push) -> None:
        if push.request is not None:
            self._heard(push.request)
        if push.topic == "datasets":
            self._stale = True
        for callback in [*self._callbacks.get(push.topic, ()), *self._callbacks.get("*", ())]:
            result = callback(push)
            if asyncio.iscoroutine(result):
                asyncio.ensure_future(result)  # noqa: RUF006  (the loop of the connection keeps running)

    def _heard(self, info: m.RequestInfo) -> None:
        self._states[info.id] = info
        heard = [] if info.state == "pending" else [info.id]
        if heard and (info.may_read or info.ended or info.state != "approved"):
            heard.append(_reading_of(info.id))
        for key in heard:
            for future in self._waiting.pop(key, ()):
                if not future.done():
                    future.set_result(info)

    def on_push(self, callback: Callable[[m.Push], Any], topic: str = "*") -> Callable[[], None]:
        """Call `callback(push)` for every push of a topic ("decision", "request", "revoked", "datasets"; "*": all).

        Callbacks run on the connection's loop: they must not block. Returns a function that takes the callback off again.
        """
        self._callbacks.setdefault(topic, []).append(callback)

        def remove() -> None:
            if callback in self._callbacks.get(topic, []):
                self._callbacks[topic].remove(callback)

        return remove

    def on_decision(self, callback: Callable[[AccessRequest], Any]) -> Callable[[], None]:
        """Call `callback(request)` when an owner decides on one of one's own requests."""
        return self.on_push(
            lambda push: callback(AccessRequest(push.request, self)) if push.request else None, "decision"
        )

    def on_request(self, callback: Callable[[AccessRequest], Any]) -> Callable[[], None]:
        """Owner: call `callback(request)` when someone files a request for one's data."""
        return self.on_push(
            lambda push: callback(AccessRequest(push.request, self)) if push.request else None, "request"
        )

    # ---- who and where -----------------------------------------------------------------------------------------------

    @property
    def welcome(self) -> m.Welcome:
        """What the server said at the beginning: its name, version, one's roles, notices."""
        return self._open_session.welcome  # type: ignore[no-any-return]

    @property
    def identity(self) -> str:
        """The name one is known by."""
        return self._identity.name if self._identity is not None else ""

    @property
    def endpoint(self) -> str:
        """The server's address."""
        return self._endpoint

    @property
    def server_key(self) -> str:
        """The server's CURVE key."""
        return self._server_key

    @property
    def roles(self) -> tuple[str, ...]:
        """One's roles on this server: user, owner, admin, auditor."""
        return self.welcome.roles

    @property
    def connected(self) -> bool:
        """Whether the session is open."""
        return self._session is not None

    def ping(self) -> Any:
        """Ask for a sign of life; returns the seconds it took."""

        async def work() -> float:
            begin = asyncio.get_running_loop().time()
            await self._ask(m.Ping())
            return asyncio.get_running_loop().time() - begin

        return self._run(work())

    def __repr__(self) -> str:
        state = f"as {self.identity!r}" if self.connected else "closed"
        return f"Connection({self._endpoint!r}, {state}, {len(self._datasets)} datasets)"

    # ---- datasets ----------------------------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        answer = await self._ask(m.ListDatasets())
        self._datasets = {d.facts.id: d for d in answer.datasets}
        self._stale = False

    @property
    def facts(self) -> dict[str, DatasetFacts]:
        """Public facts of the datasets one may see, by id; what local validation works on."""
        return {key: d.facts for key, d in self._datasets.items()}

    def _frame_of(self, dataset: m.Dataset) -> FetchableLazyFrame:
        self._datasets[dataset.facts.id] = dataset
        return FetchableLazyFrame(self, Scan(dataset.facts.id), dataset=dataset)

    async def _list(self) -> list[FetchableLazyFrame]:
        await self._refresh()
        return [self._frame_of(d) for d in self._datasets.values()]

    async def _get(self, ref: str) -> FetchableLazyFrame:
        if not isinstance(ref, str):
            msg = "A dataset is named by its id or its name."
            raise InputError(msg, code="input.arguments", next_step='Write get_df("titanic").')
        try:
            return self._frame_of(await self._ask(m.GetDataset(ref)))
        except BastionError as error:
            if error.code.startswith("missing") and not error.next_step:
                error.next_step = did_you_mean(ref, [d.facts.name for d in self._datasets.values()])
            raise

    def datasets(self) -> Any:
        """Return the datasets one may see, as frames."""
        return self._run(self._list())

    def dataset(self, ref: str) -> Any:
        """Return a dataset by id or name, as a frame."""
        return self._run(self._get(ref))

    def cards(self) -> Any:
        """Return the cards (`bastion_wire.messages.Dataset`) of the datasets one may see."""

        async def work() -> list[m.Dataset]:
            await self._refresh()
            return list(self._datasets.values())

        return self._run(work())

    def frame(self, data: Any) -> RemoteLazyFrame:
        """Return a frame of one's own small table (a dict of columns or a `polars.DataFrame`), to join with."""
        return RemoteLazyFrame(self, Inline(inline_table(data)))

    def sql(self, query: str, **frames: RemoteLazyFrame) -> Any:
        """Return the frame of an SQL query over the datasets one may see, by name, and the frames given by keyword."""

        async def work() -> RemoteLazyFrame:
            from bastion.sql import parse_sql, table_names

            tables: dict[str, RemoteLazyFrame] = dict(frames)
            for name in table_names(query):
                if name not in tables:
                    tables[name] = await self._get(name)
            return RemoteLazyFrame(
                self, parse_sql(query, {k: f.plan for k, f in tables.items()}, self._schema)
            )._checked()

        return self._run(work())

    def _schema(self, plan: Node) -> Any:
        from bastion_plan.bind import bind

        return bind(plan, self.facts).schema

    async def _upload(
        self,
        df: Any,
        policy: Any,
        hidden: Iterable[str],
        name: str | None,
        unit: str | None,
        replace: bool,
        on_progress: ProgressCallback | None,
    ) -> FetchableLazyFrame:
        data = await asyncio.to_thread(table_bytes, df)
        digest = hashlib.sha256(data).digest()
        terms = {
            "name": name or f"frame-{digest.hex()[:8]}",
            "size": len(data),
            "sha256": digest,
            "policy": policy_text(policy),
            "hidden": tuple(hidden),
            "unit": unit,
            "replace": bool(replace),
        }
        signed = self._sign({"action": "upload", **terms, "hidden": list(terms["hidden"])})  # type: ignore[call-overload]
        begin = m.UploadBegin(**terms, signed=signed)  # type: ignore[arg-type]
        with _line_of_text(policy):
            answer = await self._open_session.upload(begin, memoryview(data), on_progress or self._progress)
        return self._frame_of(answer)

    async def _save(self, plan: Node, name: str | None) -> FetchableLazyFrame:
        return self._frame_of(await self._ask(m.Save(encode(plan), name)))

    async def _delete(self, dataset: str) -> None:
        await self._ask(m.Delete(dataset, self._sign({"action": "delete", "dataset": dataset})))
        self._datasets.pop(dataset, None)

    # ---- queries -----------------------------------------------------------------------------------------------------

    async def _run_plan(
        self,
        plan: Node,
        mode: str = "run",
        *,
        request: str | None = None,
        on_progress: ProgressCallback | None = None,
        epsilon: float = 0.0,
    ) -> Released:
        """Run a plan. epsilon: what an answer with noise may cost, 0 for the default share of the budget.

        Raises:
            Denied: the guard does not release it.
        """
        answer = await self._open_session.query(m.Query(encode(plan), mode, request, epsilon), on_progress or self._progress)
        if isinstance(answer, m.Denial):
            if answer.request is not None:
                self._heard(answer.request)
            raise Denied(answer, plan, self)
        if isinstance(answer, m.Explained):
            msg = "The server explained the query instead of running it."
            raise InputError(msg, code="wire.unexpected")
        table, data = answer
        frame = pl.read_ipc(io.BytesIO(data))
        released = Released(frame, table.note, table.plan_hash, table.elapsed, plan, table.checkpoint)
        self.last = released
        return released

    async def _summarize(self, plan: Node, epsilon: float) -> Estimate:
        answer: m.Summary = await self._ask(m.Query(encode(plan), "summarize", epsilon=epsilon))
        return Estimate(answer)

    def budget(self) -> Any:
        """Return the privacy budgets of the datasets one may see, as a `polars.DataFrame`.

        Columns: datasets (about the same people), epsilon and delta (the owner's cap), spent (what all answers so far come
        to), left (the largest single answer that still fits), answers (paid for), void (why the epsilon no longer holds).
        """

        async def work() -> pl.DataFrame:
            return budget_table((await self._ask(m.GetBudget())).budgets)

        return self._run(work())

    async def _explain(self, plan: Node) -> m.Explained:
        answer = await self._open_session.query(m.Query(encode(plan), "explain"), self._progress)
        if not isinstance(answer, m.Explained):
            msg = "The server did not explain the query."
            raise InputError(msg, code="wire.unexpected")
        return answer

    @staticmethod
    def _no_verdict() -> StaticVerdict:
        return StaticVerdict(Outcome.REFUSE, "")

    # ---- requests ----------------------------------------------------------------------------------------------------

    async def _file_request(self, plan: Node, reason: str) -> AccessRequest:
        answer = await self._ask(m.RequestAccess(encode(plan), reason))
        self._states.setdefault(answer.info.id, answer.info)
        return AccessRequest(answer.info, self, plan)

    def _known_state(self, info: m.RequestInfo) -> m.RequestInfo:
        return self._states.get(info.id, info)

    async def _get_request(self, request: str) -> m.RequestInfo:
        info: m.RequestInfo = (await self._ask(m.GetRequest(request))).info
        self._heard(info)
        return info

    async def _withdraw(self, request: str) -> AccessRequest:
        info = (await self._ask(m.Withdraw(request))).info
        self._heard(info)
        return AccessRequest(info, self)

    async def _decision(self, info: m.RequestInfo, timeout: float | None) -> m.RequestInfo:
        """Wait for the push of a decision (the state is asked for once, after listening has begun: nothing slips by)."""
        known = self._known_state(info)
        if known.state != "pending":
            return known
        return await self._wait_for(info.id, info.id, timeout)

    async def _reading(self, info: m.RequestInfo, timeout: float | None) -> m.RequestInfo:
        """Wait until an owner decides whether what has run may be read."""
        return await self._wait_for(_reading_of(info.id), info.id, timeout)

    async def _wait_for(self, key: str, request: str, timeout: float | None) -> m.RequestInfo:
        future: asyncio.Future[m.RequestInfo] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        await self._get_request(request)
        try:
            return await asyncio.wait_for(future, timeout)
        except TimeoutError:
            msg = "There is no decision yet."
            raise Interrupted(
                msg, code="interrupted.wait", next_step="Wait again later: the request stays filed."
            ) from None
        finally:
            waiting = self._waiting.get(key, [])
            if future in waiting:
                waiting.remove(future)

    def requests(self, *states: str) -> Any:
        """Return access requests: one's own, and for owners those for their data.

        Args:
            states: pending, approved, denied, expired, withdrawn; none for all.
        """

        async def work() -> list[AccessRequest]:
            answer = await self._ask(m.ListRequests(tuple(states)))
            for info in answer.requests:
                self._heard(info)
            return [AccessRequest(info, self) for info in answer.requests]

        return self._run(work())

    def request(self, request_id: str) -> Any:
        """Return one access request."""

        async def work() -> AccessRequest:
            return AccessRequest(await self._get_request(request_id), self)

        return self._run(work())

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

    async def _decide(
        self, request: AccessRequest | str, decision: str, reason: str, until: float, may_run: bool, may_read: bool
    ) -> AccessRequest:
        info = request.info if isinstance(request, AccessRequest) else await self._get_request(request)
        statement = {
            "action": "decide", "request": info.id, "decision": decision, "plan_hash": info.plan_hash, "reason": reason,
            "until": float(until), "may_run": bool(may_run), "may_read": bool(may_read),
        }  # fmt: skip
        body = m.Decide(info.id, decision, reason, float(until), bool(may_run), bool(may_read), self._sign(statement))
        decided = (await self._ask(body)).info
        self._heard(decided)
        return AccessRequest(decided, self)

    # ---- owners ------------------------------------------------------------------------------------------------------

    def set_policy(
        self,
        dataset: RemoteLazyFrame | str,
        policy: Any = None,
        *,
        roles: Mapping[str, str] | None = None,
        allow: Iterable[str] | None = None,
    ) -> Any:
        """Owner: change a dataset's policy, the roles of its columns, or who may use it (signed with one's own key)."""

        async def work() -> m.Dataset:
            ref = dataset if isinstance(dataset, str) else dataset.dataset_id
            known = self._datasets.get(ref) or (await self._get(ref)).dataset
            key = known.facts.id if known is not None else ref
            text = None if policy is None else policy_text(policy)
            people = None if allow is None else tuple(allow)
            statement = {
                "action": "set_policy", "dataset": key, "policy": text,
                "roles": None if roles is None else dict(roles), "allow": None if people is None else list(people),
            }  # fmt: skip
            body = m.SetPolicy(key, text, None if roles is None else dict(roles), people, self._sign(statement))
            with _line_of_text(policy):
                answer: m.Dataset = await self._ask(body)
            self._datasets[answer.facts.id] = answer
            return answer

        return self._run(work())

    def audit(self, dataset: str | None = None, limit: int = 100) -> Any:
        """Owner and auditor: return the last records of the audit log, newest last."""

        async def work() -> list[m.AuditRecord]:
            return list((await self._ask(m.AuditShow(dataset, limit))).records)

        return self._run(work())

    def exposure(self, dataset: RemoteLazyFrame | str) -> Any:
        """Owner: return what has been released of a dataset so far, per column and audience, as an `Exposure`."""

        async def work() -> Exposure:
            ref = dataset if isinstance(dataset, str) else dataset.dataset_id
            return Exposure(await self._ask(m.Exposure(ref)))

        return self._run(work())

    def verify_audit(self) -> Any:
        """Have the server check its audit log's chain now; returns `bastion_wire.messages.Verified`."""
        return self._run(self._ask(m.AuditVerify()))


class AsyncConnection(Connection):
    """The flavour for a running event loop (the kernel): every network method returns an awaitable.

    >>> connection = await AsyncConnection.open("tcp://…", identity=me)      # doctest: +SKIP
    >>> table = await connection.dataset("titanic")                          # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._loop = None
        self._prepare(None)

    @classmethod
    async def open(
        cls,
        endpoint: str | None = None,
        port: int | None = None,
        *,
        identity: Identity | str | None = None,
        server_key: str | None = None,
        timeout: float = 10.0,
        on_progress: ProgressCallback | None = None,
    ) -> Self:
        """Open a connection on the running loop; arguments as of `Connection`."""
        connection = cls()
        connection._progress = on_progress
        await connection._open(endpoint, port, identity, server_key, timeout)
        return connection

    def _run(self, work: Coroutine[Any, Any, T]) -> Any:
        return work

    def close(self) -> Any:
        """End the session; await it."""
        return self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    def __enter__(self) -> NoReturn:
        msg = "This connection is used with `async with`."
        raise InputError(msg, code="input.async")


class Client:
    """`connection.client`: BastionLab's name for the groups of methods."""

    def __init__(self, connection: Connection) -> None:
        self.polars = PolarsClient(connection)


class PolarsClient:
    """`connection.client.polars`: tables."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send_df(
        self,
        df: Any,
        policy: Any = None,
        sanitized_columns: Iterable[str] = (),
        *,
        name: str | None = None,
        unit: str | None = None,
        replace: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> Any:
        """Upload a table; return its frame.

        Args:
            df: a `polars.DataFrame`, `LazyFrame` or `Series`.
            policy: a `Policy`, its TOML text, or None for the default profile.
            sanitized_columns: columns that are hidden altogether.
            name: what others call it.
            unit: the column that says whom a row is about; "row" where every row is someone of their own.
            replace: whether a dataset of this name becomes a new version.
            on_progress: called with `Progress` messages (bytes sent).

        Raises:
            InputError: no table. PolicyError: a policy that means nothing.
        """
        work = self._connection._upload(df, policy, sanitized_columns, name, unit, replace, on_progress)
        return self._connection._run(work)

    def list_dfs(self) -> Any:
        """Return the frames of all datasets one may see."""
        return self._connection._run(self._connection._list())

    def get_df(self, ref: str) -> Any:
        """Return the frame of a dataset, by id or name."""
        return self._connection._run(self._connection._get(ref))

    def delete_df(self, ref: str) -> Any:
        """Delete a dataset of one's own, by id or name."""

        async def work() -> None:
            frame = await self._connection._get(ref)
            await self._connection._delete(frame.dataset_id)

        return self._connection._run(work())


def table_bytes(df: Any) -> bytes:
    """Return a table as Arrow IPC stream bytes.

    Raises:
        InputError: no table, or columns that cannot be sent (Object).
    """
    if isinstance(df, pl.LazyFrame):
        df = df.collect()
    if isinstance(df, pl.Series):
        df = df.to_frame()
    if not isinstance(df, pl.DataFrame):
        msg = f"A {type(df).__name__} is not a Polars table."
        raise InputError(
            msg,
            code="input.table",
            next_step="Give a polars.DataFrame, for example pl.read_csv(…) or pl.from_pandas(…).",
        )
    if not df.width:
        msg = "The table has no columns."
        raise InputError(msg, code="input.table")
    objects = [name for name, dtype in df.schema.items() if dtype == pl.Object]
    if objects:
        msg = f"The column {objects[0]!r} holds Python objects."
        raise InputError(msg, code="input.table", next_step="Cast it to a data type of Polars, or leave it out.")
    buffer = io.BytesIO()
    df.write_ipc_stream(buffer)
    return buffer.getvalue()


def policy_text(policy: Any) -> str:
    """Return a policy as TOML text; empty for None, the default profile."""
    if policy is None:
        return ""
    if isinstance(policy, str):
        return policy
    if isinstance(policy, Policy):
        return to_toml(policy)
    msg = f"A {type(policy).__name__} is not a policy."
    raise InputError(
        msg, code="input.policy", next_step="Use bastion.policy: Policy.default(), Policy.strict(unit=…), Policy(…)."
    )


def _reading_of(request: str) -> str:
    """Return the key under which one waits for leave to read; no request has it as an id."""
    return f"{request}/reading"


@contextmanager
def _line_of_text(policy: Any) -> Iterator[None]:
    """Leave the line out of errors about a policy that was given as an object: its text was never seen."""
    try:
        yield
    except PolicyError as error:
        raise (error if isinstance(policy, str) else without_line(error)) from None


def _closed() -> BastionError:

    return WireError("The connection is closed.", code="wire.closed", next_step="Connect again.")
