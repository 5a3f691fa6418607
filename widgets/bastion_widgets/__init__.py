"""Widgets over the client: they show what the server says and decide nothing themselves."""

from bastion_widgets.access import AccessRequestWidget
from bastion_widgets.result import ResultWidget, Shelf

__all__ = ["AccessRequestWidget", "ResultWidget", "Shelf"]
