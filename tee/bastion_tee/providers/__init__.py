"""Where a server gets evidence from."""
