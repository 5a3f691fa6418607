"""A session with a server: requests, streams, uploads and pushes over one connection that is opened anew when lost."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self

import msgspec
import zmq
from bastion_plan.errors import AttestationError, BastionError, NotAuthorised, WireError
from bastion_wire.codec import MalformedError, decode_reply, encode_request, raise_failed
from bastion_wire.identity import Identity
from bastion_wire.invitation import Invitation, public_half
from bastion_wire.messages import (
    CHUNK,
    Cancel,
    Chunk,
    Credit,
    Dataset,
    Denial,
    Explained,
    Failed,
    GetWeights,
    Hello,
    Model,
    ModelBegin,
    Progress,
    Push,
    Query,
    Table,
    UploadBegin,
    UploadChunk,
    UploadEnd,
    UploadReady,
    Weights,
    Welcome,
)
from bastion_wire.streams import Credits, Receipt, chunks

from bastion.client.attestation import Attestation, Checker
from bastion.client.known_servers import Offer, ask
from bastion.client.link import Link

log = logging.getLogger("bastion.session")

ProgressCallback = Callable[[Progress], None]

#: seconds without any sign of life of a request (the server gives one every 10 s) before it is given up
SILENCE = 60.0
_PROGRESS_EVERY = 0.1
_BACKOFF = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
#: seconds that the bootstrap socket has to tell the key of a server that was started anew
_ASKS = 3.0
#: pushes that are kept of a server which has not shown yet what it is
_EARLY = 64
#: what a connection to a server ends with that has another key or port since
_MOVED = ("wire.server-key", "wire.unreachable", "wire.timeout")


class _Pending:
    """A request that waits for its answer."""

    def __init__(self, on_progress: ProgressCallback | None) -> None:
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.on_progress = on_progress
        self.heard = time.monotonic()
        self.table: Table | Weights | None = None
        self.parts: list[zmq.Frame] = []
        self.receipt: Receipt | None = None
        self.credits: Credits | None = None  # of an upload
        self.end: _Pending | None = None  # the other half of an upload
        self.error: Exception | None = None
        self._told = 0.0

    def tell(self, progress: Progress, *, always: bool = True) -> None:
        """Call the progress callback; what it raises is its own trouble."""
        now = time.monotonic()
        if self.on_progress is None or not (always or now - self._told >= _PROGRESS_EVERY):
            return
        self._told = now
        try:
            self.on_progress(progress)
        except Exception:
            log.warning("a progress callback failed", exc_info=True)
            self.on_progress = None

    def finish(self, body: Any) -> None:
        """Give the answer to whoever waits."""
        if not self.answer.done():
            self.answer.set_result(body)

    def fail(self, error: Exception) -> None:
        """Raise `error` in whoever waits."""
        self.error = error
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # whoever waits gets it; if nobody does, that is no news
        if self.credits is not None:
            self.credits.fail(error)
        if self.end is not None:
            self.end.fail(error)

    @property
    def data(self) -> bytes:
        """What came with a table, or with weights."""
        if len(self.parts) == 1:
            return self.parts[0].bytes
        return b"".join(part.buffer for part in self.parts)


class Session:
    """Requests to one server as one identity, on one asyncio loop. Made by `Session.open`.

    A request that was waiting when the connection was lost fails with wire.lost; the next request connects anew. With `bootstrap`
    it follows a server that was started anew under another key, if that one proves what the policy asks.
    """

    welcome: Welcome

    def __init__(
        self,
        endpoint: str,
        identity: Identity,
        server_key: str,
        timeout: float,
        checker: Checker | None = None,
        bootstrap: str | None = None,
    ) -> None:
        self.endpoint, self.server_key = endpoint, server_key
        self._bootstrap = bootstrap
        #: how often it followed a server to another key
        self.restarts = 0
        #: why it ended, where the server did not prove itself again
        self.refusal: AttestationError | None = None
        self._checker = checker or Checker(None, endpoint)
        self._identity, self._timeout = identity, timeout
        self._link: Link | None = None
        #: the link whose server has shown what it is, as far as the policy asks
        self._proved: Link | None = None
        #: over another link: the one answer that is heard, and pushes that are told once it is proved
        self._greeting: tuple[int, list[Push]] = (0, [])
        self._opening = asyncio.Lock()
        self._pending: dict[int, _Pending] = {}
        self._revoked = False
        self._next = 0
        self._callbacks: list[Callable[[Push], Any]] = []
        self._state_callbacks: list[Callable[[str], Any]] = []
        self._state = "back"
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @classmethod
    async def open(
        cls,
        endpoint: str,
        identity: Identity,
        server_key: str,
        enrol: Invitation | str | None = None,
        timeout: float = 10.0,
        checker: Checker | None = None,
        bootstrap: str | None = None,
    ) -> Self:
        """Connect, and enrol first if there is an invitation.

        Args:
            endpoint: "tcp://host:port".
            identity: who one is; for an invitation, of the name it was made for.
            server_key: the server's CURVE key, 40 Z85 characters.
            enrol: an invitation (or its one-time secret); one that this identity has used already does no harm.
            timeout: seconds for connecting.
            checker: compares what the server shows of itself with a policy.
            bootstrap: where the server's key can be asked for after it was started anew. Only for a policy that asks for proof:
                what is told there proves nothing.

        Raises:
            WireError: wire.unreachable, wire.server-key, wire.timeout, wire.auth.unknown-key.
            AttestationError: tee.*, the server did not prove what the policy asks.
        """
        session = cls(endpoint, identity, server_key, timeout, checker, bootstrap)
        try:
            if enrol is not None:
                await session._enrol(enrol.secret if isinstance(enrol, Invitation) else enrol)
            await session._connected()
        except BaseException:
            await session.close()
            raise
        return session

    async def ask(self, body: Any, on_progress: ProgressCallback | None = None, *, silence: float = SILENCE) -> Any:
        """Send a request and return the body of its answer.

        Cancelling the awaiting task stops the request on the server.
        silence: seconds without a sign of life before the request is given up.

        Raises:
            BastionError: the typed error of a Failed answer; wire.lost, wire.timeout, wire.malformed.
        """
        return (await self._request(body, on_progress, silence))[0]

    async def query(
        self, body: Query, on_progress: ProgressCallback | None = None
    ) -> tuple[Table, bytes] | Denial | Explained:
        """Send a query; a table comes with its Arrow IPC file bytes, whole and checked.

        Raises:
            BastionError: as `ask`; wire.stream-order, wire.stream-size, wire.stream-digest.
        """
        answer, data = await self._request(body, on_progress, SILENCE)
        if isinstance(answer, Table):
            return answer, data
        if isinstance(answer, Denial | Explained):
            return answer
        raise _surprise()

    async def weights(self, run: str, on_progress: ProgressCallback | None = None) -> tuple[Weights, bytes] | Denial:
        """Take the weights of a trained model home: safetensors bytes, whole and checked.

        Raises:
            BastionError: as `query`.
        """
        answer, data = await self._request(GetWeights(run), on_progress, SILENCE)
        if isinstance(answer, Weights):
            return answer, data
        if isinstance(answer, Denial):
            return answer
        raise _surprise()

    async def upload(
        self, begin: UploadBegin | ModelBegin, data: bytes | memoryview, on_progress: ProgressCallback | None = None
    ) -> Dataset | Model:
        """Send a table (Arrow IPC stream bytes), or a model's weights, as fast as the server takes it; returns its card.

        `size`, and `sha256` where it is empty, are filled in; a signed upload has both already.

        Raises:
            BastionError: as `ask`; nothing is kept by the server then.
        """
        view = memoryview(data).cast("B")
        if not begin.sha256:
            digest = await asyncio.to_thread(lambda: hashlib.sha256(view).digest())
            begin = msgspec.structs.replace(begin, sha256=digest)
        begin = msgspec.structs.replace(begin, size=len(view))
        link = await self._connected()
        begin_id, begun = self._register(on_progress)
        end_id, ended = self._register(on_progress)
        begun.credits, begun.end = Credits(0), ended
        try:
            await link.send(encode_request(begin_id, begin))
            ready = await self._wait(begun, silence=SILENCE)
            if not isinstance(ready, UploadReady):
                raise _surprise()
            begun.credits.add(ready.credit)
            for seq, piece in enumerate(chunks(view)):
                await begun.credits.take(SILENCE)
                await link.send(encode_request(0, UploadChunk(ready.upload, seq)), piece)
                begun.tell(Progress("sending", min(len(view), (seq + 1) * CHUNK), len(view)), always=False)
            begun.tell(Progress("sending", len(view), len(view)))
            await link.send(encode_request(end_id, UploadEnd(ready.upload)))
            answer = await self._wait(ended, silence=SILENCE)
        finally:
            del self._pending[begin_id], self._pending[end_id]
            if not ended.answer.done() and begun.error is None:
                link.send_now(encode_request(0, Cancel(begin_id)))
        if not isinstance(answer, Model if isinstance(begin, ModelBegin) else Dataset):
            raise _surprise()
        return answer  # type: ignore[no-any-return]

    def on_push(self, callback: Callable[[Push], Any]) -> None:
        """Call `callback(push)` for each push, on the session's loop; the connection is then kept up between requests."""
        self._callbacks.append(callback)

    def on_state(self, callback: Callable[[str], Any]) -> None:
        """Call `callback(state)`, on the session's loop, when the connection is "lost", is "back", "refused" or has "ended".

        After "lost" it is opened anew, by the next request or by itself; after "refused" (the server did not prove again what the
        policy asks: `refusal`) by the next request alone; after "ended" (the key was revoked) it is not.
        """
        self._state_callbacks.append(callback)

    @property
    def attestation(self) -> Attestation:
        """What the last greeting came to."""
        return self._checker.now

    async def ready(self) -> None:
        """Connect anew where the connection was lost: `server_key` is the one of the server that is there now.

        Raises:
            BastionError: as `open`.
        """
        await self._connected()

    async def attest(self) -> Attestation:
        """Ask for new evidence now.

        Raises:
            AttestationError: tee.*, it is refused; the connection is closed.
        """
        link = await self._connected()
        async with self._opening:
            await self._greet(link, self.server_key, again=True)
        return self._checker.now

    @property
    def open_now(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return self._link is not None and self._link.open_now

    async def close(self) -> None:
        """End the session; what waits fails with wire.lost."""
        self._closed = True
        if self._link is not None:
            self._link.close(linger=100)
            self._link = None
        self._fail_all(WireError("The session was closed.", code="wire.closed", next_step="Open a new one."))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- connecting --------------------------------------------------------------------------------------------------

    async def _connected(self) -> Link:
        """Return an open link with a greeted server."""
        if self._link is not None:
            self._link.check()
        if self._link is not None and self._link.open_now and not self._checker.due:
            return self._link
        async with self._opening:
            if self._link is not None and self._link.open_now:
                if self._checker.due:
                    await self._greet(self._link, self.server_key, again=True)
                return self._link
            if self._closed:
                raise WireError("The session was closed.", code="wire.closed", next_step="Open a new one.")
            self._link = await self._found()
            self._tell_state("back")
            return self._link

    async def _found(self) -> Link:
        """Return a link to the server, greeted: the one there was, or the one that meets the policy under the key of its next start."""
        me = self._identity
        try:
            link = await self._open_link(me.curve_key, me.curve_secret, self.endpoint, self.server_key)
        except WireError as error:
            offer = await self._offered(error)
            link = await self._open_link(me.curve_key, me.curve_secret, offer.endpoint, offer.server_key)
            await self._greet(link, offer.server_key)
            self.endpoint, self.server_key = offer.endpoint, offer.server_key
            self._checker.moved(offer.endpoint)
            self.restarts += 1
            return link
        await self._greet(link, self.server_key)
        return link

    async def _offered(self, error: WireError) -> Offer:
        """Return what the bootstrap socket tells of a server that does not answer as before; raises `error` where that is nothing new.

        INVARIANT: this key proves nothing: evidence about it must meet the policy before anything is sent.
        """
        if self._bootstrap is None and error.code == "wire.server-key" and self._checker.proved:
            error.next_step = (
                "An attested server has another key after each start. Connect again by its bootstrap port, with the "
                "same policy: such a connection follows it."
            )
        if self._bootstrap is None or error.code not in _MOVED:
            raise error
        try:
            offer = await ask(self._bootstrap, min(self._timeout, _ASKS))
        except BastionError:
            raise error from None
        if (offer.endpoint, offer.server_key) == (self.endpoint, self.server_key):
            raise error
        return offer

    async def _greet(self, link: Link, server_key: str, *, again: bool = False) -> None:
        """Say hello, and look at what the server shows of itself; a link that is refused is closed.

        INVARIANT: nothing is sent over a link before this returned.
        """
        nonce = self._checker.nonce()
        try:
            welcome = await self._exchange(link, Hello(client="bastion", nonce=nonce))
            if not isinstance(welcome, Welcome):
                raise _surprise()
            await self._checker.check(welcome, nonce, server_key, again=again)
        except BaseException as error:
            link.close()
            standing = self._link is link
            if standing and isinstance(error, BastionError):
                self._fail_all(error)  # what else waits on it
            if isinstance(error, AttestationError):
                self._link, self.refusal = (None if standing else self._link), error
                self._tell_state("refused")
            elif standing and isinstance(error, Exception):
                self._dropped()
            raise
        self.welcome = welcome
        early, self._proved, self._greeting = self._greeting[1], link, (0, [])
        for push in early:
            self._pushed(push)

    async def _open_link(self, public: str, secret: str, endpoint: str, server_key: str) -> Link:
        link = Link(lambda frames: self._on_message(link, frames), lambda error: self._on_end(link, error))
        await link.open(endpoint, public, secret, server_key, self._timeout)
        return link

    async def _exchange(self, link: Link, body: Any) -> Any:
        """Ask over a link that is not the session's yet."""
        request_id, pending = self._register(None)
        self._greeting = (request_id, [])
        try:
            await link.send(encode_request(request_id, body))
            async with asyncio.timeout(self._timeout):
                return await pending.answer
        except TimeoutError:
            raise _silent(self._timeout) from None
        finally:
            self._pending.pop(request_id, None)

    async def _enrol(self, secret: str) -> None:
        me = self._identity
        signed = me.sign_statement(
            {"action": "enrol", "name": me.name, "curve_key": me.curve_key}, audience=self.server_key
        )
        hello = Hello(
            client="bastion", enrol=urlsafe_b64encode(signed).decode(), name=me.name, verify_key=me.verify_key
        )
        try:
            link = await self._open_link(public_half(secret), secret, self.endpoint, self.server_key)
        except NotAuthorised:
            await self._enrolled_already()
            return
        try:
            await self._exchange(link, hello)
        except NotAuthorised as error:
            if error.code != "wire.auth.invite-used":
                raise
            await self._enrolled_already()
        finally:
            link.close()

    async def _enrolled_already(self) -> None:
        """An invitation that does not open any more: fine if it was this identity that used it."""
        try:
            await self._connected()
        except NotAuthorised:
            raise NotAuthorised(
                "The invitation has been used, has expired or was withdrawn.",
                code="wire.auth.invite-used",
                next_step="Ask the server's owner for a new one.",
            ) from None

    def _on_end(self, link: Link, error: BastionError) -> None:
        link.close()
        if link is not self._proved:
            if (greeting := self._pending.get(self._greeting[0])) is not None:
                greeting.fail(error)
            return
        revoked, self._revoked = self._revoked, False
        self._fail_all(_revoked() if revoked else error)
        if self._link is link:
            self._dropped("ended" if revoked else "lost")

    def _dropped(self, state: str = "lost") -> None:
        """Be without a link; look for another by itself where somebody waits for pushes."""
        self._link = None
        self._tell_state(state)
        if self._callbacks and not self._closed:
            self._spawn(self._reconnect())

    async def _reconnect(self) -> None:
        """Be there for pushes."""
        for delay in (*_BACKOFF, *([_BACKOFF[-1]] * 1000)):
            await asyncio.sleep(delay)
            try:
                await self._connected()
            except AttestationError:
                return  # whoever listens was told
            except NotAuthorised:
                self._tell_state("ended")
                return
            except BastionError:
                continue
            return

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- requests ----------------------------------------------------------------------------------------------------

    def _register(self, on_progress: ProgressCallback | None) -> tuple[int, _Pending]:
        self._next += 1
        pending = self._pending[self._next] = _Pending(on_progress)
        return self._next, pending

    async def _request(self, body: Any, on_progress: ProgressCallback | None, silence: float) -> tuple[Any, bytes]:
        encode_request(0, body)  # what cannot be sent need not wait for a connection
        link = await self._connected()
        request_id, pending = self._register(on_progress)
        try:
            await link.send(encode_request(request_id, body))
            answer = await self._wait(pending, silence=silence)
        except BaseException:
            if not pending.answer.done():
                link.send_now(encode_request(0, Cancel(request_id)))
            raise
        finally:
            self._pending.pop(request_id, None)
        return answer, pending.data

    async def _wait(self, pending: _Pending, *, silence: float) -> Any:
        """Wait for the answer as long as there are signs of life."""
        pending.heard = time.monotonic()
        while True:
            left = pending.heard + silence - time.monotonic()
            if left <= 0 and not pending.answer.done():
                raise _silent(silence)
            done, _ = await asyncio.wait({pending.answer}, timeout=max(left, 0))
            if done:
                return pending.answer.result()

    # ---- messages ----------------------------------------------------------------------------------------------------

    def _on_message(self, link: Link, frames: list[zmq.Frame]) -> None:
        try:
            reply = decode_reply(frames[0].buffer)
        except MalformedError as error:
            log.warning("the server sent a message that this release does not understand")
            waiting = self._pending.get(error.request_id)
            if waiting is not None and (link is self._proved or error.request_id == self._greeting[0]):
                waiting.fail(error)
            return
        body = reply.body
        if link is not self._proved and not self._heard_early(reply.id, body):
            return
        if isinstance(body, Push):
            self._pushed(body)
            return
        if reply.id == 0 and isinstance(body, Failed):
            # the server could not read which request it refuses: nobody is left to wait for it
            try:
                raise_failed(body)
            except BastionError as error:
                self._fail_all(error)
            return
        pending = self._pending.get(reply.id)
        if pending is None:
            if isinstance(body, Chunk):  # of a stream that was given up: the server still counts it
                self._credit(reply.id, 1)
            return
        pending.heard = time.monotonic()
        match body:
            case Progress():
                pending.tell(body)
            case Credit():
                if pending.credits is not None:
                    pending.credits.add(body.chunks)
            case Failed():
                try:
                    raise_failed(body)
                except BastionError as error:
                    pending.fail(error)
            case Chunk():
                self._take_chunk(reply.id, pending, body, frames)
            case Table() | Weights():
                self._take_table(pending, body, frames)
            case _:
                pending.finish(body)

    def _heard_early(self, reply: int, body: Any) -> bool:
        """Whether a message over a link that is not proved is heard now; a push is told later, if the link is proved by then.

        INVARIANT: whoever has not shown what the policy asks for answers the greeting, and nothing else that they say is told to anybody.
        """
        request, early = self._greeting
        if isinstance(body, Push):
            if len(early) < _EARLY:
                early.append(body)
            return False
        if reply == 0 and isinstance(body, Failed) and (greeting := self._pending.get(request)) is not None:
            try:
                raise_failed(body)
            except BastionError as error:
                greeting.fail(error)
        return reply == request > 0

    def _take_table(self, pending: _Pending, table: Table | Weights, frames: list[zmq.Frame]) -> None:
        if not table.inline:
            pending.table, pending.receipt = table, Receipt(table.size)
            return
        if len(frames) != 2 or len(frames[1]) != table.size:
            pending.fail(_surprise())
            return
        pending.parts = [frames[1]]
        pending.finish(table)

    def _take_chunk(self, stream: int, pending: _Pending, chunk: Chunk, frames: list[zmq.Frame]) -> None:
        receipt = pending.receipt
        try:
            if receipt is None or len(frames) != 2:
                raise _surprise()
            receipt.check(chunk.seq, len(frames[1]))
            receipt.add(memoryview(frames[1].buffer))
            pending.parts.append(frames[1])
            if chunk.last:
                receipt.finish(chunk.sha256)
        except WireError as error:
            pending.fail(error)
            self._pending.pop(stream, None)
            self._send_soon(Cancel(stream))
            self._credit(stream, 1)
            return
        pending.tell(Progress("receiving", receipt.received, receipt.size), always=chunk.last)
        self._credit(stream, 1)  # one by one: streams side by side share the server's window
        if chunk.last:
            pending.finish(pending.table)

    def _credit(self, stream: int, count: int) -> None:
        self._send_soon(Credit(stream, count))

    def _send_soon(self, body: Cancel | Credit) -> None:
        link = self._link
        header = encode_request(0, body)
        if link is not None and not link.send_now(header):
            self._spawn(_quietly(link.send(header)))

    def _pushed(self, push: Push) -> None:
        if push.topic == "revoked":
            self._revoked = True
        for callback in list(self._callbacks):
            try:
                callback(push)
            except Exception:
                log.warning("a push callback failed", exc_info=True)

    def _tell_state(self, state: str) -> None:
        if state == self._state:
            return
        self._state = state
        for callback in list(self._state_callbacks):
            try:
                callback(state)
            except Exception:
                log.warning("a state callback failed", exc_info=True)

    def _fail_all(self, error: BastionError) -> None:
        for pending in list(self._pending.values()):
            pending.fail(error)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    with suppress(BastionError):
        await work


def _revoked() -> NotAuthorised:
    msg = "The server's owner has revoked this key."
    return NotAuthorised(msg, code="wire.auth.revoked", next_step="Ask the server's owner.")


def _surprise() -> WireError:
    msg = "The server's answer is not one to this request."
    return WireError(msg, code="wire.malformed", next_step="Use the same release on both ends.")


def _silent(seconds: float) -> WireError:
    return WireError(
        "The server does not answer.",
        code="wire.timeout",
        reason=f"It gave no sign of life for {seconds:g} s.",
        next_step="Try again later.",
    )
