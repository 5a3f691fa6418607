"""A cache on disk of what vendors publish: certificates, revocation lists, Intel's statements.

    cache = Cache(folder, fetch_https)
    collateral = vendors.amd(cache, evidence, now)

INVARIANT: nothing is trusted for being here. All of it is verified like evidence, at each use: who can write into the folder can
make verification fail, no more. What cannot be read, is damaged, or is over its time is fetched again.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import msgspec
from bastion_plan.errors import AttestationError

#: bytes of one answer: the largest of today (a list of a vendor's) has some 30,000
MAX_BYTES = 1 << 20
#: seconds that a vendor's server may take
TIMEOUT = 20.0
_FORM = b"bastionlab collateral 1\n"


@dataclass(frozen=True)
class Answer:
    """What a vendor's server answers. headers: their names in small letters."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


#: fetches an address; raises OSError
Fetch = Callable[[str], Answer]


@dataclass(frozen=True)
class Kind:
    """What is asked for.

    Attributes:
        fresh: seconds after which it is fetched again, if that can be done.
        ends: until when it holds, seconds since 1970; raises ValueError for what it is not.
        headers: of the answer, those that belong to it.
    """

    fresh: float
    ends: Callable[[Answer], float]
    headers: tuple[str, ...] = ()


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the cache."""

    url: str
    fetched: float
    headers: dict[str, str]
    body: bytes


class Cache:
    """What vendors publish, by address, in a folder.

    Attributes:
        folder: where it lies; made when something is put into it.
        fetch: None: only what is there is used.
    """

    def __init__(self, folder: Path, fetch: Fetch | None = None) -> None:
        self.folder = folder
        self.fetch = fetch

    def get(self, url: str, kind: Kind, now: float) -> Answer:
        """Return what lies at an address: from the folder while it is fresh, else fetched, else (it still holds) from the folder.

        Args:
            url: the address. kind: what it is. now: seconds since 1970.

        Raises:
            AttestationError: tee.collateral.missing, where nothing may be fetched; tee.collateral.fetch, where that fails;
                tee.collateral.answer, where something else comes than what was asked for.
        """
        kept = self._read(url, kind, now)
        # a time before that of fetching is one of a clock that was put back: fetched again, if that can be done
        if kept is not None and 0 <= now - kept.fetched < kind.fresh:
            return Answer(kept.body, kept.headers)
        if self.fetch is None:
            if kept is None:
                raise _error("missing", "It is not in the cache, and nothing may be fetched.", url)
            return Answer(kept.body, kept.headers)
        try:
            answer = self._fetched(self.fetch, url, kind, now)
        except AttestationError:
            if kept is None:
                raise
            return Answer(kept.body, kept.headers)
        headers = dict(answer.headers)
        with suppress(OSError):  # a folder that cannot be written to costs time, not attestation
            self._write(_Entry(url, now, headers, answer.body))
        return answer

    def _fetched(self, fetch: Fetch, url: str, kind: Kind, now: float) -> Answer:
        """Return what a server answers, if it is what was asked for."""
        try:
            answer = fetch(url)
        except OSError as error:
            what = f"status {error.code}" if isinstance(error, urllib.error.HTTPError) else type(error).__name__
            raise _error("fetch", f"It could not be fetched ({what}).", url) from None
        answer = Answer(answer.body, {name: answer.headers[name] for name in kind.headers if name in answer.headers})
        if not _holds(answer, kind, now):
            raise _error("answer", "Something else came than what was asked for, or it is over its time.", url)
        return answer

    def _path(self, url: str) -> Path:
        return self.folder / hashlib.sha256(url.encode()).hexdigest()

    def _read(self, url: str, kind: Kind, now: float) -> _Entry | None:
        """Return what is kept of an address, while it holds; None for what is not there, is damaged, or of another address."""
        try:
            with self._path(url).open("rb") as file:
                data = file.read(2 * MAX_BYTES)
            form, digest, body = data[: len(_FORM)], data[len(_FORM) : len(_FORM) + 32], data[len(_FORM) + 32 :]
            if form != _FORM or hashlib.sha256(body).digest() != digest:
                return None
            kept = msgspec.msgpack.decode(body, type=_Entry)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        if kept.url != url or not _holds(Answer(kept.body, kept.headers), kind, now):
            return None
        return kept

    def _write(self, entry: _Entry) -> None:
        """Write a file whole or not at all."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        body = msgspec.msgpack.encode(entry)
        path = self._path(entry.url)
        temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
        try:
            temporary.write_bytes(_FORM + hashlib.sha256(body).digest() + body)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _holds(answer: Answer, kind: Kind, now: float) -> bool:
    try:
        return len(answer.body) <= MAX_BYTES and now <= kind.ends(answer)
    except ValueError:
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Vendors' servers answer themselves; who sends elsewhere is none."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Follow nothing."""


def fetch_https(url: str, *, schemes: tuple[str, ...] = ("https",), timeout: float = TIMEOUT) -> Answer:
    """Fetch an address.

    Raises:
        OSError: it cannot be fetched, is no https address, or is larger than anything of this kind.
    """
    if urlsplit(url).scheme not in schemes:
        msg = "only https"
        raise OSError(msg)
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(url, timeout=timeout) as response:
            body = response.read(MAX_BYTES + 1)
            if len(body) <= MAX_BYTES and response.length:  # what is still to come
                raise IncompleteRead(body)
            headers = {name.lower(): value for name, value in response.headers.items()}
    except urllib.error.HTTPError as error:
        error.close()
        raise
    except HTTPException as error:
        raise OSError(type(error).__name__) from None
    if len(body) > MAX_BYTES:
        msg = "too large"
        raise OSError(msg)
    return Answer(body, headers)


def _error(code: str, reason: str, url: str) -> AttestationError:
    return AttestationError(
        f"Collateral of {urlsplit(url).hostname} cannot be had.",
        code=f"tee.collateral.{code}",
        reason=reason,
        next_step="Look at the connection, and try again later; or put what is asked for into the cache on another machine.",
    )
