"""Widgets over the client: they show what the server says and decide nothing themselves."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bastion_widgets.access import AccessRequestWidget
    from bastion_widgets.owner import OwnerPanel
    from bastion_widgets.result import ResultWidget, Shelf
    from bastion_widgets.show import Screen

__all__ = ["AccessRequestWidget", "OwnerPanel", "ResultWidget", "Screen", "Shelf"]

_HOMES = {
    "AccessRequestWidget": "access",
    "OwnerPanel": "owner",
    "ResultWidget": "result",
    "Screen": "show",
    "Shelf": "result",
}


def __getattr__(name: str) -> Any:
    """Import on first use: a session that needs no widget does not load ipywidgets."""
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(f"bastion_widgets.{_HOMES[name]}"), name)
