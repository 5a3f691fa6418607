"""Starting a server: as a process of its own from a program (`start`), or in this process (`serve`)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from bastion_plan.errors import InputError, ServerError
from bastion_wire.files import replace
from bastion_wire.identity import Identity, PublicIdentity

if TYPE_CHECKING:
    from bastion_tee.providers.base import Provider

READY = "bastion-server-ready "
START_SECONDS = 60.0
STOP_SECONDS = 15.0
ENGINE_LOG = 16 << 20

_log = logging.getLogger("bastion.server")


class Handle:
    """A running server process. A context manager: leaving it stops the server.

    endpoint: where clients connect ("tcp://127.0.0.1:40123"). server_key: its CURVE key, 40 characters.
    bootstrap: endpoint that tells the key to who does not know it, or None. directory: its store. pid: of the process.
    """

    def __init__(self, process: subprocess.Popen[bytes], ready: dict[str, Any], directory: Path, log: Path) -> None:
        self._process = process
        self.endpoint: str = ready["endpoint"]
        self.server_key: str = ready["server_key"]
        self.bootstrap: str | None = ready.get("bootstrap")
        self.warnings: tuple[str, ...] = tuple(ready.get("warnings", ()))
        self.directory = directory
        self.log = log

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the server: it finishes its log and lets go of its directory. May be called again."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_SECONDS)
        for stream in (self._process.stdout, self._process.stdin):
            if stream is not None:
                stream.close()

    def kill(self) -> None:
        """End the server as a power cut would (for tests)."""
        self._process.kill()
        self._process.wait(STOP_SECONDS)
        self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Handle({self.endpoint!r}, pid={self.pid}, {'running' if self.running else 'stopped'})"


def start(
    directory: str | os.PathLike[str],
    endpoint: str = "tcp://127.0.0.1:*",
    *,
    owners: Iterable[Identity | PublicIdentity] = (),
    users: Iterable[Identity | PublicIdentity] = (),
    auditors: Iterable[Identity | PublicIdentity] = (),
    bootstrap: str | None = None,
    attest: str | None = None,
    tsm_root: str | os.PathLike[str] | None = None,
    **limits: float,
) -> Handle:
    """Start a real server process and wait until it answers.

    Args:
        directory: its store; made if it is not there.
        endpoint: where it listens; "*" as port takes a free one.
        owners, users, auditors: identities to authorise (those of the directory stay).
        bootstrap: endpoint of the socket that tells the server's key; None for none.
        attest: where evidence comes from of what the server is ("auto", "tsm", "sev-guest", "nitro", "simulated"); None: there is none.
        tsm_root: of configfs-tsm, where it is not the kernel's own.
        limits: `memory` (bytes of one worker), `seconds` (wall clock of one query), `answer` (bytes of one answer, or of the rows of a fit), `max_parameters` (of a model that is trained),
            `training_memory` (bytes of one training worker), `training_steps` (of one fit), `training_disk` (bytes of one identity's weights and checkpoints),
            `training_grace` (seconds that a step has to end once its fit was stopped).

    Returns:
        A handle with `.endpoint`, `.server_key`, `.stop()`.

    Raises:
        ServerError: it did not start; the reason is the server's own last words. Or server.platform: this is not Linux.
    """
    check_platform()
    path = Path(directory).resolve()
    check_endpoint(endpoint)
    with writable(path):
        authorise(path, owners=owners, users=users, auditors=auditors)
    command = [sys.executable, "-m", "bastion_server", "--directory", str(path), "--endpoint", endpoint, "--parent"]
    if bootstrap:
        command += ["--bootstrap", bootstrap]
    if attest:
        command += ["--attest", attest]
    if tsm_root:
        command += ["--tsm-root", str(tsm_root)]
    for name, value in limits.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    log = path / "server.log"
    before = log.stat().st_size if log.exists() else 0
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
    try:
        return Handle(process, _wait_ready(process, log, before), path, log)
    except BaseException:
        process.kill()
        process.wait(STOP_SECONDS)
        for stream in (process.stdout, process.stdin):
            if stream is not None:
                stream.close()
        raise


def authorise(
    directory: Path,
    *,
    owners: Iterable[Identity | PublicIdentity] = (),
    users: Iterable[Identity | PublicIdentity] = (),
    auditors: Iterable[Identity | PublicIdentity] = (),
) -> None:
    """Write identities' public parts into the key directory of a store; those that are there stay."""
    from bastion_server.channel.keys import KeyDirectory

    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = KeyDirectory(directory / "keys")
    for role, identities in (("owner", owners), ("user", users), ("auditor", auditors)):
        for identity in identities:
            public = identity.public if isinstance(identity, Identity) else identity
            known = keys.find_name(public.name)
            if known is None or not known.has(role) or known.curve_key != public.curve_key:
                keys.add(public, role)


def _wait_ready(process: subprocess.Popen[bytes], log: Path, before: int) -> dict[str, Any]:
    assert process.stdout is not None
    deadline, text = time.monotonic() + START_SECONDS, b""
    os.set_blocking(process.stdout.fileno(), False)
    while time.monotonic() < deadline:
        select.select([process.stdout], [], [], 0.2)
        text += process.stdout.read() or b""
        for line in text.decode(errors="replace").splitlines(keepends=True):
            if line.startswith(READY) and line.endswith("\n"):
                found: dict[str, Any] = json.loads(line[len(READY) :])
                return found
        if process.poll() is not None:
            break
    tail = log.read_bytes()[before:].decode(errors="replace").splitlines()[-3:]
    reason = " ".join(tail) if process.poll() is not None else f"It was not ready within {START_SECONDS:g} s."
    msg = "The server did not start."
    raise ServerError(msg, code="server.start", reason=reason, next_step=f"Its log is {log}.")


@contextlib.contextmanager
def writable(directory: Path) -> Iterator[None]:
    """Say in words that a server's directory cannot be used.

    Raises:
        ServerError: server.store.directory.
    """
    try:
        yield
    except OSError as error:
        msg = f"The server's directory {directory} cannot be used."
        raise ServerError(
            msg, code="server.store.directory", reason=f"{error.strerror or type(error).__name__}.",
            next_step="Name another directory, or give yourself the right to write there.",
        ) from None  # fmt: skip


# ---- in this process --------------------------------------------------------------------------------------------------


def check_platform() -> None:
    """Refuse to run a server where queries cannot be confined.

    Raises:
        ServerError: server.platform.
    """
    if not sys.platform.startswith("linux"):
        msg = "The server runs on Linux only."
        raise ServerError(
            msg, code="server.platform", reason="It confines every query with Landlock and seccomp, which are Linux's.",
            next_step="Run it on a Linux machine, or in a virtual machine or container with Linux; clients connect to it from elsewhere.",
        )  # fmt: skip


def check_endpoint(endpoint: str, *, dev: bool = False) -> str:
    """Return the endpoint if a server may listen there.

    Raises:
        InputError: input.endpoint.
    """
    host, colon, port = endpoint.removeprefix("tcp://").rpartition(":")
    if not endpoint.startswith("tcp://") or not colon or not (port == "*" or (port.isdigit() and int(port) < 65536)):
        msg = f"{endpoint!r} is not an address to listen on."
        raise InputError(
            msg, code="input.endpoint", next_step="Write it like tcp://127.0.0.1:5555 (port * for a free one)."
        )
    if dev:
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host.strip("[]")).is_loopback:
                return endpoint
        msg = "Dev mode listens on loopback only."
        raise InputError(msg, code="input.endpoint.dev", next_step="Use tcp://127.0.0.1:*.")
    return endpoint


async def serve(
    directory: Path,
    endpoint: str,
    *,
    bootstrap: str | None = None,
    memory: int = 2 << 30,
    seconds: float = 60.0,
    answer: int = 1 << 30,
    training: Mapping[str, float] | None = None,
    attest: str | None = None,
    tsm_root: Path | None = None,
    ready: Any = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run a server until `stop` is set or SIGTERM or SIGINT comes; a second signal ends it at once.

    memory, seconds, answer: of one query, see Limits. training: fields of bastion_server.service.models.TrainingSettings that are not the default.
    attest, tsm_root: where evidence comes from of what this server is; None: there is none. With evidence the channel's key is a
    fresh one at each start: clients know the server by what it proves.
    ready: called with a dict of facts once it listens.

    Raises:
        InputError: the address. ServerError: the platform, the directory, its lock, the port, the workers.
    """
    check_platform()
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from bastion_server.channel import Bootstrap, Channel
    from bastion_server.service.models import TrainingSettings
    from bastion_server.service.notify import load
    from bastion_server.service.server import Service
    from bastion_server.store import Record, Store
    from bastion_server.workers.messages import Limits
    from bastion_server.workers.pool import WorkerPool

    # the judge multiplies many small matrices: threads of BLAS that wait for each other cost ten times what they save
    threadpool_limits(1, user_api="blas")
    check_endpoint(endpoint)
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_unforeseen)

    def hear() -> None:
        if stop.is_set():
            os._exit(130)  # every acknowledged record and change is on the disk already
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, hear)
    evidence = None
    if attest is not None:
        evidence = _evidence(attest, tsm_root)
    with writable(directory):
        notify = load(directory)
        store = Store.open(directory, time.time(), fresh_channel=evidence is not None)
    try:
        engine_log = _engine_log(directory)
        pool = await WorkerPool.start(Limits(memory=memory, seconds=seconds, answer=answer), on_engine_text=engine_log)
        try:
            warnings = pool.sandbox_report.warnings if pool.sandbox_report is not None else ()
            service = Service(
                store, pool, lambda name, push: channel.push(name, push), notices=warnings, known=lambda name: channel.keys.knows(name),
                present=lambda: [name for _, name in channel.sessions()], notify=notify,
                training=TrainingSettings(**(training or {})),  # type: ignore[arg-type]
                on_engine_text=engine_log, evidence=evidence,
            )  # fmt: skip
            channel = Channel(service, directory / "keys", store.keys.curve_secret, endpoint)
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(service.close)
                stack.push_async_callback(channel.close)
                await channel.start()
                watching = asyncio.ensure_future(service.watch())
                stack.callback(watching.cancel)
                told = None
                if bootstrap:
                    told = Bootstrap(channel.server_key, channel.endpoint, bootstrap)
                    await told.start()
                    stack.push_async_callback(told.close)
                shows = "no evidence (UNATTESTED)" if evidence is None else f"evidence of {evidence.platform}"
                shows += " (UNATTESTED)" if evidence is not None and evidence.platform == "simulated" else ""
                words = f"listening on {channel.endpoint}, {shows}"
                await store.audit.append(Record(time.time(), "start", "server", words, red=bool(warnings)))
                if evidence is None or evidence.platform == "simulated":
                    _log.warning("this server shows %s", shows)
                facts = {
                    "endpoint": channel.endpoint, "server_key": store.keys.curve_public.decode(), "pid": os.getpid(),
                    "bootstrap": told.endpoint if told else None, "warnings": list(warnings),
                }  # fmt: skip
                with writable(directory):
                    replace(directory / "address.json", json.dumps(facts).encode(), mode=0o600)
                if ready is not None:
                    ready(facts)
                await stop.wait()
            with contextlib.suppress(ServerError):
                await store.audit.append(Record(time.time(), "stop", "server", "stopped"))
        finally:
            await pool.close()
    finally:
        store.close(time.time())


def _evidence(attest: str, tsm_root: Path | None) -> Provider:
    """Return where evidence comes from.

    Raises:
        InputError: input.attest. ServerError: server.evidence.*, this machine has none.
    """
    from bastion_tee.providers import detect, sev_guest, simulated, tsm

    root = tsm_root or tsm.ROOT
    match attest:
        case "auto":
            return detect.detect(root).required()
        case "tsm":
            return tsm.TsmProvider(root)
        case "sev-guest":
            return sev_guest.SevGuestProvider()
        case "nitro":
            from bastion_tee.providers import nitro

            return nitro.NitroProvider()
        case "simulated":
            return simulated.SimulatedProvider()
    msg = f"{attest!r} is no source of evidence."
    raise InputError(msg, code="input.attest", next_step="There are auto, tsm, sev-guest, nitro and simulated.")


def _unforeseen(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what a task died of by its type only: the text of an exception may hold values of the data."""
    error = context.get("exception")
    _log.error("unforeseen: %s", type(error).__name__ if error is not None else "see the incident before")


def _engine_log(directory: Path) -> Callable[[str, str], None]:
    """Return a function that writes the engine's own words where only the server's user reads them.

    Scientists can make the engine speak; the file is put aside above ENGINE_LOG bytes, one old one is kept.
    """
    path = directory / "engine.log"

    def write(label: str, text: str) -> None:
        with contextlib.suppress(OSError):  # it is a help for the operator, no record: queries go on without it
            if path.exists() and path.stat().st_size > ENGINE_LOG:
                path.replace(path.with_suffix(".log.1"))
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8", errors="replace") as out:
                out.write(f"{time.time():.3f} {label}: {text[:4000]}\n")

    return write
