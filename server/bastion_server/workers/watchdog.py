"""A thread that kills children over their limits: it keeps looking even while the event loop is busy."""

from __future__ import annotations

import threading

from bastion_server.workers.handle import Handle


class Watchdog:
    """Looks at every running child each `interval` seconds; sleeps while none runs."""

    def __init__(self, interval: float = 0.01) -> None:
        self._interval = interval
        self._running: set[Handle] = set()
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="worker-watchdog", daemon=True)
        self._thread.start()

    def watch(self, handle: Handle) -> None:
        """Begin to look at a child that has a deadline."""
        with self._lock:
            self._running.add(handle)
        self._work.set()

    def forget(self, handle: Handle) -> None:
        """Stop looking at it."""
        with self._lock:
            self._running.discard(handle)

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._work.set()
        self._thread.join()

    def _watch(self) -> None:
        pause = threading.Event()
        while not self._closed:
            with self._lock:
                running = list(self._running)
                if not running:
                    self._work.clear()
            if not running:
                self._work.wait()
                continue
            for handle in running:
                reason = handle.over()
                if reason is not None:
                    handle.kill(reason)
            pause.wait(self._interval)
