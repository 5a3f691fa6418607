"""Start of the kernel process."""

from __future__ import annotations

from typing import ClassVar

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

    def init_pdb(self) -> None:
        """Nothing: cells are never Python, so there is nothing to debug."""

    def init_path(self) -> None:
        """Nothing: the working folder does not become importable."""


def main(argv: list[str] | None = None) -> None:
    """Run the kernel named by `-f CONNECTION_FILE`."""
    BastionKernelApp.launch_instance(argv)
