"""Datasets at rest: each file under its own key, AES-256-GCM in chunks that can be read in any order.

Layout: a 64-byte header, then chunks of up to 1 MiB of plaintext, each followed by its 16-byte tag. The plaintext of
an empty file is one empty chunk; otherwise every chunk but the last is full and the last one is not empty.

INVARIANT: chunk i is sealed with nonce (i, last) and associated data (SHA-256 of the header, i, last), under a key
used for this file alone. So a changed byte, a chunk moved or taken from another file, a shorter and a longer file all
fail to open, and no nonce is ever used twice (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from bastion_plan.errors import ServerError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bastion_server.store.files import DISK, Files
from bastion_server.store.keyring import KeyRing

CHUNK = 1 << 20  #: bytes of plaintext in a full chunk
TAG = 16
_STRIDE = CHUNK + TAG
_HEADER = struct.Struct(">8sHHI16s32x")  # magic, version, cipher, chunk size, file id
_MAGIC, _VERSION, _AES_256_GCM = b"BSTSEAL\n", 1, 1
_SUFFIX, _PARTIAL = ".sealed", ".part"
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@dataclass(frozen=True)
class SealedRef:
    """Where a sealed file is and how to open it: kept in the catalogue.

    name: of the file, in the sealed directory. wrapped_key: its key, for this server only. size: bytes of plaintext.
    sha256: of the plaintext.
    """

    name: str
    wrapped_key: bytes = field(repr=False)
    size: int
    sha256: bytes = field(repr=False)


class SealedFiles:
    """The directory of sealed files. Any thread may use it; one writer or reader belongs to one thread at a time."""

    def __init__(self, directory: Path, keys: KeyRing, *, files: Files = DISK) -> None:
        self.directory = directory
        self._keys = keys
        self._files = files
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def writer(self, under: Iterable[str] = (), use: str = "dataset") -> SealedWriter:
        """Begin a new file. under: owner-sealed datasets of which it holds anything. use: what it is.

        Raises:
            ServerError: server.locked, the key of one of them is not held.
        """
        return SealedWriter(self.directory, self._keys, self._files, under, use)

    def reader(self, ref: SealedRef, under: Iterable[str] = (), use: str = "dataset") -> SealedReader:
        """Open a file for reading at any place. under: datasets of which it may hold something. use: what it must be.

        Raises:
            ServerError: server.sealed.missing, server.sealed.damaged, server.locked.
        """
        return SealedReader(self._path(ref.name), self._keys.unwrap(ref.wrapped_key, under, use), ref.size)

    def load_into_memfd(
        self, ref: SealedRef, label: str = "dataset", under: Iterable[str] = (), use: str = "dataset"
    ) -> int:
        """Decrypt a whole file into memory; return a descriptor of an immutable memory file, positioned at 0.

        label: of the descriptor. under: datasets of which it may hold something. use: what it must be.

        The caller closes it. No holder of the descriptor can write, grow or shrink it (`F_SEAL_*`).

        Raises:
            ServerError: server.sealed.missing, server.sealed.damaged, server.sealed.memory.
        """
        with self.reader(ref, under, use) as reader:
            return reader.load_into_memfd(label)

    def remove(self, name: str) -> None:
        """Delete a file. One that is gone already is no error."""
        try:
            self._files.unlink(self._path(name))
        except FileNotFoundError:
            return
        self._files.sync_directory(self.directory)

    def sweep(self, keep: Iterable[str]) -> int:
        """Delete unfinished files and finished ones that nothing refers to; return how many.

        Only for the start, under the directory lock, when no writer exists.
        """
        kept, swept = set(keep), 0
        for path in self.directory.iterdir():
            if path.suffix == _PARTIAL or (path.suffix == _SUFFIX and path.name not in kept):
                self._files.unlink(path)
                swept += 1
        if swept:
            self._files.sync_directory(self.directory)
        return swept

    def names(self) -> set[str]:
        """Return the names of all finished files."""
        return {path.name for path in self.directory.iterdir() if path.suffix == _SUFFIX}

    def _path(self, name: str) -> Path:
        if Path(name).name != name or not name.endswith(_SUFFIX):
            raise _damaged("Its name in the catalogue is not one the server gives.")
        return self.directory / name


class SealedWriter:
    """Writes one sealed file as a stream. Nothing is visible under its final name before `commit`.

    As a context manager it aborts when left without `commit`.
    """

    def __init__(
        self, directory: Path, keys: KeyRing, files: Files, under: Iterable[str] = (), use: str = "dataset"
    ) -> None:
        identifier = secrets.token_bytes(16)
        self._name = identifier.hex() + _SUFFIX
        self._directory, self._files = directory, files
        self._partial = directory / (self._name + _PARTIAL)
        key = AESGCM.generate_key(bit_length=256)
        self._wrapped = keys.wrap(key, under, use)
        self._cipher = AESGCM(key)
        header = _HEADER.pack(_MAGIC, _VERSION, _AES_256_GCM, CHUNK, identifier)
        self._digest = hashlib.sha256(header).digest()
        self._plain, self._fill = bytearray(CHUNK), 0
        self._sealed = bytearray(_STRIDE)
        self._index, self._size = 0, 0
        self._sha256 = hashlib.sha256()
        self._descriptor = -1
        try:
            self._descriptor = files.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            files.write_all(self._descriptor, header)
        except OSError as error:
            self.abort()
            raise _write_failed() from error

    @property
    def size(self) -> int:
        """Bytes of plaintext taken so far."""
        return self._size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of plaintext.

        Raises:
            ServerError: server.sealed.write, when the disk fails; the file is then gone.
        """
        if self._descriptor < 0:
            raise _write_failed()
        view = memoryview(data).cast("B")
        self._sha256.update(view)
        self._size += len(view)
        while view:
            if self._fill == CHUNK:  # full, and more follows: so it is not the last one
                self._seal(last=False)
            if self._fill == 0 and len(view) > CHUNK:
                self._seal_view(view[:CHUNK], last=False)
                view = view[CHUNK:]
                continue
            taken = min(len(view), CHUNK - self._fill)
            self._plain[self._fill : self._fill + taken] = view[:taken]
            self._fill += taken
            view = view[taken:]

    def commit(self) -> SealedRef:
        """Finish: everything is on the disk under its final name when this returns.

        Raises:
            ServerError: server.sealed.write, when the disk fails; the file is then gone.
        """
        if self._descriptor < 0:
            raise _write_failed()
        self._seal(last=True)
        try:
            self._files.fsync(self._descriptor)
            self._close()
            self._files.replace(self._partial, self._directory / self._name)
            self._files.sync_directory(self._directory)
        except OSError as error:
            self.abort()
            (self._directory / self._name).unlink(missing_ok=True)
            raise _write_failed() from error
        return SealedRef(self._name, self._wrapped, self._size, self._sha256.digest())

    def abort(self) -> None:
        """Give up and delete what was written. Does nothing after `commit`; may be called again."""
        with contextlib.suppress(OSError):
            self._close()
        self._partial.unlink(missing_ok=True)
        self._plain = bytearray(CHUNK)

    def __enter__(self) -> SealedWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._files.close(descriptor)

    def _seal(self, *, last: bool) -> None:
        self._seal_view(memoryview(self._plain)[: self._fill], last=last)
        self._fill = 0

    def _seal_view(self, plain: memoryview, *, last: bool) -> None:
        out = memoryview(self._sealed)[: len(plain) + TAG]
        self._cipher.encrypt_into(_nonce(self._index, last), plain, _associated(self._digest, self._index, last), out)
        self._index += 1
        try:
            self._files.write_all(self._descriptor, out)
        except OSError as error:
            self.abort()
            raise _write_failed() from error


class SealedReader:
    """Reads one sealed file. Opening it authenticates the last chunk, so the length is known to be right."""

    def __init__(self, path: Path, key: bytes, size: int) -> None:
        self._cipher = AESGCM(key)
        self.size = size
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            msg = "A dataset's file is missing."
            raise ServerError(
                msg, code="server.sealed.missing", next_step="The owner can upload the dataset again."
            ) from None
        try:
            self._open_header(path)
        except BaseException:
            self.close()
            raise

    def _open_header(self, path: Path) -> None:
        header = os.pread(self._descriptor, _HEADER.size, 0)
        if len(header) != _HEADER.size:
            raise _damaged("Its header is incomplete.")
        magic, version, cipher, chunk, identifier = _HEADER.unpack(header)
        if (magic, version, cipher, chunk) != (_MAGIC, _VERSION, _AES_256_GCM, CHUNK):
            raise _damaged("Its header is not of a known format.")
        if path.name != identifier.hex() + _SUFFIX:
            raise _damaged("It is another file under this name.")
        self._digest = hashlib.sha256(header).digest()
        self._chunks = max(1, -(-self.size // CHUNK))
        expected = _HEADER.size + self.size + self._chunks * TAG
        if os.fstat(self._descriptor).st_size != expected:
            raise _damaged("Its length is not the one recorded.")
        self._sealed = bytearray(_STRIDE)
        self._chunk(self._chunks - 1, memoryview(bytearray(self._length(self._chunks - 1))))

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes of plaintext from `offset`, fewer at the end of the file.

        Raises:
            ServerError: server.sealed.damaged.
        """
        end = min(self.size, offset + length)
        if offset < 0 or end <= offset:
            return b""
        first, last = offset // CHUNK, (end - 1) // CHUNK
        plain = bytearray(sum(self._length(i) for i in range(first, last + 1)))
        view = memoryview(plain)
        for index in range(first, last + 1):
            start = (index - first) * CHUNK
            self._chunk(index, view[start : start + self._length(index)])
        return bytes(view[offset - first * CHUNK : end - first * CHUNK])

    def load_into_memfd(self, label: str) -> int:
        """See `SealedFiles.load_into_memfd`."""
        memory = os.memfd_create(label, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            # decrypted into one small buffer that stays in the processor's cache, then written: twice as fast as into a
            # mapping, whose pages would be zeroed and faulted in first
            plain = memoryview(bytearray(min(CHUNK, max(self.size, 1))))
            for index in range(self._chunks):
                part = plain[: self._length(index)]
                self._chunk(index, part)
                DISK.write_all(memory, part)
            os.lseek(memory, 0, os.SEEK_SET)
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
        except OSError as error:
            os.close(memory)
            msg = "There is not enough memory to open the dataset."
            raise ServerError(msg, code="server.sealed.memory", next_step="Try again when less is running.") from error
        except BaseException:
            os.close(memory)
            raise
        return memory

    def close(self) -> None:
        """Close the file. May be called again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> SealedReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _length(self, index: int) -> int:
        return CHUNK if index < self._chunks - 1 else self.size - (self._chunks - 1) * CHUNK

    def _chunk(self, index: int, out: memoryview) -> None:
        last = index == self._chunks - 1
        sealed = memoryview(self._sealed)[: len(out) + TAG]
        try:
            if os.preadv(self._descriptor, [sealed], _HEADER.size + index * _STRIDE) != len(sealed):
                raise _damaged("It ends too early.")
            self._cipher.decrypt_into(_nonce(index, last), sealed, _associated(self._digest, index, last), out)
        except InvalidTag:
            raise _damaged(f"Chunk {index} does not open with its key.") from None
        except OSError as error:
            raise _damaged("The disk could not read it.") from error


def _nonce(index: int, last: bool) -> bytes:
    return index.to_bytes(8, "big") + int(last).to_bytes(4, "big")


def _associated(digest: bytes, index: int, last: bool) -> bytes:
    return digest + _nonce(index, last)


def _damaged(why: str) -> ServerError:
    msg = "A dataset's file is damaged."
    return ServerError(
        msg, code="server.sealed.damaged", reason=why, next_step="The owner can upload the dataset again."
    )


def _write_failed() -> ServerError:
    msg = "The dataset could not be written to the server's disk."
    return ServerError(msg, code="server.sealed.write", next_step="Free space on the server's disk, then upload again.")
