"""The module names of BastionLab, and what of ours stands behind each."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

#: module of BastionLab -> ours
NAMES = {
    "bastionlab": "bastion.compat.bastionlab",
    "bastionlab.client": "bastion.compat.bastionlab",
    "bastionlab.keys": "bastion.compat.bastionlab",
    "bastionlab.polars": "bastion.compat.polars",
    "bastionlab.polars.policy": "bastion.compat.policy",
    "bastionlab.polars.client": "bastion.compat.polars",
    "bastionlab.polars.remote_polars": "bastion.compat.polars",
    **dict.fromkeys(
        (
            "bastionlab.torch",
            "bastionlab.torch.data",
            "bastionlab.torch.learner",
            "bastionlab.torch.optimizer_config",
            "bastionlab.torch.remote_torch",
            "bastionlab.torch.client",
            "bastionlab.converter",
            "bastionlab.tokenizers",
        ),
        "bastion.compat.torch",
    ),
    # of another room: taken by name only, where it is installed
    "bastionlab_server": "bastion_server.bastionlab",
}
#: modules that there were, and why they are not here
_ABSENT = {
    "linfa": "Its models are not part of this version; layers of torch are (bastionlab.torch).",
    "config": "Settings are arguments of Connection, and the saved profile.",
}


class _Alias(Loader):
    """Loads a module under the name that BastionLab had for it."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return importlib.import_module(NAMES[spec.name])

    def exec_module(self, module: ModuleType) -> None:
        """It has run already."""


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in NAMES:
            return ModuleSpec(
                name, _Alias(), is_package=name in ("bastionlab", "bastionlab.polars", "bastionlab.torch")
            )
        if name.startswith("bastionlab."):
            why = _ABSENT.get(name.split(".")[1], "This part of BastionLab is not here.")
            msg = f"There is no {name!r}. {why}"
            raise ModuleNotFoundError(msg, name=name)
        return None


def install() -> None:
    """Make `import bastionlab` find ours."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
