"""`Connection("localhost", 50056)`, `connection.client`, `client.polars` as BastionLab had them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from typing import Any, NoReturn

from bastion_plan.errors import InputError

from bastion.client import connection as own
from bastion.client.endpoints import DEFAULT_PORT
from bastion.client.training.torch_client import TorchClient
from bastion.compat.frames import FetchableLazyFrame, RemoteLazyFrame
from bastion.compat.identities import Identity


class Connection(own.Connection):
    """A session with a server.

    Args:
        host: the server's name or address.
        port: its port.
        identity: who connects; None for the one of `bastionlab_server.start()`, BASTION_IDENTITY, or the saved profile.
        server_key: the server's key; None for the one that is known of this address.
        options: as of `bastion.Connection`.
    """

    _frame_type = RemoteLazyFrame
    _fetchable_type = FetchableLazyFrame

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        identity: Identity | str | None = None,
        *,
        server_key: str | None = None,
        **options: Any,
    ) -> None:
        options = {name: value for name, value in options.items() if name not in ("channel", "token", "server_name")}
        if port is None and host is not None and ":" not in host and not host.startswith("bastion1."):
            port = DEFAULT_PORT
        if isinstance(identity, str) and not os.path.exists(identity):
            identity = Identity.load(identity)
        super().__init__(host, port, identity=identity, server_key=server_key, **options)

    def _prepare(self, on_progress: Any, attestation: Any = None) -> None:
        super()._prepare(on_progress, attestation)
        self.client = Client(self)

    def __enter__(self) -> Client:  # type: ignore[override]
        """Return the client, as BastionLab did."""
        return self.client  # type: ignore[return-value]


class Client(own.Client):
    """`connection.client`: the groups of methods."""

    def __init__(self, connection: Connection) -> None:
        self.polars = BastionLabPolars(connection)
        self.torch = TorchClient(connection)

    def __getattr__(self, name: str) -> NoReturn:
        steps = {
            "linfa": 'Write the model in torch: client.torch.RemoteLearner(nn.Linear(6, 1), ds, loss="l2").',
            "tokenizers": 'Write RemoteTokenizer.from_file("tokenizer.json"), from bastionlab.tokenizers.',
            "converter": "Write frame.to_array(), or array.to_tensor().",
            "_converter": "Write frame.to_array(), or array.to_tensor().",
        }
        if name in steps:
            msg = f"client.{name} is not part of this version of training."
            raise InputError(msg, code="input.training", next_step=steps[name])
        raise AttributeError(name)


class BastionLabPolars(own.PolarsClient):
    """`client.polars`: tables."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        #: queries that were collected here, by what names them: `get_df` finds them
        self._collected: dict[str, Any] = {}

    def send_df(
        self,
        df: Any,
        policy: Any = None,
        sanitized_columns: Iterable[str] = (),
        *,
        name: str | None = None,
        **options: Any,
    ) -> Any:
        """Upload a table; return its frame. The same table may be sent again, and is another dataset then."""
        return super().send_df(df, policy, sanitized_columns, name=name or f"frame-{uuid.uuid4().hex[:12]}", **options)

    def get_df(self, ref: str) -> Any:
        """Return the frame of a dataset, of a saved frame or of a query that was collected here, by its identifier."""
        found = self._collected.get(ref) if isinstance(ref, str) else None
        return super().get_df(ref) if found is None else found

    def persist_df(self, identifier: str) -> Any:
        """Keep a query that was collected here on the server."""
        return self.get_df(identifier).save()
