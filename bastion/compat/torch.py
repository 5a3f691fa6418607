"""What `bastionlab.torch`, `bastionlab.converter` and `bastionlab.tokenizers` give."""

from bastion.client.training.torch_client import TorchClient as BastionLabTorch
from bastion.training import (
    SGD,
    Adam,
    AdamW,
    CosineLR,
    ExponentialLR,
    LinearLR,
    RemoteArray,
    RemoteDataset,
    RemoteLearner,
    RemoteTensor,
    RemoteTokenizer,
    StepLR,
    train_test_split,
)

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "BastionLabTorch",
    "CosineLR",
    "ExponentialLR",
    "LinearLR",
    "RemoteArray",
    "RemoteDataset",
    "RemoteLearner",
    "RemoteTensor",
    "RemoteTokenizer",
    "StepLR",
    "train_test_split",
]
