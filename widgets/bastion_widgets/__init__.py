"""Widgets over the client: they show what the server says and decide nothing themselves."""

from bastion_widgets.access import AccessRequestWidget

__all__ = ["AccessRequestWidget"]
