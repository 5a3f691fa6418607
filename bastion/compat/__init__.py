"""Code written for BastionLab's first version, unchanged: `import bastion.compat`, and `import bastionlab` works.

    import bastion.compat                       # or: %load_ext bastion.compat

    from bastionlab import Connection, Identity
    from bastionlab.polars.policy import Policy, Aggregation, Review
    import bastionlab_server                    # where the server is installed: start(), stop()

It is opt-in, and a face only: the server judges every query as it always does. What differs from BastionLab, and why, is
told in docs/compat.md. Expressions are those of today's Polars; `old_polars()` gives it back names that it has lost.
"""

from __future__ import annotations

import warnings
from typing import Any

from bastion.client.base import OldSpelling
from bastion.compat import modules
from bastion.compat.old_polars import old_polars

__all__ = ["old_polars"]

modules.install()
# whoever asks for the old spellings need not be told that they are old
warnings.filterwarnings("ignore", category=OldSpelling)


def load_ipython_extension(_shell: Any) -> None:
    """`%load_ext bastion.compat`: as the import, with `old_polars()`."""
    old_polars()
