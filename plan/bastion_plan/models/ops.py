"""The operations that a model's graph may use: one table for the export, the checks, the interpreter and the docs.

A line says name, arguments with their kinds and defaults, and which operations of torch's export it stands for. Kinds: T a tensor,
X a tensor or a number, I a whole number (in batch mode also one that is computed from a size), N a number, B a Boolean, D a dtype,
S one of some words; with `?` None is allowed, with `[]` it is a list. `...` swallows what the export adds and nobody needs.

INVARIANT: what is not in the table does not run. Nothing here reads files, time or other rows, has a loop, or looks up a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

#: the dtypes of tensors, by name
DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool")
#: the words that arguments of kind S may be
WORDS = ("none", "tanh", "floor", "trunc", "nearest")

_TABLE = """
# layers
linear(T x, T weight, T? bias=None) = linear.default
conv1d(T x, T weight, T? bias=None, I[] stride=1, I[] padding=0, I[] dilation=1, I groups=1) = conv1d.default
conv2d(T x, T weight, T? bias=None, I[] stride=1, I[] padding=0, I[] dilation=1, I groups=1) = conv2d.default
conv_transpose2d(T x, T weight, T? bias=None, I[] stride=1, I[] padding=0, I[] output_padding=0, I groups=1, I[] dilation=1) = conv_transpose2d.input
embedding(T weight, T indices, I padding_idx=-1, ...) = embedding.default
layer_norm(T x, I[] shape, T? weight=None, T? bias=None, N eps=1e-05, ...) = layer_norm.default
group_norm(T x, I groups, T? weight=None, T? bias=None, N eps=1e-05, ...) = group_norm.default
rms_norm(T x, I[] shape, T? weight=None, N? eps=None) = rms_norm.default
batch_norm(T x, T? weight, T? bias, T mean, T var, N momentum, N eps) = -
dropout(T x, N p) = -
attention(T query, T key, T value, T? mask=None, N dropout=0.0, B causal=False, N? scale=None, B grouped=False) = scaled_dot_product_attention.default
max_pool1d(T x, I[] kernel, I[] stride=[], I[] padding=0, I[] dilation=1, B ceil=False) = max_pool1d.default
max_pool2d(T x, I[] kernel, I[] stride=[], I[] padding=0, I[] dilation=1, B ceil=False) = max_pool2d.default
avg_pool1d(T x, I[] kernel, I[] stride=[], I[] padding=0, B ceil=False, B count_pad=True) = avg_pool1d.default
avg_pool2d(T x, I[] kernel, I[] stride=[], I[] padding=0, B ceil=False, B count_pad=True, I? divisor=None) = avg_pool2d.default
adaptive_avg_pool1d(T x, I[] size) = adaptive_avg_pool1d.default
adaptive_avg_pool2d(T x, I[] size) = adaptive_avg_pool2d.default
upsample_nearest2d(T x, I[]? size=None, N[]? scale=None) = upsample_nearest2d.vec
# each element
relu(T x) = relu.default
relu6(T x) = relu6.default
sigmoid(T x) = sigmoid.default
tanh(T x) = tanh.default
silu(T x) = silu.default
mish(T x) = mish.default
gelu(T x, S approximate="none") = gelu.default
elu(T x, N alpha=1, N scale=1, N input_scale=1) = elu.default
leaky_relu(T x, N slope=0.01) = leaky_relu.default
hardtanh(T x, N low=-1, N high=1) = hardtanh.default
hardswish(T x) = hardswish.default
hardsigmoid(T x) = hardsigmoid.default
softplus(T x, N beta=1, N threshold=20) = softplus.default
log_sigmoid(T x) = log_sigmoid.default
prelu(T x, T weight) = prelu.default
exp(T x) = exp.default
expm1(T x) = expm1.default
log(T x) = log.default
log1p(T x) = log1p.default
sqrt(T x) = sqrt.default
rsqrt(T x) = rsqrt.default
reciprocal(T x) = reciprocal.default
abs(T x) = abs.default
neg(T x) = neg.default
sign(T x) = sign.default
sin(T x) = sin.default
cos(T x) = cos.default
erf(T x) = erf.default
square(T x) = square.default
clamp(T x, N? low=None, N? high=None) = clamp.default
to(T x, D? dtype=None, ...) = _to_copy.default to.dtype
same(T x, ...) = clone.default alias.default contiguous.default lift_fresh_copy.default
logical_not(T x) = logical_not.default
bitwise_not(T x) = bitwise_not.default
# two tensors, or one and a number
add(X x, X y, N alpha=1) = add.Tensor add.Scalar
sub(X x, X y, N alpha=1) = sub.Tensor sub.Scalar
rsub(X x, X y, N alpha=1) = rsub.Scalar
mul(X x, X y) = mul.Tensor mul.Scalar
div(X x, X y) = div.Tensor div.Scalar
pow(X x, X y) = pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar
maximum(T x, T y) = maximum.default
minimum(T x, T y) = minimum.default
eq(T x, X y) = eq.Tensor eq.Scalar
ne(T x, X y) = ne.Tensor ne.Scalar
lt(T x, X y) = lt.Tensor lt.Scalar
le(T x, X y) = le.Tensor le.Scalar
gt(T x, X y) = gt.Tensor gt.Scalar
ge(T x, X y) = ge.Tensor ge.Scalar
logical_and(T x, T y) = logical_and.default bitwise_and.Tensor
logical_or(T x, T y) = logical_or.default bitwise_or.Tensor
where(T condition, X x, X y) = where.self where.ScalarSelf where.ScalarOther
masked_fill(T x, T mask, X value) = masked_fill.Scalar masked_fill.Tensor
matmul(T x, T y) = matmul.default mm.default bmm.default
addmm(T x, T y, T z, N beta=1, N alpha=1) = addmm.default
# shapes
view(T x, I[] shape) = view.default reshape.default _unsafe_view.default
flatten(T x, I start=0, I end=-1) = flatten.using_ints
permute(T x, I[] dims) = permute.default
transpose(T x, I first, I second) = transpose.int
t(T x) = t.default
unsqueeze(T x, I dim) = unsqueeze.default
squeeze(T x, I[] dims) = squeeze.dim squeeze.dims
expand(T x, I[] shape, ...) = expand.default
repeat(T x, I[] times) = repeat.default
slice(T x, I dim=0, I? start=None, I? end=None, I step=1) = slice.Tensor
select(T x, I dim, I index) = select.int
index_select(T x, I dim, T index) = index_select.default
cat(T[] xs, I dim=0) = cat.default
stack(T[] xs, I dim=0) = stack.default
split(T x, I size, I dim=0) = split.Tensor
split_sizes(T x, I[] sizes, I dim=0) = split_with_sizes.default
chunk(T x, I chunks, I dim=0) = chunk.default
unbind(T x, I dim=0) = unbind.int
item(L xs, I index) = -
flip(T x, I[] dims) = flip.default
roll(T x, I[] shifts, I[] dims=[]) = roll.default
pad(T x, I[] pad, N value=0) = constant_pad_nd.default
tril(T x, I diagonal=0) = tril.default
triu(T x, I diagonal=0) = triu.default
# over dimensions
mean(T x, I[]? dims=None, B keep=False, ...) = mean.dim mean.default
sum(T x, I[]? dims=None, B keep=False, ...) = sum.dim_IntList sum.default
amax(T x, I[] dims=[], B keep=False) = amax.default max.default
amin(T x, I[] dims=[], B keep=False) = amin.default min.default
max_of(T x, I dim, B keep=False) = max.dim
min_of(T x, I dim, B keep=False) = min.dim
var(T x, I[]? dims=None, N? correction=1, B keep=False) = var.correction
norm(T x, N order=2, I[]? dims=None, B keep=False, ...) = linalg_vector_norm.default
logsumexp(T x, I[] dims, B keep=False) = logsumexp.default
softmax(T x, I dim, ...) = softmax.int _softmax.default
log_softmax(T x, I dim, ...) = log_softmax.int _log_softmax.default
cumsum(T x, I dim, ...) = cumsum.default
# made of nothing
zeros(I[] shape, D? dtype=None, ...) = zeros.default
ones(I[] shape, D? dtype=None, ...) = ones.default
full(I[] shape, N value, D? dtype=None, ...) = full.default
zeros_like(T x, D? dtype=None, ...) = zeros_like.default
ones_like(T x, D? dtype=None, ...) = ones_like.default
full_like(T x, N value, D? dtype=None, ...) = full_like.default
arange(I start, I end, I step=1, D? dtype=None, ...) = arange.start_step
# whole numbers of sizes, in batch mode
size(T x, I dim) = sym_size.int
times(I x, I y) = mul
plus(I x, I y) = add
minus(I x, I y) = sub
over(I x, I y) = floordiv
"""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: its name, its kind, whether it may be left out, and what it is then."""

    name: str
    kind: str
    required: bool
    default: Any = None


@dataclass(frozen=True, slots=True)
class Op:
    """One operation. stands_for: names of the export, without `aten.`."""

    name: str
    arguments: tuple[Argument, ...]
    stands_for: tuple[str, ...]
    #: whether the export's further arguments (dtype, layout, device, memory format) are left away
    open: bool = False

    @property
    def returns(self) -> str:
        """The kind of what it returns: T, I, or L for several tensors."""
        if self.name in ("size", "times", "plus", "minus", "over"):
            return "I"
        return "L" if self.name in ("split", "split_sizes", "chunk", "unbind", "max_of", "min_of") else "T"


_DEFAULTS: dict[str, Any] = {"None": None, "True": True, "False": False, "[]": ()}


def _argument(text: str) -> Argument:
    kind, _, rest = text.strip().partition(" ")
    name, given, default = rest.partition("=")
    if not given:
        return Argument(name, kind, required=True)
    if default.startswith('"'):
        value: Any = default.strip('"')
    elif default in _DEFAULTS:
        value = _DEFAULTS[default]
    else:
        value = float(default) if "." in default or "e" in default else int(default)
    if kind.startswith("I[]") and isinstance(value, int):
        value = (value,)
    return Argument(name, kind, required=False, default=value)


def _read(line: str) -> Op:
    found = re.fullmatch(r"(\w+)\((.*)\) = (.*)", line)
    assert found is not None, line
    name, inside, stands_for = found.groups()
    parts = [part for part in re.split(r", ", inside) if part]
    some = tuple(_argument(part) for part in parts if part != "...")
    return Op(name, some, tuple(s for s in stands_for.split() if s != "-"), open="..." in parts)


#: all operations, by name
OPS: dict[str, Op] = {
    op.name: op for op in (_read(line) for line in _TABLE.strip().splitlines() if not line.startswith("#"))
}
#: which operation stands for one of the export's
BY_EXPORT: dict[str, Op] = {name: op for op in OPS.values() for name in op.stands_for}
#: operations that put the rows of a batch together: they have no place in a model that is trained with noise
MIXES = frozenset({"batch_norm"})
