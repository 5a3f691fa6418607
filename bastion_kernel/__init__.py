"""The Jupyter kernel "BastionLab": cells of the restricted language, never Python."""
