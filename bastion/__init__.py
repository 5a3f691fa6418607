"""BastionLab for data scientists and data owners: `from bastion import Connection, Identity, pl`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bastion_plan.errors import (
        BastionError,
        BindError,
        InputError,
        LanguageError,
        NotAuthorised,
        NotFound,
        PlanError,
        PolicyError,
        ServerError,
        WireError,
    )
    from bastion_wire.identity import Identity, PublicIdentity

    from bastion import expressions as pl
    from bastion.client.base import GuardNote
    from bastion.client.connection import AsyncConnection, Connection, Released
    from bastion.client.denied import AccessRequest, Denied
    from bastion.client.endpoints import trust
    from bastion.client.frames import FetchableLazyFrame, RemoteLazyFrame, concat
    from bastion.expr import selectors

#: public name -> module it lives in; loaded on first use, so that `import bastion` is quick
_PLACES = {
    "Connection": "bastion.client.connection",
    "AsyncConnection": "bastion.client.connection",
    "Released": "bastion.client.connection",
    "Denied": "bastion.client.denied",
    "AccessRequest": "bastion.client.denied",
    "RemoteLazyFrame": "bastion.client.frames",
    "FetchableLazyFrame": "bastion.client.frames",
    "concat": "bastion.client.frames",
    "GuardNote": "bastion.client.base",
    "trust": "bastion.client.endpoints",
    "Identity": "bastion_wire.identity",
    "PublicIdentity": "bastion_wire.identity",
} | dict.fromkeys(
    (
        "BastionError", "BindError", "InputError", "LanguageError", "NotAuthorised", "NotFound", "PlanError", "PolicyError",
        "ServerError", "WireError",
    ),
    "bastion_plan.errors",
)  # fmt: skip
_MODULES = {"pl": "bastion.expressions", "selectors": "bastion.expr.selectors"}

__version__ = "0.1.0"

__all__ = [
    "AccessRequest",
    "AsyncConnection",
    "BastionError",
    "BindError",
    "Connection",
    "Denied",
    "FetchableLazyFrame",
    "GuardNote",
    "Identity",
    "InputError",
    "LanguageError",
    "NotAuthorised",
    "NotFound",
    "PlanError",
    "PolicyError",
    "PublicIdentity",
    "Released",
    "RemoteLazyFrame",
    "ServerError",
    "WireError",
    "__version__",
    "concat",
    "pl",
    "selectors",
    "trust",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    msg = f"module 'bastion' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)
