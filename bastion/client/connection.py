"""The connection: every network method once, as a coroutine; a blocking face for programs, an awaitable one for the kernel."""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

import polars as pl
from bastion_plan.canonical import encode
from bastion_plan.errors import (
    BastionError,
    InputError,
    Interrupted,
    NotAuthorised,
    WireError,
    did_you_mean,
)
from bastion_plan.nodes import Inline, Node, Scan, scans
from bastion_policy.facts import DatasetFacts
from bastion_policy.verdict import Outcome, ReleaseNote, StaticVerdict
from bastion_wire import messages as m
from bastion_wire.identity import Identity

from bastion.client import endpoints, known_servers
from bastion.client.attestation import Attestation, Checker, pinned_of
from bastion.client.denied import AccessRequest, Denied, request_of
from bastion.client.frames import FetchableLazyFrame, RemoteLazyFrame, inline_table
from bastion.client.habits import quoted
from bastion.client.news import refused_again, started_anew
from bastion.client.owning import OwnerMethods, line_of_text, policy_text
from bastion.client.release_facts import ReleaseFacts, release_facts
from bastion.client.spending import Estimate, budget_table
from bastion.client.sql_method import placeholders
from bastion.client.terminal import followed
from bastion.client.training.runs import RunBook, TrainingMethods
from bastion.client.training.torch_client import TorchClient

if TYPE_CHECKING:
    from bastion.client.transport import Session

log = logging.getLogger("bastion.connection")
T = TypeVar("T")
ProgressCallback = Callable[[m.Progress], None]


@dataclass(frozen=True)
class Released:
    """A table that the guard let go, with what comes with it.

    frame: the table. note: what was merged, taken out, or logged. elapsed: seconds on the server. about: what else is
    known of it: the smallest group, whether the server is attested, which cells the guard made empty.
    """

    frame: pl.DataFrame
    note: ReleaseNote
    plan_hash: str
    elapsed: float
    plan: Node
    checkpoint: m.Checkpoint | None = None
    about: ReleaseFacts | None = None


#: topics of callbacks that are no pushes
_FACTS, _STATE = ".facts", ".state"
_READING = "/reading"
#: seconds after which a Ctrl-C is heard by whoever waits: Polars' signal handler lets no wait be interrupted
HEARD = 0.1
#: what stopping costs
STOPPED = "A query about people that is stopped while data is read counts as one that failed; after two in a day some are for the owner."


class Connection(OwnerMethods, TrainingMethods):
    """A session with a server, as one identity. Use it as a context manager.

    Args:
        endpoint: "tcp://host:port", a host name (with `port`), an invitation token, or None for the environment
            (BASTION_ENDPOINT) or the saved profile.
        port: of a host name.
        identity: an `Identity`, or the path of its `NAME.key` file; None for BASTION_IDENTITY or the saved profile. The
            passphrase of a sealed file is asked for where there is somebody to ask.
        server_key: the server's CURVE key (40 characters); None for the one in the token, or the one that known_servers or
            the saved profile hold for this very endpoint; with an attestation policy also for what the bootstrap socket at this
            endpoint says, since evidence proves it.
        timeout: seconds to wait for the server.
        on_progress: called with every `Progress` message of long queries and uploads; without it a terminal shows them in a
            line of standard error, and a notebook below the cell (unless BASTION_PROGRESS=0).
        attestation: an attestation policy (or `Pinned`, with collateral) that the server must prove to meet before anything is sent, or the path of its
            TOML; None for BASTION_ATTESTATION, the profile's, or none: then the server is UNATTESTED, and every result says so.

    Raises:
        WireError: the server cannot be reached, shows another key, or does not know this identity.
        AttestationError: the server did not prove what the policy asks.
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
        attestation: Any = None,
    ) -> None:
        self._prepare(on_progress, attestation)
        self._loop: asyncio.AbstractEventLoop | None = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bastion-connection", daemon=True)
        self._thread.start()
        try:
            self._run(self._open(endpoint, port, identity, server_key, timeout))
        except BaseException:
            self._stop_loop()
            raise

    #: whether new facts are asked for as soon as something changed, because properties cannot wait for them
    _eager = False
    #: whether a passphrase is asked for in the terminal; a kernel and the magics ask in the notebook
    _asks = True
    #: of what its frames are made
    _frame_type: type[RemoteLazyFrame] = RemoteLazyFrame
    _fetchable_type: type[FetchableLazyFrame] = FetchableLazyFrame

    def _prepare(self, on_progress: ProgressCallback | None, attestation: Any = None) -> None:
        self._session: Session | None = None
        self._policy_given = attestation
        self._identity: Identity | None = None
        self._server_key = ""
        self._endpoint = ""
        self._datasets: dict[str, m.Dataset] = {}
        #: counts how often the facts of datasets became others; frames that were bound to older ones bind again
        self._edition = 0
        self._stale = False
        #: how often the server was started anew meanwhile, and proved itself again under another key
        self.restarts = 0
        #: why the connection is "refused"
        self.refusal: BastionError | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        #: "back" while the connection stands, "lost" while it is opened anew, "refused" where the server did not prove itself again,
        #: "ended" once the key is revoked
        self.state = "back"
        #: whether another `connect()` of the notebook took its place
        self.replaced = False
        self._states: dict[str, m.RequestInfo] = {}
        self._waiting: dict[str, list[asyncio.Future[m.RequestInfo]]] = {}
        #: requests that a call waits for, and those that a widget fetches by itself: nobody else does, an approval for once
        #: gives its result once
        self._waited: set[str] = set()
        self._claimed: set[str] = set()
        self._callbacks: dict[str, list[Callable[[m.Push], Any]]] = {}
        self._progress = on_progress
        #: the last table that was released to this connection, with its note
        self.last: Released | None = None
        #: what was last heard of one's fits
        self._book = RunBook(self)
        self.client = Client(self)

    # ---- running -----------------------------------------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, T]) -> Any:
        """Run a coroutine to its end on the connection's loop. (The kernel's flavour hands it back to be awaited.)"""
        loop = self._loop
        if loop is None or loop.is_closed():
            work.close()
            raise self._closed()
        if threading.current_thread() is self._thread:
            work.close()
            msg = "A callback of this connection cannot wait for this connection."
            raise InputError(
                msg, code="input.callback", next_step="Start a thread, or use what the callback was given."
            )
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            while True:
                try:
                    return future.result(HEARD)
                except TimeoutError:
                    if future.done():
                        return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise
        except asyncio.CancelledError:
            msg = "The query was stopped."
            raise Interrupted(msg, code="interrupted.cancelled", reason=STOPPED) from None

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
        passphrase: str | None = None,
    ) -> None:
        from bastion.client.transport import Session

        pinned, bootstrap = pinned_of(self._policy_given), None
        given = {"identity": identity, "server_key": server_key, "passphrase": passphrase, "ask": self._asks}
        try:
            if passphrase is None:
                target = endpoints.resolve(endpoint, port, **given)
            else:  # it takes its time to make a key of it
                target = await asyncio.to_thread(endpoints.resolve, endpoint, port, **given)
        except WireError as error:
            if error.code != "wire.server-unknown" or pinned.policy is None or pinned.policy.unattested:
                raise
            # INVARIANT: this key proves nothing yet: the policy must be met by evidence about it before anything is sent
            bootstrap = endpoints.address_of(endpoint, port)
            offer = await known_servers.ask(bootstrap, timeout)
            target = endpoints.resolve(offer.endpoint, None, **{**given, "server_key": offer.server_key})
        self._identity = target.identity
        self._session = await Session.open(
            target.endpoint, target.identity, target.server_key, enrol=target.enrol, timeout=timeout,
            checker=Checker(pinned.policy, target.endpoint, collateral=pinned.collateral, roots=pinned.roots, look=pinned.look),
            bootstrap=bootstrap,
        )  # fmt: skip
        self._found()
        own = weakref.ref(self)

        def pushed(push: m.Push) -> None:
            connection = own()
            if connection is not None:
                connection._pushed(push)

        def changed(state: str) -> None:
            connection = own()
            if connection is not None:
                connection._state_changed(state)

        self._session.on_push(pushed)
        self._session.on_state(changed)
        await self._refresh()

    async def _close(self) -> None:
        session, self._session = self._session, None
        self._give_up(self._closed())
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        if session is not None:
            await session.close()

    @property
    def _open_session(self) -> Session:
        return self._session_for()

    def _session_for(self, plan: Node | None = None) -> Session:
        """Return the session. plan: the query that it is wanted for, to say which frame is of no use any more."""
        if self._session is None:
            raise self._closed(plan)
        return self._session

    def _closed(self, plan: Node | None = None) -> BastionError:
        if not self.replaced:
            return WireError("The connection is closed.", code="wire.closed", next_step="Connect again.")
        what, step = "This", "Run the cell again that makes it."
        if plan is not None:
            card = next((self._datasets[key] for key in sorted(scans(plan)) if key in self._datasets), None)
            name = card.facts.name if card is not None else "…"
            variable = name if name.isidentifier() and not iskeyword(name) else "frame"
            what, step = "This frame", f"Run the cell again that makes it: {variable} = dataset({quoted(name)})."
        msg = f"{what} belongs to a connection that connect() replaced."
        return WireError(msg, code="wire.closed", next_step=step)

    async def _ask(self, body: m.Body, on_progress: ProgressCallback | None = None) -> Any:
        return await self._open_session.ask(body, on_progress or self._progress)

    def _sign(self, statement: Mapping[str, Any]) -> bytes:
        if self._identity is None:
            raise self._closed()
        return self._identity.sign_statement(statement, audience=self._server_key)

    async def _signed(self, statement: Mapping[str, Any]) -> bytes:
        """Sign for the server that is there now: one that was started anew may have another key."""
        await self._open_session.ready()
        return self._sign(statement)

    # ---- pushes ------------------------------------------------------------------------------------------------------

    def _pushed(self, push: m.Push) -> None:
        if push.request is not None:
            self._heard(push.request)
        if push.run is not None:
            self._book.heard(push.run)
        if push.topic == "datasets":
            self._outdated()
        self._call(push.topic, push)
        self._call("*", push)

    def _call(self, topic: str, value: Any) -> None:
        for callback in list(self._callbacks.get(topic, ())):
            try:
                result = callback(value)
            except Exception as error:  # noqa: BLE001 - its trouble must not be that of the others
                log.warning("a callback of the connection failed: %s", type(error).__name__)
                continue
            if asyncio.iscoroutine(result):
                self._spawn(result)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run on the loop of the connection; what becomes of it is nobody's to wait for."""
        try:
            task = asyncio.get_running_loop().create_task(work)
        except RuntimeError:  # no loop runs here: there is nothing to keep up either
            work.close()
            return
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, BastionError):
            log.warning("a callback of the connection failed: %s", type(error).__name__)

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
        """Call `callback(push)` for every push of a topic ("decision", "request", "revoked", "datasets", "run"; "*": all).

        What was decided or filed while the connection was lost is told as such a push once it is back. Callbacks run on the
        connection's loop: they must not block. Returns a function that takes the callback off again.
        """
        return self._listen(topic, callback)

    def _listen(self, topic: str, callback: Callable[[Any], Any]) -> Callable[[], None]:
        self._callbacks.setdefault(topic, []).append(callback)

        def remove() -> None:
            if callback in self._callbacks.get(topic, []):
                self._callbacks[topic].remove(callback)

        return remove

    def on_datasets(self, callback: Callable[[], Any]) -> Callable[[], None]:
        """Call `callback()` after datasets came, changed or went; `facts` and the verdicts of frames are the new ones then.

        It runs on the connection's loop, as those of `on_push`. Returns a function that takes the callback off again.
        """
        return self._listen(_FACTS, lambda _: callback())

    def on_state(self, callback: Callable[[str], Any]) -> Callable[[], None]:
        """Call `callback(state)` when the connection is "lost", is "back" (by itself), is "refused" (the server did not prove again
        what the policy asks), or has "ended" (the key was revoked).

        It runs on the connection's loop, as those of `on_push`. Returns a function that takes the callback off again.
        """
        return self._listen(_STATE, callback)

    def on_decision(self, callback: Callable[[AccessRequest], Any]) -> Callable[[], None]:
        """Call `callback(request)` when one of one's own requests is decided, ends, or its approval is used."""
        return self.on_push(lambda push: callback(request_of(push.request, self)) if push.request else None, "decision")

    def on_request(self, callback: Callable[[AccessRequest], Any]) -> Callable[[], None]:
        """Owner: call `callback(request)` when someone files a request for one's data."""
        return self.on_push(lambda push: callback(request_of(push.request, self)) if push.request else None, "request")

    @property
    def polars(self) -> PolarsClient:
        """Methods for tables, as `connection.client.polars`: what BastionLab's `with Connection(…) as client` gave."""
        return self.client.polars

    # ---- who and where -----------------------------------------------------------------------------------------------

    @property
    def welcome(self) -> m.Welcome:
        """What the server said at the beginning: its name, version, one's roles, notices."""
        return self._open_session.welcome  # type: ignore[no-any-return]

    @property
    def attestation(self) -> Attestation:
        """Whether the server has proved what it is: `.attested`, `.light`, `.sentence`, and the raw claims by `.to_dict()`."""
        return self._session.attestation if self._session is not None else Attestation()

    def attest(self) -> Any:
        """Ask the server for new evidence now; returns `connection.attestation`.

        Raises:
            AttestationError: it did not prove what the policy asks; the connection is closed.
        """
        return self._run(self._open_session.attest())

    @property
    def _attested(self) -> bool:
        return self.attestation.attested

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

    # ---- a connection that was lost ----------------------------------------------------------------------------------

    def _state_changed(self, state: str) -> None:
        self.state = state
        session = self._session
        if session is None:
            return
        if state == "back":
            if session.restarts > self.restarts:
                self._say(started_anew(self))
            self._found()
            # pushes that were missed are made up for: facts anew, and states that somebody waits for
            self._outdated()
            self._spawn(self._catch_up())
            self._spawn(self._book.catch_up())
        elif state == "refused" and session.refusal is not None:
            self.refusal = session.refusal
            self._give_up(session.refusal)
            self._say(refused_again(session.refusal))
        elif state == "ended":
            self._give_up(_revoked())
        self._call(_STATE, state)

    def _found(self) -> None:
        """Take over where the server is now, and its key."""
        session = self._open_session
        self._server_key, self._endpoint, self.restarts = session.server_key, session.endpoint, session.restarts

    def _forgotten(self, request: str, error: BastionError) -> None:
        """End the waiting for a request that the server does not know any more."""
        self._states.pop(request, None)
        for key in (request, _reading_of(request)):
            for future in self._waiting.pop(key, ()):
                if not future.done():
                    future.set_exception(error)
                    future.exception()

    def _say(self, line: str) -> None:
        """Tell a program's log; a front end that listens for states says it itself."""
        if not self._callbacks.get(_STATE):
            log.warning(line)

    def _give_up(self, error: BastionError) -> None:
        """End all waiting for decisions, and for fits."""
        self._book.give_up(error)
        for futures in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # whoever waits gets it; if nobody does, that is no news
        self._waiting.clear()

    async def _catch_up(self) -> None:
        """Ask for the states of requests, and go on with what changed as if it had been pushed."""
        open_ones = {key for key, info in self._states.items() if _undecided(info)}
        open_ones |= {key.removesuffix(_READING) for key in self._waiting}
        listens = bool(self._callbacks.get("request") or self._callbacks.get("*"))
        if not open_ones and not listens:
            return
        try:
            found: list[m.RequestInfo] = list((await self._ask(m.ListRequests())).requests)
        except BastionError:
            if not self._open_session.open_now:
                return  # lost again: the next time that it is back
            found = []
        for key in sorted(open_ones - {info.id for info in found}):  # more than fit into a list
            try:
                found.append((await self._ask(m.GetRequest(key, look=False))).info)
            except BastionError as error:
                if error.code.startswith(
                    "missing"
                ):  # a server that keeps nothing on a disk forgets requests with its end
                    self._forgotten(key, error)
        for info in found:
            known = self._states.get(info.id)
            mine, new = info.requester == self.identity, known is None or _standing(known) != _standing(info)
            if (info.id in open_ones and new) or (known is None and not mine and info.state == "pending"):
                self._pushed(m.Push("decision" if mine else "request", info))

    # ---- datasets ----------------------------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        self._stale = False  # before the question: a push that comes meanwhile is about something newer
        try:
            answer = await self._ask(m.ListDatasets())
        except BaseException:
            self._stale = True
            raise
        self._know({d.facts.id: d for d in answer.datasets})

    def _know(self, datasets: dict[str, m.Dataset]) -> None:
        """Take over what is known of datasets now. Never changed in place: other threads may be reading it."""
        if datasets != self._datasets:
            self._datasets = datasets
            self._edition += 1

    def _outdated(self) -> None:
        """Something about the datasets changed: ask for it before it is used next, or at once where somebody listens."""
        self._stale = True
        if self._eager or self._callbacks.get(_FACTS):
            self._spawn(self._renew())

    async def _renew(self) -> None:
        """Have the newest facts, and tell those who listen for them."""
        with suppress(BastionError):  # it stays as it was until the next use
            await self.fresh()
            self._call(_FACTS, None)

    async def fresh(self) -> None:
        """Have the facts of datasets be the newest that were told of.

        Without news of them nothing is asked, nor while the connection is lost. A front end awaits it, on the connection's
        loop, before it runs a cell.
        """
        while self._behind and self.connected and self.state == "back":
            if self._refreshing is None or self._refreshing.done():
                self._refreshing = asyncio.ensure_future(self._refresh())
                self._refreshing.add_done_callback(lambda task: task.cancelled() or task.exception())  # if nobody waits
            await asyncio.shield(self._refreshing)

    @property
    def _behind(self) -> bool:
        """Whether facts are to be asked for, or being asked for."""
        return self._stale or (self._refreshing is not None and not self._refreshing.done())

    def _up_to_date(self) -> None:
        """As `fresh`, from a property of the blocking flavour; what cannot be had now stays as it was."""
        session, loop = self._session, self._loop
        if not self._behind or self._eager or session is None or loop is None or not session.open_now:
            return
        if threading.current_thread() is not self._thread:
            with suppress(BastionError):
                self._run(self.fresh())

    @property
    def facts(self) -> dict[str, DatasetFacts]:
        """Public facts of the datasets one may see, by id; what local validation works on."""
        return {key: d.facts for key, d in self._cards().items()}

    def _cards(self) -> dict[str, m.Dataset]:
        """Return the cards by id, the newest that can be had now."""
        self._up_to_date()
        return self._datasets

    @property
    def edition(self) -> int:
        """A number that grows whenever the facts of a dataset become others."""
        self._up_to_date()
        return self._edition

    def _frame_of(self, dataset: m.Dataset) -> FetchableLazyFrame:
        self._know({**self._datasets, dataset.facts.id: dataset})
        return self._fetchable_type(self, Scan(dataset.facts.id), dataset=dataset)

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
        return self._frame_type(self, Inline(inline_table(data)))

    def sql(self, query: str, *placed: RemoteLazyFrame, **frames: RemoteLazyFrame) -> Any:
        """Return the frame of an SQL query over the datasets one may see, by name, and the frames given.

        Args:
            query: the text; each `{}` in it stands for the next of `placed`.
            placed: frames, in the order of the `{}`. frames: others, by the name they have in the text.
        """

        async def work() -> RemoteLazyFrame:
            from bastion.sql import parse_sql, table_names

            text, named = placeholders(query, placed)
            tables: dict[str, RemoteLazyFrame] = {**frames, **named}
            for name in table_names(text):
                if name not in tables:
                    tables[name] = await self._get(name)
            return self._frame_type(
                self, parse_sql(text, {k: f.plan for k, f in tables.items()}, self._schema)
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
        sealed: bool = False,
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
        statement: dict[str, Any] = {"action": "upload", **terms, "hidden": list(terms["hidden"])}  # type: ignore[call-overload]
        kept, box = (None, b"") if not sealed else await self._sealed(str(terms["name"]), replace=bool(replace))
        if kept is not None:
            statement["sealed"] = hashlib.sha256(box).digest()
        begin = m.UploadBegin(**terms, signed=await self._signed(statement), sealed=box)  # type: ignore[arg-type]
        with line_of_text(policy):
            async with followed(on_progress or self._progress, wanted=not self._eager) as tell:
                answer = await self._open_session.upload(begin, memoryview(data), tell)
        if kept is not None:
            self._keep(kept, answer)
        return self._frame_of(answer)

    async def _save(self, plan: Node, name: str | None) -> FetchableLazyFrame:
        return self._frame_of(await self._ask(m.Save(encode(plan), name)))

    async def _delete(self, dataset: str) -> None:
        await self._ask(m.Delete(dataset, await self._signed({"action": "delete", "dataset": dataset})))
        self._know({key: card for key, card in self._datasets.items() if key != dataset})

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
        async with followed(on_progress or self._progress, wanted=not self._eager) as tell:
            answer = await self._session_for(plan).query(m.Query(encode(plan), mode, request, epsilon), tell)
        if isinstance(answer, m.Denial):
            if answer.request is not None:
                self._heard(answer.request)
            raise Denied(answer, plan, self)
        if isinstance(answer, m.Explained):
            msg = "The server explained the query instead of running it."
            raise InputError(msg, code="wire.unexpected")
        table, data = answer
        frame = pl.read_ipc(io.BytesIO(data))
        about = release_facts(
            frame, table.note, plan, {key: d.facts for key, d in self._datasets.items()}, self.identity, attested=self._attested
        )  # fmt: skip
        released = Released(frame, table.note, table.plan_hash, table.elapsed, plan, table.checkpoint, about)
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
        answer = await self._session_for(plan).query(m.Query(encode(plan), "explain"), self._progress)
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

    async def _get_request(self, request: str, *, look: bool = True) -> m.RequestInfo:
        info: m.RequestInfo = (await self._ask(m.GetRequest(request, look))).info
        self._heard(info)
        return info

    async def _withdraw(self, request: str) -> AccessRequest:
        info = (await self._ask(m.Withdraw(request))).info
        self._heard(info)
        return request_of(info, self)

    async def _decision(self, info: m.RequestInfo, timeout: float | None) -> m.RequestInfo:
        """Wait for the push of a decision (the state is asked for once, after listening has begun: nothing slips by)."""
        known = self._known_state(info)
        if known.state != "pending":
            return known
        return await self._wait_for(info.id, info.id, timeout)

    async def _reading(self, info: m.RequestInfo, timeout: float | None) -> m.RequestInfo:
        """Wait until an owner decides whether what has run may be read."""
        return await self._wait_for(_reading_of(info.id), info.id, timeout)

    async def _ask_state(self, request: str) -> None:
        """Ask for the state of a request that is waited for; without a connection that is done once it is back."""
        while True:
            try:
                await self._get_request(request)
            except WireError as error:
                if self.state == "lost":
                    return
                if error.code != "wire.lost" or not self.connected:
                    raise
                continue  # it is back already
            return

    async def _wait_for(self, key: str, request: str, timeout: float | None) -> m.RequestInfo:
        future: asyncio.Future[m.RequestInfo] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        self._waited.add(request)
        try:
            await self._ask_state(request)
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
            self._waited.discard(request)

    def requests(self, *states: str) -> Any:
        """Return access requests: one's own, and for owners those for their data.

        Args:
            states: pending, approved, denied, expired, withdrawn; none for all.
        """

        async def work() -> list[AccessRequest]:
            answer = await self._ask(m.ListRequests(tuple(states)))
            for info in answer.requests:
                self._heard(info)
            return [request_of(info, self) for info in answer.requests]

        return self._run(work())

    def request(self, request_id: str) -> Any:
        """Return one access request."""

        async def work() -> AccessRequest:
            return request_of(await self._get_request(request_id), self)

        return self._run(work())


class AsyncConnection(Connection):
    """The flavour for a running event loop (the kernel): every network method returns an awaitable.

    >>> connection = await AsyncConnection.open("tcp://…", identity=me)      # doctest: +SKIP
    >>> table = await connection.dataset("titanic")                          # doctest: +SKIP
    """

    _eager = True
    _asks = False

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
        passphrase: str | None = None,
        attestation: Any = None,
    ) -> Self:
        """Open a connection on the running loop; arguments as of `Connection`, and the passphrase of a sealed key file.

        Raises:
            InputError: input.passphrase, the key file is sealed and no passphrase is given.
        """
        connection = cls()
        connection._progress, connection._policy_given = on_progress, attestation
        await connection._open(endpoint, port, identity, server_key, timeout, passphrase)
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
        self.torch = TorchClient(connection)

    def upload_df(self, df: Any, policy: Any = None, sanitized_columns: Iterable[str] = (), **options: Any) -> Any:
        """Upload a table; return its frame. The same as `polars.send_df`, which see for the arguments."""
        return self.polars.send_df(df, policy, sanitized_columns, **options)


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
        sealed: bool = False,
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
            sealed: keep the key of the table oneself: only this attested server has it, until it stops or `revoke_key`. It is kept
                in `sealed_directory()`; a table whose key is lost is lost.

        Raises:
            InputError: no table; input.sealed.unattested, the server has not proved what it is. PolicyError: a policy that means nothing.
        """
        work = self._connection._upload(df, policy, sanitized_columns, name, unit, replace, on_progress, sealed)
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


def _reading_of(request: str) -> str:
    """Return the key under which one waits for leave to read; no request has it as an id."""
    return request + _READING


def _undecided(info: m.RequestInfo) -> bool:
    """Whether something is still to be heard of a request: a decision, or leave to read what ran."""
    return info.state == "pending" or (info.state == "approved" and not info.ended)


def _standing(info: m.RequestInfo) -> tuple[Any, ...]:
    """Return what of a request may change after it was filed."""
    return info.state, info.may_run, info.may_read, info.ran, info.ended, info.answer


def _revoked() -> BastionError:
    return NotAuthorised(
        "The server's owner has revoked this key.", code="wire.auth.revoked", next_step="Ask the server's owner."
    )
