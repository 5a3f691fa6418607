"""The server: keeps tables, judges queries, runs them beside the data, returns only what may leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Handle", "__version__", "start"]

if TYPE_CHECKING:
    from bastion_server.process import Handle, start


def __getattr__(name: str) -> Any:
    # the workers import this package: it must stay empty until someone wants to start a server
    if name in ("Handle", "start"):
        from bastion_server import process

        return getattr(process, name)
    raise AttributeError(name)
