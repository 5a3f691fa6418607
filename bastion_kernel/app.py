"""Start of the kernel process."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from ipykernel.kernelapp import IPKernelApp
from traitlets import Enum, Type

from bastion_kernel.kernel import BastionKernel


class BastionKernelApp(IPKernelApp):
    """ipykernel's launcher without IPython's parts: no shell, no debugger, no subcommands."""

    name = "bastionlab"
    kernel_class = Type(BastionKernel, klass="ipykernel.kernelbase.Kernel").tag(config=True)
    # its warnings would stand in the terminal of whoever starts a notebook; errors still do
    log_level = Enum((0, 10, 20, 30, 40, 50, "DEBUG", "INFO", "WARN", "ERROR", "CRITICAL"), default_value=40).tag(
        config=True
    )
    subcommands: ClassVar[dict[str, tuple[str, str]]] = {}

    def init_iopub(self, context: Any) -> None:
        """As ipykernel's, and `subscribed` is set when the first client listens.

        A client dials all ports at once, but one that is refused is dialled again some 100 ms later: its first cell
        can be answered before it hears anything, and `jupyter console` then waits for ever.
        """
        self.subscribed = threading.Event()
        super().init_iopub(context)
        thread = self.iopub_thread

        def heard(frames: list[bytes]) -> None:
            self.subscribed.set()
            thread._handle_subscription(frames)

        thread.io_loop.add_callback(lambda: thread._xpub_stream.on_recv(heard))

    def init_pdb(self) -> None:
        """Nothing: cells are never Python, so there is nothing to debug."""

    def init_path(self) -> None:
        """Nothing: the working folder does not become importable."""


def main(argv: list[str] | None = None) -> None:
    """Run the kernel named by `-f CONNECTION_FILE`."""
    BastionKernelApp.launch_instance(argv)
