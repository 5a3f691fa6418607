"""Merkle trees: against RFC 6962's recursive definition, and against public test vectors."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from bastion_server.store.merkle import (
    EMPTY_ROOT,
    MerkleTree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from hypothesis import given
from hypothesis import strategies as st

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "rfc6962"


def definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, as written there."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return node_hash(definition(leaves[:k]), definition(leaves[k:]))


def tree_of(leaves: list[bytes]) -> MerkleTree:
    tree = MerkleTree()
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
    return tree


DATA = [bytes([i]) * (i % 5) for i in range(70)]


def test_roots_of_every_size_follow_the_definition() -> None:
    tree = MerkleTree()
    assert tree.root() == EMPTY_ROOT
    for i, leaf in enumerate(DATA):
        tree.append(leaf_hash(leaf))
        assert tree.root() == definition(DATA[: i + 1])
    for size in range(len(DATA) + 1):
        assert tree.root(size) == definition(DATA[:size])


def test_every_proof_verifies_and_no_other_position_does() -> None:
    tree = tree_of(DATA[:33])
    for size in range(1, 34):
        root = tree.root(size)
        for index in range(size):
            proof = tree.inclusion_proof(index, size)
            assert verify_inclusion(index, size, tree.leaf(index), proof, root)
            assert not verify_inclusion(index + 1, size, tree.leaf(index), proof, root)
            assert not verify_inclusion(index, size, leaf_hash(b"other"), proof, root)
        for first in range(1, size + 1):
            proof = tree.consistency_proof(first, size)
            assert verify_consistency(first, size, tree.root(first), root, proof)
            assert not verify_consistency(first, size, leaf_hash(b"other"), root, proof)


@given(st.integers(2, 70), st.data())
def test_a_changed_proof_fails(size: int, data: st.DataObject) -> None:
    tree = tree_of(DATA[:size])
    first = data.draw(st.integers(1, size - 1))
    proof = tree.consistency_proof(first, size)
    where = data.draw(st.integers(0, len(proof)))
    changes = [[*proof[:where], leaf_hash(b"x"), *proof[where:]]]
    if where < len(proof):
        changes += [proof[:where] + proof[where + 1 :], [*proof[:where], leaf_hash(b"x"), *proof[where + 1 :]]]
    for changed in changes:
        assert not verify_consistency(first, size, tree.root(first), tree.root(size), changed)


def test_impossible_proofs_are_refused() -> None:
    tree = tree_of(DATA[:5])
    for call in (
        lambda: tree.root(6),
        lambda: tree.inclusion_proof(5, 5),
        lambda: tree.consistency_proof(0, 5),
        lambda: tree.consistency_proof(4, 6),
    ):
        with pytest.raises(ValueError, match=r"no |the tree has"):
            call()
    assert not verify_consistency(0, 5, EMPTY_ROOT, tree.root(), [])


def test_public_vectors() -> None:
    if not VECTORS.is_dir():
        pytest.skip("the public RFC 6962 vectors are not in ../shared/vectors/rfc6962")
    files = sorted(VECTORS.rglob("*.json"))
    assert len(files) == 196
    wrong = []
    for file in files:
        case = json.loads(file.read_text())
        hashes = {
            key: base64.b64decode(case[key] or "") for key in ("root", "leafHash", "root1", "root2") if key in case
        }
        proof = [base64.b64decode(h) for h in case["proof"] or []]
        if "leafIdx" in case:
            good = verify_inclusion(case["leafIdx"], case["treeSize"], hashes["leafHash"], proof, hashes["root"])
        else:
            good = verify_consistency(case["size1"], case["size2"], hashes["root1"], hashes["root2"], proof)
        if good == case["wantErr"]:
            wrong.append(str(file.relative_to(VECTORS)))
    assert wrong == []
