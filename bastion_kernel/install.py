"""Adding the kernel to Jupyter. An editable install does not copy data files, so this is the one way that always works."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager

NAME = "bastionlab"
RESOURCES = Path(__file__).parent / "resources"


def kernel_spec(python: str | None = None) -> dict[str, object]:
    """Return the content of kernel.json."""
    return {
        "argv": [python or sys.executable, "-Xfrozen_modules=off", "-m", "bastion_kernel", "-f", "{connection_file}"],
        "display_name": "BastionLab",
        "language": "bastionlab",
        "interrupt_mode": "message",
        "metadata": {"debugger": False, "supported_encryption": ["curve"]},
    }


def install(*, user: bool = False, prefix: str | None = None) -> str:
    """Write the kernelspec and return its folder. user: for this account; prefix: below a folder (default: sys.prefix)."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernel.json").write_text(json.dumps(kernel_spec(), indent=2) + "\n", encoding="utf-8")
        for logo in RESOURCES.glob("logo*"):
            (Path(folder) / logo.name).write_bytes(logo.read_bytes())
        target = None if user else (prefix or sys.prefix)
        return str(KernelSpecManager().install_kernel_spec(folder, NAME, user=user, prefix=target))


def main(argv: list[str] | None = None) -> int:
    """Command line of `python -m bastion_kernel install`."""
    parser = argparse.ArgumentParser(
        prog="python -m bastion_kernel install", description="Add the BastionLab kernel to Jupyter."
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="for this account")
    where.add_argument("--sys-prefix", action="store_true", help="for this Python environment (the default)")
    where.add_argument("--prefix", help="below this folder")
    options = parser.parse_args(argv)
    folder = install(user=options.user, prefix=options.prefix)
    sys.stdout.write(f"BastionLab kernel installed in {folder}\n")
    return 0
