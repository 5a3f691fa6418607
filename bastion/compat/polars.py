"""What `bastionlab.polars` gives."""

from bastion.client.training.tensors import train_test_split
from bastion.compat import policy
from bastion.compat.connection import BastionLabPolars
from bastion.compat.frames import FetchableLazyFrame, RemoteLazyFrame

__all__ = ["BastionLabPolars", "FetchableLazyFrame", "RemoteLazyFrame", "policy", "train_test_split"]
