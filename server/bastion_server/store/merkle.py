"""Merkle trees of RFC 6962 (section 2.1): incremental roots, inclusion and consistency proofs, and their verifiers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

HASH = 32
EMPTY_ROOT = hashlib.sha256().digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """An append-only tree that keeps the hash of every complete subtree: 64 bytes a leaf.

    Roots and proofs of any earlier size take O(log n) hashes. Not thread-safe.
    """

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray()]  # level l holds the complete subtrees of 2**l leaves

    def __len__(self) -> int:
        return len(self._levels[0]) // HASH

    def append(self, leaf: bytes) -> None:
        """Add a leaf by its hash (see `leaf_hash`)."""
        for level in range(len(self._levels) + 1):
            if level == len(self._levels):
                self._levels.append(bytearray())
            hashes = self._levels[level]
            hashes += leaf
            if len(hashes) % (2 * HASH):
                return
            leaf = node_hash(bytes(hashes[-2 * HASH : -HASH]), bytes(hashes[-HASH:]))

    def leaf(self, index: int) -> bytes:
        """Return the hash of leaf `index`."""
        return bytes(self._levels[0][index * HASH : (index + 1) * HASH])

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first `size` leaves (default: of all)."""
        size = len(self) if size is None else size
        if not 0 <= size <= len(self):
            msg = f"the tree has {len(self)} leaves, not {size}"
            raise ValueError(msg)
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the audit path PATH(index, D[size]), leaf to root."""
        size = len(self) if size is None else size
        if not 0 <= index < size <= len(self):
            msg = f"no leaf {index} in a tree of {size}"
            raise ValueError(msg)
        path: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start = middle
        return path[::-1]

    def consistency_proof(self, first: int, second: int | None = None) -> list[bytes]:
        """Return PROOF(first, D[second]): that the tree of `second` leaves extends that of `first`."""
        second = len(self) if second is None else second
        if not 0 < first <= second <= len(self):
            msg = f"no consistency proof from {first} to {second}"
            raise ValueError(msg)
        path: list[bytes] = []
        start, end = 0, second
        whole = True  # the old tree is a complete subtree on the way down: the verifier knows its root
        while first != end:
            middle = start + _split(end - start)
            if first <= middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start, whole = middle, False
        if not whole:
            path.append(self._range(start, end))
        return path[::-1]

    def _range(self, start: int, end: int) -> bytes:
        """Return the hash of leaves [start, end), a subtree of RFC 6962's decomposition."""
        # complete subtrees from left to right; folded from the right, they give the root
        parts: list[bytes] = []
        while start < end:
            level = (end - start).bit_length() - 1
            position = (start >> level) * HASH
            parts.append(bytes(self._levels[level][position : position + HASH]))
            start += 1 << level
        root = parts.pop()
        while parts:
            root = node_hash(parts.pop(), root)
        return root


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that `leaf` (a leaf hash) is number `index` of the tree of `size` leaves with this root.

    RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size or not _well_formed(leaf, root, *proof):
        return False
    node, last, current = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            current = node_hash(sibling, current)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and current == root


def verify_consistency(first: int, second: int, root_first: bytes, root_second: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `second` leaves extends the tree of `first` leaves.

    RFC 9162, section 2.1.4.2. A tree of size 0 proves nothing and is refused.
    """
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and root_first == root_second
    if not _well_formed(root_first, root_second, *proof):
        return False
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, root_first)
    if not path:
        return False
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old == root_first and new == root_second


def _split(size: int) -> int:
    """Return the largest power of two smaller than `size`."""
    return 1 << (size - 1).bit_length() - 1


def _well_formed(*hashes: bytes) -> bool:
    return all(len(h) == HASH for h in hashes)
