"""A network between a client and a server that a test can take away and bring back."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self


class Network:
    """Forwards TCP connections to a server. `cut()` ends all of them and takes no more; `mend()` takes new ones, same port.

    rate: bytes that pass in a second, each way; 0: as fast as they come. endpoint: where clients connect. A context manager.
    """

    def __init__(self, target: str, rate: float = 0) -> None:
        self._host, _, port = target.removeprefix("tcp://").rpartition(":")
        self._to, self._port, self._rate = int(port), 0, rate
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.mend()

    @property
    def endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self._port}"

    def cut(self) -> None:
        self._run(self._cut())

    def mend(self) -> None:
        self._run(self._mend())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _run(self, work) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _mend(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()

    async def _end(self) -> None:
        await self._cut()
        await asyncio.wait_for(self._server.wait_closed(), 5)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            other_reader, other_writer = await asyncio.open_connection(self._host, self._to)
            self._writers.add(other_writer)
            await asyncio.gather(self._pass(reader, other_writer), self._pass(other_reader, writer))
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
                if self._rate:
                    await asyncio.sleep(len(data) / self._rate)
        writer.close()
