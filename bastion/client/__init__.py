"""The client side: connection, remote frames, denials."""
