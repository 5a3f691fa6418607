"""Random bytes for noise and for who is in a step.

Few are the operating system's own. Many are AES-256 in counter mode, under keys that the operating system draws for this one call: the
kernel gives some hundred MB a second, a processor's own AES instructions several GB. Such a stream is a cryptographic generator as the kernel's
is (which is ChaCha20 under a key of its own): who tells n blocks of it from random ones has told AES-256 from a random permutation, or seen that
no block comes twice, which is worth n^2 / 2^129 at most: less than 2^-70 for half a GB (2^25 blocks), and then comes another key.

INVARIANT: a key is used for one call, is never kept, and its blocks are counted from 0, so none is given twice.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

Words = np.ndarray[Any, np.dtype[np.uint64]]

#: bytes up to which the operating system is asked
FEW = 4096
#: bytes that are drawn under one key
MOST = 1 << 29
_ZEROS = bytes(1 << 16)


def words(count: int) -> Words:
    """Return so many random numbers of 64 bits."""
    size = 8 * count
    if size <= FEW:
        return np.frombuffer(os.urandom(size), dtype="<u8")
    found = np.empty(size, dtype=np.uint8)
    into = found.data
    for start in range(0, size, len(_ZEROS)):
        if start % MOST == 0:
            stream = Cipher(AES256(os.urandom(32)), CTR(bytes(16))).encryptor()
        some = into[start : start + len(_ZEROS)]
        # what is added to zeros is the stream itself
        stream.update_into(_ZEROS[: len(some)], some)
    return found.view("<u8")
