"""The engine: plans lowered to Polars, and only here."""
