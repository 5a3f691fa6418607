"""What `import bastionlab` gives."""

from bastion.compat import polars
from bastion.compat.connection import Client, Connection
from bastion.compat.identities import Identity, PublicKey, SigningKey

__all__ = ["Client", "Connection", "Identity", "PublicKey", "SigningKey", "polars"]
