"""The channel: one CURVE ROUTER, every message checked against the key directory, every answer bounded.

INVARIANT: who speaks is told by the properties that our ZAP thread attached to the connection, looked up in the key
directory at every message; never by a routing id (the peer chooses it) and never by what a message says.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, Self

import zmq
from bastion_plan.errors import BastionError, NotAuthorised, WireError
from bastion_wire.codec import MalformedError, decode_request, encode_reply, failed
from bastion_wire.invitation import public_half
from bastion_wire.messages import (
    CHUNK,
    MAX_HEADER,
    AnyAnswer,
    Cancel,
    Credit,
    Done,
    Envelope,
    Hello,
    ModelBegin,
    Push,
    Query,
    UploadBegin,
    UploadChunk,
    UploadEnd,
)
from bastion_wire.pump import Pump

from bastion_server.channel import failures
from bastion_server.channel.binding import bind, bound
from bastion_server.channel.connections import Connection, Connections, every, wire_size
from bastion_server.channel.enrolment import newcomer
from bastion_server.channel.keys import KeyDirectory, Principal
from bastion_server.channel.limits import Bucket, Limits
from bastion_server.channel.sessions import Incoming, Session
from bastion_server.channel.uploads import Upload, UploadSink
from bastion_server.channel.zap import Admission, ThrottledError, ZapThread

log = logging.getLogger("bastion.channel")


class Handler(Protocol):
    """The service behind the channel."""

    async def handle(self, request: Incoming) -> AnyAnswer | None:
        """Answer a request by `request.send` or `request.stream`, or return the answer, or raise a BastionError.

        Runs in a task of its own, for every request but Cancel, Credit and uploads; the task is cancelled when the peer
        cancels the request, goes away or is revoked.
        """

    async def begin(self, request: Incoming) -> UploadSink:
        """Accept the upload that `request.body` (an UploadBegin or a ModelBegin) announces, or raise a BastionError."""


_DOMAIN = "bastionlab"
_KEY_PROPERTY = "X-Curve-Key"
_GUEST = "invite:"  # no name has a colon
_TICK = 0.1
_MAX_BUCKETS = 10_000
_REVOKED = Push("revoked", text="The owner has revoked this key.")


class Channel:
    """The server's socket. Use it as an async context manager, or `start` and `close`.

    Args:
        handler: the service.
        keys: the key directory, or its path.
        secret: the server's CURVE secret key, 40 Z85 characters.
        endpoint: "tcp://host:port"; port * for any free one.
        limits: what one peer may ask.
    """

    def __init__(
        self,
        handler: Handler,
        keys: KeyDirectory | str | Path,
        secret: str | bytes,
        endpoint: str = "tcp://127.0.0.1:*",
        *,
        limits: Limits | None = None,
    ) -> None:
        self.keys = keys if isinstance(keys, KeyDirectory) else KeyDirectory(keys)
        self.limits = limits or Limits()
        self._handler = handler
        self._secret = secret if isinstance(secret, str) else secret.decode("ascii")
        #: the server's CURVE public key
        self.server_key = public_half(self._secret)
        self._endpoint = endpoint
        self._sessions: dict[bytes, Session] = {}
        self._buckets: dict[str, Bucket] = {}
        self._handshakes: dict[str, Bucket] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = False

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            ServerError: server.bind, the address cannot be used.
        """
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._zap = ZapThread(self._context, _DOMAIN, self._admit)
        self._zap.start()
        socket = self._context.socket(zmq.ROUTER)
        self._configure(socket)
        self._connections = Connections(socket, self._on_close)
        self._pump = Pump(socket, self._on_message)
        self._started = True
        try:
            bind(socket, self._endpoint)
        except BaseException:
            await self.close()
            raise
        self._spawn(self._watch_keys())
        self._spawn(every(_TICK, self._measure))
        self._spawn(every(max(self.limits.keepalive / 4, 0.05), self._keep_alive))

    async def close(self) -> None:
        """Tell the peers, cancel all work, close."""
        if not self._started:
            return
        self._started = False
        for session in list(self._sessions.values()):
            self._drop(session, push=Push("stopping", text="The server is stopping."))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._connections.close()
        self._pump.close(linger=200)
        self._zap.stop()
        await asyncio.to_thread(self._context.term)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def endpoint(self) -> str:
        """The address that is listened on, with its port."""
        return bound(self._pump.socket)

    def sessions(self) -> tuple[tuple[str, str], ...]:
        """Return (session key, identity name) of all live sessions."""
        return tuple((s.key, s.principal.name) for s in self._sessions.values())

    def push(self, name: str, push: Push) -> int:
        """Send a push to all live sessions of an identity; return how many there were.

        Whoever has no key any more is told of that first, and of nothing that follows from it.
        """
        sessions = [s for s in list(self._sessions.values()) if s.principal.name == name and self._holds(s)]
        for session in sessions:
            session.reply(0, push)
        return len(sessions)

    # ---- the socket --------------------------------------------------------------------------------------------------

    def _configure(self, socket: zmq.Socket[bytes]) -> None:
        limits = self.limits
        socket.curve_server = True
        socket.curve_secretkey = self._secret.encode()
        socket.zap_domain = _DOMAIN.encode()
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.HANDSHAKE_IVL, int(limits.handshake * 1000))
        socket.setsockopt(zmq.HEARTBEAT_IVL, int(limits.heartbeat * 1000))
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(limits.heartbeat_timeout * 1000))
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_HEADER + 1024)  # per frame; frames are counted by the pump
        socket.setsockopt(zmq.RCVHWM, 16)
        socket.setsockopt(zmq.SNDHWM, 256)
        socket.setsockopt(zmq.BACKLOG, 512)
        socket.setsockopt(zmq.IPV6, 1)
        socket.linger = 0

    def _admit(self, curve_key: str) -> Admission | None:
        """Decide a handshake; runs in the ZAP thread."""
        self.keys.refresh()
        principal = self.keys.find(curve_key)
        if principal is not None:
            # libzmq ends the process when a generated routing id meets a claimed one; guessing takes many handshakes
            if len(self._handshakes) > _MAX_BUCKETS:
                self._handshakes.clear()
            if not self._handshakes.setdefault(
                curve_key, Bucket(self.limits.handshake_rate, self.limits.handshake_burst)
            ).take():
                raise ThrottledError
            return Admission(principal.name, {_KEY_PROPERTY: curve_key})
        guest = self.keys.find_guest(curve_key)
        return None if guest is None else Admission(_GUEST + guest.name, {_KEY_PROPERTY: curve_key})

    def _send(self, session: Session, frames: Sequence[bytes | memoryview]) -> None:
        connection = session.connection
        connection.sent += wire_size(frames[1:])
        try:
            self._pump.send(frames)
        except zmq.Again:
            log.warning("%s does not read its answers; the connection is cut", session.principal.name)
            self._drop(session)
            return
        except zmq.ZMQError:  # gone meanwhile
            self._drop(session)
            return
        if connection.unread > self.limits.unread:
            connection.measure()
            if connection.unread > self.limits.unread:
                log.warning("%s leaves its answers unread; the connection is cut", session.principal.name)
                self._drop(session)

    def _drop(self, session: Session, push: Push | None = None) -> None:
        """End a session: its work, then its connection."""
        if session.closed:
            return
        if push is not None:
            with suppress(zmq.ZMQError):
                self._pump.send((session.routing_id, encode_reply(0, push)))
        if self._sessions.get(session.routing_id) is session:
            del self._sessions[session.routing_id]
        session.close()
        if push is None:
            session.connection.cut()
        else:  # a moment for the words to get out
            asyncio.get_running_loop().call_later(0.1, session.connection.cut)

    def _on_close(self, connection: Connection) -> None:
        for session in [s for s in self._sessions.values() if s.connection is connection]:
            self._drop(session)

    # ---- messages ----------------------------------------------------------------------------------------------------

    def _on_message(self, frames: list[zmq.Frame]) -> None:
        try:
            self._receive(frames)
        except Exception:  # noqa: BLE001 - one peer's message must never stop the others' server
            failures.log_incident("a message could not be handled")

    def _receive(self, frames: list[zmq.Frame]) -> None:
        self._connections.update()
        properties = frames[-1]
        connection = self._connections.get(int(properties.get(zmq.SRCFD)))
        if connection is None:
            return  # its connection has ended
        connection.delivered += wire_size(frames[1:])
        routing_id = frames[0].bytes
        user, key = str(properties.get("User-Id")), str(properties.get(_KEY_PROPERTY))
        if user.startswith(_GUEST):
            self._receive_guest(routing_id, connection, key, frames)
            return
        principal = self.keys.find(key)
        session = self._sessions.get(routing_id)
        if session is not None and (session.connection is not connection or session.principal.curve_key != key):
            self._drop(session)
            session = None
        if principal is None or principal.name != user:
            self._refuse_revoked(routing_id, connection, session, frames)
            return
        if session is None:
            session = self._open(routing_id, connection, principal)
            if session is None:
                return
        session.principal = principal
        envelope = self._decode(frames, lambda request_id, error: session.reply(request_id, failed(error)), principal)
        if envelope is not None:
            self._dispatch(session, envelope, frames)

    def _open(self, routing_id: bytes, connection: Connection, principal: Principal) -> Session | None:
        own = sum(s.principal.name == principal.name for s in self._sessions.values())
        if own >= self.limits.sessions_per_identity or len(self._sessions) >= self.limits.sessions:
            error = WireError(
                "There are too many sessions.",
                code="wire.busy",
                next_step="Close sessions that are not needed, then retry.",
            )
            self._answer(routing_id, connection, 0, failed(error))
            connection.cut()
            return None
        session = Session(secrets.token_hex(8), routing_id, connection, principal, self.limits, self._send)
        self._sessions[routing_id] = session
        return session

    def _refuse_revoked(
        self, routing_id: bytes, connection: Connection, session: Session | None, frames: list[zmq.Frame]
    ) -> None:
        request_id = 0
        with suppress(MalformedError):
            request_id = decode_request(frames[1].buffer).id
        self._answer(routing_id, connection, request_id, failed(failures.revoked()))
        if session is not None:
            self._drop(session, _REVOKED)
        else:
            asyncio.get_running_loop().call_later(0.1, connection.cut)

    def _decode(
        self, frames: list[zmq.Frame], refuse: Callable[[int, BastionError], None], principal: Principal | None
    ) -> Envelope | None:
        """Return the request of a message, or refuse it and return None."""
        try:
            if len(frames) not in (2, 3):
                msg = "A message has one header frame and at most one data frame."
                raise MalformedError(msg, code="wire.frames")
            envelope = decode_request(frames[1].buffer)
        except MalformedError as error:
            if principal is None or self._allowed(principal):
                refuse(error.request_id, error)
            return None
        with_data = isinstance(envelope.body, UploadChunk)
        if with_data != (len(frames) == 3) or (with_data and len(frames[2]) > CHUNK):
            msg = "A data frame of at most 1 MiB goes with an upload chunk, and with nothing else."
            refuse(envelope.id, WireError(msg, code="wire.frames"))
            return None
        return envelope

    def _allowed(self, principal: Principal) -> bool:
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.clear()
        bucket = self._buckets.get(principal.name)
        if bucket is None:
            bucket = self._buckets[principal.name] = Bucket(self.limits.rate, self.limits.burst)
        return bucket.take()

    def _dispatch(self, session: Session, envelope: Envelope, frames: list[zmq.Frame]) -> None:
        body = envelope.body
        match body:
            case Credit():
                session.credit(body)
                return
            case UploadChunk():
                upload = session.uploads.get(body.upload)
                if upload is not None:
                    upload.offer_chunk(body.seq, frames[2])
                elif envelope.id:
                    session.reply(envelope.id, failed(failures.no_upload()))
                return
            case Cancel():
                target = session.running.get(body.target)
                if target is not None:
                    target.cancel()
                for upload in [u for u in session.uploads.values() if u.stream == body.target]:
                    upload.cancel()
                return
        error = self._refusal(session, envelope, len(frames[1]))
        if error is not None:
            session.reply(envelope.id, failed(error))
        elif isinstance(body, UploadEnd):
            upload = session.uploads.get(body.upload)
            if upload is None:
                session.reply(envelope.id, failed(failures.no_upload()))
            else:
                upload.offer_end(envelope.id)
        else:
            self._run(session, Incoming(session, envelope, len(frames[1])))

    def _refusal(self, session: Session, envelope: Envelope, size: int) -> BastionError | None:
        """Return why this request is not taken on, or None."""
        limits = self.limits
        if not self._allowed(session.principal):
            return failures.busy("Requests come faster than the server takes them.")
        if envelope.id == 0 or envelope.id in session.running:
            msg = "A request needs an id above 0 that no running request of the session has."
            return WireError(msg, code="wire.request-id", next_step="Count requests up.")
        if len(session.running) >= limits.requests or session.request_bytes + size > limits.request_bytes:
            return failures.busy("Too many requests of this session are being answered.")
        match envelope.body:
            case Hello(enrol=str()):
                msg = "This key is authorised already."
                return NotAuthorised(msg, code="wire.auth.enrolled", next_step="Connect without the invitation.")
            case UploadBegin(size=announced, sha256=digest) | ModelBegin(size=announced, sha256=digest):
                if len(session.uploads) >= limits.uploads:
                    return failures.busy("Too many uploads of this session are under way.")
                if not 0 <= announced <= limits.upload_bytes or len(digest) != 32:
                    msg = "The announced size or SHA-256 cannot be right."
                    return WireError(msg, code="wire.stream-size", next_step=f"At most {limits.upload_bytes} bytes.")
        return None

    # ---- work --------------------------------------------------------------------------------------------------------

    def _run(self, session: Session, incoming: Incoming) -> None:
        session.running[incoming.id] = incoming
        session.request_bytes += incoming.size
        incoming.task = self._spawn(self._answer_request(session, incoming))

        def ended(_: object) -> None:
            session.running.pop(incoming.id, None)
            session.request_bytes -= incoming.size
            if incoming.cancelled and not incoming.answered:  # told here: a task cancelled before it ran tells nothing
                question = isinstance(incoming.body, Query)
                session.reply(incoming.id, failed(failures.cancelled(question=question)))

        incoming.task.add_done_callback(ended)

    async def _answer_request(self, session: Session, incoming: Incoming) -> None:
        error: BastionError | None = None
        try:
            if isinstance(incoming.body, UploadBegin | ModelBegin):
                await self._begin_upload(session, incoming, incoming.body)
                return
            answer = await self._handler.handle(incoming)
            if answer is not None:
                await incoming.send(answer)
            if not incoming.answered and not incoming.cancelled:
                raise RuntimeError  # a handler that forgot to answer
        except BastionError as raised:
            error = raised
        except Exception:  # noqa: BLE001 - whatever a handler raises, the peer is told a fixed sentence
            error = failures.incident("a request failed")
        if error is not None:
            incoming.send_now(failed(error))

    async def _begin_upload(self, session: Session, incoming: Incoming, begin: UploadBegin | ModelBegin) -> None:
        sink = await self._handler.begin(incoming)
        upload = Upload(session, incoming.id, begin, sink)
        if session.closed or incoming.cancelled or len(session.uploads) >= self.limits.uploads:
            await sink.abort()
            raise failures.busy("Too many uploads of this session are under way.")
        session.uploads[upload.key] = upload
        task = self._spawn(self._finish_upload(session, upload))

        def ended(task: asyncio.Task[None]) -> None:  # a task cancelled before it ran frees and tells nothing by itself
            session.uploads.pop(upload.key, None)
            if task.cancelled():
                session.reply(upload.answer_id, failed(failures.cancelled()))

        task.add_done_callback(ended)
        upload.start(task)
        await incoming.send(upload.ready())

    async def _finish_upload(self, session: Session, upload: Upload) -> None:
        try:
            answer_id, answer = await upload.run()
            session.reply(answer_id, answer)
        except BastionError as error:
            session.reply(upload.answer_id, failed(error))
        except Exception:  # noqa: BLE001 - as for requests
            session.reply(upload.answer_id, failed(failures.incident("an upload failed")))
        finally:
            session.uploads.pop(upload.key, None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ---- newcomers ---------------------------------------------------------------------------------------------------

    def _receive_guest(self, routing_id: bytes, connection: Connection, key: str, frames: list[zmq.Frame]) -> None:
        """A guest may say Hello with its own keys, and nothing else."""

        def answer(request_id: int, error: BastionError | None) -> None:
            body = Done() if error is None else failed(error)
            self._answer(routing_id, connection, request_id, body)

        envelope = self._decode(frames, answer, None)
        if envelope is None:
            return
        try:
            self._enrol(key, envelope.body)
        except BastionError as error:
            answer(envelope.id, error)
        except OSError:
            answer(envelope.id, failures.incident("an enrolment failed"))
        else:
            answer(envelope.id, None)

    def _enrol(self, key: str, body: object) -> None:
        guest = self.keys.find_guest(key)
        if guest is None or not isinstance(body, Hello) or body.enrol is None:
            msg = "With the key of an invitation one can enrol once, and nothing else."
            raise NotAuthorised(msg, code="wire.auth.invite-used" if guest is None else "wire.auth.invite-only")
        public = newcomer(body, self.server_key)
        self.keys.enrol(key, public)
        log.info("%s has enrolled", public.name)

    def _answer(self, routing_id: bytes, connection: Connection, request_id: int, body: AnyAnswer) -> None:
        """Answer someone who has no session."""
        header = encode_reply(request_id, body)
        connection.sent += wire_size((header,))
        try:
            self._pump.send((routing_id, header))
        except zmq.ZMQError:
            connection.cut()
        if connection.unread > self.limits.unread:
            connection.measure()
            if connection.unread > self.limits.unread:
                connection.cut()

    # ---- watching ----------------------------------------------------------------------------------------------------

    async def _watch_keys(self) -> None:
        while True:
            await asyncio.sleep(self.limits.poll)
            try:
                await asyncio.to_thread(self.keys.refresh)
            except OSError:
                log.error("the key directory cannot be listed; the keys known before stay in force")
            for session in list(self._sessions.values()):
                self._holds(session)

    def _holds(self, session: Session) -> bool:
        """Return whether a session's key is still in force; if not, the session is cut."""
        principal = self.keys.find(session.principal.curve_key)
        if principal is None or principal.name != session.principal.name:
            log.info("the key of %s was revoked; its session is cut", session.principal.name)
            self._drop(session, _REVOKED)
            return False
        session.principal = principal
        return True

    def _measure(self) -> None:
        for connection in self._connections.all():
            connection.measure()
            if connection.undelivered > self.limits.undelivered:
                log.warning("a connection sends a message without end; it is cut")
                connection.cut()

    def _keep_alive(self) -> None:
        due = time.monotonic() - self.limits.keepalive
        for session in list(self._sessions.values()):
            for incoming in list(session.running.values()):
                if incoming.heard < due:
                    incoming.keep_alive()
