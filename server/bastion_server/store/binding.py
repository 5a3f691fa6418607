"""What an approval is bound to, as one comparable value."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


def binding(versions: Mapping[str, int], policy_versions: Mapping[str, int]) -> bytes:
    """Return canonical bytes of the datasets with their versions and policy versions.

    INVARIANT: two bindings are equal exactly when every dataset, version and policy version is.
    """
    if versions.keys() != policy_versions.keys():
        msg = "versions and policy versions must name the same datasets"
        raise ValueError(msg)
    return msgspec.msgpack.encode([(name, versions[name], policy_versions[name]) for name in sorted(versions)])


def parts(bound: bytes) -> list[tuple[str, int, int]]:
    """Return (dataset id, version, policy version) of each dataset, the inverse of `binding`."""
    return msgspec.msgpack.decode(bound, type=list[tuple[str, int, int]])
