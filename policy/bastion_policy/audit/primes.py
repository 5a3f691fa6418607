"""Exact arithmetic modulo three random primes of 23 bits, in float64 so that matrix products run in BLAS.

**Why three.** A product of two residues has 44 bits, and a sum of 256 of them fits the 53 bits of a float64 exactly. So a
modular matrix product is a plain matrix product and one rounding step. Three primes together are a modulus of 66 to 69 bits.

**Errors, and which way they fall.** A pivot must be invertible modulo all three primes, so the chosen rows are independent over
the rationals too, and what the echelon form holds modulo a prime is the residue of the rational echelon form. An entry
counts as nonzero if *any* prime shows it, so a support that is found never exceeds the true one:

- *false refusal*: an entry that is nonzero over the rationals vanishes modulo all three primes: about 2**-66 an entry. It
  denies an answer and tells nothing.
- *false clearance* is possible only where a row is judged dependent (its remainder vanishes modulo all three primes) though it
  is not. Its remainder over the rationals then has a numerator D, a minor of the released matrix, that all three primes
  divide. A row that vanishes modulo one prime but not modulo another is refused ("doubt"). By Hadamard's bound log2|D| <= r/2 log2 r - r
  for rows of zeros and ones, so at most log2|D| / 22 of the 268,216 primes divide D. The client does not know the primes,
  so the probability per dependent row is at most (43 / 268,216)**3 < 5e-12 at rank 300 and (182 / 268,216)**3 < 4e-10 at
  rank 1,000, whatever the client sends; for matrices that were not built against primes it is about 2**-66. Weights of
  b bits add r * b to log2|D|: at b = 53 and rank 300 the bound is (779 / 268,216)**3 < 3e-8.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
F = TypeVar("F", np.float32, np.float64)
Residues = npt.NDArray[np.floating[Any]]

LOW, HIGH = 1 << 22, 1 << 23
INNER = 256  # products of residues that may be added: 256 * (2**22 + 2)**2 + 2**23 < 2**53
_BLOCK = 16_384
_ENTRIES = 1 << 17  # of a block: its passes stay in the processor's cache


def _below(top: int) -> npt.NDArray[np.int64]:
    """Return the primes below a number, by the sieve of Eratosthenes."""
    there = np.ones(top, bool)
    there[:2] = False
    for d in range(2, int(top**0.5) + 1):
        there[d * d :: d] = False
    return np.flatnonzero(there)


_SMALL = _below(1 << 12)


def is_prime(number: int) -> bool:
    """Return whether `number` < 2**24 is prime."""
    return number > 1 and bool((number % _SMALL[number >= _SMALL * _SMALL]).all())


def draw(seed: bytes) -> tuple[int, int, int]:
    """Return three distinct primes between 2**22 and 2**23 that only holders of `seed` can tell.

    INVARIANT: the seed is secret and random; the bound on false clearance speaks of primes the client cannot know.
    """
    found: list[int] = []
    counter = 0
    while len(found) < 3:
        digest = hashlib.sha256(b"bastion audit" + counter.to_bytes(4, "big") + seed).digest()
        candidate = LOW + (int.from_bytes(digest[:8], "big") % LOW) | 1
        counter += 1
        if candidate < HIGH and candidate not in found and is_prime(candidate):
            found.append(candidate)
    return found[0], found[1], found[2]


def shrink(x: Floats, prime: int) -> Floats:
    """Replace integers |x| < 2**53 of a C-contiguous array by residues |x| <= prime / 2 + 2, in place; return `x`.

    A residue is zero exactly if it is 0.0: all |x| < prime. Each is exact: the quotient is off by at most one, and its
    product with the prime is an integer below 2**53.
    """
    inverse = 1.0 / prime
    flat = x.reshape(-1)
    quotient = np.empty(min(_BLOCK, flat.size))
    for i in range(0, flat.size, _BLOCK):
        part = flat[i : i + _BLOCK]
        q = quotient[: part.size]
        np.multiply(part, inverse, out=q)
        np.rint(q, out=q)
        q *= prime
        part -= q
    return x


def product(left: Floats, right: Residues, prime: int) -> Floats:
    """Return `left @ right` modulo `prime`, exactly; both hold residues."""
    return subtract_product(np.zeros((left.shape[0], right.shape[1])), -left, right, prime)


def subtract_product(base: npt.NDArray[F], left: Floats, right: Residues, prime: int) -> npt.NDArray[F]:
    """Return `base - left @ right` modulo `prime` as a new array of the type of `base`, exactly; all hold residues."""
    result = np.empty_like(base, order="C")
    columns = max(64, _ENTRIES // max(1, base.shape[0]))
    for c in range(0, base.shape[1], columns):
        block = np.array(base[:, c : c + columns], dtype=np.float64, order="C")
        for i in range(0, left.shape[1], INNER):
            block -= left[:, i : i + INNER] @ right[i : i + INNER, c : c + columns].astype(np.float64, copy=False)
            shrink(block, prime)
        result[:, c : c + columns] = block
    return result


def independent(rows: Floats, prime: int) -> bool:
    """Return whether few residue vectors are independent modulo `prime`: then they are so over the rationals, too."""
    left = np.array(rows, order="C")
    for i in range(left.shape[0]):
        at = np.flatnonzero(left[i])
        if not at.size:
            return False
        below = left[i + 1 :]
        factors = below[:, at[0]] * inverse(left[i, at[0]], prime)
        left[i + 1 :] = subtract_product(
            below, shrink(np.array(factors[:, None], order="C"), prime), left[i : i + 1], prime
        )
    return True


def inverse(value: float, prime: int) -> float:
    """Return the inverse of a nonzero residue."""
    return float(pow(int(value) % prime, -1, prime))


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights as exact fractions: each float64 is an integer times a power of two."""

    primes: tuple[int, int, int]

    def residues(self, weights: Floats, which: int) -> Floats:
        """Return the residues of finite float64 numbers modulo prime `which`, as a new C-contiguous array."""
        prime = self.primes[which]
        if bool(((weights == np.rint(weights)) & (np.abs(weights) < LOW)).all()):
            return shrink(np.array(weights, dtype=np.float64, order="C"), prime)
        mantissas, exponents = np.frexp(weights)
        numerators = np.ldexp(mantissas, 53).astype(np.int64) % prime
        shifts = exponents.astype(np.int64) - 53
        low = int(shifts.min(initial=0))
        half = (prime + 1) // 2
        start = pow(half, -low, prime)
        powers = np.empty(int(shifts.max(initial=0)) - low + 1, dtype=np.int64)
        for i in range(powers.size):
            powers[i] = start
            start = start * 2 % prime
        return shrink((numerators * powers[shifts - low] % prime).astype(np.float64, order="C"), prime)
