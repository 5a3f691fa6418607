"""Gaussian noise for a sum of bounded gradients, added on a grid of whole numbers; the sensitivity it is measured by.

**What is protected.** The sum over people of (gradient, loss, 1) where a gradient has norm `clip` at most and a loss, clipped to
[0, loss_bound], is shown as BETA * clip * loss / loss_bound. The 1 counts people, and stands as gamma * clip. One person's part has norm
sqrt(1 + BETA^2 + gamma^2) * clip at most, so the loss curve and the number of people in a step, which the clock tells, are part of the same
mechanism, and cost nothing of their own but noise that is larger by a half per cent and by gamma^2 / 2.

**Sensitivity.** Of two neighbours (all rows of one person more or less) the exact sums differ by that part. What is noised is
the computed sum, rounded to whole steps of a grid h = clip / (GRID * sqrt(d)) in d dimensions. Gradient and loss differ by at most

    M = clip * (sqrt(1 + BETA^2) + 1 / GRID + 2 * ERROR)

and, as the number of people is exact and whole, everything by at most sqrt(M^2 + gamma^2 * clip^2), where

- rounding moves each of two vectors by at most h/2 per entry, h sqrt(d) in both: clip / GRID;
- each computed sum is within ERROR * clip of the exact one: clipping.py holds each person's share of the error to `margin` * clip, which is
  ERROR / 2 divided by the places of the step, as many as there can be people in it. The other half is more than what is left: numbers that
  are too small for float32 (clipping.py), adding up the parts of a step with compensation (loop.py), the loss's own sum, dividing by h.

**Noise.** What is added is round(sigma * sensitivity / h * z) with z a normal deviate. For whole x, x + round(y) = round(x + y): the
rounding is done to what the Gaussian mechanism gives for x, and costs nothing. All that leaves is whole numbers of h, so that the last
bits of a float carry nothing (Mironov 2012). z is made by Box and Muller from cryptographic random numbers (drawing.py), 128 bits for the
radius where it is large or small, so that it reaches to 13 deviations; a deviate is off by some 2**-43 of itself at most, far less than a step, so every whole number can come out, with its probability to about 1e-8 of itself.

**The number of people** is noised before a step's passes, and never shown: as many empty places stand beside the people
(bastion_policy.private.padding says why that is the same noise, and how gamma is chosen). Its noise and that of the other coordinates are
drawn each by themselves, so it does not matter that one is drawn first.
"""

from __future__ import annotations

import math
import os
import struct
from typing import Any

import numpy as np
import torch
from bastion_policy.private import padding
from numpy.lib.introspect import opt_func_info

from bastion_server.training import drawing

Numbers = np.ndarray[Any, np.dtype[np.float64]]

BETA = 0.1
GRID = 4096
#: people in one step, at most
PEOPLE = 1 << 25
#: by how much a computed sum may be off, in units of the bound
ERROR = 2.0**-7
#: deviates that are drawn at once: few enough to stay near the processor
_CHUNK = 1 << 16
#: how near to 0 and to 1 (2**64) the first 64 bits of a uniform number need the next 64
_END = np.uint64(1 << 54)
_LEFT = np.uint64(11)
#: whether numpy has a logarithm of many numbers at once for this processor, which is four times as fast as torch's; else it is slower
_VECTORS = any(kind in str(opt_func_info("^log$", "float64")) for kind in ("'current': 'AVX512", "'current': 'X86_V4"))

#: by how much one person moves gradient and loss, as a norm, in units of a gradient's largest
MOVED = math.sqrt(1 + BETA**2) + 1 / GRID + 2 * ERROR


def sensitivity(clip: float, gamma: float) -> float:
    """Return by how much one person moves what is noised, the number of people included, as a norm."""
    return clip * math.hypot(MOVED, gamma)


def margin(places: int) -> float:
    """Return by how much one person may make a computed sum be off, in units of the bound.

    places: of the step, public; as many more as make few numbers of them, since a pass is recorded for each that comes up.
    """
    some = 1 << max(0, places.bit_length() - 3)
    return ERROR / 2 / (-(-places // some) * some)


def empty_places(deviation: float) -> int:
    """Return how many empty places stand beside people. deviation: of the noise on their number; 0: none, as nothing is to be hidden."""
    return padding.count(deviation, normal() if deviation else 0.0)


def noised(total: Numbers, clip: float, sigma: float, gamma: float) -> Numbers:
    """Return a sum of people's parts with noise, on the grid.

    Args:
        total: the computed sum, gradient and loss. clip: a gradient's largest norm. sigma: deviation of the noise in units of
            the sensitivity. gamma: what a person adds to the number of people, in units of `clip`.

    Raises:
        ValueError: sigma is no number above 0.
    """
    # INVARIANT: nothing leaves without noise
    if not (math.isfinite(sigma) and sigma > 0):
        msg = "no noise"
        raise ValueError(msg)
    step = grid(clip, len(total))
    scale = sigma * sensitivity(clip, gamma) / step
    found: Numbers = np.empty_like(total)
    for start in range(0, len(found), _CHUNK):
        some = found[start : start + _CHUNK]
        np.rint(np.divide(total[start : start + _CHUNK], step, out=some), out=some)
        # INVARIANT: what leaves is a function of the sum of two whole numbers. Beyond those that a float64 has, it is that sum rounded;
        # and there is one 0: of -0 and -0 came -0, which would tell a sign
        some += 0.0
        more = normals(len(some))
        more *= scale
        some += np.rint(more, out=more)
        some *= step
    return found


def grid(clip: float, dimensions: int) -> float:
    """Return the step of the grid."""
    return clip / (GRID * math.sqrt(dimensions))


def on_grid(total: Numbers, clip: float) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return a sum in whole steps of the grid."""
    return np.rint(total / grid(clip, len(total))).astype(np.int64)


def normals(count: int) -> Numbers:
    """Return normal deviates, from random numbers that nobody can foretell (drawing.py)."""
    pairs = (count + 1) // 2
    high, angle = drawing.words(2 * pairs).reshape(2, pairs)
    # u in (0, 1): 53 of its bits are enough where it is near neither end
    size = (high >> _LEFT).astype(np.float64)
    size += 0.5
    size *= 2.0**-53
    ends = np.flatnonzero((high + _END) < 2 * _END)
    np.log(size, out=size) if _VECTORS else torch.from_numpy(size).log_()
    if len(ends):
        size[ends] = _log_at_the_ends(high[ends])
    size *= -2
    radius = torch.from_numpy(np.sqrt(size, out=size))
    both = torch.empty(2, pairs, dtype=torch.float64)
    turned = (angle >> _LEFT).astype(np.float64)
    turned += 0.5
    turned *= 2 * math.pi * 2.0**-53
    turn = torch.from_numpy(turned)
    torch.cos(turn, out=both[0])
    torch.sin(turn, out=both[1])
    found: Numbers = both.mul_(radius).reshape(-1)[:count].numpy()
    return found


def normal() -> float:
    """Return one normal deviate, as above, with 128 bits for the radius: for one alone, arrays take longer than all else."""
    (high, angle), low = struct.unpack("<QQ", os.urandom(16)), int.from_bytes(os.urandom(8), "little")
    # u = (bits + 1/2) / 2**128, or what is left of it to 1: quotients of whole numbers, to the last bit of a float64
    bits = high << 64 | low
    small, other = (2 * bits + 1) / (1 << 129), (2 * ((1 << 128) - bits) - 1) / (1 << 129)
    size = math.log1p(-other) if high >> 63 else math.log(small)
    return math.sqrt(-2 * size) * math.cos(((angle >> 11) + 0.5) * (2 * math.pi * 2.0**-53))


def _log_at_the_ends(high: np.ndarray[Any, np.dtype[np.uint64]]) -> Numbers:
    """Return log(u) for u of 128 bits, which begin with `high`: to the last bit of a float64 however near u is to 0 or 1."""
    rest = (drawing.words(len(high)).astype(np.float64) + 0.5) * 2.0**-64
    small = (high.astype(np.float64) + rest) * 2.0**-64
    # 1 - u
    other = ((~high).astype(np.float64) + (1 - rest)) * 2.0**-64
    near_one = high >= np.uint64(1 << 63)
    found: Numbers = np.where(near_one, np.log1p(-np.where(near_one, other, 0.0)), np.log(small))
    return found
