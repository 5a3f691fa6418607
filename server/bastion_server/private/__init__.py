"""Noise for the private profile: drawn by OpenDP's core mechanisms, in the server, on whole numbers."""
