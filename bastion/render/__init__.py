"""Results as MIME bundles: every rich view has a text/plain that is as good in a terminal."""

from bastion.render.bundles import bundle, clipped_table

__all__ = ["bundle", "clipped_table"]
