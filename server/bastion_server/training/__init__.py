"""Training beside the data: the one place of the server that imports torch, in workers of its own and only there."""
