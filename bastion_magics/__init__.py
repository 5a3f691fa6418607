"""`%load_ext bastion_magics`: BastionLab's cells and commands in an ordinary notebook.

`%%bastion --as rates` runs a cell of the restricted language and puts its result into the Python variable `rates`, a
Polars DataFrame; `%%bastion --sql` runs one of SQL. `%bastion` alone lists the commands.
"""

from __future__ import annotations

from typing import Any

__all__ = ["load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(shell: Any) -> None:
    """Register the magics and their completion; called by `%load_ext bastion_magics`."""
    from bastion_magics.completing import matcher
    from bastion_magics.magics import BastionMagics

    magics = BastionMagics(shell)
    shell.register_magics(magics)
    if shell.Completer is not None:
        shell.Completer.custom_matchers.append(matcher(magics))


def unload_ipython_extension(shell: Any) -> None:
    """End the connection and take the magics away; called by `%unload_ext bastion_magics`."""
    registered = shell.magics_manager.registry.pop("BastionMagics", None)
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("bastion", None)
    if shell.Completer is not None:
        ours = [m for m in shell.Completer.custom_matchers if getattr(m, "matcher_identifier", "") == "bastion"]
        for found in ours:
            shell.Completer.custom_matchers.remove(found)
    if registered is not None:
        registered.session.close()
