"""What to write in place of an operation that no graph may hold, by the export's name of it."""

from __future__ import annotations

#: where the names of several begin alike, the longer one comes first
INSTEAD = {
    # of values
    "nonzero": "The shape of what it returns depends on the data. Multiply by a mask instead.",
    "masked_select": "The shape of what it returns depends on the data. Multiply by a mask instead.",
    "unique": "The shape of what it returns depends on the data. Leave it out.",
    "assert": "Leave checks of values out of the model.",
    "item": "What it returns is another number for each row. Keep it a tensor, without .item(), int(), float() or .tolist().",
    "index.": "Multiply by a mask, or use torch.where; positions that stay the same are taken with index_select.",
    "index_put": "Use torch.where with a mask, or torch.cat of parts.",
    "gather": "Positions that stay the same are taken with index_select; rows of a table by numbers with nn.Embedding.",
    "scatter": "Use torch.where with a mask, or torch.cat of parts.",
    "one_hot": 'Use nn.Embedding, or make columns of it: ds.one_hot("column").',
    "isnan": "Fill what is no number in the frame: fill_nan(0), fill_null(0).",
    "nan_to_num": "Fill what is no number in the frame: fill_nan(0), fill_null(0).",
    # order
    **dict.fromkeys(
        ("sort", "argsort", "topk", "kthvalue", "median", "mode", "argmax", "argmin", "searchsorted", "bucketize"),
        "A graph does not put values in order: use amax, amin, softmax or comparisons.",
    ),
    # chance
    **dict.fromkeys(
        ("rand", "bernoulli", "normal", "multinomial", "poisson", "exponential"),
        "Use nn.Dropout: nothing else in a graph is drawn by chance.",
    ),
    # by another name
    "pad": "Fill up with one number: F.pad(x, (1, 1)), or a layer's padding=1 with zeros.",
    "cosine_similarity": "Use (F.normalize(a, dim=-1) * F.normalize(b, dim=-1)).sum(-1).",
    "std_mean": "Use x.std(-1) and x.mean(-1).",
    "log2": "Use x.log() / math.log(2).",
    "log10": "Use x.log() / math.log(10).",
    "__xor__": "Use torch.ne(a, b).",
    **dict.fromkeys(("empty", "new_"), "Use torch.zeros, torch.ones or torch.full."),
    # made of others
    "instance_norm": "Use nn.GroupNorm with as many groups as channels: nn.GroupNorm(8, 8).",
    **dict.fromkeys(("celu", "selu", "rrelu", "threshold"), "Use nn.ELU, nn.SiLU, nn.GELU or nn.LeakyReLU."),
    "prod": "Of numbers above 0: x.log().sum(-1).exp().",
    "cumprod": "Of numbers above 0: x.log().cumsum(-1).exp().",
    "tan.": "Use x.sin() / x.cos().",
    "cdist": "Use (a.unsqueeze(-2) - b.unsqueeze(-3)).square().sum(-1).sqrt().",
    "upsample": 'Use nn.Upsample(mode="nearest") on pictures.',
    "conv3d": "Use nn.Conv2d on slices, or nn.Conv1d.",
    **dict.fromkeys(("floor", "ceil", "round", "trunc", "remainder", "fmod"), "Steps have no gradient: leave it out."),
}
#: of what is not in the table: what models are made of
OTHERWISE = (
    "Make it of what a graph may hold: linear, matmul, conv1d, conv2d, pooling, sums and means, exp, log, sqrt, powers, "
    "comparisons and where."
)


def instead(name: str) -> str:
    """Return what to write in place of an operation, by the export's name of it ("sort.default")."""
    plain = name if name.startswith("__") else name.lstrip("_")
    return next((words for begin, words in INSTEAD.items() if plain.startswith(begin)), OTHERWISE)
