"""The plan: nodes, expressions, types, the function registry, canonical bytes. Imports nothing of ours."""
