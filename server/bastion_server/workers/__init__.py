"""Sandboxed workers: single-use processes that run plans beside the data and can do nothing else."""
