"""Comms for a kernel that is not IPython: what ipywidgets needs to open widgets and to hear clicks.

Five things are needed (each was seen missing): a BaseComm that publishes through this kernel; `comm.create_comm` and
`comm.get_comm_manager` set after ipykernel's own import set theirs; the comm messages in `shell_handlers`; the manager on
the kernel; and the widget target registered, so that widgets come back after a page reload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import comm
from comm.base_comm import BaseComm, CommManager
from ipykernel.jsonutil import json_clean

if TYPE_CHECKING:
    from bastion_kernel.kernel import BastionKernel


def install(kernel: BastionKernel) -> None:
    """Give `kernel` working comms; call once, before the first widget is made."""
    import ipykernel.ipkernel  # noqa: F401 -- sets comm.create_comm at import: ours must come after
    import ipywidgets

    class KernelComm(BaseComm):
        """A comm that speaks through the one kernel of this process."""

        def publish_msg(
            self,
            msg_type: str,
            data: dict[str, Any] | None = None,
            metadata: dict[str, Any] | None = None,
            buffers: list[bytes] | None = None,
            **keys: Any,
        ) -> None:
            kernel.session.send(
                kernel.iopub_socket,
                msg_type,
                json_clean({"data": data or {}, "comm_id": self.comm_id, **keys}),
                metadata=json_clean(metadata or {}),
                parent=kernel.get_parent(),
                ident=self.topic,
                buffers=buffers,
            )

    manager = CommManager()

    def create_comm(*args: Any, **kwargs: Any) -> KernelComm:
        return KernelComm(*args, **kwargs)

    comm.create_comm = create_comm
    comm.get_comm_manager = lambda: manager
    kernel.comm_manager = manager
    for message in ("comm_open", "comm_msg", "comm_close"):
        kernel.shell_handlers[message] = getattr(manager, message)
    ipywidgets.register_comm_target()
