"""Word of new requests for owners who are not connected: a webhook and a mail command, configured on the server's side only.

Off unless `notify.toml` in the server's directory says otherwise. What is sent names the request, who asks, whose data it is
about and which datasets: never the code of the query, its words, the reason, or a figure, for all of these may hold values
and are the requester's to choose. Nothing that a requester writes decides where it goes: address, command and arguments
come from the file alone, redirects are not followed, and no shell is involved.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import json
import logging
import os
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec
from bastion_plan.errors import BastionError, InputError

FILE = "notify.toml"
WAITING = 1000  #: notices that may wait to be sent; more are dropped, and the log says so
TRIES = 4  #: of one notice, with pauses of PAUSE, 4 PAUSE, 16 PAUSE seconds between them
PAUSE = 2.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_log = logging.getLogger("bastion.notify")


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a notice is posted as JSON.

    url: https; http on this very machine only. secret: key of the header X-Bastion-Signature, "sha256=" and the HMAC of the
    body in hexadecimal; empty for no header. owners: only of requests that these owners decide; empty for all. timeout:
    seconds of one try.
    """

    url: str
    secret: str = ""
    owners: tuple[str, ...] = ()
    timeout: float = 10.0


class Mail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command that a mail is given to on its standard input, such as ["/usr/sbin/sendmail", "-t"].

    command: the program, by its full path, and its arguments; no shell reads them. to: address per owner, or under "*" for
    the others. sender: the address in From.
    """

    command: tuple[str, ...]
    to: dict[str, str]
    sender: str = "bastionlab@localhost"
    timeout: float = 30.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What notify.toml holds. server: how the server calls itself in notices."""

    server: str = "BastionLab"
    webhook: tuple[Webhook, ...] = ()
    mail: Mail | None = None


@dataclass(frozen=True)
class Notice:
    """What is told of a request: names and a time, nothing else."""

    request: str
    requester: str
    owners: tuple[str, ...]
    datasets: tuple[str, ...]
    created: float


def load(directory: Path) -> Config | None:
    """Return what the file says, None where there is none.

    Raises:
        InputError: input.notify, with what is wrong with it.
    """
    path = directory / FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return checked(msgspec.toml.decode(text, type=Config))
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise _wrong(str(error)) from None


def checked(config: Config) -> Config:
    """Return a configuration if it can be used.

    Raises:
        InputError: input.notify.
    """
    for hook in config.webhook:
        where = _where(hook.url)
        if where.scheme == "http" and where.hostname not in _LOOPBACK:
            raise _wrong("a webhook is called by https; by http on this machine only.")
        if not 0 < hook.timeout <= 120:
            raise _wrong("the timeout of a webhook is between 0 and 120 seconds.")
    mail = config.mail
    if mail is not None:
        if not mail.command or not Path(mail.command[0]).is_absolute():
            raise _wrong("the mail command begins with the full path of a program.")
        for address in (*mail.to.values(), mail.sender):
            if not address or any(not c.isprintable() for c in address) or "@" not in address:
                raise _wrong(f"{address[:80]!r} is not an address.")
        if not 0 < mail.timeout <= 600:
            raise _wrong("the timeout of the mail command is between 0 and 600 seconds.")
    return config


def _wrong(what: str) -> InputError:
    msg = f"The file {FILE} of the server's directory cannot be used: {what}"
    return InputError(msg, code="input.notify", next_step="Correct it: docs/owners.md shows how it is written.")


def _where(url: str) -> SplitResult:
    try:
        where = urlsplit(url)
        _ = where.port
    except ValueError:
        raise _wrong("the address of a webhook means nothing.") from None
    if where.scheme not in ("https", "http") or not where.hostname or where.username or where.fragment:
        raise _wrong("the address of a webhook is written as https://host/path.")
    return where


class Notifier:
    """Sends notices from a queue of its own: whoever files a request never waits for it, and its trouble stays here."""

    def __init__(self, config: Config | None, *, pause: float = PAUSE) -> None:
        """Take what to do; None to do nothing."""
        self._config, self._pause = config, pause
        self._queue: asyncio.Queue[Notice] = asyncio.Queue(WAITING)
        self._task: asyncio.Task[None] | None = None

    def tell(self, notice: Notice) -> None:
        """Have a notice sent soon. On the loop's thread; returns at once."""
        if self._config is None or not (self._config.webhook or self._config.mail):
            return
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._work())
        try:
            self._queue.put_nowait(notice)
        except asyncio.QueueFull:
            _log.warning("a notice was dropped: too many wait")

    async def close(self) -> None:
        """Stop. What waits is not sent: the requests themselves are in the store."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _work(self) -> None:
        while True:
            notice = await self._queue.get()
            for way in self._ways(notice):
                await self._send(way)

    def _ways(self, notice: Notice) -> list[tuple[str, Callable[[], Any]]]:
        config = self._config
        assert config is not None
        hooks = [hook for hook in config.webhook if not hook.owners or set(hook.owners) & set(notice.owners)]
        ways: list[tuple[str, Callable[[], Any]]] = [
            (f"webhook {number}", lambda hook=hook: asyncio.to_thread(post, hook, body(config.server, notice)))  # type: ignore[misc]
            for number, hook in enumerate(hooks, 1)
        ]
        if (mail := config.mail) is not None:
            to = sorted({a for owner in notice.owners if (a := mail.to.get(owner) or mail.to.get("*"))})
            ways += [("mail", lambda a=a: run(mail, letter(config.server, mail.sender, a, notice))) for a in to]  # type: ignore[misc]
        return ways

    async def _send(self, way: tuple[str, Callable[[], Any]]) -> None:
        label, send = way
        for number in range(TRIES):
            if number:
                await asyncio.sleep(self._pause * 4 ** (number - 1))
            try:
                await send()
            except Exception as error:  # noqa: BLE001 - it is tried again, then given up; nothing else may suffer
                # its words may hold an address with a token in it
                _log.warning("%s failed: %s", label, error if isinstance(error, Refused) else type(error).__name__)
            else:
                return
        _log.error("%s was given up", label)


class Refused(Exception):
    """The other side answered, and not with yes; the words are our own."""


def body(server: str, notice: Notice) -> bytes:
    """Return the JSON that a webhook gets."""
    fields: Mapping[str, Any] = {
        "event": "request", "server": server, "request": notice.request, "requester": notice.requester,
        "owners": list(notice.owners), "datasets": list(notice.datasets), "created": int(notice.created),
    }  # fmt: skip
    return json.dumps(fields).encode()


def post(hook: Webhook, data: bytes) -> None:
    """Post once. A redirect is a refusal: it would let somebody else say where the notice goes.

    Raises:
        Refused: not answered with 2xx. OSError, http.client.HTTPException: not answered.
    """
    where = _where(hook.url)
    assert where.hostname is not None
    headers = {"Content-Type": "application/json", "User-Agent": "bastionlab", "Connection": "close"}
    if hook.secret:
        headers["X-Bastion-Signature"] = "sha256=" + hmac.new(hook.secret.encode(), data, hashlib.sha256).hexdigest()
    path = (where.path or "/") + (f"?{where.query}" if where.query else "")
    connection: http.client.HTTPConnection
    if where.scheme == "https":
        connection = http.client.HTTPSConnection(
            where.hostname, where.port, timeout=hook.timeout, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=hook.timeout)
    try:
        connection.request("POST", path, data, headers)
        status = connection.getresponse().status
    finally:
        connection.close()
    if not 200 <= status < 300:
        msg = f"answered {status}"
        raise Refused(msg)


def letter(server: str, sender: str, to: str, notice: Notice) -> bytes:
    """Return the mail."""
    stamp = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(notice.created))
    who, names = _printable(notice.requester), ", ".join(map(_printable, notice.datasets))
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"] = sender, to
    mail["Subject"] = f"[{_printable(server)}] {who} asks about {names}"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(
        f"{who} filed an access request for {names} on {stamp}.\n\nSee it, and decide:\n"
        f"  bastion requests show {_printable(notice.request)}\nor open owner_panel() in a notebook.\n"
    )
    return mail.as_bytes()


def _printable(text: str) -> str:
    """Return a name without what could end a line or a header; names have none of it, and this does not rely on that."""
    return "".join(c if c.isprintable() else "?" for c in text)[:100]


async def run(mail: Mail, text: bytes) -> None:
    """Give a mail to the command; its own output is nobody's to read.

    Raises:
        Refused: it failed, or took too long.
    """
    process = await asyncio.create_subprocess_exec(
        *mail.command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": os.defpath, "LANG": "C.UTF-8"}, start_new_session=True,
    )  # fmt: skip
    try:
        await asyncio.wait_for(process.communicate(text), mail.timeout)
    except TimeoutError:
        msg = "took too long"
        raise Refused(msg) from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        msg = f"ended with {process.returncode}"
        raise Refused(msg)


async def send_now(config: Config, notice: Notice) -> dict[str, str]:
    """Send a notice once by every way, for a test by the operator; return what became of each ("sent", or why not)."""
    found = {}
    for label, send in Notifier(config)._ways(notice):
        try:
            await send()
        except (OSError, http.client.HTTPException, Refused, BastionError) as error:
            found[label] = str(error) if isinstance(error, Refused) else type(error).__name__
        else:
            found[label] = "sent"
    return found
