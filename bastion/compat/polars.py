"""What `bastionlab.polars` gives."""

from bastion.compat import policy
from bastion.compat.connection import BastionLabPolars
from bastion.compat.frames import FetchableLazyFrame, RemoteLazyFrame

__all__ = ["BastionLabPolars", "FetchableLazyFrame", "RemoteLazyFrame", "policy"]
