"""The expression builder and the translation of real Polars expressions; `bastion.expressions` is its public face."""
