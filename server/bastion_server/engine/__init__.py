"""Engines: plans become Polars here and nowhere else."""
