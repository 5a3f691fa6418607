"""What each operation of a model's graph does, in torch: a table made at import.

INVARIANT: a name that a client sent is a key of this table or nothing; it is never looked up anywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from bastion_plan.models.ops import OPS
from torch import Tensor
from torch.nn import functional as nnf

DTYPES = {
    "float32": torch.float32, "float64": torch.float64, "int64": torch.int64, "int32": torch.int32, "uint8": torch.uint8,
    "bool": torch.bool,
}  # fmt: skip


def _dtype(name: str | None, default: torch.dtype | None = torch.float32) -> torch.dtype | None:
    return default if name is None else DTYPES[name]


def _attention(
    training: bool, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float, causal: bool, scale: float | None,
    grouped: bool,
) -> Tensor:  # fmt: skip
    """Scaled dot-product attention written out, as it has to be for rows by themselves."""
    if grouped:
        k = k.repeat_interleave(q.shape[-3] // k.shape[-3], -3)
        v = v.repeat_interleave(q.shape[-3] // v.shape[-3], -3)
    scores = q @ k.transpose(-2, -1) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if causal:
        upper = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(upper, -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    weights = torch.softmax(scores, -1)
    return nnf.dropout(weights, p, training) @ v


def _batch_norm(
    training: bool, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, momentum: float,
    eps: float,
) -> Tensor:  # fmt: skip
    return nnf.batch_norm(x, mean, var, weight, bias, training, momentum, eps)


def _embedding(weight: Tensor, indices: Tensor, padding: int) -> Tensor:
    # INVARIANT: whether it fails does not depend on a row: a number that names no line of the table names the nearest
    return nnf.embedding(indices.clamp(0, weight.shape[0] - 1), weight, padding if padding >= 0 else None)


def _channels_last(x: Tensor) -> Tensor:
    return x.movedim(-3, -1).contiguous().movedim(-1, -3)


def _in_order(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """An operation that looks at how numbers lie in memory: what a convolution gives has its channels last (columns.py)."""
    return lambda x, *how: operation(x.contiguous(), *how)


def _index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    # INVARIANT: as above
    return x.index_select(dim, index.clamp(0, x.shape[dim] - 1))


#: operations that behave otherwise in training: they are told first whether it is
MODAL: dict[str, Callable[..., Tensor]] = {
    "dropout": lambda training, x, p: nnf.dropout(x, p, training),
    "attention": _attention,
    "batch_norm": _batch_norm,
}


def _clamp(x: Tensor, low: float | None, high: float | None) -> Tensor:
    return x if low is None and high is None else x.clamp(low, high)


def _over(reduce: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A reduction over some dimensions, or over all but the first, which is the row's own place."""

    def over(x: Tensor, dims: Sequence[int] | None = None, keep: bool = False) -> Tensor:
        return reduce(x, dim=list(dims), keepdim=keep) if dims else reduce(x)

    return over


def _var(x: Tensor, dims: Sequence[int] | None, correction: float | None, keep: bool) -> Tensor:
    over = list(dims) if dims else list(range(x.dim()))
    return x.var(dim=over, correction=1 if correction is None else correction, keepdim=keep)


def _roll(x: Tensor, shifts: Sequence[int], dims: Sequence[int]) -> Tensor:
    return x.roll(list(shifts), list(dims)) if dims else x.roll(list(shifts))


#: all other operations
PLAIN: dict[str, Callable[..., Any]] = {
    "linear": nnf.linear,
    "conv1d": nnf.conv1d,
    "conv2d": nnf.conv2d,
    "conv_transpose2d": nnf.conv_transpose2d,
    "embedding": _embedding,
    "layer_norm": lambda x, shape, w, b, eps: nnf.layer_norm(x, list(shape), w, b, eps),
    "group_norm": _in_order(nnf.group_norm),
    "rms_norm": lambda x, shape, w, eps: nnf.rms_norm(x, list(shape), w, eps),
    "max_pool1d": lambda x, k, s, p, d, c: nnf.max_pool1d(x, k, s or k, p, d, c),
    # several times faster where channels stand together
    "max_pool2d": lambda x, k, s, p, d, c: nnf.max_pool2d(_channels_last(x), k, s or k, p, d, c),
    "avg_pool1d": lambda x, k, s, p, c, n: nnf.avg_pool1d(x, k, s or k, p, c, n),
    "avg_pool2d": lambda x, k, s, p, c, n, d: nnf.avg_pool2d(x, k, s or k, p, c, n, d),
    "adaptive_avg_pool1d": _in_order(nnf.adaptive_avg_pool1d),
    "adaptive_avg_pool2d": _in_order(nnf.adaptive_avg_pool2d),
    "upsample_nearest2d": lambda x, size, scale: nnf.interpolate(x, size and list(size), scale and list(scale)),
    "relu": torch.relu,
    "relu6": nnf.relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": nnf.silu,
    "mish": nnf.mish,
    "gelu": lambda x, approximate: nnf.gelu(x, approximate=approximate),
    "elu": torch.ops.aten.elu.default,
    "leaky_relu": nnf.leaky_relu,
    "hardtanh": nnf.hardtanh,
    "hardswish": nnf.hardswish,
    "hardsigmoid": nnf.hardsigmoid,
    "softplus": nnf.softplus,
    "log_sigmoid": nnf.logsigmoid,
    "prelu": nnf.prelu,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": torch.log,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "abs": torch.abs,
    "neg": torch.neg,
    "sign": torch.sign,
    "sin": torch.sin,
    "cos": torch.cos,
    "erf": torch.erf,
    "square": torch.square,
    "clamp": _clamp,
    "to": lambda x, dtype: x.to(_dtype(dtype, x.dtype)),
    "same": lambda x: x,
    "logical_not": torch.logical_not,
    "bitwise_not": torch.bitwise_not,
    "add": lambda x, y, alpha: torch.add(x, y, alpha=alpha) if alpha != 1 else x + y,
    "sub": lambda x, y, alpha: torch.sub(x, y, alpha=alpha) if alpha != 1 else x - y,
    "rsub": lambda x, y, alpha: y - x * alpha,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "pow": lambda x, y: x**y,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "where": torch.where,
    "masked_fill": lambda x, mask, value: x.masked_fill(mask, value),
    "matmul": torch.matmul,
    "addmm": lambda x, y, z, beta, alpha: beta * x + alpha * (y @ z),
    "view": lambda x, shape: x.reshape(shape),
    "flatten": torch.flatten,
    "permute": lambda x, dims: x.permute(dims),
    "transpose": torch.transpose,
    "t": torch.t,
    "unsqueeze": torch.unsqueeze,
    "squeeze": lambda x, dims: x.squeeze(tuple(dims)),
    "expand": lambda x, shape: x.expand(shape),
    "repeat": lambda x, times: x.repeat(times),
    "slice": torch.ops.aten.slice.Tensor,
    "select": torch.select,
    "index_select": _index_select,
    "cat": lambda xs, dim: torch.cat(list(xs), dim),
    "stack": lambda xs, dim: torch.stack(list(xs), dim),
    "split": torch.split,
    "split_sizes": lambda x, sizes, dim: torch.split(x, list(sizes), dim),
    "chunk": torch.chunk,
    "unbind": torch.unbind,
    "item": lambda xs, index: xs[index],
    "flip": lambda x, dims: x.flip(list(dims)),
    "roll": _roll,
    "pad": lambda x, pad, value: nnf.pad(x, list(pad), value=value),
    "tril": torch.tril,
    "triu": torch.triu,
    "mean": _over(torch.mean),
    "sum": _over(torch.sum),
    "amax": lambda x, dims, keep: x.amax(list(dims), keep),
    "amin": lambda x, dims, keep: x.amin(list(dims), keep),
    "max_of": lambda x, dim, keep: tuple(torch.max(x, dim, keep)),
    "min_of": lambda x, dim, keep: tuple(torch.min(x, dim, keep)),
    "var": _var,
    "norm": lambda x, order, dims, keep: torch.linalg.vector_norm(x, order, None if dims is None else list(dims), keep),
    "logsumexp": lambda x, dims, keep: torch.logsumexp(x, list(dims), keep),
    "softmax": torch.softmax,
    "log_softmax": torch.log_softmax,
    "cumsum": torch.cumsum,
    "zeros": lambda shape, dtype: torch.zeros(shape, dtype=_dtype(dtype)),
    "ones": lambda shape, dtype: torch.ones(shape, dtype=_dtype(dtype)),
    "full": lambda shape, value, dtype: torch.full(shape, value, dtype=_dtype(dtype)),
    "zeros_like": lambda x, dtype: torch.zeros_like(x, dtype=_dtype(dtype, None)),
    "ones_like": lambda x, dtype: torch.ones_like(x, dtype=_dtype(dtype, None)),
    "full_like": lambda x, value, dtype: torch.full_like(x, value, dtype=_dtype(dtype, None)),
    "arange": lambda start, end, step, dtype: torch.arange(start, end, step, dtype=_dtype(dtype, torch.int64)),
    "size": lambda x, dim: x.shape[dim],
    "times": lambda x, y: x * y,
    "plus": lambda x, y: x + y,
    "minus": lambda x, y: x - y,
    "over": lambda x, y: x // y,
}  # fmt: skip

assert MODAL.keys() | PLAIN.keys() == OPS.keys()
