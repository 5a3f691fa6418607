"""Results as MIME bundles: every rich view has a text/plain that is as good in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bastion.render.bundles import bundle, clipped_table

__all__ = ["bundle", "clipped_table"]


def __getattr__(name: str) -> Any:
    """Import on first use: the client's own texts are made with `render.safe_text`, and the bundles need the client."""
    if name in __all__:
        from bastion.render import bundles

        return getattr(bundles, name)
    raise AttributeError(name)
