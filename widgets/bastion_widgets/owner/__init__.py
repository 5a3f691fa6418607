"""The owner's panel."""

from __future__ import annotations

from bastion_widgets.owner.panel import OwnerPanel

__all__ = ["OwnerPanel"]
